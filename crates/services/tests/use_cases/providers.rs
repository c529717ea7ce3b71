//! A deployment with a stand-in for a provider of real prices: the stand-in's answers, the number of calls, and the
//! effects on the books.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use domain::HistoryRange;
use domain::{
    Attached, Calendar, Freshness, OrderStatus, PlaceOrder, PriceSource, Side, StopLoss, Symbol, UserId,
};
use market_data::{AlphaVantage, AlphaVantageConfig, ListedStock, QuoteSource, Rules, Yahoo, YahooConfig};
use persistence::stocks;
use serde_json::{Value, json};
use services::accounts::actor::{Administrator, Trader};
use services::jobs::{JobKind, JobRun, RunStatus};
use services::market::price_source::{PriceSourceError, check_price_source, claim_price_source};
use services::stocks::providers::Breaker;
use services::testing::FixedPrices;
use services::{Error, Market, Services};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::harness::{Exchange, Investor, day, gtc, limit, money, order, price, quantity, shares, symbol};

const KEY: &str = "TESTKEY0000";

/// Rules without limits per minute and second, so that only the limit per day counts.
fn by_the_day() -> Rules {
    Rules { min_gap: TimeDelta::zero(), per_minute: None, ..Rules::ALPHA_VANTAGE_FREE }
}

/// The stand-in's answers: one per function, or the same for all.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The closes of the last sessions by symbol, oldest first; 100.00 for other symbols.
    closes: HashMap<String, Vec<(&'static str, String)>>,
    /// The day and the factor of a split.
    splits: HashMap<String, (&'static str, &'static str)>,
    to_all: Option<ResponseTemplate>,
    asked: Vec<String>,
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let (function, of) = (parameter("function"), parameter("symbol"));
        state.asked.push(format!("{function} {of}").trim().to_owned());
        if let Some(answer) = &state.to_all {
            return answer.clone();
        }
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match function.as_str() {
            "TIME_SERIES_DAILY" => {
                let thursday =
                    || vec![("2026-11-18", "99.00".to_owned()), ("2026-11-19", "100.00".to_owned())];
                let closes = state.closes.get(&of).cloned().unwrap_or_else(thursday);
                // Slow enough that all simultaneous callers are waiting before the answer comes.
                ok(series(&of, &closes)).set_delay(Duration::from_millis(30))
            }
            "LISTING_STATUS" => ResponseTemplate::new(200).set_body_string(
                "symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n\
                 AAPL,Apple Inc,NASDAQ,Stock,1980-12-12,null,Active\r\n\
                 APLE,Apple Hospitality REIT,NYSE,Stock,2015-05-18,null,Active\r\n\
                 SPY,SPDR S&P 500,NYSE ARCA,ETF,1993-01-29,null,Active\r\n",
            ),
            "OVERVIEW" => {
                ok(json!({"Symbol": of, "AssetType": "Common Stock", "Name": format!("{of} Incorporated"),
                "Exchange": "NYSE", "Currency": "USD", "Country": "USA", "Sector": "TECHNOLOGY"}))
            }
            "SPLITS" => {
                let row = |(on, factor)| json!({"effective_date": on, "split_factor": factor});
                let rows: Vec<Value> = state.splits.get(&of).copied().map(row).into_iter().collect();
                ok(json!({ "symbol": of, "data": rows }))
            }
            "DIVIDENDS" => ok(json!({ "symbol": of, "data": [] })),
            _ => ok(json!({})),
        }
    }
}

fn series(of: &str, closes: &[(&str, String)]) -> Value {
    let bar = |close: &str| json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
    let days: serde_json::Map<String, Value> =
        closes.iter().map(|(day, close)| ((*day).to_owned(), bar(close))).collect();
    json!({ "Meta Data": { "2. Symbol": of }, "Time Series (Daily)": days })
}

/// A deployment on Friday, 20 November 2026, 14:12 in New York; the last close is Thursday's.
struct Deployment {
    exchange: Exchange,
    server: MockServer,
    answers: Answers,
    rules: Rules,
    process: Services,
}

impl Deref for Deployment {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.process
    }
}

impl Deployment {
    /// A deployment with a table of listings, so that a symbol costs no call until its price is needed.
    async fn new() -> Self {
        let deployment = Self::without_listings(by_the_day()).await;
        let listed = |of: &str| ListedStock {
            symbol: symbol(of),
            company_name: format!("{of} Incorporated"),
            exchange: "NYSE".to_owned(),
            is_fund: false,
            listed_on: None,
            delisted_on: None,
        };
        let mut table: Vec<ListedStock> = (0..60).map(|n| listed(&format!("S{n}"))).collect();
        table.extend(["AAPL", "IBM", "MSFT"].map(listed));
        deployment.stocks().keep_listings(table).await.unwrap();
        deployment
    }

