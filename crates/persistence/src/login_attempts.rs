//! Failed logins, counted per account name and per address so that guessing becomes slow.

use diesel::prelude::*;
use domain::Timestamp;

use crate::connection::{Locked, each};
use crate::schema::login_attempts::dsl;
use crate::{StoreError, Tx};

/// The failures of a subject and the time of the last one, its row locked until the transaction ends. A subject
/// that is new gets a row with none, so that there is something to lock.
pub fn lock(tx: &mut Tx<'_>, subject: &str, now: Timestamp) -> Result<Option<(i32, Timestamp)>, StoreError> {
    each!(&mut *tx.conn, c => diesel::insert_into(dsl::login_attempts)
        .values((dsl::subject.eq(subject), dsl::failures.eq(0), dsl::last_failed_at.eq(now)))
        .on_conflict(dsl::subject)
        .do_nothing()
        .execute(c))?;
    let row = Locked(
        dsl::login_attempts.filter(dsl::subject.eq(subject)).select((dsl::failures, dsl::last_failed_at)),
    );
    Ok(row.get_result(tx.conn).optional()?)
}

pub fn set(tx: &mut Tx<'_>, subject: &str, failures: i32, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(dsl::login_attempts.find(subject))
        .set((dsl::failures.eq(failures), dsl::last_failed_at.eq(at)))
        .execute(tx.conn)?;
    Ok(())
}

pub fn delete_older(tx: &mut Tx<'_>, than: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(dsl::login_attempts.filter(dsl::last_failed_at.lt(than))).execute(tx.conn)?)
}
