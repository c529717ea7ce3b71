//! Working orders: each type, order groups, the end of the day, exchange hours, late prices, and which worker matches.

use chrono::TimeDelta;
use domain::{
    Attached, Calendar, FillRule, Freshness, Money, Order, OrderId, OrderRejected, OrderStatus, OrderTerms,
    PlaceOrder, ReplaceOrder, Side, StopLoss, TimeInForce, TradingMode, Trail,
};
use market_data::QuoteError;
use services::testing::FixedPrices;
use services::trading::matching::Matched;
use services::{Error, NotFound, TradingConfig};

use crate::harness::{
    Exchange, Investor, assert_not_found, called, day, fields, gtc, limit, moment, money, notional, order,
    price, quantity, rejection, shares, stop, symbol,
};

/// Sets a price, advances the clock by five seconds and matches the orders.
async fn goes_to(exchange: &Exchange, ticker: &str, to: &str) -> Matched {
    exchange.prices.set(ticker, to);
    exchange.pass(TimeDelta::seconds(5));
    exchange.trading().match_orders().await.unwrap()
}

async fn status(exchange: &Exchange, who: Investor, id: OrderId) -> OrderStatus {
    exchange.look(who, id).await.status
}

fn filled_at(order: &Order) -> String {
    order.filled_price.as_ref().map_or_else(String::new, ToString::to_string)
}

#[tokio::test]
async fn a_limit_buy_reserves_cash_and_fills_at_the_better_price() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("149.50"))).await;
    let accepted = exchange.look(sam, id).await;
    assert_eq!((accepted.status, &accepted.reserved_cash), (OrderStatus::Accepted, &money("299.00")));
    assert_eq!(
        (exchange.cash(sam).await, exchange.buying_power(sam).await),
        ("1000.00".into(), "701.00".into())
    );
    assert_eq!(goes_to(&exchange, "AAPL", "149.51").await, Matched { working: 1, changed: 0 });
    assert_eq!(status(&exchange, sam, id).await, OrderStatus::Accepted);
    // The market jumps through the limit.
    assert_eq!(goes_to(&exchange, "AAPL", "148.00").await, Matched { working: 1, changed: 1 });
    let order = exchange.trading().order(sam.reference(), id).await.unwrap();
    assert_eq!((order.order.status, filled_at(&order.order).as_str()), (OrderStatus::Filled, "148.000000"));
    assert_eq!(order.order.filled_at, Some(exchange.now()));
    let receipt = order.fills[0].receipt.as_ref().unwrap();
    assert_eq!((receipt.rule, receipt.quoted_at), (FillRule::Last, exchange.now()));
    assert_eq!(
        (exchange.cash(sam).await, exchange.buying_power(sam).await),
        ("704.00".into(), "704.00".into())
    );
    assert_eq!(goes_to(&exchange, "AAPL", "140.00").await, Matched::default());
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_limit_sell_reserves_its_shares_and_fills_at_the_bid() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    let id = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "2", limit("160"))).await;
    assert_eq!(
        rejection(exchange.sell(sam, "AAPL", "1.5").await),
        OrderRejected::InsufficientShares { required: quantity("1.5"), available: quantity("1") }
    );
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set_bid_and_ask("AAPL", "159.99", "160.10");
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(status(&exchange, sam, id).await, OrderStatus::Accepted);
    exchange.prices.set_bid_and_ask("AAPL", "160.01", "160.10");
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(filled_at(&exchange.look(sam, id).await), "160.010000");
    assert_eq!(exchange.cash(sam).await, "1020.02");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_stop_triggers_and_fills_at_the_market_price() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    let sell = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "2", stop("145"))).await;
    let buy = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", stop("410"))).await;
    assert_eq!(exchange.buying_power(sam).await, "290.00");
    goes_to(&exchange, "AAPL", "145.01").await;
    goes_to(&exchange, "MSFT", "409.99").await;
    for id in [sell, buy] {
        assert_eq!(status(&exchange, sam, id).await, OrderStatus::Accepted);
    }
    goes_to(&exchange, "AAPL", "141.00").await;
    let sold = exchange.look(sam, sell).await;
    assert_eq!((filled_at(&sold).as_str(), sold.triggered_at), ("141.000000", Some(exchange.now())));
    goes_to(&exchange, "MSFT", "412.00").await;
    assert_eq!(filled_at(&exchange.look(sam, buy).await), "412.000000");
    exchange.assert_books_balance().await;
}

