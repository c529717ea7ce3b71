//! Exact decimals in types that cannot be mixed: [`Money`], [`Price`] and [`Quantity`].
//!
//! No value is a float. Rounding is half-even and happens only where a function says so.

mod average;
mod price;
mod quantity;
mod rate;
#[cfg(test)]
mod tests;
mod text;

use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use bigdecimal::RoundingMode;

pub use average::{AveragePrice, ExactAmount, average_price};
pub use price::{Price, PriceChange};
pub use quantity::Quantity;
pub use rate::{Percent, Rate};
pub use text::DecimalError;

use crate::decimal::Decimal;
use quantity::QUANTITY_SCALE;

/// An amount in the account's currency, in whole cents (scale 2). Positive amounts are money coming in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Money(pub(crate) Decimal);

pub(crate) const CENTS: i64 = 2;

impl Money {
    /// The largest amount in the books, positive or negative: 10^15.
    pub const MAX: &'static str = "1000000000000000.00";

    pub fn zero() -> Self {
        Self(Decimal::new(0, CENTS))
    }

    pub fn from_cents(cents: i64) -> Self {
        Self(Decimal::new(cents.into(), CENTS))
    }

    /// The amount in cents. `None` if it does not fit an `i64`.
    pub fn to_cents(&self) -> Option<i64> {
        match &self.0 {
            Decimal::Small { mantissa, scale: CENTS } => i64::try_from(*mantissa).ok(),
            Decimal::Small { mantissa: 0, .. } => Some(0),
            other => match other.half_even(CENTS) {
                Decimal::Small { mantissa, scale: CENTS } => i64::try_from(mantissa).ok(),
                Decimal::Small { .. } | Decimal::Big(_) => None,
            },
        }
    }

    /// Rounds half-even to the cent.
    pub(crate) fn rounded(exact: &Decimal) -> Self {
        Self(exact.half_even(CENTS))
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_positive(&self) -> bool {
        self.0.is_positive()
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// Whether the amount is within ±10^15, the range of the books.
    pub fn in_bounds(&self) -> bool {
        self.0.abs() <= Decimal::whole(1_000_000_000_000_000)
    }

    /// `self × part / whole`, rounded half-even to the cent: the cost of a part of a position.
    ///
    /// ```
    /// use domain::{Money, Quantity};
    ///
    /// let cost: Money = "100.00".parse()?;
    /// let (sold, held): (Quantity, Quantity) = ("1".parse()?, "3".parse()?);
    /// assert_eq!(cost.prorate(&sold, &held).to_string(), "33.33");
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    ///
    /// # Panics
    /// If `whole` is zero. The quantity of a held position never is.
    pub fn prorate(&self, part: &Quantity, whole: &Quantity) -> Self {
        Self((&self.0 * &part.0).quotient(&whole.0, CENTS, RoundingMode::HalfEven))
    }

    /// The number of shares that the amount buys at `price`, rounded down to nine decimals. Zero at a price of zero.
    ///
    /// ```
    /// use domain::{Money, Price};
    ///
    /// let budget: Money = "100.00".parse()?;
    /// let price: Price = "3.00".parse()?;
    /// assert_eq!(budget.buys(&price).to_string(), "33.333333333");
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    pub fn buys(&self, price: &Price) -> Quantity {
        if price.0.is_zero() || !self.is_positive() {
            return Quantity::zero();
        }
        Quantity(self.0.quotient(&price.0, QUANTITY_SCALE, RoundingMode::Down))
    }

    /// Whether the amount is at most `percent` % above `other`.
    pub(crate) fn is_at_most_percent_above(&self, other: &Self, percent: u32) -> bool {
        let excess = &(&self.0 - &other.0) * &Decimal::whole(100);
        excess <= &other.0 * &Decimal::from(percent)
    }

    /// The nearest `f64`, only for statistics and charts. The books never use it.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Add<&Money> for Money {
    type Output = Self;
    fn add(self, other: &Money) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl Sub<&Money> for Money {
    type Output = Self;
    fn sub(self, other: &Money) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl AddAssign<&Money> for Money {
    fn add_assign(&mut self, other: &Money) {
        self.0 += &other.0;
    }
}

impl SubAssign<&Money> for Money {
    fn sub_assign(&mut self, other: &Money) {
        self.0 -= &other.0;
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-&self.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        let mut total = Self::zero();
        amounts.for_each(|amount| total += &amount);
        total
    }
}

impl<'a> Sum<&'a Money> for Money {
    fn sum<I: Iterator<Item = &'a Money>>(amounts: I) -> Self {
        let mut total = Self::zero();
        amounts.for_each(|amount| total += amount);
        total
    }
}
