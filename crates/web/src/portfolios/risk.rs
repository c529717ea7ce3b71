//! Figures of risk and return on the performance page, and the comparison with a benchmark.

use domain::performance::{Analysis, DayReturn, Measure, Measures, UndefinedReason};
use domain::{Money, Symbol};
use serde::Serialize;
use services::books::sharing::PortfolioAddress;
use services::{Error, FieldError};

use super::{explain_page, performance_words};
use crate::http::problem::Problem;
use crate::shell::format;

/// A figure with a one-line note, its definition, and the address of its explanation.
#[derive(Debug, Serialize)]
pub struct FigureRow {
    label: String,
    /// `None` if the figure is undefined.
    value: Option<String>,
    /// What the figure means, or why it is undefined.
    note: String,
    words: &'static str,
    symbols: &'static str,
    href: String,
}

/// The portfolio compared with a benchmark.
#[derive(Debug, Serialize)]
pub struct Comparison {
    symbol: Symbol,
    figures: Vec<FigureRow>,
    /// Why the benchmark cannot be compared over this window.
    late: Option<String>,
}

/// Formats a number with two decimals, without a minus before zero.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let is_zero = text.chars().all(|digit| !digit.is_ascii_digit() || digit == '0');
    format::count(if is_zero { text.trim_start_matches('-') } else { &text })
}

/// The figures of a window, ready to be written as rows.
pub struct Figures<'a> {
    pub analysis: &'a Analysis,
    pub measures: &'a Measures,
    pub portfolio: &'a PortfolioAddress,
    /// The query of the page, for the addresses of explanations.
    pub query_string: &'a str,
}

impl Figures<'_> {
    fn row(&self, measure: Measure, value: Option<String>, meaning: impl Into<String>) -> FigureRow {
        self.named(measure, explain_page::title(measure), value, meaning)
    }

    fn named(
        &self,
        measure: Measure,
        label: impl Into<String>,
        value: Option<String>,
        meaning: impl Into<String>,
    ) -> FigureRow {
        let undefined = self.measures.undefined.iter().find(|undefined| undefined.measure == measure);
        let note = match undefined.filter(|_| value.is_none()) {
            Some(undefined) => performance_words::undefined(&undefined.reason),
            None => format::stopped(&format::capitalized(&meaning.into())),
        };
        let formula = self.analysis.formula(measure);
        FigureRow {
            label: label.into(),
            value,
            note,
            words: formula.words,
            symbols: formula.symbols,
            href: explain_page::address(self.portfolio, measure, self.query_string),
        }
    }

    /// The figures that need neither a benchmark nor the books, in the order of the page.
    pub fn measures(&self) -> Vec<FigureRow> {
        let measures = self.measures;
        let percent = |ratio: Option<f64>| ratio.map(format::percent);
        let ratio = |value: Option<f64>| value.map(number);
        let day = |day: Option<DayReturn>| day.map(|day| format::percent(day.daily_return));
        let on = |day: Option<DayReturn>| {
            day.map_or_else(String::new, |day| format!("on {}", format::date(day.date)))
        };
        let (best, worst) = (measures.best_day, measures.worst_day);
        let longest = measures.longest_under_water.as_ref();
        let depth = measures.max_drawdown.as_ref().map(|drawdown| drawdown.depth);
        vec![
            self.row(
                Measure::Twr,
                percent(measures.twr),
                "the return of your decisions, not affected by deposits and withdrawals",
            ),
            self.row(
                Measure::AnnualizedReturn,
                percent(measures.annualized_return),
                "time-weighted return per year",
            ),
            self.row(
                Measure::Mwr,
                percent(measures.mwr),
                "the return on your money, which depends on when you paid it in",
            ),
            self.row(Measure::Xirr, percent(measures.xirr), "the same per year"),
            self.row(
                Measure::ModifiedDietz,
                percent(measures.modified_dietz),
                "the gain divided by the average capital, to which the contributions add up",
            ),
            self.row(
                Measure::Gain,
                Some(format::gain(&measures.gain).text),
                "from price changes, dividends and trading",
            ),
            self.row(Measure::MaxDrawdown, percent(depth), "the largest loss since an earlier high"),
            self.row(
                Measure::LongestUnderWater,
                longest.map(|longest| format!("{} days", format::count(longest.days))),
                "from a high until it was reached again, or until now",
            ),
            self.row(
                Measure::Volatility,
                percent(measures.volatility),
                "standard deviation of the daily returns, per year",
            ),
            self.row(
                Measure::DownsideDeviation,
                percent(measures.downside_deviation),
                "the same, only for days below the risk-free rate",
            ),
            self.row(
                Measure::Sharpe,
                ratio(measures.sharpe),
                "return above the risk-free rate, divided by volatility",
            ),
            self.row(
                Measure::Sortino,
                ratio(measures.sortino),
                "return above the risk-free rate, divided by downside deviation",
            ),
            self.row(
                Measure::Calmar,
                ratio(measures.calmar),
                "annualized return divided by the maximum drawdown",
            ),
            self.row(Measure::BestDay, day(best), on(best)),
            self.row(Measure::WorstDay, day(worst), on(worst)),
            self.row(
                Measure::PositiveDays,
                measures.positive_days.map(format::share),
                "of all days with a return",
            ),
        ]
    }

    /// Results of trading, dividends and costs.
    pub fn results(&self) -> Vec<FigureRow> {
        let measures = self.measures;
        let gain = |amount: Option<&Money>| amount.map(|amount| format::gain(amount).text);
        vec![
            self.row(
                Measure::RealizedPnl,
                gain(measures.realized_pnl.as_ref()),
                "of the sells in this period, after commissions",
            ),
            self.row(
                Measure::UnrealizedPnl,
                gain(measures.unrealized_pnl.as_ref()),
                "market value less cost of the positions at the end",
            ),
            self.row(
                Measure::Dividends,
                measures.dividends.as_ref().map(format::money),
                "with ex-dates in this period, paid or receivable",
            ),
            self.row(
                Measure::Commissions,
                measures.commissions.as_ref().map(format::money),
                "of all trades; the cost of shares and the proceeds of sells already include them",
            ),
            self.row(
                Measure::Turnover,
                measures.turnover.map(format::percent),
                "the smaller of purchases and sales, divided by the average value",
            ),
        ]
    }

    /// The comparison with the benchmark; `None` without one.
    pub fn comparison(&self) -> Option<Comparison> {
        let of = &self.measures.benchmark;
        let symbol = of.symbol.clone()?;
        let percent = |ratio: Option<f64>| ratio.map(format::percent);
        let ratio = |value: Option<f64>| value.map(number);
        let twin = self.measures.what_if.as_ref();
        let difference = twin.map_or_else(String::new, |twin| match &twin.difference {
            same if same.is_zero() => "as much as your portfolio".to_owned(),
            more if more.is_positive() => format!("{} less than your portfolio", format::money(more)),
            less => format!("{} more than your portfolio", format::money(&less.abs())),
        });
        let figures = vec![
            self.named(
                Measure::BenchmarkTwr,
                format!("Return of {symbol}"),
                percent(of.twr),
                "with dividends reinvested",
            ),
            self.row(
                Measure::ExcessReturn,
                percent(of.excess_return),
                format!("your return less that of {symbol}"),
            ),
            self.named(
                Measure::WhatIf,
                format!("The same deposits in {symbol}"),
                twin.map(|twin| format::money(&twin.end_value)),
                difference,
            ),
            self.row(
                Measure::Beta,
                ratio(of.beta),
                format!("how many percent your portfolio moves when {symbol} moves 1%"),
            ),
            self.row(Measure::Alpha, percent(of.alpha), "return per year that beta does not explain"),
            self.row(
                Measure::Correlation,
                ratio(of.correlation),
                "1 if both always move together, 0 if they move independently",
            ),
            self.row(
                Measure::TrackingError,
                percent(of.tracking_error),
                "standard deviation of the daily differences, per year",
            ),
            self.row(
                Measure::InformationRatio,
                ratio(of.information_ratio),
                "average daily difference per year, divided by the tracking error",
            ),
        ];
        let reason = self.measures.undefined.iter().find(|of| of.measure == Measure::BenchmarkTwr);
        let late = reason.filter(|of| matches!(of.reason, UndefinedReason::BenchmarkStartsLate { .. }));
        let late = late.map(|of| {
            format!(
                "{} The portfolio cannot be compared with {symbol} in this period: choose a period that begins \
                 later, or another benchmark. A free key of Alpha Vantage has 100 days of prices.",
                performance_words::undefined(&of.reason)
            )
        });
        Some(Comparison { symbol, figures, late })
    }

    /// The address of a measure's explanation.
    pub fn address(&self, measure: Measure) -> String {
        explain_page::address(self.portfolio, measure, self.query_string)
    }
}

