//! Positions: shares and their cost, by the average-cost method.

use thiserror::Error;

use crate::money::{AveragePrice, average_price};
use crate::{Money, Quantity};

/// A position in one stock. A closed position has no shares and keeps its realized result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub quantity: Quantity,
    /// The cost of the shares held now, including commissions. Zero if no shares are held.
    pub cost_basis: Money,
    /// Realized P&L of all sells: proceeds less cost; positive is a gain.
    pub realized_pnl: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PositionError {
    #[error("only {held} shares are held")]
    NotHeld { held: Quantity },
}

impl Default for Position {
    fn default() -> Self {
        Self { quantity: Quantity::zero(), cost_basis: Money::zero(), realized_pnl: Money::zero() }
    }
}

impl Position {
    /// Adds shares for `cost` in total (positive, commission included).
    pub fn buy(&mut self, quantity: &Quantity, cost: &Money) {
        self.quantity = std::mem::replace(&mut self.quantity, Quantity::zero()) + quantity;
        self.cost_basis += cost;
    }

    /// Removes shares that brought `proceeds` (less commission) and returns the realized result. The removed cost is
    /// `cost_basis × sold / held`, rounded half-even to the cent; selling all shares removes the whole remaining cost.
    ///
    /// ```
    /// use domain::Position;
    ///
    /// let mut position = Position::default();
    /// position.buy(&"10".parse()?, &"1000.00".parse()?);
    /// position.buy(&"10".parse()?, &"1200.00".parse()?);
    /// // Average cost 110.00: selling 15 at 130.00 realizes 15 × 20.00.
    /// let realized = position.sell(&"15".parse()?, &"1950.00".parse()?)?;
    /// assert_eq!(realized.to_string(), "300.00");
    /// assert_eq!(position.cost_basis.to_string(), "550.00");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PositionError::NotHeld`] if fewer shares are held; the position is then unchanged.
    pub fn sell(&mut self, quantity: &Quantity, proceeds: &Money) -> Result<Money, PositionError> {
        let rest = self
            .quantity
            .checked_sub(quantity)
            .ok_or_else(|| PositionError::NotHeld { held: self.quantity.clone() })?;
        let cost = if rest.is_zero() {
            self.cost_basis.clone()
        } else {
            self.cost_basis.prorate(quantity, &self.quantity)
        };
        let realized = proceeds.clone() - &cost;
        self.quantity = rest;
        self.cost_basis -= &cost;
        self.realized_pnl += &realized;
        Ok(realized)
    }

    /// `cost_basis / quantity`, rounded half-even to six decimals; `None` if no shares are held.
    pub fn average_buy_price(&self) -> Option<AveragePrice> {
        average_price(&self.cost_basis, &self.quantity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    /// Buy 10 at 100 and 10 at 120, sell 15 at 130: average 110, realized 300, 5 left at 110.
    #[test]
    fn average_cost_by_hand() {
        let mut position = Position::default();
        position.buy(&quantity("10"), &money("1000"));
        position.buy(&quantity("10"), &money("1200"));
        assert_eq!(position.average_buy_price().unwrap().to_string(), "110.000000");
        assert_eq!(position.sell(&quantity("15"), &money("1950")), Ok(money("300")));
        assert_eq!(
            (position.quantity.to_string(), position.cost_basis.to_string()),
            ("5".into(), "550.00".into())
        );
        assert_eq!(position.average_buy_price().unwrap().to_string(), "110.000000");
    }

    #[test]
    fn a_full_sell_takes_the_rest_of_the_cost() {
        let mut position = Position::default();
        position.buy(&quantity("3"), &money("100"));
        position.sell(&quantity("1"), &money("40")).unwrap();
        assert_eq!(position.cost_basis, money("66.67"));
        position.sell(&quantity("1"), &money("40")).unwrap();
        position.sell(&quantity("1"), &money("40")).unwrap();
        assert_eq!((position.cost_basis.clone(), position.realized_pnl.clone()), (money("0"), money("20")));
        assert_eq!(position.average_buy_price(), None);
    }

    #[test]
    fn selling_more_than_held_changes_nothing() {
        let mut position = Position::default();
        position.buy(&quantity("1.5"), &money("10"));
        let before = position.clone();
        let refused = position.sell(&quantity("1.500000001"), &money("10"));
        assert_eq!(refused, Err(PositionError::NotHeld { held: quantity("1.5") }));
        assert_eq!(position, before);
    }
}
