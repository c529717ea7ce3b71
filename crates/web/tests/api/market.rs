//! The market's clock and calendar.

use domain::{Calendar, Freshness, TradingMode};
use insta::assert_json_snapshot;
use serde_json::Value;
use services::testing::FixedPrices;

use crate::harness::{Caller, TestApp, line};

const CLOCK: &str = "/api/v1/market/clock";
const CALENDAR: &str = "/api/v1/market/calendar";

async fn clock(caller: &Caller) -> String {
    let clock = caller.get(CLOCK).await.is(200).json();
    line(&clock, &["is_open", "next_open", "next_close", "calendar", "trading_mode"])
}

async fn days(caller: &Caller, query: &str) -> Vec<String> {
    let items = caller.get(&format!("{CALENDAR}?{query}")).await.is(200).items();
    items.iter().map(|day| line(day, &["date", "opens_at", "closes_at", "closes_early"])).collect()
}

#[tokio::test]
async fn the_market_that_is_always_open_opens_and_closes_at_midnight() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    assert_json_snapshot!(mara.get(CLOCK).await.is(200).json(), @r#"
    {
      "calendar": "always_open",
      "is_open": true,
      "next_close": "2026-11-21T05:00:00Z",
      "next_open": "2026-11-21T05:00:00Z",
      "now": "2026-11-20T19:12:00Z",
      "speed": 1.0,
      "trading_mode": "practice"
    }
    "#);
    // Sunday, the day on which daylight saving time ends.
    assert_eq!(
        days(&mara, "from=2026-10-31&to=2026-11-01").await,
        [
            "2026-10-31 2026-10-31T04:00:00Z 2026-11-01T04:00:00Z false",
            "2026-11-01 2026-11-01T04:00:00Z 2026-11-02T05:00:00Z false",
        ]
    );
}

#[tokio::test]
async fn an_exchange_has_hours_holidays_and_early_closes() {
    let app = TestApp::spawn_on(FixedPrices::of(Freshness::Realtime, Calendar::Xnys), |_| ()).await;
    let mara = app.register("mara").await;
    for (now, told) in [
        ("2026-11-20T14:29:59Z", "false 2026-11-20T14:30:00Z 2026-11-20T21:00:00Z"),
        ("2026-11-20T14:30:00Z", "true 2026-11-23T14:30:00Z 2026-11-20T21:00:00Z"),
        ("2026-11-20T20:59:59Z", "true 2026-11-23T14:30:00Z 2026-11-20T21:00:00Z"),
        ("2026-11-20T21:00:00Z", "false 2026-11-23T14:30:00Z 2026-11-23T21:00:00Z"),
        ("2026-11-22T12:00:00Z", "false 2026-11-23T14:30:00Z 2026-11-23T21:00:00Z"),
        // Thanksgiving, and the early close on the day after.
        ("2026-11-26T15:00:00Z", "false 2026-11-27T14:30:00Z 2026-11-27T18:00:00Z"),
        ("2026-11-27T17:59:59Z", "true 2026-11-30T14:30:00Z 2026-11-27T18:00:00Z"),
        ("2026-11-27T18:00:00Z", "false 2026-11-30T14:30:00Z 2026-11-30T21:00:00Z"),
    ] {
        app.at(now);
        assert_eq!(clock(&mara).await, format!("{told} xnys practice"), "{now}");
    }
    assert_eq!(
        days(&mara, "from=2026-11-25&to=2026-11-30").await,
        [
            "2026-11-25 2026-11-25T14:30:00Z 2026-11-25T21:00:00Z false",
            "2026-11-27 2026-11-27T14:30:00Z 2026-11-27T18:00:00Z true",
            "2026-11-30 2026-11-30T14:30:00Z 2026-11-30T21:00:00Z false",
        ]
    );
    assert_eq!(days(&mara, "from=2026-12-25&to=2026-12-25").await, Vec::<String>::new());
}

#[tokio::test]
async fn realistic_trading_keeps_the_hours_of_the_exchange() {
    let app = TestApp::spawn_trading(|trading| trading.mode = TradingMode::Realistic).await;
    let mara = app.register("mara").await;
    app.at("2026-11-21T15:00:00Z");
    assert_eq!(clock(&mara).await, "false 2026-11-23T14:30:00Z 2026-11-23T21:00:00Z xnys realistic");
    assert_eq!(days(&mara, "from=2026-11-21&to=2026-11-22").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_calendar_begins_today_and_has_366_days_at_most() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let usual = days(&mara, "").await;
    assert_eq!(usual.len(), 31);
    assert!(usual[0].starts_with("2026-11-20 "), "{usual:?}");
    assert_eq!(days(&mara, "from=2026-01-01&to=2027-01-01").await.len(), 366);
    assert_eq!(days(&mara, "from=1995-01-01&to=1995-01-01").await.len(), 1);
    assert_eq!(days(&mara, "from=2199-12-31").await.len(), 31);
    for (query, field) in [
        ("from=2026-01-01&to=2027-01-02", "to"),
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("to=2026-11-19", "to"),
        ("from=1994-12-31", "from"),
        ("to=2200-01-01", "to"),
        ("from=2026-11-31", "from"),
        ("from=%2B262142-12-31", "from"),
        ("from=2026-1-1", "from"),
        ("from=tomorrow", "from"),
        ("from=%00", "from"),
        ("start=2026-11-20", "start"),
    ] {
        mara.get(&format!("{CALENDAR}?{query}")).await.is_about(field);
    }
    let both = mara.get(&format!("{CALENDAR}?from=x&to=y")).await;
    assert_eq!(both.fields().len(), 2);
    app.anonymous().get(CLOCK).await.is_refused(401, "unauthorized");
    let sessions = mara.get(&format!("{CALENDAR}?from=2026-11-20&to=2026-11-20")).await.is(200).json();
    assert_eq!(sessions["next_cursor"], Value::Null);
}
