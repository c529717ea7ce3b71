//! Tests one price and one order: tables of cases computed by hand, each with its reason.

use domain::matching::{Execution, LiquidityWindow, Reaction, meets, react};
use domain::{
    Calendar, Money, Order, OrderId, OrderStatus, PlaceOrder, PortfolioId, PriceMove, Quantity, StockId,
    TimeInForce, TradingRules,
};
use uuid::Uuid;

use crate::desk::{
    Desk, Ticket, at, buy, friday, instant, last, practice, realistic, sell, shares, spread, traded,
};

fn working(command: PlaceOrder) -> Order {
    Order {
        id: OrderId(Uuid::nil()),
        portfolio_id: PortfolioId(1),
        stock_id: StockId(7),
        symbol: command.symbol,
        client_order_id: None,
        side: command.side,
        size: command.size,
        terms: command.terms,
        time_in_force: command.time_in_force,
        order_class: command.attached.class(),
        parent_order_id: None,
        replaces: None,
        status: OrderStatus::Accepted,
        triggered_at: None,
        high_water_price: None,
        reserved_cash: Money::zero(),
        reserved_quantity: Quantity::zero(),
        filled_quantity: Quantity::zero(),
        filled_amount: domain::money::ExactAmount::zero(),
        filled_price: None,
        commission: Money::zero(),
        submitted_at: friday(),
        last_matched_at: friday(),
        filled_at: None,
        canceled_at: None,
        expires_at: None,
        reject_reason: None,
    }
}

fn told(reaction: Reaction) -> String {
    let mut parts = Vec::new();
    if let Some(best) = reaction.high_water {
        parts.push(format!("follows {best}"));
    }
    if reaction.triggers {
        parts.push("triggers".to_owned());
    }
    if let Some(left) = reaction.kept_liquidity {
        parts.push(format!("keeps {left} of the volume"));
    }
    if let Some(Execution { price, rule, at_most, .. }) = reaction.execution {
        let most = at_most.map_or_else(String::new, |most| format!(" at most {most}"));
        parts.push(format!("fills{most} at {price} ({rule})"));
    }
    if reaction.ends {
        parts.push("ends".to_owned());
    }
    parts.join(", ")
}

/// Lets the prices meet the order one after the other until one fills it.
fn check<const N: usize>(
    why: &str,
    command: PlaceOrder,
    rules: &TradingRules,
    steps: [(PriceMove, &str); N],
) {
    assert_eq!(command.issues(), [], "{why}");
    check_order(why, working(command), rules, steps);
}

fn check_order<const N: usize>(
    why: &str,
    mut order: Order,
    rules: &TradingRules,
    steps: [(PriceMove, &str); N],
) {
    let mut window = LiquidityWindow { kept: Quantity::zero(), is_over: false };
    for (step, (price_move, expected)) in steps.into_iter().enumerate() {
        let reaction = react(&order, &price_move, &window, rules);
        window.kept = reaction.kept_liquidity.clone().unwrap_or_else(Quantity::zero);
        if reaction.high_water.is_some() {
            order.high_water_price.clone_from(&reaction.high_water);
        }
        if reaction.triggers {
            order.triggered_at = Some(price_move.quote.as_of);
        }
        assert_eq!(told(reaction), expected, "{why}, price {}", step + 1);
    }
}

#[test]
fn a_market_order_takes_the_other_side_of_the_spread() {
    let rules = practice();
    check(
        "a buy pays the ask",
        buy("10"),
        &rules,
        [(spread("99.98", "100.00", "100.02"), "fills at 100.02 (ask)")],
    );
    check(
        "a sell gets the bid",
        sell("10"),
        &rules,
        [(spread("99.98", "100.00", "100.02"), "fills at 99.98 (bid)")],
    );
    check(
        "without bid and ask it is the last trade",
        buy("10"),
        &rules,
        [(last("100.00"), "fills at 100.00 (last)")],
    );
}

#[test]
fn a_limit_fills_at_the_limit_or_better() {
    let rules = practice();
    check(
        "a buy waits until the ask is the limit, exactly",
        buy("10").limit("100.00"),
        &rules,
        [(last("100.01"), ""), (last("100.00"), "fills at 100.00 (last)")],
    );
    check(
        "the ask counts, not the last trade",
        buy("10").limit("100.00"),
        &rules,
        [
            (spread("99.00", "99.50", "100.01"), ""),
            (spread("99.00", "100.50", "100.00"), "fills at 100.00 (ask)"),
        ],
    );
    check(
        "a gap below the limit is the buyer's",
        buy("10").limit("100.00"),
        &rules,
        [(last("104.00"), ""), (spread("94.98", "95.00", "95.02"), "fills at 95.02 (ask)")],
    );
    check(
        "a sell waits until the bid is the limit, exactly",
        sell("10").limit("100.00"),
        &rules,
        [(last("99.99"), ""), (last("100.00"), "fills at 100.00 (last)")],
    );
    check(
        "the bid counts, not the last trade",
        sell("10").limit("100.00"),
        &rules,
        [
            (spread("99.99", "100.50", "101.00"), ""),
            (spread("100.00", "99.50", "101.00"), "fills at 100.00 (bid)"),
        ],
    );
    check(
        "a gap above the limit is the seller's",
        sell("10").limit("100.00"),
        &rules,
        [(last("96.00"), ""), (spread("104.98", "105.00", "105.02"), "fills at 104.98 (bid)")],
    );
}

