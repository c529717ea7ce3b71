//! A cache of the actions around the current session: quotes from outside trading hours are converted across them.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use domain::{ActionHistory, AsTraded, KnownAction, Quote, StockId, Timestamp};
use persistence::corporate_actions as actions;

use super::CorporateActions;
use crate::error::{Error, Result};

/// How long a list is used. An action that another process learns late may be missed for this time.
const CACHE_TTL: TimeDelta = TimeDelta::seconds(1);
/// How far ahead announced actions are read: a fast market clock may reach them within that second.
const READ_AHEAD: TimeDelta = TimeDelta::days(10);

/// The splits and dividends of all stocks since the last closes, including announced ones. The list is read from the
/// database at most once per second.
#[derive(Debug, Default)]
pub(crate) struct RecentActions(Mutex<Option<ReadActions>>);

#[derive(Debug, Clone)]
struct ReadActions {
    /// The wall time at which the list was read.
    at: Timestamp,
    action_count: u64,
    /// The actions that take effect after `since` and no later than `until`.
    since: Timestamp,
    until: Timestamp,
    actions: Arc<[KnownAction]>,
}

impl CorporateActions {
    /// Converts a quote as [`CorporateActions::in_shares_at`] does, without a database statement per quote. `None` for
    /// a quote from before the last two closes.
    ///
    /// # Errors
    /// Only if the database fails.
    pub(crate) async fn in_recent_shares_at(
        &self,
        stock: StockId,
        quote: AsTraded<Quote>,
        at: Timestamp,
    ) -> Result<Option<Quote>> {
        if quote.at() >= self.market.opened_at(at) {
            return Ok(Some(quote.into_as_traded()));
        }
        let today = self.market.previous_close_at(at);
        let since = self.market.previous_close_at(today);
        let after = self.market.previous_close_at(quote.at());
        if after < since {
            return Ok(None);
        }
        let mut history = ActionHistory::default();
        let recent = self.recent_actions(since, at).await?;
        let in_effect = recent.iter().filter(|known| known.stock_id == stock);
        for known in in_effect.filter(|known| after < known.effective_at && known.effective_at <= at) {
            history.push(known);
        }
        Ok(Some(history.convert_quote(quote, at, after, today)))
    }

    async fn recent_actions(&self, since: Timestamp, at: Timestamp) -> Result<Arc<[KnownAction]>> {
        let (wall, action_count) = (self.market.clock.wall(), self.action_counter.count());
        let read = self.recent_actions.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_good = |read: &ReadActions| {
            let is_young = (wall - read.at).abs() < CACHE_TTL && read.action_count == action_count;
            is_young && read.since <= since && at <= read.until
        };
        if let Some(read) = read.filter(is_good) {
            return Ok(read.actions);
        }
        let until = at + READ_AHEAD;
        let found = self.store.read(move |tx| actions::taken_effect(tx, since, until).map_err(Error::from));
        let actions: Arc<[KnownAction]> = found.await?.into();
        let read = ReadActions { at: wall, action_count, since, until, actions: actions.clone() };
        *self.recent_actions.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(actions)
    }
}
