//! A portfolio with its orders and its market, in memory. The invariants are checked after each step.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::journal::Books;
use domain::matching::LIQUIDITY_WINDOW;
use domain::money::{AveragePrice, ExactAmount};
use domain::{
    Attached, Calendar, Freshness, JournalEntry, Money, NewestPrice, Order, OrderGroup, OrderId, OrderIds,
    OrderRejected, OrderSize, OrderStatus, OrderTerms, PlaceOrder, Portfolio, PortfolioId, Position, Price,
    PriceMove, PriceSource, Quantity, Quote, ReplaceOrder, Side, StockId, StopLoss, TimeInForce, Timestamp,
    TradingRules, Trail, TransactionType,
};
use uuid::Uuid;

const STOCK: StockId = StockId(7);

pub fn price(text: &str) -> Price {
    text.parse().unwrap()
}

pub fn money(text: &str) -> Money {
    text.parse().unwrap()
}

pub fn shares(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub fn instant(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

/// Friday, 14:00 in New York; the market closes two hours later.
pub fn friday() -> Timestamp {
    instant("2026-11-20T19:00:00Z")
}

pub fn practice() -> TradingRules {
    TradingRules::practice(Calendar::AroundTheClock)
}

pub fn realistic() -> TradingRules {
    TradingRules { mode: domain::TradingMode::Realistic, ..TradingRules::practice(Calendar::Xnys) }
}

/// A last price on Friday, without bid and ask.
pub fn last(last: &str) -> PriceMove {
    let quote = Quote {
        symbol: "AAPL".parse().unwrap(),
        price: price(last),
        bid: None,
        ask: None,
        previous_close: None,
        volume: None,
        as_of: friday(),
        source: PriceSource::from("test"),
        freshness: Freshness::Simulated,
        stale: false,
    };
    PriceMove { quote, volume: None }
}

/// A quote with bid, last price and ask.
pub fn spread(bid: &str, mid: &str, ask: &str) -> PriceMove {
    let PriceMove { quote, volume } = last(mid);
    PriceMove { quote: Quote { bid: Some(price(bid)), ask: Some(price(ask)), ..quote }, volume }
}

/// A last price after this many shares were traded.
pub fn traded(mid: &str, volume: u64) -> PriceMove {
    PriceMove { volume: Some(volume), ..last(mid) }
}

pub fn at(price_move: PriceMove, as_of: Timestamp) -> PriceMove {
    PriceMove { quote: Quote { as_of, ..price_move.quote }, ..price_move }
}

/// A market order for the day.
pub fn buy(quantity: &str) -> PlaceOrder {
    PlaceOrder {
        symbol: "AAPL".parse().unwrap(),
        side: Side::Buy,
        size: OrderSize::Quantity(shares(quantity)),
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id: None,
    }
}

/// A market order for the day.
pub fn sell(quantity: &str) -> PlaceOrder {
    PlaceOrder { side: Side::Sell, ..buy(quantity) }
}

pub fn stop_loss(stop: &str) -> StopLoss {
    StopLoss { stop: price(stop), limit: None }
}

/// Builds an order step by step: `buy("10").limit("99.00").lasting(Gtc)`.
pub trait Ticket: Sized {
    fn terms(self, terms: OrderTerms) -> Self;
    fn lasting(self, time_in_force: TimeInForce) -> Self;
    fn with(self, attached: Attached) -> Self;
    fn worth(self, notional: &str) -> Self;

    fn limit(self, limit: &str) -> Self {
        self.terms(OrderTerms::Limit { limit: price(limit) })
    }

    fn stop(self, stop: &str) -> Self {
        self.terms(OrderTerms::Stop { stop: price(stop) })
    }

    fn stop_limit(self, stop: &str, limit: &str) -> Self {
        self.terms(OrderTerms::StopLimit { stop: price(stop), limit: price(limit) })
    }

    fn trail(self, distance: &str) -> Self {
        self.terms(OrderTerms::TrailingStop { trail: Trail::Price(price(distance)) })
    }

    fn trail_percent(self, percent: &str) -> Self {
        self.terms(OrderTerms::TrailingStop { trail: Trail::Percent(percent.parse().unwrap()) })
    }

    fn bracket(self, take_profit: &str, stop: &str) -> Self {
        self.with(Attached::Bracket { take_profit: price(take_profit), stop_loss: stop_loss(stop) })
    }

    fn oco(self, stop: &str) -> Self {
        self.with(Attached::Oco { stop_loss: stop_loss(stop) })
    }
}

impl Ticket for PlaceOrder {
    fn terms(self, terms: OrderTerms) -> Self {
        Self { terms, ..self }
    }

    fn lasting(self, time_in_force: TimeInForce) -> Self {
        Self { time_in_force, ..self }
    }

    fn with(self, attached: Attached) -> Self {
        Self { attached, ..self }
    }

    fn worth(self, notional: &str) -> Self {
        Self { size: OrderSize::Notional(money(notional)), ..self }
    }
}

pub struct Desk {
    pub portfolio: Portfolio,
    pub rules: TradingRules,
    pub now: Timestamp,
    pub newest: PriceMove,
    pub groups: Vec<OrderGroup>,
    pub replaced: Vec<Order>,
    pub journal: Vec<JournalEntry>,
    books: Books,
    seen: HashMap<OrderId, OrderStatus>,
    given_ids: u128,
    /// The newest moves. An order meets the moves that it has not met yet.
    moves: Vec<PriceMove>,
}

impl Desk {
    /// A portfolio with this cash; the market is at 100.00.
    pub fn new(cash: &str, rules: TradingRules) -> Self {
        let mut desk = Self {
            portfolio: Portfolio::new(PortfolioId(1), Money::zero()),
            rules,
            now: friday(),
            newest: last("100.00"),
            groups: Vec::new(),
            replaced: Vec::new(),
            journal: Vec::new(),
            books: Books::default(),
            seen: HashMap::new(),
            given_ids: 0,
            moves: Vec::new(),
        };
        desk.move_cash(money(cash));
        desk
    }

    /// A portfolio that has bought this many shares at 100.00, with an order that is not kept.
    pub fn holding(cash: &str, quantity: &str, rules: TradingRules) -> Self {
        let cost = price("100.00").times(&shares(quantity));
        let mut desk = Self::new(&(money(cash) + cost).to_string(), practice());
        desk.place(buy(quantity)).unwrap();
        desk.groups.clear();
        desk.rules = rules;
        desk
    }

    pub fn move_cash(&mut self, amount: Money) {
        self.portfolio.cash_balance += &amount;
        let entry = JournalEntry::cash(self.portfolio.id, amount, self.now);
        self.book(vec![entry]);
        self.check();
    }

    fn new_id(&mut self) -> OrderId {
        self.given_ids += 1;
        OrderId(Uuid::from_u128(self.given_ids))
    }

    /// Places an order and returns its index among the groups.
    pub fn place(&mut self, command: PlaceOrder) -> Result<usize, OrderRejected> {
        assert_eq!(command.issues(), [], "{command:?}");
        let ids = OrderIds::from_fn(|| self.new_id());
        let newest_price = NewestPrice { newest: &self.newest, requested_at: self.now };
        let before = self.portfolio.clone();
        let placed = self.portfolio.place(ids, STOCK, command, newest_price, self.rules.at(self.now));
        if placed.is_err() {
            assert_eq!(self.portfolio, before, "a refusal changes nothing");
        }
        let placed = placed?;
        self.groups.push(placed.group);
        self.book(placed.entries);
        self.check();
        Ok(self.groups.len() - 1)
    }

    pub fn cancel(&mut self, group: usize, leg: usize) -> Result<(), OrderRejected> {
        let before = (self.portfolio.clone(), self.groups[group].clone());
        let id = before.1.orders[leg].id;
        let canceled = self.portfolio.cancel(&mut self.groups[group], id, self.now);
        if canceled.is_err() {
            assert_eq!((&self.portfolio, &self.groups[group]), (&before.0, &before.1));
        }
        self.check();
        canceled
    }

    pub fn replace(&mut self, group: usize, leg: usize, changes: &ReplaceOrder) -> Result<(), OrderRejected> {
        let before = (self.portfolio.clone(), self.groups[group].clone());
        let ids = (before.1.orders[leg].id, self.new_id());
        let newest_price = NewestPrice { newest: &self.newest, requested_at: self.now };
        let replaced = self.portfolio.replace(
            &mut self.groups[group],
            ids,
            changes,
            newest_price,
            self.rules.at(self.now),
        );
        if replaced.is_err() {
            assert_eq!((&self.portfolio, &self.groups[group]), (&before.0, &before.1));
        }
        let (retired, entries) = replaced?;
        assert_eq!(self.groups[group].orders[leg].replaces, Some(retired.id));
        self.replaced.push(retired);
        self.book(entries);
        self.check();
        Ok(())
    }

    /// Moves the market ten seconds later; all orders meet the new price.
    pub fn market(&mut self, price_move: PriceMove) {
        self.wait(TimeDelta::seconds(10));
        self.newest = at(price_move, self.now);
        self.work(vec![self.newest.clone()]);
    }

    /// Time passes without a price.
    pub fn wait(&mut self, span: TimeDelta) {
        self.now = self.now + span;
    }

    /// Matches all orders with the prices up to now, like the worker.
    pub fn work(&mut self, moves: Vec<PriceMove>) {
        const MAX_MOVES: usize = 32;
        self.moves.extend(moves);
        self.moves.drain(..self.moves.len().saturating_sub(MAX_MOVES));
        let moves = self.moves.clone();
        for index in 0..self.groups.len() {
            let before = self.groups[index].clone();
            let is_affected_by = before.is_affected_by(&moves, self.now, &self.rules);
            let (mut portfolio, mut group) = (self.portfolio.clone(), before.clone());
            let entries = portfolio.work(&mut group, &moves, self.now, self.rules.at(self.now)).unwrap();
            if is_affected_by {
                (self.portfolio, self.groups[index]) = (portfolio, group);
            } else {
                assert_eq!(entries, [], "an unaffected order has no fills");
                for (order, earlier) in group.orders.iter_mut().zip(&before.orders) {
                    order.last_matched_at = earlier.last_matched_at;
                }
                assert_eq!(group, before, "an unaffected order is unchanged");
                for order in self.groups[index].orders.iter_mut().filter(|order| order.status.is_working()) {
                    if self.now - order.last_matched_at >= LIQUIDITY_WINDOW {
                        order.last_matched_at = self.now;
                    }
                }
            }
            self.book(entries);
            self.check();
        }
    }

    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.groups.iter().flat_map(|group| &group.orders).chain(&self.replaced)
    }

    pub fn position(&self) -> Position {
        self.portfolio.positions.get(&STOCK).cloned().unwrap_or_default()
    }

    pub fn reserved_shares(&self) -> Quantity {
        self.portfolio.reserved.shares.get(&STOCK).cloned().unwrap_or_else(Quantity::zero)
    }

    /// Cash and shares, and the reserved parts of both.
    pub fn books(&self) -> String {
        let (cash, kept) = (&self.portfolio.cash_balance, &self.portfolio.reserved.cash);
        let (held, kept_shares) = (self.position(), self.reserved_shares());
        format!(
            "cash {cash} keeps {kept}, shares {} for {} keeps {kept_shares}",
            held.quantity, held.cost_basis
        )
    }

    /// The status of an order, its filled quantity and average price, and its reservation.
    pub fn tell(&self, group: usize, leg: usize) -> String {
        told(&self.groups[group].orders[leg])
    }

    /// The journal without the first deposit and the shares held from the start.
    pub fn entries(&self, from: usize) -> Vec<String> {
        let told = |entry: &JournalEntry| {
            let text = |of: Option<String>| of.unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {} at {}, commission {}, amount {}, realized {}",
                entry.transaction_type,
                text(entry.quantity.as_ref().map(ToString::to_string)),
                text(entry.price.as_ref().map(ToString::to_string)),
                entry.commission,
                entry.amount,
                text(entry.realized_pnl.as_ref().map(ToString::to_string)),
            )
        };
        self.journal[from..].iter().map(told).collect()
    }

    fn book(&mut self, entries: Vec<JournalEntry>) {
        for entry in &entries {
            self.books.apply(entry).unwrap();
            assert_eq!(entry.timestamp, self.now);
            assert!(!entry.commission.is_negative());
        }
        self.journal.extend(entries);
    }

    fn check(&mut self) {
        let Self { portfolio, books, journal, .. } = &*self;
        assert_eq!(portfolio.cash_balance, books.cash_balance);
        assert_eq!(portfolio.positions, books.positions);
        let flows = |external: bool| -> Money {
            let of = journal.iter().filter(|entry| entry.transaction_type.is_external_flow() == external);
            of.map(|entry| &entry.amount).sum()
        };
        assert_eq!(portfolio.cash_balance, flows(true) + flows(false));

        let held = self.position();
        let market_value = price("87.65").times(&held.quantity);
        let unrealized = market_value.clone() - &held.cost_basis;
        assert_eq!(held.realized_pnl + unrealized, market_value + flows(false));

        let kept_cash: Money = self.orders().map(|order| &order.reserved_cash).sum();
        let kept_shares = self.orders().fold(Quantity::zero(), |sum, order| sum + &order.reserved_quantity);
        assert_eq!(self.portfolio.reserved.cash, kept_cash, "{}", self.books());
        assert_eq!(self.reserved_shares(), kept_shares, "{}", self.books());
        assert!(kept_cash <= self.portfolio.cash_balance, "{}", self.books());
        assert!(kept_shares <= held.quantity, "{}", self.books());
        let seen = self.orders().map(|order| (order.id, order.status)).collect::<Vec<_>>();
        self.orders().for_each(|order| self.check_order(order));
        self.groups.iter().for_each(check_group);
        for (id, status) in seen {
            let before = self.seen.insert(id, status);
            assert!(before.is_none_or(|before| before == status || may_pass(before, status)));
        }
    }

    fn check_order(&self, order: &Order) {
        let told = || format!("{} {order:?}", told(order));
        assert!(!order.reserved_cash.is_negative() && !order.commission.is_negative());
        assert!(order.side == Side::Buy || order.reserved_cash.is_zero());
        assert!(order.side == Side::Sell || order.reserved_quantity.is_zero());
        if !order.status.is_working() {
            assert!(order.reserved_cash.is_zero() && order.reserved_quantity.is_zero(), "{}", told());
        }
        let fills = || self.journal.iter().filter(|entry| entry.order_id == Some(order.id));
        let quantities = fills().map(|fill| fill.quantity.clone().unwrap());
        let quantity = quantities.fold(Quantity::zero(), |sum, quantity| sum + &quantity);
        assert_eq!(order.filled_quantity, quantity);
        assert_eq!(order.commission, fills().map(|fill| &fill.commission).sum::<Money>());
        // The booked amount is the exact sum rounded to the cent, and the average is the exact one rounded toward the
        // limit.
        let gross = |fill: &JournalEntry| match fill.transaction_type {
            TransactionType::Buy => -fill.amount.clone() - &fill.commission,
            _ => fill.amount.clone() + &fill.commission,
        };
        let exact = fills().fold(ExactAmount::zero(), |sum, fill| {
            sum.plus(fill.price.as_ref().unwrap(), fill.quantity.as_ref().unwrap())
        });
        assert_eq!(order.filled_amount, exact, "{}", told());
        assert_eq!(fills().map(gross).sum::<Money>(), exact.rounded(), "{}", told());
        if let (Some(average), Some(limit)) = (&order.filled_price, order.terms.limit_price()) {
            let limit = AveragePrice::from(limit.clone());
            assert!(
                if order.side == Side::Buy { *average <= limit } else { *average >= limit },
                "{}",
                told()
            );
        }
        assert_eq!(order.filled_price.is_none(), quantity.is_zero());
        match &order.size {
            OrderSize::Quantity(size) => {
                assert!(!size.is_zero() && quantity <= *size, "{}", told());
                assert_eq!(quantity == *size, order.status == OrderStatus::Filled, "{}", told());
            }
            OrderSize::Notional(size) => assert!(order.filled_amount <= size.clone().into(), "{}", told()),
            OrderSize::OfPosition(size) => {
                panic!("{size}% of a position is not a size of a placed order: {}", told())
            }
        }
        match order.status {
            OrderStatus::Held | OrderStatus::Accepted => assert!(quantity.is_zero()),
            OrderStatus::PartiallyFilled | OrderStatus::Filled => assert!(!quantity.is_zero()),
            _ => {}
        }
        assert_eq!(order.filled_at.is_some(), order.status == OrderStatus::Filled);
        assert_eq!(order.canceled_at.is_some(), !order.status.is_open() && order.filled_at.is_none());
        assert_eq!(order.reject_reason.is_some(), order.status == OrderStatus::Rejected);
        if let Some(limit) = order.terms.limit_price() {
            for fill in fills().map(|fill| fill.price.as_ref().unwrap()) {
                assert!(if order.side == Side::Buy { fill <= limit } else { fill >= limit }, "{}", told());
            }
        }
    }
}

