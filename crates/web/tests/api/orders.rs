//! Placing, previewing and reading orders.

use insta::assert_json_snapshot;
use market_data::QuoteError;
use serde_json::{Value, json};

use crate::harness::{TestApp, trade, with};

#[tokio::test]
async fn a_buy_is_filled_at_the_ask_with_a_receipt() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "149.95", "150.05");
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    let answer = mara.buy(portfolio, "aapl", "10").await.is(201);
    assert_json_snapshot!(answer.json(), { ".id" => "[uuid]", ".client_order_id" => "[uuid]" }, @r#"
    {
      "amount": "-1500.50",
      "canceled_at": null,
      "client_order_id": "[uuid]",
      "commission": "0.00",
      "expires_at": "2026-11-21T05:00:00Z",
      "filled_at": "2026-11-20T19:12:00Z",
      "filled_price": "150.05",
      "filled_quantity": "10",
      "fills": [
        {
          "amount": "-1500.50",
          "commission": "0.00",
          "price": "150.05",
          "quantity": "10",
          "realized_pnl": null,
          "receipt": {
            "age_s": 0.0,
            "commission": "0.00",
            "quoted_at": "2026-11-20T19:12:00Z",
            "quoted_price": "150.05",
            "rounding_version": 2,
            "rule": "ask",
            "slippage": "0.00",
            "source": "fixed"
          },
          "timestamp": "2026-11-20T19:12:00Z"
        }
      ],
      "high_water_price": null,
      "hold_reason": null,
      "id": "[uuid]",
      "legs": [],
      "limit_price": null,
      "notional": null,
      "order_class": "simple",
      "parent_order_id": null,
      "quantity": "10",
      "realized_pnl": null,
      "receipt": {
        "age_s": 0.0,
        "commission": "0.00",
        "quoted_at": "2026-11-20T19:12:00Z",
        "quoted_price": "150.05",
        "rounding_version": 2,
        "rule": "ask",
        "slippage": "0.00",
        "source": "fixed"
      },
      "reject_reason": null,
      "replaces": null,
      "reserved_cash": "0.00",
      "reserved_quantity": "0",
      "side": "buy",
      "status": "filled",
      "stop_price": null,
      "submitted_at": "2026-11-20T19:12:00Z",
      "symbol": "AAPL",
      "time_in_force": "day",
      "trail_percent": null,
      "trail_price": null,
      "triggered_at": null,
      "type": "market"
    }
    "#);
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(mara.cash(portfolio).await, "98499.50");

    let own = answer.header("location").unwrap();
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(own, format!("/api/v1/portfolios/{portfolio}/orders/{id}"));
    assert_eq!(*mara.get(own).await.is(200).json(), *answer.json());
}

#[tokio::test]
async fn a_sell_is_filled_at_the_bid_and_realizes_its_result() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    app.prices.set_bid_and_ask("AAPL", "159.90", "160.10");
    let answer = mara.sell(portfolio, "AAPL", "4").await.is(201);
    assert_json_snapshot!(answer.json(), { ".id" => "[uuid]", ".client_order_id" => "[uuid]" }, @r#"
    {
      "amount": "639.60",
      "canceled_at": null,
      "client_order_id": "[uuid]",
      "commission": "0.00",
      "expires_at": "2026-11-21T05:00:00Z",
      "filled_at": "2026-11-20T19:12:00Z",
      "filled_price": "159.90",
      "filled_quantity": "4",
      "fills": [
        {
          "amount": "639.60",
          "commission": "0.00",
          "price": "159.90",
          "quantity": "4",
          "realized_pnl": "39.60",
          "receipt": {
            "age_s": 0.0,
            "commission": "0.00",
            "quoted_at": "2026-11-20T19:12:00Z",
            "quoted_price": "159.90",
            "rounding_version": 2,
            "rule": "bid",
            "slippage": "0.00",
            "source": "fixed"
          },
          "timestamp": "2026-11-20T19:12:00Z"
        }
      ],
      "high_water_price": null,
      "hold_reason": null,
      "id": "[uuid]",
      "legs": [],
      "limit_price": null,
      "notional": null,
      "order_class": "simple",
      "parent_order_id": null,
      "quantity": "4",
      "realized_pnl": "39.60",
      "receipt": {
        "age_s": 0.0,
        "commission": "0.00",
        "quoted_at": "2026-11-20T19:12:00Z",
        "quoted_price": "159.90",
        "rounding_version": 2,
        "rule": "bid",
        "slippage": "0.00",
        "source": "fixed"
      },
      "reject_reason": null,
      "replaces": null,
      "reserved_cash": "0.00",
      "reserved_quantity": "0",
      "side": "sell",
      "status": "filled",
      "stop_price": null,
      "submitted_at": "2026-11-20T19:12:00Z",
      "symbol": "AAPL",
      "time_in_force": "day",
      "trail_percent": null,
      "trail_price": null,
      "triggered_at": null,
      "type": "market"
    }
    "#);
    assert_eq!(mara.cash(portfolio).await, "99139.60");
}

