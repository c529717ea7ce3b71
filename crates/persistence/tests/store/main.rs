//! Tests every query against a fresh database: SQLite, or PostgreSQL if `STOCKYARD_TEST_BACKEND` is set to it.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod corporate_actions;
mod flash_messages;
mod harness;
mod holdings;
mod installation;
mod integrity;
mod jobs;
mod lane;
mod listings;
mod login_attempts;
mod migrations;
mod orders;
mod portfolios;
mod positions;
mod providers;
mod renames;
mod sessions;
mod snapshots;
mod stock_list;
mod stocks;
mod store;
mod tokens;
mod transactions;
mod users;
mod wal;
mod watchlists;
mod workers;
mod working_orders;
