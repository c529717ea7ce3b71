//! Named windows of time: `1W 1M 3M 6M YTD 1Y 3Y 5Y ALL`.

use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate};

/// A named window that ends on a given day.
///
/// Returns begin at the previous close. The first day of the window is therefore the day after the date that lies the
/// named time back. The year to 2026-11-30 has 2025-12-01 as its first day and starts at the close of 2025-11-30, so it
/// has 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    Week,
    Month,
    ThreeMonths,
    SixMonths,
    YearToDate,
    Year,
    ThreeYears,
    FiveYears,
    /// Since the portfolio began.
    All,
}

impl Period {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Week, "1W"),
        (Self::Month, "1M"),
        (Self::ThreeMonths, "3M"),
        (Self::SixMonths, "6M"),
        (Self::YearToDate, "YTD"),
        (Self::Year, "1Y"),
        (Self::ThreeYears, "3Y"),
        (Self::FiveYears, "5Y"),
        (Self::All, "ALL"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(period, _)| *period == self).map_or("ALL", |(_, name)| name)
    }

    /// The first day of the window that ends on `last`; `None` for [`Period::All`].
    ///
    /// Months are calendar months. If the earlier month is too short, its last day is used: the month to 31 March
    /// starts at the close of 28 February.
    pub fn first_day(self, last: NaiveDate) -> Option<NaiveDate> {
        let months = |months| last.checked_sub_months(Months::new(months));
        let close_before = match self {
            Self::Week => last.checked_sub_days(Days::new(7)),
            Self::Month => months(1),
            Self::ThreeMonths => months(3),
            Self::SixMonths => months(6),
            Self::YearToDate => return NaiveDate::from_ymd_opt(last.year(), 1, 1),
            Self::Year => months(12),
            Self::ThreeYears => months(36),
            Self::FiveYears => months(60),
            Self::All => None,
        };
        close_before?.succ_opt()
    }
}

impl FromStr for Period {
    type Err = String;

    /// Parses a name in upper or lower case. The error lists the names.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(period, _)| period).ok_or_else(|| {
            let [names @ .., last] = Self::ALL.map(|(_, name)| name);
            format!("must be {} or {last}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_the_day_after_the_close_they_grow_from() {
        for (name, last, first) in [
            ("1W", "2026-11-30", "2026-11-24"),
            ("1M", "2026-11-30", "2026-10-31"),
            ("1M", "2026-03-31", "2026-03-01"),
            ("1M", "2024-03-31", "2024-03-01"),
            ("3M", "2026-05-31", "2026-03-01"),
            ("6M", "2026-11-30", "2026-05-31"),
            ("YTD", "2026-11-30", "2026-01-01"),
            ("YTD", "2026-01-01", "2026-01-01"),
            ("1Y", "2026-11-30", "2025-12-01"),
            ("1Y", "2024-02-29", "2023-03-01"),
            ("3Y", "2026-11-30", "2023-12-01"),
            ("5y", "2026-11-30", "2021-12-01"),
        ] {
            let period: Period = name.parse().unwrap();
            assert_eq!(period.first_day(day(last)), Some(day(first)), "{name} to {last}");
        }
        assert_eq!(Period::All.first_day(day("2026-11-30")), None);
    }

    #[test]
    fn a_year_has_at_least_365_days() {
        for last in day("2023-01-01").iter_days().take(1600) {
            let first = Period::Year.first_day(last).unwrap();
            assert!((last - first.pred_opt().unwrap()).num_days() >= 365, "{last}");
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for (period, name) in Period::ALL {
            assert_eq!((period.as_str(), name.parse()), (name, Ok(period)));
        }
        let refused = "2Y".parse::<Period>().unwrap_err();
        assert_eq!(refused, "must be 1W, 1M, 3M, 6M, YTD, 1Y, 3Y, 5Y or ALL");
    }
}