    async fn without_listings(rules: Rules) -> Self {
        let exchange = Exchange::with(FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys)).await;
        let (server, answers) = (MockServer::start().await, Answers::default());
        Mock::given(any()).respond_with(answers.clone()).mount(&server).await;
        let process = process(&exchange, &server, &rules);
        Self { exchange, server, answers, rules, process }
    }

    /// Another process of the deployment, or the same one after a restart.
    fn another_process(&self) -> Services {
        process(&self.exchange, &self.server, &self.rules)
    }

    fn asked(&self) -> Vec<String> {
        self.answers.0.lock().unwrap().asked.clone()
    }

    fn calls(&self) -> usize {
        self.asked().len()
    }

    fn closes(&self, of: &str, closes: &[(&'static str, &str)]) {
        let closes = closes.iter().map(|(day, close)| (*day, (*close).to_owned())).collect();
        self.answers.0.lock().unwrap().closes.insert(of.to_owned(), closes);
    }

    /// Sets one answer for all requests; `None` restores the normal answers.
    fn answers_all_with(&self, answer: Option<ResponseTemplate>) {
        self.answers.0.lock().unwrap().to_all = answer;
    }

    async fn work(&self) -> Vec<JobRun> {
        let due = self.jobs().due_runs().await.unwrap();
        for run in &due {
            assert!(self.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        due
    }

    async fn newest_run(&self, kind: JobKind) -> JobRun {
        self.jobs().job_runs(Some(kind), None, 1).await.unwrap().items.remove(0)
    }

    async fn watching(&self, user: UserId, symbols: impl Iterator<Item = Symbol>) {
        let symbols: Vec<Symbol> = symbols.collect();
        let list = self
            .watchlists()
            .create_watchlist(Trader::on_behalf_of(user), &format!("{} stocks", symbols.len()))
            .await
            .unwrap()
            .id;
        for symbol in symbols {
            self.watchlists().watch(Trader::on_behalf_of(user), list, &symbol).await.unwrap();
        }
    }

    async fn price(&self, of: &str) -> String {
        self.stocks().quote(&symbol(of)).await.unwrap().price.to_string()
    }

    async fn buys(&self, who: Investor, of: &str) -> Result<OrderStatus, Error> {
        let placed = self.trading().place_order(who.control(), order(Side::Buy, of, shares("1"))).await?;
        Ok(placed.order.order.status)
    }

    async fn transactions_of(&self, who: Investor) -> usize {
        self.exchange.journal(who).await.len()
    }
}

fn process(exchange: &Exchange, server: &MockServer, rules: &Rules) -> Services {
    exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let source = AlphaVantage::new(AlphaVantageConfig {
            api_key: KEY.to_owned().into(),
            base_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        let source = source.unwrap().with_deadline(Duration::from_millis(800));
        Market::limited(Arc::new(source), rules.clone(), store, clock)
    })
}

fn numbered(n: usize) -> Symbol {
    symbol(&format!("S{n}"))
}

fn is_refused<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::NoPrice { retry_at: Some(_), .. } | Error::CallsUsedUp { .. }))
}

fn said(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "Information": text }))
}

fn per_day() -> ResponseTemplate {
    said(&format!(
        "We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day."
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_for_an_uncached_symbol_cause_one_call() {
    let deployment = Deployment::new().await;
    let processes = [deployment.process.clone(), deployment.another_process()];
    let asking: Vec<_> = (0..200)
        .map(|n| {
            let services = processes[n % 2].clone();
            tokio::spawn(async move {
                let aapl = symbol("AAPL");
                let quote = services.stocks().quote_for(None, &aapl).await?.quote;
                let bars = services.stocks().history(&aapl, HistoryRange::Month).await?;
                Ok::<_, Error>((quote.price.to_string(), bars.len()))
            })
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap().unwrap(), ("100.00".to_owned(), 2));
    }
    assert_eq!(deployment.asked(), ["TIME_SERIES_DAILY AAPL"]);
    // Neither a process that starts later nor an order causes a call.
    let sam = deployment.exchange.investor("sam", "1000.00").await;
    let restarted = deployment.another_process();
    assert_eq!(restarted.stocks().quote(&symbol("AAPL")).await.unwrap().price.to_string(), "100.00");
    assert_eq!(deployment.buys(sam, "AAPL").await.unwrap(), OrderStatus::Filled);
    assert_eq!(deployment.calls(), 1);
}

#[tokio::test]
async fn a_days_twenty_sixth_call_is_never_sent() {
    let deployment = Deployment::new().await;
    let user = deployment.exchange.user("sam").await;
    deployment.watching(user, (0..40).map(numbered)).await;
    for restart in 0..3 {
        let processes = [deployment.another_process(), deployment.another_process()];
        for n in 0..10 {
            for (at, services) in processes.iter().enumerate() {
                let _ = services.stocks().quote(&numbered(restart * 20 + n * 2 + at)).await;
            }
        }
        for services in &processes {
            services
                .jobs()
                .request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes)
                .await
                .unwrap();
            for run in services.jobs().due_runs().await.unwrap() {
                let _ = services.jobs().run_job(run.id, "worker").await;
            }
        }
        assert!(deployment.calls() <= 25);
    }
    assert_eq!(deployment.calls(), 25, "all of them are used");
    let state = deployment.another_process().stocks().provider_state().await.unwrap().limits.unwrap();
    assert_eq!((state.used(), state.left()), (25, Some(0)));
    assert!(is_refused(&deployment.stocks().quote(&numbered(55)).await));
    // The next day in New York has its own calls.
    deployment.exchange.at("2026-11-21T05:10:00Z");
    assert!(deployment.stocks().quote(&numbered(55)).await.is_ok());
    assert_eq!(deployment.calls(), 26);
}

#[tokio::test]
async fn one_user_cannot_use_up_the_calls_for_new_symbols() {
    let deployment = Deployment::new().await;
    let (sam, ada) = (deployment.exchange.user("sam").await, deployment.exchange.user("ada").await);
    // Today's close uses all calls of the jobs.
    deployment.watching(ada, (30..45).map(numbered)).await;
    for n in 0..3 {
        deployment.stocks().quote_for(Some(sam), &numbered(n)).await.unwrap();
    }
    assert!(is_refused(&deployment.stocks().quote_for(Some(sam), &numbered(3)).await));
    assert!(
        deployment.stocks().quote_for(Some(sam), &numbered(0)).await.is_ok(),
        "what is known costs nothing"
    );
    assert!(deployment.stocks().quote_for(Some(ada), &numbered(3)).await.is_ok());
    assert_eq!(deployment.calls(), 4);
}

#[tokio::test]
async fn calls_of_all_processes_keep_the_minimum_gap() {
    let gap = TimeDelta::milliseconds(40);
    let rules = Rules { min_gap: gap, ..Rules::ALPHA_VANTAGE_FREE };
    let deployment = Deployment::without_listings(rules).await;
    let name = "alpha_vantage";
    let next = async || {
        let record = deployment.exchange.read(move |tx| persistence::providers::record(tx, name)).await;
        record.unwrap().next_call_at
    };
    let begun = deployment.exchange.now();
    deployment.work().await;
    assert_eq!(next().await, begun + gap);
    // By the deployment's clock, which stands still: the second call, by another process, gets the next place.
    let _ = deployment.another_process().stocks().quote(&symbol("AAPL")).await;
    assert_eq!(next().await, begun + gap + gap);
    assert_eq!(deployment.calls(), 2);
}

#[tokio::test]
async fn an_unknown_symbol_is_distinguished_from_a_refusal() {
    let deployment = Deployment::new().await;
    let unknown = deployment.stocks().quote(&symbol("NOSUCH")).await;
    assert!(matches!(unknown, Err(Error::UnknownSymbol(_))), "{unknown:?}");
    assert_eq!(deployment.calls(), 0, "the table of listings knows");

    deployment.answers_all_with(Some(per_day()));
    let Err(Error::NoPrice { retry_at: Some(retry_at), .. }) =
        deployment.stocks().quote(&symbol("IBM")).await
    else {
        panic!("there is no price")
    };
    assert_eq!(retry_at.to_rfc3339(), "2026-11-21T05:05:00Z", "the next day in New York, and some minutes");
    // The other processes know the refusal and make no call.
    assert!(is_refused(&deployment.another_process().stocks().quote(&symbol("MSFT")).await));
    assert_eq!(deployment.calls(), 1);
    let limits = deployment.stocks().provider_state().await.unwrap().limits.unwrap();
    assert_eq!((limits.breaker, limits.parked_until), (Breaker::Open, Some(retry_at)));
    let error = limits.last_error.unwrap();
    assert!(error.contains("does not accept more requests") && !error.contains(KEY), "{error}");
}

#[tokio::test]
async fn a_failing_provider_leaves_a_stale_price_with_a_reason() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "1000.00").await;
    assert_eq!(deployment.buys(sam, "AAPL").await.unwrap(), OrderStatus::Filled);
    // Friday's close is due and does not come.
    deployment.exchange.at("2026-11-20T22:00:00Z");
    deployment.answers_all_with(Some(ResponseTemplate::new(503)));
    let latest = deployment.stocks().quote_for(Some(sam.user), &symbol("AAPL")).await.unwrap();
    assert!(latest.quote.stale);
    assert_eq!(
        (latest.quote.price.to_string(), latest.quote.as_of.to_rfc3339()),
        ("100.00".to_owned(), "2026-11-19T21:00:00Z".to_owned())
    );
    assert_eq!(
        latest.why_stale.map(|why| why.to_string()).as_deref(),
        Some("the price source gave no usable answer: HTTP status 503")
    );
    // An order waits for the first price.
    let waits = deployment.buys(sam, "AAPL").await;
    assert!(matches!(waits, Ok(OrderStatus::Accepted)), "{waits:?}");
    assert_eq!(deployment.transactions_of(sam).await, 2);
    let valued = deployment.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valued.total_value.to_string(), "1000.00");
    assert!(valued.holdings[0].quote.stale);
}

