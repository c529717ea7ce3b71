//! The existing orders that a batch changes, and the events about them.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Order, OrderGroup, OrderId, Portfolio, PortfolioId, StockId, Timestamp};

use super::Batch;
use crate::error::Result;
use crate::events::Change;

impl Batch {
    /// Cancels a portfolio's open orders in one stock. Returns their groups, which the caller must save.
    pub(super) fn cancel_open(
        &self,
        portfolio: &mut Portfolio,
        stock: StockId,
        now: Timestamp,
    ) -> Result<Vec<OrderGroup>> {
        let is_wanted =
            |group: &&OrderGroup| (group.root().portfolio_id, group.root().stock_id) == (portfolio.id, stock);
        let mut groups: Vec<OrderGroup> =
            self.groups.values().filter(is_wanted).filter(|group| group.is_open()).cloned().collect();
        groups.sort_by_key(|group| group.root().id);
        for group in &mut groups {
            while let Some(open) = group.orders.iter().find(|order| order.status.is_open()) {
                let open = open.id;
                portfolio.cancel(group, open, now)?;
            }
        }
        Ok(groups)
    }

    /// Records the legs that were triggered, filled or have ended, because they get events of their own.
    pub(super) fn note_changed_legs(&mut self, group: &OrderGroup) {
        let state = |order: &Order| (order.status, order.triggered_at, order.filled_quantity.clone());
        let legs = group.orders.iter().filter(|order| order.parent_order_id.is_some());
        let changed: Vec<OrderId> = legs
            .filter(|leg| self.find(leg.id).is_some_and(|before| state(before) != state(leg)))
            .map(|leg| leg.id)
            .collect();
        self.changed_legs.extend(changed);
    }

    /// The changes to publish after the commit: the root of each group, legs that were triggered, filled or have ended,
    /// and replaced orders.
    pub(in crate::trading::desk) fn changes(&self) -> Vec<Change> {
        let new = self.new.iter().map(|(id, _)| self.root_of.get(id).copied().unwrap_or(*id));
        let changed: BTreeSet<OrderId> = new
            .chain(self.changed.iter().copied())
            .chain(self.changed_legs.iter().copied())
            .chain(self.retired.iter().map(|order| order.id))
            .collect();
        let mut changes: BTreeMap<PortfolioId, Change> = BTreeMap::new();
        for order in changed.into_iter().filter_map(|id| self.find(id)) {
            let portfolio = order.portfolio_id;
            let Some(owner) = self.portfolios.get(&portfolio) else { continue };
            let change = Change { user: owner.user_id, portfolio, orders: Vec::new() };
            changes.entry(portfolio).or_insert(change).orders.push(order.id);
        }
        changes.into_values().collect()
    }
}
