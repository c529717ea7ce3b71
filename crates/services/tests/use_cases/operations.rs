//! The state of the installation, and the deep health check.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use futures::future::BoxFuture;
use persistence::{StoreError, installation};
use services::ServicesConfig;
use services::accounts::actor::Administrator;
use services::books::snapshots::IdRange;
use services::jobs::JobKind;
use services::operations::health::{HealthCheck, HealthConfig, Probe};
use services::operations::{WorkerIdentity, WorkerMode};
use services::testing::{FixedPrices, TestServices};

use crate::harness::Exchange;

fn identity(services: &services::Services, name: &str) -> WorkerIdentity {
    WorkerIdentity {
        name: name.to_owned(),
        mode: WorkerMode::Embedded,
        started_at: services.market().wall_time(),
    }
}

fn failures(report: &[HealthCheck]) -> Vec<(&'static str, &str)> {
    report.iter().filter_map(|check| Some((check.name, check.failure.as_deref()?))).collect()
}

#[tokio::test]
async fn a_worker_without_a_heartbeat_is_deleted_after_an_hour() {
    let test = TestServices::new().await;
    let (services, clock) = (&test.services, &test.clock);
    services.operations().worker_heartbeat(&identity(services, "one")).await.unwrap();
    clock.set(clock.wall() + TimeDelta::seconds(19));
    assert_eq!(services.operations().operations_status().await.unwrap().live_workers(), 1);
    clock.set(clock.wall() + TimeDelta::seconds(1));
    services.operations().worker_heartbeat(&identity(services, "two")).await.unwrap();
    let alive: Vec<(String, bool)> = services
        .operations()
        .workers()
        .await
        .unwrap()
        .into_iter()
        .map(|worker| (worker.name, worker.is_alive))
        .collect();
    assert_eq!(alive, [("one".to_owned(), false), ("two".to_owned(), true)]);

    clock.set(clock.wall() + TimeDelta::minutes(61));
    services.operations().worker_heartbeat(&identity(services, "three")).await.unwrap();
    let names: Vec<String> =
        services.operations().workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
    assert_eq!(names, ["three"]);
    services.operations().remove_worker("three").await.unwrap();
    assert!(services.operations().workers().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_final_snapshot_and_the_sessions_since_are_reported() {
    let exchange = Exchange::new().await;
    let (services, clock) = (&exchange, &exchange.clock);
    let status = services.operations().operations_status().await.unwrap();
    assert_eq!((status.last_final_snapshot, status.sessions_behind), (None, 0));

    exchange.investor("sam", "1000").await;
    let friday = services.market().booking_session().date;
    // Provisional rows are not final ones.
    services.books().take_snapshots(friday, IdRange::ALL, |_| true).await.unwrap();
    assert_eq!(services.operations().operations_status().await.unwrap().last_final_snapshot, None);

    clock.set(clock.wall() + TimeDelta::days(2));
    assert_eq!(services.operations().operations_status().await.unwrap().sessions_behind, 2);
    services.books().take_snapshots(friday, IdRange::ALL, |_| true).await.unwrap();
    let status = services.operations().operations_status().await.unwrap();
    let last = status.last_final_snapshot.unwrap();
    assert_eq!((last.session, last.taken_at, status.sessions_behind), (friday, clock.wall(), 1));

    // Taking an older session again does not hide the newer one.
    let saturday = friday.succ_opt().unwrap();
    services.books().take_snapshots(saturday, IdRange::ALL, |_| true).await.unwrap();
    services.books().take_snapshots(friday, IdRange::ALL, |_| true).await.unwrap();
    let status = services.operations().operations_status().await.unwrap();
    assert_eq!((status.last_final_snapshot.unwrap().session, status.sessions_behind), (saturday, 0));
}

#[tokio::test]
async fn jobs_that_wait_too_long_are_overdue() {
    let test = TestServices::new().await;
    let (services, clock) = (&test.services, &test.clock);
    services.jobs().request_run(&Administrator::operator("ada"), JobKind::Prune).await.unwrap();
    let prune = async || {
        let status = services.operations().operations_status().await.unwrap();
        status.jobs.into_iter().find(|job| job.kind == JobKind::Prune).unwrap()
    };
    assert_eq!((prune().await.queued, prune().await.overdue), (1, 0));
    clock.set(clock.wall() + TimeDelta::seconds(301));
    assert_eq!(prune().await.overdue, 1);
    assert_eq!(prune().await.last_success_at, None);
    for run in services.jobs().due_runs().await.unwrap() {
        services.jobs().run_job(run.id, "worker").await.unwrap();
    }
    assert_eq!((prune().await.queued, prune().await.overdue), (0, 0));
    assert_eq!(prune().await.last_success_at, Some(clock.wall()));
}

/// A stand-in for Redis in a state that the test sets.
enum FakeRedis {
    Answers,
    Refuses,
    Hangs,
}

impl Probe for FakeRedis {
    fn probe(&self) -> BoxFuture<'_, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        match self {
            Self::Answers => async { Ok(()) }.boxed(),
            Self::Refuses => async { Err("connection refused by 10.0.0.5:6379".into()) }.boxed(),
            Self::Hangs => std::future::pending().boxed(),
        }
    }
}

