//! Working orders: their types, groups and ends, written and read many at a time.

use domain::{
    FillRule, JournalEntry, Money, Order, OrderClass, OrderFilter, OrderId, OrderSize, OrderStatus,
    OrderTerms, Portfolio, PortfolioId, Position, Quantity, Receipt, Side, StockId, TimeInForce, Trail,
    TransactionId,
};
use persistence::order_list;
use persistence::orders;
use persistence::positions::{self, ChangedPosition};
use persistence::{StoreError, portfolios, snapshots, stocks, transactions};
use uuid::Uuid;

use crate::harness::{Db, buy, entry_of, moment, money, november, price, shares, symbol};
use crate::snapshots::snapshot;

fn id(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

/// A limit order that has not met a price yet.
fn working(number: u128, portfolio: PortfolioId, stock: StockId) -> Order {
    Order {
        terms: OrderTerms::Limit { limit: price("9.99") },
        status: OrderStatus::Accepted,
        filled_quantity: Quantity::zero(),
        filled_amount: Money::zero().into(),
        filled_price: None,
        filled_at: None,
        expires_at: None,
        time_in_force: TimeInForce::Gtc,
        reserved_cash: money("9.99"),
        ..buy(number, portfolio, stock, "AAPL")
    }
}

async fn one(db: &Db) -> (PortfolioId, StockId) {
    let sam = db.user("sam").await.id;
    (db.portfolio(sam, "1000").await.id, db.stock("AAPL").await)
}

async fn insert(db: &Db, new: &[Order]) {
    let new = new.to_vec();
    db.write(move |tx| orders::insert(tx, &new.iter().map(|order| (order, "request")).collect::<Vec<_>>()))
        .await;
}

/// One order of each kind. Every column is set in one of them and empty in another.
fn all_kinds(portfolio: PortfolioId, stock: StockId) -> Vec<Order> {
    let plain = |number| working(number, portfolio, stock);
    let (stop, limit) = (price("11.5"), price("12"));
    let sell = |number, terms| Order {
        side: Side::Sell,
        terms,
        reserved_cash: Money::zero(),
        reserved_quantity: shares("0.000000001"),
        ..plain(number)
    };
    vec![
        buy(1, portfolio, stock, "AAPL"),
        plain(2),
        sell(3, OrderTerms::Stop { stop: stop.clone() }),
        sell(4, OrderTerms::StopLimit { stop, limit }),
        Order {
            high_water_price: Some(price("0.1234")),
            triggered_at: Some(moment(3)),
            ..sell(5, OrderTerms::TrailingStop { trail: Trail::Price(price("0.0001")) })
        },
        sell(6, OrderTerms::TrailingStop { trail: Trail::Percent("12.5".parse().unwrap()) }),
        Order {
            status: OrderStatus::PartiallyFilled,
            size: OrderSize::Notional(money("999999999999999.99")),
            filled_quantity: shares("0.333333333"),
            filled_amount: domain::money::ExactAmount::zero().plus(&price("9.99"), &shares("0.333333333")),
            filled_price: Some(price("9.99").into()),
            commission: money("1.01"),
            reserved_cash: money("6.66"),
            client_order_id: Some("a name".into()),
            last_matched_at: moment(4),
            ..plain(7)
        },
        Order { order_class: OrderClass::Bracket, replaces: Some(id(2)), ..plain(8) },
        Order {
            status: OrderStatus::Held,
            order_class: OrderClass::Bracket,
            parent_order_id: Some(id(8)),
            ..sell(9, OrderTerms::Limit { limit: price("20") })
        },
        Order {
            status: OrderStatus::Rejected,
            canceled_at: Some(moment(5)),
            reject_reason: Some("the order costs 9.99 and 'nothing' is available".into()),
            time_in_force: TimeInForce::Day,
            expires_at: Some(moment(900)),
            reserved_cash: Money::zero(),
            ..plain(10)
        },
    ]
}

#[tokio::test]
async fn orders_of_every_kind_are_read_as_written_together() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let mut all = all_kinds(portfolio, stock);
    insert(&db, &all).await;
    let ids: Vec<OrderId> = all.iter().map(|order| order.id).collect();
    assert_eq!(db.read(move |tx| orders::of_ids(tx, &ids)).await, all);
    all.reverse();
    let page = db.read(move |tx| order_list::page(tx, portfolio, &OrderFilter::default(), None, 100)).await;
    assert_eq!(page, all);
}

