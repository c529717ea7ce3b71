//! The exact decimal that every amount, price and quantity holds: how it is read, computed with, rounded and written.
//!
//! Nearly all there are fit an `i128`, whose arithmetic costs a third of `BigDecimal`'s, or a thousandth where that
//! divides, and needs no heap. What does not fit goes the library's way, so the results are always its.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive};
use serde::de::Error as _;
use smol_str::SmolStr;

/// Compared and hashed by value: 1.5 is 1.50.
#[derive(Debug, Clone)]
pub(crate) enum Decimal {
    /// `mantissa / 10^scale`.
    Small { mantissa: i128, scale: i64 },
    /// Only what has a mantissa that does not fit; made by `From<BigDecimal>` alone.
    Big(Box<BigDecimal>),
}

use Decimal::{Big, Small};

/// The most decimals of an amount, a price or a quantity that somebody writes.
pub(crate) const MOST_DECIMALS: usize = 9;

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not a number in plain notation.
    Malformed,
    /// More than 16 digits before the point.
    TooLarge,
    /// More than [`MOST_DECIMALS`] decimals.
    TooPrecise,
}

impl Decimal {
    pub const ZERO: Self = Self::whole(0);

    pub const fn new(mantissa: i128, scale: i64) -> Self {
        Small { mantissa, scale }
    }

    pub const fn whole(number: i128) -> Self {
        Self::new(number, 0)
    }

