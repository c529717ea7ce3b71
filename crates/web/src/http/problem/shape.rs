//! The format of error responses: a problem document for API clients, a page for browsers.

use std::fmt;

use actix_session::storage::{LoadError, SaveError, UpdateError};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use services::Error;

use super::Problem;

/// Whether errors under this path are problem documents instead of pages.
fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/") || path.starts_with("/health") || path == "/metrics"
}

/// Marks a response whose body is already an error page.
pub struct Rendered;

/// Gives every error response its format: a problem document under `/api`, a page elsewhere. This includes the
/// plain-text errors of the framework.
pub async fn shape_errors(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let api = is_api(request.path());
    let answered = next.call(request).await.map_err(|error| of_session(error, api))?.map_into_boxed_body();
    let status = answered.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(answered);
    }
    let is_problem = answered
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    let rendered = answered.response().extensions().get::<Rendered>().is_some();
    let is_ours = answered.response().error().is_some_and(|error| problem_of(error).is_some());
    if rendered || (api && is_problem && !is_ours) {
        return Ok(answered);
    }
    let (request, response) = answered.into_parts();
    let problem = response.error().and_then(problem_of).unwrap_or_else(|| framework_problem(status));
    let mut shaped = match api {
        true => problem.response_to(&request),
        false => crate::shell::render::error_page(&request, &problem),
    };
    for name in [header::ALLOW, header::SET_COOKIE] {
        for value in response.headers().get_all(&name) {
            shaped.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(ServiceResponse::new(request, shaped))
}

/// Replaces the error of a session that cannot be loaded or stored by the problem of an unavailable database.
fn of_session(error: actix_web::Error, api: bool) -> actix_web::Error {
    let is_of_session = error.as_error::<InternalError<LoadError>>().is_some()
        || error.as_error::<InternalError<SaveError>>().is_some()
        || error.as_error::<InternalError<UpdateError>>().is_some()
        || error.as_error::<InternalError<anyhow::Error>>().is_some();
    if !is_of_session {
        return error;
    }
    match api {
        true => Problem::database_unavailable().into(),
        false => PlainPage(Problem::database_unavailable()).into(),
    }
}

/// An error page without the usual frame, for errors without a request to build it from.
#[derive(Debug)]
struct PlainPage(Problem);

impl fmt::Display for PlainPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for PlainPage {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let (title, detail) = (self.0.title, &self.0.detail);
        let html = format!("<!doctype html><title>{title}</title><h1>{title}</h1><p>{detail}</p>");
        let mut response =
            HttpResponse::build(self.0.status).content_type("text/html; charset=utf-8").body(html);
        self.0.set_headers(&mut response);
        response
    }
}

/// The problem that one of our handlers returned, for a page or for the API.
fn problem_of(error: &actix_web::Error) -> Option<Problem> {
    let page = error.as_error::<PageError>().map(|PageError(problem)| problem);
    page.or_else(|| error.as_error::<Problem>()).cloned()
}

fn framework_problem(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            status,
            "method_not_allowed",
            "Method not allowed",
            "See `Allow` for the methods of this address.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "payload_too_large", "Too large", "The request's body is too large.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            status,
            "unsupported_media_type",
            "Unsupported media type",
            "Send the body as JSON, with `Content-Type: application/json`.",
        ),
        status if status.is_client_error() => {
            Problem::new(status, "bad_request", "Bad request", "The request cannot be read.")
        }
        _ => Problem::internal(),
    }
}

/// An error whose response is a page instead of a problem document.
#[derive(Debug)]
pub struct PageError(pub Problem);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    /// [`shape_errors`] turns this response into a page, because only it has the request.
    fn error_response(&self) -> HttpResponse {
        self.0.error_response()
    }
}

/// Redirects an anonymous visitor of a page to the login, which leads back to the page. After a POST it does not lead
/// back, because the target of a form is not a page.
pub fn to_login(request: &HttpRequest) -> HttpResponse {
    let wanted = request.uri().path_and_query().filter(|_| *request.method() == Method::GET);
    let address = wanted.map_or_else(
        || "/login".to_owned(),
        |wanted| {
            let next = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("next", wanted.as_str())
                .finish();
            format!("/login?{next}")
        },
    );
    HttpResponse::SeeOther().insert_header((header::LOCATION, address)).finish()
}
