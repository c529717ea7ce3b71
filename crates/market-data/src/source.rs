//! The trait every source of prices fulfils.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{Bar, Calendar, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};

use crate::QuoteError;

/// Which symbols a source can list without being asked one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Catalogue {
    /// All of them.
    Complete(Vec<Listing>),
    /// Only a search or a look-up tells.
    OnDemand,
}

/// A source of prices. One deployment has one.
#[async_trait]
pub trait QuoteSource: Send + Sync {
    /// The name kept with each price.
    fn source(&self) -> PriceSource;

    /// How close to the market its prices are at best.
    fn freshness(&self) -> Freshness;

    /// The sessions its prices follow.
    fn calendar(&self) -> Calendar;

    fn catalogue(&self) -> Catalogue;

    /// The newest price of each symbol at market time `at`; real sources answer with what they have now.
    /// The answer has an entry for each symbol asked.
    async fn quotes(&self, symbols: &[Symbol], at: Timestamp) -> HashMap<Symbol, Result<Quote, QuoteError>>;

    /// Up to `limit` instruments whose symbol or a word of whose name begins with `query`, best match first.
    ///
    /// # Errors
    /// When the source cannot be asked; finding nothing is an empty list.
    async fn search(&self, query: &str, limit: usize) -> Result<Vec<Listing>, QuoteError>;

    /// Name, exchange and sector of one symbol.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] and [`QuoteError::NotTradable`] for what is no stock here.
    async fn listing(&self, symbol: &Symbol) -> Result<Listing, QuoteError>;

    /// The finished sessions from `first` to `last`, both included, oldest first. Sessions that have not
    /// closed at market time `at` are left out, as are days the source has no bar for.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or that the source cannot be asked.
    async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError>;
}
