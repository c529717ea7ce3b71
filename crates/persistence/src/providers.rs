//! Shared state of a provider of real prices: counted calls, the queue of calls, leases, and received quotes.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel::upsert::excluded;
use domain::plausibility::{Doubt, UnconfirmedPrice};
use domain::{Freshness, Price, PriceSource, Quote, Symbol, Timestamp};

use crate::connection::{Locked, each};
use crate::schema::{
    provider_budget, provider_leases, provider_quotes, providers, stocks, unconfirmed_prices,
};
use crate::{StoreError, Tx};

/// Counts one call in the window and returns `true`, or returns `false` if `limit` calls are already counted.
pub fn try_spend(tx: &mut Tx<'_>, window: &str, ends_at: Timestamp, limit: u32) -> Result<bool, StoreError> {
    if limit == 0 {
        return Ok(false);
    }
    let row = (
        provider_budget::key.eq(window),
        provider_budget::used.eq(1_i64),
        provider_budget::ends_at.eq(ends_at),
    );
    let counted = each!(&mut *tx.conn, c => methods::FilterDsl::filter(
        diesel::insert_into(provider_budget::table)
            .values(row)
            .on_conflict(provider_budget::key)
            .do_update()
            .set(provider_budget::used.eq(provider_budget::used + 1_i64)),
        provider_budget::used.lt(i64::from(limit)),
    )
    .execute(c))?;
    Ok(counted > 0)
}

/// The number of calls counted in the window.
pub fn spent(tx: &mut Tx<'_>, window: &str) -> Result<u32, StoreError> {
    let used: Option<i64> =
        provider_budget::table.find(window).select(provider_budget::used).first(tx.conn).optional()?;
    Ok(used.map_or(0, |used| u32::try_from(used).unwrap_or(u32::MAX)))
}

/// Deletes windows that ended and leases that expired before this time.
pub fn delete_ended(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, StoreError> {
    diesel::delete(provider_leases::table.filter(provider_leases::ends_at.lt(before))).execute(tx.conn)?;
    Ok(diesel::delete(provider_budget::table.filter(provider_budget::ends_at.lt(before))).execute(tx.conn)?)
}

/// The time of the provider's next call (`now` for a new provider), with the row locked until the transaction ends.
pub fn lock_queue(tx: &mut Tx<'_>, provider: &str, now: Timestamp) -> Result<Timestamp, StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(providers::table)
        .values((providers::name.eq(provider), providers::next_call_at.eq(now)))
        .on_conflict(providers::name)
        .do_nothing()
        .execute(c))?;
    let row = Locked(providers::table.find(provider).select(providers::next_call_at));
    Ok(row.get_result(tx.conn)?)
}

/// Sets the time of the provider's next call. The caller must have locked the queue's row.
pub fn set_next_call(tx: &mut Tx<'_>, provider: &str, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(providers::table.find(provider)).set(providers::next_call_at.eq(at)).execute(tx.conn)?;
    Ok(())
}

/// Sets the time before which the provider is not called. The caller must have locked the queue's row.
pub fn park(tx: &mut Tx<'_>, provider: &str, until: Timestamp) -> Result<(), StoreError> {
    diesel::update(providers::table.find(provider))
        .set((providers::next_call_at.eq(until), providers::parked_until.eq(until)))
        .execute(tx.conn)?;
    Ok(())
}

/// Records an answer of the provider.
pub fn note_answer(tx: &mut Tx<'_>, provider: &str, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(providers::table.find(provider))
        .set(providers::last_answered_at.eq(at))
        .execute(tx.conn)?;
    Ok(())
}

/// Records a failure or a refusal of the provider.
pub fn note_failure(tx: &mut Tx<'_>, provider: &str, error: &str, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(providers::table.find(provider))
        .set((providers::last_failed_at.eq(at), providers::last_error.eq(error)))
        .execute(tx.conn)?;
    Ok(())
}

/// The state of a provider, for the pages.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = providers)]
pub struct ProviderRecord {
    pub next_call_at: Timestamp,
    pub parked_until: Option<Timestamp>,
    pub last_answered_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// The state of a provider; `None` if it was never called.
pub fn record(tx: &mut Tx<'_>, provider: &str) -> Result<Option<ProviderRecord>, StoreError> {
    Ok(providers::table.find(provider).select(ProviderRecord::as_select()).first(tx.conn).optional()?)
}

/// A lease that ends this much later than a new one comes from a wrong clock.
const TOO_LATE: TimeDelta = TimeDelta::minutes(1);

/// Gives `holder` the lease until `until`, unless another holder has it at `now`.
pub fn try_lease(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let row = (
        provider_leases::name.eq(name),
        provider_leases::holder.eq(holder),
        provider_leases::ends_at.eq(until),
    );
    let taken = each!(&mut *tx.conn, c => methods::FilterDsl::filter(
        diesel::insert_into(provider_leases::table)
            .values(row)
            .on_conflict(provider_leases::name)
            .do_update()
            .set((provider_leases::holder.eq(holder), provider_leases::ends_at.eq(until))),
        provider_leases::holder
            .eq(holder)
            .or(provider_leases::ends_at.le(now))
            .or(provider_leases::ends_at.gt(until + TOO_LATE)),
    )
    .execute(c))?;
    Ok(taken > 0)
}

/// Releases a lease of `holder`. Leases of other holders are unchanged.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &str) -> Result<(), StoreError> {
    let mine = provider_leases::table.find(name).filter(provider_leases::holder.eq(holder));
    diesel::delete(mine).execute(tx.conn)?;
    Ok(())
}

