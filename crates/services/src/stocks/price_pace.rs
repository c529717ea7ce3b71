//! How often jobs request the price of each stock if calls to the source are limited: first for stocks with open
//! orders, then for held ones, then for watched ones.

use chrono::TimeDelta;
use domain::{Freshness, Stock, Symbol, Timestamp};
use market_data::{Pace, Published};

use crate::error::{Error, Result};
use crate::market::demand::{PriceDemand, demand};
use crate::stocks::Stocks;

/// Each group gets this share of the calls that the more urgent groups leave, if there are less urgent groups.
const SHARE: f64 = 2.0 / 3.0;
/// The shortest interval between two requests for a price, in minutes.
const SHORTEST_MINUTES: f64 = 1.0;
/// Tolerance for the interval between runs of the job, which start about a minute apart.
const JITTER: TimeDelta = TimeDelta::seconds(5);
/// Longer intervals between the prices of a stock with an open order, in minutes, are called slow.
const SLOW_FOR_ORDERS: u32 = 5;
/// Longer intervals between the prices of other stocks, in minutes, are called slow: a delayed price older than twenty
/// minutes is shown as stale.
const SLOW_FOR_OTHERS: u32 = 20;

/// How often new prices come during a session at the current pace.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceIntervals {
    /// The average number of calls for prices.
    pub calls_per_minute: f64,
    /// The remaining calls for prices in the session, or in the next session outside of one; `None` without a limit per
    /// day.
    pub calls_left: Option<u32>,
    /// The calls of the day that are reserved for closes, splits and dividends.
    pub calls_kept: u32,
    /// Stocks with open orders.
    pub ordered: PriceInterval,
    /// Other stocks that are held.
    pub held: PriceInterval,
    /// Other stocks on watchlists, or formerly held.
    pub watched: PriceInterval,
}

/// How often the prices of a group of stocks are updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceInterval {
    pub stocks: usize,
    /// Minutes between two prices of a stock, rounded up. For an empty group, the interval of a single stock. `None` if
    /// no calls are left for the group.
    pub minutes: Option<u32>,
}

impl PriceIntervals {
    fn from_pace(pace: Pace, counts: [usize; 3], at_once: usize) -> Self {
        let [ordered, held, watched] =
            intervals(counts, pace.calls_per_minute, at_once).map(|minutes| minutes.map(rounded_up));
        let group = |at: usize, minutes| PriceInterval { stocks: counts[at], minutes };
        Self {
            calls_per_minute: pace.calls_per_minute,
            calls_left: pace.calls_left,
            calls_kept: pace.kept,
            ordered: group(0, ordered),
            held: group(1, held),
            watched: group(2, watched),
        }
    }

    /// Whether prices are so infrequent that administrators should know.
    pub fn is_slow(&self) -> bool {
        let slow = |group: PriceInterval, bound| {
            group.stocks > 0 && group.minutes.is_none_or(|minutes| minutes > bound)
        };
        slow(self.ordered, SLOW_FOR_ORDERS)
            || slow(self.held, SLOW_FOR_OTHERS)
            || slow(self.watched, SLOW_FOR_OTHERS)
    }

    /// Minutes between two prices of a stock with an open order, if this is so long that the owner should know.
    pub fn slow_minutes_for_orders(&self) -> Option<u32> {
        self.ordered.minutes.filter(|minutes| *minutes > SLOW_FOR_ORDERS)
    }
}

