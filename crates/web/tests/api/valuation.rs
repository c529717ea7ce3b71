//! The valuation and the composition of a portfolio.

use chrono::TimeDelta;
use insta::assert_json_snapshot;
use market_data::QuoteError;

use crate::harness::{Person, TestApp};

/// 10 AAPL and 5 JPM were bought at 150 and 200 out of 10,000, and one AAPL was sold at 160. Now AAPL is at 165, JPM at
/// 190. The previous closes were 148 and 201.
async fn invested(app: &TestApp) -> (Person, i64) {
    app.close("AAPL", "2026-11-19", "148.00");
    app.close("JPM", "2026-11-19", "201.00");
    let mara = app.register("mara").await;
    let portfolio = mara.open("10000.00").await;
    mara.buy(portfolio, "AAPL", "10").await.is(201);
    mara.buy(portfolio, "JPM", "5").await.is(201);
    app.pass(TimeDelta::minutes(1));
    app.prices.set("AAPL", "160.00");
    mara.sell(portfolio, "AAPL", "1").await.is(201);
    app.prices.set("AAPL", "165.00");
    app.prices.set("JPM", "190.00");
    (mara, portfolio)
}

#[tokio::test]
async fn a_portfolio_is_valued_at_the_newest_prices() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = invested(&app).await;
    let valuation = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200);
    assert_json_snapshot!(valuation.json(), @r#"
    {
      "buying_power": "7660.00",
      "cash_balance": "7660.00",
      "day_change": "95.00",
      "dividends": "0.00",
      "dividends_receivable": "0.00",
      "positions": [
        {
          "as_of": "2026-11-20T19:13:00Z",
          "average_buy_price": "150.000000",
          "company_name": "Apple Inc.",
          "cost_basis": "1350.00",
          "day_change": "145.00",
          "last_price": "165.00",
          "market_value": "1485.00",
          "quantity": "9",
          "realized_pnl": "10.00",
          "sector": "Technology",
          "source": "fixed",
          "stale": false,
          "symbol": "AAPL",
          "unrealized_pnl": "135.00",
          "weight": 0.14710252600297177
        },
        {
          "as_of": "2026-11-20T19:13:00Z",
          "average_buy_price": "200.000000",
          "company_name": "JPMorgan Chase & Co.",
          "cost_basis": "1000.00",
          "day_change": "-50.00",
          "last_price": "190.00",
          "market_value": "950.00",
          "quantity": "5",
          "realized_pnl": "0.00",
          "sector": "Financials",
          "source": "fixed",
          "stale": false,
          "symbol": "JPM",
          "unrealized_pnl": "-50.00",
          "weight": 0.0941059930658742
        }
      ],
      "positions_value": "2435.00",
      "realized_pnl": "10.00",
      "total_gain": "95.00",
      "total_value": "10095.00",
      "unrealized_pnl": "85.00",
      "valued_at": "2026-11-20T19:13:00Z",
      "version": 3
    }
    "#);
}

#[tokio::test]
async fn positions_are_those_of_the_valuation() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = invested(&app).await;
    let own = format!("/api/v1/portfolios/{portfolio}");
    let valued = mara.get(&format!("{own}/valuation")).await.is(200).json();
    let listed = mara.get(&format!("{own}/positions")).await.is(200);
    assert_eq!(listed.json()["items"], valued["positions"]);
    assert_eq!(listed.json()["next_cursor"], serde_json::Value::Null);
    for symbol in ["AAPL", "aapl"] {
        let one = mara.get(&format!("{own}/positions/{symbol}")).await.is(200);
        assert_eq!(*one.json(), valued["positions"][0]);
    }
    for symbol in ["A%20B", "%3Cscript%3E"] {
        mara.get(&format!("{own}/positions/{symbol}")).await.is_refused(404, "not_found");
    }
    for symbol in ["MSFT", "nope"] {
        let problem = mara.get(&format!("{own}/positions/{symbol}")).await.is_refused(404, "not_found");
        let named = format!("The portfolio has no position in {}.", symbol.to_uppercase());
        assert_eq!(problem["detail"], named);
    }
}

