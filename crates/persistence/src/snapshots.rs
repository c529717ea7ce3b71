//! Daily snapshots, one row per portfolio and session.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Bool, Date};
use domain::sql::Exact;
use domain::{Money, PortfolioId, Snapshot};

use crate::bulk::{PerRow, Unnest};
use crate::connection::{Conn, each};
use crate::schema::{portfolio_snapshots, portfolios, snapshot_versions};
use crate::{StoreError, Tx};

#[derive(Queryable, Selectable)]
#[diesel(table_name = portfolio_snapshots)]
struct SnapshotRow {
    portfolio_id: PortfolioId,
    date: NaiveDate,
    total_value: Money,
    cash_balance: Money,
    positions_value: Money,
    net_flow: Money,
    provisional: bool,
    dividends_receivable: Money,
}

impl From<SnapshotRow> for Snapshot {
    fn from(row: SnapshotRow) -> Self {
        Self {
            portfolio_id: row.portfolio_id,
            date: row.date,
            total_value: row.total_value,
            cash_balance: row.cash_balance,
            positions_value: row.positions_value,
            net_flow: row.net_flow,
            provisional: row.provisional,
            dividends_receivable: row.dividends_receivable,
        }
    }
}

/// The rule for replacing an existing row. The database applies it, because another process may be writing a final row.
macro_rules! replace {
    () => {
        "ON CONFLICT (portfolio_id, date) DO UPDATE SET total_value = excluded.total_value, \
     cash_balance = excluded.cash_balance, positions_value = excluded.positions_value, net_flow = excluded.net_flow, \
     dividends_receivable = excluded.dividends_receivable, provisional = excluded.provisional \
     WHERE portfolio_snapshots.provisional OR NOT excluded.provisional"
    };
}

const SQLITE_SAVE: &str = concat!(
    "INSERT INTO portfolio_snapshots (portfolio_id, date, total_value, cash_balance, positions_value, net_flow, \
     dividends_receivable, provisional) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ",
    replace!()
);

/// The number of portfolios whose rows are looked up before new ones are written.
const PROBES: usize = 8;

/// Writes the rows, replacing provisional ones. A final row is never replaced by a provisional one. The rows are of one
/// day, in order of portfolio.
pub fn save(tx: &mut Tx<'_>, snapshots: &[Snapshot]) -> Result<(), StoreError> {
    if snapshots.is_empty() {
        return Ok(());
    }
    match &mut *tx.conn {
        Conn::Postgres(conn) => {
            // Most runs write the first rows of a day. Without a rule for conflicts that takes a third less time.
            let is_new = !has_any(conn, snapshots)?
                && match conn.transaction(|conn| saving(snapshots, "").execute(conn)) {
                    Ok(_) => true,
                    Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => false,
                    Err(error) => return Err(error.into()),
                };
            if !is_new {
                saving(snapshots, replace!()).execute(conn)?;
            }
        }
        Conn::Sqlite(conn) => {
            for row in snapshots {
                PerRow::new(SQLITE_SAVE)
                    .value::<BigInt, _>(row.portfolio_id)
                    .value::<Date, _>(row.date)
                    .value::<Exact, _>(&row.total_value)
                    .value::<Exact, _>(&row.cash_balance)
                    .value::<Exact, _>(&row.positions_value)
                    .value::<Exact, _>(&row.net_flow)
                    .value::<Exact, _>(&row.dividends_receivable)
                    .value::<Bool, _>(row.provisional)
                    .execute(conn)?;
            }
        }
    }
    count_write(tx, snapshots.iter().map(|row| row.portfolio_id))
}

fn saving<'a>(snapshots: &'a [Snapshot], on_conflict: &'static str) -> Unnest<'a, ()> {
    Unnest::<()>::new(
        "INSERT INTO portfolio_snapshots (portfolio_id, date, total_value, cash_balance, positions_value, net_flow, \
         dividends_receivable, provisional) SELECT * FROM",
        on_conflict,
    )
    .column::<BigInt, _>(snapshots.iter().map(|row| row.portfolio_id))
    .column::<Date, _>(snapshots.iter().map(|row| row.date))
    .column::<Exact, _>(snapshots.iter().map(|row| &row.total_value))
    .column::<Exact, _>(snapshots.iter().map(|row| &row.cash_balance))
    .column::<Exact, _>(snapshots.iter().map(|row| &row.positions_value))
    .column::<Exact, _>(snapshots.iter().map(|row| &row.net_flow))
    .column::<Exact, _>(snapshots.iter().map(|row| &row.dividends_receivable))
    .column::<Bool, _>(snapshots.iter().map(|row| row.provisional))
}

/// Whether some of these portfolios have rows of the day already. Only a few are looked up.
fn has_any(conn: &mut PgConnection, snapshots: &[Snapshot]) -> QueryResult<bool> {
    let probed = snapshots.iter().step_by(snapshots.len().div_ceil(PROBES)).chain(snapshots.last());
    let ids: Vec<PortfolioId> = probed.map(|row| row.portfolio_id).collect();
    let existing = portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.eq_any(ids))
        .filter(portfolio_snapshots::date.eq(snapshots[0].date));
    diesel::select(diesel::dsl::exists(existing)).get_result(conn)
}

/// The number of portfolio ids that share a version.
pub(crate) const BATCH: i64 = 4096;

