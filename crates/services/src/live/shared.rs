//! Values that are sent to many streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A value with its serialized form, which the first sender creates and all others share.
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

/// The newest value of a kind. Slow readers miss values, but never the newest, so no writer waits for them and
/// nothing is queued.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// Grows with each value; zero before the first.
    version: AtomicU64,
    newest: Mutex<Option<Arc<Shared<T>>>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { version: AtomicU64::new(0), newest: Mutex::default() }
    }
}

impl<T> Slot<T> {
    /// `version` must be larger than any before.
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

    /// The newest value, unless its version is `seen`, which is updated.
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
    fn who_looks_seldom_sees_the_newest_value_alone() {
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
    fn the_wire_form_is_made_once() {
        let shared = Shared::new(7);
        assert_eq!(shared.wire(|value| vec![*value]), [7]);
        assert_eq!(shared.wire(|_| unreachable!("it exists already")), [7]);
    }
}
