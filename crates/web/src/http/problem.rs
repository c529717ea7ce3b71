//! Errors as the outside sees them: RFC 9457 problem documents for the API, pages for people.
//! The only place that knows which refusal has which status.

use std::fmt;

use actix_session::storage::{LoadError, SaveError, UpdateError};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use domain::{OrderRejected, Timestamp};
use serde_json::{Map, Value, json};
use services::{Error, FieldError, StoreError};
use tracing_actix_web::RequestId;

use crate::openapi::misfits::{self, Misfit};

use crate::trading::words;

/// An error answer. Internal causes are logged where it is made and never shown.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    /// Fields that do not fit the API's description.
    misfits: Vec<Misfit>,
    /// Numbers and names behind the refusal, under the names of the field.
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
            _ => "Some fields need another value; see `errors`.".into(),
        };
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", "Invalid fields", detail);
        Self { errors, ..problem }
    }

    /// A request that does not fit the API's description.
    pub fn misfits(misfits: Vec<Misfit>) -> Self {
        let detail = match misfits.as_slice() {
            [only] => format!("`{}` {}.", only.field, only.message),
            _ => "Some fields need another value; see `errors`.".into(),
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
        let detail = "Something went wrong on our side. It is in the log; trying again may help.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    pub fn database_unavailable() -> Self {
        let detail =
            "The database does not answer at the moment. Nothing was changed: try again in a moment.";
        Self::outage(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail)
    }

    /// Something that the database or its disk refuses, and that heals without a change of the request.
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

    /// Whether it is the input's fault, so that a form can be shown again with it.
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

    /// The fields that are wrong; with the request, also where they are in its body.
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

    /// The response to a request of the API, which names the request in the log and the places of its fields.
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

    /// The problem document.
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

/// Seconds from now on; `retry_at` of a source is wall time.
fn seconds_until(at: Timestamp) -> i64 {
    (at - services::Clock::system().wall()).num_seconds()
}

/// A sentence: first letter large, a stop at the end.
fn sentence(text: &impl ToString) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(letters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = sentence(&error);
        let unprocessable =
            |code, title| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail.clone());
        match error {
            Error::NotFound(_) => Self { detail, ..Self::not_found() },
            Error::Invalid(errors) => Self::invalid(errors),
            Error::Taken(errors) => {
                Self { errors, ..Self::new(StatusCode::CONFLICT, "taken", "Already taken", detail) }
            }
            Error::OrderRejected(reason) => order_rejected(&reason, &detail),
            Error::ClientOrderIdReused => unprocessable("client_order_id_reused", "Order id used before"),
            Error::IdempotencyKeyReused => unprocessable("idempotency_key_reused", "Key used before"),
            Error::OrderNotOpen { status } => {
                Self::new(StatusCode::CONFLICT, "order_not_open", "Order not open", detail)
                    .fact("order_status", status)
            }
            Error::Archived => Self::new(StatusCode::CONFLICT, "portfolio_archived", "Archived", detail),
            Error::Busy => {
                let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
                Self { retry_after_s: Some(1), ..busy }
            }
            Error::CallsUsedUp { symbol, retry_at, .. } => {
                Self::unavailable("no_price", detail, Some(retry_at)).fact("symbol", symbol)
            }
            Error::PriceUnconfirmed { symbol, .. } => {
                let unconfirmed = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "price_unconfirmed",
                    "Price not confirmed",
                    detail,
                );
                Self { retry_after_s: Some(60), ..unconfirmed }.fact("symbol", symbol)
            }
            Error::ClockBehind { by } => {
                let behind =
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "clock_behind", "Clock behind", detail);
                Self { retry_after_s: Some(60), ..behind }.fact("behind_s", by.num_seconds())
            }
            Error::TooManyStreams(_) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let problem = Self::new(status, "too_many_streams", "Too many streams", detail);
                Self { retry_after_s: Some(30), ..problem }
            }
            Error::StreamsFull => {
                let full = Self::new(StatusCode::SERVICE_UNAVAILABLE, "streams_full", "Busy", detail);
                Self { retry_after_s: Some(30), ..full }
            }
            Error::InsufficientCash { required, available } => {
                unprocessable("insufficient_cash", "Not enough cash")
                    .fact("required", required)
                    .fact("available", available)
            }
            Error::SharesReserved { symbol, required, available } => {
                unprocessable("shares_reserved", "Shares reserved")
                    .fact("symbol", symbol)
                    .fact("required", required)
                    .fact("available", available)
            }
            Error::UnknownSymbol(symbol) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_symbol", "Unknown symbol", detail)
                    .fact("symbol", symbol)
            }
            Error::NotTradable { symbol, .. } => {
                unprocessable("not_tradable", "Not tradable").fact("symbol", symbol)
            }
            Error::TradingHalted { symbol, .. } => {
                Self::new(StatusCode::CONFLICT, "trading_halted", "Trading halted", detail)
                    .fact("symbol", symbol)
            }
            Error::NoSplitInDoubt(symbol) => {
                Self::new(StatusCode::CONFLICT, "no_split_in_doubt", "No split in doubt", detail)
                    .fact("symbol", symbol)
            }
            Error::NoPrice { symbol, retry_at } => {
                Self::unavailable("no_price", detail, retry_at).fact("symbol", symbol)
            }
            Error::SourceUnavailable { retry_at } => {
                Self::unavailable("source_unavailable", detail, retry_at)
            }
            Error::BadCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, "bad_credentials", "Login failed", detail)
            }
            Error::TooManyAttempts { retry_after } => Self {
                retry_after_s: Some(retry_after.num_seconds() + 1),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts", detail)
            },
            Error::PasswordChecksBusy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let busy = Self::new(status, "password_checks_busy", "Busy", detail);
                Self { retry_after_s: Some(5), ..busy }
            }
            Error::WrongPassword => {
                Self::new(StatusCode::FORBIDDEN, "wrong_password", "Wrong password", detail)
            }
            Error::LastAdmin => Self::new(StatusCode::CONFLICT, "last_admin", "Last administrator", detail),
            Error::TooManyPortfolios(_) => {
                Self::new(StatusCode::CONFLICT, "too_many_portfolios", "Too many", detail)
            }
            Error::OrderUnconfirmed { client_order_id, source } => {
                Self::from(*source).fact("client_order_id", client_order_id)
            }
            Error::Store(cause) => of_database(&cause),
            Error::Internal(cause) => {
                tracing::error!(error = &*cause as &dyn std::error::Error, "internal error");
                Self::internal()
            }
        }
    }
}

