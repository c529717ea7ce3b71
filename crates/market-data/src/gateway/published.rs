//! Prices that any process received, for any purpose: working orders and open pages use them without further calls.

use std::collections::HashMap;

use domain::{AsTraded, Freshness, PriceMove, Quote, Symbol, Timestamp};

use super::{Gateway, is_rate_limit, quote_request};
use crate::QuoteError;
use crate::budget::{Published, Purpose};
use crate::source::{in_order, newest_move};

impl Gateway {
    /// Whether all processes share the newest prices of the current session through the store.
    pub fn shares_prices(&self) -> bool {
        self.limits.is_some() && matches!(self.freshness(), Freshness::Realtime | Freshness::Delayed)
    }

    /// Returns the newest price of each symbol that any process received from this source, and when it was requested.
    /// Empty if prices are not shared.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn published_quotes(
        &self,
        symbols: &[Symbol],
    ) -> Result<HashMap<Symbol, Published>, QuoteError> {
        let Some(limits) = self.effective_limits().filter(|_| !symbols.is_empty()) else {
            return Ok(HashMap::new());
        };
        let mut seen = limits.store.published(symbols).await?;
        let source = self.source();
        seen.retain(|_, published| published.quote.source == source);
        Ok(seen)
    }

    /// Returns the moves of an interval that follow from a shared price, for working orders: one move if the price
    /// became valid in the interval, otherwise none. An order meets the price as it was at its time, however old the
    /// price is now.
    pub fn move_of(quote: &Quote, after: Timestamp, until: Timestamp) -> Vec<AsTraded<PriceMove>> {
        let moves = newest_move(Quote { stale: false, ..quote.clone() }, after, until);
        moves.into_iter().map(AsTraded::from).collect()
    }

    pub(super) async fn published_moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        let seen = self.published_quotes(std::slice::from_ref(symbol)).await?.remove(symbol);
        let newest = |seen: Published| newest_move(Quote { stale: false, ..seen.quote }, after, until);
        Ok(seen.map_or_else(Vec::new, newest))
    }

    /// Returns the newest prices for open pages, in the order of `symbols`. With pacing, most are prices that were
    /// received for other purposes; a price older than a minute is requested with the calls reserved for pages, or
    /// shown with its age.
    pub async fn followed_quotes(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> Vec<Result<AsTraded<Quote>, QuoteError>> {
        let (Some(limits), Some(lifetime)) = (self.effective_limits(), self.lifetime()) else {
            return self.quotes(Purpose::Scheduled, symbols, at).await;
        };
        if !self.shares_prices() {
            return self.quotes(Purpose::Scheduled, symbols, at).await;
        }
        let seen = match self.published_quotes(symbols).await {
            Ok(seen) => seen,
            Err(error) => return symbols.iter().map(|_| Err(error.clone())).collect(),
        };
        let source = self.source();
        let is_good = |symbol: &Symbol| {
            seen.get(symbol).is_some_and(|published| quote_request::is_good(published, &source, lifetime, at))
        };
        let open: Vec<Symbol> = symbols.iter().filter(|symbol| !is_good(symbol)).cloned().collect();
        let mut answers = HashMap::with_capacity(symbols.len());
        if !open.is_empty() && !limits.is_used_up(Purpose::Followed) {
            let asked = self.newest_quotes(Purpose::Followed, &open, at).await;
            answers = open.iter().cloned().zip(asked).collect();
        }
        for symbol in symbols {
            let is_kept_back =
                answers.get(symbol).is_none_or(|answer| answer.as_ref().is_err_and(is_rate_limit));
            if let Some(published) = seen.get(symbol).filter(|_| is_kept_back) {
                answers.insert(symbol.clone(), Ok(published.quote.clone()));
            }
        }
        let answers = in_order(symbols, answers);
        answers.into_iter().map(|answer| answer.map(|quote| self.marked(quote, at).into())).collect()
    }
}
