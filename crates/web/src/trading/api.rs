//! The API that places, changes, cancels and returns orders.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use domain::{DecimalText, OrderId, PlaceOrder, PortfolioId, Symbol};
use serde::Deserialize;
use services::Fields;
use services::trading::PlacedOrder;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::trading::order_fields::{OrderFields, ReplaceFields};
use crate::trading::order_json::Order;
use crate::trading::words::api as words;

/// The exit that takes a profit.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeProfit {
    pub limit_price: DecimalText,
}

/// The exit that limits a loss: a stop order, or with `limit_price` a stop limit order.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopLoss {
    pub stop_price: DecimalText,
    pub limit_price: Option<DecimalText>,
}

/// A new order. Either `quantity` or `notional` is required.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    #[schema(value_type = Symbol)]
    pub symbol: String,
    #[schema(value_type = enums::Side)]
    pub side: String,
    /// Shares, with up to nine decimals.
    pub quantity: Option<DecimalText>,
    /// The amount of money to spend or to receive. It is converted to shares at the price of the fill, rounded down.
    /// Only for market and limit orders.
    pub notional: Option<DecimalText>,
    #[schema(value_type = enums::OrderType)]
    pub r#type: String,
    /// Default: `day`.
    #[schema(value_type = Option<enums::TimeInForce>)]
    pub time_in_force: Option<String>,
    /// Only for `limit` and `stop_limit`: the worst price.
    pub limit_price: Option<DecimalText>,
    /// Only for `stop` and `stop_limit`: the price that triggers the order.
    pub stop_price: Option<DecimalText>,
    /// Only for `trailing_stop`: how far the stop stays behind the best price, per share. Send this or `trail_percent`.
    pub trail_price: Option<DecimalText>,
    pub trail_percent: Option<DecimalText>,
    /// Default: `simple`.
    #[schema(value_type = Option<enums::OrderClass>)]
    pub order_class: Option<String>,
    pub take_profit: Option<TakeProfit>,
    pub stop_loss: Option<StopLoss>,
    /// Your name for the order, unique in the portfolio: 1 to 128 characters. Sending the same order again with the
    /// same name returns the first order. The header `Idempotency-Key` has the same effect.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    pub client_order_id: Option<String>,
}

fn text(decimal: Option<&DecimalText>) -> Option<&str> {
    decimal.map(|decimal| decimal.0.as_str())
}

impl NewOrder {
    /// # Errors
    /// All problems of the fields.
    pub fn read(&self) -> Result<PlaceOrder, Problem> {
        let stop_loss = self.stop_loss.as_ref();
        OrderFields {
            symbol: &self.symbol,
            side: &self.side,
            order_type: &self.r#type,
            quantity: text(self.quantity.as_ref()),
            notional: text(self.notional.as_ref()),
            time_in_force: self.time_in_force.as_deref(),
            limit_price: text(self.limit_price.as_ref()),
            stop_price: text(self.stop_price.as_ref()),
            trail_price: text(self.trail_price.as_ref()),
            trail_percent: text(self.trail_percent.as_ref()),
            order_class: self.order_class.as_deref(),
            take_profit: self.take_profit.as_ref().map(|exit| exit.limit_price.0.as_str()),
            stop_loss: stop_loss.map(|exit| exit.stop_price.0.as_str()),
            stop_loss_limit: stop_loss.and_then(|exit| text(exit.limit_price.as_ref())),
            client_order_id: self.client_order_id.as_deref(),
            sells_all: false,
        }
        .read()
        .map_err(|fields| words::unread(&fields))
    }
}

/// Changes to an order. A field that is left out keeps its value.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderChanges {
    /// The quantity that is still to be filled.
    pub quantity: Option<DecimalText>,
    pub limit_price: Option<DecimalText>,
    pub stop_price: Option<DecimalText>,
    pub trail_price: Option<DecimalText>,
    pub trail_percent: Option<DecimalText>,
    #[schema(value_type = Option<enums::TimeInForce>)]
    pub time_in_force: Option<String>,
    /// Your name for the new order: 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    pub client_order_id: Option<String>,
}

impl OrderChanges {
    pub(super) fn read(&self) -> Result<domain::ReplaceOrder, Problem> {
        ReplaceFields {
            quantity: text(self.quantity.as_ref()),
            limit_price: text(self.limit_price.as_ref()),
            stop_price: text(self.stop_price.as_ref()),
            trail_price: text(self.trail_price.as_ref()),
            trail_percent: text(self.trail_percent.as_ref()),
            time_in_force: self.time_in_force.as_deref(),
            client_order_id: self.client_order_id.as_deref(),
        }
        .read()
        .map_err(|fields| words::unread(&fields))
    }
}