    /// Reads plain notation: an optional minus, 1 to 16 digits, and up to 9 decimals. Zeros that say nothing, before
    /// the digits or at the end of the decimals, are not counted.
    ///
    /// `BigDecimal` alone would take `1e400` and `1_000` too, which nobody means in an amount of money.
    ///
    /// # Errors
    /// [`Unreadable`], which tells a number that is too long from a text that is no number.
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
        if fraction.trim_end_matches('0').len() > MOST_DECIMALS {
            return Err(Unreadable::TooPrecise);
        }
        if whole.len() <= 16 && fraction.len() <= MOST_DECIMALS {
            return Self::plain(text).ok_or(Unreadable::Malformed);
        }
        let sign = if digits.len() < text.len() { "-" } else { "" };
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        Self::plain(&format!("{sign}0{whole}.{fraction}")).ok_or(Unreadable::Malformed)
    }

    /// Reads plain notation of up to 36 characters: whatever the books hold.
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

    pub fn is_zero(&self) -> bool {
        self.sign().is_eq()
    }

    pub fn is_positive(&self) -> bool {
        self.sign().is_gt()
    }

    pub fn is_negative(&self) -> bool {
        self.sign().is_lt()
    }

    /// On which side of zero.
    fn sign(&self) -> Ordering {
        match self {
            Small { mantissa, .. } => mantissa.cmp(&0),
            Big(big) if big.is_negative() => Ordering::Less,
            Big(_) => Ordering::Greater,
        }
    }

    pub fn abs(&self) -> Self {
        if self.is_negative() { -self } else { self.clone() }
    }

    /// How many decimals it has, zeros at the end among them.
    pub fn scale(&self) -> i64 {
        match self {
            Small { scale, .. } => *scale,
            Big(big) => big.fractional_digit_count(),
        }
    }

    /// With so many decimals; further ones are cut off.
    pub fn with_scale(&self, scale: i64) -> Self {
        self.rounded(scale, RoundingMode::Down)
    }

    /// To `scale` decimals.
    pub fn rounded(&self, scale: i64, mode: RoundingMode) -> Self {
        if self.scale() == scale {
            return self.clone();
        }
        let rounded = || {
            let Small { mantissa, scale: before } = self else { return None };
            let shift = scale.abs_diff(*before);
            let mantissa = match *before < scale {
                true => raised(*mantissa, shift)?,
                false => divided(*mantissa, power_of_ten(shift)?, mode)?,
            };
            Some(Self::new(mantissa, scale))
        };
        rounded().unwrap_or_else(|| self.big().with_scale_round(scale, mode).into())
    }

    /// Half-even to `scale` decimals: the only rounding in the books.
    pub fn half_even(&self, scale: i64) -> Self {
        self.rounded(scale, RoundingMode::HalfEven)
    }

    /// `self / divisor`, rounded to `scale` decimals.
    ///
    /// # Panics
    /// When `divisor` is zero.
    pub fn quotient(&self, divisor: &Self, scale: i64, mode: RoundingMode) -> Self {
        let quotient = || {
            let Small { mantissa: mut numerator, scale: before } = *self else { return None };
            let Small { mantissa: mut denominator, scale: divided_by } = *divisor else { return None };
            let shift = scale.checked_add(divided_by)?.checked_sub(before)?;
            match shift {
                0.. => numerator = raised(numerator, shift.unsigned_abs())?,
                _ => denominator = raised(denominator, shift.unsigned_abs())?,
            }
            Some(Self::new(divided(numerator, denominator, mode)?, scale))
        };
        quotient().unwrap_or_else(|| {
            (self.big().as_ref() / divisor.big().as_ref()).with_scale_round(scale, mode).into()
        })
    }

    /// Without zeros at the end, not even those of whole tens.
    pub fn normalized(&self) -> Self {
        match self {
            Small { mantissa, scale } => {
                let (mantissa, scale) = without_zeros(*mantissa, *scale, i64::MIN);
                Self::new(mantissa, scale)
            }
            Big(big) => big.normalized().into(),
        }
    }

    /// The whole part; `None` below zero and beyond 64 bits.
    pub fn to_u64(&self) -> Option<u64> {
        match self.with_scale(0) {
            Small { mantissa, .. } => mantissa.try_into().ok(),
            Big(_) => None,
        }
    }

    /// The nearest binary number.
    ///
    /// A quotient of two numbers that binary ones hold exactly is rounded correctly (W. D. Clinger: How to read
    /// floating point numbers accurately, 1990).
    pub fn to_f64(&self) -> f64 {
        const EXACT_POWERS: u64 = 22;
        let quotient = || {
            let Small { mantissa, scale } = self else { return None };
            let power = u64::try_from(*scale).ok().filter(|scale| *scale <= EXACT_POWERS)?;
            #[expect(clippy::cast_precision_loss, reason = "these powers are exact")]
            Some(exact_f64(*mantissa)? / power_of_ten(power)? as f64)
        };
        quotient().unwrap_or_else(|| self.big().to_plain_string().parse().unwrap_or(f64::NAN))
    }

    /// `self / divisor` as the nearest binary number, of a divisor that is not zero.
    pub fn ratio(&self, divisor: &Self) -> f64 {
        let quotient = || {
            let (dividend, divisor, _) = aligned(self, divisor)?;
            Some(exact_f64(dividend)? / exact_f64(divisor)?)
        };
        quotient().unwrap_or_else(|| Self::from(self.big().as_ref() / divisor.big().as_ref()).to_f64())
    }

    pub fn big(&self) -> Cow<'_, BigDecimal> {
        match self {
            Small { mantissa, scale } => Cow::Owned(BigDecimal::new((*mantissa).into(), *scale)),
            Big(big) => Cow::Borrowed(big),
        }
    }
}

impl From<BigDecimal> for Decimal {
    fn from(value: BigDecimal) -> Self {
        let (mantissa, scale) = value.as_bigint_and_scale();
        match mantissa.to_i128() {
            Some(mantissa) => Self::new(mantissa, scale),
            None => Big(Box::new(value)),
        }
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self::whole(number.into())
    }
}

impl From<u32> for Decimal {
    fn from(number: u32) -> Self {
        Self::whole(number.into())
    }
}

impl Add for &Decimal {
    type Output = Decimal;
    fn add(self, other: Self) -> Decimal {
        together(self, other, i128::checked_add, |a, b| a + b)
    }
}

impl Sub for &Decimal {
    type Output = Decimal;
    fn sub(self, other: Self) -> Decimal {
        together(self, other, i128::checked_sub, |a, b| a - b)
    }
}

/// What comes of two at one scale, or of their big forms where that does not fit.
#[inline]
fn together(
    a: &Decimal,
    b: &Decimal,
    small: impl FnOnce(i128, i128) -> Option<i128>,
    big: impl FnOnce(&BigDecimal, &BigDecimal) -> BigDecimal,
) -> Decimal {
    let fits = aligned(a, b).and_then(|(a, b, scale)| Some(Decimal::new(small(a, b)?, scale)));
    fits.unwrap_or_else(|| big(&a.big(), &b.big()).into())
}

