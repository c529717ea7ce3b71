//! The API for previews of orders.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::money::{AveragePrice, PriceChange};
use domain::{
    FillRule, Money, OrderStatus, OrderType, PortfolioId, PortfolioRef, Price, Quantity, Side, Symbol,
    Timestamp,
};
use serde::Serialize;
use services::trading::orders::OrderPreview;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::trading::api::NewOrder;
use crate::trading::order_json::Receipt;
use crate::trading::words::api as words;

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
