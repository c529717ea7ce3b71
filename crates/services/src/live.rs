//! Streams: prices, valuations and a user's orders as they change, told to whoever listens.
//!
//! A stream is a hint. What it tells stands in the database, and who has missed something is told to load it anew.
//! One loop per process asks once a second for the prices that anybody follows, and puts each into a place where all
//! streams that follow it look. Orders come from the desk after their commit, from other processes by way of
//! [`Peers`]; they are read from the database before they are told, so a message needs to carry no more than ids.

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
use domain::{OrderId, PortfolioId, Quote, Symbol, Timestamp, UserId};
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
use subscriber::Subscriber;

/// How many streams there may be. Each keeps a connection and a few kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Of one user, in this process.
    pub per_user: usize,
    /// Of all users, in this process.
    pub in_all: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { per_user: 10, in_all: 10_000 }
    }
}

/// What opened a stream, and has to hold while it lasts. Kept as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    Session(String),
    Token(String),
}

impl Proof {
    /// `key` is the session's.
    pub fn session(key: &str) -> Self {
        Self::Session(secret::hash(key))
    }

    pub fn token(token: &str) -> Self {
        Self::Token(secret::hash(token))
    }
}

/// What a stream is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Their prices.
    pub symbols: Vec<Symbol>,
    /// Their valuations, and of orders only theirs; when it is empty, the orders of all portfolios.
    pub portfolios: Vec<PortfolioId>,
    /// The id of the last event that a stream before this one told.
    pub last_event_id: Option<String>,
}

/// As many as a watchlist holds.
pub const MOST_SYMBOLS: usize = 200;
pub const MOST_PORTFOLIOS: usize = 20;

/// How often, and how long after one another, streams are written to in search of those that nobody reads any more.
const PROBES: usize = 4;
const PROBE: Duration = Duration::from_millis(100);

/// An order that was placed or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderChanged {
    pub order: OrderWithFills,
    /// The market time up to which the user's orders have been told with it.
    pub at: Timestamp,
}

/// How much wall time before the last event changes are told again. They are written in another order than their
/// times say, and a process hears of them later still.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// What is further back than this wall time is not told again one by one.
const REPLAYED: TimeDelta = TimeDelta::hours(1);
const MOST_REPLAYED: usize = 100;

/// The id of an event: up to when orders have been told, in microseconds of market time.
pub fn event_id(at: Timestamp) -> i64 {
    at.utc().timestamp_micros()
}

/// Where the newest price of a symbol stands.
type PriceSlot = (Symbol, Arc<Slot<Quote>>);

