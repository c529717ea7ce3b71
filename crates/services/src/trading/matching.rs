//! Matches working orders with the prices that arrived since the last pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use domain::matching::LIQUIDITY_WINDOW;
use domain::quote::PUBLICATION;
use domain::{
    AsTraded, Calendar, Freshness, OrderGroup, OrderId, PRICE_AHEAD, PortfolioId, PriceMove, Quote, StockId,
    Symbol, Timestamp, TradingRules,
};
use futures::future::join_all;
use market_data::{Gateway, Published, Purpose, QuoteError};
use persistence::{StoreError, Tx, corporate_actions, installation, orders, portfolios};
use serde::{Deserialize, Serialize};

use crate::corporate_actions::ActionHistories;
use crate::error::{Error, Result};
use crate::trading::Trading;
use crate::trading::desk::Command;

/// Groups per statement.
const AT_ONCE: i64 = 1000;
/// The longest interval of prices that is matched at once.
const LONGEST_INTERVAL: TimeDelta = TimeDelta::hours(6);
/// The progress of matching is recorded when it has advanced by this much market time. Until then the interval is
/// matched again, with the same result.
const RECORD_PROGRESS_AFTER: TimeDelta = TimeDelta::seconds(60);

/// The result of a pass through the working orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matched {
    /// Orders that prices can fill.
    pub working: usize,
    /// Groups that changed: an order filled, was triggered, got a new best price or ended.
    pub changed: usize,
}

/// How far the orders of one stock are matched in a pass.
#[derive(Debug, Clone, Copy)]
struct MatchingSpan {
    now: Timestamp,
    /// Matching stops shortly after this time, and at most at `now`.
    end: Timestamp,
    /// Whether orders in the stock cannot fill.
    is_held: bool,
}

/// The longest time from the call for a current price until all processes have the price.
const CALL_LAG: TimeDelta = TimeDelta::minutes(1);

/// The key of the lease in the table `installation`.
const LEASE: &str = "match_orders";
/// How long a lease is valid.
const LEASE_FOR: TimeDelta = TimeDelta::seconds(15);
/// The age of a lease at which its holder renews it.
const RENEW_AFTER: TimeDelta = TimeDelta::seconds(5);

/// The process that matches orders, and the wall time until which it keeps this right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    holder: String,
    until: Timestamp,
}

impl Lease {
    /// Whether the lease is valid. A lease that ends too late was written by a clock that was ahead, and does not
    /// count.
    fn holds_at(&self, wall: Timestamp) -> bool {
        self.until > wall && self.until - wall <= LEASE_FOR + RENEW_AFTER
    }
}

