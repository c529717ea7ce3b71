//! One connection type for both databases, and their few differences.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;
use thiserror::Error;

use crate::error::StoreError;
use crate::login::connect_error;
use crate::opened_file::OpenedFile;
use crate::wal;
use crate::watch::{Limits, Reporter, Watch};

/// The address of the database. Displaying it omits the password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `postgres://user:password@host/name`.
    Postgres(String),
    /// The path in `sqlite://path/to/file.db`.
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
    /// Writes the URL without user, password and parameters, which can contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(url) => match url.rsplit_once('@') {
                // A `?` before the last `@` leaves unclear where the parameters begin, so everything is hidden.
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

/// Type-checks one expression for each backend. Needed for inserts of several rows and ON CONFLICT.
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
    /// Writes a consistent copy of a SQLite database to a new file.
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

    /// Checkpoints SQLite's write-ahead log.
    pub fn checkpoint(&mut self) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => c.batch_execute("PRAGMA wal_checkpoint(PASSIVE)"),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Prepares a connection that sends a few statements repeatedly. PostgreSQL then plans each statement only once; by
    /// default it plans statements with an array for each execution, which takes longer than the execution. SQLite
    /// caches more of the file, up to 64 MiB.
    pub fn settle_in(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(c) => c.batch_execute("SET plan_cache_mode = force_generic_plan"),
            Self::Sqlite(c) => c.batch_execute("PRAGMA cache_size = -65536"),
        }
    }

    /// Runs a transaction that will write. SQLite takes its write lock at the beginning, because a transaction that
    /// reads first could not upgrade its lock while another one writes. `limits` replace the connection's limits in
    /// this transaction.
    pub fn write<T, E>(
        &mut self,
        limits: Option<Limits>,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, Failed<E>> {
        self.within("BEGIN", "BEGIN IMMEDIATE", limits, work)
    }

    /// Runs a transaction that sees one consistent state of the database. On PostgreSQL it cannot write.
    pub fn read<T, E>(
        &mut self,
        limits: Option<Limits>,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, Failed<E>> {
        self.within("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN DEFERRED", limits, work)
    }

    fn within<T, E>(
        &mut self,
        postgres: &str,
        sqlite: &str,
        limits: Option<Limits>,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, Failed<E>> {
        use diesel::connection::AnsiTransactionManager as Manager;
        match (&mut *self, limits) {
            (Self::Postgres(c), None) => Manager::begin_transaction_sql(c, postgres),
            (Self::Postgres(c), Some(limits)) => {
                Manager::begin_transaction_sql(c, &format!("{postgres}; {}", timeouts("SET LOCAL", limits)))
            }
            (Self::Sqlite(c), _) => Manager::begin_transaction_sql(c, sqlite),
        }
        .map_err(Failed::Begin)?;
        let result = work(self);
        let committed = match result {
            Ok(value) => self.commit().map(|()| value).map_err(Failed::Commit),
            Err(error) => Err(Failed::Work(error)),
        };
        if committed.is_err() {
            // This fails if the connection is gone or diesel has already rolled back. A transaction that cannot be
            // rolled back ends with its connection.
            let _ = <Self as Connection>::TransactionManager::rollback_transaction(self);
        }
        committed
    }

    /// Commits. After a failed query, PostgreSQL rolls back on COMMIT without an error; the query before the COMMIT
    /// then returns the error, so that work after the failure does not count as committed.
    fn commit(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(c) => c.batch_execute("SELECT 1; COMMIT"),
            Self::Sqlite(_) => <Self as Connection>::TransactionManager::commit_transaction(self),
        }
    }
}

/// The phase in which a transaction failed.
#[derive(Debug)]
pub enum Failed<E> {
    /// The transaction failed before any statement was sent.
    Begin(diesel::result::Error),
    Work(E),
    Commit(diesel::result::Error),
}

impl<E: From<StoreError>> Failed<E> {
    pub fn of_read(self) -> E {
        match self {
            Self::Work(error) => error,
            Self::Begin(error) | Self::Commit(error) => StoreError::from(error).into(),
        }
    }

    /// The error for a writing transaction. A COMMIT without an answer may have succeeded.
    pub fn of_write(self) -> E {
        match self {
            Self::Work(error) => error,
            Self::Begin(error) => StoreError::from(error).into(),
            Self::Commit(error) => StoreError::of_commit(error).into(),
        }
    }
}

/// Opens connections by the URL's scheme; the derived `establish` would try both databases in turn.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub url: DatabaseUrl,
    pub limits: Limits,
    /// The open file; only on SQLite.
    pub file: Option<Arc<OpenedFile>>,
}

const SQLITE_PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

impl Connector {
    pub fn new(url: DatabaseUrl, limits: Limits) -> Self {
        let file = match &url {
            DatabaseUrl::Sqlite(path) => Some(Arc::new(OpenedFile::new(path))),
            DatabaseUrl::Postgres(_) => None,
        };
        Self { url, limits, file }
    }

