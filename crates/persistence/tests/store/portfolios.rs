use domain::{Portfolio, PortfolioId, UserId};
use persistence::portfolios::{self, PortfolioCash, PortfolioChanges, PortfolioRecord};
use persistence::sessions::NewSession;
use persistence::tokens::Token;
use persistence::{StoreError, sessions, snapshots, stocks, tokens, transactions, users, watchlists};

use crate::harness::{
    Db, buy, moment, money, new_portfolio, new_user, november, quote, save_cash, save_position,
};

#[tokio::test]
async fn cash_is_exact_to_the_last_cent() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "0").await.id;
    for cash in [
        "0.00",
        "0.01",
        "0.10",
        "9007199254740.93",
        "900719925474099.31",
        "999999999999999.99",
        "1000000000000000",
    ] {
        db.write(move |tx| save_cash(tx, id, cash, moment(1))).await;
        let stored = db.read(move |tx| portfolios::owned(tx, id, sam)).await.unwrap();
        assert_eq!(stored.cash_balance, money(cash));
        assert_eq!(stored.cash_balance.to_string(), money(cash).to_string());
    }
}

#[tokio::test]
async fn instants_are_exact_to_the_microsecond() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    for microseconds in [0, 1, 999_999, 100_000, -1, -2_000_000_000_000_000] {
        let at = moment(0) + chrono::TimeDelta::microseconds(microseconds);
        let new =
            portfolios::NewPortfolio { created_at: at, updated_at: at, ..new_portfolio(sam, "One", "1") };
        let stored = db.write(move |tx| portfolios::insert(tx, new)).await;
        let id = stored.id;
        assert_eq!(stored.created_at, at);
        assert_eq!(db.read(move |tx| portfolios::owned(tx, id, sam)).await.unwrap().updated_at, at);
    }
}

#[tokio::test]
async fn the_database_rejects_negative_cash() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "5").await.id;
    let refused = db.try_write(move |tx| save_cash(tx, id, "-0.01", moment(1))).await;
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    assert!(db.sql("UPDATE portfolios SET cash_balance = '-1'").is_err());
    assert_eq!(db.read(move |tx| portfolios::owned(tx, id, sam)).await.unwrap().cash_balance, money("5"));
}

#[tokio::test]
async fn another_users_portfolio_is_not_found() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    let record = db.portfolio(sam, "5").await;
    let id = record.id;
    let changes = || PortfolioChanges { name: Some("Mine".into()), ..PortfolioChanges::default() };
    assert_eq!(db.read(move |tx| portfolios::owned(tx, id, eve)).await, None);
    assert_eq!(db.write(move |tx| portfolios::update(tx, id, eve, changes())).await, None);
    assert_eq!(db.write(move |tx| portfolios::update(tx, id, eve, PortfolioChanges::default())).await, None);
    assert!(!db.write(move |tx| portfolios::delete(tx, id, eve)).await);
    assert!(db.read(move |tx| portfolios::of_user(tx, eve)).await.is_empty());
    assert_eq!(db.read(move |tx| portfolios::owned(tx, id, sam)).await, Some(record));
}

#[tokio::test]
async fn a_portfolio_needs_an_owner() {
    let db = Db::new().await;
    let refused = db.try_write(|tx| portfolios::insert(tx, new_portfolio(UserId(99), "One", "1"))).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
}

#[tokio::test]
async fn an_update_changes_only_the_given_fields() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let record = db.portfolio(sam, "5").await;
    let id = record.id;
    let changes = PortfolioChanges { description: Some(String::new()), ..PortfolioChanges::default() };
    let changed = db.write(move |tx| portfolios::update(tx, id, sam, changes)).await;
    let expected = PortfolioRecord { description: String::new(), version: record.version + 1, ..record };
    assert_eq!(changed.as_ref(), Some(&expected));
    let unchanged = db.write(move |tx| portfolios::update(tx, id, sam, PortfolioChanges::default())).await;
    assert_eq!(unchanged, Some(PortfolioRecord { version: expected.version + 1, ..expected }));
}

