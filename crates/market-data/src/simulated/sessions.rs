//! The numbered sessions of the market.

use std::sync::LazyLock;

use chrono::{Days, NaiveDate};
use domain::Calendar;

use super::clock::SESSIONS;

/// The first day of the market; the exchange view has its first session on the next day.
pub(super) const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1980, 1, 1).expect("a date");
/// The last day. Around the clock it is the day of session 2^15 − 1; the exchange view has fewer sessions until then.
pub(super) const LAST_DATE: NaiveDate = NaiveDate::from_ymd_opt(2069, 9, 17).expect("a date");

/// The days of the exchange view's sessions, in order: computed once per process.
static XNYS_DATES: LazyLock<Vec<NaiveDate>> =
    LazyLock::new(|| Calendar::Xnys.sessions(FIRST_DATE, LAST_DATE).map(|session| session.date).collect());

/// The sessions from [`FIRST_DATE`] to [`LAST_DATE`], numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sessions {
    AroundTheClock,
    Xnys,
}

impl Sessions {
    pub(super) fn in_calendar(calendar: Calendar) -> Self {
        match calendar {
            Calendar::AroundTheClock => Self::AroundTheClock,
            Calendar::Xnys => Self::Xnys,
        }
    }

    pub(super) fn calendar(self) -> Calendar {
        match self {
            Self::AroundTheClock => Calendar::AroundTheClock,
            Self::Xnys => Calendar::Xnys,
        }
    }

    /// The number of sessions.
    pub(super) fn count(self) -> u16 {
        match self {
            Self::AroundTheClock => SESSIONS,
            Self::Xnys => number(XNYS_DATES.len()),
        }
    }

    /// The number of the session on that day; `None` if there is none.
    #[cfg(test)]
    pub(super) fn on(self, date: NaiveDate) -> Option<u16> {
        self.from(date).filter(|session| self.date(*session) == date)
    }

    /// The number of the first session on or after that day.
    pub(super) fn from(self, date: NaiveDate) -> Option<u16> {
        let session = match self {
            Self::AroundTheClock => u16::try_from((date - FIRST_DATE).num_days())
                .unwrap_or(if date < FIRST_DATE { 0 } else { SESSIONS }),
            Self::Xnys => number(XNYS_DATES.partition_point(|session| *session < date)),
        };
        (session < self.count()).then_some(session)
    }

    /// The number of the last session on or before that day.
    pub(super) fn until(self, date: NaiveDate) -> Option<u16> {
        match self.from(date) {
            Some(session) if self.date(session) == date => Some(session),
            Some(session) => session.checked_sub(1),
            None => Some(self.count() - 1),
        }
    }

    /// The day of a session.
    ///
    /// # Panics
    /// If there is no session with that number.
    pub(super) fn date(self, session: u16) -> NaiveDate {
        match self {
            Self::AroundTheClock => FIRST_DATE + Days::new(session.into()),
            Self::Xnys => XNYS_DATES[usize::from(session)],
        }
    }
}

fn number(place: usize) -> u16 {
    u16::try_from(place).expect("Invariant: the market has at most 2^15 sessions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn sessions_are_numbered_in_the_order_of_their_days() {
        for sessions in [Sessions::AroundTheClock, Sessions::Xnys] {
            let dates: Vec<NaiveDate> =
                sessions.calendar().sessions(FIRST_DATE, LAST_DATE).map(|session| session.date).collect();
            assert_eq!(dates.len(), usize::from(sessions.count()));
            for (session, date) in (0..sessions.count()).zip(dates) {
                assert_eq!((sessions.on(date), sessions.date(session)), (Some(session), date));
            }
            for outside in
                [FIRST_DATE - Days::new(1), LAST_DATE + Days::new(1), NaiveDate::MIN, NaiveDate::MAX]
            {
                assert_eq!(sessions.on(outside), None, "{outside}");
            }
        }
        assert_eq!(Sessions::AroundTheClock.count(), 32_768);
    }

    #[test]
    fn a_closed_day_lies_between_the_sessions_around_it() {
        // Thanksgiving of 2026, and a weekend.
        for (closed, before, after) in
            [("2026-11-26", "2026-11-25", "2026-11-27"), ("2026-11-28", "2026-11-27", "2026-11-30")]
        {
            let around = [Sessions::Xnys.until(day(closed)), Sessions::Xnys.from(day(closed))];
            assert_eq!(
                around.map(|session| Sessions::Xnys.date(session.unwrap())),
                [day(before), day(after)]
            );
            assert_eq!(Sessions::Xnys.on(day(closed)), None);
        }
        assert_eq!(Sessions::Xnys.until(FIRST_DATE), None);
        assert_eq!(Sessions::Xnys.from(LAST_DATE + Days::new(1)), None);
        assert_eq!(Sessions::Xnys.until(LAST_DATE + Days::new(9)), Some(Sessions::Xnys.count() - 1));
    }
}
