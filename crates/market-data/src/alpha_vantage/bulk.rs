//! Quotes of many symbols in one answer, for keys that include bulk quotes.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use domain::calendar::EXCHANGE_ZONE;
use domain::{Calendar, Freshness, Price, PriceSource, Quote, Symbol, Timestamp};
use serde_json::Value;

use super::wire::{Object, day_prices, text};
use super::{SOURCE, ticker};
use crate::QuoteError;
use crate::plausible::{time_of_price, unusable};

/// The most symbols per call.
pub(super) const MAX_SYMBOLS: usize = 100;

/// Parses a `REALTIME_BULK_QUOTES` answer into results by symbol; symbols that the answer lacks are omitted. The price
/// is from the regular session. Its time is the provider's time stamp, which continues after the close.
pub(super) fn quotes(
    answer: &Object,
    asked: &[Symbol],
    freshness: Freshness,
    now: DateTime<Utc>,
) -> Result<HashMap<Symbol, Result<Quote, QuoteError>>, QuoteError> {
    let rows = answer.get("data").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| unusable("an answer without bulk quotes"))?;
    let mut quotes = HashMap::with_capacity(asked.len());
    for row in rows.iter().filter_map(Value::as_object) {
        let named = text(row, "symbol");
        if let Some(symbol) = asked.iter().find(|symbol| ticker::is_about(&named, symbol)) {
            quotes.insert(symbol.clone(), quote(row, symbol, freshness, now));
        }
    }
    Ok(quotes)
}

fn quote(
    row: &Object,
    symbol: &Symbol,
    freshness: Freshness,
    now: DateTime<Utc>,
) -> Result<Quote, QuoteError> {
    let stamp = NaiveDateTime::parse_from_str(&text(row, "timestamp"), "%Y-%m-%d %H:%M:%S%.f")
        .map_err(|_| unusable("an invalid time"))?;
    let as_of = EXCHANGE_ZONE.from_local_datetime(&stamp).earliest();
    let as_of = as_of.ok_or_else(|| unusable("an invalid time"))?.with_timezone(&Utc);
    let as_of = Timestamp::from(time_of_price(as_of, now)?);
    let day = day_prices(row, "close")?;
    Ok(Quote {
        symbol: symbol.clone(),
        price: day.close,
        bid: None,
        ask: None,
        previous_close: Price::from_provider(&text(row, "previous_close")).ok(),
        volume: text(row, "volume").parse().ok(),
        as_of,
        source: PriceSource::from(SOURCE),
        freshness,
        stale: freshness.is_stale(as_of, now.into(), Calendar::Xnys),
    })
}
