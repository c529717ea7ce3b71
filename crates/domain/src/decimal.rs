//! The one way decimals are read from text and written to it, rounded and divided.
//!
//! Nearly all there are fit an `i128`, whose arithmetic costs a hundredth of `BigDecimal`'s: that way is tried first, and
//! gives the same.

use std::borrow::Cow;
use std::fmt;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
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
    let (one, mode) = (Small { mantissa: 1, scale: 0 }, RoundingMode::HalfEven);
    Small::of(value)
        .and_then(|small| small.quotient(one, scale, mode))
        .unwrap_or_else(|| value.with_scale_round(scale, mode))
}

/// `a / b`, rounded to `scale` decimals: half-even, or down, that is towards zero.
///
/// # Panics
/// When `b` is zero.
pub(crate) fn quotient(a: &BigDecimal, b: &BigDecimal, scale: i64, mode: RoundingMode) -> BigDecimal {
    Small::of(a)
        .zip(Small::of(b))
        .and_then(|(a, b)| a.quotient(b, scale, mode))
        .unwrap_or_else(|| (a / b).with_scale_round(scale, mode))
}

/// The nearest binary number.
pub(crate) fn to_f64(value: &BigDecimal) -> f64 {
    let small = Small::of(value).and_then(Small::to_f64);
    small.or_else(|| value.to_f64()).unwrap_or(f64::NAN)
}

/// Writes a decimal in plain notation with so many decimals. Further ones are cut off; it should have none.
pub(crate) struct Plain<'a>(pub &'a BigDecimal, pub i64);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, scale) = self;
        match Small::of(value).and_then(|small| small.at(*scale)) {
            Some(small) => small.write(f),
            None => f.write_str(&value.with_scale(*scale).to_plain_string()),
        }
    }
}

/// Writes a decimal in plain notation without zeros at the end, but with at least so many decimals.
pub(crate) struct Shortest<'a>(pub &'a BigDecimal, pub i64);

impl fmt::Display for Shortest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, least) = self;
        if let Some(small) = Small::of(value).and_then(|small| small.shortest().at_least(*least)) {
            return small.write(f);
        }
        let shortest = value.normalized();
        f.write_str(&shortest.with_scale(shortest.fractional_digit_count().max(*least)).to_plain_string())
    }
}

/// `mantissa / 10^scale`. Whatever does not fit is answered with `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Small {
    pub mantissa: i128,
    pub scale: i64,
}

const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

fn power_of_ten(exponent: i64) -> Option<i128> {
    POWERS_OF_TEN.get(usize::try_from(exponent).ok()?).copied()
}

impl Small {
    pub fn of(value: &BigDecimal) -> Option<Self> {
        let (mantissa, scale): (Cow<'_, BigInt>, i64) = value.as_bigint_and_scale();
        Some(Self { mantissa: mantissa.to_i128()?, scale })
    }

    pub fn to_big(self) -> BigDecimal {
        BigDecimal::new(self.mantissa.into(), self.scale)
    }

    fn quotient(self, divisor: Self, scale: i64, mode: RoundingMode) -> Option<BigDecimal> {
        let (mut numerator, mut denominator) = (self.mantissa, divisor.mantissa);
        let shift = scale.checked_add(divisor.scale)?.checked_sub(self.scale)?;
        match shift {
            0.. => numerator = numerator.checked_mul(power_of_ten(shift)?)?,
            _ => denominator = denominator.checked_mul(power_of_ten(-shift)?)?,
        }
        let (quotient, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
        let away = match mode {
            RoundingMode::Down => false,
            RoundingMode::HalfEven => {
                let twice = rest.unsigned_abs().checked_mul(2)?;
                let half = twice.cmp(&denominator.unsigned_abs());
                half.is_gt() || half.is_eq() && quotient % 2 != 0
            }
            _ => return None,
        };
        let sign = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
        let mantissa = if away { quotient.checked_add(sign)? } else { quotient };
        Some(Self { mantissa, scale }.to_big())
    }

    /// A quotient of two numbers that binary ones hold exactly is rounded correctly (W. D. Clinger: How to read
    /// floating point numbers accurately, 1990).
    fn to_f64(self) -> Option<f64> {
        const EXACT_MANTISSAS: u128 = 1 << 53;
        const EXACT_POWERS: i64 = 22;
        if self.mantissa.unsigned_abs() > EXACT_MANTISSAS || !(0..=EXACT_POWERS).contains(&self.scale) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "both are exact")]
        let (mantissa, power) = (self.mantissa as f64, power_of_ten(self.scale)? as f64);
        Some(mantissa / power)
    }

