//! Portfolios: names, owners and cash.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::sql::{Exact, Moment};
use domain::{Money, Portfolio, PortfolioId, PortfolioKind, Symbol, Timestamp, UserId, Visibility};

use crate::bulk::{PerRow, Unnest};
use crate::connection::{Conn, Locked};
use crate::schema::{portfolios, snapshot_versions, users};
use crate::users::lower;
use crate::{Statement, StoreError, Tx};

/// A portfolio's row, without its positions.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = portfolios)]
pub struct PortfolioRecord {
    pub id: PortfolioId,
    pub user_id: UserId,
    pub name: String,
    pub description: String,
    pub cash_balance: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Cash that is reserved by open orders.
    pub reserved_cash: Money,
    /// When the portfolio was archived; since then it is read-only.
    pub archived_at: Option<Timestamp>,
    /// All dividends since the portfolio was opened, paid or owed.
    pub dividends: Money,
    pub dividends_receivable: Money,
    /// A number that increases with every change of the row, the positions, the orders and the journal.
    pub version: i64,
    /// The symbol of the stock or fund that the portfolio is compared with.
    pub benchmark: Symbol,
    pub visibility: Visibility,
    /// The key that replaces the id in addresses; set exactly when the visibility is `Link`.
    pub link_key: Option<String>,
    pub kind: PortfolioKind,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = portfolios)]
pub struct NewPortfolio {
    pub user_id: UserId,
    pub name: String,
    pub description: String,
    pub cash_balance: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub kind: PortfolioKind,
}

#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = portfolios)]
pub struct PortfolioChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    pub benchmark: Option<Symbol>,
    pub updated_at: Option<Timestamp>,
}

pub fn insert(tx: &mut Tx<'_>, new: NewPortfolio) -> Result<PortfolioRecord, StoreError> {
    Ok(diesel::insert_into(portfolios::table)
        .values(new)
        .returning(portfolios::all_columns)
        .get_result(tx.conn)?)
}

/// A user's active portfolios, in order of creation.
pub fn of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::user_id.eq(user).and(portfolios::archived_at.is_null()))
        .order(portfolios::id)
        .select(PortfolioRecord::as_select())
        .load(tx.conn)?)
}

/// Up to `limit` of a user's portfolios after `after`, in order of creation: archived or active ones.
pub fn page_of_user(
    tx: &mut Tx<'_>,
    user: UserId,
    archived: bool,
    after: Option<PortfolioId>,
    limit: i64,
) -> Result<Vec<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::user_id.eq(user).and(portfolios::id.gt(after.map_or(0, |id| id.0))))
        .filter(portfolios::archived_at.is_not_null().eq(archived))
        .order(portfolios::id)
        .limit(limit)
        .select(PortfolioRecord::as_select())
        .load(tx.conn)?)
}

/// The portfolio of a user; `None` also if it belongs to another user.
pub fn owned(tx: &mut Tx<'_>, id: PortfolioId, user: UserId) -> Result<Option<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .find(id)
        .filter(portfolios::user_id.eq(user))
        .select(PortfolioRecord::as_select())
        .first(tx.conn)
        .optional()?)
}

/// Returns the portfolio with that id, of any owner, and whether its owner's account is active.
pub fn with_owner(
    statement: Statement<'_>,
    id: PortfolioId,
) -> Result<Option<(PortfolioRecord, bool)>, StoreError> {
    Ok(portfolios::table
        .inner_join(users::table)
        .filter(portfolios::id.eq(id))
        .select((PortfolioRecord::as_select(), users::is_active))
        .first(statement.conn)
        .optional()?)
}

/// The portfolio that is shared by link under that key, and whether its owner's account is active.
pub fn by_link_key(
    statement: Statement<'_>,
    key: &str,
) -> Result<Option<(PortfolioRecord, bool)>, StoreError> {
    Ok(portfolios::table
        .inner_join(users::table)
        .filter(portfolios::link_key.eq(key))
        .select((PortfolioRecord::as_select(), users::is_active))
        .first(statement.conn)
        .optional()?)
}

/// The public portfolios of a user that are not archived, oldest first.
pub fn public_of_user(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::user_id.eq(user).and(portfolios::archived_at.is_null()))
        .filter(portfolios::visibility.eq(Visibility::Public))
        .order(portfolios::id)
        .select(PortfolioRecord::as_select())
        .load(tx.conn)?)
}

