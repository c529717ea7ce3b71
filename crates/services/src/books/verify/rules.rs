//! The rules of the journal, of orders and of balances.

use std::collections::BTreeMap;

use domain::journal::Books;
use domain::{
    FillTotals, JournalEntry, Money, OrderStatus, PortfolioId, Position, Price, Quantity, Rounding, Session,
    Side, Snapshot, SplitRatio, StockId, Timestamp, TransactionId, TransactionType,
};
use persistence::orders::Booked;
use persistence::portfolios::PortfolioRecord;
use persistence::positions::PositionAndReserved;

use super::actions::{Actions, amount_differs};
use super::report::{Concern, Difference, Report};
use super::valuations::Unpriced;
use crate::market::book_calendar::BookCalendar;

/// The check of one portfolio: first its journal lines in order, then its orders, then the totals.
pub(super) struct Check<'a> {
    row: &'a PortfolioRecord,
    pub(super) calendar: &'a BookCalendar,
    /// The remaining snapshots, oldest first.
    finals: std::slice::Iter<'a, Snapshot>,
    /// The next snapshot, with its session and the previous close.
    pub(super) next: Option<(&'a Snapshot, Session, Timestamp)>,
    books: Books,
    actions: Actions<'a>,
    /// Deposits less withdrawals since the close before the next snapshot.
    net_flow: Money,
    pub(super) last: Option<TransactionId>,
    reserved_cash: Money,
    reserved: BTreeMap<StockId, Quantity>,
    /// Fills at impossible prices that no later line reverses.
    odd_fills: BTreeMap<TransactionId, (JournalEntry, String)>,
    report: Report,
}

impl<'a> Check<'a> {
    pub(super) fn new(
        row: &'a PortfolioRecord,
        finals: &'a [Snapshot],
        calendar: &'a BookCalendar,
        actions: Actions<'a>,
    ) -> Self {
        let mut check = Self {
            row,
            calendar,
            finals: finals.iter(),
            next: None,
            books: Books::default(),
            actions,
            net_flow: Money::zero(),
            last: None,
            reserved_cash: Money::zero(),
            reserved: BTreeMap::new(),
            odd_fills: BTreeMap::new(),
            report: Report { portfolios: 1, snapshots: finals.len(), ..Report::default() },
        };
        check.turn_page();
        check
    }

    pub(super) fn differ(&mut self, what: String) {
        self.differ_about(what, Concern::Books);
    }

    fn differ_about(&mut self, what: String, concern: Concern) {
        self.report.differences.push(Difference { portfolio_id: self.row.id, what, concern });
    }

    /// Moves to the next snapshot.
    fn turn_page(&mut self) {
        self.net_flow = Money::zero();
        self.next = None;
        for snapshot in self.finals.by_ref() {
            match self.calendar.session(snapshot.date) {
                Some(session) => {
                    self.next = Some((snapshot, session, self.calendar.before(snapshot.date).closes_at));
                    return;
                }
                None => self.report.differences.push(Difference {
                    portfolio_id: self.row.id,
                    what: format!("snapshot of {}: the market had no session on that day", snapshot.date),
                    concern: Concern::Books,
                }),
            }
        }
    }

    /// Checks the snapshots whose close is before `at`; all remaining ones if `None`.
    fn settle_until(&mut self, at: Option<Timestamp>, unpriced: &mut Unpriced) {
        while let Some((snapshot, session, _)) = self.next {
            if at.is_some_and(|at| at < session.closes_at) {
                return;
            }
            let date = snapshot.date;
            for (name, stored, computed) in [
                ("cash_balance", &snapshot.cash_balance, self.books.cash_balance.clone()),
                ("net_flow", &snapshot.net_flow, self.net_flow.clone()),
                (
                    "dividends_receivable",
                    &snapshot.dividends_receivable,
                    self.actions.receivable_at(session.closes_at),
                ),
            ] {
                self.report.differences.extend(amount_differs(self.row.id, date, name, stored, &computed));
            }
            unpriced.add(snapshot, &self.books, |stock| self.actions.splits_at(stock, session.closes_at));
            self.turn_page();
        }
    }

