//! Stocks, their last prices and their daily bars.

use std::collections::HashSet;

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date};
use diesel::upsert::excluded;
use domain::instrument::LastPrice;
use domain::sql::Exact;
use domain::{Bar, Currency, Freshness, Listing, Price, Quote, Stock, StockId, Symbol, Timestamp};

use crate::adjusted_bars::{self, ADJUSTED};
use crate::bulk::Unnest;
use crate::connection::{Conn, each};
use crate::schema::{former_symbols, orders, positions, price_bars, stocks, watchlist_items};
use crate::users::lower;
use crate::{Statement, StoreError, Tx, unused_stocks};

#[derive(Queryable, Selectable)]
#[diesel(table_name = stocks)]
pub(crate) struct StockRow {
    id: StockId,
    symbol: Symbol,
    company_name: String,
    exchange: String,
    sector: String,
    last_price: Option<Price>,
    previous_close: Option<Price>,
    last_updated: Option<Timestamp>,
    price_source: Option<String>,
    freshness: Option<Freshness>,
    delisted_on: Option<NaiveDate>,
}

impl From<StockRow> for Stock {
    fn from(row: StockRow) -> Self {
        let last = match (row.last_price, row.last_updated, row.price_source, row.freshness) {
            (Some(price), Some(as_of), Some(source), Some(freshness)) => {
                Some(LastPrice { price, previous_close: row.previous_close, as_of, source, freshness })
            }
            _ => None,
        };
        let listing = Listing {
            symbol: row.symbol,
            company_name: row.company_name,
            exchange: row.exchange,
            sector: row.sector,
            currency: Currency::Usd,
        };
        Self { id: row.id, listing: listing.into(), last, delisted_on: row.delisted_on }
    }
}

/// A LIKE pattern for texts that contain `part`; wildcards in `part` are escaped.
pub(crate) fn containing(part: &str) -> String {
    format!("%{}%", part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// Adds or updates a stock and returns its id.
pub fn upsert(tx: &mut Tx<'_>, listing: &Listing) -> Result<StockId, StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(stocks::table)
        .values((
            stocks::symbol.eq(&listing.symbol),
            stocks::company_name.eq(&listing.company_name),
            stocks::exchange.eq(&listing.exchange),
            stocks::sector.eq(&listing.sector),
            stocks::currency.eq(listing.currency.code()),
        ))
        .on_conflict(stocks::symbol)
        .do_update()
        .set((
            stocks::company_name.eq(excluded(stocks::company_name)),
            stocks::exchange.eq(excluded(stocks::exchange)),
            stocks::sector.eq(excluded(stocks::sector)),
        ))
        .execute(c))?;
    Ok(stocks::table.filter(stocks::symbol.eq(&listing.symbol)).select(stocks::id).first(tx.conn)?)
}

/// Adds a stock, unless there is one with its symbol, and returns the stock with that symbol. Existing data is not
/// changed: another process may have added newer data.
pub fn add(tx: &mut Tx<'_>, listing: &Listing) -> Result<Stock, StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(stocks::table)
        .values((
            stocks::symbol.eq(&listing.symbol),
            stocks::company_name.eq(&listing.company_name),
            stocks::exchange.eq(&listing.exchange),
            stocks::sector.eq(&listing.sector),
            stocks::currency.eq(listing.currency.code()),
        ))
        .on_conflict(stocks::symbol)
        .do_nothing()
        .execute(c))?;
    let row: StockRow = stocks::table
        .filter(stocks::symbol.eq(&listing.symbol))
        .select(StockRow::as_select())
        .first(tx.conn)?;
    Ok(row.into())
}

/// Sets a stock's sector, unless its symbol is no longer `symbol`.
pub fn set_sector(tx: &mut Tx<'_>, id: StockId, symbol: &Symbol, sector: &str) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id))
        .filter(stocks::symbol.eq(symbol).and(stocks::replaced_on.is_null()))
        .set(stocks::sector.eq(sector))
        .execute(tx.conn)?;
    Ok(())
}

/// The stock that has the symbol now.
pub fn with_symbol(tx: &mut Tx<'_>, symbol: &Symbol) -> Result<Option<Stock>, StoreError> {
    let found: Option<StockRow> = stocks::table
        .filter(stocks::symbol.eq(symbol))
        .select(StockRow::as_select())
        .first(tx.conn)
        .optional()?;
    Ok(found.map(Stock::from))
}

