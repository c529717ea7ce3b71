use domain::{Listing, SortDirection, StockFilter, StockSort};
use persistence::listings::{self, Listed};
use persistence::stock_list::{self, ListedStock, StockPlace};
use persistence::stocks;

use crate::harness::{Db, listing, moment, symbol};

const SOURCE: &str = "alpha_vantage";

fn by(sort: StockSort, direction: SortDirection) -> StockFilter {
    StockFilter { sector: None, exchange: None, sort, direction }
}

fn all() -> StockFilter {
    by(StockSort::Symbol, SortDirection::Ascending)
}

/// All symbols, read in pages of two.
async fn found(db: &Db, source: Option<&'static str>, filter: StockFilter) -> String {
    let (mut symbols, mut last): (Vec<String>, Option<StockPlace>) = (Vec::new(), None);
    loop {
        let (wanted, place) = (filter.clone(), last.clone());
        let page: Vec<ListedStock> = match source {
            Some(source) => {
                db.read(move |tx| stock_list::listed_by(tx, source, &wanted, place.as_ref(), 2)).await
            }
            None => db.read(move |tx| stock_list::known(tx, &wanted, place.as_ref(), 2)).await,
        };
        let Some(newest) = page.last() else { return symbols.join(" ") };
        last = Some((newest.listing.company_name.clone(), newest.listing.symbol.clone()));
        symbols.extend(page.iter().map(|stock| stock.listing.symbol.to_string()));
    }
}

#[tokio::test]
async fn known_stocks_are_listed_by_symbol_and_by_name_with_filters() {
    let db = Db::new().await;
    for (ticker, name, sector) in [
        ("D", "Alpha", "Energy"),
        ("C", "Beta", "Energy"),
        ("B", "Alpha", "Health"),
        ("A", "Gamma", "Energy"),
    ] {
        let listing = Listing { sector: sector.into(), ..listing(ticker, name) };
        db.write(move |tx| stocks::upsert(tx, &listing)).await;
    }
    assert_eq!(found(&db, None, all()).await, "A B C D");
    assert_eq!(found(&db, None, by(StockSort::Symbol, SortDirection::Descending)).await, "D C B A");
    assert_eq!(found(&db, None, by(StockSort::CompanyName, SortDirection::Ascending)).await, "B D C A");
    assert_eq!(found(&db, None, by(StockSort::CompanyName, SortDirection::Descending)).await, "A C D B");
    let energy = StockFilter { sector: Some("Energy".into()), ..all() };
    assert_eq!(found(&db, None, energy.clone()).await, "A C D");
    let nowhere = StockFilter { exchange: Some("NOWHERE".into()), ..energy };
    assert_eq!(found(&db, None, nowhere).await, "");
    let place = |of: &'static str| db.read(move |tx| stock_list::place_of_known(tx, &symbol(of)));
    assert_eq!(place("B").await, Some(("Alpha".into(), symbol("B"))));
    assert_eq!(place("Z").await, None);
}

#[tokio::test]
async fn listings_of_a_provider_have_the_sectors_of_known_stocks() {
    let db = Db::new().await;
    let listed = |of: &str, name: &str, exchange: &str| Listed {
        symbol: symbol(of),
        company_name: name.into(),
        exchange: exchange.into(),
        is_fund: name.ends_with("ETF"),
        listed_on: None,
    };
    let table = vec![
        listed("A", "Gamma", "NYSE"),
        listed("B", "Alpha", "NASDAQ"),
        listed("C", "Beta", "NYSE"),
        listed("SPY", "Index ETF", "NYSE"),
    ];
    db.write(move |tx| listings::replace(tx, SOURCE, &table, moment(10))).await;
    let known = Listing { sector: "Energy".into(), ..listing("B", "Alpha") };
    let gone = Listing { sector: "Energy".into(), ..listing("GONE", "Gone") };
    db.write(move |tx| {
        stocks::upsert(tx, &known)?;
        stocks::upsert(tx, &gone)
    })
    .await;
    let listed = async |filter| found(&db, Some(SOURCE), filter).await;
    assert_eq!(listed(all()).await, "A B C SPY");
    assert_eq!(listed(by(StockSort::CompanyName, SortDirection::Descending)).await, "SPY A C B");
    assert_eq!(listed(StockFilter { exchange: Some("NYSE".into()), ..all() }).await, "A C SPY");
    assert_eq!(listed(StockFilter { sector: Some("Energy".into()), ..all() }).await, "B");
    assert_eq!(listed(StockFilter { sector: Some("Fund".into()), ..all() }).await, "SPY");
    assert_eq!(found(&db, Some("yahoo"), all()).await, "");
    let page = db.read(|tx| stock_list::listed_by(tx, SOURCE, &all(), None, 2)).await;
    let told: Vec<_> = page.iter().map(|stock| (stock.id.is_some(), stock.listing.sector.as_str())).collect();
    assert_eq!(told, [(false, ""), (true, "Energy")]);
    let place = |of: &'static str| db.read(move |tx| stock_list::place_of_listed(tx, SOURCE, &symbol(of)));
    assert_eq!((place("C").await, place("GONE").await), (Some(("Beta".into(), symbol("C"))), None));
}
