//! Watchlists: their API and pages.

pub(crate) mod api;
pub(crate) mod pages;
