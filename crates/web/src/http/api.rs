//! What the handlers of the JSON API share: pages of lists, and reading parameters.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use services::FieldError;
use utoipa::{IntoParams, ToSchema};

use crate::http::problem::Problem;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Items<T: ToSchema> {
    pub items: Vec<T>,
    /// Send it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T: ToSchema> Items<T> {
    /// A list without pages: all items are in one response.
    pub fn all(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// Selects a page of a list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<String>,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
}

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// Reads the number of items of a page.
///
/// # Errors
/// 422 if it is not a whole number from 1 to 200.
pub fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        Problem::invalid(vec![FieldError::new("limit", "must be a whole number from 1 to 200")])
    })
}

/// Parses an optional text of the query or the body.
///
/// # Errors
/// 422 with `hint` if the text cannot be read.
pub fn parse<T: FromStr>(field: &'static str, text: Option<&str>, hint: &str) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse().map_err(|_| Problem::invalid(vec![FieldError::new(field, hint)])))
        .transpose()
}

impl Paging {
    /// # Errors
    /// 422 if it is not a whole number from 1 to 200.
    pub fn limit(&self) -> Result<usize, Problem> {
        limit(self.limit.as_deref())
    }

    /// # Errors
    /// 422 if it is not the cursor of a page.
    pub fn cursor<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        parse("cursor", self.cursor.as_deref(), "send `next_cursor` of the previous page")
    }
}
