use chrono::TimeDelta;
use persistence::jobs::{self, JobRunRow, JobStatus, RunEnd};

use crate::harness::{Db, moment};
use crate::migrations::migrate_before;

async fn plan(db: &Db, key: &'static str, at: i64) -> bool {
    db.write(move |tx| jobs::plan(tx, "snapshot", key, 0, moment(at))).await
}

/// The runs that are due at the time `now`, when a run counts as dead after sixty seconds without a heartbeat.
async fn take_due(db: &Db, now: i64) -> Vec<JobRunRow> {
    db.write(move |tx| jobs::take_due(tx, &["snapshot"], moment(now - 60), moment(now), 10)).await
}

async fn claim(db: &Db, id: i64, worker: &'static str, now: i64) -> Option<JobRunRow> {
    db.write(move |tx| jobs::claim(tx, id, worker, moment(now - 60), moment(now))).await
}

async fn heartbeat(db: &Db, id: i64, worker: &'static str, now: i64) -> bool {
    db.write(move |tx| jobs::heartbeat(tx, id, worker, moment(now))).await
}

async fn finish(db: &Db, id: i64, worker: &'static str, status: JobStatus, now: i64) -> bool {
    finish_and_put_off(db, id, worker, status, now, 0).await
}

async fn finish_and_put_off(
    db: &Db,
    id: i64,
    worker: &'static str,
    status: JobStatus,
    now: i64,
    put_off: i64,
) -> bool {
    let end = RunEnd { status, outcome: "outcome".to_owned(), put_off: TimeDelta::seconds(put_off) };
    db.write(move |tx| jobs::finish(tx, id, worker, &end, moment(now))).await
}

async fn only_run(db: &Db) -> JobRunRow {
    let runs = db.read(|tx| jobs::page(tx, None, None, 10)).await;
    assert_eq!(runs.len(), 1);
    runs.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_run_planned_twice_is_one_run() {
    let db = Db::new().await;
    assert!(plan(&db, "2026-11-20", 0).await);
    assert!(!plan(&db, "2026-11-20", 5).await);
    assert!(db.write(|tx| jobs::plan(tx, "snapshot", "2026-11-20", 1, moment(0))).await, "another partition");
    assert!(db.write(|tx| jobs::plan(tx, "prune", "2026-11-20", 0, moment(0))).await, "another kind");
    assert_eq!(db.count("job_runs"), 3);

    assert!(plan(&db, "2026-11-19", 6).await);
    assert_eq!(db.read(|tx| jobs::newest_key(tx, "snapshot")).await, Some("2026-11-20".into()));
    assert_eq!(db.read(|tx| jobs::newest_key(tx, "unknown")).await, None);
}

#[tokio::test]
async fn requested_runs_are_marked_and_due_runs_are_filtered_by_kind() {
    let db = Db::new().await;
    assert!(plan(&db, "2026-11-20", 0).await);
    assert!(db.write(|tx| jobs::request(tx, "prune", "now", moment(0))).await);
    let marks = db.read(|tx| jobs::page(tx, None, None, 10)).await;
    let marks: Vec<_> = marks.iter().map(|run| (run.kind.as_str(), run.requested)).collect();
    assert_eq!(marks, [("prune", true), ("snapshot", false)]);
    let due = take_due(&db, 0).await;
    assert_eq!(due.iter().map(|run| run.kind.as_str()).collect::<Vec<_>>(), ["snapshot"]);
}

/// In earlier versions only the key marked such runs.
#[tokio::test]
async fn requested_runs_of_earlier_versions_are_marked() {
    let db = Db::empty();
    migrate_before(&db, "2026-11-30-250000_requested_runs");
    let runs = "INSERT INTO job_runs (kind, key, partition, status, attempts, queued_at, heartbeat_at) VALUES \
                ('refresh_listings', '2026-11-20T15:00:00.000000Z on request', 0, 'done', 1, 'T0', 'T0'), \
                ('refresh_listings', '2026-11-20', 0, 'done', 1, 'T0', 'T0')";
    db.sql(&runs.replace("T0", "2026-11-20T14:30:00.000000Z")).unwrap();
    db.store().migrate().await.unwrap();
    let marks = db.read(|tx| jobs::page(tx, None, None, 10)).await;
    assert_eq!(marks.iter().map(|run| run.requested).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_planned_by_many_at_once_is_one_run() {
    let db = Db::new().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = db.store();
            tokio::spawn(async move {
                let planned: Result<bool, persistence::StoreError> =
                    store.write(|tx| jobs::plan(tx, "snapshot", "2026-11-20", 0, moment(0))).await;
                planned.unwrap()
            })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.unwrap());
    }
    assert_eq!((new, db.count("job_runs")), (1, 1));
}

#[tokio::test]
async fn a_new_run_is_handed_out_once_and_again_only_after_silence() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let due = take_due(&db, 0).await;
    assert_eq!((due.len(), due[0].status, due[0].attempts), (1, JobStatus::Queued, 0));
    for now in [0, 1, 59, 60] {
        assert!(take_due(&db, now).await.is_empty(), "{now}");
    }
    assert_eq!(take_due(&db, 61).await.len(), 1);
    assert!(take_due(&db, 62).await.is_empty());
}

