//! The overview: totals, workers, jobs, warnings.

use actix_web::web::Data;
use chrono::TimeDelta;
use domain::Timestamp;
use serde::Serialize;
use services::jobs::{JobKind, JobRun, RunStatus};
use services::operations::{OperationsStatus, WorkerStatus};

use super::jobs::requestable;
use super::users::UserRow;
use super::{Tab, show, tabs};
use crate::AppState;
use crate::http::extract::Admin;
use crate::shell::badge::{Badge, source_name};
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::links::Choice;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
struct OverviewView {
    tabs: Vec<Choice>,
    pub(super) source: String,
    /// Sentences about problems that need attention.
    warnings: Vec<String>,
    state: Vec<Fact>,
    workers: Vec<WorkerRow>,
    totals: Vec<Total>,
    pub(super) jobs: Vec<Job>,
    users: Vec<UserRow>,
}

/// A line of the section "State".
#[derive(Serialize)]
struct Fact {
    label: &'static str,
    text: String,
    at: Option<Moment>,
    badge: Option<Badge>,
}

#[derive(Serialize)]
struct WorkerRow {
    host: String,
    process: i64,
    mode: &'static str,
    version: String,
    started: Moment,
    last_seen: Moment,
    age: String,
    badge: Badge,
}

impl WorkerRow {
    pub(super) fn new(worker: WorkerStatus, now: Timestamp) -> Self {
        let (tone, text) = if worker.is_alive { ("live", "Alive") } else { ("bad", "Silent") };
        Self {
            badge: Badge { tone, text: text.to_owned() },
            mode: match worker.mode.as_str() {
                "embedded" => "Server process",
                _ => "Redis worker",
            },
            host: worker.host,
            process: worker.process_id,
            version: worker.version,
            started: format::day_and_second(worker.started_at),
            last_seen: format::day_and_second(worker.last_seen_at),
            age: format::age((now - worker.last_seen_at).max(TimeDelta::zero())),
        }
    }
}

fn state_facts(status: &OperationsStatus) -> Vec<Fact> {
    let badge = |tone, text: &str| Some(Badge { tone, text: text.to_owned() });
    let (alive, all) = (status.live_workers(), status.workers.len());
    let fact = |label, text: String, badge| Fact { label, text, at: None, badge };
    let count = |label, number: i64| {
        fact(label, format::count(number), (number > 0).then(|| badge("bad", "Look")).flatten())
    };
    vec![
        fact(
            "Workers alive",
            format::count(alive),
            match (alive, all - alive) {
                (0, _) => badge("bad", "None"),
                (_, 0) => None,
                (_, silent) => badge("warn", &format!("{silent} silent")),
            },
        ),
        count("Jobs overdue", status.overdue()),
        count("Jobs failed in 24 h", status.failed_lately()),
        Fact {
            at: status.last_final_snapshot.map(|last| format::day_and_minute(last.taken_at)),
            ..fact(
                "Last final snapshot",
                status
                    .last_final_snapshot
                    .map_or_else(|| "none yet".to_owned(), |last| format::date(last.session)),
                match status.sessions_behind {
                    0 | 1 => None,
                    behind => badge("warn", &format!("{behind} sessions behind")),
                },
            )
        },
        fact("Database size", format::bytes(status.database_bytes), None),
        Fact {
            at: status.last_backup_at.map(format::day_and_minute),
            ..fact(
                "Last backup",
                status.last_backup_at.map_or_else(
                    || "none recorded".to_owned(),
                    |at| format!("{} ago", format::age((status.at - at).max(TimeDelta::zero()))),
                ),
                None,
            )
        },
    ]
}

/// One sentence per problem, with what to do.
fn warnings(status: &OperationsStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.live_workers() == 0 {
        warnings.push(
            "No worker is alive: working orders are not filled, and no snapshots are taken. Start `stockyard worker`, or \
             restart the server where it runs the jobs itself."
                .to_owned(),
        );
    }
    if status.overdue() > 0 {
        warnings.push("Jobs are overdue. Check their runs below and the logs of the workers.".to_owned());
    }
    if status.failed_lately() > 0 {
        warnings.push("Jobs failed within the last 24 hours. Their runs show the reasons.".to_owned());
    }
    warnings
}

#[derive(Serialize)]
struct Total {
    label: &'static str,
    value: String,
    href: &'static str,
}

#[derive(Serialize)]
struct Job {
    pub(super) kind: &'static str,
    requestable: bool,
    pub(super) run: Option<RunRow>,
}

#[derive(Serialize)]
pub(super) struct RunRow {
    pub(super) kind: String,
    badge: Badge,
    key: String,
    partition: i64,
    queued: Moment,
    took: String,
    attempts: i32,
    worker: String,
    outcome: String,
}

impl From<JobRun> for RunRow {
    fn from(run: JobRun) -> Self {
        let tone = match run.status {
            RunStatus::Done => "live",
            RunStatus::Failed => "bad",
            RunStatus::Running => "warn",
            RunStatus::Queued => "",
        };
        Self {
            badge: Badge { tone, text: run.status.as_str().to_owned() },
            took: match (run.started_at, run.finished_at) {
                (Some(started), Some(finished)) => format::age(finished - started),
                _ => String::new(),
            },
            queued: format::day_and_second(run.queued_at),
            kind: run.kind.as_str().to_owned(),
            key: run.key,
            partition: run.partition,
            attempts: run.attempts,
            worker: run.worker.as_deref().map(worker_name).unwrap_or_default().to_owned(),
            outcome: run.outcome.unwrap_or_default(),
        }
    }
}

/// Host and process, without the random part that distinguishes restarts.
pub(super) fn worker_name(worker: &str) -> &str {
    worker.rsplit_once('-').filter(|(_, random)| random.len() == 32).map_or(worker, |(name, _)| name)
}

pub async fn overview(shell: Shell, Admin(admin): Admin, state: Data<AppState>) -> PageResult {
    let services = &state.services;
    let (totals, status) =
        (services.operations().totals().await?, services.operations().operations_status().await?);
    let mut jobs = Vec::new();
    for kind in JobKind::ALL {
        let newest = services.jobs().job_runs(Some(kind), None, 1).await?.items.pop();
        jobs.push(Job { kind: kind.as_str(), requestable: requestable(kind), run: newest.map(RunRow::from) });
    }
    let total = |label, count: i64, href| Total { label, value: format::count(count), href };
    let source = services.market().price_source();
    let view = OverviewView {
        tabs: tabs(Tab::Overview),
        source: format!("{} ({source})", source_name(source.as_str())),
        warnings: warnings(&status),
        state: state_facts(&status),
        workers: status.workers.into_iter().map(|worker| WorkerRow::new(worker, status.at)).collect(),
        totals: vec![
            total("Users", totals.users, "/admin/users"),
            total("Portfolios", totals.portfolios, "/admin/portfolios"),
            total("Stocks", totals.stocks, "/admin/stocks"),
            total("Transactions", totals.transactions, "/admin/transactions"),
            total("Snapshots", totals.snapshots, "/admin/snapshots"),
        ],
        jobs,
        users: services
            .accounts()
            .all_users(&admin, "", None, 5)
            .await?
            .items
            .into_iter()
            .map(UserRow::from)
            .collect(),
    };
    show(shell, "admin/overview.html", "overview", &view)
}
