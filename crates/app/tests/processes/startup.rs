//! Processes that start before the servers that they need.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::door::{Behind, Door};
use crate::installation::{Installation, Server, free_port, is_ready, service};
use crate::process::{Process, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::from_secs(10);

const WAITS_FOR_DATABASE: &str = "waiting for the database";
const WAITS_FOR_REDIS: &str = "waiting for Redis";
const WAITS_FOR_TABLES: &str = "waiting for `stockyard migrate`";

fn address_in(url: &str) -> String {
    let address = url.split("://").nth(1).unwrap();
    let address = address.rsplit_once('@').map_or(address, |(_, host)| host);
    address.split('/').next().unwrap().to_owned()
}

/// Puts a door in front of a server of the installation, by changing the port in its URL.
fn behind_a_door(installation: Installation, variable: &str) -> (Installation, Door) {
    let url = installation.setting(variable);
    let server = address_in(&url);
    let door = Door::to(&server);
    let url = url.replacen(&server, &format!("127.0.0.1:{}", door.port), 1);
    (installation.with(variable, &url), door)
}

async fn says(process: &mut Process, words: &str) {
    eventually(words, PATIENCE, async || {
        assert!(process.has_ended().is_none(), "it has ended: {}", process.log());
        process.log().contains(words).then_some(())
    })
    .await;
}

/// Checks that the beginning of the wait, with its reason, and its end are logged once.
fn told_once(process: &Process, what: &str) {
    let log = process.log();
    let count = |words: &str| log.matches(words).count();
    assert_eq!(count(&format!("waiting for {what}")), 1, "{log}");
    assert_eq!(count(&format!("the wait for {what} is over")), 1, "{log}");
    assert!(log.contains("reason=") && log.contains("up_to_s="), "{log}");
}

async fn becomes_ready(installation: &Installation, mut process: Process, port: u16) {
    eventually("the server is ready", PATIENCE, async || {
        assert!(process.has_ended().is_none(), "it has ended: {}", process.log());
        is_ready(port).then_some(())
    })
    .await;
    told_once(&process, "the database");
    let server = Server { process, url: format!("http://127.0.0.1:{port}"), port };
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    installation.verify().await;
}

#[tokio::test]
async fn a_server_waits_for_its_database() {
    for behind in [Behind::Nothing, Behind::Silence, Behind::StartingPostgres] {
        let installation = Installation::on_postgres();
        installation.migrate().await;
        let port = free_port();
        let installation = installation.with("PORT", &port.to_string());
        let (installation, mut door) = behind_a_door(installation, "DATABASE_URL");
        door.set(behind);
        let mut process = installation.start(&["serve"]);
        says(&mut process, WAITS_FOR_DATABASE).await;
        // Neither health checks nor proxies consider it ready.
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{behind:?}: it listens already");
        assert!(installation.run(&["healthcheck"]).await.failed().contains("no server answers"));
        door.set(Behind::Server);
        becomes_ready(&installation, process, port).await;
    }
}

#[tokio::test]
async fn migrations_and_workers_wait_for_the_database_and_servers_for_migrations() {
    let port = free_port();
    let installation = Installation::full().with("PORT", &port.to_string());
    let (installation, mut door) = behind_a_door(installation, "DATABASE_URL");
    // In any order, as after a power failure.
    let mut server = installation.start(&["serve"]);
    let mut worker = installation.start(&["worker"]);
    says(&mut server, WAITS_FOR_DATABASE).await;
    says(&mut worker, WAITS_FOR_DATABASE).await;
    door.set(Behind::Server);
    says(&mut server, WAITS_FOR_TABLES).await;
    says(&mut worker, WAITS_FOR_TABLES).await;
    assert!(server.log().contains("run `stockyard migrate`"), "{}", server.log());
    door.set(Behind::StartingPostgres);
    let mut migration = installation.start(&["migrate"]);
    says(&mut migration, WAITS_FOR_DATABASE).await;
    door.set(Behind::Server);
    let status = eventually("the migration ends", PATIENCE, async || migration.has_ended()).await;
    assert!(status.success() && migration.log().contains("Migrated"), "{}", migration.log());
    told_once(&migration, "the database");
    says(&mut worker, "worker started").await;
    told_once(&worker, "the database");
    told_once(&server, "`stockyard migrate`");
    becomes_ready(&installation, server, port).await;
}

#[tokio::test]
async fn a_worker_waits_for_redis_and_a_server_starts_without_it() {
    for behind in [Behind::Nothing, Behind::Silence, Behind::LoadingRedis] {
        let installation = Installation::full();
        installation.migrate().await;
        let (installation, mut door) = behind_a_door(installation, "REDIS_URL");
        door.set(behind);
        let mut worker = installation.start(&["worker"]);
        says(&mut worker, WAITS_FOR_REDIS).await;
        if behind == Behind::Nothing {
            installation.serve().await.process.ends_well().await;
        }
        assert!(!worker.log().contains("worker started"), "{}", worker.log());
        door.set(Behind::Server);
        says(&mut worker, "worker started").await;
        told_once(&worker, "Redis");
        worker.ends_well().await;
    }
}

#[tokio::test]
async fn sigterm_ends_a_wait_at_once() {
    for behind in [Behind::Nothing, Behind::Silence] {
        let (installation, mut door) = behind_a_door(Installation::full(), "DATABASE_URL");
        door.set(behind);
        for command in ["serve", "worker", "migrate"] {
            let mut process = installation.start(&[command]);
            says(&mut process, WAITS_FOR_DATABASE).await;
            let start = Instant::now();
            process.terminate();
            let status = eventually("it ends", PATIENCE, async || process.has_ended()).await;
            // Neither a thread that waits for a silent server, nor the ten seconds that a stop may take, delays the
            // end.
            assert!(start.elapsed() < Duration::from_secs(4), "{command} took {:?}", start.elapsed());
            // The status keeps a script from continuing after `migrate`.
            let expected = if command == "migrate" { 1 } else { 0 };
            assert_eq!(status.code(), Some(expected), "{command}: {}", process.log());
        }
    }
    let installation = Installation::full();
    installation.migrate().await;
    let (installation, mut door) = behind_a_door(installation, "REDIS_URL");
    door.set(Behind::Silence);
    let mut worker = installation.start(&["worker"]);
    says(&mut worker, WAITS_FOR_REDIS).await;
    worker.ends_well().await;
}

#[tokio::test]
async fn a_wait_ends_after_the_startup_timeout() {
    let (installation, mut door) = behind_a_door(Installation::full(), "DATABASE_URL");
    for (behind, timeout) in [(Behind::Nothing, "2"), (Behind::StartingPostgres, "0")] {
        door.set(behind);
        let installation = installation.sharing_the_folder().with("STARTUP_TIMEOUT_S", timeout);
        for command in ["serve", "worker", "migrate"] {
            let finished = installation.run(&[command]).await;
            let message = finished.failed();
            assert!(message.contains("DATABASE_URL"), "{message}");
            assert_eq!(message.contains("STARTUP_TIMEOUT_S"), timeout != "0", "{message}");
            assert_eq!(message.contains(WAITS_FOR_DATABASE), timeout != "0", "{message}");
        }
    }
}

#[tokio::test]
async fn permanent_errors_end_the_start_at_once() {
    let server = service("TEST_DATABASE_URL");
    let no_database = server.replace("/postgres", "/there_is_no_such_database");
    let no_role = server.replace("postgres@", "there_is_no_such_role@");
    let migrated = Installation::full();
    migrated.migrate().await;
    // A Redis without passwords refuses a password.
    let redis = migrated.setting("REDIS_URL").replace("redis://", "redis://sam:wrong@");
    let mut installations = vec![(migrated.with("REDIS_URL", &redis), vec!["worker"], "REDIS_URL")];
    // `scripts/with-services` creates this role.
    let [wrong_password, no_password] =
        ["needs_password:wrong@", "needs_password@"].map(|role| server.replace("postgres@", role));
    for url in [
        no_database,
        no_role,
        wrong_password,
        no_password,
        server.replace("/postgres", "/postgres?no_such_option=1"),
    ] {
        let installation = Installation::full().with("DATABASE_URL", &url);
        installations.push((installation, vec!["serve", "worker", "migrate"], "DATABASE_URL"));
    }
    for (installation, commands, setting) in installations {
        for command in commands {
            let start = Instant::now();
            let finished = installation.run(&[command]).await;
            assert!(finished.failed().contains(setting), "{finished:?}");
            assert!(!finished.stderr.contains("waiting for"), "{finished:?}");
            assert!(start.elapsed() < AT_ONCE, "{command} took {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn an_idle_server_uses_little_memory() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    // The first jobs, which prepare the stocks of the simulated market, end soon.
    eventually("the first jobs have ended", PATIENCE, async || {
        server.process.log().contains("job.kind=\"corporate_actions\"").then_some(())
    })
    .await;
    let anonymous = server.process.anonymous_kib();
    // About 21 MiB if the allocator does not use huge pages, and 55 MiB if it does.
    assert!(anonymous < 40 * 1024, "{anonymous} KiB");
}
