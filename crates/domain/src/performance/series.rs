//! The days of a window with their returns, from which all other measures are computed.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::Money;
use crate::performance::closed_days::ClosedDays;
use crate::performance::{Close, Figure, Settings, Table, UndefinedReason, Value, Workings};

/// The portfolio on one day of the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    pub date: NaiveDate,
    /// Value at the previous close; zero if there was none.
    pub start_value: Money,
    /// Deposits less withdrawals since the previous close; negative if more was withdrawn.
    pub net_flow: Money,
    /// Value at the close, after the flows.
    pub end_value: Money,
    /// The day's return, a ratio: 0.01 is +1 %. `None` if nothing was invested.
    pub daily_return: Option<f64>,
}

impl Day {
    /// Computes the return of a day: `r = (end_value + withdrawals) / (start_value + deposits) − 1`. A day's net
    /// deposit counts from the start of the day, and a day's net withdrawal until its end. Undefined if the denominator
    /// is zero.
    ///
    /// This hybrid is the daily approximation of the true time-weighted return, which values the portfolio at each flow
    /// (GIPS, "Guidance Statement on Calculation Methodology"). If withdrawals counted from the start too, a day on
    /// which everything is withdrawn would be a loss of 100 %; if deposits counted until the end, the first day would
    /// have no return.
    fn new(start_value: Money, close: &Close) -> Self {
        // Added as exact amounts, so that a day without a gain has a return of exactly zero.
        let (mut base, mut end) = (start_value.clone(), close.total_value.clone());
        match close.net_flow.is_negative() {
            true => end -= &close.net_flow,
            false => base += &close.net_flow,
        }
        Self {
            date: close.date,
            start_value,
            net_flow: close.net_flow.clone(),
            end_value: close.total_value.clone(),
            daily_return: base.is_positive().then(|| end.to_f64() / base.to_f64() - 1.0),
        }
    }
}

/// The days of a window, and the close before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The last close before the window, if the portfolio is older.
    pub before: Option<Close>,
    /// The days before `days`.
    closed: Option<Arc<ClosedDays>>,
    /// In order of date.
    pub(super) days: Vec<Day>,
}

/// Something that is computed from a window day by day.
pub(super) trait Fold: Clone {
    fn add(&mut self, day: &Day);

    /// The state after closed days.
    fn after(closed: &ClosedDays) -> &Self;
}

impl Series {
    /// Creates the series of `window`, which is ordered by date; `before` is the last earlier close, if there is one.
    pub fn new(before: Option<&Close>, window: &[Close]) -> Self {
        debug_assert!(window.is_sorted_by(|a, b| a.date < b.date), "Invariant: one close a day, in order");
        let mut start_value = before.map_or_else(Money::zero, |close| close.total_value.clone());
        let day = |close: &Close| {
            let end_value = close.total_value.clone();
            Day::new(std::mem::replace(&mut start_value, end_value), close)
        };
        Self { before: before.cloned(), closed: None, days: window.iter().map(day).collect() }
    }

    /// Closed days and one more. Its measures are those of a series with all of these days.
    pub fn continued(closed: Arc<ClosedDays>, last: &Close) -> Self {
        debug_assert!(
            closed.end_on().is_none_or(|end_on| end_on < last.date),
            "Invariant: one close a day, in order"
        );
        let day = Day::new(closed.end_value(), last);
        Self { before: closed.before().cloned(), closed: Some(closed), days: vec![day] }
    }

    /// The days of the window, in order of date.
    pub fn days(&self) -> &[Day] {
        debug_assert!(self.closed.is_none(), "Invariant: only a series with all of its days is shown");
        &self.days
    }

    pub fn last_day(&self) -> Option<&Day> {
        self.days.last()
    }

    /// The days before those of the series, if it continues closed days.
    pub(super) fn closed(&self) -> Option<&ClosedDays> {
        self.closed.as_deref()
    }

    /// The series without its last day. `None` if it has no day.
    pub(super) fn without_last_day(&self) -> Option<Self> {
        let (_, days) = self.days().split_last()?;
        Some(Self { before: self.before.clone(), closed: None, days: days.to_vec() })
    }

    /// Goes over all days, beginning with `start`, or with the state after the closed days.
    pub(super) fn fold<S: Fold>(&self, start: impl FnOnce() -> S) -> S {
        let mut state = self.closed().map_or_else(start, |closed| S::after(closed).clone());
        self.days.iter().for_each(|day| state.add(day));
        state
    }

    /// The defined daily returns with their days, without those of closed days.
    pub(super) fn returns(&self) -> impl Iterator<Item = (NaiveDate, f64)> {
        self.days.iter().filter_map(|day| Some((day.date, day.daily_return?)))
    }

    /// The day of the first return.
    pub(super) fn first_return_on(&self) -> Option<NaiveDate> {
        let closed = self.closed().and_then(ClosedDays::first_return_on);
        closed.or_else(|| self.returns().next().map(|(date, _)| date))
    }

    /// The days with a net flow, and the flows.
    pub(super) fn flows(&self) -> impl Iterator<Item = (NaiveDate, &Money)> {
        let closed = self.closed().map_or(&[][..], ClosedDays::flows);
        let since = self.days.iter().filter(|day| !day.net_flow.is_zero());
        let closed = closed.iter().map(|(date, flow)| (*date, flow));
        closed.chain(since.map(|day| (day.date, &day.net_flow)))
    }