impl Mul for &Decimal {
    type Output = Decimal;
    fn mul(self, other: Self) -> Decimal {
        let product = || {
            let (Small { mantissa: a, scale: s }, Small { mantissa: b, scale: t }) = (self, other) else {
                return None;
            };
            Some(Decimal::new(times(*a, *b)?, s.checked_add(*t)?))
        };
        product().unwrap_or_else(|| (self.big().as_ref() * other.big().as_ref()).into())
    }
}

impl AddAssign<&Decimal> for Decimal {
    fn add_assign(&mut self, other: &Self) {
        *self = &*self + other;
    }
}

impl SubAssign<&Decimal> for Decimal {
    fn sub_assign(&mut self, other: &Self) {
        *self = &*self - other;
    }
}

impl Neg for &Decimal {
    type Output = Decimal;
    fn neg(self) -> Decimal {
        let negated = match self {
            Small { mantissa, scale } => {
                mantissa.checked_neg().map(|mantissa| Decimal::new(mantissa, *scale))
            }
            Big(_) => None,
        };
        negated.unwrap_or_else(|| (-self.big().as_ref()).into())
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (Small { mantissa: a, scale: s }, Small { mantissa: b, scale: t }) = (self, other) else {
            return self.big().cmp(&other.big());
        };
        // What does not fit at the other's scale is further from zero than all that does.
        match s.cmp(t) {
            Ordering::Equal => a.cmp(b),
            Ordering::Less => raised(*a, s.abs_diff(*t)).map_or_else(|| a.cmp(&0), |a| a.cmp(b)),
            Ordering::Greater => raised(*b, s.abs_diff(*t)).map_or_else(|| 0.cmp(b), |b| a.cmp(&b)),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.normalized() {
            Small { mantissa, scale } => (mantissa, scale).hash(state),
            Big(big) => big.as_bigint_and_scale().hash(state),
        }
    }
}

/// In plain notation with so many decimals. Further ones are cut off; it should have none.
pub(crate) fn fixed(value: &Decimal, scale: i64) -> SmolStr {
    written(&value.with_scale(scale))
}

/// In plain notation without zeros at the end, but with at least so many decimals.
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

/// In plain notation, as it is.
fn written(value: &Decimal) -> SmolStr {
    // Sign, point, one zero before it, and 39 digits or as many zeros behind it as the scale says.
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
        digits += 1;
    }
    if mantissa < 0 {
        at -= 1;
        text[at] = b'-';
    }
    std::str::from_utf8(&text[at..]).expect("Invariant: all bytes are ASCII").into()
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

fn power_of_ten(exponent: u64) -> Option<i128> {
    POWERS_OF_TEN.get(usize::try_from(exponent).ok()?).copied()
}

/// `mantissa × 10^exponent`, if that fits.
fn raised(mantissa: i128, exponent: u64) -> Option<i128> {
    if mantissa == 0 { Some(0) } else { times(mantissa, power_of_ten(exponent)?) }
}

/// `a × b`, if that fits. Most fit 64 bits and need not be checked.
fn times(a: i128, b: i128) -> Option<i128> {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Some(i128::from(a) * i128::from(b)),
        _ => a.checked_mul(b),
    }
}

/// `numerator / denominator` to a whole number, if there is one that fits.
fn divided(numerator: i128, denominator: i128, mode: RoundingMode) -> Option<i128> {
    let (quotient, rest) = match (i64::try_from(numerator), i64::try_from(denominator)) {
        // Division of 128 bits is slow, and few amounts need it.
        (Ok(numerator), Ok(denominator)) if denominator > 0 => {
            (i128::from(numerator / denominator), i128::from(numerator % denominator))
        }
        _ => (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?),
    };
    if rest == 0 {
        return Some(quotient);
    }
    let positive = (rest < 0) == (denominator < 0);
    let half = (rest.unsigned_abs() * 2).cmp(&denominator.unsigned_abs());
    let away = match mode {
        RoundingMode::Up => true,
        RoundingMode::Down => false,
        RoundingMode::Ceiling => positive,
        RoundingMode::Floor => !positive,
        RoundingMode::HalfUp => half.is_ge(),
        RoundingMode::HalfDown => half.is_gt(),
        RoundingMode::HalfEven => half.is_gt() || half.is_eq() && quotient % 2 != 0,
    };
    match (away, positive) {
        (false, _) => Some(quotient),
        (true, true) => quotient.checked_add(1),
        (true, false) => quotient.checked_sub(1),
    }
}

