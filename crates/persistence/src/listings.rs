//! The listings of a provider as a table, so that searches make no calls.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::upsert::excluded;
use domain::{Currency, Listing, Symbol, Timestamp};

use crate::connection::each;
use crate::schema::listings;
use crate::{StoreError, Tx};

/// A stock or a fund of the United States that trades in dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub symbol: Symbol,
    pub company_name: String,
    pub exchange: String,
    pub is_fund: bool,
    /// The first day of trading.
    pub listed_on: Option<NaiveDate>,
}

/// The sector of funds.
pub const FUND: &str = "Fund";

#[derive(Insertable)]
#[diesel(table_name = listings)]
#[diesel(treat_none_as_default_value = false)]
struct NewRow<'a> {
    symbol: &'a Symbol,
    company_name: &'a str,
    search_words: String,
    exchange: &'a str,
    asset_type: &'static str,
    status: &'static str,
    source: &'a str,
    refreshed_at: Timestamp,
    listed_on: Option<NaiveDate>,
}

/// Replaces the listings with a provider's newest table. Listed stocks that the table lacks are marked as delisted;
/// listings of other sources are deleted.
pub fn replace(
    tx: &mut Tx<'_>,
    source: &str,
    table: &[Listed],
    refreshed_at: Timestamp,
) -> Result<(), StoreError> {
    diesel::delete(listings::table.filter(listings::source.ne(source))).execute(tx.conn)?;
    diesel::update(listings::table).set(listings::status.eq("delisted")).execute(tx.conn)?;
    let mut rows: Vec<NewRow<'_>> = table
        .iter()
        .map(|listed| NewRow {
            symbol: &listed.symbol,
            company_name: &listed.company_name,
            search_words: search_words(&listed.company_name),
            exchange: &listed.exchange,
            asset_type: if listed.is_fund { "fund" } else { "stock" },
            status: "active",
            source,
            refreshed_at,
            listed_on: listed.listed_on,
        })
        .collect();
    // One statement accepts each row only once.
    rows.sort_by_key(|row| row.symbol);
    rows.dedup_by_key(|row| row.symbol);
    for chunk in rows.chunks(500) {
        each!(&mut *tx.conn, c => diesel::insert_into(listings::table)
            .values(chunk)
            .on_conflict(listings::symbol)
            .do_update()
            .set((
                listings::company_name.eq(excluded(listings::company_name)),
                listings::search_words.eq(excluded(listings::search_words)),
                listings::exchange.eq(excluded(listings::exchange)),
                listings::asset_type.eq(excluded(listings::asset_type)),
                listings::status.eq(excluded(listings::status)),
                listings::refreshed_at.eq(excluded(listings::refreshed_at)),
                listings::listed_on.eq(excluded(listings::listed_on)),
            ))
            .execute(c))?;
    }
    Ok(())
}

/// When a source's table was last stored, and the number of its active rows; `None` before the first time.
pub fn state(tx: &mut Tx<'_>, source: &str) -> Result<Option<(Timestamp, i64)>, StoreError> {
    let refreshed_at: Option<Timestamp> = listings::table
        .filter(listings::source.eq(source))
        .select(diesel::dsl::max(listings::refreshed_at))
        .first(tx.conn)?;
    let Some(refreshed_at) = refreshed_at else { return Ok(None) };
    let active = active(source).count().get_result(tx.conn)?;
    Ok(Some((refreshed_at, active)))
}

/// Active listings whose symbol begins with `query`, shortest symbols first, then those whose name has a word that
/// begins with it, ordered by symbol.
pub fn search(tx: &mut Tx<'_>, source: &str, query: &str, limit: i64) -> Result<Vec<Listing>, StoreError> {
    let letters = query.trim().to_uppercase().replace('-', ".");
    let by_symbol = active(source)
        .filter(listings::symbol.like(format!("{}%", escaped(&letters))).escape('\\'))
        .order((length(listings::symbol), listings::symbol))
        .limit(limit);
    let mut found: Vec<ListingRow> = by_symbol.select(ListingRow::as_select()).load(tx.conn)?;
    let left = limit - i64::try_from(found.len()).unwrap_or(limit);
    let words = search_words(query);
    if left > 0 && !words.is_empty() {
        let known: Vec<Symbol> = found.iter().map(|row| row.symbol.clone()).collect();
        let by_name = active(source)
            .filter(listings::search_words.like(format!("%{}%", escaped(&words))).escape('\\'))
            .filter(listings::symbol.ne_all(known))
            .order((length(listings::symbol), listings::symbol))
            .limit(left);
        found.extend(by_name.select(ListingRow::as_select()).load::<ListingRow>(tx.conn)?);
    }
    Ok(found.into_iter().map(Listing::from).collect())
}

/// The active listing of that symbol.
pub fn by_symbol(tx: &mut Tx<'_>, source: &str, symbol: &Symbol) -> Result<Option<Listing>, StoreError> {
    let row = active(source).filter(listings::symbol.eq(symbol)).select(ListingRow::as_select());
    Ok(row.first::<ListingRow>(tx.conn).optional()?.map(Listing::from))
}

/// The active listing of that symbol with all fields of the table, and when the table was stored.
pub fn details_by_symbol(
    tx: &mut Tx<'_>,
    source: &str,
    symbol: &Symbol,
) -> Result<Option<(Listed, Timestamp)>, StoreError> {
    type DetailsRow = (Symbol, String, String, String, Option<NaiveDate>, Timestamp);
    let row: Option<DetailsRow> = active(source)
        .filter(listings::symbol.eq(symbol))
        .select((
            listings::symbol,
            listings::company_name,
            listings::exchange,
            listings::asset_type,
            listings::listed_on,
            listings::refreshed_at,
        ))
        .first(tx.conn)
        .optional()?;
    Ok(row.map(|(symbol, company_name, exchange, asset_type, listed_on, refreshed_at)| {
        let is_fund = asset_type == "fund";
        (Listed { symbol, company_name, exchange, is_fund, listed_on }, refreshed_at)
    }))
}

type Active<'a> = diesel::dsl::Filter<
    diesel::dsl::Filter<listings::table, diesel::dsl::Eq<listings::source, &'a str>>,
    diesel::dsl::Eq<listings::status, &'static str>,
>;

fn active(source: &str) -> Active<'_> {
    listings::table.filter(listings::source.eq(source)).filter(listings::status.eq("active"))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = listings)]
struct ListingRow {
    symbol: Symbol,
    company_name: String,
    exchange: String,
    asset_type: String,
}

impl From<ListingRow> for Listing {
    /// Converts a row. The table has no sectors; those of companies come with their profiles.
    fn from(row: ListingRow) -> Self {
        Self {
            symbol: row.symbol,
            company_name: row.company_name,
            exchange: row.exchange,
            sector: if row.asset_type == "fund" { FUND.to_owned() } else { String::new() },
            currency: Currency::Usd,
        }
    }
}

diesel::define_sql_function! {
    fn length(text: diesel::sql_types::Text) -> diesel::sql_types::Integer;
}

/// Converts a text to lower-case letters and digits, with a space before each word, so that a query matches the
/// beginning of a word.
fn search_words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !(c.is_alphanumeric() || c == '&' || c == '\''));
    words.filter(|word| !word.is_empty()).flat_map(|word| [" ", word]).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
