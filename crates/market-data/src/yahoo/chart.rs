//! The chart of one symbol: its newest price, its days, its splits and dividends.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::calendar::exchange_date;
use domain::share_basis::TradedShares;
use domain::{Bar, Calendar, Currency, Freshness, Listing, Price, PriceSource, Quote, Symbol, Timestamp};
use reqwest::StatusCode;
use serde_json::Value;

use super::events::{Basis, Events};
use super::transport::Reply;
use super::{History, SOURCE, number, ticker};
use crate::QuoteError;
use crate::plausible::{DayFields, DayPrices, in_shares_of, past_session, time_of_price, unusable};
use crate::source::{FOREIGN, NO_STOCK, NOT_IN_DOLLARS};

/// A stock without trades for this long counts as delisted.
const DELISTED_AFTER: TimeDelta = TimeDelta::days(30);
const NEW_YORK: &str = "America/New_York";

/// The chart in an answer; `None` if there is no data for the requested time.
pub(super) fn result<'a>(reply: &'a Reply, asked: &Symbol) -> Result<Option<&'a Value>, QuoteError> {
    let chart = &reply.body["chart"];
    let says = |part: &str, text: &str| chart["error"][part].as_str().is_some_and(|said| said.contains(text));
    match reply.status {
        StatusCode::NOT_FOUND if says("code", "Not Found") => Err(QuoteError::UnknownSymbol(asked.clone())),
        StatusCode::BAD_REQUEST if says("description", "Data doesn't exist") => Ok(None),
        StatusCode::UNPROCESSABLE_ENTITY => Err(unusable("a span of time that the provider does not have")),
        status if !status.is_success() => Err(reply.failure()),
        _ if says("code", "Not Found") => Err(QuoteError::UnknownSymbol(asked.clone())),
        _ => match &chart["result"][0] {
            result @ Value::Object(_) => Ok(Some(result)),
            _ => Err(unusable("an answer without a chart")),
        },
    }
}

/// Parses the newest price. The previous close in the answer is the close before the chart's first day, so it is used
/// only from a chart of one day; longer charts contain the previous day.
pub(super) fn quote(result: &Value, asked: &Symbol, now: DateTime<Utc>) -> Result<Quote, QuoteError> {
    let meta = &result["meta"];
    check_instrument(meta, asked)?;
    let facts = Facts {
        price: &meta["regularMarketPrice"],
        time: &meta["regularMarketTime"],
        high: &meta["regularMarketDayHigh"],
        low: &meta["regularMarketDayLow"],
        volume: &meta["regularMarketVolume"],
    };
    let mut quote = facts.quote(asked, now)?;
    let date = exchange_date(quote.as_of);
    let day_before = Calendar::Xnys.before(date).date;
    let before = match meta["range"].as_str() {
        Some("1d") => {
            number::price(&meta["previousClose"]).or_else(|| number::price(&meta["chartPreviousClose"]))
        }
        _ => days(result).find(|day| day.date == day_before).and_then(|day| number::price(day.close)),
    };
    if let Some(before) = before {
        // On the day of a split, the previous close may be in old or in new shares. The gateway decides whether the
        // price is accepted.
        let in_new_shares = in_shares_of(&before, day_before, date, &Events::from_result(result).splits);
        let distance =
            |of: &Price| quote.price.to_f64().max(of.to_f64()) / quote.price.to_f64().min(of.to_f64());
        let is_nearer = distance(&in_new_shares) < distance(&before);
        quote.previous_close = Some(if is_nearer { in_new_shares } else { before });
    }
    Ok(quote)
}

/// The fields of the newest price, from either kind of answer.
pub(super) struct Facts<'a> {
    pub(super) price: &'a Value,
    pub(super) time: &'a Value,
    pub(super) high: &'a Value,
    pub(super) low: &'a Value,
    pub(super) volume: &'a Value,
}

impl Facts<'_> {
    pub(super) fn quote(&self, asked: &Symbol, now: DateTime<Utc>) -> Result<Quote, QuoteError> {
        let day = DayFields {
            open: None,
            high: number::price(self.high),
            low: number::price(self.low),
            close: number::price(self.price),
        };
        let price = day.settled()?.close;
        let as_of = number::instant(self.time).ok_or_else(|| unusable("an invalid time"))?;
        if as_of < now - DELISTED_AFTER {
            return Err(QuoteError::UnknownSymbol(asked.clone()));
        }
        let as_of = time_of_price(as_of, now)?.into();
        Ok(Quote {
            symbol: asked.clone(),
            price,
            bid: None,
            ask: None,
            previous_close: None,
            volume: number::whole(self.volume),
            as_of,
            source: PriceSource::from(SOURCE),
            freshness: Freshness::Delayed,
            stale: Freshness::Delayed.is_stale(as_of, now.into(), Calendar::Xnys),
        })
    }
}

/// Parses the sessions that have closed by `at`, oldest first, with splits and dividends. Days with invalid values are
/// skipped; a series without a valid day is an error. The answer is in the shares after all its splits; the result is
/// in the shares of each day.
pub(super) fn history(
    result: &Value,
    asked: &Symbol,
    at: Timestamp,
    now: DateTime<Utc>,
) -> Result<History, QuoteError> {
    check_instrument(&result["meta"], asked)?;
    let is_daily = result["meta"]["dataGranularity"].as_str() == Some("1d");
    let events = Events::from_result(result);
    let bars = if is_daily { bars(result, asked, &events, at, now)? } else { Vec::new() };
    let dividends = events.dividends(asked, now.into());
    Ok(History { bars, doubtful: None, splits: events.splits, dividends })
}

