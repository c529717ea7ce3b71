//! Background jobs. Every few seconds the worker looks for due runs, which are then executed: in embedded mode by this
//! process, with Redis by any worker process.
//!
//! With Redis, processes also notify each other of changes, for their event streams (`relay.rs`).
//!
//! Each worker records heartbeats in the database (`heartbeat.rs`).
//!
//! The database records due runs, their workers and their outcomes (`services::jobs`). Redis only distributes runs and
//! may lose everything: lost runs are distributed again.

mod heartbeat;
mod probe;
mod queue;
mod relay;
mod runner;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder};
use apalis_cron::{CronScheduler, Tick};
use secrecy::SecretString;
use services::Services;
use thiserror::Error;
use tokio::task::JoinSet;

pub use probe::RedisProbe;
pub use queue::{check_redis, check_redis_url};
pub use relay::relay;

use heartbeat::Heartbeat;
use queue::{Queue, RunJob};
use runner::Runner;

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The Redis that distributes runs to all worker processes. Without it this process executes all runs.
    pub redis_url: Option<SecretString>,
    /// The prefix of all keys in Redis. Installations that share a Redis need different prefixes.
    pub queue: String,
    /// How often to look for due runs: whole seconds, 1 to 30.
    pub tick: Duration,
    /// The maximum number of simultaneous runs.
    pub concurrency: u16,
    /// How often working orders are matched with the newest prices.
    pub matching: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            queue: "stockyard:runs".to_owned(),
            tick: Duration::from_secs(5),
            concurrency: 4,
            matching: Duration::from_secs(1),
        }
    }
}

/// Why a worker cannot start. After the start it survives errors.
#[derive(Debug, Error)]
pub enum WorkerError {
    #[error(
        "REDIS_URL is not a valid address: use redis://[user:password@]host[:port][/database], or rediss:// for TLS"
    )]
    InvalidRedisUrl(#[source] redis::RedisError),
    #[error("the Redis server of REDIS_URL, {address}, cannot be used")]
    Redis {
        address: String,
        #[source]
        source: redis::RedisError,
    },
}

impl WorkerError {
    /// Whether Redis may answer later: it is down, starting, or loading its data. A wrong password, an invalid
    /// certificate or a refused command is permanent.
    pub fn is_temporary(&self) -> bool {
        let Self::Redis { source, .. } = self else { return false };
        let certificate_fails = std::error::Error::source(source)
            .and_then(|cause| cause.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>())
            .and_then(|cause| cause.downcast_ref::<std::io::Error>())
            .is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidData);
        match source.kind() {
            redis::ErrorKind::AuthenticationFailed => false,
            _ if certificate_fails => false,
            _ => !matches!(source.retry_method(), redis::RetryMethod::NoRetry),
        }
    }
}

/// How long runs may continue after `shutdown`. Hosting services kill a process after ten seconds.
const GRACE: Duration = Duration::from_secs(8);
/// How long it may take after that to release leases and runs.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before an apalis worker that ended is restarted.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an idle worker checks the queue.
const POLL: Duration = Duration::from_millis(200);

