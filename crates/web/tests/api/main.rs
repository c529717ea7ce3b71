//! The HTTP interface from outside: a real server on a fresh database, asked as programs and browsers ask it.
#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod harness;

mod accounts;
mod admin;
mod admin_tokens;
mod after_actions;
mod close_outs;
mod connections;
mod corporate_actions;
mod cors;
mod decimals;
mod delistings;
mod description;
mod health;
mod idempotency;
mod logins;
mod metrics;
mod odd_input;
mod operations;
mod order_groups;
mod orders;
mod page_rights;
mod pages;
mod performance;
mod portfolios;
mod protocol;
mod providers;
mod rate_limits;
mod redirects;
mod renames;
mod replace;
mod reset;
mod security_headers;
mod splits;
mod stocks;
mod streams;
mod throttle;
mod tokens;
mod trading_pages;
mod transactions;
mod valuation;
mod watchlists;
mod working_orders;
