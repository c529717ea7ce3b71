//! The API that places, changes, cancels and returns orders.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use domain::money::{AveragePrice, PriceChange};
use domain::{
    DecimalText, FillRule, JournalEntry, Money, OrderClass, OrderId, OrderSize, OrderStatus, OrderType,
    Percent, PlaceOrder, PortfolioId, PortfolioRef, Price, Quantity, Side, Symbol, TimeInForce, Timestamp,
    TransactionType,
};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::trading::orders::OrderPreview;
use services::trading::{OrderWithFills, PlacedOrder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::trading::order_fields::{OrderFields, ReplaceFields};
use crate::trading::words::api as words;

/// How the price of a fill was determined.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// The source of the price, such as `simulated/sim-v2`.
    source: String,
    /// Market time of the quote.
    quoted_at: Timestamp,
    /// The age of the quote at the fill, in seconds.
    age_s: f64,
    /// `ask` or `bid`; `last` if the source gives neither; `past_close` for the close of a session that had ended;
    /// `open` or `close` for an order at an auction.
    #[schema(value_type = enums::FillRule)]
    rule: FillRule,
    /// The price of the quote by that rule.
    quoted_price: Price,
    /// How much worse the fill was than the quoted price, per share.
    slippage: PriceChange,
    commission: Money,
    /// The rounding rule of the amount. 2: the sum over all fills of the order is rounded half-even to the cent, and
    /// each fill books the difference. 1, for older fills: each fill was rounded separately.
    rounding_version: i32,
}

impl Receipt {
    pub fn from_entry(entry: &JournalEntry) -> Option<Self> {
        let receipt = entry.receipt.as_ref()?;
        let age_ms = (entry.timestamp - receipt.quoted_at).num_milliseconds();
        #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^53")]
        let age_s = age_ms as f64 / 1000.0;
        let side = if entry.transaction_type == TransactionType::Sell { Side::Sell } else { Side::Buy };
        Some(Self {
            source: receipt.source.to_string(),
            quoted_at: receipt.quoted_at,
            age_s,
            rule: receipt.rule,
            quoted_price: receipt.quoted_price.clone(),
            slippage: receipt.slippage(side, entry.price.as_ref()?),
            commission: entry.commission.clone(),
            rounding_version: receipt.rounding.version(),
        })
    }
}

/// One execution of an order.
#[derive(Serialize, ToSchema)]
pub struct Fill {
    quantity: Option<Quantity>,
    price: Option<Price>,
    commission: Money,
    /// The change of cash, commission included: negative for a buy.
    amount: Money,
    /// Only for a sell: proceeds less the cost of the shares sold.
    realized_pnl: Option<Money>,
    timestamp: Timestamp,
    receipt: Option<Receipt>,
}

