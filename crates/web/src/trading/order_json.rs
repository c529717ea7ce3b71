//! Orders as the API sends them.

use domain::money::{AveragePrice, PriceChange};
use domain::{
    DecimalText, FillRule, JournalEntry, Money, OrderClass, OrderId, OrderSize, OrderStatus, OrderType,
    Percent, Price, Quantity, Side, Symbol, TimeInForce, Timestamp, TransactionType,
};
use serde::Serialize;
use services::trading::OrderWithFills;
use utoipa::ToSchema;

use crate::openapi::enums;

/// How the price of a fill was determined.
#[derive(Serialize, ToSchema)]
pub struct Receipt {
    /// The source of the price, such as `simulated/sim-v2`.
    pub(super) source: String,
    /// Market time of the quote.
    pub(super) quoted_at: Timestamp,
    /// The age of the quote at the fill, in seconds.
    pub(super) age_s: f64,
    /// `ask` or `bid`; `last` if the source gives neither; `past_close` for the close of a session that had ended;
    /// `open` or `close` for an order at an auction.
    #[schema(value_type = enums::FillRule)]
    pub(super) rule: FillRule,
    /// The price of the quote by that rule.
    pub(super) quoted_price: Price,
    /// How much worse the fill was than the quoted price, per share.
    pub(super) slippage: PriceChange,
    pub(super) commission: Money,
    /// The rounding rule of the amount. 2: the sum over all fills of the order is rounded half-even to the cent, and
    /// each fill books the difference. 1, for older fills: each fill was rounded separately.
    pub(super) rounding_version: i32,
}

impl Receipt {
    pub fn from_entry(entry: &JournalEntry) -> Option<Self> {
        let receipt = entry.receipt.as_ref()?;
        let age_ms = (entry.timestamp - receipt.quoted_at).num_milliseconds();
        #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^53")]
        let age_s = age_ms as f64 / 1000.0;
        let side = if entry.transaction_type == TransactionType::Sell { Side::Sell } else { Side::Buy };
        Some(Self {
            source: receipt.source.to_string(),
            quoted_at: receipt.quoted_at,
            age_s,
            rule: receipt.rule,
            quoted_price: receipt.quoted_price.clone(),
            slippage: receipt.slippage(side, entry.price.as_ref()?),
            commission: entry.commission.clone(),
            rounding_version: receipt.rounding.version(),
        })
    }
}

/// One execution of an order.
#[derive(Serialize, ToSchema)]
pub struct Fill {
    pub(super) quantity: Option<Quantity>,
    pub(super) price: Option<Price>,
    pub(super) commission: Money,
    /// The change of cash, commission included: negative for a buy.
    pub(super) amount: Money,
    /// Only for a sell: proceeds less the cost of the shares sold.
    pub(super) realized_pnl: Option<Money>,
    pub(super) timestamp: Timestamp,
    pub(super) receipt: Option<Receipt>,
}