/// Sets the visibility of a portfolio. `link_key` is set exactly for `Visibility::Link`.
pub fn set_visibility(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    visibility: Visibility,
    link_key: Option<&str>,
) -> Result<(), StoreError> {
    diesel::update(portfolios::table.find(id))
        .set((
            portfolios::visibility.eq(visibility),
            portfolios::link_key.eq(link_key),
            portfolios::version.eq(portfolios::version + 1),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// A locked portfolio row, without its positions.
#[derive(Debug)]
pub struct LockedPortfolio {
    pub portfolio: Portfolio,
    pub user_id: UserId,
    /// The time of the last order or cash movement.
    pub last: Timestamp,
    pub archived: bool,
    pub kind: PortfolioKind,
}

/// Locks the rows in the order of their ids, so that orders and cash movements of a portfolio are executed one at a
/// time, without deadlocks.
pub fn lock(tx: &mut Tx<'_>, ids: &[PortfolioId]) -> Result<Vec<LockedPortfolio>, StoreError> {
    let rows: Vec<PortfolioRecord> = match tx.conn {
        Conn::Sqlite(c) => {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(portfolios::table.find(id).select(PortfolioRecord::as_select()).load(c)?);
            }
            rows
        }
        Conn::Postgres(_) => Locked(
            portfolios::table
                .filter(portfolios::id.eq_any(ids))
                .order(portfolios::id)
                .select(PortfolioRecord::as_select()),
        )
        .load(tx.conn)?,
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut portfolio = Portfolio::new(row.id, row.cash_balance);
            portfolio.reserved.cash = row.reserved_cash;
            LockedPortfolio {
                portfolio,
                user_id: row.user_id,
                last: row.updated_at,
                archived: row.archived_at.is_some(),
                kind: row.kind,
            }
        })
        .collect())
}

/// The owners and versions of these portfolios, and the versions of their snapshots. Missing portfolios are omitted.
pub fn versions(
    statement: Statement<'_>,
    ids: &[PortfolioId],
) -> Result<Vec<(PortfolioId, UserId, i64, i64)>, StoreError> {
    let batch = portfolios::id / crate::snapshots::BATCH;
    let rows: Vec<(PortfolioId, UserId, i64, Option<i64>)> = portfolios::table
        .left_join(snapshot_versions::table.on(snapshot_versions::batch.eq(batch)))
        .filter(portfolios::id.eq_any(ids))
        .select((
            portfolios::id,
            portfolios::user_id,
            portfolios::version,
            snapshot_versions::version.nullable(),
        ))
        .load(statement.conn)?;
    Ok(rows
        .into_iter()
        .map(|(id, owner, version, snapshots)| (id, owner, version, snapshots.unwrap_or(0)))
        .collect())
}

pub fn update(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    user: UserId,
    changes: PortfolioChanges,
) -> Result<Option<PortfolioRecord>, StoreError> {
    let own = portfolios::table.filter(portfolios::id.eq(id).and(portfolios::user_id.eq(user)));
    Ok(diesel::update(own)
        .set((&changes, portfolios::version.eq(portfolios::version + 1)))
        .returning(portfolios::all_columns)
        .get_result(tx.conn)
        .optional()?)
}

/// Replaces the old symbol of a renamed stock in the portfolios that are compared with it.
pub(crate) fn rename_benchmark(tx: &mut Tx<'_>, old: &Symbol, new: &Symbol) -> Result<(), StoreError> {
    diesel::update(portfolios::table.filter(portfolios::benchmark.eq(old)))
        .set((portfolios::benchmark.eq(new), portfolios::version.eq(portfolios::version + 1)))
        .execute(tx.conn)?;
    Ok(())
}

/// Updates cash, reserved cash and the time of the change.
pub fn save_cash(tx: &mut Tx<'_>, changed: &[(&Portfolio, Timestamp)]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    match tx.conn {
        Conn::Sqlite(c) => {
            for (portfolio, now) in changed {
                let statement = PerRow::new(
                    "UPDATE portfolios SET cash_balance = ?, reserved_cash = ?, updated_at = ?, \
                     version = version + 1 WHERE id = ?",
                );
                statement
                    .value::<Exact, _>(&portfolio.cash_balance)
                    .value::<Exact, _>(&portfolio.reserved.cash)
                    .value::<Moment, _>(now)
                    .value::<BigInt, _>(portfolio.id)
                    .execute(c)?;
            }
        }
        Conn::Postgres(c) => {
            saving(changed).execute(c)?;
        }
    }
    Ok(())
}

