//! The keywords of orders: side, type, time in force, class and status.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not one of the keywords of a field.
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
        /// Fills at the market price.
        Market = "market",
        /// Fills at the limit or a better price.
        Limit = "limit",
        /// Becomes a market order when the market reaches the stop.
        Stop = "stop",
        /// Becomes a limit order when the market reaches the stop.
        StopLimit = "stop_limit",
        /// A stop that follows the market's best price at a fixed distance.
        TrailingStop = "trailing_stop",
    }

    /// How long an order stays open.
    TimeInForce {
        /// Until the close of the session.
        Day = "day",
        /// Until it is canceled.
        Gtc = "gtc",
        /// Fills as much as possible immediately; the rest is canceled.
        Ioc = "ioc",
        /// Fills completely and immediately, or is canceled.
        Fok = "fok",
        /// At the first price of the next session, or not at all.
        Opg = "opg",
        /// At the session's closing price, or not at all.
        Cls = "cls",
    }

    /// How orders are linked.
    OrderClass {
        Simple = "simple",
        /// An entry with two exits: a take-profit and a stop-loss. The exits become active when the entry has ended,
        /// for the shares it bought; the fill of one cancels the other.
        Bracket = "bracket",
        /// Two exits for shares already held; the fill of one cancels the other.
        Oco = "oco",
        /// An entry with one exit.
        Oto = "oto",
    }

    OrderStatus {
        /// An exit that waits for its entry to fill.
        Held = "held",
        Accepted = "accepted",
        PartiallyFilled = "partially_filled",
        Filled = "filled",
        Canceled = "canceled",
        Expired = "expired",
        /// Accepted, but impossible to fill later, because cash or shares are insufficient at the price.
        Rejected = "rejected",
        Replaced = "replaced",
    }
}

impl OrderStatus {
    /// Whether the order is not in a final state.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether prices can fill the order.
    pub fn is_working(self) -> bool {
        matches!(self, Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether the status may change to `next`. Final states never change, a partially filled order does not become
    /// accepted again, and a held exit can become active or end without a fill.
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
    fn final_states_never_change() {
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
