//! How much of a requested range has prices.

use chrono::{Days, NaiveDate};
use domain::{Bar, Calendar};

use domain::HistoryRange;

/// The number of sessions that may be missing at the beginning of a covered range, because of halts or days without a
/// trade.
const MISSING_SESSIONS: usize = 5;
/// The same tolerance in calendar days, for ranges whose sessions are not counted.
const A_WEEK: Days = Days::new(7);

/// A range of a history, with the first day that has a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub range: HistoryRange,
    /// The first day of the range; `None` if it is not limited.
    pub range_start: Option<NaiveDate>,
    /// The first session with a price; `None` if there is none.
    pub first_on: Option<NaiveDate>,
    /// Whether prices begin at the start of the range. An unlimited range counts as covered.
    pub is_covered: bool,
}

impl Coverage {
    /// `bars` are the bars of the range that ends on `today`, oldest first.
    pub fn from_bars(range: HistoryRange, today: NaiveDate, bars: &[Bar], calendar: Calendar) -> Self {
        let range_start = range.first_day(today);
        let first_on = bars.first().map(|bar| bar.date);
        let is_covered = match (range_start, first_on) {
            (None, _) => true,
            (Some(start), Some(first)) => calendar
                .sessions(start, first)
                .filter(|session| session.date < first)
                .nth(MISSING_SESSIONS - 1)
                .is_none(),
            // A range without a session needs no prices.
            (Some(start), None) => calendar.sessions(start, today).nth(1).is_none(),
        };
        Self { range, range_start, first_on, is_covered }
    }

    /// Whether this range shows that `other` is not covered either.
    pub fn leaves_uncovered(&self, other: HistoryRange, today: NaiveDate) -> bool {
        let Some(first) = self.first_on.filter(|_| !self.is_covered) else { return false };
        let begins_late = |start: NaiveDate| start.checked_add_days(A_WEEK).is_some_and(|late| late < first);
        other == self.range || other.first_day(today).is_none_or(begins_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn since(first: &str) -> Vec<Bar> {
        let price: domain::Price = "10.00".parse().unwrap();
        let [open, high, low, close] = [&price; 4].map(Clone::clone);
        vec![Bar { date: day(first), open, high, low, close, volume: 1 }]
    }

    fn coverage(range: HistoryRange, first: &str) -> Coverage {
        Coverage::from_bars(range, day("2026-11-20"), &since(first), Calendar::Xnys)
    }

    #[test]
    fn a_range_is_covered_when_prices_begin_with_it() {
        for (range, first, covered) in [
            // 20 November 2025 was a Thursday.
            (HistoryRange::Year, "2025-11-20", true),
            (HistoryRange::Year, "2025-11-26", true),
            (HistoryRange::Year, "2025-11-28", false),
            (HistoryRange::Year, "2026-06-30", false),
            (HistoryRange::FiveYears, "2025-11-20", false),
            (HistoryRange::Month, "2026-10-20", true),
            // The year begins with a holiday and a weekend.
            (HistoryRange::YearToDate, "2026-01-02", true),
            (HistoryRange::YearToDate, "2026-03-02", false),
            (HistoryRange::All, "2026-06-30", true),
        ] {
            let found = coverage(range, first);
            assert_eq!(
                (found.is_covered, found.first_on),
                (covered, Some(day(first))),
                "{range:?} from {first}"
            );
        }
        let none = |range| Coverage::from_bars(range, day("2026-11-20"), &[], Calendar::Xnys);
        assert!(!none(HistoryRange::Year).is_covered && none(HistoryRange::Year).first_on.is_none());
        assert!(none(HistoryRange::All).is_covered);
    }

    #[test]
    fn an_uncovered_range_leaves_longer_ranges_uncovered() {
        let year = coverage(HistoryRange::Year, "2026-06-30");
        let uncovered = |of: &Coverage| {
            let today = day("2026-11-20");
            let ranges =
                HistoryRange::ALL.into_iter().filter(|(range, _)| of.leaves_uncovered(*range, today));
            ranges.map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(uncovered(&year), ["YTD", "1Y", "5Y", "ALL"]);
        let three_months = coverage(HistoryRange::ThreeMonths, "2026-10-01");
        assert_eq!(uncovered(&three_months), ["3M", "YTD", "1Y", "5Y", "ALL"]);
        assert_eq!(uncovered(&coverage(HistoryRange::Year, "2025-11-20")), [""; 0]);
    }
}
