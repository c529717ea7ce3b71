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
async fn tokens_are_found_with_their_owners_by_one_statement() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await, db.user("eve").await);
    let (lasting, expired) = (token(1, sam.id, None), token(2, eve.id, Some(moment(-1))));
    for token in [lasting.clone(), expired.clone(), token(3, eve.id, None)] {
        db.write(move |tx| tokens::insert(tx, token)).await;
    }
    let found = |hashes: Vec<String>| db.query(move |statement| tokens::by_hashes(statement, &hashes));
    assert_eq!(found(vec!["hash 1".into()]).await, [(lasting.clone(), sam.clone())]);
    assert_eq!(found(vec!["hash 4".into()]).await, []);
    assert_eq!(found(Vec::new()).await, []);
    let mut many: Vec<String> = (10..10_000).map(|number| format!("hash {number}")).collect();
    many.extend(["hash 2".into(), "hash 1".into()]);
    let before = db.statements();
    assert_eq!(found(many).await, [(lasting, sam), (expired, eve)]);
    assert_eq!(db.statements() - before, 1);
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
async fn tokens_are_unique_and_have_a_valid_scope() {
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