/// Converts an unknown benchmark to an invalid field.
///
/// # Errors
/// Any other error is returned unchanged.
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
    use domain::performance::{Benchmark, Close, Settings};
    use domain::{Calendar, PortfolioId};

    #[test]
    fn a_figure_has_its_meaning_or_the_reason_why_it_is_missing() {
        let close = |date: &str, value: &str, flow: &str| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        let window = [close("2026-11-20", "1000", "1000"), close("2026-11-23", "900", "0")];
        let analysis = Analysis::new(None, &window, Settings::new(Calendar::Xnys, 0.0));
        let measures = analysis.measures();
        let shown = Figures {
            analysis: &analysis,
            measures: &measures,
            portfolio: &PortfolioAddress::Id(PortfolioId(7)),
            query_string: "?range=1m",
        };
        let figures = shown.measures();
        assert!(figures.iter().chain(&shown.results()).all(|row| row.note.ends_with('.')), "{figures:?}");
        let of = |label: &str| figures.iter().find(|row| row.label == label).unwrap();
        assert_eq!(of("Worst day").value.as_deref(), Some("−10.00%"));
        assert_eq!(of("Worst day").note, "On 23 Nov 2026.");
        assert_eq!(of("Worst day").href, "/portfolios/7/explain/worst_day?range=1m");
        assert_eq!(
            (&of("Sharpe ratio").value, of("Sharpe ratio").note.contains("20 daily returns")),
            (&None, true)
        );
        assert!(shown.comparison().is_none());
        assert_eq!([number(-0.001), number(-1.5)], ["0.00", "−1.50"]);
    }

    #[test]
    fn a_benchmark_that_starts_late_says_what_to_do() {
        let close = |date: &str, value: &str, flow: &str| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        let window = [close("2026-11-20", "1000", "1000"), close("2026-11-23", "900", "0")];
        let analysis = Analysis::new(None, &window, Settings::new(Calendar::Xnys, 0.0))
            .with_benchmark(Benchmark::new("SPY".parse().unwrap(), &[], []));
        let measures = analysis.measures();
        let shown = Figures {
            analysis: &analysis,
            measures: &measures,
            portfolio: &PortfolioAddress::Id(PortfolioId(7)),
            query_string: "",
        };
        let late = shown.comparison().unwrap().late.unwrap();
        assert!(late.contains("There are no prices of the benchmark") && late.contains("100 days"), "{late}");
    }
}
