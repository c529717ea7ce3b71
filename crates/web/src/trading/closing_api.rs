//! The API for canceling all orders of a portfolio and for closing positions.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use domain::{DecimalText, OrderSize, Percent, PortfolioId, Symbol};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::trading::closing::{self, CloseAllPositions, ClosePosition};
use services::{Error, Fields, NotFound};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::api::{Items, parse};
use crate::http::extract::CurrentUser;
use crate::http::input::Query;
use crate::http::problem::Problem;
use crate::openapi::{enums, problems};
use crate::portfolios::valuation_api::no_position;
use crate::trading::api::created;
use crate::trading::api::with_key;
use crate::trading::order_json::Order;

/// Selects the open orders to cancel.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersToCancel {
    /// Only orders in this stock.
    #[param(value_type = Option<Symbol>)]
    symbol: Option<String>,
}

/// The result of canceling one order.
#[derive(Serialize, ToSchema)]
pub struct CancelAttempt {
    #[schema(value_type = enums::CancelOutcome)]
    outcome: &'static str,
    /// The order after the attempt.
    order: Order,
    /// Why the order was not canceled.
    #[schema(value_type = Option<problems::Problem>)]
    problem: Option<Value>,
}

impl From<closing::CancelAttempt> for CancelAttempt {
    fn from(closing::CancelAttempt { order, failure }: closing::CancelAttempt) -> Self {
        let outcome = match &failure {
            None => "canceled",
            Some(Error::OrderNotOpen { .. }) => "ended",
            Some(_) => "failed",
        };
        let problem = failure.map(|error| Problem::from(error).body());
        Self { outcome, order: Order::from(order).without_legs(), problem }
    }
}

/// Cancel all open orders.
///
/// Lists every order that was open when the request arrived, oldest first, each with its result. If one order cannot be
/// canceled, the others still are. Legs are listed as orders of their own. Repeating the request cancels the orders
/// that are open by then.
#[utoipa::path(
    delete, path = "/api/v1/portfolios/{id}/orders", tag = "orders", operation_id = "cancelAllOrders",
    params(("id" = i64, Path), OrdersToCancel),
    responses((status = 200, description = "The orders, each with its result", body = Items<CancelAttempt>)),
    extensions(("x-problem-codes" = json!(["busy", "portfolio_archived"]))),
)]
pub async fn cancel_all(
    user: CurrentUser,
    id: Path<i64>,
    wanted: Query<OrdersToCancel>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let symbol = parse("symbol", wanted.symbol.as_deref(), "must be a symbol, like AAPL")?;
    let attempts =
        state.services.trading().cancel_orders(user.trader()?.portfolio(PortfolioId(*id)), symbol).await?;
    Ok(HttpResponse::Ok().json(Items::all(attempts.into_iter().map(CancelAttempt::from).collect())))
}

/// How much of a position to sell. Default: all of it.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PartToSell {
    /// Shares, up to nine decimals.
    #[param(value_type = Option<DecimalText>)]
    quantity: Option<String>,
    /// Percentage of the shares held, above 0 and at most 100, with up to four decimals. The result is rounded down to
    /// nine decimals of a share.
    #[param(value_type = Option<DecimalText>)]
    percentage: Option<String>,
    /// `true`: cancel the open orders in the stock first, both buys and sells. If the position cannot be closed, they
    /// stay open.
    #[param(value_type = Option<bool>, default = false)]
    cancel_orders: Option<String>,
}

fn flag(field: &'static str, text: Option<&str>) -> Result<bool, Problem> {
    Ok(parse(field, text, "must be true or false")?.unwrap_or(false))
}

impl PartToSell {
    fn size(&self) -> Result<OrderSize, Problem> {
        let mut reader = Fields::default();
        match (&self.quantity, &self.percentage) {
            (None, None) => return Ok(OrderSize::OfPosition(Percent::hundred())),
            (Some(quantity), None) => match quantity.parse() {
                Ok(quantity) => return Ok(OrderSize::Quantity(quantity)),
                Err(error) => reader.refuse("quantity", error.to_string()),
            },
            (None, Some(percentage)) => match percentage.parse() {
                Ok(percent) => return Ok(OrderSize::OfPosition(percent)),
                Err(error) => reader.refuse("percentage", error.to_string()),
            },
            (Some(_), Some(_)) => reader.refuse("percentage", "send quantity or percentage, not both"),
        }
        Ok(reader.finish(None)?)
    }
}

