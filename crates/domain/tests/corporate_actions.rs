//! The effects of splits and dividends on a portfolio: hand-checked numbers and invariants.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use bigdecimal::RoundingMode;
use chrono::{TimeDelta, TimeZone, Utc};
use domain::journal::{Books, booked_since};
use domain::portfolio::actions::{Booking, LISTING_ENDED, OrderBeforeSplit, SplitReversal};
use domain::share_remainder::ShareRemainder;
use domain::{
    ActionId, Attached, Calendar, Freshness, JournalEntry, Money, NewestPrice, OrderGroup, OrderId, OrderIds,
    OrderSize, OrderStatus, OrderTerms, PerShare, Percent, PlaceOrder, Portfolio, PortfolioId, Position,
    Price, PriceMove, PriceSource, Quantity, Quote, Side, SplitRatio, StockId, TimeInForce, Timestamp,
    TradingRules, Trail, TransactionId, TransactionType,
};
use proptest::prelude::*;
use uuid::Uuid;

const STOCK: StockId = StockId(7);

fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = Utc.with_ymd_and_hms(2026, 12, 1, 12, 0, 0).unwrap().into();
    start + TimeDelta::seconds(seconds)
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn ratio(text: &str) -> SplitRatio {
    text.parse().unwrap()
}

fn booking(id: i64, effective_at: Timestamp, booked_at: Timestamp) -> Booking {
    Booking { id: ActionId(id), stock_id: STOCK, effective_at, at: booked_at }
}

fn command(side: Side, size: OrderSize, terms: OrderTerms) -> PlaceOrder {
    PlaceOrder {
        symbol: "AAPL".parse().unwrap(),
        side,
        size,
        terms,
        time_in_force: TimeInForce::Gtc,
        attached: Attached::Nothing,
        client_order_id: None,
    }
}

struct Desk {
    portfolio: Portfolio,
    journal: Vec<JournalEntry>,
    orders: u128,
}

impl Desk {
    fn with_cash(cash: &str) -> Self {
        let portfolio = Portfolio::new(PortfolioId(1), money(cash));
        let journal = vec![JournalEntry::cash(portfolio.id, money(cash), at(0))];
        Self { portfolio, journal, orders: 0 }
    }

    fn place(&mut self, order: PlaceOrder, last: &Price, now: Timestamp) -> Option<OrderGroup> {
        let quote = Quote {
            symbol: order.symbol.clone(),
            price: last.clone(),
            bid: None,
            ask: None,
            previous_close: None,
            volume: None,
            as_of: now,
            source: PriceSource::from("test"),
            freshness: Freshness::Simulated,
            stale: false,
        };
        let newest = PriceMove { quote, volume: None };
        let newest_price = NewestPrice { newest: &newest, requested_at: now };
        let ids = OrderIds::from_fn(|| {
            self.orders += 1;
            OrderId(Uuid::from_u128(self.orders))
        });
        let rules = TradingRules::practice(Calendar::AroundTheClock);
        let placed = self.portfolio.place(ids, STOCK, order, newest_price, rules.at(now)).ok()?;
        self.journal.extend(placed.entries);
        Some(placed.group)
    }

    fn trade(&mut self, side: Side, shares: &str, last: &str, now: Timestamp) -> Option<OrderGroup> {
        let size = OrderSize::Quantity(quantity(shares));
        self.place(command(side, size, OrderTerms::Market), &price(last), now)
    }

    fn since(&self, from: Timestamp) -> Vec<JournalEntry> {
        let of_stock = self.journal.iter().filter(|entry| entry.stock_id == Some(STOCK));
        of_stock.filter(|entry| entry.timestamp >= from && entry.action.is_none()).cloned().collect()
    }

    fn split(&mut self, id: i64, by: &str, from: Timestamp, now: Timestamp, groups: &mut [OrderGroup]) {
        let since = self.since(from);
        let of_stock: Vec<_> =
            self.journal.iter().filter(|entry| entry.stock_id == Some(STOCK)).cloned().collect();
        let mut remainder = ShareRemainder::of_journal(&of_stock);
        let booking = booking(id, from, now);
        let entry = self.portfolio.split(booking, ratio(by), &since, &mut remainder, groups).unwrap();
        self.journal.extend(entry.map(|entry| JournalEntry { id: Some(TransactionId(id)), ..entry }));
    }

