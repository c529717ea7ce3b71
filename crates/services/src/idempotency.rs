//! Requests that are executed only once, even if they are sent repeatedly.
//!
//! The client names a request that moves cash or shares by a key. The key is stored in the transaction of the request,
//! together with the request and the id of the created row. A repeated request under the same key gets its answer from
//! this record. Orders use their `client_order_id` instead.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::{Timestamp, UserId};
use persistence::idempotency::{self, KeyedRequest};
use persistence::{Store, StoreError, Tx};

use crate::accounts::actor::Administrator;
use crate::error::{Error, Result};

/// The longest name that a client can give to a request or an order, in characters.
pub const LONGEST_NAME: usize = 128;

/// Whether a text has 1 to `longest` printable ASCII characters, without spaces.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// How long a key is stored.
const KEY_LIFETIME: TimeDelta = TimeDelta::days(30);

/// The client's name for a request: 1 to 128 printable ASCII characters without spaces, unique per user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match is_name(text, LONGEST_NAME) {
            true => Ok(Self(text.to_owned())),
            false => Err("use 1 to 128 letters, digits or punctuation marks, without blanks"),
        }
    }
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once<T> {
    pub value: T,
    /// Whether the request had already been executed under the same key, so that this call changed nothing.
    pub replayed: bool,
}

/// The administrator who makes a decision that is stored with the administrator's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionAuthor {
    pub administrator: Administrator,
    /// The key of the request. A request with a key is executed only once.
    pub key: Option<IdempotencyKey>,
}

/// A request that is executed only once if it has a key.
#[derive(Debug, Clone)]
pub(crate) struct OnceRequest {
    pub user: UserId,
    pub key: Option<IdempotencyKey>,
    /// The request as one canonical line: equal requests have equal lines.
    pub line: String,
}

impl OnceRequest {
    /// The request of an administrator.
    pub fn by(author: &DecisionAuthor, line: String) -> Self {
        let user = author.administrator.user().unwrap_or(UserId(0));
        Self { user, key: author.key.clone(), line }
    }

    /// Executes the request with `act`, which returns the result and the id of the created row. If the request was
    /// already executed, `again` reads its result by that id.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`], and the errors of `act` and `again`.
    pub fn carry_out<T>(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        act: impl FnOnce(&mut Tx<'_>) -> Result<(T, i64)>,
        again: impl FnOnce(&mut Tx<'_>, i64) -> Result<T>,
    ) -> Result<Once<T>> {
        match self.find(tx)? {
            Some(before) => Ok(Once { value: again(tx, before.result_id)?, replayed: true }),
            None => {
                self.store_key(tx, now)?;
                let (value, result_id) = act(tx)?;
                self.store_result(tx, result_id, None)?;
                Ok(Once { value, replayed: false })
            }
        }
    }

    /// Like [`OnceRequest::carry_out`], for results that are not stored in a row: `act` also returns the result as
    /// text, and `again` parses this text.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`], and the errors of `act` and `again`.
    pub fn carry_out_with_answer<T>(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        act: impl FnOnce(&mut Tx<'_>) -> Result<(T, String)>,
        again: impl FnOnce(&str) -> Result<T>,
    ) -> Result<Once<T>> {
        match self.find(tx)? {
            Some(before) => {
                Ok(Once { value: again(before.answer.as_deref().unwrap_or_default())?, replayed: true })
            }
            None => {
                self.store_key(tx, now)?;
                let (value, answer) = act(tx)?;
                self.store_result(tx, 0, Some(&answer))?;
                Ok(Once { value, replayed: false })
            }
        }
    }

    /// The earlier request under this key; `None` for a new key and for a request without one.
    fn find(&self, tx: &mut Tx<'_>) -> Result<Option<KeyedRequest>> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(None) };
        match idempotency::find(tx, self.user, key)? {
            Some(before) if before.request != self.line => Err(Error::IdempotencyKeyReused),
            before => Ok(before),
        }
    }

    /// Stores the key before the request is executed. An identical concurrent request then waits here, instead of
    /// failing because of the changes that this one makes.
    fn store_key(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<()> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(()) };
        let request = KeyedRequest {
            user_id: self.user,
            key: key.clone(),
            request: self.line.clone(),
            result_id: 0,
            created_at: now,
            answer: None,
        };
        idempotency::insert(tx, &request)?;
        Ok(())
    }

    fn store_result(&self, tx: &mut Tx<'_>, result_id: i64, answer: Option<&str>) -> Result<()> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(()) };
        idempotency::set_result(tx, self.user, key, result_id, answer)?;
        Ok(())
    }
}

/// Returns the result of a request that was already executed under its key. Use cases that would reject a repeated
/// request call this first. For example, a repeated rename fails because the stock has the new symbol already.
pub(crate) async fn replay<T: Send + 'static>(
    store: &Store,
    request: &OnceRequest,
    again: impl FnOnce(&mut Tx<'_>, i64) -> Result<T> + Send + 'static,
) -> Result<Option<Once<T>>> {
    if request.key.is_none() {
        return Ok(None);
    }
    let request = request.clone();
    let replayed = store.read(move |tx| match request.find(tx)? {
        Some(before) => again(tx, before.result_id).map(|value| Some(Once { value, replayed: true })),
        None => Ok::<_, Error>(None),
    });
    replayed.await
}

/// Returns `done`. If it is an error and the same request has been executed in the meantime, returns the result of that
/// execution.
pub(crate) async fn or_replay<T: Send + 'static>(
    store: &Store,
    done: Result<Once<T>>,
    request: &OnceRequest,
    again: impl FnOnce(&mut Tx<'_>, i64) -> Result<T> + Send + 'static,
) -> Result<Once<T>> {
    match done {
        Err(refused) if !matches!(refused, Error::Store(_)) => {
            replay(store, request, again).await?.ok_or(refused)
        }
        done => done,
    }
}

/// Executes a request in its own transaction. If the same request is being executed elsewhere, the key is a duplicate:
/// this transaction is rolled back, and a second attempt returns the result of the other one.
pub(crate) async fn write_once<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Tx<'_>) -> Result<Once<T>> + Clone + Send + 'static,
) -> Result<Once<T>> {
    match store.write(work.clone()).await {
        Err(Error::Store(StoreError::Duplicate(_))) => store.write(work).await,
        done => done,
    }
}

/// Deletes old keys.
pub(crate) fn prune(tx: &mut Tx<'_>, wall: Timestamp) -> Result<()> {
    idempotency::delete_before(tx, wall - KEY_LIFETIME)?;
    Ok(())
}