impl From<&JournalEntry> for Fill {
    fn from(entry: &JournalEntry) -> Self {
        Self {
            quantity: entry.quantity.clone(),
            price: entry.price.clone(),
            commission: entry.commission.clone(),
            amount: entry.amount.clone(),
            realized_pnl: entry.realized_pnl.clone(),
            timestamp: entry.timestamp,
            receipt: Receipt::from_entry(entry),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Order {
    #[schema(value_type = String, format = "uuid")]
    pub(super) id: OrderId,
    pub(super) client_order_id: Option<String>,
    pub(super) symbol: Symbol,
    #[schema(value_type = enums::Side)]
    pub(super) side: Side,
    #[schema(value_type = enums::OrderType)]
    r#type: OrderType,
    #[schema(value_type = enums::TimeInForce)]
    pub(super) time_in_force: TimeInForce,
    #[schema(value_type = enums::OrderClass)]
    pub(super) order_class: OrderClass,
    /// Only for a leg: the order that it was placed with.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(super) parent_order_id: Option<OrderId>,
    /// The order that this order replaced.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(super) replaces: Option<OrderId>,
    /// The ordered quantity; null for an order by money.
    pub(super) quantity: Option<Quantity>,
    pub(super) notional: Option<Money>,
    pub(super) limit_price: Option<Price>,
    /// The price that triggers the order. The stop of a trailing stop changes with the market.
    pub(super) stop_price: Option<Price>,
    pub(super) trail_price: Option<Price>,
    #[schema(value_type = Option<DecimalText>)]
    pub(super) trail_percent: Option<Percent>,
    /// Only for a trailing stop: the best price since it was placed.
    pub(super) high_water_price: Option<Price>,
    #[schema(value_type = enums::OrderStatus)]
    pub(super) status: OrderStatus,
    /// Why the order was rejected.
    pub(super) reject_reason: Option<String>,
    /// Why an open order currently cannot fill, such as a split that no price has confirmed yet.
    pub(super) hold_reason: Option<String>,
    pub(super) filled_quantity: Quantity,
    /// The average price of the fills; null before the first fill.
    #[schema(value_type = Option<DecimalText>)]
    pub(super) filled_price: Option<String>,
    pub(super) commission: Money,
    /// The change of cash by all fills, commission included: negative for a buy.
    pub(super) amount: Money,
    /// Only for a sell: proceeds less the cost of the shares sold.
    pub(super) realized_pnl: Option<Money>,
    /// Cash that is reserved for further fills.
    pub(super) reserved_cash: Money,
    pub(super) reserved_quantity: Quantity,
    pub(super) submitted_at: Timestamp,
    /// When the market reached the stop price.
    pub(super) triggered_at: Option<Timestamp>,
    /// When the order was completely filled.
    pub(super) filled_at: Option<Timestamp>,
    /// When the order was canceled, expired, rejected or replaced.
    pub(super) canceled_at: Option<Timestamp>,
    /// When a `day` order expires; for `opg` and `cls` the time of the auction.
    pub(super) expires_at: Option<Timestamp>,
    /// The receipt of the first fill.
    pub(super) receipt: Option<Receipt>,
    pub(super) fills: Vec<Fill>,
    /// The orders that were placed with this order. Empty in a list in which legs are orders of their own.
    #[schema(no_recursion)]
    pub(super) legs: Vec<Order>,
}

impl Order {
    /// The order for a list in which legs are orders of their own.
    pub fn without_legs(self) -> Self {
        Self { legs: Vec::new(), ..self }
    }
}

impl From<OrderWithFills> for Order {
    fn from(OrderWithFills { order, fills, legs, hold }: OrderWithFills) -> Self {
        let (quantity, notional) = match &order.size {
            OrderSize::Quantity(quantity) => (Some(quantity.clone()), None),
            OrderSize::Notional(notional) => (None, Some(notional.clone())),
            OrderSize::OfPosition(_) => (None, None),
        };
        let (trail_price, trail_percent) = match order.terms.trail().cloned() {
            Some(domain::Trail::Price(price)) => (Some(price), None),
            Some(domain::Trail::Percent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        let realized: Vec<&Money> = fills.iter().filter_map(|fill| fill.realized_pnl.as_ref()).collect();
        Self {
            id: order.id,
            r#type: order.order_type(),
            limit_price: order.terms.limit_price().cloned(),
            stop_price: order.stop_price(),
            client_order_id: order.client_order_id,
            symbol: order.symbol,
            side: order.side,
            time_in_force: order.time_in_force,
            order_class: order.order_class,
            parent_order_id: order.parent_order_id,
            replaces: order.replaces,
            quantity,
            notional,
            trail_price,
            trail_percent,
            high_water_price: order.high_water_price,
            status: order.status,
            reject_reason: order.reject_reason,
            hold_reason: hold.map(|hold| hold.to_string()),
            filled_quantity: order.filled_quantity,
            filled_price: order.filled_price.as_ref().map(AveragePrice::to_shortest),
            commission: order.commission,
            amount: fills.iter().map(|fill| &fill.amount).sum(),
            realized_pnl: (!realized.is_empty()).then(|| realized.into_iter().sum()),
            reserved_cash: order.reserved_cash,
            reserved_quantity: order.reserved_quantity,
            submitted_at: order.submitted_at,
            triggered_at: order.triggered_at,
            filled_at: order.filled_at,
            canceled_at: order.canceled_at,
            expires_at: order.expires_at,
            receipt: fills.first().and_then(Receipt::from_entry),
            fills: fills.iter().map(Fill::from).collect(),
            legs: legs.into_iter().map(Self::from).collect(),
        }
    }
}
