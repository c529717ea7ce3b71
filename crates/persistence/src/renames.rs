//! Renames of stocks that administrators record.

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{CorporateAction, CorporateActionKind, StockId, Symbol, Timestamp};

use crate::connection::each;
use crate::schema::corporate_actions;
use crate::{StoreError, Tx};

/// A new symbol of a stock, with the administrator and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRename {
    pub stock_id: StockId,
    pub from: Symbol,
    pub to: Symbol,
    /// `None` if the name stays.
    pub company_name: Option<String>,
    /// The first day of the new symbol.
    pub on: NaiveDate,
    pub effective_at: Timestamp,
    pub reason: String,
    pub administrator: String,
}

/// Records a completed rename as a corporate action, once per day. `now` is market time.
pub fn note(tx: &mut Tx<'_>, rename: &NewRename, now: Timestamp, wall: Timestamp) -> Result<(), StoreError> {
    let kind = CorporateActionKind::SymbolChange { to: rename.to.clone() };
    let action = CorporateAction::new(rename.from.clone(), rename.on, kind);
    let values = (
        corporate_actions::stock_id.eq(rename.stock_id),
        corporate_actions::action_key.eq(action.id.as_str()),
        corporate_actions::kind.eq("symbol_change"),
        corporate_actions::symbol.eq(&rename.from),
        corporate_actions::ex_on.eq(rename.on),
        corporate_actions::effective_at.eq(rename.effective_at),
        corporate_actions::new_symbol.eq(&rename.to),
        corporate_actions::known_at.eq(now),
        corporate_actions::applied_at.eq(now),
        corporate_actions::decided_by.eq("administrator"),
        corporate_actions::decided_at.eq(wall),
        corporate_actions::decision_reason.eq(&rename.reason),
        corporate_actions::administrator.eq(&rename.administrator),
    );
    each!(&mut *tx.conn, c => diesel::insert_into(corporate_actions::table)
        .values(values)
        .on_conflict(corporate_actions::action_key)
        .do_nothing()
        .execute(c))?;
    Ok(())
}
