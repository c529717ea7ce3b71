//! Prices of US stocks and funds from Yahoo Finance, for an operator who has opted in.
//!
//! There is no contract and no key: the source may stop working at any time, and is only for personal use. This file
//! decides which requests are made. Its modules send calls and parse answers; no other file knows the provider's
//! formats.

mod bulk;
mod chart;
mod companies;
mod crumb;
mod events;
mod number;
mod search;
mod ticker;
mod transport;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use domain::calendar::exchange_date;
use domain::{Bar, Calendar, CorporateAction, Freshness, Listing, PriceSource, Quote, Symbol, Timestamp};
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use crate::capability::Capability;
use crate::corporate::{Dividend, Split};
use crate::observed_actions::{ObservedActions, ObservedBySymbol};
use crate::plausible::without_lone_jumps;
use crate::source::{DailySeries, InvalidSetup, Now, in_order};
use crate::{Catalogue, ListedStock, Payer, QuoteError, QuoteSource};
use companies::Companies;
use crumb::Crumbs;
use events::Events;
use transport::{Reply, Transport};

pub const SOURCE: &str = "yahoo";
/// The most symbols per call.
const MAX_AT_ONCE: usize = 50;
/// How long quotes are requested one by one after bulk quotes were refused.
const AFTER_REFUSAL: TimeDelta = TimeDelta::hours(1);
/// A move since the previous close, as a ratio, after which a chart is requested, because charts contain splits.
const CHECKED_MOVE: f64 = 0.20;
/// The parameter that adds splits and dividends to a series.
const EVENTS: (&str, &str) = ("events", "div|split");

/// Settings of the connection to Yahoo.
pub struct YahooConfig {
    /// [`YahooConfig::BASE_URL`], or a test server's.
    pub base_url: Url,
    /// The page that sets the cookie for bulk quotes; see [`YahooConfig::COOKIE_URL`].
    pub cookie_url: Url,
    /// The shortest time between two calls; see [`YahooConfig::MIN_GAP`].
    pub min_gap: Duration,
    pub now: Now,
}

impl YahooConfig {
    pub const BASE_URL: &'static str = "https://query1.finance.yahoo.com/";
    pub const COOKIE_URL: &'static str = "https://fc.yahoo.com/";
    /// The minimum gap between calls. Yahoo publishes no limits; one call per second has been accepted so far.
    pub const MIN_GAP: Duration = Duration::from_secs(1);
}

/// Yahoo Finance as a price source.
pub struct Yahoo {
    transport: Transport,
    crumbs: Crumbs,
    bulk: Capability,
    seen: ObservedBySymbol,
    companies: Companies,
}

/// A series with the splits and dividends of its days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The bars, oldest first. Prices and volumes are in the shares of each day, as traded. Dividends are not
    /// subtracted.
    pub bars: Vec<Bar>,
    /// The session after the bars, if it is doubtful; see [`DailySeries::doubtful`].
    pub doubtful: Option<Bar>,
    /// The splits, oldest first.
    pub splits: Vec<Split>,
    /// The dividends, oldest first, one per day. Amounts are for the shares of each day; payment days are unknown.
    pub dividends: Vec<Dividend>,
}

impl Yahoo {
    /// Creates the source.
    ///
    /// # Errors
    /// If the base URL cannot have a path, or there is no TLS.
    pub fn new(config: YahooConfig) -> Result<Self, InvalidSetup> {
        Ok(Self {
            transport: Transport::new(config)?,
            crumbs: Crumbs::default(),
            bulk: Capability::retried_after(AFTER_REFUSAL),
            seen: ObservedBySymbol::default(),
            companies: Companies::default(),
        })
    }

