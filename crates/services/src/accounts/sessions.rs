//! Browser sessions. The cookie contains a random key, and the database only its hash. A copy of the database can
//! therefore not be used to log in.

use std::collections::HashMap;

use chrono::TimeDelta;
use domain::{Timestamp, UserId};
use persistence::sessions::{self, NewSession, SessionUpdate};

use crate::accounts::Accounts;
use crate::accounts::secret;
use crate::error::{Error, NotFound, Result};
use crate::log_target::SECURITY;

/// How often the use of a session is recorded.
const TOUCH_EVERY: TimeDelta = TimeDelta::hours(1);

/// A session as shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub id: i64,
    /// The session's values as JSON, as `web` stored them.
    pub state: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// Whether this is the session of the request.
    pub is_current: bool,
}

impl Accounts {
    /// Returns the values of a live session.
    ///
    /// # Errors
    /// Only if the database fails; the same for all functions here.
    pub async fn load_session(&self, key: &str) -> Result<Option<String>> {
        let (hash, now) = (secret::hash(key), self.clock.wall());
        let row = self.store.read(move |tx| sessions::by_key(tx, &hash, now).map_err(Error::from)).await?;
        Ok(row.map(|row| row.state))
    }

    /// The users of the live sessions with these hashes.
    pub(crate) async fn session_owners(&self, hashes: Vec<String>) -> Result<HashMap<String, UserId>> {
        if hashes.is_empty() {
            return Ok(HashMap::new());
        }
        let now = self.clock.wall();
        let found = self
            .store
            .query(move |statement| sessions::owners(statement, &hashes, now).map_err(Error::from))
            .await?;
        Ok(found.into_iter().collect())
    }

    /// Stores a new session's values and returns its key.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn create_session(
        &self,
        user: Option<UserId>,
        state: String,
        lifetime: TimeDelta,
    ) -> Result<String> {
        let (key, now) = (secret::random(), self.clock.wall());
        let key_hash = secret::hash(&key);
        let new = NewSession {
            key_hash,
            user_id: user,
            state,
            created_at: now,
            last_seen_at: now,
            expires_at: now + lifetime,
        };
        self.store.write(move |tx| sessions::insert(tx, new).map_err(Error::from)).await?;
        Ok(key)
    }

    /// Replaces the values of a session. Returns whether the session still exists.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn update_session(
        &self,
        key: &str,
        user: Option<UserId>,
        state: String,
        lifetime: TimeDelta,
    ) -> Result<bool> {
        let (hash, now) = (secret::hash(key), self.clock.wall());
        self.store
            .write(move |tx| {
                // An expired session stays expired, even before it is deleted.
                if sessions::by_key(tx, &hash, now)?.is_none() {
                    return Ok(false);
                }
                let update = SessionUpdate {
                    user_id: user,
                    state: &state,
                    last_seen_at: now,
                    expires_at: now + lifetime,
                };
                sessions::save(tx, &hash, &update).map_err(Error::from)
            })
            .await
    }

    /// Extends a session. Writes at most once per hour.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn prolong_session(&self, key: &str, lifetime: TimeDelta) -> Result<()> {
        let (hash, now) = (secret::hash(key), self.clock.wall());
        let looked_up = hash.clone();
        let row =
            self.store.read(move |tx| sessions::by_key(tx, &looked_up, now).map_err(Error::from)).await?;
        match row {
            Some(row) if now - row.last_seen_at >= TOUCH_EVERY => {
                self.store
                    .write(move |tx| sessions::touch(tx, &hash, now, now + lifetime).map_err(Error::from))
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Ends the session with this key.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn end_session(&self, key: &str) -> Result<()> {
        let hash = secret::hash(key);
        self.store.write(move |tx| sessions::delete_by_key(tx, &hash).map_err(Error::from)).await
    }

    /// Returns a user's live sessions, most recently used first; `current` is the key of the session of the request.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn sessions(&self, user: UserId, current: Option<String>) -> Result<Vec<SessionInfo>> {
        let now = self.clock.wall();
        let current = current.as_deref().map(secret::hash);
        let rows = self.store.read(move |tx| sessions::of_user(tx, user, now).map_err(Error::from)).await?;
        Ok(rows
            .into_iter()
            .map(|row| SessionInfo {
                id: row.id,
                is_current: current.as_ref() == Some(&row.key_hash),
                state: row.state,
                created_at: row.created_at,
                last_seen_at: row.last_seen_at,
            })
            .collect())
    }

    /// Ends one of a user's sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such session.
    pub async fn revoke_session(&self, user: UserId, id: i64) -> Result<()> {
        match self.store.write(move |tx| sessions::delete_of_user(tx, user, id).map_err(Error::from)).await? {
            true => {
                tracing::info!(
                    target: SECURITY, event = "session_ended", user_id = user.0, reason = "revoked",
                    "session ended by its user from another one"
                );
                Ok(())
            }
            false => Err(Error::NotFound(NotFound::Session)),
        }
    }
}
