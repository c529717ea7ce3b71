//! Close-outs: the end of a holding in a delisted stock, and its proceeds.

use crate::{Money, PerShare, Position, Quantity, SplitRatio, StockId, Symbol};

/// The proceeds of all shares of a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOut {
    /// Cash per share: the company was bought for cash, or is liquidated.
    Cash { per_share: PerShare },
    /// Nothing: the shares are worthless.
    WriteOff,
    /// Shares of another stock, in a ratio of new to old shares, and cash per old share: the companies merged.
    Exchange {
        into: StockId,
        /// The other stock's symbol at the time of the decision.
        symbol: Symbol,
        ratio: SplitRatio,
        cash: Option<PerShare>,
    },
}

impl CloseOut {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cash { .. } => "cash",
            Self::WriteOff => "write_off",
            Self::Exchange { .. } => "exchange",
        }
    }

    /// The cash per old share.
    pub fn cash(&self) -> Option<&PerShare> {
        match self {
            Self::Cash { per_share } => Some(per_share),
            Self::WriteOff => None,
            Self::Exchange { cash, .. } => cash.as_ref(),
        }
    }

    /// The ratio of new to old shares of an exchange.
    pub fn ratio(&self) -> Option<SplitRatio> {
        match self {
            Self::Exchange { ratio, .. } => Some(*ratio),
            Self::Cash { .. } | Self::WriteOff => None,
        }
    }

    /// The stock that shares are exchanged into.
    pub fn into_stock(&self) -> Option<(StockId, &Symbol)> {
        match self {
            Self::Exchange { into, symbol, .. } => Some((*into, symbol)),
            Self::Cash { .. } | Self::WriteOff => None,
        }
    }
}

/// The effects of a close-out on one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The cash for all shares, rounded half-even to the cent once.
    pub cash: Money,
    /// Shares of the other stock, rounded down to nine decimals.
    pub received: Quantity,
    /// The cost that passes to the received shares.
    pub carried: Money,
}

impl Settlement {
    /// Computes the effects of a close-out of the whole position. Cash first reduces the cost basis, and the rest of
    /// the cost passes to the new shares; cash beyond the cost is a gain. If no shares are received, the whole cost is
    /// removed.
    pub fn compute(position: &Position, cash: Option<&PerShare>, ratio: Option<SplitRatio>) -> Self {
        let cash = cash.map_or_else(Money::zero, |per_share| per_share.times(&position.quantity));
        let received = ratio.map_or_else(Quantity::zero, |ratio| ratio.shares(&position.quantity));
        let rest = position.cost_basis.clone() - &cash;
        let carried = if received.is_zero() || rest.is_negative() { Money::zero() } else { rest };
        Self { cash, received, carried }
    }

    /// The amount of the line that removes the old shares: the cash, and the cost that passes to the new shares.
    pub fn amount(&self) -> Money {
        self.cash.clone() + &self.carried
    }

    /// The realized result of the old shares.
    pub fn realized(&self, position: &Position) -> Money {
        self.amount() - &position.cost_basis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(quantity: &str, cost: &str) -> Position {
        let mut position = Position::default();
        position.buy(&quantity.parse().unwrap(), &cost.parse().unwrap());
        position
    }

    fn cash(mantissa: i64) -> PerShare {
        PerShare::from_scaled(mantissa, 4).unwrap()
    }

    /// Returns cash, received shares, carried cost, amount and result.
    fn settled(position: &Position, cash: Option<&PerShare>, ratio: Option<&str>) -> [String; 5] {
        let settled = Settlement::compute(position, cash, ratio.map(|ratio| ratio.parse().unwrap()));
        let (amount, realized) = (settled.amount(), settled.realized(position));
        [
            settled.cash.to_string(),
            settled.received.to_string(),
            settled.carried.to_string(),
            amount.to_string(),
            realized.to_string(),
        ]
    }

    #[test]
    fn cash_is_rounded_once_and_realizes_cash_less_cost() {
        let ten = held("10", "1500.00");
        assert_eq!(settled(&ten, Some(&cash(542_000)), None), ["542.00", "0", "0.00", "542.00", "-958.00"]);
        // 0.0150 × 1.5 = 0.0225
        let few = held("1.5", "1.00");
        assert_eq!(settled(&few, Some(&cash(150)), None), ["0.02", "0", "0.00", "0.02", "-0.98"]);
        assert_eq!(settled(&ten, None, None), ["0.00", "0", "0.00", "0.00", "-1500.00"]);
    }

    #[test]
    fn an_exchange_carries_the_cost_over_and_cash_lowers_it_first() {
        let ten = held("10", "1500.00");
        assert_eq!(settled(&ten, None, Some("1:2")), ["0.00", "5", "1500.00", "1500.00", "0.00"]);
        assert_eq!(
            settled(&ten, Some(&cash(100_000)), Some("1:2")),
            ["100.00", "5", "1400.00", "1500.00", "0.00"]
        );
        // More cash than cost is a gain.
        assert_eq!(
            settled(&ten, Some(&cash(2_000_000)), Some("1:2")),
            ["2000.00", "5", "0.00", "2000.00", "500.00"]
        );
    }

    #[test]
    fn fractions_beyond_nine_decimals_are_dropped_as_a_loss() {
        let one = held("1", "10.00");
        assert_eq!(settled(&one, None, Some("1:3"))[1], "0.333333333");
        let dust = held("0.000000001", "0.01");
        assert_eq!(settled(&dust, None, Some("1:3")), ["0.00", "0", "0.00", "0.00", "-0.01"]);
    }
}
