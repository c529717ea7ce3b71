use domain::{Order, OrderId, OrderSize, Side, TimeInForce};
use persistence::StoreError;
use persistence::orders::{self, Filter};
use uuid::Uuid;

use crate::harness::{Db, buy, moment, money, price, shares};

fn named(order: Order, name: &str) -> Order {
    Order { client_order_id: Some(name.into()), ..order }
}

#[tokio::test]
async fn orders_come_back_as_stored_by_quantity_and_by_notional() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    let by_quantity = Order {
        size: OrderSize::Quantity(shares("999999999.999999999")),
        filled_quantity: shares("0.000000001"),
        filled_amount: money("0.00").into(),
        filled_price: Some(price("0.0001").into()),
        submitted_at: moment(0) + chrono::TimeDelta::microseconds(1),
        filled_at: Some(moment(0) + chrono::TimeDelta::microseconds(999_999)),
        ..buy(1, portfolio, stock, "AAPL")
    };
    let by_notional = Order {
        side: Side::Sell,
        size: OrderSize::Notional(money("999999999999999.99")),
        time_in_force: TimeInForce::Fok,
        filled_price: Some(price("10000000").into()),
        ..named(buy(2, portfolio, stock, "AAPL"), "my order")
    };
    for order in [by_quantity, by_notional] {
        let id = order.id;
        db.filled(&order).await;
        assert_eq!(db.read(move |tx| orders::of_portfolio(tx, portfolio, id)).await, Some(order));
    }
}

#[tokio::test]
async fn an_order_is_found_only_in_its_own_portfolio() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (own, other) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let stock = db.stock("AAPL").await;
    let order = named(buy(1, own, stock, "AAPL"), "first");
    let id = order.id;
    db.filled(&order).await;
    assert_eq!(db.read(move |tx| orders::of_portfolio(tx, other, id)).await, None);
    assert_eq!(db.read(move |tx| orders::by_client_order_ids(tx, &[(other, "first")])).await, []);
    assert!(db.read(move |tx| orders::page(tx, other, &Filter::default(), None, 10)).await.is_empty());
    let unknown = OrderId(Uuid::from_u128(2));
    assert_eq!(db.read(move |tx| orders::of_portfolio(tx, own, unknown)).await, None);
}

#[tokio::test]
async fn a_named_order_is_found_with_its_request() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    let order = named(buy(1, portfolio, stock, "AAPL"), "Order 1");
    let stored = order.clone();
    db.write(move |tx| orders::insert(tx, &[(&stored, "buy AAPL quantity=1 market day")])).await;
    db.filled(&buy(2, portfolio, stock, "AAPL")).await;
    let found = |name: &'static str| db.read(move |tx| orders::by_client_order_ids(tx, &[(portfolio, name)]));
    assert_eq!(found("Order 1").await, [(order, "buy AAPL quantity=1 market day".into())]);
    assert_eq!(found("order 1").await, [], "names are exact");
    assert_eq!(found("").await, []);
}

#[tokio::test]
async fn a_name_is_unique_within_its_portfolio() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let (one, two) = (db.portfolio(sam, "5").await.id, db.portfolio(sam, "5").await.id);
    let stock = db.stock("AAPL").await;
    db.filled(&named(buy(1, one, stock, "AAPL"), "first")).await;
    db.filled(&named(buy(2, two, stock, "AAPL"), "first")).await;
    for number in [3, 4] {
        db.filled(&buy(number, one, stock, "AAPL")).await;
    }
    let again = named(buy(5, one, stock, "AAPL"), "first");
    let again = db.try_write(move |tx| orders::insert(tx, &[(&again, "request")])).await;
    assert!(matches!(again, Err(StoreError::Duplicate(_))), "{again:?}");
}

#[tokio::test]
async fn an_order_has_a_quantity_or_a_notional_and_not_both() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    db.filled(&buy(1, portfolio, stock, "AAPL")).await;
    assert!(db.sql("UPDATE orders SET notional = '1'").is_err());
    assert!(db.sql("UPDATE orders SET quantity = NULL").is_err());
}

#[tokio::test]
async fn pages_go_newest_first_without_gap_or_repeat() {
    let db = Db::new().await;
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let stock = db.stock("AAPL").await;
    let mut expected = Vec::new();
    for number in 1..=7_u128 {
        // Ids of which the order as text and as a number must agree.
        let order = buy(number << 124 | (7 - number), portfolio, stock, "AAPL");
        db.filled(&order).await;
        expected.insert(0, order);
    }
    let mut seen: Vec<Order> = Vec::new();
    loop {
        let before = seen.last().map(|order| order.id);
        let page = db.read(move |tx| orders::page(tx, portfolio, &Filter::default(), before, 3)).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}