/// Releases all leases of `holder`.
pub fn release_all(tx: &mut Tx<'_>, holder: &str) -> Result<(), StoreError> {
    diesel::delete(provider_leases::table.filter(provider_leases::holder.eq(holder))).execute(tx.conn)?;
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = provider_quotes)]
#[diesel(treat_none_as_default_value = false)]
struct QuoteRow {
    symbol: Symbol,
    source: String,
    price: Price,
    previous_close: Option<Price>,
    bid: Option<Price>,
    ask: Option<Price>,
    volume: Option<i64>,
    as_of: Timestamp,
    freshness: Freshness,
    fetched_at: Timestamp,
}

/// Stores each symbol's quote with its request time, and makes it the last price of its stock. A quote with a later
/// request time is not overwritten.
pub fn publish(tx: &mut Tx<'_>, quotes: &[(Quote, Timestamp)]) -> Result<(), StoreError> {
    let mut rows: Vec<QuoteRow> = quotes
        .iter()
        .map(|(quote, fetched_at)| QuoteRow {
            symbol: quote.symbol.clone(),
            source: quote.source.to_string(),
            price: quote.price.clone(),
            previous_close: quote.previous_close.clone(),
            bid: quote.bid.clone(),
            ask: quote.ask.clone(),
            volume: quote.volume.map(|volume| i64::try_from(volume).unwrap_or(i64::MAX)),
            as_of: quote.as_of,
            freshness: quote.freshness,
            fetched_at: *fetched_at,
        })
        .collect();
    // Always in the same order, to avoid deadlocks; and one statement accepts each row only once.
    rows.sort_by(|a, b| (&a.symbol, b.fetched_at).cmp(&(&b.symbol, a.fetched_at)));
    rows.dedup_by(|a, b| a.symbol == b.symbol);
    for row in &rows {
        each!(&mut *tx.conn, c => methods::FilterDsl::filter(
            diesel::insert_into(provider_quotes::table)
                .values(row)
                .on_conflict(provider_quotes::symbol)
                .do_update()
                .set((
                    provider_quotes::source.eq(excluded(provider_quotes::source)),
                    provider_quotes::price.eq(excluded(provider_quotes::price)),
                    provider_quotes::previous_close.eq(excluded(provider_quotes::previous_close)),
                    provider_quotes::bid.eq(excluded(provider_quotes::bid)),
                    provider_quotes::ask.eq(excluded(provider_quotes::ask)),
                    provider_quotes::volume.eq(excluded(provider_quotes::volume)),
                    provider_quotes::as_of.eq(excluded(provider_quotes::as_of)),
                    provider_quotes::freshness.eq(excluded(provider_quotes::freshness)),
                    provider_quotes::fetched_at.eq(excluded(provider_quotes::fetched_at)),
                )),
            provider_quotes::fetched_at.le(excluded(provider_quotes::fetched_at)),
        )
        .execute(c))?;
        let newer = stocks::last_updated
            .is_null()
            .or(stocks::last_updated.lt(row.as_of))
            .or(stocks::price_source.ne(&row.source));
        diesel::update(stocks::table.filter(stocks::symbol.eq(&row.symbol)).filter(newer))
            .set((
                stocks::last_price.eq(&row.price),
                stocks::previous_close.eq(&row.previous_close),
                stocks::last_updated.eq(row.as_of),
                stocks::price_source.eq(&row.source),
                stocks::freshness.eq(row.freshness),
            ))
            .execute(tx.conn)?;
    }
    Ok(())
}

