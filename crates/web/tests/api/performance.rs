//! Daily snapshots and the performance of a portfolio.

use chrono::{Days, NaiveDate};
use domain::performance::Measure;
use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Json, Person, TestApp};

/// Friday: 10 AAPL bought at 150 out of 2,000; the close is 160. Saturday: a deposit of 500; the close is 140. Now it
/// is Sunday, 0:20 in New York, and AAPL is at 155.
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
    // A repeated run does not take another snapshot.
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
async fn snapshots_are_filtered_by_day() {
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

/// The measures without those of risk and of calendar periods.
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
async fn a_window_is_a_named_period_or_dates() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let all = mara.get(&format!("{own}/performance")).await.is(200);
    for period in ["1W", "1M", "3M", "6M", "YTD", "1Y", "3Y", "5Y", "ALL", "1w", "ytd"] {
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
pub async fn thirty_days(app: &TestApp) -> (Person, String) {
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
    // SPY, the default benchmark, has no prices in this test.
    assert_eq!((&alone["benchmark"]["symbol"], &alone["benchmark"]["twr"]), (&json!("SPY"), &json!(null)));
    assert_eq!((&alone["what_if"], &alone["explanation"]), (&json!(null), &json!(null)));
    assert_eq!((&alone["periods_per_year"], &alone["risk_free"]), (&json!(365), &json!(0.0)));
    // Only the annual figures are undefined, because they need a year.
    let (of_benchmark, undefined): (Vec<&Value>, Vec<&Value>) = alone["undefined"]
        .as_array()
        .unwrap()
        .iter()
        .partition(|one| one["reason"] == "benchmark_starts_late");
    let undefined: Vec<&Value> = undefined.into_iter().map(|one| &one["measure"]).collect();
    assert_eq!(undefined, ["annualized_return", "xirr", "calmar"]);
    assert_eq!((of_benchmark.len(), &of_benchmark[0]["measure"]), (8, &json!("benchmark_twr")));
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
    // Both prices follow the same wave; the wave of AAPL is larger in proportion to its price.
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

    // The product of the table's returns is the time-weighted return.
    let answer = mara.get(&format!("{own}/performance?explain=twr")).await.is(200).json().clone();
    let explanation = &answer["explanation"];
    let steps = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
    let table = steps.into_iter().find(|step| step["unit"] == "table").unwrap();
    let columns = table["value"]["columns"].as_array().unwrap();
    let place = columns.iter().position(|column| column["name"] == "daily_return").unwrap();
    let rows = table["value"]["rows"].as_array().unwrap();
    let growth: f64 = rows.iter().filter_map(|row| row[place].as_f64()).map(|daily| 1.0 + daily).product();
    assert!((growth - 1.0 - answer["twr"].as_f64().unwrap()).abs() < 1e-12, "{table}");

    // A measure without a value has the reason.
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
        ("explain", "explain="),
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
    for words in
        ["Compared with SPY", "There are no prices of the benchmark", "choose a period that begins later"]
    {
        assert!(alone.contains(words), "{words}");
    }
    assert!(!alone.contains("class=\"ghost\""), "no line of another window");
    let compared = browser.get(&format!("{page}/performance?range=1m&benchmark=msft")).await.is(200).text();
    assert!(compared.contains("<path class=\"ghost\" d=\"M"), "the benchmark has a line");
    assert!(!compared.contains("choose a period that begins later"));
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

#[tokio::test]
async fn contributions_dividends_and_costs_are_part_of_the_response() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let answer = mara.get(&format!("{own}/performance")).await.is(200).json().clone();
    assert_eq!(
        answer["contributions"],
        json!([{
            "symbol": "AAPL", "gain": "50.00", "contribution": 50.0 / 2250.0, "realized_pnl": "0.00",
            "unrealized_change": "50.00", "dividends": "0.00",
        }])
    );
    assert_eq!(answer["cash_contribution"], json!({"gain": "0.00", "contribution": 0.0}));
    assert_eq!(answer["modified_dietz"], answer["contributions"][0]["contribution"]);
    for (field, value) in [
        ("realized_pnl", "0.00"),
        ("unrealized_pnl", "50.00"),
        ("unrealized_change", "50.00"),
        ("dividends", "0.00"),
        ("commissions", "0.00"),
    ] {
        assert_eq!(answer[field], value, "{field}");
    }
    assert_eq!((&answer["dividends_by_year"], &answer["turnover"]), (&json!([]), &json!(0.0)));
    // Saturday alone: ten shares fall from 160 to 140.
    let saturday =
        mara.get(&format!("{own}/performance?from=2026-11-21&to=2026-11-21")).await.is(200).json().clone();
    assert_eq!(
        (&saturday["contributions"][0]["gain"], &saturday["gain"]),
        (&json!("-200.00"), &json!("-200.00"))
    );
    assert_eq!(
        (&saturday["unrealized_pnl"], &saturday["unrealized_change"]),
        (&json!("-100.00"), &json!("-200.00"))
    );
}

#[tokio::test]
async fn a_portfolio_remembers_its_benchmark() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    assert_eq!(mara.get(&own).await.is(200).json()["benchmark"], "SPY");
    let changed = mara.patch(&own, json!({"benchmark": "msft"})).await.is(200).json().clone();
    assert_eq!((&changed["benchmark"], &changed["name"]), (&json!("MSFT"), &json!("Growth")));
    assert_eq!(mara.patch(&own, json!({"name": "Calm"})).await.is(200).json()["benchmark"], "MSFT");
    let answer = mara.get(&format!("{own}/performance")).await.is(200).json().clone();
    assert_eq!(answer["benchmark"]["symbol"], "MSFT");
    assert!(answer["benchmark"]["twr"].is_f64() && answer["what_if"]["end_value"].is_string(), "{answer}");
    // The chart on the portfolio's page offers the same benchmark.
    let page = app.log_in("mara").await.get(&own.replace("/api/v1", "")).await.is(200).text();
    assert!(page.contains("data-benchmark=\"MSFT\""), "{page}");
    // A request may name another benchmark.
    let other = mara.get(&format!("{own}/performance?benchmark=JPM")).await.is(200).json().clone();
    assert_eq!(other["benchmark"]["symbol"], "JPM");
    for benchmark in [json!("NOSUCH"), json!("not a symbol"), json!("")] {
        mara.patch(&own, json!({"benchmark": benchmark, "name": "Changed"})).await.is_about("benchmark");
    }
    assert_eq!(mara.get(&own).await.is(200).json()["name"], "Calm", "all or nothing");
    let reset = mara.post(&format!("{own}/reset"), json!({})).await.is(201).json().clone();
    assert_eq!(reset["benchmark"], "MSFT", "it stays when the portfolio starts over");
}

/// The field of the response that an explanation is about. `None` for a figure without a field of its own.
fn field_of(answer: &Value, measure: Measure) -> Option<Value> {
    let at = |pointer: &str| answer.pointer(pointer).cloned();
    match measure {
        Measure::BenchmarkTwr => at("/benchmark/twr"),
        Measure::ExcessReturn
        | Measure::Beta
        | Measure::Alpha
        | Measure::TrackingError
        | Measure::Correlation
        | Measure::InformationRatio => at(&format!("/benchmark/{measure}")),
        Measure::WhatIf => at("/what_if/difference"),
        Measure::BestDay | Measure::WorstDay => at(&format!("/{measure}/return")),
        Measure::LongestUnderWater => at("/longest_under_water_days"),
        Measure::MonthlyReturns | Measure::YearlyReturns | Measure::Contributions => None,
        _ => at(&format!("/{measure}")),
    }
}

/// The numbers of a column.
fn column(explanation: &Value, table: &str, name: &str) -> Vec<f64> {
    let all = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
    let found = all
        .into_iter()
        .find(|step| step["name"] == table)
        .unwrap_or_else(|| panic!("{table}: {explanation}"));
    let place =
        found["value"]["columns"].as_array().unwrap().iter().position(|column| column["name"] == name);
    let cell = |row: &Value| match &row[place.unwrap()] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    };
    found["value"]["rows"].as_array().unwrap().iter().map(cell).collect()
}