async fn impatient() -> TestServices {
    let health = HealthConfig { check_timeout: Duration::from_millis(300), ..HealthConfig::default() };
    let config = ServicesConfig { health, ..ServicesConfig::default() };
    TestServices::with(Arc::new(FixedPrices::new()), config).await
}

#[tokio::test]
async fn the_deep_check_needs_a_live_worker_and_redis_if_configured() {
    for (redis, told) in [
        (FakeRedis::Answers, None),
        (FakeRedis::Refuses, Some("it does not answer")),
        (FakeRedis::Hangs, Some("no answer within 0.3 s")),
    ] {
        // The checks have time enough for a busy machine, except in the case that tests the deadline.
        let test = match redis {
            FakeRedis::Hangs => impatient().await,
            _ => TestServices::new().await,
        };
        test.services.operations().set_redis_probe(Arc::new(redis));
        test.services.operations().worker_heartbeat(&identity(&test.services, "w")).await.unwrap();
        let report = test.services.operations().deep_health().await;
        assert_eq!(report.len(), 4);
        let redis = report.iter().find(|check| check.name == "redis").unwrap();
        assert_eq!(redis.failure.as_deref(), told);
    }
    let test = TestServices::new().await;
    let report = test.services.operations().deep_health().await;
    assert_eq!(failures(&report), [("workers", "no worker has sent a heartbeat within 20 s")]);
    assert_eq!(
        report.iter().map(|check| check.name).collect::<Vec<_>>(),
        ["database", "order_desk", "workers"]
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_written_fails_the_check() {
    let test = TestServices::new().await;
    test.services.operations().worker_heartbeat(&identity(&test.services, "w")).await.unwrap();
    test.store.sql("ALTER TABLE installation RENAME TO installation_away").unwrap();
    let report = test.services.operations().deep_health().await;
    assert_eq!(failures(&report), [("database", "it cannot be written")]);
}

#[tokio::test]
async fn a_hanging_database_fails_the_check_and_is_queried_only_once() {
    let test = impatient().await;
    test.services.operations().worker_heartbeat(&identity(&test.services, "w")).await.unwrap();
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (let_go, may_go) = std::sync::mpsc::channel::<()>();
    let store = test.store.store.clone();
    let holding = tokio::spawn(async move {
        let held: Result<(), StoreError> = store
            .write(move |tx| {
                installation::lock(tx)?;
                locked.send(()).unwrap();
                let _ = may_go.recv();
                Ok(())
            })
            .await;
        held.unwrap();
    });
    is_locked.await.unwrap();
    let database = async || {
        let report = test.services.operations().deep_health().await;
        report.into_iter().find(|check| check.name == "database").unwrap().failure
    };
    assert_eq!(database().await.as_deref(), Some("no answer within 0.3 s"));
    eventually("the next report", async || {
        database().await.as_deref() == Some("an earlier write has not ended")
    })
    .await;
    let_go.send(()).unwrap();
    holding.await.unwrap();
    eventually("the database is well again", async || database().await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_order_desk_fails_the_check() {
    let health = HealthConfig { check_timeout: Duration::from_millis(300), ..HealthConfig::default() };
    let config = ServicesConfig { health, ..ServicesConfig::default() };
    let exchange = Arc::new(Exchange::configured(FixedPrices::new(), config).await);
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let desk = async || {
        let report = exchange.operations().deep_health().await;
        report.into_iter().find(|check| check.name == "order_desk").unwrap().failure
    };
    assert_eq!(desk().await, None);
    let hold = exchange.hold(sam.portfolio).await;
    let order = tokio::spawn({
        let exchange = exchange.clone();
        async move { exchange.buy(sam, "AAPL", "1").await }
    });
    eventually("the desk counts as stuck", async || {
        desk().await.is_some_and(|reason| reason.starts_with("it has been writing one batch"))
    })
    .await;
    hold.end().await;
    let _ = order.await.unwrap();
    eventually("the desk is well again", async || desk().await.is_none()).await;
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(),
        "waited too long until {what}"
    );
}
