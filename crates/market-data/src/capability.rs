//! Features that a provider may refuse, and that are not requested for a while after a refusal.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// A feature that the provider may refuse. It is assumed to be allowed until a refusal, and again some time later,
/// because plans are upgraded.
#[derive(Debug)]
pub(crate) struct Capability {
    refused_until: Mutex<Option<DateTime<Utc>>>,
    span: TimeDelta,
}

impl Capability {
    /// A feature that is not tried for the time `span` after a refusal.
    pub(crate) fn retried_after(span: TimeDelta) -> Self {
        Self { refused_until: Mutex::new(None), span }
    }

    pub(crate) fn is_available(&self, now: DateTime<Utc>) -> bool {
        self.refused_until.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// The time of the next try if the feature was refused; otherwise `None`.
    pub(crate) fn refused_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.refused_until.lock().unwrap_or_else(PoisonError::into_inner).filter(|until| *until > now)
    }

    /// Records a refusal.
    pub(crate) fn mark_refused(&self, now: DateTime<Utc>) {
        *self.refused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + self.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_feature_is_tried_again_later() {
        let now: DateTime<Utc> = "2026-11-20T15:00:00Z".parse().unwrap();
        let bulk = Capability::retried_after(TimeDelta::hours(24));
        assert!(bulk.is_available(now));
        bulk.mark_refused(now);
        assert!(!bulk.is_available(now + TimeDelta::hours(23)));
        assert!(bulk.is_available(now + TimeDelta::hours(24)));
    }
}