/// All streams of a process.
pub(crate) struct Hub {
    limits: StreamLimits,
    state: Mutex<State>,
    /// Versions of prices and values.
    versions: AtomicU64,
    /// Seconds since the loops began.
    seconds: AtomicU64,
    /// The second in which prices were last asked for.
    asked_at: AtomicU64,
    /// The share basis in which prices were last asked for.
    asked_in: Mutex<Option<loops::Basis>>,
    /// How many streams there are, to be seen without the lock.
    audience: AtomicUsize,
    /// Something is to be read from the database.
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

/// Somebody with streams.
#[derive(Default)]
struct User {
    /// Places taken, also by streams that are being opened.
    places: usize,
    streams: Vec<Arc<Subscriber>>,
    /// Orders that have changed and are to be read.
    orders: BTreeSet<OrderId>,
}

impl Hub {
    pub fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            versions: AtomicU64::new(0),
            seconds: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            asked_in: Mutex::default(),
            audience: AtomicUsize::new(0),
            news: Notify::new(),
        }
    }

    /// Notes what has changed for those who have streams here.
    fn hear(&self, changes: &[Change]) {
        if self.audience.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut state = self.state();
        let mut news = false;
        for change in changes {
            if let Some(followed) = state.portfolios.get(&change.portfolio) {
                followed.hear();
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

    /// All streams have to load anew what they show: messages were lost.
    fn reset_all(&self, at: Timestamp) {
        let at = Arc::new(Shared::new(at));
        let state = self.state();
        state.portfolios.values().for_each(|followed| followed.hear());
        state.subscribers.values().for_each(|subscriber| subscriber.reset(&at));
        drop(state);
        self.news.notify_one();
    }

    /// Ends all streams; there will be no others.
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

    fn take_place(self: &Arc<Self>, user: UserId) -> Result<Place> {
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
        Ok(Place { live: self.clone(), user })
    }

    /// The place where the newest price of each symbol stands.
    fn slots(&self, symbols: impl Iterator<Item = Symbol>) -> Vec<PriceSlot> {
        let mut state = self.state();
        symbols.map(|symbol| (symbol.clone(), state.quotes.entry(symbol).or_default().clone())).collect()
    }

    fn followed(&self, user: UserId, id: PortfolioId) -> Option<Arc<Followed>> {
        self.state().portfolios.get(&id).filter(|followed| followed.user == user).cloned()
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

/// One of the streams that a user may have.
pub(super) struct Place {
    live: Arc<Hub>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.live.state();
        if let Some(user) = state.users.get_mut(&self.user) {
            user.places -= 1;
            if user.places == 0 {
                state.users.remove(&self.user);
            }
        }
        if self.live.audience.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Nothing is renewed without a stream: the next one must not begin with old prices and books.
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
pub(crate) struct Shown {
    pub accounts: Arc<Accounts>,
    pub instruments: Arc<Instruments>,
    pub stocks: Arc<Stocks>,
    pub corporate_actions: Arc<CorporateActions>,
    pub books: Arc<Books>,
    pub trading: Arc<Trading>,
}

impl Live {
    /// Subscribes to `events`: streams are told of what is announced there.
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        events: Arc<Events>,
        limits: StreamLimits,
        shown: Shown,
    ) -> Self {
        let hub = Arc::new(Hub::new(limits));
        let listener = hub.clone();
        events.subscribe(move |changes| listener.hear(changes));
        let Shown { accounts, instruments, stocks, corporate_actions, books, trading } = shown;
        Self { store, market, events, accounts, instruments, stocks, corporate_actions, books, trading, hub }
    }

    /// How many streams there may be.
    pub(crate) fn most_streams(&self) -> usize {
        self.hub.limits.in_all
    }
}

impl Live {
    /// Opens a stream. It begins with the newest prices and valuations, and with the orders that have changed since
    /// the last event.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`], [`Error::StreamsFull`], [`Error::Invalid`] for too many symbols or portfolios,
    /// [`Error::NotFound`] for a portfolio, and those of [`Instruments::stock`](crate::market::instruments::Instruments::stock).
    pub async fn follow(&self, user: UserId, proof: Proof, wanted: Wanted) -> Result<Subscription> {
        let Wanted { mut symbols, mut portfolios, last_event_id } = wanted;
        symbols.sort_unstable();
        symbols.dedup();
        portfolios.sort_unstable();
        portfolios.dedup();
        if symbols.len() > MOST_SYMBOLS {
            return Err(Error::invalid("symbols", format!("name {MOST_SYMBOLS} symbols at most")));
        }
        if portfolios.len() > MOST_PORTFOLIOS {
            return Err(Error::invalid("portfolio", format!("name {MOST_PORTFOLIOS} portfolios at most")));
        }
        let place = self.find_place(user).await?;
        for symbol in &symbols {
            self.instruments.known_stock(user, symbol).await?;
        }
        let mut valuations = Vec::with_capacity(portfolios.len());
        for id in &portfolios {
            valuations.push(self.follow_portfolio(user, *id).await?);
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
            // Another stream of theirs may have begun to follow it at the same time: one of the two is valued.
            let shared =
                |followed: Arc<Followed>| state.portfolios.entry(followed.id).or_insert(followed).clone();
            let valuations = valuations.into_iter().map(shared).collect();
            let subscriber = Arc::new(Subscriber::new(
                state.last_id,
                (user, proof),
                only,
                quotes,
                valuations,
                live.second(),
            ));
            state.subscribers.insert(subscriber.id, subscriber.clone());
            state.users.entry(user).or_default().streams.push(subscriber.clone());
            subscriber
        };
        let subscription = Subscription::new(live, subscriber, place);
        // After it was made known: what happens from here on is told anyway. What happened before, and what another
        // process did without a word, shows in the portfolios' versions.
        for followed in &subscription.subscriber.valuations {
            self.renew_books(followed).await?;
        }
        self.catch_up(&subscription.subscriber, last_event_id.as_deref()).await?;
        Ok(subscription)
    }

    /// Tells other processes of what happens here, by `peers`. Called once.
    pub fn connect_peers(&self, peers: Arc<dyn Peers>) {
        self.events.subscribe(move |changes| peers.tell(changes.to_vec()));
    }

    /// What another process has committed.
    pub fn hear_of(&self, changes: &[Change]) {
        self.hub.hear(changes);
    }

    /// Whether anybody is told of changes here, or is about to be: from the moment on when a stream has its place.
    pub fn has_streams(&self) -> bool {
        self.hub.audience.load(Ordering::Acquire) > 0
    }

    /// Words of other processes may have been lost.
    pub fn missed_changes(&self) {
        self.hub.reset_all(self.market.now());
    }

    /// Ends all streams, because the process is about to end.
    pub fn end_streams(&self) {
        self.hub.close();
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.hub.state().subscribers.len()
    }

    /// A place for a stream. That a reader has gone away shows when they are written to for the second time: before
    /// somebody is refused, all of their streams are.
    async fn find_place(&self, user: UserId) -> Result<Place> {
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

    async fn follow_portfolio(&self, user: UserId, id: PortfolioId) -> Result<Arc<Followed>> {
        let followed = self.hub.followed(user, id).unwrap_or_else(|| Arc::new(Followed::new(user, id)));
        self.renew_books(&followed).await?;
        Ok(followed)
    }

    /// Reads and values the books of a portfolio unless the database says that those that are kept are the newest.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for somebody else's.
    async fn renew_books(&self, followed: &Followed) -> Result<()> {
        let newest = match followed.version() {
            Some(kept) => self
                .books
                .versions()
                .of(followed.user, followed.id)
                .await
                .map(|newest| newest.number() <= kept),
            None => None,
        };
        if newest != Some(true) {
            self.read_books(followed).await?;
        }
        // Also books that were read a moment ago: the loop values them with the next second only.
        let version = self.hub.versions.load(Ordering::Acquire);
        followed.value(version, || self.hub.next_version(), self.market.now());
        // Streams that follow it already.
        self.hub.streams_of(followed.user).iter().for_each(|stream| stream.wake());
        Ok(())
    }

    /// Tells the orders that have changed since the last event, as far as that can be done one by one.
    async fn catch_up(&self, subscriber: &Arc<Subscriber>, last_event_id: Option<&str>) -> Result<()> {
        let (now, wall) = (self.market.now(), self.market.clock.wall());
        let at = Arc::new(Shared::new(now));
        subscriber.beat(&at);
        // Not the same: what is shared keeps the text that it was first written as.
        let reset = Arc::new(Shared::new(now));
        let Some(last) = last_event_id else { return Ok(()) };
        // In market time, which may run faster.
        let before = |span: TimeDelta| self.market.clock.at_wall(wall - span);
        let last = last.trim().parse().ok().and_then(DateTime::from_timestamp_micros).map(Timestamp::from);
        let Some(last) = last.filter(|last| (before(REPLAYED)..=now).contains(last)) else {
            subscriber.reset(&reset);
            return Ok(());
        };
        let since = last - (now - before(OVERLAP));
        let (user, only) = (subscriber.user, subscriber.portfolios.clone());
        match self.trading.orders_changed_since(user, only, since, MOST_REPLAYED).await? {
            Some(orders) => {
                for order in orders {
                    subscriber.tell(Arc::new(Shared::new(OrderChanged { order, at: now })));
                }
            }
            None => subscriber.reset(&reset),
        }
        Ok(())
    }
}
