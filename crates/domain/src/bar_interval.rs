//! Weekly and monthly bars, combined from daily ones.

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::{Bar, Calendar, PUBLICATION, Timestamp};

/// The time that a bar covers: a session, or the sessions of a calendar week (Monday to Sunday) or month of New York.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BarInterval {
    #[default]
    Day,
    Week,
    Month,
}

impl BarInterval {
    pub const ALL: [(Self, &'static str); 3] = [(Self::Day, "1d"), (Self::Week, "1w"), (Self::Month, "1mo")];

    /// Parses `1d`, `1w` or `1mo`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(interval, _)| interval)
    }

    /// The first day of the interval that contains `date`.
    pub fn first_day(self, date: NaiveDate) -> NaiveDate {
        let first = match self {
            Self::Day => Some(date),
            Self::Week => date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into())),
            Self::Month => date.with_day(1),
        };
        first.unwrap_or(date)
    }

    /// The last day of the interval that contains `date`.
    pub fn last_day(self, date: NaiveDate) -> NaiveDate {
        let first = self.first_day(date);
        let last = match self {
            Self::Day => Some(first),
            Self::Week => first.checked_add_days(Days::new(6)),
            Self::Month => first.checked_add_months(Months::new(1)).and_then(|next| next.pred_opt()),
        };
        last.unwrap_or(date)
    }

    /// Combines daily bars, sorted by date, into one bar per interval: the open and the date of the first, the highest
    /// high, the lowest low, the close of the last, and the sum of the volumes. Intervals without daily bars have none.
    pub fn combine(self, daily: Vec<Bar>) -> Vec<Bar> {
        let mut combined: Vec<Bar> = Vec::new();
        for bar in daily {
            match combined.last_mut() {
                Some(last) if self.first_day(last.date) == self.first_day(bar.date) => {
                    last.high = last.high.clone().max(bar.high);
                    last.low = last.low.clone().min(bar.low);
                    last.close = bar.close;
                    last.volume = last.volume.saturating_add(bar.volume);
                }
                _ => combined.push(bar),
            }
        }
        combined
    }

    /// Whether all sessions of the interval have closed and are published at `now`. `last` is the day of its last bar.
    pub fn is_complete(self, last: NaiveDate, calendar: Calendar, now: Timestamp) -> bool {
        let Some(next) = last.succ_opt() else { return true };
        let mut to_come = calendar.sessions(next, self.last_day(last));
        !to_come.any(|session| session.closes_at + PUBLICATION > now)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn bar(date: &str, [open, high, low, close]: [&str; 4], volume: u64) -> Bar {
        let price = |text: &str| text.parse().unwrap();
        Bar {
            date: day(date),
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(close),
            volume,
        }
    }

    /// Thanksgiving week, with a holiday on Thursday, and the new month, which begins on the Tuesday after it.
    fn daily() -> Vec<Bar> {
        vec![
            bar("2026-11-20", ["9.00", "9.50", "8.50", "9.10"], 1),
            bar("2026-11-23", ["10.00", "11.00", "9.90", "10.50"], 10),
            bar("2026-11-24", ["10.50", "12.00", "10.40", "11.00"], 20),
            bar("2026-11-25", ["11.00", "11.20", "9.80", "10.00"], 30),
            bar("2026-11-27", ["10.00", "10.10", "9.95", "10.05"], 5),
            bar("2026-11-30", ["10.10", "10.20", "10.00", "10.15"], 40),
            bar("2026-12-01", ["10.20", "13.00", "10.10", "12.90"], 50),
        ]
    }

    #[test]
    fn weeks_and_months_take_the_open_of_the_first_and_the_close_of_the_last_session() {
        assert_eq!(BarInterval::Day.combine(daily()), daily());
        let weeks = [
            bar("2026-11-20", ["9.00", "9.50", "8.50", "9.10"], 1),
            bar("2026-11-23", ["10.00", "12.00", "9.80", "10.05"], 65),
            bar("2026-11-30", ["10.10", "13.00", "10.00", "12.90"], 90),
        ];
        assert_eq!(BarInterval::Week.combine(daily()), weeks);
        let months = [
            bar("2026-11-20", ["9.00", "12.00", "8.50", "10.15"], 106),
            bar("2026-12-01", ["10.20", "13.00", "10.10", "12.90"], 50),
        ];
        assert_eq!(BarInterval::Month.combine(daily()), months);
        assert_eq!(BarInterval::Week.combine(Vec::new()), []);
    }

    #[test]
    fn intervals_begin_and_end_with_calendar_weeks_and_months() {
        let days = |interval: BarInterval, date| {
            let date = day(date);
            [interval.first_day(date), interval.last_day(date)].map(|day| day.to_string())
        };
        assert_eq!(days(BarInterval::Day, "2026-11-25"), ["2026-11-25", "2026-11-25"]);
        assert_eq!(days(BarInterval::Week, "2026-11-23"), ["2026-11-23", "2026-11-29"]);
        assert_eq!(days(BarInterval::Week, "2026-11-29"), ["2026-11-23", "2026-11-29"]);
        assert_eq!(days(BarInterval::Week, "2027-01-01"), ["2026-12-28", "2027-01-03"]);
        assert_eq!(days(BarInterval::Month, "2028-02-29"), ["2028-02-01", "2028-02-29"]);
        assert_eq!(days(BarInterval::Month, "2026-12-31"), ["2026-12-01", "2026-12-31"]);
    }

    #[test]
    fn the_last_bar_is_complete_after_the_last_session_of_its_interval() {
        let at = |text: &str| Timestamp::from(text.parse::<DateTime<Utc>>().unwrap());
        for (interval, last, now, complete) in [
            (BarInterval::Day, "2026-11-25", "2026-11-25T22:00:00Z", true),
            // Friday after Thanksgiving closes at 13:00 in New York and is published half an hour later.
            (BarInterval::Week, "2026-11-25", "2026-11-27T18:29:00Z", false),
            (BarInterval::Week, "2026-11-27", "2026-11-27T18:31:00Z", true),
            (BarInterval::Week, "2026-11-25", "2026-11-28T12:00:00Z", true),
            (BarInterval::Month, "2026-11-27", "2026-11-28T12:00:00Z", false),
            (BarInterval::Month, "2026-11-30", "2026-12-01T12:00:00Z", true),
            // A stock that was delisted during the month.
            (BarInterval::Month, "2026-11-10", "2026-12-20T12:00:00Z", true),
        ] {
            let found = interval.is_complete(day(last), Calendar::Xnys, at(now));
            assert_eq!(found, complete, "{interval:?} {last} {now}");
        }
        // The market that is always open has sessions at the weekend too.
        let friday = day("2026-11-27");
        let saturday = at("2026-11-28T12:00:00Z");
        assert!(!BarInterval::Week.is_complete(friday, Calendar::AroundTheClock, saturday));
    }
}
