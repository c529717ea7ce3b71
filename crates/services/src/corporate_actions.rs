//! Splits, dividends, new symbols, delistings and close-outs: requests them from the source, and applies them to all
//! portfolios.
//!
//! An action is applied to portfolios in batches, each in one transaction, and only once to each portfolio: the
//! database has a row for each application. Applying can therefore be repeated, can be late, and can be done by several
//! processes and while orders are placed. The order desk applies due actions to the portfolios of a batch before it
//! decides on their orders.

pub(crate) mod action_counter;
mod apply;
pub mod close_outs;
pub mod delistings;
mod dividends;
mod histories;
mod learn;
pub(crate) mod listing_changes;
pub(crate) mod observed_actions;
mod pending_splits;
mod recent_actions;
pub(crate) mod recorded_splits;
pub mod renames;
pub mod splits;
mod stale_snapshots;

use std::sync::Arc;

use chrono::Days;
use persistence::{Store, StoreError};

use crate::Market;
use crate::corporate_actions::action_counter::ActionCounter;
use crate::corporate_actions::listing_changes::ReviewedCompanies;
use crate::corporate_actions::observed_actions::RecordedActions;
use crate::events::Events;
use crate::market::instruments::Instruments;
pub use apply::AppliedCount;
pub(crate) use apply::{Affected, apply_before_orders, apply_in_books, corrupt, rename};
pub(crate) use dividends::pay_in_books;
pub(crate) use histories::ActionHistories;
pub(crate) use pending_splits::PendingSplits;
pub(crate) use recent_actions::RecentActions;
pub(crate) use stale_snapshots::{clear_stale, mark_snapshots, stale_since};

/// The result of database functions.
pub(crate) type Stored<T> = std::result::Result<T, StoreError>;

/// A corporate action is accepted if it becomes known within this time after it took effect.
pub(crate) const LATEST_NEWS: Days = Days::new(45);

/// How far ahead announced actions are requested.
pub(crate) const AHEAD: Days = Days::new(60);

/// Portfolios per transaction.
pub(crate) const BATCH: i64 = 300;

/// The reason in the error for an order in a delisted stock.
pub(crate) const ENDED: &str = "it is delisted";

/// The use cases of corporate actions. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct CorporateActions {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    events: Arc<Events>,
    action_counter: ActionCounter,
    pending_splits: Arc<PendingSplits>,
    recent_actions: Arc<RecentActions>,
    observed_actions: Arc<RecordedActions>,
    reviewed: Arc<ReviewedCompanies>,
}

impl CorporateActions {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        instruments: Arc<Instruments>,
        events: Arc<Events>,
        action_counter: ActionCounter,
    ) -> Self {
        Self {
            store,
            market,
            instruments,
            events,
            action_counter,
            pending_splits: Arc::default(),
            recent_actions: Arc::default(),
            observed_actions: Arc::default(),
            reviewed: Arc::default(),
        }
    }

    /// Returns the same use cases with a longer database timeout, for jobs.
    pub(crate) fn for_jobs(&self) -> Self {
        Self {
            store: self.store.for_jobs(),
            instruments: Arc::new(self.instruments.for_jobs()),
            ..self.clone()
        }
    }

    /// Counts the actions that this process has stored.
    pub(crate) fn action_counter(&self) -> &ActionCounter {
        &self.action_counter
    }
}
