//! Errors as clients see them: RFC 9457 problem documents for the API, pages for browsers. Only this module maps errors
//! to statuses.

mod shape;
mod use_cases;

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use domain::Timestamp;
use serde_json::{Map, Value, json};
use services::FieldError;
use tracing_actix_web::RequestId;
use use_cases::DATABASE_RETRY_S;

use crate::openapi::misfits::{self, Misfit};

pub use shape::{PageError, Rendered, shape_errors, to_login};

/// An error response. Internal causes are logged where it is created, and are never sent to the client.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    /// Fields of the request that do not match the API's description.
    misfits: Vec<Misfit>,
    /// Further members of the problem document: numbers and names of the error.
    facts: Map<String, Value>,
    retry_after_s: Option<i64>,
}

impl Problem {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            misfits: Vec::new(),
            facts: Map::new(),
            retry_after_s: None,
        }
    }

    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "There is nothing at this address, or it is not yours.",
        )
    }

    /// The same problem with another detail.
    pub fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    pub fn unauthorized() -> Self {
        let detail = "Log in, or send an API token as `Authorization: Bearer …`.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not logged in", detail)
    }

    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, "Not allowed", detail)
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "The request cannot be read", detail)
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}.", only.field, only.message),
            _ => "Some fields are invalid; see `errors`.".into(),
        };
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", "Invalid fields", detail);
        Self { errors, ..problem }
    }

    /// A request that does not match the API's description.
    pub fn misfits(misfits: Vec<Misfit>) -> Self {
        let detail = match misfits.as_slice() {
            [only] => format!("`{}` {}.", only.field, only.message),
            _ => "Some fields are invalid; see `errors`.".into(),
        };
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", "Invalid fields", detail);
        Self { misfits, ..problem }
    }

    pub fn too_many_requests(retry_after_s: i64) -> Self {
        let detail = "Too many requests: slow down.";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests", detail);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..problem }
    }

    pub fn request_timeout(detail: &'static str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timeout", detail)
    }

    fn fact(self, name: &str, value: impl fmt::Display) -> Self {
        self.with_member(name, Value::String(value.to_string()))
    }

    /// Adds a member to the problem document.
    pub fn with_member(mut self, name: &str, value: Value) -> Self {
        debug_assert!(
            !["type", "title", "status", "detail", "code", "errors"].contains(&name),
            "Invariant: {name} is every problem's"
        );
        self.facts.insert(name.into(), value);
        self
    }

    pub fn internal() -> Self {
        let detail = "Something went wrong on our side. The error is logged; trying again may help.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    pub fn database_unavailable() -> Self {
        let detail =
            "The database does not answer at the moment. Nothing was changed: try again in a moment.";
        Self::outage(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail)
    }

    /// A failure of the database or its disk. The same request can succeed later.
    fn outage(status: StatusCode, code: &'static str, detail: &str) -> Self {
        let problem = Self::new(status, code, "Not available at the moment", detail);
        Self { retry_after_s: Some(DATABASE_RETRY_S), ..problem }
    }

    fn unavailable(code: &'static str, detail: impl Into<String>, retry_at: Option<Timestamp>) -> Self {
        let seconds = retry_at.map_or(30, seconds_until);
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not available at the moment", detail);
        Self { retry_after_s: Some(seconds.clamp(1, 86_400)), ..problem }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn title(&self) -> &'static str {
        self.title
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn fields(&self) -> &[FieldError] {
        &self.errors
    }

    /// Whether the problem is caused by what the user entered, so that the form can be shown again.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT)
            || matches!(self.code, "bad_credentials" | "wrong_password")
    }

    /// The problem document.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:stockyard:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.facts.clone());
            if !self.errors.is_empty() || !self.misfits.is_empty() {
                members.insert("errors".into(), self.field_errors(None));
            }
        }
        body
    }

    /// The invalid fields. With the request, each has a JSON pointer into the body.
    fn field_errors(&self, request: Option<&HttpRequest>) -> Value {
        let errors = self.errors.iter().map(|error| Misfit {
            field: error.field.to_owned(),
            pointer: request.and_then(|request| misfits::pointer(request, error.field)),
            message: error.message.clone(),
        });
        let errors = errors.chain(self.misfits.iter().cloned()).map(|Misfit { field, pointer, message }| {
            let mut error = json!({"field": field, "message": message});
            if let Some(pointer) = pointer {
                error["pointer"] = pointer.into();
            }
            error
        });
        errors.collect()
    }

    /// The response to an API request, with the request's id and with JSON pointers to the invalid fields.
    fn response_to(&self, request: &HttpRequest) -> HttpResponse {
        let mut body = self.body();
        if body.get("errors").is_some() {
            body["errors"] = self.field_errors(Some(request));
        }
        if let Some(id) = request.extensions().get::<RequestId>() {
            body["request_id"] = id.to_string().into();
        }
        let mut response =
            HttpResponse::build(self.status).content_type("application/problem+json").body(body.to_string());
        self.set_headers(&mut response);
        response
    }

    /// The problem document as text.
    pub fn document(&self) -> String {
        self.body().to_string()
    }

    pub fn set_headers(&self, response: &mut HttpResponse) {
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response =
            HttpResponse::build(self.status).content_type("application/problem+json").body(self.document());
        self.set_headers(&mut response);
        response
    }
}

/// Seconds from now until `at`, which is wall time.
fn seconds_until(at: Timestamp) -> i64 {
    (at - services::Clock::system().wall()).num_seconds()
}
