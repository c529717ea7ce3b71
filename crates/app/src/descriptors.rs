//! File descriptors: the limit of the process, and how many of them are for connections.

use web::ConnectionLimits;

use crate::config::Config;

/// Descriptors reserved for everything except connections and the database: the listener, event loops, Redis, price
/// sources, files.
const RESERVED: u64 = 96;
/// SQLite opens three files for each connection: the database, its log and its index.
const PER_DATABASE_CONNECTION: u64 = 3;
/// The minimum of connections: fewer would not be enough for one browser.
const MIN_CONNECTIONS: usize = 16;
/// The default maximum, which suits machines with little memory.
const DEFAULT_MAX_CONNECTIONS: usize = 20_000;
const MAX_PER_ADDRESS: usize = 1024;

/// Raises the limit on open descriptors to the system's maximum (soft limit to hard limit), and returns it.
pub fn raise_limit() -> u64 {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    raised
        .or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the limit on open files (ulimit -n) cannot be raised"
            );
            rlimit::Resource::NOFILE.get().map(|(soft, _)| soft)
        })
        .unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the limit on open files (ulimit -n) is unknown; 1024 are assumed"
            );
            1024
        })
}

/// The limits on connections: the configured ones, reduced to the available descriptors, and defaults that fit them.
pub fn connection_limits(config: &Config, descriptors: u64) -> ConnectionLimits {
    let reserved = RESERVED + PER_DATABASE_CONNECTION * (u64::from(config.database_pool) + 2);
    let available =
        usize::try_from(descriptors.saturating_sub(reserved)).unwrap_or(usize::MAX).max(MIN_CONNECTIONS);
    if let Some(wanted) = config.connections.filter(|wanted| *wanted > available) {
        tracing::warn!(
            "CONNECTIONS is {wanted}, but the process may open only {descriptors} files (ulimit -n): the limit is \
             {available} connections"
        );
    }
    let total = config.connections.unwrap_or(DEFAULT_MAX_CONNECTIONS).min(available);
    let half = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
    let per_address = config.connections_per_address.unwrap_or(MAX_PER_ADDRESS.min(half)).min(total);
    ConnectionLimits { total, per_address, ..config.client_limits.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(descriptors: u64, variables: &[(&str, &str)]) -> (usize, usize) {
        let config = Config::from_variables(variables).unwrap();
        let limits = connection_limits(&config, descriptors);
        (limits.total, limits.per_address)
    }

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(limits(256, &[]), (130, 128));
        assert_eq!(limits(1024, &[]), (898, 512));
        assert_eq!(limits(1_048_576, &[]), (20_000, 1024));
        assert_eq!(limits(20, &[]), (16, 10));
    }

    #[test]
    fn configured_limits_are_reduced_to_the_available_descriptors() {
        let both = [("CONNECTIONS", "30000"), ("CONNECTIONS_PER_ADDRESS", "10000")];
        assert_eq!(limits(65_536, &both), (30_000, 10_000));
        assert_eq!(limits(1024, &both), (898, 898));
        assert_eq!(limits(65_536, &[("CONNECTIONS", "100")]), (100, 100));
    }
}
