//! The append-only journal. Every change of cash or shares is one line, and the books are the sum of all lines.

use std::collections::BTreeMap;

use crate::close_out::Settlement;
use crate::money::ExactAmount;
use crate::order::keywords;
use crate::position::PositionError;
use crate::share_remainder::{ShareRemainder, ShareRemainders};
use crate::{
    ActionId, KnownAction, Money, OrderId, PerShare, PortfolioId, Position, Price, Quantity, Receipt,
    Rounding, SplitRatio, StockId, Timestamp, TransactionId,
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

keywords! {
    TransactionType {
        Deposit = "deposit",
        Withdrawal = "withdrawal",
        Buy = "buy",
        Sell = "sell",
        /// A cash dividend, booked on its payment day.
        Dividend = "dividend",
        /// A split: the same holding as another number of shares.
        Split = "split",
        /// A fee that does not belong to a trade.
        Fee = "fee",
        /// Reverses an earlier line: its cash, its shares and its realized result.
        Reversal = "reversal",
        /// The close-out of all shares of a delisted stock for cash, other shares or nothing.
        CloseOut = "close_out",
        /// Shares received in exchange for those of another stock, at their cost.
        Exchange = "exchange",
    }
}

impl TransactionType {
    /// Whether the line is a deposit or withdrawal, and not a result of trading.
    pub fn is_external_flow(self) -> bool {
        match self {
            Self::Deposit | Self::Withdrawal => true,
            Self::Buy
            | Self::Sell
            | Self::Dividend
            | Self::Split
            | Self::Fee
            | Self::Reversal
            | Self::CloseOut
            | Self::Exchange => false,
        }
    }
}

/// A corporate action as it was applied to a portfolio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedAction {
    pub id: ActionId,
    /// When the action took effect. The line is later if the action became known late, or if other lines had already
    /// been booked.
    pub effective_at: Timestamp,
    pub terms: BookedTerms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookedTerms {
    /// The line's quantity is the number of shares after the split.
    Split { ratio: SplitRatio, before: Quantity },
    /// The line's quantity is the number of shares that get the dividend.
    Dividend { per_share: PerShare },
    /// The line's quantity is the number of removed shares. Its amount is the cash for them; for an exchange (with a
    /// ratio of new to old shares) also the cost that passes to the new shares.
    ClosedOut { cash: Option<PerShare>, ratio: Option<SplitRatio> },
    /// The line's quantity is the number of received shares, and `given` the number of old shares. Its amount is the
    /// cost that passed from the old shares.
    Exchanged { ratio: SplitRatio, given: Quantity },
}

/// A reference to the line that a reversal reverses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// The line that no longer counts.
    pub of: TransactionId,
    /// The shares before the reversal; the line's quantity is the number of shares after it.
    pub before: Quantity,
    /// When the change of shares takes effect. For a split its effective time, because the split never happened; for a
    /// trade the time of the reversal.
    pub effective_at: Timestamp,
    /// The ratio of a reversed split.
    pub ratio: Option<SplitRatio>,
}

