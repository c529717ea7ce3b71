//! Rebuilds the books from the journal and reports every difference.
//!
//! Portfolios are read by ranges of ids, several ranges at once, each in one transaction: a portfolio is seen as it is
//! at one moment, whoever trades meanwhile. Memory stays bounded: of a range as many portfolios are looked at together
//! as have a certain number of rows, and one that alone has more is read in pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use domain::journal::Books;
use domain::money::AveragePrice;
use domain::{
    Calendar, JournalEntry, Money, OrderId, OrderStatus, PortfolioId, Position, Price, Quantity, Session,
    Side, Snapshot, StockId, Timestamp, TransactionId, TransactionType,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use persistence::orders::Booked;
use persistence::portfolios::PortfolioRecord;
use persistence::positions::Kept;
use persistence::{Tx, orders, portfolios, positions, snapshots, stocks, transactions};

use crate::Services;
use crate::error::{Error, Result};
use crate::performance::{EARLIEST, LATEST};

/// Portfolios of a range.
const MOST_PORTFOLIOS: usize = 500;
/// Ranges for each that is under way at once, so that all are busy until the end.
const RANGES_EACH: usize = 8;
/// Rows that are held at once.
const MOST_ROWS: i64 = 20_000;
const ROWS_OF_PAGE: i64 = 2_000;
/// Holdings in snapshots that wait for their closing prices.
const MOST_HOLDINGS: usize = 50_000;

/// Something stored that is not what the journal gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub portfolio_id: PortfolioId,
    pub what: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub portfolios: usize,
    pub entries: usize,
    pub orders: usize,
    pub snapshots: usize,
    /// In order of portfolio.
    pub differences: Vec<Difference>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.portfolios += other.portfolios;
        self.entries += other.entries;
        self.orders += other.orders;
        self.snapshots += other.snapshots;
        self.differences.extend(other.differences);
    }
}

impl Services {
    /// Checks all portfolios: cash, positions, cost basis, realised results, what is kept for orders, orders against
    /// their fills, and final snapshots. `progress` is told how many are done, and of how many; ones that are opened
    /// meanwhile are left out.
    ///
    /// # Errors
    /// Only when the database fails; a difference is no error.
    pub async fn verify(&self, mut progress: impl FnMut(usize, usize) + Send) -> Result<Report> {
        let (total, extent) =
            self.store.read(|tx| Ok::<_, Error>((portfolios::count(tx)?, portfolios::extent(tx)?))).await?;
        let total = usize::try_from(total).unwrap_or(0);
        let Some((last, _)) = extent else { return Ok(Report::default()) };
        // One connection is left for others.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (self.store.connections() - 1).clamp(1, 2 * cores);
        let size = (total / (at_once * RANGES_EACH)).clamp(1, MOST_PORTFOLIOS);
        let mut checks = stream::try_unfold(PortfolioId(0), move |after| self.next_range(after, last, size))
            .map_ok(|(after, last)| self.check_range(after, last))
            .try_buffer_unordered(at_once)
            .boxed();
        let mut report = Report::default();
        while let Some(range) = checks.try_next().await? {
            report.add(range);
            progress(report.portfolios.min(total), total);
        }
        drop(checks);
        report.differences.sort_by_key(|difference| difference.portfolio_id);
        Ok(report)
    }

    /// Ids `(after, end]` of up to `size` portfolios.
    async fn next_range(
        &self,
        after: PortfolioId,
        last: PortfolioId,
        size: usize,
    ) -> Result<Option<((PortfolioId, PortfolioId), PortfolioId)>> {
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let rows =
            self.store.read(move |tx| portfolios::range(tx, after, last, limit).map_err(Error::from)).await?;
        Ok(rows.last().map(|row| ((after, row.id), row.id)))
    }

    async fn check_range(&self, after: PortfolioId, last: PortfolioId) -> Result<Report> {
        let calendar = self.market.calendar;
        self.store.read(move |tx| check_range(tx, after, last, calendar)).await
    }
}

