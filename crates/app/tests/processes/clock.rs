//! The settings of the market's clock, changed between starts, and settings that are misspelled.

use chrono::{DateTime, TimeDelta, Utc};

use crate::client::Client;
use crate::installation::{Installation, Server};

/// The market's time, told by a new portfolio.
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
    // A new start moves it, which is logged with both instants.
    let mut installation = installation.with("CLOCK_START", LATER);
    let mut server = installation.serve().await;
    let log = server.process.log();
    let line = log.lines().find(|line| line.contains(JUMP)).unwrap_or_else(|| panic!("no warning: {log}"));
    assert!(line.contains("WARN") && line.contains("from=2020-02-03T1"), "{line}");
    assert!(line.contains(&format!("to={LATER}")), "{line}");
    assert!(market_time(&server).await >= started(LATER));
    server.process.ends_well().await;
    // Back is refused, and the message says what to do.
    installation.set("CLOCK_START", START);
    let refused = installation.run(&["serve"]).await;
    for part in ["CLOCK_START", "2020-06-01T1", START, "Remove CLOCK_START"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}

#[tokio::test]
async fn a_misspelled_setting_is_logged_and_named_beside_other_mistakes() {
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
    for part in ["STARTING_CASH", "TRADNG is not read: did you mean TRADING?"] {
        assert!(refused.failed().contains(part), "{part}: {refused:?}");
    }
}
