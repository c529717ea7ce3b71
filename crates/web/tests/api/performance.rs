//! Snapshots of the days and what they say about how a portfolio did.

use chrono::{Days, NaiveDate};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Json, Person, TestApp};

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
    mara.get(&format!("{own}/snapshots?limit=5")).await.is_about("limit");
}

/// The measures that every window has, without those of risk and of the calendar.
fn basics(measured: Json) -> Json {
    let Json(mut basics) = measured;
    let names = ["series", "gain", "net_flow", "start_value", "twr"];
    let fields = basics.as_object_mut().unwrap();
    fields.retain(|name, _| names.contains(&name.as_str()) || name.starts_with("max_drawdown"));
    for point in fields["series"].as_array_mut().unwrap() {
        assert_eq!(point.as_object_mut().unwrap().remove("benchmark"), Some(Value::Null));
    }
    Json(basics)
}

#[tokio::test]
async fn performance_is_measured_from_close_to_close_and_up_to_now() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    assert_json_snapshot!(basics(mara.get(&format!("{own}/performance")).await.is(200).json()), @r#"
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
    assert_json_snapshot!(basics(measured.json()), @r#"
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
        ("range", "range=1W"),
    ] {
        mara.get(&format!("{own}/performance?{query}")).await.is_about(field);
    }
}

