//! Working orders: what they reserve, when they fill, how they end.

use domain::{Commission, TradingMode};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{TestApp, address, line, trade, with};

const STATE: [&str; 4] = ["status", "filled_quantity", "filled_price", "reserved_cash"];

fn limit_buy(quantity: &str, price: &str) -> Value {
    with(trade("buy", "AAPL", quantity), json!({"type": "limit", "limit_price": price}))
}

#[tokio::test]
async fn a_limit_order_reserves_its_cash_and_fills_at_the_better_price() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let order = with(limit_buy("10", "140"), json!({"time_in_force": "gtc"}));
    let answer = mara.order(portfolio, order).await.is(201);
    assert_json_snapshot!(answer.json(), { ".id" => "[uuid]", ".client_order_id" => "[uuid]" }, @r#"
    {
      "amount": "0.00",
      "canceled_at": null,
      "client_order_id": "[uuid]",
      "commission": "0.00",
      "expires_at": null,
      "filled_at": null,
      "filled_price": null,
      "filled_quantity": "0",
      "fills": [],
      "high_water_price": null,
      "hold_reason": null,
      "id": "[uuid]",
      "legs": [],
      "limit_price": "140.00",
      "notional": null,
      "order_class": "simple",
      "parent_order_id": null,
      "quantity": "10",
      "realized_pnl": null,
      "receipt": null,
      "reject_reason": null,
      "replaces": null,
      "reserved_cash": "1400.00",
      "reserved_quantity": "0",
      "side": "buy",
      "status": "accepted",
      "stop_price": null,
      "submitted_at": "2026-11-20T19:12:00Z",
      "symbol": "AAPL",
      "time_in_force": "gtc",
      "trail_percent": null,
      "trail_price": null,
      "triggered_at": null,
      "type": "limit"
    }
    "#);
    let order = answer.json().0;
    assert_eq!(answer.header("location").unwrap(), address(portfolio, &order));
    assert_eq!(
        (mara.cash(portfolio).await, mara.buying_power(portfolio).await),
        ("10000.00".into(), "8600.00".into())
    );

    app.trades_at("AAPL", "140.01").await;
    assert_eq!(line(&mara.see(portfolio, &order).await, &STATE), "accepted 0 - 1400.00");
    app.trades_at("AAPL", "139.50").await;
    let filled = mara.see(portfolio, &order).await;
    assert_eq!(line(&filled, &STATE), "filled 10 139.50 0.00");
    assert_eq!(line(&filled["receipt"], &["quoted_price", "slippage", "age_s"]), "139.50 0.00 0.0");
    assert_eq!(filled["filled_at"], "2026-11-20T19:12:02Z");
    assert_eq!(
        (mara.cash(portfolio).await, mara.buying_power(portfolio).await),
        ("8605.00".into(), "8605.00".into())
    );
}

#[tokio::test]
async fn every_order_type_triggers_at_its_price() {
    for (side, terms, quiet, loud, filled_price) in [
        ("buy", json!({"type": "limit", "limit_price": "140"}), "140.01", "139.00", "139.00"),
        ("sell", json!({"type": "limit", "limit_price": "160"}), "159.99", "161.00", "161.00"),
        ("buy", json!({"type": "stop", "stop_price": "160"}), "159.99", "162.00", "162.00"),
        ("sell", json!({"type": "stop", "stop_price": "140"}), "140.01", "138.00", "138.00"),
        ("sell", json!({"type": "trailing_stop", "trail_price": "5"}), "160.00", "155.00", "155.00"),
        ("sell", json!({"type": "trailing_stop", "trail_percent": "10"}), "200.00", "179.50", "179.50"),
        ("buy", json!({"type": "trailing_stop", "trail_percent": "10"}), "140.00", "154.00", "154.00"),
    ] {
        let app = TestApp::spawn().await;
        let mara = app.register("mara").await;
        let portfolio = mara.open("10000.00").await;
        mara.buy(portfolio, "AAPL", "10").await.is(201);
        let order = mara.place(portfolio, with(trade(side, "AAPL", "4"), terms.clone())).await;
        assert_eq!(line(&order, &["status", "filled_quantity"]), "accepted 0", "{terms}");
        app.trades_at("AAPL", quiet).await;
        assert_eq!(mara.see(portfolio, &order).await["status"], "accepted", "{terms} at {quiet}");
        app.trades_at("AAPL", loud).await;
        let order = mara.see(portfolio, &order).await;
        let expected = format!("filled 4 {filled_price}");
        assert_eq!(line(&order, &["status", "filled_quantity", "filled_price"]), expected, "{terms}");
    }
}

