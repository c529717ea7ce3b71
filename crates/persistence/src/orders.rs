//! The orders of portfolios.

mod insertion;

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use domain::money::{AveragePrice, ExactAmount};
use domain::{
    Money, Order, OrderClass, OrderGroup, OrderId, OrderSize, OrderStatus, OrderTerms, OrderType, Percent,
    PortfolioId, Price, Quantity, Side, StockId, Symbol, TimeInForce, Timestamp, Trail,
};

use crate::bulk::Unnest;
use crate::connection::Conn;
use crate::schema::{orders, stocks, transactions};
use crate::{StoreError, Tx};

pub(crate) use insertion::insertion;

#[derive(Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = orders, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(crate) struct OrderRow {
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
    filled_price: Option<AveragePrice>,
    submitted_at: Timestamp,
    filled_at: Option<Timestamp>,
    order_class: OrderClass,
    parent_order_id: Option<OrderId>,
    replaces: Option<OrderId>,
    limit_price: Option<Price>,
    stop_price: Option<Price>,
    trail_price: Option<Price>,
    trail_percent: Option<Percent>,
    triggered_at: Option<Timestamp>,
    high_water_price: Option<Price>,
    reserved_cash: Money,
    reserved_quantity: Quantity,
    filled_amount: ExactAmount,
    commission: Money,
    last_matched_at: Timestamp,
    canceled_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    reject_reason: Option<String>,
}

impl From<&Order> for OrderRow {
    fn from(order: &Order) -> Self {
        let (quantity, notional) = match order.size.clone() {
            OrderSize::Quantity(quantity) => (Some(quantity), None),
            OrderSize::Notional(notional) => (None, Some(notional)),
            // A constraint of the table rejects this: a placed order has a quantity or an amount.
            OrderSize::OfPosition(_) => (None, None),
        };
        let (trail_price, trail_percent) = match order.terms.trail().cloned() {
            Some(Trail::Price(price)) => (Some(price), None),
            Some(Trail::Percent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        Self {
            id: order.id,
            portfolio_id: order.portfolio_id,
            stock_id: order.stock_id,
            client_order_id: order.client_order_id.clone(),
            side: order.side,
            order_type: order.order_type(),
            time_in_force: order.time_in_force,
            quantity,
            notional,
            status: order.status,
            filled_quantity: order.filled_quantity.clone(),
            filled_price: order.filled_price.clone(),
            submitted_at: order.submitted_at,
            filled_at: order.filled_at,
            order_class: order.order_class,
            parent_order_id: order.parent_order_id,
            replaces: order.replaces,
            limit_price: order.terms.limit_price().cloned(),
            stop_price: order.terms.stop_price().cloned(),
            trail_price,
            trail_percent,
            triggered_at: order.triggered_at,
            high_water_price: order.high_water_price.clone(),
            reserved_cash: order.reserved_cash.clone(),
            reserved_quantity: order.reserved_quantity.clone(),
            filled_amount: order.filled_amount.clone(),
            commission: order.commission.clone(),
            last_matched_at: order.last_matched_at,
            canceled_at: order.canceled_at,
            expires_at: order.expires_at,
            reject_reason: order.reject_reason.clone(),
        }
    }
}

/// Converts a row. Constraints of the table ensure that size and prices are set.
fn order((row, symbol): (OrderRow, Symbol)) -> Result<Order, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("order {} lacks its size or its prices", row.id));
    let size = match (row.quantity, row.notional) {
        (Some(quantity), _) => OrderSize::Quantity(quantity),
        (None, notional) => OrderSize::Notional(notional.ok_or_else(corrupt)?),
    };
    let (limit, stop) = (row.limit_price.ok_or_else(corrupt), row.stop_price.ok_or_else(corrupt));
    let terms = match row.order_type {
        OrderType::Market => OrderTerms::Market,
        OrderType::Limit => OrderTerms::Limit { limit: limit? },
        OrderType::Stop => OrderTerms::Stop { stop: stop? },
        OrderType::StopLimit => OrderTerms::StopLimit { stop: stop?, limit: limit? },
        OrderType::TrailingStop => OrderTerms::TrailingStop {
            trail: match (row.trail_price, row.trail_percent) {
                (Some(price), _) => Trail::Price(price),
                (None, percent) => Trail::Percent(percent.ok_or_else(corrupt)?),
            },
        },
    };
    Ok(Order {
        id: row.id,
        portfolio_id: row.portfolio_id,
        stock_id: row.stock_id,
        symbol,
        client_order_id: row.client_order_id,
        side: row.side,
        size,
        terms,
        time_in_force: row.time_in_force,
        order_class: row.order_class,
        parent_order_id: row.parent_order_id,
        replaces: row.replaces,
        status: row.status,
        triggered_at: row.triggered_at,
        high_water_price: row.high_water_price,
        reserved_cash: row.reserved_cash,
        reserved_quantity: row.reserved_quantity,
        filled_quantity: row.filled_quantity,
        filled_amount: row.filled_amount,
        filled_price: row.filled_price,
        commission: row.commission,
        submitted_at: row.submitted_at,
        last_matched_at: row.last_matched_at,
        filled_at: row.filled_at,
        canceled_at: row.canceled_at,
        expires_at: row.expires_at,
        reject_reason: row.reject_reason,
    })
}

