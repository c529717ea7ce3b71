//! The API for administrators: the workers and their jobs.

use actix_web::HttpResponse;
use actix_web::web::Data;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use services::Fields;
use services::jobs::{JobKind, JobRun};
use services::operations::{JobStatus, OperationsStatus, WorkerStatus};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::admin::listing::CURSOR;
use crate::http::api::{Items, limit, parse};
use crate::http::extract::AdminUser;
use crate::http::input::{Json, Query};
use crate::http::problem::Problem;
use crate::openapi::enums;

#[derive(Serialize, ToSchema)]
#[schema(as = InstallationStatus)]
pub struct Status {
    /// Wall time of this report.
    at: Timestamp,
    /// Workers with a heartbeat within the last hour, in the order in which they started.
    workers: Vec<Worker>,
    jobs: Vec<JobState>,
    /// The newest session with final snapshots; null if there is none yet.
    last_final_snapshot: Option<LastSnapshot>,
    /// The number of closed sessions since then whose snapshots are due.
    snapshot_sessions_behind: usize,
    /// Bytes that the database occupies on disk; on SQLite its file and the log beside it.
    database_bytes: u64,
    /// When `stockyard backup` last copied this database; null if it has not been copied yet.
    last_backup_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct Worker {
    /// The name is new for each start of a worker.
    name: String,
    host: String,
    process_id: i64,
    version: String,
    /// `embedded` (inside `stockyard serve`) or `redis` (a `stockyard worker` process)
    mode: String,
    started_at: Timestamp,
    /// The newest heartbeat.
    last_seen_at: Timestamp,
    /// `alive`, or `silent` when the newest heartbeat is too old: the worker died or hangs.
    #[schema(value_type = enums::WorkerStatus)]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct JobState {
    #[schema(value_type = enums::JobKind)]
    kind: &'static str,
    /// The number of stored runs, by status.
    queued: i64,
    running: i64,
    done: i64,
    failed: i64,
    /// Runs that have waited, or have run without a heartbeat, for more than five minutes.
    overdue: i64,
    /// Runs that failed finally within the last 24 hours.
    failed_last_day: i64,
    last_success_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct LastSnapshot {
    session: chrono::NaiveDate,
    taken_at: Timestamp,
}

impl From<WorkerStatus> for Worker {
    fn from(worker: WorkerStatus) -> Self {
        Self {
            status: if worker.is_alive { "alive" } else { "silent" },
            name: worker.name,
            host: worker.host,
            process_id: worker.process_id,
            version: worker.version,
            mode: worker.mode,
            started_at: worker.started_at,
            last_seen_at: worker.last_seen_at,
        }
    }
}

impl From<OperationsStatus> for Status {
    fn from(status: OperationsStatus) -> Self {
        let job = |job: JobStatus| JobState {
            kind: job.kind.as_str(),
            queued: job.queued,
            running: job.running,
            done: job.done,
            failed: job.failed,
            overdue: job.overdue,
            failed_last_day: job.failed_lately,
            last_success_at: job.last_success_at,
        };
        Self {
            at: status.at,
            workers: status.workers.into_iter().map(Worker::from).collect(),
            jobs: status.jobs.into_iter().map(job).collect(),
            last_final_snapshot: status
                .last_final_snapshot
                .map(|last| LastSnapshot { session: last.session, taken_at: last.taken_at }),
            snapshot_sessions_behind: status.sessions_behind,
            database_bytes: status.database_bytes,
            last_backup_at: status.last_backup_at,
        }
    }
}

/// Get the state of the installation.
///
/// Workers, jobs, snapshots, database and backup.
#[utoipa::path(
    get, path = "/api/v1/admin/status", tag = "admin", operation_id = "adminGetStatus",
    responses((status = 200, description = "The state of the installation", body = Status)),
)]
pub async fn status(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(Status::from(state.services.operations().operations_status().await?)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobRun)]
pub struct Run {
    id: i64,
    #[schema(value_type = enums::JobKind)]
    kind: String,
    /// What the run is for: the date of a session, or a minute.
    key: String,
    partition: i64,
    #[schema(value_type = enums::JobRunStatus)]
    status: String,
    attempts: i32,
    worker: Option<String>,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// The result, or the error of a failed run.
    outcome: Option<String>,
}

impl From<JobRun> for Run {
    fn from(run: JobRun) -> Self {
        Self {
            id: run.id,
            kind: run.kind.as_str().to_owned(),
            key: run.key,
            partition: run.partition,
            status: run.status.as_str().to_owned(),
            attempts: run.attempts,
            worker: run.worker,
            queued_at: run.queued_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: run.outcome,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Runs {
    /// Only runs of this job.
    #[param(value_type = Option<enums::JobKind>)]
    kind: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// List runs of the background jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/jobs", tag = "admin", operation_id = "adminListJobRuns",
    params(Runs),
    responses((status = 200, description = "A page of runs", body = Items<Run>)),
)]
pub async fn jobs(_: AdminUser, wanted: Query<Runs>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let kind: Option<JobKind> = parse("kind", wanted.kind.as_deref(), "unknown job")?;
    let before: Option<i64> = parse("cursor", wanted.cursor.as_deref(), CURSOR)?;
    let page = state.services.jobs().job_runs(kind, before, limit(wanted.limit.as_deref())?).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(Run::from).collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobRequest)]
pub struct Request {
    /// `snapshot_portfolios` (provisional snapshots of the current session), `refresh_quotes`, `refresh_listings` or
    /// `prune`
    #[schema(value_type = enums::JobKind)]
    kind: String,
}

/// Request a run of a background job.
///
/// A worker starts it within seconds.
#[utoipa::path(
    post, path = "/api/v1/admin/jobs", tag = "admin", operation_id = "adminRequestJobRun",
    request_body = Request,
    responses((status = 202, description = "The run is queued")),
)]
pub async fn run_job(
    AdminUser(admin): AdminUser,
    body: Json<Request>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut reader = Fields::default();
    let kind = reader.read("kind", &body.kind);
    state.services.jobs().request_run(&admin, reader.finish(kind)?).await?;
    Ok(HttpResponse::Accepted().finish())
}
