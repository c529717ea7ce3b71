use domain::{TransactionId, UserId};
use services::Error;
use services::accounts::actor::Administrator;
use services::books::snapshots::IdRange;
use services::operations::lists::Totals;

use crate::harness::{Exchange, day, symbol};

/// Two users: Sam has two portfolios; Mia has one, which holds a share.
async fn two_people(exchange: &Exchange) -> [UserId; 2] {
    let sam = exchange.investor("sam", "1.00").await.user;
    exchange.open(sam, "0").await;
    let mia = exchange.investor("mia", "1000.00").await;
    exchange.buy(mia, "AAPL", "1").await.unwrap();
    exchange.at("2026-11-21T12:00:00Z");
    exchange.prices.set_close("AAPL", day("2026-11-20"), "151.00");
    exchange.books().take_snapshots(day("2026-11-20"), IdRange::ALL, |_| true).await.unwrap();
    [sam, mia.user]
}

#[tokio::test]
async fn an_operator_sees_the_numbers_of_rows() {
    let exchange = Exchange::new().await;
    two_people(&exchange).await;
    let totals = exchange.operations().totals().await.unwrap();
    assert_eq!(totals, Totals { users: 2, portfolios: 3, stocks: 4, transactions: 3, snapshots: 3 });
}

#[tokio::test]
async fn an_operator_finds_users_by_name_and_address() {
    let exchange = Exchange::new().await;
    let [sam, mia] = two_people(&exchange).await;
    let found = async |search: &str| {
        let page =
            exchange.accounts().all_users(&Administrator::operator("ada"), search, None, 10).await.unwrap();
        page.items.into_iter().map(|row| (row.account.id, row.portfolios)).collect::<Vec<_>>()
    };
    assert_eq!(found("").await, [(mia, 1), (sam, 2)]);
    assert_eq!(found(" SAM@ ").await, [(sam, 2)]);
    assert_eq!(found("%").await, []);
    let first = exchange.accounts().all_users(&Administrator::operator("ada"), "", None, 1).await.unwrap();
    assert_eq!((first.items[0].account.id, first.next), (mia, Some(mia)));
    let rest =
        exchange.accounts().all_users(&Administrator::operator("ada"), "", first.next, 1).await.unwrap();
    assert_eq!((rest.items[0].account.id, rest.next), (sam, None));
    assert!(matches!(
        exchange.accounts().any_user(&Administrator::operator("ada"), UserId(99)).await,
        Err(Error::NotFound(services::NotFound::User))
    ));
    let nobody = exchange
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), UserId(99), Some(true), None)
        .await;
    assert!(matches!(nobody, Err(Error::NotFound(services::NotFound::User))));
}

#[tokio::test]
async fn an_operator_lists_all_books() {
    let exchange = Exchange::new().await;
    let [sam, _] = two_people(&exchange).await;
    let portfolios = exchange
        .operations()
        .all_portfolios(&Administrator::operator("ada"), "", None, 10)
        .await
        .unwrap()
        .items;
    let owners: Vec<&str> = portfolios.iter().map(|row| row.username.as_str()).collect();
    assert_eq!(owners, ["mia", "sam", "sam"]);
    assert_eq!(
        exchange
            .operations()
            .all_portfolios(&Administrator::operator("ada"), "SAM", None, 1)
            .await
            .unwrap()
            .items
            .len(),
        1
    );

    let amounts = async |search: &str, before: Option<TransactionId>| {
        let page = exchange
            .operations()
            .all_transactions(&Administrator::operator("ada"), search, before, 2)
            .await
            .unwrap();
        (page.items.iter().map(|row| row.entry.amount.to_string()).collect::<Vec<_>>(), page.next)
    };
    let (newest, next) = amounts("", None).await;
    assert_eq!(newest, ["-150.00", "1000.00"]);
    assert_eq!(amounts("", next).await, (vec!["1.00".to_owned()], None));
    assert_eq!(amounts("aapl", None).await.0, ["-150.00"]);
    assert_eq!(amounts("sam", None).await.0, ["1.00"]);

    let rows = exchange.operations().all_snapshots(&Administrator::operator("ada"), None, 2).await.unwrap();
    assert_eq!(rows.items.len(), 2);
    assert_eq!(
        exchange
            .operations()
            .all_snapshots(&Administrator::operator("ada"), rows.next, 2)
            .await
            .unwrap()
            .items
            .len(),
        1
    );

    let stocks = exchange.operations().all_stocks("", None, 3).await.unwrap();
    assert_eq!((stocks.items.len(), stocks.next), (3, Some(symbol("MSFT"))));
    assert_eq!(exchange.operations().all_stocks("", Some(symbol("MSFT")), 3).await.unwrap().items.len(), 1);
    assert_eq!(exchange.operations().all_stocks("apple", None, 3).await.unwrap().items.len(), 1);

    exchange.accounts().remove_user(&Administrator::operator("ada"), sam).await.unwrap();
    assert_eq!(exchange.operations().totals().await.unwrap().portfolios, 1);
}

#[tokio::test]
async fn readiness_requires_an_answer_of_the_database() {
    let exchange = Exchange::new().await;
    exchange.operations().check_ready().await.unwrap();
}
