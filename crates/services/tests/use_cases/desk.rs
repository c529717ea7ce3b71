//! The order desk: batches, failing commands in a batch, waiting callers, and lost answers.

use std::time::Duration;

use chrono::TimeDelta;
use domain::{
    Attached, OrderFilter, OrderId, OrderRejected, OrderStatus, PlaceOrder, PortfolioId, ReplaceOrder, Side,
    StopLoss, TransactionType,
};
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use services::accounts::actor::{Administrator, Trader};
use services::books::portfolios::CashDirection;
use services::books::snapshots::IdRange;
use services::jobs::JobKind;
use services::trading::{OrderWithFills, PlacedOrder};
use services::{Error, NotFound, Result, Services};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{
    Exchange, Investor, assert_not_found, called, day, ended, gtc, limit, money, order, price, quantity,
    rejection, shares,
};
use crate::wire::Wire;

/// Sends the commands to the desk of `process` while it is blocked, so that they form its next batch.
async fn in_one_batch<T>(
    exchange: &Exchange,
    process: &Services,
    commands: Vec<BoxFuture<'_, T>>,
    meanwhile: impl AsyncFnOnce(),
) -> Vec<T> {
    let name = format!("blocker{}", Uuid::now_v7().simple());
    let blocker = exchange.investor(&name, "1").await;
    // The price is cached by a preview, so that the order reaches the desk immediately.
    let preview = exchange.place(blocker, order(Side::Buy, "AAPL", shares("0.001")));
    let (other, buy) = (process.clone(), order(Side::Buy, "AAPL", shares("0.001")));
    tokio::join!(preview, other.trading().place_order(blocker.control(), buy)).1.unwrap();

    let hold = exchange.hold(blocker.portfolio).await;
    let first = tokio::spawn({
        let process = process.clone();
        async move { process.trading().cancel_order(blocker.control(), OrderId(Uuid::nil())).await }
    });
    // The desk takes the order and blocks. If it takes longer, nothing fails; the commands only form another batch.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut all = join_all(commands);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut all).await.is_err(), "nothing waited");
    meanwhile().await;
    hold.end().await;
    assert_not_found(NotFound::Order, first.await.unwrap());
    all.await
}

async fn nothing() {}

fn buy(quantity: &str) -> PlaceOrder {
    order(Side::Buy, "AAPL", shares(quantity))
}

