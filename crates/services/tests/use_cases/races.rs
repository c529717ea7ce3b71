//! Orders that arrive at the same time, in one process and in two.

use chrono::TimeDelta;
use domain::{OrderRejected, PlaceOrder, Side};
use services::trading::PlacedOrder;
use services::{Error, Result, Services};
use tokio::task::JoinSet;

use crate::harness::{Exchange, Investor, order, shares};

/// Places the same order through all processes at once, each in its own task.
async fn at_once(places: Vec<Services>, who: Investor, command: &PlaceOrder) -> Vec<Result<PlacedOrder>> {
    let mut tasks = JoinSet::new();
    for services in places {
        let command = command.clone();
        tasks.spawn(async move { services.trading().place_order(who.control(), command).await });
    }
    tasks.join_all().await
}

fn succeeded(results: &[Result<PlacedOrder>]) -> usize {
    results.iter().filter(|result| result.is_ok()).count()
}

fn only_cash_was_missing(results: &[Result<PlacedOrder>]) -> bool {
    results.iter().all(|result| {
        matches!(result, Ok(_) | Err(Error::OrderRejected(OrderRejected::InsufficientBuyingPower { .. })))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_buys_that_exceed_the_cash_together_succeeds() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "200.00").await;
    let buy = order(Side::Buy, "AAPL", shares("1"));
    let results = at_once(vec![(*exchange).clone(); 2], sam, &buy).await;
    assert_eq!(succeeded(&results), 1, "{results:?}");
    assert!(only_cash_was_missing(&results), "{results:?}");
    assert_eq!(exchange.cash(sam).await, "50.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_buys_in_two_processes_succeeds() {
    let exchange = Exchange::new().await;
    for round in 0..5 {
        let sam = exchange.investor(&format!("sam{round}"), "200.00").await;
        let buy = order(Side::Buy, "AAPL", shares("1"));
        let places = vec![(*exchange).clone(), exchange.another_process()];
        let results = at_once(places, sam, &buy).await;
        assert_eq!(succeeded(&results), 1, "{results:?}");
        assert!(only_cash_was_missing(&results), "{results:?}");
        assert_eq!(exchange.cash(sam).await, "50.00");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_buys_succeed_up_to_the_cash() {
    const PAID_FOR: usize = 4;
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "600.00").await;
    let buy = order(Side::Buy, "AAPL", shares("1"));
    let other = exchange.another_process();
    let places = [(*exchange).clone(), other].into_iter().cycle().take(10 * PAID_FOR).collect();
    let results = at_once(places, sam, &buy).await;
    assert_eq!(succeeded(&results), PAID_FOR, "{results:?}");
    assert!(only_cash_was_missing(&results), "{results:?}");
    assert_eq!(exchange.cash(sam).await, "0.00");
    assert_eq!(exchange.all_orders(sam).await.len(), PAID_FOR);
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_sold_only_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "300.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    let places = vec![(*exchange).clone(), exchange.another_process(), (*exchange).clone()];
    let results = at_once(places, sam, &order(Side::Sell, "AAPL", shares("1"))).await;
    assert_eq!(succeeded(&results), 2, "{results:?}");
    assert_eq!(exchange.cash(sam).await, "300.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_sent_many_times_at_once_is_one_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let buy = PlaceOrder { client_order_id: Some("once".into()), ..order(Side::Buy, "AAPL", shares("1")) };
    let places = vec![(*exchange).clone(), exchange.another_process(), (*exchange).clone()];
    let results: Vec<PlacedOrder> =
        at_once(places, sam, &buy).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|placed| !placed.replayed).count(), 1, "{results:?}");
    assert!(results.iter().all(|placed| placed.order == results[0].order), "{results:?}");
    assert_eq!(exchange.cash(sam).await, "850.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_and_a_buy_cannot_spend_the_same_cash() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "200.00").await;
    exchange.pass(TimeDelta::seconds(1));
    let (bought, paid_out) = tokio::join!(exchange.buy(sam, "AAPL", "1"), exchange.withdraw(sam, "200.00"));
    assert!(bought.is_ok() != paid_out.is_ok(), "{bought:?} {paid_out:?}");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_different_portfolios_do_not_conflict() {
    let exchange = Exchange::new().await;
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let who = exchange.investor(&format!("user{number}"), "300.00").await;
        for services in [(*exchange).clone(), exchange.another_process()] {
            let buy = order(Side::Buy, "AAPL", shares("1"));
            tasks.spawn(async move { services.trading().place_order(who.control(), buy).await });
        }
    }
    let results = tasks.join_all().await;
    assert_eq!(succeeded(&results), 16, "{results:?}");
    exchange.assert_books_balance().await;
}

/// Working orders reserve their cash: of several bids below the market, only those are accepted for which there is
/// cash.
#[tokio::test(flavor = "multi_thread")]
async fn bids_are_accepted_up_to_the_available_cash() {
    const PAID_FOR: usize = 5;
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "700.00").await;
    let bid = crate::harness::gtc(Side::Buy, "AAPL", "1", crate::harness::limit("140"));
    let other = exchange.another_process();
    let places = [(*exchange).clone(), other].into_iter().cycle().take(10 * PAID_FOR).collect();
    let results = at_once(places, sam, &bid).await;
    assert_eq!(succeeded(&results), PAID_FOR, "{results:?}");
    assert!(only_cash_was_missing(&results), "{results:?}");
    assert_eq!(
        (exchange.cash(sam).await, exchange.buying_power(sam).await),
        ("700.00".into(), "0.00".into())
    );
    exchange.assert_books_balance().await;
    exchange.prices.set("AAPL", "139.00");
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.cash(sam).await, "5.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_order_under_the_same_name_is_rejected_by_every_process() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    for round in 0..5 {
        let sam = exchange.investor(&format!("sam{round}"), "1000.00").await;
        let buy = |quantity| crate::harness::called("once", order(Side::Buy, "AAPL", shares(quantity)));
        let (first, second) =
            tokio::join!(exchange.place(sam, buy("1")), other.trading().place_order(sam.control(), buy("2")));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let refused = first.err().or(second.err()).unwrap();
        assert!(matches!(refused, Error::ClientOrderIdReused), "{refused:?}");
        assert_eq!(exchange.all_orders(sam).await.len(), 1);
    }
    exchange.assert_books_balance().await;
}
