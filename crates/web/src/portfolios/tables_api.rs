//! The addresses of the CSV exports, in the API and on pages.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query as PageQuery};
use domain::Symbol;
use serde::Deserialize;
use services::books::sharing::PortfolioAccess;
use utoipa::IntoParams;

use super::csv_table::TableFormat;
use super::performance_api::{DAY, window};
use super::tables;
use super::transactions_api::{Wanted, refuse_empty};
use crate::AppState;
use crate::http::api::parse;
use crate::http::input::Query;
use crate::http::portfolio_access::{PageAccess, ReadAccess};
use crate::http::problem::{PageError, Problem};
use crate::openapi::enums;
use crate::shell::render::Shell;

/// A filter for transactions, and the format of the table.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransactionTable {
    /// Only transactions of this stock.
    #[param(value_type = Option<Symbol>)]
    symbol: Option<String>,
    /// Only transactions of this type.
    #[param(value_type = Option<enums::TransactionType>)]
    r#type: Option<String>,
    /// The first day (`2026-11-20`, New York) or instant (RFC 3339).
    #[param(value_type = Option<enums::DayOrInstant>)]
    from: Option<String>,
    /// The last day or instant.
    #[param(value_type = Option<enums::DayOrInstant>)]
    to: Option<String>,
    /// The format of the table.
    #[param(value_type = Option<enums::TableFormat>)]
    format: Option<String>,
}

/// A range of days, and the format of the table.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotTable {
    /// The first day.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
    /// The format of the table.
    #[param(value_type = Option<enums::TableFormat>)]
    format: Option<String>,
}

/// A window, a benchmark, and the format of the table.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PerformanceTable {
    /// A period, instead of `from` and `to`. Default: `ALL`.
    #[param(value_type = Option<enums::PerformancePeriod>)]
    period: Option<String>,
    /// The first day.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
    /// The symbol of the stock or fund to compare with, such as `SPY`.
    #[param(value_type = Option<Symbol>)]
    benchmark: Option<String>,
    /// The format of the table.
    #[param(value_type = Option<enums::TableFormat>)]
    format: Option<String>,
}

/// The format of a table that always has all rows.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PositionTable {
    /// The format of the table.
    #[param(value_type = Option<enums::TableFormat>)]
    format: Option<String>,
}

/// Export all transactions that match the filter as CSV, newest first.
///
/// Each row has its order id, amount and rounding version, so that the books can be rebuilt from the file to the cent.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/transactions.csv", tag = "portfolios", operation_id = "exportTransactions",
    params(("id" = i64, Path), TransactionTable),
    responses((status = 200, description = "The transactions as a table", content_type = "text/csv")),
)]
pub async fn transactions(
    access: ReadAccess,
    asked: Query<TransactionTable>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let TransactionTable { symbol, r#type, from, to, .. } = &*asked;
    refuse_empty(&[("symbol", symbol), ("type", r#type), ("from", from), ("to", to)])?;
    transaction_table(&access, asked.into_inner(), &state).await
}

async fn transaction_table(
    access: &PortfolioAccess,
    asked: TransactionTable,
    state: &AppState,
) -> Result<HttpResponse, Problem> {
    let TransactionTable { symbol, r#type, from, to, format } = asked;
    let format = TableFormat::from_query(format.as_deref())?;
    let wanted = Wanted { symbol, r#type, from, to, ..Wanted::default() };
    tables::transactions(&state.services, access, wanted.filter()?, format).await
}

/// Export the daily snapshots as CSV, oldest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/snapshots.csv", tag = "performance", operation_id = "exportSnapshots",
    params(("id" = i64, Path), SnapshotTable),
    responses((status = 200, description = "The snapshots as a table", content_type = "text/csv")),
)]
pub async fn snapshots(
    access: ReadAccess,
    asked: Query<SnapshotTable>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    snapshot_table(&access, &asked, &state).await
}

async fn snapshot_table(
    access: &PortfolioAccess,
    asked: &SnapshotTable,
    state: &AppState,
) -> Result<HttpResponse, Problem> {
    let days = (parse("from", asked.from.as_deref(), DAY)?, parse("to", asked.to.as_deref(), DAY)?);
    let format = TableFormat::from_query(asked.format.as_deref())?;
    tables::snapshots(&state.services, access, days, format).await
}

/// Export the series of performance as CSV, oldest first.
///
/// One row for each session, as in `series` of `getPerformance`.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/performance.csv", tag = "performance", operation_id = "exportPerformance",
    params(("id" = i64, Path), PerformanceTable),
    responses((status = 200, description = "The series as a table", content_type = "text/csv")),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn performance(
    access: ReadAccess,
    asked: Query<PerformanceTable>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    performance_table(&access, asked.into_inner(), &state).await
}

async fn performance_table(
    access: &PortfolioAccess,
    asked: PerformanceTable,
    state: &AppState,
) -> Result<HttpResponse, Problem> {
    let PerformanceTable { period, from, to, benchmark, format } = asked;
    let window = window(period.as_deref(), from.as_deref(), to.as_deref())?;
    let benchmark: Option<Symbol> = parse("benchmark", benchmark.as_deref(), "send a symbol such as SPY")?;
    let format = TableFormat::from_query(format.as_deref())?;
    tables::performance(&state.services, access, (window, benchmark), format).await
}

/// Export the positions at the newest prices as CSV, largest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/positions.csv", tag = "portfolios", operation_id = "exportPositions",
    params(("id" = i64, Path), PositionTable),
    responses((status = 200, description = "The positions as a table", content_type = "text/csv")),
    extensions(("x-problem-codes" = json!(["source_unavailable", "no_price", "price_unconfirmed"]))),
)]
pub async fn positions(
    access: ReadAccess,
    asked: Query<PositionTable>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let format = TableFormat::from_query(asked.format.as_deref())?;
    tables::positions(&state.services, &access, format).await
}

type PageTable = Result<HttpResponse, PageError>;

pub async fn transactions_page(
    _: Shell,
    access: PageAccess,
    asked: PageQuery<TransactionTable>,
    state: Data<AppState>,
) -> PageTable {
    Ok(transaction_table(&access, asked.into_inner(), &state).await?)
}

pub async fn snapshots_page(
    _: Shell,
    access: PageAccess,
    asked: PageQuery<SnapshotTable>,
    state: Data<AppState>,
) -> PageTable {
    Ok(snapshot_table(&access, &asked, &state).await?)
}

pub async fn performance_page(
    _: Shell,
    access: PageAccess,
    asked: PageQuery<PerformanceTable>,
    state: Data<AppState>,
) -> PageTable {
    Ok(performance_table(&access, asked.into_inner(), &state).await?)
}

pub async fn positions_page(
    _: Shell,
    access: PageAccess,
    asked: PageQuery<PositionTable>,
    state: Data<AppState>,
) -> PageTable {
    let format = TableFormat::from_query(asked.format.as_deref())?;
    Ok(tables::positions(&state.services, &access, format).await?)
}
