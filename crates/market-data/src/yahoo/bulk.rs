//! Quotes of many symbols in one answer.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{Price, Quote, Symbol};
use serde_json::Value;

use super::chart::{Facts, check_tradable};
use super::transport::Reply;
use super::{number, ticker};
use crate::QuoteError;
use crate::plausible::unusable;

/// A bid or ask that differs more than this from the last trade is outdated. A ratio.
const WIDEST_SPREAD: f64 = 0.05;

/// Whether the answer rejects the crumb.
pub(super) fn is_invalid_crumb(reply: &Reply) -> bool {
    let error = &reply.body["finance"]["error"]["description"];
    error.as_str().is_some_and(|text| text.contains("Invalid Crumb"))
}

/// Parses the quote of each requested symbol. Yahoo omits unknown symbols from the answer.
pub(super) fn quotes(
    reply: &Reply,
    asked: &[Symbol],
    now: DateTime<Utc>,
) -> Result<HashMap<Symbol, Result<Quote, QuoteError>>, QuoteError> {
    if !reply.status.is_success() {
        return Err(reply.failure());
    }
    let rows = reply.body["quoteResponse"]["result"].as_array();
    let rows = rows.ok_or_else(|| unusable("an answer without quotes"))?;
    let about = |symbol: &Symbol| {
        let is_it = |row: &&Value| ticker::is_about(row["symbol"].as_str().unwrap_or_default(), symbol);
        match (rows.iter().find(is_it), ticker::provider_symbol(symbol)) {
            (_, Err(not_tradable)) => Err(not_tradable),
            (Some(row), _) => quote(row, symbol, now),
            (None, _) => Err(QuoteError::UnknownSymbol(symbol.clone())),
        }
    };
    Ok(asked.iter().map(|symbol| (symbol.clone(), about(symbol))).collect())
}

/// The rows of an answer, each with the requested symbol.
pub(super) fn rows<'a>(
    reply: &'a Reply,
    asked: &'a [Symbol],
) -> impl Iterator<Item = (&'a Symbol, &'a Value)> {
    let rows = reply.body["quoteResponse"]["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    asked.iter().filter_map(move |symbol| {
        let is_it = |row: &&Value| ticker::is_about(row["symbol"].as_str().unwrap_or_default(), symbol);
        Some((symbol, rows.iter().find(is_it)?))
    })
}

fn quote(row: &Value, symbol: &Symbol, now: DateTime<Utc>) -> Result<Quote, QuoteError> {
    if row["regularMarketPrice"].is_null() {
        return Err(QuoteError::UnknownSymbol(symbol.clone()));
    }
    check_tradable(symbol, &row["quoteType"], &row["currency"], &row["exchangeTimezoneName"])?;
    let facts = Facts {
        price: &row["regularMarketPrice"],
        time: &row["regularMarketTime"],
        high: &row["regularMarketDayHigh"],
        low: &row["regularMarketDayLow"],
        volume: &row["regularMarketVolume"],
    };
    let quote = facts.quote(symbol, now)?;
    let (bid, ask) = touch(row, &quote.price).unzip();
    Ok(Quote { previous_close: number::price(&row["regularMarketPreviousClose"]), bid, ask, ..quote })
}

/// Returns bid and ask if the market is open and they are near the last trade: outside sessions they are meaningless.
fn touch(row: &Value, last: &Price) -> Option<(Price, Price)> {
    let (bid, ask) = (number::price(&row["bid"])?, number::price(&row["ask"])?);
    let is_near = |price: &Price| price.change_ratio(last).is_some_and(|away| away.abs() <= WIDEST_SPREAD);
    let is_sound = row["marketState"] == "REGULAR" && bid <= ask && is_near(&bid) && is_near(&ask);
    is_sound.then_some((bid, ask))
}
