//! Orders as the use cases return them: with their fills and legs.

use domain::{JournalEntry, Order, OrderClass, OrderId, TradingHold};
use persistence::{Tx, orders, transactions};

use crate::error::Result;

/// An order with the journal entries of its fills, and the orders that were placed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderWithFills {
    pub order: Order,
    pub fills: Vec<JournalEntry>,
    pub legs: Vec<OrderWithFills>,
    /// Why an open order cannot fill now.
    pub hold: Option<TradingHold>,
}

/// The result of placing an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    pub order: OrderWithFills,
    /// Whether the order had already been placed under the same `client_order_id`, so that this call changed nothing.
    pub replayed: bool,
}

/// What happens to the portfolio's open orders in the same stock when an order is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenOrders {
    Keep,
    /// The open orders are canceled in the transaction of the new order. If the new order is rejected, they stay open.
    Cancel,
}

/// Orders with their fills and legs.
pub(crate) fn with_fills(tx: &mut Tx<'_>, found: Vec<Order>) -> Result<Vec<OrderWithFills>> {
    let parents: Vec<OrderId> = found
        .iter()
        .filter(|order| order.order_class != OrderClass::Simple && order.parent_order_id.is_none())
        .map(|order| order.id)
        .collect();
    let mut legs = if parents.is_empty() { Vec::new() } else { orders::legs(tx, &parents)? };
    let ids: Vec<OrderId> = found.iter().chain(&legs).map(|order| order.id).collect();
    let mut fills = transactions::of_orders(tx, &ids)?;
    let mut one = |order: Order, legs: Vec<OrderWithFills>| {
        let own = fills.extract_if(.., |fill| fill.order_id == Some(order.id)).collect();
        OrderWithFills { order, fills: own, legs, hold: None }
    };
    Ok(found
        .into_iter()
        .map(|order| {
            let own: Vec<Order> = legs.extract_if(.., |leg| leg.parent_order_id == Some(order.id)).collect();
            let own = own.into_iter().map(|leg| one(leg, Vec::new())).collect();
            one(order, own)
        })
        .collect())
}