/// Every kind of answer that a provider may give instead of a price, each with its name.
fn absurdities() -> Vec<(&'static str, ResponseTemplate)> {
    let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    let of =
        |close: &str| ok(series("AAPL", &[("2026-11-18", "99.00".into()), ("2026-11-19", close.into())]));
    let text = |body: &str| ResponseTemplate::new(200).set_body_string(body);
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "/query?again");
    vec![
        ("zero", of("0.0000")),
        ("negative", of("-100.00")),
        ("no number", of("None")),
        ("an exponent", of("1e12")),
        ("out of bounds", of("1000000000000")),
        ("a jump", of("500.00")),
        ("another symbol", ok(series("MSFT", &[("2026-11-19", "100.00".into())]))),
        ("the future", ok(series("AAPL", &[("2099-01-05", "100.00".into())]))),
        ("no day", ok(series("AAPL", &[("2026-02-30", "100.00".into())]))),
        ("no series", ok(json!({ "Meta Data": { "2. Symbol": "AAPL" } }))),
        ("a refusal for the day", per_day()),
        (
            "a bad key",
            ok(
                json!({ "Error Message": format!("the parameter apikey is invalid or missing. You sent {KEY}.") }),
            ),
        ),
        ("a premium endpoint", said("Thank you for using Alpha Vantage! This is a premium endpoint.")),
        ("an unknown text", said("Lorem ipsum.")),
        ("cut off", text("{ \"Meta Data\": { \"2. Symbol\": \"AAPL\" }, \"Time Ser")),
        ("empty", text("")),
        ("a web page", text("<html><body>Will be right back</body></html>")),
        ("more than 2 MiB", text(&format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20)))),
        ("a server error", ResponseTemplate::new(500)),
        ("too many requests", ResponseTemplate::new(429)),
        ("a redirect without end", elsewhere),
        ("silence", ResponseTemplate::new(200).set_delay(Duration::from_secs(5))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_answers_never_become_prices_or_fill_orders() {
    for (name, answer) in absurdities() {
        let deployment = Deployment::new().await;
        let sam = deployment.exchange.investor("sam", "10000.00").await;
        deployment.answers_all_with(Some(answer));
        let bought = deployment.buys(sam, "AAPL").await;
        assert!(!matches!(bought, Ok(OrderStatus::Filled)), "{name}: {bought:?}");
        assert_eq!(deployment.transactions_of(sam).await, 1, "{name}: the deposit alone");
        let kept = deployment.exchange.read(|tx| stocks::by_symbols(tx, &[symbol("AAPL")])).await;
        let last = kept[0].last.as_ref().map(|last| last.price.to_string());
        // If the close of a day is invalid, the previous close is shown, as stale.
        assert!(last.as_deref().is_none_or(|last| last == "99.00"), "{name}: {last:?}");
        let state = deployment.stocks().provider_state().await.unwrap().limits.unwrap();
        assert!(!format!("{state:?}").contains(KEY), "{name}");
        deployment.exchange.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_working_order_waits_until_a_valid_close_comes() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "10000.00").await;
    let order = gtc(Side::Buy, "AAPL", "1", limit("95.00"));
    let placed = deployment.trading().place_order(sam.control(), order).await.unwrap().order.order;
    assert_eq!(placed.status, OrderStatus::Accepted);
    deployment.exchange.at("2026-11-20T22:00:00Z");
    for (name, answer) in absurdities() {
        deployment.answers_all_with(Some(answer));
        let process = deployment.another_process();
        process.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
        for run in process.jobs().due_runs().await.unwrap() {
            let _ = process.jobs().run_job(run.id, "worker").await;
        }
        process.trading().match_orders().await.unwrap();
        assert_eq!(deployment.exchange.look(sam, placed.id).await.status, OrderStatus::Accepted, "{name}");
    }
    // The right close finally comes in the morning.
    deployment.exchange.at("2026-11-21T11:10:00Z");
    deployment.answers_all_with(None);
    deployment.closes("AAPL", &[("2026-11-19", "100.00"), ("2026-11-20", "94.00")]);
    deployment.work().await;
    deployment.trading().match_orders().await.unwrap();
    let filled = deployment.exchange.look(sam, placed.id).await;
    assert_eq!(filled.status, OrderStatus::Filled);
    assert_eq!(filled.filled_price.unwrap().to_string(), "94.000000");
    deployment.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_failing_provider_is_paused_and_tested_with_one_call() {
    let deployment = Deployment::new().await;
    deployment.answers_all_with(Some(ResponseTemplate::new(500)));
    for n in 0..3 {
        assert!(deployment.stocks().quote(&numbered(n)).await.is_err());
    }
    assert_eq!(deployment.calls(), 3);
    assert_eq!(deployment.stocks().provider_state().await.unwrap().limits.unwrap().breaker, Breaker::Open);
    assert!(is_refused(&deployment.stocks().quote(&numbered(3)).await));
    assert!(
        is_refused(&deployment.another_process().stocks().quote(&numbered(4)).await),
        "nor after a restart"
    );
    assert_eq!(deployment.calls(), 3);
    deployment.exchange.pass(TimeDelta::seconds(61));
    assert!(deployment.stocks().quote(&numbered(5)).await.is_err());
    assert!(is_refused(&deployment.stocks().quote(&numbered(6)).await), "the one call failed");
    assert_eq!(deployment.calls(), 4);
    deployment.exchange.pass(TimeDelta::seconds(121));
    deployment.answers_all_with(None);
    assert!(
        deployment.stocks().quote(&numbered(7)).await.is_ok()
            && deployment.stocks().quote(&numbered(8)).await.is_ok()
    );
    assert_eq!(deployment.stocks().provider_state().await.unwrap().limits.unwrap().breaker, Breaker::Closed);
}

#[tokio::test]
async fn after_a_close_stocks_with_orders_come_before_held_ones() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "10000.00").await;
    deployment.watching(sam.user, (0..10).map(numbered)).await;
    deployment.buys(sam, "IBM").await.unwrap();
    let order = gtc(Side::Buy, "AAPL", "1", limit("95.00"));
    deployment.trading().place_order(sam.control(), order).await.unwrap();
    let before = deployment.calls();
    deployment.exchange.at("2026-11-20T21:31:00Z");
    for of in ["AAPL", "IBM", "S0"] {
        deployment.closes(of, &[("2026-11-19", "100.00"), ("2026-11-20", "101.00")]);
    }
    deployment.work().await;
    let asked = deployment.asked()[before..].to_vec();
    let series: Vec<&String> = asked.iter().filter(|call| call.starts_with("TIME")).collect();
    assert_eq!(series[..2], ["TIME_SERIES_DAILY AAPL", "TIME_SERIES_DAILY IBM"]);
    assert_eq!(series.len(), 12, "each once: {asked:?}");
    let other: Vec<&str> =
        asked.iter().filter(|call| !call.starts_with("TIME")).map(String::as_str).collect();
    // With the actions of one stock and a sector, which the table does not contain, the fifteen calls of the jobs are
    // used up.
    assert_eq!(other, ["SPLITS S0", "DIVIDENDS S0", "OVERVIEW AAPL"]);
    let sector = &deployment.instruments().stock(&symbol("AAPL")).await.unwrap().listing.sector;
    assert_eq!(sector, "Technology");
    // The snapshot uses these closes and makes no call.
    let asked = deployment.calls();
    deployment.exchange.pass(TimeDelta::minutes(31));
    deployment.work().await;
    let rows = deployment.exchange.rows(sam).await;
    let friday = rows.iter().find(|row| row.date == day("2026-11-20")).unwrap();
    assert!(!friday.provisional);
    assert_eq!((friday.positions_value.to_string(), deployment.calls()), ("101.00".to_owned(), asked));
    let state = deployment.stocks().provider_state().await.unwrap();
    assert_eq!((state.stocks_in_use, state.days_for_all()), (12, None));
    deployment.watching(sam.user, (10..14).map(numbered)).await;
    let state = deployment.stocks().provider_state().await.unwrap();
    assert_eq!((state.stocks_in_use, state.days_for_all()), (16, Some(2)), "one day is not enough for them");
}

