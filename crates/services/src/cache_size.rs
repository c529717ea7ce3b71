//! The sizes of caches, for metrics.

/// The current size of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSize {
    /// The name of the cache in metrics.
    pub cache: &'static str,
    pub entries: u64,
    /// An estimate for texts and maps.
    pub bytes: u64,
}

impl CacheSize {
    pub(crate) fn new(cache: &'static str, entries: u64, bytes: u64) -> Self {
        Self { cache, entries, bytes }
    }
}
