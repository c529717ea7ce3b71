//! The loops that serve streams: they request prices, read books and orders, and confirm credentials.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domain::{AsTraded, Freshness, OrderId, PortfolioId, Quote, Stock, StockId, Symbol, Timestamp, UserId};
use futures::StreamExt;
use market_data::Purpose;
use persistence::{portfolios, stocks};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::followed::Followed;
use super::shared::Shared;
use super::subscriber::Subscriber;
use super::{Hub, OrderChanged, PriceSlot, Proof};
use crate::error::{Error, NotFound, Result};
use crate::live::Live;
use crate::trading::OrderWithFills;

/// The share basis of displayed prices: the opening of the session, and the count of new corporate actions.
pub(super) type Basis = (Timestamp, u64);

/// How often prices are requested and credentials confirmed.
const EVERY: Duration = Duration::from_secs(1);
/// Seconds between heartbeats of a stream.
const HEARTBEAT: u64 = 15;
/// The maximum age of a credential's confirmation, in seconds, while the database does not answer. Until then, streams
/// stay open.
const CONFIRMATION_TTL_S: u64 = 10;
/// The age in seconds at which books are read again, even without an announced change.
const BOOKS_KEPT: u64 = 30;
/// Portfolios per statement that reads versions.
const VERSIONS_AT_ONCE: usize = 500;
/// Portfolios whose books are read in parallel.
const READ_AT_ONCE: usize = 4;
/// Orders per statement.
const ORDERS_AT_ONCE: usize = 500;

impl Hub {
    /// Returns all followed prices and portfolios, and drops those that no stream follows.
    fn all_followed(&self) -> (Vec<PriceSlot>, Vec<Arc<Followed>>) {
        let mut state = self.state();
        // Portfolios go first, because they hold references to prices.
        state.portfolios.retain(|_, followed| Arc::strong_count(followed) > 1);
        state.quotes.retain(|_, slot| Arc::strong_count(slot) > 1);
        let quotes = state.quotes.iter().map(|(symbol, slot)| (symbol.clone(), slot.clone())).collect();
        (quotes, state.portfolios.values().cloned().collect())
    }

    /// Wakes the streams that follow a price or value with a version above `version`.
    fn wake_above(&self, version: u64) {
        // The streams send on other threads, which should not wait for the lock.
        for subscriber in self.subscribers() {
            if subscriber.is_behind(version) {
                subscriber.wake();
            }
        }
    }

    fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        self.state().subscribers.values().cloned().collect()
    }

    pub(super) fn streams_of(&self, user: UserId) -> Vec<Arc<Subscriber>> {
        self.state().users.get(&user).map(|user| user.streams.clone()).unwrap_or_default()
    }

    /// Takes the orders to read, by user.
    fn take_orders(&self) -> Vec<(UserId, BTreeSet<OrderId>)> {
        let mut state = self.state();
        let changed = state.users.iter_mut().filter(|(_, user)| !user.orders.is_empty());
        changed.map(|(id, user)| (*id, std::mem::take(&mut user.orders))).collect()
    }

    /// Whether prices should be requested: after `pause` seconds, or immediately if the share basis may have changed.
    fn is_request_due(&self, pause: u64, basis: Basis) -> bool {
        let second = self.second();
        let changed = self.update_basis(basis);
        let due = changed || second >= self.requested_at.load(Ordering::Relaxed) + pause;
        if due {
            self.requested_at.store(second, Ordering::Relaxed);
        }
        due
    }

    /// Stores the share basis of the prices. Returns whether it has changed.
    fn update_basis(&self, basis: Basis) -> bool {
        let mut last_basis = self.last_basis.lock().unwrap_or_else(PoisonError::into_inner);
        last_basis.replace(basis).is_some_and(|before| before != basis)
    }

    fn is_idle(&self) -> bool {
        self.audience.load(Ordering::Acquire) == 0
    }
}