impl From<&JournalEntry> for Fill {
    fn from(entry: &JournalEntry) -> Self {
        Self {
            quantity: entry.quantity.clone(),
            price: entry.price.clone(),
            commission: entry.commission.clone(),
            amount: entry.amount.clone(),
            realized_pnl: entry.realized_pnl.clone(),
            timestamp: entry.timestamp,
            receipt: Receipt::from_entry(entry),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Order {
    #[schema(value_type = String, format = "uuid")]
    id: OrderId,
    client_order_id: Option<String>,
    symbol: Symbol,
    #[schema(value_type = enums::Side)]
    side: Side,
    #[schema(value_type = enums::OrderType)]
    r#type: OrderType,
    #[schema(value_type = enums::TimeInForce)]
    time_in_force: TimeInForce,
    #[schema(value_type = enums::OrderClass)]
    order_class: OrderClass,
    /// Only for a leg: the order that it was placed with.
    #[schema(value_type = Option<String>, format = "uuid")]
    parent_order_id: Option<OrderId>,
    /// The order that this order replaced.
    #[schema(value_type = Option<String>, format = "uuid")]
    replaces: Option<OrderId>,
    /// The ordered quantity; null for an order by money.
    quantity: Option<Quantity>,
    notional: Option<Money>,
    limit_price: Option<Price>,
    /// The price that triggers the order. The stop of a trailing stop changes with the market.
    stop_price: Option<Price>,
    trail_price: Option<Price>,
    #[schema(value_type = Option<DecimalText>)]
    trail_percent: Option<Percent>,
    /// Only for a trailing stop: the best price since it was placed.
    high_water_price: Option<Price>,
    #[schema(value_type = enums::OrderStatus)]
    status: OrderStatus,
    /// Why the order was rejected.
    reject_reason: Option<String>,
    /// Why an open order currently cannot fill, such as a split that no price has confirmed yet.
    hold_reason: Option<String>,
    filled_quantity: Quantity,
    /// The average price of the fills; null before the first fill.
    #[schema(value_type = Option<DecimalText>)]
    filled_price: Option<String>,
    commission: Money,
    /// The change of cash by all fills, commission included: negative for a buy.
    amount: Money,
    /// Only for a sell: proceeds less the cost of the shares sold.
    realized_pnl: Option<Money>,
    /// Cash that is reserved for further fills.
    reserved_cash: Money,
    reserved_quantity: Quantity,
    submitted_at: Timestamp,
    /// When the market reached the stop price.
    triggered_at: Option<Timestamp>,
    /// When the order was completely filled.
    filled_at: Option<Timestamp>,
    /// When the order was canceled, expired, rejected or replaced.
    canceled_at: Option<Timestamp>,
    /// When a `day` order expires; for `opg` and `cls` the time of the auction.
    expires_at: Option<Timestamp>,
    /// The receipt of the first fill.
    receipt: Option<Receipt>,
    fills: Vec<Fill>,
    /// The orders that were placed with this order. Empty in a list in which legs are orders of their own.
    #[schema(no_recursion)]
    legs: Vec<Order>,
}

impl Order {
    /// The order for a list in which legs are orders of their own.
    pub fn without_legs(self) -> Self {
        Self { legs: Vec::new(), ..self }
    }
}

impl From<OrderWithFills> for Order {
    fn from(OrderWithFills { order, fills, legs, hold }: OrderWithFills) -> Self {
        let (quantity, notional) = match &order.size {
            OrderSize::Quantity(quantity) => (Some(quantity.clone()), None),
            OrderSize::Notional(notional) => (None, Some(notional.clone())),
            OrderSize::OfPosition(_) => (None, None),
        };
        let (trail_price, trail_percent) = match order.terms.trail().cloned() {
            Some(domain::Trail::Price(price)) => (Some(price), None),
            Some(domain::Trail::Percent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        let realized: Vec<&Money> = fills.iter().filter_map(|fill| fill.realized_pnl.as_ref()).collect();
        Self {
            id: order.id,
            r#type: order.order_type(),
            limit_price: order.terms.limit_price().cloned(),
            stop_price: order.stop_price(),
            client_order_id: order.client_order_id,
            symbol: order.symbol,
            side: order.side,
            time_in_force: order.time_in_force,
            order_class: order.order_class,
            parent_order_id: order.parent_order_id,
            replaces: order.replaces,
            quantity,
            notional,
            trail_price,
            trail_percent,
            high_water_price: order.high_water_price,
            status: order.status,
            reject_reason: order.reject_reason,
            hold_reason: hold.map(|hold| hold.to_string()),
            filled_quantity: order.filled_quantity,
            filled_price: order.filled_price.as_ref().map(AveragePrice::to_shortest),
            commission: order.commission,
            amount: fills.iter().map(|fill| &fill.amount).sum(),
            realized_pnl: (!realized.is_empty()).then(|| realized.into_iter().sum()),
            reserved_cash: order.reserved_cash,
            reserved_quantity: order.reserved_quantity,
            submitted_at: order.submitted_at,
            triggered_at: order.triggered_at,
            filled_at: order.filled_at,
            canceled_at: order.canceled_at,
            expires_at: order.expires_at,
            receipt: fills.first().and_then(Receipt::from_entry),
            fills: fills.iter().map(Fill::from).collect(),
            legs: legs.into_iter().map(Self::from).collect(),
        }
    }
}

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
    fn read(&self) -> Result<domain::ReplaceOrder, Problem> {
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

/// The effect of an order if it were placed now and filled completely.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderPreview)]
pub struct Preview {
    symbol: Symbol,
    #[schema(value_type = enums::Side)]
    side: Side,
    #[schema(value_type = enums::OrderType)]
    r#type: OrderType,
    /// The status right after placing: `filled`, or `accepted` if the order would wait for its price.
    #[schema(value_type = enums::OrderStatus)]
    status: OrderStatus,
    quantity: Quantity,
    /// The price of the estimate: of the fill, or the limit, the stop or the newest price.
    price: Price,
    /// The rule of an immediate fill.
    #[schema(value_type = Option<enums::FillRule>)]
    rule: Option<FillRule>,
    /// Slippage of an immediate fill, per share.
    slippage: Option<PriceChange>,
    /// Quantity × price, without commission; positive.
    cost: Money,
    commission: Money,
    /// The change of cash, commission included: negative for a buy.
    amount: Money,
    cash_before: Money,
    cash_after: Money,
    buying_power_before: Money,
    /// The buying power right after placing, without the amount that the order reserves.
    buying_power_after: Money,
    quantity_before: Quantity,
    quantity_after: Quantity,
    average_buy_price_after: Option<AveragePrice>,
    realized_pnl: Option<Money>,
    /// The share of the position in the total value after the order: a ratio.
    weight_after: f64,
    expires_at: Option<Timestamp>,
    warnings: Vec<String>,
}

impl From<OrderPreview> for Preview {
    fn from(preview: OrderPreview) -> Self {
        let warnings = preview.warnings().iter().map(words::warning).collect();
        let price = preview.price.clone();
        let fill = preview.fill.as_ref().and_then(Receipt::from_entry);
        Self {
            symbol: preview.stock.listing.symbol.clone(),
            side: preview.order.side,
            r#type: preview.order.order_type(),
            status: preview.order.status,
            cost: preview.gross,
            quantity: preview.quantity,
            price,
            rule: fill.as_ref().map(|receipt| receipt.rule),
            slippage: fill.map(|receipt| receipt.slippage),
            commission: preview.commission,
            amount: preview.amount,
            cash_before: preview.cash_before,
            cash_after: preview.cash_after,
            buying_power_before: preview.buying_power_before,
            buying_power_after: preview.buying_power_after,
            quantity_before: preview.quantity_before,
            quantity_after: preview.quantity_after,
            average_buy_price_after: preview.average_buy_price_after,
            realized_pnl: preview.realized_pnl,
            weight_after: preview.weight_after,
            expires_at: preview.order.expires_at,
            warnings,
        }
    }
}

/// Preview an order.
///
/// Shows price, cost and the portfolio afterwards, as if the order were placed now. Nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/portfolios/{id}/orders/preview", tag = "orders", operation_id = "previewOrder",
    params(("id" = i64, Path)),
    request_body = NewOrder,
    responses((status = 200, description = "The effect of the order", body = Preview)),
    extensions(("x-problem-codes" = json!([
        "trading_halted", "portfolio_archived", "client_order_id_reused", "insufficient_buying_power",
        "insufficient_shares", "not_tradable", "unknown_symbol", "order_too_small", "order_too_large",
        "no_fresh_price", "trail_too_wide", "busy", "no_price", "price_unconfirmed", "clock_behind",
        "source_unavailable"
    ]))),
)]
pub async fn preview(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<NewOrder>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let preview = state
        .services
        .trading()
        .preview_order(PortfolioRef::new(user.account.id, PortfolioId(*id)), body.read()?)
        .await?;
    Ok(HttpResponse::Ok().json(Preview::from(preview)))
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
