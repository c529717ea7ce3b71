//! Modified Dietz return: the gain divided by the average capital.

use chrono::NaiveDate;

use crate::Money;
use crate::performance::statistics::days;
use crate::performance::{Figure, Formula, Series, Table, UndefinedReason, Value, Workings, gain};

pub(super) const FORMULA: Formula = Formula {
    words: "The gain divided by the average capital: the value at the start, plus each deposit less each withdrawal, \
            weighted by the part of the window that was left at the time. The contributions of the holdings and of cash \
            add up to this return.",
    symbols: "modified_dietz = gain / average_capital, with average_capital = start_value + Σ weight × net_flow",
    source: "Dietz, Pension funds: measuring investment performance, 1966; GIPS 2020, glossary",
};

/// The modified Dietz return of the window, a ratio: gain divided by [`average_capital`]. Not annualized.
///
/// # Errors
/// The same as [`average_capital`].
pub fn modified_dietz(series: &Series, work: &mut Workings) -> Figure {
    let gain = gain(series, work);
    work.step("gain", "Gain", || Value::Money(gain.clone()));
    Ok(gain.to_f64() / average_capital(series, work)?)
}

/// The average capital, `V₀ + Σ w F`, in the account's currency, with `w = (days from the flow to the end) / (days of
/// the window)`: a deposit at the start has the weight 1, one on the last day 0. The window's days count from
/// [`Series::start_on`]; in a window of a single day each flow has the weight 1.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`]; [`UndefinedReason::NoCapital`] when it is zero or less.
pub fn average_capital(series: &Series, work: &mut Workings) -> Figure {
    let (start_on, end_on) = series.span()?;
    let total = (end_on - start_on).num_days();
    let weight =
        |date: NaiveDate| if total == 0 { 1.0 } else { days((end_on - date).num_days()) / days(total) };
    let weighted = || series.flows().map(|(date, flow)| (date, weight(date), flow));
    work.step("weights", "Weight of each flow", || {
        let columns = [("date", "Date"), ("net_flow", "Deposits less withdrawals"), ("weight", "Weight")];
        let row = |(date, weight, flow): (NaiveDate, f64, &Money)| {
            vec![Value::Date(date), Value::Money(flow.clone()), Value::Number(weight)]
        };
        Value::Table(Table::new(&columns, weighted().map(row)))
    });
    let flows: f64 = weighted().map(|(_, weight, flow)| weight * flow.to_f64()).sum();
    let capital = series.start_value().to_f64() + flows;
    work.number("average_capital", "Average capital", capital);
    if capital > 0.0 { Ok(capital) } else { Err(UndefinedReason::NoCapital) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::{closes, series};

    /// A start of 1000, a deposit of 400 after one of four days, an end of 1430: a gain of 30 on 1000 + 0.75 × 400.
    #[test]
    fn flows_are_weighted_by_their_time_in_the_portfolio() {
        let all = closes(&[("1000", "1000"), ("1400", "400"), ("1410", "0"), ("1420", "0"), ("1430", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        let dietz = modified_dietz(&series, &mut Workings::off()).unwrap();
        assert!((dietz - 30.0 / 1300.0).abs() < 1e-15);
    }

    #[test]
    fn the_first_deposit_has_full_weight_even_on_a_single_day() {
        let one_day = series(&[("990", "1000")]);
        assert!((modified_dietz(&one_day, &mut Workings::off()).unwrap() + 0.01).abs() < 1e-15);
        let later = series(&[("0", "0"), ("1000", "1000"), ("1100", "0")]);
        assert!((modified_dietz(&later, &mut Workings::off()).unwrap() - 0.1).abs() < 1e-15);
    }

    #[test]
    fn the_modified_dietz_return_is_undefined_without_capital() {
        let work = &mut Workings::off();
        assert_eq!(modified_dietz(&series(&[]), work), Err(UndefinedReason::NothingInvested));
        let all = closes(&[("100", "100"), ("900", "-900"), ("900", "0"), ("900", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        assert_eq!(modified_dietz(&series, work), Err(UndefinedReason::NoCapital));
    }
}
