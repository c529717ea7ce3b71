//! Symbols that now belong to another company: the old company's stock keeps its holders under another symbol.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use diesel::prelude::*;
use domain::calendar::exchange_date;
use domain::company::KnownCompany;
use domain::{Price, StockId, Symbol, Timestamp};

use crate::adjusted_bars::ADJUSTED;
use crate::listings::FUND;
use crate::schema::{former_symbols, listings, price_bars, stocks};
use crate::{StoreError, Tx};

type CompanyRow = (StockId, Symbol, String, String, Option<NaiveDate>, Option<NaiveDate>);

/// The most symbols per statement.
const SYMBOLS_PER_STATEMENT: usize = 500;

/// The known companies of these symbols; symbols without a stock are omitted. The listing date comes from the stock, or
/// else from the last table of listings.
pub fn companies(
    tx: &mut Tx<'_>,
    symbols: &[Symbol],
) -> Result<HashMap<Symbol, (StockId, KnownCompany)>, StoreError> {
    let mut found = HashMap::new();
    for symbols in symbols.chunks(SYMBOLS_PER_STATEMENT) {
        let rows: Vec<CompanyRow> = stocks::table
            .filter(stocks::symbol.eq_any(symbols))
            .order(stocks::id)
            .select((
                stocks::id,
                stocks::symbol,
                stocks::company_name,
                stocks::sector,
                stocks::listed_on,
                stocks::delisted_on,
            ))
            .load(tx.conn)?;
        let ids: Vec<StockId> = rows.iter().map(|row| row.0).collect();
        let oldest: Vec<(StockId, Option<NaiveDate>)> = price_bars::table
            .filter(price_bars::stock_id.eq_any(ids))
            .group_by(price_bars::stock_id)
            .select((price_bars::stock_id, diesel::dsl::min(price_bars::date)))
            .load(tx.conn)?;
        let oldest: HashMap<StockId, Option<NaiveDate>> = oldest.into_iter().collect();
        let listed: Vec<(Symbol, Option<NaiveDate>)> = listings::table
            .filter(listings::symbol.eq_any(symbols))
            .select((listings::symbol, listings::listed_on))
            .load(tx.conn)?;
        let listed: HashMap<Symbol, Option<NaiveDate>> = listed.into_iter().collect();
        for (id, symbol, name, sector, listed_on, delisted_on) in rows {
            let company = KnownCompany {
                symbol: symbol.to_string(),
                name,
                is_fund: sector == FUND,
                listed_on: listed_on.or_else(|| listed.get(&symbol).copied().flatten()),
                priced_since: oldest.get(&id).copied().flatten(),
                is_delisted: delisted_on.is_some(),
            };
            found.insert(symbol, (id, company));
        }
    }
    Ok(found)
}

/// Stores the listing date of a stock.
pub fn set_listed_on(tx: &mut Tx<'_>, id: StockId, listed_on: NaiveDate) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id)).set(stocks::listed_on.eq(listed_on)).execute(tx.conn)?;
    Ok(())
}

/// Stores the listing date of a stock that has none.
pub fn keep_listed_on(tx: &mut Tx<'_>, id: StockId, listed_on: NaiveDate) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id).filter(stocks::listed_on.is_null()))
        .set(stocks::listed_on.eq(listed_on))
        .execute(tx.conn)?;
    Ok(())
}

