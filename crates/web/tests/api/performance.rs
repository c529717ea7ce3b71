//! Snapshots of the days and what they say about how a portfolio did.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Person, TestApp};

/// Friday: 10 AAPL at 150 out of 2 000, closing at 160. Saturday: 500 paid in, closing at 140. It is Sunday,
/// 0:20 in New York, and AAPL stands at 155.
async fn two_days(app: &TestApp) -> (Person, String) {
    app.close("AAPL", "2026-11-19", "150.00");
    app.close("AAPL", "2026-11-20", "160.00");
    app.close("AAPL", "2026-11-21", "140.00");
    let mara = app.register("mara").await;
    let portfolio = mara.open("2000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    app.at("2026-11-21T18:00:00Z");
    mara.deposit(portfolio, "500.00").await.is(201);
    app.at("2026-11-22T05:20:00Z");
    app.prices.set("AAPL", "155.00");
    app.work().await;
    (mara, format!("/api/v1/portfolios/{portfolio}"))
}

#[tokio::test]
async fn each_close_leaves_a_snapshot() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let snapshots = mara.get(&format!("{own}/snapshots")).await.is(200);
    assert_json_snapshot!(snapshots.json(), @r#"
    {
      "items": [
        {
          "cash_balance": "500.00",
          "date": "2026-11-20",
          "dividends_receivable": "0.00",
          "net_flow": "2000.00",
          "positions_value": "1600.00",
          "provisional": false,
          "total_value": "2100.00"
        },
        {
          "cash_balance": "1000.00",
          "date": "2026-11-21",
          "dividends_receivable": "0.00",
          "net_flow": "500.00",
          "positions_value": "1400.00",
          "provisional": false,
          "total_value": "2400.00"
        }
      ],
      "next_cursor": null
    }
    "#);
    // Once more is no other.
    app.work().await;
    assert_eq!(*mara.get(&format!("{own}/snapshots")).await.json(), *snapshots.json());
}

#[tokio::test]
async fn before_the_close_is_settled_there_is_no_snapshot() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = format!("/api/v1/portfolios/{}", mara.open("2000").await);
    app.at("2026-11-21T05:14:59Z");
    app.work().await;
    assert!(mara.get(&format!("{own}/snapshots")).await.is(200).items().is_empty());
    app.at("2026-11-21T05:15:00Z");
    app.work().await;
    assert_eq!(mara.get(&format!("{own}/snapshots")).await.items().len(), 1);
}

#[tokio::test]
async fn snapshots_are_those_of_the_days_asked_for() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    for (query, days) in [
        ("?from=2026-11-21", vec!["2026-11-21"]),
        ("?to=2026-11-20", vec!["2026-11-20"]),
        ("?from=2026-11-20&to=2026-11-21", vec!["2026-11-20", "2026-11-21"]),
        ("?from=2026-11-22", vec![]),
        ("?from=2026-11-21&to=2026-11-20", vec![]),
        ("?from=-262143-01-01&to=%2B262142-12-31", vec!["2026-11-20", "2026-11-21"]),
    ] {
        let rows = mara.get(&format!("{own}/snapshots{query}")).await.is(200).items();
        let found: Vec<&str> = rows.iter().map(|row| row["date"].as_str().unwrap()).collect();
        assert_eq!(found, days, "{query}");
    }
    mara.get(&format!("{own}/snapshots?from=friday")).await.is_about("from");
    mara.get(&format!("{own}/snapshots?to=2026-11-31")).await.is_about("to");
    mara.get(&format!("{own}/snapshots?limit=5")).await.is_about("query");
}

#[tokio::test]
async fn performance_is_measured_from_close_to_close_and_up_to_now() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    assert_json_snapshot!(mara.get(&format!("{own}/performance")).await.is(200).json(), @r#"
    {
      "gain": "50.00",
      "max_drawdown": -0.07692307692307687,
      "max_drawdown_peak_on": "2026-11-20",
      "max_drawdown_recovered_on": null,
      "max_drawdown_trough_on": "2026-11-21",
      "net_flow": "2500.00",
      "series": [
        {
          "date": "2026-11-20",
          "net_flow": "2000.00",
          "total_value": "2100.00",
          "twr": 0.050000000000000044
        },
        {
          "date": "2026-11-21",
          "net_flow": "500.00",
          "total_value": "2400.00",
          "twr": -0.03076923076923066
        },
        {
          "date": "2026-11-22",
          "net_flow": "0.00",
          "total_value": "2550.00",
          "twr": 0.029807692307692424
        }
      ],
      "start_value": "0.00",
      "twr": 0.029807692307692424
    }
    "#);
}

