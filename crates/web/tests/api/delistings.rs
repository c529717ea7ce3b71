//! Stocks that are delisted or may be, on the pages and in the API.

use domain::{Calendar, Freshness};
use insta::assert_json_snapshot;
use market_data::QuoteError;
use serde_json::{Value, json};
use services::testing::FixedPrices;

use super::harness::{Person, TestApp, trade, with};

const DELISTINGS: &str = "/api/v1/admin/delistings";

/// Mara holds 10 AAPL and has an open order to sell 4. On Monday the source does not know AAPL any more.
pub async fn unknown_on_monday() -> (TestApp, Person, i64, Value) {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let app = TestApp::spawn_on(prices, |_| ()).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    mara.buy(portfolio, "MSFT", "1").await.is(201);
    let limit = json!({"type": "limit", "limit_price": "250", "time_in_force": "gtc"});
    let order = mara.place(portfolio, with(trade("sell", "AAPL", "4"), limit)).await;
    app.work().await;
    app.prices.fail_for("AAPL", QuoteError::UnknownSymbol("AAPL".parse().unwrap()));
    app.at("2026-11-23T16:00:00Z");
    app.work().await;
    (app, mara, portfolio, order)
}

#[tokio::test]
async fn an_administrator_confirms_a_delisting_by_the_api() {
    let (app, mara, portfolio, order) = unknown_on_monday().await;
    let ada = app.admin().await;
    assert_json_snapshot!(ada.get(DELISTINGS).await.is(200).items(), @r#"
    [
      {
        "administrator": null,
        "company_name": "Apple Inc.",
        "delisted_on": null,
        "evidence": [
          {
            "delisted_on": null,
            "kind": "not_found",
            "seen_at": "2026-11-23T16:00:00Z",
            "seen_on": "2026-11-23"
          }
        ],
        "reason": null,
        "status": "pending",
        "symbol": "AAPL"
      }
    ]
    "#);
    let decide = async |body: Value| ada.post(DELISTINGS, body).await;
    for (body, field) in [
        (json!({"symbol": "?", "resolution": "confirm", "reason": "x"}), "symbol"),
        (json!({"symbol": "AAPL", "resolution": "undo", "reason": "x"}), "resolution"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "on": "tomorrow", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "on": "2026-11-20", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "on": "2036-11-20", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "resolution": "refuse", "on": "2026-11-23", "reason": "x"}), "on"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "reason": " "}), "reason"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "reason": "x".repeat(501)}), "reason"),
        (json!({"symbol": "MSFT", "resolution": "refuse", "reason": "x"}), "resolution"),
    ] {
        let refused = decide(body.clone()).await;
        refused.is_refused(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{body}");
    }
    decide(json!({"symbol": "NOSUCH", "resolution": "confirm", "reason": "x"})).await.is(404);
    let right = json!({"symbol": "AAPL", "resolution": "confirm", "reason": "Merged into BigCo for cash."});
    mara.post(DELISTINGS, right.clone()).await.is_refused(404, "not_found");
    decide(right.clone()).await.is(204);
    decide(right).await.is_refused(422, "invalid_fields");
    let ended = mara.see(portfolio, &order).await;
    assert_eq!(ended["status"], json!("canceled"));
    assert_eq!(ended["reject_reason"], json!("the stock is delisted"));
    mara.buy(portfolio, "AAPL", "1").await.is_refused(422, "not_tradable");
    let told = mara.get("/api/v1/stocks/AAPL").await.is(200).json();
    assert_eq!(
        (&told["delisted_on"], &told["delisting_reason"]),
        (&json!("2026-11-23"), &json!("Merged into BigCo for cash."))
    );
    let page = app.log_in("mara").await.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("Delisted since 23 Nov 2026.</b> Merged into BigCo for cash."), "{page}");
    for offered in ["Orders wait", "side=buy", "side=sell"] {
        assert!(!page.contains(offered), "{offered}: {page}");
    }
    let listed = &ada.get(DELISTINGS).await.is(200).items()[0];
    let admin = listed["administrator"].as_str().unwrap();
    assert_eq!((&listed["status"], admin.is_empty()), (&json!("delisted"), false));
    // The confirmation was a mistake and is revoked.
    decide(json!({"symbol": "AAPL", "resolution": "refuse", "reason": "A mistake."})).await.is(204);
    assert_eq!(mara.get("/api/v1/stocks/AAPL").await.is(200).json()["delisted_on"], Value::Null);
}

#[tokio::test]
async fn an_administrator_decides_on_the_page_of_the_stock() {
    let (app, mara, portfolio, order) = unknown_on_monday().await;
    app.register_admin("ada").await;
    let ada = app.log_in("ada").await;
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/delisting");
    let shown = ada.get(page).await.is(200).text();
    for sentence in ["Unknown to the price source.", "the evidence below is not sufficient yet"] {
        assert!(shown.contains(sentence), "{shown}");
    }
    for fields in [
        [("resolution", "confirm"), ("on", "2026-11-20"), ("reason", "Merged.")],
        [("resolution", "confirm"), ("on", ""), ("reason", "")],
        [("resolution", "refuse"), ("on", "2026-11-23"), ("reason", "It trades.")],
    ] {
        ada.refused(page, target, &fields).await;
    }
    let fields = [("resolution", "confirm"), ("on", ""), ("reason", "Merged.")];
    let done = ada.submit(page, target, &fields).await.is(303);
    assert!(ada.follow(&done).await.text().contains("AAPL is delisted."));
    let shown = ada.get(page).await.is(200).text();
    assert!(shown.contains("Delisted on 23 Nov 2026. ada: Merged."), "{shown}");
    assert_eq!(mara.see(portfolio, &order).await["status"], json!("canceled"));
    let fields = [("resolution", "refuse"), ("on", ""), ("reason", "It trades.")];
    let done = ada.submit(page, target, &fields).await.is(303);
    assert!(ada.follow(&done).await.text().contains("AAPL is marked as listed."));
    assert!(ada.get(page).await.is(200).text().contains("Listed. ada: It trades."));
}
