//! Issues of an order or a replacement, and warnings of a preview, as variants with their numbers. Each surface (API,
//! pages, CLI) words them itself.

use chrono::NaiveDate;

use crate::{OrderType, Price, Quantity, Symbol, TimeInForce, TradingHold};

/// A field of an order or of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderField {
    Side,
    Type,
    Quantity,
    Notional,
    TimeInForce,
    LimitPrice,
    StopPrice,
    /// `trail_price`, or `trail_percent` for a trail in percent.
    TrailPrice,
    TakeProfit,
    StopLoss,
}

impl OrderField {
    /// The field's name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Side => "side",
            Self::Type => "type",
            Self::Quantity => "quantity",
            Self::Notional => "notional",
            Self::TimeInForce => "time_in_force",
            Self::LimitPrice => "limit_price",
            Self::StopPrice => "stop_price",
            Self::TrailPrice => "trail_price",
            Self::TakeProfit => "take_profit",
            Self::StopLoss => "stop_loss",
        }
    }
}

/// A rule that an order or a replacement breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderIssue {
    /// A stop order waits for its price, so only `day` and `gtc` are possible.
    StopTimeInForce(TimeInForce),
    StopByNotional,
    /// A bracket, OCO or OTO order waits, so only `day` and `gtc` are possible.
    LinkedTimeInForce(TimeInForce),
    /// A bracket, OCO or OTO order cannot be sized by money.
    LinkedByNotional,
    /// Only a sell can be sized as a part of the position.
    BuyByPartOfPosition,
    BuyOco,
    /// The order of an OCO is its take-profit, so it must be a limit order.
    OcoWithoutLimit(OrderType),
    SellWithEntryExits,
    /// The stop-loss is not below the take-profit. `field` is the field that was set or changed.
    ExitsCrossed {
        field: OrderField,
        take_profit: Price,
        stop_loss: Price,
    },
    /// The take-profit of a buy must be above the entry: the limit, the stop, or the newest price.
    TakeProfitNotAboveEntry {
        take_profit: Price,
        entry: Price,
    },
    /// The stop-loss of a buy must be below the entry.
    StopLossNotBelowEntry {
        stop_loss: Price,
        entry: Price,
    },
    /// A changed price puts the entry outside its exits. `field` is the changed field.
    EntryOutsideExits {
        field: OrderField,
        entry: Price,
    },
    /// The price source publishes only closing prices, so `opg` is impossible.
    NoOpeningPrices,
    /// A replacement changes the limit of an order type that has none.
    NoLimitToChange(OrderType),
    NoStopToChange(OrderType),
    NoTrailToChange(OrderType),
    /// The quantity of a held exit follows the fills of its entry.
    HeldExitQuantity,
    /// Linked orders share one time in force, `ends`.
    LinkedTimeInForceChanged {
        ends: TimeInForce,
    },
}

impl OrderIssue {
    /// The field to correct.
    pub fn field(&self) -> OrderField {
        match self {
            Self::StopTimeInForce(_)
            | Self::LinkedTimeInForce(_)
            | Self::NoOpeningPrices
            | Self::LinkedTimeInForceChanged { .. } => OrderField::TimeInForce,
            Self::StopByNotional | Self::LinkedByNotional => OrderField::Notional,
            Self::BuyByPartOfPosition | Self::HeldExitQuantity => OrderField::Quantity,
            Self::BuyOco | Self::SellWithEntryExits => OrderField::Side,
            Self::OcoWithoutLimit(_) => OrderField::Type,
            Self::ExitsCrossed { field, .. } | Self::EntryOutsideExits { field, .. } => *field,
            Self::TakeProfitNotAboveEntry { .. } => OrderField::TakeProfit,
            Self::StopLossNotBelowEntry { .. } => OrderField::StopLoss,
            Self::NoLimitToChange(_) => OrderField::LimitPrice,
            Self::NoStopToChange(_) => OrderField::StopPrice,
            Self::NoTrailToChange(_) => OrderField::TrailPrice,
        }
    }
}

/// A fact that the user should know about a previewed order before placing it.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderWarning {
    /// The position would be more than half of the portfolio. `weight` is its share of the total value, a ratio.
    Concentrated { symbol: Symbol, weight: f64 },
    /// The order sells the whole position.
    SellsWholePosition { symbol: Symbol },
    /// The market is at the limit or better, so the order fills immediately.
    LimitReached,
    /// The market has reached the stop, so the order triggers immediately.
    StopReached,
    /// Only `filled` shares fill immediately; the rest waits.
    FillsInPart { filled: Quantity },
    /// Shares that do not fill immediately are canceled.
    RestCanceled,
    /// The order cannot fill until the hold ends.
    OnHold { symbol: Symbol, hold: TradingHold },
    /// The order waits for the next session.
    ExchangeClosed,
    /// The fill price is the close of a past session.
    PastClose { session: NaiveDate },
    /// The price source has neither bid nor ask, so orders fill at its last price.
    NoBidAndAsk,
    /// The newest price has already passed the exit, so the exit would sell immediately.
    ExitReached { exit: OrderType },
}
