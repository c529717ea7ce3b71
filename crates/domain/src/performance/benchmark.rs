//! A benchmark's total return: a stock or fund with its dividends reinvested.

use std::iter::Peekable;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::performance::{Figure, Formula, Series, Table, UndefinedReason, Value, Workings};
use crate::{Bar, CorporateAction, CorporateActionKind, Symbol};

pub(super) const TWR: Formula = Formula {
    words: "The growth of one share of the benchmark from the close before the window to the last close of the \
            window. Dividends are reinvested at the close of their ex-date, and splits are taken into account.",
    symbols: "benchmark_twr = end_level / start_level − 1, with level = units × close",
    source: "S&P Dow Jones Indices, Index Mathematics Methodology: total return index",
};

/// A stock or fund for comparison: its total-return level at each of its closes.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    pub symbol: Symbol,
    /// In order of date. Many portfolios are compared with the same.
    levels: Arc<[Level]>,
    /// One more after `levels`.
    newest: Option<Level>,
}

/// The growth of one share since the first close, by splits and reinvested dividends.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    date: NaiveDate,
    close: f64,
    /// The number of shares that one share at the first close has become.
    units: f64,
}

impl Level {
    fn value(&self) -> f64 {
        self.units * self.close
    }
}

impl Benchmark {
    /// Computes the total-return levels of `bars`, each in the shares of its own session, as traded.
    ///
    /// A split multiplies the units from its ex-date on. A dividend is paid on the shares of its ex-date and buys more
    /// shares at that day's close: `units × (1 + dividend / close)`. If the ex-date has no bar, the next bar's close is
    /// used. Actions up to the first bar are already in its price. Other kinds of actions are ignored.
    pub fn new<'a>(
        symbol: Symbol,
        bars: &[Bar],
        actions: impl IntoIterator<Item = &'a CorporateAction>,
    ) -> Self {
        let mut bars: Vec<&Bar> = bars.iter().collect();
        bars.sort_by_key(|bar| bar.date);
        bars.dedup_by_key(|bar| bar.date);
        let first_on = bars.first().map(|bar| bar.date);
        let mut actions: Vec<&CorporateAction> = actions.into_iter().collect();
        actions.sort_by_key(|action| (action.ex_on, action.precedence()));
        let mut actions = actions.into_iter().skip_while(|action| Some(action.ex_on) <= first_on).peekable();
        let mut units = 1.0;
        let next = |bar: &Bar| {
            let level = level(bar, units, &mut actions);
            units = level.units;
            level
        };
        Self { symbol, levels: bars.into_iter().map(next).collect(), newest: None }
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.levels)
    }

    /// The day of the first close.
    pub fn first_on(&self) -> Option<NaiveDate> {
        self.levels.first().map(|level| level.date)
    }

    /// The day of the last close.
    pub fn last_on(&self) -> Option<NaiveDate> {
        self.last().map(|level| level.date)
    }

    /// The total-return level at the close of a day, or at the last close before it. `None` before the first.
    pub fn level_on(&self, date: NaiveDate) -> Option<f64> {
        self.carried(date).map(Level::value)
    }

    fn last(&self) -> Option<&Level> {
        self.newest.as_ref().or(self.levels.last())
    }

    /// The levels in order of date.
    fn levels(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().chain(&self.newest)
    }

    fn carried(&self, date: NaiveDate) -> Option<&Level> {
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.date <= date) {
            return Some(newest);
        }
        let after = self.levels.partition_point(|level| level.date <= date);
        self.levels.get(after.checked_sub(1)?)
    }

    /// The levels at the start and the end of the window.
    fn start(&self, series: &Series) -> Figure<(&Level, &Level)> {
        let (needed_on, end_on) = series.span()?;
        let late = UndefinedReason::BenchmarkStartsLate { first_on: self.first_on(), needed_on };
        let start = self.carried(needed_on).filter(|level| level.close > 0.0).ok_or(late.clone())?;
        Ok((start, self.carried(end_on).ok_or(late)?))
    }

    /// The benchmark's return since the start of the window, for each of its days; a ratio. For charts.
    ///
    /// # Errors
    /// [`UndefinedReason::BenchmarkStartsLate`] or [`UndefinedReason::NothingInvested`].
    pub fn cumulative(&self, series: &Series) -> Figure<Vec<(NaiveDate, f64)>> {
        let (start, _) = self.start(series)?;
        let since = series.days().iter().skip_while(|day| day.date < start.date);
        let mut levels = self.in_order();
        let grown = |date| Some((date, levels.level_on(date)? / start.value() - 1.0));
        Ok(since.map(|day| day.date).filter_map(grown).collect())
    }

    /// The last value of [`Benchmark::cumulative`], if it is from the last day.
    pub fn until_last_day(&self, series: &Series) -> Option<f64> {
        let (start, end) = self.start(series).ok()?;
        series.end_on().filter(|last| start.date <= *last)?;
        Some(end.value() / start.value() - 1.0)
    }

    pub(super) fn in_order(&self) -> LevelsInOrder<'_> {
        LevelsInOrder { closed: self.levels.iter().peekable(), newest: self.newest.as_ref(), last: None }
    }

    /// As [`Benchmark::in_order`], for days from this one on.
    pub(super) fn in_order_from(&self, date: NaiveDate) -> LevelsInOrder<'_> {
        let before = self.levels.partition_point(|level| level.date < date);
        let (past, coming) = self.levels.split_at(before);
        let newest = self.newest.as_ref();
        LevelsInOrder { closed: coming.iter().peekable(), newest, last: past.last().map(Level::value) }
    }

    /// Checks that the levels reach back to the start of the window.
    pub(super) fn covers(&self, series: &Series) -> Figure<()> {
        self.start(series).map(|_| ())
    }

    /// Returns the benchmark with one more close after the last one, in the shares of its own session.
    #[must_use]
    pub fn with_close<'a>(&self, bar: &Bar, actions: impl IntoIterator<Item = &'a CorporateAction>) -> Self {
        let mut all = self.clone();
        if let Some(last) = self.last().filter(|last| last.date < bar.date) {
            let mut since: Vec<&CorporateAction> =
                actions.into_iter().filter(|action| last.date < action.ex_on).collect();
            since.sort_by_key(|action| (action.ex_on, action.precedence()));
            let newest = level(bar, last.units, &mut since.into_iter().peekable());
            if let Some(before) = all.newest.replace(newest) {
                all.levels = self.levels.iter().cloned().chain([before]).collect();
            }
        }
        all
    }
}

