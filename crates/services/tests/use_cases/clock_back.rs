//! The system's clock is set back: while a process runs, before one starts, and on one of several machines.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    Attached, Calendar, Freshness, JournalEntry, OrderId, OrderStatus, OrderTerms, PlaceOrder, Side,
    StopLoss, TimeInForce, Timestamp, Trail,
};
use persistence::{installation, jobs};
use services::accounts::actor::{Administrator, Trader};
use services::jobs::JobKind;
use services::testing::FixedPrices;
use services::trading::OrderWithFills;
use services::{Clock, Error, Market, Services, ServicesConfig};

use crate::harness::{Exchange, Investor, gtc, limit, money, order, price, shares, stop};

const STEPS: [TimeDelta; 5] = [
    TimeDelta::seconds(1),
    TimeDelta::minutes(1),
    TimeDelta::hours(1),
    TimeDelta::days(1),
    TimeDelta::days(40),
];
/// The maximum age of the price of a fill.
const FRESH: TimeDelta = TimeDelta::seconds(60);

/// A process on the same database and prices, whose clock shows `at`.
fn process_at(exchange: &Exchange, at: Timestamp) -> (Services, Clock) {
    let clock = Clock::manual(at);
    let market = Market::new(Arc::new(exchange.prices.clone()), clock.clone());
    (Services::new(exchange.store().clone(), market, ServicesConfig::default()), clock)
}

fn trailing(percent: &str) -> OrderTerms {
    OrderTerms::TrailingStop { trail: Trail::Percent(percent.parse().unwrap()) }
}

fn timed(time_in_force: TimeInForce, command: PlaceOrder) -> PlaceOrder {
    PlaceOrder { time_in_force, ..command }
}

/// Orders that fill at 150 when they are placed.
fn at_once() -> Vec<PlaceOrder> {
    vec![
        order(Side::Buy, "AAPL", shares("1")),
        gtc(Side::Buy, "AAPL", "1", limit("151")),
        gtc(Side::Buy, "AAPL", "1", stop("149")),
        gtc(Side::Buy, "AAPL", "1", OrderTerms::StopLimit { stop: price("149"), limit: price("151") }),
        timed(TimeInForce::Ioc, order(Side::Buy, "AAPL", shares("1"))),
        timed(TimeInForce::Fok, gtc(Side::Buy, "AAPL", "1", limit("151"))),
        gtc(Side::Sell, "AAPL", "1", limit("149")),
        order(Side::Sell, "AAPL", shares("1")),
    ]
}

/// Orders that wait at a price of 150, and fill when the price goes to 160 and then to 140.
fn waiting() -> Vec<PlaceOrder> {
    let bracket = Attached::Bracket {
        take_profit: price("155"),
        stop_loss: StopLoss { stop: price("141"), limit: None },
    };
    vec![
        gtc(Side::Buy, "AAPL", "1", limit("145")),
        gtc(Side::Sell, "AAPL", "1", limit("155")),
        gtc(Side::Sell, "AAPL", "1", stop("142")),
        gtc(Side::Buy, "AAPL", "1", stop("158")),
        gtc(Side::Sell, "AAPL", "1", OrderTerms::StopLimit { stop: price("145"), limit: price("139") }),
        gtc(Side::Sell, "AAPL", "1", trailing("5")),
        PlaceOrder { attached: bracket, ..gtc(Side::Buy, "AAPL", "1", limit("145")) },
    ]
}

async fn look(services: &Services, who: Investor, id: OrderId) -> OrderWithFills {
    services.trading().order(who.reference(), id).await.unwrap()
}

/// Asserts that every fill is booked at the time of its price, and that no journal line is dated before the previous
/// one.
async fn assert_in_order(exchange: &Exchange, who: Investor, newest_before: Timestamp) -> Vec<JournalEntry> {
    let mut journal = exchange.journal(who).await;
    journal.sort_by_key(|entry| entry.id);
    for pair in journal.windows(2) {
        assert!(pair[0].timestamp <= pair[1].timestamp, "{pair:#?}");
    }
    for entry in &journal {
        if let Some(receipt) = &entry.receipt {
            let age = entry.timestamp - receipt.quoted_at;
            assert!(age <= FRESH && age >= -FRESH, "{age}: {entry:#?}");
        }
    }
    assert!(journal.last().unwrap().timestamp >= newest_before);
    journal
}

/// A user with shares, cash and working orders.
async fn prepared(exchange: &Exchange) -> (Investor, Vec<OrderId>) {
    let sam = exchange.investor("sam", "100000.00").await;
    exchange.buy(sam, "AAPL", "20").await.unwrap();
    let mut ids = Vec::new();
    for command in waiting() {
        ids.push(exchange.accepted(sam, command).await);
    }
    exchange.pass(TimeDelta::seconds(90));
    exchange.trading().match_orders().await.unwrap();
    (sam, ids)
}

