//! Accounts over the API: registration, profile, password, deletion.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::json;
use services::accounts::actor::Administrator;
use services::accounts::tokens::Scope;

use crate::harness::{PASSWORD, TestApp};

const REGISTER: &str = "/api/v1/auth/register";
const ME: &str = "/api/v1/users/me";

#[tokio::test]
async fn an_account_is_opened_and_can_log_in() {
    let app = TestApp::spawn().await;
    let account = json!({
        "username": " mara ", "email": " Mara@example.org ", "password": PASSWORD,
        "first_name": "Mara", "last_name": "Ek",
    });
    let answer = app.anonymous().post(REGISTER, account).await.is(201);
    assert_eq!(answer.header("location"), Some(ME));
    assert_eq!(answer.set_cookie("session"), None);
    assert_json_snapshot!(answer.json(), { ".id" => "[id]" }, @r#"
    {
      "date_joined": "2026-11-20T19:12:00Z",
      "email": "Mara@example.org",
      "first_name": "Mara",
      "id": "[id]",
      "is_admin": false,
      "last_name": "Ek",
      "username": "mara"
    }
    "#);

    let browser = app.log_in("mara").await;
    assert_eq!(*browser.get(ME).await.is(200).json(), *answer.json());
}

#[tokio::test]
async fn registration_reports_all_invalid_fields_at_once() {
    let app = TestApp::spawn().await;
    let account = json!({
        "username": "m!", "email": "nobody", "password": "short", "first_name": "x".repeat(81), "last_name": "a\nb",
    });
    let answer = app.anonymous().post(REGISTER, account).await;
    assert_json_snapshot!(answer.is_refused(422, "invalid_fields"), @r#"
    {
      "code": "invalid_fields",
      "detail": "Some fields are invalid; see `errors`.",
      "errors": [
        {
          "field": "username",
          "message": "use 3 to 32 characters",
          "pointer": "/username"
        },
        {
          "field": "username",
          "message": "use letters, digits, dots, hyphens and underscores",
          "pointer": "/username"
        },
        {
          "field": "email",
          "message": "write an e-mail address like sam@example.org",
          "pointer": "/email"
        },
        {
          "field": "first_name",
          "message": "use 80 characters at most, on one line",
          "pointer": "/first_name"
        },
        {
          "field": "last_name",
          "message": "use 80 characters at most, on one line",
          "pointer": "/last_name"
        },
        {
          "field": "password",
          "message": "use 8 characters or more",
          "pointer": "/password"
        }
      ],
      "status": 422,
      "title": "Invalid fields",
      "type": "urn:stockyard:problem:invalid_fields"
    }
    "#);
}

#[tokio::test]
async fn a_common_or_too_long_password_is_refused() {
    let app = TestApp::spawn().await;
    for password in ["password", "PASSWORD1", &"x".repeat(257)] {
        let account = json!({"username": "mara", "email": "mara@example.org", "password": password});
        app.anonymous().post(REGISTER, account).await.is_about("password");
    }
}

#[tokio::test]
async fn user_names_and_addresses_are_unique_regardless_of_case() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let account = json!({"username": "MARA", "email": "Mara@Example.org", "password": PASSWORD});
    let problem = app.anonymous().post(REGISTER, account).await.is_refused(409, "taken");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "taken",
      "detail": "Another account has this username and email.",
      "errors": [
        {
          "field": "username",
          "message": "this name is taken: choose another one",
          "pointer": "/username"
        },
        {
          "field": "email",
          "message": "an account with this address exists: log in, or use another one",
          "pointer": "/email"
        }
      ],
      "status": 409,
      "title": "Already taken",
      "type": "urn:stockyard:problem:taken"
    }
    "#);
}

#[tokio::test]
async fn registration_cannot_create_an_administrator() {
    let app = TestApp::spawn().await;
    let account =
        json!({"username": "mara", "email": "m@example.org", "password": PASSWORD, "is_admin": true});
    app.anonymous().post(REGISTER, account).await.is_about("is_admin");
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let answer = browser.patch(ME, json!({"first_name": " Mara ", "email": "new@example.org"})).await.is(200);
    assert_json_snapshot!(answer.json(), { ".id" => "[id]" }, @r#"
    {
      "date_joined": "2026-11-20T19:12:00Z",
      "email": "new@example.org",
      "first_name": "Mara",
      "id": "[id]",
      "is_admin": false,
      "last_name": "",
      "username": "mara"
    }
    "#);
    let answer = browser.patch(ME, json!({})).await.is(200);
    assert_eq!(answer.json()["email"], "new@example.org");
}

#[tokio::test]
async fn profile_changes_follow_the_rules_of_registration() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    app.register("sam").await;
    let browser = app.log_in("mara").await;
    browser.patch(ME, json!({"username": "sam"})).await.is_refused(409, "taken");
    browser.patch(ME, json!({"email": "SAM@example.org"})).await.is_refused(409, "taken");
    browser.patch(ME, json!({"username": "m"})).await.is_about("username");
    browser.patch(ME, json!({"email": ""})).await.is_about("email");
    for (change, field) in [
        (json!({"id": 7}), "id"),
        (json!({"is_admin": true}), "is_admin"),
        (json!({"password": "new password"}), "password"),
    ] {
        browser.patch(ME, change).await.is_about(field);
    }
    assert_eq!(browser.get(ME).await.is(200).json()["username"], "mara");
}

