//! A week of trading with a provider of real prices: thirty held stocks, five users who trade every day, and the calls
//! that the provider allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta};
use domain::calendar::EXCHANGE_ZONE;
use domain::{
    Calendar, CorporateActionKind, Freshness, KnownAction, OrderStatus, OrderTerms, PortfolioRef, Side,
    Timestamp, TradingMode, TransactionType,
};
use market_data::ListedStock;
use persistence::corporate_actions;
use services::testing::FixedPrices;
use services::{Clock, Error, Services, TradingConfig};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

mod alpha_vantage;
mod yahoo;

use super::harness::{Exchange, Investor, day, gtc, moment, order, price, shares, symbol};

const STOCKS: usize = 30;
const USERS: usize = 5;
const EACH: usize = STOCKS / USERS;
/// The beginning and the end of the week: midnight in New York, and the opening of the exchange a week later.
const BEGIN: &str = "2026-12-07T05:00:00Z";
const END: &str = "2026-12-14T14:30:00Z";
const STEP: TimeDelta = TimeDelta::minutes(30);
/// A two-for-one split on Wednesday, a dividend on Thursday, and a fall by half on Tuesday.
const SPLIT: (usize, &str) = (3, "2026-12-09");
const DIVIDEND: (usize, &str, &str) = (10, "2026-12-10", "0.50");
const DIVIDEND_CENTS: u64 = 50;
const CRASH: (usize, &str) = (17, "2026-12-08");

/// The true close of a stock, independent of all requests.
fn close_in_cents(stock: usize, session: NaiveDate) -> u64 {
    let mut cents = 4000 + 731 * stock as u64;
    let mut at = day("2026-11-30");
    while at <= session {
        if Calendar::Xnys.session(at).is_some() {
            let chance =
                (stock as u64 * 7919 + u64::from(at.num_days_from_ce().unsigned_abs()) * 104_729) % 401;
            cents = cents * (9_800 + chance) / 10_000;
            if (stock, at) == (CRASH.0, day(CRASH.1)) {
                cents = cents * 52 / 100;
            }
            if (stock, at) == (SPLIT.0, day(SPLIT.1)) {
                cents /= 2;
            }
        }
        at = at.succ_opt().unwrap();
    }
    cents
}

