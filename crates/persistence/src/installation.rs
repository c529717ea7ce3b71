//! Facts about this deployment that its processes must agree on: the clock's anchor and the like.

use diesel::prelude::*;

use crate::connection::{Conn, each};
use crate::schema::installation::dsl;
use crate::{StoreError, Tx};

/// Lets one process after the other decide; others may still read.
pub fn lock(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    match &mut *tx.conn {
        Conn::Postgres(c) => {
            diesel::sql_query("LOCK TABLE installation IN EXCLUSIVE MODE").execute(c).map(drop)?
        }
        // A writing transaction is alone.
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
