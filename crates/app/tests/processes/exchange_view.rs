//! `TRADING=realistic` on the simulated market: the hours of the exchange, tested on a Saturday.

use chrono::NaiveDate;
use domain::Calendar;
use serde_json::json;

use crate::client::{Client, PASSWORD};
use crate::installation::{Installation, free_port};

/// A Saturday morning in New York.
const SATURDAY: &str = "2026-12-05T15:00:00Z";
const FRIDAYS_LAST_INSTANT: &str = "2026-12-04T20:59:59.999999Z";

#[tokio::test]
async fn on_a_saturday_the_simulated_market_is_closed_in_realistic_mode() {
    let installation = Installation::embedded().with("TRADING", "realistic").with("CLOCK_START", SATURDAY);
    let server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let portfolio = sam.open_portfolio("10000.00").await;
    let quote = sam.client.get("/api/v1/stocks/AAPL/quote").await.expect(200);
    assert_eq!(quote["source"], "simulated/sim-v2-xnys", "{quote}");
    assert_eq!((&quote["as_of"], &quote["stale"]), (&json!(FRIDAYS_LAST_INSTANT), &json!(false)), "{quote}");
    let history = sam.client.get("/api/v1/stocks/AAPL/history?range=1Y").await.expect(200);
    let bars = history["items"].as_array().unwrap();
    assert!(bars.len() > 240, "{} bars", bars.len());
    for bar in bars {
        let date: NaiveDate = bar["date"].as_str().unwrap().parse().unwrap();
        assert!(Calendar::Xnys.session(date).is_some(), "a bar of {date}");
    }
    // The day's change compares Friday's close with Thursday's.
    let [thursday, friday] = [2, 1].map(|back| bars[bars.len() - back]["close"].clone());
    assert_eq!((&quote["price"], &quote["previous_close"]), (&friday, &thursday), "{quote}");
    let profile = sam.client.get("/api/v1/stocks/AAPL").await.expect(200);
    let results_on: NaiveDate = profile["next_results_on"].as_str().unwrap().parse().unwrap();
    assert!(Calendar::Xnys.session(results_on).is_some(), "{profile}");
    let results_on = results_on.format("%-d %b %Y");
    let told = format!("The next quarterly results move the price at the open of {results_on}.");
    let fund = sam.client.get("/api/v1/stocks/SPY").await.expect(200);
    assert!(fund["next_results_on"].is_null(), "{fund}");
    let browser = Client::new(std::slice::from_ref(&server.url));
    browser.log_in(&sam.username, PASSWORD).await.expect(200);
    for (page, shown) in [
        ("/", "4 Dec 2026, 15:59:59 New York"),
        ("/stocks/AAPL", "4 Dec 2026, 15:59:59 New York"),
        ("/stocks/AAPL", &told),
    ] {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.text.contains(shown), "{page}: {}", answer.text);
    }
    let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    let placed = sam.client.post(&format!("/api/v1/portfolios/{portfolio}/orders"), &body).await.expect(201);
    assert_eq!(placed["status"], "accepted", "{placed}");
    // Practice trading has other prices, so the change needs an option while the order is open.
    drop(server);
    let installation = installation.with("TRADING", "practice");
    let refused = installation.run(&["serve"]).await;
    for part in ["simulated/sim-v2-xnys", "simulated/sim-v2,", "TRADING", "--accept-price-source-change"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}

#[tokio::test]
async fn without_a_seed_each_installation_has_its_own_prices_and_no_log_shows_the_seed() {
    let price = async |installation: &Installation| {
        let mut server = installation.serve().await;
        let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
        let bars = sam.client.get("/api/v1/stocks/AAPL/history?range=1M").await.expect(200);
        server.process.ends_well().await;
        (bars, server.process.log())
    };
    let start = || Installation::embedded().without("SIMULATION_SEED").with("CLOCK_START", SATURDAY);
    let (one, other) = (start(), start());
    let (first, log) = price(&one).await;
    assert_ne!(first, price(&other).await.0);
    assert!(!log.contains("seed"), "{log}");
}

#[tokio::test]
async fn accepting_another_seed_or_exchange_view_cancels_open_orders_and_reports_it() {
    const SEEDS: [&str; 2] = ["9123456789012345678", "9012345678901234567"];
    let installation = Installation::embedded()
        .with("TRADING", "realistic")
        .with("CLOCK_START", SATURDAY)
        .with("SIMULATION_SEED", SEEDS[0]);
    let server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let portfolio = sam.open_portfolio("10000.00").await;
    let orders = format!("/api/v1/portfolios/{portfolio}/orders");
    let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    let placed = sam.client.post(&orders, &body).await.expect(201);
    let logged = server.process.log();
    drop(server);

    let other_seed = installation.with("SIMULATION_SEED", SEEDS[1]);
    for command in [&["serve"][..], &["snapshot"]] {
        let refused = other_seed.run(command).await;
        for part in ["SIMULATION_SEED", "--accept-price-source-change", "open orders are canceled"] {
            assert!(refused.failed().contains(part), "{part}: {refused:?}");
        }
        assert!(SEEDS.iter().all(|seed| !format!("{refused:?}").contains(seed)), "{refused:?}");
    }
    other_seed.verify().await;

    let (mut open, mut installation) = (placed["id"].clone(), other_seed);
    for (trading, reason) in
        [("realistic", "another seed"), ("practice", "simulated/sim-v2-xnys to simulated/sim-v2,")]
    {
        installation = installation.with("TRADING", trading);
        let server = installation.serve_with(free_port(), &["--accept-price-source-change"]).await;
        let client = Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token);
        let order = client.get(&format!("{orders}/{}", open.as_str().unwrap_or_default())).await;
        let order = order.expect(200);
        assert_eq!(order["status"], "canceled", "{order}");
        assert!(order["reject_reason"].as_str().unwrap().contains(reason), "{order}");
        let log = server.process.log();
        assert!(log.contains("1 open orders were canceled"), "{log}");
        assert!(SEEDS.iter().all(|seed| !log.contains(seed) && !logged.contains(seed)), "{log}");
        drop(server);
        // The option is needed only once.
        let server = installation.serve().await;
        let client = Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token);
        let waiting = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "limit", "limit_price": "1.00",
            "time_in_force": "gtc"});
        open = client.post(&orders, &waiting).await.expect(201)["id"].clone();
        drop(server);
        installation.verify().await;
    }
}
