//! Prices of US stocks and funds from Alpha Vantage, with the operator's own key.
//!
//! A free key gets the close of each session, 25 calls per day and one call per second. This file decides which
//! requests are made. Its modules send calls, recognize refusals and parse answers; no other file knows the provider's
//! formats.

mod actions;
mod bulk;
mod features;
mod listing_status;
mod profile;
mod refusal;
mod ticker;
mod transport;
mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::calendar::exchange_date;
use domain::{Calendar, CorporateAction, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};
use secrecy::SecretString;
use url::Url;

use crate::capability::Capability;
use crate::corporate::{Dividend, Split};
use crate::plausible::{in_shares_of, jumps, needs_splits, without_lone_jumps};
use crate::source::{DailySeries, InvalidSetup, Now, in_order};
use crate::{AlphaVantagePlan, Catalogue, FeatureState, Payer, QuoteError, QuoteSource};
pub use listing_status::{ListedStock, ListingState};
pub use profile::CompanyProfile;
use refusal::Refusal;
use transport::{Failure, Transport};
use wire::Object;

pub const SOURCE: &str = "alpha_vantage";
/// The length of a compact series, in calendar days.
const COMPACT: TimeDelta = TimeDelta::days(130);
/// How long a feature is not tried again after the provider refused it to the key.
const AFTER_REFUSAL: TimeDelta = TimeDelta::hours(24);
/// How long the splits of a symbol with a price jump are cached.
const SPLITS_KEPT: TimeDelta = TimeDelta::hours(1);

/// Settings of the connection to Alpha Vantage.
pub struct AlphaVantageConfig {
    pub api_key: SecretString,
    /// [`AlphaVantageConfig::BASE_URL`], or a test server's. `query` is appended to its path.
    pub base_url: Url,
    /// The shortest time between two calls; see [`AlphaVantageConfig::MIN_GAP`].
    pub min_gap: Duration,
    pub now: Now,
}

impl AlphaVantageConfig {
    pub const BASE_URL: &'static str = "https://www.alphavantage.co/";
    /// The minimum gap for free keys, which are limited strictly to one call per second.
    pub const MIN_GAP: Duration = Duration::from_millis(1500);
}

/// The prices of the current session that a paid key's agreement includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entitlement {
    /// Prices that are 15 minutes behind the market.
    Delayed,
    Realtime,
}

impl Entitlement {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Realtime => "realtime",
        }
    }

    fn freshness(self) -> Freshness {
        match self {
            Self::Delayed => Freshness::Delayed,
            Self::Realtime => Freshness::Realtime,
        }
    }
}

/// Alpha Vantage as a price source.
pub struct AlphaVantage {
    transport: Transport,
    entitlement: Option<Entitlement>,
    /// Whether the key belongs to a paid plan, which includes full series.
    is_paid: bool,
    entitled: Capability,
    bulk: Capability,
    full_series: Capability,
    /// Splits of symbols with a price jump.
    splits: Mutex<HashMap<Symbol, KnownSplits>>,
}

#[derive(Clone)]
struct KnownSplits {
    requested_at: DateTime<Utc>,
    splits: Vec<Split>,
}

impl AlphaVantage {
    /// A source for a free key.
    ///
    /// # Errors
    /// If the base URL cannot have a path, or there is no TLS.
    pub fn new(config: AlphaVantageConfig) -> Result<Self, InvalidSetup> {
        Ok(Self {
            transport: Transport::new(config)?,
            entitlement: None,
            is_paid: false,
            entitled: Capability::retried_after(AFTER_REFUSAL),
            bulk: Capability::retried_after(AFTER_REFUSAL),
            full_series: Capability::retried_after(AFTER_REFUSAL),
            splits: Mutex::default(),
        })
    }

    /// Uses the features of the key's plan: prices of the current session, bulk quotes, full series. If a call shows
    /// that the key does not include a feature, the source works as with a free key and tries the feature again a day
    /// later.
    #[must_use]
    pub fn with_plan(mut self, plan: AlphaVantagePlan) -> Self {
        self.entitlement = plan.entitlement;
        self.is_paid = plan.is_paid();
        self
    }

