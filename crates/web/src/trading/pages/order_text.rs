//! Orders and fills in words: what an order waits for, until when, and its result.

use domain::money::PriceChange;
use domain::{
    FillRule, JournalEntry, Order, OrderClass, OrderSize, OrderStatus, OrderType, Price, Receipt, Side,
    TimeInForce, Timestamp, Trail, TransactionType,
};

use crate::shell::badge::source_name;
use crate::shell::format;
use crate::trading::words::pages as words;

pub fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Held => "Held",
        OrderStatus::Accepted => "Open",
        OrderStatus::PartiallyFilled => "Partly filled",
        OrderStatus::Filled => "Filled",
        OrderStatus::Canceled => "Canceled",
        OrderStatus::Expired => "Expired",
        OrderStatus::Rejected => "Rejected",
        OrderStatus::Replaced => "Replaced",
    }
}

/// The order type, after the purpose of an exit: `limit`, `take-profit, limit`.
pub fn kind(order: &Order) -> String {
    let name = words::type_name(order.order_type()).to_lowercase();
    let is_exit = order.parent_order_id.is_some() || order.order_class == OrderClass::Oco;
    match (is_exit, order.order_type()) {
        (false, _) => name,
        (true, OrderType::Limit) => format!("take-profit, {name}"),
        (true, _) => format!("stop-loss, {name}"),
    }
}

/// The size of an order: `10`, `4 of 10`, `500.00 USD`.
pub fn quantity(order: &Order) -> String {
    let filled = format::quantity(&order.filled_quantity);
    match &order.size {
        OrderSize::Notional(notional) if order.filled_quantity.is_zero() => {
            format!("{} USD", format::money(notional))
        }
        OrderSize::Notional(_) | OrderSize::OfPosition(_) => filled,
        OrderSize::Quantity(whole) if order.filled_quantity.is_zero() || *whole == order.filled_quantity => {
            format::quantity(whole)
        }
        OrderSize::Quantity(whole) => format!("{filled} of {}", format::quantity(whole)),
    }
}

/// The order as placed: `Buy 10 AAPL`, `Sell AAPL for 500.00`.
pub fn intent(order: &Order, name: &str) -> String {
    let side = format::capitalized(order.side.as_str());
    match &order.size {
        OrderSize::Quantity(whole) => format!("{side} {} {name}", format::quantity(whole)),
        OrderSize::Notional(notional) => format!("{side} {name} for {}", format::money(notional)),
        OrderSize::OfPosition(percent) => format!("{side} {percent}% of {name}"),
    }
}

/// The heading of an order's page: `Bought 10 Apple Inc.`, or before any fill `Buy 10 Apple Inc.`
pub fn heading(order: &Order, name: &str) -> String {
    match order.filled_quantity.is_zero() {
        true => intent(order, name),
        false => format!("{} {} {name}", past(order.side), quantity(order)),
    }
}

/// The price condition for a table, with its label; empty for a market order.
pub fn condition(order: &Order) -> (&'static str, String) {
    let stop = order.stop_price().as_ref().map(format::price).unwrap_or_default();
    let stop = if order.triggered_at.is_some() { format!("{stop}, reached") } else { stop };
    match (order.terms.limit_price().map(format::price), order.terms.trail()) {
        (Some(limit), _) if !order.terms.is_stop() => ("Limit", limit),
        (Some(limit), _) => ("Stop", format!("{stop}, limit {limit}")),
        (None, Some(trail)) => ("Stop", format!("{stop}, trails {}", distance(trail))),
        (None, None) if order.terms.is_stop() => ("Stop", stop),
        (None, None) => ("Price", String::new()),
    }
}

/// The price that triggers or limits the order, if there is one.
pub fn trigger(order: &Order) -> Option<Price> {
    match order.stop_price() {
        Some(stop) if order.triggered_at.is_none() => Some(stop),
        _ => order.terms.limit_price().cloned(),
    }
}

