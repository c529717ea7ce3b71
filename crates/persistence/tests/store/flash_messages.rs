use persistence::flash_messages::{self, NewFlashMessage};

use crate::harness::{Db, moment};

async fn leave(db: &Db, id: &str, expires: i64, now: i64) {
    let new = NewFlashMessage {
        id_hash: id.into(),
        owner: "sam".into(),
        content: format!("message {id}"),
        expires_at: moment(expires),
    };
    db.write(move |tx| flash_messages::insert(tx, new, moment(now))).await;
}

async fn take(db: &Db, id: &'static str, owner: &'static str, now: i64) -> Option<String> {
    db.write(move |tx| flash_messages::take(tx, id, owner, moment(now))).await
}

#[tokio::test]
async fn a_message_is_taken_once_by_its_owner_until_it_expires() {
    let db = Db::new().await;
    leave(&db, "one", 60, 0).await;
    leave(&db, "two", 60, 0).await;
    assert_eq!(take(&db, "one", "eve", 1).await, None);
    assert_eq!(take(&db, "one", "sam", 59).await.as_deref(), Some("message one"));
    assert_eq!(take(&db, "one", "sam", 59).await, None);
    assert_eq!(take(&db, "two", "sam", 60).await, None);
}

#[tokio::test]
async fn expired_messages_are_deleted_with_new_ones_and_by_the_job() {
    let db = Db::new().await;
    leave(&db, "old", 60, 0).await;
    leave(&db, "new", 120, 60).await;
    assert_eq!(db.write(|tx| flash_messages::delete_expired(tx, moment(60))).await, 0, "it is gone already");
    assert_eq!(db.write(|tx| flash_messages::delete_expired(tx, moment(120))).await, 1);
}
