//! Administration: pages and API.

pub(crate) mod close_out_page;
pub(crate) mod close_outs_api;
pub(crate) mod delisting_page;
pub(crate) mod delistings_api;
pub(crate) mod key_features;
pub(crate) mod listing;
pub(crate) mod pages;
pub(crate) mod prices_api;
pub(crate) mod providers_api;
pub(crate) mod rename_page;
pub(crate) mod renames_api;
pub(crate) mod splits_api;
pub(crate) mod status_api;
pub(crate) mod stock_page;
pub(crate) mod stocks_api;
pub(crate) mod users_api;
