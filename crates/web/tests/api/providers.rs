use chrono::TimeDelta;
use insta::assert_json_snapshot;
use market_data::{FeatureState, KeyFeature, QuoteError};
use serde_json::json;

use super::harness::{TestApp, trade};

const PROVIDERS: &str = "/api/v1/admin/providers";

#[tokio::test]
async fn an_exhausted_provider_without_a_price_is_reported_as_no_price() {
    let app = TestApp::spawn_with_provider().await;
    let mara = app.register("mara").await;
    mara.get("/api/v1/stocks/NOSUCH/quote").await.is_refused(404, "unknown_symbol");

    // No price is known yet, and the provider accepts no more calls for two hours.
    let retry_at = app.now().utc() + TimeDelta::hours(2);
    mara.get("/api/v1/stocks/MSFT").await.is(200);
    app.prices.fail_with(QuoteError::RateLimited { retry_at: Some(retry_at) });
    let refused = mara.get("/api/v1/stocks/MSFT/quote").await;
    refused.is_refused(503, "no_price");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    let page = app.log_in("mara").await.get("/stocks/MSFT").await;
    assert!(page.is(200).text().contains("No price at the moment"));
    let portfolio = mara.open("1000.00").await;
    mara.order(portfolio, trade("buy", "MSFT", "1")).await.is_refused(503, "no_price");
}

#[tokio::test]
async fn a_stale_price_shows_its_age_and_the_reason() {
    let app = TestApp::spawn_with_provider().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    // Friday's close is due but does not arrive, so the change since Thursday's close is not known.
    app.at("2026-11-20T22:00:00Z");
    app.prices.fail_with(QuoteError::Unreachable);
    let quote = mara.get("/api/v1/stocks/AAPL/quote").await.is(200).json();
    assert_json_snapshot!(quote, @r#"
    {
      "as_of": "2026-11-19T21:00:00Z",
      "ask": null,
      "bid": null,
      "change": "0.00",
      "change_percent": 0.0,
      "freshness": "end_of_day",
      "previous_close": "150.00",
      "price": "150.00",
      "source": "fixed",
      "stale": true,
      "stale_reason": "the price source cannot be reached",
      "symbol": "AAPL",
      "volume": null
    }
    "#);
    let waits = mara.order(portfolio, trade("buy", "AAPL", "1")).await.is(201).json();
    assert_eq!(waits["status"], "accepted");
    mara.cancel(portfolio, &waits).await.is(200);
    let browser = app.log_in("mara").await;
    let page = browser.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("This price is old.") && page.contains("The price source cannot be reached."));
    for path in ["/portfolios".to_owned(), format!("/portfolios/{portfolio}"), "/watchlist".to_owned()] {
        browser.get(&path).await.is(200);
    }
    let valued = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    assert_eq!(valued["total_value"], "1000.00");
}

