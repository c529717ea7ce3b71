//! Annualized return: the yearly growth that would have led to the time-weighted return.

use crate::performance::{Figure, Formula, Series, UndefinedReason, Value, Workings, statistics, twr};

/// Calendar days of a year.
pub(super) const DAYS_OF_YEAR: i64 = 365;

pub(super) const FORMULA: Formula = Formula {
    words: "The constant yearly growth that gives the time-weighted return over the calendar days of the window. It \
            is shown for windows of a year or more.",
    symbols: "annualized_return = (1 + twr)^(365 / calendar_days) − 1",
    source: "GIPS 2020, 2.A.32: returns of less than a year are not annualized",
};

/// The time-weighted return as a ratio per year: `(1 + twr)^(365/days) − 1` over the calendar days from
/// [`Series::start_on`] to the last day. −1 is a total loss.
///
/// In place of `days / 365`, quantstats' `cagr` and empyrical's `annual_return` use `returns / sessions of a year`.
///
/// # Errors
/// [`UndefinedReason::ShorterThanAYear`] for less than 365 days; [`UndefinedReason::NothingInvested`].
pub fn annualized_return(series: &Series, work: &mut Workings) -> Figure {
    let twr = twr(series, work)?;
    work.ratio("twr", "Time-weighted return", twr);
    let days = at_least_a_year(series, work)?;
    Ok((1.0 + twr).powf(statistics::days(DAYS_OF_YEAR) / statistics::days(days)) - 1.0)
}

/// Calendar days from the close before the window to its last close.
///
/// # Errors
/// [`UndefinedReason::ShorterThanAYear`] for less than 365 days; [`UndefinedReason::NothingInvested`].
pub(super) fn at_least_a_year(series: &Series, work: &mut Workings) -> Figure<i64> {
    let (start_on, end_on) = series.span()?;
    let days = (end_on - start_on).num_days();
    work.step("start_on", "The window grows from the close of", || Value::Date(start_on));
    work.step("calendar_days", "Calendar days", || Value::Days(days));
    match days < DAYS_OF_YEAR {
        true => Err(UndefinedReason::ShorterThanAYear { days, need: DAYS_OF_YEAR }),
        false => Ok(days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::Close;

    fn measured(rows: &[(&str, &str, &str)]) -> Figure {
        let close = |(date, value, flow): &(&str, &str, &str)| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        let closes: Vec<Close> = rows.iter().map(close).collect();
        annualized_return(&Series::new(None, &closes), &mut Workings::off())
    }

    #[test]
    fn twenty_one_percent_in_two_years_are_ten_a_year() {
        let two_years = measured(&[("2021-01-01", "1000", "1000"), ("2023-01-01", "1210", "0")]).unwrap();
        assert!((two_years - 0.1).abs() < 1e-12);
        // With 29 February the same takes 731 days.
        let leap = measured(&[("2023-03-01", "1000", "1000"), ("2025-03-01", "1210", "0")]).unwrap();
        assert!((leap - (1.21_f64.powf(365.0 / 731.0) - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn the_annualized_return_is_undefined_below_a_year() {
        let short = measured(&[("2025-01-01", "1000", "1000"), ("2025-12-31", "1210", "0")]);
        assert_eq!(short, Err(UndefinedReason::ShorterThanAYear { days: 364, need: 365 }));
        assert!(measured(&[("2025-01-01", "1000", "1000"), ("2026-01-01", "1210", "0")]).is_ok());
        assert_eq!(measured(&[]), Err(UndefinedReason::NothingInvested));
    }

    #[test]
    fn days_before_the_first_deposit_do_not_count() {
        let rows = [("2023-01-01", "0", "0"), ("2025-01-01", "1000", "1000"), ("2026-01-01", "1100", "0")];
        assert!((measured(&rows).unwrap() - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_total_loss_is_minus_one_a_year() {
        assert_eq!(measured(&[("2024-01-01", "1000", "1000"), ("2026-01-01", "0", "0")]), Ok(-1.0));
    }
}
