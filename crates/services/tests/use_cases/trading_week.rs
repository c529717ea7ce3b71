//! A week of trading with a provider of real prices: thirty stocks that are held, five people who trade every day, and
//! the calls that a key without a charge is allowed. The stand-in counts the calls as the provider would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike};
use domain::calendar::{EXCHANGE_ZONE, exchange_date};
use domain::{Calendar, Freshness, OrderStatus, OrderTerms, Side, Timestamp, TradingMode, TransactionType};
use market_data::{AlphaVantage, AlphaVantageConfig, ListedStock, Rules};
use serde_json::{Map, Value, json};
use services::testing::FixedPrices;
use services::{Clock, Error, Market, Services, TradingConfig};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::harness::{Exchange, Investor, day, gtc, moment, order, price, shares, symbol};

const STOCKS: usize = 30;
const USERS: usize = 5;
const EACH: usize = STOCKS / USERS;
/// When the week begins and ends: at midnight in New York, and a week later when the exchange opens.
const BEGIN: &str = "2026-12-07T05:00:00Z";
const END: &str = "2026-12-14T14:30:00Z";
const STEP: TimeDelta = TimeDelta::minutes(30);
/// A free key's calls of a day.
const A_DAY: usize = 25;
/// Two shares for one on Wednesday; a dividend on Thursday; half of the price lost on Tuesday.
const SPLIT: (usize, &str) = (3, "2026-12-09");
const DIVIDEND: (usize, &str, &str) = (10, "2026-12-10", "0.50");
const CRASH: (usize, &str) = (17, "2026-12-08");

/// How the prices truly go: the same whoever asks.
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

/// Calls by New York's day, by function; what the provider has refused.
#[derive(Default)]
struct Asked {
    calls: BTreeMap<NaiveDate, Vec<String>>,
    refused: usize,
}

#[derive(Clone)]
struct AlphaVantageStandIn {
    clock: Clock,
    asked: Arc<Mutex<Asked>>,
}

/// A close is told from two and a half hours after it.
fn newest_told(now: Timestamp) -> NaiveDate {
    Calendar::Xnys.last_closed(now - TimeDelta::minutes(150)).date
}

impl Respond for AlphaVantageStandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let now = self.clock.wall();
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let (function, of) = (parameter("function"), parameter("symbol"));
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        let mut asked = self.asked.lock().unwrap();
        let today = asked.calls.entry(exchange_date(now)).or_default();
        today.push(format!("{function} {of}").trim().to_owned());
        if now >= moment(BEGIN) && today.len() > A_DAY {
            asked.refused += 1;
            return ok(
                json!({"Information": "We have detected your API key and our standard API rate limit is 25 requests per day."}),
            );
        }
        match function.as_str() {
            "TIME_SERIES_DAILY" => {
                let last = newest_told(now);
                let mut days = Map::new();
                for session in Calendar::Xnys.sessions(day("2026-11-30"), last) {
                    let close = close(number(&of), session.date);
                    let bar = json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
                    days.insert(session.date.to_string(), bar);
                }
                ok(json!({ "Meta Data": { "2. Symbol": of }, "Time Series (Daily)": days }))
            }
            "LISTING_STATUS" => {
                let rows: String = (0..STOCKS)
                    .map(|n| {
                        format!("{},Number {n} Corporation,NYSE,Stock,2000-01-03,null,Active\r\n", ticker(n))
                    })
                    .collect();
                let head = "symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n";
                ResponseTemplate::new(200).set_body_string(format!("{head}{rows}"))
            }
            "OVERVIEW" => {
                ok(json!({"Symbol": of, "AssetType": "Common Stock", "Name": format!("{of} Corporation"),
                "Exchange": "NYSE", "Currency": "USD", "Country": "USA", "Sector": "TECHNOLOGY"}))
            }
            "SPLITS" if of == ticker(SPLIT.0) => ok(json!({"symbol": of, "data": [
                {"effective_date": SPLIT.1, "split_factor": "2.0000"}]})),
            "DIVIDENDS" if of == ticker(DIVIDEND.0) => ok(json!({"symbol": of, "data": [
                {"ex_dividend_date": DIVIDEND.1, "declaration_date": "2026-11-02", "record_date": DIVIDEND.1,
                 "payment_date": "2026-12-28", "amount": DIVIDEND.2}]})),
            "SPLITS" | "DIVIDENDS" => ok(json!({"symbol": of, "data": []})),
            _ => ok(json!({})),
        }
    }
}

