//! Quotes and searches of cached stocks: they need no statements, and are at most two seconds old on every process.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Calendar, Freshness};
use market_data::Rules;
use persistence::stocks;
use services::accounts::actor::Administrator;
use services::corporate_actions::renames::RenameRequest;
use services::testing::FixedPrices;
use services::{Error, Market, Services};

use crate::harness::{Exchange, day, symbol};

const SYMBOLS: [&str; 4] = ["AAPL", "MSFT", "JPM", "SPY"];

async fn all_quotes(services: &Services) -> Vec<(String, String)> {
    let mut quotes = Vec::new();
    for name in SYMBOLS {
        let quote = services.stocks().quote(&symbol(name)).await.unwrap();
        quotes.push((quote.symbol.to_string(), quote.price.to_string()));
    }
    quotes
}

/// The number of statements for a thousand quotes of cached stocks.
async fn statements_for_a_thousand(exchange: &Exchange) -> usize {
    let expected = all_quotes(exchange).await;
    let before = exchange.statements();
    for _ in 0..250 {
        assert_eq!(all_quotes(exchange).await, expected);
    }
    exchange.statements() - before
}

#[tokio::test]
async fn quotes_of_the_session_send_no_statements() {
    let exchange = Exchange::new().await;
    assert_eq!(statements_for_a_thousand(&exchange).await, 0);
}

#[tokio::test]
async fn quotes_from_before_the_session_send_no_statements() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Simulated, Calendar::Xnys)).await;
    for at in ["2026-11-20T23:00:00Z", "2026-11-22T15:00:00Z", "2026-11-23T14:00:00Z"] {
        exchange.at(at);
        assert!(statements_for_a_thousand(&exchange).await <= 3, "the splits are read again at {at}");
        assert_eq!(statements_for_a_thousand(&exchange).await, 0, "{at}");
    }
}

#[tokio::test]
async fn quotes_of_a_provider_send_no_statements() {
    for freshness in [Freshness::Delayed, Freshness::EndOfDay] {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        for (name, close) in SYMBOLS.into_iter().zip(["150.00", "400.00", "200.00", "500.00"]) {
            prices.set_close(name, day("2026-11-19"), close);
        }
        let exchange = Exchange::with(FixedPrices::new()).await;
        let (source, rules) = (prices.clone(), Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO });
        let process =
            exchange.process_on_market(|store, clock| Market::limited(Arc::new(source), rules, store, clock));
        all_quotes(&process).await;
        let expected = all_quotes(&process).await;
        // Statements of this process are not counted; with the table hidden, a statement fails.
        exchange.database().sql("ALTER TABLE stocks RENAME TO hidden_stocks").unwrap();
        for _ in 0..10 {
            assert_eq!(all_quotes(&process).await, expected, "{freshness:?}");
        }
        exchange.pass(TimeDelta::seconds(2));
        let outdated = process.stocks().quote(&symbol("AAPL")).await;
        assert!(matches!(outdated, Err(Error::Store(_))), "{outdated:?}");
        exchange.database().sql("ALTER TABLE hidden_stocks RENAME TO stocks").unwrap();
    }
}

#[tokio::test]
async fn searches_for_cached_stocks_send_no_statements_and_show_a_delisting() {
    let exchange = Exchange::new().await;
    exchange.stocks().import_catalogue().await.unwrap();
    let search = async || {
        let found = exchange.stocks().search_stocks("apple", 10).await.unwrap();
        let found = exchange.stocks().with_restrictions(found).await.unwrap();
        found
            .iter()
            .map(|one| (one.listing.symbol.to_string(), one.restriction.is_some()))
            .collect::<Vec<_>>()
    };
    all_quotes(&exchange).await;
    let traded = [("AAPL".to_owned(), false)];
    assert_eq!(search().await, traded);
    let before = exchange.statements();
    for _ in 0..100 {
        assert_eq!(search().await, traded);
    }
    assert_eq!(exchange.statements() - before, 0);
    exchange.database().sql("UPDATE stocks SET delisted_on = '2026-11-19' WHERE symbol = 'AAPL'").unwrap();
    exchange.pass(TimeDelta::seconds(2));
    assert_eq!(search().await, [("AAPL".to_owned(), true)]);
}

