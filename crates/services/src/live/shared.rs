//! Values that are sent to many streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A value and its serialized form, which the first sender creates and all others reuse.
#[derive(Debug)]
pub struct Shared<T> {
    pub value: T,
    wire: OnceLock<Box<[u8]>>,
}

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, wire: OnceLock::new() }
    }

    pub fn wire(&self, make: impl FnOnce(&T) -> Vec<u8>) -> &[u8] {
        self.wire.get_or_init(|| make(&self.value).into_boxed_slice())
    }
}

/// A slot for the newest value. Slow readers miss intermediate values, but never the newest one. Writers therefore
/// never wait, and values are not queued.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// Increases with each value; zero before the first.
    version: AtomicU64,
    newest: Mutex<Option<Arc<Shared<T>>>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { version: AtomicU64::new(0), newest: Mutex::default() }
    }
}

impl<T> Slot<T> {
    /// Sets the value. `version` must be larger than every earlier one.
    pub fn set(&self, value: T, version: u64) {
        let value = Arc::new(Shared::new(value));
        let mut newest = self.lock();
        *newest = Some(value);
        self.version.store(version, Ordering::Release);
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn newest(&self) -> Option<Arc<Shared<T>>> {
        self.lock().clone()
    }

    /// Returns the newest value if its version differs from `seen`, and updates `seen`.
    pub fn newer_than(&self, seen: &mut u64) -> Option<Arc<Shared<T>>> {
        if self.version() == *seen {
            return None;
        }
        let newest = self.lock();
        *seen = self.version();
        newest.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Shared<T>>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_gets_only_the_newest_value() {
        let slot = Slot::default();
        let (mut eager, mut slow) = (0, 0);
        assert!(slot.newer_than(&mut eager).is_none());
        for version in 1..=3 {
            slot.set(version * 10, version);
            assert_eq!(slot.newer_than(&mut eager).unwrap().value, version * 10);
            assert!(slot.newer_than(&mut eager).is_none());
        }
        assert_eq!(slot.newer_than(&mut slow).unwrap().value, 30);
        assert!(slot.newer_than(&mut slow).is_none());
    }

    #[test]
    fn the_serialized_form_is_created_once() {
        let shared = Shared::new(7);
        assert_eq!(shared.wire(|value| vec![*value]), [7]);
        assert_eq!(shared.wire(|_| unreachable!("it exists already")), [7]);
    }
}