/// The number of transactions in which the orders were written, if the database can tell.
fn transactions_of_orders(exchange: &Exchange) -> Option<i64> {
    exchange
        .on_postgres()
        .then(|| exchange.database().number("SELECT count(DISTINCT xmin::text) AS number FROM orders"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_of_a_batch_gets_its_own_answer() {
    let exchange = Exchange::new().await;
    let mut people = Vec::new();
    for number in 1..=20 {
        people.push(exchange.investor(&format!("user{number}"), "10000.00").await);
    }
    let commands =
        people.iter().zip(1..).map(|(who, number)| exchange.place(*who, buy(&number.to_string())).boxed());
    let answers = in_one_batch(&exchange, &exchange, commands.collect(), nothing).await;
    for ((who, number), answer) in people.iter().zip(1..).zip(answers) {
        let placed = answer.unwrap().order;
        assert_eq!((placed.order.portfolio_id, placed.order.status), (who.portfolio, OrderStatus::Filled));
        assert_eq!(placed.order.filled_quantity, quantity(&number.to_string()));
        let [fill] = placed.fills.as_slice() else { panic!("one fill: {placed:?}") };
        assert_eq!(
            (fill.order_id, &fill.amount),
            (Some(placed.order.id), &money(&format!("-{}", 150 * number)))
        );
        assert_eq!(exchange.trading().order(who.reference(), placed.order.id).await.unwrap(), placed);
        assert_eq!(exchange.journal(*who).await[0], *fill);
    }
    // The first two orders were placed to warm up.
    assert!(transactions_of_orders(&exchange).is_none_or(|count| count <= 3), "they were one batch");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_orders_do_not_affect_others_of_the_batch() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "1000.00").await, exchange.investor("mia", "1000.00").await);
    let nowhere = Investor { portfolio: PortfolioId(i64::MAX), ..sam };
    let strangers = Investor { portfolio: mia.portfolio, ..sam };
    let commands = [
        (sam, buy("1")),
        (sam, buy("100")),
        (nowhere, buy("1")),
        (strangers, buy("1")),
        (mia, order(Side::Sell, "AAPL", shares("1"))),
        (mia, buy("0.00001")),
        (mia, buy("2")),
        (sam, order(Side::Sell, "AAPL", shares("1"))),
    ];
    let commands = commands.into_iter().map(|(who, command)| exchange.place(who, command).boxed());
    let mut answers = in_one_batch(&exchange, &exchange, commands.collect(), nothing).await.into_iter();
    let mut next = || answers.next().unwrap();
    next().unwrap();
    let missing = rejection(next());
    assert!(
        matches!(missing, OrderRejected::InsufficientBuyingPower { available, .. } if available == money("850"))
    );
    assert_not_found(NotFound::Portfolio, next());
    assert_not_found(NotFound::Portfolio, next());
    assert!(matches!(rejection(next()), OrderRejected::InsufficientShares { .. }));
    assert_eq!(rejection(next()), OrderRejected::TooSmall);
    next().unwrap();
    next().unwrap();
    assert_eq!((exchange.cash(sam).await, exchange.cash(mia).await), ("1000.00".into(), "700.00".into()));
    assert_eq!((exchange.all_orders(sam).await.len(), exchange.all_orders(mia).await.len()), (2, 1));
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_one_portfolio_in_a_batch_are_executed_in_order() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "450.00").await;
    let commands = (0..10).map(|number| {
        let side = if number == 5 { Side::Sell } else { Side::Buy };
        exchange.place(sam, order(side, "AAPL", shares("1"))).boxed()
    });
    let answers = in_one_batch(&exchange, &exchange, commands.collect(), nothing).await;
    // Three orders are paid for; the sell makes room for a fourth.
    let done: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, true, true, false, false, true, true, false, false, false]);
    let journal = exchange.journal(sam).await;
    let types: Vec<TransactionType> = journal.iter().rev().map(|entry| entry.transaction_type).collect();
    use TransactionType::{Buy, Deposit, Sell};
    assert_eq!(types, [Deposit, Buy, Buy, Buy, Sell, Buy]);
    let ids: Vec<_> = journal.iter().rev().map(|entry| entry.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    exchange.assert_books_balance().await;
}