    /// Sets the deadline of a call; the default is 8 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.transport.set_deadline(deadline);
        self
    }

    /// The profile of a company. Funds have none.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] if there is no profile; otherwise the reason why the call failed.
    pub async fn profile(&self, symbol: &Symbol, payer: &Payer) -> Result<CompanyProfile, QuoteError> {
        let answer = self.about(symbol, "OVERVIEW", payer).await?;
        profile::profile(&answer, symbol)?.ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))
    }

    /// All splits, oldest first.
    ///
    /// # Errors
    /// The reason why the call failed, or the provider's answer about the symbol.
    pub async fn splits(&self, symbol: &Symbol, payer: &Payer) -> Result<Vec<Split>, QuoteError> {
        actions::splits(&self.about(symbol, "SPLITS", payer).await?, symbol)
    }

    /// All cash dividends, oldest first, including declared dividends that are not due yet. Amounts are as paid, not
    /// adjusted for later splits.
    ///
    /// # Errors
    /// The reason why the call failed, or the provider's answer about the symbol.
    pub async fn dividends(&self, symbol: &Symbol, payer: &Payer) -> Result<Vec<Dividend>, QuoteError> {
        actions::dividends(&self.about(symbol, "DIVIDENDS", payer).await?, symbol)
    }

    /// All listed or formerly listed stocks and funds: about ten thousand.
    ///
    /// # Errors
    /// The reason why the call failed, or [`QuoteError::Upstream`] if the table is unusable.
    pub async fn listings(&self, state: ListingState, payer: &Payer) -> Result<Vec<ListedStock>, QuoteError> {
        let table = self.transport.call_for_csv("LISTING_STATUS", &[("state", state.as_str())], payer).await;
        listing_status::listings(
            &table.map_err(|failure| self.transport.to_quote_error(failure, None))?,
            state,
        )
    }

    /// Calls a function whose only parameter is the symbol.
    async fn about(&self, symbol: &Symbol, function: &str, payer: &Payer) -> Result<Object, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        let answer = self.transport.call(function, &[("symbol", &ticker)], payer).await;
        answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)))
    }

    /// Makes a call with the entitlement, and repeats it without if the key has none. Returns the entitlement that was
    /// used.
    async fn entitled_call(
        &self,
        function: &str,
        parameters: &[(&str, &str)],
        payer: &Payer,
    ) -> Result<(Object, Option<Entitlement>), Failure> {
        let now = self.transport.now();
        if let Some(entitlement) = self.entitlement
            && self.entitled.is_available(now)
        {
            let parameters = [parameters, &[("entitlement", entitlement.as_str())]].concat();
            match self.transport.call(function, &parameters, payer).await {
                Err(Failure::Refused(Refusal::Premium)) => {
                    tracing::warn!(entitlement = entitlement.as_str(), "the API key has no such entitlement");
                    self.entitled.mark_refused(now);
                }
                answer => return answer.map(|answer| (answer, Some(entitlement))),
            }
        }
        self.transport.call(function, parameters, payer).await.map(|answer| (answer, None))
    }

    async fn quote(&self, symbol: &Symbol, payer: &Payer) -> Result<Quote, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        let answer = self.entitled_call("GLOBAL_QUOTE", &[("symbol", &ticker)], payer).await;
        let (answer, asked_with) =
            answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)))?;
        let now = self.transport.now();
        let quote = wire::quote(&answer, symbol, asked_with.map(Entitlement::freshness), now)?;
        Ok(self.in_todays_shares(quote, payer).await)
    }

    /// Converts a previous close that is more than 40 % from the price to today's shares, if a split of that session
    /// explains the difference. The gateway decides whether the price is accepted.
    async fn in_todays_shares(&self, mut quote: Quote, payer: &Payer) -> Quote {
        let Some(before) = quote.previous_close.clone().filter(|before| jumps(before, &quote.price)) else {
            return quote;
        };
        let date = exchange_date(quote.as_of);
        let splits = match self.splits_of_a_jump(&quote.symbol, payer).await {
            Ok(splits) => splits,
            Err(error) => {
                tracing::warn!(
                    symbol = quote.symbol.as_str(),
                    error = &error as &dyn std::error::Error,
                    "cannot check whether a price jump is a split"
                );
                return quote;
            }
        };
        let before = in_shares_of(&before, Calendar::Xnys.before(date).date, date, &splits);
        if !jumps(&before, &quote.price) {
            quote.previous_close = Some(before);
        }
        quote
    }

    /// The splits of a symbol with a price jump. Cached for an hour, because a jump is checked repeatedly until it is
    /// explained.
    async fn splits_of_a_jump(&self, symbol: &Symbol, payer: &Payer) -> Result<Vec<Split>, QuoteError> {
        let now = self.transport.now();
        let known = || self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        known().retain(|_, known| now < known.requested_at + SPLITS_KEPT);
        if let Some(known) = known().get(symbol) {
            return Ok(known.splits.clone());
        }
        let splits = self.splits(symbol, payer).await?;
        known().insert(symbol.clone(), KnownSplits { requested_at: now, splits: splits.clone() });
        Ok(splits)
    }

    /// Requests quotes of many symbols in few calls. `None` if the key does not include bulk quotes.
    async fn bulk_quotes(
        &self,
        symbols: &[Symbol],
        payer: &Payer,
    ) -> Option<HashMap<Symbol, Result<Quote, QuoteError>>> {
        let now = self.transport.now();
        let entitlement = self.entitlement.filter(|_| self.entitled.is_available(now))?;
        let mut quotes = HashMap::with_capacity(symbols.len());
        for chunk in symbols.chunks(bulk::MAX_SYMBOLS) {
            if !self.bulk.is_available(now) {
                return None;
            }
            let tickers: Vec<String> =
                chunk.iter().filter_map(|symbol| ticker::provider_symbol(symbol).ok()).collect();
            let parameters =
                [("symbol", tickers.join(",")), ("entitlement", entitlement.as_str().to_owned())];
            let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
            let answer = match self.transport.call("REALTIME_BULK_QUOTES", &parameters, payer).await {
                Err(Failure::Refused(Refusal::Premium)) => {
                    tracing::warn!("the API key does not cover bulk quotes");
                    self.bulk.mark_refused(now);
                    return None;
                }
                answer => answer.map_err(|failure| self.transport.to_quote_error(failure, None)),
            };
            match answer.and_then(|answer| bulk::quotes(&answer, chunk, entitlement.freshness(), now)) {
                Ok(found) => quotes.extend(found),
                Err(error) => {
                    for symbol in symbols {
                        quotes.entry(symbol.clone()).or_insert_with(|| Err(error.clone()));
                    }
                    break;
                }
            }
        }
        for answer in quotes.values_mut() {
            if let Ok(quote) = answer {
                *answer = Ok(self.in_todays_shares(quote.clone(), payer).await);
            }
        }
        Some(quotes)
    }

    async fn series(&self, symbol: &Symbol, in_full: bool, payer: &Payer) -> Result<Object, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        let now = self.transport.now();
        if in_full && self.is_paid && self.full_series.is_available(now) {
            let parameters = [("symbol", ticker.as_str()), ("outputsize", "full")];
            match self.transport.call("TIME_SERIES_DAILY", &parameters, payer).await {
                Err(Failure::Refused(Refusal::Premium)) => {
                    tracing::warn!("the API key does not cover series in full");
                    self.full_series.mark_refused(now);
                }
                answer => {
                    return answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)));
                }
            }
        }
        let parameters = [("symbol", ticker.as_str()), ("outputsize", "compact")];
        let answer = self.transport.call("TIME_SERIES_DAILY", &parameters, payer).await;
        answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)))
    }
}

