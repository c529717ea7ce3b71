//! The tables that can be exported as CSV: transactions, snapshots, performance and positions. Each table is read in
//! parts of limited size, so that a long history needs no more memory than a short one.

use actix_web::HttpResponse;
use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::journal::BookedTerms;
use domain::{Side, Snapshot, Symbol, TransactionFilter, TransactionType};
use futures::{StreamExt, stream};
use services::Services;
use services::books::performance::Window;
use services::books::sharing::PortfolioAccess;
use services::books::transactions::NamedEntry;

use super::csv_table::{Cell, TableFormat, file, whole};
use super::performance_body::points;
use crate::http::problem::Problem;
use crate::portfolios::risk::refused_benchmark;
use crate::stocks::corporate_actions::sentence;

/// The number of transactions that are read at once.
const TRANSACTIONS: usize = 1000;
/// The number of days whose snapshots are read at once.
const DAYS: Days = Days::new(366);

const TRANSACTION_COLUMNS: [&str; 25] = [
    "id",
    "timestamp",
    "transaction_type",
    "symbol",
    "quantity",
    "price",
    "commission",
    "amount",
    "realized_pnl",
    "order_id",
    "source",
    "quoted_at",
    "rule",
    "quoted_price",
    "slippage",
    "description",
    "rounding_version",
    "effective_at",
    "split_ratio",
    "quantity_before",
    "per_share",
    "cash_per_share",
    "exchange_ratio",
    "quantity_given",
    "reverses_id",
];

/// The journal, newest first.
///
/// # Errors
/// The errors of [`Books::transactions`](services::books::Books::transactions).
pub async fn transactions(
    services: &Services,
    access: &PortfolioAccess,
    filter: TransactionFilter,
    format: TableFormat,
) -> Result<HttpResponse, Problem> {
    let portfolio = access.portfolio;
    let first = services.books().transactions(portfolio, filter.clone(), None, TRANSACTIONS).await?;
    let head = format.head(&TRANSACTION_COLUMNS)?;
    let first_rows = format.rows(first.items.iter().map(transaction))?;
    let services = services.clone();
    let rest = stream::try_unfold(first.next, move |before| {
        let (services, filter) = (services.clone(), filter.clone());
        async move {
            if before.is_none() {
                return Ok::<_, Problem>(None);
            }
            let page = services.books().transactions(portfolio, filter, before, TRANSACTIONS).await?;
            Ok(Some((format.rows(page.items.iter().map(transaction))?, page.next)))
        }
    });
    let begun = stream::iter([Ok(head), Ok(first_rows)]);
    Ok(file(&format!("transactions-{}", portfolio.id), begun.chain(rest)))
}

fn transaction(NamedEntry { entry, symbol }: &NamedEntry) -> Vec<Cell> {
    let receipt = entry.receipt.as_ref();
    let slippage = receipt.zip(entry.price.as_ref()).map(|(receipt, price)| {
        let sold = entry.transaction_type == TransactionType::Sell;
        receipt.slippage(if sold { Side::Sell } else { Side::Buy }, price)
    });
    let mut cells = vec![
        Cell::number_of(entry.id.as_ref()),
        Cell::text(entry.timestamp.to_rfc3339()),
        Cell::text(entry.transaction_type),
        Cell::text_of(symbol.as_ref()),
        Cell::number_of(entry.quantity.as_ref()),
        Cell::number_of(entry.price.as_ref()),
        Cell::number(&entry.commission),
        Cell::number(&entry.amount),
        Cell::number_of(entry.realized_pnl.as_ref()),
        Cell::text_of(entry.order_id.as_ref()),
        Cell::text_of(receipt.map(|receipt| &receipt.source)),
        Cell::text_of(receipt.map(|receipt| &receipt.quoted_at)),
        Cell::text_of(receipt.map(|receipt| &receipt.rule)),
        Cell::number_of(receipt.map(|receipt| &receipt.quoted_price)),
        Cell::number_of(slippage.as_ref()),
        Cell::text_of(sentence(entry).as_ref()),
        Cell::number_of(receipt.map(|receipt| receipt.rounding.version()).as_ref()),
    ];
    cells.extend(terms(entry));
    cells
}

/// The columns that only splits, dividends, close-outs, exchanges and reversals have.
fn terms(entry: &domain::JournalEntry) -> [Cell; 8] {
    let (mut split_ratio, mut before, mut per_share) = (Cell::Empty, Cell::Empty, Cell::Empty);
    let (mut cash, mut exchange_ratio, mut given) = (Cell::Empty, Cell::Empty, Cell::Empty);
    match entry.action.as_ref().map(|action| &action.terms) {
        Some(BookedTerms::Split { ratio, before: shares }) => {
            (split_ratio, before) = (Cell::text(ratio), Cell::number(shares));
        }
        Some(BookedTerms::Dividend { per_share: amount }) => per_share = Cell::number(amount),
        Some(BookedTerms::ClosedOut { cash: amount, ratio }) => {
            (cash, exchange_ratio) = (Cell::number_of(amount.as_ref()), Cell::text_of(ratio.as_ref()));
        }
        Some(BookedTerms::Exchanged { ratio, given: shares }) => {
            (exchange_ratio, given) = (Cell::text(ratio), Cell::number(shares));
        }
        None => {}
    }
    let mut reverses = Cell::Empty;
    if let Some(reversal) = &entry.reverses {
        reverses = Cell::number(reversal.of);
        (split_ratio, before) = (Cell::text_of(reversal.ratio.as_ref()), Cell::number(&reversal.before));
    }
    let effective = entry.action.as_ref().map(|action| action.effective_at);
    let effective = effective.or(entry.reverses.as_ref().map(|reversal| reversal.effective_at));
    [Cell::text_of(effective.as_ref()), split_ratio, before, per_share, cash, exchange_ratio, given, reverses]
}

