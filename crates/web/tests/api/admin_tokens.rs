//! Tokens with the scope `admin`: who can create them, and that no other token has an administrator's rights.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use services::accounts::tokens::Scope;

use crate::harness::{Answer, Caller, PASSWORD, TestApp};

const TOKENS: &str = "/api/v1/auth/tokens";
const JOBS: &str = "/api/v1/admin/jobs";

async fn make_admin_token(browser: &Caller) -> (String, String) {
    let body = json!({"name": "cron", "scope": "admin", "current_password": PASSWORD});
    let made = browser.post(TOKENS, body).await.is(201).json();
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

/// Method and path of every operation for administrators in the API's description.
fn admin_routes() -> Vec<(Method, String)> {
    let document = web::openapi_document();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if path.starts_with("/api/v1/admin/") {
            let methods = item.as_object().unwrap().keys();
            routes.extend(methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone())));
        }
    }
    assert!(routes.len() >= 9, "{routes:?}");
    // Deletions last, because the other requests need the user.
    routes.sort_by_key(|(method, _)| *method == Method::DELETE);
    routes
}

fn body_for(method: &Method, path: &str) -> Option<Value> {
    match (method.as_str(), path) {
        ("POST", JOBS) => Some(json!({"kind": "prune"})),
        ("POST", "/api/v1/admin/splits") => {
            Some(json!({"symbol": "AAPL", "resolution": "withdraw", "reason": "There was none."}))
        }
        ("POST", "/api/v1/admin/close-outs" | "/api/v1/admin/close-outs/preview") => {
            Some(json!({"symbol": "AAPL", "kind": "write_off", "reason": "It is worthless."}))
        }
        ("POST", "/api/v1/admin/renames") => {
            Some(json!({"symbol": "AAPL", "to": "APPL", "reason": "It is called so."}))
        }
        ("POST", "/api/v1/admin/delistings") => {
            Some(json!({"symbol": "AAPL", "resolution": "refuse", "reason": "It is traded."}))
        }
        ("POST", "/api/v1/admin/prices") => Some(json!({"symbol": "AAPL", "reason": "checked"})),
        ("PATCH", _) => Some(json!({"is_active": true})),
        ("POST" | "PUT", other) => panic!("the sweep has no body for {method} {other}"),
        _ => None,
    }
}

async fn call(caller: &Caller, method: &Method, path: &str, id: i64) -> Answer {
    let address = path.replace("{id}", &id.to_string());
    match body_for(method, path) {
        Some(body) => caller.tell(method.clone(), &address, "application/json", body.to_string()).await,
        None => caller.ask(method.clone(), &address).await,
    }
}

