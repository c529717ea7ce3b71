//! Parses decimals from texts and JSON, and writes them.

use serde::de::Error as _;
use smol_str::SmolStr;

use super::Decimal::{self, Big, Small};
use super::integer::without_zeros;

/// The most decimals of an amount, a price or a quantity in user input.
const MAX_DECIMALS: usize = 9;

/// Why a text is not a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not a number in plain notation.
    Malformed,
    /// More than 16 digits before the point.
    TooLarge,
    /// More than [`MAX_DECIMALS`] decimals.
    TooPrecise,
}

impl Decimal {
    /// Parses plain notation: an optional minus, 1 to 16 digits, and up to 9 decimals. Leading zeros, and trailing
    /// zeros of the decimals, do not count.
    ///
    /// `BigDecimal` would also accept `1e400` and `1_000`, which are mistakes in an amount of money.
    ///
    /// # Errors
    /// [`Unreadable`], which distinguishes a number that is too long from a text that is not a number.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return Err(Unreadable::Malformed);
        }
        if whole.trim_start_matches('0').len() > 16 {
            return Err(Unreadable::TooLarge);
        }
        if fraction.trim_end_matches('0').len() > MAX_DECIMALS {
            return Err(Unreadable::TooPrecise);
        }
        if whole.len() <= 16 && fraction.len() <= MAX_DECIMALS {
            return Self::plain(text).ok_or(Unreadable::Malformed);
        }
        let sign = if digits.len() < text.len() { "-" } else { "" };
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        Self::plain(&format!("{sign}0{whole}.{fraction}")).ok_or(Unreadable::Malformed)
    }

    /// Parses plain notation of up to 36 characters, which covers all stored values.
    pub fn plain(text: &str) -> Option<Self> {
        const LONGEST: usize = 36;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || digits.len() > LONGEST || digits.ends_with('.') {
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
        Some(Self::new(mantissa, i64::try_from(fraction.len()).ok()?))
    }
}

/// Writes plain notation with exactly `scale` decimals. Further decimals are cut off; the value should have none.
pub(crate) fn fixed(value: &Decimal, scale: i64) -> SmolStr {
    written(&value.with_scale(scale))
}

/// Writes plain notation without trailing zeros, but with at least `least` decimals.
pub(crate) fn shortest(value: &Decimal, least: i64) -> SmolStr {
    let shortest = match value {
        Small { mantissa, scale } => {
            let (mantissa, scale) = without_zeros(*mantissa, *scale, least);
            Decimal::new(mantissa, scale)
        }
        Big(big) => big.normalized().into(),
    };
    written(&shortest.with_scale(shortest.scale().max(least)))
}

/// Writes plain notation with all decimals of the value.
fn written(value: &Decimal) -> SmolStr {
    // Enough for the sign, the point, a zero before it, and 39 digits or leading zeros of the decimals.
    let mut text = [b'0'; 48];
    let small = || {
        let Small { mantissa, scale } = value else { return None };
        Some((*mantissa, usize::try_from(*scale).ok().filter(|scale| *scale < 40)?))
    };
    let Some((mantissa, scale)) = small() else { return value.big().to_plain_string().into() };
    let (mut rest, mut at, mut digits) = (mantissa.unsigned_abs(), text.len(), 0);
    while rest > 0 || digits <= scale {
        if digits == scale && scale > 0 {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        // 128-bit division is slow, and most values fit 64 bits.
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
        digits += 1;
    }
    if mantissa < 0 {
        at -= 1;
        text[at] = b'-';
    }
    std::str::from_utf8(&text[at..]).expect("Invariant: all bytes are ASCII").into()
}

/// A decimal as the client wrote it, in quotes or as a bare JSON number, before it is parsed into a value type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalText(pub String);

impl<'de> serde::Deserialize<'de> for DecimalText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json_text(deserializer).map(Self)
    }
}

/// Returns the text of a JSON string, or the digits of a JSON number.
pub(crate) fn json_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match <serde_json::Value as serde::Deserialize>::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(without_exponent(&number.to_string())),
        _ => Err(D::Error::custom("write a decimal in quotes, like \"12.50\"")),
    }
}

/// Converts a JSON number to plain notation: `1e-05`, which Python writes for 0.00001, becomes `0.00001`. The value
/// stays the same, except that exponents beyond ±60 count as ±60: such numbers are too large or too precise for any
/// field.
fn without_exponent(number: &str) -> String {
    const LARGEST: i64 = 60;
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let out_of_range = if exponent.starts_with('-') { -LARGEST } else { LARGEST };
    let exponent = exponent.parse().unwrap_or(out_of_range).clamp(-LARGEST, LARGEST);
    // The position of the point, counted in digits from the first.
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent);
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => {
            let zeros = usize::try_from(point.unsigned_abs()).unwrap_or(0);
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
    }
}
