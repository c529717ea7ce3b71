//! How busy the market is through a day: more while New York's exchanges are open, less at night.
//!
//! The same profile places the ticks, so that prices move faster in busy hours, and the volume.

use super::clock::{QUOTE_STEPS, STEPS};

/// Activity in each 24th of a session, in tenths of a quiet hour at noon. A session has 24 hours except when the
/// clocks change.
const ACTIVITY: [u16; 24] =
    [7, 7, 7, 7, 8, 8, 9, 10, 12, 20, 18, 14, 12, 12, 14, 18, 14, 10, 9, 8, 8, 7, 7, 7];

/// The share of a session's activity that lies before the fraction `u` of its time; both from 0 to 1.
#[expect(clippy::cast_possible_truncation, reason = "the number of the cell is between 0 and 23")]
pub(super) fn elapsed_share(u: f64) -> f64 {
    let cells = u.clamp(0.0, 1.0) * 24.0;
    let cell = (cells as usize).min(23);
    let before: u16 = ACTIVITY[..cell].iter().sum();
    let total: u16 = ACTIVITY.iter().sum();
    (f64::from(before) + f64::from(ACTIVITY[cell]) * (cells - cell as f64)) / f64::from(total)
}

/// The number of smaller steps since the open whose price holds at that share of a session's activity, from 0 to
/// 2^15. Each comes `delay` of its length late, less than 1, so that the close is shown too.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and the number of smaller steps and one")]
pub(super) fn quote_step(share: f64, delay: f64) -> usize {
    const LAST: usize = STEPS * QUOTE_STEPS;
    ((share * (LAST + 1) as f64 - delay).max(0.0) as usize).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: usize = STEPS * QUOTE_STEPS;

    #[test]
    fn the_day_elapses_from_first_to_last_step_without_going_back() {
        let mut last = 0;
        for tenth in 0..=864_000 {
            let now = quote_step(elapsed_share(f64::from(tenth) / 864_000.0), 0.5);
            assert!(now == last || now == last + 1, "{last} to {now}");
            last = now;
        }
        assert_eq!(last, LAST);
        assert_eq!(elapsed_share(1.0), 1.0);
    }

    #[test]
    fn all_prices_are_shown_the_open_and_the_close_included() {
        let microsecond = 1.0 / (86_400.0 * 1e6);
        for delay in [0.0, 0.5, 0.9] {
            assert_eq!(quote_step(elapsed_share(0.0), delay), 0);
            assert_eq!(quote_step(elapsed_share(1.0 - microsecond), delay), LAST);
        }
    }
}
