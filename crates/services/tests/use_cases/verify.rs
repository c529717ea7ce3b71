use chrono::TimeDelta;
use domain::{
    Calendar, FillRule, JournalEntry, Money, OrderStatus, Position, PriceSource, Receipt, Rounding, Side,
    Snapshot, Timestamp, TransactionType,
};
use persistence::{StoreError, Tx, snapshots, transactions};
use services::TradingConfig;
use services::testing::FixedPrices;

use crate::harness::{
    Exchange, Investor, day, gtc, limit, money, quantity, save_cash, save_position, stop, symbol,
};

/// Three users trade for two weeks, with prices, sizes and pauses by a simple rule, while snapshots are taken
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
            // Some of these operations are rejected, which is intended.
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
async fn correct_books_have_no_differences() {
    let exchange = Exchange::new().await;
    two_busy_weeks(&exchange).await;
    let mut told = Vec::new();
    let report = exchange.books().verify(|done, total| told.push((done, total))).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.portfolios, report.snapshots), (3, 3 * 14));
    assert!(report.entries > 60, "{report:?}");
    assert_eq!(told, [(1, 3), (2, 3), (3, 3)]);
}

#[tokio::test]
async fn an_empty_database_is_checked() {
    let exchange = Exchange::new().await;
    let report = exchange.books().verify(|_, _| ()).await.unwrap();
    assert_eq!(report, services::books::verify::Report::default());
}

/// Two shares are bought at 150.00, one is sold at 160.00, and a snapshot is taken at a close of 155.00; the books are
/// right.
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
    let report = exchange.books().verify(|_, _| ()).await.unwrap();
    report.differences.into_iter().map(|difference| difference.what).collect()
}

/// Changes the books without a use case, and returns the differences that the check finds.
async fn after(
    exchange: &Exchange,
    tamper: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
) -> Vec<String> {
    exchange.write(tamper).await;
    complaints(exchange).await
}

#[tokio::test]
async fn wrong_cash_is_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    exchange.investor("mia", "1.00").await;
    let now = exchange.now();
    let found = after(&exchange, move |tx| save_cash(tx, sam.portfolio, "860.01", now)).await;
    assert_eq!(found, ["cash_balance is 860.01, the journal gives 860.00"]);
    let report = exchange.books().verify(|_, _| ()).await.unwrap();
    assert_eq!((report.differences[0].portfolio_id, report.portfolios), (sam.portfolio, 2));
}

#[tokio::test]
async fn wrong_positions_are_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let stock = exchange.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    let honest =
        Position { quantity: quantity("1"), cost_basis: money("150.00"), realized_pnl: money("10.00") };
    let save = |position: Position| move |tx: &mut Tx<'_>| save_position(tx, sam.portfolio, stock, &position);
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

    let other = exchange.instruments().stock(&symbol("MSFT")).await.unwrap().id;
    let invented = Position { quantity: quantity("1"), ..Position::default() };
    let found = after(&exchange, move |tx| save_position(tx, sam.portfolio, other, &invented)).await;
    assert!(found.len() == 1 && found[0].ends_with("the journal has none"), "{found:?}");
}

