//! Applies corporate actions to a portfolio: splits, dividends, delistings and close-outs.

use std::collections::HashMap;

use bigdecimal::RoundingMode;

use crate::close_out::Settlement;
use crate::journal::{BookedAction, BookedTerms, Reversal};
use crate::order::IllegalTransition;
use crate::share_remainder::ShareRemainder;
use crate::{
    CloseOut, JournalEntry, Money, Order, OrderGroup, OrderId, OrderSize, OrderStatus, OrderTerms, PerShare,
    Portfolio, Price, Quantity, Side, SplitRatio, StockId, Timestamp, Trail, TransactionType,
};

/// The reason in orders that are canceled because their stock is delisted.
pub const LISTING_ENDED: &str = "the stock is delisted";
/// The reason in orders that are canceled because their stock is closed out.
pub const CLOSED_OUT: &str =
    "the stock is closed out: its shares are exchanged for cash or other shares, or written off";
const BEYOND_SPLIT: &str = "after the split its price or its shares cannot be expressed";

/// When an action takes effect, and when a portfolio books it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    pub id: crate::ActionId,
    pub stock_id: StockId,
    pub effective_at: Timestamp,
    /// The time of the journal line: not before the action took effect, and not before any other line of the portfolio.
    pub at: Timestamp,
}

/// The fields of an order that a split changes, with their values before it: needed to reverse the split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBeforeSplit {
    pub id: OrderId,
    pub size: OrderSize,
    pub terms: OrderTerms,
    pub high_water_price: Option<Price>,
    pub reserved_quantity: Quantity,
    pub filled_quantity: Quantity,
}

impl From<&Order> for OrderBeforeSplit {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id,
            size: order.size.clone(),
            terms: order.terms.clone(),
            high_water_price: order.high_water_price.clone(),
            reserved_quantity: order.reserved_quantity.clone(),
            filled_quantity: order.filled_quantity.clone(),
        }
    }
}

/// A split that is reversed in one portfolio.
#[derive(Debug, Clone, Copy)]
pub struct SplitReversal<'a> {
    pub stock_id: StockId,
    pub ratio: SplitRatio,
    pub effective_at: Timestamp,
    /// The time of the journal line.
    pub at: Timestamp,
    /// The line that booked the split; `None` if no shares were held.
    pub entry: Option<&'a JournalEntry>,
    /// The later lines of the stock, without reversed ones.
    pub since: &'a [JournalEntry],
    /// Orders that the split changed, by id.
    pub orders: &'a HashMap<OrderId, OrderBeforeSplit>,
}

impl Portfolio {
    /// Splits the shares of a stock, and its orders from before the split. `since` are the lines of the stock since the
    /// split took effect; see [`crate::Position::split`]. `remainder` is the remainder of the position, and is updated.
    /// Returns the journal line, or `None` if no shares were held.
    ///
    /// # Errors
    /// Only because of a bug: a forbidden change of status.
    pub fn split(
        &mut self,
        booking: Booking,
        ratio: SplitRatio,
        since: &[JournalEntry],
        remainder: &mut ShareRemainder,
        groups: &mut [OrderGroup],
    ) -> Result<Option<JournalEntry>, IllegalTransition> {
        let old = self.positions.get(&booking.stock_id).cloned().unwrap_or_default();
        let new = old.split(ratio, since, remainder);
        for group in groups.iter() {
            self.release(group);
        }
        let realized = new.realized_pnl.clone() - &old.realized_pnl;
        let changed = !old.before(since).quantity.is_zero();
        let entry = changed.then(|| JournalEntry {
            stock_id: Some(booking.stock_id),
            transaction_type: TransactionType::Split,
            quantity: Some(new.quantity.clone()),
            realized_pnl: (!realized.is_zero()).then_some(realized),
            action: Some(BookedAction {
                id: booking.id,
                effective_at: booking.effective_at,
                terms: BookedTerms::Split { ratio, before: old.quantity.clone() },
            }),
            ..JournalEntry::cash(self.id, Money::zero(), booking.at)
        });
        let (all, split) = (old.quantity.clone(), new.quantity.clone());
        if changed {
            self.positions.insert(booking.stock_id, new);
        }
        for group in groups {
            for order in &mut group.orders {
                // An order that was placed later is already in new shares.
                if order.status.is_open() && order.submitted_at < booking.effective_at {
                    let sells_all = order.side == Side::Sell && order.unfilled() == all;
                    split_order(order, ratio, booking.at)?;
                    if let OrderSize::Quantity(quantity) = &mut order.size
                        && sells_all
                        && order.status.is_open()
                    {
                        *quantity = order.filled_quantity.clone() + &split;
                    }
                }
            }
            self.settle_again(group, booking.at)?;
        }
        Ok(entry)
    }