/// Makes the database reject orders of 13 shares, as a full disk or a bug would.
fn unlucky_number(exchange: &Exchange, on: bool) {
    let statements = match (exchange.on_postgres(), on) {
        (true, true) => {
            "CREATE FUNCTION unlucky() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no luck'; END $$ LANGUAGE plpgsql;
             CREATE TRIGGER unlucky BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.quantity = 13)
             EXECUTE FUNCTION unlucky();"
        }
        (true, false) => "DROP TRIGGER unlucky ON orders",
        (false, true) => {
            "CREATE TRIGGER unlucky BEFORE INSERT ON orders WHEN NEW.quantity = '13'
             BEGIN SELECT RAISE(ABORT, 'no luck'); END;"
        }
        (false, false) => "DROP TRIGGER unlucky",
    };
    exchange.database().sql(statements).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_rejected_by_the_database_does_not_affect_others() {
    let exchange = Exchange::new().await;
    let mut people = Vec::new();
    for name in ["sam", "mia", "kim"] {
        people.push(exchange.investor(name, "10000.00").await);
    }
    unlucky_number(&exchange, true);
    let sizes = ["1", "13", "2", "3", "13", "4"];
    let commands =
        sizes.iter().zip(people.iter().cycle()).map(|(size, who)| exchange.place(*who, buy(size)).boxed());
    let answers = in_one_batch(&exchange, &exchange, commands.collect(), nothing).await;
    for (size, answer) in sizes.iter().zip(answers) {
        match answer {
            Ok(placed) => assert_eq!(placed.order.order.filled_quantity, quantity(size)),
            Err(error) => assert!(matches!(error, Error::Store(_)) && *size == "13", "{size}: {error:?}"),
        }
    }
    unlucky_number(&exchange, false);
    let mut held = Vec::new();
    for who in &people {
        held.push(exchange.all_orders(*who).await.len());
    }
    assert_eq!(held, [2, 0, 2]);
    exchange.buy(people[1], "AAPL", "13").await.unwrap();
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portfolio_deleted_while_its_orders_wait_does_not_affect_others() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "1000.00").await, exchange.investor("mia", "1000.00").await);
    let working = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let commands: Vec<BoxFuture<'_, Result<OrderWithFills>>> = vec![
        async { Ok(exchange.place(sam, buy("1")).await?.order) }.boxed(),
        async { Ok(exchange.place(mia, buy("1")).await?.order) }.boxed(),
        exchange.trading().cancel_order(sam.control(), working).boxed(),
        async { Ok(exchange.place(mia, buy("2")).await?.order) }.boxed(),
    ];
    // On SQLite, the deletion gets its turn to write before the next batch.
    let other = exchange.another_process();
    let (there, mut deleting) = ((*exchange).clone(), JoinSet::new());
    let process = if exchange.on_postgres() { other } else { there };
    let answers = in_one_batch(&exchange, &exchange, commands, async || {
        deleting.spawn(async move { process.books().delete_portfolio(sam.control()).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await;
    deleting.join_all().await.remove(0).unwrap();
    let [first, second, third, fourth] = answers.try_into().unwrap();
    assert_not_found(NotFound::Portfolio, first);
    assert_not_found(NotFound::Portfolio, third);
    assert_eq!(
        (second.unwrap().order.status, fourth.unwrap().order.status),
        (OrderStatus::Filled, OrderStatus::Filled)
    );
    assert_eq!(exchange.cash(mia).await, "550.00");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orders_with_one_name_in_a_batch_are_one_order() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "1000.00").await, exchange.investor("mia", "1000.00").await);
    let commands = [(sam, "1"), (mia, "1"), (sam, "1"), (sam, "2"), (sam, "1.000")];
    let commands =
        commands.into_iter().map(|(who, size)| exchange.place(who, called("once", buy(size))).boxed());
    let answers = in_one_batch(&exchange, &exchange, commands.collect(), nothing).await;
    let [first, other, second, different, third] = answers.try_into().unwrap();
    let first = first.unwrap();
    assert!(!first.replayed && !other.unwrap().replayed);
    for again in [second, third] {
        assert_eq!(again.unwrap(), PlacedOrder { replayed: true, ..first.clone() });
    }
    assert!(matches!(different, Err(Error::ClientOrderIdReused)), "{different:?}");
    assert_eq!((exchange.cash(sam).await, exchange.cash(mia).await), ("850.00".into(), "850.00".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_rejects_new_orders_and_serves_waiting_ones() {
    const QUEUE: usize = 4096;
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let nothing_to_cancel = || exchange.trading().cancel_order(sam.control(), OrderId(Uuid::nil())).boxed();
    let hold = exchange.hold(sam.portfolio).await;
    let mut all: FuturesUnordered<_> = (0..QUEUE + 1000).map(|_| nothing_to_cancel()).collect();
    // The desk serves no one for now. It has taken at most one batch, so many commands find the queue full.
    let mut answers: Vec<_> = all.by_ref().take(1000 - 256).collect().await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::Busy))), "{:?}", answers.first());
    let sent_away = exchange.trading().cancel_order(sam.control(), OrderId(Uuid::nil())).await;
    assert!(matches!(sent_away, Err(Error::Busy)), "{sent_away:?}");
    let Err(Error::OrderUnconfirmed { source, .. }) = exchange.buy(sam, "AAPL", "1").await else {
        panic!("the queue is full");
    };
    assert!(matches!(*source, Error::Busy), "{source:?}");
    hold.end().await;
    answers.extend(all.collect::<Vec<_>>().await);
    let busy = answers.iter().filter(|answer| matches!(answer, Err(Error::Busy))).count();
    let served = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::NotFound(services::NotFound::Order))))
        .count();
    assert_eq!(busy + served, QUEUE + 1000);
    // Commands that the desk had already taken were no longer in the queue.
    assert!((QUEUE..=QUEUE + 256).contains(&served), "{served}");
    exchange.buy(sam, "AAPL", "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_executed_after_its_caller_stopped_waiting() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let hold = exchange.hold(sam.portfolio).await;
    let mut waiting = exchange.place(sam, called("gone", buy("2"))).boxed();
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    drop(waiting);
    hold.end().await;
    let again = exchange.place(sam, called("gone", buy("2"))).await.unwrap();
    assert!(again.replayed, "it had been placed already");
    assert_eq!(exchange.cash(sam).await, "550.00");
}

