//! Portfolios: their API and pages, valuation, composition, performance and transactions.

pub(crate) mod all_api;
pub(crate) mod api;
pub(crate) mod benchmark_page;
pub(crate) mod composition;
pub(crate) mod concentration;
pub(crate) mod contributions;
pub(crate) mod csv_table;
pub(crate) mod explain_page;
pub(crate) mod explanation;
pub(crate) mod explanations_api;
pub(crate) mod flow_marks;
pub(crate) mod heat_map;
pub(crate) mod overview;
pub(crate) mod pages;
pub(crate) mod performance;
pub(crate) mod performance_api;
mod performance_body;
pub(crate) mod performance_words;
pub(crate) mod risk;
pub(crate) mod settings;
pub(crate) mod sharing;
pub(crate) mod tables;
pub(crate) mod tables_api;
pub(crate) mod transactions;
pub(crate) mod transactions_api;
pub(crate) mod valuation_api;