    /// Checks the effects of actions until `at`; of all remaining ones if `None`.
    fn act_until(&mut self, at: Option<Timestamp>) {
        let held =
            |stock: StockId| self.books.positions.get(&stock).map(|position| position.quantity.clone());
        let differences = self.actions.until(at, held);
        differences.into_iter().for_each(|what| self.differ(what));
    }

    /// Checks the next journal line. `since` contains the entries that [`domain::journal::booked_since`] finds.
    pub(super) fn entry(&mut self, entry: &JournalEntry, since: &[JournalEntry], unpriced: &mut Unpriced) {
        self.report.entries += 1;
        let id = entry.id.unwrap_or(TransactionId(0));
        if let Some(last) = self.last.filter(|last| *last > id) {
            self.differ(format!(
                "transaction {} is dated before transaction {}, which came first",
                last.0, id.0
            ));
        }
        self.last = Some(id);
        self.settle_until(Some(entry.timestamp), unpriced);
        self.act_until(Some(entry.timestamp));
        self.actions.book(entry);
        if let Some(what) = self.actions.odd_close_out(entry) {
            self.differ(format!("transaction {}: {what}", id.0));
        }
        if let Some((_, _, from)) = &self.next
            && entry.transaction_type.is_external_flow()
            && entry.timestamp >= *from
        {
            self.net_flow += &entry.amount;
        }
        if let Some(reversal) = &entry.reverses {
            self.odd_fills.remove(&reversal.of);
        }
        if let Some((stock, effective_at, _)) = entry.split() {
            // Some fills were booked at a price from before a split that was not known yet. The split has since
            // adjusted their shares too.
            self.odd_fills.retain(|_, (fill, _)| {
                let is_split = fill.stock_id == Some(stock)
                    && fill.timestamp >= effective_at
                    && fill.is_priced_before(effective_at);
                !is_split || odd_receipt(fill).is_some()
            });
        }
        let odd = odd_receipt(entry).or_else(|| self.actions.known.odd_basis(entry, self.calendar));
        if let Some(what) = odd {
            self.odd_fills.insert(id, (entry.clone(), what));
        }
        if let Err(what) = self.books.apply_after(entry, since) {
            self.differ(format!("transaction {}: {what}", id.0));
        }
    }

    pub(super) fn order(&mut self, order: &Booked, fills: &Fills) {
        self.report.orders += 1;
        let (totals, commission, flaws) = fills.total(&self.actions.splits_of_order(order));
        flaws.into_iter().for_each(|what| self.differ(what));
        let is_stored = |totals: &FillTotals| {
            totals.quantity == order.filled_quantity
                && totals.exact == order.filled_amount
                && totals.price == order.filled_price
        };
        let is_as_stored = is_stored(&totals) || fills.without_splits().as_ref().is_some_and(is_stored);
        if !is_as_stored || commission != order.commission || fills.of.iter().any(|of| *of != trade_of(order))
        {
            self.differ(format!("order {}: differs from its fills in the journal", order.id));
        }
        let all = order.quantity.as_ref().is_none_or(|quantity| *quantity == order.filled_quantity);
        let fits = match order.status {
            OrderStatus::Filled => all && !order.filled_quantity.is_zero(),
            OrderStatus::Held | OrderStatus::Accepted => order.filled_quantity.is_zero(),
            OrderStatus::PartiallyFilled => !order.filled_quantity.is_zero(),
            OrderStatus::Canceled | OrderStatus::Expired | OrderStatus::Rejected | OrderStatus::Replaced => {
                true
            }
        };
        if !fits {
            self.differ(format!(
                "order {}: is {} with {} shares filled",
                order.id, order.status, order.filled_quantity
            ));
        }
        let keeps = !order.reserved_cash.is_zero() || !order.reserved_quantity.is_zero();
        if keeps && !order.status.is_open() {
            self.differ(format!("order {}: is in a final state and reserves cash or shares", order.id));
        }
        if order.status.is_open() && self.row.archived_at.is_some() {
            self.differ(format!("order {}: is open in an archived portfolio", order.id));
        }
        self.reserved_cash += &order.reserved_cash;
        let reserved = self.reserved.entry(order.stock_id).or_insert_with(Quantity::zero);
        *reserved = reserved.clone() + &order.reserved_quantity;
    }

