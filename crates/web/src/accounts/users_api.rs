//! The user's own account.

use actix_web::HttpResponse;
use actix_web::web::Data;
use actix_web::{HttpRequest, Result};
use domain::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use services::accounts::register::{Account, ProfileChanges};
use utoipa::ToSchema;

use crate::AppState;
use crate::http::device_cookie::Client;
use crate::http::extract::CurrentUser;
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::http::session;

#[derive(Serialize, ToSchema)]
pub struct User {
    id: i64,
    username: String,
    email: String,
    first_name: String,
    last_name: String,
    date_joined: Timestamp,
    is_admin: bool,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.0,
            username: account.username,
            email: account.email,
            first_name: account.first_name,
            last_name: account.last_name,
            date_joined: account.date_joined,
            is_admin: account.is_admin,
        }
    }
}

/// Get your account.
#[utoipa::path(
    get, path = "/api/v1/users/me", tag = "account", operation_id = "getMe",
    responses((status = 200, description = "Your account", body = User)),
)]
pub async fn me(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(User::from(Account::clone(&user.account)))
}

/// Changes to the account. A field that is left out keeps its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChanges {
    username: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

/// Change your name or e-mail address.
///
/// Changing the user name or the e-mail address needs a session; a token is refused.
#[utoipa::path(
    patch, path = "/api/v1/users/me", tag = "account", operation_id = "updateMe",
    request_body = UserChanges,
    responses((status = 200, description = "Your changed account", body = User)),
    extensions(("x-problem-codes" = json!(["session_required", "taken"]))),
)]
pub async fn update(
    user: CurrentUser,
    body: Json<UserChanges>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let UserChanges { username, email, first_name, last_name } = body.into_inner();
    // Both are used to log in, so they are protected like the password.
    if username.is_some() || email.is_some() {
        user.require_session()?;
    }
    let changes = ProfileChanges { username, email, first_name, last_name };
    let account = state.services.accounts().update_profile(user.account.id, changes).await?;
    Ok(HttpResponse::Ok().json(User::from(account)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountDeletion {
    #[schema(value_type = String)]
    current_password: SecretString,
}

/// Delete your account with all its data.
///
/// Needs a session and the password.
#[utoipa::path(
    delete, path = "/api/v1/users/me", tag = "account", operation_id = "deleteMe",
    request_body = AccountDeletion,
    responses((status = 204, description = "Your account is deleted")),
    extensions(("x-problem-codes" = json!([
        "session_required", "wrong_password", "too_many_attempts", "password_checks_busy", "last_admin"
    ]))),
)]
pub async fn delete(
    request: HttpRequest,
    user: CurrentUser,
    Client(client): Client,
    body: Json<AccountDeletion>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    user.require_session()?;
    let AccountDeletion { current_password } = body.into_inner();
    state.services.accounts().delete_account(user.account.id, current_password, &client).await?;
    session::log_out(&request);
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    #[schema(value_type = String)]
    current_password: SecretString,
    /// 8 to 256 characters.
    #[schema(value_type = String)]
    new_password: SecretString,
}

/// Change your password.
///
/// Ends all other sessions and all tokens.
#[utoipa::path(
    post, path = "/api/v1/users/me/password", tag = "account", operation_id = "changePassword",
    request_body = PasswordChange,
    responses((status = 204, description = "The password is changed")),
    extensions(("x-problem-codes" = json!([
        "session_required", "wrong_password", "too_many_attempts", "password_checks_busy", "session"
    ]))),
)]
pub async fn change_password(
    request: HttpRequest,
    user: CurrentUser,
    Client(client): Client,
    body: Json<PasswordChange>,
) -> Result<HttpResponse, Problem> {
    user.require_session()?;
    let PasswordChange { current_password, new_password } = body.into_inner();
    let passwords =
        services::accounts::register::PasswordChange { current: current_password, new: new_password };
    let remember = session::change_password(&request, user.account.id, passwords, &client).await?;
    Ok(remember(HttpResponse::NoContent().finish()))
}
