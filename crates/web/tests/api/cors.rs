//! Scripts on other sites: allowed for listed origins only, and with a token instead of a cookie.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Caller, TestApp};

const NOTEBOOK: &str = "https://notebook.example";

async fn app() -> TestApp {
    TestApp::spawn_with(|config| config.cors_allowed_origins = vec![NOTEBOOK.to_owned()]).await
}

async fn preflight(caller: &Caller, origin: &str, method: &str, headers: &str) -> Answer {
    caller
        .with("origin", origin)
        .with("access-control-request-method", method)
        .with("access-control-request-headers", headers)
        .ask(Method::OPTIONS, "/api/v1/portfolios")
        .await
}

#[tokio::test]
async fn a_preflight_from_a_listed_origin_is_answered() {
    let app = app().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let headers = "authorization, content-type, idempotency-key, if-none-match, last-event-id";
        let answer = preflight(&app.anonymous(), NOTEBOOK, method, headers).await.is(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(NOTEBOOK));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("access-control-max-age"), Some("3600"));
        let mut allowed: Vec<String> = answer
            .header("access-control-allow-headers")
            .unwrap()
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .collect();
        allowed.sort();
        assert_eq!(
            allowed,
            ["authorization", "content-type", "idempotency-key", "if-none-match", "last-event-id"]
        );
        assert!(answer.header("access-control-allow-methods").unwrap().contains(method));
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
    }
}

#[tokio::test]
async fn a_preflight_from_another_origin_or_for_unlisted_methods_and_headers_is_refused() {
    let app = app().await;
    for (origin, method, headers) in [
        ("https://evil.example", "GET", "authorization"),
        ("https://notebook.example.evil.example", "GET", "authorization"),
        ("http://notebook.example", "GET", "authorization"),
        ("https://notebook.example:8443", "GET", "authorization"),
        ("null", "GET", "authorization"),
        (NOTEBOOK, "TRACE", "authorization"),
        (NOTEBOOK, "GET", "x-anything"),
    ] {
        let answer = preflight(&app.anonymous(), origin, method, headers).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {method} {headers}");
        assert!(answer.status >= 400, "{origin} {method} {headers}: {}", answer.status);
    }
}

#[tokio::test]
async fn scripts_of_a_listed_origin_can_read_responses_and_errors() {
    let app = app().await;
    let mara = app.register("mara").await;
    let script = mara.with("origin", NOTEBOOK).with("sec-fetch-site", "cross-site");
    let answers = [
        script.post("/api/v1/portfolios", json!({"name": "Growth"})).await.is(201),
        script.get("/api/v1/portfolios").await.is(200),
        script.get("/api/v1/portfolios/999").await.is(404),
        script.post("/api/v1/portfolios", json!({})).await.is(422),
        app.anonymous().with("origin", NOTEBOOK).get("/api/v1/portfolios").await.is(401),
    ];
    for answer in answers {
        assert_eq!(answer.header("access-control-allow-origin"), Some(NOTEBOOK));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        for name in [
            "etag",
            "idempotent-replayed",
            "location",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
        ] {
            assert!(exposed.split(',').any(|one| one.trim() == name), "{name}: {exposed}");
        }
    }
}

#[tokio::test]
async fn scripts_of_other_origins_cannot_read_responses() {
    let app = app().await;
    let mara = app.register("mara").await;
    let script = mara.with("origin", "https://evil.example");
    let answer = script.get("/api/v1/portfolios").await.is(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_listed_origin_cannot_use_the_session_cookie() {
    let app = app().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await.with("origin", NOTEBOOK).with("sec-fetch-site", "cross-site");
    browser.post("/api/v1/portfolios", json!({"name": "Growth"})).await.is_refused(403, "cross_origin");
    let answer = browser.get("/api/v1/portfolios").await;
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn no_origin_is_listed_by_default() {
    let app = TestApp::spawn().await;
    let answer = preflight(&app.anonymous(), NOTEBOOK, "GET", "authorization").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = app.anonymous().with("origin", NOTEBOOK).get("/health/live").await.is(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
