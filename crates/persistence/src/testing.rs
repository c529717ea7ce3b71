//! A fresh database per test, on the backend that `STOCKYARD_TEST_BACKEND` names: `sqlite` (default), or `postgres` on
//! the server of `TEST_DATABASE_URL`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::connection::{Conn, Connector};
use crate::watch::{Limits, Watch};
use crate::{DatabaseUrl, Store, StoreOptions};

/// Long, because the test machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A store with a temporary database, which is deleted with it.
pub struct TestStore {
    pub store: Store,
    pub url: DatabaseUrl,
    statements: Arc<AtomicUsize>,
    _folder: Option<tempfile::TempDir>,
}

impl TestStore {
    /// Creates and migrates the database.
    ///
    /// # Panics
    /// If the backend is not available: a missing service is a failure, not a skip.
    pub async fn new() -> Self {
        let test = Self::empty(8);
        test.store.migrate().await.expect("migrate the test database");
        test
    }

    /// Creates a database without tables.
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
        let statements = Arc::<AtomicUsize>::default();
        let store = open_with(url.clone(), connections, Some(statements.clone()));
        Self { store, url, statements, _folder: folder }
    }

    /// The number of statements sent to the database, including `BEGIN` and `COMMIT`.
    pub fn statements(&self) -> usize {
        self.statements.load(Ordering::Relaxed)
    }
}

impl TestStore {
    /// Runs SQL on a separate connection, like a database shell.
    ///
    /// # Panics
    /// If the database cannot be reached.
    pub fn sql(&self, statements: &str) -> QueryResult<()> {
        self.connect().batch_execute(statements)
    }

    /// The number that the query returns in the column `number`.
    ///
    /// # Panics
    /// If it returns none.
    pub fn number(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Number {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        let query = diesel::sql_query(query);
        let row: QueryResult<Number> = match &mut self.connect() {
            Conn::Postgres(conn) => query.get_result(conn),
            Conn::Sqlite(conn) => query.get_result(conn),
        };
        row.expect("the query answers a number").number
    }

    fn connect(&self) -> Conn {
        let connector = Connector::new(self.url.clone(), Limits::new(TIMEOUT));
        connector.connect(&Watch::new(None)).expect("connect to the test database")
    }
}

/// Opens a store and all its connections. A pool that is still opening connections in the background when the test
/// process ends can crash it, because exit handlers remove data that TLS libraries need.
///
/// # Panics
/// If the database cannot be reached.
pub fn open(url: DatabaseUrl, connections: u32) -> Store {
    open_with(url, connections, None)
}

fn open_with(url: DatabaseUrl, connections: u32, statements: Option<Arc<AtomicUsize>>) -> Store {
    let options = StoreOptions { connections, timeout: TIMEOUT };
    // Idle connections are never probed, so that only the statements of the test are counted.
    let store = Store::watched(url, options, Duration::MAX, statements).expect("open the test database");
    store.fill();
    store
}

/// Creates a database on the temporary server and returns its URL.
pub fn create_postgres_database() -> String {
    #[expect(clippy::disallowed_methods, reason = "the test command starts the server and names it here")]
    let server = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names no PostgreSQL server: run the tests through `make test`");
    // Process ids are not unique: on a busy machine they recur within one run.
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    let mut conn =
        PgConnection::establish(&server).expect("connect to the PostgreSQL server of TEST_DATABASE_URL");
    conn.batch_execute(&format!("CREATE DATABASE {name}")).expect("create a database");
    let (base, _) = server.rsplit_once('/').expect("TEST_DATABASE_URL ends in a database name");
    format!("{base}/{name}")
}
