//! Canceling all orders, closing all positions, and closing a position whose shares are reserved.

use domain::{Attached, OrderFilter, OrderId, OrderStatus, Side, StopLoss, TimeInForce};
use market_data::QuoteError;
use services::accounts::actor::Trader;
use services::trading::closing::{CancelAttempt, CloseAllPositions, CloseAttempt, ClosePosition};
use services::{Error, NotFound};

use crate::closing_positions::{closing, held, percent};
use crate::harness::{
    Exchange, Investor, assert_not_found, gtc, limit, moment, order, price, quantity, shares, symbol,
};

/// Places a buy of ten shares at 150.00 with exits at 170.00 and 130.00.
async fn bracket(exchange: &Exchange, who: Investor) -> Vec<OrderId> {
    let stop_loss = StopLoss { stop: price("130.00"), limit: None };
    let attached = Attached::Bracket { take_profit: price("170.00"), stop_loss };
    let command = domain::PlaceOrder {
        attached,
        time_in_force: TimeInForce::Gtc,
        ..order(Side::Buy, "AAPL", shares("10"))
    };
    let placed = exchange.place(who, command).await.unwrap().order;
    std::iter::once(&placed).chain(&placed.legs).map(|one| one.order.id).collect()
}

fn canceled(attempts: &[CancelAttempt]) -> Vec<(OrderId, OrderStatus)> {
    assert!(attempts.iter().all(|attempt| attempt.failure.is_none()), "{attempts:?}");
    attempts.iter().map(|attempt| (attempt.order.order.id, attempt.order.order.status)).collect()
}

async fn open_orders(exchange: &Exchange, who: Investor) -> Vec<OrderId> {
    let filter = OrderFilter { open: Some(true), ..OrderFilter::default() };
    let page = exchange.trading().orders(who.reference(), filter, None, 1000).await.unwrap();
    page.items.iter().map(|one| one.order.id).collect()
}

/// One text like `AAPL filled` per attempt.
fn closed(attempts: &[CloseAttempt]) -> Vec<String> {
    let line = |attempt: &CloseAttempt| match &attempt.outcome {
        Ok(placed) => format!("{} {}", attempt.symbol, placed.order.order.status),
        Err(error) => format!("{}: {error}", attempt.symbol),
    };
    attempts.iter().map(line).collect()
}

fn all(cancel_orders: bool, key: Option<&str>) -> CloseAllPositions {
    CloseAllPositions { cancel_orders, key: key.map(str::to_owned) }
}

#[tokio::test]
async fn all_open_orders_are_canceled_and_each_is_returned() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    let other = Investor { portfolio: exchange.open(sam.user, "1000.00").await, ..sam };
    let exits = bracket(&exchange, sam).await;
    let microsoft = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("100"))).await;
    let apple = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let kept = exchange.accepted(other, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;

    let some = exchange.trading().cancel_orders(sam.control(), Some(symbol("MSFT"))).await.unwrap();
    assert_eq!(canceled(&some), [(microsoft, OrderStatus::Canceled)]);
    let rest = exchange.trading().cancel_orders(sam.control(), None).await.unwrap();
    let expected = [exits[1], exits[2], apple].map(|id| (id, OrderStatus::Canceled));
    assert_eq!(canceled(&rest), expected, "the entry has filled");
    assert_eq!(open_orders(&exchange, sam).await, []);
    assert_eq!(open_orders(&exchange, other).await, [kept]);
    let none = exchange.trading().cancel_orders(sam.control(), None).await.unwrap();
    assert_eq!(canceled(&none), []);
    let unknown = exchange.trading().cancel_orders(sam.control(), Some(symbol("NONESUCH"))).await.unwrap();
    assert_eq!(canceled(&unknown), []);
    let valued = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valued.buying_power, valued.cash_balance, "nothing is reserved any more");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn more_orders_than_one_batch_are_canceled() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    for _ in 0..300 {
        exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
    }
    assert_eq!(exchange.trading().cancel_orders(sam.control(), None).await.unwrap().len(), 300);
    assert_eq!(open_orders(&exchange, sam).await, []);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn other_and_archived_portfolios_are_unchanged() {
    let exchange = Exchange::new().await;
    let (sam, eve) = (exchange.investor("sam", "1000.00").await, exchange.user("eve").await);
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let open = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1", limit("900"))).await;
    assert_not_found(
        NotFound::Portfolio,
        exchange.trading().cancel_orders(Trader::on_behalf_of(eve).portfolio(sam.portfolio), None).await,
    );
    let close = exchange
        .trading()
        .close_all_positions(Trader::on_behalf_of(eve).portfolio(sam.portfolio), all(true, None))
        .await;
    assert_not_found(NotFound::Portfolio, close);
    let one = ClosePosition { cancel_orders: true, ..closing("AAPL", percent("100")) };
    assert_not_found(
        NotFound::Portfolio,
        exchange.trading().close_position(Trader::on_behalf_of(eve).portfolio(sam.portfolio), one).await,
    );
    assert_eq!(open_orders(&exchange, sam).await, [open]);
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    let cancel = exchange.trading().cancel_orders(sam.control(), None).await;
    assert!(matches!(cancel, Err(Error::Archived)), "{cancel:?}");
    let close = exchange.trading().close_all_positions(sam.control(), all(false, None)).await;
    assert!(matches!(close, Err(Error::Archived)), "{close:?}");
}