impl Trading {
    /// Runs [`Trading::match_orders`], unless another process holds the lease. Writes nothing if there are no working
    /// orders.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn match_orders_as(&self, worker: &str) -> Result<Matched> {
        let wall = self.market.clock.wall();
        let (any, lease) = self
            .store
            .read(|tx| Ok::<_, Error>((!orders::working(tx, None, 1)?.is_empty(), lease(tx)?)))
            .await?;
        let mine = match &lease {
            _ if !any => false,
            Some(lease) if lease.holder == worker && lease.until - wall > LEASE_FOR - RENEW_AFTER => true,
            Some(lease) if lease.holder != worker && lease.holds_at(wall) => false,
            _ => self.take_lease(worker.to_owned(), wall).await?,
        };
        if mine { self.match_orders().await } else { Ok(Matched::default()) }
    }

    /// Takes or renews the lease. Returns whether the worker holds it now.
    async fn take_lease(&self, holder: String, wall: Timestamp) -> Result<bool> {
        self.store
            .write(move |tx| {
                installation::lock(tx)?;
                if lease(tx)?.is_some_and(|lease| lease.holder != holder && lease.holds_at(wall)) {
                    return Ok(false);
                }
                let lease = Lease { holder, until: wall + LEASE_FOR };
                installation::set(tx, LEASE, &serde_json::to_string(&lease).map_err(Error::internal)?)?;
                Ok(true)
            })
            .await
    }

    /// Gives up the lease before the process ends, so that another process can match orders immediately.
    ///
    /// # Errors
    /// Only if the database fails; then the lease expires by itself.
    pub async fn release_matching_lease(&self, worker: &str) -> Result<()> {
        let (holder, wall) = (worker.to_owned(), self.market.clock.wall());
        self.store
            .write(move |tx| {
                installation::lock(tx)?;
                if lease(tx)?.is_some_and(|lease| lease.holder == holder && lease.until > wall) {
                    let over = Lease { holder, until: wall };
                    installation::set(tx, LEASE, &serde_json::to_string(&over).map_err(Error::internal)?)?;
                }
                Ok(())
            })
            .await
    }

    /// Matches all working orders with the prices up to now. Several processes may do so at the same time and
    /// repeatedly: the desk decides on the current state of the order, and a price affects an order only once.
    ///
    /// # Errors
    /// Only if the database fails. An order that the desk could not process is matched again in the next pass.
    pub async fn match_orders(&self) -> Result<Matched> {
        let mut matched = Matched::default();
        // Prices up to this time are matched. Orders and prices are both in the shares of this time.
        let now = self.market.now();
        self.corporate_actions.apply_due_actions().await?;
        let mut after = None;
        loop {
            let clock = self.market.clock.clone();
            let (ids, groups, actions) = self
                .store
                .read(move |tx| {
                    let ids = orders::working(tx, after, AT_ONCE)?;
                    let groups = orders::groups(tx, &ids)?;
                    let from = groups.iter().filter_map(matched_until).min().unwrap_or(now);
                    let actions = corporate_actions::taken_effect(tx, from, clock.now().max(now))?;
                    Ok::<_, Error>((ids, groups, actions))
                })
                .await?;
            if actions.iter().any(|known| known.effective_at > now) {
                // The change may already be applied: the next pass begins after it.
                return Ok(matched);
            }
            let histories = ActionHistories::of_known(&actions);
            let Some(last) = ids.last() else { return Ok(matched) };
            after = Some(*last);
            matched.working += ids.len();
            let mut by_stock: BTreeMap<StockId, (Symbol, Vec<OrderGroup>)> = BTreeMap::new();
            for group in groups {
                let (stock, symbol) = (group.root().stock_id, group.root().symbol.clone());
                by_stock.entry(stock).or_insert((symbol, Vec::new())).1.push(group);
            }
            let symbols: Vec<Symbol> = by_stock.values().map(|(symbol, _)| symbol.clone()).collect();
            let published = self.published_prices(&symbols).await?;
            let holds = self.corporate_actions.trading_holds().await?;
            // After a long jump of the clock there are many prices. Orders that have expired are matched first, up to
            // the time they expired, so that none stays open while others meet all prices.
            let due_by = self.settled_until(now);
            let mut lasting = Vec::with_capacity(by_stock.len());
            for (stock, (symbol, groups)) in by_stock {
                let span = MatchingSpan { now, end: now, is_held: holds.contains_key(&stock) };
                let end =
                    |group: &OrderGroup| group.ends_at(self.rules_of(group)).filter(|end| *end <= due_by);
                let (due, rest): (Vec<_>, Vec<_>) =
                    groups.into_iter().partition(|group| end(group).is_some());
                if let Some(end) = due.iter().filter_map(end).max() {
                    let span = MatchingSpan { end, ..span };
                    matched.changed +=
                        self.match_stock(&symbol, due, &histories, published.as_ref(), span).await?;
                }
                lasting.push((symbol, rest, span));
            }
            for (symbol, groups, span) in lasting {
                if !groups.is_empty() {
                    matched.changed +=
                        self.match_stock(&symbol, groups, &histories, published.as_ref(), span).await?;
                }
            }
        }
    }

    /// Calls [`settled_until`] for this source. Shared current prices are complete only when the call for them has
    /// ended.
    fn settled_until(&self, now: Timestamp) -> Timestamp {
        match self.market.freshness() {
            Freshness::Realtime if self.market.quotes.shares_prices() => now - CALL_LAG,
            freshness => settled_until(freshness, self.market.calendar, now),
        }
    }

    /// The newest prices of these symbols that any process received, for any purpose. `None` if prices are not shared;
    /// if they are, matching makes no calls of its own.
    async fn published_prices(&self, symbols: &[Symbol]) -> Result<Option<HashMap<Symbol, Published>>> {
        let quotes = &self.market.quotes;
        if !quotes.shares_prices() {
            return Ok(None);
        }
        let failed = |error: QuoteError| Error::from(StoreError::Unavailable(Box::new(error)));
        quotes.published_quotes(symbols).await.map(Some).map_err(failed)
    }

    fn rules_of(&self, group: &OrderGroup) -> &TradingRules {
        self.rules().of_portfolio(group.root().portfolio_id)
    }

    /// Matches the orders of one stock.
    async fn match_stock(
        &self,
        symbol: &Symbol,
        mut groups: Vec<OrderGroup>,
        histories: &ActionHistories,
        published: Option<&HashMap<Symbol, Published>>,
        span: MatchingSpan,
    ) -> Result<usize> {
        let MatchingSpan { now, end, is_held } = span;
        let stock = groups[0].root().stock_id;
        let settled = self.settled_until(now);
        let at_once = settled == now;
        let mut changed = match is_held {
            true => 0,
            false => self.match_closes(symbol, &groups, histories, now).await,
        };
        let Some(mut from) = groups.iter().filter_map(matched_until).min() else { return Ok(0) };
        let (mut matched_so_far, mut complete) = (from, true);
        let end = if at_once { (end + LONGEST_INTERVAL).min(now) } else { now };
        while from < end {
            let to = if at_once { (from + LONGEST_INTERVAL).min(end) } else { now };
            let found = match published {
                Some(published) => Ok(published
                    .get(symbol)
                    .map_or_else(Vec::new, |published| Gateway::move_of(&published.quote, from, to))),
                None => self.stocks.moves_of(symbol, from, to).await,
            };
            let moves: Arc<[PriceMove]> = match found {
                // Orders wait, and meet these prices once trading continues.
                _ if is_held => {
                    complete = false;
                    [].into()
                }
                // A price from the future is matched when its time has come.
                Ok(moves) => moves
                    .into_iter()
                    .filter(|price_move| price_move.at() - now <= PRICE_AHEAD)
                    .map(|price_move| histories.convert(stock, price_move, now))
                    .collect(),
                Err(error) => {
                    // Without prices, time still passes: a day order expires.
                    complete = false;
                    tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no prices for working orders");
                    [].into()
                }
            };
            let newest = moves.last().map_or(from, |newest| newest.quote.as_of);
            let until = if at_once { to } else { newest.max(settled) };
            let (touched, quiet): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|group| group.is_affected_by(&moves, until, self.rules_of(group)));
            groups = quiet;
            let work = touched.iter().map(|group| {
                let root = group.root();
                let (portfolio, order, moves) = (root.portfolio_id, root.id, moves.clone());
                self.desk().submit(Command::Work { portfolio, order, moves, until, converted_at: now })
            });
            for result in join_all(work).await {
                match result {
                    Ok(_) => changed += 1,
                    Err(error) => {
                        tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "a working order waits for the next pass")
                    }
                }
            }
            (from, matched_so_far) = (to, until);
        }
        // A missing price may still come, such as a closing price that is published late.
        if complete {
            self.record_progress(&groups, matched_so_far).await?;
        }
        Ok(changed)
    }

    /// Fills market-on-close and limit-on-close orders of ended sessions at the last trade of the session, once no
    /// later trade can come. If the source sends a price of the close itself, the orders fill at that price like other
    /// orders.
    async fn match_closes(
        &self,
        symbol: &Symbol,
        groups: &[OrderGroup],
        histories: &ActionHistories,
        now: Timestamp,
    ) -> usize {
        let mut changed = 0;
        let passed = |close: &Timestamp| *close + closing_lag(self.market.freshness()) <= now;
        let closes: BTreeSet<Timestamp> =
            groups.iter().filter_map(OrderGroup::awaited_close).filter(passed).collect();
        for close in closes {
            let Some(trade) = self.closing_trade(symbol, close, now).await else { continue };
            let waiting = groups.iter().filter(|group| group.awaited_close() == Some(close));
            for root in waiting.map(OrderGroup::root) {
                let (portfolio, order) = (root.portfolio_id, root.id);
                let moves = [histories.convert(root.stock_id, trade.clone(), now)].into();
                let work = Command::Work { portfolio, order, moves, until: close, converted_at: now };
                match self.desk().submit(work).await {
                    Ok(_) => changed += 1,
                    Err(error) => {
                        tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "an order at the close waits for the next pass")
                    }
                }
            }
        }
        changed
    }

    /// The last trade of the session that closed at `close`, as a price of that instant. `None` while it is unknown.
    async fn closing_trade(
        &self,
        symbol: &Symbol,
        close: Timestamp,
        now: Timestamp,
    ) -> Option<AsTraded<PriceMove>> {
        let quotes = &self.market.quotes;
        if quotes.is_scarce() {
            // This source sends the closing price as a price of its own.
            return None;
        }
        let session = self.market.calendar.last_closed(close);
        let simulated = self.market.freshness() == Freshness::Simulated;
        let at = if simulated { close } else { now };
        let newest = quotes.quotes(Purpose::CloseOrNews, std::slice::from_ref(symbol), at).await.pop();
        let quote = newest?.ok()?.into_as_traded();
        let is_of_session = (session.opens_at..=close).contains(&quote.as_of);
        let (quote, traded_at) = if is_of_session && !quote.stale {
            let traded_at = quote.as_of;
            (quote, traded_at)
        } else {
            // The price is from a later session, or a newer one may come: the published close is the last trade.
            let (purpose, date) = (Purpose::CloseOrNews, session.date);
            let bars = quotes.daily_bars(purpose, symbol, date, date, now).await.unwrap_or_default();
            match bars.into_iter().find(|bar| bar.date == session.date) {
                Some(bar) => (Quote { price: bar.close, ..quote }, session.opens_at),
                None if is_of_session && now >= close + PUBLICATION => {
                    let traded_at = quote.as_of;
                    (quote, traded_at)
                }
                None => return None,
            }
        };
        let closing =
            Quote { as_of: close, stale: false, bid: None, ask: None, previous_close: None, ..quote };
        Some(AsTraded::new(PriceMove { quote: closing, volume: None }, traded_at))
    }

    /// Records the matching progress of groups that did not change.
    async fn record_progress(&self, groups: &[OrderGroup], until: Timestamp) -> Result<()> {
        // With limited liquidity, the volume of this interval accumulates.
        let note_after = if self.rules().of_deployment().liquidity.is_some() {
            LIQUIDITY_WINDOW
        } else {
            RECORD_PROGRESS_AFTER
        };
        let late =
            |group: &&OrderGroup| matched_until(group).is_some_and(|matched| until - matched >= note_after);
        let working = groups.iter().filter(late).flat_map(|group| &group.orders);
        let (ids, mut owners): (Vec<OrderId>, Vec<PortfolioId>) = working
            .filter(|order| order.status.is_working())
            .map(|order| (order.id, order.portfolio_id))
            .unzip();
        if ids.is_empty() {
            return Ok(());
        }
        owners.sort_unstable();
        owners.dedup();
        self.store
            .write(move |tx| {
                // Locked in the same order as by the desk, to avoid deadlocks.
                portfolios::lock(tx, &owners)?;
                orders::set_last_matched(tx, &ids, until).map_err(Error::from)
            })
            .await
    }
}