/// The reserved cash of the stop was an estimate; the market price is more than all available cash.
#[tokio::test]
async fn an_order_without_enough_cash_is_rejected_with_the_reason() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "410.00").await;
    let id = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "1", stop("410"))).await;
    goes_to(&exchange, "MSFT", "410.01").await;
    let order = exchange.look(sam, id).await;
    assert_eq!((order.status, order.canceled_at), (OrderStatus::Rejected, Some(exchange.now())));
    assert_eq!(order.reject_reason.unwrap(), "the order costs 410.01 and 410.00 is available");
    assert_eq!(exchange.buying_power(sam).await, "410.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_stop_limit_waits_for_its_limit_after_the_stop() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let terms = OrderTerms::StopLimit { stop: price("145"), limit: price("144") };
    let id = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1", terms)).await;
    goes_to(&exchange, "AAPL", "143.00").await;
    let order = exchange.look(sam, id).await;
    assert_eq!((order.status, order.triggered_at), (OrderStatus::Accepted, Some(exchange.now())));
    goes_to(&exchange, "AAPL", "146.00").await;
    assert_eq!(filled_at(&exchange.look(sam, id).await), "146.000000");
    exchange.assert_books_balance().await;
}

/// Prices between two passes count: up to 170 and down to 160 within a minute.
#[tokio::test]
async fn a_trailing_stop_follows_the_best_price_between_passes() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let trail = OrderTerms::TrailingStop { trail: Trail::Percent("5".parse().unwrap()) };
    let id = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1", trail)).await;
    assert_eq!(exchange.look(sam, id).await.high_water_price, Some(price("150")));
    goes_to(&exchange, "AAPL", "152.00").await;
    let order = exchange.look(sam, id).await;
    assert_eq!(
        (order.high_water_price.clone(), order.stop_price()),
        (Some(price("152")), Some(price("144.40")))
    );
    for (seconds, price) in [(1, "155.00"), (2, "170.00"), (3, "165.00"), (4, "161.50"), (5, "160.00")] {
        exchange.prices.set_from(exchange.now() + TimeDelta::seconds(seconds), "AAPL", price);
    }
    exchange.pass(TimeDelta::seconds(60));
    exchange.trading().match_orders().await.unwrap();
    let order = exchange.look(sam, id).await;
    assert_eq!(order.high_water_price, Some(price("170")));
    assert_eq!(
        (order.status, filled_at(&order).as_str()),
        (OrderStatus::Filled, "161.500000"),
        "at 95 % of 170"
    );
    let receipt = exchange.journal(sam).await[0].receipt.clone().unwrap();
    assert_eq!(
        receipt.quoted_at,
        exchange.now() - TimeDelta::seconds(56),
        "the fill is booked now, its price is older"
    );
    exchange.assert_books_balance().await;
}

fn bracket(size: &str, entry: OrderTerms) -> PlaceOrder {
    let stop_loss = StopLoss { stop: price("140"), limit: None };
    PlaceOrder {
        attached: Attached::Bracket { take_profit: price("160"), stop_loss },
        ..gtc(Side::Buy, "AAPL", size, entry)
    }
}

