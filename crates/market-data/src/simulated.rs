//! The built-in market: every price is a function of the seed, the symbol and the instant, and of nothing else.
//!
//! No table, no background task: each process computes the same prices, to the bit, on every architecture
//! (basic arithmetic is exact by IEEE 754, and the rest is `libm`). The version in the name of the source
//! changes with anything that changes a price.

mod catalogue;
mod chance;
mod clock;
mod mix;
mod normal;
mod path;
mod paths;
mod price;
mod profile;
mod recent;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{Days, NaiveDate, TimeDelta};
use domain::{Bar, Calendar, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};

use crate::{Catalogue, QuoteError, QuoteSource, search};
use catalogue::{INSTRUMENTS, Instrument};
use clock::StepWay;
use paths::Paths;

/// The market everybody gets who does not ask for another.
pub const DEFAULT_SEED: u64 = 2026;

const SOURCE: &str = "simulated/sim-v1";
/// The market's first session. It has 2^15 sessions, one on each New York calendar day.
const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1980, 1, 1).expect("a date");
const LAST_DATE: NaiveDate = NaiveDate::from_ymd_opt(2069, 9, 17).expect("a date");
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

    /// A quote of the instrument at that place of the catalogue, `inside` smaller steps into a step.
    fn quote(&self, index: usize, moment: &Moment, way: &StepWay, inside: usize) -> Quote {
        let instrument = &INSTRUMENTS[index];
        let reading = self.paths.reading(index, way, inside, moment.share);
        let price = price::on_tick(reading.price);
        let half_spread = price::half_spread_ratio(instrument.price, instrument.average_volume);
        let (bid, ask) = price::bid_and_ask(&price, half_spread);
        Quote {
            symbol: instrument.symbol(),
            price,
            bid: Some(bid),
            ask: Some(ask),
            previous_close: Some(price::on_tick(reading.previous_close)),
            volume: Some(reading.volume),
            as_of: moment.at,
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
        let moment = Moment::of(at);
        // One way, or two while some of the symbols have come to the next step and others have not.
        let mut ways = HashMap::new();
        let mut quote = |symbol: &Symbol| {
            let moment = moment.as_ref().map_err(Clone::clone)?;
            let index = self.index(symbol)?;
            let (step, inside) = self.paths.steps(index, moment.share);
            let way = ways.entry(step).or_insert_with(|| self.paths.way_to_step(moment.session, step));
            Ok(self.quote(index, moment, way, inside))
        };
        symbols.iter().map(|symbol| (symbol.clone(), quote(symbol))).collect()
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
            bars.extend(session_on(session.date).map(|number| self.bar(index, session.date, number)));
            if bars.len() % BARS_AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(bars)
    }
}

/// A place in the market's time.
#[derive(Debug)]
struct Moment {
    at: Timestamp,
    session: u16,
    /// The share of the session's activity that has passed, from 0 to 1.
    share: f64,
}

impl Moment {
    /// # Errors
    /// Before the market's first session and after its last.
    fn of(at: Timestamp) -> Result<Self, QuoteError> {
        let outside =
            || QuoteError::Upstream(format!("the simulated market reaches from {FIRST_DATE} to {LAST_DATE}"));
        // Looked at before the calendar is, which cannot tell New York's time at the ends of chrono's.
        let near = FIRST_DATE..=LAST_DATE + Days::new(1);
        if !near.contains(&at.utc().date_naive()) {
            return Err(outside());
        }
        let session = Calendar::AroundTheClock.session_at(at).ok_or_else(outside)?;
        let number = session_on(session.date).ok_or_else(outside)?;
        let seconds = |span: TimeDelta| span.as_seconds_f64();
        let elapsed = seconds(at - session.opens_at) / seconds(session.closes_at - session.opens_at);
        let share = profile::elapsed_share(elapsed);
        Ok(Self { at, session: number, share })
    }
}

/// The number of a day's session, from 0.
fn session_on(date: NaiveDate) -> Option<u16> {
    u16::try_from((date - FIRST_DATE).num_days()).ok().filter(|session| *session < clock::SESSIONS)
}

#[cfg(test)]
mod tests;
