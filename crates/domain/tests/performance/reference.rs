//! Compares measures with quantstats, empyrical-reloaded and pyxirr: `data/performance.json`, computed by
//! `scripts/performance-reference`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::performance::{
    Analysis, Benchmark, Close, Measure, Measures, PeriodReturn, Settings, Workings, xirr,
};
use domain::{Bar, CorporateAction, CorporateActionKind, Money, SplitRatio, Symbol};
use serde::Deserialize;
use serde_json::Value as Json;

const CASES: &str = include_str!("../data/performance.json");

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    periods_per_year: u32,
    risk_free: f64,
    before: Option<(NaiveDate, Money)>,
    closes: Vec<(NaiveDate, Money, Money)>,
    benchmark: Option<BenchmarkCase>,
    /// The expected values by measure: null, a number, numbers, or an amount of money in quotes.
    expected: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
struct BenchmarkCase {
    bars: Vec<(NaiveDate, String)>,
    dividends: Vec<(NaiveDate, String)>,
    splits: Vec<(NaiveDate, String)>,
}

pub fn cases() -> Vec<Case> {
    serde_json::from_str(CASES).unwrap()
}

impl Case {
    pub fn analysis(&self) -> Analysis {
        let before = self.before.clone().map(|(date, total_value)| Close {
            date,
            total_value,
            net_flow: Money::zero(),
        });
        let close = |(date, total_value, net_flow): &(NaiveDate, Money, Money)| Close {
            date: *date,
            total_value: total_value.clone(),
            net_flow: net_flow.clone(),
        };
        let closes: Vec<Close> = self.closes.iter().map(close).collect();
        let settings = Settings { periods_per_year: self.periods_per_year, risk_free: self.risk_free };
        let analysis = Analysis::new(before.as_ref(), &closes, settings);
        match &self.benchmark {
            Some(benchmark) => analysis.with_benchmark(benchmark.read()),
            None => analysis,
        }
    }
}

impl BenchmarkCase {
    fn read(&self) -> Benchmark {
        let symbol: Symbol = "SPY".parse().unwrap();
        let bar = |(date, close): &(NaiveDate, String)| {
            let close: domain::Price = close.parse().unwrap();
            let (open, high, low) = (close.clone(), close.clone(), close.clone());
            Bar { date: *date, open, high, low, close, volume: 0 }
        };
        let bars: Vec<Bar> = self.bars.iter().map(bar).collect();
        let dividend = |(ex_on, amount): &(NaiveDate, String)| {
            let kind = CorporateActionKind::CashDividend { amount: amount.parse().unwrap(), pays_on: *ex_on };
            CorporateAction::new(symbol.clone(), *ex_on, kind)
        };
        let split = |(ex_on, ratio): &(NaiveDate, String)| {
            let SplitRatio { numerator, denominator } = ratio.parse().unwrap();
            let kind = CorporateActionKind::Split { numerator, denominator };
            CorporateAction::new(symbol.clone(), *ex_on, kind)
        };
        let actions: Vec<CorporateAction> =
            self.dividends.iter().map(dividend).chain(self.splits.iter().map(split)).collect();
        Benchmark::new(symbol, &bars, &actions)
    }
}

fn figure(analysis: &Analysis, measures: &Measures, name: &str) -> Option<f64> {
    let benchmark = &measures.benchmark;
    match name {
        "twr" => measures.twr,
        "annualized_return" => measures.annualized_return,
        // The measure requires a year; the function does not.
        "xirr" => xirr(&analysis.series, &mut Workings::off()).ok(),
        "mwr" => measures.mwr,
        "volatility" => measures.volatility,
        "downside_deviation" => measures.downside_deviation,
        "sharpe" => measures.sharpe,
        "sortino" => measures.sortino,
        "max_drawdown" => measures.max_drawdown.as_ref().map(|drawdown| drawdown.depth),
        "calmar" => measures.calmar,
        "best_day" => measures.best_day.map(|day| day.daily_return),
        "worst_day" => measures.worst_day.map(|day| day.daily_return),
        "positive_days" => measures.positive_days,
        "benchmark_twr" => benchmark.twr,
        "excess_return" => benchmark.excess_return,
        "beta" => benchmark.beta,
        "alpha" => benchmark.alpha,
        "tracking_error" => benchmark.tracking_error,
        "correlation" => benchmark.correlation,
        "information_ratio" => benchmark.information_ratio,
        other => panic!("the reference has an unknown measure: {other}"),
    }
}