    /// Sets the deadline of a call; the default is 8 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.transport.set_deadline(deadline);
        self
    }

    /// Returns the finished sessions from `first` to `last` with the splits and dividends since `first`, with one call.
    ///
    /// # Errors
    /// The same as [`QuoteSource::daily_series`].
    pub async fn history(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<History, QuoteError> {
        // The series extends until now, beyond `last`: Yahoo reports bars in today's shares, so later splits are
        // needed.
        let mut history = self.series(symbol, "1d", first, at, payer).await?;
        history.bars.retain(|bar| bar.date <= last);
        let DailySeries { bars, doubtful } = without_lone_jumps(symbol, history.bars, &history.splits);
        history.bars = bars;
        history.bars.retain(|bar| first <= bar.date);
        history.doubtful = doubtful.filter(|bar| first <= bar.date);
        Ok(history)
    }

    /// All splits, oldest first.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    pub async fn splits(&self, symbol: &Symbol, payer: &Payer) -> Result<Vec<Split>, QuoteError> {
        Ok(self.events(symbol, payer).await?.splits)
    }

    /// All cash dividends so far, oldest first. Amounts are for the shares of each day.
    ///
    /// # Errors
    /// [`QuoteError::UnknownSymbol`], or the reason why the call failed.
    pub async fn dividends(&self, symbol: &Symbol, payer: &Payer) -> Result<Vec<Dividend>, QuoteError> {
        Ok(self.events(symbol, payer).await?.dividends)
    }

    /// Returns all splits and dividends. Series of any interval contain them; bars of three months make the smallest
    /// answer.
    async fn events(&self, symbol: &Symbol, payer: &Payer) -> Result<History, QuoteError> {
        self.series(symbol, "3mo", NaiveDate::default(), self.transport.now().into(), payer).await
    }

    async fn series(
        &self,
        symbol: &Symbol,
        interval: &str,
        first: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<History, QuoteError> {
        let now = self.transport.now();
        let from = first.and_time(NaiveTime::MIN).and_utc().timestamp().max(0).to_string();
        let until = (now + TimeDelta::days(1)).timestamp().to_string();
        let span = [("interval", interval), ("period1", &from), ("period2", &until), EVENTS];
        let reply = self.chart(symbol, &span, payer).await?;
        match chart::result(&reply, symbol)? {
            Some(result) => {
                let history = chart::history(result, symbol, at.min(now.into()), now)?;
                self.companies.record(symbol, &result["meta"]);
                self.seen.record(symbol, first, history.actions(symbol), now.into());
                Ok(history)
            }
            None => Ok(History::default()),
        }
    }

    /// Requests a range of one day, because the answer's previous close is the close before the first day of the range.
    async fn quote(&self, symbol: &Symbol, payer: &Payer) -> Result<Quote, QuoteError> {
        let reply = self.chart(symbol, &[("interval", "1d"), ("range", "1d"), EVENTS], payer).await?;
        let result = chart::result(&reply, symbol)?;
        let result = result.ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))?;
        let now = self.transport.now();
        let quote = chart::quote(result, symbol, now)?;
        self.companies.record(symbol, &result["meta"]);
        let events = Events::from_result(result);
        let dividends = events.dividends(symbol, now.into());
        let reported = History { splits: events.splits, dividends, ..History::default() };
        self.seen.record(symbol, exchange_date(quote.as_of), reported.actions(symbol), now.into());
        Ok(quote)
    }

    async fn chart(
        &self,
        symbol: &Symbol,
        parameters: &[(&str, &str)],
        payer: &Payer,
    ) -> Result<Reply, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        self.transport.get(&["v8", "finance", "chart", &ticker], parameters, None, payer).await
    }

    /// Requests quotes of up to [`MAX_AT_ONCE`] symbols. A rejected crumb is replaced once.
    async fn quotes_in_bulk(
        &self,
        symbols: &[Symbol],
        payer: &Payer,
    ) -> Result<HashMap<Symbol, Result<Quote, QuoteError>>, QuoteError> {
        let tickers: Vec<String> =
            symbols.iter().filter_map(|symbol| ticker::provider_symbol(symbol).ok()).collect();
        let tickers = tickers.join(",");
        let mut is_second_try = false;
        loop {
            let crumb = self.crumbs.get(&self.transport, payer).await?;
            let parameters = [("symbols", tickers.as_str()), ("crumb", crumb.text())];
            let reply = self
                .transport
                .get(&["v7", "finance", "quote"], &parameters, Some(crumb.cookie()), payer)
                .await?;
            if reply.status == StatusCode::UNAUTHORIZED && bulk::is_invalid_crumb(&reply) && !is_second_try {
                self.crumbs.forget(&crumb).await;
                is_second_try = true;
                continue;
            }
            let quotes = bulk::quotes(&reply, symbols, self.transport.now())?;
            for (symbol, row) in bulk::rows(&reply, symbols) {
                self.companies.record(symbol, row);
            }
            return Ok(quotes);
        }
    }
}

#[async_trait]
impl QuoteSource for Yahoo {
    fn source(&self) -> PriceSource {
        PriceSource::from(SOURCE)
    }

    fn freshness(&self) -> Freshness {
        Freshness::Delayed
    }

    fn calendar(&self) -> Calendar {
        Calendar::Xnys
    }

    fn catalogue(&self, _: Timestamp) -> Catalogue {
        Catalogue::OnDemand
    }

    fn quotes_at_once(&self) -> usize {
        if self.bulk.is_available(self.transport.now()) { MAX_AT_ONCE } else { 1 }
    }

