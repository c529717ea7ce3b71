use domain::{Timestamp, TokenId, UserId};
use persistence::StoreError;
use persistence::tokens::{self, Token};
use uuid::Uuid;

use crate::harness::{Db, moment};

fn token(number: u128, user_id: UserId, expires_at: Option<Timestamp>) -> Token {
    Token {
        id: TokenId(Uuid::from_u128(number)),
        user_id,
        name: "laptop".into(),
        token_hash: format!("hash {number}"),
        scope: "trade".into(),
        created_at: moment(0),
        expires_at,
    }
}

#[tokio::test]
async fn a_token_is_found_with_its_owner_until_it_expires() {
    let db = Db::new().await;
    let sam = db.user("sam").await;
    let (lasting, expiring) = (token(1, sam.id, None), token(2, sam.id, Some(moment(60))));
    for token in [lasting.clone(), expiring.clone()] {
        db.write(move |tx| tokens::insert(tx, token)).await;
    }
    let found = |hash: &'static str, at| db.read(move |tx| tokens::by_hash(tx, hash, moment(at)));
    assert_eq!(found("hash 1", 1_000_000).await, Some((lasting, sam.clone())));
    assert_eq!(found("hash 2", 59).await, Some((expiring, sam)));
    assert_eq!(found("hash 2", 60).await, None);
    assert_eq!(found("hash 3", 0).await, None);
}

#[tokio::test]
async fn a_user_sees_and_deletes_only_their_own_tokens() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    for token in [token(1, sam, Some(moment(-1))), token(2, sam, None), token(3, eve, None)] {
        db.write(move |tx| tokens::insert(tx, token)).await;
    }
    let own = db.read(move |tx| tokens::of_user(tx, sam)).await;
    assert_eq!(own, [token(2, sam, None), token(1, sam, Some(moment(-1)))], "newest first, expired ones too");

    let id = own[0].id;
    assert!(!db.write(move |tx| tokens::delete(tx, eve, id)).await);
    assert!(db.write(move |tx| tokens::delete(tx, sam, id)).await);
    assert_eq!(db.write(move |tx| tokens::delete_all(tx, sam)).await, 1);
    assert_eq!(db.read(move |tx| tokens::of_user(tx, eve)).await.len(), 1);
}

#[tokio::test]
async fn tokens_are_unique_and_their_scope_is_one_that_exists() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    db.write(move |tx| tokens::insert(tx, token(1, sam, None))).await;
    let same_hash = Token { token_hash: "hash 1".into(), ..token(2, sam, None) };
    let same_hash = db.try_write(move |tx| tokens::insert(tx, same_hash)).await;
    assert!(matches!(same_hash, Err(StoreError::Duplicate(_))), "{same_hash:?}");
    let almighty = Token { scope: "almighty".into(), ..token(2, sam, None) };
    let almighty = db.try_write(move |tx| tokens::insert(tx, almighty)).await;
    assert!(matches!(almighty, Err(StoreError::Query(_))), "{almighty:?}");
}
