//! One connection type over both databases, and the few things they do not share.

use std::fmt;
use std::str::FromStr;

use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::r2d2::ManageConnection;
use diesel::sqlite::Sqlite;
use thiserror::Error;

/// Where the data live, with the password left out when printed.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `postgres://user:password@host/name`
    Postgres(String),
    /// `sqlite://path/to/file.db`: the path
    Sqlite(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadDatabaseUrl {
    #[error("must begin with postgres:// or sqlite://, like sqlite://data/stockyard.db")]
    Scheme,
    #[error(
        "names no file: write sqlite://data/stockyard.db, or sqlite:///srv/stockyard.db for an absolute path"
    )]
    NoFile,
    #[error(
        "asks for TLS (sslmode), which this build's libpq does not have: build with \
         --no-default-features --features system-libpq, or use the container image"
    )]
    NoTls,
}

impl FromStr for DatabaseUrl {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return match path {
                "" => Err(BadDatabaseUrl::NoFile),
                path => Ok(Self::Sqlite(path.to_owned())),
            };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(BadDatabaseUrl::Scheme);
        }
        let demands_tls = ["require", "verify-ca", "verify-full"]
            .iter()
            .any(|mode| text.contains(&format!("sslmode={mode}")));
        if demands_tls && cfg!(feature = "bundled-libpq") {
            return Err(BadDatabaseUrl::NoTls);
        }
        Ok(Self::Postgres(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    /// The URL without what stands between `//` and `@`, and without parameters: both can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(url) => match url.rsplit_once('@') {
                // Where the parameters begin is not certain then.
                Some((secret, _)) if secret.contains('?') => f.write_str("postgres://***"),
                Some((_, host)) => write!(f, "postgres://***@{}", host.split('?').next().unwrap_or(host)),
                None => f.write_str(url.split('?').next().unwrap_or(url)),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(diesel::MultiConnection)]
pub enum Conn {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// One expression, type-checked against each backend: several rows at once, ON CONFLICT.
macro_rules! each {
    ($conn:expr, $c:ident => $query:expr) => {
        match $conn {
            $crate::connection::Conn::Postgres($c) => $query,
            $crate::connection::Conn::Sqlite($c) => $query,
        }
    };
}
pub(crate) use each;

impl Conn {
    /// A consistent copy of a SQLite database in a new file.
    pub fn copy_to(&mut self, file: &str) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => diesel::sql_query("VACUUM INTO ?")
                .bind::<diesel::sql_types::Text, _>(file)
                .execute(c)
                .map(drop),
            Self::Postgres(_) => {
                Err(diesel::result::Error::QueryBuilderError("PostgreSQL is copied by pg_dump".into()))
            }
        }
    }

    /// Copies SQLite's log into the file.
    pub fn checkpoint(&mut self) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => c.batch_execute("PRAGMA wal_checkpoint(PASSIVE)"),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// For a connection whose statements are few and always the same. PostgreSQL plans each of them once: left to itself
    /// it plans those that take an array for each execution anew, which costs more than to execute them. SQLite keeps
    /// more of the file in memory, up to 64 MiB.
    pub fn settle_in(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(c) => c.batch_execute("SET plan_cache_mode = force_generic_plan"),
            Self::Sqlite(c) => c.batch_execute("PRAGMA cache_size = -65536"),
        }
    }

    /// A transaction that will write. SQLite takes its write lock at once: a transaction that reads first
    /// could not upgrade while another one writes.
    pub fn write<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within("BEGIN", "BEGIN IMMEDIATE", work)
    }

    /// A transaction that sees one state of the database throughout and cannot write on PostgreSQL.
    pub fn read<T, E: From<diesel::result::Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN DEFERRED", work)
    }

    fn within<T, E: From<diesel::result::Error>>(
        &mut self,
        postgres: &str,
        sqlite: &str,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        use diesel::connection::AnsiTransactionManager as Manager;
        match self {
            Self::Postgres(c) => Manager::begin_transaction_sql(c, postgres)?,
            Self::Sqlite(c) => Manager::begin_transaction_sql(c, sqlite)?,
        }
        match work(self) {
            Ok(value) => {
                if let Err(error) = self.commit() {
                    // Unless the connection is gone, or diesel has rolled back by itself.
                    let _ = <Self as Connection>::TransactionManager::rollback_transaction(self);
                    return Err(error.into());
                }
                Ok(value)
            }
            Err(error) => {
                <Self as Connection>::TransactionManager::rollback_transaction(self)?;
                Err(error)
            }
        }
    }

    /// After a query has failed, PostgreSQL can only roll back, and answers a COMMIT by doing so without an
    /// error. The query in front of it gives one: work that went on after such a failure must not pass as done.
    fn commit(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(c) => c.batch_execute("SELECT 1; COMMIT"),
            Self::Sqlite(_) => <Self as Connection>::TransactionManager::commit_transaction(self),
        }
    }
}