/// The stock that has the symbol now, or else the last one that had it.
pub fn by_symbol(tx: &mut Tx<'_>, symbol: &Symbol) -> Result<Option<Stock>, StoreError> {
    if let Some(found) = with_symbol(tx, symbol)? {
        return Ok(Some(found));
    }
    let found: Option<StockRow> = former_symbols::table
        .inner_join(stocks::table)
        .filter(former_symbols::symbol.eq(symbol))
        .order((former_symbols::until_on.desc(), former_symbols::stock_id.desc()))
        .select(StockRow::as_select())
        .first(tx.conn)
        .optional()?;
    Ok(found.map(Stock::from))
}

/// Gives a stock another symbol and name from that day on; the old symbol becomes a former symbol. An unused stock with
/// the new symbol is removed. If such a stock is in use, returns `false` and changes nothing.
pub fn rename(
    tx: &mut Tx<'_>,
    id: StockId,
    (old, new): (&Symbol, &Symbol),
    company_name: Option<&str>,
    on: NaiveDate,
) -> Result<bool, StoreError> {
    let holder: Option<StockId> =
        stocks::table.filter(stocks::symbol.eq(new)).select(stocks::id).first(tx.conn).optional()?;
    if let Some(other) = holder.filter(|other| *other != id) {
        if unused_stocks::is_used(tx, other)? {
            return Ok(false);
        }
        // The unused stock was added under the new symbol before the rename was known.
        unused_stocks::remove(tx, other, id)?;
    }
    diesel::update(stocks::table.find(id)).set(stocks::symbol.eq(new)).execute(tx.conn)?;
    if let Some(name) = company_name {
        diesel::update(stocks::table.find(id)).set(stocks::company_name.eq(name)).execute(tx.conn)?;
    }
    crate::portfolios::rename_benchmark(tx, old, new)?;
    crate::former_symbols::note(tx, id, old, on)?;
    crate::former_symbols::take_prices_along(tx, old, new)?;
    Ok(true)
}

/// Marks a stock as delisted from that day on.
pub fn delist(tx: &mut Tx<'_>, id: StockId, on: NaiveDate) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id)).set(stocks::delisted_on.eq(on)).execute(tx.conn)?;
    Ok(())
}

/// Marks a stock as traded again.
pub fn relist(tx: &mut Tx<'_>, id: StockId) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id)).set(stocks::delisted_on.eq(None::<NaiveDate>)).execute(tx.conn)?;
    Ok(())
}

/// All stocks, ordered by symbol.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> =
        stocks::table.order(stocks::symbol).select(StockRow::as_select()).load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// The stocks with these symbols, ordered by symbol.
