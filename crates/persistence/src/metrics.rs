//! Metrics of the connection pool.

use std::sync::LazyLock;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub(crate) static CONNECTION_WAIT: LazyLock<Histogram> =
    LazyLock::new(|| Histogram::new([0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0]));

/// Registers the metrics of this process.
pub fn register(registry: &mut Registry) {
    registry.register(
        "stockyard_database_connection_wait_seconds",
        "Time that database calls waited for a connection of the pool",
        CONNECTION_WAIT.clone(),
    );
}
