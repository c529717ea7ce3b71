//! Symbols that stocks get, had, and lose to other companies; and data about a stock that has been renamed in the
//! meantime.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::delisting::{DelistingEvidence, DelistingEvidenceKind};
use domain::{Bar, CloseOut, PerShare, PriceSource, Quote, SplitConfirmation, StockId};
use persistence::adjusted_bars::ADJUSTED;
use persistence::close_outs::{self, NewCloseOut};
use persistence::corporate_actions::{self as actions, ReportedAction};
use persistence::delistings::{self, NewDelisting, Refusal};
use persistence::portfolios::PortfolioChanges;
use persistence::{
    StoreError, Tx, former_symbols, orders, past_splits, portfolios, providers, reused_symbols, stocks,
    watchlists,
};

use crate::harness::{Db, buy, listing, moment, november, one_share, price, quote, save_position, symbol};

fn told(stock_id: StockId, kind: CorporateActionKind) -> ReportedAction {
    ReportedAction {
        stock_id,
        action: CorporateAction::new(symbol("META"), november(16), kind),
        effective_at: moment(0),
        pays_at: None,
        confirmation: SplitConfirmation::Confirmed,
    }
}

fn split() -> CorporateActionKind {
    let domain::SplitRatio { numerator, denominator } = "2:1".parse().unwrap();
    CorporateActionKind::Split { numerator, denominator }
}

fn bar(day: u32, close: &str) -> Bar {
    let [open, high, low, close] = [close; 4].map(price);
    Bar { date: november(day), open, high, low, close, volume: 1 }
}

fn delisting(stock_id: StockId) -> NewDelisting {
    NewDelisting {
        stock_id,
        symbol: symbol("META"),
        on: november(23),
        effective_at: moment(0),
        reason: "Gone.".to_owned(),
        administrator: None,
    }
}

