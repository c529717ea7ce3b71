//! `TRADING=realistic` on the simulated market: its exchange view, on a Saturday.

use chrono::NaiveDate;
use domain::Calendar;
use serde_json::json;

use crate::client::Client;
use crate::installation::Installation;

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
    let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    let placed = sam.client.post(&format!("/api/v1/portfolios/{portfolio}/orders"), &body).await.expect(201);
    assert_eq!(placed["status"], "accepted", "{placed}");
    // The other prices of practice trading need a word while the order is open.
    drop(server);
    let installation = installation.with("TRADING", "practice");
    let refused = installation.run(&["serve"]).await;
    for part in ["simulated/sim-v2-xnys", "simulated/sim-v2,", "TRADING", "--accept-price-source-change"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}

#[tokio::test]
async fn without_a_seed_each_installation_has_prices_of_its_own_and_no_log_shows_why() {
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