/// Trades after the step of the clock: new orders of every type fill, working orders meet the new prices, and the books
/// are in order.
async fn trades_go_on(
    exchange: &Exchange,
    services: &Services,
    clock: &Clock,
    (sam, ids): (Investor, Vec<OrderId>),
    newest: Timestamp,
    step: TimeDelta,
) {
    for command in at_once() {
        let placed = services.trading().place_order(sam.control(), command.clone()).await;
        let placed = placed.unwrap_or_else(|error| panic!("{step}: {command:?}: {error}"));
        assert_eq!(placed.order.order.status, OrderStatus::Filled, "{step}: {command:?}");
        let newest_id = *ids.last().unwrap();
        assert!(placed.order.order.id > newest_id, "{step}: ids do not sort by time");
    }
    for to in ["160.00", "140.00", "156.00"] {
        exchange.prices.set("AAPL", to);
        clock.pass(TimeDelta::seconds(20));
        services.trading().match_orders().await.unwrap();
    }
    for id in ids {
        let found = look(services, sam, id).await;
        assert_eq!(found.order.status, OrderStatus::Filled, "{step}: {:#?}", found.order);
    }
    services
        .books()
        .move_cash(sam.control(), services::books::portfolios::CashDirection::Deposit, money("5"))
        .await
        .unwrap();
    assert_in_order(exchange, sam, newest).await;
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn trading_continues_when_the_clock_of_a_running_process_is_set_back() {
    for step in STEPS {
        let exchange = Exchange::new().await;
        let prepared = prepared(&exchange).await;
        let newest = exchange.now();
        exchange.clock.step(newest - step);
        assert!(exchange.now() >= newest);
        assert_eq!(exchange.clock.behind().is_some(), step > TimeDelta::seconds(2), "{step}");
        trades_go_on(&exchange, &exchange, &exchange.clock, prepared, newest, step).await;
    }
}

#[tokio::test]
async fn trading_continues_when_the_clock_was_set_back_before_a_start() {
    for step in STEPS {
        let exchange = Exchange::new().await;
        let prepared = prepared(&exchange).await;
        let newest = exchange.now();
        let (services, clock) = process_at(&exchange, newest - step);
        clock.continue_from_books(exchange.store()).await.unwrap();
        assert_eq!(clock.behind().is_some(), step > TimeDelta::seconds(2), "{step}");
        assert!(newest - clock.now() <= TimeDelta::seconds(5), "{step}: {}", clock.now());
        trades_go_on(&exchange, &services, &clock, prepared, newest, step).await;
    }
}

#[tokio::test]
async fn a_process_with_a_clock_far_behind_fills_no_orders() {
    for step in STEPS {
        let exchange = Exchange::new().await;
        let (sam, ids) = prepared(&exchange).await;
        let newest = exchange.now();
        exchange.deposit(sam, "1.00").await.unwrap();
        let (behind, clock) = process_at(&exchange, newest - step);
        let before = exchange.journal(sam).await.len();
        if step <= FRESH {
            // The clocks of two machines may differ by up to `FRESH`.
            behind.trading().place_order(sam.control(), order(Side::Buy, "AAPL", shares("1"))).await.unwrap();
            assert_in_order(&exchange, sam, newest).await;
            continue;
        }
        for command in at_once() {
            match behind.trading().place_order(sam.control(), command.clone()).await {
                Err(Error::ClockBehind { by }) => assert_eq!(by, step),
                other => panic!("{step}: {command:?}: {other:?}"),
            }
        }
        exchange.prices.set("AAPL", "140.00");
        clock.pass(TimeDelta::seconds(5));
        behind.trading().match_orders().await.unwrap();
        for id in &ids {
            assert!(look(&behind, sam, *id).await.order.status.is_open(), "{step}");
        }
        assert_eq!(exchange.journal(sam).await.len(), before, "{step}");
        // Another portfolio is not affected, and orders can be canceled.
        let ann = exchange.user("ann").await;
        let portfolio = behind
            .books()
            .open_portfolio(Trader::on_behalf_of(ann), crate::harness::named("Growth", Some("1000.00")))
            .await
            .unwrap()
            .id;
        let bought = behind
            .trading()
            .place_order(
                Trader::on_behalf_of(ann).portfolio(portfolio),
                order(Side::Buy, "AAPL", shares("1")),
            )
            .await
            .unwrap();
        assert_eq!(bought.order.fills[0].timestamp, clock.now());
        behind.trading().cancel_order(sam.control(), ids[0]).await.unwrap();
        assert!(look(&exchange, sam, ids[0]).await.order.canceled_at >= Some(newest));
        // Once the clock is right, trading continues.
        clock.step(newest + TimeDelta::seconds(10));
        behind.trading().match_orders().await.unwrap();
        assert_eq!(look(&behind, sam, ids[2]).await.order.status, OrderStatus::Filled, "{step}");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_price_from_the_future_fills_no_order_until_its_time() {
    let prices = FixedPrices::of(Freshness::Realtime, Calendar::AroundTheClock);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "100000.00").await;
    let ahead = exchange.now() + TimeDelta::hours(1);
    exchange.prices.set_as_of("AAPL", Some(ahead));
    let market_order = order(Side::Buy, "AAPL", shares("1"));
    for impatient in
        [market_order.clone(), timed(TimeInForce::Ioc, gtc(Side::Buy, "AAPL", "1", limit("151")))]
    {
        for refused in [
            exchange.place(sam, impatient.clone()).await.map(drop),
            exchange.trading().preview_order(sam.reference(), impatient.clone()).await.map(drop),
        ] {
            match refused {
                Err(Error::ClockBehind { by }) => assert_eq!(by, TimeDelta::hours(1)),
                other => panic!("{impatient:?}: {other:?}"),
            }
        }
    }
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("151"))).await;
    exchange.pass(TimeDelta::minutes(5));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Accepted);
    exchange.pass(TimeDelta::minutes(55));
    exchange.trading().match_orders().await.unwrap();
    exchange.pass(TimeDelta::seconds(1));
    exchange.trading().match_orders().await.unwrap();
    assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Filled);
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let now = exchange.now();
    assert_in_order(&exchange, sam, now).await;
}

