//! Deposits and withdrawals on the charts of a portfolio.

use chrono::NaiveDate;
use domain::Money;
use domain::performance::Point;

use crate::shell::format;

/// A chart with more marks than this shows them without amounts.
const MAX_LABELS: usize = 3;
/// The description for screen readers lists this many flows; the table of daily values has all of them.
const MAX_LISTED: usize = 6;

/// The days of a window with a deposit or withdrawal. The first day is left out, because its flow is part of the line's
/// first value.
pub struct FlowMarks<'a>(Vec<(NaiveDate, &'a Money)>);

impl<'a> FlowMarks<'a> {
    /// Finds the flows of `points`, which are the points of the chart's line in order of date.
    pub fn new(points: &'a [Point]) -> Self {
        let flows = points.iter().skip(1).map(|point| (point.close.date, &point.close.net_flow));
        Self(flows.filter(|(_, flow)| !flow.is_zero()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The marks of the chart: day and label.
    pub fn marks(&self) -> Vec<(NaiveDate, String)> {
        let named = self.0.len() <= MAX_LABELS;
        let label = |flow: &Money| if named { text(flow) } else { String::new() };
        self.0.iter().map(|(date, flow)| (*date, label(flow))).collect()
    }

    /// A sentence for the chart's description, with a leading space; empty without flows.
    pub fn sentence(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let listed = self.0.iter().take(MAX_LISTED);
        let listed: Vec<String> =
            listed.map(|(date, flow)| format!("{} on {}", text(flow), format::date(*date))).collect();
        let more = self.0.len().saturating_sub(MAX_LISTED);
        let more = if more > 0 { format!(", and {} more", format::count(more)) } else { String::new() };
        format!(" Marked: {}{more}.", listed.join(", "))
    }
}

fn text(flow: &Money) -> String {
    let kind = if flow.is_negative() { "withdrawal" } else { "deposit" };
    format!("{kind} {}", format::money(&flow.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::performance::{Close, Performance};

    fn points(flows: &[&str]) -> Vec<Point> {
        let first = NaiveDate::from_ymd_opt(2026, 11, 2).unwrap();
        let close = |(day, flow): (u64, &&str)| Close {
            date: first + chrono::Days::new(day),
            total_value: "1000".parse().unwrap(),
            net_flow: flow.parse().unwrap(),
        };
        Performance::measure(None, (0..).zip(flows).map(close).collect()).points
    }

    #[test]
    fn flows_after_the_first_day_are_marked_and_listed() {
        let points = points(&["1000", "0", "2500", "-10.5"]);
        let marks = FlowMarks::new(&points);
        let labels: Vec<String> = marks.marks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["deposit 2,500.00", "withdrawal 10.50"]);
        assert_eq!(
            marks.sentence(),
            " Marked: deposit 2,500.00 on 4 Nov 2026, withdrawal 10.50 on 5 Nov 2026."
        );
    }

    #[test]
    fn many_flows_are_marked_without_amounts_and_counted() {
        let points = points(&["1", "1", "1", "1", "1", "1", "1", "1", "1"]);
        let marks = FlowMarks::new(&points);
        assert!(marks.marks().len() == 8 && marks.marks().iter().all(|(_, label)| label.is_empty()));
        assert!(
            marks.sentence().ends_with("deposit 1.00 on 8 Nov 2026, and 2 more."),
            "{}",
            marks.sentence()
        );
    }

    #[test]
    fn without_flows_there_is_no_sentence() {
        let points = points(&["1000", "0"]);
        let marks = FlowMarks::new(&points);
        assert!(marks.is_empty() && marks.marks().is_empty() && marks.sentence().is_empty());
    }
}
