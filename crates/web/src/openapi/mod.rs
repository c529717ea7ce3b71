//! The API's description, generated from the handlers.

pub mod enums;
mod finish;
pub mod misfits;
pub mod page;
pub mod problems;
mod shared_reads;

use std::sync::LazyLock;

use actix_web::http::header::EntityTag;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::etag::{self, CacheScope};
use crate::routes;

pub const PATH: &str = "/api/v1/openapi.json";

/// Adds the authentication methods, which are the same for all routes.
pub struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token.")).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description("session", "The browser's login.");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// The OpenAPI document.
///
/// # Panics
/// Never: a description can be written as JSON.
pub fn document() -> Value {
    let mut document = serde_json::to_value(routes::ApiDoc::openapi())
        .expect("Invariant: a description can be written as JSON");
    finish::finish(&mut document);
    shared_reads::describe(&mut document);
    finish::name_pages(document)
}

/// The document, made once.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The text of the document, made once: all clients share one copy.
static JSON: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.to_string().into());

static TAG: LazyLock<EntityTag> = LazyLock::new(|| etag::for_content(&JSON));

/// Serves the document. It changes only with the version of the server, so clients revalidate their copy.
pub async fn json(request: HttpRequest) -> HttpResponse {
    etag::json(&request, CacheScope::Public, JSON.clone(), TAG.clone())
}
