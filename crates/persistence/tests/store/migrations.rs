use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use persistence::{DatabaseUrl, StoreError};

use crate::harness::{Db, Shell, connect};

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

/// The tables as they are.
fn tables(url: &DatabaseUrl) -> Tables {
    by_table(
        match connect(url) {
            Shell::Postgres(mut conn) => diesel::sql_query(POSTGRES_COLUMNS).load(&mut conn),
            Shell::Sqlite(mut conn) => diesel::sql_query(SQLITE_COLUMNS).load(&mut conn),
        }
        .unwrap(),
    )
}

/// The tables as `schema.rs` has them, with the database's words for its types.
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
        // SQLite gives ids of its own to a column of exactly this type.
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

#[test]
fn both_databases_have_the_same_indexes() {
    let indexes = |backend: &str| {
        let scripts = names(backend).into_iter().map(|name| folder(backend).join(name).join("up.sql"));
        let scripts: String = scripts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let of_indexes =
            |line: &&str| line.starts_with("CREATE INDEX") || line.starts_with("CREATE UNIQUE INDEX");
        scripts.lines().filter(of_indexes).map(ToOwned::to_owned).collect::<Vec<_>>()
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
async fn migrating_answers_what_ran_and_runs_nothing_twice() {
    let db = Db::empty();
    let ran = db.store().migrate().await.unwrap();
    assert_eq!(ran.len(), names("sqlite").len());
    assert!(db.store().migrate().await.unwrap().is_empty());
    db.store().check_migrated().await.unwrap();
}

#[tokio::test]
async fn an_empty_database_is_told_from_a_migrated_one_and_left_as_it_is() {
    let db = Db::empty();
    let checked = db.store().check_migrated().await;
    assert!(matches!(checked, Err(StoreError::PendingMigrations)), "{checked:?}");
    let query = match db.url() {
        DatabaseUrl::Postgres(_) => "SELECT count(*) AS number FROM pg_tables WHERE schemaname = 'public'",
        DatabaseUrl::Sqlite(_) => "SELECT count(*) AS number FROM sqlite_master",
    };
    assert_eq!(connect(&db.url()).number(query), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_migrate_at_once_do_not_disturb_each_other() {
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
