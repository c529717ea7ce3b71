//! Instruments: the stock that a symbol leads to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::{AsTraded, PriceSource, Quote, Stock, Symbol, UserId};
use market_data::Purpose;
use persistence::{Store, Tx, listings, stocks};

use crate::Market;
use crate::error::{Error, Result};
use crate::market::former_symbols::PricedStocks;

/// Stocks by symbol, without their last prices: data that does not change in the database.
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

/// Looks up stocks by their symbols: in memory, in the database, in the table of listings, at the source.
#[derive(Clone)]
pub struct Instruments {
    pub(super) store: Store,
    pub(super) market: Arc<Market>,
    pub(super) known_stocks: KnownStocks,
    pub(super) priced: Arc<PricedStocks>,
}

impl Instruments {
    pub(crate) fn new(store: Store, market: Arc<Market>) -> Self {
        Self { store, market, known_stocks: KnownStocks::default(), priced: Arc::default() }
    }

    /// The same with more time for each call of the database.
    pub(crate) fn for_jobs(&self) -> Self {
        Self { store: self.store.for_jobs(), ..self.clone() }
    }

    /// Forgets what is kept in memory of a symbol: its stock has another one now, or is delisted.
    pub(crate) fn forget(&self, symbol: &Symbol) {
        self.known_stocks.forget(symbol);
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

    /// [`Instruments::stock_for`] nobody in particular.
    ///
    /// # Errors
    /// As there.
    pub async fn stock(&self, symbol: &Symbol) -> Result<Stock> {
        self.stock_for(None, symbol).await
    }

    /// The stock with that symbol. The first time it is read from the table of listings; without one, the source is
    /// called, which a user may cause a few times per day.
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
                let listing = self.market.quotes.listing_for(purpose, symbol, self.market.now()).await;
                listing.map_err(|error| Error::from_quote(symbol, error))?
            }
        };
        self.store.write(move |tx| stocks::add(tx, &listing).map_err(Error::from)).await
    }

    /// As [`Instruments::stock`], from memory where it is there: without the last price.
    pub(crate) async fn known_stock(&self, user: UserId, symbol: &Symbol) -> Result<Stock> {
        if let Some(stock) = self.known_stocks.get(symbol) {
            return Ok(stock);
        }
        let stock = self.stock_for(Some(user), symbol).await?;
        self.known_stocks.insert(&stock);
        Ok(stock)
    }

    /// The current symbol of a stock that may be given by a former one.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn symbol_now(&self, symbol: &Symbol) -> Result<Symbol> {
        let asked = symbol.clone();
        let found = self.store.read(move |tx| symbol_now(tx, Some(asked))).await?;
        Ok(found.unwrap_or_else(|| symbol.clone()))
    }

    /// Reads a stock again whose cached data is outdated, because its symbol has changed or it is delisted.
    pub(crate) async fn known_anew(&self, symbol: &Symbol) -> Result<Stock> {
        self.known_stocks.forget(symbol);
        self.stock(symbol).await
    }
}

/// The price in the database as a quote, from any source, marked as stale.
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

/// The current symbol of a stock that may be given by a former one. An unknown symbol is unchanged.
pub(crate) fn symbol_now(tx: &mut Tx<'_>, symbol: Option<Symbol>) -> Result<Option<Symbol>> {
    let Some(symbol) = symbol else { return Ok(None) };
    let found = stocks::by_symbol(tx, &symbol)?;
    Ok(Some(found.map_or(symbol, |stock| stock.listing.symbol.clone())))
}