    /// With so many decimals; further ones are cut off.
    fn at(self, scale: i64) -> Option<Self> {
        let shift = scale.checked_sub(self.scale)?;
        let mantissa = match shift {
            0.. => self.mantissa.checked_mul(power_of_ten(shift)?)?,
            _ => self.mantissa / power_of_ten(shift.checked_neg()?)?,
        };
        Some(Self { mantissa, scale })
    }

    fn at_least(self, scale: i64) -> Option<Self> {
        if self.scale < scale { self.at(scale) } else { Some(self) }
    }

    /// Without zeros at the end of its decimals.
    fn shortest(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// In plain notation; of a scale that is not negative.
    fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sign, point, one zero before it, and 39 digits or as many zeros behind it as the scale says.
        let mut text = [b'0'; 48];
        let Some(scale) = usize::try_from(self.scale).ok().filter(|scale| *scale < 40) else {
            return f.write_str(&self.to_big().to_plain_string());
        };
        let (mut rest, mut at, mut written) = (self.mantissa.unsigned_abs(), text.len(), 0);
        while rest > 0 || written <= scale {
            if written == scale && scale > 0 {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            // Division of 128 bits is slow, and few amounts need it.
            let digit = match u64::try_from(rest) {
                Ok(short) => {
                    rest = (short / 10).into();
                    short % 10
                }
                Err(_) => {
                    let digit = u64::try_from(rest % 10).unwrap_or_default();
                    rest /= 10;
                    digit
                }
            };
            text[at] = b"0123456789"[usize::try_from(digit).unwrap_or_default()];
            written += 1;
        }
        if self.mantissa < 0 {
            at -= 1;
            text[at] = b'-';
        }
        f.write_str(std::str::from_utf8(&text[at..]).map_err(|_| fmt::Error)?)
    }
}

/// Reads a decimal as a database keeps it, in plain notation; `None` for what is longer than the books' amounts.
#[cfg(feature = "diesel")]
pub(crate) fn from_stored(text: &str) -> Option<BigDecimal> {
    const MOST_DIGITS: usize = 36;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || digits.len() > MOST_DIGITS || digits.ends_with('.') {
        return None;
    }
    let mut mantissa: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        mantissa = mantissa * 10 + i128::from(byte - b'0');
    }
    let mantissa = if digits.len() < text.len() { -mantissa } else { mantissa };
    Some(Small { mantissa, scale: i64::try_from(fraction.len()).ok()? }.to_big())
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
    use proptest::prelude::*;
    use std::str::FromStr;

    /// Of all sizes: those that fit and those that do not.
    fn decimals() -> impl Strategy<Value = BigDecimal> {
        let mantissa = prop_oneof![
            any::<i64>().prop_map(BigInt::from),
            (-200_i64..200).prop_map(BigInt::from),
            any::<i128>().prop_map(BigInt::from),
            (any::<i128>(), 1_u32..9).prop_map(|(part, power)| BigInt::from(part).pow(power)),
        ];
        (mantissa, 0_i64..12).prop_map(|(mantissa, scale)| BigDecimal::new(mantissa, scale))
    }

    /// Halves and their neighbours, where rounding decides.
    fn ties() -> impl Strategy<Value = BigDecimal> {
        (any::<i32>(), 2_i64..9, -1_i64..=1).prop_map(|(whole, scale, off)| {
            let tie = (i64::from(whole) * 10 + 5) * 10_i64.pow(u32::try_from(scale).unwrap() - 1) + off;
            BigDecimal::new(tie.into(), scale)
        })
    }