#[tokio::test]
async fn a_split_reported_with_a_close_is_booked_with_it() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "10000.00").await;
    deployment.buys(sam, "IBM").await.unwrap();
    deployment.work().await;
    deployment.exchange.at("2026-11-23T21:31:00Z");
    deployment.closes("IBM", &[("2026-11-19", "100.00"), ("2026-11-20", "100.50"), ("2026-11-23", "10.05")]);
    deployment.answers.0.lock().unwrap().splits.insert("IBM".to_owned(), ("2026-11-23", "10.0000"));
    deployment.work().await;
    let valued = deployment.books().valuation(sam.reference()).await.unwrap().valuation;
    assert_eq!(valued.holdings[0].position.quantity, quantity("10"));
    assert_eq!((valued.positions_value, valued.total_value), (money("100.50"), money("10000.50")));
    deployment.exchange.assert_books_balance().await;
}

#[tokio::test]
async fn actions_are_requested_for_one_stock_per_day_in_turn() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "10000.00").await;
    for of in ["AAPL", "IBM", "MSFT"] {
        deployment.buys(sam, of).await.unwrap();
    }
    let mut asked = Vec::new();
    for at in ["20T20:00", "23T15:00", "23T22:00", "24T15:00", "24T22:00", "25T15:00", "25T22:00"] {
        let before = deployment.calls();
        deployment.exchange.at(&format!("2026-11-{at}:00Z"));
        deployment.work().await;
        asked.extend(deployment.asked()[before..].iter().filter(|call| call.starts_with("SPLITS")).cloned());
    }
    assert_eq!(asked, ["SPLITS AAPL", "SPLITS IBM", "SPLITS MSFT", "SPLITS AAPL"]);
}

