//! The settings. Only this file reads the environment.

mod env;
mod key_plan;
mod misspelled;
mod secret_key;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::num::{NonZeroU8, NonZeroU16};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use domain::{Money, Timestamp};
use env::Env;
use ipnet::IpNet;
use market_data::AlphaVantagePlan;
use persistence::{BadDatabaseUrl, DatabaseUrl};
use secrecy::SecretString;
use secret_key::kept_key;
use services::TradingConfig;
use services::live::StreamLimits;
use services::operations::health::HealthConfig;
use url::Url;
use web::ConnectionLimits;

pub use misspelled::Misspelled;
pub use secret_key::{PRIVATE_FILE, SECRET_KEY_FILE, make_private, private_folder};

/// The price source.
#[derive(Debug, Clone)]
pub enum MarketData {
    /// `None` for the seed in the database, which is random for a new installation.
    Simulated {
        seed: Option<u64>,
    },
    AlphaVantage {
        api_key: SecretString,
        base_url: Url,
        plan: AlphaVantagePlan,
    },
    Yahoo {
        base_url: Url,
        cookie_url: Url,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// All settings of a process.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST`: the address to listen on. Default 127.0.0.1.
    pub host: String,
    /// `PORT`. Default 8080.
    pub port: u16,
    /// `PUBLIC_URL`: the address at which browsers reach the installation. Default `http://HOST:PORT`.
    pub public_url: Url,
    /// `DATABASE_URL`: `sqlite://…` or `postgres://…`. Default the file `stockyard.db` in `DATA_DIR`.
    pub database_url: DatabaseUrl,
    /// Whether the SQLite file is the one in `DATA_DIR`, because `DATABASE_URL` is not set.
    pub database_in_data_dir: bool,
    /// `STARTUP_TIMEOUT_S`: how long a process waits at its start for the database and Redis. Default 300; with 0 it
    /// does not wait.
    pub startup_timeout: Duration,
    /// `DATABASE_POOL`: connections of a process to the database; the order desk has one more. Default 8 on SQLite,
    /// 16 on PostgreSQL.
    pub database_pool: u32,
    /// `DATABASE_TIMEOUT_MS`: the deadline of a statement, and of a request's wait for a lock or a connection.
    /// Default 3000.
    pub database_timeout: Duration,
    /// `REDIS_URL`: jobs run in `stockyard worker` processes. Default none: jobs run in the server.
    pub redis_url: Option<SecretString>,
    /// `SECRET_KEY`: at least 64 characters. `None` if a generated key in `DATA_DIR` is used.
    pub secret_key: Option<SecretString>,
    /// `DATA_DIR`: the folder of the SQLite file and the generated key. Default `data`.
    pub data_dir: PathBuf,
    /// `MARKET_DATA` with `SIMULATION_SEED` (default: the seed in the database, random for a new installation), or
    /// `ALPHAVANTAGE_API_KEY`, `ALPHAVANTAGE_BASE_URL` and the plan of the key (`ALPHAVANTAGE_CALLS_PER_MINUTE`,
    /// `ALPHAVANTAGE_CALLS_PER_DAY`, `ALPHAVANTAGE_ENTITLEMENT`), or `YAHOO_BASE_URL` and `YAHOO_COOKIE_URL`. Default
    /// alphavantage if its key is set, else simulated.
    pub market_data: MarketData,
    /// `STARTING_CASH`: the cash of a new portfolio. Default 100000.00.
    pub starting_cash: Money,
    /// `RISK_FREE_RATE` in percent per year, from 0 to 50; stored as a ratio. Default 0.
    pub risk_free: f64,
    /// `PERFORMANCE_CACHE_MB`: the size of the cache for closed days of portfolios, here in bytes. Default 32 MB.
    pub performance_cache_bytes: u64,
    /// `TRADING`, `COMMISSION_PER_ORDER`, `COMMISSION_PER_SHARE`, `COMMISSION_PERCENT`, `COMMISSION_MINIMUM`,
    /// `SLIPPAGE_PERCENT`, `LIQUIDITY_PERCENT`, `ORDER_BATCH`. Default: practice mode, no commission, no slippage,
    /// unlimited liquidity.
    pub trading: TradingConfig,
    /// `CORS_ALLOWED_ORIGINS`, separated by commas. Default none.
    pub cors_allowed_origins: Vec<String>,
    /// `TRUSTED_PROXIES`: addresses or networks, separated by commas. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// `RATE_LIMITS`: on or off. Default on.
    pub rate_limits: bool,
    /// `CONNECTIONS`: the maximum number of client connections. Default as many as the file descriptors allow, at most
    /// 20000.
    pub connections: Option<usize>,
    /// `CONNECTIONS_PER_ADDRESS`: the maximum number of connections from one address. Default 1024, or half of the
    /// descriptors.
    pub connections_per_address: Option<usize>,
    /// `HEADER_TIMEOUT_S`, `BODY_TIMEOUT_S`, `SEND_TIMEOUT_S`, `MIN_TRANSFER_RATE`, `KEEP_ALIVE_S`: limits on slow
    /// clients. Default 10, 30, 30, 500 and 75. The numbers of connections in this value are not used.
    pub client_limits: ConnectionLimits,
    /// `PASSWORD_QUEUE_TIMEOUT_S`: how long a login waits for the check of its password to start. Default 5.
    pub password_queue_timeout: Duration,
    /// `STREAMS_PER_USER` and `STREAMS`: the maximum number of event streams per user and in total, for each process.
    /// Default 10 and 15000.
    pub streams: StreamLimits,
    /// `HEALTH_TIMEOUT_S` and `WORKER_TIMEOUT_S`: the deadline of each deep health check, and the time without a
    /// heartbeat after which a worker counts as dead. Default 3 and 20.
    pub health: HealthConfig,
    /// `METRICS_TOKEN`: the token with which a Prometheus on another machine may read `/metrics`. Default none.
    pub metrics_token: Option<SecretString>,
    /// `LOG_FORMAT`: text or json. Default text.
    pub log_format: LogFormat,
    /// `RUST_LOG`: the log filter, such as `warn,web=info`. Default: Stockyard's own events from `info` on.
    pub log_filter: Option<String>,
    /// `CLOCK_START`: RFC 3339, in the years 1981 to 2060. Default none: market time continues; a new installation
    /// starts with the current time. This and the next setting are for the simulated market only.
    pub clock_start: Option<Timestamp>,
    /// `CLOCK_SPEED`: market seconds per second, above 0 and at most 10000. Default 1.
    pub clock_speed: f64,
}

/// All errors in the environment, one line each.
#[derive(Debug)]
pub struct BadConfig(pub Vec<String>);

impl Display for BadConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the configuration is invalid:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for BadConfig {}

impl Config {
    /// Reads the environment. `needs_key` is whether the command signs cookies.
    ///
    /// # Errors
    /// [`BadConfig`] with all bad values at once.
    pub fn from_env(needs_key: bool) -> Result<Self, BadConfig> {
        #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
        let config = Self::read(needs_key, |name| std::env::var(name).ok());
        config.map_err(|BadConfig(mut lines)| {
            lines.extend(Self::misspelled_settings().iter().map(|Misspelled { variable, setting }| {
                format!("{variable} is not a setting: did you mean {setting}?")
            }));
            BadConfig(lines)
        })
    }