/// The problem of a position that cannot be closed, with advice about reserved shares.
fn not_closed(symbol: &str, error: Error) -> Problem {
    match error {
        Error::NotFound(NotFound::Position) => no_position(symbol),
        Error::SharesReserved { ref symbol, ref required, ref available } => {
            let detail = format!(
                "Open orders reserve shares of {symbol}: {required} are to be sold and {available} are free. Cancel these \
                 orders first, or send cancel_orders=true."
            );
            Problem::from(error).with_detail(detail)
        }
        error => error.into(),
    }
}

/// Close a position.
///
/// Sells the position, in full or in part, with a market order. The number of shares is determined when the order is
/// placed, so nothing remains of a position that is sold in full. Shares that open orders reserve cannot be sold:
/// cancel these orders first, or send `cancel_orders=true`.
#[utoipa::path(
    delete, path = "/api/v1/portfolios/{id}/positions/{symbol}", tag = "portfolios", operation_id = "closePosition",
    params(("id" = i64, Path), ("symbol" = Symbol, Path), PartToSell, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, description = "The order that sells the shares", body = Order)),
    extensions(("x-problem-codes" = json!([
        "trading_halted", "portfolio_archived", "client_order_id_reused", "insufficient_buying_power",
        "insufficient_shares", "shares_reserved", "not_tradable", "unknown_symbol", "order_too_small", "order_too_large", "no_fresh_price", "busy", "no_price",
        "price_unconfirmed", "clock_behind", "source_unavailable"
    ]))),
)]
pub async fn close_position(
    request: HttpRequest,
    user: CurrentUser,
    path: Path<(i64, String)>,
    part: Query<PartToSell>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (portfolio, text) = path.into_inner();
    let mut client_order_id = None;
    with_key(&request, &mut client_order_id)?;
    let (size, cancel_orders) = (part.size()?, flag("cancel_orders", part.cancel_orders.as_deref())?);
    let symbol = text.parse().map_err(|_| Problem::not_found())?;
    let close = ClosePosition { symbol, size, cancel_orders, client_order_id };
    let placed = state
        .services
        .trading()
        .close_position(user.trader()?.portfolio(PortfolioId(portfolio)), close)
        .await;
    Ok(created(portfolio, placed.map_err(|error| not_closed(&text, error))?))
}

/// Whether to cancel open orders first.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersToo {
    /// `true`: cancel the open orders of the portfolio first. Orders in a position that cannot be closed stay open.
    #[param(value_type = Option<bool>, default = false)]
    cancel_orders: Option<String>,
}

/// The result of closing one position.
#[derive(Serialize, ToSchema)]
pub struct CloseAttempt {
    symbol: Symbol,
    /// The order that sells the shares.
    order: Option<Order>,
    /// Why no order was placed.
    #[schema(value_type = Option<problems::Problem>)]
    problem: Option<Value>,
}

impl From<closing::CloseAttempt> for CloseAttempt {
    fn from(closing::CloseAttempt { symbol, outcome }: closing::CloseAttempt) -> Self {
        match outcome {
            Ok(placed) => Self { symbol, order: Some(placed.order.into()), problem: None },
            Err(error) => {
                let problem = not_closed(symbol.as_str(), error).body();
                Self { symbol, order: None, problem: Some(problem) }
            }
        }
    }
}

/// Close all positions.
///
/// Sells every position in full with market orders and lists the results by symbol. If one position cannot be closed,
/// the others still are. The `client_order_id` of each order is the `Idempotency-Key`, a dash and the symbol. Repeating
/// the request with the same key returns the orders that were placed and places no new ones: use a new key for
/// positions that were not closed.
#[utoipa::path(
    delete, path = "/api/v1/portfolios/{id}/positions", tag = "portfolios", operation_id = "closeAllPositions",
    params(("id" = i64, Path), OrdersToo, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, description = "The positions, each with its result", body = Items<CloseAttempt>)),
    extensions(("x-problem-codes" = json!(["portfolio_archived", "busy"]))),
)]
pub async fn close_all_positions(
    request: HttpRequest,
    user: CurrentUser,
    id: Path<i64>,
    wanted: Query<OrdersToo>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut key = None;
    with_key(&request, &mut key)?;
    let close =
        CloseAllPositions { cancel_orders: flag("cancel_orders", wanted.cancel_orders.as_deref())?, key };
    let closed = state
        .services
        .trading()
        .close_all_positions(user.trader()?.portfolio(PortfolioId(*id)), close)
        .await?;
    let mut response = HttpResponse::Ok();
    if closed.replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(Items::all(closed.value.into_iter().map(CloseAttempt::from).collect())))
}