#[tokio::test]
async fn a_window_before_the_portfolio_is_empty() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let measured = mara.get(&format!("{own}/performance?from=2026-01-01&to=2026-06-30")).await.is(200);
    assert_json_snapshot!(basics(measured.json()), @r#"
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
    assert_json_snapshot!(basics(mara.get(&format!("{own}/performance")).await.is(200).json()), @r#"
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
    assert_eq!((&measured["twr"], &measured["gain"]), (&Value::Null, &json!("0.00")));
    let reasons: Vec<&Value> =
        measured["undefined"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert!(reasons.contains(&&json!("nothing_invested")), "{reasons:?}");
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

/// Thirty sessions around the clock from Friday, 20 November 2026 on. The portfolio holds AAPL alone; MSFT is the benchmark.
async fn thirty_days(app: &TestApp) -> (Person, String) {
    let date = |day: u64| (NaiveDate::from_ymd_opt(2026, 11, 19).unwrap() + Days::new(day)).to_string();
    for day in 0..=30 {
        let wave = [0, 3, -2, 5, -4][usize::try_from(day % 5).unwrap()];
        app.close("AAPL", &date(day), &format!("{}.00", 150 + wave));
        app.close("MSFT", &date(day), &format!("{}.00", 400 + 2 * wave));
    }
    let mara = app.register("mara").await;
    let portfolio = mara.open("1500.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    for day in 2..=31 {
        app.at(&format!("{}T05:20:00Z", date(day)));
        app.work().await;
    }
    (mara, format!("/api/v1/portfolios/{portfolio}"))
}

#[tokio::test]
async fn a_month_has_measures_of_risk_and_a_comparison_with_a_benchmark() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    let alone = mara.get(&format!("{own}/performance")).await.is(200).json().clone();
    for measure in ["mwr", "volatility", "downside_deviation", "sharpe", "sortino", "positive_days"] {
        assert!(alone[measure].is_f64(), "{measure}: {}", alone[measure]);
    }
    assert_eq!(
        (&alone["benchmark"], &alone["what_if"], &alone["explanation"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!((&alone["periods_per_year"], &alone["risk_free"]), (&json!(365), &json!(0.0)));
    // Annual figures need a year; nothing else is missing.
    let undefined: Vec<&Value> =
        alone["undefined"].as_array().unwrap().iter().map(|one| &one["measure"]).collect();
    assert_eq!(undefined, ["annualized_return", "xirr", "calmar"]);
    assert_eq!(alone["undefined"][0]["reason"], "shorter_than_a_year");
    let months: Vec<&Value> =
        alone["monthly_returns"].as_array().unwrap().iter().map(|one| &one["month"]).collect();
    assert_eq!(months, ["2026-11", "2026-12"]);

    let compared = mara.get(&format!("{own}/performance?benchmark=msft")).await.is(200).json().clone();
    let benchmark = &compared["benchmark"];
    assert_eq!(benchmark["symbol"], "MSFT");
    for measure in ["twr", "excess_return", "beta", "alpha", "tracking_error", "correlation"] {
        assert!(benchmark[measure].is_f64(), "{measure}: {benchmark}");
    }
    // Both follow the same wave; AAPL's is larger in proportion to its price.
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&benchmark["correlation"]) > 0.9 && number(&benchmark["beta"]) > 1.0, "{benchmark}");
    let excess = number(&compared["twr"]) - number(&benchmark["twr"]);
    assert!((excess - number(&benchmark["excess_return"])).abs() < 1e-12);
    let cents = |value: &Value| (value.as_str().unwrap().parse::<f64>().unwrap() * 100.0).round();
    let twin = &compared["what_if"];
    assert_eq!(cents(&twin["end_value"]) + cents(&twin["difference"]), cents(&compared["end_value"]));
    let last = compared["series"].as_array().unwrap().last().unwrap();
    assert!((number(&last["benchmark"]) - number(&benchmark["twr"])).abs() < 1e-12);
    for measure in ["gain", "twr", "volatility"] {
        assert_eq!(compared[measure], alone[measure], "{measure}");
    }
}

#[tokio::test]
async fn a_measure_is_explained_with_numbers_that_add_up() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    let answer = mara.get(&format!("{own}/performance?explain=gain")).await.is(200).json().clone();
    let explanation = &answer["explanation"];
    assert_eq!((&explanation["measure"], &explanation["result"]["value"]), (&json!("gain"), &answer["gain"]));
    let amount = |name: &str| -> f64 {
        let all = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
        let found = all
            .into_iter()
            .find(|step| step["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {explanation}"));
        assert_eq!(found["unit"], "money");
        found["value"].as_str().unwrap().parse().unwrap()
    };
    let gain = amount("end_value") - amount("start_value") - amount("net_flow");
    assert!((gain - answer["gain"].as_str().unwrap().parse::<f64>().unwrap()).abs() < 0.005);

    // The table of returns gives the time-weighted return.
    let answer = mara.get(&format!("{own}/performance?explain=twr")).await.is(200).json().clone();
    let explanation = &answer["explanation"];
    let steps = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
    let table = steps.into_iter().find(|step| step["unit"] == "table").unwrap();
    let columns = table["value"]["columns"].as_array().unwrap();
    let place = columns.iter().position(|column| column["name"] == "daily_return").unwrap();
    let rows = table["value"]["rows"].as_array().unwrap();
    let growth: f64 = rows.iter().filter_map(|row| row[place].as_f64()).map(|daily| 1.0 + daily).product();
    assert!((growth - 1.0 - answer["twr"].as_f64().unwrap()).abs() < 1e-12, "{table}");

    // Why there is no value.
    let answer = mara.get(&format!("{own}/performance?explain=xirr")).await.is(200).json().clone();
    assert_eq!(answer["explanation"]["result"], Value::Null);
    assert!(answer["explanation"]["undefined"].as_str().unwrap().contains("365 days"), "{answer}");
}

#[tokio::test]
async fn a_wrong_benchmark_or_measure_is_named() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    for (field, query) in [
        ("benchmark", "benchmark=NOSUCH"),
        ("benchmark", "benchmark=%20"),
        ("explain", "explain=luck"),
        ("explain", "explain=contributions"),
    ] {
        mara.get(&format!("{own}/performance?{query}")).await.is_about(field);
    }
    let stranger = app.register("eve").await;
    stranger.get(&format!("{own}/performance?benchmark=AAPL&explain=twr")).await.is(404);
}

#[tokio::test]
async fn the_page_shows_risk_a_benchmark_and_months() {
    let app = TestApp::spawn().await;
    let (_, own) = thirty_days(&app).await;
    let page = own.replace("/api/v1", "");
    let browser = app.log_in("mara").await;
    let alone = browser.get(&format!("{page}/performance")).await.is(200).text();
    for words in ["Sharpe ratio", "Best day", "Annual figures need 365 days", "<th scope=\"row\">2026</th>"] {
        assert!(alone.contains(words), "{words}");
    }
    assert!(!alone.contains("Compared with"));
    let compared = browser.get(&format!("{page}/performance?range=1m&benchmark=msft")).await.is(200).text();
    for words in ["Compared with MSFT", "The same deposits in MSFT", "Tracking error"] {
        assert!(compared.contains(words), "{words}");
    }
    assert!(compared.contains("range=1y&amp;benchmark=MSFT"), "another period keeps the benchmark");
    for (benchmark, words) in
        [("NOSUCH", "There is no stock or fund NOSUCH."), ("%3Cb%3E", "Enter a symbol such as SPY.")]
    {
        let refused = browser.get(&format!("{page}/performance?benchmark={benchmark}")).await.is(422).text();
        assert!(refused.contains(words), "{refused}");
    }
}
