use super::*;
use crate::journal::Books;
use crate::{
    Attached, Calendar, FillRule, Freshness, OrderIds, OrderSize, OrderTerms, PlaceOrder, PriceSource, Quote,
    Receipt, Side, Symbol, TimeInForce,
};
use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use uuid::Uuid;

mod sizes;

const STOCK: StockId = StockId(7);

fn now() -> Timestamp {
    Utc.with_ymd_and_hms(2026, 11, 20, 19, 0, 0).unwrap().into()
}

fn symbol() -> Symbol {
    "AAPL".parse().unwrap()
}

fn quote(last: &str, bid: Option<&str>, ask: Option<&str>) -> Quote {
    Quote {
        symbol: symbol(),
        price: last.parse().unwrap(),
        bid: bid.map(|text| text.parse().unwrap()),
        ask: ask.map(|text| text.parse().unwrap()),
        previous_close: None,
        volume: None,
        as_of: now(),
        source: PriceSource::from("test"),
        freshness: Freshness::Simulated,
        stale: false,
    }
}

fn order(side: Side, size: OrderSize) -> PlaceOrder {
    PlaceOrder {
        symbol: symbol(),
        side,
        size,
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id: None,
    }
}

fn shares(text: &str) -> OrderSize {
    OrderSize::Quantity(text.parse().unwrap())
}

fn with_cash(cash: &str) -> Portfolio {
    Portfolio::new(PortfolioId(1), cash.parse().unwrap())
}

fn place(
    portfolio: &mut Portfolio,
    side: Side,
    size: OrderSize,
    quote: &Quote,
) -> Result<Placed, OrderRejected> {
    let newest = PriceMove { quote: quote.clone(), volume: None };
    let newest_price = NewestPrice { newest: &newest, requested_at: now() };
    let rules = TradingRules::practice(Calendar::AroundTheClock);
    portfolio.place(
        OrderIds::from_fn(|| OrderId(Uuid::nil())),
        STOCK,
        order(side, size),
        newest_price,
        rules.at(now()),
    )
}

fn receipt(placed: &Placed) -> &Receipt {
    placed.entries[0].receipt.as_ref().unwrap()
}

#[test]
fn a_buy_fills_at_the_ask_and_a_sell_at_the_bid() {
    let mut portfolio = with_cash("10000");
    let quote = quote("100.00", Some("99.98"), Some("100.02"));
    let bought = place(&mut portfolio, Side::Buy, shares("10"), &quote).unwrap();
    assert_eq!(bought.group.root().filled_price.as_ref().unwrap().to_shortest(), "100.02");
    assert_eq!(receipt(&bought).rule, FillRule::Ask);
    assert_eq!(portfolio.cash_balance.to_string(), "8999.80");
    let sold = place(&mut portfolio, Side::Sell, shares("4"), &quote).unwrap();
    assert_eq!(receipt(&sold).rule, FillRule::Bid);
    assert_eq!(sold.entries[0].realized_pnl.as_ref().unwrap().to_string(), "-0.16");
    assert_eq!(portfolio.positions[&STOCK].quantity.to_string(), "6");
}

#[test]
fn a_placed_order_keeps_the_ids_of_its_command() {
    let mut portfolio = with_cash("10000");
    let newest = PriceMove { quote: quote("100.00", None, None), volume: None };
    let newest_price = NewestPrice { newest: &newest, requested_at: now() };
    let rules = TradingRules::practice(Calendar::AroundTheClock);
    let mut command = order(Side::Buy, shares("1"));
    command.client_order_id = Some("morning-1".to_owned());
    let placed = portfolio
        .place(OrderIds::from_fn(|| OrderId(Uuid::nil())), STOCK, command, newest_price, rules.at(now()))
        .unwrap();
    let root = placed.group.root();
    assert_eq!(root.client_order_id.as_deref(), Some("morning-1"));
    assert_eq!((&root.symbol, root.submitted_at), (&symbol(), now()));
}

#[test]
fn orders_fill_at_the_last_price_without_bid_and_ask() {
    let placed = place(&mut with_cash("100"), Side::Buy, shares("1"), &quote("99.00", None, None)).unwrap();
    assert_eq!(
        (receipt(&placed).rule, placed.entries[0].price.as_ref().unwrap().to_string()),
        (FillRule::Last, "99.00".into())
    );
}

