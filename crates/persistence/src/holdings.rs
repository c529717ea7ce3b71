//! A portfolio with its positions, read by one statement.

use diesel::prelude::*;
use domain::{Money, PortfolioId, Position, Quantity, Stock, TransactionId, UserId};

use crate::portfolios::PortfolioRecord;
use crate::schema::{portfolios, positions, stocks, transactions};
use crate::stocks::StockRow;
use crate::{Statement, StoreError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    pub portfolio: PortfolioRecord,
    /// The newest line of the journal. Later statements may see newer lines.
    pub newest_entry: Option<TransactionId>,
    /// The positions with their stocks and the shares reserved by open orders, ordered by symbol, including closed
    /// positions.
    pub positions: Vec<(Stock, Position, Quantity)>,
}

/// Returns the portfolio with its positions; `None` also if it belongs to another user.
pub fn of_portfolio(
    statement: Statement<'_>,
    id: PortfolioId,
    user: UserId,
) -> Result<Option<Holdings>, StoreError> {
    type Columns = (Quantity, Money, Money, Quantity);
    type Row = (PortfolioRecord, Option<TransactionId>, Option<StockRow>, Option<Columns>);
    let newest_entry = transactions::table
        .filter(transactions::portfolio_id.eq(id))
        .order((transactions::timestamp.desc(), transactions::id.desc()))
        .select(transactions::id)
        .limit(1)
        .single_value();
    let columns =
        (positions::quantity, positions::cost_basis, positions::realized_pnl, positions::reserved_quantity);
    let rows: Vec<Row> = portfolios::table
        .left_join(positions::table.inner_join(stocks::table))
        .filter(portfolios::id.eq(id).and(portfolios::user_id.eq(user)))
        .order(stocks::symbol)
        .select((
            PortfolioRecord::as_select(),
            newest_entry,
            Option::<StockRow>::as_select(),
            columns.nullable(),
        ))
        .load(statement.conn)?;
    let mut found = None;
    for (portfolio, newest_entry, stock, columns) in rows {
        let holdings =
            found.get_or_insert_with(|| Holdings { portfolio, newest_entry, positions: Vec::new() });
        holdings.positions.extend(stock.zip(columns).map(|(stock, columns)| {
            let (quantity, cost_basis, realized_pnl, reserved) = columns;
            (stock.into(), Position { quantity, cost_basis, realized_pnl }, reserved)
        }));
    }
    Ok(found)
}
