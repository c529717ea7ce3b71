//! The real program as its users run it: whole processes on real databases, started, asked, killed and started again.
#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod api;
mod backups;
mod bank;
mod books;
mod browser;
mod client;
mod clock;
mod commands;
mod concurrency;
mod configuration;
mod connections;
mod crash;
mod damaged_file;
mod database_file;
mod door;
mod endurance;
mod exchange_view;
mod health;
mod installation;
mod logging;
mod logins;
mod lost_file;
mod outages;
mod postgres;
mod process;
mod providers;
mod proxy;
mod readme;
mod small_disk;
mod stack;
mod startup;
mod streams;
mod tls;
mod working_orders;