/// A bought position with both exits active.
async fn bracketed(exchange: &Exchange, who: Investor) -> [OrderId; 3] {
    let stop_loss = StopLoss { stop: price("140"), limit: None };
    let attached = Attached::Bracket { take_profit: price("170"), stop_loss };
    let entry = PlaceOrder { attached, ..gtc(Side::Buy, "AAPL", "2", domain::OrderTerms::Market) };
    let placed = exchange.place(who, entry).await.unwrap().order;
    let legs: Vec<OrderId> = placed.legs.iter().map(|leg| leg.order.id).collect();
    assert!(placed.legs.iter().all(|leg| leg.order.status == OrderStatus::Accepted), "{placed:?}");
    [placed.order.id, legs[0], legs[1]]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    CancelProfit,
    CancelLoss,
    ReplaceProfit,
    ReplaceLoss,
    Match,
}

/// Sends commands for one group in every order, in one batch: the first command that ends an exit decides, and the
/// books balance.
#[tokio::test(flavor = "multi_thread")]
async fn commands_for_one_group_in_a_batch_see_earlier_results() {
    use Act::{CancelLoss, CancelProfit, Match, ReplaceLoss, ReplaceProfit};
    let exchange = Exchange::new().await;
    for (round, acts) in [
        vec![CancelProfit, CancelProfit],
        vec![CancelProfit, CancelLoss],
        vec![CancelLoss, ReplaceProfit, Match],
        vec![ReplaceProfit, CancelProfit, CancelLoss],
        vec![ReplaceProfit, ReplaceProfit],
        vec![ReplaceProfit, ReplaceLoss, CancelProfit],
        vec![Match, CancelProfit, ReplaceLoss],
        vec![ReplaceLoss, Match, CancelLoss],
        vec![Match, Match, CancelProfit, CancelProfit],
    ]
    .into_iter()
    .enumerate()
    {
        exchange.prices.set("AAPL", "150.00");
        let sam = exchange.investor(&format!("sam{round}"), "1000.00").await;
        let [_, profit, loss] = bracketed(&exchange, sam).await;
        exchange.pass(TimeDelta::seconds(1));
        if acts.contains(&Match) {
            exchange.prices.set("AAPL", "171.00");
        }
        let replace = |id, changes| exchange.trading().replace_order(sam.control(), id, changes);
        let commands: Vec<BoxFuture<'_, Result<OrderStatus>>> = acts
            .iter()
            .map(|act| match act {
                CancelProfit | CancelLoss => {
                    let id = if *act == CancelProfit { profit } else { loss };
                    let cancel = exchange.trading().cancel_order(sam.control(), id);
                    async move { Ok(cancel.await?.order.status) }.boxed()
                }
                ReplaceProfit => {
                    let changes = ReplaceOrder { limit_price: Some(price("180")), ..ReplaceOrder::default() };
                    let replace = replace(profit, changes);
                    async move { Ok(replace.await?.order.order.status) }.boxed()
                }
                ReplaceLoss => {
                    let changes = ReplaceOrder { stop_price: Some(price("130")), ..ReplaceOrder::default() };
                    let replace = replace(loss, changes);
                    async move { Ok(replace.await?.order.order.status) }.boxed()
                }
                Match => async {
                    exchange.trading().match_orders().await?;
                    Ok(OrderStatus::Filled)
                }
                .boxed(),
            })
            .collect();
        let answers = in_one_batch(&exchange, &exchange, commands, nothing).await;
        // A command that is too late gets the error that the order has ended, with its status: an order never
        // disappears.
        for (act, answer) in acts.iter().zip(&answers) {
            assert!(
                matches!(answer, Ok(_) | Err(Error::OrderNotOpen { .. })),
                "{acts:?}: {act:?} {answer:?}"
            );
        }
        for act in [CancelProfit, CancelLoss] {
            let done = acts.iter().zip(&answers).filter(|(one, answer)| **one == act && answer.is_ok());
            assert!(done.count() <= 1, "{acts:?}: {answers:?}");
        }
        let exits: Vec<_> =
            exchange.all_orders(sam).await.into_iter().filter(|one| one.order.side == Side::Sell).collect();
        let sold: domain::Quantity =
            exits.iter().fold(domain::Quantity::zero(), |sum, exit| sum + &exit.order.filled_quantity);
        assert!(sold <= quantity("2"), "{acts:?}: {exits:?}");
        let open = exits.iter().filter(|exit| exit.order.status.is_open()).count();
        assert!(matches!(open, 0 | 2), "{acts:?}: one exit does not live without the other: {exits:?}");
        exchange.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_order_is_reported_as_replaced() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let root = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let [_, profit, _] = bracketed(&exchange, sam).await;
    let cheaper = |text| ReplaceOrder { limit_price: Some(price(text)), ..ReplaceOrder::default() };
    for (id, text) in [(root, "99"), (profit, "175")] {
        let new = exchange.trading().replace_order(sam.control(), id, cheaper(text)).await.unwrap();
        assert_eq!(new.order.order.replaces, Some(id));
        assert_eq!(exchange.look(sam, id).await.status, OrderStatus::Replaced);
        assert_eq!(ended(exchange.trading().cancel_order(sam.control(), id).await), OrderStatus::Replaced);
        let again = exchange.trading().replace_order(sam.control(), id, cheaper(text)).await;
        assert_eq!(ended(again), OrderStatus::Replaced);
        exchange.trading().cancel_order(sam.control(), new.order.order.id).await.unwrap();
    }
    exchange.assert_books_balance().await;
}

/// Sent again under its name, a replacement returns the earlier result and is not executed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_replacement_is_executed_once() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let root = exchange.accepted(sam, called("first", gtc(Side::Buy, "AAPL", "1", limit("100")))).await;
    let replace = async |name: &str, text: &str| {
        let changes = ReplaceOrder {
            limit_price: Some(price(text)),
            client_order_id: Some(name.into()),
            ..ReplaceOrder::default()
        };
        exchange.trading().replace_order(sam.control(), root, changes).await
    };
    let first = replace("second", "99").await.unwrap();
    let again = replace("second", "99.00").await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.order, first.order);
    assert!(matches!(replace("second", "98").await, Err(Error::ClientOrderIdReused)));
    assert!(matches!(replace("first", "99").await, Err(Error::ClientOrderIdReused)));
    // The name of the first order still finds the first order.
    let replayed =
        exchange.place(sam, called("first", gtc(Side::Buy, "AAPL", "1", limit("100")))).await.unwrap();
    assert_eq!((replayed.replayed, replayed.order.order.status), (true, OrderStatus::Replaced));
    assert_eq!(exchange.buying_power(sam).await, "901.00");
    exchange.assert_books_balance().await;
}

