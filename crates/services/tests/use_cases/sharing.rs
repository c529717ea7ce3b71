//! Access to shared portfolios.

use domain::{UserId, Visibility};
use services::accounts::actor::Trader;
use services::books::portfolios::PortfolioUpdate;
use services::books::sharing::{PortfolioAccess, PortfolioAddress};
use services::{Error, NotFound};

use crate::harness::{Exchange, Investor, assert_not_found};

async fn share(exchange: &Exchange, owner: Investor, visibility: Visibility) -> Option<String> {
    let update = PortfolioUpdate { visibility: Some(visibility), ..PortfolioUpdate::default() };
    let changed = exchange.books().change_portfolio(owner.control(), update).await.unwrap();
    assert_eq!(changed.visibility, visibility);
    assert_eq!(changed.link_key.is_some(), visibility == Visibility::Link);
    changed.link_key
}

async fn may_read(exchange: &Exchange, reader: Option<UserId>, address: &PortfolioAddress) -> bool {
    match exchange.books().portfolio_access(reader, address).await {
        Ok(PortfolioAccess { is_owner, .. }) => {
            assert!(!is_owner);
            true
        }
        Err(error) => {
            assert!(matches!(error, Error::NotFound(NotFound::Portfolio)), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn each_visibility_admits_its_readers_and_no_others() {
    let exchange = Exchange::new().await;
    let (sam, eve) = (exchange.investor("sam", "100").await, exchange.investor("eve", "100").await);
    let by_id = PortfolioAddress::Id(sam.portfolio);
    let private = exchange.books().portfolio(sam.reference()).await.unwrap();
    assert_eq!((private.visibility, private.link_key), (Visibility::Private, None));
    let unknown = PortfolioAddress::LinkKey("0".repeat(32));
    let key = PortfolioAddress::LinkKey(share(&exchange, sam, Visibility::Link).await.unwrap());
    for (visibility, admitted_by_id) in
        [(Visibility::Link, false), (Visibility::Public, true), (Visibility::Private, false)]
    {
        share(&exchange, sam, visibility).await;
        for reader in [None, Some(eve.user)] {
            assert_eq!(may_read(&exchange, reader, &by_id).await, admitted_by_id, "{visibility}");
            assert_eq!(
                may_read(&exchange, reader, &key).await,
                visibility == Visibility::Link,
                "{visibility}"
            );
            assert!(!may_read(&exchange, reader, &unknown).await);
        }
        let own = exchange.books().portfolio_access(Some(sam.user), &by_id).await.unwrap();
        assert_eq!(own, PortfolioAccess::of_owner(sam.reference()));
    }
}

#[tokio::test]
async fn a_link_ends_with_its_visibility_and_a_later_link_has_another_key() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100").await;
    let first = share(&exchange, sam, Visibility::Link).await.unwrap();
    assert_eq!(share(&exchange, sam, Visibility::Link).await.as_ref(), Some(&first), "it stays valid");
    share(&exchange, sam, Visibility::Private).await;
    let second = share(&exchange, sam, Visibility::Link).await.unwrap();
    assert_ne!(first, second);
    assert!(!may_read(&exchange, None, &PortfolioAddress::LinkKey(first)).await);
    assert!(may_read(&exchange, None, &PortfolioAddress::LinkKey(second.clone())).await);
    // At the address with the key, the owner is still recognized as the owner.
    let own =
        exchange.books().portfolio_access(Some(sam.user), &PortfolioAddress::LinkKey(second)).await.unwrap();
    assert_eq!(own, PortfolioAccess::of_owner(sam.reference()));
}

#[tokio::test]
async fn portfolios_of_a_closed_account_are_not_shared() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100").await;
    share(&exchange, sam, Visibility::Public).await;
    let address = PortfolioAddress::Id(sam.portfolio);
    assert!(may_read(&exchange, None, &address).await);
    exchange.database().sql("UPDATE users SET is_active = FALSE").unwrap();
    assert!(!may_read(&exchange, None, &address).await);
}

#[tokio::test]
async fn only_the_owner_sets_the_visibility_even_of_an_archived_portfolio() {
    let exchange = Exchange::new().await;
    let (sam, eve) = (exchange.investor("sam", "100").await, exchange.user("eve").await);
    let update = PortfolioUpdate { visibility: Some(Visibility::Public), ..PortfolioUpdate::default() };
    assert_not_found(
        NotFound::Portfolio,
        exchange
            .books()
            .change_portfolio(Trader::on_behalf_of(eve).portfolio(sam.portfolio), update.clone())
            .await,
    );
    share(&exchange, sam, Visibility::Public).await;
    let new = exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    assert_eq!(new.visibility, Visibility::Private, "what begins anew is private");
    let listed = exchange.books().public_portfolios(sam.user).await.unwrap();
    assert_eq!(listed, [], "an archived portfolio is not listed");
    share(&exchange, sam, Visibility::Private).await;
    assert!(!may_read(&exchange, None, &PortfolioAddress::Id(sam.portfolio)).await);
    let both = PortfolioUpdate { name: Some("Other".into()), ..update };
    let refused = exchange.books().change_portfolio(sam.control(), both).await;
    assert!(matches!(refused, Err(Error::Archived)), "{refused:?}");
    let kept = exchange.books().portfolio(sam.reference()).await.unwrap();
    assert_eq!(kept.visibility, Visibility::Private, "nothing is changed by halves");
}