#[tokio::test]
async fn a_stop_limit_triggers_at_its_stop_and_fills_within_its_limit() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let terms = json!({"type": "stop_limit", "stop_price": "140", "limit_price": "138"});
    let order = mara.place(portfolio, with(trade("sell", "AAPL", "10"), terms)).await;
    assert_eq!(
        line(&order, &["stop_price", "limit_price", "triggered_at", "reserved_quantity"]),
        "140.00 138.00 - 10"
    );
    app.trades_at("AAPL", "137.00").await;
    let order = mara.see(portfolio, &order).await;
    assert_eq!(line(&order, &["status", "triggered_at"]), "accepted 2026-11-20T19:12:01Z");
    app.trades_at("AAPL", "138.50").await;
    assert_eq!(mara.see(portfolio, &order).await["filled_price"], "138.50");
}

#[tokio::test]
async fn a_trailing_stop_shows_its_best_price_and_current_stop() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let terms = json!({"type": "trailing_stop", "trail_percent": "2.5"});
    let order = mara.place(portfolio, with(trade("sell", "AAPL", "10"), terms)).await;
    let members = ["trail_price", "trail_percent", "high_water_price", "stop_price"];
    assert_eq!(line(&order, &members), "- 2.5 150.00 146.25");
    app.trades_at("AAPL", "160.00").await;
    app.trades_at("AAPL", "158.00").await;
    assert_eq!(line(&mara.see(portfolio, &order).await, &members), "- 2.5 160.00 156.00");
    let too_wide = json!({"type": "trailing_stop", "trail_price": "158"});
    let refused = mara.order(portfolio, with(trade("sell", "AAPL", "1"), too_wide)).await;
    refused.is_refused(422, "trail_too_wide");
}

#[tokio::test]
async fn a_day_order_expires_with_its_session_and_a_gtc_order_stays_open() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let day = mara.place(portfolio, limit_buy("10", "140")).await;
    let gtc = mara.place(portfolio, with(limit_buy("5", "140"), json!({"time_in_force": "gtc"}))).await;
    // The session ends at midnight in New York.
    assert_eq!(line(&day, &["time_in_force", "expires_at"]), "day 2026-11-21T05:00:00Z");
    assert_eq!(line(&gtc, &["time_in_force", "expires_at"]), "gtc -");
    app.at("2026-11-21T05:00:01Z");
    app.match_orders().await;
    let ended = mara.see(portfolio, &day).await;
    assert_eq!(
        line(&ended, &["status", "canceled_at", "reserved_cash"]),
        "expired 2026-11-21T05:00:01Z 0.00"
    );
    assert_eq!(mara.see(portfolio, &gtc).await["status"], "accepted");
    assert_eq!(mara.buying_power(portfolio).await, "9300.00");
    app.trades_at("AAPL", "130.00").await;
    assert_eq!(mara.see(portfolio, &gtc).await["filled_price"], "130.00");
    assert_eq!(mara.see(portfolio, &day).await["status"], "expired");
}

#[tokio::test]
async fn ioc_and_fok_orders_are_decided_at_once() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    for time_in_force in ["ioc", "fok"] {
        let now = json!({"time_in_force": time_in_force});
        let missed = mara.place(portfolio, with(limit_buy("10", "149.99"), now.clone())).await;
        assert_eq!(line(&missed, &STATE), "canceled 0 - 0.00");
        let met = mara.place(portfolio, with(limit_buy("1", "150"), now.clone())).await;
        assert_eq!(line(&met, &STATE), "filled 1 150.00 0.00");
        let market = mara.place(portfolio, with(trade("buy", "AAPL", "1"), now)).await;
        assert_eq!(line(&market, &STATE), "filled 1 150.00 0.00");
    }
    assert_eq!(mara.buying_power(portfolio).await, "9400.00");
}

