//! The books: portfolios, cash, the journal, valuations, performance, snapshots, and their verification and repair.

pub mod analysis;
pub(crate) mod cache;
mod closed_benchmarks;
mod closed_windows;
pub mod concentration;
mod explain;
pub mod import;
pub mod overview;
pub mod performance;
pub mod portfolios;
pub mod repair;
pub mod sharing;
pub mod snapshots;
mod sweeper;
pub mod transactions;
pub mod valuation;
pub mod verify;
mod window_books;

use std::sync::Arc;

use domain::Money;
use persistence::Store;

use crate::Market;
use crate::cache_size::CacheSize;
use crate::corporate_actions::CorporateActions;
use crate::events::Events;
use crate::market::instruments::Instruments;
use crate::stocks::Stocks;
use cache::{CacheEntry, Versions};
use closed_benchmarks::ClosedBenchmarks;
use closed_windows::ClosedWindows;

/// The settings of the books.
#[derive(Debug, Clone)]
pub(crate) struct BooksConfig {
    /// The starting cash of a new portfolio, unless its owner chooses another amount.
    pub starting_cash: Money,
    /// The risk-free rate, as a ratio per year.
    pub risk_free: f64,
    /// The most bytes of closed days that are cached in memory.
    pub performance_cache_bytes: u64,
}

/// The use cases of the books. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Books {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    stocks: Arc<Stocks>,
    corporate_actions: Arc<CorporateActions>,
    events: Arc<Events>,
    config: Arc<BooksConfig>,
    versions: Arc<Versions>,
    owners: sharing::Owners,
    kept_holdings: Arc<CacheEntry<Arc<valuation::Loaded>>>,
    kept_pages: Arc<CacheEntry<Arc<transactions::NewestPage>>>,
    closed_windows: Arc<ClosedWindows>,
    closed_benchmarks: Arc<ClosedBenchmarks>,
}

impl Books {
    pub(crate) fn new(
        (store, market, instruments): (Store, Arc<Market>, Arc<Instruments>),
        stocks: Arc<Stocks>,
        corporate_actions: Arc<CorporateActions>,
        events: Arc<Events>,
        config: BooksConfig,
    ) -> Self {
        Self {
            versions: Arc::new(Versions::new(store.clone())),
            owners: sharing::owners(),
            kept_holdings: Arc::new(CacheEntry::new()),
            kept_pages: Arc::new(CacheEntry::new()),
            closed_windows: Arc::new(ClosedWindows::new(config.performance_cache_bytes)),
            closed_benchmarks: Arc::default(),
            config: Arc::new(config),
            store,
            market,
            instruments,
            stocks,
            corporate_actions,
            events,
        }
    }

    /// Returns the same use cases with a longer database timeout, for jobs.
    pub(crate) fn for_jobs(&self) -> Self {
        Self {
            store: self.store.for_jobs(),
            instruments: Arc::new(self.instruments.for_jobs()),
            stocks: Arc::new(self.stocks.for_jobs()),
            corporate_actions: Arc::new(self.corporate_actions.for_jobs()),
            ..self.clone()
        }
    }

    /// The starting cash of a new portfolio, unless its owner chooses another amount.
    pub fn starting_cash(&self) -> &Money {
        &self.config.starting_cash
    }

    /// The caches of this process, as metrics show them.
    pub(crate) fn caches(&self) -> [CacheSize; 6] {
        let (stocks, stock_bytes) = self.instruments.remembered_stocks();
        let (owners, owner_bytes) = sharing::cached(&self.owners);
        [
            CacheSize::new("stocks", stocks as u64, stock_bytes as u64),
            CacheSize::new("portfolio_owners", owners, owner_bytes),
            CacheSize::new("holdings", self.kept_holdings.len(), self.kept_holdings.bytes()),
            CacheSize::new("transaction_pages", self.kept_pages.len(), self.kept_pages.bytes()),
            CacheSize::new("performance_windows", self.closed_windows.len(), self.closed_windows.bytes()),
            self.closed_benchmarks.size(),
        ]
    }

    /// How many windows were answered from memory.
    pub fn windows_from_memory(&self) -> u64 {
        self.closed_windows.hits()
    }

    /// The newest versions of portfolios.
    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }
}