/// One line of the journal, stored or about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// `None` until the database assigns one. Within a portfolio, ids increase in the order of the lines.
    pub id: Option<TransactionId>,
    pub portfolio_id: PortfolioId,
    pub stock_id: Option<StockId>,
    pub order_id: Option<OrderId>,
    pub transaction_type: TransactionType,
    /// The traded shares, positive for buys and sells. For a split the shares after it, for a dividend the shares that
    /// get it.
    pub quantity: Option<Quantity>,
    /// Per share.
    pub price: Option<Price>,
    pub commission: Money,
    /// The signed effect on cash: negative for buys and withdrawals.
    pub amount: Money,
    /// For a sell: proceeds less the cost of the sold shares. For a split that became known after shares had been
    /// sold: the correction of their results.
    pub realized_pnl: Option<Money>,
    pub timestamp: Timestamp,
    pub receipt: Option<Receipt>,
    /// For dividends, splits and close-outs.
    pub action: Option<BookedAction>,
    /// For reversals of a split or a trade.
    pub reverses: Option<Reversal>,
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
            reverses: None,
        }
    }

    /// For a split: its stock, its effective time and its ratio.
    pub fn split(&self) -> Option<(StockId, Timestamp, SplitRatio)> {
        match &self.action {
            Some(BookedAction { effective_at, terms: BookedTerms::Split { ratio, .. }, .. }) => {
                Some((self.stock_id?, *effective_at, *ratio))
            }
            _ => None,
        }
    }

    /// The shares that the line added, and those that it removed.
    pub fn shares(&self) -> (Quantity, Quantity) {
        let quantity = || self.quantity.clone().unwrap_or_else(Quantity::zero);
        let from = |before: &Quantity| {
            let after = quantity();
            match after.checked_sub(before) {
                Some(more) => (more, Quantity::zero()),
                None => (Quantity::zero(), before.clone() - &after),
            }
        };
        match (self.transaction_type, &self.action, &self.reverses) {
            (TransactionType::Buy | TransactionType::Exchange, ..) => (quantity(), Quantity::zero()),
            (TransactionType::Sell | TransactionType::CloseOut, ..) => (Quantity::zero(), quantity()),
            (
                TransactionType::Split,
                Some(BookedAction { terms: BookedTerms::Split { before, .. }, .. }),
                _,
            ) => from(before),
            (TransactionType::Reversal, _, Some(reversal)) => from(&reversal.before),
            _ => (Quantity::zero(), Quantity::zero()),
        }
    }

    /// Whether the line changes a position: shares, cost or realized result.
    pub(crate) fn moves_position(&self) -> bool {
        match self.transaction_type {
            TransactionType::Buy
            | TransactionType::Sell
            | TransactionType::Split
            | TransactionType::CloseOut
            | TransactionType::Exchange => true,
            TransactionType::Reversal => self.reverses.is_some(),
            TransactionType::Deposit
            | TransactionType::Withdrawal
            | TransactionType::Dividend
            | TransactionType::Fee => false,
        }
    }

    /// Whether the line is a trade at a price from before `at`.
    pub fn is_priced_before(&self, at: Timestamp) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.quoted_at < at)
    }

    /// Whether a trade on or after the ex-date still includes the dividend, because its price is from before the
    /// ex-date and the dividend was not known yet and not subtracted. The buyer gets the dividend, not the seller.
    pub fn includes_dividend(&self, dividend: &KnownAction) -> bool {
        self.is_priced_before(dividend.effective_at) && self.timestamp < dividend.known_at
    }

    /// When the line's change of shares takes effect.
    pub fn shares_since(&self) -> Timestamp {
        match (self.transaction_type, &self.action, &self.reverses) {
            (TransactionType::Split, Some(action), _) => action.effective_at,
            (TransactionType::Reversal, _, Some(reversal)) => reversal.effective_at,
            _ => self.timestamp,
        }
    }
}

/// Removes reversed lines and their reversals. `entries` are in the order of their ids.
pub fn without_reversed(mut entries: Vec<JournalEntry>) -> Vec<JournalEntry> {
    let has = |id: Option<TransactionId>| id.is_some() && entries.iter().any(|entry| entry.id == id);
    let reversed: Vec<TransactionId> = entries
        .iter()
        .filter_map(|entry| Some(entry.reverses.as_ref()?.of))
        .filter(|id| has(Some(*id)))
        .collect();
    let is_over = |id: &TransactionId| reversed.contains(id);
    entries.retain(|entry| {
        !entry.id.as_ref().is_some_and(is_over)
            && !entry.reverses.as_ref().is_some_and(|reversal| is_over(&reversal.of))
    });
    entries
}

/// Returns the lines of a stock among the `earlier` entries of a portfolio that were booked after an action took
/// effect, without reversed lines. `earlier` is ordered by id. A split of the same opening comes before the action.
pub fn booked_after(stock: StockId, effective_at: Timestamp, earlier: &[JournalEntry]) -> Vec<JournalEntry> {
    let since = earlier.iter().filter(|entry| {
        let of_split = entry.action.is_some()
            || entry.reverses.as_ref().is_some_and(|reversal| reversal.ratio.is_some());
        entry.stock_id == Some(stock)
            && entry.moves_position()
            && entry.timestamp >= effective_at
            && (!of_split || entry.shares_since() > effective_at)
    });
    without_reversed(since.cloned().collect())
}

