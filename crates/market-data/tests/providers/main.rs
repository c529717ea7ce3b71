//! The clients of real providers, and the gateway in front of them, against stand-ins with recorded and invented
//! answers.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic like the tests")]

mod alpha_vantage;
mod alpha_vantage_data;
mod bodies;
mod limits;
mod unconfirmed;
mod yahoo;
mod yahoo_splits;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{AsTraded, Bar, Price, Quote, Symbol, Timestamp};
use market_data::{Gateway, Payer, Purpose, QuoteError, QuoteSource};
use serde_json::Value;

/// A payer that allows all calls.
static FREE: Payer = Payer::unlimited();

/// Quotes of a source by symbol.
trait SourceQuotes: QuoteSource {
    async fn quotes_by_symbol(
        &self,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> HashMap<Symbol, Result<Quote, QuoteError>> {
        let quotes = self.quotes(symbols, at, &FREE).await;
        assert_eq!(quotes.len(), symbols.len());
        symbols.iter().cloned().zip(quotes).collect()
    }

    async fn daily_bars(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>, QuoteError> {
        Ok(self.daily_series(symbol, first, last, at, &FREE).await?.bars)
    }
}

impl<T: QuoteSource + ?Sized> SourceQuotes for T {}

/// Quotes of a gateway by symbol.
trait GatewayQuotes {
    async fn quotes_by_symbol(
        &self,
        purpose: Purpose,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> HashMap<Symbol, Result<AsTraded<Quote>, QuoteError>>;
}

impl GatewayQuotes for Gateway {
    async fn quotes_by_symbol(
        &self,
        purpose: Purpose,
        symbols: &[Symbol],
        at: Timestamp,
    ) -> HashMap<Symbol, Result<AsTraded<Quote>, QuoteError>> {
        symbols.iter().cloned().zip(self.quotes(purpose, symbols, at).await).collect()
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    Price::from_provider(text).unwrap()
}

fn text_of(provider: &str, file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    std::fs::read_to_string(format!("{folder}/{provider}/{file}")).unwrap()
}

fn recorded(provider: &str, file: &str) -> Value {
    serde_json::from_str(&text_of(provider, file)).unwrap()
}

/// The description of a recorded answer in the index.
fn described(provider: &str, id: &str) -> Value {
    let index = recorded(provider, "index.json");
    index["cases"].as_array().unwrap().iter().find(|case| case["id"] == id).unwrap().clone()
}

fn said(expected: &Value, field: &str) -> String {
    expected[field].as_str().unwrap().to_owned()
}
