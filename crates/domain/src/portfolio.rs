//! The rules of trading: how orders change a portfolio.

pub mod actions;
mod placing;
pub mod preview;
mod replacing;
mod reservation;
#[cfg(test)]
mod tests;
mod working;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use thiserror::Error;

use crate::order::IllegalTransition;
use crate::{
    JournalEntry, Money, OrderGroup, OrderId, OrderIssue, OrderStatus, PortfolioId, Position, PriceMove,
    PriceStanding, Quantity, StockId, Timestamp, TradingRules,
};

/// Cash and positions. It contains at least the positions that a command affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portfolio {
    pub id: PortfolioId,
    pub cash_balance: Money,
    pub positions: BTreeMap<StockId, Position>,
    pub reserved: Reserved,
}

/// What open orders reserve for their fills. Buying power is cash less reserved cash; sellable shares are shares less
/// reserved shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    pub cash: Money,
    pub shares: BTreeMap<StockId, Quantity>,
}

impl Default for Reserved {
    fn default() -> Self {
        Self { cash: Money::zero(), shares: BTreeMap::new() }
    }
}

/// The result of placing or replacing an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub group: OrderGroup,
    /// One line per fill, to be appended to the journal.
    pub entries: Vec<JournalEntry>,
}

/// The newest price at the time of an order.
#[derive(Debug, Clone, Copy)]
pub struct NewestPrice<'a> {
    /// The quote, with the volume of the minute before.
    pub newest: &'a PriceMove,
    /// The market time for which the price was requested.
    pub requested_at: Timestamp,
}

/// How far the time of a price may be ahead of the server's time, because answers take time and clocks differ.
pub const PRICE_AHEAD: TimeDelta = TimeDelta::seconds(60);

impl NewestPrice<'_> {
    fn is_from_future(&self) -> bool {
        self.newest.quote.as_of - self.requested_at > PRICE_AHEAD
    }

    fn standing(&self, rules: &TradingRules) -> PriceStanding {
        match self.is_from_future() {
            true => PriceStanding::Old,
            false => rules.standing(&self.newest.quote, self.requested_at),
        }
    }

    /// The price that an order meets when it is placed. A past close has no bid and ask.
    fn price_to_meet(&self, standing: PriceStanding) -> PriceMove {
        let mut newest = self.newest.clone();
        if standing == PriceStanding::PastClose {
            (newest.quote.bid, newest.quote.ask) = (None, None);
        }
        newest
    }
}

/// Why an order was rejected. The portfolio is then unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderRejected {
    #[error("the order costs {required} and {available} is available")]
    InsufficientBuyingPower { required: Money, available: Money },
    #[error("{available} shares can be sold, the order asks for {required}")]
    InsufficientShares { required: Quantity, available: Quantity },
    /// The order sells a part of a position, but no shares are held.
    #[error("no shares of this stock are held")]
    NothingHeld,
    #[error("the order is worth less than a cent: make it larger")]
    TooSmall,
    #[error("the order is larger than an account can hold")]
    TooLarge,
    #[error("the newest price is from {as_of}, too old to trade on: try again when there is a newer price")]
    NoFreshPrice { as_of: Timestamp },
    /// The price is later than the time of the request: the server's clock is behind.
    #[error(
        "the newest price is from {as_of}, later than the server's time {requested_at}: the server's clock is behind"
    )]
    PriceFromFuture { as_of: Timestamp, requested_at: Timestamp },
    #[error("the trail is wider than the price: make it narrower")]
    TrailTooWide,
    /// Only an open order can be canceled or replaced.
    #[error("the order is already {status}")]
    NotOpen { status: OrderStatus },
    /// The fields of an order or a replacement are inconsistent.
    #[error("some fields do not fit together")]
    Unfit(Vec<OrderIssue>),
    #[error("the order's state does not allow that")]
    Transition(#[from] IllegalTransition),
}

impl Portfolio {
    pub fn new(id: PortfolioId, cash_balance: Money) -> Self {
        Self { id, cash_balance, positions: BTreeMap::new(), reserved: Reserved::default() }
    }

    /// Cash that a new order may use.
    pub fn buying_power(&self) -> Money {
        self.cash_balance.clone() - &self.reserved.cash
    }

    /// Shares that a new order may sell.
    pub fn sellable(&self, stock: StockId) -> Quantity {
        let held = self.positions.get(&stock).map_or_else(Quantity::zero, |held| held.quantity.clone());
        match self.reserved.shares.get(&stock) {
            Some(reserved) => held.checked_sub(reserved).unwrap_or_else(Quantity::zero),
            None => held,
        }
    }

    /// Cancels an open order, and the orders that depend on it.
    ///
    /// # Errors
    /// [`OrderRejected::NotOpen`] if the order is in a final state.
    pub fn cancel(
        &mut self,
        group: &mut OrderGroup,
        id: OrderId,
        now: Timestamp,
    ) -> Result<(), OrderRejected> {
        let index = group.position_of(id).expect("Invariant: an order is part of its group");
        let status = group.orders[index].status;
        if !status.is_open() {
            return Err(OrderRejected::NotOpen { status });
        }
        self.release(group);
        group.orders[index].become_status(OrderStatus::Canceled, now)?;
        self.settle(group, now)
    }
}
