//! CSRF tokens of HTML forms: the HMAC of a random cookie. A form on another site is sent with the cookie, but that
//! site cannot know the token.

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use crate::http::session;
use crate::{AppState, WebConfig};

/// The name of the hidden field.
pub const FIELD: &str = "csrf";

/// The browser's random value: from its cookie, or a new one that the response sets.
#[derive(Clone)]
struct Seed(String);

/// Sets the cookie in a browser that receives a page and does not have it yet.
pub async fn seed(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let state =
        request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app").clone();
    let name = session::cookie_name(&state.config, FIELD);
    let known = request.cookie(&name).map(|cookie| cookie.value().to_owned()).filter(|seed| seed.len() == 32);
    let seed = known.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    request.extensions_mut().insert(Seed(seed.clone()));
    let mut response = next.call(request).await?;
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if known.is_none() && is_page {
        let cookie = Cookie::build(name, seed)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(state.config.is_https())
            .finish();
        response.response_mut().add_cookie(&cookie)?;
    }
    Ok(response)
}

fn mac(config: &WebConfig, seed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(config.secret_key.expose_secret().as_bytes())
        .expect("HMAC takes any key");
    mac.update(b"csrf ");
    mac.update(seed.as_bytes());
    mac
}

/// The length of the HMAC in bytes.
const MAC_BYTES: usize = 32;

/// The token for a form of this page; empty where pages have no cookie (under `/api`).
///
/// The token is a random mask followed by the HMAC under this mask (XOR). Compressed pages that also repeat text from
/// their address could otherwise reveal a constant token by their sizes (BREACH).
pub fn token(request: &HttpRequest, config: &WebConfig) -> String {
    let Some(Seed(seed)) = request.extensions().get::<Seed>().cloned() else { return String::new() };
    let mask: [u8; MAC_BYTES] = rand::random();
    let mac = mac(config, &seed).finalize().into_bytes();
    let masked = mask.iter().zip(mac).map(|(mask, byte)| mask ^ byte);
    mask.iter().copied().chain(masked).map(|byte| format!("{byte:02x}")).collect()
}

/// The browser's random value, which identifies the browser; empty where pages have no cookie.
pub fn browser(request: &HttpRequest) -> String {
    request.extensions().get::<Seed>().map(|Seed(seed)| seed.clone()).unwrap_or_default()
}

/// Whether a form's token is right. Compares in constant time.
pub fn is_valid(request: &HttpRequest, token: &str) -> bool {
    let Some(state) = request.app_data::<Data<AppState>>() else { return false };
    let Some(Seed(seed)) = request.extensions().get::<Seed>().cloned() else { return false };
    let bytes: Option<Vec<u8>> = (0..token.len())
        .step_by(2)
        .map(|at| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let Some(bytes) = bytes.filter(|bytes| bytes.len() == 2 * MAC_BYTES) else { return false };
    let (mask, masked) = bytes.split_at(MAC_BYTES);
    let sent: Vec<u8> = mask.iter().zip(masked).map(|(mask, byte)| mask ^ byte).collect();
    mac(&state.config, &seed).verify_slice(&sent).is_ok()
}
