//! Guessing passwords becomes slow.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::harness::{Caller, PASSWORD, TestApp};

async fn fail(caller: &Caller, name: &str, times: usize) {
    for _ in 0..times {
        caller.log_in(name, "a guess or two").await.is_refused(401, "bad_credentials");
    }
}

#[tokio::test]
async fn after_five_wrong_passwords_one_has_to_wait() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let caller = app.anonymous();
    fail(&caller, "mara", 5).await;
    // Even the right password is not looked at now.
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
    // Twice as long as before.
    assert_eq!(caller.log_in("mara", PASSWORD).await.is(429).header("retry-after"), Some("3"));
    app.pass(TimeDelta::seconds(3));
    caller.log_in("mara", PASSWORD).await.is(200);
    // Forgiven.
    fail(&caller, "mara", 5).await;
}

#[tokio::test]
async fn another_account_need_not_wait() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    app.register("sam").await;
    fail(&app.anonymous(), "mara", 5).await;
    app.anonymous().log_in("mara", PASSWORD).await.is(429);
    app.anonymous().log_in("sam", PASSWORD).await.is(200);
}

#[tokio::test]
async fn an_address_that_anybody_may_claim_is_not_believed() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    for n in 1..=5 {
        fail(&app.anonymous().with("x-forwarded-for", &format!("203.0.113.{n}")), "mara", 1).await;
    }
    app.anonymous().with("x-forwarded-for", "203.0.113.9").log_in("mara", PASSWORD).await.is(429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_address_waits_for_its_own_failures() {
    let app =
        TestApp::spawn_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    app.register("mara").await;
    let guesser = app.anonymous().with("x-forwarded-for", "203.0.113.1");
    fail(&guesser, "mara", 5).await;
    guesser.log_in("mara", PASSWORD).await.is(429);
    // What it writes itself stands further left.
    let disguised = app.anonymous().with("x-forwarded-for", "203.0.113.9, 203.0.113.1");
    disguised.log_in("mara", PASSWORD).await.is(429);
    app.anonymous().with("x-forwarded-for", "203.0.113.2").log_in("mara", PASSWORD).await.is(200);
}
