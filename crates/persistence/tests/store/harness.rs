//! A database with the users, stocks and orders that tests need, and direct access to its tables.

use chrono::{NaiveDate, TimeDelta, TimeZone, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::{
    Currency, FillRule, Freshness, JournalEntry, Listing, Money, Order, OrderClass, OrderId, OrderSize,
    OrderStatus, OrderTerms, Portfolio, PortfolioId, Position, Price, PriceSource, Quantity, Quote, Receipt,
    Side, StockId, Symbol, TimeInForce, Timestamp, TransactionType, UserId,
};
use persistence::portfolios::{self, NewPortfolio, PortfolioRecord};
use persistence::testing::TestStore;
use persistence::users::{self, NewUser, User};
use persistence::{DatabaseUrl, Statement, Store, StoreError, Tx, orders, positions, stocks, transactions};
use uuid::Uuid;

pub struct Db {
    test: TestStore,
}

impl Db {
    pub async fn new() -> Self {
        Self { test: TestStore::new().await }
    }

    /// A database without tables.
    pub fn empty() -> Self {
        Self { test: TestStore::empty(4) }
    }

    pub fn store(&self) -> Store {
        self.test.store.clone()
    }

    pub fn url(&self) -> DatabaseUrl {
        self.test.url.clone()
    }

    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.test.store.read(work).await.unwrap()
    }

    pub async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(Statement<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.test.store.query(work).await.unwrap()
    }

    /// The number of statements that the store has sent.
    pub fn statements(&self) -> usize {
        self.test.statements()
    }

    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.try_write(work).await.unwrap()
    }

    pub async fn try_write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.test.store.write(work).await
    }

    /// Runs SQL on a separate connection, like a database shell.
    pub fn sql(&self, statement: &str) -> QueryResult<()> {
        connect(&self.url()).execute(statement)
    }

    /// The number of rows of a table, with an optional `WHERE`.
    pub fn count(&self, table: &str) -> i64 {
        connect(&self.url()).number(&format!("SELECT count(*) AS number FROM {table}"))
    }

    pub async fn user(&self, name: &str) -> User {
        let new = new_user(name, &format!("{name}@example.com"));
        self.write(move |tx| users::insert(tx, new)).await
    }

    pub async fn portfolio(&self, user: UserId, cash: &str) -> PortfolioRecord {
        let new = new_portfolio(user, "Growth", cash);
        self.write(move |tx| portfolios::insert(tx, new)).await
    }

    pub async fn stock(&self, symbol: &str) -> StockId {
        let listing = listing(symbol, &format!("{symbol} Incorporated"));
        self.write(move |tx| stocks::upsert(tx, &listing)).await
    }

    /// Stores an order and its journal entry, and returns the entry.
    pub async fn filled(&self, order: &Order) -> JournalEntry {
        let (order, entry) = (order.clone(), entry_of(order));
        self.write(move |tx| {
            orders::insert(tx, &[(&order, "request")])?;
            append(tx, entry)
        })
        .await
    }

    /// Returns when a transaction waits for a row that another one has locked. On SQLite, where whole transactions wait
    /// for each other, returns immediately.
    ///
    /// # Panics
    /// When no transaction begins to wait.
    pub fn until_somebody_waits(url: &DatabaseUrl) {
        if matches!(url, DatabaseUrl::Sqlite(_)) {
            return;
        }
        let mut conn = connect(url);
        for _ in 0..500 {
            let waiting = conn.number(
                "SELECT count(*) AS number FROM pg_stat_activity, pg_sleep(0.01) \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            );
            if waiting > 0 {
                return;
            }
        }
        panic!("nobody waits for the locked row");
    }
}

