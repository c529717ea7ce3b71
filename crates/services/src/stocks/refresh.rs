//! The job that refreshes prices.

use domain::calendar::exchange_date;
use domain::{AsTraded, PUBLICATION, Quote, Stock, StockId, Symbol, Timestamp};
use market_data::{Purpose, QuoteError};
use persistence::stocks;

use super::Stocks;
use crate::error::{Error, Result};
use crate::stocks::price_pace::DuePrices;

/// The relative change between two prices a minute apart above which the source is asked immediately about a split.
const NEWS_AFTER: f64 = 0.20;

/// The relative change between two closes above which the source is asked about a split.
const UNUSUAL_CHANGE: f64 = 0.15;

/// The calls for a stock's news: one for splits and one for dividends.
const CALLS_FOR_NEWS: u32 = 2;

/// After this many answers without the new close, a refresh ends: the close is not published yet.
const MAX_UNPUBLISHED: u32 = 3;

/// The most stocks per refresh that were looked up and get their first price.
const MAX_WARMED_UP: u32 = 5;

/// The most company profiles per refresh.
const PROFILES_AT_ONCE: usize = 2;

/// The sector of a stock for which the source has none.
const NO_SECTOR: &str = "Other";

impl Stocks {
    /// Stores the newest prices of all stocks that are held, watched or ordered, so that prices are available when the
    /// source does not answer. From a source with few calls, at most `limit` series are requested, most urgent first.
    pub(crate) async fn refresh_quotes(&self, limit: usize) -> Result<String> {
        let now = self.market.now();
        if self.market.quotes.is_scarce() {
            let neglected = self.neglected_before(now);
            let stocks =
                self.store.read(move |tx| crate::market::demand::stocks_by_urgency(tx, neglected)).await?;
            return self.refresh_series(stocks, limit, now).await;
        }
        let DuePrices { mut stocks, in_use } = self.due_prices(now).await?;
        if self.market.quotes.limits().is_none() {
            stocks.sort_by_key(|stock| stock.last.as_ref().map(|last| last.as_of));
            stocks.truncate(limit);
        }
        self.instruments.forget_prices_of_others(stocks.iter()).await;
        let symbols: Vec<Symbol> = stocks.iter().map(|stock| stock.listing.symbol.clone()).collect();
        let found = self.market.quotes.quotes(Purpose::Scheduled, &symbols, now).await;
        let moved =
            stocks.iter().zip(&found).filter(|(stock, answer)| self.asks_for_news(stock, answer, now));
        let moved: Vec<Stock> = moved
            .map(|(stock, _)| stock.clone())
            .filter(|stock| !self.corporate_actions.has_observed_all_actions(stock, now))
            .collect();
        self.corporate_actions.note_answers(&stocks, &found, now).await?;
        // The symbol of a delisted stock may belong to another company.
        let priced = stocks.iter().zip(found).filter(|(stock, _)| stock.delisted_on.is_none());
        let mut quotes: Vec<(StockId, AsTraded<Quote>)> =
            priced.filter_map(|(stock, quote)| Some((stock.id, quote.ok()?))).collect();
        let refreshed = quotes.len();
        // Rows of several stocks are always written in the order of their symbols, so that two writers cannot deadlock.
        quotes.sort_by(|(_, a), (_, b)| a.as_traded().symbol.cmp(&b.as_traded().symbol));
        self.store
            .write(move |tx| {
                for (id, quote) in &quotes {
                    stocks::save_last_price(tx, *id, quote.as_traded())?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        self.market.stock_changes.record();
        if self.market.quotes.limits().is_some() {
            self.corporate_actions.review_seen_companies(&stocks).await?;
            self.corporate_actions.record_observed_actions(&stocks).await?;
            self.corporate_actions.learn_after_jumps(moved).await?;
        }
        Ok(format!("{refreshed} of {in_use} stocks refreshed"))
    }

    /// Whether a stock's price has moved so much that the source is asked about a split immediately. For a price that
    /// stays unconfirmed, the source is asked in the first two minutes and then once per hour.
    fn asks_for_news(
        &self,
        stock: &Stock,
        answer: &std::result::Result<AsTraded<Quote>, QuoteError>,
        now: Timestamp,
    ) -> bool {
        match answer {
            Ok(quote) => self.last_known(stock).is_some_and(|last| {
                let change = quote.as_traded().price.change_ratio(&last.as_traded().price);
                change.is_some_and(|change| change.abs() > NEWS_AFTER)
            }),
            Err(QuoteError::Unconfirmed(waiting)) => {
                let minutes = (now - waiting.first_seen_at).num_minutes();
                minutes < 2 || minutes % 60 == 0
            }
            Err(_) => false,
        }
    }

    /// Requests the sectors of stocks in use, a few at a time with the remaining calls. The table of listings has no
    /// sectors.
    async fn learn_sectors(&self, now: Timestamp) -> Result<()> {
        let stocks = self.store.read(crate::market::demand::stocks_in_use).await?;
        let nameless = stocks.into_iter().filter(|stock| stock.listing.sector.is_empty());
        for stock in nameless.take(PROFILES_AT_ONCE) {
            let known = stock.listing;
            let found = self.market.quotes.listing(Purpose::Scheduled, &known.symbol, now).await;
            let sector = match found {
                Ok(found) if !found.sector.is_empty() => found.sector,
                // The stock has no sector, and is not requested again.
                Ok(_) | Err(QuoteError::UnknownSymbol(_)) => NO_SECTOR.to_owned(),
                Err(error) => {
                    tracing::debug!(symbol = %known.symbol, error = &error as &dyn std::error::Error, "no profile");
                    continue;
                }
            };
            let id = stock.id;
            self.store
                .write(move |tx| stocks::set_sector(tx, id, &known.symbol, &sector).map_err(Error::from))
                .await?;
        }
        Ok(())
    }

    /// Fetches a series for a job, waiting for short rate limits.
    async fn fetch_patiently(&self, symbol: &Symbol, now: Timestamp) -> std::result::Result<(), QuoteError> {
        let quotes = &self.market.quotes;
        loop {
            let fetched = quotes.fetch_series(quotes.purpose_of_jobs(), symbol, now).await;
            if !self.market.may_ask_again(fetched.as_ref().err()).await {
                return fetched;
            }
        }
    }

    /// Requests prices of stocks that were looked up and have none, with calls that the jobs do not need, so that the
    /// prices are available at the next visit. Returns the number of stocks.
    async fn warm_up(&self, now: Timestamp) -> Result<usize> {
        let (idle, source) = (self.idle_calls().await?.min(MAX_WARMED_UP), self.market.quotes.source());
        if idle == 0 {
            return Ok(0);
        }
        let wanted = self
            .store
            .read(move |tx| Ok::<_, Error>(stocks::without_price(tx, source.as_str(), idle.into())?))
            .await?;
        let mut warmed = 0;
        for stock in wanted {
            match self.fetch_patiently(&stock.listing.symbol, now).await {
                Ok(()) => warmed += 1,
                Err(QuoteError::RateLimited { .. }) => break,
                Err(error) => {
                    tracing::debug!(symbol = %stock.listing.symbol, error = &error as &dyn std::error::Error, "no series");
                }
            }
        }
        Ok(warmed)
    }

    /// Spends the remaining calls shortly before the day ends on news of splits and dividends.
    async fn learn_at_end_of_day(&self) -> Result<()> {
        let Some(limits) = self.market.quotes.limits().filter(|limits| limits.day_is_ending()) else {
            return Ok(());
        };
        let left = limits.budget().await.map_err(Error::internal)?.left().unwrap_or(0);
        self.corporate_actions.learn_with_leftover_calls((left / CALLS_FOR_NEWS) as usize).await
    }

    /// Held and ordered stocks without a price after this time were skipped: they lack two closes.
    fn neglected_before(&self, now: Timestamp) -> Timestamp {
        let calendar = self.market.calendar;
        let due = calendar.last_closed(now - PUBLICATION);
        calendar.before(due.date).closes_at
    }

    /// Whether the closes of the last session may not be published yet. On the evening of a session, further calls may
    /// be wasted.
    fn may_be_unpublished(&self, now: Timestamp) -> bool {
        let is_ending = self.market.quotes.limits().is_some_and(|limits| limits.day_is_ending());
        self.market.calendar.last_closed(now).date == exchange_date(now) && !is_ending
    }

    async fn refresh_series(&self, stocks: Vec<Stock>, limit: usize, now: Timestamp) -> Result<String> {
        let in_use = stocks.len();
        let again = self.corporate_actions.listed_again(&stocks).await?;
        let mut late: Vec<Stock> = stocks.into_iter().filter(|stock| self.is_late(stock, now)).collect();
        late.extend(again);
        let (mut asked, mut refusal) = (0, None);
        let mut fetched_of = Vec::new();
        let mut unpublished = self.may_be_unpublished(now).then_some(0);
        for stock in late.iter().take(limit) {
            if unpublished == Some(MAX_UNPUBLISHED) {
                break;
            }
            match self.fetch_patiently(&stock.listing.symbol, now).await {
                Ok(()) => {
                    asked += 1;
                    fetched_of.push(stock.id);
                    if let Some(tried) = unpublished {
                        let id = stock.id;
                        let renewed =
                            self.store.read(move |tx| stocks::by_ids(tx, &[id]).map_err(Error::from));
                        let has_close = renewed.await?.iter().any(|stock| !self.is_late(stock, now));
                        unpublished = (!has_close).then_some(tried + 1);
                    }
                }
                // The provider would reject the other requests too.
                Err(error @ QuoteError::RateLimited { .. }) => {
                    refusal = Some(error);
                    break;
                }
                Err(error) => {
                    tracing::warn!(symbol = %stock.listing.symbol, error = &error as &dyn std::error::Error, "no series")
                }
            }
        }
        if refusal.is_none() && unpublished != Some(MAX_UNPUBLISHED) {
            self.learn_sectors(now).await?;
            asked += self.warm_up(now).await?;
            self.learn_at_end_of_day().await?;
        }
        let ids: Vec<StockId> = late.iter().map(|stock| stock.id).collect();
        let renewed = self.store.read(move |tx| stocks::by_ids(tx, &ids).map_err(Error::from)).await?;
        self.corporate_actions.withdraw_priced(&renewed, now).await?;
        let has_jumped = |new: &&Stock| {
            let old = late.iter().find(|old| old.id == new.id).and_then(|old| old.last.as_ref());
            let both = old.zip(new.last.as_ref());
            let change = both.and_then(|(old, new)| new.price.change_ratio(&old.price));
            fetched_of.contains(&new.id) && change.is_some_and(|change| change.abs() > UNUSUAL_CHANGE)
        };
        self.corporate_actions
            .learn_after_jumps(renewed.iter().filter(has_jumped).cloned().collect())
            .await?;
        let still_late = renewed.iter().filter(|stock| self.is_late(stock, now)).count();
        let mut outcome =
            format!("{} of {in_use} stocks have the last close, {asked} requested", in_use - still_late);
        if let Some(error) = refusal {
            outcome = format!("{outcome}; {error}");
        } else if unpublished == Some(MAX_UNPUBLISHED) {
            outcome.push_str("; the last session's closes are not published yet");
        }
        Ok(outcome)
    }
}
