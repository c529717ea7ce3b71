//! Replacing an open order by another one.

use super::placing::{auction_issue, end_of};
use super::{NewestPrice, OrderRejected, Portfolio};
use crate::money::ExactAmount;
use crate::order_group::is_over;
use crate::{
    Attached, JournalEntry, Money, Order, OrderField, OrderGroup, OrderId, OrderIssue, OrderSize,
    OrderStatus, PlaceOrder, Quantity, ReplaceOrder, RulesAt,
};

impl Portfolio {
    /// Replaces an open order with a new one. Returns the replaced order and the journal lines of the new one.
    ///
    /// # Errors
    /// [`OrderRejected`]; nothing is changed then.
    pub fn replace(
        &mut self,
        group: &mut OrderGroup,
        (old, new): (OrderId, OrderId),
        changes: &ReplaceOrder,
        newest_price: NewestPrice<'_>,
        RulesAt { rules, now }: RulesAt<'_>,
    ) -> Result<(Order, Vec<JournalEntry>), OrderRejected> {
        let (mut draft, mut changed) = (self.clone(), group.clone());
        let index = changed.position_of(old).expect("Invariant: an order is part of its group");
        draft.release(&changed);
        let order = &mut changed.orders[index];
        if order.status.is_open() && is_over(order, now, rules) {
            return Err(OrderRejected::NotOpen { status: OrderStatus::Expired });
        }
        let terms = changes.terms(&order.terms).map_err(OrderRejected::Unfit)?;
        let unfilled = order.unfilled();
        let size = match (&changes.quantity, &order.size) {
            (Some(quantity), _) => OrderSize::Quantity(quantity.clone()),
            (None, OrderSize::Notional(notional)) => {
                OrderSize::Notional(notional.clone() - &order.filled_amount.rounded())
            }
            (None, OrderSize::Quantity(_) | OrderSize::OfPosition(_)) => {
                OrderSize::Quantity(unfilled.clone())
            }
        };
        let time_in_force = changes.time_in_force.unwrap_or(order.time_in_force);
        let same_trigger =
            (terms.stop_price(), terms.trail()) == (order.terms.stop_price(), order.terms.trail());
        let mut retired = order.clone();
        let held = order.status == OrderStatus::Held;
        retired
            .become_status(OrderStatus::Replaced, now)
            .map_err(|refused| OrderRejected::NotOpen { status: refused.from })?;
        *order = Order {
            id: new,
            client_order_id: changes.client_order_id.clone(),
            replaces: Some(old),
            triggered_at: order.triggered_at.filter(|_| same_trigger),
            status: if held { OrderStatus::Held } else { OrderStatus::Accepted },
            reserved_cash: Money::zero(),
            reserved_quantity: Quantity::zero(),
            filled_quantity: Quantity::zero(),
            filled_amount: ExactAmount::zero(),
            filled_price: None,
            commission: Money::zero(),
            submitted_at: now,
            last_matched_at: now,
            expires_at: end_of(time_in_force, now, rules),
            size: size.clone(),
            terms: terms.clone(),
            time_in_force,
            ..order.clone()
        };
        let as_placed = PlaceOrder {
            symbol: order.symbol.clone(),
            side: order.side,
            size: size.clone(),
            terms,
            time_in_force,
            attached: Attached::Nothing,
            client_order_id: None,
        };
        let mut issues = as_placed.issues();
        issues.extend(changes.time_in_force.and_then(|new| auction_issue(new, &newest_price.newest.quote)));
        if held && changes.quantity.is_some() {
            issues.push(OrderIssue::HeldExitQuantity);
        }
        if changed.orders.len() > 1 && time_in_force != retired.time_in_force {
            issues.push(OrderIssue::LinkedTimeInForceChanged { ends: retired.time_in_force });
        }
        let field = match changes.stop_price {
            Some(_) => OrderField::StopPrice,
            None => OrderField::LimitPrice,
        };
        if let Some((take_profit, stop_loss)) = changed.crossed_exits() {
            let (take_profit, stop_loss) = (take_profit.clone(), stop_loss.clone());
            issues.push(OrderIssue::ExitsCrossed { field, take_profit, stop_loss });
        }
        let has_new_price = changes.limit_price.is_some() || changes.stop_price.is_some();
        if has_new_price && let Some(entry) = changed.entry_outside_exits(&newest_price.newest.quote.price) {
            issues.push(OrderIssue::EntryOutsideExits { field, entry: entry.clone() });
        }
        if !issues.is_empty() {
            return Err(OrderRejected::Unfit(issues));
        }
        if index == 0 {
            changed.orders[1..].iter_mut().for_each(|leg| leg.parent_order_id = Some(new));
        }
        if let OrderSize::Quantity(quantity) = &size {
            changed.resize_siblings(index, &unfilled, quantity);
        }
        let entries = match held {
            true => {
                draft.hold(&changed);
                Vec::new()
            }
            false => draft.enter(&mut changed, index, newest_price, rules.at(now))?,
        };
        (*self, *group) = (draft, changed);
        Ok((retired, entries))
    }
}
