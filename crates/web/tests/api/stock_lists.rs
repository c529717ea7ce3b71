//! Lists of stocks, and the prices of many stocks.

use market_data::QuoteError;
use serde_json::Value;

use crate::harness::{TestApp, line};

const STOCKS: &str = "/api/v1/stocks";

fn symbols(items: &[Value]) -> String {
    items.iter().map(|item| item["symbol"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn stocks_are_listed_page_by_page_with_filters_and_sorted() {
    let app = TestApp::spawn().await;
    for (symbol, name, sector) in [
        ("ZULU", "Aardvark Mining", "Materials"),
        ("YANK", "Aardvark Mining", "Materials"),
        ("XRAY", "Beta Steel", "Materials"),
    ] {
        app.prices.list(symbol, name, sector, "10.00");
    }
    app.services.stocks().import_catalogue().await.unwrap();
    let mara = app.register("mara").await;
    for (query, expected) in [
        ("", "AAPL JPM MSFT SPY XRAY YANK ZULU"),
        ("?direction=desc", "ZULU YANK XRAY SPY MSFT JPM AAPL"),
        ("?sector=Materials", "XRAY YANK ZULU"),
        ("?sector=Materials&sort=company_name", "YANK ZULU XRAY"),
        ("?sector=Materials&sort=company_name&direction=desc", "XRAY ZULU YANK"),
        ("?sector=Technology&exchange=NASDAQ", "AAPL MSFT"),
        ("?exchange=Elsewhere", ""),
        ("?sector=technology%00", ""),
    ] {
        for size in [1, 2, 200] {
            let pages = mara.pages(&format!("{STOCKS}{query}"), size).await;
            assert_eq!(symbols(&pages.concat()), expected, "{query} {size}");
        }
    }
    let apple = &mara.get(&format!("{STOCKS}?limit=1")).await.is(200).items()[0];
    assert_eq!(line(apple, &["symbol", "tradable", "fractionable", "restriction"]), "AAPL true true -");
    for (query, field) in [
        ("sort=price", "sort"),
        ("direction=up", "direction"),
        ("cursor=NONESUCH", "cursor"),
        ("cursor=%00", "cursor"),
        ("limit=0", "limit"),
        ("market=NYSE", "market"),
        ("search=a&sector=Technology", "sector"),
        ("search=a&cursor=AAPL", "cursor"),
    ] {
        mara.get(&format!("{STOCKS}?{query}")).await.is_about(field);
    }
    mara.get(&format!("{STOCKS}?exchange={}", "e".repeat(101))).await.is_about("exchange");
}

#[tokio::test]
async fn a_stock_that_cannot_be_traded_says_why() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    app.sql("UPDATE stocks SET delisted_on = '2026-11-20' WHERE symbol = 'JPM'");
    for path in [format!("{STOCKS}?sector=Financials"), format!("{STOCKS}?search=jpm")] {
        let found = &mara.get(&path).await.is(200).items()[0];
        let told = line(found, &["symbol", "tradable", "fractionable", "restriction"]);
        assert_eq!(told, "JPM false false delisted", "{path}");
    }
    let profile = mara.get(&format!("{STOCKS}/JPM")).await.is(200).json();
    assert_eq!(line(&profile, &["tradable", "restriction", "delisted_on"]), "false delisted 2026-11-20");
}

#[tokio::test]
async fn quotes_of_many_symbols_keep_the_requested_order_and_their_own_errors() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let items = mara.get(&format!("{STOCKS}/quotes?symbols=msft,NOPE,,aapl,MSFT")).await.is(200).items();
    assert_eq!(symbols(&items), "MSFT NOPE AAPL");
    assert_eq!(line(&items[0]["quote"], &["symbol", "price", "stale"]), "MSFT 400.00 false");
    assert_eq!((&items[0]["problem"], &items[1]["quote"]), (&Value::Null, &Value::Null));
    assert_eq!(line(&items[1]["problem"], &["status", "code", "symbol"]), "404 unknown_symbol NOPE");
    assert_eq!(items[2]["quote"]["price"], "150.00");
    let one = mara.get(&format!("{STOCKS}/AAPL/quote")).await.is(200).json();
    assert_eq!(items[2]["quote"], *one);

    // One stock has an earlier price when the source fails.
    mara.buy(mara.open("1000").await, "AAPL", "1").await.is(201);
    app.prices.fail_with(QuoteError::Unreachable);
    let items = mara.get(&format!("{STOCKS}/quotes?symbols=AAPL,JPM")).await.is(200).items();
    assert_eq!(line(&items[0]["quote"], &["price", "stale"]), "150.00 true");
    assert!(items[0]["quote"]["stale_reason"].is_string(), "{}", items[0]);
    assert_eq!(line(&items[1]["problem"], &["status", "code"]), "503 no_price");
}

#[tokio::test]
async fn up_to_200_symbols_are_quoted_at_a_time() {
    let app = TestApp::spawn().await;
    let mara = app.register("mara").await;
    let many = |count: usize| (0..count).map(|n| format!("S{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(mara.get(&format!("{STOCKS}/quotes?symbols={}", many(200))).await.is(200).items().len(), 200);
    for wrong in
        [many(201), String::new(), ",".into(), "AAPL,!".into(), "%00".into(), "TOOLONGASYMBOL".into()]
    {
        mara.get(&format!("{STOCKS}/quotes?symbols={wrong}")).await.is_about("symbols");
    }
    mara.get(&format!("{STOCKS}/quotes")).await.is_about("symbols");
    app.anonymous().get(&format!("{STOCKS}/quotes?symbols=AAPL")).await.is_refused(401, "unauthorized");
}
