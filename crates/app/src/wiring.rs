//! Creates the components according to the configuration.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use market_data::{
    AlphaVantage, AlphaVantageConfig, AlphaVantagePlan, Now, QuoteSource, Rules, Yahoo, YahooConfig,
};
use persistence::{Store, StoreError, StoreOptions};
use services::market::price_source;
use services::market::simulation::{SimulationSettings, SimulationUse, simulated_market};
use services::{Clock, Market, Services, ServicesConfig};

use crate::config::{Config, MarketData};
use crate::database_file::{Create, DatabaseFile, DatabaseLock};
use crate::startup::{Attempt, Waiting};

/// The deadline of a statement in a command. It is long because `verify` reads everything.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An open database whose tables match this program.
pub struct ReadyDatabase {
    pub store: Store,
    /// The lock, if this process serves a SQLite file.
    _lock: Option<DatabaseLock>,
}

/// Checks a configured SQLite file.
///
/// # Errors
/// If there is none, or it cannot be used.
pub fn require_database(config: &Config) -> Result<()> {
    if let Some(file) = DatabaseFile::from_config(config)? {
        file.require()?;
    }
    Ok(())
}

/// Opens the database for a command that neither creates it nor changes its tables.
///
/// # Errors
/// If there is none, it cannot be used, or its tables are older or newer than this program.
pub async fn ready_store(config: &Config) -> Result<Store> {
    require_database(config)?;
    let store = connect(config, COMMAND_TIMEOUT).await.with_context(|| cannot_be_opened(config))?;
    check_tables(config, &store).await?;
    Ok(store)
}

/// Opens the database for `serve` or `worker`, and waits for a server that has not started yet. A SQLite file is
/// locked, created if allowed, and migrated; on PostgreSQL the processes wait for `stockyard migrate`. Returns `None`
/// if the process was told to stop in the meantime.
///
/// # Errors
/// If the database cannot be used, or was not available in time.
pub async fn open_for_process(
    config: &Config,
    create: Create,
    waiting: &Waiting,
) -> Result<Option<ReadyDatabase>> {
    if let Some(file) = DatabaseFile::from_config(config)? {
        let (lock, is_new) = file.take(create)?;
        let store =
            connect(config, config.database_timeout).await.with_context(|| cannot_be_opened(config))?;
        if is_new {
            announce_new_database(&file);
        }
        file.check_tables(&store.schema_version().await?, create)?;
        for name in migrate_tables(config, &store).await? {
            tracing::info!(migration = name, "migrated");
        }
        return Ok(Some(ReadyDatabase { store, _lock: Some(lock) }));
    }
    let Some(store) = wait_for_server(config, config.database_timeout, waiting).await? else {
        return Ok(None);
    };
    let checked = waiting
        .until("`stockyard migrate`", async || match store.check_migrated().await {
            Ok(()) => Ok(Attempt::Reached(())),
            Err(error @ (StoreError::PendingMigrations | StoreError::Unavailable(_))) => {
                Ok(Attempt::NotYet(error.into()))
            }
            Err(error) => Err(error.into()),
        })
        .await
        .with_context(|| cannot_be_used(config))?;
    Ok(checked.map(|()| ReadyDatabase { store, _lock: None }))
}

/// Runs the pending migrations and returns their names. Waits for a server that has not started yet. Returns `None` if
/// the process was told to stop before that.
///
/// # Errors
/// If the database cannot be used, was not available in time, or is used by a server that does not know newer tables.
pub async fn migrate(config: &Config, create: Create, waiting: &Waiting) -> Result<Option<Vec<String>>> {
    let Some(file) = DatabaseFile::from_config(config)? else {
        let Some(store) = wait_for_server(config, COMMAND_TIMEOUT, waiting).await? else { return Ok(None) };
        return migrate_tables(config, &store).await.map(Some);
    };
    if create == Create::Never {
        file.require()?;
        let store = connect(config, COMMAND_TIMEOUT).await.with_context(|| cannot_be_opened(config))?;
        // If no migration is pending, this also works while a server runs.
        match store.check_migrated().await {
            Ok(()) => return Ok(Some(Vec::new())),
            Err(StoreError::PendingMigrations) => {}
            Err(error) => return Err(anyhow::Error::new(error).context(cannot_be_used(config))),
        }
    }
    let (_lock, is_new) = file.take(create)?;
    if is_new {
        announce_new_database(&file);
    }
    let store = connect(config, COMMAND_TIMEOUT).await.with_context(|| cannot_be_opened(config))?;
    file.check_tables(&store.schema_version().await?, create)?;
    migrate_tables(config, &store).await.map(Some)
}

