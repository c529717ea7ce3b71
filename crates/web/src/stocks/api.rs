//! Finding stocks, their prices and histories. Open to everybody who is logged in.

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use domain::HistoryRange;
use domain::calendar::exchange_date;
use domain::money::PriceChange;
use domain::plausibility;
use domain::{Bar as Session, Listing, Price, Quote as Priced, Symbol, Timestamp};
use serde::{Deserialize, Serialize};
use services::FieldError;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::api::{Items, limit};
use crate::http::etag;
use crate::http::extract::CurrentUser;
use crate::http::input::Query;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::stocks::corporate_actions::Action;

#[derive(Serialize, ToSchema)]
pub struct Stock {
    symbol: Symbol,
    company_name: String,
    exchange: String,
    sector: String,
    currency: &'static str,
}

impl From<Listing> for Stock {
    fn from(listing: Listing) -> Self {
        Self {
            symbol: listing.symbol,
            company_name: listing.company_name,
            exchange: listing.exchange,
            sector: listing.sector,
            currency: listing.currency.code(),
        }
    }
}

/// A stock with what happens to it.
#[derive(Serialize, ToSchema)]
#[schema(as = StockProfile)]
pub struct Profile {
    #[serde(flatten)]
    stock: Stock,
    /// The first day on which it is traded no more, once that has come.
    delisted_on: Option<NaiveDate>,
    /// Why it was delisted; null while it is traded, and where the price source announced it.
    delisting_reason: Option<String>,
    /// Why orders in the stock do not fill for the time being; null when it trades.
    hold_reason: Option<String>,
    /// The next session that opens after the company has published quarterly results, which move its price; null where
    /// the price source does not know, and for funds.
    next_results_on: Option<NaiveDate>,
    /// Splits, dividends, new symbols and the end of the listing, past and announced, oldest first.
    corporate_actions: Vec<Action>,
}

#[derive(Serialize, ToSchema)]
pub struct Quote {
    symbol: Symbol,
    /// The last trade.
    price: Price,
    bid: Option<Price>,
    ask: Option<Price>,
    /// The close from which `change` counts: the one before the newest session, or the price itself when the stock has not traded
    /// since.
    previous_close: Option<Price>,
    /// Price − previous close.
    change: Option<PriceChange>,
    /// In percent: 1.25 is +1.25 %.
    change_percent: Option<f64>,
    /// Shares traded in the session so far.
    volume: Option<u64>,
    /// Market time of the price.
    as_of: Timestamp,
    /// `simulated/sim-v2`, `alpha_vantage`, …
    source: String,
    #[schema(value_type = enums::Freshness)]
    freshness: &'static str,
    /// No newer price could be had although one was due.
    stale: bool,
    /// Why not, where one price was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_reason: Option<String>,
    /// A newer price that is too far from this one to be used before it is confirmed, where one price was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<UnconfirmedPrice>,
}

/// A price that its source tells and that is used for nothing: not for orders, valuations or snapshots.
#[derive(Serialize, ToSchema)]
pub struct UnconfirmedPrice {
    price: Price,
    /// Market time of the price.
    as_of: Timestamp,
    /// When a price like it was first seen. Market time.
    first_seen_at: Timestamp,
    /// Why it is not used: `large_move` (more than 40 % from the last price), `unit_slip` (about a power of ten from it),
    /// `split_not_booked`, or `possible_split` (it may be in other shares than the last price).
    #[schema(value_type = enums::PriceDoubt)]
    reason: &'static str,
}

impl From<&plausibility::UnconfirmedPrice> for UnconfirmedPrice {
    fn from(unconfirmed: &plausibility::UnconfirmedPrice) -> Self {
        Self {
            price: unconfirmed.price.clone(),
            as_of: unconfirmed.as_of,
            first_seen_at: unconfirmed.first_seen_at,
            reason: unconfirmed.doubt.as_str(),
        }
    }
}

impl From<Priced> for Quote {
    fn from(quote: Priced) -> Self {
        Self {
            change: quote.change(),
            change_percent: quote.change_ratio().map(|ratio| ratio * 100.0),
            symbol: quote.symbol,
            price: quote.price,
            bid: quote.bid,
            ask: quote.ask,
            previous_close: quote.previous_close,
            volume: quote.volume,
            as_of: quote.as_of,
            source: quote.source.to_string(),
            freshness: quote.freshness.as_str(),
            stale: quote.stale,
            stale_reason: None,
            unconfirmed: None,
        }
    }
}

/// A symbol of an address; one that cannot be is simply not found.
pub fn symbol(text: &str) -> Result<Symbol, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// The beginning of a symbol or of a word of the company's name, from one character.
    search: String,
    /// How many items a page has.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
}

/// Find stocks by symbol or company name.
///
/// The best match comes first.
#[utoipa::path(
    get, path = "/api/v1/stocks", tag = "stocks", operation_id = "searchStocks",
    params(Search),
    responses((status = 200, description = "The stocks found", body = Items<Stock>)),
    extensions(("x-problem-codes" = json!(["source_unavailable"]))),
)]
pub async fn search(
    _: CurrentUser,
    query: Query<Search>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let found = state.services.stocks().search_stocks(&query.search, limit(query.limit.as_deref())?).await?;
    Ok(HttpResponse::Ok().json(Items::all(found.into_iter().map(Stock::from).collect())))
}