#[tokio::test]
async fn searches_use_the_table_of_listings_with_one_call_per_week() {
    let deployment = Deployment::without_listings(by_the_day()).await;
    let found = async |query: &str| {
        let found = deployment.stocks().search_stocks(query, 10).await.unwrap();
        found.into_iter().map(|listing| listing.symbol.to_string()).collect::<Vec<_>>()
    };
    let too_early = deployment.stocks().search_stocks("app", 10).await;
    assert!(
        matches!(too_early, Err(Error::SourceUnavailable { .. })),
        "nothing is known yet, and nothing is asked"
    );
    deployment.work().await;
    assert_eq!(found("app").await, ["AAPL", "APLE"]);
    for query in ["a", "ap", "s&p", "apple hosp"] {
        assert!(!found(query).await.is_empty(), "{query}");
    }
    deployment.exchange.at("2026-11-21T20:00:00Z");
    deployment.work().await;
    assert_eq!(deployment.asked(), ["LISTING_STATUS"], "neither for each letter nor each day");
    // A new week begins on Sunday.
    deployment.exchange.at("2026-11-22T20:00:00Z");
    deployment.work().await;
    assert_eq!(deployment.asked(), ["LISTING_STATUS", "LISTING_STATUS"]);
    assert_eq!(deployment.instruments().stock(&symbol("SPY")).await.unwrap().listing.sector, "Fund");
    assert_eq!(deployment.stocks().provider_state().await.unwrap().listings.unwrap().1, 3);
    assert_eq!(deployment.calls(), 2);
}

#[tokio::test]
async fn a_missing_table_of_listings_is_requested_again() {
    let deployment = Deployment::without_listings(by_the_day()).await;
    deployment.answers_all_with(Some(said("Lorem ipsum.")));
    deployment.work().await;
    let run = deployment.newest_run(JobKind::RefreshListings).await;
    assert_eq!(run.status, RunStatus::Queued);
    deployment.answers_all_with(None);
    deployment.exchange.pass(TimeDelta::minutes(31));
    deployment.work().await;
    let run = deployment.newest_run(JobKind::RefreshListings).await;
    assert_eq!(
        (run.status, run.outcome.as_deref()),
        (RunStatus::Done, Some("3 stocks and funds are listed"))
    );
}

#[tokio::test]
async fn pages_of_many_stocks_request_only_stocks_without_a_price() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "10000.00").await;
    for of in ["AAPL", "IBM", "MSFT"] {
        deployment.buys(sam, of).await.unwrap();
    }
    assert_eq!(deployment.calls(), 3);
    deployment.exchange.at("2026-11-20T22:00:00Z");
    for _ in 0..5 {
        let valued = deployment.books().valuation(sam.reference()).await.unwrap().valuation;
        assert!(valued.holdings.iter().all(|holding| holding.quote.stale), "Friday's close is due");
    }
    assert_eq!(deployment.calls(), 3);
}

#[tokio::test]
async fn real_prices_never_fall_back_to_simulated_ones() {
    let deployment = Deployment::new().await;
    // The books are from a time when this deployment had the built-in market.
    let aapl = deployment.instruments().stock(&symbol("AAPL")).await.unwrap().id;
    let simulated = domain::Quote {
        source: PriceSource::from("simulated/sim-v1"),
        freshness: Freshness::Simulated,
        as_of: deployment.exchange.now(),
        ..deployment.stocks().quote(&symbol("IBM")).await.unwrap()
    };
    deployment.exchange.write(move |tx| stocks::save_last_price(tx, aapl, &simulated)).await;
    deployment.answers_all_with(Some(ResponseTemplate::new(500)));
    let sam = deployment.exchange.investor("sam", "1000.00").await;
    let price = deployment.stocks().quote(&symbol("AAPL")).await;
    assert!(matches!(price, Err(Error::NoPrice { .. })), "{price:?}");
    assert!(deployment.buys(sam, "AAPL").await.is_err());
    deployment.answers_all_with(None);
    deployment.exchange.pass(TimeDelta::minutes(6));
    assert_eq!(deployment.price("AAPL").await, "100.00");
}