#[tokio::test]
async fn a_notional_order_buys_as_many_shares_as_the_amount_pays_for() {
    let app = TestApp::spawn().await;
    app.prices.set("MSFT", "333.33");
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let order = json!({
        "symbol": "MSFT", "side": "buy", "type": "market", "notional": "500", "time_in_force": "gtc",
    });
    let order = mara.order(portfolio, order).await.is(201);
    assert_json_snapshot!(order.json(), { ".id" => "[uuid]", ".client_order_id" => "[uuid]" }, @r#"
    {
      "amount": "-500.00",
      "canceled_at": null,
      "client_order_id": "[uuid]",
      "commission": "0.00",
      "expires_at": null,
      "filled_at": "2026-11-20T19:12:00Z",
      "filled_price": "333.33",
      "filled_quantity": "1.500015",
      "fills": [
        {
          "amount": "-500.00",
          "commission": "0.00",
          "price": "333.33",
          "quantity": "1.500015",
          "realized_pnl": null,
          "receipt": {
            "age_s": 0.0,
            "commission": "0.00",
            "quoted_at": "2026-11-20T19:12:00Z",
            "quoted_price": "333.33",
            "rounding_version": 2,
            "rule": "last",
            "slippage": "0.00",
            "source": "fixed"
          },
          "timestamp": "2026-11-20T19:12:00Z"
        }
      ],
      "high_water_price": null,
      "hold_reason": null,
      "id": "[uuid]",
      "legs": [],
      "limit_price": null,
      "notional": "500.00",
      "order_class": "simple",
      "parent_order_id": null,
      "quantity": null,
      "realized_pnl": null,
      "receipt": {
        "age_s": 0.0,
        "commission": "0.00",
        "quoted_at": "2026-11-20T19:12:00Z",
        "quoted_price": "333.33",
        "rounding_version": 2,
        "rule": "last",
        "slippage": "0.00",
        "source": "fixed"
      },
      "reject_reason": null,
      "replaces": null,
      "reserved_cash": "0.00",
      "reserved_quantity": "0",
      "side": "buy",
      "status": "filled",
      "stop_price": null,
      "submitted_at": "2026-11-20T19:12:00Z",
      "symbol": "MSFT",
      "time_in_force": "gtc",
      "trail_percent": null,
      "trail_price": null,
      "triggered_at": null,
      "type": "market"
    }
    "#);
}

#[tokio::test]
async fn the_smallest_and_the_largest_quantity_are_in_plain_notation() {
    let app = TestApp::spawn().await;
    app.prices.list("PENNY", "Penny Mills", "Materials", "0.0001");
    app.prices.list("DEAR", "Dear & Co.", "Financials", "9999999.00");
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000000").await;
    let many = mara.buy(portfolio, "PENNY", "1000000000").await.is(201).json();
    assert_eq!((&many["quantity"], &many["filled_price"]), (&json!("1000000000"), &json!("0.0001")));
    assert_eq!(many["amount"], "-100000.00");
    let few = mara.buy(portfolio, "DEAR", "0.000000001").await.is(201).json();
    assert_eq!((&few["filled_quantity"], &few["amount"]), (&json!("0.000000001"), &json!("-0.01")));
}

#[tokio::test]
async fn an_order_above_the_buying_power_is_refused_and_not_stored() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1499.99").await;
    let problem = mara.buy(portfolio, "AAPL", "10").await.is_refused(422, "insufficient_buying_power");
    assert_json_snapshot!(problem, @r#"
    {
      "available": "1499.99",
      "code": "insufficient_buying_power",
      "detail": "The order costs 1500.00 and 1499.99 is available.",
      "required": "1500.00",
      "status": 422,
      "title": "Not enough buying power",
      "type": "urn:stockyard:problem:insufficient_buying_power"
    }
    "#);
    assert!(mara.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().is_empty());
    assert_eq!(mara.cash(portfolio).await, "1499.99");
}

#[tokio::test]
async fn selling_more_than_held_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "2.5").await.is(201);
    let problem = mara.sell(portfolio, "AAPL", "2.500000001").await.is_refused(422, "insufficient_shares");
    assert_json_snapshot!(problem, @r#"
    {
      "available": "2.5",
      "code": "insufficient_shares",
      "detail": "2.5 shares can be sold, the order asks for 2.500000001.",
      "required": "2.500000001",
      "status": 422,
      "title": "Not enough shares",
      "type": "urn:stockyard:problem:insufficient_shares"
    }
    "#);
    mara.sell(portfolio, "MSFT", "1").await.is_refused(422, "insufficient_shares");
    mara.sell(portfolio, "AAPL", "2.5").await.is(201);
}

