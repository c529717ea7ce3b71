//! Watchlists: stocks that a user follows, with live quotes.

use std::sync::Arc;

use domain::{Quote, Stock, Symbol, Timestamp, UserId, WatchlistId};
use persistence::watchlists::{self, Watchlist};
use persistence::{Store, Tx, stocks};

use crate::Market;
use crate::accounts::actor::Trader;
use crate::error::{Error, Fields, NotFound, Result};
use crate::market::instruments::Instruments;
use crate::stocks::Stocks;
use crate::stocks::quotes::{QuoteReader, quote_of};

const MAX_LISTS: usize = 50;
const MAX_ITEMS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedList {
    pub id: WatchlistId,
    pub name: String,
    pub created_at: Timestamp,
    /// The stocks, in the order in which they were added.
    pub items: Vec<WatchedStock>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedStock {
    pub stock: Stock,
    /// The newest quote; `None` if the stock never had a price.
    pub quote: Option<Quote>,
}

fn check_name(name: &str) -> Result<()> {
    let mut fields = Fields::default();
    let ok = (1..=80).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    fields.check("name", ok, "use 1 to 80 characters, on one line");
    fields.done()
}

fn owned(tx: &mut Tx<'_>, id: WatchlistId, user: UserId) -> Result<Watchlist> {
    watchlists::owned(tx, id, user)?.ok_or(Error::NotFound(NotFound::Watchlist))
}

/// The use cases of watchlists. Cheap to clone.
#[derive(Clone)]
pub struct Watchlists {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    stocks: Arc<Stocks>,
}

impl Watchlists {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        instruments: Arc<Instruments>,
        stocks: Arc<Stocks>,
    ) -> Self {
        Self { store, market, instruments, stocks }
    }
}

impl Watchlists {
    /// Returns all lists of a user with quotes, in the order they were created.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn all(&self, user: UserId) -> Result<Vec<WatchedList>> {
        let lists = self
            .store
            .read(move |tx| {
                let lists = watchlists::of_user(tx, user)?;
                lists
                    .into_iter()
                    .map(|list| Ok((watchlists::items(tx, list.id)?, list)))
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        let mut watched = Vec::with_capacity(lists.len());
        for (items, list) in lists {
            watched.push(self.with_quotes(user, list, items).await);
        }
        Ok(watched)
    }

    /// Returns one list of a user with quotes.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's list; the same for all functions on one list.
    pub async fn watchlist(&self, user: UserId, id: WatchlistId) -> Result<WatchedList> {
        let (list, items) = self
            .store
            .read(move |tx| {
                let list = owned(tx, id, user)?;
                Ok::<_, Error>((list, watchlists::items(tx, id)?))
            })
            .await?;
        Ok(self.with_quotes(user, list, items).await)
    }

    /// Creates an empty list.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unusable name, or if the user has 50 lists.
    pub async fn create_watchlist(&self, trader: Trader, name: &str) -> Result<WatchedList> {
        let user = trader.user();
        let name = name.trim().to_owned();
        check_name(&name)?;
        let now = self.market.clock.wall();
        let list = self
            .store
            .write(move |tx| {
                if watchlists::of_user(tx, user)?.len() >= MAX_LISTS {
                    return Err(Error::invalid("name", "you have 50 watchlists: delete one first"));
                }
                Ok(watchlists::insert(tx, user, &name, now)?)
            })
            .await?;
        Ok(self.with_quotes(user, list, Vec::new()).await)
    }

    /// Renames a list.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an unusable name.
    pub async fn rename_watchlist(&self, trader: Trader, id: WatchlistId, name: &str) -> Result<WatchedList> {
        let user = trader.user();
        let name = name.trim().to_owned();
        check_name(&name)?;
        self.store
            .write(move |tx| {
                owned(tx, id, user)?;
                watchlists::rename(tx, id, &name).map_err(Error::from)
            })
            .await?;
        self.watchlist(user, id).await
    }

    /// Deletes a list.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such list.
    pub async fn delete_watchlist(&self, trader: Trader, id: WatchlistId) -> Result<()> {
        let user = trader.user();
        self.store
            .write(move |tx| {
                owned(tx, id, user)?;
                watchlists::delete(tx, id).map_err(Error::from)
            })
            .await
    }

    /// Adds a stock to the list. If the list already contains it, nothing changes.
    ///
    /// # Errors
    /// The errors of [`Instruments::stock`](crate::market::instruments::Instruments::stock); [`Error::Invalid`] if the
    /// list is full.
    pub async fn watch(&self, trader: Trader, id: WatchlistId, symbol: &Symbol) -> Result<()> {
        let user = trader.user();
        self.store.read(move |tx| owned(tx, id, user)).await?;
        let stock = self.instruments.stock_for(Some(user), symbol).await?;
        let now = self.market.clock.wall();
        self.store
            .write(move |tx| {
                owned(tx, id, user)?;
                let items = watchlists::items(tx, id)?;
                if items.len() >= MAX_ITEMS && items.iter().all(|item| item.id != stock.id) {
                    return Err(Error::invalid("symbol", "the list has 200 stocks: remove one first"));
                }
                watchlists::add_item(tx, id, stock.id, now).map_err(Error::from)
            })
            .await
    }

    /// Removes a stock from the list.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if the list does not contain the stock.
    pub async fn unwatch(&self, trader: Trader, id: WatchlistId, symbol: &Symbol) -> Result<()> {
        let user = trader.user();
        let symbol = symbol.clone();
        self.store
            .write(move |tx| {
                owned(tx, id, user)?;
                let stock = stocks::by_symbol(tx, &symbol)?.ok_or(Error::NotFound(NotFound::WatchedStock))?;
                match watchlists::remove_item(tx, id, stock.id)? {
                    true => Ok(()),
                    false => Err(Error::NotFound(NotFound::WatchedStock)),
                }
            })
            .await
    }

    async fn with_quotes(&self, user: UserId, list: Watchlist, items: Vec<Stock>) -> WatchedList {
        let quotes = self.stocks.latest_quotes_of(QuoteReader::List(user), &items, self.market.now()).await;
        let items = items
            .into_iter()
            .zip(quotes)
            .map(|(stock, quote)| WatchedStock { quote: quote_of(quote), stock })
            .collect();
        WatchedList { id: list.id, name: list.name, created_at: list.created_at, items }
    }
}
