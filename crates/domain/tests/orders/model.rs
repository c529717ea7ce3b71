//! Random histories of orders: simple order types against an independent reference model, all types against the
//! invariants of [`Desk`].

use chrono::TimeDelta;
use domain::{
    Attached, Commission, Money, OrderClass, OrderSize, OrderStatus, OrderTerms, PlaceOrder, Price,
    PriceMove, ReplaceOrder, Side, StopLoss, TimeInForce, TradingRules, Trail,
};
use proptest::prelude::*;

use crate::desk::{Desk, buy, last, practice, realistic, spread};

/// A model of cash, shares and orders in integers: cents, and thousandths of a share. Bid and ask are one cent from the
/// last price, an order costs a fee and a tenth of a percent, and orders fill completely.
struct Model {
    cash: i128,
    shares: i128,
    cost: i128,
    realized: i128,
    fee: i128,
    last: i128,
    orders: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    buys: bool,
    quantity: i128,
    kind: Kind,
    /// For a trailing stop: the best price so far.
    best: Option<i128>,
    /// The cash reserved since it was placed.
    kept: i128,
    status: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Market,
    Limit(i128),
    Stop(i128),
    Trail(i128),
}

fn half_even(above: i128, below: i128) -> i128 {
    let (whole, rest) = (above / below, above % below);
    whole + i128::from(2 * rest > below || (2 * rest == below && whole % 2 == 1))
}

impl Model {
    fn cost_of(&self, quantity: i128, price: i128) -> (i128, i128) {
        let gross = half_even(quantity * price, 1000);
        (gross, self.fee + half_even(gross, 1000))
    }

    /// The cash that an order has to reserve.
    fn keep(&self, order: &Entry) -> i128 {
        let price = match order.kind {
            _ if order.status != "accepted" || !order.buys => return 0,
            Kind::Market => unreachable!("a market order does not wait here"),
            Kind::Limit(price) | Kind::Stop(price) => price,
            Kind::Trail(distance) => order.best.unwrap() + distance,
        };
        let (gross, fee) = self.cost_of(order.quantity, price);
        gross + fee
    }

    fn kept_cash(&self) -> i128 {
        self.orders.iter().filter(|order| order.status == "accepted").map(|order| order.kept).sum()
    }

    fn kept_shares(&self) -> i128 {
        let open = self.orders.iter().filter(|order| order.status == "accepted" && !order.buys);
        open.map(|order| order.quantity).sum()
    }

    /// Updates the order after the last price. `kept` is the reservation of other orders.
    fn meet(&mut self, order: &mut Entry, kept: (i128, i128)) {
        let price = if order.buys { self.last + 1 } else { self.last - 1 };
        let reached = |stop| if order.buys { self.last >= stop } else { self.last <= stop };
        let fills = match order.kind {
            Kind::Market => true,
            Kind::Limit(limit) => {
                if order.buys {
                    price <= limit
                } else {
                    price >= limit
                }
            }
            Kind::Stop(stop) => reached(stop),
            Kind::Trail(distance) => {
                let best = order.best.unwrap_or(self.last);
                let (best, stop) = match order.buys {
                    true => (best.min(self.last), best.min(self.last) + distance),
                    false => (best.max(self.last), best.max(self.last) - distance),
                };
                order.best = Some(best);
                reached(stop)
            }
        };
        if !fills {
            return;
        }
        let (gross, fee) = self.cost_of(order.quantity, price);
        order.status = "filled";
        if order.buys {
            if gross == 0 || gross + fee > self.cash - kept.0 {
                order.status = "rejected";
                return;
            }
            self.cash -= gross + fee;
            self.shares += order.quantity;
            self.cost += gross + fee;
        } else {
            if order.quantity > self.shares - kept.1 || fee - gross > self.cash - kept.0 {
                order.status = "rejected";
                return;
            }
            let cost = half_even(self.cost * order.quantity, self.shares);
            self.cash += gross - fee;
            self.shares -= order.quantity;
            self.cost -= cost;
            self.realized += gross - fee - cost;
        }
    }

