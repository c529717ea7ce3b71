//! Administration: pages and API.

pub(crate) mod api;
pub(crate) mod close_out_page;
pub(crate) mod close_outs_api;
pub(crate) mod delisting_page;
pub(crate) mod delistings_api;
pub(crate) mod key_features;
pub(crate) mod pages;
pub(crate) mod prices_api;
pub(crate) mod rename_page;
pub(crate) mod renames_api;
pub(crate) mod stock_page;
