//! Splits and dividends that are contained in answers about prices.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{NaiveDate, TimeDelta};
use domain::{CorporateAction, Symbol, Timestamp};

/// How long an answer counts as current.
const FRESH_FOR: TimeDelta = TimeDelta::minutes(10);
/// The most symbols in memory. When there are more, all are dropped; the next answers report their actions again.
const MAX_SYMBOLS: usize = 10_000;

/// The splits and dividends in the answers about the prices of one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedActions {
    /// The actions, ordered by `ex_on`.
    pub actions: Vec<CorporateAction>,
    /// For each current answer: the day from which it is complete, and the time when it came.
    answers: Vec<(NaiveDate, Timestamp)>,
}

impl ObservedActions {
    /// Whether answers of the last ten minutes contain all actions since `first`, inclusive.
    pub fn covers(&self, first: NaiveDate, at: Timestamp) -> bool {
        self.answers.iter().any(|(since, told_at)| *since <= first && is_fresh(*told_at, at))
    }

    /// Adds an answer that is complete from the day `since` on.
    fn record(&mut self, since: NaiveDate, actions: Vec<CorporateAction>, at: Timestamp) {
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

/// [`ObservedActions`] of many symbols, in the memory of one process.
#[derive(Debug, Default)]
pub(crate) struct ObservedBySymbol(Mutex<HashMap<Symbol, ObservedActions>>);

impl ObservedBySymbol {
    pub(crate) fn record(
        &self,
        symbol: &Symbol,
        since: NaiveDate,
        actions: Vec<CorporateAction>,
        at: Timestamp,
    ) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SYMBOLS && !seen.contains_key(symbol) {
            seen.clear();
        }
        seen.entry(symbol.clone()).or_default().record(since, actions, at);
    }

    pub(crate) fn by_symbol(&self, symbol: &Symbol) -> Option<ObservedActions> {
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
    fn an_answer_replaces_the_actions_of_its_days_and_covers_them_for_ten_minutes() {
        let (mut seen, at) = (ObservedActions::default(), Timestamp::from(chrono::DateTime::UNIX_EPOCH));
        let minutes = |n| at + TimeDelta::minutes(n);
        seen.record(day("2000-01-01"), vec![split("2020-08-31"), split("2026-11-20")], at);
        assert!(seen.covers(day("2026-11-01"), minutes(10)) && !seen.covers(day("2026-11-01"), minutes(11)));
        // An answer about one day, which no longer contains the split.
        seen.record(day("2026-11-20"), Vec::new(), minutes(5));
        assert_eq!(seen.actions, [split("2020-08-31")]);
        assert!(seen.covers(day("2026-11-01"), minutes(10)));
        assert!(seen.covers(day("2026-11-20"), minutes(15)) && !seen.covers(day("2026-11-19"), minutes(15)));
        seen.record(day("2026-11-23"), vec![split("2026-11-23")], minutes(30));
        assert_eq!(seen.actions, [split("2020-08-31"), split("2026-11-23")]);
        assert!(!seen.covers(day("2026-11-20"), minutes(30)));
    }
}