#[tokio::test]
async fn a_new_password_ends_other_sessions_and_all_tokens() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let (here, elsewhere) = (app.log_in("mara").await, app.log_in("mara").await);
    let change = json!({"current_password": PASSWORD, "new_password": "another fence entirely"});
    here.post("/api/v1/users/me/password", change).await.is(204);

    here.get(ME).await.is(200);
    elsewhere.get(ME).await.is_refused(401, "unauthorized");
    program.get(ME).await.is_refused(401, "unauthorized");
    app.browser().log_in("mara", PASSWORD).await.is_refused(401, "bad_credentials");
    app.browser().log_in("mara", "another fence entirely").await.is(200);
}

#[tokio::test]
async fn a_new_password_needs_the_current_one_and_keeps_the_rules() {
    let app = TestApp::spawn().await;
    app.register("mara").await;
    let browser = app.log_in("mara").await;
    let path = "/api/v1/users/me/password";
    let wrong = json!({"current_password": "a guess or two", "new_password": "another fence entirely"});
    assert_json_snapshot!(browser.post(path, wrong).await.is_refused(403, "wrong_password"), @r#"
    {
      "code": "wrong_password",
      "detail": "That is not the current password.",
      "status": 403,
      "title": "Wrong password",
      "type": "urn:stockyard:problem:wrong_password"
    }
    "#);
    let short = json!({"current_password": PASSWORD, "new_password": "short"});
    browser.post(path, short).await.is_about("new_password");
    browser.post(path, json!({"new_password": "another fence entirely"})).await.is_about("current_password");
    app.log_in("mara").await;
}

#[tokio::test]
async fn deleting_an_account_deletes_its_data_and_logins() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let portfolio = program.open("1000.00").await;
    program.buy(portfolio, "AAPL", "1").await.is(201);
    let (here, elsewhere) = (app.log_in("mara").await, app.log_in("mara").await);
    here.tell(Method::DELETE, ME, "application/json", "{}".into()).await.is_about("current_password");
    here.delete_account("not the password").await.is_refused(403, "wrong_password");
    here.get(ME).await.is(200);
    here.delete_account(PASSWORD).await.is(204);

    for caller in [&here, &elsewhere, &*program] {
        caller.get(ME).await.is_refused(401, "unauthorized");
    }
    app.browser().log_in("mara", PASSWORD).await.is_refused(401, "bad_credentials");
    assert_eq!(app.services.operations().totals().await.unwrap().transactions, 0);
}

#[tokio::test]
async fn the_last_administrator_cannot_be_deleted() {
    let app = TestApp::spawn().await;
    app.register_admin("ada").await;
    let browser = app.log_in("ada").await;
    assert_json_snapshot!(browser.delete_account(PASSWORD).await.is_refused(409, "last_admin"), @r#"
    {
      "code": "last_admin",
      "detail": "The last administrator cannot be removed: make another user an administrator first.",
      "status": 409,
      "title": "Last administrator",
      "type": "urn:stockyard:problem:last_admin"
    }
    "#);
    browser.get(ME).await.is(200);
}

#[tokio::test]
async fn sessions_and_tokens_of_a_closed_account_end() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let browser = app.log_in("mara").await;
    app.services
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), program.id, Some(false), None)
        .await
        .unwrap();
    browser.get(ME).await.is_refused(401, "unauthorized");
    program.get(ME).await.is_refused(401, "unauthorized");
    app.browser().log_in("mara", PASSWORD).await.is_refused(401, "bad_credentials");

    app.services
        .accounts()
        .set_user_flags(&Administrator::operator("ada"), program.id, Some(true), None)
        .await
        .unwrap();
    browser.get(ME).await.is_refused(401, "unauthorized");
    program.get(ME).await.is_refused(401, "unauthorized");
    app.log_in("mara").await;
}

#[tokio::test]
async fn a_token_cannot_change_account_security() {
    let app = TestApp::spawn().await;
    let program = app.register("mara").await;
    let change = json!({"current_password": PASSWORD, "new_password": "another fence entirely"});
    let problem = program.post("/api/v1/users/me/password", change).await.is_refused(403, "session_required");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "session_required",
      "detail": "An API token cannot do this: log in with the password.",
      "status": 403,
      "title": "Not allowed",
      "type": "urn:stockyard:problem:session_required"
    }
    "#);
    program.delete_account(PASSWORD).await.is_refused(403, "session_required");
    program.patch(ME, json!({"username": "mallory"})).await.is_refused(403, "session_required");
    program.patch(ME, json!({"email": "mallory@example.org"})).await.is_refused(403, "session_required");
    program.post("/api/v1/auth/tokens", json!({"name": "second"})).await.is_refused(403, "session_required");
    let tokens = program.get("/api/v1/auth/tokens").await.is(200).items();
    let token = format!("/api/v1/auth/tokens/{}", tokens[0]["id"].as_str().unwrap());
    program.delete(&token).await.is_refused(403, "session_required");

    let answer = program.patch(ME, json!({"first_name": "Mara"})).await.is(200);
    assert_eq!(answer.json()["first_name"], "Mara");
    let reader = app.with_token(&app.token(program.id, Scope::Read).await);
    reader.patch(ME, json!({"first_name": "M."})).await.is_refused(403, "read_only_token");
}
