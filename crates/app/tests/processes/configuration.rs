//! Invalid settings end the process at once, with a message that names the variable and the expected value.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use reqwest::Method;

use crate::client::{Client, PASSWORD};
use crate::installation::{
    Finished, Installation, database_name, free_port, new_postgres_database, on_database, service,
};
use crate::process::eventually;

/// Part of every URL in these tests; it must never be printed.
const SECRET: &str = "hunter2";
/// The maximum time from the start of a command to its end, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Runs a command that has to fail, and checks its output.
async fn refused(installation: &Installation, command: &str) -> String {
    let start = Instant::now();
    let finished = installation.run(&[command]).await;
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{command} took {took:?}: {finished:?}");
    let message = finished.failed();
    assert!(message.starts_with("stockyard: ") || message.contains("\nstockyard: "), "{message}");
    hides_the_secret(&finished);
    message.to_owned()
}

fn hides_the_secret(finished: &Finished) {
    assert!(!finished.stderr.contains(SECRET) && !finished.stdout.contains(SECRET), "{finished:?}");
}

/// Runs `serve` with these settings and checks that its message contains all of `expected`.
async fn serve_refuses(settings: &[(&str, &str)], expected: &[&str]) {
    let installation = Installation::embedded().with_all(settings);
    let message = refused(&installation, "serve").await;
    for part in expected {
        assert!(message.contains(part), "{settings:?}: {part:?} is not in {message}");
    }
    let data = installation.folder().join("data/stockyard.db");
    assert!(!data.exists(), "{settings:?}: a database was made all the same");
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_and_not_guessed() {
    for url in ["mysql://root:hunter2@db/stockyard", "stockyard.db", "sqlite:stockyard.db", "http://db/x"] {
        serve_refuses(&[("DATABASE_URL", url)], &["DATABASE_URL", "postgres://", "sqlite://"]).await;
    }
    serve_refuses(&[("DATABASE_URL", "sqlite://")], &["DATABASE_URL", "names no file"]).await;
    let redis = [("DATABASE_URL", "postgres://db/x"), ("REDIS_URL", "http://:hunter2@localhost")];
    serve_refuses(&redis, &["REDIS_URL", "redis://", "rediss://"]).await;
}

#[tokio::test]
async fn malformed_values_are_refused() {
    for (name, value, expected) in [
        ("PORT", "eighty", "65535"),
        ("PORT", "65536", "65535"),
        ("DATABASE_POOL", "0", "number of connections"),
        ("STARTUP_TIMEOUT_S", "soon", "whole seconds"),
        ("STARTING_CASH", "1e5", "STARTING_CASH"),
        ("STARTING_CASH", "-1", "zero or more"),
        ("SIMULATION_SEED", "-3", "whole number"),
        ("CLOCK_SPEED", "fast", "number above zero"),
        ("CLOCK_SPEED", "0", "above zero"),
        ("CLOCK_SPEED", "inf", "at most"),
        ("CLOCK_START", "tomorrow", "2026-01-05T14:30:00Z"),
        ("PUBLIC_URL", "stockyard.example.org", "https://"),
        ("CORS_ALLOWED_ORIGINS", "https://good.example,*", "origin like https://"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "network like 10.0.0.0/8"),
        ("RATE_LIMITS", "maybe", "on or off"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("MARKET_DATA", "bloomberg", "simulated, alphavantage or yahoo"),
        ("SECRET_KEY", SECRET, "64 characters"),
        ("HOST", "256.0.0.1", "127.0.0.1"),
    ] {
        serve_refuses(&[(name, value)], &[name, expected]).await;
    }
    serve_refuses(&[("MARKET_DATA", "alphavantage")], &["ALPHAVANTAGE_API_KEY", "is not set"]).await;
    let clock_and_real_prices = [("ALPHAVANTAGE_API_KEY", SECRET), ("CLOCK_SPEED", "60")];
    serve_refuses(&clock_and_real_prices, &["CLOCK_SPEED", "simulated market only"]).await;
}

/// With port 0 the server would listen on a random port that no user could find.
#[tokio::test]
async fn port_zero_is_refused() {
    serve_refuses(&[("PORT", "0")], &["PORT", "65535"]).await;
}

#[tokio::test]
async fn all_invalid_settings_are_reported_at_once() {
    let settings = [
        ("PORT", "eighty"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("STARTING_CASH", "much"),
        ("CLOCK_SPEED", "-1"),
        ("RATE_LIMITS", "maybe"),
        ("SECRET_KEY", SECRET),
    ];
    let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
    serve_refuses(&settings, &names).await;
}

#[tokio::test]
async fn an_unreachable_database_is_reported() {
    let nobody = format!("postgres://sam:hunter2@127.0.0.1:{}/stockyard", free_port());
    let server = service("TEST_DATABASE_URL");
    let missing =
        on_database(&server, "there_is_no_such_database").replacen("postgres@", "postgres:hunter2@", 1);
    for url in [nobody.clone(), missing] {
        // The second one is refused without waiting.
        let seconds = if url == nobody { "1" } else { "300" };
        let installation =
            Installation::on_postgres().with("DATABASE_URL", &url).with("STARTUP_TIMEOUT_S", seconds);
        for command in ["serve", "migrate", "verify"] {
            let message = refused(&installation, command).await;
            for part in ["DATABASE_URL", "postgres://***@", "can be reached"] {
                assert!(message.contains(part), "{command}: {part:?} is not in {message}");
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let no_database = folder.path().join("notes.txt");
    std::fs::write(&no_database, "This is no database. ".repeat(1000)).unwrap();
    for path in [no_database.to_str().unwrap(), folder.path().to_str().unwrap(), "/proc/nowhere/stockyard.db"]
    {
        let installation = Installation::embedded().with("DATABASE_URL", &format!("sqlite://{path}"));
        let message = refused(&installation, "serve").await;
        assert!(message.contains("DATABASE_URL"), "{message}");
    }
    assert!(std::fs::read_to_string(&no_database).unwrap().starts_with("This is no database."));
}

#[tokio::test]
async fn several_processes_do_not_share_a_sqlite_file() {
    let installation = Installation::embedded().with("REDIS_URL", "redis://:hunter2@127.0.0.1:6379");
    for command in ["serve", "worker"] {
        let message = refused(&installation, command).await;
        assert!(message.contains("REDIS_URL needs DATABASE_URL to name a PostgreSQL"), "{message}");
    }
}

#[tokio::test]
async fn postgres_needs_a_configured_key_that_all_processes_share() {
    let installation = Installation::on_postgres();
    installation.migrate().await;
    let installation = installation.without("SECRET_KEY");
    let message = refused(&installation, "serve").await;
    assert!(message.contains("SECRET_KEY is not set") && message.contains("openssl rand"), "{message}");
    assert!(!installation.folder().join("data").exists());
}

#[tokio::test]
async fn a_missing_key_is_reported_with_all_other_errors() {
    let installation = Installation::on_postgres().without("SECRET_KEY").with("PORT", "eighty");
    let message = refused(&installation, "serve").await;
    assert!(message.contains("PORT is") && message.contains("SECRET_KEY is not set"), "{message}");
}

#[tokio::test]
async fn outdated_tables_are_reported() {
    let installation = Installation::full().with("STARTUP_TIMEOUT_S", "0");
    for command in ["serve", "worker", "verify", "snapshot"] {
        let message = refused(&installation, command).await;
        assert!(message.contains("`stockyard migrate`"), "{command}: {message}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    serve_refuses(&[("PORT", &port)], &["PORT", &port, "choose another"]).await;
}

#[tokio::test]
async fn an_unreachable_redis_is_reported() {
    let installation = Installation::full().with("STARTUP_TIMEOUT_S", "0");
    installation.migrate().await;
    let nobody = format!("redis://sam:hunter2@127.0.0.1:{}/2", free_port());
    let message = refused(&installation.with("REDIS_URL", &nobody), "worker").await;
    assert!(message.contains("REDIS_URL") && message.contains("127.0.0.1"), "{message}");

    let installation = Installation::full();
    installation.migrate().await;
    let message = refused(&installation.with("REDIS_URL", "redis://sam:hunter2@"), "worker").await;
    assert!(message.contains("REDIS_URL"), "{message}");

    let installation = Installation::on_postgres();
    let message = refused(&installation, "worker").await;
    assert!(message.contains("REDIS_URL is not set") && message.contains("stockyard serve"), "{message}");
}

/// The build without libraries has no TLS for PostgreSQL.
#[tokio::test]
async fn tls_to_postgres_is_refused_with_advice_by_a_build_without_it() {
    let url = new_postgres_database();
    let name = database_name(&url);
    let url = on_database(&service("TEST_DATABASE_TLS_URL"), name);
    for url in [url, "postgres://sam:hunter2@db.example/stockyard?sslmode=require".to_owned()] {
        serve_refuses(&[("DATABASE_URL", &url)], &["DATABASE_URL", "TLS", "system-libpq", "image"]).await;
    }
}

/// With an https address in `PUBLIC_URL`, browsers are told to use only https.
#[tokio::test]
async fn an_https_address_makes_cookies_secure() {
    let installation = Installation::embedded().with("PUBLIC_URL", "https://stockyard.example.org");
    let server = installation.serve().await;
    let client = Client::new(std::slice::from_ref(&server.url));
    let sam = client.register().await;
    let login = client.log_in(&sam.username, PASSWORD).await;
    login.expect(200);
    let cookie = login.set_cookie("__Host-session").unwrap();
    for part in ["__Host-session=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(login.header("strict-transport-security").unwrap().contains("max-age="));
}

/// The tests turn the limits off, so this one checks the default.
#[tokio::test]
async fn rate_limits_are_on_by_default() {
    let installation = Installation::embedded().without("RATE_LIMITS");
    let server = installation.serve().await;
    let client = Client::new(std::slice::from_ref(&server.url));
    let refused = eventually("too many requests", Duration::from_secs(30), async || {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let client = client.clone();
            asking.spawn(
                async move { client.ask_once(Method::GET, "/api/v1/users/me", |request| request).await },
            );
        }
        asking.join_all().await.into_iter().flatten().find(|answer| answer.status == 429)
    })
    .await;
    refused.problem(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
}

/// The server starts anyway: stored data can be read, and the source may recover.
#[tokio::test]
async fn an_unreachable_price_source_is_reported_without_its_key() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let installation =
        Installation::embedded().with("ALPHAVANTAGE_API_KEY", SECRET).with("ALPHAVANTAGE_BASE_URL", &nobody);
    let server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    let order = serde_json::json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    for answer in [
        sam.client.get("/api/v1/stocks/AAPL/quote").await,
        sam.client.get("/api/v1/stocks?search=app").await,
        sam.order(id, &order).await,
    ] {
        assert_eq!(answer.status, 503, "{}", answer.text);
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        answer.problem(503, &code);
        assert!(answer.header("retry-after").is_some(), "{code}");
        assert!(!answer.text.contains(SECRET), "{}", answer.text);
    }
    assert_eq!(sam.portfolio(id, "/valuation").await["total_value"], "1000.00");
    assert!(!server.process.log().contains(SECRET), "{}", server.process.log());
}