/// Works until `shutdown`. Then it starts no new runs, and returns when the current ones have ended, at most nine
/// seconds later. Unfinished runs are released, so that another worker or the next start executes them.
///
/// # Errors
/// Only at the start: an invalid address, or a Redis that does not answer.
pub async fn run(
    services: Services,
    config: WorkerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    let concurrency = config.concurrency.max(1);
    let queue = match &config.redis_url {
        Some(url) => Some(Queue::connect(url, &config.queue).await?),
        None => None,
    };
    let runner = Runner::new(services, concurrency, queue.clone());
    let heartbeat = Heartbeat::start(&runner);
    let mut workers = JoinSet::new();
    let schedule = every(config.tick);
    workers.spawn(keep_running(runner.clone(), move |name, runner| {
        let schedule = schedule.clone();
        Monitor::new().register(move |_| {
            WorkerBuilder::new(format!("{name}-tick"))
                .backend(CronScheduler::new(schedule.clone()))
                .data(runner.clone())
                .catch_panic()
                .build(tick)
        })
    }));
    if let Some(queue) = queue {
        workers.spawn(keep_running(runner.clone(), move |name, runner| {
            let queue = queue.clone();
            Monitor::new().register(move |_| {
                WorkerBuilder::new(name.clone())
                    .backend(queue.storage().poll_with_interval(POLL))
                    .data(runner.clone())
                    .catch_panic()
                    .concurrency(usize::from(concurrency))
                    .build(take)
            })
        }));
    }
    let mut matching = JoinSet::new();
    matching.spawn(keep_matching(runner.clone(), config.matching));
    let mut relaying = JoinSet::new();
    if let Some(url) = config.redis_url.clone() {
        let (services, queue) = (runner.services().clone(), config.queue.clone());
        // This task ends with the function.
        relaying.spawn(async move { relay(services, &url, &queue, std::future::pending()).await });
    }
    tracing::info!(worker.name = runner.name(), worker.redis = config.redis_url.is_some(), "worker started");

    shutdown.await;
    runner.stop();
    let ending = async {
        while matching.join_next().await.is_some() {}
        runner.idle().await;
        while workers.join_next().await.is_some() {}
    };
    match tokio::time::timeout(GRACE, ending).await {
        Ok(()) => tracing::info!("worker stopped"),
        Err(_) => tracing::warn!("worker stopped with unfinished runs; other workers will continue them"),
    }
    let releasing = async {
        runner.release_work().await;
        heartbeat.end().await;
    };
    // The end must not wait for an unavailable database.
    if tokio::time::timeout(RELEASE_TIMEOUT, releasing).await.is_err() {
        tracing::warn!("the worker's leases and runs were not released in time; they will expire");
    }
    Ok(())
}

/// Distributes the due runs.
async fn tick(_: Tick, runner: Data<Runner>) -> Result<(), BoxDynError> {
    runner.tick().await
}

/// Matches working orders with the newest prices, repeatedly. Only one worker process at a time does this, to save
/// work; several would not make the books wrong.
async fn keep_matching(runner: Runner, pause: Duration) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = runner.stopped() => return,
        }
        match runner.match_orders().await {
            Ok(()) => failing = false,
            // Logged once per outage, not every second.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "working orders could not be matched; retrying in the next pass"
                );
            }
            Err(_) => {}
        }
    }
}

/// Executes a run that Redis has distributed.
async fn take(job: RunJob, runner: Data<Runner>) -> Result<(), BoxDynError> {
    runner.execute_run(job.run_id).await
}

/// Restarts an apalis worker until the runner stops. An apalis worker ends after any Redis error, and after a tick that
/// was missed while the machine slept. Each start uses a new name, because Redis refuses the old one until it counts as
/// dead.
async fn keep_running(runner: Runner, worker: impl Fn(String, Runner) -> Monitor) {
    loop {
        let monitor = worker(runner::unique_name(), runner.clone());
        let context = monitor.context();
        let mut running = pin!(monitor.run());
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = runner.stopped() => {
                if let Err(error) = context.shutdown() {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the worker cannot be stopped");
                }
                running.await
            }
        };
        if runner.is_stopping() {
            return;
        }
        match ended {
            Ok(()) => tracing::warn!("worker ended unexpectedly; restarting"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "worker interrupted; restarting")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = runner.stopped() => return,
        }
    }
}

/// A schedule by the wall clock. Which runs are due depends on the market's clock and the calendar in New York.
fn every(tick: Duration) -> cron::Schedule {
    let seconds = tick.as_secs().clamp(1, 30);
    format!("0/{seconds} * * * * *").parse().expect("Invariant: a step of up to 30 seconds is a schedule")
}
