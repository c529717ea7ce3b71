use chrono::TimeDelta;
use domain::{PortfolioRef, TransactionFilter, TransactionType};
use services::books::transactions::{Cursor, NamedEntry};

use services::NotFound;

use crate::harness::{Exchange, Investor, assert_not_found, symbol};

/// A deposit, a buy of AAPL, a buy of MSFT, a sell of AAPL and a withdrawal, a minute apart, then two deposits at the
/// same time.
async fn busy(exchange: &Exchange) -> Investor {
    let sam = exchange.investor("sam", "10000.00").await;
    let minute = TimeDelta::minutes(1);
    exchange.pass(minute);
    exchange.buy(sam, "AAPL", "3").await.unwrap();
    exchange.pass(minute);
    exchange.buy(sam, "MSFT", "2").await.unwrap();
    exchange.pass(minute);
    exchange.sell(sam, "AAPL", "1").await.unwrap();
    exchange.pass(minute);
    exchange.withdraw(sam, "5.00").await.unwrap();
    exchange.pass(minute);
    exchange.deposit(sam, "6.00").await.unwrap();
    exchange.deposit(sam, "7.00").await.unwrap();
    sam
}

async fn found(exchange: &Exchange, who: Investor, filter: TransactionFilter) -> Vec<String> {
    let page = exchange.books().transactions(who.reference(), filter, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(named).collect()
}

fn named(row: &NamedEntry) -> String {
    let symbol = row.symbol.as_ref().map_or(String::new(), |symbol| format!(" {symbol}"));
    format!("{}{symbol} {}", row.entry.transaction_type, row.entry.amount)
}

#[tokio::test]
async fn the_journal_is_listed_newest_first() {
    let exchange = Exchange::new().await;
    let sam = busy(&exchange).await;
    exchange.investor("mia", "1.00").await;
    assert_eq!(
        found(&exchange, sam, TransactionFilter::default()).await,
        [
            "deposit 7.00",
            "deposit 6.00",
            "withdrawal -5.00",
            "sell AAPL 150.00",
            "buy MSFT -800.00",
            "buy AAPL -450.00",
            "deposit 10000.00"
        ]
    );
}

#[tokio::test]
async fn pages_have_no_gap_even_within_one_instant() {
    let exchange = Exchange::new().await;
    let sam = busy(&exchange).await;
    let whole = exchange.journal(sam).await;
    for limit in [1, 2, 3, 7] {
        let mut read = Vec::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let page = exchange
                .books()
                .transactions(sam.reference(), TransactionFilter::default(), cursor, limit)
                .await
                .unwrap();
            assert!(page.items.len() == limit || page.next.is_none());
            read.extend(page.items.into_iter().map(|row| row.entry));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(read, whole, "in pages of {limit}");
    }
}

#[tokio::test]
async fn filters_by_symbol_type_and_time_can_be_combined() {
    let exchange = Exchange::new().await;
    let opened = exchange.now();
    let sam = busy(&exchange).await;
    let of = |minutes| Some(opened + TimeDelta::minutes(minutes));
    let aapl = || TransactionFilter { symbol: Some(symbol("AAPL")), ..TransactionFilter::default() };
    assert_eq!(found(&exchange, sam, aapl()).await, ["sell AAPL 150.00", "buy AAPL -450.00"]);
    let buys =
        || TransactionFilter { transaction_type: Some(TransactionType::Buy), ..TransactionFilter::default() };
    assert_eq!(found(&exchange, sam, buys()).await, ["buy MSFT -800.00", "buy AAPL -450.00"]);
    assert_eq!(
        found(&exchange, sam, TransactionFilter { symbol: Some(symbol("AAPL")), ..buys() }).await,
        ["buy AAPL -450.00"]
    );
    // The start of the interval is included, its end is not.
    let between = TransactionFilter { from: of(1), until: of(3), ..TransactionFilter::default() };
    assert_eq!(found(&exchange, sam, between).await, ["buy MSFT -800.00", "buy AAPL -450.00"]);
    assert_eq!(
        found(&exchange, sam, TransactionFilter { from: of(2), ..aapl() }).await,
        ["sell AAPL 150.00"]
    );
    let unknown = TransactionFilter { symbol: Some(symbol("NOSUCH")), ..TransactionFilter::default() };
    assert_eq!(found(&exchange, sam, unknown).await, [""; 0]);
}

#[tokio::test]
async fn external_flows_are_only_deposits_and_withdrawals() {
    let exchange = Exchange::new().await;
    let opened = exchange.now();
    let sam = busy(&exchange).await;
    let flows = exchange.books().external_flows(sam.reference()).await.unwrap();
    let flows: Vec<(i64, String)> =
        flows.into_iter().map(|(at, amount)| ((at - opened).num_minutes(), amount.to_string())).collect();
    let expected = [(0, "10000.00"), (4, "-5.00"), (5, "6.00"), (5, "7.00")];
    assert_eq!(flows, expected.map(|(minute, amount)| (minute, amount.to_owned())));
}

#[tokio::test]
async fn a_page_costs_one_statement_and_checks_the_owner_when_empty() {
    let exchange = Exchange::new().await;
    let sam = busy(&exchange).await;
    let mia = exchange.investor("mia", "0").await;
    let before = exchange.statements();
    assert_eq!(exchange.journal(sam).await.len(), 7);
    assert_eq!(exchange.statements() - before, 1);
    assert_eq!(exchange.journal(mia).await, []);
    for filter in [
        TransactionFilter::default(),
        TransactionFilter { symbol: Some(symbol("AAPL")), ..TransactionFilter::default() },
    ] {
        let stolen =
            exchange.books().transactions(PortfolioRef::new(mia.user, sam.portfolio), filter, None, 10).await;
        assert_not_found(NotFound::Portfolio, stolen);
    }
}
