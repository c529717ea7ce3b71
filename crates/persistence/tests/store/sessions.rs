use domain::UserId;
use persistence::StoreError;
use persistence::sessions::{self, NewSession, SessionRow, SessionUpdate};

use crate::harness::{Db, moment};

fn session(key: &str, user_id: Option<UserId>, seen: i64, expires: i64) -> NewSession {
    NewSession {
        key_hash: key.into(),
        user_id,
        state: r#"{"theme":"dark"}"#.into(),
        created_at: moment(0),
        last_seen_at: moment(seen),
        expires_at: moment(expires),
    }
}

fn used(user_id: Option<UserId>, at: i64, until: i64) -> SessionUpdate<'static> {
    SessionUpdate { user_id, state: "{}", last_seen_at: moment(at), expires_at: moment(until) }
}

async fn insert(db: &Db, new: NewSession) {
    db.write(move |tx| sessions::insert(tx, new)).await;
}

fn keys(rows: &[SessionRow]) -> Vec<&str> {
    rows.iter().map(|row| row.key_hash.as_str()).collect()
}

#[tokio::test]
async fn a_session_is_found_by_its_key_until_it_expires() {
    let db = Db::new().await;
    insert(&db, session("key", None, 0, 60)).await;
    let found = db.read(|tx| sessions::by_key(tx, "key", moment(59))).await.unwrap();
    assert_eq!((found.user_id, found.state.as_str()), (None, r#"{"theme":"dark"}"#));
    assert_eq!(db.read(|tx| sessions::by_key(tx, "key", moment(60))).await, None);
    assert_eq!(db.read(|tx| sessions::by_key(tx, "other", moment(0))).await, None);
}

#[tokio::test]
async fn two_sessions_never_share_a_key() {
    let db = Db::new().await;
    insert(&db, session("key", None, 0, 60)).await;
    let second = db.try_write(|tx| sessions::insert(tx, session("key", None, 0, 60))).await;
    assert!(matches!(second, Err(StoreError::Duplicate(_))), "{second:?}");
}

#[tokio::test]
async fn saving_and_touching_extend_the_session() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    insert(&db, session("key", None, 0, 60)).await;
    assert!(db.write(move |tx| sessions::save(tx, "key", &used(Some(sam), 10, 70))).await);
    let saved = db.read(|tx| sessions::by_key(tx, "key", moment(69))).await.unwrap();
    assert_eq!((saved.user_id, saved.state.as_str()), (Some(sam), "{}"));
    assert_eq!((saved.created_at, saved.last_seen_at), (moment(0), moment(10)));

    db.write(|tx| sessions::touch(tx, "key", moment(20), moment(80))).await;
    assert!(db.read(|tx| sessions::by_key(tx, "key", moment(79))).await.is_some());
    assert!(!db.write(|tx| sessions::save(tx, "gone", &used(None, 0, 9))).await);
}

#[tokio::test]
async fn a_user_sees_and_ends_only_their_own_live_sessions() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    insert(&db, session("old", Some(sam), 1, 60)).await;
    insert(&db, session("new", Some(sam), 2, 60)).await;
    insert(&db, session("expired", Some(sam), 3, 10)).await;
    insert(&db, session("eves", Some(eve), 4, 60)).await;
    let own = db.read(move |tx| sessions::of_user(tx, sam, moment(10))).await;
    assert_eq!(keys(&own), ["new", "old"]);

    let id = own[0].id;
    assert!(!db.write(move |tx| sessions::delete_of_user(tx, eve, id)).await);
    assert!(db.write(move |tx| sessions::delete_of_user(tx, sam, id)).await);
    assert!(!db.write(move |tx| sessions::delete_of_user(tx, sam, id)).await);
    assert_eq!(keys(&db.read(move |tx| sessions::of_user(tx, sam, moment(10))).await), ["old"]);
}

#[tokio::test]
async fn all_other_sessions_of_a_user_can_be_ended() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    for key in ["one", "two", "three"] {
        insert(&db, session(key, Some(sam), 0, 60)).await;
    }
    insert(&db, session("eves", Some(eve), 0, 60)).await;
    insert(&db, session("anonymous", None, 0, 60)).await;
    assert_eq!(db.write(move |tx| sessions::delete_others(tx, sam, Some("two"))).await, 2);
    assert_eq!(keys(&db.read(move |tx| sessions::of_user(tx, sam, moment(0))).await), ["two"]);
    assert_eq!(db.write(move |tx| sessions::delete_others(tx, sam, None)).await, 1);
    db.write(|tx| sessions::delete_by_key(tx, "eves")).await;
    assert_eq!(db.count("sessions"), 1);
}

#[tokio::test]
async fn only_expired_sessions_are_deleted() {
    let db = Db::new().await;
    insert(&db, session("past", None, 0, 59)).await;
    insert(&db, session("now", None, 0, 60)).await;
    insert(&db, session("live", None, 0, 61)).await;
    assert_eq!(db.write(|tx| sessions::delete_expired(tx, moment(60))).await, 2);
    assert!(db.read(|tx| sessions::by_key(tx, "live", moment(60))).await.is_some());
}

#[tokio::test]
async fn only_live_sessions_of_open_accounts_have_an_owner() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    for (key, user, ends) in
        [("sams", Some(sam), 60), ("late", Some(sam), 50), ("eves", Some(eve), 60), ("nobodys", None, 60)]
    {
        insert(&db, session(key, user, 0, ends)).await;
    }
    let owners = async || {
        let keys = ["sams", "late", "eves", "nobodys", "unknown"].map(str::to_owned);
        db.query(move |statement| sessions::owners(statement, &keys, moment(50))).await
    };
    assert_eq!(owners().await, [("sams".to_owned(), sam), ("eves".to_owned(), eve)]);
    let closed = persistence::users::UserChanges { is_active: Some(false), ..Default::default() };
    db.write(move |tx| persistence::users::update(tx, eve, closed)).await;
    assert_eq!(owners().await, [("sams".to_owned(), sam)]);
}