/// Takes `client_order_id` from the header `Idempotency-Key`, if the header was sent.
///
/// # Errors
/// 422 if both are sent and differ.
pub fn with_key(request: &HttpRequest, client_order_id: &mut Option<String>) -> Result<(), Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(()) };
    let key = key.to_str().unwrap_or_default().to_owned();
    match client_order_id {
        Some(id) if *id != key => {
            let mut reader = Fields::default();
            reader.refuse("client_order_id", "differs from the header Idempotency-Key: send one of them");
            Ok(reader.finish(None)?)
        }
        _ => {
            *client_order_id = Some(key);
            Ok(())
        }
    }
}

pub fn created(portfolio: i64, placed: PlacedOrder) -> HttpResponse {
    let location = format!("/api/v1/portfolios/{portfolio}/orders/{}", placed.order.order.id);
    let mut response = HttpResponse::Created();
    response.insert_header(("Location", location));
    if placed.replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    response.json(Order::from(placed.order))
}

/// Place an order.
///
/// Sending the same order again with the same `client_order_id` does not place it twice: the response is the
/// first order, with `Idempotent-Replayed: true`.
#[utoipa::path(
    post, path = "/api/v1/portfolios/{id}/orders", tag = "orders", operation_id = "placeOrder",
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewOrder,
    responses((status = 201, description = "The order as placed", body = Order)),
    extensions(("x-problem-codes" = json!([
        "trading_halted", "portfolio_archived", "client_order_id_reused", "insufficient_buying_power",
        "insufficient_shares", "not_tradable", "unknown_symbol", "order_too_small", "order_too_large",
        "no_fresh_price", "trail_too_wide", "busy", "no_price", "price_unconfirmed", "clock_behind",
        "source_unavailable"
    ]))),
)]
pub async fn place(
    request: HttpRequest,
    user: CurrentUser,
    id: Path<i64>,
    body: Json<NewOrder>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut order = body.into_inner();
    with_key(&request, &mut order.client_order_id)?;
    let placed = state
        .services
        .trading()
        .place_order(user.trader()?.portfolio(PortfolioId(*id)), order.read()?)
        .await?;
    Ok(created(*id, placed))
}

/// Change an open order.
///
/// The order is replaced by a new one with the changes of the body. The status of the old one is `replaced`.
#[utoipa::path(
    patch, path = "/api/v1/portfolios/{id}/orders/{order_id}", tag = "orders", operation_id = "replaceOrder",
    params(("id" = i64, Path), ("order_id" = String, Path, format = "uuid"), ("Idempotency-Key" = Option<String>, Header)),
    request_body = OrderChanges,
    responses((status = 201, description = "The new order", body = Order)),
    extensions(("x-problem-codes" = json!([
        "trading_halted", "portfolio_archived", "client_order_id_reused", "insufficient_buying_power",
        "insufficient_shares", "not_tradable", "unknown_symbol", "order_too_small", "order_too_large",
        "no_fresh_price", "trail_too_wide", "busy", "no_price", "price_unconfirmed", "clock_behind",
        "source_unavailable", "order_not_open"
    ]))),
)]
pub async fn replace(
    request: HttpRequest,
    user: CurrentUser,
    path: Path<(i64, Uuid)>,
    body: Json<OrderChanges>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (portfolio, order) = path.into_inner();
    let mut changes = body.into_inner();
    with_key(&request, &mut changes.client_order_id)?;
    let control = user.trader()?.portfolio(PortfolioId(portfolio));
    let placed = state.services.trading().replace_order(control, OrderId(order), changes.read()?).await?;
    Ok(created(portfolio, placed))
}

/// Cancel an open order.
///
/// The other exit of a pair is canceled too, and so are the exits of an entry that bought nothing.
#[utoipa::path(
    delete, path = "/api/v1/portfolios/{id}/orders/{order_id}", tag = "orders", operation_id = "cancelOrder",
    params(("id" = i64, Path), ("order_id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The canceled order", body = Order)),
    extensions(("x-problem-codes" = json!(["order_not_open", "busy", "portfolio_archived"]))),
)]
pub async fn cancel(
    user: CurrentUser,
    path: Path<(i64, Uuid)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (portfolio, order) = path.into_inner();
    let order = state
        .services
        .trading()
        .cancel_order(user.trader()?.portfolio(PortfolioId(portfolio)), OrderId(order))
        .await?;
    Ok(HttpResponse::Ok().json(Order::from(order)))
}

/// Get an order.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/orders/{order_id}", tag = "orders", operation_id = "getOrder",
    params(("id" = i64, Path), ("order_id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The order", body = Order)),
)]
pub async fn show(
    access: ReadAccess,
    path: Path<(String, Uuid)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (_, id) = path.into_inner();
    let order = state.services.trading().order(access.portfolio, OrderId(id)).await?;
    Ok(HttpResponse::Ok().json(Order::from(order)))
}
