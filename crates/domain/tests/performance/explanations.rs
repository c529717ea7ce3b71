//! Recomputes every figure from only its explanation, as a reader with a calculator would.

use chrono::{Datelike, NaiveDate};
use domain::performance::{Analysis, Explanation, Measure, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::portfolio::{PLAIN, carried_out, plans, window};
use crate::reference::{cases, close_to};

/// An explanation as shown to readers.
struct Shown<'a>(&'a Explanation);

impl Shown<'_> {
    fn number(&self, name: &str) -> f64 {
        let found = self.0.value(name).and_then(Value::to_f64);
        found.unwrap_or_else(|| panic!("{} does not show {name}", self.0.measure))
    }

    fn cells(&self, table: &str, column: &str) -> Vec<Value> {
        let Some(Value::Table(table)) = self.0.value(table) else {
            panic!("{} does not show the table {table}", self.0.measure)
        };
        table.column(column).unwrap().into_iter().cloned().collect()
    }

    fn column(&self, table: &str, column: &str) -> Vec<f64> {
        self.cells(table, column).iter().map(|cell| cell.to_f64().unwrap()).collect()
    }

    fn dates(&self, table: &str, column: &str) -> Vec<NaiveDate> {
        let date = |cell: &Value| match cell {
            Value::Date(date) => *date,
            other => panic!("{other:?} is no date"),
        };
        self.cells(table, column).iter().map(date).collect()
    }

    /// Daily returns with their dates. Each must follow from the values and flows.
    fn dated_returns(&self) -> Vec<(NaiveDate, f64)> {
        let flows = self.column("days", "net_flow");
        let (starts, ends) = (self.column("days", "start_value"), self.column("days", "end_value"));
        let mut returns = Vec::new();
        for (place, date) in self.dates("days", "date").into_iter().enumerate() {
            let base = starts[place] + flows[place].max(0.0);
            let shown = self.cells("days", "daily_return")[place].to_f64();
            assert_eq!(shown.is_some(), base > 0.0, "{date}");
            if let Some(shown) = shown {
                let own = (ends[place] + (-flows[place]).max(0.0)) / base - 1.0;
                assert!(close_to(own, shown, 1e-12), "{date}: {own} instead of {shown}");
                // A return of exactly zero, computed from exact amounts, is not exactly zero after adding floats.
                returns.push((date, shown));
            }
        }
        returns
    }

    fn returns(&self) -> Vec<f64> {
        self.dated_returns().into_iter().map(|(_, r)| r).collect()
    }

    fn excess(&self) -> Vec<f64> {
        let daily = (1.0 + self.number("risk_free")).powf(1.0 / self.number("periods_per_year")) - 1.0;
        assert!(close_to(self.number("daily_risk_free"), daily, 1e-9));
        self.returns().iter().map(|r| r - daily).collect()
    }

    fn pairs(&self) -> (Vec<f64>, Vec<f64>) {
        (self.column("returns", "daily_return"), self.column("returns", "benchmark_return"))
    }

    /// Growth index of each day, and its highest value so far, from 1.
    fn index(&self) -> Vec<(NaiveDate, f64, f64)> {
        let (mut growth, mut high) = (1.0_f64, 1.0_f64);
        let grow = |(date, r)| {
            growth *= 1.0 + r;
            high = high.max(growth);
            (date, growth, high)
        };
        self.dated_returns().into_iter().map(grow).collect()
    }

    fn average_capital(&self, start_value: f64) -> f64 {
        let (flows, weights) = (self.column("weights", "net_flow"), self.column("weights", "weight"));
        start_value + flows.iter().zip(weights).map(|(flow, weight)| flow * weight).sum::<f64>()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / n(values)
}

fn n<T>(values: &[T]) -> f64 {
    f64::from(u32::try_from(values.len()).unwrap())
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x), mean(y));
    x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / (n(x) - 1.0)
}

fn deviation(values: &[f64]) -> f64 {
    covariance(values, values).sqrt()
}

fn growth(returns: &[f64]) -> f64 {
    returns.iter().map(|r| 1.0 + r).product()
}

fn downside(excess: &[f64]) -> f64 {
    (excess.iter().filter(|e| **e < 0.0).map(|e| e * e).sum::<f64>() / n(excess)).sqrt()
}

/// Finds the growth per year by bisection, from 10^-300 to 10^300, for flows with one solution.
fn solved(days: &[f64], amounts: &[f64]) -> f64 {
    let value = |log: f64| -> f64 {
        days.iter().zip(amounts).map(|(days, amount)| amount * (-log * days / 365.0).exp()).sum()
    };
    let (mut low, mut high) = (-690.0, 690.0);
    let rising = value(high) > value(low);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if (value(middle) > 0.0) == rising { high = middle } else { low = middle }
    }
    low
}

