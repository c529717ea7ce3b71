//! Known corporate actions, and the portfolios they were applied to.

mod decisions;
mod reversals;

use std::collections::HashSet;

use chrono::NaiveDate;
use diesel::dsl::{exists, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use domain::{
    ActionId, CloseOut, CorporateAction, CorporateActionId, CorporateActionKind, KnownAction, Money,
    PerShare, PortfolioId, Price, Quantity, SplitCheck, SplitConfirmation, StockId, Symbol, Timestamp,
};

use crate::connection::{Conn, each};
use crate::positions::dense_range;
use crate::schema::{corporate_actions, orders, portfolio_actions, positions};
use crate::{Statement, StoreError, Tx};

pub use decisions::{SplitDecisionReason, decide, is_decided_by_administrator, replace_split, set_reference};
pub use reversals::{
    keep_orders, orders_before, portfolios_to_reverse, portfolios_with_unreversed, set_all_reversed,
    set_reversed,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = corporate_actions)]
struct ActionRow {
    id: ActionId,
    stock_id: StockId,
    action_key: String,
    kind: String,
    symbol: Symbol,
    ex_on: NaiveDate,
    effective_at: Timestamp,
    split_ratio: Option<String>,
    per_share: Option<PerShare>,
    pays_on: Option<NaiveDate>,
    pays_at: Option<Timestamp>,
    new_symbol: Option<Symbol>,
    known_at: Timestamp,
    applied_at: Option<Timestamp>,
    confirmation: Option<String>,
    reference_price: Option<Price>,
    reference_at: Option<Timestamp>,
    expected_price: Option<Price>,
    found_price: Option<Price>,
    decided_by: Option<String>,
    reversed_at: Option<Timestamp>,
    close_out: Option<String>,
    cash_per_share: Option<PerShare>,
    exchange_ratio: Option<String>,
    into_stock_id: Option<StockId>,
    into_symbol: Option<Symbol>,
}

/// Converts a row. Constraints of the table ensure that the columns of each kind are set.
fn action(row: ActionRow) -> Result<KnownAction, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("corporate action {} lacks its figures", row.action_key));
    let kind = match row.kind.as_str() {
        "split" => {
            let ratio: domain::SplitRatio =
                row.split_ratio.as_deref().and_then(|ratio| ratio.parse().ok()).ok_or_else(corrupt)?;
            CorporateActionKind::Split { numerator: ratio.numerator, denominator: ratio.denominator }
        }
        "cash_dividend" => CorporateActionKind::CashDividend {
            amount: row.per_share.clone().ok_or_else(corrupt)?,
            pays_on: row.pays_on.ok_or_else(corrupt)?,
        },
        "symbol_change" => {
            CorporateActionKind::SymbolChange { to: row.new_symbol.clone().ok_or_else(corrupt)? }
        }
        "delisting" => CorporateActionKind::Delisting,
        "close_out" => CorporateActionKind::CloseOut(close_out(&row).ok_or_else(corrupt)?),
        _ => return Err(corrupt()),
    };
    let confirmation = row.confirmation.as_deref().and_then(|word| word.parse().ok());
    let check = confirmation.map(|confirmation| SplitCheck {
        confirmation,
        reference: row.reference_price.zip(row.reference_at),
        compared: row.expected_price.zip(row.found_price),
        by_administrator: row.decided_by.as_deref() == Some("administrator"),
    });
    let id = CorporateActionId::stored(row.action_key);
    Ok(KnownAction {
        id: row.id,
        stock_id: row.stock_id,
        action: CorporateAction { id, symbol: row.symbol, ex_on: row.ex_on, kind },
        effective_at: row.effective_at,
        pays_at: row.pays_at,
        known_at: row.known_at,
        applied_at: row.applied_at,
        check,
        reversed_at: row.reversed_at,
    })
}

fn close_out(row: &ActionRow) -> Option<CloseOut> {
    let cash = row.cash_per_share.clone();
    Some(match row.close_out.as_deref()? {
        "cash" => CloseOut::Cash { per_share: cash? },
        "write_off" => CloseOut::WriteOff,
        "exchange" => CloseOut::Exchange {
            into: row.into_stock_id?,
            symbol: row.into_symbol.clone()?,
            ratio: row.exchange_ratio.as_deref()?.parse().ok()?,
            cash,
        },
        _ => return None,
    })
}

