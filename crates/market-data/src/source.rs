//! The trait every source of prices fulfils.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Bar, Calendar, CorporateAction, Freshness, Listing, PriceMove, PriceSource, Quote, Symbol, Timestamp,
};
use thiserror::Error;

use crate::actions_seen::ActionsSeen;
use crate::{FeatureState, ListedStock, QuoteError};

/// Why a client cannot be set up.
#[derive(Debug, Error)]
pub enum InvalidSetup {
    #[error("the provider's base URL must be an address with a path, like https://www.example.org/")]
    BaseUrl,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Tells the time by which a provider's dates are judged.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

// Why an instrument is not traded here.
pub(crate) const FOREIGN: &str = "it is not listed in the United States";
/// A symbol that is known here by another company.
pub(crate) const OTHER_COMPANY: &str = "its symbol belongs to another company now";
pub(crate) const NOT_IN_DOLLARS: &str = "it is not quoted in US dollars";
pub(crate) const NO_STOCK: &str = "it is neither a stock nor an exchange-traded fund";

/// Which symbols a source can list without being asked one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Catalogue {
    /// All of them.
    Complete(Vec<Listing>),
    /// Only a search or a look-up tells.
    OnDemand,
}

/// Daily bars, and what stands apart from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DailySeries {
    /// Finished sessions, oldest first.
    pub bars: Vec<Bar>,
    /// The session after them, if its close is far from theirs and no split that the source tells of explains it.
    pub doubtful: Option<Bar>,
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

    /// The symbols traded at market time `at`.
    fn catalogue(&self, at: Timestamp) -> Catalogue;

    /// How many symbols [`QuoteSource::quotes`] gets with one call to the provider.
    fn quotes_at_once(&self) -> usize {
        1
    }

    /// What the source is set up to use that its provider may refuse, and what it has refused.
    fn features(&self) -> Vec<FeatureState> {
        Vec::new()
    }

    /// The table of all that is listed now, for a source that has one: some ten thousand rows in one call.
    ///
    /// # Errors
    /// When the source cannot be asked, or its table is not what it should be.
    async fn listed(&self) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(None)
    }

    /// The table of what was listed once, with the days on which that ended, for a source that has one.
    ///
    /// # Errors
    /// As [`QuoteSource::listed`].
    async fn delisted(&self) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        Ok(None)
    }

    /// The newest price of each symbol at market time `at`; real sources answer with what they have now.
    /// The answer has an entry for each symbol asked; the quote of one that is out of use has the new one.
    async fn quotes(&self, symbols: &[Symbol], at: Timestamp) -> HashMap<Symbol, Result<Quote, QuoteError>>;

    /// As [`QuoteSource::quotes`], one answer for each symbol in the order of the question.
    async fn quotes_in_order(&self, symbols: &[Symbol], at: Timestamp) -> Vec<Result<Quote, QuoteError>> {
        in_order(symbols, self.quotes(symbols, at).await)
    }

    /// How the price went after `after` and up to `until`, itself included: each new price there was, oldest first.
    /// Working orders are matched against it.
    ///
    /// The simulated market knows each move, and so tells the same whether an interval is asked for at once or in
    /// parts. Real sources know the newest price only, and publish it later than its `as_of`: with them ask from the
    /// last move seen, not from the last time of asking, or what was published in between is missed.
    ///
    /// An answer has an entry for every few seconds: ask for some hours at a time.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or that the source cannot be asked.
    async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        let answer = self.quotes(std::slice::from_ref(symbol), until).await.remove(symbol);
        Ok(newest_move(answer.unwrap_or_else(|| Err(QuoteError::unanswered()))?, after, until))
    }

    /// Up to `limit` instruments traded at market time `at` whose symbol or a word of whose name begins with `query`,
    /// best match first.
    ///
    /// # Errors
    /// When the source cannot be asked; finding nothing is an empty list.
    async fn search(&self, query: &str, limit: usize, at: Timestamp) -> Result<Vec<Listing>, QuoteError>;

    /// Symbol, name, exchange and sector at market time `at` of one symbol. It may be one that the stock had before.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] and [`QuoteError::NotTradable`] for what is no stock here.
    async fn listing(&self, symbol: &Symbol, at: Timestamp) -> Result<Listing, QuoteError>;

    /// The finished sessions from `first` to `last`, both included, oldest first, with prices and volumes as traded;
    /// [`domain::SplitHistory::convert_bars`] prepares them for a chart. Sessions that have not closed at market
    /// time `at` are left out, as are days the source has no bar for.
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

    /// As [`QuoteSource::daily_bars`], with a last session that they leave out because it is in doubt.
    ///
    /// # Errors
    /// As there.
    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<DailySeries, QuoteError> {
        Ok(DailySeries { bars: self.daily_bars(symbol, first, last, at).await?, doubtful: None })
    }

    /// The next session after market time `at` that opens after the company has published quarterly results, where the
    /// source knows that beforehand; `None` where it does not, and for funds.
    fn next_results_on(&self, _symbol: &Symbol, _at: Timestamp) -> Option<NaiveDate> {
        None
    }

    /// What happens to the stock on the days from `first` to `last`, both included, as far as it is known at market
    /// time `at`: those of the past, and what is announced. In order of `ex_on`; empty for a source that does not tell.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or that the source cannot be asked.
    async fn corporate_actions(
        &self,
        _symbol: &Symbol,
        _first: NaiveDate,
        _last: NaiveDate,
        _at: Timestamp,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        Ok(Vec::new())
    }

    /// The company that has the symbol, as answers about its prices have told last. `None` for a source whose answers about
    /// prices do not tell it.
    fn company_seen(&self, _symbol: &Symbol) -> Option<ListedStock> {
        None
    }

    /// The splits and dividends of the symbol that came with answers about its prices, so that knowing them costs no call.
    /// `None` for a source whose answers about prices tell none.
    fn actions_seen(&self, _symbol: &Symbol) -> Option<ActionsSeen> {
        None
    }
}

/// The answer to each symbol; who is asked for twice is answered twice.
pub(crate) fn in_order(
    symbols: &[Symbol],
    answers: HashMap<Symbol, Result<Quote, QuoteError>>,
) -> Vec<Result<Quote, QuoteError>> {
    let answer = |symbol| answers.get(symbol).cloned().unwrap_or_else(|| Err(QuoteError::unanswered()));
    symbols.iter().map(answer).collect()
}

/// What a newest price tells of an interval: one move if it began to hold there, else none.
pub(crate) fn newest_move(quote: Quote, after: Timestamp, until: Timestamp) -> Vec<PriceMove> {
    let inside = after < quote.as_of && quote.as_of <= until;
    inside.then_some(PriceMove { quote, volume: None }).into_iter().collect()
}
