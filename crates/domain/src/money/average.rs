//! Average prices per share, and the unrounded amounts that they come from.

use bigdecimal::RoundingMode;

use super::price::tick_scale;
use super::{CENTS, Money, Price, Quantity};
use crate::decimal::{self, Decimal};

/// What a share cost on average: `cost / quantity`, half-even to six decimals. `None` for nothing held.
pub fn average_price(cost: &Money, quantity: &Quantity) -> Option<AveragePrice> {
    let average = || cost.0.quotient(&quantity.0, 6, RoundingMode::HalfEven);
    (!quantity.is_zero()).then(|| AveragePrice(average()))
}

/// A price per share that came out of a division, to six decimals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct AveragePrice(pub(crate) Decimal);

impl AveragePrice {
    /// The average over `before` shares at `self` and `quantity` more at `price`, half-even to six decimals.
    pub fn with(&self, before: &Quantity, price: &Price, quantity: &Quantity) -> Self {
        let (total, shares) = (&(&self.0 * &before.0) + &(&price.0 * &quantity.0), &before.0 + &quantity.0);
        if shares.is_zero() {
            return self.clone();
        }
        Self(total.quotient(&shares, 6, RoundingMode::HalfEven))
    }

    /// As a price is written where it lies on the tick, else with the decimals it needs: `189.42`, `189.423333`.
    pub fn to_shortest(&self) -> String {
        decimal::shortest(&self.0, tick_scale(&self.0)).into()
    }
}

/// A sum of quantity × price in the account's currency, not rounded. Splits do not change it: what they multiply the
/// quantity by they divide the price by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct ExactAmount(pub(crate) Decimal);

impl ExactAmount {
    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    /// With `quantity × price` more.
    #[must_use]
    pub fn plus(&self, price: &Price, quantity: &Quantity) -> Self {
        Self(&self.0 + &(&price.0 * &quantity.0))
    }

    /// Half-even to the cent.
    pub fn rounded(&self) -> Money {
        Money::rounded(&self.0)
    }

    /// What is left of `budget`, in shares at `price`, rounded down to nine decimals. Zero when nothing is left.
    pub(crate) fn rest_buys(&self, budget: &Money, price: &Price) -> Quantity {
        let rest = &budget.0 - &self.0;
        if price.0.is_zero() || !rest.is_positive() {
            return Quantity::zero();
        }
        Quantity::quotient(&rest, &price.0)
    }

    /// Per share to six decimals, rounded up or down as `mode` says. `None` for no shares.
    pub(crate) fn average(&self, shares: &Quantity, mode: RoundingMode) -> Option<AveragePrice> {
        (!shares.is_zero()).then(|| AveragePrice(self.0.quotient(&shares.0, 6, mode)))
    }

    /// Whether `amount` is within a cent of it, inclusive: further than that, cumulative rounding never takes a fill.
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
