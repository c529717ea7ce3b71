//! Stocks: finding them, their profile, price and history.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{Days, Months, NaiveDate};
use domain::calendar::exchange_date;
use domain::corporate_action::split_adjusted;
use domain::{
    Bar, CorporateAction, CorporateActionKind, Freshness, Listing, PriceSource, Quote, Stock, StockId,
    Symbol, Timestamp,
};
use market_data::{Catalogue, QuoteError};
use persistence::{Tx, stocks};

use crate::Services;
use crate::error::{Error, Result};

/// How far back a history goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    Week,
    Month,
    ThreeMonths,
    YearToDate,
    Year,
    FiveYears,
    /// All that the source gives; the simulated market as much as 20 years.
    All,
}

impl HistoryRange {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Week, "1W"),
        (Self::Month, "1M"),
        (Self::ThreeMonths, "3M"),
        (Self::YearToDate, "YTD"),
        (Self::Year, "1Y"),
        (Self::FiveYears, "5Y"),
        (Self::All, "ALL"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(range, _)| *range == self).map_or("1M", |(_, name)| name)
    }

    /// Reads `1W 1M 3M YTD 1Y 5Y ALL` in either case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(range, _)| range)
    }

    /// The first day of the range that ends on `today`; `None` for all there is.
    pub fn first_day(self, today: NaiveDate) -> Option<NaiveDate> {
        use chrono::Datelike;
        let months = |n| today.checked_sub_months(Months::new(n));
        match self {
            Self::Week => today.checked_sub_days(Days::new(7)),
            Self::Month => months(1),
            Self::ThreeMonths => months(3),
            Self::YearToDate => NaiveDate::from_ymd_opt(today.year(), 1, 1),
            Self::Year => months(12),
            Self::FiveYears => months(60),
            Self::All => None,
        }
    }
}

/// What the whole history of an instrument means where the source has decades of it.
const ALL_YEARS: Months = Months::new(20 * 12);

/// Stocks by symbol, without their last prices: what does not change once it is in the database.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<RwLock<HashMap<Symbol, (StockId, Listing)>>>);

impl Known {
    fn get(&self, symbol: &Symbol) -> Option<Stock> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (id, listing) = known.get(symbol)?;
        Some(Stock { id: *id, listing: listing.clone(), last: None, delisted_on: None })
    }

    fn forget(&self, symbol: &Symbol) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(symbol);
    }

    fn insert(&self, stock: &Stock) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(stock.listing.symbol.clone(), (stock.id, stock.listing.clone()));
    }
}

