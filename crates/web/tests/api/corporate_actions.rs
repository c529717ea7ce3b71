//! Splits and dividends in the API, in CSV exports and on pages.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{PerShare, SplitRatio};
use insta::assert_json_snapshot;
use serde_json::json;

use crate::harness::{Person, TestApp, day, trade, with};

const NEWS: &str = "2026-11-20T00:00:00Z";

/// AAPL splits 3:2 on Monday and pays a dividend of 0.26 per new share two weeks later.
async fn with_actions() -> (TestApp, Person, i64) {
    let app = TestApp::spawn().await;
    let SplitRatio { numerator, denominator } = "3:2".parse().unwrap();
    let amount = PerShare::from_scaled(26, 2).unwrap();
    for kind in [
        CorporateActionKind::Split { numerator, denominator },
        CorporateActionKind::CashDividend { amount, pays_on: day("2026-12-08") },
    ] {
        let action = CorporateAction::new("AAPL".parse().unwrap(), day("2026-11-23"), kind);
        app.prices.announce(NEWS.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into(), action);
    }
    for date in ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"] {
        app.close("AAPL", date, "150.00");
    }
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    (app, mara, portfolio)
}

async fn monday(app: &TestApp) {
    app.prices.set("AAPL", "99.74");
    app.at("2026-11-23T05:00:01Z");
    app.work().await;
}

#[tokio::test]
async fn a_stock_lists_past_and_announced_corporate_actions() {
    let (app, mara, _) = with_actions().await;
    let told = mara.get("/api/v1/stocks/aapl").await.is(200).json();
    assert_json_snapshot!(told["corporate_actions"], @r#"
    [
      {
        "description": "3 for 2 split",
        "ex_on": "2026-11-23",
        "id": "AAPL/2026-11-23/split",
        "kind": "split",
        "new_symbol": null,
        "pays_on": null,
        "per_share": null,
        "split_ratio": "3:2",
        "upcoming": true
      },
      {
        "description": "Dividend of 0.26 a share, paid on 8 Dec 2026",
        "ex_on": "2026-11-23",
        "id": "AAPL/2026-11-23/cash_dividend",
        "kind": "cash_dividend",
        "new_symbol": null,
        "pays_on": "2026-12-08",
        "per_share": "0.26",
        "split_ratio": null,
        "upcoming": true
      }
    ]
    "#);
    let page = app.log_in("mara").await.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("3 for 2 split <span class=\"muted small\">announced</span>"), "{page}");
    monday(&app).await;
    let told = mara.get("/api/v1/stocks/AAPL").await.is(200).json();
    assert_eq!(told["corporate_actions"][0]["upcoming"], json!(false));
}

