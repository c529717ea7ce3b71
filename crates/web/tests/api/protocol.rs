//! Rules for every address: logins, methods, unreadable bodies, and the format of responses.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use services::accounts::tokens::Scope;

use crate::harness::{Caller, TestApp};

const PORTFOLIOS: &str = "/api/v1/portfolios";

/// Every operation in the API's description: method, path with valid ids, whether it needs a login.
async fn operations(app: &TestApp) -> Vec<(Method, String, bool)> {
    let document = app.anonymous().get("/api/v1/openapi.json").await.is(200).json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let id = if path.starts_with("/api/v1/auth/tokens") {
            "00000000-0000-0000-0000-000000000000"
        } else {
            "1"
        };
        let path = path
            .replace("{id}", id)
            .replace("{order_id}", "00000000-0000-0000-0000-000000000000")
            .replace("{symbol}", "AAPL")
            .replace("{figure}", "total_value");
        for (method, operation) in item.as_object().unwrap() {
            // An operation without credentials, or with credentials in the body. Reads of a portfolio need no
            // credentials only if it is shared; the portfolio in this test is not.
            let security = operation["security"].as_array();
            let is_optional = security.is_some_and(|needs| needs.is_empty() || needs.contains(&json!({})));
            let is_public = is_optional && !path.starts_with("/api/v1/portfolios/");
            operations.push((method.to_uppercase().parse().unwrap(), path.clone(), !is_public));
        }
    }
    assert!(operations.len() > 40);
    operations
}

#[tokio::test]
async fn only_public_operations_work_without_a_login() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    mara.open("100").await;
    let mut public = Vec::new();
    for (method, path, needs_login) in operations(&app).await {
        if !needs_login {
            public.push(format!("{method} {path}"));
            continue;
        }
        for caller in
            [app.anonymous(), app.with_token("wrong"), app.anonymous().with_cookie("session", "wrong")]
        {
            let answer = caller.ask(method.clone(), &path).await;
            answer.is_refused(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        }
    }
    public.sort();
    assert_eq!(public, ["POST /api/v1/auth/login", "POST /api/v1/auth/register", "POST /api/v1/auth/tokens"]);
}