#[test]
fn a_stop_triggers_on_the_last_trade_and_fills_at_the_market() {
    let rules = practice();
    check(
        "a sell triggers when the last trade is the stop, exactly",
        sell("10").stop("95.00"),
        &rules,
        [(last("95.01"), ""), (last("95.00"), "triggers, fills at 95.00 (last)")],
    );
    check(
        "a bid below the stop is no trade",
        sell("10").stop("95.00"),
        &rules,
        [
            (spread("94.00", "95.01", "96.00"), ""),
            (spread("94.00", "95.00", "96.00"), "triggers, fills at 94.00 (bid)"),
        ],
    );
    check(
        "far beyond its stop it still fills at the market",
        sell("10").stop("95.00"),
        &rules,
        [(last("100.00"), ""), (last("80.00"), "triggers, fills at 80.00 (last)")],
    );
    check(
        "a buy triggers from below",
        buy("10").stop("105.00"),
        &rules,
        [(last("104.99"), ""), (spread("104.98", "105.00", "105.03"), "triggers, fills at 105.03 (ask)")],
    );
    check(
        "a buy far beyond its stop",
        buy("10").stop("105.00"),
        &rules,
        [(last("120.00"), "triggers, fills at 120.00 (last)")],
    );
}

#[test]
fn a_triggered_stop_limit_waits_for_its_limit() {
    let rules = practice();
    check(
        "a sell that falls through its limit",
        sell("10").stop_limit("95.00", "94.00"),
        &rules,
        [
            (last("95.01"), ""),
            (last("90.00"), "triggers"),
            (last("93.99"), ""),
            (spread("94.20", "94.30", "94.40"), "fills at 94.20 (bid)"),
        ],
    );
    check(
        "a buy that rises through its limit",
        buy("10").stop_limit("105.00", "106.00"),
        &rules,
        [
            (last("104.99"), ""),
            (last("110.00"), "triggers"),
            (last("106.01"), ""),
            (last("106.00"), "fills at 106.00 (last)"),
        ],
    );
    check(
        "stop and limit met by one price",
        sell("10").stop_limit("95.00", "94.00"),
        &rules,
        [(last("94.50"), "triggers, fills at 94.50 (last)")],
    );
    check(
        "the limit alone is not enough",
        buy("10").stop_limit("105.00", "106.00"),
        &rules,
        [(last("100.00"), "")],
    );
}

#[test]
fn a_trailing_stop_follows_the_best_price() {
    let rules = practice();
    check(
        "a sell follows up, not down",
        sell("10").trail("5.00"),
        &rules,
        [
            (last("100.00"), "follows 100.00"),
            (last("98.00"), ""),
            (last("103.00"), "follows 103.00"),
            (last("98.01"), ""),
            (last("98.00"), "triggers, fills at 98.00 (last)"),
        ],
    );
    check(
        "a gap through the stop fills at the market",
        sell("10").trail("5.00"),
        &rules,
        [
            (last("100.00"), "follows 100.00"),
            (spread("79.90", "80.00", "80.10"), "triggers, fills at 79.90 (bid)"),
        ],
    );
    // 120.00 less 10 % is 108.00.
    check(
        "a sell by percent keeps its share of the best price",
        sell("10").trail_percent("10"),
        &rules,
        [
            (last("100.00"), "follows 100.00"),
            (last("90.01"), ""),
            (last("120.00"), "follows 120.00"),
            (last("108.01"), ""),
            (last("108.00"), "triggers, fills at 108.00 (last)"),
        ],
    );
    check(
        "a buy follows down, not up",
        buy("10").trail("5.00"),
        &rules,
        [
            (last("100.00"), "follows 100.00"),
            (last("104.99"), ""),
            (last("95.00"), "follows 95.00"),
            (last("99.99"), ""),
            (last("100.00"), "triggers, fills at 100.00 (last)"),
        ],
    );
    // 80.00 plus 2.5 % is 82.00.
    check(
        "a buy by percent",
        buy("10").trail_percent("2.5"),
        &rules,
        [
            (last("100.00"), "follows 100.00"),
            (last("80.00"), "follows 80.00"),
            (last("81.99"), ""),
            (last("82.00"), "triggers, fills at 82.00 (last)"),
        ],
    );
}

