//! Calls a price source, caches its answers and checks its prices.

mod judging;
mod lifetime;
mod published;
mod quote_request;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::{
    AsTraded, Bar, Calendar, CorporateAction, Freshness, Listing, PriceMove, PriceSource, Quote, Symbol,
    Timestamp,
};
use tokio::sync::OnceCell;

use crate::budget::Purpose;
use crate::cache::{Cache, CacheEntry};
use crate::limits::{CallResult, Limits, Payer};
use crate::metrics::Endpoint;
use crate::observed_actions::ObservedActions;
use crate::source::{in_order, newest_move};
use crate::{Catalogue, FeatureState, KeyFeature, ListedStock, QuoteError, QuoteSource};
use judging::Judge;
use lifetime::{Lifetime, PriorPrice};
use quote_request::{QuoteRequest, cached_error};
use series::SeriesRequest;

/// The most bytes of cached bars.
const BARS_BYTES: u64 = 32 << 20;
/// The most bytes of each other cache: quotes, or the names, of more than ten thousand symbols.
const SMALL_CACHE_BYTES: u64 = 8 << 20;
/// The texts of a listing.
const LISTING_TEXTS: usize = 100;
/// The first day of requested bars. One call returns all bars, so it serves charts of any length.
const FIRST_BAR: NaiveDate = NaiveDate::from_ymd_opt(1980, 1, 1).expect("a date");
/// How often a full series is requested.
const FULL_SERIES_EVERY: TimeDelta = TimeDelta::days(30);
/// How many days of bars a request asks for while the last full series is recent.
const LATEST_BARS: TimeDelta = TimeDelta::days(90);

/// A price source with a cache.
///
/// The simulated market is called directly: it only computes, costs nothing, and moves all the time. Answers of other
/// sources are cached until the source can have a new one, by the sessions of its calendar, and simultaneous callers
/// share one call. Callers pass the market time as `at`.
///
/// With limits, calls to a failing source are paused, each call is counted against the budget of its purpose, and
/// quotes are shared with the other processes of an installation.
pub struct Gateway {
    source: Arc<dyn QuoteSource>,
    limits: Option<Arc<Limits>>,
    quotes: Cache<Quote>,
    bars: Cache<Arc<[Bar]>>,
    listings: Cache<Listing>,
    searches: Cache<Arc<[Listing]>, (String, usize)>,
    /// Symbols whose series the store has, until a new one is available.
    series: Cache<()>,
    /// When each full series was last requested.
    full_series_at: Mutex<HashMap<Symbol, Timestamp>>,
}

impl Gateway {
    /// A gateway without limits, for the simulated market and for tests.
    pub fn new(source: Arc<dyn QuoteSource>) -> Self {
        Self {
            source,
            limits: None,
            quotes: Cache::new(SMALL_CACHE_BYTES, |_| 0),
            bars: Cache::new(BARS_BYTES, |bars| size_of_val(&**bars)),
            listings: Cache::new(SMALL_CACHE_BYTES, |_| LISTING_TEXTS),
            searches: Cache::new(SMALL_CACHE_BYTES, |found| {
                found.len() * (size_of::<Listing>() + LISTING_TEXTS)
            }),
            series: Cache::new(SMALL_CACHE_BYTES, |()| 0),
            full_series_at: Mutex::default(),
        }
    }

    /// A gateway with limits. The simulated market needs none and is called directly.
    pub fn with_limits(source: Arc<dyn QuoteSource>, limits: Limits) -> Self {
        Self { limits: Some(Arc::new(limits)), ..Self::new(source) }
    }

    /// The caches with the numbers of their answers, and with their bytes.
    pub fn cache_sizes(&self) -> [(&'static str, u64, u64); 5] {
        let named = |name, (answers, bytes)| (name, answers, bytes);
        [
            named("provider_quotes", self.quotes.size()),
            named("provider_bars", self.bars.size()),
            named("provider_listings", self.listings.size()),
            named("provider_searches", self.searches.size()),
            named("provider_series", self.series.size()),
        ]
    }

    /// The limits, for the admin page.
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_deref()
    }

