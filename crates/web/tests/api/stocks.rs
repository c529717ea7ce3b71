//! Finding stocks, their prices and histories.

use insta::assert_json_snapshot;
use market_data::QuoteError;
use serde_json::Value;

use crate::harness::{Caller, TestApp, line};

async fn found(caller: &Caller, search: &str) -> Vec<String> {
    let items = caller.get(&format!("/api/v1/stocks?search={search}")).await.is(200).items();
    items.iter().map(|row| row["symbol"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_stock_is_found_by_symbol_and_by_name() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let answer = mara.get("/api/v1/stocks?search=app").await.is(200);
    assert_json_snapshot!(answer.json(), @r#"
    {
      "items": [
        {
          "company_name": "Apple Inc.",
          "currency": "USD",
          "exchange": "NASDAQ",
          "fractionable": true,
          "restriction": null,
          "sector": "Technology",
          "symbol": "AAPL",
          "tradable": true
        }
      ],
      "next_cursor": null
    }
    "#);
    assert_eq!(found(&mara, "a").await, ["AAPL"]);
    assert_eq!(found(&mara, "MICROSOFT%20c").await, ["MSFT"]);
    assert_eq!(found(&mara, "%20jpm%20").await, ["JPM"]);
    for nothing in ["zzz", "", "%20", "%25", "_", "%27%20OR%201=1"] {
        assert!(found(&mara, nothing).await.is_empty(), "{nothing}");
    }
}

#[tokio::test]
async fn a_search_accepts_a_valid_limit_and_no_filters() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    assert_eq!(mara.get("/api/v1/stocks?search=s&limit=1").await.is(200).items().len(), 1);
    mara.get("/api/v1/stocks?search=a&limit=0").await.is_about("limit");
    mara.get("/api/v1/stocks?search=a&limit=201").await.is_about("limit");
    mara.get("/api/v1/stocks?search=a&sector=Tech").await.is_about("sector");
}

#[tokio::test]
async fn a_stock_has_a_profile() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for symbol in ["JPM", "jpm"] {
        let answer = mara.get(&format!("/api/v1/stocks/{symbol}")).await.is(200);
        insta::allow_duplicates! { assert_json_snapshot!(answer.json(), @r#"
        {
          "company_name": "JPMorgan Chase & Co.",
          "corporate_actions": [],
          "currency": "USD",
          "delisted_on": null,
          "delisting_reason": null,
          "exchange": "NASDAQ",
          "fractionable": true,
          "hold_reason": null,
          "next_results_on": null,
          "restriction": null,
          "sector": "Financials",
          "symbol": "JPM",
          "tradable": true
        }
        "#); }
    }
}

#[tokio::test]
async fn a_quote_has_price_change_and_source() {
    let app = TestApp::spawn().await;
    app.close("AAPL", "2026-11-19", "120.00");
    app.prices.set_bid_and_ask("AAPL", "149.95", "150.05");
    let mara = app.register("mara").await;
    assert_json_snapshot!(mara.get("/api/v1/stocks/AAPL/quote").await.is(200).json(), @r#"
    {
      "as_of": "2026-11-20T19:12:00Z",
      "ask": "150.05",
      "bid": "149.95",
      "change": "30.00",
      "change_percent": 25.0,
      "freshness": "simulated",
      "previous_close": "120.00",
      "price": "150.00",
      "source": "fixed",
      "stale": false,
      "symbol": "AAPL",
      "volume": null
    }
    "#);
}

#[tokio::test]
async fn unknown_parts_of_a_quote_are_null() {
    let app = TestApp::spawn().await;
    app.prices.list("PENNY", "Penny Mills", "Materials", "0.0125");
    let mara = app.register("mara").await;
    assert_json_snapshot!(mara.get("/api/v1/stocks/PENNY/quote").await.is(200).json(), @r#"
    {
      "as_of": "2026-11-20T19:12:00Z",
      "ask": null,
      "bid": null,
      "change": null,
      "change_percent": null,
      "freshness": "simulated",
      "previous_close": null,
      "price": "0.0125",
      "source": "fixed",
      "stale": false,
      "symbol": "PENNY",
      "volume": null
    }
    "#);
}

#[tokio::test]
async fn an_unknown_or_invalid_symbol_is_not_found() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    for rest in ["", "/quote", "/history"] {
        let unknown = mara.get(&format!("/api/v1/stocks/NOPE{rest}")).await;
        insta::allow_duplicates! {
            assert_json_snapshot!(unknown.is_refused(404, "unknown_symbol"), @r#"
            {
              "code": "unknown_symbol",
              "detail": "No stock has the symbol NOPE.",
              "status": 404,
              "symbol": "NOPE",
              "title": "Unknown symbol",
              "type": "urn:stockyard:problem:unknown_symbol"
            }
            "#);
        }
        for symbol in ["A%20B", "ABCDEFGHIJKLM", "%3Cb%3E", "-", "%C3%84"] {
            mara.get(&format!("/api/v1/stocks/{symbol}{rest}")).await.is_refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn without_its_source_the_last_known_quote_is_returned() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    app.prices.fail_with(QuoteError::Unreachable);
    let answer = mara.get("/api/v1/stocks/AAPL/quote").await;
    assert_json_snapshot!(answer.is_refused(503, "no_price"), @r#"
    {
      "code": "no_price",
      "detail": "There is no price for AAPL at the moment.",
      "status": 503,
      "symbol": "AAPL",
      "title": "Not available at the moment",
      "type": "urn:stockyard:problem:no_price"
    }
    "#);
    assert!(answer.header("retry-after").is_some());
    mara.get("/api/v1/stocks/AAPL/history").await.is_refused(503, "no_price");
    let search = mara.get("/api/v1/stocks?search=app").await;
    assert_json_snapshot!(search.is_refused(503, "source_unavailable"), @r#"
    {
      "code": "source_unavailable",
      "detail": "The price source does not answer at the moment.",
      "status": 503,
      "title": "Not available at the moment",
      "type": "urn:stockyard:problem:source_unavailable"
    }
    "#);
    // The profile does not need the price source.
    mara.get("/api/v1/stocks/AAPL").await.is(200);

    app.prices.recover();
    mara.buy(mara.open("1000").await, "AAPL", "1").await.is(201);
    app.prices.fail_with(QuoteError::Unreachable);
    let quote = mara.get("/api/v1/stocks/AAPL/quote").await.is(200).json();
    assert_eq!((&quote["price"], &quote["stale"]), (&Value::from("150.00"), &Value::Bool(true)));
}

#[tokio::test]
async fn a_history_goes_as_far_back_as_its_range() {
    let app = TestApp::spawn().await;
    for (date, close) in [
        ("2007-01-03", "1.00"),
        ("2022-01-03", "2.00"),
        ("2026-01-02", "3.00"),
        ("2026-09-01", "4.00"),
        ("2026-11-01", "5.00"),
        ("2026-11-18", "6.00"),
        // This session is not finished.
        ("2026-11-20", "7.00"),
    ] {
        app.close("AAPL", date, close);
    }
    let mara = app.register("mara").await;
    for (range, first, bars) in [
        ("1W", "2026-11-18", 1),
        ("1M", "2026-11-01", 2),
        ("3M", "2026-09-01", 3),
        ("YTD", "2026-01-02", 4),
        ("1Y", "2026-01-02", 4),
        ("5Y", "2022-01-03", 5),
        ("ALL", "2007-01-03", 6),
        ("all", "2007-01-03", 6),
    ] {
        let items = mara.get(&format!("/api/v1/stocks/AAPL/history?range={range}")).await.is(200).items();
        assert_eq!((items[0]["date"].as_str().unwrap(), items.len()), (first, bars), "{range}");
    }
    let usual = mara.get("/api/v1/stocks/AAPL/history").await.is(200);
    assert_eq!(usual.items().len(), 4);
    let week = mara.get("/api/v1/stocks/AAPL/history?range=1W&interval=1d").await.is(200);
    assert_json_snapshot!(week.json(), @r#"
    {
      "first_on": "2026-11-18",
      "is_covered": false,
      "is_last_complete": true,
      "items": [
        {
          "close": "6.00",
          "date": "2026-11-18",
          "high": "6.00",
          "low": "6.00",
          "open": "6.00",
          "volume": 1000
        }
      ],
      "next_cursor": null,
      "range_start": "2026-11-13"
    }
    "#);
}

/// The source has 100 sessions: 1Y, 5Y and ALL return the same bars.
#[tokio::test]
async fn a_history_says_where_it_begins_and_whether_it_covers_its_range() {
    let app = TestApp::spawn().await;
    let first: chrono::NaiveDate = "2026-08-12".parse().unwrap();
    for date in first.iter_days().take(100) {
        app.close("AAPL", &date.to_string(), "120.00");
        app.close("MSFT", &date.to_string(), "400.00");
    }
    for date in "2025-11-20".parse::<chrono::NaiveDate>().unwrap().iter_days().take(265) {
        app.close("MSFT", &date.to_string(), "390.00");
    }
    let mara = app.register("mara").await;
    for (symbol, range, start, first_on, is_covered) in [
        ("AAPL", "1W", Some("2026-11-13"), "2026-11-13", true),
        ("AAPL", "3M", Some("2026-08-20"), "2026-08-20", true),
        ("AAPL", "YTD", Some("2026-01-01"), "2026-08-12", false),
        ("AAPL", "1Y", Some("2025-11-20"), "2026-08-12", false),
        ("AAPL", "5Y", Some("2021-11-20"), "2026-08-12", false),
        ("AAPL", "ALL", None, "2026-08-12", true),
        ("MSFT", "1Y", Some("2025-11-20"), "2025-11-20", true),
        ("MSFT", "5Y", Some("2021-11-20"), "2025-11-20", false),
    ] {
        let told = mara.get(&format!("/api/v1/stocks/{symbol}/history?range={range}")).await.is(200).json();
        let found = (told["range_start"].as_str(), told["first_on"].as_str(), &told["is_covered"]);
        assert_eq!(found, (start, Some(first_on), &Value::from(is_covered)), "{symbol} {range}");
    }
    let none = mara.get("/api/v1/stocks/JPM/history?range=1Y").await.is(200).json();
    assert_eq!((&none["first_on"], &none["is_covered"]), (&Value::Null, &Value::from(false)));
    let browser = app.log_in("mara").await;
    let page = async |of: &str| browser.get(&format!("/stocks/{of}")).await.is(200).text();
    for (range, note) in [
        ("1y", "Since 12 Aug 2026: the source has no older prices. YTD, 5Y and All show the same."),
        ("all", "YTD, 1Y, 5Y and All begin on 12 Aug 2026: the source has no older prices."),
        ("1w", "YTD, 1Y, 5Y and All begin on 12 Aug 2026: the source has no older prices."),
    ] {
        let page = page(&format!("AAPL?range={range}")).await;
        assert!(page.contains(note), "{range}: {page}");
        assert!(page.contains("Since 12 Aug 2026</span>") && !page.contains("52 weeks"), "{page}");
    }
    let covered = page("MSFT?range=1y").await;
    assert!(covered.contains("52 weeks") && !covered.contains("the source has no older prices"), "{covered}");
    assert!(
        page("MSFT?range=5y")
            .await
            .contains("Since 20 Nov 2025: the source has no older prices. All shows the same.")
    );
}

#[tokio::test]
async fn the_chart_of_a_young_portfolio_says_when_it_was_opened() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    app.at("2026-11-25T19:00:00Z");
    app.work().await;
    let browser = app.log_in("mara").await;
    let page = async |range: &str| {
        browser.get(&format!("/portfolios/{portfolio}?range={range}")).await.is(200).text()
    };
    let note = "Since 20 Nov 2026, when the portfolio was opened.";
    for (range, is_told) in [("1y", true), ("1m", true), ("1w", true), ("all", false)] {
        assert_eq!(page(range).await.contains(note), is_told, "{range}");
    }
    app.at("2026-12-01T19:00:00Z");
    assert!(!page("1w").await.contains(note));
}

#[tokio::test]
async fn invalid_history_parameters_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    mara.get("/api/v1/stocks/AAPL/history?range=10Y").await.is_about("range");
    mara.get("/api/v1/stocks/AAPL/history?range=").await.is_about("range");
    mara.get("/api/v1/stocks/AAPL/history?interval=1h").await.is_about("interval");
    mara.get("/api/v1/stocks/AAPL/history?from=2026-01-01").await.is_about("from");
}

#[tokio::test]
async fn weekly_and_monthly_bars_cover_whole_weeks_and_months() {
    let app = TestApp::spawn().await;
    // A month and two days with a session each day; prices rise by 1.00 a day from 100.00 on September 30.
    let first: chrono::NaiveDate = "2026-09-30".parse().unwrap();
    for (index, date) in first.iter_days().take(51).enumerate() {
        app.close("AAPL", &date.to_string(), &format!("{}.00", 100 + index));
    }
    let mara = app.register("mara").await;
    let bars = async |query: &str| {
        let told = mara.get(&format!("/api/v1/stocks/AAPL/history?{query}")).await.is(200).json();
        let lines: Vec<String> = told["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bar| line(bar, &["date", "open", "high", "low", "close", "volume"]))
            .collect();
        (lines, told["is_last_complete"].clone())
    };
    // It is Friday, November 20: the bars end with Thursday's. The range begins on Tuesday, October 20.
    let (weeks, complete) = bars("range=1M&interval=1w").await;
    assert_eq!(
        weeks,
        [
            "2026-10-19 119.00 125.00 119.00 125.00 7000",
            "2026-10-26 126.00 132.00 126.00 132.00 7000",
            "2026-11-02 133.00 139.00 133.00 139.00 7000",
            "2026-11-09 140.00 146.00 140.00 146.00 7000",
            "2026-11-16 147.00 150.00 147.00 150.00 4000",
        ]
    );
    assert_eq!(complete, false);
    let (months, complete) = bars("range=1M&interval=1mo").await;
    let expected =
        ["2026-10-01 101.00 131.00 101.00 131.00 31000", "2026-11-01 132.00 150.00 132.00 150.00 19000"];
    assert_eq!((months.as_slice(), complete), (expected.map(str::to_owned).as_slice(), false.into()));
    let (all, _) = bars("range=ALL&interval=1mo").await;
    assert_eq!(all[0], "2026-09-30 100.00 100.00 100.00 100.00 1000");
    let (days, complete) = bars("range=1M&interval=1d").await;
    assert_eq!((days.len(), complete), (31, true.into()));
    for interval in ["1mon", "1W", "", "7d", "%00"] {
        mara.get(&format!("/api/v1/stocks/AAPL/history?interval={interval}")).await.is_about("interval");
    }
}
