//! Books that older versions of the program left wrong around splits: the faults are found, repaired by reversal lines,
//! and gone afterwards.

use domain::corporate_action::{CorporateAction, CorporateActionKind};
use domain::{Bar, OrderStatus, Side, SplitRatio, TransactionType};
use persistence::{snapshots, stocks};
use services::accounts::actor::Administrator;
use services::books::repair::Repaired;
use services::books::verify::Report;
use services::corporate_actions::splits::SplitResolution;
use services::testing::FixedPrices;

use super::harness::{Exchange, Investor, day, gtc, limit, moment, money, price, symbol};

/// The split takes effect at midnight in New York on Monday.
const OPEN: &str = "2026-11-23T05:00:00Z";

fn ratio(text: &str) -> SplitRatio {
    text.parse().unwrap()
}

/// AAPL closed at 90.00 before a split that is announced as `told`, and costs `after` since then. The market confirms
/// every announced split.
async fn market(told: &str, after: &str) -> (Exchange, Investor) {
    market_with_bars_from(["fixed", "fixed"], told, after).await
}

/// Like [`market`], with the stored bars before and after the split from these sources.
async fn market_with_bars_from(sources: [&'static str; 2], told: &str, after: &str) -> (Exchange, Investor) {
    let prices = FixedPrices::new();
    let SplitRatio { numerator, denominator } = ratio(told);
    let kind = CorporateActionKind::Split { numerator, denominator };
    prices.announce(
        moment("2026-11-20T00:00:00Z"),
        CorporateAction::new(symbol("AAPL"), day("2026-11-23"), kind),
    );
    prices.set("AAPL", "90.00");
    prices.set_from(moment(OPEN), "AAPL", after);
    for (date, close) in [("2026-11-20", "90.00"), ("2026-11-21", "90.00"), ("2026-11-22", "90.00")] {
        prices.set_close("AAPL", day(date), close);
    }
    for date in ["2026-11-23", "2026-11-24", "2026-11-25"] {
        prices.set_close("AAPL", day(date), after);
    }
    let exchange = Exchange::with(prices).await;
    let sam = exchange.investor("sam", "10000").await;
    exchange.buy(sam, "AAPL", "100").await.unwrap();
    exchange.corporate_actions().learn_corporate_actions().await.unwrap();
    let stock = exchange.instruments().stored_stock(&symbol("AAPL")).await.unwrap().id;
    for (source, (date, close)) in sources.into_iter().zip([("2026-11-22", "90.00"), ("2026-11-23", after)]) {
        let [open, high, low, close] = [close; 4].map(price);
        let bar = Bar { date: day(date), open, high, low, close, volume: 1 };
        exchange.write(move |tx| stocks::save_bars(tx, stock, source, &[bar])).await;
    }
    (exchange, sam)
}

async fn report(exchange: &Exchange) -> Report {
    exchange.books().verify(|_, _| ()).await.unwrap()
}

fn told(report: &Report) -> Vec<&str> {
    report.differences.iter().map(|difference| difference.what.as_str()).collect()
}

async fn shares(exchange: &Exchange, who: Investor) -> String {
    let valued = exchange.books().valuation(who.reference()).await.unwrap().valuation;
    valued.holdings.first().map_or_else(|| "0".into(), |holding| holding.position.quantity.to_string())
}

/// The split is ten for one. In the first hours the price is converted twice, and Sam buys 1,000 shares at a tenth of
/// their price.
async fn bought_at_a_tenth() -> (Exchange, Investor) {
    let (exchange, sam) = market("10:1", "9.00").await;
    exchange.prices.set_from(moment("2026-11-23T12:00:00Z"), "AAPL", "0.90");
    exchange.prices.set_from(moment("2026-11-23T13:00:00Z"), "AAPL", "9.00");
    exchange.at("2026-11-23T12:30:00Z");
    exchange.buy(sam, "AAPL", "1000").await.unwrap();
    exchange.at("2026-11-23T14:00:00Z");
    (exchange, sam)
}

#[tokio::test]
async fn a_fill_in_the_wrong_shares_is_found_and_reversed() {
    let (exchange, sam) = bought_at_a_tenth().await;
    let open = exchange.accepted(sam, gtc(Side::Sell, "AAPL", "1500", limit("20.00"))).await;
    assert_eq!((shares(&exchange, sam).await, exchange.cash(sam).await), ("2000".into(), "100.00".into()));
    let found = report(&exchange).await;
    let [what] = &told(&found)[..] else { panic!("{found:?}") };
    assert!(what.contains("fills on a quoted price of 0.9000") && what.contains("closed at 9.00"), "{what}");

    let repaired = exchange.books().repair(&found).await.unwrap();
    assert_eq!(repaired, Repaired { fills: 1, ..Repaired::default() });
    assert_eq!((shares(&exchange, sam).await, exchange.cash(sam).await), ("1000".into(), "1000.00".into()));
    let order = exchange.look(sam, open).await;
    assert_eq!(order.status, OrderStatus::Canceled);
    assert!(order.reject_reason.unwrap().contains("the books of this stock were corrected"));
    let newest = exchange.journal(sam).await.remove(0);
    assert_eq!((newest.transaction_type, newest.amount), (TransactionType::Reversal, money("900")));
    exchange.assert_books_balance().await;
    assert_eq!(exchange.books().repair(&found).await.unwrap().fills, 0, "a second time changes nothing");
    exchange.sell(sam, "AAPL", "1000").await.unwrap();
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn sales_of_shares_that_never_existed_are_reversed_too() {
    let (exchange, sam) = bought_at_a_tenth().await;
    exchange.sell(sam, "AAPL", "300").await.unwrap();
    exchange.sell(sam, "AAPL", "1200").await.unwrap();
    let found = report(&exchange).await;
    assert_eq!(told(&found).len(), 1, "{found:?}");
    // The proceeds have been withdrawn.
    exchange.withdraw(sam, "13000").await.unwrap();
    let left = exchange.books().repair(&found).await.unwrap().left;
    assert!(
        matches!(&left[..], [(id, why)] if *id == sam.portfolio && why.contains("more cash is needed")),
        "{left:?}"
    );
    assert_eq!(shares(&exchange, sam).await, "500");
    exchange.deposit(sam, "13000").await.unwrap();
    // Of the 1,000 earlier shares, the sale of 300 was correct; the sale of 1,200 was not possible.
    assert_eq!(exchange.books().repair(&found).await.unwrap().fills, 2);
    assert_eq!((shares(&exchange, sam).await, exchange.cash(sam).await), ("700".into(), "3700.00".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn prices_of_two_sources_do_not_contradict_each_other() {
    // The source was changed at the split, or after the fill: the prices differ, but the books are right.
    for sources in [["before", "fixed"], ["fixed", "later"]] {
        let (exchange, sam) = market_with_bars_from(sources, "10:1", "90.00").await;
        exchange.at("2026-11-23T14:00:00Z");
        exchange.corporate_actions().apply_corporate_actions().await.unwrap();
        assert_eq!(shares(&exchange, sam).await, "1000");
        assert_eq!(told(&report(&exchange).await), [""; 0], "{sources:?}");
    }
    let (exchange, sam) = market_with_bars_from(["fixed", "later"], "10:1", "9.00").await;
    exchange.prices.set_from(moment("2026-11-23T12:00:00Z"), "AAPL", "90.00");
    exchange.at("2026-11-23T12:30:00Z");
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert_eq!(told(&report(&exchange).await), [""; 0]);
}

#[tokio::test]
async fn a_split_contradicted_by_closes_is_found_and_reversed() {
    let (exchange, sam) = market("20:1", "45.00").await;
    let mia = exchange.investor("mia", "10000").await;
    exchange.buy(mia, "AAPL", "10").await.unwrap();
    exchange.at("2026-11-23T14:00:00Z");
    exchange.corporate_actions().apply_corporate_actions().await.unwrap();
    assert_eq!(shares(&exchange, sam).await, "2000");
    let found = report(&exchange).await;
    assert_eq!(
        told(&found),
        ["AAPL/2026-11-23/split leads to a price of about 4.50, and the first close after it is 45.00"; 2]
    );
    let repaired = exchange.books().repair(&found).await.unwrap();
    assert_eq!((repaired.splits, repaired.left.len()), (1, 0));
    assert_eq!((shares(&exchange, sam).await, shares(&exchange, mia).await), ("100".into(), "10".into()));
    exchange.assert_books_balance().await;
    let correct = SplitResolution::Correct(ratio("2:1"));
    exchange
        .corporate_actions()
        .resolve_split(&Administrator::operator("ada"), &symbol("AAPL"), correct, "The company says so.")
        .await
        .unwrap();
    assert_eq!((shares(&exchange, sam).await, shares(&exchange, mia).await), ("200".into(), "20".into()));
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_snapshot_in_the_wrong_shares_is_found_and_taken_again() {
    let (exchange, sam) = market("10:1", "9.00").await;
    exchange.at("2026-11-24T05:30:00Z");
    exchange.work().await;
    exchange.assert_books_balance().await;
    let mut wrong = exchange.rows(sam).await.into_iter().find(|row| row.date == day("2026-11-23")).unwrap();
    // The wrong snapshot values the shares after the split at a price from before the split.
    wrong.positions_value = money("90000");
    wrong.total_value = money("91000");
    exchange.write(move |tx| snapshots::save(tx, &[wrong])).await;
    let found = report(&exchange).await;
    assert_eq!(told(&found).len(), 2, "{found:?}");
    assert!(exchange.books().repair(&found).await.unwrap().sessions > 0);
    exchange.assert_books_balance().await;
}