#[tokio::test]
async fn auction_orders_fill_at_the_auction_price_or_expire() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let at = |time_in_force: &str| json!({"time_in_force": time_in_force});
    let opening = mara.place(portfolio, with(trade("buy", "AAPL", "1"), at("opg"))).await;
    let close = mara.place(portfolio, with(trade("buy", "AAPL", "2"), at("cls"))).await;
    let too_dear = mara.place(portfolio, with(limit_buy("3", "149"), at("cls"))).await;
    for order in [&opening, &close, &too_dear] {
        assert_eq!(line(order, &["status", "expires_at"]), "accepted 2026-11-21T05:00:00Z");
    }
    app.trades_at("AAPL", "100.00").await;
    assert_eq!(mara.see(portfolio, &close).await["status"], "accepted");
    app.at("2026-11-21T05:00:01Z");
    app.prices.set("AAPL", "151.00");
    app.match_orders().await;
    let rule = |order: &Value| line(&order["receipt"], &["rule", "quoted_price"]);
    let (opening, close) = (mara.see(portfolio, &opening).await, mara.see(portfolio, &close).await);
    assert_eq!((opening["status"].as_str(), rule(&opening)), (Some("filled"), "open 151.00".into()));
    assert_eq!((close["status"].as_str(), rule(&close)), (Some("filled"), "close 151.00".into()));
    assert_eq!(mara.see(portfolio, &too_dear).await["status"], "expired");
}

