//! The device cookie: proof that a browser has logged in to an account before, so that failed logins from elsewhere do
//! not lock the owner out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
//!
//! It is not a login. It contains up to five entries, for browsers with several users, each signed with the secret
//! key.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chrono::DateTime;
use domain::{Timestamp, UserId};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use services::accounts::logins::{KnownDevice, LoginClient};
use sha2::Sha256;
use std::future::{Ready, ready};

use crate::http::limits::client_address;
use crate::http::session;
use crate::{AppState, WebConfig};

const NAME: &str = "device";
const LIFETIME: Duration = Duration::days(365);
const ENTRIES: usize = 5;
/// Separates entries, and below the parts of an entry. Neither character needs quotes in a cookie.
const BETWEEN_ENTRIES: char = '~';
const BETWEEN_PARTS: char = '.';

fn mac(config: &WebConfig, signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(config.secret_key.expose_secret().as_bytes())
        .expect("HMAC takes any key");
    mac.update(b"device ");
    mac.update(signed.as_bytes());
    mac
}

fn write(config: &WebConfig, device: &KnownDevice) -> String {
    let issued_at_s = device.issued_at.utc().timestamp();
    let signed = format!("{}{BETWEEN_PARTS}{issued_at_s}{BETWEEN_PARTS}{}", device.user, device.nonce);
    let mac = mac(config, &signed).finalize().into_bytes();
    let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{signed}{BETWEEN_PARTS}{mac}")
}

/// `None` for an entry that was not signed with our key.
fn read(config: &WebConfig, entry: &str) -> Option<KnownDevice> {
    let (signed, tag) = entry.rsplit_once(BETWEEN_PARTS)?;
    let tag: Vec<u8> = (0..tag.len())
        .step_by(2)
        .map(|at| tag.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()?;
    mac(config, signed).verify_slice(&tag).ok()?;
    let mut parts = signed.split(BETWEEN_PARTS);
    let (user, issued_at_s, nonce) = (parts.next()?, parts.next()?, parts.next()?);
    Some(KnownDevice {
        user: UserId(user.parse().ok()?),
        nonce: nonce.to_owned(),
        issued_at: DateTime::from_timestamp(issued_at_s.parse().ok()?, 0)?.into(),
    })
}

fn devices(request: &HttpRequest, config: &WebConfig) -> Vec<KnownDevice> {
    let Some(cookie) = request.cookie(&session::cookie_name(config, NAME)) else { return Vec::new() };
    cookie.value().split(BETWEEN_ENTRIES).take(ENTRIES).filter_map(|entry| read(config, entry)).collect()
}

/// Adds the cookie to the response of a request that has just proved the user's password.
pub fn remember(request: &HttpRequest, state: &AppState, user: UserId, response: &mut HttpResponse) {
    let now = state.services.market().wall_time();
    let cookie = renewed(&state.config, devices(request, &state.config), user, now);
    if let Err(error) = response.add_cookie(&cookie) {
        tracing::error!(error = &error as &dyn std::error::Error, "the device cookie cannot be set");
    }
}

/// The cookie with a new entry for the user before the other users' entries.
fn renewed(config: &WebConfig, known: Vec<KnownDevice>, user: UserId, now: Timestamp) -> Cookie<'static> {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let own = KnownDevice { user, nonce, issued_at: now };
    let others = known.into_iter().filter(|device| device.user != user);
    let entries: Vec<String> =
        std::iter::once(own).chain(others).take(ENTRIES).map(|device| write(config, &device)).collect();
    Cookie::build(session::cookie_name(config, NAME), entries.join(&BETWEEN_ENTRIES.to_string()))
        .path("/")
        .max_age(LIFETIME)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(config.is_https())
        .finish()
}

/// The client's address, considering trusted proxies, and the accounts whose device cookie its browser has.
pub struct Client(pub LoginClient);

impl FromRequest for Client {
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app");
        let address = client_address(request.peer_addr(), request.headers(), &state.config);
        ready(Ok(Self(LoginClient { address, devices: devices(request, &state.config) })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: &str) -> WebConfig {
        WebConfig {
            public_url: "https://localhost".parse().unwrap(),
            secret_key: key.repeat(64).into(),
            cors_allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            rate_limits: true,
            metrics_token: None,
            connections: crate::ConnectionLimits::default(),
            dropped_log_lines: Default::default(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_795_201_920 + seconds, 0).unwrap().into()
    }

    fn read_all(config: &WebConfig, cookie: &Cookie<'_>) -> Vec<KnownDevice> {
        cookie.value().split(BETWEEN_ENTRIES).filter_map(|entry| read(config, entry)).collect()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let config = config("x");
        let cookie = renewed(&config, Vec::new(), UserId(7), at(0));
        let [device] = read_all(&config, &cookie).try_into().unwrap();
        assert_eq!((device.user, device.issued_at, device.nonce.len()), (UserId(7), at(0), 32));
        assert_eq!(cookie.name(), "__Host-device");
        assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)));
    }

    #[test]
    fn a_changed_or_forged_entry_is_ignored() {
        let config_x = config("x");
        let cookie = renewed(&config_x, Vec::new(), UserId(7), at(0));
        let entry = cookie.value();
        assert!(read(&config_x, entry).is_some());
        assert!(read(&config("y"), entry).is_none(), "another key");
        assert!(read(&config_x, &entry.replacen("7.", "8.", 1)).is_none(), "another user");
        for made_up in
            ["", ".", "...", "7.1.1", "7.1795201920.00.00", &entry[..entry.len() - 1], &"z".repeat(3000)]
        {
            assert!(read(&config_x, made_up).is_none(), "{made_up}");
        }
    }

    #[test]
    fn a_browser_is_known_for_the_five_newest_of_its_users() {
        let config = config("x");
        let mut devices = Vec::new();
        for (second, user) in (0_i64..).zip([1, 2, 3, 1, 4, 5, 6]) {
            devices = read_all(&config, &renewed(&config, devices, UserId(user), at(second)));
        }
        let users: Vec<i64> = devices.iter().map(|device| device.user.0).collect();
        assert_eq!(users, [6, 5, 4, 1, 3]);
        assert_eq!(devices[3].issued_at, at(3));
    }
}
