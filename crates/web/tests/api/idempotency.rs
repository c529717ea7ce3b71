//! An order that is sent again is placed once: the response is the first order.

use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestApp, trade};

async fn orders(caller: &Caller, portfolio: i64) -> usize {
    caller.get(&format!("/api/v1/portfolios/{portfolio}/orders")).await.items().len()
}

fn named(order: &Value, id: &str) -> Value {
    let mut order = order.clone();
    order["client_order_id"] = id.into();
    order
}

fn assert_replays(replayed: &Answer, first: &Answer) {
    assert_eq!((replayed.status, first.status), (201, 201), "{} {}", replayed.text(), first.text());
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(replayed.header("location"), first.header("location"));
    assert_eq!(*replayed.json(), *first.json());
}

#[tokio::test]
async fn a_repeated_client_order_id_returns_the_first_order() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let order = named(&trade("buy", "AAPL", "1"), "a-1");
    let first = mara.order(portfolio, order.clone()).await;
    assert_eq!(first.json()["client_order_id"], "a-1");
    app.prices.set("AAPL", "900.00");
    assert_replays(&mara.order(portfolio, order).await, &first);
    // The same order in another notation is not a different order.
    let same = named(
        &json!({"symbol": "aapl", "side": "buy", "type": "market", "quantity": 1.0,
        "time_in_force": "day"}),
        "a-1",
    );
    assert_replays(&mara.order(portfolio, same).await, &first);
    assert_eq!(orders(&mara, portfolio).await, 1);
}

#[tokio::test]
async fn the_idempotency_key_header_names_an_order() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let order = trade("buy", "AAPL", "1");
    let first = mara.with("idempotency-key", "k-1").order(portfolio, order.clone()).await.is(201);
    assert_eq!(first.json()["client_order_id"], "k-1");
    assert_replays(&mara.with("idempotency-key", "k-1").order(portfolio, order.clone()).await, &first);
    assert_replays(&mara.order(portfolio, named(&order, "k-1")).await, &first);
    let both = mara.with("idempotency-key", "k-1").order(portfolio, named(&order, "k-1")).await;
    assert_replays(&both, &first);
    assert_eq!(orders(&mara, portfolio).await, 1);
}

#[tokio::test]
async fn header_and_body_may_not_differ() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let order = named(&trade("buy", "AAPL", "1"), "a-1");
    mara.with("idempotency-key", "k-1").order(portfolio, order).await.is_about("client_order_id");
    assert_eq!(orders(&mara, portfolio).await, 0);
}

#[tokio::test]
async fn a_client_order_id_cannot_be_reused_for_another_order() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    mara.order(portfolio, named(&trade("buy", "AAPL", "1"), "a-1")).await.is(201);
    for other in [
        trade("buy", "AAPL", "2"),
        trade("buy", "MSFT", "1"),
        trade("sell", "AAPL", "1"),
        json!({"symbol": "AAPL", "side": "buy", "type": "market", "notional": "150"}),
        json!({"symbol": "AAPL", "side": "buy", "type": "market", "quantity": "1", "time_in_force": "ioc"}),
    ] {
        let answer = mara.order(portfolio, named(&other, "a-1")).await;
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer.is_refused(422, "client_order_id_reused"), @r#"
            {
              "code": "client_order_id_reused",
              "detail": "That client_order_id was used for another order: choose a new one.",
              "status": 422,
              "title": "Order id used before",
              "type": "urn:stockyard:problem:client_order_id_reused"
            }
            "#);
        }
    }
    assert_eq!(orders(&mara, portfolio).await, 1);
}

#[tokio::test]
async fn client_order_ids_are_unique_per_portfolio() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let (one, other) = (mara.open("1000").await, mara.open("1000").await);
    let order = named(&trade("buy", "AAPL", "1"), "a-1");
    let first = mara.order(one, order.clone()).await.is(201);
    let second = mara.order(other, order).await.is(201);
    assert_eq!(second.header("idempotent-replayed"), None);
    assert_ne!(first.json()["id"], second.json()["id"]);
}

