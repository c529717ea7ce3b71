use domain::Timestamp;
use persistence::workers::{self, WorkerRecord};
use persistence::{StoreError, installation, jobs, jobs::JobStatus};

use crate::harness::{Db, moment};

fn worker(name: &str, started: i64, seen: i64) -> WorkerRecord {
    WorkerRecord {
        name: name.to_owned(),
        host: "vm".to_owned(),
        process_id: 7,
        version: "0.1.0".to_owned(),
        mode: "redis".to_owned(),
        started_at: moment(started),
        last_seen_at: moment(seen),
    }
}

async fn beat(db: &Db, record: WorkerRecord, forget_before: i64) {
    db.write(move |tx| workers::beat(tx, &record, moment(forget_before))).await;
}

async fn names_and_heartbeats(db: &Db) -> Vec<(String, Timestamp)> {
    let all = db.read(workers::all).await;
    all.into_iter().map(|worker| (worker.name, worker.last_seen_at)).collect()
}

#[tokio::test]
async fn a_heartbeat_updates_the_workers_row_and_deletes_old_rows() {
    let db = Db::new().await;
    beat(&db, worker("second", 10, 10), 0).await;
    beat(&db, worker("first", 0, 20), 0).await;
    beat(&db, worker("second", 10, 30), 0).await;
    assert_eq!(db.read(workers::all).await, [worker("first", 0, 20), worker("second", 10, 30)]);

    beat(&db, worker("second", 10, 100), 21).await;
    assert_eq!(names_and_heartbeats(&db).await, [("second".to_owned(), moment(100))]);
    assert!(db.write(|tx| workers::remove(tx, "second")).await);
    assert!(!db.write(|tx| workers::remove(tx, "second")).await);
    assert!(names_and_heartbeats(&db).await.is_empty());
}

#[tokio::test]
async fn a_worker_has_a_known_mode() {
    let db = Db::new().await;
    let unknown = WorkerRecord { mode: "x".to_owned(), ..worker("w", 0, 0) };
    let refused = db.try_write(move |tx| workers::beat(tx, &unknown, moment(0))).await;
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
}

#[tokio::test]
async fn the_database_size_grows_with_what_is_written() {
    let db = Db::new().await;
    let before = db.read(installation::database_size).await;
    assert!(before > 0);
    let text = "x".repeat(4 << 20);
    db.write(move |tx| installation::set(tx, "large", &text)).await;
    // PostgreSQL compresses a long text of one letter, so compare only that both are plausible.
    assert!(db.read(installation::database_size).await >= before);
}

#[tokio::test]
async fn runs_are_counted_by_kind_and_status_and_if_overdue_or_failed() {
    let db = Db::new().await;
    let plan = async |kind: &'static str, key: &'static str, at: i64| {
        db.write(move |tx| jobs::plan(tx, kind, key, 0, moment(at))).await;
        db.read(move |tx| jobs::page(tx, Some(kind), None, 1)).await[0].id
    };
    let work = async |id: i64, at: i64, end: Option<JobStatus>, put_off: i64| {
        db.write(move |tx| jobs::claim(tx, id, "w", moment(at - 60), moment(at))).await.unwrap();
        if let Some(status) = end {
            let put_off = chrono::TimeDelta::seconds(put_off);
            let end = jobs::RunEnd { status, outcome: "x".to_owned(), put_off };
            db.write(move |tx| jobs::finish(tx, id, "w", &end, moment(at))).await;
        }
    };
    // Waiting since 0.
    plan("snapshot", "waits", 0).await;
    // Waiting since 500, which is not long.
    plan("snapshot", "new", 500).await;
    // Postponed until 2000.
    let later = plan("snapshot", "put off", 0).await;
    work(later, 10, Some(JobStatus::Queued), 1990).await;
    // Running, without a heartbeat since 20.
    let silent = plan("refresh", "silent", 0).await;
    work(silent, 20, None, 0).await;
    let failed = plan("refresh", "failed", 0).await;
    work(failed, 30, Some(JobStatus::Failed), 0).await;
    let done = plan("refresh", "done", 0).await;
    work(done, 40, Some(JobStatus::Done), 0).await;

    let counts = db.read(jobs::counts).await;
    let counts: Vec<_> =
        counts.iter().map(|(kind, status, n)| (kind.as_str(), status.as_str(), *n)).collect();
    assert_eq!(
        counts,
        [
            ("refresh", "done", 1),
            ("refresh", "failed", 1),
            ("refresh", "running", 1),
            ("snapshot", "queued", 3)
        ]
    );
    let overdue = db.read(|tx| jobs::overdue(tx, moment(300), moment(600))).await;
    assert_eq!(overdue, [("refresh".to_owned(), 1), ("snapshot".to_owned(), 1)]);
    assert_eq!(db.read(|tx| jobs::overdue(tx, moment(300), moment(2600))).await[1].1, 2);
    assert_eq!(db.read(|tx| jobs::failed_since(tx, moment(30))).await, [("refresh".to_owned(), 1)]);
    assert!(db.read(|tx| jobs::failed_since(tx, moment(31))).await.is_empty());
    assert_eq!(db.read(|tx| jobs::newest_done(tx, "refresh")).await.unwrap().key, "done");
    assert!(db.read(|tx| jobs::newest_done(tx, "snapshot")).await.is_none());
}
