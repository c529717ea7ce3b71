//! Counts the news of corporate actions of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the actions that this process has stored: a change invalidates what was read before.
#[derive(Clone, Default)]
pub(crate) struct Noted(Arc<AtomicU64>);

impl Noted {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn increase(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
