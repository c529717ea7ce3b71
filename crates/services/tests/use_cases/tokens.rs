use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::UserId;
use persistence::users::{self, UserChanges};
use persistence::{StoreError, tokens};
use services::accounts::actor::Administrator;
use services::accounts::register::{Account, ProfileChanges};
use services::accounts::tokens::Scope;
use services::{NotFound, Services};

use crate::harness::{Exchange, assert_not_found, fields};

const SECOND: TimeDelta = TimeDelta::seconds(1);
const MOMENT: TimeDelta = TimeDelta::microseconds(1);

async fn owner(services: &Services, token: &str) -> Option<Arc<Account>> {
    services.accounts().token_owner(token).await.unwrap().map(|(account, _)| account)
}

/// Uses the token repeatedly, without advancing the clock, until its owner is as expected.
async fn used_until(services: &Services, token: &str, wanted: impl Fn(Option<&Account>) -> bool) {
    let start = Instant::now();
    while !wanted(owner(services, token).await.as_deref()) {
        assert!(start.elapsed() < Duration::from_secs(20), "the owner never is as wanted");
        tokio::task::yield_now().await;
    }
}

/// Changes an account without a use case, as another program would.
async fn change(exchange: &Exchange, user: UserId, changes: UserChanges) {
    exchange.write(move |tx| users::update(tx, user, changes)).await.unwrap();
}

fn first_name(name: &str) -> UserChanges {
    UserChanges { first_name: Some(name.into()), ..UserChanges::default() }
}

#[tokio::test]
async fn a_token_stands_for_its_owner_with_its_scope() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (info, token) =
        exchange.accounts().create_token(sam, " laptop ", Scope::default(), None).await.unwrap();
    assert!(token.starts_with("sy_") && token.len() == 67, "{token}");
    assert_eq!((info.name.as_str(), info.scope, info.expires_at), ("laptop", Scope::Trade, None));
    let (owner, scope) = exchange.accounts().token_owner(&token).await.unwrap().unwrap();
    assert_eq!((owner.id, scope), (sam, Scope::Trade));
    let (_, reader) = exchange.accounts().create_token(sam, "laptop", Scope::Read, None).await.unwrap();
    assert_eq!(exchange.accounts().token_owner(&reader).await.unwrap().unwrap().1, Scope::Read);
    for unknown in ["", "sy_", "sy_0000", &token[3..]] {
        assert_eq!(exchange.accounts().token_owner(unknown).await.unwrap(), None, "{unknown}");
    }
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_stored() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let rows = exchange.read(move |tx| tokens::of_user(tx, sam)).await;
    assert!(rows[0].token_hash.len() == 64 && !token.contains(&rows[0].token_hash));
    assert_eq!(exchange.accounts().token_owner(&format!("sy_{}", rows[0].token_hash)).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_expires() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let end = exchange.clock.wall() + TimeDelta::hours(1);
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, Some(end)).await.unwrap();
    exchange.pass(TimeDelta::minutes(59));
    assert!(exchange.accounts().token_owner(&token).await.unwrap().is_some());
    exchange.pass(TimeDelta::minutes(1));
    assert_eq!(exchange.accounts().token_owner(&token).await.unwrap(), None);
    // The owner can still see that the token existed.
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap()[0].expires_at, Some(end));
}

#[tokio::test]
async fn a_token_needs_a_name_and_a_future_expiry() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let now = exchange.clock.wall();
    let refused = exchange.accounts().create_token(sam, " ", Scope::Trade, Some(now)).await;
    assert_eq!(fields(refused), ["name", "expires_at"]);
    assert_eq!(
        fields(exchange.accounts().create_token(sam, &"x".repeat(81), Scope::Trade, None).await),
        ["name"]
    );
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap(), []);
}

#[tokio::test]
async fn a_user_sees_and_revokes_their_own_tokens() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let (older, _) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (newer, secret) = exchange.accounts().create_token(sam, "laptop", Scope::Read, None).await.unwrap();
    exchange.accounts().create_token(mia, "phone", Scope::Read, None).await.unwrap();
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap(), [newer.clone(), older.clone()]);
    assert_not_found(NotFound::Token, exchange.accounts().revoke_token(mia, newer.id).await);
    exchange.accounts().revoke_token(sam, newer.id).await.unwrap();
    assert_not_found(NotFound::Token, exchange.accounts().revoke_token(sam, newer.id).await);
    assert_eq!(exchange.accounts().token_owner(&secret).await.unwrap(), None);
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap(), [older]);
}

/// The cost of a confirmation: one statement.
const QUESTION: usize = 1;

#[tokio::test]
async fn tokens_in_use_cost_one_statement_per_second() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let (_, first) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (_, second) = exchange.accounts().create_token(mia, "laptop", Scope::Trade, None).await.unwrap();
    owner(&exchange, &first).await.unwrap();
    owner(&exchange, &second).await.unwrap();
    exchange.pass(SECOND - MOMENT);
    for round in 0..5 {
        let name = format!("Sam {round}");
        change(&exchange, sam, first_name(&name)).await;
        exchange.pass(MOMENT);
        let before = exchange.statements();
        for _ in 0..100 {
            assert!(owner(&exchange, &second).await.is_some());
        }
        // The result shows that the confirmation has come.
        used_until(&exchange, &first, |sam| sam.unwrap().first_name == name).await;
        exchange.pass(SECOND - MOMENT);
        for _ in 0..100 {
            assert!(owner(&exchange, &first).await.is_some() && owner(&exchange, &second).await.is_some());
        }
        assert_eq!(exchange.statements() - before, QUESTION, "{round}");
    }
}

