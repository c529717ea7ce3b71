//! Returns of calendar months and years.

use chrono::{Datelike, NaiveDate};

use crate::performance::closed_days::ClosedDays;
use crate::performance::series::Fold;
use crate::performance::{Day, Figure, Formula, Series, Table, UndefinedReason, Value, Workings};

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
    series.note_days(work);
    series.fold(Months::default).0.returns()
}

/// The time-weighted return of each calendar year (in New York) with a daily return, oldest first.
///
/// # Errors
/// [`UndefinedReason::NothingInvested`] when no day has a return.
pub fn yearly_returns(series: &Series, work: &mut Workings) -> Figure<Vec<PeriodReturn>> {
    series.note_days(work);
    series.fold(Years::default).0.returns()
}

/// The growth of each period with a return, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chained(Vec<(NaiveDate, f64)>);

impl Chained {
    /// Adds a day of the period that begins with `first`.
    fn add(&mut self, first: Option<NaiveDate>, day: &Day) {
        let Some(daily) = day.daily_return else { return };
        let first = first.unwrap_or(day.date);
        match self.0.last_mut() {
            Some((period, growth)) if *period == first => *growth *= 1.0 + daily,
            _ => self.0.push((first, 1.0 + daily)),
        }
    }

    fn returns(self) -> Figure<Vec<PeriodReturn>> {
        if self.0.is_empty() {
            return Err(UndefinedReason::NothingInvested);
        }
        let period = |(first, growth)| PeriodReturn { first, period_return: growth - 1.0 };
        Ok(self.0.into_iter().map(period).collect())
    }

    fn size(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Months(Chained);

impl Months {
    pub fn size(&self) -> usize {
        self.0.size()
    }
}

impl Fold for Months {
    fn add(&mut self, day: &Day) {
        self.0.add(day.date.with_day(1), day);
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.months
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Years(Chained);

impl Years {
    pub fn size(&self) -> usize {
        self.0.size()
    }
}

impl Fold for Years {
    fn add(&mut self, day: &Day) {
        self.0.add(NaiveDate::from_ymd_opt(day.date.year(), 1, 1), day);
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.years
    }
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