/// Gives a stock another symbol, because its symbol belongs to another company from the day `on`: the new symbol is the
/// old one with the year and month of that day, `XYZ-202611`. Prices of the other company that were stored since are
/// deleted, and the last earlier price becomes the last price. Returns the new symbol. `first_bar_of_other` is the
/// first trading day of the other company, if known.
pub fn archive(
    tx: &mut Tx<'_>,
    id: StockId,
    symbol: &Symbol,
    on: NaiveDate,
    first_bar_of_other: Option<NaiveDate>,
) -> Result<Symbol, StoreError> {
    let archived = free_symbol(tx, symbol, on)?;
    // These prices may belong to the other company.
    crate::former_symbols::forget_prices(tx, symbol)?;
    if !crate::stocks::rename(tx, id, (symbol, &archived), None, on)? {
        return Err(StoreError::Corrupt(format!("another stock already has the symbol {archived}")));
    }
    diesel::update(stocks::table.find(id)).set(stocks::replaced_on.eq(on)).execute(tx.conn)?;
    if let Some(first) = first_bar_of_other {
        let others = price_bars::table.filter(price_bars::stock_id.eq(id).and(price_bars::date.ge(first)));
        diesel::delete(others).execute(tx.conn)?;
        let last_at: Option<Timestamp> =
            stocks::table.find(id).select(stocks::last_updated).first(tx.conn)?;
        if last_at.is_some_and(|at| exchange_date(at) >= first) {
            restore_last_price(tx, id)?;
        }
    }
    Ok(archived)
}

/// The day from which another company has the symbol that a stock had; `None` if this did not happen.
pub fn replaced_on(tx: &mut Tx<'_>, id: StockId) -> Result<Option<NaiveDate>, StoreError> {
    let found: Option<Option<NaiveDate>> =
        stocks::table.find(id).select(stocks::replaced_on).first(tx.conn).optional()?;
    Ok(found.flatten())
}

/// Ends the archiving of a stock that got a new symbol.
pub fn restore(tx: &mut Tx<'_>, id: StockId) -> Result<(), StoreError> {
    diesel::update(stocks::table.find(id)).set(stocks::replaced_on.eq(None::<NaiveDate>)).execute(tx.conn)?;
    Ok(())
}

/// Makes the newest stored close the last price, or removes the last price if there is no close. Adjusted bars do not
/// count.
fn restore_last_price(tx: &mut Tx<'_>, id: StockId) -> Result<(), StoreError> {
    let closes: Vec<(NaiveDate, Price, String)> = price_bars::table
        .filter(price_bars::stock_id.eq(id).and(price_bars::source.ne(ADJUSTED)))
        .order(price_bars::date.desc())
        .select((price_bars::date, price_bars::close, price_bars::source))
        .limit(2)
        .load(tx.conn)?;
    let closed_at = closes.first().map(|(date, ..)| {
        let calendar = domain::Calendar::Xnys;
        calendar.session(*date).unwrap_or_else(|| calendar.before(*date + Days::new(1))).closes_at
    });
    diesel::update(stocks::table.find(id))
        .set((
            stocks::last_price.eq(closes.first().map(|(_, close, _)| close)),
            stocks::previous_close.eq(closes.get(1).map(|(_, close, _)| close)),
            stocks::last_updated.eq(closed_at),
            stocks::price_source.eq(closes.first().map(|(.., source)| source)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Returns a symbol similar to the given one that no stock has or had.
fn free_symbol(tx: &mut Tx<'_>, symbol: &Symbol, on: NaiveDate) -> Result<Symbol, StoreError> {
    let texts =
        [on.format("-%Y%m").to_string(), on.format("-%y%m").to_string(), on.format("-%y%m%d").to_string()]
            .map(|suffix| format!("{symbol}{suffix}"));
    // Longer symbols are cut; a letter makes them unique.
    let short: String = symbol.as_str().chars().take(6).collect();
    let numbered = (b'A'..=b'Z').map(|letter| format!("{short}-{}{}", on.format("%y%m"), char::from(letter)));
    for text in texts.into_iter().chain(numbered) {
        let Ok(candidate) = text.parse::<Symbol>() else { continue };
        let taken: bool = diesel::select(
            diesel::dsl::exists(stocks::table.filter(stocks::symbol.eq(&candidate)))
                .or(diesel::dsl::exists(former_symbols::table.filter(former_symbols::symbol.eq(&candidate))))
                .or(diesel::dsl::exists(listings::table.filter(listings::symbol.eq(&candidate)))),
        )
        .get_result(tx.conn)?;
        if !taken {
            return Ok(candidate);
        }
    }
    Err(StoreError::Corrupt(format!("no symbol is left for the stock that was {symbol}")))
}
