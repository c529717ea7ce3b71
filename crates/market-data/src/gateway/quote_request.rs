//! Requests the quotes of several symbols: uses quotes that other processes received, requests the rest together, and
//! stores the answers for others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{PriceSource, Quote, Symbol, Timestamp};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::judging::Judge;
use super::lifetime::{self, Lifetime, PriorPrice};
use crate::budget::{Published, Purpose};
use crate::cache::CacheEntry;
use crate::limits::{Answer, CallResult, Limits, Outcome, Payer};
use crate::metrics::Endpoint;
use crate::{QuoteError, QuoteSource};

/// How long to wait for a price that another process is requesting: its call waits for its turn, and is repeated once
/// if the source fails.
const MAX_PEER_WAIT: Duration = Duration::from_secs(20);
/// The first pause between two checks for the other process's answer; later pauses are longer.
const FIRST_CHECK_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two checks for the other process's answer.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_millis(400);
/// How far another process may be ahead: because of its clock, or because it sent its request later and got the answer
/// first.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// A request for the quotes of several symbols, made at most once. Any caller that waits for one of them may start it.
pub(super) struct QuoteRequest {
    pub(super) source: Arc<dyn QuoteSource>,
    pub(super) limits: Option<Arc<Limits>>,
    pub(super) lifetime: Lifetime,
    pub(super) purpose: Purpose,
    pub(super) at: Timestamp,
    pub(super) symbols: Vec<Symbol>,
    pub(super) found: OnceCell<HashMap<Symbol, QuoteAnswer>>,
}

/// The result for one symbol.
#[derive(Debug, Clone)]
pub(super) struct QuoteAnswer {
    answer: Result<Quote, QuoteError>,
    /// When the source was called; `None` if it was not called. Then the result shows nothing about the state of the
    /// source.
    requested_at: Option<Timestamp>,
    past: PriorPrice,
}

impl QuoteRequest {
    /// Returns the symbol's answer with its caching time after `failures` consecutive failures.
    pub(super) async fn answer_for(&self, symbol: &Symbol, failures: u32) -> CacheEntry<Quote> {
        let found = self.found.get_or_init(|| self.fetch()).await.get(symbol).cloned();
        let QuoteAnswer { answer, requested_at, past } = found.unwrap_or_else(|| self.missing_answer());
        match (answer, requested_at) {
            (Ok(quote), requested_at) => {
                let until = self.lifetime.of_price(quote.as_of, requested_at.unwrap_or(self.at));
                CacheEntry { answer: Ok(quote), until, failures: 0 }
            }
            (Err(error), Some(_)) => cached_error(error, failures, past, self.at),
            (Err(error), None) => CacheEntry { answer: Err(error), until: self.at, failures },
        }
    }

    async fn fetch(&self) -> HashMap<Symbol, QuoteAnswer> {
        let mut found = self.published_answers().await;
        let open: Vec<Symbol> =
            self.symbols.iter().filter(|symbol| !found.contains_key(*symbol)).cloned().collect();
        match open.as_slice() {
            [] => {}
            [one] => {
                let answer = self.fetch_one(one).await;
                found.insert(one.clone(), answer);
            }
            many => found.extend(self.call_source(many).await),
        }
        found
    }

    /// One process calls the source; the others wait for its answer.
    async fn fetch_one(&self, symbol: &Symbol) -> QuoteAnswer {
        let Some(limits) = &self.limits else { return self.call_source_for_one(symbol).await };
        let lease = format!("{}/quote/{symbol}", self.source.source());
        let mut waiting = PeerWait::for_purpose(self.purpose);
        loop {
            let is_mine = limits.try_lease(&lease).await;
            // Another process may have received it just before this process got the lease.
            if let Some(found) = self.published_answers().await.remove(symbol) {
                if is_mine {
                    limits.release(&lease).await;
                }
                return found;
            }
            if is_mine {
                let found = self.call_source_for_one(symbol).await;
                limits.release(&lease).await;
                return found;
            }
            if let Err(busy) = waiting.pause_before_check().await {
                return QuoteAnswer { answer: Err(busy), requested_at: None, past: PriorPrice::Unknown };
            }
        }
    }

    fn missing_answer(&self) -> QuoteAnswer {
        QuoteAnswer {
            answer: Err(QuoteError::missing_answer()),
            requested_at: Some(self.at),
            past: PriorPrice::Unknown,
        }
    }

    async fn call_source_for_one(&self, symbol: &Symbol) -> QuoteAnswer {
        let found = self.call_source(std::slice::from_ref(symbol)).await.remove(symbol);
        found.unwrap_or_else(|| self.missing_answer())
    }