/// The transaction of the batch is committed, and then the connection is lost before the answer arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_lost_answer_is_neither_repeated_nor_rejected() {
    let exchange = Exchange::new().await;
    if !exchange.on_postgres() {
        return;
    }
    let wire = Wire::to(&exchange.database().url);
    let process = exchange.process_on(wire.url.clone());
    let (sam, mia) = (exchange.investor("sam", "10000.00").await, exchange.investor("mia", "1000.00").await);
    let to_cancel = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let to_replace = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let [_, exit, _] = bracketed(&exchange, mia).await;
    let to_fill = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("120"))).await;
    exchange.pass(TimeDelta::seconds(1));
    exchange.prices.set("AAPL", "119.00");

    let changes = ReplaceOrder { limit_price: Some(price("90")), ..ReplaceOrder::default() };
    let place = |who: Investor, command| {
        let placing = process.trading().place_order(who.control(), command);
        async move { Ok(placing.await?.order) }.boxed()
    };
    let commands: Vec<BoxFuture<'_, Result<OrderWithFills>>> = vec![
        place(sam, buy("1")),
        place(sam, called("named", buy("2"))),
        place(sam, called("named", buy("2"))),
        place(mia, buy("100")),
        process.trading().cancel_order(sam.control(), to_cancel).boxed(),
        async { Ok(process.trading().replace_order(sam.control(), to_replace, changes).await?.order) }
            .boxed(),
        process.trading().cancel_order(mia.control(), exit).boxed(),
        async {
            process.trading().match_orders().await?;
            exchange.trading().order(sam.reference(), to_fill).await
        }
        .boxed(),
    ];
    // The first COMMIT is that of the order that blocks the desk.
    let answers = in_one_batch(&exchange, &process, commands, async || wire.cut_after(2)).await;
    assert!(wire.is_cut(), "the wire was not cut");
    let [one, two, three, refused, canceled, replaced, exit, filled] = answers.try_into().unwrap();
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(two, three.unwrap());
    assert!(matches!(rejection(refused), OrderRejected::InsufficientBuyingPower { .. }));
    assert_eq!(canceled.unwrap().order.status, OrderStatus::Canceled);
    assert_eq!(replaced.unwrap().order.replaces, Some(to_replace));
    // The stop-loss may have filled first.
    assert!(matches!(exit, Ok(_) | Err(Error::OrderNotOpen { .. })), "{exit:?}");
    assert_eq!(filled.unwrap().order.status, OrderStatus::Filled);
    assert_eq!((one.fills.len(), two.fills.len()), (1, 1));
    // Four earlier orders including the bracket's, two new ones, one replacement.
    assert_eq!(exchange.all_orders(sam).await.len(), 6);
    let buys = exchange
        .journal(sam)
        .await
        .into_iter()
        .filter(|entry| entry.transaction_type == TransactionType::Buy);
    assert_eq!(buys.count(), 3);
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_work_after_the_database_has_cut_all_connections() {
    let exchange = Exchange::new().await;
    if !exchange.on_postgres() {
        return;
    }
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    exchange.database().sql(cut).unwrap();
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert_eq!(exchange.database().number("SELECT count(*) AS number FROM orders"), 2);
}