#[tokio::test]
async fn another_price_source_is_rejected_with_positions_unless_accepted() {
    let exchange = Exchange::new().await;
    let (simulated, real) = (PriceSource::from("simulated/sim-v1"), PriceSource::from("alpha_vantage"));
    let claim = async |source: &PriceSource, accept| {
        claim_price_source(exchange.store(), source, accept, exchange.clock.now()).await
    };
    claim(&real, false).await.unwrap();
    claim(&simulated, false).await.unwrap();
    let sam = exchange.investor("sam", "1000.00").await;
    claim(&real, false).await.unwrap();
    claim(&simulated, false).await.unwrap();
    // First a working order, then a position.
    let id = exchange.accepted(sam, gtc(Side::Buy, "AAPL", "1", limit("10.00"))).await;
    let refused = claim(&real, false).await.unwrap_err();
    assert!(matches!(refused, PriceSourceError::Changed { .. }));
    let told = refused.to_string();
    for part in ["simulated/sim-v1", "alpha_vantage", "MARKET_DATA", "--accept-price-source-change"] {
        assert!(told.contains(part), "{told}");
    }
    exchange.trading().cancel_order(sam.control(), id).await.unwrap();
    claim(&simulated, false).await.unwrap();
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    assert!(claim(&real, false).await.is_err());
    assert!(check_price_source(exchange.store(), &real).await.is_err());
    claim(&simulated, false).await.unwrap();
    // If the change is accepted, the new source is recorded, and the old one is now the other source.
    claim(&real, true).await.unwrap();
    claim(&real, false).await.unwrap();
    assert!(claim(&simulated, false).await.is_err());
}

