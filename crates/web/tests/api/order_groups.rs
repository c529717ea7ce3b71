//! Order groups: brackets, pairs of exits, entries with one exit.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Caller, Json, TestApp, line, trade, with};

fn bracket() -> Value {
    json!({
        "order_class": "bracket",
        "take_profit": {"limit_price": "170"},
        "stop_loss": {"stop_price": "140", "limit_price": "139"},
    })
}

fn pair(limit: &str, stop: &str) -> Value {
    json!({
        "type": "limit", "limit_price": limit, "time_in_force": "gtc",
        "order_class": "oco", "stop_loss": {"stop_price": stop},
    })
}

/// Type, status and quantity of the order and of each leg.
fn told(order: &Value) -> Vec<String> {
    let legs = order["legs"].as_array().unwrap();
    std::iter::once(order).chain(legs).map(|one| line(one, &["type", "status", "quantity"])).collect()
}

async fn sellable_is(caller: &Caller, portfolio: i64, expected: &str) {
    let refused = caller.sell(portfolio, "AAPL", "1000").await.is_refused(422, "insufficient_shares");
    assert_eq!(refused["available"], expected);
}

#[tokio::test]
async fn a_bracket_s_exits_work_once_the_entry_has_filled() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let entry = with(trade("buy", "AAPL", "10"), json!({"type": "limit", "limit_price": "145"}));
    let order = mara.place(portfolio, with(entry, bracket())).await;
    assert_eq!(told(&order), ["limit accepted 10", "limit held 10", "stop_limit held 10"]);
    assert_json_snapshot!(
        Json(order["legs"][1].clone()),
        { ".id" => "[uuid]", ".parent_order_id" => "[uuid]" },
        @r#"
        {
          "amount": "0.00",
          "canceled_at": null,
          "client_order_id": null,
          "commission": "0.00",
          "expires_at": "2026-11-21T05:00:00Z",
          "filled_at": null,
          "filled_price": null,
          "filled_quantity": "0",
          "fills": [],
          "high_water_price": null,
          "hold_reason": null,
          "id": "[uuid]",
          "legs": [],
          "limit_price": "139.00",
          "notional": null,
          "order_class": "bracket",
          "parent_order_id": "[uuid]",
          "quantity": "10",
          "realized_pnl": null,
          "receipt": null,
          "reject_reason": null,
          "replaces": null,
          "reserved_cash": "0.00",
          "reserved_quantity": "0",
          "side": "sell",
          "status": "held",
          "stop_price": "140.00",
          "submitted_at": "2026-11-20T19:12:00Z",
          "symbol": "AAPL",
          "time_in_force": "day",
          "trail_percent": null,
          "trail_price": null,
          "triggered_at": null,
          "type": "stop_limit"
        }
        "#
    );
    assert_eq!(order["legs"][1]["parent_order_id"], order["id"]);

    app.trades_at("AAPL", "144.00").await;
    let order = mara.see(portfolio, &order).await;
    assert_eq!(told(&order), ["limit filled 10", "limit accepted 10", "stop_limit accepted 10"]);
    // Both exits reserve the same ten shares, which count once.
    assert_eq!(order["legs"][0]["reserved_quantity"], "10");
    assert_eq!(order["legs"][1]["reserved_quantity"], "0");
    sellable_is(&mara, portfolio, "0").await;

    app.trades_at("AAPL", "171.00").await;
    let order = mara.see(portfolio, &order).await;
    assert_eq!(told(&order), ["limit filled 10", "limit filled 10", "stop_limit canceled 10"]);
    assert_eq!(mara.cash(portfolio).await, "10270.00");
}

#[tokio::test]
async fn legs_are_orders_of_their_own() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let order = mara.place(portfolio, with(trade("buy", "AAPL", "10"), bracket())).await;
    assert_eq!(told(&order), ["market filled 10", "limit accepted 10", "stop_limit accepted 10"]);
    let open = mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?status=open")).await.items();
    let mut ids: Vec<&Value> = open.iter().map(|leg| &leg["id"]).collect();
    ids.reverse();
    assert_eq!(ids, [&order["legs"][0]["id"], &order["legs"][1]["id"]]);
    let leg = mara.see(portfolio, &order["legs"][0]).await;
    assert_eq!(line(&leg, &["side", "symbol", "order_class"]), "sell AAPL bracket");
    assert_eq!((&leg["parent_order_id"], &leg["legs"]), (&order["id"], &json!([])));
}

