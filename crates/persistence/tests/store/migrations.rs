use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use domain::{
    FillRule, JournalEntry, OrderClass, OrderId, OrderSize, OrderStatus, OrderTerms, PortfolioId, Side,
    TransactionId, TransactionType,
};
use persistence::{DatabaseUrl, StoreError, order_list, orders, portfolios, positions, transactions};
use uuid::Uuid;

use crate::harness::{Db, Shell, append, connect, moment, money, price, shares};

fn folder(backend: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(backend)
}

fn names(backend: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder(backend))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[derive(Debug, PartialEq, QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql_type: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

type Tables = BTreeMap<String, Vec<(String, String, bool)>>;

fn by_table(columns: Vec<Column>) -> Tables {
    let mut tables = Tables::new();
    for column in columns {
        tables.entry(column.table_name).or_default().push((column.name, column.sql_type, column.nullable));
    }
    tables
}

const POSTGRES_COLUMNS: &str = "SELECT table_name::text, column_name::text AS name, data_type::text AS sql_type, \
     is_nullable = 'YES' AS nullable FROM information_schema.columns WHERE table_schema = 'public' \
     AND table_name <> '__diesel_schema_migrations' ORDER BY table_name, ordinal_position";

const SQLITE_COLUMNS: &str = "SELECT m.name AS table_name, c.name AS name, lower(c.type) AS sql_type, \
     c.\"notnull\" = 0 AS nullable FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
     AND m.name NOT IN ('__diesel_schema_migrations', 'sqlite_sequence') ORDER BY m.name, c.cid";

/// The current tables of the database.
fn tables(url: &DatabaseUrl) -> Tables {
    by_table(
        match connect(url) {
            Shell::Postgres(mut conn) => diesel::sql_query(POSTGRES_COLUMNS).load(&mut conn),
            Shell::Sqlite(mut conn) => diesel::sql_query(SQLITE_COLUMNS).load(&mut conn),
        }
        .unwrap(),
    )
}

/// The tables of `schema.rs`, with the database's names for the types.
fn schema(url: &DatabaseUrl) -> Tables {
    let mut columns = Vec::new();
    for block in include_str!("../../src/schema.rs").split("table! {").skip(1) {
        let block =
            &block[block.rfind("use ").map_or(0, |start| start + block[start..].find(';').unwrap() + 1)..];
        let (head, body) = block.split_once('{').unwrap();
        let table_name = head.split_once('(').unwrap().0.trim();
        for column in body.split_once('}').unwrap().0.split(',').filter(|column| !column.trim().is_empty()) {
            let (name, rust) = column.split_once("->").unwrap();
            let inner = rust.trim().strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>'));
            columns.push(Column {
                table_name: table_name.into(),
                name: name.trim().into(),
                sql_type: sql_type(url, name.trim(), inner.unwrap_or(rust.trim())).into(),
                nullable: inner.is_some(),
            });
        }
    }
    by_table(columns)
}

fn sql_type(url: &DatabaseUrl, column: &str, rust: &str) -> &'static str {
    let sqlite = matches!(url, DatabaseUrl::Sqlite(_));
    match rust {
        // SQLite generates ids only for a column of exactly this type.
        "BigInt" if sqlite && column == "id" => "integer",
        "BigInt" => "bigint",
        "Integer" => "integer",
        "Bool" => "boolean",
        "Date" => "date",
        "Text" => "text",
        "Moment" | "Exact" if sqlite => "text",
        "Moment" => "timestamp with time zone",
        "Exact" => "numeric",
        other => panic!("schema.rs uses {other}: say here what the databases call it"),
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(names("sqlite"), names("postgres"));
    for backend in ["sqlite", "postgres"] {
        for name in names(backend) {
            for file in ["up.sql", "down.sql"] {
                assert!(folder(backend).join(&name).join(file).is_file(), "{backend}/{name}/{file}");
            }
        }
    }
}

/// diesel identifies a migration only by the part of its name before the underscore.
#[test]
fn no_two_migrations_have_the_same_version() {
    let names = names("sqlite");
    let versions: BTreeSet<&str> = names.iter().filter_map(|name| name.split('_').next()).collect();
    assert_eq!(versions.len(), names.len(), "{names:?}");
}

#[test]
fn both_databases_have_the_same_indexes() {
    let indexes = |backend: &str| {
        let scripts = names(backend).into_iter().map(|name| folder(backend).join(name).join("up.sql"));
        let scripts: String = scripts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let of_indexes =
            |line: &&str| line.starts_with("CREATE INDEX") || line.starts_with("CREATE UNIQUE INDEX");
        // Compared as sets: where PostgreSQL changes a table, SQLite creates it again, and then its indexes.
        scripts.lines().filter(of_indexes).map(ToOwned::to_owned).collect::<BTreeSet<_>>()
    };
    assert!(indexes("sqlite").len() > 10);
    assert_eq!(indexes("sqlite"), indexes("postgres"));
}

#[tokio::test]
async fn migrating_gives_the_tables_of_the_schema() {
    let db = Db::new().await;
    let schema = schema(&db.url());
    assert!(schema.len() >= 15 && schema["transactions"].len() >= 14, "{schema:?}");
    assert_eq!(tables(&db.url()), schema);
}

#[tokio::test]
async fn migrations_can_be_reverted_and_run_again() {
    fn revert<DB: diesel::backend::Backend>(
        conn: &mut impl MigrationHarness<DB>,
        migrations: impl MigrationSource<DB>,
    ) {
        conn.revert_all_migrations(migrations).unwrap();
    }
    let db = Db::new().await;
    db.user("sam").await;
    let before = tables(&db.url());
    let migrations = |backend| FileBasedMigrations::from_path(folder(backend)).unwrap();
    match connect(&db.url()) {
        Shell::Postgres(mut conn) => revert(&mut conn, migrations("postgres")),
        Shell::Sqlite(mut conn) => revert(&mut conn, migrations("sqlite")),
    }
    assert_eq!(tables(&db.url()), Tables::new());
    assert!(matches!(db.store().check_migrated().await, Err(StoreError::PendingMigrations)));
    assert_eq!(db.store().migrate().await.unwrap().len(), names("sqlite").len());
    assert_eq!(tables(&db.url()), before);
    db.user("sam").await;
}

#[tokio::test]
async fn migrating_returns_the_executed_migrations_and_repeats_none() {
    let db = Db::empty();
    let ran = db.store().migrate().await.unwrap();
    assert_eq!(ran.len(), names("sqlite").len());
    assert!(db.store().migrate().await.unwrap().is_empty());
    db.store().check_migrated().await.unwrap();
}

#[tokio::test]
async fn an_empty_database_is_recognized_and_unchanged() {
    let db = Db::empty();
    let checked = db.store().check_migrated().await;
    assert!(matches!(checked, Err(StoreError::PendingMigrations)), "{checked:?}");
    let query = match db.url() {
        DatabaseUrl::Postgres(_) => "SELECT count(*) AS number FROM pg_tables WHERE schemaname = 'public'",
        DatabaseUrl::Sqlite(_) => "SELECT count(*) AS number FROM sqlite_master",
    };
    assert_eq!(connect(&db.url()).number(query), 0);
}

#[tokio::test]
async fn a_database_migrated_by_a_newer_version_is_rejected_unchanged() {
    let db = Db::new().await;
    let insert =
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000'), ('20990101000000')";
    connect(&db.url()).execute(insert).unwrap();
    let before = tables(&db.url());
    for refused in [db.store().check_migrated().await, db.store().migrate().await.map(drop)] {
        let Err(StoreError::NewerSchema { unknown }) = &refused else { panic!("{refused:?}") };
        assert_eq!(unknown, &["20990101000000", "20991231000000"]);
    }
    // A database with newer migrations is also rejected if it lacks migrations of this program.
    let newest = db.store().schema_version().await.unwrap();
    assert!(newest.pending.is_empty() && !newest.is_new, "{newest:?}");
    let oldest = "DELETE FROM __diesel_schema_migrations WHERE version LIKE '2026%'";
    connect(&db.url()).execute(oldest).unwrap();
    let refused = db.store().migrate().await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { .. })), "{refused:?}");
    assert_eq!(tables(&db.url()), before);
}

