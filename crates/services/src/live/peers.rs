//! Word of what was committed, between the processes of a deployment.

use domain::{OrderId, PortfolioId, UserId};
use serde::{Deserialize, Serialize};

/// Something happened in a portfolio, and is committed. What it was stands in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub user: UserId,
    pub portfolio: PortfolioId,
    /// Orders that were placed or have changed; of those that belong together the one that the others came with.
    pub orders: Vec<OrderId>,
}

impl Change {
    /// Cash has moved, or another thing that is no order.
    pub(crate) fn of_books(user: UserId, portfolio: PortfolioId) -> Self {
        Self { user, portfolio, orders: Vec::new() }
    }
}

/// The way to the other processes. What gets lost on it is missed by streams alone.
pub trait Peers: Send + Sync {
    /// Must not wait: it is called between two transactions of the order desk.
    fn tell(&self, changes: Vec<Change>);
}