#[tokio::test]
async fn wrong_snapshots_are_found() {
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
    // Provisional rows are not checked. A final row is not replaced by a provisional one.
    assert_eq!(after(&exchange, save(honest.clone())).await, [""; 0]);
    let guess = Snapshot { date: day("2026-11-21"), provisional: true, ..honest.clone() };
    assert_eq!(after(&exchange, save(guess)).await, [""; 0]);
    // A session whose close was not stored.
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
        dividends_receivable: money("0"),
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

/// Appends a changed copy of a journal entry as the newest entry.
async fn forged(change: impl FnOnce(&mut JournalEntry) + Send + 'static) -> Vec<String> {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let sell = exchange.journal(sam).await.remove(0);
    assert_eq!(sell.transaction_type, TransactionType::Sell);
    let now: Timestamp = exchange.now();
    let receipt = Receipt {
        source: PriceSource::from("forged"),
        quoted_at: now,
        rule: FillRule::Last,
        quoted_price: "160.00".parse().unwrap(),
        rounding: domain::Rounding::PerFill,
    };
    let mut entry = JournalEntry { timestamp: now, receipt: Some(receipt), ..sell };
    change(&mut entry);
    after(&exchange, move |tx| transactions::append(tx, &[entry]).map(drop)).await
}

#[tokio::test]
async fn impossible_entries_are_found() {
    let said = |found: Vec<String>, what: &str| {
        assert!(found.iter().any(|text| text.contains(what)), "{what}: {found:?}");
    };
    // With every forged entry, the stored balances differ too.
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
    // The entry contradicts the receipt of its fill.
    let better = |entry: &mut JournalEntry| {
        entry.receipt.as_mut().unwrap().quoted_price = "159.99".parse().unwrap();
    };
    said(forged(better).await, "fills at 160.00, better than the quoted price 159.99");
    let far = |entry: &mut JournalEntry| {
        entry.receipt.as_mut().unwrap().quoted_price = "1600.00".parse().unwrap();
    };
    said(forged(far).await, "fills at 160.00, far from the quoted price 1600.00");
    let overdrawn = |entry: &mut JournalEntry| {
        *entry = JournalEntry::cash(entry.portfolio_id, money("-860.01"), entry.timestamp);
    };
    said(forged(overdrawn).await, "leaves cash at -0.01");
}

/// A fill that was rounded cumulatively may differ by a cent from its own product, but not from its order's sum.
#[tokio::test]
async fn a_fill_that_is_a_cent_off_its_orders_sum_is_found() {
    let cumulative = |entry: &mut JournalEntry| {
        entry.receipt.as_mut().unwrap().rounding = Rounding::Cumulative;
        entry.amount = money("160.01");
        entry.realized_pnl = Some(money("10.01"));
    };
    let found = forged(cumulative).await;
    assert!(
        found.iter().any(|text| text.contains("books 160.01 for its shares, computed 160.00")),
        "{found:?}"
    );
    let two_cents = |entry: &mut JournalEntry| {
        entry.receipt.as_mut().unwrap().rounding = Rounding::Cumulative;
        entry.amount = money("160.02");
        entry.realized_pnl = Some(money("10.02"));
    };
    let found = forged(two_cents).await;
    assert!(found.iter().any(|text| text.contains("has amount 160.02, computed 160.00")), "{found:?}");
}

/// An order that filled in parts: by the current rule, and by the earlier rule, which rounded each part separately.
#[tokio::test]
async fn fills_are_checked_by_the_rounding_of_their_receipts() {
    let trading = TradingConfig { liquidity: Some("10".parse().unwrap()), ..TradingConfig::default() };
    let exchange = Exchange::trading(FixedPrices::new(), trading).await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.pass(TimeDelta::minutes(5));
    exchange.prices.set("AAPL", "0.3600");
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "30", limit("0.3569"))).await;
    for volume in [70, 110, 120] {
        exchange.prices.trade(exchange.now() + TimeDelta::seconds(1), "AAPL", "0.3565", volume);
        exchange.pass(TimeDelta::seconds(2));
        exchange.trading().match_orders().await.unwrap();
        exchange.assert_books_balance().await;
    }
    let order = exchange.trading().order(sam.reference(), id).await.unwrap();
    // 2.4955, 6.417 and 10.695 are rounded to 2.50, 6.42 and 10.70 (half-even: 10.69½ becomes 10.70).
    let amounts: Vec<String> = order.fills.iter().map(|fill| fill.amount.to_string()).collect();
    assert_eq!(amounts, ["-2.50", "-3.92", "-4.28"]);
    assert_eq!(order.order.filled_price.as_ref().unwrap().to_string(), "0.356500");
    assert_eq!(exchange.cash(sam).await, "989.30");

    // The same books in their earlier form: without a version, and each part rounded separately.
    exchange.database().sql("DROP TRIGGER transactions_append_only").ok();
    exchange.database().sql("ALTER TABLE transactions DISABLE TRIGGER USER").ok();
    let old = "UPDATE transactions SET rounding = NULL WHERE order_id IS NOT NULL";
    exchange.database().sql(old).unwrap();
    let found = complaints(&exchange).await;
    assert!(found.iter().any(|text| text.contains("differs from its fills in the journal")), "{found:?}");
    exchange.database().sql("UPDATE orders SET filled_amount = '10.70'").unwrap();
    assert_eq!(complaints(&exchange).await, [] as [&str; 0]);
}

