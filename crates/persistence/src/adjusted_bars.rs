//! Bars that earlier versions of the program stored in the shares of the day on which they were fetched, instead of
//! those of their own days.
//!
//! They have a separate source name, and are replaced when the source reports the same day again.

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{Price, StockId};

use crate::schema::price_bars;
use crate::{StoreError, Tx};

/// The source name of adjusted bars.
pub const ADJUSTED: &str = "yahoo/adjusted";

/// A stock with adjusted bars, with the days of the oldest and the newest.
pub type Span = (StockId, NaiveDate, NaiveDate);

/// Up to `limit` stocks with adjusted bars, ordered by id.
pub fn stocks(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Span>, StoreError> {
    use diesel::dsl::{max, min};
    let found: Vec<(StockId, Option<NaiveDate>, Option<NaiveDate>)> = price_bars::table
        .filter(price_bars::source.eq(ADJUSTED))
        .group_by(price_bars::stock_id)
        .order(price_bars::stock_id)
        .select((price_bars::stock_id, min(price_bars::date), max(price_bars::date)))
        .limit(limit)
        .load(tx.conn)?;
    Ok(found.into_iter().filter_map(|(id, first, last)| Some((id, first?, last?))).collect())
}

/// The closes of a stock's adjusted bars, oldest first.
pub fn closes(tx: &mut Tx<'_>, id: StockId) -> Result<Vec<(NaiveDate, Price)>, StoreError> {
    Ok(price_bars::table
        .filter(price_bars::stock_id.eq(id).and(price_bars::source.eq(ADJUSTED)))
        .order(price_bars::date)
        .select((price_bars::date, price_bars::close))
        .load(tx.conn)?)
}

/// Deletes adjusted bars of days for which a bar as traded is being stored.
pub(crate) fn make_room(
    tx: &mut Tx<'_>,
    id: StockId,
    days: impl Iterator<Item = NaiveDate>,
) -> Result<(), StoreError> {
    let days: Vec<NaiveDate> = days.collect();
    let replaced = price_bars::table
        .filter(price_bars::stock_id.eq(id).and(price_bars::source.eq(ADJUSTED)))
        .filter(price_bars::date.eq_any(days));
    diesel::delete(replaced).execute(tx.conn)?;
    Ok(())
}

/// Deletes a stock's adjusted bars that the source no longer reports: it is unknown which shares they are in.
pub fn delete(tx: &mut Tx<'_>, id: StockId) -> Result<(), StoreError> {
    let left = price_bars::table.filter(price_bars::stock_id.eq(id).and(price_bars::source.eq(ADJUSTED)));
    diesel::delete(left).execute(tx.conn)?;
    Ok(())
}