    /// Reverses the newest split.
    fn reverse(&mut self, by: &str, now: Timestamp, before: &[OrderBeforeSplit], groups: &mut [OrderGroup]) {
        let split = self.journal.iter().rposition(|entry| entry.transaction_type == TransactionType::Split);
        let (earlier, since) = self.journal.split_at(split.unwrap() + 1);
        let orders = before.iter().map(|before| (before.id, before.clone())).collect();
        let reversal = SplitReversal {
            stock_id: STOCK,
            ratio: ratio(by),
            effective_at: earlier.last().unwrap().shares_since(),
            at: now,
            entry: earlier.last(),
            since,
            orders: &orders,
        };
        let entry = self.portfolio.reverse_split(reversal, groups).unwrap();
        self.journal.extend(entry);
    }

    /// Asserts that the journal alone gives the same books.
    ///
    /// # Panics
    /// When it does not.
    fn assert_books(&self) {
        let mut books = Books::default();
        for (index, entry) in self.journal.iter().enumerate() {
            let since = booked_since(entry, &self.journal[..index]);
            assert_eq!(books.apply_after(entry, &since), Ok(()), "{entry:?}");
        }
        assert_eq!(books.positions.get(&STOCK).cloned().unwrap_or_default(), self.position());
        assert_eq!(books.cash_balance, self.portfolio.cash_balance);
    }

    fn position(&self) -> Position {
        self.portfolio.positions.get(&STOCK).cloned().unwrap_or_default()
    }
}

#[test]
fn a_split_and_its_reverse_restore_the_shares_with_trades_between() {
    let mut desk = Desk::with_cash("100000");
    desk.trade(Side::Buy, "100", "10.00", at(1));
    desk.split(2, "1:3", at(2), at(2), &mut []);
    assert_eq!(desk.position().quantity, quantity("33.333333333"));
    desk.trade(Side::Buy, "1", "30.00", at(3));
    desk.split(4, "3:1", at(4), at(4), &mut []);
    assert_eq!(desk.position().quantity, quantity("103"));
    desk.assert_books();
    desk.trade(Side::Sell, "103", "10.00", at(5));
    desk.trade(Side::Buy, "1", "10.00", at(6));
    desk.split(7, "1:3", at(7), at(7), &mut []);
    desk.trade(Side::Sell, "0.333333333", "30.00", at(8));
    desk.trade(Side::Buy, "0.333333333", "30.00", at(9));
    desk.split(10, "3:1", at(10), at(10), &mut []);
    assert_eq!(desk.position().quantity, quantity("0.999999999"), "a closed position has no shares");
    desk.assert_books();
}

#[test]
fn a_split_booked_without_a_remainder_is_valid_by_the_old_rule() {
    let mut desk = Desk::with_cash("100000");
    desk.trade(Side::Buy, "100", "10.00", at(1));
    desk.split(2, "1:3", at(2), at(2), &mut []);
    let (since, mut none) = (Vec::new(), ShareRemainder::default());
    let entry = desk.portfolio.split(booking(3, at(3), at(3)), ratio("3:1"), &since, &mut none, &mut []);
    desk.journal.extend(entry.unwrap());
    assert_eq!(desk.position().quantity, quantity("99.999999999"));
    desk.assert_books();
}

