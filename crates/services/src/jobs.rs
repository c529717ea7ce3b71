//! Jobs: finds due runs and executes them. Web and worker processes share the record of runs in the database, so each
//! due run is executed only once, and another worker takes over the run of a worker that died.

mod heart;
mod runs;
mod schedule;
mod work;

use std::sync::Arc;

use chrono::{NaiveDate, SecondsFormat, TimeDelta};
use domain::calendar::exchange_date;
use persistence::Store;
use persistence::jobs::{self, JobStatus, RunEnd};

use crate::accounts::actor::Administrator;
use crate::books::Books;
use crate::corporate_actions::CorporateActions;
use crate::error::{Error, Result};
use crate::log_target::SECURITY;
use crate::stocks::Stocks;
use crate::{Market, Page, one_more};
use heart::Heart;
use runs::known;
pub use runs::{JobKind, JobRun, RunStatus, UnknownJob};
pub(crate) use schedule::newest_settled_session;
use schedule::{plan_actions, plan_listings, plan_refresh, plan_snapshots};
use work::Outcome;

impl From<RunStatus> for JobStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::Queued,
            RunStatus::Running => Self::Running,
            RunStatus::Done => Self::Done,
            RunStatus::Failed => Self::Failed,
        }
    }
}

const MAX_ATTEMPTS: i32 = 5;

/// The use cases of jobs. Cheap to clone. The work of a run has a longer database timeout than requests have.
#[derive(Clone)]
pub struct Jobs {
    store: Store,
    market: Arc<Market>,
    /// How long a running job may be without a heartbeat before another worker takes it over.
    silence: TimeDelta,
    stocks: Arc<Stocks>,
    corporate_actions: Arc<CorporateActions>,
    books: Arc<Books>,
}

fn ended(status: JobStatus, outcome: String) -> RunEnd {
    RunEnd { status, outcome, put_off: TimeDelta::zero() }
}

impl Jobs {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        silence: TimeDelta,
        (stocks, corporate_actions, books): (&Stocks, &CorporateActions, &Books),
    ) -> Self {
        let (stocks, corporate_actions, books) =
            (Arc::new(stocks.for_jobs()), Arc::new(corporate_actions.for_jobs()), Arc::new(books.for_jobs()));
        Self { store, market, silence, stocks, corporate_actions, books }
    }
}

