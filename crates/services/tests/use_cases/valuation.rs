use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use domain::{Calendar, Freshness, PortfolioId, PortfolioRef, Valuation};
use market_data::QuoteError;
use services::books::performance::Window;
use services::testing::FixedPrices;

use services::NotFound;

use crate::harness::{Exchange, Investor, assert_not_found, close_to, day, money};

async fn valued(exchange: &Exchange, who: Investor) -> Valuation {
    exchange.books().valuation(who.reference()).await.unwrap().valuation
}

/// AAPL 10 at 150.00, now 160.00; MSFT 2.5 at 400.00, now 390.00; JPM 1 at 200.00, now 200.50.
async fn three_holdings(exchange: &Exchange) -> Investor {
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.buy(sam, "JPM", "1").await.unwrap();
    exchange.buy(sam, "MSFT", "2.5").await.unwrap();
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set("AAPL", "160.00");
    exchange.prices.set("MSFT", "390.00");
    exchange.prices.set("JPM", "200.50");
    sam
}

#[tokio::test]
async fn a_valuation_matches_a_hand_calculation() {
    let exchange = Exchange::new().await;
    let sam = three_holdings(&exchange).await;
    let valuation = valued(&exchange, sam).await;
    assert_eq!(valuation.cash_balance, money("7300.00"));
    assert_eq!(valuation.buying_power, money("7300.00"));
    assert_eq!(valuation.positions_value, money("2775.50"));
    assert_eq!(valuation.total_value, money("10075.50"));
    assert_eq!(valuation.unrealized_pnl, money("75.50"));
    assert_eq!(valuation.realized_pnl, money("0.00"));
    // All were bought today, so the day change is the whole gain.
    assert_eq!(valuation.day_change, money("75.50"));
    let rows: Vec<[String; 4]> = valuation
        .holdings
        .iter()
        .map(|holding| {
            let symbol = holding.listing.symbol.to_string();
            let (value, pnl) = (holding.market_value.to_string(), holding.unrealized_pnl.to_string());
            [symbol, value, pnl, holding.average_buy_price().unwrap().to_string()]
        })
        .collect();
    assert_eq!(
        rows,
        [
            ["AAPL", "1600.00", "100.00", "150.000000"],
            ["MSFT", "975.00", "-25.00", "400.000000"],
            ["JPM", "200.50", "0.50", "200.000000"]
        ]
    );
    assert!(close_to(valuation.weight(&valuation.holdings[0].market_value), 1600.0 / 10075.5));
}

#[tokio::test]
async fn an_empty_portfolio_has_no_value() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "0").await;
    let valuation = valued(&exchange, sam).await;
    assert_eq!((valuation.total_value, valuation.day_change), (money("0"), money("0")));
    assert!(valuation.holdings.is_empty());
    assert_eq!(exchange.prices.calls().quotes, 0);
}

#[tokio::test]
async fn deposits_and_withdrawals_are_not_in_the_day_change() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.deposit(sam, "500.00").await.unwrap();
    exchange.withdraw(sam, "200.00").await.unwrap();
    let valuation = valued(&exchange, sam).await;
    assert_eq!((valuation.total_value, valuation.day_change), (money("1300.00"), money("0.00")));
}

/// On Friday, 10 shares are bought at 150.00, and the price at midnight in New York is 152.00. On Saturday, 4 are sold
/// at 155.00 and 2 bought at 154.00; the price is now 156.00: 4 × 3 + 6 × 4 + 2 × 2 = 40.
#[tokio::test]
async fn the_day_change_starts_over_at_midnight_in_new_york() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.prices.set_close("AAPL", day("2026-11-19"), "148.00");
    exchange.prices.set_close("AAPL", day("2026-11-20"), "152.00");
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set("AAPL", "153.00");
    exchange.at("2026-11-21T04:59:59.999999Z");
    assert_eq!(valued(&exchange, sam).await.day_change, money("30.00"));
    exchange.at("2026-11-21T05:00:00Z");
    assert_eq!(valued(&exchange, sam).await.day_change, money("10.00"));

    exchange.at("2026-11-21T12:00:00Z");
    exchange.prices.set("AAPL", "155.00");
    exchange.sell(sam, "AAPL", "4").await.unwrap();
    exchange.prices.set("AAPL", "154.00");
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.prices.set("AAPL", "156.00");
    let valuation = valued(&exchange, sam).await;
    assert_eq!(valuation.day_change, money("40.00"));
    assert_eq!(valuation.holdings[0].day_change, Some(money("40.00")));
    assert!(close_to(valuation.day_change_ratio().unwrap(), 40.0 / (valuation.total_value.to_f64() - 40.0)));
}