#[tokio::test]
async fn an_accepted_change_of_the_price_source_cancels_open_orders() {
    let exchange = Exchange::new().await;
    let (sam, mia) = (exchange.investor("sam", "10000").await, exchange.investor("mia", "10000").await);
    exchange.buy(sam, "AAPL", "10").await.unwrap();
    let mut open = Vec::new();
    for (who, command) in [
        (sam, gtc(Side::Sell, "AAPL", "4", limit("170.00"))),
        (sam, gtc(Side::Buy, "MSFT", "1", limit("300.00"))),
        (mia, gtc(Side::Buy, "AAPL", "1", limit("100.00"))),
    ] {
        open.push((who, exchange.accepted(who, command).await));
    }
    let bracket = PlaceOrder {
        attached: Attached::Bracket {
            take_profit: price("180.00"),
            stop_loss: StopLoss { stop: price("120.00"), limit: None },
        },
        ..gtc(Side::Buy, "AAPL", "5", limit("145"))
    };
    open.push((mia, exchange.accepted(mia, bracket).await));
    let claim = async |source: &str| {
        let source = PriceSource::from(source);
        claim_price_source(exchange.store(), &source, true, exchange.clock.now()).await.unwrap()
    };
    assert_eq!(claim("fixed").await, 0, "the same source as before");
    for (who, id) in &open {
        assert!(exchange.look(*who, *id).await.status.is_open());
    }
    assert_eq!(claim("yahoo").await, 6, "with the two exits");
    for (who, id) in &open {
        let order = exchange.look(*who, *id).await;
        assert_eq!(order.status, OrderStatus::Canceled);
        let reason = order.reject_reason.unwrap();
        assert!(reason.contains("price source was changed from fixed to yahoo"), "{reason}");
    }
    assert_eq!(exchange.buying_power(sam).await, exchange.cash(sam).await, "nothing is kept any more");
    assert_eq!(claim("yahoo").await, 0);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn the_price_source_of_an_older_database_is_that_of_its_newest_fill() {
    let exchange = Exchange::new().await;
    let sam = exchange.investor("sam", "1000.00").await;
    exchange.buy(sam, "AAPL", "1").await.unwrap();
    let real = PriceSource::from("alpha_vantage");
    assert!(claim_price_source(exchange.store(), &real, false, exchange.clock.now()).await.is_err());
    claim_price_source(exchange.store(), &PriceSource::from("fixed"), false, exchange.clock.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn yahoos_prices_are_counted_marked_and_requested_together() {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    let server = MockServer::start().await;
    let chart = |request: &Request| {
        let of = request.url.path_segments().unwrap().next_back().unwrap().to_owned();
        // 19:00 UTC is 14:00 in New York.
        ResponseTemplate::new(200).set_body_json(json!({"chart": {"error": null, "result": [{
            "meta": {"symbol": of, "currency": "USD", "instrumentType": "EQUITY", "exchangeName": "NMS",
                "fullExchangeName": "NasdaqGS", "exchangeTimezoneName": "America/New_York",
                "regularMarketPrice": 205.35, "regularMarketTime": 1_795_201_200, "chartPreviousClose": 204.00,
                "longName": "A Company", "regularMarketVolume": 1000},
            "timestamp": [1_795_201_200], "indicators": {"quote": [{"open": [205.0], "high": [206.0],
                "low": [204.5], "close": [205.35], "volume": [1000]}]}}]}}))
    };
    Mock::given(any()).respond_with(chart).mount(&server).await;
    let services = exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let source = Yahoo::new(YahooConfig {
            base_url: server.uri().parse().unwrap(),
            cookie_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        let source: Arc<dyn QuoteSource> = Arc::new(source.unwrap());
        Market::limited(source, Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO }, store, clock)
    });
    exchange
        .write(|tx| {
            let listing = domain::Listing {
                symbol: symbol("AAPL"),
                company_name: "Apple Inc.".into(),
                exchange: "NASDAQ".into(),
                sector: "Technology".into(),
                currency: domain::Currency::Usd,
            };
            stocks::upsert(tx, &listing).map(drop)
        })
        .await;
    let quote = services.stocks().quote(&symbol("AAPL")).await.unwrap();
    assert_eq!((quote.price.to_string(), quote.source.as_str()), ("205.35".to_owned(), "yahoo"));
    assert_eq!(quote.freshness, Freshness::Delayed);
    let limits = services.stocks().provider_state().await.unwrap().limits.unwrap();
    assert_eq!((limits.used(), limits.left()), (1, Some(1999)));
    // The price is stored as the last price of the stock.
    let kept = exchange.read(|tx| stocks::by_symbols(tx, &[symbol("AAPL")])).await;
    assert_eq!(kept[0].last.as_ref().unwrap().source, "yahoo");
}

/// Sam holds two shares of AAPL that were bought at Thursday's close of 100.00; then Friday's close is due.
async fn with_two_shares() -> (Deployment, Investor) {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.investor("sam", "1000.00").await;
    let two = order(Side::Buy, "AAPL", shares("2"));
    deployment.trading().place_order(sam.control(), two).await.unwrap();
    deployment.exchange.at("2026-11-20T22:00:00Z");
    (deployment, sam)
}

fn from_the_18th(closes: [&'static str; 4]) -> Vec<(&'static str, &'static str)> {
    ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-23"].into_iter().zip(closes).collect()
}

impl Deployment {
    async fn total_value(&self, who: Investor) -> String {
        self.books().valuation(who.reference()).await.unwrap().valuation.total_value.to_string()
    }

    /// The unconfirmed prices, with the reason.
    async fn waiting(&self) -> Vec<String> {
        let waiting = self.stocks().unconfirmed_prices().await.unwrap();
        waiting
            .into_iter()
            .map(|waiting| format!("{} {}", waiting.price.price, waiting.price.doubt))
            .collect()
    }

    async fn row(&self, who: Investor, date: &str) -> domain::Snapshot {
        let rows = self.exchange.rows(who).await;
        rows.into_iter().find(|row| row.date == day(date)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unconfirmed_price_is_shown_but_not_used() {
    for (told, doubt) in [("40.00", "large_move"), ("235.00", "large_move"), ("1000.00", "unit_slip")] {
        let (deployment, sam) = with_two_shares().await;
        deployment.closes("AAPL", &from_the_18th(["99.00", "100.00", told, told])[..3]);
        deployment.work().await;
        assert_eq!(deployment.waiting().await, [format!("{told} {doubt}")]);
        for services in [&deployment.process, &deployment.another_process()] {
            let latest = services.stocks().quote_for(Some(sam.user), &symbol("AAPL")).await.unwrap();
            assert_eq!((latest.quote.price.to_string(), latest.quote.stale), ("100.00".to_owned(), true));
            let why = latest.why_stale.unwrap();
            assert_eq!(why.unconfirmed().unwrap().price.to_string(), told, "{why}");
        }
        assert_eq!(deployment.total_value(sam).await, "1000.00");
        let waiting = deployment.buys(sam, "AAPL").await;
        assert!(matches!(waiting, Ok(OrderStatus::Accepted)), "it waits for a confirmed price: {waiting:?}");
        let row = deployment.row(sam, "2026-11-20").await;
        assert_eq!((row.provisional, row.total_value), (true, money("1000.00")));
        deployment.exchange.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_confirmed_by_the_next_close_makes_its_session_final() {
    let (deployment, sam) = with_two_shares().await;
    deployment.closes("AAPL", &from_the_18th(["99.00", "100.00", "40.00", "38.00"])[..3]);
    deployment.work().await;
    deployment.closes("AAPL", &from_the_18th(["99.00", "100.00", "40.00", "38.00"]));
    deployment.exchange.at("2026-11-23T22:00:00Z");
    for _ in 0..3 {
        deployment.work().await;
        deployment.exchange.pass(TimeDelta::hours(1));
    }
    assert_eq!(deployment.waiting().await, [""; 0]);
    assert_eq!(deployment.price("AAPL").await, "38.00");
    assert_eq!(deployment.buys(sam, "AAPL").await.unwrap(), OrderStatus::Filled);
    for (date, value) in [("2026-11-20", "880.00"), ("2026-11-23", "876.00")] {
        let row = deployment.row(sam, date).await;
        assert_eq!((row.provisional, row.total_value), (false, money(value)), "{date}");
    }
    deployment.exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_confirmed_by_an_administrator_is_used_immediately() {
    let (deployment, sam) = with_two_shares().await;
    deployment.closes("AAPL", &from_the_18th(["99.00", "100.00", "1000.00", "1000.00"])[..3]);
    deployment.work().await;
    assert_eq!(deployment.waiting().await, ["1000.00 unit_slip"]);
    for reason in ["", "  ", &"x".repeat(501)] {
        let refused =
            deployment.stocks().confirm_price(&Administrator::operator("ada"), &symbol("AAPL"), reason).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let confirmed = deployment
        .stocks()
        .confirm_price(&Administrator::operator("ada"), &symbol("AAPL"), "seen at the exchange")
        .await
        .unwrap();
    assert_eq!(confirmed.unwrap().price.price.to_string(), "1000.00");
    assert_eq!(
        deployment
            .stocks()
            .confirm_price(&Administrator::operator("ada"), &symbol("AAPL"), "again")
            .await
            .unwrap(),
        None
    );
    assert_eq!(deployment.waiting().await, [""; 0]);
    for services in [&deployment.process, &deployment.another_process()] {
        assert_eq!(services.stocks().quote(&symbol("AAPL")).await.unwrap().price.to_string(), "1000.00");
    }
    assert_eq!(deployment.total_value(sam).await, "2800.00");
    let one = order(Side::Sell, "AAPL", shares("1"));
    let sold = deployment.trading().place_order(sam.control(), one).await.unwrap();
    assert_eq!(sold.order.order.status, OrderStatus::Filled);
    // Later prices are compared with the confirmed one.
    deployment.closes("AAPL", &from_the_18th(["99.00", "100.00", "1000.00", "1010.00"]));
    deployment.exchange.at("2026-11-23T22:00:00Z");
    deployment.work().await;
    assert_eq!(deployment.price("AAPL").await, "1010.00");
    deployment.exchange.assert_books_balance().await;
}

/// Advances the clock by a minute every fifth of a second, until it is dropped.
struct FastClock(tokio::task::JoinHandle<()>);

impl FastClock {
    fn start(exchange: &Exchange) -> Self {
        let clock = exchange.clock.clone();
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                clock.set(clock.now() + TimeDelta::seconds(15));
            }
        }))
    }
}

impl Drop for FastClock {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_waits_for_the_limit_and_continues_with_all_stocks() {
    let rules = Rules { per_minute: Some(5), ..by_the_day() };
    let deployment = Deployment { rules: rules.clone(), ..Deployment::new().await };
    let process = process(&deployment.exchange, &deployment.server, &rules);
    let user = deployment.exchange.user("sam").await;
    deployment.watching(user, (0..14).map(numbered)).await;
    let clock = FastClock::start(&deployment.exchange);
    process.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
    let runs = process.jobs().due_runs().await.unwrap();
    let refresh = runs.iter().find(|run| run.kind == JobKind::RefreshQuotes).unwrap();
    assert!(process.jobs().run_job(refresh.id, "worker").await.unwrap());
    drop(clock);
    let asked = deployment.asked();
    let current = (0..14).filter(|n| asked.contains(&format!("TIME_SERIES_DAILY S{n}"))).count();
    assert_eq!(current, 14, "in one run: {asked:?}");
    let minutes = deployment.exchange.now() - super::harness::moment("2026-11-20T19:12:00Z");
    assert!(minutes >= TimeDelta::minutes(2), "five in a minute: {minutes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_users_get_the_calls_that_jobs_do_not_need() {
    let deployment = Deployment::new().await;
    let sam = deployment.exchange.user("sam").await;
    // On Friday afternoon no stock is held: of the jobs' fifteen calls, three are reserved.
    let mut prices = 0;
    let refused = loop {
        match deployment.stocks().quote_for(Some(sam), &numbered(prices)).await {
            Ok(_) => prices += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(prices, 9, "three of his own, and six that are idle");
    let told = refused.to_string();
    let words = "there is no price for S9 yet: each user may look up 3 new symbols per day, and they are used up; try again at \
                 00:05 on 21 November, New York time";
    assert_eq!(told, words);
    // Another user still gets calls, and the reserve for the close is not used.
    let ada = deployment.exchange.user("ada").await;
    let mut others = 0;
    while others < 30 && deployment.stocks().quote_for(Some(ada), &numbered(20 + others)).await.is_ok() {
        others += 1;
    }
    assert!(others >= 5, "{others}");
    let limits = deployment.stocks().provider_state().await.unwrap().limits.unwrap();
    let scheduled = limits.pots.iter().find(|pot| pot.name == "scheduled").unwrap();
    assert!(scheduled.limit - scheduled.used >= 3, "{scheduled:?}");
}

#[tokio::test]
async fn before_the_close_a_call_per_stock_in_use_is_reserved() {
    let deployment = Deployment::new().await;
    let user = deployment.exchange.user("sam").await;
    deployment.watching(user, (0..14).map(numbered)).await;
    let mut prices = 0;
    while deployment.stocks().quote_for(Some(user), &numbered(20 + prices)).await.is_ok() {
        prices += 1;
    }
    assert_eq!(prices, 3, "no call of the jobs is idle");
}

#[tokio::test]
async fn a_watchlist_of_new_symbols_counts_for_its_user_only() {
    let deployment = Deployment::new().await;
    let (sam, ada) = (deployment.exchange.user("sam").await, deployment.exchange.user("ada").await);
    deployment.watching(sam, (0..40).map(numbered)).await;
    for _ in 0..3 {
        deployment.watchlists().all(sam).await.unwrap();
    }
    assert!(deployment.calls() <= 3, "{:?}", deployment.asked());
    for n in 50..53 {
        assert!(deployment.stocks().quote_for(Some(ada), &numbered(n)).await.is_ok(), "{n}");
    }
}

#[tokio::test]
async fn a_searched_symbol_gets_its_price_with_an_idle_call() {
    let deployment = Deployment::new().await;
    assert_eq!(deployment.stocks().search_stocks("s7", 5).await.unwrap()[0].symbol, numbered(7));
    assert_eq!(deployment.calls(), 0);
    deployment.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
    deployment.work().await;
    assert!(deployment.asked().contains(&"TIME_SERIES_DAILY S7".to_owned()), "{:?}", deployment.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_keeps_its_turn_if_its_actions_could_not_be_requested() {
    let deployment = Deployment::new().await;
    let user = deployment.exchange.user("sam").await;
    deployment.watching(user, [symbol("AAPL")].into_iter()).await;
    let asked = || deployment.asked().into_iter().filter(|call| call.starts_with("SPLITS")).count();
    // The calls of the day are used up elsewhere.
    deployment.answers_all_with(Some(per_day()));
    let _ = deployment.stocks().quote_for(Some(user), &symbol("IBM")).await;
    deployment.corporate_actions().learn_corporate_actions().await.unwrap();
    assert_eq!(asked(), 0);
    deployment.answers_all_with(None);
    deployment.exchange.at("2026-11-21T05:10:00Z");
    deployment.corporate_actions().learn_corporate_actions().await.unwrap();
    assert_eq!(asked(), 1);
    // The stock has already had its turn today.
    deployment.corporate_actions().learn_corporate_actions().await.unwrap();
    assert_eq!(asked(), 1);
}
