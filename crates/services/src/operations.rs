//! The state of the installation for its operator: workers, jobs, snapshots, database, backup.

pub mod backups;
pub mod health;
pub mod lists;
pub mod metrics;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use persistence::workers::{self, WorkerRecord};
use persistence::{Store, Tx, installation, jobs, portfolios};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::accounts::Accounts;
use crate::books::Books;
use crate::books::snapshots::{FinalSnapshot, last_final_snapshot};
use crate::error::{Error, Result};
use crate::jobs::{JobKind, RunStatus, newest_settled_session};
use crate::live::Live;
use crate::operations::health::{Health, HealthConfig};
use crate::trading::Trading;
use crate::{Clock, Market};

/// A run is overdue after waiting this long, or after running this long without a heartbeat.
pub const OVERDUE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// The time span in which failed runs are counted.
pub const FAILED_WITHIN: TimeDelta = TimeDelta::days(1);
/// The row of a worker that died is shown for this long.
const SHOW_SILENT_WORKERS_FOR: TimeDelta = TimeDelta::hours(1);
/// The maximum age of the state in a scrape of `/metrics`.
const STATUS_AGE: Duration = Duration::from_secs(5);
/// Sessions without a final snapshot are counted up to this number.
const MAX_SESSIONS_BEHIND: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerMode {
    /// Inside `stockyard serve`.
    Embedded,
    /// A `stockyard worker` process, which takes runs from Redis.
    Redis,
}

impl WorkerMode {
    pub const ALL: [Self; 2] = [Self::Embedded, Self::Redis];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// A worker process, as it describes itself in its heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// The name of the worker, unique for each start.
    pub name: String,
    pub mode: WorkerMode,
    pub started_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    pub name: String,
    pub host: String,
    pub process_id: i64,
    pub version: String,
    pub mode: String,
    pub started_at: Timestamp,
    /// Wall time of the newest heartbeat.
    pub last_seen_at: Timestamp,
    /// Whether the newest heartbeat is younger than the setting `WORKER_TIMEOUT_S`.
    pub is_alive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    pub kind: JobKind,
    pub queued: i64,
    pub running: i64,
    pub done: i64,
    pub failed: i64,
    /// Waiting or without a heartbeat for longer than [`OVERDUE_AFTER`].
    pub overdue: i64,
    /// Runs that failed after all attempts within [`FAILED_WITHIN`].
    pub failed_lately: i64,
    pub last_success_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationsStatus {
    /// Wall time of this report.
    pub at: Timestamp,
    /// The workers, in the order in which they started.
    pub workers: Vec<WorkerStatus>,
    /// One entry per kind of job.
    pub jobs: Vec<JobStatus>,
    pub last_final_snapshot: Option<FinalSnapshot>,
    /// The number of sessions since the last final snapshot whose closing prices count as settled.
    pub sessions_behind: usize,
    pub database_bytes: u64,
    /// The wall time of the last `stockyard backup` of this database.
    pub last_backup_at: Option<Timestamp>,
}

impl OperationsStatus {
    pub fn live_workers(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_alive).count()
    }

    pub fn overdue(&self) -> i64 {
        self.jobs.iter().map(|job| job.overdue).sum()
    }

    pub fn failed_lately(&self) -> i64 {
        self.jobs.iter().map(|job| job.failed_lately).sum()
    }
}

/// The last state, and when it was read.
pub(crate) type RecentStatus = Mutex<Option<(Instant, Arc<OperationsStatus>)>>;

/// The use cases of the operator. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Operations {
    store: Store,
    market: Arc<Market>,
    accounts: Arc<Accounts>,
    books: Arc<Books>,
    trading: Arc<Trading>,
    live: Arc<Live>,
    config: HealthConfig,
    health: Arc<Health>,
    recent_status: Arc<RecentStatus>,
}

impl Operations {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        config: HealthConfig,
        (accounts, books): (Arc<Accounts>, Arc<Books>),
        (trading, live): (Arc<Trading>, Arc<Live>),
    ) -> Self {
        let (health, recent_status) = (Arc::default(), Arc::default());
        Self { store, market, accounts, books, trading, live, config, health, recent_status }
    }

    /// The current use of the database connections.
    pub fn pool_state(&self) -> persistence::PoolState {
        self.store.pool_state()
    }

    /// Checks that the database answers and can be written.
    ///
    /// # Errors
    /// [`Error::Store`] if it does not answer, or its file was deleted or replaced.
    pub async fn check_ready(&self) -> Result<()> {
        self.store.check_file()?;
        self.store.read(|tx| installation::get(tx, "ready").map(drop).map_err(Error::from)).await
    }

    /// Releases the leases on calls to the price source before the process ends.
    pub async fn release_leases(&self) {
        if let Some(limits) = self.market.quotes.limits() {
            limits.release_all().await;
        }
    }

    /// Writes the database to its file before the process ends; see [`Store::checkpoint`].
    ///
    /// # Errors
    /// The same as [`Store::checkpoint`].
    pub async fn checkpoint(&self) -> Result<()> {
        Ok(self.store.checkpoint().await?)
    }
}

