//! Watchlists with live quotes.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use market_data::QuoteError;
use serde_json::{Value, json};

use crate::harness::{Caller, TestApp};

const WATCHLISTS: &str = "/api/v1/watchlists";

async fn list(caller: &Caller, name: &str) -> String {
    let id = caller.post(WATCHLISTS, json!({"name": name})).await.is(201).json()["id"].clone();
    format!("{WATCHLISTS}/{id}")
}

#[tokio::test]
async fn a_list_shows_its_stocks_with_quotes() {
    let app = TestApp::spawn().await;
    app.close("JPM", "2026-11-19", "160.00");
    let mara = app.register("mara").await;
    let made = mara.post(WATCHLISTS, json!({"name": " Banks "})).await.is(201);
    assert_json_snapshot!(made.json(), { ".id" => "[id]" }, @r#"
    {
      "created_at": "2026-11-20T19:12:00Z",
      "id": "[id]",
      "items": [],
      "name": "Banks"
    }
    "#);
    let own = made.header("location").unwrap().to_owned();
    assert_eq!(own, format!("{WATCHLISTS}/{}", made.json()["id"]));

    assert_eq!(mara.put(&format!("{own}/items/jpm")).await.is(204).text(), "");
    app.pass(TimeDelta::seconds(1));
    mara.put(&format!("{own}/items/AAPL")).await.is(204);
    let shown = mara.get(&own).await.is(200);
    assert_json_snapshot!(shown.json(), { ".id" => "[id]" }, @r#"
    {
      "created_at": "2026-11-20T19:12:00Z",
      "id": "[id]",
      "items": [
        {
          "company_name": "JPMorgan Chase & Co.",
          "quote": {
            "as_of": "2026-11-20T19:12:01Z",
            "ask": null,
            "bid": null,
            "change": "40.00",
            "change_percent": 25.0,
            "freshness": "simulated",
            "previous_close": "160.00",
            "price": "200.00",
            "source": "fixed",
            "stale": false,
            "symbol": "JPM",
            "volume": null
          },
          "symbol": "JPM"
        },
        {
          "company_name": "Apple Inc.",
          "quote": {
            "as_of": "2026-11-20T19:12:01Z",
            "ask": null,
            "bid": null,
            "change": null,
            "change_percent": null,
            "freshness": "simulated",
            "previous_close": null,
            "price": "150.00",
            "source": "fixed",
            "stale": false,
            "symbol": "AAPL",
            "volume": null
          },
          "symbol": "AAPL"
        }
      ],
      "name": "Banks"
    }
    "#);
    let all = mara.get(WATCHLISTS).await.is(200).json();
    assert_eq!((&all["items"][0], &all["next_cursor"]), (&shown.json().0, &Value::Null));
}

#[tokio::test]
async fn a_stock_that_is_added_twice_keeps_its_first_place() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = list(&mara, "Tech").await;
    for symbol in ["MSFT", "AAPL", "MSFT"] {
        mara.put(&format!("{own}/items/{symbol}")).await.is(204);
        app.pass(TimeDelta::seconds(1));
    }
    let symbols = async || {
        let items = mara.get(&own).await.is(200).items();
        items.iter().map(|row| row["symbol"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(symbols().await, ["MSFT", "AAPL"]);
    mara.delete(&format!("{own}/items/msft")).await.is(204);
    assert_eq!(symbols().await, ["AAPL"]);
    mara.delete(&format!("{own}/items/MSFT")).await.is_refused(404, "not_found");
    mara.delete(&format!("{own}/items/NOPE")).await.is_refused(404, "not_found");
    mara.put(&format!("{own}/items/NOPE")).await.is_refused(404, "unknown_symbol");
    mara.put(&format!("{own}/items/A%20B")).await.is_refused(404, "not_found");
}

#[tokio::test]
async fn a_list_is_renamed_and_deleted() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = list(&mara, "Tech").await;
    let renamed = mara.patch(&own, json!({"name": "Technology"})).await.is(200).json();
    assert_eq!(renamed["name"], "Technology");
    mara.delete(&own).await.is(204);
    mara.get(&own).await.is_refused(404, "not_found");
    mara.delete(&own).await.is_refused(404, "not_found");
    assert!(mara.get(WATCHLISTS).await.items().is_empty());
}

#[tokio::test]
async fn invalid_list_names_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = list(&mara, "Tech").await;
    for (field, body) in [
        ("name", json!({"name": " "})),
        ("name", json!({"name": "x".repeat(81)})),
        ("name", json!({})),
        ("symbols", json!({"name": "a", "symbols": ["AAPL"]})),
    ] {
        mara.post(WATCHLISTS, body.clone()).await.is_about(field);
        mara.patch(&own, body).await.is_about(field);
    }
    for _ in 1..50 {
        list(&mara, "Another").await;
    }
    mara.post(WATCHLISTS, json!({"name": "One more"})).await.is_about("name");
}

#[tokio::test]
async fn a_list_is_not_found_for_other_users() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = list(&mara, "Tech").await;
    mara.put(&format!("{own}/items/AAPL")).await.is(204);
    let mallory = app.register("mallory").await;
    mallory.get(&own).await.is_refused(404, "not_found");
    mallory.patch(&own, json!({"name": "Mine"})).await.is_refused(404, "not_found");
    mallory.put(&format!("{own}/items/MSFT")).await.is_refused(404, "not_found");
    mallory.delete(&format!("{own}/items/AAPL")).await.is_refused(404, "not_found");
    mallory.delete(&own).await.is_refused(404, "not_found");
    assert!(mallory.get(WATCHLISTS).await.items().is_empty());
    assert_eq!(mara.get(&own).await.items().len(), 1);
}

#[tokio::test]
async fn without_a_price_a_watched_stock_is_still_shown() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = list(&mara, "Tech").await;
    mara.put(&format!("{own}/items/AAPL")).await.is(204);
    app.prices.fail_with(QuoteError::Unreachable);
    let items = mara.get(&own).await.is(200).items();
    assert_eq!((&items[0]["symbol"], &items[0]["quote"]), (&json!("AAPL"), &Value::Null));
}