/// Returns the entries found by [`booked_after`] for a split that are in new shares. A trade at a price from before the
/// split, made before the split was known, is in old shares and is split with the others.
pub fn in_new_shares(effective_at: Timestamp, since: &[JournalEntry]) -> Vec<JournalEntry> {
    since.iter().filter(|entry| !entry.is_priced_before(effective_at)).cloned().collect()
}

/// The part of the `earlier` entries that [`Books::apply_after`] needs. For a split: the lines booked after it took
/// effect. For a reversal: the reversed line and the later lines of its stock, or nothing if the line is not in
/// `earlier`.
pub fn booked_since(entry: &JournalEntry, earlier: &[JournalEntry]) -> Vec<JournalEntry> {
    match (entry.transaction_type, entry.stock_id, &entry.reverses) {
        (TransactionType::Split, Some(stock), _) => {
            in_new_shares(entry.shares_since(), &booked_after(stock, entry.shares_since(), earlier))
        }
        (TransactionType::Reversal, Some(stock), Some(reversal)) => {
            let Some(first) = earlier.iter().position(|entry| entry.id == Some(reversal.of)) else {
                return Vec::new();
            };
            let later = earlier[first + 1..].iter().filter(|later| later.stock_id == Some(stock));
            let mut since = vec![earlier[first].clone()];
            since.extend(without_reversed(later.cloned().collect()));
            since
        }
        _ => Vec::new(),
    }
}

impl Position {
    /// Returns the position after a split that is inserted at its effective time, before the trades in `since`, which
    /// are already booked. `since` is empty if the split is booked in time. Those trades were made at prices after the
    /// split: they are undone, the old shares are split, and the trades are applied again. A sell then takes at most
    /// the existing shares, and keeps its proceeds.
    ///
    /// The total cost does not change; if no shares are left, the cost becomes a loss. `remainder` stores the fraction
    /// that rounding cuts off; a split that is inserted late has no remainder.
    #[must_use]
    pub fn split(&self, ratio: SplitRatio, since: &[JournalEntry], remainder: &mut ShareRemainder) -> Self {
        let mut position = self.before(since);
        if since.is_empty() {
            let quantity = remainder.split(&position.quantity, ratio);
            position.become_shares(quantity);
        } else {
            *remainder = ShareRemainder::default();
            position.resplit(ratio);
        }
        position.book_again(since);
        position
    }

    /// Returns the position as if one of its lines had never been booked. The later lines, `since`, are undone, the
    /// line is undone, and the later lines are applied again, as in [`Position::split`].
    #[must_use]
    pub fn without(&self, entry: &JournalEntry, since: &[JournalEntry]) -> Self {
        let mut position = self.before(since).before(std::slice::from_ref(entry));
        position.book_again(since);
        position
    }

    fn book_again(&mut self, since: &[JournalEntry]) {
        for entry in since {
            let quantity = entry.quantity.clone().unwrap_or_else(Quantity::zero);
            match (entry.transaction_type, &entry.action) {
                (TransactionType::Buy | TransactionType::Exchange, _) => {
                    self.buy(&quantity, &-entry.amount.clone());
                }
                // All shares are removed, whatever their number is now.
                (TransactionType::CloseOut, _) => {
                    let all = self.quantity.clone();
                    let given = self.sell(&all, &entry.amount);
                    debug_assert!(given.is_ok(), "Invariant: not more shares are given than held");
                }
                (TransactionType::Sell, _) => {
                    let sold = quantity.min(self.quantity.clone());
                    let sold = self.sell(&sold, &entry.amount);
                    debug_assert!(sold.is_ok(), "Invariant: not more shares are sold than held");
                }
                (_, Some(BookedAction { terms: BookedTerms::Split { ratio, .. }, .. })) => {
                    self.resplit(*ratio);
                }
                // A reversal of an older line moves the same number of shares as that line.
                (TransactionType::Reversal, _) if entry.reverses.is_some() => {
                    let (added, taken) = entry.shares();
                    let quantity = self.quantity.clone() + &added;
                    self.quantity = quantity.checked_sub(&taken).unwrap_or_else(Quantity::zero);
                    self.cost_basis -= &cost_taken(entry);
                    self.realized_pnl += &entry.realized_pnl.clone().unwrap_or_else(Money::zero);
                }
                _ => {}
            }
        }
    }

