//! Rebuilds the books from the journal and reports every difference.

use std::collections::BTreeMap;

use domain::journal::Books;
use domain::{
    JournalEntry, Money, OrderId, PortfolioId, Position, Quantity, Snapshot, StockId, TransactionId,
    TransactionType,
};
use persistence::{Tx, orders, portfolios, positions, snapshots, stocks, transactions};

use crate::Services;
use crate::error::{Error, Result};
use crate::performance::{EARLIEST, LATEST};

const PORTFOLIOS_AT_ONCE: i64 = 100;
const ENTRIES_AT_ONCE: i64 = 1000;

/// Something stored that is not what the journal gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub portfolio_id: PortfolioId,
    pub what: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub portfolios: usize,
    pub entries: usize,
    pub snapshots: usize,
    pub differences: Vec<Difference>,
}

impl Services {
    /// Checks all portfolios: cash, positions, cost basis, realised results, orders and final snapshots.
    /// `progress` is told how many are done. Memory stays bounded: entries are read in pages.
    ///
    /// # Errors
    /// Only when the database fails; a difference is no error.
    pub async fn verify(&self, mut progress: impl FnMut(usize) + Send) -> Result<Report> {
        let mut report = Report::default();
        let mut after = PortfolioId(0);
        loop {
            let ids: Vec<PortfolioId> = self
                .store
                .read(move |tx| {
                    portfolios::range(tx, after, PortfolioId(i64::MAX), far_future(), PORTFOLIOS_AT_ONCE)
                        .map_err(Error::from)
                })
                .await?
                .into_iter()
                .map(|row| row.id)
                .collect();
            let Some(&last) = ids.last() else { return Ok(report) };
            after = last;
            let calendar = self.market.calendar;
            for id in ids {
                let one = self.store.read(move |tx| check(tx, id, calendar)).await?;
                report.portfolios += one.portfolios;
                report.entries += one.entries;
                report.snapshots += one.snapshots;
                report.differences.extend(one.differences);
                progress(report.portfolios);
            }
        }
    }
}

fn check(tx: &mut Tx<'_>, id: PortfolioId, calendar: domain::Calendar) -> Result<Report> {
    let mut report = Report { portfolios: 1, ..Report::default() };
    let mut differ = |what: String| report.differences.push(Difference { portfolio_id: id, what });

    let mut books = Books::default();
    let mut trades = 0;
    let mut after = TransactionId(0);
    loop {
        let entries = transactions::replay(tx, id, after, ENTRIES_AT_ONCE)?;
        let Some(last) = entries.last().and_then(|entry| entry.id) else { break };
        after = last;
        report.entries += entries.len();
        for entry in &entries {
            trades += usize::from(entry.order_id.is_some());
            if let Err(what) = books.apply(entry) {
                differ(format!("transaction {}: {what}", entry.id.map_or(0, |id| id.0)));
            }
        }
    }
    let Some(row) = portfolios::range(tx, PortfolioId(id.0 - 1), id, far_future(), 1)?.pop() else {
        // Deleted in the meantime.
        return Ok(Report::default());
    };
    if row.cash_balance != books.cash_balance {
        differ(format!("cash_balance is {}, the journal gives {}", row.cash_balance, books.cash_balance));
    }
    let mut stored: BTreeMap<StockId, Position> =
        positions::of_portfolios(tx, &[id])?.remove(&id).unwrap_or_default().into_iter().collect();
    for (stock, expected) in &books.positions {
        let found = stored.remove(stock).unwrap_or_default();
        if found != *expected {
            differ(format!("position in stock {stock} is {found:?}, the journal gives {expected:?}"));
        }
    }
    for (stock, found) in stored.into_iter().filter(|(_, position)| *position != Position::default()) {
        differ(format!("position in stock {stock} is {found:?}, the journal knows nothing of it"));
    }
    for what in check_orders(tx, id, trades)? {
        differ(what);
    }
    let rows = snapshots::window(tx, id, EARLIEST, LATEST)?;
    let finals: Vec<Snapshot> = rows.into_iter().filter(|row| !row.provisional).collect();
    report.snapshots = finals.len();
    for what in check_snapshots(tx, id, &finals, calendar)? {
        report.differences.push(Difference { portfolio_id: id, what });
    }
    Ok(report)
}

