//! Flash messages: from the handler of a form to the page that the browser is redirected to.

use chrono::TimeDelta;
use persistence::flash_messages::{self, NewFlashMessage};

use crate::accounts::Accounts;
use crate::accounts::secret;
use crate::error::{Error, Result};

/// Browsers follow a redirect immediately, but a slow phone may take a while.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

impl Accounts {
    /// Stores a message for `owner` under a random id that the caller chose; the id also encrypts the content.
    ///
    /// # Errors
    /// Only if the database fails; the same for [`Accounts::take_flash`].
    pub async fn store_flash(&self, id: &str, owner: &str, content: String) -> Result<()> {
        let now = self.clock.wall();
        let new = NewFlashMessage {
            id_hash: secret::hash(id),
            owner: secret::hash(owner),
            content,
            expires_at: now + LIFETIME,
        };
        self.store.write(move |tx| flash_messages::insert(tx, new, now).map_err(Error::from)).await
    }

    /// Returns and deletes the message with this id. `None` if it was already read, has expired, or belongs to another
    /// owner.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn take_flash(&self, id: &str, owner: &str) -> Result<Option<String>> {
        let (id_hash, owner, now) = (secret::hash(id), secret::hash(owner), self.clock.wall());
        self.store.write(move |tx| flash_messages::take(tx, &id_hash, &owner, now).map_err(Error::from)).await
    }
}
