//! A small market with a portfolio, generated from a plan: closes, holdings and journal of each day.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveTime};
use domain::journal::BookedTerms;
use domain::performance::{Analysis, BookedHolding, Close, Settings, WindowBooks};
use domain::share_remainder::ShareRemainder;
use domain::{
    ActionId, BookedAction, Calendar, JournalEntry, Money, PerShare, PortfolioId, Position, Price, Quantity,
    SplitRatio, StockId, Timestamp, TransactionType,
};
use proptest::prelude::*;

pub const STOCKS: usize = 3;

/// The events of a day. Impossible ones, such as selling more than the held shares, are skipped.
#[derive(Debug, Clone)]
pub struct DayPlan {
    /// Price changes in ten-thousandths.
    pub moves: [i32; STOCKS],
    /// Deposit, or withdrawal if negative, in cents.
    pub flow: i64,
    /// The stock, and shares in thousandths; negative numbers are sells.
    pub trades: Vec<(usize, i64)>,
    /// The stock, and ten-thousandths of a dollar per share, paid two days later.
    pub dividend: Option<(usize, i64)>,
    /// The stock, and the numbers of new and old shares; takes effect before the market opens.
    pub split: Option<(usize, (i64, i64))>,
    /// A fee in cents.
    pub fee: i64,
}

pub fn plans(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<DayPlan>> {
    let day = (
        prop::array::uniform3(-1500_i32..1500),
        prop_oneof![4 => Just(0_i64), 1 => -2_000_000_i64..2_000_000],
        prop::collection::vec((0..STOCKS, -40_000_i64..60_000), 0..4),
        prop::option::weighted(0.2, (0..STOCKS, 1_i64..30_000)),
        prop::option::weighted(0.1, (0..STOCKS, prop::sample::select(vec![(2, 1), (3, 2), (1, 10)]))),
        prop_oneof![5 => Just(0_i64), 1 => 1_i64..500],
    );
    let plan = day.prop_map(|(moves, flow, trades, dividend, split, fee)| DayPlan {
        moves,
        flow,
        trades,
        dividend,
        split,
        fee,
    });
    prop::collection::vec(plan, length)
}

/// How the plan is executed.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Whether each order fills in two parts.
    pub in_parts: bool,
    /// The id of each stock.
    pub ids: [i64; STOCKS],
    pub commission_cents: i64,
}

pub const PLAIN: Manner = Manner { in_parts: false, ids: [1, 2, 3], commission_cents: 99 };

/// The books of one day, at its close.
#[derive(Debug, Clone)]
pub struct DayBooks {
    pub close: Close,
    pub holdings: Vec<BookedHolding>,
    pub entries: Vec<JournalEntry>,
    pub cash: Money,
    pub positions: BTreeMap<StockId, Position>,
}

struct Desk {
    manner: Manner,
    cash: Money,
    positions: BTreeMap<usize, Position>,
    remainders: BTreeMap<usize, ShareRemainder>,
    /// The stock, the amount, and the index of the day on which it is paid.
    owed: Vec<(usize, Money, usize)>,
    entries: Vec<JournalEntry>,
    at: Timestamp,
}

pub fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 11, 20).unwrap()
}

fn shares(thousandths: i64) -> Quantity {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000).parse().unwrap()
}

/// Executes a plan: a deposit of 10,000.00 on the first day, then the events.
pub fn carried_out(plan: &[DayPlan], manner: Manner) -> Vec<DayBooks> {
    let noon = |date: NaiveDate| {
        Timestamp::new(date.and_time(NaiveTime::MIN).and_utc() + chrono::TimeDelta::hours(17))
    };
    let mut desk = Desk {
        manner,
        cash: Money::zero(),
        positions: BTreeMap::new(),
        remainders: BTreeMap::new(),
        owed: Vec::new(),
        entries: Vec::new(),
        at: noon(first_day()),
    };
    let mut prices = [10_000_i64, 2_500, 40_000];
    let mut days = Vec::new();
    for (number, day) in plan.iter().enumerate() {
        let date = first_day() + Days::new(u64::try_from(number).unwrap());
        desk.at = noon(date);
        for (price, change) in prices.iter_mut().zip(day.moves) {
            *price = (*price * (10_000 + i64::from(change)) / 10_000).clamp(100, 10_000_000);
        }
        if let Some((stock, (new, old))) = day.split {
            prices[stock] = (prices[stock] * old / new).clamp(100, 10_000_000);
            desk.split(stock, format!("{new}:{old}").parse().unwrap());
        }
        let price = |stock: usize| Price::from_scaled(prices[stock], 2);
        if let Some((stock, per_share)) = day.dividend {
            desk.owe(stock, per_share, number + 2);
        }
        desk.pay(number);
        let net_flow = desk.flow(if number == 0 { 1_000_000 } else { day.flow });
        for (stock, thousandths) in &day.trades {
            desk.trade(*stock, *thousandths, &price(*stock));
        }
        if day.fee > 0 && desk.cash > Money::from_cents(day.fee) {
            desk.book(TransactionType::Fee, None, Money::from_cents(-day.fee));
        }
        let holdings = desk.holdings(price);
        let worth = |holding: &BookedHolding| holding.market_value.clone() + &holding.receivable;
        let total_value = holdings.iter().map(worth).sum::<Money>() + &desk.cash;
        days.push(DayBooks {
            close: Close { date, total_value, net_flow },
            holdings,
            entries: std::mem::take(&mut desk.entries),
            cash: desk.cash.clone(),
            positions: desk.positions.iter().map(|(stock, held)| (desk.id(*stock), held.clone())).collect(),
        });
    }
    days
}

