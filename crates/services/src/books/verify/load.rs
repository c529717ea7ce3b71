//! Reads the books of a range of portfolios and passes them to the rules, a large portfolio page by page.

use std::collections::{BTreeSet, HashMap};

use domain::journal::booked_since;
use domain::period::{EARLIEST, LATEST};
use domain::{Calendar, OrderId, PortfolioId, Snapshot, TransactionType};
use persistence::portfolios::PortfolioRecord;
use persistence::{Tx, corporate_actions, orders, portfolios, positions, snapshots, transactions};

use super::actions::{Actions, Known};
use super::report::Report;
use super::rules::{Check, Fills};
use super::valuations::Unpriced;
use crate::error::Result;
use crate::market::book_calendar::BookCalendar;

/// The most rows in memory at a time.
const MAX_ROWS: i64 = 20_000;

const ROWS_OF_PAGE: i64 = 2_000;

/// The most holdings in snapshots that wait for their closing prices.
pub(super) const MAX_HOLDINGS: usize = 50_000;

/// Checks a range in parts that fit into memory.
pub(super) fn check_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
    calendar: Calendar,
) -> Result<Report> {
    let calendar = &BookCalendar::load(tx, calendar)?;
    let mut sizes: HashMap<PortfolioId, i64> = HashMap::new();
    let counted = transactions::sizes(tx, after, last)?.into_iter();
    let counted = counted.chain(orders::sizes(tx, after, last)?).chain(snapshots::sizes(tx, after, last)?);
    for (id, rows) in counted {
        *sizes.entry(id).or_default() += rows;
    }
    let known = Known::load(tx, calendar)?;
    let mut report = Report::default();
    let mut window: Vec<PortfolioRecord> = Vec::new();
    let mut rows = 0;
    for row in portfolios::range(tx, after, last, i64::MAX)? {
        let own = sizes.get(&row.id).copied().unwrap_or(0);
        if rows + own > MAX_ROWS {
            report.add(check_window(tx, std::mem::take(&mut window), calendar, &known)?);
            rows = 0;
        }
        if own > MAX_ROWS {
            report.add(check_large(tx, &row, calendar, &known)?);
        } else {
            rows += own;
            window.push(row);
        }
    }
    report.add(check_window(tx, window, calendar, &known)?);
    Ok(report)
}

/// Checks portfolios with consecutive ids, with few statements.
fn check_window(
    tx: &mut Tx<'_>,
    rows: Vec<PortfolioRecord>,
    calendar: &BookCalendar,
    known: &Known,
) -> Result<Report> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Report::default()) };
    let (after, last) = (PortfolioId(first.id.0 - 1), last.id);
    let mut held = positions::of_range(tx, after, last)?;
    let journal = transactions::of_range(tx, after, last)?;
    let journal = by_portfolio(&journal, |entry| entry.portfolio_id);
    let orders = orders::booked_in_range(tx, after, last)?;
    let orders = by_portfolio(&orders, |order| order.portfolio_id);
    let finals = snapshots::finals_in_range(tx, after, last)?;
    let finals = by_portfolio(&finals, |snapshot| snapshot.portfolio_id);
    let had = corporate_actions::applied_in_range(tx, after, last)?;
    let had = by_portfolio(&had, |applied| applied.portfolio_id);

    let mut report = Report::default();
    let mut unpriced = Unpriced::default();
    for row in rows {
        let (entries, finals) = (of(&journal, row.id), of(&finals, row.id));
        let held = held.remove(&row.id).unwrap_or_default();
        let splits = entries.iter().filter(|entry| {
            matches!(entry.transaction_type, TransactionType::Split | TransactionType::Reversal)
        });
        let actions = Actions::new(known, held.keys(), of(&had, row.id), splits.cloned().collect());
        let mut check = Check::new(&row, finals, calendar, actions);
        let mut fills: HashMap<OrderId, Fills> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let since = booked_since(entry, &entries[..index]);
            check.entry(entry, &since, &mut unpriced);
            if let Some(order) = entry.order_id {
                fills.entry(order).or_default().add(entry);
            }
        }
        for order in of(&orders, row.id) {
            check.order(order, &fills.remove(&order.id).unwrap_or_default());
        }
        for order in fills.into_keys().collect::<BTreeSet<_>>() {
            check.differ(format!("the journal has fills of order {order}, which does not exist"));
        }
        report.add(check.end(held, &mut unpriced));
        if unpriced.is_full() {
            report.differences.extend(unpriced.price(tx, calendar)?);
        }
    }
    report.differences.extend(unpriced.price(tx, calendar)?);
    Ok(report)
}

