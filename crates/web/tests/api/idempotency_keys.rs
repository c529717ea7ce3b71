//! Every POST that moves cash or shares accepts an `Idempotency-Key`. The routes come from the description, so this
//! test fails for a new one until it accepts a key or is listed as one that moves nothing.

use std::collections::BTreeSet;

use domain::{Calendar, Freshness};
use serde_json::{Value, json};
use services::accounts::actor::Administrator;
use services::testing::FixedPrices;

use crate::harness::{Answer, Caller, TestApp, day, trade};
use crate::{close_outs, delistings, renames, splits};

/// POST routes that move neither cash nor shares, and that may be repeated.
const MOVES_NOTHING: [&str; 8] = [
    "/api/v1/admin/close-outs/preview",
    "/api/v1/admin/jobs",
    "/api/v1/auth/login",
    "/api/v1/auth/logout",
    "/api/v1/auth/register",
    "/api/v1/auth/tokens",
    "/api/v1/portfolios/{id}/orders/preview",
    "/api/v1/users/me/password",
];
/// Creates a watchlist, which has no cash.
const WATCHLISTS: &str = "/api/v1/watchlists";
/// Books each row of a file once, however often the file is sent.
const IMPORT: &str = "/api/v1/portfolios/{id}/transactions/import";

fn posts() -> Vec<(String, bool)> {
    let document = web::openapi_document();
    let mut posts = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if let Some(operation) = item.get("post") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let takes_key = parameters.into_iter().any(|one| one["name"] == "Idempotency-Key");
            posts.push((path.clone(), takes_key));
        }
    }
    posts
}

#[test]
fn every_post_accepts_a_key_or_moves_nothing() {
    let without_key: BTreeSet<String> =
        posts().into_iter().filter(|(_, takes_key)| !takes_key).map(|(path, _)| path).collect();
    let moves_nothing: BTreeSet<String> =
        MOVES_NOTHING.iter().copied().chain([WATCHLISTS, IMPORT]).map(str::to_owned).collect();
    assert_eq!(without_key, moves_nothing);
}

/// A request that can be carried out once, a different request to the same address, and the user who sends both.
struct Scenario {
    app: TestApp,
    caller: Caller,
    path: String,
    body: Value,
    other: Value,
    /// The code of the error when the different request uses the same key.
    reused: &'static str,
}

async fn scenario(route: &str) -> Scenario {
    let reused = "idempotency_key_reused";
    let (body, other, reused) = match route {
        "/api/v1/portfolios" => (json!({"name": "New"}), json!({"name": "Newer"}), reused),
        "/api/v1/portfolios/{id}/cash" => {
            (json!({"type": "deposit", "amount": "5"}), json!({"type": "deposit", "amount": "6"}), reused)
        }
        "/api/v1/portfolios/{id}/reset" => {
            (json!({"cash_balance": "7"}), json!({"cash_balance": "8"}), reused)
        }
        "/api/v1/portfolios/{id}/orders" => {
            (trade("buy", "AAPL", "1"), trade("buy", "AAPL", "2"), "client_order_id_reused")
        }
        _ => return administrators_scenario(route).await,
    };
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let id = mara.open("1000").await;
    let path = route.replace("{id}", &id.to_string());
    Scenario { caller: (*mara).clone(), app, path, body, other, reused }
}

async fn administrators_scenario(route: &str) -> Scenario {
    let (app, body, other) = match route {
        "/api/v1/admin/splits" => {
            let (app, ..) = splits::in_doubt().await;
            app.at("2026-11-23T14:50:00Z");
            app.work().await;
            let correct = |ratio: &str| json!({"symbol": "AAPL", "resolution": "correct", "ratio": ratio, "reason": "x"});
            (app, correct("2:1"), correct("3:1"))
        }
        "/api/v1/admin/delistings" => {
            let (app, ..) = delistings::unknown_on_monday().await;
            let decide =
                |resolution: &str| json!({"symbol": "AAPL", "resolution": resolution, "reason": "x"});
            (app, decide("confirm"), decide("refuse"))
        }
        "/api/v1/admin/close-outs" => {
            let (app, _, _, _) = close_outs::delisted().await;
            let close = |cash: &str| json!({"symbol": "AAPL", "kind": "cash", "cash": cash, "reason": "x"});
            (app, close("54.20"), close("54.21"))
        }
        "/api/v1/admin/renames" => {
            let rename = |reason: &str| json!({"symbol": "AAPL", "to": "APPL", "reason": reason});
            (renames::renamed().await, rename("x"), rename("y"))
        }
        "/api/v1/admin/prices" => {
            let confirm = |reason: &str| json!({"symbol": "AAPL", "reason": reason});
            (unconfirmed().await, confirm("x"), confirm("y"))
        }
        other => panic!("the sweep has no request for POST {other}"),
    };
    app.register_admin("grace").await;
    let caller = app.log_in("grace").await;
    Scenario { app, caller, path: route.to_owned(), body, other, reused: "idempotency_key_reused" }
}

