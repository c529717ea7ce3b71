//! Import of transactions over the API: what another installation has exported is the same here, to the cent.

use domain::PerShare;
use domain::SplitRatio;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use serde_json::{Value, json};
use services::testing::FixedPrices;

use crate::harness::{Caller, TestApp, csrf_token, day, trade};

async fn record(who: &Caller) -> i64 {
    let record = json!({"name": "At my broker", "kind": "record"});
    let opened = who.post("/api/v1/portfolios", record).await.is(201).json();
    assert_eq!((&opened["kind"], &opened["cash_balance"]), (&json!("record"), &json!("0.00")));
    opened["id"].as_i64().unwrap()
}

fn import_into(portfolio: i64) -> String {
    format!("/api/v1/portfolios/{portfolio}/transactions/import")
}

/// AAPL goes 3 for 2 on Monday, 23 November, and pays 0.26 for each new share on Wednesday.
fn announce(prices: &FixedPrices) {
    let SplitRatio { numerator, denominator } = "3:2".parse().unwrap();
    let amount = PerShare::from_scaled(26, 2).unwrap();
    for kind in [
        CorporateActionKind::Split { numerator, denominator },
        CorporateActionKind::CashDividend { amount, pays_on: day("2026-11-25") },
    ] {
        let action = CorporateAction::new("AAPL".parse().unwrap(), day("2026-11-23"), kind);
        let news: chrono::DateTime<chrono::Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        prices.announce(news.into(), action);
    }
}

/// Everything that follows from the journal.
async fn figures(who: &Caller, portfolio: i64) -> Value {
    let own = format!("/api/v1/portfolios/{portfolio}");
    let journal = who.get(&format!("{own}/transactions")).await.is(200).items();
    let lines: Vec<Value> = journal
        .iter()
        .map(|line| {
            let members = [
                "transaction_type",
                "symbol",
                "quantity",
                "price",
                "commission",
                "amount",
                "realized_pnl",
                "timestamp",
            ];
            members.iter().map(|member| line[member].clone()).collect()
        })
        .collect();
    let mut valuation = who.get(&format!("{own}/valuation")).await.is(200).json().0;
    valuation.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "version"));
    let snapshots = who.get(&format!("{own}/snapshots")).await.is(200).items();
    let performance = who.get(&format!("{own}/performance")).await.is(200).json();
    json!({
        "lines": lines, "valuation": valuation, "snapshots": snapshots, "twr": performance["twr"],
        "gain": performance["gain"], "xirr": performance["xirr"],
    })
}

