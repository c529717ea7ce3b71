//! The market: prices, time and calendar, which belong together.

use std::sync::Arc;

use domain::{Calendar, Session, Timestamp};
use market_data::{BreakerRules, Gateway, Limits, QuoteSource, Rules};
use persistence::Store;

use crate::Clock;
use crate::provider_store::ProviderStore;

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