#[tokio::test]
async fn the_locked_portfolio_has_its_cash_and_no_positions_yet() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let id = db.portfolio(sam, "123.45").await.id;
    let locked = db.write(move |tx| portfolios::lock(tx, &[id])).await.remove(0);
    assert_eq!((locked.user_id, locked.last, locked.archived), (sam, moment(0), false));
    assert_eq!(locked.portfolio, Portfolio::new(id, money("123.45")));
}

#[tokio::test]
async fn portfolios_are_listed_in_the_order_of_creation() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    let mut made = Vec::new();
    for owner in [sam, eve, sam, sam, eve] {
        made.push((owner, db.portfolio(owner, "1").await.id));
    }
    let sams: Vec<PortfolioId> = made.iter().filter(|(owner, _)| *owner == sam).map(|(_, id)| *id).collect();
    let ids = |page: Vec<PortfolioRecord>| page.iter().map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids(db.read(move |tx| portfolios::of_user(tx, sam)).await), sams);
    let first = ids(db.read(move |tx| portfolios::page_of_user(tx, sam, false, None, 2)).await);
    assert_eq!(first, sams[..2]);
    let rest = db.read(move |tx| portfolios::page_of_user(tx, sam, false, first.last().copied(), 2)).await;
    assert_eq!(ids(rest), sams[2..]);
}

#[tokio::test]
async fn a_range_omits_later_portfolios() {
    let db = Db::new().await;
    assert_eq!(db.read(portfolios::extent).await, None);
    let sam = db.user("sam").await.id;
    let mut ids = Vec::new();
    for second in [30, 10, 20, 0] {
        let new = portfolios::NewPortfolio { created_at: moment(second), ..new_portfolio(sam, "One", "1") };
        ids.push(db.write(move |tx| portfolios::insert(tx, new)).await.id);
    }
    let last = ids[3];
    assert_eq!(db.read(portfolios::extent).await, Some((last, moment(0))));
    let range = |after: i64, until: PortfolioId, limit| {
        db.read(move |tx| portfolios::active_cash(tx, PortfolioId(after), until, moment(30), limit))
    };
    let of = |rows: Vec<PortfolioCash>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let one = range(ids[2].0, last, 1).await.remove(0);
    let updated_at = new_portfolio(sam, "One", "1").updated_at;
    assert_eq!(one, PortfolioCash { id: last, cash_balance: money("1"), updated_at });
    assert_eq!(of(range(0, last, 10).await), ids[1..]);
    assert_eq!(of(range(ids[1].0, last, 1).await), ids[2..3]);
    assert_eq!(of(range(0, ids[2], 10).await), ids[1..3]);
}

#[tokio::test]
async fn the_overview_pages_newest_first_and_searches_names_and_owners() {
    let db = Db::new().await;
    let sam = db.write(|tx| users::insert(tx, new_user("Sam_1", "sam@example.com"))).await.id;
    let eve = db.user("eve").await.id;
    for (owner, name) in [(sam, "Growth"), (eve, "Growth 100%"), (sam, "Income")] {
        db.write(move |tx| portfolios::insert(tx, new_portfolio(owner, name, "1"))).await;
    }
    let names = |page: &[(PortfolioRecord, String)]| {
        page.iter().map(|(record, owner)| format!("{} of {owner}", record.name)).collect::<Vec<_>>()
    };
    let first = db.read(|tx| portfolios::page(tx, "", None, 2)).await;
    assert_eq!(names(&first), ["Income of Sam_1", "Growth 100% of eve"]);
    let before = first.last().map(|(record, _)| record.id);
    assert_eq!(names(&db.read(move |tx| portfolios::page(tx, "", before, 2)).await), ["Growth of Sam_1"]);
    for (search, found) in [("growTH", 2), ("0%", 1), ("%", 1), ("m_1", 2), ("eve", 1), ("g%h", 0)] {
        assert_eq!(db.read(move |tx| portfolios::page(tx, search, None, 9)).await.len(), found, "{search}");
    }
    assert_eq!(db.read(portfolios::count).await, 3);
}

