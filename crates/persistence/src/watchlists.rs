//! The watchlists of users.

use diesel::prelude::*;
use domain::{Stock, StockId, Timestamp, UserId, WatchlistId};

use crate::connection::each;
use crate::schema::{stocks, watchlist_items, watchlists};
use crate::stocks::StockRow;
use crate::{StoreError, Tx};

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = watchlists)]
pub struct Watchlist {
    pub id: WatchlistId,
    pub name: String,
    pub created_at: Timestamp,
}

pub fn insert(tx: &mut Tx<'_>, user: UserId, name: &str, now: Timestamp) -> Result<Watchlist, StoreError> {
    Ok(diesel::insert_into(watchlists::table)
        .values((watchlists::user_id.eq(user), watchlists::name.eq(name), watchlists::created_at.eq(now)))
        .returning((watchlists::id, watchlists::name, watchlists::created_at))
        .get_result(tx.conn)?)
}

/// A user's watchlists, in the order in which they were created.
pub fn of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<Watchlist>, StoreError> {
    Ok(watchlists::table
        .filter(watchlists::user_id.eq(user))
        .order(watchlists::id)
        .select(Watchlist::as_select())
        .load(tx.conn)?)
}

/// The watchlist of a user; `None` also if it belongs to another user.
pub fn owned(tx: &mut Tx<'_>, id: WatchlistId, user: UserId) -> Result<Option<Watchlist>, StoreError> {
    Ok(watchlists::table
        .find(id)
        .filter(watchlists::user_id.eq(user))
        .select(Watchlist::as_select())
        .first(tx.conn)
        .optional()?)
}

pub fn rename(tx: &mut Tx<'_>, id: WatchlistId, name: &str) -> Result<(), StoreError> {
    diesel::update(watchlists::table.find(id)).set(watchlists::name.eq(name)).execute(tx.conn)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, id: WatchlistId) -> Result<(), StoreError> {
    diesel::delete(watchlists::table.find(id)).execute(tx.conn)?;
    Ok(())
}

/// The stocks of a watchlist, in the order in which they were added.
pub fn items(tx: &mut Tx<'_>, id: WatchlistId) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = watchlist_items::table
        .inner_join(stocks::table)
        .filter(watchlist_items::watchlist_id.eq(id))
        .order((watchlist_items::added_at, stocks::id))
        .select(StockRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// Adds a stock. Adding it twice changes nothing.
pub fn add_item(tx: &mut Tx<'_>, id: WatchlistId, stock: StockId, now: Timestamp) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(watchlist_items::table)
        .values((
            watchlist_items::watchlist_id.eq(id),
            watchlist_items::stock_id.eq(stock),
            watchlist_items::added_at.eq(now),
        ))
        .on_conflict((watchlist_items::watchlist_id, watchlist_items::stock_id))
        .do_nothing()
        .execute(c))?;
    Ok(())
}

pub fn remove_item(tx: &mut Tx<'_>, id: WatchlistId, stock: StockId) -> Result<bool, StoreError> {
    Ok(diesel::delete(watchlist_items::table.find((id, stock))).execute(tx.conn)? > 0)
}
