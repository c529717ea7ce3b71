//! The transaction of an import.

use std::collections::{HashMap, HashSet};

use domain::calendar::exchange_date;
use domain::{
    CorporateActionKind, FillRule, FillTotals, JournalEntry, KnownAction, Money, Order, OrderClass, OrderId,
    OrderSize, OrderStatus, OrderTerms, PortfolioId, PortfolioKind, PriceSource, Quantity, Quote, Receipt,
    Side, Stock, StockId, Symbol, TimeInForce, Timestamp, TransactionType, UserId,
};
use persistence::corporate_actions::{self as actions, ReportedAction};
use persistence::portfolios::LockedPortfolio;
use persistence::{Tx, imports, jobs, portfolios, stocks, transactions};
use uuid::Uuid;

use super::file::{ActionRow, ImportFile, ImportRow, MAX_ISSUES, RowKind, Trade};
use super::issue::{RowIssue, RowProblem};
use super::ledger::{Booked, Ledger, Refused};
use super::{ImportReport, past_days};
use crate::corporate_actions::splits::record_reported_action;
use crate::corporate_actions::{apply_in_books, pay_in_books};
use crate::error::{Error, NotFound, Result};

/// Where the prices of imported fills come from.
const SOURCE: &str = "import";

/// An import that is ready to be booked.
pub(super) struct Booking {
    pub user: UserId,
    pub id: PortfolioId,
    pub file: ImportFile,
    /// Hex SHA-256 of the file.
    pub hash: String,
    /// With their newest prices, so that each holding has a value.
    pub stocks: HashMap<Symbol, (Stock, Quote)>,
    /// Splits and dividends that the price source has for these stocks.
    pub announced: Vec<ReportedAction>,
    pub now: Timestamp,
    pub wall: Timestamp,
}

/// An order with its fills in the file.
struct FileOrder {
    id: OrderId,
    /// Of all fills, and of those booked so far.
    totals: FillTotals,
    booked: FillTotals,
    commission: Money,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl FileOrder {
    fn new(at: Timestamp) -> Self {
        Self {
            id: OrderId(Uuid::now_v7()),
            totals: FillTotals::default(),
            booked: FillTotals::default(),
            commission: Money::zero(),
            first_at: at,
            last_at: at,
        }
    }

    fn add(&mut self, at: Timestamp, trade: &Trade) {
        for (quantity, price) in trade.fills() {
            self.totals.add(trade.rounding, trade.side, &price, &quantity);
        }
        self.commission += &trade.fee;
        self.last_at = at;
    }
}

/// Splits and dividends that are due while rows are booked.
struct Due {
    /// Oldest first.
    actions: std::iter::Peekable<std::vec::IntoIter<KnownAction>>,
    /// When dividends that are owed are paid.
    payments: Vec<Timestamp>,
}

impl Booking {
    /// Books all rows, and reports. Whether the transaction is kept is the caller's decision.
    pub fn book(self, tx: &mut Tx<'_>) -> Result<ImportReport> {
        let locked = self.lock(tx)?;
        let known: HashSet<String> = imports::known_rows(tx, self.id)?.into_iter().collect();
        let rows: Vec<&ImportRow> = self.file.rows.iter().filter(|row| !known.contains(&row.hash)).collect();
        let mut report = ImportReport {
            file_hash: self.hash.clone(),
            is_booked: false,
            rows: self.file.rows.len(),
            imported: 0,
            already_imported: self.file.rows.len() - rows.len(),
            actions: 0,
            issues: self.file.issues.clone(),
            cash_balance: locked.portfolio.cash_balance.clone(),
            positions: Vec::new(),
        };
        // The other rows would seem to lack what the unreadable ones say.
        if report.issues.is_empty() && !rows.is_empty() {
            self.book_rows(tx, locked, &rows, &mut report)?;
        }
        report.issues.sort_by_key(|issue| issue.line);
        report.issues.truncate(MAX_ISSUES);
        self.add_positions(tx, &mut report)?;
        Ok(report)
    }

    fn lock(&self, tx: &mut Tx<'_>) -> Result<LockedPortfolio> {
        let locked = portfolios::lock(tx, &[self.id])?.pop().filter(|locked| locked.user_id == self.user);
        let locked = locked.ok_or(Error::NotFound(NotFound::Portfolio))?;
        if locked.archived {
            return Err(Error::Archived);
        }
        if locked.kind != PortfolioKind::Record {
            return Err(Error::NotARecord);
        }
        Ok(locked)
    }

