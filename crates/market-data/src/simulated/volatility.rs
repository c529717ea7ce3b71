//! The market's path from session to session in `sim-v2`, and the volatility of sectors and companies in each session.
//!
//! Two volatility factors, a fast one and a slow one, follow Ornstein-Uhlenbeck processes that are driven by the
//! market's own shocks: a fall raises the volatility of the following sessions. All sessions are computed once and
//! cached, so a session's value is a function of the seed and its number.

use super::chance::{Draws, Purpose};
use super::clock::SESSIONS;

/// Half-lives of the factors' deviations, in sessions.
const HALF_LIVES: [f64; 2] = [4.0, 90.0];
/// Variances of the two factors, whose sum is the logarithm of a session's variance.
const FACTOR_VARIANCES: [f64; 2] = [0.65, 2.05];
/// Correlation of each factor's next shock with the market's current shock: falls increase volatility.
const LEVERAGE: [f64; 2] = [-0.5, -0.25];
/// Skewness of the market's shocks: `(z − δ (z² − 1)) / sqrt(1 + 2 δ²)` has about `−6 δ`.
const SHOCK_SKEW: f64 = 0.42 / 6.0;
/// Returns within this many standard deviations are unchanged; larger ones are compressed.
const RETURN_KNEE: f64 = 5.5;
/// The limit, in standard deviations, that compressed returns approach and never reach. It keeps every fund above −12 %
/// per session.
const RETURN_LIMIT: f64 = 7.8;

/// How a kind of path follows the market's variance: as a power of it, approaching `limit` times the average.
struct Follows {
    exponent: f64,
    limit: f64,
}

const MARKET: Follows = Follows { exponent: 1.0, limit: 35.0 };
/// Sectors, and a fund's own path.
const CALM: Follows = Follows { exponent: 0.35, limit: 3.5 };
/// A company's own path.
const ROUGH: Follows = Follows { exponent: 1.0, limit: 35.0 };

/// A session's variance is divided by the average over this many sessions before and after it, so that the volatility
/// over many years is that of the catalog.
const LEVELLED_OVER: usize = 1024;

/// The values of all sessions.
#[derive(Debug)]
pub(super) struct Volatility {
    /// The market path at the close before each session, and after the last one. It begins at 0 and has variance 1 per
    /// session.
    pub(super) market: Box<[f64]>,
    /// The standard deviation of the market in each session; the average of the squares is 1.
    pub(super) market_deviations: Box<[f64]>,
    /// The variance of all sessions before each session, and of all, for sectors and funds; 1 per session on average.
    pub(super) calm: Box<[f64]>,
    /// The variance of all sessions before each session, and of all, for companies; 1 per session on average.
    pub(super) rough: Box<[f64]>,
}

impl Volatility {
    pub(super) fn new(seed: u64) -> Self {
        let draws = |purpose| Draws::new(seed, "market", purpose);
        let (shocks, factors) = (draws(Purpose::MarketShocks), draws(Purpose::VolatilityFactors));
        let factor_place = |session: u16, factor: usize| u64::from(session) * 2 + factor as u64;
        let sessions = usize::from(SESSIONS);
        let (mut log_variances, mut skewed_shocks) =
            (Vec::with_capacity(sessions), Vec::with_capacity(sessions));

        let deviations = FACTOR_VARIANCES.map(libm::sqrt);
        let kept = HALF_LIVES.map(|half_life| libm::exp2(-1.0 / half_life));
        let renewed = kept.map(|kept| libm::sqrt(1.0 - kept * kept));
        let rest = LEVERAGE.map(|rho| libm::sqrt(1.0 - rho * rho));
        let skew_scale = libm::sqrt(1.0 + 2.0 * SHOCK_SKEW * SHOCK_SKEW);
        // The first state is drawn from the stationary distribution of the factors.
        let mut state: [f64; 2] =
            std::array::from_fn(|factor| factors.normal(factor_place(SESSIONS, factor)));
        for session in 0..SESSIONS {
            log_variances.push(deviations[0] * state[0] + deviations[1] * state[1]);
            let z = shocks.normal(session.into());
            skewed_shocks.push((z - SHOCK_SKEW * (z * z - 1.0)) / skew_scale);
            for (factor, value) in state.iter_mut().enumerate() {
                let own = factors.normal(factor_place(session, factor));
                let shock = LEVERAGE[factor] * z + rest[factor] * own;
                *value = kept[factor] * *value + renewed[factor] * shock;
            }
        }

        let masses = MARKET.masses(&log_variances);
        let mut returns: Vec<f64> =
            masses.iter().zip(skewed_shocks).map(|(mass, shock)| libm::sqrt(*mass) * shock).collect();
        let usual = root_mean_square(&returns);
        returns.iter_mut().for_each(|value| *value = limited(*value / usual));
        let usual = root_mean_square(&returns);
        Self {
            market: sums(returns.into_iter().map(|value| value / usual)),
            market_deviations: masses.into_iter().map(libm::sqrt).collect(),
            calm: sums(CALM.masses(&log_variances).into_iter()),
            rough: sums(ROUGH.masses(&log_variances).into_iter()),
        }
    }
}