#[tokio::test]
async fn changes_of_orders_are_written_completely() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let all = all_kinds(portfolio, stock);
    insert(&db, &all).await;
    // Each order gets the values of another one, so that every column changes between set and empty in both directions.
    let changed: Vec<Order> = all
        .iter()
        .zip(all.iter().cycle().skip(1))
        .map(|(order, other)| Order {
            id: order.id,
            client_order_id: order.client_order_id.clone(),
            ..other.clone()
        })
        .collect();
    let (written, ids) = (changed.clone(), changed.iter().map(|order| order.id).collect::<Vec<_>>());
    db.write(move |tx| orders::update(tx, &written.iter().collect::<Vec<_>>())).await;
    assert_eq!(db.read(move |tx| orders::of_ids(tx, &ids)).await, changed);
    db.write(|tx| orders::update(tx, &[])).await;
}

#[tokio::test]
async fn the_database_rejects_incomplete_orders() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    insert(&db, &[working(1, portfolio, stock)]).await;
    for broken in [
        "limit_price = NULL",
        "stop_price = '1'",
        "order_type = 'trailing_stop', limit_price = NULL",
        "order_type = 'iceberg'",
        "time_in_force = 'gtd'",
        "order_class = 'family'",
        "status = 'pending'",
        "status = 'filled'",
        "filled_at = submitted_at",
        "filled_quantity = '1'",
        "parent_order_id = 'nobody'",
        "replaces = 'nobody'",
    ] {
        assert!(db.sql(&format!("UPDATE orders SET {broken}")).is_err(), "{broken}");
    }
    assert!(db.sql("UPDATE portfolios SET reserved_cash = '-0.01'").is_err());
}

#[tokio::test]
async fn a_group_is_its_root_with_the_legs_that_were_not_replaced() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let leg = |number, root, status| Order {
        parent_order_id: Some(id(root)),
        order_class: OrderClass::Bracket,
        canceled_at: (status == OrderStatus::Replaced).then(|| moment(1)),
        status,
        ..working(number, portfolio, stock)
    };
    let root = |number| Order { order_class: OrderClass::Bracket, ..working(number, portfolio, stock) };
    // The first root has a leg that was replaced; its replacement has a higher id than the other leg.
    let (one, profit, gone, loss) = (
        root(10),
        leg(11, 10, OrderStatus::Held),
        leg(12, 10, OrderStatus::Replaced),
        Order { replaces: Some(id(12)), ..leg(30, 10, OrderStatus::Held) },
    );
    let (two, only) = (root(20), leg(21, 20, OrderStatus::Held));
    let alone = working(40, portfolio, stock);
    let all = [&one, &profit, &gone, &loss, &two, &only, &alone].map(Clone::clone);
    insert(&db, &all).await;

    let groups = async |ids: &[u128]| {
        let ids: Vec<OrderId> = ids.iter().map(|number| id(*number)).collect();
        let found = db.read(move |tx| orders::groups(tx, &ids)).await;
        found.into_iter().map(|group| group.orders).collect::<Vec<_>>()
    };
    let first = vec![one.clone(), profit.clone(), loss.clone()];
    for by in [10, 11, 12, 30] {
        assert_eq!(groups(&[by]).await, std::slice::from_ref(&first), "by {by}");
    }
    assert_eq!(
        groups(&[40, 30, 21, 10, 99]).await,
        [first, vec![two.clone(), only.clone()], vec![alone.clone()]]
    );
    assert_eq!(groups(&[]).await, [[]; 0]);
    assert_eq!(db.read(|tx| orders::legs(tx, &[id(10), id(40), id(20)])).await, [profit, only, loss]);
    assert_eq!(db.read(|tx| orders::of_ids(tx, &[id(12), id(99)])).await, [gone]);
    assert_eq!(db.read(|tx| orders::of_ids(tx, &[])).await, []);
}

