//! A connection beside the pool, like the one of the order desk.

use std::sync::mpsc;
use std::time::Duration;

use persistence::{DatabaseUrl, Lane, StoreError, installation, users};

use crate::harness::{Db, connect, new_user};

/// Runs `work` on a separate thread outside the async runtime, like the desk's.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| std::thread::spawn(work).join().unwrap()).await.unwrap()
}

fn insert(lane: &mut Lane, name: &str) -> Result<(), StoreError> {
    let new = new_user(name, &format!("{name}@example.com"));
    lane.write(|tx| users::insert(tx, new).map(drop))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_commits_writes_and_rolls_failures_back() {
    let db = Db::new().await;
    let mut lane = db.store().lane();
    beside(move || {
        insert(&mut lane, "sam").unwrap();
        let failed: Result<(), StoreError> = lane.write(|tx| {
            installation::set(tx, "clock", "set")?;
            users::insert(tx, new_user("SAM", "other@example.com")).map(drop)
        });
        assert!(matches!(failed, Err(StoreError::Duplicate(_))), "{failed:?}");
        insert(&mut lane, "eve").unwrap();
    })
    .await;
    assert_eq!((db.count("users"), db.count("installation")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_reports_a_write_as_done_only_after_its_commit() {
    let db = Db::new().await;
    let mut lane = db.store().lane();
    let done = beside(move || {
        insert(&mut lane, "sam").unwrap();
        let done: Result<(), StoreError> = lane.write(|tx| {
            installation::set(tx, "clock", "set")?;
            // Ignores an error of the database and continues.
            let _ = users::insert(tx, new_user("sam", "other@example.com"));
            Ok(())
        });
        insert(&mut lane, "eve").unwrap();
        done
    })
    .await;
    let kept = db.read(|tx| installation::get(tx, "clock")).await;
    assert_eq!(done.is_ok(), kept.is_some(), "answered {done:?}, kept {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_a_lane_is_rolled_back_and_blocks_no_writer() {
    let db = Db::new().await;
    let mut lane = db.store().lane();
    let other = db.store();
    for name in ["sam", "eve"] {
        lane = beside(move || {
            let work = std::panic::AssertUnwindSafe(|| {
                lane.write(|tx| -> Result<(), StoreError> {
                    users::insert(tx, new_user(name, "bug@example.com"))?;
                    panic!("as a bug would");
                })
            });
            std::panic::catch_unwind(work).unwrap_err();
            lane
        })
        .await;
        // Neither the writer's turn nor a lock of the database is still held.
        let written: Result<(), StoreError> = other
            .write(move |tx| users::insert(tx, new_user(name, &format!("{name}@example.com"))).map(drop))
            .await;
        written.unwrap();
    }
    beside(move || insert(&mut lane, "kim").unwrap()).await;
    assert_eq!(db.count("users"), 3);
}

/// Connections cannot be cut on SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_reconnects_after_its_connection_was_cut() {
    let db = Db::new().await;
    let url = db.url();
    if matches!(url, DatabaseUrl::Sqlite(_)) {
        return;
    }
    let mut lane = db.store().lane();
    beside(move || {
        let cut = move || {
            connect(&url)
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                .unwrap();
        };
        let cut_in_work = cut.clone();
        insert(&mut lane, "sam").unwrap();
        // While it is idle: no statement was sent yet, so a new connection replaces the old one.
        cut();
        insert(&mut lane, "eve").unwrap();
        // In the middle of a transaction.
        let cut = cut_in_work.clone();
        let failed: Result<(), StoreError> = lane.write(move |tx| {
            users::insert(tx, new_user("kim", "kim@example.com"))?;
            cut();
            users::insert(tx, new_user("mia", "mia@example.com")).map(drop)
        });
        assert!(failed.is_err(), "{failed:?}");
        // Just before the end.
        let failed: Result<(), StoreError> = lane.write(move |tx| {
            users::insert(tx, new_user("kim", "kim@example.com"))?;
            cut_in_work();
            Ok(())
        });
        assert!(failed.is_err(), "{failed:?}");
        insert(&mut lane, "mia").unwrap();
    })
    .await;
    assert_eq!(db.count("users"), 3);
    assert_eq!(db.count("users WHERE username = 'kim'"), 0);
}

/// SQLite has one writer; the writers of this process take turns instead of waiting for its lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_waits_for_its_turn_to_write() {
    let db = Db::new().await;
    let one_writer = matches!(db.url(), DatabaseUrl::Sqlite(_));
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let store = db.store();
    let first = tokio::spawn(async move {
        store
            .write(move |tx| -> Result<(), StoreError> {
                installation::set(tx, "clock", "first")?;
                locked.send(()).unwrap();
                may_go_on.recv().unwrap();
                Ok(())
            })
            .await
    });
    is_locked.await.unwrap();
    let mut lane = db.store().lane();
    let (done, is_done) = mpsc::channel();
    let second = std::thread::spawn(move || {
        insert(&mut lane, "sam").unwrap();
        done.send(()).unwrap();
    });
    let early = is_done.recv_timeout(Duration::from_millis(if one_writer { 300 } else { 20_000 }));
    assert_eq!(early.is_err(), one_writer, "only on SQLite there is somebody to wait for");
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    tokio::task::spawn_blocking(|| second.join().unwrap()).await.unwrap();
    assert_eq!((db.count("users"), db.count("installation")), (1, 1));
}