/// [`Benchmark::level_on`] for days in their order, without a search for each.
pub(super) struct LevelsInOrder<'a> {
    closed: Peekable<std::slice::Iter<'a, Level>>,
    newest: Option<&'a Level>,
    last: Option<f64>,
}

impl LevelsInOrder<'_> {
    /// `date` must not be before that of an earlier call.
    pub fn level_on(&mut self, date: NaiveDate) -> Option<f64> {
        while let Some(level) = self.closed.next_if(|level| level.date <= date) {
            self.last = Some(level.value());
        }
        if let Some(newest) = self.newest.take_if(|newest| newest.date <= date) {
            self.last = Some(newest.value());
        }
        self.last
    }
}

/// The level at a close: `units` are those of the previous level, changed by the actions since. Later actions are left
/// in the iterator.
fn level<'a>(
    bar: &Bar,
    mut units: f64,
    actions: &mut Peekable<impl Iterator<Item = &'a CorporateAction>>,
) -> Level {
    let close = bar.close.to_f64();
    let mut cash = 0.0;
    while let Some(action) = actions.next_if(|action| action.ex_on <= bar.date) {
        match &action.kind {
            CorporateActionKind::CashDividend { amount, .. } => cash += units * amount.to_f64(),
            CorporateActionKind::Split { numerator, denominator } => {
                units *= f64::from(numerator.get()) / f64::from(denominator.get());
            }
            CorporateActionKind::SymbolChange { .. }
            | CorporateActionKind::Delisting
            | CorporateActionKind::CloseOut(_) => {}
        }
    }
    Level { date: bar.date, close, units: units + cash / close }
}