/// Takes together what fits into memory.
fn check_range(tx: &mut Tx<'_>, after: PortfolioId, last: PortfolioId, calendar: Calendar) -> Result<Report> {
    let mut sizes: HashMap<PortfolioId, i64> = HashMap::new();
    let counted = transactions::sizes(tx, after, last)?.into_iter();
    let counted = counted.chain(orders::sizes(tx, after, last)?).chain(snapshots::sizes(tx, after, last)?);
    for (id, rows) in counted {
        *sizes.entry(id).or_default() += rows;
    }
    let mut report = Report::default();
    let mut window: Vec<PortfolioRecord> = Vec::new();
    let mut rows = 0;
    for row in portfolios::range(tx, after, last, i64::MAX)? {
        let own = sizes.get(&row.id).copied().unwrap_or(0);
        if rows + own > MOST_ROWS {
            report.add(check_window(tx, std::mem::take(&mut window), calendar)?);
            rows = 0;
        }
        if own > MOST_ROWS {
            report.add(check_large(tx, &row, calendar)?);
        } else {
            rows += own;
            window.push(row);
        }
    }
    report.add(check_window(tx, window, calendar)?);
    Ok(report)
}

/// Portfolios with ids that follow one another, with few statements.
fn check_window(tx: &mut Tx<'_>, rows: Vec<PortfolioRecord>, calendar: Calendar) -> Result<Report> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Report::default()) };
    let (after, last) = (PortfolioId(first.id.0 - 1), last.id);
    let mut held = positions::of_range(tx, after, last)?;
    let journal = transactions::of_range(tx, after, last)?;
    let journal = by_portfolio(&journal, |entry| entry.portfolio_id);
    let orders = orders::booked_in_range(tx, after, last)?;
    let orders = by_portfolio(&orders, |order| order.portfolio_id);
    let finals = snapshots::finals_in_range(tx, after, last)?;
    let finals = by_portfolio(&finals, |snapshot| snapshot.portfolio_id);

    let mut report = Report::default();
    let mut unpriced = Unpriced::default();
    for row in rows {
        let (entries, finals) = (of(&journal, row.id), of(&finals, row.id));
        let mut check = Check::new(&row, finals, calendar);
        let mut fills: HashMap<OrderId, Fills> = HashMap::new();
        for entry in entries {
            check.entry(entry, &mut unpriced);
            if let Some(order) = entry.order_id {
                fills.entry(order).or_default().add(entry);
            }
        }
        for order in of(&orders, row.id) {
            check.order(order, &fills.remove(&order.id).unwrap_or_default());
        }
        for order in fills.into_keys().collect::<BTreeSet<_>>() {
            check.differ(format!("the journal has fills of order {order}, which is not there"));
        }
        report.add(check.end(held.remove(&row.id).unwrap_or_default(), &mut unpriced));
        if unpriced.is_full() {
            report.differences.extend(unpriced.price(tx)?);
        }
    }
    report.differences.extend(unpriced.price(tx)?);
    Ok(report)
}

/// One portfolio in pages.
fn check_large(tx: &mut Tx<'_>, row: &PortfolioRecord, calendar: Calendar) -> Result<Report> {
    let after = PortfolioId(row.id.0 - 1);
    let finals = snapshots::window(tx, row.id, EARLIEST, LATEST)?;
    let finals: Vec<Snapshot> = finals.into_iter().filter(|row| !row.provisional).collect();
    let mut unpriced = Unpriced::default();
    let mut differences = Vec::new();
    let mut check = Check::new(row, &finals, calendar);
    let mut trades = 0;
    let mut seen = None;
    loop {
        let entries = transactions::in_time_order(tx, row.id, seen, ROWS_OF_PAGE)?;
        let Some(last) = entries.last() else { break };
        seen = last.id.map(|id| (last.timestamp, id));
        for entry in &entries {
            check.entry(entry, &mut unpriced);
            trades += usize::from(entry.order_id.is_some());
        }
        if unpriced.is_full() {
            differences.extend(unpriced.price(tx)?);
        }
    }
    let mut filled = 0;
    let mut before = None;
    loop {
        let page = orders::booked(tx, row.id, before, ROWS_OF_PAGE)?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        let ids: Vec<OrderId> = page.iter().map(|order| order.id).collect();
        let mut fills: HashMap<OrderId, Fills> = HashMap::new();
        for entry in transactions::of_orders(tx, &ids)? {
            if let Some(order) = entry.order_id {
                filled += 1;
                fills.entry(order).or_default().add(&entry);
            }
        }
        for order in &page {
            check.order(order, &fills.remove(&order.id).unwrap_or_default());
        }
    }
    if filled != trades {
        check.differ(format!("the journal has {trades} trades, the orders {filled} fills"));
    }
    let held = positions::of_range(tx, after, row.id)?.remove(&row.id).unwrap_or_default();
    let mut report = check.end(held, &mut unpriced);
    report.differences.extend(differences);
    report.differences.extend(unpriced.price(tx)?);
    Ok(report)
}

