//! The built-in market: every price is a function of only the seed, the symbol and the time.
//!
//! There is no table and no background task: each process computes the same prices, to the bit, on every architecture
//! (basic arithmetic is exact by IEEE 754, the rest is `libm`). The version in the source's name changes with every
//! change of prices.

mod actions;
mod catalogue;
mod chance;
mod clock;
mod day;
mod events;
mod mix;
mod model;
mod moves;
mod normal;
mod path;
mod paths;
mod price;
mod profile;
mod recent;
mod results;
mod sessions;
mod volatility;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{Days, NaiveDate};
use domain::{
    Bar, Calendar, CorporateAction, Freshness, Listing, Price, PriceMove, PriceSource, Quote, Symbol,
    Timestamp,
};

use crate::{Catalogue, DailySeries, Payer, QuoteError, QuoteSource, search};
use catalogue::{INSTRUMENTS, Instrument};
use day::Day;
pub use model::SimulatedModel;
use path::SessionStep;
use paths::{DayVolume, Paths, Reading, StepWays};
use recent::Recent;
use sessions::{FIRST_DATE, LAST_DATE};

/// The seed for tests and examples, and for installations that began with `sim-v1` without a seed.
pub const DEFAULT_SEED: u64 = 2026;

/// At the opening of the first session on or after this day, prices are those of the catalog.
const ANCHOR_DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 1).expect("a date");
/// How many bars are computed before the thread's other tasks get their turn.
const BARS_AT_A_TIME: usize = 32;

/// The simulated market of one seed, from 1980-01-01 to 2069-09-17, New York time. It is open around the clock, or in
/// its exchange view in the sessions of the New York exchanges.
///
/// At the opening of the first session on or after 1 November 2026 each price is that of the catalog; from there it is
/// computed into the future and into the past. A price stays the same for some seconds and is current all that time, so
/// a quote's `as_of` is the requested time. Around the clock there is no overnight gap: a session's first price is the
/// close of the previous session, except for dividends, splits and company results. In the exchange view a session
/// opens at another price than the previous close; between sessions a quote is the last close with its time, and is not
/// stale.
///
/// Bars consist of 1025 ticks per session. Quotes move in smaller steps, but between two ticks they stay between the
/// two prices, so no quote is outside its day's bar.
///
/// All prices are as traded. Dividends and splits take effect at the opening of their session. A new symbol is valid
/// from its first session on, and the old symbol still finds the same stock. A delisted stock keeps its last price,
/// marked as stale.
pub struct Simulated {
    model: SimulatedModel,
    paths: Paths,
    /// The names, in the order of the catalog.
    names: Vec<Names>,
    by_symbol: HashMap<Symbol, usize>,
    /// Cached quotes by index in the catalog, session and smaller step: a price stays the same for seconds, and many
    /// callers request it.
    standing: Recent<(usize, u16, usize), Standing>,
}

/// The quote of an instrument during one smaller step; only its time and volume change.
#[derive(Debug, Clone)]
struct Standing {
    quote: Quote,
    volume: DayVolume,
}

/// The number of cached quotes: those of all instruments in their last four steps.
const STANDING_REMEMBERED: usize = 4 * INSTRUMENTS.len();

/// The symbols of an instrument, and other data for each of its quotes.
struct Names {
    symbol: Symbol,
    /// The new symbol, and the first session in which it is valid.
    renamed: Option<(u16, Symbol)>,
    half_spread: f64,
}

impl Simulated {
    /// Creates the market of this seed in the newest version, open around the clock.
    pub fn new(seed: u64) -> Self {
        Self::with_seed(SimulatedModel::V2, seed)
    }