    /// Returns the position before these entries of its stock.
    #[must_use]
    pub fn before(&self, since: &[JournalEntry]) -> Self {
        let mut position = self.clone();
        for entry in since.iter().rev() {
            let (added, taken) = entry.shares();
            let quantity = position.quantity + &taken;
            position.quantity = quantity.checked_sub(&added).unwrap_or_else(Quantity::zero);
            if entry.moves_position() {
                position.cost_basis += &cost_taken(entry);
                position.realized_pnl -= &entry.realized_pnl.clone().unwrap_or_else(Money::zero);
            }
        }
        position
    }

    fn resplit(&mut self, ratio: SplitRatio) {
        self.become_shares(ratio.shares(&self.quantity));
    }

    fn become_shares(&mut self, quantity: Quantity) {
        self.quantity = quantity;
        if self.quantity.is_zero() {
            self.realized_pnl -= &self.cost_basis;
            self.cost_basis = Money::zero();
        }
    }
}

/// By how much a line reduced a position's cost; negative for a buy. The changes of cost and realized result add up to
/// the line's amount.
pub(crate) fn cost_taken(entry: &JournalEntry) -> Money {
    let realized = entry.realized_pnl.clone().unwrap_or_else(Money::zero);
    entry.amount.clone() - &realized
}

/// Cash and positions computed from the journal alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    pub cash_balance: Money,
    pub positions: BTreeMap<StockId, Position>,
    remainders: ShareRemainders,
    /// Exchanges whose new shares are not booked yet: the old shares, and the cost that passes to the new shares.
    exchanges: BTreeMap<ActionId, (Quantity, Money)>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            cash_balance: Money::zero(),
            positions: BTreeMap::new(),
            remainders: ShareRemainders::default(),
            exchanges: BTreeMap::new(),
        }
    }
}

