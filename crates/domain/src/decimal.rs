//! The exact decimal inside every amount, price and quantity: arithmetic and rounding.
//!
//! Nearly all values fit an `i128`, which needs no heap. This takes a third of the time of `BigDecimal`, and a
//! thousandth for division. Larger values are computed by `BigDecimal`, so results are always the same as those of the
//! library.

mod integer;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive};

pub use text::DecimalText;
pub(crate) use text::{Unreadable, fixed, json_text, shortest};

use integer::{divided, exact_f64, power_of_ten, raised, times, without_zeros};

/// An exact decimal. Compared and hashed by value: 1.5 equals 1.50.
#[derive(Debug, Clone)]
pub(crate) enum Decimal {
    /// `mantissa / 10^scale`.
    Small { mantissa: i128, scale: i64 },
    /// Holds only values whose mantissa does not fit. Only `From<BigDecimal>` creates it.
    Big(Box<BigDecimal>),
}

use Decimal::{Big, Small};

impl Decimal {
    pub const ZERO: Self = Self::whole(0);

    pub const fn new(mantissa: i128, scale: i64) -> Self {
        Small { mantissa, scale }
    }

    pub const fn whole(number: i128) -> Self {
        Self::new(number, 0)
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

    /// The sign, as a comparison with zero.
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

    /// The number of decimals, including trailing zeros.
    pub fn scale(&self) -> i64 {
        match self {
            Small { scale, .. } => *scale,
            Big(big) => big.fractional_digit_count(),
        }
    }

    /// Changes the number of decimals to `scale`; further decimals are cut off.
    pub fn with_scale(&self, scale: i64) -> Self {
        self.rounded(scale, RoundingMode::Down)
    }

    /// Rounds to `scale` decimals by `mode`.
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

    /// Rounds half-even to `scale` decimals: the only rounding mode of booked amounts.
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

    /// Removes trailing zeros, even before the decimal point: 1200 gets the scale −2.
    pub fn normalized(&self) -> Self {
        match self {
            Small { mantissa, scale } => {
                let (mantissa, scale) = without_zeros(*mantissa, *scale, i64::MIN);
                Self::new(mantissa, scale)
            }
            Big(big) => big.normalized().into(),
        }
    }

    /// The whole part; `None` for negative values and beyond 64 bits.
    pub fn to_u64(&self) -> Option<u64> {
        match self.with_scale(0) {
            Small { mantissa, .. } => mantissa.try_into().ok(),
            Big(_) => None,
        }
    }

    /// The nearest `f64`.
    ///
    /// The quotient of two integers that `f64` represents exactly is rounded correctly (W. D. Clinger: How to read
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

    /// `self / divisor` as the nearest `f64`. The divisor must not be zero.
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

/// Applies `small` to both mantissas at a common scale, or `big` if they do not fit.
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
        // A value that does not fit at the other's scale is further from zero than every value that fits.
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

/// Both mantissas at the larger of the two scales.
#[inline]
fn aligned(a: &Decimal, b: &Decimal) -> Option<(i128, i128, i64)> {
    let (Small { mantissa: a, scale: s }, Small { mantissa: b, scale: t }) = (a, b) else { return None };
    match s.cmp(t) {
        Ordering::Equal => Some((*a, *b, *s)),
        Ordering::Less => Some((raised(*a, s.abs_diff(*t))?, *b, *t)),
        Ordering::Greater => Some((*a, raised(*b, s.abs_diff(*t))?, *s)),
    }
}
