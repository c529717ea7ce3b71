//! Event streams of real processes: over several of them, and when they end.

use std::time::Duration;

use serde_json::json;

use crate::client::{Events, PASSWORD, Trader};
use crate::installation::{Installation, redis_of};
use crate::stack::Stack;

fn limit_order(symbol: &str) -> serde_json::Value {
    json!({"symbol": symbol, "side": "buy", "type": "limit", "quantity": "1", "limit_price": "1.00",
        "time_in_force": "gtc"})
}

fn at(sam: &Trader, process: usize) -> Trader {
    Trader { client: sam.client.only(process), ..sam.clone() }
}

/// Skips events until the processes are connected to each other.
async fn connected(sam: &Trader, portfolio: i64, stream: &mut Events) {
    loop {
        let placed = at(sam, 0).order(portfolio, &limit_order("AAPL")).await.expect(201);
        let told = stream.next_of(&["order", "reset"]).await;
        if told.kind == "order" {
            assert_eq!(told.data["portfolio_id"], portfolio, "{placed}");
            return;
        }
    }
}

#[tokio::test]
async fn streams_have_the_events_of_other_processes() {
    let mut stack = Stack::full().await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    let path = format!("/api/v1/stream?symbols=AAPL,MSFT&portfolio={id}");
    let mut stream = at(&sam, 1).client.listen(&path).await;
    assert_eq!(stream.next_of(&["quote"]).await.data["symbol"], "AAPL");
    connected(&sam, id, &mut stream).await;

    let bought = at(&sam, 0).buy(id, "MSFT", "2").await;
    let told = loop {
        let told = stream.next_of(&["order"]).await.data;
        if told["id"] == bought["id"] {
            break told;
        }
    };
    assert_eq!((&told["status"], &told["fills"]), (&json!("filled"), &bought["fills"]));
    while stream.next_of(&["valuation"]).await.data["positions"][0]["symbol"] != "MSFT" {}

    // After reconnecting to Redis, a process may have missed events.
    redis_of(stack.installation(), "CLIENT KILL TYPE pubsub");
    stream.next_of(&["reset"]).await;
    redis_of(stack.installation(), "FLUSHDB");
    connected(&sam, id, &mut stream).await;

    // A logout at one process ends the streams at all processes.
    let browser = stack.visitor();
    browser.log_in(&sam.username, PASSWORD).await.expect(200);
    let logged_in = browser.only(1).listen("/api/v1/stream?symbols=AAPL").await;
    browser.only(0).post("/api/v1/auth/logout", &json!({})).await.expect(204);
    logged_in.ended().await;

    stack.servers.remove(0).process.ends_well().await;
    assert_eq!(stream.next_of(&["quote"]).await.data["symbol"], "AAPL", "the other goes on");
}

#[tokio::test]
async fn a_fill_by_the_worker_is_streamed() {
    let installation =
        Installation::full().with("CLOCK_START", "2026-03-02T15:00:00Z").with("CLOCK_SPEED", "60");
    let stack = Stack::of(installation, 2, 1).await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    let mut stream = at(&sam, 1).client.listen(&format!("/api/v1/stream?portfolio={id}")).await;
    connected(&sam, id, &mut stream).await;
    let quote = sam.client.get("/api/v1/stocks/AAPL/quote").await.expect(200);
    // One of two stops close to the market is triggered soon, whichever way the price moves.
    for stop in [1, -1] {
        let price = crate::client::amount(&quote["price"]) + bigdecimal::BigDecimal::new(stop.into(), 2);
        let side = if stop > 0 { "buy" } else { "sell" };
        if side == "sell" {
            sam.buy(id, "AAPL", "1").await;
        }
        let order = json!({"symbol": "AAPL", "side": side, "type": "stop", "quantity": "1",
            "stop_price": price.to_plain_string(), "time_in_force": "gtc"});
        sam.order(id, &order).await.expect(201);
    }
    loop {
        let told = stream.next_of(&["order"]).await.data;
        if told["type"] == "stop" && told["status"] == "filled" {
            break;
        }
    }
    drop(stream);
    stack.ends_well().await;
}

#[tokio::test]
async fn sigterm_ends_all_streams_and_the_process_in_time() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let sam = crate::client::Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    let path = format!("/api/v1/stream?symbols=AAPL&portfolio={id}");
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = sam.client.reconnected().listen(&path).await;
        stream.next_of(&["heartbeat"]).await;
        streams.push(stream);
    }
    let took = server.process.ends_well().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    for stream in streams {
        stream.ended().await;
    }
    let ended = server.process.log().matches("stream ended").count();
    assert_eq!(ended, 5, "the log tells when a stream has ended");
}
