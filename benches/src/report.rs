//! The results of the measurements, and the ratios between them.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use diesel::{Connection, PgConnection, RunQueryDsl, sql_types};
use hdrhistogram::Histogram;

use crate::cpu::Meter;

pub const PGBENCH: &str = "pgbench: order";
pub const PGBENCH_ONE_ROW: &str = "pgbench: order on one row";
pub const PGBENCH_POSITIONS: &str = "pgbench: positions";
pub const PGBENCH_TRANSACTIONS: &str = "pgbench: transactions";
pub const ORDERS: &str = "orders";
pub const ONE_PORTFOLIO: &str = "orders on one portfolio";
pub const UNBATCHED: &str = "orders one by one";
pub const DESK: &str = "desk without HTTP";
pub const VALUATION: &str = "valuation";
pub const TRANSACTIONS: &str = "transactions";
pub const PGBENCH_ONE_YEAR: &str = "pgbench: 365 daily rows";
pub const PGBENCH_FIVE_YEARS: &str = "pgbench: 1826 daily rows";
pub const ONE_YEAR: &str = "performance, 1 year";
pub const FIVE_YEARS: &str = "performance, 5 years";
pub const QUOTE: &str = "quote";
pub const SEARCH: &str = "search";
pub const ORDERS_ALONE: &str = "orders, no snapshots";
pub const ORDERS_DURING_SNAPSHOTS: &str = "orders during snapshots";
pub const SQLITE: &str = "SQLite: orders";
pub const SQLITE_ONE_PORTFOLIO: &str = "SQLite: orders on one portfolio";
pub const SQLITE_UNBATCHED: &str = "SQLite: orders one by one";
pub const SQLITE_UNBATCHED_ONE_PORTFOLIO: &str = "SQLite: one by one, one portfolio";

/// The result of one measurement.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Requests or items per second.
    pub rate: f64,
    pub mean_ms: f64,
    /// `None` if only the mean is known.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Processor time of other programs, in seconds.
    pub others_s: f64,
    pub refused: u64,
}

/// Latencies of successful requests, and the number of refused ones.
pub struct Sample {
    micros: Histogram<u32>,
    refused: u64,
    first_refusal: Option<String>,
    pub took: Duration,
}

impl Sample {
    pub fn new() -> Result<Self> {
        let micros = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { micros, refused: 0, first_refusal: None, took: Duration::ZERO })
    }

    pub fn record(&mut self, latency: Duration) {
        self.micros.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn refuse(&mut self, why: impl FnOnce() -> String) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(why);
    }

    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.micros.add(&other.micros)?;
        self.refused += other.refused;
        if self.first_refusal.is_none() {
            self.first_refusal.clone_from(&other.first_refusal);
        }
        Ok(())
    }
}

impl From<Sample> for Run {
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds are far below 2^53")]
    fn from(sample: Sample) -> Self {
        if let Some(refusal) = &sample.first_refusal {
            eprintln!("refused {} times, first with: {refusal}", sample.refused);
        }
        let quantile = |q| Some(sample.micros.value_at_quantile(q) as f64 / 1000.0);
        Self {
            rate: sample.micros.len() as f64 / sample.took.as_secs_f64(),
            mean_ms: sample.micros.mean() / 1000.0,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            others_s: 0.0,
            refused: sample.refused,
        }
    }
}

pub struct Report {
    meter: Meter,
    /// In the order of their first measurement.
    runs: Vec<(String, Vec<Run>)>,
    pub refused: u64,
    /// Other figures with their target values, in the order of measurement.
    figures: Vec<(String, Vec<f64>, &'static str)>,
}

impl Report {
    /// Records a figure that is not a rate.
    pub fn note(&mut self, what: &str, figure: f64, wanted: &'static str) {
        eprintln!("{what:<50} {figure:>9.2}   {wanted}");
        match self.figures.iter_mut().find(|(known, ..)| known == what) {
            Some((_, figures, _)) => figures.push(figure),
            None => self.figures.push((what.to_owned(), vec![figure], wanted)),
        }
    }

    pub fn new(postgres: &str) -> Result<Self> {
        // This backend process lives as long as the connection.
        let mut connection = PgConnection::establish(postgres)?;
        let backend = diesel::select(diesel::dsl::sql::<sql_types::Integer>("pg_backend_pid()"))
            .get_result(&mut connection)?;
        Ok(Self { meter: Meter::new(backend)?, runs: Vec::new(), refused: 0, figures: Vec::new() })
    }

