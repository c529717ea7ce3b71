//! Stocks and their symbols.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;
use thiserror::Error;

use crate::{Freshness, Price, StockId, Timestamp};

/// A ticker in canonical form: upper case, 1 to 12 of `A–Z 0–9 . -`, with a dot before the share class (`BRK.B`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
pub struct Symbol(SmolStr);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a symbol has 1 to 12 letters, digits, dots or hyphens, like AAPL or BRK.B")]
pub struct MalformedSymbol;

impl Symbol {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Symbol {
    type Err = MalformedSymbol;

    /// Accepts lower case and surrounding spaces.
    fn from_str(text: &str) -> Result<Self, MalformedSymbol> {
        let symbol = text.trim().to_ascii_uppercase();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        let well_formed = (1..=12).contains(&symbol.len())
            && symbol.bytes().all(allowed)
            && symbol.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed { Ok(Self(symbol.into())) } else { Err(MalformedSymbol) }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The currency by its ISO 4217 code. Only US dollars are traded; quotes in other currencies are rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Currency {
    #[default]
    #[serde(rename = "USD")]
    Usd,
}

impl Currency {
    pub fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
        }
    }
}

/// What a price source reports about a stock, except its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    pub symbol: Symbol,
    pub company_name: String,
    /// The exchange's name as the source spells it: `NASDAQ`, `NYSE`, `NYSE ARCA`; empty if unknown.
    pub exchange: String,
    /// Such as `Technology` or `Fund`; `Other` if unknown.
    pub sector: String,
    pub currency: Currency,
}

/// A stock in the database, with its last price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    pub id: StockId,
    pub listing: Arc<Listing>,
    pub last: Option<LastPrice>,
    /// The first day without trading; set only once that day has come.
    pub delisted_on: Option<NaiveDate>,
}

/// The newest stored price, shown by pages while the source does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastPrice {
    pub price: Price,
    pub previous_close: Option<Price>,
    /// Market time of the price, not the time it was fetched.
    pub as_of: Timestamp,
    pub source: String,
    pub freshness: Freshness,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_converted_to_upper_case_and_checked() {
        assert_eq!(" brk.b ".parse::<Symbol>().unwrap().as_str(), "BRK.B");
        for bad in ["", " ", "A B", "A/B", "-A", ".A", "ABCDEFGHIJKLM", "ÄÖ", "A'--"] {
            assert_eq!(bad.parse::<Symbol>(), Err(MalformedSymbol), "{bad}");
        }
    }
}
