//! The books of a portfolio while rows are booked: changed in memory, and written before actions are applied.

use std::collections::{BTreeMap, BTreeSet};

use domain::{JournalEntry, Money, Order, PortfolioId, Position, Quantity, Side, StockId, Symbol, Timestamp};
use persistence::portfolios::LockedPortfolio;
use persistence::{Tx, orders, portfolios, positions, transactions};

use super::issue::RowProblem;
use crate::corporate_actions::Stored;

/// What is wrong with a row, and in which column.
pub(super) type Refused = (&'static str, RowProblem);

pub(super) struct Ledger {
    locked: LockedPortfolio,
    held: BTreeMap<StockId, (Position, Quantity)>,
    changed: BTreeSet<StockId>,
    entries: Vec<JournalEntry>,
    orders: Vec<Order>,
    /// The command line with which orders are kept.
    request: String,
}

/// A trade that fits the balances.
pub(super) struct Booked {
    /// Of a sell.
    pub realized_pnl: Option<Money>,
}

impl Ledger {
    /// The books of a portfolio that is locked.
    pub fn new(tx: &mut Tx<'_>, locked: LockedPortfolio, request: String) -> Stored<Self> {
        let mut ledger = Self {
            locked,
            held: BTreeMap::new(),
            changed: BTreeSet::new(),
            entries: Vec::new(),
            orders: Vec::new(),
            request,
        };
        ledger.load_positions(tx)?;
        Ok(ledger)
    }

    fn id(&self) -> PortfolioId {
        self.locked.portfolio.id
    }

    fn load_positions(&mut self, tx: &mut Tx<'_>) -> Stored<()> {
        let id = self.id();
        let held = positions::of_portfolios(tx, &[id])?.remove(&id).unwrap_or_default();
        let pairs: Vec<_> = held.iter().map(|(stock, _)| (id, *stock)).collect();
        let found = positions::of_pairs(tx, &pairs)?;
        self.held = found.into_iter().map(|((_, stock), kept)| (stock, kept)).collect();
        Ok(())
    }

    /// Reads what others have changed in this transaction.
    pub fn reload(&mut self, tx: &mut Tx<'_>) -> Stored<()> {
        if let Some(locked) = portfolios::lock(tx, &[self.id()])?.pop() {
            self.locked = locked;
        }
        self.load_positions(tx)
    }

    /// Writes everything that is not written yet.
    pub fn flush(&mut self, tx: &mut Tx<'_>) -> Stored<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let new: Vec<(&Order, &str)> =
            self.orders.iter().map(|order| (order, self.request.as_str())).collect();
        orders::insert(tx, &new)?;
        transactions::append(tx, &self.entries)?;
        let portfolio = self.id();
        let changed = self.changed.iter().filter_map(|stock| {
            let (position, reserved) = self.held.get(stock)?;
            Some(positions::ChangedPosition { portfolio, stock: *stock, position, reserved })
        });
        positions::save(tx, &changed.collect::<Vec<_>>())?;
        portfolios::save_cash(tx, &[(&self.locked.portfolio, self.locked.last)])?;
        self.entries.clear();
        self.orders.clear();
        self.changed.clear();
        Ok(())
    }

    pub fn cash_balance(&self) -> &Money {
        &self.locked.portfolio.cash_balance
    }

    pub fn positions(&self) -> impl Iterator<Item = (StockId, &Position)> {
        self.held.iter().map(|(stock, (position, _))| (*stock, position))
    }

    /// Changes the cash, unless what open orders reserve would be missing.
    pub fn change_cash(&mut self, amount: &Money) -> Result<(), Refused> {
        self.check_cash(amount)?;
        let portfolio = &mut self.locked.portfolio;
        let after = portfolio.cash_balance.clone() + amount;
        if !after.in_bounds() {
            return Err(("amount", RowProblem::OutOfBounds));
        }
        portfolio.cash_balance = after;
        Ok(())
    }

    /// Whether all fills of a trade fit the balances together.
    pub fn check_trade(
        &self,
        (stock, symbol): (StockId, &Symbol),
        side: Side,
        quantity: &Quantity,
        amount: &Money,
    ) -> Result<(), Refused> {
        let held = self.available_shares(stock);
        if side == Side::Sell && held < *quantity {
            return Err(("quantity", RowProblem::NotHeld { symbol: symbol.clone(), held }));
        }
        self.check_cash(amount)
    }

    fn available_shares(&self, stock: StockId) -> Quantity {
        let (position, reserved) = self.of(stock);
        position.quantity.checked_sub(&reserved).unwrap_or_else(Quantity::zero)
    }

    /// Whether the cash that open orders do not reserve suffices for a negative amount.
    fn check_cash(&self, amount: &Money) -> Result<(), Refused> {
        let portfolio = &self.locked.portfolio;
        let available = portfolio.cash_balance.clone() - &portfolio.reserved.cash;
        match amount.is_negative() && available < -amount.clone() {
            true => Err(("amount", RowProblem::NotEnoughCash { required: -amount.clone(), available })),
            false => Ok(()),
        }
    }

    /// Adds shares that cost `cost`.
    pub fn buy(&mut self, stock: StockId, quantity: &Quantity, cost: &Money) -> Result<Booked, Refused> {
        let (mut position, reserved) = self.of(stock);
        position.buy(quantity, cost);
        if !position.quantity.in_bounds() || !position.cost_basis.in_bounds() {
            return Err(("quantity", RowProblem::OutOfBounds));
        }
        self.change_cash(&-cost.clone())?;
        self.set(stock, position, reserved);
        Ok(Booked { realized_pnl: None })
    }

    /// Removes shares that brought `proceeds`.
    pub fn sell(
        &mut self,
        (stock, symbol): (StockId, &Symbol),
        quantity: &Quantity,
        proceeds: &Money,
    ) -> Result<Booked, Refused> {
        let (mut position, reserved) = self.of(stock);
        let held = self.available_shares(stock);
        let sold = if held < *quantity { None } else { position.sell(quantity, proceeds).ok() };
        let Some(realized) = sold else {
            return Err(("quantity", RowProblem::NotHeld { symbol: symbol.clone(), held }));
        };
        self.change_cash(proceeds)?;
        self.set(stock, position, reserved);
        Ok(Booked { realized_pnl: Some(realized) })
    }

    fn of(&self, stock: StockId) -> (Position, Quantity) {
        self.held.get(&stock).cloned().unwrap_or_else(|| (Position::default(), Quantity::zero()))
    }

    fn set(&mut self, stock: StockId, position: Position, reserved: Quantity) {
        self.held.insert(stock, (position, reserved));
        self.changed.insert(stock);
    }

    /// Adds a line, and the order that it is the first fill of.
    pub fn append(&mut self, entry: JournalEntry, order: Option<Order>) {
        self.locked.last = self.locked.last.max(entry.timestamp);
        self.entries.push(entry);
        self.orders.extend(order);
    }

    /// The time of the newest line.
    pub fn last(&self) -> Timestamp {
        self.locked.last
    }
}