/// Minutes between two prices for each group, if one call returns `at_once` prices. `None` if no calls are left for it.
#[expect(clippy::cast_precision_loss, reason = "numbers of stocks are small")]
fn intervals(counts: [usize; 3], calls_per_minute: f64, at_once: usize) -> [Option<f64>; 3] {
    let mut left = calls_per_minute * at_once.max(1) as f64;
    let mut found = [None; 3];
    for (at, interval) in found.iter_mut().enumerate() {
        // An empty group gets the interval of a single stock.
        let count = counts[at].max(1) as f64;
        let is_last = counts[at + 1..].iter().all(|later| *later == 0);
        let prices_per_minute = (if is_last { left } else { left * SHARE }).min(count);
        *interval = (prices_per_minute > 0.0).then(|| (count / prices_per_minute).max(SHORTEST_MINUTES));
        if counts[at] > 0 {
            left -= prices_per_minute;
        }
    }
    found
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the largest number")]
fn rounded_up(minutes: f64) -> u32 {
    // Subtracts a little before rounding up, so that float errors do not add a minute.
    (minutes - 1e-6).ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

/// The stocks whose prices the job requests now, most urgent first.
#[derive(Debug, Clone, Default)]
pub(crate) struct DuePrices {
    pub(crate) stocks: Vec<Stock>,
    pub(crate) in_use: usize,
}

impl Stocks {
    /// Returns how often new prices come during a session at the current pace. `None` if calls are not counted, and for
    /// a source with one price per session.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn price_intervals(&self) -> Result<Option<PriceIntervals>> {
        let quotes = &self.market.quotes;
        let Some(limits) = quotes.limits().filter(|_| quotes.shares_prices()) else { return Ok(None) };
        let Some(pace) = limits.pace().await.map_err(Error::internal)? else { return Ok(None) };
        let demand = self.store.read(demand).await?;
        Ok(Some(PriceIntervals::from_pace(pace, counts(&demand), quotes.quotes_at_once())))
    }

    /// The prices that the job should request now.
    pub(crate) async fn due_prices(&self, now: Timestamp) -> Result<DuePrices> {
        let quotes = &self.market.quotes;
        let demand = self.store.read(demand).await?;
        let in_use = demand.len();
        let pace = match quotes.limits().filter(|_| quotes.shares_prices()) {
            Some(limits) => limits.pace().await.map_err(Error::internal)?,
            None => None,
        };
        let Some(pace) = pace else {
            return Ok(DuePrices { stocks: demand.into_iter().map(|(_, stock)| stock).collect(), in_use });
        };
        let at_once = quotes.quotes_at_once().max(1);
        let groups = intervals(counts(&demand), pace.calls_per_minute, at_once);
        let symbols: Vec<Symbol> = demand.iter().map(|(_, stock)| stock.listing.symbol.clone()).collect();
        let seen = quotes.published_quotes(&symbols).await.map_err(Error::internal)?;
        let rule =
            DueRule { groups, calendar: self.market.calendar, freshness: self.market.freshness(), now };
        let mut due: Vec<(PriceDemand, Option<Timestamp>, Stock)> = demand
            .into_iter()
            .filter_map(|(wanted, stock)| {
                let seen = seen.get(&stock.listing.symbol);
                rule.is_due(wanted, seen).then(|| (wanted, seen.map(|seen| seen.fetched_at), stock))
            })
            .collect();
        due.sort_by(|a, b| (a.0, a.1, &a.2.listing.symbol).cmp(&(b.0, b.1, &b.2.listing.symbol)));
        if let Some(ready) = pace.ready {
            due.truncate(usize::try_from(ready).unwrap_or(usize::MAX).saturating_mul(at_once));
        }
        Ok(DuePrices { stocks: due.into_iter().map(|(.., stock)| stock).collect(), in_use })
    }
}

fn counts(demand: &[(PriceDemand, Stock)]) -> [usize; 3] {
    [PriceDemand::Orders, PriceDemand::Positions, PriceDemand::Lists]
        .map(|group| demand.iter().filter(|(wanted, _)| *wanted == group).count())
}

/// The rule that decides when a new price of a stock is due.
struct DueRule {
    groups: [Option<f64>; 3],
    calendar: domain::Calendar,
    freshness: Freshness,
    now: Timestamp,
}

impl DueRule {
    /// Whether a new price is due: during the session once per interval of the group, and after the session once more
    /// for its last price.
    fn is_due(&self, wanted: PriceDemand, seen: Option<&Published>) -> bool {
        let Some(Published { quote, fetched_at }) = seen else { return true };
        let last_prices = last_prices(self.freshness);
        let closed = self.calendar.last_closed(self.now);
        let session = self
            .calendar
            .session_at(self.now)
            .or_else(|| (self.now < closed.closes_at + last_prices).then_some(closed));
        let Some(session) = session else {
            return quote.as_of < closed.closes_at && *fetched_at < closed.closes_at + last_prices;
        };
        if quote.as_of >= session.closes_at {
            return false;
        }
        let minutes = match wanted {
            PriceDemand::Orders => self.groups[0],
            PriceDemand::Positions => self.groups[1],
            PriceDemand::Lists => self.groups[2],
        };
        minutes.is_some_and(|minutes| self.now - *fetched_at + JITTER >= span(minutes))
    }
}

/// How long after a close its last prices are published.
pub(crate) fn last_prices(freshness: Freshness) -> TimeDelta {
    match freshness {
        Freshness::Delayed => market_data::Pacing::DELAYED.last_prices,
        _ => market_data::Pacing::REALTIME.last_prices,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a pace is within a session")]
fn span(minutes: f64) -> TimeDelta {
    TimeDelta::milliseconds((minutes * 60_000.0).min(1e12) as i64)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use domain::{Calendar, PriceSource, Quote};

    use super::*;

    /// Yahoo's 600 scheduled calls in 406 minutes, with five calls reserved for each stock.
    fn yahoo(counts: [usize; 3], at_once: usize) -> [Option<u32>; 3] {
        let stocks: usize = counts.iter().sum();
        let free = 600 - 5 * u32::try_from(stocks).unwrap();
        intervals(counts, f64::from(free) / 406.0, at_once).map(|minutes| minutes.map(rounded_up))
    }

    #[test]
    fn stocks_with_open_orders_come_before_held_ones() {
        // 585 calls in 406 minutes are 1.44 per minute: each of three stocks with orders has a price every 2.08
        // minutes.
        assert_eq!(yahoo([3, 0, 0], 1)[0], Some(3));
        // With thirty stocks: 450 calls, 1.11 per minute.
        assert_eq!(yahoo([30, 0, 0], 1)[0], Some(28));
        assert_eq!(yahoo([0, 30, 0], 1)[1], Some(28));
        // Two thirds go to the three stocks with orders: 0.74 per minute. The remaining 27 stocks share the rest.
        assert_eq!(yahoo([3, 27, 0], 1), [Some(5), Some(74), None]);
        let [ordered, held, watched] = yahoo([3, 17, 10], 1).map(Option::unwrap);
        assert!(ordered < held && held < watched, "{ordered} {held} {watched}");
        // Fifty prices per call: all stocks once per minute.
        assert_eq!(yahoo([3, 17, 10], 50), [Some(1); 3]);
        assert_eq!(intervals([3, 1, 0], 0.0, 1), [None; 3]);
    }

    #[test]
    fn the_groups_together_use_all_calls() {
        for counts in [[1, 0, 0], [3, 27, 0], [30, 100, 70], [0, 5, 200], [2, 0, 9], [0, 0, 40]] {
            for rate in [0.1, 1.18, 7.5] {
                let found = intervals(counts, rate, 1);
                let calls = counts.iter().zip(found).filter(|(count, _)| **count > 0);
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let used: f64 = calls.map(|(count, minutes)| *count as f64 / minutes.unwrap()).sum();
                assert!(used <= rate + 1e-9, "{counts:?} at {rate}: {used}");
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let most = counts.iter().sum::<usize>() as f64;
                assert!(used >= rate.min(most) * 0.66, "{counts:?} at {rate}: {used}");
            }
        }
    }

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    #[test]
    fn a_price_is_due_once_in_its_interval_and_once_after_the_session() {
        let due = |now: &str, fetched: &str, as_of: &str| {
            let quote = Quote {
                symbol: "AAPL".parse().unwrap(),
                price: "100".parse().unwrap(),
                bid: None,
                ask: None,
                previous_close: None,
                volume: None,
                as_of: instant(&format!("2026-11-{as_of}Z")),
                source: PriceSource::from("yahoo"),
                freshness: Freshness::Delayed,
                stale: false,
            };
            let seen = Published { quote, fetched_at: instant(&format!("2026-11-{fetched}Z")) };
            let rule = DueRule {
                groups: [Some(4.0), Some(60.0), None],
                calendar: Calendar::Xnys,
                freshness: Freshness::Delayed,
                now: instant(&format!("2026-11-{now}Z")),
            };
            assert!(rule.is_due(PriceDemand::Lists, None));
            [PriceDemand::Orders, PriceDemand::Positions, PriceDemand::Lists]
                .map(|wanted| rule.is_due(wanted, Some(&seen)))
        };
        assert_eq!(due("20T16:03:00", "20T16:00:00", "20T15:45:00"), [false; 3]);
        assert_eq!(due("20T16:03:56", "20T16:00:00", "20T15:45:00"), [true, false, false]);
        assert_eq!(due("20T17:00:00", "20T16:00:00", "20T15:45:00"), [true, true, false]);
        // At 16:10 in New York, delayed prices from before the close still come. At 16:16 the last price is due, once.
        assert_eq!(due("20T21:10:00", "20T21:05:00", "20T20:50:00"), [true, false, false]);
        assert_eq!(due("20T21:16:00", "20T21:15:00", "20T20:40:00"), [true; 3]);
        assert_eq!(due("20T21:17:00", "20T21:16:10", "20T20:40:00"), [false; 3], "the last trade was then");
        assert_eq!(due("20T21:16:00", "20T21:15:00", "20T21:00:00"), [false; 3]);
        // No requests on weekends. On Monday morning, the stock that missed its last price is due.
        assert_eq!(due("22T15:00:00", "20T21:16:10", "20T21:00:00"), [false; 3]);
        assert_eq!(due("23T13:00:00", "20T20:30:00", "20T20:15:00"), [true; 3]);
    }
}