    pub fn source(&self) -> PriceSource {
        self.source.source()
    }

    pub fn freshness(&self) -> Freshness {
        self.source.freshness()
    }

    /// Whether the source has one price per session and counted calls. [`Gateway::fetch_series`] requests series from
    /// such a source; the last bar is the price, and prices are read from the store.
    pub fn is_scarce(&self) -> bool {
        self.limits.is_some() && self.freshness() == Freshness::EndOfDay
    }

    /// The purpose of calls by jobs: at the end of a day, jobs use the remaining calls.
    pub fn purpose_of_jobs(&self) -> Purpose {
        match &self.limits {
            Some(limits) if limits.day_is_ending() => Purpose::Leftover,
            _ => Purpose::Scheduled,
        }
    }

    /// The purpose of calls for news of splits and dividends.
    fn purpose_of_news(&self) -> Purpose {
        match self.purpose_of_jobs() {
            Purpose::Scheduled => Purpose::CloseOrNews,
            leftover => leftover,
        }
    }

    /// Whether a newer price than this one is due at `at`; see [`Freshness::is_stale`].
    pub fn is_stale(&self, quote: &Quote, at: Timestamp) -> bool {
        quote.freshness.is_stale(quote.as_of, at, self.calendar())
    }

    fn marked(&self, mut quote: Quote, at: Timestamp) -> Quote {
        quote.stale |= self.is_stale(&quote, at);
        quote
    }

    pub fn calendar(&self) -> Calendar {
        self.source.calendar()
    }

    /// See [`QuoteSource::next_results_on`].
    pub fn next_results_on(&self, symbol: &Symbol, at: Timestamp) -> Option<NaiveDate> {
        self.source.next_results_on(symbol, at)
    }

    /// See [`QuoteSource::features`].
    pub fn features(&self) -> Vec<FeatureState> {
        self.source.features()
    }

    /// How many prices one call returns; see [`QuoteSource::quotes_at_once`].
    pub fn quotes_at_once(&self) -> usize {
        self.source.quotes_at_once()
    }

    /// See [`QuoteSource::catalogue`].
    pub fn catalogue(&self, at: Timestamp) -> Catalogue {
        self.source.catalogue(at)
    }

