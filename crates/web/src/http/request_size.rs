//! Limits on the size of a request's head. The limits on bodies are in `extract.rs`.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;

use crate::http::problem::Problem;

/// Bytes of path and query together.
const URL_LIMIT: usize = 8 * 1024;
/// Bytes of all header lines together. actix itself answers 431 for heads of more than 128 KiB and for more than 96
/// header lines, without a problem document.
const HEADER_LIMIT: usize = 16 * 1024;

/// Answers 414 to addresses and 431 to headers that are too long.
pub async fn limit_head(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match refused(&request) {
        Some(problem) => Ok(request.into_response(HttpResponse::from_error(problem))),
        None => Ok(next.call(request).await?.map_into_boxed_body()),
    }
}

fn refused(request: &ServiceRequest) -> Option<Problem> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    if url > URL_LIMIT {
        let detail = format!("The address has {url} bytes; it may have {URL_LIMIT}.");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", "Address too long", detail));
    }
    // Each line also has a colon, a blank and a line end.
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let headers: usize = lines.sum();
    (headers > HEADER_LIMIT).then(|| {
        let detail = format!(
            "The header fields have {headers} bytes; they may have {HEADER_LIMIT}. In a browser, delete the cookies of \
             this site."
        );
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Problem::new(status, "header_too_large", "Header fields too large", detail)
    })
}
