//! Positions, one row per portfolio and stock. The row of a closed position is kept for its realized result.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::sql::Exact;
use domain::{Money, PortfolioId, Position, Quantity, Stock, StockId};

use crate::bulk::{PerRow, Unnest};
use crate::connection::Conn;
use crate::schema::{positions, stocks};
use crate::stocks::StockRow;
use crate::{StoreError, Tx};

type Columns = (positions::quantity, positions::cost_basis, positions::realized_pnl);
const COLUMNS: Columns = (positions::quantity, positions::cost_basis, positions::realized_pnl);

fn position((quantity, cost_basis, realized_pnl): (Quantity, Money, Money)) -> Position {
    Position { quantity, cost_basis, realized_pnl }
}

/// The positions with their stocks and the shares reserved by open orders, ordered by symbol, including closed
/// positions.
pub fn of_portfolio(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
) -> Result<Vec<(Stock, Position, Quantity)>, StoreError> {
    let rows: Vec<(StockRow, (Quantity, Money, Money), Quantity)> = positions::table
        .inner_join(stocks::table)
        .filter(positions::portfolio_id.eq(portfolio))
        .order(stocks::symbol)
        .select((StockRow::as_select(), COLUMNS, positions::reserved_quantity))
        .load(tx.conn)?;
    Ok(rows
        .into_iter()
        .map(|(stock, columns, reserved)| (stock.into(), position(columns), reserved))
        .collect())
}

/// The positions of several portfolios.
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

/// The number of shares of one stock in one portfolio.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct HeldShares {
    pub portfolio_id: PortfolioId,
    pub stock_id: StockId,
    pub quantity: Quantity,
}

/// The shares of these portfolios, closed positions included, in order of portfolio and stock. `ids` are in order. Some
/// portfolios between them may be included.
pub fn shares_of(tx: &mut Tx<'_>, ids: &[PortfolioId]) -> Result<Vec<HeldShares>, StoreError> {
    let query = positions::table
        .select((positions::portfolio_id, positions::stock_id, positions::quantity))
        .into_boxed();
    let query = match dense_range(ids) {
        Some((first, last)) => query.filter(positions::portfolio_id.between(first, last)),
        None => query.filter(positions::portfolio_id.eq_any(ids)),
    };
    let mut held: Vec<HeldShares> = query.load(tx.conn)?;
    // They are nearly in order already. PostgreSQL would take four times as long for its sort.
    held.sort_by_key(|held| (held.portfolio_id, held.stock_id));
    Ok(held)
}

/// The first and the last of these ids, which are in order, if at least half of the ids between them are among them. A range
/// is quicker to read than a list.
pub(crate) fn dense_range(ids: &[PortfolioId]) -> Option<(PortfolioId, PortfolioId)> {
    let (first, last) = (*ids.first()?, *ids.last()?);
    let count = i64::try_from(ids.len()).ok()?;
    (last.0 - first.0 < 2 * count).then_some((first, last))
}

/// A position with the shares that open orders reserve.
pub type PositionAndReserved = (Position, Quantity);

/// The positions of the portfolios with ids in `(after, last]`.
pub fn of_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<HashMap<PortfolioId, BTreeMap<StockId, PositionAndReserved>>, StoreError> {
    type Row = (PortfolioId, StockId, (Quantity, Money, Money), Quantity);
    let rows: Vec<Row> = positions::table
        .filter(positions::portfolio_id.gt(after).and(positions::portfolio_id.le(last)))
        .order((positions::portfolio_id, positions::stock_id))
        .select((positions::portfolio_id, positions::stock_id, COLUMNS, positions::reserved_quantity))
        .load(tx.conn)?;
    let mut found: HashMap<PortfolioId, BTreeMap<StockId, PositionAndReserved>> = HashMap::new();
    for (portfolio, stock, columns, reserved) in rows {
        found.entry(portfolio).or_default().insert(stock, (position(columns), reserved));
    }
    Ok(found)
}