    /// Variables that are set but not read, and that look like a misspelled setting.
    pub fn misspelled_settings() -> Vec<Misspelled> {
        #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
        let variables = std::env::vars_os();
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        misspelled::find(&Self::setting_names(), variables.filter_map(text))
    }

    /// The names of all settings: the variables that [`Config::read`] reads for any market.
    fn setting_names() -> BTreeSet<String> {
        let names = RefCell::new(BTreeSet::new());
        for market in ["simulated", "alphavantage", "yahoo"] {
            let _ = Self::read(true, |name| {
                names.borrow_mut().insert(name.to_owned());
                (name == "MARKET_DATA").then(|| market.to_owned())
            });
        }
        names.into_inner()
    }

    fn read(needs_key: bool, variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        // An empty value counts as not set, because Compose files and web forms of hosting services set empty values.
        let mut env = Env {
            variable: |name: &str| variable(name).filter(|value| !value.trim().is_empty()),
            bad: Vec::new(),
        };

        let host = env.text("HOST").unwrap_or_else(|| "127.0.0.1".into());
        let port = env.parsed("PORT", "a port from 1 to 65535, like 8080").map_or(8080, NonZeroU16::get);
        let shown_host = match host.as_str() {
            "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
            v6 if v6.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{v6}]"),
            host => host.to_owned(),
        };
        let public_url = match (&env.text("PUBLIC_URL"), Url::parse(&format!("http://{shown_host}:{port}"))) {
            (Some(_), _) => env.web_address("PUBLIC_URL"),
            (None, Ok(url)) => Some(url),
            (None, Err(_)) => env.refuse("HOST", &format!("is {host:?}: expected an address like 127.0.0.1")),
        };
        let data_dir = PathBuf::from(env.text("DATA_DIR").unwrap_or_else(|| "data".into()));
        let database_url: Option<DatabaseUrl> = match env.text("DATABASE_URL") {
            None => Some(DatabaseUrl::Sqlite(data_dir.join("stockyard.db").display().to_string())),
            Some(text) => match text.parse() {
                Ok(url) => Some(url),
                Err::<_, BadDatabaseUrl>(error) => env.refuse("DATABASE_URL", &error),
            },
        };
        let database_in_data_dir = env.text("DATABASE_URL").is_none();
        let startup_timeout = env
            .parsed("STARTUP_TIMEOUT_S", "whole seconds, 0 to 65535, like 300")
            .map_or(STARTUP_TIMEOUT, |seconds: u16| Duration::from_secs(seconds.into()));
        let on_postgres = matches!(database_url, Some(DatabaseUrl::Postgres(_)));
        let database_pool =
            env.parsed("DATABASE_POOL", "a number of connections from 1 to 65535, like 16").map_or(
                if on_postgres { POSTGRES_CONNECTIONS } else { SQLITE_CONNECTIONS },
                |most: NonZeroU16| most.get().into(),
            );
        let timeout: Option<u64> =
            env.parsed("DATABASE_TIMEOUT_MS", "milliseconds from 100 to 60000, like 3000");
        let database_timeout = timeout.map_or(DATABASE_TIMEOUT, Duration::from_millis);
        if !DATABASE_TIMEOUTS.contains(&database_timeout) {
            env.refuse::<()>("DATABASE_TIMEOUT_MS", &"must be from 100 to 60000 milliseconds, like 3000");
        }
        let redis_url = env.text("REDIS_URL");
        if let Some(url) = &redis_url {
            if !url.starts_with("redis://") && !url.starts_with("rediss://") {
                env.refuse::<()>(
                    "REDIS_URL",
                    &"must begin with redis:// or rediss://, like redis://127.0.0.1:6379",
                );
            } else if database_url.is_some() && !on_postgres {
                env.refuse::<()>(
                    "REDIS_URL",
                    &"needs DATABASE_URL to name a PostgreSQL database: several processes cannot share a SQLite file. \
                      Without REDIS_URL the worker runs in the server",
                );
            }
        }
        let secret_key = env.text("SECRET_KEY");
        match &secret_key {
            Some(key) if key.chars().count() < 64 => {
                env.refuse::<()>(
                    "SECRET_KEY",
                    &"must have at least 64 characters: create one with `openssl rand -hex 48`",
                );
            }
            None if needs_key && on_postgres => {
                env.refuse::<()>(
                    "SECRET_KEY",
                    &"is not set: PostgreSQL needs it, with the same value for all processes. Create one with \
                      `openssl rand -hex 48`",
                );
            }
            _ => {}
        }
        let market_data = env.market_data();
        let starting_cash: Option<Money> = match env.text("STARTING_CASH") {
            None => Some(Money::from_cents(10_000_000)),
            Some(text) => match text.parse::<Money>() {
                Ok(cash) if !cash.is_negative() => Some(cash),
                Ok(_) => env.refuse("STARTING_CASH", &"must be zero or more"),
                Err(error) => env.refuse("STARTING_CASH", &error),
            },
        };
        let risk_free: Option<f64> = match env.text("RISK_FREE_RATE") {
            None => Some(0.0),
            Some(text) => match text.parse::<f64>() {
                Ok(percent) if (0.0..=50.0).contains(&percent) => Some(percent / 100.0),
                _ => env.refuse("RISK_FREE_RATE", &"must be percent per year from 0 to 50, such as 4.25"),
            },
        };
        let performance_cache_mb: Option<u16> =
            env.parsed("PERFORMANCE_CACHE_MB", "megabytes from 0 to 65535, like 32");
        let performance_cache_bytes = u64::from(performance_cache_mb.unwrap_or(PERFORMANCE_CACHE_MB)) << 20;
        let cors_allowed_origins =
            env.list("CORS_ALLOWED_ORIGINS", "an origin like https://app.example.com", |text| {
                let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
                let origin = url.origin().ascii_serialization();
                (text.trim_end_matches('/') == origin).then_some(origin)
            });
        let trusted_proxies =
            env.list("TRUSTED_PROXIES", "an address or a network like 10.0.0.0/8", |text| {
                text.parse()
                    .ok()
                    .or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()))
            });
        let rate_limits = env.choice("RATE_LIMITS", &[("on", true), ("off", false)]).unwrap_or(true);
        let password_queue_timeout = env
            .parsed("PASSWORD_QUEUE_TIMEOUT_S", "a number of seconds from 1 to 255, like 5")
            .map_or(Duration::from_secs(5), |seconds: NonZeroU8| Duration::from_secs(seconds.get().into()));
        let log_format = env
            .choice("LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            .unwrap_or(LogFormat::Text);
        let log_filter = env.text("RUST_LOG");
        if let Some(filter) = &log_filter
            && tracing_subscriber::EnvFilter::try_new(filter).is_err()
        {
            env.refuse::<()>(
                "RUST_LOG",
                &format!("is {filter:?}: expected levels like warn or info,web=debug"),
            );
        }
        let clock_start: Option<DateTime<Utc>> =
            env.parsed("CLOCK_START", "an instant like 2026-01-05T14:30:00Z");
        let clock_speed: Option<f64> = env.parsed("CLOCK_SPEED", "a number above zero, like 60");
        if clock_speed.is_some_and(|speed| !(speed > 0.0 && speed <= FASTEST)) {
            env.refuse::<()>("CLOCK_SPEED", &format!("must be above zero and at most {FASTEST}"));
        }
        if clock_start.is_some_and(|at| !SIMULATED_YEARS.contains(&at.year())) {
            env.refuse::<()>(
                "CLOCK_START",
                &"must be in the years 1981 to 2060, for which the simulated market has prices",
            );
        }
        let trading = env.trading();
        let streams = env.streams();
        let health = env.health();
        let metrics_token = env.text("METRICS_TOKEN");
        if metrics_token.as_ref().is_some_and(|token| token.chars().count() < 16) {
            env.refuse::<()>(
                "METRICS_TOKEN",
                &"must have at least 16 characters: create one with `openssl rand -hex 24`",
            );
        }
        let connections = env.connections("CONNECTIONS");
        let connections_per_address = env.connections("CONNECTIONS_PER_ADDRESS");
        let client_limits = env.client_limits();
        if matches!(market_data, Some(MarketData::AlphaVantage { .. } | MarketData::Yahoo { .. }))
            && (clock_start.is_some() || clock_speed.is_some())
        {
            env.refuse::<()>(
                "CLOCK_START",
                &"and CLOCK_SPEED work with the simulated market only: real prices need the real time",
            );
        }

        match (public_url, database_url, market_data, starting_cash.zip(risk_free)) {
            (Some(public_url), Some(database_url), Some(market_data), Some((starting_cash, risk_free)))
                if env.bad.is_empty() =>
            {
                Ok(Self {
                    host,
                    port,
                    public_url,
                    database_url,
                    database_in_data_dir,
                    startup_timeout,
                    database_pool,
                    database_timeout,
                    redis_url: redis_url.map(SecretString::from),
                    secret_key: secret_key.map(SecretString::from),
                    data_dir,
                    market_data,
                    starting_cash,
                    risk_free,
                    performance_cache_bytes,
                    trading,
                    cors_allowed_origins,
                    trusted_proxies,
                    rate_limits,
                    connections,
                    connections_per_address,
                    client_limits,
                    password_queue_timeout,
                    streams,
                    health,
                    metrics_token: metrics_token.map(SecretString::from),
                    log_format,
                    log_filter,
                    clock_start: clock_start.map(Timestamp::from),
                    clock_speed: clock_speed.unwrap_or(1.0),
                })
            }
            _ => Err(BadConfig(env.bad)),
        }
    }

    /// The key that signs cookies: the configured one, or the one in the data folder, which is created if it is
    /// missing.
    ///
    /// # Errors
    /// [`BadConfig`] if the folder cannot be written.
    pub fn signing_key(&self) -> Result<SecretString, BadConfig> {
        match &self.secret_key {
            Some(key) => Ok(key.clone()),
            None => kept_key(&self.data_dir)
                .map_err(|error| BadConfig(vec![format!("DATA_DIR: {}: {error}", self.data_dir.display())])),
        }
    }
}

/// The default of `PERFORMANCE_CACHE_MB`: enough for about 120 portfolios with five years each.
const PERFORMANCE_CACHE_MB: u16 = 32;
/// Longer than a database server needs to start or to recover after a crash.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(300);
/// Enough for the web server's threads; PostgreSQL allows 100 for all processes by default.
const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_CONNECTIONS: u32 = 8;
const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);
const DATABASE_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
/// The highest `CLOCK_SPEED`, in market seconds per second. A day then takes less than ten seconds, and the jobs of
/// each session still keep up.
const FASTEST: f64 = 10_000.0;
/// The years of `CLOCK_START`. The simulated market has prices from 1980-01-01 to 2069-09-17: one year before the first
/// possible start, and nine years after the last.
const SIMULATED_YEARS: std::ops::RangeInclusive<i32> = 1981..=2060;

#[cfg(test)]
impl Config {
    /// Reads the configuration from these variables alone.
    pub fn from_variables(variables: &[(&str, &str)]) -> Result<Self, BadConfig> {
        Self::read(true, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }
}

#[cfg(test)]
mod tests;