    /// Compares the computed totals with the stored values.
    pub(super) fn end(
        mut self,
        mut held: BTreeMap<StockId, PositionAndReserved>,
        unpriced: &mut Unpriced,
    ) -> Report {
        self.settle_until(None, unpriced);
        self.act_until(None);
        let left = self.actions.left_over(|stock| {
            self.books.positions.get(&stock).map_or_else(Quantity::zero, |position| position.quantity.clone())
        });
        left.into_iter().for_each(|what| self.differ(what));
        for (id, (_, what)) in std::mem::take(&mut self.odd_fills) {
            self.differ_about(format!("transaction {}: {what}", id.0), Concern::Fill(id));
        }
        let contradicted: Vec<_> = self
            .actions
            .had
            .keys()
            .filter_map(|id| Some((*id, self.actions.known.contradicted.get(id)?)))
            .collect();
        for (id, (key, expected, found)) in contradicted {
            self.differ_about(
                format!(
                    "{key} leads to a price of about {expected}, and the first close after it is {found}"
                ),
                Concern::Split(id, expected.clone(), found.clone()),
            );
        }
        let row = self.row;
        for what in self.actions.end(row) {
            self.differ(what);
        }
        let books = std::mem::take(&mut self.books);
        if row.cash_balance != books.cash_balance {
            self.differ(format!(
                "cash_balance is {}, the journal gives {}",
                row.cash_balance, books.cash_balance
            ));
        }
        if row.cash_balance.is_negative() {
            self.differ(format!("cash_balance is {}", row.cash_balance));
        }
        let reserved = std::mem::replace(&mut self.reserved_cash, Money::zero());
        if row.reserved_cash != reserved {
            self.differ(format!("reserved_cash is {}, the orders reserve {reserved}", row.reserved_cash));
        }
        if row.reserved_cash > row.cash_balance {
            self.differ(format!("reserved_cash is {} of {}", row.reserved_cash, row.cash_balance));
        }
        let mut kept = std::mem::take(&mut self.reserved);
        for (stock, expected) in &books.positions {
            let (found, reserved) =
                held.remove(stock).unwrap_or_else(|| (Position::default(), Quantity::zero()));
            if found != *expected {
                self.differ(format!(
                    "position in stock {stock} is {found:?}, the journal gives {expected:?}"
                ));
            }
            self.kept(*stock, &reserved, kept.remove(stock));
        }
        for (stock, (found, reserved)) in held {
            if found != Position::default() {
                self.differ(format!("position in stock {stock} is {found:?}, the journal has none"));
            }
            self.kept(stock, &reserved, kept.remove(&stock));
        }
        for (stock, keeps) in kept.into_iter().filter(|(_, keeps)| !keeps.is_zero()) {
            self.differ(format!("orders reserve {keeps} shares of stock {stock}, which has no position"));
        }
        self.report
    }

    fn kept(&mut self, stock: StockId, stored: &Quantity, orders: Option<Quantity>) {
        let orders = orders.unwrap_or_else(Quantity::zero);
        if *stored != orders {
            self.differ(format!(
                "reserved_quantity of stock {stock} is {stored}, the orders reserve {orders}"
            ));
        }
    }
}

/// The largest plausible slippage, as a ratio.
const MAX_SLIPPAGE: f64 = 0.5;

/// Ratios below this come from the rounding of prices to the tick.
const ROUNDING: f64 = 1e-9;

