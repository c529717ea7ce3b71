//! The trait of all price sources.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Bar, Calendar, CorporateAction, Freshness, Listing, PriceMove, PriceSource, Quote, Symbol, Timestamp,
};
use thiserror::Error;

use crate::observed_actions::ObservedActions;
use crate::{FeatureState, ListedStock, Payer, QuoteError};

/// Why a client cannot be set up.
#[derive(Debug, Error)]
pub enum InvalidSetup {
    #[error("the provider's base URL must be an address with a path, like https://www.example.org/")]
    BaseUrl,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Returns the current time, by which a provider's dates are judged.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

// Reasons why an instrument is not traded here.
pub(crate) const FOREIGN: &str = "it is not listed in the United States";
/// The symbol belonged to another company before.
pub(crate) const OTHER_COMPANY: &str = "its symbol belongs to another company now";
pub(crate) const NOT_IN_DOLLARS: &str = "it is not quoted in US dollars";
pub(crate) const NO_STOCK: &str = "it is neither a stock nor an exchange-traded fund";

/// The symbols that a source lists without a call for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Catalogue {
    /// All symbols.
    Complete(Vec<Listing>),
    /// None: symbols are found only by a search or a lookup.
    OnDemand,
}

/// Daily bars, and a doubtful last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DailySeries {
    /// Finished sessions, oldest first.
    pub bars: Vec<Bar>,
    /// The session after the bars, if its close is far from theirs and no reported split explains it.
    pub doubtful: Option<Bar>,
}

impl From<Vec<Bar>> for DailySeries {
    fn from(bars: Vec<Bar>) -> Self {
        Self { bars, doubtful: None }
    }
}

/// A price source. An installation has one.
#[async_trait]
pub trait QuoteSource: Send + Sync {
    /// The name of the source, which is stored with each price.
    fn source(&self) -> PriceSource;

    /// How close to the market its newest prices are.
    fn freshness(&self) -> Freshness;

    /// The calendar of the market whose prices it has.
    fn calendar(&self) -> Calendar;

    /// The symbols traded at market time `at`.
    fn catalogue(&self, at: Timestamp) -> Catalogue;

    /// The number of symbols per call of [`QuoteSource::quotes`].
    fn quotes_at_once(&self) -> usize {
        1
    }

    /// The features that the source is configured to use, and those that the provider refused.
    fn features(&self) -> Vec<FeatureState> {
        Vec::new()
    }

    /// The table of all listed stocks, if the source has one: about ten thousand rows in one call.
    ///
    /// # Errors
    /// The reason why the call failed, or [`QuoteError::Upstream`] if the table is unusable.
    async fn listed(&self, _payer: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(None)
    }

    /// The table of formerly listed stocks with their delisting days, if the source has one.
    ///
    /// # Errors
    /// The same as [`QuoteSource::listed`].
    async fn delisted(&self, _payer: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(None)
    }

    /// Returns the newest price of each symbol at market time `at`, in the order of `symbols`. Real sources return
    /// their newest price, whatever `at` is. The quote for an old symbol contains the new symbol.
    async fn quotes(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
        payer: &Payer,
    ) -> Vec<Result<Quote, QuoteError>>;

    /// Returns the price moves after `after` and up to `until`, inclusive: each new price, oldest first. Working orders
    /// are matched with them.
    ///
    /// The simulated market knows every move, so an interval has the same moves as its parts. Real sources know only
    /// the newest price, and publish it later than its `as_of`: pass the time of the last move as `after`, not the time
    /// of the last call; otherwise prices that were published in between are missed.
    ///
    /// The simulated market has a move every few seconds, so request a few hours at a time.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        let answer = self.quotes(std::slice::from_ref(symbol), until, payer).await.pop();
        Ok(newest_move(answer.unwrap_or_else(|| Err(QuoteError::missing_answer()))?, after, until))
    }

    /// Returns up to `limit` instruments traded at market time `at` whose symbol, or a word of whose name, begins with
    /// `query`, best match first. The list is empty without a match.
    ///
    /// # Errors
    /// The reason why the call failed.
    async fn search(
        &self,
        query: &str,
        limit: usize,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<Listing>, QuoteError>;

    /// Returns symbol, name, exchange and sector of one symbol at market time `at`. A former symbol of the stock is
    /// accepted too.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] and [`QuoteError::NotTradable`] if it is not a stock that is traded here.
    async fn listing(&self, symbol: &Symbol, at: Timestamp, payer: &Payer) -> Result<Listing, QuoteError>;

    /// Returns the finished sessions from `first` to `last`, both included, oldest first, with prices and volumes as
    /// traded; [`domain::SplitHistory::convert_bars`] converts them for a chart. Sessions that have not closed at
    /// market time `at` and days without a bar are omitted.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<DailySeries, QuoteError>;

    /// The next session after market time `at` that opens after the company's quarterly results; `None` for funds, and
    /// if the source does not know it.
    fn next_results_on(&self, _symbol: &Symbol, _at: Timestamp) -> Option<NaiveDate> {
        None
    }

    /// Returns the corporate actions of the stock from `first` to `last`, both included, that are known at market time
    /// `at`: past and announced ones, ordered by `ex_on`. Empty for a source that reports none.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    async fn corporate_actions(
        &self,
        _symbol: &Symbol,
        _first: NaiveDate,
        _last: NaiveDate,
        _at: Timestamp,
        _payer: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        Ok(Vec::new())
    }

    /// The company of the symbol according to the last answer about its prices. `None` if such answers do not contain
    /// the company.
    fn observed_company(&self, _symbol: &Symbol) -> Option<ListedStock> {
        None
    }

    /// The splits and dividends of the symbol that were contained in answers about its prices, without a call. `None`
    /// if such answers contain none.
    fn observed_actions(&self, _symbol: &Symbol) -> Option<ObservedActions> {
        None
    }
}

/// The result for each symbol; a symbol that is requested twice gets two.
pub(crate) fn in_order(
    symbols: &[Symbol],
    answers: HashMap<Symbol, Result<Quote, QuoteError>>,
) -> Vec<Result<Quote, QuoteError>> {
    let answer = |symbol| answers.get(symbol).cloned().unwrap_or_else(|| Err(QuoteError::missing_answer()));
    symbols.iter().map(answer).collect()
}

/// The moves of an interval that follow from the newest price: one if the price became valid in the interval, otherwise
/// none.
pub(crate) fn newest_move(quote: Quote, after: Timestamp, until: Timestamp) -> Vec<PriceMove> {
    let inside = after < quote.as_of && quote.as_of <= until;
    inside.then_some(PriceMove { quote, volume: None }).into_iter().collect()
}