type Happens = fn(&mut Tx<'_>, StockId) -> Result<(), StoreError>;

/// All data that can be stored about a stock that is not in use.
const KNOWN: [(&str, Happens); 9] = [
    ("a split", |tx, id| actions::note(tx, &told(id, split()), moment(0)).map(drop)),
    ("a dividend", |tx, id| {
        let amount = PerShare::from_scaled(1, 0).unwrap();
        let kind = CorporateActionKind::CashDividend { amount, pays_on: november(30) };
        actions::note(tx, &ReportedAction { pays_at: Some(moment(9)), ..told(id, kind) }, moment(0)).map(drop)
    }),
    ("a split of long ago", |tx, id| past_splits::note(tx, &told(id, split()), moment(0)).map(drop)),
    ("a delisting", |tx, id| delistings::note(tx, &delisting(id), moment(0), moment(0)).map(drop)),
    ("a close-out", |tx, id| {
        let new = NewCloseOut {
            stock_id: id,
            symbol: symbol("META"),
            terms: CloseOut::WriteOff,
            on: november(23),
            effective_at: moment(0),
            reason: "Bankrupt.".to_owned(),
            administrator: "ada".to_owned(),
        };
        close_outs::note(tx, &new, moment(0), moment(0)).map(drop)
    }),
    ("evidence", |tx, id| {
        let seen = DelistingEvidence {
            kind: DelistingEvidenceKind::NotFound,
            seen_on: november(20),
            seen_at: moment(0),
            delisted_on: None,
        };
        delistings::note_evidence(tx, "test", &[(id, seen)]).map(drop)
    }),
    ("refused evidence", |tx, id| {
        let (administrator, reason) = ("ada".to_owned(), "It is traded.".to_owned());
        delistings::refuse(tx, &Refusal { stock_id: id, refused_at: moment(0), administrator, reason })
    }),
    ("bars", |tx, id| stocks::save_bars(tx, id, "test", &[bar(18, "10.00")])),
    ("a former symbol", |tx, id| former_symbols::note(tx, id, &symbol("FCBK"), november(2))),
];

#[tokio::test]
async fn a_benchmark_is_renamed_with_its_stock() {
    let db = Db::new().await;
    let facebook = db.stock("FB").await;
    let sam = db.user("sam").await.id;
    let (one, other) = (db.portfolio(sam, "5").await, db.portfolio(sam, "5").await);
    assert_eq!(one.benchmark, symbol("SPY"), "the benchmark of a new portfolio");
    let changes = PortfolioChanges { benchmark: Some(symbol("FB")), ..PortfolioChanges::default() };
    let id = one.id;
    let chosen = db.write(move |tx| portfolios::update(tx, id, sam, changes)).await.unwrap();
    db.write(move |tx| stocks::rename(tx, facebook, (&symbol("FB"), &symbol("META")), None, november(23)))
        .await;
    let found = db.read(move |tx| portfolios::of_user(tx, sam)).await;
    let compared: Vec<(&str, i64)> = found.iter().map(|row| (row.benchmark.as_str(), row.version)).collect();
    assert_eq!(compared, [("META", chosen.version + 1), ("SPY", other.version)]);
}

#[tokio::test]
async fn an_unused_stock_gives_up_its_symbol() {
    for (what, happens) in KNOWN {
        let db = Db::new().await;
        let (facebook, looked_up) = (db.stock("FB").await, db.stock("META").await);
        db.write(move |tx| happens(tx, looked_up)).await;
        let sam = db.user("sam").await.id;
        let list = db.write(move |tx| watchlists::insert(tx, sam, "Tech", moment(0))).await.id;
        db.write(move |tx| watchlists::add_item(tx, list, looked_up, moment(0))).await;
        let (old, new) = (symbol("FB"), symbol("META"));
        let renamed =
            db.write(move |tx| stocks::rename(tx, facebook, (&old, &new), None, november(23))).await;
        assert!(renamed, "{what}");
        for of in ["FB", "META"] {
            let found = db.read(move |tx| stocks::by_symbol(tx, &symbol(of))).await.unwrap();
            assert_eq!(found.id, facebook, "{what}: {of}");
        }
        let watched = db.read(move |tx| watchlists::items(tx, list)).await;
        assert_eq!(watched.iter().map(|stock| stock.id).collect::<Vec<_>>(), [facebook], "{what}");
        for table in ["corporate_actions", "delisting_evidence", "delisting_refusals", "price_bars"] {
            assert_eq!(db.count(table), 0, "{what} is left in {table}");
        }
        if what == "a former symbol" {
            let found = db.read(|tx| stocks::by_symbol(tx, &symbol("FCBK"))).await.unwrap();
            assert_eq!(found.id, facebook);
        }
    }
}

#[tokio::test]
async fn a_used_stock_keeps_its_symbol() {
    for what in ["holds", "ordered", "traded", "got"] {
        let db = Db::new().await;
        let (facebook, used) = (db.stock("FB").await, db.stock("META").await);
        let user = db.user("sam").await.id;
        let portfolio = db.portfolio(user, "1000").await.id;
        match what {
            "holds" => {
                db.write(move |tx| save_position(tx, portfolio, used, &one_share())).await;
            }
            "ordered" => {
                let order = buy(1, portfolio, used, "META");
                db.write(move |tx| orders::insert(tx, &[(&order, "request")])).await;
            }
            "traded" => _ = db.filled(&buy(1, portfolio, used, "META")).await,
            _ => {
                let other = db.stock("GONE").await;
                let terms = CloseOut::Exchange {
                    into: used,
                    symbol: symbol("META"),
                    ratio: "1:1".parse().unwrap(),
                    cash: None,
                };
                let new = NewCloseOut {
                    stock_id: other,
                    symbol: symbol("GONE"),
                    terms,
                    on: november(23),
                    effective_at: moment(0),
                    reason: "Merged.".to_owned(),
                    administrator: "ada".to_owned(),
                };
                db.write(move |tx| close_outs::note(tx, &new, moment(0), moment(0))).await;
            }
        }
        let (old, new) = (symbol("FB"), symbol("META"));
        let renamed =
            db.write(move |tx| stocks::rename(tx, facebook, (&old, &new), None, november(23))).await;
        assert!(!renamed, "{what}");
        let found = db.read(|tx| stocks::by_symbol(tx, &symbol("META"))).await.unwrap();
        assert_eq!(found.id, used, "{what}");
    }
}

#[tokio::test]
async fn a_former_symbol_finds_the_stock_that_gave_it_up_last() {
    let db = Db::new().await;
    let (first, second) = (db.stock("XYZ").await, db.stock("OTHER").await);
    // Both stocks give the symbol up on the same day, the second one last.
    db.write(move |tx| {
        stocks::rename(tx, first, (&symbol("XYZ"), &symbol("ABC")), None, november(23))?;
        stocks::rename(tx, second, (&symbol("OTHER"), &symbol("XYZ")), None, november(23))?;
        stocks::rename(tx, second, (&symbol("XYZ"), &symbol("DEF")), None, november(23))
    })
    .await;
    let found = db.read(|tx| stocks::by_symbol(tx, &symbol("XYZ"))).await.unwrap();
    assert_eq!(found.id, second);
    assert_eq!(db.read(|tx| stocks::with_symbol(tx, &symbol("XYZ"))).await, None);
    let holder = db.read(|tx| former_symbols::last_holder(tx, &symbol("XYZ"))).await;
    assert_eq!(holder, Some((second, november(23))));
}

/// Data that was requested by a symbol is stored only for the stock that still has the symbol.
#[tokio::test]
async fn data_of_a_symbol_is_not_stored_for_a_renamed_stock() {
    for is_archived in [false, true] {
        let db = Db::new().await;
        let id = db.stock("XYZ").await;
        let write = async |close: &'static str, seconds: i64| {
            db.write(move |tx| {
                let of = symbol("XYZ");
                let quote =
                    Quote { source: PriceSource::from("test"), ..quote("XYZ", close, moment(seconds)) };
                stocks::save_last_price(tx, id, &quote)?;
                stocks::set_sector(tx, id, &of, close)?;
                let kept = stocks::save_bars_of(tx, (id, &of), "test", &[bar(18, close)])?;
                let unchanged = former_symbols::unchanged(tx, &[(id, of)])?;
                assert_eq!(kept, unchanged.contains(&id));
                Ok(kept)
            })
            .await
        };
        assert!(write("300.00", 0).await);
        let new = if is_archived {
            db.write(move |tx| reused_symbols::archive(tx, id, &symbol("XYZ"), november(23), None)).await
        } else {
            db.write(move |tx| stocks::rename(tx, id, (&symbol("XYZ"), &symbol("ABC")), None, november(23)))
                .await;
            symbol("ABC")
        };
        assert!(!write("40.00", 100).await, "{new}");
        let other = db.stock("XYZ").await;
        assert!(!write("41.00", 200).await, "{new}");
        let stock = db.read(move |tx| stocks::by_ids(tx, &[id])).await.remove(0);
        assert_eq!(stock.listing.symbol, new);
        assert_eq!(
            (stock.last.unwrap().price, stock.listing.sector.as_str()),
            (price("300.00"), "300.00"),
            "{new}"
        );
        let strangers = db.read(move |tx| stocks::by_ids(tx, &[other])).await.remove(0);
        assert_eq!(strangers.last, None, "{new}");
        assert_eq!(db.count("price_bars"), 1, "{new}");
    }
}

