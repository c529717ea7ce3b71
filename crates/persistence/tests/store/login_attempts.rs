use persistence::login_attempts;

use crate::harness::{Db, moment};

#[tokio::test]
async fn failures_are_kept_per_subject() {
    let db = Db::new().await;
    let first = db.write(|tx| login_attempts::lock(tx, "name:sam", moment(0))).await;
    assert_eq!(first, Some((0, moment(0))), "somebody new has not failed yet");
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
async fn only_failures_older_than_the_limit_are_forgotten() {
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