/// The mantissas of two at the larger of their scales.
#[inline]
fn aligned(a: &Decimal, b: &Decimal) -> Option<(i128, i128, i64)> {
    let (Small { mantissa: a, scale: s }, Small { mantissa: b, scale: t }) = (a, b) else { return None };
    match s.cmp(t) {
        Ordering::Equal => Some((*a, *b, *s)),
        Ordering::Less => Some((raised(*a, s.abs_diff(*t))?, *b, *t)),
        Ordering::Greater => Some((*a, raised(*b, s.abs_diff(*t))?, *s)),
    }
}

/// Mantissa and scale without the zeros at the end, as long as there are more than `least` decimals. Zero has none.
fn without_zeros(mut mantissa: i128, mut scale: i64, least: i64) -> (i128, i64) {
    if mantissa == 0 {
        return (0, 0);
    }
    while scale > least {
        // Division of 128 bits is slow, and few amounts need it.
        let (shorter, digit) = match i64::try_from(mantissa) {
            Ok(mantissa) => (i128::from(mantissa / 10), i128::from(mantissa % 10)),
            Err(_) => (mantissa / 10, mantissa % 10),
        };
        if digit != 0 {
            break;
        }
        (mantissa, scale) = (shorter, scale - 1);
    }
    (mantissa, scale)
}

/// A mantissa that a binary number holds exactly.
fn exact_f64(mantissa: i128) -> Option<f64> {
    const EXACT: u64 = 1 << 53;
    let mantissa = i64::try_from(mantissa).ok().filter(|mantissa| mantissa.unsigned_abs() <= EXACT)?;
    #[expect(clippy::cast_precision_loss, reason = "it is exact")]
    Some(mantissa as f64)
}

/// A decimal as it was written, in quotes or as a bare JSON number, still to be parsed into what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalText(pub String);

impl<'de> serde::Deserialize<'de> for DecimalText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

/// Reads the text of a JSON string, or of an unquoted JSON number in plain notation, digit for digit.
pub(crate) fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match <serde_json::Value as serde::Deserialize>::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(without_exponent(&number.to_string())),
        _ => Err(D::Error::custom("a decimal in quotes is expected, like \"12.50\"")),
    }
}

