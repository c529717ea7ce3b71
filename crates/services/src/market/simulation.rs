//! The installation's simulated market: its version, and the seed from which all prices are computed.

use domain::{Timestamp, TradingMode};
use market_data::{DEFAULT_SEED, Simulated, SimulatedModel};
use persistence::{Store, StoreError, Tx, installation, stocks};
use thiserror::Error;

use crate::log_target::SECURITY;
use crate::market::price_source;

/// The keys of the seeds in `installation`. `sim-v1` has a separate key, because its seed may be the public constant.
const SEED: &str = "simulation_seed";
const SEED_OF_V1: &str = "simulation_seed_v1";

/// The reason that owners of open orders see when another seed is accepted.
const SEED_CHANGED: &str =
    "the simulated market was started with another seed and has other prices: place the order again";

/// The settings of the simulated market.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SimulationSettings {
    /// The configured seed. `None` means the recorded one; if there is none, a random one.
    pub seed: Option<u64>,
    /// The trading mode. Realistic trading uses the variant with the exchange's sessions.
    pub mode: TradingMode,
}

/// The kind of process that needs the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulationUse {
    /// `serve` or `worker`. If the change of version or seed is accepted, the process continues with it.
    Process { accept_change: bool },
    /// A command that writes prices.
    PricingCommand,
    /// Another command.
    Command,
}

/// The simulated market of a deployment.
pub struct SimulatedMarket {
    pub market: Simulated,
    /// The number of open orders that were canceled because another seed was accepted.
    pub canceled_orders: usize,
}

#[derive(Debug, Error)]
pub enum SimulationError {
    #[error(
        "SIMULATION_SEED is not the seed of this installation's prices, and there are positions or working orders at \
         these prices. Remove or restore the setting, or start once with --accept-price-source-change to continue \
         with the prices of the new seed; open orders are canceled"
    )]
    SeedChanged,
    #[error("the recorded seed of the simulated market cannot be read: it is not a whole number")]
    UnreadableSeed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the simulated market of an installation.
///
/// An installation with prices of `sim-v1` keeps this version until the change is accepted. All others use the newest
/// version: open around the clock with practice trading, in the exchange's sessions with realistic trading. The seed is
/// recorded when it is first needed, so that all processes use the same one, also after a restart.
///
/// A seed that differs from the recorded one changes all prices, so it counts as another price source: it is rejected
/// while any stock is held or ordered, unless the change is accepted. Then all open orders are canceled at market time
/// `now`, in the transaction that records the seed.
///
/// # Errors
/// [`SimulationError::SeedChanged`], [`SimulationError::UnreadableSeed`], or an error of the database.
pub async fn simulated_market(
    store: &Store,
    settings: SimulationSettings,
    by: SimulationUse,
    now: Timestamp,
) -> Result<SimulatedMarket, SimulationError> {
    let chosen = choose(store, settings, by, now).await?;
    let (model, seed) = (chosen.model, chosen.seed);
    if chosen.is_another_seed {
        tracing::warn!(
            target: SECURITY,
            event = "simulation_seed_changed",
            source = model.name(),
            canceled_orders = chosen.canceled_orders,
            "simulated prices are now computed from another seed"
        );
    }
    if model == SimulatedModel::V1 && matches!(by, SimulationUse::Process { .. }) {
        tracing::info!(
            source = model.name(),
            newest = newest(settings.mode).name(),
            "prices continue as before; start once with --accept-price-source-change to use the newest simulated market"
        );
    }
    // This takes about ten milliseconds of computation.
    let market = tokio::task::spawn_blocking(move || Simulated::with_seed(model, seed)).await;
    let market = market.map_err(|panic| StoreError::Unavailable(Box::new(panic)))?;
    Ok(SimulatedMarket { market, canceled_orders: chosen.canceled_orders })
}

/// The version and the seed of the market.
#[derive(Clone, Copy)]
struct Choice {
    model: SimulatedModel,
    seed: u64,
    /// Whether another seed was recorded before.
    is_another_seed: bool,
    canceled_orders: usize,
}