/// Rows that come one portfolio after the other.
fn by_portfolio<T>(rows: &[T], id: impl Fn(&T) -> PortfolioId) -> HashMap<PortfolioId, &[T]> {
    rows.chunk_by(|a, b| id(a) == id(b)).map(|own| (id(&own[0]), own)).collect()
}

fn of<'a, T>(rows: &HashMap<PortfolioId, &'a [T]>, id: PortfolioId) -> &'a [T] {
    rows.get(&id).copied().unwrap_or_default()
}

/// The check of one portfolio: its entries in the order of time, its orders, the end.
struct Check<'a> {
    row: &'a PortfolioRecord,
    calendar: Calendar,
    /// Those still to come, oldest first.
    finals: std::slice::Iter<'a, Snapshot>,
    /// The next of them, with its session and the close before that.
    next: Option<(&'a Snapshot, Session, Timestamp)>,
    books: Books,
    /// Since the close before the next snapshot.
    net_flow: Money,
    last: Option<TransactionId>,
    reserved_cash: Money,
    reserved: BTreeMap<StockId, Quantity>,
    report: Report,
}

impl<'a> Check<'a> {
    fn new(row: &'a PortfolioRecord, finals: &'a [Snapshot], calendar: Calendar) -> Self {
        let mut check = Self {
            row,
            calendar,
            finals: finals.iter(),
            next: None,
            books: Books::default(),
            net_flow: Money::zero(),
            last: None,
            reserved_cash: Money::zero(),
            reserved: BTreeMap::new(),
            report: Report { portfolios: 1, snapshots: finals.len(), ..Report::default() },
        };
        check.turn_page();
        check
    }

    fn differ(&mut self, what: String) {
        self.report.differences.push(Difference { portfolio_id: self.row.id, what });
    }

    /// Goes on to the next snapshot.
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
                }),
            }
        }
    }

    /// Takes the snapshots whose close comes before `at`, or all that are left.
    fn settle_until(&mut self, at: Option<Timestamp>, unpriced: &mut Unpriced) {
        while let Some((snapshot, session, _)) = self.next {
            if at.is_some_and(|at| at < session.closes_at) {
                return;
            }
            let date = snapshot.date;
            for (name, stored, computed) in [
                ("cash_balance", &snapshot.cash_balance, self.books.cash_balance.clone()),
                ("net_flow", &snapshot.net_flow, self.net_flow.clone()),
            ] {
                self.report.differences.extend(amount_differs(self.row.id, date, name, stored, &computed));
            }
            unpriced.add(snapshot, &self.books);
            self.turn_page();
        }
    }

    fn entry(&mut self, entry: &JournalEntry, unpriced: &mut Unpriced) {
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
        if let Some((_, _, from)) = &self.next
            && entry.transaction_type.is_external_flow()
            && entry.timestamp >= *from
        {
            self.net_flow += &entry.amount;
        }
        if let Err(what) = self.books.apply(entry) {
            self.differ(format!("transaction {}: {what}", id.0));
        }
    }

    fn order(&mut self, order: &Booked, fills: &Fills) {
        self.report.orders += 1;
        let stored = Filled {
            quantity: order.filled_quantity.clone(),
            amount: order.filled_amount.clone(),
            price: order.filled_price.clone(),
            commission: order.commission.clone(),
        };
        if fills.total != stored || fills.of.iter().any(|of| *of != trade_of(order)) {
            self.differ(format!("order {}: its fills in the journal say something else", order.id));
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
            self.differ(format!("order {}: has ended and keeps cash or shares", order.id));
        }
        if order.status.is_open() && self.row.archived_at.is_some() {
            self.differ(format!("order {}: is open in an archived portfolio", order.id));
        }
        self.reserved_cash += &order.reserved_cash;
        let reserved = self.reserved.entry(order.stock_id).or_insert_with(Quantity::zero);
        *reserved = reserved.clone() + &order.reserved_quantity;
    }

    /// Compares what is left with what is stored.
    fn end(mut self, mut held: BTreeMap<StockId, Kept>, unpriced: &mut Unpriced) -> Report {
        self.settle_until(None, unpriced);
        let row = self.row;
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
            self.differ(format!("reserved_cash is {}, the orders keep {reserved}", row.reserved_cash));
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
                self.differ(format!(
                    "position in stock {stock} is {found:?}, the journal knows nothing of it"
                ));
            }
            self.kept(stock, &reserved, kept.remove(&stock));
        }
        for (stock, keeps) in kept.into_iter().filter(|(_, keeps)| !keeps.is_zero()) {
            self.differ(format!(
                "orders keep {keeps} shares of stock {stock}, of which there is no position"
            ));
        }
        self.report
    }

    fn kept(&mut self, stock: StockId, stored: &Quantity, orders: Option<Quantity>) {
        let orders = orders.unwrap_or_else(Quantity::zero);
        if *stored != orders {
            self.differ(format!("reserved_quantity of stock {stock} is {stored}, the orders keep {orders}"));
        }
    }
}