/// A fill, a cancellation, a replacement and the expiry of one order, at the same time and in two processes.
#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_simultaneous_fill_cancel_and_expiry_succeeds() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    for round in 0..12 {
        exchange.prices.set("AAPL", "150.00");
        let sam = exchange.investor(&format!("sam{round}"), "1000.00").await;
        let command = PlaceOrder { terms: limit("140"), ..buy("2") };
        let id = exchange.accepted(sam, command).await;
        let close = exchange.look(sam, id).await.expires_at.unwrap();
        // The price either comes in time, or the day is already over.
        exchange.clock.set(close - TimeDelta::seconds(1));
        exchange.trading().match_orders().await.unwrap();
        let late = round % 3 == 0;
        exchange.prices.set("AAPL", "139.00");
        exchange.clock.set(if late { close + TimeDelta::seconds(1) } else { close });

        // In some rounds the cancellation reaches the desk first, in others the price.
        let delay = Duration::from_millis([0, 4, 8, 16, 32, 64][round % 6]);
        let cancel = async |services: &Services| {
            tokio::time::sleep(delay).await;
            services.trading().cancel_order(sam.control(), id).await
        };
        let changes = ReplaceOrder { limit_price: Some(price("100")), ..ReplaceOrder::default() };
        let (first, second, _, _, replaced) = tokio::join!(
            cancel(&exchange),
            cancel(&other),
            other.trading().match_orders(),
            exchange.trading().match_orders(),
            exchange.trading().replace_order(sam.control(), id, changes),
        );
        let order = exchange.look(sam, id).await;
        let canceled = usize::from(first.is_ok()) + usize::from(second.is_ok());
        assert_eq!(
            canceled,
            usize::from(order.status == OrderStatus::Canceled),
            "{order:?} {first:?} {second:?}"
        );
        assert_eq!(replaced.is_ok(), order.status == OrderStatus::Replaced, "{order:?} {replaced:?}");
        let held = exchange.books().valuation(sam.reference()).await.unwrap().valuation.holdings.len();
        assert_eq!(held, usize::from(order.status == OrderStatus::Filled));
        assert!(!order.status.is_open(), "{order:?}");
        if late {
            assert_ne!(order.status, OrderStatus::Filled, "a price after the close");
        }
        if let Ok(replaced) = replaced {
            // Leaves no order for the next round.
            let _ = exchange.trading().cancel_order(sam.control(), replaced.order.order.id).await;
        }
        assert_eq!(exchange.buying_power(sam).await, exchange.cash(sam).await);
        exchange.assert_books_balance().await;
    }
}

