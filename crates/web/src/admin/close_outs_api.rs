//! Close-outs of delisted stocks, for administrators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveDate;
use domain::{
    CloseOut as Terms, CorporateActionKind, DecimalText, Money, PerShare, Quantity, Symbol, Timestamp,
};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::corporate_actions::close_outs::{CloseOutFields, CloseOutPreview, CloseOutTerms, DoneCloseOut};
use services::idempotency::DecisionAuthor;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::extract::AdminUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::api::{created_once, idempotency_key};

/// The terms of a close-out: what holders receive for their shares.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCloseOut {
    #[schema(value_type = Symbol)]
    symbol: String,
    #[schema(value_type = enums::CloseOutKind)]
    kind: String,
    /// US dollars for each share given up, up to six decimals. Required for `cash`, optional for `exchange`.
    cash: Option<DecimalText>,
    /// Only for `exchange`: the symbol of the stock received.
    #[schema(value_type = Option<Symbol>)]
    into: Option<String>,
    /// Only for `exchange`: `1:2` for one new share for each two given up.
    ratio: Option<String>,
    /// The first day without the shares, from the delisting to today. If it is left out, the close-out takes effect
    /// now.
    #[schema(value_type = Option<NaiveDate>)]
    on: Option<String>,
    /// Stored with the decision; up to 500 characters.
    reason: String,
}

/// The changes that a close-out would make.
#[derive(Serialize, ToSchema)]
pub struct CloseOutPreviewed {
    symbol: Symbol,
    on: NaiveDate,
    portfolios: usize,
    /// Shares given up.
    shares: Quantity,
    /// Cash received.
    cash: Money,
    /// Only for an exchange: the symbol of the stock received. `received` is the number of its shares.
    into: Option<Symbol>,
    received: Option<Quantity>,
    /// The cost basis of the shares given up.
    cost: Money,
    realized_pnl: Money,
}

impl From<CloseOutPreview> for CloseOutPreviewed {
    fn from(preview: CloseOutPreview) -> Self {
        let (into, received) = preview.received.unzip();
        Self {
            symbol: preview.stock.listing.symbol.clone(),
            on: preview.on,
            portfolios: preview.portfolios,
            shares: preview.shares,
            cash: preview.cash,
            into,
            received,
            cost: preview.cost,
            realized_pnl: preview.realized,
        }
    }
}

/// A close-out that is booked.
#[derive(Serialize, ToSchema)]
pub struct ClosedOut {
    /// For example `AAPL/2026-11-23/close_out`.
    id: String,
    symbol: Symbol,
    #[schema(value_type = enums::CloseOutKind)]
    kind: &'static str,
    #[schema(value_type = Option<DecimalText>)]
    cash: Option<PerShare>,
    into: Option<Symbol>,
    ratio: Option<String>,
    on: NaiveDate,
    effective_at: Timestamp,
    reason: Option<String>,
    administrator: Option<String>,
}

impl From<DoneCloseOut> for ClosedOut {
    fn from(done: DoneCloseOut) -> Self {
        let DoneCloseOut { known, administrator, reason } = done;
        let terms = match known.action.kind {
            CorporateActionKind::CloseOut(terms) => terms,
            _ => Terms::WriteOff,
        };
        Self {
            id: known.action.id.to_string(),
            symbol: known.action.symbol,
            kind: terms.as_str(),
            cash: terms.cash().cloned(),
            into: terms.into_stock().map(|(_, symbol)| symbol.clone()),
            ratio: terms.ratio().map(|ratio| ratio.to_string()),
            on: known.action.ex_on,
            effective_at: known.effective_at,
            reason,
            administrator,
        }
    }
}

impl NewCloseOut {
    fn read(&self) -> Result<(Symbol, CloseOutTerms, Option<NaiveDate>), Problem> {
        let mut reader = Fields::default();
        let symbol: Option<Symbol> = reader.read("symbol", &self.symbol);
        let terms = CloseOutTerms::parse(CloseOutFields {
            kind: &self.kind,
            cash: self.cash.as_ref().map(|cash| cash.0.as_str()),
            into: self.into.as_deref(),
            ratio: self.ratio.as_deref(),
            on: self.on.as_deref(),
        });
        let terms = terms
            .map_err(|errors| errors.iter().for_each(|error| reader.refuse(error.field, &error.message)))
            .ok();
        let (symbol, (terms, on)) = reader.finish(symbol.zip(terms))?;
        Ok((symbol, terms, on))
    }
}

/// Preview a close-out.
///
/// Shows the portfolios, shares and cash that it would change. Nothing is changed.
#[utoipa::path(
    post, path = "/api/v1/admin/close-outs/preview", tag = "admin", operation_id = "adminPreviewCloseOut",
    request_body = NewCloseOut,
    responses((status = 200, description = "The changes that the close-out would make", body = CloseOutPreviewed)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "not_tradable"]))),
)]
pub async fn preview(
    _: AdminUser,
    body: Json<NewCloseOut>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (symbol, terms, on) = body.read()?;
    let preview = state.services.corporate_actions().preview_close_out(&symbol, &terms, on).await?;
    Ok(HttpResponse::Ok().json(CloseOutPreviewed::from(preview)))
}

/// Close out a delisted stock.
///
/// All holders give up their shares for cash, for shares of another stock, or for nothing. The close-out is booked
/// before the response and cannot be undone.
#[utoipa::path(
    post, path = "/api/v1/admin/close-outs", tag = "admin", operation_id = "adminCloseOutStock",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewCloseOut,
    responses((status = 201, description = "The booked close-out", body = ClosedOut)),
    extensions(("x-problem-codes" = json!(["unknown_symbol", "not_tradable", "idempotency_key_reused", "busy"]))),
)]
pub async fn close_out(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<NewCloseOut>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(&request)?;
    let (symbol, terms, on) = body.read()?;
    let author = DecisionAuthor { administrator: admin, key };
    let done =
        state.services.corporate_actions().close_out(&symbol, &terms, on, &body.reason, author).await?;
    let mut response = created_once(&done);
    Ok(response.json(ClosedOut::from(done.value)))
}
