//! Why a measure has no value.

use chrono::NaiveDate;

use crate::Money;
use crate::performance::Measure;

/// A measure's value, or why it has none. A measure is never infinite and never not-a-number.
pub type Figure<T = f64> = Result<T, UndefinedReason>;

/// Why a measure is undefined, with the numbers that a sentence about it needs. Surfaces write the sentence.
#[derive(Debug, Clone, PartialEq)]
pub enum UndefinedReason {
    /// The window has no day on which the portfolio was worth anything.
    NothingInvested,
    /// Ratios and deviations of so few daily returns say nothing.
    TooFewReturns { have: usize, need: usize },
    /// An annual rate of so short a time would be mostly extrapolation. `days` are calendar days.
    ShorterThanAYear { days: i64, need: i64 },
    /// All daily returns are alike, so that there is nothing to divide by.
    ZeroDeviation,
    /// No daily return was below the risk-free rate.
    NoLosingDays,
    /// The growth index was never below an earlier high.
    NoDrawdown,
    /// The caller named no benchmark.
    NoBenchmark,
    /// The benchmark's prices begin after the window does, or there are none.
    BenchmarkStartsLate { first_on: Option<NaiveDate>, needed_on: NaiveDate },
    /// The benchmark's daily returns are all alike.
    ZeroBenchmarkDeviation,
    /// A rate of return needs cash flows on two days.
    TooFewCashFlowDates { have: usize, need: usize },
    /// Money only went in, or only came out: no rate of return balances that. A total loss is such a case.
    OneSignOnly,
    /// No rate within the bounds of a floating-point number balances the cash flows.
    NoSolution,
    /// On that day the withdrawals took more than the same money in the benchmark was worth, by `shortfall`.
    BenchmarkExhausted { on: NaiveDate, shortfall: Money },
    /// Withdrawals came so early that the average amount invested is zero or less.
    NoCapital,
    /// The caller gave no positions and journal lines of the window.
    NoBooks,
    /// The amount is beyond the largest that an account can hold.
    TooLarge,
}

impl UndefinedReason {
    /// A stable word for programs: `too_few_returns`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingInvested => "nothing_invested",
            Self::TooFewReturns { .. } => "too_few_returns",
            Self::ShorterThanAYear { .. } => "shorter_than_a_year",
            Self::ZeroDeviation => "zero_deviation",
            Self::NoLosingDays => "no_losing_days",
            Self::NoDrawdown => "no_drawdown",
            Self::NoBenchmark => "no_benchmark",
            Self::BenchmarkStartsLate { .. } => "benchmark_starts_late",
            Self::ZeroBenchmarkDeviation => "zero_benchmark_deviation",
            Self::TooFewCashFlowDates { .. } => "too_few_cash_flow_dates",
            Self::OneSignOnly => "one_sign_only",
            Self::NoSolution => "no_solution",
            Self::BenchmarkExhausted { .. } => "benchmark_exhausted",
            Self::NoCapital => "no_capital",
            Self::NoBooks => "no_books",
            Self::TooLarge => "too_large",
        }
    }
}

/// A measure without a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Undefined {
    pub measure: Measure,
    pub reason: UndefinedReason,
}
