//! The one way decimals are read from text and written to it.

use bigdecimal::{BigDecimal, RoundingMode};
use serde::de::Error as _;

/// Reads plain notation: an optional minus, 1 to 16 digits, and up to 9 decimals.
///
/// `BigDecimal` alone would take `1e400` and `1_000` too, which nobody means in an amount of money.
pub(crate) fn parse(text: &str) -> Option<BigDecimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())
    };
    (plain(whole, 16) && plain(fraction, 9)).then(|| text.parse().ok()).flatten()
}

/// Half-even to `scale` decimals: the only rounding in the books.
pub(crate) fn round(value: &BigDecimal, scale: i64) -> BigDecimal {
    value.with_scale_round(scale, RoundingMode::HalfEven)
}

/// A decimal as it was written, in quotes or as a bare JSON number, still to be parsed into what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalText(pub String);

impl<'de> serde::Deserialize<'de> for DecimalText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

/// Reads the text of a JSON string or of an unquoted JSON number, digit for digit.
pub(crate) fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match <serde_json::Value as serde::Deserialize>::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => Err(D::Error::custom("a decimal in quotes is expected, like \"12.50\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_notation_is_read() {
        for good in ["0", "1", "-1.5", "9999999999999999.999999999", "0.000000001"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "1_000",
            "1,000",
            "+1",
            " 1",
            "٣",
            "0.0000000001",
            "12345678901234567",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
