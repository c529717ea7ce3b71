use chrono::TimeDelta;
use domain::UserId;
use persistence::sessions;

use services::NotFound;

use crate::harness::{Exchange, assert_not_found};

const HOUR: TimeDelta = TimeDelta::hours(1);

async fn start(exchange: &Exchange, user: Option<UserId>) -> String {
    exchange.accounts().create_session(user, r#"{"theme":"dark"}"#.into(), HOUR).await.unwrap()
}

#[tokio::test]
async fn a_session_keeps_its_values_until_it_expires_or_ends() {
    let exchange = Exchange::new().await;
    let key = start(&exchange, None).await;
    exchange.pass(HOUR - TimeDelta::microseconds(1));
    assert_eq!(exchange.accounts().load_session(&key).await.unwrap().unwrap(), r#"{"theme":"dark"}"#);
    exchange.pass(TimeDelta::microseconds(1));
    assert_eq!(exchange.accounts().load_session(&key).await.unwrap(), None);
    assert_eq!(exchange.accounts().load_session("nobody's key").await.unwrap(), None);

    let key = start(&exchange, None).await;
    exchange.accounts().end_session(&key).await.unwrap();
    assert_eq!(exchange.accounts().load_session(&key).await.unwrap(), None);
    assert!(!exchange.accounts().update_session(&key, None, "{}".into(), HOUR).await.unwrap());
}

#[tokio::test]
async fn only_the_hash_of_a_key_is_stored() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let key = start(&exchange, Some(sam)).await;
    let now = exchange.clock.wall();
    let rows = exchange.read(move |tx| sessions::of_user(tx, sam, now)).await;
    assert_eq!((key.len(), rows[0].key_hash.len()), (64, 64));
    assert_ne!(rows[0].key_hash, key);
    // The hash from a copy of the table is not a valid key.
    assert_eq!(exchange.accounts().load_session(&rows[0].key_hash).await.unwrap(), None);
    assert_ne!(start(&exchange, Some(sam)).await, key);
}

#[tokio::test]
async fn updating_changes_the_values_and_extends_the_session() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let key = start(&exchange, None).await;
    exchange.pass(HOUR / 2);
    assert!(exchange.accounts().update_session(&key, Some(sam), "{}".into(), HOUR).await.unwrap());
    exchange.pass(HOUR - TimeDelta::seconds(1));
    assert_eq!(exchange.accounts().load_session(&key).await.unwrap().unwrap(), "{}");
    assert_eq!(exchange.accounts().sessions(sam, Some(key)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_expired_session_does_not_come_back() {
    let exchange = Exchange::new().await;
    let key = start(&exchange, None).await;
    exchange.pass(HOUR);
    assert!(!exchange.accounts().update_session(&key, None, "{}".into(), HOUR).await.unwrap());
    exchange.accounts().prolong_session(&key, HOUR).await.unwrap();
    assert_eq!(exchange.accounts().load_session(&key).await.unwrap(), None);
}

#[tokio::test]
async fn the_use_of_a_session_is_written_once_per_hour() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let key = exchange.accounts().create_session(Some(sam), "{}".into(), TimeDelta::days(1)).await.unwrap();
    let started = exchange.clock.wall();
    let seen = async || exchange.accounts().sessions(sam, None).await.unwrap()[0].last_seen_at;
    exchange.pass(HOUR - TimeDelta::seconds(1));
    exchange.accounts().prolong_session(&key, TimeDelta::days(1)).await.unwrap();
    assert_eq!(seen().await, started);
    exchange.pass(TimeDelta::seconds(1));
    exchange.accounts().prolong_session(&key, TimeDelta::days(1)).await.unwrap();
    assert_eq!(seen().await, started + HOUR);
    exchange.pass(TimeDelta::hours(23));
    assert!(exchange.accounts().load_session(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_user_sees_and_ends_their_own_live_sessions() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let phone = start(&exchange, Some(sam)).await;
    start(&exchange, Some(mia)).await;
    exchange.pass(HOUR / 2);
    let laptop = start(&exchange, Some(sam)).await;
    let listed = exchange.accounts().sessions(sam, Some(laptop.clone())).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.is_current).collect::<Vec<_>>(), [true, false]);
    assert_eq!(listed[0].created_at, exchange.clock.wall());

    assert_not_found(NotFound::Session, exchange.accounts().revoke_session(mia, listed[1].id).await);
    exchange.accounts().revoke_session(sam, listed[1].id).await.unwrap();
    assert_not_found(NotFound::Session, exchange.accounts().revoke_session(sam, listed[1].id).await);
    assert_eq!(exchange.accounts().load_session(&phone).await.unwrap(), None);
    assert!(exchange.accounts().load_session(&laptop).await.unwrap().is_some());
    exchange.pass(HOUR);
    assert_eq!(exchange.accounts().sessions(sam, None).await.unwrap(), []);
}
