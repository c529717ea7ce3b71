//! Browser sessions: actix-session and actix-identity with our own table of sessions.

use std::collections::HashMap;

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_session::{Session, SessionExt, SessionMiddleware};
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use actix_web::http::header::USER_AGENT;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use chrono::TimeDelta;
use domain::UserId;
use secrecy::ExposeSecret;
use services::Services;
use services::accounts::logins::LoginClient;
use services::accounts::register::{Account, PasswordChange};
use sha2::{Digest, Sha512};

use crate::http::device_cookie;
use crate::http::limits::{Accepted, client_address};
use crate::http::problem::Problem;
use crate::{AppState, WebConfig};

const LIFETIME: Duration = Duration::days(30);
/// The key of the user's id in the session, as actix-identity stores it.
const USER_KEY: &str = "actix_identity.user_id";
/// Marks a session whose values could not be read.
const UNREADABLE: &str = "unreadable";
/// The key of the browser's user agent, for the list of logins.
pub const DEVICE_KEY: &str = "device";

/// The table `sessions` behind actix-session's interface.
pub struct Sessions(Services);

type State = HashMap<String, String>;

/// The user id in the session's values, each of which is JSON.
fn user_of(state: &State) -> Option<UserId> {
    let id: String = serde_json::from_str(state.get(USER_KEY)?).ok()?;
    id.parse().ok().map(UserId)
}

fn time_delta(ttl: &Duration) -> TimeDelta {
    TimeDelta::seconds(ttl.whole_seconds())
}

impl SessionStore for Sessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let state = match self.0.accounts().load_session(key.as_ref()).await {
            Ok(state) => state,
            Err(error) => {
                // An error here would end the request without one of our responses. `user` reports this mark instead.
                tracing::warn!(error = &error as &dyn std::error::Error, "the session cannot be read");
                return Ok(Some(State::from([(UNREADABLE.to_owned(), "true".to_owned())])));
            }
        };
        state
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| LoadError::Deserialization(error.into()))
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let text = serde_json::to_string(&state).map_err(|error| SaveError::Serialization(error.into()))?;
        let key = self
            .0
            .accounts()
            .create_session(user_of(&state), text, time_delta(ttl))
            .await
            .map_err(|error| SaveError::Other(not_stored(error)))?;
        SessionKey::try_from(key).map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(&self, key: SessionKey, state: State, ttl: &Duration) -> Result<SessionKey, UpdateError> {
        let text = serde_json::to_string(&state).map_err(|error| UpdateError::Serialization(error.into()))?;
        let found = self
            .0
            .accounts()
            .update_session(key.as_ref(), user_of(&state), text, time_delta(ttl))
            .await
            .map_err(|error| UpdateError::Other(not_stored(error)))?;
        match found {
            true => Ok(key),
            // The session was ended elsewhere in the meantime, and must not be stored again.
            false => {
                tracing::info!("a session that has ended cannot be changed");
                Err(UpdateError::Other(anyhow::anyhow!("the session has ended")))
            }
        }
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<(), anyhow::Error> {
        if let Err(error) = self.0.accounts().prolong_session(key.as_ref(), time_delta(ttl)).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the session cannot be prolonged");
        }
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.0.accounts().end_session(key.as_ref()).await.map_err(not_stored)
    }
}

/// Logs the causes of the error, because later code logs only its outermost text.
fn not_stored(error: services::Error) -> anyhow::Error {
    tracing::warn!(error = &error as &dyn std::error::Error, "the session cannot be stored");
    error.into()
}

/// The middleware for sessions. Its cookie contains the signed key, so that invalid keys cost no query.
pub fn middleware(services: Services, config: &WebConfig) -> SessionMiddleware<Sessions> {
    let master = Sha512::digest(config.secret_key.expose_secret().as_bytes());
    SessionMiddleware::builder(Sessions(services), Key::derive_from(&master))
        .cookie_name(cookie_name(config, "session"))
        .cookie_secure(config.is_https())
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".into())
        .session_lifecycle(
            PersistentSession::default()
                .session_ttl(LIFETIME)
                .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest),
        )
        .build()
}

