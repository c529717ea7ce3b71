//! The journal as JSON and as CSV.

use insta::{assert_json_snapshot, dynamic_redaction};
use serde_json::Value;

use crate::harness::{Caller, TestApp};

fn path(portfolio: i64, query: &str) -> String {
    format!("/api/v1/portfolios/{portfolio}/transactions{query}")
}

/// Type, symbol and amount of each transaction.
async fn lines(caller: &Caller, portfolio: i64, query: &str) -> Vec<String> {
    let items = caller.get(&path(portfolio, query)).await.is(200).items();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    items
        .iter()
        .map(|row| ["transaction_type", "symbol", "amount"].map(|key| text(row, key)).join(" "))
        .collect()
}

#[tokio::test]
async fn the_journal_lists_transactions_newest_first() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000.00").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    app.at("2026-11-20T19:12:30.5Z");
    app.prices.set_bid_and_ask("AAPL", "155.00", "155.10");
    app.prices.set_as_of("AAPL", Some(app.now() - chrono::TimeDelta::milliseconds(1500)));
    mara.sell(portfolio, "AAPL", "0.5").await.is(201);
    mara.withdraw(portfolio, "10").await.is(201);
    let journal = mara.get(&path(portfolio, "")).await.is(200);
    assert_json_snapshot!(
        journal.json(),
        {
            ".items[].id" => "[id]",
            ".items[].order_id" => dynamic_redaction(|id, _| if id.is_nil() { id } else { "[uuid]".into() }),
        },
        @r#"
    {
      "items": [
        {
          "amount": "-10.00",
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
          "timestamp": "2026-11-20T19:12:30.500Z",
          "transaction_type": "withdrawal"
        },
        {
          "amount": "77.50",
          "commission": "0.00",
          "description": null,
          "effective_at": null,
          "id": "[id]",
          "order_id": "[uuid]",
          "per_share": null,
          "price": "155.00",
          "quantity": "0.5",
          "quantity_before": null,
          "realized_pnl": "2.50",
          "receipt": {
            "age_s": 1.5,
            "commission": "0.00",
            "quoted_at": "2026-11-20T19:12:29Z",
            "quoted_price": "155.00",
            "rounding_version": 2,
            "rule": "bid",
            "slippage": "0.00",
            "source": "fixed"
          },
          "side": "sell",
          "split_ratio": null,
          "symbol": "AAPL",
          "timestamp": "2026-11-20T19:12:30.500Z",
          "transaction_type": "sell"
        },
        {
          "amount": "-300.00",
          "commission": "0.00",
          "description": null,
          "effective_at": null,
          "id": "[id]",
          "order_id": "[uuid]",
          "per_share": null,
          "price": "150.00",
          "quantity": "2",
          "quantity_before": null,
          "realized_pnl": null,
          "receipt": {
            "age_s": 0.0,
            "commission": "0.00",
            "quoted_at": "2026-11-20T19:12:00Z",
            "quoted_price": "150.00",
            "rounding_version": 2,
            "rule": "last",
            "slippage": "0.00",
            "source": "fixed"
          },
          "side": "buy",
          "split_ratio": null,
          "symbol": "AAPL",
          "timestamp": "2026-11-20T19:12:00Z",
          "transaction_type": "buy"
        },
        {
          "amount": "1000.00",
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
    "#
    );
}

#[tokio::test]
async fn the_journal_is_filtered_by_stock_and_kind() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("5000").await;
    mara.buy(portfolio, "AAPL", "2").await.is(201);
    mara.buy(portfolio, "JPM", "1").await.is(201);
    mara.sell(portfolio, "AAPL", "1").await.is(201);
    let (buy_aapl, sell_aapl, buy_jpm) = ("buy AAPL -300.00", "sell AAPL 150.00", "buy JPM -200.00");
    assert_eq!(lines(&mara, portfolio, "").await, [sell_aapl, buy_jpm, buy_aapl, "deposit - 5000.00"]);
    assert_eq!(lines(&mara, portfolio, "?symbol=aapl").await, [sell_aapl, buy_aapl]);
    assert_eq!(lines(&mara, portfolio, "?type=buy").await, [buy_jpm, buy_aapl]);
    assert_eq!(lines(&mara, portfolio, "?type=buy&symbol=AAPL").await, [buy_aapl]);
    assert_eq!(lines(&mara, portfolio, "?type=deposit").await, ["deposit - 5000.00"]);
    assert!(lines(&mara, portfolio, "?symbol=MSFT").await.is_empty());
    assert!(lines(&mara, portfolio, "?symbol=NOPE").await.is_empty());
}

#[tokio::test]
async fn days_of_a_filter_are_days_in_new_york() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("0").await;
    // Late on the 20th and early on the 21st in New York; in UTC both are on the 21st.
    for (instant, amount) in [("2026-11-21T04:59:59.999999Z", "20"), ("2026-11-21T05:00:00Z", "21")] {
        app.at(instant);
        mara.deposit(portfolio, amount).await.is(201);
    }
    let (late, early) = ("deposit - 20.00", "deposit - 21.00");
    for (query, expected) in [
        ("?from=2026-11-20&to=2026-11-21", vec![early, late]),
        ("?to=2026-11-20", vec![late]),
        ("?from=2026-11-21", vec![early]),
        ("?from=2026-11-21&to=2026-11-21", vec![early]),
        ("?from=2026-11-22", vec![]),
        ("?to=2026-11-19", vec![]),
        ("?from=2026-11-21&to=2026-11-20", vec![]),
        ("?from=2026-11-21T05:00:00Z", vec![early]),
        ("?to=2026-11-21T05:00:00Z", vec![early, late]),
        ("?to=2026-11-21T04:59:59.999998Z", vec![]),
        ("?to=2026-11-20T23:59:59.999999-05:00", vec![late]),
    ] {
        assert_eq!(lines(&mara, portfolio, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn invalid_filters_are_refused() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("0").await;
    for (field, query) in [
        ("symbol", "?symbol=A%20B"),
        ("type", "?type=interest"),
        ("from", "?from=yesterday"),
        ("from", "?from=2026-02-30"),
        ("to", "?to=20.11.2026"),
        ("to", "?to=2026-11-20T25:00:00Z"),
        ("limit", "?limit=0"),
        ("cursor", "?cursor=nonsense"),
        ("cursor", "?cursor=1-"),
        ("side", "?side=buy"),
        ("type", "?type=buy&type=sell"),
    ] {
        mara.get(&path(portfolio, query)).await.is_about(field);
        let csv = format!("/api/v1/portfolios/{portfolio}/transactions.csv{query}");
        mara.get(&csv).await.is_about(field);
    }
}

#[tokio::test]
async fn filters_accept_years_1_to_9998() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("5").await;
    for (query, found) in [
        ("?from=0001-01-01&to=9998-12-31", 1),
        ("?from=9998-12-31", 0),
        ("?to=0001-01-01", 0),
        ("?from=0001-01-01T00:00:00Z&to=9998-12-31T23:59:59.999999999Z", 1),
    ] {
        assert_eq!(lines(&mara, portfolio, query).await.len(), found, "{query}");
    }
    for (field, query) in [
        ("from", "?from=0000-12-31"),
        ("from", "?from=-262143-01-01"),
        ("to", "?to=%2B262142-12-31"),
        ("to", "?to=%2B262142-12-31T23:59:59Z"),
    ] {
        mara.get(&path(portfolio, query)).await.is_about(field);
    }
    for cursor in ["9223372036854775807-1", "-9223372036854775808-1", "1-9223372036854775808"] {
        mara.get(&path(portfolio, &format!("?cursor={cursor}"))).await.is_about("cursor");
    }
}

#[tokio::test]
async fn paging_works_for_transactions_of_the_same_instant() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("0").await;
    for n in 1..=7 {
        mara.deposit(portfolio, &n.to_string()).await.is(201);
    }
    let pages = mara.pages(&path(portfolio, "?type=deposit"), 3).await;
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 1]);
    let amounts: Vec<&str> = pages.iter().flatten().map(|row| row["amount"].as_str().unwrap()).collect();
    assert_eq!(amounts, ["7.00", "6.00", "5.00", "4.00", "3.00", "2.00", "1.00"]);
}

