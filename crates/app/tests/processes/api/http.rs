//! The protocol: errors, headers, origins, and the API's description.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::stack::Stack;

const PORTFOLIOS: &str = "/api/v1/portfolios";

pub async fn errors_are_problem_documents(stack: &Stack) {
    let sam = stack.trader().await;
    let send = async |kind: &str, body: String| {
        sam.client
            .ask(Method::POST, PORTFOLIOS, |request| request.header(CONTENT_TYPE, kind).body(body.clone()))
            .await
    };
    const JSON: &str = "application/json";
    send(JSON, "{\"name\": ".into()).await.problem(400, "malformed_json");
    send(JSON, String::new()).await.problem(400, "malformed_json");
    send(JSON, "[]".into()).await.problem(422, "invalid_fields");
    send(JSON, "{\"name\": 7}".into()).await.problem(422, "invalid_fields");
    send(JSON, "{}".into()).await.problem(422, "invalid_fields");
    let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(100_000));
    send(JSON, huge).await.problem(413, "payload_too_large");
    send("text/plain", "{\"name\": \"x\"}".into()).await.problem(415, "unsupported_media_type");
    send("application/x-www-form-urlencoded", "name=x".into()).await.problem(415, "unsupported_media_type");

    sam.client.get("/api/v1/nothing").await.problem(404, "not_found");
    sam.client.get("/api/v2/portfolios").await.problem(404, "not_found");
    sam.client.get("/api/v1/portfolios/one").await.problem(404, "not_found");
    sam.client.get("/api/v1/portfolios/99999999999999999999").await.problem(404, "not_found");
    sam.client.get("/api/v1/portfolios/-1").await.problem(404, "not_found");
    sam.client.get("/api/v1/stocks/A%20B/quote").await.problem(404, "not_found");
    let refused = sam.client.delete(PORTFOLIOS).await;
    refused.problem(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), Some("GET, POST"));
    let unread = stack.visitor().get(PORTFOLIOS).await;
    unread.problem(401, "unauthorized");
}

pub async fn unknown_fields_are_refused(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("100.00").await;
    let refused = |answer: Answer| {
        let problem = answer.problem(422, "invalid_fields");
        assert!(problem.to_string().contains("surprise"), "the field is named: {problem}");
    };
    let order = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market", "surprise": 1});
    refused(sam.order(id, &order).await);
    refused(sam.client.post(PORTFOLIOS, &json!({"name": "x", "surprise": null})).await);
    refused(sam.client.patch(&format!("{PORTFOLIOS}/{id}"), &json!({"surprise": "x"})).await);
    refused(sam.client.post("/api/v1/watchlists", &json!({"name": "x", "surprise": []})).await);
    let user =
        json!({"username": "sam", "email": "sam@example.org", "password": "long enough", "surprise": true});
    refused(stack.visitor().post("/api/v1/auth/register", &user).await);
    let admin =
        json!({"username": "sam", "email": "s@example.org", "password": "long enough", "is_admin": true});
    stack.visitor().post("/api/v1/auth/register", &admin).await.problem(422, "invalid_fields");
    refused(sam.client.get(&format!("{PORTFOLIOS}?surprise=1")).await);
    refused(sam.client.get(&format!("{PORTFOLIOS}/{id}/transactions?surprise=1")).await);
}

/// Decimals are strings in plain notation; numbers are accepted too, and keep their digits.
pub async fn amounts_are_plain_decimals(stack: &Stack) {
    let sam = stack.trader().await;
    let open = async |body: &str| {
        let body = body.to_owned();
        let answer = sam
            .client
            .ask(Method::POST, PORTFOLIOS, |request| {
                request.header(CONTENT_TYPE, "application/json").body(body.clone())
            })
            .await;
        (
            answer.status,
            if answer.status == 201 { answer.json()["cash_balance"].clone() } else { Value::Null },
        )
    };
    for (sent, kept) in [
        ("\"0.10\"", "0.10"),
        ("0.1", "0.10"),
        ("100", "100.00"),
        ("1e3", "1000.00"),
        ("\"007\"", "7.00"),
        ("999999999999.99", "999999999999.99"),
        ("0", "0.00"),
    ] {
        let body = format!("{{\"name\": \"x\", \"cash_balance\": {sent}}}");
        assert_eq!(open(&body).await, (201, json!(kept)), "{sent}");
    }
    for sent in
        ["\"1e3\"", "\"1_000\"", "\"1,000\"", "\"\"", "\".5\"", "\"5.\"", "1.001", "true", "[]", "1e999"]
    {
        let body = format!("{{\"name\": \"x\", \"cash_balance\": {sent}}}");
        assert_eq!(open(&body).await.0, 422, "{sent}");
    }
}

