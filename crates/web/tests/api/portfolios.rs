//! Portfolios, and their deposits and withdrawals.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::TestApp;

const PORTFOLIOS: &str = "/api/v1/portfolios";

#[tokio::test]
async fn a_portfolio_opens_with_its_starting_cash_as_first_deposit() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let body = json!({"name": " Growth ", "description": "For the long run", "cash_balance": "2500.50"});
    let answer = mara.post(PORTFOLIOS, body).await.is(201);
    assert_json_snapshot!(answer.json(), { ".id" => "[id]" }, @r#"
    {
      "archived_at": null,
      "benchmark": "SPY",
      "buying_power": "2500.50",
      "cash_balance": "2500.50",
      "created_at": "2026-11-20T19:12:00Z",
      "description": "For the long run",
      "id": "[id]",
      "kind": "practice",
      "link_key": null,
      "name": "Growth",
      "updated_at": "2026-11-20T19:12:00Z",
      "visibility": "private"
    }
    "#);
    let own = answer.header("location").unwrap().to_owned();
    assert_eq!(own, format!("{PORTFOLIOS}/{}", answer.json()["id"]));
    assert_eq!(*mara.get(&own).await.is(200).json(), *answer.json());

    let journal = mara.get(&format!("{own}/transactions")).await.is(200);
    assert_json_snapshot!(journal.json(), { ".items[].id" => "[id]" }, @r#"
    {
      "items": [
        {
          "amount": "2500.50",
          "commission": "0.00",
          "description": null,
          "effective_at": null,
          "id": "[id]",
          "order_id": null,
          "per_share": null,
          "price": null,
          "quantity": null,
          "quantity_before": null,
          "realized_pnl": null,
          "receipt": null,
          "side": null,
          "split_ratio": null,
          "symbol": null,
          "timestamp": "2026-11-20T19:12:00Z",
          "transaction_type": "deposit"
        }
      ],
      "next_cursor": null
    }
    "#);
}

#[tokio::test]
async fn omitted_fields_have_defaults() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let opened = mara.post(PORTFOLIOS, json!({"name": "Growth"})).await.is(201).json();
    assert_eq!((&opened["description"], &opened["cash_balance"]), (&json!(""), &json!("100000.00")));
    let empty = mara.post(PORTFOLIOS, json!({"name": "Empty", "cash_balance": "0"})).await.is(201).json();
    assert_eq!(empty["cash_balance"], "0.00");
    let journal = mara.get(&format!("{PORTFOLIOS}/{}/transactions", empty["id"])).await.is(200);
    assert!(journal.items().is_empty());
}

#[tokio::test]
async fn invalid_portfolios_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for (field, body) in [
        ("name", json!({"name": ""})),
        ("name", json!({"name": "x".repeat(81)})),
        ("name", json!({"name": "a\nb"})),
        ("description", json!({"name": "a", "description": "x".repeat(501)})),
        ("cash_balance", json!({"name": "a", "cash_balance": "-1"})),
        ("cash_balance", json!({"name": "a", "cash_balance": "0.001"})),
        ("cash_balance", json!({"name": "a", "cash_balance": ""})),
        ("cash_balance", json!({"name": "a", "cash_balance": true})),
        ("cash", json!({"name": "a", "cash": "1"})),
        ("name", json!({"name": 7})),
        ("name", json!({})),
    ] {
        mara.post(PORTFOLIOS, body).await.is_about(field);
    }
    assert!(mara.get(PORTFOLIOS).await.items().is_empty());
}

#[tokio::test]
async fn a_user_can_have_at_most_a_hundred_portfolios() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for _ in 0..100 {
        mara.open("0").await;
    }
    let problem =
        mara.post(PORTFOLIOS, json!({"name": "One more"})).await.is_refused(409, "too_many_portfolios");
    assert_json_snapshot!(problem, @r#"
    {
      "code": "too_many_portfolios",
      "detail": "A user can have up to 100 portfolios.",
      "status": 409,
      "title": "Too many",
      "type": "urn:stockyard:problem:too_many_portfolios"
    }
    "#);
}

