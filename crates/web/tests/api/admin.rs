//! The API and the pages for administrators, which do not exist for other users.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp};

const USERS: &str = "/api/v1/admin/users";
const STOCKS: &str = "/api/v1/admin/stocks";
const JOBS: &str = "/api/v1/admin/jobs";

fn texts(items: &[Value], key: &str) -> Vec<String> {
    items.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn admin_addresses_are_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = format!("{USERS}/{}", mara.id);
    for path in [USERS, STOCKS, JOBS, &own, &format!("{USERS}?limit=0"), &format!("{JOBS}?nonsense=1")] {
        app.anonymous().get(path).await.is_refused(401, "unauthorized");
    }
    for path in [USERS, STOCKS, JOBS, &own] {
        mara.get(path).await.is_refused(404, "not_found");
        app.log_in("mara").await.get(path).await.is_refused(404, "not_found");
    }
    mara.patch(&own, json!({"is_admin": true})).await.is_refused(404, "not_found");
    mara.delete(&own).await.is_refused(404, "not_found");
    mara.post(JOBS, json!({"kind": "prune"})).await.is_refused(404, "not_found");
    app.anonymous().patch(&own, json!({"is_admin": true})).await.is_refused(401, "unauthorized");
    app.anonymous().delete(&own).await.is_refused(401, "unauthorized");
    app.anonymous().post(JOBS, json!({"kind": "prune"})).await.is_refused(401, "unauthorized");
    assert_eq!(mara.get("/api/v1/users/me").await.json()["is_admin"], false);
}

#[tokio::test]
async fn users_are_listed_newest_first_and_found_by_a_part_of_name_or_address() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    app.register("mara").await.open("100").await;
    app.register("sam").await;
    let all = ada.get(USERS).await.is(200);
    assert_json_snapshot!(all.json(), { ".items[].id" => "[id]" }, @r#"
    {
      "items": [
        {
          "date_joined": "2026-11-20T19:12:00Z",
          "email": "sam@example.org",
          "first_name": "",
          "id": "[id]",
          "is_active": true,
          "is_admin": false,
          "last_name": "",
          "portfolios": 0,
          "username": "sam"
        },
        {
          "date_joined": "2026-11-20T19:12:00Z",
          "email": "mara@example.org",
          "first_name": "",
          "id": "[id]",
          "is_active": true,
          "is_admin": false,
          "last_name": "",
          "portfolios": 1,
          "username": "mara"
        },
        {
          "date_joined": "2026-11-20T19:12:00Z",
          "email": "ada@example.org",
          "first_name": "",
          "id": "[id]",
          "is_active": true,
          "is_admin": true,
          "last_name": "",
          "portfolios": 0,
          "username": "ada"
        }
      ],
      "next_cursor": null
    }
    "#);
    let names: Vec<String> =
        ada.pages(USERS, 1).await.iter().flat_map(|page| texts(page, "username")).collect();
    assert_eq!(names, ["sam", "mara", "ada"]);
    assert_eq!(texts(&ada.get(&format!("{USERS}?search=AR")).await.items(), "username"), ["mara"]);
    assert_eq!(ada.get(&format!("{USERS}?search=example.org")).await.items().len(), 3);
    for nothing in ["zzz", "%25", "_"] {
        assert!(ada.get(&format!("{USERS}?search={nothing}")).await.items().is_empty(), "{nothing}");
    }
    ada.get(&format!("{USERS}?limit=201")).await.is_about("limit");
    ada.get(&format!("{USERS}?cursor=x")).await.is_about("cursor");
    ada.get(&format!("{USERS}?q=x")).await.is_about("q");
}

#[tokio::test]
async fn an_account_is_closed_and_opened_again() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let mara = app.register("mara").await;
    let own = format!("{USERS}/{}", mara.id);
    ada.patch(&own, json!({"is_active": false})).await.is(200);
    let listed = ada.get(&format!("{USERS}?search=mara")).await.is(200).items();
    assert_eq!(listed[0]["is_active"], false);
    mara.get("/api/v1/users/me").await.is_refused(401, "unauthorized");
    ada.get(&own).await.is(200);
    ada.patch(&own, json!({"is_active": true})).await.is(200);
    app.log_in("mara").await;
}

#[tokio::test]
async fn administrator_rights_are_granted_and_revoked() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let mara = app.register("mara").await;
    let own = format!("{USERS}/{}", mara.id);
    let made = ada.patch(&own, json!({"is_admin": true})).await.is(200).json();
    assert_eq!(made["is_admin"], true);
    let (ada_s_own, mara) =
        (ada.get("/api/v1/users/me").await.json()["id"].clone(), app.log_in("mara").await);
    mara.get(USERS).await.is(200);
    mara.patch(&format!("{USERS}/{ada_s_own}"), json!({"is_admin": false})).await.is(200);
    ada.get(USERS).await.is_refused(404, "not_found");
    for last in [json!({"is_admin": false}), json!({"is_active": false})] {
        mara.patch(&own, last).await.is_refused(409, "last_admin");
    }
    mara.delete(&own).await.is_refused(409, "last_admin");
    assert_eq!(mara.patch(&own, json!({})).await.is(200).json()["is_admin"], true);
}