/// When a client should try again after an outage of the database, which is used at once when it is back.
const DATABASE_RETRY_S: i64 = 3;

/// An error of the database: an outage, or a fault of this program.
fn of_database(error: &StoreError) -> Problem {
    let cause = error as &dyn std::error::Error;
    match error.is_outage() {
        true => tracing::warn!(error = cause, "database"),
        false => tracing::error!(error = cause, "database"),
    }
    let unavailable = |code, detail| Problem::outage(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    match error {
        StoreError::Unavailable(_) | StoreError::LoginRefused(_) => Problem::database_unavailable(),
        StoreError::Busy(_) => {
            unavailable("database_busy", "The database is busy. Nothing was changed: try again in a moment.")
        }
        StoreError::ReadOnly(_) => unavailable(
            "database_read_only",
            "The database accepts no changes at the moment. Nothing was changed: try again later.",
        ),
        StoreError::OutcomeUnknown(_) => unavailable(
            "outcome_unknown",
            "The database did not confirm the change in time, so it may have been made or not. Check before you repeat \
             it. An order is found by its client_order_id, and is not placed twice under the same one.",
        ),
        StoreError::Full(_) => Problem::outage(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage_full",
            "The disk of the database is full. Nothing was changed: try again when there is space.",
        ),
        StoreError::Duplicate(_)
        | StoreError::MissingReference(_)
        | StoreError::PendingMigrations
        | StoreError::NewerSchema { .. }
        | StoreError::ForeignTables
        | StoreError::Damaged(_)
        | StoreError::Migration(_)
        | StoreError::Corrupt(_)
        | StoreError::Query(_) => Problem::internal(),
    }
}

fn order_rejected(reason: &OrderRejected, detail: &str) -> Problem {
    let problem = |code, title| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail);
    match reason {
        OrderRejected::InsufficientBuyingPower { required, available } => {
            problem("insufficient_buying_power", "Not enough buying power")
                .fact("required", required)
                .fact("available", available)
        }
        OrderRejected::InsufficientShares { required, available } => {
            problem("insufficient_shares", "Not enough shares")
                .fact("required", required)
                .fact("available", available)
        }
        OrderRejected::NothingHeld => problem("insufficient_shares", "Not enough shares"),
        OrderRejected::TooSmall => problem("order_too_small", "Order too small"),
        OrderRejected::TooLarge => problem("order_too_large", "Order too large"),
        OrderRejected::NoFreshPrice { as_of } => {
            problem("no_fresh_price", "No fresh price").fact("as_of", as_of)
        }
        OrderRejected::TrailTooWide => problem("trail_too_wide", "Trail too wide"),
        OrderRejected::Unfit(issues) => words::api::unfit(issues),
        OrderRejected::NotOpen { .. }
        | OrderRejected::Transition(_)
        | OrderRejected::PriceFromFuture { .. } => Problem::from(Error::from(reason.clone())),
    }
}