fn value(explanation: &Value, name: &str) -> f64 {
    let all = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
    let found =
        all.into_iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("{name}: {explanation}"));
    match &found["value"] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

fn result(explanation: &Value) -> f64 {
    match &explanation["result"]["value"] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap_or_else(|| panic!("{explanation}")),
    }
}

#[tokio::test]
async fn every_measure_is_explained_over_the_api_and_on_a_page() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    let browser = app.log_in("mara").await;
    let page = own.replace("/api/v1", "");
    let query = "benchmark=MSFT";
    let shown = browser.get(&format!("{page}/performance?{query}")).await.is(200).text();
    for measure in Measure::ALL {
        let answer =
            mara.get(&format!("{own}/performance?{query}&explain={measure}")).await.is(200).json().clone();
        let explanation = &answer["explanation"];
        assert_eq!(explanation["measure"], measure.as_str());
        let is_defined = !explanation["result"].is_null();
        assert_ne!(is_defined, explanation["undefined"].is_string(), "{measure}");
        assert!(
            !is_defined || !explanation["inputs"].as_array().unwrap().is_empty(),
            "{measure} has no inputs"
        );
        if let Some(field) = field_of(&answer, *measure) {
            let shown = if is_defined { &explanation["result"]["value"] } else { &Value::Null };
            assert_eq!(*shown, field, "{measure}");
        }
        let read = browser.get(&format!("{page}/explain/{measure}?{query}")).await.is(200).text();
        assert!(read.contains("id=\"explanation\"") && read.contains("Source: "), "{measure}: {read}");
        assert_eq!(read.contains("class=\"notice\""), !is_defined, "{measure}");
        // Every table of the explanation is also a CSV, with a header and all rows.
        let steps = ["inputs", "steps"].into_iter().flat_map(|part| explanation[part].as_array().unwrap());
        for table in steps.filter(|step| step["unit"] == "table") {
            let name = table["name"].as_str().unwrap();
            let csv = browser.get(&format!("{page}/explain/{measure}/{name}.csv?{query}")).await.is(200);
            assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
            let rows = table["value"]["rows"].as_array().unwrap().len();
            assert_eq!(csv.text().lines().count(), rows + 1, "{measure} {name}");
            assert!(read.contains(&format!("/explain/{measure}/{name}.csv?{query}")), "{measure} {name}");
        }
        let is_on_page = !matches!(measure, Measure::StartValue | Measure::EndValue | Measure::NetFlow);
        let link = format!("href=\"{page}/explain/{measure}?{query}\"");
        assert_eq!(shown.contains(&link), is_on_page, "{measure}");
    }
    browser.get(&format!("{page}/explain/luck")).await.is(404);
    browser.get(&format!("{page}/explain/twr/nothing.csv")).await.is(404);
    browser.get(&format!("{page}/explain/twr?benchmark=NOSUCH")).await.is(422);
}

