//! A test environment: the use cases, prices and a clock that the test controls, and users who trade.

use services::accounts::actor::{PortfolioControl, Trader};
use std::ops::Deref;
use std::sync::{Arc, mpsc};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    Attached, JournalEntry, Money, Order, OrderFilter, OrderId, OrderRejected, OrderSize, OrderStatus,
    OrderTerms, PlaceOrder, Portfolio, PortfolioId, PortfolioRef, Position, Price, Quantity, Side, Snapshot,
    StockId, Symbol, TimeInForce, Timestamp, TransactionFilter, UserId,
};
use persistence::testing::TestStore;
use persistence::users::{self, NewUser};
use persistence::{DatabaseUrl, Store, StoreError, Tx, portfolios, positions};
use services::books::performance::Window;
use services::books::portfolios::{CashDirection, OpenPortfolio};
use services::jobs::{JobKind, JobRun};
use services::testing::{FixedPrices, TestServices};
use services::trading::PlacedOrder;
use services::{Clock, Error, FieldError, Market, NotFound, Result, Services, ServicesConfig, TradingConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The result of functions of `persistence`.
type Stored<T> = std::result::Result<T, StoreError>;

pub struct Exchange {
    pub prices: FixedPrices,
    pub clock: Clock,
    services: Services,
    config: ServicesConfig,
    test: TestStore,
}

/// Gives direct access to the use cases.
impl Deref for Exchange {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.services
    }
}

