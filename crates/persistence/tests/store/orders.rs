use domain::{
    Order, OrderClass, OrderFilter, OrderId, OrderSize, OrderStatus, Side, SortDirection, TimeInForce,
    Timestamp,
};
use persistence::StoreError;
use persistence::order_list;
use persistence::orders;
use uuid::Uuid;

use crate::harness::{Db, buy, moment, money, price, shares};

fn named(order: Order, name: &str) -> Order {
    Order { client_order_id: Some(name.into()), ..order }
}

#[tokio::test]
async fn orders_by_quantity_and_by_notional_are_read_as_stored() {
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
    assert!(
        db.read(move |tx| order_list::page(tx, other, &OrderFilter::default(), None, 10)).await.is_empty()
    );
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
        // The order of these ids must be the same as text and as numbers.
        let order = buy(number << 124 | (7 - number), portfolio, stock, "AAPL");
        db.filled(&order).await;
        expected.insert(0, order);
    }
    let mut seen: Vec<Order> = Vec::new();
    loop {
        let last = seen.last().map(|order| (order.submitted_at, order.id));
        let page = db.read(move |tx| order_list::page(tx, portfolio, &OrderFilter::default(), last, 3)).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}

/// Orders whose ids do not follow the time of submission, two of them submitted at the same time; an entry with two
/// exits; and a replaced exit.
async fn mixed(db: &Db) -> domain::PortfolioId {
    let sam = db.user("sam").await.id;
    let portfolio = db.portfolio(sam, "5").await.id;
    let (apple, other) = (db.stock("AAPL").await, db.stock("MSFT").await);
    let at = |number, seconds, stock, ticker| Order {
        submitted_at: moment(seconds),
        ..buy(number, portfolio, stock, ticker)
    };
    let leg = |number, status: OrderStatus| Order {
        side: Side::Sell,
        status,
        order_class: OrderClass::Bracket,
        parent_order_id: Some(OrderId(Uuid::from_u128(5))),
        filled_quantity: domain::Quantity::zero(),
        filled_amount: money("0.00").into(),
        filled_price: None,
        filled_at: None,
        canceled_at: (!status.is_open()).then(|| moment(9)),
        ..at(number, 30, apple, "AAPL")
    };
    let stored = [
        at(9, 10, apple, "AAPL"),
        at(2, 20, other, "MSFT"),
        at(3, 20, apple, "AAPL"),
        Order { order_class: OrderClass::Bracket, ..at(5, 30, apple, "AAPL") },
        leg(6, OrderStatus::Accepted),
        leg(7, OrderStatus::Replaced),
        at(1, 40, apple, "AAPL"),
    ];
    db.write(move |tx| {
        let named: Vec<(&Order, &str)> = stored.iter().map(|order| (order, "request")).collect();
        orders::insert(tx, &named)
    })
    .await;
    portfolio
}

async fn numbers(db: &Db, portfolio: domain::PortfolioId, filter: OrderFilter) -> Vec<u128> {
    let (mut numbers, mut last): (Vec<u128>, Option<(Timestamp, OrderId)>) = (Vec::new(), None);
    loop {
        let wanted = filter.clone();
        let page = db.read(move |tx| order_list::page(tx, portfolio, &wanted, last, 2)).await;
        let Some(newest) = page.last() else { return numbers };
        last = Some((newest.submitted_at, newest.id));
        numbers.extend(page.iter().map(|order| order.id.0.as_u128()));
    }
}

#[tokio::test]
async fn orders_are_listed_by_time_of_submission_with_filters_in_both_directions() {
    let db = Db::new().await;
    let portfolio = mixed(&db).await;
    let found = async |filter: OrderFilter| numbers(&db, portfolio, filter).await;
    let all = OrderFilter::default;
    assert_eq!(found(all()).await, [1, 7, 6, 5, 3, 2, 9]);
    let oldest_first = || OrderFilter { direction: SortDirection::Ascending, ..all() };
    assert_eq!(found(oldest_first()).await, [9, 2, 3, 5, 6, 7, 1]);
    let between = OrderFilter { after: Some(moment(10)), until: Some(moment(40)), ..all() };
    assert_eq!(found(between.clone()).await, [7, 6, 5, 3, 2], "both ends are exclusive");
    assert_eq!(found(OrderFilter { direction: SortDirection::Ascending, ..between }).await, [2, 3, 5, 6, 7]);
    assert_eq!(found(OrderFilter { side: Some(Side::Sell), ..all() }).await, [7, 6]);
    let apple = OrderFilter { symbol: Some(crate::harness::symbol("AAPL")), side: Some(Side::Buy), ..all() };
    assert_eq!(found(apple).await, [1, 5, 3, 9]);
    assert_eq!(found(OrderFilter { open: Some(true), ..all() }).await, [6]);
    assert_eq!(found(OrderFilter { open: Some(false), ..all() }).await, [1, 7, 5, 3, 2, 9]);
}

#[tokio::test]
async fn a_nested_list_has_no_legs_and_counts_an_order_with_an_open_leg_as_open() {
    let db = Db::new().await;
    let portfolio = mixed(&db).await;
    let found = async |open| {
        numbers(&db, portfolio, OrderFilter { nested: true, open, ..OrderFilter::default() }).await
    };
    assert_eq!(found(None).await, [1, 5, 3, 2, 9]);
    assert_eq!(found(Some(true)).await, [5]);
    assert_eq!(found(Some(false)).await, [1, 3, 2, 9]);
    db.sql("UPDATE orders SET status = 'canceled', canceled_at = submitted_at WHERE status = 'accepted'")
        .unwrap();
    assert_eq!(found(Some(true)).await, Vec::<u128>::new());
    assert_eq!(found(Some(false)).await, [1, 5, 3, 2, 9]);
}

#[tokio::test]
async fn the_place_of_an_order_is_found_only_in_its_portfolio() {
    let db = Db::new().await;
    let portfolio = mixed(&db).await;
    let eve = db.user("eve").await.id;
    let other = db.portfolio(eve, "5").await.id;
    let id = OrderId(Uuid::from_u128(3));
    assert_eq!(db.read(move |tx| order_list::place_of(tx, portfolio, id)).await, Some((moment(20), id)));
    assert_eq!(db.read(move |tx| order_list::place_of(tx, other, id)).await, None);
}