#[test]
fn reversing_a_split_restores_shares_and_orders() {
    let mut desk = Desk::with_cash("100000");
    desk.trade(Side::Buy, "100", "100.00", at(1));
    let limit = OrderTerms::Limit { limit: price("140.07") };
    let stop = OrderTerms::Stop { stop: price("70.03") };
    let mut groups: Vec<OrderGroup> = [(limit, "33"), (stop, "7")]
        .into_iter()
        .map(|(terms, size)| {
            let order = command(Side::Sell, OrderSize::Quantity(quantity(size)), terms);
            desk.place(PlaceOrder { time_in_force: TimeInForce::Gtc, ..order }, &price("100.00"), at(2))
                .unwrap()
        })
        .collect();
    let before = (desk.position(), desk.portfolio.clone(), groups.clone());
    let orders: Vec<OrderBeforeSplit> = groups.iter().map(|group| group.root().into()).collect();
    desk.split(10, "20:1", at(10), at(10), &mut groups);
    assert_eq!(desk.position().quantity, quantity("2000"));
    // This order is placed in new shares.
    let late =
        command(Side::Sell, OrderSize::Quantity(quantity("40")), OrderTerms::Limit { limit: price("9.00") });
    let late = PlaceOrder { time_in_force: TimeInForce::Gtc, ..late };
    groups.push(desk.place(late, &price("5.00"), at(11)).unwrap());
    desk.reverse("20:1", at(12), &orders, &mut groups);
    assert_eq!(desk.position(), before.0);
    assert_eq!(groups[..2], before.2);
    assert_eq!(groups[2].root().size, OrderSize::Quantity(quantity("2")));
    assert_eq!(groups[2].root().terms, OrderTerms::Limit { limit: price("180.00") });
    assert_eq!(desk.portfolio.reserved.shares[&STOCK], quantity("42"));
    assert_eq!(desk.portfolio.cash_balance, before.1.cash_balance);
    desk.assert_books();
}

#[test]
fn shares_and_prices_by_hand() {
    for (by, old, new) in [
        ("10:1", "10", "100"),
        ("3:2", "7", "10.5"),
        ("1:3", "10", "3.333333333"),
        ("1:20", "0.000000019", "0"),
        ("7:1", "1.5", "10.5"),
    ] {
        let shares = ratio(by).shares(&quantity(old));
        assert_eq!(shares.to_string(), new, "{old} by {by}");
    }
    for (by, old, down, up) in [
        ("10:1", "1000.09", Some("100.00"), Some("100.01")),
        ("3:2", "10.00", Some("6.66"), Some("6.67")),
        ("1:8", "12.34", Some("98.72"), Some("98.72")),
        ("20:1", "0.0010", None, Some("0.0001")),
        ("1:100", "200000.00", None, None),
    ] {
        let of = |mode| ratio(by).price(&price(old), mode).map(|price| price.to_string());
        assert_eq!(of(RoundingMode::Down), down.map(str::to_owned), "{old} by {by}");
        assert_eq!(of(RoundingMode::Up), up.map(str::to_owned), "{old} by {by}");
    }
    assert_eq!((ratio("3:2").to_string(), "3:0".parse::<SplitRatio>().is_err()), ("3:2".into(), true));
}

#[test]
fn a_split_keeps_the_total_cost_and_lowers_the_cost_per_share() {
    let mut desk = Desk::with_cash("10000");
    desk.trade(Side::Buy, "10", "150", at(1));
    desk.split(1, "10:1", at(10), at(10), &mut []);
    let position = desk.position();
    assert_eq!((position.quantity.clone(), position.cost_basis.clone()), (quantity("100"), money("1500")));
    assert_eq!(position.average_buy_price().unwrap().to_string(), "15.000000");
    assert_eq!((position.realized_pnl, &desk.journal[2].amount), (money("0"), &money("0")));
    assert_eq!(desk.journal[2].shares(), (quantity("90"), Quantity::zero()));
}

#[test]
fn a_split_that_leaves_no_shares_realizes_a_loss() {
    let mut desk = Desk::with_cash("10000");
    desk.trade(Side::Buy, "0.000000019", "9000000", at(1));
    assert_eq!(desk.position().cost_basis, money("0.17"));
    desk.split(1, "1:20", at(10), at(10), &mut []);
    let position = desk.position();
    assert!(position.quantity.is_zero() && position.cost_basis.is_zero());
    assert_eq!(position.realized_pnl, money("-0.17"));
}

