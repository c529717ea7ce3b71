//! Sessions of a market by the exchange's calendar.
//!
//! Times of day are in New York's IANA zone, so daylight saving changes the UTC times automatically.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;
use chrono_tz::Tz;

use crate::Timestamp;

/// The time zone of all session dates and times of day.
pub const EXCHANGE_ZONE: Tz = New_York;

/// The sessions of a market with their opening and closing times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Every New York calendar day is a session from 0:00 to 24:00. For the simulated market.
    AroundTheClock,
    /// The New York Stock Exchange and Nasdaq: open on weekdays except holidays, from 9:30 to 16:00, and on the eves of
    /// some holidays until 13:00. By the rules since 1995.
    Xnys,
}

/// One trading day, from `opens_at` inclusive to `closes_at` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub date: NaiveDate,
    pub opens_at: Timestamp,
    pub closes_at: Timestamp,
}

impl Session {
    pub fn contains(&self, at: Timestamp) -> bool {
        self.opens_at <= at && at < self.closes_at
    }
}

impl Calendar {
    /// The session of that day, or `None` when the market is closed all day.
    ///
    /// ```
    /// use domain::Calendar;
    ///
    /// // The day after Thanksgiving closes at 13:00 in New York.
    /// let friday = Calendar::Xnys.session("2026-11-27".parse()?).unwrap();
    /// assert_eq!(friday.closes_at.utc().to_rfc3339(), "2026-11-27T18:00:00+00:00");
    /// assert_eq!(Calendar::Xnys.session("2026-11-26".parse()?), None);
    /// # Ok::<(), chrono::ParseError>(())
    /// ```
    pub fn session(self, date: NaiveDate) -> Option<Session> {
        match self {
            Self::AroundTheClock => {
                Some(Session { date, opens_at: midnight(date), closes_at: midnight(date + Days::new(1)) })
            }
            Self::Xnys if is_xnys_holiday(date) => None,
            Self::Xnys => Some(Session {
                date,
                opens_at: at(date, 9, 30),
                closes_at: if closes_early(date) { at(date, 13, 0) } else { at(date, 16, 0) },
            }),
        }
    }

    /// Whether the session of that day ends before the usual time.
    pub fn closes_early(self, date: NaiveDate) -> bool {
        match self {
            Self::AroundTheClock => false,
            Self::Xnys => !is_xnys_holiday(date) && closes_early(date),
        }
    }

    /// The session in progress at `at`; `None` if the market is closed.
    pub fn session_at(self, at: Timestamp) -> Option<Session> {
        self.session(exchange_date(at)).filter(|session| session.contains(at))
    }

    /// The last session that has closed by `at`.
    pub fn last_closed(self, at: Timestamp) -> Session {
        self.backwards(exchange_date(at))
            .find(|session| session.closes_at <= at)
            .expect("sessions have no end")
    }

    /// The next session that opens after that instant.
    ///
    /// ```
    /// use domain::{Calendar, Timestamp};
    ///
    /// // On Friday evening the next session opens on Monday at 9:30 in New York.
    /// let instant = |text: &str| -> Timestamp { text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into() };
    /// let session = Calendar::Xnys.next_open(instant("2026-11-20T22:00:00Z"));
    /// assert_eq!(session.date.to_string(), "2026-11-23");
    /// assert_eq!(session.opens_at, instant("2026-11-23T14:30:00Z"));
    /// ```
    pub fn next_open(self, at: Timestamp) -> Session {
        self.forwards(exchange_date(at)).find(|session| session.opens_at > at).expect("sessions have no end")
    }

    /// The session to which an event at `at` is booked: the current one, or else the next to open. Deposits and
    /// withdrawals are in that session's snapshot.
    pub fn booking_session(self, at: Timestamp) -> Session {
        self.forwards(exchange_date(at)).find(|session| session.closes_at > at).expect("sessions have no end")
    }

    /// The session before that day.
    pub fn before(self, date: NaiveDate) -> Session {
        self.backwards(date - Days::new(1)).next().expect("sessions have no end")
    }

