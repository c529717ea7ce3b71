//! Metrics of this process: counters that are incremented where things happen, and gauges that are read for a scrape.

use prometheus_client::registry::Registry;

pub use crate::cache_size::CacheSize;
use crate::operations::Operations;

/// Registers the metrics of this process, including those of the crates that `services` uses.
pub fn register(registry: &mut Registry) {
    persistence::metrics::register(registry);
    market_data::metrics::register(registry);
    crate::trading::desk::metrics::register(registry);
}

/// Values that are read for a scrape without querying the database.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessFigures {
    pub desk_queued: usize,
    /// How long the order desk has been working on the current batch, in seconds.
    pub desk_busy_for: f64,
    pub open_streams: usize,
    pub max_streams: usize,
    pub connections_in_use: usize,
    pub max_connections: usize,
    pub caches: Vec<CacheSize>,
    /// The number of performance windows answered from the cache since the start.
    pub windows_from_memory: u64,
    /// The state of calls to the provider; `None` for the simulated market.
    pub provider: Option<ProviderFigures>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFigures {
    /// Whether this process pauses calls because the provider kept failing.
    pub is_paused: bool,
    /// The calls left today, per pot. Empty without a limit per day, or if the database did not answer.
    pub left: Vec<(&'static str, u32)>,
}

impl Operations {
    pub async fn process_figures(&self) -> ProcessFigures {
        let load = self.trading.desk().load();
        let mut caches = vec![self.accounts.cached_tokens()];
        caches.extend(self.books.caches());
        let provider = self.market.quotes.cache_sizes();
        caches.extend(provider.map(|(cache, entries, bytes)| CacheSize::new(cache, entries, bytes)));
        ProcessFigures {
            desk_queued: load.queued,
            desk_busy_for: load.busy_for.as_secs_f64(),
            open_streams: self.live.open_streams(),
            max_streams: self.live.max_streams(),
            connections_in_use: self.store.connections_in_use(),
            max_connections: self.store.connections(),
            caches,
            windows_from_memory: self.books.windows_from_memory(),
            provider: self.provider_figures().await,
        }
    }

    async fn provider_figures(&self) -> Option<ProviderFigures> {
        let limits = self.market.quotes.limits()?;
        let budget = tokio::time::timeout(self.config.check_timeout, limits.budget()).await;
        let left = match budget {
            Ok(Ok(budget)) => budget
                .pots
                .iter()
                .map(|(pot, used, limit)| (pot.as_str(), limit.saturating_sub(*used)))
                .collect(),
            _ => Vec::new(),
        };
        Some(ProviderFigures { is_paused: limits.is_paused(), left })
    }
}