/// Keeps a portfolio locked; see [`Exchange::hold`].
pub struct Hold {
    let_go: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Hold {
    pub async fn end(self) {
        self.let_go.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A user with a portfolio.
#[derive(Debug, Clone, Copy)]
pub struct Investor {
    pub user: UserId,
    pub portfolio: PortfolioId,
}

impl Investor {
    pub fn trader(self) -> Trader {
        Trader::on_behalf_of(self.user)
    }

    pub fn control(self) -> PortfolioControl {
        self.trader().portfolio(self.portfolio)
    }

    pub fn reference(self) -> PortfolioRef {
        self.control().reference()
    }
}

impl Exchange {
    /// An exchange that is open around the clock with current prices, on Friday, 20 November 2026, 14:12 in New York.
    pub async fn new() -> Self {
        Self::with(FixedPrices::new()).await
    }

    pub async fn with(prices: FixedPrices) -> Self {
        Self::configured(prices, ServicesConfig::default()).await
    }

    /// An exchange with other trading rules.
    pub async fn trading(prices: FixedPrices, trading: TradingConfig) -> Self {
        Self::configured(prices, ServicesConfig { trading, ..ServicesConfig::default() }).await
    }

    pub async fn configured(prices: FixedPrices, mut config: ServicesConfig) -> Self {
        // With one clerk, all waiting orders form one batch, whatever their portfolios are.
        config.trading.order_clerks = 1;
        let test = TestServices::with(Arc::new(prices.clone()), config.clone()).await;
        Self { prices, clock: test.clock, services: test.services, config, test: test.store }
    }

    /// Another process on the same database, clock and prices.
    pub fn another_process(&self) -> Services {
        self.process_on(self.test.url.clone())
    }

    /// A process that connects to the database by another URL.
    pub fn process_on(&self, url: DatabaseUrl) -> Services {
        self.process_with(persistence::testing::open(url, 8))
    }

    /// Another process that has only one connection, and the store with that connection.
    pub fn process_with_one_connection(&self) -> (Services, Store) {
        let store = Store::open(self.test.url.clone(), 1).unwrap();
        (self.process_with(store.clone()), store)
    }

    fn process_with(&self, store: Store) -> Services {
        let market = Market::new(Arc::new(self.prices.clone()), self.clock.clone());
        Services::new(store, market, self.config.clone())
    }

    /// A process of the same deployment on another market; `market` gets its store and the clock.
    pub fn process_on_market(&self, market: impl FnOnce(&Store, Clock) -> Market) -> Services {
        let store = persistence::testing::open(self.test.url.clone(), 8);
        let market = market(&store, self.clock.clone());
        Services::new(store, market, self.config.clone())
    }

    pub fn database(&self) -> &TestStore {
        &self.test
    }

    pub fn on_postgres(&self) -> bool {
        matches!(self.test.url, DatabaseUrl::Postgres(_))
    }

    /// Locks a portfolio against writes until the hold is dropped; on SQLite, all portfolios.
    pub async fn hold(&self, portfolio: PortfolioId) -> Hold {
        let (locked, is_locked) = oneshot::channel();
        let (let_go, may_go) = mpsc::channel::<()>();
        let store = self.store().clone();
        let task = tokio::spawn(async move {
            let held: Stored<()> = store
                .write(move |tx| {
                    portfolios::lock(tx, &[portfolio])?;
                    locked.send(()).unwrap();
                    may_go.recv().unwrap();
                    Ok(())
                })
                .await;
            held.unwrap();
        });
        is_locked.await.unwrap();
        Hold { let_go, task }
    }

    pub fn store(&self) -> &Store {
        &self.test.store
    }

    /// Reads the database without a use case.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Stored<T> + Send + 'static,
    ) -> T {
        self.store().read(work).await.unwrap()
    }

    /// Changes the database without a use case.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Stored<T> + Send + 'static,
    ) -> T {
        self.store().write(work).await.unwrap()
    }

    /// The number of statements that the use cases have sent to the database.
    pub fn statements(&self) -> usize {
        self.test.statements()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sets the clock.
    pub fn at(&self, instant: &str) {
        self.clock.set(moment(instant));
    }

    pub fn pass(&self, time: TimeDelta) {
        self.clock.set(self.clock.now() + time);
    }

    /// Creates a user without a password, which saves the time for hashing one.
    pub async fn user(&self, name: &str) -> UserId {
        let now = self.clock.wall();
        let new = NewUser {
            username: name.into(),
            email: format!("{name}@example.org"),
            password_hash: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            date_joined: now,
            is_active: true,
            is_admin: false,
            password_changed_at: now,
        };
        self.write(move |tx| users::insert(tx, new)).await.id
    }

    pub async fn investor(&self, name: &str, cash: &str) -> Investor {
        let user = self.user(name).await;
        Investor { user, portfolio: self.open(user, cash).await }
    }

    pub async fn open(&self, user: UserId, cash: &str) -> PortfolioId {
        self.books().open_portfolio(Trader::on_behalf_of(user), named("Growth", Some(cash))).await.unwrap().id
    }

    pub async fn buy(&self, who: Investor, symbol: &str, quantity: &str) -> Result<PlacedOrder> {
        self.trading().place_order(who.control(), order(Side::Buy, symbol, shares(quantity))).await
    }

    pub async fn sell(&self, who: Investor, symbol: &str, quantity: &str) -> Result<PlacedOrder> {
        self.trading().place_order(who.control(), order(Side::Sell, symbol, shares(quantity))).await
    }

    pub async fn deposit(&self, who: Investor, amount: &str) -> Result<JournalEntry> {
        self.books().move_cash(who.control(), CashDirection::Deposit, money(amount)).await
    }

    pub async fn withdraw(&self, who: Investor, amount: &str) -> Result<JournalEntry> {
        self.books().move_cash(who.control(), CashDirection::Withdrawal, money(amount)).await
    }

    pub async fn place(&self, who: Investor, command: PlaceOrder) -> Result<PlacedOrder> {
        self.trading().place_order(who.control(), command).await
    }

    /// The current state of an order.
    pub async fn look(&self, who: Investor, id: OrderId) -> Order {
        self.trading().order(who.reference(), id).await.unwrap().order
    }

    /// Places an order that must be accepted, and returns its id.
    pub async fn accepted(&self, who: Investor, command: PlaceOrder) -> OrderId {
        self.place(who, command).await.unwrap().order.order.id
    }

    /// Cash that open orders do not reserve.
    pub async fn buying_power(&self, who: Investor) -> String {
        self.books().portfolio(who.reference()).await.unwrap().buying_power.to_string()
    }

    pub async fn cash(&self, who: Investor) -> String {
        self.books().portfolio(who.reference()).await.unwrap().cash_balance.to_string()
    }

    /// The whole journal, newest first.
    pub async fn journal(&self, who: Investor) -> Vec<JournalEntry> {
        let page = self
            .books()
            .transactions(who.reference(), TransactionFilter::default(), None, 1000)
            .await
            .unwrap();
        page.items.into_iter().map(|row| row.entry).collect()
    }

    /// All orders, newest first.
    pub async fn all_orders(&self, who: Investor) -> Vec<services::trading::OrderWithFills> {
        self.trading().orders(who.reference(), OrderFilter::default(), None, 1000).await.unwrap().items
    }

    pub async fn rows(&self, who: Investor) -> Vec<Snapshot> {
        self.books().snapshots(who.reference(), None, None).await.unwrap()
    }

    pub async fn measured(&self, who: Investor, window: Window) -> domain::performance::Performance {
        self.books().performance(who.reference(), window).await.unwrap()
    }

    /// Executes due runs, like a worker, until none is left. Returns the runs.
    pub async fn work(&self) -> Vec<JobRun> {
        let due = self.jobs().due_runs().await.unwrap();
        for run in &due {
            assert!(self.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        due
    }

    /// The keys of the recorded runs of a kind, oldest first.
    pub async fn keys(&self, kind: JobKind) -> Vec<String> {
        let mut runs = self.jobs().job_runs(Some(kind), None, 1000).await.unwrap().items;
        runs.reverse();
        runs.into_iter().map(|run| run.key).collect()
    }

    /// Asserts that the stored balances follow from the journal.
    ///
    /// # Panics
    /// When they do not.
    pub async fn assert_books_balance(&self) {
        assert_eq!(self.books().verify(|_, _| ()).await.unwrap().differences, []);
    }
}

/// Saves cash without reservations.
pub fn save_cash(tx: &mut Tx<'_>, id: PortfolioId, cash: &str, now: Timestamp) -> Stored<()> {
    portfolios::save_cash(tx, &[(&Portfolio::new(id, money(cash)), now)])
}

/// Saves a position without reservations.
pub fn save_position(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    stock: StockId,
    position: &Position,
) -> Stored<()> {
    let reserved = &Quantity::zero();
    positions::save(tx, &[positions::ChangedPosition { portfolio, stock, position, reserved }])
}

/// Parses a time like `2026-11-20T19:12:00Z`.
pub fn moment(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub fn money(text: &str) -> Money {
    text.parse().unwrap()
}

pub fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn shares(text: &str) -> OrderSize {
    OrderSize::Quantity(quantity(text))
}

pub fn notional(text: &str) -> OrderSize {
    OrderSize::Notional(money(text))
}

pub fn order(side: Side, ticker: &str, size: OrderSize) -> PlaceOrder {
    PlaceOrder {
        symbol: symbol(ticker),
        side,
        size,
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id: None,
    }
}

pub fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// An order that is good until canceled.
pub fn gtc(side: Side, ticker: &str, size: &str, terms: OrderTerms) -> PlaceOrder {
    PlaceOrder { terms, time_in_force: TimeInForce::Gtc, ..order(side, ticker, shares(size)) }
}

pub fn limit(text: &str) -> OrderTerms {
    OrderTerms::Limit { limit: price(text) }
}

pub fn stop(text: &str) -> OrderTerms {
    OrderTerms::Stop { stop: price(text) }
}

pub fn called(id: &str, command: PlaceOrder) -> PlaceOrder {
    PlaceOrder { client_order_id: Some(id.into()), ..command }
}

/// The status in the error of an order that had already ended.
///
/// # Panics
/// If the result is not this error.
pub fn ended<T: std::fmt::Debug>(result: Result<T>) -> OrderStatus {
    match result {
        Err(Error::OrderNotOpen { status }) => status,
        other => panic!("not refused because it has ended: {other:?}"),
    }
}

pub fn named(name: &str, cash: Option<&str>) -> OpenPortfolio {
    OpenPortfolio { name: name.into(), description: String::new(), cash_balance: cash.map(money) }
}

/// The fields of an error about invalid input.
///
/// # Panics
/// If the result is not such an error.
pub fn fields<T: std::fmt::Debug>(result: Result<T>) -> Vec<&'static str> {
    match result {
        Err(Error::Invalid(errors) | Error::Taken(errors)) => {
            errors.into_iter().map(|FieldError { field, .. }| field).collect()
        }
        Err(Error::OrderRejected(OrderRejected::Unfit(issues))) => {
            issues.iter().map(|issue| issue.field().as_str()).collect()
        }
        other => panic!("not refused for its fields: {other:?}"),
    }
}

/// The reason of a rejected order.
///
/// # Panics
/// If the order was not rejected by a trading rule.
pub fn rejection<T: std::fmt::Debug>(result: Result<T>) -> OrderRejected {
    match result {
        Err(Error::OrderRejected(why)) => why,
        other => panic!("not rejected: {other:?}"),
    }
}

/// Asserts that the result is [`Error::NotFound`] for `what`.
///
/// # Panics
/// If it is not.
pub fn assert_not_found<T: std::fmt::Debug>(what: NotFound, result: Result<T>) {
    assert!(matches!(result, Err(Error::NotFound(missing)) if missing == what), "{result:?}");
}

pub fn close_to(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-12
}

/// A snapshot as text: total value, cash, positions, net flow.
pub fn amounts(row: &Snapshot) -> [String; 4] {
    [&row.total_value, &row.cash_balance, &row.positions_value, &row.net_flow].map(ToString::to_string)
}