    /// Reverses a split: shares and open orders get the values they would have without it. Orders placed after the
    /// split are converted to old shares. Returns the journal line, or `None` if the split booked none.
    ///
    /// # Errors
    /// Only because of a bug: a forbidden change of status.
    pub fn reverse_split(
        &mut self,
        reversal: SplitReversal<'_>,
        groups: &mut [OrderGroup],
    ) -> Result<Option<JournalEntry>, IllegalTransition> {
        let SplitReversal { stock_id, ratio, effective_at, at, entry, since, orders } = reversal;
        for group in groups.iter() {
            self.release(group);
        }
        let line = entry.and_then(|split| {
            let old = self.positions.get(&stock_id).cloned().unwrap_or_default();
            let restored = old.without(split, since);
            let realized = restored.realized_pnl.clone() - &old.realized_pnl;
            let line = JournalEntry {
                stock_id: Some(stock_id),
                transaction_type: TransactionType::Reversal,
                quantity: Some(restored.quantity.clone()),
                realized_pnl: (!realized.is_zero()).then_some(realized),
                reverses: Some(Reversal {
                    of: split.id?,
                    before: old.quantity.clone(),
                    effective_at,
                    ratio: Some(ratio),
                }),
                ..JournalEntry::cash(self.id, Money::zero(), at)
            };
            self.positions.insert(stock_id, restored);
            Some(line)
        });
        for group in groups {
            for order in group.orders.iter_mut().filter(|order| order.status.is_open()) {
                match orders.get(&order.id) {
                    Some(before) => restore_order(order, before),
                    None if order.submitted_at >= effective_at => split_order(order, ratio.inverse(), at)?,
                    None => {}
                }
            }
            self.settle_again(group, at)?;
        }
        Ok(line)
    }

    /// Cancels the open orders of a group for this reason.
    ///
    /// # Errors
    /// Only because of a bug: a forbidden change of status.
    pub fn cancel_for(
        &mut self,
        group: &mut OrderGroup,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), IllegalTransition> {
        self.release(group);
        for order in group.orders.iter_mut().filter(|order| order.status.is_open()) {
            order.reject_reason = Some(reason.to_owned());
            order.become_status(OrderStatus::Canceled, now)?;
        }
        self.settle_again(group, now)
    }

    /// The shares that get a dividend: those held at the ex-date. `since` are the lines of the stock since then.
    pub fn entitled(&self, stock: StockId, since: &[JournalEntry]) -> Quantity {
        let now = self.positions.get(&stock).cloned().unwrap_or_default();
        now.before(since).quantity
    }

    /// Pays a dividend and returns the journal line.
    pub fn receive(
        &mut self,
        booking: Booking,
        per_share: &PerShare,
        quantity: &Quantity,
        amount: &Money,
    ) -> JournalEntry {
        self.cash_balance += amount;
        JournalEntry {
            stock_id: Some(booking.stock_id),
            transaction_type: TransactionType::Dividend,
            quantity: Some(quantity.clone()),
            action: Some(BookedAction {
                id: booking.id,
                effective_at: booking.effective_at,
                terms: BookedTerms::Dividend { per_share: per_share.clone() },
            }),
            ..JournalEntry::cash(self.id, amount.clone(), booking.at)
        }
    }

    /// Closes out all shares of a delisted stock for its proceeds, and cancels the open orders. Returns the journal
    /// lines: none if no shares are held, two for an exchange.
    ///
    /// # Errors
    /// Only because of a bug: a forbidden change of status.
    pub fn close_out(
        &mut self,
        booking: Booking,
        terms: &CloseOut,
        groups: &mut [OrderGroup],
    ) -> Result<Vec<JournalEntry>, IllegalTransition> {
        for group in groups {
            self.cancel_for(group, CLOSED_OUT, booking.at)?;
        }
        let Booking { id, stock_id, effective_at, at } = booking;
        let old = self.positions.get(&stock_id).cloned().unwrap_or_default();
        if old.quantity.is_zero() {
            return Ok(Vec::new());
        }
        let settled = Settlement::compute(&old, terms.cash(), terms.ratio());
        let realized = settled.realized(&old);
        let line = |stock, transaction_type, quantity: Quantity, amount, terms| JournalEntry {
            stock_id: Some(stock),
            transaction_type,
            quantity: Some(quantity),
            action: Some(BookedAction { id, effective_at, terms }),
            ..JournalEntry::cash(self.id, amount, at)
        };
        let closed_out = BookedTerms::ClosedOut { cash: terms.cash().cloned(), ratio: terms.ratio() };
        let given = old.quantity.clone();
        let mut lines = vec![JournalEntry {
            realized_pnl: Some(realized),
            ..line(stock_id, TransactionType::CloseOut, given.clone(), settled.amount(), closed_out)
        }];
        if let CloseOut::Exchange { into, ratio, .. } = terms
            && !settled.received.is_zero()
        {
            let exchanged = BookedTerms::Exchanged { ratio: *ratio, given: given.clone() };
            let (received, carried) = (settled.received.clone(), settled.carried.clone());
            lines.push(line(*into, TransactionType::Exchange, received, -carried, exchanged));
            let new = self.positions.entry(*into).or_default();
            new.buy(&settled.received, &settled.carried);
        }
        let position = self.positions.entry(stock_id).or_default();
        let sold = position.sell(&given, &settled.amount());
        debug_assert!(sold.is_ok(), "Invariant: all shares are given");
        self.cash_balance += &settled.cash;
        Ok(lines)
    }