#[tokio::test]
async fn an_order_worth_less_than_a_cent_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    let problem = mara.buy(portfolio, "AAPL", "0.000000001").await.is_refused(422, "order_too_small");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "order_too_small",
      "detail": "The order is worth less than a cent: make it larger.",
      "status": 422,
      "title": "Order too small",
      "type": "urn:stockyard:problem:order_too_small"
    }
    "#);
}

#[tokio::test]
async fn an_order_too_large_for_the_books_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000000000000000").await;
    app.prices.list("PENNY", "Penny Mills", "Materials", "0.0001");
    mara.buy(portfolio, "PENNY", "1000000000").await.is(201);
    let problem = mara.buy(portfolio, "PENNY", "1000").await.is_refused(422, "order_too_large");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "order_too_large",
      "detail": "The order is larger than an account can hold.",
      "status": 422,
      "title": "Order too large",
      "type": "urn:stockyard:problem:order_too_large"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_symbol_is_not_found() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    let problem = mara.buy(portfolio, "NOPE", "1").await.is_refused(404, "unknown_symbol");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "unknown_symbol",
      "detail": "No stock has the symbol NOPE.",
      "status": 404,
      "symbol": "NOPE",
      "title": "Unknown symbol",
      "type": "urn:stockyard:problem:unknown_symbol"
    }
    "#);
}

#[tokio::test]
async fn a_stale_price_fills_no_order() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    app.prices.set_as_of("AAPL", Some(app.now() - chrono::TimeDelta::minutes(2)));
    let ioc = with(trade("buy", "AAPL", "1"), json!({ "time_in_force": "ioc" }));
    let problem = mara.order(portfolio, ioc).await.is_refused(422, "no_fresh_price");
    assert_json_snapshot!(problem, @r#"
    {
      "as_of": "2026-11-20T19:10:00Z",
      "code": "no_fresh_price",
      "detail": "The newest price is from 2026-11-20T19:10:00Z, too old to trade on: try again when there is a newer price.",
      "status": 422,
      "title": "No fresh price",
      "type": "urn:stockyard:problem:no_fresh_price"
    }
    "#);
}

