//! Limits on concentration, and the overview of all portfolios.

use serde_json::{Value, json};

use crate::harness::{Answer, Caller, TestApp};

async fn put(caller: &Caller, path: &str, body: &Value) -> Answer {
    caller.tell(reqwest::Method::PUT, path, "application/json", body.to_string()).await
}

fn notes(composition: &Value) -> Vec<(String, Value)> {
    let notes = composition["notes"].as_array().unwrap().iter();
    notes.map(|note| (note["part"].as_str().unwrap().to_owned(), note["name"].clone())).collect()
}

#[tokio::test]
async fn the_composition_has_a_note_for_each_part_above_its_limit() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let portfolio = sam.open("10000.00").await;
    // AAPL is 30 % of the portfolio, cash the rest.
    sam.buy(portfolio, "AAPL", "20").await.is(201);
    let address = format!("/api/v1/portfolios/{portfolio}/composition");
    let usual = sam.get(&address).await.is(200).json().0;
    assert_eq!(usual["limits"], json!({"stock_percent": 25, "sector_percent": 40, "cash_percent": null}));
    assert_eq!(notes(&usual), [("stock".to_owned(), json!("AAPL"))]);
    assert_eq!(usual["notes"][0]["limit_percent"], 25);

    let limits = json!({"stock_percent": 31, "sector_percent": 29, "cash_percent": 69});
    let set = put(&sam, &format!("{address}/limits"), &limits).await.is(200).json().0;
    assert_eq!(set, limits);
    let changed = sam.get(&address).await.is(200).json().0;
    assert_eq!(changed["limits"], limits);
    assert_eq!(
        notes(&changed),
        [("sector".to_owned(), json!("Technology")), ("cash".to_owned(), Value::Null)]
    );
    // A limit that is left out is removed.
    put(&sam, &format!("{address}/limits"), &json!({})).await.is(200);
    assert_eq!(notes(&sam.get(&address).await.is(200).json().0), []);
}

#[tokio::test]
async fn a_limit_outside_of_1_to_100_is_refused() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let portfolio = sam.open("1000.00").await;
    let address = format!("/api/v1/portfolios/{portfolio}/composition/limits");
    let refused =
        put(&sam, &address, &json!({"stock_percent": 0, "sector_percent": 101, "cash_percent": 5})).await;
    let refused = refused.is(422).json().0;
    let pointers: Vec<&Value> =
        refused["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/stock_percent", "/sector_percent"]);
    let composition = sam.get(&format!("/api/v1/portfolios/{portfolio}/composition")).await.is(200).json().0;
    assert_eq!(composition["limits"]["stock_percent"], 25, "nothing was changed");
    let eve = app.register("eve").await;
    put(&eve, &address, &json!({"stock_percent": 5})).await.is(404);
}

#[tokio::test]
async fn the_page_shows_notes_and_dividends_receivable_separately() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let portfolio = sam.open("10000.00").await;
    sam.buy(portfolio, "AAPL", "20").await.is(201);
    let browser = app.log_in("sam").await;
    let page = browser.get(&format!("/portfolios/{portfolio}/composition")).await.is(200).text();
    assert!(page.contains("AAPL is 30.00% of the portfolio, above your limit of 25%."), "{page}");
    assert!(page.contains("name=\"stock_percent\" value=\"25\""), "{page}");
}

