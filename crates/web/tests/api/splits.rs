//! A split in doubt, on the pages and in the API, for investors and administrators.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Calendar, Freshness, SplitRatio};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use services::testing::FixedPrices;

use super::harness::{Caller, Person, TestApp, trade, with};

const SPLITS: &str = "/api/v1/admin/splits";

/// A 20:1 split was announced for AAPL, but the first price indicates 2:1. Mara holds 10 shares and has an open order.
pub async fn in_doubt() -> (TestApp, Person, i64, Value) {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let app = TestApp::spawn_on(prices, |_| ()).await;
    let SplitRatio { numerator, denominator } = "20:1".parse().unwrap();
    let kind = CorporateActionKind::Split { numerator, denominator };
    let split = CorporateAction::new("AAPL".parse().unwrap(), "2026-11-23".parse().unwrap(), kind);
    app.prices.announce(app.now(), split);
    let opening = "2026-11-23T14:30:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    app.prices.set_from(opening.into(), "AAPL", "75.00");
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let limit = json!({"type": "limit", "limit_price": "250", "time_in_force": "gtc"});
    let order = mara.place(portfolio, with(trade("sell", "AAPL", "4"), limit)).await;
    app.at("2026-11-23T14:31:00Z");
    app.work().await;
    (app, mara, portfolio, order)
}

async fn quantity(mara: &Caller, portfolio: i64) -> Value {
    let position = format!("/api/v1/portfolios/{portfolio}/positions/AAPL");
    mara.get(&position).await.is(200).json()["quantity"].clone()
}

#[tokio::test]
async fn orders_say_that_they_wait_for_the_first_price_after_a_split() {
    let (app, mara, portfolio, order) = in_doubt().await;
    assert_eq!(quantity(&mara, portfolio).await, "200");
    let waiting = "orders wait for the first price after the 20:1 split, which has to confirm it";
    assert_eq!(mara.see(portfolio, &order).await["hold_reason"], waiting);
    assert_eq!(mara.get("/api/v1/stocks/AAPL").await.json()["hold_reason"], waiting);
    let bought = mara.buy(portfolio, "AAPL", "1").await.is(201).json();
    assert_eq!((&bought["status"], &bought["hold_reason"]), (&json!("accepted"), &json!(waiting)));
    let browser = app.log_in("mara").await;
    let page = browser.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("Orders wait for the first price after the 20:1 split"), "{page}");
    let id = order["id"].as_str().unwrap();
    let page = browser.get(&format!("/portfolios/{portfolio}/orders/{id}")).await.is(200).text();
    assert!(page.contains("Orders wait for the first price after the 20:1 split"), "{page}");
}

#[tokio::test]
async fn a_halt_is_shown_everywhere_and_an_administrator_resolves_it_by_the_api() {
    let (app, mara, portfolio, order) = in_doubt().await;
    app.at("2026-11-23T14:50:00Z");
    app.work().await;
    app.match_orders().await;
    assert_eq!(quantity(&mara, portfolio).await, "10");
    let halted = mara.buy(portfolio, "AAPL", "1").await;
    halted.is_refused(409, "trading_halted");
    assert!(halted.text().contains("an administrator resolves it"), "{}", halted.text());
    let preview = mara.preview(portfolio, trade("buy", "AAPL", "1")).await;
    preview.is_refused(409, "trading_halted");
    let reason = mara.see(portfolio, &order).await["hold_reason"].clone();
    assert!(reason.as_str().unwrap().starts_with("trading is halted: the announced 20:1 split"), "{reason}");
    let page = app.log_in("mara").await.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("Trading is halted: the announced 20:1 split"), "{page}");
    let stock = mara.get("/api/v1/stocks/AAPL").await.is(200).json();
    let list = mara.get("/api/v1/stocks").await.is(200).items();
    let listed = list.iter().find(|listed| listed["symbol"] == "AAPL").unwrap();
    for seen in [&stock, listed] {
        assert_eq!((&seen["tradable"], &seen["restriction"]), (&json!(false), &json!("halted")), "{seen}");
    }

    let ada = app.admin().await;
    assert_json_snapshot!(ada.get(SPLITS).await.is(200).items(), @r#"
    [
      {
        "confirmation": "suspended",
        "ex_on": "2026-11-23",
        "expected_price": "7.50",
        "found_price": "75.00",
        "hold_reason": "trading is halted: the announced 20:1 split leads to a price of about 7.50, and the first price is 75.00; orders wait until corrected news or an administrator resolves it",
        "ratio": "20:1",
        "symbol": "AAPL"
      }
    ]
    "#);
    let resolve = async |body: Value| ada.post(SPLITS, body).await;
    for (body, field) in [
        (json!({"symbol": "?", "resolution": "withdraw", "reason": "x"}), "symbol"),
        (json!({"symbol": "AAPL", "resolution": "undo", "reason": "x"}), "resolution"),
        (json!({"symbol": "AAPL", "resolution": "correct", "reason": "x"}), "ratio"),
        (json!({"symbol": "AAPL", "resolution": "correct", "ratio": "2", "reason": "x"}), "ratio"),
        (json!({"symbol": "AAPL", "resolution": "confirm", "ratio": "2:1", "reason": "x"}), "ratio"),
        (json!({"symbol": "AAPL", "resolution": "withdraw", "reason": " "}), "reason"),
    ] {
        let refused = resolve(body.clone()).await;
        refused.is_refused(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{body}");
    }
    let right =
        json!({"symbol": "AAPL", "resolution": "correct", "ratio": "2:1", "reason": "The filing says so."});
    mara.post(SPLITS, right.clone()).await.is_refused(404, "not_found");
    resolve(right.clone()).await.is(204);
    resolve(right).await.is_refused(409, "no_split_in_doubt");
    assert_eq!(quantity(&mara, portfolio).await, "20");
    let order = mara.see(portfolio, &order).await;
    assert_eq!(
        (&order["quantity"], &order["limit_price"], &order["hold_reason"]),
        (&json!("8"), &json!("125.00"), &Value::Null)
    );
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    let browser = app.log_in("mara").await;
    let page = browser.get(&format!("/portfolios/{portfolio}/transactions")).await.is(200).text();
    assert!(page.contains("The 20 for 1 split is reversed: 200 became 10 shares."), "{page}");
}

#[tokio::test]
async fn an_administrator_resolves_a_split_on_its_page() {
    let (app, mara, portfolio, _) = in_doubt().await;
    app.at("2026-11-23T14:50:00Z");
    app.work().await;
    app.register_admin("ada").await;
    let ada = app.log_in("ada").await;
    let list = ada.get("/admin/stocks").await.is(200).text();
    assert!(list.contains("trading halted") && list.contains("/admin/stocks/AAPL"), "{list}");
    let (page, target) = ("/admin/stocks/AAPL", "/admin/stocks/AAPL/split");
    app.log_in("mara").await.get(page).await.is(404);
    for fields in [
        [("resolution", "correct"), ("ratio", ""), ("reason", "The filing says so.")],
        [("resolution", "withdraw"), ("ratio", ""), ("reason", "")],
    ] {
        ada.refused(page, target, &fields).await;
    }
    let fields = [("resolution", "withdraw"), ("ratio", ""), ("reason", "There was no split.")];
    let done = ada.submit(page, target, &fields).await.is(303);
    assert!(ada.follow(&done).await.text().contains("The split of AAPL is resolved."));
    assert!(!ada.get(page).await.is(200).text().contains("Resolve the split"));
    assert_eq!(quantity(&mara, portfolio).await, "10");
    ada.get("/admin/stocks/NOSUCH").await.is(404);
}