const SNAPSHOT_COLUMNS: [&str; 7] = [
    "date",
    "total_value",
    "cash_balance",
    "positions_value",
    "dividends_receivable",
    "net_flow",
    "provisional",
];

/// The daily snapshots, oldest first.
///
/// # Errors
/// The errors of [`Books::snapshots`](services::books::Books::snapshots).
pub async fn snapshots(
    services: &Services,
    access: &PortfolioAccess,
    (from, to): (Option<NaiveDate>, Option<NaiveDate>),
    format: TableFormat,
) -> Result<HttpResponse, Problem> {
    let portfolio = access.portfolio;
    let opened_on = exchange_date(services.books().portfolio(portfolio).await?.created_at);
    let today = services.market().booking_session().date;
    let (from, to) = (from.unwrap_or(opened_on).max(opened_on), to.unwrap_or(today).min(today));
    let head = format.head(&SNAPSHOT_COLUMNS)?;
    let services = services.clone();
    let rest = stream::try_unfold(from, move |first| {
        let services = services.clone();
        async move {
            if first > to {
                return Ok::<_, Problem>(None);
            }
            let next = first.checked_add_days(DAYS).unwrap_or(NaiveDate::MAX);
            let last = next.pred_opt().unwrap_or(next).min(to);
            let rows = services.books().snapshots(portfolio, Some(first), Some(last)).await?;
            Ok(Some((format.rows(rows.iter().map(snapshot))?, next)))
        }
    });
    Ok(file(&format!("snapshots-{}", portfolio.id), stream::iter([Ok(head)]).chain(rest)))
}

fn snapshot(row: &Snapshot) -> Vec<Cell> {
    vec![
        Cell::text(row.date),
        Cell::number(&row.total_value),
        Cell::number(&row.cash_balance),
        Cell::number(&row.positions_value),
        Cell::number(&row.dividends_receivable),
        Cell::number(&row.net_flow),
        Cell::text(row.provisional),
    ]
}

const PERFORMANCE_COLUMNS: [&str; 5] = ["date", "total_value", "net_flow", "twr", "benchmark"];

/// One row for each session of a window, like `series` in the API. Returns are ratios since the start of the window.
///
/// # Errors
/// The errors of [`Books::analysis`](services::books::Books::analysis).
pub async fn performance(
    services: &Services,
    access: &PortfolioAccess,
    (window, benchmark): (Window, Option<Symbol>),
    format: TableFormat,
) -> Result<HttpResponse, Problem> {
    let analysis = services.books().analysis(access.portfolio, window, benchmark.as_ref()).await;
    let window = analysis
        .map_err(|error| refused_benchmark(error, benchmark.as_ref()).unwrap_or_else(Problem::from))?;
    let rows = points(&window.analysis).into_iter().map(|point| {
        vec![
            Cell::text(point.date),
            Cell::number(&point.total_value),
            Cell::number(&point.net_flow),
            Cell::number(point.twr),
            Cell::number_of(point.benchmark.as_ref()),
        ]
    });
    whole(&format!("performance-{}", access.portfolio.id), &PERFORMANCE_COLUMNS, rows, format)
}

const POSITION_COLUMNS: [&str; 15] = [
    "symbol",
    "company_name",
    "sector",
    "quantity",
    "average_buy_price",
    "cost_basis",
    "last_price",
    "as_of",
    "source",
    "stale",
    "market_value",
    "unrealized_pnl",
    "realized_pnl",
    "day_change",
    "weight",
];

/// The positions at the newest prices, largest first.
///
/// # Errors
/// The errors of [`Books::valuation`](services::books::Books::valuation).
pub async fn positions(
    services: &Services,
    access: &PortfolioAccess,
    format: TableFormat,
) -> Result<HttpResponse, Problem> {
    let valuation = services.books().valuation(access.portfolio).await?.valuation;
    let rows = valuation.holdings.iter().map(|holding| {
        vec![
            Cell::text(&holding.listing.symbol),
            Cell::text(&holding.listing.company_name),
            Cell::text(&holding.listing.sector),
            Cell::number(&holding.position.quantity),
            Cell::number_of(holding.average_buy_price().as_ref()),
            Cell::number(&holding.position.cost_basis),
            Cell::number(&holding.quote.price),
            Cell::text(holding.quote.as_of),
            Cell::text(&holding.quote.source),
            Cell::text(holding.quote.stale),
            Cell::number(&holding.market_value),
            Cell::number(&holding.unrealized_pnl),
            Cell::number(&holding.position.realized_pnl),
            Cell::number_of(holding.day_change.as_ref()),
            Cell::number(valuation.weight(&holding.market_value)),
        ]
    });
    whole(&format!("positions-{}", access.portfolio.id), &POSITION_COLUMNS, rows, format)
}