fn recomputed(shown: &Shown<'_>) -> Vec<f64> {
    let number = |name| shown.number(name);
    let root = || number("periods_per_year").sqrt();
    match shown.0.measure {
        Measure::StartValue => vec![number("start_value")],
        Measure::EndValue => vec![number("end_value")],
        Measure::NetFlow => vec![shown.column("days", "net_flow").iter().sum()],
        Measure::Gain => {
            let flows: f64 = shown.column("days", "net_flow").iter().sum();
            let from = number("end_value") - number("start_value");
            vec![from - flows, from - number("net_flow")]
        }
        Measure::Twr => vec![growth(&shown.returns()) - 1.0, number("growth") - 1.0],
        Measure::AnnualizedReturn => {
            let yearly = |growth: f64| growth.powf(365.0 / number("calendar_days")) - 1.0;
            vec![yearly(growth(&shown.returns())), yearly(1.0 + number("twr"))]
        }
        Measure::Xirr => {
            let (days, amounts) =
                (shown.column("cash_flows", "days"), shown.column("cash_flows", "cash_flow"));
            assert!(
                number("present_value").abs() < 1e-6 * amounts.iter().map(|flow| flow.abs()).sum::<f64>()
            );
            vec![solved(&days, &amounts).exp_m1(), number("log_rate").exp_m1()]
        }
        Measure::Mwr => {
            let (days, amounts) =
                (shown.column("cash_flows", "days"), shown.column("cash_flows", "cash_flow"));
            let years = number("calendar_days") / 365.0;
            assert_eq!(days.last(), Some(&number("calendar_days")));
            vec![(solved(&days, &amounts) * years).exp_m1(), (number("log_rate") * years).exp_m1()]
        }
        Measure::ModifiedDietz => {
            let capital = shown.average_capital(number("start_value"));
            vec![number("gain") / capital, number("gain") / number("average_capital")]
        }
        Measure::Volatility => vec![deviation(&shown.returns()) * root(), number("deviation") * root()],
        Measure::DownsideDeviation => vec![downside(&shown.excess()) * root(), number("deviation") * root()],
        Measure::Sharpe => {
            let excess = shown.excess();
            let steps = number("mean_excess") / number("deviation") * root();
            vec![mean(&excess) / deviation(&excess) * root(), steps]
        }
        Measure::Sortino => {
            let excess = shown.excess();
            let steps = number("mean_excess") / number("deviation") * root();
            vec![mean(&excess) / downside(&excess) * root(), steps]
        }
        Measure::MaxDrawdown => {
            let depths = shown.index().into_iter().map(|(_, growth, high)| growth / high - 1.0);
            vec![depths.fold(0.0, f64::min), number("trough") / number("peak") - 1.0]
        }
        Measure::LongestUnderWater => {
            let date = |name| match shown.0.value(name) {
                Some(Value::Date(date)) => Some(*date),
                _ => None,
            };
            let index = shown.index();
            let last = *shown.dates("days", "date").last().unwrap();
            let from = date("peak_on").unwrap();
            // All days in between are below the high, and the recovery is not.
            let high = number("peak");
            for (day, growth, _) in index.iter().filter(|(day, ..)| *day > from) {
                let is_over = date("recovered_on").is_some_and(|recovered| *day >= recovered);
                assert!(is_over || *growth < high || close_to(*growth, high, 1e-12), "{day}");
            }
            let days = (date("recovered_on").unwrap_or(last) - from).num_days();
            vec![f64::from(i32::try_from(days).unwrap())]
        }
        Measure::Calmar => {
            let depths = shown.index().into_iter().map(|(_, growth, high)| growth / high - 1.0);
            let yearly = growth(&shown.returns()).powf(365.0 / number("calendar_days")) - 1.0;
            let steps = number("annualized_return") / number("max_drawdown").abs();
            vec![yearly / depths.fold(0.0, f64::min).abs(), steps]
        }
        Measure::BestDay => vec![shown.returns().into_iter().fold(f64::MIN, f64::max)],
        Measure::WorstDay => vec![shown.returns().into_iter().fold(f64::MAX, f64::min)],
        Measure::PositiveDays => {
            let returns = shown.returns();
            let rising: Vec<_> = returns.iter().filter(|r| **r > 0.0).collect();
            vec![n(&rising) / n(&returns), number("rising") / number("n")]
        }
        Measure::BenchmarkTwr => {
            let closes = shown.column("benchmark_closes", "close");
            let units = shown.column("benchmark_closes", "units");
            let level = |place: usize| closes[place] * units[place];
            let table = level(closes.len() - 1) / level(0) - 1.0;
            vec![table, number("end_level") / number("start_level") - 1.0]
        }
        Measure::ExcessReturn => {
            let benchmark = number("end_level") / number("start_level");
            vec![growth(&shown.returns()) - benchmark, number("twr") - number("benchmark_twr")]
        }
        Measure::Beta => {
            let (own, other) = shown.pairs();
            let table = covariance(&own, &other) / covariance(&other, &other);
            vec![table, number("covariance") / number("benchmark_variance")]
        }
        Measure::Alpha => {
            let (own, other) = shown.pairs();
            let daily = (1.0 + number("risk_free")).powf(1.0 / number("periods_per_year")) - 1.0;
            let beta = covariance(&own, &other) / covariance(&other, &other);
            let table = mean(&own) - daily - beta * (mean(&other) - daily);
            let steps = number("mean_excess") - number("beta") * number("mean_benchmark_excess");
            vec![table * number("periods_per_year"), steps * number("periods_per_year")]
        }
        Measure::TrackingError => {
            let (own, other) = shown.pairs();
            let differences: Vec<f64> = own.iter().zip(&other).map(|(r, b)| r - b).collect();
            vec![deviation(&differences) * root(), number("deviation") * root()]
        }
        Measure::Correlation => {
            let (own, other) = shown.pairs();
            let table = covariance(&own, &other) / (deviation(&own) * deviation(&other));
            vec![table, number("covariance") / (number("deviation") * number("benchmark_deviation"))]
        }
        Measure::InformationRatio => {
            let (own, other) = shown.pairs();
            let differences: Vec<f64> = own.iter().zip(&other).map(|(r, b)| r - b).collect();
            let yearly = number("mean_difference") * number("periods_per_year");
            vec![mean(&differences) / deviation(&differences) * root(), yearly / number("tracking_error")]
        }
        Measure::WhatIf => {
            let (flows, levels) = (shown.column("flows", "flow"), shown.column("flows", "level"));
            let units: f64 = flows.iter().zip(levels).map(|(flow, level)| flow / level).sum();
            let cents = |amount: f64| (amount * 100.0).round_ties_even() / 100.0;
            let own = number("portfolio_end_value");
            vec![own - cents(units * number("end_level")), own - cents(number("units") * number("end_level"))]
        }
        Measure::RealizedPnl => vec![shown.column("holdings", "realized").iter().sum(), of_entries(shown)],
        Measure::UnrealizedPnl => {
            let (values, costs) = (shown.column("end", "market_value"), shown.column("end", "cost_basis"));
            vec![values.iter().sum::<f64>() - costs.iter().sum::<f64>()]
        }
        Measure::Dividends => {
            let owed = |at| shown.column(at, "receivable").iter().sum::<f64>();
            let types = shown.cells("entries", "type");
            let paid = shown.column("entries", "amount").into_iter().zip(types);
            let paid: f64 =
                paid.filter(|(_, kind)| *kind == Value::Word("dividend")).map(|(amount, _)| amount).sum();
            vec![shown.column("holdings", "dividends").iter().sum(), paid + owed("end") - owed("start")]
        }
        Measure::Commissions => vec![shown.column("trades", "commission").iter().sum()],
        Measure::Turnover => {
            let types = shown.cells("trades", "type");
            let gross = |kind: &'static str| -> f64 {
                let amounts = shown.column("trades", "amount").into_iter();
                let trades = amounts.zip(shown.column("trades", "commission")).zip(&types);
                trades
                    .filter(|(_, of)| **of == Value::Word(kind))
                    .map(|((amount, commission), _)| (amount + commission).abs())
                    .sum()
            };
            let average = mean(&shown.column("days", "end_value"));
            let steps = number("purchases").min(number("sales")) / number("average_value");
            vec![gross("buy").min(gross("sell")) / average, steps]
        }
        Measure::MonthlyReturns | Measure::YearlyReturns | Measure::Contributions => {
            unreachable!("their results are tables")
        }
    }
}

