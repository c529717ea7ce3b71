//! The append-only journal: every change of cash or shares is one entry, and the books are its sum.

use std::collections::BTreeMap;

use crate::order::keywords;
use crate::position::PositionError;
use crate::{
    ActionId, Money, OrderId, PerShare, PortfolioId, Position, Price, Quantity, Receipt, SplitRatio, StockId,
    Timestamp, TransactionId,
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

keywords! {
    TransactionType {
        Deposit = "deposit",
        Withdrawal = "withdrawal",
        Buy = "buy",
        Sell = "sell",
        /// Cash for shares held, on the day it is paid.
        Dividend = "dividend",
        /// More or fewer shares for the same holding.
        Split = "split",
        /// What is charged apart from trades.
        Fee = "fee",
        /// Takes the cash of an earlier line back.
        Reversal = "reversal",
    }
}

impl TransactionType {
    /// Money that came from or went to the outside, not a result of trading.
    pub fn is_external_flow(self) -> bool {
        match self {
            Self::Deposit | Self::Withdrawal => true,
            Self::Buy | Self::Sell | Self::Dividend | Self::Split | Self::Fee | Self::Reversal => false,
        }
    }
}

/// What a corporate action has done to a portfolio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedAction {
    pub id: ActionId,
    /// From when on it counts. When it became known late, or something else had been booked since, the line is younger.
    pub effective_at: Timestamp,
    pub terms: BookedTerms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookedTerms {
    /// The line's quantity are the shares afterwards.
    Split { ratio: SplitRatio, before: Quantity },
    /// The line's quantity are the shares it was paid for.
    Dividend { per_share: PerShare },
}

/// One line of the journal, as it is or will be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// `None` until the database has given one. Ids rise in the order in which a portfolio's entries happened.
    pub id: Option<TransactionId>,
    pub portfolio_id: PortfolioId,
    pub stock_id: Option<StockId>,
    pub order_id: Option<OrderId>,
    pub transaction_type: TransactionType,
    /// Shares that changed hands, positive for both sides; of a split what there is after it, of a dividend what it is
    /// paid for.
    pub quantity: Option<Quantity>,
    /// Per share.
    pub price: Option<Price>,
    pub commission: Money,
    /// The signed effect on cash: negative for buys and withdrawals.
    pub amount: Money,
    /// Of a sell: proceeds less the cost that left with the shares. Of a split that became known only after shares had
    /// been sold: what their results had to be corrected by.
    pub realized_pnl: Option<Money>,
    pub timestamp: Timestamp,
    pub receipt: Option<Receipt>,
    /// Of dividends and splits.
    pub action: Option<BookedAction>,
}

impl JournalEntry {
    /// A deposit (positive amount) or a withdrawal (negative amount).
    pub fn cash(portfolio_id: PortfolioId, amount: Money, timestamp: Timestamp) -> Self {
        let transaction_type =
            if amount.is_negative() { TransactionType::Withdrawal } else { TransactionType::Deposit };
        Self {
            id: None,
            portfolio_id,
            stock_id: None,
            order_id: None,
            transaction_type,
            quantity: None,
            price: None,
            commission: Money::zero(),
            amount,
            realized_pnl: None,
            timestamp,
            receipt: None,
            action: None,
        }
    }

    /// Of a split: its stock, when it took effect, and its ratio.
    pub fn split(&self) -> Option<(StockId, Timestamp, SplitRatio)> {
        match &self.action {
            Some(BookedAction { effective_at, terms: BookedTerms::Split { ratio, .. }, .. }) => {
                Some((self.stock_id?, *effective_at, *ratio))
            }
            _ => None,
        }
    }

    /// Shares that a line has added and taken away.
    pub fn shares(&self) -> (Quantity, Quantity) {
        let quantity = || self.quantity.clone().unwrap_or_else(Quantity::zero);
        match (self.transaction_type, &self.action) {
            (TransactionType::Buy, _) => (quantity(), Quantity::zero()),
            (TransactionType::Sell, _) => (Quantity::zero(), quantity()),
            (TransactionType::Split, Some(BookedAction { terms: BookedTerms::Split { before, .. }, .. })) => {
                let after = quantity();
                match after.checked_sub(before) {
                    Some(more) => (more, Quantity::zero()),
                    None => (Quantity::zero(), before.clone() - &after),
                }
            }
            _ => (Quantity::zero(), Quantity::zero()),
        }
    }

    /// From when on the shares of the line count.
    pub fn shares_since(&self) -> Timestamp {
        match (self.transaction_type, &self.action) {
            (TransactionType::Split, Some(action)) => action.effective_at,
            _ => self.timestamp,
        }
    }
}

impl Position {
    /// The position as it is when a split is put in at its place, before the trades in `since`, which have been booked
    /// already; none, when it is booked in time. Those trades were made at prices of after the split, so they are taken
    /// out, the shares of before are split, and they are put in again: of shares that are no longer there no more are
    /// sold than there are, and the money they brought stays.
    ///
    /// The cost of all shares together does not change. When nothing is left of them it is a loss.
    #[must_use]
    pub fn split(&self, ratio: SplitRatio, since: &[JournalEntry]) -> Self {
        let mut position = self.before(since);
        position.resplit(ratio);
        for entry in since {
            let quantity = entry.quantity.clone().unwrap_or_else(Quantity::zero);
            match (entry.transaction_type, &entry.action) {
                (TransactionType::Buy, _) => position.buy(&quantity, &-entry.amount.clone()),
                (TransactionType::Sell, _) => {
                    let sold = quantity.min(position.quantity.clone());
                    let sold = position.sell(&sold, &entry.amount);
                    debug_assert!(sold.is_ok(), "Invariant: no more is sold than there is");
                }
                (_, Some(BookedAction { terms: BookedTerms::Split { ratio, .. }, .. })) => {
                    position.resplit(*ratio);
                }
                _ => {}
            }
        }
        position
    }