    fn book_rows(
        &self,
        tx: &mut Tx<'_>,
        locked: LockedPortfolio,
        rows: &[&ImportRow],
        report: &mut ImportReport,
    ) -> Result<()> {
        let newest = transactions::newest_time(tx, self.id)?;
        let Some(first_at) = rows.first().map(|row| self.instant(row, newest)) else { return Ok(()) };
        for announced in &self.announced {
            record_reported_action(tx, announced, self.now, self.wall)?;
        }
        let since = newest.unwrap_or(first_at);
        let known = self.actions_since(tx, since, rows, &mut report.issues)?;
        let mut orders = self.orders(rows, &known, &mut report.issues);
        if !report.issues.is_empty() {
            return Ok(());
        }
        let mut ledger = match newest {
            Some(_) => Ledger::new(tx, locked, self.request())?,
            None => {
                // The portfolio is as old as what it records.
                portfolios::begin_at(tx, self.id, first_at.min(self.now))?;
                let locked = self.lock(tx)?;
                Ledger::new(tx, locked, self.request())?
            }
        };
        let mut due = Due { actions: known.into_iter().peekable(), payments: Vec::new() };
        let mut booked = Vec::new();
        for row in rows {
            let at = self.instant(row, newest);
            if let Some(problem) = self.untimely(at, newest) {
                report.issues.push(RowIssue::new(row.line, Some("date"), problem));
                continue;
            }
            self.act_until(tx, at, &mut ledger, &mut due)?;
            match self.row((at, row), &mut ledger, &mut orders) {
                Ok(()) => booked.push((row.hash.as_str(), row.line)),
                Err((column, problem)) => {
                    report.issues.push(RowIssue::new(row.line, Some(column), problem));
                }
            }
        }
        self.act_until(tx, self.now, &mut ledger, &mut due)?;
        ledger.flush(tx)?;
        report.cash_balance = ledger.cash_balance().clone();
        report.actions = self.compare_actions(tx, rows, &mut report.issues)?;
        report.imported = booked.len().saturating_sub(report.actions);
        imports::insert(tx, self.id, &self.hash, self.wall, &booked)?;
        for (stock, quote) in self.stocks.values() {
            stocks::save_last_price(tx, stock.id, quote)?;
        }
        if exchange_date(first_at) < exchange_date(self.now) {
            past_days::mark(tx, self.id, exchange_date(first_at))?;
            let key = format!("{} import of {}", self.wall.to_rfc3339(), self.id);
            jobs::request(tx, jobs::CORPORATE_ACTIONS, &key, self.wall)?;
        }
        Ok(())
    }

    fn request(&self) -> String {
        format!("import {}", self.hash)
    }

    /// When a row is booked. A day without a time is noon in New York, but not later than now, and not earlier than the
    /// newest transaction of the same day.
    fn instant(&self, row: &ImportRow, newest: Option<Timestamp>) -> Timestamp {
        let at = row.time.at;
        let is_same_day = |other: &Timestamp| exchange_date(*other) == exchange_date(at);
        match row.time.is_day {
            true if is_same_day(&self.now) => at.min(self.now).max(newest.unwrap_or(at.min(self.now))),
            true => newest.filter(is_same_day).map_or(at, |newest| at.max(newest)),
            false => at,
        }
    }

    fn untimely(&self, at: Timestamp, newest: Option<Timestamp>) -> Option<RowProblem> {
        if at > self.now {
            return Some(RowProblem::Future { now: self.now });
        }
        newest.filter(|newest| at < *newest).map(|newest| RowProblem::OlderThanPortfolio { newest })
    }

    /// The splits and dividends in force of the stocks of the file since an instant, oldest first. A stock that has ended
    /// is a problem of its rows.
    fn actions_since(
        &self,
        tx: &mut Tx<'_>,
        since: Timestamp,
        rows: &[&ImportRow],
        issues: &mut Vec<RowIssue>,
    ) -> Result<Vec<KnownAction>> {
        let mut due = Vec::new();
        for (symbol, (stock, _)) in &self.stocks {
            for known in actions::of_stock(tx, stock.id)? {
                let is_due =
                    known.is_in_force() && known.effective_at >= since && known.effective_at <= self.now;
                match known.action.kind {
                    CorporateActionKind::Split { .. } | CorporateActionKind::CashDividend { .. }
                        if is_due =>
                    {
                        due.push(known);
                    }
                    CorporateActionKind::Delisting | CorporateActionKind::CloseOut(_) if is_due => {
                        let row = rows.iter().find(|row| row.kind.symbol() == Some(symbol));
                        let on = known.action.ex_on;
                        let problem = RowProblem::Ended { symbol: symbol.clone(), on };
                        issues.extend(row.map(|row| RowIssue::new(row.line, Some("symbol"), problem)));
                    }
                    _ => {}
                }
            }
        }
        due.sort_by_key(|known| (known.effective_at, known.action.precedence(), known.id));
        Ok(due)
    }