#[tokio::test]
async fn open_and_working_orders_are_found_by_portfolio_and_across_all() {
    let db = Db::new().await;
    let (first, stock) = one(&db).await;
    let second = db.portfolio(db.user("eve").await.id, "1000").await.id;
    let tesla = db.stock("TSLA").await;
    let mut all = Vec::new();
    for (number, status) in OrderStatus::ALL.iter().enumerate() {
        let number = u128::try_from(number).unwrap() + 1;
        for (portfolio, number) in [(first, number), (second, 100 + number)] {
            let ended = !status.is_open() && *status != OrderStatus::Filled;
            let filled = matches!(status, OrderStatus::Filled | OrderStatus::PartiallyFilled);
            let order = working(number, portfolio, stock);
            all.push(Order {
                status: *status,
                canceled_at: ended.then(|| moment(1)),
                filled_at: (*status == OrderStatus::Filled).then(|| moment(1)),
                filled_quantity: if filled { shares("0.5") } else { Quantity::zero() },
                filled_price: filled.then(|| price("9.99").into()),
                ..order
            });
        }
    }
    all.push(Order { stock_id: tesla, symbol: symbol("TSLA"), ..working(50, first, stock) });
    insert(&db, &all).await;
    all.sort_by_key(|order| order.id);
    let ids = |keep: &dyn Fn(&Order) -> bool| -> Vec<OrderId> {
        all.iter().filter(|order| keep(order)).map(|order| order.id).collect()
    };

    let open = ids(&|order| order.portfolio_id == first && order.status.is_open());
    assert_eq!(open.len(), 4);
    assert_eq!(db.read(move |tx| orders::open_ids(tx, first)).await, open);
    let works = ids(&|order| order.status.is_working());
    assert_eq!(works.len(), 5);
    assert_eq!(db.read(|tx| orders::working(tx, None, 100)).await, works);
    let after = works[1];
    assert_eq!(db.read(move |tx| orders::working(tx, Some(after), 2)).await, works[2..4]);

    let page = async |open, ticker: Option<&str>| {
        let filter = OrderFilter { open, symbol: ticker.map(symbol), ..OrderFilter::default() };
        let found = db.read(move |tx| order_list::page(tx, first, &filter, None, 100)).await;
        let mut found: Vec<OrderId> = found.iter().map(|order| order.id).collect();
        found.reverse();
        found
    };
    assert_eq!(page(Some(true), None).await, open);
    assert_eq!(page(Some(false), None).await, ids(&|o| o.portfolio_id == first && !o.status.is_open()));
    assert_eq!(page(None, Some("TSLA")).await, [id(50)]);
    assert_eq!(page(Some(false), Some("TSLA")).await, []);
    assert_eq!(page(Some(true), Some("NONE")).await, []);
}

#[tokio::test]
async fn the_time_of_matching_is_recorded_and_never_goes_back() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let seen =
        |number, second| Order { last_matched_at: moment(second), ..working(number, portfolio, stock) };
    insert(&db, &[seen(1, 0), seen(2, 100), seen(3, 0)]).await;
    db.write(|tx| orders::set_last_matched(tx, &[id(1), id(2)], moment(60))).await;
    db.write(|tx| orders::set_last_matched(tx, &[], moment(999))).await;
    let found = db.read(|tx| orders::of_ids(tx, &[id(1), id(2), id(3)])).await;
    let seen: Vec<_> = found.iter().map(|order| (order.last_matched_at - moment(0)).num_seconds()).collect();
    assert_eq!(seen, [60, 100, 0]);
}