/// The name of this machine or container.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a worker on that host has sent a heartbeat within `timeout`.
///
/// # Errors
/// Only when the database fails.
pub async fn has_live_worker(store: &Store, host: &str, timeout: TimeDelta) -> Result<bool> {
    let now = Clock::system().wall();
    let workers = store.read(move |tx| worker_states(tx, now, timeout)).await?;
    Ok(workers.iter().any(|worker| worker.is_alive && worker.host == host))
}

impl Operations {
    /// Records a heartbeat of a worker of this process, and deletes workers that have been silent for an hour.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn worker_heartbeat(&self, worker: &WorkerIdentity) -> Result<()> {
        let now = self.market.clock.wall();
        let record = WorkerRecord {
            name: worker.name.clone(),
            host: host_name(),
            process_id: std::process::id().into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: worker.mode.as_str().to_owned(),
            started_at: worker.started_at,
            last_seen_at: now,
        };
        let forget_before = now - SHOW_SILENT_WORKERS_FOR.max(self.config.worker_timeout);
        self.store.write(move |tx| workers::beat(tx, &record, forget_before).map_err(Error::from)).await
    }

    /// Removes a worker that is shutting down.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn remove_worker(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.store.write(move |tx| workers::remove(tx, &name).map(drop).map_err(Error::from)).await
    }

    /// All workers with a heartbeat within the last hour, in the order in which they started.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>> {
        let (now, timeout) = (self.market.clock.wall(), self.config.worker_timeout);
        self.store.read(move |tx| worker_states(tx, now, timeout)).await
    }

    /// The state of the installation.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn operations_status(&self) -> Result<OperationsStatus> {
        let (market, timeout) = (self.market.clone(), self.config.worker_timeout);
        self.store.read(move |tx| status(tx, &market, timeout)).await
    }

    /// The state of the installation, at most some seconds old. `None` if the database does not answer in time.
    pub async fn recent_operations_status(&self) -> Option<Arc<OperationsStatus>> {
        let mut newest = self.recent_status.lock().await;
        if let Some((at, status)) = &*newest
            && at.elapsed() < STATUS_AGE
        {
            return Some(status.clone());
        }
        let asked = tokio::time::timeout(self.config.check_timeout, self.operations_status()).await;
        let status = match asked {
            Ok(Ok(status)) => Some(Arc::new(status)),
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the state of the installation cannot be read"
                );
                None
            }
            Err(_) => None,
        };
        *newest = status.clone().map(|status| (Instant::now(), status));
        status
    }
}

fn worker_states(tx: &mut Tx<'_>, now: Timestamp, timeout: TimeDelta) -> Result<Vec<WorkerStatus>> {
    let states = workers::all(tx)?.into_iter().map(|worker| WorkerStatus {
        is_alive: worker.last_seen_at > now - timeout,
        name: worker.name,
        host: worker.host,
        process_id: worker.process_id,
        version: worker.version,
        mode: worker.mode,
        started_at: worker.started_at,
        last_seen_at: worker.last_seen_at,
    });
    Ok(states.collect())
}

fn status(tx: &mut Tx<'_>, market: &Market, worker_timeout: TimeDelta) -> Result<OperationsStatus> {
    let now = market.clock.wall();
    let counts = jobs::counts(tx)?;
    let overdue = jobs::overdue(tx, now - OVERDUE_AFTER, now)?;
    let failed = jobs::failed_since(tx, now - FAILED_WITHIN)?;
    let of_kind = |rows: &[(String, i64)], kind: JobKind| {
        rows.iter().find(|(name, _)| name == kind.as_str()).map_or(0, |(_, count)| *count)
    };
    let mut job_states = Vec::with_capacity(JobKind::ALL.len());
    for kind in JobKind::ALL {
        let count = |status: RunStatus| {
            let row = counts.iter().find(|(name, of, _)| name == kind.as_str() && *of == status.into());
            row.map_or(0, |(.., count)| *count)
        };
        job_states.push(JobStatus {
            kind,
            queued: count(RunStatus::Queued),
            running: count(RunStatus::Running),
            done: count(RunStatus::Done),
            failed: count(RunStatus::Failed),
            overdue: of_kind(&overdue, kind),
            failed_lately: of_kind(&failed, kind),
            last_success_at: jobs::newest_done(tx, kind.as_str())?.and_then(|run| run.finished_at),
        });
    }
    let last_final_snapshot = last_final_snapshot(tx)?;
    Ok(OperationsStatus {
        at: now,
        workers: worker_states(tx, now, worker_timeout)?,
        jobs: job_states,
        sessions_behind: sessions_behind(tx, market, last_final_snapshot)?,
        last_final_snapshot,
        database_bytes: installation::database_size(tx)?,
        last_backup_at: installation::get(tx, backups::LAST_BACKUP_AT)?
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text.trim()).ok())
            .map(|at| at.to_utc().into()),
    })
}

fn sessions_behind(tx: &mut Tx<'_>, market: &Market, last: Option<FinalSnapshot>) -> Result<usize> {
    let Some((_, oldest)) = portfolios::extent(tx)? else { return Ok(0) };
    let first = match last {
        Some(last) => last.session.succ_opt().unwrap_or(last.session),
        None => market.calendar.booking_session(oldest).date,
    };
    let newest = newest_settled_session(market, market.clock.wall()).date;
    Ok(market.calendar.sessions(first, newest).take(MAX_SESSIONS_BEHIND).count())
}