impl Books {
    /// Applies one line. Lines must be applied in the order of their ids.
    ///
    /// # Errors
    /// A sentence about an inconsistent line: more sold than held; a trade without stock, quantity or price; an amount
    /// that does not follow from quantity and price; a wrong realized result; a split of a wrong number of shares.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), String> {
        self.apply_after(entry, &[])
    }

    /// Applies a line like [`Books::apply`], given the earlier lines that [`booked_since`] finds.
    ///
    /// # Errors
    /// The same as [`Books::apply`].
    pub fn apply_after(&mut self, entry: &JournalEntry, since: &[JournalEntry]) -> Result<(), String> {
        let applied = self.apply_entry(entry, since);
        if let Some(stock) = entry.stock_id {
            let none = Quantity::zero();
            let held = self.positions.get(&stock).map_or(&none, |position| &position.quantity);
            self.remainders.follow(entry, since.is_empty(), held);
        }
        applied
    }

    fn apply_entry(&mut self, entry: &JournalEntry, since: &[JournalEntry]) -> Result<(), String> {
        match entry.transaction_type {
            TransactionType::Deposit if entry.amount.is_positive() => {}
            TransactionType::Withdrawal if entry.amount.is_negative() => {}
            TransactionType::Deposit | TransactionType::Withdrawal => {
                return Err(format!("is a {} of {}", entry.transaction_type, entry.amount));
            }
            TransactionType::Buy => {
                let (position, quantity, price) = self.trade(entry)?;
                check_gross(entry, &price, &quantity, &(-entry.amount.clone() - &entry.commission))?;
                position.buy(&quantity, &-entry.amount.clone());
            }
            TransactionType::Sell => {
                let (position, quantity, price) = self.trade(entry)?;
                check_gross(entry, &price, &quantity, &(entry.amount.clone() + &entry.commission))?;
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
                let mut split = position.split(*ratio, since, &mut self.remainders.remainder(stock));
                if split.quantity != *after && ratio.shares(&position.quantity) == *after && since.is_empty()
                {
                    // Booked by the old rule, which dropped the fraction that rounding cuts off.
                    split = position.split(*ratio, since, &mut ShareRemainder::default());
                }
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
                    return Err("is a dividend without shares or an amount per share".into());
                };
                expect("amount", &entry.amount, &per_share.times(quantity))?;
            }
            TransactionType::CloseOut => self.close_out(entry)?,
            TransactionType::Exchange => self.exchange(entry)?,
            TransactionType::Fee if entry.amount.is_positive() => {
                return Err(format!("is a fee of {}", entry.amount));
            }
            TransactionType::Reversal => {
                if let Some(reversal) = &entry.reverses {
                    self.reverse(entry, reversal, since)?;
                }
            }
            TransactionType::Fee => {}
        }
        self.cash_balance += &entry.amount;
        if self.cash_balance.is_negative() {
            return Err(format!("leaves cash at {}", self.cash_balance));
        }
        Ok(())
    }

    fn reverse(
        &mut self,
        entry: &JournalEntry,
        reversal: &Reversal,
        since: &[JournalEntry],
    ) -> Result<(), String> {
        let (Some(stock), Some(after), [reversed, since @ ..]) = (entry.stock_id, &entry.quantity, since)
        else {
            return Err(format!("reverses transaction {}, which does not exist", reversal.of.0));
        };
        let position = self.positions.entry(stock).or_default();
        if position.quantity != reversal.before {
            return Err(format!("reverses at {} shares, of {} held", reversal.before, position.quantity));
        }
        let restored = position.without(reversed, since);
        if restored.quantity != *after {
            return Err(format!("leaves {after} shares, computed {}", restored.quantity));
        }
        let realized = restored.realized_pnl.clone() - &position.realized_pnl;
        expect("amount", &entry.amount, &-reversed.amount.clone())?;
        expect("realized_pnl", entry.realized_pnl.as_ref().unwrap_or(&Money::zero()), &realized)?;
        *position = restored;
        Ok(())
    }

    fn close_out(&mut self, entry: &JournalEntry) -> Result<(), String> {
        let (
            Some(stock),
            Some(given),
            Some(BookedAction { id, terms: BookedTerms::ClosedOut { cash, ratio }, .. }),
        ) = (entry.stock_id, &entry.quantity, &entry.action)
        else {
            return Err("is a close-out without stock, shares or terms".into());
        };
        let position = self.positions.entry(stock).or_default();
        if position.quantity != *given {
            return Err(format!("closes out {given} shares, of {} held", position.quantity));
        }
        let settled = Settlement::compute(position, cash.as_ref(), *ratio);
        expect("amount", &entry.amount, &settled.amount())?;
        let realized = settled.realized(position);
        expect("realized_pnl", entry.realized_pnl.as_ref().unwrap_or(&Money::zero()), &realized)?;
        if position.sell(given, &entry.amount).is_ok() && !settled.received.is_zero() {
            self.exchanges.insert(*id, (given.clone(), settled.carried));
        }
        Ok(())
    }

    fn exchange(&mut self, entry: &JournalEntry) -> Result<(), String> {
        let (
            Some(stock),
            Some(received),
            Some(BookedAction { id, terms: BookedTerms::Exchanged { ratio, given }, .. }),
        ) = (entry.stock_id, &entry.quantity, &entry.action)
        else {
            return Err("is an exchange without stock, shares or ratio".into());
        };
        match self.exchanges.remove(id) {
            Some((closed, carried)) if closed == *given => {
                expect("amount", &entry.amount, &-carried)?;
            }
            _ => return Err(format!("is an exchange of {given} shares, which were not given")),
        }
        let computed = ratio.shares(given);
        if computed != *received {
            return Err(format!("receives {received} shares, computed {computed}"));
        }
        self.positions.entry(stock).or_default().buy(received, &-entry.amount.clone());
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

/// Checks that a trade's amount without commission follows from quantity and price. With cumulative rounding the
/// amount depends on the earlier fills of the order: here it is checked to be within a cent, and exactly by
/// [`crate::FillTotals`].
fn check_gross(
    entry: &JournalEntry,
    price: &Price,
    quantity: &Quantity,
    gross: &Money,
) -> Result<(), String> {
    let is_cumulative =
        entry.receipt.as_ref().is_some_and(|receipt| receipt.rounding == Rounding::Cumulative);
    if is_cumulative && ExactAmount::zero().plus(price, quantity).is_within_a_cent_of(gross) {
        return Ok(());
    }
    let computed = price.times(quantity);
    let computed = match entry.transaction_type {
        TransactionType::Buy => -(computed + &entry.commission),
        _ => computed - &entry.commission,
    };
    expect("amount", &entry.amount, &computed)
}

fn expect(what: &str, stored: &Money, computed: &Money) -> Result<(), String> {
    match stored == computed {
        true => Ok(()),
        false => Err(format!("has {what} {stored}, computed {computed}")),
    }
}
