//! Events: committed changes, for subscribers.

use std::sync::{PoisonError, RwLock};

use domain::{OrderGroup, OrderId, PortfolioId, PortfolioRef, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A committed change of a portfolio. The database contains the details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub user: UserId,
    pub portfolio: PortfolioId,
    /// Orders that were placed or changed. A leg is included in the order it belongs to; a leg that was triggered,
    /// filled or has ended is also listed separately.
    pub orders: Vec<OrderId>,
}

impl Change {
    /// A change of cash, or another one that does not concern orders.
    pub(crate) fn of_books(portfolio: PortfolioRef) -> Self {
        Self { user: portfolio.user, portfolio: portfolio.id, orders: Vec::new() }
    }
}

/// The orders of a changed group that have events: its root, and the legs that ended at `now`.
pub(crate) fn orders_to_announce(group: &OrderGroup, now: Timestamp) -> impl Iterator<Item = OrderId> {
    let root = group.root().id;
    let has_event = move |order: &&domain::Order| order.id == root || order.canceled_at == Some(now);
    group.orders.iter().filter(has_event).map(|order| order.id)
}

/// Receives committed changes. It must not block: it is called between two transactions of the order desk.
type Subscriber = Box<dyn Fn(&[Change]) + Send + Sync>;

/// The changes of this process. Code that writes announces them without knowing the subscribers.
#[derive(Default)]
pub(crate) struct Events(RwLock<Vec<Subscriber>>);

impl Events {
    /// Calls `subscriber` with every change that is announced from now on.
    pub fn subscribe(&self, subscriber: impl Fn(&[Change]) + Send + Sync + 'static) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(subscriber));
    }

    /// Passes committed changes to all subscribers.
    pub fn announce(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        for subscriber in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber(changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn every_subscriber_gets_every_change_and_no_empty_announcement() {
        let events = Events::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        for name in ["first", "second"] {
            let heard = heard.clone();
            events.subscribe(move |changes| heard.lock().unwrap().push((name, changes.len())));
        }
        events.announce(&[]);
        events.announce(&[Change::of_books(PortfolioRef::new(UserId(1), PortfolioId(2)))]);
        assert_eq!(*heard.lock().unwrap(), [("first", 1), ("second", 1)]);
    }
}
