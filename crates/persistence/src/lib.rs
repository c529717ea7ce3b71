//! The database: SQLite or PostgreSQL behind one [`Store`].
//!
//! Repository functions take a [`Tx`], so no data is written outside a transaction. Each aggregate has one file with
//! its row types and queries.
//!
//! # Errors
//! Every function that takes a [`Tx`] or a [`Statement`] fails with the database's [`StoreError`]; other errors are
//! documented at the function.

mod bulk;
mod columns;
mod connection;
mod error;
mod integrity;
mod lane;
mod login;
mod migrations;
mod opened_file;
mod pool;
mod schema;
pub mod sqlite_file;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod wal;
mod watch;

pub mod adjusted_bars;
pub mod books;
pub mod close_outs;
pub mod concentration_limits;
pub mod corporate_actions;
pub mod delistings;
pub mod flash_messages;
pub mod former_symbols;
pub mod holdings;
pub mod idempotency;
pub mod imports;
pub mod installation;
pub mod jobs;
pub mod listings;
pub mod login_attempts;
pub mod metrics;
pub mod order_list;
pub mod orders;
pub mod past_splits;
pub mod portfolios;
pub mod positions;
pub mod providers;
pub mod renames;
pub mod reused_symbols;
pub mod sessions;
pub mod snapshots;
pub mod stock_list;
pub mod stocks;
pub mod tokens;
pub mod transactions;
pub mod unused_stocks;
pub mod users;
pub mod watchlists;
pub mod workers;

pub use connection::{BadDatabaseUrl, DatabaseUrl};
pub use error::StoreError;
pub use integrity::sqlite_damage;
pub use lane::Lane;
pub use migrations::SchemaVersion;
pub use opened_file::FileLost;
pub use pool::PoolState;
pub use store::{Statement, Store, StoreOptions, Tx};
