//! Prices from a source: quotes and bars.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::money::PriceChange;
use crate::{Calendar, Price, Side, Symbol, Timestamp};

/// How long after a close its prices are published.
pub const PUBLICATION: TimeDelta = TimeDelta::minutes(30);
/// The longest time between a session's last trade and its close at which the price of that trade counts as the close.
const LAST_TRADE: TimeDelta = TimeDelta::minutes(20);

/// The name of a price source, with a version if the version changes prices: `simulated/sim-v2`, `alpha_vantage`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PriceSource(SmolStr);

impl PriceSource {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the version: `simulated`, `alpha_vantage`, `yahoo`.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(name, _)| name)
    }

    /// Whether this is the built-in market, in any version.
    pub fn is_simulated(&self) -> bool {
        self.name() == "simulated"
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

/// How close to the market the newest prices of a source are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
pub enum Freshness {
    Simulated,
    Realtime,
    /// Up to 20 minutes behind the market.
    Delayed,
    /// The close of the last session, published after it.
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

    /// The longest delay of a price of this class. During a session an older price is stale. An end-of-day price is
    /// stale after that time even if no session has closed since, because it is valid from its close to the next one.
    /// Four days cover a long weekend; the evening until the next close is published makes five.
    fn longest_lag(self) -> TimeDelta {
        match self {
            Self::Simulated | Self::Realtime => TimeDelta::seconds(60),
            Self::Delayed => TimeDelta::minutes(20),
            Self::EndOfDay => TimeDelta::days(5),
        }
    }

    /// Whether a price newer than the market time `as_of` is due at `at`. Pages show a stale price as such, and orders
    /// do not fill at it.
    ///
    /// - In a session of `calendar`, a price may be 60 seconds old (simulated, real-time) or 20 minutes (delayed).
    /// - Outside sessions, a price from the last 20 minutes of the last session is valid until the next session has
    ///   been open for that long.
    /// - An end-of-day price is valid until 30 minutes after the next close, and at most for five days.
    ///
    /// ```
    /// use domain::{Calendar, Freshness, Timestamp};
    ///
    /// // A delayed price may be 20 minutes old while the exchange is open.
    /// let instant = |text: &str| -> Timestamp { text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into() };
    /// let at = instant("2026-11-20T15:00:00Z");
    /// let is_stale = |as_of| Freshness::Delayed.is_stale(instant(as_of), at, Calendar::Xnys);
    /// assert!(!is_stale("2026-11-20T14:45:00Z"));
    /// assert!(is_stale("2026-11-20T14:35:00Z"));
    /// ```
    pub fn is_stale(self, as_of: Timestamp, at: Timestamp, calendar: Calendar) -> bool {
        let oldest_allowed = at - self.longest_lag();
        if self == Self::EndOfDay {
            return as_of < oldest_allowed || as_of < calendar.last_closed(at - PUBLICATION).closes_at;
        }
        let due = match calendar.session_at(oldest_allowed) {
            Some(_) => oldest_allowed,
            None => calendar.last_closed(at).closes_at - LAST_TRADE,
        };
        as_of < due
    }
}

impl FromStr for Freshness {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Simulated, Self::Realtime, Self::Delayed, Self::EndOfDay]
            .into_iter()
            .find(|freshness| freshness.as_str() == text)
            .ok_or_else(|| format!("unknown freshness: {text:?}"))
    }
}

/// The price of a stock at an instant, with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub symbol: Symbol,
    /// The last trade.
    pub price: Price,
    pub bid: Option<Price>,
    pub ask: Option<Price>,
    /// In the shares of this price's session: adjusted if a split took effect on that day.
    pub previous_close: Option<Price>,
    /// Shares traded in the session so far.
    pub volume: Option<u64>,
    /// Market time of the price.
    pub as_of: Timestamp,
    pub source: PriceSource,
    pub freshness: Freshness,
    /// Whether a newer price is due that the source did not provide.
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

    /// The price at which a market order of this side fills, before slippage: the ask for a buy, the bid for a sell, or
    /// else the last price.
    pub fn touch(&self, side: Side) -> (&Price, crate::FillRule) {
        let (touch, rule) = match side {
            Side::Buy => (&self.ask, crate::FillRule::Ask),
            Side::Sell => (&self.bid, crate::FillRule::Bid),
        };
        touch.as_ref().map_or((&self.price, crate::FillRule::Last), |price| (price, rule))
    }
}

/// One step of the market: the quote that is valid from its `as_of` on, and the volume traded since the previous step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceMove {
    pub quote: Quote,
    /// The shares traded since the previous move. `None` if the source does not report them.
    pub volume: Option<u64>,
}

