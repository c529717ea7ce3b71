//! Held stocks that a provider no longer knows, and stocks that are delisted.

use domain::HistoryRange;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Bar, Calendar, Freshness};
use market_data::QuoteError;
use persistence::stocks;
use services::books::snapshots::IdRange;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, moment, money, price, symbol};

#[tokio::test]
async fn a_held_stock_keeps_price_value_and_history_without_the_provider() {
    for freshness in [Freshness::Delayed, Freshness::EndOfDay] {
        for failure in [
            QuoteError::UnknownSymbol(symbol("AAPL")),
            QuoteError::NotTradable { symbol: symbol("AAPL"), reason: "it is not quoted in dollars" },
            QuoteError::NotTradable { symbol: symbol("AAPL"), reason: "it is a fund of another kind" },
        ] {
            let prices = FixedPrices::of(freshness, Calendar::Xnys);
            let exchange = Exchange::with(prices.clone()).await;
            let sam = exchange.investor("sam", "10000").await;
            exchange.buy(sam, "AAPL", "10").await.unwrap();
            prices.fail_with(failure.clone());
            exchange.at("2026-11-23T16:00:00Z");
            let shown = exchange.stocks().quote_for(Some(sam.user), &symbol("AAPL")).await.unwrap();
            assert_eq!((shown.quote.price, shown.quote.stale), (price("150.00"), true), "{failure:?}");
            assert!(shown.why_stale.is_some(), "{failure:?}");
            let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
            assert_eq!(valued.total_value, money("10000"), "{failure:?}");
            assert_eq!(exchange.books().valuations(sam.user).await.unwrap().len(), 1);
            let history =
                exchange.stocks().history_for(Some(sam.user), &symbol("AAPL"), HistoryRange::Month).await;
            assert_eq!(history.unwrap(), [], "{failure:?}");
            exchange.stocks().corporate_actions(&symbol("AAPL")).await.unwrap();
        }
    }
}

/// AAPL closes at 100.00 on Thursday and at 110.00 on Friday, its last session. Sam holds 10 shares.
async fn delisted_on_monday(freshness: Freshness) -> (Exchange, Investor) {
    let prices = FixedPrices::of(freshness, Calendar::Xnys);
    prices.set("AAPL", "110.00");
    for (date, close) in [("2026-11-18", "100.00"), ("2026-11-19", "100.00"), ("2026-11-20", "110.00")] {
        prices.set_close("AAPL", day(date), close);
    }
    prices.set_as_of("AAPL", Some(moment("2026-11-20T16:00:00Z")));
    let gone = CorporateAction::new(symbol("AAPL"), day("2026-11-23"), CorporateActionKind::Delisting);
    prices.announce(moment("2026-11-20T00:00:00Z"), gone);
    let exchange = Exchange::with(prices).await;
    exchange.at("2026-11-20T16:05:00Z");
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-20T20:59:59Z")));
    (exchange, sam)
}

#[tokio::test]
async fn a_delisted_stock_does_not_change_after_its_last_session() {
    let (exchange, sam) = delisted_on_monday(Freshness::Delayed).await;
    let change = async || {
        let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
        let quote = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
        let holding = valued.holdings[0].day_change.clone().map(|change| change.to_string());
        (holding, quote.change().map(|change| change.to_string()))
    };
    exchange.at("2026-11-20T22:00:00Z");
    // The stock was bought at 110.00 on that day.
    assert_eq!(change().await, (Some("0.00".into()), Some("10.00".into())));
    for later in ["2026-11-23T16:00:00Z", "2026-11-23T22:00:00Z", "2026-11-27T16:00:00Z"] {
        exchange.at(later);
        exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        assert_eq!(change().await, (Some("0.00".into()), Some("0.00".into())), "{later}");
        let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
        assert_eq!(valued.day_change, money("0"), "{later}");
    }
}

#[tokio::test]
async fn snapshots_after_a_delisting_use_the_last_close_in_any_order() {
    for freshness in [Freshness::Delayed, Freshness::EndOfDay] {
        let (exchange, sam) = delisted_on_monday(freshness).await;
        // Only Thursday's close is stored so far.
        let (open, high, low, close) = (price("100"), price("100"), price("100"), price("100"));
        let thursday = Bar { date: day("2026-11-19"), open, high, low, close, volume: 1 };
        let stock = exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().id;
        exchange.write(move |tx| stocks::save_bars(tx, stock, "fixed", &[thursday])).await;
        exchange.at("2026-11-25T16:00:00Z");
        exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        // The run for the session after the delisting comes before the run for the last session.
        for date in ["2026-11-23", "2026-11-20", "2026-11-24"] {
            exchange.books().take_snapshots(day(date), IdRange::ALL, |_| true).await.unwrap();
        }
        for row in exchange.rows(sam).await {
            assert_eq!((row.positions_value, row.provisional), (money("1100"), false), "{}", row.date);
        }
        exchange.assert_books_balance().await;
    }
}