#[tokio::test]
async fn simultaneous_calls_hand_a_new_run_out_once() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let first = tokio::spawn(async move {
        let due: Result<Vec<JobRunRow>, persistence::StoreError> = store
            .write(move |tx| {
                let due = jobs::take_due(tx, &["snapshot"], moment(-60), moment(0), 10)?;
                taken.send(()).unwrap();
                Db::until_somebody_waits(&url);
                Ok(due)
            })
            .await;
        due.unwrap()
    });
    is_taken.await.unwrap();
    let second = take_due(&db, 0).await;
    assert_eq!((first.await.unwrap().len(), second.len()), (1, 0));
}

#[tokio::test]
async fn due_runs_come_oldest_first_up_to_the_limit() {
    let db = Db::new().await;
    for key in ["3", "1", "2"] {
        plan(&db, key, 0).await;
    }
    let take = |limit| db.write(move |tx| jobs::take_due(tx, &["snapshot"], moment(-60), moment(0), limit));
    let keys = |runs: Vec<JobRunRow>| runs.into_iter().map(|run| run.key).collect::<Vec<_>>();
    assert_eq!(keys(take(2).await), ["3", "1"]);
    assert_eq!(keys(take(2).await), ["2"]);
    assert!(take(2).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_several_simultaneous_claims_succeeds() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let id = only_run(&db).await.id;
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = db.store();
            tokio::spawn(async move {
                let claimed: Result<Option<JobRunRow>, persistence::StoreError> = store
                    .write(move |tx| jobs::claim(tx, id, &format!("worker {number}"), moment(-60), moment(0)))
                    .await;
                claimed.unwrap()
            })
        })
        .collect();
    let mut claims = Vec::new();
    for task in tasks {
        claims.extend(task.await.unwrap());
    }
    assert_eq!(claims.len(), 1);
    assert_eq!(only_run(&db).await, claims[0]);
    assert_eq!((claims[0].status, claims[0].attempts), (JobStatus::Running, 1));
    assert_eq!(claims[0].started_at, Some(moment(0)));
}

#[tokio::test]
async fn a_run_with_heartbeats_stays_with_its_worker() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let id = only_run(&db).await.id;
    claim(&db, id, "first", 0).await.unwrap();
    assert!(heartbeat(&db, id, "first", 50).await);
    assert!(take_due(&db, 109).await.is_empty());
    assert_eq!(claim(&db, id, "second", 109).await, None);
    assert!(!heartbeat(&db, id, "second", 109).await);
    assert!(!finish(&db, id, "second", JobStatus::Done, 109).await);
    assert!(finish(&db, id, "first", JobStatus::Done, 109).await);
    let done = only_run(&db).await;
    assert_eq!((done.status, done.outcome.as_deref()), (JobStatus::Done, Some("outcome")));
    assert_eq!(done.finished_at, Some(moment(109)));
}

#[tokio::test]
async fn a_run_without_heartbeats_is_taken_over_from_its_worker() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let id = only_run(&db).await.id;
    claim(&db, id, "first", 0).await.unwrap();
    assert_eq!(take_due(&db, 60).await.len(), 1);
    let taken = claim(&db, id, "second", 60).await.unwrap();
    assert_eq!((taken.attempts, taken.worker.as_deref()), (2, Some("second")));
    assert_eq!(claim(&db, id, "third", 60).await, None);

    assert!(!heartbeat(&db, id, "first", 61).await);
    assert!(!finish(&db, id, "first", JobStatus::Failed, 61).await);
    assert_eq!(only_run(&db).await, taken);
    assert!(finish(&db, id, "second", JobStatus::Done, 62).await);
}

