use domain::{
    JournalEntry, Money, Order, OrderId, PortfolioId, PortfolioRef, Side, Symbol, TransactionFilter,
    TransactionId, TransactionType, UserId,
};
use persistence::transactions;
use persistence::{StoreError, portfolios};

use crate::harness::{Db, append, buy, entry_of, moment, money, price, shares, symbol};

async fn portfolio(db: &Db) -> PortfolioId {
    let sam = db.user("sam").await.id;
    db.portfolio(sam, "5").await.id
}

/// The user who owns the portfolio.
async fn owner(db: &Db, portfolio: PortfolioId) -> UserId {
    let all = db.read(|tx| portfolios::page(tx, "", None, 100)).await;
    all.into_iter().find(|(row, _)| row.id == portfolio).unwrap().0.user_id
}

/// All pages of three lines, one after the other.
async fn pages(
    db: &Db,
    portfolio: PortfolioId,
    filter: TransactionFilter,
) -> Vec<(JournalEntry, Option<Symbol>)> {
    let user = owner(db, portfolio).await;
    let mut seen: Vec<(JournalEntry, Option<Symbol>)> = Vec::new();
    loop {
        let before = seen.last().map(|(entry, _)| (entry.timestamp, entry.id.unwrap()));
        let filter = filter.clone();
        let page = db
            .query(move |statement| {
                transactions::page(statement, PortfolioRef::new(user, portfolio), &filter, before, 3)
            })
            .await;
        if page.is_empty() {
            return seen;
        }
        seen.extend(page);
    }
}

#[tokio::test]
async fn entries_are_read_as_appended_with_increasing_ids() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let stock = db.stock("AAPL").await;
    let order = Order {
        side: Side::Sell,
        filled_quantity: shares("999999999.999999999"),
        filled_amount: money("100000.00").into(),
        filled_price: Some(price("0.0001").into()),
        filled_at: Some(moment(0) + chrono::TimeDelta::microseconds(123_456)),
        ..buy(1, portfolio, stock, "AAPL")
    };
    let sold = db.filled(&order).await;
    assert_eq!(sold, JournalEntry { id: sold.id, ..entry_of(&order) });
    let cash = JournalEntry::cash(portfolio, money("-999999999999999.99"), moment(1));
    let withdrawn = db.write(move |tx| append(tx, cash)).await;
    assert!(withdrawn.id > sold.id);

    let stored = db.read(move |tx| transactions::in_time_order(tx, portfolio, None, 10)).await;
    assert_eq!(stored, [sold, withdrawn]);
    assert_eq!(stored[1].amount.to_string(), "-999999999999999.99");
}

#[tokio::test]
async fn the_journal_rejects_changes() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let cash = JournalEntry::cash(portfolio, money("5"), moment(0));
    db.write(move |tx| append(tx, cash)).await;
    let refused = db.sql("UPDATE transactions SET amount = '500'").unwrap_err();
    assert!(refused.to_string().contains("the journal is append-only"), "{refused}");
    assert_eq!(db.read(move |tx| transactions::flows(tx, portfolio)).await, [(moment(0), money("5"))]);
}

#[tokio::test]
async fn the_database_rejects_a_trade_without_a_receipt() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let stock = db.stock("AAPL").await;
    let order = buy(1, portfolio, stock, "AAPL");
    db.filled(&order).await;
    let entry = entry_of(&order);
    for broken in [
        JournalEntry { receipt: None, ..entry.clone() },
        JournalEntry { stock_id: None, ..entry.clone() },
        JournalEntry { order_id: None, ..entry.clone() },
        JournalEntry { quantity: None, ..entry.clone() },
        JournalEntry { price: None, ..entry.clone() },
        JournalEntry { realized_pnl: Some(money("1")), ..entry.clone() },
        JournalEntry { transaction_type: TransactionType::Sell, ..entry.clone() },
    ] {
        let refused = db.try_write(move |tx| append(tx, broken)).await;
        assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    }
    let elsewhere = JournalEntry { portfolio_id: PortfolioId(99), ..entry };
    let refused = db.try_write(move |tx| append(tx, elsewhere)).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
}

