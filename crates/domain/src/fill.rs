//! One execution of an order, and the receipt that tells how its price came about.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::PriceChange;
use crate::order::keywords;
use crate::{Money, Price, PriceSource, Quantity, Side, Timestamp};

keywords! {
    /// Which price of the quote a fill took.
    FillRule {
        /// A buy at what the market asked.
        Ask = "ask",
        /// A sell at what the market bid.
        Bid = "bid",
        /// The last trade, because the source gives no bid and ask.
        Last = "last",
        /// The first price of a session, for an order at the opening.
        Open = "open",
        /// The last price of a session, for an order at the close.
        Close = "close",
    }
}

/// Where a fill's price is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub source: PriceSource,
    /// Market time of the quote.
    pub quoted_at: Timestamp,
    pub rule: FillRule,
    /// The quote's price that the rule names, before slippage.
    pub quoted_price: Price,
}

impl Receipt {
    /// What the trader lost per share against the quoted price: positive is worse, for buys and sells alike.
    pub fn slippage(&self, side: Side, price: &Price) -> PriceChange {
        match side {
            Side::Buy => price.minus(&self.quoted_price),
            Side::Sell => self.quoted_price.minus(price),
        }
    }
}

/// One execution: what changed hands, at what price, when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    pub side: Side,
    pub quantity: Quantity,
    pub price: Price,
    pub at: Timestamp,
    pub receipt: Receipt,
}

impl Fill {
    /// `quantity × price`, half-even to the cent; positive for both sides.
    pub fn gross(&self) -> Money {
        self.price.times(&self.quantity)
    }
}