#[tokio::test]
async fn the_csv_contains_the_whole_journal() {
    let app = TestApp::spawn().await;
    app.prices.set_bid_and_ask("AAPL", "149.95", "150.05");
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let order = mara.buy(portfolio, "AAPL", "1").await.is(201).json()["id"].as_str().unwrap().to_owned();
    mara.sell(portfolio, "AAPL", "0.5").await.is(201);
    mara.withdraw(portfolio, "5").await.is(201);
    let answer = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let name = format!("attachment; filename=\"transactions-{portfolio}.csv\"");
    assert_eq!(answer.header("content-disposition"), Some(name.as_str()));

    let table = answer.text();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(
        columns.join(","),
        "id,timestamp,transaction_type,symbol,quantity,price,commission,amount,realized_pnl,order_id,source,quoted_at,rule,quoted_price,slippage,description,rounding_version,effective_at,split_ratio,quantity_before,per_share,cash_per_share,exchange_ratio,quantity_given,reverses_id"
    );
    let rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    // Compared without the ids: the JSON has only those of orders.
    let shown: Vec<String> = rows.iter().map(|row| [&row[1..9], &row[10..17]].concat().join(",")).collect();
    assert_eq!(
        shown,
        [
            "2026-11-20T19:12:00Z,withdrawal,,,,0.00,-5.00,,,,,,,,",
            "2026-11-20T19:12:00Z,sell,AAPL,0.5,149.95,0.00,74.98,-0.04,fixed,2026-11-20T19:12:00Z,bid,149.95,0.00,,2",
            "2026-11-20T19:12:00Z,buy,AAPL,1,150.05,0.00,-150.05,,fixed,2026-11-20T19:12:00Z,ask,150.05,0.00,,2",
            "2026-11-20T19:12:00Z,deposit,,,,0.00,1000.00,,,,,,,,",
        ]
    );
    assert_eq!(rows[2][9], order);
}

