//! The closes of several portfolios, combined into one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::Money;
use crate::performance::Close;

/// Combines the closes of several portfolios as if they were one: for each day on which at least one has a close, the
/// sum of all values and of all net flows. A portfolio without a close on a day counts with its previous value and
/// without a flow: its flows since then are part of its next close. Before its first close it counts as zero, so a
/// portfolio that is opened later begins with a deposit and not with a gain. A transfer between two portfolios on one
/// day is not a flow.
///
/// Each input list, and the result, is ordered by date.
///
/// ```
/// use domain::performance::{Close, combined_closes};
///
/// let close = |date: &str, value: &str, flow: &str| Close {
///     date: date.parse().unwrap(),
///     total_value: value.parse().unwrap(),
///     net_flow: flow.parse().unwrap(),
/// };
/// let first = vec![close("2026-01-01", "100", "100"), close("2026-01-03", "120", "0")];
/// let second = vec![close("2026-01-02", "50", "50"), close("2026-01-03", "45", "0")];
/// let all = combined_closes(&[first, second]);
/// assert_eq!(all, [
///     close("2026-01-01", "100", "100"),
///     close("2026-01-02", "150", "50"),
///     close("2026-01-03", "165", "0"),
/// ]);
/// ```
pub fn combined_closes(portfolios: &[Vec<Close>]) -> Vec<Close> {
    let dates: BTreeSet<NaiveDate> = portfolios.iter().flatten().map(|close| close.date).collect();
    let mut sums: BTreeMap<NaiveDate, (Money, Money)> =
        dates.iter().map(|date| (*date, (Money::zero(), Money::zero()))).collect();
    for closes in portfolios {
        let mut closes = closes.iter().peekable();
        let mut value = Money::zero();
        for (date, (total_value, net_flow)) in &mut sums {
            if let Some(close) = closes.next_if(|close| close.date == *date) {
                value = close.total_value.clone();
                *net_flow += &close.net_flow;
            }
            *total_value += &value;
        }
    }
    let close = |(date, (total_value, net_flow))| Close { date, total_value, net_flow };
    sums.into_iter().map(close).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::{Series, Workings};

    fn closes(rows: &[(u32, &str, &str)]) -> Vec<Close> {
        rows.iter()
            .map(|(day, value, flow)| Close {
                date: NaiveDate::from_ymd_opt(2026, 1, *day).unwrap(),
                total_value: value.parse().unwrap(),
                net_flow: flow.parse().unwrap(),
            })
            .collect()
    }

    fn twr(portfolios: &[Vec<Close>]) -> Option<f64> {
        crate::performance::twr(&Series::new(None, &combined_closes(portfolios)), &mut Workings::off()).ok()
    }

    /// 1000 → 1100, then 500 more in the second: (1100 + 500) → (1100 + 450), then (1210 + 450).
    #[test]
    fn a_portfolio_that_begins_later_begins_with_a_deposit() {
        let first = closes(&[(1, "1000", "1000"), (2, "1100", "0"), (3, "1100", "0"), (4, "1210", "0")]);
        let second = closes(&[(3, "450", "500"), (4, "450", "0")]);
        let expected = 1.1 * (1550.0 / 1600.0) * (1660.0 / 1550.0) - 1.0;
        assert!((twr(&[first, second]).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn a_transfer_between_portfolios_on_one_day_is_not_a_flow() {
        let first = closes(&[(1, "1000", "1000"), (2, "700", "-300"), (3, "700", "0")]);
        let second = closes(&[(2, "300", "300"), (3, "330", "0")]);
        let all = combined_closes(&[first.clone(), second.clone()]);
        assert!(all[1].net_flow.is_zero());
        assert!((twr(&[first, second]).unwrap() - 0.03).abs() < 1e-12);
    }

    /// The second portfolio has no close on the second day, and its deposit of that day is part of its third day.
    #[test]
    fn a_day_without_a_close_keeps_the_value_before() {
        let first = closes(&[(1, "100", "100"), (2, "110", "0"), (3, "110", "0")]);
        let second = closes(&[(1, "100", "100"), (3, "160", "50")]);
        let all = combined_closes(&[first.clone(), second.clone()]);
        assert_eq!(all, closes(&[(1, "200", "200"), (2, "210", "0"), (3, "270", "50")]));
        assert!((twr(&[first, second]).unwrap() - (1.05 * (270.0 / 260.0) - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn one_portfolio_is_unchanged_and_none_has_no_return() {
        let only = closes(&[(1, "100", "100"), (2, "90", "0"), (5, "0", "-90")]);
        assert_eq!(combined_closes(std::slice::from_ref(&only)), only);
        assert_eq!(twr(&[]), None);
        assert_eq!(twr(&[closes(&[(1, "0", "0")]), Vec::new()]), None);
    }
}