#[test]
fn a_notional_order_never_costs_more_than_its_amount() {
    let mut portfolio = with_cash("100");
    let size = OrderSize::Notional("100".parse().unwrap());
    let placed = place(&mut portfolio, Side::Buy, size, &quote("3.00", None, None)).unwrap();
    assert_eq!(placed.group.root().filled_quantity.to_string(), "33.333333333");
    assert_eq!(portfolio.cash_balance.to_string(), "0.00");
}

#[test]
fn rejected_orders_have_a_reason_and_change_nothing() {
    let fresh = quote("100.00", None, None);
    let mut portfolio = with_cash("999.99");
    let before = portfolio.clone();
    assert_eq!(
        place(&mut portfolio, Side::Buy, shares("10"), &fresh).unwrap_err().to_string(),
        "the order costs 1000.00 and 999.99 is available"
    );
    assert_eq!(
        place(&mut portfolio, Side::Sell, shares("1"), &fresh).unwrap_err(),
        OrderRejected::InsufficientShares { required: "1".parse().unwrap(), available: Quantity::zero() }
    );
    assert_eq!(
        place(&mut portfolio, Side::Buy, shares("0.00001"), &fresh).unwrap_err(),
        OrderRejected::TooSmall
    );
    let ahead = Quote { as_of: now() + TimeDelta::seconds(61), ..fresh };
    assert!(matches!(
        place(&mut portfolio, Side::Buy, shares("1"), &ahead),
        Err(OrderRejected::PriceFromFuture { .. })
    ));
    assert_eq!(portfolio, before);
}

#[test]
fn amounts_beyond_the_range_of_the_books_are_rejected() {
    let mut portfolio = with_cash("1000000000000000");
    let penny = quote("0.0001", None, None);
    place(&mut portfolio, Side::Buy, shares("1000000000"), &penny).unwrap();
    assert_eq!(
        place(&mut portfolio, Side::Buy, shares("1000"), &penny).unwrap_err(),
        OrderRejected::TooLarge
    );
}

/// Trades as (buy?, quantity in millionths, price in cents).
fn trades() -> impl Strategy<Value = Vec<(bool, i64, i64)>> {
    prop::collection::vec((any::<bool>(), 1_i64..50_000_000, 1_i64..200_000), 1..60)
}

proptest! {
    /// Realized and unrealized P&L add up to the market value and the signed flows of the stock, only flows change the
    /// cash, and the journal alone reproduces the books.
    #[test]
    fn profit_and_loss_add_up(trades in trades(), mark in 1_i64..200_000) {
        let deposit: Money = "250000.00".parse().unwrap();
        let mut portfolio = with_cash("250000.00");
        let mut journal = vec![JournalEntry::cash(portfolio.id, deposit.clone(), now())];
        for (buy, millionths, cents) in trades {
            let quote = Quote { price: crate::Price::from_scaled(cents, 2), ..quote("1.00", None, None) };
            let quantity = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
            let side = if buy { Side::Buy } else { Side::Sell };
            if let Ok(placed) = place(&mut portfolio, side, shares(&quantity), &quote) {
                journal.extend(placed.entries);
            }
            prop_assert!(!portfolio.cash_balance.is_negative());
        }
        let position = portfolio.positions.get(&STOCK).cloned().unwrap_or_default();
        let market_value = crate::Price::from_scaled(mark, 2).times(&position.quantity);
        let unrealized = market_value.clone() - &position.cost_basis;
        let flows: Money = journal.iter().skip(1).map(|entry| &entry.amount).sum();
        prop_assert_eq!(position.realized_pnl.clone() + unrealized, market_value + &flows);
        prop_assert_eq!(portfolio.cash_balance.clone(), deposit + &flows);

        let mut books = Books::default();
        for entry in &journal {
            prop_assert_eq!(books.apply(entry), Ok(()));
        }
        prop_assert_eq!(books.cash_balance, portfolio.cash_balance);
        prop_assert_eq!(books.positions, portfolio.positions);
    }
}