/// Every order is what its fills in the journal say, and the journal's trades are fills of these orders.
fn check_orders(tx: &mut Tx<'_>, id: PortfolioId, trades: usize) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let mut filled = 0;
    let mut after = None;
    loop {
        let found = orders::replay(tx, id, after, ENTRIES_AT_ONCE)?;
        let Some(last) = found.last() else { break };
        after = Some(last.id);
        let ids: Vec<OrderId> = found.iter().map(|order| order.id).collect();
        let fills = transactions::of_orders(tx, &ids)?;
        for order in &found {
            let own: Vec<&JournalEntry> =
                fills.iter().filter(|fill| fill.order_id == Some(order.id)).collect();
            filled += own.len();
            let quantity =
                own.iter().filter_map(|fill| fill.quantity.as_ref()).fold(Quantity::zero(), |sum, q| sum + q);
            let agrees = own.iter().all(|fill| {
                fill.portfolio_id == id
                    && fill.stock_id == Some(order.stock_id)
                    && fill.transaction_type.as_str() == order.side.as_str()
                    && fill.price.as_ref() == Some(&order.filled_price)
            });
            if quantity != order.filled_quantity || !agrees {
                differences.push(format!("order {}: its fills in the journal say something else", order.id));
            }
        }
    }
    if filled != trades {
        differences.push(format!("the journal has {trades} trades, the orders {filled} fills"));
    }
    Ok(differences)
}

fn far_future() -> domain::Timestamp {
    LATEST.and_hms_opt(0, 0, 0).map(|at| at.and_utc().into()).expect("a time of day")
}

/// Walks journal and snapshots side by side in the order of time.
fn check_snapshots(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    snapshots: &[Snapshot],
    calendar: domain::Calendar,
) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let mut journal = Journal::new(id);
    let mut cash = Money::zero();
    let mut held: BTreeMap<StockId, Quantity> = BTreeMap::new();
    for snapshot in snapshots {
        let date = snapshot.date;
        let Some(session) = calendar.session(date) else {
            differences.push(format!("snapshot of {date}: the market had no session on that day"));
            continue;
        };
        let flows_from = calendar.before(date).closes_at;
        let mut net_flow = Money::zero();
        while let Some(entry) = journal.next_before(tx, session.closes_at)? {
            cash += &entry.amount;
            if entry.transaction_type.is_external_flow() && entry.timestamp >= flows_from {
                net_flow += &entry.amount;
            }
            if let (Some(stock), Some(quantity)) = (entry.stock_id, &entry.quantity) {
                let before = held.remove(&stock).unwrap_or_else(Quantity::zero);
                let after = match entry.transaction_type {
                    TransactionType::Sell => before.checked_sub(quantity).unwrap_or_else(Quantity::zero),
                    _ => before + quantity,
                };
                held.insert(stock, after);
            }
        }
        held.retain(|_, quantity| !quantity.is_zero());
        let ids: Vec<StockId> = held.keys().copied().collect();
        let mut value = Money::zero();
        let mut priced = 0;
        for (stock, day, close) in stocks::closes_on(tx, &ids, date)? {
            if day == date {
                value += &close.times(&held[&stock]);
                priced += 1;
            }
        }
        let mut expect = |name: &str, stored: &Money, computed: &Money| {
            if stored != computed {
                differences
                    .push(format!("snapshot of {date}: {name} is {stored}, the journal gives {computed}"));
            }
        };
        expect("cash_balance", &snapshot.cash_balance, &cash);
        expect("net_flow", &snapshot.net_flow, &net_flow);
        expect("positions_value", &snapshot.positions_value, &value);
        expect("total_value", &snapshot.total_value, &(value.clone() + &cash));
        if priced != ids.len() {
            differences
                .push(format!("snapshot of {date}: {} closing prices are missing", ids.len() - priced));
        }
    }
    Ok(differences)
}

/// The journal in the order of time, read in pages.
struct Journal {
    portfolio: PortfolioId,
    read: std::collections::VecDeque<JournalEntry>,
    last: Option<(domain::Timestamp, TransactionId)>,
    ended: bool,
}

impl Journal {
    fn new(portfolio: PortfolioId) -> Self {
        Self { portfolio, read: std::collections::VecDeque::new(), last: None, ended: false }
    }

    fn next_before(&mut self, tx: &mut Tx<'_>, until: domain::Timestamp) -> Result<Option<JournalEntry>> {
        if self.read.is_empty() && !self.ended {
            self.read = transactions::in_time_order(tx, self.portfolio, self.last, ENTRIES_AT_ONCE)?.into();
            self.last = self.read.back().and_then(|entry| Some((entry.timestamp, entry.id?)));
            self.ended = self.read.is_empty();
        }
        match self.read.front() {
            Some(entry) if entry.timestamp < until => Ok(self.read.pop_front()),
            _ => Ok(None),
        }
    }
}
