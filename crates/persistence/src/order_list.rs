//! Filtered lists of a portfolio's orders, by the time of submission.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use domain::{Order, OrderFilter, OrderId, PortfolioId, SortDirection, Timestamp};

use crate::orders::{OrderRow, is_open, orders_of};
use crate::schema::{orders, stocks};
use crate::{StoreError, Tx};

/// The place of an order in a list of its portfolio's orders: its time of submission, and its id among orders of the
/// same time.
pub type OrderPlace = (Timestamp, OrderId);

/// The place of an order of the portfolio.
pub fn place_of(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    id: OrderId,
) -> Result<Option<OrderPlace>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.eq(portfolio).and(orders::id.eq(id)))
        .select((orders::submitted_at, orders::id))
        .first(tx.conn)
        .optional()?)
}

/// The start of the condition that an order or one of its legs is open, up to the id of the portfolio. It selects from
/// the open orders, which are few.
const OPEN_WITH_LEGS: &str =
    "orders.id IN (SELECT COALESCE(o.parent_order_id, o.id) FROM orders o WHERE o.portfolio_id = ";
const OPEN_WITH_LEGS_END: &str = " AND o.status IN ('held', 'accepted', 'partially_filled'))";

/// Up to `limit` orders after the place `last` in the direction of the filter. The index `orders_submitted` has the
/// same order.
pub fn page(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    filter: &OrderFilter,
    last: Option<OrderPlace>,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    let mut query = orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio))
        .select((OrderRow::as_select(), stocks::symbol))
        .into_boxed();
    if filter.nested {
        query = query.filter(orders::parent_order_id.is_null());
    }
    let is_open_with_legs =
        || sql::<Bool>(OPEN_WITH_LEGS).bind::<BigInt, _>(portfolio).sql(OPEN_WITH_LEGS_END);
    query = match (filter.open, filter.nested) {
        (Some(true), false) => query.filter(is_open()),
        (Some(false), false) => query.filter(diesel::dsl::not(is_open())),
        (Some(true), true) => query.filter(is_open_with_legs()),
        (Some(false), true) => query.filter(diesel::dsl::not(is_open_with_legs())),
        (None, _) => query,
    };
    if let Some(symbol) = &filter.symbol {
        query = query.filter(stocks::symbol.eq(symbol));
    }
    if let Some(side) = filter.side {
        query = query.filter(orders::side.eq(side));
    }
    if let Some(client_order_id) = &filter.client_order_id {
        query = query.filter(orders::client_order_id.eq(client_order_id));
    }
    if let Some(after) = filter.after {
        query = query.filter(orders::submitted_at.gt(after));
    }
    if let Some(until) = filter.until {
        query = query.filter(orders::submitted_at.lt(until));
    }
    // The first condition uses the index; the second one removes orders of the same time before the place.
    query = match (filter.direction, last) {
        (SortDirection::Descending, Some((at, id))) => query
            .filter(orders::submitted_at.le(at))
            .filter(orders::submitted_at.lt(at).or(orders::id.lt(id))),
        (SortDirection::Ascending, Some((at, id))) => query
            .filter(orders::submitted_at.ge(at))
            .filter(orders::submitted_at.gt(at).or(orders::id.gt(id))),
        (_, None) => query,
    };
    query = match filter.direction {
        SortDirection::Descending => query.order((orders::submitted_at.desc(), orders::id.desc())),
        SortDirection::Ascending => query.order((orders::submitted_at.asc(), orders::id.asc())),
    };
    orders_of(query.limit(limit).load(tx.conn)?)
}