#[tokio::test]
async fn a_valuation_includes_dividends_receivable_and_the_journal_describes_corporate_actions() {
    let (app, mara, portfolio) = with_actions().await;
    monday(&app).await;
    let valued = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    // 15 × 99.74 + 15 × 0.26 = 1500.
    let told =
        ["cash_balance", "dividends", "dividends_receivable", "total_value", "total_gain", "day_change"];
    assert_eq!(
        told.map(|name| valued[name].as_str().unwrap().to_owned()),
        ["8500.00", "3.90", "3.90", "10000.00", "0.00", "0.00"]
    );
    let composition = mara.get(&format!("/api/v1/portfolios/{portfolio}/composition")).await.is(200).json();
    assert_eq!(composition["cash"]["market_value"], json!("8500.00"));
    assert_eq!(composition["dividends_receivable"]["market_value"], json!("3.90"));
    let weight = |slice: &serde_json::Value| slice["weight"].as_f64().unwrap();
    let stocks: f64 = composition["stocks"].as_array().unwrap().iter().map(weight).sum();
    let all = stocks + weight(&composition["cash"]) + weight(&composition["dividends_receivable"]);
    assert!((all - 1.0).abs() < 1e-9, "{all}");
    // On the pages the rows add up to the total.
    let browser = app.log_in("mara").await;
    let page = browser.get(&format!("/portfolios/{portfolio}")).await.is(200).text();
    let row = page.split("Dividends receivable").nth(1).expect("a row of its own");
    assert!(row.split("</tr>").next().unwrap().contains(">3.90<"), "{row}");
    let page = browser.get(&format!("/portfolios/{portfolio}/composition")).await.is(200).text();
    assert!(
        page.contains("Dividends receivable") && page.contains("3.90") && page.contains("8,500.00"),
        "{page}"
    );
    app.at("2026-12-08T05:00:01Z");
    app.work().await;
    let journal = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions?limit=2")).await.items();
    assert_json_snapshot!(journal, { "[].id" => "[id]" }, @r#"
    [
      {
        "amount": "3.90",
        "commission": "0.00",
        "description": "Dividend of 0.26 for each of 15 shares held before 23 Nov 2026.",
        "effective_at": "2026-11-23T05:00:00Z",
        "id": "[id]",
        "order_id": null,
        "per_share": "0.26",
        "price": null,
        "quantity": "15",
        "quantity_before": null,
        "realized_pnl": null,
        "receipt": null,
        "side": null,
        "split_ratio": null,
        "symbol": "AAPL",
        "timestamp": "2026-12-08T05:00:00Z",
        "transaction_type": "dividend"
      },
      {
        "amount": "0.00",
        "commission": "0.00",
        "description": "3 for 2 split: 10 became 15 shares.",
        "effective_at": "2026-11-23T05:00:00Z",
        "id": "[id]",
        "order_id": null,
        "per_share": null,
        "price": null,
        "quantity": "15",
        "quantity_before": "10",
        "realized_pnl": null,
        "receipt": null,
        "side": null,
        "split_ratio": "3:2",
        "symbol": "AAPL",
        "timestamp": "2026-11-23T05:00:00Z",
        "transaction_type": "split"
      }
    ]
    "#);
    let only = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions?type=split")).await.items();
    assert_eq!(only.len(), 1);
    let table = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    assert!(table.contains("3 for 2 split: 10 became 15 shares."), "{table}");
    let page =
        app.log_in("mara").await.get(&format!("/portfolios/{portfolio}/transactions")).await.is(200).text();
    for sentence in [
        "3 for 2 split: 10 became 15 shares.",
        "Dividend of 0.26 for each of 15 shares held before 23 Nov 2026.",
    ] {
        assert!(page.contains(sentence), "{page}");
    }
}

#[tokio::test]
async fn a_price_history_is_in_todays_shares() {
    let (app, mara, _) = with_actions().await;
    app.close("AAPL", "2026-11-23", "99.00");
    let closes = async || {
        let bars = mara.get("/api/v1/stocks/AAPL/history?range=1W").await.is(200).items();
        bars.iter().map(|bar| bar["close"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    app.at("2026-11-22T12:00:00Z");
    assert_eq!(closes().await, ["150.00", "150.00", "150.00"]);
    app.at("2026-11-24T12:00:00Z");
    assert_eq!(closes().await, ["100.00", "100.00", "100.00", "100.00", "99.00"]);
    let page = app.log_in("mara").await.get("/stocks/AAPL?range=1W").await.is(200).text();
    assert!(page.contains("Prices before a split are adjusted to today’s shares."), "{page}");
}

#[tokio::test]
async fn a_delisting_ends_open_orders_with_a_reason_and_refuses_new_ones() {
    let app = TestApp::spawn().await;
    let gone =
        CorporateAction::new("JPM".parse().unwrap(), day("2026-11-23"), CorporateActionKind::Delisting);
    app.prices.announce(NEWS.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into(), gone);
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "JPM", "1").await.is(201);
    let limit = with(
        trade("sell", "JPM", "1"),
        json!({"type": "limit", "limit_price": "300", "time_in_force": "gtc"}),
    );
    let order = mara.place(portfolio, limit.clone()).await;
    app.at("2026-11-23T05:00:01Z");
    app.work().await;
    app.prices.set_as_of(
        "JPM",
        Some("2026-11-23T04:59:59Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().into()),
    );
    let ended = mara.see(portfolio, &order).await;
    assert_eq!(ended["status"], json!("canceled"));
    assert_eq!(ended["reject_reason"], json!("the stock is delisted"));
    let refused = mara.order(portfolio, limit).await.is_refused(422, "not_tradable");
    assert_eq!(refused["detail"], json!("JPM cannot be traded here: it is delisted."));
    assert_eq!(mara.get("/api/v1/stocks/JPM").await.is(200).json()["delisted_on"], json!("2026-11-23"));
    let page = app.log_in("mara").await.get("/stocks/JPM").await.is(200).text();
    assert!(page.contains("Delisted since 23 Nov 2026."), "{page}");
}

#[tokio::test]
async fn a_stock_is_found_by_its_former_symbol() {
    let app = TestApp::spawn().await;
    app.prices.list("JPX", "JPX Bank", "Financials", "200.00");
    let kind = CorporateActionKind::SymbolChange { to: "JPX".parse().unwrap() };
    let renamed = CorporateAction::new("JPM".parse().unwrap(), day("2026-11-23"), kind);
    app.prices.announce(NEWS.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into(), renamed);
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000").await;
    mara.buy(portfolio, "JPM", "3").await.is(201);
    app.at("2026-11-23T05:00:01Z");
    app.work().await;
    for symbol in ["JPM", "JPX"] {
        assert_eq!(
            mara.get(&format!("/api/v1/stocks/{symbol}")).await.is(200).json()["symbol"],
            json!("JPX")
        );
        let held =
            mara.get(&format!("/api/v1/portfolios/{portfolio}/positions/{symbol}")).await.is(200).json();
        assert_eq!((&held["symbol"], &held["quantity"]), (&json!("JPX"), &json!("3")));
        let found = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions?symbol={symbol}")).await;
        assert_eq!(found.is(200).items().len(), 1, "{symbol}");
    }
    let moved = app.log_in("mara").await.get("/stocks/JPM").await.is(303);
    assert_eq!(moved.header("location"), Some("/stocks/JPX"));
}
