//! Numbers of shares.

use std::ops::{Add, Sub};

use bigdecimal::RoundingMode;

use super::Percent;
use crate::decimal::Decimal;

/// A number of shares with up to nine decimals. Never negative; an order's side gives the direction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Quantity(pub(crate) Decimal);

pub(super) const QUANTITY_SCALE: i64 = 9;

impl Quantity {
    pub const MIN: &'static str = "0.000000001";
    pub const MAX: &'static str = "1000000000";

    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// `self − other`; `None` if the result is negative.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        (self >= other).then(|| Self(&self.0 - &other.0))
    }

    /// `percent` % of `volume` shares, exact.
    pub fn share_of(volume: u64, percent: &Percent) -> Self {
        Self(percent.share_of(&volume.into()).normalized())
    }

    /// The whole shares; the fraction is cut off.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self(self.0.with_scale(0))
    }

    /// One percent, rounded down to nine decimals.
    pub(crate) fn hundredth(&self) -> Self {
        Self::quotient(&self.0, &Decimal::whole(100))
    }

    /// One share.
    pub fn one() -> Self {
        Self(Decimal::whole(1))
    }

    /// `percent` % of the shares, rounded down to nine decimals.
    ///
    /// ```
    /// use domain::{Percent, Quantity};
    ///
    /// let (held, third): (Quantity, Percent) = ("10".parse()?, "33.3333".parse()?);
    /// assert_eq!(held.part(&third).to_string(), "3.33333");
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    #[must_use]
    pub fn part(&self, percent: &Percent) -> Self {
        Self(percent.share_of(&self.0).with_scale(QUANTITY_SCALE).normalized())
    }

    /// `dividend / divisor`, rounded down to nine decimals.
    pub(crate) fn quotient(dividend: &Decimal, divisor: &Decimal) -> Self {
        Self(dividend.quotient(divisor, QUANTITY_SCALE, RoundingMode::Down).normalized())
    }

    /// Whether the quantity is in the range of the books: at most 10^9 shares.
    pub fn in_bounds(&self) -> bool {
        self.0 <= Decimal::whole(1_000_000_000)
    }
}

impl Add<&Quantity> for Quantity {
    type Output = Self;
    fn add(self, other: &Quantity) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Sub<&Quantity> for Quantity {
    type Output = Self;
    /// The caller must check that there are enough shares.
    fn sub(self, other: &Quantity) -> Self {
        debug_assert!(self >= *other, "Invariant: a quantity is never negative");
        Self(&self.0 - &other.0)
    }
}
