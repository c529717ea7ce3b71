//! The calendars of an installation's books.
//!
//! The calendar may change with the price source: `simulated/sim-v2` is open around the clock, `simulated/sim-v2-xnys`
//! follows the exchange's sessions. Snapshots from before the change keep the session for which they were taken or
//! planned.

use chrono::NaiveDate;
use domain::share_basis::session_basis;
use domain::{Calendar, Session, Timestamp};
use market_data::{ALPHA_VANTAGE_SOURCE, SimulatedModel, YAHOO_SOURCE};
use persistence::{StoreError, Tx, installation, jobs, snapshots};

/// The key of the former price sources in `installation`: pairs of a source's last day and its name, oldest first.
const FORMER_SOURCES: &str = "former_price_sources";

/// The sources of real prices, which follow New York's sessions.
const EXCHANGE_SOURCES: [&str; 2] = [ALPHA_VANTAGE_SOURCE, YAHOO_SOURCE];

/// The calendar of each day of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BookCalendar {
    /// The last day of each former calendar, oldest first.
    former: Vec<(NaiveDate, Calendar)>,
    current: Calendar,
}

impl BookCalendar {
    pub(crate) fn load(tx: &mut Tx<'_>, current: Calendar) -> std::result::Result<Self, StoreError> {
        let former = former_sources(tx)?.into_iter();
        let former = former.filter_map(|(until, source)| Some((until, calendar_of(&source)?)));
        Ok(Self { former: former.collect(), current })
    }

    /// The calendar of a day.
    pub(crate) fn on(&self, date: NaiveDate) -> Calendar {
        let former = self.former.iter().find(|(until, _)| date <= *until);
        former.map_or(self.current, |(_, calendar)| *calendar)
    }

    /// The session of a day; `None` if its market was closed.
    pub(crate) fn session(&self, date: NaiveDate) -> Option<Session> {
        self.on(date).session(date)
    }

    /// The market time whose share basis the bar of the day has, as in [`session_basis`].
    pub(crate) fn basis(&self, date: NaiveDate) -> Timestamp {
        session_basis(self.on(date), date)
    }

    /// The last session before a day.
    pub(crate) fn before(&self, date: NaiveDate) -> Session {
        let mut next = date;
        loop {
            let eve = next.pred_opt().unwrap_or(next);
            let found = self.on(eve).before(next);
            // The days up to the last one of a former calendar belong to that calendar.
            let mut earlier = self.former.iter().rev().map(|(until, _)| *until);
            match earlier.find(|until| found.date <= *until && *until < eve) {
                Some(until) => next = until.succ_opt().unwrap_or(until),
                None => return found,
            }
        }
    }

    /// The sessions from `first` to `last`, both included, oldest first.
    pub(crate) fn sessions(&self, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = Session> {
        first.iter_days().take_while(move |date| *date <= last).filter_map(|date| self.session(date))
    }
}

/// Records that the days up to the newest snapshot, taken or planned, belong to `source`.
pub(crate) fn record_former_source(tx: &mut Tx<'_>, source: &str) -> std::result::Result<(), StoreError> {
    let planned = jobs::newest_planned_session(tx)?;
    let Some(until) = snapshots::newest_date(tx)?.max(planned) else { return Ok(()) };
    let mut former = former_sources(tx)?;
    if former.last().is_none_or(|(last, _)| *last < until) {
        former.push((until, source.to_owned()));
        let text = serde_json::to_string(&former).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        installation::set(tx, FORMER_SOURCES, &text)?;
    }
    Ok(())
}

fn former_sources(tx: &mut Tx<'_>) -> std::result::Result<Vec<(NaiveDate, String)>, StoreError> {
    match installation::get(tx, FORMER_SOURCES)? {
        Some(text) => serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(error.to_string())),
        None => Ok(Vec::new()),
    }
}

/// The calendar of a price source; `None` for an unknown source.
fn calendar_of(source: &str) -> Option<Calendar> {
    let simulated = SimulatedModel::ALL.into_iter().find(|model| model.name() == source);
    simulated
        .map(SimulatedModel::calendar)
        .or_else(|| EXCHANGE_SOURCES.contains(&source).then_some(Calendar::Xnys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// Around the clock until Sunday the 22nd, in the exchange's sessions until Friday the 27th, and around the clock again.
    fn changed_twice() -> BookCalendar {
        BookCalendar {
            former: vec![(day("2026-11-22"), Calendar::AroundTheClock), (day("2026-11-27"), Calendar::Xnys)],
            current: Calendar::AroundTheClock,
        }
    }

    #[test]
    fn each_day_has_the_session_of_its_calendar() {
        let books = changed_twice();
        let dates =
            books.sessions(day("2026-11-20"), day("2026-11-30")).map(|session| session.date.to_string());
        // The 26th was Thanksgiving.
        let expected = ["20", "21", "22", "23", "24", "25", "27", "28", "29", "30"];
        assert_eq!(dates.collect::<Vec<_>>(), expected.map(|date| format!("2026-11-{date}")));
        for (date, calendar) in [("2026-11-20", Calendar::AroundTheClock), ("2026-11-27", Calendar::Xnys)] {
            assert_eq!(books.session(day(date)), calendar.session(day(date)), "{date}");
        }
        assert_eq!(books.session(day("2026-11-26")), None);
    }

    #[test]
    fn the_session_before_a_day_is_the_one_before_it_in_the_list() {
        let books = changed_twice();
        let all: Vec<Session> = books.sessions(day("2026-11-18"), day("2026-12-03")).collect();
        for date in day("2026-11-19").iter_days().take_while(|date| *date <= day("2026-12-03")) {
            let expected = all.iter().rfind(|session| session.date < date).unwrap();
            assert_eq!(books.before(date), *expected, "{date}");
        }
        let always = BookCalendar { former: Vec::new(), current: Calendar::Xnys };
        assert_eq!(always.before(day("2026-11-30")).date, day("2026-11-27"));
        // A change to the exchange's sessions over a weekend: the first session follows Sunday's.
        let once = BookCalendar {
            former: vec![(day("2026-11-29"), Calendar::AroundTheClock)],
            current: Calendar::Xnys,
        };
        assert_eq!(once.before(day("2026-11-30")).date, day("2026-11-29"));
        assert_eq!(once.before(day("2026-12-01")).date, day("2026-11-30"));
    }

    #[test]
    fn every_source_has_its_calendar() {
        for model in SimulatedModel::ALL {
            assert_eq!(calendar_of(model.name()), Some(model.calendar()));
        }
        for source in ["alpha_vantage", "yahoo"] {
            assert_eq!(calendar_of(source), Some(Calendar::Xnys));
        }
        assert_eq!(calendar_of("unknown"), None);
    }
}
