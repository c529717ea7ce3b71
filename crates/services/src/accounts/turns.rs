//! Queues: callers with the same key go one at a time, in the order of arrival.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

/// The queues that are not empty, shared by clones.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Queue>>>);

#[derive(Default)]
struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    places: usize,
}

/// A place in the queue of one key. The queue is deleted with its last place.
pub(crate) struct Place {
    turns: Turns,
    key: String,
    turn: Arc<tokio::sync::Mutex<()>>,
    others: usize,
}

/// The turn of a caller. Until it is dropped, no other caller with the same key gets a turn, and the caller keeps its
/// place in the queue.
pub(crate) struct Turn {
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

impl Turns {
    pub fn join(&self, key: &str) -> Place {
        let mut queues = self.queues();
        let queue = queues.entry(key.to_owned()).or_default();
        let others = queue.places;
        queue.places += 1;
        Place { turns: self.clone(), key: key.to_owned(), turn: queue.turn.clone(), others }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The number of other places in the queue when this one was created, including the one that has the turn.
    pub fn others(&self) -> usize {
        self.others
    }

    /// Waits for the turn; `None` if it does not come in time.
    pub async fn turn(self, within: Duration) -> Option<Turn> {
        let turn = tokio::time::timeout(within, self.turn.clone().lock_owned()).await.ok()?;
        Some(Turn { _turn: turn, _place: self })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.places -= 1;
            if queue.places == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn one_key_has_one_turn_at_a_time() {
        let turns = Turns::default();
        let first = turns.join("a").turn(LONG).await.unwrap();
        assert!(turns.join("a").turn(SOON).await.is_none());
        assert!(turns.join("b").turn(SOON).await.is_some());
        let waiting = tokio::spawn(turns.join("a").turn(LONG));
        drop(first);
        assert!(waiting.await.unwrap().is_some());
    }

    #[test]
    fn a_place_counts_the_others_in_its_queue() {
        let turns = Turns::default();
        let (one, other) = (turns.join("a"), turns.join("a"));
        assert_eq!((one.others(), other.others(), turns.join("b").others()), (0, 1, 0));
        drop(one);
        assert_eq!(turns.join("a").others(), 1);
    }

    #[tokio::test]
    async fn an_empty_queue_is_removed() {
        let turns = Turns::default();
        let first = turns.join("a").turn(LONG).await.unwrap();
        assert!(turns.join("a").turn(SOON).await.is_none());
        let _ = tokio::time::timeout(SOON, turns.join("a").turn(LONG)).await;
        drop(first);
        drop(turns.join("b"));
        assert!(turns.queues().is_empty());
    }
}
