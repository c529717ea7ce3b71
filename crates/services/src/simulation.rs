//! Which simulated market a deployment has: its version, and the seed that all its prices follow from.

use domain::TradingMode;
use market_data::{DEFAULT_SEED, Simulated, SimulatedModel};
use persistence::{Store, StoreError, Tx, installation};
use thiserror::Error;

use crate::providers;

/// The name of the seed's record, in `installation`.
const SEED: &str = "simulation_seed";

/// What the settings say of the simulated market.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SimulationSettings {
    /// `None`: the recorded one, at first a random one.
    pub seed: Option<u64>,
    /// Realistic trading has the exchange view.
    pub mode: TradingMode,
}

/// Who asks for the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulationUse {
    /// A process that serves or works. With the acceptance of new prices it goes on with a new version or seed.
    Process { accept_change: bool },
    /// A command that writes prices beside it.
    PricingCommand,
    /// Another command.
    Command,
}

#[derive(Debug, Error)]
pub enum SimulationError {
    #[error(
        "SIMULATION_SEED is another than the one this deployment's prices come from, and there are positions or working \
         orders at them. Remove it, or set it back; or start once with --accept-price-source-change to go on at the \
         prices of the new seed"
    )]
    SeedChanged,
    #[error("the recorded seed of the simulated market cannot be read: it is not a whole number")]
    UnreadableSeed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The simulated market of a deployment.
///
/// A deployment that has the prices of `sim-v1` keeps them until the change is accepted. All others have the newest
/// version: around the clock with practice trading, in the exchange's sessions with realistic trading. The seed is
/// recorded when it is first needed, so that all processes have the same, now and after each restart.
///
/// # Errors
/// [`SimulationError::SeedChanged`], [`SimulationError::UnreadableSeed`], or that the database fails.
pub async fn simulated_market(
    store: &Store,
    settings: SimulationSettings,
    by: SimulationUse,
) -> Result<Simulated, SimulationError> {
    let (model, seed) = choose(store, settings, by).await?;
    if model == SimulatedModel::V1 && matches!(by, SimulationUse::Process { .. }) {
        tracing::info!(
            source = model.name(),
            newest = newest(settings.mode).name(),
            "prices go on as before; start once with --accept-price-source-change for the newest simulated market"
        );
    }
    // Some ten milliseconds of arithmetic.
    let market = tokio::task::spawn_blocking(move || Simulated::of(model, seed)).await;
    Ok(market.map_err(|panic| StoreError::Unavailable(Box::new(panic)))?)
}

/// The version and the seed.
///
/// # Errors
/// As [`simulated_market`].
async fn choose(
    store: &Store,
    settings: SimulationSettings,
    by: SimulationUse,
) -> Result<(SimulatedModel, u64), SimulationError> {
    let kept = store.read(move |tx| decide(tx, settings, by)).await?;
    if let Some(decided) = kept {
        return Ok(decided);
    }
    store
        .write(move |tx| {
            // Processes that start together agree on one seed.
            installation::lock(tx)?;
            if let Some(decided) = decide(tx, settings, by)? {
                return Ok(decided);
            }
            let seed = settings.seed.unwrap_or_else(rand::random);
            installation::set(tx, SEED, &seed.to_string())?;
            Ok((newest(settings.mode), seed))
        })
        .await
}

/// `None` when a seed has to be recorded first.
fn decide(
    tx: &mut Tx<'_>,
    settings: SimulationSettings,
    by: SimulationUse,
) -> Result<Option<(SimulatedModel, u64)>, SimulationError> {
    let accepted = matches!(by, SimulationUse::Process { accept_change: true });
    let source = providers::recorded_price_source(tx)?;
    if source.as_deref() == Some(SimulatedModel::V1.name()) && !accepted {
        return Ok(Some((SimulatedModel::V1, settings.seed.unwrap_or(DEFAULT_SEED))));
    }
    let recorded = match installation::get(tx, SEED)? {
        Some(text) => Some(text.parse().map_err(|_| SimulationError::UnreadableSeed)?),
        None => None,
    };
    let model = newest(settings.mode);
    let Some(recorded) = recorded else { return Ok(None) };
    let Some(other) = settings.seed.filter(|seed| *seed != recorded) else {
        return Ok(Some((model, recorded)));
    };
    match by {
        SimulationUse::Command => Ok(Some((model, other))),
        _ if accepted || !providers::has_priced_books(tx)? => Ok(None),
        SimulationUse::Process { .. } | SimulationUse::PricingCommand => Err(SimulationError::SeedChanged),
    }
}

fn newest(mode: TradingMode) -> SimulatedModel {
    match mode {
        TradingMode::Practice => SimulatedModel::V2,
        TradingMode::Realistic => SimulatedModel::V2Xnys,
    }
}