#[tokio::test]
async fn a_fill_is_limited_by_the_traded_volume() {
    let app = TestApp::spawn_trading(|rules| rules.liquidity = Some("10".parse().unwrap())).await;
    app.prices.set_volume("AAPL", Some(50));
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    // A fill may take 10 % of the volume, which is 50.
    let order = mara.place(portfolio, trade("buy", "AAPL", "12")).await;
    assert_eq!(line(&order, &STATE), "partially_filled 5 150.00 1050.00");
    assert_eq!(order["filled_at"], Value::Null);
    app.trades_at("AAPL", "151.00").await;
    app.trades_at("AAPL", "152.00").await;
    let order = mara.see(portfolio, &order).await;
    assert_json_snapshot!(crate::harness::Json(order["fills"].clone()), @r#"
    [
      {
        "amount": "-750.00",
        "commission": "0.00",
        "price": "150.00",
        "quantity": "5",
        "realized_pnl": null,
        "receipt": {
          "age_s": 0.0,
          "commission": "0.00",
          "quoted_at": "2026-11-20T19:12:00Z",
          "quoted_price": "150.00",
          "rounding_version": 2,
          "rule": "last",
          "slippage": "0.00",
          "source": "fixed"
        },
        "timestamp": "2026-11-20T19:12:00Z"
      },
      {
        "amount": "-755.00",
        "commission": "0.00",
        "price": "151.00",
        "quantity": "5",
        "realized_pnl": null,
        "receipt": {
          "age_s": 0.0,
          "commission": "0.00",
          "quoted_at": "2026-11-20T19:12:01Z",
          "quoted_price": "151.00",
          "rounding_version": 2,
          "rule": "last",
          "slippage": "0.00",
          "source": "fixed"
        },
        "timestamp": "2026-11-20T19:12:01Z"
      },
      {
        "amount": "-304.00",
        "commission": "0.00",
        "price": "152.00",
        "quantity": "2",
        "realized_pnl": null,
        "receipt": {
          "age_s": 0.0,
          "commission": "0.00",
          "quoted_at": "2026-11-20T19:12:02Z",
          "quoted_price": "152.00",
          "rounding_version": 2,
          "rule": "last",
          "slippage": "0.00",
          "source": "fixed"
        },
        "timestamp": "2026-11-20T19:12:02Z"
      }
    ]
    "#);
    // (5 × 150 + 5 × 151 + 2 × 152) / 12
    assert_eq!(
        line(&order, &["status", "filled_quantity", "filled_price", "amount"]),
        "filled 12 150.75 -1809.00"
    );

    let now = |time_in_force: &str| with(trade("buy", "AAPL", "6"), json!({"time_in_force": time_in_force}));
    let ioc = mara.place(portfolio, now("ioc")).await;
    assert_eq!(line(&ioc, &STATE), "canceled 5 152.00 0.00");
    let fok = mara.place(portfolio, now("fok")).await;
    assert_eq!(line(&fok, &STATE), "canceled 0 - 0.00");
    let fok = mara.place(portfolio, with(now("fok"), json!({"quantity": "5"}))).await;
    assert_eq!(line(&fok, &STATE), "filled 5 152.00 0.00");
}

#[tokio::test]
async fn commission_and_slippage_are_shown_before_and_after() {
    let app = TestApp::spawn_trading(|rules| {
        rules.commission = Commission { per_order: "1.00".parse().unwrap(), ..Commission::default() };
        rules.slippage = Some("0.1".parse().unwrap());
    })
    .await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let order = trade("buy", "AAPL", "10");
    let preview = mara.preview(portfolio, order.clone()).await.is(200).json();
    assert_eq!(
        line(
            &preview,
            &["status", "price", "slippage", "cost", "commission", "amount", "buying_power_after"]
        ),
        "filled 150.15 0.15 1501.50 1.00 -1502.50 8497.50"
    );
    let order = mara.place(portfolio, order).await;
    assert_eq!(line(&order, &["filled_price", "commission", "amount"]), "150.15 1.00 -1502.50");
    assert_eq!(line(&order["receipt"], &["quoted_price", "slippage", "commission"]), "150.00 0.15 1.00");
    assert_eq!(mara.buying_power(portfolio).await, "8497.50");

    // A sell gets a lower price, which is worse too. A limit order has no slippage.
    let sold = mara.place(portfolio, trade("sell", "AAPL", "1")).await;
    assert_eq!(line(&sold["receipt"], &["quoted_price", "slippage"]), "150.00 0.15");
    assert_eq!(line(&sold, &["filled_price", "amount"]), "149.85 148.85");
    let limit = mara.place(portfolio, limit_buy("1", "155")).await;
    assert_eq!(line(&limit["receipt"], &["quoted_price", "slippage"]), "150.00 0.00");
    // A working order reserves its commission too.
    let waits = mara.place(portfolio, limit_buy("1", "140")).await;
    assert_eq!(waits["reserved_cash"], "141.00");
}

#[tokio::test]
async fn a_preview_of_a_working_order_shows_what_it_reserves() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let preview = mara.preview(portfolio, limit_buy("10", "140")).await.is(200);
    assert_json_snapshot!(preview.json(), @r#"
    {
      "amount": "-1400.00",
      "average_buy_price_after": "140.000000",
      "buying_power_after": "8600.00",
      "buying_power_before": "10000.00",
      "cash_after": "8600.00",
      "cash_before": "10000.00",
      "commission": "0.00",
      "cost": "1400.00",
      "expires_at": "2026-11-21T05:00:00Z",
      "price": "140.00",
      "quantity": "10",
      "quantity_after": "10",
      "quantity_before": "0",
      "realized_pnl": null,
      "rule": null,
      "side": "buy",
      "slippage": null,
      "status": "accepted",
      "symbol": "AAPL",
      "type": "limit",
      "warnings": [
        "The price source gives no bid and ask; orders fill at its last price."
      ],
      "weight_after": 0.1485148514851485
    }
    "#);
    assert_eq!(mara.buying_power(portfolio).await, "10000.00");
}

#[tokio::test]
async fn reserved_cash_cannot_be_spent_again() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1500.00").await;
    mara.place(portfolio, limit_buy("10", "140")).await;
    let refused = mara.buy(portfolio, "AAPL", "1").await.is_refused(422, "insufficient_buying_power");
    assert_eq!(line(&refused, &["required", "available"]), "150.00 100.00");
    mara.withdraw(portfolio, "100.01").await.is_refused(422, "insufficient_cash");
    let valuation = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    assert_eq!(line(&valuation, &["cash_balance", "buying_power"]), "1500.00 100.00");
}

#[tokio::test]
async fn reserved_shares_cannot_be_sold_again() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    let terms = json!({"type": "stop", "stop_price": "140"});
    let stop = mara.place(portfolio, with(trade("sell", "AAPL", "8"), terms)).await;
    let refused = mara.sell(portfolio, "AAPL", "3").await.is_refused(422, "insufficient_shares");
    assert_eq!(line(&refused, &["required", "available"]), "3 2");
    mara.cancel(portfolio, &stop).await.is(200);
    mara.sell(portfolio, "AAPL", "3").await.is(201);
}

