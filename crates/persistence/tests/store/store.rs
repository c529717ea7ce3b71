use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use domain::journal::Books;
use domain::{
    Attached, Calendar, JournalEntry, NewestPrice, OrderId, OrderIds, OrderRejected, OrderSize, OrderTerms,
    PlaceOrder, PortfolioId, PriceMove, Side, StockId, TimeInForce, TradingRules,
};
use persistence::{
    DatabaseUrl, Store, StoreError, Tx, installation, orders, portfolios, transactions, users,
};
use uuid::Uuid;

use crate::harness::{
    Db, append, moment, money, new_user, position_of, quote, save_cash, save_position, shares, symbol,
};

enum BuyError {
    Store(StoreError),
    Rejected(OrderRejected),
}

impl From<StoreError> for BuyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<OrderRejected> for BuyError {
    fn from(rejected: OrderRejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// Buys one share at 10.00 like the use case: lock, decide, save.
fn buy_one(tx: &mut Tx<'_>, number: u128, portfolio: PortfolioId, stock: StockId) -> Result<(), BuyError> {
    let mut books = portfolios::lock(tx, &[portfolio])?.remove(0).portfolio;
    books.positions.extend(position_of(tx, portfolio, stock)?.map(|(position, _)| (stock, position)));
    let command = PlaceOrder {
        symbol: symbol("AAPL"),
        side: Side::Buy,
        size: OrderSize::Quantity(shares("1")),
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id: None,
    };
    let newest = PriceMove { quote: quote("AAPL", "10.00", moment(0)), volume: None };
    let newest_price = NewestPrice { newest: &newest, requested_at: moment(0) };
    let ids = OrderIds::from_fn(|| OrderId(Uuid::from_u128(number)));
    let rules = TradingRules::practice(Calendar::AroundTheClock);
    let placed = books.place(ids, stock, command, newest_price, rules.at(moment(0)))?;
    orders::insert(tx, &[(placed.group.root(), "request")])?;
    transactions::append(tx, &placed.entries)?;
    save_position(tx, portfolio, stock, &books.positions[&stock])?;
    Ok(portfolios::save_cash(tx, &[(&books, moment(0))])?)
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_orders_never_spend_more_than_the_cash() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "1000.00").await.id;
    let stock = db.stock("AAPL").await;
    let cash = JournalEntry::cash(portfolio, money("1000.00"), moment(0));
    db.write(move |tx| append(tx, cash)).await;

    let tasks: Vec<_> = (0..8_u128)
        .map(|task| {
            let store = db.store();
            tokio::spawn(async move {
                let (mut filled, mut refused) = (0, 0);
                for order in 0..20 {
                    let number = task * 100 + order + 1;
                    match store.write(move |tx| buy_one(tx, number, portfolio, stock)).await {
                        Ok(()) => filled += 1,
                        Err(BuyError::Rejected(OrderRejected::InsufficientBuyingPower { .. })) => {
                            refused += 1
                        }
                        Err(BuyError::Rejected(other)) => panic!("{other}"),
                        Err(BuyError::Store(error)) => panic!("{error:?}"),
                    }
                }
                (filled, refused)
            })
        })
        .collect();
    let (mut filled, mut refused) = (0, 0);
    for task in tasks {
        let (more_filled, more_refused) = task.await.unwrap();
        filled += more_filled;
        refused += more_refused;
    }
    assert_eq!((filled, refused), (100, 60));

    let record = db.read(move |tx| portfolios::owned(tx, portfolio, sam)).await.unwrap();
    let (position, _) = db.read(move |tx| position_of(tx, portfolio, stock)).await.unwrap();
    assert_eq!(record.cash_balance, money("0.00"));
    assert_eq!((position.quantity.clone(), position.cost_basis.clone()), (shares("100"), money("1000.00")));
    assert_eq!(db.count("orders"), 100);
    let mut replayed = Books::default();
    for entry in db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 1_000)).await {
        replayed.apply(&entry).unwrap();
    }
    assert_eq!((replayed.cash_balance, replayed.positions[&stock].clone()), (money("0.00"), position));
}

#[tokio::test]
async fn a_second_order_waits_for_the_first_and_sees_its_result() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "10").await.id;
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (store, url) = (db.store(), db.url());
    let first = tokio::spawn(async move {
        store
            .write(move |tx| {
                portfolios::lock(tx, &[id])?;
                locked.send(()).unwrap();
                Db::until_somebody_waits(&url);
                save_cash(tx, id, "3", moment(1))
            })
            .await
    });
    is_locked.await.unwrap();
    let second = db.write(move |tx| portfolios::lock(tx, &[id])).await.remove(0);
    let first: Result<(), StoreError> = first.await.unwrap();
    first.unwrap();
    assert_eq!((second.portfolio.cash_balance, second.last), (money("3"), moment(1)));
}

#[tokio::test]
async fn a_reader_sees_one_state_while_a_writer_commits() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "10").await.id;
    let (looked, has_looked) = tokio::sync::oneshot::channel();
    let (committed, has_committed) = mpsc::channel();
    let store = db.store();
    let reader = tokio::spawn(async move {
        let seen: Result<_, StoreError> = store
            .read(move |tx| {
                let first = portfolios::owned(tx, id, sam)?.unwrap().cash_balance;
                looked.send(()).unwrap();
                has_committed.recv().unwrap();
                let second = portfolios::owned(tx, id, sam)?.unwrap().cash_balance;
                Ok((first, second, transactions::count(tx)?))
            })
            .await;
        seen.unwrap()
    });
    has_looked.await.unwrap();
    db.write(move |tx| {
        append(tx, JournalEntry::cash(id, money("5"), moment(1)))?;
        save_cash(tx, id, "15", moment(1))
    })
    .await;
    committed.send(()).unwrap();
    assert_eq!(reader.await.unwrap(), (money("10"), money("10"), 0));
    assert_eq!(db.read(move |tx| portfolios::owned(tx, id, sam)).await.unwrap().cash_balance, money("15"));
}

