//! Cached portfolio data is never older than the database, whichever process made the change.

use domain::{PlaceOrder, Side, TransactionFilter};
use services::books::portfolios::CashDirection;
use services::{NotFound, Result, Services};

use crate::harness::{Exchange, Investor, assert_not_found, gtc, limit, money, order, shares};

async fn seen(services: &Services, who: Investor) -> Result<impl PartialEq + std::fmt::Debug + use<>> {
    let journal =
        services.books().transactions(who.reference(), TransactionFilter::default(), None, 50).await?;
    Ok((services.books().valuation(who.reference()).await?, journal))
}

#[tokio::test]
async fn changes_by_one_process_show_in_another_immediately() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let other = exchange.another_process();
    let mut before = seen(&other, sam).await.unwrap();
    for step in 0..6 {
        match step {
            0 => drop(exchange.buy(sam, "AAPL", "10").await.unwrap()),
            1 => drop(exchange.sell(sam, "AAPL", "4").await.unwrap()),
            // Only the buying power changes.
            2 => drop(exchange.accepted(sam, gtc(Side::Buy, "MSFT", "2", limit("100.00"))).await),
            3 => {
                let open = exchange.all_orders(sam).await.remove(0).order.id;
                exchange.trading().cancel_order(sam.control(), open).await.unwrap();
            }
            4 => {
                let deposit = exchange.books().move_cash(sam.control(), CashDirection::Deposit, money("5"));
                deposit.await.unwrap();
            }
            _ => {
                let renamed = exchange.books().update_portfolio(sam.control(), Some("Renamed".into()), None);
                renamed.await.unwrap();
            }
        }
        let now = seen(&other, sam).await.unwrap();
        assert_ne!(now, before, "step {step}");
        assert_eq!(now, seen(&exchange.another_process(), sam).await.unwrap(), "step {step}");
        assert_eq!(now, seen(&other, sam).await.unwrap(), "again, step {step}");
        before = now;
    }
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    assert_ne!(seen(&other, sam).await.unwrap(), before, "it is archived");
    exchange.books().delete_portfolio(sam.control()).await.unwrap();
    assert_not_found(NotFound::Portfolio, seen(&other, sam).await);
}

#[tokio::test]
async fn cached_data_is_shown_only_to_its_owner() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let mia = exchange.investor("mia", "1000.00").await;
    for _ in 0..2 {
        seen(&exchange, sam).await.unwrap();
        assert_not_found(NotFound::Portfolio, seen(&exchange, Investor { user: mia.user, ..sam }).await);
    }
}

#[tokio::test]
async fn a_page_of_another_length_is_not_taken_from_the_cache() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    for length in [2, 1, 2] {
        let page =
            exchange.books().transactions(sam.reference(), TransactionFilter::default(), None, length).await;
        let page = page.unwrap();
        assert_eq!((page.items.len(), page.next.is_some()), (length, length == 1));
    }
}

/// The order took all cash; its repetition would be rejected for lack of cash if it were a new order.
#[tokio::test]
async fn a_repeated_order_that_took_all_cash_returns_the_first_one() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1500.00").await;
    let all =
        PlaceOrder { client_order_id: Some("all".to_owned()), ..order(Side::Buy, "AAPL", shares("10")) };
    let first = exchange.place(sam, all.clone()).await.unwrap();
    assert_eq!(exchange.cash(sam).await, "0.00");
    for process in [exchange.another_process(), exchange.another_process()] {
        let again = process.trading().place_order(sam.control(), all.clone()).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.order.order.id, first.order.order.id);
    }
    let smaller = PlaceOrder { size: order(Side::Buy, "AAPL", shares("9")).size, ..all };
    let refused = exchange.place(sam, smaller).await;
    assert!(matches!(refused, Err(services::Error::ClientOrderIdReused)), "{refused:?}");
    exchange.assert_books_balance().await;
}
