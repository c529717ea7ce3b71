//! Import of transactions into a record of trades.

use chrono::TimeDelta;
use domain::{PortfolioKind, TransactionType};
use services::accounts::actor::Trader;
use services::books::import::{ImportReport, RowProblem, decode};
use services::{Error, NotFound};

use crate::harness::{Exchange, Investor, assert_not_found, day, money, named};

async fn record(exchange: &Exchange, name: &str) -> Investor {
    let user = exchange.user(name).await;
    let opening = named("At my broker", None);
    let kind = PortfolioKind::Record;
    let opened = exchange
        .books()
        .open_portfolio_of_kind_once(Trader::on_behalf_of(user), opening, kind, None)
        .await
        .unwrap();
    assert_eq!(opened.value.cash_balance, money("0"));
    Investor { user, portfolio: opened.value.id }
}

async fn import(exchange: &Exchange, who: Investor, csv: &str) -> ImportReport {
    exchange.books().import_transactions(who.control(), csv, false).await.unwrap()
}

/// `line column: message`.
fn messages(report: &ImportReport) -> Vec<String> {
    let issue = |issue: &services::books::import::RowIssue| {
        format!("{} {}: {}", issue.line, issue.column.unwrap_or("-"), issue.problem)
    };
    report.issues.iter().map(issue).collect()
}

fn lines(rows: &[&str]) -> String {
    let mut text = "date,action,symbol,quantity,price,fee,amount\n".to_owned();
    rows.iter().for_each(|row| text.push_str(&format!("{row}\n")));
    text
}

const BROKER: [&str; 4] = [
    "2026-11-02,deposit,,,,,5000",
    "2026-11-03,buy,AAPL,10,149.50,1.25,",
    "2026-11-05T15:30:00Z,Sell,aapl,4,152.12,1.25,",
    "2026-11-06,withdrawal,,,,,100.50",
];