const OWNED: [&str; 9] = [
    "portfolios",
    "positions",
    "orders",
    "transactions",
    "portfolio_snapshots",
    "watchlists",
    "watchlist_items",
    "api_tokens",
    "sessions",
];

/// Adds one row to each table that holds data of a user.
async fn settle(db: &Db, name: &'static str, number: u128) -> (UserId, PortfolioId) {
    let user = db.user(name).await.id;
    let portfolio = db.portfolio(user, "90").await.id;
    let stock = db.stock("AAPL").await;
    db.filled(&buy(number, portfolio, stock, "AAPL")).await;
    db.write(move |tx| {
        stocks::save_last_price(tx, stock, &quote("AAPL", "10.00", moment(0)))?;
        save_position(tx, portfolio, stock, &domain::Position::default())?;
        snapshots::save(tx, &[crate::snapshots::snapshot(portfolio, november(20), "100", false)])?;
        let list = watchlists::insert(tx, user, "Tech", moment(0))?;
        watchlists::add_item(tx, list.id, stock, moment(0))?;
        let id = domain::TokenId(uuid::Uuid::from_u128(number));
        tokens::insert(
            tx,
            Token {
                id,
                user_id: user,
                name: name.into(),
                token_hash: name.into(),
                scope: "read".into(),
                created_at: moment(0),
                expires_at: None,
            },
        )?;
        sessions::insert(
            tx,
            NewSession {
                key_hash: name.into(),
                user_id: Some(user),
                state: "{}".into(),
                created_at: moment(0),
                last_seen_at: moment(0),
                expires_at: moment(9),
            },
        )
    })
    .await;
    (user, portfolio)
}

#[tokio::test]
async fn deleting_a_user_deletes_only_data_of_that_user() {
    let db = Db::new().await;
    let (sam, _) = settle(&db, "sam", 1).await;
    let (eve, eves) = settle(&db, "eve", 2).await;
    assert!(OWNED.iter().all(|table| db.count(table) == 2));
    assert!(db.write(move |tx| users::delete(tx, sam)).await);
    for table in OWNED {
        assert_eq!(db.count(table), 1, "{table}");
    }
    assert_eq!(db.count(&format!("sessions WHERE user_id = {eve}")), 1);
    assert_eq!(db.count(&format!("transactions WHERE portfolio_id = {eves}")), 1);
    assert_eq!((db.count("users"), db.count("stocks")), (1, 1));
    assert!(!db.write(move |tx| users::delete(tx, sam)).await);
}

#[tokio::test]
async fn deleting_a_portfolio_deletes_its_orders_journal_and_snapshots() {
    let db = Db::new().await;
    let (sam, portfolio) = settle(&db, "sam", 1).await;
    let (_, eves) = settle(&db, "eve", 2).await;
    assert!(db.write(move |tx| portfolios::delete(tx, portfolio, sam)).await);
    for table in ["positions", "orders", "transactions", "portfolio_snapshots"] {
        assert_eq!(db.count(table), 1, "{table}");
        assert_eq!(db.count(&format!("{table} WHERE portfolio_id = {eves}")), 1, "{table}");
    }
    assert_eq!((db.count("users"), db.count("watchlists")), (2, 2));
    assert_eq!(db.read(transactions::count).await, 1);
}

#[tokio::test]
async fn ids_are_never_reused() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let first = db.portfolio(sam, "1").await.id;
    db.write(move |tx| portfolios::delete(tx, first, sam)).await;
    assert!(db.portfolio(sam, "1").await.id > first);
}