/// The distance of a trailing stop: `5.00`, `2.5%`.
pub fn distance(trail: &Trail) -> String {
    match trail {
        Trail::Price(price) => format::price(price),
        Trail::Percent(percent) => format!("{percent}%"),
    }
}

/// Completes "The order waits for …": `a price of 140.00 or less`.
pub fn waits_for(order: &Order, now: Timestamp) -> String {
    if order.status == OrderStatus::Held {
        return "its entry to fill".to_owned();
    }
    let limit = order.terms.limit_price().map(|limit| {
        let bound = if order.side == Side::Buy { "or less" } else { "or more" };
        format!("{} {bound}", format::price(limit))
    });
    let bound = || limit.as_ref().map_or_else(String::new, |limit| format!(", if it is {limit}"));
    match (order.time_in_force, order.expires_at) {
        (TimeInForce::Opg, Some(at)) => {
            let opens = format::instant_ahead(at, now);
            return format!("the first price of the session that opens {opens}{}", bound());
        }
        (TimeInForce::Cls, Some(at)) => {
            let closes = format::close_ahead(at, now);
            return format!("the last price of the session that closes {closes}{}", bound());
        }
        _ => {}
    }
    match order.stop_price() {
        Some(stop) if order.triggered_at.is_none() => {
            let reach = if order.side == Side::Buy { "rise" } else { "fall" };
            let trails = order.terms.trail().map_or_else(String::new, |trail| {
                let best = if order.side == Side::Buy { "lowest" } else { "highest" };
                format!(", {} from its {best} price", distance(trail))
            });
            let then = limit.map_or_else(String::new, |limit| format!(", and then for a price of {limit}"));
            format!("the market to {reach} to {}{trails}{then}", format::price(&stop))
        }
        _ => limit.map_or_else(|| "the next price".to_owned(), |limit| format!("a price of {limit}")),
    }
}

/// Follows the text of [`waits_for`]: ` until 24:00 today`, ` until it is canceled`; empty for orders with only one
/// chance to fill.
pub fn until(order: &Order, now: Timestamp) -> String {
    match (order.time_in_force, order.expires_at) {
        (TimeInForce::Day, Some(end)) => format!(" until {}", format::close_ahead(end, now)),
        (TimeInForce::Gtc, _) => " until it is canceled".to_owned(),
        _ => String::new(),
    }
}

/// How long an order stays open, for a table: `today`, `Mon, 23 Nov`, `good till canceled`.
pub fn good_until(order: &Order, now: Timestamp) -> String {
    match (order.time_in_force, order.expires_at) {
        (TimeInForce::Day, Some(end)) => format::session_ahead(end, now),
        (time_in_force, _) => words::good(time_in_force).to_lowercase(),
    }
}

/// The reservation of an open order: `1,400.00`, `20 shares`, or empty.
pub fn reserved(order: &Order) -> String {
    match (order.reserved_cash.is_positive(), order.reserved_quantity.is_zero()) {
        (true, _) => format::money(&order.reserved_cash),
        (false, false) => format!("{} shares", format::quantity(&order.reserved_quantity)),
        (false, true) => String::new(),
    }
}