impl Jobs {
    /// Records new due runs. Returns the runs that a worker should execute now: new ones, ones that no worker has
    /// started, and ones whose worker has stopped sending heartbeats.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn due_runs(&self) -> Result<Vec<JobRun>> {
        let market = self.market.clone();
        let silence = self.silence;
        self.store
            .write(move |tx| {
                let wall = market.clock.wall();
                plan_actions(tx, &market, wall)?;
                plan_snapshots(tx, &market, wall)?;
                plan_refresh(tx, &market, wall)?;
                plan_listings(tx, &market, wall)?;
                let day = exchange_date(wall).to_string();
                jobs::plan(tx, JobKind::Prune.as_str(), &day, 0, wall)?;
                let kinds = JobKind::ALL.map(JobKind::as_str);
                jobs::take_due(tx, &kinds, wall - silence, wall, 100).map(known).map_err(Error::from)
            })
            .await
    }

    /// Plans the snapshots of a session, regardless of earlier plans; planning continues with the sessions after it.
    pub(crate) async fn plan_snapshots_of(&self, date: NaiveDate) -> Result<()> {
        let wall = self.market.clock.wall();
        self.store
            .write(move |tx| {
                let kind = JobKind::SnapshotPortfolios.as_str();
                jobs::plan(tx, kind, &date.to_string(), 0, wall).map(drop).map_err(Error::from)
            })
            .await
    }

    /// Records a run of this kind outside the schedule, due now. A snapshot is of the current session.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn request_run(&self, by: &Administrator, kind: JobKind) -> Result<()> {
        let kind = match kind {
            JobKind::SnapshotPortfolios => JobKind::ProvisionalSnapshots,
            other => other,
        };
        let wall = self.market.clock.wall();
        // This key sorts after the scheduled keys of the same day or minute, and does not collide with them.
        let key = format!("{} on request", wall.utc().to_rfc3339_opts(SecondsFormat::Micros, true));
        self.store
            .write(move |tx| jobs::request(tx, kind.as_str(), &key, wall).map(drop).map_err(Error::from))
            .await?;
        tracing::info!(target: SECURITY, event = "job_requested", job = kind.as_str(), administrator = by.name(), "an administrator requested a job");
        Ok(())
    }

    /// Executes a run, unless another worker is executing it or has done so. Returns whether it was executed here.
    ///
    /// # Errors
    /// The error of the job. A failed run is queued again until its fifth attempt.
    pub async fn run_job(&self, id: i64, worker: &str) -> Result<bool> {
        let (name, silence, clock) = (worker.to_owned(), self.silence, self.market.clock.clone());
        let claimed = self
            .store
            .write(move |tx| {
                let wall = clock.wall();
                jobs::claim(tx, id, &name, wall - silence, wall).map_err(Error::from)
            })
            .await?;
        let Some(row) = claimed else { return Ok(false) };
        if row.attempts > MAX_ATTEMPTS {
            // No attempt ever ended: the run probably crashes its worker.
            let outcome = format!("given up after {MAX_ATTEMPTS} attempts that never ended");
            self.finish_run(id, worker, ended(JobStatus::Failed, outcome)).await?;
            return Ok(true);
        }
        let run = match JobRun::try_from(row) {
            Ok(run) => run,
            Err(unknown) => {
                let outcome = unknown.to_string();
                self.finish_run(id, worker, ended(JobStatus::Queued, outcome)).await?;
                return Err(Error::internal(unknown));
            }
        };
        let kind = run.kind.as_str();
        tracing::info!(job.kind = kind, job.key = run.key, job.partition = run.partition, "job started");
        let alive = Heart::start(self.clone(), id, worker.to_owned(), silence);
        let result = self.execute_job(&run, &alive).await;
        drop(alive);
        let end = match &result {
            Ok(Outcome::Done(outcome)) => ended(JobStatus::Done, outcome.clone()),
            Ok(Outcome::Later(why, put_off)) => {
                RunEnd { put_off: *put_off, ..ended(JobStatus::Queued, why.clone()) }
            }
            Err(error) if run.attempts >= MAX_ATTEMPTS => ended(JobStatus::Failed, error.to_string()),
            Err(error) => ended(JobStatus::Queued, error.to_string()),
        };
        tracing::info!(
            job.kind = kind,
            job.key = run.key,
            job.status = end.status.as_str(),
            job.outcome = end.outcome,
            "job ended"
        );
        let mine = self.finish_run(id, worker, end).await?;
        result.map(|_| mine)
    }

    /// Returns the unfinished runs of a worker to the queue before the worker ends, so that others execute them
    /// immediately.
    ///
    /// # Errors
    /// Only when the database fails; then the runs are taken over once their heartbeats are overdue.
    pub async fn requeue_unfinished_runs(&self, worker: &str) -> Result<usize> {
        let worker = worker.to_owned();
        self.store.write(move |tx| jobs::requeue_unfinished(tx, &worker).map_err(Error::from)).await
    }

    /// Returns a run to the queue that was handed to a worker but not started.
    ///
    /// # Errors
    /// Only when the database fails; then the run is handed out again after a while.
    pub async fn requeue_run(&self, id: i64) -> Result<()> {
        self.store.write(move |tx| jobs::requeue(tx, id).map_err(Error::from)).await
    }

    /// Records the end of a run. Returns whether the run still belonged to this worker.
    async fn finish_run(&self, id: i64, worker: &str, end: RunEnd) -> Result<bool> {
        let (name, clock) = (worker.to_owned(), self.market.clock.clone());
        self.store.write(move |tx| jobs::finish(tx, id, &name, &end, clock.wall()).map_err(Error::from)).await
    }

    /// Returns recorded runs, newest first.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn job_runs(
        &self,
        kind: Option<JobKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<JobRun, i64>> {
        let runs = self
            .store
            .read(move |tx| {
                jobs::page(tx, kind.map(JobKind::as_str), before, one_more(limit)).map_err(Error::from)
            })
            .await?;
        let Page { items, next } = Page::from_items(runs, limit, |run| run.id);
        Ok(Page { items: known(items), next })
    }
}