#[tokio::test]
async fn a_finished_run_is_never_due_again() {
    let db = Db::new().await;
    for (key, status) in [("1", JobStatus::Done), ("2", JobStatus::Failed)] {
        plan(&db, key, 0).await;
        let id = take_due(&db, 0).await[0].id;
        claim(&db, id, "worker", 0).await.unwrap();
        assert!(finish(&db, id, "worker", status, 1).await);
        assert!(!finish(&db, id, "worker", JobStatus::Queued, 2).await);
        assert!(!heartbeat(&db, id, "worker", 2).await);
        assert_eq!(claim(&db, id, "worker", 1_000).await, None);
    }
    assert!(take_due(&db, 1_000).await.is_empty());
}

#[tokio::test]
async fn a_requeued_run_is_due_after_a_while_with_its_reason() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let id = take_due(&db, 0).await[0].id;
    claim(&db, id, "worker", 1).await.unwrap();
    assert!(finish(&db, id, "worker", JobStatus::Queued, 2).await);
    let queued = only_run(&db).await;
    assert_eq!((queued.status, queued.outcome.as_deref()), (JobStatus::Queued, Some("outcome")));
    assert_eq!((queued.finished_at, queued.attempts), (None, 1));
    assert!(take_due(&db, 61).await.is_empty());
    assert_eq!(take_due(&db, 62).await.len(), 1);
    assert_eq!(claim(&db, id, "worker", 62).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_postponed_run_is_due_later() {
    let db = Db::new().await;
    plan(&db, "2026-11-20", 0).await;
    let id = take_due(&db, 0).await[0].id;
    claim(&db, id, "worker", 1).await.unwrap();
    assert!(finish_and_put_off(&db, id, "worker", JobStatus::Queued, 2, 300).await);
    assert!(take_due(&db, 361).await.is_empty());
    assert_eq!(claim(&db, id, "worker", 200).await, None);
    assert_eq!(take_due(&db, 362).await.len(), 1);
    assert_eq!(claim(&db, id, "worker", 362).await.unwrap().attempts, 1, "counted anew");
}

#[tokio::test]
async fn finished_runs_are_deleted_except_the_newest_key() {
    let db = Db::new().await;
    for key in ["2026-11-18", "2026-11-19", "2026-11-20"] {
        plan(&db, key, 0).await;
        let id = take_due(&db, 0).await[0].id;
        claim(&db, id, "worker", 0).await.unwrap();
        finish(&db, id, "worker", JobStatus::Done, if key == "2026-11-19" { 100 } else { 1 }).await;
    }
    db.write(|tx| jobs::plan(tx, "prune", "2026-11-17", 0, moment(0))).await;
    let forget = |than| db.write(move |tx| jobs::delete_finished(tx, "snapshot", moment(than)));
    assert_eq!(forget(1).await, 0);
    assert_eq!(forget(100).await, 1);
    assert_eq!(forget(101).await, 1);
    let left: Vec<String> =
        db.read(|tx| jobs::page(tx, None, None, 10)).await.into_iter().map(|run| run.key).collect();
    assert_eq!(left, ["2026-11-17", "2026-11-20"]);
    assert!(!plan(&db, "2026-11-20", 200).await, "still known as planned");
}

#[tokio::test]
async fn the_overview_pages_newest_first_and_by_kind() {
    let db = Db::new().await;
    for (kind, key) in [("snapshot", "1"), ("prune", "2"), ("snapshot", "3"), ("snapshot", "4")] {
        db.write(move |tx| jobs::plan(tx, kind, key, 0, moment(0))).await;
    }
    let page = async |kind, before, limit| {
        let runs = db.read(move |tx| jobs::page(tx, kind, before, limit)).await;
        (runs.iter().map(|run| run.key.clone()).collect::<Vec<_>>(), runs.last().map(|run| run.id))
    };
    let (first, last) = page(None, None, 3).await;
    assert_eq!(first, ["4", "3", "2"]);
    assert_eq!(page(None, last, 3).await.0, ["1"]);
    assert_eq!(page(Some("snapshot"), None, 9).await.0, ["4", "3", "1"]);
    assert_eq!(page(Some("unknown"), None, 9).await.0, [""; 0]);
}
