//! Rules that slow down password guessing. Failures are counted in the database, so that all processes share them:
//!
//! - per account, over all addresses; user name and e-mail address share one counter;
//! - per device, for browsers that have logged in to the account before: the account's counter does not affect them;
//! - per address: this counter never rejects an attempt, but `logins.rs` queues the attempts from an address with many
//!   failures.

use chrono::TimeDelta;
use domain::{Timestamp, UserId};
use persistence::users::User;
use persistence::{StoreError, Tx, login_attempts};

use crate::accounts::logins::LoginClient;
use crate::accounts::secret;

/// The number of failures without a wait. The next attempt waits 1 s, and each further failure doubles the wait.
const FREE_FAILURES: i32 = 5;
const LONGEST_WAIT_S: i64 = 300;
/// An account's failures expire after this time without a new failure.
const MEMORY: TimeDelta = TimeDelta::days(1);
/// The shorter expiry of failures that are too few to cause a wait.
const SHORT_MEMORY: TimeDelta = TimeDelta::hours(1);
/// After this many failures a device counts as unknown for a day.
const DEVICE_FAILURES: i32 = 10;
/// How long a device stays known after its last login.
pub(crate) const DEVICE_LIFETIME: TimeDelta = TimeDelta::days(365);
/// After this many failures, attempts from the address are queued.
pub(crate) const ADDRESS_FAILURES: i32 = 30;
/// Each time this interval passes, one failure of an address is forgiven.
const ADDRESS_FORGIVENESS: TimeDelta = TimeDelta::minutes(2);

/// The counter that an attempt counts for, and the data to choose it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The account, or the unknown login name.
    account: String,
    /// The device, if it has logged in to the account before.
    device: Option<String>,
    address: String,
}

/// An attempt that was admitted. It counts as failed until [`remove_failure`] is called.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    subject: String,
    at: Timestamp,
    previous_failure_at: Timestamp,
    pub from_known_device: bool,
    pub address_failures: i32,
}

impl Attempt {
    /// `name` is the normalized text that the user typed. It is hashed, because it may have any length and may be a
    /// password typed by mistake.
    pub fn new(user: Option<&User>, name: &str, client: &LoginClient, now: Timestamp) -> Self {
        Self {
            account: user.map_or_else(|| unknown_name(name), |user| account(user.id)),
            device: user.and_then(|user| known_device(user, client, now)),
            address: address(&client.address),
        }
    }

