//! Money-weighted return: the result of the invested money, by the amounts and times of its flows.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::Money;
use crate::performance::annualized::DAYS_OF_YEAR;
use crate::performance::{Figure, Formula, Series, Table, UndefinedReason, Value, Workings, statistics};

pub(super) const XIRR: Formula = Formula {
    words: "The yearly interest rate of a savings account in which the same deposits and withdrawals on the same \
            days would have led to the same end value. Deposits and the value at the start are negative, withdrawals \
            and the value at the end are positive; discounted at the rate, they add up to zero.",
    symbols: "Σ cash_flow × (1 + xirr)^(−days / 365) = 0",
    source: "The XIRR function of spreadsheets; OpenDocument 1.3, part 4, 6.12.51; pyxirr's xirr",
};

pub(super) const MWR: Formula = Formula {
    words: "The money-weighted return per year, converted to the days from the first to the last cash flow.",
    symbols: "mwr = (1 + xirr)^(calendar_days / 365) − 1",
    source: "GIPS 2020, glossary: money-weighted return; not annualized",
};

/// The money-weighted return as a ratio per year: ρ in `Σ cf (1 + ρ)^(−d/365) = 0`, where `d` are calendar days since
/// the first cash flow. At −0.5, half of the money is lost per year. If several rates balance the flows, the one
/// nearest to zero is returned.
///
/// The cash flows, from the owner's point of view: the value at the start (negative), each day's net deposits
/// (negative) and net withdrawals (positive), and the value at the end (positive).
///
/// A rate for a few days can be astronomic; show [`mwr`] for less than a year.
///
/// # Errors
/// [`UndefinedReason::TooFewCashFlowDates`], [`UndefinedReason::OneSignOnly`] or [`UndefinedReason::NoSolution`].
pub fn xirr(series: &Series, work: &mut Workings) -> Figure {
    Ok(solve(series, work)?.rate)
}

/// The money-weighted return of the window, a ratio that is not annualized: `(1 + ρ)^(days/365) − 1`, where ρ is the
/// result of [`xirr`] and `days` are the calendar days from the first to the last cash flow. For a single deposit it is
/// the simple return.
///
/// # Errors
/// The same as [`xirr`].
pub fn mwr(series: &Series, work: &mut Workings) -> Figure {
    Ok(solve(series, work)?.mwr(work))
}
/// The rate that balances the cash flows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Solution {
    /// `x = ln (1 + ρ)`.
    log_rate: f64,
    /// [`xirr`].
    pub rate: f64,
    days: i64,
}

impl Solution {
    /// [`mwr`].
    pub fn mwr(&self, work: &mut Workings) -> f64 {
        let Self { log_rate, rate, days } = *self;
        work.ratio("xirr", "Money-weighted return per year", rate);
        work.step("calendar_days", "Days from the first to the last cash flow", || Value::Days(days));
        // From the logarithm, because the yearly rate of a few days may have no digits left.
        (log_rate * statistics::days(days) / statistics::days(DAYS_OF_YEAR)).exp_m1()
    }
}

