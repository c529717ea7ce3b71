//! Guessing passwords over HTTP is slowed down, and device cookies spare account owners the wait.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::harness::{Caller, PASSWORD, TestApp};

const CHANGE: &str = "/api/v1/users/me/password";

async fn fail(caller: &Caller, name: &str, times: usize) {
    for _ in 0..times {
        caller.log_in(name, "a guess or two").await.is_refused(401, "bad_credentials");
    }
}

#[tokio::test]
async fn after_five_wrong_passwords_the_next_attempt_waits() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let caller = app.anonymous();
    fail(&caller, "mara", 3).await;
    fail(&caller, "Mara@example.org", 2).await;
    // Even the right password is not checked now.
    let answer = caller.log_in("Mara", PASSWORD).await;
    assert_json_snapshot!(answer.is_refused(429, "too_many_attempts"), @r#"
    {
      "code": "too_many_attempts",
      "detail": "Too many failed attempts: wait a moment.",
      "status": 429,
      "title": "Too many attempts",
      "type": "urn:stockyard:problem:too_many_attempts"
    }
    "#);
    assert_eq!(answer.header("retry-after"), Some("2"));
    let body = json!({"name": "cron", "username": "mara", "password": PASSWORD});
    caller.post("/api/v1/auth/tokens", body).await.is_refused(429, "too_many_attempts");

    app.pass(TimeDelta::seconds(2));
    fail(&caller, "mara", 1).await;
    // The wait doubles.
    assert_eq!(caller.log_in("mara", PASSWORD).await.is(429).header("retry-after"), Some("3"));
    app.pass(TimeDelta::seconds(3));
    caller.log_in("mara", PASSWORD).await.is(200);
}

#[tokio::test]
async fn other_accounts_do_not_wait() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    app.register("sam").await;
    fail(&app.anonymous(), "mara", 5).await;
    app.anonymous().log_in("mara", PASSWORD).await.is(429);
    app.anonymous().log_in("sam", PASSWORD).await.is(200);
}

#[tokio::test]
async fn guesses_at_one_account_add_up_over_all_addresses() {
    let app =
        TestApp::spawn_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    app.register("mara").await;
    for n in 1..=5 {
        fail(&app.anonymous().with("x-forwarded-for", &format!("203.0.113.{n}")), "mara", 1).await;
    }
    let refused = (6..=50).filter(|n| n % 9 == 0).map(|n| format!("203.0.113.{n}"));
    for address in refused {
        let guesser = app.anonymous().with("x-forwarded-for", &address);
        guesser.log_in("mara", PASSWORD).await.is_refused(429, "too_many_attempts");
    }
}

#[tokio::test]
async fn a_browser_that_has_logged_in_before_does_not_wait_for_others() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let own = app.browser();
    let answer = own.log_in("mara", PASSWORD).await.is(200);
    let line = answer.set_cookie("device").unwrap();
    let (_, guards) = line.split_once("; ").unwrap();
    assert_eq!(guards, "HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000");
    own.post("/api/v1/auth/logout", json!({})).await.is(204);

    fail(&app.anonymous(), "mara", 5).await;
    app.browser().log_in("mara", PASSWORD).await.is(429);
    // The known browser can log in, with the form and with the API.
    own.submit("/login", "/login", &[("username", "mara"), ("password", PASSWORD)]).await.is(303);
    own.log_in("mara", PASSWORD).await.is(200);
}

#[tokio::test]
async fn a_device_cookie_that_is_forged_or_of_another_account_is_ignored() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    app.register("mallory").await;
    let maras = app.anonymous().log_in("mara", PASSWORD).await.is(200).cookie("device").unwrap();
    let mallorys = app.anonymous().log_in("mallory", PASSWORD).await.is(200).cookie("device").unwrap();
    fail(&app.anonymous(), "mara", 5).await;

    let signature = |cookie: &str| cookie.rsplit_once('.').unwrap().1.to_owned();
    let forged = maras.replace(&signature(&maras), &signature(&mallorys));
    for worthless in [&mallorys, &forged, "x", "1.1795201920.00000000000000000000000000000000.00"] {
        let refused = app.anonymous().with_cookie("device", worthless).log_in("mara", PASSWORD).await;
        refused.is_refused(429, "too_many_attempts");
    }
    app.anonymous().with_cookie("device", &maras).log_in("mara", PASSWORD).await.is(200);
    let both = format!("{mallorys}~{maras}");
    let shared = app.anonymous().with_cookie("device", &both).log_in("mara", PASSWORD).await.is(200);
    // In a browser that two people use, both accounts stay known.
    let kept = shared.cookie("device").unwrap();
    fail(&app.anonymous(), "mallory", 5).await;
    app.anonymous().with_cookie("device", &kept).log_in("mallory", PASSWORD).await.is(200);
    app.anonymous().with_cookie("device", &kept).log_in("mara", PASSWORD).await.is(200);
}