#[tokio::test]
async fn performance_of_some_days_starts_at_the_close_before() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let measured = mara.get(&format!("{own}/performance?from=2026-11-21&to=2026-11-21")).await.is(200);
    assert_json_snapshot!(measured.json(), @r#"
    {
      "gain": "-200.00",
      "max_drawdown": -0.07692307692307687,
      "max_drawdown_peak_on": "2026-11-20",
      "max_drawdown_recovered_on": null,
      "max_drawdown_trough_on": "2026-11-21",
      "net_flow": "500.00",
      "series": [
        {
          "date": "2026-11-21",
          "net_flow": "500.00",
          "total_value": "2400.00",
          "twr": -0.07692307692307687
        }
      ],
      "start_value": "2100.00",
      "twr": -0.07692307692307687
    }
    "#);
}

#[tokio::test]
async fn a_period_has_a_name_or_dates() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let all = mara.get(&format!("{own}/performance")).await.is(200);
    for period in ["1W", "1M", "3M", "YTD", "1Y", "5Y", "ALL", "1w", "ytd"] {
        let measured = mara.get(&format!("{own}/performance?period={period}")).await.is(200);
        assert_eq!(*measured.json(), *all.json(), "{period}");
    }
    for (field, query) in [
        ("period", "period=2W"),
        ("period", "period="),
        ("period", "period=1W&from=2026-11-20"),
        ("period", "period=1W&to=2026-11-20"),
        ("from", "from=yesterday"),
        ("to", "to=2026-13-01"),
        ("from", "from=2026-11-21&to=2026-11-20"),
        ("from", "from=2026-11-23"),
        ("query", "range=1W"),
    ] {
        mara.get(&format!("{own}/performance?{query}")).await.is_about(field);
    }
}

#[tokio::test]
async fn a_window_before_the_portfolio_is_empty() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let measured = mara.get(&format!("{own}/performance?from=2026-01-01&to=2026-06-30")).await.is(200);
    assert_json_snapshot!(measured.json(), @r#"
    {
      "gain": "0.00",
      "max_drawdown": null,
      "max_drawdown_peak_on": null,
      "max_drawdown_recovered_on": null,
      "max_drawdown_trough_on": null,
      "net_flow": "0.00",
      "series": [],
      "start_value": "0.00",
      "twr": null
    }
    "#);
    mara.get(&format!("{own}/performance?from=-262143-01-01&to=-262143-01-01")).await.is(200);
    let open = mara.get(&format!("{own}/performance?to=%2B262142-12-31")).await.is(200);
    assert_eq!(open.json()["series"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_new_portfolio_has_this_moment_as_its_only_point() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = format!("/api/v1/portfolios/{}", mara.open("100").await);
    assert_json_snapshot!(mara.get(&format!("{own}/performance")).await.is(200).json(), @r#"
    {
      "gain": "0.00",
      "max_drawdown": 0.0,
      "max_drawdown_peak_on": "2026-11-20",
      "max_drawdown_recovered_on": "2026-11-20",
      "max_drawdown_trough_on": "2026-11-20",
      "net_flow": "100.00",
      "series": [
        {
          "date": "2026-11-20",
          "net_flow": "100.00",
          "total_value": "100.00",
          "twr": 0.0
        }
      ],
      "start_value": "0.00",
      "twr": 0.0
    }
    "#);
    let nothing = format!("/api/v1/portfolios/{}", mara.open("0").await);
    let measured = mara.get(&format!("{nothing}/performance")).await.is(200).json();
    assert_eq!((&measured["twr"], &measured["gain"]), (&json!(0.0), &json!("0.00")));
}

#[tokio::test]
async fn a_snapshot_on_request_is_provisional_until_the_close() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let own = format!("/api/v1/portfolios/{}", ada.open("100").await);
    ada.post("/api/v1/admin/jobs", json!({"kind": "snapshot_portfolios"})).await.is(202);
    app.work().await;
    let rows = ada.get(&format!("{own}/snapshots")).await.is(200).items();
    assert_eq!((&rows[0]["date"], &rows[0]["provisional"]), (&json!("2026-11-20"), &Value::Bool(true)));
    app.at("2026-11-21T05:20:00Z");
    app.work().await;
    let rows = ada.get(&format!("{own}/snapshots")).await.is(200).items();
    assert_eq!((rows.len(), &rows[0]["provisional"]), (1, &Value::Bool(false)));
}
