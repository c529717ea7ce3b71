use domain::instrument::LastPrice;
use domain::{Bar, Freshness, Quote, Stock, StockId};
use persistence::{stocks, watchlists};

use crate::harness::{Db, listing, moment, november, price, quote, save_position, symbol};

async fn last(db: &Db, ticker: &'static str) -> Option<LastPrice> {
    db.read(move |tx| stocks::by_symbol(tx, &symbol(ticker))).await.unwrap().last
}

fn symbols(stocks: &[Stock]) -> Vec<&str> {
    stocks.iter().map(|stock| stock.listing.symbol.as_str()).collect()
}

#[tokio::test]
async fn a_listing_is_added_once_and_updated() {
    let db = Db::new().await;
    let first = db.write(|tx| stocks::upsert(tx, &listing("BRK.B", "Berkshire"))).await;
    let again = db.write(|tx| stocks::upsert(tx, &listing("BRK.B", "Berkshire Hathaway"))).await;
    assert_eq!(first, again);
    let stock = db.read(|tx| stocks::by_symbol(tx, &symbol("brk.b"))).await.unwrap();
    assert_eq!(
        stock,
        Stock {
            id: first,
            listing: listing("BRK.B", "Berkshire Hathaway").into(),
            last: None,
            delisted_on: None
        }
    );
    assert_eq!(db.read(|tx| stocks::by_symbol(tx, &symbol("BRK"))).await, None);
    assert_eq!(db.read(stocks::count).await, 1);
}

#[tokio::test]
async fn stocks_are_ordered_by_symbol() {
    let db = Db::new().await;
    for ticker in ["MSFT", "AAPL", "TSLA"] {
        db.stock(ticker).await;
    }
    let ids = [db.stock("TSLA").await, db.stock("MSFT").await, StockId(99)];
    assert_eq!(
        symbols(&db.read(move |tx| stocks::by_ids(tx, &ids)).await),
        ["MSFT", "TSLA"],
        "in order of id"
    );
    let wanted = [symbol("TSLA"), symbol("AAPL"), symbol("NONE")];
    assert_eq!(symbols(&db.read(move |tx| stocks::by_symbols(tx, &wanted)).await), ["AAPL", "TSLA"]);
    assert!(db.read(|tx| stocks::by_symbols(tx, &[])).await.is_empty());
}

#[tokio::test]
async fn the_last_price_is_exact_and_may_lack_a_previous_close() {
    let db = Db::new().await;
    let id = db.stock("PENNY").await;
    assert_eq!(last(&db, "PENNY").await, None);
    let as_of = moment(0) + chrono::TimeDelta::microseconds(123_456);
    let first = quote("PENNY", "0.0001", as_of);
    db.write(move |tx| stocks::save_last_price(tx, id, &first)).await;
    assert_eq!(
        last(&db, "PENNY").await,
        Some(LastPrice {
            price: price("0.0001"),
            previous_close: None,
            as_of,
            source: "simulated/sim-v1".into(),
            freshness: Freshness::Simulated
        })
    );
    let second = Quote { previous_close: Some(price("9999999.99")), ..quote("PENNY", "10000000", moment(1)) };
    db.write(move |tx| stocks::save_last_price(tx, id, &second)).await;
    let stored = last(&db, "PENNY").await.unwrap();
    assert_eq!((stored.price, stored.previous_close), (price("10000000"), Some(price("9999999.99"))));
}

#[tokio::test]
async fn an_older_price_never_replaces_a_newer_one() {
    let db = Db::new().await;
    let id = db.stock("AAPL").await;
    for (text, second) in [("100.00", 10), ("99.00", 9), ("98.00", 10), ("101.00", 11)] {
        db.write(move |tx| stocks::save_last_price(tx, id, &quote("AAPL", text, moment(second)))).await;
    }
    let stored = last(&db, "AAPL").await.unwrap();
    assert_eq!((stored.price, stored.as_of), (price("101.00"), moment(11)));
    db.write(move |tx| stocks::save_last_price(tx, id, &quote("AAPL", "1.00", moment(-86_400)))).await;
    assert_eq!(last(&db, "AAPL").await.unwrap().price, price("101.00"));
}

