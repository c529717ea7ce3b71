//! Decisions on splits: by prices, by news, and by administrators.

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::{ActionId, KnownAction, Price, SplitConfirmation, SplitRatio, StockId, Timestamp};

use crate::schema::corporate_actions;
use crate::{StoreError, Tx};

/// The reason for a decision on a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SplitDecisionReason {
    /// The first price after the split: the expected price, then the one found.
    Price(Price, Price),
    /// The source reports a different split now.
    News,
    Administrator {
        reason: String,
    },
}

impl SplitDecisionReason {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Price(..) => "price",
            Self::News => "news",
            Self::Administrator { .. } => "administrator",
        }
    }
}

/// Decides on a split, unless its confirmation is no longer `from` because another process has changed it. Returns
/// whether it was changed.
pub fn decide(
    tx: &mut Tx<'_>,
    id: ActionId,
    (from, to): (SplitConfirmation, SplitConfirmation),
    by: &SplitDecisionReason,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = corporate_actions::table.find(id).filter(corporate_actions::confirmation.eq(from.as_str()));
    let changed = diesel::update(row)
        .set((
            corporate_actions::confirmation.eq(to.as_str()),
            corporate_actions::decided_by.eq(by.as_str()),
            corporate_actions::decided_at.eq(now),
        ))
        .execute(tx.conn)?;
    if changed == 0 {
        return Ok(false);
    }
    match by {
        SplitDecisionReason::Price(expected, found) => {
            diesel::update(corporate_actions::table.find(id))
                .set((
                    corporate_actions::expected_price.eq(expected),
                    corporate_actions::found_price.eq(found),
                ))
                .execute(tx.conn)?;
        }
        SplitDecisionReason::Administrator { reason } => {
            diesel::update(corporate_actions::table.find(id))
                .set(corporate_actions::decision_reason.eq(reason))
                .execute(tx.conn)?;
        }
        SplitDecisionReason::News => {}
    }
    Ok(true)
}

/// Whether an administrator has decided on a split of the stock on that day, so that news no longer changes it.
pub fn is_decided_by_administrator(
    tx: &mut Tx<'_>,
    stock: StockId,
    ex_on: NaiveDate,
) -> Result<bool, StoreError> {
    let decided = corporate_actions::table
        .filter(corporate_actions::stock_id.eq(stock).and(corporate_actions::ex_on.eq(ex_on)))
        .filter(corporate_actions::decided_by.eq("administrator"))
        .count()
        .get_result::<i64>(tx.conn)?;
    Ok(decided > 0)
}

/// Replaces a withdrawn split with one of another ratio. Prices must confirm it, unless an administrator has decided on
/// it. Its key is derived from the first split's: `…/split/2`.
pub fn replace_split(
    tx: &mut Tx<'_>,
    old: &KnownAction,
    ratio: SplitRatio,
    by: &SplitDecisionReason,
    now: Timestamp,
) -> Result<(), StoreError> {
    let base = old.action.id.as_str();
    let base = base.find("/split").map_or(base, |end| &base[..end + "/split".len()]);
    let earlier: i64 = corporate_actions::table
        .filter(
            corporate_actions::action_key
                .eq(base)
                .or(corporate_actions::action_key.like(format!("{base}/%"))),
        )
        .count()
        .get_result(tx.conn)?;
    let (confirmation, reason) = match by {
        SplitDecisionReason::Administrator { reason } => {
            (SplitConfirmation::Confirmed, Some(reason.as_str()))
        }
        SplitDecisionReason::Price(..) | SplitDecisionReason::News => (SplitConfirmation::Awaiting, None),
    };
    let reference = old.check.as_ref().and_then(|check| check.reference.as_ref());
    diesel::insert_into(corporate_actions::table)
        .values((
            corporate_actions::stock_id.eq(old.stock_id),
            corporate_actions::action_key.eq(format!("{base}/{}", earlier + 1)),
            corporate_actions::kind.eq("split"),
            corporate_actions::symbol.eq(&old.action.symbol),
            corporate_actions::ex_on.eq(old.action.ex_on),
            corporate_actions::effective_at.eq(old.effective_at),
            corporate_actions::split_ratio.eq(ratio.to_string()),
            corporate_actions::known_at.eq(now),
            corporate_actions::confirmation.eq(confirmation.as_str()),
            corporate_actions::reference_price.eq(reference.map(|(price, _)| price)),
            corporate_actions::reference_at.eq(reference.map(|(_, at)| *at)),
            corporate_actions::decided_by.eq(by.as_str()),
            corporate_actions::decided_at.eq(now),
            corporate_actions::decision_reason.eq(reason),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Stores the newest accepted price before a split.
pub fn set_reference(
    tx: &mut Tx<'_>,
    id: ActionId,
    (price, at): (&Price, Timestamp),
) -> Result<(), StoreError> {
    diesel::update(corporate_actions::table.find(id))
        .set((corporate_actions::reference_price.eq(price), corporate_actions::reference_at.eq(at)))
        .execute(tx.conn)?;
    Ok(())
}
