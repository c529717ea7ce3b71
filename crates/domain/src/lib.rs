//! The subjects of Stockyard: money, orders, positions, portfolios, their valuation and performance.
//!
//! This crate is pure: no I/O, no clock, no randomness, no async. Callers pass times and ids.

pub mod action_history;
pub mod allocation;
mod bar_interval;
pub mod calendar;
pub mod close_out;
pub mod company;
pub mod composition;
pub mod concentration_limits;
pub mod corporate_action;
mod decimal;
pub mod delisting;
pub mod fill;
mod filter;
pub mod id;
pub mod instrument;
pub mod journal;
pub mod matching;
pub mod money;
#[cfg(feature = "openapi")]
mod openapi;
pub mod order;
pub mod order_group;
pub mod order_issue;
pub mod past_books;
pub mod performance;
pub mod period;
pub mod plausibility;
pub mod portfolio;
mod portfolio_kind;
pub mod position;
pub mod quote;
pub mod rules;
pub mod share_basis;
pub mod share_remainder;
mod sort;
pub mod split_check;
#[cfg(feature = "diesel")]
pub mod sql;
mod timestamp;
pub mod valuation;
pub mod visibility;

pub use action_history::ActionHistory;
pub use bar_interval::BarInterval;
pub use calendar::{Calendar, Session};
pub use close_out::CloseOut;
pub use corporate_action::{
    CorporateAction, CorporateActionId, CorporateActionKind, KnownAction, PerShare, SplitRatio,
};
pub use decimal::DecimalText;
pub use fill::{Fill, FillRule, FillTotals, Receipt, Rounding};
pub use filter::{OrderFilter, StockFilter, StockSort, TransactionFilter};
pub use id::{
    ActionId, OrderId, PortfolioId, PortfolioRef, StockId, TokenId, TransactionId, UserId, WatchlistId,
};
pub use instrument::{Currency, Listing, Stock, Symbol};
pub use journal::{BookedAction, JournalEntry, TransactionType};
pub use money::{DecimalError, Money, Percent, Price, Quantity, Rate};
pub use order::{
    Attached, Order, OrderClass, OrderSize, OrderStatus, OrderTerms, OrderType, PlaceOrder, ReplaceOrder,
    Side, StopLoss, TimeInForce, Trail, UnknownWord,
};
pub use order_group::{OrderGroup, OrderIds};
pub use order_issue::{OrderField, OrderIssue, OrderWarning};
pub use period::HistoryRange;
pub use portfolio::preview::OrderPreview;
pub use portfolio::{NewestPrice, OrderRejected, PRICE_AHEAD, Placed, Portfolio, Reserved};
pub use portfolio_kind::PortfolioKind;
pub use position::Position;
pub use quote::{Bar, Freshness, PUBLICATION, PriceMove, PriceSource, Quote};
pub use rules::{Commission, PriceStanding, RulesAt, TradingMode, TradingRules};
pub use share_basis::{AsTraded, SplitHistory};
pub use sort::SortDirection;
pub use split_check::{SplitCheck, SplitConfirmation, TradingHold};
pub use timestamp::Timestamp;
pub use valuation::{Holding, Snapshot, Valuation};
pub use visibility::Visibility;