#[tokio::test]
async fn a_price_that_is_too_old_because_of_the_clock_is_a_clock_error() {
    let prices = FixedPrices::of(Freshness::Realtime, Calendar::AroundTheClock);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "100000.00").await;
    let right = exchange.now() - TimeDelta::hours(1);
    exchange.clock.step(right);
    exchange.prices.set_as_of("AAPL", Some(right));
    match exchange.buy(sam, "AAPL", "1").await {
        Err(Error::ClockBehind { by }) => assert_eq!(by, TimeDelta::hours(1)),
        other => panic!("{other:?}"),
    }
    // After twice the time, the clocks agree.
    exchange.clock.pass(TimeDelta::hours(2));
    exchange.prices.set_as_of("AAPL", None);
    exchange.buy(sam, "AAPL", "1").await.unwrap();
}

#[tokio::test]
async fn leases_and_runs_of_a_clock_that_was_ahead_are_taken_over() {
    let exchange = Exchange::new().await;
    let (sam, ids) = prepared(&exchange).await;
    let ahead = exchange.now() + TimeDelta::days(1);
    let lease = serde_json::json!({"holder": "gone", "until": ahead}).to_string();
    exchange.write(move |tx| installation::set(tx, "match_orders", &lease)).await;
    exchange.prices.set("AAPL", "140.00");
    exchange.pass(TimeDelta::seconds(5));
    exchange.trading().match_orders_as("here").await.unwrap();
    assert_eq!(exchange.look(sam, ids[2]).await.status, OrderStatus::Filled);

    // A running and a queued job run whose last heartbeats are a day ahead.
    exchange.work().await;
    for kind in [JobKind::RefreshQuotes, JobKind::Prune] {
        exchange.jobs().request_run(&Administrator::operator("ada"), kind).await.unwrap();
    }
    let runs = exchange.jobs().due_runs().await.unwrap();
    assert_eq!(runs.len(), 2);
    let running = runs[0].id;
    let claimed = exchange.write(move |tx| jobs::claim(tx, running, "gone", ahead, ahead)).await;
    assert!(claimed.is_some());
    let queued = runs[1].id;
    exchange
        .write(move |tx| {
            jobs::claim(tx, queued, "gone", ahead, ahead)?;
            let (status, put_off) = (jobs::JobStatus::Queued, TimeDelta::zero());
            jobs::finish(tx, queued, "gone", &jobs::RunEnd { status, outcome: String::new(), put_off }, ahead)
        })
        .await;
    let due: Vec<i64> = exchange.jobs().due_runs().await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(due, [running, queued]);
    for id in due {
        assert!(exchange.jobs().run_job(id, "here").await.unwrap());
    }
}

#[tokio::test]
async fn logins_and_tokens_work_while_the_clock_is_behind() {
    let exchange = Exchange::new().await;
    let sam = exchange.user("sam").await;
    let hour = TimeDelta::hours(1);
    let key = exchange.accounts().create_session(Some(sam), "{}".into(), hour).await.unwrap();
    exchange.clock.step(exchange.now() - TimeDelta::days(40));
    assert!(exchange.accounts().load_session(&key).await.unwrap().is_some());
    let new = exchange.accounts().create_session(Some(sam), "{}".into(), hour).await.unwrap();
    assert!(exchange.accounts().load_session(&new).await.unwrap().is_some());
    // The sessions still end, later by the system's clock.
    exchange.clock.pass(hour * 2 + TimeDelta::seconds(2));
    assert!(exchange.accounts().load_session(&new).await.unwrap().is_none());
}