#[tokio::test]
async fn without_a_price_an_order_is_refused_until_the_source_recovers() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    app.prices.fail_with(QuoteError::Unreachable);
    let answer = mara.buy(portfolio, "AAPL", "1").await;
    assert_json_snapshot!(answer.is_refused(503, "no_price"), @r#"
    {
      "code": "no_price",
      "detail": "There is no price for AAPL at the moment.",
      "status": 503,
      "symbol": "AAPL",
      "title": "Not available at the moment",
      "type": "urn:stockyard:problem:no_price"
    }
    "#);
    assert_eq!(answer.header("retry-after"), Some("30"));
    app.prices.recover();
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    // Now a price is known, but it is too old for a fill: the order waits.
    app.prices.fail_with(QuoteError::Unreachable);
    assert_eq!(mara.buy(portfolio, "AAPL", "1").await.is(201).json()["status"], "accepted");
}

#[tokio::test]
async fn all_invalid_fields_of_an_order_are_reported_at_once() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    let order = json!({
        "symbol": "A B", "side": "hold", "type": "limit", "quantity": "ten", "time_in_force": "always",
    });
    assert_json_snapshot!(mara.order(portfolio, order).await.is_refused(422, "invalid_fields"), @r#"
    {
      "code": "invalid_fields",
      "detail": "Some fields are invalid; see `errors`.",
      "errors": [
        {
          "field": "symbol",
          "message": "a symbol has 1 to 12 letters, digits, dots or hyphens, like AAPL or BRK.B",
          "pointer": "/symbol"
        },
        {
          "field": "side",
          "message": "must be buy or sell",
          "pointer": "/side"
        },
        {
          "field": "time_in_force",
          "message": "must be day or gtc or ioc or fok or opg or cls",
          "pointer": "/time_in_force"
        },
        {
          "field": "quantity",
          "message": "write a plain decimal like 1250.50, without thousands separators or exponents",
          "pointer": "/quantity"
        },
        {
          "field": "limit_price",
          "message": "enter a limit price",
          "pointer": "/limit_price"
        }
      ],
      "status": 422,
      "title": "Invalid fields",
      "type": "urn:stockyard:problem:invalid_fields"
    }
    "#);
}

#[tokio::test]
async fn invalid_orders_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    let with = |changes: Value| {
        let mut order = trade("buy", "AAPL", "1");
        order.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        order
    };
    for (field, order) in [
        ("symbol", with(json!({"symbol": ""}))),
        ("side", with(json!({"side": "BUY"}))),
        ("type", with(json!({"type": "stopp"}))),
        ("quantity", with(json!({"quantity": null}))),
        ("notional", with(json!({"notional": "100"}))),
        ("notional", with(json!({"quantity": null, "notional": "0"}))),
        ("notional", with(json!({"quantity": null, "notional": "-1"}))),
        ("notional", with(json!({"quantity": null, "notional": "1.001"}))),
        ("client_order_id", with(json!({"client_order_id": ""}))),
        ("client_order_id", with(json!({"client_order_id": "x".repeat(129)}))),
        ("client_order_id", with(json!({"client_order_id": "two words"}))),
        ("client_order_id", with(json!({"client_order_id": "größe"}))),
        ("limit", with(json!({"limit": "150"}))),
        ("quantity", with(json!({"quantity": ["1"]}))),
        ("type", json!({"symbol": "AAPL", "side": "buy", "quantity": "1"})),
        ("body", json!([])),
    ] {
        mara.order(portfolio, order.clone()).await.is_about(field);
        mara.post(&format!("/api/v1/portfolios/{portfolio}/orders/preview"), order).await.is_about(field);
    }
    assert_eq!(mara.cash(portfolio).await, "10000.00");
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000").await;
    let mut placed = Vec::new();
    for symbol in ["AAPL", "MSFT", "JPM", "SPY", "AAPL"] {
        placed.push(mara.buy(portfolio, symbol, "1").await.is(201).json().0);
    }
    placed.reverse();
    let path = format!("/api/v1/portfolios/{portfolio}/orders");
    assert_eq!(mara.pages(&path, 2).await, [&placed[..2], &placed[2..4], &placed[4..]]);
    assert_eq!(mara.get(&path).await.items(), placed);
    mara.get(&format!("{path}?cursor=5")).await.is_about("cursor");
    mara.get(&format!("{path}?type=market")).await.is_about("type");
}