#[tokio::test]
async fn pages_over_equal_times_have_no_gap_and_no_repeat() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let mut expected = Vec::new();
    // Forty entries at the same time between two others, not written in the order of time.
    for second in std::iter::once(2).chain(std::iter::repeat_n(1, 40)).chain([0, 1]) {
        let cash = JournalEntry::cash(portfolio, money("1"), moment(second));
        expected.push(db.write(move |tx| append(tx, cash)).await);
    }
    expected.sort_by_key(|entry| (entry.timestamp, entry.id));
    let mut seen: Vec<JournalEntry> = Vec::new();
    loop {
        let after = seen.last().map(|entry| (entry.timestamp, entry.id.unwrap()));
        let page = db.read(move |tx| transactions::in_time_order(tx, portfolio, after, 3)).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, expected, "oldest first");

    expected.reverse();
    let seen = pages(&db, portfolio, TransactionFilter::default()).await;
    assert_eq!(seen.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>(), expected, "newest first");
}

#[tokio::test]
async fn pages_can_be_filtered() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (own, other) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let (apple, tesla) = (db.stock("AAPL").await, db.stock("TSLA").await);
    let at = |order: Order, second| Order { filled_at: Some(moment(second)), ..order };
    let cash = JournalEntry::cash(own, money("5"), moment(0));
    db.write(move |tx| append(tx, cash)).await;
    db.filled(&at(buy(1, own, apple, "AAPL"), 1)).await;
    db.filled(&at(buy(2, own, tesla, "TSLA"), 2)).await;
    db.filled(&at(Order { side: Side::Sell, ..buy(3, own, apple, "AAPL") }, 3)).await;
    db.filled(&at(buy(4, own, apple, "AAPL"), 4)).await;
    db.filled(&at(buy(5, other, apple, "AAPL"), 4)).await;

    let seconds = async |filter: TransactionFilter| {
        let seen = pages(&db, own, filter).await;
        seen.iter().map(|(entry, _)| (entry.timestamp - moment(0)).num_seconds()).collect::<Vec<_>>()
    };
    let all = TransactionFilter::default();
    assert_eq!(seconds(all.clone()).await, [4, 3, 2, 1, 0]);
    assert_eq!(seconds(TransactionFilter { symbol: Some(symbol("AAPL")), ..all.clone() }).await, [4, 3, 1]);
    assert_eq!(seconds(TransactionFilter { symbol: Some(symbol("NONE")), ..all.clone() }).await, [0; 0]);
    for (transaction_type, expected) in [
        (TransactionType::Deposit, &[0][..]),
        (TransactionType::Withdrawal, &[]),
        (TransactionType::Buy, &[4, 2, 1]),
        (TransactionType::Sell, &[3]),
    ] {
        let filter = TransactionFilter { transaction_type: Some(transaction_type), ..all.clone() };
        assert_eq!(seconds(filter).await, expected, "{transaction_type}");
    }
    let window = TransactionFilter { from: Some(moment(1)), until: Some(moment(4)), ..all };
    assert_eq!(seconds(window.clone()).await, [3, 2, 1]);
    assert_eq!(seconds(TransactionFilter { symbol: Some(symbol("AAPL")), ..window }).await, [3, 1]);

    let symbols: Vec<_> =
        pages(&db, own, TransactionFilter::default()).await.into_iter().map(|(_, symbol)| symbol).collect();
    assert_eq!(symbols[2..], [Some(symbol("TSLA")), Some(symbol("AAPL")), None]);
}