#[tokio::test]
async fn a_token_revoked_elsewhere_ends_within_two_seconds() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (info, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let other = exchange.another_process();
    assert!(owner(&exchange, &token).await.is_some() && owner(&other, &token).await.is_some());
    exchange.accounts().revoke_token(sam, info.id).await.unwrap();
    assert_eq!(owner(&exchange, &token).await, None, "at once where it was revoked");
    assert!(owner(&other, &token).await.is_some(), "the other process has not asked yet");
    exchange.pass(SECOND * 2);
    assert_eq!(owner(&other, &token).await, None);
}

#[tokio::test]
async fn a_constantly_used_token_ends_with_the_next_confirmation() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (info, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let other = exchange.another_process();
    owner(&other, &token).await.unwrap();
    exchange.accounts().revoke_token(sam, info.id).await.unwrap();
    exchange.pass(SECOND);
    used_until(&other, &token, |sam| sam.is_none()).await;
}

#[tokio::test]
async fn changes_of_an_account_show_elsewhere_within_two_seconds() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (_, other_token) = exchange.accounts().create_token(mia, "laptop", Scope::Trade, None).await.unwrap();
    let other = exchange.another_process();
    let both = [&*exchange, &other];
    for services in both {
        owner(services, &token).await.unwrap();
        owner(services, &other_token).await.unwrap();
    }
    let named = ProfileChanges { first_name: Some("Samuel".into()), ..ProfileChanges::default() };
    exchange.accounts().update_profile(sam, named).await.unwrap();
    assert_eq!(owner(&exchange, &token).await.unwrap().first_name, "Samuel");
    exchange.accounts().set_user_flags(&Administrator::operator("ada"), sam, None, Some(true)).await.unwrap();
    assert!(owner(&exchange, &token).await.unwrap().is_admin);
    exchange.pass(SECOND * 2);
    let seen = owner(&other, &token).await.unwrap();
    assert!(seen.is_admin && seen.first_name == "Samuel", "{seen:?}");

    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), sam, Some(true), Some(false))
        .await
        .unwrap_err();
    exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), mia, Some(false), None)
        .await
        .unwrap();
    assert_eq!(owner(&exchange, &other_token).await, None);
    exchange.pass(SECOND * 2);
    assert_eq!(owner(&other, &other_token).await, None);
}

#[tokio::test]
async fn the_tokens_of_an_account_end_with_it() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let (_, closed) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (_, removed) = exchange.accounts().create_token(mia, "laptop", Scope::Trade, None).await.unwrap();
    owner(&exchange, &closed).await.unwrap();
    owner(&exchange, &removed).await.unwrap();
    exchange.accounts().remove_user(&Administrator::operator("ada"), mia).await.unwrap();
    assert_eq!(owner(&exchange, &removed).await, None);
    // The token itself stays: only the account decides.
    change(&exchange, sam, UserChanges { is_active: Some(false), ..UserChanges::default() }).await;
    exchange.pass(SECOND);
    used_until(&exchange, &closed, |sam| sam.is_none()).await;
    assert_eq!(exchange.accounts().tokens(sam).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_expires_without_a_statement() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let end = exchange.clock.wall() + SECOND;
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, Some(end)).await.unwrap();
    owner(&exchange, &token).await.unwrap();
    exchange.pass(SECOND - MOMENT);
    assert!(owner(&exchange, &token).await.is_some());
    exchange.pass(MOMENT);
    assert_eq!(owner(&exchange, &token).await, None);
}

#[tokio::test]
async fn a_token_that_was_unknown_works_as_soon_as_it_exists() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let row = exchange.read(move |tx| tokens::of_user(tx, sam)).await.remove(0);
    let id = row.id;
    exchange.write(move |tx| tokens::delete(tx, sam, id)).await;
    for _ in 0..2 {
        let before = exchange.statements();
        assert_eq!(owner(&exchange, &token).await, None);
        assert_eq!(exchange.statements() - before, QUESTION, "nothing is kept of it");
    }
    exchange.write(move |tx| tokens::insert(tx, row)).await;
    assert!(owner(&exchange, &token).await.is_some());
}

#[tokio::test]
async fn tokens_are_not_accepted_while_the_database_is_silent() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let (_, token) = exchange.accounts().create_token(sam, "laptop", Scope::Trade, None).await.unwrap();
    let (other, connection) = exchange.process_with_one_connection();
    owner(&other, &token).await.unwrap();
    exchange.pass(SECOND - MOMENT);
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let (speak, silence) = mpsc::channel::<()>();
    let silent = tokio::spawn(async move {
        let read: Result<(), StoreError> = connection
            .read(move |_| {
                taken.send(()).unwrap();
                silence.recv().unwrap();
                Ok(())
            })
            .await;
        read.unwrap();
    });
    is_taken.await.unwrap();
    assert!(owner(&other, &token).await.is_some());
    exchange.pass(SECOND);
    assert!(owner(&other, &token).await.is_some(), "asked for in the background");
    exchange.pass(MOMENT);
    let late = tokio::time::timeout(Duration::from_millis(50), owner(&other, &token)).await;
    assert!(late.is_err(), "accepted without an answer: {late:?}");
    speak.send(()).unwrap();
    silent.await.unwrap();
    assert!(owner(&other, &token).await.is_some());
}
