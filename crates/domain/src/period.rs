//! Ranges of histories and charts, and the first and last supported day.

use chrono::{Datelike, Days, Months, NaiveDate};

/// The first day that both databases can compare.
pub const EARLIEST: NaiveDate = NaiveDate::from_ymd_opt(1900, 1, 1).expect("a date");
/// The last day that both databases can compare.
pub const LATEST: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");

/// How far back a history goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    Week,
    Month,
    ThreeMonths,
    YearToDate,
    Year,
    FiveYears,
    /// All available bars; at most 20 years from the simulated market.
    All,
}

impl HistoryRange {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Week, "1W"),
        (Self::Month, "1M"),
        (Self::ThreeMonths, "3M"),
        (Self::YearToDate, "YTD"),
        (Self::Year, "1Y"),
        (Self::FiveYears, "5Y"),
        (Self::All, "ALL"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(range, _)| *range == self).map_or("1M", |(_, name)| name)
    }

    /// Parses `1W 1M 3M YTD 1Y 5Y ALL`, in upper or lower case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(range, _)| range)
    }

    /// The first day of a range that ends on `today`; `None` if the range is not limited.
    ///
    /// ```
    /// use domain::HistoryRange;
    ///
    /// let today = "2026-11-20".parse()?;
    /// assert_eq!(HistoryRange::parse("1y").unwrap().first_day(today), Some("2025-11-20".parse()?));
    /// assert_eq!(HistoryRange::parse("ALL").unwrap().first_day(today), None);
    /// # Ok::<(), chrono::ParseError>(())
    /// ```
    pub fn first_day(self, today: NaiveDate) -> Option<NaiveDate> {
        let months = |n| today.checked_sub_months(Months::new(n));
        match self {
            Self::Week => today.checked_sub_days(Days::new(7)),
            Self::Month => months(1),
            Self::ThreeMonths => months(3),
            Self::YearToDate => NaiveDate::from_ymd_opt(today.year(), 1, 1),
            Self::Year => months(12),
            Self::FiveYears => months(60),
            Self::All => None,
        }
    }
}