/// Finds the rate of [`xirr`].
pub(super) fn solve(series: &Series, work: &mut Workings) -> Figure<Solution> {
    let flows = cash_flows(series);
    let first = flows.first_key_value().map(|(date, _)| *date);
    let since = |date: NaiveDate| first.map_or(0, |first| (date - first).num_days());
    work.input("cash_flows", "Cash flows", || {
        let columns = [("date", "Date"), ("days", "Days since the first"), ("cash_flow", "Amount")];
        let row = |(date, amount): (&NaiveDate, &Money)| {
            vec![Value::Date(*date), Value::Days(since(*date)), Value::Money(amount.clone())]
        };
        Value::Table(Table::new(&columns, flows.iter().map(row)))
    });
    let (start_on, end_on) = series.span()?;
    if start_on == end_on {
        return Err(UndefinedReason::TooFewCashFlowDates { have: 1, need: 2 });
    }
    if flows.values().all(Money::is_positive) || flows.values().all(Money::is_negative) {
        return Err(UndefinedReason::OneSignOnly);
    }
    let dated: Vec<(f64, f64)> =
        flows.iter().map(|(date, amount)| (statistics::days(since(*date)), amount.to_f64())).collect();
    let log_rate = root(|x| present_value(&dated, x)).ok_or(UndefinedReason::NoSolution)?;
    let rate = log_rate.exp_m1();
    if !rate.is_finite() {
        return Err(UndefinedReason::NoSolution);
    }
    work.number("log_rate", "Natural logarithm of 1 + rate", log_rate);
    work.number("present_value", "Cash flows discounted at the rate", present_value(&dated, log_rate));
    let days = flows.last_key_value().map_or(0, |(date, _)| since(*date));
    Ok(Solution { log_rate, rate, days })
}

/// The cash flows by date, without dates on which they cancel out.
fn cash_flows(series: &Series) -> BTreeMap<NaiveDate, Money> {
    let mut flows: BTreeMap<NaiveDate, Money> = BTreeMap::new();
    let mut add = |date: NaiveDate, amount: Money| {
        *flows.entry(date).or_insert_with(Money::zero) += &amount;
    };
    if let Some(before) = &series.before {
        add(before.date, -before.total_value.clone());
    }
    for (date, flow) in series.flows() {
        add(date, -flow.clone());
    }
    if let Some(last) = series.last_day() {
        add(last.date, last.end_value.clone());
    }
    flows.retain(|_, amount| !amount.is_zero());
    flows
}

/// `Σ cf · exp(−x · d / 365)`; exponents are clamped so that the result is never infinite.
fn present_value(flows: &[(f64, f64)], x: f64) -> f64 {
    const LARGEST_EXPONENT: f64 = 700.0;
    let year = statistics::days(DAYS_OF_YEAR);
    let discounted = |(days, amount): &(f64, f64)| {
        amount * (-x * days / year).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp()
    };
    flows.iter().map(discounted).sum()
}

/// The root of `f` nearest to zero. The brackets from zero to ±0.01, ±0.02, ±0.04 and so on are tried in turn, and the
/// first one with a change of sign is bisected. `None` when there is none up to ±2^17.
///
/// Newton's method, which spreadsheets use, does not converge for a nearly total loss or for windows of a few days.
fn root(f: impl Fn(f64) -> f64) -> Option<f64> {
    const WIDEST: f64 = 131_072.0;
    let at_zero = f(0.0);
    if at_zero == 0.0 {
        return Some(0.0);
    }
    let mut width = 0.01;
    while width <= WIDEST {
        for end in [width, -width] {
            if f(end).signum() != at_zero.signum() {
                return Some(bisect(&f, end, at_zero.signum()));
            }
        }
        width *= 2.0;
    }
    None
}

