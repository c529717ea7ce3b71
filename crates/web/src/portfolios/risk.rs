//! Figures of risk and return, and the comparison with a benchmark, on the performance page.

use domain::Symbol;
use domain::performance::{DayReturn, Measure, Measures};
use serde::Serialize;
use services::{Error, FieldError};

use super::performance_words;
use crate::http::problem::Problem;
use crate::shell::format;

/// A figure with one line of explanation.
#[derive(Debug, Serialize)]
pub struct FigureRow {
    label: String,
    /// `None` where the figure is undefined.
    value: Option<String>,
    /// What the figure means, or why it is undefined.
    note: String,
}

/// The portfolio compared with a benchmark.
#[derive(Debug, Serialize)]
pub struct Comparison {
    symbol: Symbol,
    figures: Vec<FigureRow>,
}

/// Two decimals, without a minus before zero.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let is_zero = text.chars().all(|digit| !digit.is_ascii_digit() || digit == '0');
    format::count(if is_zero { text.trim_start_matches('-') } else { &text })
}

fn row(
    measures: &Measures,
    measure: Measure,
    label: impl Into<String>,
    value: Option<String>,
    meaning: impl Into<String>,
) -> FigureRow {
    let undefined = measures.undefined.iter().find(|undefined| undefined.measure == measure);
    let note = match undefined.filter(|_| value.is_none()) {
        Some(undefined) => performance_words::undefined(&undefined.reason),
        None => meaning.into(),
    };
    FigureRow { label: label.into(), value, note }
}

/// The figures that need no benchmark, in the order of the page.
pub fn figures(measures: &Measures) -> Vec<FigureRow> {
    let percent = |ratio: Option<f64>| ratio.map(format::percent);
    let ratio = |value: Option<f64>| value.map(number);
    let day = |day: Option<DayReturn>| day.map(|day| format::percent(day.daily_return));
    let on =
        |day: Option<DayReturn>| day.map_or_else(String::new, |day| format!("on {}", format::date(day.date)));
    let (best, worst) = (measures.best_day, measures.worst_day);
    let figure = |measure, label: &str, value, meaning: &str| row(measures, measure, label, value, meaning);
    vec![
        figure(
            Measure::AnnualizedReturn,
            "Annualized return",
            percent(measures.annualized_return),
            "time-weighted return per year",
        ),
        figure(
            Measure::Mwr,
            "Money-weighted return",
            percent(measures.mwr),
            "the return on your money, which depends on when you paid it in",
        ),
        figure(
            Measure::Volatility,
            "Volatility",
            percent(measures.volatility),
            "standard deviation of the daily returns, per year",
        ),
        figure(
            Measure::Sharpe,
            "Sharpe ratio",
            ratio(measures.sharpe),
            "return above the risk-free rate, divided by volatility",
        ),
        figure(
            Measure::Sortino,
            "Sortino ratio",
            ratio(measures.sortino),
            "return above the risk-free rate, divided by downside deviation",
        ),
        figure(
            Measure::Calmar,
            "Calmar ratio",
            ratio(measures.calmar),
            "annualized return divided by the maximum drawdown",
        ),
        figure(Measure::BestDay, "Best day", day(best), &on(best)),
        figure(Measure::WorstDay, "Worst day", day(worst), &on(worst)),
        figure(
            Measure::PositiveDays,
            "Days with a gain",
            measures.positive_days.map(format::share),
            "of all days with a return",
        ),
    ]
}

/// The comparison with the benchmark; `None` without one.
pub fn comparison(measures: &Measures) -> Option<Comparison> {
    let of = &measures.benchmark;
    let symbol = of.symbol.clone()?;
    let percent = |ratio: Option<f64>| ratio.map(format::percent);
    let ratio = |value: Option<f64>| value.map(number);
    let twin = measures.what_if.as_ref();
    let difference = twin.map_or_else(String::new, |twin| match &twin.difference {
        same if same.is_zero() => "as much as your portfolio".to_owned(),
        more if more.is_positive() => format!("{} less than your portfolio", format::money(more)),
        less => format!("{} more than your portfolio", format::money(&less.abs())),
    });
    let figures = vec![
        row(
            measures,
            Measure::BenchmarkTwr,
            format!("Return of {symbol}"),
            percent(of.twr),
            "with dividends reinvested",
        ),
        row(
            measures,
            Measure::ExcessReturn,
            "Excess return",
            percent(of.excess_return),
            format!("your return less that of {symbol}"),
        ),
        row(
            measures,
            Measure::WhatIf,
            format!("The same deposits in {symbol}"),
            twin.map(|twin| format::money(&twin.end_value)),
            difference,
        ),
        row(
            measures,
            Measure::Beta,
            "Beta",
            ratio(of.beta),
            format!("how much your portfolio moves when {symbol} moves by one"),
        ),
        row(
            measures,
            Measure::Alpha,
            "Alpha",
            percent(of.alpha),
            "return per year that beta does not explain",
        ),
        row(
            measures,
            Measure::Correlation,
            "Correlation",
            ratio(of.correlation),
            "1 when both always move together, 0 when independently",
        ),
        row(
            measures,
            Measure::TrackingError,
            "Tracking error",
            percent(of.tracking_error),
            "standard deviation of the daily differences, per year",
        ),
    ];
    Some(Comparison { symbol, figures })
}

/// An error of an analysis for the one who asked for it: an unknown benchmark is a wrong field.
pub fn refused_benchmark(error: Error, benchmark: Option<&Symbol>) -> Result<Problem, Error> {
    match (error, benchmark) {
        (Error::UnknownSymbol(symbol), Some(_)) => {
            let message = format!("there is no stock or fund {symbol}");
            Ok(Problem::invalid(vec![FieldError::new("benchmark", message)]))
        }
        (error, _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Calendar;
    use domain::performance::{Analysis, Close, Settings};

    #[test]
    fn a_figure_has_its_meaning_or_the_reason_why_it_is_missing() {
        let close = |date: &str, value: &str, flow: &str| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        let window = [close("2026-11-20", "1000", "1000"), close("2026-11-23", "900", "0")];
        let measures = Analysis::new(None, &window, Settings::new(Calendar::Xnys, 0.0)).measures();
        let figures = figures(&measures);
        assert!(figures.iter().all(|row| !row.note.is_empty()), "{figures:?}");
        let of = |label: &str| figures.iter().find(|row| row.label == label).unwrap();
        assert_eq!(of("Worst day").value.as_deref(), Some("−10.00%"));
        assert_eq!(of("Worst day").note, "on 23 Nov 2026");
        assert_eq!(
            (&of("Sharpe ratio").value, of("Sharpe ratio").note.contains("20 daily returns")),
            (&None, true)
        );
        assert!(comparison(&measures).is_none());
        assert_eq!([number(-0.001), number(-1.5)], ["0.00", "−1.50"]);
    }
}
