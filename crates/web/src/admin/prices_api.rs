//! Prices that are not confirmed, for administrators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::{Price, Symbol, Timestamp};
use serde::{Deserialize, Serialize};
use services::idempotency::DecisionAuthor;
use services::stocks::unconfirmed_prices::UnconfirmedQuote;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::AdminUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::api::{done_once, idempotency_key};

/// A price that its source reports and that is not used until it is confirmed.
#[derive(Serialize, ToSchema)]
pub struct WaitingPrice {
    symbol: Symbol,
    price: Price,
    /// Market time of the price.
    as_of: Timestamp,
    /// The last accepted price, in the same shares.
    accepted_price: Price,
    #[schema(value_type = enums::PriceDoubt)]
    reason: &'static str,
    /// When a similar price was first seen. Market time.
    first_seen_at: Timestamp,
    last_seen_at: Timestamp,
    source: String,
}

impl From<UnconfirmedQuote> for WaitingPrice {
    fn from(waiting: UnconfirmedQuote) -> Self {
        let UnconfirmedQuote { symbol, source, price, .. } = waiting;
        Self {
            symbol,
            source: source.to_string(),
            reason: price.doubt.as_str(),
            price: price.price,
            as_of: price.as_of,
            accepted_price: price.accepted,
            first_seen_at: price.first_seen_at,
            last_seen_at: price.last_seen_at,
        }
    }
}

/// List the prices that wait for confirmation, by symbol.
#[utoipa::path(
    get, path = "/api/v1/admin/prices", tag = "admin", operation_id = "adminListUnconfirmedPrices",
    responses((status = 200, description = "The prices", body = Items<WaitingPrice>)),
)]
pub async fn list(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let waiting = state.services.stocks().unconfirmed_prices().await?;
    Ok(HttpResponse::Ok().json(Items::all(waiting.into_iter().map(WaitingPrice::from).collect())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PriceConfirmation)]
pub struct Confirmation {
    symbol: Symbol,
    /// Why the price is right, for the log.
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConfirmedPrice)]
pub struct Confirmed {
    /// The price that is now the accepted price; null if no price of the symbol was waiting.
    confirmed: Option<WaitingPrice>,
}

/// Confirm the waiting price of a stock.
///
/// Orders, valuations and snapshots use it from now on.
#[utoipa::path(
    post, path = "/api/v1/admin/prices", tag = "admin", operation_id = "adminConfirmPrice",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Confirmation,
    responses((status = 200, description = "The confirmed price", body = Confirmed)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "idempotency_key_reused"]))),
)]
pub async fn confirm(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<Confirmation>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let author = DecisionAuthor { administrator: admin, key: idempotency_key(&request)? };
    let confirmed = state.services.stocks().confirm_price_once(&body.symbol, &body.reason, author).await?;
    let mut response = done_once(HttpResponse::Ok(), &confirmed);
    Ok(response.json(Confirmed { confirmed: confirmed.value.map(WaitingPrice::from) }))
}