pub(crate) fn orders_of(rows: Vec<(OrderRow, Symbol)>) -> Result<Vec<Order>, StoreError> {
    rows.into_iter().map(order).collect()
}

/// Adds orders, parents before their legs. Each comes with the canonical line of its command, by which a repeated
/// request is recognized.
pub fn insert(tx: &mut Tx<'_>, new: &[(&Order, &str)]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let rows: Vec<OrderRow> = new.iter().map(|(order, _)| OrderRow::from(*order)).collect();
    match tx.conn {
        Conn::Sqlite(c) => {
            for (row, (_, request)) in rows.into_iter().zip(new) {
                diesel::insert_into(orders::table).values((row, orders::request.eq(request))).execute(c)?;
            }
        }
        Conn::Postgres(c) => {
            insertion(&rows, new).execute(c)?;
        }
    }
    Ok(())
}

/// Updates existing orders.
pub fn update(tx: &mut Tx<'_>, changed: &[&Order]) -> Result<(), StoreError> {
    for order in changed {
        diesel::update(orders::table.find(order.id)).set(OrderRow::from(*order)).execute(tx.conn)?;
    }
    Ok(())
}

/// Records that these working orders were matched with the prices up to `until`.
pub fn set_last_matched(tx: &mut Tx<'_>, ids: &[OrderId], until: Timestamp) -> Result<(), StoreError> {
    diesel::update(orders::table.filter(orders::id.eq_any(ids).and(orders::last_matched_at.lt(until))))
        .set(orders::last_matched_at.eq(until))
        .execute(tx.conn)?;
    Ok(())
}

/// The orders with these client order ids in their portfolios, each with the canonical line of its request.
pub fn by_client_order_ids(
    tx: &mut Tx<'_>,
    names: &[(PortfolioId, &str)],
) -> Result<Vec<(Order, String)>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<OrderId> = match tx.conn {
        Conn::Sqlite(c) => {
            let mut ids = Vec::new();
            for (portfolio, name) in names {
                let id: Option<OrderId> = orders::table
                    .filter(orders::portfolio_id.eq(portfolio).and(orders::client_order_id.eq(name)))
                    .select(orders::id)
                    .get_result(c)
                    .optional()?;
                ids.extend(id);
            }
            ids
        }
        Conn::Postgres(c) => Unnest::<Text>::new(
            "SELECT o.id FROM",
            "AS n (portfolio_id, client_order_id) JOIN orders o USING (portfolio_id, client_order_id)",
        )
        .column::<BigInt, _>(names.iter().map(|(portfolio, _)| *portfolio))
        .column::<Text, _>(names.iter().map(|(_, name)| *name))
        .load(c)?,
    };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<(OrderRow, Symbol, String)> = orders::table
        .inner_join(stocks::table)
        .filter(orders::id.eq_any(ids))
        .order(orders::id)
        .select((OrderRow::as_select(), stocks::symbol, orders::request))
        .load(tx.conn)?;
    found.into_iter().map(|(row, symbol, request)| Ok((order((row, symbol))?, request))).collect()
}

