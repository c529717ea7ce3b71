use chrono::TimeDelta;
use domain::{UserId, WatchlistId};
use market_data::QuoteError;
use services::accounts::actor::Trader;
use services::watchlists::WatchedList;
use services::{Error, NotFound};

use crate::harness::{Exchange, assert_not_found, fields, symbol};

fn symbols(list: &WatchedList) -> Vec<&str> {
    list.items.iter().map(|item| item.stock.listing.symbol.as_str()).collect()
}

async fn watch(exchange: &Exchange, user: UserId, list: WatchlistId, tickers: &[&str]) {
    for ticker in tickers {
        exchange.pass(TimeDelta::milliseconds(1));
        exchange.watchlists().watch(Trader::on_behalf_of(user), list, &symbol(ticker)).await.unwrap();
    }
}

#[tokio::test]
async fn lists_are_created_renamed_and_deleted() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let first = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), " Banks ").await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.items.len(), first.created_at),
        ("Banks", 0, exchange.clock.wall())
    );
    let second = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Banks").await.unwrap();
    watch(&exchange, sam, first.id, &["JPM"]).await;
    let renamed =
        exchange.watchlists().rename_watchlist(Trader::on_behalf_of(sam), first.id, "Money").await.unwrap();
    assert_eq!((renamed.id, renamed.name.as_str(), symbols(&renamed)), (first.id, "Money", vec!["JPM"]));
    let all = exchange.watchlists().all(sam).await.unwrap();
    assert_eq!(all.iter().map(|list| list.id).collect::<Vec<_>>(), [first.id, second.id]);
    assert_eq!(all[0], exchange.watchlists().watchlist(sam, first.id).await.unwrap());
    exchange.watchlists().delete_watchlist(Trader::on_behalf_of(sam), first.id).await.unwrap();
    assert_not_found(NotFound::Watchlist, exchange.watchlists().watchlist(sam, first.id).await);
    assert_not_found(
        NotFound::Watchlist,
        exchange.watchlists().delete_watchlist(Trader::on_behalf_of(sam), first.id).await,
    );
    assert_eq!(exchange.watchlists().all(sam).await.unwrap(), [second]);
}

#[tokio::test]
async fn names_are_one_non_empty_line() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let list =
        exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), &"ä".repeat(80)).await.unwrap();
    for bad in ["", "  ", "two\nlines", &"x".repeat(81)] {
        assert_eq!(
            fields(exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), bad).await),
            ["name"]
        );
        assert_eq!(
            fields(exchange.watchlists().rename_watchlist(Trader::on_behalf_of(sam), list.id, bad).await),
            ["name"]
        );
    }
}

#[tokio::test]
async fn stocks_are_in_the_order_they_were_added_with_their_prices() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Mine").await.unwrap().id;
    watch(&exchange, sam, list, &["SPY", "AAPL", "MSFT"]).await;
    // Adding a stock again does not move it.
    watch(&exchange, sam, list, &["SPY"]).await;
    let watched = exchange.watchlists().watchlist(sam, list).await.unwrap();
    assert_eq!(symbols(&watched), ["SPY", "AAPL", "MSFT"]);
    assert_eq!(watched.items[1].quote.as_ref().unwrap().price.to_string(), "150.00");

    exchange.watchlists().unwatch(Trader::on_behalf_of(sam), list, &symbol("AAPL")).await.unwrap();
    assert_not_found(
        NotFound::WatchedStock,
        exchange.watchlists().unwatch(Trader::on_behalf_of(sam), list, &symbol("AAPL")).await,
    );
    assert_not_found(
        NotFound::WatchedStock,
        exchange.watchlists().unwatch(Trader::on_behalf_of(sam), list, &symbol("NOSUCH")).await,
    );
    watch(&exchange, sam, list, &["AAPL"]).await;
    assert_eq!(symbols(&exchange.watchlists().watchlist(sam, list).await.unwrap()), ["SPY", "MSFT", "AAPL"]);
}

#[tokio::test]
async fn unknown_symbols_are_not_watched() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Mine").await.unwrap().id;
    let refused = exchange.watchlists().watch(Trader::on_behalf_of(sam), list, &symbol("NOSUCH")).await;
    assert!(matches!(refused, Err(Error::UnknownSymbol(_))));
    assert_eq!(exchange.watchlists().watchlist(sam, list).await.unwrap().items, []);
}

#[tokio::test]
async fn a_list_is_shown_while_the_source_does_not_answer() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Mine").await.unwrap().id;
    watch(&exchange, sam, list, &["AAPL"]).await;
    exchange.work().await;
    watch(&exchange, sam, list, &["MSFT"]).await;
    exchange.prices.fail_with(QuoteError::Unreachable);
    let watched = exchange.watchlists().watchlist(sam, list).await.unwrap();
    assert!(watched.items[0].quote.as_ref().unwrap().stale);
    assert_eq!(watched.items[1].quote, None);
}

#[tokio::test]
async fn another_users_list_is_not_found() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.user("sam").await, exchange.user("mia").await);
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(mia), "Hers").await.unwrap().id;
    watch(&exchange, mia, list, &["AAPL"]).await;
    let calls = exchange.prices.calls();
    for id in [list, WatchlistId(0)] {
        assert_not_found(NotFound::Watchlist, exchange.watchlists().watchlist(sam, id).await);
        assert_not_found(
            NotFound::Watchlist,
            exchange.watchlists().rename_watchlist(Trader::on_behalf_of(sam), id, "Mine").await,
        );
        assert_not_found(
            NotFound::Watchlist,
            exchange.watchlists().delete_watchlist(Trader::on_behalf_of(sam), id).await,
        );
        assert_not_found(
            NotFound::Watchlist,
            exchange.watchlists().watch(Trader::on_behalf_of(sam), id, &symbol("NOSUCH")).await,
        );
        assert_not_found(
            NotFound::Watchlist,
            exchange.watchlists().unwatch(Trader::on_behalf_of(sam), id, &symbol("AAPL")).await,
        );
    }
    assert_eq!(exchange.prices.calls(), calls);
    assert_eq!(symbols(&exchange.watchlists().watchlist(mia, list).await.unwrap()), ["AAPL"]);
}

#[tokio::test]
async fn the_number_and_length_of_lists_are_limited() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let list = exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "Full").await.unwrap().id;
    for number in 0..200 {
        let ticker = format!("S{number}");
        exchange.prices.list(&ticker, &ticker, "Other", "10.00");
        exchange.watchlists().watch(Trader::on_behalf_of(sam), list, &symbol(&ticker)).await.unwrap();
    }
    assert_eq!(
        fields(exchange.watchlists().watch(Trader::on_behalf_of(sam), list, &symbol("AAPL")).await),
        ["symbol"]
    );
    // A stock that is already on the full list may be added again.
    exchange.watchlists().watch(Trader::on_behalf_of(sam), list, &symbol("S7")).await.unwrap();
    for _ in 1..50 {
        exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "One more").await.unwrap();
    }
    assert_eq!(
        fields(exchange.watchlists().create_watchlist(Trader::on_behalf_of(sam), "One too many").await),
        ["name"]
    );
}