fn figures(measures: &Measures, name: &str) -> Vec<f64> {
    let returns = |periods: &[PeriodReturn]| periods.iter().map(|period| period.period_return).collect();
    match name {
        "monthly_returns" => returns(&measures.monthly_returns),
        "yearly_returns" => returns(&measures.yearly_returns),
        other => panic!("the reference has an unknown measure: {other}"),
    }
}

/// Compares with a relative tolerance, and an absolute one for values that are nearly zero.
pub fn close_to(ours: f64, theirs: f64, tolerance: f64) -> bool {
    (ours - theirs).abs() <= tolerance * theirs.abs() + 1e-12
}

#[test]
fn measures_agree_with_the_reference_libraries() {
    let mut compared: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases() {
        let analysis = case.analysis();
        let measures = analysis.measures();
        for (name, expected) in &case.expected {
            let context = format!("{name} of {}", case.name);
            let tolerance = if name == "xirr" || name == "mwr" { 1e-7 } else { 1e-9 };
            match expected {
                Json::Null if name.ends_with("ly_returns") => assert!(figures(&measures, name).is_empty()),
                Json::Null if name == "what_if" => assert_eq!(measures.what_if, None, "{context}"),
                Json::Null => assert_eq!(figure(&analysis, &measures, name), None, "{context}"),
                Json::Number(theirs) => {
                    let theirs = theirs.as_f64().unwrap();
                    let ours = figure(&analysis, &measures, name)
                        .unwrap_or_else(|| panic!("{context} is undefined"));
                    assert!(close_to(ours, theirs, tolerance), "{context}: {ours} instead of {theirs}");
                }
                Json::Array(theirs) => {
                    let ours = figures(&measures, name);
                    assert_eq!(ours.len(), theirs.len(), "{context}");
                    for (ours, theirs) in ours.iter().zip(theirs) {
                        let theirs = theirs.as_f64().unwrap();
                        assert!(close_to(*ours, theirs, tolerance), "{context}: {ours} instead of {theirs}");
                    }
                }
                Json::String(theirs) => {
                    let ours = measures.what_if.as_ref().map(|twin| twin.end_value.to_string());
                    assert_eq!(ours.as_ref(), Some(theirs), "{context}");
                }
                other => panic!("{context} is {other}"),
            }
            *compared.entry(name.clone()).or_default() += usize::from(!expected.is_null());
        }
    }
    // A measure that no series defines would never be compared.
    let missing: Vec<&String> =
        compared.iter().filter(|(_, times)| **times < 3).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "too few series define {missing:?}");
}

#[test]
fn every_undefined_measure_has_a_reason() {
    let reason = |case: &str, measure: Measure| {
        let case = cases().into_iter().find(|found| found.name == case).unwrap();
        let undefined = case.analysis().measures().undefined;
        undefined.into_iter().find(|found| found.measure == measure).map(|found| found.reason.code())
    };
    for (case, measure, code) in [
        ("total_loss", Measure::Xirr, Some("one_sign_only")),
        ("total_loss", Measure::AnnualizedReturn, Some("shorter_than_a_year")),
        ("total_loss", Measure::Beta, Some("no_benchmark")),
        ("flat_line", Measure::Sharpe, Some("zero_deviation")),
        ("flat_line", Measure::Sortino, Some("no_losing_days")),
        ("flat_line", Measure::Volatility, None),
        ("one_day", Measure::Mwr, Some("too_few_cash_flow_dates")),
        ("no_money", Measure::Twr, Some("nothing_invested")),
        ("nineteen_returns", Measure::Volatility, Some("too_few_returns")),
        ("nineteen_returns", Measure::Turnover, Some("no_books")),
        ("twenty_returns", Measure::Volatility, None),
        ("rise_within_days", Measure::LongestUnderWater, Some("no_drawdown")),
        ("five_years", Measure::Calmar, None),
        ("five_years", Measure::WhatIf, None),
    ] {
        assert_eq!(reason(case, measure), code, "{measure} of {case}");
    }
}
