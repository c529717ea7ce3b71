//! A dividend that becomes known while an order is being placed.

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{OrderRejected, OrderStatus, PerShare, PlaceOrder, ReplaceOrder, Side, TimeInForce};
use services::testing::FixedPrices;

use super::harness::{
    Exchange, Investor, day, gtc, limit, moment, order, price, quantity, rejection, shares, symbol,
};

const EX_DATE: &str = "2026-11-23";
/// Ten seconds after the opening of the ex-date.
const NEWS: &str = "2026-11-23T05:00:10Z";

/// Sam has 1,000.00. The source reports the dividend only after the opening of the ex-date.
async fn before_news() -> (Exchange, Investor) {
    let prices = FixedPrices::new();
    let kind = CorporateActionKind::CashDividend {
        amount: PerShare::from_scaled(1, 0).unwrap(),
        pays_on: day("2026-12-11"),
    };
    prices.announce(moment(NEWS), CorporateAction::new(symbol("AAPL"), day(EX_DATE), kind));
    let exchange = Exchange::with(prices).await;
    exchange.at(NEWS);
    let sam = exchange.investor("sam", "1000.00").await;
    (exchange, sam)
}

/// The dividend becomes known after the next price of AAPL was read and before it is used.
fn news_arrives(exchange: &Exchange) {
    let (worker, clock) = (exchange.another_process(), exchange.clock.clone());
    exchange.prices.meanwhile("AAPL", move || async move {
        clock.set(clock.now() + TimeDelta::seconds(1));
        worker.corporate_actions().learn_corporate_actions().await.unwrap();
        worker.corporate_actions().apply_corporate_actions().await.unwrap();
    });
}

/// A market order, and a fill-or-kill order.
fn orders() -> [PlaceOrder; 2] {
    let market = order(Side::Buy, "AAPL", shares("2"));
    [market.clone(), PlaceOrder { terms: limit("150.00"), time_in_force: TimeInForce::Ioc, ..market }]
}

#[tokio::test]
async fn an_order_fills_at_a_price_that_no_longer_includes_the_dividend() {
    for command in orders() {
        let (exchange, sam) = before_news().await;
        news_arrives(&exchange);
        let placed = exchange.place(sam, command.clone()).await;
        assert!(exchange.prices.has_happened());
        let placed = placed.unwrap_or_else(|refused| panic!("{command:?}: {refused:?}")).order;
        assert_eq!(placed.order.status, OrderStatus::Filled, "{command:?}");
        assert_eq!(placed.order.filled_price.unwrap().to_string(), "150.000000");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_replacement_fills_at_a_price_that_no_longer_includes_the_dividend() {
    let (exchange, sam) = before_news().await;
    let waiting = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("10.00"))).await;
    news_arrives(&exchange);
    let changes = ReplaceOrder {
        limit_price: Some(price("160.00")),
        quantity: Some(quantity("3")),
        ..ReplaceOrder::default()
    };
    let replaced = exchange.trading().replace_order(sam.control(), waiting, changes).await;
    assert!(exchange.prices.has_happened());
    assert_eq!(replaced.unwrap().order.order.status, OrderStatus::Filled);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_order_with_a_price_that_includes_the_dividend_is_rejected() {
    for command in orders() {
        let (exchange, sam) = before_news().await;
        exchange.prices.set_as_of("AAPL", Some(moment("2026-11-23T04:59:59Z")));
        news_arrives(&exchange);
        let refused = rejection(exchange.place(sam, command).await);
        assert!(exchange.prices.has_happened());
        assert!(matches!(refused, OrderRejected::NoFreshPrice { .. }), "{refused:?}");
        assert_eq!(exchange.cash(sam).await, "1000.00");
        exchange.assert_books_balance().await;
    }
}