    /// Creates the market of this seed in the given version.
    pub fn with_seed(model: SimulatedModel, seed: u64) -> Self {
        let anchor =
            model.sessions().from(ANCHOR_DATE).expect("Invariant: the market is open after the anchor");
        let paths = Paths::new(model, seed, anchor);
        let symbol =
            |text: &str| -> Symbol { text.parse().expect("the catalogue's symbols are well formed") };
        let names = |(index, row): (usize, &Instrument)| Names {
            symbol: symbol(row.symbol),
            renamed: paths.events(index).renaming.map(|(session, renaming)| (session, symbol(renaming.to))),
            half_spread: price::half_spread_ratio(row.price, row.average_volume),
        };
        let names: Vec<Names> = INSTRUMENTS.iter().enumerate().map(names).collect();
        let mut by_symbol = HashMap::new();
        for (index, Names { symbol, renamed, .. }) in names.iter().enumerate() {
            let later = renamed.as_ref().map(|(_, symbol)| symbol);
            by_symbol.extend([symbol].into_iter().chain(later).map(|symbol| (symbol.clone(), index)));
        }
        Self { model, paths, names, by_symbol, standing: Recent::new(STANDING_REMEMBERED) }
    }

    /// The index in the catalog of the instrument that has this symbol in the session, or had it before.
    fn index(&self, symbol: &Symbol, session: u16) -> Result<usize, QuoteError> {
        let index = self.by_symbol.get(symbol).copied();
        let is_known = |index: &usize| match &self.names[*index].renamed {
            Some((begins, later)) => symbol != later || session >= *begins,
            None => true,
        };
        index.filter(is_known).ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))
    }

    /// The symbol of an instrument in a session.
    fn symbol(&self, index: usize, session: u16) -> &Symbol {
        let Names { symbol, renamed, .. } = &self.names[index];
        renamed.as_ref().filter(|(begins, _)| session >= *begins).map_or(symbol, |(_, later)| later)
    }

    fn listing_in(&self, index: usize, session: u16) -> Listing {
        let instrument = &INSTRUMENTS[index];
        let renaming = self.paths.events(index).renaming.filter(|(begins, _)| session >= *begins);
        let company_name = renaming.map_or(instrument.company_name, |(_, renaming)| renaming.company_name);
        instrument.listing(self.symbol(index, session).clone(), company_name)
    }

    /// The instruments traded in a session.
    fn listings_in(&self, session: u16) -> impl Iterator<Item = Listing> {
        (0..INSTRUMENTS.len())
            .filter(move |index| self.paths.events(*index).is_traded(session))
            .map(move |index| self.listing_in(index, session))
    }

    /// The newest quote of an instrument; for a delisted one the last quote.
    fn newest_quote(&self, index: usize, day: &Day, at: Timestamp, ways: &mut StepWays) -> Quote {
        let last_day = self.paths.events(index).delisted.filter(|end| day.number >= *end);
        let last_day = last_day.and_then(|end| Day::numbered(self.model, end.saturating_sub(1)));
        let day = last_day.as_ref().unwrap_or(day);
        let at = day.or_last_instant(at);
        let step = day.quote_step(at, self.paths.delay(index));
        let Standing { mut quote, volume } = self.standing.get_or((index, day.number, step), || {
            let (tick, inside) = profile::tick_and_rest(step);
            let reading = self.paths.reading(index, SessionStep { session: day.number, step: tick }, ways);
            let quote = self.quote(index, &reading, reading.price(inside), 0, at);
            Standing { quote, volume: reading.day_volume }
        });
        quote.as_of = at;
        quote.volume = Some(volume.until(day.share(at)));
        if last_day.is_some() {
            (quote.bid, quote.ask, quote.stale) = (None, None, true);
        }
        quote
    }

    /// The quote of an instrument at one of the prices of its current step.
    fn quote(&self, index: usize, reading: &Reading, price: f64, volume: u64, at: Timestamp) -> Quote {
        let price = self.on_tick(price);
        let (bid, ask) = price::bid_and_ask(&price, self.names[index].half_spread);
        Quote {
            symbol: self.symbol(index, reading.session()).clone(),
            price,
            bid: Some(bid),
            ask: Some(ask),
            previous_close: Some(self.on_tick(reading.previous_close)),
            volume: Some(volume),
            as_of: at,
            source: self.source(),
            freshness: Freshness::Simulated,
            stale: false,
        }
    }

    /// Rounds to the tick, within the price range of this version.
    fn on_tick(&self, price: f64) -> Price {
        let (least, most) = self.model.price_range();
        price::on_tick(price.clamp(least, most))
    }

    /// The session of the newest prices at `at`, limited to the first and the last session.
    fn session_near(&self, at: Timestamp) -> u16 {
        match Day::newest(self.model, at) {
            Ok(day) => day.number,
            Err(_) if at.utc().date_naive() <= FIRST_DATE + Days::new(1) => 0,
            Err(_) => self.model.sessions().count() - 1,
        }
    }

    fn bar(&self, index: usize, date: NaiveDate, session: u16) -> Bar {
        let bar = self.paths.bar(index, session);
        Bar {
            date,
            open: self.on_tick(bar.open),
            high: self.on_tick(bar.high),
            low: self.on_tick(bar.low),
            close: self.on_tick(bar.close),
            volume: bar.volume,
        }
    }
}

