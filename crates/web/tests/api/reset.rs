//! Resetting a portfolio: the old one is archived and stays readable.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{TestApp, line, trade, with};

const PORTFOLIOS: &str = "/api/v1/portfolios";

fn ids(items: &[Value]) -> Vec<i64> {
    items.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_reset_archives_the_portfolio_and_returns_a_new_one() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let old = mara.open("10000.00").await;
    mara.buy(old, "AAPL", "10").await.is(201);
    let limit = json!({"type": "limit", "limit_price": "140"});
    let order = mara.place(old, with(trade("buy", "AAPL", "10"), limit)).await;
    app.pass(chrono::TimeDelta::minutes(1));
    let path = format!("{PORTFOLIOS}/{old}/reset");
    let answer = mara.post(&path, json!({"cash_balance": "5000"})).await.is(201);
    assert_json_snapshot!(answer.json(), { ".id" => "[id]" }, @r#"
    {
      "archived_at": null,
      "benchmark": "SPY",
      "buying_power": "5000.00",
      "cash_balance": "5000.00",
      "created_at": "2026-11-20T19:13:00Z",
      "description": "",
      "id": "[id]",
      "kind": "practice",
      "link_key": null,
      "name": "Growth",
      "updated_at": "2026-11-20T19:13:00Z",
      "visibility": "private"
    }
    "#);
    let new = answer.json()["id"].as_i64().unwrap();
    assert_ne!(new, old);
    assert_eq!(answer.header("location").unwrap(), format!("{PORTFOLIOS}/{new}"));

    let archived = mara.get(&format!("{PORTFOLIOS}/{old}")).await.is(200).json();
    assert_eq!(
        line(&archived, &["cash_balance", "buying_power", "archived_at"]),
        "8500.00 8500.00 2026-11-20T19:13:00Z"
    );
    assert_eq!(mara.see(old, &order).await["status"], "canceled");
    assert_eq!(ids(&mara.get(PORTFOLIOS).await.items()), [new]);
    assert_eq!(ids(&mara.get(&format!("{PORTFOLIOS}?archived=false")).await.items()), [new]);
    assert_eq!(ids(&mara.get(&format!("{PORTFOLIOS}?archived=true")).await.items()), [old]);
    mara.get(&format!("{PORTFOLIOS}?archived=yes")).await.is_about("archived");
    assert!(mara.get(&format!("{PORTFOLIOS}/{new}/orders")).await.items().is_empty());
}

#[tokio::test]
async fn a_reset_uses_the_given_cash_or_the_default() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let first = mara.open("1.00").await;
    let second = mara.post(&format!("{PORTFOLIOS}/{first}/reset"), json!({})).await.is(201).json();
    assert_eq!(line(&second, &["name", "cash_balance"]), "Growth 100000.00");
    let path = format!("{PORTFOLIOS}/{}/reset", second["id"]);
    for (field, body) in [
        ("cash_balance", json!({"cash_balance": "-1"})),
        ("cash_balance", json!({"cash_balance": "1.001"})),
        ("cash_balance", json!({"cash_balance": "plenty"})),
        ("cash", json!({"cash": "1"})),
        ("cash_balance", json!({"cash_balance": true})),
    ] {
        mara.post(&path, body).await.is_about(field);
    }
    let third = mara.post(&path, json!({"cash_balance": "0"})).await.is(201).json();
    assert_eq!(third["cash_balance"], "0.00");
    let archived = mara.get(&format!("{PORTFOLIOS}?archived=true")).await.items();
    assert_eq!(ids(&archived), [first, second["id"].as_i64().unwrap()]);
}

#[tokio::test]
async fn an_archived_portfolio_is_read_only() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let old = mara.open("10000.00").await;
    mara.buy(old, "AAPL", "10").await.is(201);
    let limit = json!({"type": "limit", "limit_price": "140"});
    let order = mara.place(old, with(trade("buy", "AAPL", "1"), limit)).await;
    let path = format!("{PORTFOLIOS}/{old}");
    mara.post(&format!("{path}/reset"), json!({})).await.is(201);
    let refused = mara.buy(old, "AAPL", "1").await;
    assert_json_snapshot!(refused.is_refused(409, "portfolio_archived"), @r#"
    {
      "code": "portfolio_archived",
      "detail": "The portfolio is archived and read-only.",
      "status": 409,
      "title": "Archived",
      "type": "urn:stockyard:problem:portfolio_archived"
    }
    "#);
    for refused in [
        mara.sell(old, "AAPL", "1").await,
        mara.preview(old, trade("buy", "AAPL", "1")).await,
        mara.deposit(old, "1").await,
        mara.withdraw(old, "1").await,
        mara.post(&format!("{path}/reset"), json!({})).await,
    ] {
        refused.is_refused(409, "portfolio_archived");
    }
    mara.cancel(old, &order).await.is(409);
    mara.replace(old, &order, json!({"limit_price": "141"})).await.is(409);
    for rest in ["", "/orders", "/positions", "/valuation", "/composition", "/transactions", "/performance"] {
        mara.get(&format!("{path}{rest}")).await.is(200);
    }
    let valuation = mara.get(&format!("{path}/valuation")).await.is(200).json();
    assert_eq!(line(&valuation, &["cash_balance", "total_value"]), "8500.00 10000.00");
    mara.delete(&path).await.is(204);
}

#[tokio::test]
async fn other_users_cannot_reset_a_portfolio() {
    let app = TestApp::spawn().await;
    let (mara, mallory) = (app.register("mara").await, app.register("mallory").await);
    let own = mara.open("10000.00").await;
    mallory.post(&format!("{PORTFOLIOS}/{own}/reset"), json!({})).await.is_refused(404, "not_found");
    assert_eq!(ids(&mara.get(PORTFOLIOS).await.items()), [own]);
}