    /// Applies the splits and dividends until an instant, and pays the dividends.
    fn act_until(&self, tx: &mut Tx<'_>, at: Timestamp, ledger: &mut Ledger, due: &mut Due) -> Result<()> {
        loop {
            let action_at = due.actions.peek().map(|known| known.effective_at);
            let payment_at = due.payments.iter().min().copied();
            let next = [action_at, payment_at].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= at) else { return Ok(()) };
            ledger.flush(tx)?;
            if payment_at == Some(next) {
                due.payments.retain(|payment| *payment != next);
                pay_in_books(tx, self.id, next)?;
            } else if let Some(known) = due.actions.next() {
                apply_in_books(tx, &known, self.id, self.now)?;
                due.payments.extend(known.pays_at);
            }
            ledger.reload(tx)?;
        }
    }

    /// The orders of the rows that name them, with the sums of their fills.
    fn orders(
        &self,
        rows: &[&ImportRow],
        known: &[KnownAction],
        issues: &mut Vec<RowIssue>,
    ) -> HashMap<String, FileOrder> {
        let mut found: HashMap<String, (FileOrder, Symbol, Side)> = HashMap::new();
        for row in rows {
            let RowKind::Trade(trade) = &row.kind else { continue };
            let Some(name) = &trade.order else { continue };
            let (order, symbol, side) = found
                .entry(name.clone())
                .or_insert_with(|| (FileOrder::new(row.time.at), trade.symbol.clone(), trade.side));
            if *symbol != trade.symbol || *side != trade.side {
                issues.push(RowIssue::new(row.line, Some("order"), RowProblem::OrderOfSeveral));
                continue;
            }
            let stock = self.stocks.get(symbol).map(|(stock, _)| stock.id);
            let is_split = known.iter().any(|known| {
                known.action.ratio().is_some()
                    && Some(known.stock_id) == stock
                    && order.first_at < known.effective_at
                    && known.effective_at <= row.time.at
            });
            if is_split {
                issues.push(RowIssue::new(row.line, Some("order"), RowProblem::OrderAcrossSplit));
            }
            order.add(row.time.at, trade);
        }
        found.into_iter().map(|(name, (order, ..))| (name, order)).collect()
    }

    /// Compares the splits and dividends of the file with those booked here; answers how many agree.
    fn compare_actions(
        &self,
        tx: &mut Tx<'_>,
        rows: &[&ImportRow],
        issues: &mut Vec<RowIssue>,
    ) -> Result<usize> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(0) };
        let mut booked = transactions::since(tx, &[self.id], first.time.at.min(self.now))?;
        booked.retain(|entry| entry.action.is_some());
        let mut agreed = 0;
        for row in rows {
            let RowKind::Action(wanted) = &row.kind else { continue };
            let stock = self.stocks.get(&wanted.symbol).map(|(stock, _)| stock.id);
            match booked.iter().position(|entry| is_the_action(entry, wanted, stock)) {
                Some(at) => {
                    booked.remove(at);
                    agreed += 1;
                }
                None => {
                    let (kind, symbol) = (wanted.transaction_type.as_str(), wanted.symbol.clone());
                    let problem = RowProblem::NoSuchAction { kind, symbol };
                    issues.push(RowIssue::new(row.line, Some("action"), problem));
                }
            }
        }
        if self.file.is_own {
            // What is due after the export is not in it yet.
            for entry in booked.iter().filter(|entry| entry.timestamp <= last.time.at) {
                let symbol = self.stocks.values().find(|(stock, _)| Some(stock.id) == entry.stock_id);
                let Some((stock, _)) = symbol else { continue };
                let problem = RowProblem::ActionMissing {
                    kind: entry.transaction_type.as_str(),
                    symbol: stock.listing.symbol.clone(),
                    on: exchange_date(entry.timestamp),
                };
                issues.push(RowIssue::new(last.line, None, problem));
            }
        }
        Ok(agreed)
    }

    fn add_positions(&self, tx: &mut Tx<'_>, report: &mut ImportReport) -> Result<()> {
        let locked = self.lock(tx)?;
        let ledger = Ledger::new(tx, locked, self.request())?;
        report.cash_balance = ledger.cash_balance().clone();
        let ids: Vec<StockId> = ledger.positions().map(|(stock, _)| stock).collect();
        let names: HashMap<StockId, Symbol> = stocks::by_ids(tx, &ids)?
            .into_iter()
            .map(|stock| (stock.id, stock.listing.symbol.clone()))
            .collect();
        let named = ledger
            .positions()
            .filter(|(_, position)| !position.quantity.is_zero())
            .filter_map(|(stock, position)| Some((names.get(&stock)?.clone(), position.clone())));
        report.positions = named.collect();
        report.positions.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(())
    }
}

