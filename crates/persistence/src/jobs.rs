//! The record of job runs: due runs, their workers and their outcomes. This table is authoritative; the queue only
//! wakes workers up.

use std::str::FromStr;

use chrono::{NaiveDate, TimeDelta};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::sql_types::Text;
use domain::Timestamp;

use crate::connection::{Locked, each};
use crate::schema::job_runs;
use crate::{StoreError, Tx};

#[derive(Debug, Clone, Copy, PartialEq, Eq, FromSqlRow)]
pub enum JobStatus {
    Queued,
    Running,
    Done,
    /// Failed after several attempts.
    Failed,
}

impl JobStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for JobStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Queued, Self::Running, Self::Done, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("unknown job status: {text:?}"))
    }
}

impl<DB: Backend> FromSql<Text, DB> for JobStatus
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(String::from_sql(bytes)?.parse()?)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = job_runs)]
pub struct JobRunRow {
    pub id: i64,
    /// The kind of job; its values are defined by the caller.
    pub kind: String,
    /// Identifies the occasion of the run, such as a session's date or a minute, so that it becomes due only once.
    pub key: String,
    /// The index of the part of the work, from 0.
    pub partition: i64,
    pub status: JobStatus,
    pub attempts: i32,
    pub worker: Option<String>,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// The last heartbeat; for a queued run, when it was last queued.
    pub heartbeat_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The result, or the reason of the failure.
    pub outcome: Option<String>,
    /// Whether an administrator requested it, outside the schedule.
    pub requested: bool,
}

/// Records a due run unless it is already recorded, and returns whether it is new.
pub fn plan(
    tx: &mut Tx<'_>,
    kind: &str,
    key: &str,
    partition: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    insert(tx, &NewRun { kind, key, partition, requested: false }, now)
}

/// Records a run that an administrator requested, under a separate key.
pub fn request(tx: &mut Tx<'_>, kind: &str, key: &str, now: Timestamp) -> Result<bool, StoreError> {
    insert(tx, &NewRun { kind, key, partition: 0, requested: true }, now)
}

struct NewRun<'a> {
    kind: &'a str,
    key: &'a str,
    partition: i64,
    requested: bool,
}

fn insert(tx: &mut Tx<'_>, run: &NewRun<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let inserted = each!(&mut *tx.conn, c => diesel::insert_into(job_runs::table)
        .values((
            job_runs::kind.eq(run.kind),
            job_runs::key.eq(run.key),
            job_runs::partition.eq(run.partition),
            job_runs::status.eq(JobStatus::Queued.as_str()),
            job_runs::attempts.eq(0),
            job_runs::queued_at.eq(now),
            job_runs::heartbeat_at.eq(now),
            job_runs::requested.eq(run.requested),
        ))
        .on_conflict((job_runs::kind, job_runs::key, job_runs::partition))
        .do_nothing()
        .execute(c))?;
    Ok(inserted > 0)
}

/// The kind of runs that take the snapshots of a session. Their keys are the days of the sessions.
pub const SNAPSHOT_PORTFOLIOS: &str = "snapshot_portfolios";

/// The kind of the runs that learn of corporate actions and take the snapshots of past days.
pub const CORPORATE_ACTIONS: &str = "corporate_actions";

/// The newest session whose snapshots were planned.
pub fn newest_planned_session(tx: &mut Tx<'_>) -> Result<Option<NaiveDate>, StoreError> {
    Ok(newest_key(tx, SNAPSHOT_PORTFOLIOS)?.and_then(|key| key.parse().ok()))
}

/// The sessions whose snapshots are planned and not taken yet, in order.
pub fn unfinished_sessions(tx: &mut Tx<'_>) -> Result<Vec<NaiveDate>, StoreError> {
    let keys = unfinished_keys(tx, SNAPSHOT_PORTFOLIOS)?;
    Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
}

/// The largest key of that kind.
pub fn newest_key(tx: &mut Tx<'_>, kind: &str) -> Result<Option<String>, StoreError> {
    Ok(job_runs::table
        .filter(job_runs::kind.eq(kind))
        .select(diesel::dsl::max(job_runs::key))
        .get_result(tx.conn)?)
}

/// The keys of unfinished runs of that kind, in order.
pub fn unfinished_keys(tx: &mut Tx<'_>, kind: &str) -> Result<Vec<String>, StoreError> {
    let unfinished = job_runs::status.eq_any([JobStatus::Queued.as_str(), JobStatus::Running.as_str()]);
    Ok(job_runs::table
        .filter(job_runs::kind.eq(kind).and(unfinished))
        .select(job_runs::key)
        .distinct()
        .order(job_runs::key)
        .load(tx.conn)?)
}