#[tokio::test]
async fn a_trade_at_midnight_belongs_to_the_new_day() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.prices.set_close("AAPL", day("2026-11-20"), "140.00");
    exchange.at("2026-11-21T05:00:00Z");
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set("AAPL", "151.00");
    assert_eq!(valued(&exchange, sam).await.day_change, money("1.00"));
}

/// 10 shares are bought at 150.00, cost 152.00 at the close, and are all sold at 155.00 the next day.
#[tokio::test]
async fn a_sold_stock_counts_for_its_day_and_its_result_stays() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1500.00").await;
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-20"), "152.00");
    exchange.at("2026-11-21T12:00:00Z");
    exchange.prices.set("AAPL", "155.00");
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set("AAPL", "999.00");
    let saturday = valued(&exchange, sam).await;
    assert!(saturday.holdings.is_empty());
    assert_eq!((saturday.total_value, saturday.positions_value), (money("1550.00"), money("0.00")));
    assert_eq!((saturday.day_change, saturday.realized_pnl), (money("30.00"), money("50.00")));

    exchange.at("2026-11-22T12:00:00Z");
    let calls = exchange.prices.calls().quotes;
    let sunday = valued(&exchange, sam).await;
    assert_eq!((sunday.day_change, sunday.realized_pnl), (money("0.00"), money("50.00")));
    assert_eq!(exchange.prices.calls().quotes, calls, "nobody needs its price");
}

#[tokio::test]
async fn without_a_previous_close_the_day_change_is_unknown() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1500.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.at("2026-11-21T12:00:00Z");
    let valuation = valued(&exchange, sam).await;
    assert_eq!((valuation.holdings[0].day_change.clone(), valuation.day_change), (None, money("0")));
}

/// One share is held at 148.00 at Thursday's close and 151.50 at Friday's; another one is bought at 151.00 on Friday.
#[tokio::test]
async fn the_day_change_on_a_weekend_is_fridays() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Realtime, Calendar::Xnys)).await;
    exchange.at("2026-11-19T19:00:00Z");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-19"), "148.00");
    exchange.prices.set_close("AAPL", day("2026-11-20"), "151.50");
    exchange.prices.set("AAPL", "151.00");
    exchange.at("2026-11-20T19:00:00Z");
    assert_eq!(valued(&exchange, sam).await.day_change, money("3.00"));
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set("AAPL", "151.50");
    for still_friday in ["2026-11-21T15:00:00Z", "2026-11-23T14:29:59Z"] {
        exchange.at(still_friday);
        assert_eq!(valued(&exchange, sam).await.day_change, money("4.00"), "{still_friday}");
    }
    exchange.prices.set("AAPL", "152.00");
    exchange.at("2026-11-23T14:30:00Z");
    assert_eq!(valued(&exchange, sam).await.day_change, money("1.00"));
}

#[tokio::test]
async fn a_portfolio_has_a_value_while_the_source_does_not_answer() {
    let exchange = Exchange::new().await;
    let sam = three_holdings(&exchange).await;
    exchange.prices.fail_with(QuoteError::RateLimited { retry_at: None });
    let valuation = valued(&exchange, sam).await;
    // The last known prices are those of the purchases.
    assert_eq!(valuation.total_value, money("10000.00"));
    assert!(valuation.holdings.iter().all(|holding| holding.quote.stale));
}

#[tokio::test]
async fn all_portfolios_of_a_user_are_valued_with_one_request() {
    let exchange = Exchange::new().await;
    let sam = three_holdings(&exchange).await;
    let second = Investor { portfolio: exchange.open(sam.user, "500.00").await, ..sam };
    exchange.buy(second, "AAPL", "1").await.unwrap();
    exchange.investor("mia", "1.00").await;
    let calls = exchange.prices.calls().quotes;
    let all = exchange.books().valuations(sam.user).await.unwrap();
    let values: Vec<_> =
        all.iter().map(|row| (row.portfolio.id, row.valuation.total_value.to_string())).collect();
    assert_eq!(values, [(sam.portfolio, "10075.50".to_owned()), (second.portfolio, "500.00".to_owned())]);
    assert_eq!(exchange.prices.calls().quotes, calls + 1);
    assert_eq!(all[0].valued_at, exchange.now());
}

