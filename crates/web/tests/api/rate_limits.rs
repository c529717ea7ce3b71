//! Rate limits: per account for logged-in users, per address for all others.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Caller, PASSWORD, TestApp};

const ME: &str = "/api/v1/users/me";
const REGISTER: &str = "/api/v1/auth/register";
const LOGOUT: &str = "/api/v1/auth/logout";

async fn limited() -> TestApp {
    TestApp::spawn_with(|config| config.rate_limits = true).await
}

/// Sends the request many times at once until some are refused, and returns the first refusal.
async fn exhaust(caller: &Caller, method: Method, path: &str) -> Answer {
    for _ in 0..20 {
        let requests = (0..200).map(|_| caller.ask(method.clone(), path));
        let answers = futures::future::join_all(requests).await;
        if let Some(refused) = answers.into_iter().find(|answer| answer.status == 429) {
            return refused;
        }
    }
    panic!("{path}: no limit was met");
}

#[tokio::test]
async fn an_address_with_too_many_requests_is_refused() {
    let app = limited().await;
    let answer = exhaust(&app.anonymous(), Method::GET, ME).await;
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
}

#[tokio::test]
async fn a_page_requested_too_often_is_refused_with_a_page() {
    let app = limited().await;
    let answer = exhaust(&app.browser(), Method::POST, "/login").await;
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn logged_in_users_do_not_share_the_budget_of_their_address() {
    let app = limited().await;
    app.register("mara").await;
    let (session, token) = (app.log_in("mara").await, app.register("sam").await);
    // A session is known from its login on, a token from its first use on.
    token.get(ME).await.is(200);
    exhaust(&app.anonymous(), Method::GET, ME).await;
    for _ in 0..50 {
        session.get(ME).await.is(200);
        session.get("/settings").await.is(200);
        token.get(ME).await.is(200);
    }
}

#[tokio::test]
async fn an_account_over_its_limit_does_not_affect_other_accounts() {
    let app = limited().await;
    let (mara, sam) = (app.register("mara").await, app.register("sam").await);
    for user in [&mara, &sam] {
        user.get(ME).await.is(200);
    }
    exhaust(&mara, Method::GET, ME).await.is_refused(429, "rate_limited");
    sam.get(ME).await.is(200);
    app.anonymous().get(ME).await.is(401);
    // Another token or session of the account uses the same budget.
    let other = app.with_token(&app.token(mara.id, services::accounts::tokens::Scope::Read).await);
    let refused = async |caller: &Caller| {
        exhaust(&mara, Method::GET, ME).await;
        let answers = futures::future::join_all((0..100).map(|_| caller.get(ME))).await;
        answers.iter().any(|answer| answer.status == 429)
    };
    other.get(ME).await.is(200);
    assert!(refused(&other).await);
    let session = app.log_in("mara").await;
    assert!(refused(&session).await);
}

#[tokio::test]
async fn made_up_and_ended_credentials_have_no_budget() {
    let app = limited().await;
    app.register("mara").await;
    let mut ended = Vec::new();
    for _ in 0..20 {
        let browser = app.anonymous();
        let cookie = browser.log_in("mara", PASSWORD).await.is(200).cookie("session").unwrap();
        let session = browser.with_cookie("session", &cookie);
        session.ask(Method::POST, LOGOUT).await.is(204);
        // The server learns with the first request that the session has ended.
        session.get(ME).await.is(401);
        ended.push(session);
    }
    exhaust(&app.anonymous(), Method::GET, ME).await;
    let made_up = (0..50).flat_map(|n| {
        let cookie = app.anonymous().with_cookie("session", &format!("made up {n}"));
        let token = app.with_token(&format!("sy_{n:064}"));
        [cookie, token]
    });
    let callers: Vec<Caller> = made_up.chain(ended).collect();
    let answers = futures::future::join_all(callers.iter().map(|caller| caller.get(ME))).await;
    // Meanwhile the budget of the address is refilled with 50 requests per second.
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(refused > 0, "{} were answered", answers.len());
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
}

#[tokio::test]
async fn a_rate_limited_request_costs_no_query() {
    let app = limited().await;
    exhaust(&app.anonymous(), Method::GET, ME).await;
    let before = app.statements();
    let cookie = app.anonymous().with_cookie("session", "made up");
    let answers = futures::future::join_all((0..100).map(|_| cookie.get(ME))).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
    assert_eq!(app.statements(), before, "a made-up cookie is not looked up");
}

#[tokio::test]
async fn sign_ups_have_a_small_budget_per_address() {
    let app = limited().await;
    // A request without a body costs no password hash, but counts too.
    exhaust(&app.anonymous(), Method::POST, REGISTER).await.is_refused(429, "rate_limited");
    app.anonymous().get(ME).await.is(401);
}

#[tokio::test]
async fn files_do_not_spend_the_budget_for_pages() {
    let app = limited().await;
    let requests = (0..500).map(|_| app.anonymous());
    let answers = futures::future::join_all(
        requests.map(|caller| async move { caller.ask(Method::GET, "/static/style.css").await.status }),
    )
    .await;
    assert!(answers.iter().all(|status| *status != 429), "{answers:?}");
    for _ in 0..200 {
        app.anonymous().get(ME).await.is(401);
    }
}

/// A health check may come from the address of a client that sends too many requests.
#[tokio::test]
async fn health_checks_are_answered_when_the_budget_of_their_address_is_spent() {
    let app = limited().await;
    exhaust(&app.anonymous(), Method::GET, ME).await;
    for path in ["/health/live", "/health/ready"] {
        app.anonymous().get(path).await.is(200);
    }
}

#[tokio::test]
async fn each_address_behind_a_trusted_proxy_has_its_own_budget() {
    let app = TestApp::spawn_with(|config| {
        config.rate_limits = true;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    exhaust(&app.anonymous().with("x-forwarded-for", "203.0.113.1"), Method::GET, ME).await;
    app.anonymous().with("x-forwarded-for", "203.0.113.2").get(ME).await.is(401);
}

#[tokio::test]
async fn without_limits_no_request_is_refused() {
    let app = TestApp::spawn().await;
    for _ in 0..4 {
        let answers = futures::future::join_all(
            (0..200)
                .map(|_| app.anonymous())
                .map(|caller| async move { caller.post(REGISTER, json!({})).await.status }),
        )
        .await;
        assert!(answers.iter().all(|status| *status == 422), "{answers:?}");
    }
}

/// The numbers in an item of `RateLimit` or `RateLimit-Policy`.
fn numbers(field: Option<&str>, policy: &str) -> Vec<(String, i64)> {
    let field = field.expect("the field is sent");
    let start = format!("\"{policy}\";");
    let item = field.split(", ").find_map(|item| item.strip_prefix(&start));
    let item = item.unwrap_or_else(|| panic!("{policy} is not in {field}"));
    let pair =
        |pair: &str| pair.split_once('=').map(|(key, n)| (key.to_owned(), n.parse().unwrap())).unwrap();
    item.split(';').map(pair).collect()
}

fn number(field: Option<&str>, policy: &str, key: &str) -> i64 {
    numbers(field, policy).into_iter().find(|(known, _)| known == key).expect("the number is sent").1
}

#[tokio::test]
async fn every_api_response_has_rate_limit_headers() {
    let app = limited().await;
    let mara = app.register("mara").await;
    mara.get(ME).await.is(200);
    let charged_to = |answer: &Answer, policy: &str| {
        assert_eq!(number(answer.header("ratelimit-policy"), policy, "q"), 300);
        assert_eq!(number(answer.header("ratelimit-policy"), policy, "w"), 6);
        assert_eq!(number(answer.header("ratelimit"), policy, "t"), 1);
        number(answer.header("ratelimit"), policy, "r")
    };
    for answer in [
        mara.get(ME).await.is(200),
        mara.get("/api/v1/portfolios/999").await.is(404),
        mara.get("/api/v1/nothing").await.is(404),
        mara.put("/api/v1/portfolios").await.is(405),
        mara.post("/api/v1/portfolios", json!({})).await.is(422),
        mara.post("/api/v1/portfolios", json!({"name": "New"})).await.is(201),
    ] {
        assert!((280..300).contains(&charged_to(&answer, "account")));
    }
    assert!((280..300).contains(&charged_to(&app.anonymous().get(ME).await.is(401), "address")));
    assert!((280..300).contains(&charged_to(&app.anonymous().get("/api/v1/openapi.json").await, "address")));
    let registration = app.anonymous().post(REGISTER, json!({})).await.is(422);
    charged_to(&registration, "address");
    assert_eq!(
        numbers(registration.header("ratelimit-policy"), "registrations"),
        [("q".into(), 120), ("w".into(), 120)]
    );
    assert_eq!(number(registration.header("ratelimit"), "registrations", "r"), 119);
    let refused = exhaust(&mara, Method::GET, ME).await;
    assert_eq!(number(refused.header("ratelimit"), "account", "r"), 0);
    let wait = number(refused.header("ratelimit"), "account", "t");
    assert_eq!(refused.header("retry-after"), Some(wait.to_string().as_str()));
    // Pages and files have no such headers.
    assert_eq!(app.anonymous().get("/login").await.is(200).header("ratelimit"), None);
}

#[tokio::test]
async fn without_limits_responses_have_no_rate_limit_headers() {
    let app = TestApp::spawn().await;
    let answer = app.anonymous().get(ME).await.is(401);
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), (None, None));
}