#[tokio::test]
async fn only_administrators_see_the_state_of_the_provider() {
    let app = TestApp::spawn_with_provider().await;
    let (ada, mara) = (app.admin().await, app.register("mara").await);
    mara.get(PROVIDERS).await.is_refused(404, "not_found");
    app.log_in("mara").await.get("/admin/providers").await.is(404);
    mara.get("/api/v1/stocks/AAPL/quote").await.is(200);
    assert_json_snapshot!(ada.get(PROVIDERS).await.is(200).json(), @r#"
    {
      "items": [
        {
          "days_for_all": null,
          "freshness": "end_of_day",
          "key_features": [],
          "limits": {
            "breaker": "closed",
            "calls_left": 25,
            "calls_used": 0,
            "day": "2026-11-20",
            "last_answered_at": null,
            "last_error": null,
            "last_failed_at": null,
            "parked_until": null,
            "pots": [
              {
                "limit": 15,
                "name": "scheduled",
                "used": 0
              },
              {
                "limit": 5,
                "name": "first_sight",
                "used": 0
              },
              {
                "limit": 5,
                "name": "reserve",
                "used": 0
              }
            ]
          },
          "listings": null,
          "price_intervals": null,
          "source": "fixed",
          "stocks_in_use": 0
        }
      ],
      "next_cursor": null
    }
    "#);

    let retry_at = app.now().utc() + TimeDelta::hours(2);
    app.prices.fail_with(QuoteError::RateLimited { retry_at: Some(retry_at) });
    mara.get("/api/v1/stocks/MSFT/quote").await.is_refused(503, "no_price");
    let limits = &ada.get(PROVIDERS).await.is(200).json()["items"][0]["limits"];
    assert_eq!(limits["breaker"], "open");
    assert_eq!(limits["parked_until"], json!("2026-11-20T21:12:00Z"));
    assert_eq!(limits["last_error"], "the price source does not accept more requests now");
    let page = ada.get("/admin/providers").await.is(200).text();
    for part in ["Calls are paused until", "20 Nov 2026, 16:12", "Calls of the day", "Paused after errors"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn update_intervals_are_shown_to_administrators_and_to_users_with_orders() {
    let app = TestApp::spawn_with_live_provider().await;
    let (ada, mara) = (app.admin().await, app.register("mara").await);
    let portfolio = mara.open("100000.00").await;
    let stock_page = async || app.log_in("mara").await.get("/stocks/AAPL").await.is(200).text();
    let ticket = async || {
        app.log_in("mara").await.get(&format!("/portfolios/{portfolio}?symbol=AAPL")).await.is(200).text()
    };
    let note = "every 10 minutes at the moment, and limit and stop orders are matched only that often.";
    for text in [stock_page().await, ticket().await] {
        assert!(!text.contains("are matched only that often"), "one stock has its price each minute: {text}");
    }
    // At 8:00 in New York, fifteen stocks have open orders: 525 calls in 406 minutes.
    app.at("2026-11-23T13:00:00Z");
    for n in 0..15 {
        let symbol = format!("S{n}");
        app.prices.list(&symbol, "A Company", "Technology", "100.00");
        let waits = json!({"symbol": symbol, "side": "buy", "quantity": "1", "type": "limit", "limit_price": "50.00",
            "time_in_force": "gtc"});
        mara.order(portfolio, waits).await.is(201);
    }
    let answer = ada.get(PROVIDERS).await.is(200).json();
    let mut intervals = answer["items"][0]["price_intervals"].clone();
    let rate = intervals["calls_per_minute"].take().as_f64().unwrap();
    assert!((rate - 525.0 / 406.0).abs() < 1e-9, "{rate}");
    let none = json!({"stocks": 0, "minutes": null});
    let expected = json!({
        "calls_per_minute": null,
        "calls_left": 525,
        "calls_kept": 75,
        "is_slow": true,
        "ordered": {"stocks": 15, "minutes": 12},
        "held": none,
        "watched": none,
    });
    assert_eq!(intervals, expected);
    let page = ada.get("/admin/providers").await.is(200).text();
    for part in [
        "Prices are updated rarely.",
        "Update intervals",
        "every 12 minutes",
        "525 are left for prices",
        "75 are reserved",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let note = note.replace("10", "12");
    for text in [stock_page().await, ticket().await] {
        assert!(text.contains(&note), "{text}");
    }
}

#[tokio::test]
async fn administrators_see_what_the_provider_refuses_to_the_key() {
    let until: chrono::DateTime<chrono::Utc> = "2026-11-21T19:12:00Z".parse().unwrap();
    let app = TestApp::spawn_with_features(vec![
        FeatureState { feature: KeyFeature::DelayedPrices, refused_until: Some(until) },
        FeatureState { feature: KeyFeature::FullHistory, refused_until: None },
    ])
    .await;
    let ada = app.admin().await;
    let features = &ada.get(PROVIDERS).await.is(200).json()["items"][0]["key_features"];
    let expected = json!([
        {"name": "delayed_prices", "refused_until": "2026-11-21T19:12:00Z"},
        {"name": "full_history", "refused_until": null},
    ]);
    assert_eq!(*features, expected);
    let page = ada.get("/admin/providers").await.is(200).text();
    for part in [
        "The key does not include this: Prices 15 minutes behind the market.",
        "21 Nov 2026, 14:12",
        "Charts of decades",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn the_built_in_market_has_no_limits_to_show() {
    let app = TestApp::spawn().await;
    let ada = app.admin().await;
    let answer = ada.get(PROVIDERS).await.is(200).json();
    assert_eq!(answer["items"][0]["limits"], json!(null));
    assert!(ada.get("/admin/providers").await.is(200).text().contains("there are no calls and no limits"));
}

#[tokio::test]
async fn a_price_that_is_not_confirmed_is_shown_as_such_and_confirmed_by_administrators() {
    let app = TestApp::spawn_with_provider().await;
    let mara = app.register("mara").await;
    app.register_admin("ada").await;
    let portfolio = mara.open("1000.00").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    // All prices of Friday are ten times too high.
    app.at("2026-11-20T22:00:00Z");
    for (date, close) in [("2026-11-18", "1480.00"), ("2026-11-19", "1500.00"), ("2026-11-20", "1510.00")] {
        app.prices.set_close("AAPL", date.parse().unwrap(), close);
    }
    let quote = mara.get("/api/v1/stocks/AAPL/quote").await.is(200).json();
    assert_eq!((&quote["price"], &quote["stale"]), (&json!("150.00"), &json!(true)));
    assert_json_snapshot!(quote["unconfirmed"], @r#"
    {
      "as_of": "2026-11-20T21:00:00Z",
      "first_seen_at": "2026-11-20T22:00:00Z",
      "price": "1510.00",
      "reason": "unit_slip"
    }
    "#);
    let waiting = mara.order(portfolio, trade("sell", "AAPL", "1")).await.is(201).json();
    assert_eq!(waiting["status"], "accepted", "it waits for a confirmed price");
    let valuation = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    assert_eq!(valuation["total_value"], "1000.00");
    let page = app.log_in("mara").await.get("/stocks/AAPL").await.is(200).text();
    assert!(page.contains("This price is old.") && page.contains("1510.00"), "{page}");

    const PRICES: &str = "/api/v1/admin/prices";
    let session = app.log_in("ada").await;
    let waiting = session.get(PRICES).await.is(200).json();
    assert_eq!(waiting["items"][0]["symbol"], "AAPL");
    assert_eq!(waiting["items"][0]["accepted_price"], "150.00");
    let page = session.get("/admin/providers").await.is(200).text();
    assert!(page.contains("Not confirmed") && page.contains("1510.00"), "{page}");
    session.post(PRICES, json!({"symbol": "AAPL", "reason": " "})).await.is_about("reason");
    let confirmed = session.post(PRICES, json!({"symbol": "AAPL", "reason": "a reverse split"})).await;
    assert_eq!(confirmed.is(200).json()["confirmed"]["price"], "1510.00");
    assert_eq!(session.get(PRICES).await.is(200).json()["items"], json!([]));
    let quote = mara.get("/api/v1/stocks/AAPL/quote").await.is(200).json();
    assert_eq!((&quote["price"], &quote["stale"]), (&json!("1510.00"), &json!(false)));
    assert_eq!(quote.get("unconfirmed"), None);
}
