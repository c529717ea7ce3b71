//! A cache of the splits that are not yet applied to all portfolios.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use domain::{KnownAction, Timestamp};
use persistence::Store;
use persistence::corporate_actions::{self as actions};

use super::CorporateActions;
use crate::corporate_actions::action_counter::ActionCounter;
use crate::error::{Error, Result};

/// The splits that are not applied to all portfolios yet, including announced ones. The list is read from the database
/// at most once per second.
#[derive(Default)]
pub(crate) struct PendingSplits(Mutex<Option<ReadSplits>>);

#[derive(Clone)]
struct ReadSplits {
    pub(super) at: Timestamp,
    pub(super) action_count: u64,
    splits: Arc<[KnownAction]>,
}

impl PendingSplits {
    /// How long the list is used. A split that another process learns late may be missed for this time.
    const CACHE_TTL: TimeDelta = TimeDelta::seconds(1);

    /// Returns the cached list, or reads it again if it is too old. `wall` is the wall time.
    async fn list(
        &self,
        store: &Store,
        action_counter: &ActionCounter,
        wall: Timestamp,
    ) -> Result<Arc<[KnownAction]>> {
        let version = action_counter.count();
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_good =
            |read: &ReadSplits| read.action_count == version && (wall - read.at).abs() < Self::CACHE_TTL;
        if let Some(read) = read.filter(is_good) {
            return Ok(read.splits);
        }
        let pending =
            store.query(|statement| actions::pending_splits(statement).map_err(Error::from)).await?;
        let splits: Arc<[KnownAction]> = pending.into();
        let read = ReadSplits { at: wall, action_count: version, splits: splits.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(splits)
    }
}

impl CorporateActions {
    /// The splits in effect that are not yet applied to, or not yet reversed in, all portfolios.
    pub(crate) async fn splits_in_effect(&self) -> Result<Vec<KnownAction>> {
        let now = self.market.now();
        let is_due = |known: &&KnownAction| {
            let is_to_be_applied = known.is_in_force() && known.applied_at.is_none();
            known.effective_at <= now && (is_to_be_applied || known.needs_reversal())
        };
        Ok(self.undecided_splits().await?.iter().filter(is_due).cloned().collect())
    }

    /// The splits that are announced, not applied to all portfolios, hold trading, or must be reversed.
    pub(crate) async fn undecided_splits(&self) -> Result<Arc<[KnownAction]>> {
        self.pending_splits.list(&self.store, &self.action_counter, self.market.clock.wall()).await
    }
}