#[tokio::test]
async fn an_open_order_is_canceled_once() {
    let app = TestApp::spawn().await;
    let (mara, mallory) = (app.register("mara").await, app.register("mallory").await);
    let portfolio = mara.open("10000.00").await;
    let order = mara.place(portfolio, limit_buy("10", "140")).await;
    mallory.cancel(portfolio, &order).await.is_refused(404, "not_found");
    let other = mallory.open("1").await;
    mallory.cancel(other, &order).await.is_refused(404, "not_found");
    app.pass(chrono::TimeDelta::seconds(5));
    let canceled = mara.cancel(portfolio, &order).await.is(200).json();
    let members = ["status", "canceled_at", "filled_at", "reserved_cash"];
    assert_eq!(line(&canceled, &members), "canceled 2026-11-20T19:12:05Z - 0.00");
    assert_eq!(canceled.0, mara.see(portfolio, &order).await);
    assert_eq!(mara.buying_power(portfolio).await, "10000.00");
    let twice = mara.cancel(portfolio, &order).await;
    assert_json_snapshot!(twice.is_refused(409, "order_not_open"), @r#"
    {
      "code": "order_not_open",
      "detail": "The order is already canceled.",
      "order_status": "canceled",
      "status": 409,
      "title": "Order not open",
      "type": "urn:stockyard:problem:order_not_open"
    }
    "#);
    let filled = mara.place(portfolio, trade("buy", "AAPL", "1")).await;
    let late = mara.cancel(portfolio, &filled).await.is_refused(409, "order_not_open");
    assert_eq!(late["order_status"], "filled");
    app.trades_at("AAPL", "100.00").await;
    assert_eq!(mara.see(portfolio, &order).await["filled_quantity"], "0");
}

#[tokio::test]
async fn a_triggered_order_that_cannot_be_paid_is_rejected_with_the_reason() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1700.00").await;
    let terms = json!({"type": "stop", "stop_price": "160"});
    let order = mara.place(portfolio, with(trade("buy", "AAPL", "10"), terms)).await;
    assert_eq!(order["reserved_cash"], "1600.00");
    app.trades_at("AAPL", "200.00").await;
    let order = mara.see(portfolio, &order).await;
    assert_eq!(
        line(&order, &["status", "reject_reason"]),
        "rejected the order costs 2000.00 and 1700.00 is available"
    );
    assert_eq!(mara.buying_power(portfolio).await, "1700.00");
}

#[tokio::test]
async fn with_real_hours_an_order_waits_for_the_exchange() {
    let app = TestApp::spawn_trading(|rules| rules.mode = TradingMode::Realistic).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    // Friday, 14:12: the next price fills the order.
    let order = mara.place(portfolio, trade("buy", "AAPL", "1")).await;
    assert_eq!(line(&order, &["status", "expires_at"]), "accepted 2026-11-20T21:00:00Z");
    app.trades_at("AAPL", "151.00").await;
    assert_eq!(mara.see(portfolio, &order).await["filled_price"], "151.00");

    // Saturday: the exchange is closed.
    app.at("2026-11-21T15:00:00Z");
    let closed = "The exchange is closed: the order waits for its next session.";
    let preview = mara.preview(portfolio, trade("buy", "AAPL", "2")).await.is(200).json();
    assert!(preview["warnings"].as_array().unwrap().contains(&json!(closed)), "{}", *preview);
    let order = mara.place(portfolio, trade("buy", "AAPL", "2")).await;
    assert_eq!(line(&order, &["status", "expires_at"]), "accepted 2026-11-23T21:00:00Z");
    app.trades_at("AAPL", "140.00").await;
    assert_eq!(mara.see(portfolio, &order).await["status"], "accepted");
    app.at("2026-11-23T14:30:01Z");
    app.prices.set("AAPL", "152.00");
    app.match_orders().await;
    assert_eq!(mara.see(portfolio, &order).await["filled_price"], "152.00");
}

