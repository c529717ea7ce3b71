//! Lists of portfolios, stocks, transactions and snapshots.

use actix_web::web::{Data, Query};
use domain::{PortfolioId, TransactionId};
use serde::Serialize;

use super::{ListQuery, PAGE, Tab, show};
use crate::AppState;
use crate::http::extract::Admin;
use crate::shell::badge::Badge;
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
struct PortfolioRow {
    pub(super) id: PortfolioId,
    pub(super) name: String,
    description: String,
    owner: String,
    opened: Moment,
    changed: Moment,
    cash: String,
}

pub async fn portfolios(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<ListQuery>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(PortfolioId);
    let page = state.services.operations().all_portfolios(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<PortfolioRow> = page
        .items
        .into_iter()
        .map(|row| PortfolioRow {
            id: row.portfolio.id,
            opened: format::day(row.portfolio.created_at),
            changed: format::day_and_minute(row.portfolio.updated_at),
            cash: format::money(&row.portfolio.cash_balance),
            name: row.portfolio.name,
            description: row.portfolio.description,
            owner: row.username,
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Portfolios, "/admin/portfolios", rows, next);
    show(shell, "admin/portfolios.html", "portfolios", &view)
}

#[derive(Serialize)]
struct StockRow {
    pub(super) symbol: String,
    pub(super) name: String,
    exchange: String,
    sector: String,
    last: String,
    previous: String,
    pub(super) as_of: Option<Moment>,
    pub(super) source: String,
    badge: Option<Badge>,
}

pub async fn stocks(shell: Shell, _: Admin, asked: Query<ListQuery>, state: Data<AppState>) -> PageResult {
    let page = state.services.operations().all_stocks(&asked.search, asked.cursor()?, PAGE).await?;
    let held = state.services.corporate_actions().held_splits().await?;
    let rows: Vec<StockRow> = page
        .items
        .into_iter()
        .map(|stock| {
            let last = stock.last.as_ref();
            let unknown = || format::UNKNOWN.to_owned();
            let hold = held.iter().find(|held| held.known.stock_id == stock.id).map(|held| &held.hold);
            let badge = match (hold, stock.delisted_on) {
                (Some(hold), _) if hold.is_halt() => Some(("bad", "trading halted")),
                (Some(_), _) => Some(("warn", "split awaits a price")),
                (None, Some(_)) => Some(("warn", "delisted")),
                (None, None) => None,
            };
            StockRow {
                badge: badge.map(|(tone, text)| Badge { tone, text: text.to_owned() }),
                symbol: stock.listing.symbol.to_string(),
                last: last.map_or_else(unknown, |last| format::price(&last.price)),
                previous: last
                    .and_then(|last| last.previous_close.as_ref())
                    .map_or_else(unknown, format::price),
                as_of: last.map(|last| format::day_and_second(last.as_of)),
                source: last.map_or_else(String::new, |last| last.source.clone()),
                name: stock.listing.company_name.clone(),
                exchange: stock.listing.exchange.clone(),
                sector: stock.listing.sector.clone(),
            }
        })
        .collect();
    let next = page.next.map(|symbol| symbol.to_string());
    let view = asked.into_inner().view(Tab::Stocks, "/admin/stocks", rows, next);
    show(shell, "admin/stocks.html", "stocks", &view)
}

#[derive(Serialize)]
struct TransactionRow {
    pub(super) id: i64,
    pub(super) at: Moment,
    owner: String,
    portfolio: String,
    pub(super) kind: String,
    pub(super) symbol: Option<String>,
    quantity: String,
    pub(super) price: String,
    amount: String,
}

pub async fn transactions(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<ListQuery>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(TransactionId);
    let page = state.services.operations().all_transactions(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<TransactionRow> = page
        .items
        .into_iter()
        .map(|row| TransactionRow {
            id: row.entry.id.map_or(0, |id| id.0),
            at: format::day_and_second(row.entry.timestamp),
            owner: row.username,
            portfolio: row.portfolio,
            kind: format::label(row.entry.transaction_type.as_str()),
            symbol: row.symbol.map(|symbol| symbol.to_string()),
            quantity: row.entry.quantity.as_ref().map(format::quantity).unwrap_or_default(),
            price: row.entry.price.as_ref().map(format::price).unwrap_or_default(),
            amount: format::money(&row.entry.amount),
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Transactions, "/admin/transactions", rows, next);
    show(shell, "admin/transactions.html", "transactions", &view)
}

#[derive(Serialize)]
struct SnapshotRow {
    date: String,
    portfolio: String,
    value: String,
    cash: String,
    positions: String,
    flow: String,
    provisional: bool,
}

pub async fn snapshots(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<ListQuery>,
    state: Data<AppState>,
) -> PageResult {
    let page = state.services.operations().all_snapshots(&admin, asked.cursor()?, PAGE).await?;
    let rows: Vec<SnapshotRow> = page
        .items
        .into_iter()
        .map(|row| SnapshotRow {
            date: format::date(row.snapshot.date),
            portfolio: row.portfolio,
            value: format::money(&row.snapshot.total_value),
            cash: format::money(&row.snapshot.cash_balance),
            positions: format::money(&row.snapshot.positions_value),
            flow: match row.snapshot.net_flow {
                flow if flow.is_zero() => String::new(),
                flow => format::money(&flow),
            },
            provisional: row.snapshot.provisional,
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Snapshots, "/admin/snapshots", rows, next);
    show(shell, "admin/snapshots.html", "snapshots", &view)
}
