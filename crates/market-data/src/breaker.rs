//! A circuit breaker: pauses calls to a failing source, and tests the source with one call after a growing pause.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use domain::Timestamp;

/// The longest time for a trial call. After that another trial is possible, even if the first caller never reports.
const TRIAL: TimeDelta = TimeDelta::seconds(60);

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Consecutive failures that open the circuit.
    pub failures: u32,
    /// The first pause; doubled after each failed trial.
    pub first_pause: TimeDelta,
    pub longest_pause: TimeDelta,
}

impl BreakerRules {
    /// The rules for providers with few calls: three failures are enough.
    pub const SCARCE_CALLS: Self =
        Self { failures: 3, first_pause: TimeDelta::seconds(60), longest_pause: TimeDelta::hours(1) };
}

/// Whether the next call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// No calls are made before this time.
    Open { until: Timestamp },
    /// A trial call is in progress; other calls are rejected.
    HalfOpen,
}

/// A circuit breaker. Callers pass the time; it reads no clock.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    state: Mutex<State>,
}

/// `pause` is the last pause; zero if there was none since the source last answered.
#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Timestamp, pause: TimeDelta },
    HalfOpen { since: Timestamp, pause: TimeDelta },
}

impl Breaker {
    pub fn new(rules: BreakerRules) -> Self {
        Self { rules, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Admits a call, or returns when the next one may be made. An admitted caller must report the result by
    /// [`Self::succeeded`], [`Self::failed`], [`Self::refused`] or [`Self::abandoned`].
    ///
    /// # Errors
    /// The time before which no call is made.
    pub fn admit(&self, now: Timestamp) -> Result<(), Timestamp> {
        let mut state = self.state();
        let pause = match *state {
            State::Closed { .. } => return Ok(()),
            State::Open { until, .. } if now < until => return Err(until),
            State::HalfOpen { since, .. } if now < since + TRIAL => return Err(since + TRIAL),
            State::Open { pause, .. } | State::HalfOpen { pause, .. } => pause,
        };
        *state = State::HalfOpen { since: now, pause };
        Ok(())
    }

    /// Reports that the source answered, even if it does not know the symbol.
    pub fn succeeded(&self) {
        let mut state = self.state();
        // The result of a call from before the circuit opened does not close it.
        if !matches!(*state, State::Open { .. }) {
            *state = State::Closed { failures: 0 };
        }
    }

    /// Reports that the source was not reached, or that its answer is unusable.
    pub fn failed(&self, now: Timestamp) {
        let mut state = self.state();
        *state = match *state {
            State::Closed { failures } if failures + 1 < self.rules.failures => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => self.opened(now, TimeDelta::zero()),
            State::HalfOpen { pause, .. } => self.opened(now, pause),
            open @ State::Open { .. } => open,
        };
    }

    /// Reports that the source named the time before which it will not answer. That is not a failure.
    pub fn refused(&self, until: Timestamp) {
        let mut state = self.state();
        *state = match *state {
            State::Closed { .. } => State::Open { until, pause: TimeDelta::zero() },
            State::HalfOpen { pause, .. } => State::Open { until, pause },
            State::Open { until: earlier, pause } => State::Open { until: until.max(earlier), pause },
        };
    }

    /// Reports that the call was not made. If it was the trial, another one is possible.
    pub fn abandoned(&self, now: Timestamp) {
        let mut state = self.state();
        if let State::HalfOpen { pause, .. } = *state {
            *state = State::Open { until: now, pause };
        }
    }

    pub fn current(&self, now: Timestamp) -> BreakerState {
        match *self.state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open { until },
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn opened(&self, now: Timestamp, last_pause: TimeDelta) -> State {
        let pause = match last_pause.is_zero() {
            true => self.rules.first_pause,
            false => (last_pause * 2).min(self.rules.longest_pause),
        };
        State::Open { until: now + pause, pause }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        first_pause: TimeDelta::seconds(60),
        longest_pause: TimeDelta::seconds(300),
    };

    fn second(n: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(1_790_000_000 + n, 0).unwrap().into()
    }

    fn opened_at(now: Timestamp) -> Breaker {
        let breaker = Breaker::new(RULES);
        for _ in 0..3 {
            breaker.admit(now).unwrap();
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn the_circuit_opens_after_consecutive_failures() {
        let breaker = Breaker::new(RULES);
        for _ in 0..2 {
            breaker.failed(second(0));
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(second(0));
        }
        assert_eq!(breaker.admit(second(0)), Ok(()));
        breaker.failed(second(0));
        assert_eq!(breaker.admit(second(1)), Err(second(60)));
        assert_eq!(breaker.current(second(1)), BreakerState::Open { until: second(60) });
    }

    #[test]
    fn a_successful_trial_after_the_pause_closes_the_circuit() {
        let breaker = opened_at(second(0));
        assert_eq!(breaker.admit(second(59)), Err(second(60)));
        assert_eq!(breaker.admit(second(60)), Ok(()));
        assert_eq!(breaker.current(second(60)), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(second(60)), Err(second(120)), "only one");
        breaker.succeeded();
        assert_eq!(breaker.current(second(61)), BreakerState::Closed);
        assert!(breaker.admit(second(61)).is_ok() && breaker.admit(second(61)).is_ok());
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_the_longest() {
        let breaker = opened_at(second(0));
        let mut now = second(60);
        for pause in [120, 240, 300, 300] {
            breaker.admit(now).unwrap();
            breaker.failed(now);
            assert_eq!(breaker.admit(now), Err(now + TimeDelta::seconds(pause)));
            now = now + TimeDelta::seconds(pause);
        }
        breaker.admit(now).unwrap();
        breaker.succeeded();
        for _ in 0..3 {
            breaker.failed(now);
        }
        assert_eq!(breaker.admit(now), Err(now + TimeDelta::seconds(60)), "the pause starts again");
    }

    #[test]
    fn late_results_neither_close_nor_prolong_the_pause() {
        let breaker = opened_at(second(0));
        breaker.failed(second(30));
        assert_eq!(breaker.admit(second(59)), Err(second(60)));
        breaker.succeeded();
        assert_eq!(breaker.admit(second(59)), Err(second(60)));
    }

    #[test]
    fn a_source_that_names_a_time_is_not_called_before() {
        let breaker = Breaker::new(RULES);
        breaker.admit(second(0)).unwrap();
        breaker.refused(second(5000));
        assert_eq!(breaker.admit(second(4999)), Err(second(5000)));
        breaker.admit(second(5000)).unwrap();
        breaker.failed(second(5000));
        assert_eq!(breaker.admit(second(5000)), Err(second(5060)), "a refusal is not a failure");
    }

    #[test]
    fn an_abandoned_trial_is_left_to_the_next_caller() {
        let breaker = opened_at(second(0));
        breaker.admit(second(60)).unwrap();
        breaker.abandoned(second(61));
        assert_eq!(breaker.admit(second(61)), Ok(()));
        assert_eq!(breaker.admit(second(62)), Err(second(121)));
        assert_eq!(
            breaker.admit(second(121)),
            Ok(()),
            "a trial without a result does not block the next one"
        );
        let closed = Breaker::new(RULES);
        closed.abandoned(second(0));
        assert_eq!(closed.current(second(0)), BreakerState::Closed);
    }
}
