//! The newest price of a stock, and why there is no newer one.

use std::borrow::Borrow;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::plausibility::UnconfirmedPrice;
use domain::{
    AsTraded, Freshness, PUBLICATION, Quote, Session, SplitHistory, Stock, Symbol, Timestamp, TradingHold,
    UserId,
};
use market_data::{Pot, Purpose, QuoteError};
use persistence::{StoreError, corporate_actions as actions, stocks};

use super::Stocks;
use crate::corporate_actions::splits::{is_contradicted, price_before_split};
use crate::error::{Error, Result};
use crate::market::instruments::last_known;

/// The number of calls per day reserved for jobs besides one per close: for the news of two stocks and for a table of
/// listings.
const KEPT_FOR_JOBS: u32 = 3;

/// Returns the same error for each of the requested stocks.
fn same_error_for_all<T>(error: Error, stocks: usize) -> Vec<Result<T>> {
    let cause = Arc::new(error);
    let failure = || Err(StoreError::Unavailable(Box::new(Arc::clone(&cause))).into());
    std::iter::repeat_with(failure).take(stocks).collect()
}

/// A price and, if it is stale, why there is no newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestQuote {
    pub quote: Quote,
    pub why_stale: Option<StaleReason>,
}

/// Why there is no newer price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaleReason {
    #[error("the price source has not published a newer price yet")]
    NotPublished,
    /// The source failed, or may not be called now.
    #[error("{}", known_stock_error_text(.0))]
    Source(QuoteError),
    /// Trading is halted: it is unknown which shares newer prices are in.
    #[error("{0}")]
    Halted(TradingHold),
    #[error("it was delisted on {0}: there are no newer prices")]
    Delisted(NaiveDate),
}

/// The explanation of a source's answer for a stock that had a price. The answer may be a temporary fault.
fn known_stock_error_text(error: &QuoteError) -> String {
    match error {
        QuoteError::UnknownSymbol(symbol) => {
            format!("the price source does not know {symbol} at the moment; Stockyard will try again")
        }
        QuoteError::NotTradable { symbol, reason } => {
            format!(
                "according to the price source, {symbol} is not tradable ({reason}); Stockyard will try again"
            )
        }
        other => other.to_string(),
    }
}

impl StaleReason {
    /// The newer price that is not confirmed yet, if that is the reason.
    pub fn unconfirmed(&self) -> Option<&UnconfirmedPrice> {
        match self {
            Self::Source(QuoteError::Unconfirmed(waiting)) => Some(waiting),
            Self::Source(_) | Self::NotPublished | Self::Halted(_) | Self::Delisted(_) => None,
        }
    }

    /// By how much the source's clock is ahead of this server's, if that is the reason.
    pub(crate) fn clock_behind(&self) -> Option<TimeDelta> {
        match self {
            Self::Source(QuoteError::ClockAhead { by }) => Some(*by),
            Self::Source(_) | Self::NotPublished | Self::Halted(_) | Self::Delisted(_) => None,
        }
    }
}

/// The reader of a price. For a source with few calls, the reader decides whether the source is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuoteReader {
    /// A user, or an unknown one, who waits for the newest price. The source is called if the stock has no price or a
    /// late one.
    Waiting(Option<UserId>),
    /// A user's list. The source is called a few times per day, for stocks without a price.
    List(UserId),
    /// A valuation or a job. The source is not called: every stock gets its turn in the refresh.
    Job,
}

/// A [`LatestQuote`] before its price is converted to current shares.
pub(super) struct LatestAsTraded {
    pub(super) quote: AsTraded<Quote>,
    pub(super) why_stale: Option<StaleReason>,
}

impl LatestAsTraded {
    /// A stored price, when the source is not called for a newer one.
    fn late(quote: AsTraded<Quote>) -> Self {
        let why_stale = quote.as_traded().stale.then_some(StaleReason::NotPublished);
        Self { quote, why_stale }
    }
}

/// The price, if there is one.
pub(crate) fn quote_of(latest: Result<LatestQuote>) -> Option<Quote> {
    latest.ok().map(|latest| latest.quote)
}

pub(super) fn no_price(symbol: &Symbol) -> Error {
    Error::NoPrice { symbol: symbol.clone(), retry_at: None }
}

impl Stocks {
    /// Returns the newest price as [`Stocks::quote_for`] does, without a user.
    ///
    /// # Errors
    /// The same as [`Stocks::quote_for`].
    pub async fn quote(&self, symbol: &Symbol) -> Result<Quote> {
        Ok(self.quote_for(None, symbol).await?.quote)
    }

