//! Running workers and their heartbeats.

use diesel::prelude::*;
use diesel::upsert::excluded;
use domain::Timestamp;

use crate::connection::each;
use crate::schema::workers;
use crate::{StoreError, Tx};

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = workers)]
pub struct WorkerRecord {
    /// The worker's name, unique for each start.
    pub name: String,
    pub host: String,
    pub process_id: i64,
    pub version: String,
    /// `embedded` or `redis`.
    pub mode: String,
    pub started_at: Timestamp,
    /// Wall time of the newest heartbeat.
    pub last_seen_at: Timestamp,
}

/// Records a heartbeat, and deletes the rows of workers whose last heartbeat is older than `forget_before`.
pub fn beat(tx: &mut Tx<'_>, worker: &WorkerRecord, forget_before: Timestamp) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(workers::table)
        .values(worker)
        .on_conflict(workers::name)
        .do_update()
        .set(workers::last_seen_at.eq(excluded(workers::last_seen_at)))
        .execute(c))?;
    diesel::delete(workers::table.filter(workers::last_seen_at.lt(forget_before))).execute(tx.conn)?;
    Ok(())
}

/// Deletes the row of a worker that is shutting down.
pub fn remove(tx: &mut Tx<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(diesel::delete(workers::table.find(name)).execute(tx.conn)? > 0)
}

/// The newest heartbeat of any worker.
pub fn newest_heartbeat(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(workers::table.select(diesel::dsl::max(workers::last_seen_at)).get_result(tx.conn)?)
}

/// All rows, in the order in which the workers started.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<WorkerRecord>, StoreError> {
    Ok(workers::table
        .order((workers::started_at, workers::name))
        .select(WorkerRecord::as_select())
        .load(tx.conn)?)
}