pub async fn only_listed_origins_have_access(stack: &Stack) {
    let sam = stack.trader().await;
    let wanted = "authorization,content-type,idempotency-key";
    let preflight = async |origin: &str, headers: &str| {
        stack
            .visitor()
            .ask(Method::OPTIONS, "/api/v1/portfolios/1/orders", |request| {
                request
                    .header("Origin", origin)
                    .header("Access-Control-Request-Method", "POST")
                    .header("Access-Control-Request-Headers", headers)
            })
            .await
    };
    let simple = async |origin: &str| {
        sam.client.ask(Method::GET, PORTFOLIOS, |request| request.header("Origin", origin)).await
    };
    if let Some(origin) = &stack.allowed_origin {
        let answer = preflight(origin, wanted).await;
        assert!(matches!(answer.status, 200 | 204), "{}: {}", answer.status, answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.as_str()));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let allowed = answer.header("access-control-allow-headers").unwrap().to_lowercase();
        assert!(wanted.split(',').all(|name| allowed.contains(name)), "{allowed}");
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(
            ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().all(|name| methods.contains(name)),
            "{methods}"
        );
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
        let refused = preflight(origin, "x-surprise").await;
        assert_eq!(
            refused.header("access-control-allow-headers").filter(|list| list.contains("x-surprise")),
            None
        );

        let answer = simple(origin).await;
        answer.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.as_str()));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        assert!(["location", "retry-after", "idempotent-replayed"].iter().all(|name| exposed.contains(name)));
        // The script can also read errors.
        let refused = sam
            .client
            .ask(Method::GET, "/api/v1/portfolios/0", |request| request.header("Origin", origin))
            .await;
        refused.problem(404, "not_found");
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin.as_str()));
    }
    for origin in
        ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"]
    {
        for answer in [preflight(origin, wanted).await, simple(origin).await] {
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{origin}");
        }
    }
}

pub async fn every_answer_has_security_headers(stack: &Stack) {
    let sam = stack.trader().await;
    for answer in [
        sam.client.get(PORTFOLIOS).await,
        sam.client.get("/api/v1/nothing").await,
        stack.visitor().get(PORTFOLIOS).await,
        stack.visitor().get("/").await,
        stack.visitor().get("/nothing").await,
        stack.visitor().get("/docs/").await,
        stack.visitor().get("/health/live").await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() > 8));
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
    }
    assert_eq!(sam.client.get(PORTFOLIOS).await.header("cache-control"), Some("no-store"));
}

pub async fn the_api_describes_itself(stack: &Stack) {
    let visitor = stack.visitor();
    let document = visitor.get("/api/v1/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    for (path, methods) in CONTRACT {
        for method in methods.split(' ') {
            let operation = &document["paths"][format!("/api/v1{path}")][method];
            assert!(operation["responses"].is_object(), "{method} {path} is not described");
        }
    }
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    let expected: usize = CONTRACT.iter().map(|(_, methods)| methods.split(' ').count()).sum();
    assert!(described >= expected, "{described} operations");
    for name in ["token", "session"] {
        assert!(document["components"]["securitySchemes"][name].is_object(), "{name}");
    }
    // Every reference has a target.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }

    let page = visitor.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    // The content security policy forbids inline scripts.
    for script in page.text.split("<script").skip(1) {
        assert!(script.split('>').next().unwrap().contains("src="), "{script}");
    }
    let moved = visitor.get("/docs").await;
    assert_eq!((moved.status, moved.header("location")), (303, Some("/docs/")));
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(visitor.get(path).await.expect(200)["status"], "ok");
    }
}

/// Every path of the API that is promised to users.
const CONTRACT: &[(&str, &str)] = &[
    ("/auth/register", "post"),
    ("/auth/login", "post"),
    ("/auth/logout", "post"),
    ("/auth/tokens", "get post"),
    ("/auth/tokens/{id}", "delete"),
    ("/users/me", "get patch delete"),
    ("/users/me/password", "post"),
    ("/portfolios", "get post"),
    ("/portfolios/overview", "get"),
    ("/portfolios/{id}", "get patch delete"),
    ("/portfolios/{id}/cash", "post"),
    ("/portfolios/{id}/orders", "get post"),
    ("/portfolios/{id}/orders/preview", "post"),
    ("/portfolios/{id}/orders/{order_id}", "get"),
    ("/portfolios/{id}/positions", "get"),
    ("/portfolios/{id}/positions/{symbol}", "get"),
    ("/portfolios/{id}/valuation", "get"),
    ("/portfolios/{id}/composition", "get"),
    ("/portfolios/{id}/composition/limits", "put"),
    ("/portfolios/{id}/transactions", "get"),
    ("/portfolios/{id}/transactions.csv", "get"),
    ("/portfolios/{id}/snapshots.csv", "get"),
    ("/portfolios/{id}/performance.csv", "get"),
    ("/portfolios/{id}/positions.csv", "get"),
    ("/portfolios/{id}/transactions/import", "post"),
    ("/portfolios/{id}/snapshots", "get"),
    ("/portfolios/{id}/performance", "get"),
    ("/stocks", "get"),
    ("/stocks/{symbol}", "get"),
    ("/stocks/{symbol}/quote", "get"),
    ("/stocks/{symbol}/history", "get"),
    ("/watchlists", "get post"),
    ("/watchlists/{id}", "get patch delete"),
    ("/watchlists/{id}/items/{symbol}", "put delete"),
    ("/admin/users", "get"),
    ("/admin/users/{id}", "get patch delete"),
    ("/admin/stocks", "get"),
    ("/admin/jobs", "get post"),
];