#[tokio::test]
async fn the_database_rejects_prices_that_are_not_positive() {
    let db = Db::new().await;
    let id = db.stock("AAPL").await;
    db.write(move |tx| stocks::save_last_price(tx, id, &quote("AAPL", "0.0001", moment(0)))).await;
    for column in ["last_price", "previous_close"] {
        for bad in ["0", "0.00", "-0.01"] {
            assert!(db.sql(&format!("UPDATE stocks SET {column} = '{bad}'")).is_err(), "{column} {bad}");
        }
        db.sql(&format!("UPDATE stocks SET {column} = '0.0001'")).unwrap();
    }
    assert!(db.sql("UPDATE stocks SET freshness = NULL").is_err(), "a price without its freshness");
}

#[tokio::test]
async fn stocks_in_use_are_those_held_or_watched() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "100").await.id;
    let (held, watched) = (db.stock("HELD").await, db.stock("WATCHED").await);
    db.stock("IDLE").await;
    db.write(move |tx| {
        save_position(tx, portfolio, held, &domain::Position::default())?;
        let list = watchlists::insert(tx, sam, "Tech", moment(0))?;
        watchlists::add_item(tx, list.id, watched, moment(0))?;
        watchlists::add_item(tx, list.id, held, moment(0))
    })
    .await;
    assert_eq!(symbols(&db.read(stocks::in_use).await), ["HELD", "WATCHED"]);
}

#[tokio::test]
async fn pages_go_by_symbol_and_search_takes_wildcards_literally() {
    let db = Db::new().await;
    for (ticker, name) in [
        ("AAPL", "Apple Inc."),
        ("HALF", "100% Organic_Food"),
        ("MSFT", "Microsoft"),
        ("SLASH", r"Back\Slash"),
        ("ZAP", "apple sauce"),
    ] {
        db.write(move |tx| stocks::upsert(tx, &listing(ticker, name))).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let from = after.clone();
        let page = db.read(move |tx| stocks::page(tx, "", from.as_ref(), 2)).await;
        let Some(last) = page.last() else { break };
        after = Some(last.listing.symbol.clone());
        seen.extend(page);
    }
    assert_eq!(symbols(&seen), ["AAPL", "HALF", "MSFT", "SLASH", "ZAP"]);

    for (search, expected) in [
        ("apple", &["AAPL", "ZAP"][..]),
        ("ap", &["AAPL", "ZAP"]),
        ("msF", &["MSFT"]),
        ("%", &["HALF"]),
        ("_", &["HALF"]),
        ("\\", &["SLASH"]),
        ("a%l", &[]),
    ] {
        let found = db.read(move |tx| stocks::page(tx, search, None, 10)).await;
        assert_eq!(symbols(&found), expected, "{search}");
    }
}

#[tokio::test]
async fn a_search_finds_letters_beyond_ascii() {
    let db = Db::new().await;
    db.write(|tx| stocks::upsert(tx, &listing("OR", "L'ORÉAL"))).await;
    assert_eq!(symbols(&db.read(|tx| stocks::page(tx, "l'ORÉAL", None, 10)).await), ["OR"]);
}

fn bar(day: u32, close: &str) -> Bar {
    Bar {
        date: november(day),
        open: price("0.0001"),
        high: price("10000000"),
        low: price("0.0001"),
        close: price(close),
        volume: u64::try_from(i64::MAX).unwrap(),
    }
}

#[tokio::test]
async fn bars_are_read_exactly_in_order_and_within_their_days() {
    let db = Db::new().await;
    let (id, other) = (db.stock("AAPL").await, db.stock("MSFT").await);
    let bars = [bar(18, "10.10"), bar(16, "10.05"), bar(17, "10.00")];
    db.write(move |tx| {
        stocks::save_bars(tx, id, "test", &bars)?;
        stocks::save_bars(tx, id, "test", &[])?;
        stocks::save_bars(tx, other, "test", &[bar(17, "1.00")])
    })
    .await;
    let window = |first, last| db.read(move |tx| stocks::bars(tx, id, november(first), november(last)));
    assert_eq!(window(16, 18).await, [bar(16, "10.05"), bar(17, "10.00"), bar(18, "10.10")]);
    assert_eq!(window(17, 17).await, [bar(17, "10.00")]);
    assert!(window(19, 30).await.is_empty());
}

