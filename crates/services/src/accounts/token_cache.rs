//! A cache of API tokens, so that a request does not read its token from the database.
//!
//! The database is authoritative. Once per second, and only while tokens are used, one statement confirms all cached
//! tokens in use. A token that is not confirmed is removed, and a confirmation older than two seconds is not valid. If
//! any process revokes a token, it therefore stops working within two seconds, even if the database does not answer.

use std::sync::Arc;

use domain::{Timestamp, TokenId, UserId};

use crate::accounts::register::Account;
use crate::accounts::tokens::Scope;
use crate::confirmed_rows::{ConfirmedRow, ConfirmedRows};

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

impl ConfirmedRow for KnownToken {
    fn size(&self) -> usize {
        /// The entry with its hash, and the allocations of the texts.
        const FIXED: usize = 400;
        let Account { username, email, first_name, last_name, .. } = &*self.account;
        FIXED + size_of::<Account>() + username.len() + email.len() + first_name.len() + last_name.len()
    }
}

/// Tokens by their hashes.
pub(crate) type TokenCache = ConfirmedRows<String, KnownToken>;

impl TokenCache {
    /// The token's data, if it was confirmed within the last two seconds and has not expired.
    pub fn live(&self, hash: &str, now: Timestamp) -> Option<KnownToken> {
        self.get(hash, now).filter(|known| known.lives_at(now))
    }

    /// Removes a token that this process revoked.
    pub fn forget_token(&self, id: TokenId) {
        self.forget(|known| known.id == id);
    }

    /// Removes the tokens of an account that this process changed.
    pub fn forget_user(&self, id: UserId) {
        self.forget(|known| known.account.id == id);
    }
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

    #[test]
    fn a_token_is_invalid_from_its_expiry_on() {
        let cache = TokenCache::default();
        let ending = KnownToken { expires_at: Some(at(500)), ..known(1) };
        cache.insert(hash(1), ending, cache.start_read(at(0)));
        assert!(cache.live(&hash(1), at(499)).is_some());
        assert!(cache.live(&hash(1), at(500)).is_none());
    }

    #[test]
    fn what_was_changed_here_is_forgotten_at_once() {
        let cache = TokenCache::default();
        for number in [1, 2, 3] {
            cache.insert(hash(number), known(number), cache.start_read(at(0)));
        }
        cache.forget_token(known(1).id);
        cache.forget_user(known(2).account.id);
        assert_eq!([1, 2, 3].map(|number| cache.live(&hash(number), at(0)).is_some()), [false, false, true]);
    }
}
