use chrono::TimeDelta;
use persistence::tokens;
use services::tokens::Scope;

use crate::harness::{Exchange, assert_not_found, fields};

#[tokio::test]
async fn a_token_stands_for_its_owner_with_its_scope() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (info, token) = exchange.create_token(sam, " laptop ", Scope::default(), None).await.unwrap();
    assert!(token.starts_with("sy_") && token.len() == 67, "{token}");
    assert_eq!((info.name.as_str(), info.scope, info.expires_at), ("laptop", Scope::Trade, None));
    let (owner, scope) = exchange.token_owner(&token).await.unwrap().unwrap();
    assert_eq!((owner.id, scope), (sam, Scope::Trade));
    let (_, reader) = exchange.create_token(sam, "laptop", Scope::Read, None).await.unwrap();
    assert_eq!(exchange.token_owner(&reader).await.unwrap().unwrap().1, Scope::Read);
    for unknown in ["", "sy_", "sy_0000", &token[3..]] {
        assert_eq!(exchange.token_owner(unknown).await.unwrap(), None, "{unknown}");
    }
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_stored() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (_, token) = exchange.create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let rows = exchange.read(move |tx| tokens::of_user(tx, sam)).await;
    assert!(rows[0].token_hash.len() == 64 && !token.contains(&rows[0].token_hash));
    assert_eq!(exchange.token_owner(&format!("sy_{}", rows[0].token_hash)).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_expires() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let end = exchange.clock.wall() + TimeDelta::hours(1);
    let (_, token) = exchange.create_token(sam, "laptop", Scope::Trade, Some(end)).await.unwrap();
    exchange.pass(TimeDelta::minutes(59));
    assert!(exchange.token_owner(&token).await.unwrap().is_some());
    exchange.pass(TimeDelta::minutes(1));
    assert_eq!(exchange.token_owner(&token).await.unwrap(), None);
    // Its owner still sees that it was there.
    assert_eq!(exchange.tokens(sam).await.unwrap()[0].expires_at, Some(end));
}

#[tokio::test]
async fn a_token_needs_a_name_and_an_end_ahead() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let now = exchange.clock.wall();
    let refused = exchange.create_token(sam, " ", Scope::Trade, Some(now)).await;
    assert_eq!(fields(refused), ["name", "expires_at"]);
    assert_eq!(fields(exchange.create_token(sam, &"x".repeat(81), Scope::Trade, None).await), ["name"]);
    assert_eq!(exchange.tokens(sam).await.unwrap(), []);
}

#[tokio::test]
async fn a_user_sees_and_revokes_their_own_tokens() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let (older, _) = exchange.create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (newer, secret) = exchange.create_token(sam, "laptop", Scope::Read, None).await.unwrap();
    exchange.create_token(mia, "phone", Scope::Read, None).await.unwrap();
    assert_eq!(exchange.tokens(sam).await.unwrap(), [newer.clone(), older.clone()]);
    assert_not_found("token", exchange.revoke_token(mia, newer.id).await);
    exchange.revoke_token(sam, newer.id).await.unwrap();
    assert_not_found("token", exchange.revoke_token(sam, newer.id).await);
    assert_eq!(exchange.token_owner(&secret).await.unwrap(), None);
    assert_eq!(exchange.tokens(sam).await.unwrap(), [older]);
}