#[tokio::test]
async fn an_existing_bar_is_not_replaced() {
    let db = Db::new().await;
    let id = db.stock("AAPL").await;
    db.write(move |tx| stocks::save_bars(tx, id, "first", &[bar(16, "10.00")])).await;
    db.write(move |tx| stocks::save_bars(tx, id, "second", &[bar(16, "99.00"), bar(17, "11.00")])).await;
    let stored = db.read(move |tx| stocks::bars(tx, id, november(1), november(30))).await;
    assert_eq!(stored, [bar(16, "10.00"), bar(17, "11.00")]);
}

#[tokio::test]
async fn only_bars_of_one_source_get_another_source() {
    let db = Db::new().await;
    let (id, other) = (db.stock("AAPL").await, db.stock("MSFT").await);
    db.write(move |tx| stocks::save_bars(tx, id, "one", &[bar(16, "10.00"), bar(17, "11.00")])).await;
    db.write(move |tx| stocks::save_bars(tx, id, "two", &[bar(18, "12.00")])).await;
    db.write(move |tx| stocks::save_bars(tx, other, "one", &[bar(16, "1.00")])).await;
    assert_eq!(db.write(|tx| stocks::rename_source_of_bars(tx, "one", "three")).await, 3);
    assert_eq!(db.write(|tx| stocks::rename_source_of_bars(tx, "one", "three")).await, 0);
    let stored = db.read(move |tx| stocks::bars_with_sources(tx, id, november(1), november(30))).await;
    let expected = [("10.00", 16, "three"), ("11.00", 17, "three"), ("12.00", 18, "two")];
    assert_eq!(stored, expected.map(|(close, date, source)| (bar(date, close), source.to_owned())));
}

#[tokio::test]
async fn decades_of_bars_are_saved_at_once() {
    let db = Db::new().await;
    let id = db.stock("AAPL").await;
    let bars: Vec<Bar> =
        november(1).iter_days().take(10_000).map(|date| Bar { date, ..bar(1, "10.00") }).collect();
    let last = bars.last().unwrap().date;
    db.write(move |tx| stocks::save_bars(tx, id, "test", &bars)).await;
    assert_eq!(db.read(move |tx| stocks::bars(tx, id, november(1), last)).await.len(), 10_000);
}

#[tokio::test]
async fn the_close_of_a_day_is_the_newest_on_or_before_it() {
    let db = Db::new().await;
    let (full, gap, late) = (db.stock("FULL").await, db.stock("GAP").await, db.stock("LATE").await);
    let none = db.stock("NONE").await;
    db.write(move |tx| {
        stocks::save_bars(tx, full, "test", &[bar(16, "1.00"), bar(17, "2.00"), bar(18, "3.00")])?;
        stocks::save_bars(tx, gap, "test", &[bar(12, "4.00"), bar(18, "5.00")])?;
        stocks::save_bars(tx, late, "test", &[bar(18, "6.00")])
    })
    .await;
    let all = [full, gap, late, none];
    let closes = move |db: &Db, day| {
        let store = db.store();
        async move {
            let found: Result<Vec<(StockId, _, _)>, persistence::StoreError> =
                store.read(move |tx| stocks::closes_on(tx, &all, november(day))).await;
            let mut found = found.unwrap();
            found.sort_by_key(|(id, ..)| *id);
            found
        }
    };
    assert_eq!(
        closes(&db, 17).await,
        [(full, november(17), price("2.00")), (gap, november(12), price("4.00"))]
    );
    assert_eq!(closes(&db, 30).await.len(), 3);
    assert!(closes(&db, 11).await.is_empty());
}

#[tokio::test]
async fn a_stock_with_positions_cannot_be_deleted() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "100").await.id;
    let stock = db.stock("AAPL").await;
    db.write(move |tx| save_position(tx, portfolio, stock, &domain::Position::default())).await;
    assert!(db.sql("DELETE FROM stocks").is_err());
    assert_eq!(db.count("stocks"), 1);
}
