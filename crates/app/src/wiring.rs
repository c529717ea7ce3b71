//! Puts the parts together as the configuration says.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use market_data::{AlphaVantage, AlphaVantageConfig, Now, QuoteSource, Rules, Simulated, Yahoo, YahooConfig};
use persistence::{DatabaseUrl, Store};
use services::{Clock, Market, Services, ServicesConfig, providers};

use crate::config::{Config, MarketData, private_folder};

/// For commands that look at what is there: in the wrong folder they are not to make an empty database.
///
/// # Errors
/// When the SQLite file does not exist.
pub fn require_database(config: &Config) -> Result<()> {
    match &config.database_url {
        DatabaseUrl::Sqlite(path) if !std::path::Path::new(path).exists() => Err(anyhow!(
            "DATABASE_URL: there is no database at {path}; expected the file that `stockyard serve` uses"
        )),
        _ => Ok(()),
    }
}

/// Opens the database, creating the folder of a SQLite file.
pub fn open_store(config: &Config) -> Result<Store> {
    if let DatabaseUrl::Sqlite(path) = &config.database_url
        && let Some(folder) = std::path::Path::new(path).parent()
    {
        private_folder(folder)
            .with_context(|| format!("DATABASE_URL: the folder {} cannot be made", folder.display()))?;
    }
    Store::open(config.database_url.clone(), config.database_pool).with_context(|| {
        let expected = "expected a database that can be reached, like sqlite://data/stockyard.db or postgres://user:password@host/name";
        format!("DATABASE_URL: {} cannot be opened; {expected}", config.database_url)
    })
}

/// SQLite is migrated on the way; on PostgreSQL that is `stockyard migrate`'s to do, once for all processes.
pub async fn ready_store(config: &Config) -> Result<Store> {
    let store = open_store(config)?;
    match &config.database_url {
        DatabaseUrl::Sqlite(_) => {
            for name in store.migrate().await? {
                tracing::info!(migration = name, "migrated");
            }
        }
        DatabaseUrl::Postgres(_) => store.check_migrated().await?,
    }
    Ok(store)
}

/// Who asks for the use cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `serve` and `worker`: they set the market's clock, and say whose prices the deployment has.
    Process { accept_price_source_change: bool },
    /// Commands beside them that write prices: they take clock and source as they are.
    PricingCommand,
    /// Other commands beside them.
    Command,
}

/// A provider of real prices.
pub enum Provider {
    AlphaVantage(Arc<AlphaVantage>),
    Yahoo(Arc<Yahoo>),
}

impl Provider {
    /// The configured one; `None` for the simulated market.
    ///
    /// # Errors
    /// When its address cannot be used.
    pub fn of(config: &Config) -> Result<Option<Self>> {
        let clock = Clock::system();
        let now: Now = Arc::new(move || clock.wall().utc());
        match &config.market_data {
            MarketData::Simulated { .. } => Ok(None),
            MarketData::AlphaVantage { api_key, base_url } => {
                let source = AlphaVantage::new(AlphaVantageConfig {
                    api_key: api_key.clone(),
                    base_url: base_url.clone(),
                    min_gap: AlphaVantageConfig::MIN_GAP,
                    now,
                })
                .map_err(|error| anyhow!("ALPHAVANTAGE_BASE_URL: {error}"))?;
                Ok(Some(Self::AlphaVantage(Arc::new(source))))
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

    /// With the provider's limits in front of it.
    pub fn market(&self, store: &Store) -> Market {
        let (source, rules): (Arc<dyn QuoteSource>, Rules) = match self {
            Self::AlphaVantage(source) => (source.clone(), Rules::ALPHA_VANTAGE_FREE),
            Self::Yahoo(source) => (source.clone(), Rules::YAHOO),
        };
        Market::limited(source, rules, store, Clock::system())
    }
}

/// The use cases on the configured database and market.
pub async fn services(config: &Config, role: Role) -> Result<Services> {
    let store = ready_store(config).await?;
    let market = match (Provider::of(config)?, &config.market_data) {
        (Some(provider), _) => provider.market(&store),
        (None, MarketData::Simulated { seed }) => {
            let clock = match role {
                Role::Process { .. } => Clock::open(&store, config.clock_start, config.clock_speed).await?,
                Role::PricingCommand | Role::Command => Clock::stored(&store).await?,
            };
            Market::new(Arc::new(Simulated::new(*seed)), clock)
        }
        (None, _) => unreachable!("Invariant: every other market has a provider"),
    };
    let source = market.quotes.source();
    match role {
        Role::Process { accept_price_source_change } => {
            providers::claim_price_source(&store, &source, accept_price_source_change).await?;
        }
        Role::PricingCommand => providers::check_price_source(&store, &source).await?,
        Role::Command => {}
    }
    let services = on(config, store, market).await?;
    if let Some(url) = &config.redis_url {
        services.set_redis_probe(Arc::new(worker::RedisProbe::new(url)?));
    }
    Ok(services)
}

/// The use cases on that store and market.
pub async fn on(config: &Config, store: Store, market: Market) -> services::Result<Services> {
    let services_config = ServicesConfig {
        starting_cash: config.starting_cash.clone(),
        trading: config.trading.clone(),
        streams: config.streams,
        health: config.health,
        ..ServicesConfig::default()
    };
    let services = Services::new(store, market, services_config);
    services.import_catalogue().await?;
    Ok(services)
}

/// Ready on SIGTERM or Ctrl-C. When it has been heard once, the process has to end within ten seconds.
pub async fn shutdown_signal() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("the process can listen to SIGTERM");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("shutting down");
    // A thread, because the runtime itself waits for what hangs.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(9500));
        tracing::error!("some requests or jobs did not end in time");
        crate::leave(ExitCode::FAILURE);
    });
}