/// Opens connections for the pool, by the URL's scheme alone: the derived `establish` would try one database
/// after the other.
#[derive(Debug)]
pub struct Manager(pub DatabaseUrl);

/// A checkpoint every 8192 pages (32 MiB) and not, as by default, every 1000: orders of many portfolios touch so many pages
/// that every other batch would wait for one.
const SQLITE_PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 8192;";

impl ManageConnection for Manager {
    type Connection = Conn;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Conn, Self::Error> {
        use diesel::r2d2::Error::{ConnectionError, QueryError};
        match &self.0 {
            DatabaseUrl::Postgres(url) => {
                PgConnection::establish(url).map(Conn::Postgres).map_err(ConnectionError)
            }
            DatabaseUrl::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path).map_err(ConnectionError)?;
                conn.batch_execute(SQLITE_PRAGMAS).map_err(QueryError)?;
                Ok(Conn::Sqlite(conn))
            }
        }
    }

    fn is_valid(&self, conn: &mut Conn) -> Result<(), Self::Error> {
        conn.batch_execute("SELECT 1").map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        std::thread::panicking()
            || <Conn as Connection>::TransactionManager::is_broken_transaction_manager(conn)
    }
}

/// `SELECT … FOR NO KEY UPDATE` on PostgreSQL, which lets others insert rows that refer to the locked ones.
/// A plain `SELECT` on SQLite, where a writing transaction is alone anyway.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Locked<Q>(pub Q);

struct ForNoKeyUpdate;

impl QueryFragment<Pg> for ForNoKeyUpdate {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(" FOR NO KEY UPDATE");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for ForNoKeyUpdate {
    fn walk_ast<'b>(&'b self, _: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        Ok(())
    }
}

impl<Q: QueryFragment<MultiBackend>> QueryFragment<MultiBackend> for Locked<Q> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        self.0.walk_ast(pass.reborrow())?;
        MultiBackend::walk_variant_ast(&ForNoKeyUpdate, pass)
    }
}

impl<Q: Query> Query for Locked<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> RunQueryDsl<Conn> for Locked<Q> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_picks_the_database_and_unknown_ones_are_refused() {
        assert_eq!("sqlite://data/x.db".parse(), Ok(DatabaseUrl::Sqlite("data/x.db".into())));
        assert_eq!("sqlite:///srv/x.db".parse(), Ok(DatabaseUrl::Sqlite("/srv/x.db".into())));
        assert!(matches!("postgresql://localhost/x".parse(), Ok(DatabaseUrl::Postgres(_))));
        for bad in ["", "mysql://x", "data/x.db", "sqlite:x.db"] {
            assert_eq!(bad.parse::<DatabaseUrl>(), Err(BadDatabaseUrl::Scheme), "{bad}");
        }
        assert_eq!("sqlite://".parse::<DatabaseUrl>(), Err(BadDatabaseUrl::NoFile));
    }

    #[cfg(feature = "bundled-libpq")]
    #[test]
    fn a_build_without_tls_says_so() {
        assert_eq!("postgres://h/x?sslmode=require".parse::<DatabaseUrl>(), Err(BadDatabaseUrl::NoTls));
        assert!("postgres://h/x?sslmode=disable".parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn the_password_is_never_printed() {
        for (text, printed) in [
            (
                "postgres://sam:p@ss@db.example/stockyard?password=hidden",
                "postgres://***@db.example/stockyard",
            ),
            ("postgres://db.example/stockyard?password=hidden", "postgres://db.example/stockyard"),
            ("postgres://sam@db.example/stockyard?password=hid@den", "postgres://***"),
            ("postgres://sam:hid?den@db.example/stockyard", "postgres://***"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!((format!("{url}"), format!("{url:?}")), (printed.into(), printed.into()), "{text}");
        }
    }
}
