//! Browser sessions: their cookie, when they begin and end, and who may use them.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::harness::{Caller, PASSWORD, TestApp};

const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const ME: &str = "/api/v1/users/me";

/// Logs in and returns the session cookie.
async fn session_of(caller: &Caller, name: &str) -> String {
    caller.log_in(name, PASSWORD).await.is(200).cookie("session").expect("a session cookie")
}

#[tokio::test]
async fn a_login_returns_the_user_and_a_protected_cookie() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let answer = app.anonymous().log_in("mara", PASSWORD).await.is(200);
    assert_json_snapshot!(answer.json(), { ".id" => "[id]" }, @r#"
    {
      "date_joined": "2026-11-20T19:12:00Z",
      "email": "mara@example.org",
      "first_name": "",
      "id": "[id]",
      "is_admin": false,
      "last_name": "",
      "username": "mara"
    }
    "#);
    let line = answer.set_cookie("session").unwrap();
    let (_, guards) = line.split_once("; ").unwrap();
    assert_eq!(guards, "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");
    app.anonymous().with_cookie("session", &answer.cookie("session").unwrap()).get(ME).await.is(200);
}

#[tokio::test]
async fn login_accepts_name_or_address_in_any_case() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    for name in ["mara", "MARA", " mara ", "mara@example.org", "Mara@Example.Org"] {
        app.anonymous().log_in(name, PASSWORD).await.is(200);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_error() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let wrong = app.anonymous().log_in("mara", "not her password").await;
    let problem = wrong.is_refused(401, "bad_credentials");
    assert_eq!(wrong.set_cookie("session"), None);
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer"));
    let unknown = app.anonymous().log_in("nobody", "not her password").await;
    assert_eq!(unknown.is_refused(401, "bad_credentials").0, problem.0);
    assert_json_snapshot!(problem, @r#"
    {
      "code": "bad_credentials",
      "detail": "The name or the password is wrong.",
      "status": 401,
      "title": "Login failed",
      "type": "urn:stockyard:problem:bad_credentials"
    }
    "#);
}

#[tokio::test]
async fn a_login_needs_both_fields_and_no_others() {
    let app = TestApp::spawn().await;
    let neither = app.anonymous().post(LOGIN, json!({})).await.fields();
    assert_eq!(neither, ["username: is missing", "password: is missing"]);
    app.anonymous().post(LOGIN, json!({"username": "mara"})).await.is_about("password");
    let more = json!({"username": "m", "password": "p", "next": "/"});
    app.anonymous().post(LOGIN, more).await.is_about("next");
}

#[tokio::test]
async fn a_login_changes_the_session_id() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    app.register("mallory").await;
    // Mallory logs in and plants the session's cookie in Mara's browser.
    let planted = session_of(&app.anonymous(), "mallory").await;
    let fresh = session_of(&app.anonymous().with_cookie("session", &planted), "mara").await;
    assert_ne!(planted, fresh);
    app.anonymous().with_cookie("session", &planted).get(ME).await.is_refused(401, "unauthorized");
    let user = app.anonymous().with_cookie("session", &fresh).get(ME).await.is(200).json();
    assert_eq!(user["username"], "mara");
}

#[tokio::test]
async fn a_made_up_session_cookie_is_ignored() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    for made_up in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "%00%ff", &"z".repeat(3000)] {
        let caller = app.anonymous().with_cookie("session", made_up);
        caller.get(ME).await.is_refused(401, "unauthorized");
        caller.log_in("mara", PASSWORD).await.is(200);
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_in_the_database() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let cookie = session_of(&app.anonymous(), "mara").await;
    let caller = app.anonymous().with_cookie("session", &cookie);
    let answer = caller.ask(reqwest::Method::POST, LOGOUT).await.is(204);
    let line = answer.set_cookie("session").unwrap();
    assert!(line.starts_with("session=;") && line.contains("Max-Age=0"), "{line}");
    caller.get(ME).await.is_refused(401, "unauthorized");
    caller.ask(reqwest::Method::POST, LOGOUT).await.is_refused(401, "unauthorized");
}

