//! Accounts: registration, browser logins, tokens, password, deletion.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::client::{Client, PASSWORD, items};
use crate::process::eventually;
use crate::stack::Stack;

const ME: &str = "/api/v1/users/me";

/// Waits until the client is refused: another process may accept its token for two more seconds.
async fn no_longer_let_in(client: &Client) {
    let refused = async || Some(client.get(ME).await).filter(|answer| answer.status == 401);
    eventually("a refusal", Duration::from_secs(10), refused).await.problem(401, "unauthorized");
}

pub async fn registration_refuses_invalid_fields(stack: &Stack) {
    let visitor = stack.visitor();
    let sam = visitor.register().await;
    let register = async |username: &str, email: &str, password: &str| {
        let body = json!({"username": username, "email": email, "password": password});
        visitor.post("/api/v1/auth/register", &body).await
    };
    let other = format!("{}x", sam.username);
    let taken = register(&sam.username.to_uppercase(), &format!("{other}@example.org"), PASSWORD).await;
    assert_eq!(taken.refused_fields(409, "taken"), ["username"]);
    let taken = register(&other, &sam.email.to_uppercase(), PASSWORD).await;
    assert_eq!(taken.refused_fields(409, "taken"), ["email"]);
    let bad = register("a b", "nobody", "short").await.refused_fields(422, "invalid_fields");
    assert_eq!(bad, ["username", "email", "password"]);
    let common = register(&other, &format!("{other}@example.org"), "password1").await;
    assert_eq!(common.refused_fields(422, "invalid_fields"), ["password"]);
    let me = sam.client.get(ME).await.expect(200);
    assert_eq!(
        (&me["username"], &me["email"], &me["is_admin"]),
        (&json!(sam.username), &json!(sam.email), &json!(false))
    );
    assert!(me.as_object().unwrap().keys().all(|key| !key.contains("password")), "{me}");
}

pub async fn a_browser_logs_in_and_out(stack: &Stack) {
    let sam = stack.trader().await;
    let browser = stack.visitor();
    browser.log_in(&sam.username, "not the password").await.problem(401, "bad_credentials");
    browser.log_in("nobody-of-that-name", PASSWORD).await.problem(401, "bad_credentials");
    browser.get(ME).await.problem(401, "unauthorized");

    let login = browser.log_in(&sam.username, PASSWORD).await;
    assert_eq!(login.expect(200)["username"], json!(sam.username));
    let cookie = login.set_cookie("session").expect("a session cookie").to_owned();
    for attribute in ["session=", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    // The requests go to all processes in turn.
    for _ in 0..4 {
        browser.get(ME).await.expect(200);
    }
    let changed = browser.patch(ME, &json!({"first_name": "Sam", "last_name": "Grün"})).await.expect(200);
    assert_eq!((&changed["first_name"], &changed["last_name"]), (&json!("Sam"), &json!("Grün")));
    assert_eq!(browser.get(ME).await.expect(200), changed);

    // A request with a token does not use its cookies.
    browser.with_token("sy_nonsense").get(ME).await.problem(401, "unauthorized");
    let unsaid = browser.ask(Method::GET, ME, |request| request.basic_auth("sam", Some("x"))).await;
    unsaid.problem(401, "unauthorized");

    // Someone else has kept a copy of the cookie.
    let (pair, _) = cookie.split_once(';').unwrap();
    let with_copy =
        async || stack.visitor().ask(Method::GET, ME, |request| request.header("Cookie", pair)).await;
    with_copy().await.expect(200);
    browser.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    with_copy().await.problem(401, "unauthorized");
    let after = browser.get(ME).await;
    after.problem(401, "unauthorized");
    assert_eq!(after.header("www-authenticate"), Some("Bearer"));
    let by_address = browser.log_in(&sam.email, PASSWORD).await;
    assert_eq!(by_address.expect(200)["username"], json!(sam.username));
}

/// A browser sends the origin of a request in one of two headers, which a page on another site cannot change.
pub async fn other_sites_cannot_use_a_browsers_login(stack: &Stack) {
    let sam = stack.trader().await;
    let browser = stack.visitor().only(0);
    browser.log_in(&sam.username, PASSWORD).await.expect(200);
    let own = stack.urls[0].as_str();
    let open = async |headers: &[(&str, &str)]| {
        let body = json!({"name": "From a browser", "cash_balance": "1.00"});
        browser
            .ask(Method::POST, "/api/v1/portfolios", |request| {
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .json(&body)
            })
            .await
    };
    let elsewhere = "https://evil.example";
    for headers in [
        &[("Origin", elsewhere)][..],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", own)],
    ] {
        open(headers).await.problem(403, "cross_origin");
    }
    for headers in [&[("Origin", own)][..], &[("Sec-Fetch-Site", "same-origin"), ("Origin", own)], &[]] {
        open(headers).await.expect(201);
    }
    let delete = async |header: (&str, &str)| {
        browser.ask(Method::DELETE, ME, |request| request.header(header.0, header.1)).await
    };
    delete(("Origin", elsewhere)).await.problem(403, "cross_origin");
    let reading = browser.ask(Method::GET, ME, |request| request.header("Origin", elsewhere)).await;
    reading.expect(200);
    // A browser never adds a token by itself, so a request with a token is not forged.
    let with_token = sam
        .client
        .ask(Method::POST, "/api/v1/watchlists", |request| {
            request.header("Origin", elsewhere).json(&json!({"name": "Mine"}))
        })
        .await;
    with_token.expect(201);
}

pub async fn tokens_are_shown_once_and_revoked(stack: &Stack) {
    let sam = stack.trader().await;
    let browser = stack.visitor();
    browser.log_in(&sam.username, PASSWORD).await.expect(200);
    let made = browser.post("/api/v1/auth/tokens", &json!({"name": "notebook"})).await.expect(201);
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!((&made["scope"], &made["expires_at"]), (&json!("trade"), &json!(null)));
    let listed = browser.get("/api/v1/auth/tokens").await;
    assert!(!listed.text.contains(token) && !listed.text.contains(&sam.token), "{}", listed.text);
    let listed = listed.expect(200);
    let names: Vec<&str> = items(&listed).iter().map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["notebook", "test"], "newest first");

    let notebook = browser.with_token(token);
    notebook.get(ME).await.expect(200);
    // A token can neither create nor end logins or tokens.
    let path = format!("/api/v1/auth/tokens/{id}");
    notebook.post("/api/v1/auth/tokens", &json!({"name": "more"})).await.problem(403, "session_required");
    notebook.delete(&path).await.problem(403, "session_required");
    notebook.patch(ME, &json!({"email": "other@example.org"})).await.problem(403, "session_required");
    notebook.delete_account(PASSWORD).await.problem(403, "session_required");
    let passwords = json!({"current_password": PASSWORD, "new_password": "another long secret"});
    notebook.post("/api/v1/users/me/password", &passwords).await.problem(403, "session_required");

    browser.delete(&path).await.expect(204);
    no_longer_let_in(&notebook).await;
    browser.delete(&path).await.problem(404, "not_found");
    sam.client.get(ME).await.expect(200);

    let make = async |body: serde_json::Value| browser.post("/api/v1/auth/tokens", &body).await;
    assert_eq!(
        make(json!({"name": "x", "scope": "all"})).await.refused_fields(422, "invalid_fields"),
        ["scope"]
    );
    assert_eq!(make(json!({"name": ""})).await.refused_fields(422, "invalid_fields"), ["name"]);
    let half = make(json!({"name": "x", "username": sam.username})).await;
    assert_eq!(half.refused_fields(422, "invalid_fields"), ["password"]);
    let past = make(json!({"name": "x", "expires_at": "2001-01-01T00:00:00Z"})).await;
    assert_eq!(past.refused_fields(422, "invalid_fields"), ["expires_at"]);
    let wrong = json!({"name": "x", "username": sam.username, "password": "not the password"});
    stack.visitor().post("/api/v1/auth/tokens", &wrong).await.problem(401, "bad_credentials");
}

