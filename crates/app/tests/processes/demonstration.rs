//! `stockyard demo`: created by the command, checked by `verify`, and read by visitors without an account.

use crate::client::Client;
use crate::installation::Installation;

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
