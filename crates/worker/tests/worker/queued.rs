//! Workers with Redis: any number of workers share the due runs.

use std::collections::HashSet;

use services::jobs::JobKind;

use crate::firm::{Firm, eventually, on_redis, redis_url, variable};
use crate::redis_server::connect;

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_do_each_run_once() {
    let firm = Firm::open().await;
    firm.close_sessions(40);
    let config = on_redis(&redis_url());
    let workers = [config.clone(), config.clone(), config].map(|config| firm.start(config));
    eventually("all snapshots are done", async || firm.is_done(40).await).await;
    for worker in workers {
        worker.stop().await;
    }

    firm.assert_snapshots(40).await;
    let runs = firm.runs().await;
    assert!(runs.iter().all(|run| run.attempts == 1), "{runs:?}");
    let hands: HashSet<_> = runs.iter().filter_map(|run| run.worker.clone()).collect();
    assert!(hands.len() > 1, "one worker did everything: {hands:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_worker_died_is_taken_over() {
    let firm = Firm::open().await;
    firm.close_sessions(1);
    let services = firm.services();
    let kind = JobKind::SnapshotPortfolios;
    let due = services.jobs().due_runs().await.unwrap();
    let id = due.iter().find(|run| run.kind == kind).unwrap().id;
    firm.gate.close();
    let dying = tokio::spawn(async move { services.jobs().run_job(id, "the one that dies").await });
    firm.gate.reached().await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    firm.gate.open();

    let worker = firm.start(on_redis(&redis_url()));
    firm.let_silence_pass();
    eventually("another has done it", async || firm.is_done(1).await).await;
    worker.stop().await;
    let run = firm.first_run(kind).await.unwrap();
    assert_eq!((run.id, run.attempts), (id, 2));
    assert_ne!(run.worker.as_deref(), Some("the one that dies"));
    firm.assert_snapshots(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_runs_are_deleted_from_redis() {
    let firm = Firm::open().await;
    firm.close_sessions(3);
    let config = on_redis(&redis_url());
    let queue = config.queue.clone();
    let worker = firm.start(config);
    eventually("all snapshots are done", async || firm.is_done(3).await).await;

    let mut redis = connect(&redis_url()).await.unwrap();
    eventually("finished tasks are forgotten", async || {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{queue}*")).query_async(&mut redis).await.unwrap();
        keys.iter().all(|key| key.contains(":workers"))
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_distributed_over_tls() {
    let firm = Firm::open().await;
    firm.close_sessions(1);
    let worker = firm.start(on_redis(&format!("{}#insecure", variable("TEST_REDIS_TLS_URL"))));
    eventually("the snapshot is done", async || firm.is_done(1).await).await;
    worker.stop().await;
    firm.assert_snapshots(1).await;
}