fn of_entries(shown: &Shown<'_>) -> f64 {
    shown.cells("entries", "realized").iter().filter_map(Value::to_f64).sum()
}

/// The realized result, the change of the unrealized result, and the dividends of a stock, from the lines and the
/// holdings.
fn parts_of_gain(shown: &Shown<'_>, stock: &Value) -> [f64; 3] {
    let of_stock = |table: &str, column: &str| -> Vec<Value> {
        let cells = shown.cells(table, "stock").into_iter().zip(shown.cells(table, column));
        cells.filter(|(of, _)| of == stock).map(|(_, cell)| cell).collect()
    };
    let sum =
        |table: &str, column: &str| -> f64 { of_stock(table, column).iter().filter_map(Value::to_f64).sum() };
    let unrealized = |at: &str| sum(at, "market_value") - sum(at, "cost_basis");
    let types = of_stock("entries", "type").into_iter();
    let paid = types.zip(of_stock("entries", "amount"));
    let paid = paid.filter(|(kind, _)| *kind == Value::Word("dividend"));
    let paid: f64 = paid.filter_map(|(_, amount)| amount.to_f64()).sum();
    [
        sum("entries", "realized"),
        unrealized("end") - unrealized("start"),
        paid + sum("end", "receivable") - sum("start", "receivable"),
    ]
}

