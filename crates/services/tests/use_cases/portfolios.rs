use chrono::TimeDelta;
use domain::{OrderFilter, PortfolioId, PortfolioRef, Side, TransactionFilter, TransactionType, UserId};
use services::accounts::actor::Trader;
use services::books::performance::Window;
use services::books::portfolios::{CashDirection, OpenPortfolio};
use services::{Error, NotFound};

use crate::harness::{Exchange, Investor, assert_not_found, fields, money, named, order, shares};

#[tokio::test]
async fn starting_cash_is_the_first_deposit() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "2500.50").await;
    let journal = exchange.journal(sam).await;
    assert_eq!(exchange.cash(sam).await, "2500.50");
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].transaction_type, TransactionType::Deposit);
    assert_eq!((journal[0].amount.clone(), journal[0].timestamp), (money("2500.50"), exchange.now()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_portfolio_starts_with_no_cash_or_the_default() {
    let exchange = Exchange::new().await;
    let user = exchange.user("sam").await;
    let empty = Investor { user, portfolio: exchange.open(user, "0").await };
    assert_eq!(exchange.cash(empty).await, "0.00");
    assert_eq!(exchange.journal(empty).await, []);
    let usual =
        exchange.books().open_portfolio(Trader::on_behalf_of(user), named("Usual", None)).await.unwrap();
    assert_eq!(&usual.cash_balance, exchange.books().starting_cash());
    assert_eq!(usual.cash_balance.to_string(), "100000.00");
}

#[tokio::test]
async fn opening_reports_all_invalid_fields_together() {
    let exchange = Exchange::new().await;
    let user = exchange.user("sam").await;
    let refused =
        OpenPortfolio { name: " ".into(), description: "x".repeat(501), cash_balance: Some(money("-0.01")) };
    assert_eq!(
        fields(exchange.books().open_portfolio(Trader::on_behalf_of(user), refused).await),
        ["name", "description", "cash_balance"]
    );
    assert_eq!(
        fields(exchange.books().open_portfolio(Trader::on_behalf_of(user), named("two\nlines", None)).await),
        ["name"]
    );
    assert_eq!(
        fields(
            exchange.books().open_portfolio(Trader::on_behalf_of(user), named(&"x".repeat(81), None)).await
        ),
        ["name"]
    );
    assert_not_found(
        NotFound::User,
        exchange.books().open_portfolio(Trader::on_behalf_of(UserId(99)), named("Growth", None)).await,
    );
    assert_eq!(exchange.books().portfolios(user, false, None, 10).await.unwrap().items, []);
}

#[tokio::test]
async fn a_user_has_a_hundred_portfolios_at_most() {
    let exchange = Exchange::new().await;
    let user = exchange.user("sam").await;
    for _ in 0..100 {
        exchange.open(user, "0").await;
    }
    let one_more = exchange.books().open_portfolio(Trader::on_behalf_of(user), named("Growth", None)).await;
    assert!(matches!(one_more, Err(Error::TooManyPortfolios(100))));
    let first = exchange.books().portfolios(user, false, None, 1).await.unwrap().items.remove(0);
    exchange.books().delete_portfolio(Trader::on_behalf_of(user).portfolio(first.id)).await.unwrap();
    assert!(exchange.books().open_portfolio(Trader::on_behalf_of(user), named("Growth", None)).await.is_ok());
}

#[tokio::test]
async fn portfolios_are_paged_in_the_order_of_opening() {
    let exchange = Exchange::new().await;
    let user = exchange.user("sam").await;
    exchange.investor("mia", "1").await;
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(exchange.open(user, "0").await);
    }
    let ids = |page: &services::Page<services::books::portfolios::PortfolioSummary, PortfolioId>| {
        page.items.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let first = exchange.books().portfolios(user, false, None, 2).await.unwrap();
    assert_eq!((ids(&first), first.next), (opened[..2].to_vec(), Some(opened[1])));
    let rest = exchange.books().portfolios(user, false, first.next, 3).await.unwrap();
    assert_eq!((ids(&rest), rest.next), (opened[2..].to_vec(), None));
}

#[tokio::test]
async fn an_update_changes_only_name_and_description() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10").await;
    exchange.pass(TimeDelta::hours(1));
    let rename = async |name: Option<&str>, text: Option<&str>| {
        let (name, text) = (name.map(str::to_owned), text.map(str::to_owned));
        exchange.books().update_portfolio(sam.control(), name, text).await
    };
    let renamed = rename(Some(" Income "), None).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.description.as_str()), ("Income", ""));
    assert_eq!((renamed.updated_at, renamed.cash_balance.clone()), (exchange.now(), money("10")));
    let described = rename(None, Some("Dividends")).await.unwrap();
    assert_eq!((described.name.as_str(), described.description.as_str()), ("Income", "Dividends"));
    assert_eq!(fields(rename(Some(""), Some(&"x".repeat(501))).await), ["name", "description"]);
    assert_eq!(exchange.books().portfolio(sam.reference()).await.unwrap(), described);
}