#[tokio::test]
async fn the_take_profit_of_a_bracket_cancels_the_stop_loss() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let placed = exchange.place(sam, bracket("2", limit("149"))).await.unwrap().order;
    let [profit, loss] = placed.legs.as_slice() else { panic!("two legs: {placed:?}") };
    let (profit, loss) = (profit.order.id, loss.order.id);
    for id in [profit, loss] {
        assert_eq!(status(&exchange, sam, id).await, OrderStatus::Held);
    }
    // The exits have no effect until the entry has filled.
    goes_to(&exchange, "AAPL", "161.00").await;
    goes_to(&exchange, "AAPL", "149.00").await;
    assert_eq!(status(&exchange, sam, placed.order.id).await, OrderStatus::Filled);
    assert_eq!(exchange.look(sam, profit).await.reserved_quantity, quantity("2"));
    assert!(exchange.look(sam, loss).await.reserved_quantity.is_zero(), "the same shares are kept once");
    goes_to(&exchange, "AAPL", "162.00").await;
    assert_eq!(filled_at(&exchange.look(sam, profit).await), "162.000000");
    assert_eq!(status(&exchange, sam, loss).await, OrderStatus::Canceled);
    assert_eq!(exchange.cash(sam).await, "1026.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn canceling_the_entry_of_a_bracket_cancels_its_exits() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let placed = exchange.place(sam, bracket("2", limit("149"))).await.unwrap().order;
    let canceled = exchange.trading().cancel_order(sam.control(), placed.order.id).await.unwrap();
    assert!(canceled.legs.iter().all(|leg| leg.order.status == OrderStatus::Canceled), "{canceled:?}");
    assert_eq!(exchange.buying_power(sam).await, "1000.00");
    goes_to(&exchange, "AAPL", "130.00").await;
    assert_eq!(exchange.cash(sam).await, "1000.00");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn the_filled_order_of_an_oco_pair_cancels_the_other() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    let attached = Attached::Oco { stop_loss: StopLoss { stop: price("140"), limit: Some(price("139")) } };
    let pair = PlaceOrder { attached, ..gtc(Side::Sell, "AAPL", "3", limit("160")) };
    let placed = exchange.place(sam, pair).await.unwrap().order;
    assert!(matches!(
        rejection(exchange.sell(sam, "AAPL", "1").await),
        OrderRejected::InsufficientShares { .. }
    ));
    goes_to(&exchange, "AAPL", "139.50").await;
    assert_eq!(status(&exchange, sam, placed.order.id).await, OrderStatus::Canceled);
    assert_eq!(filled_at(&exchange.look(sam, placed.legs[0].order.id).await), "139.500000");
    assert_eq!(exchange.cash(sam).await, "968.50");
    exchange.assert_books_balance().await;
}

/// On the market that is open around the clock, a day ends at midnight in New York.
#[tokio::test]
async fn a_day_order_expires_with_the_day_and_others_stay_open() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let day = exchange
        .accepted(sam, PlaceOrder { terms: limit("140"), ..order(Side::Buy, "AAPL", shares("1")) })
        .await;
    let gtc = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("130"))).await;
    assert_eq!(exchange.look(sam, day).await.expires_at, Some(moment("2026-11-21T05:00:00Z")));
    exchange.at("2026-11-21T04:59:59Z");
    assert_eq!(exchange.trading().match_orders().await.unwrap(), Matched { working: 2, changed: 0 });
    // A price that comes after the close does not affect the order.
    exchange.prices.set("AAPL", "139.00");
    exchange.at("2026-11-21T05:00:01Z");
    assert_eq!(exchange.trading().match_orders().await.unwrap(), Matched { working: 2, changed: 1 });
    let ended = exchange.look(sam, day).await;
    assert_eq!((ended.status, ended.canceled_at), (OrderStatus::Expired, Some(exchange.now())));
    assert_eq!(status(&exchange, sam, gtc).await, OrderStatus::Accepted);
    assert_eq!(exchange.buying_power(sam).await, "870.00");
    exchange.at("2027-02-01T15:00:00Z");
    goes_to(&exchange, "AAPL", "129.00").await;
    assert_eq!(status(&exchange, sam, gtc).await, OrderStatus::Filled);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_replacement_takes_over_the_reservation_of_an_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let old = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("140"))).await;
    let replace = async |id, changes| exchange.trading().replace_order(sam.control(), id, changes).await;
    let more = ReplaceOrder { quantity: Some(quantity("7")), ..ReplaceOrder::default() };
    let unfit = ReplaceOrder { stop_price: Some(price("1")), ..ReplaceOrder::default() };
    assert_eq!(fields(replace(old, unfit).await), ["stop_price"]);
    let too_many = ReplaceOrder { quantity: Some(quantity("8")), ..ReplaceOrder::default() };
    assert!(matches!(rejection(replace(old, too_many).await), OrderRejected::InsufficientBuyingPower { .. }));
    assert_eq!(exchange.buying_power(sam).await, "720.00", "a refused change leaves the order as it was");
    let new = replace(old, more).await.unwrap().order.order;
    assert_eq!(
        (new.replaces, new.status, &new.reserved_cash),
        (Some(old), OrderStatus::Accepted, &money("980"))
    );
    assert_eq!(exchange.buying_power(sam).await, "20.00");
    let at_once = ReplaceOrder {
        limit_price: Some(price("151")),
        quantity: Some(quantity("1")),
        ..ReplaceOrder::default()
    };
    let filled = replace(new.id, at_once).await.unwrap().order;
    assert_eq!((filled.order.status, filled.fills.len()), (OrderStatus::Filled, 1));
    assert_eq!(
        (exchange.cash(sam).await, exchange.buying_power(sam).await),
        ("850.00".into(), "850.00".into())
    );
    for id in [old, new.id] {
        let order = exchange.look(sam, id).await;
        assert_eq!((order.status, order.reserved_cash), (OrderStatus::Replaced, Money::zero()));
    }
    exchange.assert_books_balance().await;
}

