//! Placing orders, changing and canceling them, looking at one.

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

/// Where a fill's price is from, and what came on top.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// The price's source, `simulated/sim-v2` for one.
    source: String,
    /// Market time of the quote.
    quoted_at: Timestamp,
    /// How old the quote was at the fill, in seconds.
    age_s: f64,
    /// `ask`, `bid`, `last` where the source gives neither; `past_close` for the close of a session that had ended;
    /// `open` or `close` for an order at an auction.
    #[schema(value_type = enums::FillRule)]
    rule: FillRule,
    /// The quote's price by that rule.
    quoted_price: Price,
    /// What the fill was worse than the quoted price, per share.
    slippage: PriceChange,
    commission: Money,
    /// How the amount became whole cents: 2 rounds the sum over all fills of the order, half-even, and each fill books
    /// the difference; 1, of older fills, rounded each fill alone.
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
    /// The signed effect on cash, commission included.
    amount: Money,
    /// Of a sell: proceeds less the cost that left.
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
    /// Of a leg: the order it came with.
    #[schema(value_type = Option<String>, format = "uuid")]
    parent_order_id: Option<OrderId>,
    /// The order whose place this one took.
    #[schema(value_type = Option<String>, format = "uuid")]
    replaces: Option<OrderId>,
    /// As ordered; null for an order by money.
    quantity: Option<Quantity>,
    notional: Option<Money>,
    limit_price: Option<Price>,
    /// Where a stop triggers; of a trailing stop where it stands now.
    stop_price: Option<Price>,
    trail_price: Option<Price>,
    #[schema(value_type = Option<DecimalText>)]
    trail_percent: Option<Percent>,
    /// The best price a trailing stop has seen.
    high_water_price: Option<Price>,
    #[schema(value_type = enums::OrderStatus)]
    status: OrderStatus,
    /// Why it was rejected.
    reject_reason: Option<String>,
    /// Why an open order cannot fill for the time being, such as a split that no price has confirmed yet.
    hold_reason: Option<String>,
    filled_quantity: Quantity,
    /// The average of its fills; null before the first.
    #[schema(value_type = Option<DecimalText>)]
    filled_price: Option<String>,
    commission: Money,
    /// The signed effect on cash, commission included.
    amount: Money,
    /// Of a sell: proceeds less the cost that left.
    realized_pnl: Option<Money>,
    /// Cash and shares kept for the fills to come.
    reserved_cash: Money,
    reserved_quantity: Quantity,
    submitted_at: Timestamp,
    /// When the market reached the stop.
    triggered_at: Option<Timestamp>,
    /// When it was filled in full.
    filled_at: Option<Timestamp>,
    /// When it ended otherwise: canceled, expired, rejected, replaced.
    canceled_at: Option<Timestamp>,
    /// When a `day` order ends; of `opg` and `cls` the auction they are for.
    expires_at: Option<Timestamp>,
    /// Of the first fill.
    receipt: Option<Receipt>,
    fills: Vec<Fill>,
    /// The orders that came with it. Empty in a list that has them as orders of their own.
    #[schema(no_recursion)]
    legs: Vec<Order>,
}

impl Order {
    /// For a list that has the legs as orders of their own.
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

/// The exit that takes a gain.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeProfit {
    pub limit_price: DecimalText,
}

/// The exit that limits a loss: a stop, or with a limit a stop_limit.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopLoss {
    pub stop_price: DecimalText,
    pub limit_price: Option<DecimalText>,
}

/// Either `quantity` or `notional`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    #[schema(value_type = Symbol)]
    pub symbol: String,
    #[schema(value_type = enums::Side)]
    pub side: String,
    /// Shares, up to nine decimals.
    pub quantity: Option<DecimalText>,
    /// Money to spend or to raise; becomes shares at the fill's price, rounded down. Market and limit orders only.
    pub notional: Option<DecimalText>,
    #[schema(value_type = enums::OrderType)]
    pub r#type: String,
    /// `day` unless said otherwise.
    #[schema(value_type = Option<enums::TimeInForce>)]
    pub time_in_force: Option<String>,
    /// Of limit and stop_limit: the worst price.
    pub limit_price: Option<DecimalText>,
    /// Of stop and stop_limit: the price at which it begins.
    pub stop_price: Option<DecimalText>,
    /// Of trailing_stop: how far it stays behind the best price, per share; or `trail_percent`.
    pub trail_price: Option<DecimalText>,
    pub trail_percent: Option<DecimalText>,
    /// `simple` unless said otherwise.
    #[schema(value_type = Option<enums::OrderClass>)]
    pub order_class: Option<String>,
    pub take_profit: Option<TakeProfit>,
    pub stop_loss: Option<StopLoss>,
    /// Names the order within the portfolio, 1 to 128 characters: sending the same order again under the same
    /// name answers the first one. The header `Idempotency-Key` does the same.
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    pub client_order_id: Option<String>,
}

fn text(decimal: Option<&DecimalText>) -> Option<&str> {
    decimal.map(|decimal| decimal.0.as_str())
}

impl NewOrder {
    /// # Errors
    /// All that is wrong with the fields at once.
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

/// What to change; what is left out stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderChanges {
    /// The shares still to be traded.
    pub quantity: Option<DecimalText>,
    pub limit_price: Option<DecimalText>,
    pub stop_price: Option<DecimalText>,
    pub trail_price: Option<DecimalText>,
    pub trail_percent: Option<DecimalText>,
    #[schema(value_type = Option<enums::TimeInForce>)]
    pub time_in_force: Option<String>,
    /// Names the new order; 1 to 128 characters.
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

/// The header `Idempotency-Key` is another way to send `client_order_id`.
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
    responses((status = 201, description = "The order that takes its place", body = Order)),
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
/// The other exit of a pair is canceled with it, and so are exits whose entry bought nothing.
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

/// What an order would do at this moment, all of it filled.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderPreview)]
pub struct Preview {
    symbol: Symbol,
    #[schema(value_type = enums::Side)]
    side: Side,
    #[schema(value_type = enums::OrderType)]
    r#type: OrderType,
    /// What it would be at once: `filled`, or `accepted` when it waits for its price.
    #[schema(value_type = enums::OrderStatus)]
    status: OrderStatus,
    quantity: Quantity,
    /// What the estimate is made at: the fill's price, the limit, the stop or the newest price.
    price: Price,
    /// The rule of a fill at once.
    #[schema(value_type = Option<enums::FillRule>)]
    rule: Option<FillRule>,
    /// Per share, of a fill at once.
    slippage: Option<PriceChange>,
    /// Quantity × price, without commission; positive.
    cost: Money,
    commission: Money,
    /// The signed effect on cash.
    amount: Money,
    cash_before: Money,
    cash_after: Money,
    buying_power_before: Money,
    /// At once, with what the order keeps.
    buying_power_after: Money,
    quantity_before: Quantity,
    quantity_after: Quantity,
    average_buy_price_after: Option<AveragePrice>,
    realized_pnl: Option<Money>,
    /// Share of the position in total value after the order: a ratio.
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
