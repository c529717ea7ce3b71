//! Canceling all orders and closing positions.

use serde_json::{Value, json};

use crate::harness::{TestApp, line, trade, with};

fn limit(side: &str, symbol: &str, price: &str) -> Value {
    let more = json!({"type": "limit", "limit_price": price, "time_in_force": "gtc"});
    with(trade(side, symbol, "1"), more)
}

#[tokio::test]
async fn all_open_orders_are_canceled_and_listed_with_their_outcome() {
    let app = TestApp::spawn().await;
    let (mara, eve) = (app.register("mara").await, app.register("eve").await);
    let portfolio = mara.open("100000.00").await;
    let path = format!("/api/v1/portfolios/{portfolio}/orders");
    mara.buy(portfolio, "AAPL", "5").await.is(201);
    for order in [limit("buy", "AAPL", "1.00"), limit("sell", "AAPL", "900"), limit("buy", "MSFT", "1.00")] {
        mara.place(portfolio, order).await;
    }
    eve.delete(&path).await.is_refused(404, "not_found");
    mara.delete(&format!("{path}?symbol=%00")).await.is_about("symbol");
    mara.delete(&format!("{path}?side=buy")).await.is_about("side");
    let some = mara.delete(&format!("{path}?symbol=msft")).await.is(200).json();
    let told = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                let order = line(&item["order"], &["side", "symbol", "status"]);
                format!("{} {order} {}", line(item, &["outcome"]), line(item, &["problem"]))
            })
            .collect()
    };
    assert_eq!(told(&some), ["canceled buy MSFT canceled -"]);
    let rest = mara.delete(&path).await.is(200).json();
    assert_eq!(told(&rest), ["canceled buy AAPL canceled -", "canceled sell AAPL canceled -"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    assert_eq!(mara.delete(&path).await.is(200).items(), Vec::<Value>::new());
    assert_eq!(mara.cash(portfolio).await, mara.buying_power(portfolio).await);
    mara.post(&format!("/api/v1/portfolios/{portfolio}/reset"), json!({})).await.is(201);
    mara.delete(&path).await.is_refused(409, "portfolio_archived");
}

#[tokio::test]
async fn a_position_whose_shares_are_reserved_is_closed_together_with_the_orders() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    mara.buy(portfolio, "AAPL", "3").await.is(201);
    mara.place(portfolio, limit("sell", "AAPL", "900")).await;
    let position = format!("/api/v1/portfolios/{portfolio}/positions/AAPL");
    let refused = mara.delete(&position).await.is_refused(422, "shares_reserved");
    assert_eq!(line(&refused, &["symbol", "required", "available"]), "AAPL 3 2");
    assert!(refused["detail"].as_str().unwrap().contains("cancel_orders=true"), "{}", refused["detail"]);
    mara.delete(&format!("{position}?quantity=3.5")).await.is_refused(422, "insufficient_shares");
    for (query, field) in [
        ("percentage=0", "percentage"),
        ("percentage=101", "percentage"),
        ("percentage=-5", "percentage"),
        ("percentage=1e1", "percentage"),
        ("percentage=33.33333", "percentage"),
        ("percentage=%00", "percentage"),
        ("quantity=0", "quantity"),
        ("quantity=0.0000000001", "quantity"),
        ("quantity=1&percentage=50", "percentage"),
        ("cancel_orders=maybe", "cancel_orders"),
    ] {
        mara.delete(&format!("{position}?{query}")).await.is_about(field);
    }
    let third = mara.delete(&format!("{position}?percentage=33.333")).await.is(201).json();
    assert_eq!(third["filled_quantity"], "0.99999");
    let rest = mara.delete(&format!("{position}?cancel_orders=true")).await.is(201).json();
    assert_eq!(line(&rest, &["filled_quantity", "status"]), "2.00001 filled");
    let open = mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?status=open")).await.items();
    assert_eq!(open, Vec::<Value>::new());
    let problem = mara.delete(&position).await.is_refused(404, "not_found");
    assert_eq!(problem["detail"], "The portfolio has no position in AAPL.");
    let eve = app.register("eve").await;
    eve.delete(&position).await.is_refused(404, "not_found");
}

#[tokio::test]
async fn all_positions_are_closed_and_listed_with_their_outcome() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "150.00", "150.00");
    let (mara, eve) = (app.register("mara").await, app.register("eve").await);
    let portfolio = mara.open("100000.00").await;
    let path = format!("/api/v1/portfolios/{portfolio}/positions");
    mara.buy(portfolio, "AAPL", "1.000000001").await.is(201);
    mara.buy(portfolio, "JPM", "2").await.is(201);
    mara.place(portfolio, limit("sell", "JPM", "900")).await;
    mara.place(portfolio, limit("buy", "MSFT", "1.00")).await;
    eve.delete(&path).await.is_refused(404, "not_found");
    mara.delete(&format!("{path}?cancel_orders=x")).await.is_about("cancel_orders");
    let too_long = mara.with("idempotency-key", &"k".repeat(116));
    too_long.delete(&path).await.is_about("Idempotency-Key");

    let keyed = mara.with("idempotency-key", "evening");
    let first = keyed.delete(&path).await.is(200);
    assert_eq!(first.header("idempotent-replayed"), None);
    let items = first.items();
    assert_eq!(
        line(&items[0]["order"], &["symbol", "status", "client_order_id"]),
        "AAPL filled evening-AAPL"
    );
    assert_eq!((&items[0]["problem"], &items[1]["order"]), (&Value::Null, &Value::Null));
    assert_eq!(line(&items[1]["problem"], &["code", "symbol", "available"]), "shares_reserved JPM 1");
    mara.buy(portfolio, "AAPL", "4").await.is(201);
    let again = keyed.delete(&path).await.is(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.items(), items[..1]);

    let rest = mara.delete(&format!("{path}?cancel_orders=true")).await.is(200).items();
    let symbols: Vec<String> = rest.iter().map(|item| line(&item["order"], &["symbol", "status"])).collect();
    assert_eq!(symbols, ["AAPL filled", "JPM filled"]);
    let open = mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?status=open")).await.items();
    assert_eq!(open, Vec::<Value>::new());
    assert_eq!(mara.cash(portfolio).await, "100000.00");
    assert_eq!(mara.delete(&path).await.is(200).items(), Vec::<Value>::new());
}
