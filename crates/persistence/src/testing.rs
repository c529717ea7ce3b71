//! A fresh database per test, on the backend that `STOCKYARD_TEST_BACKEND` names: `sqlite` (default) or
//! `postgres`, the latter on the server of `TEST_DATABASE_URL`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, ManageConnection, NopConnectionCustomizer};

use crate::connection::{Conn, Manager};
use crate::{DatabaseUrl, Store};

/// A store with its database, which goes away with it.
pub struct TestStore {
    pub store: Store,
    pub url: DatabaseUrl,
    statements: Statements,
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
        let statements = Statements::default();
        let store = open_with(url.clone(), connections, Box::new(statements.clone()));
        Self { store, url, statements, _folder: folder }
    }

    /// How many statements the store has sent to the database, `BEGIN` and `COMMIT` included.
    pub fn statements(&self) -> usize {
        self.statements.0.load(Ordering::Relaxed)
    }
}

/// Counts what goes over the connections of a store.
#[derive(Debug, Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl CustomizeConnection<Conn, diesel::r2d2::Error> for Statements {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), diesel::r2d2::Error> {
        let counted = self.0.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

impl TestStore {
    /// Runs SQL on a connection of its own, as somebody with a database shell would.
    ///
    /// # Panics
    /// When the database cannot be reached.
    pub fn sql(&self, statements: &str) -> QueryResult<()> {
        self.connect().batch_execute(statements)
    }

    /// The one number that the query answers as `number`.
    ///
    /// # Panics
    /// When it answers none.
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
        Manager(self.url.clone()).connect().expect("connect to the test database")
    }
}

/// Opens a store with all its connections made. A pool that still makes some in the background while the test's process
/// ends can crash it: exit handlers take away what TLS libraries need.
///
/// # Panics
/// When the database cannot be reached.
pub fn open(url: DatabaseUrl, connections: u32) -> Store {
    open_with(url, connections, Box::new(NopConnectionCustomizer))
}

fn open_with(
    url: DatabaseUrl,
    connections: u32,
    customizer: Box<dyn CustomizeConnection<Conn, diesel::r2d2::Error>>,
) -> Store {
    let store = Store::open_with(url, connections, customizer).expect("open the test database");
    store.fill();
    store
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
