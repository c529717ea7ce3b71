//! Event streams: prices, valuations and a user's orders as they change.
//!
//! Events are only hints: the database has all data, and a client that missed events reloads. Once per second, one loop
//! per process requests the prices of all followed symbols and stores each price in a slot that all streams read. Order
//! changes come from the order desk after its commit, and from other processes through [`Peers`]. They are read from
//! the database before they are sent, so a message between processes contains only ids.

mod followed;
mod loops;
mod peers;
mod shared;
mod subscriber;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use domain::{OrderId, PortfolioId, PortfolioRef, Quote, Symbol, Timestamp, UserId};
use persistence::Store;
use tokio::sync::Notify;

pub use peers::Peers;
pub use shared::Shared;
pub use subscriber::{Subscription, Update};

use crate::Market;
use crate::accounts::{Accounts, secret};
use crate::books::Books;
use crate::corporate_actions::CorporateActions;
use crate::error::{Error, Result};
use crate::events::{Change, Events};
use crate::market::instruments::Instruments;
use crate::stocks::Stocks;
use crate::trading::{OrderWithFills, Trading};
use followed::Followed;
use shared::Slot;
use subscriber::{Feeds, Subscriber};

/// The limits on streams. Each stream needs a connection and a few kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// The most streams of one user, in this process.
    pub per_user: usize,
    /// The most streams of all users, in this process.
    pub in_all: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { per_user: 10, in_all: 15_000 }
    }
}

/// The credential that opened a stream and must stay valid, as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    Session(String),
    Token(String),
}

impl Proof {
    /// The proof of a session with the key `key`.
    pub fn session(key: &str) -> Self {
        Self::Session(secret::hash(key))
    }

    pub fn token(token: &str) -> Self {
        Self::Token(secret::hash(token))
    }
}

/// The contents of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// Symbols whose prices are sent.
    pub symbols: Vec<Symbol>,
    /// Portfolios whose valuations and orders are sent; if empty, the orders of all portfolios.
    pub portfolios: Vec<PortfolioId>,
    /// The id of the last event that the client received on an earlier stream.
    pub last_event_id: Option<String>,
}

/// The most symbols of a stream, the same as of a watchlist.
pub const MAX_SYMBOLS: usize = 200;
pub const MAX_PORTFOLIOS: usize = 20;

/// How often, and at which interval, all streams are written to in order to find those whose client is gone.
const PROBES: usize = 4;
const PROBE: Duration = Duration::from_millis(100);

/// An order that was placed or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderChanged {
    pub order: OrderWithFills,
    /// The market time up to which the user's orders have been sent, including this one.
    pub at: Timestamp,
}

/// How far before the last event, in wall time, changes are sent again. Changes are not committed in the order of their
/// times, and reach other processes even later.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// Changes older than this, in wall time, are not sent again one by one: the client reloads.
const REPLAYED: TimeDelta = TimeDelta::hours(1);
const MAX_REPLAYED: usize = 100;

/// The id of an event: the time up to which orders have been sent, in microseconds of market time.
pub fn event_id(at: Timestamp) -> i64 {
    at.utc().timestamp_micros()
}

/// The slot of a symbol's newest price.
type PriceSlot = (Symbol, Arc<Slot<Quote>>);

/// All streams of a process.
pub(crate) struct Hub {
    limits: StreamLimits,
    state: Mutex<State>,
    /// Counts the versions of prices and values.
    versions: AtomicU64,
    /// Seconds since the loops began.
    seconds: AtomicU64,
    /// The second of the last request for prices.
    requested_at: AtomicU64,
    /// The share basis of the most recent prices.
    last_basis: Mutex<Option<loops::Basis>>,
    /// The number of streams, which can be read without the lock.
    audience: AtomicUsize,
    /// Wakes the loop that reads changes from the database.
    news: Notify,
}

#[derive(Default)]
struct State {
    last_id: u64,
    closing: bool,
    subscribers: HashMap<u64, Arc<Subscriber>>,
    users: HashMap<UserId, User>,
    quotes: HashMap<Symbol, Arc<Slot<Quote>>>,
    portfolios: HashMap<PortfolioId, Arc<Followed>>,
}