/// The given positions; pairs without a row are omitted.
pub fn of_pairs(
    tx: &mut Tx<'_>,
    pairs: &[(PortfolioId, StockId)],
) -> Result<HashMap<(PortfolioId, StockId), PositionAndReserved>, StoreError> {
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(PortfolioId, StockId, Quantity, Money, Money, Quantity)> = match tx.conn {
        Conn::Sqlite(c) => {
            let mut rows = Vec::new();
            for (portfolio, stock) in pairs {
                // Without a LIMIT: SQLite would plan the statement again for each value of it.
                rows.extend(
                    positions::table
                        .filter(positions::portfolio_id.eq(portfolio).and(positions::stock_id.eq(stock)))
                        .select((
                            positions::portfolio_id,
                            positions::stock_id,
                            positions::quantity,
                            positions::cost_basis,
                            positions::realized_pnl,
                            positions::reserved_quantity,
                        ))
                        .get_result(c)
                        .optional()?,
                );
            }
            rows
        }
        Conn::Postgres(c) => Unnest::<(BigInt, BigInt, Exact, Exact, Exact, Exact)>::new(
            "SELECT p.portfolio_id, p.stock_id, p.quantity, p.cost_basis, p.realized_pnl, p.reserved_quantity FROM",
            "AS n (portfolio_id, stock_id) JOIN positions p USING (portfolio_id, stock_id)",
        )
        .column::<BigInt, _>(pairs.iter().map(|(portfolio, _)| *portfolio))
        .column::<BigInt, _>(pairs.iter().map(|(_, stock)| *stock))
        .load(c)?,
    };
    Ok(rows
        .into_iter()
        .map(|(portfolio, stock, quantity, cost_basis, realized_pnl, reserved)| {
            ((portfolio, stock), (position((quantity, cost_basis, realized_pnl)), reserved))
        })
        .collect())
}

/// A changed position with the shares reserved by open orders.
#[derive(Debug)]
pub struct ChangedPosition<'a> {
    pub portfolio: PortfolioId,
    pub stock: StockId,
    pub position: &'a Position,
    pub reserved: &'a Quantity,
}

pub fn save(tx: &mut Tx<'_>, changed: &[ChangedPosition<'_>]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    match tx.conn {
        Conn::Sqlite(c) => {
            for ChangedPosition { portfolio, stock, position, reserved } in changed {
                let statement = PerRow::new(
                    "INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl, \
                     reserved_quantity) VALUES (?, ?, ?, ?, ?, ?) \
                     ON CONFLICT (portfolio_id, stock_id) DO UPDATE SET quantity = excluded.quantity, \
                     cost_basis = excluded.cost_basis, realized_pnl = excluded.realized_pnl, \
                     reserved_quantity = excluded.reserved_quantity",
                );
                statement
                    .value::<BigInt, _>(portfolio)
                    .value::<BigInt, _>(stock)
                    .value::<Exact, _>(&position.quantity)
                    .value::<Exact, _>(&position.cost_basis)
                    .value::<Exact, _>(&position.realized_pnl)
                    .value::<Exact, _>(*reserved)
                    .execute(c)?;
            }
        }
        Conn::Postgres(c) => {
            saving(changed).execute(c)?;
        }
    }
    Ok(())
}

/// Inserts or updates positions.
pub(crate) fn saving<'a>(changed: &'a [ChangedPosition<'_>]) -> Unnest<'a, ()> {
    with_columns(
        Unnest::new(
            "INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl, \
             reserved_quantity) SELECT * FROM",
            "ON CONFLICT (portfolio_id, stock_id) DO UPDATE SET quantity = excluded.quantity, \
             cost_basis = excluded.cost_basis, realized_pnl = excluded.realized_pnl, \
             reserved_quantity = excluded.reserved_quantity",
        ),
        changed,
    )
}

/// Updates existing positions: this uses no new ids and does not check an index twice.
pub(crate) fn updating<'a>(changed: &'a [ChangedPosition<'_>]) -> Unnest<'a, ()> {
    with_columns(
        Unnest::new(
            "UPDATE positions p SET quantity = v.quantity, cost_basis = v.cost_basis, \
             realized_pnl = v.realized_pnl, reserved_quantity = v.reserved_quantity FROM",
            "AS v (portfolio_id, stock_id, quantity, cost_basis, realized_pnl, reserved_quantity) \
             WHERE p.portfolio_id = v.portfolio_id AND p.stock_id = v.stock_id",
        ),
        changed,
    )
}

fn with_columns<'a>(statement: Unnest<'a, ()>, changed: &'a [ChangedPosition<'_>]) -> Unnest<'a, ()> {
    statement
        .column::<BigInt, _>(changed.iter().map(|row| row.portfolio))
        .column::<BigInt, _>(changed.iter().map(|row| row.stock))
        .column::<Exact, _>(changed.iter().map(|row| &row.position.quantity))
        .column::<Exact, _>(changed.iter().map(|row| &row.position.cost_basis))
        .column::<Exact, _>(changed.iter().map(|row| &row.position.realized_pnl))
        .column::<Exact, _>(changed.iter().map(|row| row.reserved))
}

/// The number of portfolios that hold each stock, ordered by stock.
pub fn holders(tx: &mut Tx<'_>) -> Result<Vec<(StockId, i64)>, StoreError> {
    Ok(positions::table
        .filter(positions::quantity.ne(Quantity::zero()))
        .group_by(positions::stock_id)
        .select((positions::stock_id, diesel::dsl::count_star()))
        .order(positions::stock_id)
        .load(tx.conn)?)
}
