//! What stands between the use cases and a source of prices: no question is asked twice for the same answer.

mod lifetime;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;
use domain::{Bar, Calendar, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};

use crate::cache::{Cache, Kept};
use crate::{Catalogue, QuoteError, QuoteSource};
use lifetime::Lifetime;

/// Symbols whose answers are kept.
const QUOTES_KEPT: u64 = 10_000;
/// Symbols whose bars are kept, some 100 for each.
const SERIES_KEPT: u64 = 1_000;
/// From when on bars are asked for. All there are come at once, so that one call serves charts of any length.
const FIRST_BAR: NaiveDate = NaiveDate::from_ymd_opt(1980, 1, 1).expect("a date");

/// A source of prices with an answer memory in front of it.
///
/// The simulated market is asked directly: it computes, costs nothing, and moves all the time. Of any other
/// source answers are kept until it can have a new one, by the sessions of its calendar, and those who ask at
/// the same time share one call. Time comes with each question as `at`.
pub struct Gateway {
    source: Arc<dyn QuoteSource>,
    quotes: Cache<Quote>,
    bars: Cache<Arc<[Bar]>>,
}

impl Gateway {
    pub fn new(source: Arc<dyn QuoteSource>) -> Self {
        Self { source, quotes: Cache::new(QUOTES_KEPT), bars: Cache::new(SERIES_KEPT) }
    }

    pub fn source(&self) -> PriceSource {
        self.source.source()
    }

    pub fn freshness(&self) -> Freshness {
        self.source.freshness()
    }

    pub fn calendar(&self) -> Calendar {
        self.source.calendar()
    }

    pub fn catalogue(&self) -> Catalogue {
        self.source.catalogue()
    }

    /// The newest price of each symbol. A quote is marked stale when its source should have had a newer one.
    ///
    /// Once the source refuses because of too many calls, the symbols still to be asked for get that answer.
    pub async fn quotes(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let Some(lifetime) = self.lifetime() else {
            return self.source.quotes(symbols, at).await;
        };
        let mut answers = HashMap::with_capacity(symbols.len());
        let mut refused = None;
        for symbol in symbols {
            if answers.contains_key(symbol) {
                continue;
            }
            let answer = match (self.quotes.get(symbol, at).await, &refused) {
                (Some(kept), _) => kept,
                (None, Some(refusal)) => Err(QuoteError::clone(refusal)),
                (None, None) => {
                    let answer = self.fetch_quote(symbol, at, lifetime).await;
                    refused = answer.as_ref().err().filter(|error| is_rate_limit(error)).cloned();
                    answer
                }
            };
            answers.insert(symbol.clone(), answer);
        }
        answers
    }

    /// The newest price of one symbol.
    ///
    /// # Errors
    /// Whatever keeps the source from having one.
    pub async fn quote(&self, symbol: &Symbol, at: Timestamp) -> Result<Quote, QuoteError> {
        let answer = self.quotes(std::slice::from_ref(symbol), at).await.remove(symbol);
        answer.unwrap_or_else(|| Err(unanswered()))
    }

    /// See [`QuoteSource::search`].
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub async fn search(&self, query: &str, limit: usize) -> Result<Vec<Listing>, QuoteError> {
        self.source.search(query, limit).await
    }

    /// See [`QuoteSource::listing`].
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] and [`QuoteError::NotTradable`] for what is no stock here.
    pub async fn listing(&self, symbol: &Symbol) -> Result<Listing, QuoteError> {
        self.source.listing(symbol).await
    }

    /// See [`QuoteSource::daily_bars`].
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or that the source cannot be asked.
    pub async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        let Some(lifetime) = self.lifetime() else {
            return self.source.daily_bars(symbol, first, last, at).await;
        };
        let all = self.fetch_bars(symbol, at, lifetime).await?;
        Ok(all.iter().filter(|bar| (first..=last).contains(&bar.date)).cloned().collect())
    }

    async fn fetch_quote(&self, symbol: &Symbol, at: Timestamp, life: Lifetime) -> Result<Quote, QuoteError> {
        let (source, asked) = (Arc::clone(&self.source), symbol.clone());
        let fetch = async move {
            let mut answers = source.quotes(std::slice::from_ref(&asked), at).await;
            match answers.remove(&asked).unwrap_or_else(|| Err(unanswered())) {
                Ok(mut quote) => {
                    quote.stale |= life.is_late(quote.as_of, at);
                    Kept { until: life.of_price(quote.as_of, at), answer: Ok(quote) }
                }
                Err(error) => Kept { until: lifetime::of_error(&error, at), answer: Err(error) },
            }
        };
        self.quotes.get_or_fetch(symbol, at, fetch).await
    }

    async fn fetch_bars(
        &self,
        symbol: &Symbol,
        at: Timestamp,
        life: Lifetime,
    ) -> Result<Arc<[Bar]>, QuoteError> {
        let (source, asked) = (Arc::clone(&self.source), symbol.clone());
        let fetch = async move {
            let last = life.calendar.last_closed(at).date;
            match source.daily_bars(&asked, FIRST_BAR, last, at).await {
                Ok(bars) => Kept { until: life.of_bars(bars.last(), at), answer: Ok(bars.into()) },
                Err(error) => Kept { until: lifetime::of_error(&error, at), answer: Err(error) },
            }
        };
        self.bars.get_or_fetch(symbol, at, fetch).await
    }

    /// `None` for a source that is asked each time.
    fn lifetime(&self) -> Option<Lifetime> {
        Lifetime::of(self.source.freshness(), self.source.calendar())
    }
}

fn is_rate_limit(error: &QuoteError) -> bool {
    matches!(error, QuoteError::RateLimited { .. })
}

fn unanswered() -> QuoteError {
    QuoteError::Upstream("an answer without the symbol asked for".to_owned())
}

#[cfg(test)]
mod tests;
