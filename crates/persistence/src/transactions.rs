//! The journal: rows are added and never changed.

use diesel::prelude::*;
use domain::{
    FillRule, JournalEntry, Money, OrderId, PortfolioId, Price, PriceSource, Quantity, Receipt, StockId,
    Symbol, Timestamp, TransactionId, TransactionType,
};

use crate::schema::{portfolios, stocks, transactions, users};
use crate::users::lower;
use crate::{StoreError, Tx};

#[derive(Queryable, Selectable)]
#[diesel(table_name = transactions)]
struct TransactionRow {
    id: TransactionId,
    portfolio_id: PortfolioId,
    stock_id: Option<StockId>,
    order_id: Option<OrderId>,
    transaction_type: TransactionType,
    quantity: Option<Quantity>,
    price: Option<Price>,
    commission: Money,
    amount: Money,
    realized_pnl: Option<Money>,
    timestamp: Timestamp,
    quote_source: Option<String>,
    quoted_at: Option<Timestamp>,
    fill_rule: Option<FillRule>,
}

impl From<TransactionRow> for JournalEntry {
    fn from(row: TransactionRow) -> Self {
        let receipt = match (row.quote_source, row.quoted_at, row.fill_rule) {
            (Some(source), Some(quoted_at), Some(rule)) => {
                Some(Receipt { source: PriceSource(source), quoted_at, rule })
            }
            _ => None,
        };
        Self {
            id: Some(row.id),
            portfolio_id: row.portfolio_id,
            stock_id: row.stock_id,
            order_id: row.order_id,
            transaction_type: row.transaction_type,
            quantity: row.quantity,
            price: row.price,
            commission: row.commission,
            amount: row.amount,
            realized_pnl: row.realized_pnl,
            timestamp: row.timestamp,
            receipt,
        }
    }
}

/// Appends an entry and answers it with its id.
pub fn append(tx: &mut Tx<'_>, entry: &JournalEntry) -> Result<JournalEntry, StoreError> {
    let receipt = entry.receipt.as_ref();
    let id = diesel::insert_into(transactions::table)
        .values((
            transactions::portfolio_id.eq(entry.portfolio_id),
            transactions::stock_id.eq(entry.stock_id),
            transactions::order_id.eq(entry.order_id),
            transactions::transaction_type.eq(entry.transaction_type),
            transactions::quantity.eq(&entry.quantity),
            transactions::price.eq(&entry.price),
            transactions::commission.eq(&entry.commission),
            transactions::amount.eq(&entry.amount),
            transactions::realized_pnl.eq(&entry.realized_pnl),
            transactions::timestamp.eq(entry.timestamp),
            transactions::quote_source.eq(receipt.map(|receipt| receipt.source.0.as_str())),
            transactions::quoted_at.eq(receipt.map(|receipt| receipt.quoted_at)),
            transactions::fill_rule.eq(receipt.map(|receipt| receipt.rule)),
        ))
        .returning(transactions::id)
        .get_result(tx.conn)?;
    Ok(JournalEntry { id: Some(id), ..entry.clone() })
}

/// Which entries of a journal are wanted; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub symbol: Option<Symbol>,
    pub transaction_type: Option<TransactionType>,
    /// The first instant wanted.
    pub from: Option<Timestamp>,
    /// The first instant not wanted any more.
    pub until: Option<Timestamp>,
}

