//! Portfolios and their cash.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use domain::{
    DecimalText, Money, PortfolioId, PortfolioKind, Symbol, Timestamp, TransactionType, Visibility,
};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::books::portfolios::{CashDirection, OpenPortfolio, PortfolioSummary, PortfolioUpdate};
use services::books::transactions::NamedEntry;
use services::idempotency::{IdempotencyKey, Once};
use utoipa::{IntoParams, ToSchema};

use super::transactions_api::Transaction;
use crate::AppState;
use crate::http::api::{Items, Paging, parse};
use crate::http::extract::CurrentUser;
use crate::http::input::{Json, Query};
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;

#[derive(Serialize, ToSchema)]
pub struct Portfolio {
    id: i64,
    name: String,
    description: String,
    cash_balance: Money,
    /// Cash without the amount that open orders reserve.
    buying_power: Money,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// When the portfolio was archived and became read-only; null before.
    archived_at: Option<Timestamp>,
    /// The symbol of the stock or fund that its performance is compared with.
    benchmark: Symbol,
    /// Who may read the portfolio besides its owner.
    #[schema(value_type = enums::Visibility)]
    visibility: Visibility,
    /// Takes the place of the id in the addresses of a portfolio that is shared by link; null for others.
    link_key: Option<String>,
    #[schema(value_type = enums::PortfolioKind)]
    kind: PortfolioKind,
}

impl From<PortfolioSummary> for Portfolio {
    fn from(portfolio: PortfolioSummary) -> Self {
        Self {
            id: portfolio.id.0,
            name: portfolio.name,
            description: portfolio.description,
            cash_balance: portfolio.cash_balance,
            buying_power: portfolio.buying_power,
            created_at: portfolio.created_at,
            updated_at: portfolio.updated_at,
            archived_at: portfolio.archived_at,
            benchmark: portfolio.benchmark,
            visibility: portfolio.visibility,
            link_key: portfolio.link_key,
            kind: portfolio.kind,
        }
    }
}

/// Selects some of the user's portfolios.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PortfoliosQuery {
    /// `true` for archived portfolios, `false` for the others.
    #[param(value_type = Option<bool>, default = false)]
    archived: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// List your portfolios, oldest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios", tag = "portfolios", operation_id = "listPortfolios",
    params(PortfoliosQuery),
    responses((status = 200, description = "A page of portfolios", body = Items<Portfolio>)),
)]
pub async fn list(
    user: CurrentUser,
    asked: Query<PortfoliosQuery>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let PortfoliosQuery { archived, limit, cursor } = asked.into_inner();
    let paging = Paging { limit, cursor };
    let archived = parse("archived", archived.as_deref(), "must be true or false")?.unwrap_or(false);
    let after = paging.cursor()?.map(PortfolioId);
    let page = state.services.books().portfolios(user.account.id, archived, after, paging.limit()?).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(Portfolio::from).collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPortfolio {
    name: String,
    #[serde(default)]
    description: String,
    /// The first deposit. Default: the installation's starting cash, or nothing for a record.
    cash_balance: Option<DecimalText>,
    /// Default: `practice`.
    #[schema(value_type = Option<enums::PortfolioKind>)]
    kind: Option<String>,
}

fn starting_cash(text: Option<DecimalText>) -> Result<Option<Money>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let mut reader = Fields::default();
    let money = reader.read("cash_balance", &text.0);
    Ok(Some(reader.finish(money)?))
}

/// Create a portfolio.
#[utoipa::path(
    post, path = "/api/v1/portfolios", tag = "portfolios", operation_id = "createPortfolio",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = NewPortfolio,
    responses((status = 201, description = "The new portfolio", body = Portfolio)),
    extensions(("x-problem-codes" = json!(["idempotency_key_reused", "too_many_portfolios", "not_found"]))),
)]
pub async fn open(
    request: HttpRequest,
    user: CurrentUser,
    body: Json<NewPortfolio>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let NewPortfolio { name, description, cash_balance, kind } = body.into_inner();
    let cash_balance = starting_cash(cash_balance)?;
    let kind = parse("kind", kind.as_deref(), "send practice or record")?.unwrap_or(PortfolioKind::Practice);
    let (key, command) = (idempotency_key(&request)?, OpenPortfolio { name, description, cash_balance });
    let books = state.services.books();
    Ok(opened(books.open_portfolio_of_kind_once(user.trader()?, command, kind, key).await?))
}

/// The new start of a portfolio.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PortfolioReset)]
pub struct Reset {
    /// The first deposit of the new portfolio. Default: the installation's starting cash.
    cash_balance: Option<DecimalText>,
}

/// Reset a portfolio.
///
/// The portfolio is archived with its history, its open orders are canceled, and a new portfolio with the same name
/// replaces it.
#[utoipa::path(
    post, path = "/api/v1/portfolios/{id}/reset", tag = "portfolios", operation_id = "resetPortfolio",
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Reset,
    responses((status = 201, description = "The new portfolio", body = Portfolio)),
    extensions(("x-problem-codes" = json!([
        "portfolio_archived", "idempotency_key_reused", "busy", "too_many_portfolios"
    ]))),
)]
pub async fn reset(
    request: HttpRequest,
    user: CurrentUser,
    id: Path<i64>,
    body: Json<Reset>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let cash_balance = starting_cash(body.into_inner().cash_balance)?;
    let (control, key) = (user.trader()?.portfolio(PortfolioId(*id)), idempotency_key(&request)?);
    Ok(opened(state.services.books().reset_portfolio_once(control, cash_balance, key).await?))
}