impl Desk {
    fn id(&self, stock: usize) -> StockId {
        StockId(self.manner.ids[stock])
    }

    fn book(&mut self, kind: TransactionType, stock: Option<usize>, amount: Money) -> &mut JournalEntry {
        self.cash += &amount;
        let entry = JournalEntry {
            transaction_type: kind,
            stock_id: stock.map(|stock| self.id(stock)),
            ..JournalEntry::cash(PortfolioId(1), amount, self.at)
        };
        self.entries.push(entry);
        self.entries.last_mut().unwrap()
    }

    fn flow(&mut self, cents: i64) -> Money {
        let amount = Money::from_cents(cents);
        if cents == 0 || (self.cash.clone() + &amount).is_negative() {
            return Money::zero();
        }
        let kind = if cents > 0 { TransactionType::Deposit } else { TransactionType::Withdrawal };
        self.book(kind, None, amount.clone());
        amount
    }

    fn owe(&mut self, stock: usize, ten_thousandths: i64, paid_on: usize) {
        let per_share = PerShare::from_scaled(ten_thousandths, 4).unwrap();
        let Some(position) = self.positions.get(&stock) else { return };
        self.owed.push((stock, per_share.times(&position.quantity), paid_on));
    }

    fn pay(&mut self, day: usize) {
        let due: Vec<_> = self.owed.extract_if(.., |(_, _, paid_on)| *paid_on <= day).collect();
        for (stock, amount, _) in due {
            self.book(TransactionType::Dividend, Some(stock), amount);
        }
    }

    fn split(&mut self, stock: usize, ratio: SplitRatio) {
        let Some(held) = self.positions.get(&stock).filter(|held| !held.quantity.is_zero()) else { return };
        let before = held.quantity.clone();
        let after = held.split(ratio, &[], self.remainders.entry(stock).or_default());
        let lost = after.realized_pnl.clone() - &held.realized_pnl;
        let effective_at = self.at;
        let entry = self.book(TransactionType::Split, Some(stock), Money::zero());
        entry.quantity = Some(after.quantity.clone());
        entry.realized_pnl = (!lost.is_zero()).then_some(lost);
        let terms = BookedTerms::Split { ratio, before };
        entry.action = Some(BookedAction { id: ActionId(1), effective_at, terms });
        self.positions.insert(stock, after);
    }

    fn trade(&mut self, stock: usize, thousandths: i64, price: &Price) {
        let size = thousandths.abs();
        let sells = thousandths < 0;
        let gross = price.times(&shares(size.max(1)));
        let commission = Money::from_cents(self.manner.commission_cents);
        let held =
            self.positions.get(&stock).is_some_and(|position| position.quantity >= shares(size.max(1)));
        let can_pay = self.cash > gross.clone() + &commission;
        if size < 10 || (sells && (!held || gross < commission)) || (!sells && !can_pay) {
            return;
        }
        if !self.manner.in_parts {
            return self.fill(stock, sells, size, gross, commission);
        }
        // Amounts are rounded cumulatively and the commission is charged once, as for the fills of one order.
        let part = size / 3;
        let gross_of_part = price.times(&shares(part));
        self.fill(stock, sells, part, gross_of_part.clone(), commission);
        self.fill(stock, sells, size - part, gross - &gross_of_part, Money::zero());
    }

    fn fill(&mut self, stock: usize, sells: bool, size: i64, gross: Money, commission: Money) {
        let quantity = shares(size);
        let position = self.positions.entry(stock).or_default();
        let (kind, amount, realized) = if sells {
            let proceeds = gross - &commission;
            let realized = position.sell(&quantity, &proceeds).unwrap();
            (TransactionType::Sell, proceeds, Some(realized))
        } else {
            let cost = gross + &commission;
            position.buy(&quantity, &cost);
            (TransactionType::Buy, -cost, None)
        };
        let entry = self.book(kind, Some(stock), amount);
        entry.quantity = Some(quantity);
        entry.commission = commission;
        entry.realized_pnl = realized;
    }

    fn holdings(&self, price: impl Fn(usize) -> Price) -> Vec<BookedHolding> {
        let holding = |(stock, position): (&usize, &Position)| BookedHolding {
            stock_id: self.id(*stock),
            market_value: price(*stock).times(&position.quantity),
            cost_basis: position.cost_basis.clone(),
            receivable: self.owed.iter().filter(|(of, ..)| of == stock).map(|(_, amount, _)| amount).sum(),
        };
        self.positions.iter().map(holding).collect()
    }
}

/// The window from the `first` day to the day before `end`, with the close before it.
pub fn window(days: &[DayBooks], first: usize, end: usize) -> Analysis {
    let before = first.checked_sub(1).map(|day| &days[day]);
    let inside = &days[first..end];
    let closes: Vec<Close> = inside.iter().map(|day| day.close.clone()).collect();
    let holdings = |day: Option<&DayBooks>| day.map_or_else(Vec::new, |day| day.holdings.clone());
    let books = WindowBooks::new(
        holdings(before),
        holdings(inside.last().or(before)),
        inside.iter().flat_map(|day| day.entries.clone()).collect(),
    );
    let settings = Settings::new(Calendar::AroundTheClock, 0.0);
    Analysis::new(before.map(|day| &day.close), &closes, settings).with_books(books)
}