#[tokio::test]
async fn an_order_belongs_to_its_portfolio() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let (one, other) = (mara.open("1000").await, mara.open("1000").await);
    let id = mara.buy(one, "AAPL", "1").await.is(201).json()["id"].as_str().unwrap().to_owned();
    mara.get(&format!("/api/v1/portfolios/{other}/orders/{id}")).await.is_refused(404, "not_found");
    mara.get(&format!("/api/v1/portfolios/{one}/orders/nonsense")).await.is_refused(404, "not_found");
    let unknown = uuid::Uuid::nil();
    mara.get(&format!("/api/v1/portfolios/{one}/orders/{unknown}")).await.is_refused(404, "not_found");
}

#[tokio::test]
async fn a_preview_shows_the_result_of_a_buy_and_stores_nothing() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "149.95", "150.05");
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    let path = format!("/api/v1/portfolios/{portfolio}/orders/preview");
    let preview = mara.post(&path, trade("buy", "AAPL", "4")).await.is(200);
    assert_json_snapshot!(preview.json(), @r#"
    {
      "amount": "-600.20",
      "average_buy_price_after": "150.050000",
      "buying_power_after": "99.70",
      "buying_power_before": "699.90",
      "cash_after": "99.70",
      "cash_before": "699.90",
      "commission": "0.00",
      "cost": "600.20",
      "expires_at": "2026-11-21T05:00:00Z",
      "price": "150.05",
      "quantity": "4",
      "quantity_after": "6",
      "quantity_before": "2",
      "realized_pnl": null,
      "rule": "ask",
      "side": "buy",
      "slippage": "0.00",
      "status": "filled",
      "symbol": "AAPL",
      "type": "market",
      "warnings": [
        "AAPL would be 90 % of the portfolio."
      ],
      "weight_after": 0.9002700810243073
    }
    "#);
    assert_eq!(mara.cash(portfolio).await, "699.90");
    assert_eq!(mara.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().len(), 1);
}

#[tokio::test]
async fn a_preview_shows_the_realized_result_of_a_sell() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    app.prices.set("AAPL", "170.00");
    let path = format!("/api/v1/portfolios/{portfolio}/orders/preview");
    let preview = mara.post(&path, trade("sell", "AAPL", "2")).await.is(200);
    assert_json_snapshot!(preview.json(), @r#"
    {
      "amount": "340.00",
      "average_buy_price_after": null,
      "buying_power_after": "1040.00",
      "buying_power_before": "700.00",
      "cash_after": "1040.00",
      "cash_before": "700.00",
      "commission": "0.00",
      "cost": "340.00",
      "expires_at": "2026-11-21T05:00:00Z",
      "price": "170.00",
      "quantity": "2",
      "quantity_after": "0",
      "quantity_before": "2",
      "realized_pnl": "40.00",
      "rule": "last",
      "side": "sell",
      "slippage": "0.00",
      "status": "filled",
      "symbol": "AAPL",
      "type": "market",
      "warnings": [
        "This sells all shares of AAPL.",
        "The price source gives no bid and ask; orders fill at its last price."
      ],
      "weight_after": 0.0
    }
    "#);
}