/// A JSON number in plain notation: `1e-05`, as Python writes 0.00001, becomes `0.00001`. The value stays exactly the
/// same, except that exponents beyond ±60 count as ±60: such numbers are too large or too precise anyway.
fn without_exponent(number: &str) -> String {
    const LARGEST: i64 = 60;
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let out_of_range = if exponent.starts_with('-') { -LARGEST } else { LARGEST };
    let exponent = exponent.parse().unwrap_or(out_of_range).clamp(-LARGEST, LARGEST);
    // Where the point stands in the digits, counted from the first.
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

#[cfg(test)]
mod tests {
    use super::*;
    use bigdecimal::num_bigint::BigInt;
    use proptest::prelude::*;
    use std::collections::hash_map::DefaultHasher;
    use std::str::FromStr;

    const MODES: [RoundingMode; 7] = [
        RoundingMode::Up,
        RoundingMode::Down,
        RoundingMode::Ceiling,
        RoundingMode::Floor,
        RoundingMode::HalfUp,
        RoundingMode::HalfDown,
        RoundingMode::HalfEven,
    ];

    /// Of all sizes: those that fit, those that do not, those at the border, and many zeros at the end.
    fn mantissas() -> impl Strategy<Value = BigInt> {
        prop_oneof![
            any::<i64>().prop_map(BigInt::from),
            (-200_i64..200).prop_map(BigInt::from),
            any::<i128>().prop_map(BigInt::from),
            (any::<i128>(), 1_u32..9).prop_map(|(part, power)| BigInt::from(part).pow(power)),
            (any::<bool>(), -3_i64..=3)
                .prop_map(|(upper, off)| { BigInt::from(if upper { i128::MAX } else { i128::MIN }) + off }),
            (-200_i64..200, 0_u32..45)
                .prop_map(|(part, zeros)| BigInt::from(part) * BigInt::from(10).pow(zeros)),
        ]
    }

    fn decimals() -> impl Strategy<Value = BigDecimal> {
        let scale = prop_oneof![4 => 0_i64..12, 1 => -5_i64..50];
        (mantissas(), scale).prop_map(|(mantissa, scale)| BigDecimal::new(mantissa, scale))
    }

    /// Halves and their neighbors, where rounding decides.
    fn ties() -> impl Strategy<Value = BigDecimal> {
        (any::<i32>(), 2_i64..9, -1_i64..=1).prop_map(|(whole, scale, off)| {
            let tie = (i64::from(whole) * 10 + 5) * 10_i64.pow(u32::try_from(scale).unwrap() - 1) + off;
            BigDecimal::new(tie.into(), scale)
        })
    }

    /// Two, of which the other is often the same number with more decimals, or its neighbor.
    fn pairs() -> impl Strategy<Value = (BigDecimal, BigDecimal)> {
        let near = (decimals(), 0_i64..45, -1_i64..=1).prop_map(|(value, more, off)| {
            let (mantissa, scale) =
                value.with_scale(value.fractional_digit_count() + more).into_bigint_and_scale();
            (value, BigDecimal::new(mantissa + off, scale))
        });
        prop_oneof![(decimals(), decimals()), near]
    }

    fn decimal(value: &BigDecimal) -> Decimal {
        value.clone().into()
    }

    fn hash(value: &Decimal) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// By value, and inline whenever that fits.
    fn equal(ours: &Decimal, plain: &BigDecimal) {
        assert_eq!(ours.big().as_ref(), plain);
        if let Big(big) = ours {
            assert_eq!(big.as_bigint_and_scale().0.to_i128(), None, "{big} would fit");
        }
    }

    /// Digit for digit, decimals included.
    fn same(ours: &Decimal, plain: &BigDecimal) {
        equal(ours, plain);
        assert_eq!(ours.scale(), plain.fractional_digit_count());
        assert_eq!(ours.big().to_string(), plain.to_string());
    }

    proptest! {
        #[test]
        fn arithmetic_is_that_of_big_decimals((a, b) in pairs()) {
            let (x, y) = (decimal(&a), decimal(&b));
            same(&x, &a);
            same(&-&x, &-&a);
            same(&x.abs(), &a.abs());
            same(&x.normalized(), &a.normalized());
            equal(&(&x + &y), &(&a + &b));
            equal(&(&x - &y), &(&a - &b));
            equal(&(&x * &y), &(&a * &b));
            let (mut sum, mut rest) = (x.clone(), x.clone());
            sum += &y;
            rest -= &y;
            equal(&sum, &(&a + &b));
            equal(&rest, &(&a - &b));
            let signs = [x.is_negative(), x.is_zero(), x.is_positive()];
            prop_assert_eq!(signs, [a < 0, a == 0, a > 0]);
            prop_assert_eq!(x.to_u64(), a.with_scale(0).to_u64());
        }

        #[test]
        fn order_and_equality_are_those_of_big_decimals((a, b) in pairs()) {
            let (x, y) = (decimal(&a), decimal(&b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(y.cmp(&x), b.cmp(&a));
            prop_assert_eq!(x == y, a == b);
            if a == b {
                prop_assert_eq!(hash(&x), hash(&y));
            }
        }

        #[test]
        fn the_same_number_with_more_decimals_is_the_same(value in decimals(), more in 0_i64..45) {
            let longer = value.with_scale(value.fractional_digit_count() + more);
            let (x, y) = (decimal(&value), decimal(&longer));
            same(&x.with_scale(longer.fractional_digit_count()), &longer);
            prop_assert_eq!(&x, &y);
            prop_assert_eq!(hash(&x), hash(&y));
            same(&y.normalized(), &x.normalized().big());
        }

        #[test]
        fn rounding_is_that_of_big_decimals(
            value in prop_oneof![decimals(), ties()],
            other in prop_oneof![decimals(), ties()],
            scale in 0_i64..10,
        ) {
            let (ours, divisor) = (decimal(&value), decimal(&other));
            same(&ours.half_even(scale), &value.with_scale_round(scale, RoundingMode::HalfEven));
            same(&ours.with_scale(scale), &value.with_scale(scale));
            for mode in MODES {
                same(&ours.rounded(scale, mode), &value.with_scale_round(scale, mode));
                if other != 0 {
                    let plain = (&value / &other).with_scale_round(scale, mode);
                    same(&ours.quotient(&divisor, scale, mode), &plain);
                }
            }
        }

        #[test]
        fn writing_is_that_of_big_decimals(value in decimals(), scale in 0_i64..12) {
            let ours = decimal(&value);
            let plain = |value: &BigDecimal, scale| value.with_scale(scale).to_plain_string();
            prop_assert_eq!(fixed(&ours, scale), plain(&value, scale));
            let shortest = value.normalized();
            let expected = plain(&shortest, shortest.fractional_digit_count().max(scale));
            prop_assert_eq!(super::shortest(&ours, scale), expected);
            let decimals = value.fractional_digit_count();
            let written = fixed(&ours, decimals.max(0));
            same(&BigDecimal::from_str(&written).unwrap().into(), &value.with_scale(decimals.max(0)));
        }

        #[test]
        fn the_nearest_binary_number_is_that_of_the_text(value in prop_oneof![decimals(), ties()]) {
            let expected: f64 = value.to_plain_string().parse().unwrap();
            prop_assert_eq!(decimal(&value).to_f64().to_bits(), expected.to_bits());
        }

        #[test]
        fn a_ratio_is_that_of_the_text(a in any::<i64>(), cut in 0_u32..18, b in 1_i64..1 << 53, scale in 0_i64..9) {
            let (a, b) = (BigDecimal::new((a / 10_i64.pow(cut)).into(), 2), BigDecimal::new(b.into(), scale));
            let expected: f64 = (&a / &b).to_plain_string().parse().unwrap();
            prop_assert_eq!(decimal(&a).ratio(&decimal(&b)), expected);
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
            assert_eq!(fixed(&Decimal::new(mantissa, scale), decimals), written);
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
            same(&decimal(&value(exact)).half_even(2), &value(rounded));
        }
        let limit = BigDecimal::new(i128::MIN.into(), 1);
        same(&decimal(&limit).half_even(0), &limit.with_scale_round(0, RoundingMode::HalfEven));
    }

    #[test]
    fn beyond_the_limits_it_grows_and_behind_them_it_shrinks_again() {
        let (most, one) = (Decimal::whole(i128::MAX), Decimal::whole(1));
        let beyond = &most + &one;
        assert!(matches!(beyond, Big(_)) && beyond > most);
        assert!(matches!(&beyond - &one, Small { .. }) && &beyond - &one == most);
        let least = Decimal::whole(i128::MIN);
        assert!(-&least == beyond && matches!(-&beyond, Small { .. }) && least.abs() == beyond);
        // A great many decimals are no reason to be large.
        let (tiny, huge) = (Decimal::new(1, i64::MAX), Decimal::new(1, i64::MIN));
        assert!(tiny < huge && tiny > Decimal::ZERO && tiny != huge && -&huge < -&tiny);
        assert!(Decimal::new(0, i64::MAX) == Decimal::ZERO);
    }

    #[test]
    fn a_decimal_is_two_words_and_a_scale() {
        assert_eq!(size_of::<Decimal>(), 32);
    }

    #[test]
    #[should_panic(expected = "ivi")]
    fn nothing_is_divided_by_zero() {
        Decimal::whole(1).quotient(&Decimal::ZERO, 2, RoundingMode::HalfEven);
    }

    #[test]
    fn stored_decimals_are_read_in_plain_notation() {
        for text in
            ["0", "-0.01", "0.00", "007", "123456789012345.67", "999999999.999999999", "1000000000000000"]
        {
            same(&Decimal::plain(text).unwrap(), &BigDecimal::from_str(text).unwrap());
        }
        for text in ["", "-", ".5", "5.", "1e3", "1_0", "+1", "1.2.3", "--1", &"9".repeat(37)] {
            assert_eq!(Decimal::plain(text), None, "{text}");
        }
    }

    #[test]
    fn only_plain_notation_is_read() {
        for good in ["0", "1", "-1.5", "9999999999999999.999999999", "0.000000001"] {
            assert!(Decimal::parse(good).is_ok(), "{good}");
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
            assert!(Decimal::parse(bad).is_err(), "{bad}");
        }
    }
}
