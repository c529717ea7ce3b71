//! The books: portfolios, cash, the journal, valuations, performance, snapshots, and their verification and repair.

pub mod analysis;
pub(crate) mod cache;
pub mod concentration;
mod explain;
pub mod overview;
pub mod performance;
pub mod portfolios;
pub mod repair;
pub mod sharing;
pub mod snapshots;
pub mod transactions;
pub mod valuation;
pub mod verify;
mod window_books;

use std::sync::Arc;

use domain::Money;
use persistence::Store;

use crate::Market;
use crate::corporate_actions::CorporateActions;
use crate::events::Events;
use crate::market::instruments::Instruments;
use crate::stocks::Stocks;
use cache::{Kept, Versions};

/// The settings of the books.
#[derive(Debug, Clone)]
pub(crate) struct BooksConfig {
    /// What a new portfolio starts with unless its owner says otherwise.
    pub starting_cash: Money,
    /// The risk-free rate, as a ratio per year.
    pub risk_free: f64,
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
    kept_holdings: Arc<Kept<Arc<valuation::Loaded>>>,
    kept_pages: Arc<Kept<Arc<transactions::NewestPage>>>,
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
            kept_holdings: Arc::new(Kept::new()),
            kept_pages: Arc::new(Kept::new()),
            config: Arc::new(config),
            store,
            market,
            instruments,
            stocks,
            corporate_actions,
            events,
        }
    }

    /// The same with more time for each call of the database.
    pub(crate) fn for_jobs(&self) -> Self {
        Self {
            store: self.store.for_jobs(),
            instruments: Arc::new(self.instruments.for_jobs()),
            stocks: Arc::new(self.stocks.for_jobs()),
            corporate_actions: Arc::new(self.corporate_actions.for_jobs()),
            ..self.clone()
        }
    }

    /// What a new portfolio starts with unless its owner says otherwise.
    pub fn starting_cash(&self) -> &Money {
        &self.config.starting_cash
    }

    /// The numbers of cached entries: holdings, and pages of transactions.
    pub(crate) fn cached(&self) -> [(&'static str, u64); 2] {
        [("holdings", self.kept_holdings.len()), ("transaction_pages", self.kept_pages.len())]
    }

    /// The newest versions of portfolios.
    pub(crate) fn versions(&self) -> &Versions {
        &self.versions
    }
}
