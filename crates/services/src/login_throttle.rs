//! Guessing passwords becomes slow, and nobody is locked out: after some failures each further attempt has to
//! wait, longer each time. Counted per account and address together, and per address over all accounts.

use chrono::TimeDelta;
use domain::Timestamp;
use persistence::{StoreError, Tx, login_attempts};

use crate::secret;

/// Failures are forgotten after this long without a new one.
const MEMORY: TimeDelta = TimeDelta::days(1);
const LONGEST_WAIT_S: i64 = 300;

struct Subject {
    key: String,
    /// How many failures cost nothing.
    free: i32,
}

/// In the order in which they are locked. The login is hashed: it may be any text of any length.
fn subjects(login: &str, address: &str) -> [Subject; 2] {
    [
        Subject { key: format!("account {} from {address}", secret::hash(&login.to_lowercase())), free: 5 },
        Subject { key: format!("address {address}"), free: 30 },
    ]
}

/// 1 s after the first failure too many, then doubling up to five minutes.
fn wait_after(failures: i32, free: i32) -> TimeDelta {
    match failures - free {
        ..0 => TimeDelta::zero(),
        over => TimeDelta::seconds(
            1_i64.checked_shl(over.unsigned_abs()).map_or(LONGEST_WAIT_S, |s| s.clamp(1, LONGEST_WAIT_S)),
        ),
    }
}

/// Counts an attempt as failed before it is made, so that many at once cannot slip through; [`forgive`] takes it
/// back. Answers how long to wait instead, when it comes too soon; then nothing is counted.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    login: &str,
    address: &str,
    now: Timestamp,
) -> Result<Option<TimeDelta>, StoreError> {
    let subjects = subjects(login, address);
    let mut waits = Vec::new();
    let mut failures = Vec::new();
    for subject in &subjects {
        let known = login_attempts::lock(tx, &subject.key, now)?;
        let (before, last) = known.filter(|(_, last)| now - *last < MEMORY).unwrap_or((0, now));
        waits.push(last + wait_after(before, subject.free) - now);
        failures.push(before.saturating_add(1));
    }
    if let Some(wait) = waits.into_iter().max().filter(|wait| *wait > TimeDelta::zero()) {
        return Ok(Some(wait));
    }
    for (subject, failures) in subjects.iter().zip(failures) {
        login_attempts::set(tx, &subject.key, failures, now)?;
    }
    Ok(None)
}

/// A successful login forgives the account's failures, and of the address's the one counted by [`begin`].
pub(crate) fn forgive(tx: &mut Tx<'_>, login: &str, address: &str, now: Timestamp) -> Result<(), StoreError> {
    let [account, address] = subjects(login, address);
    login_attempts::set(tx, &account.key, 0, now)?;
    if let Some((failures, last)) = login_attempts::lock(tx, &address.key, now)? {
        login_attempts::set(tx, &address.key, (failures - 1).max(0), last)?;
    }
    Ok(())
}

/// Forgets what is old; answers how many subjects.
pub(crate) fn prune(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    login_attempts::delete_older(tx, now - MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let seconds = |failures| wait_after(failures, 5).num_seconds();
        assert_eq!([4, 5, 6, 8, 13, 14, 100].map(seconds), [0, 1, 2, 8, 256, 300, 300]);
    }
}
