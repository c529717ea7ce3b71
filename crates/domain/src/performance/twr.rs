//! Time-weighted return: the result of the investments, independent of deposits and withdrawals.

use crate::performance::closed_days::ClosedDays;
use crate::performance::series::Fold;
use crate::performance::{Day, Figure, Formula, Series, UndefinedReason, Workings};

pub(super) const FORMULA: Formula = Formula {
    words: "The growth of all days multiplied, less one. The growth of a day is the value at its close plus \
            withdrawals, divided by the value at the previous close plus deposits. Days on which nothing was invested \
            are left out.",
    symbols: "twr = Π (1 + r) − 1, with r = (end_value + withdrawals) / (start_value + deposits) − 1",
    source: "GIPS, Guidance Statement on Calculation Methodology; empyrical's cum_returns_final",
};

/// The time-weighted return of the window, a ratio: 0.05 is +5 %, −1 a total loss. `twr = Π (1 + r) − 1` over the
/// daily returns of [`crate::performance::Day`], whose flows count by the hybrid rule. Not annualized.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn twr(series: &Series, work: &mut Workings) -> Figure {
    series.note_days(work);
    let chained = series.fold(Growth::default);
    if chained.returns == 0 {
        return Err(UndefinedReason::NothingInvested);
    }
    let growth = work.number("growth", "Growth of 1", chained.growth);
    Ok(growth - 1.0)
}

/// `Π (1 + r) − 1` up to each day: the return since the start of the window. A day without a return does not change it.
pub fn cumulative_twr(series: &Series) -> Vec<f64> {
    let chain = |chained: &mut Growth, day: &Day| {
        chained.add(day);
        Some(chained.growth - 1.0)
    };
    series.days().iter().scan(Growth::default(), chain).collect()
}

/// The last of [`cumulative_twr`]; zero for a window without days.
pub fn twr_until_last_day(series: &Series) -> f64 {
    series.fold(Growth::default).growth - 1.0
}

/// What 1 has become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    growth: f64,
    /// The number of days with a return.
    returns: usize,
}

impl Default for Growth {
    fn default() -> Self {
        Self { growth: 1.0, returns: 0 }
    }
}

impl Fold for Growth {
    fn add(&mut self, day: &Day) {
        if let Some(daily) = day.daily_return {
            self.growth *= 1.0 + daily;
            self.returns += 1;
        }
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::series;

    fn measured(rows: &[(&str, &str)]) -> f64 {
        let series = series(rows);
        let twr = twr(&series, &mut Workings::off()).unwrap();
        assert_eq!(cumulative_twr(&series).last(), Some(&twr));
        assert_eq!(twr_until_last_day(&series), twr);
        twr
    }

    #[test]
    fn flows_do_not_count_as_return() {
        assert!((measured(&[("1000", "1000"), ("1100", "0"), ("2100", "1000")]) - 0.1).abs() < 1e-12);
        assert!((measured(&[("1000", "1000"), ("1100", "0"), ("600", "-500")]) - 0.1).abs() < 1e-12);
    }

    /// 1000 → 1010 (+1 %) → 1020.10 (+1 %), then 500 more and +2 % on 1520.10.
    #[test]
    fn returns_chain() {
        let value = measured(&[("1010", "1000"), ("1020.10", "0"), ("1550.50", "500")]);
        assert!((value - (1.01 * 1.01 * (1550.50 / 1520.10) - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn withdrawing_everything_is_not_a_loss() {
        assert!((measured(&[("1000", "1000"), ("0", "-1058"), ("0", "0")]) - 0.058).abs() < 1e-12);
    }

    #[test]
    fn a_total_loss_stays_after_later_deposits() {
        assert_eq!(measured(&[("1000", "1000"), ("0", "0"), ("550", "500")]), -1.0);
    }

    #[test]
    fn the_twr_is_undefined_without_money() {
        for rows in [&[][..], &[("0", "0"), ("0", "0")]] {
            let twr = twr(&series(rows), &mut Workings::off());
            assert_eq!(twr, Err(UndefinedReason::NothingInvested));
        }
    }
}
