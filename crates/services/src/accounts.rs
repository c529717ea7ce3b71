//! Accounts: registration, logins, sessions, API tokens, and their protection.

pub mod actor;
pub mod admin;
pub(crate) mod flash;
pub(crate) mod login_throttle;
pub mod logins;
pub(crate) mod password;
pub mod register;
pub(crate) mod secret;
pub mod sessions;
pub(crate) mod token_cache;
pub mod tokens;
pub(crate) mod turns;

use std::sync::Arc;
use std::time::Duration;

use persistence::Store;

use crate::Clock;
use crate::cache_size::CacheSize;
use password::Hasher;
use token_cache::TokenCache;
use turns::Turns;

/// Queues of password checks: one check at a time per account or address.
#[derive(Clone, Default)]
struct LoginQueues {
    accounts: Turns,
    addresses: Turns,
}

/// The use cases of accounts. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    clock: Clock,
    hasher: Hasher,
    login_queues: LoginQueues,
    token_cache: Arc<TokenCache>,
    password_queue_timeout: Duration,
}

impl Accounts {
    /// Creates the use cases. A login waits for at most `password_queue_timeout` for the machine to check its password.
    pub(crate) fn new(store: Store, clock: Clock, password_queue_timeout: Duration) -> Self {
        Self {
            store,
            clock,
            hasher: Hasher::new(password_queue_timeout),
            login_queues: LoginQueues::default(),
            token_cache: Arc::default(),
            password_queue_timeout,
        }
    }

    /// The tokens in memory, as metrics show them.
    pub(crate) fn cached_tokens(&self) -> CacheSize {
        CacheSize::new("tokens", self.token_cache.len() as u64, self.token_cache.bytes() as u64)
    }
}