fn actions(rows: Vec<ActionRow>) -> Result<Vec<KnownAction>, StoreError> {
    rows.into_iter().map(action).collect()
}

/// An action that a source reports for a stock.
#[derive(Debug, Clone)]
pub struct ReportedAction {
    pub stock_id: StockId,
    pub action: CorporateAction,
    pub effective_at: Timestamp,
    pub pays_at: Option<Timestamp>,
    /// For a split: its initial confirmation.
    pub confirmation: SplitConfirmation,
}

/// Stores an action and returns whether it is new. A known action gets the new figures while it is in the future; later
/// it stays as it was applied.
pub fn note(tx: &mut Tx<'_>, reported: &ReportedAction, now: Timestamp) -> Result<bool, StoreError> {
    use diesel::query_dsl::methods::FilterDsl;
    let ReportedAction { stock_id, action, effective_at, pays_at, .. } = reported;
    let (per_share, pays_on) = match &action.kind {
        CorporateActionKind::CashDividend { amount, pays_on } => (Some(amount), Some(*pays_on)),
        _ => (None, None),
    };
    let new_symbol = match &action.kind {
        CorporateActionKind::SymbolChange { to } => Some(to),
        _ => None,
    };
    let known: i64 =
        QueryDsl::filter(corporate_actions::table, corporate_actions::action_key.eq(action.id.as_str()))
            .count()
            .get_result(tx.conn)?;
    let ratio = action.ratio().map(|ratio| ratio.to_string());
    let values = (
        corporate_actions::stock_id.eq(stock_id),
        corporate_actions::action_key.eq(action.id.as_str()),
        corporate_actions::kind.eq(action.kind.as_str()),
        corporate_actions::symbol.eq(&action.symbol),
        corporate_actions::ex_on.eq(action.ex_on),
        corporate_actions::effective_at.eq(effective_at),
        corporate_actions::split_ratio.eq(ratio.as_deref()),
        corporate_actions::per_share.eq(per_share),
        corporate_actions::pays_on.eq(pays_on),
        corporate_actions::pays_at.eq(*pays_at),
        corporate_actions::new_symbol.eq(new_symbol),
        corporate_actions::known_at.eq(now),
        corporate_actions::confirmation.eq(action.ratio().map(|_| reported.confirmation.as_str())),
    );
    each!(&mut *tx.conn, c => diesel::insert_into(corporate_actions::table)
        .values(values)
        .on_conflict(corporate_actions::action_key)
        .do_update()
        .set((
            corporate_actions::split_ratio.eq(excluded(corporate_actions::split_ratio)),
            corporate_actions::per_share.eq(excluded(corporate_actions::per_share)),
            corporate_actions::pays_on.eq(excluded(corporate_actions::pays_on)),
            corporate_actions::pays_at.eq(excluded(corporate_actions::pays_at)),
            corporate_actions::new_symbol.eq(excluded(corporate_actions::new_symbol)),
        ))
        .filter(corporate_actions::applied_at.is_null().and(corporate_actions::effective_at.gt(now)))
        .execute(c))?;
    Ok(known == 0)
}

/// Excludes suspended and withdrawn splits.
fn in_force() -> SqlLiteral<Bool> {
    sql(
        "(corporate_actions.confirmation IS NULL OR corporate_actions.confirmation IN ('awaiting', 'confirmed'))",
    )
}

/// Whether a split holds trading, or may still have to be reversed in some portfolios.
fn is_undecided() -> SqlLiteral<Bool> {
    sql("(corporate_actions.confirmation IN ('awaiting', 'suspended')
        OR (corporate_actions.confirmation = 'withdrawn' AND corporate_actions.reversed_at IS NULL))")
}

/// The splits of a stock that take effect on that day, without withdrawn ones.
pub fn split_on(tx: &mut Tx<'_>, stock: StockId, ex_on: NaiveDate) -> Result<Vec<KnownAction>, StoreError> {
    let all = of_stock(tx, stock)?;
    let is_it = |known: &KnownAction| {
        known.action.ex_on == ex_on
            && known.check.as_ref().is_some_and(|check| check.confirmation != SplitConfirmation::Withdrawn)
    };
    Ok(all.into_iter().filter(is_it).collect())
}