#[test]
fn open_orders_are_converted_to_new_shares_in_their_owners_favor() {
    let mut desk = Desk::with_cash("100000");
    desk.trade(Side::Buy, "100", "100", at(1));
    let terms = [
        (Side::Buy, OrderTerms::Limit { limit: price("90.00") }),
        (Side::Sell, OrderTerms::Limit { limit: price("130.00") }),
        (Side::Sell, OrderTerms::Stop { stop: price("80.00") }),
        (Side::Buy, OrderTerms::StopLimit { stop: price("110.00"), limit: price("112.00") }),
        (Side::Sell, OrderTerms::TrailingStop { trail: Trail::Price(price("5.00")) }),
        (Side::Sell, OrderTerms::TrailingStop { trail: Trail::Percent("5".parse::<Percent>().unwrap()) }),
    ];
    let place = |desk: &mut Desk, (side, terms): (Side, OrderTerms)| {
        desk.place(command(side, OrderSize::Quantity(quantity("7")), terms), &price("100.00"), at(2)).unwrap()
    };
    let mut groups: Vec<OrderGroup> = terms.into_iter().map(|terms| place(&mut desk, terms)).collect();
    let (cash, power) = (desk.portfolio.cash_balance.clone(), desk.portfolio.buying_power());
    desk.split(1, "7:3", at(10), at(10), &mut groups);
    let told: Vec<(String, OrderTerms)> = groups
        .iter()
        .map(|group| {
            let OrderSize::Quantity(quantity) = &group.root().size else { panic!("in shares") };
            (quantity.to_string(), group.root().terms.clone())
        })
        .collect();
    // 7 × 7/3; prices × 3/7: 38.571, 55.714, 34.286, 47.143 and 48.000, a trail of 2.143.
    let expected = [
        OrderTerms::Limit { limit: price("38.57") },
        OrderTerms::Limit { limit: price("55.72") },
        OrderTerms::Stop { stop: price("34.28") },
        OrderTerms::StopLimit { stop: price("47.15"), limit: price("48.00") },
        OrderTerms::TrailingStop { trail: Trail::Price(price("2.15")) },
        OrderTerms::TrailingStop { trail: Trail::Percent("5".parse().unwrap()) },
    ];
    assert_eq!(told, expected.map(|terms| ("16.333333333".to_owned(), terms)));
    // The best price of a sell's trailing stop was 100.00: 42.857.
    assert_eq!(groups[4].root().high_water_price, Some(price("42.85")));
    assert_eq!((&desk.portfolio.cash_balance, desk.portfolio.buying_power()), (&cash, power));
    assert_eq!(desk.portfolio.reserved.shares[&STOCK], quantity("65.333333332"));
}

#[test]
fn the_filled_quantity_of_an_open_order_is_converted_to_new_shares() {
    let mut desk = Desk::with_cash("100000");
    let rules = TradingRules {
        liquidity: Some("50".parse().unwrap()),
        ..TradingRules::practice(Calendar::AroundTheClock)
    };
    let limit = OrderTerms::Limit { limit: price("90.00") };
    let size = OrderSize::Quantity(quantity("10"));
    let mut group = desk.place(command(Side::Buy, size, limit), &price("100.00"), at(1)).unwrap();
    let quote = Quote {
        symbol: "AAPL".parse().unwrap(),
        price: price("89.00"),
        bid: None,
        ask: None,
        previous_close: None,
        volume: None,
        as_of: at(2),
        source: PriceSource::from("test"),
        freshness: Freshness::Simulated,
        stale: false,
    };
    let moves = [PriceMove { quote, volume: Some(8) }];
    let fills = desk.portfolio.work(&mut group, &moves, at(3), rules.at(at(3))).unwrap();
    desk.journal.extend(fills);
    assert_eq!(group.root().filled_quantity, quantity("4"));
    desk.split(1, "10:1", at(10), at(10), std::slice::from_mut(&mut group));
    let order = group.root();
    assert_eq!((&order.filled_quantity, order.unfilled()), (&quantity("40"), quantity("60")));
    assert_eq!(order.filled_price.as_ref().unwrap().to_string(), "8.900000");
    assert_eq!(order.filled_amount.rounded(), money("356.00"));
    assert_eq!((order.status, desk.position().quantity), (OrderStatus::PartiallyFilled, quantity("40")));
}

#[test]
fn an_order_by_money_keeps_its_amount() {
    let mut desk = Desk::with_cash("100000");
    let limit = OrderTerms::Limit { limit: price("90.00") };
    let size = OrderSize::Notional(money("500"));
    let mut group = desk.place(command(Side::Buy, size.clone(), limit), &price("100.00"), at(1)).unwrap();
    desk.split(1, "10:1", at(10), at(10), std::slice::from_mut(&mut group));
    assert_eq!((&group.root().size, &group.root().reserved_cash), (&size, &money("500")));
    assert_eq!(group.root().terms, OrderTerms::Limit { limit: price("9.00") });
}