fn close(stock: usize, session: NaiveDate) -> String {
    let cents = close_in_cents(stock, session);
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn ticker(stock: usize) -> String {
    format!("W{stock}")
}

fn number(ticker: &str) -> usize {
    ticker.trim_start_matches('W').parse().unwrap()
}

fn in_new_york(at: Timestamp) -> chrono::NaiveDateTime {
    at.utc().with_timezone(&EXCHANGE_ZONE).naive_local()
}

/// The calls by day in New York and by function, and the calls that the provider refused.
#[derive(Default)]
struct Asked {
    calls: BTreeMap<NaiveDate, Vec<String>>,
    refused: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    AlphaVantage,
    Yahoo,
}

impl Provider {
    fn freshness(self) -> Freshness {
        match self {
            Self::AlphaVantage => Freshness::EndOfDay,
            Self::Yahoo => Freshness::Delayed,
        }
    }

    async fn mount(self, server: &MockServer, clock: &Clock, asked: &Arc<Mutex<Asked>>) {
        let (clock, asked) = (clock.clone(), Arc::clone(asked));
        let mock = match self {
            Self::AlphaVantage => Mock::given(any()).respond_with(alpha_vantage::stand_in(clock, asked)),
            Self::Yahoo => Mock::given(any()).respond_with(yahoo::stand_in(clock, asked)),
        };
        mock.mount(server).await;
    }

    fn process(self, exchange: &Exchange, server: &MockServer, has_limits: bool) -> Services {
        match self {
            Self::AlphaVantage => alpha_vantage::process(exchange, server, has_limits),
            Self::Yahoo => yahoo::process(exchange, server, has_limits),
        }
    }

    /// The true price of a stock at the time `at`.
    fn true_price(self, stock: usize, at: Timestamp) -> u64 {
        match self {
            Self::AlphaVantage => {
                let session = Calendar::Xnys.last_closed(at);
                assert_eq!(session.closes_at, at, "a price of a close");
                close_in_cents(stock, session.date)
            }
            Self::Yahoo => yahoo::price_in_cents(stock, at),
        }
    }

    /// The time from one step of the simulation to the next.
    fn step(self, at: Timestamp) -> TimeDelta {
        let is_lively = || Calendar::Xnys.session_at(at - TimeDelta::minutes(30)).is_some();
        match self {
            Self::Yahoo if is_lively() || Calendar::Xnys.session_at(at).is_some() => TimeDelta::minutes(5),
            _ => STEP,
        }
    }
}

struct Week {
    exchange: Exchange,
    server: MockServer,
    asked: Arc<Mutex<Asked>>,
    process: Services,
    provider: Provider,
    mode: TradingMode,
    users: Vec<Investor>,
    /// For each stock and session, when its close was stored.
    had_close: HashMap<(usize, NaiveDate), Timestamp>,
    /// When all rows of a session were final.
    final_at: BTreeMap<NaiveDate, Timestamp>,
    refused_orders: Vec<String>,
    placed: usize,
    /// The scheduled calls of the day that were used shortly before the close of each session.
    used_by_close: BTreeMap<NaiveDate, u32>,
}

impl Week {
    /// A new installation without holdings and known prices.
    async fn new_installation(provider: Provider, mode: TradingMode) -> Self {
        let trading = TradingConfig { mode, ..TradingConfig::default() };
        let prices = FixedPrices::of(provider.freshness(), Calendar::Xnys);
        let exchange = Exchange::trading(prices, trading).await;
        exchange.at("2026-12-04T15:00:00Z");
        let (server, asked) = (MockServer::start().await, Arc::default());
        provider.mount(&server, &exchange.clock, &asked).await;
        let listed = |n: usize| ListedStock {
            symbol: symbol(&ticker(n)),
            company_name: format!("Number {n} Corporation"),
            exchange: "NYSE".to_owned(),
            is_fund: false,
            listed_on: None,
            delisted_on: None,
        };
        let process = provider.process(&exchange, &server, true);
        process.stocks().keep_listings((0..STOCKS).map(listed).collect()).await.unwrap();
        let mut users = Vec::new();
        for user in 0..USERS {
            users.push(exchange.investor(&format!("user{user}"), "100000.00").await);
        }
        exchange.at(BEGIN);
        Self {
            exchange,
            server,
            asked,
            process,
            provider,
            mode,
            users,
            had_close: HashMap::new(),
            final_at: BTreeMap::new(),
            refused_orders: Vec::new(),
            placed: 0,
            used_by_close: BTreeMap::new(),
        }
    }

    /// Five users who have bought six stocks each on the Friday before, with a key that has no limits.
    async fn with_thirty_stocks(provider: Provider, mode: TradingMode) -> Self {
        let week = Self::new_installation(provider, mode).await;
        let exchange = &week.exchange;
        let before = provider.process(exchange, &week.server, false);
        exchange.at("2026-12-04T15:00:00Z");
        for (user, who) in week.users.iter().enumerate() {
            for n in user * EACH..(user + 1) * EACH {
                let ten = order(Side::Buy, &ticker(n), shares("10"));
                before.trading().place_order(who.control(), ten).await.unwrap();
            }
        }
        // With prices of the session the orders fill soon, otherwise at the close.
        for at in
            ["2026-12-04T15:20:00Z", "2026-12-05T01:40:00Z", "2026-12-05T02:40:00Z", "2026-12-05T03:40:00Z"]
        {
            exchange.at(at);
            for run in before.jobs().due_runs().await.unwrap() {
                before.jobs().run_job(run.id, "worker").await.unwrap();
            }
            before.trading().match_orders().await.unwrap();
        }
        assert_eq!(week.held().await, STOCKS, "everything was bought");
        exchange.at(BEGIN);
        week
    }

    /// The number of stocks that any user holds.
    async fn held(&self) -> usize {
        let ids: Vec<_> = self.users.iter().map(|who| who.portfolio).collect();
        let held = self.exchange.read(move |tx| persistence::positions::of_portfolios(tx, &ids)).await;
        held.values().map(Vec::len).sum()
    }

    /// Executes due runs while the clock advances: a job may wait for the next minute.
    async fn work(&self) {
        for run in self.process.jobs().due_runs().await.unwrap() {
            let clock = self.exchange.clock.clone();
            let ticking = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    clock.set(clock.now() + TimeDelta::seconds(15));
                }
            });
            let done = self.process.jobs().run_job(run.id, "worker").await;
            ticking.abort();
            done.unwrap();
        }
        self.process.trading().match_orders().await.unwrap();
    }

    async fn place(&mut self, who: Investor, command: domain::PlaceOrder) {
        self.placed += 1;
        let said = format!("{} {} {}", self.exchange.now(), command.side, command.symbol);
        match self.process.trading().place_order(who.control(), command).await {
            Ok(_) => {}
            Err(Error::OrderRejected(why)) => self.refused_orders.push(format!("{said}: {why}")),
            Err(error) => self.refused_orders.push(format!("{said}: {error}")),
        }
    }

    /// The actions of all users at that time of a trading day: they look, buy, sell, and place limit orders.
    async fn trade(&mut self, at: NaiveTime, session: usize) {
        let hour = |hour: u32| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        for (user, who) in self.users.clone().into_iter().enumerate() {
            let own = |n: usize| ticker(user * EACH + (session + n) % EACH);
            if at == hour(10) {
                self.process.books().valuation(who.reference()).await.unwrap();
                self.place(who, order(Side::Buy, &own(0), shares("2"))).await;
                self.place(who, order(Side::Sell, &own(1), shares("1"))).await;
            } else if at == hour(11) {
                let beside = |of: String, percent: u64| {
                    let process = self.process.clone();
                    async move {
                        let last = process
                            .stocks()
                            .quote_for(Some(who.user), &symbol(&of))
                            .await
                            .unwrap()
                            .quote
                            .price;
                        let cents: u64 = last.to_string().replace('.', "").parse().unwrap();
                        // Prices below a dollar have four decimals; all prices here are above.
                        let cents = cents * percent / 100;
                        price(&format!("{}.{:02}", cents / 100, cents % 100))
                    }
                };
                let (below, above, far) =
                    (beside(own(2), 99).await, beside(own(3), 101).await, beside(own(4), 96).await);
                self.place(who, gtc(Side::Buy, &own(2), "1", OrderTerms::Limit { limit: below })).await;
                self.place(who, gtc(Side::Sell, &own(3), "1", OrderTerms::Limit { limit: above })).await;
                self.place(who, gtc(Side::Sell, &own(4), "1", OrderTerms::Stop { stop: far })).await;
            } else if at == hour(22) {
                self.place(who, order(Side::Buy, &own(5), shares("1"))).await;
            }
        }
    }

    async fn look(&mut self) {
        let now = self.exchange.now();
        for stock in self.exchange.read(persistence::stocks::all).await {
            let (Some(last), true) = (stock.last, stock.listing.symbol.as_str().starts_with('W')) else {
                continue;
            };
            let session = Calendar::Xnys.last_closed(last.as_of).date;
            for session in Calendar::Xnys.sessions(day("2026-12-04"), session) {
                self.had_close.entry((number(stock.listing.symbol.as_str()), session.date)).or_insert(now);
            }
        }
        let mut open: BTreeSet<NaiveDate> = BTreeSet::new();
        let mut rows_of: BTreeMap<NaiveDate, usize> = BTreeMap::new();
        for who in self.users.clone() {
            for row in self.exchange.rows(who).await {
                *rows_of.entry(row.date).or_default() += 1;
                if row.provisional {
                    open.insert(row.date);
                }
            }
        }
        for (date, rows) in rows_of {
            if rows == USERS && !open.contains(&date) {
                self.final_at.entry(date).or_insert(now);
            }
        }
    }

    async fn pass(&mut self) {
        let mut at = moment(BEGIN);
        let mut session = 0;
        while at <= moment(END) {
            if self.exchange.now() < at {
                self.exchange.clock.set(at);
            }
            let local = in_new_york(at);
            if Calendar::Xnys.session(local.date()).is_some() {
                self.trade(local.time(), session).await;
            }
            self.work().await;
            self.look().await;
            let is_session = Calendar::Xnys.session(local.date()).is_some();
            if is_session && local.time() == NaiveTime::from_hms_opt(15, 30, 0).unwrap() {
                let pots = self.process.stocks().provider_state().await.unwrap().limits.unwrap().pots;
                let scheduled = pots.iter().find(|pot| pot.name == "scheduled").unwrap();
                self.used_by_close.insert(local.date(), scheduled.used);
            }
            if local.time() == NaiveTime::from_hms_opt(23, 30, 0).unwrap() {
                session += 1;
            }
            at = at + self.provider.step(at);
        }
    }
}