/// One action.
pub fn by_id(tx: &mut Tx<'_>, id: ActionId) -> Result<Option<KnownAction>, StoreError> {
    let row: Option<ActionRow> =
        corporate_actions::table.find(id).select(ActionRow::as_select()).first(tx.conn).optional()?;
    row.map(action).transpose()
}

/// Reads an action and locks it against changes of its decision until the transaction ends.
pub fn lock_shared(tx: &mut Tx<'_>, id: ActionId) -> Result<Option<KnownAction>, StoreError> {
    if let Conn::Postgres(c) = &mut *tx.conn {
        let found: Option<ActionId> = corporate_actions::table
            .find(id)
            .select(corporate_actions::id)
            .for_share()
            .first(c)
            .optional()?;
        if found.is_none() {
            return Ok(None);
        }
    }
    by_id(tx, id)
}

/// Actions in force that have taken effect by `now` and are not yet applied to all portfolios, in the order in which
/// they must be applied.
pub fn due(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<KnownAction>, StoreError> {
    let rows: Vec<ActionRow> = corporate_actions::table
        .filter(corporate_actions::effective_at.le(now).and(corporate_actions::applied_at.is_null()))
        .filter(in_force())
        .order((corporate_actions::effective_at, corporate_actions::id))
        .select(ActionRow::as_select())
        .load(tx.conn)?;
    let mut due = actions(rows)?;
    due.sort_by_key(|known| (known.effective_at, known.action.precedence()));
    Ok(due)
}

/// Splits that are not applied to all portfolios yet, including announced ones, and undecided splits, in the order in
/// which they take effect.
pub fn pending_splits(statement: Statement<'_>) -> Result<Vec<KnownAction>, StoreError> {
    actions(
        corporate_actions::table
            .filter(corporate_actions::split_ratio.is_not_null())
            .filter(in_force().and(corporate_actions::applied_at.is_null()).or(is_undecided()))
            .order((corporate_actions::effective_at, corporate_actions::id))
            .select(ActionRow::as_select())
            .load(statement.conn)?,
    )
}

/// Actions that are not applied to all portfolios, undecided splits, delistings decided by evidence or an
/// administrator, and actions that take effect or became known after `since`, in the order in which they take effect.
pub fn not_over(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<KnownAction>, StoreError> {
    let rows: Vec<ActionRow> = corporate_actions::table
        .filter(
            corporate_actions::applied_at
                .is_null()
                .or(corporate_actions::effective_at.gt(since))
                .or(corporate_actions::known_at.gt(since))
                .or(is_undecided())
                .or(corporate_actions::kind
                    .eq("delisting")
                    .and(corporate_actions::confirmation.eq("confirmed").assume_not_null())),
        )
        .order((corporate_actions::effective_at, corporate_actions::id))
        .select(ActionRow::as_select())
        .load(tx.conn)?;
    let mut not_over = actions(rows)?;
    not_over.sort_by_key(|known| (known.effective_at, known.action.precedence()));
    Ok(not_over)
}

/// Actions that took effect after `after` and by `until`, oldest first.
pub fn taken_effect(
    tx: &mut Tx<'_>,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<KnownAction>, StoreError> {
    actions(
        corporate_actions::table
            .filter(corporate_actions::effective_at.gt(after).and(corporate_actions::effective_at.le(until)))
            .order((corporate_actions::effective_at, corporate_actions::id))
            .select(ActionRow::as_select())
            .load(tx.conn)?,
    )
}

/// All known actions of a stock, oldest first.
pub fn of_stock(tx: &mut Tx<'_>, stock: StockId) -> Result<Vec<KnownAction>, StoreError> {
    actions(
        corporate_actions::table
            .filter(corporate_actions::stock_id.eq(stock))
            .order((corporate_actions::ex_on, corporate_actions::id))
            .select(ActionRow::as_select())
            .load(tx.conn)?,
    )
}

/// All actions, in the order in which they take effect.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<KnownAction>, StoreError> {
    actions(
        corporate_actions::table
            .order((corporate_actions::effective_at, corporate_actions::id))
            .select(ActionRow::as_select())
            .load(tx.conn)?,
    )
}

/// Records that an action is applied to all portfolios.
pub fn set_applied(tx: &mut Tx<'_>, id: ActionId, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(corporate_actions::table.find(id))
        .filter(corporate_actions::applied_at.is_null())
        .set(corporate_actions::applied_at.eq(now))
        .execute(tx.conn)?;
    Ok(())
}

/// Up to `limit` portfolios with ids above `after` that hold or held the stock, or have an open order for it, ordered
/// by id.
pub fn portfolios_concerned(
    tx: &mut Tx<'_>,
    stock: StockId,
    after: PortfolioId,
    limit: i64,
) -> Result<Vec<PortfolioId>, StoreError> {
    let mut ids: Vec<PortfolioId> = positions::table
        .filter(positions::stock_id.eq(stock).and(positions::portfolio_id.gt(after)))
        .order(positions::portfolio_id)
        .select(positions::portfolio_id)
        .limit(limit)
        .load(tx.conn)?;
    let ordered: Vec<PortfolioId> = orders::table
        .filter(orders::stock_id.eq(stock).and(orders::portfolio_id.gt(after)).and(crate::orders::is_open()))
        .order(orders::portfolio_id)
        .select(orders::portfolio_id)
        .distinct()
        .limit(limit)
        .load(tx.conn)?;
    ids.extend(ordered);
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ids)
}

