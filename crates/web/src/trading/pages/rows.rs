//! Orders as rows of a table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;

use domain::{Money, Order, OrderId, Price, Quantity, Symbol, Timestamp};
use serde::Serialize;
use services::books::sharing::PortfolioAddress;
use services::trading::OrderWithFills;

use super::order_text;
use crate::shell::format;
use crate::shell::format::{Delta, Moment};

/// An order that can still be filled.
#[derive(Serialize)]
pub struct OpenRow {
    id: String,
    /// The label of buttons for screen readers: `buy AAPL`.
    name: String,
    side: String,
    symbol: Symbol,
    kind: String,
    /// Whether the row is an exit below its entry.
    leg: bool,
    quantity: String,
    label: &'static str,
    condition: String,
    last: String,
    /// From the last price to the price that triggers or limits the order.
    distance: Option<Delta>,
    good: String,
    reserved: String,
    href: String,
    /// The address of the entry, if the row is an exit that is not below it.
    parent_href: Option<String>,
}

/// An order in any state.
#[derive(Serialize)]
pub struct OrderRow {
    id: String,
    name: String,
    side: String,
    symbol: Symbol,
    kind: String,
    leg: bool,
    status: &'static str,
    quantity: String,
    label: &'static str,
    condition: String,
    /// The average price of the fills.
    price: String,
    amount: String,
    placed: Moment,
    open: bool,
    href: String,
    parent_href: Option<String>,
}

pub fn address(portfolio: impl Display, order: OrderId) -> String {
    format!("/portfolios/{portfolio}/orders/{order}")
}

fn name(order: &Order) -> String {
    format!("{} {}", order.side.as_str(), order.symbol)
}

/// Lists orders with their legs below them. A leg is not repeated if its entry is in the list.
fn with_legs(orders: &[OrderWithFills], shown: impl Fn(&Order) -> bool) -> Vec<(&OrderWithFills, bool)> {
    let listed: HashSet<OrderId> = orders.iter().map(|one| one.order.id).collect();
    let mut rows = Vec::with_capacity(orders.len());
    for one in orders {
        if one.order.parent_order_id.is_some_and(|parent| listed.contains(&parent)) {
            continue;
        }
        rows.push((one, false));
        rows.extend(one.legs.iter().filter(|leg| shown(&leg.order)).map(|leg| (leg, true)));
    }
    rows
}

fn parent_href(portfolio: &PortfolioAddress, order: &Order, leg: bool) -> Option<String> {
    order.parent_order_id.filter(|_| !leg).map(|parent| address(portfolio, parent))
}

/// The rows of open orders. `last` has the known last prices; rows without one show a dash.
pub fn open_rows(
    portfolio: &PortfolioAddress,
    orders: &[OrderWithFills],
    last: &HashMap<Symbol, Price>,
    now: Timestamp,
) -> Vec<OpenRow> {
    with_legs(orders, |leg| leg.status.is_open())
        .into_iter()
        .map(|(OrderWithFills { order, .. }, leg)| {
            let (label, condition) = order_text::condition(order);
            let last = last.get(&order.symbol);
            let distance = order_text::trigger(order).zip(last).and_then(|(to, from)| to.change_ratio(from));
            OpenRow {
                id: order.id.to_string(),
                name: name(order),
                side: format::capitalized(order.side.as_str()),
                symbol: order.symbol.clone(),
                kind: order_text::kind(order),
                leg,
                quantity: order_text::quantity(order),
                label,
                condition,
                last: last.map_or_else(|| format::UNKNOWN.to_owned(), format::price),
                // A distance is not a gain, so it has a sign but no color.
                distance: distance.map(|ratio| Delta { tone: "", ..format::percent_gain(ratio) }),
                good: order_text::good_until(order, now),
                reserved: order_text::reserved(order),
                href: address(portfolio, order.id),
                parent_href: parent_href(portfolio, order, leg),
            }
        })
        .collect()
}

/// The rows of orders. `shown` decides which legs are listed below their entry.
pub fn order_rows(
    portfolio: &PortfolioAddress,
    orders: &[OrderWithFills],
    shown: impl Fn(&Order) -> bool,
) -> Vec<OrderRow> {
    with_legs(orders, shown).into_iter().map(|(one, leg)| OrderRow::from_order(portfolio, one, leg)).collect()
}

impl OrderRow {
    /// `leg` is true for an exit that is listed below its entry.
    pub fn from_order(
        portfolio: &PortfolioAddress,
        OrderWithFills { order, fills, .. }: &OrderWithFills,
        leg: bool,
    ) -> Self {
        let (label, condition) = order_text::condition(order);
        let amount: Money = fills.iter().map(|fill| &fill.amount).sum();
        Self {
            id: order.id.to_string(),
            name: name(order),
            side: format::capitalized(order.side.as_str()),
            symbol: order.symbol.clone(),
            kind: order_text::kind(order),
            leg,
            status: order_text::status(order.status),
            quantity: order_text::quantity(order),
            label,
            condition,
            price: order.filled_price.as_ref().map_or_else(String::new, format::average_exact),
            amount: if fills.is_empty() { String::new() } else { format::money(&amount) },
            placed: format::day_and_minute(order.submitted_at),
            open: order.status.is_open(),
            href: address(portfolio, order.id),
            parent_href: parent_href(portfolio, order, leg),
        }
    }
}

/// Up to this many stocks, the reserved shares are listed per stock.
const MAX_NAMED: usize = 3;

/// The summary above the open orders: `2 open · reserved: 2,321.00 and 20 NVDA`.
pub fn summary(orders: &[OrderWithFills], cash: &Money) -> String {
    let open: HashMap<OrderId, &Order> = orders
        .iter()
        .flat_map(|one| std::iter::once(&one.order).chain(one.legs.iter().map(|leg| &leg.order)))
        .filter(|order| order.status.is_open())
        .map(|order| (order.id, order))
        .collect();
    let mut shares: BTreeMap<&Symbol, Quantity> = BTreeMap::new();
    for order in open.values().filter(|order| !order.reserved_quantity.is_zero()) {
        let sum = shares.entry(&order.symbol).or_insert_with(Quantity::zero);
        *sum = sum.clone() + &order.reserved_quantity;
    }
    let mut reserved: Vec<String> = cash.is_positive().then(|| format::money(cash)).into_iter().collect();
    if shares.len() > MAX_NAMED {
        reserved.push(format!("shares of {} stocks", shares.len()));
    } else {
        reserved.extend(shares.iter().map(|(symbol, sum)| format!("{} {symbol}", format::quantity(sum))));
    }
    let count = format!("{} open", format::count(open.len()));
    match reserved.split_last() {
        None => count,
        Some((only, [])) => format!("{count} · reserved: {only}"),
        Some((last, others)) => format!("{count} · reserved: {} and {last}", others.join(", ")),
    }
}
