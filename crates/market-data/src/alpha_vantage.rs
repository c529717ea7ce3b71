//! Prices of US stocks and funds from Alpha Vantage, with the operator's own key.
//!
//! A free key has the close of each session, 25 calls a day and one a second. This file asks, its modules
//! carry the call, tell refusals apart and read the answers; nothing of the provider's shapes leaves here.

mod pace;
mod refusal;
mod ticker;
mod transport;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{Bar, Calendar, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};
use secrecy::SecretString;
use thiserror::Error;
use url::Url;

use crate::{Catalogue, QuoteError, QuoteSource};
use transport::Transport;

const SOURCE: &str = "alpha_vantage";
const FOREIGN: &str = "it is not listed in the United States";
const NOT_IN_DOLLARS: &str = "it is not quoted in US dollars";

/// Tells the time by which a provider's dates are judged.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How Alpha Vantage is reached.
pub struct AlphaVantageConfig {
    pub api_key: SecretString,
    /// [`AlphaVantageConfig::BASE_URL`], or a stand-in's. `query` is appended to its path.
    pub base_url: Url,
    /// The least time from one call to the next; see [`AlphaVantageConfig::MIN_GAP`].
    pub min_gap: Duration,
    pub now: Now,
}

impl AlphaVantageConfig {
    pub const BASE_URL: &'static str = "https://www.alphavantage.co/";
    /// For free keys: they are allowed one call a second, and counted strictly.
    pub const MIN_GAP: Duration = Duration::from_millis(1500);
}

/// Why the client cannot be set up.
#[derive(Debug, Error)]
pub enum InvalidSetup {
    #[error("the base URL of Alpha Vantage must be like {}", AlphaVantageConfig::BASE_URL)]
    BaseUrl,
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Alpha Vantage as a source of prices.
pub struct AlphaVantage {
    transport: Transport,
}

impl AlphaVantage {
    /// # Errors
    /// If the base URL cannot have a path, or there is no TLS.
    pub fn new(config: AlphaVantageConfig) -> Result<Self, InvalidSetup> {
        Ok(Self { transport: Transport::new(config)? })
    }

    fn now(&self) -> DateTime<Utc> {
        (self.transport.now)()
    }

    async fn quote(&self, symbol: &Symbol) -> Result<Quote, QuoteError> {
        let ticker = ticker::asked_as(symbol)?;
        let answer = self.transport.call("GLOBAL_QUOTE", &[("symbol", &ticker)], Some(symbol)).await?;
        wire::quote(&answer, symbol, self.now())
    }
}

#[async_trait]
impl QuoteSource for AlphaVantage {
    fn source(&self) -> PriceSource {
        PriceSource(SOURCE.to_owned())
    }

    fn freshness(&self) -> Freshness {
        Freshness::EndOfDay
    }

    fn calendar(&self) -> Calendar {
        Calendar::Xnys
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::OnDemand
    }

    /// One call for each symbol. After a refusal for too many calls no more are made: they would count too.
    async fn quotes(&self, symbols: &[Symbol], _at: Timestamp) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let mut answers = HashMap::with_capacity(symbols.len());
        let mut refused = None;
        for symbol in symbols {
            let answer = match &refused {
                Some(refusal) => Err(QuoteError::clone(refusal)),
                None => self.quote(symbol).await,
            };
            if let Err(refusal @ QuoteError::RateLimited { .. }) = &answer {
                refused = Some(refusal.clone());
            }
            answers.insert(symbol.clone(), answer);
        }
        answers
    }

    async fn search(&self, query: &str, limit: usize) -> Result<Vec<Listing>, QuoteError> {
        let keywords = query.trim();
        if keywords.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.transport.call("SYMBOL_SEARCH", &[("keywords", keywords)], None).await?;
        let mut found = wire::search(&answer)?;
        found.truncate(limit);
        Ok(found)
    }

    /// Funds have no profile: for them a second call searches the symbol.
    async fn listing(&self, symbol: &Symbol) -> Result<Listing, QuoteError> {
        let ticker = ticker::asked_as(symbol)?;
        let answer = self.transport.call("OVERVIEW", &[("symbol", &ticker)], Some(symbol)).await?;
        if let Some(listing) = wire::overview(&answer, symbol)? {
            return Ok(listing);
        }
        let answer = self.transport.call("SYMBOL_SEARCH", &[("keywords", &ticker)], Some(symbol)).await?;
        wire::exact_match(&answer, symbol)
    }

    /// At most the last 100 sessions: longer series need a paid key.
    async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        let ticker = ticker::asked_as(symbol)?;
        let parameters = [("symbol", ticker.as_str()), ("outputsize", "compact")];
        let answer = self.transport.call("TIME_SERIES_DAILY", &parameters, Some(symbol)).await?;
        let mut bars = wire::daily_bars(&answer, symbol, at, self.now())?;
        bars.retain(|bar| (first..=last).contains(&bar.date));
        Ok(bars)
    }
}
