//! Market clock settings that change between starts, misspelled settings, and a system clock that is set back.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::client::{Client, Trader};
use crate::installation::{Installation, Server};
use crate::process::eventually;

/// The market's time, which is the creation time of a new portfolio.
async fn market_time(server: &Server) -> DateTime<Utc> {
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.portfolio(id, "").await["created_at"].as_str().unwrap().parse().unwrap()
}

const START: &str = "2020-02-03T15:00:00Z";
const LATER: &str = "2020-06-01T15:00:00Z";
const JUMP: &str = "CLOCK_START moves market time forward";

#[tokio::test]
async fn market_time_continues_when_the_clock_settings_change() {
    let started = |at: &str| at.parse::<DateTime<Utc>>().unwrap();
    let mut installation = Installation::embedded().with("CLOCK_START", START);
    let mut server = installation.serve().await;
    let mut before = market_time(&server).await;
    assert!(before - started(START) < TimeDelta::hours(1), "{before}");
    server.process.ends_well().await;
    for settings in [&[("CLOCK_SPEED", "2")][..], &[], &[("CLOCK_START", START), ("CLOCK_SPEED", "3")]] {
        installation = installation.without("CLOCK_START").without("CLOCK_SPEED").with_all(settings);
        let mut server = installation.serve().await;
        let now = market_time(&server).await;
        assert!(before < now && now - before < TimeDelta::hours(1), "{settings:?}: from {before} to {now}");
        assert!(!server.process.log().contains(JUMP), "{}", server.process.log());
        server.process.ends_well().await;
        before = now;
    }
    // A later start moves the clock forward, and the log has both instants.
    let mut installation = installation.with("CLOCK_START", LATER);
    let mut server = installation.serve().await;
    let log = server.process.log();
    let line = log.lines().find(|line| line.contains(JUMP)).unwrap_or_else(|| panic!("no warning: {log}"));
    assert!(line.contains("WARN") && line.contains("from=2020-02-03T1"), "{line}");
    assert!(line.contains(&format!("to={LATER}")), "{line}");
    assert!(market_time(&server).await >= started(LATER));
    server.process.ends_well().await;
    // An earlier start is refused, and the message says what to do.
    installation.set("CLOCK_START", START);
    let refused = installation.run(&["serve"]).await;
    for part in ["CLOCK_START", "2020-06-01T1", START, "Remove CLOCK_START"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}

#[tokio::test]
async fn a_misspelled_setting_is_logged_and_named_with_other_errors() {
    let usual =
        [("PATH", "/usr/bin"), ("HOME", "/root"), ("HOSTNAME", "web-1"), ("LOGNAME", "root"), ("PWD", "/")];
    let installation = Installation::embedded().with_all(&usual);
    let mut server = installation.serve().await;
    assert!(!server.process.log().contains("misspelled"), "{}", server.process.log());
    server.process.ends_well().await;

    let installation = installation.with("TRADNG", "realistic").with("DATABSE_URL", "sqlite://x.db");
    let mut server = installation.serve().await;
    let log = server.process.log();
    for (variable, setting) in [("TRADNG", "TRADING"), ("DATABSE_URL", "DATABASE_URL")] {
        let told = |line: &str| {
            line.contains("WARN")
                && line.contains("misspelled")
                && line.contains(&format!("\"{variable}\""))
                && line.contains(&format!("\"{setting}\""))
        };
        assert!(log.lines().any(told), "{variable}: {log}");
    }
    server.process.ends_well().await;

    let refused = installation.with("STARTING_CASH", "much").run(&["serve"]).await;
    for part in ["STARTING_CASH", "TRADNG is not a setting: did you mean TRADING?"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}

/// A clock that the test sets for a running process with Debian's libfaketime. It does not affect the kernel's
/// monotonic clock, just as setting the system's clock does not.
struct FakeClock(PathBuf);

impl FakeClock {
    fn settings(&self) -> [(&'static str, String); 4] {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = libraries
            .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is installed: `scripts/ensure faketime`");
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Sets the clock back by this much from the true time, at once for all processes that use it.
    fn set_back(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("-{seconds}")).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const BEHIND: &str = "the system's clock is behind";

/// Buys, and waits until a trailing stop fills. Fills have the time of their prices, and the journal is in order.
async fn trading_goes_on(server: &Server, sam: &Trader, id: i64) {
    let sam = &Trader {
        client: Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token),
        ..sam.clone()
    };
    sam.buy(id, "AAPL", "2").await;
    let trailing = json!({"symbol": "AAPL", "side": "sell", "quantity": "1", "type": "trailing_stop", "trail_percent": "0.01"});
    let placed = sam.order(id, &trailing).await.expect(201);
    let path = format!("/orders/{}", placed["id"].as_str().unwrap());
    eventually("the trailing stop is filled", Duration::from_secs(90), async || {
        (sam.portfolio(id, &path).await["status"] == "filled").then_some(())
    })
    .await;
    let mut journal = sam.all(id, "/transactions?").await;
    journal.reverse();
    let at = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    for pair in journal.windows(2) {
        assert!(at(&pair[0]["timestamp"]) <= at(&pair[1]["timestamp"]), "{pair:#?}");
    }
    let fills: Vec<&Value> = journal.iter().filter(|entry| !entry["receipt"].is_null()).collect();
    assert!(fills.len() >= 2, "{journal:#?}");
    for fill in fills {
        // Generous, because market time runs sixty times as fast, on a busy machine.
        let age = at(&fill["timestamp"]) - at(&fill["receipt"]["quoted_at"]);
        assert!(age.abs() < TimeDelta::minutes(30), "{age}: {fill:#}");
    }
}

#[tokio::test]
async fn trading_continues_when_the_systems_clock_is_set_back() {
    let installation = Installation::embedded().with("CLOCK_SPEED", "60");
    let clock = FakeClock(installation.folder().join("clock"));
    clock.set_back(0);
    let settings = clock.settings();
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let installation = installation.with_all(&settings);
    let mut server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("100000.00").await;
    trading_goes_on(&server, &sam, id).await;
    assert!(!server.process.log().contains(BEHIND), "{}", server.process.log());
    // The clock is set back while the process runs.
    for (seconds, events) in [(HOUR, 1), (40 * DAY, 1)] {
        clock.set_back(seconds);
        eventually("the clock is judged", Duration::from_secs(30), async || {
            server.process.log().contains(BEHIND).then_some(())
        })
        .await;
        trading_goes_on(&server, &sam, id).await;
        assert_eq!(server.process.log().matches(BEHIND).count(), events, "{}", server.process.log());
    }
    server.process.kill();
    // The clock is set back before the start.
    let mut server = installation.serve().await;
    assert_eq!(server.process.log().matches(BEHIND).count(), 1, "{}", server.process.log());
    trading_goes_on(&server, &sam, id).await;
    server.process.ends_well().await;
    installation.verify().await;
}
