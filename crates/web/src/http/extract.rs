//! Extractors that handlers share: the authenticated user, and forms.

use domain::{PortfolioId, PortfolioRef};
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_session::SessionExt;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use services::FieldError;
use services::accounts::actor::{Actor, Administrator, Credential, NotAdministrator, NotTrader, Trader};
use services::accounts::register::Account;

use crate::AppState;
use crate::http::limits::Accepted;
use crate::http::problem::{PageError, Problem, to_login};
use crate::http::{access_log, csrf, portfolio_access, session};

/// The maximum size of a body. Bodies are small: orders, names, filters.
const BODY_LIMIT: usize = 64 * 1024;

/// A file to import, as a string in JSON, where each line end has two characters.
const FILE_LIMIT: usize = 2 * services::books::import::MAX_BYTES;

/// Lets a route take files.
pub fn with_file_limit(resource: actix_web::Resource) -> actix_web::Resource {
    resource.app_data(json_config(FILE_LIMIT))
}

/// Reads JSON bodies up to `limit` bytes; errors become problem documents.
fn json_config(limit: usize) -> web::JsonConfig {
    use actix_web::error::JsonPayloadError;
    web::JsonConfig::default().limit(limit).error_handler(|error, _| {
        match &error {
            JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "Too large",
                "The body is too large.",
            ),
            JsonPayloadError::ContentType => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                "Send the body as JSON, with `Content-Type: application/json`.",
            ),
            JsonPayloadError::Deserialize(cause) => {
                Problem::bad_request("malformed_json", format!("The body is not valid JSON: {cause}."))
            }
            _ => Problem::bad_request("unreadable_body", "The body cannot be read."),
        }
        .into()
    })
}

/// Replaces the framework's errors about bodies, queries and paths by problem documents.
pub fn configure(config: &mut web::ServiceConfig) {
    use actix_web::error::QueryPayloadError;
    let json = json_config(BODY_LIMIT);
    let query = web::QueryConfig::default().error_handler(|error, _| {
        let message = match error {
            QueryPayloadError::Deserialize(cause) => cause.to_string(),
            other => other.to_string(),
        };
        Problem::invalid(vec![FieldError::new("query", message)]).into()
    });
    let path = web::PathConfig::default().error_handler(|_, _| Problem::not_found().into());
    config.app_data(json).app_data(query).app_data(path).app_data(web::PayloadConfig::new(BODY_LIMIT));
}

fn state(request: &HttpRequest) -> Data<AppState> {
    request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app").clone()
}

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Authenticates a request by `Authorization: Bearer …`, and only without that header by the session cookie.
async fn identify(request: &HttpRequest) -> Result<Option<(Arc<Account>, Credential)>, Problem> {
    let identified = look_up(request).await?;
    let user = identified.as_ref().map(|(account, _)| account.id);
    request.extensions_mut().insert(Accepted(user));
    Ok(identified)
}

async fn look_up(request: &HttpRequest) -> Result<Option<(Arc<Account>, Credential)>, Problem> {
    let services = &state(request).services;
    if request.headers().contains_key(header::AUTHORIZATION) {
        let Some(token) = bearer(request.headers()) else { return Ok(None) };
        let owner = services.accounts().token_owner(token).await?;
        return Ok(owner.map(|(account, scope)| (account, Credential::Token(scope))));
    }
    match session::user(&request.get_session())? {
        Some(id) => {
            Ok(services.accounts().account(id).await?.map(|account| (account.into(), Credential::Session)))
        }
        None => Ok(None),
    }
}

/// Whether the path belongs to the API for administrators.
fn is_administration(path: &str) -> bool {
    path.starts_with("/api/v1/admin/")
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the browser's headers say that the request comes from one of our own pages. Programs send no such headers,
/// and pass.
pub(crate) fn is_same_origin(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = text("host").unwrap_or_default();
            origin == own || origin.split_once("://").is_some_and(|(_, authority)| authority == host)
        }
        (None, None) => true,
    }
}

/// The authenticated user of an API request, whose credential is sufficient for the request's method.
#[derive(Debug, Clone)]
pub struct CurrentUser {
    pub account: Arc<Account>,
    credential: Credential,
}

impl CurrentUser {
    fn actor(&self) -> Actor {
        Actor { account: self.account.clone(), credential: self.credential }
    }

