//! Headers of every response: security, the request's id, compression, and cross-origin access.

use actix_cors::Cors;
use actix_web::HttpMessage;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use tracing_actix_web::RequestId;

use crate::http::limits;
use crate::{AppState, WebConfig};

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const HSTS: &str = "max-age=31536000";

pub async fn security(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let https = request.app_data::<Data<AppState>>().is_some_and(|state| state.config.is_https());
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut response = next.call(request).await?;
    limits::announce(&mut response);
    let headers = response.headers_mut();
    // The request's id in the log lines, which users can quote when they report a problem.
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    let mut set =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, CSP);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if https {
        set(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Smaller bodies are not compressed: they hardly shrink, and fit into one packet with the headers anyway.
const SMALL_BODY_BYTES: u64 = 1024;

/// Marks small bodies as `identity`, because the outer compression layer skips responses that have an encoding.
/// [`leave_streams_uncompressed`] removes the mark.
pub async fn compress_large_bodies(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    if let BodySize::Sized(size) = response.response().body().size()
        && size < SMALL_BODY_BYTES
        && !response.headers().contains_key(header::CONTENT_ENCODING)
    {
        response.headers_mut().insert(header::CONTENT_ENCODING, IDENTITY);
    }
    Ok(response)
}

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Turns compression off for streams, because it would hold events back, and removes the mark of
/// [`compress_large_bodies`].
pub async fn leave_streams_uncompressed(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.path() == "/api/v1/stream" {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let mut response = next.call(request).await?;
    if response.headers().get(header::CONTENT_ENCODING) == Some(&IDENTITY) {
        response.headers_mut().remove(header::CONTENT_ENCODING);
    }
    Ok(response)
}

/// Marks a HEAD request, whose response is sent without its body.
pub struct HeadRequest;

/// Handles HEAD as GET; the server leaves the body out. The mark is for handlers whose body has no end.
pub async fn head_as_get(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(HeadRequest);
    }
    next.call(request).await
}

/// Allows the listed origins, without cookies: scripts on other sites use a token.
pub fn cors(config: &WebConfig) -> Cors {
    config.cors_allowed_origins.iter().fold(
        Cors::default()
            .allowed_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allowed_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
            ])
            .expose_headers([
                header::ETAG,
                HeaderName::from_static("idempotent-replayed"),
                header::LOCATION,
                header::RETRY_AFTER,
                limits::RATE_LIMIT,
                limits::RATE_LIMIT_POLICY,
                HeaderName::from_static("x-request-id"),
            ])
            .block_on_origin_mismatch(false)
            .max_age(3600),
        |cors, origin| cors.allowed_origin(origin),
    )
}
