//! Replacing an open order with a changed one.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{TestApp, address, line, trade, with};

fn limit_buy() -> Value {
    with(trade("buy", "AAPL", "10"), json!({"type": "limit", "limit_price": "140", "time_in_force": "gtc"}))
}

#[tokio::test]
async fn replacing_an_order_creates_a_new_one_and_keeps_the_old_terms() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let old = mara.place(portfolio, limit_buy()).await;
    app.pass(chrono::TimeDelta::seconds(3));
    let changes = json!({"limit_price": "145", "quantity": "12"});
    let answer = mara.replace(portfolio, &old, changes).await.is(201);
    let new = answer.json().0;
    assert_eq!(answer.header("location").unwrap(), address(portfolio, &new));
    assert_ne!(new["id"], old["id"]);
    assert_eq!(new["replaces"], old["id"]);
    let members = ["status", "quantity", "limit_price", "time_in_force", "reserved_cash", "submitted_at"];
    assert_eq!(line(&new, &members), "accepted 12 145.00 gtc 1740.00 2026-11-20T19:12:03Z");
    let old = mara.see(portfolio, &old).await;
    assert_eq!(line(&old, &members), "replaced 10 140.00 gtc 0.00 2026-11-20T19:12:00Z");
    assert_eq!(old["canceled_at"], "2026-11-20T19:12:03Z");
    assert_eq!(mara.buying_power(portfolio).await, "8260.00");
    app.trades_at("AAPL", "139.00").await;
    assert_eq!(mara.cash(portfolio).await, "8332.00");
}

#[tokio::test]
async fn fills_stay_with_the_replaced_order() {
    let app = TestApp::spawn_trading(|rules| rules.liquidity = Some("10".parse().unwrap())).await;
    app.prices.set_volume("AAPL", Some(40));
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let terms = json!({"type": "limit", "limit_price": "150"});
    let old = mara.place(portfolio, with(trade("buy", "AAPL", "10"), terms)).await;
    assert_eq!(line(&old, &["status", "filled_quantity"]), "partially_filled 4");
    app.prices.set_volume("AAPL", Some(0));
    let new = mara.replace(portfolio, &old, json!({"limit_price": "149"})).await.is(201).json();
    assert_eq!(line(&new, &["status", "quantity", "filled_quantity"]), "accepted 6 0");
    let old = mara.see(portfolio, &old).await;
    assert_eq!(line(&old, &["status", "filled_quantity", "amount"]), "replaced 4 -600.00");
}

#[tokio::test]
async fn a_marketable_replacement_fills_at_once() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let old = mara.place(portfolio, limit_buy()).await;
    let new = mara.replace(portfolio, &old, json!({"limit_price": "151"})).await.is(201).json();
    assert_eq!(line(&new, &["status", "filled_price", "reserved_cash"]), "filled 150.00 0.00");
    assert_eq!(mara.cash(portfolio).await, "8500.00");
}