    /// Returns the user if the credential is sufficient for the request's method.
    pub fn trader(&self) -> Result<Trader, Problem> {
        self.actor().trader().map_err(|denied| match denied {
            NotTrader::ReadOnlyToken => Problem::forbidden("read_only_token", "This token may only read."),
            NotTrader::AdminToken => Problem::forbidden(
                "admin_token",
                "This token is for administration: use a token with the scope trade.",
            ),
        })
    }

    /// # Errors
    /// 404 if the user is not an administrator, 403 for an administrator's token without the scope `admin`.
    fn administrator(&self) -> Result<Administrator, Problem> {
        self.actor().administrator().map_err(|denied| match denied {
            NotAdministrator::Account => Problem::not_found(),
            NotAdministrator::Token => Problem::forbidden(
                "admin_token_required",
                "This token has no administrator rights: use a token with the scope admin, or log in.",
            ),
        })
    }

    /// The session or token of the request, for a stream that ends when the credential ends.
    ///
    /// # Errors
    /// 401 if the credential has ended in the meantime.
    pub fn proof_of(&self, request: &HttpRequest) -> Result<services::live::Proof, Problem> {
        let proof = match self.credential {
            Credential::Session => {
                session::key(request, &state(request).config).map(|key| services::live::Proof::session(&key))
            }
            Credential::Token(_) => bearer(request.headers()).map(services::live::Proof::token),
        };
        proof.ok_or_else(Problem::unauthorized)
    }

    /// Requires a session: an API token may not change the security of an account.
    ///
    /// # Errors
    /// 403 for a token.
    pub fn require_session(&self) -> Result<(), Problem> {
        match self.credential {
            Credential::Session => Ok(()),
            Credential::Token(_) => Err(Problem::forbidden(
                "session_required",
                "An API token cannot do this: log in with the password.",
            )),
        }
    }
}

/// Removes the cookies of a request with an `Authorization` header: the header alone authenticates it, and no session
/// is read or prolonged.
pub async fn authorization_alone(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        request.headers_mut().remove(header::COOKIE);
    }
    next.call(request).await
}

/// Authenticates a request of the API before its handler runs. A caller without access gets only that error and no
/// validation errors: actix runs the extractors of a request concurrently, so the error about the body might come
/// first.
pub async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let who = match identify(request.request()).await {
        Ok(who) => who.map(|(account, credential)| CurrentUser { account, credential }),
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let shared = match &who {
        None => portfolio_access::without_credentials(request.request()).await,
        Some(_) => Ok(None),
    };
    let shared = match shared {
        Ok(shared) => shared,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    let path = request.match_info().as_str();
    let is_open = shared.is_some()
        || matches!(path, "/api/v1/auth/register" | "/api/v1/auth/login" | "/api/v1/auth/tokens");
    let closed = match &who {
        None if !is_open => Some(Problem::unauthorized()),
        Some(user) if is_administration(path) => user.administrator().err(),
        _ => None,
    };
    if let Some(user) = who {
        access_log::record_user(user.account.id);
        request.extensions_mut().insert(user);
    }
    if let Some(access) = shared {
        request.extensions_mut().insert(access);
    }
    let answered = next.call(request).await?.map_into_boxed_body();
    let status = answered.status();
    let told =
        status.is_client_error() && !matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    Ok(match closed {
        Some(problem) if told => answered.into_response(HttpResponse::from_error(problem)),
        _ => answered,
    })
}

impl FromRequest for CurrentUser {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticated(request).and_then(|user| {
            if is_write(request.method()) {
                user.trader()?;
            }
            Ok(user)
        }))
    }
}

/// The user that [`authenticate`] has found, if the credential is sufficient for the request's method.
fn authenticated(request: &HttpRequest) -> Result<CurrentUser, Problem> {
    let user = request.extensions().get::<CurrentUser>().cloned().ok_or_else(Problem::unauthorized)?;
    let is_foreign = user.credential == Credential::Session
        && is_write(request.method())
        && !is_same_origin(request.headers(), &state(request).config.origin());
    if is_foreign {
        return Err(Problem::forbidden("cross_origin", "The request came from another site."));
    }
    Ok(user)
}

/// The administrator who sent an API request; for other users the address does not exist.
pub struct AdminUser(pub Administrator);

impl FromRequest for AdminUser {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticated(request).and_then(|user| user.administrator().map(Self)))
    }
}

/// A page's visitor, logged in or not.
pub struct Visitor(pub Option<Account>);

