//! The API for administrators: splits that wait for a decision.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::{Price, Symbol};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::corporate_actions::splits::SplitResolution;
use services::idempotency::DecisionAuthor;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::AdminUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::api::{done_once, idempotency_key};

/// A split that halts trading in its stock.
#[derive(Serialize, ToSchema)]
pub struct HeldSplit {
    symbol: Symbol,
    /// The announced ratio, such as `20:1`: new shares for old shares.
    ratio: String,
    /// The first session in new shares.
    ex_on: chrono::NaiveDate,
    /// `awaiting` the first price after it, or `suspended` because that price contradicts it
    #[schema(value_type = enums::SplitConfirmation)]
    confirmation: &'static str,
    /// The price that is expected after the split.
    expected_price: Option<Price>,
    /// The first price after the split.
    found_price: Option<Price>,
    hold_reason: String,
}

impl From<services::corporate_actions::splits::HeldSplit> for HeldSplit {
    fn from(held: services::corporate_actions::splits::HeldSplit) -> Self {
        let compared = held.known.check.as_ref().and_then(|check| check.compared.clone());
        let (expected_price, found_price) = compared.unzip();
        Self {
            symbol: held.symbol,
            ratio: held.known.action.ratio().map_or_else(String::new, |ratio| ratio.to_string()),
            ex_on: held.known.action.ex_on,
            confirmation: held.known.check.map_or("confirmed", |check| check.confirmation.as_str()),
            expected_price,
            found_price,
            hold_reason: held.hold.to_string(),
        }
    }
}

/// List the splits that halt trading, oldest first.
#[utoipa::path(
    get, path = "/api/v1/admin/splits", tag = "admin", operation_id = "adminListHeldSplits",
    responses((status = 200, description = "The splits", body = Items<HeldSplit>)),
)]
pub async fn splits(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let held = state.services.corporate_actions().held_splits().await?;
    Ok(HttpResponse::Ok().json(Items::all(held.into_iter().map(HeldSplit::from).collect())))
}

/// A decision about a split in doubt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SplitDecision)]
pub struct Resolution {
    #[schema(value_type = Symbol)]
    symbol: String,
    /// `confirm` (the split took place as announced), `correct` (with another ratio) or `withdraw` (there was no split)
    #[schema(value_type = enums::SplitResolution)]
    resolution: String,
    /// Only for `correct`: new and old shares, such as `2:1` for two new shares for each old one.
    ratio: Option<String>,
    /// Stored with the decision; up to 500 characters.
    reason: String,
}

/// Resolve the split that halts trading in a stock.
///
/// Shares and open orders are corrected before the response.
#[utoipa::path(
    post, path = "/api/v1/admin/splits", tag = "admin", operation_id = "adminResolveSplit",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Resolution,
    responses((status = 204, description = "The split is resolved")),
    extensions(("x-problem-codes" = json!(["no_split_in_doubt", "unknown_symbol", "idempotency_key_reused", "busy"]))),
)]
pub async fn resolve_split(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<Resolution>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let Json(Resolution { symbol, resolution, ratio, reason }) = body;
    let mut reader = Fields::default();
    let symbol: Option<Symbol> = reader.read("symbol", &symbol);
    let resolution = SplitResolution::parse(&resolution, ratio.as_deref())
        .map_err(|error| reader.refuse(error.field, &error.message))
        .ok();
    let (symbol, resolution) = reader.finish(symbol.zip(resolution))?;
    let author = DecisionAuthor { administrator: admin, key: idempotency_key(&request)? };
    let actions = state.services.corporate_actions();
    let done = actions.resolve_split_once(&symbol, resolution, &reason, author).await?;
    Ok(done_once(HttpResponse::NoContent(), &done).finish())
}
