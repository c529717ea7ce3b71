//! The life of an order and its effects on the books: each type, time in force and class, step by step with numbers
//! computed by hand.

use chrono::TimeDelta;
use domain::{
    Attached, Calendar, Commission, Freshness, Money, OrderIssue, OrderRejected, OrderSize, PriceMove,
    ReplaceOrder, TimeInForce, TradingRules, Trail,
};

use crate::desk::{
    Desk, Ticket, at, buy, instant, last, money, practice, price, realistic, sell, shares, spread, stop_loss,
    traded,
};

/// Rules with a liquidity of 10 % of the traded volume.
fn illiquid() -> TradingRules {
    TradingRules { liquidity: Some("10".parse().unwrap()), ..practice() }
}

/// A commission of 0.50 and 0.10 per share, at least 2.00.
fn broker() -> Commission {
    Commission {
        per_order: money("0.50"),
        per_share: "0.10".parse().unwrap(),
        minimum: money("2.00"),
        ..Commission::default()
    }
}

fn to_limit(limit: &str) -> ReplaceOrder {
    ReplaceOrder { limit_price: Some(price(limit)), ..ReplaceOrder::default() }
}

fn to_quantity(quantity: &str) -> ReplaceOrder {
    ReplaceOrder { quantity: Some(shares(quantity)), ..ReplaceOrder::default() }
}

fn short_of_cash(required: &str, available: &str) -> OrderRejected {
    OrderRejected::InsufficientBuyingPower { required: money(required), available: money(available) }
}

fn short_of_shares(required: &str, available: domain::Quantity) -> OrderRejected {
    OrderRejected::InsufficientShares { required: shares(required), available }
}

/// Sets the clock and the market price.
fn market_at(desk: &mut Desk, as_of: &str, price_move: PriceMove) {
    desk.now = instant(as_of);
    desk.newest = at(price_move, desk.now);
    desk.work(vec![desk.newest.clone()]);
}

// Order types.

#[test]
fn a_market_order_fills_when_it_is_placed() {
    let mut desk = Desk::new("10000", practice());
    desk.newest = spread("99.98", "100.00", "100.02");
    let bought = desk.place(buy("10")).unwrap();
    assert_eq!(desk.tell(bought, 0), "filled 10 at 100.02");
    assert_eq!(desk.books(), "cash 8999.80 keeps 0.00, shares 10 for 1000.20 keeps 0");
    let sold = desk.place(sell("4")).unwrap();
    assert_eq!(desk.tell(sold, 0), "filled 4 at 99.98");
    assert_eq!(desk.books(), "cash 9399.72 keeps 0.00, shares 6 for 600.12 keeps 0");
    assert_eq!(
        desk.entries(1),
        [
            "buy 10 at 100.02, commission 0.00, amount -1000.20, realized -",
            "sell 4 at 99.98, commission 0.00, amount 399.92, realized -0.16",
        ]
    );
}

#[test]
fn an_order_by_money_spends_its_amount_plus_commission() {
    let rules = TradingRules { commission: broker(), ..practice() };
    let mut desk = Desk::new("502", rules.clone());
    desk.newest = last("30.00");
    // 500.00 / 30.00 = 16.666666666 shares, worth 500.00; the commission 0.50 + 1.67 = 2.17 is more than the 2.00 left.
    assert_eq!(desk.place(buy("1").worth("500")), Err(short_of_cash("502.17", "502.00")));
    let bought = desk.place(buy("1").worth("490")).unwrap();
    assert_eq!(desk.tell(bought, 0), "filled 16.333333333 at 30.00");
    assert_eq!(desk.books(), "cash 9.87 keeps 0.00, shares 16.333333333 for 492.13 keeps 0");
    let sold = desk.place(sell("1").worth("60")).unwrap();
    assert_eq!(desk.tell(sold, 0), "filled 2 at 30.00");
    // A cost of 492.13 × 2 / 16.333333333 = 60.26 leaves with the sold shares.
    assert_eq!(desk.entries(2), ["sell 2 at 30.00, commission 2.00, amount 58.00, realized -2.26"]);
}

