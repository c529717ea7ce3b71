//! Requests that are carried out once, however often they are sent.
//!
//! A client names a request that moves cash or shares by a key. The key is stored in the transaction of the request, with
//! the request and the row that it made; the same request under the same key is answered from there. Orders have keys of
//! their own, their `client_order_id`.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::{Timestamp, UserId};
use persistence::idempotency::{self, KeyedRequest};
use persistence::{Store, StoreError, Tx};

use crate::accounts::actor::Administrator;
use crate::error::{Error, Result};

/// The longest name that a client can give to a request or an order, in characters.
pub const LONGEST_NAME: usize = 128;

/// Whether a text has 1 to `longest` printable ASCII characters, without blanks.
pub(crate) fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// How long a key is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// The name that a client gives to a request: 1 to 128 printable ASCII characters without blanks, unique for its user.
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

/// What a request has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once<T> {
    pub value: T,
    /// The request had been carried out before, under the same key; nothing was done now.
    pub replayed: bool,
}

/// The author of a decision that is kept with their name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionAuthor {
    pub administrator: Administrator,
    /// The key of the request, if it has one: it is carried out once.
    pub key: Option<IdempotencyKey>,
}

/// A request that is carried out once if it has a key.
#[derive(Debug, Clone)]
pub(crate) struct OnceRequest {
    pub user: UserId,
    pub key: Option<IdempotencyKey>,
    /// In one canonical line: two requests are the same exactly when their lines are.
    pub line: String,
}

impl OnceRequest {
    /// The request of an administrator.
    pub fn by(author: &DecisionAuthor, line: String) -> Self {
        let user = author.administrator.user().unwrap_or(UserId(0));
        Self { user, key: author.key.clone(), line }
    }

    /// Carries the request out with `act`, which returns what it made with the id of the row, or answers with `again` what
    /// it made before.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`], and those of `act` and `again`.
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

    /// As [`OnceRequest::carry_out`] where no row keeps the answer: `act` also returns it as text, from which `again` reads it.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`], and those of `act` and `again`.
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

    /// What the key was used for; `None` for a new key and for a request without one.
    fn find(&self, tx: &mut Tx<'_>) -> Result<Option<KeyedRequest>> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(None) };
        match idempotency::find(tx, self.user, key)? {
            Some(before) if before.request != self.line => Err(Error::IdempotencyKeyReused),
            before => Ok(before),
        }
    }

    /// Takes the key before anything is done: the same request that arrives meanwhile waits here, and is not refused for what
    /// this one has changed.
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

/// The answer to a request that was carried out before under its key. Use cases look here first where what the request
/// has changed would refuse it: a stock that was renamed has the new name already.
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

/// What was done, or the answer to the same request if that is why this one was refused: it was carried out meanwhile.
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

/// Runs the work of a request in a transaction of its own. Where the same request is carried out elsewhere at the same moment,
/// the key is a duplicate: nothing of this one stays, and it is answered with what the other one made.
pub(crate) async fn write_once<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Tx<'_>) -> Result<Once<T>> + Clone + Send + 'static,
) -> Result<Once<T>> {
    match store.write(work.clone()).await {
        Err(Error::Store(StoreError::Duplicate(_))) => store.write(work).await,
        done => done,
    }
}

/// Forgets old keys.
pub(crate) fn prune(tx: &mut Tx<'_>, wall: Timestamp) -> Result<()> {
    idempotency::delete_before(tx, wall - REMEMBERED)?;
    Ok(())
}
