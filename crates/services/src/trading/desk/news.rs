//! A clerk's cache of corporate actions, which saves a statement per batch.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{CorporateActionKind, KnownAction, Timestamp};
use persistence::{StoreError, Tx, corporate_actions};

use crate::corporate_actions::noted::Noted;

/// How long the cache is used. Actions usually become known a session ahead. Orders may miss an action that another
/// process learns late, for at most this time.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// The cache holds actions that took effect within this market time; older ones are read from the database when needed.
const LOOKING_BACK: TimeDelta = TimeDelta::days(1);

pub(super) struct News {
    noted: Noted,
    read: Option<Read>,
}

struct Read {
    at: Instant,
    noted: u64,
    since: Timestamp,
    /// All actions that are not yet applied to all portfolios, and all that took effect or became known since `since`,
    /// in the order in which they take effect.
    actions: Vec<KnownAction>,
}

impl News {
    pub fn new(noted: Noted) -> Self {
        Self { noted, read: None }
    }

    /// The actions that a decision at `now` has to consider: due actions, and all that took effect or became known
    /// since `since`.
    pub fn at_hand(
        &mut self,
        tx: &mut Tx<'_>,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<KnownAction>, StoreError> {
        let noted = self.noted.count();
        let good = |read: &Read| read.at.elapsed() < GOOD_FOR && read.noted == noted;
        if !self.read.as_ref().is_some_and(good) {
            let (at, since) = (Instant::now(), now - LOOKING_BACK);
            self.read = Some(Read { at, noted, since, actions: corporate_actions::not_over(tx, since)? });
        }
        match &self.read {
            Some(read) if read.since <= since => {
                let at_hand = |known: &&KnownAction| {
                    let is_undecided = known.hold(now).is_some() || known.is_to_be_reversed();
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
                Ok(read.actions.iter().filter(at_hand).cloned().collect())
            }
            _ => {
                let all = corporate_actions::not_over(tx, since)?;
                Ok(all.into_iter().filter(|known| known.effective_at <= now).collect())
            }
        }
    }
}