fn realistic() -> TradingConfig {
    TradingConfig { mode: TradingMode::Realistic, ..TradingConfig::default() }
}

/// It is Friday, 19:12 UTC; the exchange closes at 21:00 and opens on Monday at 14:30.
#[tokio::test]
async fn in_realistic_mode_an_order_fills_at_a_later_price_within_the_exchanges_hours() {
    let exchange = Exchange::trading(FixedPrices::new(), realistic()).await;
    let sam = exchange.investor("sam", "1000.00").await;
    let placed = exchange.place(sam, order(Side::Buy, "AAPL", shares("1"))).await.unwrap().order;
    assert_eq!((placed.order.status, placed.fills.len()), (OrderStatus::Accepted, 0));
    assert_eq!(exchange.buying_power(sam).await, "850.00");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(
        status(&exchange, sam, placed.order.id).await,
        OrderStatus::Accepted,
        "not at the price of its moment"
    );
    goes_to(&exchange, "AAPL", "151.00").await;
    assert_eq!(filled_at(&exchange.look(sam, placed.order.id).await), "151.000000");

    // Over the weekend the simulated market is open, but the exchange is closed.
    exchange.at("2026-11-20T21:00:01Z");
    let waits = exchange.accepted(sam, order(Side::Buy, "AAPL", shares("1"))).await;
    let preview = exchange
        .trading()
        .preview_order(sam.reference(), order(Side::Buy, "AAPL", shares("1")))
        .await
        .unwrap();
    assert!(preview.waits_for_open && preview.fill.is_none());
    assert_eq!(exchange.look(sam, waits).await.expires_at, Some(moment("2026-11-23T21:00:00Z")));
    for instant in ["2026-11-21T15:00:00Z", "2026-11-23T14:29:59Z"] {
        exchange.prices.set("AAPL", "100.00");
        exchange.at(instant);
        exchange.trading().match_orders().await.unwrap();
        assert_eq!(status(&exchange, sam, waits).await, OrderStatus::Accepted, "{instant}");
    }
    exchange.at("2026-11-23T14:30:00Z");
    goes_to(&exchange, "AAPL", "149.00").await;
    assert_eq!(filled_at(&exchange.look(sam, waits).await), "149.000000");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn orders_for_the_auctions_fill_at_the_first_and_the_last_price_of_the_session() {
    let exchange = Exchange::trading(FixedPrices::new(), realistic()).await;
    let sam = exchange.investor("sam", "1000.00").await;
    let kind = |time_in_force| PlaceOrder { time_in_force, ..order(Side::Buy, "AAPL", shares("1")) };
    let close = exchange.accepted(sam, kind(TimeInForce::Cls)).await;
    let open = exchange.accepted(sam, kind(TimeInForce::Opg)).await;
    goes_to(&exchange, "AAPL", "155.00").await;
    for (at, price) in [("2026-11-20T21:00:00Z", "156.00"), ("2026-11-23T14:30:00Z", "161.00")] {
        exchange.prices.set_from(moment(at), "AAPL", price);
    }
    exchange.prices.set_from(moment("2026-11-23T14:29:00Z"), "AAPL", "159.00");
    exchange.at("2026-11-20T21:00:02Z");
    exchange.trading().match_orders().await.unwrap();
    let order = exchange.trading().order(sam.reference(), close).await.unwrap();
    assert_eq!((order.order.status, filled_at(&order.order).as_str()), (OrderStatus::Filled, "156.000000"));
    assert_eq!(order.fills[0].receipt.as_ref().unwrap().rule, FillRule::Close);
    assert_eq!(status(&exchange, sam, open).await, OrderStatus::Accepted);
    exchange.at("2026-11-23T14:30:05Z");
    exchange.trading().match_orders().await.unwrap();
    let order = exchange.trading().order(sam.reference(), open).await.unwrap();
    assert_eq!((order.order.status, filled_at(&order.order).as_str()), (OrderStatus::Filled, "161.000000"));
    assert_eq!(order.fills[0].receipt.as_ref().unwrap().rule, FillRule::Open);
    exchange.assert_books_balance().await;
}

/// Prices are published a quarter of an hour late. A price from before the close still fills, and no day order expires
/// before that price could come.
#[tokio::test]
async fn day_orders_meet_late_prices_before_they_expire() {
    let exchange = Exchange::trading(FixedPrices::of(Freshness::Delayed, Calendar::Xnys), realistic()).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.at("2026-11-20T20:58:00Z");
    let bid = PlaceOrder { terms: limit("149"), ..order(Side::Buy, "AAPL", shares("1")) };
    let (first, second) = (
        exchange.accepted(sam, bid.clone()).await,
        exchange.accepted(sam, PlaceOrder { terms: limit("120"), ..bid }).await,
    );
    // A price of 20:50, from before the orders.
    exchange.prices.set("AAPL", "140.00");
    exchange.at("2026-11-20T21:05:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(
        status(&exchange, sam, first).await,
        OrderStatus::Accepted,
        "its price is of before the order"
    );
    // A price of 20:59:30.
    exchange.at("2026-11-20T21:14:30Z");
    exchange.prices.set("AAPL", "148.00");
    exchange.trading().match_orders().await.unwrap();
    let order = exchange.trading().order(sam.reference(), first).await.unwrap();
    assert_eq!((order.order.status, filled_at(&order.order).as_str()), (OrderStatus::Filled, "148.000000"));
    assert_eq!(order.fills[0].receipt.as_ref().unwrap().quoted_at, moment("2026-11-20T20:59:30Z"));
    assert_eq!(status(&exchange, sam, second).await, OrderStatus::Accepted, "the close has not come yet");
    // After the close there is no new price; the source repeats the last one.
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-20T21:00:00Z")));
    exchange.at("2026-11-20T21:19:59Z");
    exchange.trading().match_orders().await.unwrap();
    exchange.at("2026-11-20T21:20:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(status(&exchange, sam, second).await, OrderStatus::Expired);
    exchange.assert_books_balance().await;
}

/// A closing price still fills if it is published in the evening, or even the next day because the source did not
/// answer.
#[tokio::test]
async fn orders_fill_at_a_late_close_of_an_end_of_day_source() {
    let exchange = Exchange::trading(FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys), realistic()).await;
    let sam = exchange.investor("sam", "1000.00").await;
    let thursday = moment("2026-11-19T21:00:00Z");
    exchange.prices.set_as_of("AAPL", Some(thursday));
    let day = exchange.accepted(sam, order(Side::Buy, "AAPL", shares("1"))).await;
    let patient = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("145"))).await;
    let opening = PlaceOrder { time_in_force: TimeInForce::Opg, ..order(Side::Buy, "AAPL", shares("1")) };
    assert_eq!(fields(exchange.place(sam, opening).await), ["time_in_force"]);
    exchange.at("2026-11-20T22:00:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(status(&exchange, sam, day).await, OrderStatus::Accepted);
    exchange.prices.set("AAPL", "144.00");
    exchange.prices.set_as_of("AAPL", Some(moment("2026-11-20T21:00:00Z")));
    exchange.prices.fail_with(QuoteError::Unreachable);
    for waiting in ["2026-11-21T10:00:00Z", "2026-11-22T12:00:00Z", "2026-11-23T14:29:59Z"] {
        exchange.at(waiting);
        exchange.trading().match_orders().await.unwrap();
        assert_eq!(status(&exchange, sam, day).await, OrderStatus::Accepted, "its close may still come");
    }
    exchange.at("2026-11-23T14:30:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(status(&exchange, sam, day).await, OrderStatus::Expired, "the next session has begun");
    // The source recovers after day orders have expired; orders that still wait get the close nevertheless.
    exchange.prices.recover();
    exchange.at("2026-11-23T15:00:00Z");
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(filled_at(&exchange.look(sam, patient).await), "144.000000");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn limited_liquidity_fills_a_share_of_the_traded_volume() {
    let trading = TradingConfig { liquidity: Some("10".parse().unwrap()), ..TradingConfig::default() };
    let exchange = Exchange::trading(FixedPrices::new(), trading).await;
    let sam = exchange.investor("sam", "10000.00").await;
    let start = exchange.now();
    exchange.prices.trade(start - TimeDelta::seconds(10), "AAPL", "150.00", 100);
    let ioc = PlaceOrder { time_in_force: TimeInForce::Ioc, ..order(Side::Buy, "AAPL", shares("15")) };
    let done = exchange.place(sam, ioc).await.unwrap().order.order;
    assert_eq!((done.status, done.filled_quantity), (OrderStatus::Canceled, quantity("10")));
    let fok = PlaceOrder { time_in_force: TimeInForce::Fok, ..order(Side::Buy, "AAPL", shares("15")) };
    let done = exchange.place(sam, fok).await.unwrap().order.order;
    assert_eq!((done.status, done.filled_quantity.is_zero()), (OrderStatus::Canceled, true));
    exchange.pass(TimeDelta::minutes(5));
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "15", limit("150"))).await;
    for (volume, filled, now) in [
        (40, "4", OrderStatus::PartiallyFilled),
        (100, "14", OrderStatus::PartiallyFilled),
        (50, "15", OrderStatus::Filled),
    ] {
        exchange.prices.trade(exchange.now() + TimeDelta::seconds(1), "AAPL", "149.00", volume);
        exchange.pass(TimeDelta::seconds(2));
        exchange.trading().match_orders().await.unwrap();
        let order = exchange.look(sam, id).await;
        assert_eq!((order.status, order.filled_quantity), (now, quantity(filled)));
        exchange.assert_books_balance().await;
    }
    let order = exchange.trading().order(sam.reference(), id).await.unwrap();
    assert_eq!((order.fills.len(), filled_at(&order.order).as_str()), (3, "149.000000"));
}

