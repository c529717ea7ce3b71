//! What portfolios are worth now.

use std::collections::HashMap;

use domain::composition::Composition;
use domain::valuation::{Cash, Dividends, Priced};
use domain::{
    JournalEntry, Money, PortfolioId, Position, Quantity, Quote, Stock, StockId, Timestamp, UserId, Valuation,
};
use persistence::holdings::{self, Holdings};
use persistence::{Tx, corporate_actions, portfolios, positions, transactions};

use crate::Services;
use crate::error::{Error, Result};
use crate::portfolios::PortfolioSummary;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuedPortfolio {
    pub portfolio: PortfolioSummary,
    pub valuation: Valuation,
    /// The market time for which prices were asked.
    pub valued_at: Timestamp,
}

/// What has to be read for one portfolio before prices are asked.
struct Loaded {
    portfolio: PortfolioSummary,
    positions: Vec<(Stock, Position, Quantity)>,
    today: Vec<JournalEntry>,
    /// What is owed for stocks that have begun to trade without their dividend since the previous close.
    dividends_today: Vec<(StockId, Money)>,
}

fn load(tx: &mut Tx<'_>, portfolio: PortfolioSummary, since: Timestamp) -> Result<Loaded> {
    let positions = positions::of_portfolio(tx, portfolio.id)?;
    let today = transactions::since(tx, &[portfolio.id], since)?;
    let dividends_today = dividends_since(tx, &portfolio, since)?;
    Ok(Loaded { portfolio, positions, today, dividends_today })
}

/// Of what is owed. A dividend is paid weeks later, so that of a day is.
fn dividends_since(
    tx: &mut Tx<'_>,
    portfolio: &PortfolioSummary,
    since: Timestamp,
) -> Result<Vec<(StockId, Money)>> {
    if portfolio.dividends_receivable.is_zero() {
        return Ok(Vec::new());
    }
    let owed = corporate_actions::owed_since(tx, &[portfolio.id], since)?;
    Ok(owed.into_iter().filter(|owed| owed.since >= since).map(|owed| (owed.stock_id, owed.amount)).collect())
}

impl Services {
    /// # Errors
    /// [`Error::NotFound`], also for somebody else's.
    pub async fn valuation(&self, user: UserId, id: PortfolioId) -> Result<ValuedPortfolio> {
        let now = self.market.now();
        match self.load_quickly(user, id, self.market.previous_close_at(now)).await? {
            Some(loaded) => self.value_one(loaded, now).await,
            None => Ok(self.valuation_with(user, id, |_| Ok(())).await?.0),
        }
    }

    /// What a valuation needs without a transaction: cash and positions by one statement. The journal of the day, if
    /// there is one, comes by another, up to the entry that the first one saw last: entries are never changed, so it
    /// is what the first one would have read. `None` when that entry is not found: the portfolio may be gone.
    async fn load_quickly(&self, user: UserId, id: PortfolioId, since: Timestamp) -> Result<Option<Loaded>> {
        let found = self
            .store
            .query(move |statement| holdings::of_portfolio(statement, id, user).map_err(Error::from))
            .await?;
        let Holdings { portfolio, newest_entry, positions } = found.ok_or(Error::NotFound("portfolio"))?;
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
        let dividends_today = match portfolio.dividends_receivable.is_zero() {
            true => Vec::new(),
            false => {
                let portfolio = portfolio.clone();
                self.store.read(move |tx| dividends_since(tx, &portfolio, since)).await?
            }
        };
        Ok(Some(Loaded { portfolio, positions, today, dividends_today }))
    }

    /// With something else that is read of the same state of the books.
    pub(crate) async fn valuation_with<T: Send + 'static>(
        &self,
        user: UserId,
        id: PortfolioId,
        also: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(ValuedPortfolio, T)> {
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        let (loaded, other) = self
            .store
            .read(move |tx| {
                let portfolio = crate::portfolios::owned(tx, id, user)?.into();
                Ok::<_, Error>((load(tx, portfolio, since)?, also(tx)?))
            })
            .await?;
        Ok((self.value_one(loaded, now).await?, other))
    }

    /// All portfolios of a user, in the order they were opened.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn valuations(&self, user: UserId) -> Result<Vec<ValuedPortfolio>> {
        let now = self.market.now();
        let since = self.market.previous_close_at(now);
        let loaded = self
            .store
            .read(move |tx| {
                let rows = portfolios::of_user(tx, user)?;
                rows.into_iter().map(|row| load(tx, row.into(), since)).collect::<Result<Vec<_>>>()
            })
            .await?;
        self.value(loaded, now).await
    }

    /// # Errors
    /// As [`Services::valuation`].
    pub async fn composition(&self, user: UserId, id: PortfolioId) -> Result<Composition> {
        Ok(Composition::of(&self.valuation(user, id).await?.valuation))
    }

    async fn value_one(&self, loaded: Loaded, now: Timestamp) -> Result<ValuedPortfolio> {
        self.value(vec![loaded], now).await?.pop().ok_or(Error::NotFound("portfolio"))
    }

    async fn value(&self, loaded: Vec<Loaded>, now: Timestamp) -> Result<Vec<ValuedPortfolio>> {
        // Prices of what is held, and of what was sold today and still counts for the day.
        let mut wanted: HashMap<StockId, Stock> = HashMap::new();
        for Loaded { positions, today, .. } in &loaded {
            for (stock, position, _) in positions {
                if !position.quantity.is_zero() || today.iter().any(|entry| entry.stock_id == Some(stock.id))
                {
                    wanted.entry(stock.id).or_insert_with(|| stock.clone());
                }
            }
        }
        let wanted: Vec<Stock> = wanted.into_values().collect();
        let quotes = self.quotes_of(&wanted, now).await;
        loaded
            .into_iter()
            .map(|Loaded { portfolio, positions, today, dividends_today }| {
                let priced: Result<Vec<Priced>> =
                    positions.into_iter().map(|position| priced(position, &quotes)).collect();
                let cash = Cash {
                    balance: portfolio.cash_balance.clone(),
                    buying_power: portfolio.buying_power.clone(),
                    dividends: Dividends {
                        total: portfolio.dividends.clone(),
                        receivable: portfolio.dividends_receivable.clone(),
                        today: dividends_today,
                    },
                };
                let valuation = Valuation::new(cash, priced?, &today);
                Ok(ValuedPortfolio { portfolio, valuation, valued_at: now })
            })
            .collect()
    }
}

/// Every position was bought at a price that was kept, so there is always one: the quote, or that.
fn priced(
    (stock, position, reserved): (Stock, Position, Quantity),
    quotes: &HashMap<StockId, Result<Quote>>,
) -> Result<Priced> {
    let quote = match quotes.get(&stock.id) {
        Some(Ok(quote)) => quote.clone(),
        _ => crate::stocks::last_known(&stock)
            .ok_or_else(|| Error::NoPrice { symbol: stock.listing.symbol.clone(), retry_at: None })?,
    };
    Ok(Priced { stock_id: stock.id, listing: stock.listing, position, reserved, quote })
}
