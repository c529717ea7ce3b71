//! Access to portfolios: the owner, and other readers if the visibility of the portfolio admits them. Reads by others
//! go through [`PortfolioAccess`]; writes are only for the owner.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::{PortfolioId, PortfolioRef, UserId, Visibility};
use moka::future::Cache;
use persistence::{Tx, installation, portfolios};

use crate::accounts::secret;
use crate::books::Books;
use crate::books::portfolios::{PortfolioSummary, owned};
use crate::error::{Error, NotFound, Result};

/// The record that names the demonstration account, in `installation`.
const DEMONSTRATION: &str = "demonstration";
/// Characters of a link key: 128 random bits in hex.
const LINK_KEY_CHARACTERS: usize = 32;
/// The most portfolios whose owner is cached.
const MAX_OWNERS: u64 = 100_000;
const OWNERS_CACHE_TTL: Duration = Duration::from_secs(600);

/// The part of an address that names a portfolio: its id, or the link key of a portfolio that is shared by link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortfolioAddress {
    Id(PortfolioId),
    LinkKey(String),
}

impl fmt::Display for PortfolioAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::LinkKey(key) => f.write_str(key),
        }
    }
}

/// The text is neither an id nor a link key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAddress;

impl FromStr for PortfolioAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> std::result::Result<Self, NotAnAddress> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(PortfolioId(id)));
        }
        let is_key = text.len() == LINK_KEY_CHARACTERS
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_key { Ok(Self::LinkKey(text.to_owned())) } else { Err(NotAnAddress) }
    }
}

/// The right to read one portfolio, granted by [`Books::portfolio_access`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioAccess {
    /// The owner, whose portfolio is read.
    pub portfolio: PortfolioRef,
    /// Whether the reader is the owner.
    pub is_owner: bool,
    /// The name of the portfolio in the reader's addresses.
    pub address: PortfolioAddress,
}

impl PortfolioAccess {
    /// An owner's right to their own portfolio.
    pub fn of_owner(portfolio: PortfolioRef) -> Self {
        Self { portfolio, is_owner: true, address: PortfolioAddress::Id(portfolio.id) }
    }
}

/// A cache of the owners of portfolios. It never becomes stale: the owner never changes, and ids are not reused.
pub(crate) type Owners = Arc<Cache<PortfolioId, UserId>>;

pub(crate) fn owners() -> Owners {
    Arc::new(Cache::builder().max_capacity(MAX_OWNERS).time_to_live(OWNERS_CACHE_TTL).build())
}

/// The number of owners in memory, and their bytes with their places in the queues of the cache.
pub(crate) fn cached(owners: &Owners) -> (u64, u64) {
    const ENTRY_BYTES: u64 = 200;
    (owners.entry_count(), owners.entry_count() * ENTRY_BYTES)
}

/// Sets the visibility of a portfolio. Each time it changes to sharing by link, the portfolio gets a new key, so that
/// earlier links stay invalid.
pub(crate) fn share(tx: &mut Tx<'_>, portfolio: PortfolioRef, visibility: Visibility) -> Result<()> {
    if owned(tx, portfolio)?.visibility == visibility {
        return Ok(());
    }
    let key = (visibility == Visibility::Link).then(secret::random_hex::<16>);
    Ok(portfolios::set_visibility(tx, portfolio.id, visibility, key.as_deref())?)
}

impl Books {
    /// Checks whether a user, or a visitor who is not logged in, may read the portfolio at an address: the owner may,
    /// everyone if it is public, and everyone with the link key if it is shared by link. Portfolios of a closed account
    /// are not shared.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the portfolio does not exist or may not be read; callers cannot tell these cases apart.
    pub async fn portfolio_access(
        &self,
        reader: Option<UserId>,
        address: &PortfolioAddress,
    ) -> Result<PortfolioAccess> {
        if let (Some(reader), PortfolioAddress::Id(id)) = (reader, address)
            && self.owners.get(id).await == Some(reader)
        {
            return Ok(PortfolioAccess::of_owner(PortfolioRef::new(reader, *id)));
        }
        let wanted = address.clone();
        let found = self
            .store
            .query(move |statement| {
                match &wanted {
                    PortfolioAddress::Id(id) => portfolios::with_owner(statement, *id),
                    PortfolioAddress::LinkKey(key) => portfolios::by_link_key(statement, key),
                }
                .map_err(Error::from)
            })
            .await?;
        let missing = Error::NotFound(NotFound::Portfolio);
        let Some((row, is_active)) = found else { return Err(missing) };
        self.owners.insert(row.id, row.user_id).await;
        let is_owner = reader == Some(row.user_id);
        let is_shared = match (row.visibility, address) {
            (Visibility::Public, _) | (Visibility::Link, PortfolioAddress::LinkKey(_)) => is_active,
            (Visibility::Link, PortfolioAddress::Id(_)) | (Visibility::Private, _) => false,
        };
        if !is_owner && !is_shared {
            return Err(missing);
        }
        let portfolio = PortfolioRef::new(row.user_id, row.id);
        if is_owner {
            // The owner gets the address with the id, even after following a link with the key: the owner's pages
            // contain forms, which take ids.
            return Ok(PortfolioAccess::of_owner(portfolio));
        }
        let address = address.clone();
        Ok(PortfolioAccess { portfolio, is_owner, address })
    }

    /// The public portfolios of a user that are not archived, oldest first.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn public_portfolios(&self, owner: UserId) -> Result<Vec<PortfolioSummary>> {
        let rows =
            self.store.read(move |tx| portfolios::public_of_user(tx, owner).map_err(Error::from)).await?;
        Ok(rows.into_iter().map(PortfolioSummary::from).collect())
    }

    /// Returns the public portfolios of the demonstration account, oldest first; empty without such an account.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn demonstration_portfolios(&self) -> Result<Vec<PortfolioSummary>> {
        let owner = self.recorded_demonstration().await?;
        match owner.and_then(|owner| owner.parse().ok()).map(UserId) {
            Some(owner) => self.public_portfolios(owner).await,
            None => Ok(Vec::new()),
        }
    }

    /// Records which account is the demonstration, or that it is being created.
    pub(crate) async fn record_demonstration(&self, record: &str) -> Result<()> {
        let record = record.to_owned();
        self.store.write(move |tx| installation::set(tx, DEMONSTRATION, &record).map_err(Error::from)).await
    }

    /// Returns the last record of [`Books::record_demonstration`].
    pub(crate) async fn recorded_demonstration(&self) -> Result<Option<String>> {
        self.store.read(|tx| installation::get(tx, DEMONSTRATION).map_err(Error::from)).await
    }

    /// Whether any portfolio exists.
    pub(crate) async fn has_portfolios(&self) -> Result<bool> {
        Ok(self.store.read(|tx| portfolios::extent(tx).map_err(Error::from)).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_id_or_a_link_key() {
        assert_eq!("7".parse(), Ok(PortfolioAddress::Id(PortfolioId(7))));
        let key = "0123456789abcdef0123456789abcdef";
        assert_eq!(key.parse(), Ok(PortfolioAddress::LinkKey(key.to_owned())));
        // A key that consists only of digits is not an id.
        let digits = "1".repeat(LINK_KEY_CHARACTERS);
        assert_eq!(digits.parse(), Ok(PortfolioAddress::LinkKey(digits)));
        for wrong in ["", "x", "abc", "0123456789ABCDEF0123456789ABCDEF", "../7", "7 "] {
            assert_eq!(wrong.parse::<PortfolioAddress>(), Err(NotAnAddress), "{wrong}");
        }
    }
}