    /// Measures `work` with `count` clients, connections or orders in flight.
    pub fn measure<R: Into<Run>>(
        &mut self,
        what: &str,
        count: usize,
        run: impl FnOnce() -> Result<R>,
    ) -> Result<()> {
        let name = format!("{what}, {count}");
        let before = self.meter.others_s()?;
        let mut run: Run = run()?.into();
        run.others_s = (self.meter.others_s()? - before).max(0.0);
        self.refused += run.refused;
        eprintln!("{}", Line(&name, std::slice::from_ref(&run)));
        match self.runs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, runs)) => runs.push(run),
            None => self.runs.push((name, vec![run])),
        }
        Ok(())
    }

    fn median(&self, what: &str, count: usize, figure: impl Fn(&Run) -> f64) -> Option<f64> {
        let name = format!("{what}, {count}");
        let (_, runs) = self.runs.iter().find(|(known, _)| *known == name)?;
        Some(median(runs.iter().map(figure)))
    }

    fn rate(&self, what: &str, count: usize) -> Option<f64> {
        self.median(what, count, |run| run.rate)
    }

    /// The highest rate over all numbers of clients.
    fn best(&self, what: &str) -> Option<f64> {
        crate::PGBENCH_CLIENTS.iter().filter_map(|clients| self.rate(what, *clients)).reduce(f64::max)
    }

    /// The ratios for which both sides were measured, with their target values.
    fn ratios(&self) -> String {
        let mut lines = String::new();
        let mut ratio = |what: &str, a: Option<f64>, b: Option<f64>, wanted: &str| {
            if let Some((a, b)) = a.zip(b) {
                lines += &format!("{what:<50} {:>6.2}   {wanted}\n", a / b);
            }
        };
        let orders = |connections| self.rate(ORDERS, connections);
        let lone = |what: &str| self.median(what, 1, |run| run.p50_ms.unwrap_or(run.mean_ms));
        let pgbench = self.best(PGBENCH);
        ratio("orders at 128 connections / pgbench", orders(128), pgbench, "at least 2.2, better 3");
        ratio("orders at 32 connections / pgbench", orders(32), pgbench, "at least 1.5");
        let (ours, theirs) = (self.rate(ONE_PORTFOLIO, 128), self.best(PGBENCH_ONE_ROW));
        ratio("orders on one portfolio / pgbench on one row", ours, theirs, "at least 6");
        let ours = self.rate(DESK, crate::desk::IN_FLIGHT);
        ratio("desk without HTTP / pgbench", ours, pgbench, "at least 3");
        ratio("lone order, median time, batching / one by one", lone(ORDERS), lone(UNBATCHED), "at most 1.3");
        ratio("batching / one by one, 128 connections", orders(128), self.rate(UNBATCHED, 128), "");
        let (batching, one_by_one) = (self.rate(SQLITE, 128), self.rate(SQLITE_UNBATCHED, 128));
        ratio("SQLite: batching / one by one, 128 connections", batching, one_by_one, "at least 3");
        let batching = self.rate(SQLITE_ONE_PORTFOLIO, 128);
        let one_by_one = self.rate(SQLITE_UNBATCHED_ONE_PORTFOLIO, 128);
        ratio("SQLite: the same on one portfolio", batching, one_by_one, "at least 3");
        let (ours, theirs) = (self.rate(VALUATION, crate::READERS), self.best(PGBENCH_POSITIONS));
        ratio("valuation of 20 positions / pgbench reading them", ours, theirs, "at least 0.5");
        let (ours, theirs) = (self.rate(TRANSACTIONS, crate::READERS), self.best(PGBENCH_TRANSACTIONS));
        ratio("50 newest transactions / pgbench reading them", ours, theirs, "at least 0.5");
        let (ours, theirs) = (self.rate(ONE_YEAR, crate::READERS), self.best(PGBENCH_ONE_YEAR));
        ratio("performance of 1 year / pgbench reading its rows", ours, theirs, "at least 0.8");
        let (ours, theirs) = (self.rate(FIVE_YEARS, crate::READERS), self.best(PGBENCH_FIVE_YEARS));
        ratio("performance of 5 years / pgbench reading its rows", ours, theirs, "at least 2");
        let (ours, theirs) = (self.rate(QUOTE, crate::READERS), self.rate(SEARCH, crate::READERS));
        ratio("quote / search", ours, theirs, "at least 0.85");
        let during = self.rate(ORDERS_DURING_SNAPSHOTS, crate::READERS);
        let alone = self.rate(ORDERS_ALONE, crate::READERS);
        ratio("orders during snapshots / without", during, alone, "at least 0.7");
        lines
    }
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// One line of the table.
struct Line<'a>(&'a str, &'a [Run]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, runs) = self;
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
        write!(f, "{name:<36} {:>9.0} {:>9.2}", of(|run| run.rate), of(|run| run.mean_ms))?;
        for quantile in [|run: &Run| run.p50_ms, |run: &Run| run.p99_ms] {
            match runs.iter().map(quantile).collect::<Option<Vec<f64>>>() {
                Some(known) => write!(f, " {:>9.2}", median(known.into_iter()))?,
                None => write!(f, " {:>9}", "")?,
            }
        }
        write!(f, " {:>7.1}   ", runs.iter().map(|run| run.others_s).fold(0.0, f64::max))?;
        runs.iter().try_for_each(|run| write!(f, " {:.0}", run.rate))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.figures.is_empty() {
            writeln!(f, "\n{:<50} {:>9}   wanted", "Figures (medians)", "")?;
            for (what, figures, wanted) in &self.figures {
                writeln!(f, "{what:<50} {:>9.2}   {wanted}", median(figures.iter().copied()))?;
            }
        }
        if self.runs.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nMedians. After the comma: clients, connections or orders in flight.")?;
        writeln!(f, "{:<36} {:>9} {:>9} {:>9} {:>9} {:>7}", "", "", "mean", "p50", "p99", "others")?;
        writeln!(
            f,
            "{:<36} {:>9} {:>9} {:>9} {:>9} {:>7}    each round",
            "", "/s", "ms", "ms", "ms", "CPU s"
        )?;
        for (name, runs) in &self.runs {
            writeln!(f, "{}", Line(name, runs))?;
        }
        write!(f, "\n{:<50} {:>6}   wanted\n{}", "Ratios", "", self.ratios())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
    }
}