#[tokio::test]
async fn a_logout_ends_only_this_browser_s_session() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let (here, elsewhere) = (app.log_in("mara").await, app.log_in("mara").await);
    here.ask(reqwest::Method::POST, LOGOUT).await.is(204);
    here.get(ME).await.is(401);
    elsewhere.get(ME).await.is(200);
}

#[tokio::test]
async fn a_session_lasts_thirty_days_after_it_was_last_used() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let (used, unused) = (app.log_in("mara").await, app.log_in("mara").await);
    app.pass(TimeDelta::days(20));
    used.get(ME).await.is(200);
    app.pass(TimeDelta::days(20));
    used.get(ME).await.is(200);
    unused.get(ME).await.is_refused(401, "unauthorized");
    app.pass(TimeDelta::days(31));
    used.get(ME).await.is_refused(401, "unauthorized");
}

#[tokio::test]
async fn a_wrong_token_is_refused_despite_a_valid_cookie() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    browser.get(ME).await.is(200);
    for authorization in ["Bearer sy_wrong", "Bearer nonsense", "Bearer ", "Bearer", "Basic bWFyYTptYXJh", ""]
    {
        browser.with("authorization", authorization).get(ME).await.is_refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_valid_token_takes_precedence_over_the_cookie() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    app.register("sam").await;
    let browser = app.log_in("sam").await;
    let token = app.token(mara.id, services::accounts::tokens::Scope::Trade).await;
    for authorization in [format!("Bearer {token}"), format!("bearer  {token}")] {
        let user = browser.with("authorization", &authorization).get(ME).await.is(200).json();
        assert_eq!(user["username"], "mara");
    }
}

#[tokio::test]
async fn writes_of_a_session_that_come_from_another_site_are_refused() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let open =
        |caller: Caller| async move { caller.post("/api/v1/portfolios", json!({"name": "Growth"})).await };

    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = open(browser.with(header, value)).await;
        let problem = answer.is_refused(403, "cross_origin");
        assert_eq!(problem["detail"], "The request came from another site.", "{header}: {value}");
    }
    let sneaky = browser.with("sec-fetch-site", "cross-site").with("origin", app.origin());
    open(sneaky).await.is_refused(403, "cross_origin");

    for (header, value) in
        [("origin", app.origin()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
    {
        open(browser.with(header, value)).await.is(201);
    }
    open(browser.clone()).await.is(201);
    // Reads are not refused: CORS decides whether the script may see the response.
    browser.with("sec-fetch-site", "cross-site").get("/api/v1/portfolios").await.is(200);
}

#[tokio::test]
async fn a_token_may_come_from_anywhere() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let elsewhere = mara.with("origin", "https://notebook.example").with("sec-fetch-site", "cross-site");
    elsewhere.post("/api/v1/portfolios", json!({"name": "Growth"})).await.is(201);
}

#[tokio::test]
async fn every_write_is_protected_against_other_sites() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let elsewhere = app.log_in("mara").await.with("origin", "https://evil.example");
    let own = format!("/api/v1/portfolios/{portfolio}");
    elsewhere.patch(&own, json!({"name": "Mine"})).await.is_refused(403, "cross_origin");
    elsewhere.delete(&own).await.is_refused(403, "cross_origin");
    elsewhere.buy(portfolio, "AAPL", "1").await.is_refused(403, "cross_origin");
    elsewhere.deposit(portfolio, "1").await.is_refused(403, "cross_origin");
    elsewhere.delete(ME).await.is_refused(403, "cross_origin");
    elsewhere.ask(reqwest::Method::POST, LOGOUT).await.is_refused(403, "cross_origin");
    elsewhere.post("/api/v1/auth/tokens", json!({"name": "mine"})).await.is_refused(403, "cross_origin");
    assert_eq!(mara.cash(portfolio).await, "1000.00");
}
