//! Accounts: registration, login, settings and API tokens.

pub(crate) mod auth_api;
pub(crate) mod pages;
pub(crate) mod settings;
pub(crate) mod users_api;
