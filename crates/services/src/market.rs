//! The market: prices, time and calendar.

pub(crate) mod book_calendar;
pub mod clock;
pub(crate) mod companies;
pub(crate) mod demand;
mod former_symbols;
pub mod instruments;
pub mod price_source;
pub(crate) mod provider_store;
pub(crate) mod search_text;
pub mod simulation;
pub(crate) mod stock_memory;
pub(crate) mod wall_clock;

use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use domain::{Calendar, Freshness, PriceSource, Session, Symbol, Timestamp};
use market_data::{BreakerRules, Gateway, Limits, QuoteError, QuoteSource, Rules};
use persistence::{Store, StoreError};

use crate::Clock;
use crate::market::book_calendar::BookCalendar;
use crate::market::provider_store::ProviderStore;
use crate::market::stock_memory::StockChanges;

/// Jobs wait for a rate limit if it ends within this time.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(2);
const SHORTEST_NAP: std::time::Duration = std::time::Duration::from_millis(5);
const LONGEST_NAP: std::time::Duration = std::time::Duration::from_millis(250);

/// The access of use cases to prices and time. All use cases go through it.
pub struct Market {
    pub quotes: Gateway,
    pub clock: Clock,
    pub calendar: Calendar,
    pub(crate) stock_changes: StockChanges,
}

impl Market {
    pub fn new(source: Arc<dyn QuoteSource>, clock: Clock) -> Self {
        let calendar = source.calendar();
        Self { quotes: Gateway::new(source), clock, calendar, stock_changes: StockChanges::default() }
    }

    /// Creates a market whose source has the limits of a provider; the state of the limits is in `store`.
    pub fn limited(source: Arc<dyn QuoteSource>, rules: Rules, store: &Store, clock: Clock) -> Self {
        let (calendar, wall) = (source.calendar(), clock.clone());
        let now = Arc::new(move || wall.wall().utc());
        let stock_changes = StockChanges::default();
        let record = Arc::new(ProviderStore { store: store.clone(), stock_changes: stock_changes.clone() });
        let limits = Limits::new(&source.source(), rules, BreakerRules::SCARCE_CALLS, record, now);
        Self { quotes: Gateway::with_limits(source, limits), clock, calendar, stock_changes }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The session of the newest prices available at `at`: the current session, or else the last closed one. For an
    /// end-of-day source always the last closed one.
    pub fn priced_session(&self, at: Timestamp) -> Session {
        let under_way = match self.quotes.freshness() {
            domain::Freshness::EndOfDay => None,
            _ => self.calendar.session_at(at),
        };
        under_way.unwrap_or_else(|| self.calendar.last_closed(at))
    }

    /// The opening of the session at `at`; `at` itself outside of sessions.
    pub fn opened_at(&self, at: Timestamp) -> Timestamp {
        self.calendar.session_at(at).map_or(at, |session| session.opens_at)
    }

    /// The close before the newest prices, from which the day change counts.
    pub fn previous_close_at(&self, at: Timestamp) -> Timestamp {
        self.calendar.before(self.priced_session(at).date).closes_at
    }

    /// Wall time, for logins, sessions and jobs; it does not depend on the market clock.
    pub fn wall_time(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Whether the market clock was moved or runs at another speed than wall time.
    pub fn is_clock_moved(&self) -> bool {
        self.clock.is_moved()
    }

    /// The price source of this installation.
    pub fn price_source(&self) -> PriceSource {
        self.quotes.source()
    }

    /// The session in which bookings are made now: the current session, or else the next one.
    pub fn booking_session(&self) -> Session {
        self.calendar.booking_session(self.now())
    }

    /// The day of a company's next quarterly results; `None` if the price source does not know it.
    pub fn next_results_on(&self, symbol: &Symbol) -> Option<NaiveDate> {
        self.quotes.next_results_on(symbol, self.now())
    }

    /// How current the newest prices of this installation are.
    pub fn freshness(&self) -> Freshness {
        self.quotes.freshness()
    }

    /// For jobs: waits until a limit per minute or second ends. Returns whether `failure` was such a limit, so that the
    /// request can be repeated.
    pub(crate) async fn may_ask_again(&self, failure: Option<&QuoteError>) -> bool {
        let Some(QuoteError::RateLimited { retry_at: Some(retry_at) }) = failure else { return false };
        let (begun, until) = (self.clock.wall(), Timestamp::from(*retry_at));
        until - begun <= LONGEST_PAUSE && self.wait_until(until).await
    }

    /// Waits until the wall time `until`. Returns whether it was reached: false if the clock stands still.
    async fn wait_until(&self, until: Timestamp) -> bool {
        let begun = (self.clock.wall(), std::time::Instant::now());
        let span = (until - begun.0).to_std().unwrap_or_default() + std::time::Duration::from_millis(100);
        while self.clock.wall() < until && begun.1.elapsed() < span {
            let left = (until - self.clock.wall()).to_std().unwrap_or_default();
            tokio::time::sleep(left.clamp(SHORTEST_NAP, LONGEST_NAP)).await;
        }
        self.clock.wall() >= until
    }

    /// Returns the calendar of the books, with the sessions of former price sources.
    pub(crate) async fn book_calendar(&self, store: &Store) -> Result<BookCalendar, StoreError> {
        let current = self.calendar;
        store.read(move |tx| BookCalendar::load(tx, current)).await
    }
}
