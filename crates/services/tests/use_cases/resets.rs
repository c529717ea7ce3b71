//! The reset of a portfolio, and what remains of the archived one.

use chrono::TimeDelta;
use domain::{Attached, PlaceOrder, PortfolioRef, ReplaceOrder, Side, StopLoss};
use services::Error;
use services::accounts::actor::Trader;
use services::books::portfolios::CashDirection;
use services::books::snapshots::IdRange;

use crate::harness::{Exchange, Investor, day, fields, gtc, limit, money, order, price, shares, stop};

/// A user with shares, a working buy, a working sell, and an entry with a held exit.
async fn busy(exchange: &Exchange) -> Investor {
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("390"))).await;
    exchange.accepted(sam, gtc(Side::Sell, "AAPL", "4", stop("140"))).await;
    let attached = Attached::OtoStopLoss { stop_loss: StopLoss { stop: price("90"), limit: None } };
    exchange.accepted(sam, PlaceOrder { attached, ..gtc(Side::Buy, "AAPL", "1", limit("100")) }).await;
    exchange.pass(TimeDelta::seconds(1));
    sam
}

#[tokio::test]
async fn a_reset_ends_open_orders_keeps_the_history_and_opens_a_new_portfolio() {
    let exchange = Exchange::new().await;
    let sam = busy(&exchange).await;
    let rename = exchange.books().update_portfolio(sam.control(), Some("Run 1".into()), Some("Tech".into()));
    rename.await.unwrap();
    assert_eq!(exchange.buying_power(sam).await, "8010.00");
    let journal = exchange.journal(sam).await;

    let new = exchange.books().reset_portfolio(sam.control(), Some(money("500"))).await.unwrap();
    assert_eq!((new.name.as_str(), new.description.as_str()), ("Run 1", "Tech"));
    assert_eq!((new.cash_balance.clone(), new.buying_power.clone()), (money("500"), money("500")));
    assert_eq!((new.created_at, new.archived_at), (exchange.now(), None));
    let fresh = Investor { portfolio: new.id, ..sam };
    assert_eq!(exchange.journal(fresh).await.len(), 1);
    assert_eq!(exchange.all_orders(fresh).await, []);

    let old = exchange.books().portfolio(sam.reference()).await.unwrap();
    assert_eq!(old.archived_at, Some(exchange.now()));
    assert_eq!((old.cash_balance, old.buying_power), (money("8500"), money("8500")), "nothing is kept");
    assert_eq!(exchange.journal(sam).await, journal);
    let orders = exchange.all_orders(sam).await;
    assert_eq!(orders.len(), 5);
    for one in &orders {
        assert!(!one.order.status.is_open(), "{one:?}");
        assert!(one.order.reserved_cash.is_zero() && one.order.reserved_quantity.is_zero(), "{one:?}");
    }
    assert_eq!(exchange.books().valuation(sam.reference()).await.unwrap().valuation.holdings.len(), 1);
    let listed = async |archived| {
        let page = exchange.books().portfolios(sam.user, archived, None, 10).await.unwrap().items;
        page.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!((listed(false).await, listed(true).await), (vec![new.id], vec![sam.portfolio]));
    // The price at which a stop would have filled has no effect.
    exchange.prices.set("AAPL", "80.00");
    exchange.pass(TimeDelta::minutes(5));
    assert_eq!(exchange.trading().match_orders().await.unwrap().working, 0);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_archived_portfolio_is_read_only() {
    let exchange = Exchange::new().await;
    let sam = busy(&exchange).await;
    let open = exchange.all_orders(sam).await[0].order.id;
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    let (user, id) = (sam.user, sam.portfolio);
    let is_archived = |error: Error| assert!(matches!(error, Error::Archived), "{error:?}");
    is_archived(exchange.buy(sam, "AAPL", "1").await.unwrap_err());
    is_archived(exchange.sell(sam, "AAPL", "1").await.unwrap_err());
    is_archived(
        exchange
            .trading()
            .preview_order(PortfolioRef::new(user, id), order(Side::Buy, "AAPL", shares("1")))
            .await
            .unwrap_err(),
    );
    is_archived(
        exchange.trading().cancel_order(Trader::on_behalf_of(user).portfolio(id), open).await.unwrap_err(),
    );
    is_archived(
        exchange
            .trading()
            .replace_order(Trader::on_behalf_of(user).portfolio(id), open, ReplaceOrder::default())
            .await
            .unwrap_err(),
    );
    for direction in [CashDirection::Deposit, CashDirection::Withdrawal] {
        is_archived(
            exchange
                .books()
                .move_cash(Trader::on_behalf_of(user).portfolio(id), direction, money("1"))
                .await
                .unwrap_err(),
        );
    }
    is_archived(
        exchange.books().reset_portfolio(Trader::on_behalf_of(user).portfolio(id), None).await.unwrap_err(),
    );
    is_archived(
        exchange
            .books()
            .update_portfolio(Trader::on_behalf_of(user).portfolio(id), Some("Other".into()), None)
            .await
            .unwrap_err(),
    );
    exchange.trading().order(PortfolioRef::new(user, id), open).await.unwrap();
    exchange.books().composition(PortfolioRef::new(user, id)).await.unwrap();
    exchange.measured(sam, services::books::performance::Window::default()).await;
    exchange.books().delete_portfolio(Trader::on_behalf_of(user).portfolio(id)).await.unwrap();
    assert_eq!(exchange.books().portfolios(user, true, None, 10).await.unwrap().items, []);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_reset_accepts_the_default_cash_or_zero_but_not_less() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10.00").await;
    let refused = exchange.books().reset_portfolio(sam.control(), Some(money("-0.01"))).await;
    assert_eq!(fields(refused), ["cash_balance"]);
    let usual = exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    assert_eq!(&usual.cash_balance, exchange.books().starting_cash());
    let empty =
        exchange.books().reset_portfolio(sam.trader().portfolio(usual.id), Some(money("0"))).await.unwrap();
    assert_eq!(exchange.journal(Investor { portfolio: empty.id, ..sam }).await, []);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_archived_portfolio_gets_the_row_of_its_last_session_and_no_further_ones() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    for date in ["2026-11-20", "2026-11-21", "2026-11-22"] {
        exchange.prices.set_close("AAPL", day(date), "155.00");
    }
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    exchange.at("2026-11-21T19:00:00Z");
    let new = exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    exchange.books().take_snapshots(day("2026-11-21"), IdRange::ALL, |_| true).await.unwrap();
    exchange.at("2026-11-23T05:15:00Z");
    exchange.work().await;
    let dates = async |who: Investor| {
        exchange.rows(who).await.into_iter().map(|row| row.date.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(dates(sam).await, ["2026-11-20"]);
    assert_eq!(dates(Investor { portfolio: new.id, ..sam }).await, ["2026-11-21", "2026-11-22"]);
    exchange.assert_books_balance().await;
}

/// An order is either in the books before the reset and ended by it, or it is rejected.
#[tokio::test(flavor = "multi_thread")]
async fn orders_during_a_reset_are_ended_or_rejected() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    for round in 0..8 {
        let sam = exchange.investor(&format!("sam{round}"), "10000.00").await;
        let bid = gtc(Side::Buy, "AAPL", "1", limit("100"));
        let (first, second, reset, third, again) = tokio::join!(
            exchange.place(sam, bid.clone()),
            other.trading().place_order(sam.control(), bid.clone()),
            exchange.books().reset_portfolio(sam.control(), None),
            other.trading().place_order(sam.control(), bid.clone()),
            other.books().reset_portfolio(sam.control(), None),
        );
        assert!(reset.is_ok() != again.is_ok(), "{reset:?} {again:?}");
        for placed in [first, second, third] {
            match placed {
                Ok(placed) => {
                    let order = exchange.look(sam, placed.order.order.id).await;
                    assert_eq!(order.status, domain::OrderStatus::Canceled);
                }
                Err(error) => assert!(matches!(error, Error::Archived), "{error:?}"),
            }
        }
        assert_eq!(exchange.buying_power(sam).await, "10000.00");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn reserved_cash_cannot_be_withdrawn() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let bid = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "6", limit("100"))).await;
    assert_eq!(
        (exchange.cash(sam).await, exchange.buying_power(sam).await),
        ("1000.00".into(), "400.00".into())
    );
    match exchange.withdraw(sam, "400.01").await {
        Err(Error::InsufficientCash { required, available }) => {
            assert_eq!((required, available), (money("400.01"), money("400.00")));
        }
        other => panic!("{other:?}"),
    }
    exchange.withdraw(sam, "400.00").await.unwrap();
    exchange.deposit(sam, "5.00").await.unwrap();
    assert_eq!(exchange.buying_power(sam).await, "5.00");
    exchange.trading().cancel_order(sam.control(), bid).await.unwrap();
    exchange.withdraw(sam, "605.00").await.unwrap();
    assert_eq!(exchange.cash(sam).await, "0.00");
    exchange.assert_books_balance().await;
}

/// A process whose clock is behind renames the portfolio; the journal must not run backwards because of that.
#[tokio::test]
async fn a_rename_does_not_turn_the_journal_back() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.pass(TimeDelta::seconds(10));
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.pass(TimeDelta::seconds(-5));
    exchange.books().update_portfolio(sam.control(), Some("Other".into()), None).await.unwrap();
    exchange.deposit(sam, "1").await.unwrap();
    exchange.assert_books_balance().await;
}