    /// The close from which the window is measured: the last one before the window, or the day of the first deposit if
    /// the portfolio had no value then. `None` if nothing was ever invested.
    pub fn start_on(&self) -> Option<NaiveDate> {
        let before = self.before.as_ref().filter(|close| close.total_value.is_positive());
        before.map(|close| close.date).or_else(|| self.first_return_on())
    }

    /// The last day of the window.
    pub fn end_on(&self) -> Option<NaiveDate> {
        self.days.last().map(|day| day.date)
    }

    /// [`Series::start_on`] and [`Series::end_on`].
    pub(super) fn span(&self) -> Figure<(NaiveDate, NaiveDate)> {
        self.start_on().zip(self.end_on()).ok_or(UndefinedReason::NothingInvested)
    }

    /// Value at the last close before the window; zero if there was none.
    pub fn start_value(&self) -> Money {
        self.before.as_ref().map_or_else(Money::zero, |close| close.total_value.clone())
    }

    /// Value at the last close of the window; the start value if it has no days.
    pub fn end_value(&self) -> Money {
        self.days.last().map_or_else(|| self.start_value(), |day| day.end_value.clone())
    }

    /// Deposits less withdrawals within the window.
    pub fn net_flow(&self) -> Money {
        self.fold(ValueSums::default).net_flow
    }

    /// Records the days as an input, from which returns, deviations and drawdowns can be recomputed.
    pub(super) fn note_days(&self, work: &mut Workings) {
        work.input("days", "Days of the window", || {
            let columns = [
                ("date", "Date"),
                ("start_value", "Value at the close before"),
                ("net_flow", "Deposits less withdrawals"),
                ("end_value", "Value at the close"),
                ("daily_return", "Daily return"),
            ];
            let row = |day: &Day| {
                vec![
                    Value::Date(day.date),
                    Value::Money(day.start_value.clone()),
                    Value::Money(day.net_flow.clone()),
                    Value::Money(day.end_value.clone()),
                    day.daily_return.map_or(Value::Missing, Value::Ratio),
                ]
            };
            Value::Table(Table::new(&columns, self.days().iter().map(row)))
        });
    }

    /// Records the days as an input, and the number of sessions per year that annualizing uses.
    pub(super) fn note_with(&self, settings: &Settings, work: &mut Workings) {
        self.note_days(work);
        settings.note_sessions(work);
    }
}

/// The sums of the days' values and flows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ValueSums {
    pub days: usize,
    pub net_flow: Money,
    pub end_values: Money,
}

impl Default for ValueSums {
    fn default() -> Self {
        Self { days: 0, net_flow: Money::zero(), end_values: Money::zero() }
    }
}

impl Fold for ValueSums {
    fn add(&mut self, day: &Day) {
        self.days += 1;
        self.net_flow += &day.net_flow;
        self.end_values += &day.end_value;
    }

    fn after(closed: &ClosedDays) -> &Self {
        &closed.values
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use chrono::Days;

    /// Closes on consecutive days from 2026-01-01: value and net flow of each.
    pub fn closes(rows: &[(&str, &str)]) -> Vec<Close> {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let close = |((value, flow), day): (&(&str, &str), u64)| Close {
            date: first + Days::new(day),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        rows.iter().zip(0..).map(close).collect()
    }

    /// A portfolio that begins with the first row.
    pub fn series(rows: &[(&str, &str)]) -> Series {
        Series::new(None, &closes(rows))
    }

    /// A portfolio of 1,000,000 that grows by these daily returns from 2026-01-01 on, without flows.
    pub fn growing(returns: &[f64]) -> Series {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let close = |date, value: f64| Close {
            date,
            total_value: format!("{value:.2}").parse().unwrap(),
            net_flow: Money::zero(),
        };
        let mut value = 1e6;
        let window: Vec<Close> = returns
            .iter()
            .zip(1..)
            .map(|(daily, day)| {
                value *= 1.0 + daily;
                close(first + Days::new(day), value)
            })
            .collect();
        Series::new(Some(&close(first, 1e6)), &window)
    }

    #[test]
    fn deposits_count_from_the_start_of_a_day_and_withdrawals_until_its_end() {
        let series = series(&[("1000", "1000"), ("2200", "1000"), ("1650", "-1650"), ("0", "-1650")]);
        let ratios: Vec<f64> = series.returns().map(|(_, ratio)| ratio).collect();
        // 1000/1000; 2200/2000; (1650 + 1650)/2200; (0 + 1650)/1650.
        for (ratio, expected) in ratios.iter().zip([0.0, 0.1, 0.5, 0.0]) {
            assert!((ratio - expected).abs() < 1e-12, "{ratio} instead of {expected}");
        }
    }

    #[test]
    fn a_day_without_money_has_no_return() {
        let series = series(&[("0", "0"), ("1000", "1000"), ("0", "-1010"), ("0", "0"), ("505", "500")]);
        let defined: Vec<bool> = series.days.iter().map(|day| day.daily_return.is_some()).collect();
        assert_eq!(defined, [false, true, true, false, true]);
        assert_eq!(series.start_on(), Some(series.days[1].date));
    }

    #[test]
    fn the_window_grows_from_the_close_before_it() {
        let all = closes(&[("1000", "1000"), ("1100", "0"), ("1210", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        assert_eq!((series.start_on(), series.end_on()), (Some(all[0].date), Some(all[2].date)));
        assert_eq!((series.start_value(), series.net_flow()), ("1000".parse().unwrap(), Money::zero()));
        let empty = Series::new(Some(&all[0]), &[]);
        assert_eq!((empty.end_value(), empty.end_on()), ("1000".parse().unwrap(), None));
    }
}
