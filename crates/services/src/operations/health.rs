//! The deep health check: whether all parts of an installation work.
//!
//! All parts are checked in parallel, each with a deadline. Reasons are fixed texts; causes are logged.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use persistence::installation;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use crate::error::Error;
use crate::operations::Operations;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// A check that takes longer than this counts as failed.
    pub check_timeout: Duration,
    /// A worker whose newest heartbeat is older than this counts as dead. Heartbeats are sent four times as often.
    pub worker_timeout: TimeDelta,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { check_timeout: Duration::from_secs(3), worker_timeout: TimeDelta::seconds(20) }
    }
}

impl HealthConfig {
    /// How often a worker sends a heartbeat.
    pub fn heartbeat_interval(&self) -> Duration {
        let quarter = self.worker_timeout.to_std().unwrap_or_default() / 4;
        quarter.max(Duration::from_millis(50))
    }
}

/// A test of a service outside the database.
pub trait Probe: Send + Sync {
    /// Tests the service.
    ///
    /// # Errors
    /// The cause of the failure, for the log.
    fn probe(&self) -> BoxFuture<'_, std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>>;
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `database`, `order_desk`, `workers`, `redis` if it is configured, and `clock` while the system's clock is
    /// behind.
    pub name: &'static str,
    /// The reason of a failure.
    pub failure: Option<String>,
}

/// How long a report is reused. Anyone may request one, and each report costs a write.
const REPORT_AGE: Duration = Duration::from_secs(1);
/// The key of the value that the check writes, in `installation`.
const HEALTH_CHECKED_AT: &str = "health_checked_at";

pub(crate) struct Health {
    newest: Mutex<Option<(Instant, Vec<HealthCheck>)>>,
    /// Allows one write at a time: if the database hangs, a second write would occupy another connection.
    writing: Arc<Semaphore>,
    redis: std::sync::OnceLock<Arc<dyn Probe>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            newest: Mutex::default(),
            writing: Arc::new(Semaphore::new(1)),
            redis: std::sync::OnceLock::new(),
        }
    }
}

impl Operations {
    /// Sets the test of the configured Redis.
    pub fn set_redis_probe(&self, probe: Arc<dyn Probe>) {
        // The probe may already be set; then both are equal.
        let _ = self.health.redis.set(probe);
    }

    pub fn health_config(&self) -> HealthConfig {
        self.config
    }

    /// Checks the database with a write, the order desk, the workers, and Redis if it is configured. A report younger
    /// than a second is reused.
    pub async fn deep_health(&self) -> Vec<HealthCheck> {
        let mut newest = self.health.newest.lock().await;
        if let Some((at, report)) = &*newest
            && at.elapsed() < REPORT_AGE
        {
            return report.clone();
        }
        let (database, workers, redis) =
            tokio::join!(self.check_database(), self.check_workers(), self.check_redis());
        let mut report = vec![
            HealthCheck { name: "database", failure: database },
            HealthCheck { name: "order_desk", failure: self.check_order_desk() },
            HealthCheck { name: "workers", failure: workers },
        ];
        if let Some(failure) = redis {
            report.push(HealthCheck { name: "redis", failure });
        }
        if let Some(by) = self.market.clock.behind() {
            let failure = Some(format!("the system's clock is behind by {} s", by.num_seconds()));
            report.push(HealthCheck { name: "clock", failure });
        }
        let before = newest.as_ref().map(|(_, report)| report.as_slice());
        log_changes(before.unwrap_or_default(), &report);
        *newest = Some((Instant::now(), report.clone()));
        report
    }

    fn late(&self) -> String {
        format!("no answer within {} s", self.config.check_timeout.as_secs_f64())
    }

    async fn check_database(&self) -> Option<String> {
        let Ok(permit) = self.health.writing.clone().try_acquire_owned() else {
            return Some("an earlier write has not ended".to_owned());
        };
        let operations = self.clone();
        // A separate task keeps the permit until the write has ended.
        let write = tokio::spawn(async move {
            let now = operations.market.clock.wall().to_rfc3339();
            let written = operations
                .store
                .write(move |tx| installation::set(tx, HEALTH_CHECKED_AT, &now).map_err(Error::from))
                .await;
            drop(permit);
            written
        });
        match timeout(self.config.check_timeout, write).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the health check's write failed");
                Some("it cannot be written".to_owned())
            }
            Ok(Err(_)) => Some("it cannot be written".to_owned()),
            Err(_) => Some(self.late()),
        }
    }

    fn check_order_desk(&self) -> Option<String> {
        let limit = self.config.check_timeout;
        match self.trading.desk().load() {
            load if load.is_closed => Some("its thread has ended".to_owned()),
            load if load.busy_for > limit => {
                Some(format!("it has been writing one batch for more than {} s", limit.as_secs_f64()))
            }
            _ => None,
        }
    }

    async fn check_workers(&self) -> Option<String> {
        match timeout(self.config.check_timeout, self.workers()).await {
            Ok(Ok(workers)) if workers.iter().any(|worker| worker.is_alive) => None,
            Ok(Ok(_)) => Some(format!(
                "no worker has sent a heartbeat within {} s",
                self.config.worker_timeout.num_milliseconds() as f64 / 1000.0
            )),
            Ok(Err(_)) => Some("the database does not answer".to_owned()),
            Err(_) => Some(self.late()),
        }
    }

    /// The failure of Redis, if any; the outer `None` means that Redis is not configured.
    async fn check_redis(&self) -> Option<Option<String>> {
        let probe = self.health.redis.get()?;
        Some(match timeout(self.config.check_timeout, probe.probe()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &*error as &dyn std::error::Error,
                    "the health check of Redis failed"
                );
                Some("it does not answer".to_owned())
            }
            Err(_) => Some(self.late()),
        })
    }
}

/// Logs the beginning and the end of a failure.
fn log_changes(before: &[HealthCheck], now: &[HealthCheck]) {
    for check in now {
        let failed_before = before.iter().any(|old| old.name == check.name && old.failure.is_some());
        match &check.failure {
            Some(reason) if !failed_before => {
                tracing::warn!(check = check.name, reason, "health check failed");
            }
            None if failed_before => tracing::info!(check = check.name, "health check passed again"),
            _ => {}
        }
    }
}
