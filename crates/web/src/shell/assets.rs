//! The style sheet, the scripts and the pictures, compiled in. An address with the hash of the content may be cached
//! forever.

use actix_web::http::header::{self, CacheControl, CacheDirective, EntityTag};
use actix_web::web::{Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{Embed, EmbeddedFile};
use serde::Deserialize;

use crate::http::etag;
use crate::http::problem::Problem;

#[derive(Embed)]
#[folder = "../../static"]
struct Files;

/// The template sources; `render` reads them once.
#[derive(Embed)]
#[folder = "../../templates"]
pub struct Templates;

/// The chart library, which `scripts/assets` installs before the build. Without it, pages show the charts that the
/// server draws.
const CHART_LIBRARY: &str = "vendor/lightweight-charts.js";

/// Whether the chart library was compiled in.
pub fn has_chart_library() -> bool {
    Files::get(CHART_LIBRARY).is_some()
}

const A_YEAR_S: u32 = 31_536_000;

fn hash(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The address of a file, with the hash of its content.
///
/// # Panics
/// If the file does not exist. Only templates name files, and a test renders every template.
pub fn address(path: &str) -> String {
    let file = Files::get(path).unwrap_or_else(|| panic!("Invariant: static/{path} is compiled in"));
    format!("/static/{path}?v={}", hash(&file))
}

#[derive(Deserialize)]
pub struct Version {
    v: Option<String>,
}

pub async fn serve(
    request: HttpRequest,
    path: Path<String>,
    Query(version): Query<Version>,
) -> Result<HttpResponse, Problem> {
    let file = Files::get(&path).ok_or_else(Problem::not_found)?;
    let hash = hash(&file);
    // Weak, because the response may be compressed.
    let tag = EntityTag::new_weak(hash.clone());
    let caching = match version.v {
        Some(v) if v == hash => CacheControl(vec![
            CacheDirective::Public,
            CacheDirective::MaxAge(A_YEAR_S),
            CacheDirective::Extension("immutable".to_owned(), None),
        ]),
        _ => CacheControl(vec![CacheDirective::NoCache]),
    };
    let unchanged = etag::is_known(&request, &tag);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(header::ETag(tag)).insert_header(caching);
    if unchanged {
        return Ok(response.finish());
    }
    let kind = mime_guess::from_path(path.as_str()).first_or_octet_stream();
    let kind = match kind.type_() {
        mime_guess::mime::TEXT => format!("{kind}; charset=utf-8"),
        _ => kind.to_string(),
    };
    Ok(response.content_type(kind).body(file.data.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, web};

    async fn get(address: &str, etag: Option<&str>) -> actix_web::dev::ServiceResponse {
        let app = init_service(App::new().route("/static/{path:.*}", web::get().to(serve))).await;
        let mut request = TestRequest::get().uri(address);
        if let Some(etag) = etag {
            request = request.insert_header((header::IF_NONE_MATCH, etag));
        }
        call_service(&app, request.to_request()).await
    }

    fn header_of(response: &actix_web::dev::ServiceResponse, name: header::HeaderName) -> String {
        response.headers().get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[actix_web::test]
    async fn a_file_is_cached_forever_only_under_its_own_hash() {
        let hashed = get(&address("style.css"), None).await;
        assert_eq!(header_of(&hashed, header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        assert_eq!(header_of(&hashed, header::CONTENT_TYPE), "text/css; charset=utf-8");
        for other in ["/static/style.css", "/static/style.css?v=0"] {
            assert_eq!(header_of(&get(other, None).await, header::CACHE_CONTROL), "no-cache");
        }
        let svg = get("/static/logo.svg", None).await;
        assert_eq!(header_of(&svg, header::CONTENT_TYPE), "image/svg+xml");
    }

    #[actix_web::test]
    async fn an_unchanged_file_is_not_sent_again() {
        let tag = header_of(&get("/static/app.js", None).await, header::ETAG);
        let again = get("/static/app.js", Some(&tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(read_body(again).await.is_empty());
    }

    #[actix_web::test]
    async fn a_missing_file_is_not_found() {
        for path in ["/static/none.css", "/static/../Cargo.toml", "/static/"] {
            assert_eq!(get(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
