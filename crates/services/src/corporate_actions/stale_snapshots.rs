//! The mark of the first session whose snapshots must be taken again.

use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::{Calendar, Timestamp};
use persistence::{Tx, installation};

use super::Stored;
use crate::market::book_calendar::BookCalendar;

/// The key of the first session whose snapshots were taken before all actions were known.
const SNAPSHOTS_SINCE: &str = "snapshots_to_take_again";

/// Marks the snapshots of a closed session, and of all later ones, as outdated by a new journal line.
pub(crate) fn mark_snapshots(
    tx: &mut Tx<'_>,
    at: Timestamp,
    calendar: Calendar,
    now: Timestamp,
) -> Stored<()> {
    let session = BookCalendar::load(tx, calendar)?.on(exchange_date(at)).booking_session(at);
    if session.closes_at > now || stale_since(tx)?.is_some_and(|since| since <= session.date) {
        return Ok(());
    }
    installation::lock(tx)?;
    let since = stale_since(tx)?.map_or(session.date, |since| since.min(session.date));
    installation::set(tx, SNAPSHOTS_SINCE, &since.to_string())
}

/// The first session whose snapshots must be taken again, because an older change became known.
pub(crate) fn stale_since(tx: &mut Tx<'_>) -> Stored<Option<NaiveDate>> {
    Ok(installation::get(tx, SNAPSHOTS_SINCE)?.and_then(|day| day.parse().ok()))
}

/// Clears the mark, unless an older session has been marked since.
pub(crate) fn clear_stale(tx: &mut Tx<'_>, since: NaiveDate) -> Stored<()> {
    installation::lock(tx)?;
    match stale_since(tx)? == Some(since) {
        true => installation::set(tx, SNAPSHOTS_SINCE, ""),
        false => Ok(()),
    }
}
