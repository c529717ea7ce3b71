//! New symbols of stocks, in the API and on the administrators' page.

use domain::{Calendar, Freshness};
use market_data::QuoteError;
use serde_json::json;
use services::testing::FixedPrices;

use super::harness::TestApp;

const RENAMES: &str = "/api/v1/admin/renames";

/// The source knows AAPL only under its new symbol APPL.
pub async fn renamed() -> TestApp {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let app = TestApp::spawn_on(prices, |_| ()).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    app.work().await;
    app.prices.fail_for("AAPL", QuoteError::UnknownSymbol("AAPL".parse().unwrap()));
    app.prices.list("APPL", "Appl Incorporated", "Technology", "150.00");
    app.at("2026-11-23T16:00:00Z");
    app
}

#[tokio::test]
async fn an_administrator_renames_a_stock_by_the_api() {
    let app = renamed().await;
    let (ada, mara) = (app.admin().await, app.log_in("mara").await);
    for (body, field) in [
        (json!({"symbol": "?", "to": "APPL", "reason": "x"}), "symbol"),
        (json!({"symbol": "AAPL", "to": "a b", "reason": "x"}), "to"),
        (json!({"symbol": "AAPL", "to": "NOSUCH", "reason": "x"}), "to"),
        (json!({"symbol": "AAPL", "to": "APPL", "on": "soon", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "to": "APPL", "on": "2036-01-01", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "to": "APPL", "reason": ""}), "reason"),
    ] {
        let refused = ada.post(RENAMES, body.clone()).await;
        refused.is_refused(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{body}");
    }
    let right = json!({"symbol": "AAPL", "to": "APPL", "reason": "Press release."});
    mara.post(RENAMES, right.clone()).await.is_refused(404, "not_found");
    let renamed = ada.post(RENAMES, right).await.is(200).json();
    assert_eq!((&renamed["symbol"], &renamed["company_name"]), (&json!("APPL"), &json!("Appl Incorporated")));
    assert_eq!(mara.get("/api/v1/stocks/AAPL").await.is(200).json()["symbol"], "APPL");
}

#[tokio::test]
async fn an_administrator_renames_a_stock_on_its_page() {
    let app = renamed().await;
    app.register_admin("grace").await;
    let grace = app.log_in("grace").await;
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/rename");
    for fields in [
        [("to", ""), ("on", ""), ("reason", "x")],
        [("to", "APPL"), ("on", "soon"), ("reason", "x")],
        [("to", "NOSUCH"), ("on", ""), ("reason", "x")],
        [("to", "APPL"), ("on", ""), ("reason", "")],
    ] {
        grace.refused(page, target, &fields).await;
    }
    let fields = [("to", "APPL"), ("on", ""), ("reason", "Press release.")];
    let done = grace.submit(page, target, &fields).await.is(303);
    assert!(grace.follow(&done).await.text().contains("AAPL is now APPL."));
}
