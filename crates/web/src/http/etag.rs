//! Responses that clients may cache and revalidate with `If-None-Match`.

use actix_web::http::header::{self, ContentType, EntityTag, IfNoneMatch};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;

/// The entity tag of a content. Weak, because the response may be compressed.
pub fn for_content(content: &[u8]) -> EntityTag {
    let hash = Sha256::digest(content);
    EntityTag::new_weak(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the client has cached the content with this tag.
pub fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    request.headers().contains_key(header::IF_NONE_MATCH)
        && match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
            None => false,
        }
}

/// Returns the JSON with its tag, or 304 to a client that has it already. Clients may cache the response and have to
/// revalidate it before each use; shared caches may store it only if `scope` is public.
pub fn json(request: &HttpRequest, scope: CacheScope, content: Bytes, tag: EntityTag) -> HttpResponse {
    let is_known = is_known(request, &tag);
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(header::ETag(tag)).insert_header((header::CACHE_CONTROL, scope.directives()));
    match is_known {
        true => response.finish(),
        false => response.content_type(ContentType::json()).body(content),
    }
}

/// Like [`json`], for a value that only its user may see.
///
/// # Errors
/// If the value cannot be written as JSON.
pub fn private(request: &HttpRequest, value: &impl Serialize) -> Result<HttpResponse, Problem> {
    let content = serde_json::to_vec(value).map_err(|error| services::Error::Internal(Box::new(error)))?;
    let tag = for_content(&content);
    Ok(json(request, CacheScope::Private, content.into(), tag))
}

/// The caches that may store a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    Public,
    Private,
}

impl CacheScope {
    fn directives(self) -> &'static str {
        match self {
            Self::Public => "public, no-cache",
            Self::Private => "private, no-cache",
        }
    }
}