#[derive(Debug)]
struct Refused;

impl From<StoreError> for Refused {
    fn from(_: StoreError) -> Self {
        Self
    }
}

#[tokio::test]
async fn an_error_rolls_the_transaction_back() {
    let db = Db::new().await;
    let refused: Result<(), Refused> = db
        .store()
        .write(|tx| {
            installation::set(tx, "clock", "set")?;
            users::insert(tx, new_user("sam", "sam@example.com"))?;
            Err(Refused)
        })
        .await;
    refused.unwrap_err();
    let by_database = db
        .try_write(|tx| {
            users::insert(tx, new_user("sam", "sam@example.com"))?;
            users::insert(tx, new_user("SAM", "other@example.com"))
        })
        .await;
    assert!(matches!(by_database, Err(StoreError::Duplicate(_))), "{by_database:?}");
    assert_eq!((db.count("users"), db.count("installation")), (0, 0));
    db.user("sam").await;
}

#[tokio::test]
async fn a_panic_rolls_the_transaction_back_and_keeps_the_store_usable() {
    let db = Db::new().await;
    for _ in 0..10 {
        let panicked = db
            .try_write(|tx| -> Result<(), StoreError> {
                users::insert(tx, new_user("sam", "sam@example.com"))?;
                panic!("as a bug would");
            })
            .await;
        assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    }
    assert_eq!(db.count("users"), 0);
    db.user("sam").await;
}

#[tokio::test]
async fn a_write_is_reported_as_done_only_after_its_commit() {
    let db = Db::new().await;
    db.user("sam").await;
    let done = db
        .try_write(|tx| {
            installation::set(tx, "clock", "set")?;
            // A use case that ignores an error of the database and continues.
            let _ = users::insert(tx, new_user("sam", "other@example.com"));
            Ok(())
        })
        .await;
    let kept = db.read(|tx| installation::get(tx, "clock")).await;
    assert_eq!(done.is_ok(), kept.is_some(), "answered {done:?}, kept {kept:?}");
    db.user("eve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_transactions_at_once_than_connections_take_turns() {
    let db = Db::new().await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = db.store();
            tokio::spawn(async move {
                let counted: Result<i64, StoreError> = match number % 2 {
                    0 => store.read(users::count).await,
                    _ => {
                        let (name, email) = (format!("user{number}"), format!("{number}@example.com"));
                        store.write(move |tx| users::insert(tx, new_user(&name, &email)).map(|_| 0)).await
                    }
                };
                counted.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(db.count("users"), 25);
}

#[tokio::test]
async fn names_that_look_like_sql_are_stored_as_names() {
    let db = Db::new().await;
    let name = "Robert'); DROP TABLE users;-- \u{1F680}\n\"";
    let user = db.write(move |tx| users::insert(tx, new_user(name, "bobby@example.com"))).await;
    assert_eq!(user.username, name);
    assert_eq!(db.read(move |tx| users::by_login(tx, name)).await, Some(user));
}

#[tokio::test]
async fn a_backup_of_sqlite_is_complete_and_overwrites_no_file() {
    let db = Db::new().await;
    let sam = db.user("sam").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it's a copy.db").display().to_string();
    let done = db.store().backup(file.clone()).await;
    if matches!(db.url(), DatabaseUrl::Postgres(_)) {
        assert!(matches!(done, Err(StoreError::Query(_))), "{done:?}");
        return;
    }
    done.unwrap();
    db.user("eve").await;
    let copy = Store::open(DatabaseUrl::Sqlite(file.clone()), 1).unwrap();
    copy.check_migrated().await.unwrap();
    let copied = async || {
        let found: Result<Option<users::User>, StoreError> =
            copy.read(|tx| Ok(users::by_login(tx, "sam")?.or(users::by_login(tx, "eve")?))).await;
        (found.unwrap(), copy.read(users::count).await.unwrap())
    };
    assert_eq!(copied().await, (Some(sam.clone()), 1));
    assert!(db.store().backup(file).await.is_err(), "over an existing file");
    assert_eq!(copied().await, (Some(sam), 1));
    let nowhere = folder.path().join("missing").join("copy.db").display().to_string();
    assert!(db.store().backup(nowhere).await.is_err());
}

fn refused_within_seconds(url: DatabaseUrl) {
    let start = Instant::now();
    let opened = Store::open(url, 2).map(|_| ());
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_missing_postgresql_server_is_reported() {
    refused_within_seconds(DatabaseUrl::Postgres("postgres://nobody@127.0.0.1:1/none".into()));
}

#[test]
fn a_postgresql_server_that_never_answers_is_reported() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    refused_within_seconds(DatabaseUrl::Postgres(format!("postgres://nobody@127.0.0.1:{port}/none")));
}

#[test]
fn an_sqlite_file_that_cannot_be_opened_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing").join("stockyard.db"), folder.path().to_owned()] {
        refused_within_seconds(DatabaseUrl::Sqlite(path.display().to_string()));
    }
}

#[test]
fn a_file_that_is_not_a_database_is_reported_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "Buy low, sell high. ".repeat(100);
    std::fs::write(&path, &notes).unwrap();
    refused_within_seconds(DatabaseUrl::Sqlite(path.display().to_string()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}