/// Stores new prices with the stocks, like the worker.
async fn refresh(services: &Services) -> Result<()> {
    services.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await?;
    for run in services.jobs().due_runs().await? {
        services.jobs().run_job(run.id, "worker").await?;
    }
    Ok(())
}

/// Everything that writes into portfolios runs at the same time in two processes. On PostgreSQL there must be no
/// deadlock: the desk would hide it by retrying.
#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_writers_never_deadlock() {
    let exchange = Exchange::new().await;
    let processes = [(*exchange).clone(), exchange.another_process()];
    let mut tasks: JoinSet<()> = JoinSet::new();
    for user_number in 0..4_u64 {
        let user = exchange.user(&format!("user{user_number}")).await;
        let mut owned = Vec::new();
        for _ in 0..4 {
            owned.push(exchange.open(user, "100000.00").await);
        }
        for (number, services) in processes.iter().cycle().take(4).cloned().enumerate() {
            let owned = owned.clone();
            let mut state = user_number * 100 + u64::try_from(number).unwrap();
            tasks.spawn(async move {
                let mut next = |below: usize| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    usize::try_from(state >> 33).unwrap() % below
                };
                for _ in 0..25 {
                    let portfolio = owned[next(4)];
                    let ticker = ["AAPL", "MSFT", "JPM", "SPY"][next(4)];
                    let limit = ["1.00", "1000.00"][next(2)];
                    let result = match next(10) {
                        0..=4 => {
                            let command = gtc(Side::Buy, ticker, "0.01", crate::harness::limit(limit));
                            services
                                .trading()
                                .place_order(Trader::on_behalf_of(user).portfolio(portfolio), command)
                                .await
                                .map(drop)
                        }
                        5 => {
                            let deposit = services.books().move_cash(
                                Trader::on_behalf_of(user).portfolio(portfolio),
                                CashDirection::Deposit,
                                money("1"),
                            );
                            deposit.await.map(drop)
                        }
                        6 => services.trading().match_orders().await.map(drop),
                        7 => services
                            .books()
                            .take_snapshots(day("2026-11-20"), IdRange::ALL, |_| true)
                            .await
                            .map(drop),
                        8 => refresh(&services).await,
                        _ => match next(6) {
                            0 => services
                                .books()
                                .reset_portfolio(Trader::on_behalf_of(user).portfolio(portfolio), None)
                                .await
                                .map(drop),
                            1 => {
                                services
                                    .books()
                                    .delete_portfolio(Trader::on_behalf_of(user).portfolio(portfolio))
                                    .await
                            }
                            2 => services.accounts().remove_user(&Administrator::operator("ada"), user).await,
                            _ => services
                                .books()
                                .update_portfolio(
                                    Trader::on_behalf_of(user).portfolio(portfolio),
                                    Some("Other".into()),
                                    None,
                                )
                                .await
                                .map(drop),
                        },
                    };
                    assert!(
                        matches!(
                            result,
                            Ok(()) | Err(Error::NotFound(_) | Error::Archived | Error::TooManyPortfolios(_))
                        ),
                        "{result:?}"
                    );
                }
            });
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    if exchange.on_postgres() {
        // Waits until the server's processes have reported their counters.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let query = "SELECT deadlocks AS number FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(exchange.database().number(query), 0, "somebody waited in a circle");
    }
    exchange.assert_books_balance().await;
}

