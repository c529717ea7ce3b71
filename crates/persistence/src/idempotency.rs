//! Requests with an idempotency key.

use diesel::prelude::*;
use domain::{Timestamp, UserId};

use crate::schema::idempotency_keys;
use crate::{StoreError, Tx};

/// The request that used a key.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_keys)]
pub struct KeyedRequest {
    pub user_id: UserId,
    pub key: String,
    /// The request as one canonical line.
    pub request: String,
    /// The id of the row that it created.
    pub result_id: i64,
    pub created_at: Timestamp,
    /// The response of the request, if no row of another table stores it.
    pub answer: Option<String>,
}

/// The request that a user sent with a key.
pub fn find(tx: &mut Tx<'_>, user: UserId, key: &str) -> Result<Option<KeyedRequest>, StoreError> {
    Ok(idempotency_keys::table
        .find((user, key))
        .select(KeyedRequest::as_select())
        .first(tx.conn)
        .optional()?)
}

/// Fails with [`StoreError::Duplicate`] if the user has used the key before.
pub fn insert(tx: &mut Tx<'_>, request: &KeyedRequest) -> Result<(), StoreError> {
    diesel::insert_into(idempotency_keys::table).values(request).execute(tx.conn)?;
    Ok(())
}

/// Records the result of a request with a key.
pub fn set_result(
    tx: &mut Tx<'_>,
    user: UserId,
    key: &str,
    result_id: i64,
    answer: Option<&str>,
) -> Result<(), StoreError> {
    diesel::update(idempotency_keys::table.find((user, key)))
        .set((idempotency_keys::result_id.eq(result_id), idempotency_keys::answer.eq(answer)))
        .execute(tx.conn)?;
    Ok(())
}

/// Deletes the keys of requests that were sent before `before`.
pub fn delete_before(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, StoreError> {
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.lt(before));
    Ok(diesel::delete(old).execute(tx.conn)?)
}
