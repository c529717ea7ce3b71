//! One execution of an order, and the receipt that tells how its price came about.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Money, Price, PriceSource, Quantity, Side, Timestamp};

/// Which price of the quote a fill took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
pub enum FillRule {
    /// A buy at what the market asked.
    Ask,
    /// A sell at what the market bid.
    Bid,
    /// The last trade, because the source gives no bid and ask.
    Last,
}

impl FillRule {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Bid => "bid",
            Self::Last => "last",
        }
    }
}

impl FromStr for FillRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Ask, Self::Bid, Self::Last]
            .into_iter()
            .find(|rule| rule.as_str() == text)
            .ok_or_else(|| format!("no fill rule is called {text:?}"))
    }
}

/// Where a fill's price is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub source: PriceSource,
    /// Market time of the quote.
    pub quoted_at: Timestamp,
    pub rule: FillRule,
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
