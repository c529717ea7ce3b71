use persistence::login_attempts;

use crate::harness::{Db, moment};

#[tokio::test]
async fn failures_are_counted_per_subject() {
    let db = Db::new().await;
    let first = db.write(|tx| login_attempts::lock(tx, "name:sam", moment(0))).await;
    assert_eq!(first, Some((0, moment(0))), "a new subject has no failures");
    db.write(|tx| {
        login_attempts::set(tx, "name:sam", 2, moment(5))?;
        login_attempts::lock(tx, "address:10.0.0.1", moment(6))?;
        login_attempts::set(tx, "address:10.0.0.1", 7, moment(6))
    })
    .await;
    assert_eq!(db.write(|tx| login_attempts::lock(tx, "name:sam", moment(9))).await, Some((2, moment(5))));
    assert_eq!(
        db.write(|tx| login_attempts::lock(tx, "address:10.0.0.1", moment(9))).await,
        Some((7, moment(6)))
    );
}

#[tokio::test]
async fn only_failures_older_than_the_limit_are_deleted() {
    let db = Db::new().await;
    db.write(|tx| {
        login_attempts::lock(tx, "old", moment(0))?;
        login_attempts::lock(tx, "new", moment(10))
    })
    .await;
    assert_eq!(db.write(|tx| login_attempts::delete_older(tx, moment(10))).await, 1);
    assert_eq!(db.write(|tx| login_attempts::lock(tx, "old", moment(20))).await, Some((0, moment(20))));
    assert_eq!(db.write(|tx| login_attempts::lock(tx, "new", moment(20))).await, Some((0, moment(10))));
}

#[tokio::test]
async fn subjects_are_read_without_a_change_and_deleted_one_by_one() {
    let db = Db::new().await;
    assert_eq!(db.read(|tx| login_attempts::get(tx, "a")).await, None);
    db.write(|tx| {
        for subject in ["a", "b"] {
            login_attempts::lock(tx, subject, moment(0))?;
            login_attempts::set(tx, subject, 3, moment(1))?;
        }
        login_attempts::delete(tx, "a")
    })
    .await;
    assert_eq!(db.read(|tx| login_attempts::get(tx, "a")).await, None);
    assert_eq!(db.read(|tx| login_attempts::get(tx, "b")).await, Some((3, moment(1))));
}

#[tokio::test]
async fn few_failures_can_be_deleted_earlier() {
    let db = Db::new().await;
    db.write(|tx| {
        for (subject, failures, at) in [("few", 4, 0), ("many", 5, 0), ("new", 4, 10)] {
            login_attempts::lock(tx, subject, moment(at))?;
            login_attempts::set(tx, subject, failures, moment(at))?;
        }
        Ok(())
    })
    .await;
    assert_eq!(db.write(|tx| login_attempts::delete_few_older(tx, 5, moment(10))).await, 1);
    assert_eq!(db.read(|tx| login_attempts::get(tx, "few")).await, None);
    assert_eq!(db.read(|tx| login_attempts::get(tx, "many")).await, Some((5, moment(0))));
}
