//! Instruments: finds stocks by their symbols.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::{AsTraded, PriceSource, Quote, Stock, Symbol, Timestamp, UserId};
use market_data::Purpose;
use persistence::{Store, Tx, listings, stocks};

use crate::Market;
use crate::confirmed_rows::ReadStart;
use crate::error::{Error, Result};
use crate::market::former_symbols::PricedStocks;
use crate::market::stock_memory::StockMemory;

/// Stocks by symbol, without their last prices: only data that does not change in the database.
#[derive(Clone, Default)]
pub(crate) struct KnownStocks(Arc<RwLock<HashMap<Symbol, Stock>>>);

impl KnownStocks {
    fn get(&self, symbol: &Symbol) -> Option<Stock> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }

    fn forget(&self, symbol: &Symbol) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(symbol);
    }

    fn insert(&self, stock: &Stock) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let lasting = Stock { id: stock.id, listing: stock.listing.clone(), last: None, delisted_on: None };
        known.insert(stock.listing.symbol.clone(), lasting);
    }
}

/// Looks up stocks by their symbols: first in memory, then in the database, in the table of listings, and at the
/// source.
#[derive(Clone)]
pub struct Instruments {
    pub(super) store: Store,
    pub(super) market: Arc<Market>,
    pub(super) known_stocks: KnownStocks,
    pub(super) priced: Arc<PricedStocks>,
    memory: Arc<StockMemory>,
}

impl Instruments {
    pub(crate) fn new(store: Store, market: Arc<Market>) -> Self {
        let memory = Arc::new(StockMemory::new(market.stock_changes.clone()));
        Self { store, market, known_stocks: KnownStocks::default(), priced: Arc::default(), memory }
    }

    /// Returns the same lookups with a longer database timeout, for jobs.
    pub(crate) fn for_jobs(&self) -> Self {
        Self { store: self.store.for_jobs(), ..self.clone() }
    }

    /// Removes a symbol from memory, because its stock has another symbol now or is delisted.
    pub(crate) fn forget(&self, symbol: &Symbol) {
        self.known_stocks.forget(symbol);
        self.market.stock_changes.record();
    }

    /// Returns the stock with this symbol as it was within the last two seconds. `None` if it is not in memory.
    pub(crate) fn remembered(&self, symbol: &Symbol) -> Option<Arc<Stock>> {
        let wall = self.market.clock.wall();
        let found = self.memory.get(symbol, wall)?;
        self.renew_memory(wall);
        Some(found)
    }

