//! Splits and dividends that come with answers about prices.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{NaiveDate, TimeDelta};
use domain::{CorporateAction, Symbol, Timestamp};

/// How long an answer tells of the present.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(10);
/// Symbols that are remembered. Beyond that all are forgotten: the next answers tell again.
const MOST_SYMBOLS: usize = 10_000;

/// What answers about the prices of one symbol have told of its splits and dividends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionsSeen {
    /// In order of `ex_on`.
    pub actions: Vec<CorporateAction>,
    /// Each answer that still tells of the present: from which day on it told all, and when it came.
    answers: Vec<(NaiveDate, Timestamp)>,
}

impl ActionsSeen {
    /// Whether answers of the last ten minutes have told all that has happened since `first`, that day included.
    pub fn covers(&self, first: NaiveDate, at: Timestamp) -> bool {
        self.answers.iter().any(|(since, told_at)| *since <= first && is_fresh(*told_at, at))
    }

    /// Takes in an answer that tells all from the day `since` on.
    fn take_in(&mut self, since: NaiveDate, actions: Vec<CorporateAction>, at: Timestamp) {
        self.actions.retain(|action| action.ex_on < since);
        self.actions.extend(actions);
        self.actions.sort_by_key(|action| (action.ex_on, action.precedence()));
        self.answers.retain(|(_, told_at)| is_fresh(*told_at, at));
        self.answers.retain(|(other, _)| *other < since);
        self.answers.push((since, at));
    }
}

fn is_fresh(told_at: Timestamp, at: Timestamp) -> bool {
    (at - told_at).abs() <= FRESH_FOR
}

/// [`ActionsSeen`] of many symbols, in the memory of one process.
#[derive(Debug, Default)]
pub(crate) struct SeenBySymbol(Mutex<HashMap<Symbol, ActionsSeen>>);

impl SeenBySymbol {
    pub(crate) fn take_in(
        &self,
        symbol: &Symbol,
        since: NaiveDate,
        actions: Vec<CorporateAction>,
        at: Timestamp,
    ) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_SYMBOLS && !seen.contains_key(symbol) {
            seen.clear();
        }
        seen.entry(symbol.clone()).or_default().take_in(since, actions, at);
    }

    pub(crate) fn of(&self, symbol: &Symbol) -> Option<ActionsSeen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use domain::CorporateActionKind;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn split(on: &str) -> CorporateAction {
        let side = |side| NonZeroU32::new(side).unwrap();
        let kind = CorporateActionKind::Split { numerator: side(2), denominator: side(1) };
        CorporateAction::new("AAPL".parse().unwrap(), day(on), kind)
    }

    #[test]
    fn an_answer_replaces_what_is_known_of_its_days_and_covers_them_for_ten_minutes() {
        let (mut seen, at) = (ActionsSeen::default(), Timestamp::from(chrono::DateTime::UNIX_EPOCH));
        let minutes = |n| at + TimeDelta::minutes(n);
        seen.take_in(day("2000-01-01"), vec![split("2020-08-31"), split("2026-11-20")], at);
        assert!(seen.covers(day("2026-11-01"), minutes(10)) && !seen.covers(day("2026-11-01"), minutes(11)));
        // An answer for one day, on which the split is no longer told.
        seen.take_in(day("2026-11-20"), Vec::new(), minutes(5));
        assert_eq!(seen.actions, [split("2020-08-31")]);
        assert!(seen.covers(day("2026-11-01"), minutes(10)));
        assert!(seen.covers(day("2026-11-20"), minutes(15)) && !seen.covers(day("2026-11-19"), minutes(15)));
        seen.take_in(day("2026-11-23"), vec![split("2026-11-23")], minutes(30));
        assert_eq!(seen.actions, [split("2020-08-31"), split("2026-11-23")]);
        assert!(!seen.covers(day("2026-11-20"), minutes(30)));
    }
}
