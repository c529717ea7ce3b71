//! What a person asks for: an order, and what became of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Money, OrderId, PortfolioId, Price, Quantity, StockId, Symbol, Timestamp};

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
            type Err = String;

            /// The error lists the words that are understood.
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be {}", [$($word),+].join(" or "))),
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
        /// Fills at once at the market's price.
        Market = "market",
    }

    /// How long an order works. A market order fills when it is placed, so all of these mean the same for it.
    TimeInForce { Day = "day", Gtc = "gtc", Ioc = "ioc", Fok = "fok" }

    OrderStatus { Filled = "filled" }
}

/// How much to trade: shares, or the money to spend or to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderSize {
    Quantity(Quantity),
    /// Positive; becomes a quantity at the fill's price, rounded down to nine decimals.
    Notional(Money),
}

/// The command to place an order, already well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    pub symbol: Symbol,
    pub side: Side,
    pub size: OrderSize,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    /// Names the order within its portfolio, so that a retried request is answered and not repeated.
    pub client_order_id: Option<String>,
}

impl PlaceOrder {
    /// The request in one canonical line: two requests are the same exactly when their lines are.
    pub fn canonical(&self) -> String {
        let size = match &self.size {
            OrderSize::Quantity(quantity) => format!("quantity={quantity}"),
            OrderSize::Notional(notional) => format!("notional={notional}"),
        };
        format!("{} {} {size} {} {}", self.side, self.symbol, self.order_type, self.time_in_force)
    }
}

/// An order in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub portfolio_id: PortfolioId,
    pub stock_id: StockId,
    pub symbol: Symbol,
    pub client_order_id: Option<String>,
    pub side: Side,
    pub size: OrderSize,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    pub status: OrderStatus,
    pub filled_quantity: Quantity,
    /// Per share, the average of its fills.
    pub filled_price: Price,
    pub submitted_at: Timestamp,
    pub filled_at: Timestamp,
}