    /// The key of the queue: attempts with the same key are checked one at a time.
    pub fn queue(&self) -> &str {
        self.device.as_deref().unwrap_or(&self.account)
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

fn account(user: UserId) -> String {
    format!("account {user}")
}

fn unknown_name(name: &str) -> String {
    format!("name {}", secret::hash(name))
}

fn address(address: &str) -> String {
    format!("address {address}")
}

/// A device stays known for a year, unless the password changes.
fn known_device(user: &User, client: &LoginClient, now: Timestamp) -> Option<String> {
    // Cookies contain whole seconds.
    let changed_at_s = user.password_changed_at.utc().timestamp();
    let device = client.devices.iter().find(|device| {
        device.user == user.id
            && device.issued_at.utc().timestamp() >= changed_at_s
            && device.issued_at + DEVICE_LIFETIME > now
    });
    device.map(|device| format!("device {}", secret::hash(&device.nonce)))
}

fn wait_after(failures: i32) -> TimeDelta {
    match failures - FREE_FAILURES {
        ..0 => TimeDelta::zero(),
        over => TimeDelta::seconds(
            1_i64.checked_shl(over.unsigned_abs()).map_or(LONGEST_WAIT_S, |s| s.clamp(1, LONGEST_WAIT_S)),
        ),
    }
}

fn memory(failures: i32) -> TimeDelta {
    if failures < FREE_FAILURES { SHORT_MEMORY } else { MEMORY }
}

/// Locks the counter of a subject and returns the failures that still count, with the time of the last one.
fn lock(tx: &mut Tx<'_>, subject: &str, now: Timestamp) -> Result<(i32, Timestamp), StoreError> {
    let known = login_attempts::lock(tx, subject, now)?;
    Ok(known.filter(|(failures, last)| now - *last < memory(*failures)).unwrap_or((0, now)))
}

/// Admits an attempt and counts it as failed, so that simultaneous attempts are counted too. If the attempt comes too
/// soon after the last failure, it is not counted, and the time to wait is returned.
pub(crate) fn admit(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<Result<Admitted, TimeDelta>, StoreError> {
    let mut subject = &attempt.account;
    let mut counted = None;
    if let Some(device) = &attempt.device {
        let failures = lock(tx, device, now)?;
        if failures.0 < DEVICE_FAILURES {
            (subject, counted) = (device, Some(failures));
        }
    }
    let from_known_device = counted.is_some();
    let (failures, previous_failure_at) = match counted {
        Some(counted) => counted,
        None => lock(tx, subject, now)?,
    };
    let (wait, elapsed) = (wait_after(failures), now - previous_failure_at);
    // A failure in the future means that the clock was set back. It must not block the user until that time.
    if (TimeDelta::zero()..wait).contains(&elapsed) {
        return Ok(Err(wait - elapsed));
    }
    login_attempts::set(tx, subject, failures.saturating_add(1), now)?;
    Ok(Ok(Admitted {
        subject: subject.clone(),
        at: now,
        previous_failure_at,
        from_known_device,
        address_failures: address_failures(tx, &attempt.address, now)?.0,
    }))
}

/// Removes the failure that [`admit`] counted, because the password was right or could not be checked.
///
/// Earlier failures of an account stay, so that the owner's logins do not give an attacker new free attempts. The
/// failures of a device are deleted when its user `logged_in`.
pub(crate) fn remove_failure(
    tx: &mut Tx<'_>,
    admitted: &Admitted,
    logged_in: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some((failures, last)) = login_attempts::lock(tx, &admitted.subject, now)? else { return Ok(()) };
    if failures <= 1 || (logged_in && admitted.from_known_device) {
        return login_attempts::delete(tx, &admitted.subject);
    }
    // Another process may have counted a failure in the meantime.
    let last = if last > admitted.at { last } else { admitted.previous_failure_at };
    login_attempts::set(tx, &admitted.subject, failures - 1, last)
}

/// Counts a wrong password for its address, unless it came from a known device.
pub(crate) fn count_for_address(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    admitted: &Admitted,
    now: Timestamp,
) -> Result<(), StoreError> {
    if admitted.from_known_device {
        return Ok(());
    }
    login_attempts::lock(tx, &attempt.address, now)?;
    let (failures, since) = address_failures(tx, &attempt.address, now)?;
    login_attempts::set(tx, &attempt.address, failures.saturating_add(1), since)
}

/// The failures of an address that are not forgiven yet, and the time from which the next one is forgiven.
pub(crate) fn address_failures(
    tx: &mut Tx<'_>,
    address: &str,
    now: Timestamp,
) -> Result<(i32, Timestamp), StoreError> {
    let Some((failures, since)) = login_attempts::get(tx, address)? else { return Ok((0, now)) };
    Ok(forgiven(failures, since, now))
}

fn forgiven(failures: i32, since: Timestamp, now: Timestamp) -> (i32, Timestamp) {
    let periods = (now - since).num_seconds().max(0) / ADDRESS_FORGIVENESS.num_seconds();
    match i32::try_from(periods) {
        Ok(periods) if periods < failures => (failures - periods, since + ADDRESS_FORGIVENESS * periods),
        _ => (0, now),
    }
}

/// Deletes expired counters and returns their number.
pub(crate) fn prune(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    let old = login_attempts::delete_older(tx, now - MEMORY)?;
    Ok(old + login_attempts::delete_few_older(tx, FREE_FAILURES, now - SHORT_MEMORY)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let seconds = |failures| wait_after(failures).num_seconds();
        assert_eq!([4, 5, 6, 8, 13, 14, 100].map(seconds), [0, 1, 2, 8, 256, 300, 300]);
    }

    #[test]
    fn one_failure_of_an_address_is_forgiven_every_two_minutes() {
        let at = |minutes: i64| Timestamp::from(chrono::DateTime::from_timestamp(minutes * 60, 0).unwrap());
        for (minutes, expected) in
            [(0, (3, 0)), (1, (3, 0)), (2, (2, 2)), (3, (2, 2)), (5, (1, 4)), (6, (0, 6)), (99, (0, 99))]
        {
            assert_eq!(forgiven(3, at(0), at(minutes)), (expected.0, at(expected.1)), "{minutes}");
        }
        // A clock that was set back forgives nothing.
        assert_eq!(forgiven(3, at(10), at(0)), (3, at(10)));
    }
}