/// Repeating the matching, also by other processes, changes nothing; progress is recorded only when it has advanced
/// far.
#[tokio::test]
async fn a_price_affects_an_order_only_once() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let sam = exchange.investor("sam", "1000.00").await;
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("140"))).await;
    exchange.pass(TimeDelta::seconds(59));
    exchange.trading().match_orders().await.unwrap();
    let placed_at = exchange.look(sam, id).await.submitted_at;
    assert_eq!(exchange.look(sam, id).await.last_matched_at, placed_at);
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, id).await.last_matched_at, exchange.now());
    exchange.prices.set("AAPL", "139.00");
    exchange.pass(TimeDelta::seconds(1));
    let (first, second) = tokio::join!(exchange.trading().match_orders(), other.trading().match_orders());
    assert!(first.unwrap().changed + second.unwrap().changed >= 1);
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.trading().order(sam.reference(), id).await.unwrap().fills.len(), 1);
    assert_eq!(exchange.cash(sam).await, "861.00");
    exchange.assert_books_balance().await;
}

/// The price reached the limit while the source could not be called, and this interval was not recorded as matched.
#[tokio::test]
async fn prices_of_an_outage_are_matched_later() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("140"))).await;
    for (seconds, price) in [(30, "139.00"), (60, "150.00")] {
        exchange.prices.set_from(exchange.now() + TimeDelta::seconds(seconds), "AAPL", price);
    }
    exchange.prices.fail_with(QuoteError::Unreachable);
    exchange.pass(TimeDelta::minutes(10));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(status(&exchange, sam, id).await, OrderStatus::Accepted);
    exchange.prices.recover();
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(filled_at(&exchange.look(sam, id).await), "139.000000");
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn another_worker_matches_after_the_lease_expired() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let sam = exchange.investor("sam", "1000.00").await;
    assert_eq!(
        exchange.trading().match_orders_as("one").await.unwrap(),
        Matched::default(),
        "there is nothing to match"
    );
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("140"))).await;
    let looked = Matched { working: 1, changed: 0 };
    assert_eq!(exchange.trading().match_orders_as("one").await.unwrap(), looked);
    assert_eq!(other.trading().match_orders_as("two").await.unwrap(), Matched::default());
    exchange.pass(TimeDelta::seconds(14));
    assert_eq!(exchange.trading().match_orders_as("one").await.unwrap(), looked, "renewed");
    exchange.pass(TimeDelta::seconds(14));
    assert_eq!(other.trading().match_orders_as("two").await.unwrap(), Matched::default());
    exchange.pass(TimeDelta::seconds(2));
    assert_eq!(other.trading().match_orders_as("two").await.unwrap(), looked, "it was silent for too long");
    assert_eq!(exchange.trading().match_orders_as("one").await.unwrap(), Matched::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_simultaneous_workers_matches() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("140"))).await;
    for _ in 0..5 {
        exchange.pass(TimeDelta::minutes(1));
        let (first, second) =
            tokio::join!(exchange.trading().match_orders_as("one"), other.trading().match_orders_as("two"));
        assert_eq!(first.unwrap().working + second.unwrap().working, 1);
    }
}