/// The decision about the seed.
enum Decision {
    Use(SimulatedModel, u64),
    /// The seed must be recorded, as the first one or as a replacement.
    Record {
        model: SimulatedModel,
        seed: Option<u64>,
        is_another: bool,
    },
}

/// Chooses the version and the seed.
///
/// # Errors
/// The same as [`simulated_market`].
async fn choose(
    store: &Store,
    settings: SimulationSettings,
    by: SimulationUse,
    now: Timestamp,
) -> Result<Choice, SimulationError> {
    let as_recorded = |model, seed| Choice { model, seed, is_another_seed: false, canceled_orders: 0 };
    if let Decision::Use(model, seed) = store.read(move |tx| decide(tx, settings, by)).await? {
        return Ok(as_recorded(model, seed));
    }
    store
        .write(move |tx| {
            // Processes that start at the same time agree on one seed.
            installation::lock(tx)?;
            let (model, seed, is_another_seed) = match decide(tx, settings, by)? {
                Decision::Use(model, seed) => return Ok(as_recorded(model, seed)),
                Decision::Record { model, seed, is_another } => {
                    (model, seed.unwrap_or_else(rand::random), is_another)
                }
            };
            let canceled_orders = match is_another_seed {
                true => {
                    // The stored closes are kept because the books were valued with them, but they get another source
                    // name because they do not belong to this market.
                    for of in SimulatedModel::ALL.into_iter().filter(|of| record_of(*of) == record_of(model))
                    {
                        stocks::rename_source_of_bars(
                            tx,
                            of.name(),
                            &format!("{} (another seed)", of.name()),
                        )?;
                    }
                    price_source::cancel_open_orders(tx, SEED_CHANGED, now)?
                }
                false => 0,
            };
            installation::set(tx, record_of(model), &seed.to_string())?;
            Ok(Choice { model, seed, is_another_seed, canceled_orders })
        })
        .await
}

/// Makes the decision without writing.
fn decide(
    tx: &mut Tx<'_>,
    settings: SimulationSettings,
    by: SimulationUse,
) -> Result<Decision, SimulationError> {
    let is_accepted = matches!(by, SimulationUse::Process { accept_change: true });
    let is_on_v1 = price_source::recorded_price_source(tx)?.as_deref() == Some(SimulatedModel::V1.name());
    let model = if is_on_v1 && !is_accepted { SimulatedModel::V1 } else { newest(settings.mode) };
    let Some(recorded) = recorded_seed(tx, model)? else {
        let seed = match model {
            // Before seeds were recorded, the configured seed or the constant was used.
            SimulatedModel::V1 => settings.seed.or(Some(DEFAULT_SEED)),
            // A seed that was configured for the first version is used again.
            SimulatedModel::V2 | SimulatedModel::V2Xnys => match settings.seed {
                Some(seed) => Some(seed),
                None => recorded_seed(tx, SimulatedModel::V1)?.filter(|seed| *seed != DEFAULT_SEED),
            },
        };
        return Ok(Decision::Record { model, seed, is_another: false });
    };
    let Some(other) = settings.seed.filter(|seed| *seed != recorded) else {
        return Ok(Decision::Use(model, recorded));
    };
    match by {
        SimulationUse::Command => Ok(Decision::Use(model, other)),
        _ if is_accepted || !price_source::has_priced_books(tx)? => {
            Ok(Decision::Record { model, seed: Some(other), is_another: true })
        }
        SimulationUse::Process { .. } | SimulationUse::PricingCommand => Err(SimulationError::SeedChanged),
    }
}

fn recorded_seed(tx: &mut Tx<'_>, model: SimulatedModel) -> Result<Option<u64>, SimulationError> {
    let recorded = installation::get(tx, record_of(model))?;
    recorded.map(|text| text.parse().map_err(|_| SimulationError::UnreadableSeed)).transpose()
}

fn record_of(model: SimulatedModel) -> &'static str {
    match model {
        SimulatedModel::V1 => SEED_OF_V1,
        SimulatedModel::V2 | SimulatedModel::V2Xnys => SEED,
    }
}

fn newest(mode: TradingMode) -> SimulatedModel {
    match mode {
        TradingMode::Practice => SimulatedModel::V2,
        TradingMode::Realistic => SimulatedModel::V2Xnys,
    }
}
