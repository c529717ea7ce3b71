//! The schedule of jobs.

use chrono::{NaiveTime, TimeDelta};
use domain::calendar::{EXCHANGE_ZONE, exchange_date};
use domain::{Freshness, Session, Timestamp};
use persistence::{Tx, jobs, portfolios};

use super::runs::JobKind;
use crate::Market;
use crate::error::Result;

/// The number of portfolio ids per run of a snapshot.
pub(super) const PARTITION: i64 = 5000;

/// The most sessions that are planned together after a pause.
const MAX_SESSIONS: usize = 50;

/// How long after the close, in market time, its prices count as settled.
const SIMULATED_DELAY: TimeDelta = TimeDelta::minutes(15);

pub(super) const PUBLISHED_DELAY: TimeDelta = TimeDelta::minutes(30);

/// How long after the close, in wall time, pending orders have been written, even if the market clock runs fast.
const SETTLING: TimeDelta = TimeDelta::seconds(5);

/// When an end-of-day source that has not published the close is called again, in New York time: in the evening and the
/// next morning.
const EVENING: NaiveTime = NaiveTime::from_hms_opt(20, 30, 0).expect("a time of day");

pub(super) const NEXT_MORNING: NaiveTime = NaiveTime::from_hms_opt(6, 0, 0).expect("a time of day");

/// Shortly before the end of the day, to use the remaining calls.
const NIGHT: NaiveTime = NaiveTime::from_hms_opt(23, 30, 0).expect("a time of day");

/// The newest session whose closing prices count as settled.
pub(crate) fn newest_settled_session(market: &Market, wall: Timestamp) -> Session {
    let delay = match market.quotes.freshness() {
        Freshness::Simulated | Freshness::Realtime => SIMULATED_DELAY,
        Freshness::Delayed | Freshness::EndOfDay => PUBLISHED_DELAY,
    };
    let settled = (market.clock.at_wall(wall) - delay).min(market.clock.at_wall(wall - SETTLING));
    market.calendar.last_closed(settled)
}

/// Plans the sessions that have closed since the last planned one. The first is that of the oldest portfolio.
pub(super) fn plan_snapshots(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let kind = JobKind::SnapshotPortfolios.as_str();
    let Some((last_id, oldest)) = portfolios::extent(tx)? else { return Ok(()) };
    let newest_due = newest_settled_session(market, wall).date;
    let first = match jobs::newest_planned_session(tx)? {
        Some(planned) => planned.succ_opt().unwrap_or(planned),
        None => market.calendar.booking_session(oldest).date,
    };
    let due: Vec<Session> = market.calendar.sessions(first, newest_due).take(MAX_SESSIONS).collect();
    for session in due {
        for partition in 0..=(last_id.0 - 1) / PARTITION {
            jobs::plan(tx, kind, &session.date.to_string(), partition, wall)?;
        }
    }
    Ok(())
}

/// Plans a run before a session opens and another one after its opening, so that late announcements are known before
/// orders fill. If sessions follow one another without a pause, both are one run.
pub(super) fn plan_actions(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let now = market.clock.at_wall(wall);
    let session = market.calendar.booking_session(now);
    let key = match session.opens_at <= now {
        true => session.date.to_string(),
        false => format!("{} before open", session.date),
    };
    jobs::plan(tx, JobKind::CorporateActions.as_str(), &key, 0, wall)?;
    Ok(())
}

/// Plans a refresh of prices: every minute for a source whose prices move. For an end-of-day source, after each close,
/// and again in the evening, before midnight and the next morning, for closes that were not published yet.
pub(super) fn plan_refresh(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let key = match market.quotes.freshness() {
        Freshness::EndOfDay => {
            let date = market.calendar.last_closed(market.now() - PUBLISHED_DELAY).date;
            let now = market.now().utc().with_timezone(&EXCHANGE_ZONE).naive_local();
            if now.time() >= NIGHT {
                format!("{date}, night of {}", now.date())
            } else if date.succ_opt().is_some_and(|next| now >= next.and_time(NEXT_MORNING)) {
                // On days without a session, calls are available too, so more stocks can be requested.
                let since_morning = now - NEXT_MORNING.signed_duration_since(NaiveTime::MIN);
                format!("{date}, morning of {}", since_morning.date())
            } else if now >= date.and_time(EVENING) {
                format!("{date}, evening")
            } else {
                date.to_string()
            }
        }
        _ => wall.utc().format("%Y-%m-%dT%H:%M").to_string(),
    };
    jobs::plan(tx, JobKind::RefreshQuotes.as_str(), &key, 0, wall)?;
    Ok(())
}

/// Plans a request for the table of listings: weekly from a source on the network, daily while the table lacks stocks
/// in use.
pub(super) fn plan_listings(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    if market.quotes.limits().is_some() {
        let source = market.quotes.source();
        let key = match crate::corporate_actions::delistings::wants_table_of_today(tx, source.as_str())? {
            true => format!("{} {source}", exchange_date(wall)),
            false => crate::stocks::listings::listings_key(&source, wall),
        };
        jobs::plan(tx, JobKind::RefreshListings.as_str(), &key, 0, wall)?;
    }
    Ok(())
}