#[tokio::test]
async fn a_preview_is_refused_as_the_order_would_be() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let path = format!("/api/v1/portfolios/{portfolio}/orders/preview");
    let refused = mara.post(&path, trade("buy", "AAPL", "10")).await;
    let refused = refused.is_refused(422, "insufficient_buying_power");
    let order = mara.buy(portfolio, "AAPL", "10").await;
    assert_eq!(refused.0, order.is_refused(422, "insufficient_buying_power").0);
    mara.post(&path, trade("sell", "AAPL", "1")).await.is_refused(422, "insufficient_shares");
    mara.post(&path, trade("buy", "NOPE", "1")).await.is_refused(404, "unknown_symbol");
}

#[tokio::test]
async fn only_one_of_two_concurrent_orders_above_the_cash_is_filled() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    for _ in 0..5 {
        let (one, other) = tokio::join!(mara.buy(portfolio, "AAPL", "4"), mara.buy(portfolio, "AAPL", "4"));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{} {}", one.text(), other.text());
        mara.sell(portfolio, "AAPL", "4").await.is(201);
    }
    assert_eq!(mara.cash(portfolio).await, "1000.00");
}

#[tokio::test]
async fn a_position_is_closed_in_one_call() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "150.00", "150.00");
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    mara.buy(portfolio, "AAPL", "3.000000001").await.is(201);
    let position = format!("/api/v1/portfolios/{portfolio}/positions/aapl");
    mara.delete(&format!("{position}?percentage=0")).await.is(422).is_about("percentage");
    mara.delete(&format!("{position}?quantity=1&percentage=50")).await.is(422).is_about("percentage");
    mara.delete(&format!("{position}?quantity=4")).await.is_refused(422, "insufficient_shares");
    let one = mara.delete(&format!("{position}?quantity=1")).await.is(201).json();
    assert_eq!((&one["symbol"], &one["filled_quantity"]), (&json!("AAPL"), &json!("1")));
    let half = mara.delete(&format!("{position}?percentage=50")).await.is(201).json();
    assert_eq!(half["quantity"], json!("1"));
    let keyed = mara.with("idempotency-key", "close-aapl");
    let all = keyed.delete(&position).await.is(201);
    assert_eq!((&all.json()["quantity"], &all.json()["status"]), (&json!("1.000000001"), &json!("filled")));
    assert_eq!(*mara.get(all.header("location").unwrap()).await.is(200).json(), *all.json());
    let again = keyed.delete(&position).await.is(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let problem = mara.delete(&position).await.is_refused(404, "not_found");
    assert_eq!(problem["detail"], "The portfolio has no position in AAPL.");
    mara.delete(&format!("/api/v1/portfolios/{portfolio}/positions/!")).await.is(404);
    assert_eq!(mara.cash(portfolio).await, "100000.00");
}

#[tokio::test]
async fn json_numbers_are_read_without_loss_and_too_many_decimals_are_named() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    let path = format!("/api/v1/portfolios/{portfolio}/orders");
    let order = |quantity: &str| {
        format!(r#"{{"symbol": "AAPL", "side": "buy", "type": "market", "quantity": {quantity}}}"#)
    };
    for (written, read) in [("1e-03", "0.001"), ("2.5E0", "2.5"), ("1e+1", "10"), ("0.125", "0.125")] {
        let placed = mara.post_text(&path, &order(written)).await.is(201).json();
        assert_eq!(placed["quantity"], json!(read), "{written}");
    }
    for written in ["0.30000000000000004", "1e-10"] {
        let refused = mara.post_text(&path, &order(written)).await.is_refused(422, "invalid_fields");
        let message = refused["errors"][0]["message"].as_str().unwrap();
        assert_eq!(message, "use at most 9 decimals", "{written}");
    }
    let typed = mara.post_text(&path, &order("\"1e-05\"")).await.is_refused(422, "invalid_fields");
    assert!(typed["errors"][0]["message"].as_str().unwrap().contains("exponents"));
}
