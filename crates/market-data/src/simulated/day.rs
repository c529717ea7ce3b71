//! The market's time: numbered sessions, and the share of a session's activity that has passed at a given time.

use chrono::TimeDelta;
use domain::calendar::exchange_date;
use domain::{Session, Timestamp};

use super::model::SimulatedModel;
use super::profile::{self, Profile};
use super::sessions::{FIRST_DATE, LAST_DATE, Sessions};
use crate::QuoteError;

const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

/// One session of the market.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// The number of the session, from 0.
    pub(super) number: u16,
    session: Session,
    sessions: Sessions,
    profile: &'static Profile,
}

impl Day {
    /// The session of the newest prices at `at`: the current one, or the last one that closed.
    ///
    /// # Errors
    /// [`QuoteError::Upstream`] before the market's first session and after its last day.
    pub(super) fn newest(model: SimulatedModel, at: Timestamp) -> Result<Self, QuoteError> {
        let outside =
            || QuoteError::Upstream(format!("the simulated market reaches from {FIRST_DATE} to {LAST_DATE}"));
        // Checked before the calendar is used, which cannot convert times at the ends of chrono's range to New York
        // time.
        let near = FIRST_DATE..=LAST_DATE + chrono::Days::new(1);
        if !near.contains(&at.utc().date_naive()) {
            return Err(outside());
        }
        let today = exchange_date(at);
        let newest =
            (FIRST_DATE..=LAST_DATE).contains(&today).then(|| model.sessions().until(today)).flatten();
        let day = newest.and_then(|number| Self::numbered(model, number)).ok_or_else(outside)?;
        if day.opens_after(at) { day.previous().ok_or_else(outside) } else { Ok(day) }
    }

    /// The current session at `at`, or the next one to open.
    pub(super) fn not_over_at(model: SimulatedModel, at: Timestamp) -> Option<Self> {
        match Self::newest(model, at) {
            Ok(day) if day.session.closes_at > at => Some(day),
            Ok(day) => day.next(),
            Err(_) if at.utc().date_naive() <= FIRST_DATE + chrono::Days::new(1) => Self::numbered(model, 0),
            Err(_) => None,
        }
    }

    /// The session with that number.
    pub(super) fn numbered(model: SimulatedModel, number: u16) -> Option<Self> {
        let (sessions, profile) = (model.sessions(), model.profile());
        if number >= sessions.count() {
            return None;
        }
        let session = sessions.calendar().session(sessions.date(number))?;
        Some(Self { number, session, sessions, profile })
    }

    /// The last microsecond of the session.
    pub(super) fn last_instant(&self) -> Timestamp {
        self.session.closes_at - MICROSECOND
    }

    /// Returns `at`, or the session's last instant if that is earlier.
    pub(super) fn or_last_instant(&self, at: Timestamp) -> Timestamp {
        at.min(self.last_instant())
    }

    pub(super) fn next(&self) -> Option<Self> {
        self.beside(self.number.checked_add(1)?)
    }

    pub(super) fn previous(&self) -> Option<Self> {
        self.beside(self.number.checked_sub(1)?)
    }

    fn beside(&self, number: u16) -> Option<Self> {
        if number >= self.sessions.count() {
            return None;
        }
        let session = self.sessions.calendar().session(self.sessions.date(number))?;
        Some(Self { number, session, ..*self })
    }

    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.session.contains(at)
    }

    pub(super) fn opens_after(&self, at: Timestamp) -> bool {
        at < self.session.opens_at
    }

    /// The share of the session's activity that has passed at `at`, from 0 to 1.
    pub(super) fn share(&self, at: Timestamp) -> f64 {
        let Session { opens_at, closes_at, .. } = self.session;
        let seconds = |span: TimeDelta| span.as_seconds_f64();
        self.profile.elapsed_share(seconds(at - opens_at) / seconds(closes_at - opens_at))
    }

    /// The number of smaller steps since the opening at `at`, for prices that are late by `delay`.
    pub(super) fn quote_step(&self, at: Timestamp, delay: f64) -> usize {
        profile::quote_step(self.share(at), delay)
    }

    /// The first microsecond at which [`Self::quote_step`] is `number`.
    pub(super) fn first_instant(&self, number: usize, delay: f64) -> Timestamp {
        let Session { opens_at, closes_at, .. } = self.session;
        if number == 0 {
            return opens_at;
        }
        let elapsed = self.profile.elapsed_time(profile::quote_step_begins(number, delay));
        let length = (closes_at - opens_at).num_microseconds().unwrap_or(i64::MAX) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "at most the microseconds of 25 hours")]
        let near = TimeDelta::microseconds((elapsed * length) as i64);
        // The inverse is rounded differently; the forward calculation is authoritative.
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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    fn on(model: SimulatedModel, date: &str) -> Day {
        Day::numbered(model, model.sessions().on(date.parse().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_step_begins_at_its_first_instant_and_not_a_microsecond_before() {
        // Sessions of 24, 23 and 25 hours, of six and a half hours, and of three and a half hours.
        for (model, date) in [
            (SimulatedModel::V2, "2026-11-20"),
            (SimulatedModel::V2, "2026-03-08"),
            (SimulatedModel::V2, "2026-11-01"),
            (SimulatedModel::V2Xnys, "2026-11-20"),
            (SimulatedModel::V2Xnys, "2026-11-27"),
        ] {
            let day = on(model, date);
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

    #[test]
    fn the_last_session_is_the_newest_while_the_market_is_closed() {
        let model = SimulatedModel::V2Xnys;
        let friday = on(model, "2026-11-27").number;
        // After the early close, on Sunday, and on Monday before the opening.
        for closed in ["2026-11-27T18:00:00Z", "2026-11-29T12:00:00Z", "2026-11-30T14:29:59Z"] {
            let at = instant(closed);
            let day = Day::newest(model, at).unwrap();
            assert_eq!((day.number, day.or_last_instant(at)), (friday, day.last_instant()), "{closed}");
            assert_eq!(day.last_instant(), instant("2026-11-27T18:00:00Z") - MICROSECOND);
            assert_eq!(Day::not_over_at(model, at).unwrap().number, friday + 1);
        }
        let open = instant("2026-11-30T14:30:00Z");
        let day = Day::newest(model, open).unwrap();
        assert_eq!((day.number, day.or_last_instant(open)), (friday + 1, open));
        assert_eq!(Day::not_over_at(model, open).unwrap().number, friday + 1);
    }

    #[test]
    fn there_is_no_session_before_the_first_and_after_the_last_day() {
        let model = SimulatedModel::V2Xnys;
        assert!(Day::newest(model, instant("1980-01-02T14:29:59Z")).is_err());
        assert_eq!(Day::not_over_at(model, instant("1979-05-05T00:00:00Z")).unwrap().number, 0);
        assert_eq!(Day::not_over_at(model, instant("1980-01-02T14:29:59Z")).unwrap().number, 0);
        let last = Day::newest(model, instant("2069-09-18T03:59:59Z")).unwrap();
        assert_eq!(last.number, model.sessions().count() - 1);
        assert!(Day::newest(model, instant("2069-09-18T04:00:00Z")).is_err());
        assert!(Day::not_over_at(model, instant("2069-09-18T03:00:00Z")).is_none());
    }
}
