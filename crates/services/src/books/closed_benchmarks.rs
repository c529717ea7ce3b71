//! A cache of the closed sessions of benchmarks: many portfolios are compared with the same one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::performance::{Benchmark, Series};
use domain::{Bar, CorporateAction, Symbol, Timestamp, UserId};

use crate::books::Books;
use crate::cache_size::CacheSize;
use crate::error::{Error, Result};

/// Calendar days before the window that contain a close of the benchmark, holidays and weekends included.
const DAYS_BEFORE_WINDOW: Days = Days::new(10);
/// How long an entry is used before its bars are read again. Changes that another process learns late appear after this
/// time.
const CACHE_TTL: TimeDelta = TimeDelta::seconds(2);
/// The most bytes: about 90 benchmarks over five years.
const MAX_BYTES: usize = 4 << 20;

/// A benchmark until the last closed session. If the bars are read again and have not changed, the same `Arc` is
/// returned.
#[derive(Debug, PartialEq)]
pub(super) struct ClosedBenchmark {
    pub closed: Benchmark,
    /// The corporate actions since the last close.
    coming: Vec<CorporateAction>,
}

/// The symbol, the first day, and the day of the current or next session.
type Key = (Symbol, Option<NaiveDate>, NaiveDate);

struct Entry {
    read_at: Timestamp,
    action_count: u64,
    benchmark: Arc<ClosedBenchmark>,
}

#[derive(Default)]
pub(super) struct ClosedBenchmarks(Mutex<HashMap<Key, Entry>>);

impl ClosedBenchmarks {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the entry if it is current. When it is too old, one caller gets `None` and reads the bars again, while
    /// the others still get the old entry.
    fn get(&self, key: &Key, action_count: u64, wall: Timestamp) -> Option<Arc<ClosedBenchmark>> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key).filter(|entry| entry.action_count == action_count)?;
        if !(TimeDelta::zero()..CACHE_TTL).contains(&(wall - entry.read_at)) {
            entry.read_at = wall;
            return None;
        }
        Some(entry.benchmark.clone())
    }

    /// Caches a benchmark. Returns the cached one if it is equal.
    fn insert(
        &self,
        key: Key,
        benchmark: ClosedBenchmark,
        action_count: u64,
        read_at: Timestamp,
    ) -> Arc<ClosedBenchmark> {
        let mut entries = self.entries();
        let is_full = bytes(&entries) + benchmark.closed.size() > MAX_BYTES;
        if is_full && !entries.contains_key(&key) {
            entries.clear();
        }
        let before = entries.get(&key).map(|entry| entry.benchmark.clone());
        let benchmark = before.filter(|before| **before == benchmark).unwrap_or_else(|| Arc::new(benchmark));
        entries.insert(key, Entry { read_at, action_count, benchmark: benchmark.clone() });
        benchmark
    }

    pub fn size(&self) -> CacheSize {
        let entries = self.entries();
        CacheSize::new("benchmarks", entries.len() as u64, bytes(&entries) as u64)
    }
}

fn bytes(entries: &HashMap<Key, Entry>) -> usize {
    entries.values().map(|entry| size_of::<(Key, Entry)>() + entry.benchmark.closed.size()).sum()
}

impl Books {
    /// Returns the closes and actions of a stock or fund from before the window until the last closed session.
    pub(super) async fn closed_benchmark(
        &self,
        user: UserId,
        symbol: &Symbol,
        series: &Series,
        now: Timestamp,
    ) -> Result<Arc<ClosedBenchmark>> {
        let start_on = series.start_on();
        let key = (symbol.clone(), start_on, self.market.calendar.booking_session(now).date);
        let (action_count, wall) =
            (self.corporate_actions.action_counter().count(), self.market.clock.wall());
        if let Some(kept) = self.closed_benchmarks.get(&key, action_count, wall) {
            return Ok(kept);
        }
        let stock = self.instruments.stock_for(Some(user), symbol).await?;
        let listed = stock.listing.symbol.clone();
        let Some(start_on) = start_on else {
            let closed = Benchmark::new(listed, &[], []);
            return Ok(Arc::new(ClosedBenchmark { closed, coming: Vec::new() }));
        };
        let first = start_on.checked_sub_days(DAYS_BEFORE_WINDOW).unwrap_or(start_on);
        let bars = match self.stocks.bars(Some(user), &stock, first, exchange_date(now), now).await {
            Ok(bars) => bars,
            Err(Error::NoPrice { .. } | Error::SourceUnavailable { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let actions = self.corporate_actions.actions_of(&stock, now).await?;
        let closed = Benchmark::new(listed, &bars, &actions);
        let coming =
            actions.into_iter().filter(|action| closed.last_on().is_some_and(|last| last < action.ex_on));
        let benchmark = ClosedBenchmark { coming: coming.collect(), closed };
        Ok(self.closed_benchmarks.insert(key, benchmark, action_count, wall))
    }

    /// Returns a benchmark whose last close is the newest price, if this price is from today and the closes end before
    /// today: the portfolio's last point is valued at current prices too. An older quote does not count as a close,
    /// because it is converted to today's shares and reduced by the dividends since.
    pub(super) async fn benchmark_until(
        &self,
        user: UserId,
        symbol: &Symbol,
        kept: &ClosedBenchmark,
        now: Timestamp,
    ) -> Benchmark {
        let ClosedBenchmark { closed, coming } = kept;
        let Some(last_on) = closed.last_on() else { return closed.clone() };
        let Ok(newest) = self.stocks.quote_for(Some(user), symbol).await else { return closed.clone() };
        let (date, price) = (exchange_date(newest.quote.as_of), newest.quote.price);
        if date != exchange_date(now) || date <= last_on {
            return closed.clone();
        }
        let [open, high, low, close] = [(); 4].map(|()| price.clone());
        closed.with_close(&Bar { date, open, high, low, close, volume: 0 }, coming)
    }
}