#[tokio::test]
async fn a_sqlite_file_of_another_program_is_not_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.db").display().to_string();
    let url = DatabaseUrl::Sqlite(file);
    connect(&url).execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    let refused = persistence::Store::open(url.clone(), 1).unwrap().migrate().await;
    assert!(matches!(refused, Err(StoreError::ForeignTables)), "{refused:?}");
    assert_eq!(tables(&url).into_keys().collect::<Vec<_>>(), ["notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_migrations_do_not_conflict() {
    let db = Db::empty();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let url = db.url();
            tokio::spawn(async move {
                let store = tokio::task::spawn_blocking(|| persistence::Store::open(url, 1)).await.unwrap();
                store.unwrap().migrate().await
            })
        })
        .collect();
    let mut ran = Vec::new();
    for task in tasks {
        ran.push(task.await.unwrap().unwrap().len());
    }
    ran.sort_unstable();
    assert_eq!(ran, [0, 0, 0, names("sqlite").len()]);
}

/// Runs the migrations before the one with this name.
pub fn migrate_before(db: &Db, name: &str) {
    fn run<DB: diesel::backend::Backend>(
        conn: &mut impl MigrationHarness<DB>,
        migrations: &FileBasedMigrations,
        count: usize,
    ) {
        for _ in 0..count {
            conn.run_next_migration(migrations.clone()).unwrap();
        }
    }
    let count = names("sqlite").iter().position(|migration| migration == name).unwrap();
    let migrations = |backend| FileBasedMigrations::from_path(folder(backend)).unwrap();
    match connect(&db.url()) {
        Shell::Postgres(mut conn) => run(&mut conn, &migrations("postgres"), count),
        Shell::Sqlite(mut conn) => run(&mut conn, &migrations("sqlite"), count),
    }
}

