//! The append-only journal: every change of cash or shares is one entry, and the books are its sum.

use std::collections::BTreeMap;

use crate::order::keywords;
use crate::position::PositionError;
use crate::{
    Money, OrderId, PortfolioId, Position, Price, Quantity, Receipt, StockId, Timestamp, TransactionId,
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

keywords! {
    TransactionType {
        Deposit = "deposit",
        Withdrawal = "withdrawal",
        Buy = "buy",
        Sell = "sell",
    }
}

impl TransactionType {
    /// Money that came from or went to the outside, not a result of trading.
    pub fn is_external_flow(self) -> bool {
        match self {
            Self::Deposit | Self::Withdrawal => true,
            Self::Buy | Self::Sell => false,
        }
    }
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
    /// Shares that changed hands, positive for both sides.
    pub quantity: Option<Quantity>,
    /// Per share.
    pub price: Option<Price>,
    pub commission: Money,
    /// The signed effect on cash: negative for buys and withdrawals.
    pub amount: Money,
    /// Of a sell: proceeds less the cost that left with the shares.
    pub realized_pnl: Option<Money>,
    pub timestamp: Timestamp,
    pub receipt: Option<Receipt>,
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
    /// an amount that is not what quantity and price give, or a realised result that is not.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), String> {
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
