//! Rebuilds the books from the journal and reports every difference.
//!
//! Portfolios are read by ranges of ids, several ranges at once, each in one transaction: a portfolio is seen as it is
//! at one moment, whoever trades meanwhile. Memory stays bounded: of a range as many portfolios are looked at together
//! as have a certain number of rows, and one that alone has more is read in pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::journal::{BookedTerms, Books, booked_since};
use domain::split_check::{SplitVerdict, judge_split};
use domain::{
    ActionHistory, ActionId, AsTraded, Bar, Calendar, CorporateActionKind, FillTotals, JournalEntry,
    KnownAction, Money, OrderId, OrderStatus, PortfolioId, Position, Price, Quantity, Rounding, Session,
    Side, Snapshot, SplitConfirmation, SplitHistory, SplitRatio, StockId, Timestamp, TransactionId,
    TransactionType,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use persistence::corporate_actions::Applied;
use persistence::orders::Booked;
use persistence::portfolios::PortfolioRecord;
use persistence::positions::Kept;
use persistence::{Tx, corporate_actions, orders, portfolios, positions, snapshots, stocks, transactions};

use crate::error::{Error, Result};
use crate::market::book_calendar::BookCalendar;
use domain::period::{EARLIEST, LATEST};

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
    pub concern: Concern,
}

/// What a difference is about: how it can be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// Something that was changed behind the program's back: nothing repairs it.
    Books,
    /// A snapshot, which can be taken again.
    Snapshot(NaiveDate),
    /// A split that the closes around it contradict: the expected price and the one found.
    Split(ActionId, Price, Price),
    /// A fill at a price that its receipt, or the stock's splits, contradict.
    Fill(TransactionId),
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

impl super::Books {
    /// Checks all portfolios: cash, positions, cost basis, realized results, what is kept for orders, orders against
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
    let calendar = &BookCalendar::load(tx, calendar)?;
    let mut sizes: HashMap<PortfolioId, i64> = HashMap::new();
    let counted = transactions::sizes(tx, after, last)?.into_iter();
    let counted = counted.chain(orders::sizes(tx, after, last)?).chain(snapshots::sizes(tx, after, last)?);
    for (id, rows) in counted {
        *sizes.entry(id).or_default() += rows;
    }
    let known = Known::load(tx, calendar)?;
    let mut report = Report::default();
    let mut window: Vec<PortfolioRecord> = Vec::new();
    let mut rows = 0;
    for row in portfolios::range(tx, after, last, i64::MAX)? {
        let own = sizes.get(&row.id).copied().unwrap_or(0);
        if rows + own > MOST_ROWS {
            report.add(check_window(tx, std::mem::take(&mut window), calendar, &known)?);
            rows = 0;
        }
        if own > MOST_ROWS {
            report.add(check_large(tx, &row, calendar, &known)?);
        } else {
            rows += own;
            window.push(row);
        }
    }
    report.add(check_window(tx, window, calendar, &known)?);
    Ok(report)
}

/// Portfolios with ids that follow one another, with few statements.
fn check_window(
    tx: &mut Tx<'_>,
    rows: Vec<PortfolioRecord>,
    calendar: &BookCalendar,
    known: &Known,
) -> Result<Report> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Report::default()) };
    let (after, last) = (PortfolioId(first.id.0 - 1), last.id);
    let mut held = positions::of_range(tx, after, last)?;
    let journal = transactions::of_range(tx, after, last)?;
    let journal = by_portfolio(&journal, |entry| entry.portfolio_id);
    let orders = orders::booked_in_range(tx, after, last)?;
    let orders = by_portfolio(&orders, |order| order.portfolio_id);
    let finals = snapshots::finals_in_range(tx, after, last)?;
    let finals = by_portfolio(&finals, |snapshot| snapshot.portfolio_id);
    let had = corporate_actions::applied_in_range(tx, after, last)?;
    let had = by_portfolio(&had, |applied| applied.portfolio_id);

    let mut report = Report::default();
    let mut unpriced = Unpriced::default();
    for row in rows {
        let (entries, finals) = (of(&journal, row.id), of(&finals, row.id));
        let held = held.remove(&row.id).unwrap_or_default();
        let splits = entries.iter().filter(|entry| {
            matches!(entry.transaction_type, TransactionType::Split | TransactionType::Reversal)
        });
        let actions = Actions::new(known, held.keys(), of(&had, row.id), splits.cloned().collect());
        let mut check = Check::new(&row, finals, calendar, actions);
        let mut fills: HashMap<OrderId, Fills> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let since = booked_since(entry, &entries[..index]);
            check.entry(entry, &since, &mut unpriced);
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
        report.add(check.end(held, &mut unpriced));
        if unpriced.is_full() {
            report.differences.extend(unpriced.price(tx, calendar)?);
        }
    }
    report.differences.extend(unpriced.price(tx, calendar)?);
    Ok(report)
}