    fn settle_again(&mut self, group: &mut OrderGroup, now: Timestamp) -> Result<(), IllegalTransition> {
        match self.settle(group, now) {
            Err(crate::OrderRejected::Transition(fault)) => Err(fault),
            _ => Ok(()),
        }
    }
}

/// Converts an order to the shares after a split: the remaining quantity is multiplied, prices are divided.
///
/// A price between two ticks is rounded so that the owner does not pay more, receive less, or trade earlier than
/// ordered: the limit of a buy and the stop of a sell are rounded down; the limit of a sell, the stop of a buy and the
/// distance of a trailing stop are rounded up. An order by money keeps its amount, and reserved cash stays the same. An
/// order that cannot be expressed in the new shares is canceled.
fn split_order(order: &mut Order, ratio: SplitRatio, now: Timestamp) -> Result<(), IllegalTransition> {
    let mut totals = order.fill_totals();
    let has_totals = totals.split(order.side, ratio);
    let size = match &order.size {
        OrderSize::Quantity(_) | OrderSize::OfPosition(_) => {
            let rest = ratio.shares(&order.unfilled());
            (!rest.is_zero()).then(|| OrderSize::Quantity(totals.quantity.clone() + &rest))
        }
        OrderSize::Notional(notional) => Some(OrderSize::Notional(notional.clone())),
    };
    let terms = split_terms(&order.terms, order.side, ratio);
    let stop = stop_rounding(order.side);
    let water = order.high_water_price.as_ref().map(|water| ratio.price(water, stop));
    let (has_water, water) = (water.is_some(), water.flatten());
    match (size, terms) {
        (Some(size), Some(terms)) if has_water == water.is_some() && has_totals => {
            order.size = size;
            order.terms = terms;
            order.high_water_price = water;
            order.set_fill_totals(totals);
            if matches!(order.size, OrderSize::Notional(_)) {
                order.reserved_quantity = ratio.shares(&order.reserved_quantity);
            }
            Ok(())
        }
        _ => {
            order.reject_reason = Some(BEYOND_SPLIT.to_owned());
            order.become_status(OrderStatus::Canceled, now)
        }
    }
}

fn restore_order(order: &mut Order, before: &OrderBeforeSplit) {
    order.size = before.size.clone();
    order.terms = before.terms.clone();
    order.high_water_price = before.high_water_price.clone();
    let mut totals = order.fill_totals();
    totals.restate(order.side, before.filled_quantity.clone());
    order.set_fill_totals(totals);
    if matches!(order.size, OrderSize::Notional(_)) {
        order.reserved_quantity = before.reserved_quantity.clone();
    }
}

fn split_terms(terms: &OrderTerms, side: Side, ratio: SplitRatio) -> Option<OrderTerms> {
    let limit = |price: &Price| {
        ratio.price(price, if side == Side::Buy { RoundingMode::Down } else { RoundingMode::Up })
    };
    let stop = |price: &Price| ratio.price(price, stop_rounding(side));
    Some(match terms {
        OrderTerms::Market => OrderTerms::Market,
        OrderTerms::Limit { limit: price } => OrderTerms::Limit { limit: limit(price)? },
        OrderTerms::Stop { stop: price } => OrderTerms::Stop { stop: stop(price)? },
        OrderTerms::StopLimit { stop: at, limit: price } => {
            OrderTerms::StopLimit { stop: stop(at)?, limit: limit(price)? }
        }
        OrderTerms::TrailingStop { trail: Trail::Price(distance) } => {
            OrderTerms::TrailingStop { trail: Trail::Price(ratio.price(distance, RoundingMode::Up)?) }
        }
        OrderTerms::TrailingStop { trail: Trail::Percent(percent) } => {
            OrderTerms::TrailingStop { trail: Trail::Percent(percent.clone()) }
        }
    })
}

fn stop_rounding(side: Side) -> RoundingMode {
    if side == Side::Buy { RoundingMode::Up } else { RoundingMode::Down }
}
