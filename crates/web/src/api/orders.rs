//! Placing orders and looking at them.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use domain::money::AveragePrice;
use domain::{
    DecimalText, FillRule, JournalEntry, Money, OrderId, OrderSize, OrderStatus, OrderType, PlaceOrder,
    PortfolioId, Price, Quantity, Side, Symbol, TimeInForce, Timestamp,
};
use serde::{Deserialize, Serialize};
use services::orders::{OrderPreview, OrderWithFills};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Items, Paging, Reader};
use crate::AppState;
use crate::extract::CurrentUser;
use crate::problem::{Problem, ProblemBody};

/// Where a fill's price is from.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// The price's source, `simulated/sim-v1` for one.
    source: String,
    /// Market time of the quote.
    quoted_at: Timestamp,
    /// How old the quote was at the fill, in seconds.
    age_s: f64,
    /// `ask`, `bid`, or `last` where the source gives neither.
    #[schema(value_type = String)]
    rule: FillRule,
}

impl Receipt {
    pub fn of(entry: &JournalEntry) -> Option<Self> {
        let receipt = entry.receipt.as_ref()?;
        let age_ms = (entry.timestamp - receipt.quoted_at).num_milliseconds();
        #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^53")]
        let age_s = age_ms as f64 / 1000.0;
        Some(Self {
            source: receipt.source.0.clone(),
            quoted_at: receipt.quoted_at,
            age_s,
            rule: receipt.rule,
        })
    }
}

#[derive(Serialize, ToSchema)]
pub struct Order {
    #[schema(value_type = String, format = "uuid")]
    id: OrderId,
    client_order_id: Option<String>,
    symbol: Symbol,
    #[schema(value_type = String)]
    side: Side,
    #[schema(value_type = String)]
    r#type: OrderType,
    #[schema(value_type = String)]
    time_in_force: TimeInForce,
    /// As ordered; null for an order by money.
    quantity: Option<Quantity>,
    notional: Option<Money>,
    #[schema(value_type = String)]
    status: OrderStatus,
    filled_quantity: Quantity,
    /// The average of its fills.
    filled_price: Price,
    commission: Money,
    /// The signed effect on cash, commission included.
    amount: Money,
    /// Of a sell: proceeds less the cost that left.
    realized_pnl: Option<Money>,
    submitted_at: Timestamp,
    filled_at: Timestamp,
    receipt: Option<Receipt>,
}

impl From<OrderWithFills> for Order {
    fn from(OrderWithFills { order, fills }: OrderWithFills) -> Self {
        let (quantity, notional) = match order.size {
            OrderSize::Quantity(quantity) => (Some(quantity), None),
            OrderSize::Notional(notional) => (None, Some(notional)),
        };
        Self {
            id: order.id,
            client_order_id: order.client_order_id,
            symbol: order.symbol,
            side: order.side,
            r#type: order.order_type,
            time_in_force: order.time_in_force,
            quantity,
            notional,
            status: order.status,
            filled_quantity: order.filled_quantity,
            filled_price: order.filled_price,
            commission: fills.iter().map(|fill| &fill.commission).sum(),
            amount: fills.iter().map(|fill| &fill.amount).sum(),
            realized_pnl: fills.iter().map(|fill| fill.realized_pnl.clone()).sum::<Option<Money>>(),
            submitted_at: order.submitted_at,
            filled_at: order.filled_at,
            receipt: fills.first().and_then(Receipt::of),
        }
    }
}

/// Either `quantity` or `notional`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    pub symbol: String,
    /// `buy` or `sell`
    pub side: String,
    /// Shares, up to nine decimals.
    pub quantity: Option<DecimalText>,
    /// Money to spend or to raise; becomes shares at the fill's price, rounded down.
    pub notional: Option<DecimalText>,
    /// `market`
    pub r#type: String,
    /// `day` (unless said otherwise), `gtc`, `ioc` or `fok`; a market order fills at once in any case.
    pub time_in_force: Option<String>,
    /// Names the order within the portfolio, 1 to 64 characters: sending the same order again under the same
    /// name answers the first one. The header `Idempotency-Key` does the same.
    pub client_order_id: Option<String>,
}

