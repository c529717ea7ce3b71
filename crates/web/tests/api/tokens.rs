//! API tokens: creating, using, listing, revoking and expiry.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::json;
use services::accounts::tokens::Scope;

use crate::harness::{PASSWORD, TestApp};

const TOKENS: &str = "/api/v1/auth/tokens";
const ME: &str = "/api/v1/users/me";

#[tokio::test]
async fn a_token_is_shown_once_and_works() {
    let app = TestApp::spawn().await;
    app.services.accounts().register(registration("mara")).await.unwrap();
    let browser = app.log_in("mara").await;
    let made = browser.post(TOKENS, json!({"name": " notebook "})).await.is(201);
    assert_json_snapshot!(made.json(), { ".id" => "[uuid]", ".token" => "[secret]" }, @r#"
    {
      "created_at": "2026-11-20T19:12:00Z",
      "expires_at": null,
      "id": "[uuid]",
      "name": "notebook",
      "scope": "trade",
      "token": "[secret]"
    }
    "#);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(format!("{TOKENS}/{id}").as_str()));

    let listed = browser.get(TOKENS).await.is(200);
    assert_json_snapshot!(listed.json(), { ".items[].id" => "[uuid]" }, @r#"
    {
      "items": [
        {
          "created_at": "2026-11-20T19:12:00Z",
          "expires_at": null,
          "id": "[uuid]",
          "name": "notebook",
          "scope": "trade"
        }
      ],
      "next_cursor": null
    }
    "#);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("sy_") && token.len() > 40, "{token}");
    app.with_token(&token).get(ME).await.is(200);
}

fn registration(name: &str) -> services::accounts::register::Registration {
    services::accounts::register::Registration {
        username: name.into(),
        email: format!("{name}@example.org"),
        password: PASSWORD.into(),
        first_name: String::new(),
        last_name: String::new(),
    }
}

#[tokio::test]
async fn a_token_can_be_created_with_name_and_password() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let body = json!({"name": "cron", "username": "mara", "password": PASSWORD, "scope": "read"});
    let made = app.anonymous().post(TOKENS, body).await.is(201);
    assert_eq!(made.set_cookie("session"), None);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    app.with_token(&token).get(ME).await.is(200);

    let wrong = json!({"name": "cron", "username": "mara", "password": "not her password"});
    app.anonymous().post(TOKENS, wrong).await.is_refused(401, "bad_credentials");
    app.anonymous().post(TOKENS, json!({"name": "cron"})).await.is_refused(401, "unauthorized");
    for half in [json!({"name": "cron", "username": "mara"}), json!({"name": "cron", "password": PASSWORD})] {
        app.anonymous().post(TOKENS, half).await.is_about("password");
    }
}

#[tokio::test]
async fn invalid_tokens_are_refused() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    for (field, body) in [
        ("name", json!({"name": " "})),
        ("name", json!({"name": "x".repeat(81)})),
        ("scope", json!({"name": "a", "scope": "root"})),
        ("scope", json!({"name": "a", "scope": ""})),
        ("expires_at", json!({"name": "a", "expires_at": app.now().to_rfc3339()})),
        ("expires_at", json!({"name": "a", "expires_at": "tomorrow"})),
        ("user_id", json!({"name": "a", "user_id": 1})),
        ("name", json!({})),
    ] {
        browser.post(TOKENS, body).await.is_about(field);
    }
    let both = browser.post(TOKENS, json!({"name": "a", "scope": "all", "username": "mara"})).await.fields();
    assert_eq!(
        both,
        ["scope: must be trade, read or admin", "password: send username and password together, or neither"]
    );
}

#[tokio::test]
async fn two_tokens_may_have_the_same_name() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    for _ in 0..2 {
        browser.post(TOKENS, json!({"name": "notebook"})).await.is(201);
    }
    // The third token was created together with the user.
    assert_eq!(browser.get(TOKENS).await.items().len(), 3);
}