/// The time up to which all prices are known at `now`: a day order that ends before it has met all its prices. A
/// closing price may come until the next session opens.
fn settled_until(freshness: Freshness, calendar: Calendar, now: Timestamp) -> Timestamp {
    match freshness {
        Freshness::Simulated | Freshness::Realtime => now,
        Freshness::Delayed => now - DELAY,
        Freshness::EndOfDay => {
            let last = calendar.last_closed(now);
            match calendar.session_at(now) {
                Some(_) => last.closes_at,
                None => calendar.before(last.date).closes_at,
            }
        }
    }
}

/// The longest delay of a delayed source's prices.
const DELAY: TimeDelta = TimeDelta::minutes(20);

/// How long to wait after a close for its price before the last trade counts as the close. A source of closing prices
/// reports the close itself.
fn closing_lag(freshness: Freshness) -> TimeDelta {
    match freshness {
        Freshness::Simulated | Freshness::EndOfDay => TimeDelta::zero(),
        Freshness::Realtime => TimeDelta::minutes(1),
        Freshness::Delayed => DELAY,
    }
}

/// Reads the lease. An unreadable value counts as no lease.
fn lease(tx: &mut Tx<'_>) -> Result<Option<Lease>> {
    Ok(installation::get(tx, LEASE)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The time up to which all working orders of a group have met the prices.
fn matched_until(group: &OrderGroup) -> Option<Timestamp> {
    group.orders.iter().filter(|order| order.status.is_working()).map(|order| order.last_matched_at).min()
}
