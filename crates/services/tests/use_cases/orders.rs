use chrono::TimeDelta;
use domain::{
    Calendar, FillRule, Freshness, OrderFilter, OrderId, OrderRejected, OrderStatus, OrderWarning,
    PlaceOrder, Side, TimeInForce, TransactionType,
};
use market_data::QuoteError;
use services::testing::FixedPrices;
use services::{Error, NotFound};
use uuid::Uuid;

use crate::harness::{
    Exchange, Investor, assert_not_found, called, fields, moment, money, notional, order, quantity,
    rejection, shares, symbol,
};

async fn position(exchange: &Exchange, who: Investor) -> (String, String, String) {
    let valued = exchange.books().valuation(who.reference()).await.unwrap();
    let position = &valued.valuation.holdings[0].position;
    (
        position.quantity.to_string(),
        position.cost_basis.to_string(),
        position.average_buy_price().unwrap().to_string(),
    )
}

#[tokio::test]
async fn a_market_buy_fills_at_the_ask_with_a_receipt() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    exchange.prices.set_bid_and_ask("AAPL", "149.97", "150.03");
    exchange.pass(TimeDelta::seconds(7));
    let placed = exchange.buy(sam, "AAPL", "10").await.unwrap();
    assert!(!placed.replayed);
    let order = &placed.order.order;
    assert_eq!(
        (order.status, order.side, order.portfolio_id),
        (OrderStatus::Filled, Side::Buy, sam.portfolio)
    );
    assert_eq!(
        (order.filled_quantity.to_string(), order.filled_price.as_ref().unwrap().to_string()),
        ("10".into(), "150.030000".into())
    );
    assert_eq!((order.submitted_at, order.filled_at), (exchange.now(), Some(exchange.now())));
    let [fill] = placed.order.fills.as_slice() else { panic!("one fill: {placed:?}") };
    assert_eq!((fill.order_id, fill.transaction_type), (Some(order.id), TransactionType::Buy));
    assert_eq!((fill.amount.to_string(), fill.commission.to_string()), ("-1500.30".into(), "0.00".into()));
    assert_eq!(fill.realized_pnl, None);
    let receipt = fill.receipt.as_ref().unwrap();
    assert_eq!(
        (receipt.source.as_str(), receipt.rule, receipt.quoted_at),
        ("fixed", FillRule::Ask, exchange.now())
    );

    assert_eq!(exchange.cash(sam).await, "8499.70");
    assert_eq!(position(&exchange, sam).await, ("10".into(), "1500.30".into(), "150.030000".into()));
    assert_eq!(exchange.trading().order(sam.reference(), order.id).await.unwrap(), placed.order);
    assert_eq!(exchange.journal(sam).await[0], *fill);
    exchange.assert_books_balance().await;
}

/// Bought 10 at 100.00 and 10 at 120.00, sold 15 at 130.00: average 110.00, 300.00 realized, 5 left.
#[tokio::test]
async fn a_market_sell_fills_at_the_bid_and_realizes_against_the_average() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "5000.00").await;
    exchange.prices.set("AAPL", "100.00");
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set("AAPL", "120.00");
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    exchange.prices.set_bid_and_ask("AAPL", "130.00", "130.10");
    let sold = exchange.sell(sam, "AAPL", "15").await.unwrap();
    let fill = &sold.order.fills[0];
    assert_eq!((fill.transaction_type, fill.amount.to_string()), (TransactionType::Sell, "1950.00".into()));
    assert_eq!(fill.realized_pnl, Some(money("300.00")));
    assert_eq!(fill.receipt.as_ref().unwrap().rule, FillRule::Bid);
    assert_eq!(exchange.cash(sam).await, "4750.00");
    assert_eq!(position(&exchange, sam).await, ("5".into(), "550.00".into(), "110.000000".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn selling_all_shares_leaves_no_holding_and_no_cost() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    exchange.prices.set("AAPL", "33.33");
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    for _ in 0..3 {
        exchange.sell(sam, "AAPL", "1").await.unwrap();
    }
    let valuation = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!((valuation.holdings.len(), valuation.total_value), (0, money("100.00")));
    // The position can be opened again.
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    assert_eq!(position(&exchange, sam).await.1, "99.99");
    exchange.assert_books_balance().await;
}

/// 0.333333333 × 150.03 = 50.00999995, and 0.000000001 × … is less than a cent.
#[tokio::test]
async fn fractions_of_a_share_are_rounded_to_the_cent_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    exchange.prices.set("AAPL", "150.03");
    let bought = exchange.buy(sam, "AAPL", "0.333333333").await.unwrap();
    assert_eq!(bought.order.fills[0].amount, money("-50.01"));
    assert_eq!(rejection(exchange.buy(sam, "AAPL", "0.000000001").await), OrderRejected::TooSmall);
    // 0.100000001 × 150.03 = 15.00300015; its share of the cost is 15.003…
    let sold = exchange.sell(sam, "AAPL", "0.100000001").await.unwrap();
    assert_eq!(
        (sold.order.fills[0].amount.clone(), sold.order.fills[0].realized_pnl.clone()),
        (money("15.00"), Some(money("0.00")))
    );
    assert_eq!(position(&exchange, sam).await.0, "0.233333332");
    exchange.assert_books_balance().await;
}

