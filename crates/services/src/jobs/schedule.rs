//! Which runs are due.

use chrono::{NaiveTime, TimeDelta};
use domain::calendar::{EXCHANGE_ZONE, exchange_date};
use domain::{Freshness, Session, Timestamp};
use persistence::{Tx, jobs, portfolios};

use super::runs::JobKind;
use crate::Market;
use crate::error::Result;

/// How many portfolio ids one run of a snapshot covers.
pub(super) const PARTITION: i64 = 5000;

/// Sessions that are planned at once when several were missed.
const MOST_SESSIONS: usize = 50;

/// After the close, by the market's clock, until its prices count as settled.
const SIMULATED_DELAY: TimeDelta = TimeDelta::minutes(15);

pub(super) const PUBLISHED_DELAY: TimeDelta = TimeDelta::minutes(30);

/// And by the wall clock, however fast the market's clock runs: until orders under way are written.
const SETTLING: TimeDelta = TimeDelta::seconds(5);

/// An end-of-day source without the close is asked again, by New York's time: in the evening, and next morning.
const EVENING: NaiveTime = NaiveTime::from_hms_opt(20, 30, 0).expect("a time of day");

pub(super) const NEXT_MORNING: NaiveTime = NaiveTime::from_hms_opt(6, 0, 0).expect("a time of day");

/// And shortly before a day's calls end, with what is left of them.
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
    let due: Vec<Session> = market.calendar.sessions(first, newest_due).take(MOST_SESSIONS).collect();
    for session in due {
        for partition in 0..=(last_id.0 - 1) / PARTITION {
            jobs::plan(tx, kind, &session.date.to_string(), partition, wall)?;
        }
    }
    Ok(())
}

/// Once when a session is the next, and once when it has opened: what is announced late is there before the others
/// trade on it. Where sessions follow one another without a pause that is one run.
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

/// Prices that move once a minute, for the pages' sake; an end-of-day source after each close, and again in the evening,
/// before midnight and next morning for what was not published yet.
pub(super) fn plan_refresh(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let key = match market.quotes.freshness() {
        Freshness::EndOfDay => {
            let date = market.calendar.last_closed(market.now() - PUBLISHED_DELAY).date;
            let now = market.now().utc().with_timezone(&EXCHANGE_ZONE).naive_local();
            if now.time() >= NIGHT {
                format!("{date}, night of {}", now.date())
            } else if date.succ_opt().is_some_and(|next| now >= next.and_time(NEXT_MORNING)) {
                // Days without a session have calls of their own: there is more time for more stocks.
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

/// Once a week, from a source that is asked over the network; each day while the table says that stocks in use are gone.
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
