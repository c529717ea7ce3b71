//! Stocks that are delisted or may be, for administrators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use domain::delisting::DelistingEvidence;
use domain::{Symbol, Timestamp};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::corporate_actions::delistings::{DelistingCase, DelistingResolution};
use services::idempotency::DecisionAuthor;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::api::Items;
use crate::http::extract::AdminUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::api::{done_once, idempotency_key};

/// Evidence of a delisting: an observation of one day.
#[derive(Serialize, ToSchema)]
#[schema(as = DelistingObservation)]
pub struct Evidence {
    /// `not_listed` (a table of listings lacks the stock), `listed_as_delisted` (the table of former listings has it)
    /// or `not_found` (the price source does not know it)
    #[schema(value_type = enums::DelistingEvidence)]
    kind: &'static str,
    /// The day of the table or of the session, in New York.
    seen_on: NaiveDate,
    seen_at: Timestamp,
    /// Only for `listed_as_delisted`: the date of the delisting in the table.
    delisted_on: Option<NaiveDate>,
}

impl From<DelistingEvidence> for Evidence {
    fn from(seen: DelistingEvidence) -> Self {
        let DelistingEvidence { kind, seen_on, seen_at, delisted_on } = seen;
        Self { kind: kind.as_str(), seen_on, seen_at, delisted_on }
    }
}

/// A stock that is delisted or may be.
#[derive(Serialize, ToSchema)]
pub struct Delisting {
    symbol: Symbol,
    company_name: String,
    /// `pending` (evidence is being collected), `refused` (an administrator says that it is traded) or `delisted`
    #[schema(value_type = enums::DelistingStatus)]
    status: &'static str,
    /// The first session without the stock.
    delisted_on: Option<NaiveDate>,
    /// The reason that was given for the delisting or the refusal.
    reason: Option<String>,
    /// The administrator who decided; null if the price source or the evidence decided.
    administrator: Option<String>,
    /// Oldest first.
    evidence: Vec<Evidence>,
}

impl From<DelistingCase> for Delisting {
    fn from(case: DelistingCase) -> Self {
        let status = case.status();
        let (reason, administrator) = match (&case.delisting, case.refusal) {
            (Some(delisting), _) => (delisting.reason.clone(), delisting.administrator.clone()),
            (None, Some(refusal)) => (Some(refusal.reason), Some(refusal.administrator)),
            (None, None) => (None, None),
        };
        Self {
            symbol: case.stock.listing.symbol.clone(),
            company_name: case.stock.listing.company_name.clone(),
            status,
            delisted_on: case.delisting.map(|delisting| delisting.on),
            reason,
            administrator,
            evidence: case.evidence.into_iter().map(Evidence::from).collect(),
        }
    }
}

/// List stocks that are or may be delisted, by symbol.
#[utoipa::path(
    get, path = "/api/v1/admin/delistings", tag = "admin", operation_id = "adminListDelistings",
    responses((status = 200, description = "The stocks with the evidence", body = Items<Delisting>)),
)]
pub async fn list(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let cases = state.services.corporate_actions().delisting_cases().await?;
    Ok(HttpResponse::Ok().json(Items::all(cases.into_iter().map(Delisting::from).collect())))
}

/// A decision whether a stock is delisted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DelistingDecision {
    #[schema(value_type = Symbol)]
    symbol: String,
    /// `confirm` (the stock is delisted) or `refuse` (the stock is traded: evidence is ignored, and a delisting is
    /// revoked)
    #[schema(value_type = enums::DelistingResolution)]
    resolution: String,
    /// Only for `confirm`: the first day without the stock, later than its last price. Default: the day in the
    /// evidence, or the day after the last price.
    #[schema(value_type = Option<NaiveDate>)]
    on: Option<String>,
    /// Stored with the decision; up to 500 characters.
    reason: String,
}

/// Confirm or refuse that a stock is delisted.
///
/// Open orders in a delisted stock are canceled before the response.
#[utoipa::path(
    post, path = "/api/v1/admin/delistings", tag = "admin", operation_id = "adminResolveDelisting",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = DelistingDecision,
    responses((status = 204, description = "The decision is recorded")),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "idempotency_key_reused", "busy"]))),
)]
pub async fn resolve(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<DelistingDecision>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let Json(DelistingDecision { symbol, resolution, on, reason }) = body;
    let mut reader = Fields::default();
    let symbol: Option<Symbol> = reader.read("symbol", &symbol);
    let resolution = DelistingResolution::parse(&resolution, on.as_deref())
        .map_err(|error| reader.refuse(error.field, &error.message))
        .ok();
    let (symbol, resolution) = reader.finish(symbol.zip(resolution))?;
    let author = DecisionAuthor { administrator: admin, key: idempotency_key(&request)? };
    let actions = state.services.corporate_actions();
    let done = actions.resolve_delisting_once(&symbol, resolution, &reason, author).await?;
    Ok(done_once(HttpResponse::NoContent(), &done).finish())
}
