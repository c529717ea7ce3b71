//! Daily snapshots, one row per portfolio and session.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::upsert::excluded;
use domain::{Money, PortfolioId, Snapshot};

use crate::connection::Conn;
use crate::schema::{portfolio_snapshots, portfolios};
use crate::{StoreError, Tx};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = portfolio_snapshots)]
#[diesel(treat_none_as_default_value = false)]
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

impl From<&Snapshot> for SnapshotRow {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            portfolio_id: snapshot.portfolio_id,
            date: snapshot.date,
            total_value: snapshot.total_value.clone(),
            cash_balance: snapshot.cash_balance.clone(),
            positions_value: snapshot.positions_value.clone(),
            net_flow: snapshot.net_flow.clone(),
            provisional: snapshot.provisional,
            dividends_receivable: snapshot.dividends_receivable.clone(),
        }
    }
}

/// Writes the rows, replacing provisional ones. A final row is never replaced by a provisional one.
pub fn save(tx: &mut Tx<'_>, snapshots: &[Snapshot]) -> Result<(), StoreError> {
    use diesel::query_dsl::methods::FilterDsl;
    use portfolio_snapshots::{
        cash_balance, date, dividends_receivable, net_flow, portfolio_id, positions_value, provisional,
        total_value,
    };
    macro_rules! upsert {
        ($conn:expr, $rows:expr) => {
            diesel::insert_into(portfolio_snapshots::table)
                .values($rows)
                .on_conflict((portfolio_id, date))
                .do_update()
                .set((
                    total_value.eq(excluded(total_value)),
                    cash_balance.eq(excluded(cash_balance)),
                    positions_value.eq(excluded(positions_value)),
                    net_flow.eq(excluded(net_flow)),
                    dividends_receivable.eq(excluded(dividends_receivable)),
                    provisional.eq(excluded(provisional)),
                ))
                // The database decides, because another process may be writing a final row.
                .filter(provisional.or(excluded(provisional).eq(false)))
                .execute($conn)?
        };
    }
    let rows: Vec<SnapshotRow> = snapshots.iter().map(SnapshotRow::from).collect();
    match &mut *tx.conn {
        Conn::Postgres(conn) => {
            for chunk in rows.chunks(500) {
                upsert!(conn, chunk);
            }
        }
        // Diesel does not support this condition for several rows on SQLite.
        Conn::Sqlite(conn) => {
            for row in &rows {
                upsert!(conn, row);
            }
        }
    }
    Ok(())
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

/// The final rows of the portfolios with ids in `(after, last]`, one portfolio after the other, oldest first.
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

/// All portfolios' rows, newest first, with the portfolio's name; `before` is the id of the last row seen.
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
