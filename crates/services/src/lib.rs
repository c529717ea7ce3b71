//! The use cases: what people and jobs do with Stockyard, called by web and worker alike.
//!
//! Network first, then one transaction that loads, decides in `domain` and saves.

pub mod accounts;
pub mod books;
pub mod corporate_actions;
mod error;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod live;
pub mod log_target;
pub mod market;
pub mod operations;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trading;
pub mod watchlists;

use std::sync::Arc;
use std::time::Duration;

use domain::{Money, TradingRules};
use persistence::Store;

pub use error::{Error, FieldError, NotFound, Result};
pub use market::Market;
pub use market::clock::Clock;
pub use persistence::StoreError;
pub use trading::TradingConfig;

use accounts::password::Hasher;
use accounts::token_cache::TokenCache;
use accounts::turns::Turns;
use books::cache::{Kept, Versions};
use live::{Live, StreamLimits};
use operations::health::{Health, HealthConfig};
use trading::desk::{Desk, Noted};

/// What the use cases need to know of the deployment.
#[derive(Debug, Clone)]
pub struct ServicesConfig {
    /// What a new portfolio starts with unless its owner says otherwise.
    pub starting_cash: Money,
    /// What money earns without risk, as a ratio per year; for ratios such as Sharpe.
    pub risk_free: f64,
    /// How long a running job may be silent before another worker takes it over.
    pub job_silence: chrono::TimeDelta,
    pub trading: TradingConfig,
    pub streams: StreamLimits,
    pub health: HealthConfig,
    /// How long a login waits until the machine has time to check its password.
    pub password_queue_timeout: Duration,
}

impl Default for ServicesConfig {
    fn default() -> Self {
        Self {
            starting_cash: Money::from_cents(10_000_000),
            risk_free: 0.0,
            job_silence: chrono::TimeDelta::seconds(30),
            trading: TradingConfig::default(),
            streams: StreamLimits::default(),
            health: HealthConfig::default(),
            password_queue_timeout: Duration::from_secs(5),
        }
    }
}

/// Password checks that wait behind others of the same account or address.
#[derive(Clone, Default)]
struct LoginQueues {
    accounts: Turns,
    addresses: Turns,
}

/// All use cases. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Services {
    store: Store,
    market: Arc<Market>,
    hasher: Hasher,
    login_queues: LoginQueues,
    token_cache: Arc<TokenCache>,
    config: Arc<ServicesConfig>,
    rules: Arc<TradingRules>,
    desk: Arc<Desk>,
    /// Of corporate actions.
    noted: Noted,
    pending_splits: Arc<corporate_actions::PendingSplits>,
    seen_actions: Arc<corporate_actions::seen_actions::NotedActions>,
    reviewed: Arc<corporate_actions::listing_changes::ReviewedCompanies>,
    priced: Arc<corporate_actions::former_symbols::PricedStocks>,
    live: Arc<Live>,
    known_stocks: market::stocks::Known,
    versions: Arc<Versions>,
    kept_holdings: Arc<Kept<Arc<books::valuation::Loaded>>>,
    kept_pages: Arc<Kept<Arc<books::transactions::NewestPage>>>,
    health: Arc<Health>,
    recent_status: Arc<operations::RecentStatus>,
}

impl Services {
    pub fn new(store: Store, market: Market, config: ServicesConfig) -> Self {
        let rules = Arc::new(config.trading.rules(market.calendar));
        let live = Arc::new(Live::new(config.streams));
        let noted = Noted::default();
        let desk = Desk::new(
            store.clone(),
            market.clock.clone(),
            rules.clone(),
            &config.trading,
            live.clone(),
            noted.clone(),
        );
        Self {
            versions: Arc::new(Versions::new(store.clone())),
            kept_holdings: Arc::new(Kept::new()),
            kept_pages: Arc::new(Kept::new()),
            store,
            market: Arc::new(market),
            hasher: Hasher::new(config.password_queue_timeout),
            login_queues: LoginQueues::default(),
            token_cache: Arc::default(),
            config: Arc::new(config),
            rules,
            desk: Arc::new(desk),
            noted,
            pending_splits: Arc::default(),
            seen_actions: Arc::default(),
            reviewed: Arc::default(),
            priced: Arc::default(),
            live,
            known_stocks: market::stocks::Known::default(),
            health: Arc::default(),
            recent_status: Arc::default(),
        }
    }

    /// The same with more time for each call of the database.
    fn with_time_for_jobs(&self) -> Self {
        Self { store: self.store.for_jobs(), ..self.clone() }
    }

    /// How the connections to the database are used at the moment.
    pub fn pool_state(&self) -> persistence::PoolState {
        self.store.pool_state()
    }

    pub fn market(&self) -> &Market {
        &self.market
    }

    pub fn starting_cash(&self) -> &Money {
        &self.config.starting_cash
    }

    /// Whether the database answers and can be written.
    ///
    /// # Errors
    /// [`Error::Store`] when it does not answer, or its file was deleted or replaced.
    pub async fn check_ready(&self) -> Result<()> {
        self.store.check_file()?;
        self.store.read(|tx| persistence::installation::get(tx, "ready").map(drop).map_err(Error::from)).await
    }

    /// Before the end of a process: gives back what keeps other processes from asking the price source.
    pub async fn give_back_leases(&self) {
        if let Some(limits) = self.market.quotes.limits() {
            limits.release_all().await;
        }
    }

    /// Before the end of a process: see [`Store::checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub async fn checkpoint(&self) -> Result<()> {
        Ok(self.store.checkpoint().await?)
    }
}

/// One page of a list and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    /// The cursor of the last item, when there are more.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Makes a page of `limit` items out of the `limit + 1` that were asked for.
    fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// One more than a page holds, to see whether there are more.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}
