//! The journal: rows are only added, never changed.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use domain::journal::{BookedTerms, Reversal};
use domain::sql::{Exact, Moment};
use domain::{
    ActionId, BookedAction, FillRule, JournalEntry, Money, OrderId, PerShare, PortfolioId, PortfolioRef,
    Price, PriceSource, Quantity, Receipt, Rounding, StockId, Symbol, Timestamp, TransactionFilter,
    TransactionId, TransactionType,
};

use crate::bulk::Unnest;
use crate::connection::Conn;
use crate::schema::{portfolios, stocks, transactions, users};
use crate::users::lower;
use crate::{Statement, StoreError, Tx};

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
    quoted_price: Option<Price>,
    rounding: Option<i32>,
    action_id: Option<ActionId>,
    effective_at: Option<Timestamp>,
    split_ratio: Option<String>,
    quantity_before: Option<Quantity>,
    per_share: Option<PerShare>,
    reverses_id: Option<TransactionId>,
    cash_per_share: Option<PerShare>,
    exchange_ratio: Option<String>,
    quantity_given: Option<Quantity>,
}

impl TransactionRow {
    /// Converts the columns of an action. Constraints of the table and [`append`] ensure that the ratio and all terms
    /// are valid.
    fn action(&mut self) -> Option<BookedAction> {
        let (id, effective_at) = self.action_id.zip(self.effective_at)?;
        let ratio = self.split_ratio.as_deref().and_then(|ratio| ratio.parse().ok());
        let exchange = self.exchange_ratio.as_deref().and_then(|ratio| ratio.parse().ok());
        if self.transaction_type == TransactionType::CloseOut {
            let terms = BookedTerms::ClosedOut { cash: self.cash_per_share.take(), ratio: exchange };
            return Some(BookedAction { id, effective_at, terms });
        }
        if let Some((ratio, given)) = exchange.zip(self.quantity_given.take()) {
            return Some(BookedAction { id, effective_at, terms: BookedTerms::Exchanged { ratio, given } });
        }
        let terms = match (ratio, self.quantity_before.take(), self.per_share.take()) {
            (Some(ratio), Some(before), _) => BookedTerms::Split { ratio, before },
            (_, _, Some(per_share)) => BookedTerms::Dividend { per_share },
            _ => return None,
        };
        Some(BookedAction { id, effective_at, terms })
    }

    fn reverses(&mut self) -> Option<Reversal> {
        Some(Reversal {
            of: self.reverses_id?,
            before: self.quantity_before.take()?,
            effective_at: self.effective_at?,
            ratio: self.split_ratio.as_deref().and_then(|ratio| ratio.parse().ok()),
        })
    }
}

impl From<TransactionRow> for JournalEntry {
    fn from(mut row: TransactionRow) -> Self {
        let reverses = row.reverses();
        let action = row.action();
        let receipt = match (row.quote_source, row.quoted_at, row.fill_rule, row.quoted_price) {
            (Some(source), Some(quoted_at), Some(rule), Some(quoted_price)) => {
                let (source, rounding) = (PriceSource::from(source), Rounding::of_version(row.rounding));
                Some(Receipt { source, quoted_at, rule, quoted_price, rounding })
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
            action,
            reverses,
        }
    }
}

/// Appends lines and returns them with their ids, which increase in the given order.
pub fn append(tx: &mut Tx<'_>, entries: &[JournalEntry]) -> Result<Vec<JournalEntry>, StoreError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    // Trades are frequent, and do not use the columns of actions and reversals.
    if entries.iter().any(|entry| entry.action.is_some() || entry.reverses.is_some()) {
        return append_one_by_one(tx, entries);
    }
    let ids: Vec<TransactionId> = match tx.conn {
        Conn::Sqlite(c) => {
            let mut ids = Vec::with_capacity(entries.len());
            for entry in entries {
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
                        transactions::quote_source.eq(receipt.map(|receipt| receipt.source.as_str())),
                        transactions::quoted_at.eq(receipt.map(|receipt| receipt.quoted_at)),
                        transactions::fill_rule.eq(receipt.map(|receipt| receipt.rule)),
                        transactions::quoted_price.eq(receipt.map(|receipt| &receipt.quoted_price)),
                        transactions::rounding.eq(receipt.map(|receipt| receipt.rounding.version())),
                    ))
                    .returning(transactions::id)
                    .get_result(c)?;
                ids.push(id);
            }
            ids
        }
        Conn::Postgres(c) => appending(entries).load(c)?,
    };
    Ok(with_ids(entries, ids))
}