impl Follows {
    /// The variance of each session, 1 on average.
    fn masses(&self, log_variances: &[f64]) -> Vec<f64> {
        let total = FACTOR_VARIANCES[0] + FACTOR_VARIANCES[1];
        let mass = |log_variance: &f64| {
            let mass = libm::exp(self.exponent * log_variance - self.exponent * self.exponent * total / 2.0);
            self.limit * mass / (self.limit + mass)
        };
        let masses: Vec<f64> = log_variances.iter().map(mass).collect();
        let before = sums(masses.iter().copied());
        let levelled = masses.iter().enumerate().map(|(session, mass)| {
            let (first, end) =
                (session.saturating_sub(LEVELLED_OVER), (session + LEVELLED_OVER + 1).min(masses.len()));
            mass * (end - first) as f64 / (before[end] - before[first])
        });
        let levelled: Vec<f64> = levelled.collect();
        let mean = levelled.iter().sum::<f64>() / levelled.len() as f64;
        levelled.into_iter().map(|mass| mass / mean).collect()
    }
}

/// Compresses a return (in standard deviations) beyond the knee, so that it stays below the limit.
fn limited(deviations: f64) -> f64 {
    let room = RETURN_LIMIT - RETURN_KNEE;
    let beyond = deviations.abs() - RETURN_KNEE;
    if beyond <= 0.0 {
        return deviations;
    }
    libm::copysign(RETURN_KNEE + room * (1.0 - libm::exp(-beyond / room)), deviations)
}

fn root_mean_square(values: &[f64]) -> f64 {
    libm::sqrt(values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64)
}

/// The sum of the values before each one, and the total.
fn sums(values: impl Iterator<Item = f64>) -> Box<[f64]> {
    let running = values.scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    std::iter::once(0.0).chain(running).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_variance_is_one_per_session() {
        let course = Volatility::new(3);
        let returns: Vec<f64> = course.market.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(returns.len(), usize::from(SESSIONS));
        assert!((root_mean_square(&returns) - 1.0).abs() < 1e-9);
        assert!((root_mean_square(&course.market_deviations) - 1.0).abs() < 1e-9);
        for masses in [&course.calm, &course.rough] {
            assert!((masses[usize::from(SESSIONS)] / f64::from(SESSIONS) - 1.0).abs() < 1e-9);
            assert!(masses.is_sorted() && masses[0] == 0.0);
        }
    }

    #[test]
    fn returns_within_the_knee_stay_and_none_reaches_the_limit() {
        for small in [-RETURN_KNEE, -1.0, 0.0, 0.3, RETURN_KNEE] {
            assert_eq!(limited(small), small);
        }
        let far: Vec<f64> = (0..200).map(|i| limited(RETURN_KNEE + f64::from(i))).collect();
        assert!(far.is_sorted() && far.iter().all(|value| *value <= RETURN_LIMIT));
        assert_eq!(limited(-9.0), -limited(9.0));
        assert!((limited(RETURN_KNEE + 1e-6) - RETURN_KNEE - 1e-6).abs() < 1e-9);
    }

    #[test]
    fn the_variance_of_many_years_is_near_the_usual() {
        for seed in 1..=10 {
            let course = Volatility::new(seed);
            for years in course.market_deviations.chunks_exact(4096) {
                let mass =
                    years.iter().map(|deviation| deviation * deviation).sum::<f64>() / years.len() as f64;
                assert!((0.7..1.3).contains(&mass), "{mass} with seed {seed}");
            }
        }
    }

    #[test]
    fn another_seed_gives_another_path() {
        let [one, again, other] = [1, 1, 2].map(|seed| Volatility::new(seed).market[100].to_bits());
        assert_eq!(one, again);
        assert_ne!(one, other);
    }
}