#[tokio::test]
async fn inconsistent_fields_are_reported_by_field() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let ioc_stop = PlaceOrder { time_in_force: TimeInForce::Ioc, ..gtc(Side::Buy, "AAPL", "1", stop("160")) };
    assert_eq!(fields(exchange.place(sam, ioc_stop.clone()).await), ["time_in_force"]);
    assert_eq!(fields(exchange.trading().preview_order(sam.reference(), ioc_stop).await), ["time_in_force"]);
    let by_money = PlaceOrder { size: notional("10"), ..gtc(Side::Buy, "AAPL", "1", stop("160")) };
    assert_eq!(fields(exchange.place(sam, by_money).await), ["notional"]);
    let wide = OrderTerms::TrailingStop { trail: Trail::Price(price("150")) };
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert_eq!(
        rejection(exchange.place(sam, gtc(Side::Sell, "AAPL", "1", wide)).await),
        OrderRejected::TrailTooWide
    );
    assert_eq!(exchange.all_orders(sam).await.len(), 1);
}

/// The last trade of Friday's session was at 15:30.
#[tokio::test]
async fn an_order_at_the_close_fills_at_the_last_trade_of_the_session() {
    for (freshness, last_trade, closes_in_bars) in [
        (Freshness::Delayed, Some("2026-11-20T20:30:00Z"), false),
        (Freshness::Realtime, Some("2026-11-20T20:59:58Z"), false),
        // The worker runs only on Monday, when the newest price is Monday's: the published close counts.
        (Freshness::Delayed, None, true),
    ] {
        let prices = FixedPrices::of(freshness, Calendar::Xnys);
        let exchange = Exchange::trading(prices, realistic()).await;
        let sam = exchange.investor("sam", "1000.00").await;
        exchange.prices.set("AAPL", "151.00");
        exchange.prices.set_as_of("AAPL", Some(exchange.now()));
        let kind = |time_in_force| PlaceOrder { time_in_force, ..order(Side::Buy, "AAPL", shares("1")) };
        let close = exchange.accepted(sam, kind(TimeInForce::Cls)).await;
        let too_dear = PlaceOrder { terms: limit("140.00"), ..kind(TimeInForce::Cls) };
        let too_dear = exchange.accepted(sam, too_dear).await;
        exchange.at("2026-11-20T20:45:00Z");
        exchange.trading().match_orders().await.unwrap();
        assert_eq!(status(&exchange, sam, close).await, OrderStatus::Accepted);
        exchange.prices.set("AAPL", "153.00");
        exchange.prices.set_as_of("AAPL", last_trade.map(moment));
        if closes_in_bars {
            exchange.prices.set_close("AAPL", day("2026-11-20"), "153.00");
            exchange.prices.set("AAPL", "170.00");
        }
        exchange.at(if closes_in_bars { "2026-11-23T15:00:00Z" } else { "2026-11-20T21:30:00Z" });
        exchange.trading().match_orders().await.unwrap();
        let filled = exchange.trading().order(sam.reference(), close).await.unwrap();
        assert_eq!(filled_at(&filled.order), "153.000000", "{freshness:?}");
        let receipt = filled.fills[0].receipt.as_ref().unwrap();
        assert_eq!((receipt.rule, receipt.quoted_at), (FillRule::Close, moment("2026-11-20T21:00:00Z")));
        assert_eq!(status(&exchange, sam, too_dear).await, OrderStatus::Expired);
        exchange.assert_books_balance().await;
    }
}

