//! The use cases of Stockyard, called by web and worker.
//!
//! A use case calls the network first, then runs one transaction that loads, decides in `domain` and saves.

pub mod accounts;
pub mod books;
pub mod cache_size;
mod confirmed_rows;
pub mod corporate_actions;
pub mod demonstration;
mod error;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod live;
pub mod log_target;
pub mod market;
pub mod operations;
pub mod stocks;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trading;
pub mod watchlists;

use std::sync::Arc;
use std::time::Duration;

use domain::Money;
use persistence::Store;

pub use error::{Error, FieldError, Fields, NotFound, Result};
pub use market::Market;
pub use market::clock::Clock;
pub use persistence::StoreError;
pub use trading::TradingConfig;

use accounts::Accounts;
use books::{Books, BooksConfig};
use corporate_actions::CorporateActions;
use corporate_actions::action_counter::ActionCounter;
use events::Events;
use jobs::Jobs;
use live::{Live, StreamLimits, StreamUseCases};
use market::instruments::Instruments;
use operations::Operations;
use operations::health::HealthConfig;
use stocks::Stocks;
use trading::Trading;
use watchlists::Watchlists;

/// The settings of the use cases.
#[derive(Debug, Clone)]
pub struct ServicesConfig {
    /// The starting cash of a new portfolio, unless its owner chooses another amount.
    pub starting_cash: Money,
    /// The risk-free rate, as a ratio per year, for measures such as the Sharpe ratio.
    pub risk_free: f64,
    /// The most bytes of closed days of portfolios that are cached for performance.
    pub performance_cache_bytes: u64,
    /// How long a running job may be without a heartbeat before another worker takes it over.
    pub job_silence: chrono::TimeDelta,
    pub trading: TradingConfig,
    pub streams: StreamLimits,
    pub health: HealthConfig,
    /// How long a login waits for the machine to check its password.
    pub password_queue_timeout: Duration,
}

impl Default for ServicesConfig {
    fn default() -> Self {
        Self {
            starting_cash: Money::from_cents(10_000_000),
            risk_free: 0.0,
            performance_cache_bytes: 32 << 20,
            job_silence: chrono::TimeDelta::seconds(30),
            trading: TradingConfig::default(),
            streams: StreamLimits::default(),
            health: HealthConfig::default(),
            password_queue_timeout: Duration::from_secs(5),
        }
    }
}

/// All use cases, one facade for each subject. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Services {
    market: Arc<Market>,
    accounts: Arc<Accounts>,
    instruments: Arc<Instruments>,
    corporate_actions: Arc<CorporateActions>,
    stocks: Arc<Stocks>,
    books: Arc<Books>,
    trading: Arc<Trading>,
    watchlists: Arc<Watchlists>,
    live: Arc<Live>,
    jobs: Arc<Jobs>,
    operations: Arc<Operations>,
}

impl Services {
    /// Connects the facades. Each one uses only facades that were created before it.
    pub fn new(store: Store, market: Market, config: ServicesConfig) -> Self {
        let market = Arc::new(market);
        let events = Arc::<Events>::default();
        let accounts =
            Arc::new(Accounts::new(store.clone(), market.clock.clone(), config.password_queue_timeout));
        let instruments = Arc::new(Instruments::new(store.clone(), market.clone()));
        let base = || (store.clone(), market.clone(), instruments.clone());
        let corporate_actions = Arc::new(CorporateActions::new(
            store.clone(),
            market.clone(),
            instruments.clone(),
            events.clone(),
            ActionCounter::default(),
        ));
        let stocks = Arc::new(Stocks::new(
            store.clone(),
            market.clone(),
            instruments.clone(),
            corporate_actions.clone(),
        ));
        let books_config = BooksConfig {
            starting_cash: config.starting_cash,
            risk_free: config.risk_free,
            performance_cache_bytes: config.performance_cache_bytes,
        };
        let books = Arc::new(Books::new(
            base(),
            stocks.clone(),
            corporate_actions.clone(),
            events.clone(),
            books_config,
        ));
        let trading = Arc::new(Trading::new(
            base(),
            (stocks.clone(), corporate_actions.clone(), books.clone()),
            events.clone(),
            &config.trading,
        ));
        let watchlists =
            Arc::new(Watchlists::new(store.clone(), market.clone(), instruments.clone(), stocks.clone()));
        let shown = StreamUseCases {
            accounts: accounts.clone(),
            instruments: instruments.clone(),
            stocks: stocks.clone(),
            corporate_actions: corporate_actions.clone(),
            books: books.clone(),
            trading: trading.clone(),
        };
        let live = Arc::new(Live::new(store.clone(), market.clone(), events, config.streams, shown));
        let jobs = Arc::new(Jobs::new(
            store.clone(),
            market.clone(),
            config.job_silence,
            (&stocks, &corporate_actions, &books),
        ));
        let operations = Arc::new(Operations::new(
            store,
            market.clone(),
            config.health,
            (accounts.clone(), books.clone()),
            (trading.clone(), live.clone()),
        ));
        Self {
            market,
            accounts,
            instruments,
            corporate_actions,
            stocks,
            books,
            trading,
            watchlists,
            live,
            jobs,
            operations,
        }
    }

    /// Time, calendar and price source.
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// Registration, logins, sessions, tokens.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The stocks behind symbols.
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Splits, dividends, delistings, close-outs, renames.
    pub fn corporate_actions(&self) -> &CorporateActions {
        &self.corporate_actions
    }

    /// Search, quotes, history, and the state of the price source for operators.
    pub fn stocks(&self) -> &Stocks {
        &self.stocks
    }

    /// Portfolios, cash, transactions, valuation, performance, snapshots.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Orders.
    pub fn trading(&self) -> &Trading {
        &self.trading
    }

    pub fn watchlists(&self) -> &Watchlists {
        &self.watchlists
    }

    /// Event streams.
    pub fn live(&self) -> &Live {
        &self.live
    }

    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The state of the installation.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }
}

/// One page of a list, with the cursor of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    /// The cursor of the last item if there are more.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Creates a page of `limit` items from up to `limit + 1` rows.
    fn from_items(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// One row more than the page size, to find out whether there are more.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}
