//! How an instrument's total return, its price with dividends put back into it, follows from the paths of the market,
//! its sector and itself.

use super::catalogue::{Follows, Instrument, Sector};

/// The simulated market never closes: 365 sessions a year.
const SESSIONS_PER_YEAR: f64 = 365.0;
/// A year's volatility of the market path, that of the fund that is the market.
const MARKET_VOLATILITY: f64 = 0.16;
/// Expected return of a year: of no risk at all, and for each unit of beta.
const BASE_RETURN: f64 = 0.03;
const RETURN_PER_BETA: f64 = 0.05;
/// Most of its movement a company, or a fund, can owe to the market.
const COMPANY_MARKET_LIMIT: f64 = 0.85;
const FUND_MARKET_LIMIT: f64 = 0.99;
/// The share of the rest of a company's variance that is its sector's.
const SECTOR_SHARE: f64 = 0.35;

/// `X(t) = drift·t + market·M(t) + sector·S(t) + own·I(t)`, the log of the total return, with t in sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    /// Per session. The expected growth with dividends reinvested, less half the variance.
    pub(super) drift: f64,
    /// Weights of the three paths, each of variance 1 per session.
    pub(super) market: f64,
    pub(super) sector: f64,
    pub(super) own: f64,
    /// Standard deviation of a session's log return.
    pub(super) session_volatility: f64,
}

impl Mix {
    pub(super) fn of(instrument: &Instrument) -> Self {
        let Instrument { volatility, beta, .. } = *instrument;
        let expected = BASE_RETURN + RETURN_PER_BETA * beta;
        let session_volatility = volatility / libm::sqrt(SESSIONS_PER_YEAR);
        let shares = Shares::of(instrument);
        Self {
            drift: (expected - volatility * volatility / 2.0) / SESSIONS_PER_YEAR,
            market: session_volatility * shares.market,
            sector: session_volatility * shares.sector,
            own: session_volatility * shares.own,
            session_volatility,
        }
    }

    /// The log of the total return, up to a constant, at session time `t` with the paths at these values.
    pub(super) fn log_return(&self, t: f64, market: f64, sector: f64, own: f64) -> f64 {
        self.drift * t + self.market * market + self.sector * sector + self.own * own
    }
}

/// The sector whose path moves it, if one does.
pub(super) fn sector_of(instrument: &Instrument) -> Option<Sector> {
    match instrument.follows {
        Follows::Company(sector) | Follows::Sector(sector) => Some(sector),
        Follows::Market | Follows::Itself => None,
    }
}

/// Correlations with the three paths; their squares add up to 1.
#[derive(Debug, Clone, Copy)]
struct Shares {
    market: f64,
    sector: f64,
    own: f64,
}

impl Shares {
    fn of(instrument: &Instrument) -> Self {
        let wanted = instrument.beta * MARKET_VOLATILITY / instrument.volatility;
        let (market, sector_share) = match instrument.follows {
            Follows::Market => (1.0, 0.0),
            Follows::Company(_) => (wanted.min(COMPANY_MARKET_LIMIT), SECTOR_SHARE),
            Follows::Sector(_) => (wanted.min(FUND_MARKET_LIMIT), 1.0),
            Follows::Itself => (wanted.min(FUND_MARKET_LIMIT), 0.0),
        };
        let rest = 1.0 - market * market;
        Self { market, sector: libm::sqrt(sector_share * rest), own: libm::sqrt((1.0 - sector_share) * rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::INSTRUMENTS;
    use super::*;

    #[test]
    fn shares_make_up_the_whole_variance() {
        for instrument in INSTRUMENTS {
            let Shares { market, sector, own } = Shares::of(instrument);
            let total = market * market + sector * sector + own * own;
            assert!((total - 1.0).abs() < 1e-12, "{}: {total}", instrument.symbol);
        }
    }

    #[test]
    fn beta_against_the_market_fund_is_the_catalogues() {
        for instrument in INSTRUMENTS.iter().filter(|instrument| instrument.symbol != "DIA") {
            let limit = if matches!(instrument.follows, Follows::Company(_)) { 0.85 } else { 1.0 };
            let reachable = instrument.beta.min(limit * instrument.volatility / MARKET_VOLATILITY);
            let beta = Shares::of(instrument).market * instrument.volatility / MARKET_VOLATILITY;
            assert!((beta - reachable).abs() < 0.01, "{}: {beta}", instrument.symbol);
        }
    }
}