pub async fn a_read_token_only_reads(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("1000.00").await;
    let body = json!({"name": "reader", "scope": "read", "username": sam.username, "password": PASSWORD});
    let made = stack.visitor().post("/api/v1/auth/tokens", &body).await.expect(201);
    let reader = stack.visitor().with_token(made["token"].as_str().unwrap());
    for path in
        [ME, "/api/v1/portfolios", &format!("/api/v1/portfolios/{id}/valuation"), "/api/v1/auth/tokens"]
    {
        reader.get(path).await.expect(200);
    }
    let order = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
    let list = format!("/api/v1/portfolios/{id}");
    for answer in [
        reader.post(&format!("{list}/orders"), &order).await,
        reader.post(&format!("{list}/cash"), &json!({"type": "deposit", "amount": "1.00"})).await,
        reader.patch(&list, &json!({"name": "Taken"})).await,
        reader.delete(&list).await,
        reader.post("/api/v1/portfolios", &json!({"name": "More"})).await,
        reader.post("/api/v1/watchlists", &json!({"name": "More"})).await,
    ] {
        answer.problem(403, "read_only_token");
    }
    assert_eq!(sam.portfolio(id, "").await["name"], "Growth");
}

pub async fn a_new_password_ends_other_logins_and_tokens(stack: &Stack) {
    let sam = stack.trader().await;
    let (here, elsewhere) = (stack.visitor(), stack.visitor());
    for browser in [&here, &elsewhere] {
        browser.log_in(&sam.username, PASSWORD).await.expect(200);
    }
    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        here.post("/api/v1/users/me/password", &body).await
    };
    let new = "quite another secret";
    change("not the password", new).await.problem(403, "wrong_password");
    assert_eq!(change(PASSWORD, "short").await.refused_fields(422, "invalid_fields"), ["new_password"]);
    elsewhere.get(ME).await.expect(200);

    change(PASSWORD, new).await.expect(204);
    here.get(ME).await.expect(200);
    no_longer_let_in(&elsewhere).await;
    no_longer_let_in(&sam.client).await;
    elsewhere.log_in(&sam.username, PASSWORD).await.problem(401, "bad_credentials");
    elsewhere.log_in(&sam.username, new).await.expect(200);
}

pub async fn a_deleted_account_is_gone(stack: &Stack) {
    let sam = stack.trader().await;
    let id = sam.open_portfolio("1000.00").await;
    sam.buy(id, "AAPL", "1").await;
    sam.client.post("/api/v1/watchlists", &json!({"name": "Mine"})).await.expect(201);
    let (browser, elsewhere) = (stack.visitor(), stack.visitor());
    for login in [&browser, &elsewhere] {
        login.log_in(&sam.username, PASSWORD).await.expect(200);
    }
    browser.delete_account(PASSWORD).await.expect(204);
    for client in [&browser, &elsewhere, &sam.client] {
        no_longer_let_in(client).await;
    }
    browser.log_in(&sam.username, PASSWORD).await.problem(401, "bad_credentials");
    // The name is free again, and the new account has none of the old data.
    let body = json!({"username": sam.username, "email": sam.email, "password": PASSWORD});
    browser.post("/api/v1/auth/register", &body).await.expect(201);
    browser.log_in(&sam.username, PASSWORD).await.expect(200);
    assert_eq!(items(&browser.get("/api/v1/portfolios").await.expect(200)).len(), 0);
    browser.get(&format!("/api/v1/portfolios/{id}")).await.problem(404, "not_found");
}
