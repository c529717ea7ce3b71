//! Spaces the calls of one process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets calls pass one by one, at least `gap` apart, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    /// The time of the last queued call.
    last: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(gap: Duration) -> Self {
        Self { gap, last: Mutex::new(None) }
    }

    /// Returns when it is the caller's turn.
    pub(crate) async fn turn(&self) {
        sleep_until(self.place(Instant::now())).await;
    }

    /// Returns when a call that arrives at `now` may be made. Its place stays taken even if the caller gives up.
    fn place(&self, now: Instant) -> Instant {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let place = last.map_or(now, |last| now.max(last + self.gap));
        *last = Some(place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn simultaneous_calls_are_spaced() {
        let gap = Duration::from_millis(1500);
        let (pace, now) = (Pace::new(gap), Instant::now());
        assert_eq!([pace.place(now), pace.place(now), pace.place(now)], [now, now + gap, now + 2 * gap]);
        let later = now + 10 * gap;
        assert_eq!([pace.place(later), pace.place(later)], [later, later + gap]);
    }
}
