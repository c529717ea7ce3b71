//! The best day, the worst day, and the fraction of days with a gain.

use chrono::NaiveDate;

use crate::performance::closed_days::ClosedDays;
use crate::performance::series::Fold;
use crate::performance::statistics::count;
use crate::performance::{Day, Figure, Formula, Series, UndefinedReason, Value, Workings};

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
    extreme(series, work, |extremes| extremes.best)
}

/// The day with the lowest return, which may be positive; the first one if several are equal.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn worst_day(series: &Series, work: &mut Workings) -> Figure<DayReturn> {
    extreme(series, work, |extremes| extremes.worst)
}

fn extreme(
    series: &Series,
    work: &mut Workings,
    of: fn(&Extremes) -> Option<DayReturn>,
) -> Figure<DayReturn> {
    series.note_days(work);
    let found = of(&series.fold(Extremes::default)).ok_or(UndefinedReason::NothingInvested)?;
    work.step("date", "Day", || Value::Date(found.date));
    Ok(found)
}

/// The best and the worst day, and the number of days.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Extremes {
    best: Option<DayReturn>,
    worst: Option<DayReturn>,
    /// With a return.
    days: usize,
    /// With a return above zero.
    rising: usize,
}

impl Fold for Extremes {
    fn add(&mut self, day: &Day) {
        let Some(daily_return) = day.daily_return else { return };
        let day = DayReturn { date: day.date, daily_return };
        self.days += 1;
        self.rising += usize::from(daily_return > 0.0);
        if self.best.is_none_or(|best| daily_return > best.daily_return) {
            self.best = Some(day);
        }
        if self.worst.is_none_or(|worst| daily_return < worst.daily_return) {
            self.worst = Some(day);
        }
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.extremes
    }
}

/// The fraction of days with a positive return, a ratio from 0 to 1. A return of zero is not positive.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn positive_days(series: &Series, work: &mut Workings) -> Figure {
    series.note_days(work);
    let Extremes { days, rising, .. } = series.fold(Extremes::default);
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
