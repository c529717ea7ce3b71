//! A cache of API tokens, so that a request does not read its token from the database.
//!
//! The database is authoritative. Once per second, and only while tokens are used, one statement confirms all cached
//! tokens in use. A token that is not confirmed is removed, and a confirmation older than two seconds is not valid. If
//! any process revokes a token, it therefore stops working within two seconds, even if the database does not answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::{Timestamp, TokenId, UserId};
use tokio::sync::OwnedMutexGuard;

use crate::accounts::register::Account;
use crate::accounts::tokens::Scope;

/// How long a confirmation is valid.
const CONFIRMED_FOR: TimeDelta = TimeDelta::seconds(2);
/// How often tokens are confirmed. The remaining time leaves room for the database to answer.
const CONFIRM_EVERY: TimeDelta = TimeDelta::seconds(1);
/// A token that no request used within this time is not confirmed again.
const IN_USE: TimeDelta = TimeDelta::seconds(10);
/// The most cached tokens, about 10 MB. Invalid tokens are not cached.
const CAPACITY: usize = 10_000;

/// A token's data from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownToken {
    pub id: TokenId,
    pub account: Arc<Account>,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
}

impl KnownToken {
    /// Whether the token has not expired yet.
    pub fn lives_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

struct Entry {
    known: KnownToken,
    /// When the confirmation was requested.
    confirmed_at: Timestamp,
    used_at: Timestamp,
}

#[derive(Default)]
pub(crate) struct TokenCache {
    state: Mutex<State>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    asked_at: Option<Timestamp>,
    /// Counts removals. A query that started before the latest removal is ignored.
    forgotten: u64,
}

/// A query of the database. It is created before the query runs; the result is valid from that moment.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    at: Timestamp,
    forgotten: u64,
}

/// The query that confirms all tokens in use. While one exists, no second one is started.
pub(crate) struct Confirmation {
    pub hashes: Vec<String>,
    question: Question,
    _turn: OwnedMutexGuard<()>,
}

impl TokenCache {
    /// Returns the token's data if its confirmation is still valid.
    pub fn get(&self, hash: &str, now: Timestamp) -> Option<KnownToken> {
        let mut state = self.state();
        let entry = state.entries.get_mut(hash)?;
        if !entry.known.lives_at(now) || !is_within(CONFIRMED_FOR, entry.confirmed_at, now) {
            return None;
        }
        entry.used_at = now;
        Some(entry.known.clone())
    }

    pub fn question(&self, now: Timestamp) -> Question {
        Question { at: now, forgotten: self.state().forgotten }
    }

    /// Stores the result of a query, unless a token was removed since.
    pub fn remember(&self, hash: String, known: KnownToken, question: Question) {
        let mut state = self.state();
        if state.forgotten != question.forgotten {
            return;
        }
        if state.entries.len() >= CAPACITY {
            // Tokens in use are then read again, each with a query.
            state.entries.clear();
        }
        let at = question.at;
        state.entries.insert(hash, Entry { known, confirmed_at: at, used_at: at });
    }

    /// Returns the confirmation that is due now, if one is.
    pub fn due(&self, now: Timestamp) -> Option<Confirmation> {
        let mut state = self.state();
        if state.asked_at.is_some_and(|at| is_within(CONFIRM_EVERY, at, now)) {
            return None;
        }
        let turn = self.asking.clone().try_lock_owned().ok()?;
        state.asked_at = Some(now);
        state.entries.retain(|_, entry| is_within(IN_USE, entry.used_at, now));
        Some(Confirmation {
            hashes: state.entries.keys().cloned().collect(),
            question: Question { at: now, forgotten: state.forgotten },
            _turn: turn,
        })
    }

