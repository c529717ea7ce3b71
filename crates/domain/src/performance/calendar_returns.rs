//! Returns of calendar months and years.

use chrono::{Datelike, NaiveDate};

use crate::performance::{Figure, Formula, Series, Table, UndefinedReason, Value, Workings};

pub(super) const MONTHLY: Formula = Formula {
    words: "The time-weighted return of each calendar month. The first and the last month include only their days in \
            the window.",
    symbols: "monthly_return = Π (1 + r) − 1 over the days of a month",
    source: "quantstats' monthly_returns; empyrical's aggregate_returns",
};

pub(super) const YEARLY: Formula = Formula {
    words: "The time-weighted return of each calendar year. The first and the last year include only their days in \
            the window.",
    symbols: "yearly_return = Π (1 + r) − 1 over the days of a year",
    source: "empyrical's aggregate_returns",
};

/// The return of a calendar month or year.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeriodReturn {
    /// The first day of the month or year.
    pub first: NaiveDate,
    /// The time-weighted return, a ratio: 0.01 is +1 %.
    pub period_return: f64,
}

/// The time-weighted return of each calendar month (in New York) with a daily return, oldest first. The product of all
/// growths is the growth of the window.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn monthly_returns(series: &Series, work: &mut Workings) -> Figure<Vec<PeriodReturn>> {
    chained(series, work, |date| date.with_day(1))
}

/// The time-weighted return of each calendar year (in New York) with a daily return, oldest first.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn yearly_returns(series: &Series, work: &mut Workings) -> Figure<Vec<PeriodReturn>> {
    chained(series, work, |date| NaiveDate::from_ymd_opt(date.year(), 1, 1))
}

fn chained(
    series: &Series,
    work: &mut Workings,
    first_day: fn(NaiveDate) -> Option<NaiveDate>,
) -> Figure<Vec<PeriodReturn>> {
    series.note_days(work);
    let mut growths: Vec<(NaiveDate, f64)> = Vec::new();
    for (date, r) in series.returns() {
        let first = first_day(date).unwrap_or(date);
        match growths.last_mut() {
            Some((period, growth)) if *period == first => *growth *= 1.0 + r,
            _ => growths.push((first, 1.0 + r)),
        }
    }
    if growths.is_empty() {
        return Err(UndefinedReason::NothingInvested);
    }
    let period = |(first, growth)| PeriodReturn { first, period_return: growth - 1.0 };
    Ok(growths.into_iter().map(period).collect())
}

/// The returns as a table.
pub(super) fn table(returns: &[PeriodReturn]) -> Value {
    let columns = [("first", "Beginning on"), ("period_return", "Return")];
    let row = |period: &PeriodReturn| vec![Value::Date(period.first), Value::Ratio(period.period_return)];
    Value::Table(Table::new(&columns, returns.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::Close;

    fn series(rows: &[(&str, &str)]) -> Series {
        let close = |(date, value): &(&str, &str)| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: crate::Money::zero(),
        };
        let closes: Vec<Close> = rows.iter().map(close).collect();
        Series::new(closes.first(), &closes[1..])
    }

    #[test]
    fn months_and_years_chain_their_days() {
        let series = series(&[
            ("2025-11-28", "1000"),
            ("2025-12-01", "1100"),
            ("2025-12-31", "1210"),
            ("2026-02-27", "1089"),
        ]);
        let months = monthly_returns(&series, &mut Workings::off()).unwrap();
        let first: Vec<String> = months.iter().map(|month| month.first.to_string()).collect();
        assert_eq!(first, ["2025-12-01", "2026-02-01"]);
        assert!((months[0].period_return - 0.21).abs() < 1e-12);
        assert!((months[1].period_return + 0.1).abs() < 1e-12);
        let years = yearly_returns(&series, &mut Workings::off()).unwrap();
        assert_eq!(years.iter().map(|year| year.first.year()).collect::<Vec<_>>(), [2025, 2026]);
        assert!((years[0].period_return - 0.21).abs() < 1e-12);
    }

    #[test]
    fn a_month_without_money_has_no_row() {
        let empty = Series::new(None, &[]);
        let reason = Err(UndefinedReason::NothingInvested);
        assert_eq!(monthly_returns(&empty, &mut Workings::off()), reason);
    }
}