/// Sentences about the state of an order, without its fills.
pub fn standing(order: &Order, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let filled = !order.filled_quantity.is_zero();
    if let (Some(at), true) = (order.triggered_at, order.terms.is_stop()) {
        lines.push(format!("The market reached its stop at {}.", format::second_seen_at(at, now).text));
    }
    let ended =
        order.canceled_at.map_or_else(String::new, |at| format!(" on {}", format::day_and_second(at).text));
    let rest = if filled { "The rest" } else { "It" };
    let none = if filled { "" } else { " Nothing was filled." };
    let at_once = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
    let line = match order.status {
        OrderStatus::Filled => None,
        OrderStatus::Held | OrderStatus::Accepted | OrderStatus::PartiallyFilled => {
            Some(format!("{rest} waits for {}{}.", waits_for(order, now), until(order, now)))
        }
        OrderStatus::Canceled if at_once => {
            Some(format!("{rest} could not be filled at once and was canceled.{none}"))
        }
        OrderStatus::Canceled => Some(match order.reject_reason.as_deref() {
            Some(reason) => format!("{rest} was canceled{ended}: {}", format::stopped(reason)),
            None => format!("{rest} was canceled{ended}.{none}"),
        }),
        OrderStatus::Expired => Some(format!("{rest} expired{ended}.{none}")),
        OrderStatus::Rejected => {
            let reason = order.reject_reason.as_deref().unwrap_or("it could not be filled");
            Some(format!("{rest} was rejected{ended}: {}", format::stopped(reason)))
        }
        OrderStatus::Replaced => Some(format!("{rest} was replaced by another order{ended}.{none}")),
    };
    lines.extend(line);
    let shares = &order.reserved_quantity;
    if order.reserved_cash.is_positive() {
        lines.push(format!("{} of your cash is reserved for it.", format::money(&order.reserved_cash)));
    } else if !shares.is_zero() {
        let (count, verb) = (format::quantity(shares), if shares.to_string() == "1" { "is" } else { "are" });
        lines.push(format!("{count} of your shares {verb} reserved for it."));
    }
    lines
}

fn past(side: Side) -> &'static str {
    match side {
        Side::Buy => "Bought",
        Side::Sell => "Sold",
    }
}

fn side_of(entry: &JournalEntry) -> Side {
    if entry.transaction_type == TransactionType::Sell { Side::Sell } else { Side::Buy }
}

fn price_name(rule: FillRule) -> &'static str {
    match rule {
        FillRule::Ask => "ask",
        FillRule::Bid => "bid",
        FillRule::Last => "last price",
        FillRule::PastClose => "past close",
        FillRule::Open => "opening price",
        FillRule::Close => "closing price",
        FillRule::Imported => "imported price",
    }
}

/// The rule of a fill in words: `buy at the ask`.
pub fn rule(side: Side, rule: FillRule) -> String {
    format!("{} at the {}", side.as_str(), price_name(rule))
}

/// The source of a fill's price: `the ask of 15:31:07 New York`.
pub fn price_origin(receipt: &Receipt, now: Timestamp) -> String {
    format!("the {} of {}", price_name(receipt.rule), format::second_seen_at(receipt.quoted_at, now).text)
}

/// The slippage per share: `+0.02` is worse for buys and sells alike; `no` for none.
pub fn slippage(change: &PriceChange) -> String {
    if change.is_zero() { "no".to_owned() } else { format::change(change).text }
}

/// The receipt of a fill as a sentence, with the effect on cash: “Bought 10 AAPL at 189.42: ask 189.40 at 15:31:07 New
/// York, 0.8 s old, +0.02 slippage.”
pub fn fill_sentence(entry: &JournalEntry, symbol: &str) -> String {
    let side = side_of(entry);
    let quantity = entry.quantity.as_ref().map(format::quantity).unwrap_or_default();
    let price = entry.price.as_ref().map(format::price).unwrap_or_default();
    let origin =
        entry.receipt.as_ref().zip(entry.price.as_ref()).map_or_else(String::new, |(receipt, price)| {
            format!(
                ": {} {} {}, {} old, {} slippage",
                price_name(receipt.rule),
                format::price(&receipt.quoted_price),
                format::at_second(receipt.quoted_at, entry.timestamp),
                format::age(entry.timestamp - receipt.quoted_at),
                slippage(&receipt.slippage(side, price))
            )
        });
    let amount = format::money(&entry.amount.abs());
    let commission = entry.commission.is_positive().then(|| format::money(&entry.commission));
    let cash = match (side, commission) {
        (Side::Buy, None) => format!("{amount} was debited from your cash."),
        (Side::Buy, Some(commission)) => {
            format!("{amount} was debited from your cash, including {commission} of commission.")
        }
        (Side::Sell, None) => format!("{amount} was credited to your cash."),
        (Side::Sell, Some(commission)) => {
            format!("{amount} was credited to your cash, after {commission} of commission.")
        }
    };
    format!("{} {quantity} {symbol} at {price}{origin}. {cash}", past(side))
}