#[tokio::test]
async fn a_repeated_replacement_returns_the_first_result() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let old = mara.place(portfolio, limit_buy()).await;
    let program = mara.with("idempotency-key", "r-1");
    let first = program.replace(portfolio, &old, json!({"limit_price": "145"})).await.is(201);
    assert_eq!(
        (first.header("idempotent-replayed"), &first.json()["client_order_id"]),
        (None, &json!("r-1"))
    );
    let again = program.replace(portfolio, &old, json!({"limit_price": "145"})).await.is(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(*again.json(), *first.json());
    let other = program.replace(portfolio, &old, json!({"limit_price": "146"})).await;
    other.is_refused(422, "client_order_id_reused");
    let body = json!({"limit_price": "145", "client_order_id": "r-2"});
    program.replace(portfolio, &old, body).await.is_about("client_order_id");
    let open = mara.get(&format!("/api/v1/portfolios/{portfolio}/orders?status=open")).await.items();
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn only_an_open_order_of_the_user_can_be_replaced() {
    let app = TestApp::spawn().await;
    let (mara, mallory) = (app.register("mara").await, app.register("mallory").await);
    let portfolio = mara.open("10000.00").await;
    let order = mara.place(portfolio, limit_buy()).await;
    let dearer = json!({"limit_price": "145"});
    mallory.replace(portfolio, &order, dearer.clone()).await.is_refused(404, "not_found");
    mara.replace(portfolio, &order, dearer.clone()).await.is(201);
    let twice = mara.replace(portfolio, &order, dearer.clone()).await;
    assert_json_snapshot!(twice.is_refused(409, "order_not_open"), @r#"
    {
      "code": "order_not_open",
      "detail": "The order is already replaced.",
      "order_status": "replaced",
      "status": 409,
      "title": "Order not open",
      "type": "urn:stockyard:problem:order_not_open"
    }
    "#);
    mara.cancel(portfolio, &order).await.is_refused(409, "order_not_open");
    let filled = mara.place(portfolio, trade("buy", "AAPL", "1")).await;
    mara.replace(portfolio, &filled, json!({"quantity": "2"})).await.is_refused(409, "order_not_open");
    assert_eq!(mara.see(portfolio, &order).await["status"], "replaced");
}

#[tokio::test]
async fn an_invalid_change_is_refused_at_its_field_and_changes_nothing() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let order = mara.place(portfolio, limit_buy()).await;
    for (field, changes) in [
        ("body", json!({})),
        ("body", json!({"client_order_id": "x"})),
        ("side", json!({"side": "sell"})),
        ("symbol", json!({"symbol": "MSFT"})),
        ("quantity", json!({"quantity": "0"})),
        ("quantity", json!({"quantity": "many"})),
        ("limit_price", json!({"limit_price": "0"})),
        ("stop_price", json!({"stop_price": "130"})),
        ("trail_price", json!({"trail_price": "5"})),
        ("trail_percent", json!({"trail_price": "5", "trail_percent": "5"})),
        ("time_in_force", json!({"time_in_force": "always"})),
        ("client_order_id", json!({"limit_price": "141", "client_order_id": "two words"})),
    ] {
        mara.replace(portfolio, &order, changes).await.is_about(field);
    }
    let dear = mara.replace(portfolio, &order, json!({"quantity": "100"})).await;
    let refused = dear.is_refused(422, "insufficient_buying_power");
    assert_eq!(line(&refused, &["required", "available"]), "14000.00 10000.00");
    assert_eq!(mara.see(portfolio, &order).await, order);
    assert_eq!(mara.buying_power(portfolio).await, "8600.00");
}

#[tokio::test]
async fn exits_are_replaced_within_their_group() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    let exits = json!({
        "order_class": "bracket",
        "take_profit": {"limit_price": "170"}, "stop_loss": {"stop_price": "140"},
    });
    let entry = mara.place(portfolio, with(trade("buy", "AAPL", "10"), exits)).await;
    let stop = &entry["legs"][1];
    mara.replace(portfolio, stop, json!({"stop_price": "171"})).await.is_about("stop_price");
    mara.replace(portfolio, stop, json!({"time_in_force": "gtc"})).await.is_about("time_in_force");
    let new = mara.replace(portfolio, stop, json!({"stop_price": "145"})).await.is(201).json();
    assert_eq!((&new["parent_order_id"], &new["replaces"]), (&entry["id"], &stop["id"]));
    let entry = mara.see(portfolio, &entry).await;
    assert_eq!(entry["legs"][1]["id"], new["id"]);
    app.trades_at("AAPL", "144.00").await;
    let entry = mara.see(portfolio, &entry).await;
    assert_eq!([&entry["legs"][0]["status"], &entry["legs"][1]["status"]], ["canceled", "filled"]);
    // The replaced exit no longer belongs to the group, but it still exists.
    assert_eq!(mara.see(portfolio, stop).await["status"], "replaced");
    mara.cancel(portfolio, stop).await.is_refused(409, "order_not_open");
    mara.replace(portfolio, stop, json!({"stop_price": "146"})).await.is_refused(409, "order_not_open");
}
