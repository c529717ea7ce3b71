//! Lists of stocks, sorted and filtered: those that this installation knows, or all that a provider lists.

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{Currency, Listing, SortDirection, StockFilter, StockId, StockSort, Symbol};

use crate::listings::FUND;
use crate::schema::{listings, stocks};
use crate::{StoreError, Tx};

/// The place of a stock in a list: its company's name and its symbol.
pub type StockPlace = (String, Symbol);

/// A stock in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStock {
    /// The id; `None` if the stock has never been looked up.
    pub id: Option<StockId>,
    pub listing: Listing,
    pub delisted_on: Option<NaiveDate>,
}

type KnownRow = (Symbol, String, String, String, StockId, Option<NaiveDate>);
/// The columns of a listing, its type, and the columns of the stock if it is known.
type ListedRow = ((Symbol, String, String), String, (Option<StockId>, Option<String>, Option<NaiveDate>));

fn listed(
    (symbol, company_name, exchange): (Symbol, String, String),
    sector: String,
    (id, delisted_on): (Option<StockId>, Option<NaiveDate>),
) -> ListedStock {
    let listing = Listing { symbol, company_name, exchange, sector, currency: Currency::Usd };
    ListedStock { id, listing, delisted_on }
}

/// Adds the place, the direction and the limit of a page to a query over a table with symbols and company names.
macro_rules! page {
    ($query:expr, $table:ident, $filter:expr, $last:expr, $limit:expr) => {{
        let mut query = $query;
        query = match (&$filter.sort, &$filter.direction, $last) {
            (_, _, None) => query,
            (StockSort::Symbol, SortDirection::Ascending, Some((_, symbol))) => {
                query.filter($table::symbol.gt(symbol))
            }
            (StockSort::Symbol, SortDirection::Descending, Some((_, symbol))) => {
                query.filter($table::symbol.lt(symbol))
            }
            (StockSort::CompanyName, SortDirection::Ascending, Some((name, symbol))) => query
                .filter($table::company_name.ge(name))
                .filter($table::company_name.gt(name).or($table::symbol.gt(symbol))),
            (StockSort::CompanyName, SortDirection::Descending, Some((name, symbol))) => query
                .filter($table::company_name.le(name))
                .filter($table::company_name.lt(name).or($table::symbol.lt(symbol))),
        };
        query = match (&$filter.sort, &$filter.direction) {
            (StockSort::Symbol, SortDirection::Ascending) => query.order($table::symbol.asc()),
            (StockSort::Symbol, SortDirection::Descending) => query.order($table::symbol.desc()),
            (StockSort::CompanyName, SortDirection::Ascending) => {
                query.order(($table::company_name.asc(), $table::symbol.asc()))
            }
            (StockSort::CompanyName, SortDirection::Descending) => {
                query.order(($table::company_name.desc(), $table::symbol.desc()))
            }
        };
        query.limit($limit)
    }};
}

/// The place of a stock that this installation knows.
pub fn place_of_known(tx: &mut Tx<'_>, symbol: &Symbol) -> Result<Option<StockPlace>, StoreError> {
    Ok(stocks::table
        .filter(stocks::symbol.eq(symbol))
        .select((stocks::company_name, stocks::symbol))
        .first(tx.conn)
        .optional()?)
}

/// Up to `limit` stocks after the place `last` that this installation knows, including delisted ones.
pub fn known(
    tx: &mut Tx<'_>,
    filter: &StockFilter,
    last: Option<&StockPlace>,
    limit: i64,
) -> Result<Vec<ListedStock>, StoreError> {
    let mut query = stocks::table.filter(stocks::replaced_on.is_null()).into_boxed();
    if let Some(sector) = &filter.sector {
        query = query.filter(stocks::sector.eq(sector));
    }
    if let Some(exchange) = &filter.exchange {
        query = query.filter(stocks::exchange.eq(exchange));
    }
    let rows: Vec<KnownRow> = page!(query, stocks, filter, last, limit)
        .select((
            stocks::symbol,
            stocks::company_name,
            stocks::exchange,
            stocks::sector,
            stocks::id,
            stocks::delisted_on,
        ))
        .load(tx.conn)?;
    let stock = |(symbol, name, exchange, sector, id, delisted_on): KnownRow| {
        listed((symbol, name, exchange), sector, (Some(id), delisted_on))
    };
    Ok(rows.into_iter().map(stock).collect())
}

/// The place of a stock in the table of a provider's listings.
pub fn place_of_listed(
    tx: &mut Tx<'_>,
    source: &str,
    symbol: &Symbol,
) -> Result<Option<StockPlace>, StoreError> {
    Ok(listings::table
        .filter(listings::source.eq(source).and(listings::symbol.eq(symbol)))
        .select((listings::company_name, listings::symbol))
        .first(tx.conn)
        .optional()?)
}

/// Up to `limit` stocks after the place `last` that a provider lists as active. The provider's table has no sectors;
/// sectors are taken from the stocks that this installation knows.
pub fn listed_by(
    tx: &mut Tx<'_>,
    source: &str,
    filter: &StockFilter,
    last: Option<&StockPlace>,
    limit: i64,
) -> Result<Vec<ListedStock>, StoreError> {
    let is_same = listings::symbol.eq(stocks::symbol).and(stocks::replaced_on.is_null());
    let mut query = listings::table
        .left_join(stocks::table.on(is_same))
        .filter(listings::source.eq(source).and(listings::status.eq("active")))
        .into_boxed();
    query = match filter.sector.as_deref() {
        None => query,
        Some(FUND) => query.filter(listings::asset_type.eq("fund")),
        Some(sector) => {
            query.filter(listings::asset_type.ne("fund")).filter(stocks::sector.nullable().eq(sector))
        }
    };
    if let Some(exchange) = &filter.exchange {
        query = query.filter(listings::exchange.eq(exchange));
    }
    let rows: Vec<ListedRow> = page!(query, listings, filter, last, limit)
        .select((
            (listings::symbol, listings::company_name, listings::exchange),
            listings::asset_type,
            (stocks::id.nullable(), stocks::sector.nullable(), stocks::delisted_on.nullable()),
        ))
        .load(tx.conn)?;
    let stock = |(named, asset_type, (id, sector, delisted_on)): ListedRow| {
        let sector = if asset_type == "fund" { FUND.to_owned() } else { sector.unwrap_or_default() };
        listed(named, sector, (id, delisted_on))
    };
    Ok(rows.into_iter().map(stock).collect())
}
