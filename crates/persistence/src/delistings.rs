//! Evidence about delistings, the decisions of administrators, and the resulting delistings.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use diesel::prelude::*;
use domain::delisting::{DelistingEvidence, DelistingEvidenceKind};
use domain::{ActionId, CorporateAction, CorporateActionKind, Stock, StockId, Symbol, Timestamp};

use crate::connection::each;
use crate::schema::{
    corporate_actions, delisting_evidence, delisting_refusals, listings, orders, stocks as stock_table,
};
use crate::stocks;
use crate::{StoreError, Tx};

/// The most symbols per statement.
const SYMBOLS_PER_STATEMENT: usize = 500;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = delisting_evidence)]
#[diesel(treat_none_as_default_value = false)]
struct EvidenceRow {
    stock_id: StockId,
    kind: DelistingEvidenceKind,
    seen_on: NaiveDate,
    seen_at: Timestamp,
    source: String,
    delisted_on: Option<NaiveDate>,
}

impl From<EvidenceRow> for DelistingEvidence {
    fn from(row: EvidenceRow) -> Self {
        let EvidenceRow { kind, seen_on, seen_at, delisted_on, .. } = row;
        Self { kind, seen_on, seen_at, delisted_on }
    }
}

/// Stores observations, once per stock, kind and day. Returns the number of new rows.
pub fn note_evidence(
    tx: &mut Tx<'_>,
    source: &str,
    seen: &[(StockId, DelistingEvidence)],
) -> Result<usize, StoreError> {
    let mut new = 0;
    for (stock_id, seen) in seen {
        let row = EvidenceRow {
            stock_id: *stock_id,
            kind: seen.kind,
            seen_on: seen.seen_on,
            seen_at: seen.seen_at,
            source: source.to_owned(),
            delisted_on: seen.delisted_on,
        };
        new += each!(&mut *tx.conn, c => diesel::insert_into(delisting_evidence::table)
            .values(&row)
            .on_conflict_do_nothing()
            .execute(c))?;
    }
    Ok(new)
}

/// All evidence from a source, by stock and in the order in which it was observed.
pub fn evidence(
    tx: &mut Tx<'_>,
    source: &str,
) -> Result<BTreeMap<StockId, Vec<DelistingEvidence>>, StoreError> {
    let rows: Vec<EvidenceRow> = delisting_evidence::table
        .filter(delisting_evidence::source.eq(source))
        .order((
            delisting_evidence::stock_id,
            delisting_evidence::seen_on,
            delisting_evidence::seen_at,
            delisting_evidence::kind,
        ))
        .select(EvidenceRow::as_select())
        .load(tx.conn)?;
    let mut found: BTreeMap<StockId, Vec<DelistingEvidence>> = BTreeMap::new();
    for row in rows {
        found.entry(row.stock_id).or_default().push(row.into());
    }
    Ok(found)
}

/// Deletes the evidence about these stocks and refusals of it, because they are listed or traded again.
pub fn forget(tx: &mut Tx<'_>, ids: &[StockId]) -> Result<(), StoreError> {
    for ids in ids.chunks(SYMBOLS_PER_STATEMENT) {
        diesel::delete(delisting_evidence::table.filter(delisting_evidence::stock_id.eq_any(ids)))
            .execute(tx.conn)?;
        diesel::delete(delisting_refusals::table.filter(delisting_refusals::stock_id.eq_any(ids)))
            .execute(tx.conn)?;
    }
    Ok(())
}

/// An administrator's refusal to delist a stock on the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = delisting_refusals)]
pub struct Refusal {
    pub stock_id: StockId,
    pub refused_at: Timestamp,
    pub administrator: String,
    pub reason: String,
}

pub fn refuse(tx: &mut Tx<'_>, refusal: &Refusal) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(delisting_refusals::table)
        .values(refusal)
        .on_conflict(delisting_refusals::stock_id)
        .do_update()
        .set(refusal)
        .execute(c))?;
    Ok(())
}

pub fn refusals(tx: &mut Tx<'_>) -> Result<Vec<Refusal>, StoreError> {
    Ok(delisting_refusals::table
        .order(delisting_refusals::stock_id)
        .select(Refusal::as_select())
        .load(tx.conn)?)
}

/// Deletes the refusal of evidence about a stock.
pub fn clear_refusal(tx: &mut Tx<'_>, id: StockId) -> Result<(), StoreError> {
    diesel::delete(delisting_refusals::table.find(id)).execute(tx.conn)?;
    Ok(())
}

