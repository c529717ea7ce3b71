//! Lists of stocks with their trading restrictions, and the prices of several stocks.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Listing, Stock, StockFilter, Symbol, TradingHold, UserId};
use persistence::{listings, stock_list};

use crate::error::{Error, Result};
use crate::market::search_text::search_text;
use crate::stocks::quotes::QuoteReader;
use crate::stocks::{LatestQuote, Stocks};
use crate::{Page, one_more};

/// Why no orders are accepted in a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradingRestriction {
    Delisted,
    Halted,
}

impl TradingRestriction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delisted => "delisted",
            Self::Halted => "halted",
        }
    }

    fn for_stock(is_delisted: bool, hold: Option<&TradingHold>) -> Option<Self> {
        match (is_delisted, hold) {
            (true, _) => Some(Self::Delisted),
            (false, Some(hold)) if hold.is_halt() => Some(Self::Halted),
            (false, _) => None,
        }
    }
}

/// A stock with its trading restriction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradableStock {
    pub listing: Listing,
    /// Why no orders are accepted; `None` when the stock can be traded.
    pub restriction: Option<TradingRestriction>,
}

impl Stocks {
    /// Why no orders are accepted in a stock; `None` when it can be traded.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn trading_restriction(&self, stock: &Stock) -> Result<Option<TradingRestriction>> {
        let hold = self.corporate_actions.trading_hold(stock).await?;
        Ok(TradingRestriction::for_stock(stock.delisted_on.is_some(), hold.as_ref()))
    }

    /// Returns a page of stocks after the symbol `last`. For a provider with a table of listings, all listed stocks;
    /// otherwise the stocks that the installation knows, which for the built-in market are all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter that is too long, or if `last` is not in the list.
    pub async fn list_stocks(
        &self,
        filter: StockFilter,
        last: Option<Symbol>,
        limit: usize,
    ) -> Result<Page<TradableStock, Symbol>> {
        let text = |field: &'static str, text: Option<String>| {
            text.map(|text| {
                search_text(&text).map_err(|_| Error::invalid(field, "use 100 characters at most"))
            })
            .transpose()
        };
        let filter = StockFilter {
            sector: text("sector", filter.sector)?,
            exchange: text("exchange", filter.exchange)?,
            ..filter
        };
        let source = self.market.quotes.limits().map(|_| self.market.quotes.source());
        let found = self.store.read(move |tx| {
            let source = match source {
                Some(source) if listings::state(tx, source.as_str())?.is_some() => Some(source),
                _ => None,
            };
            let last = match (&source, last) {
                (_, None) => None,
                (Some(source), Some(last)) => Some(stock_list::place_of_listed(tx, source.as_str(), &last)?),
                (None, Some(last)) => Some(stock_list::place_of_known(tx, &last)?),
            };
            let last = match last {
                Some(None) => {
                    return Err(Error::invalid("cursor", "send `next_cursor` of the previous page"));
                }
                Some(last) => last,
                None => None,
            };
            let (last, limit) = (last.as_ref(), one_more(limit));
            Ok(match source {
                Some(source) => stock_list::listed_by(tx, source.as_str(), &filter, last, limit)?,
                None => stock_list::known(tx, &filter, last, limit)?,
            })
        });
        let page = Page::from_items(found.await?, limit, |stock| stock.listing.symbol.clone());
        let holds = self.corporate_actions.trading_holds().await?;
        let tradable = |stock: stock_list::ListedStock| {
            let hold = stock.id.and_then(|id| holds.get(&id));
            let restriction = TradingRestriction::for_stock(stock.delisted_on.is_some(), hold);
            TradableStock { listing: stock.listing, restriction }
        };
        Ok(Page { items: page.items.into_iter().map(tradable).collect(), next: page.next })
    }

    /// Adds the trading restrictions to stocks that were found.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn with_restrictions(&self, listings: Vec<Listing>) -> Result<Vec<TradableStock>> {
        let mut known: HashMap<Symbol, Arc<Stock>> = HashMap::with_capacity(listings.len());
        let mut unread: Vec<Symbol> = Vec::new();
        for Listing { symbol, .. } in &listings {
            match self.instruments.remembered(symbol) {
                Some(stock) => drop(known.insert(symbol.clone(), stock)),
                None => unread.push(symbol.clone()),
            }
        }
        if !unread.is_empty() {
            let start = self.instruments.start_read();
            let found =
                self.store.read(move |tx| persistence::stocks::by_symbols(tx, &unread).map_err(Error::from));
            for stock in found.await? {
                self.instruments.remember(&stock, start);
                known.insert(stock.listing.symbol.clone(), Arc::new(stock));
            }
        }
        let holds = self.corporate_actions.trading_holds().await?;
        let tradable = |listing: Listing| {
            let restriction = known.get(&listing.symbol).and_then(|stock| {
                TradingRestriction::for_stock(stock.delisted_on.is_some(), holds.get(&stock.id))
            });
            TradableStock { listing, restriction }
        };
        Ok(listings.into_iter().map(tradable).collect())
    }

    /// Returns the newest price of each symbol in the given order, or why there is none. Symbols may be former ones.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn latest_quotes(&self, user: UserId, symbols: &[Symbol]) -> Result<Vec<Result<LatestQuote>>> {
        let now = self.market.now();
        let wanted = symbols.to_vec();
        let known =
            self.store.read(move |tx| persistence::stocks::by_symbols(tx, &wanted).map_err(Error::from));
        let known: HashMap<Symbol, Stock> =
            known.await?.into_iter().map(|stock| (stock.listing.symbol.clone(), stock)).collect();
        let mut found: Vec<Result<Stock>> = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            found.push(match known.get(symbol) {
                Some(stock) => Ok(stock.clone()),
                None => self.instruments.stock_for(Some(user), symbol).await,
            });
        }
        let stocks: Vec<&Stock> = found.iter().filter_map(|found| found.as_ref().ok()).collect();
        let mut quotes = self.latest_quotes_of(QuoteReader::List(user), &stocks, now).await.into_iter();
        let no_price = |symbol: &Symbol| Error::NoPrice { symbol: symbol.clone(), retry_at: None };
        let quote_of = |found: Result<Stock>| {
            let stock = found?;
            quotes.next().unwrap_or_else(|| Err(no_price(&stock.listing.symbol)))
        };
        Ok(found.into_iter().map(quote_of).collect())
    }
}
