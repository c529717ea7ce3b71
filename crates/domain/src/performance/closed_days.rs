//! The closed days of a window as sums: its measures need no more of them.

use chrono::NaiveDate;

use crate::Money;
use crate::performance::calendar_returns::{Months, Years};
use crate::performance::daily_extremes::Extremes;
use crate::performance::drawdown::Highs;
use crate::performance::relative::PairSums;
use crate::performance::series::ValueSums;
use crate::performance::twr::Growth;
use crate::performance::volatility::{Downside, Returns};
use crate::performance::{Analysis, Close};

/// The part of a window's days that its measures need, without the last day. With
/// [`Series::continued`](super::Series::continued) a window is measured
/// as if its days were there, in a time that does not grow with their number.
///
/// Each measure goes over the days of a window once, day by day (the trait `Fold`). These are the states
/// that they have reached after the closed days.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedDays {
    before: Option<Close>,
    /// The last closed day with its value.
    end: Option<(NaiveDate, Money)>,
    first_return_on: Option<NaiveDate>,
    flows: Box<[(NaiveDate, Money)]>,
    pub(super) values: ValueSums,
    pub(super) growth: Growth,
    pub(super) returns: Returns,
    pub(super) downside: Downside,
    pub(super) highs: Highs,
    pub(super) extremes: Extremes,
    pub(super) months: Months,
    pub(super) years: Years,
    /// With the benchmark. `None` without one or where it starts late.
    pub(super) pairs: Option<PairSums>,
}

impl ClosedDays {
    /// The days of a window but for the last, for its settings and its benchmark. `None` if it has no day.
    pub fn of(analysis: &Analysis) -> Option<Self> {
        let Analysis { series, settings, benchmark, .. } = analysis;
        let series = series.without_last_day()?;
        let flows: Vec<(NaiveDate, Money)> =
            series.flows().map(|(date, flow)| (date, flow.clone())).collect();
        Some(Self {
            end: series.last_day().map(|day| (day.date, day.end_value.clone())),
            first_return_on: series.first_return_on(),
            flows: flows.into(),
            values: series.fold(ValueSums::default),
            growth: series.fold(Growth::default),
            returns: series.fold(Returns::default),
            downside: series.fold(|| Downside::new(settings)),
            highs: series.fold(|| Highs::new(series.before.as_ref())),
            extremes: series.fold(Extremes::default),
            months: series.fold(Months::default),
            years: series.fold(Years::default),
            pairs: benchmark.as_ref().map(|benchmark| PairSums::of(&series, benchmark)),
            before: series.before,
        })
    }

    pub(super) fn before(&self) -> Option<&Close> {
        self.before.as_ref()
    }

    /// The last closed day.
    pub fn end_on(&self) -> Option<NaiveDate> {
        self.end.as_ref().map(|(date, _)| *date)
    }

    /// The value at the last closed day, or at the start of the window if there is none.
    pub(super) fn end_value(&self) -> Money {
        let start = || self.before.as_ref().map_or_else(Money::zero, |close| close.total_value.clone());
        self.end.as_ref().map_or_else(start, |(_, value)| value.clone())
    }

    pub(super) fn first_return_on(&self) -> Option<NaiveDate> {
        self.first_return_on
    }

    pub(super) fn flows(&self) -> &[(NaiveDate, Money)] {
        &self.flows
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.flows) + self.months.size() + self.years.size()
    }
}