/// The groups of the given orders, ordered by the ids of their roots. Replaced legs are omitted.
pub fn groups(tx: &mut Tx<'_>, ids: &[OrderId]) -> Result<Vec<OrderGroup>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let named: Vec<(OrderId, Option<OrderId>)> = orders::table
        .filter(orders::id.eq_any(ids))
        .select((orders::id, orders::parent_order_id))
        .load(tx.conn)?;
    let roots: Vec<OrderId> = named.into_iter().map(|(id, parent)| parent.unwrap_or(id)).collect();
    let rows: Vec<(OrderRow, Symbol)> = orders::table
        .inner_join(stocks::table)
        .filter(orders::id.eq_any(&roots).or(orders::parent_order_id.eq_any(roots.iter().map(Some))))
        .order(orders::id)
        .select((OrderRow::as_select(), stocks::symbol))
        .load(tx.conn)?;
    let mut groups: BTreeMap<OrderId, OrderGroup> = BTreeMap::new();
    for order in orders_of(rows)? {
        match order.parent_order_id {
            None => {
                groups.entry(order.id).or_insert(OrderGroup { orders: Vec::new() }).orders.insert(0, order)
            }
            Some(_) if order.status == OrderStatus::Replaced => {}
            Some(root) => {
                groups.entry(root).or_insert(OrderGroup { orders: Vec::new() }).orders.push(order);
            }
        }
    }
    Ok(groups.into_values().collect())
}

/// Up to `limit` ids above `after` of orders that prices can fill.
pub fn working(tx: &mut Tx<'_>, after: Option<OrderId>, limit: i64) -> Result<Vec<OrderId>, StoreError> {
    let mut query = orders::table
        .filter(is_open().and(orders::status.ne(OrderStatus::Held)))
        .select(orders::id)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(orders::id.gt(after));
    }
    Ok(query.order(orders::id).limit(limit).load(tx.conn)?)
}

/// The newest time up to which a working order was matched.
pub fn newest_match(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(orders::table
        .filter(is_open().and(orders::status.ne(OrderStatus::Held)))
        .select(diesel::dsl::max(orders::last_matched_at))
        .get_result(tx.conn)?)
}

/// Stocks with open orders, ordered by id.
pub fn stocks_with_open(tx: &mut Tx<'_>) -> Result<Vec<StockId>, StoreError> {
    Ok(orders::table
        .filter(is_open())
        .select(orders::stock_id)
        .distinct()
        .order(orders::stock_id)
        .load(tx.conn)?)
}

/// Portfolios with open orders, ordered by id.
pub fn portfolios_with_open(tx: &mut Tx<'_>) -> Result<Vec<PortfolioId>, StoreError> {
    Ok(orders::table
        .filter(is_open())
        .select(orders::portfolio_id)
        .distinct()
        .order(orders::portfolio_id)
        .load(tx.conn)?)
}

/// The ids of a portfolio's open orders, in order of submission.
pub fn open_ids(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Vec<OrderId>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.eq(portfolio).and(is_open()))
        // The same order as in the index of open orders.
        .order((orders::submitted_at, orders::id))
        .select(orders::id)
        .load(tx.conn)?)
}

/// The ids of these portfolios' open orders for one stock, grouped by portfolio, in order of submission.
pub fn open_ids_of_stock(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    stock: StockId,
) -> Result<Vec<OrderId>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.eq_any(portfolios).and(orders::stock_id.eq(stock)).and(is_open()))
        // The same order as in the index of open orders.
        .order((orders::portfolio_id, orders::submitted_at, orders::id))
        .select(orders::id)
        .load(tx.conn)?)
}

/// The condition for open orders. It is written exactly as in the index; otherwise the planner does not use the index.
pub(crate) fn is_open() -> SqlLiteral<Bool> {
    sql("orders.status IN ('held', 'accepted', 'partially_filled')")
}

pub fn of_portfolio(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    orders::table
        .inner_join(stocks::table)
        .filter(orders::portfolio_id.eq(portfolio).and(orders::id.eq(id)))
        .select((OrderRow::as_select(), stocks::symbol))
        .first(tx.conn)
        .optional()?
        .map(order)
        .transpose()
}

/// The order that replaced the given one.
pub fn successor(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    id: OrderId,
) -> Result<Option<OrderId>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.eq(portfolio).and(orders::replaces.eq(id)))
        .select(orders::id)
        .first(tx.conn)
        .optional()?)
}

/// The orders with these ids, including legs and replaced orders.
pub fn of_ids(tx: &mut Tx<'_>, ids: &[OrderId]) -> Result<Vec<Order>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    orders_of(
        orders::table
            .inner_join(stocks::table)
            .filter(orders::id.eq_any(ids))
            .order(orders::id)
            .select((OrderRow::as_select(), stocks::symbol))
            .load(tx.conn)?,
    )
}