#[tokio::test]
async fn an_exported_portfolio_has_identical_figures_on_another_installation() {
    let prices = FixedPrices::new();
    announce(&prices);
    let (here, there) =
        (TestApp::spawn_on(prices.clone(), |_| ()).await, TestApp::spawn_on(prices.clone(), |_| ()).await);
    let (mara, other) = (here.register("mara").await, there.register("omar").await);
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "10.123456789").await.is(201);
    mara.buy(portfolio, "MSFT", "3").await.is(201);
    let close = |date: &str, aapl: &str, msft: &str| {
        prices.set_close("AAPL", day(date), aapl);
        prices.set_close("MSFT", day(date), msft);
    };
    close("2026-11-20", "150.00", "401.00");
    close("2026-11-21", "151.35", "399.10");
    close("2026-11-22", "150.05", "404.00");
    close("2026-11-23", "100.40", "404.40");
    close("2026-11-24", "101.00", "410.00");
    close("2026-11-25", "102.15", "408.00");
    for app in [&here, &there] {
        app.at("2026-11-22T15:00:00Z");
    }
    mara.sell(portfolio, "MSFT", "1.5").await.is(201);
    prices.set("AAPL", "100.10");
    for instant in ["2026-11-23T05:20:00Z", "2026-11-24T05:20:00Z", "2026-11-25T05:20:00Z"] {
        for app in [&here, &there] {
            app.at(instant);
            app.work().await;
        }
    }
    mara.deposit(portfolio, "250.25").await.is(201);
    mara.order(portfolio, trade("sell", "AAPL", "5")).await.is(201);
    for app in [&here, &there] {
        app.at("2026-11-26T15:00:00Z");
        app.work().await;
    }
    let exported = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    let sheet =
        mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv?format=spreadsheet")).await;
    let expected = figures(&mara, portfolio).await;
    assert!(expected["snapshots"].as_array().unwrap().len() >= 6, "{expected}");
    assert!(exported.contains(",dividend,") && exported.contains(",split,"), "{exported}");
    for file in [exported, sheet.is(200).text()] {
        let copy = record(&other).await;
        let path = import_into(copy);
        let preview = other.post(&path, json!({"csv": file, "dry_run": true})).await.is(200).json();
        assert_eq!((&preview["booked"], &preview["issues"]), (&json!(false), &json!([])));
        let booked = other.post(&path, json!({"csv": file})).await.is(200).json();
        assert_eq!((&booked["booked"], &booked["issues"]), (&json!(true), &json!([])), "{}", *booked);
        assert_eq!((&booked["imported"], &booked["actions"]), (&json!(6), &json!(2)), "{}", *booked);
        there.work().await;
        assert_eq!(figures(&other, copy).await, expected);
        let again = other.post(&path, json!({"csv": file})).await.is(200).json();
        assert_eq!((&again["imported"], &again["already_imported"]), (&json!(0), &json!(8)));
        assert_eq!(there.services.books().verify(|_, _| ()).await.unwrap().differences, []);
    }
}

#[tokio::test]
async fn problems_of_rows_are_reported_and_a_practice_portfolio_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let copy = record(&mara).await;
    let file = json!({"csv": "date,action,symbol,quantity,price,fee\n2026-11-02,buy,AAPL,1,100,\n"});
    let refused = mara.post(&import_into(copy), file.clone()).await.is(200).json();
    assert_eq!(refused["booked"], false);
    assert_eq!(
        refused["issues"],
        json!([{
            "line": 2, "column": "amount",
            "message": "not enough cash: 100.00 is needed and 0.00 is available; add the missing deposit",
        }])
    );
    let practice = mara.open("1000").await;
    mara.post(&import_into(practice), file.clone()).await.is_refused(409, "not_a_record");
    mara.post(&import_into(copy), json!({"csv": " "})).await.is_about("csv");
    mara.post("/api/v1/portfolios", json!({"name": "x", "kind": "game"})).await.is_about("kind");
    // A file may be larger than other bodies, up to a limit.
    let rows = |count: usize| format!("date,action,amount\n{}", "2026-11-02,deposit,1.00\n".repeat(count));
    let large = json!({"csv": rows(4_000), "dry_run": true});
    let large = mara.post(&import_into(copy), large).await.is(200).json();
    assert_eq!((&large["imported"], &large["cash_balance"]), (&json!(4_000), &json!("4000.00")));
    mara.post(&import_into(copy), json!({"csv": rows(50_000)})).await.is_about("csv");
    mara.post(&import_into(copy), json!({"csv": rows(250_000)})).await.is_refused(413, "payload_too_large");
}

const BROKER: &str = "Date;Action;Ticker;Shares;Price;Fees;Amount\n\
    2026-11-02;Deposit;;;;;5000\n\
    2026-11-03;Buy;AAPL;10,5;149,50;1,25;\n";