impl NewOrder {
    /// # Errors
    /// All that is wrong with the fields at once.
    pub fn read(&self) -> Result<PlaceOrder, Problem> {
        let mut reader = Reader::default();
        let symbol = reader.read("symbol", &self.symbol);
        let side = reader.read("side", &self.side);
        let order_type = reader.read("type", &self.r#type);
        let time_in_force = reader.read("time_in_force", self.time_in_force.as_deref().unwrap_or("day"));
        let size = match (&self.quantity, &self.notional) {
            (Some(quantity), None) => reader.read("quantity", &quantity.0).map(OrderSize::Quantity),
            (None, Some(notional)) => match reader.read::<Money>("notional", &notional.0) {
                Some(money) if !money.is_positive() => {
                    reader.refuse("notional", "must be more than zero");
                    None
                }
                money => money.map(OrderSize::Notional),
            },
            (None, None) => {
                reader.refuse("quantity", "say how many shares (quantity) or how much money (notional)");
                None
            }
            (Some(_), Some(_)) => {
                reader.refuse("notional", "send quantity or notional, not both");
                None
            }
        };
        let command = (|| {
            Some(PlaceOrder {
                symbol: symbol?,
                side: side?,
                size: size?,
                order_type: order_type?,
                time_in_force: time_in_force?,
                client_order_id: self.client_order_id.clone(),
            })
        })();
        reader.finish(command)
    }
}

/// The header `Idempotency-Key` is another way to send `client_order_id`.
fn with_key(request: &HttpRequest, mut order: NewOrder) -> Result<NewOrder, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(order) };
    let key = key.to_str().unwrap_or_default().to_owned();
    match &order.client_order_id {
        Some(id) if *id != key => {
            let mut reader = Reader::default();
            reader.refuse("client_order_id", "differs from the header Idempotency-Key: send one of them");
            reader.finish(None)
        }
        _ => {
            order.client_order_id = Some(key);
            Ok(order)
        }
    }
}

/// Place an order. A repeated one is answered with `Idempotent-Replayed: true`.
#[utoipa::path(post, path = "/api/v1/portfolios/{id}/orders", tag = "orders",
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = NewOrder, responses(
    (status = 201, body = Order), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
pub async fn place(
    request: HttpRequest,
    user: CurrentUser,
    id: Path<i64>,
    body: Json<NewOrder>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let command = with_key(&request, body.into_inner())?.read()?;
    let placed = state.services.place_order(user.account.id, PortfolioId(*id), command).await?;
    let location = format!("/api/v1/portfolios/{id}/orders/{}", placed.order.order.id);
    let mut response = HttpResponse::Created();
    response.insert_header(("Location", location));
    if placed.replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(Order::from(placed.order)))
}

/// What an order would do at this moment.
#[derive(Serialize, ToSchema)]
pub struct Preview {
    symbol: Symbol,
    #[schema(value_type = String)]
    side: Side,
    quantity: Quantity,
    price: Price,
    #[schema(value_type = String)]
    rule: FillRule,
    /// Quantity × price, without commission; positive.
    cost: Money,
    commission: Money,
    /// The signed effect on cash.
    amount: Money,
    cash_before: Money,
    cash_after: Money,
    quantity_before: Quantity,
    quantity_after: Quantity,
    average_buy_price_after: Option<AveragePrice>,
    realized_pnl: Option<Money>,
    /// Share of the position in total value after the order: a ratio.
    weight_after: f64,
    warnings: Vec<String>,
}

/// More of the portfolio in one stock than this gets a warning.
const HEAVY: f64 = 0.5;

impl From<OrderPreview> for Preview {
    fn from(preview: OrderPreview) -> Self {
        let mut warnings = Vec::new();
        if preview.fill.side == Side::Buy && preview.weight_after > HEAVY {
            warnings.push(format!(
                "{} would be {:.0} % of the portfolio.",
                preview.stock.listing.symbol,
                preview.weight_after * 100.0
            ));
        }
        Self {
            symbol: preview.stock.listing.symbol,
            side: preview.fill.side,
            cost: preview.fill.gross(),
            quantity: preview.fill.quantity,
            price: preview.fill.price,
            rule: preview.fill.receipt.rule,
            commission: preview.commission,
            amount: preview.amount,
            cash_before: preview.cash_before,
            cash_after: preview.cash_after,
            quantity_before: preview.quantity_before,
            quantity_after: preview.quantity_after,
            average_buy_price_after: preview.average_buy_price_after,
            realized_pnl: preview.realized_pnl,
            weight_after: preview.weight_after,
            warnings,
        }
    }
}

/// What an order would do now. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/portfolios/{id}/orders/preview", tag = "orders", params(("id" = i64, Path)),
    request_body = NewOrder, responses(
    (status = 200, body = Preview), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn preview(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<NewOrder>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let preview = state.services.preview_order(user.account.id, PortfolioId(*id), body.read()?).await?;
    Ok(HttpResponse::Ok().json(Preview::from(preview)))
}

/// Orders, newest first.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/orders", tag = "orders", params(("id" = i64, Path), Paging),
    responses((status = 200, body = Items<Order>), (status = 404, body = ProblemBody)))]
pub async fn list(
    user: CurrentUser,
    id: Path<i64>,
    paging: Query<Paging>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let before = paging.cursor()?.map(OrderId);
    let page = state.services.orders(user.account.id, PortfolioId(*id), before, paging.limit()?).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(Order::from).collect(),
    }))
}

/// One order.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}/orders/{order_id}", tag = "orders",
    params(("id" = i64, Path), ("order_id" = String, Path)), responses(
    (status = 200, body = Order), (status = 404, body = ProblemBody)))]
pub async fn show(
    user: CurrentUser,
    path: Path<(i64, Uuid)>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (portfolio, id) = path.into_inner();
    let order = state.services.order(user.account.id, PortfolioId(portfolio), OrderId(id)).await?;
    Ok(HttpResponse::Ok().json(Order::from(order)))
}