/// The key's limits, but calls may follow one another at once: the clock stands still between two steps.
fn free_key() -> Rules {
    Rules { min_gap: TimeDelta::zero(), ..Rules::ALPHA_VANTAGE_FREE }
}

fn process(exchange: &Exchange, server: &MockServer, rules: Rules) -> Services {
    exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let source = AlphaVantage::new(AlphaVantageConfig {
            api_key: "TESTKEY0000".to_owned().into(),
            base_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        Market::limited(Arc::new(source.unwrap()), rules, store, clock)
    })
}

struct Week {
    exchange: Exchange,
    server: MockServer,
    asked: Arc<Mutex<Asked>>,
    process: Services,
    mode: TradingMode,
    users: Vec<Investor>,
    /// Of each session, when the book of closes had that of a stock.
    had_close: HashMap<(usize, NaiveDate), Timestamp>,
    /// When a session's rows were all final.
    final_at: BTreeMap<NaiveDate, Timestamp>,
    refused_orders: Vec<String>,
    placed: usize,
}

impl Week {
    /// Nobody holds anything yet, and no price is known.
    async fn new_installation(mode: TradingMode) -> Self {
        let trading = TradingConfig { mode, ..TradingConfig::default() };
        let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
        let exchange = Exchange::trading(prices, trading).await;
        exchange.at("2026-12-04T15:00:00Z");
        let (server, asked) = (MockServer::start().await, Arc::default());
        let stand_in = AlphaVantageStandIn { clock: exchange.clock.clone(), asked: Arc::clone(&asked) };
        Mock::given(any()).respond_with(stand_in).mount(&server).await;
        let listed = |n: usize| ListedStock {
            symbol: symbol(&ticker(n)),
            company_name: format!("Number {n} Corporation"),
            exchange: "NYSE".to_owned(),
            is_fund: false,
            listed_on: None,
            delisted_on: None,
        };
        let process = process(&exchange, &server, free_key());
        process.keep_listings((0..STOCKS).map(listed).collect()).await.unwrap();
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
            mode,
            users,
            had_close: HashMap::new(),
            final_at: BTreeMap::new(),
            refused_orders: Vec::new(),
            placed: 0,
        }
    }

    /// Five people have bought six stocks each on the Friday before, with the help of a key that has no limits.
    async fn with_thirty_stocks(mode: TradingMode) -> Self {
        let week = Self::new_installation(mode).await;
        let exchange = &week.exchange;
        let unlimited = Rules { per_minute: None, per_day: None, first_sights_per_user: None, ..free_key() };
        let before = process(exchange, &week.server, unlimited);
        exchange.at("2026-12-04T15:00:00Z");
        for (user, who) in week.users.iter().enumerate() {
            for n in user * EACH..(user + 1) * EACH {
                let ten = order(Side::Buy, &ticker(n), shares("10"));
                before.place_order(who.user, who.portfolio, ten).await.unwrap();
            }
        }
        exchange.at("2026-12-05T01:40:00Z");
        for _ in 0..3 {
            for run in before.due_runs().await.unwrap() {
                before.run_job(run.id, "worker").await.unwrap();
            }
            before.match_orders().await.unwrap();
            exchange.pass(TimeDelta::hours(1));
        }
        assert_eq!(week.held().await, STOCKS, "everything was bought");
        exchange.at(BEGIN);
        week
    }

    /// How many stocks are held, by whomever.
    async fn held(&self) -> usize {
        let ids: Vec<_> = self.users.iter().map(|who| who.portfolio).collect();
        let held = self.exchange.read(move |tx| persistence::positions::of_portfolios(tx, &ids)).await;
        held.values().map(Vec::len).sum()
    }

    /// Does what is due, while the clock goes on: a job may wait for the next minute.
    async fn work(&self) {
        for run in self.process.due_runs().await.unwrap() {
            let clock = self.exchange.clock.clone();
            let ticking = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    clock.set(clock.now() + TimeDelta::seconds(15));
                }
            });
            let done = self.process.run_job(run.id, "worker").await;
            ticking.abort();
            done.unwrap();
        }
        self.process.match_orders().await.unwrap();
    }

    async fn place(&mut self, who: Investor, command: domain::PlaceOrder) {
        self.placed += 1;
        let said = format!("{} {} {}", self.exchange.now(), command.side, command.symbol);
        match self.process.place_order(who.user, who.portfolio, command).await {
            Ok(_) => {}
            Err(Error::OrderRejected(why)) => self.refused_orders.push(format!("{said}: {why}")),
            Err(error) => self.refused_orders.push(format!("{said}: {error}")),
        }
    }

    /// What everybody does at that time of a day of trading: looks, buys, sells, and leaves orders at a price.
    async fn trade(&mut self, at: NaiveTime, session: usize) {
        let hour = |hour: u32| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        for (user, who) in self.users.clone().into_iter().enumerate() {
            let own = |n: usize| ticker(user * EACH + (session + n) % EACH);
            if at == hour(10) {
                self.process.valuation(who.user, who.portfolio).await.unwrap();
                self.place(who, order(Side::Buy, &own(0), shares("2"))).await;
                self.place(who, order(Side::Sell, &own(1), shares("1"))).await;
            } else if at == hour(11) {
                let beside = |of: String, percent: u64| {
                    let process = self.process.clone();
                    async move {
                        let last = process.quote_for(Some(who.user), &symbol(&of)).await.unwrap().quote.price;
                        let cents: u64 = last.to_string().replace('.', "").parse().unwrap();
                        // Prices below a dollar have four decimals; none of these is.
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
            if local.time() == NaiveTime::from_hms_opt(23, 30, 0).unwrap() {
                session += 1;
            }
            at = at + STEP;
        }
    }
}

/// What a fill may have been made at: the close of the session that its receipt names, in new shares once the split is
/// known.
fn true_close(stock: usize, quoted_at: Timestamp, knows_of_split: bool) -> u64 {
    let session = Calendar::Xnys.last_closed(quoted_at);
    assert_eq!(session.closes_at, quoted_at, "a price of a close");
    let cents = close_in_cents(stock, session.date);
    let split = Calendar::Xnys.session(day(SPLIT.1)).unwrap().opens_at;
    if stock == SPLIT.0 && quoted_at < split && knows_of_split { cents / 2 } else { cents }
}

fn cents(price: &domain::Price) -> u64 {
    price.to_string().replace('.', "").parse().unwrap()
}

impl Week {
    /// Every order was filled at a close that was allowed for it. Answers how many market orders have ended without.
    async fn assert_fills_are_allowed(&self) -> usize {
        let mut unfilled = 0;
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
                    let close = true_close(
                        number(order.symbol.as_str()),
                        receipt.quoted_at,
                        split.is_some_and(|split| fill.id > Some(split)),
                    );
                    assert_eq!(cents(&receipt.quoted_price), close, "{told}");
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

    /// The calls of a day are never more than the key has, and few of them are in vain.
    fn assert_calls_are_well_used(&self) {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.refused, 0, "the provider refused none");
        let week = asked.calls.range(day("2026-12-07")..=day("2026-12-13"));
        let series = week.flat_map(|(_, calls)| calls).filter(|call| call.starts_with("TIME_SERIES"));
        let gained = self.had_close.keys().filter(|(_, session)| *session >= day("2026-12-07")).count();
        // One answer may bring two closes, but one that brings none is rare: three an evening, before they are told.
        assert!(series.count() <= gained + 15, "{gained} closes: {:?}", asked.calls);
    }

    /// Of thirty closes a session at least twenty are there when the next one opens: fifteen calls of the jobs after six
    /// in the morning, and at night what people have left of their ten, which is five here. With 25 calls a day less
    /// those for news and profiles each stock is asked for at least every second day, and on two days without a session everything is caught
    /// up.
    fn assert_closes_come_in_time(&self) {
        for session in Calendar::Xnys.sessions(day("2026-12-07"), day("2026-12-11")) {
            let later = session.date.succ_opt().unwrap();
            let next: Vec<_> = Calendar::Xnys.sessions(later, day("2026-12-20")).take(2).collect();
            let there = |by: Timestamp| {
                (0..STOCKS)
                    .filter(|n| self.had_close.get(&(*n, session.date)).is_some_and(|at| *at <= by))
                    .count()
            };
            let friday = session.date == day("2026-12-11");
            let expected = if friday { STOCKS } else { 20 };
            assert!(there(next[0].opens_at) >= expected, "{}: {}", session.date, there(next[0].opens_at));
            assert!(
                friday || there(next[1].opens_at) == STOCKS,
                "{}: {}",
                session.date,
                there(next[1].opens_at)
            );
            let by = if friday { next[0].opens_at } else { next[1].opens_at };
            let final_at = self.final_at.get(&session.date);
            assert!(final_at.is_some_and(|at| *at <= by), "{}: final {final_at:?}", session.date);
        }
    }

    async fn assert_bars_are_true(&self) {
        for n in 0..STOCKS {
            let stock = self.process.stored_stock(&symbol(&ticker(n))).await.unwrap().id;
            let source = self.process.provider_state().await.unwrap().source;
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

    /// Shares after the split, and a dividend that became known in time.
    async fn assert_events_are_booked(&self) {
        let split = self.exchange.journal(self.users[0]).await;
        let split: Vec<_> =
            split.iter().filter(|entry| entry.transaction_type == TransactionType::Split).collect();
        assert_eq!(split.len(), 1, "{split:?}");
        assert!(self.process.held_splits().await.unwrap().is_empty());
        assert!(self.process.unconfirmed_prices().await.unwrap().is_empty());
        let owed = self.process.valuation(self.users[1].user, self.users[1].portfolio).await.unwrap();
        let owed = owed.valuation.dividends_receivable.to_string();
        assert!(
            owed.parse::<f64>().unwrap() >= 4.5,
            "a dividend of 0.50 for some ten shares: {owed}; {:?}",
            self.asked.lock().unwrap().calls
        );
    }
}

async fn week_of(mode: TradingMode) -> Week {
    let mut week = Week::with_thirty_stocks(mode).await;
    week.pass().await;
    assert_eq!(week.refused_orders, [""; 0]);
    assert_eq!(week.placed, USERS * 6 * 5);
    week.assert_calls_are_well_used();
    week.assert_closes_come_in_time();
    week.assert_bars_are_true().await;
    week.assert_events_are_booked().await;
    week.exchange.assert_books_balance().await;
    week
}

/// What README.md promises: how many stocks a new installation with a free key comes to have, when five people want thirty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_installation_comes_to_have_thirty_stocks_within_the_week() {
    let week = Week::new_installation(TradingMode::Practice).await;
    let mut held = BTreeMap::new();
    let mut at = moment(BEGIN);
    while at <= moment(END) {
        if week.exchange.now() < at {
            week.exchange.clock.set(at);
        }
        let local = in_new_york(at);
        // Everybody looks for what is missing, once an hour while people are awake.
        if (9..22).contains(&local.hour()) && local.minute() == 0 {
            for (user, who) in week.users.iter().enumerate() {
                for n in user * EACH..(user + 1) * EACH {
                    let ten = order(Side::Buy, &ticker(n), shares("10"));
                    let has = week.exchange.journal(*who).await;
                    let stock = week.process.stored_stock(&symbol(&ticker(n))).await;
                    if stock.is_ok_and(|stock| has.iter().any(|entry| entry.stock_id == Some(stock.id))) {
                        continue;
                    }
                    let refused = week.process.place_order(who.user, who.portfolio, ten).await.err();
                    let is_told = |error: &Error| {
                        matches!(error, Error::NoPrice { retry_at: Some(_), .. } | Error::CallsUsedUp { .. })
                    };
                    assert!(refused.as_ref().is_none_or(is_told), "{refused:?}");
                }
            }
        }
        week.work().await;
        held.insert(local.date(), week.held().await);
        at = at + STEP;
    }
    for (date, least) in [("2026-12-07", 10), ("2026-12-08", 18), ("2026-12-10", STOCKS)] {
        assert!(held[&day(date)] >= least, "{date}: {held:?}");
    }
    assert_eq!(week.asked.lock().unwrap().refused, 0);
    week.exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_and_a_free_key_with_trading_at_any_time() {
    let week = week_of(TradingMode::Practice).await;
    // Nearly all fill at the newest close at once; the others wait for one that is due.
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= USERS, "{unfilled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_stocks_and_a_free_key_with_trading_by_the_hours_of_the_exchange() {
    let week = week_of(TradingMode::Realistic).await;
    // Five stocks a session are ordered at the market by somebody at 10 and at 22, and ten stocks wait for their turn.
    let unfilled = week.assert_fills_are_allowed().await;
    assert!(unfilled <= 30, "{unfilled}");
}