    /// Returns the newest price of a symbol. If the source fails, returns the last known price, marked as stale, with
    /// the reason.
    ///
    /// # Errors
    /// The errors of [`Instruments::stock_for`](crate::market::instruments::Instruments::stock_for), and
    /// [`Error::NoPrice`] if there has never been a price.
    pub async fn quote_for(&self, user: Option<UserId>, symbol: &Symbol) -> Result<LatestQuote> {
        if let Some(latest) = self.quote_from_memory(user, symbol).await? {
            return Ok(latest);
        }
        let start = self.instruments.start_read();
        let (stock, latest) = self.priced_stock(user, symbol).await?;
        if stock.listing.symbol == *symbol {
            self.instruments.remember(&stock, start);
        }
        Ok(latest)
    }

    /// Returns the stock of a symbol and its newest price, both of the same company: during the call to the source, or
    /// because of its answer, the symbol may pass to another company.
    ///
    /// # Errors
    /// The same as [`Stocks::quote_for`].
    pub(crate) async fn priced_stock(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
    ) -> Result<(Stock, LatestQuote)> {
        let mut stock = self.instruments.stock_for(user, symbol).await?;
        let mut latest = self.latest_quote(user, &stock).await;
        if self.market.quotes.limits().is_some() {
            let is_denied = match &latest {
                Err(error) => matches!(error, Error::NotTradable { .. }),
                Ok(LatestQuote { why_stale: Some(StaleReason::Source(error)), .. }) => {
                    matches!(error, QuoteError::NotTradable { .. })
                }
                Ok(_) => false,
            };
            self.corporate_actions.review_asked_company(&stock, is_denied).await?;
            let wanted = stock.listing.symbol.clone();
            let holder =
                self.store.read(move |tx| stocks::with_symbol(tx, &wanted).map_err(Error::from)).await?;
            match holder.filter(|holder| holder.id == stock.id) {
                Some(same) => stock = same,
                None => {
                    stock = self.instruments.stock_for(user, symbol).await?;
                    latest = self.latest_quote(user, &stock).await;
                }
            }
        }
        Ok((stock, latest?))
    }

    async fn latest_quote(&self, user: Option<UserId>, stock: &Stock) -> Result<LatestQuote> {
        let now = self.market.now();
        let mut found =
            self.latest_quotes_of(QuoteReader::Waiting(user), std::slice::from_ref(stock), now).await;
        let mut latest = found.pop().unwrap_or_else(|| Err(no_price(&stock.listing.symbol)))?;
        // Another process may have seen the price that is not confirmed yet.
        if latest.quote.stale
            && !matches!(latest.why_stale, Some(StaleReason::Halted(_)))
            && self.market.quotes.limits().is_some()
            && let Some(waiting) = self.unconfirmed_price(&stock.listing.symbol).await?
        {
            latest.why_stale = Some(StaleReason::Source(QuoteError::Unconfirmed(Box::new(waiting.price))));
        }
        Ok(latest)
    }

    /// Returns the price at which each stock is valued: its quote, or its last price from any source, marked as stale.
    /// After an accepted change of the price source, this is the old source's price until the new source answers;
    /// orders do not fill at it.
    pub(crate) async fn valuation_quotes(
        &self,
        stocks: &[&Stock],
        at: Timestamp,
    ) -> Result<Vec<Option<Quote>>> {
        let mut quotes: Vec<Option<Quote>> =
            self.latest_quotes_of(QuoteReader::Job, stocks, at).await.into_iter().map(quote_of).collect();
        let missing = stocks.iter().zip(&quotes).filter(|(_, quote)| quote.is_none());
        let last = missing.filter_map(|(stock, _)| Some((stock.id, last_known(stock)?))).collect();
        let mut last = self.corporate_actions.in_shares_at(last, at).await?.into_iter();
        for (stock, quote) in stocks.iter().zip(&mut quotes) {
            if quote.is_none() && stock.last.is_some() {
                *quote = last.next();
            }
        }
        Ok(quotes)
    }

    /// Returns the newest prices of many stocks at market time `at`, in the order of the stocks. For stocks without an
    /// answer, the last known prices, marked as stale.
    pub(crate) async fn latest_quotes_of(
        &self,
        reader: QuoteReader,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
    ) -> Vec<Result<LatestQuote>> {
        let mut latest = self.latest_as_traded(reader, stocks, at).await;
        if let Err(error) = self.show_prices_before_splits(stocks, &mut latest).await {
            return same_error_for_all(error, stocks.len());
        }
        let mut traded = Vec::with_capacity(latest.len());
        let reasons: Vec<Result<Option<StaleReason>>> = stocks
            .iter()
            .zip(latest)
            .map(|(stock, latest)| {
                let LatestAsTraded { quote, why_stale } = latest?;
                traded.push((stock.borrow().id, quote));
                Ok(why_stale)
            })
            .collect();
        match self.corporate_actions.in_shares_at(traded, at).await {
            Ok(quotes) => {
                let mut quotes = quotes.into_iter();
                let mut with_quote = |why_stale| Some(LatestQuote { quote: quotes.next()?, why_stale });
                reasons.into_iter().filter_map(|reason| reason.map(&mut with_quote).transpose()).collect()
            }
            Err(error) => same_error_for_all(error, stocks.len()),
        }
    }

