//! Flash messages, from one request to the page that it redirects to.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::Timestamp;
use domain::sql::Moment;

use crate::connection::Conn;
use crate::schema::flash_messages;
use crate::{StoreError, Tx};

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = flash_messages)]
pub struct NewFlashMessage {
    /// Hex SHA-256 of the id in the address.
    pub id_hash: String,
    /// The session or account that may read the message.
    pub owner: String,
    pub content: String,
    pub expires_at: Timestamp,
}

/// The number of expired messages that are deleted with each new one.
const REMOVED_AT_ONCE: i64 = 100;

/// Adds a message and deletes some that expired before `now`, so that unread ones do not accumulate.
pub fn insert(tx: &mut Tx<'_>, new: NewFlashMessage, now: Timestamp) -> Result<(), StoreError> {
    match tx.conn {
        Conn::Sqlite(c) => {
            diesel::sql_query(
                "DELETE FROM flash_messages WHERE id_hash IN \
                 (SELECT id_hash FROM flash_messages WHERE expires_at <= ? ORDER BY expires_at, id_hash LIMIT ?)",
            )
            .bind::<Moment, _>(now)
            .bind::<BigInt, _>(REMOVED_AT_ONCE)
            .execute(c)?;
        }
        // Skips rows that another transaction is deleting, so that transactions do not wait.
        Conn::Postgres(c) => {
            diesel::sql_query(
                "DELETE FROM flash_messages WHERE id_hash IN \
                 (SELECT id_hash FROM flash_messages WHERE expires_at <= $1 ORDER BY expires_at, id_hash LIMIT $2 \
                 FOR UPDATE SKIP LOCKED)",
            )
            .bind::<Moment, _>(now)
            .bind::<BigInt, _>(REMOVED_AT_ONCE)
            .execute(c)?;
        }
    }
    diesel::insert_into(flash_messages::table).values(new).execute(tx.conn)?;
    Ok(())
}

/// Deletes a message and returns its content. If there is none, it has expired, or it belongs to another owner, returns
/// `None` and deletes nothing.
pub fn take(
    tx: &mut Tx<'_>,
    id_hash: &str,
    owner: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let own = flash_messages::table
        .filter(flash_messages::id_hash.eq(id_hash).and(flash_messages::owner.eq(owner)))
        .filter(flash_messages::expires_at.gt(now));
    Ok(diesel::delete(own).returning(flash_messages::content).get_result(tx.conn).optional()?)
}

/// Deletes all expired messages.
pub fn delete_expired(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(flash_messages::table.filter(flash_messages::expires_at.le(now))).execute(tx.conn)?)
}