impl Live {
    /// Serves all streams of this process while it is polled. The loops are independent: a slow price source does not
    /// delay orders, and a slow database does not delay prices.
    pub async fn keep_streams(&self) {
        let prices = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                self.tick_streams().await;
            }
        };
        let proofs = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                self.confirm_streams().await;
            }
        };
        let pulse = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                self.beat_streams();
            }
        };
        let books = async {
            let mut seconds = seconds();
            loop {
                seconds.tick().await;
                self.compare_books().await;
            }
        };
        let news = async {
            loop {
                // Runs at least once per second, because books also become outdated without a notification.
                let _ = tokio::time::timeout(EVERY, self.hub.news.notified()).await;
                self.read_news().await;
            }
        };
        tokio::join!(prices, proofs, pulse, books, news);
    }

    /// Requests the followed prices, values portfolios with them, and wakes streams.
    pub async fn tick_streams(&self) {
        if self.hub.is_idle() {
            return;
        }
        let (slots, portfolios) = self.hub.all_followed();
        let before = self.hub.versions.load(Ordering::Acquire);
        let now = self.market.now();
        if self.hub.is_request_due(pause(self.market.freshness()), self.basis(now)) {
            self.request_prices(&slots, Purpose::Followed, now).await;
        }
        for followed in portfolios {
            followed.value(before, || self.hub.next_version(), now);
        }
        self.hub.wake_above(before);
    }

    /// The current share basis. Splits take effect at openings, and may become known late.
    fn basis(&self, now: Timestamp) -> Basis {
        let calendar = self.market.calendar;
        let session = calendar.session_at(now).unwrap_or_else(|| calendar.last_closed(now));
        (session.opens_at, self.corporate_actions.action_counter().count())
    }

    /// Requests the newest prices. If a price is not available, the old one stays, marked as stale.
    async fn request_prices(&self, slots: &[PriceSlot], purpose: Purpose, at: Timestamp) {
        if slots.is_empty() {
            return;
        }
        let opened_at = self.market.opened_at(at);
        let (ended, asked): (Vec<&PriceSlot>, Vec<&PriceSlot>) = {
            let ended = self.delisted_symbols(slots, opened_at).await;
            slots.iter().partition(|(symbol, _)| ended.contains(symbol))
        };
        for (symbol, slot) in ended {
            // The last price of a delisted stock is shown once, marked as stale.
            if slot.newest().is_none_or(|shown| !shown.value.stale)
                && let Ok(quote) = self.stocks.quote(symbol).await
            {
                slot.set(quote, self.hub.next_version());
            }
        }
        if asked.is_empty() {
            return;
        }
        let symbols: Vec<Symbol> = asked.iter().map(|(symbol, _)| symbol.clone()).collect();
        let found = match purpose {
            Purpose::Followed => self.market.quotes.followed_quotes(&symbols, at).await,
            purpose => self.market.quotes.quotes(purpose, &symbols, at).await,
        };
        let held = self.corporate_actions.held_symbols().await;
        for ((symbol, slot), found) in asked.into_iter().zip(found) {
            let before = slot.newest();
            if held.contains(symbol) {
                if let Ok(quote) = self.stocks.quote(symbol).await
                    && before.is_none_or(|before| before.value != quote)
                {
                    slot.set(quote, self.hub.next_version());
                }
                continue;
            }
            let converted = match found {
                Ok(traded) => self.in_shares_of_symbol(symbol, traded, at).await.ok(),
                Err(_) => None,
            };
            let quote = match (converted, &before) {
                (Some(quote), _) => Some(quote),
                (None, Some(before)) if before.value.as_of >= opened_at => {
                    Some(Quote { stale: true, ..before.value.clone() })
                }
                // The stock may have been split since: the last stored price is converted, instead of the displayed
                // one.
                (None, Some(_)) => self.stocks.quote(symbol).await.ok(),
                (None, None) => None,
            };
            if let Some(quote) = quote
                && before.is_none_or(|before| before.value != quote)
            {
                slot.set(quote, self.hub.next_version());
            }
        }
    }

    /// The followed symbols of delisted stocks. A real source is not called for them: it has no newer price, or the
    /// price of another company. Only stocks without a price of the session are looked up.
    async fn delisted_symbols(&self, slots: &[PriceSlot], opened_at: Timestamp) -> HashSet<Symbol> {
        if self.market.freshness() == Freshness::Simulated {
            return HashSet::new();
        }
        let is_old = |slot: &PriceSlot| slot.1.newest().is_none_or(|shown| shown.value.as_of < opened_at);
        let old: Vec<Symbol> =
            slots.iter().filter(|slot| is_old(slot)).map(|(symbol, _)| symbol.clone()).collect();
        if old.is_empty() {
            return HashSet::new();
        }
        let found = self.store.read(move |tx| stocks::delisted(tx, &old).map_err(Error::from)).await;
        found.unwrap_or_default()
    }

    /// Converts a quote to the shares that exist at `at`. For a quote of the current session, the stock is not looked
    /// up.
    async fn in_shares_of_symbol(
        &self,
        symbol: &Symbol,
        quote: AsTraded<Quote>,
        at: Timestamp,
    ) -> Result<Quote> {
        if quote.at() >= self.market.opened_at(at) {
            return Ok(quote.into_as_traded());
        }
        let stock = self.instruments.stock(symbol).await?;
        self.corporate_actions.one_in_shares_at(stock.id, quote, at).await
    }

    /// Fills the slots of symbols that were not followed before, with a new price or the last known one.
    pub(super) async fn fill(&self, slots: &[PriceSlot]) {
        let empty = |slots: &[PriceSlot]| -> Vec<PriceSlot> {
            slots.iter().filter(|(_, slot)| slot.version() == 0).cloned().collect()
        };
        let now = self.market.now();
        if self.hub.update_basis(self.basis(now)) {
            let (followed, _) = self.hub.all_followed();
            self.request_prices(&followed, Purpose::Interactive, now).await;
        }
        let open = empty(slots);
        self.request_prices(&open, Purpose::Interactive, now).await;
        for (symbol, slot) in empty(&open) {
            // The stock may never have had a price; then the stream begins without one.
            if let Ok(quote) = self.stocks.quote(&symbol).await {
                slot.set(quote, self.hub.next_version());
            }
        }
    }

    /// Reads the books of a followed portfolio.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    pub(super) async fn read_books(&self, followed: &Followed) -> Result<()> {
        let since = self.market.previous_close_at(self.market.now());
        let loaded = self.books.loaded(followed.portfolio, since).await?;
        let wanted: HashMap<Symbol, StockId> =
            loaded.priced_stocks().map(|stock| (stock.listing.symbol.clone(), stock.id)).collect();
        let slots = self.hub.slots(wanted.keys().cloned());
        self.fill(&slots).await;
        let empty: HashSet<&Symbol> =
            slots.iter().filter(|(_, slot)| slot.version() == 0).map(|(symbol, _)| symbol).collect();
        let without: Vec<&Stock> =
            loaded.priced_stocks().filter(|stock| empty.contains(&stock.listing.symbol)).collect();
        let quotes = self.stocks.valuation_quotes(&without, self.market.now()).await?;
        let last = without.iter().zip(quotes).filter_map(|(stock, quote)| Some((stock.id, quote?))).collect();
        let prices =
            slots.into_iter().filter_map(|(symbol, slot)| Some((*wanted.get(&symbol)?, slot))).collect();
        followed.keep(loaded, prices, last, (since, self.hub.second()));
        Ok(())
    }

    /// Reads and sends changes: orders, and the books of followed portfolios.
    pub async fn read_news(&self) {
        if self.hub.is_idle() {
            return;
        }
        let changed = self.hub.take_orders();
        if !changed.is_empty()
            && let Err(error) = self.push_orders(&changed).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "orders could not be read for their streams, which have to reload"
            );
            let at = Arc::new(Shared::new(self.market.now()));
            for (user, _) in changed {
                self.hub.streams_of(user).iter().for_each(|stream| stream.reset(&at));
            }
        }
        let (_, portfolios) = self.hub.all_followed();
        let since = self.market.previous_close_at(self.market.now());
        let second = self.hub.second();
        let wanted =
            portfolios.into_iter().filter(|followed| followed.wants_books(since, second, BOOKS_KEPT));
        futures::stream::iter(wanted)
            .for_each_concurrent(READ_AT_ONCE, |followed| async move {
                match self.read_books(&followed).await {
                    Ok(()) => {}
                    Err(Error::NotFound(NotFound::Portfolio)) => {
                        // The displayed value is no longer valid.
                        followed.give_up();
                        self.reset_streams_of(&followed);
                    }
                    Err(error) => {
                        tracing::debug!(portfolio.id = %followed.portfolio.id, error = &error as &dyn std::error::Error, "books could not be read");
                        followed.move_on();
                    }
                }
            })
            .await;
    }

    /// Finds unannounced changes of followed portfolios by comparing versions with the database: another process made
    /// the change, and its message was lost or could not be sent. The books are read again. If no message has come by
    /// the next comparison, the clients reload, because it is unknown which orders changed.
    pub async fn compare_books(&self) {
        if self.hub.is_idle() {
            return;
        }
        let (_, followed) = self.hub.all_followed();
        let mut outdated = false;
        for batch in followed.chunks(VERSIONS_AT_ONCE) {
            let ids: Vec<PortfolioId> = batch.iter().map(|followed| followed.portfolio.id).collect();
            let found =
                self.store.query(move |statement| portfolios::versions(statement, &ids).map_err(Error::from));
            let versions: HashMap<PortfolioId, i64> = match found.await {
                Ok(rows) => rows.into_iter().map(|(id, _, version, _)| (id, version)).collect(),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "the versions of followed portfolios could not be read"
                    );
                    break;
                }
            };
            for followed in batch {
                let compared = followed.compare(versions.get(&followed.portfolio.id).copied());
                outdated |= compared.outdated;
                if compared.never_told {
                    self.reset_streams_of(followed);
                }
            }
        }
        if outdated {
            self.hub.news.notify_one();
        }
    }

    fn reset_streams_of(&self, followed: &Followed) {
        let at = Arc::new(Shared::new(self.market.now()));
        let streams = self.hub.streams_of(followed.portfolio.user);
        streams
            .iter()
            .filter(|stream| stream.values(followed.portfolio.id))
            .for_each(|stream| stream.reset(&at));
    }

    async fn push_orders(&self, changed: &[(UserId, BTreeSet<OrderId>)]) -> Result<()> {
        let ids: Vec<OrderId> = changed.iter().flat_map(|(_, orders)| orders.iter().copied()).collect();
        // The time is taken before the orders are read, so that later changes have a later id.
        let at = self.market.now();
        let mut found: HashMap<OrderId, OrderWithFills> = HashMap::new();
        for ids in ids.chunks(ORDERS_AT_ONCE) {
            let read = self.trading.orders_of_ids(ids.to_vec()).await?;
            found.extend(read.into_iter().map(|order| (order.order.id, order)));
        }
        for (user, ids) in changed {
            let streams = self.hub.streams_of(*user);
            for order in ids.iter().filter_map(|id| found.remove(id)) {
                let portfolio: PortfolioId = order.order.portfolio_id;
                let told = Arc::new(Shared::new(OrderChanged { order, at }));
                streams
                    .iter()
                    .filter(|stream| stream.follows_orders_of(portfolio))
                    .for_each(|stream| stream.push_order(told.clone()));
            }
        }
        Ok(())
    }

    /// Ends the streams whose session or token has expired, or whose account is closed.
    pub async fn confirm_streams(&self) {
        if self.hub.is_idle() {
            return;
        }
        let requested_at = self.hub.second();
        let streams = self.hub.subscribers();
        let mut sessions: HashSet<&str> = HashSet::new();
        let mut tokens: HashSet<&str> = HashSet::new();
        for stream in &streams {
            match &stream.proof {
                Proof::Session(hash) => sessions.insert(hash),
                Proof::Token(hash) => tokens.insert(hash),
            };
        }
        let owned = |hashes: HashSet<&str>| hashes.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let owners = async {
            let mut owners = self.accounts.session_owners(owned(sessions)).await?;
            owners.extend(self.accounts.token_owners(owned(tokens)).await?);
            Ok::<_, Error>(owners)
        };
        match owners.await {
            Ok(owners) => {
                for stream in &streams {
                    let (Proof::Session(hash) | Proof::Token(hash)) = &stream.proof;
                    match owners.get(hash) {
                        Some(user) if *user == stream.user => {
                            stream.confirmed_at.store(requested_at, Ordering::Relaxed);
                        }
                        _ => stream.end(),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the credentials of streams cannot be confirmed"
                );
                for stream in &streams {
                    if requested_at.saturating_sub(stream.confirmed_at.load(Ordering::Relaxed))
                        >= CONFIRMATION_TTL_S
                    {
                        stream.end();
                    }
                }
            }
        }
    }

    /// Sends the heartbeats that are due. Called every second.
    pub fn beat_streams(&self) {
        let second = self.hub.seconds.fetch_add(1, Ordering::Relaxed) + 1;
        if self.hub.is_idle() {
            return;
        }
        let at = Arc::new(Shared::new(self.market.now()));
        for stream in self.hub.subscribers() {
            if (second + stream.id).is_multiple_of(HEARTBEAT) {
                stream.beat(&at);
            }
        }
    }
}

/// Seconds between requests for prices. A source that publishes rarely is not called every second.
fn pause(freshness: Freshness) -> u64 {
    match freshness {
        Freshness::Simulated | Freshness::Realtime => 0,
        Freshness::Delayed => 10,
        Freshness::EndOfDay => 60,
    }
}

fn seconds() -> Interval {
    let mut seconds = interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}
