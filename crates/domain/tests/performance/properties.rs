//! Invariants that hold for every portfolio.

use std::sync::Arc;

use domain::past_books::PastBooks;
use domain::performance::{
    Analysis, Benchmark, Close, ClosedDays, Contributions, Explanation, Measure, Measures, Series, Settings,
    Value, twr_until_last_day,
};
use domain::{Bar, Calendar, Money, Price};
use proptest::prelude::*;

use crate::portfolio::{DayPlan, Manner, PLAIN, STOCKS, carried_out, plans, window};
use crate::reference::close_to;

fn gains(measures: &Measures) -> &Contributions {
    measures.contributions.as_ref().unwrap()
}

/// Plans of 2 to 39 days, with two days in them, the first before the second.
fn plans_with_window() -> impl Strategy<Value = (Vec<DayPlan>, usize, usize)> {
    plans(2..40).prop_flat_map(|plan| {
        let days = plan.len();
        (Just(plan), 0..days).prop_flat_map(move |(plan, first)| (Just(plan), Just(first), first + 1..=days))
    })
}

proptest! {
    /// The gain equals realized + change of unrealized + dividends − fees, and the sum of all contributions and the
    /// part of cash, to the cent and in any window.
    #[test]
    fn gains_by_origin_add_up_to_the_gain((plan, first, end) in plans_with_window()) {
        let days = carried_out(&plan, PLAIN);
        let analysis = window(&days, first, end);
        let measures = analysis.measures();
        let found = gains(&measures);
        let fees: Money = days[first..end]
            .iter()
            .flat_map(|day| &day.entries)
            .filter(|entry| entry.transaction_type == domain::TransactionType::Fee)
            .map(|entry| entry.amount.clone())
            .sum();
        prop_assert_eq!(&found.cash, &fees);
        prop_assert_eq!(&found.gain, &measures.gain);
        let by_kind = found.realized_pnl.clone() + &found.unrealized_change + &found.dividends + &fees;
        prop_assert_eq!(&by_kind, &measures.gain);
        let by_stock: Money = found.holdings.iter().map(|holding| &holding.gain).sum();
        prop_assert_eq!(by_stock + &found.cash, measures.gain.clone());
        if let Some(dietz) = measures.modified_dietz {
            let parts: f64 = found.holdings.iter().map(|holding| holding.contribution.unwrap()).sum();
            let sum = parts + found.cash_contribution.unwrap();
            prop_assert!(close_to(sum, dietz, 1e-9), "{sum} instead of {dietz}");
        }
    }

    /// An order that fills in two parts gives the same result as one that fills in one part.
    #[test]
    fn splitting_an_order_changes_nothing(plan in plans(2..40)) {
        let whole = window(&carried_out(&plan, PLAIN), 0, plan.len());
        let in_parts = window(&carried_out(&plan, Manner { in_parts: true, ..PLAIN }), 0, plan.len());
        prop_assert_eq!(&whole.series, &in_parts.series);
        let (whole, in_parts) = (whole.measures(), in_parts.measures());
        // A cent of cost may stay with the shares or be removed with them.
        for (one, other) in gains(&whole).holdings.iter().zip(&gains(&in_parts).holdings) {
            prop_assert_eq!(one.stock_id, other.stock_id);
            prop_assert_eq!((&one.gain, &one.dividends), (&other.gain, &other.dividends));
            prop_assert_eq!(one.contribution, other.contribution);
        }
        let forget = |measures: Measures| Measures {
            contributions: None, realized_pnl: None, unrealized_pnl: None, ..measures
        };
        prop_assert_eq!(forget(whole), forget(in_parts));
    }

    /// The figures depend neither on the ids of stocks nor on the order of holdings.
    #[test]
    fn permuting_independent_stocks_changes_nothing(
        plan in plans(2..40), ids in Just([1_i64, 2, 3]).prop_shuffle(),
    ) {
        let plain = window(&carried_out(&plan, PLAIN), 0, plan.len());
        let mut permuted = window(&carried_out(&plan, Manner { ids, ..PLAIN }), 0, plan.len());
        let books = permuted.books.as_mut().unwrap();
        books.end.reverse();
        Arc::make_mut(&mut books.start).reverse();
        let (plain, permuted) = (plain.measures(), permuted.measures());
        prop_assert_eq!(&plain.undefined, &permuted.undefined);
        for (plain_id, permuted_id) in PLAIN.ids.into_iter().zip(ids) {
            let part = |measures: &Measures, id: i64| {
                let found = gains(measures).holdings.iter().find(|part| part.stock_id.0 == id).cloned();
                found.map(|part| (part.gain, part.realized, part.unrealized_change, part.contribution))
            };
            prop_assert_eq!(part(&plain, plain_id), part(&permuted, permuted_id));
        }
        let forget = |measures: Measures| Measures { contributions: None, ..measures };
        prop_assert_eq!(forget(plain), forget(permuted));
    }

    /// The growth of a window is the product of the growths of its parts, and of its months and years.
    #[test]
    fn twr_chains_over_sub_periods(plan in plans(2..40), place in any::<prop::sample::Index>()) {
        let days = carried_out(&plan, PLAIN);
        let middle = place.index(plan.len() - 1) + 1;
        let twr = |first, end| window(&days, first, end).measures().twr.map_or(1.0, |twr| 1.0 + twr);
        let whole = window(&days, 0, plan.len()).measures();
        let growth = 1.0 + whole.twr.unwrap();
        prop_assert!(close_to(twr(0, middle) * twr(middle, plan.len()), growth, 1e-12));
        for parts in [&whole.monthly_returns, &whole.yearly_returns] {
            let chained: f64 = parts.iter().map(|part| 1.0 + part.period_return).product();
            prop_assert!(close_to(chained, growth, 1e-12));
        }
    }

    /// Without price moves and charges there is no return, whatever is deposited, withdrawn and traded.
    #[test]
    fn flows_at_constant_prices_leave_twr_at_zero(plan in plans(2..40)) {
        let still = |day: DayPlan| DayPlan { moves: [0; STOCKS], fee: 0, dividend: None, split: None, ..day };
        let plan: Vec<DayPlan> = plan.into_iter().map(still).collect();
        let days = carried_out(&plan, Manner { commission_cents: 0, ..PLAIN });
        // Market values are rounded to the cent: half a cent for each stock and each trade.
        for day in window(&days, 0, plan.len()).series.days() {
            let gain = day.end_value.clone() - &day.start_value - &day.net_flow;
            prop_assert!(gain.abs() <= Money::from_cents(5), "{gain} on {}", day.date);
        }
    }

    /// Neither a deposit nor a withdrawal on a day without price changes affects the return of the window.
    #[test]
    fn a_flow_at_constant_prices_leaves_twr_unchanged(plan in plans(2..40), cents in 1_i64..100_000_000) {
        let analysis = window(&carried_out(&plan, PLAIN), 0, plan.len());
        let before = analysis.measures();
        let mut closes: Vec<Close> = closes(&analysis);
        let last = closes.last().unwrap().clone();
        for (days, flow) in [(1, Money::from_cents(cents)), (2, -last.total_value.clone())] {
            let value = closes.last().unwrap().total_value.clone() + &flow;
            let date = last.date + chrono::Days::new(days);
            closes.push(Close { date, total_value: value, net_flow: flow });
        }
        let after = Analysis::new(None, &closes, analysis.settings).measures();
        prop_assert_eq!(after.twr, before.twr);
        prop_assert_eq!(after.gain, before.gain);
        prop_assert_eq!(after.max_drawdown.map(|drawdown| drawdown.depth),
            before.max_drawdown.map(|drawdown| drawdown.depth));
    }

    /// The books at an earlier close follow from the current books and the journal since then.
    #[test]
    fn the_books_of_every_close_follow_from_the_journal_after_it(plan in plans(1..40)) {
        let days = carried_out(&plan, PLAIN);
        let now = days.last().unwrap();
        let entries: Vec<_> = days.iter().flat_map(|day| day.entries.clone()).collect();
        for day in &days {
            let midnight = day.close.date.succ_opt().unwrap().and_time(chrono::NaiveTime::MIN).and_utc();
            let past = PastBooks::at(midnight.into(), now.cash.clone(), now.positions.clone(), &entries);
            prop_assert_eq!(&past.cash_balance, &day.cash);
            let reversed: Vec<_> = entries.iter().rev().cloned().collect();
            let same = PastBooks::at(midnight.into(), now.cash.clone(), now.positions.clone(), &reversed);
            prop_assert_eq!(&same, &past);
            let held = day.positions.iter().filter(|(_, position)| !position.quantity.is_zero());
            for (stock, position) in held.clone() {
                let found = &past.positions[stock];
                prop_assert_eq!(&found.quantity, &position.quantity);
                prop_assert_eq!(&found.cost_basis, &position.cost_basis);
            }
            prop_assert_eq!(held.count(), past.positions.len());
        }
    }

    /// A figure is a number or has a reason, both in the measures and in the explanations.
    #[test]
    fn a_measure_is_a_finite_number_or_has_a_reason((plan, first, end) in plans_with_window()) {
        let analysis = window(&carried_out(&plan, PLAIN), first, end);
        let undefined = analysis.measures().undefined;
        for measure in Measure::ALL {
            let Explanation { result, .. } = analysis.explain(*measure);
            let reason = undefined.iter().find(|found| found.measure == *measure).map(|found| &found.reason);
            prop_assert_eq!(result.as_ref().err(), reason, "{}", measure);
            if let Ok(Value::Ratio(number) | Value::Number(number)) = result {
                prop_assert!(number.is_finite(), "{} is {}", measure, number);
            }
        }
    }
}