/// Whether the path belongs to programs and not to people.
fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/") || path.starts_with("/health") || path == "/metrics"
}

/// Marks an answer whose body is a page already.
pub struct Rendered;

/// Gives every error answer its form: what the framework says in plain text becomes a problem document under
/// `/api`, and a page elsewhere.
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

/// A session that cannot be loaded or stored ends its request without a response of ours: it has the database's.
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

/// A page without the frame of the others, which needs the request.
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

/// What a handler of ours refused with, of a page or of the API.
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

/// A refusal for a person: a page instead of a document.
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

    /// `shape_errors` makes the page; it has the request, which a page needs.
    fn error_response(&self) -> HttpResponse {
        self.0.error_response()
    }
}

/// Sends an anonymous visitor of a page to the login, and back afterwards. The target of a form is no page to come
/// back to.
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::{OrderStatus, TradingHold};
    use services::NotFound;

    use super::*;
    use crate::samples::{self, samples};

    #[test]
    fn everything_that_can_be_missing_has_words_of_its_own() {
        let missing = samples!(NotFound {
            NotFound::User => NotFound::User,
            NotFound::Session => NotFound::Session,
            NotFound::Token => NotFound::Token,
            NotFound::Portfolio => NotFound::Portfolio,
            NotFound::Position => NotFound::Position,
            NotFound::Order => NotFound::Order,
            NotFound::Transaction => NotFound::Transaction,
            NotFound::Watchlist => NotFound::Watchlist,
            NotFound::WatchedStock => NotFound::WatchedStock,
            NotFound::Stock => NotFound::Stock,
            NotFound::CloseOut => NotFound::CloseOut,
        });
        let mut told = std::collections::BTreeSet::new();
        for missing in missing {
            let problem = Problem::from(Error::NotFound(missing));
            assert_eq!((problem.status().as_u16(), problem.code), (404, "not_found"));
            samples::assert_sentence(problem.detail(), &missing);
            assert!(told.insert(problem.detail), "{missing:?} is told like another one");
        }
    }

    #[test]
    fn every_refusal_of_a_use_case_is_a_sentence_with_its_values() {
        let symbol: domain::Symbol = "AAPL".parse().unwrap();
        let at: Timestamp = "2026-11-20T19:10:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
        let fields = || vec![FieldError::new("email", "use another one")];
        let refusals = samples!(Error {
            Error::NotFound(_) => Error::NotFound(NotFound::Order),
            Error::Invalid(_) => Error::Invalid([fields(), fields()].concat()),
            Error::Taken(_) => Error::Taken(fields()),
            Error::OrderRejected(_) => Error::OrderRejected(OrderRejected::TooSmall),
            Error::ClientOrderIdReused => Error::ClientOrderIdReused,
            Error::IdempotencyKeyReused => Error::IdempotencyKeyReused,
            Error::OrderNotOpen { .. } => Error::OrderNotOpen { status: OrderStatus::Expired },
            Error::Archived => Error::Archived,
            Error::Busy => Error::Busy,
            Error::InsufficientCash { .. } => Error::InsufficientCash {
                required: "1711.01".parse().unwrap(),
                available: "1622.02".parse().unwrap(),
            },
            Error::SharesReserved { .. } => Error::SharesReserved {
                symbol: symbol.clone(),
                required: "17.11".parse().unwrap(),
                available: "16.22".parse().unwrap(),
            },
            Error::UnknownSymbol(_) => Error::UnknownSymbol(symbol.clone()),
            Error::NotTradable { .. } => Error::NotTradable { symbol: symbol.clone(), reason: "it is an index" },
            Error::TradingHalted { .. } => Error::TradingHalted {
                symbol: symbol.clone(),
                hold: Box::new(TradingHold::SplitContradicted {
                    ratio: "10:1".parse().unwrap(),
                    compared: Some(("17.11".parse().unwrap(), "170.22".parse().unwrap())),
                }),
            },
            Error::NoSplitInDoubt(_) => Error::NoSplitInDoubt(symbol.clone()),
            Error::ClockBehind { .. } => Error::ClockBehind { by: TimeDelta::minutes(7) },
            Error::NoPrice { .. } => Error::NoPrice { symbol: symbol.clone(), retry_at: None },
            Error::CallsUsedUp { .. } => Error::CallsUsedUp {
                symbol: symbol.clone(),
                limit: market_data::CallLimit::PerDay(25),
                retry_at: at,
            },
            Error::PriceUnconfirmed { .. } => Error::PriceUnconfirmed {
                symbol: symbol.clone(),
                cause: market_data::QuoteError::Unreachable,
            },
            Error::SourceUnavailable { .. } => Error::SourceUnavailable { retry_at: None },
            Error::BadCredentials => Error::BadCredentials,
            Error::TooManyAttempts { .. } => Error::TooManyAttempts { retry_after: TimeDelta::seconds(3) },
            Error::PasswordChecksBusy => Error::PasswordChecksBusy,
            Error::WrongPassword => Error::WrongPassword,
            Error::LastAdmin => Error::LastAdmin,
            Error::TooManyPortfolios(_) => Error::TooManyPortfolios(50),
            Error::TooManyStreams(_) => Error::TooManyStreams(20),
            Error::StreamsFull => Error::StreamsFull,
            Error::OrderUnconfirmed { .. } => Error::OrderUnconfirmed {
                client_order_id: "mine".to_owned(),
                source: Box::new(Error::Busy),
            },
            Error::Store(_) => Error::Store(StoreError::PendingMigrations),
            Error::Internal(_) => Error::Internal("a fault".into()),
        });
        for refusal in refusals {
            let values: &[&str] = match &refusal {
                Error::Taken(_) => &["email"],
                Error::OrderNotOpen { .. } => &["expired"],
                Error::InsufficientCash { .. } => &["1711.01", "1622.02"],
                Error::SharesReserved { .. } => &["AAPL", "17.11", "16.22"],
                Error::UnknownSymbol(_) | Error::NoSplitInDoubt(_) | Error::NoPrice { .. } => &["AAPL"],
                Error::NotTradable { .. } => &["AAPL", "index"],
                Error::TradingHalted { .. } => &["AAPL", "10:1", "17.11", "170.22"],
                Error::ClockBehind { .. } => &["7 minutes"],
                Error::CallsUsedUp { .. } => &["AAPL", "25", "14:10 on 20 November"],
                Error::PriceUnconfirmed { .. } => &["AAPL"],
                Error::TooManyPortfolios(_) => &["50"],
                Error::TooManyStreams(_) => &["20"],
                _ => &[],
            };
            let told = format!("{refusal:?}");
            let problem = Problem::from(refusal);
            samples::assert_sentence(problem.detail(), &told);
            assert!(
                values.iter().all(|value| problem.detail().contains(value)),
                "{told}: {}",
                problem.detail()
            );
        }
    }

    #[test]
    fn who_finds_the_order_desk_full_is_told_when_to_come_back() {
        let response = Problem::from(Error::Busy).error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "1");
    }
}
