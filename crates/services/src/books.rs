//! The books: portfolios, cash, the journal, valuations, performance, snapshots, and their verification and repair.

pub mod analysis;
pub(crate) mod book_calendar;
pub(crate) mod cache;
pub mod performance;
pub mod portfolios;
pub mod repair;
pub mod snapshots;
pub mod transactions;
pub mod valuation;
pub mod verify;