/// 1000.00 / 150.03 = 6.66533359994…, rounded down to nine decimals.
#[tokio::test]
async fn a_notional_order_is_converted_to_shares_at_its_price() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.prices.set_bid_and_ask("AAPL", "149.97", "150.03");
    let all = order(Side::Buy, "AAPL", notional("1000.00"));
    let bought = exchange.trading().place_order(sam.control(), all).await.unwrap().order.order;
    assert_eq!(
        (bought.filled_quantity.to_string(), bought.size),
        ("6.665333599".into(), notional("1000.00"))
    );
    assert_eq!(exchange.cash(sam).await, "0.00");
    // 100.00 / 149.97 = 0.666800026…
    let some = order(Side::Sell, "AAPL", notional("100.00"));
    let sold = exchange.trading().place_order(sam.control(), some).await.unwrap().order.order;
    assert_eq!(sold.filled_quantity.to_string(), "0.666800026");
    assert_eq!(exchange.cash(sam).await, "100.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn rejections_contain_the_numbers_and_change_nothing() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1499.99").await;
    let before = exchange.books().portfolio(sam.reference()).await.unwrap();
    exchange.pass(TimeDelta::seconds(1));

    assert_eq!(
        rejection(exchange.buy(sam, "AAPL", "10").await),
        OrderRejected::InsufficientBuyingPower { required: money("1500.00"), available: money("1499.99") }
    );
    assert_eq!(
        rejection(exchange.sell(sam, "AAPL", "0.5").await),
        OrderRejected::InsufficientShares { required: quantity("0.5"), available: domain::Quantity::zero() }
    );
    assert!(matches!(
        exchange.buy(sam, "NOSUCH", "1").await,
        Err(Error::UnknownSymbol(unknown)) if unknown == symbol("NOSUCH")
    ));
    let nothing = order(Side::Buy, "AAPL", notional("0.00"));
    let refused = exchange.trading().place_order(sam.control(), nothing).await;
    assert_eq!(rejection(refused), OrderRejected::TooSmall);

    assert_eq!(exchange.books().portfolio(sam.reference()).await.unwrap(), before);
    assert_eq!(exchange.all_orders(sam).await, []);
    assert_eq!(exchange.journal(sam).await.len(), 1);
    let positions = exchange.read(move |tx| persistence::positions::of_portfolio(tx, sam.portfolio)).await;
    assert_eq!(positions, []);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn selling_more_than_held_is_rejected() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2.5").await.unwrap();
    assert_eq!(
        rejection(exchange.sell(sam, "AAPL", "2.500000001").await),
        OrderRejected::InsufficientShares { required: quantity("2.500000001"), available: quantity("2.5") }
    );
    exchange.sell(sam, "AAPL", "2.5").await.unwrap();
}

#[tokio::test]
async fn an_old_price_fills_no_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let a_minute_ago = exchange.now() - TimeDelta::seconds(60);
    exchange.prices.set_as_of("AAPL", Some(a_minute_ago - TimeDelta::microseconds(1)));
    let now_or_never =
        PlaceOrder { time_in_force: TimeInForce::Ioc, ..order(Side::Buy, "AAPL", shares("1")) };
    assert_eq!(
        rejection(exchange.place(sam, now_or_never).await),
        OrderRejected::NoFreshPrice { as_of: a_minute_ago - TimeDelta::microseconds(1) }
    );
    // A market order for the day waits for the first price.
    let waits = exchange.buy(sam, "AAPL", "1").await.unwrap().order.order;
    assert_eq!((waits.status, waits.reserved_cash.to_string()), (OrderStatus::Accepted, "150.00".into()));
    exchange.prices.set_as_of("AAPL", Some(a_minute_ago));
    assert_eq!(exchange.buy(sam, "AAPL", "1").await.unwrap().order.order.status, OrderStatus::Filled);
    exchange.pass(TimeDelta::seconds(1));
    exchange.prices.set_as_of("AAPL", None);
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, waits.id).await.status, OrderStatus::Filled);
}

