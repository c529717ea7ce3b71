//! Kinds of jobs and the record of their runs.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::Timestamp;
use persistence::jobs::{self, JobRunRow, JobStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// The snapshots of a closed session; one run for each partition of the portfolios.
    SnapshotPortfolios,
    /// Snapshots of the current session at current prices; only on request.
    ProvisionalSnapshots,
    /// Last prices of all stocks held or watched.
    RefreshQuotes,
    /// Requests and applies corporate actions, before a session opens and after its opening.
    CorporateActions,
    /// The table of all listed stocks, which searches use.
    RefreshListings,
    /// Deletes expired logins and old runs.
    Prune,
}

impl JobKind {
    pub const ALL: [Self; 6] = [
        Self::SnapshotPortfolios,
        Self::ProvisionalSnapshots,
        Self::RefreshQuotes,
        Self::CorporateActions,
        Self::RefreshListings,
        Self::Prune,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SnapshotPortfolios => jobs::SNAPSHOT_PORTFOLIOS,
            Self::ProvisionalSnapshots => "provisional_snapshots",
            Self::RefreshQuotes => "refresh_quotes",
            Self::CorporateActions => jobs::CORPORATE_ACTIONS,
            Self::RefreshListings => "refresh_listings",
            Self::Prune => "prune",
        }
    }

    /// How long finished runs are kept.
    pub(super) fn remembered(self) -> TimeDelta {
        match self {
            Self::SnapshotPortfolios
            | Self::ProvisionalSnapshots
            | Self::CorporateActions
            | Self::RefreshListings
            | Self::Prune => TimeDelta::days(400),
            Self::RefreshQuotes => TimeDelta::days(1),
        }
    }
}

/// A text that is not a kind of job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown job: {0:?}")]
pub struct UnknownJob(String);

impl FromStr for JobKind {
    type Err = UnknownJob;
    fn from_str(text: &str) -> std::result::Result<Self, UnknownJob> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownJob(text.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    Queued,
    Running,
    Done,
    /// Failed after several attempts.
    Failed,
}

impl RunStatus {
    pub fn as_str(self) -> &'static str {
        JobStatus::from(self).as_str()
    }
}

impl From<JobStatus> for RunStatus {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Queued => Self::Queued,
            JobStatus::Running => Self::Running,
            JobStatus::Done => Self::Done,
            JobStatus::Failed => Self::Failed,
        }
    }
}

/// One recorded run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub id: i64,
    pub kind: JobKind,
    /// Identifies the occasion of the run, such as a session's date or a minute, so that it becomes due only once.
    pub key: String,
    /// The index of the part of the work, from 0.
    pub partition: i64,
    /// Whether an administrator requested it, outside the schedule.
    pub requested: bool,
    pub status: RunStatus,
    pub attempts: i32,
    pub worker: Option<String>,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// The last heartbeat; for a queued run, when it was last queued.
    pub heartbeat_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The result, or the reason of the failure.
    pub outcome: Option<String>,
}

impl TryFrom<JobRunRow> for JobRun {
    type Error = UnknownJob;

    /// Fails for a kind of job that only another version of Stockyard knows.
    fn try_from(row: JobRunRow) -> std::result::Result<Self, UnknownJob> {
        Ok(Self {
            id: row.id,
            kind: row.kind.parse()?,
            key: row.key,
            partition: row.partition,
            requested: row.requested,
            status: row.status.into(),
            attempts: row.attempts,
            worker: row.worker,
            queued_at: row.queued_at,
            started_at: row.started_at,
            heartbeat_at: row.heartbeat_at,
            finished_at: row.finished_at,
            outcome: row.outcome,
        })
    }
}

/// The runs whose kind this version knows.
pub(super) fn known(rows: Vec<JobRunRow>) -> Vec<JobRun> {
    rows.into_iter().filter_map(|row| JobRun::try_from(row).ok()).collect()
}
