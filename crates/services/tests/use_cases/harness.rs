//! A stock exchange in a box: use cases, prices and a clock that the test sets, and people who trade.

use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    JournalEntry, Money, OrderRejected, OrderSize, OrderType, PlaceOrder, PortfolioId, Quantity, Side,
    Snapshot, Symbol, TimeInForce, Timestamp, UserId,
};
use persistence::testing::TestStore;
use persistence::users::{self, NewUser};
use persistence::{Store, StoreError, Tx};
use services::jobs::{JobKind, JobRun};
use services::orders::PlacedOrder;
use services::performance::Window;
use services::portfolios::{CashDirection, OpenPortfolio};
use services::testing::{FixedPrices, TestServices};
use services::transactions::Filter;
use services::{Clock, Error, FieldError, Market, Result, Services, ServicesConfig};

/// What the functions of `persistence` answer.
type Stored<T> = std::result::Result<T, StoreError>;

pub struct Exchange {
    pub prices: FixedPrices,
    pub clock: Clock,
    services: Services,
    test: TestStore,
}

/// The use cases themselves are called on it directly.
impl Deref for Exchange {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.services
    }
}

/// Somebody with a portfolio.
#[derive(Debug, Clone, Copy)]
pub struct Investor {
    pub user: UserId,
    pub portfolio: PortfolioId,
}

impl Exchange {
    /// Open around the clock with prices of the moment, on Friday, 20 November 2026, 14:12 in New York.
    pub async fn new() -> Self {
        Self::with(FixedPrices::new()).await
    }

    pub async fn with(prices: FixedPrices) -> Self {
        let test = TestServices::with(Arc::new(prices.clone()), ServicesConfig::default()).await;
        Self { prices, clock: test.clock, services: test.services, test: test.store }
    }

    /// The same database, clock and prices as another process has them.
    pub fn another_process(&self) -> Services {
        let store = Store::open(self.test.url.clone(), 8).unwrap();
        let market = Market::new(Arc::new(self.prices.clone()), self.clock.clone());
        Services::new(store, market, ServicesConfig::default())
    }

    pub fn store(&self) -> &Store {
        &self.test.store
    }

    /// Looks into the books without a use case.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Stored<T> + Send + 'static,
    ) -> T {
        self.store().read(work).await.unwrap()
    }

    /// Changes the books without a use case.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Stored<T> + Send + 'static,
    ) -> T {
        self.store().write(work).await.unwrap()
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

    /// A user who cannot log in, without the time that a password takes.
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
        self.open_portfolio(user, named("Growth", Some(cash))).await.unwrap().id
    }

    pub async fn buy(&self, who: Investor, symbol: &str, quantity: &str) -> Result<PlacedOrder> {
        self.place_order(who.user, who.portfolio, order(Side::Buy, symbol, shares(quantity))).await
    }

    pub async fn sell(&self, who: Investor, symbol: &str, quantity: &str) -> Result<PlacedOrder> {
        self.place_order(who.user, who.portfolio, order(Side::Sell, symbol, shares(quantity))).await
    }

    pub async fn deposit(&self, who: Investor, amount: &str) -> Result<JournalEntry> {
        self.move_cash(who.user, who.portfolio, CashDirection::Deposit, money(amount)).await
    }

    pub async fn withdraw(&self, who: Investor, amount: &str) -> Result<JournalEntry> {
        self.move_cash(who.user, who.portfolio, CashDirection::Withdrawal, money(amount)).await
    }

    pub async fn cash(&self, who: Investor) -> String {
        self.portfolio(who.user, who.portfolio).await.unwrap().cash_balance.to_string()
    }

    /// The whole journal, newest first.
    pub async fn journal(&self, who: Investor) -> Vec<JournalEntry> {
        let page = self.transactions(who.user, who.portfolio, Filter::default(), None, 1000).await.unwrap();
        page.items.into_iter().map(|row| row.entry).collect()
    }

    pub async fn rows(&self, who: Investor) -> Vec<Snapshot> {
        self.snapshots(who.user, who.portfolio, None, None).await.unwrap()
    }

    pub async fn measured(&self, who: Investor, window: Window) -> domain::performance::Performance {
        self.performance(who.user, who.portfolio, window).await.unwrap()
    }

    /// Does what is due, as a worker would, until nothing is left to do now; answers the runs.
    pub async fn work(&self) -> Vec<JobRun> {
        let due = self.due_runs().await.unwrap();
        for run in &due {
            assert!(self.run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        due
    }

    /// The keys of a kind's runs on record, oldest first.
    pub async fn keys(&self, kind: JobKind) -> Vec<String> {
        let mut runs = self.job_runs(Some(kind), None, 1000).await.unwrap().items;
        runs.reverse();
        runs.into_iter().map(|run| run.key).collect()
    }

    /// # Panics
    /// When stored balances are not what the journal gives.
    pub async fn assert_books_balance(&self) {
        assert_eq!(self.verify(|_| ()).await.unwrap().differences, []);
    }
}

/// An instant like `2026-11-20T19:12:00Z`.
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
        order_type: OrderType::Market,
        time_in_force: TimeInForce::Day,
        client_order_id: None,
    }
}

pub fn named(name: &str, cash: Option<&str>) -> OpenPortfolio {
    OpenPortfolio { name: name.into(), description: String::new(), cash_balance: cash.map(money) }
}

/// Which fields a refusal is about.
///
/// # Panics
/// When it is no refusal of fields.
pub fn fields<T: std::fmt::Debug>(result: Result<T>) -> Vec<&'static str> {
    match result {
        Err(Error::Invalid(errors) | Error::Taken(errors)) => {
            errors.into_iter().map(|FieldError { field, .. }| field).collect()
        }
        other => panic!("not refused for its fields: {other:?}"),
    }
}

/// # Panics
/// When the order was not refused by the rules of trading.
pub fn rejection<T: std::fmt::Debug>(result: Result<T>) -> OrderRejected {
    match result {
        Err(Error::OrderRejected(why)) => why,
        other => panic!("not rejected: {other:?}"),
    }
}

/// # Panics
/// When something was found.
pub fn assert_not_found<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(Error::NotFound(missing)) if missing == what), "{result:?}");
}

pub fn close_to(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-12
}

/// A row as text: total value, cash, positions, net flow.
pub fn amounts(row: &Snapshot) -> [String; 4] {
    [&row.total_value, &row.cash_balance, &row.positions_value, &row.net_flow].map(ToString::to_string)
}