/// Yahoo's prices on Monday, 16:40 in New York: the last one is from 16:00:01.
#[tokio::test]
async fn a_market_order_in_the_evening_fills_at_the_close_of_a_delayed_source() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-30T21:40:00Z");
    exchange.prices.set("AAPL", "51.00");
    exchange.prices.set_bid_and_ask("AAPL", "48.00", "60.00");
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-30T21:00:01Z")));
    let command = order(Side::Buy, "AAPL", shares("1"));
    let preview = exchange.trading().preview_order(sam.reference(), command.clone()).await.unwrap();
    let warnings = preview.warnings();
    let session = "2026-11-30".parse().unwrap();
    assert!(warnings.contains(&OrderWarning::PastClose { session }), "{warnings:?}");
    let bought = exchange.place(sam, command.clone()).await.unwrap().order;
    assert_eq!(bought.order.filled_price.as_ref().unwrap().to_string(), "51.000000");
    assert_eq!(bought.fills[0].receipt.as_ref().unwrap().rule, FillRule::PastClose);
    // After the next opening, the same order waits for the first price of the session.
    exchange.at("2026-12-01T14:31:00Z");
    let waits = exchange.place(sam, command).await.unwrap().order.order;
    assert_eq!(waits.status, OrderStatus::Accepted);
    exchange.at("2026-12-01T14:50:00Z");
    exchange.prices.set("AAPL", "52.50");
    exchange.prices.set_as_of("AAPL", None);
    exchange.trading().match_orders().await.unwrap();
    let filled = exchange.trading().order(sam.reference(), waits.id).await.unwrap();
    assert_eq!(filled.order.filled_price.as_ref().unwrap().to_string(), "52.500000");
    assert_eq!(filled.fills[0].receipt.as_ref().unwrap().rule, FillRule::Last);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_end_of_day_price_fills_until_the_next_one_is_overdue() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys)).await;
    let sam = exchange.investor("sam", "1000.00").await;
    // On Friday afternoon, the newest close is Thursday's.
    let bought = exchange.buy(sam, "AAPL", "1").await.unwrap();
    let receipt = bought.order.fills[0].receipt.clone().unwrap();
    assert_eq!(
        (receipt.quoted_at.to_rfc3339(), receipt.rule),
        ("2026-11-19T21:00:00Z".into(), FillRule::PastClose)
    );
    // Friday's close has not come by Friday evening.
    exchange.prices.set_as_of("AAPL", Some(receipt.quoted_at));
    exchange.at("2026-11-20T21:30:00Z");
    let waits = exchange.buy(sam, "AAPL", "1").await.unwrap().order.order;
    assert_eq!(waits.status, OrderStatus::Accepted);
}

#[tokio::test]
async fn without_an_answer_the_last_price_is_shown_and_fills_no_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    let bought_at = exchange.now();
    exchange.prices.set("AAPL", "160.00");
    exchange.prices.fail_with(QuoteError::Unreachable);
    exchange.pass(TimeDelta::seconds(5));

    let quote = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
    assert_eq!((quote.price.to_string(), quote.as_of, quote.stale), ("150.00".into(), bought_at, true));
    let valuation = exchange.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valuation.total_value, money("1000.00"));
    assert!(valuation.holdings[0].quote.stale);
    for waits in [exchange.buy(sam, "AAPL", "1").await, exchange.sell(sam, "AAPL", "1").await] {
        let waits = waits.unwrap().order.order;
        assert_eq!(waits.status, OrderStatus::Accepted);
        exchange.trading().cancel_order(sam.control(), waits.id).await.unwrap();
    }
    // A stock that never had a price has none.
    assert!(matches!(exchange.stocks().quote(&symbol("MSFT")).await, Err(Error::NoPrice { .. })));
    assert!(matches!(exchange.buy(sam, "MSFT", "1").await, Err(Error::NoPrice { .. })));

    exchange.prices.recover();
    exchange.sell(sam, "AAPL", "2").await.unwrap();
    assert_eq!(exchange.cash(sam).await, "1020.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_repeated_request_returns_the_first_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let command = called("breakfast-1", order(Side::Buy, "AAPL", shares("2")));
    let first = exchange.trading().place_order(sam.control(), command.clone()).await.unwrap();
    exchange.pass(TimeDelta::days(3));
    exchange.prices.set("AAPL", "170.00");
    // A repetition needs no price.
    exchange.prices.fail_with(QuoteError::Unreachable);
    // The same size may be written differently.
    let retried = called("breakfast-1", order(Side::Buy, "aapl", shares("2.000")));
    let again = exchange.trading().place_order(sam.control(), retried).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.order, first.order);
    assert_eq!(exchange.cash(sam).await, "700.00");
    assert_eq!(exchange.journal(sam).await.len(), 2);
}

