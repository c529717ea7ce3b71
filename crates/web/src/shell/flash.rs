//! Flash messages: a form's handler leaves a message for the page to which it redirects the browser.
//!
//! A form is answered with 303 and an address that has a random id. The first page that is loaded with this id, by the
//! same user in the same browser, shows the message and deletes it. Each message has its own id, so several tabs do not
//! interfere. The message is encrypted with a key made from the id and the server's secret; the database has only a
//! hash of the id.

use actix_web::cookie::{Cookie, CookieJar, Key};
use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest};
use domain::UserId;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use services::Services;
use sha2::{Digest, Sha512};

use crate::WebConfig;
use crate::http::csrf;
use crate::http::headers::HeadRequest;
use crate::shell::form::FormView;

/// The query parameter that contains the id of the message.
const PARAMETER: &str = "flash";

/// The maximum length of a form's value, in characters.
const LONGEST_VALUE: usize = 4000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flash {
    pub notice: Option<Notice>,
    /// A refused form: the entered values, without passwords, and their problems.
    pub form: Option<FormView>,
    /// A new API token, to be shown once.
    pub token: Option<NewToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    Good,
    Bad,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    pub name: String,
    pub secret: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Flash {
    pub fn notice(tone: Tone, text: &str) -> Self {
        Self { notice: Some(Notice { tone, text: text.to_owned() }), ..Self::default() }
    }

    /// The message with a refused form. Values are cut at a length that no valid value reaches.
    pub fn form(mut form: FormView) -> Self {
        for value in form.values.values_mut() {
            if let Some((end, _)) = value.char_indices().nth(LONGEST_VALUE) {
                value.truncate(end);
            }
        }
        Self { form: Some(form), ..Self::default() }
    }

    pub fn token(name: String, secret: String) -> Self {
        Self { token: Some(NewToken { name, secret }), ..Self::default() }
    }

    /// Stores the message and returns `location` with its id.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn store(
        &self,
        services: &Services,
        config: &WebConfig,
        owner: &str,
        location: &str,
    ) -> services::Result<String> {
        let id = format!("{:032x}", rand::random::<u128>());
        let text = serde_json::to_string(self).map_err(|error| services::Error::Internal(error.into()))?;
        services.accounts().store_flash(&id, owner, seal(config, &id, text)).await?;
        Ok(with_id(location, &id))
    }

    /// Reads and deletes the message that the page's address names. Empty if it cannot be read, so that the page is
    /// shown anyway.
    pub async fn take(request: &HttpRequest, services: &Services, config: &WebConfig, owner: &str) -> Self {
        let Some(id) = named_by(request) else { return Self::default() };
        match services.accounts().take_flash(&id, owner).await {
            Ok(Some(sealed)) => {
                let text = open(config, &id, sealed);
                text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
            }
            Ok(None) => Self::default(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a flash message cannot be read");
                Self::default()
            }
        }
    }
}

/// Identifies who may read the messages of this request: the user, or the visitor without a login, in this browser.
pub fn owner(request: &HttpRequest, user: Option<UserId>) -> String {
    format!("{} {}", csrf::browser(request), user.map_or_else(String::new, |user| user.to_string()))
}

/// The id in the address of a page. A HEAD request has none, because it must not delete a message.
fn named_by(request: &HttpRequest) -> Option<String> {
    if *request.method() != Method::GET || request.extensions().get::<HeadRequest>().is_some() {
        return None;
    }
    let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
    let id = parameters.find(|(name, _)| name == PARAMETER).map(|(_, id)| id.into_owned())?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Adds the id to an address as a parameter, before the fragment.
fn with_id(location: &str, id: &str) -> String {
    let (page, fragment) = match location.split_once('#') {
        Some((page, fragment)) => (page, format!("#{fragment}")),
        None => (location, String::new()),
    };
    let joint = if page.contains('?') { '&' } else { '?' };
    format!("{page}{joint}{PARAMETER}={id}{fragment}")
}

/// The key for the encryption of private cookies by the `cookie` crate: AES-256-GCM, with the cookie's name
/// authenticated.
fn key(config: &WebConfig, id: &str) -> Key {
    let mut digest = Sha512::new();
    digest.update(b"flash ");
    digest.update(config.secret_key.expose_secret().as_bytes());
    digest.update(id.as_bytes());
    Key::derive_from(&digest.finalize())
}

fn seal(config: &WebConfig, id: &str, text: String) -> String {
    let mut jar = CookieJar::new();
    jar.private_mut(&key(config, id)).add(Cookie::new(PARAMETER, text));
    jar.get(PARAMETER).map(|cookie| cookie.value().to_owned()).unwrap_or_default()
}

fn open(config: &WebConfig, id: &str, sealed: String) -> Option<String> {
    let mut jar = CookieJar::new();
    jar.add_original(Cookie::new(PARAMETER, sealed));
    jar.private(&key(config, id)).get(PARAMETER).map(|cookie| cookie.value().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(secret: &str) -> WebConfig {
        WebConfig {
            public_url: "http://127.0.0.1".parse().unwrap(),
            secret_key: secret.repeat(64).into(),
            cors_allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            rate_limits: false,
            metrics_token: None,
            dropped_log_lines: Default::default(),
            connections: crate::ConnectionLimits::default(),
        }
    }

    #[test]
    fn a_stored_message_is_readable_only_with_the_id_and_the_secret() {
        let sealed = seal(&config("a"), "1", "a secret".to_owned());
        assert!(!sealed.contains("secret"));
        assert_eq!(open(&config("a"), "1", sealed.clone()).as_deref(), Some("a secret"));
        assert_eq!(open(&config("a"), "2", sealed.clone()), None);
        assert_eq!(open(&config("b"), "1", sealed.clone()), None);
        assert_eq!(open(&config("a"), "1", sealed.replace(|c: char| c.is_ascii_digit(), "x")), None);
    }

    #[test]
    fn the_id_is_put_before_the_fragment() {
        assert_eq!(with_id("/settings#tokens", "1"), "/settings?flash=1#tokens");
        assert_eq!(with_id("/watchlist?list=2", "1"), "/watchlist?list=2&flash=1");
        assert_eq!(with_id("/portfolios", "1"), "/portfolios?flash=1");
    }
}