    async fn call_source(&self, symbols: &[Symbol]) -> HashMap<Symbol, QuoteAnswer> {
        let about = if let [one] = symbols { Some(one) } else { None };
        let (answers, was_asked) =
            match Payer::new(self.limits.as_ref(), Endpoint::Quotes, self.purpose, about) {
                Ok(payer) => {
                    let asked = payer.settle(self.source.quotes(symbols, self.at, &payer).await).await;
                    (asked.answer, !asked.budget_refused)
                }
                Err(error) => (vec![Err(error); symbols.len()], false),
            };
        let answers = symbols.iter().cloned().zip(answers).collect();
        let answers = match &self.limits {
            Some(limits) => {
                let judge = Judge { source: &*self.source, limits, purpose: self.purpose, at: self.at };
                judge.quotes(answers).await
            }
            None => answers,
        };
        if let Some(limits) = &self.limits {
            let quotes = answers.values().filter_map(|answer| answer.as_ref().ok());
            let published = quotes.map(|quote| Published { quote: quote.clone(), fetched_at: self.at });
            let published: Vec<Published> = published.collect();
            if !published.is_empty()
                && let Err(error) = limits.store.publish(&published).await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "other processes will request the same quotes again"
                );
            }
        }
        let requested_at = was_asked.then_some(self.at);
        let is_denied = |answer: &Result<Quote, QuoteError>| answer.as_ref().is_err_and(lifetime::is_denial);
        let denied: Vec<Symbol> = answers
            .iter()
            .filter(|(_, answer)| was_asked && is_denied(answer))
            .map(|(symbol, _)| symbol.clone())
            .collect();
        let known = symbols_with_price(self.limits.as_deref(), &denied, &self.source.source()).await;
        let found = |(symbol, answer)| {
            let past = if known.contains(&symbol) { PriorPrice::HadPrice } else { PriorPrice::Unknown };
            (symbol, QuoteAnswer { answer, requested_at, past })
        };
        answers.into_iter().map(found).collect()
    }

    /// Quotes that another process, or this process before a restart, received so recently that the source has no newer
    /// ones.
    async fn published_answers(&self) -> HashMap<Symbol, QuoteAnswer> {
        let Some(limits) = &self.limits else { return HashMap::new() };
        let published = limits.store.published(&self.symbols).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot read quotes of other processes");
            HashMap::new()
        });
        let source = self.source.source();
        let good = published
            .into_iter()
            .filter(|(_, published)| is_good(published, &source, self.lifetime, self.at));
        good.map(|(symbol, Published { quote, fetched_at })| {
            (
                symbol,
                QuoteAnswer { answer: Ok(quote), requested_at: Some(fetched_at), past: PriorPrice::HadPrice },
            )
        })
        .collect()
    }
}

/// The state of waiting for another process's request.
pub(super) struct PeerWait {
    until: Instant,
    pause: Duration,
}

impl PeerWait {
    pub(super) fn for_purpose(purpose: Purpose) -> Self {
        Self { until: Instant::now() + purpose.longest_wait() + MAX_PEER_WAIT, pause: FIRST_CHECK_PAUSE }
    }

    /// Waits until the next check.
    ///
    /// # Errors
    /// If the other process's request should already have ended.
    pub(super) async fn pause_before_check(&mut self) -> Result<(), QuoteError> {
        if Instant::now() >= self.until {
            return Err(QuoteError::Upstream("another process is still asking for it".to_owned()));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_CHECK_PAUSE);
        Ok(())
    }
}

/// Whether the published quote is so recent that the source has no newer one.
pub(super) fn is_good(
    published: &Published,
    source: &PriceSource,
    lifetime: Lifetime,
    at: Timestamp,
) -> bool {
    published.quote.source == *source
        && published.fetched_at <= at + CLOCK_MARGIN
        && at < lifetime.of_price(published.quote.as_of, published.fetched_at)
}

/// A refusal takes precedence; otherwise one answered symbol means that the source works.
impl Answer for Vec<Result<Quote, QuoteError>> {
    fn failure(&self) -> Option<&QuoteError> {
        let failures = || self.iter().map(|answer| answer.as_ref().err());
        let refusal =
            failures().find(|failure| matches!(Outcome::from_failure(*failure), Outcome::Refused(_)));
        let answered = || failures().find(|failure| Outcome::from_failure(*failure) == Outcome::Answered);
        refusal.or_else(answered).or_else(|| failures().next()).unwrap_or(Some(&QuoteError::Unreachable))
    }
}

/// The symbols for which any process has ever had a price from this source.
async fn symbols_with_price(
    limits: Option<&Limits>,
    symbols: &[Symbol],
    source: &PriceSource,
) -> HashSet<Symbol> {
    let Some(limits) = limits.filter(|_| !symbols.is_empty()) else { return HashSet::new() };
    match limits.store.published(symbols).await {
        Ok(published) => published
            .into_iter()
            .filter(|(_, published)| published.quote.source == *source)
            .map(|(symbol, _)| symbol)
            .collect(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot read which symbols had a price");
            // If the store fails, all symbols are treated as known. They are requested again sooner than necessary.
            symbols.iter().cloned().collect()
        }
    }
}

/// Returns whether the symbol had a price before, given the source's answer.
pub(super) async fn prior_price_of<T>(
    limits: Option<&Limits>,
    symbol: &Symbol,
    source: &PriceSource,
    found: &Result<CallResult<Result<T, QuoteError>>, QuoteError>,
) -> PriorPrice {
    let denied = matches!(found, Ok(CallResult { answer: Err(error), budget_refused: false }) if lifetime::is_denial(error));
    if !denied || symbols_with_price(limits, std::slice::from_ref(symbol), source).await.is_empty() {
        return PriorPrice::Unknown;
    }
    PriorPrice::HadPrice
}

/// Caches an error, for a longer time after each consecutive failure.
pub(super) fn cached_error<T>(
    error: QuoteError,
    failures: u32,
    past: PriorPrice,
    at: Timestamp,
) -> CacheEntry<T> {
    let failures = if lifetime::is_failure(&error, past) { failures.saturating_add(1) } else { 0 };
    CacheEntry { until: lifetime::of_error(&error, failures, past, at), answer: Err(error), failures }
}
