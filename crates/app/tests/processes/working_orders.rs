//! Working orders that fill or expire while prices and time move.

use std::time::Duration;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::books::Books;
use crate::client::{Trader, amount};
use crate::installation::Installation;
use crate::process::eventually;
use crate::stack::Stack;

/// Long enough for prices to move by some cents, and for a worker that has to wait for another worker's lease.
const PATIENCE: Duration = Duration::from_secs(90);

/// Makes prices change several times a second.
fn lively(installation: Installation) -> Installation {
    installation.with("CLOCK_START", "2026-03-02T15:00:00Z").with("CLOCK_SPEED", "60")
}

/// Places a buy a little below the market and a sell a little above it; the price soon reaches one of them.
async fn orders_around_the_market(sam: &Trader, id: i64) -> [Value; 2] {
    let quote = sam.client.get("/api/v1/stocks/AAPL/quote").await.expect(200);
    let distance = BigDecimal::new(5.into(), 2);
    let place = async |side: &str, limit: BigDecimal| {
        let body = json!({
            "symbol": "AAPL", "side": side, "quantity": "1", "type": "limit", "time_in_force": "gtc",
            "limit_price": limit.to_plain_string(),
        });
        sam.order(id, &body).await.expect(201)
    };
    [
        place("buy", amount(&quote["ask"]) - &distance).await,
        place("sell", amount(&quote["bid"]) + &distance).await,
    ]
}

async fn order(sam: &Trader, portfolio: i64, order: &Value) -> Value {
    sam.portfolio(portfolio, &format!("/orders/{}", order["id"].as_str().unwrap())).await
}

/// Waits until one of the orders is filled at its limit or better.
async fn one_is_filled(sam: &Trader, portfolio: i64, orders: &[Value; 2]) {
    let filled = eventually("one of the orders is filled", PATIENCE, async || {
        for placed in orders {
            let now = order(sam, portfolio, placed).await;
            if now["status"] == "filled" {
                return Some(now);
            }
        }
        None
    })
    .await;
    let [price, limit] = ["filled_price", "limit_price"].map(|price| amount(&filled[price]));
    assert!(if filled["side"] == "buy" { price <= limit } else { price >= limit }, "{filled}");
    assert_eq!(filled["fills"].as_array().unwrap().len(), 1, "{filled}");
}

async fn orders_are_filled_by_the_worker(stack: Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    sam.buy(id, "AAPL", "10").await;
    let at = |process| Trader { client: sam.client.only(process), ..sam.clone() };
    let orders = orders_around_the_market(&at(0), id).await;
    one_is_filled(&at(1), id, &orders).await;
    stack.ends_well().await;
}

#[tokio::test]
async fn a_working_order_is_filled_within_a_single_process() {
    orders_are_filled_by_the_worker(Stack::of(lively(Installation::embedded()), 1, 0).await).await;
}

#[tokio::test]
async fn a_working_order_is_filled_by_the_worker_and_seen_at_the_other_web_process() {
    orders_are_filled_by_the_worker(Stack::of(lively(Installation::full()), 2, 1).await).await;
}

#[tokio::test]
async fn a_working_order_of_a_killed_worker_is_filled_by_another() {
    let mut stack = Stack::of(lively(Installation::full()), 2, 1).await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    sam.buy(id, "AAPL", "10").await;
    // From this moment the worker holds the lease.
    let orders = orders_around_the_market(&sam, id).await;
    one_is_filled(&sam, id, &orders).await;
    stack.workers[0].kill();
    let orders = orders_around_the_market(&sam, id).await;
    stack.workers[0] = stack.installation().worker().await;
    one_is_filled(&sam, id, &orders).await;
    stack.ends_well().await;
}

/// Otherwise other processes would wait for the lease to expire before they match an order.
#[tokio::test]
async fn the_matching_lease_is_released_when_a_process_ends() {
    for (installation, servers, workers) in [(Installation::embedded(), 1, 0), (Installation::full(), 1, 1)] {
        let mut stack = Stack::of(lively(installation), servers, workers).await;
        let sam = stack.trader().await;
        let id = sam.open_portfolio("100000.00").await;
        sam.buy(id, "AAPL", "10").await;
        let orders = orders_around_the_market(&sam, id).await;
        one_is_filled(&sam, id, &orders).await;
        let mut books = match workers {
            0 => Books::sqlite(&stack.installation().folder().join("data/stockyard.db")),
            _ => Books::at(&stack.installation().setting("DATABASE_URL")),
        };
        let mut lease = || -> Value {
            let found = books.text("SELECT value AS text FROM installation WHERE key = 'match_orders'");
            serde_json::from_str(&found).unwrap()
        };
        let ends = |lease: &Value| -> DateTime<Utc> { lease["until"].as_str().unwrap().parse().unwrap() };
        let held = lease();
        stack.end().await;
        let given_back = lease();
        // A process that holds the lease only ever extends it.
        assert!(ends(&given_back) < ends(&held), "{held}, then {given_back}");
        stack.installation().verify().await;
    }
}

/// Checks day orders that are placed seconds before the close, while time stands still.
async fn orders_of_the_day_expire(installation: Installation, servers: usize, workers: usize) {
    let installation =
        installation.with("CLOCK_START", "2026-03-03T04:59:50Z").with("CLOCK_SPEED", "0.000001");
    let mut stack = Stack::of(installation, servers, workers).await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    let place = async |time_in_force: &str| {
        let body = json!({
            "symbol": "AAPL", "side": "buy", "quantity": "1", "type": "limit", "limit_price": "1.00",
            "time_in_force": time_in_force,
        });
        sam.order(id, &body).await.expect(201)
    };
    let (day, gtc) = (place("day").await, place("gtc").await);
    assert_eq!(day["expires_at"], "2026-03-03T05:00:00Z");
    assert_eq!(sam.portfolio(id, "").await["buying_power"], "99998.00");
    stack.restart(&[("CLOCK_SPEED", "60")]).await;
    eventually("the order of the day expires", PATIENCE, async || {
        (order(&sam, id, &day).await["status"] == "expired").then_some(())
    })
    .await;
    assert_eq!(order(&sam, id, &gtc).await["status"], "accepted");
    assert_eq!(sam.portfolio(id, "").await["buying_power"], "99999.00");
    stack.ends_well().await;
}

#[tokio::test]
async fn a_day_order_expires_within_a_single_process() {
    orders_of_the_day_expire(Installation::embedded(), 1, 0).await;
}

#[tokio::test]
async fn a_day_order_is_expired_by_the_worker() {
    orders_of_the_day_expire(Installation::full(), 2, 1).await;
}
