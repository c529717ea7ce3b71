//! Parses and checks Alpha Vantage's answers.
//!
//! Each answer is an object of texts with numbered keys (`05. price`). The numbers differ between functions, so
//! fields are found by name, and their order does not matter.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{Bar, Calendar, Currency, Freshness, Listing, Price, PriceSource, Quote, Symbol, Timestamp};
use serde_json::{Map, Value};

use super::{SOURCE, ticker};
use crate::QuoteError;
use crate::plausible::{DayFields, DayPrices, past_session, session_of_price, unusable};
use crate::source::{FOREIGN, NO_STOCK, NOT_IN_DOLLARS};

pub(super) type Object = Map<String, Value>;

/// How far a delayed price is behind the market.
const DELAY: TimeDelta = TimeDelta::minutes(15);

/// Parses a `GLOBAL_QUOTE` answer. Its price is the close of a session, or the last price of the current session.
///
/// `entitled` is the requested class of prices. It is also used for an answer whose heading does not name a class: if
/// its price is the previous close, the price is stale for that class, and no order fills at it.
pub(super) fn quote(
    answer: &Object,
    asked: &Symbol,
    entitled: Option<Freshness>,
    now: DateTime<Utc>,
) -> Result<Quote, QuoteError> {
    let (heading, fields) =
        section(answer, "Global Quote").ok_or_else(|| unusable("an answer without a quote"))?;
    if fields.is_empty() {
        return Err(QuoteError::UnknownSymbol(asked.clone()));
    }
    check_symbol(&text(fields, "symbol"), asked)?;
    let date = parse_date(&text(fields, "latest trading day"))?;
    let session = session_of_price(date, now)?;
    let day = day_prices(fields, "price")?;
    let freshness = match (freshness_of(heading), entitled) {
        (Freshness::EndOfDay, Some(entitled)) => entitled,
        (reported, _) => reported,
    };
    let newest = if freshness == Freshness::Delayed { now - DELAY } else { now };
    Ok(Quote {
        symbol: asked.clone(),
        price: day.close,
        bid: None,
        ask: None,
        previous_close: Price::from_provider(&text(fields, "previous close")).ok(),
        volume: text(fields, "volume").parse().ok(),
        as_of: session.closes_at.min(newest.into()),
        source: PriceSource::from(SOURCE),
        freshness,
        stale: false,
    })
}

/// The class of prices that the heading names: `Global Quote - DATA DELAYED BY 15 MINUTES` for a paid key's
/// entitlement. Without it the price is the last close.
fn freshness_of(heading: &str) -> Freshness {
    let heading = heading.to_uppercase();
    if heading.contains("DELAYED") {
        Freshness::Delayed
    } else if heading.contains("REALTIME") || heading.contains("REAL-TIME") {
        Freshness::Realtime
    } else {
        Freshness::EndOfDay
    }
}

/// Parses a `TIME_SERIES_DAILY` answer: the sessions that have closed by `at`, oldest first. Days with invalid values
/// are skipped; a series without a valid day is an error.
pub(super) fn daily_bars(
    answer: &Object,
    asked: &Symbol,
    at: Timestamp,
    now: DateTime<Utc>,
) -> Result<Vec<Bar>, QuoteError> {
    let (_, about) = section(answer, "Meta Data").ok_or_else(|| unusable("a series without a heading"))?;
    check_symbol(&text(about, "Symbol"), asked)?;
    let (_, rows) = section(answer, "Time Series").ok_or_else(|| unusable("an answer without a series"))?;
    let mut bars = Vec::with_capacity(rows.len());
    let mut refused = 0_usize;
    for (date, row) in rows {
        match parse_date(date).and_then(|date| bar(date, row, now)) {
            Ok(bar) => bars.push(bar),
            Err(reason) => {
                refused += 1;
                tracing::warn!(symbol = asked.as_str(), date = date.as_str(), %reason, "skipped an invalid daily bar");
            }
        }
    }
    if bars.is_empty() && refused > 0 {
        return Err(unusable("a series without a usable day"));
    }
    bars.retain(|bar| Calendar::Xnys.session(bar.date).is_some_and(|session| session.closes_at <= at));
    bars.sort_by_key(|bar| bar.date);
    Ok(bars)
}

fn bar(date: NaiveDate, row: &Value, now: DateTime<Utc>) -> Result<Bar, QuoteError> {
    past_session(date, now).ok_or_else(|| unusable("a bar of a day without trading"))?;
    let fields = row.as_object().ok_or_else(|| unusable("a bar that is not an object"))?;
    let DayPrices { open, high, low, close } = day_prices(fields, "close")?;
    // An invalid volume is unknown and stored as zero.
    let volume = text(fields, "volume").parse().unwrap_or(0);
    Ok(Bar { date, open, high, low, close, volume })
}

/// Parses a `SYMBOL_SEARCH` answer: stocks and funds of the United States in dollars, in the provider's order.
pub(super) fn search(answer: &Object) -> Result<Vec<Listing>, QuoteError> {
    Ok(matches(answer)?.into_iter().filter_map(|found| found.listing().ok()).collect())
}

