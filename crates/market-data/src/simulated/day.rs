//! The market's time: its sessions by number, and how far a session's activity has come at an instant.

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::{Calendar, Session, Timestamp};

use super::clock::SESSIONS;
use super::profile;
use crate::QuoteError;

/// The market's first session. It has 2^15 sessions, one on each New York calendar day.
pub(super) const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1980, 1, 1).expect("a date");
pub(super) const LAST_DATE: NaiveDate = NaiveDate::from_ymd_opt(2069, 9, 17).expect("a date");

const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

/// One session of the market.
#[derive(Debug)]
pub(super) struct Day {
    /// From 0, the first.
    pub(super) number: u16,
    session: Session,
}

impl Day {
    /// The session under way at that instant.
    ///
    /// # Errors
    /// Before the market's first session and after its last.
    pub(super) fn at(at: Timestamp) -> Result<Self, QuoteError> {
        let outside =
            || QuoteError::Upstream(format!("the simulated market reaches from {FIRST_DATE} to {LAST_DATE}"));
        // Looked at before the calendar is, which cannot tell New York's time at the ends of chrono's.
        let near = FIRST_DATE..=LAST_DATE + Days::new(1);
        if !near.contains(&at.utc().date_naive()) {
            return Err(outside());
        }
        Self::on(exchange_date(at)).ok_or_else(outside)
    }

    pub(super) fn on(date: NaiveDate) -> Option<Self> {
        let number = session_on(date)?;
        Calendar::AroundTheClock.session(date).map(|session| Self { number, session })
    }

    /// The session of that number, less than 2^15.
    pub(super) fn numbered(number: u16) -> Option<Self> {
        Self::on(date_of(number))
    }

    /// Its last microsecond.
    pub(super) fn last_instant(&self) -> Timestamp {
        self.session.closes_at - MICROSECOND
    }

    pub(super) fn next(&self) -> Option<Self> {
        Self::on(self.session.date + Days::new(1))
    }

    pub(super) fn previous(&self) -> Option<Self> {
        Self::on(self.session.date - Days::new(1))
    }

    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.session.contains(at)
    }

    pub(super) fn opens_after(&self, at: Timestamp) -> bool {
        at < self.session.opens_at
    }

    /// The share of the session's activity that has passed at that instant, from 0 to 1.
    pub(super) fn share(&self, at: Timestamp) -> f64 {
        let Session { opens_at, closes_at, .. } = self.session;
        let seconds = |span: TimeDelta| span.as_seconds_f64();
        profile::elapsed_share(seconds(at - opens_at) / seconds(closes_at - opens_at))
    }

    /// The number of smaller steps since the open at that instant, for prices that come late by `delay`.
    pub(super) fn quote_step(&self, at: Timestamp, delay: f64) -> usize {
        profile::quote_step(self.share(at), delay)
    }

    /// The first instant at which [`Self::quote_step`] is `number`, to the microsecond.
    pub(super) fn first_instant(&self, number: usize, delay: f64) -> Timestamp {
        let Session { opens_at, closes_at, .. } = self.session;
        if number == 0 {
            return opens_at;
        }
        let elapsed = profile::elapsed_time(profile::quote_step_begins(number, delay));
        let length = (closes_at - opens_at).num_microseconds().unwrap_or(i64::MAX) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "less than the microseconds of 25 hours")]
        let near = TimeDelta::microseconds((elapsed * length) as i64);
        // The way back is rounded in other places than the way there, which alone counts.
        let mut first = opens_at + near;
        while self.quote_step(first, delay) < number {
            first = first + MICROSECOND;
        }
        while self.quote_step(first - MICROSECOND, delay) >= number {
            first = first - MICROSECOND;
        }
        first
    }
}

/// The number of a day's session, from 0.
pub(super) fn session_on(date: NaiveDate) -> Option<u16> {
    u16::try_from((date - FIRST_DATE).num_days()).ok().filter(|session| *session < SESSIONS)
}

/// The day of a session.
pub(super) fn date_of(session: u16) -> NaiveDate {
    FIRST_DATE + Days::new(session.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_at_its_first_instant_and_not_a_microsecond_before() {
        // Of 24, 23 and 25 hours.
        for date in ["2026-11-20", "2026-03-08", "2026-11-01"] {
            let day = Day::on(date.parse().unwrap()).unwrap();
            for delay in [0.0, 0.37, 0.9] {
                for number in (1..=profile::LAST_QUOTE_STEP).step_by(61).chain([profile::LAST_QUOTE_STEP]) {
                    let first = day.first_instant(number, delay);
                    assert!(day.contains(first));
                    let steps = [first - MICROSECOND, first].map(|at| day.quote_step(at, delay));
                    assert_eq!(steps, [number - 1, number], "{date} {delay}");
                }
                assert_eq!(day.quote_step(day.first_instant(0, delay), delay), 0);
            }
        }
    }
}
