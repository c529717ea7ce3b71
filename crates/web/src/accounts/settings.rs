//! The settings page: profile, display, password, logins, API tokens, deletion.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::web::Data;
use chrono::{NaiveDate, TimeDelta, TimeZone};
use domain::calendar::EXCHANGE_ZONE;
use domain::{Timestamp, TokenId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use services::accounts::register::{Account, PasswordChange, ProfileChanges};
use services::accounts::sessions::SessionInfo;
use services::accounts::tokens::{Scope, TokenInfo};
use services::{FieldError, NotFound, Services};

use crate::AppState;
use crate::http::device_cookie::Client;
use crate::http::extract::{Form, LoggedIn};
use crate::http::problem::{PageError, Problem};
use crate::http::session;
use crate::shell::display::with_display;
use crate::shell::flash::NewToken as ShownToken;
use crate::shell::form::{FormView, refusal};
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::layout::Nav;
use crate::shell::links::see_other;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
struct SettingsView {
    joined: Moment,
    profile: FormView,
    password: FormView,
    sessions: Vec<SessionRow>,
    tokens: Vec<TokenRow>,
    token_form: FormView,
    new_token: Option<ShownToken>,
    delete: FormView,
}

#[derive(Serialize)]
struct SessionRow {
    id: i64,
    device: String,
    since: Moment,
    seen: Moment,
    current: bool,
}

#[derive(Serialize)]
struct TokenRow {
    id: String,
    name: String,
    scope: &'static str,
    made: Moment,
    ends: Option<Moment>,
}

fn profile_form(account: &Account) -> FormView {
    FormView::new("profile")
        .with("first_name", &account.first_name)
        .with("last_name", &account.last_name)
        .with("username", &account.username)
        .with("email", &account.email)
}

async fn view(
    services: &Services,
    signed: &LoggedIn,
    shell: &Shell,
) -> Result<SettingsView, services::Error> {
    let account = &signed.account;
    let sessions = services.accounts().sessions(account.id, signed.session_key.clone()).await?;
    let tokens = services.accounts().tokens(account.id).await?;
    Ok(SettingsView {
        joined: format::day(account.date_joined),
        profile: shell.form(profile_form(account)),
        password: shell.form(FormView::new("password")),
        sessions: sessions.into_iter().map(SessionRow::from).collect(),
        tokens: tokens.into_iter().map(TokenRow::from).collect(),
        token_form: shell.form(FormView::new("token")),
        new_token: shell.token.clone(),
        delete: shell.form(FormView::new("remove")),
    })
}

impl From<SessionInfo> for SessionRow {
    fn from(info: SessionInfo) -> Self {
        let state: HashMap<String, String> = serde_json::from_str(&info.state).unwrap_or_default();
        // actix-session stores each value as a JSON text.
        let agent = state.get(session::DEVICE_KEY).and_then(|text| serde_json::from_str::<String>(text).ok());
        Self {
            id: info.id,
            device: device(agent.as_deref().unwrap_or_default()),
            since: format::day(info.created_at),
            seen: format::day_and_minute(info.last_seen_at),
            current: info.is_current,
        }
    }
}

impl From<TokenInfo> for TokenRow {
    fn from(info: TokenInfo) -> Self {
        Self {
            id: info.id.to_string(),
            name: info.name,
            scope: match info.scope {
                Scope::Trade => "read and trade",
                Scope::Read => "read",
                Scope::Admin => "administer and read",
            },
            made: format::day(info.created_at),
            // An expiry at midnight is the end of the day before.
            ends: info.expires_at.map(|at| format::day(at - TimeDelta::seconds(1))),
        }
    }
}

/// Returns `Firefox, Linux` for a browser's user agent. The order matters: most user agents name several browsers.
fn device(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    let browser = find(&[
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrom", "Chrome"),
        ("CriOS", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ]);
    let system = find(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "Mac"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser}, {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "Unknown device".to_owned(),
    }
}

const TEMPLATE: &str = "settings.html";

pub async fn show(shell: Shell, signed: LoggedIn, state: Data<AppState>) -> PageResult {
    let view = view(&state.services, &signed, &shell).await?;
    shell.show(TEMPLATE, Nav::Settings, "Settings", &view)
}

#[derive(Deserialize)]
pub struct Profile {
    username: String,
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

pub async fn update_profile(
    shell: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
    Form(posted): Form<Profile>,
) -> PageResult {
    let form = FormView::new("profile")
        .with("first_name", &posted.first_name)
        .with("last_name", &posted.last_name)
        .with("username", &posted.username)
        .with("email", &posted.email);
    let changes = ProfileChanges {
        username: Some(posted.username),
        email: Some(posted.email),
        first_name: Some(posted.first_name),
        last_name: Some(posted.last_name),
    };
    match state.services.accounts().update_profile(signed.account.id, changes).await {
        Ok(_) => Ok(shell.redirect_with_success("/settings", "The profile is saved.").await),
        Err(error) => {
            let problem = refusal(error)?;
            shell.refuse("/settings#profile", form.refused(&problem)).await
        }
    }
}

#[derive(Deserialize)]
pub struct Display {
    theme: String,
    gain: String,
}

pub async fn update_display(shell: Shell, _: LoggedIn, Form(posted): Form<Display>) -> PageResult {
    let answer =
        shell.redirect_with_success("/settings", "The display settings are saved in this browser.").await;
    Ok(with_display(answer, shell.config(), &posted.theme, &posted.gain))
}

#[derive(Deserialize)]
pub struct Passwords {
    current_password: SecretString,
    new_password: SecretString,
}

pub async fn change_password(
    request: HttpRequest,
    shell: Shell,
    signed: LoggedIn,
    Client(client): Client,
    Form(Passwords { current_password, new_password }): Form<Passwords>,
) -> PageResult {
    let passwords = PasswordChange { current: current_password, new: new_password };
    let changed = session::change_password(&request, signed.account.id, passwords, &client).await;
    match changed {
        Ok(remember) => {
            let text = "The password is changed. All other logins and all API tokens have ended.";
            Ok(remember(shell.redirect_with_success("/settings", text).await))
        }
        Err(error) => {
            let problem = at_the_password(error, "current_password")?;
            shell.refuse("/settings#security", FormView::new("password").refused(&problem)).await
        }
    }
}

/// Reports a wrong password at its field.
fn at_the_password(error: services::Error, field: &'static str) -> Result<Problem, PageError> {
    match error {
        services::Error::WrongPassword => {
            Ok(Problem::invalid(vec![FieldError::new(field, services::Error::WrongPassword.to_string())]))
        }
        other => refusal(other),
    }
}

#[derive(Deserialize)]
pub struct EndedSession {
    end: i64,
}

pub async fn end_session(
    shell: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
    Form(posted): Form<EndedSession>,
) -> PageResult {
    match state.services.accounts().revoke_session(signed.account.id, posted.end).await {
        Ok(()) | Err(services::Error::NotFound(NotFound::Session)) => {
            Ok(shell.redirect_with_success("/settings#security", "That session was logged out.").await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub struct NewToken {
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    expires_on: String,
    /// Required for the scope `admin`.
    current_password: Option<SecretString>,
}

/// The instant at which the day ends in New York.
fn end_of_day(text: &str) -> Result<Option<Timestamp>, FieldError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || FieldError::new("expires_on", "write a day like 2027-01-31");
    let day: NaiveDate = text.parse().map_err(|_| wrong())?;
    let next = day.succ_opt().and_then(|day| day.and_hms_opt(0, 0, 0)).ok_or_else(wrong)?;
    let at = EXCHANGE_ZONE.from_local_datetime(&next).earliest().ok_or_else(wrong)?;
    Ok(Some(at.to_utc().into()))
}

/// Creates an API token. The next page shows its secret, once.
pub async fn create_token(
    shell: Shell,
    signed: LoggedIn,
    Client(client): Client,
    state: Data<AppState>,
    Form(posted): Form<NewToken>,
) -> PageResult {
    let services = &state.services;
    let form = FormView::new("token")
        .with("name", &posted.name)
        .with("scope", &posted.scope)
        .with("expires_on", &posted.expires_on);
    let scope = posted.scope.parse().unwrap_or_default();
    let made = match end_of_day(&posted.expires_on) {
        Ok(expires_at) if scope == Scope::Admin => {
            let password = posted.current_password.unwrap_or_default();
            services
                .accounts()
                .create_admin_token(signed.account.id, &posted.name, expires_at, password, &client)
                .await
        }
        Ok(expires_at) => {
            services.accounts().create_token(signed.account.id, &posted.name, scope, expires_at).await
        }
        Err(field) => Err(services::Error::Invalid(vec![field])),
    };
    match made {
        Ok((info, secret)) => shell.show_token("/settings#tokens", info.name, secret).await,
        Err(error) => {
            let problem = at_the_password(error, "current_password")?;
            // The form has the field expires_on, a day; the use case reports errors of expires_at.
            let fields: Vec<FieldError> = problem
                .fields()
                .iter()
                .map(|error| match error.field {
                    "expires_at" => FieldError::new("expires_on", error.message.clone()),
                    _ => error.clone(),
                })
                .collect();
            let form = if fields.is_empty() { form.refused(&problem) } else { form.refused_fields(&fields) };
            shell.refuse("/settings#tokens", form).await
        }
    }
}

#[derive(Deserialize)]
pub struct RevokedToken {
    revoke: String,
}

pub async fn revoke_token(
    shell: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
    Form(posted): Form<RevokedToken>,
) -> PageResult {
    let id = posted.revoke.parse().map(TokenId).map_err(|_| Problem::not_found())?;
    match state.services.accounts().revoke_token(signed.account.id, id).await {
        Ok(()) | Err(services::Error::NotFound(NotFound::Token)) => {
            Ok(shell.redirect_with_success("/settings#tokens", "The token is revoked.").await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub struct DeleteAccountForm {
    password: SecretString,
}

pub async fn delete_account(
    shell: Shell,
    request: HttpRequest,
    signed: LoggedIn,
    Client(client): Client,
    Form(posted): Form<DeleteAccountForm>,
) -> PageResult {
    match shell.services().accounts().delete_account(signed.account.id, posted.password, &client).await {
        Ok(()) => {
            session::log_out(&request);
            Ok(see_other("/"))
        }
        Err(error) => {
            let problem = at_the_password(error, "password")?;
            shell.refuse("/settings#delete", FormView::new("remove").refused(&problem)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_by_product_and_system() {
        for (agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox, Linux"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1",
                "Safari, iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0",
                "Edge, Windows",
            ),
            ("curl/8.5.0", "curl"),
            ("", "Unknown device"),
        ] {
            assert_eq!(device(agent), name);
        }
    }

    #[test]
    fn a_token_expires_at_the_end_of_its_day() {
        let ends = end_of_day("2027-01-31").unwrap().unwrap();
        assert_eq!(ends.to_rfc3339(), "2027-02-01T05:00:00Z");
        assert_eq!(end_of_day(" "), Ok(None));
        assert_eq!(end_of_day("soon").unwrap_err().field, "expires_on");
    }
}
