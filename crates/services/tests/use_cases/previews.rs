use chrono::TimeDelta;
use domain::{OrderRejected, PlaceOrder, Side};
use market_data::QuoteError;
use services::Error;

use crate::harness::{Exchange, Investor, close_to, money, notional, order, rejection, shares, symbol};

/// Previews an order, places it, and compares what came out with what was foretold.
async fn assert_foretold(exchange: &Exchange, who: Investor, command: PlaceOrder) {
    let foretold = exchange.preview_order(who.user, who.portfolio, command.clone()).await.unwrap();
    let before = exchange.valuation(who.user, who.portfolio).await.unwrap().valuation;
    assert_eq!(foretold.cash_before, before.cash_balance);
    assert_eq!(
        exchange.preview_order(who.user, who.portfolio, command.clone()).await.unwrap(),
        foretold,
        "looking changes nothing"
    );

    let placed = exchange.place_order(who.user, who.portfolio, command).await.unwrap().order;
    let fill = &placed.fills[0];
    assert_eq!(foretold.fill.quantity, placed.order.filled_quantity);
    assert_eq!(foretold.fill.price, placed.order.filled_price);
    assert_eq!(Some(&foretold.fill.receipt), fill.receipt.as_ref());
    assert_eq!((&foretold.amount, &foretold.commission), (&fill.amount, &fill.commission));
    assert_eq!(foretold.realized_pnl, fill.realized_pnl);
    let after = exchange.valuation(who.user, who.portfolio).await.unwrap().valuation;
    assert_eq!(foretold.cash_after, after.cash_balance);
    let held = after.holdings.iter().find(|holding| holding.stock_id == foretold.stock.id);
    let average = held.and_then(|holding| holding.average_buy_price());
    assert_eq!(foretold.average_buy_price_after, average);
    match held {
        Some(holding) => {
            assert_eq!(foretold.quantity_after, holding.position.quantity);
            assert!(close_to(foretold.weight_after, after.weight(&holding.market_value)), "{foretold:?}");
        }
        None => assert!(foretold.quantity_after.is_zero() && foretold.weight_after == 0.0),
    }
}

#[tokio::test]
async fn a_preview_foretells_what_placing_does() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.prices.set_bid_and_ask("AAPL", "149.97", "150.03");
    for command in [
        order(Side::Buy, "AAPL", shares("10")),
        order(Side::Buy, "MSFT", notional("1234.56")),
        order(Side::Buy, "AAPL", shares("0.333333333")),
        order(Side::Sell, "AAPL", shares("4.2")),
        order(Side::Sell, "AAPL", notional("100.00")),
        order(Side::Sell, "MSFT", shares("3.0864")),
    ] {
        exchange.pass(TimeDelta::seconds(1));
        assert_foretold(&exchange, sam, command).await;
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_preview_by_hand() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    let buy = order(Side::Buy, "AAPL", shares("2"));
    let preview = exchange.preview_order(sam.user, sam.portfolio, buy).await.unwrap();
    assert_eq!((preview.cash_before, preview.cash_after), (money("600.00"), money("300.00")));
    assert_eq!(preview.amount, money("-300.00"));
    assert!(close_to(preview.weight_after, 0.3), "{}", preview.weight_after);
    // Nothing is stored.
    assert_eq!(exchange.cash(sam).await, "600.00");
    assert_eq!(exchange.orders(sam.user, sam.portfolio, None, 10).await.unwrap().items.len(), 1);
    assert_eq!(exchange.journal(sam).await.len(), 2);
    assert_eq!(exchange.stock(&symbol("AAPL")).await.unwrap().last, None);
}

#[tokio::test]
async fn a_preview_is_refused_as_the_order_would_be() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    let preview = async |command| exchange.preview_order(sam.user, sam.portfolio, command).await;
    assert!(matches!(
        rejection(preview(order(Side::Buy, "AAPL", shares("1"))).await),
        OrderRejected::InsufficientBuyingPower { .. }
    ));
    assert!(matches!(
        rejection(preview(order(Side::Sell, "AAPL", shares("1"))).await),
        OrderRejected::InsufficientShares { .. }
    ));
    let unknown = preview(order(Side::Buy, "NOSUCH", shares("1"))).await;
    assert!(matches!(unknown, Err(Error::UnknownSymbol(_))));
    exchange.prices.fail_with(QuoteError::Unreachable);
    let silent = preview(order(Side::Buy, "AAPL", shares("1"))).await;
    assert!(matches!(silent, Err(Error::NoPrice { .. })));
}