    /// Shows the last price before a suspended split, because it is unknown which shares newer prices are in. The same
    /// applies to a price that contradicts a split but has not suspended it yet.
    pub(super) async fn show_prices_before_splits(
        &self,
        stocks: &[impl Borrow<Stock>],
        latest: &mut [Result<LatestAsTraded>],
    ) -> Result<()> {
        let now = self.market.now();
        for known in self.corporate_actions.undecided_splits().await?.iter() {
            let Some(hold) = known.hold(now) else { continue };
            let id = known.stock_id;
            for (stock, latest) in stocks.iter().map(Borrow::borrow).zip(latest.iter_mut()) {
                if stock.id != id {
                    continue;
                }
                let has_first_price =
                    latest.as_ref().is_ok_and(|latest| latest.quote.at() >= known.effective_at);
                let is_wrong = match (&latest, hold.is_halt()) {
                    (_, true) => true,
                    (Ok(latest), false) if has_first_price => {
                        let all = self.store.read(move |tx| actions::of_stock(tx, id).map_err(Error::from));
                        is_contradicted(known, &SplitHistory::of_known(&all.await?), &latest.quote)
                    }
                    _ => false,
                };
                let source = self.market.quotes.source();
                if is_wrong && let Some(quote) = price_before_split(stock, known, source) {
                    *latest =
                        Ok(LatestAsTraded { quote, why_stale: Some(StaleReason::Halted(hold.clone())) });
                }
            }
        }
        Ok(())
    }

    pub(super) async fn latest_as_traded(
        &self,
        reader: QuoteReader,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
    ) -> Vec<Result<LatestAsTraded>> {
        if stocks.is_empty() {
            return Vec::new();
        }
        let stocks = stocks.iter().map(Borrow::borrow);
        self.instruments.forget_prices_of_others(stocks.clone()).await;
        if self.market.quotes.is_scarce() {
            let mut found = Vec::with_capacity(stocks.len());
            for stock in stocks {
                found.push(self.scarce_quote(reader, stock, at).await);
            }
            return found;
        }
        let asked = stocks.clone().filter(|stock| self.last_of_delisted(stock).is_none());
        let symbols: Vec<Symbol> = asked.map(|stock| stock.listing.symbol.clone()).collect();
        let is_new = stocks.clone().all(|stock| self.last_known(stock).is_none());
        let purpose = match reader {
            QuoteReader::Waiting(user) if is_new => Purpose::FirstSight { user },
            QuoteReader::List(user) if is_new => Purpose::FirstSight { user: Some(user) },
            QuoteReader::Waiting(_) | QuoteReader::List(_) | QuoteReader::Job => Purpose::Interactive,
        };
        let mut answers = self.market.quotes.quotes(purpose, &symbols, at).await.into_iter();
        stocks
            .map(|stock| match self.last_of_delisted(stock) {
                Some(last) => Ok(last),
                None => {
                    let answer = answers.next().unwrap_or(Err(QuoteError::Unreachable));
                    self.or_last_known(stock, answer)
                }
            })
            .collect()
    }

    /// Returns the last price of a delisted stock. The source is not called, because the symbol may belong to another
    /// company now. The simulated market still knows its delisted stocks.
    fn last_of_delisted(&self, stock: &Stock) -> Option<LatestAsTraded> {
        let on = stock.delisted_on.filter(|_| self.market.quotes.freshness() != Freshness::Simulated)?;
        let quote = self.last_known(stock)?;
        Some(LatestAsTraded { quote, why_stale: Some(StaleReason::Delisted(on)) })
    }

