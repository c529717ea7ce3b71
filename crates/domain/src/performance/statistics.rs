//! Averages and deviations. They grow value by value around the mean so far, so that small deviations of large numbers
//! keep their digits (Welford, Note on a method for calculating corrected sums of squares and products, 1962).

use crate::performance::{Figure, UndefinedReason};

/// Deviations and ratios are undefined for fewer daily returns than this: about a month of sessions.
pub const MIN_RETURNS: usize = 20;

/// A deviation of returns below this comes from rounding.
const ROUNDING: f64 = 1e-14;

/// A number of days or returns as an `f64`; it is far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn count(n: usize) -> f64 {
    n as f64
}

/// Calendar days as an `f64`.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn days(days: i64) -> f64 {
    days as f64
}

/// The mean of some values, and the sum of their squared distances from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    pub n: usize,
    /// Zero without values.
    pub mean: f64,
    squares: f64,
}

impl Moments {
    pub fn add(&mut self, value: f64) {
        self.n += 1;
        let before = value - self.mean;
        self.mean += before / count(self.n);
        self.squares += before * (value - self.mean);
    }

    /// The sample variance, with n − 1; of at least two values.
    pub fn variance(&self) -> f64 {
        self.squares / (count(self.n) - 1.0)
    }

    /// The sample standard deviation, with n − 1; of at least two values. Zero if they differ only by rounding.
    pub fn deviation(&self) -> f64 {
        let deviation = self.variance().sqrt();
        if deviation > ROUNDING { deviation } else { 0.0 }
    }
}

/// The moments of pairs of values, and the sum of the products of their distances from the means.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PairMoments {
    pub x: Moments,
    pub y: Moments,
    products: f64,
}

impl PairMoments {
    pub fn add(&mut self, x: f64, y: f64) {
        let before = x - self.x.mean;
        self.x.add(x);
        self.y.add(y);
        self.products += before * (y - self.y.mean);
    }

    /// `Σ (x − mean x) (y − mean y) / (n − 1)`, of at least two pairs.
    pub fn covariance(&self) -> f64 {
        self.products / (count(self.x.n) - 1.0)
    }
}

/// Checks that a number of returns is at least [`MIN_RETURNS`].
pub(super) fn enough(returns: usize) -> Figure<()> {
    match returns {
        have if have < MIN_RETURNS => Err(UndefinedReason::TooFewReturns { have, need: MIN_RETURNS }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    #[test]
    fn deviations_by_hand() {
        // Mean 5, squares 9+1+1+1+0+0+4+16 = 32, 32/7.
        let values = moments(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert!((values.deviation() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        let mut pairs = PairMoments::default();
        for (x, y) in [(1.0, 6.0), (2.0, 4.0), (3.0, 2.0)] {
            pairs.add(x, y);
        }
        assert_eq!((pairs.covariance(), pairs.x.variance(), pairs.y.mean), (-2.0, 1.0, 4.0));
    }

    /// Ten thousand values of a million, a thousandth apart: the squares around the mean have all their digits.
    #[test]
    fn small_deviations_of_large_numbers_keep_their_digits() {
        let values: Vec<f64> = [1e6, 1e6 + 1e-3].repeat(5_000);
        let expected = 0.5e-3 * (10_000.0_f64 / 9_999.0).sqrt();
        assert!((moments(&values).deviation() / expected - 1.0).abs() < 1e-6);
    }

    #[test]
    fn values_that_differ_by_rounding_have_no_deviation() {
        assert_eq!(moments(&[0.1, 0.1 + 1e-16, 0.3 - 0.2]).deviation(), 0.0);
        assert!(moments(&[0.0, 1e-12]).deviation() > 0.0);
    }

    #[test]
    fn nineteen_returns_are_too_few() {
        assert_eq!(enough(19), Err(UndefinedReason::TooFewReturns { have: 19, need: 20 }));
        assert_eq!(enough(20), Ok(()));
    }
}