/// Compares the table in the result row by row.
fn check_table(shown: &Shown<'_>) {
    let Ok(Value::Table(result)) = &shown.0.result else { panic!("{:?}", shown.0.result) };
    let column = |name| -> Vec<f64> {
        result.column(name).unwrap().into_iter().map(|cell| cell.to_f64().unwrap_or(f64::NAN)).collect()
    };
    if shown.0.measure == Measure::Contributions {
        let parts = [column("realized"), column("unrealized_change"), column("dividends")];
        for (row, stock) in result.column("stock").unwrap().into_iter().enumerate() {
            for (part, own) in parts.iter().zip(parts_of_gain(shown, stock)) {
                assert!((part[row] - own).abs() < 0.001, "{stock:?}: {own} instead of {}", part[row]);
            }
        }
        let mut total = shown.number("cash");
        for (row, gain) in column("gain").into_iter().enumerate() {
            let sum: f64 = parts.iter().map(|part| part[row]).sum();
            assert!((sum - gain).abs() < 0.001, "{sum} instead of {gain}");
            let contribution = column("contribution")[row];
            if contribution.is_finite() {
                assert!(close_to(gain / shown.number("average_capital"), contribution, 1e-9));
            }
            total += gain;
        }
        assert!((total - shown.number("gain")).abs() < 0.001);
        return;
    }
    let firsts = result.column("first").unwrap();
    for (first, shown_return) in firsts.into_iter().zip(column("period_return")) {
        let Value::Date(first) = first else { panic!("{first:?}") };
        let is_in = |date: NaiveDate| {
            date.year() == first.year()
                && (shown.0.measure == Measure::YearlyReturns || date.month() == first.month())
        };
        let days = shown.dated_returns().into_iter().filter(|(date, _)| is_in(*date));
        let own = growth(&days.map(|(_, r)| r).collect::<Vec<_>>()) - 1.0;
        assert!(close_to(own, shown_return, 1e-9), "{first}: {own} instead of {shown_return}");
    }
}

/// Recomputes every defined measure and returns their names.
fn check(analysis: &Analysis) -> Vec<Measure> {
    let mut defined = Vec::new();
    for measure in Measure::ALL {
        let explanation = analysis.explain(*measure);
        assert!(!explanation.formula.words.is_empty() && !explanation.formula.source.is_empty());
        let Ok(result) = &explanation.result else { continue };
        defined.push(*measure);
        let shown = Shown(&explanation);
        // Amounts are shown to the cent, and are added here as floats.
        let slack = if matches!(result, Value::Money(_)) { 0.001 } else { 0.0 };
        let Some(result) = result.to_f64() else {
            check_table(&shown);
            continue;
        };
        let tolerance = if *measure == Measure::Xirr || *measure == Measure::Mwr { 1e-7 } else { 1e-9 };
        for own in recomputed(&shown) {
            let agrees = (own - result).abs() <= slack || close_to(own, result, tolerance);
            assert!(agrees, "{measure}: {own} from what is shown, not {result}");
        }
    }
    defined
}

#[test]
fn every_figure_can_be_recomputed_from_its_explanation() {
    let mut explained: Vec<Measure> = cases().iter().flat_map(|case| check(&case.analysis())).collect();
    let plan = plans(30..31).new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap();
    explained.extend(check(&window(&carried_out(&plan.current(), PLAIN), 3, 30)));
    let missing: Vec<_> = Measure::ALL.iter().filter(|measure| !explained.contains(measure)).collect();
    assert!(missing.is_empty(), "no series defines {missing:?}");
}

proptest! {
    #[test]
    fn explanations_of_any_portfolio_add_up(plan in plans(2..40), first in any::<prop::sample::Index>()) {
        let days = carried_out(&plan, PLAIN);
        check(&window(&days, first.index(plan.len()), plan.len()));
    }
}