/// The number of symbols that a source lists, and how many of them are missing from a new table.
pub fn table_loss(
    tx: &mut Tx<'_>,
    source: &str,
    table: &HashSet<Symbol>,
) -> Result<(usize, usize), StoreError> {
    let listed: Vec<Symbol> = listings::table
        .filter(listings::source.eq(source).and(listings::status.eq("active")))
        .order(listings::symbol)
        .select(listings::symbol)
        .load(tx.conn)?;
    let lost = listed.iter().filter(|symbol| !table.contains(symbol)).count();
    Ok((listed.len(), lost))
}

/// The known stocks compared with the newest table of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StocksInTable {
    /// The stocks in the table, with the company's name from it.
    pub listed: Vec<(Stock, String)>,
    /// Stocks that an earlier table contained and this table lacks.
    pub missing: Vec<Stock>,
}

/// Compares the known stocks with the newest table of a source.
pub fn in_table(tx: &mut Tx<'_>, source: &str) -> Result<StocksInTable, StoreError> {
    let mut found = StocksInTable::default();
    let all = stocks::all(tx)?;
    for chunk in all.chunks(SYMBOLS_PER_STATEMENT) {
        let symbols: Vec<&Symbol> = chunk.iter().map(|stock| &stock.listing.symbol).collect();
        let rows: Vec<(Symbol, String, String)> = listings::table
            .filter(listings::source.eq(source).and(listings::symbol.eq_any(symbols)))
            .order(listings::symbol)
            .select((listings::symbol, listings::status, listings::company_name))
            .load(tx.conn)?;
        for (symbol, status, name) in rows {
            let Some(stock) = chunk.iter().find(|stock| stock.listing.symbol == symbol) else { continue };
            match status.as_str() {
                "active" => found.listed.push((stock.clone(), name)),
                _ => found.missing.push(stock.clone()),
            }
        }
    }
    Ok(found)
}

/// The delisting of a stock and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delisting {
    pub action_id: ActionId,
    /// The first session without the stock.
    pub on: NaiveDate,
    pub effective_at: Timestamp,
    /// The reason; `None` if the price source announced the delisting.
    pub reason: Option<String>,
    /// The administrator who decided; `None` for the source or evidence.
    pub administrator: Option<String>,
    /// Whether the source announced the delisting and still reports it, so that an administrator cannot withdraw it.
    pub is_announced: bool,
}

type DelistingRow = (ActionId, NaiveDate, Timestamp, Option<String>, Option<String>, Option<String>);

/// The newest delisting of a stock that is in force, including announced ones.
pub fn of_stock(tx: &mut Tx<'_>, stock: StockId) -> Result<Option<Delisting>, StoreError> {
    let row: Option<DelistingRow> = corporate_actions::table
        .filter(corporate_actions::stock_id.eq(stock).and(corporate_actions::kind.eq("delisting")))
        .filter(corporate_actions::confirmation.is_null().or(corporate_actions::confirmation.eq("confirmed")))
        .order((corporate_actions::effective_at.desc(), corporate_actions::id.desc()))
        .select((
            corporate_actions::id,
            corporate_actions::ex_on,
            corporate_actions::effective_at,
            corporate_actions::confirmation,
            corporate_actions::decision_reason,
            corporate_actions::administrator,
        ))
        .first(tx.conn)
        .optional()?;
    Ok(row.map(|(action_id, on, effective_at, confirmation, reason, administrator)| Delisting {
        action_id,
        on,
        effective_at,
        // Earlier versions stored delistings of reused symbols like announced ones, but with a reason.
        is_announced: confirmation.is_none() && reason.is_none(),
        reason,
        administrator,
    }))
}

/// Stocks with a delisting in force that followed from evidence or an administrator's decision, ordered by id. The
/// delisting may be in the future.
pub fn decided(tx: &mut Tx<'_>) -> Result<Vec<StockId>, StoreError> {
    Ok(corporate_actions::table
        .filter(corporate_actions::kind.eq("delisting").and(corporate_actions::confirmation.eq("confirmed")))
        .select(corporate_actions::stock_id)
        .distinct()
        .order(corporate_actions::stock_id)
        .load(tx.conn)?)
}

/// A delisting that follows from evidence or an administrator's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelisting {
    pub stock_id: StockId,
    pub symbol: Symbol,
    /// The first session without the stock.
    pub on: NaiveDate,
    pub effective_at: Timestamp,
    pub reason: String,
    /// The name of the administrator; `None` for evidence.
    pub administrator: Option<String>,
}