/// Whether one status can follow another directly or with one in between: an exit can become active and end in one
/// step.
fn may_pass(from: OrderStatus, to: OrderStatus) -> bool {
    let between = |between: &OrderStatus| from.may_become(*between) && between.may_become(to);
    from.may_become(to) || OrderStatus::ALL.iter().any(between)
}

fn check_group(group: &OrderGroup) {
    let open = |order: &&Order| order.status.is_open();
    let exits = match group.root().order_class {
        domain::OrderClass::Simple => {
            assert_eq!(group.orders.len(), 1);
            return;
        }
        domain::OrderClass::Oco => &group.orders[..],
        domain::OrderClass::Bracket | domain::OrderClass::Oto => &group.orders[1..],
    };
    let how_many = exits.iter().filter(open).count();
    assert!(how_many == 0 || how_many == exits.len(), "one exit cancels the other");
    let entered = group.root().side == Side::Sell || !group.root().status.is_open();
    assert!(exits.iter().filter(open).all(|exit| exit.status.is_working() == entered));
    let left = exits.iter().filter(open).map(|exit| exit.remaining(&price("1.00"))).collect::<Vec<_>>();
    assert!(left.windows(2).all(|pair| pair[0] == pair[1]), "exits are for the same shares");
    assert!(exits.iter().filter(open).skip(1).all(|exit| exit.reserved_quantity.is_zero()));
    assert!(group.orders[1..].iter().all(|leg| leg.parent_order_id == Some(group.root().id)));
}

fn told(order: &Order) -> String {
    let mut told = order.status.to_string();
    if let Some(average) = &order.filled_price {
        told.push_str(&format!(" {} at {}", order.filled_quantity, average.to_shortest()));
    }
    if !order.reserved_cash.is_zero() {
        told.push_str(&format!(" keeps {}", order.reserved_cash));
    }
    if !order.reserved_quantity.is_zero() {
        told.push_str(&format!(" keeps {} shares", order.reserved_quantity));
    }
    told
}