#[tokio::test]
async fn a_sold_position_is_gone_and_its_realized_pnl_stays() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = invested(&app).await;
    mara.sell(portfolio, "AAPL", "9").await.is(201);
    let own = format!("/api/v1/portfolios/{portfolio}");
    mara.get(&format!("{own}/positions/AAPL")).await.is_refused(404, "not_found");
    let valued = mara.get(&format!("{own}/valuation")).await.is(200).json();
    assert_eq!(valued["positions"].as_array().unwrap().len(), 1);
    assert_eq!(valued["realized_pnl"], "145.00");
}

#[tokio::test]
async fn an_empty_portfolio_is_worth_its_cash() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let own = format!("/api/v1/portfolios/{}", mara.open("10").await);
    let valuation = mara.get(&format!("{own}/valuation")).await.is(200);
    assert_json_snapshot!(valuation.json(), @r#"
    {
      "buying_power": "10.00",
      "cash_balance": "10.00",
      "day_change": "0.00",
      "dividends": "0.00",
      "dividends_receivable": "0.00",
      "positions": [],
      "positions_value": "0.00",
      "realized_pnl": "0.00",
      "total_gain": "0.00",
      "total_value": "10.00",
      "unrealized_pnl": "0.00",
      "valued_at": "2026-11-20T19:12:00Z",
      "version": 0
    }
    "#);
    assert!(mara.get(&format!("{own}/positions")).await.is(200).items().is_empty());
}

#[tokio::test]
async fn a_valuation_works_without_the_price_source() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = invested(&app).await;
    // A known price is used for up to a minute.
    app.pass(TimeDelta::seconds(61));
    mara.buy(portfolio, "AAPL", "1").await.is(201);
    app.prices.fail_with(QuoteError::Unreachable);
    let valued = mara.get(&format!("/api/v1/portfolios/{portfolio}/valuation")).await.is(200).json();
    for position in valued["positions"].as_array().unwrap() {
        assert_eq!(position["stale"], true);
    }
    assert_eq!(valued["positions"][0]["last_price"], "165.00");
}

#[tokio::test]
async fn a_composition_has_weights_by_stock_and_sector() {
    let app = TestApp::spawn().await;
    let (mara, portfolio) = invested(&app).await;
    mara.buy(portfolio, "MSFT", "2").await.is(201);
    let composition = mara.get(&format!("/api/v1/portfolios/{portfolio}/composition")).await.is(200);
    assert_json_snapshot!(composition.json(), @r#"
    {
      "cash": {
        "market_value": "6860.00",
        "weight": 0.6795443288756811
      },
      "concentration": {
        "effective_positions": 2.7924207352460493,
        "herfindahl": 0.35811222405633897,
        "level": "concentrated",
        "top_1": 0.45904173106646057,
        "top_5": 0.9999999999999999
      },
      "dividends_receivable": {
        "market_value": "0.00",
        "weight": 0.0
      },
      "limits": {
        "cash_percent": null,
        "sector_percent": 40,
        "stock_percent": 25
      },
      "notes": [],
      "sectors": [
        {
          "market_value": "2285.00",
          "sector": "Technology",
          "weight": 0.22634967805844478
        },
        {
          "market_value": "950.00",
          "sector": "Financials",
          "weight": 0.0941059930658742
        }
      ],
      "stocks": [
        {
          "market_value": "1485.00",
          "symbol": "AAPL",
          "weight": 0.14710252600297177
        },
        {
          "market_value": "950.00",
          "symbol": "JPM",
          "weight": 0.0941059930658742
        },
        {
          "market_value": "800.00",
          "symbol": "MSFT",
          "weight": 0.079247152055473
        }
      ],
      "total_value": "10095.00"
    }
    "#);
}

#[tokio::test]
async fn an_empty_composition_has_no_concentration() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let path = format!("/api/v1/portfolios/{}/composition", mara.open("0").await);
    assert_json_snapshot!(mara.get(&path).await.is(200).json(), @r#"
    {
      "cash": {
        "market_value": "0.00",
        "weight": 0.0
      },
      "concentration": null,
      "dividends_receivable": {
        "market_value": "0.00",
        "weight": 0.0
      },
      "limits": {
        "cash_percent": null,
        "sector_percent": 40,
        "stock_percent": 25
      },
      "notes": [],
      "sectors": [],
      "stocks": [],
      "total_value": "0.00"
    }
    "#);
}