#[tokio::test]
async fn an_entry_inserted_before_a_snapshot_is_found() {
    let exchange = Exchange::new().await;
    let sam = settled(&exchange).await;
    let earlier = JournalEntry::cash(sam.portfolio, money("5.00"), exchange.now() - TimeDelta::hours(2));
    let now = exchange.now();
    let found = after(&exchange, move |tx| {
        transactions::append(tx, &[earlier])?;
        save_cash(tx, sam.portfolio, "865.00", now)
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

/// A user who has traded, with a working bid and a working stop.
async fn waiting(exchange: &Exchange) -> Investor {
    let sam = settled(exchange).await;
    exchange.accepted(sam, gtc(Side::Buy, "AAPL", "2", limit("100"))).await;
    exchange.accepted(sam, gtc(Side::Sell, "AAPL", "0.5", stop("120"))).await;
    exchange.assert_books_balance().await;
    sam
}

/// Runs SQL, returns the differences that the check finds, and reverts the change with other SQL.
async fn tampered(exchange: &Exchange, change: &str, back: &str) -> Vec<String> {
    exchange.database().sql(change).unwrap();
    let found = complaints(exchange).await;
    exchange.database().sql(back).unwrap();
    exchange.assert_books_balance().await;
    found
}

#[tokio::test]
async fn a_reservation_without_an_order_is_found() {
    let exchange = Exchange::new().await;
    let sam = waiting(&exchange).await;
    let stock = exchange.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    let orders = exchange.all_orders(sam).await;
    let id = |status, side| {
        orders.iter().find(|one| one.order.status == status && one.order.side == side).unwrap().order.id
    };
    let (filled, bid) = (id(OrderStatus::Filled, Side::Buy), id(OrderStatus::Accepted, Side::Buy));
    let cash = |amount: &str| format!("UPDATE portfolios SET reserved_cash = '{amount}'");
    assert_eq!(
        tampered(&exchange, &cash("200.01"), &cash("200.00")).await,
        ["reserved_cash is 200.01, the orders reserve 200.00"]
    );
    let shares = |amount: &str| format!("UPDATE positions SET reserved_quantity = '{amount}'");
    assert_eq!(
        tampered(&exchange, &shares("0.4"), &shares("0.5")).await,
        [format!("reserved_quantity of stock {stock} is 0.4, the orders reserve 0.5")]
    );
    let keeps = |id, amount: &str| format!("UPDATE orders SET reserved_cash = '{amount}' WHERE id = '{id}'");
    assert_eq!(
        tampered(&exchange, &keeps(bid, "150.00"), &keeps(bid, "200.00")).await,
        ["reserved_cash is 200.00, the orders reserve 150.00"]
    );
    assert_eq!(
        tampered(&exchange, &keeps(filled, "1.00"), &keeps(filled, "0.00")).await,
        [
            format!("order {filled}: is in a final state and reserves cash or shares"),
            "reserved_cash is 200.00, the orders reserve 201.00".to_owned()
        ]
    );
    let other = "UPDATE orders SET stock_id = stock_id + 1 WHERE status = 'accepted' AND side = 'sell'";
    let back = "UPDATE orders SET stock_id = stock_id - 1 WHERE status = 'accepted' AND side = 'sell'";
    let found = tampered(&exchange, other, back).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("orders reserve 0.5 shares of stock "), "{found:?}");
}

#[tokio::test]
async fn orders_that_differ_from_their_fills_are_found() {
    let exchange = Exchange::new().await;
    let sam = waiting(&exchange).await;
    let orders = exchange.all_orders(sam).await;
    let bought = orders.iter().rev().find(|one| !one.fills.is_empty()).unwrap().order.id;
    let bid = orders.iter().find(|one| one.order.status == OrderStatus::Accepted).unwrap().order.id;
    let says = format!("order {bought}: differs from its fills in the journal");
    let set = |id, what: &str| format!("UPDATE orders SET {what} WHERE id = '{id}'");
    for (wrong, right) in [
        ("filled_amount = '300.01'", "filled_amount = '300.00'"),
        ("filled_price = '151'", "filled_price = '150.00'"),
        ("commission = '0.01'", "commission = '0.00'"),
        ("side = 'sell'", "side = 'buy'"),
        ("stock_id = stock_id + 1", "stock_id = stock_id - 1"),
    ] {
        assert_eq!(
            tampered(&exchange, &set(bought, wrong), &set(bought, right)).await,
            std::slice::from_ref(&says),
            "{wrong}"
        );
    }
    let found =
        tampered(&exchange, &set(bought, "filled_quantity = '1'"), &set(bought, "filled_quantity = '2'"))
            .await;
    assert_eq!(found, [says, format!("order {bought}: is filled with 1 shares filled")]);
    for (id, wrong, right, what) in [
        (
            bought,
            "status = 'accepted', filled_at = NULL",
            "status = 'filled', filled_at = submitted_at",
            "accepted with 2",
        ),
        (bought, "quantity = '3'", "quantity = '2'", "filled with 2"),
        (bid, "status = 'partially_filled'", "status = 'accepted'", "partially_filled with 0"),
    ] {
        assert_eq!(
            tampered(&exchange, &set(id, wrong), &set(id, right)).await,
            [format!("order {id}: is {what} shares filled")]
        );
    }
    let found = tampered(
        &exchange,
        "UPDATE portfolios SET archived_at = created_at",
        "UPDATE portfolios SET archived_at = NULL",
    )
    .await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|what| what.ends_with("is open in an archived portfolio")), "{found:?}");
}