    /// Returns the source's answer, or the last price with the reason why there is no newer one.
    fn or_last_known(
        &self,
        stock: &Stock,
        answer: std::result::Result<AsTraded<Quote>, QuoteError>,
    ) -> Result<LatestAsTraded> {
        let symbol = &stock.listing.symbol;
        match answer {
            Ok(quote) => Ok(LatestAsTraded::late(quote)),
            Err(error) => match self.last_known(stock) {
                Some(quote) => {
                    tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "serving the last known price");
                    Ok(LatestAsTraded { quote, why_stale: Some(StaleReason::Source(error)) })
                }
                None => Err(Error::from_quote(symbol, error)),
            },
        }
    }

    /// Returns the stored price of a source with few calls. If there is none, or none of the last session, requests a
    /// series first.
    pub(super) async fn scarce_quote(
        &self,
        reader: QuoteReader,
        stock: &Stock,
        at: Timestamp,
    ) -> Result<LatestAsTraded> {
        if let Some(last) = self.last_of_delisted(stock) {
            return Ok(last);
        }
        let kept = self.kept_price(stock, at);
        let requests_when_late = matches!(reader, QuoteReader::Waiting(_));
        if let Some(quote) = kept.as_ref().filter(|quote| !quote.as_traded().stale || !requests_when_late) {
            return Ok(LatestAsTraded::late(quote.clone()));
        }
        let symbol = &stock.listing.symbol;
        let user = match reader {
            QuoteReader::Waiting(user) => user,
            QuoteReader::List(user) => Some(user),
            // The stock gets its turn in the next refresh: valuations and jobs make no calls here.
            QuoteReader::Job => return Err(no_price(symbol)),
        };
        let purpose = if kept.is_none() { Purpose::FirstSight { user } } else { Purpose::Interactive };
        let mut fetched = self.market.quotes.fetch_series(purpose, symbol, at).await;
        let mut limit = None;
        if let Err(QuoteError::RateLimited { .. }) = &fetched {
            limit = self.market.quotes.limits().and_then(|limits| limits.used_up(purpose));
            if limit.is_some() && self.idle_calls().await? > 0 {
                let idle = self.market.quotes.fetch_series(Purpose::Idle { user }, symbol, at).await;
                // The first refusal is reported, and not that there was no idle call either.
                if !matches!(idle, Err(QuoteError::RateLimited { .. })) {
                    fetched = idle;
                }
            }
        }
        let id = stock.id;
        let renewed = self.store.read(move |tx| Ok::<_, Error>(stocks::by_ids(tx, &[id])?.pop())).await?;
        match (renewed.and_then(|stock| self.kept_price(&stock, at)), fetched) {
            (Some(quote), fetched) => {
                let why = fetched.err().map_or(StaleReason::NotPublished, StaleReason::Source);
                Ok(LatestAsTraded { why_stale: quote.as_traded().stale.then_some(why), quote })
            }
            (None, Err(error)) => Err(match (limit, &error) {
                (Some(limit), QuoteError::RateLimited { retry_at: Some(retry_at) }) => {
                    Error::CallsUsedUp { symbol: symbol.clone(), limit, retry_at: (*retry_at).into() }
                }
                _ => Error::from_quote(symbol, error),
            }),
            (None, Ok(())) => Err(no_price(symbol)),
        }
    }

    /// How many of the day's reserved calls the jobs will not need. Before the close of the day, one call is reserved
    /// for each stock in use; after it, one for each stock whose close is still missing. A few more are reserved for
    /// news and the table of listings.
    pub(super) async fn idle_calls(&self) -> Result<u32> {
        let Some(limits) = self.market.quotes.limits().filter(|limits| limits.per_day().is_some()) else {
            return Ok(0);
        };
        let budget = limits.budget().await.map_err(Error::internal)?;
        let scheduled = budget.pots.iter().find(|(pot, ..)| *pot == Pot::Scheduled);
        let left = scheduled.map_or(0, |(_, used, limit)| limit.saturating_sub(*used));
        if left == 0 {
            return Ok(0);
        }
        let now = self.market.now();
        let in_use = self.store.read(crate::market::demand::stocks_in_use).await?;
        let close_is_due = |session: Session| now < session.closes_at + PUBLICATION;
        let needed = match self.market.calendar.session(exchange_date(now)) {
            Some(session) if close_is_due(session) => in_use.len(),
            _ => in_use.iter().filter(|stock| self.is_late(stock, now)).count(),
        };
        let needed = u32::try_from(needed).unwrap_or(u32::MAX).saturating_add(KEPT_FOR_JOBS);
        Ok(left.saturating_sub(needed))
    }

    /// The stored price, marked as stale if a newer one should be available.
    pub(super) fn kept_price(&self, stock: &Stock, at: Timestamp) -> Option<AsTraded<Quote>> {
        let quote = self.last_known(stock)?;
        let stale = self.market.quotes.is_stale(quote.as_traded(), at);
        Some(quote.map(|quote| Quote { stale, ..quote }))
    }

    /// Whether a newer price of the stock should be available. A delisted stock has no newer price.
    pub(super) fn is_late(&self, stock: &Stock, at: Timestamp) -> bool {
        stock.delisted_on.is_none() && self.kept_price(stock, at).is_none_or(|quote| quote.as_traded().stale)
    }

    /// The stored price as a quote, marked as stale. A price of another source does not count: the deployment has
    /// changed its source, and the prices are unrelated.
    pub(super) fn last_known(&self, stock: &Stock) -> Option<AsTraded<Quote>> {
        last_known(stock).filter(|quote| quote.as_traded().source == self.market.quotes.source())
    }
}
