//! Order groups: a single order, an entry with its exits, or two exits for the same shares.

use std::ops::Range;

use crate::matching::{LiquidityWindow, meets, react};
use crate::order::IllegalTransition;
use crate::{
    Order, OrderClass, OrderId, OrderSize, OrderStatus, Price, PriceMove, Quantity, Side, TimeInForce,
    Timestamp, TradingRules,
};

/// The ids for a new order and its legs. An order without legs uses only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderIds {
    pub entry: OrderId,
    pub take_profit: OrderId,
    pub stop_loss: OrderId,
}

impl OrderIds {
    /// Takes the ids from `next`, in the order in which the orders are listed.
    pub fn from_fn(mut next: impl FnMut() -> OrderId) -> Self {
        Self { entry: next(), take_profit: next(), stop_loss: next() }
    }
}

/// Orders that belong together. The first is the order that was placed, the others are its legs: take-profit, then
/// stop-loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderGroup {
    pub orders: Vec<Order>,
}

impl OrderGroup {
    pub fn root(&self) -> &Order {
        &self.orders[0]
    }

    pub fn position_of(&self, id: OrderId) -> Option<usize> {
        self.orders.iter().position(|order| order.id == id)
    }

    pub fn is_open(&self) -> bool {
        self.orders.iter().any(|order| order.status.is_open())
    }

    /// Whether these prices, or only the passing of time, change any of the orders.
    pub fn is_affected_by(&self, moves: &[PriceMove], until: Timestamp, rules: &TradingRules) -> bool {
        self.orders.iter().filter(|order| order.status.is_working()).any(|order| {
            let mut window = LiquidityWindow::opened();
            is_over(order, until, rules)
                || moves.iter().enumerate().any(|(index, price_move)| {
                    if price_move.quote.stale || !meets(order, price_move.quote.as_of, rules) {
                        return false;
                    }
                    window.check_end(order, moves, index, until);
                    let reaction = react(order, price_move, &window, rules);
                    let is_quiet = reaction.is_quiet();
                    window.kept = reaction.kept_liquidity.unwrap_or(window.kept.clone());
                    !is_quiet
                })
        })
    }

    /// When the first of the working orders expires; `None` if none of them does.
    pub fn ends_at(&self, rules: &TradingRules) -> Option<Timestamp> {
        let working = self.orders.iter().filter(|order| order.status.is_working());
        working.filter_map(|order| end_of(order, rules)).min()
    }

    /// The close that the order waits for, if it is a working order at the close.
    pub fn awaited_close(&self) -> Option<Timestamp> {
        let root = self.root();
        let waits = root.time_in_force == TimeInForce::Cls && root.status.is_working();
        root.expires_at.filter(|_| waits)
    }

    /// The exits that cancel each other.
    fn exits(&self) -> Range<usize> {
        match self.root().order_class {
            OrderClass::Simple => 0..0,
            OrderClass::Oco => 0..self.orders.len(),
            OrderClass::Bracket | OrderClass::Oto => 1..self.orders.len(),
        }
    }

    /// The take-profit and the stop-loss, if both exist and the stop-loss is not below the take-profit.
    pub(crate) fn crossed_exits(&self) -> Option<(&Price, &Price)> {
        let [profit, loss] = &self.orders[self.exits()] else { return None };
        let (profit, loss) = (profit.terms.limit_price()?, loss.terms.stop_price()?);
        (loss >= profit).then_some((profit, loss))
    }

    /// Returns the price of an open entry if one of its held exits is on the wrong side: the take-profit must be above
    /// the entry, the stop-loss below. `newest` is the price of a market entry.
    pub(crate) fn entry_outside_exits<'a>(&'a self, newest: &'a Price) -> Option<&'a Price> {
        let root = self.root();
        if !matches!(root.order_class, OrderClass::Bracket | OrderClass::Oto) || !root.status.is_open() {
            return None;
        }
        let entry = root.terms.entry_price().unwrap_or(newest);
        let mut held = self.orders[1..].iter().filter(|leg| leg.status == OrderStatus::Held);
        let is_around = held.all(|leg| match leg.terms.stop_price() {
            Some(stop) => stop < entry,
            None => leg.terms.limit_price().is_none_or(|limit| limit > entry),
        });
        (!is_around).then_some(entry)
    }

    /// Changes the quantity of the orders for the same shares as the order at `index`, from `before` to `after`
    /// remaining shares.
    pub(crate) fn resize_siblings(&mut self, index: usize, before: &Quantity, after: &Quantity) {
        for other in (self.exits().start..self.orders.len()).filter(|other| *other != index) {
            let order = &mut self.orders[other];
            if let (OrderSize::Quantity(quantity), true) = (&order.size, order.status.is_open()) {
                let rest = quantity.checked_sub(before).unwrap_or_else(Quantity::zero);
                order.size = OrderSize::Quantity(rest + after);
            }
        }
    }