#[tokio::test]
async fn a_fill_of_another_portfolios_order_is_found_on_both_sides() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "1000.00").await, exchange.investor("mia", "1000.00").await);
    let order = exchange.buy(sam, "AAPL", "1").await.unwrap().order;
    let entry = JournalEntry { portfolio_id: mia.portfolio, ..order.fills[0].clone() };
    let stock = entry.stock_id.unwrap();
    let now = exchange.now();
    let found = after(&exchange, move |tx| {
        transactions::append(tx, &[entry])?;
        let held = Position { quantity: quantity("1"), cost_basis: money("150"), realized_pnl: money("0") };
        save_position(tx, mia.portfolio, stock, &held)?;
        save_cash(tx, mia.portfolio, "850.00", now)
    })
    .await;
    assert_eq!(found, [format!("the journal has fills of order {}, which does not exist", order.order.id)]);
}

/// There are more rows than fit into memory at a time, so the portfolio is read in pages; the result is the same.
#[tokio::test]
async fn a_long_journal_is_checked_like_a_short_one() {
    const MORE: i64 = 25_000;
    let exchange = Exchange::new().await;
    exchange.investor("mia", "1.00").await;
    let sam = waiting(&exchange).await;
    exchange.investor("kim", "1.00").await;
    let numbers = if exchange.on_postgres() {
        format!("generate_series(1, {MORE})")
    } else {
        format!(
            "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MORE}) SELECT i FROM n)"
        )
    };
    // All rows have the time of the youngest one: whole pages have the same time.
    let id = sam.portfolio;
    let deposits = format!(
        "INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp) \
         SELECT {id}, 'deposit', '0.00', '0.01', (SELECT max(timestamp) FROM transactions WHERE portfolio_id = {id}) FROM {numbers} AS numbers"
    );
    exchange.database().sql(&deposits).unwrap();
    let deposited = complaints(&exchange).await;
    // The snapshot's day is not over at the time of the trades.
    assert!(
        deposited.iter().any(|what| what == "cash_balance is 860.00, the journal gives 1110.00"),
        "{deposited:?}"
    );
    exchange
        .database()
        .sql(&format!("UPDATE portfolios SET cash_balance = '1110.00' WHERE id = {id}"))
        .unwrap();
    exchange
        .write(move |tx| {
            let row = snapshots::window(tx, id, day("2026-11-20"), day("2026-11-20"))?.remove(0);
            let more = |amount: &Money| amount.clone() + &money("250.00");
            let (total_value, cash_balance, net_flow) =
                (more(&row.total_value), more(&row.cash_balance), more(&row.net_flow));
            snapshots::save(tx, &[Snapshot { total_value, cash_balance, net_flow, ..row }])
        })
        .await;
    let report = exchange.books().verify(|_, _| ()).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.portfolios, report.orders, report.snapshots), (3, 4, 2));
    assert_eq!(report.entries, usize::try_from(MORE).unwrap() + 5);

    for (change, back, complaint) in [
        (
            "UPDATE orders SET filled_amount = '1' WHERE status = 'filled' AND side = 'buy'",
            "UPDATE orders SET filled_amount = '300.00' WHERE status = 'filled' AND side = 'buy'",
            "differs from its fills in the journal",
        ),
        (
            "UPDATE orders SET reserved_quantity = '0.25' WHERE reserved_quantity = '0.5'",
            "UPDATE orders SET reserved_quantity = '0.5' WHERE reserved_quantity = '0.25'",
            "is 0.5, the orders reserve 0.25",
        ),
        (
            "UPDATE portfolio_snapshots SET positions_value = '155.01' WHERE positions_value = '155.00'",
            "UPDATE portfolio_snapshots SET positions_value = '155.00' WHERE positions_value = '155.01'",
            "positions_value is 155.01, the journal gives 155.00",
        ),
    ] {
        let found = tampered(&exchange, change, back).await;
        assert!(found.len() == 1 && found[0].ends_with(complaint), "{complaint}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_balance_at_every_moment_while_others_trade() {
    let exchange = Exchange::new().await;
    let other = exchange.another_process();
    let mut people = Vec::new();
    for number in 0..12 {
        people.push(exchange.investor(&format!("user{number}"), "10000.00").await);
    }
    let trade = async |services: &services::Services, salt: usize| {
        for (number, who) in people.iter().cycle().take(120).enumerate() {
            let command = match (number + salt) % 3 {
                0 => gtc(Side::Buy, "AAPL", "1", limit("140")),
                1 => gtc(Side::Buy, "AAPL", "1", limit("160")),
                _ => gtc(Side::Sell, "AAPL", "0.5", stop("120")),
            };
            let _ = services.trading().place_order(who.control(), command).await;
        }
    };
    let check = async || {
        for _ in 0..15 {
            exchange.assert_books_balance().await;
        }
    };
    tokio::join!(trade(&exchange, 0), trade(&other, 1), check());
    let mut told = Vec::new();
    let report = exchange.books().verify(|done, total| told.push((done, total))).await.unwrap();
    assert_eq!((report.portfolios, report.differences.len()), (12, 0));
    assert!(told.is_sorted() && told.last() == Some(&(12, 12)), "{told:?}");
}

#[tokio::test]
async fn a_journal_that_runs_backwards_is_found() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.pass(TimeDelta::seconds(10));
    exchange.deposit(sam, "1.00").await.unwrap();
    let earlier = JournalEntry::cash(sam.portfolio, money("5.00"), exchange.now() - TimeDelta::seconds(1));
    let now = exchange.now();
    let found = after(&exchange, move |tx| {
        transactions::append(tx, &[earlier])?;
        save_cash(tx, sam.portfolio, "1006.00", now)
    })
    .await;
    assert_eq!(found, ["transaction 3 is dated before transaction 2, which came first"]);
}
