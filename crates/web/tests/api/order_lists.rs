//! Lists of orders: filters, directions, nested legs, cursors, and finding an order by its `client_order_id`.

use serde_json::{Value, json};
use services::accounts::tokens::Scope;

use crate::harness::{Caller, TestApp, line, trade, with};

fn orders(portfolio: i64) -> String {
    format!("/api/v1/portfolios/{portfolio}/orders")
}

fn limit(side: &str, symbol: &str, price: &str, name: &str) -> Value {
    let more = json!({
        "type": "limit", "limit_price": price, "time_in_force": "gtc", "quantity": "1", "client_order_id": name,
    });
    with(trade(side, symbol, "1"), more)
}

/// Places five orders, one each minute from 19:12 on: `buy`, `bracket` with two exits, `msft`, `sell`, `late`.
async fn some_orders(app: &TestApp, caller: &Caller, portfolio: i64) {
    let bracket = json!({
        "quantity": "2", "client_order_id": "bracket", "order_class": "bracket", "time_in_force": "gtc",
        "take_profit": {"limit_price": "170"}, "stop_loss": {"stop_price": "140"},
    });
    let placed = [
        with(trade("buy", "AAPL", "5"), json!({"client_order_id": "buy"})),
        with(trade("buy", "AAPL", "2"), bracket),
        limit("buy", "MSFT", "1.00", "msft"),
        limit("sell", "AAPL", "900", "sell"),
        limit("buy", "AAPL", "1.00", "late"),
    ];
    for (minute, order) in placed.into_iter().enumerate() {
        app.at(&format!("2026-11-20T19:{}:00Z", 12 + minute));
        caller.place(portfolio, order).await;
    }
}

/// The `client_order_id` of each order, or its type if it has none.
fn names(items: &[Value]) -> Vec<String> {
    let name = |order: &Value| match order["client_order_id"].as_str() {
        Some(name) => name.to_owned(),
        None => line(order, &["type"]),
    };
    items.iter().map(name).collect()
}

#[tokio::test]
async fn filters_directions_and_pages_go_together() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    some_orders(&app, &mara, portfolio).await;
    let path = orders(portfolio);
    for (query, expected) in [
        ("", "late sell msft stop limit bracket buy"),
        ("direction=asc", "buy bracket limit stop msft sell late"),
        ("direction=asc&nested=true", "buy bracket msft sell late"),
        ("nested=true&status=open", "late sell msft bracket"),
        ("nested=true&status=closed", "buy"),
        ("nested=false&status=open", "late sell msft stop limit"),
        ("side=sell", "sell stop limit"),
        ("side=sell&nested=true", "sell"),
        ("symbol=msft", "msft"),
        ("symbol=NONESUCH", ""),
        ("after=2026-11-20T19:13:00Z", "late sell msft"),
        ("until=2026-11-20T19:13:00Z", "buy"),
        ("after=2026-11-20T14:12:00-05:00&until=2026-11-20T19:15:00Z&nested=true", "msft bracket"),
        ("client_order_id=msft", "msft"),
        ("client_order_id=msft&status=closed", ""),
    ] {
        for size in [1, 2, 200] {
            let query = query.replace("-05:00", "%2D05:00");
            let pages = mara.pages(&format!("{path}?{query}"), size).await;
            assert_eq!(names(&pages.concat()).join(" "), expected, "{query} {size}");
        }
    }
}

#[tokio::test]
async fn legs_come_with_their_order_or_as_orders_of_their_own() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    some_orders(&app, &mara, portfolio).await;
    let nested =
        mara.get(&format!("{}?nested=true&client_order_id=bracket", orders(portfolio))).await.items();
    let legs = nested[0]["legs"].as_array().unwrap();
    assert_eq!(names(legs), ["limit", "stop"]);
    let flat = mara.get(&orders(portfolio)).await.items();
    assert!(flat.iter().all(|order| order["legs"] == json!([])));
    assert_eq!(flat.iter().filter(|order| order["parent_order_id"] == nested[0]["id"]).count(), 2);
}