#[test]
fn liquidity_allows_whole_shares_of_the_traded_volume() {
    let rules = TradingRules { liquidity: Some("10".parse().unwrap()), ..practice() };
    let ten = || buy("10").limit("100.00");
    check(
        "10 % of 59 shares are 5 whole ones",
        ten(),
        &rules,
        [(traded("100.00", 59), "fills at most 5 at 100.00 (last)")],
    );
    check("10 % of 9 shares are none", ten(), &rules, [(traded("100.00", 9), "keeps 0.9 of the volume")]);
    check(
        "what moves leave adds up",
        ten(),
        &rules,
        [
            (traded("100.00", 9), "keeps 0.9 of the volume"),
            (traded("100.00", 5), "fills at most 1 at 100.00 (last)"),
            (traded("100.00", 9), "keeps 0.9 of the volume"),
            (traded("100.01", 90), ""),
            (traded("100.00", 9), "keeps 0.9 of the volume"),
        ],
    );
    check(
        "10 % of 909 shares are too few for an order of 10000, whose fills have at least 100",
        buy("10000").limit("100.00"),
        &rules,
        [(traded("100.00", 909), "keeps 90.9 of the volume")],
    );
    check(
        "with 1000 shares there are enough",
        buy("10000").limit("100.00"),
        &rules,
        [(traded("100.00", 1000), "fills at most 100 at 100.00 (last)")],
    );
    check(
        "the fraction of a share that is ordered is filled by a fraction",
        buy("0.5").limit("100.00"),
        &rules,
        [(traded("100.00", 6), "fills at most 0.5 at 100.00 (last)")],
    );
    check("without a volume there is no bound", ten(), &rules, [(last("100.00"), "fills at 100.00 (last)")]);
    check(
        "ioc takes the part there is and ends",
        ten().lasting(TimeInForce::Ioc),
        &rules,
        [(traded("100.00", 50), "fills at most 5 at 100.00 (last), ends")],
    );
    check(
        "fok does not take a part",
        ten().lasting(TimeInForce::Fok),
        &rules,
        [(traded("100.00", 99), "ends")],
    );
    check(
        "fok takes all",
        ten().lasting(TimeInForce::Fok),
        &rules,
        [(traded("100.00", 100), "fills at most 10 at 100.00 (last), ends")],
    );
    check(
        "1000.00 at 100.00 are 10 shares",
        buy("1").worth("1000").lasting(TimeInForce::Fok),
        &rules,
        [(traded("100.00", 99), "ends")],
    );
    check(
        "fok and ioc have one chance",
        ten().lasting(TimeInForce::Ioc),
        &practice(),
        [(last("100.01"), "ends")],
    );
    check(
        "fok and ioc have one chance",
        ten().lasting(TimeInForce::Fok),
        &practice(),
        [(last("100.01"), "ends")],
    );
    check(
        "a stop takes the part there is",
        sell("10").stop("95.00"),
        &rules,
        [(traded("95.00", 30), "triggers, fills at most 3 at 95.00 (last)")],
    );
    let partly = Order { filled_quantity: shares("7"), ..working(ten().lasting(TimeInForce::Fok)) };
    check_order(
        "what has filled is not asked for again",
        partly,
        &rules,
        [(traded("100.00", 30), "fills at most 3 at 100.00 (last), ends")],
    );
}

#[test]
fn slippage_applies_only_to_orders_without_a_limit() {
    let rules = TradingRules { slippage: Some("0.05".parse().unwrap()), ..practice() };
    check("a buy pays 0.05 % more", buy("10"), &rules, [(last("200.00"), "fills at 200.10 (last)")]);
    check("a sell gets 0.05 % less", sell("10"), &rules, [(last("200.00"), "fills at 199.90 (last)")]);
    check(
        "on top of the spread",
        buy("10"),
        &rules,
        [(spread("199.80", "200.00", "400.00"), "fills at 400.20 (ask)")],
    );
    check(
        "a stop that has triggered is a market order",
        sell("10").stop("210.00"),
        &rules,
        [(last("200.00"), "triggers, fills at 199.90 (last)")],
    );
    check(
        "so is a trailing one",
        buy("10").trail("5.00"),
        &rules,
        [(last("195.00"), "follows 195.00"), (last("200.00"), "triggers, fills at 200.10 (last)")],
    );
    check(
        "a limit is a promise",
        buy("10").limit("200.00"),
        &rules,
        [(last("200.00"), "fills at 200.00 (last)")],
    );
    check(
        "a stop with a limit too",
        sell("10").stop_limit("210.00", "200.00"),
        &rules,
        [(last("200.00"), "triggers, fills at 200.00 (last)")],
    );
    check(
        "an auction has one price",
        buy("10").lasting(TimeInForce::Opg),
        &rules,
        [(last("200.00"), "fills at 200.00 (open), ends")],
    );
}

