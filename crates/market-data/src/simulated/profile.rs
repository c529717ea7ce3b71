//! The activity profile of a session: higher while the New York exchanges are open, lower at night; in exchange
//! sessions highest at the opening and the close.
//!
//! The same profile distributes the volume and the ticks, so that prices move faster in busy hours.

use super::clock::{QUOTE_STEPS, STEPS};

/// The number of cells of equal length in a session.
const CELLS: usize = 24;

/// The activity during a session.
#[derive(Debug)]
pub(super) struct Profile {
    /// The activity in each 24th of a session; only ratios matter.
    activity: [u16; CELLS],
    total: u16,
}

/// In tenths of the activity of a quiet hour at noon. A session has 24 hours, except when the clocks change.
pub(super) static AROUND_THE_CLOCK: Profile = Profile::from_activity([
    7, 7, 7, 7, 8, 8, 9, 10, 12, 20, 18, 14, 12, 12, 14, 18, 14, 10, 9, 8, 8, 7, 7, 7,
]);

/// The activity is highest after the opening and before the close. A cell has 16 minutes and 15 seconds, on days with
/// an early close less than 9 minutes.
pub(super) static EXCHANGE: Profile = Profile::from_activity([
    28, 20, 17, 15, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 10, 10, 11, 11, 12, 13, 14, 16, 19, 26,
]);

/// The number of the smaller step that shows the close; 2^15 steps precede it.
pub(super) const LAST_QUOTE_STEP: usize = STEPS * QUOTE_STEPS;

impl Profile {
    const fn from_activity(activity: [u16; CELLS]) -> Self {
        let (mut total, mut cell) = (0, 0);
        while cell < CELLS {
            total += activity[cell];
            cell += 1;
        }
        Self { activity, total }
    }

    /// The share of a session's activity before the fraction `u` of its time; both from 0 to 1.
    #[expect(clippy::cast_possible_truncation, reason = "the number of the cell is between 0 and 23")]
    pub(super) fn elapsed_share(&self, u: f64) -> f64 {
        let cells = u.clamp(0.0, 1.0) * CELLS as f64;
        let cell = (cells as usize).min(CELLS - 1);
        let before: u16 = self.activity[..cell].iter().sum();
        let inside = f64::from(self.activity[cell]) * (cells - cell as f64);
        (f64::from(before) + inside) / f64::from(self.total)
    }

    /// The fraction of a session's time in which this share of its activity passes, except for rounding.
    pub(super) fn elapsed_time(&self, share: f64) -> f64 {
        let mut activity = share * f64::from(self.total);
        for (cell, of_cell) in self.activity.into_iter().map(f64::from).enumerate() {
            if activity < of_cell {
                return (cell as f64 + activity / of_cell) / CELLS as f64;
            }
            activity -= of_cell;
        }
        1.0
    }
}

/// The number of smaller steps since the opening whose price is valid at this share of a session's activity, from 0 to
/// 2^15. Each step is late by `delay` of its length, less than 1, so that the close is shown too.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and the number of smaller steps and one")]
pub(super) fn quote_step(share: f64, delay: f64) -> usize {
    ((share * (LAST_QUOTE_STEP + 1) as f64 - delay).max(0.0) as usize).min(LAST_QUOTE_STEP)
}

/// The share of a session's activity at which the price of a smaller step becomes valid, for steps after the first.
pub(super) fn quote_step_begins(number: usize, delay: f64) -> f64 {
    (number as f64 + delay) / (LAST_QUOTE_STEP + 1) as f64
}

/// The tick that a smaller step since the opening follows, and its number after that tick. The close is the end of the
/// step after the last tick.
pub(super) fn tick_and_rest(number: usize) -> (usize, usize) {
    let tick = (number / QUOTE_STEPS).min(STEPS - 1);
    (tick, number - tick * QUOTE_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_activity_never_decreases() {
        for profile in [&AROUND_THE_CLOCK, &EXCHANGE] {
            let mut last = 0;
            for tenth in 0..=864_000 {
                let now = quote_step(profile.elapsed_share(f64::from(tenth) / 864_000.0), 0.5);
                assert!(now == last || now == last + 1, "{last} to {now}");
                last = now;
            }
            assert_eq!(last, LAST_QUOTE_STEP);
            assert_eq!(profile.elapsed_share(1.0), 1.0);
        }
    }

    #[test]
    fn time_is_the_inverse_of_activity() {
        for profile in [&AROUND_THE_CLOCK, &EXCHANGE] {
            for u in (0..=1000).map(|i| f64::from(i) / 1000.0) {
                assert!((profile.elapsed_time(profile.elapsed_share(u)) - u).abs() < 1e-12, "{u}");
            }
        }
    }

    #[test]
    fn all_prices_are_shown_including_the_open_and_the_close() {
        // Sessions of a day, and a session with an early close.
        for (profile, seconds) in [(&AROUND_THE_CLOCK, 86_400.0), (&EXCHANGE, 12_600.0)] {
            let microsecond = 1.0 / (seconds * 1e6);
            for delay in [0.0, 0.5, 0.9] {
                assert_eq!(quote_step(profile.elapsed_share(0.0), delay), 0);
                assert_eq!(quote_step(profile.elapsed_share(1.0 - microsecond), delay), LAST_QUOTE_STEP);
            }
        }
    }
}