    /// Returns the newest price of each symbol, in the order of `symbols` and in the shares of its own market time. A
    /// quote is marked as stale if a newer one is due at `at`.
    ///
    /// If the source refuses because of too many calls, the remaining symbols get the same error.
    pub async fn quotes(
        &self,
        purpose: Purpose,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> Vec<Result<AsTraded<Quote>, QuoteError>> {
        let answers = self.newest_quotes(purpose, symbols, at).await;
        answers.into_iter().map(|answer| answer.map(|quote| self.marked(quote, at).into())).collect()
    }

    async fn newest_quotes(
        &self,
        purpose: Purpose,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> Vec<Result<Quote, QuoteError>> {
        let Some(lifetime) = self.lifetime() else {
            return self.source.quotes(symbols, at, &Payer::unlimited()).await;
        };
        let mut answers = HashMap::with_capacity(symbols.len());
        let mut open: Vec<Symbol> = Vec::new();
        for symbol in symbols {
            match self.quotes.get(symbol, at).await {
                Some(kept) => _ = answers.insert(symbol.clone(), kept),
                None if !open.contains(symbol) => open.push(symbol.clone()),
                None => {}
            }
        }
        let mut refused = None;
        for together in open.chunks(self.source.quotes_at_once().max(1)) {
            let request = Arc::new(QuoteRequest {
                source: Arc::clone(&self.source),
                limits: self.limits.clone(),
                lifetime,
                purpose,
                at,
                symbols: together.to_vec(),
                found: OnceCell::new(),
            });
            for symbol in together {
                let answer = match &refused {
                    Some(refusal) => Err(QuoteError::clone(refusal)),
                    None => {
                        let (request, asked) = (Arc::clone(&request), symbol.clone());
                        let fetch = move |failures| async move { request.answer_for(&asked, failures).await };
                        self.quotes.get_or_fetch(symbol, at, fetch).await
                    }
                };
                refused =
                    refused.or_else(|| answer.as_ref().err().filter(|error| is_rate_limit(error)).cloned());
                answers.insert(symbol.clone(), answer);
            }
        }
        in_order(symbols, answers)
    }

    /// Returns the newest price of one symbol, for a waiting user; see [`Gateway::quotes`].
    ///
    /// # Errors
    /// The reason why the source has no price.
    pub async fn quote(&self, symbol: &Symbol, at: Timestamp) -> Result<AsTraded<Quote>, QuoteError> {
        self.newest(Purpose::Interactive, symbol, at).await.map(|quote| self.marked(quote, at).into())
    }

    async fn newest(&self, purpose: Purpose, symbol: &Symbol, at: Timestamp) -> Result<Quote, QuoteError> {
        let asked = std::slice::from_ref(symbol);
        let answer = self.newest_quotes(purpose, asked, at).await.pop();
        answer.unwrap_or_else(|| Err(QuoteError::missing_answer()))
    }

    /// Returns the moves of an interval for a job; see [`QuoteSource::moves`]. For a source with cached answers: the
    /// newest price, if it is new. If prices are shared, the newest price that any process received; then the source is
    /// not called.
    ///
    /// # Errors
    /// The reason why the source has no price.
    pub async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<AsTraded<PriceMove>>, QuoteError> {
        let moves = match self.lifetime() {
            Some(_) if self.shares_prices() => self.published_moves(symbol, after, until).await?,
            Some(_) => {
                // An order meets the price as it was at its time, however old the price is now.
                let newest = self.newest(Purpose::Scheduled, symbol, until).await?;
                newest_move(Quote { stale: false, ..newest }, after, until)
            }
            None => self.source.moves(symbol, after, until, &Payer::unlimited()).await?,
        };
        Ok(moves.into_iter().map(AsTraded::from).collect())
    }

    /// See [`QuoteSource::search`].
    ///
    /// # Errors
    /// The reason why the call failed.
    pub async fn search(&self, query: &str, limit: usize, at: Timestamp) -> Result<Vec<Listing>, QuoteError> {
        let Some(limits) = self.effective_limits() else {
            return self.source.search(query, limit, at, &Payer::unlimited()).await;
        };
        let key = (query.trim().to_lowercase(), limit);
        let (source, limits, now) = (Arc::clone(&self.source), Arc::clone(limits), limits.now());
        let query = key.0.clone();
        let fetch = move |failures| async move {
            let found = match Payer::new(Some(&limits), Endpoint::Search, Purpose::Interactive, None) {
                Ok(payer) => Ok(payer.settle(source.search(&query, limit, at, &payer).await).await),
                Err(error) => Err(error),
            };
            let found = found.map(|asked| asked.map(Arc::<[Listing]>::from));
            kept(found, failures, PriorPrice::Unknown, now, |_| now + lifetime::OF_LISTING)
        };
        self.searches.get_or_fetch(&key, now, fetch).await.map(|found| found.to_vec())
    }

    /// Returns the payer for a request that the caller sends to the source itself; it is never answered from the cache.
    /// Pass the answer to [`Payer::answered`].
    ///
    /// # Errors
    /// The reason why the request must not be made now.
    pub fn payer(&self, purpose: Purpose) -> Result<Payer, QuoteError> {
        self.payer_for(Endpoint::Check, purpose)
    }

    fn payer_for(&self, endpoint: Endpoint, purpose: Purpose) -> Result<Payer, QuoteError> {
        Payer::new(self.effective_limits(), endpoint, purpose, None)
    }

    /// See [`QuoteSource::listed`].
    ///
    /// # Errors
    /// The reason why the call failed, or [`QuoteError::Upstream`] if the table is unusable.
    pub async fn listed(&self, purpose: Purpose) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        let payer = self.payer_for(Endpoint::Listings, purpose)?;
        payer.answered(self.source.listed(&payer).await).await
    }

    /// See [`QuoteSource::delisted`].
    ///
    /// # Errors
    /// The same as [`Gateway::listed`].
    pub async fn delisted(&self, purpose: Purpose) -> Result<Option<Vec<ListedStock>>, QuoteError> {
        let payer = self.payer_for(Endpoint::Listings, purpose)?;
        payer.answered(self.source.delisted(&payer).await).await
    }

    /// Stores the newest series of a symbol, and with it the price: one call for both. If another process is requesting
    /// it, the caller waits for that answer, which the store may then have.
    ///
    /// # Errors
    /// The reason why the call failed. The store may have newer prices nevertheless, from other processes.
    pub async fn fetch_series(
        &self,
        purpose: Purpose,
        symbol: &Symbol,
        at: Timestamp,
    ) -> Result<(), QuoteError> {
        let (Some(life), Some(limits)) = (self.lifetime(), self.effective_limits()) else { return Ok(()) };
        let request = SeriesRequest {
            source: Arc::clone(&self.source),
            limits: Arc::clone(limits),
            lifetime: life,
            purpose,
            at,
            symbol: symbol.clone(),
            first: self.first_of_series(symbol, at),
        };
        self.series.get_or_fetch(symbol, at, move |failures| request.run(failures)).await
    }

    /// The first day of a requested series. The store keeps bars, so the last weeks are enough after a recent full
    /// series.
    fn first_of_series(&self, symbol: &Symbol, at: Timestamp) -> NaiveDate {
        let has_full_series =
            |state: &FeatureState| state.feature == KeyFeature::FullHistory && state.refused_until.is_none();
        if !self.source.features().iter().any(has_full_series) {
            return FIRST_BAR;
        }
        let mut asked = self.full_series_at.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.get(symbol) {
            Some(full_at) if (TimeDelta::zero()..FULL_SERIES_EVERY).contains(&(at - *full_at)) => {
                exchange_date(at - LATEST_BARS)
            }
            _ => {
                asked.insert(symbol.clone(), at);
                FIRST_BAR
            }
        }
    }

    /// See [`QuoteSource::listing`]. With limits, the answer is cached for a day, even the answer that a symbol does
    /// not exist.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`] and [`QuoteError::NotTradable`] if it is not a stock that is traded here.
    pub async fn listing(
        &self,
        purpose: Purpose,
        symbol: &Symbol,
        at: Timestamp,
    ) -> Result<Listing, QuoteError> {
        let Some(limits) = self.effective_limits() else {
            return self.source.listing(symbol, at, &Payer::unlimited()).await;
        };
        let (source, limits, asked, now) =
            (Arc::clone(&self.source), Arc::clone(limits), symbol.clone(), limits.now());
        let fetch = move |failures| async move {
            let found = match Payer::new(Some(&limits), Endpoint::Listing, purpose, Some(&asked)) {
                Ok(payer) => Ok(payer.settle(source.listing(&asked, at, &payer).await).await),
                Err(error) => Err(error),
            };
            let past = quote_request::prior_price_of(Some(&*limits), &asked, &source.source(), &found).await;
            kept(found, failures, past, now, |_| now + lifetime::OF_LISTING)
        };
        self.listings.get_or_fetch(symbol, now, fetch).await
    }

    /// See [`QuoteSource::daily_series`].
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    pub async fn daily_bars(
        &self,
        purpose: Purpose,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        let Some(lifetime) = self.lifetime() else {
            return Ok(self.source.daily_series(symbol, first, last, at, &Payer::unlimited()).await?.bars);
        };
        let all = self.fetch_bars(purpose, symbol, at, lifetime).await?;
        Ok(all.iter().filter(|bar| (first..=last).contains(&bar.date)).cloned().collect())
    }

    /// See [`QuoteSource::observed_company`].
    pub fn observed_company(&self, symbol: &Symbol) -> Option<ListedStock> {
        self.source.observed_company(symbol)
    }

    /// Removes a symbol from the caches of this process, because it belongs to another company now.
    pub async fn forget(&self, symbol: &Symbol) {
        self.quotes.forget(symbol).await;
        self.bars.forget(symbol).await;
        self.listings.forget(symbol).await;
        self.series.forget(symbol).await;
    }

    /// See [`QuoteSource::observed_actions`].
    pub fn observed_actions(&self, symbol: &Symbol) -> Option<ObservedActions> {
        self.source.observed_actions(symbol)
    }

    /// See [`QuoteSource::corporate_actions`]. Actions that were contained in recent answers about prices are not
    /// requested again.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], [`QuoteError::NotTradable`] if the symbol now belongs to another company, or the
    /// reason why the call failed.
    pub async fn corporate_actions(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        let seen = self.observed_actions(symbol).filter(|seen| seen.covers(first, at));
        let purpose = self.purpose_of_news();
        let found = match seen {
            Some(seen) => {
                let inside = seen.actions.into_iter().filter(|action| (first..=last).contains(&action.ex_on));
                inside.collect()
            }
            None => {
                let payer = self.payer_for(Endpoint::CorporateActions, purpose)?;
                payer.answered(self.source.corporate_actions(symbol, first, last, at, &payer).await).await?
            }
        };
        if let Some(limits) = self.effective_limits() {
            Judge { source: &*self.source, limits, purpose, at }.check_company(symbol).await?;
        }
        Ok(found)
    }

    async fn fetch_bars(
        &self,
        purpose: Purpose,
        symbol: &Symbol,
        at: Timestamp,
        life: Lifetime,
    ) -> Result<Arc<[Bar]>, QuoteError> {
        let (source, limits, asked) = (Arc::clone(&self.source), self.limits.clone(), symbol.clone());
        let fetch = move |failures| async move {
            let last = life.calendar.last_closed(at).date;
            let found = match Payer::new(limits.as_ref(), Endpoint::DailyBars, purpose, Some(&asked)) {
                Ok(payer) => {
                    let series = source.daily_series(&asked, FIRST_BAR, last, at, &payer).await;
                    let CallResult { answer, budget_refused } = payer.settle(series).await;
                    let answer = match (answer, &limits) {
                        (Ok(series), Some(limits)) => {
                            Judge { source: &*source, limits, purpose, at }.bars(&asked, series).await
                        }
                        (answer, _) => answer.map(|series| series.bars),
                    };
                    Ok(CallResult { answer, budget_refused })
                }
                Err(error) => Err(error),
            };
            let found = found.map(|asked| asked.map(Arc::<[Bar]>::from));
            let past =
                quote_request::prior_price_of(limits.as_deref(), &asked, &source.source(), &found).await;
            kept(found, failures, past, at, |bars| life.of_bars(bars.last(), at))
        };
        self.bars.get_or_fetch(symbol, at, fetch).await
    }

    /// The rule for caching; `None` for a source that is called each time.
    fn lifetime(&self) -> Option<Lifetime> {
        Lifetime::for_freshness(self.source.freshness(), self.source.calendar())
    }

    fn effective_limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref().filter(|_| self.lifetime().is_some())
    }
}

/// Decides how long an answer is cached. The error that no call was made is not cached, because the next caller may
/// have another purpose.
fn kept<T>(
    found: Result<CallResult<Result<T, QuoteError>>, QuoteError>,
    failures: u32,
    past: PriorPrice,
    at: Timestamp,
    until: impl FnOnce(&T) -> Timestamp,
) -> CacheEntry<T> {
    match found {
        Ok(CallResult { answer: Ok(answer), .. }) => {
            CacheEntry { until: until(&answer), answer: Ok(answer), failures: 0 }
        }
        Ok(CallResult { answer: Err(error), budget_refused: false }) => {
            cached_error(error, failures, past, at)
        }
        Ok(CallResult { answer: Err(error), budget_refused: true }) | Err(error) => {
            CacheEntry { answer: Err(error), until: at, failures }
        }
    }
}

fn is_rate_limit(error: &QuoteError) -> bool {
    matches!(error, QuoteError::RateLimited { .. })
}

#[cfg(test)]
mod tests;