fn amount_differs(
    portfolio_id: PortfolioId,
    date: NaiveDate,
    name: &str,
    stored: &Money,
    computed: &Money,
) -> Option<Difference> {
    (stored != computed).then(|| Difference {
        portfolio_id,
        what: format!("snapshot of {date}: {name} is {stored}, the journal gives {computed}"),
    })
}

type Holdings = Vec<(StockId, Quantity)>;

/// Snapshots whose cash has been looked at, and whose positions wait for the closing prices of their days.
#[derive(Default)]
struct Unpriced {
    snapshots: Vec<(Snapshot, Money, Holdings)>,
    holdings: usize,
}

impl Unpriced {
    fn add(&mut self, snapshot: &Snapshot, books: &Books) {
        let held = books.positions.iter().filter(|(_, position)| !position.quantity.is_zero());
        let held: Vec<_> = held.map(|(stock, position)| (*stock, position.quantity.clone())).collect();
        self.holdings += 1 + held.len();
        self.snapshots.push((snapshot.clone(), books.cash_balance.clone(), held));
    }

    fn is_full(&self) -> bool {
        self.holdings > MOST_HOLDINGS
    }

    fn price(&mut self, tx: &mut Tx<'_>) -> Result<Vec<Difference>> {
        let wanted: BTreeSet<(StockId, NaiveDate)> = self
            .snapshots
            .iter()
            .flat_map(|(snapshot, _, held)| held.iter().map(|(stock, _)| (*stock, snapshot.date)))
            .collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let closes = stocks::closes(tx, &wanted)?.into_iter();
        let closes: HashMap<(StockId, NaiveDate), Price> =
            closes.map(|(stock, date, close)| ((stock, date), close)).collect();
        let mut differences = Vec::new();
        for (snapshot, cash, held) in std::mem::take(self).snapshots {
            let (id, date) = (snapshot.portfolio_id, snapshot.date);
            let mut value = Money::zero();
            let mut missing = 0;
            for (stock, quantity) in &held {
                match closes.get(&(*stock, date)) {
                    Some(close) => value += &close.times(quantity),
                    None => missing += 1,
                }
            }
            let total = value.clone() + &cash;
            differences.extend(amount_differs(
                id,
                date,
                "positions_value",
                &snapshot.positions_value,
                &value,
            ));
            differences.extend(amount_differs(id, date, "total_value", &snapshot.total_value, &total));
            if missing > 0 {
                let what = format!("snapshot of {date}: {missing} closing prices are missing");
                differences.push(Difference { portfolio_id: id, what });
            }
        }
        Ok(differences)
    }
}

/// Whose trade, of what, which way.
type Trade = (PortfolioId, Option<StockId>, TransactionType);

fn trade_of(order: &Booked) -> Trade {
    let transaction_type = match order.side {
        Side::Buy => TransactionType::Buy,
        Side::Sell => TransactionType::Sell,
    };
    (order.portfolio_id, Some(order.stock_id), transaction_type)
}

/// The journal's fills of one order.
#[derive(Default)]
struct Fills {
    total: Filled,
    /// Each but once in a row.
    of: Vec<Trade>,
}

impl Fills {
    fn add(&mut self, fill: &JournalEntry) {
        let of = (fill.portfolio_id, fill.stock_id, fill.transaction_type);
        if self.of.last() != Some(&of) {
            self.of.push(of);
        }
        self.total.add(fill);
    }
}

/// What an order's fills add up to.
#[derive(PartialEq)]
struct Filled {
    quantity: Quantity,
    amount: Money,
    price: Option<AveragePrice>,
    commission: Money,
}

impl Default for Filled {
    fn default() -> Self {
        Self { quantity: Quantity::zero(), amount: Money::zero(), price: None, commission: Money::zero() }
    }
}

impl Filled {
    fn add(&mut self, fill: &JournalEntry) {
        let (Some(quantity), Some(price)) = (&fill.quantity, &fill.price) else { return };
        self.amount += &price.times(quantity);
        self.price = Some(match &self.price {
            Some(average) => average.with(&self.quantity, price, quantity),
            None => price.clone().into(),
        });
        self.commission += &fill.commission;
        self.quantity = self.quantity.clone() + quantity;
    }
}