    /// As it was before those entries of its stock.
    #[must_use]
    pub fn before(&self, since: &[JournalEntry]) -> Self {
        let mut position = self.clone();
        for entry in since.iter().rev() {
            let (added, taken) = entry.shares();
            let quantity = position.quantity + &taken;
            position.quantity = quantity.checked_sub(&added).unwrap_or_else(Quantity::zero);
            let realized = entry.realized_pnl.clone().unwrap_or_else(Money::zero);
            if matches!(
                entry.transaction_type,
                TransactionType::Buy | TransactionType::Sell | TransactionType::Split
            ) {
                position.cost_basis += &(entry.amount.clone() - &realized);
                position.realized_pnl -= &realized;
            }
        }
        position
    }

    fn resplit(&mut self, ratio: SplitRatio) {
        self.quantity = ratio.shares(&self.quantity);
        if self.quantity.is_zero() {
            self.realized_pnl -= &self.cost_basis;
            self.cost_basis = Money::zero();
        }
    }
}

/// Cash and positions as the journal alone gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    pub cash_balance: Money,
    pub positions: BTreeMap<StockId, Position>,
}

impl Default for Books {
    fn default() -> Self {
        Self { cash_balance: Money::zero(), positions: BTreeMap::new() }
    }
}

impl Books {
    /// Adds one entry; entries come in the order of their ids.
    ///
    /// # Errors
    /// When the entry cannot have happened: more sold than held, a trade without stock, quantity or price,
    /// an amount that is not what quantity and price give, or a realised result that is not; a split of other shares
    /// than there are.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), String> {
        self.apply_after(entry, &[])
    }

    /// As [`Books::apply`]. Of a split that was booked late, `since` are the entries of its stock from when it took effect
    /// until it was booked.
    ///
    /// # Errors
    /// As [`Books::apply`].
    pub fn apply_after(&mut self, entry: &JournalEntry, since: &[JournalEntry]) -> Result<(), String> {
        match entry.transaction_type {
            TransactionType::Deposit if entry.amount.is_positive() => {}
            TransactionType::Withdrawal if entry.amount.is_negative() => {}
            TransactionType::Deposit | TransactionType::Withdrawal => {
                return Err(format!("is a {} of {}", entry.transaction_type, entry.amount));
            }
            TransactionType::Buy => {
                let (position, quantity, price) = self.trade(entry)?;
                expect("amount", &entry.amount, &-(price.times(&quantity) + &entry.commission))?;
                position.buy(&quantity, &-entry.amount.clone());
            }
            TransactionType::Sell => {
                let (position, quantity, price) = self.trade(entry)?;
                expect("amount", &entry.amount, &(price.times(&quantity) - &entry.commission))?;
                let realized = position
                    .sell(&quantity, &entry.amount)
                    .map_err(|PositionError::NotHeld { held }| format!("sells {quantity} of {held} held"))?;
                expect("realized_pnl", entry.realized_pnl.as_ref().unwrap_or(&Money::zero()), &realized)?;
            }
            TransactionType::Split => {
                let (Some(stock), Some(after), Some(BookedTerms::Split { ratio, before })) =
                    (entry.stock_id, &entry.quantity, entry.action.as_ref().map(|action| &action.terms))
                else {
                    return Err("is a split without stock, shares or ratio".into());
                };
                let position = self.positions.entry(stock).or_default();
                if position.quantity != *before {
                    return Err(format!("splits {before} shares, of {} held", position.quantity));
                }
                let split = position.split(*ratio, since);
                if split.quantity != *after {
                    return Err(format!("leaves {after} shares, computed {}", split.quantity));
                }
                let realized = split.realized_pnl.clone() - &position.realized_pnl;
                expect("amount", &entry.amount, &Money::zero())?;
                expect("realized_pnl", entry.realized_pnl.as_ref().unwrap_or(&Money::zero()), &realized)?;
                *position = split;
            }
            TransactionType::Dividend => {
                let (Some(quantity), Some(BookedTerms::Dividend { per_share })) =
                    (&entry.quantity, entry.action.as_ref().map(|action| &action.terms))
                else {
                    return Err("is a dividend without shares or what each receives".into());
                };
                expect("amount", &entry.amount, &per_share.times(quantity))?;
            }
            TransactionType::Fee if entry.amount.is_positive() => {
                return Err(format!("is a fee of {}", entry.amount));
            }
            TransactionType::Fee | TransactionType::Reversal => {}
        }
        self.cash_balance += &entry.amount;
        if self.cash_balance.is_negative() {
            return Err(format!("leaves cash at {}", self.cash_balance));
        }
        Ok(())
    }

    fn trade(&mut self, entry: &JournalEntry) -> Result<(&mut Position, Quantity, Price), String> {
        match (entry.stock_id, &entry.quantity, &entry.price) {
            (Some(stock), Some(quantity), Some(price)) => {
                Ok((self.positions.entry(stock).or_default(), quantity.clone(), price.clone()))
            }
            _ => Err("is a trade without stock, quantity or price".into()),
        }
    }
}

fn expect(what: &str, stored: &Money, computed: &Money) -> Result<(), String> {
    match stored == computed {
        true => Ok(()),
        false => Err(format!("has {what} {stored}, computed {computed}")),
    }
}