#[tokio::test]
async fn a_token_is_refused_after_its_expiry() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let end = app.now() + TimeDelta::hours(1);
    // An expiry in another time zone, and with more digits than are stored.
    let text = end.utc().with_timezone(&chrono_tz::Asia::Tokyo).to_rfc3339();
    let made = browser.post(TOKENS, json!({"name": "a", "expires_at": text})).await.is(201).json();
    assert_eq!(made["expires_at"], end.to_rfc3339());
    let program = app.with_token(made["token"].as_str().unwrap());
    app.pass(TimeDelta::minutes(59));
    program.get(ME).await.is(200);
    app.pass(TimeDelta::minutes(1));
    let answer = program.get(ME).await;
    assert_json_snapshot!(answer.is_refused(401, "unauthorized"), @r#"
    {
      "code": "unauthorized",
      "detail": "Log in, or send an API token as `Authorization: Bearer …`.",
      "status": 401,
      "title": "Not logged in",
      "type": "urn:stockyard:problem:unauthorized"
    }
    "#);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn a_revoked_token_ends_at_once() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let browser = app.log_in("mara").await;
    let id = browser.get(TOKENS).await.items()[0]["id"].as_str().unwrap().to_owned();
    program.get(ME).await.is(200);
    browser.delete(&format!("{TOKENS}/{id}")).await.is(204);
    program.get(ME).await.is_refused(401, "unauthorized");
    browser.delete(&format!("{TOKENS}/{id}")).await.is_refused(404, "not_found");
    browser.delete(&format!("{TOKENS}/nonsense")).await.is_refused(404, "not_found");
    assert!(browser.get(TOKENS).await.items().is_empty());
}

#[tokio::test]
async fn another_users_token_is_not_found() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    app.register("mallory").await;
    let id = mara.get(TOKENS).await.items()[0]["id"].as_str().unwrap().to_owned();
    let browser = app.log_in("mallory").await;
    browser.delete(&format!("{TOKENS}/{id}")).await.is_refused(404, "not_found");
    mara.get(ME).await.is(200);
}

#[tokio::test]
async fn a_read_token_can_only_read() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let list = mara.post("/api/v1/watchlists", json!({"name": "Tech"})).await.is(201).json()["id"].clone();
    let reader = app.with_token(&app.token(mara.id, Scope::Read).await);
    let own = format!("/api/v1/portfolios/{portfolio}");
    for path in
        ["", "/valuation", "/positions", "/orders", "/transactions", "/transactions.csv", "/performance"]
    {
        reader.get(&format!("{own}{path}")).await.is(200);
    }
    let problem = reader.buy(portfolio, "AAPL", "1").await.is_refused(403, "read_only_token");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "read_only_token",
      "detail": "This token may only read.",
      "status": 403,
      "title": "Not allowed",
      "type": "urn:stockyard:problem:read_only_token"
    }
    "#);
    reader.deposit(portfolio, "1").await.is_refused(403, "read_only_token");
    reader.patch(&own, json!({"name": "x"})).await.is_refused(403, "read_only_token");
    reader.delete(&own).await.is_refused(403, "read_only_token");
    reader.post("/api/v1/portfolios", json!({"name": "x"})).await.is_refused(403, "read_only_token");
    reader.put(&format!("/api/v1/watchlists/{list}/items/AAPL")).await.is_refused(403, "read_only_token");
    reader.delete(&format!("/api/v1/watchlists/{list}")).await.is_refused(403, "read_only_token");
    assert_eq!(mara.cash(portfolio).await, "1000.00");
}

#[tokio::test]
async fn a_token_in_use_costs_no_query_and_leaves_the_session_alone() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let browser = app.log_in("mara").await;
    program.get(ME).await.is(200);
    // The first request after a pause also makes the server check all tokens in use, in the background.
    program.get(ME).await.is(200);
    let mixed = browser.with("authorization", &program.authorization());
    let start = std::time::Instant::now();
    loop {
        let before = app.statements();
        for _ in 0..10 {
            mixed.get(ME).await.is(200);
            program.get(ME).await.is(200);
        }
        if app.statements() == before {
            break;
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "each round costs statements");
    }
    // A logout with a token does not end the browser's session.
    mixed.post("/api/v1/auth/logout", json!({})).await.is(204);
    browser.get(ME).await.is(200);
}
