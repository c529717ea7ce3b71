//! Former symbols of stocks, and the check whether a stock still has the symbol of a price request.

use std::collections::HashSet;

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{StockId, Symbol};

use crate::connection::{Conn, each};
use crate::schema::{former_symbols, provider_quotes, stocks, unconfirmed_prices};
use crate::{StoreError, Tx};

/// Records that a stock had the symbol until that day. If several stocks gave it up on the same day, the last one is
/// kept.
pub fn note(tx: &mut Tx<'_>, id: StockId, symbol: &Symbol, until_on: NaiveDate) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(former_symbols::table)
        .values((
            former_symbols::symbol.eq(symbol),
            former_symbols::stock_id.eq(id),
            former_symbols::until_on.eq(until_on),
        ))
        .on_conflict((former_symbols::symbol, former_symbols::until_on))
        .do_update()
        .set(former_symbols::stock_id.eq(id))
        .execute(c))?;
    Ok(())
}

/// The last stock with the symbol, and the first day of its next symbol.
pub fn last_holder(tx: &mut Tx<'_>, symbol: &Symbol) -> Result<Option<(StockId, NaiveDate)>, StoreError> {
    Ok(former_symbols::table
        .filter(former_symbols::symbol.eq(symbol))
        .order((former_symbols::until_on.desc(), former_symbols::stock_id.desc()))
        .select((former_symbols::stock_id, former_symbols::until_on))
        .first(tx.conn)
        .optional()?)
}

/// Moves the former symbols of one stock to another.
pub(crate) fn hand_over(tx: &mut Tx<'_>, from: StockId, to: StockId) -> Result<(), StoreError> {
    diesel::update(former_symbols::table.filter(former_symbols::stock_id.eq(from)))
        .set(former_symbols::stock_id.eq(to))
        .execute(tx.conn)?;
    Ok(())
}

/// Moves the accepted and the unconfirmed price of a symbol to the stock's new symbol, unless that already has prices.
/// The stock's next price is then compared with them, and the first price of a company that reuses the old symbol is
/// not.
pub(crate) fn take_prices_along(tx: &mut Tx<'_>, old: &Symbol, new: &Symbol) -> Result<(), StoreError> {
    let is_priced: bool =
        diesel::select(diesel::dsl::exists(provider_quotes::table.filter(provider_quotes::symbol.eq(new))))
            .get_result(tx.conn)?;
    let of_old = provider_quotes::table.filter(provider_quotes::symbol.eq(old));
    match is_priced {
        true => diesel::delete(of_old).execute(tx.conn)?,
        false => diesel::update(of_old).set(provider_quotes::symbol.eq(new)).execute(tx.conn)?,
    };
    let is_waiting: bool = diesel::select(diesel::dsl::exists(
        unconfirmed_prices::table.filter(unconfirmed_prices::symbol.eq(new)),
    ))
    .get_result(tx.conn)?;
    let of_old = unconfirmed_prices::table.filter(unconfirmed_prices::symbol.eq(old));
    match is_waiting {
        true => diesel::delete(of_old).execute(tx.conn)?,
        false => diesel::update(of_old).set(unconfirmed_prices::symbol.eq(new)).execute(tx.conn)?,
    };
    Ok(())
}

/// Deletes the accepted and the unconfirmed price of a symbol.
pub(crate) fn forget_prices(tx: &mut Tx<'_>, symbol: &Symbol) -> Result<(), StoreError> {
    diesel::delete(provider_quotes::table.filter(provider_quotes::symbol.eq(symbol))).execute(tx.conn)?;
    diesel::delete(unconfirmed_prices::table.filter(unconfirmed_prices::symbol.eq(symbol)))
        .execute(tx.conn)?;
    Ok(())
}

/// Returns the stocks among `asked` that still have the given symbol. Their symbols do not change until this
/// transaction ends.
///
/// The answer of a price source is about a symbol, and the stock may have been renamed since the request.
pub fn unchanged(tx: &mut Tx<'_>, asked: &[(StockId, Symbol)]) -> Result<HashSet<StockId>, StoreError> {
    let ids: Vec<StockId> = asked.iter().map(|(id, _)| *id).collect();
    let query = stocks::table
        .filter(stocks::id.eq_any(ids))
        .filter(stocks::replaced_on.is_null())
        .order(stocks::id)
        .select((stocks::id, stocks::symbol));
    let rows: Vec<(StockId, Symbol)> = match &mut *tx.conn {
        Conn::Sqlite(c) => query.load(c)?,
        // Changes of prices do not wait for this lock; changes of symbols do.
        Conn::Postgres(c) => query.for_key_share().load(c)?,
    };
    let has_it = |(id, symbol): &(StockId, Symbol)| asked.iter().any(|(of, was)| of == id && was == symbol);
    Ok(rows.into_iter().filter(has_it).map(|(id, _)| id).collect())
}

/// Whether the stock still has that symbol and no other company has taken it.
pub fn has_symbol(tx: &mut Tx<'_>, id: StockId, symbol: &Symbol) -> Result<bool, StoreError> {
    let it = stocks::table
        .filter(stocks::id.eq(id).and(stocks::symbol.eq(symbol)))
        .filter(stocks::replaced_on.is_null());
    Ok(diesel::select(diesel::dsl::exists(it)).get_result(tx.conn)?)
}

/// [`unchanged`] for one stock.
pub fn is_unchanged(tx: &mut Tx<'_>, id: StockId, symbol: &Symbol) -> Result<bool, StoreError> {
    Ok(unchanged(tx, &[(id, symbol.clone())])?.contains(&id))
}
