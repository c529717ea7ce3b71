//! Reading the journal.

use std::sync::Arc;

use domain::{JournalEntry, PortfolioId, Symbol, Timestamp, TransactionId, TransactionType, UserId};
use persistence::transactions;

use crate::books::Books;
use crate::books::cache::Rows;
use crate::error::{Error, Result};
use crate::{Page, one_more};

/// A filter of a journal's lines; the default matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub symbol: Option<Symbol>,
    pub transaction_type: Option<TransactionType>,
    /// The first instant included.
    pub from: Option<Timestamp>,
    /// The first instant excluded.
    pub until: Option<Timestamp>,
}

impl From<Filter> for transactions::Filter {
    fn from(Filter { symbol, transaction_type, from, until }: Filter) -> Self {
        Self { symbol, transaction_type, from, until }
    }
}

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

impl Rows for Arc<NewestPage> {
    fn rows(&self) -> usize {
        self.page.items.len()
    }
}

impl Books {
    /// The journal's lines, newest first.
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
            filter.symbol =
                self.store.read(move |tx| crate::market::instruments::symbol_now(tx, asked)).await?;
        }
        // Most readers want the newest page.
        let version = match before.is_none() && filter == Filter::default() {
            true => self.versions.of(user, portfolio).await,
            false => None,
        };
        if let Some(version) = version
            && let Some(newest) = self.kept_pages.get(portfolio, version).await
            && newest.limit == limit
        {
            return Ok(newest.page.clone());
        }
        let filter = transactions::Filter::from(filter);
        let rows = self
            .store
            .query(move |statement| {
                transactions::page(statement, user, portfolio, &filter, before, one_more(limit))
                    .map_err(Error::from)
            })
            .await?;
        if rows.is_empty() {
            // No lines, or another user's portfolio.
            self.portfolio(user, portfolio).await?;
        }
        let rows = rows.into_iter().map(|(entry, symbol)| NamedEntry { entry, symbol }).collect();
        let page = Page::of(rows, limit, |row: &NamedEntry| {
            (row.entry.timestamp, row.entry.id.unwrap_or(TransactionId(0)))
        });
        if let Some(version) = version {
            let newest = NewestPage { limit, page: page.clone() };
            self.kept_pages.insert(portfolio, version, Arc::new(newest)).await;
        }
        Ok(page)
    }
}