/// The product of the growths in the CSV is the return on the page.
#[tokio::test]
async fn the_csv_of_an_explanation_gives_its_result() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    let browser = app.log_in("mara").await;
    let page = own.replace("/api/v1", "");
    let twr = mara.get(&format!("{own}/performance")).await.is(200).json()["twr"].as_f64().unwrap();
    let csv = browser.get(&format!("{page}/explain/twr/days.csv")).await.is(200).text();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("date,start_value,net_flow,end_value,daily_return"));
    let growth: f64 = lines
        .map(|line| {
            let cells: Vec<f64> = line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect();
            let [start, flow, end, daily] = cells[..] else { panic!("{line}") };
            let computed = (end + (-flow).max(0.0)) / (start + flow.max(0.0)) - 1.0;
            assert!((computed - daily).abs() < 1e-12, "{line}");
            1.0 + daily
        })
        .product();
    assert!((growth - 1.0 - twr).abs() < 1e-12, "{growth} {twr}");
}

#[tokio::test]
async fn figures_of_the_books_are_explained_with_numbers_that_add_up() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let id: i64 = own.rsplit('/').next().unwrap().parse().unwrap();
    app.prices.set("MSFT", "401.50");
    mara.buy(id, "MSFT", "1.5").await.is(201);
    app.prices.set("MSFT", "395.00");
    let valued = mara.get(&format!("{own}/valuation")).await.is(200).json().clone();
    let amount = |field: &str| valued[field].as_str().unwrap().parse::<f64>().unwrap();
    let explained =
        async |path: &str| mara.get(&format!("{own}/explanations/{path}")).await.is(200).json().clone();
    let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-6, "{one} instead of {other}");

    let total = explained("total_value").await;
    let values = column(&total, "positions", "market_value");
    for ((quantity, price), value) in
        column(&total, "positions", "quantity").iter().zip(column(&total, "positions", "price")).zip(&values)
    {
        assert!((quantity * price - value).abs() <= 0.005);
    }
    let sum: f64 = values.iter().sum();
    near(sum + value(&total, "cash_balance") + value(&total, "dividends_receivable"), result(&total));
    near(result(&total), amount("total_value"));

    let day = explained("day_change").await;
    let part = |name| column(&day, "stocks", name);
    let rows = part("value_now")
        .into_iter()
        .zip(part("value_before"))
        .zip(part("traded").into_iter().zip(part("dividends")));
    near(
        rows.map(|((now, before), (traded, dividends))| now - before + traded + dividends).sum(),
        result(&day),
    );
    near(result(&day), amount("day_change"));

    let average = explained("average_buy_price?symbol=msft").await;
    let cost: f64 = column(&average, "lines", "cost").iter().sum();
    near(cost / column(&average, "lines", "shares").iter().sum::<f64>(), result(&average));
    let position = mara.get(&format!("{own}/positions/MSFT")).await.is(200).json().clone();
    near(result(&average), position["average_buy_price"].as_str().unwrap().parse().unwrap());

    let herfindahl = explained("herfindahl").await;
    let values = column(&herfindahl, "positions", "market_value");
    let total: f64 = values.iter().sum();
    near(values.iter().map(|value| (value / total).powi(2)).sum(), result(&herfindahl));
    let composition = mara.get(&format!("{own}/composition")).await.is(200).json().clone();
    near(result(&herfindahl), composition["concentration"]["herfindahl"].as_f64().unwrap());

    mara.get(&format!("{own}/explanations/average_buy_price")).await.is_about("symbol");
    mara.get(&format!("{own}/explanations/average_buy_price?symbol=JPM")).await.is_refused(404, "not_found");
    mara.get(&format!("{own}/explanations/luck")).await.is_refused(404, "not_found");
    let eve = app.register("eve").await;
    eve.get(&format!("{own}/explanations/total_value")).await.is_refused(404, "not_found");

    // The pages link to the explanations.
    let browser = app.log_in("mara").await;
    let page = own.replace("/api/v1", "");
    for (on, figures) in [
        (page.clone(), &["total_value", "day_change", "average_buy_price?symbol=MSFT"][..]),
        (format!("{page}/composition"), &["herfindahl"]),
    ] {
        let shown = browser.get(&on).await.is(200).text();
        for figure in figures {
            let address = format!("{page}/explain/{figure}");
            assert!(shown.contains(&format!("href=\"{address}\"")), "{on} does not link to {address}");
            assert!(browser.get(&address).await.is(200).text().contains("id=\"explanation\""));
        }
    }
}

