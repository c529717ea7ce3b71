//! Portfolios and their cash.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use domain::{DecimalText, Money, PortfolioId, Timestamp, TransactionType};
use serde::{Deserialize, Serialize};
use services::portfolios::{CashDirection, OpenPortfolio, PortfolioSummary};
use services::transactions::NamedEntry;
use utoipa::ToSchema;

use super::transactions::Transaction;
use super::{Items, Paging, Reader};
use crate::AppState;
use crate::extract::CurrentUser;
use crate::problem::{Problem, ProblemBody};

#[derive(Serialize, ToSchema)]
pub struct Portfolio {
    id: i64,
    name: String,
    description: String,
    cash_balance: Money,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<PortfolioSummary> for Portfolio {
    fn from(portfolio: PortfolioSummary) -> Self {
        Self {
            id: portfolio.id.0,
            name: portfolio.name,
            description: portfolio.description,
            cash_balance: portfolio.cash_balance,
            created_at: portfolio.created_at,
            updated_at: portfolio.updated_at,
        }
    }
}

/// The user's portfolios in the order they were opened.
#[utoipa::path(get, path = "/api/v1/portfolios", tag = "portfolios", params(Paging), responses(
    (status = 200, body = Items<Portfolio>)))]
pub async fn list(
    user: CurrentUser,
    paging: Query<Paging>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let after = paging.cursor()?.map(PortfolioId);
    let page = state.services.portfolios(user.account.id, after, paging.limit()?).await?;
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
    /// Paid in as the first deposit; the installation's starting cash unless said otherwise.
    cash_balance: Option<DecimalText>,
}

/// Open a portfolio.
#[utoipa::path(post, path = "/api/v1/portfolios", tag = "portfolios", request_body = NewPortfolio, responses(
    (status = 201, body = Portfolio), (status = 422, body = ProblemBody)))]
pub async fn open(
    user: CurrentUser,
    body: Json<NewPortfolio>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let NewPortfolio { name, description, cash_balance } = body.into_inner();
    let mut reader = Reader::default();
    let cash_balance = cash_balance.map(|text| reader.read("cash_balance", &text.0));
    let cash_balance = reader.finish(match cash_balance {
        None => Some(None),
        Some(read) => read.map(Some),
    })?;
    let portfolio = state
        .services
        .open_portfolio(user.account.id, OpenPortfolio { name, description, cash_balance })
        .await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/v1/portfolios/{}", portfolio.id)))
        .json(Portfolio::from(portfolio)))
}

/// One portfolio.
#[utoipa::path(get, path = "/api/v1/portfolios/{id}", tag = "portfolios", params(("id" = i64, Path)), responses(
    (status = 200, body = Portfolio), (status = 404, body = ProblemBody)))]
pub async fn show(user: CurrentUser, id: Path<i64>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let portfolio = state.services.portfolio(user.account.id, PortfolioId(*id)).await?;
    Ok(HttpResponse::Ok().json(Portfolio::from(portfolio)))
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortfolioChanges {
    name: Option<String>,
    description: Option<String>,
}

/// Rename or redescribe.
#[utoipa::path(patch, path = "/api/v1/portfolios/{id}", tag = "portfolios", params(("id" = i64, Path)),
    request_body = PortfolioChanges, responses(
    (status = 200, body = Portfolio), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn update(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<PortfolioChanges>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let PortfolioChanges { name, description } = body.into_inner();
    let portfolio =
        state.services.update_portfolio(user.account.id, PortfolioId(*id), name, description).await?;
    Ok(HttpResponse::Ok().json(Portfolio::from(portfolio)))
}

/// Delete the portfolio with its orders, journal and snapshots.
#[utoipa::path(delete, path = "/api/v1/portfolios/{id}", tag = "portfolios", params(("id" = i64, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody)))]
pub async fn delete(
    user: CurrentUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.delete_portfolio(user.account.id, PortfolioId(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CashMovement {
    /// `deposit` or `withdrawal`
    r#type: String,
    /// More than zero.
    amount: DecimalText,
}

impl CashMovement {
    pub fn read(&self) -> Result<(CashDirection, Money), Problem> {
        let mut reader = Reader::default();
        let direction =
            self.r#type.parse().ok().and_then(|kind: TransactionType| CashDirection::from_type(kind));
        if direction.is_none() {
            reader.refuse("type", "must be deposit or withdrawal");
        }
        let amount = reader.read("amount", &self.amount.0);
        reader.finish(direction.zip(amount))
    }
}

/// Pay cash in or out.
#[utoipa::path(post, path = "/api/v1/portfolios/{id}/cash", tag = "portfolios", params(("id" = i64, Path)),
    request_body = CashMovement, responses(
    (status = 201, body = Transaction), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn move_cash(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<CashMovement>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (direction, amount) = body.read()?;
    let entry = state.services.move_cash(user.account.id, PortfolioId(*id), direction, amount).await?;
    Ok(HttpResponse::Created().json(Transaction::from(NamedEntry { entry, symbol: None })))
}
