//! One log line per request, within a span whose fields appear in every other line of the request.

use std::time::Instant;

use actix_web::Error;
use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use domain::UserId;
use tracing::Span;
use tracing::field::Empty;
use tracing_actix_web::{RequestId, RootSpanBuilder};

use crate::AppState;
use crate::http::limits::client_ip;
use crate::http::portfolio_access::without_link_key;

pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    /// Logs the path without the query, which may contain search texts, and without a link key, which is a secret.
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().map(ToString::to_string);
        let client = request
            .app_data::<Data<AppState>>()
            .and_then(|state| client_ip(request.peer_addr(), request.headers(), &state.config));
        tracing::info_span!(
            "request",
            request_id = id.unwrap_or_default(),
            method = %request.method(),
            path = &*without_link_key(request.path()),
            client = client.map(tracing::field::display),
            user_id = Empty,
        )
    }

    /// [`log_request`] writes the line; it knows the request's route and start.
    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}

/// Adds the user to the current request's log lines.
pub fn record_user(id: UserId) {
    Span::current().record("user_id", id.0);
}

/// Writes the access line when the response begins; a stream or a large body may still be in progress.
pub async fn log_request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let start = Instant::now();
    // Addresses that do not exist have no route, so requests with made-up addresses add no values of `route`.
    let route = request.match_pattern();
    let outcome = next.call(request).await;
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let duration_ms = (start.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    tracing::info!(route, status = status.as_u16(), duration_ms, "answered");
    outcome
}
