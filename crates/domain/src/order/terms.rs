//! The size of an order, its type with prices, and its attached orders.

use super::{OrderClass, OrderType};
use crate::{Money, OrderIssue, Percent, Price, Quantity};

/// The size of an order: shares, an amount of money, or a part of the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderSize {
    Quantity(Quantity),
    /// A positive amount. The order fills the shares that the amount buys at the fill's price, rounded down to nine
    /// decimals. Commission is added.
    Notional(Money),
    /// A percentage of the held shares, rounded down to nine decimals; 100 sells all of them. Only for sells. When the
    /// order is placed, the size becomes a quantity, so no order in the books has this size.
    OfPosition(Percent),
}

/// The distance of a trailing stop from the best price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trail {
    /// An amount per share.
    Price(Price),
    Percent(Percent),
}

/// The type of an order with its prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderTerms {
    Market,
    Limit { limit: Price },
    Stop { stop: Price },
    StopLimit { stop: Price, limit: Price },
    TrailingStop { trail: Trail },
}

impl OrderTerms {
    pub fn order_type(&self) -> OrderType {
        match self {
            Self::Market => OrderType::Market,
            Self::Limit { .. } => OrderType::Limit,
            Self::Stop { .. } => OrderType::Stop,
            Self::StopLimit { .. } => OrderType::StopLimit,
            Self::TrailingStop { .. } => OrderType::TrailingStop,
        }
    }

    pub fn limit_price(&self) -> Option<&Price> {
        match self {
            Self::Limit { limit } | Self::StopLimit { limit, .. } => Some(limit),
            Self::Market | Self::Stop { .. } | Self::TrailingStop { .. } => None,
        }
    }

    /// The fixed stop price. A trailing stop depends on the order's `high_water_price`.
    pub fn stop_price(&self) -> Option<&Price> {
        match self {
            Self::Stop { stop } | Self::StopLimit { stop, .. } => Some(stop),
            Self::Market | Self::Limit { .. } | Self::TrailingStop { .. } => None,
        }
    }

    pub fn trail(&self) -> Option<&Trail> {
        match self {
            Self::TrailingStop { trail } => Some(trail),
            _ => None,
        }
    }

    /// The expected price of an entry: its limit, or else its stop. `None` for a market order.
    pub(crate) fn entry_price(&self) -> Option<&Price> {
        self.limit_price().or_else(|| self.stop_price())
    }

    /// Whether the order waits until the market reaches a stop.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::StopLimit { .. } | Self::TrailingStop { .. })
    }

    pub(super) fn canonical(&self) -> String {
        let or_none = |price: Option<&Price>| price.map_or_else(|| "-".to_owned(), ToString::to_string);
        let trail = match self.trail() {
            Some(Trail::Price(price)) => format!(" trail={price}"),
            Some(Trail::Percent(percent)) => format!(" trail={percent}%"),
            None => String::new(),
        };
        let (limit, stop) = (or_none(self.limit_price()), or_none(self.stop_price()));
        format!("{} limit={limit} stop={stop}{trail}", self.order_type())
    }
}

/// An exit that limits a loss: a stop, or a stop with a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopLoss {
    pub stop: Price,
    pub limit: Option<Price>,
}

impl StopLoss {
    fn terms(&self) -> OrderTerms {
        let stop = self.stop.clone();
        match self.limit.clone() {
            Some(limit) => OrderTerms::StopLimit { stop, limit },
            None => OrderTerms::Stop { stop },
        }
    }
}

/// The orders that are placed together with an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Attached {
    #[default]
    Nothing,
    Bracket {
        take_profit: Price,
        stop_loss: StopLoss,
    },
    /// For a limit order, which is the take-profit.
    Oco {
        stop_loss: StopLoss,
    },
    OtoTakeProfit {
        take_profit: Price,
    },
    OtoStopLoss {
        stop_loss: StopLoss,
    },
}

impl Attached {
    pub fn class(&self) -> OrderClass {
        match self {
            Self::Nothing => OrderClass::Simple,
            Self::Bracket { .. } => OrderClass::Bracket,
            Self::Oco { .. } => OrderClass::Oco,
            Self::OtoTakeProfit { .. } | Self::OtoStopLoss { .. } => OrderClass::Oto,
        }
    }

    /// Returns the exits that are on the wrong side of an entry at this price.
    pub(crate) fn issues_around(&self, entry: &Price) -> Vec<OrderIssue> {
        let (profit, loss) = match self {
            Self::Nothing | Self::Oco { .. } => (None, None),
            Self::Bracket { take_profit, stop_loss } => (Some(take_profit), Some(stop_loss)),
            Self::OtoTakeProfit { take_profit } => (Some(take_profit), None),
            Self::OtoStopLoss { stop_loss } => (None, Some(stop_loss)),
        };
        let profit = profit.filter(|profit| *profit <= entry).map(|profit| {
            OrderIssue::TakeProfitNotAboveEntry { take_profit: profit.clone(), entry: entry.clone() }
        });
        let loss = loss.filter(|loss| loss.stop >= *entry).map(|loss| OrderIssue::StopLossNotBelowEntry {
            stop_loss: loss.stop.clone(),
            entry: entry.clone(),
        });
        profit.into_iter().chain(loss).collect()
    }

    /// The terms of the legs, the take-profit first.
    pub(crate) fn legs(&self) -> Vec<OrderTerms> {
        let limit = |limit: &Price| OrderTerms::Limit { limit: limit.clone() };
        match self {
            Self::Nothing => vec![],
            Self::Bracket { take_profit, stop_loss } => vec![limit(take_profit), stop_loss.terms()],
            Self::Oco { stop_loss } | Self::OtoStopLoss { stop_loss } => vec![stop_loss.terms()],
            Self::OtoTakeProfit { take_profit } => vec![limit(take_profit)],
        }
    }
}