#[tokio::test]
async fn entries_are_found_by_order_by_time_and_by_portfolio() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (one, two) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let stock = db.stock("AAPL").await;
    let mut entries = Vec::new();
    for (number, portfolio, second) in [(1, one, 0), (2, two, 1), (3, one, 2)] {
        let order = Order { filled_at: Some(moment(second)), ..buy(number, portfolio, stock, "AAPL") };
        entries.push(db.filled(&order).await);
    }
    let orders: Vec<OrderId> = [&entries[2], &entries[1]].map(|entry| entry.order_id.unwrap()).into();
    assert_eq!(db.read(move |tx| transactions::of_orders(tx, &orders)).await, entries[1..]);
    assert!(db.read(|tx| transactions::of_orders(tx, &[])).await.is_empty());

    let since = |second| db.read(move |tx| transactions::since(tx, &[one, two], moment(second)));
    assert_eq!(since(1).await, entries[1..]);
    assert_eq!(since(3).await, []);
    assert_eq!(db.read(move |tx| transactions::since(tx, &[two], moment(0))).await, entries[1..2]);

    let range = |after: i64, last| db.read(move |tx| transactions::of_range(tx, PortfolioId(after), last));
    let [a, b, c] = entries.as_slice() else { panic!("three: {entries:?}") };
    assert_eq!(range(0, one).await, [a.clone(), c.clone()]);
    assert_eq!(range(one.0, two).await, entries[1..2]);
    assert_eq!(range(0, two).await, [b.clone(), a.clone(), c.clone()], "one portfolio after the other");
    assert_eq!(range(two.0, PortfolioId(i64::MAX)).await, []);
    let mut sizes = db.read(move |tx| transactions::sizes(tx, PortfolioId(0), two)).await;
    sizes.sort_unstable();
    assert_eq!(sizes, [(one, 2), (two, 1)]);
    assert_eq!(db.read(move |tx| transactions::sizes(tx, one, two)).await, [(two, 1)]);
}

#[tokio::test]
async fn the_entries_since_an_instant_can_be_read_in_parts() {
    let db = Db::new().await;
    let (one, other) = (portfolio(&db).await, db.portfolio(db.user("eve").await.id, "5").await.id);
    // Several at the same time, and one that was booked late.
    for at in [1, 5, 5, 5, 7, 6, 9] {
        for of in [one, other] {
            db.write(move |tx| append(tx, JournalEntry::cash(of, money("1"), moment(at)))).await;
        }
    }
    let mut expected: Vec<_> = db
        .read(move |tx| transactions::since(tx, &[one], moment(5)))
        .await
        .into_iter()
        .map(|entry| (entry.timestamp, entry.id.unwrap()))
        .collect();
    assert_eq!(expected.len(), 6);
    expected.sort_unstable_by(|a, b| b.cmp(a));
    for limit in [1, 2, 5, 6, 7] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let part = db.read(move |tx| transactions::page_since(tx, one, moment(5), before, limit)).await;
            found.extend(part.iter().map(|entry| (entry.timestamp, entry.id.unwrap())));
            if part.is_empty() {
                break;
            }
            before = found.last().copied();
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
}

#[tokio::test]
async fn flows_between_instants_are_signed_and_exclude_trades() {
    let db = Db::new().await;
    let (one, two) = (portfolio(&db).await, db.portfolio(db.user("eve").await.id, "5").await.id);
    let stock = db.stock("AAPL").await;
    db.filled(&buy(1, one, stock, "AAPL")).await;
    for (of, amount, at) in [(two, "7", 3), (one, "-2", 5), (one, "3", 2), (one, "4", 6), (one, "1", 1)] {
        db.write(move |tx| append(tx, JournalEntry::cash(of, money(amount), moment(at)))).await;
    }
    let flows =
        |of: Vec<PortfolioId>| db.read(move |tx| transactions::flows_between(tx, &of, moment(2), moment(6)));
    assert_eq!(flows(vec![one, two]).await, [(one, money("-2")), (one, money("3")), (two, money("7"))]);
    assert_eq!(flows(vec![two]).await, [(two, money("7"))]);
}

