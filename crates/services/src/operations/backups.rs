//! The time of the last backup, as `stockyard backup` records it.

use persistence::{Store, StoreError, installation};

use crate::Clock;

/// The key in the table `installation` for the wall time of the last backup, as RFC 3339 in UTC.
pub(crate) const LAST_BACKUP_AT: &str = "last_backup_at";

/// Records that a backup has just succeeded.
///
/// # Errors
/// When the database cannot be written.
pub async fn record(store: &Store) -> Result<(), StoreError> {
    let now = Clock::system().wall();
    store.write(move |tx| installation::set(tx, LAST_BACKUP_AT, &now.to_string())).await
}
