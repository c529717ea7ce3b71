//! Failed password checks, counted per subject (an account, an unknown name, a device or an address).

use diesel::prelude::*;
use domain::Timestamp;

use crate::connection::{Locked, each};
use crate::schema::login_attempts::dsl;
use crate::{StoreError, Tx};

/// Returns the failures of a subject and the time of the last one, and locks the row until the transaction ends. A new
/// subject gets a row with zero failures, so that there is a row to lock.
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

/// Returns the failures of a subject and the time of the last one, without locking.
pub fn get(tx: &mut Tx<'_>, subject: &str) -> Result<Option<(i32, Timestamp)>, StoreError> {
    Ok(dsl::login_attempts
        .find(subject)
        .select((dsl::failures, dsl::last_failed_at))
        .first(tx.conn)
        .optional()?)
}

pub fn set(tx: &mut Tx<'_>, subject: &str, failures: i32, at: Timestamp) -> Result<(), StoreError> {
    diesel::update(dsl::login_attempts.find(subject))
        .set((dsl::failures.eq(failures), dsl::last_failed_at.eq(at)))
        .execute(tx.conn)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, subject: &str) -> Result<(), StoreError> {
    diesel::delete(dsl::login_attempts.find(subject)).execute(tx.conn)?;
    Ok(())
}

/// Deletes the subjects whose last failure is older than `than`, and returns their number.
pub fn delete_older(tx: &mut Tx<'_>, than: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(dsl::login_attempts.filter(dsl::last_failed_at.lt(than))).execute(tx.conn)?)
}

/// Like [`delete_older`], for subjects with fewer than `failures`.
pub fn delete_few_older(tx: &mut Tx<'_>, failures: i32, than: Timestamp) -> Result<usize, StoreError> {
    let few = dsl::login_attempts.filter(dsl::failures.lt(failures).and(dsl::last_failed_at.lt(than)));
    Ok(diesel::delete(few).execute(tx.conn)?)
}
