//! Pages for registration, login and logout.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use services::accounts::register::Registration;

use crate::AppState;
use crate::http::device_cookie::Client;
use crate::http::extract::{Form, Visitor};
use crate::http::session;
use crate::shell::form::{EmptyForm, FormView, refusal};
use crate::shell::format;
use crate::shell::layout::Nav;
use crate::shell::links::{query, see_other};
use crate::shell::render::{PageResult, Shell};

/// The page after a login, unless the visitor came from another page.
const AFTER_LOGIN: &str = "/portfolios";

#[derive(Debug, Default, Deserialize)]
pub struct NextAddress {
    #[serde(default)]
    next: String,
}

#[derive(Serialize)]
struct AccountForm<'a> {
    form: FormView,
    next: &'a str,
    starting_cash: String,
}

/// The maximum length of `next`, in bytes. A longer address is dropped, because it is also the query of other
/// addresses.
const LONGEST_NEXT: usize = 1000;

/// Accepts only an address of this installation: a path, and not `//host` or `/\host`, which browsers treat as
/// another host.
fn own_address(next: &str) -> &str {
    let own = next.len() <= LONGEST_NEXT
        && next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && !next.contains(|c: char| c.is_control() || c == '\\');
    if own && next != "/logout" { next } else { AFTER_LOGIN }
}

#[derive(Deserialize)]
pub struct NewAccount {
    username: String,
    email: String,
    password: SecretString,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    next: String,
}

fn view<'a>(state: &AppState, form: FormView, next: &'a str) -> AccountForm<'a> {
    AccountForm { form, next, starting_cash: format::money(state.services.books().starting_cash()) }
}

pub async fn register_form(
    shell: Shell,
    Visitor(user): Visitor,
    wanted: Query<NextAddress>,
    state: Data<AppState>,
) -> PageResult {
    if user.is_some() {
        return Ok(see_other(AFTER_LOGIN));
    }
    let view = view(&state, shell.form(FormView::new("register")), &wanted.next);
    shell.show("register.html", Nav::Elsewhere, "Open an account", &view)
}

pub async fn register(
    shell: Shell,
    request: HttpRequest,
    state: Data<AppState>,
    Form(posted): Form<NewAccount>,
) -> PageResult {
    let NewAccount { username, email, password, first_name, last_name, next } = posted;
    let form = FormView::new("register")
        .with("username", &username)
        .with("email", &email)
        .with("first_name", &first_name)
        .with("last_name", &last_name);
    let registration = Registration { username, email, password, first_name, last_name };
    match state.services.accounts().register(registration).await {
        Ok(account) => Ok(session::log_in(&request, &state, &account, see_other(own_address(&next)))?),
        Err(error) => {
            let problem = refusal(error)?;
            shell.refuse(retry_address("/register", &next), form.refused(&problem)).await
        }
    }
}

#[derive(Deserialize)]
pub struct Login {
    username: String,
    password: SecretString,
    #[serde(default)]
    next: String,
}

pub async fn log_in_form(
    shell: Shell,
    Visitor(user): Visitor,
    wanted: Query<NextAddress>,
    state: Data<AppState>,
) -> PageResult {
    if user.is_some() {
        return Ok(see_other(own_address(&wanted.next)));
    }
    let view = view(&state, shell.form(FormView::new("login")), &wanted.next);
    shell.show("login.html", Nav::Elsewhere, "Log in", &view)
}

pub async fn log_in(
    shell: Shell,
    request: HttpRequest,
    Client(client): Client,
    state: Data<AppState>,
    Form(posted): Form<Login>,
) -> PageResult {
    let Login { username, password, next } = posted;
    match state.services.accounts().authenticate(&username, password, &client).await {
        Ok(account) => Ok(session::log_in(&request, &state, &account, see_other(own_address(&next)))?),
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new("login").with("username", username).refused(&problem);
            shell.refuse(retry_address("/login", &next), form).await
        }
    }
}

/// The address of a form that is shown again after an error. It keeps the page that the visitor wanted to open.
fn retry_address(path: &str, next: &str) -> String {
    let next = if own_address(next) == next { next } else { "" };
    format!("{path}{}", query(&[("next", next)]))
}

#[derive(Serialize)]
struct LogOutPage {}

/// A page with a log-out button, for visitors who open the address. The menu's button posts directly.
pub async fn log_out_form(shell: Shell) -> PageResult {
    shell.show("logout.html", Nav::Elsewhere, "Log out", &LogOutPage {})
}

pub async fn log_out(request: HttpRequest, _: Form<EmptyForm>) -> HttpResponse {
    session::log_out(&request);
    see_other("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_addresses_of_this_installation() {
        assert_eq!(own_address("/portfolios/7?range=1y"), "/portfolios/7?range=1y");
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nSet-Cookie: x",
            "/logout",
        ] {
            assert_eq!(own_address(other), AFTER_LOGIN, "{other}");
        }
    }
}