/// A price of AAPL waits for confirmation.
async fn unconfirmed() -> TestApp {
    let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
    prices.set_close("AAPL", day("2026-11-18"), "148.00");
    prices.set_close("AAPL", day("2026-11-19"), "150.00");
    let app = TestApp::spawn_on(prices, |_| ()).await;
    let mara = app.register("mara").await;
    mara.get("/api/v1/stocks/AAPL/quote").await.is(200);
    app.at("2026-11-20T22:00:00Z");
    for (date, close) in [("2026-11-18", "1480.00"), ("2026-11-19", "1500.00"), ("2026-11-20", "1510.00")] {
        app.prices.set_close("AAPL", day(date), close);
    }
    mara.get("/api/v1/stocks/AAPL/quote").await.is(200);
    app
}

/// All transactions of all portfolios. They do not contain the time of the latest change.
async fn books(app: &TestApp) -> Vec<String> {
    let ada = Administrator::operator("ada");
    let rows = app.services.operations().all_transactions(&ada, "", None, 200).await.unwrap().items;
    rows.iter().map(|row| format!("{:?}", row.entry)).collect()
}

#[tokio::test]
async fn every_post_with_a_key_is_carried_out_once() {
    let mut tried = 0;
    for (route, _) in posts().into_iter().filter(|(_, takes_key)| *takes_key) {
        let Scenario { app, caller, path, body, other, reused } = scenario(&route).await;
        let keyed = caller.with("idempotency-key", "once");
        let first = keyed.post(&path, body.clone()).await;
        assert!((200..300).contains(&first.status), "{route}: {} {}", first.status, first.text());
        assert_eq!(first.header("idempotent-replayed"), None, "{route}");
        let after = books(&app).await;
        let again = keyed.post(&path, body).await;
        assert_eq!((again.status, again.text()), (first.status, first.text()), "{route}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{route}");
        assert_eq!(again.header("location"), first.header("location"), "{route}");
        keyed.post(&path, other.clone()).await.is_refused(422, reused);
        for key in ["two words", "", &"k".repeat(200)] {
            caller
                .with("idempotency-key", key)
                .post(&path, other.clone())
                .await
                .is_refused(422, "invalid_fields");
        }
        assert_eq!(books(&app).await, after, "{route}");
        tried += 1;
    }
    assert!(tried >= 9, "{tried}");
}

/// The second request waits for the first, instead of failing because of its changes.
#[tokio::test]
async fn equal_requests_that_arrive_at_once_are_carried_out_once() {
    for (route, _) in posts().into_iter().filter(|(_, takes_key)| *takes_key) {
        let Scenario { app: _app, caller, path, body, .. } = scenario(&route).await;
        let keyed = caller.with("idempotency-key", "once");
        let (one, other) = tokio::join!(keyed.post(&path, body.clone()), keyed.post(&path, body));
        assert_eq!(one.status, other.status, "{route}: {} {}", one.text(), other.text());
        assert!(one.status < 300, "{route}: {}", one.text());
        let is_replay = |answer: &&Answer| answer.header("idempotent-replayed").is_some();
        assert_eq!([&one, &other].into_iter().filter(is_replay).count(), 1, "{route}");
    }
}

/// A key belongs to its user: the same key of another administrator names another request.
#[tokio::test]
async fn idempotency_keys_are_separate_for_each_administrator() {
    let Scenario { app, caller, path, body, .. } = scenario("/api/v1/admin/delistings").await;
    app.register_admin("linus").await;
    let linus = app.log_in("linus").await;
    caller.with("idempotency-key", "once").post(&path, body.clone()).await.is(204);
    let second = linus.with("idempotency-key", "once").post(&path, body).await;
    assert_eq!(second.header("idempotent-replayed"), None);
    second.is_refused(422, "invalid_fields");
}

/// The object that the first request created may be deleted before the request is repeated.
#[tokio::test]
async fn a_repeated_request_whose_object_was_deleted_is_not_found() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let keyed = mara.with("idempotency-key", "once");
    let body = json!({"name": "New"});
    let opened = keyed.post("/api/v1/portfolios", body.clone()).await.is(201);
    mara.delete(opened.header("location").unwrap()).await.is(204);
    keyed.post("/api/v1/portfolios", body).await.is_refused(404, "not_found");
    assert_eq!(mara.get("/api/v1/portfolios").await.items().len(), 0);
}
