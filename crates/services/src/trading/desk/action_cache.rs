//! A clerk's cache of corporate actions, which saves a statement per batch.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{CorporateActionKind, KnownAction, Timestamp};
use persistence::{StoreError, Tx, corporate_actions};

use crate::corporate_actions::action_counter::ActionCounter;

/// How long the cache is used. Actions usually become known a session ahead. Orders may miss an action that another
/// process learns late, for at most this time.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// The cache holds actions that took effect within this market time; older ones are read from the database when needed.
const CACHED_SPAN: TimeDelta = TimeDelta::days(1);

pub(super) struct ActionCache {
    action_counter: ActionCounter,
    read: Option<Read>,
}

struct Read {
    at: Instant,
    action_count: u64,
    since: Timestamp,
    /// All actions that are not yet applied to all portfolios, and all that took effect or became known since `since`,
    /// in the order in which they take effect.
    actions: Vec<KnownAction>,
}

impl ActionCache {
    pub fn new(action_counter: ActionCounter) -> Self {
        Self { action_counter, read: None }
    }

    /// The actions that a decision at `now` has to consider: due actions, and all that took effect or became known
    /// since `since`.
    pub fn relevant(
        &mut self,
        tx: &mut Tx<'_>,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<KnownAction>, StoreError> {
        let action_count = self.action_counter.count();
        let good = |read: &Read| read.at.elapsed() < CACHE_TTL && read.action_count == action_count;
        if !self.read.as_ref().is_some_and(good) {
            let (at, since) = (Instant::now(), now - CACHED_SPAN);
            self.read =
                Some(Read { at, action_count, since, actions: corporate_actions::not_over(tx, since)? });
        }
        match &self.read {
            Some(read) if read.since <= since => {
                let relevant = |known: &&KnownAction| {
                    let is_undecided = known.hold(now).is_some() || known.needs_reversal();
                    // A delisting that evidence or an administrator confirmed may have taken effect days ago.
                    let is_delisting =
                        known.check.is_some() && known.action.kind == CorporateActionKind::Delisting;
                    known.effective_at <= now
                        && (known.applied_at.is_none()
                            || known.effective_at > since
                            || known.known_at > since
                            || is_undecided
                            || is_delisting)
                };
                Ok(read.actions.iter().filter(relevant).cloned().collect())
            }
            _ => {
                let all = corporate_actions::not_over(tx, since)?;
                Ok(all.into_iter().filter(|known| known.effective_at <= now).collect())
            }
        }
    }
}