impl Services {
    /// Makes the instruments of a source that lists them all known to the database. Safe to repeat.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn import_catalogue(&self) -> Result<()> {
        let Catalogue::Complete(mut listings) = self.market.quotes.catalogue(self.market.now()) else {
            return Ok(());
        };
        let renamed = self.renamed(&listings).await?;
        // Rows of several stocks are always written in the order of their symbols: nobody waits in a circle.
        listings.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        self.store
            .write(move |tx| {
                for (stock, action, listing) in &renamed {
                    crate::corporate_actions::rename(tx, *stock, action, Some(listing))?;
                }
                let symbols: Vec<Symbol> = listings.iter().map(|listing| listing.symbol.clone()).collect();
                let known = stocks::by_symbols(tx, &symbols)?;
                for listing in
                    listings.iter().filter(|listing| known.iter().all(|stock| stock.listing != **listing))
                {
                    stocks::upsert(tx, listing)?;
                }
                Ok(())
            })
            .await
    }

    /// Of symbols that the database does not have: stocks that it knows by another one, with how that came.
    async fn renamed(&self, listings: &[Listing]) -> Result<Vec<(StockId, CorporateAction, Listing)>> {
        let now = self.market.now();
        let known = self.store.read(|tx| stocks::all(tx).map_err(Error::from)).await?;
        let id_of = |symbol: &Symbol| {
            known.iter().find(|stock| stock.listing.symbol == *symbol).map(|stock| stock.id)
        };
        let mut renamed = Vec::new();
        if known.is_empty() {
            return Ok(renamed);
        }
        for listing in listings.iter().filter(|listing| id_of(&listing.symbol).is_none()) {
            let first = crate::performance::EARLIEST;
            let actions = self
                .market
                .quotes
                .corporate_actions(&listing.symbol, first, exchange_date(now), now)
                .await
                .unwrap_or_default();
            renamed.extend(actions.into_iter().filter_map(|action| match &action.kind {
                CorporateActionKind::SymbolChange { to } if *to == listing.symbol => {
                    Some((id_of(&action.symbol)?, action, listing.clone()))
                }
                _ => None,
            }));
        }
        Ok(renamed)
    }

    /// Instruments whose symbol or name matches, best match first.
    ///
    /// # Errors
    /// [`Error::SourceUnavailable`] when the source has to be asked and does not answer.
    pub async fn search_stocks(&self, query: &str, limit: usize) -> Result<Vec<Listing>> {
        let query = query.trim();
        if query.is_empty() {
            return Ok(Vec::new());
        }
        self.market.quotes.search(query, limit, self.market.now()).await.map_err(Error::from_search)
    }

    /// The instrument of that symbol; asks the source the first time.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`], [`Error::NotTradable`], [`Error::NoPrice`] when the source cannot be asked.
    pub async fn stock(&self, symbol: &Symbol) -> Result<Stock> {
        let wanted = symbol.clone();
        if let Some(stock) =
            self.store.read(move |tx| stocks::by_symbol(tx, &wanted).map_err(Error::from)).await?
        {
            return Ok(stock);
        }
        let listing = self.market.quotes.listing(symbol, self.market.now()).await;
        let listing = listing.map_err(|error| Error::from_quote(symbol, error))?;
        self.store
            .write(move |tx| {
                let id = stocks::upsert(tx, &listing)?;
                Ok(Stock { id, listing, last: None, delisted_on: None })
            })
            .await
    }

    /// As [`Services::stock`], from memory where it is there: without the last price.
    pub(crate) async fn known_stock(&self, symbol: &Symbol) -> Result<Stock> {
        if let Some(stock) = self.known_stocks.get(symbol) {
            return Ok(stock);
        }
        let stock = self.stock(symbol).await?;
        self.known_stocks.insert(&stock);
        Ok(stock)
    }

    /// What a stock is called now that may be asked for by a symbol it had before.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn symbol_now(&self, symbol: &Symbol) -> Result<Symbol> {
        let asked = symbol.clone();
        let found = self.store.read(move |tx| symbol_now(tx, Some(asked))).await?;
        Ok(found.unwrap_or_else(|| symbol.clone()))
    }

    /// What was kept in memory of a symbol is read anew: its stock has got another one, or is traded no more.
    pub(crate) async fn known_anew(&self, symbol: &Symbol) -> Result<Stock> {
        self.known_stocks.forget(symbol);
        self.stock(symbol).await
    }

    /// The newest price of a symbol. When the source fails, the last known one, marked stale.
    ///
    /// # Errors
    /// As [`Services::stock`], and [`Error::NoPrice`] when there has never been a price.
    pub async fn quote(&self, symbol: &Symbol) -> Result<Quote> {
        let stock = self.stock(symbol).await?;
        let found = self.quotes_of(std::slice::from_ref(&stock), self.market.now()).await.remove(&stock.id);
        found.unwrap_or_else(|| Err(Error::NoPrice { symbol: symbol.clone(), retry_at: None }))
    }

    /// The newest prices of many stocks at market time `at`; of those the source fails for, the last known
    /// ones, marked stale.
    pub(crate) async fn quotes_of(
        &self,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
    ) -> HashMap<StockId, Result<Quote>> {
        if stocks.is_empty() {
            return HashMap::new();
        }
        let stocks = stocks.iter().map(Borrow::borrow);
        let symbols: Vec<Symbol> = stocks.clone().map(|stock| stock.listing.symbol.clone()).collect();
        let mut found = self.market.quotes.quotes(&symbols, at).await;
        let mut quotes = stocks
            .map(|stock: &Stock| {
                let symbol = &stock.listing.symbol;
                let quote = match found.remove(symbol).unwrap_or(Err(QuoteError::Unreachable)) {
                    Ok(quote) => Ok(quote),
                    Err(error) => match last_known(stock) {
                        Some(quote) => {
                            tracing::debug!(%symbol, %error, "serving the last known price");
                            Ok(quote)
                        }
                        None => Err(Error::from_quote(symbol, error)),
                    },
                };
                (stock.id, quote)
            })
            .collect();
        self.in_new_shares(&mut quotes, at).await;
        quotes
    }

    /// Daily bars of finished sessions, oldest first, told in the shares there are now: a split is no fall.
    ///
    /// # Errors
    /// As [`Services::stock`]; [`Error::NoPrice`] when the source fails and no bar is stored.
    pub async fn history(&self, symbol: &Symbol, range: HistoryRange) -> Result<Vec<Bar>> {
        let stock = self.stock(symbol).await?;
        let now = self.market.now();
        let today = exchange_date(now);
        let first =
            range.first_day(today).unwrap_or_else(|| today.checked_sub_months(ALL_YEARS).unwrap_or(today));
        let bars = self.bars(&stock, first, today, now).await?;
        let actions = self.actions_of(&stock, now).await?;
        Ok(split_adjusted(bars, &actions, today))
    }

    /// From the source; where that fails, what is stored.
    pub(crate) async fn bars(
        &self,
        stock: &Stock,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>> {
        let symbol = &stock.listing.symbol;
        match self.market.quotes.daily_bars(symbol, first, last, at).await {
            Ok(bars) => Ok(bars),
            Err(error) => {
                let id = stock.id;
                let stored =
                    self.store.read(move |tx| stocks::bars(tx, id, first, last).map_err(Error::from)).await?;
                if stored.is_empty() { Err(Error::from_quote(symbol, error)) } else { Ok(stored) }
            }
        }
    }

    /// The newest prices for everything somebody holds or watches, kept for when the source is silent.
    /// An end-of-day source is asked for at most `limit` of them, longest not updated first.
    pub(crate) async fn refresh_quotes(&self, limit: usize) -> Result<String> {
        let now = self.market.now();
        let mut stocks = self.store.read(|tx| stocks::in_use(tx).map_err(Error::from)).await?;
        let in_use = stocks.len();
        stocks.sort_by_key(|stock| stock.last.as_ref().map(|last| last.as_of));
        stocks.truncate(limit);
        stocks.sort_by(|a, b| a.listing.symbol.cmp(&b.listing.symbol));
        let symbols: Vec<Symbol> = stocks.iter().map(|stock| stock.listing.symbol.clone()).collect();
        let mut found = self.market.quotes.quotes(&symbols, now).await;
        let quotes: Vec<(StockId, Quote)> = stocks
            .iter()
            .filter_map(|stock| Some((stock.id, found.remove(&stock.listing.symbol)?.ok()?)))
            .collect();
        let refreshed = quotes.len();
        self.store
            .write(move |tx| {
                for (id, quote) in &quotes {
                    stocks::save_last_price(tx, *id, quote)?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        Ok(format!("{refreshed} of {in_use} stocks refreshed"))
    }

    /// How close to the market this deployment's prices are at best.
    pub fn freshness(&self) -> Freshness {
        self.market.quotes.freshness()
    }
}

/// The price kept in the database as a quote, marked stale.
pub(crate) fn last_known(stock: &Stock) -> Option<Quote> {
    let last = stock.last.clone()?;
    Some(Quote {
        symbol: stock.listing.symbol.clone(),
        price: last.price,
        bid: None,
        ask: None,
        previous_close: last.previous_close,
        volume: None,
        as_of: last.as_of,
        source: PriceSource(last.source),
        freshness: last.freshness,
        stale: true,
    })
}

/// What a stock is called now that may be asked for by the symbol it had before. One that nobody has stays as it is.
pub(crate) fn symbol_now(tx: &mut Tx<'_>, symbol: Option<Symbol>) -> Result<Option<Symbol>> {
    let Some(symbol) = symbol else { return Ok(None) };
    let found = stocks::by_symbol(tx, &symbol)?;
    Ok(Some(found.map_or(symbol, |stock| stock.listing.symbol)))
}