    /// Puts the order at `place`, unless it is rejected.
    fn enter(&mut self, place: usize, mut order: Entry) -> bool {
        let old = (place < self.orders.len()).then(|| self.orders[place].clone());
        if let Some(old) = self.orders.get_mut(place) {
            old.status = "replaced";
        }
        self.meet(&mut order, (self.kept_cash(), self.kept_shares()));
        order.kept = self.keep(&order);
        let affordable = match order.status {
            "accepted" if order.buys => order.kept <= self.cash - self.kept_cash(),
            "accepted" => order.quantity <= self.shares - self.kept_shares(),
            status => status == "filled",
        };
        match (affordable, old) {
            (true, Some(_)) => self.orders[place] = order,
            (true, None) => self.orders.push(order),
            (false, Some(old)) => self.orders[place] = old,
            (false, None) => {}
        }
        affordable
    }

    fn market(&mut self, last: i128) {
        self.last = last;
        for place in 0..self.orders.len() {
            let mut order = self.orders[place].clone();
            if order.status == "accepted" {
                let own = if order.buys { 0 } else { order.quantity };
                let kept = (self.kept_cash() - order.kept, self.kept_shares() - own);
                self.meet(&mut order, kept);
                self.orders[place] = order;
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Side, thousandths of a share, order type, cents from the last price.
    Place(bool, i128, u8, i128),
    Cancel(usize),
    Replace(usize, i128, i128),
    Market(i128),
    /// Thousandths of the buying power.
    Withdraw(i128),
    /// A deposit in cents.
    Deposit(i128),
}

fn quantity() -> impl Strategy<Value = i128> {
    prop_oneof![4 => (1_i128..40).prop_map(|whole| whole * 1000), 2 => 1_i128..30_000, 1 => 1_i128..5]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), quantity(), 0_u8..4, -500_i128..500)
            .prop_map(|(buys, quantity, kind, away)| Step::Place(buys, quantity, kind, away)),
        2 => (0_usize..20).prop_map(Step::Cancel),
        2 => (0_usize..20, quantity(), -500_i128..500).prop_map(|(at, quantity, away)| Step::Replace(at, quantity, away)),
        6 => (9_000_i128..11_000).prop_map(Step::Market),
        1 => (0_i128..=1000).prop_map(Step::Withdraw),
        1 => (1_i128..500_000).prop_map(Step::Deposit),
    ];
    prop::collection::vec(step, 1..50)
}

fn kind(kind: u8, last: i128, away: i128) -> Kind {
    match kind {
        0 => Kind::Market,
        1 => Kind::Limit(last + away),
        2 => Kind::Stop(last + away),
        _ => Kind::Trail(away.abs() + 1),
    }
}

fn cents(cents: i128) -> Price {
    Price::from_scaled(cents.try_into().unwrap(), 2)
}

fn dollars(cents: i128) -> Money {
    Money::from_cents(cents.try_into().unwrap())
}

fn thousandths(quantity: i128) -> domain::Quantity {
    format!("{}.{:03}", quantity / 1000, quantity % 1000).parse().unwrap()
}

fn terms(kind: Kind) -> OrderTerms {
    match kind {
        Kind::Market => OrderTerms::Market,
        Kind::Limit(limit) => OrderTerms::Limit { limit: cents(limit) },
        Kind::Stop(stop) => OrderTerms::Stop { stop: cents(stop) },
        Kind::Trail(distance) => OrderTerms::TrailingStop { trail: Trail::Price(cents(distance)) },
    }
}

fn around(middle: i128) -> PriceMove {
    let text = |cents: i128| format!("{}.{:02}", cents / 100, cents % 100);
    spread(&text(middle - 1), &text(middle), &text(middle + 1))
}