/// The clock jumps by days, weeks or months, with or without prices: after one pass, no order is open past its end.
#[tokio::test]
async fn after_a_jump_of_the_clock_no_order_is_open_past_its_end() {
    for freshness in [Freshness::Simulated, Freshness::Realtime, Freshness::Delayed, Freshness::EndOfDay] {
        for has_prices in [true, false] {
            let prices = FixedPrices::of(freshness, Calendar::Xnys);
            let exchange = Exchange::trading(prices, realistic()).await;
            let sam = exchange.investor("sam", "100000.00").await;
            for ticker in ["AAPL", "MSFT", "JPM"] {
                exchange.stocks().quote(&symbol(ticker)).await.unwrap();
                for time_in_force in [TimeInForce::Day, TimeInForce::Gtc, TimeInForce::Cls, TimeInForce::Ioc]
                {
                    let terms = limit("1.00");
                    let command =
                        PlaceOrder { terms, time_in_force, ..order(Side::Buy, ticker, shares("1")) };
                    exchange.place(sam, command).await.unwrap();
                }
            }
            if !has_prices {
                exchange.prices.fail_with(QuoteError::Unreachable);
            }
            for jump in [TimeDelta::days(5), TimeDelta::days(70)] {
                exchange.pass(jump);
                exchange.trading().match_orders().await.unwrap();
                let orders = exchange.all_orders(sam).await;
                let open = orders.iter().map(|one| &one.order).filter(|order| order.status.is_open());
                let late =
                    open.clone().filter(|order| order.expires_at.is_some_and(|end| end < exchange.now()));
                assert_eq!(late.count(), 0, "{freshness:?}, prices: {has_prices}, after {jump}");
                assert_eq!(open.count(), 3, "good till canceled");
            }
            exchange.assert_books_balance().await;
        }
    }
}

/// A limit or market order waits for a price; an immediate order does not.
#[tokio::test]
async fn without_a_fresh_price_only_orders_that_can_wait_are_accepted() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    exchange.pass(TimeDelta::minutes(5));
    exchange.prices.fail_with(QuoteError::Unreachable);
    let fok = PlaceOrder { time_in_force: TimeInForce::Fok, ..order(Side::Buy, "AAPL", shares("1")) };
    assert!(matches!(rejection(exchange.place(sam, fok).await), OrderRejected::NoFreshPrice { .. }));
    let id = exchange.accepted(sam, called("x", gtc(Side::Buy, "AAPL", "1", limit("200")))).await;
    assert_eq!(
        status(&exchange, sam, id).await,
        OrderStatus::Accepted,
        "not even at a limit above the old price"
    );
    exchange.prices.recover();
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(filled_at(&exchange.look(sam, id).await), "150.000000");
    assert_not_found(
        NotFound::Order,
        exchange.trading().cancel_order(sam.control(), OrderId(uuid::Uuid::nil())).await,
    );
    assert!(matches!(
        exchange.trading().cancel_order(sam.control(), id).await,
        Err(Error::OrderNotOpen { .. })
    ));
    exchange.assert_books_balance().await;
}