fn is_the_action(entry: &JournalEntry, wanted: &ActionRow, stock: Option<StockId>) -> bool {
    let has_shares = wanted.shares.is_none() || wanted.shares == entry.quantity;
    entry.transaction_type == wanted.transaction_type
        && entry.stock_id == stock
        && entry.amount == wanted.amount
        && has_shares
}

impl Booking {
    fn row(
        &self,
        (at, row): (Timestamp, &ImportRow),
        ledger: &mut Ledger,
        orders: &mut HashMap<String, FileOrder>,
    ) -> std::result::Result<(), Refused> {
        match &row.kind {
            RowKind::Deposit(amount) => self.cash(at, amount.clone(), ledger),
            RowKind::Withdrawal(amount) => self.cash(at, -amount.clone(), ledger),
            RowKind::Trade(trade) => self.trade(at, trade, ledger, orders),
            RowKind::Action(_) => Ok(()),
        }
    }

    fn cash(&self, at: Timestamp, amount: Money, ledger: &mut Ledger) -> std::result::Result<(), Refused> {
        ledger.change_cash(&amount)?;
        ledger.append(JournalEntry::cash(self.id, amount, at.max(ledger.last())), None);
        Ok(())
    }

    fn trade(
        &self,
        at: Timestamp,
        trade: &Trade,
        ledger: &mut Ledger,
        orders: &mut HashMap<String, FileOrder>,
    ) -> std::result::Result<(), Refused> {
        let unknown = || ("symbol", RowProblem::UnknownSymbol(trade.symbol.clone()));
        let (stock, _) = self.stocks.get(&trade.symbol).ok_or_else(unknown)?;
        let mut alone = FileOrder::new(at);
        alone.add(at, trade);
        let order = match trade.order.as_ref().and_then(|name| orders.get_mut(name)) {
            Some(order) => order,
            None => &mut alone,
        };
        let mut new_order = order.booked.quantity.is_zero().then(|| self.order(order, stock, trade));
        let mut fills = Vec::new();
        let mut fee = trade.fee.clone();
        for (quantity, price) in trade.fills() {
            let gross = order.booked.add(trade.rounding, trade.side, &price, &quantity);
            let amount = match trade.side {
                Side::Buy => -(gross + &fee),
                Side::Sell => gross - &fee,
            };
            fills.push((quantity, price, amount, std::mem::replace(&mut fee, Money::zero())));
        }
        let total = fills.iter().fold(Money::zero(), |sum, (_, _, amount, _)| sum + amount);
        if trade.amount.as_ref().is_some_and(|stated| *stated != total) {
            return Err(("amount", RowProblem::Amount { expected: total }));
        }
        ledger.check_trade((stock.id, &trade.symbol), trade.side, &trade.quantity, &total)?;
        for (quantity, price, amount, commission) in fills {
            let Booked { realized_pnl } = match trade.side {
                Side::Buy => ledger.buy(stock.id, &quantity, &-amount.clone())?,
                Side::Sell => ledger.sell((stock.id, &trade.symbol), &quantity, &amount)?,
            };
            let entry = JournalEntry {
                stock_id: Some(stock.id),
                order_id: Some(order.id),
                transaction_type: match trade.side {
                    Side::Buy => TransactionType::Buy,
                    Side::Sell => TransactionType::Sell,
                },
                quantity: Some(quantity),
                price: Some(price.clone()),
                commission,
                realized_pnl,
                receipt: Some(Receipt {
                    source: PriceSource::from(SOURCE),
                    quoted_at: at,
                    rule: FillRule::Imported,
                    quoted_price: price,
                    rounding: trade.rounding,
                }),
                ..JournalEntry::cash(self.id, amount, at.max(ledger.last()))
            };
            ledger.append(entry, new_order.take());
        }
        Ok(())
    }

    /// The filled order of a trade.
    fn order(&self, order: &FileOrder, stock: &Stock, trade: &Trade) -> Order {
        Order {
            id: order.id,
            portfolio_id: self.id,
            stock_id: stock.id,
            symbol: stock.listing.symbol.clone(),
            client_order_id: None,
            side: trade.side,
            size: OrderSize::Quantity(order.totals.quantity.clone()),
            terms: OrderTerms::Market,
            time_in_force: TimeInForce::Gtc,
            order_class: OrderClass::Simple,
            parent_order_id: None,
            replaces: None,
            status: OrderStatus::Filled,
            triggered_at: None,
            high_water_price: None,
            reserved_cash: Money::zero(),
            reserved_quantity: Quantity::zero(),
            filled_quantity: order.totals.quantity.clone(),
            filled_amount: order.totals.exact.clone(),
            filled_price: order.totals.price.clone(),
            commission: order.commission.clone(),
            submitted_at: order.first_at,
            last_matched_at: order.last_at,
            filled_at: Some(order.last_at),
            canceled_at: None,
            expires_at: None,
            reject_reason: None,
        }
    }
}
