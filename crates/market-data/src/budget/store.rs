//! What must be remembered for all processes together, and outlive each of them.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::plausibility::UnconfirmedPrice;
use domain::{Bar, Freshness, PriceSource, Quote, SplitHistory, Symbol, Timestamp};
use thiserror::Error;

use crate::{ListedStock, QuoteError};

/// A span of time in which calls are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Names provider, span and what is counted: `alpha_vantage/day/2026-11-20/reserve`.
    pub key: String,
    /// From then on nobody asks for it any more: its count may be deleted.
    pub ends_at: Timestamp,
}

/// Whether a call has its place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It may go out then.
    At(Timestamp),
    /// It has none; the next one free is this, later than the caller wants to wait.
    NotBefore(Timestamp),
}

/// A quote that some process got from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub quote: Quote,
    /// When the source was asked.
    pub fetched_at: Timestamp,
}

/// A series that some process got from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Finished sessions, oldest first.
    pub bars: Vec<Bar>,
    /// What the last of them says of the price.
    pub close: Published,
}

/// A price that is not believed yet, as it is kept for all processes and for people to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    pub symbol: Symbol,
    pub source: PriceSource,
    pub freshness: Freshness,
    /// When it was seen. Market time.
    pub seen_at: Timestamp,
    pub price: UnconfirmedPrice,
}

/// The store cannot be reached or has refused. Calls are not sent then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the record of calls cannot be reached: {0}")]
pub struct StoreFailed(pub String);

impl From<StoreFailed> for QuoteError {
    fn from(error: StoreFailed) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "no call was sent to the price source");
        Self::Upstream("the record of calls cannot be reached".to_owned())
    }
}

/// Counters, leases and answers shared by all processes of a deployment.
///
/// Each method is atomic: of two processes that call at once, one comes first. Times are the callers'.
#[async_trait]
pub trait BudgetStore: Send + Sync {
    /// Counts one call in the window, unless `limit` of them are counted there; then `false`.
    async fn try_spend(&self, window: &Window, limit: u32) -> Result<bool, StoreFailed>;

    /// Calls counted in the window.
    async fn spent(&self, window: &Window) -> Result<u32, StoreFailed>;

    /// Takes the provider's next free place at or after `now`; the one after it is free `gap` later. Takes
    /// none if that place is after `latest`.
    async fn take_slot(
        &self,
        provider: &str,
        now: Timestamp,
        gap: TimeDelta,
        latest: Timestamp,
    ) -> Result<Slot, StoreFailed>;

    /// When the provider's next place is free, if one has ever been taken.
    async fn next_slot(&self, provider: &str) -> Result<Option<Timestamp>, StoreFailed>;

    /// Makes the provider's next free place `until`, if it is not later already.
    async fn hold(&self, provider: &str, until: Timestamp) -> Result<(), StoreFailed>;

    /// Keeps for people to see that the provider answered at `at`, or with what error it did not.
    async fn note(
        &self,
        provider: &str,
        at: Timestamp,
        failure: Option<&QuoteError>,
    ) -> Result<(), StoreFailed>;

    /// Gives `holder` the lease of that name until `until`, if nobody else has one at `now`.
    async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreFailed>;

    /// Ends a lease of `holder`'s; those of others stay.
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreFailed>;

    /// Ends all leases of `holder`'s.
    async fn release_all(&self, holder: &str) -> Result<(), StoreFailed>;

    /// Keeps each symbol's quote for the other processes and the next start, replacing older ones.
    async fn publish(&self, quotes: &[Published]) -> Result<(), StoreFailed>;

    /// Keeps a series and publishes its close, both or neither.
    async fn keep_series(&self, series: &Series) -> Result<(), StoreFailed>;

    /// The prices of that source that are not believed yet; symbols without one are left out.
    async fn held_back(
        &self,
        source: &PriceSource,
        symbols: &[Symbol],
    ) -> Result<HashMap<Symbol, UnconfirmedPrice>, StoreFailed>;

    /// Keeps prices that are not believed yet, replacing those of before, and forgets those of the symbols `settled`.
    async fn note_held_back(&self, held: &[HeldBack], settled: &[Symbol]) -> Result<(), StoreFailed>;

    /// The splits of the symbol that the books have.
    async fn splits(&self, symbol: &Symbol) -> Result<SplitHistory, StoreFailed>;

    /// The days on which splits of the symbol take effect that the books know, also those that are no longer in force.
    async fn split_days(&self, symbol: &Symbol) -> Result<Vec<NaiveDate>, StoreFailed>;

    /// How many stocks somebody holds, watches or has an open order for.
    async fn stocks_in_use(&self) -> Result<u32, StoreFailed>;

    /// Whether the symbol belongs to another company than the one whose stock the books have under it.
    async fn is_another_company(&self, _told: &ListedStock) -> Result<bool, StoreFailed> {
        Ok(false)
    }

    /// The quotes last published for these symbols; those without are left out.
    async fn published(&self, symbols: &[Symbol]) -> Result<HashMap<Symbol, Published>, StoreFailed>;
}