/// Adding a stock that another process has added does not change it.
#[tokio::test]
async fn a_stock_is_added_once() {
    let db = Db::new().await;
    let id = db.stock("XYZ").await;
    let told = listing("XYZ", "Xylophone Zither Corp");
    let found = db.write(move |tx| stocks::add(tx, &told)).await;
    assert_eq!((found.id, found.listing.company_name.as_str()), (id, "XYZ Incorporated"));
    let told = listing("NEW", "New Incorporated");
    let found = db.write(move |tx| stocks::add(tx, &told)).await;
    assert_eq!((found.listing.company_name.as_str(), found.last), ("New Incorporated", None));
}

/// Bars in the shares of the day on which they were fetched are not used as prices of their days.
#[tokio::test]
async fn the_last_price_of_an_archived_stock_is_its_last_close_as_traded() {
    let db = Db::new().await;
    let id = db.stock("XYZ").await;
    let stranger = Quote { source: PriceSource::from("yahoo"), ..quote("XYZ", "40.00", moment(300_000)) };
    db.write(move |tx| {
        stocks::save_bars(tx, id, "yahoo", &[bar(16, "298.00"), bar(17, "299.00")])?;
        stocks::save_bars(tx, id, ADJUSTED, &[bar(18, "29.90"), bar(19, "29.95")])?;
        stocks::save_bars(tx, id, "yahoo", &[bar(20, "40.00")])?;
        stocks::save_last_price(tx, id, &stranger)?;
        reused_symbols::archive(tx, id, &symbol("XYZ"), november(20), Some(november(20)))
    })
    .await;
    let last = db.read(move |tx| stocks::by_ids(tx, &[id])).await.remove(0).last.unwrap();
    assert_eq!((last.price, last.previous_close), (price("299.00"), Some(price("298.00"))));
    assert_eq!(last.source, "yahoo");
}

#[tokio::test]
async fn accepted_prices_move_with_a_rename_and_are_deleted_when_archiving() {
    for is_archived in [false, true] {
        let db = Db::new().await;
        let id = db.stock("XYZ").await;
        db.write(|tx| providers::publish(tx, &[(quote("XYZ", "300.00", moment(0)), moment(0))])).await;
        db.write(move |tx| match is_archived {
            true => reused_symbols::archive(tx, id, &symbol("XYZ"), november(23), None).map(drop),
            false => stocks::rename(tx, id, (&symbol("XYZ"), &symbol("ABC")), None, november(23)).map(drop),
        })
        .await;
        let symbols = ["XYZ", "ABC", "XYZ-202611"].map(symbol);
        let kept = db.read(move |tx| providers::published(tx, &symbols)).await;
        let kept: Vec<_> = kept.iter().map(|(quote, _)| quote.symbol.as_str()).collect();
        assert_eq!(kept, if is_archived { vec![] } else { vec!["ABC"] });
    }
}