pub(crate) fn with_ids(entries: &[JournalEntry], ids: Vec<TransactionId>) -> Vec<JournalEntry> {
    entries.iter().zip(ids).map(|(entry, id)| JournalEntry { id: Some(id), ..entry.clone() }).collect()
}

/// The statement that appends entries. It returns the ids in the order of the entries.
pub(crate) fn appending(entries: &[JournalEntry]) -> Unnest<'_, BigInt> {
    let receipts = || entries.iter().map(|entry| entry.receipt.as_ref());
    Unnest::<BigInt>::new(
        "INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, \
         amount, realized_pnl, timestamp, quote_source, quoted_at, fill_rule, quoted_price, rounding) SELECT * FROM",
        "RETURNING id",
    )
    .column::<BigInt, _>(entries.iter().map(|entry| entry.portfolio_id))
    .column::<Nullable<BigInt>, _>(entries.iter().map(|entry| entry.stock_id))
    .column::<Nullable<Text>, _>(entries.iter().map(|entry| entry.order_id))
    .column::<Text, _>(entries.iter().map(|entry| entry.transaction_type))
    .column::<Nullable<Exact>, _>(entries.iter().map(|entry| entry.quantity.as_ref()))
    .column::<Nullable<Exact>, _>(entries.iter().map(|entry| entry.price.as_ref()))
    .column::<Exact, _>(entries.iter().map(|entry| &entry.commission))
    .column::<Exact, _>(entries.iter().map(|entry| &entry.amount))
    .column::<Nullable<Exact>, _>(entries.iter().map(|entry| entry.realized_pnl.as_ref()))
    .column::<Moment, _>(entries.iter().map(|entry| entry.timestamp))
    .column::<Nullable<Text>, _>(receipts().map(|receipt| receipt.map(|receipt| receipt.source.as_str())))
    .column::<Nullable<Moment>, _>(receipts().map(|receipt| receipt.map(|receipt| receipt.quoted_at)))
    .column::<Nullable<Text>, _>(receipts().map(|receipt| receipt.map(|receipt| receipt.rule)))
    .column::<Nullable<Exact>, _>(receipts().map(|receipt| receipt.map(|receipt| &receipt.quoted_price)))
    .column::<Nullable<Integer>, _>(receipts().map(|receipt| receipt.map(|receipt| receipt.rounding.version())))
}

fn append_one_by_one(tx: &mut Tx<'_>, entries: &[JournalEntry]) -> Result<Vec<JournalEntry>, StoreError> {
    let mut appended = Vec::with_capacity(entries.len());
    for entry in entries {
        let (ratio, before, per_share) = match entry.action.as_ref().map(|action| &action.terms) {
            Some(BookedTerms::Split { ratio, before }) => (Some(ratio.to_string()), Some(before), None),
            Some(BookedTerms::Dividend { per_share }) => (None, None, Some(per_share)),
            Some(BookedTerms::ClosedOut { .. } | BookedTerms::Exchanged { .. }) => (None, None, None),
            None => match &entry.reverses {
                Some(reversal) => {
                    (reversal.ratio.map(|ratio| ratio.to_string()), Some(&reversal.before), None)
                }
                None => (None, None, None),
            },
        };
        let (cash, exchange, given) = match entry.action.as_ref().map(|action| &action.terms) {
            Some(BookedTerms::ClosedOut { cash, ratio }) => (cash.as_ref(), *ratio, None),
            Some(BookedTerms::Exchanged { ratio, given }) => (None, Some(*ratio), Some(given)),
            _ => (None, None, None),
        };
        let reverses = entry.reverses.as_ref();
        let effective_at = entry.action.as_ref().map(|action| action.effective_at);
        let id = diesel::insert_into(transactions::table)
            .values((
                transactions::portfolio_id.eq(entry.portfolio_id),
                transactions::stock_id.eq(entry.stock_id),
                transactions::transaction_type.eq(entry.transaction_type),
                transactions::quantity.eq(entry.quantity.as_ref()),
                transactions::commission.eq(&entry.commission),
                transactions::amount.eq(&entry.amount),
                transactions::realized_pnl.eq(entry.realized_pnl.as_ref()),
                transactions::timestamp.eq(entry.timestamp),
                transactions::action_id.eq(entry.action.as_ref().map(|action| action.id)),
                transactions::effective_at
                    .eq(effective_at.or(reverses.map(|reversal| reversal.effective_at))),
                transactions::split_ratio.eq(ratio),
                transactions::quantity_before.eq(before),
                transactions::per_share.eq(per_share),
                transactions::reverses_id.eq(reverses.map(|reversal| reversal.of)),
                transactions::cash_per_share.eq(cash),
                transactions::exchange_ratio.eq(exchange.map(|ratio| ratio.to_string())),
                transactions::quantity_given.eq(given),
            ))
            .returning(transactions::id)
            .get_result(tx.conn)?;
        appended.push(JournalEntry { id: Some(id), ..entry.clone() });
    }
    Ok(appended)
}

