use domain::{JournalEntry, Position, Quantity};
use persistence::{holdings, portfolios};

use crate::harness::{Db, append, moment, money, save_position, shares};

#[tokio::test]
async fn one_statement_reads_a_portfolio_with_its_positions() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    let portfolio = db.portfolio(sam, "5").await;
    let other = db.portfolio(sam, "7").await;
    let id = portfolio.id;
    let (msft, aapl) = (db.stock("MSFT").await, db.stock("AAPL").await);
    let held = Position {
        quantity: shares("999999999.999999999"),
        cost_basis: money("123456789012345.67"),
        realized_pnl: money("-0.01"),
    };
    let sold_out =
        Position { quantity: Quantity::zero(), cost_basis: money("0"), realized_pnl: money("100.00") };
    let saved = [(msft, sold_out.clone()), (aapl, held.clone())];
    db.write(move |tx| {
        for (stock, position) in &saved {
            save_position(tx, id, *stock, position)?;
        }
        save_position(tx, other.id, aapl, &saved[0].1)
    })
    .await;
    let mut newest = None;
    for (amount, at) in [("1", 3), ("2", 3), ("3", 9)] {
        let cash = JournalEntry::cash(id, money(amount), moment(at));
        newest = db.write(move |tx| append(tx, cash)).await.id;
    }
    let cash = JournalEntry::cash(other.id, money("4"), moment(10));
    db.write(move |tx| append(tx, cash)).await;

    let before = db.statements();
    let found = db.query(move |statement| holdings::of_portfolio(statement, id, sam)).await.unwrap();
    assert_eq!(db.statements() - before, 1);
    assert_eq!((found.portfolio, found.newest_entry), (portfolio, newest));
    let rows: Vec<(String, Position)> = found
        .positions
        .into_iter()
        .map(|(stock, position, _)| (stock.listing.symbol.to_string(), position))
        .collect();
    assert_eq!(rows, [("AAPL".to_owned(), held), ("MSFT".to_owned(), sold_out)], "in order of symbol");
    assert_eq!(db.query(move |statement| holdings::of_portfolio(statement, id, eve)).await, None);
    db.write(move |tx| portfolios::delete(tx, id, sam)).await;
    assert_eq!(db.query(move |statement| holdings::of_portfolio(statement, id, sam)).await, None);
}

#[tokio::test]
async fn an_empty_portfolio_is_found_too() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await;
    let id = portfolio.id;
    let found = db.query(move |statement| holdings::of_portfolio(statement, id, sam)).await.unwrap();
    assert_eq!((found.portfolio, found.newest_entry), (portfolio, None));
    assert_eq!(found.positions, []);
}
