//! The parameters of the lists of administration.

use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// A part of a name.
    #[serde(default)]
    pub(super) search: String,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<String>,
    /// `next_cursor` of the previous page.
    pub(super) cursor: Option<String>,
}

pub(super) const CURSOR: &str = "send `next_cursor` of the previous page";