/// The lines of a portfolio of the user, newest first, before the line with the given time and id.
pub fn page(
    statement: Statement<'_>,
    portfolio: PortfolioRef,
    filter: &TransactionFilter,
    before: Option<(Timestamp, TransactionId)>,
    limit: i64,
) -> Result<Vec<(JournalEntry, Option<Symbol>)>, StoreError> {
    let mut query = transactions::table
        .inner_join(portfolios::table)
        .left_join(stocks::table)
        .filter(transactions::portfolio_id.eq(portfolio.id).and(portfolios::user_id.eq(portfolio.user)))
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
    let query = query.order((transactions::timestamp.desc(), transactions::id.desc())).limit(limit);
    let rows: Vec<(TransactionRow, Option<Symbol>)> = query.load(statement.conn)?;
    Ok(rows.into_iter().map(|(row, symbol)| (row.into(), symbol)).collect())
}

/// One entry of a portfolio.
pub fn by_id(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    id: TransactionId,
) -> Result<Option<JournalEntry>, StoreError> {
    let row: Option<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio).and(transactions::id.eq(id)))
        .select(TransactionRow::as_select())
        .first(tx.conn)
        .optional()?;
    Ok(row.map(JournalEntry::from))
}

/// The entries of the given orders, ordered by id.
pub fn of_orders(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::order_id.eq_any(orders))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The entries of several portfolios at or after a time, ordered by id.
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

/// The amounts of the deposits (positive) and withdrawals (negative) of these portfolios from `from` to just before
/// `until`, in order of portfolio and id.
pub fn flows_between(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<(PortfolioId, Money)>, StoreError> {
    let flows = [TransactionType::Deposit, TransactionType::Withdrawal];
    Ok(transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios))
        .filter(transactions::timestamp.ge(from).and(transactions::timestamp.lt(until)))
        .filter(transactions::transaction_type.eq_any(flows))
        .order((transactions::portfolio_id, transactions::id))
        .select((transactions::portfolio_id, transactions::amount))
        .load(tx.conn)?)
}

/// Up to `limit` entries of one portfolio at or after `from` and before the entry with that time and id, newest first.
pub fn page_since(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    from: Timestamp,
    before: Option<(Timestamp, TransactionId)>,
    limit: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut query = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio).and(transactions::timestamp.ge(from)))
        .select(TransactionRow::as_select())
        .into_boxed();
    if let Some((at, id)) = before {
        query = query
            // The first condition lets the database begin at that place of the index.
            .filter(transactions::timestamp.le(at))
            .filter(transactions::timestamp.lt(at).or(transactions::id.lt(id)));
    }
    let query = query.order((transactions::timestamp.desc(), transactions::id.desc())).limit(limit);
    let rows: Vec<TransactionRow> = query.load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The number of entries at or after a time for each of these portfolios; portfolios without entries are omitted.
pub fn counts_since(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    from: Timestamp,
) -> Result<HashMap<PortfolioId, i64>, StoreError> {
    let counts: Vec<(PortfolioId, i64)> = transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::timestamp.ge(from)))
        .group_by(transactions::portfolio_id)
        .select((transactions::portfolio_id, diesel::dsl::count_star()))
        .load(tx.conn)?;
    Ok(counts.into_iter().collect())
}

