//! The results of a verification.

use chrono::NaiveDate;
use domain::{ActionId, PortfolioId, Price, TransactionId};

/// A stored value that does not follow from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub portfolio_id: PortfolioId,
    pub what: String,
    pub concern: Concern,
}

/// The subject of a difference, which decides how it can be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// Books that were changed outside the program: they cannot be repaired.
    Books,
    /// A snapshot, which can be taken again.
    Snapshot(NaiveDate),
    /// A split that is contradicted by the closes around it: the expected price, then the price found.
    Split(ActionId, Price, Price),
    /// A fill at a price that contradicts its receipt or the stock's splits.
    Fill(TransactionId),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub portfolios: usize,
    pub entries: usize,
    pub orders: usize,
    pub snapshots: usize,
    /// The differences, ordered by portfolio.
    pub differences: Vec<Difference>,
}

impl Report {
    pub(super) fn add(&mut self, other: Self) {
        self.portfolios += other.portfolios;
        self.entries += other.entries;
        self.orders += other.orders;
        self.snapshots += other.snapshots;
        self.differences.extend(other.differences);
    }
}
