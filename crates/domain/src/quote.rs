//! Prices as they come from a source: quotes and bars.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::money::PriceChange;
use crate::{Price, Side, Symbol, Timestamp};

/// Who a price is from, with its version where that changes prices: `simulated/sim-v1`, `alpha_vantage`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PriceSource(SmolStr);

impl PriceSource {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PriceSource {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for PriceSource {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for PriceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How close to the market a source's prices are when they are as new as it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
pub enum Freshness {
    Simulated,
    Realtime,
    /// Up to 20 minutes behind the market.
    Delayed,
    /// The last session's close, published after it.
    EndOfDay,
}

impl Freshness {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Realtime => "realtime",
            Self::Delayed => "delayed",
            Self::EndOfDay => "end_of_day",
        }
    }

    /// How old a price of this class may be and still fill an order.
    ///
    /// An end-of-day price holds from its close to the next one: four days cover a long weekend, and the
    /// evening in which the next close is not published yet makes it five.
    pub fn fill_limit(self) -> TimeDelta {
        match self {
            Self::Simulated | Self::Realtime => TimeDelta::seconds(60),
            Self::Delayed => TimeDelta::minutes(20),
            Self::EndOfDay => TimeDelta::days(5),
        }
    }
}

impl FromStr for Freshness {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Simulated, Self::Realtime, Self::Delayed, Self::EndOfDay]
            .into_iter()
            .find(|freshness| freshness.as_str() == text)
            .ok_or_else(|| format!("no freshness is called {text:?}"))
    }
}

/// A price at an instant, with where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub symbol: Symbol,
    /// The last trade.
    pub price: Price,
    pub bid: Option<Price>,
    pub ask: Option<Price>,
    /// In shares of this price's session: after a split on that day it is the adjusted one.
    pub previous_close: Option<Price>,
    /// Shares traded in the session so far.
    pub volume: Option<u64>,
    /// Market time of the price.
    pub as_of: Timestamp,
    pub source: PriceSource,
    pub freshness: Freshness,
    /// The source could not give a newer price although one was due.
    pub stale: bool,
}

impl Quote {
    /// `price − previous_close`.
    pub fn change(&self) -> Option<PriceChange> {
        self.previous_close.as_ref().map(|close| self.price.minus(close))
    }

    /// `price / previous_close − 1`, a ratio: 0.05 is +5 %.
    pub fn change_ratio(&self) -> Option<f64> {
        self.previous_close.as_ref().and_then(|close| self.price.change_ratio(close))
    }

    /// What a market order of this side fills at: the ask for a buy, the bid for a sell, else the last price.
    pub fn touch(&self, side: Side) -> (&Price, crate::FillRule) {
        let (touch, rule) = match side {
            Side::Buy => (&self.ask, crate::FillRule::Ask),
            Side::Sell => (&self.bid, crate::FillRule::Bid),
        };
        touch.as_ref().map_or((&self.price, crate::FillRule::Last), |price| (price, rule))
    }
}

/// One step of the market: the quote that holds from its `as_of` on, and what was traded on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceMove {
    pub quote: Quote,
    /// Shares traded in the move, since the one before. `None` where the source does not say.
    pub volume: Option<u64>,
}

/// Open, high, low, close and volume of one session. Prices as traded that day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// The exchange's calendar day.
    pub date: NaiveDate,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub volume: u64,
}
