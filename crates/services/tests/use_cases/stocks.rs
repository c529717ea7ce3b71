use chrono::TimeDelta;
use domain::HistoryRange;
use domain::{Bar, Calendar, Freshness};
use market_data::QuoteError;
use persistence::stocks;
use services::Error;
use services::testing::FixedPrices;

use crate::harness::{Exchange, day, symbol};

#[tokio::test]
async fn a_search_returns_the_matches_of_the_source() {
    let exchange = Exchange::new().await;
    let found = async |query: &str| {
        let listings = exchange.stocks().search_stocks(query, 10).await.unwrap();
        listings.into_iter().map(|listing| listing.symbol.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(" app ").await, ["AAPL"]);
    assert_eq!(found("nothing").await, [""; 0]);
    let calls = exchange.prices.calls().searches;
    assert_eq!(found("  ").await, [""; 0]);
    assert_eq!(exchange.prices.calls().searches, calls, "nothing is asked for no letters");

    let retry_at = exchange.now() + TimeDelta::hours(1);
    exchange.prices.fail_with(QuoteError::RateLimited { retry_at: Some(retry_at.utc()) });
    let refused = exchange.stocks().search_stocks("app", 10).await;
    assert!(matches!(refused, Err(Error::SourceUnavailable { retry_at: Some(at) }) if at == retry_at));
}

#[tokio::test]
async fn a_complete_catalog_is_known_from_the_start() {
    let exchange = Exchange::new().await;
    let stock = exchange.instruments().stock(&symbol("AAPL")).await.unwrap();
    assert_eq!((stock.listing.company_name.as_str(), stock.last), ("Apple Inc.", None));
    assert_eq!(exchange.prices.calls().listings, 0);
    // Importing again adds no stock.
    exchange.stocks().import_catalogue().await.unwrap();
    assert_eq!(exchange.read(stocks::count).await, 4);
}

#[tokio::test]
async fn other_sources_are_called_once_for_a_symbol() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    assert_eq!(exchange.read(stocks::count).await, 0);
    let stock = exchange.instruments().stock(&symbol("AAPL")).await.unwrap();
    assert_eq!(exchange.instruments().stock(&symbol("AAPL")).await.unwrap(), stock);
    assert_eq!(exchange.prices.calls().listings, 1);
    assert!(matches!(exchange.instruments().stock(&symbol("NOSUCH")).await, Err(Error::UnknownSymbol(_))));
    assert_eq!(exchange.read(stocks::count).await, 1);
    let reason = "it is quoted in another currency";
    exchange.prices.fail_with(QuoteError::NotTradable { symbol: symbol("VOD.LON"), reason });
    let refused = exchange.instruments().stock(&symbol("VOD.LON")).await;
    assert!(matches!(refused, Err(Error::NotTradable { reason: why, .. }) if why == reason));
}

#[tokio::test]
async fn a_quote_contains_its_price_time_and_change() {
    let exchange = Exchange::new().await;
    exchange.prices.set_close("AAPL", day("2026-11-19"), "120.00");
    exchange.prices.set_bid_and_ask("AAPL", "149.99", "150.01");
    let quote = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
    assert_eq!((quote.price.to_string(), quote.as_of, quote.stale), ("150.00".into(), exchange.now(), false));
    assert_eq!(
        (quote.bid.unwrap().to_string(), quote.ask.clone().unwrap().to_string()),
        ("149.99".into(), "150.01".into())
    );
    let quote = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
    assert_eq!(quote.change().unwrap().to_string(), "30.00");
    assert_eq!(quote.change_ratio(), Some(0.25));
    assert!(matches!(exchange.stocks().quote(&symbol("NOSUCH")).await, Err(Error::UnknownSymbol(_))));
}

#[tokio::test]
async fn a_history_goes_back_as_far_as_requested() {
    let exchange = Exchange::new().await;
    for date in day("2025-11-01").iter_days().take_while(|date| *date <= day("2026-11-20")) {
        exchange.prices.set_close("AAPL", date, "10.00");
    }
    let history = async |range| exchange.stocks().history(&symbol("AAPL"), range).await.unwrap();
    for (range, first) in [
        (HistoryRange::Week, "2026-11-13"),
        (HistoryRange::Month, "2026-10-20"),
        (HistoryRange::ThreeMonths, "2026-08-20"),
        (HistoryRange::YearToDate, "2026-01-01"),
        (HistoryRange::Year, "2025-11-20"),
        (HistoryRange::All, "2025-11-01"),
    ] {
        let bars = history(range).await;
        let (oldest, newest) = (bars[0].date, bars.last().unwrap().date);
        // Today's session is not over.
        assert_eq!((oldest, newest), (day(first), day("2026-11-19")), "{range:?}");
    }
    for (range, name) in HistoryRange::ALL {
        assert_eq!((HistoryRange::parse(name), range.as_str()), (Some(range), name));
        assert_eq!(HistoryRange::parse(&name.to_lowercase()), Some(range));
    }
    assert_eq!(HistoryRange::parse("2W"), None);
}

#[tokio::test]
async fn without_an_answer_the_stored_bars_are_the_history() {
    let exchange = Exchange::new().await;
    let id = exchange.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    exchange.prices.fail_with(QuoteError::Unreachable);
    let none = exchange.stocks().history(&symbol("AAPL"), HistoryRange::Month).await;
    assert!(matches!(none, Err(Error::NoPrice { .. })));
    let price = || "10.00".parse().unwrap();
    let bar = Bar {
        date: day("2026-11-18"),
        open: price(),
        high: price(),
        low: price(),
        close: price(),
        volume: 1,
    };
    let stored = bar.clone();
    exchange.write(move |tx| stocks::save_bars(tx, id, "fixed", &[stored])).await;
    assert_eq!(exchange.stocks().history(&symbol("AAPL"), HistoryRange::Month).await.unwrap(), [bar]);
}