pub fn by_symbols(tx: &mut Tx<'_>, symbols: &[Symbol]) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = stocks::table
        .filter(stocks::symbol.eq_any(symbols))
        .order(stocks::symbol)
        .select(StockRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// The stocks that have these symbols now, ordered by symbol. At most 30,000 symbols, SQLite's limit for one statement.
pub fn with_symbols(statement: Statement<'_>, symbols: &[Symbol]) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = stocks::table
        .filter(stocks::symbol.eq_any(symbols))
        .order(stocks::symbol)
        .select(StockRow::as_select())
        .load(statement.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// Returns the symbols among `symbols` whose stocks are delisted.
pub fn delisted(tx: &mut Tx<'_>, symbols: &[Symbol]) -> Result<HashSet<Symbol>, StoreError> {
    let found: Vec<Symbol> = stocks::table
        .filter(stocks::symbol.eq_any(symbols).and(stocks::delisted_on.is_not_null()))
        .select(stocks::symbol)
        .load(tx.conn)?;
    Ok(found.into_iter().collect())
}

/// The stocks with these ids, ordered by id.
pub fn by_ids(tx: &mut Tx<'_>, ids: &[StockId]) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = stocks::table
        .filter(stocks::id.eq_any(ids))
        .order(stocks::id)
        .select(StockRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// Stores a quote as the last price of its stock. Does nothing if there is a newer one from the same source, or if the
/// stock no longer has the quote's symbol: then the price may be another company's.
pub fn save_last_price(tx: &mut Tx<'_>, id: StockId, quote: &Quote) -> Result<(), StoreError> {
    let newer = stocks::last_updated
        .is_null()
        .or(stocks::last_updated.lt(quote.as_of))
        .or(stocks::price_source.ne(quote.source.as_str()));
    diesel::update(stocks::table.find(id))
        .filter(stocks::symbol.eq(&quote.symbol).and(stocks::replaced_on.is_null()))
        .filter(newer)
        .set((
            stocks::last_price.eq(&quote.price),
            stocks::previous_close.eq(&quote.previous_close),
            stocks::last_updated.eq(quote.as_of),
            stocks::price_source.eq(quote.source.as_str()),
            stocks::freshness.eq(quote.freshness),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Stocks that are or were held, ordered or watched, ordered by symbol; jobs request their corporate actions. Stocks
/// whose symbol now belongs to another company are omitted.
pub fn ever_in_use(tx: &mut Tx<'_>) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = stocks::table
        .filter(
            diesel::dsl::exists(positions::table.filter(positions::stock_id.eq(stocks::id)))
                .or(diesel::dsl::exists(
                    watchlist_items::table.filter(watchlist_items::stock_id.eq(stocks::id)),
                ))
                .or(diesel::dsl::exists(
                    orders::table.filter(orders::stock_id.eq(stocks::id).and(crate::orders::is_open())),
                )),
        )
        .filter(stocks::replaced_on.is_null())
        .order(stocks::symbol)
        .select(StockRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// Stocks that are or were held, or are watched, ordered by symbol; jobs keep their prices up to date. Stocks whose
/// symbol now belongs to another company are omitted.
pub fn in_use(tx: &mut Tx<'_>) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> =
        stocks::table
            .filter(diesel::dsl::exists(positions::table.filter(positions::stock_id.eq(stocks::id))).or(
                diesel::dsl::exists(watchlist_items::table.filter(watchlist_items::stock_id.eq(stocks::id))),
            ))
            .filter(stocks::replaced_on.is_null())
            .order(stocks::symbol)
            .select(StockRow::as_select())
            .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

/// Whether the stock is or was held, is watched, or has an open order: then jobs request its price.
pub fn is_in_demand(tx: &mut Tx<'_>, id: StockId) -> Result<bool, StoreError> {
    let in_demand = diesel::dsl::exists(positions::table.filter(positions::stock_id.eq(id)))
        .or(diesel::dsl::exists(watchlist_items::table.filter(watchlist_items::stock_id.eq(id))))
        .or(diesel::dsl::exists(orders::table.filter(orders::stock_id.eq(id).and(crate::orders::is_open()))));
    Ok(diesel::select(in_demand).get_result(tx.conn)?)
}

/// Stocks that a user has looked up and that have no price from this source, newest first.
pub fn without_price(tx: &mut Tx<'_>, source: &str, limit: i64) -> Result<Vec<Stock>, StoreError> {
    let rows: Vec<StockRow> = stocks::table
        .filter(stocks::last_price.is_null().or(stocks::price_source.ne(source)))
        .filter(stocks::delisted_on.is_null())
        .order(stocks::id.desc())
        .limit(limit)
        .select(StockRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(stocks::table.count().get_result(tx.conn)?)
}

/// Returns stocks, ordered by symbol; `search` is a part of a symbol or a name.
pub fn page(
    tx: &mut Tx<'_>,
    search: &str,
    after: Option<&Symbol>,
    limit: i64,
) -> Result<Vec<Stock>, StoreError> {
    let mut query = stocks::table.select(StockRow::as_select()).into_boxed();
    if !search.is_empty() {
        let pattern = containing(search);
        query = query.filter(
            lower(stocks::symbol)
                .like(lower(pattern.clone()))
                .escape('\\')
                .or(lower(stocks::company_name).like(lower(pattern)).escape('\\')),
        );
    }
    if let Some(after) = after {
        query = query.filter(stocks::symbol.gt(after));
    }
    let rows: Vec<StockRow> = query.order(stocks::symbol).limit(limit).load(tx.conn)?;
    Ok(rows.into_iter().map(Stock::from).collect())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = price_bars)]
#[diesel(treat_none_as_default_value = false)]
struct BarRow {
    stock_id: StockId,
    date: NaiveDate,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: i64,
    source: String,
}

impl From<BarRow> for Bar {
    fn from(row: BarRow) -> Self {
        Self {
            date: row.date,
            open: row.open,
            high: row.high,
            low: row.low,
            close: row.close,
            volume: u64::try_from(row.volume).unwrap_or(0),
        }
    }
}

/// Stores bars of finished sessions. An existing bar is not changed, because the books were valued with it; an adjusted
/// bar is replaced, see [`crate::adjusted_bars`].
pub fn save_bars(tx: &mut Tx<'_>, id: StockId, source: &str, bars: &[Bar]) -> Result<(), StoreError> {
    let rows: Vec<BarRow> = bars
        .iter()
        .map(|bar| BarRow {
            stock_id: id,
            date: bar.date,
            open: bar.open.clone(),
            high: bar.high.clone(),
            low: bar.low.clone(),
            close: bar.close.clone(),
            volume: i64::try_from(bar.volume).unwrap_or(i64::MAX),
            source: source.to_owned(),
        })
        .collect();
    for chunk in rows.chunks(500) {
        adjusted_bars::make_room(tx, id, chunk.iter().map(|row| row.date))?;
        each!(&mut *tx.conn, c => diesel::insert_into(price_bars::table)
            .values(chunk)
            .on_conflict((price_bars::stock_id, price_bars::date))
            .do_nothing()
            .execute(c))?;
    }
    Ok(())
}

/// Like [`save_bars`], for a stock that was requested by a symbol. Stores nothing if it now has another symbol. Returns
/// whether the bars were stored.
pub fn save_bars_of(
    tx: &mut Tx<'_>,
    (id, symbol): (StockId, &Symbol),
    source: &str,
    bars: &[Bar],
) -> Result<bool, StoreError> {
    if !crate::former_symbols::is_unchanged(tx, id, symbol)? {
        return Ok(false);
    }
    save_bars(tx, id, source, bars)?;
    Ok(true)
}

/// Renames the source of all bars from `before` to `after`. Returns their number.
pub fn rename_source_of_bars(tx: &mut Tx<'_>, before: &str, after: &str) -> Result<usize, StoreError> {
    let of_source = price_bars::table.filter(price_bars::source.eq(before));
    Ok(each!(&mut *tx.conn, c => diesel::update(of_source).set(price_bars::source.eq(after)).execute(c))?)
}

/// The bars from `first` to `last`, both included, oldest first, without adjusted bars.
pub fn bars(tx: &mut Tx<'_>, id: StockId, first: NaiveDate, last: NaiveDate) -> Result<Vec<Bar>, StoreError> {
    Ok(bars_with_sources(tx, id, first, last)?.into_iter().map(|(bar, _)| bar).collect())
}

/// Like [`bars`], each with its price source.
pub fn bars_with_sources(
    tx: &mut Tx<'_>,
    id: StockId,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<(Bar, String)>, StoreError> {
    let rows: Vec<BarRow> = price_bars::table
        .filter(price_bars::stock_id.eq(id).and(price_bars::date.between(first, last)))
        .filter(price_bars::source.ne(ADJUSTED))
        .order(price_bars::date)
        .select(BarRow::as_select())
        .load(tx.conn)?;
    let with_source = |row: BarRow| {
        let source = row.source.clone();
        (row.into(), source)
    };
    Ok(rows.into_iter().map(with_source).collect())
}

/// Like [`bars`], only from one source.
pub fn bars_from(
    tx: &mut Tx<'_>,
    id: StockId,
    source: &str,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<Bar>, StoreError> {
    let rows: Vec<BarRow> = price_bars::table
        .filter(price_bars::stock_id.eq(id).and(price_bars::source.eq(source)))
        .filter(price_bars::date.between(first, last))
        .order(price_bars::date)
        .select(BarRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Bar::from).collect())
}

/// The stored closes of these sessions.
pub fn closes(
    tx: &mut Tx<'_>,
    wanted: &[(StockId, NaiveDate)],
) -> Result<Vec<(StockId, NaiveDate, Price)>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    match tx.conn {
        Conn::Sqlite(c) => {
            let mut found = Vec::new();
            for (id, date) in wanted {
                let close =
                    price_bars::table.find((id, date)).select(price_bars::close).first(c).optional()?;
                found.extend(close.map(|close| (*id, *date, close)));
            }
            Ok(found)
        }
        Conn::Postgres(c) => Ok(Unnest::<(BigInt, Date, Exact)>::new(
            "SELECT b.stock_id, b.date, b.close FROM",
            "AS n (stock_id, date) JOIN price_bars b USING (stock_id, date)",
        )
        .column::<BigInt, _>(wanted.iter().map(|(id, _)| *id))
        .column::<Date, _>(wanted.iter().map(|(_, date)| *date))
        .load(c)?),
    }
}

/// The newest close of each stock on or before `date`, with its session, without adjusted bars.
pub fn closes_on(
    tx: &mut Tx<'_>,
    ids: &[StockId],
    date: NaiveDate,
) -> Result<Vec<(StockId, NaiveDate, Price)>, StoreError> {
    let newest: Vec<(StockId, Option<NaiveDate>)> = price_bars::table
        .filter(price_bars::stock_id.eq_any(ids).and(price_bars::date.le(date)))
        .filter(price_bars::source.ne(ADJUSTED))
        .group_by(price_bars::stock_id)
        .select((price_bars::stock_id, diesel::dsl::max(price_bars::date)))
        .load(tx.conn)?;
    newest
        .into_iter()
        .filter_map(|(id, day)| day.map(|day| (id, day)))
        .map(|(id, day)| {
            let close = price_bars::table.find((id, day)).select(price_bars::close).first(tx.conn)?;
            Ok((id, day, close))
        })
        .collect()
}
