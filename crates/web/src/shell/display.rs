//! The browser's display settings, which cookies keep: theme, colors of gains and losses, last portfolio.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::header;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse};

use crate::WebConfig;

pub(super) const THEME: &str = "theme";

pub(super) const GAIN: &str = "gain";

pub(super) const LAST_PORTFOLIO: &str = "portfolio";

pub const THEMES: [&str; 3] = ["auto", "light", "dark"];

pub const GAINS: [&str; 3] = ["green", "red-up", "blue-orange"];

/// Reads a cookie whose value is one of `words`.
pub(super) fn chosen(request: &HttpRequest, name: &str, words: &[&'static str]) -> &'static str {
    let cookie = request.cookie(name);
    let wanted = cookie.as_ref().map_or("", Cookie::value);
    words.iter().find(|word| **word == wanted).copied().unwrap_or(words[0])
}

pub(super) fn set_cookie(response: &mut HttpResponse, cookie: Cookie<'static>) {
    // Encoded, unlike in `add_cookie`, because the value may contain text from users.
    if let Ok(value) = HeaderValue::from_str(&cookie.encoded().to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// A cookie for a setting that is not secret and that only the browser stores.
pub(super) fn persistent_cookie(config: &WebConfig, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(config.is_https())
        .max_age(Duration::days(365))
        .finish()
}

/// Stores the display settings in cookies.
pub fn with_display(mut response: HttpResponse, config: &WebConfig, theme: &str, gain: &str) -> HttpResponse {
    for (name, words, wanted) in [(THEME, &THEMES, theme), (GAIN, &GAINS, gain)] {
        if let Some(word) = words.iter().find(|word| **word == wanted) {
            set_cookie(&mut response, persistent_cookie(config, name, (*word).to_owned()));
        }
    }
    response
}
