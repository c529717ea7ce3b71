use domain::{PortfolioId, Position, Quantity};
use persistence::positions::HeldShares;
use persistence::{StoreError, positions};

use crate::harness::{Db, money, position_of, save_position, shares};

fn position(quantity: Quantity, cost_basis: &str, realized_pnl: &str) -> Position {
    Position { quantity, cost_basis: money(cost_basis), realized_pnl: money(realized_pnl) }
}

#[tokio::test]
async fn quantities_and_costs_are_exact() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    assert_eq!(db.read(move |tx| position_of(tx, portfolio, stock)).await, None);
    for expected in [
        position(shares("0.000000001"), "0.01", "-0.01"),
        position(shares("999999999.999999999"), "999999999999999.99", "-999999999999999.99"),
        position(shares("1000000000"), "1000000000000000", "0"),
        position(Quantity::zero(), "0", "123456789012345.67"),
        position(shares("10.5"), "0.10", "0"),
    ] {
        let saved = expected.clone();
        db.write(move |tx| save_position(tx, portfolio, stock, &saved)).await;
        let stored = db.read(move |tx| position_of(tx, portfolio, stock)).await.unwrap().0;
        assert_eq!(stored.quantity.to_string(), expected.quantity.to_string());
        assert_eq!(stored.cost_basis.to_string(), expected.cost_basis.to_string());
        assert_eq!(stored, expected);
    }
    assert_eq!(db.count("positions"), 1, "saved again is the same row");
}

#[tokio::test]
async fn the_database_rejects_negative_shares_and_costs() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    db.write(move |tx| save_position(tx, portfolio, stock, &position(shares("1"), "5", "0"))).await;
    let refused = db
        .try_write(move |tx| save_position(tx, portfolio, stock, &position(shares("1"), "-0.01", "0")))
        .await;
    assert!(matches!(refused, Err(StoreError::Query(_))), "{refused:?}");
    assert!(db.sql("UPDATE positions SET quantity = '-0.000000001'").is_err());
}

#[tokio::test]
async fn holdings_include_their_stocks_ordered_by_symbol() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (one, two, none) =
        (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let (tesla, apple) = (db.stock("TSLA").await, db.stock("AAPL").await);
    let (held, sold) = (position(shares("2"), "20", "0"), position(Quantity::zero(), "0", "7"));
    let (first, second) = (held.clone(), sold.clone());
    db.write(move |tx| {
        save_position(tx, one, tesla, &first)?;
        save_position(tx, one, apple, &second)?;
        save_position(tx, two, apple, &first)
    })
    .await;
    let listed = db.read(move |tx| positions::of_portfolio(tx, one)).await;
    let listed: Vec<_> =
        listed.into_iter().map(|(stock, position, _)| (stock.listing.symbol.to_string(), position)).collect();
    assert_eq!(listed, [("AAPL".to_owned(), sold.clone()), ("TSLA".to_owned(), held.clone())]);

    let several = db.read(move |tx| positions::of_portfolios(tx, &[two, one, none])).await;
    assert_eq!(several[&one], [(tesla, held.clone()), (apple, sold)]);
    assert_eq!(several[&two], [(apple, held)]);
    assert!(!several.contains_key(&none));
    let shares_of = |ids: Vec<PortfolioId>| db.read(move |tx| positions::shares_of(tx, &ids));
    let of = |rows: Vec<HeldShares>| {
        let row = |row: HeldShares| (row.portfolio_id, row.stock_id, row.quantity.to_string());
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    let all = [(one, tesla, "2".to_owned()), (one, apple, "0".to_owned()), (two, apple, "2".to_owned())];
    assert_eq!(of(shares_of(vec![one, two, none]).await), all, "in order of portfolio and stock");
    assert_eq!(of(shares_of(vec![one]).await), all[..2]);
    assert_eq!(of(shares_of(vec![two, none]).await), all[2..]);
    assert_eq!(of(shares_of(vec![]).await), []);
    let far = PortfolioId(none.0 + 1_000_000);
    assert_eq!(of(shares_of(vec![two, far]).await), all[2..]);
    assert_eq!(of(shares_of(vec![one, far]).await), all[..2], "not all portfolios between them are read");
}
