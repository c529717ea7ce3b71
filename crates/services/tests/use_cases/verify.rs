use chrono::TimeDelta;
use domain::{
    Calendar, FillRule, JournalEntry, Money, Position, PriceSource, Receipt, Snapshot, Timestamp,
    TransactionType,
};
use persistence::{StoreError, Tx, portfolios, positions, snapshots, transactions};
use services::testing::FixedPrices;

use crate::harness::{Exchange, Investor, day, money, quantity, symbol};

/// Three people trade for two weeks, with prices, sizes and pauses by a simple rule, while snapshots are taken
/// irregularly.
async fn two_busy_weeks(exchange: &Exchange) {
    let mut state: u64 = 2026;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut people = Vec::new();
    for name in ["sam", "mia", "kim"] {
        people.push(exchange.investor(name, "5000.00").await);
    }
    for date in day("2026-11-20").iter_days().take(14) {
        let session = Calendar::AroundTheClock.session(date).unwrap();
        for _ in 0..8 {
            exchange.pass(TimeDelta::minutes(i64::try_from(next(70)).unwrap()));
            let who = people[usize::try_from(next(3)).unwrap()];
            let ticker = ["AAPL", "MSFT", "JPM"][usize::try_from(next(3)).unwrap()];
            exchange.prices.set(ticker, &format!("{}.{:02}", 40 + next(60), next(100)));
            let size = format!("{}.{:03}", next(20), 1 + next(999));
            // Some of these are refused, and that is part of it.
            match next(10) {
                0 => drop(exchange.deposit(who, &format!("{}.{:02}", next(900), 1 + next(99))).await),
                1 => drop(exchange.withdraw(who, &format!("{}.{:02}", next(900), next(100))).await),
                2..=6 => drop(exchange.buy(who, ticker, &size).await),
                _ => drop(exchange.sell(who, ticker, &size).await),
            }
        }
        for ticker in ["AAPL", "MSFT", "JPM"] {
            exchange.prices.set_close(ticker, date, &format!("{}.{:02}", 40 + next(60), next(100)));
        }
        exchange.clock.set(session.closes_at + TimeDelta::minutes(20));
        if next(2) == 0 {
            exchange.work().await;
        }
        exchange.assert_books_balance().await;
    }
    exchange.work().await;
}

#[tokio::test]
async fn honest_books_are_clean() {
    let exchange = Exchange::new().await;
    two_busy_weeks(&exchange).await;
    let mut told = Vec::new();
    let report = exchange.verify(|done| told.push(done)).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.portfolios, report.snapshots), (3, 3 * 14));
    assert!(report.entries > 60, "{report:?}");
    assert_eq!(told, [1, 2, 3]);
}

#[tokio::test]
async fn there_may_be_nothing_to_check() {
    let exchange = Exchange::new().await;
    let report = exchange.verify(|_| ()).await.unwrap();
    assert_eq!(report, services::verify::Report::default());
}

/// Two shares bought at 150.00, one sold at 160.00, a snapshot at a close of 155.00; and clean.
async fn settled(exchange: &Exchange) -> Investor {
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "2").await.unwrap();
    exchange.prices.set("AAPL", "160.00");
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.prices.set_close("AAPL", day("2026-11-20"), "155.00");
    exchange.at("2026-11-21T05:15:00Z");
    exchange.work().await;
    exchange.assert_books_balance().await;
    sam
}

async fn complaints(exchange: &Exchange) -> Vec<String> {
    let report = exchange.verify(|_| ()).await.unwrap();
    report.differences.into_iter().map(|difference| difference.what).collect()
}

/// Writes into the books behind the use cases' back and answers what the check says.
async fn after(
    exchange: &Exchange,
    tamper: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
) -> Vec<String> {
    exchange.write(tamper).await;
    complaints(exchange).await
}

#[tokio::test]
async fn cash_that_the_journal_does_not_give_is_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    exchange.investor("mia", "1.00").await;
    let now = exchange.now();
    let found =
        after(&exchange, move |tx| portfolios::save_cash(tx, sam.portfolio, &money("860.01"), now)).await;
    assert_eq!(found, ["cash_balance is 860.01, the journal gives 860.00"]);
    let report = exchange.verify(|_| ()).await.unwrap();
    assert_eq!((report.differences[0].portfolio_id, report.portfolios), (sam.portfolio, 2));
}

#[tokio::test]
async fn positions_that_the_journal_does_not_give_are_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let stock = exchange.stock(&symbol("AAPL")).await.unwrap().id;
    let honest =
        Position { quantity: quantity("1"), cost_basis: money("150.00"), realized_pnl: money("10.00") };
    let save =
        |position: Position| move |tx: &mut Tx<'_>| positions::save(tx, sam.portfolio, stock, &position);
    for (tampered, name) in [
        (Position { quantity: quantity("1.000000001"), ..honest.clone() }, "quantity"),
        (Position { cost_basis: money("149.99"), ..honest.clone() }, "cost_basis"),
        (Position { realized_pnl: money("10.01"), ..honest.clone() }, "realized_pnl"),
    ] {
        let found = after(&exchange, save(tampered)).await;
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with(&format!("position in stock {stock} is ")), "{found:?}");
    }
    assert_eq!(after(&exchange, save(honest)).await, [""; 0]);

    let other = exchange.stock(&symbol("MSFT")).await.unwrap().id;
    let invented = Position { quantity: quantity("1"), ..Position::default() };
    let found = after(&exchange, move |tx| positions::save(tx, sam.portfolio, other, &invented)).await;
    assert!(found.len() == 1 && found[0].ends_with("the journal knows nothing of it"), "{found:?}");
}