fn cents(price: &domain::Price) -> u64 {
    price.to_string().replace('.', "").parse().unwrap()
}

impl Week {
    /// The price that a fill must have: the price at the time in its receipt, in new shares once the split is known,
    /// and less the dividend on its ex-date once it is known.
    fn true_price(
        &self,
        stock: usize,
        (quoted_at, filled_at): (Timestamp, Timestamp),
        knows_of_split: bool,
        dividend_known_at: Option<Timestamp>,
    ) -> u64 {
        let opening = |on: &str| Calendar::Xnys.session(day(on)).unwrap().opens_at;
        let cents = self.provider.true_price(stock, quoted_at);
        let (split, ex) = (opening(SPLIT.1), opening(DIVIDEND.1));
        let is_known = dividend_known_at.is_some_and(|at| at <= filled_at);
        if stock == SPLIT.0 && quoted_at < split && knows_of_split {
            cents / 2
        } else if stock == DIVIDEND.0 && quoted_at < ex && filled_at >= ex && is_known {
            cents - DIVIDEND_CENTS
        } else {
            cents
        }
    }

    async fn dividend_known_at(&self) -> Option<Timestamp> {
        let all = self.exchange.store().read(|tx| Ok::<_, Error>(corporate_actions::all(tx)?));
        let of_dividend =
            |known: &KnownAction| matches!(known.action.kind, CorporateActionKind::CashDividend { .. });
        all.await.unwrap().iter().find(|known| of_dividend(known)).map(|known| known.known_at)
    }