/// Up to `limit` orders of these portfolios that were placed, triggered, filled or ended at or after a time. A leg is
/// included in the order it belongs to; a leg that was filled or has ended is also listed separately.
pub fn changed_since(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    since: Timestamp,
    limit: i64,
) -> Result<Vec<OrderId>, StoreError> {
    type Row = (OrderId, Option<OrderId>);
    let columns = (orders::id, orders::parent_order_id);
    let of_portfolios = orders::portfolio_id.eq_any(portfolios);
    let waiting: Vec<Row> = orders::table
        .filter(of_portfolios.and(is_open()))
        .filter(orders::submitted_at.ge(since).or(orders::triggered_at.ge(since)))
        .order(orders::id)
        .select(columns)
        .limit(limit)
        .load(tx.conn)?;
    let ended: Vec<Row> = orders::table
        .filter(orders::portfolio_id.eq_any(portfolios).and(orders::canceled_at.ge(since)))
        .order(orders::id)
        .select(columns)
        .limit(limit)
        .load(tx.conn)?;
    let filled: Vec<Option<OrderId>> = transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::timestamp.ge(since)))
        .filter(transactions::order_id.is_not_null())
        .group_by(transactions::order_id)
        .order(transactions::order_id)
        .select(transactions::order_id)
        .limit(limit)
        .load(tx.conn)?;
    let filled: Vec<Row> = orders::table
        .filter(orders::id.eq_any(filled.into_iter().flatten().collect::<Vec<_>>()))
        .order(orders::id)
        .select(columns)
        .load(tx.conn)?;
    let mut changed: BTreeSet<OrderId> =
        waiting.into_iter().map(|(id, parent)| parent.unwrap_or(id)).collect();
    for (id, parent) in ended.into_iter().chain(filled) {
        changed.extend([id, parent.unwrap_or(id)]);
    }
    Ok(changed.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
}

/// The legs of the given orders, ordered by id; replaced legs are omitted.
pub fn legs(tx: &mut Tx<'_>, parents: &[OrderId]) -> Result<Vec<Order>, StoreError> {
    orders_of(
        orders::table
            .inner_join(stocks::table)
            .filter(orders::parent_order_id.eq_any(parents.iter().map(Some)))
            .filter(orders::status.ne(OrderStatus::Replaced))
            .order(orders::id)
            .select((OrderRow::as_select(), stocks::symbol))
            .load(tx.conn)?,
    )
}

/// The effects of an order on the books, and its reservation.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = orders)]
pub struct Booked {
    pub id: OrderId,
    pub portfolio_id: PortfolioId,
    pub stock_id: StockId,
    pub side: Side,
    pub status: OrderStatus,
    pub quantity: Option<Quantity>,
    pub reserved_cash: Money,
    pub reserved_quantity: Quantity,
    pub filled_quantity: Quantity,
    pub filled_amount: ExactAmount,
    pub filled_price: Option<AveragePrice>,
    pub commission: Money,
    pub submitted_at: Timestamp,
    pub filled_at: Option<Timestamp>,
    pub canceled_at: Option<Timestamp>,
}

/// The number of orders of the portfolios with ids in `(after, last]`; portfolios without orders are omitted.
pub fn sizes(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<(PortfolioId, i64)>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.gt(after).and(orders::portfolio_id.le(last)))
        .group_by(orders::portfolio_id)
        .select((orders::portfolio_id, diesel::dsl::count_star()))
        .load(tx.conn)?)
}

/// The orders of the portfolios with ids in `(after, last]`, grouped by portfolio.
pub fn booked_in_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<Booked>, StoreError> {
    Ok(orders::table
        .filter(orders::portfolio_id.gt(after).and(orders::portfolio_id.le(last)))
        .order((orders::portfolio_id, orders::submitted_at.desc(), orders::id.desc()))
        .select(Booked::as_select())
        .load(tx.conn)?)
}

/// Up to `limit` orders of one portfolio after the order `last`, newest first.
pub fn booked(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    last: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Booked>, StoreError> {
    let mut query =
        orders::table.filter(orders::portfolio_id.eq(portfolio)).select(Booked::as_select()).into_boxed();
    if let Some(last) = last {
        let Some((at, id)) = crate::order_list::place_of(tx, portfolio, last)? else { return Ok(Vec::new()) };
        query = query
            .filter(orders::submitted_at.le(at))
            .filter(orders::submitted_at.lt(at).or(orders::id.lt(id)));
    }
    Ok(query.order((orders::submitted_at.desc(), orders::id.desc())).limit(limit).load(tx.conn)?)
}
