//! Until when an answer is the best there is: by the sessions of the market, not by a constant.

use chrono::TimeDelta;
use domain::{Bar, Calendar, Freshness, Timestamp};

use crate::QuoteError;

/// How long after a close its prices are published.
pub(super) const PUBLICATION: TimeDelta = TimeDelta::minutes(30);
/// When to look again for what is late. Free data may come in the evening; calls are few.
const LATE_RETRY: TimeDelta = TimeDelta::hours(2);
/// How long a price of the running session is kept.
const IN_SESSION: TimeDelta = TimeDelta::seconds(60);
/// How long an error is kept: doubled each time it comes again, up to the longest.
const AFTER_ERROR: TimeDelta = TimeDelta::seconds(30);
const AFTER_MANY_ERRORS: TimeDelta = TimeDelta::minutes(5);
/// A symbol that does not exist today will not this afternoon.
const AFTER_UNKNOWN: TimeDelta = TimeDelta::hours(24);
/// How long the name of a company is kept.
pub(super) const OF_LISTING: TimeDelta = TimeDelta::hours(24);

/// The rule for one kind of source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) calendar: Calendar,
    /// Whether the source has prices of the running session.
    intraday: bool,
}

impl Lifetime {
    /// `None` for the simulated market, whose answers are not kept.
    pub(super) fn of(freshness: Freshness, calendar: Calendar) -> Option<Self> {
        match freshness {
            Freshness::Simulated => None,
            Freshness::Realtime | Freshness::Delayed => Some(Self { calendar, intraday: true }),
            Freshness::EndOfDay => Some(Self { calendar, intraday: false }),
        }
    }

    /// Until when a price of `as_of` that was got at `at` is kept.
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

    /// Until when a series with that last bar is kept.
    pub(super) fn of_bars(self, last: Option<&Bar>, at: Timestamp) -> Timestamp {
        let closed = last.and_then(|bar| self.calendar.session(bar.date)).map(|session| session.closes_at);
        match closed {
            Some(closed) => self.until_next_publication(closed, at),
            None => at + LATE_RETRY,
        }
    }

    /// Whether a newer end-of-day price than that of `as_of` should have been there at `at`.
    pub(super) fn is_late(self, as_of: Timestamp, at: Timestamp) -> bool {
        !self.intraday && as_of < self.calendar.last_closed(at - PUBLICATION).closes_at
    }

    fn until_next_publication(self, as_of: Timestamp, at: Timestamp) -> Timestamp {
        let published = at - PUBLICATION;
        let next = self.calendar.booking_session(published).closes_at + PUBLICATION;
        let late = as_of < self.calendar.last_closed(published).closes_at;
        if late { next.min(at + LATE_RETRY) } else { next }
    }
}

/// Whether an error says nothing about the symbol, and may be over soon.
pub(super) fn is_failure(error: &QuoteError) -> bool {
    match error {
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } => false,
        QuoteError::RateLimited { retry_at } => retry_at.is_none(),
        QuoteError::Upstream(_) | QuoteError::Unreachable => true,
    }
}

