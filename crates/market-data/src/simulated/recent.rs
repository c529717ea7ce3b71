//! A bounded cache of computed values.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Mutex, PoisonError};

/// Keeps at least the `capacity` most recently used values, and at most twice as many.
///
/// When the young generation is full it becomes the old one, and values that were not used since are dropped.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    capacity: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { capacity, generations: Mutex::new(generations) }
    }

    /// The cached value, or the result of `compute`. No lock is held during the computation.
    pub(super) fn get_or(&self, key: K, compute: impl FnOnce() -> V) -> V {
        if let Some(known) = self.recall(key) {
            return known;
        }
        let value = compute();
        self.remember(key, value.clone());
        value
    }

    fn recall(&self, key: K) -> Option<V> {
        let aged = {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(value) = generations.young.get(&key) {
                return Some(value.clone());
            }
            generations.old.remove(&key)?
        };
        self.remember(key, aged.clone());
        Some(aged)
    }

    fn remember(&self, key: K, value: V) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= self.capacity {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recently_used_values_are_kept_and_others_are_dropped() {
        let recent = Recent::new(2);
        recent.get_or(1, || "one");
        for key in 2..100 {
            recent.get_or(key, || "more");
            assert_eq!(recent.get_or(1, || "again"), "one");
        }
        assert_eq!(recent.get_or(2, || "again"), "again");
        let generations = recent.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 4);
    }
}