#[tokio::test]
async fn one_exit_of_a_pair_cancels_the_other() {
    for (price, ended) in [("161.00", ["filled", "canceled"]), ("139.00", ["canceled", "filled"])] {
        let app = TestApp::spawn().await;
        let mara = app.register("mara").await;
        let portfolio = mara.open("10000.00").await;
        mara.buy(portfolio, "AAPL", "10").await.is(201);
        let order = mara.place(portfolio, with(trade("sell", "AAPL", "10"), pair("160", "140"))).await;
        assert_eq!(told(&order), ["limit accepted 10", "stop accepted 10"]);
        sellable_is(&mara, portfolio, "0").await;
        app.trades_at("AAPL", price).await;
        let order = mara.see(portfolio, &order).await;
        assert_eq!([&order["status"], &order["legs"][0]["status"]], ended);
        sellable_is(&mara, portfolio, "0").await;
    }
}

#[tokio::test]
async fn an_entry_may_have_one_exit() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    for (exit, kind) in [
        (json!({"stop_loss": {"stop_price": "140"}}), "stop accepted 1"),
        (json!({"take_profit": {"limit_price": "170"}}), "limit accepted 1"),
    ] {
        let order = with(with(trade("buy", "AAPL", "1"), exit), json!({"order_class": "oto"}));
        let order = mara.place(portfolio, order).await;
        assert_eq!(told(&order), ["market filled 1", kind]);
    }
}

#[tokio::test]
async fn exits_are_canceled_with_their_entry_or_with_each_other() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let waiting = json!({"type": "limit", "limit_price": "145"});
    let order = mara.place(portfolio, with(with(trade("buy", "AAPL", "10"), waiting), bracket())).await;
    let canceled = mara.cancel(portfolio, &order).await.is(200).json();
    assert_eq!(told(&canceled), ["limit canceled 10", "limit canceled 10", "stop_limit canceled 10"]);

    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let order = mara.place(portfolio, with(trade("sell", "AAPL", "10"), pair("160", "140"))).await;
    mara.cancel(portfolio, &order["legs"][0]).await.is(200);
    let order = mara.see(portfolio, &order).await;
    assert_eq!(told(&order), ["limit canceled 10", "stop canceled 10"]);
    sellable_is(&mara, portfolio, "10").await;
}

#[tokio::test]
async fn invalid_order_groups_are_refused_at_their_field() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let profit = json!({"limit_price": "170"});
    let loss = json!({"stop_price": "140"});
    let of = |side: &str, more: Value| with(trade(side, "AAPL", "1"), more);
    let class = |class: &str, more: Value| with(json!({"order_class": class}), more);
    let crossed = json!({"take_profit": {"limit_price": "140"}, "stop_loss": {"stop_price": "140"}});
    for (field, order) in [
        ("order_class", of("buy", class("ladder", json!({})))),
        ("take_profit", of("buy", json!({"take_profit": profit}))),
        ("stop_loss", of("buy", json!({"stop_loss": loss}))),
        ("take_profit", of("buy", class("bracket", json!({"stop_loss": loss})))),
        ("stop_loss", of("buy", class("bracket", json!({"take_profit": profit})))),
        ("stop_loss", of("buy", class("bracket", crossed))),
        ("side", of("sell", with(bracket(), json!({})))),
        ("order_class", of("buy", class("oto", json!({"take_profit": profit, "stop_loss": loss})))),
        ("take_profit", of("buy", class("oto", json!({})))),
        ("time_in_force", of("buy", with(bracket(), json!({"time_in_force": "ioc"})))),
        ("notional", of("buy", with(bracket(), json!({"quantity": null, "notional": "500"})))),
        ("side", of("buy", pair("160", "140"))),
        ("type", of("sell", class("oco", json!({"stop_loss": loss})))),
        ("stop_loss", of("sell", pair("140", "160"))),
        ("take_profit", of("sell", with(pair("160", "140"), json!({"take_profit": profit})))),
        ("stop_loss", of("sell", class("oco", json!({"type": "limit", "limit_price": "160"})))),
        ("take_profit", of("buy", with(bracket(), json!({"take_profit": {"limit_price": "dear"}})))),
        ("stop_loss", of("buy", with(bracket(), json!({"stop_loss": {"stop_price": "0"}})))),
        (
            "stop_price",
            of("buy", with(bracket(), json!({"take_profit": {"limit_price": "170", "stop_price": "170"}}))),
        ),
        ("stop_price", of("buy", with(bracket(), json!({"stop_loss": {"limit_price": "139"}})))),
        ("note", of("buy", with(bracket(), json!({"take_profit": {"limit_price": "170", "note": "x"}})))),
    ] {
        mara.order(portfolio, order.clone()).await.is_about(field);
        mara.preview(portfolio, order).await.is_about(field);
    }
    assert_eq!(mara.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().len(), 1);
}
