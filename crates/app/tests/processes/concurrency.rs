//! Concurrent requests: money is spent once, an order is placed once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Trader, amount, items};
use crate::stack::Stack;

/// How often each pair of requests is sent.
const ROUNDS: usize = 20;

/// The same trader at two web processes, or twice at a single one.
fn at_two(stack: &Stack, sam: &Trader) -> [Trader; 2] {
    let there = stack.visitor().with_token(&sam.token);
    [0, 1].map(|process| Trader { client: there.only(process), ..sam.clone() })
}

fn buy_for(notional: &str) -> Value {
    json!({"symbol": "AAPL", "side": "buy", "notional": notional, "type": "market"})
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// Two buys of 600 with a cash balance of 1,000.
async fn two_buys_beyond_the_cash(stack: &Stack) {
    let sam = stack.trader().await;
    let [one, other] = at_two(stack, &sam);
    for round in 0..ROUNDS {
        let id = sam.open_portfolio("1000.00").await;
        let body = buy_for("600.00");
        let (a, b) = tokio::join!(one.order(id, &body), other.order(id, &body));
        let answers = [a, b];
        assert_eq!((count(&answers, 201), count(&answers, 422)), (1, 1), "round {round}");
        let refused = answers.iter().find(|answer| answer.status == 422).unwrap();
        refused.problem(422, "insufficient_buying_power");
        let placed = answers.iter().find(|answer| answer.status == 201).unwrap().expect(201);
        let cash = amount(&sam.portfolio(id, "").await["cash_balance"]);
        assert_eq!(cash, amount(&json!("1000.00")) + amount(&placed["amount"]), "round {round}");
        assert_eq!(items(&sam.portfolio(id, "/orders").await).len(), 1, "round {round}");
    }
}

/// 24 buys of 190 with a cash balance of 1,000: exactly five are filled.
async fn many_buys_beyond_the_cash(stack: &Stack) {
    let sam = stack.trader().await;
    let traders = at_two(stack, &sam);
    for round in 0..3 {
        let id = sam.open_portfolio("1000.00").await;
        let mut placing = tokio::task::JoinSet::new();
        for number in 0..24 {
            let trader = traders[number % 2].clone();
            placing.spawn(async move { trader.order(id, &buy_for("190.00")).await });
        }
        let answers = placing.join_all().await;
        assert_eq!((count(&answers, 201), count(&answers, 422)), (5, 19), "round {round}");
        let cash = amount(&sam.portfolio(id, "").await["cash_balance"]);
        assert!(cash >= amount(&json!("50.00")) && cash < amount(&json!("51.00")), "round {round}: {cash}");
    }
}

/// Two sells of the whole position.
async fn two_sells_beyond_the_shares(stack: &Stack) {
    let sam = stack.trader().await;
    let [one, other] = at_two(stack, &sam);
    for round in 0..ROUNDS / 2 {
        let id = sam.open_portfolio("1000.00").await;
        sam.buy(id, "AAPL", "2").await;
        let body = json!({"symbol": "AAPL", "side": "sell", "quantity": "2", "type": "market"});
        let (a, b) = tokio::join!(one.order(id, &body), other.order(id, &body));
        let answers = [a, b];
        assert_eq!((count(&answers, 201), count(&answers, 422)), (1, 1), "round {round}");
        assert_eq!(items(&sam.portfolio(id, "/positions").await).len(), 0, "round {round}");
    }
}

/// A client sends its order again while the first request is in progress.
async fn one_key_sent_twice(stack: &Stack) {
    let sam = stack.trader().await;
    let [one, other] = at_two(stack, &sam);
    let id = sam.open_portfolio("100000.00").await;
    let path = format!("/api/v1/portfolios/{id}/orders");
    for round in 0..ROUNDS {
        let (key, body) = (format!("round-{round}"), buy_for("100.00"));
        let send = async |trader: &Trader| {
            trader
                .client
                .ask(Method::POST, &path, |request| request.header("Idempotency-Key", &key).json(&body))
                .await
        };
        let (a, b) = tokio::join!(send(&one), send(&other));
        assert_eq!(a.expect(201), b.expect(201), "round {round}");
        let replayed = [&a, &b]
            .into_iter()
            .filter(|answer| answer.header("idempotent-replayed") == Some("true"))
            .count();
        assert_eq!(replayed, 1, "round {round}");
    }
    assert_eq!(items(&sam.portfolio(id, "/orders").await).len(), ROUNDS);
}

/// Two concurrent replacements of one order, and a third that comes too late; for a single order and for an exit.
async fn one_order_replaced_twice(stack: &Stack) {
    let sam = stack.trader().await;
    let [one, other] = at_two(stack, &sam);
    let id = sam.open_portfolio("100000.00").await;
    let alone =
        json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "limit", "limit_price": "1.00"});
    let entry = json!({
        "symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market", "order_class": "oto",
        "take_profit": {"limit_price": "10000.00"},
    });
    for round in 0..ROUNDS {
        let order = match round % 2 {
            0 => sam.order(id, &alone).await.expect(201),
            _ => sam.order(id, &entry).await.expect(201)["legs"][0].clone(),
        };
        let path = format!("/api/v1/portfolios/{id}/orders/{}", order["id"].as_str().unwrap());
        let body = json!({"quantity": "0.5"});
        let (a, b) = tokio::join!(one.client.patch(&path, &body), other.client.patch(&path, &body));
        let late = [a, b].into_iter().filter(|answer| answer.status != 201).collect::<Vec<_>>();
        assert_eq!(late.len(), 1, "round {round}");
        for answer in [&late[0], &one.client.patch(&path, &body).await, &other.client.delete(&path).await] {
            answer.problem(409, "order_not_open");
        }
    }
}

/// Two users register the same name.
async fn one_name_registered_twice(stack: &Stack) {
    let clients = [0, 1].map(|process| stack.visitor().only(process));
    for round in 0..5 {
        let name = format!("twin-{:016x}", rand::random::<u64>());
        let body = json!({"username": name, "email": format!("{name}@example.org"), "password": "a long enough secret"});
        let (a, b) = tokio::join!(
            clients[0].post("/api/v1/auth/register", &body),
            clients[1].post("/api/v1/auth/register", &body)
        );
        let answers = [a, b];
        assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 1), "round {round}");
    }
}

async fn all_races(stack: &Stack) {
    two_buys_beyond_the_cash(stack).await;
    many_buys_beyond_the_cash(stack).await;
    two_sells_beyond_the_shares(stack).await;
    one_key_sent_twice(stack).await;
    one_order_replaced_twice(stack).await;
    one_name_registered_twice(stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_within_one_process_on_sqlite() {
    let stack = Stack::embedded().await;
    all_races(&stack).await;
    stack.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_between_two_processes_on_postgres() {
    let stack = Stack::full().await;
    all_races(&stack).await;
    stack.ends_well().await;
}
