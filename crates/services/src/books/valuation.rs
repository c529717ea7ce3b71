//! What portfolios are worth now.

use std::collections::HashMap;
use std::sync::Arc;

use domain::composition::Composition;
use domain::performance::Explanation;
use domain::valuation::{BookFigure, Cash, Dividends, Priced};
use domain::{
    Freshness, JournalEntry, Money, PortfolioId, Position, Quantity, Quote, Stock, StockId, Timestamp,
    UserId, Valuation,
};
use persistence::holdings::{self, Holdings};
use persistence::{Tx, corporate_actions, portfolios, positions, transactions};

use crate::books::Books;
use crate::books::cache::{Rows, Version};
use crate::books::portfolios::PortfolioSummary;
use crate::error::{Error, NotFound, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuedPortfolio {
    pub portfolio: PortfolioSummary,
    pub valuation: Valuation,
    /// The market time for which prices were asked.
    pub valued_at: Timestamp,
}

/// What has to be read for one portfolio before prices are asked.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    portfolio: PortfolioSummary,
    positions: Vec<(Stock, Position, Quantity)>,
    /// The journal since an instant.
    since: Timestamp,
    today: Vec<JournalEntry>,
    /// Dividends with ex-dates since the previous close, owed or paid.
    dividends_today: Vec<(StockId, Money)>,
}

impl Rows for Arc<Loaded> {
    fn rows(&self) -> usize {
        self.positions.len() + self.today.len()
    }
}

impl Loaded {
    /// The version of the portfolio that was read.
    pub fn version(&self) -> i64 {
        self.portfolio.version
    }

    /// Whose prices count: what is held, and what was sold today.
    pub fn priced_stocks(&self) -> impl Iterator<Item = &Stock> {
        let held = self.positions.iter().filter(|(stock, position, _)| {
            !position.quantity.is_zero() || self.today.iter().any(|entry| entry.stock_id == Some(stock.id))
        });
        held.map(|(stock, ..)| stock)
    }

    /// # Errors
    /// [`Error::NoPrice`] for a stock without any.
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

    /// As [`Loaded::value`], but explains the day change.
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

    /// The last prices known to the database change without the portfolio.
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

/// Whether the portfolio may have dividends with ex-dates since `since`. Cheap, and true in doubt.
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
    /// # Errors
    /// [`Error::NotFound`], also for somebody else's.
    pub async fn valuation(&self, user: UserId, id: PortfolioId) -> Result<ValuedPortfolio> {
        self.corporate_actions.apply_splits_before_reading(&[id]).await?;
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        // A real source's prices may be those of the database, which are read with the rest.
        let version = match self.market.quotes.freshness() {
            Freshness::Simulated => self.versions.version_of(user, id).await,
            Freshness::Realtime | Freshness::Delayed | Freshness::EndOfDay => None,
        };
        if let Some(version) = version
            && let Some(kept) = self.kept_holdings.get(id, version).await
            && kept.since == since
            && let Ok(valued) = self.value(&kept, now).await
        {
            return Ok(valued);
        }
        let Some(loaded) = self.load_quickly(user, id, since).await? else {
            return Ok(self.valuation_with(user, id, |_, _| Ok(())).await?.0);
        };
        if let Some(version) = version {
            self.kept_holdings.insert(id, version, Arc::new(loaded.without_last_prices())).await;
        }
        self.value(&loaded, now).await
    }

    /// The valuation of that version of the portfolio. `None` if it has changed meanwhile.
    pub(super) async fn valuation_of_version(
        &self,
        user: UserId,
        id: PortfolioId,
        version: Version,
        now: Timestamp,
    ) -> Result<Option<ValuedPortfolio>> {
        let since = self.market.previous_close_at(now);
        // A real source's prices may be those of the database, which are read with the rest.
        let keeps = self.market.quotes.freshness() == Freshness::Simulated;
        if keeps
            && let Some(kept) = self.kept_holdings.get(id, version).await
            && kept.since == since
            && let Ok(valued) = self.value(&kept, now).await
        {
            return Ok(Some(valued));
        }
        let loaded = self.load_quickly(user, id, since).await?;
        let Some(loaded) = loaded.filter(|loaded| loaded.version() == version.number()) else {
            return Ok(None);
        };
        if keeps {
            self.kept_holdings.insert(id, version, Arc::new(loaded.without_last_prices())).await;
        }
        self.value(&loaded, now).await.map(Some)
    }

