//! Corporate actions, the portfolios they were applied to, and former symbols.

use chrono::TimeDelta;
use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::journal::{BookedAction, BookedTerms};
use domain::{
    JournalEntry, KnownAction, PerShare, PortfolioId, SplitConfirmation, StockId, Symbol, TransactionType,
};
use persistence::corporate_actions::{self as actions, Applied, ReportedAction};
use persistence::{StoreError, portfolios, stocks, transactions};

use crate::harness::{Db, moment, money, november, one_share, save_position, shares};

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

fn split(ratio: &str) -> CorporateActionKind {
    let domain::SplitRatio { numerator, denominator } = ratio.parse().unwrap();
    CorporateActionKind::Split { numerator, denominator }
}

fn told(stock_id: StockId, kind: CorporateActionKind, seconds: i64) -> ReportedAction {
    let pays_at = matches!(kind, CorporateActionKind::CashDividend { .. })
        .then(|| moment(seconds) + TimeDelta::days(15));
    let action = CorporateAction::new(symbol("AAPL"), november(23), kind);
    ReportedAction {
        stock_id,
        action,
        effective_at: moment(seconds),
        pays_at,
        confirmation: SplitConfirmation::Confirmed,
    }
}

fn dividend() -> CorporateActionKind {
    let amount = PerShare::from_scaled(2_575, 4).unwrap();
    CorporateActionKind::CashDividend { amount, pays_on: november(30) }
}

async fn known(db: &Db, stock: StockId) -> Vec<KnownAction> {
    db.read(move |tx| actions::of_stock(tx, stock)).await
}

async fn portfolio(db: &Db) -> PortfolioId {
    let user = db.user("sam").await;
    db.portfolio(user.id, "1000").await.id
}

#[tokio::test]
async fn an_action_is_stored_once_and_unchanged_after_it_took_effect() {
    let db = Db::new().await;
    let stock = db.stock("AAPL").await;
    let note = async |kind, now| {
        let told = told(stock, kind, 100);
        db.write(move |tx| actions::note(tx, &told, moment(now))).await
    };
    assert!(note(split("2:1"), 0).await);
    assert!(note(dividend(), 0).await);
    assert!(!note(split("3:1"), 1).await, "it is known, and told better now");
    assert!(!note(split("5:1"), 100).await, "it has taken effect");
    let known = known(&db, stock).await;
    assert_eq!(
        known.iter().map(|known| known.action.kind.clone()).collect::<Vec<_>>(),
        [split("3:1"), dividend()]
    );
    assert_eq!((known[0].known_at, known[0].applied_at, known[0].pays_at), (moment(0), None, None));
    assert_eq!(known[1].pays_at, Some(moment(100) + TimeDelta::days(15)));

    assert_eq!(db.read(|tx| actions::due(tx, moment(99))).await, []);
    assert_eq!(db.read(|tx| actions::due(tx, moment(100))).await, known);
    let first = known[0].id;
    db.write(move |tx| actions::set_applied(tx, first, moment(101))).await;
    db.write(move |tx| actions::set_applied(tx, first, moment(200))).await;
    assert_eq!(db.read(|tx| actions::due(tx, moment(500))).await, known[1..]);
    // Actions that are not applied everywhere, and actions that took effect since.
    assert_eq!(db.read(|tx| actions::not_over(tx, moment(100))).await, known[1..]);
    let not_over = db.read(|tx| actions::not_over(tx, moment(99))).await;
    assert_eq!(not_over.iter().map(|known| known.applied_at).collect::<Vec<_>>(), [Some(moment(101)), None]);
    assert_eq!(db.read(|tx| actions::taken_effect(tx, moment(99), moment(100))).await.len(), 2);
    assert_eq!(db.read(|tx| actions::taken_effect(tx, moment(100), moment(500))).await, []);
}

#[tokio::test]
async fn an_action_is_applied_to_a_portfolio_only_once() {
    let db = Db::new().await;
    let (stock, portfolio) = (db.stock("AAPL").await, portfolio(&db).await);
    let told = told(stock, dividend(), 100);
    db.write(move |tx| actions::note(tx, &told, moment(0))).await;
    let id = known(&db, stock).await[0].id;
    let row = Applied {
        portfolio_id: portfolio,
        action_id: id,
        quantity: shares("100"),
        amount: money("25.75"),
        booked_at: moment(101),
        paid_at: None,
        reversed_at: None,
    };
    let insert = async |row: Applied| db.try_write(move |tx| actions::insert_applied(tx, &[row])).await;
    insert(row.clone()).await.unwrap();
    assert!(insert(row.clone()).await.is_err(), "there is no second time");
    assert_eq!(db.read(move |tx| actions::portfolios_with_applied(tx, id, &[portfolio])).await.len(), 1);

    let action = BookedAction {
        id,
        effective_at: moment(100),
        terms: BookedTerms::Dividend { per_share: PerShare::from_scaled(2_575, 4).unwrap() },
    };
    let entry = JournalEntry {
        stock_id: Some(stock),
        transaction_type: TransactionType::Dividend,
        quantity: Some(shares("100")),
        action: Some(action),
        ..JournalEntry::cash(portfolio, money("25.75"), moment(300))
    };
    let append = async |entry: JournalEntry| {
        db.try_write(move |tx| Ok::<_, StoreError>(transactions::append(tx, &[entry])?.swap_remove(0))).await
    };
    let line = append(entry.clone()).await.unwrap();
    let read = db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 10)).await;
    assert_eq!(read, [line], "it comes back as it was written");
    assert!(append(entry.clone()).await.is_err(), "nor is it in the journal twice");
    for broken in [
        JournalEntry { action: None, ..entry.clone() },
        JournalEntry { quantity: None, ..entry.clone() },
        JournalEntry { stock_id: None, ..entry.clone() },
        JournalEntry { transaction_type: TransactionType::Split, ..entry.clone() },
    ] {
        assert!(append(broken.clone()).await.is_err(), "{broken:?}");
    }
}