#[tokio::test]
async fn invalid_changes_of_a_user_are_refused() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let mara = app.register("mara").await;
    let own = format!("{USERS}/{}", mara.id);
    ada.patch(&own, json!({"username": "x"})).await.is_about("username");
    ada.patch(&own, json!({"is_admin": "yes"})).await.is_about("is_admin");
    let missing = format!("{USERS}/{}", mara.id.0 + 1000);
    ada.get(&missing).await.is_refused(404, "not_found");
    ada.patch(&missing, json!({"is_admin": true})).await.is_refused(404, "not_found");
    ada.delete(&missing).await.is_refused(404, "not_found");
    ada.get(&format!("{USERS}/nobody")).await.is_refused(404, "not_found");
}

#[tokio::test]
async fn a_user_is_deleted_with_everything() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    let own = format!("{USERS}/{}", mara.id);
    ada.delete(&own).await.is(204);
    ada.get(&own).await.is_refused(404, "not_found");
    mara.get("/api/v1/users/me").await.is_refused(401, "unauthorized");
    app.browser().log_in("mara", PASSWORD).await.is_refused(401, "bad_credentials");
    let totals = app.services.operations().totals().await.unwrap();
    assert_eq!((totals.users, totals.portfolios, totals.transactions), (1, 0, 0));
}

#[tokio::test]
async fn stocks_are_listed_with_their_last_price() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    ada.buy(ada.open("1000").await, "AAPL", "1").await.is(201);
    let pages = ada.pages(STOCKS, 3).await;
    let symbols: Vec<String> = pages.iter().flat_map(|page| texts(page, "symbol")).collect();
    assert_eq!(symbols, ["AAPL", "JPM", "MSFT", "SPY"]);
    let found = ada.get(&format!("{STOCKS}?search=jp&limit=1")).await.is(200);
    assert_json_snapshot!(found.json(), @r#"
    {
      "items": [
        {
          "company_name": "JPMorgan Chase & Co.",
          "exchange": "NASDAQ",
          "last_price": null,
          "last_updated": null,
          "price_source": null,
          "sector": "Financials",
          "symbol": "JPM"
        }
      ],
      "next_cursor": null
    }
    "#);
    assert_json_snapshot!(pages[0][0], @r#"
    {
      "company_name": "Apple Inc.",
      "exchange": "NASDAQ",
      "last_price": "150.00",
      "last_updated": "2026-11-20T19:12:00Z",
      "price_source": "fixed",
      "sector": "Technology",
      "symbol": "AAPL"
    }
    "#);
}

#[tokio::test]
async fn runs_of_jobs_are_listed_newest_first() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    ada.open("1000").await;
    app.at("2026-11-21T06:00:00Z");
    app.work().await;
    let runs = ada.get(JOBS).await.is(200).items();
    let kinds = texts(&runs, "kind");
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    assert!(texts(&runs, "status").iter().all(|status| status == "done"));
    let pages = ada.pages(JOBS, 1).await;
    assert_eq!(pages.concat(), runs);
    let snapshots = ada.get(&format!("{JOBS}?kind=snapshot_portfolios")).await.is(200);
    assert_json_snapshot!(snapshots.json(), { ".items[].id" => "[id]" }, @r#"
    {
      "items": [
        {
          "attempts": 1,
          "finished_at": "2026-11-21T06:00:00Z",
          "id": "[id]",
          "key": "2026-11-20",
          "kind": "snapshot_portfolios",
          "outcome": "1 portfolios, 0 of them provisional",
          "partition": 0,
          "queued_at": "2026-11-21T06:00:00Z",
          "started_at": "2026-11-21T06:00:00Z",
          "status": "done",
          "worker": "worker"
        }
      ],
      "next_cursor": null
    }
    "#);
    ada.get(&format!("{JOBS}?kind=nonsense")).await.is_about("kind");
    ada.get(&format!("{JOBS}?cursor=nonsense")).await.is_about("cursor");
}

#[tokio::test]
async fn a_requested_job_runs() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    app.work().await;
    for kind in ["snapshot_portfolios", "refresh_quotes", "refresh_listings", "prune"] {
        assert_eq!(ada.post(JOBS, json!({"kind": kind})).await.is(202).text(), "");
    }
    let done = app.work().await;
    let kinds: Vec<&str> = done.iter().map(|run| run.kind.as_str()).collect();
    for kind in ["provisional_snapshots", "refresh_quotes", "refresh_listings", "prune"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    ada.post(JOBS, json!({"kind": "match_orders"})).await.is_about("kind");
    ada.post(JOBS, json!({"kind": "prune", "date": "2026-11-20"})).await.is_about("date");
}

#[tokio::test]
async fn a_zero_byte_in_a_search_finds_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    for path in [
        "/api/v1/admin/users",
        "/api/v1/admin/stocks",
        "/admin/users",
        "/admin/portfolios",
        "/admin/transactions",
        "/admin/stocks",
    ] {
        ada.get(&format!("{path}?search=a%00b")).await.is(200);
    }
}

#[tokio::test]
async fn admin_addresses_do_not_reveal_their_fields_to_other_users() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    mara.post_text("/api/v1/admin/jobs", "{").await.is_refused(404, "not_found");
    mara.post("/api/v1/admin/jobs", json!({})).await.is_refused(404, "not_found");
    mara.get("/api/v1/admin/users?x=0").await.is_refused(404, "not_found");
    app.with_token("sy_x").post_text("/api/v1/portfolios", "{").await.is_refused(401, "unauthorized");
}