#[tokio::test]
async fn portfolios_are_listed_page_by_page_in_the_order_they_were_opened() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    app.register("sam").await.open("1").await;
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(mara.open("1").await);
    }
    let ids = |items: &[Value]| items.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();
    let pages: Vec<Vec<i64>> = mara.pages(PORTFOLIOS, 2).await.iter().map(|page| ids(page)).collect();
    assert_eq!(pages, [&opened[..2], &opened[2..4], &opened[4..]]);
    assert_eq!(mara.pages(PORTFOLIOS, 5).await.len(), 1);
    let all = mara.get(PORTFOLIOS).await.is(200);
    assert_eq!(ids(&all.items()), opened);
    assert_eq!(all.json()["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_page_has_1_to_200_items() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    mara.get(&format!("{PORTFOLIOS}?limit=200")).await.is(200);
    for limit in ["0", "201", "-1", "1.5", "many", ""] {
        let fields = mara.get(&format!("{PORTFOLIOS}?limit={limit}")).await.fields();
        assert_eq!(fields, ["limit: must be a whole number from 1 to 200"], "{limit}");
    }
    mara.get(&format!("{PORTFOLIOS}?cursor=nonsense")).await.is_about("cursor");
    mara.get(&format!("{PORTFOLIOS}?page=2")).await.is_about("page");
}

#[tokio::test]
async fn a_portfolio_is_renamed_and_described() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = format!("{PORTFOLIOS}/{}", mara.open("100").await);
    app.pass(TimeDelta::minutes(1));
    let changed = mara.patch(&own, json!({"name": "Income"})).await.is(200);
    assert_json_snapshot!(changed.json(), { ".id" => "[id]" }, @r#"
    {
      "archived_at": null,
      "benchmark": "SPY",
      "buying_power": "100.00",
      "cash_balance": "100.00",
      "created_at": "2026-11-20T19:12:00Z",
      "description": "",
      "id": "[id]",
      "kind": "practice",
      "link_key": null,
      "name": "Income",
      "updated_at": "2026-11-20T19:13:00Z",
      "visibility": "private"
    }
    "#);
    let changed = mara.patch(&own, json!({"description": "Dividends"})).await.is(200).json();
    assert_eq!((&changed["name"], &changed["description"]), (&json!("Income"), &json!("Dividends")));
    mara.patch(&own, json!({"name": " "})).await.is_about("name");
    mara.patch(&own, json!({"cash_balance": "1000000"})).await.is_about("cash_balance");
    assert_eq!(*mara.get(&own).await.json(), *changed);
}

#[tokio::test]
async fn a_deleted_portfolio_is_gone() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let (gone, stays) = (mara.open("1000").await, mara.open("1000").await);
    for portfolio in [gone, stays] {
        mara.buy(portfolio, "AAPL", "1").await.is(201);
    }
    let own = format!("{PORTFOLIOS}/{gone}");
    assert_eq!(mara.delete(&own).await.is(204).text(), "");
    mara.get(&own).await.is_refused(404, "not_found");
    mara.delete(&own).await.is_refused(404, "not_found");
    assert_eq!(mara.cash(stays).await, "850.00");
    assert_eq!(app.services.operations().totals().await.unwrap().transactions, 2);
}

#[tokio::test]
async fn cash_is_deposited_and_withdrawn() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100.00").await;
    let paid_in = mara.deposit(portfolio, "50.25").await.is(201);
    assert_json_snapshot!(paid_in.json(), { ".id" => "[id]" }, @r#"
    {
      "amount": "50.25",
      "commission": "0.00",
      "description": null,
      "effective_at": null,
      "id": "[id]",
      "order_id": null,
      "per_share": null,
      "price": null,
      "quantity": null,
      "quantity_before": null,
      "realized_pnl": null,
      "receipt": null,
      "side": null,
      "split_ratio": null,
      "symbol": null,
      "timestamp": "2026-11-20T19:12:00Z",
      "transaction_type": "deposit"
    }
    "#);
    let taken_out = mara.withdraw(portfolio, "150.25").await.is(201).json();
    assert_eq!(
        (&taken_out["transaction_type"], &taken_out["amount"]),
        (&json!("withdrawal"), &json!("-150.25"))
    );
    assert_eq!(mara.cash(portfolio).await, "0.00");
}