    /// Reads the stocks in memory again if this is due. Callers do not wait for it.
    fn renew_memory(&self, wall: Timestamp) {
        let Some(read) = self.memory.due_read(wall) else { return };
        let (store, memory) = (self.store.clone(), self.memory.clone());
        tokio::spawn(async move {
            let symbols = read.keys.clone();
            let found =
                store.query(move |statement| stocks::with_symbols(statement, &symbols).map_err(Error::from));
            match found.await {
                Ok(stocks) => memory.renew(read, stocks),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "stocks in memory cannot be read again"
                    );
                }
            }
        });
    }

    /// The number and the bytes of the stocks in memory.
    pub(crate) fn remembered_stocks(&self) -> (usize, usize) {
        (self.memory.len(), self.memory.bytes())
    }

    /// Records the start of a read, for [`Instruments::remember`].
    pub(crate) fn start_read(&self) -> ReadStart {
        self.memory.start_read(self.market.clock.wall())
    }

    /// Stores a stock in memory that was read from the database.
    pub(crate) fn remember(&self, stock: &Stock, start: ReadStart) {
        self.memory.insert(stock.clone(), start);
    }

    /// A stock in the database, by its current or a former symbol. Makes no calls.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`].
    pub async fn stored_stock(&self, symbol: &Symbol) -> Result<Stock> {
        let wanted = symbol.clone();
        let found = self.store.read(move |tx| stocks::by_symbol(tx, &wanted).map_err(Error::from)).await?;
        found.ok_or_else(|| Error::UnknownSymbol(symbol.clone()))
    }

    /// Returns the stock with this symbol, as [`Instruments::stock_for`] does without a user.
    ///
    /// # Errors
    /// The same as [`Instruments::stock_for`].
    pub async fn stock(&self, symbol: &Symbol) -> Result<Stock> {
        self.stock_for(None, symbol).await
    }

    /// Returns the stock with this symbol. If it is new, it is read from the table of listings; without a table, the
    /// source is called, which each user may cause a few times per day.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`], [`Error::NotTradable`], [`Error::NoPrice`] if the source cannot be called.
    pub async fn stock_for(&self, user: Option<UserId>, symbol: &Symbol) -> Result<Stock> {
        let (wanted, source) = (symbol.clone(), self.market.quotes.source());
        let has_table = self.market.quotes.limits().is_some();
        let (known, listed) = self
            .store
            .read(move |tx| {
                let known = stocks::by_symbol(tx, &wanted)?;
                let listed =
                    match known.is_none() && has_table && listings::state(tx, source.as_str())?.is_some() {
                        true => Some(listings::by_symbol(tx, source.as_str(), &wanted)?),
                        false => None,
                    };
                Ok::<_, Error>((known, listed))
            })
            .await?;
        let listing = match (known, listed) {
            (Some(stock), _) if stock.listing.symbol == *symbol => return Ok(stock),
            (Some(former), _) => return self.stock_by_former_symbol(user, symbol, former).await,
            (None, Some(Some(listing))) => listing,
            (None, Some(None)) => return Err(Error::UnknownSymbol(symbol.clone())),
            (None, None) => {
                let purpose = Purpose::FirstSight { user };
                let listing = self.market.quotes.listing(purpose, symbol, self.market.now()).await;
                listing.map_err(|error| Error::from_quote(symbol, error))?
            }
        };
        self.store.write(move |tx| stocks::add(tx, &listing).map_err(Error::from)).await
    }

    /// Like [`Instruments::stock_for`], but from memory if possible, without the last price.
    pub(crate) async fn known_stock(&self, user: UserId, symbol: &Symbol) -> Result<Stock> {
        if let Some(stock) = self.known_stocks.get(symbol) {
            return Ok(stock);
        }
        let stock = self.stock_for(Some(user), symbol).await?;
        self.known_stocks.insert(&stock);
        Ok(stock)
    }

    /// Returns the current symbol of a stock; `symbol` may be a former one.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn symbol_now(&self, symbol: &Symbol) -> Result<Symbol> {
        let asked = symbol.clone();
        let found = self.store.read(move |tx| symbol_now(tx, Some(asked))).await?;
        Ok(found.unwrap_or_else(|| symbol.clone()))
    }

    /// Reads a stock again whose cached data is outdated because it was renamed or delisted.
    pub(crate) async fn known_anew(&self, symbol: &Symbol) -> Result<Stock> {
        self.known_stocks.forget(symbol);
        self.stock(symbol).await
    }
}

/// Returns the stored price, from any source, as a stale quote.
pub(crate) fn last_known(stock: &Stock) -> Option<AsTraded<Quote>> {
    let last = stock.last.clone()?;
    let quote = Quote {
        symbol: stock.listing.symbol.clone(),
        price: last.price,
        bid: None,
        ask: None,
        previous_close: last.previous_close,
        volume: None,
        as_of: last.as_of,
        source: PriceSource::from(last.source),
        freshness: last.freshness,
        stale: true,
    };
    Some(quote.into())
}

/// Returns the current symbol of a stock; `symbol` may be a former one. An unknown symbol is returned unchanged.
pub(crate) fn symbol_now(tx: &mut Tx<'_>, symbol: Option<Symbol>) -> Result<Option<Symbol>> {
    let Some(symbol) = symbol else { return Ok(None) };
    let found = stocks::by_symbol(tx, &symbol)?;
    Ok(Some(found.map_or(symbol, |stock| stock.listing.symbol.clone())))
}