/// An account is deleted with its portfolios while one of them is being reset: either of them may come first.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_deleted_while_its_portfolios_are_in_use() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    for round in 0..10 {
        let user = exchange.user(&format!("sam{round}")).await;
        let (one, two) = (exchange.open(user, "1000").await, exchange.open(user, "1000").await);
        // After a deposit, the portfolios are not stored in the order of their ids.
        let sam = Investor { user, portfolio: one };
        exchange.deposit(sam, "1").await.unwrap();
        let administrator = Administrator::operator("ada");
        let (removed, first, second, _) = tokio::join!(
            exchange.accounts().remove_user(&administrator, user),
            other.books().reset_portfolio(Trader::on_behalf_of(user).portfolio(one), None),
            other.books().reset_portfolio(Trader::on_behalf_of(user).portfolio(two), None),
            exchange.buy(Investor { portfolio: two, ..sam }, "AAPL", "1"),
        );
        removed.unwrap();
        for reset in [first, second] {
            assert!(matches!(reset, Ok(_) | Err(Error::NotFound(_))), "{reset:?}");
        }
        assert_eq!(exchange.books().portfolios(user, false, None, 10).await.unwrap().items, []);
    }
    assert_eq!(exchange.read(persistence::portfolios::count).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn working_orders_are_listed_separately_and_by_symbol() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    let open = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("100"))).await;
    let other = exchange.accepted(sam, gtc(Side::Buy, "MSFT", "0.1", limit("100"))).await;
    let done = exchange.buy(sam, "AAPL", "1").await.unwrap().order.order.id;
    let ids = async |open: Option<bool>, symbol: Option<&str>| {
        let filter =
            OrderFilter { open, symbol: symbol.map(crate::harness::symbol), ..OrderFilter::default() };
        let page = exchange.trading().orders(sam.reference(), filter, None, 10).await.unwrap();
        page.items.iter().map(|one| one.order.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(true), None).await, [other, open]);
    assert_eq!(ids(Some(false), None).await, [done]);
    assert_eq!(ids(None, Some("AAPL")).await, [done, open]);
    assert_eq!(ids(Some(true), Some("AAPL")).await, [open]);
}