/// The entries of one portfolio at or after a time, or all, ordered by id.
pub fn of_portfolio(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    from: Option<Timestamp>,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut query = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .select(TransactionRow::as_select())
        .into_boxed();
    if let Some(from) = from {
        query = query.filter(transactions::timestamp.ge(from));
    }
    let rows: Vec<TransactionRow> = query.order(transactions::id).load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// When the newest entry of a portfolio was booked; `None` when it has none.
pub fn newest_time(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Option<Timestamp>, StoreError> {
    Ok(transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .order((transactions::timestamp.desc(), transactions::id.desc()))
        .select(transactions::timestamp)
        .first(tx.conn)
        .optional()?)
}

/// The entries of one portfolio at or after a time and up to `last`, ordered by id.
pub fn since_up_to(
    statement: Statement<'_>,
    portfolio: PortfolioId,
    from: Timestamp,
    last: TransactionId,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .filter(transactions::timestamp.ge(from).and(transactions::id.le(last)))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(statement.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The entries of one stock in several portfolios at or after a time, ordered by id.
pub fn of_stock_since(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    stock: StockId,
    from: Timestamp,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::timestamp.ge(from)))
        .filter(transactions::stock_id.eq(stock))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// Returns the portfolios among `portfolios` whose journals contain a split of the stock.
pub fn with_splits_of(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    stock: StockId,
) -> Result<Vec<PortfolioId>, StoreError> {
    Ok(transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::stock_id.eq(stock)))
        .filter(transactions::transaction_type.eq(TransactionType::Split))
        .order(transactions::portfolio_id)
        .select(transactions::portfolio_id)
        .distinct()
        .load(tx.conn)?)
}

/// All entries of one stock in several portfolios, ordered by id.
pub fn of_stock(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    stock: StockId,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq_any(portfolios).and(transactions::stock_id.eq(stock)))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The splits and reversals of a portfolio, ordered by id.
pub fn splits(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.eq(portfolio))
        .filter(transactions::transaction_type.eq_any([TransactionType::Split, TransactionType::Reversal]))
        .order(transactions::id)
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The number of lines of the portfolios with ids in `(after, last]`; portfolios without lines are omitted.
pub fn sizes(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<(PortfolioId, i64)>, StoreError> {
    Ok(transactions::table
        .filter(transactions::portfolio_id.gt(after).and(transactions::portfolio_id.le(last)))
        .group_by(transactions::portfolio_id)
        .select((transactions::portfolio_id, diesel::dsl::count_star()))
        .load(tx.conn)?)
}

/// The journals of the portfolios with ids in `(after, last]`, grouped by portfolio, each ordered by time.
pub fn of_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<TransactionRow> = transactions::table
        .filter(transactions::portfolio_id.gt(after).and(transactions::portfolio_id.le(last)))
        // In this order, the index can be read without sorting.
        .order((transactions::portfolio_id.desc(), transactions::timestamp, transactions::id))
        .select(TransactionRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// The journal of one portfolio ordered by time: up to `limit` entries after the given one.
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
        // The first condition is redundant; it makes the scan of the index start there.
        query = query.filter(transactions::timestamp.ge(at)).filter(
            transactions::timestamp.gt(at).or(transactions::timestamp.eq(at).and(transactions::id.gt(id))),
        );
    }
    let rows: Vec<TransactionRow> =
        query.order((transactions::timestamp, transactions::id)).limit(limit).load(tx.conn)?;
    Ok(rows.into_iter().map(JournalEntry::from).collect())
}

/// All deposits (positive) and withdrawals (negative) of a portfolio, oldest first.
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

/// A line with the names for an overview of all portfolios.
#[derive(Debug, Clone)]
pub struct NamedEntry {
    pub entry: JournalEntry,
    pub symbol: Option<Symbol>,
    pub portfolio: String,
    pub username: String,
}

/// The lines of all portfolios with ids below `before`, newest first; `search` is a part of an owner's name, or a
/// symbol.
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

/// The price source of the newest fill; `None` without a fill.
pub fn newest_quote_source(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    let newest: Option<Option<String>> = transactions::table
        .filter(transactions::quote_source.is_not_null())
        .order(transactions::id.desc())
        .select(transactions::quote_source)
        .first(tx.conn)
        .optional()?;
    Ok(newest.flatten())
}
