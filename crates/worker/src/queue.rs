//! The queue in Redis, which distributes due runs to workers.

use std::time::Duration;

use apalis::prelude::{BoxDynError, TaskSink};
use apalis_redis::{Config, RedisStorage};
use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::WorkerError;

/// A request to execute a recorded run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct RunJob {
    pub(crate) run_id: i64,
}

/// Redis considers a worker dead after three missed heartbeats; other workers then take its runs.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED_HEARTBEATS: usize = 3;
/// The client's default of half a second would end the worker at every short delay.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How many finished tasks are deleted per call.
const SWEEP: usize = 1000;

/// Checks the syntax of the address, without any network access.
///
/// # Errors
/// [`WorkerError::InvalidRedisUrl`].
pub fn check_redis_url(url: &str) -> Result<(), WorkerError> {
    open(url).map(drop)
}

/// Connects to Redis and sends a PING.
///
/// # Errors
/// [`WorkerError`]; [`WorkerError::is_temporary`] is whether a retry can help.
pub async fn check_redis(url: &SecretString) -> Result<(), WorkerError> {
    Queue::connect(url, "").await.map(drop)
}

pub(crate) fn open(url: &str) -> Result<Client, WorkerError> {
    Client::open(url).map_err(WorkerError::InvalidRedisUrl)
}

#[derive(Clone)]
pub(crate) struct Queue {
    connection: ConnectionManager,
    config: Config,
}

impl Queue {
    /// Connects to Redis.
    ///
    /// # Errors
    /// [`WorkerError`] if the address is invalid or Redis does not answer.
    pub(crate) async fn connect(url: &SecretString, name: &str) -> Result<Self, WorkerError> {
        let client = open(url.expose_secret())?;
        let address = client.get_connection_info().addr().to_string();
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let refused = |source| WorkerError::Redis { address: address.clone(), source };
        let mut connection = client.get_connection_manager_with_config(config).await.map_err(refused)?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(refused)?;
        let config = Config::default()
            .queue(name)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS)
            // A worker takes only runs that it can execute at once.
            .batch_size(1)
            // The database records the worker of each run, and the events are not used.
            .lock_tasks(false)
            .emit_events(false);
        Ok(Self { connection, config })
    }

    pub(crate) fn storage(&self) -> RedisStorage<RunJob> {
        RedisStorage::new(self.connection.clone()).with_config(self.config.clone())
    }

    pub(crate) async fn push(&self, runs: impl Iterator<Item = i64>) -> Result<(), BoxDynError> {
        let jobs = runs.map(|run_id| RunJob { run_id }).collect();
        Ok(self.storage().push_bulk(jobs).await?)
    }

    /// Deletes apalis's data of finished tasks, which it would keep forever: its `vacuum` deletes the data but not the
    /// lists of task ids.
    pub(crate) async fn forget_finished(&self) -> Result<(), redis::RedisError> {
        let mut connection = self.connection.clone();
        let (data, meta) = (self.config.job_data_hash(), self.config.job_meta_hash());
        for finished in [self.config.done_jobs_set(), self.config.dead_jobs_set()] {
            let tasks: Vec<String> =
                redis::cmd("SPOP").arg(finished).arg(SWEEP).query_async(&mut connection).await?;
            if tasks.is_empty() {
                continue;
            }
            let keys: Vec<String> = tasks.iter().map(|task| format!("{meta}:{task}")).collect();
            redis::pipe()
                .cmd("HDEL")
                .arg(&data)
                .arg(tasks)
                .ignore()
                .cmd("UNLINK")
                .arg(keys)
                .ignore()
                .query_async::<()>(&mut connection)
                .await?;
        }
        Ok(())
    }
}