#[test]
fn orders_without_a_valid_price_are_canceled_and_later_orders_stay() {
    let mut desk = Desk::with_cash("100");
    let limit = |text| OrderTerms::Limit { limit: price(text) };
    let size = || OrderSize::Quantity(quantity("1000"));
    let cheap = desk.place(command(Side::Buy, size(), limit("0.0010")), &price("1.00"), at(1)).unwrap();
    let later = desk.place(command(Side::Buy, size(), limit("0.0020")), &price("1.00"), at(20)).unwrap();
    let mut groups = [cheap, later.clone()];
    desk.split(1, "20:1", at(10), at(30), &mut groups);
    assert_eq!(groups[0].root().status, OrderStatus::Canceled);
    assert!(groups[0].root().reject_reason.as_ref().unwrap().contains("cannot be expressed"));
    assert_eq!(groups[1], later);
    assert_eq!(desk.portfolio.buying_power(), money("98.00"));
}

#[test]
fn a_delisting_cancels_open_orders_and_releases_reservations() {
    let mut desk = Desk::with_cash("1000");
    let attached = Attached::OtoTakeProfit { take_profit: price("20.00") };
    let entry =
        command(Side::Buy, OrderSize::Quantity(quantity("5")), OrderTerms::Limit { limit: price("9.00") });
    let mut group = desk.place(PlaceOrder { attached, ..entry }, &price("10.00"), at(1)).unwrap();
    desk.portfolio.cancel_for(&mut group, LISTING_ENDED, at(10)).unwrap();
    assert!(group.orders.iter().all(|order| order.status == OrderStatus::Canceled));
    assert!(group.orders.iter().all(|order| order.reject_reason.as_deref() == Some(LISTING_ENDED)));
    assert_eq!(desk.portfolio.buying_power(), money("1000"));
}

#[test]
fn a_dividend_is_for_the_shares_held_at_the_ex_date() {
    let mut desk = Desk::with_cash("10000");
    desk.trade(Side::Buy, "10", "100", at(1));
    desk.trade(Side::Sell, "4", "100", at(10));
    desk.trade(Side::Buy, "1", "100", at(11));
    let entitled = desk.portfolio.entitled(STOCK, &desk.since(at(10)));
    assert_eq!(entitled, quantity("10"));
    let each = PerShare::from_scaled(2_575, 4).unwrap();
    let entry = desk.portfolio.receive(booking(1, at(10), at(50)), &each, &entitled, &each.times(&entitled));
    // 2.575 is rounded to the even cent.
    assert_eq!(
        (entry.amount.clone(), desk.portfolio.cash_balance.clone()),
        (money("2.58"), money("9302.58"))
    );
    desk.journal.push(entry);
    let mut books = Books::default();
    desk.journal.iter().for_each(|entry| books.apply(entry).unwrap());
    assert_eq!(books.cash_balance, desk.portfolio.cash_balance);
}

#[test]
fn a_journal_with_a_wrong_split_or_dividend_is_rejected() {
    let mut desk = Desk::with_cash("10000");
    desk.trade(Side::Buy, "10", "150", at(1));
    desk.split(1, "3:2", at(10), at(10), &mut []);
    let split = desk.journal.pop().unwrap();
    let mut books = Books::default();
    desk.journal.iter().for_each(|entry| books.apply(entry).unwrap());
    for (wrong, says) in [
        (JournalEntry { quantity: Some(quantity("16")), ..split.clone() }, "leaves 16 shares, computed 15"),
        (
            JournalEntry { realized_pnl: Some(money("1")), ..split.clone() },
            "has realized_pnl 1.00, computed 0.00",
        ),
        (JournalEntry { amount: money("1"), ..split.clone() }, "has amount 1.00, computed 0.00"),
        (JournalEntry { action: None, ..split.clone() }, "is a split without stock, shares or ratio"),
    ] {
        assert_eq!(books.clone().apply(&wrong), Err(says.to_owned()));
    }
    assert_eq!(books.apply(&split), Ok(()));
    assert_eq!(books.apply(&split), Err("splits 10 shares, of 15 held".to_owned()));
}

#[derive(Debug, Clone)]
enum Event {
    /// A trade as (buy?, quantity in millionths, price in cents).
    Trade(bool, i64, i64),
    Split(u32, u32),
    /// A dividend per share, in hundredths of a cent.
    Dividend(i64),
}

