//! Splits from before all holdings. They are needed to convert older prices, and are applied to no portfolio.

use diesel::prelude::*;
use domain::{SplitConfirmation, StockId, Timestamp};

use crate::connection::each;
use crate::corporate_actions::{self, ReportedAction};
use crate::schema::corporate_actions as table;
use crate::{StoreError, Tx};

/// Stores a split as applied to all portfolios, unless the books already have a split of the stock on that day. Returns
/// whether it is new.
pub fn note(tx: &mut Tx<'_>, reported: &ReportedAction, now: Timestamp) -> Result<bool, StoreError> {
    let ReportedAction { stock_id, action, effective_at, .. } = reported;
    let Some(ratio) = action.ratio() else { return Ok(false) };
    if is_known(tx, *stock_id, reported)? {
        return Ok(false);
    }
    let (ratio, confirmation) = (ratio.to_string(), SplitConfirmation::Confirmed.as_str());
    let values = (
        table::stock_id.eq(stock_id),
        table::action_key.eq(action.id.as_str()),
        table::kind.eq(action.kind.as_str()),
        table::symbol.eq(&action.symbol),
        table::ex_on.eq(action.ex_on),
        table::effective_at.eq(effective_at),
        table::split_ratio.eq(ratio.as_str()),
        table::known_at.eq(now),
        table::applied_at.eq(now),
        table::confirmation.eq(confirmation),
    );
    let noted = each!(&mut *tx.conn, c => diesel::insert_into(table::table)
        .values(values)
        .on_conflict(table::action_key)
        .do_nothing()
        .execute(c))?;
    Ok(noted > 0)
}

/// Whether the books have an action of that kind of the stock on that day, under any of its symbols.
pub fn is_known(tx: &mut Tx<'_>, stock: StockId, reported: &ReportedAction) -> Result<bool, StoreError> {
    let known = corporate_actions::of_stock(tx, stock)?;
    let kind = reported.action.kind.as_str();
    Ok(known
        .iter()
        .any(|known| known.action.ex_on == reported.action.ex_on && known.action.kind.as_str() == kind))
}
