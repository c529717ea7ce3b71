//! All stocks, portfolios, transactions and snapshots of the installation, for its administrators.

use domain::{JournalEntry, PortfolioId, Snapshot, Stock, Symbol, TransactionId};
use persistence::{portfolios, snapshots, stocks, transactions, users};

use crate::accounts::actor::Administrator;
use crate::books::portfolios::PortfolioSummary;
use crate::error::{Error, Result};
use crate::market::search_text::search_text;
use crate::operations::Operations;
use crate::{Page, one_more};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    pub users: i64,
    pub portfolios: i64,
    pub stocks: i64,
    pub transactions: i64,
    pub snapshots: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioRow {
    pub portfolio: PortfolioSummary,
    pub username: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRow {
    pub entry: JournalEntry,
    pub symbol: Option<Symbol>,
    pub portfolio: String,
    pub username: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub id: i64,
    pub snapshot: Snapshot,
    pub portfolio: String,
}

impl Operations {
    /// Returns the numbers of rows in the installation.
    ///
    /// # Errors
    /// Only when the database fails; the same for all lists here.
    pub async fn totals(&self) -> Result<Totals> {
        self.store
            .read(|tx| {
                Ok(Totals {
                    users: users::count(tx)?,
                    portfolios: portfolios::count(tx)?,
                    stocks: stocks::count(tx)?,
                    transactions: transactions::count(tx)?,
                    snapshots: snapshots::count(tx)?,
                })
            })
            .await
    }

    /// Returns stocks, ordered by symbol.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a search text that is too long.
    pub async fn all_stocks(
        &self,
        search: &str,
        after: Option<Symbol>,
        limit: usize,
    ) -> Result<Page<Stock, Symbol>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| stocks::page(tx, &search, after.as_ref(), one_more(limit)).map_err(Error::from))
            .await?;
        Ok(Page::from_items(rows, limit, |stock| stock.listing.symbol.clone()))
    }

    /// Returns portfolios, newest first; `search` is a part of a portfolio's or an owner's name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a search text that is too long.
    pub async fn all_portfolios(
        &self,
        _: &Administrator,
        search: &str,
        before: Option<PortfolioId>,
        limit: usize,
    ) -> Result<Page<PortfolioRow, PortfolioId>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| portfolios::page(tx, &search, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::from_items(rows, limit, |(row, _)| row.id);
        Ok(page.map(|(row, username)| PortfolioRow { portfolio: row.into(), username }))
    }

    /// Returns transactions, newest first; `search` is a part of an owner's name, or a symbol.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a search text that is too long.
    pub async fn all_transactions(
        &self,
        _: &Administrator,
        search: &str,
        before: Option<TransactionId>,
        limit: usize,
    ) -> Result<Page<TransactionRow, TransactionId>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| {
                transactions::page_of_all(tx, &search, before, one_more(limit)).map_err(Error::from)
            })
            .await?;
        let page = Page::from_items(rows, limit, |row| row.entry.id.unwrap_or(TransactionId(0)));
        Ok(page.map(|row| TransactionRow {
            entry: row.entry,
            symbol: row.symbol,
            portfolio: row.portfolio,
            username: row.username,
        }))
    }

    /// Returns snapshots, newest first.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn all_snapshots(
        &self,
        _: &Administrator,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<SnapshotRow, i64>> {
        let rows = self
            .store
            .read(move |tx| snapshots::page_of_all(tx, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::from_items(rows, limit, |(id, ..)| *id);
        Ok(page.map(|(id, snapshot, portfolio)| SnapshotRow { id, snapshot, portfolio }))
    }
}
