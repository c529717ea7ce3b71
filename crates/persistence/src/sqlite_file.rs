//! Creates, checks and closes whole SQLite files while no server has them open.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::connection::Conn;
use crate::{SchemaVersion, StoreError};

/// Opens the file exclusively, without the pool and without write-ahead logging.
fn open(file: &Path) -> Result<SqliteConnection, StoreError> {
    let path = file.to_str().ok_or_else(|| StoreError::Unavailable("its name is not valid UTF-8".into()))?;
    let unavailable = |error| StoreError::Unavailable(Box::new(error));
    let mut conn = SqliteConnection::establish(path).map_err(unavailable)?;
    conn.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    Ok(conn)
}

/// Creates the tables in a new or empty file.
///
/// # Errors
/// If the file cannot be written.
pub fn create(file: &Path) -> Result<(), StoreError> {
    Conn::Sqlite(open(file)?).migrate(None).map(drop)
}

/// Checks the whole file for damage and returns the version of its tables. A write-ahead log beside the file is merged
/// into it, so that the file is complete.
///
/// # Errors
/// [`StoreError::Damaged`], [`StoreError::ForeignTables`] if it has no tables of Stockyard, or the reason why it cannot
/// be read.
pub fn check_alone(file: &Path) -> Result<SchemaVersion, StoreError> {
    let mut conn = open(file)?;
    conn.batch_execute("PRAGMA journal_mode = DELETE")?;
    let damages: Vec<String> = diesel::dsl::sql::<Text>("PRAGMA integrity_check(1)").load(&mut conn)?;
    if damages != ["ok"] {
        return Err(StoreError::Damaged(damages.join("; ")));
    }
    let version = Conn::Sqlite(conn).schema_version()?;
    if version.is_new { Err(StoreError::ForeignTables) } else { Ok(version) }
}

/// Merges the write-ahead log beside the file into it and deletes the log.
///
/// # Errors
/// If another program has the file open, or the file is damaged.
pub fn fold_log(file: &Path) -> Result<(), StoreError> {
    open(file)?.batch_execute("PRAGMA journal_mode = DELETE")?;
    Ok(())
}

/// Whether SQLite can read the list of tables.
pub fn has_readable_tables(file: &Path) -> bool {
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM sqlite_master");
    open(file).is_ok_and(|mut conn| count.get_result::<i64>(&mut conn).is_ok())
}