/// Open, high, low, close and volume of one session. Prices are as traded on that day.
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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    /// Whether a price from `as_of` is stale at `at`, by the exchange's calendar. New York is five hours behind UTC.
    fn stale(freshness: Freshness, as_of: &str, at: &str) -> bool {
        freshness.is_stale(instant(as_of), instant(at), Calendar::Xnys)
    }

    #[test]
    fn in_a_session_a_delayed_price_is_stale_after_twenty_minutes() {
        let delayed = |as_of, at| stale(Freshness::Delayed, as_of, at);
        assert!(!delayed("2026-11-20T15:00:00Z", "2026-11-20T15:20:00Z"));
        assert!(delayed("2026-11-20T15:00:00Z", "2026-11-20T15:20:01Z"));
        assert!(delayed("2026-11-20T15:00:00Z", "2026-11-20T17:00:00Z"), "two hours old in an open session");
        // The previous close is valid until the session has been open for 20 minutes.
        assert!(!delayed("2026-11-19T21:00:00Z", "2026-11-20T14:49:59Z"));
        assert!(delayed("2026-11-19T21:00:00Z", "2026-11-20T14:50:00Z"));
    }

    #[test]
    fn outside_sessions_the_last_price_of_the_session_counts() {
        for (freshness, at) in [
            (Freshness::Delayed, "2026-11-20T21:00:00Z"),
            (Freshness::Delayed, "2026-11-20T21:40:00Z"),
            (Freshness::Delayed, "2026-11-23T14:30:00Z"),
            (Freshness::Realtime, "2026-11-20T21:40:00Z"),
            (Freshness::Simulated, "2026-11-22T12:00:00Z"),
        ] {
            assert!(!stale(freshness, "2026-11-20T21:00:00Z", at), "{freshness:?} at {at}");
            assert!(stale(freshness, "2026-11-20T20:39:59Z", at), "{freshness:?} at {at}: the afternoon's");
            assert!(stale(freshness, "2026-11-19T21:00:00Z", at), "{freshness:?} at {at}: the day before's");
        }
    }

    #[test]
    fn a_real_time_price_is_stale_after_a_minute() {
        for freshness in [Freshness::Realtime, Freshness::Simulated] {
            assert!(!stale(freshness, "2026-11-20T15:00:00Z", "2026-11-20T15:01:00Z"));
            assert!(stale(freshness, "2026-11-20T15:00:00Z", "2026-11-20T15:01:01Z"));
        }
        let around_the_clock =
            |as_of, at| Freshness::Simulated.is_stale(instant(as_of), instant(at), Calendar::AroundTheClock);
        // The same over midnight: sessions follow each other without a pause.
        assert!(!around_the_clock("2026-11-21T04:59:30Z", "2026-11-21T05:00:30Z"));
        assert!(around_the_clock("2026-11-21T04:59:29Z", "2026-11-21T05:00:30Z"));
    }

    #[test]
    fn a_close_is_stale_half_an_hour_after_the_next_and_after_five_days() {
        let close = |as_of, at| stale(Freshness::EndOfDay, as_of, at);
        assert!(!close("2026-11-19T21:00:00Z", "2026-11-20T21:29:59Z"));
        assert!(close("2026-11-19T21:00:00Z", "2026-11-20T21:30:00Z"));
        assert!(!close("2026-11-20T21:00:00Z", "2026-11-23T21:29:59Z"));
        // The exchange was closed for a week after the attacks of 11 September 2001.
        assert!(!close("2001-09-10T20:00:00Z", "2001-09-15T20:00:00Z"));
        assert!(close("2001-09-10T20:00:00Z", "2001-09-15T20:00:01Z"));
    }

    proptest! {
        /// A newer price is never staler than an older one, and the newest possible price is never stale.
        #[test]
        fn the_newest_price_is_not_stale_and_newer_prices_are_not_staler(
            minutes in 0_i64..40_000, age in 0_i64..20_000, younger in 0_i64..20_000,
        ) {
            let at = instant("2026-11-02T00:00:00Z") + TimeDelta::minutes(minutes);
            let freshnesses = [Freshness::Simulated, Freshness::Realtime, Freshness::Delayed, Freshness::EndOfDay];
            for (freshness, calendar) in
                freshnesses.into_iter().flat_map(|freshness| [(freshness, Calendar::Xnys), (freshness, Calendar::AroundTheClock)])
            {
                let stale = |as_of| freshness.is_stale(as_of, at, calendar);
                let newest = match freshness {
                    Freshness::EndOfDay => calendar.last_closed(at).closes_at,
                    _ if calendar.session_at(at).is_some() => at,
                    _ => calendar.last_closed(at).closes_at,
                };
                prop_assert!(!stale(newest));
                let older = at - TimeDelta::minutes(age.max(younger));
                let newer = at - TimeDelta::minutes(age.min(younger));
                prop_assert!(stale(older) || !stale(newer));
            }
        }
    }
}