/// A user who has streams.
#[derive(Default)]
struct User {
    /// Reserved places, including those of streams that are being opened.
    places: usize,
    streams: Vec<Arc<Subscriber>>,
    /// Changed orders that are not read yet.
    orders: BTreeSet<OrderId>,
}

impl Hub {
    pub fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            versions: AtomicU64::new(0),
            seconds: AtomicU64::new(0),
            requested_at: AtomicU64::new(0),
            last_basis: Mutex::default(),
            audience: AtomicUsize::new(0),
            news: Notify::new(),
        }
    }

    /// Records changes of users who have streams here.
    fn record_changes(&self, changes: &[Change]) {
        if self.audience.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut state = self.state();
        let mut news = false;
        for change in changes {
            if let Some(followed) = state.portfolios.get(&change.portfolio) {
                followed.record_change();
                news = true;
            }
            if let Some(user) = state.users.get_mut(&change.user) {
                user.orders.extend(&change.orders);
                news = true;
            }
        }
        drop(state);
        if news {
            self.news.notify_one();
        }
    }

    /// Makes all clients reload, because messages were lost.
    fn reset_all(&self, at: Timestamp) {
        let at = Arc::new(Shared::new(at));
        let state = self.state();
        state.portfolios.values().for_each(|followed| followed.record_change());
        state.subscribers.values().for_each(|subscriber| subscriber.reset(&at));
        drop(state);
        self.news.notify_one();
    }

    /// Ends all streams and rejects new ones.
    fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        state.subscribers.values().for_each(|subscriber| subscriber.end());
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn second(&self) -> u64 {
        self.seconds.load(Ordering::Relaxed)
    }

    fn take_place(self: &Arc<Self>, user: UserId) -> Result<StreamPlace> {
        let mut state = self.state();
        if state.closing || self.audience.load(Ordering::Acquire) >= self.limits.in_all {
            return Err(Error::StreamsFull);
        }
        let places = &mut state.users.entry(user).or_default().places;
        if *places >= self.limits.per_user {
            return Err(Error::TooManyStreams(self.limits.per_user));
        }
        *places += 1;
        self.audience.fetch_add(1, Ordering::AcqRel);
        Ok(StreamPlace { live: self.clone(), user })
    }

    /// Returns the slots of the newest prices of these symbols.
    fn slots(&self, symbols: impl Iterator<Item = Symbol>) -> Vec<PriceSlot> {
        let mut state = self.state();
        symbols.map(|symbol| (symbol.clone(), state.quotes.entry(symbol).or_default().clone())).collect()
    }

    fn followed(&self, portfolio: PortfolioRef) -> Option<Arc<Followed>> {
        self.state().portfolios.get(&portfolio.id).filter(|followed| followed.portfolio == portfolio).cloned()
    }

    fn forget(&self, subscriber: &Arc<Subscriber>) {
        let mut state = self.state();
        state.subscribers.remove(&subscriber.id);
        if let Some(user) = state.users.get_mut(&subscriber.user) {
            user.streams.retain(|stream| stream.id != subscriber.id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reservation of one stream of a user.
pub(super) struct StreamPlace {
    live: Arc<Hub>,
    user: UserId,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut state = self.live.state();
        if let Some(user) = state.users.get_mut(&self.user) {
            user.places -= 1;
            if user.places == 0 {
                state.users.remove(&self.user);
            }
        }
        if self.live.audience.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Without streams the slots are not updated. They are dropped, so that the next stream does not begin with
            // old data.
            state.portfolios.retain(|_, followed| Arc::strong_count(followed) > 1);
            state.quotes.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
    }
}

/// The use cases of event streams. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Live {
    store: Store,
    market: Arc<Market>,
    events: Arc<Events>,
    accounts: Arc<Accounts>,
    instruments: Arc<Instruments>,
    stocks: Arc<Stocks>,
    corporate_actions: Arc<CorporateActions>,
    books: Arc<Books>,
    trading: Arc<Trading>,
    hub: Arc<Hub>,
}

/// The use cases whose results streams show.
pub(crate) struct StreamUseCases {
    pub accounts: Arc<Accounts>,
    pub instruments: Arc<Instruments>,
    pub stocks: Arc<Stocks>,
    pub corporate_actions: Arc<CorporateActions>,
    pub books: Arc<Books>,
    pub trading: Arc<Trading>,
}

impl Live {
    /// Creates the use cases and subscribes to `events`.
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        events: Arc<Events>,
        limits: StreamLimits,
        shown: StreamUseCases,
    ) -> Self {
        let hub = Arc::new(Hub::new(limits));
        let listener = hub.clone();
        events.subscribe(move |changes| listener.record_changes(changes));
        let StreamUseCases { accounts, instruments, stocks, corporate_actions, books, trading } = shown;
        Self { store, market, events, accounts, instruments, stocks, corporate_actions, books, trading, hub }
    }

    /// The limit on the number of streams.
    pub(crate) fn max_streams(&self) -> usize {
        self.hub.limits.in_all
    }
}