#[test]
fn a_limit_buy_reserves_cash_until_it_fills() {
    let mut desk = Desk::new("1000", practice());
    let order = desk.place(buy("6").limit("99.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 594.00");
    assert_eq!(desk.place(buy("5").limit("99.00")), Err(short_of_cash("495.00", "406.00")));
    assert_eq!(desk.place(buy("5")), Err(short_of_cash("500.00", "406.00")));
    desk.market(last("99.01"));
    assert_eq!(desk.tell(order, 0), "accepted keeps 594.00");
    desk.market(last("95.50"));
    assert_eq!(desk.tell(order, 0), "filled 6 at 95.50");
    assert_eq!(desk.books(), "cash 427.00 keeps 0.00, shares 6 for 573.00 keeps 0");
    assert_eq!(desk.entries(1), ["buy 6 at 95.50, commission 0.00, amount -573.00, realized -"]);
}

#[test]
fn a_limit_reached_by_the_market_fills_at_the_better_price() {
    let mut desk = Desk::new("1000", practice());
    let order = desk.place(buy("5").limit("120.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 5 at 100.00");
    let order = desk.place(sell("5").limit("80.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 5 at 100.00");
}

#[test]
fn a_limit_sell_reserves_its_shares() {
    let mut desk = Desk::holding("0", "10", practice());
    let order = desk.place(sell("7").limit("101.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 7 shares");
    assert_eq!(desk.place(sell("4").limit("101.00")), Err(short_of_shares("4", shares("3"))));
    assert_eq!(desk.place(sell("4")), Err(short_of_shares("4", shares("3"))));
    desk.place(sell("3")).unwrap();
    assert_eq!(desk.books(), "cash 300.00 keeps 0.00, shares 7 for 700.00 keeps 7");
    desk.market(spread("103.00", "103.01", "103.02"));
    assert_eq!(desk.tell(order, 0), "filled 7 at 103.00");
    assert_eq!(desk.books(), "cash 1021.00 keeps 0.00, shares 0 for 0.00 keeps 0");
    assert_eq!(desk.position().realized_pnl, money("21.00"));
}

#[test]
fn a_triggered_stop_is_a_market_order() {
    let mut desk = Desk::holding("0", "10", practice());
    let order = desk.place(sell("10").stop("95.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 10 shares");
    desk.market(last("95.01"));
    desk.market(last("88.00"));
    assert_eq!(desk.tell(order, 0), "filled 10 at 88.00");
    assert_eq!(desk.groups[order].root().triggered_at, Some(desk.now));
    assert_eq!(desk.position().realized_pnl, money("-120.00"));
    let order = desk.place(buy("8").stop("90.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 720.00");
    desk.market(last("90.00"));
    assert_eq!(desk.tell(order, 0), "filled 8 at 90.00");
}

#[test]
fn a_triggered_stop_limit_waits_for_its_limit() {
    let mut desk = Desk::new("1000", practice());
    let order = desk.place(buy("9").stop_limit("105.00", "106.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 954.00");
    desk.market(last("110.00"));
    assert_eq!(desk.tell(order, 0), "accepted keeps 954.00");
    assert_eq!(desk.groups[order].root().triggered_at, Some(desk.now));
    desk.market(last("104.00"));
    assert_eq!(desk.tell(order, 0), "filled 9 at 104.00");
}

#[test]
fn a_trailing_stop_remembers_the_best_price() {
    let mut desk = Desk::holding("0", "10", practice());
    let order = desk.place(sell("10").trail_percent("5")).unwrap();
    assert_eq!(desk.groups[order].root().high_water_price, Some(price("100.00")));
    for (mid, stop) in [("95.01", "95.00"), ("110.00", "104.50"), ("106.00", "104.50")] {
        desk.market(last(mid));
        assert_eq!(desk.tell(order, 0), "accepted keeps 10 shares");
        assert_eq!(desk.groups[order].root().stop_price(), Some(price(stop)));
    }
    desk.market(last("104.00"));
    assert_eq!(desk.tell(order, 0), "filled 10 at 104.00");
}

#[test]
fn a_trail_without_a_valid_stop_is_rejected() {
    let mut desk = Desk::holding("1000", "10", practice());
    assert_eq!(desk.place(sell("1").trail("100.00")), Err(OrderRejected::TrailTooWide));
    assert_eq!(desk.place(sell("1").trail_percent("100")), Err(OrderRejected::TrailTooWide));
    desk.place(sell("1").trail("99.99")).unwrap();
    // A buy's stop is above the price.
    desk.place(buy("1").trail("100.00")).unwrap();
}

/// One share is traded in each of 5,912 moves: at most a hundred fills, which cost the same as one fill.
#[test]
fn an_order_filled_in_parts_has_few_fills_and_the_same_cost() {
    let whole = {
        let mut desk = Desk::new("10000", practice());
        desk.newest = last("0.3565");
        desk.place(buy("5912").limit("0.3565")).unwrap();
        desk.books()
    };
    for volume in [1, 10, 37, 990, 4000] {
        let mut desk = Desk::new("10000", illiquid());
        desk.newest = traded("0.3565", volume);
        let order = desk.place(buy("5912").limit("0.3565").lasting(TimeInForce::Gtc)).unwrap();
        for _ in 0..60_000 {
            if desk.groups[order].root().status == domain::OrderStatus::Filled {
                break;
            }
            let step = if volume < 10 { 1000 } else { 1 };
            desk.market(traded("0.3565", volume * step));
        }
        assert_eq!(desk.tell(order, 0), "filled 5912 at 0.3565", "{volume}");
        assert_eq!(desk.books(), whole, "{volume}");
        let fills = desk.journal.len() - 1;
        let windows = (desk.now - desk.groups[order].root().submitted_at).num_minutes() * 11 / 50;
        assert!(
            fills <= 100.max(usize::try_from(windows).unwrap() + 1),
            "{fills} fills of moves of {volume}"
        );
    }
}

#[test]
fn small_volumes_accumulate_for_minutes() {
    let mut desk = Desk::new("1000", illiquid());
    let order = desk.place(buy("3").limit("10.00").lasting(TimeInForce::Gtc)).unwrap();
    desk.market(traded("10.00", 6));
    assert_eq!(desk.tell(order, 0), "accepted keeps 30.00");
    desk.market(traded("10.00", 6));
    assert_eq!(desk.tell(order, 0), "partially_filled 1 at 10.00 keeps 20.00");
    desk.market(traded("9.99", 19));
    // 10.00 + 9.99, and 0.9 of the third share has accumulated.
    assert_eq!(desk.tell(order, 0), "partially_filled 2 at 9.995 keeps 10.00");
    desk.market(traded("9.99", 9));
    // Old volume expires.
    for _ in 0..31 {
        desk.market(traded("10.50", 0));
    }
    desk.market(traded("9.99", 5));
    assert_eq!(desk.tell(order, 0), "partially_filled 2 at 9.995 keeps 10.00");
    desk.market(traded("9.99", 5));
    // (10.00 + 2 × 9.99) / 3 = 9.99333…
    assert_eq!(desk.tell(order, 0), "filled 3 at 9.993334");
    assert_eq!(desk.books(), "cash 970.02 keeps 0.00, shares 3 for 29.98 keeps 0");
}

#[test]
fn after_five_minutes_an_order_takes_less_than_its_minimum_fill() {
    let mut desk = Desk::new("100000", illiquid());
    let order = desk.place(buy("5000").limit("10.00").lasting(TimeInForce::Gtc)).unwrap();
    for _ in 0..29 {
        desk.market(traded("10.00", 11));
        assert_eq!(desk.tell(order, 0), "accepted keeps 50000.00");
    }
    desk.market(traded("10.00", 11));
    // 29 moves have each left 1.1 shares before the thirtieth comes.
    assert_eq!(desk.tell(order, 0), "partially_filled 31 at 10.00 keeps 49690.00");
}

#[test]
fn the_exits_of_a_market_entry_must_be_around_the_newest_price() {
    let mut desk = Desk::new("10000", practice());
    for (profit, stop, field) in [
        ("99.99", "90.00", "take_profit"),
        ("100.00", "90.00", "take_profit"),
        ("110.00", "100.00", "stop_loss"),
    ] {
        let refused = desk.place(buy("1").bracket(profit, stop));
        assert!(
            matches!(&refused, Err(OrderRejected::Unfit(issues)) if issues[0].field().as_str() == field),
            "{refused:?}"
        );
    }
    desk.place(buy("1").bracket("100.01", "99.99")).unwrap();
    let waits = desk.place(buy("1").limit("95.00").bracket("110.00", "90.00")).unwrap();
    for (leg, changes, field) in [
        (0, to_limit("89.00"), "limit_price"),
        (0, to_limit("110.00"), "limit_price"),
        (1, to_limit("95.00"), "limit_price"),
        (2, ReplaceOrder { stop_price: Some(price("95.00")), ..ReplaceOrder::default() }, "stop_price"),
    ] {
        let refused = desk.replace(waits, leg, &changes);
        assert!(
            matches!(&refused, Err(OrderRejected::Unfit(issues)) if issues[0].field().as_str() == field),
            "{refused:?}"
        );
    }
    desk.replace(waits, 0, &to_limit("96.00")).unwrap();
}

// Times in force.

#[test]
fn ioc_fills_in_part_and_fok_completely_or_not_at_all() {
    let mut desk = Desk::new("10000", illiquid());
    desk.newest = traded("100.00", 45);
    let order = desk.place(buy("10").lasting(TimeInForce::Ioc)).unwrap();
    assert_eq!(desk.tell(order, 0), "canceled 4 at 100.00");
    let order = desk.place(buy("10").lasting(TimeInForce::Fok)).unwrap();
    assert_eq!(desk.tell(order, 0), "canceled");
    let order = desk.place(buy("4").limit("100.00").lasting(TimeInForce::Fok)).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 4 at 100.00");
    let order = desk.place(buy("4").limit("99.99").lasting(TimeInForce::Ioc)).unwrap();
    assert_eq!(desk.tell(order, 0), "canceled");
    assert_eq!(desk.books(), "cash 9200.00 keeps 0.00, shares 8 for 800.00 keeps 0");
    let short = desk.place(buy("4000").limit("100.00").lasting(TimeInForce::Ioc)).unwrap();
    assert_eq!(desk.tell(short, 0), "canceled 4 at 100.00");
}

#[test]
fn a_day_order_expires_at_the_close_and_gtc_stays_open() {
    let mut desk = Desk::holding("1000", "10", realistic());
    let day = desk.place(buy("5").limit("90.00")).unwrap();
    let gtc = desk.place(buy("5").limit("91.00").lasting(TimeInForce::Gtc)).unwrap();
    let exit = desk.place(sell("5").limit("150.00")).unwrap();
    assert_eq!(desk.groups[day].root().expires_at, Some(instant("2026-11-20T21:00:00Z")));
    assert_eq!(desk.books(), "cash 1000.00 keeps 905.00, shares 10 for 1000.00 keeps 5");
    market_at(&mut desk, "2026-11-20T20:59:59Z", last("100.00"));
    assert_eq!(desk.tell(day, 0), "accepted keeps 450.00");
    desk.now = instant("2026-11-20T21:00:00Z");
    desk.work(vec![]);
    assert_eq!((desk.tell(day, 0), desk.tell(exit, 0)), ("expired".into(), "expired".into()));
    assert_eq!(desk.groups[day].root().canceled_at, Some(desk.now));
    assert_eq!(desk.books(), "cash 1000.00 keeps 455.00, shares 10 for 1000.00 keeps 0");
    // An order placed on Saturday is for Monday's session.
    desk.now = instant("2026-11-21T17:00:00Z");
    let monday = desk.place(sell("5").limit("99.00")).unwrap();
    assert_eq!(desk.groups[monday].root().expires_at, Some(instant("2026-11-23T21:00:00Z")));
    market_at(&mut desk, "2026-11-23T14:30:00Z", last("90.50"));
    assert_eq!(desk.tell(gtc, 0), "filled 5 at 90.50");
    market_at(&mut desk, "2026-11-23T21:00:00Z", last("99.50"));
    assert_eq!(desk.tell(monday, 0), "filled 5 at 99.50", "the closing price is the session's last");
}

#[test]
fn a_partially_filled_day_order_keeps_its_fills_when_it_expires() {
    let mut desk = Desk::new("1000", illiquid());
    desk.newest = traded("100.00", 30);
    let order = desk.place(buy("10")).unwrap();
    assert_eq!(desk.tell(order, 0), "partially_filled 3 at 100.00 keeps 700.00");
    desk.wait(TimeDelta::days(1));
    desk.work(vec![]);
    assert_eq!(desk.tell(order, 0), "expired 3 at 100.00");
    assert_eq!(desk.books(), "cash 700.00 keeps 0.00, shares 3 for 300.00 keeps 0");
}

#[test]
fn auction_orders_wait_for_their_auction_in_practice_mode_too() {
    for (rules, open, close) in [
        (realistic(), "2026-11-23T14:30:00Z", "2026-11-20T21:00:00Z"),
        (TradingRules::practice(Calendar::Xnys), "2026-11-23T14:30:00Z", "2026-11-20T21:00:00Z"),
        (practice(), "2026-11-21T05:00:00Z", "2026-11-21T05:00:00Z"),
    ] {
        let mut desk = Desk::holding("1000", "10", rules);
        let at_close = desk.place(sell("10").lasting(TimeInForce::Cls)).unwrap();
        let at_open = desk.place(buy("5").lasting(TimeInForce::Opg)).unwrap();
        let too_low = desk.place(buy("5").limit("99.00").lasting(TimeInForce::Opg)).unwrap();
        assert_eq!(desk.books(), "cash 1000.00 keeps 995.00, shares 10 for 1000.00 keeps 10");
        desk.market(last("50.00"));
        assert_eq!(desk.tell(at_open, 0), "accepted keeps 500.00");
        market_at(&mut desk, close, spread("100.00", "102.00", "104.00"));
        assert_eq!(desk.tell(at_close, 0), "filled 10 at 102.00");
        market_at(&mut desk, open, spread("98.00", "102.00", "104.00"));
        assert_eq!(desk.tell(at_open, 0), "filled 5 at 102.00");
        assert_eq!(desk.tell(too_low, 0), "expired");
        assert_eq!(desk.books(), "cash 1510.00 keeps 0.00, shares 5 for 510.00 keeps 0");
    }
}

// Trading modes.

#[test]
fn in_realistic_mode_an_order_waits_for_a_later_price_in_trading_hours() {
    let mut desk = Desk::new("1000", realistic());
    let order = desk.place(buy("9")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 900.00");
    desk.work(vec![at(last("99.00"), desk.now)]);
    assert_eq!(
        desk.tell(order, 0),
        "accepted keeps 900.00",
        "a price of the order's own instant is not later"
    );
    desk.market(last("101.00"));
    assert_eq!(desk.tell(order, 0), "filled 9 at 101.00");
    desk.now = instant("2026-11-20T22:00:00Z");
    let queued = desk.place(sell("9").lasting(TimeInForce::Gtc)).unwrap();
    market_at(&mut desk, "2026-11-20T22:00:01Z", last("110.00"));
    market_at(&mut desk, "2026-11-23T14:29:59Z", last("110.00"));
    assert_eq!(desk.tell(queued, 0), "accepted keeps 9 shares");
    market_at(&mut desk, "2026-11-23T14:30:05Z", last("105.00"));
    assert_eq!(desk.tell(queued, 0), "filled 9 at 105.00");
}

#[test]
fn immediate_orders_in_realistic_mode_end_at_the_close() {
    for tif in [TimeInForce::Ioc, TimeInForce::Fok] {
        let mut desk = Desk::holding("1000", "10", realistic());
        let unmet = desk.place(buy("5").limit("90.00").lasting(tif)).unwrap();
        assert_eq!(desk.groups[unmet].root().expires_at, Some(instant("2026-11-20T21:00:00Z")));
        let silent = desk.place(sell("1").lasting(tif)).unwrap();
        desk.market(last("100.00"));
        assert_eq!(
            (desk.tell(unmet, 0), desk.tell(silent, 0)),
            ("canceled".into(), "filled 1 at 100.00".into())
        );
        // No price comes until the close.
        let silent = desk.place(sell("1").lasting(tif)).unwrap();
        desk.now = instant("2026-11-20T21:00:00Z");
        desk.work(vec![]);
        assert_eq!(desk.tell(silent, 0), "canceled");
        for evening in ["2026-11-20T21:00:00Z", "2026-11-20T22:00:00Z", "2026-11-21T17:00:00Z"] {
            desk.now = instant(evening);
            for command in [sell("1"), buy("1"), buy("1").limit("200.00")] {
                let order = desk.place(command.lasting(tif)).unwrap();
                assert_eq!(desk.tell(order, 0), "canceled", "{evening}");
                assert!(desk.groups[order].root().expires_at.is_some_and(|end| end <= desk.now));
            }
        }
    }
}

fn of(freshness: Freshness, mut price_move: PriceMove) -> PriceMove {
    price_move.quote.freshness = freshness;
    price_move
}

/// Friday's session ends at 21:00 UTC. Each case has the time of a market order of one share, the time of the newest
/// price, and the result.
#[test]
fn market_orders_in_practice_mode_fill_at_fresh_prices_or_the_newest_close() {
    use Freshness::{Delayed, EndOfDay, Realtime};
    for (freshness, now, as_of, expected) in [
        // During a session.
        (Delayed, "2026-11-20T19:00:00Z", "2026-11-20T18:40:00Z", "filled 1 at 102.00 (ask)"),
        (Delayed, "2026-11-20T19:00:00Z", "2026-11-20T18:39:59Z", "accepted"),
        (Realtime, "2026-11-20T19:00:00Z", "2026-11-20T18:59:00Z", "filled 1 at 102.00 (ask)"),
        (Realtime, "2026-11-20T19:00:00Z", "2026-11-20T18:58:59Z", "accepted"),
        // Yesterday's close is no longer valid once the session has opened, and neither is a price from before the
        // opening.
        (Delayed, "2026-11-20T14:30:00Z", "2026-11-19T21:00:01Z", "accepted"),
        (Delayed, "2026-11-20T14:35:00Z", "2026-11-20T14:29:00Z", "accepted"),
        // In the evening, at night, on a weekend, on Thanksgiving, and just before the opening.
        (Delayed, "2026-11-20T21:40:00Z", "2026-11-20T21:00:01Z", "filled 1 at 100.00 (past_close)"),
        (Realtime, "2026-11-20T21:00:30Z", "2026-11-20T21:00:00Z", "filled 1 at 100.00 (past_close)"),
        (Delayed, "2026-11-21T03:00:00Z", "2026-11-20T20:40:00Z", "filled 1 at 100.00 (past_close)"),
        // A price from the afternoon does not count as the close.
        (Delayed, "2026-11-21T03:00:00Z", "2026-11-20T20:39:59Z", "accepted"),
        (Delayed, "2026-11-22T18:00:00Z", "2026-11-20T21:00:01Z", "filled 1 at 100.00 (past_close)"),
        (Delayed, "2026-11-26T18:00:00Z", "2026-11-25T21:00:01Z", "filled 1 at 100.00 (past_close)"),
        (Realtime, "2026-11-23T14:29:59Z", "2026-11-20T21:00:01Z", "filled 1 at 100.00 (past_close)"),
        // The close of an earlier session is not the newest.
        (Delayed, "2026-11-21T03:00:00Z", "2026-11-19T21:00:01Z", "accepted"),
        // End-of-day sources, at any time, up to five days old.
        (EndOfDay, "2026-11-20T19:00:00Z", "2026-11-19T21:00:00Z", "filled 1 at 100.00 (past_close)"),
        (EndOfDay, "2026-11-20T21:29:59Z", "2026-11-19T21:00:00Z", "filled 1 at 100.00 (past_close)"),
        (EndOfDay, "2026-11-20T21:30:00Z", "2026-11-19T21:00:00Z", "accepted"),
    ] {
        let mut desk = Desk::new("1000", TradingRules::practice(Calendar::Xnys));
        desk.now = instant(now);
        desk.newest = at(of(freshness, spread("98.00", "100.00", "102.00")), instant(as_of));
        let order = desk.place(buy("1")).unwrap();
        let mut told = desk.tell(order, 0).split(" keeps").next().unwrap().to_owned();
        if let Some(receipt) = desk.journal.last().and_then(|entry| entry.receipt.as_ref()) {
            told.push_str(&format!(" ({})", receipt.rule));
        }
        assert_eq!(told, expected, "{freshness:?} at {now}, price of {as_of}");
        // An order never fills at a price that the source marks as stale.
        desk.newest.quote.stale = true;
        let order = desk.place(buy("1")).unwrap();
        assert!(desk.tell(order, 0).starts_with("accepted"), "stale at {now}");
    }
}

#[test]
fn an_order_at_the_close_expires_at_the_next_opening_without_a_price() {
    let mut desk = Desk::holding("1000", "10", realistic());
    let close = desk.place(sell("1").lasting(TimeInForce::Cls)).unwrap();
    let open = desk.place(buy("1").lasting(TimeInForce::Opg)).unwrap();
    desk.now = instant("2026-11-23T14:29:59Z");
    desk.work(vec![]);
    assert_eq!(desk.tell(close, 0), "accepted keeps 1 shares");
    // The closing price comes after later prices were matched.
    let late = desk.place(sell("1")).unwrap();
    desk.cancel(late, 0).unwrap();
    let mut other = Desk::holding("1000", "10", realistic());
    let filled = other.place(sell("1").lasting(TimeInForce::Cls)).unwrap();
    other.now = instant("2026-11-21T12:00:00Z");
    other.work(vec![]);
    other.work(vec![at(last("97.00"), instant("2026-11-20T21:00:00Z"))]);
    assert_eq!(other.tell(filled, 0), "filled 1 at 97.00");
    desk.now = instant("2026-11-23T14:30:00Z");
    desk.work(vec![]);
    assert_eq!((desk.tell(close, 0), desk.tell(open, 0)), ("expired".into(), "accepted keeps 100.00".into()));
    desk.now = instant("2026-11-23T21:00:00Z");
    desk.work(vec![]);
    assert_eq!(desk.tell(open, 0), "expired");
}

#[test]
fn an_order_that_became_too_expensive_is_rejected_with_a_reason() {
    let mut desk = Desk::new("1000", realistic());
    let order = desk.place(buy("10")).unwrap();
    desk.market(last("100.01"));
    assert_eq!(desk.tell(order, 0), "rejected");
    let reason = desk.groups[order].root().reject_reason.as_deref();
    assert_eq!(reason, Some("the order costs 1000.10 and 1000.00 is available"));
    assert_eq!(desk.books(), "cash 1000.00 keeps 0.00, shares 0 for 0.00 keeps 0");
}

#[test]
fn an_end_of_day_source_fills_a_day_order_at_the_close() {
    let mut desk = Desk::new("1000", realistic());
    let end_of_day = |mut price_move: PriceMove| {
        price_move.quote.freshness = Freshness::EndOfDay;
        price_move
    };
    desk.newest = at(end_of_day(last("100.00")), instant("2026-11-19T21:00:00Z"));
    let order = desk.place(buy("9")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 900.00");
    market_at(&mut desk, "2026-11-20T21:00:00Z", end_of_day(last("98.00")));
    assert_eq!(desk.tell(order, 0), "filled 9 at 98.00");
}

#[test]
fn immediate_orders_are_rejected_without_a_fresh_price_and_others_wait() {
    let mut desk = Desk::new("1000", practice());
    desk.wait(TimeDelta::seconds(61));
    let refused = OrderRejected::NoFreshPrice { as_of: desk.newest.quote.as_of };
    assert_eq!(desk.place(buy("1").lasting(TimeInForce::Fok)), Err(refused.clone()));
    assert_eq!(desk.place(buy("1").limit("110.00").lasting(TimeInForce::Ioc)), Err(refused));
    let order = desk.place(buy("1").limit("110.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 110.00");
    let market = desk.place(buy("1")).unwrap();
    assert_eq!(desk.tell(market, 0), "accepted keeps 100.00");
    desk.market(last("101.00"));
    assert_eq!(desk.tell(order, 0), "filled 1 at 101.00");
    assert_eq!(desk.tell(market, 0), "filled 1 at 101.00");
}

#[test]
fn matching_prices_together_or_one_by_one_gives_the_same_result() {
    let way = ["99.00", "104.00", "98.00", "96.50", "103.00", "91.00"];
    let run = |at_once: bool| {
        let mut desk = Desk::holding("3000", "10", illiquid());
        desk.place(sell("4").trail("5.00")).unwrap();
        desk.place(sell("4").stop_limit("97.00", "96.75").lasting(TimeInForce::Gtc)).unwrap();
        desk.place(buy("15").limit("98.00")).unwrap();
        let start = desk.now;
        let moves = (1..).zip(way).map(|(step, mid)| at(traded(mid, 80), start + TimeDelta::seconds(step)));
        let moves = moves.collect::<Vec<_>>();
        if at_once {
            desk.now = start + TimeDelta::seconds(10);
            desk.work(moves);
        } else {
            for price_move in moves {
                desk.now = price_move.quote.as_of;
                desk.work(vec![price_move]);
            }
        }
        let told = (0..3).map(|order| desk.tell(order, 0)).collect::<Vec<_>>();
        (told, desk.portfolio.cash_balance)
    };
    // 104.00 less 5.00 triggers at 98.00; the stop-limit triggers at 96.50 and sells at 103.00.
    let expected = ["filled 4 at 98.00", "filled 4 at 103.00", "filled 15 at 97.30"];
    assert_eq!(run(true).0, expected);
    assert_eq!(run(true), run(false));
}

// Canceling and replacing.

#[test]
fn a_canceled_order_releases_its_reservation() {
    let mut desk = Desk::holding("1000", "10", illiquid());
    desk.newest = traded("100.00", 20);
    let order = desk.place(buy("10").limit("100.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "partially_filled 2 at 100.00 keeps 800.00");
    let exit = desk.place(sell("12").limit("120.00")).unwrap();
    desk.cancel(order, 0).unwrap();
    desk.cancel(exit, 0).unwrap();
    assert_eq!(desk.tell(order, 0), "canceled 2 at 100.00");
    assert_eq!(desk.books(), "cash 800.00 keeps 0.00, shares 12 for 1200.00 keeps 0");
    let status = desk.groups[order].root().status;
    assert_eq!(desk.cancel(order, 0), Err(OrderRejected::NotOpen { status }));
    desk.market(last("90.00"));
    assert_eq!(desk.tell(order, 0), "canceled 2 at 100.00");
}

#[test]
fn a_replacement_is_for_the_unfilled_shares() {
    let mut desk = Desk::new("1000", illiquid());
    desk.newest = traded("100.00", 20);
    let order = desk.place(buy("9").limit("100.00")).unwrap();
    desk.newest = traded("100.00", 0);
    desk.replace(order, 0, &to_limit("99.00")).unwrap();
    assert_eq!(desk.replaced[0].status.as_str(), "replaced");
    assert_eq!(desk.replaced[0].filled_quantity, shares("2"));
    assert_eq!(desk.groups[order].root().size, OrderSize::Quantity(shares("7")));
    assert_eq!(desk.books(), "cash 800.00 keeps 693.00, shares 2 for 200.00 keeps 0");
    assert_eq!(desk.replace(order, 0, &to_quantity("9")), Err(short_of_cash("891.00", "800.00")));
    desk.replace(order, 0, &to_quantity("8")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 792.00");
    desk.market(traded("98.00", 80));
    assert_eq!(desk.tell(order, 0), "filled 8 at 98.00");
    let refused = desk.replace(order, 0, &to_quantity("8"));
    assert_eq!(refused, Err(OrderRejected::NotOpen { status: domain::OrderStatus::Filled }));
}

#[test]
fn a_replacement_meets_the_market_like_a_new_order() {
    let mut desk = Desk::holding("0", "10", practice());
    let order = desk.place(sell("10").limit("110.00")).unwrap();
    assert_eq!(desk.replace(order, 0, &to_quantity("11")), Err(short_of_shares("11", shares("10"))));
    desk.replace(order, 0, &to_limit("99.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 10 at 100.00");
    assert_eq!(desk.books(), "cash 1000.00 keeps 0.00, shares 0 for 0.00 keeps 0");
}

#[test]
fn a_replacement_by_money_is_for_the_unspent_amount() {
    let mut desk = Desk::new("1000", illiquid());
    desk.newest = traded("100.00", 20);
    let order = desk.place(buy("1").worth("900").limit("100.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "partially_filled 2 at 100.00 keeps 700.00");
    desk.newest = traded("100.00", 0);
    desk.replace(order, 0, &to_limit("99.00")).unwrap();
    assert_eq!(desk.groups[order].root().size, OrderSize::Notional(money("700")));
    assert_eq!(desk.tell(order, 0), "accepted keeps 700.00");
}

#[test]
fn a_replaced_stop_must_be_triggered_again() {
    let mut desk = Desk::holding("0", "10", illiquid());
    let order = desk.place(sell("10").trail("5.00")).unwrap();
    desk.market(traded("95.00", 40));
    assert_eq!(desk.tell(order, 0), "partially_filled 4 at 95.00 keeps 6 shares");
    // Ten below the best price of 100.00.
    let trail = Some(Trail::Price(price("10.00")));
    desk.replace(order, 0, &ReplaceOrder { trail, ..ReplaceOrder::default() }).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 6 shares");
    desk.market(traded("90.01", 100));
    assert_eq!(desk.tell(order, 0), "accepted keeps 6 shares");
    desk.market(traded("90.00", 100));
    assert_eq!(desk.tell(order, 0), "filled 6 at 90.00");
}

#[test]
fn an_expired_order_is_not_carried_into_the_next_session() {
    let mut desk = Desk::new("1000", realistic());
    let order = desk.place(buy("5").limit("90.00")).unwrap();
    desk.now = instant("2026-11-20T21:00:01Z");
    let over = OrderRejected::NotOpen { status: domain::OrderStatus::Expired };
    assert_eq!(desk.replace(order, 0, &to_limit("91.00")), Err(over));
    desk.cancel(order, 0).unwrap();
}

#[test]
fn inconsistent_changes_are_reported_by_field() {
    let mut desk = Desk::holding("1000", "10", practice());
    let order = desk.place(sell("5").stop("90.00")).unwrap();
    let pair = desk.place(sell("5").limit("110.00").oco("90.00")).unwrap();
    let stop = |stop: &str| ReplaceOrder { stop_price: Some(price(stop)), ..ReplaceOrder::default() };
    let lasting = |time| ReplaceOrder { time_in_force: Some(time), ..ReplaceOrder::default() };
    for (group, leg, changes, field) in [
        (order, 0, to_limit("100.00"), "limit_price"),
        (order, 0, lasting(TimeInForce::Ioc), "time_in_force"),
        (pair, 0, stop("80.00"), "stop_price"),
        (pair, 0, lasting(TimeInForce::Gtc), "time_in_force"),
        (pair, 0, to_limit("90.00"), "limit_price"),
        (pair, 1, stop("110.00"), "stop_price"),
    ] {
        let refused = desk.replace(group, leg, &changes);
        let Err(OrderRejected::Unfit(issues)) = refused else { panic!("{changes:?} gave {refused:?}") };
        assert_eq!(issues.iter().map(|issue| issue.field().as_str()).collect::<Vec<_>>(), [field]);
    }
}

// Linked orders.

#[test]
fn the_exits_of_a_bracket_become_active_when_the_entry_has_filled() {
    let mut desk = Desk::new("1000", practice());
    let bracket = desk.place(buy("5").bracket("110.00", "95.00")).unwrap();
    let told = |desk: &Desk| [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told(&desk), ["filled 5 at 100.00", "accepted keeps 5 shares", "accepted"]);
    assert_eq!(desk.place(sell("1")), Err(short_of_shares("1", domain::Quantity::zero())));
    desk.market(last("111.00"));
    assert_eq!(told(&desk), ["filled 5 at 100.00", "filled 5 at 111.00", "canceled"]);
    assert_eq!(desk.books(), "cash 1055.00 keeps 0.00, shares 0 for 0.00 keeps 0");

    let bracket = desk.place(buy("5").limit("105.00").bracket("120.00", "95.00")).unwrap();
    let told = |desk: &Desk| [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told(&desk), ["accepted keeps 525.00", "held", "held"]);
    // The exits meet prices only after the entry's.
    desk.market(last("94.00"));
    assert_eq!(told(&desk), ["filled 5 at 94.00", "accepted keeps 5 shares", "accepted"]);
    desk.market(last("93.00"));
    assert_eq!(told(&desk), ["filled 5 at 94.00", "canceled", "filled 5 at 93.00"]);
}

#[test]
fn exits_are_for_the_shares_that_the_entry_bought() {
    let mut desk = Desk::new("1000", illiquid());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    let told = |desk: &Desk| [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    desk.market(traded("99.00", 30));
    assert_eq!(told(&desk), ["partially_filled 3 at 99.00 keeps 495.00", "held", "held"]);
    desk.cancel(bracket, 0).unwrap();
    assert_eq!(told(&desk), ["canceled 3 at 99.00", "accepted keeps 3 shares", "accepted"]);
    desk.market(traded("94.00", 20));
    assert_eq!(
        told(&desk),
        ["canceled 3 at 99.00", "accepted keeps 1 shares", "partially_filled 2 at 94.00"]
    );
    desk.market(traded("110.00", 20));
    assert_eq!(told(&desk), ["canceled 3 at 99.00", "filled 1 at 110.00", "canceled 2 at 94.00"]);
    assert_eq!(desk.books(), "cash 1001.00 keeps 0.00, shares 0 for 0.00 keeps 0");
}

#[test]
fn exits_end_with_an_entry_that_bought_nothing() {
    let mut desk = Desk::new("1000", practice());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.cancel(bracket, 0).unwrap();
    assert_eq!([0, 1, 2].map(|leg| desk.tell(bracket, leg)), ["canceled"; 3]);
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.wait(TimeDelta::days(1));
    desk.work(vec![]);
    assert_eq!([0, 1, 2].map(|leg| desk.tell(bracket, leg)), ["expired", "canceled", "canceled"]);
    // Canceling one exit cancels the other, and keeps the entry.
    desk.newest = at(last("100.00"), desk.now);
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.cancel(bracket, 2).unwrap();
    assert_eq!(
        [0, 1, 2].map(|leg| desk.tell(bracket, leg)),
        ["accepted keeps 792.00", "canceled", "canceled"]
    );
}

#[test]
fn a_partially_filled_day_bracket_ends_at_the_close() {
    let mut desk = Desk::new("1000", illiquid());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.market(traded("99.00", 30));
    desk.wait(TimeDelta::days(1));
    desk.work(vec![]);
    let told = [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told, ["expired 3 at 99.00", "expired", "expired"]);
    assert_eq!(desk.books(), "cash 703.00 keeps 0.00, shares 3 for 297.00 keeps 0");
}

#[test]
fn exits_include_shares_bought_before_the_entry_was_replaced() {
    let mut desk = Desk::new("1000", illiquid());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.market(traded("99.00", 30));
    desk.newest = traded("99.00", 0);
    desk.newest.quote.as_of = desk.now;
    desk.replace(bracket, 0, &to_quantity("4")).unwrap();
    let told = |desk: &Desk| [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told(&desk), ["accepted keeps 396.00", "held", "held"]);
    desk.market(traded("99.00", 10));
    desk.cancel(bracket, 0).unwrap();
    assert_eq!(told(&desk), ["canceled 1 at 99.00", "accepted keeps 4 shares", "accepted"]);
}

#[test]
fn a_replaced_and_canceled_entry_leaves_exits_for_its_shares() {
    let mut desk = Desk::new("1000", illiquid());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.market(traded("99.00", 30));
    desk.replace(bracket, 0, &to_limit("98.00")).unwrap();
    desk.cancel(bracket, 0).unwrap();
    let told = [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told, ["canceled", "accepted keeps 3 shares", "accepted"]);
}

#[test]
fn exits_are_limited_to_the_remaining_shares() {
    let mut desk = Desk::new("1000", illiquid());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    desk.market(traded("99.00", 30));
    desk.place(sell("1")).unwrap();
    desk.cancel(bracket, 0).unwrap();
    let told = [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told, ["canceled 3 at 99.00", "accepted keeps 2 shares", "accepted"]);

    let bracket = desk.place(buy("7").limit("98.00").bracket("110.00", "95.00")).unwrap();
    desk.market(traded("98.00", 10));
    desk.place(sell("1")).unwrap();
    desk.cancel(bracket, 0).unwrap();
    let told = [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told, ["canceled 1 at 98.00", "canceled", "canceled"]);
    assert_eq!(desk.groups[bracket].orders[1].size, OrderSize::Quantity(shares("1")));
}

#[test]
fn held_exits_can_be_moved_but_not_resized() {
    let mut desk = Desk::new("1000", practice());
    let bracket = desk.place(buy("8").limit("99.00").bracket("110.00", "95.00")).unwrap();
    let refused = desk.replace(bracket, 1, &to_quantity("3"));
    assert!(matches!(refused, Err(OrderRejected::Unfit(issues)) if issues == [OrderIssue::HeldExitQuantity]));
    desk.replace(bracket, 1, &to_limit("105.00")).unwrap();
    assert_eq!(desk.tell(bracket, 1), "held");
    desk.market(last("99.00"));
    desk.market(last("105.00"));
    let told = [0, 1, 2].map(|leg| desk.tell(bracket, leg));
    assert_eq!(told, ["filled 8 at 99.00", "filled 8 at 105.00", "canceled"]);
}

#[test]
fn two_exits_reserve_the_shares_once_and_share_their_fills() {
    let mut desk = Desk::holding("0", "10", illiquid());
    let pair = desk.place(sell("10").limit("105.00").oco("95.00")).unwrap();
    let told = |desk: &Desk| [0, 1].map(|leg| desk.tell(pair, leg));
    assert_eq!(told(&desk), ["accepted keeps 10 shares", "accepted"]);
    desk.market(traded("105.00", 40));
    assert_eq!(told(&desk), ["partially_filled 4 at 105.00 keeps 6 shares", "accepted"]);
    assert_eq!(desk.groups[pair].orders[1].size, OrderSize::Quantity(shares("6")));
    desk.market(traded("95.00", 20));
    assert_eq!(told(&desk), ["partially_filled 4 at 105.00 keeps 4 shares", "partially_filled 2 at 95.00"]);
    desk.newest = traded("95.00", 0);
    desk.newest.quote.as_of = desk.now;
    desk.replace(pair, 0, &to_quantity("3")).unwrap();
    assert_eq!(told(&desk), ["accepted keeps 3 shares", "partially_filled 2 at 95.00"]);
    assert_eq!(desk.replace(pair, 1, &to_quantity("5")), Err(short_of_shares("5", shares("4"))));
    desk.market(traded("94.00", 100));
    // Two at 95.00 and three at 94.00.
    assert_eq!(told(&desk), ["canceled", "filled 5 at 94.40"]);
    assert_eq!(desk.books(), "cash 892.00 keeps 0.00, shares 1 for 100.00 keeps 0");
}

#[test]
fn an_exit_that_ends_cancels_the_other() {
    let mut desk = Desk::holding("0", "10", practice());
    let pair = desk.place(sell("10").limit("105.00").oco("95.00")).unwrap();
    desk.cancel(pair, 1).unwrap();
    assert_eq!([0, 1].map(|leg| desk.tell(pair, leg)), ["canceled", "canceled"]);
    let pair = desk.place(sell("10").limit("105.00").oco("95.00")).unwrap();
    desk.market(last("90.00"));
    assert_eq!([0, 1].map(|leg| desk.tell(pair, leg)), ["canceled", "filled 10 at 90.00"]);
    assert_eq!(
        desk.place(sell("10").limit("105.00").oco("95.00")),
        Err(short_of_shares("10", domain::Quantity::zero()))
    );
}

#[test]
fn an_oco_pair_meets_the_market_when_it_is_placed() {
    let mut desk = Desk::holding("0", "10", practice());
    let pair = desk.place(sell("5").limit("99.00").oco("95.00")).unwrap();
    assert_eq!([0, 1].map(|leg| desk.tell(pair, leg)), ["filled 5 at 100.00", "canceled"]);
    let pair = desk.place(sell("5").limit("120.00").oco("101.00")).unwrap();
    assert_eq!([0, 1].map(|leg| desk.tell(pair, leg)), ["canceled", "filled 5 at 100.00"]);
}

#[test]
fn a_single_exit_follows_its_entry() {
    let mut desk = Desk::new("2000", practice());
    let take_profit = Attached::OtoTakeProfit { take_profit: price("110.00") };
    let profit = desk.place(buy("5").with(take_profit)).unwrap();
    let stop = Attached::OtoStopLoss { stop_loss: stop_loss("95.00") };
    let loss = desk.place(buy("5").with(stop)).unwrap();
    assert_eq!(desk.tell(profit, 1), "accepted keeps 5 shares");
    assert_eq!(desk.books(), "cash 1000.00 keeps 0.00, shares 10 for 1000.00 keeps 10");
    desk.market(last("94.00"));
    desk.market(last("111.00"));
    assert_eq!([desk.tell(profit, 1), desk.tell(loss, 1)], ["filled 5 at 111.00", "filled 5 at 94.00"]);
    assert_eq!(desk.books(), "cash 2025.00 keeps 0.00, shares 0 for 0.00 keeps 0");
}

// Commission and other costs.

#[test]
fn the_minimum_commission_is_charged_once_for_all_parts() {
    let mut desk = Desk::new("1010", TradingRules { commission: broker(), ..illiquid() });
    // Twenty shares: 0.50 + 2.00, above the minimum of 2.00.
    let order = desk.place(buy("20").limit("50.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 1002.50");
    desk.market(traded("50.00", 60));
    // 14 / 20 of the reservation; then 5 / 14 of that, 250.625, rounded half to even.
    assert_eq!(desk.tell(order, 0), "partially_filled 6 at 50.00 keeps 701.75");
    desk.market(traded("49.00", 90));
    assert_eq!(desk.tell(order, 0), "partially_filled 15 at 49.40 keeps 250.62");
    desk.market(traded("50.00", 90));
    assert_eq!(desk.tell(order, 0), "filled 20 at 49.55");
    assert_eq!(
        desk.entries(1),
        [
            "buy 6 at 50.00, commission 2.00, amount -302.00, realized -",
            "buy 9 at 49.00, commission 0.00, amount -441.00, realized -",
            "buy 5 at 50.00, commission 0.50, amount -250.50, realized -",
        ]
    );
    assert_eq!(desk.books(), "cash 16.50 keeps 0.00, shares 20 for 993.50 keeps 0");
}

#[test]
fn a_sell_pays_its_commission_from_the_proceeds_or_from_cash() {
    let mut desk = Desk::holding("0.50", "10", TradingRules { commission: broker(), ..practice() });
    let sold = desk.place(sell("0.015")).unwrap();
    // 1.50 less 2.00.
    assert_eq!(desk.entries(2), ["sell 0.015 at 100.00, commission 2.00, amount -0.50, realized -2.00"]);
    assert_eq!(desk.tell(sold, 0), "filled 0.015 at 100.00");
    assert_eq!(desk.place(sell("0.015")), Err(short_of_cash("0.50", "0.00")));
}

#[test]
fn lower_commission_rates_refund_nothing() {
    let mut desk = Desk::new("1000", TradingRules { commission: broker(), ..illiquid() });
    desk.newest = traded("50.00", 40);
    let order = desk.place(buy("10").limit("50.00")).unwrap();
    desk.rules.commission = Commission::default();
    desk.market(traded("50.00", 100));
    assert_eq!(desk.tell(order, 0), "filled 10 at 50.00");
    assert_eq!(desk.groups[order].root().commission, money("2.00"));
    assert_eq!(desk.books(), "cash 498.00 keeps 0.00, shares 10 for 502.00 keeps 0");
}

#[test]
fn slippage_is_part_of_the_cost_of_a_market_order() {
    let rules = TradingRules { slippage: Some("1".parse().unwrap()), ..practice() };
    let mut desk = Desk::new("1000", rules);
    assert_eq!(desk.place(buy("10")), Err(short_of_cash("1010.00", "1000.00")));
    let order = desk.place(buy("5").stop("110.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 555.50");
    desk.market(last("110.00"));
    assert_eq!(desk.tell(order, 0), "filled 5 at 111.10");
    let receipt = desk.journal[1].receipt.as_ref().unwrap();
    assert_eq!(receipt.slippage(domain::Side::Buy, &price("111.10")).to_string(), "1.10");
}

// Reservations at their limits.

#[test]
fn cash_for_exactly_n_orders_accepts_exactly_n() {
    let rules = TradingRules { commission: broker(), ..practice() };
    // Each costs 300.00 and 2.00.
    let mut desk = Desk::new("1510", rules);
    let taken = |desk: &mut Desk, command: &domain::PlaceOrder| {
        (0..50).filter(|_| desk.place(command.clone()).is_ok()).count()
    };
    assert_eq!(taken(&mut desk, &buy("3").limit("100.00").lasting(TimeInForce::Opg)), 5);
    assert_eq!(desk.books(), "cash 1510.00 keeps 1510.00, shares 0 for 0.00 keeps 0");
    (0..5).for_each(|group| desk.cancel(group, 0).unwrap());
    assert_eq!(taken(&mut desk, &buy("3")), 5);
    assert_eq!(desk.books(), "cash 0.00 keeps 0.00, shares 15 for 1510.00 keeps 0");
    // Sells reserve only shares: their commission is paid from the proceeds.
    assert_eq!(taken(&mut desk, &sell("3").limit("200.00")), 5);
    assert_eq!(desk.books(), "cash 0.00 keeps 0.00, shares 15 for 1510.00 keeps 15");
}

#[test]
fn a_fill_above_the_estimate_never_leaves_more_reserved_than_available() {
    let mut desk = Desk::new("1000", TradingRules { liquidity: Some("10".parse().unwrap()), ..realistic() });
    let order = desk.place(buy("10")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 1000.00");
    desk.market(traded("150.00", 50));
    assert_eq!(desk.tell(order, 0), "partially_filled 5 at 150.00 keeps 250.00");
    desk.market(traded("100.00", 50));
    assert_eq!(desk.tell(order, 0), "rejected 5 at 150.00");
    assert_eq!(desk.books(), "cash 250.00 keeps 0.00, shares 5 for 750.00 keeps 0");
}

#[test]
fn a_triggered_stop_reserves_the_market_price() {
    let mut desk = Desk::new("1000", illiquid());
    desk.newest = traded("100.00", 40);
    let order = desk.place(buy("9").stop("50.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "partially_filled 4 at 100.00 keeps 500.00");
}

#[test]
fn orders_worth_less_than_a_cent_are_rejected() {
    let mut desk = Desk::holding("1000", "10", practice());
    assert_eq!(desk.place(buy("0.00005")), Err(OrderRejected::TooSmall));
    assert_eq!(desk.place(buy("0.00005").limit("90.00")), Err(OrderRejected::TooSmall));
    assert_eq!(desk.place(buy("0.00005").lasting(TimeInForce::Opg)), Err(OrderRejected::TooSmall));
    // A tiny fraction can be sold, for nothing.
    let dust = desk.place(sell("0.00005")).unwrap();
    assert_eq!(desk.tell(dust, 0), "filled 0.00005 at 100.00");
}

#[test]
fn a_rest_worth_less_than_a_cent_fills_with_the_previous_part() {
    let mut desk = Desk::new("2000", illiquid());
    desk.newest = traded("100.00", 100);
    let order = desk.place(buy("10.00005").limit("100.00")).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 10.00005 at 100.00");
    let order = desk.place(buy("1").worth("999.99")).unwrap();
    assert_eq!(desk.tell(order, 0), "filled 9.9999 at 100.00");
}

#[test]
fn a_part_worth_less_than_a_cent_waits_for_more() {
    let mut desk = Desk::new("10", illiquid());
    let order = desk.place(buy("100").limit("0.0040")).unwrap();
    assert_eq!(desk.tell(order, 0), "accepted keeps 0.40");
    desk.market(traded("0.0040", 10));
    assert_eq!(desk.tell(order, 0), "accepted keeps 0.40");
    desk.market(traded("0.0040", 500));
    assert_eq!(desk.tell(order, 0), "partially_filled 50 at 0.0040 keeps 0.20");
    desk.market(traded("0.0040", 500));
    assert_eq!(desk.tell(order, 0), "filled 100 at 0.0040");
    assert_eq!(desk.books(), "cash 9.60 keeps 0.00, shares 100 for 0.40 keeps 0");
}

#[test]
fn numbers_stay_short_with_many_partial_fills() {
    let mut desk = Desk::new("100000", illiquid());
    let order = desk.place(buy("333.333333333").limit("99.99")).unwrap();
    for step in 0..400_i64 {
        let cents = 9_900 + step * 7 % 99;
        desk.market(traded(&format!("{}.{:02}", cents / 100, cents % 100), 10));
    }
    let order = &desk.groups[order].orders[0];
    assert_eq!(order.status.as_str(), "filled");
    let digits = |text: String| text.split('.').nth(1).map_or(0, str::len);
    assert_eq!(digits(order.filled_quantity.to_string()), 9);
    assert!(digits(order.filled_price.as_ref().unwrap().to_shortest()) <= 6);
    assert!(digits(order.filled_amount.to_string()) <= 11);
    assert_eq!(desk.portfolio.reserved.cash, Money::zero());
}

// Previews.

/// The preview of any order equals the result of placing it: the same order, the same fill, the same rejection.
#[test]
fn a_preview_equals_the_result_of_placing_the_order() {
    let stock = || domain::Stock {
        id: domain::StockId(7),
        listing: std::sync::Arc::new(domain::Listing {
            symbol: "AAPL".parse().unwrap(),
            company_name: "Apple Inc.".to_owned(),
            exchange: "NASDAQ".to_owned(),
            sector: String::new(),
            currency: domain::Currency::Usd,
        }),
        last: None,
        delisted_on: None,
    };
    let all = OrderSize::OfPosition("100".parse().unwrap());
    let commands = || {
        [
            buy("3"),
            buy("3.7").limit("101.00"),
            buy("3").limit("99.00").lasting(TimeInForce::Gtc),
            buy("3").stop("105.00"),
            buy("3").trail("2.00"),
            buy("1").worth("123.45"),
            buy("9").lasting(TimeInForce::Fok),
            buy("9").lasting(TimeInForce::Ioc),
            buy("9").lasting(TimeInForce::Opg),
            buy("2").bracket("120.00", "90.00"),
            buy("2").bracket("100.00", "90.00"),
            buy("1000000"),
            sell("4"),
            sell("4").stop("95.00"),
            sell("4").limit("105.00").oco("95.00"),
            sell("1").worth("1000.00"),
            sell("40"),
            domain::PlaceOrder { size: all.clone(), ..sell("1") },
            domain::PlaceOrder { size: all.clone(), ..buy("1") },
        ]
    };
    for rules in [practice(), illiquid(), realistic(), TradingRules { commission: broker(), ..illiquid() }] {
        for command in commands() {
            let mut desk = Desk::holding("2000", "10", rules.clone());
            desk.newest = PriceMove { volume: Some(50), ..spread("99.98", "100.00", "100.02") };
            let valuation = domain::Valuation::new(desk.portfolio.cash_balance.clone(), [], &[]);
            let newest_price = domain::NewestPrice { newest: &desk.newest, requested_at: desk.now };
            let before = desk.portfolio.clone();
            let preview =
                before.preview(stock(), command.clone(), newest_price, rules.at(desk.now), &valuation);
            if !command.issues().is_empty() {
                assert!(matches!(preview, Err(OrderRejected::Unfit(_))), "{command:?}");
                continue;
            }
            match (preview, desk.place(command.clone())) {
                (Err(foretold), Err(refused)) => assert_eq!(foretold, refused, "{command:?}"),
                (Ok(preview), Ok(placed)) => {
                    let order = desk.groups[placed].root();
                    let same = domain::Order { id: order.id, ..preview.order.clone() };
                    assert_eq!(&same, order, "{command:?}");
                    let fill = desk.journal.last().filter(|entry| entry.order_id == Some(order.id));
                    let amount = |entry: &domain::JournalEntry| entry.amount.clone();
                    assert_eq!(preview.fill.as_ref().map(amount), fill.map(amount), "{command:?}");
                    assert_eq!(preview.buying_power_after, desk.portfolio.buying_power(), "{command:?}");
                    if order.status == domain::OrderStatus::Filled {
                        assert_eq!(preview.cash_after, desk.portfolio.cash_balance, "{command:?}");
                    }
                }
                (preview, placed) => panic!("{command:?}: previewed {preview:?}, placed {placed:?}"),
            }
        }
    }
}
