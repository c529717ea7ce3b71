//! The security headers of every response, and the differences with https.

use reqwest::Method;

use crate::harness::{Answer, PASSWORD, TestApp, csrf_token};

/// One response of each kind.
async fn answers(app: &TestApp) -> Vec<(&'static str, Answer)> {
    let mara = app.register("mara").await;
    let anonymous = app.anonymous();
    let large = mara.post_text("/api/v1/portfolios", &" ".repeat(100_000)).await;
    vec![
        ("health", anonymous.get("/health/live").await.is(200)),
        ("description", anonymous.get("/api/v1/openapi.json").await.is(200)),
        ("json", mara.get("/api/v1/portfolios").await.is(200)),
        ("page", anonymous.get("/login").await.is(200)),
        ("style", anonymous.get("/static/style.css").await.is(200)),
        ("redirect", anonymous.get("/portfolios").await.is(303)),
        ("page not found", anonymous.get("/nothing").await.is(404)),
        ("file not found", anonymous.get("/static/nothing.css").await.is(404)),
        ("not found", mara.get("/api/v1/nothing").await.is(404)),
        ("not allowed", mara.put("/api/v1/portfolios").await.is(405)),
        ("not logged in", anonymous.get("/api/v1/portfolios").await.is(401)),
        ("not JSON", mara.post_text("/api/v1/portfolios", "{").await.is(400)),
        ("too large", large.is(413)),
        ("form without token", anonymous.post_form("/login", &[("username", "mara")]).await.is(403)),
        ("options", anonymous.ask(Method::OPTIONS, "/api/v1/portfolios").await),
    ]
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let app = TestApp::spawn().await;
    for (kind, answer) in answers(&app).await {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{kind}: {policy}"
        );
        for directive in ["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(directive), "{kind}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{kind}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{kind}");
        }
        assert!(answer.header("x-request-id").is_some(), "{kind}");
        assert_eq!(answer.header("strict-transport-security"), None, "{kind}");
        let is_kept = matches!(kind, "style" | "description");
        assert_eq!(answer.header("cache-control") == Some("no-store"), !is_kept, "{kind}");
    }
}

#[tokio::test]
async fn pages_of_the_api_description_have_the_strict_security_policy() {
    let app = TestApp::spawn().await;
    for page in ["/docs/", "/docs/orders", "/docs/objects", "/docs/errors"] {
        let answer = app.anonymous().get(page).await.is(200);
        assert!(!answer.header("content-security-policy").unwrap().contains("unsafe"), "{page}");
    }
    assert_eq!(app.anonymous().get("/docs").await.is(303).header("location"), Some("/docs/"));
}

/// A constant token could be guessed from the sizes of compressed pages.
#[tokio::test]
async fn tokens_of_forms_differ_from_page_to_page_and_are_all_accepted() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(csrf_token(&browser.get("/settings").await.is(200).text()));
    }
    for (index, token) in tokens.iter().enumerate() {
        assert!(!tokens[..index].contains(token));
        // Neither the mask nor the masked part is repeated.
        assert!(tokens[..index].iter().all(|other| other[..64] != token[..64] && other[64..] != token[64..]));
        browser
            .post_form("/settings/display", &[("csrf", token), ("theme", "dark"), ("gain", "green")])
            .await
            .is(303);
    }
    let (mask, masked) = tokens[0].split_at(64);
    for wrong in [mask, masked, &tokens[0][..126], &format!("{masked}{mask}0"), &"0".repeat(128), ""] {
        browser.post_form("/settings/display", &[("csrf", wrong), ("theme", "dark")]).await.is(403);
    }
}

#[tokio::test]
async fn over_https_responses_have_strict_transport_security() {
    let app =
        TestApp::spawn_with(|config| config.public_url = "https://stocks.example".parse().unwrap()).await;
    for (kind, answer) in answers(&app).await {
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "{kind}");
    }
}

#[tokio::test]
async fn over_https_cookies_are_secure_and_bound_to_the_host() {
    let app =
        TestApp::spawn_with(|config| config.public_url = "https://stocks.example".parse().unwrap()).await;
    app.register("mara").await;
    let answer = app.anonymous().log_in("mara", PASSWORD).await.is(200);
    assert_eq!(answer.set_cookie("session"), None);
    let line = answer.set_cookie("__Host-session").unwrap().to_lowercase();
    for guard in ["httponly", "samesite=lax", "secure", "path=/"] {
        assert!(line.split("; ").any(|part| part == guard), "{line}");
    }
    assert!(!line.contains("domain"), "{line}");
    let cookie = answer.cookie("__Host-session").unwrap();
    app.anonymous().with_cookie("__Host-session", &cookie).get("/api/v1/users/me").await.is(200);
    // A cookie without the prefix could have been planted over http.
    app.anonymous()
        .with_cookie("session", &cookie)
        .get("/api/v1/users/me")
        .await
        .is_refused(401, "unauthorized");

    let page = app.anonymous().get("/login").await.is(200);
    let line = page.set_cookie("__Host-csrf").unwrap().to_lowercase();
    for guard in ["httponly", "samesite=lax", "secure", "path=/"] {
        assert!(line.split("; ").any(|part| part == guard), "{line}");
    }
    let fields = [("csrf", &*csrf_token(&page.text())), ("username", "mara"), ("password", PASSWORD)];
    let browser = app.anonymous().with_cookie("__Host-csrf", &page.cookie("__Host-csrf").unwrap());
    let logged_in =
        browser.with("origin", "https://stocks.example").post_form("/login", &fields).await.is(303);
    assert!(logged_in.set_cookie("__Host-session").is_some());
}

#[tokio::test]
async fn over_https_the_public_url_is_the_own_origin() {
    let app =
        TestApp::spawn_with(|config| config.public_url = "https://stocks.example".parse().unwrap()).await;
    app.register("mara").await;
    let cookie = app.anonymous().log_in("mara", PASSWORD).await.is(200).cookie("__Host-session").unwrap();
    let browser = app.anonymous().with_cookie("__Host-session", &cookie);
    let body = serde_json::json!({"name": "Growth"});
    let own = browser.with("origin", "https://stocks.example");
    own.post("/api/v1/portfolios", body.clone()).await.is(201);
    let other = browser.with("origin", "https://other.example");
    other.post("/api/v1/portfolios", body).await.is_refused(403, "cross_origin");
}
