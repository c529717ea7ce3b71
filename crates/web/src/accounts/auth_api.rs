//! Registration, login and API tokens.

use actix_web::web::{Data, Path};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use domain::{Timestamp, TokenId, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use services::Fields;
use services::accounts::register::Registration;
use services::accounts::tokens::{Scope, TokenInfo};
use utoipa::ToSchema;
use uuid::Uuid;

use super::users_api::User;
use crate::AppState;
use crate::http::api::Items;
use crate::http::device_cookie::Client;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::http::session;
use crate::openapi::enums;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// 3 to 32 letters, digits, dots, hyphens or underscores.
    username: String,
    email: String,
    /// 8 to 256 characters.
    #[schema(value_type = String)]
    password: SecretString,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

/// Create an account.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "account", operation_id = "registerUser",
    request_body = NewUser,
    security(()),
    responses((status = 201, description = "The new user", body = User)),
    extensions(("x-problem-codes" = json!(["taken", "password_checks_busy"]))),
)]
pub async fn register(body: Json<NewUser>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let NewUser { username, email, password, first_name, last_name } = body.into_inner();
    let registration = Registration { username, email, password, first_name, last_name };
    let account = state.services.accounts().register(registration).await?;
    Ok(HttpResponse::Created().insert_header(("Location", "/api/v1/users/me")).json(User::from(account)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The name or the e-mail address.
    username: String,
    #[schema(value_type = String)]
    password: SecretString,
}

/// Log in with user name and password.
///
/// Sets the session cookie, and a device cookie: it lets this browser log in even while someone else guesses the
/// account's password.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "account", operation_id = "logIn",
    request_body = Credentials,
    security(()),
    responses((status = 200, description = "The user who is logged in now", body = User)),
    extensions(("x-problem-codes" = json!([
        "bad_credentials", "session", "too_many_attempts", "password_checks_busy"
    ]))),
)]
pub async fn log_in(
    request: HttpRequest,
    body: Json<Credentials>,
    Client(client): Client,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let Credentials { username, password } = body.into_inner();
    let account = state.services.accounts().authenticate(&username, password, &client).await?;
    let response = HttpResponse::Ok().json(User::from(account.clone()));
    session::log_in(&request, &state, &account, response)
}

/// Log out.
///
/// Ends the session.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "account", operation_id = "logOut",
    responses((status = 204, description = "The session has ended")),
)]
pub async fn log_out(request: HttpRequest, _user: CurrentUser) -> HttpResponse {
    session::log_out(&request);
    HttpResponse::NoContent().finish()
}

#[derive(Serialize, ToSchema)]
pub struct Token {
    #[schema(value_type = String, format = "uuid")]
    id: TokenId,
    name: String,
    /// `read`: only read requests; `trade`: everything except account security and administration; `admin`:
    /// administration, and read requests.
    #[schema(value_type = enums::TokenScope)]
    scope: &'static str,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl From<TokenInfo> for Token {
    fn from(info: TokenInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            scope: info.scope.as_str(),
            created_at: info.created_at,
            expires_at: info.expires_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct NewTokenSecret {
    #[serde(flatten)]
    info: Token,
    /// The secret. It is returned only in this response; the server keeps only its hash.
    token: String,
}

/// List your API tokens, newest first.
#[utoipa::path(
    get, path = "/api/v1/auth/tokens", tag = "account", operation_id = "listTokens",
    responses((status = 200, description = "The tokens, without their secrets", body = Items<Token>)),
)]
pub async fn tokens(user: CurrentUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let tokens = state.services.accounts().tokens(user.account.id).await?;
    Ok(HttpResponse::Ok().json(Items::all(tokens.into_iter().map(Token::from).collect())))
}

/// A new API token. `username` and `password` authenticate a request without a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: String,
    /// `read`, `trade` (the default) or `admin`. An `admin` token needs an administrator's session and
    /// `current_password`.
    #[schema(value_type = Option<enums::TokenScope>)]
    scope: Option<String>,
    expires_at: Option<Timestamp>,
    username: Option<String>,
    #[schema(value_type = Option<String>)]
    password: Option<SecretString>,
    /// Required for the scope `admin`.
    #[schema(value_type = Option<String>)]
    current_password: Option<SecretString>,
}

/// Create an API token.
///
/// Needs a session, or user name and password in the body. The secret is returned only once.
#[utoipa::path(
    post, path = "/api/v1/auth/tokens", tag = "account", operation_id = "createToken",
    request_body = NewToken,
    security(("session" = []), ()),
    responses((status = 201, description = "The new token with its secret", body = NewTokenSecret)),
    extensions(("x-problem-codes" = json!([
        "bad_credentials", "session_required", "wrong_password", "too_many_attempts", "password_checks_busy"
    ]))),
)]
pub async fn create_token(
    request: HttpRequest,
    body: Json<NewToken>,
    Client(client): Client,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let NewToken { name, scope, expires_at, username, password, current_password } = body.into_inner();
    let mut reader = Fields::default();
    let scope = reader.read("scope", scope.as_deref().unwrap_or("trade"));
    if username.is_some() != password.is_some() {
        reader.refuse("password", "send username and password together, or neither");
    }
    if scope == Some(Scope::Admin) && username.is_none() && current_password.is_none() {
        reader.refuse("current_password", "a token with the scope admin needs it");
    }
    let scope = reader.finish(scope)?;
    if scope == Scope::Admin && username.is_some() {
        let detail = "Log in first: a token with the scope admin is created in a session.";
        return Err(Problem::forbidden("session_required", detail));
    }
    let user: UserId = match username.zip(password) {
        Some((username, password)) => {
            state.services.accounts().authenticate(&username, password, &client).await?.id
        }
        None => {
            let user = CurrentUser::extract(&request).await?;
            user.require_session()?;
            user.account.id
        }
    };
    let services = &state.services;
    let (info, token) = match (scope, current_password) {
        (Scope::Admin, Some(current)) => {
            services.accounts().create_admin_token(user, &name, expires_at, current, &client).await?
        }
        (scope, _) => services.accounts().create_token(user, &name, scope, expires_at).await?,
    };
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/v1/auth/tokens/{}", info.id)))
        .json(NewTokenSecret { info: info.into(), token }))
}

/// Revoke an API token.
#[utoipa::path(
    delete, path = "/api/v1/auth/tokens/{id}", tag = "account", operation_id = "revokeToken",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204, description = "The token is revoked")),
    extensions(("x-problem-codes" = json!(["session_required"]))),
)]
pub async fn revoke_token(
    user: CurrentUser,
    id: Path<Uuid>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    user.require_session()?;
    state.services.accounts().revoke_token(user.account.id, TokenId(id.into_inner())).await?;
    Ok(HttpResponse::NoContent().finish())
}