#[tokio::test]
async fn names_of_many_portfolios_are_looked_up_at_once() {
    let db = Db::new().await;
    let (first, stock) = one(&db).await;
    let second = db.portfolio(db.user("eve").await.id, "1000").await.id;
    let named = |number, portfolio, name: &str| Order {
        client_order_id: Some(name.into()),
        ..working(number, portfolio, stock)
    };
    let all = [named(1, first, "a"), named(2, first, "b"), named(3, second, "a"), working(4, first, stock)];
    insert(&db, &all).await;
    let found = db
        .read(move |tx| {
            orders::by_client_order_ids(
                tx,
                &[(first, "a"), (second, "a"), (first, "a"), (second, "b"), (first, "it's none")],
            )
        })
        .await;
    assert_eq!(found, [(all[0].clone(), "request".to_owned()), (all[2].clone(), "request".to_owned())]);
    assert!(db.read(|tx| orders::by_client_order_ids(tx, &[])).await.is_empty());
}

/// More rows than a full batch of the desk, half of them with empty optional columns.
#[tokio::test]
async fn many_rows_are_written_together_with_increasing_ids() {
    const MANY: u32 = 600;
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let stock = db.stock("AAPL").await;
    let mut owned = Vec::new();
    for _ in 0..3 {
        owned.push(db.portfolio(sam, "1000").await.id);
    }
    let orders: Vec<Order> = (0..MANY)
        .map(|number| {
            let portfolio = owned[usize::try_from(number % 3).unwrap()];
            let order = buy(u128::from(number) + 1, portfolio, stock, "AAPL");
            let name = (number % 2 == 0).then(|| format!("order {number}"));
            Order {
                client_order_id: name,
                side: if number % 5 == 4 { Side::Sell } else { Side::Buy },
                ..order
            }
        })
        .collect();
    let entries: Vec<JournalEntry> = orders
        .iter()
        .enumerate()
        .map(|(number, order)| match number % 2 {
            0 => entry_of(order),
            _ => JournalEntry::cash(order.portfolio_id, money("0.01"), moment(0)),
        })
        .collect();
    let (new, given) = (orders.clone(), entries.clone());
    let appended = db
        .write(move |tx| {
            orders::insert(tx, &new.iter().map(|order| (order, "request")).collect::<Vec<_>>())?;
            transactions::append(tx, &given)
        })
        .await;
    let ids: Vec<TransactionId> = appended.iter().map(|entry| entry.id.unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let without_ids: Vec<_> =
        appended.iter().map(|entry| JournalEntry { id: None, ..entry.clone() }).collect();
    assert_eq!(without_ids, entries);
    for portfolio in owned {
        let own: Vec<_> = appended.iter().filter(|entry| entry.portfolio_id == portfolio).cloned().collect();
        let stored = db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 1000)).await;
        assert_eq!(stored, own);
        let placed =
            db.read(move |tx| order_list::page(tx, portfolio, &OrderFilter::default(), None, 1000)).await;
        let own: Vec<_> =
            orders.iter().rev().filter(|order| order.portfolio_id == portfolio).cloned().collect();
        assert_eq!(placed, own);
    }
    assert!(db.write(|tx| transactions::append(tx, &[])).await.is_empty());
    db.write(|tx| orders::insert(tx, &[])).await;
}

