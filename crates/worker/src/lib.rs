//! Background work. Every few seconds the worker asks which runs are due, and they are done: embedded, in this
//! process; with Redis, in whichever worker process takes them first.
//!
//! With Redis, processes also tell each other what has changed, for the streams of those who listen (`relay.rs`).
//!
//! Each worker records in the database that it is alive (`heartbeat.rs`).
//!
//! What is due, who does it and what came of it stands in the database (`services::jobs`). Redis only hands out, so
//! it may lose everything: what was handed out in vain is handed out again.

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
    /// The Redis that hands runs out to all worker processes; without one this process does them all.
    pub redis_url: Option<SecretString>,
    /// Begins the names of everything kept in that Redis. Deployments that share a Redis need different ones.
    pub queue: String,
    /// How often to look for runs that are due: whole seconds, 1 to 30.
    pub tick: Duration,
    /// How many runs are done at the same time.
    pub concurrency: u16,
    /// How often working orders meet the newest prices.
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

/// Why a worker cannot begin its work. Once begun it survives what goes wrong.
#[derive(Debug, Error)]
pub enum WorkerError {
    #[error(
        "REDIS_URL is not the address of a Redis: write redis://[user:password@]host[:port][/database], or rediss:// \
         for TLS"
    )]
    InvalidRedisUrl(#[source] redis::RedisError),
    #[error("the Redis that REDIS_URL names, {address}, cannot be used")]
    Redis {
        address: String,
        #[source]
        source: redis::RedisError,
    },
}

impl WorkerError {
    /// Whether the Redis may answer later: it is away, starts, or loads its data. A wrong password, a certificate that
    /// cannot be checked or a refused command stay as they are.
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

/// Until runs under way have ended after `shutdown`; a host waits ten seconds before it kills.
const GRACE: Duration = Duration::from_secs(8);
/// Then for giving back what others may go on with.
const GIVING_BACK: Duration = Duration::from_secs(1);
/// Between the end of an apalis worker and its next start.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an idle worker looks into the queue.
const POLL: Duration = Duration::from_millis(200);

/// Works until `shutdown`: then begins nothing new, and returns when the runs under way have ended, after nine
/// seconds at the latest. What has not ended by then is given back, and done by another worker or after the next start.
///
/// # Errors
/// At the start alone: an address that cannot be understood, a Redis that does not answer.
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
        // It ends with this function.
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
        Err(_) => tracing::warn!("worker stopped with runs under way; they will be taken over"),
    }
    let giving_back = async {
        runner.give_back().await;
        heartbeat.end().await;
    };
    // A database that is away is no reason to end late.
    if tokio::time::timeout(GIVING_BACK, giving_back).await.is_err() {
        tracing::warn!(
            "the worker's leases and runs were not given back in time; they run out by themselves"
        );
    }
    Ok(())
}

/// Hands out the runs that are due.
async fn tick(_: Tick, runner: Data<Runner>) -> Result<(), BoxDynError> {
    runner.tick().await
}

/// Lets working orders meet the newest prices, again and again. One worker process at a time does it; that is for
/// economy, and not needed for the books to be right.
async fn keep_matching(runner: Runner, pause: Duration) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = runner.stopped() => return,
        }
        match runner.match_orders().await {
            Ok(()) => failing = false,
            // Once, and not each second of an outage.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "working orders did not meet their prices; the next pass tries again"
                );
            }
            Err(_) => {}
        }
    }
}

/// Does a run that was handed out by way of Redis.
async fn take(job: RunJob, runner: Data<Runner>) -> Result<(), BoxDynError> {
    runner.do_run(job.run_id).await
}

/// Keeps an apalis worker running until the runner stops. Any error of Redis ends one, as does a tick that was
/// slept through. Each start gets a new name: Redis refuses the old one until it counts as dead.
async fn keep_running(runner: Runner, worker: impl Fn(String, Runner) -> Monitor) {
    loop {
        let monitor = worker(runner::unique_name(), runner.clone());
        let context = monitor.context();
        let mut running = pin!(monitor.run());
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = runner.stopped() => {
                if let Err(error) = context.shutdown() {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the worker cannot be told to stop");
                }
                running.await
            }
        };
        if runner.is_stopping() {
            return;
        }
        match ended {
            Ok(()) => tracing::warn!("worker ended by itself; it starts again"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "worker interrupted; it starts again"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = runner.stopped() => return,
        }
    }
}

/// The wall clock gives only the beat; what is due is decided by the market's clock and the New York calendar.
fn every(tick: Duration) -> cron::Schedule {
    let seconds = tick.as_secs().clamp(1, 30);
    format!("0/{seconds} * * * * *").parse().expect("Invariant: a step of up to 30 seconds is a schedule")
}
