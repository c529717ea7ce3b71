//! The words of an order: side, type, time in force, class and status.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text is none of the words that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be {}", .expected.join(" or "))]
pub struct UnknownWord {
    pub expected: &'static [&'static str],
}

macro_rules! keywords {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
        #[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl FromStr for $name {
            type Err = crate::order::UnknownWord;

            fn from_str(text: &str) -> Result<Self, crate::order::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::order::UnknownWord { expected: &[$($word),+] }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}
pub(crate) use keywords;

keywords! {
    Side { Buy = "buy", Sell = "sell" }

    OrderType {
        /// Fills at the market's price.
        Market = "market",
        /// Fills at its limit or better.
        Limit = "limit",
        /// Becomes a market order when the market reaches its stop.
        Stop = "stop",
        /// Becomes a limit order when the market reaches its stop.
        StopLimit = "stop_limit",
        /// A stop that follows the market's best price at a distance.
        TrailingStop = "trailing_stop",
    }

    /// How long an order works.
    TimeInForce {
        /// Until the session's close.
        Day = "day",
        /// Until it is canceled.
        Gtc = "gtc",
        /// Fills what it can at once; the rest is canceled.
        Ioc = "ioc",
        /// Fills in full at once or is canceled.
        Fok = "fok",
        /// At the first price of the next session, or not at all.
        Opg = "opg",
        /// At the session's closing price, or not at all.
        Cls = "cls",
    }

    /// How orders belong together.
    OrderClass {
        Simple = "simple",
        /// An entry with two exits: a take-profit and a stop-loss. They work once the entry has ended, for what it
        /// bought; one cancels the other.
        Bracket = "bracket",
        /// Two exits for shares already held; one cancels the other.
        Oco = "oco",
        /// An entry with one exit.
        Oto = "oto",
    }

    OrderStatus {
        /// An exit that waits for its entry.
        Held = "held",
        Accepted = "accepted",
        PartiallyFilled = "partially_filled",
        Filled = "filled",
        Canceled = "canceled",
        Expired = "expired",
        /// Accepted, and later found impossible to fill: cash or shares did not suffice at the price.
        Rejected = "rejected",
        Replaced = "replaced",
    }
}

impl OrderStatus {
    /// Whether something can still become of it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether prices fill it.
    pub fn is_working(self) -> bool {
        matches!(self, Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether a status may follow another. What has ended stays as it is; what has filled in part is not accepted
    /// again; an exit that waits can begin to work or end without a fill.
    pub fn may_become(self, next: Self) -> bool {
        use OrderStatus::{Accepted, Canceled, Expired, Filled, Held, PartiallyFilled, Rejected, Replaced};
        match self {
            Held => matches!(next, Accepted | Canceled | Expired | Replaced),
            Accepted | PartiallyFilled => {
                matches!(next, PartiallyFilled | Filled | Canceled | Expired | Rejected | Replaced)
            }
            Filled | Canceled | Expired | Rejected | Replaced => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays_as_it_is() {
        for from in OrderStatus::ALL.iter().filter(|status| !status.is_open()) {
            for to in OrderStatus::ALL {
                assert!(!from.may_become(*to), "{from} became {to}");
            }
        }
        for from in OrderStatus::ALL.iter().filter(|status| status.is_open()) {
            assert!(from.may_become(OrderStatus::Canceled) && from.may_become(OrderStatus::Replaced));
            assert!(!from.may_become(OrderStatus::Held));
        }
        assert!(!OrderStatus::PartiallyFilled.may_become(OrderStatus::Accepted));
        assert!(!OrderStatus::Held.may_become(OrderStatus::Filled));
    }
}
