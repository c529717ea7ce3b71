//! Series from a source with few calls: one process requests a series and stores it for all.

use std::sync::Arc;

use chrono::NaiveDate;
use domain::{Bar, Freshness, Quote, Symbol, Timestamp};

use super::judging::Judge;
use super::kept;
use super::lifetime::Lifetime;
use super::quote_request::{self, PeerWait};
use crate::budget::{Published, Purpose, Series};
use crate::cache::CacheEntry;
use crate::limits::{CallResult, Limits, Payer};
use crate::metrics::Endpoint;
use crate::plausible::jumps;
use crate::source::DailySeries;
use crate::{QuoteError, QuoteSource};

/// A request for a series.
pub(super) struct SeriesRequest {
    pub(super) source: Arc<dyn QuoteSource>,
    pub(super) limits: Arc<Limits>,
    pub(super) lifetime: Lifetime,
    pub(super) purpose: Purpose,
    pub(super) at: Timestamp,
    pub(super) symbol: Symbol,
    /// The first requested day.
    pub(super) first: NaiveDate,
}

impl SeriesRequest {
    pub(super) async fn run(self, failures: u32) -> CacheEntry<()> {
        let lease = format!("{}/series/{}", self.source.source(), self.symbol);
        let mut waiting = PeerWait::for_purpose(self.purpose);
        loop {
            let is_mine = self.limits.try_lease(&lease).await;
            // Another process may have received it just before this process got the lease.
            let found = self.published_series().await;
            if is_mine {
                let answer = match found {
                    Some(found) => found,
                    None => self.fetch(failures).await,
                };
                self.limits.release(&lease).await;
                return answer;
            }
            if let Some(found) = found {
                return found;
            }
            if let Err(busy) = waiting.pause_before_check().await {
                return CacheEntry { answer: Err(busy), until: self.at, failures };
            }
        }
    }

    /// Returns the series' entry if the store already has it.
    async fn published_series(&self) -> Option<CacheEntry<()>> {
        let asked = std::slice::from_ref(&self.symbol);
        let published = self.limits.store.published(asked).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot read series of other processes");
            std::collections::HashMap::new()
        });
        let published = published.get(&self.symbol)?;
        quote_request::is_good(published, &self.source.source(), self.lifetime, self.at).then(|| CacheEntry {
            answer: Ok(()),
            until: self.lifetime.of_price(published.quote.as_of, published.fetched_at),
            failures: 0,
        })
    }

    async fn fetch(&self, failures: u32) -> CacheEntry<()> {
        let last = self.lifetime.calendar.last_closed(self.at).date;
        let found =
            match Payer::new(Some(&self.limits), Endpoint::DailyBars, self.purpose, Some(&self.symbol)) {
                Ok(payer) => {
                    let series =
                        self.source.daily_series(&self.symbol, self.first, last, self.at, &payer).await;
                    match payer.settle(series).await {
                        CallResult { answer: Ok(series), budget_refused } => match self.keep(series).await {
                            Ok(as_of) => Ok(CallResult { answer: Ok(as_of), budget_refused }),
                            Err(error @ QuoteError::Unconfirmed(_)) => {
                                Ok(CallResult { answer: Err(error), budget_refused })
                            }
                            Err(error) => Err(error),
                        },
                        CallResult { answer: Err(error), budget_refused } => {
                            Ok(CallResult { answer: Err(error), budget_refused })
                        }
                    }
                }
                Err(error) => Err(error),
            };
        let (at, source) = (self.at, self.source.source());
        let past = quote_request::prior_price_of(Some(&*self.limits), &self.symbol, &source, &found).await;
        let CacheEntry { answer, until, failures } =
            kept(found, failures, past, at, |as_of| self.lifetime.of_price(*as_of, at));
        CacheEntry { answer: answer.map(drop), until, failures }
    }

    /// Stores the accepted bars and returns the time of the last accepted price.
    async fn keep(&self, series: DailySeries) -> Result<Timestamp, QuoteError> {
        let (limits, purpose, at) = (&self.limits, self.purpose, self.at);
        let bars = Judge { source: &*self.source, limits, purpose, at }.series(&self.symbol, series).await?;
        let quote =
            self.close(&bars).ok_or_else(|| QuoteError::Upstream("a series without a session".to_owned()))?;
        let as_of = quote.as_of;
        let series = Series { bars, close: Published { quote, fetched_at: self.at } };
        self.limits.store.keep_series(&series).await?;
        Ok(as_of)
    }

    /// The last bar as a quote. A previous close in other shares, from before a split, is omitted.
    fn close(&self, bars: &[Bar]) -> Option<Quote> {
        let last = bars.last()?;
        let session = self.lifetime.calendar.session(last.date)?;
        let before = bars.len().checked_sub(2).map(|at| &bars[at].close);
        Some(Quote {
            symbol: self.symbol.clone(),
            price: last.close.clone(),
            bid: None,
            ask: None,
            previous_close: before.filter(|before| !jumps(before, &last.close)).cloned(),
            volume: Some(last.volume),
            as_of: session.closes_at,
            source: self.source.source(),
            freshness: Freshness::EndOfDay,
            stale: false,
        })
    }
}