/// JPM has prices only since 15 December, like a benchmark with a free key that gives 100 sessions.
#[tokio::test]
async fn a_benchmark_with_too_little_history_is_not_compared_over_a_shorter_window() {
    let app = TestApp::spawn().await;
    let (mara, own) = thirty_days(&app).await;
    for day in 15..=19 {
        app.close("JPM", &format!("2026-12-{day}"), &format!("2{day}.00"));
    }
    mara.patch(&own, json!({"benchmark": "JPM"})).await.is(200);
    let all = mara.get(&format!("{own}/performance")).await.is(200).json().clone();
    assert_eq!((&all["benchmark"]["twr"], &all["what_if"]), (&json!(null), &json!(null)));
    assert!(all["series"].as_array().unwrap().iter().all(|point| point["benchmark"].is_null()), "{all}");
    let undefined = all["undefined"].as_array().unwrap();
    let of_benchmark = undefined.iter().find(|one| one["measure"] == "benchmark_twr").unwrap();
    assert_eq!(of_benchmark["reason"], "benchmark_starts_late");
    let message = of_benchmark["message"].as_str().unwrap();
    assert!(message.contains("2026-12-15") && message.contains("2026-11-20"), "{message}");
    let later = mara.get(&format!("{own}/performance?from=2026-12-16")).await.is(200).json().clone();
    let twr = later["benchmark"]["twr"].as_f64().unwrap();
    // From the close of the 15th to the current price.
    assert!((twr - (200.0 / 215.0 - 1.0)).abs() < 1e-12, "{twr}");

    let browser = app.log_in("mara").await;
    let page = own.replace("/api/v1", "");
    let shown = browser.get(&format!("{page}/performance")).await.is(200).text();
    for words in ["Compared with JPM", "Prices of the benchmark begin on 2026-12-15", "100 days of prices"] {
        assert!(shown.contains(words), "{words}");
    }
    assert!(!shown.contains("class=\"ghost\""), "no line of another window");
    let later = browser.get(&format!("{page}/performance?from=2026-12-16")).await.is(200).text();
    assert!(later.contains("<path class=\"ghost\"") && !later.contains("100 days of prices"));
}

