//! Counters and leases that all processes share and that outlive each process.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::plausibility::UnconfirmedPrice;
use domain::{Bar, Freshness, PriceSource, Quote, SplitHistory, Symbol, Timestamp};
use thiserror::Error;

use crate::{ListedStock, QuoteError};

/// A period in which calls are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Provider, period and pot, such as `alpha_vantage/day/2026-11-20/reserve`.
    pub key: String,
    /// The count is not needed after this time and may be deleted.
    pub ends_at: Timestamp,
}

/// A place in the queue of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The call may be made at this time.
    At(Timestamp),
    /// There is no place in time: the next free one is at this time, later than the caller wants to wait.
    NotBefore(Timestamp),
}

/// A quote that a process received from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub quote: Quote,
    /// When the request was sent to the source.
    pub fetched_at: Timestamp,
}

/// A series that a process received from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Finished sessions, oldest first.
    pub bars: Vec<Bar>,
    /// The price from its last bar.
    pub close: Published,
}

/// An unconfirmed price, stored for all processes and for the pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconfirmedQuote {
    pub symbol: Symbol,
    pub source: PriceSource,
    pub freshness: Freshness,
    /// When the price was reported. Market time.
    pub seen_at: Timestamp,
    pub price: UnconfirmedPrice,
}

/// The store cannot be reached or failed. No calls are made then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the counters of provider calls cannot be reached: {0}")]
pub struct StoreFailed(pub String);

impl From<StoreFailed> for QuoteError {
    fn from(error: StoreFailed) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "no call was sent to the price source");
        Self::Upstream("the counters of provider calls cannot be reached".to_owned())
    }
}

/// Counters, leases and answers shared by all processes of an installation.
///
/// Each method is atomic. Times are passed by the caller.
#[async_trait]
pub trait BudgetStore: Send + Sync {
    /// Counts one call in the window and returns `true`; returns `false` if `limit` calls are already counted.
    async fn try_spend(&self, window: &Window, limit: u32) -> Result<bool, StoreFailed>;

    /// The number of calls counted in the window.
    async fn spent(&self, window: &Window) -> Result<u32, StoreFailed>;

    /// Takes the provider's next free place at or after `now`; the following place is `gap` later. Takes no place if
    /// that would be after `latest`.
    async fn take_slot(
        &self,
        provider: &str,
        now: Timestamp,
        gap: TimeDelta,
        latest: Timestamp,
    ) -> Result<Slot, StoreFailed>;

    /// When the provider's next place is free; `None` if none was ever taken.
    async fn next_slot(&self, provider: &str) -> Result<Option<Timestamp>, StoreFailed>;

    /// Moves the provider's next free place to `until` if it is earlier.
    async fn hold(&self, provider: &str, until: Timestamp) -> Result<(), StoreFailed>;

    /// Records for the pages that the provider answered at `at`, or the error of the call.
    async fn note(
        &self,
        provider: &str,
        at: Timestamp,
        failure: Option<&QuoteError>,
    ) -> Result<(), StoreFailed>;

    /// Gives `holder` the lease until `until`, unless another holder has it at `now`.
    async fn try_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreFailed>;

    /// Releases a lease of `holder`. Leases of other holders are unchanged.
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreFailed>;

    /// Releases all leases of `holder`.
    async fn release_all(&self, holder: &str) -> Result<(), StoreFailed>;

    /// Stores each symbol's quote for the other processes and the next start, replacing older ones.
    async fn publish(&self, quotes: &[Published]) -> Result<(), StoreFailed>;

    /// Stores a series and publishes its close in one transaction.
    async fn keep_series(&self, series: &Series) -> Result<(), StoreFailed>;

    /// The unconfirmed prices from this source, by symbol.
    async fn unconfirmed_quotes(
        &self,
        source: &PriceSource,
        symbols: &[Symbol],
    ) -> Result<HashMap<Symbol, UnconfirmedPrice>, StoreFailed>;

    /// Stores unconfirmed prices, replacing earlier ones, and deletes those of the symbols `settled`.
    async fn record_unconfirmed_quotes(
        &self,
        held: &[UnconfirmedQuote],
        settled: &[Symbol],
    ) -> Result<(), StoreFailed>;

    /// The splits of the symbol that are in the books.
    async fn splits(&self, symbol: &Symbol) -> Result<SplitHistory, StoreFailed>;

    /// The days of all splits of the symbol that are in the books, including splits no longer in force.
    async fn split_days(&self, symbol: &Symbol) -> Result<Vec<NaiveDate>, StoreFailed>;

    /// The number of stocks that are held, watched or have open orders.
    async fn stocks_in_use(&self) -> Result<u32, StoreFailed>;

    /// Whether the symbol now belongs to another company than that of the stock with this symbol in the books.
    async fn is_another_company(&self, _told: &ListedStock) -> Result<bool, StoreFailed> {
        Ok(false)
    }

    /// The last published quotes of these symbols; symbols without one are omitted.
    async fn published(&self, symbols: &[Symbol]) -> Result<HashMap<Symbol, Published>, StoreFailed>;
}