#[tokio::test]
async fn withdrawing_more_than_the_cash_is_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("100.00").await;
    let problem = mara.withdraw(portfolio, "100.01").await.is_refused(422, "insufficient_cash");
    assert_json_snapshot!(problem, @r#"
    {
      "available": "100.00",
      "code": "insufficient_cash",
      "detail": "You cannot withdraw 100.01: 100.00 is available.",
      "required": "100.01",
      "status": 422,
      "title": "Not enough cash",
      "type": "urn:stockyard:problem:insufficient_cash"
    }
    "#);
    assert_eq!(mara.cash(portfolio).await, "100.00");
}

#[tokio::test]
async fn invalid_deposits_and_withdrawals_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let path = format!("{PORTFOLIOS}/{}/cash", mara.open("100.00").await);
    for (field, body) in [
        ("amount", json!({"type": "deposit", "amount": "0"})),
        ("amount", json!({"type": "deposit", "amount": "-5"})),
        ("amount", json!({"type": "withdrawal", "amount": "0.00"})),
        ("amount", json!({"type": "deposit", "amount": "1000000000000000"})),
        ("amount", json!({"type": "deposit", "amount": "1000000000000000.01"})),
        ("type", json!({"type": "buy", "amount": "1"})),
        ("type", json!({"type": "Deposit", "amount": "1"})),
        ("amount", json!({"type": "deposit"})),
        ("currency", json!({"type": "deposit", "amount": "1", "currency": "EUR"})),
    ] {
        mara.post(&path, body).await.is_about(field);
    }
    let both = mara.post(&path, json!({"type": "gift", "amount": "lots"})).await.fields();
    assert_eq!(both.len(), 2, "{both:?}");
}

#[tokio::test]
async fn a_portfolio_is_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    let order = mara.buy(portfolio, "AAPL", "1").await.is(201).json()["id"].as_str().unwrap().to_owned();
    let mallory = app.register("mallory").await;
    let own = format!("{PORTFOLIOS}/{portfolio}");
    let missing = format!("{PORTFOLIOS}/{}", portfolio + 1000);
    for rest in [
        "",
        "/orders",
        &format!("/orders/{order}"),
        "/positions",
        "/positions/AAPL",
        "/valuation",
        "/composition",
        "/transactions",
        "/transactions.csv",
        "/snapshots.csv",
        "/performance.csv",
        "/positions.csv",
        "/snapshots",
        "/performance",
    ] {
        let foreign = mallory.get(&format!("{own}{rest}")).await;
        foreign.is_refused(404, "not_found");
        // The response is the same as for an id that does not exist.
        let unknown = mallory.get(&format!("{missing}{rest}")).await;
        assert_eq!(foreign.is_refused(404, "not_found").0, unknown.is_refused(404, "not_found").0);
    }
    mallory.patch(&own, json!({"name": "Mine"})).await.is_refused(404, "not_found");
    mallory.delete(&own).await.is_refused(404, "not_found");
    mallory.withdraw(portfolio, "1").await.is_refused(404, "not_found");
    mallory.buy(portfolio, "AAPL", "1").await.is_refused(404, "not_found");
    let order = json!({"symbol": "AAPL", "side": "sell", "type": "market", "quantity": "1"});
    mallory.post(&format!("{own}/orders/preview"), order).await.is_refused(404, "not_found");
    assert_eq!(mara.cash(portfolio).await, "850.00");
}

#[tokio::test]
async fn an_invalid_id_is_not_found() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for id in ["0", "-1", "abc", "1.5", "99999999999999999999", "%20", "1%00"] {
        mara.get(&format!("{PORTFOLIOS}/{id}")).await.is_refused(404, "not_found");
    }
}