#[tokio::test]
async fn a_file_is_uploaded_previewed_and_imported_on_the_page() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let mara = app.log_in("mara").await;
    let opening = [("name", "At my broker"), ("kind", "record"), ("cash_balance", "100,000.00")];
    let opened = mara.submit("/portfolios", "/portfolios", &opening).await.is(303);
    let own = opened.header("location").unwrap().to_owned();
    let page = format!("{own}/import");
    let shown = mara.get(&format!("{own}/transactions")).await.is(200).text();
    assert!(shown.contains(&format!("href=\"{page}\"")), "{shown}");

    let wrong = BROKER.replace("149,50", "149.50").replace("2026-11-02;D", "02.11.26;D");
    let preview = mara.upload(&page, wrong.as_bytes()).await.is(303);
    let shown = mara.follow(&preview).await.is(200).text();
    for words in
        ["2 problems: nothing can be imported", ">Line 2<", ">Line 3<", "Write a day like 2026-11-20"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("import/confirm"), "{shown}");

    let preview = mara.upload(&page, BROKER.as_bytes()).await.is(303);
    let address = preview.header("location").unwrap().to_owned();
    // Reload is harmless.
    for _ in 0..2 {
        let shown = mara.get(&address).await.is(200).text();
        for words in ["Preview, nothing is booked yet", "2 rows to import", "3,429.00", "10.5"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }
    assert!(mara.get(&format!("/api/v1{own}/transactions")).await.items().is_empty());
    let file = address.split("file=").nth(1).unwrap();
    let confirm = format!("{page}/confirm");
    let done = mara.submit(&address, &confirm, &[("file", file)]).await.is(303);
    assert_eq!(done.header("location").unwrap().split('?').next(), Some(&*own));
    assert!(mara.follow(&done).await.is(200).text().contains("2 rows are imported"));
    assert_eq!(mara.get(&format!("/api/v1{own}/transactions")).await.items().len(), 2);
    // Sent again, it books nothing and says why.
    let shown = mara.get(&page).await.is(200).text();
    let token = csrf_token(&shown);
    let again = mara.post_form(&confirm, &[("csrf", &token), ("file", file)]).await.is(303);
    assert!(mara.follow(&again).await.text().contains("not kept any more"));
    let again = mara.upload(&page, BROKER.as_bytes()).await.is(303);
    let shown = mara.follow(&again).await.is(200).text();
    assert!(shown.contains("Nothing to import") && !shown.contains("import/confirm"), "{shown}");
    assert_eq!(mara.get(&format!("/api/v1{own}/transactions")).await.items().len(), 2);
    assert_eq!(app.services.books().verify(|_, _| ()).await.unwrap().differences, []);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_on_the_page_and_practice_takes_none() {
    let app = TestApp::spawn().await;
    let owner = app.register("mara").await;
    let copy = record(&owner).await;
    let mara = app.log_in("mara").await;
    let page = format!("/portfolios/{copy}/import");
    for (file, message) in [
        (Vec::new(), "Choose a file"),
        (vec![0xff, 0xfe, 0x41], "Save the file as CSV in UTF-8"),
        (b"date,action,note\n2026-11-02,deposit,caf\xe9\n".to_vec(), "Save the file as CSV in UTF-8"),
        (b"date,action\0\n".to_vec(), "Save the file as CSV in UTF-8"),
        (vec![b'a'; 1024 * 1024 + 1], "Choose a file of at most 1 MiB"),
    ] {
        let refused = mara.upload(&page, &file).await.is(303);
        let shown = mara.follow(&refused).await.is(200).text();
        assert!(shown.contains("role=\"alert\"") && shown.contains(message), "{message}: {shown}");
    }
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(BROKER.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let preview = mara.upload(&page, &wide).await.is(303);
    assert!(mara.follow(&preview).await.is(200).text().contains("2 rows to import"));
    mara.upload_with(&page, "nothing", BROKER.as_bytes()).await.is(403);
    let practice = owner.open("1000").await;
    mara.get(&format!("/portfolios/{practice}/import")).await.is(409);
    let token = csrf_token(&mara.get("/settings").await.text());
    mara.upload_with(&format!("/portfolios/{practice}/import"), &token, BROKER.as_bytes()).await.is(409);
    app.register("eve").await;
    let eve = app.log_in("eve").await;
    let token = csrf_token(&eve.get("/settings").await.text());
    eve.upload_with(&page, &token, BROKER.as_bytes()).await.is(404);
    eve.upload_with(&page, &token, b"").await.is(404);
}
