//! Spreads the scheduled calls of a day over its session, for a source whose prices move while the market is open.
//!
//! The remaining scheduled calls, less the reserve for closes and news, are spread over the time until the last prices
//! of the session are published: each call delays the next one by `time left / calls left`. If calls are unused in the
//! morning, the afternoon's calls follow each other faster; a process that starts at noon has all remaining calls.

use chrono::TimeDelta;
use domain::calendar::exchange_date;
use domain::{Calendar, Timestamp};

/// How far calls may be ahead of an even pace: a job that runs once per minute requests several prices at once.
pub(super) const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// Before the session opens, 1/`BEFORE_OPENING` of a day's scheduled calls may be made, for missing prices.
const BEFORE_OPENING: u32 = 10;
/// Of a session's calls, 1/`FOLLOWED` are for prices on open pages. The rest is for orders and positions.
pub(super) const FOLLOWED: i32 = 3;

/// How the scheduled calls of a source are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// How long after a close its last prices are published.
    pub last_prices: TimeDelta,
    /// The calls per day that are reserved for each stock in use: for its close, and for news of its splits and
    /// dividends.
    pub kept_per_stock: u32,
}

impl Pacing {
    /// For prices that are 15 minutes behind the market. Besides its prices in the session, a stock needs four calls
    /// per day: two for news, one for the last price, and one for the close. One more is for repetitions.
    pub const DELAYED: Self = Self { last_prices: TimeDelta::minutes(16), kept_per_stock: 5 };
    /// For real-time prices.
    pub const REALTIME: Self = Self { last_prices: TimeDelta::minutes(1), kept_per_stock: 5 };

    /// Scheduled calls reserved for closes and news, of `limit` per day: at most three quarters.
    pub(super) fn kept(self, limit: u32, stocks_in_use: u32) -> u32 {
        self.kept_per_stock.saturating_mul(stocks_in_use).min(most_kept(limit))
    }

    /// The number of these calls that stay reserved after the session, while the last prices are requested.
    pub(super) fn kept_in_the_evening(limit: u32, stocks_in_use: u32) -> u32 {
        stocks_in_use.min(most_kept(limit))
    }

    pub(super) fn phase(self, now: Timestamp) -> Phase {
        let Some(session) = Calendar::Xnys.session(exchange_date(now)) else { return Phase::Free };
        let ends_at = session.closes_at + self.last_prices;
        match () {
            () if now < session.opens_at => Phase::BeforeOpening { opens_at: session.opens_at },
            () if now < ends_at => Phase::Session { ends_at },
            () => Phase::Evening,
        }
    }

    /// Minutes of a full session in which prices are published.
    pub(super) fn session_minutes(self) -> f64 {
        minutes(TimeDelta::minutes(390) + self.last_prices)
    }
}

/// The phase of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No session on this day: calls are not paced.
    Free,
    /// The session is over and its last prices are published.
    Evening,
    BeforeOpening {
        opens_at: Timestamp,
    },
    /// Prices of the session are being published.
    Session {
        ends_at: Timestamp,
    },
}

/// The most calls that are reserved: three quarters of `limit`.
fn most_kept(limit: u32) -> u32 {
    u32::try_from(u64::from(limit) * 3 / 4).unwrap_or(limit)
}

/// The time between two calls if the `left` calls are spread evenly over `time`. `None` if none are left.
pub(super) fn gap(left: u32, time: TimeDelta) -> Option<TimeDelta> {
    (left > 0).then(|| time / i32::try_from(left).unwrap_or(i32::MAX))
}

/// The number of calls that may be made at `now`, if the first one is due at `next` and each delays the next one by
/// `gap`.
pub(super) fn ready(next: Timestamp, gap: TimeDelta, now: Timestamp) -> u32 {
    let ahead = (now + AHEAD - next.max(now)).num_milliseconds();
    match ahead {
        ..0 => 0,
        ahead => u32::try_from(ahead / gap.num_milliseconds().max(1) + 1).unwrap_or(u32::MAX),
    }
}

/// The number of calls, of `limit` scheduled ones, that may be made before the session opens.
pub(super) fn before_opening(limit: u32) -> u32 {
    limit / BEFORE_OPENING
}

/// The pace of scheduled calls for prices, for the job that makes them and for the admin page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Calls that may be made now. `None` if calls are not paced: outside sessions, and without a limit per day.
    pub ready: Option<u32>,
    /// The average in the rest of the session; outside sessions, the average in the next one.
    pub calls_per_minute: f64,
    /// The calls left for prices of that session. `None` without a limit per day.
    pub calls_left: Option<u32>,
    /// Calls reserved for closes and news.
    pub kept: u32,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a day fit")]
pub(super) fn minutes(span: TimeDelta) -> f64 {
    span.num_milliseconds() as f64 / 60_000.0
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn instant(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    #[test]
    fn calls_are_paced_from_the_opening_until_the_last_prices_have_come() {
        let phase = |text| Pacing::DELAYED.phase(instant(text));
        let opens_at = instant("2026-11-20T14:30:00Z");
        assert_eq!(phase("2026-11-20T05:00:00Z"), Phase::BeforeOpening { opens_at });
        assert_eq!(phase("2026-11-20T14:29:59Z"), Phase::BeforeOpening { opens_at });
        let ends_at = instant("2026-11-20T21:16:00Z");
        assert_eq!(phase("2026-11-20T14:30:00Z"), Phase::Session { ends_at });
        assert_eq!(phase("2026-11-20T21:15:59Z"), Phase::Session { ends_at });
        // The session after Thanksgiving closes at 13:00.
        assert_eq!(
            phase("2026-11-27T15:00:00Z"),
            Phase::Session { ends_at: instant("2026-11-27T18:16:00Z") }
        );
        for evening in ["2026-11-20T21:16:00Z", "2026-11-21T04:30:00Z"] {
            assert_eq!(phase(evening), Phase::Evening, "{evening}");
        }
        assert_eq!(phase("2026-11-21T15:00:00Z"), Phase::Free, "a Saturday");
    }

    #[test]
    fn calls_may_be_five_minutes_ahead_of_an_even_pace() {
        let now = instant("2026-11-20T15:00:00Z");
        let (minute, later) = (TimeDelta::minutes(1), |minutes| now + TimeDelta::minutes(minutes));
        assert_eq!(ready(later(-30), minute, now), 6, "unused calls are not saved up");
        assert_eq!(ready(now, minute, now), 6);
        assert_eq!(ready(later(4), minute, now), 2);
        assert_eq!(ready(later(5), minute, now), 1);
        assert_eq!(ready(later(6), minute, now), 0);
        assert_eq!(ready(now, TimeDelta::minutes(20), now), 1);
        assert_eq!(gap(480, TimeDelta::minutes(240)), Some(TimeDelta::seconds(30)));
        assert_eq!(gap(0, minute), None);
    }

    #[test]
    fn at_most_three_quarters_of_the_calls_are_kept_for_closes_and_news() {
        let kept = |stocks| Pacing::DELAYED.kept(600, stocks);
        assert_eq!(
            [kept(0), kept(3), kept(30), kept(89), kept(91), kept(u32::MAX)],
            [0, 15, 150, 445, 450, 450]
        );
        let evening = |stocks| Pacing::kept_in_the_evening(600, stocks);
        assert_eq!([evening(0), evening(30), evening(u32::MAX)], [0, 30, 450]);
    }
}