/// Reads the header `Idempotency-Key`, the client's name for the request, unique per user. Repeating a request under
/// the same name returns the result of the first one.
pub(crate) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    let mut reader = Fields::default();
    let key = reader.read("idempotency_key", key.to_str().unwrap_or_default());
    Ok(Some(reader.finish(key)?))
}

/// Status 201, with a header for a repeated request that was not carried out again.
pub(crate) fn created_once<T>(once: &Once<T>) -> HttpResponseBuilder {
    done_once(HttpResponse::Created(), once)
}

/// `response`, with a header for a repeated request that was not carried out again.
pub(crate) fn done_once<T>(mut response: HttpResponseBuilder, once: &Once<T>) -> HttpResponseBuilder {
    if once.replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    response
}

fn opened(portfolio: Once<PortfolioSummary>) -> HttpResponse {
    created_once(&portfolio)
        .insert_header(("Location", format!("/api/v1/portfolios/{}", portfolio.value.id)))
        .json(Portfolio::from(portfolio.value))
}

/// Get a portfolio.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}", tag = "portfolios", operation_id = "getPortfolio",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The portfolio", body = Portfolio)),
)]
pub async fn show(access: ReadAccess, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let portfolio = state.services.books().portfolio(access.portfolio).await?;
    Ok(HttpResponse::Ok().json(Portfolio::from(portfolio)))
}

/// Changes to the portfolio. A field that is left out keeps its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortfolioChanges {
    name: Option<String>,
    description: Option<String>,
    /// The symbol of the stock or fund that performance is compared with.
    #[schema(value_type = Option<Symbol>)]
    benchmark: Option<String>,
    /// Who may read the portfolio besides you. Each change to `link` creates a new link key; a change to another
    /// visibility ends the key.
    #[schema(value_type = Option<enums::Visibility>)]
    visibility: Option<String>,
}

/// Change the name, description, benchmark or visibility of a portfolio.
///
/// Only the visibility of an archived portfolio can be changed.
#[utoipa::path(
    patch, path = "/api/v1/portfolios/{id}", tag = "portfolios", operation_id = "updatePortfolio",
    params(("id" = i64, Path)),
    request_body = PortfolioChanges,
    responses((status = 200, description = "The changed portfolio", body = Portfolio)),
    extensions(("x-problem-codes" = json!(["portfolio_archived"]))),
)]
pub async fn update(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<PortfolioChanges>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let PortfolioChanges { name, description, benchmark, visibility } = body.into_inner();
    let benchmark: Option<Symbol> = parse("benchmark", benchmark.as_deref(), "send a symbol such as SPY")?;
    let visibility = parse("visibility", visibility.as_deref(), "must be private, link or public")?;
    let update = PortfolioUpdate { name, description, benchmark, visibility };
    let portfolio =
        state.services.books().change_portfolio(user.trader()?.portfolio(PortfolioId(*id)), update).await?;
    Ok(HttpResponse::Ok().json(Portfolio::from(portfolio)))
}

/// Delete a portfolio with its orders, journal and snapshots.
#[utoipa::path(
    delete, path = "/api/v1/portfolios/{id}", tag = "portfolios", operation_id = "deletePortfolio",
    params(("id" = i64, Path)),
    responses((status = 204, description = "The portfolio is deleted")),
    extensions(("x-problem-codes" = json!(["busy"]))),
)]
pub async fn delete(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.books().delete_portfolio(user.trader()?.portfolio(PortfolioId(*id))).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CashMovement {
    #[schema(value_type = enums::CashDirection)]
    r#type: String,
    /// Must be positive.
    amount: DecimalText,
}

impl CashMovement {
    /// # Errors
    /// 422 for a type other than deposit or withdrawal, and for an amount that cannot be read.
    pub fn read(&self) -> Result<(CashDirection, Money), Problem> {
        let mut reader = Fields::default();
        let direction =
            self.r#type.parse().ok().and_then(|kind: TransactionType| CashDirection::from_type(kind));
        if direction.is_none() {
            reader.refuse("type", "must be deposit or withdrawal");
        }
        let amount = reader.read("amount", &self.amount.0);
        Ok(reader.finish(direction.zip(amount))?)
    }
}

/// Deposit or withdraw cash.
#[utoipa::path(
    post, path = "/api/v1/portfolios/{id}/cash", tag = "portfolios", operation_id = "moveCash",
    params(("id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = CashMovement,
    responses((status = 201, description = "The booked transaction", body = Transaction)),
    extensions(("x-problem-codes" = json!([
        "portfolio_archived", "idempotency_key_reused", "busy", "insufficient_cash"
    ]))),
)]
pub async fn move_cash(
    request: HttpRequest,
    user: CurrentUser,
    id: Path<i64>,
    body: Json<CashMovement>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (direction, amount) = body.read()?;
    let (control, key) = (user.trader()?.portfolio(PortfolioId(*id)), idempotency_key(&request)?);
    let moved = state.services.books().move_cash_once(control, direction, amount, key).await?;
    let mut response = created_once(&moved);
    Ok(response.json(Transaction::from(NamedEntry { entry: moved.value, symbol: None })))
}
