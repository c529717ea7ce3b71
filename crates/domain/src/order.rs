//! What a person asks for: an order, and what became of it.

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

/// A change of status that cannot be: a fault of the program, never of its user.
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
    /// Of a leg: the order it came with.
    pub parent_order_id: Option<OrderId>,
    /// The order whose place this one took.
    pub replaces: Option<OrderId>,
    pub status: OrderStatus,
    /// When the market reached the stop.
    pub triggered_at: Option<Timestamp>,
    /// Of a trailing stop: the best price seen, the highest for a sell and the lowest for a buy.
    pub high_water_price: Option<Price>,
    /// Cash kept for the fills to come; zero for sells and for what has ended.
    pub reserved_cash: Money,
    /// Shares kept for the fills to come. Of two exits for the same shares only the first keeps them.
    pub reserved_quantity: Quantity,
    /// In the shares that there are now, or were when it ended: a split while it is open changes it, as it changes the
    /// shares still to be traded.
    pub filled_quantity: Quantity,
    /// The sum of quantity × price over its fills, not rounded. What they booked is this rounded half-even to the cent.
    pub filled_amount: ExactAmount,
    /// Per share, the average of its fills to six decimals, rounded toward the limit; `None` before the first.
    pub filled_price: Option<AveragePrice>,
    /// Of all its fills.
    pub commission: Money,
    pub submitted_at: Timestamp,
    /// Prices up to here have been looked at.
    pub last_matched_at: Timestamp,
    /// When it was filled in full.
    pub filled_at: Option<Timestamp>,
    /// When it ended without being filled in full: canceled, expired, rejected or replaced.
    pub canceled_at: Option<Timestamp>,
    /// When a `day` order ends. Of `opg` and `cls` the instant of the opening or the close they are for.
    pub expires_at: Option<Timestamp>,
    /// Why it was rejected, a sentence.
    pub reject_reason: Option<String>,
}

impl Order {
    /// The one place where a status changes.
    ///
    /// # Errors
    /// When the status may not follow; the order is unchanged then.
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

    /// What its fills add up to.
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

    /// The fewest shares that a fill takes where liquidity is limited, unless less is left to fill or the volume of
    /// [`crate::matching::LIQUIDITY_WINDOW`] has left no more: 1 % of the order at that price, and at least one share.
    pub(crate) fn minimum_fill(&self, price: &Price) -> Quantity {
        let ordered = match &self.size {
            OrderSize::Quantity(quantity) => quantity.clone(),
            OrderSize::Notional(notional) => notional.buys(price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        };
        ordered.hundredth().max(Quantity::one())
    }

    /// Shares still to be traded, at `price` where the order is by money.
    pub fn remaining(&self, price: &Price) -> Quantity {
        match &self.size {
            OrderSize::Quantity(_) => self.unfilled(),
            OrderSize::Notional(notional) => self.filled_amount.rest_buys(notional, price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// Shares still to be traded of an order that is sized in shares; of one by money the price would decide.
    pub fn unfilled(&self) -> Quantity {
        match &self.size {
            OrderSize::Quantity(quantity) => {
                quantity.checked_sub(&self.filled_quantity).unwrap_or_else(Quantity::zero)
            }
            OrderSize::Notional(_) | OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// Where a stop triggers: fixed, or behind the best price seen so far. `None` for orders without a stop, and for
    /// a trailing one that has seen no price yet.
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
