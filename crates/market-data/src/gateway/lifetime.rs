//! How long answers are cached: this depends on the sessions of the market.

use chrono::TimeDelta;
use domain::plausibility::CONFIRMED_AFTER;
use domain::{Bar, Calendar, Freshness, PUBLICATION, Timestamp};

use crate::QuoteError;

/// The pause before late data is requested again. Free data may come in the evening, and calls are few.
const LATE_RETRY: TimeDelta = TimeDelta::hours(2);
/// How long a price of the current session is cached.
const IN_SESSION: TimeDelta = TimeDelta::seconds(60);
/// How long an error is cached the first time. The time doubles with each consecutive error.
const AFTER_ERROR: TimeDelta = TimeDelta::seconds(30);
/// The longest time for which an error is cached.
const AFTER_MANY_ERRORS: TimeDelta = TimeDelta::minutes(5);
/// How long it takes until an unknown symbol is requested again if it never had a price.
const AFTER_UNKNOWN: TimeDelta = TimeDelta::hours(24);
/// How long it takes until an unknown symbol is requested again if it had a price. The time doubles each time.
const AFTER_LOSS: TimeDelta = TimeDelta::minutes(1);
/// The longest time until a denied symbol that had a price is requested again.
const AFTER_LONG_LOSS: TimeDelta = TimeDelta::hours(1);
/// How long the name of a company is cached.
pub(super) const OF_LISTING: TimeDelta = TimeDelta::hours(24);

/// The rule for caching the answers of one kind of source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) calendar: Calendar,
    /// Whether the source has prices of the current session.
    intraday: bool,
}

impl Lifetime {
    /// `None` for the simulated market, whose answers are not cached.
    pub(super) fn for_freshness(freshness: Freshness, calendar: Calendar) -> Option<Self> {
        match freshness {
            Freshness::Simulated => None,
            Freshness::Realtime | Freshness::Delayed => Some(Self { calendar, intraday: true }),
            Freshness::EndOfDay => Some(Self { calendar, intraday: false }),
        }
    }

    /// The time until which a price of the time `as_of`, received at `at`, is cached.
    pub(super) fn of_price(self, as_of: Timestamp, at: Timestamp) -> Timestamp {
        if !self.intraday {
            return self.until_next_publication(as_of, at);
        }
        // The last prices of a session are published after its close.
        let session = self.calendar.session_at(at).or_else(|| self.calendar.session_at(at - PUBLICATION));
        match session {
            Some(session) if as_of < session.closes_at => at + IN_SESSION,
            _ => self.calendar.next_open(at).opens_at,
        }
    }

    /// The time until which a series with the last bar `last` is cached.
    pub(super) fn of_bars(self, last: Option<&Bar>, at: Timestamp) -> Timestamp {
        let closed = last.and_then(|bar| self.calendar.session(bar.date)).map(|session| session.closes_at);
        match closed {
            Some(closed) => self.until_next_publication(closed, at),
            None => at + LATE_RETRY,
        }
    }

    fn until_next_publication(self, as_of: Timestamp, at: Timestamp) -> Timestamp {
        let published = at - PUBLICATION;
        let next = self.calendar.booking_session(published).closes_at + PUBLICATION;
        let late = as_of < self.calendar.last_closed(published).closes_at;
        if late { next.min(at + LATE_RETRY) } else { next }
    }
}

/// Whether a symbol had a price before the source denied knowing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PriorPrice {
    /// No price is known.
    Unknown,
    /// The symbol had a price: the answer may be a temporary fault of the source.
    HadPrice,
}

/// Whether the error means that the stock does not exist, or that it is not traded here.
pub(super) fn is_denial(error: &QuoteError) -> bool {
    matches!(error, QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. })
}

/// Whether the error reveals nothing about the symbol and may be temporary.
pub(super) fn is_failure(error: &QuoteError, past: PriorPrice) -> bool {
    match error {
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } => past == PriorPrice::HadPrice,
        QuoteError::Unconfirmed(_) => false,
        QuoteError::RateLimited { retry_at } => retry_at.is_none(),
        QuoteError::Upstream(_)
        | QuoteError::KeyRefused
        | QuoteError::NotCovered
        | QuoteError::Unreachable
        | QuoteError::ClockAhead { .. } => true,
    }
}

