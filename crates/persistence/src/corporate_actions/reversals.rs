//! Reversals of splits that were applied and then withdrawn, and the state of orders before the splits.

use std::collections::HashSet;

use diesel::prelude::*;
use domain::portfolio::actions::OrderBeforeSplit;
use domain::{
    ActionId, Order, OrderId, OrderSize, OrderTerms, PortfolioId, Price, Quantity, Timestamp, Trail,
};

use crate::connection::each;
use crate::schema::{corporate_actions, orders_before_splits, portfolio_actions};
use crate::{StoreError, Tx};

/// Up to `limit` portfolios with ids above `after` in which a split was applied and not reversed, ordered by id.
pub fn portfolios_to_reverse(
    tx: &mut Tx<'_>,
    action: ActionId,
    after: PortfolioId,
    limit: i64,
) -> Result<Vec<PortfolioId>, StoreError> {
    Ok(portfolio_actions::table
        .filter(portfolio_actions::action_id.eq(action).and(portfolio_actions::portfolio_id.gt(after)))
        .filter(portfolio_actions::reversed_at.is_null())
        .order(portfolio_actions::portfolio_id)
        .select(portfolio_actions::portfolio_id)
        .limit(limit)
        .load(tx.conn)?)
}

/// Returns the portfolios among `portfolios` in which the split `action` is applied and not reversed.
pub fn portfolios_with_unreversed(
    tx: &mut Tx<'_>,
    action: ActionId,
    portfolios: &[PortfolioId],
) -> Result<HashSet<PortfolioId>, StoreError> {
    let ids: Vec<PortfolioId> = portfolio_actions::table
        .filter(portfolio_actions::action_id.eq(action).and(portfolio_actions::reversed_at.is_null()))
        .filter(portfolio_actions::portfolio_id.eq_any(portfolios))
        .select(portfolio_actions::portfolio_id)
        .load(tx.conn)?;
    Ok(ids.into_iter().collect())
}

/// Records that a split is reversed in these portfolios.
pub fn set_reversed(
    tx: &mut Tx<'_>,
    action: ActionId,
    portfolios: &[PortfolioId],
    now: Timestamp,
) -> Result<(), StoreError> {
    diesel::update(portfolio_actions::table)
        .filter(
            portfolio_actions::action_id.eq(action).and(portfolio_actions::portfolio_id.eq_any(portfolios)),
        )
        .set(portfolio_actions::reversed_at.eq(now))
        .execute(tx.conn)?;
    Ok(())
}

/// Records that a split is reversed in all portfolios.
pub fn set_all_reversed(tx: &mut Tx<'_>, id: ActionId, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(corporate_actions::table.find(id))
        .filter(corporate_actions::reversed_at.is_null())
        .set(corporate_actions::reversed_at.eq(now))
        .execute(tx.conn)?;
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = orders_before_splits)]
#[diesel(treat_none_as_default_value = false)]
struct BeforeRow {
    action_id: ActionId,
    order_id: OrderId,
    quantity: Option<Quantity>,
    limit_price: Option<Price>,
    stop_price: Option<Price>,
    trail_price: Option<Price>,
    high_water_price: Option<Price>,
    reserved_quantity: Quantity,
    filled_quantity: Option<Quantity>,
}

/// Stores the state of open orders before a split.
pub fn keep_orders(tx: &mut Tx<'_>, action_id: ActionId, orders: &[&Order]) -> Result<(), StoreError> {
    let rows: Vec<BeforeRow> = orders
        .iter()
        .map(|order| BeforeRow {
            action_id,
            order_id: order.id,
            quantity: match &order.size {
                OrderSize::Quantity(quantity) => Some(quantity.clone()),
                OrderSize::Notional(_) | OrderSize::OfPosition(_) => None,
            },
            limit_price: order.terms.limit_price().cloned(),
            stop_price: order.terms.stop_price().cloned(),
            trail_price: order.terms.trail().and_then(|trail| match trail {
                Trail::Price(distance) => Some(distance.clone()),
                Trail::Percent(_) => None,
            }),
            high_water_price: order.high_water_price.clone(),
            reserved_quantity: order.reserved_quantity.clone(),
            filled_quantity: Some(order.filled_quantity.clone()),
        })
        .collect();
    for row in rows {
        each!(&mut *tx.conn, c => diesel::insert_into(orders_before_splits::table)
            .values(&row)
            .on_conflict_do_nothing()
            .execute(c))?;
    }
    Ok(())
}

/// Returns the orders among `orders` that the split `action` changed, in their state before the split.
pub fn orders_before(
    tx: &mut Tx<'_>,
    action: ActionId,
    orders: &[&Order],
) -> Result<Vec<OrderBeforeSplit>, StoreError> {
    let ids: Vec<OrderId> = orders.iter().map(|order| order.id).collect();
    let rows: Vec<BeforeRow> = orders_before_splits::table
        .filter(orders_before_splits::action_id.eq(action).and(orders_before_splits::order_id.eq_any(ids)))
        .order(orders_before_splits::order_id)
        .select(BeforeRow::as_select())
        .load(tx.conn)?;
    let corrupt =
        |id: OrderId| StoreError::Corrupt(format!("order {id} as it was before a split lacks its prices"));
    rows.into_iter()
        .filter_map(|row| Some((orders.iter().find(|order| order.id == row.order_id)?, row)))
        .map(|(order, row)| {
            let id = row.order_id;
            let (limit, stop) =
                (row.limit_price.ok_or_else(|| corrupt(id)), row.stop_price.ok_or_else(|| corrupt(id)));
            let terms = match &order.terms {
                OrderTerms::Market => OrderTerms::Market,
                OrderTerms::Limit { .. } => OrderTerms::Limit { limit: limit? },
                OrderTerms::Stop { .. } => OrderTerms::Stop { stop: stop? },
                OrderTerms::StopLimit { .. } => OrderTerms::StopLimit { stop: stop?, limit: limit? },
                OrderTerms::TrailingStop { trail } => OrderTerms::TrailingStop {
                    trail: row.trail_price.map_or_else(|| trail.clone(), Trail::Price),
                },
            };
            Ok(OrderBeforeSplit {
                id,
                size: row.quantity.map_or_else(|| order.size.clone(), OrderSize::Quantity),
                terms,
                high_water_price: row.high_water_price,
                reserved_quantity: row.reserved_quantity,
                filled_quantity: row.filled_quantity.unwrap_or_else(|| order.filled_quantity.clone()),
            })
        })
        .collect()
}
