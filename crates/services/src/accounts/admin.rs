//! What an operator sees and may do. Whoever calls these has checked that the user is an administrator.

use domain::{JournalEntry, PortfolioId, Snapshot, Stock, Symbol, TransactionId, UserId};
use persistence::users::{User, UserChanges};
use persistence::{portfolios, sessions, snapshots, stocks, tokens, transactions, users};

use crate::accounts::register::Account;
use crate::accounts::tokens::Scope;
use crate::books::portfolios::PortfolioSummary;
use crate::error::{Error, NotFound, Result};
use crate::log_target::SECURITY;
use crate::market::search_text::search_text;
use crate::{Page, Services, one_more};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    pub users: i64,
    pub portfolios: i64,
    pub stocks: i64,
    pub transactions: i64,
    pub snapshots: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub account: Account,
    pub portfolios: i64,
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

impl Services {
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

    /// Newest first; `search` is a part of a name or an address.
    pub async fn all_users(
        &self,
        search: &str,
        before: Option<UserId>,
        limit: usize,
    ) -> Result<Page<AccountRow, UserId>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| users::page(tx, &search, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::of(rows, limit, |(user, _): &(User, i64)| user.id);
        Ok(page.map(|(user, portfolios)| AccountRow { account: user.into(), portfolios }))
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn any_user(&self, id: UserId) -> Result<Account> {
        let user = self.store.read(move |tx| users::by_id(tx, id).map_err(Error::from)).await?;
        user.map(Account::from).ok_or(Error::NotFound(NotFound::User))
    }

    /// Opens or closes an account and gives or takes the administrator's rights; `None` leaves it. A closed
    /// account's sessions and tokens end at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::LastAdmin`].
    pub async fn set_user_flags(
        &self,
        id: UserId,
        is_active: Option<bool>,
        is_admin: Option<bool>,
    ) -> Result<Account> {
        let changed = self
            .store
            .write(move |tx| {
                let user = users::by_id(tx, id)?.ok_or(Error::NotFound(NotFound::User))?;
                let stays = is_active.unwrap_or(user.is_active) && is_admin.unwrap_or(user.is_admin);
                if user.is_active && user.is_admin && !stays && users::lock_admins(tx)? <= 1 {
                    return Err(Error::LastAdmin);
                }
                if is_active == Some(false) {
                    sessions::delete_others(tx, id, None)?;
                    tokens::delete_all(tx, id)?;
                }
                if is_admin == Some(false) {
                    // Should they become an administrator again, these must not come back to life.
                    tokens::delete_scope(tx, id, Scope::Admin.as_str())?;
                }
                let changes = UserChanges { is_active, is_admin, ..UserChanges::default() };
                users::update(tx, id, changes)?.map(Account::from).ok_or(Error::NotFound(NotFound::User))
            })
            .await;
        self.token_cache.forget_user(id);
        if changed.is_ok() {
            tracing::info!(
                target: SECURITY,
                event = "account_rights_changed",
                account_id = id.0,
                is_active,
                is_admin,
                "an administrator changed an account"
            );
        }
        changed
    }

    /// In order of symbol.
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
        Ok(Page::of(rows, limit, |stock| stock.listing.symbol.clone()))
    }

    /// Newest first; `search` is a part of a portfolio's or an owner's name.
    pub async fn all_portfolios(
        &self,
        search: &str,
        before: Option<PortfolioId>,
        limit: usize,
    ) -> Result<Page<PortfolioRow, PortfolioId>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| portfolios::page(tx, &search, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::of(rows, limit, |(row, _)| row.id);
        Ok(page.map(|(row, username)| PortfolioRow { portfolio: row.into(), username }))
    }

    /// Newest first; `search` is a part of an owner's name, or a symbol.
    pub async fn all_transactions(
        &self,
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
        let page = Page::of(rows, limit, |row| row.entry.id.unwrap_or(TransactionId(0)));
        Ok(page.map(|row| TransactionRow {
            entry: row.entry,
            symbol: row.symbol,
            portfolio: row.portfolio,
            username: row.username,
        }))
    }

    /// Newest first.
    pub async fn all_snapshots(&self, before: Option<i64>, limit: usize) -> Result<Page<SnapshotRow, i64>> {
        let rows = self
            .store
            .read(move |tx| snapshots::page_of_all(tx, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::of(rows, limit, |(id, ..)| *id);
        Ok(page.map(|(id, snapshot, portfolio)| SnapshotRow { id, snapshot, portfolio }))
    }
}