/// The effect of an action on a portfolio.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = portfolio_actions)]
#[diesel(treat_none_as_default_value = false)]
pub struct Applied {
    pub portfolio_id: PortfolioId,
    pub action_id: ActionId,
    /// Shares at the action's effective time; for a split the shares before it.
    pub quantity: Quantity,
    /// The amount of a dividend.
    pub amount: Money,
    pub booked_at: Timestamp,
    pub paid_at: Option<Timestamp>,
    /// When the split was reversed, if it was.
    pub reversed_at: Option<Timestamp>,
}

/// Returns the portfolios among `portfolios` to which the action was already applied.
pub fn portfolios_with_applied(
    tx: &mut Tx<'_>,
    action: ActionId,
    portfolios: &[PortfolioId],
) -> Result<HashSet<PortfolioId>, StoreError> {
    let ids: Vec<PortfolioId> = portfolio_actions::table
        .filter(portfolio_actions::action_id.eq(action))
        .filter(portfolio_actions::portfolio_id.eq_any(portfolios))
        .select(portfolio_actions::portfolio_id)
        .load(tx.conn)?;
    Ok(ids.into_iter().collect())
}

/// Records actions as applied.
///
/// # Errors
/// [`StoreError::Duplicate`] if an action was already applied to a portfolio.
pub fn insert_applied(tx: &mut Tx<'_>, rows: &[Applied]) -> Result<(), StoreError> {
    for row in rows {
        diesel::insert_into(portfolio_actions::table).values(row).execute(tx.conn)?;
    }
    Ok(())
}

/// The dividends that are due by `now` and not paid to all portfolios, in the order of payment.
pub fn with_unpaid(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<KnownAction>, StoreError> {
    let unpaid = portfolio_actions::table.filter(
        portfolio_actions::action_id.eq(corporate_actions::id).and(portfolio_actions::paid_at.is_null()),
    );
    let rows: Vec<ActionRow> = corporate_actions::table
        .filter(corporate_actions::pays_at.le(now).and(exists(unpaid)))
        .order((corporate_actions::pays_at, corporate_actions::id))
        .select(ActionRow::as_select())
        .load(tx.conn)?;
    rows.into_iter().map(action).collect()
}

/// Up to `limit` payments of the dividend `action` that are not made, ordered by portfolio, after the given one.
pub fn unpaid(
    tx: &mut Tx<'_>,
    action: ActionId,
    after: PortfolioId,
    limit: i64,
) -> Result<Vec<Applied>, StoreError> {
    Ok(portfolio_actions::table
        .filter(portfolio_actions::action_id.eq(action).and(portfolio_actions::paid_at.is_null()))
        .filter(portfolio_actions::portfolio_id.gt(after))
        .order(portfolio_actions::portfolio_id)
        .limit(limit)
        .select(Applied::as_select())
        .load(tx.conn)?)
}

/// The dividends that a portfolio is owed and that are due by `at`, in the order of payment.
pub fn unpaid_of(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    at: Timestamp,
) -> Result<Vec<(KnownAction, Applied)>, StoreError> {
    let rows: Vec<(ActionRow, Applied)> = corporate_actions::table
        .inner_join(portfolio_actions::table)
        .filter(portfolio_actions::portfolio_id.eq(portfolio).and(portfolio_actions::paid_at.is_null()))
        .filter(corporate_actions::pays_at.le(at))
        .order((corporate_actions::pays_at, corporate_actions::id))
        .select((ActionRow::as_select(), Applied::as_select()))
        .load(tx.conn)?;
    rows.into_iter().map(|(row, applied)| Ok((action(row)?, applied))).collect()
}

/// Returns the portfolios among `portfolios` to which the dividend `action` is not paid yet.
pub fn portfolios_with_unpaid(
    tx: &mut Tx<'_>,
    action: ActionId,
    portfolios: &[PortfolioId],
) -> Result<HashSet<PortfolioId>, StoreError> {
    let ids: Vec<PortfolioId> = portfolio_actions::table
        .filter(portfolio_actions::action_id.eq(action).and(portfolio_actions::paid_at.is_null()))
        .filter(portfolio_actions::portfolio_id.eq_any(portfolios))
        .select(portfolio_actions::portfolio_id)
        .load(tx.conn)?;
    Ok(ids.into_iter().collect())
}

pub fn set_paid(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    action: ActionId,
    at: Timestamp,
) -> Result<(), StoreError> {
    diesel::update(portfolio_actions::table.find((portfolio, action)))
        .set(portfolio_actions::paid_at.eq(at))
        .execute(tx.conn)?;
    Ok(())
}

/// A portfolio's dividend: when it was owed, and its amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub portfolio_id: PortfolioId,
    pub action_id: ActionId,
    pub stock_id: StockId,
    pub amount: Money,
    pub since: Timestamp,
    pub paid_at: Option<Timestamp>,
}

