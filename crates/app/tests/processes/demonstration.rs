//! `stockyard demo`: created by the command, checked by `verify`, and read by visitors without an account.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::installation::Installation;
use crate::process::eventually;

/// The addresses in a text like `… at /portfolios/1, /portfolios/2, and links …`.
fn pages(text: &str) -> Vec<&str> {
    let words = text.split([' ', ',', '\n']).map(|word| word.trim_end_matches('.'));
    words.filter(|word| word.starts_with("/portfolios/")).collect()
}

#[tokio::test]
async fn the_demonstration_is_created_once_balances_and_is_read_without_an_account() {
    let installation = Installation::embedded();
    let made = installation.run(&["demo", "--months", "3"]).await;
    let shown = pages(made.succeeded());
    assert_eq!(shown.len(), 3, "{}", made.stdout);
    let verified = installation.run(&["verify"]).await;
    assert!(verified.succeeded().contains("the books balance"), "{}", verified.stdout);

    let again = installation.run(&["demo"]).await;
    assert!(again.succeeded().contains("exists already, and nothing was changed"), "{}", again.stdout);
    assert_eq!(pages(&again.stdout), shown);

    let server = installation.serve().await;
    let visitor = Client::new(std::slice::from_ref(&server.url));
    let home = visitor.get("/").await;
    assert_eq!(home.status, 200);
    for address in shown {
        assert!(home.text.contains(&format!("href=\"{address}\"")), "{address} is not in {}", home.text);
        for page in ["", "/performance", "/composition", "/transactions"] {
            let answer = visitor.get(&format!("{address}{page}")).await;
            assert_eq!(answer.status, 200, "{address}{page}: {}", answer.text);
            assert!(!answer.text.contains("method=\"post\""), "{address}{page} shows a form");
        }
        let measured = visitor.get(&format!("/api/v1{address}/performance")).await.expect(200);
        assert!(measured["series"].as_array().unwrap().len() > 85, "{measured}");
        assert!(measured["benchmark"]["twr"].is_number(), "{measured}");
        visitor
            .patch(&format!("/api/v1{address}"), &serde_json::json!({"name": "Taken"}))
            .await
            .problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn the_demonstration_is_refused_with_other_portfolios_and_on_another_market() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    Client::new(std::slice::from_ref(&server.url)).register().await.open_portfolio("100.00").await;
    let locked = installation.run(&["demo"]).await;
    assert!(!locked.failed().is_empty(), "a server uses the database: {}", locked.stderr);
    server.process.ends_well().await;
    let refused = installation.run(&["demo"]).await;
    assert!(refused.failed().contains("database: has portfolios already"), "{}", refused.stderr);

    let yahoo = Installation::embedded().with("MARKET_DATA", "yahoo");
    let refused = yahoo.run(&["demo"]).await;
    assert!(
        refused.failed().contains("MARKET_DATA: the demonstration needs the simulated market"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_interrupted_demonstration_says_what_to_do() {
    let installation = Installation::embedded();
    let mut making = installation.start(&["demo"]);
    eventually("a session was traded", Duration::from_secs(60), async || {
        let is_traded = installation.folder().join("data/stockyard.db").exists()
            && installation.books().count("sqlite_master WHERE name = 'transactions'") == 1
            && installation.books().count("transactions") > 3;
        is_traded.then_some(())
    })
    .await;
    making.kill();
    let refused = installation.run(&["demo"]).await;
    assert!(refused.failed().contains("incomplete demonstration; delete the database"), "{}", refused.stderr);
}

/// The columns of a CSV export of transactions that do not differ between installations: neither ids nor receipts.
fn lines(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().map(|line| line.split(',').take(9).skip(1).collect()).collect()
}

/// The performance of a portfolio in a window of closed days, without the fields that name the portfolio.
async fn performance(client: &Client, portfolio: &str, (from, to): (&str, &str)) -> Value {
    let query = format!("/api/v1{portfolio}/performance?from={from}&to={to}&benchmark=SPY");
    let mut measured = client.get(&query).await.expect(200);
    measured.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "portfolio_id" | "version"));
    measured
}

#[tokio::test]
async fn the_exported_demonstration_has_identical_figures_on_another_installation() {
    let (origin, copy) = (Installation::embedded(), Installation::embedded());
    let made = origin.run(&["demo", "--months", "4"]).await;
    let shown = pages(made.succeeded());
    let (origin, copy_server) = (origin.serve().await, copy.serve().await);
    let visitor = Client::new(std::slice::from_ref(&origin.url));
    let owner = Client::new(std::slice::from_ref(&copy_server.url)).register().await.client;
    for exported in shown {
        let read = async |client: &Client, portfolio: &str, table: &str| {
            let answer = client.get(&format!("/api/v1{portfolio}/{table}.csv")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            answer.text
        };
        let journal = read(&visitor, exported, "transactions").await;
        let opening = json!({"name": "From elsewhere", "kind": "record"});
        let record = owner.post("/api/v1/portfolios", &opening).await.expect(201)["id"].as_i64().unwrap();
        let record = format!("/portfolios/{record}");
        let import = format!("/api/v1{record}/transactions/import");
        let report = owner.post(&import, &json!({"csv": journal})).await.expect(200);
        assert_eq!((&report["booked"], &report["issues"]), (&json!(true), &json!([])), "{report}");
        assert_eq!(lines(&read(&owner, &record, "transactions").await), lines(&journal));

        let snapshots = read(&visitor, exported, "snapshots").await;
        let days: Vec<&str> = snapshots.lines().skip(1).map(|line| &line[..10]).collect();
        assert!(days.len() > 115, "{snapshots}");
        eventually("the past days have the same snapshots", Duration::from_secs(120), async || {
            (read(&owner, &record, "snapshots").await == snapshots).then_some(())
        })
        .await;
        let window = (days[0], days[days.len() - 1]);
        let expected = performance(&visitor, exported, window).await;
        assert!(expected["twr"].is_number() && expected["volatility"].is_number(), "{expected}");
        assert_eq!(performance(&owner, &record, window).await, expected);

        let positions = |valuation: Value| -> Vec<Value> {
            let members = ["symbol", "quantity", "cost_basis", "average_buy_price"];
            let held = valuation["positions"].as_array().unwrap().iter();
            let mut held: Vec<Value> =
                held.map(|one| json!(members.map(|member| one[member].clone()))).collect();
            held.sort_by_key(Value::to_string);
            held
        };
        let (theirs, ours) = (
            visitor.get(&format!("/api/v1{exported}/valuation")).await.expect(200),
            owner.get(&format!("/api/v1{record}/valuation")).await.expect(200),
        );
        assert_eq!(ours["cash_balance"], theirs["cash_balance"]);
        assert_eq!(positions(ours), positions(theirs));
    }
    drop((origin, copy_server));
    copy.verify().await;
}