/// One portfolio in pages.
fn check_large(
    tx: &mut Tx<'_>,
    row: &PortfolioRecord,
    calendar: &BookCalendar,
    known: &Known,
) -> Result<Report> {
    let after = PortfolioId(row.id.0 - 1);
    let finals = snapshots::window(tx, row.id, EARLIEST, LATEST)?;
    let finals: Vec<Snapshot> = finals.into_iter().filter(|row| !row.provisional).collect();
    let mut unpriced = Unpriced::default();
    let mut differences = Vec::new();
    let held = positions::of_range(tx, after, row.id)?.remove(&row.id).unwrap_or_default();
    let had = corporate_actions::applied_in_range(tx, after, row.id)?;
    let splits = transactions::splits(tx, row.id)?;
    let mut check = Check::new(row, &finals, calendar, Actions::new(known, held.keys(), &had, splits));
    let mut trades = 0;
    let mut seen = None;
    loop {
        let entries = transactions::in_time_order(tx, row.id, seen, ROWS_OF_PAGE)?;
        let Some(last) = entries.last() else { break };
        seen = last.id.map(|id| (last.timestamp, id));
        for entry in &entries {
            let since = match (entry.transaction_type, entry.stock_id) {
                (TransactionType::Split | TransactionType::Reversal, Some(stock)) => {
                    let mut earlier = transactions::of_stock(tx, &[row.id], stock)?;
                    earlier.retain(|earlier| earlier.id < entry.id);
                    booked_since(entry, &earlier)
                }
                _ => Vec::new(),
            };
            check.entry(entry, &since, &mut unpriced);
            trades += usize::from(entry.order_id.is_some());
        }
        if unpriced.is_full() {
            differences.extend(unpriced.price(tx, calendar)?);
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
    let mut report = check.end(held, &mut unpriced);
    report.differences.extend(differences);
    report.differences.extend(unpriced.price(tx, calendar)?);
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
    calendar: &'a BookCalendar,
    /// Those still to come, oldest first.
    finals: std::slice::Iter<'a, Snapshot>,
    /// The next of them, with its session and the close before that.
    next: Option<(&'a Snapshot, Session, Timestamp)>,
    books: Books,
    actions: Actions<'a>,
    /// Since the close before the next snapshot.
    net_flow: Money,
    last: Option<TransactionId>,
    reserved_cash: Money,
    reserved: BTreeMap<StockId, Quantity>,
    /// Fills at prices that cannot be, unless they are reversed later.
    odd_fills: BTreeMap<TransactionId, (JournalEntry, String)>,
    report: Report,
}

impl<'a> Check<'a> {
    fn new(
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

    fn differ(&mut self, what: String) {
        self.differ_about(what, Concern::Books);
    }

    fn differ_about(&mut self, what: String, concern: Concern) {
        self.report.differences.push(Difference { portfolio_id: self.row.id, what, concern });
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
                    concern: Concern::Books,
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

    /// Looks at what actions that take effect until then, or all that are left, have done.
    fn act_until(&mut self, at: Option<Timestamp>) {
        let held =
            |stock: StockId| self.books.positions.get(&stock).map(|position| position.quantity.clone());
        let differences = self.actions.until(at, held);
        differences.into_iter().for_each(|what| self.differ(what));
    }

    /// `since` is what [`booked_since`] finds.
    fn entry(&mut self, entry: &JournalEntry, since: &[JournalEntry], unpriced: &mut Unpriced) {
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
            // Fills at prices of before a split that nobody knew of then were split with the other shares.
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

    fn order(&mut self, order: &Booked, fills: &Fills) {
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

/// The most that slippage makes a fill worse than its quote, as a ratio. More is not slippage.
const MOST_SLIPPAGE: f64 = 0.5;
/// A ratio that rounding to the tick cannot reach.
const ROUNDING: f64 = 1e-9;
/// So many days around a split fills and closes are compared with it.
const AROUND_SPLIT: Days = Days::new(14);

/// What is wrong with a fill's price by its own receipt: a fill is at the quoted price or worse, by the slippage.
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
        () if worse > MOST_SLIPPAGE => Some(format!("fills at {price}, far from the quoted price {quoted}")),
        () => None,
    }
}

/// The corporate actions there are.
struct Known {
    by_id: HashMap<ActionId, KnownAction>,
    by_stock: HashMap<StockId, Vec<ActionId>>,
    /// Stored bars around the splits in force, as traded, each with its price source: prices of two sources contradict each
    /// other without being wrong.
    bars: HashMap<StockId, BTreeMap<NaiveDate, (Bar, String)>>,
    /// Splits that the closes around them contradict: name, expected and found price.
    contradicted: HashMap<ActionId, (String, Price, Price)>,
}

impl Known {
    fn load(tx: &mut Tx<'_>, calendar: &BookCalendar) -> Result<Self> {
        let mut known = Self {
            by_id: HashMap::new(),
            by_stock: HashMap::new(),
            bars: HashMap::new(),
            contradicted: HashMap::new(),
        };
        for action in corporate_actions::all(tx)? {
            if action.ratio().is_some() {
                let ex_on = action.action.ex_on;
                let (first, last) = (ex_on - AROUND_SPLIT, ex_on + AROUND_SPLIT);
                let around = stocks::bars_with_sources(tx, action.stock_id, first, last)?;
                let bars = known.bars.entry(action.stock_id).or_default();
                bars.extend(around.into_iter().map(|bar| (bar.0.date, bar)));
            }
            known.by_stock.entry(action.stock_id).or_default().push(action.id);
            known.by_id.insert(action.id, action);
        }
        let contradicted = known.by_id.values().filter_map(|action| {
            let (expected, found) = known.contradiction(action, calendar)?;
            Some((action.id, (action.action.id.to_string(), expected, found)))
        });
        known.contradicted = contradicted.collect();
        Ok(known)
    }

    fn history(&self, stock: StockId) -> SplitHistory {
        let ids = self.by_stock.get(&stock).map_or(&[][..], Vec::as_slice);
        SplitHistory::of_known(ids.iter().filter_map(|id| self.by_id.get(id)))
    }

    /// The price that a split leads to expect and the first close after it, when they contradict each other.
    fn contradiction(&self, split: &KnownAction, calendar: &BookCalendar) -> Option<(Price, Price)> {
        let check = split.check.as_ref().filter(|check| !check.by_administrator)?;
        let is_booked = check.confirmation == SplitConfirmation::Confirmed && split.applied_at.is_some();
        split.ratio().filter(|_| is_booked)?;
        let bars = self.bars.get(&split.stock_id)?;
        let (before_on, (before, source)) = bars.range(..split.action.ex_on).next_back()?;
        let (after_on, (after, _)) =
            bars.range(split.action.ex_on..).next().filter(|(_, (_, after))| after == source)?;
        let before = AsTraded::new(before.close.clone(), calendar.basis(*before_on));
        let expected = self.history(split.stock_id).convert(before, calendar.basis(*after_on));
        let found = after.close.clone();
        (judge_split(&expected, &found) == SplitVerdict::Contradicted).then_some((expected, found))
    }

    /// Whether a fill's quoted price is in the shares of before or after a split that it should not be in: the day's bar
    /// contradicts it, and fits once the split is undone.
    fn odd_basis(&self, entry: &JournalEntry, calendar: &BookCalendar) -> Option<String> {
        let (stock, receipt) = (entry.stock_id?, entry.receipt.as_ref()?);
        let bars = self.bars.get(&stock)?;
        let day = exchange_date(receipt.quoted_at);
        let (on, (bar, source)) =
            bars.range(..=day).next_back().filter(|(on, _)| **on + AROUND_SPLIT >= day)?;
        if source != receipt.source.as_str() {
            return None;
        }
        let traded = AsTraded::new(bar.clone(), calendar.basis(*on));
        let bar = self.history(stock).convert(traded.clone(), entry.timestamp);
        // Dividends that were known at the time are subtracted from earlier prices.
        let actions = self.by_stock.get(&stock)?.iter().filter_map(|id| self.by_id.get(id));
        let were_known = actions.filter(|known| known.known_at <= entry.timestamp);
        let less_dividends = ActionHistory::of_known(were_known).convert(traded, entry.timestamp);
        let fits_bar = |bar: &Bar, price: &Price| {
            (bar.low <= *price && *price <= bar.high)
                || [&bar.low, &bar.high].iter().any(|of| judge_split(of, price) == SplitVerdict::Confirmed)
        };
        let fits = |price: &Price| fits_bar(&bar, price) || fits_bar(&less_dividends, price);
        let quoted = &receipt.quoted_price;
        if fits(quoted) {
            return None;
        }
        let splits = self.by_stock.get(&stock)?.iter().filter_map(|id| self.by_id.get(id)?.ratio());
        let ratio = splits
            .flat_map(|ratio| [ratio, ratio.inverse()])
            .find(|ratio| ratio.price_half_even(quoted).is_some_and(|right| fits(&right)))?;
        Some(format!(
            "fills on a quoted price of {quoted}, and the stock closed at {} in the shares of the fill: the price is in \
             the shares of before or after a split ({ratio})",
            bar.close
        ))
    }
}

/// A dividend that became known after its ex-date, with the trades since then that still include it.
struct LateDividend<'a> {
    dividend: &'a KnownAction,
    /// The shares held at the opening of the ex-date.
    at_opening: Quantity,
    /// The trades that include the dividend.
    trades: BTreeMap<TransactionId, (TransactionType, Quantity)>,
}

impl LateDividend<'_> {
    fn book(&mut self, entry: &JournalEntry) {
        let Self { dividend, trades, .. } = self;
        if let Some(reversal) = entry.reverses.as_ref().filter(|_| entry.timestamp < dividend.known_at) {
            trades.remove(&reversal.of);
        }
        if entry.stock_id == Some(dividend.stock_id)
            && entry.timestamp >= dividend.effective_at
            && entry.includes_dividend(dividend)
            && let (Some(id), Some(quantity)) = (entry.id, &entry.quantity)
        {
            trades.insert(id, (entry.transaction_type, quantity.clone()));
        }
    }

    fn held(&self) -> Quantity {
        let of = |kind| {
            let trades = self.trades.values().filter(|(of, _)| *of == kind);
            trades.fold(Quantity::zero(), |sum, (_, quantity)| sum + quantity)
        };
        let held = self.at_opening.clone() + &of(TransactionType::Buy);
        held.checked_sub(&of(TransactionType::Sell)).unwrap_or_else(Quantity::zero)
    }
}

/// What corporate actions have done to one portfolio, and what they should have.
struct Actions<'a> {
    /// Of its stocks, those still to be looked at, the first to take effect last.
    to_come: Vec<&'a KnownAction>,
    had: BTreeMap<ActionId, &'a Applied>,
    known: &'a Known,
    splits: Vec<JournalEntry>,
    /// Dividends that became known after their ex-dates. They are compared at the end of the journal.
    late_dividends: Vec<LateDividend<'a>>,
    /// Lines of the journal that are still to be found among what it has had.
    lines: BTreeMap<ActionId, Vec<(TransactionType, Money, Timestamp)>>,
}

impl<'a> Actions<'a> {
    fn new<'s>(
        known: &'a Known,
        stocks: impl Iterator<Item = &'s StockId>,
        had: &'a [Applied],
        splits: Vec<JournalEntry>,
    ) -> Self {
        let of_stocks = stocks.filter_map(|stock| known.by_stock.get(stock)).flatten();
        let mut to_come: Vec<&KnownAction> = of_stocks.filter_map(|id| known.by_id.get(id)).collect();
        to_come.sort_by_key(|action| std::cmp::Reverse((action.effective_at, action.id)));
        let had = had.iter().map(|applied| (applied.action_id, applied)).collect();
        Self { to_come, had, known, splits, late_dividends: Vec::new(), lines: BTreeMap::new() }
    }

    fn book(&mut self, entry: &JournalEntry) {
        self.late_dividends.iter_mut().for_each(|late| late.book(entry));
        if let Some(action) = &entry.action {
            let line = (entry.transaction_type, entry.amount.clone(), entry.timestamp);
            self.lines.entry(action.id).or_default().push(line);
        }
    }

    /// What a line of a close-out has that the close-out does not say.
    fn odd_close_out(&self, entry: &JournalEntry) -> Option<String> {
        let booked = entry.action.as_ref()?;
        let (cash, ratio) = match &booked.terms {
            BookedTerms::ClosedOut { cash, ratio } => (Some(cash.as_ref()), *ratio),
            BookedTerms::Exchanged { ratio, .. } => (None, Some(*ratio)),
            BookedTerms::Split { .. } | BookedTerms::Dividend { .. } => return None,
        };
        let known = self.known.by_id.get(&booked.id)?;
        let CorporateActionKind::CloseOut(terms) = &known.action.kind else {
            return Some(format!("is of action {}, which is no close-out", known.action.id));
        };
        let stock = match entry.transaction_type {
            TransactionType::Exchange => terms.into_stock().map(|(into, _)| into),
            _ => Some(known.stock_id),
        };
        let fits =
            cash.is_none_or(|cash| cash == terms.cash()) && ratio == terms.ratio() && entry.stock_id == stock;
        let given = match &booked.terms {
            BookedTerms::ClosedOut { .. } => entry.quantity.as_ref(),
            BookedTerms::Exchanged { given, .. } => Some(given),
            BookedTerms::Split { .. } | BookedTerms::Dividend { .. } => None,
        };
        let was_given = self.had.get(&booked.id).is_some_and(|had| Some(&had.quantity) == given);
        (!fits || !was_given).then(|| format!("is not what {} says", known.action.id))
    }

    /// Shares of stocks that were closed out for everybody.
    fn left_over(&self, held: impl Fn(StockId) -> Quantity) -> Vec<String> {
        let closed = self.known.by_id.values().filter(|known| {
            matches!(known.action.kind, CorporateActionKind::CloseOut(_)) && known.applied_at.is_some()
        });
        closed
            .filter_map(|known| {
                let left = held(known.stock_id);
                (!left.is_zero()).then(|| format!("{left} shares are left after {}", known.action.id))
            })
            .collect()
    }

    /// The splits that an order has had while it was open, each with the time at which it was booked.
    fn splits_of_order(&self, order: &Booked) -> Vec<(Timestamp, SplitRatio)> {
        let ended_at = order.filled_at.or(order.canceled_at);
        let mut splits: Vec<(Timestamp, SplitRatio)> = self
            .had
            .values()
            .filter_map(|had| {
                let known = self.known.by_id.get(&had.action_id)?;
                let was_open = order.submitted_at < known.effective_at
                    && ended_at.is_none_or(|ended| ended > had.booked_at)
                    && had.reversed_at.is_none_or(|reversed| ended_at.is_some_and(|ended| ended < reversed));
                let ratio = known.action.ratio().filter(|_| known.stock_id == order.stock_id && was_open)?;
                Some((had.booked_at, ratio))
            })
            .collect();
        splits.sort_by_key(|(at, _)| *at);
        splits
    }

    /// Shares that splits of a stock had added and taken away by `at` which the journal has only later.
    fn splits_at(&self, stock: StockId, at: Timestamp) -> (Quantity, Quantity) {
        self.splits_by(stock, at, |effective_at| effective_at < at)
    }

    fn splits_by(
        &self,
        stock: StockId,
        at: Timestamp,
        counts: impl Fn(Timestamp) -> bool,
    ) -> (Quantity, Quantity) {
        let late = self.splits.iter().filter(|split| {
            split.stock_id == Some(stock) && split.timestamp >= at && counts(split.shares_since())
        });
        late.fold((Quantity::zero(), Quantity::zero()), |(added, taken), split| {
            let (more, less) = split.shares();
            (added + &more, taken + &less)
        })
    }

    fn receivable_at(&self, at: Timestamp) -> Money {
        let owed = self.had.values().filter(|applied| {
            let known = self.known.by_id.get(&applied.action_id);
            known.is_some_and(|known| known.effective_at < at)
                && applied.paid_at.is_none_or(|paid| paid >= at)
        });
        owed.map(|applied| &applied.amount).sum()
    }

    /// Compares what was held when actions took effect with what they were applied to.
    fn until(&mut self, at: Option<Timestamp>, held: impl Fn(StockId) -> Option<Quantity>) -> Vec<String> {
        let mut differences = Vec::new();
        while let Some(known) = self.to_come.pop_if(|known| at.is_none_or(|at| known.effective_at <= at)) {
            let (stock, effective_at) = (known.stock_id, known.effective_at);
            let is_dividend = match &known.action.kind {
                CorporateActionKind::Split { .. } => false,
                CorporateActionKind::CashDividend { .. } => true,
                // What was given is compared with the journal; see [`Actions::end`].
                CorporateActionKind::SymbolChange { .. }
                | CorporateActionKind::Delisting
                | CorporateActionKind::CloseOut(_) => continue,
            };
            // A dividend is for shares of after a split of the same opening.
            let (added, taken) = self.splits_by(stock, effective_at, |at| {
                at < effective_at || (is_dividend && at == effective_at)
            });
            let quantity = held(stock).unwrap_or_else(Quantity::zero) + &added;
            let quantity = quantity.checked_sub(&taken).unwrap_or_else(Quantity::zero);
            if is_dividend && known.known_at > effective_at {
                let trades = BTreeMap::new();
                self.late_dividends.push(LateDividend { dividend: known, at_opening: quantity, trades });
            } else {
                differences.extend(self.odd_application(known, &quantity));
            }
        }
        differences
    }

    /// Describes how an action was applied to another number of shares, or with another amount, than `quantity` gives.
    fn odd_application(&self, known: &KnownAction, quantity: &Quantity) -> Option<String> {
        let action = &known.action.id;
        let Some(had) = self.had.get(&known.id) else {
            let is_due = !quantity.is_zero() && known.applied_at.is_some() && known.is_in_force();
            return is_due.then(|| format!("{action} was not applied to the {quantity} shares held"));
        };
        if had.quantity != *quantity {
            return Some(format!("{action} was applied to {} shares, {quantity} were held", had.quantity));
        }
        let amount = match &known.action.kind {
            CorporateActionKind::CashDividend { amount, .. } => amount.times(quantity),
            _ => Money::zero(),
        };
        (had.amount != amount).then(|| format!("{action} pays {}, computed {amount}", had.amount))
    }

    /// Describes the late dividends that were applied in another way than the journal gives.
    fn odd_late_dividends(&self) -> Vec<String> {
        let odd = self.late_dividends.iter().filter_map(|late| {
            let odd = self.odd_application(late.dividend, &late.held())?;
            // Earlier versions paid for the shares held at the opening of the ex-date.
            self.odd_application(late.dividend, &late.at_opening).and(Some(odd))
        });
        odd.collect()
    }

    /// Compares what the portfolio has had with its journal and its totals.
    fn end(&mut self, row: &PortfolioRecord) -> Vec<String> {
        let mut differences = self.odd_late_dividends();
        let (mut total, mut receivable) = (Money::zero(), Money::zero());
        for had in self.had.values() {
            let lines = self.lines.remove(&had.action_id).unwrap_or_default();
            let Some(known) = self.known.by_id.get(&had.action_id) else {
                differences.push(format!("it has had action {}, which is not known", had.action_id));
                continue;
            };
            total += &had.amount;
            if let CorporateActionKind::CloseOut(_) = &known.action.kind {
                let is_as_expected = matches!(
                    lines.as_slice(),
                    [(TransactionType::CloseOut, ..)]
                        | [(TransactionType::CloseOut, ..), (TransactionType::Exchange, ..)]
                );
                if !is_as_expected {
                    differences.push(format!("{}: the journal says something else", known.action.id));
                }
                continue;
            }
            let expected = match (&known.action.kind, had.paid_at) {
                (CorporateActionKind::CashDividend { .. }, None) => {
                    receivable += &had.amount;
                    None
                }
                (CorporateActionKind::CashDividend { .. }, Some(paid_at)) => (!had.amount.is_zero())
                    .then(|| (TransactionType::Dividend, had.amount.clone(), Some(paid_at))),
                _ => (!had.quantity.is_zero()).then(|| (TransactionType::Split, Money::zero(), None)),
            };
            let as_expected = match (expected, lines.as_slice()) {
                (None, []) => true,
                // Of shares that were bought later at a price of before.
                (None, [(TransactionType::Split, ..)]) => known.action.ratio().is_some(),
                (Some((kind, amount, at)), [(of, paid, when)]) => {
                    kind == *of && amount == *paid && at.is_none_or(|at| at == *when)
                }
                _ => false,
            };
            if !as_expected {
                differences.push(format!("{}: the journal says something else", known.action.id));
            }
            if known.is_in_force() && had.reversed_at.is_some() {
                differences.push(format!("{} is in force and was taken back", known.action.id));
            }
            if known.reversed_at.is_some() && had.reversed_at.is_none() {
                differences.push(format!("{} is not in force and was not taken back", known.action.id));
            }
        }
        for (action, _) in std::mem::take(&mut self.lines) {
            differences.push(format!("the journal has action {action}, which was not applied"));
        }
        for (name, stored, computed) in [
            ("dividends", &row.dividends, total),
            ("dividends_receivable", &row.dividends_receivable, receivable),
        ] {
            if *stored != computed {
                differences.push(format!("{name} is {stored}, its actions give {computed}"));
            }
        }
        differences
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
        concern: Concern::Snapshot(date),
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
    /// `late` is what splits had done by the snapshot's close that the books have only later.
    fn add(&mut self, snapshot: &Snapshot, books: &Books, late: impl Fn(StockId) -> (Quantity, Quantity)) {
        let held = books.positions.iter().map(|(stock, position)| {
            let (added, taken) = late(*stock);
            let quantity = position.quantity.clone() + &added;
            (*stock, quantity.checked_sub(&taken).unwrap_or_else(Quantity::zero))
        });
        let held: Vec<_> = held.filter(|(_, quantity)| !quantity.is_zero()).collect();
        self.holdings += 1 + held.len();
        self.snapshots.push((snapshot.clone(), books.cash_balance.clone(), held));
    }

    fn is_full(&self) -> bool {
        self.holdings > MOST_HOLDINGS
    }

    fn price(&mut self, tx: &mut Tx<'_>, calendar: &BookCalendar) -> Result<Vec<Difference>> {
        let wanted: BTreeSet<(StockId, NaiveDate)> = self
            .snapshots
            .iter()
            .flat_map(|(snapshot, _, held)| held.iter().map(|(stock, _)| (*stock, snapshot.date)))
            .collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let closes = stocks::closes(tx, &wanted)?.into_iter();
        let mut closes: HashMap<(StockId, NaiveDate), Price> =
            closes.map(|(stock, date, close)| ((stock, date), close)).collect();
        // What is traded no more is worth what it was worth last.
        let missing: BTreeSet<StockId> =
            wanted.iter().filter(|of| !closes.contains_key(of)).map(|(stock, _)| *stock).collect();
        for stock in stocks::by_ids(tx, &missing.into_iter().collect::<Vec<_>>())? {
            let Some(on) = stock.delisted_on else { continue };
            if let Some((_, day, last)) = stocks::closes_on(tx, &[stock.id], on)?.pop() {
                let history = ActionHistory::of_known(&corporate_actions::of_stock(tx, stock.id)?);
                let last = AsTraded::new(last, calendar.basis(day));
                let dates = wanted.iter().filter(|(id, date)| *id == stock.id && *date >= on);
                closes.extend(dates.map(|of| (*of, history.convert(last.clone(), calendar.basis(of.1)))));
            }
        }
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
            let total = value.clone() + &cash + &snapshot.dividends_receivable;
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
                differences.push(Difference { portfolio_id: id, what, concern: Concern::Snapshot(date) });
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

/// The journal's fills of one order, in the order of their ids.
#[derive(Default)]
struct Fills {
    fills: Vec<FillRecord>,
    /// Each but once in a row.
    of: Vec<Trade>,
}

/// What a fill adds to its order.
struct FillRecord {
    id: TransactionId,
    at: Timestamp,
    rounding: Rounding,
    side: Side,
    price: Price,
    quantity: Quantity,
    /// Without commission; positive for both sides.
    gross: Money,
    commission: Money,
}

impl Fills {
    fn add(&mut self, fill: &JournalEntry) {
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

    /// What they add up to if splits have changed nothing, as it was until fills were rounded cumulatively.
    fn without_splits(&self) -> Option<FillTotals> {
        let is_old = self.fills.first().is_some_and(|fill| fill.rounding == Rounding::PerFill);
        is_old.then(|| self.total(&[]).0)
    }

    /// What they add up to, with the splits that the order has had, and the fills that booked another amount than
    /// cumulative rounding gives them.
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
