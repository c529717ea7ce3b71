//! Requests corporate actions from the source.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::{Stock, StockId, Symbol, Timestamp};
use market_data::{Catalogue, QuoteError};
use persistence::corporate_actions::ReportedAction;
use persistence::{Tx, former_symbols, installation, stocks};

use super::{AHEAD, CorporateActions, LATEST_NEWS, Stored};
use crate::corporate_actions::observed_actions::confirmation_of_news;
use crate::corporate_actions::splits::record_reported_action;
use crate::error::{Error, Result};

/// How far before the last request the next one starts, because actions may be published late.
const NEWS_OVERLAP: Days = Days::new(10);

/// The key of the market time at which the source was last called for all stocks.
const LAST_REQUEST: &str = "corporate_actions_asked";

/// The key of the times at which a source with few calls was last called for each stock, by id.
const REQUESTS_BY_STOCK: &str = "corporate_actions_asked_of_stocks";

fn request_times(tx: &mut Tx<'_>) -> Result<BTreeMap<i64, Timestamp>> {
    let kept = installation::get(tx, REQUESTS_BY_STOCK)?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
}

fn keep_least_recently_requested(stocks: &mut Vec<Stock>, times: &BTreeMap<i64, Timestamp>, most: usize) {
    stocks.sort_by_key(|stock| (times.get(&stock.id.0).copied(), stock.id));
    stocks.truncate(most);
}

/// The first day of a request: `first`, or some days before the stock's last request if its turn comes less often.
fn news_since(asked: Option<Timestamp>, first: NaiveDate) -> NaiveDate {
    let before = asked.and_then(|asked| exchange_date(asked).checked_sub_days(NEWS_OVERLAP));
    before.map_or(first, |before| before.min(first))
}

/// The market time of the last request for all stocks. An unreadable value counts as never.
pub(super) fn last_request_at(tx: &mut Tx<'_>) -> Stored<Option<Timestamp>> {
    Ok(installation::get(tx, LAST_REQUEST)?.and_then(|text| serde_json::from_str(&text).ok()))
}

impl CorporateActions {
    /// Requests the corporate actions of all stocks in use, and stores new ones. If the source lists all its
    /// instruments, each of them is requested. If it has few calls, one stock is requested per day: the one that has
    /// waited longest.
    ///
    /// # Errors
    /// Only if the database fails. If the source does not answer, the next run tries again.
    pub async fn learn_corporate_actions(&self) -> Result<usize> {
        let now = self.market.now();
        let today = exchange_date(now);
        let all = matches!(self.market.quotes.catalogue(now), Catalogue::Complete(_));
        let asked = self.store.read(move |tx| {
            let found = if all { stocks::all(tx)? } else { stocks::ever_in_use(tx)? };
            Ok::<_, Error>(found)
        });
        let mut asked = asked.await?;
        if self.market.quotes.is_scarce() {
            let times = self.store.read(request_times).await?;
            let is_limited = self.market.quotes.limits().is_some_and(|limits| limits.per_day().is_some());
            let is_of_today =
                |stock: &Stock| times.get(&stock.id.0).is_some_and(|asked| exchange_date(*asked) == today);
            // With a limit per day: one stock per day, or none if one was already requested today. Without a limit per
            // day: each stock once per day.
            match times.values().any(|asked| exchange_date(*asked) == today) {
                _ if !is_limited => asked.retain(|stock| !is_of_today(stock)),
                true => asked.clear(),
                false => keep_least_recently_requested(&mut asked, &times, 1),
            }
        }
        self.learn_about(asked).await
    }

    /// Spends the remaining calls of a source with few calls on the `most` stocks that have waited longest.
    pub(crate) async fn learn_with_leftover_calls(&self, most: usize) -> Result<()> {
        let (mut asked, times) =
            self.store.read(|tx| Ok::<_, Error>((stocks::ever_in_use(tx)?, request_times(tx)?))).await?;
        keep_least_recently_requested(&mut asked, &times, most);
        self.learn_after_jumps(asked).await
    }

    /// Requests, stores and applies the actions of stocks whose price moved so much that their shares may have been
    /// split.
    pub(crate) async fn learn_after_jumps(&self, stocks: Vec<Stock>) -> Result<()> {
        if !stocks.is_empty() && self.learn_about(stocks).await? > 0 {
            self.apply_corporate_actions().await?;
        }
        Ok(())
    }

    async fn learn_about(&self, asked: Vec<Stock>) -> Result<usize> {
        let now = self.market.now();
        let today = exchange_date(now);
        let (first, last) = (
            today.checked_sub_days(LATEST_NEWS).unwrap_or(today),
            today.checked_add_days(AHEAD).unwrap_or(today),
        );
        let scarce = self.market.quotes.is_scarce();
        let times = self.store.read(request_times).await?;
        let mut answered: Vec<StockId> = Vec::new();
        let calendar = self.market.calendar;
        let confirmation = confirmation_of_news(self.market.quotes.freshness());
        let wall = self.market.clock.wall();
        let mut reported: Vec<ReportedAction> = Vec::new();
        let symbols: Vec<(StockId, Symbol)> =
            asked.iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect();
        let mut complete = true;
        for stock in asked {
            let symbol = &stock.listing.symbol;
            let first = news_since(times.get(&stock.id.0).copied(), first);
            let quotes = &self.market.quotes;
            let mut found = quotes.corporate_actions(symbol, first, last, now).await;
            while self.market.may_ask_again(found.as_ref().err()).await {
                found = quotes.corporate_actions(symbol, first, last, now).await;
            }
            // A call that was not allowed was not sent, so the stock keeps its turn.
            if !matches!(found, Err(QuoteError::RateLimited { .. })) {
                answered.push(stock.id);
            }
            match found {
                Ok(found) => reported.extend(found.into_iter().map(|action| ReportedAction {
                    stock_id: stock.id,
                    effective_at: action.effective_at(calendar),
                    pays_at: action.pays_at(calendar),
                    confirmation,
                    action,
                })),
                Err(error) => {
                    complete = false;
                    tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no news of corporate actions");
                }
            }
        }
        let new = self
            .store
            .write(move |tx| {
                let mut new = 0;
                // Actions of another company that now has the symbol do not belong to the stock.
                let unchanged = former_symbols::unchanged(tx, &symbols)?;
                for reported in reported.iter().filter(|reported| unchanged.contains(&reported.stock_id)) {
                    new += usize::from(record_reported_action(tx, reported, now, wall)?);
                }
                if scarce {
                    // Stocks without news are recorded too, so that others get their turn.
                    let mut times = request_times(tx)?;
                    times.extend(answered.iter().map(|id| (id.0, now)));
                    let times = serde_json::to_string(&times).map_err(Error::internal)?;
                    installation::set(tx, REQUESTS_BY_STOCK, &times)?;
                } else if complete {
                    installation::set(
                        tx,
                        LAST_REQUEST,
                        &serde_json::to_string(&now).map_err(Error::internal)?,
                    )?;
                }
                Ok(new)
            })
            .await;
        self.action_counter.increase();
        new
    }
}
