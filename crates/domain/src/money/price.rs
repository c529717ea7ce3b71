//! Prices per share, on the tick, and their differences.

use bigdecimal::{BigDecimal, RoundingMode};

use super::{CENTS, DecimalError, Money, Percent, Quantity};
use crate::decimal::Decimal;

/// The price of one share, on the tick: 0.01 from 1.00 upwards, 0.0001 below. Never negative.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Price(pub(crate) Decimal);

pub(super) const TICK_BELOW_ONE: i64 = 4;

impl Price {
    pub const MAX: &'static str = "10000000";

    /// Returns `mantissa × 10^-scale`, rounded half-even to the tick, for sources with binary or too precise prices.
    pub fn from_scaled(mantissa: i64, scale: u8) -> Self {
        Self::half_even(&Decimal::new(mantissa.into(), scale.into()))
    }

    /// Rounds half-even to the tick.
    pub fn rounded(exact: &BigDecimal) -> Self {
        Self::half_even(&exact.clone().into())
    }

    pub(crate) fn half_even(exact: &Decimal) -> Self {
        Self(exact.half_even(tick_scale(exact)))
    }

    /// Parses a provider's text, which may carry more decimals than the tick, and rounds half-even to the tick.
    ///
    /// ```
    /// use domain::Price;
    ///
    /// assert_eq!(Price::from_provider("205.350006103")?.to_string(), "205.35");
    /// assert_eq!(Price::from_provider("0.98765")?.to_string(), "0.9876");
    /// assert!(Price::from_provider("-1").is_err());
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    ///
    /// # Errors
    /// If the text is not a plain decimal above zero and at most 10^7.
    pub fn from_provider(text: &str) -> Result<Self, DecimalError> {
        let exact = Decimal::parse(text).map_err(|_| DecimalError::Malformed)?;
        Self::half_even(&exact).checked()
    }

    /// `dividend / divisor`, both above zero, rounded to the tick by `mode`.
    pub(crate) fn quotient(dividend: &Decimal, divisor: &Decimal, mode: RoundingMode) -> Self {
        let scale = if dividend < divisor { TICK_BELOW_ONE } else { CENTS };
        Self(dividend.quotient(divisor, scale, mode))
    }

    /// Checks that the price is within the range of prices.
    ///
    /// # Errors
    /// [`DecimalError::OutOfRange`] if it is zero or above 10^7.
    pub(crate) fn checked(self) -> Result<Self, DecimalError> {
        if self.0.is_positive() && self.0 <= Decimal::whole(10_000_000) {
            Ok(self)
        } else {
            Err(DecimalError::OutOfRange { min: "0.0001", max: Self::MAX })
        }
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Self {
        Self::half_even(&(&self.0 + &other.0))
    }

    /// `self − other`; `None` if the result is not above zero.
    pub fn less(&self, other: &Self) -> Option<Self> {
        (self > other).then(|| Self::half_even(&(&self.0 - &other.0)))
    }

    /// `self × (1 + percent/100)`, rounded half-even to the tick.
    pub fn raised(&self, percent: &Percent) -> Self {
        Self::half_even(&(&self.0 + &percent.share_of(&self.0)))
    }

    /// `self × (1 − percent/100)`, rounded half-even to the tick; `None` if that is zero.
    pub fn lowered(&self, percent: &Percent) -> Option<Self> {
        let lowered = Self::half_even(&(&self.0 - &percent.share_of(&self.0)));
        (!lowered.is_zero()).then_some(lowered)
    }

    /// The value of `quantity` shares, rounded half-even to the cent.
    ///
    /// ```
    /// use domain::{Price, Quantity};
    ///
    /// let price: Price = "1.25".parse()?;
    /// let quantity: Quantity = "0.1".parse()?;
    /// // 0.125 is a tie and goes to the even cent.
    /// assert_eq!(price.times(&quantity).to_string(), "0.12");
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    pub fn times(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// `self − other` per share, exact. The result may be negative, so it is not a `Price`.
    pub fn minus(&self, other: &Self) -> PriceChange {
        PriceChange(&self.0 - &other.0)
    }

    /// `self / other − 1` as a ratio; `None` when `other` is zero.
    ///
    /// ```
    /// use domain::Price;
    ///
    /// let (before, after): (Price, Price) = ("200.00".parse()?, "210.00".parse()?);
    /// assert!((after.change_ratio(&before).unwrap() - 0.05).abs() < 1e-12);
    /// # Ok::<(), domain::DecimalError>(())
    /// ```
    pub fn change_ratio(&self, other: &Self) -> Option<f64> {
        (!other.0.is_zero()).then(|| self.0.ratio(&other.0) - 1.0)
    }

    /// The nearest `f64`, only for statistics and charts. The books never use it.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

/// The difference of two prices, per share; positive if the price rose. Exact, not rounded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PriceChange(pub(super) Decimal);

impl PriceChange {
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }
}

/// Decimals of a price: 2 from 1.00 upwards, 4 below.
pub(super) fn tick_scale(price: &Decimal) -> i64 {
    if *price < Decimal::whole(1) { TICK_BELOW_ONE } else { CENTS }
}
