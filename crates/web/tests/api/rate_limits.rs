//! Asking too often.

use insta::assert_json_snapshot;
use reqwest::Method;

use crate::harness::TestApp;

const LOGIN: &str = "/api/v1/auth/login";

#[tokio::test]
async fn who_asks_for_too_many_passwords_to_be_checked_is_slowed_down() {
    let app = TestApp::spawn_with(|config| config.rate_limits = true).await;
    let caller = app.anonymous();
    let mut refused = None;
    for _ in 0..200 {
        // Without a body it costs no hash, and counts all the same.
        let answer = caller.ask(Method::POST, LOGIN).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.is_refused(415, "unsupported_media_type");
    }
    let answer = refused.expect("no limit was met");
    assert_json_snapshot!(answer.is_refused(429, "rate_limited"), @r#"
    {
      "code": "rate_limited",
      "detail": "Too many requests: slow down.",
      "status": 429,
      "title": "Too many requests",
      "type": "urn:stockyard:problem:rate_limited"
    }
    "#);
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    // Everything else goes on.
    caller.get("/health/live").await.is(200);
}

#[tokio::test]
async fn a_page_that_is_asked_for_too_often_is_refused_as_a_page() {
    let app = TestApp::spawn_with(|config| config.rate_limits = true).await;
    let browser = app.browser();
    let mut refused = None;
    for _ in 0..200 {
        let answer = browser.ask(Method::POST, "/login").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let answer = refused.expect("no limit was met");
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn each_address_behind_a_trusted_proxy_has_its_own_budget() {
    let app = TestApp::spawn_with(|config| {
        config.rate_limits = true;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let busy = app.anonymous().with("x-forwarded-for", "203.0.113.1");
    for _ in 0..200 {
        if busy.ask(Method::POST, LOGIN).await.status == 429 {
            app.anonymous().with("x-forwarded-for", "203.0.113.2").ask(Method::POST, LOGIN).await.is(415);
            return;
        }
    }
    panic!("no limit was met");
}

#[tokio::test]
async fn without_limits_nobody_is_slowed_down() {
    let app = TestApp::spawn().await;
    for _ in 0..100 {
        app.anonymous().ask(Method::POST, LOGIN).await.is(415);
    }
}