/// The time until which the `failures`-th consecutive error is cached. A time to retry from the source is respected.
pub(super) fn of_error(error: &QuoteError, failures: u32, past: PriorPrice, at: Timestamp) -> Timestamp {
    let doublings = failures.saturating_sub(1).min(8);
    match error {
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } if past == PriorPrice::HadPrice => {
            at + (AFTER_LOSS * (1 << doublings)).min(AFTER_LONG_LOSS)
        }
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } => at + AFTER_UNKNOWN,
        // A second observation may confirm it.
        QuoteError::Unconfirmed(_) => at + CONFIRMED_AFTER,
        QuoteError::RateLimited { retry_at: Some(retry_at) } => Timestamp::from(*retry_at).max(at),
        QuoteError::RateLimited { retry_at: None }
        | QuoteError::Upstream(_)
        | QuoteError::KeyRefused
        | QuoteError::NotCovered
        | QuoteError::Unreachable
        | QuoteError::ClockAhead { .. } => at + (AFTER_ERROR * (1 << doublings)).min(AFTER_MANY_ERRORS),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    fn kept(freshness: Freshness, as_of: &str, at: &str) -> String {
        let lifetime = Lifetime::for_freshness(freshness, Calendar::Xnys).unwrap();
        lifetime.of_price(instant(as_of), instant(at)).to_rfc3339()
    }

    #[test]
    fn a_close_is_cached_until_the_next_one_is_published() {
        let close = |as_of, at| kept(Freshness::EndOfDay, as_of, at);
        // Thursday's close: on Friday morning, at 16:10 on Friday, and Friday's close on Saturday.
        assert_eq!(close("2026-11-19T21:00:00Z", "2026-11-20T15:00:00Z"), "2026-11-20T21:30:00Z");
        assert_eq!(close("2026-11-19T21:00:00Z", "2026-11-20T21:10:00Z"), "2026-11-20T21:30:00Z");
        assert_eq!(close("2026-11-20T21:00:00Z", "2026-11-21T12:00:00Z"), "2026-11-23T21:30:00Z");
        // Thanksgiving has no session; the Friday after it closes at 13:00.
        assert_eq!(close("2026-11-25T21:00:00Z", "2026-11-26T12:00:00Z"), "2026-11-27T18:30:00Z");
    }

    #[test]
    fn a_late_close_is_requested_again() {
        let lifetime = Lifetime::for_freshness(Freshness::EndOfDay, Calendar::Xnys).unwrap();
        let thursday = instant("2026-11-19T21:00:00Z");
        let evening = instant("2026-11-20T22:00:00Z");
        assert_eq!(lifetime.of_price(thursday, evening), evening + TimeDelta::hours(2));
    }

    #[test]
    fn a_live_price_is_cached_for_a_minute_and_the_last_one_until_the_open() {
        let delayed = |at| kept(Freshness::Delayed, "2026-11-20T15:00:00Z", at);
        assert_eq!(delayed("2026-11-20T15:00:00Z"), "2026-11-20T15:01:00Z");
        assert_eq!(delayed("2026-11-20T22:00:00Z"), "2026-11-23T14:30:00Z");
        // The prices are a quarter of an hour behind: at 16:05 in New York the price of the close is still to come;
        // after it no newer price follows.
        let late = |as_of| kept(Freshness::Delayed, as_of, "2026-11-20T21:05:00Z");
        assert_eq!(late("2026-11-20T20:50:00Z"), "2026-11-20T21:06:00Z");
        assert_eq!(late("2026-11-20T21:00:00Z"), "2026-11-23T14:30:00Z");
        assert!(Lifetime::for_freshness(Freshness::Simulated, Calendar::AroundTheClock).is_none());
    }

    #[test]
    fn errors_are_cached_by_their_kind() {
        let at = instant("2026-11-20T15:00:00Z");
        let unknown = QuoteError::UnknownSymbol("NOSUCH".parse().unwrap());
        let limited = |retry_at: Timestamp| QuoteError::RateLimited { retry_at: Some(retry_at.utc()) };
        let tomorrow = instant("2026-11-21T05:05:00Z");
        let of_error = |error: &QuoteError, failures| of_error(error, failures, PriorPrice::Unknown, at);
        let is_failure = |error: &QuoteError| is_failure(error, PriorPrice::Unknown);
        assert_eq!(of_error(&unknown, 0), at + TimeDelta::hours(24));
        assert_eq!(of_error(&limited(tomorrow), 0), tomorrow);
        assert_eq!(of_error(&limited(at - TimeDelta::hours(1)), 0), at);
        assert!(!is_failure(&unknown) && !is_failure(&limited(tomorrow)));
    }

    #[test]
    fn a_denied_symbol_with_a_price_is_requested_at_growing_intervals() {
        let at = instant("2026-11-20T15:00:00Z");
        let symbol: domain::Symbol = "AAPL".parse().unwrap();
        let denials = [
            QuoteError::UnknownSymbol(symbol.clone()),
            QuoteError::NotTradable { symbol, reason: "it is not quoted in US dollars" },
        ];
        for denial in denials {
            assert!(is_denial(&denial) && is_failure(&denial, PriorPrice::HadPrice));
            for (failures, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (1000, 60)]
            {
                let until = of_error(&denial, failures, PriorPrice::HadPrice, at);
                assert_eq!(until, at + TimeDelta::minutes(minutes), "{failures}");
            }
        }
        assert!(!is_denial(&QuoteError::Unreachable));
    }

    #[test]
    fn a_failure_is_cached_longer_each_time_up_to_five_minutes() {
        let at = instant("2026-11-20T15:00:00Z");
        for (failures, seconds) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (60, 300)] {
            for error in [QuoteError::Unreachable, QuoteError::Upstream("an invalid price".to_owned())] {
                for past in [PriorPrice::Unknown, PriorPrice::HadPrice] {
                    assert!(is_failure(&error, past));
                    let until = of_error(&error, failures, past, at);
                    assert_eq!(until, at + TimeDelta::seconds(seconds), "{failures}");
                }
            }
        }
    }
}
