//! A worker is listed while it lives, and no longer after a shutdown.

use std::sync::Arc;

use chrono::TimeDelta;
use services::operations::WorkerStatus;
use services::operations::health::Probe;
use worker::RedisProbe;

use crate::firm::{Firm, embedded, eventually, on_redis, redis_url};
use crate::redis_server::RedisServer;

async fn workers(firm: &Firm) -> Vec<WorkerStatus> {
    firm.services().operations().workers().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sends_heartbeats_and_removes_its_row_when_it_shuts_down() {
    let firm = Arc::new(Firm::open().await);
    let first = firm.start(embedded());
    let second = firm.start(on_redis(&redis_url()));
    eventually("both are seen", async || workers(&firm).await.len() == 2).await;
    let mut modes: Vec<String> = workers(&firm).await.into_iter().map(|worker| worker.mode).collect();
    modes.sort();
    assert_eq!(modes, ["embedded", "redis"]);
    firm.let_pass(TimeDelta::seconds(30));
    eventually("new heartbeats have come", async || {
        workers(&firm).await.iter().filter(|worker| worker.is_alive).count() == 2
    })
    .await;
    first.stop().await;
    assert_eq!(workers(&firm).await.len(), 1);
    second.stop().await;
    assert!(workers(&firm).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_becomes_silent() {
    let firm = Firm::open().await;
    let worker = firm.start(embedded());
    eventually("it is seen", async || workers(&firm).await.len() == 1).await;
    drop(worker);
    eventually("it has ended", async || {
        firm.let_pass(TimeDelta::seconds(30));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        !workers(&firm).await[0].is_alive
    })
    .await;
}

#[tokio::test]
async fn the_redis_probe_detects_an_outage() {
    let mut redis = RedisServer::start().await;
    let probe = RedisProbe::new(&redis.url().into()).unwrap();
    probe.probe().await.unwrap();
    redis.kill();
    assert!(probe.probe().await.is_err());
    redis.start_again().await;
    probe.probe().await.unwrap();
}