/// The newest time at which a run was planned, started or ended, or had a heartbeat.
pub fn newest_time(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    use diesel::dsl::max;
    let (planned, begun, ended): (Option<Timestamp>, Option<Timestamp>, Option<Timestamp>) = job_runs::table
        .select((max(job_runs::queued_at), max(job_runs::started_at), max(job_runs::finished_at)))
        .get_result(tx.conn)?;
    // The heartbeat of a postponed run is in the future.
    let alive: Option<Timestamp> = job_runs::table
        .filter(job_runs::status.eq(JobStatus::Running.as_str()))
        .select(max(job_runs::heartbeat_at))
        .get_result(tx.conn)?;
    Ok([planned, begun, ended, alive].into_iter().flatten().max())
}

/// A heartbeat further in the future comes from a wrong clock: runs are not postponed for so long, and clocks differ
/// less.
const FARTHEST_AHEAD: TimeDelta = TimeDelta::hours(2);

/// Returns runs of these kinds that no worker is executing: queued ones, and running ones without a heartbeat since
/// `silent_since`. Oldest first. Heartbeats from far in the future do not count. Each returned run is marked as newly
/// queued, so that the next call skips it for a while.
pub fn take_due(
    tx: &mut Tx<'_>,
    kinds: &[&str],
    silent_since: Timestamp,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<JobRunRow>, StoreError> {
    let due: Vec<JobRunRow> = Locked(
        job_runs::table
            .filter(
                job_runs::status
                    .eq(JobStatus::Queued.as_str())
                    .and(
                        job_runs::heartbeat_at
                            .le(silent_since)
                            .or(job_runs::heartbeat_at.eq(job_runs::queued_at))
                            .or(job_runs::heartbeat_at.gt(now + FARTHEST_AHEAD)),
                    )
                    .or(job_runs::status.eq(JobStatus::Running.as_str()).and(
                        job_runs::heartbeat_at
                            .le(silent_since)
                            .or(job_runs::heartbeat_at.gt(now + FARTHEST_AHEAD)),
                    )),
            )
            .filter(job_runs::kind.eq_any(kinds.iter().copied()))
            .order(job_runs::id)
            .limit(limit)
            .select(JobRunRow::as_select()),
    )
    .load(tx.conn)?;
    let queued: Vec<i64> =
        due.iter().filter(|run| run.status == JobStatus::Queued).map(|run| run.id).collect();
    diesel::update(job_runs::table.filter(job_runs::id.eq_any(queued)))
        // At least one microsecond after `queued_at`, so that a new run counts as queued.
        .set(job_runs::heartbeat_at.eq(now + TimeDelta::microseconds(1)))
        .execute(tx.conn)?;
    Ok(due)
}

/// How far the clocks of two machines may differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Assigns the run to `worker`. Returns `None` if it is done or postponed, or if another worker sends heartbeats.
pub fn claim(
    tx: &mut Tx<'_>,
    id: i64,
    worker: &str,
    silent_since: Timestamp,
    now: Timestamp,
) -> Result<Option<JobRunRow>, StoreError> {
    let free = job_runs::table.filter(job_runs::id.eq(id)).filter(
        job_runs::status.eq(JobStatus::Queued.as_str()).and(job_runs::heartbeat_at.le(now + CLOCK_SKEW)).or(
            job_runs::status.eq(JobStatus::Running.as_str()).and(
                job_runs::heartbeat_at.le(silent_since).or(job_runs::heartbeat_at.gt(now + FARTHEST_AHEAD)),
            ),
        ),
    );
    Ok(diesel::update(free)
        .set((
            job_runs::status.eq(JobStatus::Running.as_str()),
            job_runs::attempts.eq(job_runs::attempts + 1),
            job_runs::worker.eq(worker),
            job_runs::started_at.eq(now),
            job_runs::heartbeat_at.eq(now),
        ))
        .returning(job_runs::all_columns)
        .get_result(tx.conn)
        .optional()?)
}

/// Records a heartbeat; returns `false` if another worker has taken the run over.
pub fn heartbeat(tx: &mut Tx<'_>, id: i64, worker: &str, now: Timestamp) -> Result<bool, StoreError> {
    report(
        tx,
        id,
        worker,
        Progress { heartbeat_at: now, status: None, attempts: None, outcome: None, finished_at: None },
    )
}

/// The end of an attempt to execute a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// [`JobStatus::Queued`] if the run should be attempted again.
    pub status: JobStatus,
    /// The result, or the reason of the failure.
    pub outcome: String,
    /// How much longer than usual a queued run waits.
    pub put_off: TimeDelta,
}

/// Ends the run, or queues it again. A postponed run was too early and did not fail, so its attempts do not count.
pub fn finish(
    tx: &mut Tx<'_>,
    id: i64,
    worker: &str,
    end: &RunEnd,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let RunEnd { status, outcome, put_off } = end;
    let finished_at = matches!(status, JobStatus::Done | JobStatus::Failed).then_some(now);
    let attempts = (*put_off > TimeDelta::zero()).then_some(0);
    let (status, outcome) = (Some(status.as_str()), Some(outcome.as_str()));
    report(tx, id, worker, Progress { heartbeat_at: now + *put_off, status, attempts, outcome, finished_at })
}