/// Get a stock with its corporate actions.
///
/// A former symbol leads to the stock that had it.
#[utoipa::path(
    get, path = "/api/v1/stocks/{symbol}", tag = "stocks", operation_id = "getStock",
    params(("symbol" = Symbol, Path)),
    responses((status = 200, description = "The stock", body = Profile)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "source_unavailable"]))),
)]
pub async fn show(
    user: CurrentUser,
    path: Path<String>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stock = state.services.instruments().stock_for(Some(user.account.id), &symbol(&path)?).await?;
    let today = exchange_date(state.services.market().now());
    let actions = state.services.stocks().corporate_actions(&stock.listing.symbol).await?;
    let hold = state.services.corporate_actions().trading_hold(&stock).await?;
    let delisting = state.services.corporate_actions().delisting_of(&stock).await?;
    Ok(HttpResponse::Ok().json(Profile {
        hold_reason: hold.map(|hold| hold.to_string()),
        delisted_on: stock.delisted_on,
        next_results_on: state.services.market().next_results_on(&stock.listing.symbol),
        delisting_reason: delisting.and_then(|delisting| delisting.reason),
        stock: Stock::from(Arc::unwrap_or_clone(stock.listing)),
        corporate_actions: actions.iter().map(|action| Action::of(action, today)).collect(),
    }))
}

/// Get the newest price of a stock.
#[utoipa::path(
    get, path = "/api/v1/stocks/{symbol}/quote", tag = "stocks", operation_id = "getQuote",
    params(("symbol" = Symbol, Path)),
    responses((status = 200, description = "The quote", body = Quote)),
    extensions(("x-problem-codes" = json!([
        "unknown_symbol", "source_unavailable", "no_price", "price_unconfirmed"
    ]))),
)]
pub async fn quote(
    user: CurrentUser,
    path: Path<String>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let latest = state.services.stocks().quote_for(Some(user.account.id), &symbol(&path)?).await?;
    let unconfirmed = latest.why_stale.as_ref().and_then(|why| why.unconfirmed()).map(UnconfirmedPrice::from);
    let stale_reason = latest.why_stale.map(|why| why.to_string());
    Ok(HttpResponse::Ok().json(Quote { stale_reason, unconfirmed, ..Quote::from(latest.quote) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// `1Y` unless said otherwise.
    #[param(value_type = Option<enums::HistoryRange>)]
    range: Option<String>,
    #[param(value_type = Option<enums::HistoryInterval>)]
    interval: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Bar {
    date: NaiveDate,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: u64,
}

impl From<Session> for Bar {
    fn from(bar: Session) -> Self {
        Self {
            date: bar.date,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
        }
    }
}

/// Bars of a range, and how much of it there is.
#[derive(Serialize, ToSchema)]
pub struct PriceHistory {
    /// Oldest first.
    items: Vec<Bar>,
    /// Always null: all bars of the range are in one answer.
    next_cursor: Option<String>,
    /// The first day of the asked range; null for `ALL`.
    range_start: Option<NaiveDate>,
    /// The first session that there is a bar for; null when there is none.
    first_on: Option<NaiveDate>,
    /// Whether bars begin with the range. False when the source has no more, as a free key of a provider that has 100 sessions,
    /// or when the stock is younger; up to four sessions without a bar at the beginning do not count. Always true for `ALL`.
    is_covered: bool,
}

/// Get daily prices of a stock, oldest first.
///
/// Bars of finished sessions in today's shares: prices before a split are divided by it. Dividends are not taken
/// out.
#[utoipa::path(
    get, path = "/api/v1/stocks/{symbol}/history", tag = "stocks", operation_id = "getPriceHistory",
    params(("symbol" = Symbol, Path), History, ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, description = "The bars of the range", body = PriceHistory)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "source_unavailable", "no_price"]))),
)]
pub async fn history(
    request: HttpRequest,
    user: CurrentUser,
    path: Path<String>,
    wanted: Query<History>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let refused = |field, message: &str| Problem::invalid(vec![FieldError::new(field, message)]);
    let range = HistoryRange::parse(wanted.range.as_deref().unwrap_or("1Y"))
        .ok_or_else(|| refused("range", "must be 1W, 1M, 3M, YTD, 1Y, 5Y or ALL"))?;
    if wanted.interval.as_deref().is_some_and(|interval| interval != "1d") {
        return Err(refused("interval", "must be 1d"));
    }
    let (bars, coverage) =
        state.services.stocks().covered_history(Some(user.account.id), &symbol(&path)?, range).await?;
    let history = PriceHistory {
        items: bars.into_iter().map(Bar::from).collect(),
        next_cursor: None,
        range_start: coverage.range_start,
        first_on: coverage.first_on,
        is_covered: coverage.is_covered,
    };
    etag::private(&request, &history)
}
