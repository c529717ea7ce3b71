//! How a portfolio did over time. Money is exact; returns are statistics, as `f64` ratios: 0.05 is +5 %.

mod drawdown;
mod twr;

use chrono::NaiveDate;

use crate::Money;

pub use drawdown::{Drawdown, max_drawdown};
pub use twr::{cumulative_twr, daily_returns};

/// The portfolio at one close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    pub date: NaiveDate,
    /// After the day's flows.
    pub total_value: Money,
    /// Deposits less withdrawals since the close before.
    pub net_flow: Money,
}

/// One point of the series: a close with the return since the start of the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub close: Close,
    /// Time-weighted, since the start of the window.
    pub twr: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Performance {
    pub points: Vec<Point>,
    /// Value at the start of the window: at the last close before it, zero when there was none.
    pub start_value: Money,
    /// Value at the end − value at the start − net flows between: what trading and prices brought.
    pub gain: Money,
    /// Deposits less withdrawals within the window.
    pub net_flow: Money,
    /// `None` when the window is empty.
    pub twr: Option<f64>,
    pub max_drawdown: Option<Drawdown>,
}

impl Performance {
    /// Measures `window`, in order of date; `before` is the last close before it, if the portfolio is older.
    pub fn measure(before: Option<&Close>, window: Vec<Close>) -> Self {
        let start_value = before.map_or_else(Money::zero, |close| close.total_value.clone());
        let returns = daily_returns(&start_value, &window);
        let cumulative = cumulative_twr(&returns);
        let net_flow: Money = window.iter().map(|close| &close.net_flow).sum();
        let end_value = window.last().map_or_else(|| start_value.clone(), |close| close.total_value.clone());
        let dates: Vec<NaiveDate> = window.iter().map(|close| close.date).collect();
        let start_date = before.map(|close| close.date);
        Self {
            max_drawdown: max_drawdown(start_date, &dates, &cumulative),
            twr: cumulative.last().copied(),
            gain: end_value - &start_value - &net_flow,
            points: window.into_iter().zip(cumulative).map(|(close, twr)| Point { close, twr }).collect(),
            start_value,
            net_flow,
        }
    }
}
