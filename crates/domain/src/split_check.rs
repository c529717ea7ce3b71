//! Confirms or contradicts an announced split by the first price after it.
//!
//! News can be wrong. A split is booked at its effective time, and the first later price is compared with the expected
//! one. Until that price comes, orders in the stock do not fill.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::order::keywords;
use crate::{Price, SplitRatio, Timestamp};

/// The largest difference between the expected price and a confirming one, in percent of the expected price, inclusive.
pub const SPLIT_TOLERANCE_PERCENT: u32 = 25;

keywords! {
    SplitConfirmation {
        /// Announced or in effect, without a later price yet.
        Awaiting = "awaiting",
        /// Confirmed by a price or an administrator.
        Confirmed = "confirmed",
        /// A price contradicts it: the split is reversed, and trading in the stock is halted until it is resolved.
        Suspended = "suspended",
        /// The split did not happen, or another split has replaced it: it is reversed.
        Withdrawn = "withdrawn",
    }
}

impl SplitConfirmation {
    /// Whether shares and prices are in the shares after the split.
    pub fn is_in_force(self) -> bool {
        matches!(self, Self::Awaiting | Self::Confirmed)
    }

    /// Whether orders in the stock do not fill because of the split.
    pub fn holds_trading(self) -> bool {
        matches!(self, Self::Awaiting | Self::Suspended)
    }
}

/// The verdict of a price about a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitVerdict {
    Confirmed,
    Contradicted,
}

/// Compares the first price after a split with the expected one: the last accepted price before the split, converted
/// to the shares of `found`. A price within [`SPLIT_TOLERANCE_PERCENT`] confirms the split; any other contradicts it.
/// Exact; nothing is rounded.
///
/// A split that changes a price by less than the tolerance, such as 6:5, cannot be distinguished from no split by one
/// price.
pub fn judge_split(expected: &Price, found: &Price) -> SplitVerdict {
    let distance = (&found.0 - &expected.0).abs();
    let within = &distance * &Decimal::whole(100) <= &expected.0 * &SPLIT_TOLERANCE_PERCENT.into();
    if within { SplitVerdict::Confirmed } else { SplitVerdict::Contradicted }
}

/// The state of a split's confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitCheck {
    pub confirmation: SplitConfirmation,
    /// The last accepted price before the split with its market time, in the shares of that time.
    pub reference: Option<(Price, Timestamp)>,
    /// The expected price after the split and the first one, both in the shares after the split.
    pub compared: Option<(Price, Price)>,
    /// Whether an administrator has decided on the split, so that prices no longer count.
    pub by_administrator: bool,
}

/// Why orders in a stock do not fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradingHold {
    /// Orders are accepted and wait for the first price after the split.
    AwaitingSplit { ratio: SplitRatio },
    /// Orders are not accepted, and open ones wait until the split is resolved.
    SplitContradicted {
        ratio: SplitRatio,
        /// The expected and the found price, in the shares after the split.
        compared: Option<(Price, Price)>,
    },
}

impl TradingHold {
    /// Whether trading is halted, so that new orders are rejected.
    pub fn is_halt(&self) -> bool {
        matches!(self, Self::SplitContradicted { .. })
    }
}

impl fmt::Display for TradingHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitingSplit { ratio } => {
                write!(f, "orders wait for the first price after the {ratio} split, which has to confirm it")
            }
            Self::SplitContradicted { ratio, compared: Some((expected, found)) } => write!(
                f,
                "trading is halted: the announced {ratio} split leads to a price of about {expected}, and the first \
                 price is {found}; orders wait until corrected news or an administrator resolves it"
            ),
            Self::SplitContradicted { ratio, compared: None } => write!(
                f,
                "trading is halted: the announced {ratio} split is in doubt; orders wait until corrected news or an \
                 administrator resolves it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_within_a_quarter_of_the_expected_one_confirms_a_split() {
        for (expected, found, verdict) in [
            ("9.04", "9.04", SplitVerdict::Confirmed),
            ("100.00", "125.00", SplitVerdict::Confirmed),
            ("100.00", "125.01", SplitVerdict::Contradicted),
            ("100.00", "75.00", SplitVerdict::Confirmed),
            ("100.00", "74.99", SplitVerdict::Contradicted),
            // The cases: a 20:1 split was announced and 2:1 happened; no split happened; the reverse happened.
            ("4.50", "45.00", SplitVerdict::Contradicted),
            ("45.00", "90.00", SplitVerdict::Contradicted),
            ("9.00", "900.00", SplitVerdict::Contradicted),
            ("0.0001", "0.0001", SplitVerdict::Confirmed),
            ("0.0001", "0.0002", SplitVerdict::Contradicted),
        ] {
            let (expected, found): (Price, Price) = (expected.parse().unwrap(), found.parse().unwrap());
            assert_eq!(judge_split(&expected, &found), verdict, "{expected} and {found}");
        }
    }

    #[test]
    fn only_splits_in_force_count_and_only_undecided_ones_hold_trading() {
        for (confirmation, in_force, holds) in [
            (SplitConfirmation::Awaiting, true, true),
            (SplitConfirmation::Confirmed, true, false),
            (SplitConfirmation::Suspended, false, true),
            (SplitConfirmation::Withdrawn, false, false),
        ] {
            assert_eq!((confirmation.is_in_force(), confirmation.holds_trading()), (in_force, holds));
        }
    }
}