#[tokio::test]
async fn a_refused_order_is_not_remembered() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100").await;
    let order = named(&trade("buy", "AAPL", "1"), "a-1");
    mara.order(portfolio, order.clone()).await.is_refused(422, "insufficient_buying_power");
    mara.deposit(portfolio, "50").await.is(201);
    let placed = mara.order(portfolio, order).await.is(201);
    assert_eq!(placed.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn invalid_keys_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    for key in ["", "two words", &"x".repeat(129), "größe"] {
        let answer = mara.with("idempotency-key", key).buy(portfolio, "AAPL", "1").await;
        answer.is_about("client_order_id");
    }
    for key in [&"x".repeat(128), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
        mara.with("idempotency-key", key).buy(portfolio, "AAPL", "1").await.is(201);
    }
}

#[tokio::test]
async fn two_equal_orders_at_once_place_one_order() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    for n in 0..5 {
        let order = named(&trade("buy", "AAPL", "1"), &format!("a-{n}"));
        let (one, other) =
            tokio::join!(mara.order(portfolio, order.clone()), mara.order(portfolio, order.clone()));
        let (first, replayed) =
            if one.header("idempotent-replayed").is_none() { (one, other) } else { (other, one) };
        assert_replays(&replayed, &first);
    }
    assert_eq!(orders(&mara, portfolio).await, 5);
}

/// Every POST of the API that moves cash.
#[tokio::test]
async fn requests_that_move_cash_are_carried_out_once_per_key() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let own = format!("/api/v1/portfolios/{portfolio}");
    let (cash, reset) = (format!("{own}/cash"), format!("{own}/reset"));
    for (key, path, body, other) in [
        (
            "k-cash",
            cash.as_str(),
            json!({"type": "deposit", "amount": "5"}),
            json!({"type": "deposit", "amount": "6"}),
        ),
        ("k-open", "/api/v1/portfolios", json!({"name": "New"}), json!({"name": "Newer"})),
        ("k-reset", reset.as_str(), json!({"cash_balance": "7"}), json!({})),
    ] {
        let keyed = mara.with("idempotency-key", key);
        let first = keyed.post(path, body.clone()).await;
        assert_replays(&keyed.post(path, body).await, &first);
        keyed.post(path, other).await.is_refused(422, "idempotency_key_reused");
        let long = mara.with("idempotency-key", &"k".repeat(129));
        long.post(path, json!({"type": "deposit", "amount": "5", "name": "New"})).await.is(422);
    }
    assert_eq!(mara.get("/api/v1/portfolios").await.items().len(), 2);
}

fn hidden_key(page: &str, target: &str) -> String {
    let form = page.split(&format!("action=\"{target}\"")).nth(1).expect("the form");
    let key = form.split("name=\"idempotency_key\" value=\"").nth(1).expect("a key");
    key.split('"').next().unwrap().to_owned()
}

/// Pressing a button twice on a page, or going back and pressing it again, moves cash once. A reloaded page has another
/// key.
#[tokio::test]
async fn a_form_that_moves_cash_is_carried_out_once() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let browser = app.log_in("mara").await;
    let page = format!("/portfolios/{portfolio}/settings");
    let target = format!("/portfolios/{portfolio}/cash");
    let key = hidden_key(&browser.get(&page).await.is(200).text(), &target);
    let send = async |key: &str| {
        let fields = [("type", "deposit"), ("amount", "50"), ("idempotency_key", key)];
        browser.follow(&browser.submit(&page, &target, &fields).await).await.is(200).text()
    };
    assert!(send(&key).await.contains("50.00 was deposited"));
    assert!(send(&key).await.contains("50.00 was already booked. It was not booked a second time."));
    assert_eq!(mara.cash(portfolio).await, "1050.00");
    let next = hidden_key(&browser.get(&page).await.is(200).text(), &target);
    assert_ne!(next, key);
    send(&next).await;
    assert_eq!(mara.cash(portfolio).await, "1100.00");

    let key = hidden_key(&browser.get("/portfolios").await.is(200).text(), "/portfolios");
    for _ in 0..2 {
        let fields = [("name", "Once"), ("cash_balance", "5"), ("idempotency_key", key.as_str())];
        browser.submit("/portfolios", "/portfolios", &fields).await.is(303);
    }
    assert_eq!(mara.get("/api/v1/portfolios").await.items().len(), 2);
}