#[tokio::test]
async fn closing_a_position_can_cancel_the_orders_that_reserve_its_shares() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    let exits = bracket(&exchange, sam).await;
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let other = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("100"))).await;
    let close = |cancel_orders| ClosePosition {
        cancel_orders,
        client_order_id: Some("close-aapl".into()),
        ..closing("AAPL", percent("33.3333"))
    };
    let refused = exchange.trading().close_position(sam.control(), close(false)).await;
    match refused {
        Err(Error::SharesReserved { required, available, .. }) => {
            assert_eq!((required, available), (quantity("3.33333"), domain::Quantity::zero()));
        }
        other => panic!("{other:?}"),
    }
    let placed = exchange.trading().close_position(sam.control(), close(true)).await.unwrap();
    assert_eq!(placed.order.order.status, OrderStatus::Filled);
    assert_eq!(held(&exchange, sam).await, "6.66667");
    assert_eq!(open_orders(&exchange, sam).await, [other], "orders in other stocks stay");
    assert_eq!(exchange.look(sam, exits[1]).await.status, OrderStatus::Canceled);
    // Placed again under the same name, it cancels no orders.
    let later = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1", limit("900"))).await;
    let again = exchange.trading().close_position(sam.control(), close(true)).await.unwrap();
    assert!(again.replayed && again.order.order.id == placed.order.order.id);
    assert_eq!(open_orders(&exchange, sam).await, [later, other]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn orders_stay_open_when_their_position_cannot_be_closed() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    let exits = bracket(&exchange, sam).await;
    let too_many = ClosePosition { cancel_orders: true, ..closing("AAPL", shares("10.5")) };
    assert!(exchange.trading().close_position(sam.control(), too_many).await.is_err());
    assert_eq!(open_orders(&exchange, sam).await, [exits[2], exits[1]]);
    // Without a price, no order is placed.
    exchange.pass(chrono::TimeDelta::days(40));
    exchange.prices.fail_with(QuoteError::Unreachable);
    let close = ClosePosition { cancel_orders: true, ..closing("AAPL", percent("100")) };
    let refused = exchange.trading().close_position(sam.control(), close).await;
    let still_open = open_orders(&exchange, sam).await;
    assert!(refused.is_ok() || still_open == [exits[2], exits[1]], "{refused:?} {still_open:?}");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn all_positions_are_closed_without_remainders_and_other_orders_stay() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.buy(sam, "AAPL", "7.000000001").await.unwrap();
    exchange.buy(sam, "MSFT", "0.333333333").await.unwrap();
    exchange.buy(sam, "JPM", "2").await.unwrap();
    let waiting = exchange.accepted(sam, gtc(Side::Sell, "JPM", "1", limit("900"))).await;
    let buy = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", limit("1"))).await;
    let attempts =
        exchange.trading().close_all_positions(sam.control(), all(false, None)).await.unwrap().value;
    let expected = [
        "AAPL filled",
        "JPM: open orders reserve shares of JPM: 2 are to be sold and 1 are free; cancel these orders first",
        "MSFT filled",
    ];
    assert_eq!(closed(&attempts), expected);
    assert_eq!(open_orders(&exchange, sam).await, [buy, waiting]);
    let rest = exchange.trading().close_all_positions(sam.control(), all(true, None)).await.unwrap().value;
    assert_eq!(closed(&rest), ["JPM filled"]);
    assert_eq!(open_orders(&exchange, sam).await, [], "also orders in stocks that are not held");
    assert_eq!(exchange.cash(sam).await, "100000.00");
    let none = exchange.trading().close_all_positions(sam.control(), all(true, None)).await.unwrap().value;
    assert_eq!(closed(&none), Vec::<String>::new());
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn closing_all_positions_twice_under_one_key_sells_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.buy(sam, "MSFT", "1").await.unwrap();
    let close = async || {
        exchange.trading().close_all_positions(sam.control(), all(true, Some("evening"))).await.unwrap()
    };
    let (first, second) = tokio::join!(close(), close());
    for (one, other) in first.value.iter().zip(&second.value) {
        let ids = [one, other].map(|attempt| attempt.outcome.as_ref().unwrap().order.order.id);
        assert_eq!(ids[0], ids[1], "two requests at a time place one order");
    }
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    exchange.buy(sam, "JPM", "3").await.unwrap();
    let kept = exchange.accepted(sam, gtc(Side::Sell, "JPM", "1", limit("900"))).await;
    let again = close().await;
    assert!(again.replayed);
    assert_eq!(closed(&again.value), ["AAPL filled", "MSFT filled"]);
    let names: Vec<_> = again
        .value
        .iter()
        .map(|attempt| attempt.outcome.as_ref().unwrap().order.order.client_order_id.clone().unwrap())
        .collect();
    assert_eq!(names, ["evening-AAPL", "evening-MSFT"]);
    assert_eq!(held(&exchange, sam).await, "3");
    assert_eq!(open_orders(&exchange, sam).await, [kept]);
    for wrong in ["", "two words", "\0", "ä", &"k".repeat(116)] {
        let refused = exchange.trading().close_all_positions(sam.control(), all(false, Some(wrong))).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{wrong:?}");
    }
    let longest = "k".repeat(115);
    let longest = exchange.trading().close_all_positions(sam.control(), all(true, Some(&longest))).await;
    assert_eq!(closed(&longest.unwrap().value), ["AAPL filled", "JPM filled"]);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_cursor_is_valid_with_other_filters_but_not_in_other_portfolios() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100000.00").await;
    let other = Investor { portfolio: exchange.open(sam.user, "1000.00").await, ..sam };
    let mut ids = Vec::new();
    for number in 0..5 {
        exchange.at(&format!("2026-11-20T19:12:0{number}Z"));
        let ticker = if number % 2 == 0 { "AAPL" } else { "MSFT" };
        ids.push(exchange.accepted(sam, gtc(Side::Buy, ticker, "1", limit("1.00"))).await);
    }
    let strange = exchange.accepted(other, gtc(Side::Buy, "AAPL", "1", limit("1.00"))).await;
    let listed = async |filter: OrderFilter, last| {
        let page = exchange.trading().orders(sam.reference(), filter, last, 10).await?;
        Ok::<Vec<OrderId>, Error>(page.items.iter().map(|one| one.order.id).collect())
    };
    let apple = OrderFilter { symbol: Some(symbol("AAPL")), ..OrderFilter::default() };
    assert_eq!(listed(apple.clone(), Some(ids[3])).await.unwrap(), [ids[2], ids[0]]);
    // The cursor's order ends, but its place in the list stays valid.
    exchange.trading().cancel_order(sam.control(), ids[3]).await.unwrap();
    let open = OrderFilter { open: Some(true), ..OrderFilter::default() };
    assert_eq!(listed(open, Some(ids[3])).await.unwrap(), [ids[2], ids[1], ids[0]]);
    let ascending = OrderFilter { direction: domain::SortDirection::Ascending, ..apple };
    assert_eq!(listed(ascending, Some(ids[1])).await.unwrap(), [ids[2], ids[4]]);
    let late = OrderFilter { after: Some(moment("2026-11-20T19:12:02Z")), ..OrderFilter::default() };
    assert_eq!(listed(late, None).await.unwrap(), [ids[4], ids[3]]);
    assert!(matches!(listed(OrderFilter::default(), Some(strange)).await, Err(Error::Invalid(_))));
}
