//! Yahoo's numbers: single-precision floats written out in full (205.35000610351562 for 205.35).

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
use chrono::{DateTime, Utc};
use domain::Price;
use domain::share_basis::UnroundedPrice;
use serde_json::Value;

/// The number of decimals of a price; single precision has no more.
const DECIMALS: i64 = 4;
/// The number of decimals of dividends, which are small and divided by splits.
pub(super) const DECIMALS_OF_DIVIDENDS: i64 = 6;
/// The number of decimals of a price that is converted to other shares before it is rounded: more than single precision
/// has.
const DECIMALS_OF_UNROUNDED: i64 = 12;
const LONGEST: usize = 40;
const LARGEST_EXPONENT: u32 = 20;

/// A price above zero and within bounds, parsed from the digits, rounded half-even to four decimals and then to its
/// tick.
pub(super) fn price(value: &Value) -> Option<Price> {
    Price::from_provider(&decimal(value, DECIMALS)?.to_plain_string()).ok()
}

/// Parses a number that [`rounded_price`] rounds once it is in the right shares.
pub(super) fn unrounded(value: &Value) -> Option<UnroundedPrice> {
    Some(UnroundedPrice::new(decimal(value, DECIMALS_OF_UNROUNDED)?))
}

/// Rounds in the same way as [`price`].
pub(super) fn rounded_price(exact: &UnroundedPrice) -> Option<Price> {
    Price::from_provider(&exact.rounded(DECIMALS).to_plain_string()).ok()
}

pub(super) fn dividend(value: &Value) -> Option<BigDecimal> {
    decimal(value, DECIMALS_OF_DIVIDENDS)
}

/// A number of shares.
pub(super) fn whole(value: &Value) -> Option<u64> {
    decimal(value, 0)?.to_u64()
}

/// Parses one side of a split's ratio, in ten-thousandths: ratios such as `1.5` for `1` occur.
pub(super) fn side_of_ratio(value: &Value) -> Option<u64> {
    (decimal(value, DECIMALS)? * BigDecimal::from(10_000)).to_u64()
}

/// Seconds since 1970.
pub(super) fn instant(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(decimal(value, 0)?.to_i64()?, 0)
}

/// Parses a number. Too many digits or too large exponents are rejected, because computing with them would take too
/// long.
fn decimal(value: &Value, decimals: i64) -> Option<BigDecimal> {
    let text = value.as_number()?.to_string();
    let exponent = match text.split_once(['e', 'E']) {
        Some((_, exponent)) => exponent.parse::<i32>().ok()?,
        None => 0,
    };
    if text.len() > LONGEST || exponent.unsigned_abs() > LARGEST_EXPONENT {
        return None;
    }
    Some(text.parse::<BigDecimal>().ok()?.with_scale_round(decimals, RoundingMode::HalfEven))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn floats_become_the_intended_prices() {
        for (text, expected) in [
            ("205.35000610351562", "205.35"),
            ("229.35000610351562", "229.35"),
            ("269.70001220703125", "269.70"),
            ("0.12340000271797180", "0.1234"),
            ("125", "125.00"),
            ("2.6934999E2", "269.35"),
            // Rounded to the decimals of a float, then to four: 0.98765 is not rounded twice in the wrong direction.
            ("0.9876499772071838", "0.9876"),
        ] {
            assert_eq!(
                price(&json(text)).map(|price| price.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn invalid_prices_are_none() {
        for text in [
            "0",
            "-1.5",
            "1e12",
            "1000000000000",
            "1e999999999",
            "1e-999999999",
            "0.00001",
            "null",
            "\"269.7\"",
            "\"None\"",
            "[269.7]",
            "{\"raw\":269.7}",
            "true",
            "1.00000000000000000000000000000000000000000000001",
        ] {
            assert_eq!(price(&json(text)), None, "{text}");
        }
    }

    #[test]
    fn counts_and_times_are_whole() {
        assert_eq!(whole(&json("664696000")), Some(664_696_000));
        assert_eq!(whole(&json("6.64696E8")), Some(664_696_000));
        assert_eq!((whole(&json("-1")), whole(&json("null"))), (None, None));
        assert_eq!(instant(&json("1761768001")).unwrap().to_rfc3339(), "2025-10-29T20:00:01+00:00");
        assert_eq!(instant(&json("99999999999999999")), None);
    }
}