#[tokio::test]
async fn the_overview_adds_all_portfolios() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let empty = sam.get("/api/v1/portfolios/overview").await.is(200).json().0;
    assert_eq!(empty["total_value"], "0.00");
    assert_eq!((&empty["total_gain_ratio"], &empty["portfolios"]), (&Value::Null, &json!([])));

    let (first, second) = (sam.open("10000.00").await, sam.open("5000.00").await);
    let archived = sam.open("7.00").await;
    sam.post(&format!("/api/v1/portfolios/{archived}/reset"), json!({"cash_balance": "0.00"})).await.is(201);
    sam.buy(first, "AAPL", "20").await.is(201);
    sam.buy(second, "AAPL", "10").await.is(201);
    sam.buy(second, "MSFT", "2").await.is(201);
    sam.withdraw(second, "1000.00").await.is(201);
    app.prices.set("AAPL", "165.00");
    let overview = sam.get("/api/v1/portfolios/overview").await.is(200).json().0;
    // 30 AAPL have gained 15.00 each. Net deposits are 14,000: 15,000 less 1,000.
    assert_eq!(overview["total_value"], "14450.00");
    assert_eq!(overview["total_gain"], "450.00");
    assert_eq!((&overview["deposits"], &overview["total_gain_ratio"]), (&json!("15000.00"), &json!(0.03)));
    assert_eq!(overview["stocks"][0]["symbol"], "AAPL");
    assert_eq!(overview["stocks"][0]["market_value"], "4950.00", "of both portfolios");
    let items = overview["portfolios"].as_array().unwrap();
    assert_eq!(items.len(), 3, "the new one after the reset, not the archived one");
    assert_eq!((&items[0]["total_value"], &items[0]["total_gain_ratio"]), (&json!("10300.00"), &json!(0.03)));
    let weights = |list: &Value| -> f64 {
        list.as_array().unwrap().iter().map(|item| item["weight"].as_f64().unwrap()).sum()
    };
    let parts = weights(&overview["stocks"]) + overview["cash"]["weight"].as_f64().unwrap();
    assert!(
        (parts - 1.0).abs() < 1e-9 && (weights(&overview["portfolios"]) - 1.0).abs() < 1e-9,
        "{overview:?}"
    );
    assert!((weights(&overview["sectors"]) - weights(&overview["stocks"])).abs() < 1e-9);
    // All deposits and withdrawals were on one day; together they are 14,000.
    let twr = 14_450.0 / 14_000.0 - 1.0;
    assert!((overview["twr"].as_f64().unwrap() - twr).abs() < 1e-12, "{overview:?}");
    assert_eq!(overview["twr_since"], "2026-11-20");
    let eve = app.register("eve").await;
    let nothing = eve.get("/api/v1/portfolios/overview").await.is(200).json().0;
    assert_eq!(nothing["total_value"], "0.00");
    assert_eq!((&nothing["twr"], &nothing["twr_since"]), (&Value::Null, &Value::Null));

    let browser = app.log_in("sam").await;
    let page = browser.get("/portfolios").await.is(200).text();
    for words in [
        "Allocation of all portfolios",
        "By sector",
        "14,450.00",
        "+3.00%",
        "all portfolios combined, since 20 Nov 2026",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("href=\"/portfolios/explain/twr\""));
    let explained = browser.get("/portfolios/explain/twr").await.is(200).text();
    for words in ["id=\"explanation\"", "Archived portfolios are left out", "3.21428571%", "14,450.00"] {
        assert!(explained.contains(words), "{words}");
    }
    assert!(explained.contains("href=\"/portfolios/explain/twr/days.csv\""));
    let csv = browser.get("/portfolios/explain/twr/days.csv").await.is(200).text();
    assert!(csv.starts_with(
        "date,start_value,net_flow,end_value,daily_return\r\n2026-11-20,0.00,14000.00,14450.00,"
    ));
}

#[tokio::test]
async fn limits_can_be_set_before_anything_is_held() {
    let app = TestApp::spawn().await;
    let sam = app.register("sam").await;
    let portfolio = sam.open("10000.00").await;
    let browser = app.log_in("sam").await;
    let page = format!("/portfolios/{portfolio}/composition");
    let shown = browser.get(&page).await.is(200).text();
    assert!(shown.contains("The portfolio is all cash") && !shown.contains("above your limit"), "{shown}");
    let limits = [("stock_percent", "30"), ("sector_percent", ""), ("cash_percent", "50")];
    let saved = browser.submit(&page, &format!("{page}/limits"), &limits).await.is(303);
    let shown = browser.follow(&saved).await.is(200).text();
    assert!(shown.contains("name=\"stock_percent\" value=\"30\""), "{shown}");
    assert!(shown.contains("Cash is 100.00% of the portfolio, above your limit of 50%."), "{shown}");
    let refused = browser.refused(&page, &format!("{page}/limits"), &[("cash_percent", "500")]).await;
    assert!(refused.text().contains("whole number from 1 to 100"));
}
