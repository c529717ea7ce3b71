//! HTTP below the subjects: connections, limits, sessions, extractors, error answers and the API's description.

pub(crate) mod access_log;
pub(crate) mod api;
pub(crate) mod connections;
pub(crate) mod csrf;
pub(crate) mod device_cookie;
pub(crate) mod etag;
pub(crate) mod extract;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod input;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod portfolio_access;
pub(crate) mod problem;
pub(crate) mod request_size;
pub(crate) mod session;
pub(crate) mod upload;
