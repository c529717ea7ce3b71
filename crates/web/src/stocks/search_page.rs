//! The page that searches for stocks.

use actix_web::web::{Data, Query};
use domain::{Freshness, Symbol};
use serde::{Deserialize, Serialize};
use services::Error;

use crate::AppState;
use crate::http::extract::LoggedIn;
use crate::shell::format;
use crate::shell::format::Delta;
use crate::shell::layout::Nav;
use crate::shell::links::see_other;
use crate::shell::render::{PageResult, Shell};

#[derive(Debug, Default, Deserialize)]
pub struct StockSearch {
    #[serde(default)]
    search: String,
}

#[derive(Serialize)]
struct FoundView {
    query: String,
    found: String,
    unavailable: String,
    priced: bool,
    rows: Vec<FoundRow>,
}

#[derive(Serialize)]
struct FoundRow {
    symbol: Symbol,
    name: String,
    exchange: String,
    sector: String,
    price: String,
    percent: Option<Delta>,
}

const MAX_FOUND: usize = 30;

pub async fn search(
    shell: Shell,
    _: LoggedIn,
    asked: Query<StockSearch>,
    state: Data<AppState>,
) -> PageResult {
    let services = &state.services;
    let text = asked.search.trim();
    let (listings, unavailable) = match services.stocks().search_stocks(text, MAX_FOUND).await {
        Ok(listings) => (listings, String::new()),
        Err(error @ Error::SourceUnavailable { .. }) => (
            Vec::new(),
            format!(
                "{} A symbol can still be opened as /stocks/SYMBOL.",
                format::sentence(&error.to_string())
            ),
        ),
        Err(error) => return Err(error.into()),
    };
    // The user entered a complete symbol, or chose one of the suggestions.
    if let (Some(first), Ok(symbol)) = (listings.first(), text.parse::<Symbol>())
        && first.symbol == symbol
    {
        return Ok(see_other(format!("/stocks/{symbol}")));
    }
    // Prices are shown only if they cost no calls.
    let priced = services.market().freshness() == Freshness::Simulated;
    let mut rows = Vec::with_capacity(listings.len());
    for listing in listings {
        let quote = if priced { services.stocks().quote(&listing.symbol).await.ok() } else { None };
        rows.push(FoundRow {
            price: quote
                .as_ref()
                .map_or_else(|| format::UNKNOWN.to_owned(), |quote| format::price(&quote.price)),
            percent: quote.and_then(|quote| quote.change_ratio()).map(format::percent_gain),
            symbol: listing.symbol,
            name: listing.company_name,
            exchange: listing.exchange,
            sector: listing.sector,
        });
    }
    let view = FoundView {
        query: text.to_owned(),
        found: format::plural(rows.len(), "stock", "stocks"),
        unavailable,
        priced,
        rows,
    };
    let title = if text.is_empty() { "Find a stock".to_owned() } else { format!("Stocks for {text}") };
    shell.searching(text).show("stocks.html", Nav::Elsewhere, title, &view)
}
