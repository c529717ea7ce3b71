//! Wall time that never goes back, even if the system's clock is set back.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;

/// A larger difference means that the system's clock is behind.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);
/// While the system's clock is behind, wall time runs at 1/`SLOWED_TO` of its speed until the system's clock has caught
/// up.
const SLOWED_TO: u32 = 2;

/// A wall clock, of the system or of a test.
///
/// It shows the system's time. If the system's clock is set back, the shown time continues at half speed until the
/// system's clock has caught up. Orders, leases and logins therefore never see time go back, and after a correction the
/// shown time meets the system's clock again.
#[derive(Debug)]
pub struct WallClock {
    readings: Readings,
    state: Mutex<WallState>,
}

#[derive(Debug)]
enum Readings {
    System { since: Instant },
    Manual(Mutex<Reading>),
}

/// The readings of the system's two clocks.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: Timestamp,
    /// Elapsed time; setting the system's clock does not change it.
    passed: Duration,
}

/// The last reading from which wall time continues.
#[derive(Debug)]
struct WallState {
    shown: Timestamp,
    passed: Duration,
    /// Whether the event "clock is behind" was logged, but not yet its end.
    is_behind: bool,
}

static SYSTEM: LazyLock<Arc<WallClock>> =
    LazyLock::new(|| Arc::new(WallClock::new(Readings::System { since: Instant::now() })));

impl WallClock {
    fn new(readings: Readings) -> Self {
        let Reading { wall, passed } = readings.read();
        Self { readings, state: Mutex::new(WallState { shown: wall, passed, is_behind: false }) }
    }

    /// The process's clock.
    pub fn system() -> Arc<Self> {
        SYSTEM.clone()
    }

    /// A clock that stands still until it is moved.
    pub fn manual(at: Timestamp) -> Arc<Self> {
        let reading = Reading { wall: at, passed: Duration::ZERO };
        Arc::new(Self::new(Readings::Manual(Mutex::new(reading))))
    }

    pub fn now(&self) -> Timestamp {
        let mut state = self.state();
        let reading = self.readings.read();
        let slowed = reading.passed.saturating_sub(state.passed) / SLOWED_TO;
        let continued = state.shown + TimeDelta::from_std(slowed).unwrap_or(TimeDelta::MAX);
        let shown = if reading.wall >= continued {
            state.shown = reading.wall;
            state.passed = reading.passed;
            reading.wall
        } else {
            continued
        };
        let behind = shown - reading.wall;
        let (was_behind, is_behind) = (state.is_behind, behind > TOLERANCE);
        state.is_behind = is_behind;
        drop(state);
        match (was_behind, is_behind) {
            (false, true) => tracing::error!(
                event = "clock_behind",
                system_time = %reading.wall,
                time_reached = %shown,
                behind_s = behind.num_seconds(),
                "the system's clock is behind Stockyard's time: correct it (NTP). Until it has caught up, \
                 Stockyard's time continues at half speed"
            ),
            (true, false) => {
                tracing::info!(event = "clock_caught_up", system_time = %reading.wall, "the system's clock has caught up");
            }
            _ => {}
        }
        shown
    }

    /// By how much the system's clock is behind; `None` if it is not.
    pub fn behind(&self) -> Option<TimeDelta> {
        let shown = self.now();
        let behind = shown - self.readings.read().wall;
        (behind > TOLERANCE).then_some(behind)
    }

    /// Continues from `at` if the clock shows an earlier time: `at` was reached before this process started.
    pub fn continue_from(&self, at: Timestamp) {
        let shown = self.now();
        if at > shown {
            let mut state = self.state();
            state.shown = state.shown.max(at);
            state.passed = self.readings.read().passed;
            drop(state);
            // Reading the time logs the event if the clock is behind.
            self.now();
        }
    }

    /// Sets the system time of a manual clock; no time passes.
    pub fn step(&self, to: Timestamp) {
        if let Readings::Manual(reading) = &self.readings {
            reading.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
        }
    }

    /// Restarts a manual clock at `at`, which may be earlier.
    pub fn restart(&self, at: Timestamp) {
        let mut state = self.state();
        if let Readings::Manual(reading) = &self.readings {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.wall = at;
            *state = WallState { shown: at, passed: reading.passed, is_behind: false };
        }
    }

    /// Lets time pass on a manual clock.
    pub fn pass(&self, time: TimeDelta) {
        if let Readings::Manual(reading) = &self.readings {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.passed += time.to_std().unwrap_or_default();
            reading.wall = reading.wall + time;
        }
    }

    fn state(&self) -> MutexGuard<'_, WallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readings {
    fn read(&self) -> Reading {
        match self {
            Self::System { since } => Reading { wall: system_now(), passed: since.elapsed() },
            Self::Manual(reading) => *reading.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the home of the clock")]
fn system_now() -> Timestamp {
    let now: DateTime<Utc> = Utc::now();
    now.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap().into()
    }

    #[test]
    fn time_goes_on_at_half_speed_until_the_clock_has_caught_up() {
        for back in [
            TimeDelta::seconds(1),
            TimeDelta::minutes(1),
            TimeDelta::hours(1),
            TimeDelta::days(1),
            TimeDelta::days(40),
        ] {
            let clock = WallClock::manual(noon());
            clock.step(noon() - back);
            assert_eq!(clock.now(), noon(), "{back}");
            assert_eq!(clock.behind(), (back > TOLERANCE).then_some(back), "{back}");
            clock.pass(back);
            assert_eq!(clock.now(), noon() + back / 2, "{back}");
            // The clock has caught up after twice the time.
            clock.pass(back);
            assert_eq!((clock.now(), clock.behind()), (noon() + back, None), "{back}");
            clock.pass(TimeDelta::seconds(7));
            assert_eq!(clock.now(), noon() + back + TimeDelta::seconds(7), "{back}");
        }
    }

    #[test]
    fn a_corrected_system_clock_is_followed_immediately() {
        let clock = WallClock::manual(noon());
        clock.step(noon() - TimeDelta::days(1));
        clock.pass(TimeDelta::minutes(10));
        assert_eq!(clock.now(), noon() + TimeDelta::minutes(5));
        clock.step(noon() + TimeDelta::minutes(10));
        assert_eq!((clock.now(), clock.behind()), (noon() + TimeDelta::minutes(10), None));
    }

    #[test]
    fn frequent_readings_lose_no_time() {
        let clock = WallClock::manual(noon());
        clock.step(noon() - TimeDelta::hours(1));
        for _ in 0..1001 {
            clock.pass(TimeDelta::microseconds(1));
            clock.now();
        }
        assert_eq!(clock.now(), noon() + TimeDelta::microseconds(500));
    }

    #[test]
    fn time_continues_from_a_time_reached_earlier() {
        let clock = WallClock::manual(noon());
        clock.continue_from(noon() - TimeDelta::hours(1));
        assert_eq!((clock.now(), clock.behind()), (noon(), None));
        clock.continue_from(noon() + TimeDelta::hours(1));
        assert_eq!(clock.now(), noon() + TimeDelta::hours(1));
        assert_eq!(clock.behind(), Some(TimeDelta::hours(1)));
        clock.pass(TimeDelta::hours(2));
        assert_eq!((clock.now(), clock.behind()), (noon() + TimeDelta::hours(2), None));
    }

    #[test]
    fn the_systems_clock_never_goes_back() {
        let clock = WallClock::system();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
