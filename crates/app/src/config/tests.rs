use secrecy::ExposeSecret;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, BadConfig> {
    Config::from_variables(variables)
}

fn complaints(variables: &[(&str, &str)]) -> Vec<String> {
    read(variables).unwrap_err().0
}

#[test]
fn the_defaults_are_an_embedded_installation() {
    let config = read(&[("SECRET_KEY", ""), ("REDIS_URL", " ")]).unwrap();
    assert_eq!(config.database_url.to_string(), "sqlite://data/stockyard.db");
    assert_eq!(config.database_pool, SQLITE_CONNECTIONS);
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!(config.starting_cash.to_string(), "100000.00");
    assert!(config.database_in_data_dir && config.redis_url.is_none() && config.rate_limits);
    assert!(matches!(config.market_data, MarketData::Simulated { .. }));
}

#[test]
fn all_bad_values_are_reported_at_once_with_the_expected_values() {
    let told = complaints(&[
        ("PORT", "eighty"),
        ("DATABASE_URL", "mysql://root@db/x"),
        ("DATABASE_POOL", "0"),
        ("STARTUP_TIMEOUT_S", "-1"),
        ("REDIS_URL", "localhost:6379"),
        ("SECRET_KEY", "short"),
        ("MARKET_DATA", "bloomberg"),
        ("STARTING_CASH", "1e5"),
        ("RISK_FREE_RATE", "-1"),
        ("PERFORMANCE_CACHE_MB", "a lot"),
        ("CORS_ALLOWED_ORIGINS", "https://good.example, nonsense"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("RATE_LIMITS", "maybe"),
        ("HEALTH_TIMEOUT_S", "soon"),
        ("WORKER_TIMEOUT_S", "0"),
        ("METRICS_TOKEN", "short"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "web=loudly"),
        ("CLOCK_START", "tomorrow"),
        ("CLOCK_SPEED", "-1"),
    ]);
    for name in [
        "PORT",
        "DATABASE_URL",
        "DATABASE_POOL",
        "STARTUP_TIMEOUT_S",
        "REDIS_URL",
        "SECRET_KEY",
        "MARKET_DATA",
        "STARTING_CASH",
        "RISK_FREE_RATE",
        "PERFORMANCE_CACHE_MB",
        "CORS_ALLOWED_ORIGINS",
        "TRUSTED_PROXIES",
        "RATE_LIMITS",
        "HEALTH_TIMEOUT_S",
        "WORKER_TIMEOUT_S",
        "METRICS_TOKEN",
        "LOG_FORMAT",
        "RUST_LOG",
        "CLOCK_START",
        "CLOCK_SPEED",
    ] {
        assert_eq!(told.iter().filter(|line| line.starts_with(name)).count(), 1, "{name}: {told:#?}");
    }
    assert!(told.iter().any(|line| line.contains("postgres://")), "{told:#?}");
}

#[test]
fn redis_needs_postgres() {
    let told = complaints(&[("REDIS_URL", "redis://localhost")]);
    assert!(told[0].starts_with("REDIS_URL needs DATABASE_URL"), "{told:?}");
    let (url, key) = (("REDIS_URL", "rediss://:pw@h:1/#insecure"), "k".repeat(64));
    assert!(read(&[url, ("DATABASE_URL", "postgres://h/x"), ("SECRET_KEY", &key)]).is_ok());
}

#[test]
fn a_key_switches_to_alpha_vantage_and_real_prices_keep_real_time() {
    let config = read(&[("ALPHAVANTAGE_API_KEY", "demo-key")]).unwrap();
    assert!(matches!(config.market_data, MarketData::AlphaVantage { .. }));
    assert!(!format!("{config:?}").contains("demo-key"));
    let told = complaints(&[("ALPHAVANTAGE_API_KEY", "k"), ("CLOCK_SPEED", "60")]);
    assert!(
        told[0].starts_with("CLOCK_START and CLOCK_SPEED work with the simulated market only"),
        "{told:?}"
    );
    assert!(complaints(&[("MARKET_DATA", "alphavantage")])[0].starts_with("ALPHAVANTAGE_API_KEY is not set"));
}

#[test]
fn yahoo_has_to_be_chosen_and_is_named_by_scheme_and_host() {
    let config = read(&[("MARKET_DATA", "yahoo")]).unwrap();
    let MarketData::Yahoo { base_url, cookie_url } = config.market_data else { panic!("{config:?}") };
    assert_eq!(base_url.as_str(), market_data::YahooConfig::BASE_URL);
    assert_eq!(cookie_url.as_str(), market_data::YahooConfig::COOKIE_URL);
    let (chosen, base) = (("MARKET_DATA", "yahoo"), "https://yahoo.example/v8?x=1");
    let told = complaints(&[chosen, ("YAHOO_BASE_URL", base), ("YAHOO_COOKIE_URL", "nonsense")]);
    assert!(told[0].starts_with("YAHOO_BASE_URL must be scheme and host only"), "{told:?}");
    assert!(told[1].starts_with("YAHOO_COOKIE_URL is \"nonsense\""), "{told:?}");
    assert!(read(&[chosen, ("YAHOO_BASE_URL", "http://127.0.0.1:9000")]).is_ok());
    let told = complaints(&[chosen, ("CLOCK_SPEED", "60")]);
    assert!(told[0].contains("simulated market only"), "{told:?}");
}

#[test]
fn the_generated_key_is_kept_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new").display().to_string();
    let config = read(&[("DATA_DIR", &dir)]).unwrap();
    let key = config.signing_key().unwrap();
    assert!(key.expose_secret().len() >= 64);
    assert_eq!(config.signing_key().unwrap().expose_secret(), key.expose_secret());
    let mode = std::fs::metadata(folder.path().join("new/secret_key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(complaints(&[("DATABASE_URL", "postgres://h/x")])[0].starts_with("SECRET_KEY is not set"));
}
