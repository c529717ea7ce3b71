//! The test of Redis for the deep health check.

use futures::FutureExt;
use futures::future::BoxFuture;
use redis::{AsyncConnectionConfig, Client};
use secrecy::{ExposeSecret, SecretString};
use services::operations::health::Probe;

use crate::WorkerError;
use crate::queue::open;

/// Tests Redis with a new connection each time, so that the result does not depend on an old one.
pub struct RedisProbe {
    client: Client,
}

impl RedisProbe {
    /// Creates the probe.
    ///
    /// # Errors
    /// [`WorkerError::InvalidRedisUrl`].
    pub fn new(url: &SecretString) -> Result<Self, WorkerError> {
        Ok(Self { client: open(url.expose_secret())? })
    }
}

impl Probe for RedisProbe {
    /// Tests Redis. The caller sets the deadline.
    fn probe(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        async {
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(redis::cmd("PING").query_async::<()>(&mut connection).await?)
        }
        .boxed()
    }
}