/// A benchmark whose bars begin `late` days after the portfolio and have a gap of a day here and there.
fn benchmark(first: chrono::NaiveDate, late: u64, cents: &[i64]) -> Benchmark {
    let bar = |(day, cents): (u64, &i64)| {
        let price: Price = Money::from_cents(*cents).to_string().parse().unwrap();
        let [open, high, low, close] = [(); 4].map(|()| price.clone());
        Bar { date: first + chrono::Days::new(late + day), open, high, low, close, volume: 1 }
    };
    let bars: Vec<Bar> = (0..).zip(cents).filter(|(_, cents)| **cents % 7 != 0).map(bar).collect();
    Benchmark::new("SPY".parse().unwrap(), &bars, [])
}

/// The same window from the sums of its days but the last, and that day.
fn continued(analysis: &Analysis) -> Analysis {
    let closed = Arc::new(ClosedDays::of(analysis).unwrap());
    let last = closes(analysis).pop().unwrap();
    Analysis { series: Series::continued(closed, &last), ..analysis.clone() }
}

proptest! {
    /// A window whose closed days are sums has the measures of the whole window, to the last bit and with the same
    /// reasons, whether it begins with the portfolio or later, with money or without, and with any benchmark.
    #[test]
    fn measures_from_sums_are_those_of_all_days(
        (plan, first, end) in plans_with_window(),
        late in 0_u64..4,
        cents in prop::collection::vec(9_000_i64..11_000, 0..50),
        risk_free in prop::sample::select(vec![0.0, 0.03, -0.01]),
        is_compared in any::<bool>(),
    ) {
        let days = carried_out(&plan, PLAIN);
        let mut whole = window(&days, first, end);
        whole.settings = Settings::new(Calendar::Xnys, risk_free);
        if is_compared {
            whole = whole.with_benchmark(benchmark(days[0].close.date, late, &cents));
        }
        let continued = continued(&whole);
        prop_assert_eq!(continued.measures(), whole.measures());
        prop_assert_eq!(twr_until_last_day(&continued.series), twr_until_last_day(&whole.series));
        prop_assert_eq!(continued.series.start_on(), whole.series.start_on());
        prop_assert_eq!(continued.series.last_day(), whole.series.last_day());
    }
}

