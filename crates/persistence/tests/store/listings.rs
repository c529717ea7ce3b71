use persistence::listings::{self, Listed};

use super::harness::{Db, moment, symbol};

const SOURCE: &str = "alpha_vantage";

fn listed(of: &str, company_name: &str) -> Listed {
    Listed {
        symbol: symbol(of),
        company_name: company_name.to_owned(),
        exchange: "NYSE".to_owned(),
        is_fund: company_name.ends_with("ETF"),
        listed_on: None,
    }
}

async fn filled() -> Db {
    let db = Db::new().await;
    let table = vec![
        listed("A", "Agilent Technologies Inc"),
        listed("AA", "Alcoa Corp"),
        listed("AAPL", "Apple Inc"),
        listed("APLE", "Apple Hospitality REIT Inc"),
        listed("BRK.B", "Berkshire Hathaway Inc"),
        listed("MSFT", "Microsoft Corp"),
        listed("SPY", "SPDR S&P 500 ETF"),
        listed("ZZ", "100% Pure_Foods"),
    ];
    db.write(move |tx| listings::replace(tx, SOURCE, &table, moment(10))).await;
    db
}

async fn found(db: &Db, query: &'static str) -> Vec<String> {
    let found = db.read(move |tx| listings::search(tx, SOURCE, query, 4)).await;
    found.into_iter().map(|listing| listing.symbol.to_string()).collect()
}

#[tokio::test]
async fn symbols_that_begin_with_the_query_come_before_names_that_do() {
    let db = filled().await;
    assert_eq!(found(&db, "a").await, ["A", "AA", "AAPL", "APLE"]);
    assert_eq!(found(&db, "apple").await, ["AAPL", "APLE"]);
    assert_eq!(found(&db, "APL").await, ["APLE"], "a part of AAPL, but not its beginning");
    assert_eq!(found(&db, "hath").await, ["BRK.B"], "any word of the name");
    assert_eq!(found(&db, "apple h").await, ["APLE"], "words one after the other");
    assert_eq!(found(&db, "brk-b").await, ["BRK.B"], "as others write it");
    assert_eq!(found(&db, "pple").await, [""; 0]);
    assert_eq!(found(&db, "s&p").await, ["SPY"]);
}

#[tokio::test]
async fn wildcards_and_quotes_are_ordinary_characters() {
    let db = filled().await;
    for query in ["%", "_", "'", "\\", "Pure_"] {
        let expected: &[&str] = if query == "Pure_" { &["ZZ"] } else { &[] };
        assert_eq!(found(&db, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn funds_and_companies_are_distinguished() {
    let db = filled().await;
    let of = async |text: &'static str| {
        db.read(move |tx| listings::by_symbol(tx, SOURCE, &symbol(text))).await.map(|listing| listing.sector)
    };
    assert_eq!(of("SPY").await.as_deref(), Some("Fund"));
    assert_eq!(of("MSFT").await.as_deref(), Some(""));
    assert_eq!(of("NOSUCH").await, None);
}

#[tokio::test]
async fn listings_missing_from_the_newest_table_are_not_found() {
    let db = filled().await;
    assert_eq!(db.read(|tx| listings::state(tx, SOURCE)).await, Some((moment(10), 8)));
    // The table contains the same symbol twice, which happens.
    let newer = vec![listed("AAPL", "Apple Inc"), listed("AAPL", "Apple Inc"), listed("NEW", "Newcomer")];
    db.write(move |tx| listings::replace(tx, SOURCE, &newer, moment(20))).await;
    assert_eq!(found(&db, "a").await, ["AAPL"]);
    assert_eq!(found(&db, "new").await, ["NEW"]);
    assert_eq!(db.count("listings WHERE status = 'delisted'"), 7);
    assert_eq!(db.read(|tx| listings::state(tx, SOURCE)).await, Some((moment(20), 2)));
}

#[tokio::test]
async fn listings_are_separate_per_source() {
    let db = filled().await;
    assert_eq!(db.read(|tx| listings::state(tx, "yahoo")).await, None);
    assert_eq!(db.read(|tx| listings::search(tx, "yahoo", "a", 4)).await, []);
    db.write(|tx| listings::replace(tx, "yahoo", &[listed("KO", "Coca-Cola")], moment(30))).await;
    assert_eq!(db.count("listings"), 1);
}
