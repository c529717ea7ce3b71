use chrono::TimeDelta;
use domain::Timestamp;
use persistence::installation;
use services::accounts::actor::Trader;
use services::market::clock::ClockError;
use services::{Clock, Market, Services, ServicesConfig};

use crate::harness::{Exchange, moment};

async fn open(exchange: &Exchange, start: Option<&str>, speed: f64) -> Result<Clock, ClockError> {
    Clock::open(exchange.store(), start.map(moment), speed).await
}

fn is_refused(opened: &Result<Clock, ClockError>) -> bool {
    matches!(opened, Err(ClockError::WouldTurnBack { .. }))
}

/// Whether two clocks show the same time now and in a year.
fn agree(one: &Clock, other: &Clock) -> bool {
    let wall = one.wall();
    [wall, wall + TimeDelta::days(365)].iter().all(|&wall| one.at_wall(wall) == other.at_wall(wall))
}

/// Opening and reading a clock take less than a minute, even on a busy machine.
fn just_after(shown: Timestamp, expected: Timestamp) -> bool {
    expected <= shown && shown - expected < TimeDelta::minutes(1)
}

const PAST: &str = "2020-02-29T12:00:00Z";
const FUTURE: &str = "2150-01-01T00:00:00Z";

#[tokio::test]
async fn without_settings_market_time_is_wall_time_and_not_stored() {
    let exchange = Exchange::new().await;
    let clock = open(&exchange, None, 1.0).await.unwrap();
    assert!(!clock.is_moved());
    let wall = clock.wall();
    assert_eq!(clock.at_wall(wall), wall);
    assert!(just_after(clock.now(), wall));
    assert_eq!(exchange.read(|tx| installation::get(tx, "clock")).await, None);
}

#[tokio::test]
async fn a_start_is_kept_through_restarts() {
    let exchange = Exchange::new().await;
    let clock = open(&exchange, Some(PAST), 1.0).await.unwrap();
    assert!(clock.is_moved());
    assert!(just_after(clock.now(), moment(PAST)));
    // Logins and job runs use wall time.
    assert!(clock.wall() > moment("2024-01-01T00:00:00Z"));
    let reopened = open(&exchange, Some(PAST), 1.0).await.unwrap();
    assert!(agree(&clock, &reopened));
}

#[tokio::test]
async fn a_fast_clock_runs_fast_and_is_kept_through_restarts() {
    let exchange = Exchange::new().await;
    for start in [None, Some(FUTURE)] {
        let clock = open(&exchange, start, 3600.0).await.unwrap();
        let wall = clock.wall();
        let passed = clock.at_wall(wall + TimeDelta::seconds(2)) - clock.at_wall(wall);
        assert!((passed - TimeDelta::hours(2)).abs() <= TimeDelta::microseconds(1), "{passed}");
        assert!(agree(&clock, &open(&exchange, start, 3600.0).await.unwrap()));
    }
}

#[tokio::test]
async fn processes_that_start_together_agree() {
    let exchange = Exchange::new().await;
    let opened = tokio::join!(
        open(&exchange, Some(FUTURE), 86_400.0),
        open(&exchange, Some(FUTURE), 86_400.0),
        open(&exchange, Some(FUTURE), 86_400.0),
    );
    let (one, two, three) = (opened.0.unwrap(), opened.1.unwrap(), opened.2.unwrap());
    assert!(agree(&one, &two) && agree(&two, &three));
}

#[tokio::test]
async fn a_start_in_the_past_is_rejected() {
    let exchange = Exchange::new().await;
    let clock = open(&exchange, Some(FUTURE), 1.0).await.unwrap();
    let refused = open(&exchange, Some(PAST), 1.0).await;
    match &refused {
        Err(ClockError::WouldTurnBack { now, asked }) => {
            assert!(just_after(*now, moment(FUTURE)));
            assert_eq!(*asked, moment(PAST));
        }
        other => panic!("{other:?}"),
    }
    // A rejected setting leaves the clock unchanged; a later start does not turn it back.
    assert!(agree(&clock, &open(&exchange, Some(FUTURE), 1.0).await.unwrap()));
    let later = open(&exchange, Some("2150-06-01T00:00:00Z"), 1.0).await.unwrap();
    assert!(just_after(later.now(), moment("2150-06-01T00:00:00Z")));
    assert!(is_refused(&open(&exchange, Some(FUTURE), 1.0).await));
}

#[tokio::test]
async fn another_speed_continues_from_the_current_market_time() {
    for start in [Some(FUTURE), None] {
        let exchange = Exchange::new().await;
        let before = open(&exchange, start, 100_000.0).await.unwrap();
        let after = open(&exchange, start, 2.0).await.unwrap();
        let wall = after.wall();
        assert!(after.at_wall(wall) >= start.map_or(wall, moment));
        assert!(after.at_wall(wall) <= before.at_wall(wall));
        let passed = after.at_wall(wall + TimeDelta::hours(1)) - after.at_wall(wall);
        assert!((passed - TimeDelta::hours(2)).abs() <= TimeDelta::microseconds(1), "{passed}");
    }
}

#[tokio::test]
async fn market_time_continues_when_settings_are_removed() {
    for start in [PAST, FUTURE] {
        for speed in [1.0, 60.0] {
            let exchange = Exchange::new().await;
            open(&exchange, Some(start), 1.0).await.unwrap();
            let clock = open(&exchange, None, speed).await.unwrap();
            assert!(clock.now() >= moment(start));
            assert!(clock.now() - moment(start) < TimeDelta::hours(1), "{}", clock.now());
            assert!(agree(&clock, &open(&exchange, None, speed).await.unwrap()));
            // The same start again does not count as a new one.
            let again = open(&exchange, Some(start), speed).await.unwrap();
            assert!(agree(&clock, &again));
        }
    }
}

#[tokio::test]
async fn the_books_are_kept_in_market_time_and_accounts_in_wall_time() {
    let exchange = Exchange::new().await;
    let clock = open(&exchange, Some(FUTURE), 1.0).await.unwrap();
    let market = Market::new(std::sync::Arc::new(exchange.prices.clone()), clock.clone());
    let services = Services::new(exchange.store().clone(), market, ServicesConfig::default());
    let sam = exchange.user("sam").await;
    let portfolio = services
        .books()
        .open_portfolio(Trader::on_behalf_of(sam), crate::harness::named("Growth", None))
        .await
        .unwrap();
    assert!(just_after(portfolio.created_at, moment(FUTURE)));
    let list = services.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Later").await.unwrap();
    assert!(just_after(clock.wall(), list.created_at));
    // An hour-long session ends after an hour of wall time.
    let key = services.accounts().create_session(Some(sam), "{}".into(), TimeDelta::hours(1)).await.unwrap();
    assert!(services.accounts().load_session(&key).await.unwrap().is_some());
}