/// Reverts the migration with this version and all later ones.
pub fn revert_from(db: &Db, version: &str) {
    fn revert<DB: diesel::backend::Backend>(
        conn: &mut impl MigrationHarness<DB>,
        migrations: &FileBasedMigrations,
        version: &str,
    ) {
        while conn.revert_last_migration(migrations.clone()).unwrap().to_string() != version {}
    }
    let migrations = |backend| FileBasedMigrations::from_path(folder(backend)).unwrap();
    match connect(&db.url()) {
        Shell::Postgres(mut conn) => revert(&mut conn, &migrations("postgres"), version),
        Shell::Sqlite(mut conn) => revert(&mut conn, &migrations("sqlite"), version),
    }
}

/// Data from the time when every order filled immediately: a portfolio that bought three shares and sold one by money,
/// and another portfolio with only cash.
const FILLED_ORDERS: &str = "
    INSERT INTO users (username, email, password_hash, first_name, last_name, date_joined, is_active, is_admin,
        password_changed_at)
    VALUES ('sam', 'sam@example.com', '', '', '', 'T0', true, false, 'T0');
    INSERT INTO stocks (symbol, company_name, exchange, sector, currency)
    VALUES ('AAPL', 'Apple Inc.', 'NASDAQ', 'Technology', 'USD');
    INSERT INTO portfolios (user_id, name, description, cash_balance, created_at, updated_at)
    VALUES (1, 'Growth', '', '740.00', 'T0', 'T1'), (1, 'Savings', '', '5.00', 'T0', 'T0');
    INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl)
    VALUES (1, 1, '2.6', '260.00', '0.00');
    INSERT INTO orders (id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, quantity,
        notional, status, filled_quantity, filled_price, submitted_at, filled_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 1, 1, 'first', 'buy AAPL quantity=3', 'buy', 'market', 'day', '3',
            NULL, 'filled', '3', '100.00', 'T0', 'T0'),
        ('00000000-0000-0000-0000-000000000002', 1, 1, NULL, 'sell AAPL notional=40.00', 'sell', 'market', 'gtc', NULL,
            '40.00', 'filled', '0.4', '100.00', 'T1', 'T1');
    INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount,
        realized_pnl, timestamp, quote_source, quoted_at, fill_rule)
    VALUES (1, NULL, NULL, 'deposit', NULL, NULL, '0.00', '1000.00', NULL, 'T0', NULL, NULL, NULL),
        (2, NULL, NULL, 'deposit', NULL, NULL, '0.00', '5.00', NULL, 'T0', NULL, NULL, NULL),
        (1, 1, '00000000-0000-0000-0000-000000000001', 'buy', '3', '100.00', '0.00', '-300.00', NULL, 'T0', 'fixed',
            'T0', 'ask'),
        (1, 1, '00000000-0000-0000-0000-000000000002', 'sell', '0.4', '100.00', '0.00', '40.00', '0.00', 'T1', 'fixed',
            'T1', 'last');
    INSERT INTO portfolio_snapshots (portfolio_id, date, total_value, cash_balance, positions_value, net_flow,
        provisional)
    VALUES (1, '2026-11-20', '1000.00', '740.00', '260.00', '1000.00', false);";

/// `FILLED_ORDERS` with two times filled in.
fn filled_orders() -> String {
    FILLED_ORDERS
        .replace("'T0'", "'2026-11-20T14:30:00.000000Z'")
        .replace("'T1'", "'2026-11-20T14:30:01.000000Z'")
}

