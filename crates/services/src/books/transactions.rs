//! Reading the journal.

use std::sync::Arc;

use domain::{JournalEntry, PortfolioRef, Symbol, Timestamp, TransactionFilter, TransactionId};
use persistence::transactions;

use crate::books::Books;
use crate::books::cache::CachedValue;
use crate::error::{Error, Result};
use crate::{Page, one_more};

/// A journal line with the symbol of its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntry {
    pub entry: JournalEntry,
    pub symbol: Option<Symbol>,
}

/// The position in the journal where a page ended.
pub type Cursor = (Timestamp, TransactionId);

/// The first page of a journal, and its requested size.
pub(crate) struct NewestPage {
    limit: usize,
    page: Page<NamedEntry, Cursor>,
}

impl CachedValue for Arc<NewestPage> {
    fn size(&self) -> usize {
        size_of::<NewestPage>() + self.page.items.len() * size_of::<NamedEntry>()
    }
}

impl Books {
    /// Returns the journal's lines, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn transactions(
        &self,
        portfolio: PortfolioRef,
        mut filter: TransactionFilter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<NamedEntry, Cursor>> {
        if filter.symbol.is_some() {
            let asked = filter.symbol.take();
            filter.symbol =
                self.store.read(move |tx| crate::market::instruments::symbol_now(tx, asked)).await?;
        }
        // Only the newest page is cached: most requests are for it.
        let version = match before.is_none() && filter == TransactionFilter::default() {
            true => self.versions.version_of(portfolio).await,
            false => None,
        };
        if let Some(version) = version
            && let Some(newest) = self.kept_pages.get(portfolio.id, version).await
            && newest.limit == limit
        {
            return Ok(newest.page.clone());
        }
        let rows = self
            .store
            .query(move |statement| {
                transactions::page(statement, portfolio, &filter, before, one_more(limit))
                    .map_err(Error::from)
            })
            .await?;
        if rows.is_empty() {
            // There are no lines, or the portfolio belongs to another user: then this fails.
            self.portfolio(portfolio).await?;
        }
        let rows = rows.into_iter().map(|(entry, symbol)| NamedEntry { entry, symbol }).collect();
        let page = Page::from_items(rows, limit, |row: &NamedEntry| {
            (row.entry.timestamp, row.entry.id.unwrap_or(TransactionId(0)))
        });
        if let Some(version) = version {
            let newest = NewestPage { limit, page: page.clone() };
            self.kept_pages.insert(portfolio.id, version, Arc::new(newest)).await;
        }
        Ok(page)
    }
}
