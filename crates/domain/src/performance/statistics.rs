//! Averages and deviations. Each is computed in two passes: the mean first, then the squares around it, so that small
//! deviations of large numbers keep their digits.

use crate::performance::{Figure, UndefinedReason};

/// Deviations and ratios are undefined for fewer daily returns than this: about a month of sessions.
pub const LEAST_RETURNS: usize = 20;

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

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

/// `Σ (x − mean x) (y − mean y) / (n − 1)`, of two slices of the same length, at least two values each.
pub(super) fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let products = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y));
    products.sum::<f64>() / (count(x.len()) - 1.0)
}

/// The sample standard deviation, with n − 1. Zero if the values differ only by rounding.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let deviation = covariance(values, values).sqrt();
    if deviation > ROUNDING { deviation } else { 0.0 }
}

/// Checks that there are at least [`LEAST_RETURNS`] returns.
pub(super) fn enough(returns: &[f64]) -> Figure<()> {
    match returns.len() {
        have if have < LEAST_RETURNS => Err(UndefinedReason::TooFewReturns { have, need: LEAST_RETURNS }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_by_hand() {
        // Mean 5, squares 9+1+1+1+0+0+4+16 = 32, 32/7.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert!((deviation(&values) - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(covariance(&[1.0, 2.0, 3.0], &[6.0, 4.0, 2.0]), -2.0);
    }

    #[test]
    fn values_that_differ_by_rounding_have_no_deviation() {
        assert_eq!(deviation(&[0.1, 0.1 + 1e-16, 0.3 - 0.2]), 0.0);
        assert!(deviation(&[0.0, 1e-12]) > 0.0);
    }

    #[test]
    fn nineteen_returns_are_too_few() {
        assert_eq!(enough(&[0.0; 19]), Err(UndefinedReason::TooFewReturns { have: 19, need: 20 }));
        assert_eq!(enough(&[0.0; 20]), Ok(()));
    }
}