#[test]
fn an_auction_order_meets_only_the_first_price_of_its_auction() {
    let rules = realistic();
    // Monday's open and close in New York.
    let (open, close) = (instant("2026-11-23T14:30:00Z"), instant("2026-11-23T21:00:00Z"));
    let at_open =
        |command: PlaceOrder| Order { expires_at: Some(open), ..working(command.lasting(TimeInForce::Opg)) };
    let at_close =
        |command: PlaceOrder| Order { expires_at: Some(close), ..working(command.lasting(TimeInForce::Cls)) };
    let wide = || spread("90.00", "100.00", "110.00");
    check_order(
        "the last trade counts, for a buy",
        at_open(buy("10")),
        &rules,
        [
            (at(wide(), instant("2026-11-23T14:29:59Z")), ""),
            (at(wide(), open), "fills at 100.00 (open), ends"),
        ],
    );
    check_order(
        "and for a sell",
        at_close(sell("10")),
        &rules,
        [
            (at(wide(), instant("2026-11-23T20:59:59Z")), ""),
            (at(wide(), close), "fills at 100.00 (close), ends"),
        ],
    );
    check_order(
        "the first price may be a little later",
        at_close(sell("10")),
        &rules,
        [(at(wide(), instant("2026-11-23T21:00:04Z")), "fills at 100.00 (close), ends")],
    );
    check_order(
        "a limit that the auction does not meet",
        at_open(buy("10").limit("99.99")),
        &rules,
        [(at(wide(), open), "ends")],
    );
    check_order(
        "a limit that it does",
        at_close(sell("10").limit("100.00")),
        &rules,
        [(at(wide(), close), "fills at 100.00 (close), ends")],
    );
    check_order(
        "the next morning's price is no close",
        at_close(sell("10")),
        &rules,
        [(at(wide(), instant("2026-11-24T14:30:00Z")), "ends")],
    );
    check_order("the close is no opening price", at_open(buy("10")), &rules, [(at(wide(), close), "ends")]);
    let around = TradingRules::practice(Calendar::AroundTheClock);
    check_order(
        "around the clock a session follows at once",
        at_close(sell("10")),
        &around,
        [(at(wide(), close), "fills at 100.00 (close), ends")],
    );
}

#[test]
fn an_order_meets_each_price_once_and_within_trading_hours() {
    let day = || working(buy("10"));
    let until_close = Order { expires_at: Some(instant("2026-11-20T21:00:00Z")), ..day() };
    let at_close = Order { time_in_force: TimeInForce::Cls, ..until_close.clone() };
    for (why, order, as_of, practice_meets, realistic_meets) in [
        ("the price of the order's own instant", day(), "2026-11-20T19:00:00Z", false, false),
        ("the next one", day(), "2026-11-20T19:00:01Z", true, true),
        ("an earlier one", day(), "2026-11-20T18:00:00Z", false, false),
        ("the closing price", day(), "2026-11-20T21:00:00Z", true, true),
        ("after the close", day(), "2026-11-20T21:00:01Z", true, false),
        ("Saturday", day(), "2026-11-21T17:00:00Z", true, false),
        ("Monday before the open", day(), "2026-11-23T14:29:59Z", true, false),
        ("Monday's open", day(), "2026-11-23T14:30:00Z", true, true),
        ("Thanksgiving", day(), "2026-11-26T17:00:00Z", true, false),
        ("the day after, until 13:00", day(), "2026-11-27T17:59:59Z", true, true),
        ("the day after, from 13:00", day(), "2026-11-27T18:00:01Z", true, false),
        ("the close of a day order", until_close.clone(), "2026-11-20T21:00:00Z", true, true),
        ("after the end of a day order", until_close, "2026-11-20T21:00:01Z", false, false),
        ("an auction's price comes after the close", at_close, "2026-11-20T21:00:01Z", true, true),
    ] {
        let as_of = instant(as_of);
        let met = (meets(&order, as_of, &practice()), meets(&order, as_of, &realistic()));
        assert_eq!(met, (practice_meets, realistic_meets), "{why}");
    }
}

#[test]
fn a_stale_price_fills_nothing() {
    let mut desk = Desk::new("10000", practice());
    let waiting = desk.place(buy("10").limit("99.00")).unwrap();
    let mut stale = last("98.00");
    stale.quote.stale = true;
    desk.market(stale);
    assert_eq!(desk.tell(waiting, 0), "accepted keeps 990.00");
    desk.market(last("98.00"));
    assert_eq!(desk.tell(waiting, 0), "filled 10 at 98.00");
}