#[tokio::test]
async fn snapshots_that_the_journal_does_not_give_are_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let honest = exchange.rows(sam).await.remove(0);
    let save = |row: Snapshot| move |tx: &mut Tx<'_>| snapshots::save(tx, &[row]);
    let cent = || money("0.01");
    for (tampered, complaint) in [
        (
            Snapshot { cash_balance: honest.cash_balance.clone() + cent(), ..honest.clone() },
            "cash_balance is 860.01, the journal gives 860.00",
        ),
        (
            Snapshot { positions_value: honest.positions_value.clone() + cent(), ..honest.clone() },
            "positions_value is 155.01, the journal gives 155.00",
        ),
        (
            Snapshot { total_value: honest.total_value.clone() + cent(), ..honest.clone() },
            "total_value is 1015.01, the journal gives 1015.00",
        ),
        (
            Snapshot { net_flow: honest.net_flow.clone() + cent(), ..honest.clone() },
            "net_flow is 1000.01, the journal gives 1000.00",
        ),
    ] {
        assert_eq!(after(&exchange, save(tampered)).await, [format!("snapshot of 2026-11-20: {complaint}")]);
    }
    // Provisional rows say themselves that they are not settled. A final one is not replaced by one.
    assert_eq!(after(&exchange, save(honest.clone())).await, [""; 0]);
    let guess = Snapshot { date: day("2026-11-21"), provisional: true, ..honest.clone() };
    assert_eq!(after(&exchange, save(guess)).await, [""; 0]);
    // A close that nobody kept.
    let unpriced = Snapshot { date: day("2026-11-22"), net_flow: Money::zero(), ..honest };
    let found = after(&exchange, save(unpriced)).await;
    assert!(found.iter().any(|what| what.ends_with("1 closing prices are missing")), "{found:?}");
}

#[tokio::test]
async fn a_snapshot_of_a_day_without_a_session_is_found() {
    let prices = FixedPrices::of(domain::Freshness::Realtime, Calendar::Xnys);
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "1.00").await;
    let saturday = Snapshot {
        portfolio_id: sam.portfolio,
        date: day("2026-11-21"),
        total_value: money("1.00"),
        cash_balance: money("1.00"),
        positions_value: money("0.00"),
        net_flow: money("1.00"),
        provisional: false,
    };
    assert_eq!(
        after(&exchange, move |tx| snapshots::save(tx, &[saturday])).await,
        ["snapshot of 2026-11-21: the market had no session on that day"]
    );
}

/// A copy of a journal entry with something changed, appended to the journal as the newest one.
async fn forged(change: impl FnOnce(&mut JournalEntry) + Send + 'static) -> Vec<String> {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let sell = exchange.journal(sam).await.remove(0);
    assert_eq!(sell.transaction_type, TransactionType::Sell);
    let now: Timestamp = exchange.now();
    let receipt = Receipt { source: PriceSource("forged".into()), quoted_at: now, rule: FillRule::Last };
    let mut entry = JournalEntry { timestamp: now, receipt: Some(receipt), ..sell };
    change(&mut entry);
    after(&exchange, move |tx| transactions::append(tx, &entry).map(drop)).await
}

#[tokio::test]
async fn entries_that_cannot_have_happened_are_found() {
    let said = |found: Vec<String>, what: &str| {
        assert!(found.iter().any(|text| text.contains(what)), "{what}: {found:?}");
    };
    // Every forged entry leaves the stored balances behind as well.
    said(forged(|_| ()).await, "cash_balance is 860.00, the journal gives 1020.00");
    said(forged(|entry| entry.amount = money("160.01")).await, "has amount 160.01, computed 160.00");
    said(
        forged(|entry| entry.realized_pnl = Some(money("11"))).await,
        "has realized_pnl 11.00, computed 10.00",
    );
    let more = |entry: &mut JournalEntry| {
        entry.quantity = Some(quantity("2"));
        entry.amount = money("320.00");
    };
    said(forged(more).await, "sells 2 of 1 held");
    let overdrawn = |entry: &mut JournalEntry| {
        *entry = JournalEntry::cash(entry.portfolio_id, money("-860.01"), entry.timestamp);
    };
    said(forged(overdrawn).await, "leaves cash at -0.01");
}

#[tokio::test]
async fn an_entry_slipped_in_before_a_snapshot_is_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let earlier = JournalEntry::cash(sam.portfolio, money("5.00"), exchange.now() - TimeDelta::hours(2));
    let now = exchange.now();
    let found = after(&exchange, move |tx| {
        transactions::append(tx, &earlier)?;
        portfolios::save_cash(tx, sam.portfolio, &money("865.00"), now)
    })
    .await;
    assert_eq!(
        found,
        [
            "snapshot of 2026-11-20: cash_balance is 860.00, the journal gives 865.00",
            "snapshot of 2026-11-20: net_flow is 1000.00, the journal gives 1005.00",
            "snapshot of 2026-11-20: total_value is 1015.00, the journal gives 1020.00"
        ]
    );
}