#[tokio::test]
async fn one_invalid_row_rolls_all_rows_back() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let good = buy(1, portfolio, stock, "AAPL");
    let bad = JournalEntry { receipt: None, ..entry_of(&good) };
    let refused = db
        .try_write(move |tx| {
            orders::insert(tx, &[(&good, "request")])?;
            transactions::append(tx, &[entry_of(&good), bad])
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    let twice = [working(2, portfolio, stock), working(2, portfolio, stock)];
    let refused =
        db.try_write(move |tx| orders::insert(tx, &[(&twice[0], "request"), (&twice[1], "request")])).await;
    assert!(matches!(refused, Err(StoreError::Duplicate(_))), "{refused:?}");
    assert_eq!((db.count("orders"), db.count("transactions")), (0, 0));
}

#[tokio::test]
async fn positions_and_cash_are_saved_together_with_reservations() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (one, two) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let (apple, tesla) = (db.stock("AAPL").await, db.stock("TSLA").await);
    let position = |quantity: &str| Position {
        quantity: shares(quantity),
        cost_basis: money("20.01"),
        realized_pnl: money("-3.00"),
    };
    for (keeps, cash, kept) in [("0.5", "70", "60.01"), ("2", "80", "0")] {
        db.write(move |tx| {
            let (first, second, third) = (position("2"), position("3"), position("4"));
            let (none, some) = (Quantity::zero(), shares(keeps));
            positions::save(
                tx,
                &[
                    ChangedPosition { portfolio: two, stock: apple, position: &first, reserved: &some },
                    ChangedPosition { portfolio: one, stock: tesla, position: &second, reserved: &none },
                    ChangedPosition { portfolio: one, stock: apple, position: &third, reserved: &some },
                ],
            )?;
            positions::save(tx, &[])?;
            let mut books = [Portfolio::new(two, money(cash)), Portfolio::new(one, money("90"))];
            books[0].reserved.cash = money(kept);
            portfolios::save_cash(tx, &[(&books[0], moment(7)), (&books[1], moment(8))])?;
            portfolios::save_cash(tx, &[])
        })
        .await;
        let found =
            db.read(move |tx| positions::of_pairs(tx, &[(two, apple), (one, apple), (two, tesla)])).await;
        assert_eq!(found.len(), 2);
        assert_eq!(found[&(two, apple)], (position("2"), shares(keeps)));
        assert_eq!(found[&(one, apple)], (position("4"), shares(keeps)));
        assert!(db.read(|tx| positions::of_pairs(tx, &[])).await.is_empty());

        let range = db.read(move |tx| positions::of_range(tx, one, two)).await;
        assert_eq!(range.len(), 1);
        assert_eq!(range[&two].iter().collect::<Vec<_>>(), [(&apple, &(position("2"), shares(keeps)))]);
        assert_eq!(db.read(move |tx| positions::of_range(tx, PortfolioId(0), two)).await[&one].len(), 2);

        let locked = db.write(move |tx| portfolios::lock(tx, &[two, PortfolioId(99), one, two])).await;
        assert_eq!(
            locked.iter().map(|row| row.portfolio.id).collect::<Vec<_>>(),
            [one, two],
            "in order of id"
        );
        assert_eq!(locked[1].portfolio.cash_balance, money(cash));
        assert_eq!(locked[1].portfolio.reserved.cash, money(kept));
        assert_eq!((locked[0].last, locked[1].last), (moment(8), moment(7)));
    }
    assert_eq!(db.count("positions"), 3);
}

#[tokio::test]
async fn an_archived_portfolio_is_listed_separately_and_not_in_later_sessions() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (old, new) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    db.write(move |tx| portfolios::archive(tx, old, moment(10))).await;
    let listed = async |archived| {
        let page = db.read(move |tx| portfolios::page_of_user(tx, sam, archived, None, 10)).await;
        page.into_iter().map(|row| (row.id, row.archived_at)).collect::<Vec<_>>()
    };
    assert_eq!(listed(true).await, [(old, Some(moment(10)))]);
    assert_eq!(listed(false).await, [(new, None)]);
    assert_eq!(db.read(move |tx| portfolios::of_user(tx, sam)).await.len(), 1);
    let locked = db.write(move |tx| portfolios::lock(tx, &[old, new])).await;
    assert_eq!((locked[0].archived, locked[1].archived), (true, false));
    for (at, expected) in [(1, vec![old, new]), (10, vec![old, new]), (11, vec![new])] {
        let range = db
            .read(move |tx| {
                portfolios::active_cash(tx, PortfolioId(0), PortfolioId(i64::MAX), moment(at), 10)
            })
            .await;
        assert_eq!(range.iter().map(|row| row.id).collect::<Vec<_>>(), expected, "at {at}");
    }
    let all = db.read(|tx| portfolios::range(tx, PortfolioId(0), PortfolioId(i64::MAX), 10)).await;
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn a_fill_stores_the_price_before_slippage() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let order = buy(1, portfolio, stock, "AAPL");
    let mut entry = entry_of(&order);
    let receipt = Receipt { rule: FillRule::Ask, quoted_price: price("9.98"), ..entry.receipt.unwrap() };
    entry.receipt = Some(receipt.clone());
    let appended = db
        .write(move |tx| {
            orders::insert(tx, &[(&order, "request")])?;
            transactions::append(tx, &[entry])
        })
        .await;
    assert_eq!(appended[0].receipt, Some(receipt));
    assert_eq!(db.read(move |tx| transactions::of_orders(tx, &[id(1)])).await, appended);
}