    /// As it is and as text, which shows the scale too.
    fn same(fast: &BigDecimal, plain: &BigDecimal) {
        assert_eq!((fast, fast.to_string()), (plain, plain.to_string()));
        assert_eq!(fast.fractional_digit_count(), plain.fractional_digit_count());
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_big_decimals(
            value in prop_oneof![decimals(), ties()],
            other in prop_oneof![decimals(), ties()],
            scale in 0_i64..10,
        ) {
            let half_even = RoundingMode::HalfEven;
            same(&round(&value, scale), &value.with_scale_round(scale, half_even));
            if other != 0 {
                for mode in [half_even, RoundingMode::Down] {
                    let plain = (&value / &other).with_scale_round(scale, mode);
                    same(&quotient(&value, &other, scale, mode), &plain);
                }
            }
        }

        #[test]
        fn writing_is_that_of_big_decimals(value in decimals(), scale in 0_i64..12) {
            let plain = |value: &BigDecimal, scale| value.with_scale(scale).to_plain_string();
            prop_assert_eq!(Plain(&value, scale).to_string(), plain(&value, scale));
            let shortest = value.normalized();
            let expected = plain(&shortest, shortest.fractional_digit_count().max(scale));
            prop_assert_eq!(Shortest(&value, scale).to_string(), expected);
            let written = Plain(&value, value.fractional_digit_count()).to_string();
            same(&BigDecimal::from_str(&written).unwrap(), &value);
        }

        #[test]
        fn the_nearest_binary_number_is_that_of_the_text(value in prop_oneof![decimals(), ties()]) {
            let expected: f64 = value.to_plain_string().parse().unwrap();
            if Small::of(&value).and_then(Small::to_f64).is_some() {
                prop_assert_eq!(to_f64(&value).to_bits(), expected.to_bits());
            }
            prop_assert_eq!(to_f64(&value), value.to_f64().unwrap());
        }
    }

    #[test]
    fn zero_and_the_limits_are_written_and_rounded_too() {
        for (mantissa, scale, decimals, written) in [
            (0, 0, 0, "0"),
            (0, 5, 2, "0.00"),
            (-5, 3, 3, "-0.005"),
            (-5, 3, 2, "0.00"),
            (i128::MAX, 0, 0, "170141183460469231731687303715884105727"),
            (i128::MIN, 39, 39, "-0.170141183460469231731687303715884105728"),
            (1, 45, 45, "0.000000000000000000000000000000000000000000001"),
            (12, -3, 0, "12000"),
        ] {
            let value = BigDecimal::new(mantissa.into(), scale);
            assert_eq!(Plain(&value, decimals).to_string(), written);
        }
        let value = |text: &str| BigDecimal::from_str(text).unwrap();
        for (exact, rounded) in [
            ("0.125", "0.12"),
            ("0.135", "0.14"),
            ("-0.125", "-0.12"),
            ("-0.1250001", "-0.13"),
            ("-0.001", "0.00"),
            ("7", "7.00"),
            ("1e3", "1000.00"),
        ] {
            same(&round(&value(exact), 2), &value(rounded));
        }
        let limit = BigDecimal::new(i128::MIN.into(), 1);
        same(&round(&limit, 0), &limit.with_scale_round(0, RoundingMode::HalfEven));
    }

    #[test]
    #[should_panic(expected = "ivi")]
    fn nothing_is_divided_by_zero() {
        quotient(&BigDecimal::from(1), &BigDecimal::from(0), 2, RoundingMode::HalfEven);
    }

    #[cfg(feature = "diesel")]
    #[test]
    fn stored_decimals_are_read_in_plain_notation() {
        for text in
            ["0", "-0.01", "0.00", "007", "123456789012345.67", "999999999.999999999", "1000000000000000"]
        {
            same(&from_stored(text).unwrap(), &BigDecimal::from_str(text).unwrap());
        }
        for text in ["", "-", ".5", "5.", "1e3", "1_0", "+1", "1.2.3", "--1", &"9".repeat(37)] {
            assert_eq!(from_stored(text), None, "{text}");
        }
    }

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