#[tokio::test]
async fn flows_are_deposits_and_withdrawals_alone() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let stock = db.stock("AAPL").await;
    for (amount, second) in [("100", 0), ("-40.50", 2)] {
        let cash = JournalEntry::cash(portfolio, money(amount), moment(second));
        db.write(move |tx| append(tx, cash)).await;
    }
    db.filled(&buy(1, portfolio, stock, "AAPL")).await;
    let flows: Vec<(_, Money)> = db.read(move |tx| transactions::flows(tx, portfolio)).await;
    assert_eq!(flows, [(moment(0), money("100")), (moment(2), money("-40.50"))]);
}

#[tokio::test]
async fn the_overview_contains_owners_and_searches_owners_and_symbols() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("Sam_1").await.id, db.user("eve").await.id);
    let (sams, eves) = (db.portfolio(sam, "5").await.id, db.portfolio(eve, "5").await.id);
    let (apple, tesla) = (db.stock("AAPL").await, db.stock("TSLA").await);
    let cash = JournalEntry::cash(sams, money("5"), moment(9));
    db.write(move |tx| append(tx, cash)).await;
    db.filled(&buy(1, sams, apple, "AAPL")).await;
    db.filled(&buy(2, eves, apple, "AAPL")).await;
    db.filled(&buy(3, eves, tesla, "TSLA")).await;

    let found = async |search: &'static str, before: Option<TransactionId>, limit| {
        let page = db.read(move |tx| transactions::page_of_all(tx, search, before, limit)).await;
        let line = |named: &transactions::NamedEntry| {
            let symbol = named.symbol.as_ref().map_or("cash", Symbol::as_str);
            assert_eq!(named.portfolio, "Growth");
            format!("{} {symbol}", named.username)
        };
        (page.iter().map(line).collect::<Vec<_>>(), page.last().and_then(|named| named.entry.id))
    };
    let (first, last) = found("", None, 3).await;
    assert_eq!(first, ["eve TSLA", "eve AAPL", "Sam_1 AAPL"]);
    assert_eq!(found("", last, 3).await.0, ["Sam_1 cash"]);
    assert_eq!(found("sAm", None, 9).await.0, ["Sam_1 AAPL", "Sam_1 cash"]);
    assert_eq!(found("_", None, 9).await.0, ["Sam_1 AAPL", "Sam_1 cash"]);
    assert_eq!(found("aapl", None, 9).await.0, ["eve AAPL", "Sam_1 AAPL"]);
    assert_eq!(found("%", None, 9).await.0, [""; 0]);
    assert_eq!(db.read(transactions::count).await, 4);
}

#[tokio::test]
async fn a_page_contains_only_the_owners_portfolio() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    let (own, other) = (db.portfolio(sam, "5").await.id, db.portfolio(eve, "5").await.id);
    for id in [own, other] {
        let cash = JournalEntry::cash(id, money("5"), moment(0));
        db.write(move |tx| append(tx, cash)).await;
    }
    let found = |user, portfolio| {
        db.query(move |statement| {
            transactions::page(
                statement,
                PortfolioRef::new(user, portfolio),
                &TransactionFilter::default(),
                None,
                10,
            )
        })
    };
    assert_eq!(found(sam, own).await.len(), 1);
    assert_eq!(found(eve, own).await, []);
    assert_eq!(found(sam, other).await, []);
}

#[tokio::test]
async fn the_entries_of_a_day_end_with_the_requested_one() {
    let db = Db::new().await;
    let portfolio = portfolio(&db).await;
    let sam = owner(&db, portfolio).await;
    let other = db.portfolio(sam, "5").await.id;
    let mut ids = Vec::new();
    for (portfolio, at) in
        [(portfolio, 1), (portfolio, 2), (other, 2), (portfolio, 2), (portfolio, 3), (portfolio, 3)]
    {
        let cash = JournalEntry::cash(portfolio, money("5"), moment(at));
        ids.push(db.write(move |tx| append(tx, cash)).await.id.unwrap());
    }
    let last = ids[4];
    let found =
        db.query(move |statement| transactions::since_up_to(statement, portfolio, moment(2), last)).await;
    let found: Vec<TransactionId> = found.into_iter().map(|entry| entry.id.unwrap()).collect();
    assert_eq!(found, [ids[1], ids[3], ids[4]]);
}
