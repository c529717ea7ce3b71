//! A request that moves cash is executed only once under one key, however often it is sent and to whichever process.

use domain::Side;
use futures::future::join_all;
use services::Error;
use services::books::portfolios::CashDirection::{Deposit, Withdrawal};
use services::idempotency::IdempotencyKey;

use super::harness::{Exchange, gtc, limit, money, named};

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(text.parse().unwrap())
}

#[tokio::test]
async fn a_repeated_cash_movement_moves_no_cash() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mia = exchange.investor("mia", "1000.00").await;
    let send = async |who: super::harness::Investor, direction, amount: &str, name: &str| {
        exchange.books().move_cash_once(who.control(), direction, money(amount), key(name)).await
    };
    let first = send(sam, Deposit, "50.00", "one").await.unwrap();
    assert!(!first.replayed);
    let again = send(sam, Deposit, "50.00", "one").await.unwrap();
    assert_eq!((again.replayed, &again.value), (true, &first.value));
    for (direction, amount) in [(Deposit, "50.01"), (Withdrawal, "50.00")] {
        let refused = send(sam, direction, amount, "one").await;
        assert!(matches!(refused, Err(Error::IdempotencyKeyReused)), "{refused:?}");
    }
    // Keys are separate per user, and a rejected request stores no key.
    assert!(!send(mia, Deposit, "50.00", "one").await.unwrap().replayed);
    let refused = send(sam, Withdrawal, "5000.00", "two").await;
    assert!(matches!(refused, Err(Error::InsufficientCash { .. })), "{refused:?}");
    exchange.deposit(sam, "5000.00").await.unwrap();
    assert!(!send(sam, Withdrawal, "5000.00", "two").await.unwrap().replayed);
    assert_eq!((exchange.cash(sam).await, exchange.cash(mia).await), ("1050.00".into(), "1050.00".into()));
    // Without a key, each request is executed.
    exchange.deposit(sam, "1.00").await.unwrap();
    exchange.deposit(sam, "1.00").await.unwrap();
    assert_eq!(exchange.cash(sam).await, "1052.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn simultaneous_identical_requests_are_executed_once() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let sam = exchange.investor("sam", "1000.00").await;
    let send = |index: usize| {
        let services = if index.is_multiple_of(2) { &*exchange } else { &other };
        services.books().move_cash_once(sam.control(), Deposit, money("10.00"), key("burst"))
    };
    let moved: Vec<_> = join_all((0..12).map(send)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(moved.iter().filter(|moved| !moved.replayed).count(), 1);
    assert!(moved.iter().all(|one| one.value == moved[0].value));
    assert_eq!(exchange.cash(sam).await, "1010.00");

    let open = |index: usize| {
        let services = if index.is_multiple_of(2) { &*exchange } else { &other };
        services.books().open_portfolio_once(sam.trader(), named("Second", Some("5.00")), key("open"))
    };
    let opened: Vec<_> = join_all((0..12).map(open)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(opened.iter().filter(|opened| !opened.replayed).count(), 1);
    assert!(opened.iter().all(|one| one.value.id == opened[0].value.id));
    assert_eq!(exchange.books().portfolios(sam.user, false, None, 10).await.unwrap().items.len(), 2);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_repeated_reset_returns_the_portfolio_that_it_opened() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.books().move_cash_once(sam.control(), Deposit, money("1.00"), key("paid")).await.unwrap();
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("10"))).await;
    let reset = async |cash: Option<&str>| {
        exchange.books().reset_portfolio_once(sam.control(), cash.map(money), key("anew")).await
    };
    let first = reset(Some("500.00")).await.unwrap();
    let again = reset(Some("500.00")).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.value.id, again.value.id);
    assert!(matches!(reset(None).await, Err(Error::IdempotencyKeyReused)));
    assert_eq!(exchange.books().portfolios(sam.user, false, None, 10).await.unwrap().items.len(), 1);
    // A repetition of a request from before the portfolio was archived returns its result too.
    let paid = exchange.books().move_cash_once(sam.control(), Deposit, money("1.00"), key("paid")).await;
    assert!(paid.unwrap().replayed);
    exchange.assert_books_balance().await;
}

#[test]
fn a_key_is_short_and_printable() {
    assert!("a".repeat(128).parse::<IdempotencyKey>().is_ok());
    for text in ["", " ", "a b", "a\n", "ä", &"a".repeat(129)] {
        assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
    }
}