/// The stored quotes of these symbols with their request times, ordered by symbol.
pub fn published(tx: &mut Tx<'_>, symbols: &[Symbol]) -> Result<Vec<(Quote, Timestamp)>, StoreError> {
    let rows: Vec<QuoteRow> = provider_quotes::table
        .filter(provider_quotes::symbol.eq_any(symbols))
        .order(provider_quotes::symbol)
        .select(QuoteRow::as_select())
        .load(tx.conn)?;
    let quote = |row: QuoteRow| {
        let quote = Quote {
            symbol: row.symbol,
            price: row.price,
            bid: row.bid,
            ask: row.ask,
            previous_close: row.previous_close,
            volume: row.volume.and_then(|volume| u64::try_from(volume).ok()),
            as_of: row.as_of,
            source: PriceSource::from(row.source),
            freshness: row.freshness,
            stale: false,
        };
        (quote, row.fetched_at)
    };
    Ok(rows.into_iter().map(quote).collect())
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = unconfirmed_prices)]
struct UnconfirmedRow {
    symbol: Symbol,
    source: String,
    price: Price,
    as_of: Timestamp,
    freshness: Freshness,
    doubt: String,
    accepted_price: Price,
    first_seen_at: Timestamp,
    last_seen_at: Timestamp,
}

/// An unconfirmed price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    pub symbol: Symbol,
    pub source: PriceSource,
    pub freshness: Freshness,
    pub price: UnconfirmedPrice,
}

impl From<UnconfirmedRow> for Unconfirmed {
    fn from(row: UnconfirmedRow) -> Self {
        let price = UnconfirmedPrice {
            price: row.price,
            as_of: row.as_of,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            // A constraint of the table allows only valid values.
            doubt: row.doubt.parse().unwrap_or(Doubt::UnitSlip),
            accepted: row.accepted_price,
        };
        Self { symbol: row.symbol, source: PriceSource::from(row.source), freshness: row.freshness, price }
    }
}

/// Stores unconfirmed prices, replacing earlier ones.
pub fn save_unconfirmed(tx: &mut Tx<'_>, prices: &[Unconfirmed]) -> Result<(), StoreError> {
    let mut rows: Vec<UnconfirmedRow> = prices
        .iter()
        .map(|Unconfirmed { symbol, source, freshness, price }| UnconfirmedRow {
            symbol: symbol.clone(),
            source: source.to_string(),
            price: price.price.clone(),
            as_of: price.as_of,
            freshness: *freshness,
            doubt: price.doubt.as_str().to_owned(),
            accepted_price: price.accepted.clone(),
            first_seen_at: price.first_seen_at,
            last_seen_at: price.last_seen_at,
        })
        .collect();
    // Always in the same order, to avoid deadlocks.
    rows.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    for row in &rows {
        each!(&mut *tx.conn, c => diesel::insert_into(unconfirmed_prices::table)
            .values(row)
            .on_conflict(unconfirmed_prices::symbol)
            .do_update()
            .set(row)
            .execute(c))?;
    }
    Ok(())
}

/// Deletes the unconfirmed prices of these symbols.
pub fn delete_unconfirmed(tx: &mut Tx<'_>, symbols: &[Symbol]) -> Result<(), StoreError> {
    diesel::delete(unconfirmed_prices::table.filter(unconfirmed_prices::symbol.eq_any(symbols)))
        .execute(tx.conn)?;
    Ok(())
}

/// The unconfirmed prices of a source, ordered by symbol; of these symbols, or all.
pub fn unconfirmed(
    tx: &mut Tx<'_>,
    source: &str,
    symbols: Option<&[Symbol]>,
) -> Result<Vec<Unconfirmed>, StoreError> {
    let mut query = unconfirmed_prices::table
        .filter(unconfirmed_prices::source.eq(source))
        .order(unconfirmed_prices::symbol)
        .select(UnconfirmedRow::as_select())
        .into_boxed();
    if let Some(symbols) = symbols {
        query = query.filter(unconfirmed_prices::symbol.eq_any(symbols));
    }
    let rows: Vec<UnconfirmedRow> = query.load(tx.conn)?;
    Ok(rows.into_iter().map(Unconfirmed::from).collect())
}

/// Makes an unconfirmed price the accepted one, even if the current price is newer, and deletes the unconfirmed price.
pub fn accept(tx: &mut Tx<'_>, unconfirmed: &Unconfirmed, now: Timestamp) -> Result<(), StoreError> {
    let Unconfirmed { symbol, source, freshness, price } = unconfirmed;
    let quote = Quote {
        symbol: symbol.clone(),
        price: price.price.clone(),
        bid: None,
        ask: None,
        previous_close: None,
        volume: None,
        as_of: price.as_of,
        source: source.clone(),
        freshness: *freshness,
        stale: false,
    };
    publish(tx, &[(quote, now)])?;
    diesel::update(stocks::table.filter(stocks::symbol.eq(symbol)))
        .set((
            stocks::last_price.eq(&price.price),
            stocks::previous_close.eq(None::<Price>),
            stocks::last_updated.eq(price.as_of),
            stocks::price_source.eq(source.as_str()),
            stocks::freshness.eq(*freshness),
        ))
        .execute(tx.conn)?;
    delete_unconfirmed(tx, std::slice::from_ref(symbol))
}
