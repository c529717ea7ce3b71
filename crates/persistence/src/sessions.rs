//! Login sessions: one row per browser, found by the hash of its key.

use diesel::prelude::*;
use domain::{Timestamp, UserId};

use crate::schema::{sessions, users};
use crate::{Statement, StoreError, Tx};

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    pub id: i64,
    /// Hex SHA-256 of the key in the cookie.
    pub key_hash: String,
    pub user_id: Option<UserId>,
    /// The session's values as JSON.
    pub state: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = sessions)]
pub struct NewSession {
    pub key_hash: String,
    pub user_id: Option<UserId>,
    pub state: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
}

pub fn insert(tx: &mut Tx<'_>, new: NewSession) -> Result<(), StoreError> {
    diesel::insert_into(sessions::table).values(new).execute(tx.conn)?;
    Ok(())
}

pub fn by_key(tx: &mut Tx<'_>, key_hash: &str, now: Timestamp) -> Result<Option<SessionRow>, StoreError> {
    Ok(sessions::table
        .filter(sessions::key_hash.eq(key_hash).and(sessions::expires_at.gt(now)))
        .select(SessionRow::as_select())
        .first(tx.conn)
        .optional()?)
}

/// The newest time at which any session was used.
pub fn newest_use(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(sessions::table.select(diesel::dsl::max(sessions::last_seen_at)).get_result(tx.conn)?)
}

/// The live sessions with these hashes, with their users; sessions of closed accounts are omitted. At most 30,000
/// hashes, SQLite's limit for one statement.
pub fn owners(
    statement: Statement<'_>,
    key_hashes: &[String],
    now: Timestamp,
) -> Result<Vec<(String, UserId)>, StoreError> {
    Ok(sessions::table
        .inner_join(users::table)
        .filter(sessions::key_hash.eq_any(key_hashes).and(sessions::expires_at.gt(now)))
        .filter(users::is_active.eq(true))
        .order(sessions::id)
        .select((sessions::key_hash, users::id))
        .load(statement.conn)?)
}

/// The columns of a session that change while it is used.
#[derive(AsChangeset)]
#[diesel(table_name = sessions, treat_none_as_null = true)]
pub struct SessionUpdate<'a> {
    pub user_id: Option<UserId>,
    pub state: &'a str,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Updates a session and returns whether it still exists.
pub fn save(tx: &mut Tx<'_>, key_hash: &str, update: &SessionUpdate<'_>) -> Result<bool, StoreError> {
    let updated = diesel::update(sessions::table.filter(sessions::key_hash.eq(key_hash)))
        .set(update)
        .execute(tx.conn)?;
    Ok(updated > 0)
}

pub fn touch(
    tx: &mut Tx<'_>,
    key_hash: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    diesel::update(sessions::table.filter(sessions::key_hash.eq(key_hash)))
        .set((sessions::last_seen_at.eq(now), sessions::expires_at.eq(expires_at)))
        .execute(tx.conn)?;
    Ok(())
}

pub fn delete_by_key(tx: &mut Tx<'_>, key_hash: &str) -> Result<(), StoreError> {
    diesel::delete(sessions::table.filter(sessions::key_hash.eq(key_hash))).execute(tx.conn)?;
    Ok(())
}

/// A user's live sessions, most recently used first.
pub fn of_user(tx: &mut Tx<'_>, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
    Ok(sessions::table
        .filter(sessions::user_id.eq(user).and(sessions::expires_at.gt(now)))
        .order((sessions::last_seen_at.desc(), sessions::id.desc()))
        .select(SessionRow::as_select())
        .load(tx.conn)?)
}

pub fn delete_of_user(tx: &mut Tx<'_>, user: UserId, id: i64) -> Result<bool, StoreError> {
    let own = sessions::table.filter(sessions::user_id.eq(user).and(sessions::id.eq(id)));
    Ok(diesel::delete(own).execute(tx.conn)? > 0)
}

/// Ends all sessions of a user except the one with the key `keep`.
pub fn delete_others(tx: &mut Tx<'_>, user: UserId, keep: Option<&str>) -> Result<usize, StoreError> {
    let others =
        sessions::table.filter(sessions::user_id.eq(user).and(sessions::key_hash.ne(keep.unwrap_or(""))));
    Ok(diesel::delete(others).execute(tx.conn)?)
}

pub fn delete_expired(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(sessions::table.filter(sessions::expires_at.le(now))).execute(tx.conn)?)
}
