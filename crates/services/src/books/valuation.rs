//! The current value of portfolios.

use std::collections::HashMap;
use std::sync::Arc;

use domain::composition::Composition;
use domain::performance::Explanation;
use domain::valuation::{BookFigure, Cash, Dividends, Priced};
use domain::{
    Freshness, JournalEntry, Listing, Money, PortfolioId, PortfolioRef, Position, Quantity, Quote, Stock,
    StockId, Timestamp, UserId, Valuation,
};
use persistence::holdings::{self, Holdings};
use persistence::{Tx, corporate_actions, portfolios, positions, transactions};

use crate::books::Books;
use crate::books::cache::{CachedValue, Version};
use crate::books::portfolios::PortfolioSummary;
use crate::error::{Error, NotFound, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuedPortfolio {
    pub portfolio: PortfolioSummary,
    pub valuation: Valuation,
    /// The market time of the requested prices.
    pub valued_at: Timestamp,
}

/// The data of one portfolio that is read before prices are requested.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    portfolio: PortfolioSummary,
    positions: Vec<(Stock, Position, Quantity)>,
    /// The start of the journal lines in `today`.
    since: Timestamp,
    today: Vec<JournalEntry>,
    /// Dividends with ex-dates since the previous close, owed or paid.
    dividends_today: Vec<(StockId, Money)>,
}

impl CachedValue for Arc<Loaded> {
    fn size(&self) -> usize {
        /// A stock's listing, which is not part of the position.
        const LISTING: usize = size_of::<Listing>() + 64;
        size_of::<Loaded>()
            + self.positions.len() * (size_of::<(Stock, Position, Quantity)>() + LISTING)
            + self.today.len() * size_of::<JournalEntry>()
            + self.dividends_today.len() * size_of::<(StockId, Money)>()
    }
}

impl Loaded {
    /// The version of the portfolio that was read.
    pub fn version(&self) -> i64 {
        self.portfolio.version
    }

    /// The stocks whose prices are needed: those held, and those traded today.
    pub fn priced_stocks(&self) -> impl Iterator<Item = &Stock> {
        let held = self.positions.iter().filter(|(stock, position, _)| {
            !position.quantity.is_zero() || self.today.iter().any(|entry| entry.stock_id == Some(stock.id))
        });
        held.map(|(stock, ..)| stock)
    }

    /// Values the portfolio at the given quotes.
    ///
    /// # Errors
    /// [`Error::NoPrice`] for a stock without any price.
    pub fn value(
        &self,
        mut quote_of: impl FnMut(StockId) -> Option<Quote>,
        valued_at: Timestamp,
    ) -> Result<ValuedPortfolio> {
        let Self { portfolio, positions, today, .. } = self;
        let mut failure = None;
        let priced = positions.iter().map_while(|(stock, position, reserved)| {
            priced(stock, position, reserved, quote_of(stock.id)).map_err(|error| failure = Some(error)).ok()
        });
        let valuation = Valuation::new(self.cash(), priced, today);
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(ValuedPortfolio { portfolio: portfolio.clone(), valuation, valued_at })
    }

    fn cash(&self) -> Cash {
        Cash {
            balance: self.portfolio.cash_balance.clone(),
            buying_power: self.portfolio.buying_power.clone(),
            dividends: Dividends {
                total: self.portfolio.dividends.clone(),
                receivable: self.portfolio.dividends_receivable.clone(),
                today: self.dividends_today.clone(),
            },
        }
    }

    /// Explains the day change of the value that [`Loaded::value`] computes.
    fn explain_day_change(
        &self,
        mut quote_of: impl FnMut(StockId) -> Option<Quote>,
    ) -> Result<Explanation<BookFigure>> {
        let priced = |(stock, position, reserved): &(Stock, Position, Quantity)| {
            priced(stock, position, reserved, quote_of(stock.id))
        };
        let priced: Vec<Priced> = self.positions.iter().map(priced).collect::<Result<_>>()?;
        Ok(Valuation::explain_day_change(self.cash(), priced, &self.today))
    }

    /// Returns the data without the last stored prices of stocks, which change without a new version of the portfolio.
    fn without_last_prices(&self) -> Self {
        let mut kept = self.clone();
        for (stock, _, _) in &mut kept.positions {
            stock.last = None;
        }
        kept
    }
}

fn load(tx: &mut Tx<'_>, portfolio: PortfolioSummary, since: Timestamp) -> Result<Loaded> {
    let positions = positions::of_portfolio(tx, portfolio.id)?;
    let today = transactions::since(tx, &[portfolio.id], since)?;
    let dividends_today = dividends_since(tx, &portfolio, since)?;
    Ok(Loaded { portfolio, positions, since, today, dividends_today })
}

/// Whether the portfolio may have dividends with ex-dates since `since`. A cheap check that may be true without
/// dividends.
fn may_have_dividends(portfolio: &PortfolioSummary, since: Timestamp) -> bool {
    let may_have_been_paid = !portfolio.dividends.is_zero() && portfolio.updated_at >= since;
    may_have_been_paid || !portfolio.dividends_receivable.is_zero()
}

