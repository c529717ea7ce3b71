//! What-if comparison: the same deposits and withdrawals invested in the benchmark.

use crate::Money;
use crate::performance::{Benchmark, Figure, Formula, Series, Table, UndefinedReason, Value, Workings};

pub(super) const FORMULA: Formula = Formula {
    words: "What the portfolio would be worth if its value at the start and every deposit had bought the benchmark \
            at the close of its day, and every withdrawal had sold it. Dividends are reinvested; commissions are \
            left out.",
    symbols: "end_value = units × end_level, with units = Σ flow / level; difference = portfolio − end_value",
    source: "Long and Nickels, A private investment benchmark, 1996: public market equivalent",
};

/// A portfolio with the same cash flows that held only the benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIf {
    /// The value of this portfolio at the end, rounded half-even to the cent.
    pub end_value: Money,
    /// The portfolio's value at the end less `end_value`: positive if the portfolio did better.
    pub difference: Money,
}

/// The benchmark's value at the end if the start value and all flows had been invested in it at the closes of their
/// days. Computed with `f64` and rounded once, at the end; it is a statistic and not part of the books.
///
/// # Errors
/// [`UndefinedReason::BenchmarkExhausted`] if withdrawals exceeded the benchmark's value, and the errors of
/// [`crate::performance::benchmark_twr`].
pub fn what_if(series: &Series, benchmark: Option<&Benchmark>, work: &mut Workings) -> Figure<WhatIf> {
    let benchmark = benchmark.ok_or(UndefinedReason::NoBenchmark)?;
    work.input("benchmark", "Benchmark", || Value::Symbol(benchmark.symbol.clone()));
    let (needed_on, end_on) = series.span()?;
    let late = || UndefinedReason::BenchmarkStartsLate { first_on: benchmark.first_on(), needed_on };
    let mut flows = Vec::new();
    if let Some(before) = series.before.as_ref().filter(|before| !before.total_value.is_zero()) {
        flows.push((before.date, &before.total_value));
    }
    flows.extend(series.flows());
    let mut units = 0.0;
    let mut rows = Vec::new();
    let mut exhausted = None;
    for (date, flow) in flows {
        let level = benchmark.level_on(date).ok_or_else(late)?;
        units += flow.to_f64() / level;
        if work.is_on() {
            rows.push(vec![Value::Date(date), Value::Money(flow.clone()), Value::Number(level)]);
        }
        let shortfall = -units * level;
        if shortfall >= HALF_A_CENT {
            let shortfall = cents(shortfall)?;
            exhausted = Some(UndefinedReason::BenchmarkExhausted { on: date, shortfall });
            break;
        }
        units = units.max(0.0);
    }
    work.input("flows", "Value at the start, deposits and withdrawals", || {
        let columns = [("date", "Date"), ("flow", "Amount"), ("level", "Level of the benchmark")];
        Value::Table(Table::new(&columns, rows))
    });
    work.input("portfolio_end_value", "Portfolio at the end", || Value::Money(series.end_value()));
    work.number("units", "Units of the benchmark at the end", units);
    if let Some(exhausted) = exhausted {
        return Err(exhausted);
    }
    let level = work.number("end_level", "Level at the end", benchmark.level_on(end_on).ok_or_else(late)?);
    let end_value = cents(units * level)?;
    work.step("end_value", "Benchmark at the end", || Value::Money(end_value.clone()));
    Ok(WhatIf { difference: series.end_value() - &end_value, end_value })
}

const HALF_A_CENT: f64 = 0.005;

/// Rounds half-even to the cent.
fn cents(amount: f64) -> Figure<Money> {
    format!("{amount:.2}").parse().map_err(|_| UndefinedReason::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::benchmark::tests::{bar, benchmark, dividend};
    use crate::performance::series::tests::{closes, series};

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    /// 1000 buys 10 units at 100, 550 more buys 5 at 110, 360 sells 3 at 120: 12 units at 130.
    #[test]
    fn flows_buy_and_sell_at_the_closes_of_their_days() {
        let series = series(&[("1000", "1000"), ("1500", "550"), ("1200", "-360"), ("1500", "0")]);
        let bars = ["100", "110", "120", "130"];
        let bars: Vec<_> =
            bars.iter().zip(1..).map(|(close, day)| bar(&format!("2026-01-0{day}"), close)).collect();
        let twin = what_if(&series, Some(&benchmark(&bars, &[])), &mut Workings::off()).unwrap();
        assert_eq!((twin.end_value, twin.difference), (money("1560.00"), money("-60.00")));
    }

    #[test]
    fn the_start_value_is_invested_and_dividends_are_reinvested() {
        let all = closes(&[("1000", "1000"), ("1100", "0"), ("1100", "0")]);
        let series = Series::new(Some(&all[0]), &all[1..]);
        let bars = [bar("2026-01-01", "100"), bar("2026-01-02", "98")];
        let benchmark = benchmark(&bars, &[dividend("2026-01-02", "2")]);
        let twin = what_if(&series, Some(&benchmark), &mut Workings::off()).unwrap();
        assert_eq!((twin.end_value, twin.difference), (money("1000.00"), money("100.00")));
    }

    #[test]
    fn withdrawals_beyond_the_benchmarks_value_are_undefined() {
        let series = series(&[("1000", "1000"), ("500", "-1000"), ("500", "0")]);
        let bars = [bar("2026-01-01", "100"), bar("2026-01-02", "90")];
        let reason = what_if(&series, Some(&benchmark(&bars, &[])), &mut Workings::off());
        let on = series.days[1].date;
        let shortfall = money("100");
        assert_eq!(reason, Err(UndefinedReason::BenchmarkExhausted { on, shortfall }));
    }

    #[test]
    fn an_emptied_benchmark_can_be_refunded() {
        let series = series(&[("1000", "1000"), ("0", "-1033.33"), ("0", "0"), ("200", "200"), ("210", "0")]);
        let bars = [bar("2026-01-01", "300"), bar("2026-01-02", "310"), bar("2026-01-05", "620")];
        let twin = what_if(&series, Some(&benchmark(&bars, &[])), &mut Workings::off()).unwrap();
        assert_eq!(twin.end_value, money("400.01"));
    }
}
