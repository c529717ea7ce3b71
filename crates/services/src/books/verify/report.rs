//! What a verification has found.

use chrono::NaiveDate;
use domain::{ActionId, PortfolioId, Price, TransactionId};

/// Something stored that is not what the journal gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub portfolio_id: PortfolioId,
    pub what: String,
    pub concern: Concern,
}

/// What a difference is about: how it can be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// Something that was changed behind the program's back: nothing repairs it.
    Books,
    /// A snapshot, which can be taken again.
    Snapshot(NaiveDate),
    /// A split that the closes around it contradict: the expected price and the one found.
    Split(ActionId, Price, Price),
    /// A fill at a price that its receipt, or the stock's splits, contradict.
    Fill(TransactionId),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub portfolios: usize,
    pub entries: usize,
    pub orders: usize,
    pub snapshots: usize,
    /// In order of portfolio.
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
