//! Time-weighted return: how good the choices were, whatever was paid in and out.

use super::Close;
use crate::Money;

/// The return of each day, deposits counted at the start of the day and withdrawals at its end:
/// `(V + out) / (V before + in) − 1`. A day with nothing invested has return 0.
///
/// This hybrid is the daily approximation of the true time-weighted return (GIPS, "Guidance Statement on
/// Calculation Methodology"); counting all flows at the start would make −100 % of a day when all is withdrawn.
pub fn daily_returns(start_value: &Money, closes: &[Close]) -> Vec<f64> {
    let mut before = start_value.to_f64();
    closes
        .iter()
        .map(|close| {
            let (value, flow) = (close.total_value.to_f64(), close.net_flow.to_f64());
            let base = before + flow.max(0.0);
            before = value;
            if base > 0.0 { (value - flow.min(0.0)) / base - 1.0 } else { 0.0 }
        })
        .collect()
}

/// Chain-linked: `Π (1 + r) − 1` up to each day.
pub fn cumulative_twr(returns: &[f64]) -> Vec<f64> {
    returns
        .iter()
        .scan(1.0, |growth, daily| {
            *growth *= 1.0 + daily;
            Some(*growth - 1.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Days, NaiveDate};

    fn closes(rows: &[(&str, &str)]) -> Vec<Close> {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        rows.iter()
            .zip(0..)
            .map(|((value, flow), day)| Close {
                date: first + Days::new(day),
                total_value: value.parse().unwrap(),
                net_flow: flow.parse().unwrap(),
            })
            .collect()
    }

    fn twr(rows: &[(&str, &str)]) -> f64 {
        *cumulative_twr(&daily_returns(&Money::zero(), &closes(rows))).last().unwrap()
    }

    #[test]
    fn flows_do_not_count_as_return() {
        assert!((twr(&[("1000", "1000"), ("1100", "0"), ("2100", "1000")]) - 0.1).abs() < 1e-12);
        assert!((twr(&[("1000", "1000"), ("1100", "0"), ("600", "-500")]) - 0.1).abs() < 1e-12);
    }

    /// 1000 → 1010 (+1 %) → 1020.10 (+1 %), then 500 more and +2 % on 1520.10.
    #[test]
    fn returns_chain() {
        let value = twr(&[("1010", "1000"), ("1020.10", "0"), ("1550.50", "500")]);
        assert!((value - (1.01 * 1.01 * (1550.50 / 1520.10) - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn taking_everything_out_is_no_loss() {
        assert!((twr(&[("1000", "1000"), ("0", "-1058"), ("0", "0")]) - 0.058).abs() < 1e-12);
    }
}
