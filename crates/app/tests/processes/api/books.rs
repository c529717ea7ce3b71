//! Lists: the journal with its filters, pages and export, and price histories.

use bigdecimal::BigDecimal;
use serde_json::{Value, json};

use crate::client::{Client, amount, items};
use crate::stack::Stack;

/// Returns the items of all pages.
async fn all_pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut next = format!("{path}?limit={limit}");
    loop {
        let page = client.get(&next).await.expect(200);
        found.extend(items(&page).iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return found };
        assert_eq!(items(&page).len(), limit, "only the last page is shorter");
        next = format!("{path}?limit={limit}&cursor={cursor}");
    }
}

pub async fn the_journal_is_filtered_paged_and_exported(stack: &Stack) {
    let sam = stack.trader().await;
    let body = json!({"name": "=SUM(A1:A9)", "cash_balance": "5000.00"});
    let id = sam.client.post("/api/v1/portfolios", &body).await.expect(201)["id"].as_i64().unwrap();
    for symbol in ["AAPL", "MSFT", "AAPL"] {
        sam.buy(id, symbol, "1").await;
    }
    let path = format!("/api/v1/portfolios/{id}/transactions");
    let whole = sam.client.get(&path).await.expect(200);
    assert_eq!(items(&whole).len(), 4);
    for limit in [1, 2, 3] {
        assert_eq!(all_pages(&sam.client, &path, limit).await, items(&whole));
    }

    let filtered =
        async |query: &str| items(&sam.client.get(&format!("{path}?{query}")).await.expect(200)).to_vec();
    assert_eq!(filtered("symbol=AAPL").await.len(), 2);
    assert_eq!(filtered("symbol=AAPL&type=sell").await.len(), 0);
    assert_eq!(filtered("type=deposit").await, [items(&whole)[3].clone()]);
    assert_eq!(filtered("from=2999-01-01").await.len(), 0);
    assert_eq!(filtered("to=2999-01-01&from=1999-01-01").await.len(), 4);
    let at = items(&whole)[1]["timestamp"].as_str().unwrap();
    assert_eq!(filtered(&format!("from={at}&to={at}")).await, [items(&whole)[1].clone()]);
    for bad in
        ["type=gift", "from=yesterday", "symbol=%20%21", "cursor=x", "limit=0", "limit=201", "limit=all"]
    {
        sam.client.get(&format!("{path}?{bad}")).await.problem(422, "invalid_fields");
    }

    let csv = sam.client.get(&format!("/api/v1/portfolios/{id}/transactions.csv")).await;
    assert_eq!(csv.status, 200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment; filename="));
    let lines: Vec<Vec<&str>> = csv.text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| lines[0].iter().position(|head| *head == name).unwrap();
    let (symbol, money) = (column("symbol"), column("amount"));
    let symbols: Vec<&str> = lines[1..].iter().map(|line| line[symbol]).collect();
    assert_eq!(symbols, ["AAPL", "MSFT", "AAPL", ""]);
    let sum: BigDecimal = lines[1..].iter().map(|line| line[money].parse::<BigDecimal>().unwrap()).sum();
    assert_eq!(sum, amount(&sam.portfolio(id, "").await["cash_balance"]));
    let filtered = sam.client.get(&format!("/api/v1/portfolios/{id}/transactions.csv?symbol=MSFT")).await;
    assert_eq!(filtered.text.lines().count(), 2);
}

pub async fn lists_come_in_pages(stack: &Stack) {
    let sam = stack.trader().await;
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(sam.open_portfolio("1000.00").await);
    }
    let ids = |found: Vec<Value>| -> Vec<i64> {
        found.iter().map(|portfolio| portfolio["id"].as_i64().unwrap()).collect()
    };
    for limit in [1, 2, 5, 200] {
        assert_eq!(ids(all_pages(&sam.client, "/api/v1/portfolios", limit).await), opened, "{limit}");
    }
    for query in ["limit=0", "limit=201", "limit=-1", "limit=many", "cursor=nothing"] {
        sam.client.get(&format!("/api/v1/portfolios?{query}")).await.problem(422, "invalid_fields");
    }

    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.insert(0, sam.buy(opened[0], "AAPL", "0.1").await);
    }
    let path = format!("/api/v1/portfolios/{}/orders", opened[0]);
    for limit in [2, 3, 5] {
        assert_eq!(all_pages(&sam.client, &path, limit).await, placed, "newest first, {limit} at once");
    }
}

pub async fn histories_have_daily_bars(stack: &Stack) {
    let sam = stack.trader().await;
    let path = "/api/v1/stocks/AAPL/history";
    let bars = sam.client.get(&format!("{path}?range=1M&interval=1d")).await.expect(200);
    let bars = items(&bars);
    assert!((18..=31).contains(&bars.len()), "{} bars of a month", bars.len());
    for bar in bars {
        let price = |name: &str| amount(&bar[name]);
        assert!(price("low") <= price("open") && price("open") <= price("high"), "{bar}");
        assert!(price("low") <= price("close") && price("close") <= price("high"), "{bar}");
    }
    let days: Vec<&str> = bars.iter().map(|bar| bar["date"].as_str().unwrap()).collect();
    assert!(days.is_sorted(), "{days:?}");
    sam.client.get(&format!("{path}?range=2Y")).await.problem(422, "invalid_fields");
    sam.client.get(&format!("{path}?interval=1m")).await.problem(422, "invalid_fields");
    sam.client.get("/api/v1/stocks/NOSUCH/history").await.problem(404, "unknown_symbol");
    let profile = sam.client.get("/api/v1/stocks/aapl").await.expect(200);
    assert_eq!(profile["symbol"], "AAPL");
    for (query, count) in [("search=a&limit=3", 3), ("search=", 0), ("search=%25", 0), ("search=zzzzzz", 0)] {
        let found = sam.client.get(&format!("/api/v1/stocks?{query}")).await.expect(200);
        assert_eq!(items(&found).len(), count, "{query}: {found}");
    }
}