/// Reads the dividends with ex-dates since `since`, owed or paid.
fn dividends_since(
    tx: &mut Tx<'_>,
    portfolio: &PortfolioSummary,
    since: Timestamp,
) -> Result<Vec<(StockId, Money)>> {
    if !may_have_dividends(portfolio, since) {
        return Ok(Vec::new());
    }
    let owed = corporate_actions::owed_since(tx, &[portfolio.id], since)?;
    Ok(owed.into_iter().filter(|owed| owed.since >= since).map(|owed| (owed.stock_id, owed.amount)).collect())
}

impl Books {
    /// Values a portfolio at the newest prices.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub async fn valuation(&self, portfolio: PortfolioRef) -> Result<ValuedPortfolio> {
        self.corporate_actions.apply_splits_before_reading(&[portfolio.id]).await?;
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        // For a real source, prices may come from the database, where they are read together with the portfolio.
        let version = match self.market.quotes.freshness() {
            Freshness::Simulated => self.versions.version_of(portfolio).await,
            Freshness::Realtime | Freshness::Delayed | Freshness::EndOfDay => None,
        };
        if let Some(version) = version
            && let Some(kept) = self.kept_holdings.get(portfolio.id, version).await
            && kept.since == since
            && let Ok(valued) = self.value(&kept, now).await
        {
            return Ok(valued);
        }
        let Some(loaded) = self.load_quickly(portfolio, since).await? else {
            return Ok(self.valuation_with(portfolio, |_, _| Ok(())).await?.0);
        };
        if let Some(version) = version {
            self.kept_holdings.insert(portfolio.id, version, Arc::new(loaded.without_last_prices())).await;
        }
        self.value(&loaded, now).await
    }

    /// Returns the current value of this version of the portfolio. `None` if the portfolio has changed since.
    pub(super) async fn valuation_of_version(
        &self,
        portfolio: PortfolioRef,
        version: Version,
        now: Timestamp,
    ) -> Result<Option<ValuedPortfolio>> {
        let since = self.market.previous_close_at(now);
        // For a real source, prices may come from the database, where they are read together with the portfolio.
        let keeps = self.market.quotes.freshness() == Freshness::Simulated;
        if keeps
            && let Some(kept) = self.kept_holdings.get(portfolio.id, version).await
            && kept.since == since
            && let Ok(valued) = self.value(&kept, now).await
        {
            return Ok(Some(valued));
        }
        let loaded = self.load_quickly(portfolio, since).await?;
        let Some(loaded) = loaded.filter(|loaded| loaded.version() == version.number()) else {
            return Ok(None);
        };
        if keeps {
            self.kept_holdings.insert(portfolio.id, version, Arc::new(loaded.without_last_prices())).await;
        }
        self.value(&loaded, now).await.map(Some)
    }

    /// Returns the data of a valuation, so that the portfolio can be valued repeatedly.
    ///
    /// # Errors
    /// The same as [`Books::valuation`].
    pub(crate) async fn loaded(&self, portfolio: PortfolioRef, since: Timestamp) -> Result<Loaded> {
        self.corporate_actions.apply_splits_before_reading(&[portfolio.id]).await?;
        if let Some(loaded) = self.load_quickly(portfolio, since).await? {
            return Ok(loaded);
        }
        self.store
            .read(move |tx| {
                let portfolio = crate::books::portfolios::owned(tx, portfolio)?.into();
                load(tx, portfolio, since)
            })
            .await
    }

    /// Reads the data of a valuation without a transaction: one statement reads cash and positions. If there are
    /// journal lines of the day, a second statement reads them up to the last line that the first one saw. Lines are
    /// never changed, so the result is the same as at the time of the first statement. `None` when that last line is
    /// not found: the portfolio may have been deleted.
    async fn load_quickly(&self, portfolio: PortfolioRef, since: Timestamp) -> Result<Option<Loaded>> {
        let found = self
            .store
            .query(move |statement| {
                holdings::of_portfolio(statement, portfolio.id, portfolio.user).map_err(Error::from)
            })
            .await?;
        let Holdings { portfolio, newest_entry, positions } =
            found.ok_or(Error::NotFound(NotFound::Portfolio))?;
        let today = match newest_entry {
            // Every change in a portfolio updates `updated_at`.
            _ if portfolio.updated_at < since => Vec::new(),
            None => return Ok(None),
            Some(newest) => {
                let today = self
                    .store
                    .query(move |statement| {
                        transactions::since_up_to(statement, portfolio.id, since, newest).map_err(Error::from)
                    })
                    .await?;
                if today.last().and_then(|entry| entry.id) != Some(newest) {
                    return Ok(None);
                }
                today
            }
        };
        let portfolio: PortfolioSummary = portfolio.into();
        let dividends_today = match may_have_dividends(&portfolio, since) {
            false => Vec::new(),
            true => {
                let portfolio = portfolio.clone();
                self.store.read(move |tx| dividends_since(tx, &portfolio, since)).await?
            }
        };
        Ok(Some(Loaded { portfolio, positions, since, today, dividends_today }))
    }

    /// Returns the valuation together with other data that `read` reads from the same state of the books; `read` gets
    /// the time of the valuation.
    pub(crate) async fn valuation_with<T: Send + 'static>(
        &self,
        portfolio: PortfolioRef,
        also: impl FnOnce(&mut Tx<'_>, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<(ValuedPortfolio, T)> {
        self.corporate_actions.apply_splits_before_reading(&[portfolio.id]).await?;
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        let (loaded, other) = self
            .store
            .read(move |tx| {
                let portfolio = crate::books::portfolios::owned(tx, portfolio)?.into();
                Ok::<_, Error>((load(tx, portfolio, since)?, also(tx, now)?))
            })
            .await?;
        Ok((self.value(&loaded, now).await?, other))
    }

    /// Returns all portfolios of a user with their values, in the order they were opened.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn valuations(&self, user: UserId) -> Result<Vec<ValuedPortfolio>> {
        Ok(self.valuations_with(user, |_, _, _| Ok(())).await?.0)
    }

    /// Returns the valuations together with other data that `read` reads from the same state of the books; `read` gets
    /// the portfolios, in the order they were opened, and the time of the valuation.
    pub(crate) async fn valuations_with<T: Send + 'static>(
        &self,
        user: UserId,
        also: impl FnOnce(&mut Tx<'_>, &[PortfolioId], Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<(Vec<ValuedPortfolio>, T)> {
        if !self.corporate_actions.splits_in_effect().await?.is_empty() {
            let of_user =
                self.store.read(move |tx| portfolios::of_user(tx, user).map_err(Error::from)).await?;
            let ids: Vec<PortfolioId> = of_user.iter().map(|row| row.id).collect();
            self.corporate_actions.apply_splits_before_reading(&ids).await?;
        }
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        let (loaded, other) = self
            .store
            .read(move |tx| {
                let rows = portfolios::of_user(tx, user)?;
                let ids: Vec<PortfolioId> = rows.iter().map(|row| row.id).collect();
                let loaded: Vec<Loaded> =
                    rows.into_iter().map(|row| load(tx, row.into(), since)).collect::<Result<_>>()?;
                Ok::<_, Error>((loaded, also(tx, &ids, now)?))
            })
            .await?;
        let mut wanted: Vec<&Stock> = loaded.iter().flat_map(Loaded::priced_stocks).collect();
        wanted.sort_by_key(|stock| stock.id);
        wanted.dedup_by_key(|stock| stock.id);
        let quotes = self.stocks.valuation_quotes(&wanted, now).await?;
        let quotes: HashMap<StockId, Quote> =
            wanted.iter().zip(quotes).filter_map(|(stock, quote)| Some((stock.id, quote?))).collect();
        let valued = loaded.iter().map(|loaded| loaded.value(|id| quotes.get(&id).cloned(), now));
        Ok((valued.collect::<Result<_>>()?, other))
    }

    /// Returns the composition of a portfolio by stock and sector.
    ///
    /// # Errors
    /// The same as [`Books::valuation`].
    pub async fn composition(&self, portfolio: PortfolioRef) -> Result<Composition> {
        Ok(Composition::from_valuation(&self.valuation(portfolio).await?.valuation))
    }

    pub(super) async fn explain_day_change(
        &self,
        portfolio: PortfolioRef,
    ) -> Result<Explanation<BookFigure>> {
        let now = self.market.now();
        let loaded = self.loaded(portfolio, self.market.previous_close_at(now)).await?;
        let wanted: Vec<&Stock> = loaded.priced_stocks().collect();
        let quotes = self.stocks.valuation_quotes(&wanted, now).await?;
        let mut quotes = wanted.iter().zip(quotes).peekable();
        loaded.explain_day_change(|id| quotes.next_if(|(stock, _)| stock.id == id)?.1)
    }

    async fn value(&self, loaded: &Loaded, now: Timestamp) -> Result<ValuedPortfolio> {
        let wanted: Vec<&Stock> = loaded.priced_stocks().collect();
        let quotes = self.stocks.valuation_quotes(&wanted, now).await?;
        // The quotes are in the order of the requested stocks.
        let mut quotes = wanted.iter().zip(quotes).peekable();
        loaded.value(|id| quotes.next_if(|(stock, _)| stock.id == id)?.1, now)
    }
}

/// Combines a position with its quote. Every position was bought at a price that was stored, so there is always one;
/// see [`Stocks::valuation_quotes`](crate::stocks::Stocks::valuation_quotes).
fn priced(stock: &Stock, position: &Position, reserved: &Quantity, quote: Option<Quote>) -> Result<Priced> {
    let no_price = || Error::NoPrice { symbol: stock.listing.symbol.clone(), retry_at: None };
    if quote.is_none() && !position.quantity.is_zero() {
        return Err(no_price());
    }
    Ok(Priced {
        stock_id: stock.id,
        listing: stock.listing.clone(),
        position: position.clone(),
        reserved: reserved.clone(),
        quote,
    })
}
