//! A fresh database per test, on the backend that `STOCKYARD_TEST_BACKEND` names: `sqlite` (default) or
//! `postgres`, the latter on the server of `TEST_DATABASE_URL`.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::{DatabaseUrl, Store};

/// A store with its database, which goes away with it.
pub struct TestStore {
    pub store: Store,
    pub url: DatabaseUrl,
    _folder: Option<tempfile::TempDir>,
}

impl TestStore {
    /// Creates and migrates the database.
    ///
    /// # Panics
    /// When the backend cannot be had: a missing service is a failure, not a skip.
    pub async fn new() -> Self {
        let test = Self::empty(8);
        test.store.migrate().await.expect("migrate the test database");
        test
    }

    /// Without any table.
    pub fn empty(connections: u32) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "which backend to test on is the test command's to say"
        )]
        let backend = std::env::var("STOCKYARD_TEST_BACKEND").unwrap_or_else(|_| "sqlite".into());
        let (url, folder) = match backend.as_str() {
            "sqlite" => {
                let folder = tempfile::tempdir().expect("a folder for the test database");
                let path = folder.path().join("test.db");
                (DatabaseUrl::Sqlite(path.display().to_string()), Some(folder))
            }
            "postgres" => (DatabaseUrl::Postgres(create_postgres_database()), None),
            other => panic!("STOCKYARD_TEST_BACKEND is {other:?}: use sqlite or postgres"),
        };
        let store = Store::open(url.clone(), connections).expect("open the test database");
        Self { store, url, _folder: folder }
    }
}

/// A new database on the throw-away server, and its URL.
pub fn create_postgres_database() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "the test command starts the server and names it here")]
    let server = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names no PostgreSQL server: run the tests through `make test`");
    let name = format!("test_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let mut conn =
        PgConnection::establish(&server).expect("connect to the PostgreSQL server of TEST_DATABASE_URL");
    conn.batch_execute(&format!("CREATE DATABASE {name}")).expect("create a database");
    let (base, _) = server.rsplit_once('/').expect("TEST_DATABASE_URL ends in a database name");
    format!("{base}/{name}")
}
