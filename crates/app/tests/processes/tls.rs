//! Encrypted connections to PostgreSQL and Redis, with the build that supports them: `--features system-libpq`.

use std::time::Duration;

use serde_json::json;

use crate::client::{Client, items};
use crate::installation::{
    Installation, database_name, empty_redis_database, new_postgres_database, on_database, service,
};
use crate::process::eventually;

/// The build with TLS, with a new database and an empty Redis that accept only TLS.
fn encrypted() -> Installation {
    let binary = service("STOCKYARD_TLS_BIN");
    assert!(
        std::path::Path::new(&binary).exists(),
        "STOCKYARD_TLS_BIN names {binary}, which is not there: scripts/test builds it"
    );
    let plain = new_postgres_database();
    let database = on_database(&service("TEST_DATABASE_TLS_URL"), database_name(&plain));
    Installation::on_postgres()
        .with_binary(&binary)
        .with("DATABASE_URL", &database)
        .with("REDIS_URL", &empty_redis_database(&service("TEST_REDIS_TLS_URL")))
        .with("SSL_CERT_FILE", &service("TEST_CA_CERT"))
}

/// Runs `migrate`, `serve` and `worker`, and checks that a job distributed by Redis is done.
async fn everything_runs(installation: Installation) {
    installation.migrate().await;
    let mut server = installation.serve().await;
    let mut worker = installation.worker().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    assert_eq!(items(&sam.portfolio(id, "/positions").await)[0]["quantity"], json!("1"));
    eventually("a job is done", Duration::from_secs(30), async || {
        worker.log().contains("job.status=\"done\"").then_some(())
    })
    .await;
    server.process.ends_well().await;
    worker.ends_well().await;
    installation.verify().await;
}

#[tokio::test]
async fn connections_are_encrypted_and_certificates_checked() {
    everything_runs(encrypted()).await;
}

/// Hosting services like Heroku use certificates for Redis and PostgreSQL that clients cannot verify.
#[tokio::test]
async fn certificate_checks_can_be_turned_off() {
    let installation = encrypted().without("SSL_CERT_FILE");
    let name = new_postgres_database();
    let tls = service("TEST_DATABASE_TLS_URL");
    let (address, _) = tls.split_once('?').expect("TEST_DATABASE_TLS_URL has parameters");
    let database = format!("{}?sslmode=require", on_database(address, database_name(&name)));
    let redis = format!("{}#insecure", empty_redis_database(&service("TEST_REDIS_TLS_URL")));
    everything_runs(installation.with("DATABASE_URL", &database).with("REDIS_URL", &redis)).await;
}

#[tokio::test]
async fn unknown_certificates_are_refused() {
    let installation = encrypted().without("SSL_CERT_FILE");
    installation.migrate().await;
    let refused = installation.run(&["worker"]).await;
    let message = refused.failed();
    assert!(message.contains("REDIS_URL") && message.contains("certificate"), "{message}");

    // PostgreSQL's certificate is checked against the system's authorities, which do not include the test's.
    let url = service("TEST_DATABASE_TLS_URL");
    let (address, _) = url.split_once('?').expect("TEST_DATABASE_TLS_URL has parameters");
    let strict = format!("{address}?sslmode=verify-full&sslrootcert=system");
    let refused = installation.with("DATABASE_URL", &strict).run(&["migrate"]).await;
    assert!(refused.failed().contains("DATABASE_URL"), "{refused:?}");
}

#[tokio::test]
async fn servers_that_require_tls_refuse_unencrypted_connections() {
    let installation = encrypted();
    let url = service("TEST_DATABASE_TLS_URL");
    let (address, _) = url.split_once('?').expect("TEST_DATABASE_TLS_URL has parameters");
    let refused =
        installation.with("DATABASE_URL", &format!("{address}?sslmode=disable")).run(&["migrate"]).await;
    let message = refused.failed();
    assert!(message.contains("DATABASE_URL") && message.contains("no encryption"), "{message}");
}