/// Returns the entry of a `SYMBOL_SEARCH` answer with exactly this symbol.
pub(super) fn exact_match(answer: &Object, asked: &Symbol) -> Result<Listing, QuoteError> {
    let found = matches(answer)?.into_iter().find(|found| ticker::is_about(&found.ticker, asked));
    let found = found.ok_or_else(|| QuoteError::UnknownSymbol(asked.clone()))?;
    found.listing().map_err(|reason| QuoteError::NotTradable { symbol: asked.clone(), reason })
}

/// Parses an `OVERVIEW` answer; `None` for funds and unknown symbols.
pub(super) fn overview(answer: &Object, asked: &Symbol) -> Result<Option<Listing>, QuoteError> {
    if answer.is_empty() {
        return Ok(None);
    }
    check_symbol(&text(answer, "Symbol"), asked)?;
    if text(answer, "Currency") != Currency::Usd.code() {
        return Err(QuoteError::NotTradable { symbol: asked.clone(), reason: NOT_IN_DOLLARS });
    }
    let symbol = ticker::symbol_of(&text(answer, "Symbol")).unwrap_or_else(|| asked.clone());
    Ok(Some(Listing {
        company_name: known(text(answer, "Name")).unwrap_or_else(|| symbol.to_string()),
        symbol,
        exchange: known(text(answer, "Exchange")).unwrap_or_default(),
        sector: known(text(answer, "Sector")).map_or_else(|| "Other".to_owned(), |name| in_title_case(&name)),
        currency: Currency::Usd,
    }))
}

/// One entry of a `SYMBOL_SEARCH` answer.
struct Match {
    ticker: String,
    name: String,
    kind: String,
    region: String,
    currency: String,
}

impl Match {
    /// Converts the entry to a listing.
    ///
    /// # Errors
    /// The reason why the instrument is not traded here.
    fn listing(self) -> Result<Listing, &'static str> {
        if self.region != "United States" {
            return Err(FOREIGN);
        }
        if self.currency != Currency::Usd.code() {
            return Err(NOT_IN_DOLLARS);
        }
        let sector = match self.kind.as_str() {
            "Equity" => "Other",
            "ETF" => "Fund",
            _ => return Err(NO_STOCK),
        };
        let symbol = ticker::symbol_of(&self.ticker).ok_or("its symbol has an unknown form")?;
        Ok(Listing {
            company_name: known(self.name).unwrap_or_else(|| symbol.to_string()),
            symbol,
            exchange: String::new(),
            sector: sector.to_owned(),
            currency: Currency::Usd,
        })
    }
}

fn matches(answer: &Object) -> Result<Vec<Match>, QuoteError> {
    let entries = answer.get("bestMatches").and_then(Value::as_array);
    let entries = entries.ok_or_else(|| unusable("an answer without search results"))?;
    let read = |entry: &Object| Match {
        ticker: text(entry, "symbol"),
        name: text(entry, "name"),
        kind: text(entry, "type"),
        region: text(entry, "region"),
        currency: text(entry, "currency"),
    };
    Ok(entries.iter().filter_map(Value::as_object).map(read).collect())
}

/// Parses the prices of a day. `last` is the name of the closing price.
pub(super) fn day_prices(fields: &Object, last: &str) -> Result<DayPrices, QuoteError> {
    let price = |name: &str| Price::from_provider(&text(fields, name)).ok();
    DayFields { open: price("open"), high: price("high"), low: price("low"), close: price(last) }.settled()
}

/// Returns the section whose key starts with `prefix`, with its whole key.
fn section<'a>(answer: &'a Object, prefix: &str) -> Option<(&'a str, &'a Object)> {
    let (key, value) = answer.iter().find(|(key, _)| key.starts_with(prefix))?;
    Some((key, value.as_object()?))
}

/// Returns a field's text by its name without the number. Numbers are returned as sent; a missing field is empty.
pub(super) fn text(fields: &Object, name: &str) -> String {
    let is_named = |key: &str| key == name || key.split_once(". ").is_some_and(|(_, label)| label == name);
    match fields.iter().find(|(key, _)| is_named(key)) {
        Some((_, Value::String(text))) => text.trim().to_owned(),
        Some((_, Value::Number(number))) => number.to_string(),
        _ => String::new(),
    }
}

/// Returns the text; `None` for words that mean a missing value.
pub(super) fn known(text: String) -> Option<String> {
    (!matches!(text.as_str(), "" | "None" | "-" | "null")).then_some(text)
}

pub(super) fn in_title_case(shouted: &str) -> String {
    if shouted.chars().any(char::is_lowercase) {
        return shouted.to_owned();
    }
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_string() + &letters.as_str().to_lowercase())
    };
    shouted.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

pub(super) fn check_symbol(answered: &str, asked: &Symbol) -> Result<(), QuoteError> {
    match ticker::is_about(answered, asked) {
        true => Ok(()),
        false => Err(unusable("an answer about another symbol")),
    }
}

pub(super) fn parse_date(text: &str) -> Result<NaiveDate, QuoteError> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| unusable("an invalid date"))
}
