//! Administration of accounts.

use domain::UserId;
use persistence::users::{User, UserChanges};
use persistence::{sessions, tokens, users};

use crate::accounts::Accounts;
use crate::accounts::actor::Administrator;
use crate::accounts::register::Account;
use crate::accounts::tokens::Scope;
use crate::error::{Error, NotFound, Result};
use crate::log_target::SECURITY;
use crate::market::search_text::search_text;
use crate::{Page, one_more};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub account: Account,
    pub portfolios: i64,
}

impl Accounts {
    /// Returns accounts, newest first; `search` is a part of a name or an address.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a search text that is too long.
    pub async fn all_users(
        &self,
        _: &Administrator,
        search: &str,
        before: Option<UserId>,
        limit: usize,
    ) -> Result<Page<AccountRow, UserId>> {
        let search = search_text(search)?;
        let rows = self
            .store
            .read(move |tx| users::page(tx, &search, before, one_more(limit)).map_err(Error::from))
            .await?;
        let page = Page::from_items(rows, limit, |(user, _): &(User, i64)| user.id);
        Ok(page.map(|(user, portfolios)| AccountRow { account: user.into(), portfolios }))
    }

    /// Returns the account of any user.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn any_user(&self, _: &Administrator, id: UserId) -> Result<Account> {
        let user = self.store.read(move |tx| users::by_id(tx, id).map_err(Error::from)).await?;
        user.map(Account::from).ok_or(Error::NotFound(NotFound::User))
    }

    /// Returns an account with the number of its portfolios.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn any_user_with_portfolios(&self, _: &Administrator, id: UserId) -> Result<AccountRow> {
        let found = self.store.read(move |tx| {
            let user = users::by_id(tx, id)?.into_iter().collect();
            Ok::<_, Error>(users::with_portfolios(tx, user)?.pop())
        });
        let (user, portfolios) = found.await?.ok_or(Error::NotFound(NotFound::User))?;
        Ok(AccountRow { account: user.into(), portfolios })
    }

    /// Opens or closes an account, and grants or withdraws administrator rights; `None` leaves a flag unchanged. The
    /// sessions and tokens of a closed account end immediately.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::LastAdmin`].
    pub async fn set_user_flags(
        &self,
        by: &Administrator,
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
                    // The tokens are deleted, so that they do not work again if the user becomes an administrator
                    // later.
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
                administrator = by.name(),
                is_active,
                is_admin,
                "an administrator changed an account"
            );
        }
        changed
    }
}