#[tokio::test]
async fn a_valuation_costs_one_statement_and_one_more_on_a_day_with_trades() {
    let exchange = Exchange::new().await;
    let sam = three_holdings(&exchange).await;
    // The list of pending splits is read once per second, whichever call comes first.
    let read_pending_splits = async || drop(exchange.measured(sam, Window::default()).await);
    read_pending_splits().await;
    let today = exchange.statements();
    valued(&exchange, sam).await;
    assert_eq!(exchange.statements() - today, 2);
    exchange.at("2026-11-21T05:00:00Z");
    read_pending_splits().await;
    let next_day = exchange.statements();
    valued(&exchange, sam).await;
    assert_eq!(exchange.statements() - next_day, 1);
}

/// The list of valuations is read in one transaction, for comparison.
#[tokio::test]
async fn a_valuation_without_a_transaction_is_the_same() {
    let exchange = Exchange::new().await;
    let sam = three_holdings(&exchange).await;
    let empty = Investor { portfolio: exchange.open(sam.user, "0").await, ..sam };
    exchange.prices.set_close("AAPL", day("2026-11-20"), "152.00");
    exchange.prices.set_close("MSFT", day("2026-11-20"), "391.00");
    let same = async || {
        let all = exchange.books().valuations(sam.user).await.unwrap();
        for (who, expected) in [sam, empty].into_iter().zip(all) {
            assert_eq!(exchange.books().valuation(who.reference()).await.unwrap(), expected);
        }
    };
    same().await;
    exchange.at("2026-11-21T05:00:00Z");
    same().await;
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    same().await;
    exchange.deposit(sam, "10.00").await.unwrap();
    exchange.pass(TimeDelta::hours(3));
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    same().await;
    exchange.at("2026-11-22T12:00:00Z");
    // Only the name changed on that day.
    exchange.books().update_portfolio(sam.control(), Some("Calm".into()), None).await.unwrap();
    same().await;
    assert_not_found(
        NotFound::Portfolio,
        exchange.books().valuation(PortfolioRef::new(sam.user, PortfolioId(sam.portfolio.0 + 100))).await,
    );
}

#[tokio::test]
async fn a_new_name_does_not_hide_trades_that_a_faster_clock_made() {
    let exchange = Exchange::new().await;
    exchange.at("2026-11-21T05:00:00.5Z");
    exchange.prices.set_close("AAPL", day("2026-11-20"), "140.00");
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.at("2026-11-21T04:59:59Z");
    exchange.books().update_portfolio(sam.control(), Some("Calm".into()), None).await.unwrap();
    exchange.at("2026-11-21T05:00:01Z");
    exchange.prices.set("AAPL", "151.00");
    assert_eq!(valued(&exchange, sam).await.day_change, money("1.00"));
}

/// All shares are bought at 150.00, which is still the price. In every consistent state of the books, the day change is
/// therefore zero. A position without its trade, or a trade without its position, would change it by 10.00 per share.
#[tokio::test(flavor = "multi_thread")]
async fn a_valuation_during_trading_is_consistent() {
    let exchange = Exchange::new().await;
    exchange.prices.set_close("AAPL", day("2026-11-19"), "140.00");
    let sam = exchange.investor("sam", "15000.00").await;
    let (services, trading) = ((*exchange).clone(), Arc::new(AtomicBool::new(true)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (services, trading) = (services.clone(), trading.clone());
            tokio::spawn(async move {
                let mut seen = HashSet::new();
                while trading.load(Ordering::Relaxed) {
                    let valuation = services.books().valuation(sam.reference()).await.unwrap().valuation;
                    assert_eq!(valuation.total_value, money("15000.00"));
                    assert_eq!(valuation.day_change, money("0.00"), "{valuation:?}");
                    seen.insert(valuation.cash_balance);
                }
                seen.len()
            })
        })
        .collect();
    for _ in 0..60 {
        exchange.buy(sam, "AAPL", "1").await.unwrap();
    }
    trading.store(false, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 1);
    }
}
