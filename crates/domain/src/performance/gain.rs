//! Gain in money, with its values and flows.

use crate::Money;
use crate::performance::{Formula, Series, Value, Workings};

pub(super) const START_VALUE: Formula = Formula {
    words: "The total value at the last close before the window. Zero if the portfolio did not exist yet.",
    symbols: "start_value = V₀",
    source: "The portfolio's snapshots",
};

pub(super) const END_VALUE: Formula = Formula {
    words: "The total value at the last close of the window: cash, market values and dividends receivable.",
    symbols: "end_value = V_T",
    source: "The portfolio's snapshots",
};

pub(super) const NET_FLOW: Formula = Formula {
    words: "All deposits of the window less all withdrawals.",
    symbols: "net_flow = Σ F",
    source: "The portfolio's deposits and withdrawals",
};

pub(super) const GAIN: Formula = Formula {
    words: "The result of price changes, dividends and trading: the value at the end, less the value at the start, \
            less deposits, plus withdrawals.",
    symbols: "gain = end_value − start_value − net_flow",
    source: "Cash flow identity of the books",
};

/// Value at the last close before the window; zero if there was none. Exact, and always defined.
pub fn start_value(series: &Series, work: &mut Workings) -> Money {
    let value = series.start_value();
    if let Some(before) = &series.before {
        work.input("start_on", "Close before the window", || Value::Date(before.date));
    }
    work.input("start_value", "Value at the start", || Value::Money(value.clone()));
    value
}

/// Value at the last close of the window. Exact; the start value if the window has no days.
pub fn end_value(series: &Series, work: &mut Workings) -> Money {
    let value = series.end_value();
    if let Some(end_on) = series.end_on() {
        work.input("end_on", "Last close of the window", || Value::Date(end_on));
    }
    work.input("end_value", "Value at the end", || Value::Money(value.clone()));
    value
}

/// Deposits less withdrawals within the window: positive when more was paid in. Exact.
pub fn net_flow(series: &Series, work: &mut Workings) -> Money {
    series.note_days(work);
    series.net_flow()
}

/// `end_value − start_value − net_flow`, exact to the cent: positive is a profit.
pub fn gain(series: &Series, work: &mut Workings) -> Money {
    let (start, end, flow) = (start_value(series, work), end_value(series, work), net_flow(series, work));
    work.step("net_flow", "Deposits less withdrawals", || Value::Money(flow.clone()));
    end - &start - &flow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::series::tests::{closes, series};

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn flows_are_not_a_gain() {
        let series = series(&[("1000", "1000"), ("1600.10", "500"), ("1299.99", "-400")]);
        assert_eq!(gain(&series, &mut Workings::off()), money("199.99"));
        assert_eq!(net_flow(&series, &mut Workings::off()), money("1100"));
    }

    #[test]
    fn a_window_without_days_has_no_gain() {
        let before = closes(&[("1000", "1000")]);
        let series = Series::new(before.first(), &[]);
        assert_eq!(gain(&series, &mut Workings::off()), Money::zero());
        assert_eq!(end_value(&series, &mut Workings::off()), money("1000"));
    }
}
