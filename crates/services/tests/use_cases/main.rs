//! What the use cases do, on a real, fresh database: SQLite, or PostgreSQL when `STOCKYARD_TEST_BACKEND` says so.
#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod accounts;
mod admin;
mod after_actions;
mod clock;
mod clock_back;
mod closing_positions;
mod composition;
mod corporate_actions;
mod desk;
mod harness;
mod jobs;
mod kept_books;
mod logins;
mod operations;
mod orders;
mod performance;
mod portfolios;
mod previews;
mod providers;
mod races;
mod resets;
mod sessions;
mod share_bases;
mod snapshots;
mod split_checks;
mod stocks;
mod streams;
mod tokens;
mod transactions;
mod valuation;
mod verify;
mod watchlists;
mod wire;
mod working_orders;