    /// Makes one call per 50 symbols while Yahoo allows bulk quotes, otherwise one per symbol. After a refusal because
    /// of too many calls, no more calls are made.
    async fn quotes(
        &self,
        symbols: &[Symbol],
        _at: Timestamp,
        payer: &Payer,
    ) -> Vec<Result<Quote, QuoteError>> {
        let mut answers = HashMap::with_capacity(symbols.len());
        let mut refused: Option<QuoteError> = None;
        let mut is_bulk_lost = false;
        for chunk in symbols.chunks(self.quotes_at_once()) {
            if chunk.len() > 1 && refused.is_none() {
                match self.quotes_in_bulk(chunk, payer).await {
                    // A price that jumped is requested separately, because charts contain splits.
                    Ok(found) => {
                        let is_settled = |(symbol, answer): &(Symbol, _)| !self.needs_chart(symbol, answer);
                        answers.extend(found.into_iter().filter(is_settled));
                    }
                    Err(error @ (QuoteError::RateLimited { .. } | QuoteError::Unreachable)) => {
                        refused = Some(error);
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "quotes are asked for one by one for an hour"
                        );
                        self.bulk.mark_refused(self.transport.now());
                        is_bulk_lost = true;
                    }
                }
            }
            for symbol in chunk {
                if answers.contains_key(symbol) {
                    continue;
                }
                let answer = match &refused {
                    Some(refusal) => Err(refusal.clone()),
                    None => self.quote(symbol, payer).await,
                };
                match &answer {
                    Err(QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. }) | Ok(_) => {}
                    // If bulk quotes fail like this, single quotes would fail too.
                    Err(error) if is_bulk_lost => refused = Some(error.clone()),
                    Err(refusal @ QuoteError::RateLimited { .. }) => refused = Some(refusal.clone()),
                    Err(_) => {}
                }
                answers.insert(symbol.clone(), answer);
            }
        }
        in_order(symbols, answers)
    }

    async fn search(
        &self,
        query: &str,
        limit: usize,
        _: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<Listing>, QuoteError> {
        let query = query.trim();
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = search::listings(&self.search_for(query, payer).await?)?;
        found.truncate(limit);
        Ok(found)
    }

    /// Searches for the symbol, because a search returns the sector; a chart is the fallback.
    async fn listing(&self, symbol: &Symbol, _: Timestamp, payer: &Payer) -> Result<Listing, QuoteError> {
        let ticker = ticker::provider_symbol(symbol)?;
        if let Some(found) = search::exact_match(&self.search_for(&ticker, payer).await?, symbol)? {
            return Ok(found);
        }
        let reply = self.chart(symbol, &[("interval", "1d"), ("range", "1d")], payer).await?;
        let result = chart::result(&reply, symbol)?;
        chart::listing(result.ok_or_else(|| QuoteError::UnknownSymbol(symbol.clone()))?, symbol)
    }

    async fn daily_series(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
        payer: &Payer,
    ) -> Result<DailySeries, QuoteError> {
        let History { bars, doubtful, .. } = self.history(symbol, first, last, at, payer).await?;
        Ok(DailySeries { bars, doubtful })
    }

    /// Returns splits and dividends. Yahoo reports them on their day or shortly before, and does not report new symbols
    /// and delistings.
    async fn corporate_actions(
        &self,
        symbol: &Symbol,
        first: NaiveDate,
        last: NaiveDate,
        _: Timestamp,
        payer: &Payer,
    ) -> Result<Vec<CorporateAction>, QuoteError> {
        let mut actions = self.events(symbol, payer).await?.actions(symbol);
        actions.retain(|action| (first..=last).contains(&action.ex_on));
        Ok(actions)
    }

    fn observed_company(&self, symbol: &Symbol) -> Option<ListedStock> {
        self.companies.by_symbol(symbol)
    }

    fn observed_actions(&self, symbol: &Symbol) -> Option<ObservedActions> {
        self.seen.by_symbol(symbol)
    }
}

impl History {
    /// The splits and dividends as corporate actions, ordered by `ex_on`.
    fn actions(&self, of: &Symbol) -> Vec<CorporateAction> {
        let splits = self.splits.iter().filter_map(|split| split.action(of));
        let dividends = self.dividends.iter().filter_map(|dividend| dividend.action(of));
        let mut actions: Vec<CorporateAction> = splits.chain(dividends).collect();
        actions.sort_by_key(|action| (action.ex_on, action.precedence()));
        actions
    }
}

impl Yahoo {
    /// Whether a quote has moved so far that a chart must be requested, because charts contain splits. A recent chart
    /// is enough.
    fn needs_chart(&self, symbol: &Symbol, answer: &Result<Quote, QuoteError>) -> bool {
        let Ok(Quote { price, previous_close: Some(before), as_of, .. }) = answer else { return false };
        let has_moved = price.change_ratio(before).is_some_and(|change| change.abs() > CHECKED_MOVE);
        let now = self.transport.now().into();
        has_moved && !self.seen.by_symbol(symbol).is_some_and(|seen| seen.covers(exchange_date(*as_of), now))
    }

    async fn search_for(&self, query: &str, payer: &Payer) -> Result<Value, QuoteError> {
        let parameters = [("q", query), ("quotesCount", "20"), ("newsCount", "0")];
        self.transport.get(&["v1", "finance", "search"], &parameters, None, payer).await?.successful()
    }
}