/// Until when an error is kept that is the `failures`-th in a row. A source that says when to come back is taken
/// at its word.
pub(super) fn of_error(error: &QuoteError, failures: u32, at: Timestamp) -> Timestamp {
    match error {
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } => at + AFTER_UNKNOWN,
        QuoteError::RateLimited { retry_at: Some(retry_at) } => Timestamp::from(*retry_at).max(at),
        QuoteError::RateLimited { retry_at: None } | QuoteError::Upstream(_) | QuoteError::Unreachable => {
            let doublings = failures.saturating_sub(1).min(8);
            at + (AFTER_ERROR * (1 << doublings)).min(AFTER_MANY_ERRORS)
        }
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
        let lifetime = Lifetime::of(freshness, Calendar::Xnys).unwrap();
        lifetime.of_price(instant(as_of), instant(at)).to_rfc3339()
    }

    #[test]
    fn a_close_is_fresh_until_the_next_one_is_published() {
        let close = |as_of, at| kept(Freshness::EndOfDay, as_of, at);
        // Thursday's close: on Friday morning, at 16:10 on Friday, and Friday's close on Saturday.
        assert_eq!(close("2026-11-19T21:00:00Z", "2026-11-20T15:00:00Z"), "2026-11-20T21:30:00Z");
        assert_eq!(close("2026-11-19T21:00:00Z", "2026-11-20T21:10:00Z"), "2026-11-20T21:30:00Z");
        assert_eq!(close("2026-11-20T21:00:00Z", "2026-11-21T12:00:00Z"), "2026-11-23T21:30:00Z");
        // Thanksgiving is no session; the Friday after it closes at 13:00.
        assert_eq!(close("2026-11-25T21:00:00Z", "2026-11-26T12:00:00Z"), "2026-11-27T18:30:00Z");
    }

    #[test]
    fn a_late_close_is_asked_for_again_and_marked() {
        let lifetime = Lifetime::of(Freshness::EndOfDay, Calendar::Xnys).unwrap();
        let (thursday, friday) = (instant("2026-11-19T21:00:00Z"), instant("2026-11-20T21:00:00Z"));
        let evening = instant("2026-11-20T22:00:00Z");
        assert_eq!(lifetime.of_price(thursday, evening), evening + TimeDelta::hours(2));
        assert!(lifetime.is_late(thursday, evening) && !lifetime.is_late(friday, evening));
        assert!(!lifetime.is_late(thursday, instant("2026-11-20T21:29:59Z")));
    }

    #[test]
    fn a_running_price_is_fresh_for_a_minute_and_the_last_one_until_the_open() {
        let delayed = |at| kept(Freshness::Delayed, "2026-11-20T15:00:00Z", at);
        assert_eq!(delayed("2026-11-20T15:00:00Z"), "2026-11-20T15:01:00Z");
        assert_eq!(delayed("2026-11-20T22:00:00Z"), "2026-11-23T14:30:00Z");
        // A quarter of an hour behind: at 16:05 in New York the close is still to come, and then nothing is.
        let late = |as_of| kept(Freshness::Delayed, as_of, "2026-11-20T21:05:00Z");
        assert_eq!(late("2026-11-20T20:50:00Z"), "2026-11-20T21:06:00Z");
        assert_eq!(late("2026-11-20T21:00:00Z"), "2026-11-23T14:30:00Z");
        assert!(Lifetime::of(Freshness::Simulated, Calendar::AroundTheClock).is_none());
    }

    #[test]
    fn errors_are_kept_by_what_they_say() {
        let at = instant("2026-11-20T15:00:00Z");
        let unknown = QuoteError::UnknownSymbol("NOSUCH".parse().unwrap());
        let limited = |retry_at: Timestamp| QuoteError::RateLimited { retry_at: Some(retry_at.utc()) };
        let tomorrow = instant("2026-11-21T05:05:00Z");
        assert_eq!(of_error(&unknown, 0, at), at + TimeDelta::hours(24));
        assert_eq!(of_error(&limited(tomorrow), 0, at), tomorrow);
        assert_eq!(of_error(&limited(at - TimeDelta::hours(1)), 0, at), at);
        assert!(!is_failure(&unknown) && !is_failure(&limited(tomorrow)));
    }

    #[test]
    fn a_failure_is_kept_longer_each_time_up_to_five_minutes() {
        let at = instant("2026-11-20T15:00:00Z");
        for (failures, seconds) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (60, 300)] {
            for error in [QuoteError::Unreachable, QuoteError::Upstream("a price that cannot be".to_owned())]
            {
                assert!(is_failure(&error));
                assert_eq!(of_error(&error, failures, at), at + TimeDelta::seconds(seconds), "{failures}");
            }
        }
    }
}