proptest! {
    /// Market, limit, stop and trailing orders are placed, canceled and replaced while the price moves and cash is
    /// deposited and withdrawn: the domain and the model agree on each rejection, and on the books after each step.
    #[test]
    fn simple_orders_give_the_books_of_the_reference_model(steps in steps(), fee in prop_oneof![Just(0_i128), Just(99)]) {
        let commission = Commission { per_order: dollars(fee), percent: "0.1".parse().unwrap(), ..Commission::default() };
        let mut desk = Desk::new("5000", TradingRules { commission, ..practice() });
        desk.newest = crate::desk::at(around(10_000), desk.now);
        let mut model =
            Model { cash: 500_000, shares: 0, cost: 0, realized: 0, fee, last: 10_000, orders: Vec::new() };
        for step in steps {
            match step {
                Step::Place(buys, quantity, what, away) => {
                    let kind = kind(what, model.last, away);
                    let side = if buys { Side::Buy } else { Side::Sell };
                    let size = OrderSize::Quantity(thousandths(quantity));
                    let time_in_force = TimeInForce::Gtc;
                    let command = PlaceOrder { side, size, terms: terms(kind), time_in_force, ..buy("1") };
                    let order = Entry { buys, quantity, kind, best: None, kept: 0, status: "accepted" };
                    let accepted = model.enter(model.orders.len(), order);
                    prop_assert_eq!(desk.place(command).is_ok(), accepted);
                }
                Step::Cancel(at) if at < model.orders.len() => {
                    let open = model.orders[at].status == "accepted";
                    if open {
                        model.orders[at].status = "canceled";
                    }
                    prop_assert_eq!(desk.cancel(at, 0).is_ok(), open);
                }
                Step::Replace(at, quantity, away) if at < model.orders.len() => {
                    let old = model.orders[at].clone();
                    let kind = match old.kind {
                        Kind::Market => Kind::Market,
                        Kind::Limit(_) => Kind::Limit(model.last + away),
                        Kind::Stop(_) => Kind::Stop(model.last + away),
                        Kind::Trail(_) => Kind::Trail(away.abs() + 1),
                    };
                    let new = terms(kind);
                    let changes = ReplaceOrder {
                        quantity: Some(thousandths(quantity)),
                        limit_price: new.limit_price().cloned(),
                        stop_price: new.stop_price().cloned(),
                        trail: new.trail().cloned(),
                        ..ReplaceOrder::default()
                    };
                    let accepted = old.status == "accepted"
                        && model.enter(at, Entry { quantity, kind, ..old });
                    prop_assert_eq!(desk.replace(at, 0, &changes).is_ok(), accepted);
                }
                Step::Cancel(_) | Step::Replace(..) => {}
                Step::Market(last) => {
                    model.market(last);
                    desk.market(around(last));
                }
                Step::Withdraw(share) => {
                    let amount = (model.cash - model.kept_cash()) * share / 1000;
                    if amount > 0 {
                        model.cash -= amount;
                        desk.move_cash(dollars(-amount));
                    }
                }
                Step::Deposit(amount) => {
                    model.cash += amount;
                    desk.move_cash(dollars(amount));
                }
            }
            let held = desk.position();
            prop_assert_eq!(&desk.portfolio.cash_balance, &dollars(model.cash));
            prop_assert_eq!(&desk.portfolio.reserved.cash, &dollars(model.kept_cash()));
            prop_assert_eq!(desk.reserved_shares().to_string(), shares(model.kept_shares()));
            prop_assert_eq!(held.quantity.to_string(), shares(model.shares));
            prop_assert_eq!((held.cost_basis, held.realized_pnl), (dollars(model.cost), dollars(model.realized)));
            let statuses = desk.groups.iter().map(|group| group.root().status.as_str()).collect::<Vec<_>>();
            prop_assert_eq!(statuses, model.orders.iter().map(|order| order.status).collect::<Vec<_>>());
        }
    }
}

fn shares(thousandths: i128) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The number of decimals of prices: two around 100.00, or four around a penny.
#[derive(Debug, Clone, Copy)]
struct Scale(u8);

impl Scale {
    /// `steps` are from 50 to 150; 100 is the middle.
    fn price(self, steps: i64) -> Price {
        Price::from_scaled(if self.0 == 2 { steps * 100 } else { steps }, self.0)
    }
}

#[derive(Debug, Clone)]
enum Event {
    Place {
        buys: bool,
        size: Size,
        what: u8,
        time_in_force: TimeInForce,
        with: u8,
        prices: [i64; 4],
    },
    Cancel(usize, usize),
    Replace {
        at: (usize, usize),
        quantity: Option<i128>,
        what: u8,
        price: i64,
        time_in_force: Option<TimeInForce>,
    },
    /// Minutes that pass, with these last prices, the volume before each, and whether there is a bid and an ask.
    Pass(i64, Vec<(i64, Option<u64>, bool)>),
    /// A withdrawal in thousandths of the buying power, or a deposit in cents.
    Withdraw(i128),
    Deposit(i64),
}