impl Live {
    /// Opens a stream. It begins with the newest prices and valuations, and with the orders that have changed since the
    /// last event.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`], [`Error::StreamsFull`], [`Error::Invalid`] for too many symbols or portfolios,
    /// [`Error::NotFound`] for a portfolio, and the errors of
    /// [`Instruments::stock`](crate::market::instruments::Instruments::stock).
    pub async fn follow(&self, user: UserId, proof: Proof, wanted: StreamRequest) -> Result<Subscription> {
        let StreamRequest { mut symbols, mut portfolios, last_event_id } = wanted;
        symbols.sort_unstable();
        symbols.dedup();
        portfolios.sort_unstable();
        portfolios.dedup();
        if symbols.len() > MAX_SYMBOLS {
            return Err(Error::invalid("symbols", format!("name {MAX_SYMBOLS} symbols at most")));
        }
        if portfolios.len() > MAX_PORTFOLIOS {
            return Err(Error::invalid("portfolio", format!("name {MAX_PORTFOLIOS} portfolios at most")));
        }
        let place = self.find_place(user).await?;
        for symbol in &symbols {
            self.instruments.known_stock(user, symbol).await?;
        }
        let mut valuations = Vec::with_capacity(portfolios.len());
        for id in &portfolios {
            valuations.push(self.follow_portfolio(PortfolioRef::new(user, *id)).await?);
        }
        let slots = self.hub.slots(symbols.into_iter());
        self.fill(&slots).await;

        let live = self.hub.clone();
        let only = (!portfolios.is_empty()).then(|| portfolios.into_boxed_slice());
        let quotes = slots.into_iter().map(|(_, slot)| slot).collect();
        let subscriber = {
            let mut state = live.state();
            if state.closing {
                return Err(Error::StreamsFull);
            }
            state.last_id += 1;
            // Another stream of the user may have followed the portfolio at the same time: both share one entry.
            let shared = |followed: Arc<Followed>| {
                state.portfolios.entry(followed.portfolio.id).or_insert(followed).clone()
            };
            let valuations = valuations.into_iter().map(shared).collect();
            let subscriber = Arc::new(Subscriber::new(
                state.last_id,
                (user, proof),
                Feeds { portfolios: only, quotes, valuations },
                live.second(),
            ));
            state.subscribers.insert(subscriber.id, subscriber.clone());
            state.users.entry(user).or_default().streams.push(subscriber.clone());
            subscriber
        };
        let subscription = Subscription::new(live, subscriber, place);
        // The books are read after the stream was registered, so later changes are sent anyway. Earlier changes, and
        // unannounced ones by other processes, show in the portfolios' versions.
        for followed in &subscription.subscriber.valuations {
            self.renew_books(followed).await?;
        }
        self.catch_up(&subscription.subscriber, last_event_id.as_deref()).await?;
        Ok(subscription)
    }