async fn migrate_tables(config: &Config, store: &Store) -> Result<Vec<String>> {
    store.migrate().await.with_context(|| cannot_be_used(config))
}

async fn check_tables(config: &Config, store: &Store) -> Result<()> {
    store.check_migrated().await.with_context(|| cannot_be_used(config))
}

/// Announces a new database, so that an empty installation is not mistaken for one that has lost its data.
fn announce_new_database(file: &DatabaseFile) {
    let path = file.path().display();
    tracing::warn!(file = %path, "a new, empty database was created");
    crate::telemetry::print_line(&format!("Stockyard has created a new, empty database: {path}"));
}

fn cannot_be_opened(config: &Config) -> String {
    let expected = "expected the address of a database that can be reached, like sqlite://data/stockyard.db or \
        postgres://user:password@host/name";
    format!("DATABASE_URL: {} cannot be opened; {expected}", config.database_url)
}

/// The context for an error of the database.
pub fn cannot_be_used(config: &Config) -> String {
    format!("DATABASE_URL: {} cannot be used", config.database_url)
}

async fn wait_for_server(config: &Config, timeout: Duration, waiting: &Waiting) -> Result<Option<Store>> {
    waiting
        .until("the database", async || match connect(config, timeout).await {
            Ok(store) => Ok(Attempt::Reached(store)),
            Err(error @ StoreError::Unavailable(_)) => Ok(Attempt::NotYet(error.into())),
            Err(error) => Err(error.into()),
        })
        .await
        .with_context(|| cannot_be_opened(config))
}

/// Connects on another thread, because libpq blocks.
async fn connect(config: &Config, timeout: Duration) -> Result<Store, StoreError> {
    let url = config.database_url.clone();
    let options = StoreOptions { connections: config.database_pool, timeout };
    tokio::task::spawn_blocking(move || Store::open_with(url, options))
        .await
        .map_err(|panic| StoreError::Unavailable(Box::new(panic)))?
}

/// The kind of process that uses the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `serve` and `worker`, which set the market's clock and the installation's price source.
    Process { accept_price_source_change: bool },
    /// Commands that write prices with the existing clock and source.
    PricingCommand,
    /// Other commands.
    Command,
}

/// A provider of real prices.
pub enum Provider {
    AlphaVantage(Arc<AlphaVantage>, AlphaVantagePlan),
    Yahoo(Arc<Yahoo>),
}

impl Provider {
    /// The configured provider; `None` for the simulated market.
    ///
    /// # Errors
    /// If its address cannot be used.
    pub fn from_config(config: &Config) -> Result<Option<Self>> {
        let clock = Clock::system();
        let now: Now = Arc::new(move || clock.wall().utc());
        match &config.market_data {
            MarketData::Simulated { .. } => Ok(None),
            MarketData::AlphaVantage { api_key, base_url, plan } => {
                let min_gap = Rules::alpha_vantage(*plan).min_gap;
                let source = AlphaVantage::new(AlphaVantageConfig {
                    api_key: api_key.clone(),
                    base_url: base_url.clone(),
                    min_gap: min_gap.to_std().unwrap_or(AlphaVantageConfig::MIN_GAP),
                    now,
                })
                .map_err(|error| anyhow!("ALPHAVANTAGE_BASE_URL: {error}"))?;
                Ok(Some(Self::AlphaVantage(Arc::new(source.with_plan(*plan)), *plan)))
            }
            MarketData::Yahoo { base_url, cookie_url } => {
                let source = Yahoo::new(YahooConfig {
                    base_url: base_url.clone(),
                    cookie_url: cookie_url.clone(),
                    min_gap: YahooConfig::MIN_GAP,
                    now,
                })
                .map_err(|error| anyhow!("YAHOO_BASE_URL, YAHOO_COOKIE_URL: {error}"))?;
                Ok(Some(Self::Yahoo(Arc::new(source))))
            }
        }
    }

