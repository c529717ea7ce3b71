//! Close-outs of delisted stocks: corporate actions that administrators decide on.

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{
    ActionId, CloseOut, KnownAction, Money, PortfolioId, Position, Quantity, StockId, Symbol, Timestamp,
};

use crate::connection::each;
use crate::schema::{corporate_actions, positions};
use crate::{StoreError, Tx};

/// The positions with shares of a stock, ordered by portfolio.
pub fn held(tx: &mut Tx<'_>, stock: StockId) -> Result<Vec<(PortfolioId, Position)>, StoreError> {
    type HeldRow = (PortfolioId, Quantity, Money, Money);
    let rows: Vec<HeldRow> = positions::table
        .filter(positions::stock_id.eq(stock))
        .order(positions::portfolio_id)
        .select((
            positions::portfolio_id,
            positions::quantity,
            positions::cost_basis,
            positions::realized_pnl,
        ))
        .load(tx.conn)?;
    let positions = rows.into_iter().map(|(portfolio, quantity, cost_basis, realized_pnl)| {
        (portfolio, Position { quantity, cost_basis, realized_pnl })
    });
    Ok(positions.filter(|(_, position)| !position.quantity.is_zero()).collect())
}

/// The close-out of a stock.
pub fn of_stock(tx: &mut Tx<'_>, stock: StockId) -> Result<Option<KnownAction>, StoreError> {
    let id: Option<ActionId> = corporate_actions::table
        .filter(corporate_actions::stock_id.eq(stock).and(corporate_actions::kind.eq("close_out")))
        .order(corporate_actions::id.desc())
        .select(corporate_actions::id)
        .first(tx.conn)
        .optional()?;
    match id {
        Some(id) => crate::corporate_actions::by_id(tx, id),
        None => Ok(None),
    }
}

/// An administrator's decision: the name and the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Queryable)]
pub struct Decision {
    pub administrator: Option<String>,
    pub reason: Option<String>,
}

pub fn decision(tx: &mut Tx<'_>, id: ActionId) -> Result<Option<Decision>, StoreError> {
    Ok(corporate_actions::table
        .find(id)
        .select((corporate_actions::administrator, corporate_actions::decision_reason))
        .first(tx.conn)
        .optional()?)
}

/// A close-out that an administrator has decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCloseOut {
    pub stock_id: StockId,
    pub symbol: Symbol,
    pub terms: CloseOut,
    pub on: NaiveDate,
    pub effective_at: Timestamp,
    pub reason: String,
    pub administrator: String,
}

/// Stores a close-out and returns its id; stores nothing and returns `None` if the stock already has one on that day.
/// `now` is market time.
pub fn note(
    tx: &mut Tx<'_>,
    close_out: &NewCloseOut,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Option<ActionId>, StoreError> {
    let NewCloseOut { stock_id, symbol, terms, on, effective_at, reason, administrator } = close_out;
    let key = format!("{symbol}/{on}/close_out");
    let values = (
        corporate_actions::stock_id.eq(stock_id),
        corporate_actions::action_key.eq(&key),
        corporate_actions::kind.eq("close_out"),
        corporate_actions::symbol.eq(symbol),
        corporate_actions::ex_on.eq(on),
        corporate_actions::effective_at.eq(effective_at),
        corporate_actions::known_at.eq(now),
        corporate_actions::confirmation.eq("confirmed"),
        corporate_actions::decided_by.eq("administrator"),
        corporate_actions::decided_at.eq(wall),
        corporate_actions::decision_reason.eq(reason),
        corporate_actions::administrator.eq(administrator),
        corporate_actions::close_out.eq(terms.as_str()),
        corporate_actions::cash_per_share.eq(terms.cash()),
        corporate_actions::exchange_ratio.eq(terms.ratio().map(|ratio| ratio.to_string())),
        corporate_actions::into_stock_id.eq(terms.into_stock().map(|(stock, _)| stock)),
        corporate_actions::into_symbol.eq(terms.into_stock().map(|(_, symbol)| symbol.clone())),
    );
    let new = each!(&mut *tx.conn, c => diesel::insert_into(corporate_actions::table)
        .values(values)
        .on_conflict(corporate_actions::action_key)
        .do_nothing()
        .execute(c))?;
    if new == 0 {
        return Ok(None);
    }
    let id = corporate_actions::table
        .filter(corporate_actions::action_key.eq(key))
        .select(corporate_actions::id)
        .first(tx.conn)?;
    Ok(Some(id))
}