    /// What a valuation needs, to be valued again and again.
    ///
    /// # Errors
    /// As [`Books::valuation`].
    pub(crate) async fn loaded(&self, user: UserId, id: PortfolioId, since: Timestamp) -> Result<Loaded> {
        self.corporate_actions.apply_splits_before_reading(&[id]).await?;
        if let Some(loaded) = self.load_quickly(user, id, since).await? {
            return Ok(loaded);
        }
        self.store
            .read(move |tx| {
                let portfolio = crate::books::portfolios::owned(tx, id, user)?.into();
                load(tx, portfolio, since)
            })
            .await
    }

    /// What a valuation needs without a transaction: cash and positions by one statement. The journal of the day, if
    /// there is one, comes by another, up to the entry that the first one saw last: entries are never changed, so it
    /// is what the first one would have read. `None` when that entry is not found: the portfolio may be gone.
    async fn load_quickly(&self, user: UserId, id: PortfolioId, since: Timestamp) -> Result<Option<Loaded>> {
        let found = self
            .store
            .query(move |statement| holdings::of_portfolio(statement, id, user).map_err(Error::from))
            .await?;
        let Holdings { portfolio, newest_entry, positions } =
            found.ok_or(Error::NotFound(NotFound::Portfolio))?;
        let today = match newest_entry {
            // Whatever happens in a portfolio moves this time.
            _ if portfolio.updated_at < since => Vec::new(),
            None => return Ok(None),
            Some(newest) => {
                let today = self
                    .store
                    .query(move |statement| {
                        transactions::since_up_to(statement, id, since, newest).map_err(Error::from)
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

    /// With something else that is read of the same state of the books; it is given the moment of the valuation.
    pub(crate) async fn valuation_with<T: Send + 'static>(
        &self,
        user: UserId,
        id: PortfolioId,
        also: impl FnOnce(&mut Tx<'_>, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<(ValuedPortfolio, T)> {
        self.corporate_actions.apply_splits_before_reading(&[id]).await?;
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        let (loaded, other) = self
            .store
            .read(move |tx| {
                let portfolio = crate::books::portfolios::owned(tx, id, user)?.into();
                Ok::<_, Error>((load(tx, portfolio, since)?, also(tx, now)?))
            })
            .await?;
        Ok((self.value(&loaded, now).await?, other))
    }

    /// All portfolios of a user, in the order they were opened.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn valuations(&self, user: UserId) -> Result<Vec<ValuedPortfolio>> {
        Ok(self.valuations_with(user, |_, _, _| Ok(())).await?.0)
    }

    /// With something else that is read of the same state of the books; it is given the portfolios, in the order they
    /// were opened, and the moment of the valuation.
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

    /// # Errors
    /// As [`Books::valuation`].
    pub async fn composition(&self, user: UserId, id: PortfolioId) -> Result<Composition> {
        Ok(Composition::from_valuation(&self.valuation(user, id).await?.valuation))
    }

    pub(super) async fn explain_day_change(
        &self,
        user: UserId,
        id: PortfolioId,
    ) -> Result<Explanation<BookFigure>> {
        let now = self.market.now();
        let loaded = self.loaded(user, id, self.market.previous_close_at(now)).await?;
        let wanted: Vec<&Stock> = loaded.priced_stocks().collect();
        let quotes = self.stocks.valuation_quotes(&wanted, now).await?;
        let mut quotes = wanted.iter().zip(quotes).peekable();
        loaded.explain_day_change(|id| quotes.next_if(|(stock, _)| stock.id == id)?.1)
    }

    async fn value(&self, loaded: &Loaded, now: Timestamp) -> Result<ValuedPortfolio> {
        let wanted: Vec<&Stock> = loaded.priced_stocks().collect();
        let quotes = self.stocks.valuation_quotes(&wanted, now).await?;
        // They are asked for in the same order.
        let mut quotes = wanted.iter().zip(quotes).peekable();
        loaded.value(|id| quotes.next_if(|(stock, _)| stock.id == id)?.1, now)
    }
}

/// Every position was bought at a price that was kept, so there is always one; see [`Stocks::valuation_quotes`](crate::stocks::Stocks::valuation_quotes).
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
