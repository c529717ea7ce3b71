//! A store in memory, for one process and for tests. Its contents are lost when the process ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::plausibility::UnconfirmedPrice;
use domain::{Bar, PriceSource, SplitHistory, Symbol, Timestamp};

use super::store::{BudgetStore, Published, Series, Slot, StoreFailed, UnconfirmedQuote, Window};
use crate::QuoteError;

/// A [`BudgetStore`] in memory. Several gateways may share one.
#[derive(Debug, Default)]
pub struct InMemoryBudget {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: HashMap<String, u32>,
    next_slots: HashMap<String, Timestamp>,
    leases: HashMap<String, (String, Timestamp)>,
    published: HashMap<Symbol, Published>,
    series: HashMap<Symbol, Vec<Bar>>,
    failures: HashMap<String, QuoteError>,
    held: HashMap<Symbol, UnconfirmedQuote>,
    splits: HashMap<Symbol, SplitHistory>,
    stocks_in_use: u32,
}

impl InMemoryBudget {
    /// The bars last stored for a symbol.
    pub fn series(&self, symbol: &Symbol) -> Option<Vec<Bar>> {
        self.state().series.get(symbol).cloned()
    }

    /// Sets the splits of a symbol in the books.
    pub fn book_splits(&self, symbol: &Symbol, splits: SplitHistory) {
        self.state().splits.insert(symbol.clone(), splits);
    }

    /// Sets the number of stocks in use.
    pub fn use_stocks(&self, count: u32) {
        self.state().stocks_in_use = count;
    }

    /// The provider's last error.
    pub fn last_failure(&self, provider: &str) -> Option<QuoteError> {
        self.state().failures.get(provider).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BudgetStore for InMemoryBudget {
    async fn try_spend(&self, window: &Window, limit: u32) -> Result<bool, StoreFailed> {
        let mut state = self.state();
        let spent = state.spent.entry(window.key.clone()).or_default();
        let allowed = *spent < limit;
        *spent += u32::from(allowed);
        Ok(allowed)
    }

    async fn spent(&self, window: &Window) -> Result<u32, StoreFailed> {
        Ok(self.state().spent.get(&window.key).copied().unwrap_or(0))
    }

    async fn take_slot(
        &self,
        provider: &str,
        now: Timestamp,
        gap: TimeDelta,
        latest: Timestamp,
    ) -> Result<Slot, StoreFailed> {
        let mut state = self.state();
        let next = state.next_slots.get(provider).map_or(now, |next| now.max(*next));
        if next > latest {
            return Ok(Slot::NotBefore(next));
        }
        state.next_slots.insert(provider.to_owned(), next + gap);
        Ok(Slot::At(next))
    }

    async fn next_slot(&self, provider: &str) -> Result<Option<Timestamp>, StoreFailed> {
        Ok(self.state().next_slots.get(provider).copied())
    }

    async fn hold(&self, provider: &str, until: Timestamp) -> Result<(), StoreFailed> {
        let mut state = self.state();
        let next = state.next_slots.entry(provider.to_owned()).or_insert(until);
        *next = until.max(*next);
        Ok(())
    }

    async fn note(
        &self,
        provider: &str,
        _at: Timestamp,
        failure: Option<&QuoteError>,
    ) -> Result<(), StoreFailed> {
        if let Some(failure) = failure {
            self.state().failures.insert(provider.to_owned(), failure.clone());
        }
        Ok(())
    }

    async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreFailed> {
        let mut state = self.state();
        let is_free = state.leases.get(name).is_none_or(|(by, ends_at)| by == holder || *ends_at <= now);
        if is_free {
            state.leases.insert(name.to_owned(), (holder.to_owned(), until));
        }
        Ok(is_free)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreFailed> {
        let mut state = self.state();
        if state.leases.get(name).is_some_and(|(by, _)| by == holder) {
            state.leases.remove(name);
        }
        Ok(())
    }

    async fn release_all(&self, holder: &str) -> Result<(), StoreFailed> {
        self.state().leases.retain(|_, (by, _)| by != holder);
        Ok(())
    }

    async fn publish(&self, quotes: &[Published]) -> Result<(), StoreFailed> {
        let mut state = self.state();
        for published in quotes {
            state.published.insert(published.quote.symbol.clone(), published.clone());
        }
        Ok(())
    }

    async fn keep_series(&self, series: &Series) -> Result<(), StoreFailed> {
        let (mut state, symbol) = (self.state(), series.close.quote.symbol.clone());
        state.series.insert(symbol.clone(), series.bars.clone());
        state.published.insert(symbol, series.close.clone());
        Ok(())
    }

    async fn unconfirmed_quotes(
        &self,
        source: &PriceSource,
        symbols: &[Symbol],
    ) -> Result<HashMap<Symbol, UnconfirmedPrice>, StoreFailed> {
        let state = self.state();
        let held = symbols.iter().filter_map(|symbol| state.held.get(symbol));
        let of_source = held.filter(|held| held.source == *source);
        Ok(of_source.map(|held| (held.symbol.clone(), held.price.clone())).collect())
    }

    async fn record_unconfirmed_quotes(
        &self,
        held: &[UnconfirmedQuote],
        settled: &[Symbol],
    ) -> Result<(), StoreFailed> {
        let mut state = self.state();
        state.held.retain(|symbol, _| !settled.contains(symbol));
        state.held.extend(held.iter().map(|held| (held.symbol.clone(), held.clone())));
        Ok(())
    }

    async fn split_days(&self, _: &Symbol) -> Result<Vec<NaiveDate>, StoreFailed> {
        Ok(Vec::new())
    }

    async fn splits(&self, symbol: &Symbol) -> Result<SplitHistory, StoreFailed> {
        Ok(self.state().splits.get(symbol).cloned().unwrap_or_default())
    }

    async fn stocks_in_use(&self) -> Result<u32, StoreFailed> {
        Ok(self.state().stocks_in_use)
    }

    async fn published(&self, symbols: &[Symbol]) -> Result<HashMap<Symbol, Published>, StoreFailed> {
        let state = self.state();
        let found = symbols.iter().filter_map(|symbol| state.published.get_key_value(symbol));
        Ok(found.map(|(symbol, published)| (symbol.clone(), published.clone())).collect())
    }
}