    /// Asserts that every order was filled at an allowed price. Returns the number of market orders that ended without
    /// a fill.
    async fn assert_fills_are_allowed(&self) -> usize {
        let mut unfilled = 0;
        let dividend_known_at = self.dividend_known_at().await;
        for who in &self.users {
            let journal = self.exchange.journal(*who).await;
            let split = journal.iter().find(|entry| entry.transaction_type == TransactionType::Split);
            let split = split.and_then(|entry| entry.id);
            for placed in self.exchange.all_orders(*who).await {
                let order = &placed.order;
                let is_market = matches!(order.terms, OrderTerms::Market);
                unfilled += usize::from(is_market && order.status == OrderStatus::Expired);
                for fill in &placed.fills {
                    let receipt = fill.receipt.as_ref().unwrap();
                    let told = format!("{order:?} {fill:?}");
                    let price = self.true_price(
                        number(order.symbol.as_str()),
                        (receipt.quoted_at, fill.timestamp),
                        split.is_some_and(|split| fill.id > Some(split)),
                        dividend_known_at,
                    );
                    assert_eq!(cents(&receipt.quoted_price), price, "{told}");
                    assert_eq!(fill.price.as_ref(), Some(&receipt.quoted_price), "{told}");
                    assert!(fill.timestamp - receipt.quoted_at <= TimeDelta::days(5), "{told}");
                    if self.mode == TradingMode::Realistic {
                        assert!(receipt.quoted_at > order.submitted_at, "{told}");
                    }
                    match (&order.terms, order.side) {
                        (OrderTerms::Limit { limit }, Side::Buy) => {
                            assert!(receipt.quoted_price <= *limit, "{told}")
                        }
                        (OrderTerms::Limit { limit }, Side::Sell) => {
                            assert!(receipt.quoted_price >= *limit, "{told}")
                        }
                        (OrderTerms::Stop { stop }, _) => assert!(receipt.quoted_price <= *stop, "{told}"),
                        _ => {}
                    }
                }
            }
        }
        unfilled
    }

    async fn assert_bars_are_true(&self) {
        for n in 0..STOCKS {
            let stock = self.process.instruments().stored_stock(&symbol(&ticker(n))).await.unwrap().id;
            let source = self.process.stocks().provider_state().await.unwrap().source;
            let bars = self.exchange.read(move |tx| {
                persistence::stocks::bars_from(
                    tx,
                    stock,
                    source.as_str(),
                    day("2026-12-04"),
                    day("2026-12-11"),
                )
            });
            let told: Vec<(NaiveDate, u64)> =
                bars.await.iter().map(|bar| (bar.date, cents(&bar.close))).collect();
            let sessions = Calendar::Xnys.sessions(day("2026-12-04"), day("2026-12-11"));
            let truth: Vec<_> =
                sessions.map(|session| (session.date, close_in_cents(n, session.date))).collect();
            assert_eq!(told, truth, "{}", ticker(n));
        }
    }

    /// Asserts the shares after the split, and a dividend that became known in time.
    async fn assert_events_are_booked(&self) {
        let split = self.exchange.journal(self.users[0]).await;
        let split: Vec<_> =
            split.iter().filter(|entry| entry.transaction_type == TransactionType::Split).collect();
        assert_eq!(split.len(), 1, "{split:?}");
        assert!(self.process.corporate_actions().held_splits().await.unwrap().is_empty());
        assert!(self.process.stocks().unconfirmed_prices().await.unwrap().is_empty());
        let owed = self
            .process
            .books()
            .valuation(PortfolioRef::new(self.users[1].user, self.users[1].portfolio))
            .await
            .unwrap();
        let owed = owed.valuation.dividends_receivable.to_string();
        assert!(
            owed.parse::<f64>().unwrap() >= 4.5,
            "a dividend of 0.50 for some ten shares: {owed}; {:?}",
            self.asked.lock().unwrap().calls
        );
    }

    /// Runs a week and asserts that the books are right.
    async fn lived(provider: Provider, mode: TradingMode) -> Self {
        let mut week = Self::with_thirty_stocks(provider, mode).await;
        week.pass().await;
        assert_eq!(week.refused_orders, [""; 0]);
        assert_eq!(week.placed, USERS * 6 * 5);
        week.assert_bars_are_true().await;
        week.assert_events_are_booked().await;
        week.exchange.assert_books_balance().await;
        week
    }
}