fn trade() -> impl Strategy<Value = Event> {
    (any::<bool>(), 1_i64..50_000_000, 1_i64..200_000)
        .prop_map(|(buy, size, cents)| Event::Trade(buy, size, cents))
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => trade(),
        1 => (1_u32..20, 1_u32..20).prop_map(|(new, old)| Event::Split(new, old)),
        1 => (1_i64..50_000).prop_map(Event::Dividend),
    ];
    prop::collection::vec(event, 1..60)
}

fn millionths(size: i64) -> String {
    format!("{}.{:06}", size / 1_000_000, size % 1_000_000)
}

fn cents(cents: i64) -> String {
    Price::from_scaled(cents, 2).to_string()
}

proptest! {
    /// The total gain is the sum of realized and unrealized gains and dividends, it follows from value and flows, and
    /// the journal alone gives the same books.
    #[test]
    fn profit_and_loss_add_up_with_splits_and_dividends(events in events(), mark in 1_i64..200_000) {
        let mut desk = Desk::with_cash("250000.00");
        let mut dividends = Money::zero();
        for (index, event) in (1_i64..).zip(events) {
            let now = at(index);
            match event {
                Event::Trade(buy, size, last) => {
                    let side = if buy { Side::Buy } else { Side::Sell };
                    desk.trade(side, &millionths(size), &cents(last), now);
                }
                Event::Split(new, old) => desk.split(index, &format!("{new}:{old}"), now, now, &mut []),
                Event::Dividend(each) => {
                    let each = PerShare::from_scaled(each, 4).unwrap();
                    let shares = desk.portfolio.entitled(STOCK, &[]);
                    let amount = each.times(&shares);
                    dividends += &amount;
                    let entry = desk.portfolio.receive(booking(index, now, now), &each, &shares, &amount);
                    desk.journal.push(entry);
                }
            }
        }
        let position = desk.position();
        let market_value = Price::from_scaled(mark, 2).times(&position.quantity);
        let unrealized = market_value.clone() - &position.cost_basis;
        let gain = market_value + &desk.portfolio.cash_balance - &money("250000.00");
        prop_assert_eq!(position.realized_pnl.clone() + unrealized + dividends, gain);
        let mut books = Books::default();
        for entry in &desk.journal {
            prop_assert_eq!(books.apply(entry), Ok(()));
        }
        prop_assert_eq!(books.cash_balance, desk.portfolio.cash_balance);
        prop_assert_eq!(books.positions.get(&STOCK).cloned().unwrap_or_default(), position);
    }

    /// However late a split becomes known, the books are the same as if it had been known in time.
    #[test]
    fn a_late_split_gives_the_same_books_as_one_in_time(
        first in 1_i64..50_000_000,
        trades in prop::collection::vec(trade(), 0..20),
        new in 1_u32..20,
        old in 1_u32..20,
    ) {
        prop_assume!(new >= old);
        let by = format!("{new}:{old}");
        let mut late = Desk::with_cash("250000.00");
        let mut in_time = Desk::with_cash("250000.00");
        late.trade(Side::Buy, &millionths(first), "100.00", at(1));
        in_time.trade(Side::Buy, &millionths(first), "100.00", at(1));
        in_time.split(1, &by, at(2), at(2), &mut []);
        for (index, event) in (3_i64..).zip(&trades) {
            let Event::Trade(buy, size, last) = event else { continue };
            let side = if *buy { Side::Buy } else { Side::Sell };
            let (size, last) = (millionths(*size), cents(*last));
            // Sells that were possible with the old shares are possible with the new shares, which are not fewer.
            if late.trade(side, &size, &last, at(index)).is_some() {
                prop_assert!(in_time.trade(side, &size, &last, at(index)).is_some());
            }
        }
        late.split(1, &by, at(2), at(100), &mut []);
        prop_assert_eq!(late.position(), in_time.position());
        prop_assert_eq!(&late.portfolio.cash_balance, &in_time.portfolio.cash_balance);
        let split = late.journal.pop().unwrap();
        let mut books = Books::default();
        for entry in &late.journal {
            prop_assert_eq!(books.apply(entry), Ok(()));
        }
        prop_assert_eq!(books.apply_after(&split, &late.since(at(2))), Ok(()));
    }
}
