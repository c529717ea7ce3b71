//! The built-in market: every price is a function of the seed, the symbol and the instant, and of nothing else.
//!
//! No table, no background task: each process computes the same prices, to the bit, on every architecture
//! (basic arithmetic is exact by IEEE 754, and the rest is `libm`). The version in the name of the source
//! changes with anything that changes a price.

mod catalogue;
mod chance;
mod clock;
mod day;
mod mix;
mod moves;
mod normal;
mod path;
mod paths;
mod price;
mod profile;
mod recent;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::{Bar, Calendar, Freshness, Listing, PriceMove, PriceSource, Quote, Symbol, Timestamp};

use crate::{Catalogue, QuoteError, QuoteSource, search};
use catalogue::{INSTRUMENTS, Instrument};
use day::{Day, FIRST_DATE, LAST_DATE};
use paths::{Paths, Reading};

/// The market everybody gets who does not ask for another.
pub const DEFAULT_SEED: u64 = 2026;

const SOURCE: &str = "simulated/sim-v1";
/// The session of 1 November 2026, at whose open prices are the catalogue's.
const ANCHOR_SESSION: u16 = 17_106;
/// How many bars are computed before other tasks of the thread get their turn.
const BARS_AT_A_TIME: usize = 32;

/// The simulated market of one seed, open around the clock from 1980-01-01 to 2069-09-17, New York time.
///
/// At the open of 1 November 2026 each price is that of the catalogue; from there they go their ways into the
/// future and into the past. A price holds for some seconds, and is the current one at each instant of them: so a
/// quote's `as_of` is the instant that was asked for. There is no overnight gap, because there is no night: a
/// session's first price is the close of the one before.
///
/// Bars are made of 1025 ticks a session. Quotes move in smaller steps, but from one tick to the next they stay
/// between the prices of the two: so no quote is outside its day's bar.
pub struct Simulated {
    paths: Paths,
    by_symbol: HashMap<Symbol, usize>,
}

impl Simulated {
    pub fn new(seed: u64) -> Self {
        let by_symbol = INSTRUMENTS.iter().enumerate().map(|(index, row)| (row.symbol(), index)).collect();
        Self { paths: Paths::new(seed, ANCHOR_SESSION), by_symbol }
    }

    fn index(&self, symbol: &Symbol) -> Result<usize, QuoteError> {
        self.by_symbol.get(symbol).copied().ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))
    }

    /// The instrument at that place of the catalogue, at one of the prices of a reading of it.
    fn quote(&self, index: usize, reading: &Reading, price: f64, volume: u64, at: Timestamp) -> Quote {
        let instrument = &INSTRUMENTS[index];
        let price = price::on_tick(price);
        let half_spread = price::half_spread_ratio(instrument.price, instrument.average_volume);
        let (bid, ask) = price::bid_and_ask(&price, half_spread);
        Quote {
            symbol: instrument.symbol(),
            price,
            bid: Some(bid),
            ask: Some(ask),
            previous_close: Some(price::on_tick(reading.previous_close)),
            volume: Some(volume),
            as_of: at,
            source: self.source(),
            freshness: Freshness::Simulated,
            stale: false,
        }
    }

    fn bar(&self, index: usize, date: NaiveDate, session: u16) -> Bar {
        let bar = self.paths.bar(index, session);
        Bar {
            date,
            open: price::on_tick(bar.open),
            high: price::on_tick(bar.high),
            low: price::on_tick(bar.low),
            close: price::on_tick(bar.close),
            volume: bar.volume,
        }
    }
}

#[async_trait]
impl QuoteSource for Simulated {
    fn source(&self) -> PriceSource {
        PriceSource(SOURCE.to_owned())
    }

    fn freshness(&self) -> Freshness {
        Freshness::Simulated
    }

    fn calendar(&self) -> Calendar {
        Calendar::AroundTheClock
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::Complete(INSTRUMENTS.iter().map(Instrument::listing).collect())
    }

    async fn quotes(&self, symbols: &[Symbol], at: Timestamp) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let day = Day::at(at);
        // One way, or two while some of the symbols have come to the next tick and others have not.
        let mut ways = HashMap::new();
        let mut quote = |symbol: &Symbol| {
            let day = day.as_ref().map_err(Clone::clone)?;
            let index = self.index(symbol)?;
            let (tick, inside) = profile::tick_and_rest(day.quote_step(at, self.paths.delay(index)));
            let way = ways.entry(tick).or_insert_with(|| self.paths.way_to_step(day.number, tick));
            let reading = self.paths.reading(index, way);
            Ok(self.quote(index, &reading, reading.price(inside), reading.volume(day.share(at)), at))
        };
        symbols.iter().map(|symbol| (symbol.clone(), quote(symbol))).collect()
    }

    async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        self.moves_of(self.index(symbol)?, after, until).await
    }

    async fn search(&self, query: &str, limit: usize) -> Result<Vec<Listing>, QuoteError> {
        Ok(search::best_matches(query, INSTRUMENTS.iter().map(Instrument::listing), limit))
    }

    async fn listing(&self, symbol: &Symbol) -> Result<Listing, QuoteError> {
        self.index(symbol).map(|index| INSTRUMENTS[index].listing())
    }

    async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        let index = self.index(symbol)?;
        let mut bars = Vec::new();
        for session in self.calendar().sessions(first.max(FIRST_DATE), last.min(LAST_DATE)) {
            if session.closes_at > at {
                break;
            }
            bars.extend(day::session_on(session.date).map(|number| self.bar(index, session.date, number)));
            if bars.len() % BARS_AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(bars)
    }
}

#[cfg(test)]
mod tests;
