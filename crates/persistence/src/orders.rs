//! Orders as they were placed and what became of them.

use diesel::prelude::*;
use domain::{
    Money, Order, OrderId, OrderSize, OrderStatus, OrderType, PortfolioId, Price, Quantity, Side, StockId,
    Symbol, TimeInForce, Timestamp,
};

use crate::schema::{orders, stocks};
use crate::{StoreError, Tx};

#[derive(Queryable, Selectable)]
#[diesel(table_name = orders)]
struct OrderRow {
    id: OrderId,
    portfolio_id: PortfolioId,
    stock_id: StockId,
    client_order_id: Option<String>,
    side: Side,
    order_type: OrderType,
    time_in_force: TimeInForce,
    quantity: Option<Quantity>,
    notional: Option<Money>,
    status: OrderStatus,
    filled_quantity: Quantity,
    filled_price: Price,
    submitted_at: Timestamp,
    filled_at: Timestamp,
}

fn order((row, symbol): (OrderRow, Symbol)) -> Order {
    Order {
        id: row.id,
        portfolio_id: row.portfolio_id,
        stock_id: row.stock_id,
        symbol,
        client_order_id: row.client_order_id,
        side: row.side,
        size: match (row.quantity, row.notional) {
            (Some(quantity), _) => OrderSize::Quantity(quantity),
            // The table has a check that one of the two is there.
            (None, notional) => OrderSize::Notional(notional.unwrap_or_else(Money::zero)),
        },
        order_type: row.order_type,
        time_in_force: row.time_in_force,
        status: row.status,
        filled_quantity: row.filled_quantity,
        filled_price: row.filled_price,
        submitted_at: row.submitted_at,
        filled_at: row.filled_at,
    }
}

/// `request` is the command's canonical line, by which a repeated request is told from another one.
pub fn insert(tx: &mut Tx<'_>, order: &Order, request: &str) -> Result<(), StoreError> {
    let (quantity, notional) = match &order.size {
        OrderSize::Quantity(quantity) => (Some(quantity), None),
        OrderSize::Notional(notional) => (None, Some(notional)),
    };
    diesel::insert_into(orders::table)
        .values((
            orders::id.eq(order.id),
            orders::portfolio_id.eq(order.portfolio_id),
            orders::stock_id.eq(order.stock_id),
            orders::client_order_id.eq(&order.client_order_id),
            orders::request.eq(request),
            orders::side.eq(order.side),
            orders::order_type.eq(order.order_type),
            orders::time_in_force.eq(order.time_in_force),
            orders::quantity.eq(quantity),
            orders::notional.eq(notional),
            orders::status.eq(order.status),
            orders::filled_quantity.eq(&order.filled_quantity),
            orders::filled_price.eq(&order.filled_price),
            orders::submitted_at.eq(order.submitted_at),
            orders::filled_at.eq(order.filled_at),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// The order of that name in the portfolio, with the canonical line of its request.
pub fn by_client_order_id(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    client_order_id: &str,
) -> Result<Option<(Order, String)>, StoreError> {
    let found: Option<(OrderRow, Symbol, String)> = orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio).and(orders::client_order_id.eq(client_order_id)))
        .select((OrderRow::as_select(), stocks::symbol, orders::request))
        .first(tx.conn)
        .optional()?;
    Ok(found.map(|(row, symbol, request)| (order((row, symbol)), request)))
}

pub fn of_portfolio(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    Ok(orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio).and(orders::id.eq(id)))
        .select((OrderRow::as_select(), stocks::symbol))
        .first(tx.conn)
        .optional()?
        .map(order))
}

/// A portfolio's orders from the first on: up to `limit` with ids above `after`.
pub fn replay(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    after: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    let mut query = orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio))
        .select((OrderRow::as_select(), stocks::symbol))
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(orders::id.gt(after));
    }
    Ok(query.order(orders::id).limit(limit).load(tx.conn)?.into_iter().map(order).collect())
}

/// Newest first; ids sort by time of submission.
pub fn page(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    before: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    let mut query = orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio))
        .select((OrderRow::as_select(), stocks::symbol))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(orders::id.lt(before));
    }
    Ok(query.order(orders::id.desc()).limit(limit).load(tx.conn)?.into_iter().map(order).collect())
}
