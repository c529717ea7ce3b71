//! A Redis that loses its data, is killed, or never answers.

use std::error::Error;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use worker::WorkerError;

use crate::firm::{Firm, eventually, on_redis, variable};
use crate::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_redis_loses_are_distributed_again() {
    let firm = Firm::open().await;
    let redis = RedisServer::start().await;
    let mut connection = redis.connect().await;
    let config = on_redis(&redis.url());
    let queue = config.queue.clone();

    // The only slot is taken, so runs that are pushed now stay in the queue.
    firm.gate.close();
    firm.close_sessions(1);
    let worker = firm.start(config);
    firm.gate.reached().await;
    firm.let_pass(TimeDelta::days(1));
    eventually("the next session's snapshot is in the queue", async || {
        let waiting: u64 =
            redis::cmd("ZCARD").arg(format!("{queue}:scheduled")).query_async(&mut connection).await.unwrap();
        waiting > 0 && firm.runs().await.len() > 3
    })
    .await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    firm.gate.open();

    eventually("everything is done", async || {
        firm.let_pass(TimeDelta::seconds(3));
        firm.is_done(2).await
    })
    .await;
    firm.assert_snapshots(2).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_continues_when_redis_is_back() {
    let firm = Firm::open().await;
    let mut redis = RedisServer::start().await;
    let mut worker = firm.start(on_redis(&redis.url()));
    eventually("the worker works", async || firm.is_done(0).await && firm.runs().await.len() == 3).await;

    redis.kill();
    firm.close_sessions(1);
    // Long enough for several ticks and many polls to fail.
    let ended = tokio::time::timeout(Duration::from_secs(4), &mut worker.task).await;
    assert!(ended.is_err(), "the worker did not survive the outage");
    redis.start_again().await;

    // The clock stands still, so no run had to be counted as lost before it was distributed again.
    eventually("the snapshot is done", async || firm.is_done(1).await).await;
    firm.assert_snapshots(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_in_time_while_redis_is_away() {
    let firm = Firm::open().await;
    let mut redis = RedisServer::start().await;
    let worker = firm.start(on_redis(&redis.url()));
    eventually("the worker works", async || firm.is_done(0).await && firm.runs().await.len() == 3).await;
    redis.kill();
    let told = Instant::now();
    worker.stop().await;
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

/// The error with which a worker with this `REDIS_URL` ends, with all its causes.
async fn refusal(url: &str) -> (WorkerError, String) {
    let firm = Firm::open().await;
    let error = worker::run(firm.services(), on_redis(url), std::future::pending()).await.unwrap_err();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    (error, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_redis_url_is_refused_with_the_name_of_its_setting() {
    for url in ["", "localhost", "http://localhost:6379", "redis://", "redis://localhost/books"] {
        assert!(matches!(worker::check_redis_url(url), Err(WorkerError::InvalidRedisUrl(_))), "{url:?}");
    }
    let (error, text) = refusal("http://:secret-password@localhost:6379").await;
    assert!(matches!(error, WorkerError::InvalidRedisUrl(_)), "{text}");
    assert!(text.contains("REDIS_URL") && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_redis_at_the_start_is_an_error_with_its_address() {
    let (error, text) = refusal("redis://:secret-password@127.0.0.1:1").await;
    assert!(matches!(error, WorkerError::Redis { .. }), "{text}");
    assert!(text.contains("REDIS_URL") && text.contains("127.0.0.1:1"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_is_refused() {
    let (error, text) = refusal(&variable("TEST_REDIS_TLS_URL")).await;
    assert!(matches!(error, WorkerError::Redis { .. }), "{text}");
    assert!(text.to_lowercase().contains("certificate"), "{text}");
}
