//! The books as they were at an earlier time, computed by undoing later journal lines.

use std::collections::{BTreeMap, HashMap};

use crate::journal::cost_taken;
use crate::performance::BookedHolding;
use crate::{JournalEntry, Money, Position, Price, Quantity, StockId, Timestamp};

/// A stock at an earlier instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastPosition {
    pub quantity: Quantity,
    /// The cost that the journal had added until then, including commissions.
    pub cost_basis: Money,
}

/// The changes by the lines of one portfolio since an instant, added up. Lines may be added in any order, so a long
/// journal can be read in parts.
#[derive(Debug)]
pub struct LaterLines {
    cash: Money,
    stocks: BTreeMap<StockId, LaterShares>,
}

impl Default for LaterLines {
    fn default() -> Self {
        Self { cash: Money::zero(), stocks: BTreeMap::new() }
    }
}

/// The changes of one position since an instant.
#[derive(Debug)]
pub struct LaterShares {
    added: Quantity,
    removed: Quantity,
    /// Cost that left the books.
    cost_taken: Money,
}

impl Default for LaterShares {
    fn default() -> Self {
        Self { added: Quantity::zero(), removed: Quantity::zero(), cost_taken: Money::zero() }
    }
}

impl LaterShares {
    /// The quantity before these changes, from the one after them. Zero if the books contradict each other.
    pub fn undo(&self, now: &Quantity) -> Quantity {
        (now.clone() + &self.removed).checked_sub(&self.added).unwrap_or_else(Quantity::zero)
    }
}

impl LaterLines {
    /// Adds a line if it is at or after `until`. Cash and cost count from the time of a line, the shares of a split from
    /// its effective time.
    pub fn add(&mut self, entry: &JournalEntry, until: Timestamp) {
        if entry.timestamp < until {
            return;
        }
        self.cash += &entry.amount;
        let Some(stock) = entry.stock_id.filter(|_| entry.moves_position()) else { return };
        let change = self.stocks.entry(stock).or_default();
        change.cost_taken += &cost_taken(entry);
        if entry.shares_since() >= until {
            let (added, removed) = entry.shares();
            change.added = change.added.clone() + &added;
            change.removed = change.removed.clone() + &removed;
        }
    }

    /// The cash before these lines, from the cash after them.
    pub fn cash_before(&self, now: Money) -> Money {
        now - &self.cash
    }

    /// The changed positions, in the order of the stocks.
    pub fn stocks(&self) -> impl Iterator<Item = (StockId, &LaterShares)> {
        self.stocks.iter().map(|(stock, change)| (*stock, change))
    }
}

/// Cash and positions at an earlier instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastBooks {
    pub cash_balance: Money,
    /// Stocks that were held, or that still had a cost in the books.
    pub positions: HashMap<StockId, PastPosition>,
}

impl PastBooks {
    /// Undoes every line of `entries` at or after `until` in the current books. `entries` contain all lines since `until`,
    /// in any order; earlier lines are ignored.
    ///
    /// Cash and cost change at the time of a line. The shares of a split change at its effective time, even if the
    /// split became known later.
    pub fn at(
        until: Timestamp,
        cash_now: Money,
        positions_now: impl IntoIterator<Item = (StockId, Position)>,
        entries: &[JournalEntry],
    ) -> Self {
        let mut later = LaterLines::default();
        entries.iter().for_each(|entry| later.add(entry, until));
        let mut positions: HashMap<StockId, PastPosition> = positions_now
            .into_iter()
            .map(|(stock, Position { quantity, cost_basis, .. })| {
                (stock, PastPosition { quantity, cost_basis })
            })
            .collect();
        for (stock, change) in &later.stocks {
            let none = || PastPosition { quantity: Quantity::zero(), cost_basis: Money::zero() };
            let position = positions.entry(*stock).or_insert_with(none);
            position.cost_basis += &change.cost_taken;
            position.quantity = change.undo(&position.quantity);
        }
        let cash_balance = later.cash_before(cash_now);
        positions.retain(|_, position| !position.quantity.is_zero() || !position.cost_basis.is_zero());
        Self { cash_balance, positions }
    }

    /// Returns the stocks with their market values at `closes`, rounded half-even to the cent, and the dividends owed
    /// on them, ordered by id. A stock without a close has no value.
    pub fn holdings(
        &self,
        closes: &HashMap<StockId, Price>,
        receivable: &BTreeMap<StockId, Money>,
    ) -> Vec<BookedHolding> {
        let mut stocks: Vec<StockId> = self.positions.keys().chain(receivable.keys()).copied().collect();
        stocks.sort_unstable();
        stocks.dedup();
        let holding = |stock_id: StockId| {
            let position = self.positions.get(&stock_id);
            let value = position.and_then(|held| Some(closes.get(&stock_id)?.times(&held.quantity)));
            BookedHolding {
                stock_id,
                market_value: value.unwrap_or_else(Money::zero),
                cost_basis: position.map_or_else(Money::zero, |held| held.cost_basis.clone()),
                receivable: receivable.get(&stock_id).cloned().unwrap_or_else(Money::zero),
            }
        };
        stocks.into_iter().map(holding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PortfolioId, TransactionType};
    use chrono::{DateTime, Utc};

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    /// 10 shares bought for 1000 on the 2nd; 4 of them sold for 500 (a result of 100) on the 3rd, and 50 deposited.
    #[test]
    fn later_lines_are_undone() {
        let line = |kind, quantity: Option<&str>, amount, realized: Option<&str>, when| JournalEntry {
            transaction_type: kind,
            stock_id: quantity.map(|_| StockId(1)),
            quantity: quantity.map(|text| text.parse().unwrap()),
            realized_pnl: realized.map(money),
            ..JournalEntry::cash(PortfolioId(1), money(amount), at(when))
        };
        let entries = [
            line(TransactionType::Buy, Some("10"), "-1000", None, "2026-01-02T15:00:00Z"),
            line(TransactionType::Sell, Some("4"), "500", Some("100"), "2026-01-03T15:00:00Z"),
            line(TransactionType::Deposit, None, "50", None, "2026-01-03T16:00:00Z"),
        ];
        let now =
            Position { quantity: "6".parse().unwrap(), cost_basis: money("600"), realized_pnl: money("100") };
        let past = |when| PastBooks::at(at(when), money("1550"), [(StockId(1), now.clone())], &entries);
        let before_the_sell = past("2026-01-03T15:00:00Z");
        assert_eq!(before_the_sell.cash_balance, money("1000"));
        let held = before_the_sell.holdings(&[(StockId(1), "120".parse().unwrap())].into(), &BTreeMap::new());
        assert_eq!((held.len(), &held[0].cost_basis), (1, &money("1000")));
        assert_eq!(held[0].market_value, money("1200"));
        let before_all = past("2026-01-02T00:00:00Z");
        assert_eq!((before_all.cash_balance, before_all.positions.len()), (money("2000"), 0));
        let owed = past("2026-01-04T00:00:00Z")
            .holdings(&HashMap::new(), &[(StockId(1), money("3")), (StockId(2), money("4"))].into());
        assert_eq!((owed[0].cost_basis.clone(), owed[0].receivable.clone()), (money("600"), money("3")));
        assert_eq!((owed[1].stock_id, owed[1].receivable.clone()), (StockId(2), money("4")));
    }
}