#[tokio::test]
async fn a_brokers_file_is_booked_with_its_prices_fees_and_dates() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    let preview = exchange.books().import_transactions(sam.control(), &lines(&BROKER), true).await.unwrap();
    assert_eq!((preview.is_booked, preview.imported, messages(&preview)), (false, 4, Vec::new()));
    assert_eq!(exchange.journal(sam).await, [], "a dry run books nothing");
    let booked = import(&exchange, sam, &lines(&BROKER)).await;
    assert_eq!(booked, ImportReport { is_booked: true, ..preview });
    // 5000 − (1495.00 + 1.25) + (608.48 − 1.25) − 100.50
    assert_eq!(exchange.cash(sam).await, "4010.48");
    let (symbol, position) = &booked.positions[0];
    assert_eq!((symbol.as_str(), position.quantity.to_string()), ("AAPL", "6".into()));
    // 1496.25 × 6 / 10, and 607.23 less the rest.
    assert_eq!((&position.cost_basis, &position.realized_pnl), (&money("897.75"), &money("8.73")));
    let journal = exchange.journal(sam).await;
    let dates: Vec<String> = journal.iter().rev().map(|entry| entry.timestamp.to_rfc3339()).collect();
    assert_eq!(
        dates,
        ["2026-11-02T17:00:00Z", "2026-11-03T17:00:00Z", "2026-11-05T15:30:00Z", "2026-11-06T17:00:00Z"]
    );
    let receipt = journal[1].receipt.as_ref().unwrap();
    assert_eq!((receipt.rule.as_str(), receipt.source.as_str()), ("imported", "import"));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn the_same_rows_are_booked_once() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    import(&exchange, sam, &lines(&BROKER)).await;
    let cash = exchange.cash(sam).await;
    let again = import(&exchange, sam, &lines(&BROKER)).await;
    assert_eq!((again.imported, again.already_imported, messages(&again)), (0, 4, Vec::new()));
    // The broker's next file has the same rows, one of them twice, and a new one.
    let mut longer = BROKER.to_vec();
    longer.extend(["2026-11-06,withdrawal,,,,,100.50", "2026-11-09,sell,AAPL,1,150,0,"]);
    let next = import(&exchange, sam, &lines(&longer)).await;
    assert_eq!((next.imported, next.already_imported, messages(&next)), (2, 4, Vec::new()));
    assert_eq!(
        exchange.cash(sam).await,
        (cash.parse::<domain::Money>().unwrap() + &money("49.50")).to_string()
    );
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn each_problem_is_reported_with_its_row_and_nothing_is_booked() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    for (row, problem) in [
        ("yesterday,deposit,,,,,5", "date: write a day like 2026-11-20"),
        ("2027-01-01,deposit,,,,,5", "date: this is in the future"),
        ("2026-11-02,gift,,,,,5", "action: \"gift\" cannot be imported"),
        ("2026-11-02,deposit,,,,,", "amount: enter a value above zero"),
        ("11/12/2026,deposit,,,,,5", "date: \"11/12/2026\" has two meanings"),
        ("2026-11-02,deposit,,,,,\"1,000\"", "amount: 1,000 can mean 1000 or 1.000"),
        ("2026-11-02,deposit,,,,,\"1.23,456\"", "amount: write a number like 1234.50"),
        ("2026-11-02,deposit,,,,,-5", "amount: enter a value above zero"),
        ("2026-11-02,deposit,,,,1.25,5", "fee: deposits and withdrawals have no fee"),
        ("2026-11-02,deposit,AAPL,10,,,", "symbol: deposits and withdrawals are of cash"),
        ("2026-11-02,buy,AAPL,-1,100,,", "quantity: enter a value above zero"),
        ("2026-11-02,sell,AAPL,1,-100,,", "price: enter a value above zero"),
        ("2026-11-02,deposit,,,,,5.001", "amount: use at most 2 decimals"),
        ("2026-11-02,deposit,,,,,=1+1", "amount: write a number"),
        ("2026-11-02,buy,,1,100,,", "symbol: write a symbol"),
        ("2026-11-02,buy,NOPE,1,100,,", "symbol: no stock has the symbol NOPE"),
        ("2026-11-02,buy,AAPL,,100,,", "quantity: enter a value above zero"),
        ("2026-11-02,buy,AAPL,0,100,,", "quantity: enter a value above zero"),
        ("2026-11-02,buy,AAPL,1,,,", "price: enter a value above zero"),
        ("2026-11-02,buy,AAPL,1.0000000001,100,,", "quantity: use at most 9 decimals"),
        ("2026-11-02,buy,AAPL,1,100.123456789,,", "price: use at most 2 decimals"),
        ("2026-11-02,close_out,AAPL,1,,,100", "action: a close-out cannot be imported"),
        ("2026-11-02,exchange,AAPL,1,,,0", "action: a share exchange cannot be imported"),
        ("2026-11-02,reversal,AAPL,1,,,5", "action: a reversal cannot be imported"),
        ("2026-11-02,buy,AAPL,6,100,,", "amount: not enough cash: 600.00 is needed and 500.00 is available"),
        ("2026-11-02,withdrawal,,,,,500.01", "amount: not enough cash"),
        ("2026-11-02,sell,AAPL,1,100,,", "quantity: only 0 shares of AAPL are held"),
        ("2026-11-02,dividend,AAPL,,,,5", "action: this installation's price source has no such dividend"),
    ] {
        let file = lines(&["2026-11-01,deposit,,,,,500", row]);
        let report = import(&exchange, sam, &file).await;
        assert!(!report.is_booked, "{row}");
        let messages = messages(&report);
        assert_eq!(messages.len(), 1, "{row}: {messages:?}");
        assert!(messages[0].starts_with(&format!("3 {problem}")), "{row}: {messages:?}");
        assert_eq!(exchange.journal(sam).await, [], "{row}");
    }
    let many: Vec<String> = (0..5_001).map(|n| format!("2026-11-01,deposit,,,,,{}", n + 1)).collect();
    let many = lines(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for (file, problem) in [
        ("", "1 -: the first line must name the columns"),
        ("date,action,amount\n", "1 -: there is no row below"),
        ("a,b\n1,2\n", "1 -: the first line must name the columns"),
        (
            "Account 1234\n\ndate,action,amount\n2026-11-01,deposit,5\n",
            "1 -: the first line must name the columns",
        ),
        (
            "date,action,amount,amount\n2026-11-01,deposit,5,6\n",
            "1 -: the columns \"amount\" and \"amount\" both contain the amount",
        ),
        (
            "date,action,amount,Fee,Commission\n2026-11-01,deposit,5,0,0\n",
            "1 -: the columns \"Fee\" and \"Commission\" both contain the fee",
        ),
        (
            "date,action,amount,currency\n2026-11-01,deposit,5,EUR\n",
            "2 currency: amounts are in US dollars, not in EUR",
        ),
        ("sep=;\ndate;action;amount\n2026-11-01;gift;5\n", "3 action: \"gift\""),
        (
            "date,action,amount,note\r\n2026-11-01,deposit,5,\"a\r\nb\"\r\n\r\n2026-11-02,gift,5,\r\n",
            "5 action: \"gift\"",
        ),
        ("date,action,amount\n2026-11-01,deposit,\"5\n2026-11-02,deposit,6\n", "2 amount: write a number"),
        ("date,action,amount\n2026-11-01,deposit,\0\n", "2 -: the file contains a NUL byte"),
        (&*many, "5002 -: a file may have 5000 rows"),
    ] {
        let report = import(&exchange, sam, file).await;
        assert!(messages(&report)[0].starts_with(problem), "{:?}", messages(&report));
        assert!(!report.is_booked);
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn delimiter_decimal_mark_and_byte_order_mark_are_detected() {
    for (name, file) in [
        (
            "tabs",
            "Date\tAction\tTicker\tShares\tPrice\tFees\tAmount\n2026-11-02\tDeposit\t\t\t\t\t5000\n2026-11-03\tBuy\tAAPL\t10.5\t149.50\t1.25\t\n",
        ),
        (
            "commas",
            "\u{feff}date;action;symbol;quantity;price;fee;amount\r\n2026-11-02;deposit;;;;;5000\r\n2026-11-03;buy;AAPL;10,5;149,50;1,25;\r\n",
        ),
        (
            "newest first",
            "date,action,symbol,quantity,price,fee,amount\n2026-11-03,buy,AAPL,10.5,149.50,1.25,\n2026-11-02,deposit,,,,,5000\n",
        ),
        (
            "quotes and thousands",
            "Trade Date,Type,Symbol,Notes,Qty,Unit Price,Commission,Total\r\n\
             \"November 2, 2026\",Deposit,,\"said \"\"hello, you\"\"\",,,,\"$5,000.00\"\r\n\r\n\
             \"Nov 3, 2026\",Buy,AAPL,\"a\r\nb\",10.5,$149.50,-$1.25,\"-1,571.00\"\r\n",
        ),
        (
            "a spreadsheet's separator",
            "sep=;\r\nDate;Action;Symbol;Quantity;Price;Fee;Amount;Currency\r\n\
             02.11.2026;deposit;USD;;;;5.000,00;USD\r\n03.11.2026 09:45;buy;AAPL;10,5;149,50;1,25;;usd\r\n",
        ),
        (
            "months first",
            "date,action,symbol,quantity,price,fee,amount\n11/02/2026,deposit,,,,,5000\n11/03/2026,buy,AAPL,10.5,149.50,1.25,\n11/13/2026,deposit,,,,,0.01\n11/13/2026,withdrawal,,,,,-0.01\n",
        ),
    ] {
        let exchange = Exchange::new().await;
        let sam = record(&exchange, "sam").await;
        let report = import(&exchange, sam, file).await;
        let rows = if name == "months first" { 4 } else { 2 };
        assert_eq!((report.imported, messages(&report)), (rows, Vec::new()), "{name}");
        assert_eq!(exchange.cash(sam).await, "3429.00", "{name}");
    }
}

/// Brokers report the average price of an order. Prices here have ticks, so it becomes two fills with the exact amount.
#[tokio::test]
async fn a_price_between_two_ticks_is_booked_as_two_fills_of_one_order() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    let rows = [
        "2026-11-02,deposit,,,,,5000",
        "2026-11-03,buy,AAPL,10,149.5034,1.25,",
        "2026-11-04,sell,AAPL,5,152.1,0,",
        "2026-11-04,sell,AAPL,2.5,152.10001,1,",
        "2026-11-05,buy,MSFT,1000,0.12345,0,",
    ];
    let file = lines(&rows);
    let report = import(&exchange, sam, &file).await;
    assert_eq!((report.imported, messages(&report)), (5, Vec::new()));
    // 5000 − (1495.034 + 1.25) + 760.50 + (380.250025 − 1) − 123.45, each rounded to the cent.
    assert_eq!(exchange.cash(sam).await, "4520.02");
    let orders = exchange.all_orders(sam).await;
    let mut prices: Vec<String> =
        orders.iter().map(|order| order.order.filled_price.as_ref().unwrap().to_string()).collect();
    prices.sort();
    assert_eq!(prices, ["0.123450", "149.503400", "152.100000", "152.100010"]);
    assert_eq!(exchange.journal(sam).await.len(), 1 + 2 + 1 + 2 + 2);
    let again = import(&exchange, sam, &file).await;
    assert_eq!((again.imported, again.already_imported), (0, 5));
    let mut more = rows.to_vec();
    more.push("2026-11-06,sell,AAPL,3,150.123,0,");
    let refused = import(&exchange, sam, &lines(&more)).await;
    assert_eq!(messages(&refused), ["7 quantity: only 2.5 shares of AAPL are held; add the missing buy"]);
    more[5] = "2026-11-06,buy,AAPL,100,150.123,0,";
    let refused = import(&exchange, sam, &lines(&more)).await;
    assert_eq!(
        messages(&refused),
        ["7 amount: not enough cash: 15012.30 is needed and 4520.02 is available; add the missing deposit"]
    );
    exchange.assert_books_balance().await;
}

/// On 20 November at nine in New York, when noon is still to come.
#[tokio::test]
async fn rows_of_a_day_without_a_time_can_be_imported_on_that_day() {
    let exchange = Exchange::new().await;
    exchange.at("2026-11-20T14:00:00Z");
    let sam = record(&exchange, "sam").await;
    let mut rows = vec!["2026-11-20,deposit,,,,,5000", "2026-11-20,buy,AAPL,10,149.50,0,"];
    let report = import(&exchange, sam, &lines(&rows)).await;
    assert_eq!((report.imported, messages(&report)), (2, Vec::new()));
    let journal = exchange.journal(sam).await;
    assert!(journal.iter().all(|entry| entry.timestamp == exchange.now()), "{journal:?}");
    // Later on the day the file is the same and longer, and the portfolio was traded in meanwhile.
    exchange.at("2026-11-20T19:00:00Z");
    exchange.deposit(sam, "1.00").await.unwrap();
    exchange.at("2026-11-20T20:00:00Z");
    rows.push("2026-11-20,sell,AAPL,10,151.00,0,");
    let report = import(&exchange, sam, &lines(&rows)).await;
    assert_eq!((report.imported, report.already_imported, messages(&report)), (1, 2, Vec::new()));
    assert_eq!(exchange.cash(sam).await, "5016.00");
    let tomorrow = import(&exchange, sam, &lines(&["2026-11-21,deposit,,,,,5"])).await;
    assert!(messages(&tomorrow)[0].starts_with("2 date: this is in the future"), "{tomorrow:?}");
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_imports_at_once_one_books() {
    let exchange = Exchange::new().await;
    let mut overlapping = BROKER.to_vec();
    overlapping.push("2026-11-09,deposit,,,,,1");
    let files = [lines(&BROKER), lines(&BROKER), lines(&overlapping)];
    for round in 0..3 {
        let sam = record(&exchange, &format!("sam{round}")).await;
        let mut imports = tokio::task::JoinSet::new();
        for (services, csv) in [(*exchange).clone(), exchange.another_process(), exchange.another_process()]
            .into_iter()
            .zip(files.clone())
        {
            imports.spawn(async move {
                services.books().import_transactions(sam.control(), &csv, false).await.unwrap()
            });
        }
        let reports = imports.join_all().await;
        let imported: usize = reports.iter().map(|report| report.imported).sum();
        assert_eq!(imported, 5, "{reports:?}");
        assert!(reports.iter().all(|report| report.issues.is_empty()), "{reports:?}");
        assert_eq!(exchange.journal(sam).await.len(), 5);
        assert_eq!(exchange.cash(sam).await, "4011.48");
    }
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn an_import_that_fails_near_its_end_books_nothing() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    let since = exchange.books().portfolio(sam.reference()).await.unwrap().created_at;
    let (break_rows, mend_rows) = match exchange.on_postgres() {
        true => (
            "ALTER TABLE imported_rows ADD CONSTRAINT broken CHECK (line < 5)",
            "ALTER TABLE imported_rows DROP CONSTRAINT broken",
        ),
        false => (
            "CREATE TRIGGER broken BEFORE INSERT ON imported_rows WHEN NEW.line >= 5 \
             BEGIN SELECT RAISE(ABORT, 'broken'); END",
            "DROP TRIGGER broken",
        ),
    };
    exchange.database().sql(break_rows).unwrap();
    let failed = exchange.books().import_transactions(sam.control(), &lines(&BROKER), false).await;
    assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    assert_eq!(exchange.journal(sam).await, []);
    assert_eq!(exchange.all_orders(sam).await.len(), 0);
    assert_eq!(exchange.cash(sam).await, "0.00");
    let portfolio = exchange.books().portfolio(sam.reference()).await.unwrap();
    assert_eq!(portfolio.created_at, since);
    exchange.database().sql(mend_rows).unwrap();
    assert_eq!(import(&exchange, sam, &lines(&BROKER)).await.imported, 4);
    exchange.assert_books_balance().await;
}

/// The empty record had snapshots already, one of them on a day without a closing price.
#[tokio::test]
async fn snapshots_from_before_an_import_do_not_stay() {
    let exchange = Exchange::new().await;
    exchange.prices.set_close("AAPL", day("2026-11-20"), "160.00");
    exchange.prices.set_close("AAPL", day("2026-11-22"), "161.00");
    let sam = record(&exchange, "sam").await;
    for _ in 0..3 {
        exchange.pass(TimeDelta::days(1));
        exchange.work().await;
    }
    let values = async || -> Vec<String> {
        let rows = exchange.rows(sam).await.into_iter();
        rows.filter(|row| !row.provisional).map(|row| format!("{} {}", row.date, row.total_value)).collect()
    };
    assert_eq!(values().await, ["2026-11-20 0.00", "2026-11-21 0.00", "2026-11-22 0.00"]);
    let rows = ["2026-11-20T15:00:00Z,deposit,,,,,5000", "2026-11-20T15:00:01Z,buy,AAPL,10,150,0,"];
    assert!(import(&exchange, sam, &lines(&rows)).await.is_booked);
    exchange.work().await;
    let values = values().await;
    assert!(values.iter().all(|value| !value.ends_with(" 0.00")), "{values:?}");
    assert!(values.contains(&"2026-11-20 5100.00".to_owned()), "{values:?}");
    assert!(values.contains(&"2026-11-22 5110.00".to_owned()), "{values:?}");
}

#[test]
fn files_in_unicode_are_decoded_and_others_are_not() {
    let text = "date,action\n";
    let units = |order: fn(u16) -> [u8; 2], mark: [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(order)).collect()
    };
    assert_eq!(decode(text.as_bytes().to_vec()).as_deref(), Some(text));
    assert_eq!(decode(units(u16::to_le_bytes, [0xff, 0xfe])).as_deref(), Some(text));
    assert_eq!(decode(units(u16::to_be_bytes, [0xfe, 0xff])).as_deref(), Some(text));
    for broken in [vec![0xff, 0xfe, 0x41], vec![0xff, 0xfe, 0x00, 0xd8], b"caf\xe9".to_vec()] {
        assert_eq!(decode(broken.clone()), None, "{broken:?}");
    }
}

#[tokio::test]
async fn older_rows_than_the_newest_transaction_are_refused() {
    let exchange = Exchange::new().await;
    let sam = record(&exchange, "sam").await;
    import(&exchange, sam, &lines(&BROKER)).await;
    let report = import(&exchange, sam, &lines(&["2026-11-04,deposit,,,,,5"])).await;
    assert!(matches!(report.issues[0].problem, RowProblem::OlderThanPortfolio { .. }), "{report:?}");
}

#[tokio::test]
async fn only_a_record_takes_imports_and_only_its_owners() {
    let exchange = Exchange::new().await;
    let (sam, practice) = (record(&exchange, "sam").await, exchange.investor("eve", "100").await);
    let csv = lines(&BROKER);
    let refused = exchange.books().import_transactions(practice.control(), &csv, true).await;
    assert!(matches!(refused, Err(Error::NotARecord)), "{refused:?}");
    let foreign =
        exchange.books().import_transactions(practice.trader().portfolio(sam.portfolio), &csv, true).await;
    assert_not_found(NotFound::Portfolio, foreign);
    exchange.books().reset_portfolio(sam.control(), None).await.unwrap();
    let over = exchange.books().import_transactions(sam.control(), &csv, true).await;
    assert!(matches!(over, Err(Error::Archived)), "{over:?}");
}

#[tokio::test]
async fn the_snapshots_of_past_days_are_taken() {
    let exchange = Exchange::new().await;
    for n in 2..=19 {
        exchange.prices.set_close("AAPL", day(&format!("2026-11-{n:02}")), &format!("{}.00", 140 + n));
    }
    // The worker has taken the snapshots of the sessions before.
    exchange.investor("eve", "100").await;
    exchange.pass(TimeDelta::days(1));
    exchange.prices.set_close("AAPL", day("2026-11-20"), "160.00");
    exchange.work().await;
    let sam = record(&exchange, "sam").await;
    import(&exchange, sam, &lines(&BROKER)).await;
    exchange.work().await;
    let rows = exchange.rows(sam).await;
    let value = |on: &str| rows.iter().find(|row| row.date == day(on)).map(|row| row.total_value.to_string());
    // 3503.75 and ten shares at 144; then 4010.48 and six shares.
    assert_eq!(value("2026-11-04").as_deref(), Some("4943.75"));
    assert_eq!(value("2026-11-19").as_deref(), Some("4964.48"));
    assert_eq!(rows.first().map(|row| row.date), Some(day("2026-11-02")));
    let types: Vec<TransactionType> =
        exchange.journal(sam).await.iter().map(|entry| entry.transaction_type).collect();
    assert_eq!(types.len(), 4);
    exchange.assert_books_balance().await;
}
