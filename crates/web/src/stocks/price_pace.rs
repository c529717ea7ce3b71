//! How often prices are updated, in words: for administrators, and for users with orders if updates are rare.

use serde::Serialize;
use services::Services;
use services::stocks::price_pace::{PriceInterval, PriceIntervals};

use crate::shell::format;

/// The update intervals on the administrators' page.
#[derive(Serialize)]
pub struct PaceView {
    /// Whether to warn that updates are slow.
    slow: bool,
    groups: Vec<GroupRow>,
    /// Calls that the current session has left for prices; empty without a daily limit.
    left: String,
    /// Calls reserved for closes and corporate actions; empty without a daily limit.
    kept: String,
    calls_per_minute: String,
}

#[derive(Serialize)]
struct GroupRow {
    label: &'static str,
    stocks: String,
    comes: String,
}

impl From<&PriceIntervals> for PaceView {
    fn from(intervals: &PriceIntervals) -> Self {
        let row = |label, group: PriceInterval| GroupRow {
            label,
            stocks: format::count(group.stocks),
            comes: comes(group.minutes),
        };
        Self {
            slow: intervals.is_slow(),
            groups: [
                ("With open orders", intervals.ordered),
                ("Held", intervals.held),
                ("Watched", intervals.watched),
            ]
            .into_iter()
            .filter(|(_, group)| group.stocks > 0)
            .map(|(label, group)| row(label, group))
            .collect(),
            left: intervals.calls_left.map_or_else(String::new, format::count),
            kept: intervals.calls_left.map_or_else(String::new, |_| format::count(intervals.calls_kept)),
            calls_per_minute: format!("{:.2}", intervals.calls_per_minute),
        }
    }
}

fn comes(minutes: Option<u32>) -> String {
    match minutes {
        None => "no calls are left".to_owned(),
        Some(1) => "every minute".to_owned(),
        Some(minutes) => format!("every {} minutes", format::count(minutes)),
    }
}

/// A note for the page of a stock and the order ticket about how often limit and stop orders are matched; empty if this
/// is often enough.
pub async fn note_on_orders(services: &Services) -> String {
    // If this fails, the page is shown without the note.
    let Ok(Some(intervals)) = services.stocks().price_intervals().await else { return String::new() };
    sentence(intervals.slow_minutes_for_orders())
}

fn sentence(minutes: Option<u32>) -> String {
    minutes.map_or_else(String::new, |minutes| {
        format!(
            "Prices for open orders are updated about {} at the moment, and limit and stop orders are matched only that often.",
            comes(Some(minutes))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_intervals_are_described_in_words() {
        assert_eq!(comes(Some(1)), "every minute");
        assert_eq!(comes(Some(26)), "every 26 minutes");
        assert_eq!(comes(None), "no calls are left");
        assert_eq!(sentence(None), "");
        assert_eq!(
            sentence(Some(26)),
            "Prices for open orders are updated about every 26 minutes at the moment, and limit and stop orders are matched only that often."
        );
    }
}
