//! Sentences for measures without a value.

use domain::performance::UndefinedReason;

use crate::shell::format;

/// Why a measure is undefined, as a sentence for users.
pub fn undefined(reason: &UndefinedReason) -> String {
    match reason {
        UndefinedReason::NothingInvested => "Nothing was invested in this period.".to_owned(),
        UndefinedReason::TooFewReturns { have, need } => {
            format!("This needs {need} daily returns, and the period has {have}.")
        }
        UndefinedReason::ShorterThanAYear { days, need } => {
            format!("Annual figures need {need} days, and the period has {days}.")
        }
        UndefinedReason::ZeroDeviation => "All daily returns are the same.".to_owned(),
        UndefinedReason::NoLosingDays => "No daily return was below the risk-free rate.".to_owned(),
        UndefinedReason::NoDrawdown => "The portfolio was never below an earlier high.".to_owned(),
        UndefinedReason::NoBenchmark => "Choose a benchmark to compare with.".to_owned(),
        UndefinedReason::BenchmarkStartsLate { first_on: Some(first_on), needed_on } => {
            format!("Prices of the benchmark begin on {first_on}, and the period on {needed_on}.")
        }
        UndefinedReason::BenchmarkStartsLate { first_on: None, needed_on } => {
            format!("There are no prices of the benchmark, which are needed from {needed_on} on.")
        }
        UndefinedReason::ZeroBenchmarkDeviation => {
            "All daily returns of the benchmark are the same.".to_owned()
        }
        UndefinedReason::TooFewCashFlowDates { have, need } => {
            format!("This needs cash flows on {need} days, and the period has {have}.")
        }
        UndefinedReason::OneSignOnly => {
            "There were only deposits or only withdrawals, and no value is left.".to_owned()
        }
        UndefinedReason::NoSolution => "No rate of return explains these cash flows.".to_owned(),
        UndefinedReason::BenchmarkExhausted { on, shortfall } => format!(
            "By {on}, withdrawals exceed the value of the same deposits in the benchmark by ${shortfall}."
        ),
        UndefinedReason::NoCapital => {
            "The average amount invested is zero or less, because of early withdrawals.".to_owned()
        }
        UndefinedReason::NoBooks => "Positions and transactions of the period were not read.".to_owned(),
        UndefinedReason::BooksDiffer { books, series } => format!(
            "The gain is {} by positions and transactions, but {} by the daily values. A daily value was computed \
             before all its closes were known; it is corrected when they are complete.",
            format::money(books),
            format::money(series)
        ),
        UndefinedReason::TooLarge => "The amount is larger than an account can hold.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_sentence_with_its_numbers() {
        let day = |text: &str| text.parse().unwrap();
        for (reason, numbers) in [
            (UndefinedReason::NothingInvested, &[][..]),
            (UndefinedReason::TooFewReturns { have: 7, need: 20 }, &["7", "20"]),
            (UndefinedReason::ShorterThanAYear { days: 30, need: 365 }, &["30", "365"]),
            (UndefinedReason::ZeroDeviation, &[]),
            (UndefinedReason::NoLosingDays, &[]),
            (UndefinedReason::NoDrawdown, &[]),
            (UndefinedReason::NoBenchmark, &[]),
            (
                UndefinedReason::BenchmarkStartsLate {
                    first_on: Some(day("2026-06-01")),
                    needed_on: day("2025-01-02"),
                },
                &["2026-06-01", "2025-01-02"],
            ),
            (
                UndefinedReason::BenchmarkStartsLate { first_on: None, needed_on: day("2025-01-02") },
                &["2025-01-02"],
            ),
            (UndefinedReason::ZeroBenchmarkDeviation, &[]),
            (UndefinedReason::TooFewCashFlowDates { have: 1, need: 2 }, &["1", "2"]),
            (UndefinedReason::OneSignOnly, &[]),
            (UndefinedReason::NoSolution, &[]),
            (
                UndefinedReason::BenchmarkExhausted {
                    on: day("2026-06-01"),
                    shortfall: "12.50".parse().unwrap(),
                },
                &["2026-06-01", "$12.50"],
            ),
            (UndefinedReason::NoCapital, &[]),
            (UndefinedReason::NoBooks, &[]),
            (
                UndefinedReason::BooksDiffer {
                    books: "12.50".parse().unwrap(),
                    series: "-3.25".parse().unwrap(),
                },
                &["12.50", "−3.25"],
            ),
            (UndefinedReason::TooLarge, &[]),
        ] {
            let words = undefined(&reason);
            assert!(words.ends_with('.') && words.starts_with(char::is_uppercase), "{words}");
            assert!(numbers.iter().all(|number| words.contains(number)), "{words}");
        }
    }
}
