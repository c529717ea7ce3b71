//! Links and lists of links on pages.

use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Serialize;

/// Redirects to `location` after a form (303).
pub fn see_other(location: impl Into<String>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location.into())).finish()
}

/// One of several links, of which one is the current.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    pub label: String,
    pub href: String,
    pub current: bool,
}

/// Links for named ranges or periods; `href` creates the address from the name in lower case.
pub fn range_choices<R: PartialEq>(
    all: impl IntoIterator<Item = (R, &'static str)>,
    current: Option<R>,
    href: impl Fn(&str) -> String,
) -> Vec<Choice> {
    all.into_iter()
        .map(|(range, name)| Choice {
            label: if name == "ALL" { "All".to_owned() } else { name.to_owned() },
            href: href(&name.to_ascii_lowercase()),
            current: current.as_ref() == Some(&range),
        })
        .collect()
}

/// The links to other pages of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Paging {
    /// The number of items on this page.
    pub shown: usize,
    pub older: Option<String>,
    /// The first page, if this is a later one.
    pub newest: Option<String>,
}

/// Writes a query string. Empty values are left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        empty if empty.is_empty() => empty,
        query => format!("?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_leaves_out_what_is_empty() {
        assert_eq!(query(&[("symbol", "BRK.B"), ("type", "")]), "?symbol=BRK.B");
        assert_eq!(query(&[("name", "")]), "");
        assert_eq!(query(&[("q", "a&b c")]), "?q=a%26b+c");
    }
}