#[tokio::test]
async fn a_known_device_that_guesses_has_to_wait() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let own = app.log_in("mara").await;
    fail(&own, "mara", 5).await;
    own.log_in("mara", PASSWORD).await.is_refused(429, "too_many_attempts");
    app.log_in("mara").await;
}

#[tokio::test]
async fn wrong_current_passwords_count_as_failed_logins() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let body =
        |current: &str| json!({"current_password": current, "new_password": "another fence around it"});
    for _ in 0..4 {
        browser.post(CHANGE, body("a guess or two")).await.is_refused(403, "wrong_password");
    }
    browser.submit("/settings", "/settings/delete", &[("password", "a guess or two")]).await.is(303);
    browser.post(CHANGE, body(PASSWORD)).await.is_refused(429, "too_many_attempts");
    let page = browser.submit("/settings", "/settings/delete", &[("password", PASSWORD)]).await.is(429);
    assert_eq!(page.header("retry-after"), Some("2"));
    assert!(page.text().contains("Too many failed attempts"));

    app.pass(TimeDelta::seconds(2));
    let changed = browser.post(CHANGE, body(PASSWORD)).await.is(204);
    // A new password ends all device cookies; this browser gets a new one.
    assert!(changed.cookie("device").is_some());
    fail(&app.anonymous(), "mara", 5).await;
    browser.log_in("mara", "another fence around it").await.is(200);
}

#[tokio::test]
async fn a_forwarded_address_from_an_untrusted_peer_is_ignored() {
    let app = TestApp::spawn().await;
    // Failed logins with unknown names count only for the real address.
    for n in 0..3 {
        fail(&app.anonymous().with("x-forwarded-for", &format!("203.0.113.{n}")), &format!("name{n}"), 1)
            .await;
    }
    let failures = app.address_failures("127.0.0.1").await;
    assert_eq!(failures, 3);
}

#[tokio::test]
async fn behind_a_trusted_proxy_failures_count_for_each_client_address() {
    let app =
        TestApp::spawn_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    fail(&app.anonymous().with("x-forwarded-for", "203.0.113.1"), "mara", 2).await;
    // Addresses further left are written by the client and do not count.
    fail(&app.anonymous().with("x-forwarded-for", "203.0.113.9, 203.0.113.1"), "mara", 1).await;
    fail(&app.anonymous().with("x-forwarded-for", "203.0.113.2"), "mara", 1).await;
    for (address, failures) in [("203.0.113.1", 3), ("203.0.113.2", 1), ("203.0.113.9", 0), ("127.0.0.1", 0)]
    {
        assert_eq!(app.address_failures(address).await, failures, "{address}");
    }
}

#[tokio::test]
async fn a_password_in_another_unicode_form_logs_in() {
    let app = TestApp::spawn().await;
    let (composed, decomposed) =
        ("p\u{e4}ssw\u{f6}rter-f\u{fc}r-alle", "pa\u{308}sswo\u{308}rter-fu\u{308}r-alle");
    let body = json!({"username": "mara", "email": "mara@example.org", "password": composed});
    app.anonymous().post("/api/v1/auth/register", body).await.is(201);
    app.anonymous().log_in("mara", decomposed).await.is(200);
    app.anonymous().log_in("mara", composed).await.is(200);
    let browser = app.browser();
    browser.submit("/login", "/login", &[("username", "mara"), ("password", decomposed)]).await.is(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_beyond_the_password_queue_get_a_retry_time() {
    let app = TestApp::spawn_with_password_queue(std::time::Duration::ZERO).await;
    let callers = (0..40).map(|n| {
        let caller = app.anonymous();
        async move { caller.log_in(&format!("name{n}"), PASSWORD).await }
    });
    let answers = futures::future::join_all(callers).await;
    let busy = answers.iter().find(|answer| answer.status == 503).expect("one of 40 finds no room");
    assert_json_snapshot!(busy.is_refused(503, "password_checks_busy"), @r#"
    {
      "code": "password_checks_busy",
      "detail": "Too many users are logging in at the moment: try again in a few seconds.",
      "status": 503,
      "title": "Busy",
      "type": "urn:stockyard:problem:password_checks_busy"
    }
    "#);
    assert_eq!(busy.header("retry-after"), Some("5"));
    assert!(answers.iter().any(|answer| answer.status == 401));
}