pub enum Shell {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

pub fn connect(url: &DatabaseUrl) -> Shell {
    match url {
        DatabaseUrl::Postgres(url) => Shell::Postgres(PgConnection::establish(url).unwrap()),
        DatabaseUrl::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path).unwrap();
            conn.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON").unwrap();
            Shell::Sqlite(conn)
        }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Shell {
    pub fn execute(&mut self, statement: &str) -> QueryResult<()> {
        match self {
            Self::Postgres(conn) => conn.batch_execute(statement),
            Self::Sqlite(conn) => conn.batch_execute(statement),
        }
    }

    /// The number that the query returns in the column `number`.
    pub fn number(&mut self, query: &str) -> i64 {
        let query = diesel::sql_query(query);
        let row: Number = match self {
            Self::Postgres(conn) => query.get_result(conn),
            Self::Sqlite(conn) => query.get_result(conn),
        }
        .unwrap();
        row.number
    }
}

/// The time this many seconds after Friday, 20 November 2026, 14:30 UTC.
pub fn moment(seconds: i64) -> Timestamp {
    Timestamp::new(Utc.with_ymd_and_hms(2026, 11, 20, 14, 30, 0).unwrap()) + TimeDelta::seconds(seconds)
}

/// A day in November 2026.
pub fn november(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

pub fn money(text: &str) -> Money {
    text.parse().unwrap()
}

pub fn price(text: &str) -> Price {
    text.parse().unwrap()
}

pub fn shares(text: &str) -> Quantity {
    text.parse().unwrap()
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn new_user(username: &str, email: &str) -> NewUser {
    NewUser {
        username: username.into(),
        email: email.into(),
        password_hash: "$argon2id$".into(),
        first_name: "Sam".into(),
        last_name: "Miller".into(),
        date_joined: moment(0),
        is_active: true,
        is_admin: false,
        password_changed_at: moment(0),
    }
}

pub fn new_portfolio(user_id: UserId, name: &str, cash: &str) -> NewPortfolio {
    NewPortfolio {
        user_id,
        name: name.into(),
        description: "For the long run".into(),
        cash_balance: money(cash),
        created_at: moment(0),
        updated_at: moment(0),
        kind: domain::PortfolioKind::Practice,
    }
}

pub fn listing(ticker: &str, company_name: &str) -> Listing {
    Listing {
        symbol: symbol(ticker),
        company_name: company_name.into(),
        exchange: "NASDAQ".into(),
        sector: "Technology".into(),
        currency: Currency::Usd,
    }
}

pub fn quote(ticker: &str, last: &str, as_of: Timestamp) -> Quote {
    Quote {
        symbol: symbol(ticker),
        price: price(last),
        bid: None,
        ask: None,
        previous_close: None,
        volume: None,
        as_of,
        source: PriceSource::from("simulated/sim-v1"),
        freshness: Freshness::Simulated,
        stale: false,
    }
}

/// Appends one entry.
pub fn append(tx: &mut Tx<'_>, entry: JournalEntry) -> Result<JournalEntry, StoreError> {
    Ok(transactions::append(tx, &[entry])?.remove(0))
}

/// Saves cash without reservations.
pub fn save_cash(tx: &mut Tx<'_>, id: PortfolioId, cash: &str, now: Timestamp) -> Result<(), StoreError> {
    portfolios::save_cash(tx, &[(&Portfolio::new(id, money(cash)), now)])
}

/// Saves a position without reservations.
pub fn save_position(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    stock: StockId,
    position: &Position,
) -> Result<(), StoreError> {
    let reserved = &Quantity::zero();
    positions::save(tx, &[positions::ChangedPosition { portfolio, stock, position, reserved }])
}

/// One share that cost 10.00.
pub fn one_share() -> Position {
    Position { quantity: shares("1"), cost_basis: money("10"), realized_pnl: Money::zero() }
}

/// The position with the shares that orders reserve.
pub fn position_of(
    tx: &mut Tx<'_>,
    portfolio: PortfolioId,
    stock: StockId,
) -> Result<Option<(Position, Quantity)>, StoreError> {
    Ok(positions::of_pairs(tx, &[(portfolio, stock)])?.remove(&(portfolio, stock)))
}

/// A filled order for one share at 10.00; ids increase with `number`.
pub fn buy(number: u128, portfolio_id: PortfolioId, stock_id: StockId, ticker: &str) -> Order {
    Order {
        id: OrderId(Uuid::from_u128(number)),
        portfolio_id,
        stock_id,
        symbol: symbol(ticker),
        client_order_id: None,
        side: Side::Buy,
        size: OrderSize::Quantity(shares("1")),
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        order_class: OrderClass::Simple,
        parent_order_id: None,
        replaces: None,
        status: OrderStatus::Filled,
        triggered_at: None,
        high_water_price: None,
        reserved_cash: Money::zero(),
        reserved_quantity: Quantity::zero(),
        filled_quantity: shares("1"),
        filled_amount: money("10.00").into(),
        filled_price: Some(price("10.00").into()),
        commission: Money::zero(),
        submitted_at: moment(0),
        last_matched_at: moment(0),
        filled_at: Some(moment(0)),
        canceled_at: None,
        expires_at: Some(moment(9000)),
        reject_reason: None,
    }
}

/// The journal entry of an order's only fill.
pub fn entry_of(order: &Order) -> JournalEntry {
    let gross = order.filled_amount.rounded();
    let price: Price = order.filled_price.as_ref().unwrap().to_string().parse().unwrap();
    let filled_at = order.filled_at.unwrap();
    let (transaction_type, amount, realized_pnl) = match order.side {
        Side::Buy => (TransactionType::Buy, -gross, None),
        Side::Sell => (TransactionType::Sell, gross, Some(money("-0.01"))),
    };
    JournalEntry {
        action: None,
        reverses: None,
        id: None,
        portfolio_id: order.portfolio_id,
        stock_id: Some(order.stock_id),
        order_id: Some(order.id),
        transaction_type,
        quantity: Some(order.filled_quantity.clone()),
        price: Some(price.clone()),
        commission: Money::zero(),
        amount,
        realized_pnl,
        timestamp: filled_at,
        receipt: Some(Receipt {
            source: PriceSource::from("simulated/sim-v1"),
            quoted_at: filled_at - TimeDelta::microseconds(1),
            rule: FillRule::Last,
            quoted_price: price,
            rounding: domain::Rounding::Cumulative,
        }),
    }
}