/// Newest first, those before the entry with that time and id.
pub fn page(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    filter: &Filter,
    before: Option<(Timestamp, TransactionId)>,
    limit: i64,
) -> Result<Vec<(JournalEntry, Option<Symbol>)>, StoreError> {
    let mut query = transactions::table
        .left_join(stocks::table)
        .filter(transactions::portfolio_id.eq(portfolio))
        .select((TransactionRow::as_select(), stocks::symbol.nullable()))
        .into_boxed();
    if let Some(symbol) = &filter.symbol {
        query = query.filter(stocks::symbol.eq(symbol));
    }
    if let Some(transaction_type) = filter.transaction_type {
        query = query.filter(transactions::transaction_type.eq(transaction_type));
    }
    if let Some(from) = filter.from {
        query = query.filter(transactions::timestamp.ge(from));
    }
    if let Some(until) = filter.until {
        query = query.filter(transactions::timestamp.lt(until));
    }
    if let Some((at, id)) = before {
        query = query.filter(
            transactions::timestamp.lt(at).or(transactions::timestamp.eq(at).and(transactions::id.lt(id))),
        );
    }
    let rows: Vec<(TransactionRow, Option<Symbol>)> =
        query.order((transactions::timestamp.desc(), transactions::id.desc())).limit(limit).load(tx.conn)?;
    Ok(rows.into_iter().map(|(row, symbol)| (row.into(), symbol)).collect())
}

/// The entries of the given orders, in order of id.
pub fn of_orders(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::order_id.eq_any(orders))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The entries of several portfolios at or after an instant, in order of id.
pub fn since(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    from: Timestamp,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::timestamp.ge(from)))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The journal of one portfolio from its beginning: up to `limit` entries with ids above `after`.
pub fn replay(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    after: TransactionId,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio).and(transactions::id.gt(after)))
        .order(transactions::id)
        .limit(limit)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The journal of one portfolio in the order of time: up to `limit` entries after the given one.
pub fn in_time_order(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    after: Option<(Timestamp, TransactionId)>,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut query = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .select(TransactionRow::as_select())
        .into_boxed();
    if let Some((at, id)) = after {
        query = query.filter(
            transactions::timestamp.gt(at).or(transactions::timestamp.eq(at).and(transactions::id.gt(id))),
        );
    }
    let rows: Vec<TransactionRow> =
        query.order((transactions::timestamp, transactions::id)).limit(limit).load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The external flows of a portfolio's life: deposits (positive) and withdrawals (negative), oldest first.
pub fn flows(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Vec<(Timestamp, Money)>, StoreError> {
    Ok(transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .filter(
            transactions::transaction_type.eq_any([TransactionType::Deposit, TransactionType::Withdrawal]),
        )
        .order(transactions::id)
        .select((transactions::timestamp, transactions::amount))
        .load(tx.conn)?)
}

pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(transactions::table.count().get_result(tx.conn)?)
}

/// An entry with the names around it, for an overview of everybody's.
#[derive(Debug, Clone)]
pub struct NamedEntry {
    pub entry: JournalEntry,
    pub symbol: Option<Symbol>,
    pub portfolio: String,
    pub username: String,
}

/// Everybody's, newest first, those with ids below `before`; `search` is a part of an owner's name or a symbol.
pub fn page_of_all(
    tx: &mut Tx<'_>,
    search: &str,
    before: Option<TransactionId>,
    limit: i64,
) -> Result<Vec<NamedEntry>, StoreError> {
    let mut query = transactions::table
        .inner_join(portfolios::table.inner_join(users::table))
        .left_join(stocks::table)
        .select((TransactionRow::as_select(), stocks::symbol.nullable(), portfolios::name, users::username))
        .into_boxed();
    if !search.is_empty() {
        let pattern = crate::stocks::containing(search);
        query = query.filter(
            lower(users::username)
                .like(lower(pattern))
                .escape('\\')
                .or(stocks::symbol.eq(search.trim().to_uppercase()).assume_not_null()),
        );
    }
    if let Some(before) = before {
        query = query.filter(transactions::id.lt(before));
    }
    let rows: Vec<(TransactionRow, Option<Symbol>, String, String)> =
        query.order(transactions::id.desc()).limit(limit).load(tx.conn)?;
    Ok(rows
        .into_iter()
        .map(|(row, symbol, portfolio, username)| NamedEntry {
            entry: row.into(),
            symbol,
            portfolio,
            username,
        })
        .collect())
}
