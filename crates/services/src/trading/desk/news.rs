//! What a clerk knows of corporate actions, without asking for each batch.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{CorporateActionKind, KnownAction, Timestamp};
use persistence::{StoreError, Tx, corporate_actions};

use crate::corporate_actions::noted::Noted;

/// How long what was read is good for. News comes a session ahead as a rule; of news that comes late, and from another
/// process, an order of the second before it knows as little as one before that.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Actions that have taken effect within this time of the market are read; who asks further back asks the database.
const LOOKING_BACK: TimeDelta = TimeDelta::days(1);

pub(super) struct News {
    noted: Noted,
    read: Option<Read>,
}

struct Read {
    at: Instant,
    noted: u64,
    since: Timestamp,
    /// All that were not applied to everybody, or have taken effect or are known since `since`, in the order in which they do.
    actions: Vec<KnownAction>,
}

impl News {
    pub fn new(noted: Noted) -> Self {
        Self { noted, read: None }
    }

    /// Those that are due, and all that have taken effect or are known since `since`: what a decision at `now` has to know.
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
                    // What evidence or an administrator delists may be delisted as of days ago.
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