#[async_trait]
impl QuoteSource for Simulated {
    fn source(&self) -> PriceSource {
        self.model.source()
    }

    fn freshness(&self) -> Freshness {
        Freshness::Simulated
    }

    fn calendar(&self) -> Calendar {
        self.model.calendar()
    }

    fn catalogue(&self, at: Timestamp) -> Catalogue {
        Catalogue::Complete(self.listings_in(self.session_near(at)).collect())
    }

    async fn quotes(&self, symbols: &[Symbol], at: Timestamp, _: &Payer) -> Vec<Result<Quote, QuoteError>> {
        let day = Day::newest(self.model, at);
        // The map gets one entry, or two while only some symbols have reached the next tick.
        let mut ways = StepWays::new();
        let quote = |symbol: &Symbol| {
            let day = day.as_ref().map_err(Clone::clone)?;
            Ok(self.newest_quote(self.index(symbol, day.number)?, day, at, &mut ways))
        };
        symbols.iter().map(quote).collect()
    }

    async fn moves(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
        _: &Payer,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        self.moves_of(self.index(symbol, self.session_near(until))?, after, until).await
    }

    async fn search(
        &self,
        query: &str,
        limit: usize,
        at: Timestamp,
        _: &Payer,
    ) -> Result<Vec<Listing>, QuoteError> {
        Ok(search::best_matches(query, self.listings_in(self.session_near(at)), limit))
    }

    async fn listing(&self, symbol: &Symbol, at: Timestamp, _: &Payer) -> Result<Listing, QuoteError> {
        let session = self.session_near(at);
        let index = self.index(symbol, session)?;
        if !self.paths.events(index).is_traded(session) {
            return Err(QuoteError::NotTradable { symbol: symbol.clone(), reason: "it is delisted" });
        }
        Ok(self.listing_in(index, session))
    }

    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        _: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        let index = self.index(symbol, self.session_near(at))?;
        let mut bars = Vec::new();
        let (first, last) = (first.max(FIRST_DATE), last.min(LAST_DATE));
        let Some(first_number) = self.model.sessions().from(first) else { return Ok(bars.into()) };
        for (number, session) in (first_number..).zip(self.calendar().sessions(first, last)) {
            if session.closes_at > at || !self.paths.events(index).is_traded(number) {
                break;
            }
            bars.push(self.bar(index, session.date, number));
            if bars.len().is_multiple_of(BARS_AT_A_TIME) {
                tokio::task::yield_now().await;
            }
        }
        Ok(bars.into())
    }

    fn next_results_on(&self, symbol: &Symbol, at: Timestamp) -> Option<NaiveDate> {
        let session = self.session_near(at);
        let next = self.paths.next_results(self.index(symbol, session).ok()?, session)?;
        Some(self.model.sessions().date(next))
    }

    async fn corporate_actions(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        _: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        let session = self.session_near(at);
        Ok(self.actions_of(self.index(symbol, session)?, first, last, session))
    }
}

#[cfg(test)]
mod statistics;
#[cfg(test)]
mod tests;
