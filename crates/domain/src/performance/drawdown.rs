//! How far below its last high a portfolio was.

use chrono::NaiveDate;

/// The deepest fall of the growth index from a high, flows left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawdown {
    /// Negative or zero: −0.088 is 8.8 % below the high.
    pub depth: f64,
    /// The day of the high; `None` when it was the start of the window and nothing is known before.
    pub peak_on: Option<NaiveDate>,
    pub trough_on: NaiveDate,
    /// The first day at or above the high again; `None` while it is not reached.
    pub recovered_on: Option<NaiveDate>,
}

/// `min (W / max W so far − 1)` over the index `W = 1 + twr`, which is 1 before the first day.
/// `None` for an empty window. Formula: empyrical's `max_drawdown`.
pub fn max_drawdown(start: Option<NaiveDate>, dates: &[NaiveDate], twr: &[f64]) -> Option<Drawdown> {
    let (mut high, mut high_on) = (1.0, start);
    let mut deepest: Option<(Drawdown, f64)> = None;
    for (&date, growth) in dates.iter().zip(twr.iter().map(|twr| 1.0 + twr)) {
        if growth >= high {
            (high, high_on) = (growth, Some(date));
        }
        if let Some((drawdown, level)) = &mut deepest
            && drawdown.recovered_on.is_none()
            && growth >= *level
        {
            drawdown.recovered_on = Some(date);
        }
        let depth = growth / high - 1.0;
        if deepest.as_ref().is_none_or(|(drawdown, _)| depth < drawdown.depth) {
            let recovered_on = (depth == 0.0).then_some(date);
            deepest = Some((Drawdown { depth, peak_on: high_on, trough_on: date, recovered_on }, high));
        }
    }
    deepest.map(|(drawdown, _)| drawdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(n: u32) -> Vec<NaiveDate> {
        (1..=n).map(|day| NaiveDate::from_ymd_opt(2026, 1, day).unwrap()).collect()
    }

    #[test]
    fn the_deepest_fall_with_its_dates() {
        let dates = days(7);
        // Growth 1.10, 1.045, 1.21, 0.968, 1.10, 1.21, 1.30: −20 % from day 3 to day 4, back on day 6.
        let drawdown = max_drawdown(None, &dates, &[0.10, 0.045, 0.21, -0.032, 0.10, 0.21, 0.30]).unwrap();
        assert!((drawdown.depth + 0.2).abs() < 1e-12);
        assert_eq!((drawdown.peak_on, drawdown.trough_on), (Some(dates[2]), dates[3]));
        assert_eq!(drawdown.recovered_on, Some(dates[5]));
    }

    #[test]
    fn a_fall_from_the_start_counts_and_may_be_open() {
        let dates = days(2);
        let drawdown = max_drawdown(None, &dates, &[-0.1, -0.05]).unwrap();
        assert!((drawdown.depth + 0.1).abs() < 1e-12);
        assert_eq!((drawdown.peak_on, drawdown.recovered_on), (None, None));
    }

    #[test]
    fn only_rising_is_no_fall() {
        assert_eq!(max_drawdown(None, &days(2), &[0.1, 0.2]).unwrap().depth, 0.0);
        assert_eq!(max_drawdown(None, &[], &[]), None);
    }
}
