//! Searches for stocks and funds on exchanges of the United States.

use domain::{Currency, Listing, Symbol};
use serde_json::Value;

use super::ticker;
use crate::QuoteError;
use crate::plausible::unusable;
use crate::source::{FOREIGN, NO_STOCK};

/// The codes of exchanges in the United States: Nasdaq's three tiers, New York, American, Arca, Bats, and the
/// over-the-counter markets. All trade in dollars.
const IN_THE_UNITED_STATES: [&str; 12] =
    ["NMS", "NGM", "NCM", "NYQ", "ASE", "PCX", "BTS", "OQB", "OQX", "PNK", "OEM", "OBB"];

/// Parses a search: tradable instruments, in the provider's order.
pub(super) fn listings(answer: &Value) -> Result<Vec<Listing>, QuoteError> {
    Ok(entries(answer)?.iter().filter_map(|entry| listing(entry).ok()).collect())
}

/// Returns the entry with exactly this symbol, if there is one.
///
/// # Errors
/// [`QuoteError::NotTradable`] if it is not traded here.
pub(super) fn exact_match(answer: &Value, asked: &Symbol) -> Result<Option<Listing>, QuoteError> {
    let is_it = |entry: &&Value| ticker::is_about(entry["symbol"].as_str().unwrap_or_default(), asked);
    let Some(entry) = entries(answer)?.iter().find(is_it) else { return Ok(None) };
    match listing(entry) {
        Ok(listing) => Ok(Some(listing)),
        Err(reason) => Err(QuoteError::NotTradable { symbol: asked.clone(), reason }),
    }
}

fn entries(answer: &Value) -> Result<&Vec<Value>, QuoteError> {
    answer["quotes"].as_array().ok_or_else(|| unusable("an answer without search results"))
}

/// Converts an entry to a listing.
///
/// # Errors
/// The reason why the instrument is not traded here.
fn listing(entry: &Value) -> Result<Listing, &'static str> {
    let text = |name: &str| entry[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let sector = match text("quoteType") {
        Some("EQUITY") => text("sector").unwrap_or("Other"),
        Some("ETF") => "Fund",
        _ => return Err(NO_STOCK),
    };
    if !text("exchange").is_some_and(|exchange| IN_THE_UNITED_STATES.contains(&exchange)) {
        return Err(FOREIGN);
    }
    let symbol = text("symbol").and_then(ticker::symbol_of).ok_or("its symbol has an unknown form")?;
    Ok(Listing {
        company_name: text("longname").or_else(|| text("shortname")).unwrap_or(symbol.as_str()).to_owned(),
        exchange: text("exchDisp").unwrap_or_default().to_owned(),
        sector: sector.to_owned(),
        currency: Currency::Usd,
        symbol,
    })
}