fn bars(
    result: &Value,
    asked: &Symbol,
    events: &Events<'_>,
    at: Timestamp,
    now: DateTime<Utc>,
) -> Result<Vec<Bar>, QuoteError> {
    let basis = events.basis(asked, now.into());
    let mut bars: BTreeMap<NaiveDate, (bool, Bar)> = BTreeMap::new();
    let mut refused = 0_usize;
    for day in days(result) {
        // A day without trades, or one whose close is not published yet.
        if day.close.is_null() {
            continue;
        }
        let Some(session) = past_session(day.date, now) else {
            refused += 1;
            continue;
        };
        // The last element of the current session does not start at its opening, and lacks trades.
        let is_live = day.starts_at != session.opens_at;
        if session.closes_at > at || (is_live && day.starts_at < session.closes_at) {
            continue;
        }
        match day.bar(&basis) {
            Ok(bar) => match bars.get(&day.date) {
                Some((false, _)) => {}
                Some((true, _)) | None => {
                    bars.insert(day.date, (is_live, bar));
                }
            },
            Err(reason) => {
                refused += 1;
                tracing::warn!(symbol = asked.as_str(), date = %day.date, %reason, "skipped an invalid daily bar");
            }
        }
    }
    if bars.is_empty() && refused > 0 {
        return Err(unusable("a series without a usable day"));
    }
    Ok(bars.into_values().map(|(_, bar)| bar).collect())
}

/// Name and exchange of the symbol; the chart does not contain the sector.
pub(super) fn listing(result: &Value, asked: &Symbol) -> Result<Listing, QuoteError> {
    let meta = &result["meta"];
    check_instrument(meta, asked)?;
    let text = |name: &str| meta[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let name = text("longName").or_else(|| text("shortName")).unwrap_or(asked.as_str());
    let is_fund = meta["instrumentType"] == "ETF";
    Ok(Listing {
        symbol: asked.clone(),
        company_name: name.to_owned(),
        exchange: text("fullExchangeName").unwrap_or_default().to_owned(),
        sector: if is_fund { "Fund" } else { "Other" }.to_owned(),
        currency: Currency::Usd,
    })
}

/// Checks that the chart is about the requested symbol, and about an instrument that is traded here. Some invalid
/// symbols have a chart without a price.
fn check_instrument(meta: &Value, asked: &Symbol) -> Result<(), QuoteError> {
    if !ticker::is_about(meta["symbol"].as_str().unwrap_or_default(), asked) {
        return Err(unusable("an answer about another symbol"));
    }
    if meta["instrumentType"] == "ECNQUOTE" || meta["regularMarketPrice"].is_null() {
        return Err(QuoteError::UnknownSymbol(asked.clone()));
    }
    check_tradable(asked, &meta["instrumentType"], &meta["currency"], &meta["exchangeTimezoneName"])
}

/// Checks that it is a stock or fund that trades in New York's hours and in dollars. Currencies are case-sensitive:
/// `GBp` means pence.
pub(super) fn check_tradable(
    asked: &Symbol,
    kind: &Value,
    currency: &Value,
    zone: &Value,
) -> Result<(), QuoteError> {
    let refuse = |reason| Err(QuoteError::NotTradable { symbol: asked.clone(), reason });
    if !matches!(kind.as_str(), Some("EQUITY" | "ETF")) {
        refuse(NO_STOCK)
    } else if currency.as_str() != Some(Currency::Usd.code()) {
        refuse(NOT_IN_DOLLARS)
    } else if zone.as_str().is_some_and(|zone| zone != NEW_YORK) {
        refuse(FOREIGN)
    } else {
        Ok(())
    }
}

/// One index of the parallel lists of a chart; any value may be missing.
struct Day<'a> {
    date: NaiveDate,
    starts_at: Timestamp,
    open: &'a Value,
    high: &'a Value,
    low: &'a Value,
    close: &'a Value,
    volume: &'a Value,
}

impl Day<'_> {
    fn bar(&self, basis: &Basis) -> Result<Bar, QuoteError> {
        if !basis.is_known(self.date) {
            return Err(unusable("a day before a split that cannot be read"));
        }
        let price = |value: &Value| -> Option<Price> {
            let exact = number::unrounded(value)?;
            number::rounded_price(&basis.on_day(exact, self.date))
        };
        let prices = DayFields {
            open: price(self.open),
            high: price(self.high),
            low: price(self.low),
            close: price(self.close),
        };
        let DayPrices { open, high, low, close } = prices.settled()?;
        // An invalid volume is unknown and stored as zero.
        let reported = TradedShares(number::whole(self.volume).unwrap_or(0));
        let TradedShares(volume) = basis.on_day(reported, self.date);
        Ok(Bar { date: self.date, open, high, low, close, volume })
    }
}

fn days(result: &Value) -> impl Iterator<Item = Day<'_>> {
    let prices = &result["indicators"]["quote"][0];
    let starts = result["timestamp"].as_array().map(Vec::as_slice).unwrap_or_default();
    starts.iter().enumerate().filter_map(move |(at, start)| {
        let starts_at = Timestamp::from(number::instant(start)?);
        Some(Day {
            date: exchange_date(starts_at),
            starts_at,
            open: &prices["open"][at],
            high: &prices["high"][at],
            low: &prices["low"][at],
            close: &prices["close"][at],
            volume: &prices["volume"][at],
        })
    })
}