#[tokio::test]
async fn a_deleted_portfolio_is_removed_with_its_contents() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000").await;
    let kept = Investor { portfolio: exchange.open(sam.user, "1000").await, ..sam };
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.buy(kept, "AAPL", "1").await.unwrap();
    exchange.books().delete_portfolio(sam.control()).await.unwrap();
    assert_not_found(NotFound::Portfolio, exchange.books().portfolio(sam.reference()).await);
    assert_not_found(NotFound::Portfolio, exchange.books().delete_portfolio(sam.control()).await);
    assert_eq!(exchange.read(persistence::transactions::count).await, 2);
    assert_eq!(exchange.cash(kept).await, "850.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn cash_is_deposited_and_withdrawn() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    exchange.pass(TimeDelta::seconds(1));
    let paid_in = exchange.deposit(sam, "0.01").await.unwrap();
    assert_eq!(
        (paid_in.transaction_type, paid_in.amount, paid_in.timestamp),
        (TransactionType::Deposit, money("0.01"), exchange.now())
    );
    let paid_out = exchange.withdraw(sam, "100.01").await.unwrap();
    assert_eq!((paid_out.transaction_type, paid_out.amount), (TransactionType::Withdrawal, money("-100.01")));
    assert_eq!(exchange.cash(sam).await, "0.00");
    assert_eq!(exchange.journal(sam).await.len(), 3);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn withdrawing_more_than_the_cash_is_rejected() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    match exchange.withdraw(sam, "100.01").await {
        Err(Error::InsufficientCash { required, available }) => {
            assert_eq!((required, available), (money("100.01"), money("100.00")));
        }
        other => panic!("{other:?}"),
    }
    for direction in [CashDirection::Deposit, CashDirection::Withdrawal] {
        for amount in ["0", "-5"] {
            let refused = exchange.books().move_cash(sam.control(), direction, money(amount)).await;
            assert_eq!(fields(refused), ["amount"]);
        }
    }
    assert_eq!(exchange.journal(sam).await.len(), 1);
}

#[tokio::test]
async fn a_portfolio_holds_at_most_a_quadrillion() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "0").await;
    exchange.deposit(sam, "999999999999999.99").await.unwrap();
    assert_eq!(fields(exchange.deposit(sam, "0.02").await), ["amount"]);
    exchange.deposit(sam, "0.01").await.unwrap();
    assert_eq!(exchange.cash(sam).await, "1000000000000000.00");
    exchange.assert_books_balance().await;
}