#[tokio::test]
async fn no_field_of_the_csv_is_a_formula() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    // Names that users choose are not part of the table; the name of an order is the one most likely to be added by
    // mistake.
    let order = serde_json::json!({
        "symbol": "AAPL", "side": "buy", "type": "market", "quantity": "1", "client_order_id": "=1+1",
    });
    mara.order(portfolio, order).await.is(201);
    mara.sell(portfolio, "AAPL", "1").await.is(201);
    mara.withdraw(portfolio, "1").await.is(201);
    let table = mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv")).await.is(200).text();
    for row in csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_bytes()).records() {
        for field in row.unwrap().iter() {
            let is_number = field.parse::<f64>().is_ok_and(f64::is_finite);
            assert!(is_number || !field.starts_with(['=', '+', '-', '@', '\t', '\r']), "{field}");
        }
    }
}

#[tokio::test]
async fn the_csv_has_the_filters_of_the_journal_and_no_pages() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("0").await;
    for _ in 0..60 {
        mara.deposit(portfolio, "1").await.is(201);
    }
    mara.withdraw(portfolio, "1").await.is(201);
    let count = async |query: &str| {
        let table =
            mara.get(&format!("/api/v1/portfolios/{portfolio}/transactions.csv{query}")).await.is(200);
        csv::Reader::from_reader(table.text().as_bytes()).records().count()
    };
    assert_eq!(count("").await, 61);
    assert_eq!(count("?type=deposit").await, 60);
    assert_eq!(count("?type=buy").await, 0);
    assert_eq!(count("?to=2026-11-19").await, 0);
}
