//! Expired entries of caches are removed although nobody asks for them any more: their memory is returned.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::future::Cache;

/// How often expired entries are looked for.
const SWEPT_EVERY: Duration = Duration::from_secs(5);

/// A task that looks for expired entries of a cache as long as it has any.
#[derive(Debug)]
pub(super) struct Sweeper {
    is_running: Arc<AtomicBool>,
    every: Duration,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self { is_running: Arc::default(), every: SWEPT_EVERY }
    }
}

impl Sweeper {
    /// Starts the task if it does not run. To be called after each insert.
    pub fn sweep<K, V>(&self, cache: &Cache<K, V>)
    where
        K: Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        if self.is_running.swap(true, Ordering::SeqCst) {
            return;
        }
        let (cache, is_running, every) = (cache.clone(), self.is_running.clone(), self.every);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                cache.run_pending_tasks().await;
                if cache.entry_count() > 0 {
                    continue;
                }
                is_running.store(false, Ordering::SeqCst);
                // An entry that came after the count may have seen that the task was running.
                cache.run_pending_tasks().await;
                if cache.entry_count() == 0 || is_running.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Many inserts, some of which fall into the moment in which the task ends: none of them stays.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn expired_entries_leave_without_being_asked_for() {
        const EXPIRED_AFTER: Duration = Duration::from_millis(1);
        let cache: Cache<u32, u32> = Cache::builder().time_to_live(EXPIRED_AFTER).build();
        let sweeper = Sweeper { is_running: Arc::default(), every: Duration::from_micros(100) };
        for round in 0..500 {
            cache.insert(round, round).await;
            sweeper.sweep(&cache);
            let since = Instant::now();
            // The count does not look for expired entries.
            while sweeper.is_running.load(Ordering::SeqCst) && round % 10 == 0 {
                assert!(since.elapsed() < Duration::from_secs(10), "the task does not end");
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        let since = Instant::now();
        while sweeper.is_running.load(Ordering::SeqCst) {
            assert!(since.elapsed() < Duration::from_secs(10), "the task does not end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(cache.entry_count(), 0);
    }
}
