//! Accounts: registration, logins, sessions, API tokens, and what protects them.

pub mod admin;
pub(crate) mod flash;
pub(crate) mod login_throttle;
pub mod logins;
pub(crate) mod password;
pub mod register;
pub(crate) mod secret;
pub mod sessions;
pub(crate) mod token_cache;
pub mod tokens;
pub(crate) mod turns;