#[tokio::test]
async fn books_are_read_by_ranges_of_portfolios() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let stock = db.stock("AAPL").await;
    let mut owned = Vec::new();
    for _ in 0..3 {
        owned.push(db.portfolio(sam, "5").await.id);
    }
    let [one, two, three] = owned[..] else { panic!("three") };
    insert(&db, &[working(1, one, stock), working(2, two, stock), working(3, one, stock)]).await;
    db.write(move |tx| {
        snapshots::save(
            tx,
            &[
                snapshot(one, november(21), "101", false),
                snapshot(one, november(20), "100", false),
                snapshot(two, november(20), "200", true),
                snapshot(three, november(20), "300", false),
            ],
        )
    })
    .await;
    let all = PortfolioId(0);
    let booked = db.read(move |tx| orders::booked_in_range(tx, all, two)).await;
    assert_eq!(booked.iter().map(|order| order.id).collect::<Vec<_>>(), [id(3), id(1), id(2)]);
    assert_eq!((&booked[0].reserved_cash, booked[0].status), (&money("9.99"), OrderStatus::Accepted));
    assert_eq!(db.read(move |tx| orders::booked_in_range(tx, one, two)).await, booked[2..]);
    assert_eq!(db.read(move |tx| orders::booked(tx, one, None, 10)).await, booked[..2]);
    assert_eq!(db.read(move |tx| orders::booked(tx, one, Some(id(3)), 10)).await, booked[1..2]);
    assert_eq!(db.read(move |tx| orders::booked(tx, one, None, 1)).await, booked[..1]);
    let mut sizes = db.read(move |tx| orders::sizes(tx, all, three)).await;
    sizes.sort_unstable();
    assert_eq!(sizes, [(one, 2), (two, 1)]);

    let finals = db.read(move |tx| snapshots::finals_in_range(tx, all, two)).await;
    assert_eq!(finals.iter().map(|row| row.date).collect::<Vec<_>>(), [november(20), november(21)]);
    let mut sizes = db.read(move |tx| snapshots::sizes(tx, all, three)).await;
    sizes.sort_unstable();
    assert_eq!(sizes, [(one, 2), (three, 1)], "final rows alone");
    assert_eq!(db.read(move |tx| snapshots::sizes(tx, one, two)).await, []);
}

#[tokio::test]
async fn closes_of_many_days_are_found_at_once() {
    let db = Db::new().await;
    let (apple, tesla) = (db.stock("AAPL").await, db.stock("TSLA").await);
    let bar = |day, close: &str| domain::Bar {
        date: november(day),
        open: price("1"),
        high: price("1"),
        low: price("1"),
        close: price(close),
        volume: 1,
    };
    db.write(move |tx| {
        stocks::save_bars(tx, apple, "fixed", &[bar(19, "10.5"), bar(20, "11")])?;
        stocks::save_bars(tx, tesla, "fixed", &[bar(20, "0.1234")])
    })
    .await;
    let wanted = [(tesla, november(20)), (apple, november(19)), (apple, november(18)), (tesla, november(19))];
    let mut found = db.read(move |tx| stocks::closes(tx, &wanted)).await;
    found.sort_by_key(|(id, ..)| *id);
    assert_eq!(found, [(apple, november(19), price("10.5")), (tesla, november(20), price("0.1234"))]);
    assert_eq!(db.read(|tx| stocks::closes(tx, &[])).await, []);
}

