//! Damage to SQLite's file is detected anywhere in the file.

use std::collections::BTreeSet;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use persistence::{DatabaseUrl, Store, sqlite_damage};

/// A page that a table or an index uses.
#[derive(Debug, QueryableByName)]
struct UsedPage {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Text)]
    owner: String,
}

/// A database in a single file without a log, with rows in the tables of the books.
async fn filled(folder: &Path) -> Vec<u8> {
    let file = folder.join("sound.db");
    let path = file.display().to_string();
    let store = Store::open(DatabaseUrl::Sqlite(path.clone()), 2).unwrap();
    store.migrate().await.unwrap();
    drop(store);
    let mut conn = SqliteConnection::establish(&path).unwrap();
    conn.batch_execute(FILL).unwrap();
    conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").unwrap();
    drop(conn);
    assert_eq!(sqlite_damage(&path), Vec::<String>::new());
    std::fs::read(&file).unwrap()
}

const FILL: &str = "PRAGMA foreign_keys = ON;
    INSERT INTO users (username, email, password_hash, first_name, last_name, date_joined, is_active, is_admin, password_changed_at)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
        SELECT 'user' || i, 'user' || i || '@example.org', hex(randomblob(40)), '', '', '2026-11-20 12:00:00', 1, 0, '2026-11-20 12:00:00' FROM n;
    INSERT INTO portfolios (user_id, name, description, cash_balance, created_at, updated_at)
        SELECT id, 'Growth', hex(randomblob(100)), '1000.00', '2026-11-20 12:00:00', '2026-11-20 12:00:00' FROM users;
    INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp)
        SELECT id, 'deposit', '0.00', '1000.00', created_at FROM portfolios;
    INSERT INTO installation (key, value) VALUES ('seed', hex(randomblob(40)));";

fn used_pages(path: &str) -> Vec<UsedPage> {
    let mut conn = SqliteConnection::establish(path).unwrap();
    diesel::sql_query("SELECT pageno AS number, name AS owner FROM dbstat ORDER BY pageno")
        .load(&mut conn)
        .unwrap()
}

#[tokio::test]
async fn every_overwritten_page_of_a_table_or_an_index_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = filled(folder.path()).await;
    let size = usize::from(u16::from_be_bytes([sound[16], sound[17]]));
    let path = folder.path().join("damaged.db");
    let name = path.display().to_string();
    std::fs::write(&path, &sound).unwrap();
    let used = used_pages(&name);
    assert!(used.len() > 60, "{} pages", used.len());
    let owners: BTreeSet<&str> = used.iter().map(|page| page.owner.as_str()).collect();
    for owner in ["users", "portfolios", "transactions", "installation", "sqlite_schema"] {
        assert!(owners.contains(owner), "{owners:?}");
    }
    let patterns: [(&str, Vec<u8>); 3] = [
        ("zeros", vec![0; size]),
        ("ones", vec![0xff; size]),
        ("text", b"overwritten ".iter().copied().cycle().take(size).collect()),
    ];
    for page in &used {
        let begins = (usize::try_from(page.number).unwrap() - 1) * size;
        for (pattern, bytes) in &patterns {
            let mut damaged = sound.clone();
            damaged[begins..begins + size].copy_from_slice(bytes);
            std::fs::write(&path, &damaged).unwrap();
            let found = sqlite_damage(&name);
            assert!(!found.is_empty(), "{pattern} in {page:?} are not found");
        }
    }
}

#[tokio::test]
async fn a_row_that_refers_to_a_missing_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let path = folder.path().join("sound.db").display().to_string();
    let mut conn = SqliteConnection::establish(&path).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = OFF; UPDATE portfolios SET user_id = 4711 WHERE id = 7")
        .unwrap();
    drop(conn);
    assert_eq!(sqlite_damage(&path), ["row 7 of portfolios refers to a missing row of users"]);
}

#[test]
fn a_file_that_is_not_a_database_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "This is no database. ".repeat(1000)).unwrap();
    let found = sqlite_damage(path.to_str().unwrap());
    assert_eq!(found.len(), 1, "{found:?}");
}
