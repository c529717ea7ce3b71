//! The fractions of shares that rounding cuts off at splits. With them, a split and its reverse restore the number of
//! shares.

use std::collections::BTreeMap;

use crate::decimal::Decimal;
use crate::journal::{BookedTerms, JournalEntry, booked_since};
use crate::{Quantity, SplitRatio, StockId, TransactionType};

/// Above this denominator, after many unusual splits, the remainder is dropped: it is less than 0.000000001 of a share.
const LARGEST_DENOMINATOR: u64 = 1_000_000_000_000;

/// The fraction of a position that nine decimals cannot express: less than 0.000000001 of a share, exact. It is not
/// shown, not traded and worth nothing; it counts only when the next split multiplies the shares. A closed position
/// has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRemainder {
    numerator: Decimal,
    denominator: Decimal,
}

impl Default for ShareRemainder {
    fn default() -> Self {
        Self { numerator: Decimal::ZERO, denominator: Decimal::whole(1) }
    }
}

impl ShareRemainder {
    /// The remainder after all lines of one stock in one portfolio, which are ordered by id.
    pub fn of_journal(entries: &[JournalEntry]) -> Self {
        let mut remainders = ShareRemainders::default();
        let mut held = Quantity::zero();
        for (index, entry) in entries.iter().enumerate() {
            let (added, taken) = entry.shares();
            held = (held + &added).checked_sub(&taken).unwrap_or_else(Quantity::zero);
            remainders.follow(entry, booked_since(entry, &entries[..index]).is_empty(), &held);
        }
        remainders.0.into_values().next().unwrap_or_default()
    }

    /// Converts `quantity` shares and the remainder, rounded down to nine decimals; the rest becomes the new remainder.
    pub fn split(&mut self, quantity: &Quantity, ratio: SplitRatio) -> Quantity {
        let exact = &self.exact(quantity) * &ratio.numerator.get().into();
        self.round_down(&exact, &self.denominator * &ratio.denominator.get().into())
    }

    /// Reverses a split, so that `after` shares and the remainder become `before` shares.
    fn unsplit(&mut self, after: &Quantity, ratio: SplitRatio, before: &Quantity) {
        let exact = &self.exact(after) * &ratio.denominator.get().into();
        let denominator = &self.denominator * &ratio.numerator.get().into();
        if self.round_down(&exact, denominator) != *before {
            *self = Self::default();
        }
    }

    fn exact(&self, quantity: &Quantity) -> Decimal {
        &(&quantity.0 * &self.denominator) + &self.numerator
    }

    fn round_down(&mut self, numerator: &Decimal, denominator: Decimal) -> Quantity {
        let quantity = Quantity::quotient(numerator, &denominator);
        let rest = numerator - &(&quantity.0 * &denominator);
        *self = match rest.is_zero() || denominator > LARGEST_DENOMINATOR.into() {
            true => Self::default(),
            false => Self { numerator: rest, denominator },
        };
        quantity
    }
}

/// The remainders of a portfolio's positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShareRemainders(BTreeMap<StockId, ShareRemainder>);

impl ShareRemainders {
    pub fn remainder(&self, stock: StockId) -> ShareRemainder {
        self.0.get(&stock).cloned().unwrap_or_default()
    }

    /// Applies a journal entry. For a split, `in_time` is true if no line of the stock was booked after it took effect.
    /// `held` are the shares after the entry. A split that was booked by the old rule, without remainders, has none.
    pub fn follow(&mut self, entry: &JournalEntry, in_time: bool, held: &Quantity) {
        let Some(stock) = entry.stock_id else { return };
        let mut remainder = self.0.remove(&stock).unwrap_or_default();
        match (entry.transaction_type, &entry.action, &entry.reverses) {
            _ if held.is_zero() => return,
            (TransactionType::Split, Some(action), _) => {
                let BookedTerms::Split { ratio, before } = &action.terms else { return };
                if !in_time || remainder.split(before, *ratio) != *held {
                    return;
                }
            }
            (TransactionType::Reversal, _, Some(reversal)) => {
                let Some(ratio) = reversal.ratio else { return };
                remainder.unsplit(&reversal.before, ratio, held);
            }
            _ => {}
        }
        if remainder != ShareRemainder::default() {
            self.0.insert(stock, remainder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(shares: &str, ratios: &[&str]) -> String {
        let mut remainder = ShareRemainder::default();
        let mut quantity: Quantity = shares.parse().unwrap();
        for ratio in ratios {
            quantity = remainder.split(&quantity, ratio.parse().unwrap());
        }
        quantity.to_string()
    }

    #[test]
    fn a_split_and_its_reverse_give_the_same_shares_again() {
        assert_eq!(through("100", &["1:3"]), "33.333333333");
        assert_eq!(through("100", &["1:3", "3:1"]), "100");
        assert_eq!(through("100", &["1:7", "7:1"]), "100");
        assert_eq!(through("100", &["1:3", "2:1", "1:7", "21:2"]), "100");
        assert_eq!(through("0.000000001", &["1:3", "3:1"]), "0.000000001");
    }

    proptest! {
        #[test]
        fn any_split_and_its_reverse_give_the_same_shares_again(
            nanos in 1_i64..1_000_000_000_000,
            ratios in prop::collection::vec((1_u32..100, 1_u32..100), 1..4),
        ) {
            let shares = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            let there = ratios.iter().map(|(new, old)| format!("{new}:{old}"));
            let back = ratios.iter().rev().map(|(new, old)| format!("{old}:{new}"));
            let all: Vec<String> = there.chain(back).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let expected: Quantity = shares.parse().unwrap();
            let found: Quantity = through(&shares, &all).parse().unwrap();
            // Denominators beyond the limit drop the remainder.
            let denominator = ratios.iter().map(|(new, old)| u128::from(*new) * u128::from(*old)).product::<u128>();
            if denominator <= u128::from(LARGEST_DENOMINATOR) {
                prop_assert_eq!(found, expected);
            }
        }
    }
}