/// The details of a fill: `Rule: buy at the ask. Source: the built-in market (simulated/sim-v1). Commission 0.00.`
pub fn provenance(entry: &JournalEntry) -> String {
    entry.receipt.as_ref().map_or_else(String::new, |receipt| {
        format!(
            "Rule: {}. Source: {} ({}). Commission {}.",
            rule(side_of(entry), receipt.rule),
            source_name(receipt.source.as_str()),
            receipt.source,
            format::money(&entry.commission)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use domain::{Money, OrderId, OrderTerms, PortfolioId, PriceSource, Quantity, StockId};
    use uuid::Uuid;

    fn at(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    /// Friday, 20 November 2026, 14:12 in New York.
    fn now() -> Timestamp {
        at("2026-11-20T19:12:00Z")
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn entry(side: TransactionType, price: &str, amount: &str, commission: &str) -> JournalEntry {
        JournalEntry {
            action: None,
            transaction_type: side,
            quantity: Some("10".parse().unwrap()),
            price: Some(price.parse().unwrap()),
            commission: commission.parse().unwrap(),
            receipt: Some(Receipt {
                source: PriceSource::from("simulated/sim-v1"),
                quoted_at: at("2026-11-20T20:31:07Z"),
                rule: if side == TransactionType::Sell { FillRule::Bid } else { FillRule::Ask },
                quoted_price: "189.40".parse().unwrap(),
                rounding: domain::Rounding::Cumulative,
            }),
            ..JournalEntry::cash(PortfolioId(1), amount.parse().unwrap(), at("2026-11-20T20:31:07.840Z"))
        }
    }

    #[test]
    fn a_fill_is_described_in_a_sentence() {
        let bought = entry(TransactionType::Buy, "189.42", "-1894.20", "0");
        assert_eq!(
            fill_sentence(&bought, "AAPL"),
            "Bought 10 AAPL at 189.42: ask 189.40 at 15:31:07 New York, 0.8 s old, +0.02 slippage. 1,894.20 was debited \
             from your cash."
        );
        assert_eq!(
            provenance(&bought),
            "Rule: buy at the ask. Source: the built-in market (simulated/sim-v1). Commission 0.00."
        );
        let sold = entry(TransactionType::Sell, "189.38", "1892.80", "1.00");
        assert_eq!(
            fill_sentence(&sold, "AAPL"),
            "Sold 10 AAPL at 189.38: bid 189.40 at 15:31:07 New York, 0.8 s old, +0.02 slippage. 1,892.80 was \
             credited to your cash, after 1.00 of commission."
        );
        let later = JournalEntry {
            timestamp: at("2026-11-23T14:30:00Z"),
            ..entry(TransactionType::Buy, "189.40", "-1", "1")
        };
        assert!(
            fill_sentence(&later, "AAPL").contains(
                ": ask 189.40 on 20 Nov 2026, 15:31:07 New York, 2 days old, no slippage. 1.00 was debited"
            ),
            "{}",
            fill_sentence(&later, "AAPL")
        );
    }

    fn order(side: Side, terms: OrderTerms, time_in_force: TimeInForce) -> Order {
        let day = (time_in_force == TimeInForce::Day).then(|| at("2026-11-21T05:00:00Z"));
        Order {
            id: OrderId(Uuid::nil()),
            portfolio_id: PortfolioId(1),
            stock_id: StockId(1),
            symbol: "AAPL".parse().unwrap(),
            client_order_id: None,
            side,
            size: OrderSize::Quantity("10".parse().unwrap()),
            terms,
            time_in_force,
            order_class: OrderClass::Simple,
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
            submitted_at: now(),
            last_matched_at: now(),
            filled_at: None,
            canceled_at: None,
            expires_at: day,
            reject_reason: None,
        }
    }

    #[test]
    fn an_open_order_says_what_it_waits_for_and_until_when() {
        let limit = OrderTerms::Limit { limit: price("140") };
        let (stop, trail) = (OrderTerms::Stop { stop: price("140") }, Trail::Percent("2.5".parse().unwrap()));
        let both = OrderTerms::StopLimit { stop: price("140"), limit: price("138") };
        let told = |order: &Order| format!("{}{}", waits_for(order, now()), until(order, now()));
        for (order, expected) in [
            (
                order(Side::Buy, limit.clone(), TimeInForce::Day),
                "a price of 140.00 or less until 24:00 today",
            ),
            (order(Side::Sell, limit, TimeInForce::Gtc), "a price of 140.00 or more until it is canceled"),
            (
                order(Side::Sell, stop.clone(), TimeInForce::Day),
                "the market to fall to 140.00 until 24:00 today",
            ),
            (order(Side::Buy, stop, TimeInForce::Gtc), "the market to rise to 140.00 until it is canceled"),
            (
                order(Side::Sell, both, TimeInForce::Gtc),
                "the market to fall to 140.00, and then for a price of 138.00 or more until it is canceled",
            ),
            (order(Side::Buy, OrderTerms::Market, TimeInForce::Gtc), "the next price until it is canceled"),
        ] {
            assert_eq!(told(&order), expected);
        }
        let trailing = Order {
            high_water_price: Some(price("160")),
            ..order(Side::Sell, OrderTerms::TrailingStop { trail }, TimeInForce::Gtc)
        };
        assert_eq!(waits_for(&trailing, now()), "the market to fall to 156.00, 2.5% from its highest price");
        assert_eq!(condition(&trailing), ("Stop", "156.00, trails 2.5%".into()));
        let opening = Order {
            expires_at: Some(at("2026-11-23T14:30:00Z")),
            ..order(Side::Buy, OrderTerms::Limit { limit: price("140") }, TimeInForce::Opg)
        };
        assert_eq!(
            told(&opening),
            "the first price of the session that opens 09:30 on Mon, 23 Nov, if it is 140.00 or less"
        );
        let weekend = Order {
            expires_at: Some(at("2026-11-23T21:00:00Z")),
            ..order(Side::Buy, OrderTerms::Market, TimeInForce::Day)
        };
        assert_eq!(until(&weekend, now()), " until 16:00 on Mon, 23 Nov");
        assert_eq!(good_until(&weekend, now()), "Mon, 23 Nov");
    }

    #[test]
    fn the_state_of_an_order_is_described() {
        let open = Order {
            reserved_cash: "840.00".parse().unwrap(),
            filled_quantity: "4".parse().unwrap(),
            status: OrderStatus::PartiallyFilled,
            ..order(Side::Buy, OrderTerms::Limit { limit: price("140") }, TimeInForce::Day)
        };
        assert_eq!(
            standing(&open, now()),
            [
                "The rest waits for a price of 140.00 or less until 24:00 today.",
                "840.00 of your cash is reserved for it."
            ]
        );
        assert_eq!(
            (heading(&open, "Apple Inc."), quantity(&open)),
            ("Bought 4 of 10 Apple Inc.".into(), "4 of 10".into())
        );
        let ended = |status, more: &dyn Fn(&mut Order)| {
            let mut order = order(Side::Buy, OrderTerms::Market, TimeInForce::Ioc);
            (order.status, order.canceled_at) = (status, Some(now()));
            more(&mut order);
            standing(&order, now()).join(" ")
        };
        assert_eq!(
            ended(OrderStatus::Canceled, &|_| ()),
            "It could not be filled at once and was canceled. Nothing was filled."
        );
        assert_eq!(
            ended(OrderStatus::Canceled, &|order| order.time_in_force = TimeInForce::Gtc),
            "It was canceled on 20 Nov 2026, 14:12:00. Nothing was filled."
        );
        assert_eq!(
            ended(OrderStatus::Rejected, &|order| order.reject_reason = Some("too dear".into())),
            "It was rejected on 20 Nov 2026, 14:12:00: too dear."
        );
    }
}
