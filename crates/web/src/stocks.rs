//! Stocks: search, quotes, history and corporate actions.

pub(crate) mod api;
pub(crate) mod chart_marks;
pub(crate) mod corporate_actions;
pub(crate) mod coverage;
pub(crate) mod list_api;
pub(crate) mod market_api;
pub(crate) mod own_trades;
pub(crate) mod pages;
pub(crate) mod price_pace;
pub(crate) mod search_page;