#[tokio::test]
async fn admin_addresses_accept_only_sessions_and_admin_tokens_of_administrators() {
    let app = TestApp::spawn().await;
    let ada = app.register_admin("ada").await;
    let session = app.log_in("ada").await;
    let mara = app.register("mara").await;
    let victim = app.register("victim").await.id.0;
    let (revoked_id, revoked) = make_admin_token(&session).await;
    app.with_token(&revoked).get(JOBS).await.is(200);
    session.delete(&format!("{TOKENS}/{revoked_id}")).await.is(204);
    let (_, admin_token) = make_admin_token(&session).await;
    let grace = app.register_admin("grace").await;
    let (_, demoted) = make_admin_token(&app.log_in("grace").await).await;
    session.patch(&format!("/api/v1/admin/users/{}", grace.id), json!({"is_admin": false})).await.is(200);

    let read = |user| app.token(user, Scope::Read);
    let refused = [
        ("none", app.anonymous(), 401, "unauthorized"),
        ("a made-up token", app.with_token("sy_x"), 401, "unauthorized"),
        ("a user's session", app.log_in("mara").await, 404, "not_found"),
        ("a user's trading token", app.with_token(&mara.authorization()[7..]), 404, "not_found"),
        ("a user's read token", app.with_token(&read(mara.id).await), 404, "not_found"),
        (
            "an administrator's trading token",
            app.with_token(&ada.authorization()[7..]),
            403,
            "admin_token_required",
        ),
        ("an administrator's read token", app.with_token(&read(ada.id).await), 403, "admin_token_required"),
        ("a revoked admin token", app.with_token(&revoked), 401, "unauthorized"),
        ("an admin token of before its owner lost the rights", app.with_token(&demoted), 401, "unauthorized"),
        ("the session of one who lost the rights", app.log_in("grace").await, 404, "not_found"),
    ];
    for (method, path) in admin_routes() {
        for (name, caller, status, code) in &refused {
            let answer = call(caller, &method, &path, victim).await;
            assert_eq!(answer.status, *status, "{method} {path} with {name}: {}", answer.text());
            answer.is_refused(*status, code);
        }
    }
    let admin = app.with_token(&admin_token);
    for caller in [&admin, &session] {
        let somebody = app.register(if std::ptr::eq(caller, &admin) { "one" } else { "two" }).await.id.0;
        for (method, path) in admin_routes() {
            let answer = call(caller, &method, &path, somebody).await;
            // AAPL has no split to resolve here, and no delisting.
            let nothing_to_do = [
                "no_split_in_doubt",
                "there is no evidence that AAPL is delisted",
                "AAPL is traded",
                "renames its stocks itself",
            ];
            let is_let_in = (200..300).contains(&answer.status)
                || nothing_to_do.iter().any(|told| answer.text().contains(told));
            assert!(is_let_in, "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn pages_accept_no_tokens() {
    let app = TestApp::spawn().await;
    app.register_admin("ada").await;
    let (_, token) = make_admin_token(&app.log_in("ada").await).await;
    for page in ["/admin", "/admin/users", "/admin/jobs", "/admin/providers"] {
        let answer = app.with_token(&token).get(page).await.is(303);
        assert!(answer.header("location").unwrap().starts_with("/login"), "{page}");
    }
}

#[tokio::test]
async fn an_admin_token_can_only_read_and_administer() {
    let app = TestApp::spawn().await;
    let ada = app.register_admin("ada").await;
    let portfolio = ada.open("1000").await;
    let (id, token) = make_admin_token(&app.log_in("ada").await).await;
    let admin = app.with_token(&token);
    admin.get("/api/v1/users/me").await.is(200);
    admin.get(&format!("/api/v1/portfolios/{portfolio}")).await.is(200);
    admin.buy(portfolio, "AAPL", "1").await.is_refused(403, "admin_token");
    admin.post("/api/v1/portfolios", json!({"name": "x"})).await.is_refused(403, "admin_token");
    admin.delete(&format!("{TOKENS}/{id}")).await.is_refused(403, "admin_token");
    let more = json!({"name": "more", "scope": "admin", "current_password": PASSWORD});
    assert_eq!(admin.post(TOKENS, more).await.status, 403);
}

#[tokio::test]
async fn creating_an_admin_token_needs_an_administrators_session_and_password() {
    let app = TestApp::spawn().await;
    let ada = app.register_admin("ada").await;
    app.register("mara").await;
    let wanted = |password: Option<&str>| match password {
        Some(password) => json!({"name": "cron", "scope": "admin", "current_password": password}),
        None => json!({"name": "cron", "scope": "admin"}),
    };
    let browser = app.log_in("ada").await;
    browser.post(TOKENS, wanted(None)).await.is_about("current_password");
    browser.post(TOKENS, wanted(Some("not her password"))).await.is_refused(403, "wrong_password");
    app.log_in("mara").await.post(TOKENS, wanted(Some(PASSWORD))).await.is_about("scope");
    ada.post(TOKENS, wanted(Some(PASSWORD))).await.is_refused(403, "session_required");
    app.anonymous().post(TOKENS, wanted(Some(PASSWORD))).await.is_refused(401, "unauthorized");
    let by_password = json!({"name": "cron", "scope": "admin", "username": "ada", "password": PASSWORD});
    app.anonymous().post(TOKENS, by_password).await.is_refused(403, "session_required");
    let listed = browser.get(TOKENS).await.items();
    assert!(listed.iter().all(|token| token["scope"] != "admin"), "{listed:?}");
    make_admin_token(&browser).await;
}

#[tokio::test]
async fn the_settings_page_creates_admin_tokens_for_administrators() {
    let app = TestApp::spawn().await;
    app.register_admin("ada").await;
    app.register("mara").await;
    let fields = [("name", "cron"), ("scope", "admin"), ("expires_on", ""), ("current_password", PASSWORD)];
    let target = "/settings/tokens";
    let browser = app.log_in("ada").await;
    let made = browser.submit("/settings", target, &fields).await;
    assert!(made.status == 200 || made.status == 303, "{}", made.text());
    let listed = browser.get(TOKENS).await.items();
    assert_eq!(listed.iter().filter(|token| token["scope"] == "admin").count(), 1);
    let wrong = [("name", "cron"), ("scope", "admin"), ("expires_on", ""), ("current_password", "wrong")];
    browser.submit("/settings", target, &wrong).await;
    let mara = app.log_in("mara").await;
    assert!(!mara.get("/settings").await.text().contains("value=\"admin\""));
    mara.submit("/settings", target, &fields).await;
    for caller in [&browser, &mara] {
        let listed = caller.get(TOKENS).await.items();
        assert!(listed.iter().filter(|token| token["scope"] == "admin").count() <= 1, "{listed:?}");
    }
    assert!(mara.get(TOKENS).await.items().iter().all(|token| token["scope"] != "admin"));
}

/// Another process may change the account; the server finds out without being told.
#[tokio::test]
async fn rights_revoked_in_another_process_end_within_two_seconds() {
    let app = TestApp::spawn().await;
    for (name, change, refusal) in
        [("ada", "is_admin = FALSE", (404, "not_found")), ("eve", "is_active = FALSE", (401, "unauthorized"))]
    {
        app.register_admin(name).await;
        let (_, token) = make_admin_token(&app.log_in(name).await).await;
        let admin = app.with_token(&token);
        admin.get(JOBS).await.is(200);
        app.sql(&format!("UPDATE users SET {change} WHERE username = '{name}'"));
        app.clock.set(app.clock.wall() + TimeDelta::seconds(2));
        admin.get(JOBS).await.is_refused(refusal.0, refusal.1);
        admin.post(JOBS, json!({"kind": "prune"})).await.is_refused(refusal.0, refusal.1);
    }
}