    /// The sessions from `first` to `last`, both included, in order.
    pub fn sessions(self, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = Session> {
        self.forwards(first).take_while(move |session| session.date <= last)
    }

    fn forwards(self, from: NaiveDate) -> impl Iterator<Item = Session> {
        from.iter_days().filter_map(move |date| self.session(date))
    }

    fn backwards(self, from: NaiveDate) -> impl Iterator<Item = Session> {
        std::iter::successors(Some(from), |date| date.pred_opt()).filter_map(move |date| self.session(date))
    }
}

/// The exchange's calendar day at that instant.
pub fn exchange_date(at: Timestamp) -> NaiveDate {
    at.utc().with_timezone(&EXCHANGE_ZONE).date_naive()
}

fn midnight(date: NaiveDate) -> Timestamp {
    at(date, 0, 0)
}

/// New York has no gap or fold at the times used here: its clocks change at 2:00 on Sundays.
fn at(date: NaiveDate, hour: u32, minute: u32) -> Timestamp {
    let time = NaiveTime::from_hms_opt(hour, minute, 0).expect("a time of day");
    let local: DateTime<Tz> =
        EXCHANGE_ZONE.from_local_datetime(&date.and_time(time)).earliest().expect("no gap");
    local.with_timezone(&Utc).into()
}

/// The holiday rules of the New York Stock Exchange since 1995 (its Rule 7.2), and special closures. A test compares
/// them with `exchange_calendars` for 2010 to 2030.
fn is_xnys_holiday(date: NaiveDate) -> bool {
    let (year, month, day, weekday) = (date.year(), date.month(), date.day(), date.weekday());
    let nth = |n: u32, of: Weekday| weekday == of && (day - 1) / 7 + 1 == n;
    let last_monday_of_may = month == 5 && weekday == Weekday::Mon && day > 24;
    // A holiday on a Saturday is observed on Friday, one on a Sunday on Monday.
    let observed = |holiday_month: u32, holiday_day: u32| {
        let holiday =
            NaiveDate::from_ymd_opt(year, holiday_month, holiday_day).expect("a date of every year");
        date == match holiday.weekday() {
            Weekday::Sat => holiday - Days::new(1),
            Weekday::Sun => holiday + Days::new(1),
            _ => holiday,
        }
    };
    // New Year's Day on a Saturday is not observed: 31 December is a trading day.
    let new_year = month == 1 && (day == 1 || (day == 2 && weekday == Weekday::Mon));
    matches!(weekday, Weekday::Sat | Weekday::Sun)
        || new_year
        || (month == 1 && year >= 1998 && nth(3, Weekday::Mon))
        || (month == 2 && nth(3, Weekday::Mon))
        || date == easter(year) - Days::new(2)
        || last_monday_of_may
        || (year >= 2022 && observed(6, 19))
        || observed(7, 4)
        || (month == 9 && nth(1, Weekday::Mon))
        || (month == 11 && nth(4, Weekday::Thu))
        || observed(12, 25)
        || SPECIAL_CLOSURES.iter().any(|(closed, _)| *closed == date)
}

/// Closures that no rule predicts. To add a closure, add a row.
#[rustfmt::skip]
const SPECIAL_CLOSURES: [(NaiveDate, &str); 10] = [
    (closed_on(2001, 9, 11), "attacks of 11 September"),
    (closed_on(2001, 9, 12), "attacks of 11 September"),
    (closed_on(2001, 9, 13), "attacks of 11 September"),
    (closed_on(2001, 9, 14), "attacks of 11 September"),
    (closed_on(2004, 6, 11), "funeral of President Reagan"),
    (closed_on(2007, 1, 2), "funeral of President Ford"),
    (closed_on(2012, 10, 29), "Hurricane Sandy"),
    (closed_on(2012, 10, 30), "Hurricane Sandy"),
    (closed_on(2018, 12, 5), "funeral of President Bush"),
    (closed_on(2025, 1, 9), "funeral of President Carter"),
];

const fn closed_on(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

/// The days on which the exchange closes at 13:00: the day after Thanksgiving, 3 July before a holiday on Tuesday to
/// Friday, and 24 December from Monday to Thursday.
fn closes_early(date: NaiveDate) -> bool {
    use Weekday::{Fri, Mon, Thu, Tue, Wed};
    matches!(
        (date.month(), date.day(), date.weekday()),
        (11, 23..=29, Fri) | (7, 3, Mon | Tue | Wed | Thu) | (12, 24, Mon | Tue | Wed | Thu)
    )
}

/// Easter Sunday, by the Gregorian computus (Meeus, Astronomical Algorithms, chapter 8).
fn easter(year: i32) -> NaiveDate {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    NaiveDate::from_ymd_opt(year, month.unsigned_abs(), day.unsigned_abs()).expect("Easter is a date")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    #[test]
    fn new_york_holidays_and_early_closes() {
        for closed in [
            "2026-11-26",
            "2026-12-25",
            "2027-01-01",
            "2027-01-18",
            "2027-02-15",
            "2027-03-26",
            "2027-05-31",
            "2027-06-18",
            "2027-07-05",
            "2027-09-06",
            "2027-11-25",
            "2027-12-24",
            "2025-01-09",
            "2026-11-22",
        ] {
            assert_eq!(Calendar::Xnys.session(day(closed)), None, "{closed}");
            assert!(!Calendar::Xnys.closes_early(day(closed)), "{closed}");
        }
        for open in ["2021-12-31", "2021-06-18", "2026-11-25", "2027-12-27"] {
            assert!(Calendar::Xnys.session(day(open)).is_some(), "{open}");
        }
        for early in ["2026-11-27", "2026-12-24", "2025-07-03"] {
            assert_eq!(
                Calendar::Xnys.session(day(early)).unwrap().closes_at,
                at(day(early), 13, 0),
                "{early}"
            );
            assert!(Calendar::Xnys.closes_early(day(early)), "{early}");
            assert!(!Calendar::AroundTheClock.closes_early(day(early)), "{early}");
        }
    }

    #[test]
    fn the_close_in_utc_moves_with_daylight_saving() {
        let close = |date| Calendar::Xnys.session(day(date)).unwrap().closes_at.to_rfc3339();
        assert_eq!(close("2026-07-10"), "2026-07-10T20:00:00Z");
        assert_eq!(close("2026-11-20"), "2026-11-20T21:00:00Z");
    }

    #[test]
    fn every_time_is_in_one_session_around_the_clock() {
        let clock = Calendar::AroundTheClock;
        let late = instant("2026-11-22T04:59:59Z");
        assert_eq!(clock.session_at(late).unwrap().date, day("2026-11-21"));
        let midnight = instant("2026-11-22T05:00:00Z");
        assert_eq!(clock.session_at(midnight).unwrap().date, day("2026-11-22"));
        assert_eq!(clock.last_closed(midnight).date, day("2026-11-21"));
        assert_eq!(clock.booking_session(midnight).date, day("2026-11-22"));
        // The days on which the clocks change have 23 and 25 hours.
        let hours = |date| {
            let session = clock.session(day(date)).unwrap();
            (session.closes_at - session.opens_at).num_hours()
        };
        assert_eq!((hours("2026-03-08"), hours("2026-11-01")), (23, 25));
    }

    #[test]
    fn events_on_a_weekend_are_booked_on_monday() {
        let saturday = instant("2026-11-21T12:00:00Z");
        assert_eq!(Calendar::Xnys.session_at(saturday), None);
        assert_eq!(Calendar::Xnys.last_closed(saturday).date, day("2026-11-20"));
        assert_eq!(Calendar::Xnys.booking_session(saturday).date, day("2026-11-23"));
        assert_eq!(Calendar::Xnys.next_open(saturday).date, day("2026-11-23"));
        assert_eq!(Calendar::Xnys.before(day("2026-11-23")).date, day("2026-11-20"));
    }
}
