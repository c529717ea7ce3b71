//! A cache of the closed days of windows that end now: only the last point of such a window changes.
//!
//! A window is used only if the database confirms the version of the portfolio and of its snapshots. Late and corrected
//! snapshots, deposits, corrections of the journal and a new benchmark therefore take effect immediately, even if
//! another process made the change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::NaiveDate;
use domain::performance::{BookSums, BookedHolding, ClosedDays};
use domain::{Money, PortfolioId, StockId, Symbol};
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::books::cache::Version;
use crate::books::closed_benchmarks::ClosedBenchmark;
use crate::books::performance::Window;
use crate::books::sweeper::Sweeper;

/// How long a window is cached. Symbols, and the closing prices at the start of the window, which real sources may
/// correct, are not part of the versions.
const CACHE_TTL: Duration = Duration::from_secs(60);

/// The most windows that are read from the database at a time. Five years take two megabytes until they are sums, and more
/// readers than processors are not faster.
const READS_AT_ONCE: usize = 4;
/// How long a read waits for its turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// The request that a cached window answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WindowKey {
    pub portfolio: PortfolioId,
    pub window: Window,
    /// The benchmark that the caller chose instead of the portfolio's.
    pub benchmark: Option<Symbol>,
    /// How the caller writes the points.
    pub form: PointsForm,
}

/// How the closed points of a window are written. Each form is kept for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointsForm {
    Plain,
    Compressed,
}

/// The books of a window, without the current holdings.
#[derive(Debug, Clone)]
pub(super) struct ClosedBooks {
    pub start: Arc<[BookedHolding]>,
    pub sums: Arc<BookSums>,
    /// Dividends owed now, by stock.
    pub receivable: BTreeMap<StockId, Money>,
    pub symbols: Arc<BTreeMap<StockId, Symbol>>,
}

/// A window in memory.
#[derive(Debug)]
pub(super) struct ClosedWindow {
    pub version: Version,
    /// The day of the last point.
    pub today: NaiveDate,
    pub days: Arc<ClosedDays>,
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
        size_of::<Self>() + self.days.size() + self.points.len() + entries * ENTRY
    }
}

/// The most recently used windows, up to a number of bytes.
pub(super) struct ClosedWindows {
    windows: Cache<WindowKey, Arc<ClosedWindow>>,
    hits: AtomicU64,
    sweeper: Sweeper,
    reads: Semaphore,
}

impl ClosedWindows {
    pub fn new(max_bytes: u64) -> Self {
        let weight =
            |_: &WindowKey, window: &Arc<ClosedWindow>| u32::try_from(window.size()).unwrap_or(u32::MAX);
        let windows = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weight)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(CACHE_TTL)
            .build();
        Self {
            windows,
            hits: AtomicU64::new(0),
            sweeper: Sweeper::default(),
            reads: Semaphore::new(READS_AT_ONCE),
        }
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
        self.sweeper.sweep(&self.windows);
    }

    /// The turn to read a window from the database, if nobody waits for one.
    pub fn turn_now(&self) -> Option<SemaphorePermit<'_>> {
        self.reads.try_acquire().ok()
    }

    /// Waits for the turn to read a window from the database. Without one after a while the caller reads it all the same,
    /// and the database decides.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(PATIENCE, self.reads.acquire()).await.ok()?.ok()
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
