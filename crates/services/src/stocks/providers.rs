//! The state of the provider of real prices, for operators.

use chrono::NaiveDate;
use domain::{Freshness, PriceSource, Timestamp};
use market_data::{BreakerState, Pot};
use persistence::{listings, providers};

use crate::error::{Error, Result};
use crate::market::demand::stocks_in_use;
use crate::stocks::Stocks;
use crate::stocks::key_features::KeyFeatureState;
use crate::stocks::price_pace::PriceIntervals;

/// The state of the price source, for administrators.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderState {
    pub source: PriceSource,
    pub freshness: Freshness,
    /// The number of stocks that are held, watched or have open orders.
    pub stocks_in_use: usize,
    /// The features that the source is configured to use and that the provider may refuse.
    pub features: Vec<KeyFeatureState>,
    /// How often prices come in a session; `None` if calls are not counted, and for a source with one price per
    /// session.
    pub intervals: Option<PriceIntervals>,
    /// The state of the limits; `None` for the simulated market.
    pub limits: Option<LimitsState>,
    /// When the table of listings was stored, and its size; `None` before that, or without such a table.
    pub listings: Option<(Timestamp, i64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsState {
    /// The day of the counters, in New York.
    pub day: NaiveDate,
    pub pots: Vec<PotState>,
    /// Until when calls are paused, because the provider rejects them or keeps failing; `None` if calls are made.
    pub parked_until: Option<Timestamp>,
    pub breaker: Breaker,
    pub last_answered_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PotState {
    pub name: &'static str,
    pub used: u32,
    pub limit: u32,
}

/// The state of the circuit: whether calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Calls are made.
    Closed,
    /// Calls are paused.
    Open,
    /// One trial call is made to test whether the provider works again.
    HalfOpen,
}

impl Breaker {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl LimitsState {
    pub fn used(&self) -> u32 {
        self.pots.iter().map(|pot| pot.used).sum()
    }

    /// The calls left today; `None` without a limit.
    pub fn left(&self) -> Option<u32> {
        (!self.pots.is_empty()).then(|| self.pots.iter().map(|pot| pot.limit.saturating_sub(pot.used)).sum())
    }
}

impl ProviderState {
    /// How many days it takes until every stock in use has a new close, if more than one. Prices are old then.
    pub fn days_for_all(&self) -> Option<usize> {
        let pots = &self.limits.as_ref().filter(|_| self.freshness == Freshness::EndOfDay)?.pots;
        let scheduled = pots.iter().find(|pot| pot.name == Pot::Scheduled.as_str())?.limit;
        let days = self.stocks_in_use.div_ceil(usize::try_from(scheduled).ok().filter(|n| *n > 0)?);
        (days > 1).then_some(days)
    }
}

impl Stocks {
    /// The state of the price source.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn provider_state(&self) -> Result<ProviderState> {
        let quotes = &self.market.quotes;
        let source = quotes.source();
        let name = source.to_string();
        let (record, listings, stocks_in_use) = self
            .store
            .read(move |tx| {
                let in_use = stocks_in_use(tx)?.len();
                Ok::<_, Error>((providers::record(tx, &name)?, listings::state(tx, &name)?, in_use))
            })
            .await?;
        let limits = match quotes.limits() {
            None => None,
            Some(limits) => {
                let now = self.market.clock.wall();
                let budget = limits.budget().await.map_err(Error::internal)?;
                let parked_until = record.as_ref().and_then(|record| record.parked_until);
                let parked_until = parked_until.filter(|until| *until > now);
                let pots = budget.pots.iter();
                Some(LimitsState {
                    day: budget.day,
                    pots: pots
                        .map(|(pot, used, limit)| PotState { name: pot.as_str(), used: *used, limit: *limit })
                        .collect(),
                    breaker: match limits.breaker() {
                        BreakerState::Closed if parked_until.is_none() => Breaker::Closed,
                        BreakerState::HalfOpen => Breaker::HalfOpen,
                        BreakerState::Closed | BreakerState::Open { .. } => Breaker::Open,
                    },
                    parked_until,
                    last_answered_at: record.as_ref().and_then(|record| record.last_answered_at),
                    last_failed_at: record.as_ref().and_then(|record| record.last_failed_at),
                    last_error: record.and_then(|record| record.last_error),
                })
            }
        };
        let (freshness, intervals) = (quotes.freshness(), self.price_intervals().await?);
        let features = self.features().await?;
        Ok(ProviderState { source, freshness, stocks_in_use, features, intervals, limits, listings })
    }
}
