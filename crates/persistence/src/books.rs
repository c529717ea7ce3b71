//! Writes everything that a batch of orders changes.

use diesel::prelude::*;
use domain::{JournalEntry, Order, Portfolio, Timestamp};

use crate::bulk::CombinedWrites;
use crate::connection::Conn;
use crate::orders::OrderRow;
use crate::{StoreError, Tx, orders, portfolios, positions, transactions};

/// The rows to write. Empty lists write nothing.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// See [`orders::insert`].
    pub new_orders: Vec<(&'a Order, &'a str)>,
    pub entries: &'a [JournalEntry],
    /// Positions with a row.
    pub positions: Vec<positions::ChangedPosition<'a>>,
    /// Positions without a row.
    pub new_positions: Vec<positions::ChangedPosition<'a>>,
    /// See [`portfolios::save_cash`].
    pub portfolios: Vec<(&'a Portfolio, Timestamp)>,
}

/// Writes the changes and returns the new journal lines with their ids, which increase in the given order. On
/// PostgreSQL this is one statement: for a small batch, four round trips would take longer than the writing.
pub fn save(tx: &mut Tx<'_>, changes: &Changes<'_>) -> Result<Vec<JournalEntry>, StoreError> {
    let Changes { new_orders, entries, positions, new_positions, portfolios } = changes;
    let Conn::Postgres(c) = &mut *tx.conn else {
        orders::insert(tx, new_orders)?;
        positions::save(tx, positions)?;
        positions::save(tx, new_positions)?;
        portfolios::save_cash(tx, portfolios)?;
        return transactions::append(tx, entries);
    };
    let rows: Vec<OrderRow> = new_orders.iter().map(|(order, _)| OrderRow::from(*order)).collect();
    let mut writes = Vec::new();
    if !new_orders.is_empty() {
        writes.push(orders::insertion(&rows, new_orders));
    }
    if !positions.is_empty() {
        writes.push(positions::updating(positions));
    }
    if !new_positions.is_empty() {
        writes.push(positions::saving(new_positions));
    }
    if !portfolios.is_empty() {
        writes.push(portfolios::saving(portfolios));
    }
    if entries.is_empty() {
        if let Some(last) = writes.pop() {
            CombinedWrites { first: writes, last }.execute(c)?;
        }
        return Ok(Vec::new());
    }
    let ids = CombinedWrites { first: writes, last: transactions::appending(entries) }.load(c)?;
    Ok(transactions::with_ids(entries, ids))
}
