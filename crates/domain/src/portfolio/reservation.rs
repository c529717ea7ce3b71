//! Cash and shares that open orders reserve for their fills.

use super::{OrderRejected, Portfolio};
use crate::{Money, Order, OrderGroup, OrderSize, PriceMove, Quantity, Side, Timestamp, TradingRules};

impl Portfolio {
    /// Releases the reservation of a group while the group is changed.
    pub(super) fn release(&mut self, group: &OrderGroup) {
        for order in &group.orders {
            self.reserved.cash -= &order.reserved_cash;
        }
        if let Some(shares) = self.reserved.shares.get_mut(&group.root().stock_id) {
            *shares = shares.checked_sub(&reserved_shares(group)).unwrap_or_else(Quantity::zero);
        }
    }

    pub(super) fn hold(&mut self, group: &OrderGroup) {
        for order in &group.orders {
            self.reserved.cash += &order.reserved_cash;
        }
        let shares = reserved_shares(group);
        let reserved = self.reserved.shares.entry(group.root().stock_id).or_insert_with(Quantity::zero);
        *reserved = reserved.clone() + &shares;
    }

    /// Applies the consequences within the group, and limits its reservation to the available cash and shares: other
    /// orders may have sold shares, or a partial fill may have cost more than estimated.
    pub(super) fn settle(&mut self, group: &mut OrderGroup, now: Timestamp) -> Result<(), OrderRejected> {
        group.settle(now)?;
        for order in &mut group.orders {
            order.reserved_cash = order.reserved_cash.clone().min(self.buying_power());
        }
        let sellable = self.sellable(group.root().stock_id);
        if reserved_shares(group) > sellable {
            group.limit_exits(&sellable, now)?;
        }
        self.hold(group);
        Ok(())
    }
}

pub(super) fn reserved_shares(group: &OrderGroup) -> Quantity {
    group.orders.iter().fold(Quantity::zero(), |sum, order| sum + &order.reserved_quantity)
}

/// The reservation of a working order: cash for a buy, shares for a sell. A limit is the highest price that a buy can
/// pay. For a market order and a stop the cost is estimated from the quote's price or the stop, with slippage.
/// Commission is included.
pub(super) fn reservation(
    order: &Order,
    newest: &PriceMove,
    rules: &TradingRules,
) -> Result<(Money, Quantity), OrderRejected> {
    let stop = order.stop_price().filter(|_| order.triggered_at.is_none());
    let price = match (order.terms.limit_price(), stop) {
        (Some(limit), _) => limit.clone(),
        (None, Some(stop)) => rules.slipped(order.side, &stop),
        (None, None) => rules.slipped(order.side, newest.quote.touch(order.side).0),
    };
    let quantity = order.remaining(&price);
    let amount = match &order.size {
        OrderSize::Quantity(_) | OrderSize::OfPosition(_) => price.times(&quantity),
        OrderSize::Notional(notional) => notional.clone() - &order.filled_amount.rounded(),
    };
    if quantity.is_zero() || (order.side == Side::Buy && amount.is_zero()) {
        return Err(OrderRejected::TooSmall);
    }
    let total = (order.filled_quantity.clone() + &quantity, order.filled_amount.rounded() + &amount);
    let commission = commission_due(order, &total.0, &total.1, rules);
    Ok((amount + commission, quantity))
}

/// The commission of an order that has filled `quantity` for `amount`, less the commission already charged. If the
/// rates have fallen since, nothing is refunded.
pub(super) fn commission_due(
    order: &Order,
    quantity: &Quantity,
    amount: &Money,
    rules: &TradingRules,
) -> Money {
    (rules.commission.charged_for(quantity, amount) - &order.commission).max(Money::zero())
}