/// Portfolios that live long enough for every measure to be defined, or to end for a rare reason: everything withdrawn
/// and paid in again, a total loss, and prices that do not move.
#[test]
fn measures_of_years_from_sums_are_those_of_all_days() {
    let first: chrono::NaiveDate = "2023-01-01".parse().unwrap();
    for case in 0..4 {
        let mut value = 1_000_000_i64;
        let mut closes = Vec::new();
        for (day, date) in (0_i64..900).zip(first.iter_days()) {
            let moved = if case == 3 { 0 } else { value / 1000 * ((day * 7919) % 41 - 20) / 10 };
            let flow = match (case, day) {
                (_, 0) => value,
                (1, 300) => -(value + moved),
                (1, 310) => 500_000,
                (_, day) if day % 60 == 0 => 10_000,
                _ => 0,
            };
            value = if day == 0 { value } else { value + moved + flow };
            if (case, day) == (2, 450) {
                value = 0;
            }
            let (total_value, net_flow) = (Money::from_cents(value), Money::from_cents(flow));
            closes.push(Close { date, total_value, net_flow });
        }
        let cents: Vec<i64> = (0_i64..900).map(|day| 10_000 + day + (day * 37) % 211).collect();
        for window in [&closes[..], &closes[1..], &closes[600..], &closes[..400]] {
            let before = closes.iter().take_while(|close| close.date < window[0].date).last();
            let whole = Analysis::new(before, window, Settings::new(Calendar::Xnys, 0.02))
                .with_benchmark(benchmark(first, 0, &cents));
            assert_eq!(continued(&whole).measures(), whole.measures(), "case {case}");
        }
    }
}

fn closes(analysis: &Analysis) -> Vec<Close> {
    let close = |day: &domain::performance::Day| Close {
        date: day.date,
        total_value: day.end_value.clone(),
        net_flow: day.net_flow.clone(),
    };
    analysis.series.days().iter().map(close).collect()
}