#[derive(Debug, Clone)]
enum Size {
    Shares(i128),
    Worth(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let prices = || 50_i64..150;
    let time_in_force = || prop::sample::select(TimeInForce::ALL);
    let patient = || prop::sample::select(&[TimeInForce::Day, TimeInForce::Gtc][..]);
    let size =
        prop_oneof![5 => quantity().prop_map(Size::Shares), 1 => (1_i64..200_000).prop_map(Size::Worth)];
    let moves =
        prop::collection::vec((prices(), prop::option::weighted(0.8, 0_u64..200), any::<bool>()), 1..4);
    let event = prop_oneof![
        3 => (any::<bool>(), size, 0_u8..6, time_in_force(), [prices(), prices(), prices(), prices()]).prop_map(
            |(buys, size, what, time_in_force, prices)| Event::Place { buys, size, what, time_in_force, with: 0, prices }
        ),
        4 => (quantity(), 0_u8..6, patient(), 0_u8..5, [prices(), prices(), prices(), prices()]).prop_map(
            |(shares, what, time_in_force, with, prices)| {
                let size = Size::Shares(shares);
                Event::Place { buys: with != 1, size, what, time_in_force, with, prices }
            }
        ),
        1 => (0_usize..6, 0_usize..6).prop_map(|(group, leg)| Event::Cancel(group, leg)),
        3 => (
            (0_usize..6, 0_usize..6),
            prop::option::weighted(0.4, quantity()),
            0_u8..4,
            prices(),
            prop::option::weighted(0.1, time_in_force()),
        )
            .prop_map(|(at, quantity, what, price, time_in_force)| Event::Replace {
                at, quantity, what, price, time_in_force
            }),
        7 => (prop_oneof![9 => 1_i64..20, 1 => 200_i64..2000], moves).prop_map(|(minutes, moves)| Event::Pass(minutes, moves)),
        1 => (1_i128..=1000).prop_map(Event::Withdraw),
        1 => (1_i64..500_000).prop_map(Event::Deposit),
    ];
    prop::collection::vec(event, 1..40)
}

fn rules() -> impl Strategy<Value = TradingRules> {
    let broker = Commission {
        per_order: dollars(100),
        per_share: "0.0035".parse().unwrap(),
        percent: "0.02".parse().unwrap(),
        minimum: dollars(200),
    };
    let percent = |text: &str| Some(text.parse().unwrap());
    (
        prop::sample::select(vec![practice(), realistic()]),
        prop::sample::select(vec![Commission::default(), broker]),
        prop::sample::select(vec![None, percent("0.05"), percent("2.5")]),
        prop::sample::select(vec![None, percent("10")]),
    )
        .prop_map(|(rules, commission, slippage, liquidity)| TradingRules {
            commission,
            slippage,
            liquidity,
            ..rules
        })
}

fn command(size: &Size, buys: bool, what: u8, with: u8, prices: [Price; 4]) -> PlaceOrder {
    let [first, second, profit, loss] = prices;
    let terms = match what {
        // The order of a pair must be a limit order.
        _ if with == 1 => OrderTerms::Limit { limit: first },
        0 => OrderTerms::Market,
        1 => OrderTerms::Limit { limit: first },
        2 => OrderTerms::Stop { stop: first },
        3 => OrderTerms::StopLimit { stop: first, limit: second },
        4 => OrderTerms::TrailingStop { trail: Trail::Percent("2.5".parse().unwrap()) },
        _ => OrderTerms::TrailingStop { trail: Trail::Price(first.less(&second).unwrap_or(second)) },
    };
    let stop_loss = |limit: bool| StopLoss { stop: loss.clone(), limit: limit.then(|| loss.clone()) };
    let attached = match with {
        0 => Attached::Nothing,
        1 => Attached::Oco { stop_loss: stop_loss(false) },
        2 => Attached::Bracket { take_profit: profit, stop_loss: stop_loss(true) },
        3 => Attached::OtoTakeProfit { take_profit: profit },
        _ => Attached::OtoStopLoss { stop_loss: stop_loss(false) },
    };
    let size = match size {
        Size::Shares(thousandths_of_one) => OrderSize::Quantity(thousandths(*thousandths_of_one)),
        Size::Worth(worth) => OrderSize::Notional(Money::from_cents(*worth)),
    };
    let side = if buys { Side::Buy } else { Side::Sell };
    PlaceOrder { side, size, terms, attached, ..buy("1") }
}

/// Selects one of the last few groups, and one of its orders.
fn chosen(desk: &Desk, group: usize, leg: usize) -> Option<(usize, usize)> {
    let group = desk.groups.len().checked_sub(1 + group % desk.groups.len().max(1))?;
    Some((group, leg % desk.groups[group].orders.len()))
}

fn happen(desk: &mut Desk, scale: Scale, event: Event) {
    match event {
        Event::Place { buys, size, what, time_in_force, with, prices } => {
            let command = command(&size, buys, what, with, prices.map(|steps| scale.price(steps)));
            let command = PlaceOrder { time_in_force, ..command };
            if command.issues().is_empty() {
                desk.place(command).ok();
            }
        }
        Event::Cancel(group, leg) => {
            if let Some((group, leg)) = chosen(desk, group, leg) {
                desk.cancel(group, leg).ok();
            }
        }
        Event::Replace { at: (group, leg), quantity, what, price, time_in_force } => {
            let price = Some(scale.price(price));
            let changes = ReplaceOrder {
                quantity: quantity.map(thousandths),
                limit_price: price.clone().filter(|_| what == 1),
                stop_price: price.clone().filter(|_| what == 2),
                trail: price.filter(|_| what == 3).map(Trail::Price),
                time_in_force,
                client_order_id: None,
            };
            if let Some((group, leg)) = chosen(desk, group, leg) {
                desk.replace(group, leg, &changes).ok();
            }
        }
        Event::Pass(minutes, moves) => {
            let (began, steps) = (desk.now, i32::try_from(moves.len()).unwrap());
            let span = TimeDelta::minutes(minutes);
            desk.wait(span);
            let of = |(step, (at, volume, quoted)): (i32, (i64, Option<u64>, bool))| {
                let mut quote = last("1.00").quote;
                quote.price = scale.price(at);
                quote.bid = quoted.then(|| scale.price(at - 1));
                quote.ask = quoted.then(|| scale.price(at + 1));
                quote.as_of = began + span * step / steps;
                PriceMove { quote, volume }
            };
            let moves = (1..).zip(moves).map(of).collect::<Vec<_>>();
            desk.newest = moves[moves.len() - 1].clone();
            desk.work(moves);
        }
        Event::Withdraw(share) => {
            let amount = desk.portfolio.buying_power().prorate(&thousandths(share), &thousandths(1000));
            if amount.is_positive() {
                desk.move_cash(-amount);
            }
        }
        Event::Deposit(amount) => desk.move_cash(Money::from_cents(amount)),
    }
}

proptest! {
    /// Every kind of order under all rules. The desk checks the invariants after each step.
    #[test]
    fn the_books_stay_consistent_in_every_history_of_orders(
        rules in rules(), pennies in any::<bool>(), held in any::<bool>(), events in events()
    ) {
        let scale = Scale(if pennies { 4 } else { 2 });
        let mut desk = match held {
            true => Desk::holding("2000", "25.5", rules),
            false => Desk::new("5000", rules),
        };
        desk.newest.quote.price = scale.price(100);
        for event in events {
            happen(&mut desk, scale, event);
        }
        // At the end everything can be canceled, and then nothing is reserved.
        for group in 0..desk.groups.len() {
            for leg in 0..desk.groups[group].orders.len() {
                let open = desk.groups[group].orders[leg].status.is_open();
                prop_assert_eq!(desk.cancel(group, leg).is_ok(), open);
            }
        }
        prop_assert!(desk.orders().all(|order| !order.status.is_open()));
        prop_assert!(desk.portfolio.reserved.cash.is_zero() && desk.reserved_shares().is_zero());
        prop_assert_eq!(desk.portfolio.buying_power(), desk.portfolio.cash_balance.clone());
    }
}

/// The random histories reach every status of an order.
#[test]
fn the_random_histories_reach_every_status() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let (rules, events) = (rules(), events()).new_tree(&mut runner).unwrap().current();
        let mut desk = Desk::holding("2000", "25.5", rules);
        for event in events {
            happen(&mut desk, Scale(2), event);
        }
        for order in desk.orders() {
            *seen.entry((order.order_class.as_str(), order.status.as_str())).or_insert(0) += 1;
        }
    }
    for status in OrderStatus::ALL {
        let of = |class: &OrderClass| seen.contains_key(&(class.as_str(), status.as_str()));
        let how_many = OrderClass::ALL.iter().filter(|class| of(class)).count();
        let expected = match status {
            // Only an exit of an entry is held; the shares of a pair are already there.
            OrderStatus::Held => 2,
            OrderStatus::Rejected => 3,
            _ => 4,
        };
        assert!(how_many >= expected, "{status}: {seen:?}");
    }
}
