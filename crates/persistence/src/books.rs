//! All that a batch of orders changes, written at once.

use diesel::prelude::*;
use domain::{JournalEntry, Order, Portfolio, Timestamp};

use crate::bulk::Together;
use crate::connection::Conn;
use crate::orders::OrderRow;
use crate::{StoreError, Tx, orders, portfolios, positions, transactions};

/// What is to be written. Empty lists write nothing.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// As [`orders::insert`] takes them.
    pub new_orders: Vec<(&'a Order, &'a str)>,
    pub entries: &'a [JournalEntry],
    /// Positions that have been read.
    pub positions: Vec<positions::Changed<'a>>,
    /// Positions of which no row was found.
    pub new_positions: Vec<positions::Changed<'a>>,
    /// As [`portfolios::save_cash`] takes them.
    pub portfolios: Vec<(&'a Portfolio, Timestamp)>,
}

/// Answers the journal's new entries with their ids, which rise in the order given. On PostgreSQL it is one statement:
/// four would cost a small batch more in round trips than in writing.
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
            Together { first: writes, last }.execute(c)?;
        }
        return Ok(Vec::new());
    }
    let ids = Together { first: writes, last: transactions::appending(entries) }.load(c)?;
    Ok(transactions::with_ids(entries, ids))
}