/// Checks one portfolio in pages.
fn check_large(
    tx: &mut Tx<'_>,
    row: &PortfolioRecord,
    calendar: &BookCalendar,
    known: &Known,
) -> Result<Report> {
    let after = PortfolioId(row.id.0 - 1);
    let finals = snapshots::window(tx, row.id, EARLIEST, LATEST)?;
    let finals: Vec<Snapshot> = finals.into_iter().filter(|row| !row.provisional).collect();
    let mut unpriced = Unpriced::default();
    let mut differences = Vec::new();
    let held = positions::of_range(tx, after, row.id)?.remove(&row.id).unwrap_or_default();
    let had = corporate_actions::applied_in_range(tx, after, row.id)?;
    let splits = transactions::splits(tx, row.id)?;
    let mut check = Check::new(row, &finals, calendar, Actions::new(known, held.keys(), &had, splits));
    let mut trades = 0;
    let mut seen = None;
    loop {
        let entries = transactions::in_time_order(tx, row.id, seen, ROWS_OF_PAGE)?;
        let Some(last) = entries.last() else { break };
        seen = last.id.map(|id| (last.timestamp, id));
        for entry in &entries {
            let since = match (entry.transaction_type, entry.stock_id) {
                (TransactionType::Split | TransactionType::Reversal, Some(stock)) => {
                    let mut earlier = transactions::of_stock(tx, &[row.id], stock)?;
                    earlier.retain(|earlier| earlier.id < entry.id);
                    booked_since(entry, &earlier)
                }
                _ => Vec::new(),
            };
            check.entry(entry, &since, &mut unpriced);
            trades += usize::from(entry.order_id.is_some());
        }
        if unpriced.is_full() {
            differences.extend(unpriced.price(tx, calendar)?);
        }
    }
    let mut filled = 0;
    let mut before = None;
    loop {
        let page = orders::booked(tx, row.id, before, ROWS_OF_PAGE)?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        let ids: Vec<OrderId> = page.iter().map(|order| order.id).collect();
        let mut fills: HashMap<OrderId, Fills> = HashMap::new();
        for entry in transactions::of_orders(tx, &ids)? {
            if let Some(order) = entry.order_id {
                filled += 1;
                fills.entry(order).or_default().add(&entry);
            }
        }
        for order in &page {
            check.order(order, &fills.remove(&order.id).unwrap_or_default());
        }
    }
    if filled != trades {
        check.differ(format!("the journal has {trades} trades, the orders {filled} fills"));
    }
    let mut report = check.end(held, &mut unpriced);
    report.differences.extend(differences);
    report.differences.extend(unpriced.price(tx, calendar)?);
    Ok(report)
}

/// Groups rows that are ordered by portfolio.
fn by_portfolio<T>(rows: &[T], id: impl Fn(&T) -> PortfolioId) -> HashMap<PortfolioId, &[T]> {
    rows.chunk_by(|a, b| id(a) == id(b)).map(|own| (id(&own[0]), own)).collect()
}

pub(super) fn of<'a, T>(rows: &HashMap<PortfolioId, &'a [T]>, id: PortfolioId) -> &'a [T] {
    rows.get(&id).copied().unwrap_or_default()
}
