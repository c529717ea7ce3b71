//! The API for lists of orders.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Datelike, Utc};
use domain::{OrderFilter, OrderId, SortDirection, Symbol, Timestamp};
use serde::Deserialize;
use services::FieldError;
use utoipa::IntoParams;

use crate::AppState;
use crate::http::api::{Items, Paging, parse};
use crate::http::input::Query;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::trading::order_json::Order;

/// Selects orders of a portfolio.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderQuery {
    /// Default: `all`. With `nested=true` an order counts as open while one of its legs is open.
    #[param(value_type = Option<enums::OrderFilter>)]
    status: Option<String>,
    /// Only orders in this stock.
    #[param(value_type = Option<Symbol>)]
    symbol: Option<String>,
    /// Only buys or only sells.
    #[param(value_type = Option<enums::Side>)]
    side: Option<String>,
    /// Only orders that were submitted after this instant.
    #[param(value_type = Option<Timestamp>)]
    after: Option<String>,
    /// Only orders that were submitted before this instant.
    #[param(value_type = Option<Timestamp>)]
    until: Option<String>,
    /// The order by time of submission. Default: `desc`, newest first.
    #[param(value_type = Option<enums::SortDirection>)]
    direction: Option<String>,
    /// `true`: legs are in `legs` of the order that they belong to, and filters apply to that order. `false`: legs are
    /// items of their own, and `legs` is empty.
    #[param(value_type = Option<bool>, default = false)]
    nested: Option<String>,
    /// Only the order with this `client_order_id`.
    #[param(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    client_order_id: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page. The page begins after the last order of that page, even with other filters.
    cursor: Option<String>,
}

/// Reads an instant of the query.
fn instant(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    // Only years that both databases can store and compare.
    let at = text.parse::<DateTime<Utc>>().ok().filter(|at| (1..=9998).contains(&at.year()));
    let message = "write an instant like 2026-11-20T15:00:00Z";
    at.map(|at| Some(at.into())).ok_or_else(|| Problem::invalid(vec![FieldError::new(field, message)]))
}

/// Reads the direction of a list.
///
/// # Errors
/// 422 if it is neither `asc` nor `desc`.
pub fn direction(text: Option<&str>) -> Result<Option<SortDirection>, Problem> {
    match text {
        None => Ok(None),
        Some("desc") => Ok(Some(SortDirection::Descending)),
        Some("asc") => Ok(Some(SortDirection::Ascending)),
        Some(_) => Err(Problem::invalid(vec![FieldError::new("direction", "use asc or desc")])),
    }
}

impl OrderQuery {
    fn filter(&self) -> Result<OrderFilter, Problem> {
        let open = match self.status.as_deref() {
            None | Some("all") => None,
            Some("open") => Some(true),
            Some("closed") => Some(false),
            Some(_) => {
                return Err(Problem::invalid(vec![FieldError::new(
                    "status",
                    "must be open or closed or all",
                )]));
            }
        };
        Ok(OrderFilter {
            open,
            symbol: parse("symbol", self.symbol.as_deref(), "must be a symbol, like AAPL")?,
            side: parse("side", self.side.as_deref(), "use buy or sell")?,
            client_order_id: self.client_order_id.clone(),
            after: instant("after", self.after.as_deref())?,
            until: instant("until", self.until.as_deref())?,
            direction: direction(self.direction.as_deref())?.unwrap_or_default(),
            nested: parse("nested", self.nested.as_deref(), "must be true or false")?.unwrap_or(false),
        })
    }
}

/// List orders.
///
/// The legs of brackets and pairs are items of their own, or with `nested` in `legs` of the order that they belong to.
/// A leg that was replaced is always an item of its own. New orders do not disturb paging: no order is repeated or left
/// out.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/orders", tag = "orders", operation_id = "listOrders",
    params(("id" = i64, Path), OrderQuery),
    responses((status = 200, description = "A page of orders", body = Items<Order>)),
)]
pub async fn list(
    access: ReadAccess,
    asked: Query<OrderQuery>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let paging = Paging { limit: asked.limit.clone(), cursor: asked.cursor.clone() };
    let (last, limit, filter) = (paging.cursor()?.map(OrderId), paging.limit()?, asked.filter()?);
    let nested = filter.nested;
    let page = state.services.trading().orders(access.portfolio, filter, last, limit).await?;
    let orders = page.items.into_iter().map(Order::from);
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: orders.map(|order| if nested { order } else { order.without_legs() }).collect(),
    }))
}
