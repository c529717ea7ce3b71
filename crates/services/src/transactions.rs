//! Reading the journal.

use domain::{JournalEntry, PortfolioId, Symbol, Timestamp, TransactionId, UserId};
use persistence::transactions;

pub use persistence::transactions::Filter;

use crate::error::{Error, Result};
use crate::{Page, Services, one_more};

/// An entry with the symbol of its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntry {
    pub entry: JournalEntry,
    pub symbol: Option<Symbol>,
}

/// Where a page of the journal ended.
pub type Cursor = (Timestamp, TransactionId);

impl Services {
    /// Newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn transactions(
        &self,
        user: UserId,
        portfolio: PortfolioId,
        mut filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<NamedEntry, Cursor>> {
        if filter.symbol.is_some() {
            let asked = filter.symbol.take();
            filter.symbol = self.store.read(move |tx| crate::stocks::symbol_now(tx, asked)).await?;
        }
        let rows = self
            .store
            .query(move |statement| {
                transactions::page(statement, user, portfolio, &filter, before, one_more(limit))
                    .map_err(Error::from)
            })
            .await?;
        if rows.is_empty() {
            // Nothing there, or nothing that is theirs.
            self.portfolio(user, portfolio).await?;
        }
        let rows = rows.into_iter().map(|(entry, symbol)| NamedEntry { entry, symbol }).collect();
        Ok(Page::of(rows, limit, |row: &NamedEntry| {
            (row.entry.timestamp, row.entry.id.unwrap_or(TransactionId(0)))
        }))
    }
}
