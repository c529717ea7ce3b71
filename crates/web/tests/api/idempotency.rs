//! An order that is sent again is answered, not repeated.

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
async fn the_same_order_under_the_same_name_is_answered_again() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let order = named(&trade("buy", "AAPL", "1"), "a-1");
    let first = mara.order(portfolio, order.clone()).await;
    assert_eq!(first.json()["client_order_id"], "a-1");
    app.prices.set("AAPL", "900.00");
    assert_replays(&mara.order(portfolio, order).await, &first);
    // Written another way it is the same order.
    let same = named(
        &json!({"symbol": "aapl", "side": "buy", "type": "market", "quantity": 1.0,
        "time_in_force": "day"}),
        "a-1",
    );
    assert_replays(&mara.order(portfolio, same).await, &first);
    assert_eq!(orders(&mara, portfolio).await, 1);
}

#[tokio::test]
async fn the_header_is_another_way_to_name_an_order() {
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
async fn a_name_is_not_used_for_another_order() {
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
async fn each_portfolio_has_its_own_names() {
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
async fn keys_keep_to_the_rules_of_names() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    for key in ["", "two words", &"x".repeat(65), "größe"] {
        let answer = mara.with("idempotency-key", key).buy(portfolio, "AAPL", "1").await;
        answer.is_about("client_order_id");
    }
    for key in [&"x".repeat(64), "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
        mara.with("idempotency-key", key).buy(portfolio, "AAPL", "1").await.is(201);
    }
}

#[tokio::test]
async fn two_at_once_give_one_order() {
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