#[tokio::test]
async fn a_cursor_stays_valid_while_orders_and_filters_change() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    some_orders(&app, &mara, portfolio).await;
    let path = orders(portfolio);
    let first = mara.get(&format!("{path}?nested=true&limit=2")).await.is(200).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    mara.place(portfolio, limit("buy", "AAPL", "2.00", "newer")).await;
    for (query, expected) in [
        ("nested=true", "msft bracket buy"),
        ("nested=true&side=buy&symbol=AAPL", "bracket buy"),
        ("direction=asc", "late newer"),
        ("nested=true&until=2026-11-20T19:13:00Z", "buy"),
    ] {
        let page = mara.get(&format!("{path}?{query}&cursor={cursor}")).await.is(200).items();
        assert_eq!(names(&page).join(" "), expected, "{query}");
    }
    // The cursor of another portfolio, one that names no order, and a text that is not a cursor.
    let other = mara.open("1000.00").await;
    let theirs = mara.place(other, limit("buy", "AAPL", "1.00", "other")).await;
    for cursor in [theirs["id"].as_str().unwrap(), "00000000-0000-0000-0000-000000000000", "x", "%00"] {
        mara.get(&format!("{path}?cursor={cursor}")).await.is_about("cursor");
    }
}

#[tokio::test]
async fn invalid_filter_values_are_named() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let path = orders(mara.open("1000.00").await);
    for (field, value) in [
        ("status", "working"),
        ("side", "short"),
        ("side", "%00"),
        ("symbol", "%00"),
        ("after", "yesterday"),
        ("after", "2026-11-20"),
        ("until", "2026-11-20T19:12:00"),
        ("until", "%2B262142-12-31T00:00:00Z"),
        ("direction", "down"),
        ("nested", "yes"),
        ("client_order_id", ""),
        ("client_order_id", "a%00b"),
        ("client_order_id", "two%20words"),
        ("client_order_id", &"k".repeat(129)),
    ] {
        mara.get(&format!("{path}?{field}={value}")).await.is_about(field);
    }
    mara.get(&format!("{path}?since=2026-11-20T19:12:00Z")).await.is_about("since");
    let eve = app.register("eve").await;
    eve.get(&format!("{path}?nested=true")).await.is_refused(404, "not_found");
}

#[tokio::test]
async fn names_of_orders_have_up_to_128_characters() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let (longest, too_long) = ("n".repeat(128), "n".repeat(129));
    let placed = mara.place(portfolio, limit("buy", "AAPL", "1.00", &longest)).await;
    let found = mara.get(&format!("{}?client_order_id={longest}", orders(portfolio))).await.items();
    assert_eq!(found[0]["id"], placed["id"]);
    let again = mara.order(portfolio, limit("buy", "AAPL", "1.00", &longest)).await.is(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    mara.order(portfolio, limit("buy", "AAPL", "1.00", &too_long)).await.is_about("client_order_id");
    let changes = json!({"limit_price": "2.00", "client_order_id": too_long});
    mara.replace(portfolio, &placed, changes).await.is_about("client_order_id");
    let keyed = mara.with("idempotency-key", &"k".repeat(128));
    keyed.order(portfolio, trade("buy", "AAPL", "1")).await.is(201);
    keyed.deposit(portfolio, "5.00").await.is(201);
    let keyed = mara.with("idempotency-key", &"k".repeat(129));
    keyed.order(portfolio, trade("buy", "AAPL", "1")).await.is_about("client_order_id");
    keyed.deposit(portfolio, "5.00").await.is(422);
}

#[tokio::test]
async fn a_read_only_token_can_list_orders_but_not_cancel_them() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100000.00").await;
    some_orders(&app, &mara, portfolio).await;
    let reader = app.with_token(&app.token(mara.id, Scope::Read).await);
    let open = reader.get(&format!("{}?status=open", orders(portfolio))).await.items().len();
    let own = format!("/api/v1/portfolios/{portfolio}");
    for path in ["orders", "positions", "positions?cancel_orders=true", "positions/AAPL"] {
        reader.delete(&format!("{own}/{path}")).await.is_refused(403, "read_only_token");
    }
    assert_eq!(mara.get(&format!("{}?status=open", orders(portfolio))).await.items().len(), open);
}
