//! The names of the measures, as programs see them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::order::keywords;

keywords! {
    /// A figure that can be computed, be undefined with a reason, and be explained.
    Measure {
        StartValue = "start_value",
        EndValue = "end_value",
        NetFlow = "net_flow",
        Gain = "gain",
        Twr = "twr",
        AnnualizedReturn = "annualized_return",
        Xirr = "xirr",
        Mwr = "mwr",
        ModifiedDietz = "modified_dietz",
        Volatility = "volatility",
        DownsideDeviation = "downside_deviation",
        Sharpe = "sharpe",
        Sortino = "sortino",
        MaxDrawdown = "max_drawdown",
        LongestUnderWater = "longest_under_water",
        Calmar = "calmar",
        BestDay = "best_day",
        WorstDay = "worst_day",
        PositiveDays = "positive_days",
        MonthlyReturns = "monthly_returns",
        YearlyReturns = "yearly_returns",
        BenchmarkTwr = "benchmark_twr",
        ExcessReturn = "excess_return",
        Beta = "beta",
        Alpha = "alpha",
        TrackingError = "tracking_error",
        Correlation = "correlation",
        InformationRatio = "information_ratio",
        WhatIf = "what_if",
        Contributions = "contributions",
        RealizedPnl = "realized_pnl",
        UnrealizedPnl = "unrealized_pnl",
        Dividends = "dividends",
        Commissions = "commissions",
        Turnover = "turnover",
    }
}
