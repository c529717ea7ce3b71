//! News of a split or a dividend that arrives while an order is on its way.

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{OrderStatus, PerShare, PlaceOrder, ReplaceOrder, Side, SplitRatio, TimeInForce};
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, gtc, limit, moment, order, price, quantity, shares, symbol};

const TODAY: &str = "2026-11-23";
const AFTER_THE_OPENING: &str = "2026-11-23T15:00:00Z";

fn news() -> [CorporateActionKind; 2] {
    let ratio: SplitRatio = "2:1".parse().unwrap();
    [
        CorporateActionKind::Split { numerator: ratio.numerator, denominator: ratio.denominator },
        CorporateActionKind::CashDividend {
            amount: PerShare::from_scaled(1, 0).unwrap(),
            pays_on: day("2026-12-11"),
        },
    ]
}

/// Sam has 1,000.00. The source tells of the action only after the opening of the day on which it takes effect.
async fn before_news(kind: CorporateActionKind) -> (Exchange, Investor) {
    let prices = FixedPrices::new();
    prices.announce(moment(AFTER_THE_OPENING), CorporateAction::new(symbol("AAPL"), day(TODAY), kind));
    let exchange = Exchange::with(prices).await;
    exchange.at(AFTER_THE_OPENING);
    let sam = exchange.investor("sam", "1000.00").await;
    (exchange, sam)
}

/// The news arrives after the next price of AAPL has been read and before it is used.
fn news_arrives(exchange: &Exchange) {
    let (worker, clock) = (exchange.another_process(), exchange.clock.clone());
    exchange.prices.meanwhile("AAPL", move || async move {
        clock.set(clock.now() + TimeDelta::seconds(1));
        worker.corporate_actions().learn_corporate_actions().await.unwrap();
        worker.corporate_actions().apply_corporate_actions().await.unwrap();
    });
}

#[tokio::test]
async fn an_order_uses_the_price_after_the_news() {
    let market = order(Side::Buy, "AAPL", shares("2"));
    let at_once = PlaceOrder {
        terms: limit("150.00"),
        time_in_force: TimeInForce::Ioc,
        ..order(Side::Buy, "AAPL", shares("2"))
    };
    for kind in news() {
        for command in [&market, &at_once] {
            let (exchange, sam) = before_news(kind.clone()).await;
            news_arrives(&exchange);
            let placed = exchange.place(sam, command.clone()).await;
            assert!(exchange.prices.has_happened());
            let order = placed.unwrap_or_else(|refused| panic!("{kind:?}, {command:?}: {refused:?}")).order;
            assert_eq!(order.order.status, OrderStatus::Filled, "{kind:?}");
            let quoted_at = order.fills[0].receipt.as_ref().unwrap().quoted_at;
            assert!(quoted_at > moment(AFTER_THE_OPENING), "{kind:?}: {quoted_at}");
            exchange.assert_books_balance().await;
        }
    }
}

#[tokio::test]
async fn a_replacement_uses_the_price_after_the_news() {
    for kind in news() {
        let (exchange, sam) = before_news(kind.clone()).await;
        let waiting = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("10.00"))).await;
        news_arrives(&exchange);
        let changes = ReplaceOrder {
            limit_price: Some(price("160.00")),
            quantity: Some(quantity("3")),
            ..ReplaceOrder::default()
        };
        let replaced = exchange.trading().replace_order(sam.user, sam.portfolio, waiting, changes).await;
        assert!(exchange.prices.has_happened());
        let order = replaced.unwrap_or_else(|refused| panic!("{kind:?}: {refused:?}")).order;
        assert_eq!(order.order.status, OrderStatus::Filled, "{kind:?}");
        exchange.assert_books_balance().await;
    }
}
