//! The content of Stockyard's database for the measurements, and orders that fit it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use chrono::NaiveDate;
use diesel::Connection;
use diesel::connection::SimpleConnection;
use domain::{
    Attached, OrderSize, OrderTerms, PlaceOrder, PortfolioId, Quantity, Side, Symbol, TimeInForce, UserId,
};
use market_data::{Catalogue, DEFAULT_SEED, QuoteSource, Simulated};
use persistence::{DatabaseUrl, Store};
use services::accounts::tokens::Scope;
use services::{Clock, Market, Services, ServicesConfig};
use tokio::runtime::Runtime;

const BOOKS: &str = include_str!("../sql/books.sql");
const READERS_JOURNAL: &str = include_str!("../sql/readers.sql");
const GROWTH: &str = include_str!("../sql/growth.sql");
const BUSY_JOURNAL: &str = include_str!("../sql/busy.sql");

/// Portfolios with orders, with five positions each.
pub const PORTFOLIOS: i64 = 200_000;
/// More portfolios, which are only read.
pub const READERS: i64 = 1_000;
const USERS: i64 = 128;
/// The number of stocks in the simulated market.
const STOCKS: i64 = 65;

/// The number of readers with a snapshot for each session of the last five years.
pub const HISTORIES: i64 = 100;

/// The values of `:name` in the SQL scripts of both sides. `held` and `journal`: positions and transactions of a
/// reader.
pub const SIZES: [(&str, i64); 10] = [
    ("portfolios", PORTFOLIOS),
    ("readers", READERS),
    ("users", USERS),
    ("stocks", STOCKS),
    ("held", 20),
    ("journal", 200),
    ("histories", HISTORIES),
    ("days", 1_830),
    ("busy", 214),
    ("lines", 701),
];

pub fn with_sizes(script: &str) -> String {
    SIZES
        .iter()
        .fold(script.to_owned(), |sql, (name, size)| sql.replace(&format!(":{name}"), &size.to_string()))
}

/// The filled database, used through the same code as in the program.
pub struct Books {
    pub services: Services,
    /// The users' tokens, by user id.
    tokens: Vec<String>,
    /// The symbols of all stocks, by stock id.
    symbols: Vec<Symbol>,
    one_share: Quantity,
    /// The portfolios that trade have the ids from 1 to this number.
    portfolios: i64,
    /// The ids of the portfolios that are read.
    readers: RangeInclusive<i64>,
}

impl Books {
    pub fn on_postgres(runtime: &Runtime, url: &str) -> Result<Self> {
        let mut conn = diesel::PgConnection::establish(url)?;
        Self::fill(runtime, DatabaseUrl::Postgres(url.to_owned()), |now| {
            // Without foreign key checks: the rows are consistent, and checking a million of them would take most of
            // the time.
            conn.batch_execute("SET session_replication_role = replica")?;
            conn.batch_execute(&with_sizes(BOOKS).replace(":now", now))?;
            conn.batch_execute(&with_sizes(READERS_JOURNAL).replace(":now", now))?;
            conn.batch_execute(&with_sizes(BUSY_JOURNAL).replace(":now", now))
        })
    }

    /// Fills the database with balanced books: portfolios with `fills` orders each, which trade and are read.
    pub fn of_size(runtime: &Runtime, url: &str, portfolios: i64, fills: i64) -> Result<Self> {
        let mut conn = diesel::PgConnection::establish(url)?;
        let books = Self::fill(runtime, DatabaseUrl::Postgres(url.to_owned()), |now| {
            conn.batch_execute("SET session_replication_role = replica")?;
            let script = GROWTH.replace(":portfolios", &portfolios.to_string());
            let script = script.replace(":fills", &fills.to_string());
            conn.batch_execute(&with_sizes(&script).replace(":now", now))
        })?;
        Ok(Self { portfolios, readers: 1..=portfolios, ..books })
    }