/// Updates the total of dividends and the owed part.
pub fn save_dividends(
    tx: &mut Tx<'_>,
    id: PortfolioId,
    total: &Money,
    receivable: &Money,
) -> Result<(), StoreError> {
    diesel::update(portfolios::table.find(id))
        .set((
            portfolios::dividends.eq(total),
            portfolios::dividends_receivable.eq(receivable),
            portfolios::version.eq(portfolios::version + 1),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// The rows of these portfolios, ordered by id.
pub fn by_ids(tx: &mut Tx<'_>, ids: &[PortfolioId]) -> Result<Vec<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::id.eq_any(ids))
        .order(portfolios::id)
        .select(PortfolioRecord::as_select())
        .load(tx.conn)?)
}

pub(crate) fn saving<'a>(changed: &'a [(&Portfolio, Timestamp)]) -> Unnest<'a, ()> {
    Unnest::<()>::new(
        "UPDATE portfolios p SET cash_balance = v.cash_balance, reserved_cash = v.reserved_cash, \
         updated_at = v.updated_at, version = p.version + 1 FROM",
        "AS v (id, cash_balance, reserved_cash, updated_at) WHERE p.id = v.id",
    )
    .column::<BigInt, _>(changed.iter().map(|(portfolio, _)| portfolio.id))
    .column::<Exact, _>(changed.iter().map(|(portfolio, _)| &portfolio.cash_balance))
    .column::<Exact, _>(changed.iter().map(|(portfolio, _)| &portfolio.reserved.cash))
    .column::<Moment, _>(changed.iter().map(|(_, now)| *now))
}

/// Lets a portfolio without transactions begin at an earlier time, from which on it records trades.
pub fn begin_at(tx: &mut Tx<'_>, id: PortfolioId, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(portfolios::table.find(id))
        .set((
            portfolios::created_at.eq(at),
            portfolios::updated_at.eq(at),
            portfolios::version.eq(portfolios::version + 1),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Makes the portfolio read-only.
pub fn archive(tx: &mut Tx<'_>, id: PortfolioId, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(portfolios::table.find(id))
        .set((portfolios::archived_at.eq(now), portfolios::version.eq(portfolios::version + 1)))
        .execute(tx.conn)?;
    Ok(())
}

/// Deletes the portfolio with its orders, journal and snapshots.
pub fn delete(tx: &mut Tx<'_>, id: PortfolioId, user: UserId) -> Result<bool, StoreError> {
    let own = portfolios::table.filter(portfolios::id.eq(id).and(portfolios::user_id.eq(user)));
    Ok(diesel::delete(own).execute(tx.conn)? > 0)
}

/// Up to `limit` portfolios with ids in `(after, last]`, ordered by id.
pub fn range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
    limit: i64,
) -> Result<Vec<PortfolioRecord>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::id.gt(after).and(portfolios::id.le(last)))
        .order(portfolios::id)
        .limit(limit)
        .select(PortfolioRecord::as_select())
        .load(tx.conn)?)
}

/// The cash of one portfolio.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct PortfolioCash {
    pub id: PortfolioId,
    pub cash_balance: Money,
    /// Not before the time of any line of its journal.
    pub updated_at: Timestamp,
}

/// The cash of up to `limit` portfolios with ids in `(after, last]` that were opened before `at` and not archived then, in
/// order of id.
pub fn active_cash(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
    at: Timestamp,
    limit: i64,
) -> Result<Vec<PortfolioCash>, StoreError> {
    Ok(portfolios::table
        .filter(portfolios::id.gt(after).and(portfolios::id.le(last)))
        .filter(portfolios::created_at.lt(at))
        .filter(portfolios::archived_at.is_null().or(portfolios::archived_at.ge(at)))
        .order(portfolios::id)
        .limit(limit)
        .select((portfolios::id, portfolios::cash_balance, portfolios::updated_at))
        .load(tx.conn)?)
}

/// The highest id and the time of the oldest portfolio; `None` if there is none.
pub fn extent(tx: &mut Tx<'_>) -> Result<Option<(PortfolioId, Timestamp)>, StoreError> {
    let (last, first): (Option<PortfolioId>, Option<Timestamp>) = portfolios::table
        .select((diesel::dsl::max(portfolios::id), diesel::dsl::min(portfolios::created_at)))
        .get_result(tx.conn)?;
    Ok(last.zip(first))
}

/// The time of the last change in any portfolio.
pub fn newest_change(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(portfolios::table.select(diesel::dsl::max(portfolios::updated_at)).get_result(tx.conn)?)
}

pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(portfolios::table.count().get_result(tx.conn)?)
}

/// The portfolios of all users, newest first, with the owner's name.
pub fn page(
    tx: &mut Tx<'_>,
    search: &str,
    before: Option<PortfolioId>,
    limit: i64,
) -> Result<Vec<(PortfolioRecord, String)>, StoreError> {
    let mut query = portfolios::table
        .inner_join(users::table)
        .select((PortfolioRecord::as_select(), users::username))
        .into_boxed();
    if !search.is_empty() {
        let pattern = crate::stocks::containing(search);
        query = query.filter(
            lower(portfolios::name)
                .like(lower(pattern.clone()))
                .escape('\\')
                .or(lower(users::username).like(lower(pattern)).escape('\\')),
        );
    }
    if let Some(before) = before {
        query = query.filter(portfolios::id.lt(before));
    }
    Ok(query.order(portfolios::id.desc()).limit(limit).load(tx.conn)?)
}
