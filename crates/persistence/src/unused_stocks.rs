//! Stocks that were only looked up: they are removed when another stock gets their symbol.

use diesel::dsl::exists;
use diesel::prelude::*;
use domain::{ActionId, StockId, WatchlistId};

use crate::schema::{
    corporate_actions, orders, orders_before_splits, portfolio_actions, positions, stocks, transactions,
    watchlist_items,
};
use crate::{StoreError, Tx, former_symbols};

/// Whether the stock is or was held or ordered, or was received in an exchange. Its splits, dividends and delisting do
/// not count, and neither do watchlists, which can get the other stock.
pub fn is_used(tx: &mut Tx<'_>, id: StockId) -> Result<bool, StoreError> {
    let own: Vec<ActionId> = corporate_actions::table
        .filter(corporate_actions::stock_id.eq(id))
        .order(corporate_actions::id)
        .select(corporate_actions::id)
        .load(tx.conn)?;
    let used = exists(positions::table.filter(positions::stock_id.eq(id)))
        .or(exists(orders::table.filter(orders::stock_id.eq(id))))
        .or(exists(transactions::table.filter(transactions::stock_id.eq(id))))
        .or(exists(corporate_actions::table.filter(corporate_actions::into_stock_id.eq(id))))
        .or(exists(portfolio_actions::table.filter(portfolio_actions::action_id.eq_any(own.clone()))))
        .or(exists(orders_before_splits::table.filter(orders_before_splits::action_id.eq_any(own))));
    Ok(diesel::select(used).get_result(tx.conn)?)
}

/// Removes an unused stock with all its data. `heir` gets its former symbols and its place in watchlists.
pub(crate) fn remove(tx: &mut Tx<'_>, id: StockId, heir: StockId) -> Result<(), StoreError> {
    former_symbols::hand_over(tx, id, heir)?;
    let has_heir: Vec<WatchlistId> = watchlist_items::table
        .filter(watchlist_items::stock_id.eq(heir))
        .order(watchlist_items::watchlist_id)
        .select(watchlist_items::watchlist_id)
        .load(tx.conn)?;
    let of_it = watchlist_items::table.filter(watchlist_items::stock_id.eq(id));
    diesel::delete(of_it.filter(watchlist_items::watchlist_id.eq_any(has_heir))).execute(tx.conn)?;
    diesel::update(of_it).set(watchlist_items::stock_id.eq(heir)).execute(tx.conn)?;
    diesel::delete(corporate_actions::table.filter(corporate_actions::stock_id.eq(id))).execute(tx.conn)?;
    // This also deletes its bars and evidence.
    diesel::delete(stocks::table.find(id)).execute(tx.conn)?;
    Ok(())
}