/// Describes how a fill's price contradicts its receipt: a fill must be at the quoted price, or worse by the slippage.
fn odd_receipt(entry: &JournalEntry) -> Option<String> {
    let (price, quoted) = (entry.price.as_ref()?, &entry.receipt.as_ref()?.quoted_price);
    let change = price.change_ratio(quoted)?;
    let worse = match entry.transaction_type {
        TransactionType::Buy => change,
        TransactionType::Sell => -change,
        _ => return None,
    };
    match () {
        () if worse < -ROUNDING => Some(format!("fills at {price}, better than the quoted price {quoted}")),
        () if worse > MAX_SLIPPAGE => Some(format!("fills at {price}, far from the quoted price {quoted}")),
        () => None,
    }
}

/// The portfolio, the stock and the direction of a trade.
type Trade = (PortfolioId, Option<StockId>, TransactionType);

fn trade_of(order: &Booked) -> Trade {
    let transaction_type = match order.side {
        Side::Buy => TransactionType::Buy,
        Side::Sell => TransactionType::Sell,
    };
    (order.portfolio_id, Some(order.stock_id), transaction_type)
}

/// The journal's fills of one order, ordered by id.
#[derive(Default)]
pub(super) struct Fills {
    fills: Vec<FillRecord>,
    /// The trades of the fills, without consecutive duplicates.
    pub(super) of: Vec<Trade>,
}

/// One fill of the order.
struct FillRecord {
    pub(super) id: TransactionId,
    at: Timestamp,
    rounding: Rounding,
    side: Side,
    pub(super) price: Price,
    pub(super) quantity: Quantity,
    /// The amount without commission; positive for buys and sells.
    gross: Money,
    commission: Money,
}

impl Fills {
    pub(super) fn add(&mut self, fill: &JournalEntry) {
        let of = (fill.portfolio_id, fill.stock_id, fill.transaction_type);
        if self.of.last() != Some(&of) {
            self.of.push(of);
        }
        let (Some(quantity), Some(price)) = (&fill.quantity, &fill.price) else { return };
        let (side, gross) = match fill.transaction_type {
            TransactionType::Buy => (Side::Buy, -fill.amount.clone() - &fill.commission),
            _ => (Side::Sell, fill.amount.clone() + &fill.commission),
        };
        self.fills.push(FillRecord {
            id: fill.id.unwrap_or(TransactionId(0)),
            at: fill.timestamp,
            rounding: fill.receipt.as_ref().map_or(Rounding::PerFill, |receipt| receipt.rounding),
            side,
            price: price.clone(),
            quantity: quantity.clone(),
            gross,
            commission: fill.commission.clone(),
        });
    }

    /// The totals without adjustment for splits, for fills from before cumulative rounding was introduced.
    fn without_splits(&self) -> Option<FillTotals> {
        let is_old = self.fills.first().is_some_and(|fill| fill.rounding == Rounding::PerFill);
        is_old.then(|| self.total(&[]).0)
    }

    /// Returns the totals adjusted for the order's splits, the commission, and a description of each fill whose amount
    /// differs from cumulative rounding.
    fn total(&self, splits: &[(Timestamp, SplitRatio)]) -> (FillTotals, Money, Vec<String>) {
        let (mut totals, mut commission) = (FillTotals::default(), Money::zero());
        let (mut splits, mut flaws) = (splits.iter().peekable(), Vec::new());
        for fill in &self.fills {
            while let Some((_, ratio)) = splits.next_if(|(at, _)| *at <= fill.at) {
                let _is_expressible = totals.split(fill.side, *ratio);
            }
            let gross = totals.add(fill.rounding, fill.side, &fill.price, &fill.quantity);
            if fill.rounding == Rounding::Cumulative && gross != fill.gross {
                flaws.push(format!(
                    "transaction {}: books {} for its shares, computed {gross}",
                    fill.id.0, fill.gross
                ));
            }
            commission += &fill.commission;
        }
        if let Some(last) = self.fills.last() {
            splits.for_each(|(_, ratio)| {
                let _is_expressible = totals.split(last.side, *ratio);
            });
        }
        (totals, commission, flaws)
    }
}
