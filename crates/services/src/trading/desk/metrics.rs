//! Counters of the order desk for `/metrics`.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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

/// Counts a command of the order desk. `outcome` is `done`, `refused` (rejected by a trading rule) or `failed`.
pub(super) fn count_command(command: &'static str, outcome: &'static str) {
    COMMANDS.get_or_create(&DeskCommand { command, outcome }).inc();
}

#[expect(clippy::cast_precision_loss, reason = "a batch has a few hundred commands")]
pub(super) fn count_batch(size: usize, took: std::time::Duration) {
    BATCH_SIZE.observe(size as f64);
    BATCH_SECONDS.observe(took.as_secs_f64());
}

/// Registers the counters of the desk.
pub(crate) fn register(registry: &mut Registry) {
    registry.register(
        "stockyard_order_desk_commands",
        "Commands answered by the order desk, by kind and outcome",
        COMMANDS.clone(),
    );
    registry.register(
        "stockyard_order_desk_batch_size",
        "Commands written in one transaction by the order desk",
        BATCH_SIZE.clone(),
    );
    registry.register(
        "stockyard_order_desk_batch_duration_seconds",
        "Time from the start of an order desk batch to its answers",
        BATCH_SECONDS.clone(),
    );
}
