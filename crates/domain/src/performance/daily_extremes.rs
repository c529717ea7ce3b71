//! The best day, the worst day, and the fraction of days with a gain.

use chrono::NaiveDate;

use crate::performance::statistics::count;
use crate::performance::{Figure, Formula, Series, UndefinedReason, Value, Workings};

pub(super) const BEST_DAY: Formula = Formula {
    words: "The day with the highest daily return. If there are several, the first.",
    symbols: "best_day = max r",
    source: "quantstats' best",
};

pub(super) const WORST_DAY: Formula = Formula {
    words: "The day with the lowest daily return. If there are several, the first.",
    symbols: "worst_day = min r",
    source: "quantstats' worst",
};

pub(super) const POSITIVE_DAYS: Formula = Formula {
    words: "The share of days with a return above zero, among all days that have a return.",
    symbols: "positive_days = rising / n",
    source: "Count of days; quantstats' win_rate leaves days without a change out",
};

/// A day and its return.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayReturn {
    pub date: NaiveDate,
    /// A ratio: 0.01 is +1 %.
    pub daily_return: f64,
}

/// The day with the highest return; the first one if several are equal.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn best_day(series: &Series, work: &mut Workings) -> Figure<DayReturn> {
    extreme(series, work, |day, best| day > best)
}

/// The day with the lowest return, which may be positive; the first one if several are equal.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn worst_day(series: &Series, work: &mut Workings) -> Figure<DayReturn> {
    extreme(series, work, |day, worst| day < worst)
}

fn extreme(series: &Series, work: &mut Workings, is_beyond: fn(f64, f64) -> bool) -> Figure<DayReturn> {
    series.note_days(work);
    let days = series.returns().map(|(date, daily_return)| DayReturn { date, daily_return });
    let beyond = |found: DayReturn, day: DayReturn| {
        if is_beyond(day.daily_return, found.daily_return) { day } else { found }
    };
    let found = days.reduce(beyond).ok_or(UndefinedReason::NothingInvested)?;
    work.step("date", "Day", || Value::Date(found.date));
    Ok(found)
}

/// The fraction of days with a positive return, a ratio from 0 to 1. A return of zero is not positive.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn positive_days(series: &Series, work: &mut Workings) -> Figure {
    series.note_days(work);
    let (days, rising) =
        series.returns().fold((0, 0), |(days, rising), (_, r)| (days + 1, rising + usize::from(r > 0.0)));
    if days == 0 {
        return Err(UndefinedReason::NothingInvested);
    }
    work.step("n", "Days with a return", || Value::Count(days));
    work.step("rising", "Days that rose", || Value::Count(rising));
    Ok(count(rising) / count(days))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::series;

    #[test]
    fn the_first_of_equal_days_counts_and_days_without_money_do_not() {
        let series = series(&[
            ("1000", "1000"),
            ("1100", "0"),
            ("1210", "0"),
            ("605", "0"),
            ("0", "-605"),
            ("0", "0"),
            ("100", "100"),
        ]);
        let work = &mut Workings::off();
        assert_eq!(best_day(&series, work).unwrap().date, series.days[1].date);
        let worst = worst_day(&series, work).unwrap();
        assert_eq!((worst.date, worst.daily_return), (series.days[3].date, -0.5));
        // Six days have a return; the day without money has none.
        assert!((positive_days(&series, work).unwrap() - 2.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn daily_extremes_are_undefined_without_days() {
        let work = &mut Workings::off();
        assert_eq!(best_day(&series(&[]), work), Err(UndefinedReason::NothingInvested));
        assert_eq!(positive_days(&series(&[("0", "0")]), work), Err(UndefinedReason::NothingInvested));
    }
}
