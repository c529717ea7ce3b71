//! A cache of the closed days of windows that end now: only the last point of such a window changes.
//!
//! A window is used only if the database confirms the version of the portfolio and of its snapshots. Late and corrected
//! snapshots, deposits, corrections of the journal and a new benchmark therefore take effect immediately, even if
//! another process made the change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::NaiveDate;
use domain::performance::{BookSums, BookedHolding, Close, Day, Series};
use domain::{Money, PortfolioId, StockId, Symbol};
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use crate::books::cache::Version;
use crate::books::closed_benchmarks::ClosedBenchmark;
use crate::books::performance::Window;

/// How long a window is cached. Symbols, and the closing prices at the start of the window, which real sources may
/// correct, are not part of the versions.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// How often expired windows are removed.
const SWEPT_EVERY: Duration = Duration::from_secs(5);

/// The request that a cached window answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WindowKey {
    pub portfolio: PortfolioId,
    pub window: Window,
    /// The benchmark that the caller chose instead of the portfolio's.
    pub benchmark: Option<Symbol>,
}

/// A day in 32 bytes, a tenth of the size of [`Day`].
#[derive(Debug, Clone, Copy)]
struct ClosedDay {
    date: NaiveDate,
    end_cents: i64,
    flow_cents: i64,
    /// The daily return; NaN for a day without one.
    daily_return: f64,
}

/// The closed days of a window, without the last one.
#[derive(Debug, Clone)]
pub(super) struct ClosedDays {
    before: Option<Close>,
    start_cents: i64,
    days: Box<[ClosedDay]>,
}

impl ClosedDays {
    /// The days of a series except the last. `None` if an amount does not fit.
    pub fn of(series: &Series) -> Option<Self> {
        let start_cents = series.start_value().to_cents()?;
        let (_, closed) = series.days.split_last()?;
        let day = |day: &Day| {
            Some(ClosedDay {
                date: day.date,
                end_cents: day.end_value.to_cents()?,
                flow_cents: day.net_flow.to_cents()?,
                daily_return: day.daily_return.unwrap_or(f64::NAN),
            })
        };
        let days = closed.iter().map(day).collect::<Option<_>>()?;
        Some(Self { before: series.before.clone(), start_cents, days })
    }

    /// Returns the series with `last` as its last day.
    pub fn with_day(&self, last: &Close) -> Series {
        let mut start_cents = self.start_cents;
        let mut days = Vec::with_capacity(self.days.len() + 1);
        days.extend(self.days.iter().map(|day| {
            let start_value = Money::from_cents(std::mem::replace(&mut start_cents, day.end_cents));
            Day {
                date: day.date,
                start_value,
                net_flow: Money::from_cents(day.flow_cents),
                end_value: Money::from_cents(day.end_cents),
                daily_return: Some(day.daily_return).filter(|daily| !daily.is_nan()),
            }
        }));
        Series { before: self.before.clone(), days }.with_day(last)
    }
}

/// The books of a window, without the current holdings.
#[derive(Debug, Clone)]
pub(super) struct ClosedBooks {
    pub start: Vec<BookedHolding>,
    pub sums: BookSums,
    /// Dividends owed now, by stock.
    pub receivable: BTreeMap<StockId, Money>,
    pub symbols: BTreeMap<StockId, Symbol>,
}

/// A window in memory.
#[derive(Debug)]
pub(super) struct ClosedWindow {
    pub version: Version,
    /// The day of the last point.
    pub today: NaiveDate,
    pub days: ClosedDays,
    /// Deposits less withdrawals since the last closed day.
    pub flow_today: Money,
    pub books: ClosedBooks,
    pub benchmark: Arc<ClosedBenchmark>,
    /// The closed days as the caller has serialized them.
    pub points: Arc<[u8]>,
}

impl ClosedWindow {
    /// The bytes that the window takes; the size of maps is estimated.
    fn size(&self) -> usize {
        const ENTRY: usize = 200;
        let ClosedBooks { start, sums, receivable, symbols } = &self.books;
        let entries =
            start.len() + sums.stocks.len() + sums.dividends_by_year.len() + receivable.len() + symbols.len();
        size_of::<Self>()
            + self.days.days.len() * size_of::<ClosedDay>()
            + self.points.len()
            + entries * ENTRY
    }
}

/// The most recently used windows, up to a number of bytes.
pub(super) struct ClosedWindows {
    windows: Cache<WindowKey, Arc<ClosedWindow>>,
    hits: AtomicU64,
    /// Whether a task removes windows that have expired.
    is_swept: Arc<AtomicBool>,
}

impl ClosedWindows {
    pub fn new(most_bytes: u64) -> Self {
        let weight =
            |_: &WindowKey, window: &Arc<ClosedWindow>| u32::try_from(window.size()).unwrap_or(u32::MAX);
        let windows = Cache::builder()
            .max_capacity(most_bytes)
            .weigher(weight)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(KEPT_FOR)
            .build();
        Self { windows, hits: AtomicU64::new(0), is_swept: Arc::default() }
    }

    /// Returns the cached window if it is of this version and day.
    pub async fn get(
        &self,
        key: &WindowKey,
        version: Version,
        today: NaiveDate,
    ) -> Option<Arc<ClosedWindow>> {
        self.windows.get(key).await.filter(|kept| kept.version == version && kept.today == today)
    }

    pub async fn insert(&self, key: WindowKey, window: ClosedWindow) {
        self.windows.insert(key, Arc::new(window)).await;
        self.sweep();
    }

    /// Frees the memory of expired windows even if no window is requested; runs until the cache is empty.
    fn sweep(&self) {
        if self.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let (windows, is_swept) = (self.windows.clone(), self.is_swept.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEPT_EVERY).await;
                windows.run_pending_tasks().await;
                if windows.entry_count() == 0 {
                    is_swept.store(false, Ordering::Release);
                    return;
                }
            }
        });
    }

    /// Counts a window that was answered from memory.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// How many windows were answered from memory.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub fn len(&self) -> u64 {
        self.windows.entry_count()
    }

    /// The bytes of all windows.
    pub fn bytes(&self) -> u64 {
        self.windows.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closes(rows: &[(&str, &str, &str)]) -> Vec<Close> {
        let close = |(date, value, flow): &(&str, &str, &str)| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        rows.iter().map(close).collect()
    }

    #[test]
    fn a_series_is_restored_from_its_closed_days() {
        let all = closes(&[
            ("2026-11-16", "0.00", "0.00"),
            ("2026-11-17", "1000.00", "1000"),
            ("2026-11-18", "1010.10", "0.00"),
            ("2026-11-19", "0", "-1010.10"),
            ("2026-11-20", "500.01", "500"),
        ]);
        for (before, window) in [(None, &all[..]), (all.first(), &all[1..]), (Some(&all[1]), &all[2..])] {
            let series = Series::new(before, window);
            let closed = ClosedDays::of(&series).unwrap();
            assert_eq!(closed.with_day(window.last().unwrap()), series);
        }
        assert!(ClosedDays::of(&Series::new(None, &[])).is_none(), "there is no last day");
    }
}