#[async_trait]
impl QuoteSource for AlphaVantage {
    fn source(&self) -> PriceSource {
        PriceSource::from(SOURCE)
    }

    /// The freshness of the entitlement; closing prices while the provider refuses the entitlement.
    fn freshness(&self) -> Freshness {
        let now = self.transport.now();
        let entitlement = self.entitlement.filter(|_| self.entitled.is_available(now));
        entitlement.map_or(Freshness::EndOfDay, Entitlement::freshness)
    }

    fn features(&self) -> Vec<FeatureState> {
        self.feature_states()
    }

    fn calendar(&self) -> Calendar {
        Calendar::Xnys
    }

    fn catalogue(&self, _: Timestamp) -> Catalogue {
        Catalogue::OnDemand
    }

    async fn listed(&self, payer: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        self.listings(ListingState::Active, payer).await.map(Some)
    }

    async fn delisted(&self, payer: &Payer) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        self.listings(ListingState::Delisted, payer).await.map(Some)
    }

    /// Makes two calls. New symbols and delistings are not reported.
    async fn corporate_actions(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        _: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        let splits = self.splits(symbol, payer).await?.into_iter().map(|split| split.action(symbol));
        let dividends =
            self.dividends(symbol, payer).await?.into_iter().map(|dividend| dividend.action(symbol));
        let wanted = |action: &CorporateAction| (first..=last).contains(&action.ex_on);
        Ok(splits.chain(dividends).flatten().filter(wanted).collect())
    }

    fn quotes_at_once(&self) -> usize {
        let now = self.transport.now();
        let is_entitled = self.entitlement.is_some() && self.entitled.is_available(now);
        let has_bulk = is_entitled && self.bulk.is_available(now);
        if has_bulk { bulk::MAX_SYMBOLS } else { 1 }
    }

    /// Makes one call per symbol, or per 100 symbols with an entitled key. After a refusal because of too many calls,
    /// no more calls are made, because the provider would count them too.
    async fn quotes(
        &self,
        symbols: &[Symbol],
        _at: Timestamp,
        payer: &Payer,
    ) -> Vec<Result<Quote, QuoteError>> {
        let in_bulk = if symbols.len() > 1 { self.bulk_quotes(symbols, payer).await } else { None };
        let mut answers = in_bulk.unwrap_or_default();
        let is_limit = |error: &&QuoteError| matches!(error, QuoteError::RateLimited { .. });
        let mut refused = answers.values().filter_map(|answer| answer.as_ref().err()).find(is_limit).cloned();
        for symbol in symbols {
            if answers.contains_key(symbol) {
                continue;
            }
            let answer = match &refused {
                Some(refusal) => Err(QuoteError::clone(refusal)),
                None => self.quote(symbol, payer).await,
            };
            refused = refused.or_else(|| answer.as_ref().err().filter(is_limit).cloned());
            answers.insert(symbol.clone(), answer);
        }
        in_order(symbols, answers)
    }

    async fn search(
        &self,
        query: &str,
        limit: usize,
        _: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<Listing>, QuoteError> {
        let keywords = query.trim();
        if keywords.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.transport.call("SYMBOL_SEARCH", &[("keywords", keywords)], payer).await;
        let mut found =
            wire::search(&answer.map_err(|failure| self.transport.to_quote_error(failure, None))?)?;
        found.truncate(limit);
        Ok(found)
    }

    /// For a fund, which has no profile, a second call searches for the symbol.
    async fn listing(&self, symbol: &Symbol, _: Timestamp, payer: &Payer) -> Result<Listing, QuoteError> {
        let answer = self.about(symbol, "OVERVIEW", payer).await?;
        if let Some(listing) = wire::overview(&answer, symbol)? {
            return Ok(listing);
        }
        let ticker = ticker::provider_symbol(symbol)?;
        let answer = self.transport.call("SYMBOL_SEARCH", &[("keywords", &ticker)], payer).await;
        wire::exact_match(
            &answer.map_err(|failure| self.transport.to_quote_error(failure, Some(symbol)))?,
            symbol,
        )
    }

    /// Returns prices as traded, of at most the last 100 sessions unless the key is paid.
    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        let in_full = first < exchange_date(at - COMPACT);
        let answer = self.series(symbol, in_full, payer).await?;
        let bars = wire::daily_bars(&answer, symbol, at, self.transport.now())?;
        let mut splits = Vec::new();
        if needs_splits(&bars, &splits) {
            splits = self.splits_of_a_jump(symbol, payer).await.unwrap_or_else(|error| {
                tracing::warn!(
                    symbol = symbol.as_str(),
                    error = &error as &dyn std::error::Error,
                    "cannot check whether a price jump is a split"
                );
                Vec::new()
            });
        }
        let DailySeries { mut bars, doubtful } = without_lone_jumps(symbol, bars, &splits);
        bars.retain(|bar| (first..=last).contains(&bar.date));
        Ok(DailySeries { bars, doubtful: doubtful.filter(|bar| (first..=last).contains(&bar.date)) })
    }
}
