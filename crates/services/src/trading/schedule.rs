//! The market clock and its trading days.

use chrono::NaiveDate;
use domain::{Calendar, Session, Timestamp, TradingMode};

use crate::trading::Trading;

/// The market time, and when the market opens and closes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarketClock {
    pub now: Timestamp,
    pub is_open: bool,
    /// The opening of the first session that opens later than `now`.
    pub next_open: Timestamp,
    /// The close of the current session, or of the next one outside of sessions.
    pub next_close: Timestamp,
    /// Seconds of market time per second of wall time.
    pub speed: f64,
    pub calendar: Calendar,
    pub mode: TradingMode,
}

/// A session, and whether it closes before the usual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradingDay {
    pub session: Session,
    pub closes_early: bool,
}

impl Trading {
    /// The market clock. Its sessions are those in which orders fill: with realistic trading hours the sessions of the
    /// New York exchanges.
    pub fn market_clock(&self) -> MarketClock {
        let now = self.market.now();
        let calendar = self.rules().of_deployment().calendar;
        MarketClock {
            now,
            is_open: calendar.session_at(now).is_some(),
            next_open: calendar.next_open(now).opens_at,
            next_close: calendar.booking_session(now).closes_at,
            speed: self.market.clock.speed(),
            calendar,
            mode: self.rules().of_deployment().mode,
        }
    }

    /// The sessions from `first` to `last`, both included, in order.
    pub fn trading_days(&self, first: NaiveDate, last: NaiveDate) -> Vec<TradingDay> {
        let calendar = self.rules().of_deployment().calendar;
        let day =
            |session: Session| TradingDay { closes_early: calendar.closes_early(session.date), session };
        calendar.sessions(first, last).map(day).collect()
    }
}