/// Stores a delisting unless one is in force, and returns whether it is new. `now` is market time. If a delisting on
/// the same day was withdrawn before, the new one gets another key: `AAPL/2026-11-23/delisting/2`.
pub fn note(
    tx: &mut Tx<'_>,
    delisting: &NewDelisting,
    now: Timestamp,
    wall: Timestamp,
) -> Result<bool, StoreError> {
    if of_stock(tx, delisting.stock_id)?.is_some() {
        return Ok(false);
    }
    let NewDelisting { stock_id, symbol, on, effective_at, reason, administrator } = delisting;
    let action = CorporateAction::new(symbol.clone(), *on, CorporateActionKind::Delisting);
    let base = action.id.as_str();
    let earlier: i64 = corporate_actions::table
        .filter(
            corporate_actions::action_key
                .eq(base)
                .or(corporate_actions::action_key.like(format!("{base}/%"))),
        )
        .count()
        .get_result(tx.conn)?;
    let key = if earlier == 0 { base.to_owned() } else { format!("{base}/{}", earlier + 1) };
    let by = if administrator.is_some() { "administrator" } else { "news" };
    let values = (
        corporate_actions::stock_id.eq(stock_id),
        corporate_actions::action_key.eq(key),
        corporate_actions::kind.eq("delisting"),
        corporate_actions::symbol.eq(symbol),
        corporate_actions::ex_on.eq(on),
        corporate_actions::effective_at.eq(effective_at),
        corporate_actions::known_at.eq(now),
        corporate_actions::confirmation.eq("confirmed"),
        corporate_actions::decided_by.eq(by),
        corporate_actions::decided_at.eq(wall),
        corporate_actions::decision_reason.eq(reason),
        corporate_actions::administrator.eq(administrator.as_deref()),
    );
    // Another process may have stored it at the same time.
    let new = each!(&mut *tx.conn, c => diesel::insert_into(corporate_actions::table)
        .values(values)
        .on_conflict(corporate_actions::action_key)
        .do_nothing()
        .execute(c))?;
    Ok(new > 0)
}

/// Withdraws a delisting, so that the stock is traded again. Returns whether it was in force. Canceled orders stay
/// canceled.
pub fn withdraw(
    tx: &mut Tx<'_>,
    stock: StockId,
    delisting: ActionId,
    (reason, administrator): (&str, Option<&str>),
    wall: Timestamp,
) -> Result<bool, StoreError> {
    // Shares that were closed out are not restored.
    if crate::close_outs::of_stock(tx, stock)?.is_some() {
        return Ok(false);
    }
    let by = if administrator.is_some() { "administrator" } else { "price" };
    // An announced delisting stays in force; see [`Delisting::is_announced`].
    let is_decided = corporate_actions::confirmation
        .is_null()
        .and(corporate_actions::decision_reason.is_not_null())
        .or(corporate_actions::confirmation.eq("confirmed"));
    let row = corporate_actions::table.find(delisting).filter(is_decided);
    let changed = diesel::update(row)
        .set((
            corporate_actions::confirmation.eq("withdrawn"),
            corporate_actions::decided_by.eq(by),
            corporate_actions::decided_at.eq(wall),
            corporate_actions::decision_reason.eq(reason),
            corporate_actions::administrator.eq(administrator),
            // No shares change, so it counts as applied.
            corporate_actions::applied_at.eq(wall),
            corporate_actions::reversed_at.eq(wall),
        ))
        .execute(tx.conn)?;
    if changed == 0 {
        return Ok(false);
    }
    stocks::relist(tx, stock)?;
    forget(tx, &[stock])?;
    Ok(true)
}

/// Withdraws delistings of a stock that would take effect after `since`, because it is delisted earlier. No shares
/// change.
pub fn withdraw_later(
    tx: &mut Tx<'_>,
    stock: StockId,
    since: Timestamp,
    reason: &str,
    wall: Timestamp,
) -> Result<(), StoreError> {
    let later = corporate_actions::table
        .filter(corporate_actions::stock_id.eq(stock).and(corporate_actions::kind.eq("delisting")))
        .filter(corporate_actions::confirmation.is_null().or(corporate_actions::confirmation.eq("confirmed")))
        .filter(corporate_actions::effective_at.gt(since).and(corporate_actions::applied_at.is_null()));
    diesel::update(later)
        .set((
            corporate_actions::confirmation.eq("withdrawn"),
            corporate_actions::decided_by.eq("news"),
            corporate_actions::decided_at.eq(wall),
            corporate_actions::decision_reason.eq(reason),
            corporate_actions::applied_at.eq(wall),
            corporate_actions::reversed_at.eq(wall),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Delisted stocks with open orders, which were placed while the delisting was being applied.
pub fn with_open_orders(tx: &mut Tx<'_>) -> Result<Vec<StockId>, StoreError> {
    Ok(orders::table
        .inner_join(stock_table::table)
        .filter(crate::orders::is_open())
        .filter(stock_table::delisted_on.is_not_null())
        .select(orders::stock_id)
        .distinct()
        .order(orders::stock_id)
        .load(tx.conn)?)
}