pub fn identity() -> IdentityMiddleware {
    IdentityMiddleware::default()
}

/// The name of a cookie. With https it has a prefix with which browsers protect the cookie against other hosts and
/// plain http.
pub fn cookie_name(config: &WebConfig, name: &str) -> String {
    if config.is_https() { format!("__Host-{name}") } else { name.to_owned() }
}

/// Logs the browser's session in to the account, under a new key, and returns the response with the device cookie.
pub fn log_in(
    request: &HttpRequest,
    state: &AppState,
    account: &Account,
    mut response: HttpResponse,
) -> Result<HttpResponse, Problem> {
    let session = request.get_session();
    session.clear();
    let device: String = request
        .headers()
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    let stored = session.insert(DEVICE_KEY, device);
    let logged_in = Identity::login(&request.extensions(), account.id.to_string());
    match (stored, logged_in) {
        (Ok(()), Ok(_)) => {
            request.extensions_mut().insert(Accepted(Some(account.id)));
            device_cookie::remember(request, state, account.id, &mut response);
            Ok(response)
        }
        (stored, logged_in) => {
            tracing::error!(?stored, logged_in = logged_in.is_ok(), "the session cannot be written");
            Err(Problem::forbidden("session", "Your session could not be stored. Try again."))
        }
    }
}

/// Sets a new password from a browser: all other logins and all tokens end, and this one continues with a new key.
/// Returns the response with a new device cookie, because the old ones end with the old password.
///
/// # Errors
/// The errors of `Accounts::change_password`.
pub async fn change_password(
    request: &HttpRequest,
    user: UserId,
    passwords: PasswordChange,
    client: &LoginClient,
) -> services::Result<impl FnOnce(HttpResponse) -> HttpResponse> {
    let state = request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app");
    let session = key(request, &state.config);
    state.services.accounts().change_password(user, passwords, session, client).await?;
    request.get_session().renew();
    Ok(move |mut response: HttpResponse| {
        device_cookie::remember(request, state, user, &mut response);
        response
    })
}

/// Ends the browser's session.
pub fn log_out(request: &HttpRequest) {
    let session = request.get_session();
    if let Ok(Some(user)) = user(&session) {
        let state = request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app");
        let address = client_address(request.peer_addr(), request.headers(), &state.config);
        tracing::info!(
            target: services::log_target::SECURITY, event = "session_ended", user_id = user.0, client_address = address,
            reason = "logout", "session ended"
        );
    }
    session.purge();
}

/// The user of the browser's session.
///
/// # Errors
/// 503 if the database did not answer.
pub fn user(session: &Session) -> Result<Option<UserId>, Problem> {
    if session.contains_key(UNREADABLE) {
        return Err(Problem::database_unavailable());
    }
    let id: Option<String> = session.get(USER_KEY).ok().flatten();
    Ok(id.and_then(|id| id.parse().ok()).map(UserId))
}

/// The key of the browser's session. The database has only its hash.
pub fn key(request: &HttpRequest, config: &WebConfig) -> Option<String> {
    decrypted(request.cookie(&cookie_name(config, "session"))?, config)
}

/// The key of the session that a response creates or prolongs.
pub fn new_key<B>(response: &HttpResponse<B>, config: &WebConfig) -> Option<String> {
    let name = cookie_name(config, "session");
    let cookie = response.cookies().find(|cookie| cookie.name() == name)?;
    decrypted(cookie.into_owned(), config)
}

fn decrypted(cookie: Cookie<'static>, config: &WebConfig) -> Option<String> {
    let master = Sha512::digest(config.secret_key.expose_secret().as_bytes());
    let name = cookie_name(config, "session");
    let mut jar = CookieJar::new();
    jar.add_original(cookie);
    let signed = jar.private(&Key::derive_from(&master)).get(&name)?;
    Some(signed.value().to_owned())
}
