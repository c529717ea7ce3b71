//! A clerk's knowledge of corporate actions, without a statement for each batch.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{CorporateActionKind, KnownAction, Timestamp};
use persistence::{StoreError, Tx, corporate_actions};

use crate::corporate_actions::noted::Noted;

/// How long it is used. News usually comes a session ahead; late news from another process may be missed by orders
/// for this time.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Actions that took effect within this market time are read; older ones are read from the database on request.
const LOOKING_BACK: TimeDelta = TimeDelta::days(1);

pub(super) struct News {
    noted: Noted,
    read: Option<Read>,
}

struct Read {
    at: Instant,
    noted: u64,
    since: Timestamp,
    /// All actions that are not applied to all portfolios, or took effect or became known since `since`, in the order
    /// in which they take effect.
    actions: Vec<KnownAction>,
}

impl News {
    pub fn new(noted: Noted) -> Self {
        Self { noted, read: None }
    }

    /// Due actions, and all that took effect or became known since `since`: those that a decision at `now` has to
    /// consider.
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
                    // A delisting by evidence or an administrator may take effect days ago.
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
