//! Features that a provider may refuse, and that are then not requested for a while.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// A feature that may or may not be allowed. It is assumed to be allowed until a refusal, and again after a while,
/// because plans are upgraded.
#[derive(Debug)]
pub(crate) struct Capability {
    lost_until: Mutex<Option<DateTime<Utc>>>,
    span: TimeDelta,
}

impl Capability {
    /// A feature that is not tried for `span` after a refusal.
    pub(crate) fn lost_for(span: TimeDelta) -> Self {
        Self { lost_until: Mutex::new(None), span }
    }

    pub(crate) fn may_be_there(&self, now: DateTime<Utc>) -> bool {
        self.lost_until.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// If it was refused: the time of the next try.
    pub(crate) fn lost_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.lost_until.lock().unwrap_or_else(PoisonError::into_inner).filter(|until| *until > now)
    }

    /// Records a refusal.
    pub(crate) fn lost(&self, now: DateTime<Utc>) {
        *self.lost_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + self.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_tried_again_after_its_time() {
        let now: DateTime<Utc> = "2026-11-20T15:00:00Z".parse().unwrap();
        let bulk = Capability::lost_for(TimeDelta::hours(24));
        assert!(bulk.may_be_there(now));
        bulk.lost(now);
        assert!(!bulk.may_be_there(now + TimeDelta::hours(23)));
        assert!(bulk.may_be_there(now + TimeDelta::hours(24)));
    }
}
