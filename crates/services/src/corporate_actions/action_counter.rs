//! A counter of the corporate actions that this process has stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the actions that this process has stored. A changed count invalidates cached actions.
#[derive(Clone, Default)]
pub(crate) struct ActionCounter(Arc<AtomicU64>);

impl ActionCounter {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn increase(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
