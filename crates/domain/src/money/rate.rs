//! Percentages, and the rates of fees.

use super::{Money, Quantity};
use crate::decimal::Decimal;

/// A percentage above 0 and at most 100, with up to four decimals: 2.5 is 2.5 %.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Percent(pub(crate) Decimal);

/// The rate of a fee, per share or in percent: zero or more, with up to six decimals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub(crate) Decimal);

impl Rate {
    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    /// `self × quantity`, rounded half-even to the cent.
    pub fn per_share(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// `self` % of `amount`, rounded half-even to the cent.
    pub fn percent_of(&self, amount: &Money) -> Money {
        Money::rounded(&percent(&self.0, &amount.0))
    }
}

impl Percent {
    /// 100 %.
    pub fn hundred() -> Self {
        Self(Decimal::whole(100))
    }

    /// `self` % of `amount`, exact.
    pub(super) fn share_of(&self, amount: &Decimal) -> Decimal {
        percent(&self.0, amount)
    }
}

/// `percent` % of `amount`, exact.
fn percent(percent: &Decimal, amount: &Decimal) -> Decimal {
    &(percent * amount) * &Decimal::new(1, 2)
}