    pub fn connect(&self, watch: &Arc<Watch>) -> Result<Conn, StoreError> {
        watch.touch();
        let mut conn = match &self.url {
            DatabaseUrl::Postgres(url) => {
                let url = with_network_timeouts(url, self.limits.statement.min(LONGEST_SILENCE));
                let mut conn = PgConnection::establish(&url).map_err(connect_error)?;
                watch.touch();
                conn.batch_execute(&timeouts("SET", self.limits)).map_err(not_settled)?;
                conn.batch_execute(ENGLISH_MESSAGES).map_err(not_settled)?;
                Conn::Postgres(conn)
            }
            DatabaseUrl::Sqlite(path) => {
                if let Some(file) = &self.file {
                    // Without this check, SQLite would create a new file if the current one is gone.
                    file.check()?;
                    watch.writes_to(file);
                }
                let mut conn = SqliteConnection::establish(path).map_err(connect_error)?;
                let (patience, pages) = (self.limits.lock().as_millis(), wal::checkpoint_pages(path));
                conn.batch_execute(&format!(
                    "PRAGMA busy_timeout = {patience}; {SQLITE_PRAGMAS} PRAGMA wal_autocheckpoint = {pages}; \
                     PRAGMA journal_size_limit = {};",
                    wal::MAX_BYTES
                ))
                .map_err(not_settled)?;
                self.file.iter().for_each(|file| file.remember());
                Conn::Sqlite(conn)
            }
        };
        watch.renew();
        conn.set_instrumentation(Reporter(watch.clone()));
        Ok(conn)
    }
}

/// The error for a connection that rejects its settings; such a connection is not used.
fn not_settled(error: diesel::result::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Query(error) => StoreError::Unavailable(error.into()),
        outage => outage,
    }
}

/// The statements that set PostgreSQL's limits for a statement, for a lock, and for a transaction whose client is
/// silent.
fn timeouts(set: &str, limits: Limits) -> String {
    let (statement, lock) = (limits.statement.as_millis(), limits.lock().as_millis());
    format!(
        "{set} statement_timeout = {statement}; {set} lock_timeout = {lock}; \
         {set} idle_in_transaction_session_timeout = {statement}"
    )
}

/// The longest time without an answer of the server's machine; statements may take longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// Requests English messages, because errors are recognized by their messages (`error.rs`). Only a superuser may choose
/// the language; other roles use the server's.
const ENGLISH_MESSAGES: &str = "SELECT set_config('lc_messages', 'C', false) FROM pg_catalog.pg_roles \
     WHERE rolname = current_user AND rolsuper";

/// Adds the parameters with which libpq and the operating system detect a lost server, unless the URL contains them.
fn with_network_timeouts(url: &str, timeout: Duration) -> String {
    // libpq accepts only whole seconds, at least two.
    let seconds = timeout.as_millis().div_ceil(1000).max(2);
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(after_scheme);
    // An @ before the first slash ends user name and password, which may contain a question mark.
    let host_at = rest.find(['@', '/']).filter(|at| rest[*at..].starts_with('@')).map_or(0, |at| at + 1);
    let (user, host) = rest.split_at(host_at);
    let parameters = host.split_once('?').map_or("", |(_, parameters)| parameters);
    let has = |name: &str| parameters.split('&').any(|one| one.split('=').next() == Some(name));
    let added: Vec<String> = [
        ("connect_timeout", seconds),
        ("keepalives_idle", seconds),
        ("keepalives_interval", seconds),
        ("keepalives_count", 2),
        ("tcp_user_timeout", timeout.as_millis()),
    ]
    .into_iter()
    .filter(|(name, _)| !has(name))
    .map(|(name, value)| format!("{name}={value}"))
    .collect();
    let separator = match host.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    // A URL that ends after the host needs no slash before its parameters.
    format!("{scheme}{user}{host}{separator}{}", added.join("&"))
}

/// `SELECT … FOR NO KEY UPDATE` on PostgreSQL, so that other transactions can insert rows that refer to the locked
/// rows. A plain `SELECT` on SQLite, where only one transaction writes at a time.
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
    fn the_scheme_selects_the_database_and_unknown_ones_are_rejected() {
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
    fn a_build_without_tls_rejects_urls_that_require_it() {
        assert_eq!("postgres://h/x?sslmode=require".parse::<DatabaseUrl>(), Err(BadDatabaseUrl::NoTls));
        assert!("postgres://h/x?sslmode=disable".parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn network_timeouts_are_added_to_a_url_without_them() {
        let three = Duration::from_secs(3);
        let all = "connect_timeout=3&keepalives_idle=3&keepalives_interval=3&keepalives_count=2&tcp_user_timeout=3000";
        for (url, expected) in [
            ("postgres://db/stockyard", format!("postgres://db/stockyard?{all}")),
            ("postgres://sam:p?ss@db/stockyard", format!("postgres://sam:p?ss@db/stockyard?{all}")),
            (
                "postgres://db/stockyard?sslmode=disable",
                format!("postgres://db/stockyard?sslmode=disable&{all}"),
            ),
            ("postgres:///stockyard?host=/run/a@b", format!("postgres:///stockyard?host=/run/a@b&{all}")),
        ] {
            assert_eq!(with_network_timeouts(url, three), expected);
        }
        let own =
            "postgres://db/x?connect_timeout=9&keepalives_idle=9&keepalives_interval=9&keepalives_count=9";
        assert_eq!(with_network_timeouts(own, three), format!("{own}&tcp_user_timeout=3000"));
        let short = with_network_timeouts("postgres://db/x", Duration::from_millis(300));
        assert!(short.contains("connect_timeout=2&") && short.ends_with("tcp_user_timeout=300"), "{short}");
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