#[tokio::test]
async fn a_used_name_is_rejected_for_another_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "10000.00").await;
    let place = async |portfolio, command| {
        exchange.trading().place_order(sam.trader().portfolio(portfolio), called("x", command)).await
    };
    place(sam.portfolio, order(Side::Buy, "AAPL", shares("2"))).await.unwrap();
    for other in [
        order(Side::Buy, "AAPL", shares("2.1")),
        order(Side::Buy, "AAPL", notional("2")),
        order(Side::Sell, "AAPL", shares("2")),
        order(Side::Buy, "MSFT", shares("2")),
        PlaceOrder { time_in_force: domain::TimeInForce::Gtc, ..order(Side::Buy, "AAPL", shares("2")) },
    ] {
        let refused = place(sam.portfolio, other.clone()).await;
        assert!(matches!(refused, Err(Error::ClientOrderIdReused)), "{other:?}");
    }
    // Names are unique only within a portfolio.
    let second = exchange.open(sam.user, "1000.00").await;
    assert!(!place(second, order(Side::Buy, "AAPL", shares("3"))).await.unwrap().replayed);
    assert_eq!(exchange.cash(sam).await, "9700.00");
}

#[tokio::test]
async fn a_rejected_order_does_not_use_its_name() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "100.00").await;
    let command = called("x", order(Side::Buy, "AAPL", shares("1")));
    rejection(exchange.trading().place_order(sam.control(), command.clone()).await);
    exchange.deposit(sam, "50.00").await.unwrap();
    assert!(!exchange.trading().place_order(sam.control(), command).await.unwrap().replayed);
}

#[tokio::test]
async fn names_of_orders_are_short_and_printable() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let place = async |id: &str| {
        let command = called(id, order(Side::Buy, "AAPL", shares("0.1")));
        exchange.trading().place_order(sam.control(), command).await
    };
    for bad in ["", "two words", "ümlaut", "line\n", "a\0b", &"x".repeat(129)] {
        assert_eq!(fields(place(bad).await), ["client_order_id"], "{bad}");
        let command = called(bad, order(Side::Buy, "AAPL", shares("0.1")));
        let previewed = exchange.trading().preview_order(sam.reference(), command).await;
        assert_eq!(fields(previewed), ["client_order_id"], "{bad}");
    }
    for good in ["1", "~/a:b'--", &"x".repeat(128)] {
        assert!(place(good).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn orders_come_newest_first_in_pages_with_their_fills() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        exchange.pass(TimeDelta::seconds(1));
        placed.push(exchange.buy(sam, "AAPL", "1").await.unwrap().order);
    }
    placed.reverse();
    let first = exchange.trading().orders(sam.reference(), OrderFilter::default(), None, 2).await.unwrap();
    assert_eq!((first.items.as_slice(), first.next), (&placed[..2], Some(placed[1].order.id)));
    let rest =
        exchange.trading().orders(sam.reference(), OrderFilter::default(), first.next, 3).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&placed[2..], None));
    assert_not_found(NotFound::Order, exchange.trading().order(sam.reference(), OrderId(Uuid::nil())).await);
}

/// For every kind of source and at every hour of a week: a price that is shown as current fills an order, and a price
/// that is shown as stale does not.
#[tokio::test]
async fn an_order_fills_exactly_at_prices_that_are_not_shown_as_stale() {
    for freshness in [Freshness::Realtime, Freshness::Delayed, Freshness::EndOfDay] {
        let exchange = Exchange::with(FixedPrices::of(freshness, Calendar::Xnys)).await;
        let sam = exchange.investor("sam", "100000.00").await;
        let (mut filled, mut refused) = (0, 0);
        for hours in 0..120 {
            exchange.pass(TimeDelta::hours(1));
            // A close is valid for hours, other prices for minutes.
            let unit = if freshness == Freshness::EndOfDay { 60 } else { 1 };
            let age = TimeDelta::minutes(unit * [0, 1, 5, 19, 21, 60, 125][hours % 7]);
            let newest = exchange.now() - age;
            exchange.prices.set_as_of("AAPL", (hours % 3 != 0).then_some(newest));
            let shown = exchange.stocks().quote(&symbol("AAPL")).await.unwrap();
            match exchange.buy(sam, "AAPL", "1").await {
                Ok(placed) if placed.order.order.status == OrderStatus::Filled => {
                    assert!(!shown.stale, "{freshness:?} {shown:?}");
                    filled += 1;
                }
                Ok(placed) => {
                    assert_eq!(placed.order.order.status, OrderStatus::Accepted);
                    assert!(shown.stale, "{freshness:?} {shown:?}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(filled > 5 && refused > 5, "{freshness:?}: {filled} {refused}");
    }
}