    /// Announces changes of this process to other processes through `peers`. Called once.
    pub fn connect_peers(&self, peers: Arc<dyn Peers>) {
        self.events.subscribe(move |changes| peers.send_changes(changes.to_vec()));
    }

    /// Applies changes that another process committed.
    pub fn receive_changes(&self, changes: &[Change]) {
        self.hub.record_changes(changes);
    }

    /// Whether streams exist or are being opened.
    pub fn has_streams(&self) -> bool {
        self.hub.audience.load(Ordering::Acquire) > 0
    }

    /// Handles the possible loss of messages from other processes: all clients reload.
    pub fn missed_changes(&self) {
        self.hub.reset_all(self.market.now());
    }

    /// Ends all streams, because the process is shutting down.
    pub fn end_streams(&self) {
        self.hub.close();
    }

    /// The number of open streams.
    pub fn open_streams(&self) -> usize {
        self.hub.state().subscribers.len()
    }

    /// Reserves a place for a stream. A client that has gone away is noticed at the second write, so all streams are
    /// written to before a user is rejected.
    async fn find_place(&self, user: UserId) -> Result<StreamPlace> {
        for _ in 0..PROBES {
            match self.hub.take_place(user) {
                Err(Error::TooManyStreams(_) | Error::StreamsFull) => {}
                other => return other,
            }
            let at = Arc::new(Shared::new(self.market.now()));
            self.hub.streams_of(user).iter().for_each(|stream| stream.beat(&at));
            tokio::time::sleep(PROBE).await;
        }
        self.hub.take_place(user)
    }

    async fn follow_portfolio(&self, portfolio: PortfolioRef) -> Result<Arc<Followed>> {
        let followed = self.hub.followed(portfolio).unwrap_or_else(|| Arc::new(Followed::new(portfolio)));
        self.renew_books(&followed).await?;
        Ok(followed)
    }

    /// Reads and values the books of a portfolio, unless the database confirms that they are current.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio.
    async fn renew_books(&self, followed: &Followed) -> Result<()> {
        let newest = match followed.version() {
            Some(kept) => self
                .books
                .versions()
                .version_of(followed.portfolio)
                .await
                .map(|newest| newest.number() <= kept),
            None => None,
        };
        if newest != Some(true) {
            self.read_books(followed).await?;
        }
        // Books that were just read are valued here; the loop would value them only in the next second.
        let version = self.hub.versions.load(Ordering::Acquire);
        followed.value(version, || self.hub.next_version(), self.market.now());
        // Wakes the streams that already follow the portfolio.
        self.hub.streams_of(followed.portfolio.user).iter().for_each(|stream| stream.wake());
        Ok(())
    }

    /// Sends the orders that have changed since the last event. If there are too many, the client reloads.
    async fn catch_up(&self, subscriber: &Arc<Subscriber>, last_event_id: Option<&str>) -> Result<()> {
        let (now, wall) = (self.market.now(), self.market.clock.wall());
        let at = Arc::new(Shared::new(now));
        subscriber.beat(&at);
        // Each caller gets a value of its own, because a shared value keeps its first serialized form.
        let reset = Arc::new(Shared::new(now));
        let Some(last) = last_event_id else { return Ok(()) };
        // Market time may run faster than wall time.
        let before = |span: TimeDelta| self.market.clock.at_wall(wall - span);
        let last = last.trim().parse().ok().and_then(DateTime::from_timestamp_micros).map(Timestamp::from);
        let Some(last) = last.filter(|last| (before(REPLAYED)..=now).contains(last)) else {
            subscriber.reset(&reset);
            return Ok(());
        };
        let since = last - (now - before(OVERLAP));
        let (user, only) = (subscriber.user, subscriber.portfolios.clone());
        match self.trading.orders_changed_since(user, only, since, MAX_REPLAYED).await? {
            Some(orders) => {
                for order in orders {
                    subscriber.push_order(Arc::new(Shared::new(OrderChanged { order, at: now })));
                }
            }
            None => subscriber.reset(&reset),
        }
        Ok(())
    }
}
