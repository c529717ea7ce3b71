//! Workers without Redis: the process executes due runs itself.

use std::time::{Duration, Instant};

use services::books::snapshots::IdRange;
use services::jobs::{JobKind, RunStatus};

use crate::firm::{FRIDAY, Firm, embedded, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_is_taken_after_the_close() {
    let firm = Firm::open().await;
    let worker = firm.start(embedded());
    eventually("prices are refreshed", async || firm.is_done(0).await && firm.runs().await.len() == 3).await;
    assert_eq!(firm.snapshots().await, vec![vec![]; 3]);

    firm.close_sessions(1);
    eventually("the snapshot is done", async || firm.is_done(1).await).await;
    firm.assert_snapshots(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doing_a_run_again_changes_nothing() {
    let firm = Firm::open().await;
    firm.close_sessions(1);
    let worker = firm.start(embedded());
    eventually("the snapshot is done", async || firm.is_done(1).await).await;
    worker.stop().await;
    let (before, runs) = (firm.snapshots().await, firm.runs().await);

    for run in &runs {
        assert!(!firm.services().jobs().run_job(run.id, "another").await.unwrap(), "{run:?} was done twice");
    }
    firm.services().books().take_snapshots(FRIDAY, IdRange::ALL, |_| true).await.unwrap();
    assert_eq!(firm.snapshots().await, before);
    assert_eq!(firm.runs().await, runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_missed_while_no_worker_ran_are_caught_up() {
    let firm = Firm::open().await;
    firm.close_sessions(5);
    let worker = firm.start(embedded());
    eventually("all snapshots are done", async || firm.is_done(5).await).await;
    firm.assert_snapshots(5).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_run_neither_ends_the_worker_nor_prevents_a_retry() {
    let firm = Firm::open().await;
    firm.gate.set_trap();
    firm.close_sessions(1);
    let worker = firm.start(embedded());
    eventually("everything but the snapshot is done", async || {
        let runs = firm.runs().await;
        runs.len() == 4 && runs.iter().filter(|run| run.status == RunStatus::Done).count() == 3
    })
    .await;

    firm.let_silence_pass();
    eventually("the snapshot is done", async || firm.is_done(1).await).await;
    firm.assert_snapshots(1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_worker_finishes_its_run_and_starts_no_other() {
    let firm = Firm::open().await;
    firm.gate.close();
    firm.close_sessions(2);
    let mut worker = firm.start(embedded());
    firm.gate.reached().await;

    worker.tell_to_stop();
    let early = tokio::time::timeout(Duration::from_millis(500), &mut worker.task).await;
    assert!(early.is_err(), "the worker left a run under way");
    firm.gate.open();
    worker.stop().await;

    // There is one slot: the first snapshot was in progress, and the second had to wait.
    let snapshots: Vec<RunStatus> = firm
        .runs()
        .await
        .iter()
        .filter(|run| run.kind == JobKind::SnapshotPortfolios)
        .map(|run| run.status)
        .collect();
    assert_eq!(snapshots, [RunStatus::Done, RunStatus::Queued]);
    firm.assert_snapshots(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_run_delays_the_stop_by_less_than_ten_seconds() {
    let firm = Firm::open().await;
    firm.gate.close();
    firm.close_sessions(1);
    let worker = firm.start(embedded());
    firm.gate.reached().await;
    let told = Instant::now();
    worker.stop().await;
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}