#[tokio::test]
async fn a_read_token_can_read_everything_and_change_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.register_admin("ada").await;
    let reader = app.with_token(&app.token(ada.id, Scope::Read).await);
    for (method, path, needs_login) in operations(&app).await {
        if !needs_login {
            continue;
        }
        if path == "/api/v1/stream" {
            // The response to GET never ends.
            reader.head(&path).await.is(200);
            continue;
        }
        let answer = reader.tell(method.clone(), &path, "application/json", "{}".to_owned()).await;
        match method {
            // The administrators' addresses need a token with the scope `admin`.
            Method::GET if path.starts_with("/api/v1/admin/") => {
                drop(answer.is_refused(403, "admin_token_required"));
            }
            Method::GET => assert_ne!(answer.status, 403, "{path}"),
            _ if path.starts_with("/api/v1/admin/") => drop(answer.is_refused(403, "admin_token_required")),
            _ => drop(answer.is_refused(403, "read_only_token")),
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_the_allowed_ones() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for (method, path, allowed) in [
        (Method::PUT, PORTFOLIOS, "GET, POST"),
        (Method::DELETE, PORTFOLIOS, "GET, POST"),
        (Method::GET, "/api/v1/auth/login", "POST"),
        (Method::POST, "/api/v1/users/me", "GET, PATCH, DELETE"),
        (Method::POST, "/api/v1/portfolios/1", "GET, PATCH, DELETE"),
        (Method::PUT, "/api/v1/portfolios/1/orders/5", "GET, PATCH, DELETE"),
        (Method::GET, "/api/v1/portfolios/1/orders/preview", "POST"),
        (Method::GET, "/api/v1/watchlists/1/items/AAPL", "PUT, DELETE"),
        (Method::TRACE, "/api/v1/stocks/AAPL", "GET"),
    ] {
        for caller in [&*mara, &app.anonymous()] {
            let answer = caller.ask(method.clone(), path).await;
            answer.is_refused(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        }
    }
    let answer = mara.put(PORTFOLIOS).await;
    assert_json_snapshot!(answer.is_refused(405, "method_not_allowed"), @r#"
    {
      "code": "method_not_allowed",
      "detail": "See `Allow` for the methods of this address.",
      "status": 405,
      "title": "Method not allowed",
      "type": "urn:stockyard:problem:method_not_allowed"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_address_is_a_problem_document() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for path in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/portfolios",
        "/api/v1/portfolios/",
        "/api/v1//portfolios",
        "/api/v1/portfolios/1/nothing",
        "/api/v1/stocks/AAPL/quote/now",
        "/health",
    ] {
        for caller in [&*mara, &app.anonymous()] {
            caller.get(path).await.is_refused(404, "not_found");
        }
    }
    assert_json_snapshot!(mara.get("/api/v1/nothing").await.is_refused(404, "not_found"), @r#"
    {
      "code": "not_found",
      "detail": "There is nothing at this address, or it is not yours.",
      "status": 404,
      "title": "Not found",
      "type": "urn:stockyard:problem:not_found"
    }
    "#);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for body in ["", "{", "{\"name\": }", "name=Growth", "{\"name\": \"a\"} x", "\u{feff}{}", "{'name': 'a'}"]
    {
        mara.post_text(PORTFOLIOS, body).await.is_refused(400, "malformed_json");
    }
    let broken = mara.post_text(PORTFOLIOS, "{\"name\": \"a\",}").await;
    assert_json_snapshot!(broken.is_refused(400, "malformed_json"), @r#"
    {
      "code": "malformed_json",
      "detail": "The body is not valid JSON: key must be a string at line 1 column 14.",
      "status": 400,
      "title": "The request cannot be read",
      "type": "urn:stockyard:problem:malformed_json"
    }
    "#);
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(mara.post_text(PORTFOLIOS, &nested).await.status, 400 | 422));
}

#[tokio::test]
async fn a_body_of_another_content_type_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let body = r#"{"name": "Growth"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"]
    {
        let answer = mara.tell(Method::POST, PORTFOLIOS, kind, body.to_owned()).await;
        answer.is_refused(415, "unsupported_media_type");
    }
    let answer = mara.ask(Method::POST, PORTFOLIOS).await;
    assert_json_snapshot!(answer.is_refused(415, "unsupported_media_type"), @r#"
    {
      "code": "unsupported_media_type",
      "detail": "Send the body as JSON, with `Content-Type: application/json`.",
      "status": 415,
      "title": "Unsupported media type",
      "type": "urn:stockyard:problem:unsupported_media_type"
    }
    "#);
    for kind in ["application/json; charset=utf-8", "application/JSON", "application/merge-patch+json"] {
        mara.tell(Method::POST, PORTFOLIOS, kind, body.to_owned()).await.is(201);
    }
}

#[tokio::test]
async fn a_body_has_64_kib_at_most() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let body = |length: usize| {
        let frame = r#"{"name": ""}"#.len();
        format!(r#"{{"name": "{}"}}"#, "x".repeat(length - frame))
    };
    mara.post_text(PORTFOLIOS, &body(64 * 1024)).await.is_about("name");
    let answer = mara.post_text(PORTFOLIOS, &body(64 * 1024 + 1)).await;
    assert_json_snapshot!(answer.is_refused(413, "payload_too_large"), @r#"
    {
      "code": "payload_too_large",
      "detail": "The body is too large.",
      "status": 413,
      "title": "Too large",
      "type": "urn:stockyard:problem:payload_too_large"
    }
    "#);
    mara.post_text(PORTFOLIOS, &body(10_000_000)).await.is_refused(413, "payload_too_large");
}

#[tokio::test]
async fn unknown_and_wrong_fields_are_named() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let unknown = mara.post(PORTFOLIOS, json!({"name": "Growth", "color": "red"})).await;
    assert_json_snapshot!(unknown.is_refused(422, "invalid_fields"), @r#"
    {
      "code": "invalid_fields",
      "detail": "`color` is unknown: the fields are cash_balance, description, kind and name.",
      "errors": [
        {
          "field": "color",
          "message": "is unknown: the fields are cash_balance, description, kind and name",
          "pointer": "/color"
        }
      ],
      "status": 422,
      "title": "Invalid fields",
      "type": "urn:stockyard:problem:invalid_fields"
    }
    "#);
    let twice = mara.post_text(PORTFOLIOS, r#"{"name": "a", "name": "b"}"#).await.fields();
    assert_eq!(twice, ["name: is given twice"]);
    let query = mara.get(&format!("{PORTFOLIOS}?color=red")).await;
    assert_json_snapshot!(query.is_refused(422, "invalid_fields"), @r#"
    {
      "code": "invalid_fields",
      "detail": "`color` is unknown: the parameters are archived, limit and cursor.",
      "errors": [
        {
          "field": "color",
          "message": "is unknown: the parameters are archived, limit and cursor"
        }
      ],
      "status": 422,
      "title": "Invalid fields",
      "type": "urn:stockyard:problem:invalid_fields"
    }
    "#);
}

#[tokio::test]
async fn unicode_text_is_returned_unchanged() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for name in
        ["Größe & Ärger", "株式 📈", "<script>alert(1)</script>", "'; DROP TABLE users; --", "a\u{200b}b"]
    {
        let opened = mara.post(PORTFOLIOS, json!({"name": name})).await.is(201).json();
        assert_eq!(opened["name"], name);
        let shown = mara.get(&format!("{PORTFOLIOS}/{}", opened["id"])).await.is(200).json();
        assert_eq!(shown["name"], name);
    }
}

#[tokio::test]
async fn a_text_with_a_zero_byte_is_refused_or_kept() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    // PostgreSQL cannot store a zero byte in a text, so the API refuses it.
    let name = mara.post(PORTFOLIOS, json!({"name": "a\0b"})).await;
    assert_eq!(name.status, 422, "{}", name.text());
    for (path, body) in [
        (PORTFOLIOS, json!({"name": "a", "description": "a\0b"})),
        ("/api/v1/watchlists", json!({"name": "a\0b"})),
        ("/api/v1/auth/login", json!({"username": "a\0b", "password": "a guess or two"})),
    ] {
        let answer = mara.post(path, body).await;
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
    let browser = {
        app.register("sam").await;
        app.log_in("sam").await
    };
    let token = browser.post("/api/v1/auth/tokens", json!({"name": "a\0b"})).await;
    assert!(token.status < 500, "{}", token.text());
    for path in ["/api/v1/stocks?search=a%00b", "/api/v1/portfolios?cursor=%00"] {
        let answer = mara.get(path).await;
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
}

async fn assert_same_head(caller: &Caller, path: &str) {
    let (get, head) = (caller.get(path).await, caller.head(path).await);
    assert_eq!(head.status, get.status, "{path}");
    assert_eq!(head.text(), "", "{path}");
    assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
}

#[tokio::test]
async fn head_returns_the_headers_of_get() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100").await;
    for path in
        [PORTFOLIOS, &format!("{PORTFOLIOS}/{portfolio}/transactions.csv"), "/api/v1/stocks/AAPL/quote"]
    {
        assert_same_head(&mara, path).await;
    }
    for path in
        ["/health/live", "/health/ready", "/", "/login", "/api/v1/openapi.json", PORTFOLIOS, "/nothing"]
    {
        assert_same_head(&app.anonymous(), path).await;
    }
}

#[tokio::test]
async fn a_long_response_is_compressed_if_the_client_accepts_it() {
    let app = TestApp::spawn().await;
    // The client asks for gzip, decompresses the body and removes the header.
    let document = app.anonymous().get("/api/v1/openapi.json").await.is(200);
    assert_eq!(document.header("content-encoding"), None);
    assert_eq!(document.json()["openapi"].as_str().map(|version| &version[..2]), Some("3."));
    let plain = app.anonymous().with("accept-encoding", "identity").get("/api/v1/openapi.json").await.is(200);
    assert_eq!(*plain.json(), *document.json());
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let app = TestApp::spawn().await;
    let ids: Vec<Value> = [
        app.anonymous().get("/health/live").await.header("x-request-id").map(Value::from).unwrap_or_default(),
        app.anonymous()
            .get("/api/v1/nothing")
            .await
            .header("x-request-id")
            .map(Value::from)
            .unwrap_or_default(),
    ]
    .into();
    assert!(ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 36)), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}
