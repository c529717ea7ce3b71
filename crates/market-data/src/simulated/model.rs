//! The versions of the simulated market. A version never changes its prices once it has been released.

use domain::{Calendar, PriceSource};

use super::price;
use super::profile::{self, Profile};
use super::sessions::Sessions;

/// A version of the simulated market and its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedModel {
    /// The first model, open around the clock, for installations that were started with it.
    V1,
    /// Persistent volatility, crises and quarterly results; open around the clock.
    V2,
    /// [`SimulatedModel::V2`] in the sessions of the New York exchanges, with opening gaps.
    V2Xnys,
}

impl SimulatedModel {
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V2Xnys];

    /// The name of the price source, which is stored with each price.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "simulated/sim-v1",
            Self::V2 => "simulated/sim-v2",
            Self::V2Xnys => "simulated/sim-v2-xnys",
        }
    }

    pub fn source(self) -> PriceSource {
        PriceSource::from(self.name())
    }

    /// The calendar of its sessions.
    pub fn calendar(self) -> Calendar {
        match self {
            Self::V1 | Self::V2 => Calendar::AroundTheClock,
            Self::V2Xnys => Calendar::Xnys,
        }
    }

    pub(super) fn sessions(self) -> Sessions {
        Sessions::in_calendar(self.calendar())
    }

    pub(super) fn profile(self) -> &'static Profile {
        match self.calendar() {
            Calendar::AroundTheClock => &profile::AROUND_THE_CLOCK,
            Calendar::Xnys => &profile::EXCHANGE,
        }
    }

    /// The number of sessions in an average year, which converts volatility and return per year to sessions.
    pub(super) fn sessions_per_year(self) -> f64 {
        match self.calendar() {
            Calendar::AroundTheClock => 365.0,
            Calendar::Xnys => 252.0,
        }
    }

    /// The share of a session's variance, without company results, that falls between the previous close and the
    /// opening. A market around the clock has no night.
    pub(super) fn overnight_share(self) -> f64 {
        match self.calendar() {
            Calendar::AroundTheClock => 0.0,
            Calendar::Xnys => 0.22,
        }
    }

    /// The smallest and the largest price. In the first version, bid, price and ask are equal at these limits; later
    /// versions leave room for a bid below and an ask above.
    pub(super) fn price_range(self) -> (f64, f64) {
        match self {
            Self::V1 => (price::FLOOR, price::CEILING),
            Self::V2 | Self::V2Xnys => (2.0 * price::FLOOR, price::CEILING - 1.0),
        }
    }

    /// The share of quarterly results in a company's variance.
    pub(super) fn results_share(self) -> f64 {
        match self {
            Self::V1 => 0.0,
            Self::V2 | Self::V2Xnys => 0.07,
        }
    }
}