    pub fn on_sqlite(runtime: &Runtime, path: &str) -> Result<Self> {
        Self::fill(runtime, DatabaseUrl::Sqlite(path.to_owned()), |now| {
            let mut conn = diesel::SqliteConnection::establish(path)
                .map_err(|error| diesel::result::Error::QueryBuilderError(Box::new(error)))?;
            conn.batch_execute(&with_sizes(BOOKS).replace(":now", now))
        })
    }

    fn fill(
        runtime: &Runtime,
        url: DatabaseUrl,
        fill: impl FnOnce(&str) -> diesel::QueryResult<()>,
    ) -> Result<Self> {
        let source = Simulated::new(DEFAULT_SEED);
        let Catalogue::Complete(listings) = source.catalogue(Clock::system().now()) else {
            bail!("the simulated market lists all")
        };
        let mut symbols: Vec<Symbol> = listings.into_iter().map(|listing| listing.symbol).collect();
        symbols.sort();
        if i64::try_from(symbols.len()) != Ok(STOCKS) {
            bail!("the simulated market has {} stocks: correct STOCKS", symbols.len());
        }
        runtime.block_on(async {
            // `stockyard serve` opens this number of connections too.
            let store = Store::open(url, 16)?;
            store.migrate().await?;
            let market = Market::new(Arc::new(source), Clock::system());
            let services = Services::new(store, market, ServicesConfig::default());
            services.stocks().import_catalogue().await?;
            services.corporate_actions().learn_corporate_actions().await?;
            // The time in a format of fixed width, as SQLite stores it.
            let now = services.market().now().utc().format("'%Y-%m-%dT%H:%M:%S%.6fZ'").to_string();
            fill(&now).context("the books cannot be filled: do the files in benches/sql fit the tables?")?;
            let mut tokens = Vec::new();
            for user in 1..=USERS {
                tokens.push(
                    services.accounts().create_token(UserId(user), "bench", Scope::Trade, None).await?.1,
                );
            }
            Ok(Self {
                services,
                tokens,
                symbols,
                one_share: "1".parse()?,
                portfolios: PORTFOLIOS,
                readers: PORTFOLIOS + 1..=PORTFOLIOS + READERS,
            })
        })
    }

    pub fn random_portfolio(&self) -> PortfolioId {
        PortfolioId(rand::random_range(1..=self.portfolios))
    }

    pub fn random_reader(&self) -> PortfolioId {
        PortfolioId(rand::random_range(self.readers.clone()))
    }

    /// The day of the last session that has closed.
    pub fn last_closed(&self) -> NaiveDate {
        let market = self.services.market();
        market.calendar.last_closed(market.now()).date
    }

    /// The owner of a portfolio, as in `books.sql`.
    pub fn owner(portfolio: PortfolioId) -> UserId {
        UserId(portfolio.0 % USERS + 1)
    }

    pub fn token(&self, portfolio: PortfolioId) -> &str {
        &self.tokens[index(Self::owner(portfolio).0 - 1)]
    }

    pub fn random_symbol(&self) -> &Symbol {
        &self.symbols[rand::random_range(0..self.symbols.len())]
    }

    /// A market order for one share of a stock that the portfolio holds.
    pub fn random_order(&self, portfolio: PortfolioId) -> PlaceOrder {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let place = (portfolio.0 + 17 * rand::random_range(0..5)) % STOCKS;
        PlaceOrder {
            symbol: self.symbols[index(place)].clone(),
            side: if rand::random() { Side::Buy } else { Side::Sell },
            size: OrderSize::Quantity(self.one_share.clone()),
            terms: OrderTerms::Market,
            attached: Attached::Nothing,
            time_in_force: TimeInForce::Day,
            client_order_id: Some(format!("bench-{}", COUNT.fetch_add(1, Ordering::Relaxed))),
        }
    }
}

/// A reader with a history.
pub fn random_history() -> PortfolioId {
    PortfolioId(PORTFOLIOS + rand::random_range(1..=HISTORIES))
}

fn index(place: i64) -> usize {
    usize::try_from(place).unwrap_or_default()
}
