//! Filters and sort orders of lists.

use crate::{Side, SortDirection, Symbol, Timestamp, TransactionType};

/// Selects the orders of a portfolio; the default is all of them, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    pub open: Option<bool>,
    pub symbol: Option<Symbol>,
    pub side: Option<Side>,
    pub client_order_id: Option<String>,
    /// Submitted later than this instant.
    pub after: Option<Timestamp>,
    /// Submitted earlier than this instant.
    pub until: Option<Timestamp>,
    /// The direction of the list, by the time of submission.
    pub direction: SortDirection,
    /// Leaves out legs. An order then counts as open if one of its legs is open.
    pub nested: bool,
}

/// Selects lines of a journal; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    pub symbol: Option<Symbol>,
    pub transaction_type: Option<TransactionType>,
    /// The start of the interval, included.
    pub from: Option<Timestamp>,
    /// The end of the interval, excluded.
    pub until: Option<Timestamp>,
}

/// The property by which a list of stocks is sorted; equal values are sorted by symbol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StockSort {
    #[default]
    Symbol,
    CompanyName,
}

/// Selects stocks, and sorts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockFilter {
    pub sector: Option<String>,
    pub exchange: Option<String>,
    pub sort: StockSort,
    pub direction: SortDirection,
}