/// The benchmark's total return from [`Series::start_on`] to the last day of the window, a ratio.
///
/// # Errors
/// [`UndefinedReason::NoBenchmark`], [`UndefinedReason::BenchmarkStartsLate`] or [`UndefinedReason::NothingInvested`].
pub fn benchmark_twr(series: &Series, benchmark: Option<&Benchmark>, work: &mut Workings) -> Figure {
    let benchmark = benchmark.ok_or(UndefinedReason::NoBenchmark)?;
    work.input("benchmark", "Benchmark", || Value::Symbol(benchmark.symbol.clone()));
    let (start, end) = benchmark.start(series)?;
    work.input("benchmark_closes", "Closes of the benchmark", || {
        let columns = [("date", "Date"), ("close", "Close"), ("units", "Units with dividends reinvested")];
        let row = |level: &Level| {
            vec![Value::Date(level.date), Value::Number(level.close), Value::Number(level.units)]
        };
        let levels = benchmark.levels();
        let in_window = levels.filter(|level| start.date <= level.date && level.date <= end.date);
        Value::Table(Table::new(&columns, in_window.map(row)))
    });
    work.number("start_level", "Units × close at the start", start.value());
    work.number("end_level", "Units × close at the end", end.value());
    Ok(end.value() / start.value() - 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::PerShare;
    use crate::performance::series::tests::series;
    use std::num::NonZeroU32;

    pub fn bar(date: &str, close: &str) -> Bar {
        let price: crate::Price = close.parse().unwrap();
        Bar {
            date: date.parse().unwrap(),
            open: price.clone(),
            high: price.clone(),
            low: price.clone(),
            close: price,
            volume: 1,
        }
    }

    pub fn dividend(ex_on: &str, amount: &str) -> CorporateAction {
        let amount: PerShare = amount.parse().unwrap();
        let ex_on = ex_on.parse().unwrap();
        let kind = CorporateActionKind::CashDividend { amount, pays_on: ex_on };
        CorporateAction::new("SPY".parse().unwrap(), ex_on, kind)
    }

    pub fn split(ex_on: &str, numerator: u32, denominator: u32) -> CorporateAction {
        let number = |number| NonZeroU32::new(number).unwrap();
        let kind =
            CorporateActionKind::Split { numerator: number(numerator), denominator: number(denominator) };
        CorporateAction::new("SPY".parse().unwrap(), ex_on.parse().unwrap(), kind)
    }

    pub fn benchmark(bars: &[Bar], actions: &[CorporateAction]) -> Benchmark {
        Benchmark::new("SPY".parse().unwrap(), bars, actions)
    }

    fn level(benchmark: &Benchmark, date: &str) -> f64 {
        benchmark.level_on(date.parse().unwrap()).unwrap()
    }

    #[test]
    fn dividends_are_reinvested_at_the_close_of_the_ex_date() {
        let bars = [bar("2026-01-01", "100"), bar("2026-01-02", "98"), bar("2026-01-03", "99")];
        let total = benchmark(&bars, &[dividend("2026-01-02", "2")]);
        // A price of 98 plus a dividend of 2 is no change; then the 1 + 2/98 units grow with the price.
        assert!((level(&total, "2026-01-02") - 100.0).abs() < 1e-12);
        assert!((level(&total, "2026-01-03") - 100.0 * 99.0 / 98.0).abs() < 1e-12);
    }

    #[test]
    fn a_split_changes_the_units_and_not_the_level() {
        let bars = [bar("2026-01-01", "100"), bar("2026-01-02", "25"), bar("2026-01-03", "24")];
        let actions = [split("2026-01-02", 4, 1), dividend("2026-01-02", "1")];
        let total = benchmark(&bars, &actions);
        // Four shares at 25 with a dividend of 1 each: 104.
        assert!((level(&total, "2026-01-02") - 104.0).abs() < 1e-12);
    }

    #[test]
    fn actions_within_a_gap_are_applied_in_order_at_the_next_bar() {
        let bars = [bar("2026-01-01", "100"), bar("2026-01-06", "50")];
        let actions = [split("2026-01-04", 2, 1), dividend("2026-01-03", "3"), dividend("2026-01-05", "1")];
        let total = benchmark(&bars, &actions);
        assert_eq!(level(&total, "2026-01-05"), 100.0);
        // One share paid a dividend of 3; after the split each of the two shares paid 1, and they are worth 100.
        assert!((level(&total, "2026-01-06") - 105.0).abs() < 1e-12);
    }

    #[test]
    fn a_close_that_is_added_later_gives_the_same_levels() {
        let bars = [bar("2026-01-01", "100"), bar("2026-01-02", "50"), bar("2026-01-05", "26")];
        let actions = [
            dividend("2026-01-02", "1"),
            dividend("2026-01-05", "0.50"),
            split("2026-01-03", 2, 1),
            dividend("2026-01-06", "9"),
        ];
        let grown = benchmark(&bars[..2], &actions).with_close(&bars[2], &actions);
        let all = benchmark(&bars, &actions);
        assert!(grown.levels().eq(all.levels()), "{grown:?}");
        let mut in_order = grown.in_order();
        for bar in &bars {
            assert_eq!(
                (grown.level_on(bar.date), in_order.level_on(bar.date)),
                (all.level_on(bar.date), all.level_on(bar.date))
            );
            let mut from_here = grown.in_order_from(bar.date);
            assert_eq!(from_here.level_on(bar.date), all.level_on(bar.date));
        }
        let one_by_one = benchmark(&bars[..1], &actions).with_close(&bars[1], &actions);
        assert!(one_by_one.with_close(&bars[2], &actions).levels().eq(all.levels()));
        // A close that is not after the last one changes nothing.
        assert_eq!(grown.with_close(&bars[1], &actions), grown);
        assert_eq!(benchmark(&[], &[]).with_close(&bars[1], &actions), benchmark(&[], &[]));
    }

    #[test]
    fn actions_up_to_the_first_bar_are_in_its_price() {
        let bars = [bar("2026-01-02", "100"), bar("2026-01-03", "100")];
        let total = benchmark(&bars, &[split("2026-01-02", 2, 1), dividend("2026-01-01", "5")]);
        assert_eq!(
            (level(&total, "2026-01-03"), total.level_on("2026-01-01".parse().unwrap())),
            (100.0, None)
        );
    }

    #[test]
    fn the_benchmark_grows_from_the_start_of_the_window() {
        let series = series(&[("1000", "1000"), ("1100", "0"), ("1210", "0")]);
        let bars = [bar("2025-12-31", "50"), bar("2026-01-01", "100"), bar("2026-01-02", "110")];
        let total = benchmark(&bars, &[]);
        let twr = benchmark_twr(&series, Some(&total), &mut Workings::off()).unwrap();
        assert!((twr - 0.1).abs() < 1e-12);
        let cumulative = total.cumulative(&series).unwrap();
        assert_eq!((cumulative.len(), cumulative[0].1), (3, 0.0));
    }

    #[test]
    fn a_missing_or_late_benchmark_is_undefined() {
        let series = series(&[("1000", "1000"), ("1100", "0")]);
        let late = benchmark(&[bar("2026-01-02", "100")], &[]);
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let reason = |benchmark| benchmark_twr(&series, benchmark, &mut Workings::off()).unwrap_err();
        let needed_on = day("2026-01-01");
        let first_on = Some(day("2026-01-02"));
        assert_eq!(reason(Some(&late)), UndefinedReason::BenchmarkStartsLate { first_on, needed_on });
        let none = benchmark(&[], &[]);
        let first_on = None;
        assert_eq!(reason(Some(&none)), UndefinedReason::BenchmarkStartsLate { first_on, needed_on });
        assert_eq!(reason(None), UndefinedReason::NoBenchmark);
    }
}
