//! Matching of working orders with prices: triggers, fills, expiry.

use super::reservation::commission_due;
use super::{OrderRejected, Portfolio};
use crate::matching::{Execution, LiquidityWindow, meets, react};
use crate::position::PositionError;
use crate::{
    Fill, JournalEntry, Money, Order, OrderGroup, OrderId, OrderSize, OrderStatus, PriceMove, Quantity,
    Receipt, Rounding, RulesAt, Side, StockId, TimeInForce, Timestamp, TransactionType,
};

/// The effect of one price on one order.
#[expect(clippy::large_enum_variant, reason = "short-lived, and most values are fills")]
pub(super) enum Advance {
    Quiet,
    /// The order changed; with the journal entry if it was filled.
    Affected(Option<JournalEntry>),
}

impl Portfolio {
    /// Matches the working orders of a group with the prices up to `until`, oldest first: stops trigger, orders fill
    /// and expire. An order that cannot be filled for lack of cash or shares is rejected. Returns the journal lines.
    ///
    /// Fills are booked at `now` and not at the time of their price, so that the journal is ordered by time; the
    /// receipt contains the time of the price.
    ///
    /// # Errors
    /// Only because of a bug: a forbidden change of status.
    pub fn work(
        &mut self,
        group: &mut OrderGroup,
        moves: &[PriceMove],
        until: Timestamp,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<Vec<JournalEntry>, OrderRejected> {
        self.release(group);
        let mut entries = Vec::new();
        let mut windows = vec![LiquidityWindow::opened(); group.orders.len()];
        for (at_move, price_move) in moves.iter().enumerate().filter(|(_, one)| !one.quote.stale) {
            let at = price_move.quote.as_of;
            for (index, window) in windows.iter_mut().enumerate() {
                let order = &group.orders[index];
                if !order.status.is_working() || !meets(order, at, rules) {
                    continue;
                }
                window.check_end(order, moves, at_move, until);
                match self.advance(group, index, price_move, window, rules.at(now)) {
                    Ok(Advance::Quiet) => continue,
                    Ok(Advance::Affected(entry)) => entries.extend(entry),
                    Err(OrderRejected::Transition(fault)) => return Err(fault.into()),
                    Err(refused) => {
                        let order = &mut group.orders[index];
                        order.reject_reason = Some(refused.to_string());
                        order.become_status(OrderStatus::Rejected, now)?;
                    }
                }
                group.orders[index].last_matched_at = at;
                group.settle(now)?;
            }
        }
        for order in group.orders.iter_mut().filter(|order| order.status.is_working()) {
            order.last_matched_at = order.last_matched_at.max(until);
        }
        group.expire(until, now, rules)?;
        self.settle(group, now)?;
        Ok(entries)
    }

    /// Matches one order with one price. The group's reservation must be released.
    pub(super) fn advance(
        &mut self,
        group: &mut OrderGroup,
        index: usize,
        price_move: &PriceMove,
        window: &mut LiquidityWindow,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<Advance, OrderRejected> {
        let order = &mut group.orders[index];
        let reaction = react(order, price_move, window, rules);
        let is_quiet = reaction.is_quiet();
        window.kept = reaction.kept_liquidity.unwrap_or_else(Quantity::zero);
        if is_quiet {
            return Ok(Advance::Quiet);
        }
        if reaction.high_water.is_some() {
            order.high_water_price = reaction.high_water;
        }
        if reaction.triggers {
            order.triggered_at = Some(price_move.quote.as_of);
        }
        let entry = match reaction.execution {
            Some(execution) => self.execute(order, execution, price_move, rules.at(now))?,
            None => None,
        };
        if reaction.ends && order.status.is_open() {
            let auction = matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls);
            order.become_status(if auction { OrderStatus::Expired } else { OrderStatus::Canceled }, now)?;
        }
        if let Some(sold) = entry.as_ref().and_then(|entry| entry.quantity.as_ref()) {
            group.share_fill(index, sold);
        }
        Ok(Advance::Affected(entry))
    }

    fn execute(
        &mut self,
        order: &mut Order,
        execution: Execution,
        price_move: &PriceMove,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<Option<JournalEntry>, OrderRejected> {
        let Execution { price, quoted_price, rule, at_most } = execution;
        let wanted = order.remaining(&price);
        // A rest worth less than a cent cannot be traded separately, so it is filled together with this part.
        let is_part = |most: &Quantity| {
            *most < wanted && (most.is_zero() || !price.times(&(wanted.clone() - most)).is_zero())
        };
        let (quantity, whole) = match at_most {
            Some(most) if is_part(&most) => (most, false),
            _ => (wanted.clone(), true),
        };
        if !whole && price.times(&quantity).is_zero() {
            return Ok(None);
        }
        let quote = &price_move.quote;
        let rounding = Rounding::Cumulative;
        let receipt =
            Receipt { source: quote.source.clone(), quoted_at: quote.as_of, rule, quoted_price, rounding };
        let fill = Fill { side: order.side, quantity, price, at: now, receipt };
        let mut totals = order.fill_totals();
        let gross = totals.add(rounding, fill.side, &fill.price, &fill.quantity);
        if fill.side == Side::Buy && totals.amount.is_zero() {
            return Err(OrderRejected::TooSmall);
        }
        let commission = commission_due(order, &totals.quantity, &totals.amount, rules);
        let entry = self.apply(order.id, order.stock_id, &fill, &gross, &commission)?;
        // The reservation shrinks with the remaining quantity.
        match &order.size {
            OrderSize::Quantity(_) | OrderSize::OfPosition(_) => {
                let left = wanted - &fill.quantity;
                order.reserved_cash = match left.is_zero() {
                    true => Money::zero(),
                    false => order.reserved_cash.prorate(&left, &(left.clone() + &fill.quantity)),
                };
            }
            OrderSize::Notional(_) => {
                let spent = gross + &commission;
                order.reserved_cash = (order.reserved_cash.clone() - &spent).max(Money::zero());
                order.reserved_quantity =
                    order.reserved_quantity.checked_sub(&fill.quantity).unwrap_or_else(Quantity::zero);
            }
        }
        order.set_fill_totals(totals);
        order.commission += &commission;
        order.become_status(if whole { OrderStatus::Filled } else { OrderStatus::PartiallyFilled }, now)?;
        Ok(Some(entry))
    }

    /// Books one fill: moves cash and shares, and returns the journal line. `gross` is the fill's amount by the order's
    /// rounding, without commission.
    ///
    /// # Errors
    /// [`OrderRejected`] if cash or shares are insufficient, or the result is beyond the range of the books. Nothing is
    /// changed then.
    fn apply(
        &mut self,
        order: OrderId,
        stock_id: StockId,
        fill: &Fill,
        gross: &Money,
        commission: &Money,
    ) -> Result<JournalEntry, OrderRejected> {
        if fill.quantity.is_zero() {
            return Err(OrderRejected::TooSmall);
        }
        let mut position = self.positions.get(&stock_id).cloned().unwrap_or_default();
        let (transaction_type, amount, realized_pnl) = match fill.side {
            Side::Buy => {
                let cost = gross.clone() + commission;
                position.buy(&fill.quantity, &cost);
                (TransactionType::Buy, -cost, None)
            }
            Side::Sell => {
                let available = self.sellable(stock_id);
                let short = |available| OrderRejected::InsufficientShares {
                    required: fill.quantity.clone(),
                    available,
                };
                if fill.quantity > available {
                    return Err(short(available));
                }
                let proceeds = gross.clone() - commission;
                let realized = position
                    .sell(&fill.quantity, &proceeds)
                    .map_err(|PositionError::NotHeld { held }| short(held))?;
                (TransactionType::Sell, proceeds, Some(realized))
            }
        };
        if amount.is_negative() && -amount.clone() > self.buying_power() {
            return Err(OrderRejected::InsufficientBuyingPower {
                required: -amount,
                available: self.buying_power(),
            });
        }
        let cash_balance = self.cash_balance.clone() + &amount;
        if !cash_balance.in_bounds() || !position.quantity.in_bounds() || !position.cost_basis.in_bounds() {
            return Err(OrderRejected::TooLarge);
        }
        self.cash_balance = cash_balance;
        self.positions.insert(stock_id, position);
        Ok(JournalEntry {
            id: None,
            portfolio_id: self.id,
            stock_id: Some(stock_id),
            order_id: Some(order),
            transaction_type,
            quantity: Some(fill.quantity.clone()),
            price: Some(fill.price.clone()),
            commission: commission.clone(),
            amount,
            realized_pnl,
            timestamp: fill.at,
            receipt: Some(fill.receipt.clone()),
            action: None,
            reverses: None,
        })
    }
}