/// Halves the bracket from zero to `end` until no number is left between its ends. `sign` is that of `f(0)`.
fn bisect(f: impl Fn(f64) -> f64, end: f64, sign: f64) -> f64 {
    let (mut near, mut far) = (0.0, end);
    loop {
        let middle = f64::midpoint(near, far);
        if middle == near || middle == far {
            return middle;
        }
        match f(middle).signum() == sign {
            true => near = middle,
            false => far = middle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::Close;
    use crate::performance::series::tests::series;

    fn dated(rows: &[(&str, &str, &str)]) -> Series {
        let close = |(date, value, flow): &(&str, &str, &str)| Close {
            date: date.parse().unwrap(),
            total_value: value.parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        Series::new(None, &rows.iter().map(close).collect::<Vec<_>>())
    }

    fn both(series: &Series) -> (f64, f64) {
        let off = &mut Workings::off();
        (xirr(series, off).unwrap(), mwr(series, off).unwrap())
    }

    #[test]
    fn a_single_deposit_earns_its_plain_return() {
        let (yearly, period) = both(&dated(&[("2025-01-01", "1000", "1000"), ("2026-01-01", "1100", "0")]));
        assert!((yearly - 0.1).abs() < 1e-13 && (period - 0.1).abs() < 1e-13);
    }

    /// The example of Microsoft's documentation of XIRR: 37.3362535 %.
    #[test]
    fn the_published_example_of_spreadsheets() {
        let rows = [
            ("2008-01-01", "10000", "10000"),
            ("2008-03-01", "10000", "-2750"),
            ("2008-10-30", "10000", "-4250"),
            ("2009-02-15", "10000", "-3250"),
            ("2009-04-01", "0", "-2750"),
        ];
        let yearly = xirr(&dated(&rows), &mut Workings::off()).unwrap();
        assert!((yearly - 0.373_362_535).abs() < 1e-8, "{yearly}");
    }

    #[test]
    fn late_deposits_have_less_weight() {
        // 1000 doubles, then 10,000 more lose a tenth: time-weighted +80 %, money-weighted a loss.
        let series = series(&[("1000", "1000"), ("2000", "0"), ("12000", "10000"), ("10800", "0")]);
        assert!(both(&series).1 < 0.0);
    }

    /// Cases in which Newton's method fails: a fall of 30 % in five days, a nearly total loss, and +40 % in three days.
    #[test]
    fn cases_that_defeat_newtons_method_are_solved() {
        for (value, days, growth) in
            [("700", 5, 0.7_f64), ("0.01", 1500, 1e-5), ("1400", 3, 1.4), ("2000", 1, 2.0)]
        {
            let last = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + chrono::Days::new(days);
            let last = last.to_string();
            let (yearly, period) = both(&dated(&[("2026-01-01", "1000", "1000"), (&last, value, "0")]));
            assert!((period / (growth - 1.0) - 1.0).abs() < 1e-12, "{period} for {growth}");
            let exact = (growth.ln() * 365.0 / f64::from(u32::try_from(days).unwrap())).exp_m1();
            assert!((yearly / exact - 1.0).abs() < 1e-9, "{yearly} for {exact}");
        }
    }

    /// A deposit of 1600, a withdrawal of 10,000, a deposit of 10,000: both 25 % and 400 % per year balance them.
    #[test]
    fn the_rate_nearest_to_zero_is_chosen_among_several() {
        let series = dated(&[
            ("2021-01-01", "1600", "1600"),
            ("2022-01-01", "5000", "-10000"),
            ("2023-01-01", "0", "10000"),
        ]);
        assert!((xirr(&series, &mut Workings::off()).unwrap() - 0.25).abs() < 1e-12);
    }

    #[test]
    fn time_after_the_last_withdrawal_does_not_count() {
        let rows = [("2024-01-01", "1000", "1000"), ("2025-01-01", "0", "-1100"), ("2026-01-01", "0", "0")];
        let (yearly, period) = both(&dated(&rows));
        // 2024 has 366 days.
        assert!((period - 0.1).abs() < 1e-13 && yearly < 0.1);
    }

    #[test]
    fn undefined_cases_have_a_reason() {
        let reason = |rows: &[(&str, &str)]| xirr(&series(rows), &mut Workings::off()).unwrap_err();
        assert_eq!(reason(&[]), UndefinedReason::NothingInvested);
        assert_eq!(reason(&[("0", "0"), ("0", "0")]), UndefinedReason::NothingInvested);
        let one_day = UndefinedReason::TooFewCashFlowDates { have: 1, need: 2 };
        assert_eq!(reason(&[("1100", "1000")]), one_day);
        assert_eq!(reason(&[("1000", "1000"), ("0", "0")]), UndefinedReason::OneSignOnly);
        assert_eq!(reason(&[("1000", "1000"), ("500", "500"), ("0", "0")]), UndefinedReason::OneSignOnly);
    }
}
