//! Trades on and after an ex-date at prices from before it.

use domain::calendar::exchange_date;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Calendar, Freshness, OrderStatus, PerShare, Side, TransactionFilter};
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, gtc, limit, moment, money, order, price, shares, symbol};

/// AAPL closed at 103.00 on Friday, 20 November 2026, and has an ex-date on Monday with a dividend of 1.00. The source
/// reports only closing prices.
fn prices(news: &str) -> FixedPrices {
    let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
    prices.set("AAPL", "103.00");
    for date in ["2026-11-19", "2026-11-20"] {
        prices.set_close("AAPL", day(date), "103.00");
    }
    let kind = CorporateActionKind::CashDividend {
        amount: PerShare::from_scaled(1, 0).unwrap(),
        pays_on: day("2026-12-11"),
    };
    prices.announce(moment(news), CorporateAction::new(symbol("AAPL"), day("2026-11-23"), kind));
    prices
}

/// On Saturday Sam holds ten shares, and Eve holds none.
async fn weekend(prices: FixedPrices) -> (Exchange, Investor, Investor) {
    let exchange = Exchange::with(prices).await;
    exchange.at("2026-11-21T15:00:00Z");
    let (sam, eve) = (exchange.investor("sam", "1030.00").await, exchange.investor("eve", "2000.00").await);
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.work().await;
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    (exchange, sam, eve)
}

/// Cash, dividends and total value of a portfolio.
async fn worth(exchange: &Exchange, who: Investor) -> [String; 3] {
    let valued = exchange.books().valuation(who.reference()).await.unwrap().valuation;
    [&valued.cash_balance, &valued.dividends, &valued.total_value].map(ToString::to_string)
}

const BEFORE_THE_CLOSE: &str = "2026-11-23T16:00:00Z";

#[tokio::test]
async fn on_the_ex_date_the_previous_close_is_used_less_the_dividend() {
    let (exchange, sam, eve) = weekend(prices("2026-11-01T00:00:00Z")).await;
    exchange.at(BEFORE_THE_CLOSE);
    exchange.work().await;
    let preview = exchange.trading().preview_order(sam.reference(), order(Side::Sell, "AAPL", shares("10")));
    assert_eq!(preview.await.unwrap().quote.price, price("102.00"));
    let sold = exchange.sell(sam, "AAPL", "10").await.unwrap().order;
    let receipt = sold.fills[0].receipt.as_ref().unwrap();
    assert_eq!(
        (&receipt.quoted_price, receipt.quoted_at),
        (&price("102.00"), moment("2026-11-20T21:00:00Z"))
    );
    exchange.buy(eve, "AAPL", "10").await.unwrap();
    // The holder at the opening gets the dividend; neither of the total values changes.
    assert_eq!(worth(&exchange, sam).await, ["1020.00", "10.00", "1030.00"]);
    assert_eq!(worth(&exchange, eve).await, ["980.00", "0.00", "2000.00"]);
    exchange.prices.set("AAPL", "102.00");
    exchange.prices.set_close("AAPL", day("2026-11-23"), "102.00");
    exchange.at("2026-11-24T16:00:00Z");
    exchange.work().await;
    assert_eq!(worth(&exchange, eve).await[2], "2000.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_trade_at_an_earlier_price_includes_a_dividend_that_is_not_known_yet() {
    let (exchange, sam, eve) = weekend(prices("2026-11-24T12:00:00Z")).await;
    exchange.at(BEFORE_THE_CLOSE);
    exchange.sell(sam, "AAPL", "10").await.unwrap();
    exchange.buy(eve, "AAPL", "9").await.unwrap();
    exchange.sell(eve, "AAPL", "2").await.unwrap();
    exchange.prices.set("AAPL", "102.00");
    exchange.prices.set_close("AAPL", day("2026-11-23"), "102.00");
    // A trade at the close of the ex-date does not include the dividend, even though it is still unknown.
    exchange.at("2026-11-23T22:00:00Z");
    exchange.work().await;
    exchange.buy(eve, "AAPL", "1").await.unwrap();
    exchange.at("2026-11-24T15:40:00Z");
    exchange.work().await;
    exchange.work().await;
    assert_eq!(
        worth(&exchange, sam).await,
        ["1030.00", "0.00", "1030.00"],
        "the price of 103.00 included the dividend"
    );
    // 2,000.00 − 9 × 103.00 + 2 × 103.00 − 102.00, and 1.00 for each of the seven shares.
    assert_eq!(worth(&exchange, eve).await, ["1177.00", "7.00", "2000.00"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_working_order_fills_at_a_late_close_less_the_dividend() {
    let prices = prices("2026-11-01T00:00:00Z");
    let thursday = moment("2026-11-19T21:00:00Z");
    prices.set_as_of("AAPL", Some(thursday));
    let exchange = Exchange::with(prices).await;
    exchange.at("2026-11-20T16:00:00Z");
    let (sam, eve) = (exchange.investor("sam", "2000.00").await, exchange.investor("eve", "2000.00").await);
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    let waiting = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "10", limit("102.50"))).await;
    let too_low = exchange.accepted(eve, gtc(Side::Buy, "AAPL", "10", limit("101.99"))).await;
    // Friday's close is published on Monday.
    exchange.at(BEFORE_THE_CLOSE);
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-20T21:00:00Z")));
    exchange.work().await;
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(eve, too_low).await.status, OrderStatus::Accepted);
    let filled = exchange.look(sam, waiting).await;
    assert_eq!(filled.status, OrderStatus::Filled);
    assert_eq!(filled.filled_price.unwrap().to_string(), "102.000000");
    assert_eq!(worth(&exchange, sam).await, ["980.00", "0.00", "2000.00"]);
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valued.day_change, money("0"));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn payments_that_are_late_are_booked_in_the_order_of_their_days() {
    let exchange = Exchange::new().await;
    let dividend = |ticker: &str, ex_on: &str, pays_on: &str| {
        let amount = PerShare::from_scaled(1, 0).unwrap();
        let kind = CorporateActionKind::CashDividend { amount, pays_on: day(pays_on) };
        let action = CorporateAction::new(symbol(ticker), day(ex_on), kind);
        exchange.prices.announce(moment("2026-11-01T00:00:00Z"), action);
    };
    // The one that goes ex first is paid last.
    dividend("AAPL", "2026-11-21", "2026-11-29");
    dividend("MSFT", "2026-11-22", "2026-11-27");
    dividend("JPM", "2026-11-23", "2026-11-28");
    let sam = exchange.investor("sam", "10000.00").await;
    for ticker in ["AAPL", "MSFT", "JPM"] {
        exchange.buy(sam, ticker, "1").await.unwrap();
    }
    exchange.at("2026-11-24T16:00:00Z");
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    exchange.work().await;
    // No worker runs on the three days of payment.
    exchange.at("2026-12-01T16:00:00Z");
    exchange.work().await;
    let page =
        exchange.books().transactions(sam.reference(), TransactionFilter::default(), None, 3).await.unwrap();
    let paid: Vec<String> = page
        .items
        .iter()
        .map(|line| format!("{} {}", line.symbol.as_ref().unwrap(), exchange_date(line.entry.timestamp)))
        .collect();
    assert_eq!(paid, ["AAPL 2026-11-29", "JPM 2026-11-28", "MSFT 2026-11-27"]);
    exchange.assert_books_balance().await;
}
