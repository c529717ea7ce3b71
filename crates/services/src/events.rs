//! Events: what was committed, for those who follow it.

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
