//! Facts about this installation that its processes must agree on, such as the clock's anchor.

use diesel::prelude::*;

use crate::connection::{Conn, each};
use crate::schema::installation::dsl;
use crate::{StoreError, Tx};

/// Serializes the decisions of several processes; reads are not blocked.
pub fn lock(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    match &mut *tx.conn {
        Conn::Postgres(c) => {
            diesel::sql_query("LOCK TABLE installation IN EXCLUSIVE MODE").execute(c).map(drop)?
        }
        // On SQLite only one transaction writes at a time.
        Conn::Sqlite(_) => {}
    }
    Ok(())
}

pub fn get(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    Ok(dsl::installation.find(key).select(dsl::value).first(tx.conn).optional()?)
}

pub fn set(tx: &mut Tx<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(dsl::installation)
        .values((dsl::key.eq(key), dsl::value.eq(value)))
        .on_conflict(dsl::key)
        .do_update()
        .set(dsl::value.eq(value))
        .execute(c))?;
    Ok(())
}

/// The size of the database on disk in bytes; on SQLite its file and its write-ahead log.
pub fn database_size(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    use diesel::dsl::sql;
    use diesel::sql_types::{BigInt, Text};
    let bytes = match &mut *tx.conn {
        Conn::Postgres(c) => {
            sql::<BigInt>("SELECT pg_database_size(current_database())").get_result::<i64>(c)?.unsigned_abs()
        }
        Conn::Sqlite(c) => {
            let pages: i64 =
                sql::<BigInt>("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                    .get_result(c)?;
            let file: String =
                sql::<Text>("SELECT file FROM pragma_database_list WHERE name = 'main'").get_result(c)?;
            let log = std::fs::metadata(format!("{file}-wal")).map_or(0, |metadata| metadata.len());
            pages.unsigned_abs() + log
        }
    };
    Ok(bytes)
}
