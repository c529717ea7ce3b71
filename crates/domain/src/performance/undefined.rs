//! Reasons why a measure has no value.

use chrono::NaiveDate;

use crate::Money;
use crate::performance::Measure;

/// A measure's value, or the reason why it has none. A measure is never infinite or not-a-number.
pub type Figure<T = f64> = Result<T, UndefinedReason>;

/// Why a measure is undefined, with the numbers for an error message. Each surface words the message itself.
#[derive(Debug, Clone, PartialEq)]
pub enum UndefinedReason {
    /// The portfolio had no value on any day of the window.
    NothingInvested,
    /// There are too few daily returns for ratios and deviations.
    TooFewReturns { have: usize, need: usize },
    /// For a window this short, an annual rate would be mostly extrapolation. `days` are calendar days.
    ShorterThanAYear { days: i64, need: i64 },
    /// All daily returns are equal, so the divisor is zero.
    ZeroDeviation,
    /// No daily return was below the risk-free rate.
    NoLosingDays,
    /// The growth index was never below an earlier high.
    NoDrawdown,
    /// The caller named no benchmark.
    NoBenchmark,
    /// The benchmark has no prices, or they begin after the window.
    BenchmarkStartsLate { first_on: Option<NaiveDate>, needed_on: NaiveDate },
    /// The benchmark's daily returns are all equal.
    ZeroBenchmarkDeviation,
    /// A rate of return needs cash flows on two days.
    TooFewCashFlowDates { have: usize, need: usize },
    /// Money was only paid in or only paid out, for example after a total loss. No rate of return balances that.
    OneSignOnly,
    /// No rate within the bounds of a floating-point number balances the cash flows.
    NoSolution,
    /// On that day withdrawals exceeded the value of the same deposits in the benchmark by `shortfall`.
    BenchmarkExhausted { on: NaiveDate, shortfall: Money },
    /// Withdrawals came so early that the average capital is zero or less.
    NoCapital,
    /// The caller gave no positions and journal lines of the window.
    NoBooks,
    /// The books and the daily values have different gains, because a daily value was computed at prices other than the
    /// closes that are known now.
    BooksDiffer { books: Money, series: Money },
    /// The amount is beyond the range of the books.
    TooLarge,
}

impl UndefinedReason {
    /// A stable code for programs, such as `too_few_returns`.
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
            Self::BooksDiffer { .. } => "books_differ",
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
