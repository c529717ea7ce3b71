//! Performance of a portfolio over time. Money is exact; returns are statistics, as `f64` ratios: 0.05 is +5 %.
//!
//! [`Analysis`] takes the closes of a window and optionally a benchmark and the books. It computes all [`Measures`]
//! and explains each. Every measure is a function of its own, with formula, unit, sign and source. An undefined
//! measure has an [`UndefinedReason`].

mod analysis;
mod annualized;
mod benchmark;
mod book_sums;
mod calendar_returns;
mod calmar;
mod closed_days;
mod combined;
mod contributions;
mod daily_extremes;
mod dietz;
mod drawdown;
mod explanation;
mod gain;
mod measure;
mod period;
mod relative;
mod series;
mod settings;
mod sharpe;
mod statistics;
mod turnover;
mod twr;
mod undefined;
mod volatility;
mod what_if;
mod xirr;

use chrono::NaiveDate;

use crate::Money;

pub use analysis::{Analysis, BenchmarkMeasures, Measures};
pub use annualized::annualized_return;
pub use benchmark::{Benchmark, benchmark_twr};
pub use book_sums::{BookSums, StockSums};
pub use calendar_returns::{PeriodReturn, monthly_returns, yearly_returns};
pub use calmar::calmar;
pub use closed_days::ClosedDays;
pub use combined::combined_closes;
pub use contributions::{BookedHolding, Contribution, Contributions, WindowBooks, contributions};
pub use daily_extremes::{DayReturn, best_day, positive_days, worst_day};
pub use dietz::{average_capital, modified_dietz};
pub use drawdown::{Drawdown, UnderWater, drawdowns, longest_under_water, max_drawdown};
pub use explanation::{Column, Explanation, Formula, Step, Table, Value, Workings};
pub use gain::{end_value, gain, net_flow, start_value};
pub use measure::Measure;
pub use period::Period;
pub use relative::{Against, excess_return};
pub use series::{Day, Series};
pub use settings::Settings;
pub use sharpe::{sharpe, sortino};
pub use statistics::MIN_RETURNS;
pub use turnover::{commissions, turnover};
pub use twr::{cumulative_twr, twr, twr_until_last_day};
pub use undefined::{Figure, Undefined, UndefinedReason};
pub use volatility::{downside_deviation, volatility};
pub use what_if::{WhatIf, what_if};
pub use xirr::{mwr, xirr};

/// The portfolio at one close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    pub date: NaiveDate,
    /// The value after the day's flows.
    pub total_value: Money,
    /// Deposits less withdrawals since the previous close.
    pub net_flow: Money,
}

/// One point of the series: a close with the return since the start of the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub close: Close,
    /// The time-weighted return since the start of the window, a ratio.
    pub twr: f64,
}

/// The figures of a window that need only its closes. [`Analysis`] computes all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Performance {
    pub points: Vec<Point>,
    /// The value at the last close before the window; zero if there was none.
    pub start_value: Money,
    /// The value at the end − the value at the start − the net flows in between.
    pub gain: Money,
    /// Deposits less withdrawals within the window.
    pub net_flow: Money,
    /// `None` if the window is empty.
    pub twr: Option<f64>,
    /// `None` if nothing was invested in the window.
    pub max_drawdown: Option<Drawdown>,
}

impl Performance {
    /// Measures `window`, which is ordered by date; `before` is the last earlier close, if the portfolio is older.
    pub fn measure(before: Option<&Close>, window: Vec<Close>) -> Self {
        let series = Series::new(before, &window);
        let cumulative = cumulative_twr(&series);
        let work = &mut Workings::off();
        Self {
            start_value: start_value(&series, work),
            gain: gain(&series, work),
            net_flow: net_flow(&series, work),
            twr: cumulative.last().copied(),
            max_drawdown: max_drawdown(&series, work).ok(),
            points: window.into_iter().zip(cumulative).map(|(close, twr)| Point { close, twr }).collect(),
        }
    }
}