/// The trades stay in the journal, although the old tables cannot represent their orders.
#[tokio::test]
async fn reverting_and_repeating_migrations_keeps_the_trades() {
    let db = Db::new().await;
    let (portfolio, stock) = one(&db).await;
    let mut replaced = Order {
        status: OrderStatus::Replaced,
        canceled_at: Some(moment(3)),
        filled_quantity: shares("1"),
        filled_amount: money("10.00").into(),
        filled_price: Some(price("10.00").into()),
        size: OrderSize::Quantity(shares("3")),
        reserved_cash: Money::zero(),
        ..working(1, portfolio, stock)
    };
    let never =
        Order { status: OrderStatus::Canceled, canceled_at: Some(moment(2)), ..working(2, portfolio, stock) };
    let heir = Order { replaces: Some(id(2)), ..buy(3, portfolio, stock, "AAPL") };
    insert(&db, &[replaced.clone(), never, heir.clone(), working(4, portfolio, stock)]).await;
    replaced.filled_at = Some(moment(0));
    let entries = [entry_of(&replaced), entry_of(&heir)];
    let mut before = db.write(move |tx| transactions::append(tx, &entries)).await;
    for receipt in before.iter_mut().filter_map(|entry| entry.receipt.as_mut()) {
        // Fills from before versions of rounding were stored have the first version.
        receipt.rounding = domain::Rounding::PerFill;
    }
    crate::migrations::revert_from(&db, "20261126000000");
    assert_eq!((db.count("orders"), db.count("transactions")), (2, 2));
    db.store().migrate().await.unwrap();
    assert_eq!(db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 9)).await, before);
    let kept = db.read(move |tx| order_list::page(tx, portfolio, &OrderFilter::default(), None, 9)).await;
    assert!(kept.iter().all(|order| order.status == OrderStatus::Filled), "{kept:?}");
    assert_eq!(kept.iter().map(|order| order.id).collect::<Vec<_>>(), [id(3), id(1)]);
}

#[tokio::test]
async fn orders_that_changed_are_found_with_their_roots() {
    let db = Db::new().await;
    let (sams, stock) = one(&db).await;
    let eve = db.user("eve").await.id;
    let hers = db.portfolio(eve, "1000").await.id;
    let ended = |number, status, at| Order {
        status,
        canceled_at: Some(moment(at)),
        reserved_cash: Money::zero(),
        ..working(number, sams, stock)
    };
    let leg = |number, order: Order| Order { id: id(number), parent_order_id: Some(id(6)), ..order };
    insert(
        &db,
        &[
            Order { submitted_at: moment(99), ..working(1, sams, stock) },
            Order { submitted_at: moment(100), ..working(2, sams, stock) },
            ended(3, OrderStatus::Canceled, 99),
            ended(4, OrderStatus::Expired, 100),
            // An order that was replaced at that time.
            ended(5, OrderStatus::Replaced, 100),
            // An entry with two exits, of which one was canceled and one was replaced.
            Order { order_class: OrderClass::Bracket, ..working(6, sams, stock) },
            leg(7, ended(7, OrderStatus::Canceled, 101)),
            leg(8, ended(8, OrderStatus::Replaced, 101)),
            Order { triggered_at: Some(moment(100)), ..working(9, sams, stock) },
            Order { submitted_at: moment(100), ..working(10, hers, stock) },
        ],
    )
    .await;
    // Two fills of one order, one of them before the time.
    for (number, seconds) in [(11, 50), (12, 150)] {
        let filled = buy(number, sams, stock, "AAPL");
        insert(&db, std::slice::from_ref(&filled)).await;
        let entries =
            [seconds, seconds + 1].map(|at| JournalEntry { timestamp: moment(at), ..entry_of(&filled) });
        db.write(move |tx| transactions::append(tx, &entries)).await;
    }
    let changed = async |portfolios: &[PortfolioId], limit| {
        let portfolios = portfolios.to_vec();
        db.read(move |tx| orders::changed_since(tx, &portfolios, moment(100), limit)).await
    };
    assert_eq!(changed(&[sams], 100).await, [2, 4, 5, 6, 7, 8, 9, 12].map(id));
    assert_eq!(changed(&[sams, hers], 100).await, [2, 4, 5, 6, 7, 8, 9, 10, 12].map(id));
    assert_eq!(changed(&[sams], 3).await.len(), 3);
}
