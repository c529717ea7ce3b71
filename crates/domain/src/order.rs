//! Orders: type, size, status and fills.

mod request;
mod status;
mod terms;

use thiserror::Error;

pub use request::{PlaceOrder, ReplaceOrder};
pub(crate) use status::keywords;
pub use status::{OrderClass, OrderStatus, OrderType, Side, TimeInForce, UnknownWord};
pub use terms::{Attached, OrderSize, OrderTerms, StopLoss, Trail};

use crate::money::{AveragePrice, ExactAmount};
use crate::{FillTotals, Money, OrderId, PortfolioId, Price, Quantity, StockId, Symbol, Timestamp};

/// A forbidden change of status. It is a bug, never a user's mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct IllegalTransition {
    pub from: OrderStatus,
    pub to: OrderStatus,
}

/// An order in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub portfolio_id: PortfolioId,
    pub stock_id: StockId,
    pub symbol: Symbol,
    pub client_order_id: Option<String>,
    pub side: Side,
    pub size: OrderSize,
    pub terms: OrderTerms,
    pub time_in_force: TimeInForce,
    pub order_class: OrderClass,
    /// For a leg: the order that it was placed with.
    pub parent_order_id: Option<OrderId>,
    /// The order that this one replaced.
    pub replaces: Option<OrderId>,
    pub status: OrderStatus,
    /// When the price reached the stop.
    pub triggered_at: Option<Timestamp>,
    /// For a trailing stop: the best price so far, the highest for a sell and the lowest for a buy.
    pub high_water_price: Option<Price>,
    /// Cash reserved for future fills; zero for sells and for orders in a final state.
    pub reserved_cash: Money,
    /// Shares reserved for future fills. If two exits sell the same shares, only the first reserves them.
    pub reserved_quantity: Quantity,
    /// In current shares: a split changes this quantity of an open order, like its remaining shares. For an order in a
    /// final state: in the shares when it ended.
    pub filled_quantity: Quantity,
    /// The sum of quantity × price over all fills, not rounded. The fills booked this sum rounded half-even to the
    /// cent.
    pub filled_amount: ExactAmount,
    /// Average price of the fills to six decimals, rounded toward the limit; `None` before the first fill.
    pub filled_price: Option<AveragePrice>,
    /// The sum over all fills.
    pub commission: Money,
    pub submitted_at: Timestamp,
    /// The time up to which prices have been matched.
    pub last_matched_at: Timestamp,
    /// When the order was filled completely.
    pub filled_at: Option<Timestamp>,
    /// When the order ended without being filled completely: canceled, expired, rejected or replaced.
    pub canceled_at: Option<Timestamp>,
    /// When a `day` order ends. For `opg` and `cls` orders: the time of their opening or close.
    pub expires_at: Option<Timestamp>,
    /// Why the order was rejected, as a sentence.
    pub reject_reason: Option<String>,
}

impl Order {
    /// Changes the status. All changes go through this function.
    ///
    /// # Errors
    /// If the change is forbidden; the order is then unchanged.
    pub fn become_status(&mut self, to: OrderStatus, at: Timestamp) -> Result<(), IllegalTransition> {
        if !self.status.may_become(to) {
            return Err(IllegalTransition { from: self.status, to });
        }
        self.status = to;
        match to {
            OrderStatus::Filled => self.filled_at = Some(at),
            OrderStatus::Held | OrderStatus::Accepted | OrderStatus::PartiallyFilled => {}
            OrderStatus::Canceled | OrderStatus::Expired | OrderStatus::Rejected | OrderStatus::Replaced => {
                self.canceled_at = Some(at);
            }
        }
        if !to.is_open() {
            self.reserved_cash = Money::zero();
            self.reserved_quantity = Quantity::zero();
        }
        Ok(())
    }

    pub fn order_type(&self) -> OrderType {
        self.terms.order_type()
    }

    /// The totals of the order's fills.
    pub fn fill_totals(&self) -> FillTotals {
        FillTotals {
            quantity: self.filled_quantity.clone(),
            exact: self.filled_amount.clone(),
            amount: self.filled_amount.rounded(),
            price: self.filled_price.clone(),
        }
    }

    pub(crate) fn set_fill_totals(&mut self, totals: FillTotals) {
        self.filled_quantity = totals.quantity;
        self.filled_amount = totals.exact;
        self.filled_price = totals.price;
    }

    /// The smallest fill with limited liquidity: 1 % of the order at that price, and at least one share. A fill is
    /// smaller only if less is left to fill, or if no more volume came within [`crate::matching::LIQUIDITY_WINDOW`].
    pub(crate) fn minimum_fill(&self, price: &Price) -> Quantity {
        let ordered = match &self.size {
            OrderSize::Quantity(quantity) => quantity.clone(),
            OrderSize::Notional(notional) => notional.buys(price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        };
        ordered.hundredth().max(Quantity::one())
    }

    /// The shares that are not filled yet. For an order by money: the shares that the remaining money buys at `price`.
    pub fn remaining(&self, price: &Price) -> Quantity {
        match &self.size {
            OrderSize::Quantity(_) => self.unfilled(),
            OrderSize::Notional(notional) => self.filled_amount.rest_buys(notional, price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// The shares that are not filled yet. Zero for an order by money, whose shares depend on the price.
    pub fn unfilled(&self) -> Quantity {
        match &self.size {
            OrderSize::Quantity(quantity) => {
                quantity.checked_sub(&self.filled_quantity).unwrap_or_else(Quantity::zero)
            }
            OrderSize::Notional(_) | OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// The price that triggers a stop: fixed, or at a distance from the best price so far. `None` for orders without
    /// a stop, and for a trailing stop before its first price.
    pub fn stop_price(&self) -> Option<Price> {
        if let Some(stop) = self.terms.stop_price() {
            return Some(stop.clone());
        }
        let (trail, water) = (self.terms.trail()?, self.high_water_price.as_ref()?);
        match (self.side, trail) {
            (Side::Sell, Trail::Price(distance)) => water.less(distance),
            (Side::Sell, Trail::Percent(percent)) => water.lowered(percent),
            (Side::Buy, Trail::Price(distance)) => Some(water.plus(distance)),
            (Side::Buy, Trail::Percent(percent)) => Some(water.raised(percent)),
        }
    }
}
