//! Import of transactions over the API.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::{Money, PortfolioId, Quantity, Symbol};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::import::{ImportReport, MAX_BYTES, RowIssue};
use utoipa::ToSchema;

use crate::AppState;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::problem::Problem;

/// A file to import.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactionImport {
    /// The table as text, up to 1 MiB: an export of Stockyard, or a broker's file with the columns date, action, symbol,
    /// quantity, price and fee.
    csv: String,
    /// Books nothing and returns what would be booked.
    #[serde(default)]
    dry_run: bool,
}

/// A problem of a row.
#[derive(Serialize, ToSchema)]
pub struct ImportIssue {
    /// Line of the file, from 1; the names of the columns are the first.
    line: i64,
    /// The column: date, action, symbol, quantity, price, fee or amount; null when it is about the whole row.
    column: Option<&'static str>,
    message: String,
}

impl From<&RowIssue> for ImportIssue {
    fn from(issue: &RowIssue) -> Self {
        Self {
            line: i64::try_from(issue.line).unwrap_or(i64::MAX),
            column: issue.column,
            message: issue.problem.to_string(),
        }
    }
}

/// A position after an import.
#[derive(Serialize, ToSchema)]
pub struct ImportedPosition {
    symbol: Symbol,
    quantity: Quantity,
    cost_basis: Money,
    realized_pnl: Money,
}

/// What an import did, or would do.
#[derive(Serialize, ToSchema)]
pub struct ImportResult {
    /// Hex SHA-256 of the file.
    file_hash: String,
    /// False for a dry run, and when a row has a problem.
    booked: bool,
    /// Rows of the file that can be read.
    rows: i64,
    /// Rows that were booked, or would be.
    imported: i64,
    /// Rows that an earlier import has booked; they are left out.
    already_imported: i64,
    /// Splits and dividends of the file that this installation has booked by itself, with the same amounts.
    actions: i64,
    /// At most 100. With one of them nothing is booked.
    issues: Vec<ImportIssue>,
    /// The cash afterwards.
    cash_balance: Money,
    /// The positions afterwards, in order of symbol.
    positions: Vec<ImportedPosition>,
}

impl From<ImportReport> for ImportResult {
    fn from(report: ImportReport) -> Self {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let position = |(symbol, position): (Symbol, domain::Position)| ImportedPosition {
            symbol,
            quantity: position.quantity,
            cost_basis: position.cost_basis,
            realized_pnl: position.realized_pnl,
        };
        Self {
            booked: report.is_booked,
            rows: count(report.rows),
            imported: count(report.imported),
            already_imported: count(report.already_imported),
            actions: count(report.actions),
            issues: report.issues.iter().map(ImportIssue::from).collect(),
            cash_balance: report.cash_balance,
            positions: report.positions.into_iter().map(position).collect(),
            file_hash: report.file_hash,
        }
    }
}

/// Import transactions into a portfolio that records trades.
///
/// All rows are booked, or with a problem in any of them none. Rows that were imported before are left out, so the same
/// file can be sent again. Splits and dividends are booked from the price source.
#[utoipa::path(
    post, path = "/api/v1/portfolios/{id}/transactions/import", tag = "portfolios", operation_id = "importTransactions",
    params(("id" = i64, Path)),
    request_body = TransactionImport,
    responses((status = 200, description = "What was booked, or would be", body = ImportResult)),
    extensions(("x-problem-codes" = json!(["portfolio_archived", "not_a_record"]))),
)]
pub async fn import(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<TransactionImport>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let TransactionImport { csv, dry_run } = body.into_inner();
    if csv.trim().is_empty() {
        return Err(Problem::invalid(vec![FieldError::new("csv", "send a table with at least one row")]));
    }
    if csv.len() > MAX_BYTES {
        return Err(Problem::invalid(vec![FieldError::new("csv", "send at most 1 MiB")]));
    }
    let control = user.trader()?.portfolio(PortfolioId(*id));
    let report = state.services.books().import_transactions(control, &csv, dry_run).await?;
    Ok(HttpResponse::Ok().json(ImportResult::from(report)))
}
