//! Stocks: search, profile, price and history.

pub mod coverage;
mod history;
pub mod key_features;
pub mod listings;
pub mod price_pace;
pub mod providers;
pub(crate) mod quotes;
mod refresh;
mod remembered_quotes;
mod search;
pub mod stock_list;
pub mod unconfirmed_prices;

use std::sync::Arc;

use persistence::Store;

use crate::Market;
use crate::corporate_actions::CorporateActions;
use crate::market::instruments::Instruments;
pub use history::IntervalHistory;
pub use quotes::{LatestQuote, StaleReason};

/// The use cases of stocks. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Stocks {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    corporate_actions: Arc<CorporateActions>,
}

impl Stocks {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        instruments: Arc<Instruments>,
        corporate_actions: Arc<CorporateActions>,
    ) -> Self {
        Self { store, market, instruments, corporate_actions }
    }

    /// Returns the same use cases with a longer database timeout, for jobs.
    pub(crate) fn for_jobs(&self) -> Self {
        let (instruments, corporate_actions) =
            (Arc::new(self.instruments.for_jobs()), Arc::new(self.corporate_actions.for_jobs()));
        Self { store: self.store.for_jobs(), instruments, corporate_actions, market: self.market.clone() }
    }
}