impl FromRequest for Visitor {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let services = &state(&request).services;
            let account = match session::user(&request.get_session())? {
                Some(id) => {
                    access_log::record_user(id);
                    services.accounts().account(id).await?
                }
                None => None,
            };
            request.extensions_mut().insert(Accepted(account.as_ref().map(|account| account.id)));
            Ok(Self(account))
        }
        .boxed_local()
    }
}

/// The logged-in user of a page; other visitors are redirected to the login.
pub struct LoggedIn {
    pub account: Account,
    /// The key of this browser's session.
    pub session_key: Option<String>,
}

impl LoggedIn {
    /// The right to change what belongs to the user.
    pub fn trader(&self) -> Trader {
        Trader::in_session(&self.account)
    }

    /// A portfolio, which the use case looks for among the user's own.
    pub fn portfolio(&self, id: PortfolioId) -> PortfolioRef {
        PortfolioRef::new(self.account.id, id)
    }
}

/// An error whose response is a redirect to the login.
#[derive(Debug)]
struct NotLoggedIn(Box<HttpRequest>);

/// Redirects the visitor of a page to the login.
pub(crate) fn not_logged_in(request: &HttpRequest) -> actix_web::Error {
    NotLoggedIn(Box::new(request.clone())).into()
}

impl std::fmt::Display for NotLoggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not logged in")
    }
}

impl ResponseError for NotLoggedIn {
    fn status_code(&self) -> StatusCode {
        StatusCode::SEE_OTHER
    }

    fn error_response(&self) -> HttpResponse {
        to_login(&self.0)
    }
}

impl FromRequest for LoggedIn {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload);
        let request = request.clone();
        async move {
            match visitor.await {
                Ok(Visitor(Some(account))) => {
                    let session_key = session::key(&request, &state(&request).config);
                    Ok(Self { account, session_key })
                }
                Ok(Visitor(None)) => Err(not_logged_in(&request)),
                // Without its wrapper: the error page is made from a `Problem`.
                Err(PageError(problem)) => Err(problem.into()),
            }
        }
        .boxed_local()
    }
}

/// The administrator who opened a page; for other users the page does not exist.
pub struct Admin(pub Administrator);

impl FromRequest for Admin {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed = LoggedIn::from_request(request, payload);
        async move {
            let signed = signed.await?;
            let actor = Actor { account: signed.account.into(), credential: Credential::Session };
            actor.administrator().map(Self).map_err(|_| Problem::not_found().into())
        }
        .boxed_local()
    }
}

/// The fields of a posted form, whose CSRF token was right.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let fields = web::Form::<Vec<(String, String)>>::from_request(request, payload);
        let request = request.clone();
        async move {
            let mut fields = fields.await.map_err(|error| unreadable_form(&error))?.into_inner();
            let tokens: Vec<String> =
                fields.extract_if(.., |(name, _)| name == csrf::FIELD).map(|(_, value)| value).collect();
            if !tokens.iter().any(|token| is_own_form(&request, token)) {
                return Err(foreign_form().into());
            }
            let body = serde_urlencoded::to_string(&fields)
                .map_err(|_| Problem::bad_request("unreadable_form", "The form cannot be read."))?;
            let form = serde_urlencoded::from_str(&body).map_err(|error| {
                Problem::bad_request("unreadable_form", format!("The form cannot be read: {error}."))
            })?;
            Ok(Self(form))
        }
        .boxed_local()
    }
}

/// The fields of a form on an administrator's page. actix runs the extractors of a request concurrently, so this one
/// waits until it is known that an administrator sent the form: for other users the page does not exist, whatever they
/// send.
pub struct AdminForm<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for AdminForm<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admin = Admin::from_request(request, payload);
        let form = Form::<T>::from_request(request, payload);
        async move {
            admin.await?;
            let Form(fields) = form.await?;
            Ok(Self(fields))
        }
        .boxed_local()
    }
}

/// Whether a form was sent from one of our own pages: its token is right, and the browser names no other origin.
pub(crate) fn is_own_form(request: &HttpRequest, token: &str) -> bool {
    csrf::is_valid(request, token) && is_same_origin(request.headers(), &state(request).config.origin())
}

/// The answer to a form from elsewhere.
pub(crate) fn foreign_form() -> Problem {
    let detail = "The page was too old or came from another site. Go back, reload it and try again.";
    Problem::forbidden("csrf", detail)
}

fn unreadable_form(error: &actix_web::Error) -> Problem {
    match error.as_response_error().status_code() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "payload_too_large", "Too large", "The form is too large.")
        }
        _ => Problem::bad_request("unreadable_form", "The form cannot be read."),
    }
}