macro_rules! owed_since {
    ($from:expr) => {
        portfolio_actions::table
            .inner_join(corporate_actions::table)
            .filter(corporate_actions::kind.eq("cash_dividend"))
            .filter(portfolio_actions::paid_at.is_null().or(portfolio_actions::paid_at.ge($from)))
            .order((portfolio_actions::portfolio_id, portfolio_actions::action_id))
            .select((
                portfolio_actions::portfolio_id,
                portfolio_actions::action_id,
                corporate_actions::stock_id,
                portfolio_actions::amount,
                corporate_actions::effective_at,
                portfolio_actions::paid_at,
            ))
    };
}

type OwedRow = (PortfolioId, ActionId, StockId, Money, Timestamp, Option<Timestamp>);

/// Dividends of these portfolios that were owed at `from` or later, ordered by portfolio and action.
pub fn owed_since(
    tx: &mut Tx<'_>,
    portfolios: &[PortfolioId],
    from: Timestamp,
) -> Result<Vec<Owed>, StoreError> {
    let rows: Vec<OwedRow> =
        owed_since!(from).filter(portfolio_actions::portfolio_id.eq_any(portfolios)).load(tx.conn)?;
    Ok(rows.into_iter().map(Owed::from).collect())
}

/// The same for many portfolios, whose ids are in order. Some portfolios between them may be included.
pub fn owed_by_many_since(
    tx: &mut Tx<'_>,
    ids: &[PortfolioId],
    from: Timestamp,
) -> Result<Vec<Owed>, StoreError> {
    let Some((first, last)) = dense_range(ids) else { return owed_since(tx, ids, from) };
    let rows: Vec<OwedRow> =
        owed_since!(from).filter(portfolio_actions::portfolio_id.between(first, last)).load(tx.conn)?;
    Ok(rows.into_iter().map(Owed::from).collect())
}

impl From<OwedRow> for Owed {
    fn from((portfolio_id, action_id, stock_id, amount, since, paid_at): OwedRow) -> Self {
        Self { portfolio_id, action_id, stock_id, amount, since, paid_at }
    }
}

impl Owed {
    /// Whether the dividend was owed and not paid just before `at`.
    pub fn at(&self, at: Timestamp) -> bool {
        self.since < at && self.paid_at.is_none_or(|paid| paid >= at)
    }
}

/// The applied actions of the portfolios with ids in `(after, last]`, grouped by portfolio.
pub fn applied_in_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<Applied>, StoreError> {
    Ok(portfolio_actions::table
        .filter(portfolio_actions::portfolio_id.gt(after).and(portfolio_actions::portfolio_id.le(last)))
        .order((portfolio_actions::portfolio_id, portfolio_actions::action_id))
        .select(Applied::as_select())
        .load(tx.conn)?)
}