/// Every operation that takes a portfolio's id.
#[tokio::test]
async fn another_users_portfolio_is_not_found() {
    let exchange = Exchange::new().await;
    let mia = exchange.investor("mia", "1000").await;
    let placed = exchange.buy(mia, "AAPL", "1").await.unwrap().order.order;
    let books = (exchange.journal(mia).await, exchange.books().portfolio(mia.reference()).await.unwrap());
    let calls = exchange.prices.calls();

    let sam = exchange.user("sam").await;
    for id in [mia.portfolio, PortfolioId(0), PortfolioId(i64::MAX)] {
        let missing = NotFound::Portfolio;
        let buy = || order(Side::Buy, "AAPL", shares("1"));
        assert_not_found(missing, exchange.books().portfolio(PortfolioRef::new(sam, id)).await);
        assert_not_found(
            missing,
            exchange
                .books()
                .update_portfolio(Trader::on_behalf_of(sam).portfolio(id), Some("Mine".into()), None)
                .await,
        );
        assert_not_found(
            missing,
            exchange.books().delete_portfolio(Trader::on_behalf_of(sam).portfolio(id)).await,
        );
        for direction in [CashDirection::Deposit, CashDirection::Withdrawal] {
            assert_not_found(
                missing,
                exchange
                    .books()
                    .move_cash(Trader::on_behalf_of(sam).portfolio(id), direction, money("1"))
                    .await,
            );
        }
        assert_not_found(missing, exchange.trading().preview_order(PortfolioRef::new(sam, id), buy()).await);
        assert_not_found(missing, exchange.trading().order(PortfolioRef::new(sam, id), placed.id).await);
        assert_not_found(
            missing,
            exchange.trading().orders(PortfolioRef::new(sam, id), OrderFilter::default(), None, 10).await,
        );
        assert_not_found(missing, exchange.books().valuation(PortfolioRef::new(sam, id)).await);
        assert_not_found(missing, exchange.books().composition(PortfolioRef::new(sam, id)).await);
        assert_not_found(
            missing,
            exchange
                .books()
                .transactions(PortfolioRef::new(sam, id), TransactionFilter::default(), None, 10)
                .await,
        );
        assert_not_found(missing, exchange.books().snapshots(PortfolioRef::new(sam, id), None, None).await);
        assert_not_found(
            missing,
            exchange.books().performance(PortfolioRef::new(sam, id), Window::default()).await,
        );
        assert_not_found(missing, exchange.books().external_flows(PortfolioRef::new(sam, id)).await);
    }
    // Another user's order is not found in the user's own portfolio either.
    let own = exchange.open(sam, "1000").await;
    assert_not_found(NotFound::Order, exchange.trading().order(PortfolioRef::new(sam, own), placed.id).await);

    assert_eq!(exchange.prices.calls(), calls, "a stranger's portfolio costs no request");
    // For orders, the desk finds this out because it has the rows; the price, which anyone may request, is read before.
    for id in [mia.portfolio, PortfolioId(0), PortfolioId(i64::MAX)] {
        let buy = |symbol| order(Side::Buy, symbol, shares("1"));
        assert_not_found(
            NotFound::Portfolio,
            exchange.trading().place_order(Trader::on_behalf_of(sam).portfolio(id), buy("AAPL")).await,
        );
        assert_not_found(
            NotFound::Portfolio,
            exchange.trading().place_order(Trader::on_behalf_of(sam).portfolio(id), buy("NOSUCH")).await,
        );
        assert_not_found(
            NotFound::Portfolio,
            exchange.trading().cancel_order(Trader::on_behalf_of(sam).portfolio(id), placed.id).await,
        );
        let changes = domain::ReplaceOrder::default();
        assert_not_found(
            NotFound::Portfolio,
            exchange
                .trading()
                .replace_order(Trader::on_behalf_of(sam).portfolio(id), placed.id, changes)
                .await,
        );
        assert_not_found(
            NotFound::Portfolio,
            exchange.books().reset_portfolio(Trader::on_behalf_of(sam).portfolio(id), None).await,
        );
    }
    assert_not_found(
        NotFound::Order,
        exchange.trading().cancel_order(Trader::on_behalf_of(sam).portfolio(own), placed.id).await,
    );
    let after = (exchange.journal(mia).await, exchange.books().portfolio(mia.reference()).await.unwrap());
    assert_eq!(after, books);
}
