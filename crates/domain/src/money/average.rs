//! Average prices per share, and the unrounded amounts that they come from.

use bigdecimal::RoundingMode;

use super::price::tick_scale;
use super::{CENTS, Money, Price, Quantity};
use crate::decimal::{self, Decimal};

/// Average buy price per share: `cost / quantity`, rounded half-even to six decimals. `None` if nothing is held.
///
/// ```
/// use domain::money::average_price;
///
/// let average = average_price(&"100.00".parse()?, &"3".parse()?).unwrap();
/// assert_eq!(average.to_string(), "33.333333");
/// assert_eq!(average_price(&"0.00".parse()?, &domain::Quantity::zero()), None);
/// # Ok::<(), domain::DecimalError>(())
/// ```
pub fn average_price(cost: &Money, quantity: &Quantity) -> Option<AveragePrice> {
    let average = || cost.0.quotient(&quantity.0, 6, RoundingMode::HalfEven);
    (!quantity.is_zero()).then(|| AveragePrice(average()))
}

/// An average price per share, to six decimals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct AveragePrice(pub(crate) Decimal);

impl AveragePrice {
    /// The average of `before` shares at `self` and `quantity` shares at `price`, rounded half-even to six decimals.
    pub fn with(&self, before: &Quantity, price: &Price, quantity: &Quantity) -> Self {
        let (total, shares) = (&(&self.0 * &before.0) + &(&price.0 * &quantity.0), &before.0 + &quantity.0);
        if shares.is_zero() {
            return self.clone();
        }
        Self(total.quotient(&shares, 6, RoundingMode::HalfEven))
    }

    /// Formats with as many decimals as a price has, or more if needed: `189.42`, `189.423333`.
    pub fn to_shortest(&self) -> String {
        decimal::shortest(&self.0, tick_scale(&self.0)).into()
    }
}

/// A sum of quantity × price in the account's currency, not rounded. A split does not change it, because it
/// multiplies the quantity and divides the price by the same ratio.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct ExactAmount(pub(crate) Decimal);

impl ExactAmount {
    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    /// Adds `quantity × price`.
    #[must_use]
    pub fn plus(&self, price: &Price, quantity: &Quantity) -> Self {
        Self(&self.0 + &(&price.0 * &quantity.0))
    }

    /// Rounds half-even to the cent.
    pub fn rounded(&self) -> Money {
        Money::rounded(&self.0)
    }

    /// The shares that the remaining part of `budget` buys at `price`, rounded down to nine decimals. Zero if nothing
    /// is left.
    pub(crate) fn rest_buys(&self, budget: &Money, price: &Price) -> Quantity {
        let rest = &budget.0 - &self.0;
        if price.0.is_zero() || !rest.is_positive() {
            return Quantity::zero();
        }
        Quantity::quotient(&rest, &price.0)
    }

    /// The average per share to six decimals, rounded by `mode`. `None` for zero shares.
    pub(crate) fn average(&self, shares: &Quantity, mode: RoundingMode) -> Option<AveragePrice> {
        (!shares.is_zero()).then(|| AveragePrice(self.0.quotient(&shares.0, 6, mode)))
    }

    /// Whether `amount` is within one cent of the sum, inclusive. Cumulative rounding never deviates further.
    pub(crate) fn is_within_a_cent_of(&self, amount: &Money) -> bool {
        (&self.0 - &amount.0).abs() <= Decimal::new(1, CENTS)
    }
}

impl From<Money> for ExactAmount {
    fn from(amount: Money) -> Self {
        Self(amount.0)
    }
}

impl From<Price> for AveragePrice {
    fn from(price: Price) -> Self {
        Self(price.0)
    }
}