#[tokio::test]
async fn orders_are_listed_by_whether_they_are_open_and_by_stock() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    let open = mara.place(portfolio, limit_buy("1", "140")).await;
    let terms = json!({"type": "limit", "limit_price": "300"});
    let other = mara.place(portfolio, with(trade("buy", "MSFT", "1"), terms)).await;
    let canceled = mara.place(portfolio, limit_buy("2", "140")).await;
    mara.cancel(portfolio, &canceled).await.is(200);
    let listed = async |query: &str| {
        let items = mara.get(&format!("/api/v1/portfolios/{portfolio}/orders{query}")).await.is(200).items();
        items.iter().map(|order| line(order, &["symbol", "quantity", "status"])).collect::<Vec<_>>()
    };
    let (a, b, c, d) = ("AAPL 2 canceled", "MSFT 1 accepted", "AAPL 1 accepted", "AAPL 1 filled");
    assert_eq!(listed("").await, [a, b, c, d]);
    assert_eq!(listed("?status=all").await, [a, b, c, d]);
    assert_eq!(listed("?status=open").await, [b, c]);
    assert_eq!(listed("?status=closed").await, [a, d]);
    assert_eq!(listed("?status=open&symbol=aapl").await, [c]);
    assert_eq!(listed("?symbol=MSFT").await, [b]);
    assert!(listed("?symbol=JPM").await.is_empty());
    let pages = mara.pages(&format!("/api/v1/portfolios/{portfolio}/orders?status=open"), 1).await;
    assert_eq!(pages, [[other], [open]]);
    for query in ["?status=filled", "?status="] {
        mara.get(&format!("/api/v1/portfolios/{portfolio}/orders{query}")).await.is_about("status");
    }
    mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?symbol=A%20B")).await.is_about("symbol");
    mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?state=open")).await.is_about("state");
}

#[tokio::test]
async fn conflicting_fields_are_refused_at_their_field() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let stop = json!({"type": "stop", "stop_price": "160"});
    for (field, more) in [
        ("limit_price", json!({"limit_price": "150"})),
        ("stop_price", json!({"stop_price": "150"})),
        ("trail_price", json!({"trail_price": "5"})),
        ("trail_percent", json!({"trail_percent": "5"})),
        ("limit_price", json!({"type": "limit"})),
        ("limit_price", json!({"type": "limit", "limit_price": "0"})),
        ("limit_price", json!({"type": "limit", "limit_price": "-1"})),
        ("limit_price", json!({"type": "limit", "limit_price": "150.001"})),
        ("limit_price", json!({"type": "limit", "limit_price": "10000000.01"})),
        ("stop_price", json!({"type": "limit", "limit_price": "150", "stop_price": "140"})),
        ("stop_price", json!({"type": "stop"})),
        ("limit_price", json!({"type": "stop", "stop_price": "160", "limit_price": "161"})),
        ("limit_price", json!({"type": "stop_limit", "stop_price": "160"})),
        ("stop_price", json!({"type": "stop_limit", "limit_price": "160"})),
        ("trail_price", json!({"type": "trailing_stop"})),
        ("trail_price", json!({"type": "trailing_stop", "trail_price": "wide"})),
        ("trail_percent", json!({"type": "trailing_stop", "trail_price": "5", "trail_percent": "5"})),
        ("trail_percent", json!({"type": "trailing_stop", "trail_percent": "0"})),
        ("trail_percent", json!({"type": "trailing_stop", "trail_percent": "101"})),
        ("stop_price", json!({"type": "trailing_stop", "trail_price": "5", "stop_price": "140"})),
        ("type", json!({"type": "iceberg"})),
        ("time_in_force", json!({"time_in_force": "gtd"})),
        ("time_in_force", with(stop.clone(), json!({"time_in_force": "ioc"}))),
        ("time_in_force", with(stop.clone(), json!({"time_in_force": "opg"}))),
        ("notional", with(stop.clone(), json!({"quantity": null, "notional": "500"}))),
        ("good_until", json!({"good_until": "2026-12-24"})),
        ("limit_price", json!({"limit_price": {"amount": "150"}})),
    ] {
        let order = with(trade("buy", "AAPL", "1"), more);
        mara.order(portfolio, order.clone()).await.is_about(field);
        mara.preview(portfolio, order).await.is_about(field);
    }
    assert!(mara.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().is_empty());
}