    /// Applies the result of a confirmation: tokens that it queried but did not find are removed.
    pub fn confirm(&self, confirmation: Confirmation, mut found: HashMap<String, KnownToken>) {
        let Confirmation { hashes, question, _turn } = confirmation;
        let mut state = self.state();
        if state.forgotten != question.forgotten {
            return;
        }
        for hash in hashes {
            let Some(entry) = state.entries.get_mut(&hash) else { continue };
            match found.remove(&hash) {
                // A separate query confirmed this token later.
                _ if entry.confirmed_at > question.at => {}
                Some(known) => (entry.known, entry.confirmed_at) = (known, question.at),
                None => drop(state.entries.remove(&hash)),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.state().entries.len()
    }

    /// Removes a token that this process revoked.
    pub fn forget_token(&self, id: TokenId) {
        self.forget(|known| known.id == id);
    }

    /// Removes the tokens of an account that this process changed.
    pub fn forget_user(&self, id: UserId) {
        self.forget(|known| known.account.id == id);
    }

    fn forget(&self, is_meant: impl Fn(&KnownToken) -> bool) {
        let mut state = self.state();
        state.forgotten += 1;
        state.entries.retain(|_, entry| !is_meant(&entry.known));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `then` is less than `span` ago. A time in the future does not count, because the clock was set back.
fn is_within(span: TimeDelta, then: Timestamp, now: Timestamp) -> bool {
    (TimeDelta::zero()..span).contains(&(now - then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use uuid::Uuid;

    fn at(milliseconds: i64) -> Timestamp {
        DateTime::from_timestamp_millis(1_795_201_920_000 + milliseconds).unwrap().into()
    }

    fn hash(number: u128) -> String {
        crate::accounts::secret::hash(&number.to_string())
    }

    fn known(number: u128) -> KnownToken {
        let account = Account {
            id: UserId(number.try_into().unwrap()),
            username: format!("user {number}"),
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            date_joined: at(0),
            is_active: true,
            is_admin: false,
        };
        let id = TokenId(Uuid::from_u128(number));
        KnownToken { id, account: Arc::new(account), scope: Scope::Trade, expires_at: None }
    }

    fn remembering(numbers: impl IntoIterator<Item = u128>) -> TokenCache {
        let cache = TokenCache::default();
        for number in numbers {
            cache.remember(hash(number), known(number), cache.question(at(0)));
        }
        cache
    }

    fn answer(numbers: impl IntoIterator<Item = u128>) -> HashMap<String, KnownToken> {
        numbers.into_iter().map(|number| (hash(number), known(number))).collect()
    }

    #[test]
    fn a_confirmation_is_valid_for_less_than_two_seconds() {
        let cache = remembering([1]);
        assert_eq!(cache.get(&hash(2), at(0)), None);
        for (milliseconds, believed) in [(0, true), (1_999, true), (2_000, false), (-1, false)] {
            assert_eq!(cache.get(&hash(1), at(milliseconds)).is_some(), believed, "{milliseconds}");
        }
    }

    #[test]
    fn a_token_is_invalid_from_its_expiry_on() {
        let cache = TokenCache::default();
        let ending = KnownToken { expires_at: Some(at(500)), ..known(1) };
        cache.remember(hash(1), ending, cache.question(at(0)));
        assert!(cache.get(&hash(1), at(499)).is_some());
        assert!(cache.get(&hash(1), at(500)).is_none());
    }

    #[test]
    fn one_confirmation_per_second_is_due_and_never_two_at_once() {
        let cache = remembering([1]);
        let first = cache.due(at(0)).unwrap();
        assert!(cache.due(at(999)).is_none());
        assert!(cache.due(at(1_000)).is_none(), "the first is not answered");
        drop(first);
        assert!(cache.due(at(1_000)).is_some());
        assert!(cache.due(at(1_999)).is_none());
        // The clock was set back.
        assert!(cache.due(at(0)).is_some());
    }

    #[test]
    fn a_confirmation_extends_updates_and_removes_tokens() {
        let cache = remembering([1, 2, 3]);
        let confirmation = cache.due(at(1_000)).unwrap();
        let mut asked = confirmation.hashes.clone();
        asked.sort_unstable();
        let mut expected = [1, 2, 3].map(hash);
        expected.sort_unstable();
        assert_eq!(asked, expected);
        let mut found = answer([1, 2]);
        found.get_mut(&hash(2)).unwrap().scope = Scope::Read;
        cache.confirm(confirmation, found);
        assert_eq!(cache.get(&hash(1), at(2_999)), Some(known(1)));
        assert_eq!(cache.get(&hash(2), at(2_999)).unwrap().scope, Scope::Read);
        assert_eq!(cache.get(&hash(3), at(1_001)), None);
        assert_eq!(cache.get(&hash(1), at(3_000)), None);
    }

    #[test]
    fn unused_tokens_are_not_confirmed() {
        let cache = remembering([1, 2]);
        for second in 1..10 {
            let confirmation = cache.due(at(second * 1_000)).unwrap();
            assert_eq!(confirmation.hashes.len(), 2, "{second}");
            cache.confirm(confirmation, answer([1, 2]));
            cache.get(&hash(1), at(second * 1_000)).unwrap();
        }
        assert_eq!(cache.due(at(10_000)).unwrap().hashes, [hash(1)]);
        assert_eq!(cache.get(&hash(2), at(10_000)), None);
    }

    #[test]
    fn tokens_changed_by_this_process_are_removed_immediately() {
        let cache = remembering([1, 2, 3]);
        cache.forget_token(known(1).id);
        cache.forget_user(known(2).account.id);
        assert_eq!([1, 2, 3].map(|number| cache.get(&hash(number), at(0)).is_some()), [false, false, true]);
    }

    #[test]
    fn a_query_from_before_a_change_is_ignored() {
        let cache = remembering([1]);
        let (question, confirmation) = (cache.question(at(1_000)), cache.due(at(1_000)).unwrap());
        cache.forget_user(known(2).account.id);
        cache.remember(hash(2), known(2), question);
        cache.confirm(confirmation, answer([1]));
        assert_eq!(cache.get(&hash(2), at(1_000)), None);
        assert_eq!(cache.get(&hash(1), at(2_000)), None);

        let cache = remembering([1]);
        let confirmation = cache.due(at(1_000)).unwrap();
        cache.remember(hash(1), known(1), cache.question(at(1_500)));
        cache.confirm(confirmation, HashMap::new());
        assert!(cache.get(&hash(1), at(3_499)).is_some());
    }

    #[test]
    fn the_cache_size_is_limited() {
        let cache = remembering(0..CAPACITY as u128 + 5);
        assert!(cache.state().entries.len() <= CAPACITY);
        assert!(cache.get(&hash(CAPACITY as u128 + 4), at(0)).is_some());
    }
}
