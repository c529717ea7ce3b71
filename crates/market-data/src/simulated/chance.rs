//! The market's only source of randomness: a fixed number for each place in its trees.
//!
//! This file must never change, because all earlier prices would change. A changed market is a new version.

use super::normal::inverse_normal;

/// The purpose of a number, so that two uses at the same place get different numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    ClockOfSessions = 1,
    ClockOfTicks = 2,
    PathOfSessions = 3,
    PathOfTicks = 4,
    Volume = 5,
    PathOfQuotes = 6,
    Stagger = 7,
    ExDates = 8,
    MarketShocks = 9,
    VolatilityFactors = 10,
    Results = 11,
    ResultsDates = 12,
    Overnight = 13,
}

/// The random numbers for one purpose of one stream (`market`, `sector/Energy`, `stock/XOM`), by place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64, stream: &str, purpose: Purpose) -> Self {
        Self(chain(chain(chain(0, seed), name_key(stream)), purpose as u64))
    }

    /// A standard normal number.
    pub(super) fn normal(self, place: u64) -> f64 {
        inverse_normal(self.uniform(place))
    }

    /// A uniform integer from 0 to `many − 1`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than `many`")]
    pub(super) fn one_of(self, place: u64, many: u32) -> u32 {
        (self.uniform(place) * f64::from(many)) as u32
    }

    /// A uniform number strictly between 0 and 1.
    pub(super) fn uniform(self, place: u64) -> f64 {
        unit(chain(self.0, place))
    }
}

/// The output function of SplitMix64 over `state` and `field` (Steele, Lea, Flood: Fast splittable
/// pseudorandom number generators, 2014; constants of Vigna's splitmix64.c).
fn chain(state: u64, field: u64) -> u64 {
    let mut z = (state ^ field).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits, of the name. The name is used instead of the index in the catalog, so that the catalog can grow.
fn name_key(name: &str) -> u64 {
    name.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// The upper 52 bits as a number strictly between 0 and 1; every value is exact in an `f64`.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_from_zero_is_splitmix64() {
        // First output of splitmix64 with state 0, as in the reference implementation's test vectors.
        assert_eq!(chain(0, 0), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn names_are_hashed_by_fnv_1a() {
        // Test vectors of the FNV specification.
        assert_eq!(name_key(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(name_key("foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn units_stay_between_zero_and_one() {
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
        assert!(inverse_normal(unit(0)).is_finite() && inverse_normal(unit(u64::MAX)).is_finite());
    }

    #[test]
    fn draws_differ_by_seed_stream_purpose_and_place() {
        let draws = Draws::new(1, "market", Purpose::PathOfSessions);
        let first = draws.normal(1).to_bits();
        assert_eq!(first, draws.normal(1).to_bits());
        for other in [
            draws.normal(2),
            Draws::new(2, "market", Purpose::PathOfSessions).normal(1),
            Draws::new(1, "stock/XOM", Purpose::PathOfSessions).normal(1),
            Draws::new(1, "market", Purpose::PathOfTicks).normal(1),
        ] {
            assert_ne!(first, other.to_bits());
        }
    }
}
