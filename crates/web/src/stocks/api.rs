//! The API for one stock: its profile, price and history. All users may read it.

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::money::PriceChange;
use domain::plausibility;
use domain::{Bar as Session, BarInterval, HistoryRange, Price, Quote as Priced, Symbol, Timestamp};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::stocks::LatestQuote;
use services::stocks::stock_list::{TradableStock, TradingRestriction};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
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
    /// Whether orders in the stock are accepted.
    tradable: bool,
    /// Whether fractions of a share can be traded. True for every tradable stock.
    fractionable: bool,
    /// Why no orders are accepted; null for a tradable stock.
    #[schema(value_type = Option<enums::TradingRestriction>)]
    restriction: Option<&'static str>,
}

impl From<TradableStock> for Stock {
    fn from(TradableStock { listing, restriction }: TradableStock) -> Self {
        Self {
            symbol: listing.symbol,
            company_name: listing.company_name,
            exchange: listing.exchange,
            sector: listing.sector,
            currency: listing.currency.code(),
            tradable: restriction.is_none(),
            fractionable: restriction.is_none(),
            restriction: restriction.map(TradingRestriction::as_str),
        }
    }
}

/// A stock with its corporate actions.
#[derive(Serialize, ToSchema)]
#[schema(as = StockProfile)]
pub struct Profile {
    #[serde(flatten)]
    stock: Stock,
    /// The first day without trading, once the stock is delisted.
    delisted_on: Option<NaiveDate>,
    /// Why the stock was delisted; null if it is traded or if the price source announced the delisting.
    delisting_reason: Option<String>,
    /// Why orders in the stock currently do not fill; null if they do.
    hold_reason: Option<String>,
    /// The first session after the company's next quarterly results, which affect its price. Null for funds, and if the
    /// price source does not know it.
    next_results_on: Option<NaiveDate>,
    /// Splits, dividends, symbol changes and the delisting, past and announced, oldest first.
    corporate_actions: Vec<Action>,
}

#[derive(Serialize, ToSchema)]
pub struct Quote {
    symbol: Symbol,
    /// The last trade.
    price: Price,
    bid: Option<Price>,
    ask: Option<Price>,
    /// The close that `change` refers to: the one before the newest session, or the price itself if the stock has not
    /// traded since.
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
    /// Whether a newer price was due but not available.
    stale: bool,
    /// Why the price is stale. Only in responses to requests for quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_reason: Option<String>,
    /// A newer price that differs too much to be used before it is confirmed. Only in responses to requests for quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<UnconfirmedPrice>,
}

/// A price that its source reports and that is not used for orders, valuations or snapshots.
#[derive(Serialize, ToSchema)]
pub struct UnconfirmedPrice {
    price: Price,
    /// Market time of the price.
    as_of: Timestamp,
    /// When a similar price was first seen. Market time.
    first_seen_at: Timestamp,
    /// Why it is not used: `large_move` (more than 40 % from the last price), `unit_slip` (off by about a power of
    /// ten), `split_not_booked`, or `possible_split` (it may be per share after a split that is not known).
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

impl From<LatestQuote> for Quote {
    fn from(LatestQuote { quote, why_stale }: LatestQuote) -> Self {
        let unconfirmed = why_stale.as_ref().and_then(|why| why.unconfirmed()).map(UnconfirmedPrice::from);
        Self { stale_reason: why_stale.map(|why| why.to_string()), unconfirmed, ..Self::from(quote) }
    }
}

/// Reads the symbol in an address.
///
/// # Errors
/// 404 if it is not a valid symbol.
pub fn symbol(text: &str) -> Result<Symbol, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// Get a stock with its corporate actions.
///
/// A former symbol finds the stock that had it.
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
    let services = &state.services;
    let stock = services.instruments().stock_for(Some(user.account.id), &symbol(&path)?).await?;
    let today = exchange_date(services.market().now());
    let actions = services.stocks().corporate_actions(&stock.listing.symbol).await?;
    let hold = services.corporate_actions().trading_hold(&stock).await?;
    let delisting = services.corporate_actions().delisting_of(&stock).await?;
    let restriction = services.stocks().trading_restriction(&stock).await?;
    Ok(HttpResponse::Ok().json(Profile {
        hold_reason: hold.map(|hold| hold.to_string()),
        delisted_on: stock.delisted_on,
        next_results_on: state.services.market().next_results_on(&stock.listing.symbol),
        delisting_reason: delisting.and_then(|delisting| delisting.reason),
        stock: TradableStock { listing: Arc::unwrap_or_clone(stock.listing), restriction }.into(),
        corporate_actions: actions.iter().map(|action| Action::from_action(action, today)).collect(),
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
    Ok(HttpResponse::Ok().json(Quote::from(latest)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// Default: `1Y`.
    #[param(value_type = Option<enums::HistoryRange>)]
    range: Option<String>,
    /// Default: `1d`.
    #[param(value_type = Option<enums::HistoryInterval>)]
    interval: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Bar {
    /// The session; for a week or a month its first session with a price.
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

/// The bars of a range, and how much of the range they cover.
#[derive(Serialize, ToSchema)]
pub struct PriceHistory {
    /// Oldest first.
    items: Vec<Bar>,
    /// Always null: all bars of the range are in one response.
    next_cursor: Option<String>,
    /// The first day of the requested range; null for `ALL`.
    range_start: Option<NaiveDate>,
    /// The first session with a bar; null if there is none.
    first_on: Option<NaiveDate>,
    /// Whether the bars begin with the range. False if the source has no older ones (a free key may give only 100
    /// sessions) or if the stock is younger. Up to four missing sessions at the beginning do not count. Always true for
    /// `ALL`.
    is_covered: bool,
    /// Whether the last bar is final. False during the last bar's week or month: the bar covers the finished sessions
    /// and changes with the next one. Always true for `1d`.
    is_last_complete: bool,
}

/// Get the prices of a stock, oldest first.
///
/// Returns bars of finished sessions in today's shares: prices before a split are divided by its ratio. They are not
/// adjusted for dividends. A weekly bar covers the sessions from Monday to Sunday, a monthly bar those of a calendar
/// month, by the exchange's days: the open of the first session, the highest high, the lowest low, the close of the
/// last session and the sum of the volumes. The range is extended back to the beginning of its first week or month.
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
    let interval = BarInterval::parse(wanted.interval.as_deref().unwrap_or("1d"))
        .ok_or_else(|| refused("interval", "must be 1d, 1w or 1mo"))?;
    let found =
        state.services.stocks().history_by(Some(user.account.id), &symbol(&path)?, range, interval).await?;
    let coverage = found.coverage;
    let history = PriceHistory {
        items: found.bars.into_iter().map(Bar::from).collect(),
        next_cursor: None,
        range_start: coverage.range_start,
        first_on: coverage.first_on,
        is_covered: coverage.is_covered,
        is_last_complete: found.is_last_complete,
    };
    etag::private(&request, &history)
}