    /// The provider behind a gateway that enforces its limits.
    pub fn market(&self, store: &Store) -> Market {
        let (source, rules): (Arc<dyn QuoteSource>, Rules) = match self {
            Self::AlphaVantage(source, plan) => (source.clone(), Rules::alpha_vantage(*plan)),
            Self::Yahoo(source) => (source.clone(), Rules::YAHOO),
        };
        Market::limited(source, rules, store, Clock::system())
    }
}

/// The services with this database and the configured market.
pub async fn services(config: &Config, store: Store, role: Role) -> Result<Services> {
    if let Role::Process { .. } = role {
        tokio::spawn(store.clone().probe_idle_connections());
    }
    Clock::system().continue_from_books(&store).await?;
    let market = match (Provider::from_config(config)?, &config.market_data) {
        (Some(provider), _) => provider.market(&store),
        (None, MarketData::Simulated { seed }) => {
            let clock = match role {
                Role::Process { .. } => Clock::open(&store, config.clock_start, config.clock_speed).await?,
                Role::PricingCommand | Role::Command => Clock::stored(&store).await?,
            };
            let settings = SimulationSettings { seed: *seed, mode: config.trading.mode };
            let by = match role {
                Role::Process { accept_price_source_change } => {
                    SimulationUse::Process { accept_change: accept_price_source_change }
                }
                Role::PricingCommand => SimulationUse::PricingCommand,
                Role::Command => SimulationUse::Command,
            };
            let simulated = simulated_market(&store, settings, by, clock.now()).await?;
            if simulated.canceled_orders > 0 {
                crate::telemetry::print_line(&format!(
                    "The simulated market now has another seed: {} open orders were canceled, and their owners see \
                     the reason",
                    simulated.canceled_orders
                ));
            }
            Market::new(Arc::new(simulated.market), clock)
        }
        (None, _) => unreachable!("Invariant: every other market has a provider"),
    };
    let source = market.quotes.source();
    match role {
        Role::Process { accept_price_source_change } => {
            let accepted = accept_price_source_change;
            let canceled = price_source::claim_price_source(&store, &source, accepted, market.now()).await?;
            if canceled > 0 {
                crate::telemetry::print_line(&format!(
                    "The price source is now {source}: {canceled} open orders were canceled, and their owners see \
                     the reason"
                ));
            }
        }
        Role::PricingCommand => price_source::check_price_source(&store, &source).await?,
        Role::Command => {}
    }
    let services = on(config, store, market).await?;
    if let Some(url) = &config.redis_url {
        services.operations().set_redis_probe(Arc::new(worker::RedisProbe::new(url)?));
    }
    Ok(services)
}

/// The services with this database and market.
pub async fn on(config: &Config, store: Store, market: Market) -> services::Result<Services> {
    let services_config = ServicesConfig {
        starting_cash: config.starting_cash.clone(),
        risk_free: config.risk_free,
        performance_cache_bytes: config.performance_cache_bytes,
        trading: config.trading.clone(),
        streams: config.streams,
        health: config.health,
        password_queue_timeout: config.password_queue_timeout,
        ..ServicesConfig::default()
    };
    let services = Services::new(store, market, services_config);
    services.stocks().import_catalogue().await?;
    Ok(services)
}

/// Returns on SIGTERM or Ctrl-C, and then ends the process after ten seconds at the latest.
pub async fn shutdown_signal() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("the process can listen to SIGTERM");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("shutting down");
    // On a separate thread, because the runtime waits for blocked threads.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(9500));
        tracing::error!("some requests or jobs did not end in time");
        crate::exit_without_handlers(ExitCode::FAILURE);
    });
}
