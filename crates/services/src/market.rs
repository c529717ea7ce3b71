//! The market: prices, time and calendar, which belong together.

pub mod clock;
pub mod coverage;
pub mod key_features;
pub mod price_pace;
pub(crate) mod provider_store;
pub mod providers;
pub(crate) mod search_text;
pub mod simulation;
pub mod stocks;
pub mod unconfirmed_prices;
pub(crate) mod wall_clock;

use std::sync::Arc;

use chrono::NaiveDate;
use domain::{Calendar, PriceSource, Session, Symbol, Timestamp};
use market_data::{BreakerRules, Gateway, Limits, QuoteSource, Rules};
use persistence::Store;

use crate::market::provider_store::ProviderStore;
use crate::{Clock, Services};

/// The only way a use case reaches prices and time.
pub struct Market {
    pub quotes: Gateway,
    pub clock: Clock,
    pub calendar: Calendar,
}

impl Market {
    pub fn new(source: Arc<dyn QuoteSource>, clock: Clock) -> Self {
        let calendar = source.calendar();
        Self { quotes: Gateway::new(source), clock, calendar }
    }

    /// With the limits of a provider, whose record is kept in `store`.
    pub fn limited(source: Arc<dyn QuoteSource>, rules: Rules, store: &Store, clock: Clock) -> Self {
        let (calendar, wall) = (source.calendar(), clock.clone());
        let now = Arc::new(move || wall.wall().utc());
        let record = Arc::new(ProviderStore(store.clone()));
        let limits = Limits::new(&source.source(), rules, BreakerRules::SCARCE_CALLS, record, now);
        Self { quotes: Gateway::with_limits(source, limits), clock, calendar }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The session whose prices are the newest to be had at `at`: the one under way, or the last to have
    /// closed; of an end-of-day source always the latter.
    pub fn priced_session(&self, at: Timestamp) -> Session {
        let under_way = match self.quotes.freshness() {
            domain::Freshness::EndOfDay => None,
            _ => self.calendar.session_at(at),
        };
        under_way.unwrap_or_else(|| self.calendar.last_closed(at))
    }

    /// When the session under way at `at` has opened; while there is none, `at`.
    pub fn opened_at(&self, at: Timestamp) -> Timestamp {
        self.calendar.session_at(at).map_or(at, |session| session.opens_at)
    }

    /// The close before the newest prices: from there "today" counts.
    pub fn previous_close_at(&self, at: Timestamp) -> Timestamp {
        self.calendar.before(self.priced_session(at).date).closes_at
    }
}

impl Services {
    /// The market's time.
    pub fn now(&self) -> Timestamp {
        self.market.now()
    }

    /// The machine's time, of logins, sessions and jobs, whatever the market's clock does.
    pub fn wall_time(&self) -> Timestamp {
        self.market.clock.wall()
    }

    /// Whether the market's clock was moved or runs faster than the machine's.
    pub fn is_clock_moved(&self) -> bool {
        self.market.clock.is_moved()
    }

    /// Where the prices come from.
    pub fn price_source(&self) -> PriceSource {
        self.market.quotes.source()
    }

    /// The session that a booking of this moment belongs to: the one under way, or else the next.
    pub fn booking_session(&self) -> Session {
        self.market.calendar.booking_session(self.market.now())
    }

    /// The day of a company's next quarterly results, where the price source knows it.
    pub fn next_results_on(&self, symbol: &Symbol) -> Option<NaiveDate> {
        self.market.quotes.next_results_on(symbol, self.market.now())
    }
}