/// Queues the unfinished runs of `worker` again, to be taken immediately. This does not count as a failed attempt.
pub fn requeue_unfinished(tx: &mut Tx<'_>, worker: &str) -> Result<usize, StoreError> {
    let running = job_runs::status.eq(JobStatus::Running.as_str()).and(job_runs::worker.eq(worker));
    Ok(diesel::update(job_runs::table.filter(running))
        .set((
            job_runs::status.eq(JobStatus::Queued.as_str()),
            job_runs::attempts.eq(job_runs::attempts - 1),
            job_runs::heartbeat_at.eq(job_runs::queued_at),
        ))
        .execute(tx.conn)?)
}

/// Queues a run again that was taken but not started, to be taken immediately.
pub fn requeue(tx: &mut Tx<'_>, id: i64) -> Result<(), StoreError> {
    let queued =
        job_runs::table.filter(job_runs::id.eq(id).and(job_runs::status.eq(JobStatus::Queued.as_str())));
    diesel::update(queued).set(job_runs::heartbeat_at.eq(job_runs::queued_at)).execute(tx.conn)?;
    Ok(())
}

/// The columns to change; `None` leaves a column as it is.
#[derive(AsChangeset)]
#[diesel(table_name = job_runs)]
struct Progress<'a> {
    heartbeat_at: Timestamp,
    status: Option<&'a str>,
    attempts: Option<i32>,
    outcome: Option<&'a str>,
    finished_at: Option<Timestamp>,
}

fn report(tx: &mut Tx<'_>, id: i64, worker: &str, progress: Progress<'_>) -> Result<bool, StoreError> {
    let mine = job_runs::table
        .filter(job_runs::id.eq(id).and(job_runs::status.eq(JobStatus::Running.as_str())))
        .filter(job_runs::worker.eq(worker));
    Ok(diesel::update(mine).set(&progress).execute(tx.conn)? > 0)
}

/// Returns runs with ids below `before`, newest first; only of one kind if `kind` is given.
pub fn page(
    tx: &mut Tx<'_>,
    kind: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<JobRunRow>, StoreError> {
    let mut query = job_runs::table.select(JobRunRow::as_select()).into_boxed();
    if let Some(kind) = kind {
        query = query.filter(job_runs::kind.eq(kind.to_owned()));
    }
    if let Some(before) = before {
        query = query.filter(job_runs::id.lt(before));
    }
    Ok(query.order(job_runs::id.desc()).limit(limit).load(tx.conn)?)
}

/// The number of recorded runs by kind and status.
pub fn counts(tx: &mut Tx<'_>) -> Result<Vec<(String, JobStatus, i64)>, StoreError> {
    Ok(job_runs::table
        .group_by((job_runs::kind, job_runs::status))
        .select((job_runs::kind, job_runs::status, diesel::dsl::count_star()))
        .order((job_runs::kind, job_runs::status))
        .load(tx.conn)?)
}

/// The number of overdue runs by kind: queued before `queued_before` and not postponed beyond `now`, or running without
/// a heartbeat since `queued_before`.
pub fn overdue(
    tx: &mut Tx<'_>,
    queued_before: Timestamp,
    now: Timestamp,
) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(job_runs::table
        .filter(
            job_runs::status
                .eq(JobStatus::Queued.as_str())
                .and(job_runs::queued_at.lt(queued_before))
                .and(job_runs::heartbeat_at.le(now))
                .or(job_runs::status
                    .eq(JobStatus::Running.as_str())
                    .and(job_runs::heartbeat_at.lt(queued_before))),
        )
        .group_by(job_runs::kind)
        .select((job_runs::kind, diesel::dsl::count_star()))
        .order(job_runs::kind)
        .load(tx.conn)?)
}

/// The number of runs that failed after all attempts at `since` or later, by kind.
pub fn failed_since(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(job_runs::table
        .filter(job_runs::status.eq(JobStatus::Failed.as_str()).and(job_runs::finished_at.ge(since)))
        .group_by(job_runs::kind)
        .select((job_runs::kind, diesel::dsl::count_star()))
        .order(job_runs::kind)
        .load(tx.conn)?)
}

/// The finished run of this kind that was planned last.
pub fn newest_done(tx: &mut Tx<'_>, kind: &str) -> Result<Option<JobRunRow>, StoreError> {
    Ok(job_runs::table
        .filter(job_runs::kind.eq(kind).and(job_runs::status.eq(JobStatus::Done.as_str())))
        .order(job_runs::id.desc())
        .select(JobRunRow::as_select())
        .first(tx.conn)
        .optional()?)
}

/// Deletes finished runs of a kind that ended before `than`, except the run with the newest key.
pub fn delete_finished(tx: &mut Tx<'_>, kind: &str, than: Timestamp) -> Result<usize, StoreError> {
    let newest = newest_key(tx, kind)?.unwrap_or_default();
    let old = job_runs::table
        .filter(job_runs::kind.eq(kind).and(job_runs::key.ne(newest)))
        .filter(job_runs::finished_at.lt(than));
    Ok(diesel::delete(old).execute(tx.conn)?)
}