#[tokio::test]
async fn orders_and_journal_from_before_working_orders_are_kept() {
    let db = Db::empty();
    migrate_before(&db, "2026-11-26-000000_orders");
    db.sql(&filled_orders()).unwrap();
    // The newest line of all is deleted with its portfolio.
    let gone = |sql: &str| db.sql(&sql.replace("T0", "2026-11-20T14:30:00.000000Z")).unwrap();
    gone(
        "INSERT INTO portfolios (user_id, name, description, cash_balance, created_at, updated_at) \
         VALUES (1, 'Gone', '', '1.00', 'T0', 'T0')",
    );
    gone(
        "INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp) \
         VALUES (3, 'deposit', '0.00', '1.00', 'T0')",
    );
    gone("DELETE FROM portfolios WHERE id = 3");
    db.store().migrate().await.unwrap();

    let portfolio = PortfolioId(1);
    let kept =
        db.read(move |tx| order_list::page(tx, portfolio, &domain::OrderFilter::default(), None, 10)).await;
    let [sold, bought] = kept.as_slice() else { panic!("two orders: {kept:?}") };
    for (order, side, size, filled, amount, at) in [
        (bought, Side::Buy, OrderSize::Quantity(shares("3")), "3", "300.00", moment(0)),
        (sold, Side::Sell, OrderSize::Notional(money("40.00")), "0.4", "40.00", moment(1)),
    ] {
        assert_eq!((order.side, &order.size, &order.terms), (side, &size, &OrderTerms::Market));
        assert_eq!((order.status, order.order_class), (OrderStatus::Filled, OrderClass::Simple));
        assert_eq!((&order.filled_quantity, order.filled_amount.rounded()), (&shares(filled), money(amount)));
        assert_eq!(order.filled_price, Some(price("100.00").into()));
        assert_eq!((order.submitted_at, order.last_matched_at, order.filled_at), (at, at, Some(at)));
        assert_eq!((&order.commission, &order.reserved_cash), (&money("0"), &money("0")));
        assert!(order.reserved_quantity.is_zero());
        assert_eq!((order.canceled_at, order.expires_at, order.parent_order_id), (None, None, None));
    }
    let named = db.read(move |tx| orders::by_client_order_ids(tx, &[(portfolio, "first")])).await;
    assert_eq!(named, [(bought.clone(), "buy AAPL quantity=3".into())]);

    let journal = db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 10)).await;
    assert_eq!(journal.iter().map(|entry| entry.id.unwrap().0).collect::<Vec<_>>(), [1, 3, 4]);
    let types: Vec<_> = journal.iter().map(|entry| entry.transaction_type).collect();
    assert_eq!(types, [TransactionType::Deposit, TransactionType::Buy, TransactionType::Sell]);
    assert_eq!(journal[0].receipt, None);
    assert_eq!(journal[1].order_id, Some(OrderId(Uuid::from_u128(1))));
    let receipt = journal[2].receipt.as_ref().unwrap();
    assert_eq!((receipt.rule, &receipt.quoted_price), (FillRule::Last, &price("100.00")));
    assert_eq!((journal[2].amount.to_string(), receipt.quoted_at), ("40.00".into(), moment(1)));

    let record = db.read(move |tx| portfolios::range(tx, PortfolioId(0), portfolio, 1)).await.remove(0);
    assert_eq!((record.cash_balance, record.reserved_cash), (money("740"), money("0")));
    assert_eq!(record.archived_at, None);
    let held = db.read(move |tx| positions::of_portfolio(tx, portfolio)).await.remove(0);
    assert_eq!((held.1.quantity, held.2.is_zero()), (shares("2.6"), true));
    assert_eq!(db.count("portfolio_snapshots"), 1);

    // The journal is protected again.
    let refused = db.sql("UPDATE transactions SET amount = '500'").unwrap_err();
    assert!(refused.to_string().contains("the journal is append-only"), "{refused}");
    assert!(db.sql("UPDATE orders SET client_order_id = 'first'").is_err(), "a name is unique still");
    db.sql("DELETE FROM portfolios WHERE id = 1").unwrap();
    assert_eq!((db.count("orders"), db.count("transactions")), (0, 1));
    let entry = JournalEntry::cash(PortfolioId(2), money("1"), moment(2));
    let next = db.write(move |tx| append(tx, entry)).await;
    assert_eq!(next.id, Some(TransactionId(6)), "the last one's was 5, and is not given again");
}