#[tokio::test]
async fn a_dividend_is_owed_until_it_is_paid() {
    let db = Db::new().await;
    let (stock, portfolio) = (db.stock("AAPL").await, portfolio(&db).await);
    let told = told(stock, dividend(), 100);
    db.write(move |tx| actions::note(tx, &told, moment(0))).await;
    let known = known(&db, stock).await.remove(0);
    let (id, pays_at) = (known.id, known.pays_at.unwrap());
    let row = Applied {
        portfolio_id: portfolio,
        action_id: id,
        quantity: shares("100"),
        amount: money("25.75"),
        booked_at: moment(101),
        paid_at: None,
        reversed_at: None,
    };
    let inserted = row.clone();
    db.write(move |tx| actions::insert_applied(tx, &[inserted])).await;
    db.write(move |tx| portfolios::save_dividends(tx, portfolio, &money("25.75"), &money("25.75"))).await;
    let with_unpaid = async |at| db.read(move |tx| actions::with_unpaid(tx, at)).await;
    let unpaid = async |after| db.read(move |tx| actions::unpaid(tx, id, PortfolioId(after), 10)).await;
    assert_eq!(with_unpaid(pays_at - TimeDelta::seconds(1)).await, []);
    assert_eq!(with_unpaid(pays_at).await, [known]);
    assert_eq!(unpaid(portfolio.0 - 1).await, [row]);
    assert_eq!(unpaid(portfolio.0).await, []);
    let owed = db.read(move |tx| actions::owed_since(tx, &[portfolio], moment(0))).await.remove(0);
    assert!(!owed.at(moment(100)) && owed.at(moment(101)));
    db.write(move |tx| actions::set_paid(tx, portfolio, id, pays_at)).await;
    assert_eq!((with_unpaid(pays_at).await, unpaid(0).await), (Vec::new(), Vec::new()));
    let owed = db.read(move |tx| actions::owed_since(tx, &[portfolio], moment(0))).await.remove(0);
    assert!(owed.at(pays_at) && !owed.at(pays_at + TimeDelta::seconds(1)));
    let by_many = |ids: Vec<i64>, from| {
        let ids: Vec<PortfolioId> = ids.into_iter().map(PortfolioId).collect();
        db.read(move |tx| actions::owed_by_many_since(tx, &ids, from))
    };
    let number = portfolio.0;
    for ids in [vec![number], vec![number, number + 1], vec![number, number + 1_000_000]] {
        assert_eq!(by_many(ids, moment(0)).await, std::slice::from_ref(&owed));
    }
    assert_eq!(by_many(vec![number], pays_at + TimeDelta::seconds(1)).await, []);
    assert_eq!(by_many(vec![number + 1], moment(0)).await, []);
    assert_eq!(by_many(vec![number + 1, number + 1_000_000], moment(0)).await, []);
    assert_eq!(
        db.read(move |tx| actions::owed_since(tx, &[portfolio], pays_at + TimeDelta::seconds(1))).await,
        []
    );
    let record = db.read(move |tx| portfolios::by_ids(tx, &[portfolio])).await.remove(0);
    assert_eq!((record.dividends, record.dividends_receivable), (money("25.75"), money("25.75")));
}

#[tokio::test]
async fn a_stock_is_found_by_a_former_symbol_unless_another_has_it() {
    let db = Db::new().await;
    let (one, used) = (db.stock("OLD").await, db.stock("USED").await);
    let unused = db.stock("NEW").await;
    let (old, new, taken) = (symbol("OLD"), symbol("NEW"), symbol("USED"));
    let holder = portfolio(&db).await;
    db.write(move |tx| save_position(tx, holder, used, &one_share())).await;
    let rename = async |to: Symbol| {
        let old = old.clone();
        db.write(move |tx| stocks::rename(tx, one, (&old, &to), Some("New Name"), november(23))).await
    };
    assert!(!rename(taken).await, "another one in use has it");
    assert!(rename(new.clone()).await, "the one that was listed anew is the same, and goes");
    assert!(rename(new.clone()).await, "again it changes nothing");
    let find = async |symbol: &Symbol| {
        let symbol = symbol.clone();
        db.read(move |tx| stocks::by_symbol(tx, &symbol)).await
    };
    for name in [&old, &new] {
        let found = find(name).await.unwrap();
        assert_eq!(
            (found.id, &found.listing.symbol, found.listing.company_name.as_str()),
            (one, &new, "New Name")
        );
    }
    assert_eq!(db.count("former_symbols"), 1);
    assert!(unused != one && db.read(move |tx| stocks::by_ids(tx, &[unused])).await.is_empty());
    let heir = db.stock("OLD").await;
    assert_eq!(find(&old).await.unwrap().id, heir, "the symbol is somebody else's now");
    db.write(move |tx| stocks::delist(tx, heir, november(24))).await;
    assert_eq!(find(&old).await.unwrap().delisted_on, Some(november(24)));
    assert_eq!(db.read(move |tx| actions::portfolios_concerned(tx, one, PortfolioId(0), 10)).await, []);
}