/// Increments the version of these portfolios, in the order of their batches, so that two writers cannot deadlock.
fn count_write(tx: &mut Tx<'_>, portfolios: impl Iterator<Item = PortfolioId>) -> Result<(), StoreError> {
    let batches: BTreeSet<i64> = portfolios.map(|id| id.0 / BATCH).collect();
    for batch in batches {
        each!(&mut *tx.conn, c => diesel::insert_into(snapshot_versions::table)
            .values((snapshot_versions::batch.eq(batch), snapshot_versions::version.eq(1)))
            .on_conflict(snapshot_versions::batch)
            .do_update()
            .set(snapshot_versions::version.eq(snapshot_versions::version + 1))
            .execute(c))?;
    }
    Ok(())
}

/// A number that increases with every write of snapshots of the portfolio; 0 before the first.
pub fn version(tx: &mut Tx<'_>, portfolio: PortfolioId) -> Result<i64, StoreError> {
    let found = snapshot_versions::table
        .find(portfolio.0 / BATCH)
        .select(snapshot_versions::version)
        .first(tx.conn)
        .optional()?;
    Ok(found.unwrap_or(0))
}

/// The day of the newest row of all portfolios; `None` if there is none.
pub fn newest_date(tx: &mut Tx<'_>) -> Result<Option<NaiveDate>, StoreError> {
    Ok(portfolio_snapshots::table.select(diesel::dsl::max(portfolio_snapshots::date)).first(tx.conn)?)
}

/// The rows from `first` to `last`, both included, oldest first.
pub fn window(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<Snapshot>, StoreError> {
    let rows: Vec<SnapshotRow> = portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.eq(portfolio))
        .filter(portfolio_snapshots::date.between(first, last))
        .order(portfolio_snapshots::date)
        .select(SnapshotRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Snapshot::from).collect())
}

/// Deletes the rows of a portfolio on that day and later.
pub fn delete_since(tx: &mut Tx<'_>, portfolio: PortfolioId, first: NaiveDate) -> Result<(), StoreError> {
    let rows = portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.eq(portfolio).and(portfolio_snapshots::date.ge(first)));
    diesel::delete(rows).execute(tx.conn)?;
    count_write(tx, std::iter::once(portfolio))
}

/// Deletes the provisional rows of a portfolio before that day.
pub fn delete_provisional(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    before: NaiveDate,
) -> Result<(), StoreError> {
    let rows = portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.eq(portfolio))
        .filter(portfolio_snapshots::date.lt(before).and(portfolio_snapshots::provisional.eq(true)));
    diesel::delete(rows).execute(tx.conn)?;
    count_write(tx, std::iter::once(portfolio))
}

/// The number of final rows of the portfolios with ids in `(after, last]`; portfolios without any are omitted.
pub fn sizes(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<(PortfolioId, i64)>, StoreError> {
    Ok(portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.gt(after).and(portfolio_snapshots::portfolio_id.le(last)))
        .filter(portfolio_snapshots::provisional.eq(false))
        .group_by(portfolio_snapshots::portfolio_id)
        .select((portfolio_snapshots::portfolio_id, diesel::dsl::count_star()))
        .load(tx.conn)?)
}

/// The final rows of the portfolios with ids in `(after, last]`, grouped by portfolio, oldest first.
pub fn finals_in_range(
    tx: &mut Tx<'_>,
    after: PortfolioId,
    last: PortfolioId,
) -> Result<Vec<Snapshot>, StoreError> {
    let rows: Vec<SnapshotRow> = portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.gt(after).and(portfolio_snapshots::portfolio_id.le(last)))
        .filter(portfolio_snapshots::provisional.eq(false))
        .order((portfolio_snapshots::portfolio_id, portfolio_snapshots::date))
        .select(SnapshotRow::as_select())
        .load(tx.conn)?;
    Ok(rows.into_iter().map(Snapshot::from).collect())
}

/// The days up to `last` with a provisional row, oldest first.
pub fn provisional_dates(tx: &mut Tx<'_>, last: NaiveDate, limit: i64) -> Result<Vec<NaiveDate>, StoreError> {
    Ok(portfolio_snapshots::table
        .filter(portfolio_snapshots::provisional.eq(true).and(portfolio_snapshots::date.le(last)))
        .select(portfolio_snapshots::date)
        .distinct()
        .order(portfolio_snapshots::date)
        .limit(limit)
        .load(tx.conn)?)
}

/// The newest final row before that day.
pub fn last_before(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    date: NaiveDate,
) -> Result<Option<Snapshot>, StoreError> {
    Ok(portfolio_snapshots::table
        .filter(portfolio_snapshots::portfolio_id.eq(portfolio).and(portfolio_snapshots::date.lt(date)))
        .filter(portfolio_snapshots::provisional.eq(false))
        .order(portfolio_snapshots::date.desc())
        .select(SnapshotRow::as_select())
        .first(tx.conn)
        .optional()?
        .map(Snapshot::from))
}

pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(portfolio_snapshots::table.count().get_result(tx.conn)?)
}

/// The rows of all portfolios, newest first, with the portfolio's name; `before` is the id of the last row on the
/// previous page.
pub fn page_of_all(
    tx: &mut Tx<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, Snapshot, String)>, StoreError> {
    let mut query = portfolio_snapshots::table
        .inner_join(portfolios::table)
        .select((portfolio_snapshots::id, SnapshotRow::as_select(), portfolios::name))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(portfolio_snapshots::id.lt(before));
    }
    let rows: Vec<(i64, SnapshotRow, String)> =
        query.order(portfolio_snapshots::id.desc()).limit(limit).load(tx.conn)?;
    Ok(rows.into_iter().map(|(id, row, name)| (id, row.into(), name)).collect())
}
