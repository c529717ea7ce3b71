use domain::StockId;
use persistence::{StoreError, watchlists};

use crate::harness::{Db, moment};

#[tokio::test]
async fn a_list_is_created_renamed_and_deleted_with_its_items() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let stock = db.stock("AAPL").await;
    let list = db.write(move |tx| watchlists::insert(tx, sam, "Tech", moment(0))).await;
    let id = list.id;
    assert_eq!((list.name.as_str(), list.created_at), ("Tech", moment(0)));
    db.write(move |tx| watchlists::rename(tx, id, "Technology")).await;
    db.write(move |tx| watchlists::add_item(tx, id, stock, moment(0))).await;
    assert_eq!(db.read(move |tx| watchlists::owned(tx, id, sam)).await.unwrap().name, "Technology");
    db.write(move |tx| watchlists::delete(tx, id)).await;
    assert_eq!((db.count("watchlists"), db.count("watchlist_items"), db.count("stocks")), (0, 0, 1));
}

#[tokio::test]
async fn another_users_list_is_not_found() {
    let db = Db::new().await;
    let (sam, eve) = (db.user("sam").await.id, db.user("eve").await.id);
    let first = db.write(move |tx| watchlists::insert(tx, sam, "One", moment(0))).await;
    let second = db.write(move |tx| watchlists::insert(tx, sam, "Two", moment(0))).await;
    let id = first.id;
    assert_eq!(db.read(move |tx| watchlists::owned(tx, id, eve)).await, None);
    assert_eq!(db.read(move |tx| watchlists::owned(tx, id, sam)).await.as_ref(), Some(&first));
    assert_eq!(db.read(move |tx| watchlists::of_user(tx, sam)).await, [first, second]);
    assert!(db.read(move |tx| watchlists::of_user(tx, eve)).await.is_empty());
}

#[tokio::test]
async fn items_keep_the_order_in_which_they_were_added() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (apple, tesla, cola) = (db.stock("AAPL").await, db.stock("TSLA").await, db.stock("KO").await);
    let list = db.write(move |tx| watchlists::insert(tx, sam, "Tech", moment(0))).await.id;
    for (stock, second) in [(tesla, 1), (cola, 2), (apple, 2), (tesla, 9)] {
        db.write(move |tx| watchlists::add_item(tx, list, stock, moment(second))).await;
    }
    let ids = |stocks: Vec<domain::Stock>| stocks.iter().map(|stock| stock.id).collect::<Vec<StockId>>();
    assert_eq!(ids(db.read(move |tx| watchlists::items(tx, list)).await), [tesla, apple, cola]);
    assert!(db.write(move |tx| watchlists::remove_item(tx, list, tesla)).await);
    assert!(!db.write(move |tx| watchlists::remove_item(tx, list, tesla)).await);
    assert_eq!(ids(db.read(move |tx| watchlists::items(tx, list)).await), [apple, cola]);
}

#[tokio::test]
async fn an_unknown_stock_cannot_be_watched() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let list = db.write(move |tx| watchlists::insert(tx, sam, "Tech", moment(0))).await.id;
    let refused = db.try_write(move |tx| watchlists::add_item(tx, list, StockId(99), moment(0))).await;
    assert!(matches!(refused, Err(StoreError::MissingReference(_))), "{refused:?}");
}