#[tokio::test]
async fn a_cached_response_has_the_same_bytes() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    app.close("SPY", "2026-11-20", "500.00");
    app.close("SPY", "2026-11-21", "505.00");
    for query in ["", "?period=1M", "?benchmark=MSFT", "?from=2026-11-21", "?from=2026-11-20&to=2026-11-21"] {
        let path = format!("{own}/performance{query}");
        let whole = mara.get(&format!("{path}{}explain=twr", if query.is_empty() { "?" } else { "&" })).await;
        let first = mara.get(&path).await.is(200);
        let again = mara.get(&path).await.is(200);
        assert_eq!(first.text(), again.text(), "{query}");
        let mut whole = whole.is(200).json().0;
        whole["explanation"] = Value::Null;
        assert_eq!(*again.json(), whole, "{query}");
        assert_eq!(again.header("content-type"), Some("application/json"));
    }
}

/// The deposit that opened the portfolio has no mark, because the line begins with it.
#[tokio::test]
async fn charts_mark_deposits_and_withdrawals_and_say_so_to_screen_readers() {
    let app = TestApp::spawn().await;
    let (mara, own) = two_days(&app).await;
    let id: i64 = own.rsplit('/').next().unwrap().parse().unwrap();
    mara.withdraw(id, "20.00").await.is(201);
    let browser = app.log_in("mara").await;
    let page = own.replace("/api/v1", "");
    let marked = "Marked: deposit 500.00 on 21 Nov 2026, withdrawal 20.00 on 22 Nov 2026.";
    for (address, chart) in [(page.clone(), "equity"), (format!("{page}/performance"), "growth-chart")] {
        let shown = browser.get(&address).await.is(200).text();
        let drawn = shown.split(&format!("<desc id=\"{chart}-d\">")).nth(1).unwrap();
        let (description, drawn) = drawn.split_once("</desc>").unwrap();
        assert!(description.ends_with(marked), "{address}: {description}");
        let drawn = drawn.split("</figure>").next().unwrap();
        assert_eq!(drawn.matches("<line class=\"flow\"").count(), 2, "{address}");
        assert!(drawn.contains(">deposit 500.00<") && drawn.contains(">withdrawal 20.00<"), "{address}");
    }
    let legend = "Deposits and withdrawals; they do not change the growth";
    assert!(browser.get(&format!("{page}/performance")).await.text().contains(legend));
    let without =
        browser.get(&format!("{page}/performance?from=2026-11-20&to=2026-11-20")).await.is(200).text();
    assert!(!without.contains(legend) && !without.contains("Marked:"));
}
