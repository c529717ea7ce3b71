//! The sums of the journal lines of a window.

use std::collections::BTreeMap;

use chrono::Datelike;

use crate::calendar::exchange_date;
use crate::journal::without_reversed;
use crate::{JournalEntry, Money, StockId, TransactionType};

/// The sums of a window's journal lines from which its measures are computed. They replace the lines when no
/// explanation is needed: a portfolio may have a hundred thousand lines, but only a few dozen stocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookSums {
    /// Stocks with a realized result or a dividend.
    pub stocks: BTreeMap<StockId, StockSums>,
    /// Amounts that belong to no stock and are neither deposits nor withdrawals; fees are negative.
    pub cash: Money,
    /// Dividends by the year of their payment in New York, and by stock.
    pub dividends_by_year: BTreeMap<(i32, StockId), Money>,
    /// Commissions of all trades, positive, without those that were reversed in the window.
    pub commissions: Money,
    /// Amounts of all buys without commissions, positive, without those that were reversed in the window.
    pub purchases: Money,
    /// Like `purchases`, for sells.
    pub sales: Money,
}

/// The sums of one stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockSums {
    /// The realized results of sells, after commissions.
    pub realized: Money,
    /// Paid dividends, less reversed ones.
    pub dividends: Money,
}

impl Default for StockSums {
    fn default() -> Self {
        Self { realized: Money::zero(), dividends: Money::zero() }
    }
}

impl Default for BookSums {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl BookSums {
    /// Adds up `entries`, which are ordered by id.
    pub fn of(entries: &[JournalEntry]) -> Self {
        let mut stocks: BTreeMap<StockId, StockSums> = BTreeMap::new();
        let (mut cash, mut dividends_by_year) = (Money::zero(), BTreeMap::new());
        for entry in entries {
            if let Some(stock) = dividend_of(entry) {
                stocks.entry(stock).or_default().dividends += &entry.amount;
                let year = exchange_date(entry.timestamp).year();
                *dividends_by_year.entry((year, stock)).or_insert_with(Money::zero) += &entry.amount;
            } else if let Some(stock) = entry.stock_id.filter(|_| entry.moves_position()) {
                if let Some(realized) = &entry.realized_pnl {
                    stocks.entry(stock).or_default().realized += realized;
                }
            } else if !entry.transaction_type.is_external_flow() {
                cash += &entry.amount;
            }
        }
        let has_reversals = entries.iter().any(|entry| entry.reverses.is_some());
        let left = has_reversals.then(|| without_reversed(entries.to_vec()));
        let left = left.as_deref().unwrap_or(entries);
        let gross = |kind: TransactionType| -> Money {
            let trades = left.iter().filter(|entry| entry.transaction_type == kind);
            trades.map(|entry| (entry.amount.clone() + &entry.commission).abs()).sum()
        };
        Self {
            stocks,
            cash,
            dividends_by_year,
            commissions: left.iter().map(|entry| &entry.commission).sum(),
            purchases: gross(TransactionType::Buy),
            sales: gross(TransactionType::Sell),
        }
    }
}

/// The stock whose dividend a line pays or reverses: any line of a stock that moves no position and is not a fee.
fn dividend_of(entry: &JournalEntry) -> Option<StockId> {
    let is_dividend = !entry.moves_position() && entry.transaction_type != TransactionType::Fee;
    entry.stock_id.filter(|_| is_dividend)
}