async fn id_and_end(exchange: &Exchange, name: &str) -> (domain::StockId, Option<chrono::NaiveDate>) {
    let wanted = symbol(name);
    let stock = exchange.read(move |tx| stocks::by_symbol(tx, &wanted)).await.unwrap();
    (stock.id, stock.delisted_on)
}

fn to_meta() -> RenameRequest {
    RenameRequest {
        symbol: symbol("AAPL"),
        to: symbol("META"),
        company_name: Some("Meta Platforms, Inc.".to_owned()),
        on: Some(day("2026-11-20")),
        reason: "Press release.".to_owned(),
        administrator: Administrator::operator("ada"),
    }
}

/// Waits until the process quotes `name` under the symbol `shown`; the cache is renewed beside the requests.
async fn quotes_until(process: &Services, name: &str, shown: &str) {
    let waited = async {
        while process.stocks().quote(&symbol(name)).await.unwrap().symbol != symbol(shown) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("the new symbol shows");
}

#[tokio::test]
async fn a_new_symbol_shows_within_two_seconds_and_immediately_where_recorded() {
    let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys);
    let exchange = Exchange::with(prices).await;
    exchange.prices.list("META", "Meta Platforms, Inc.", "Technology", "160.00");
    let other = exchange.another_process();
    for process in [&*exchange, &other] {
        assert_eq!(process.stocks().quote(&symbol("AAPL")).await.unwrap().price.to_string(), "150.00");
    }
    exchange.corporate_actions().rename_stock(to_meta()).await.unwrap();
    let quote = async |process: &Services| {
        let quote = process.stocks().quote(&symbol("AAPL")).await.unwrap();
        (quote.symbol.to_string(), quote.price.to_string())
    };
    assert_eq!(quote(&exchange).await, ("META".to_owned(), "160.00".to_owned()));
    assert_eq!(quote(&other).await.0, "AAPL", "the other process has not read the stock again");
    exchange.pass(TimeDelta::seconds(2));
    assert_eq!(quote(&other).await, ("META".to_owned(), "160.00".to_owned()));
}

#[tokio::test]
async fn a_constantly_quoted_stock_shows_its_new_symbol_within_two_seconds() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    exchange.prices.list("META", "Meta Platforms, Inc.", "Technology", "160.00");
    let other = exchange.another_process();
    other.stocks().quote(&symbol("AAPL")).await.unwrap();
    exchange.corporate_actions().rename_stock(to_meta()).await.unwrap();
    exchange.pass(TimeDelta::seconds(1));
    quotes_until(&other, "AAPL", "META").await;
}

#[tokio::test]
async fn a_delisting_shows_elsewhere_within_two_seconds() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    let other = exchange.another_process();
    let quote = async || other.stocks().quote_for(None, &symbol("AAPL")).await.unwrap();
    // A buy stores a price, so that there is one when the source is not called.
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert_eq!(quote().await.why_stale, None);
    let (id, _) = id_and_end(&exchange, "AAPL").await;
    exchange.write(move |tx| stocks::delist(tx, id, day("2026-11-20"))).await;
    exchange.pass(TimeDelta::seconds(2));
    let latest = quote().await;
    assert!(latest.quote.stale);
    assert_eq!(
        latest.why_stale.unwrap().to_string(),
        "it was delisted on 2026-11-20: there are no newer prices"
    );
    exchange.write(move |tx| stocks::relist(tx, id)).await;
    exchange.pass(TimeDelta::seconds(2));
    assert_eq!(quote().await.why_stale, None);
}
