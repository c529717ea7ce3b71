//! Orders: the API, the pages, the order ticket, and the words for issues and warnings.

pub(crate) mod api;
pub(crate) mod closing_api;
pub(crate) mod list_api;
pub(crate) mod order_fields;
pub(crate) mod order_json;
pub(crate) mod pages;
pub(crate) mod preview_api;
pub(crate) mod ticket;
pub(crate) mod words;
