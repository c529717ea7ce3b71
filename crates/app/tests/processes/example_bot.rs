//! The trading bot in `examples/`, run as its documentation says.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::installation::Installation;
use crate::process::{Process, eventually};
use crate::stack::Stack;

const BOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/moving_average.py");
const PATIENCE: Duration = Duration::from_secs(90);

/// How many requests of one kind a server's log has.
fn answered(log: &str, method: &str, route: &str) -> usize {
    let route = format!("route=\"{route}\"");
    let method = format!("method={method} ");
    log.lines()
        .filter(|line| line.contains("answered") && line.contains(&route) && line.contains(&method))
        .count()
}

#[tokio::test]
async fn the_bot_trades_survives_a_restart_and_does_not_poll_what_the_stream_sends() {
    // Ten minutes of market time per second, so that averages cross within seconds.
    let installation = Installation::embedded().with("CLOCK_SPEED", "600").with("SIMULATION_SEED", "2026");
    let mut stack = Stack::of(installation, 1, 0).await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100000.00").await;
    let token = json!({"name": "bot", "scope": "trade", "username": sam.username, "password": crate::client::PASSWORD});
    let made = stack.visitor().post("/api/v1/auth/tokens", &token).await.expect(201);

    let mut command = Command::new("python3");
    command
        .args([BOT, &stack.urls[0], &id.to_string(), "NVDA"])
        .env("STOCKYARD_TOKEN", made["token"].as_str().unwrap())
        .envs([("FAST", "3"), ("SLOW", "6")]);
    let mut bot = Process::start("bot", stack.installation().folder(), command);
    let told = |bot: &Process, what: &str| bot.log().lines().filter(|line| line.contains(what)).count();
    eventually("the bot places an order", PATIENCE, async || (told(&bot, "placed") > 0).then_some(())).await;
    eventually("the stream tells of it", PATIENCE, async || (told(&bot, "buy ") > 0).then_some(())).await;

    stack.restart(&[]).await;
    let before = told(&bot, "buy filled");
    eventually("the bot hears of an order again", PATIENCE, async || {
        sam.buy(id, "NVDA", "1").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (told(&bot, "buy filled") > before).then_some(())
    })
    .await;
    assert!(bot.has_ended().is_none(), "{}", bot.log());

    let log = stack.servers[0].process.log();
    assert_eq!(answered(&log, "GET", "/api/v1/stream"), 1, "{log}");
    assert_eq!(answered(&log, "GET", "/api/v1/portfolios/{id}/orders"), 0, "no event was missed: {log}");
    for route in
        ["/api/v1/portfolios/{id}", "/api/v1/portfolios/{id}/valuation", "/api/v1/stocks/{symbol}/quote"]
    {
        assert_eq!(answered(&log, "GET", route), 0, "{route}");
    }
    drop(bot);
    stack.ends_well().await;
}