    /// Reduces the other exit after one exit has sold shares. If no shares are left, the other exit is canceled.
    pub(crate) fn share_fill(&mut self, index: usize, sold: &Quantity) {
        let exits = self.exits();
        if !exits.contains(&index) || !self.orders[index].status.is_open() {
            return;
        }
        for other in exits.filter(|other| *other != index) {
            let order = &mut self.orders[other];
            if let (OrderSize::Quantity(quantity), true) = (&order.size, order.status.is_open()) {
                order.size = OrderSize::Quantity(quantity.checked_sub(sold).unwrap_or_else(Quantity::zero));
            }
        }
    }

    /// Applies the consequences of a changed order: an entry that has ended activates its exits for the shares it
    /// bought, an exit that has ended cancels the other, and the first open exit reserves the shares.
    pub(crate) fn settle(&mut self, now: Timestamp) -> Result<(), IllegalTransition> {
        let root = self.root();
        if matches!(root.order_class, OrderClass::Bracket | OrderClass::Oto) && !root.status.is_open() {
            // A held exit is for all shares that its entry may still buy, and for the shares that a replaced entry has
            // bought.
            let unbought = root.unfilled();
            for leg in self.orders[1..].iter_mut().filter(|leg| leg.status == OrderStatus::Held) {
                let bought = leg.unfilled().checked_sub(&unbought).unwrap_or_else(Quantity::zero);
                if bought.is_zero() {
                    leg.become_status(OrderStatus::Canceled, now)?;
                } else {
                    leg.size = OrderSize::Quantity(bought);
                    leg.last_matched_at = now;
                    leg.become_status(OrderStatus::Accepted, now)?;
                }
            }
        }
        let exits = self.exits();
        let exits = &mut self.orders[exits];
        if exits.iter().any(|exit| !exit.status.is_open()) {
            for exit in exits.iter_mut().filter(|exit| exit.status.is_open()) {
                exit.become_status(OrderStatus::Canceled, now)?;
            }
        }
        let mut kept = false;
        for order in self.orders.iter_mut().filter(|order| order.side == Side::Sell) {
            // The reservation of an order by money was computed when it was placed.
            if matches!(order.size, OrderSize::Notional(_)) {
                continue;
            }
            order.reserved_quantity = match order.status.is_working() && !kept {
                true => order.unfilled(),
                false => Quantity::zero(),
            };
            kept |= order.status.is_working();
        }
        Ok(())
    }

    /// Limits the exits to `sellable` shares.
    pub(crate) fn limit_exits(
        &mut self,
        sellable: &Quantity,
        now: Timestamp,
    ) -> Result<(), IllegalTransition> {
        for order in self.orders.iter_mut().filter(|o| o.side == Side::Sell && o.status.is_working()) {
            let OrderSize::Quantity(quantity) = &order.size else { continue };
            let most = order.filled_quantity.clone() + sellable;
            if sellable.is_zero() {
                order.become_status(OrderStatus::Canceled, now)?;
            } else if *quantity > most {
                order.size = OrderSize::Quantity(most);
            }
        }
        self.settle(now)
    }

    /// Expires the orders whose time has ended by `until`. If an expiring entry was partially filled, its exits expire
    /// too, because they are for the same session.
    pub(crate) fn expire(
        &mut self,
        until: Timestamp,
        now: Timestamp,
        rules: &TradingRules,
    ) -> Result<(), IllegalTransition> {
        let due = |order: &Order| order.status.is_working() && is_over(order, until, rules);
        while self.orders.iter().any(due) {
            for order in self.orders.iter_mut().filter(|order| due(order)) {
                let immediate = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
                order.become_status(
                    if immediate { OrderStatus::Canceled } else { OrderStatus::Expired },
                    now,
                )?;
            }
            self.settle(now)?;
        }
        Ok(())
    }
}

/// Whether the order's time has ended by `until`. An auction order waits for the price of its auction, which may be
/// published late, but not beyond the next auction: the close after its opening, or the opening after its close.
pub(crate) fn is_over(order: &Order, until: Timestamp, rules: &TradingRules) -> bool {
    end_of(order, rules).is_some_and(|end| end <= until)
}

fn end_of(order: &Order, rules: &TradingRules) -> Option<Timestamp> {
    let end = order.expires_at?;
    Some(match order.time_in_force {
        TimeInForce::Opg | TimeInForce::Cls => next_auction(order.time_in_force, end, rules),
        TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => end,
    })
}

/// The auction after the opening or the close that the order is for.
pub(crate) fn next_auction(
    time_in_force: TimeInForce,
    auction: Timestamp,
    rules: &TradingRules,
) -> Timestamp {
    match time_in_force {
        TimeInForce::Opg => rules.calendar.booking_session(auction).closes_at,
        _ => rules.calendar.next_open(auction).opens_at,
    }
}
