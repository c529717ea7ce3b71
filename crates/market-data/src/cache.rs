//! A cache of answers, with one call at a time per key.

use std::future::Future;
use std::hash::Hash;

use domain::{Symbol, Timestamp};
use tracing::Instrument;

use crate::QuoteError;

/// An answer and the time until which it is valid. Errors are cached too.
#[derive(Debug, Clone)]
pub(crate) struct CacheEntry<T> {
    pub(crate) answer: Result<T, QuoteError>,
    pub(crate) until: Timestamp,
    /// Consecutive failures, including this one.
    pub(crate) failures: u32,
}

/// Answers by symbol or by another key. Callers pass the time; the cache reads no clock.
pub(crate) struct Cache<T, K = Symbol> {
    entries: moka::future::Cache<K, CacheEntry<T>>,
}

impl<T, K> Cache<T, K>
where
    T: Clone + Send + Sync + 'static,
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Evicts the least recently used answers beyond `most_bytes`. `size` estimates the bytes of an answer.
    pub(crate) fn new(most_bytes: u64, size: fn(&T) -> usize) -> Self {
        /// The entry itself, with its place in the queues of the cache.
        const ENTRY: usize = 300;
        let weigh = move |_: &K, entry: &CacheEntry<T>| {
            let size = entry.answer.as_ref().map_or(0, size) + size_of::<CacheEntry<T>>() + ENTRY;
            u32::try_from(size).unwrap_or(u32::MAX)
        };
        Self { entries: moka::future::Cache::builder().max_capacity(most_bytes).weigher(weigh).build() }
    }

    /// The number of answers and their bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Removes the answer for the symbol.
    pub(crate) async fn forget(&self, symbol: &K) {
        self.entries.invalidate(symbol).await;
    }

    /// The cached answer for the symbol, if it is valid at `at`.
    pub(crate) async fn get(&self, symbol: &K, at: Timestamp) -> Option<Result<T, QuoteError>> {
        self.entries.get(symbol).await.filter(|kept| at < kept.until).map(|kept| kept.answer)
    }

    /// Returns the answer that is valid at `at`. If there is none, `fetch` gets one, only once for all callers that
    /// wait; its argument is the number of consecutive failures so far.
    ///
    /// The call continues even if all waiting callers go away: it is already counted, and the next caller will need its
    /// answer.
    pub(crate) async fn get_or_fetch<F: Future<Output = CacheEntry<T>> + Send + 'static>(
        &self,
        symbol: &K,
        at: Timestamp,
        fetch: impl FnOnce(u32) -> F + Send + 'static,
    ) -> Result<T, QuoteError> {
        if let Some(answer) = self.get(symbol, at).await {
            return answer;
        }
        let (entries, symbol) = (self.entries.clone(), symbol.clone());
        let call = async move {
            let failures = entries.get(&symbol).await.map_or(0, |kept| kept.failures);
            let fetch = async move { fetch(failures).await };
            let entry = entries.entry(symbol).or_insert_with_if(fetch, |kept| kept.until <= at).await;
            entry.into_value().answer
        };
        let failed = || QuoteError::Upstream("asking the price source failed".to_owned());
        tokio::spawn(call.in_current_span()).await.unwrap_or_else(|_| Err(failed()))
    }
}
