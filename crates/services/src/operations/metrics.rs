//! Figures of this process for `/metrics`: counters that grow where things happen, and gauges that are read when asked.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Services;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeskCommand {
    command: &'static str,
    outcome: &'static str,
}

static COMMANDS: LazyLock<Family<DeskCommand, Counter>> = LazyLock::new(Family::default);
static BATCH_SIZE: LazyLock<Histogram> =
    LazyLock::new(|| Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]));
static BATCH_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]));

/// Counts a command that the order desk has answered. `outcome` is `done`, `refused` (by a rule of trading) or `failed`.
pub(crate) fn count_command(command: &'static str, outcome: &'static str) {
    COMMANDS.get_or_create(&DeskCommand { command, outcome }).inc();
}

#[expect(clippy::cast_precision_loss, reason = "a batch has a few hundred commands")]
pub(crate) fn count_batch(size: usize, took: std::time::Duration) {
    BATCH_SIZE.observe(size as f64);
    BATCH_SECONDS.observe(took.as_secs_f64());
}

/// Adds the counters of this process, also those of the crates below.
pub fn register(registry: &mut Registry) {
    persistence::metrics::register(registry);
    market_data::metrics::register(registry);
    registry.register(
        "stockyard_order_desk_commands",
        "Commands that the order desk has answered, by kind and outcome",
        COMMANDS.clone(),
    );
    registry.register(
        "stockyard_order_desk_batch_size",
        "Commands written in one transaction by the order desk",
        BATCH_SIZE.clone(),
    );
    registry.register(
        "stockyard_order_desk_batch_duration_seconds",
        "Time from the begin of a batch of the order desk to its answers",
        BATCH_SECONDS.clone(),
    );
}

/// What is read when a scrape asks, without the database.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessFigures {
    pub desk_queued: usize,
    /// How long the order desk has worked on the batch at hand, in seconds.
    pub desk_busy_for: f64,
    pub open_streams: usize,
    pub most_streams: usize,
    pub connections_in_use: usize,
    pub most_connections: usize,
    /// Entries by cache.
    pub caches: Vec<(&'static str, u64)>,
    /// Whether calls to the provider are sent; `None` for the simulated market.
    pub provider: Option<ProviderFigures>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFigures {
    /// Whether this process refuses calls because the provider kept failing.
    pub is_paused: bool,
    /// Calls that the day has left, by pot. Empty where a day has no limit, and when the database did not answer.
    pub left: Vec<(&'static str, u32)>,
}

impl Services {
    pub async fn process_figures(&self) -> ProcessFigures {
        let load = self.desk().load();
        ProcessFigures {
            desk_queued: load.queued,
            desk_busy_for: load.busy_for.as_secs_f64(),
            open_streams: self.open_streams(),
            most_streams: self.config.streams.in_all,
            connections_in_use: self.store.connections_in_use(),
            most_connections: self.store.connections(),
            caches: vec![
                ("tokens", self.token_cache.len() as u64),
                ("holdings", self.kept_holdings.len()),
                ("transaction_pages", self.kept_pages.len()),
            ],
            provider: self.provider_figures().await,
        }
    }

    async fn provider_figures(&self) -> Option<ProviderFigures> {
        let limits = self.market.quotes.limits()?;
        let budget = tokio::time::timeout(self.config.health.check_timeout, limits.budget()).await;
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
