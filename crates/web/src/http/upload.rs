//! Forms with a file.

use std::pin::Pin;

use actix_multipart::Multipart;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{FromRequest, HttpRequest, web};
use futures::{FutureExt as _, StreamExt as _};
use services::books::import::MAX_BYTES;

use crate::http::csrf;
use crate::http::extract::{foreign_form, is_own_form};
use crate::http::problem::{PageError, Problem};

/// The field with the file.
const FILE: &str = "file";
/// Bytes of a token.
const MAX_TOKEN_BYTES: usize = 1024;
/// A larger body is not read to its end; of one up to here the form can say that the file is too large.
const MAX_BODY_BYTES: usize = 16 * MAX_BYTES;

/// The file of a posted form, whose CSRF token was right.
pub struct Upload(pub Result<Vec<u8>, FileTooLarge>);

/// The file has more than [`MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTooLarge;

impl FromRequest for Upload {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let read = match kind.starts_with(b"multipart/form-data") {
            true => read(Multipart::new(request.headers(), payload.take())).boxed_local(),
            false => read_fields(Fields::from_request(request, payload)).boxed_local(),
        };
        let request = request.clone();
        async move {
            let (token, file) = read.await?;
            if !is_own_form(&request, &token) {
                return Err(foreign_form().into());
            }
            Ok(Self(file))
        }
        .boxed_local()
    }
}

type Fields = web::Form<Vec<(String, String)>>;

/// The token and the file of a form that has it as text.
async fn read_fields(
    fields: impl Future<Output = Result<Fields, actix_web::Error>>,
) -> Result<(String, Result<Vec<u8>, FileTooLarge>), Problem> {
    let unreadable = |_| Problem::bad_request("unreadable_form", "The form cannot be read.");
    let (mut token, mut file) = (String::new(), String::new());
    for (name, value) in fields.await.map_err(unreadable)?.into_inner() {
        match name.as_str() {
            csrf::FIELD => token = value,
            FILE => file = value,
            _ => {}
        }
    }
    Ok((token, Ok(file.into_bytes())))
}

/// The token and the file.
async fn read(mut parts: Multipart) -> Result<(String, Result<Vec<u8>, FileTooLarge>), Problem> {
    let unreadable = || Problem::bad_request("unreadable_form", "The form cannot be read.");
    let (mut token, mut file, mut total) = (Vec::new(), Vec::new(), 0);
    let mut is_too_large = false;
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|_| unreadable())?;
        let name = part.name().unwrap_or_default().to_owned();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|_| unreadable())?;
            total += chunk.len();
            if total > MAX_BODY_BYTES {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Problem::new(status, "payload_too_large", "Too large", "The file is too large."));
            }
            match name.as_str() {
                csrf::FIELD if token.len() + chunk.len() <= MAX_TOKEN_BYTES => {
                    token.extend_from_slice(&chunk)
                }
                FILE if file.len() + chunk.len() <= MAX_BYTES => file.extend_from_slice(&chunk),
                FILE => is_too_large = true,
                _ => {}
            }
        }
    }
    let token = String::from_utf8(token).unwrap_or_default();
    Ok((token, if is_too_large { Err(FileTooLarge) } else { Ok(file) }))
}
