//! The size with which an order is placed: [`Portfolio::size_to_place`].

use super::*;
use crate::{Percent, Position};

/// A portfolio that holds shares of the stock, some of which open orders reserve.
fn holding(quantity: &str, reserved: &str) -> Portfolio {
    let mut portfolio = with_cash("0");
    let mut position = Position::default();
    position.buy(&quantity.parse().unwrap(), &"1.00".parse().unwrap());
    portfolio.positions.insert(STOCK, position);
    if reserved != "0" {
        portfolio.reserved.shares.insert(STOCK, reserved.parse().unwrap());
    }
    portfolio
}

fn part(percent: &str) -> PlaceOrder {
    order(Side::Sell, OrderSize::OfPosition(percent.parse().unwrap()))
}

fn worth(side: Side, amount: &str) -> PlaceOrder {
    order(side, OrderSize::Notional(amount.parse().unwrap()))
}

fn size(portfolio: &Portfolio, command: &PlaceOrder, quote: &Quote) -> Result<OrderSize, OrderRejected> {
    let rules = TradingRules::practice(Calendar::AroundTheClock);
    portfolio.size_to_place(STOCK, command, quote, &rules)
}

/// The size of an order at a price of $100, without bid and ask.
fn at_100(portfolio: &Portfolio, command: &PlaceOrder) -> Result<OrderSize, OrderRejected> {
    size(portfolio, command, &quote("100.00", None, None))
}

#[test]
fn a_part_of_a_position_is_a_quantity_up_to_the_sellable_shares() {
    let ten = holding("10", "4");
    assert_eq!(at_100(&ten, &part("60")), Ok(shares("6")), "exactly the sellable shares");
    assert_eq!(at_100(&ten, &part("25")), Ok(shares("2.5")));
    let (required, available) = ("7".parse().unwrap(), "6".parse().unwrap());
    assert_eq!(at_100(&ten, &part("70")), Err(OrderRejected::InsufficientShares { required, available }));
}

#[test]
fn a_part_of_an_empty_or_tiny_position_is_rejected() {
    assert_eq!(at_100(&with_cash("0"), &part("50")), Err(OrderRejected::NothingHeld));
    let mut sold = holding("10", "0");
    sold.positions.insert(STOCK, Position::default());
    assert_eq!(at_100(&sold, &part("50")), Err(OrderRejected::NothingHeld));
    assert_eq!(at_100(&holding("0.000000001", "0"), &part("1")), Err(OrderRejected::TooSmall));
}

#[test]
fn a_sell_for_the_value_of_all_shares_sells_all_and_leaves_nothing_below_a_cent() {
    let sell = |portfolio: &Portfolio, amount: &str| at_100(portfolio, &worth(Side::Sell, amount)).unwrap();
    let ten = holding("10", "0");
    assert_eq!(sell(&ten, "1000.00"), shares("10"));
    // 0.0001 shares are worth a cent, 0.00004 shares less than half a cent.
    assert_eq!(sell(&ten, "999.99"), OrderSize::Notional("999.99".parse().unwrap()));
    assert_eq!(sell(&holding("10.00004", "0"), "1000.00"), shares("10.00004"));
    assert_eq!(sell(&holding("10", "4"), "600.00"), shares("6"), "the sellable shares");
}

#[test]
fn a_sell_up_to_one_percent_above_the_value_sells_all() {
    let sell = |amount: &str| at_100(&holding("10", "0"), &worth(Side::Sell, amount)).unwrap();
    assert_eq!(sell("1010.00"), shares("10"));
    assert_eq!(sell("1010.01"), OrderSize::Notional("1010.01".parse().unwrap()));
}

#[test]
fn the_value_of_a_sell_is_at_its_limit_or_at_the_bid_and_the_shown_value_at_the_last_price() {
    let ten = holding("10", "0");
    let limited = |limit: &str, amount: &str| {
        let terms = OrderTerms::Limit { limit: limit.parse().unwrap() };
        at_100(&ten, &PlaceOrder { terms, ..worth(Side::Sell, amount) }).unwrap()
    };
    assert_eq!(limited("200.00", "2000.00"), shares("10"));
    assert_eq!(limited("200.00", "2020.00"), shares("10"));
    assert_eq!(limited("200.00", "1000.00"), OrderSize::Notional("1000.00".parse().unwrap()));
    assert_eq!(limited("50.00", "1010.00"), shares("10"), "the value was shown at the last price");
    assert_eq!(limited("50.00", "1010.01"), OrderSize::Notional("1010.01".parse().unwrap()));
    let at_bid = size(&ten, &worth(Side::Sell, "990.00"), &quote("100.00", Some("99.00"), Some("101.00")));
    assert_eq!(at_bid, Ok(shares("10")));
    let one_percent = Some("1".parse::<Percent>().unwrap());
    let slipping = TradingRules { slippage: one_percent, ..TradingRules::practice(Calendar::AroundTheClock) };
    let command = worth(Side::Sell, "990.00");
    let slipped = ten.size_to_place(STOCK, &command, &quote("100.00", None, None), &slipping);
    assert_eq!(slipped, Ok(shares("10")));
}

#[test]
fn other_sizes_are_unchanged() {
    let ten = holding("10", "0");
    let buys = OrderSize::Notional("1000.00".parse().unwrap());
    assert_eq!(at_100(&ten, &worth(Side::Buy, "1000.00")), Ok(buys));
    assert_eq!(at_100(&ten, &order(Side::Sell, shares("3"))), Ok(shares("3")));
}
