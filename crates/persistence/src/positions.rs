//! Shares held, one row per portfolio and stock. A row stays when all is sold: it keeps the realised result.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::upsert::excluded;
use domain::{Money, PortfolioId, Position, Quantity, Stock, StockId};

use crate::connection::each;
use crate::schema::{positions, stocks};
use crate::stocks::StockRow;
use crate::{StoreError, Tx};

type Columns = (positions::quantity, positions::cost_basis, positions::realized_pnl);
const COLUMNS: Columns = (positions::quantity, positions::cost_basis, positions::realized_pnl);

fn position((quantity, cost_basis, realized_pnl): (Quantity, Money, Money)) -> Position {
    Position { quantity, cost_basis, realized_pnl }
}

pub fn of_stock(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    stock: StockId,
) -> Result<Option<Position>, StoreError> {
    Ok(positions::table
        .filter(positions::portfolio_id.eq(portfolio).and(positions::stock_id.eq(stock)))
        .select(COLUMNS)
        .first(tx.conn)
        .optional()?
        .map(position))
}

/// With their stocks, in order of symbol; sold-out ones included.
pub fn of_portfolio(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<Vec<(Stock, Position)>, StoreError> {
    let rows: Vec<(StockRow, (Quantity, Money, Money))> = positions::table
        .inner_join(stocks::table)
        .filter(positions::portfolio_id.eq(portfolio))
        .order(stocks::symbol)
        .select((StockRow::as_select(), COLUMNS))
        .load(tx.conn)?;
    Ok(rows.into_iter().map(|(stock, columns)| (stock.into(), position(columns))).collect())
}

/// Of several portfolios at once.
pub fn of_portfolios(
    tx: &mut Tx<'_>,
    ids: &[PortfolioId],
) -> Result<HashMap<PortfolioId, Vec<(StockId, Position)>>, StoreError> {
    let rows: Vec<(PortfolioId, StockId, (Quantity, Money, Money))> = positions::table
        .filter(positions::portfolio_id.eq_any(ids))
        .order((positions::portfolio_id, positions::stock_id))
        .select((positions::portfolio_id, positions::stock_id, COLUMNS))
        .load(tx.conn)?;
    let mut found: HashMap<PortfolioId, Vec<(StockId, Position)>> = HashMap::new();
    for (portfolio, stock, columns) in rows {
        found.entry(portfolio).or_default().push((stock, position(columns)));
    }
    Ok(found)
}

pub fn save(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    stock: StockId,
    position: &Position,
) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(positions::table)
        .values((
            positions::portfolio_id.eq(portfolio),
            positions::stock_id.eq(stock),
            positions::quantity.eq(&position.quantity),
            positions::cost_basis.eq(&position.cost_basis),
            positions::realized_pnl.eq(&position.realized_pnl),
        ))
        .on_conflict((positions::portfolio_id, positions::stock_id))
        .do_update()
        .set((
            positions::quantity.eq(excluded(positions::quantity)),
            positions::cost_basis.eq(excluded(positions::cost_basis)),
            positions::realized_pnl.eq(excluded(positions::realized_pnl)),
        ))
        .execute(c))?;
    Ok(())
}
