//! An instrument's total return (price with dividends reinvested), computed from the paths of the market, of its sector
//! and of its own.

use super::catalogue::{Follows, Instrument, Sector};

/// The volatility per year of the market path, equal to that of the market fund.
const MARKET_VOLATILITY: f64 = 0.16;
/// The expected return per year without risk.
const BASE_RETURN: f64 = 0.03;
/// The additional expected return per year and unit of beta.
const RETURN_PER_BETA: f64 = 0.05;
/// The largest share of a company's movement that comes from the market.
const COMPANY_MARKET_LIMIT: f64 = 0.85;
/// The largest share of a fund's movement that comes from the market.
const FUND_MARKET_LIMIT: f64 = 0.99;
/// The sector's share of the rest of a company's variance.
const SECTOR_SHARE: f64 = 0.35;

/// `X(t) = drift·t + market·M(t) + sector·S(t) + own·I(t)`, the log of the total return, with t in sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    /// The drift per session: the expected growth with dividends reinvested, less half the variance.
    pub(super) drift: f64,
    /// The weights of the three paths, each of variance 1 per session.
    pub(super) market: f64,
    pub(super) sector: f64,
    pub(super) own: f64,
    /// The standard deviation of the log return per session, including company results.
    pub(super) session_volatility: f64,
}

/// Parameters of a market version for all its instruments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) sessions_per_year: f64,
    /// The share of quarterly results in a company's variance; the company's own path does not contain it.
    pub(super) results_share: f64,
}

impl Mix {
    pub(super) fn for_instrument(instrument: &Instrument, scale: Scale) -> Self {
        let Instrument { volatility, beta, .. } = *instrument;
        let expected = BASE_RETURN + RETURN_PER_BETA * beta;
        let session_volatility = volatility / libm::sqrt(scale.sessions_per_year);
        let shares = Shares::for_instrument(instrument, scale.results_share);
        Self {
            drift: (expected - volatility * volatility / 2.0) / scale.sessions_per_year,
            market: session_volatility * shares.market,
            sector: session_volatility * shares.sector,
            own: session_volatility * shares.own,
            session_volatility,
        }
    }

    /// The log of the total return, up to a constant, at session time `t`, for these values of the paths.
    pub(super) fn log_return(&self, t: f64, market: f64, sector: f64, own: f64) -> f64 {
        self.drift * t + self.market * market + self.sector * sector + self.own * own
    }
}

/// The sector whose path moves the instrument, if there is one.
pub(super) fn sector_of(instrument: &Instrument) -> Option<Sector> {
    match instrument.follows {
        Follows::Company(sector) | Follows::Sector(sector) => Some(sector),
        Follows::Market | Follows::Itself => None,
    }
}

/// Correlations with the three paths. Their squares and the share of results add up to 1.
#[derive(Debug, Clone, Copy)]
struct Shares {
    market: f64,
    sector: f64,
    own: f64,
}

impl Shares {
    fn for_instrument(instrument: &Instrument, results_share: f64) -> Self {
        let wanted = instrument.beta * MARKET_VOLATILITY / instrument.volatility;
        let (market, sector_share) = match instrument.follows {
            Follows::Market => (1.0, 0.0),
            Follows::Company(_) => (wanted.min(COMPANY_MARKET_LIMIT), SECTOR_SHARE),
            Follows::Sector(_) => (wanted.min(FUND_MARKET_LIMIT), 1.0),
            Follows::Itself => (wanted.min(FUND_MARKET_LIMIT), 0.0),
        };
        let rest = 1.0 - market * market;
        let results = if matches!(instrument.follows, Follows::Company(_)) { results_share } else { 0.0 };
        let own = (1.0 - sector_share) * rest - results;
        Self { market, sector: libm::sqrt(sector_share * rest), own: libm::sqrt(own) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::INSTRUMENTS;
    use super::*;

    #[test]
    fn shares_make_up_the_whole_variance() {
        for (instrument, share) in INSTRUMENTS.iter().flat_map(|row| [(row, 0.0), (row, 0.07)]) {
            let Shares { market, sector, own } = Shares::for_instrument(instrument, share);
            let results = if matches!(instrument.follows, Follows::Company(_)) { share } else { 0.0 };
            let total = market * market + sector * sector + own * own + results;
            assert!((total - 1.0).abs() < 1e-12, "{}: {total}", instrument.symbol);
        }
    }

    #[test]
    fn beta_against_the_market_fund_is_that_of_the_catalog() {
        for instrument in INSTRUMENTS.iter().filter(|instrument| instrument.symbol != "DIA") {
            let limit = if matches!(instrument.follows, Follows::Company(_)) { 0.85 } else { 1.0 };
            let reachable = instrument.beta.min(limit * instrument.volatility / MARKET_VOLATILITY);
            let beta =
                Shares::for_instrument(instrument, 0.07).market * instrument.volatility / MARKET_VOLATILITY;
            assert!((beta - reachable).abs() < 0.01, "{}: {beta}", instrument.symbol);
        }
    }
}
