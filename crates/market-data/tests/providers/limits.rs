//! The gateway with limits in front of real clients: counts the calls that reach the provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use domain::{Symbol, Timestamp, UserId};
use market_data::{
    AlphaVantage, AlphaVantageConfig, BreakerRules, BreakerState, BudgetStore, Gateway, InMemoryBudget,
    Limits, Pot, Purpose, QuoteError, QuoteSource, Rules, Yahoo, YahooConfig,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::alpha_vantage::{KEY, quote_with};
use super::{GatewayQuotes, symbol};

/// 10:00 in New York on a Friday; the last close was on the 19th.
const MORNING: &str = "2026-11-20T15:00:00Z";

/// The purpose of an unknown user who requests a symbol for the first time.
const FIRST_SIGHT: Purpose = Purpose::FirstSight { user: None };

/// Rules without limits per minute and second, so that only the limit per day counts.
fn by_the_day() -> Rules {
    Rules { min_gap: TimeDelta::zero(), per_minute: None, ..Rules::ALPHA_VANTAGE_FREE }
}

/// A clock that all parts of a test share.
#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn at(text: &str) -> Self {
        let at: DateTime<chrono::Utc> = text.parse().unwrap();
        Self(Arc::new(AtomicI64::new(at.timestamp())))
    }

    fn now(&self) -> Timestamp {
        DateTime::from_timestamp(self.0.load(Ordering::SeqCst), 0).unwrap().into()
    }

    fn pass(&self, span: TimeDelta) {
        self.0.fetch_add(span.num_seconds(), Ordering::SeqCst);
    }

    fn as_fn(&self) -> market_data::Now {
        let clock = self.clone();
        Arc::new(move || clock.now().utc())
    }
}

/// Answers each symbol with its own close of the 19th, with some fields changed.
struct EachItsOwn(&'static [(&'static str, &'static str)]);

const SOUND: EachItsOwn = EachItsOwn(&[]);

impl Respond for EachItsOwn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked = request.url.query_pairs().find(|(name, _)| name == "symbol");
        self.respond_to(&asked.map_or_else(String::new, |(_, value)| value.into_owned()))
    }
}

impl EachItsOwn {
    fn respond_to(&self, asked: &str) -> ResponseTemplate {
        let mut fields = vec![("01. symbol", json!(asked)), ("07. latest trading day", json!("2026-11-19"))];
        fields.extend(self.0.iter().map(|(field, value)| (*field, json!(value))));
        // Slow enough that all simultaneous callers are waiting before the answer comes.
        let delay = Duration::from_millis(if self.0.is_empty() { 50 } else { 0 });
        ResponseTemplate::new(200).set_body_json(quote_with(&fields)).set_delay(delay)
    }
}

/// A stand-in for a provider, the counters that its processes share, and their clock.
struct Deployment {
    server: MockServer,
    store: Arc<InMemoryBudget>,
    clock: Clock,
    rules: Rules,
}

impl Deployment {
    async fn with_rules(rules: Rules) -> Self {
        let server = MockServer::start().await;
        Self { server, store: Arc::default(), clock: Clock::at(MORNING), rules }
    }

    async fn that_answers(rules: Rules, answer: impl Respond + 'static) -> Self {
        let deployment = Self::with_rules(rules).await;
        deployment.now_answers(answer).await;
        deployment
    }

    async fn now_answers(&self, answer: impl Respond + 'static) {
        self.server.reset().await;
        Mock::given(path("/query")).respond_with(answer).mount(&self.server).await;
    }

    /// Starts a process of the deployment.
    fn process(&self) -> Arc<Gateway> {
        let source = AlphaVantage::new(AlphaVantageConfig {
            api_key: SecretString::from(KEY),
            base_url: self.server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: self.clock.as_fn(),
        });
        let source = source.unwrap();
        let breaker = BreakerRules::SCARCE_CALLS;
        let store = self.store.clone();
        let limits = Limits::new(&source.source(), self.rules.clone(), breaker, store, self.clock.as_fn());
        Arc::new(Gateway::with_limits(Arc::new(source), limits))
    }

    async fn calls(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

fn numbered(n: usize) -> Symbol {
    symbol(&format!("S{n}"))
}

fn is_limited<T>(answer: &Result<T, QuoteError>) -> bool {
    matches!(answer, Err(QuoteError::RateLimited { retry_at: Some(_) }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_for_an_uncached_symbol_share_one_call() {
    let deployment = Deployment::that_answers(Rules::ALPHA_VANTAGE_FREE, SOUND).await;
    let gateway = deployment.process();
    let at = deployment.clock.now();
    let ask = |gateway: Arc<Gateway>| async move { gateway.quote(&symbol("AAPL"), at).await };
    let asking: Vec<_> = (0..200).map(|_| tokio::spawn(ask(Arc::clone(&gateway)))).collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap().unwrap().as_traded().price.to_string(), "225.97");
    }
    assert_eq!(deployment.calls().await, 1);
    assert_eq!(gateway.limits().unwrap().budget().await.unwrap().left(), Some(24));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_call_and_a_later_one_makes_none() {
    let deployment = Deployment::that_answers(Rules::ALPHA_VANTAGE_FREE, SOUND).await;
    let now = deployment.clock.now();
    let processes = [deployment.process(), deployment.process()];
    let ask = |gateway: Arc<Gateway>, at: Timestamp| async move { gateway.quote(&symbol("AAPL"), at).await };
    // The clocks of the two processes differ by a second.
    let asking: Vec<_> = (0..200)
        .map(|n| (Arc::clone(&processes[n % 2]), now - TimeDelta::seconds(i64::from(n % 2 == 0))))
        .map(|(process, at)| tokio::spawn(ask(process, at)))
        .collect();
    for answer in asking {
        assert!(answer.await.unwrap().is_ok());
    }
    deployment.clock.pass(TimeDelta::hours(2));
    assert!(ask(deployment.process(), deployment.clock.now()).await.is_ok());
    assert_eq!(deployment.calls().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_another_process_wait_for_its_call() {
    // First for the price, then for the series.
    for series in [false, true] {
        let deployment = Deployment::with_rules(by_the_day()).await;
        let answer = match series {
            true => series_with(["150.00", "151.00", "152.50"]),
            false => SOUND.respond_to("AAPL"),
        };
        let slow = answer.set_delay(Duration::from_secs(4));
        Mock::given(path("/query")).respond_with(slow).mount(&deployment.server).await;
        let processes = [deployment.process(), deployment.process()];
        let at = deployment.clock.now();
        let ask = |n: usize| {
            let gateway = Arc::clone(&processes[n % 2]);
            tokio::spawn(async move {
                match series {
                    true => gateway.fetch_series(Purpose::Interactive, &symbol("AAPL"), at).await,
                    false => gateway.quote(&symbol("AAPL"), at).await.map(drop),
                }
            })
        };
        for answer in (0..200).map(ask).collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), Ok(()));
        }
        assert_eq!(deployment.calls().await, 1);
    }
}

#[tokio::test]
async fn the_twenty_sixth_call_of_a_day_is_never_sent() {
    let deployment = Deployment::that_answers(by_the_day(), SOUND).await;
    let at = deployment.clock.now();
    let mut n = 0;
    for _restart in 0..3 {
        let processes = [deployment.process(), deployment.process()];
        for purpose in [Purpose::FirstSight { user: None }, Purpose::Scheduled, Purpose::Interactive] {
            for _ in 0..10 {
                for gateway in &processes {
                    let cold = [numbered(n)];
                    gateway.quotes_by_symbol(purpose, &cold, at).await;
                    n += 1;
                }
            }
        }
        assert!(deployment.calls().await <= 25);
    }
    assert_eq!(deployment.calls().await, 25);
    // Other endpoints are rejected too.
    let gateway = deployment.process();
    assert!(is_limited(&gateway.search("apple", 5, deployment.clock.now()).await));
    assert!(is_limited(&gateway.listing(FIRST_SIGHT, &symbol("AAPL"), deployment.clock.now()).await));
    let (first, last) = ("2026-11-01".parse().unwrap(), "2026-11-19".parse().unwrap());
    assert!(is_limited(&gateway.daily_bars(Purpose::Interactive, &symbol("AAPL"), first, last, at).await));
    assert_eq!(deployment.calls().await, 25);
    // The next day has its own calls.
    deployment.clock.pass(TimeDelta::hours(14));
    assert!(gateway.quote(&symbol("AAPL"), deployment.clock.now()).await.is_ok());
}

#[tokio::test]
async fn a_request_with_two_calls_is_counted_twice() {
    let deployment = Deployment::with_rules(by_the_day()).await;
    let answer = |function: &str, body: Value| {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(query_param("function", function)).respond_with(answer)
    };
    answer("OVERVIEW", json!({})).mount(&deployment.server).await;
    answer("SYMBOL_SEARCH", json!({ "bestMatches": [] })).mount(&deployment.server).await;
    let gateway = deployment.process();
    for n in 0..5 {
        let unknown = gateway.listing(FIRST_SIGHT, &numbered(n), deployment.clock.now()).await;
        assert_eq!(unknown, Err(QuoteError::UnknownSymbol(numbered(n))));
    }
    let left = gateway.limits().unwrap().budget().await.unwrap();
    assert_eq!(left.pots, [(Pot::Scheduled, 0, 15), (Pot::FirstSight, 5, 5), (Pot::Reserve, 5, 5)]);
    assert!(is_limited(&gateway.listing(FIRST_SIGHT, &numbered(9), deployment.clock.now()).await));
    assert_eq!(
        gateway.listing(FIRST_SIGHT, &numbered(1), deployment.clock.now()).await,
        Err(QuoteError::UnknownSymbol(numbered(1))),
        "is kept"
    );
    assert_eq!(deployment.calls().await, 10);
}

#[tokio::test]
async fn a_denied_symbol_that_had_a_price_is_soon_requested_again() {
    let rules = Rules { per_day: None, first_sights_per_user: None, ..by_the_day() };
    let deployment = Deployment::that_answers(rules, SOUND).await;
    assert!(deployment.process().quote(&symbol("AAPL"), deployment.clock.now()).await.is_ok());
    // On the next day another process requests it.
    deployment.clock.pass(TimeDelta::days(1));
    deployment.now_answers(ResponseTemplate::new(200).set_body_json(json!({ "Global Quote": {} }))).await;
    let gateway = deployment.process();
    let ask = async |of: &str| gateway.quote(&symbol(of), deployment.clock.now()).await;
    let denied = |of: &str| Err(QuoteError::UnknownSymbol(symbol(of)));
    assert_eq!(ask("NOSUCH").await, denied("NOSUCH"));
    let mut calls = 1;
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(ask("AAPL").await, denied("AAPL"));
        calls += 1;
        deployment.clock.pass(TimeDelta::seconds(minutes * 60 - 1));
        assert_eq!(ask("AAPL").await, denied("AAPL"));
        assert_eq!(ask("NOSUCH").await, denied("NOSUCH"));
        assert_eq!(deployment.calls().await, calls, "before {minutes} minutes");
        deployment.clock.pass(TimeDelta::seconds(1));
    }
    deployment.now_answers(SOUND).await;
    assert!(ask("AAPL").await.is_ok());
    assert_eq!(ask("NOSUCH").await, denied("NOSUCH"), "one that never had a price stays unknown for a day");
}

#[tokio::test]
async fn each_redirect_is_counted_as_a_call() {
    let deployment = Deployment::with_rules(by_the_day()).await;
    let redirect = |to: &str| ResponseTemplate::new(302).insert_header("location", to);
    Mock::given(path("/query")).respond_with(redirect("/1?symbol=AAPL")).mount(&deployment.server).await;
    Mock::given(path("/1")).respond_with(redirect("/2?symbol=AAPL")).mount(&deployment.server).await;
    Mock::given(path("/2")).respond_with(SOUND).mount(&deployment.server).await;
    let gateway = deployment.process();
    assert!(gateway.quote(&symbol("AAPL"), deployment.clock.now()).await.is_ok());
    assert_eq!(deployment.calls().await, 3);
    assert_eq!(gateway.limits().unwrap().budget().await.unwrap().left(), Some(22));
}

#[tokio::test]
async fn no_process_calls_before_the_time_that_the_provider_names() {
    let answer = ResponseTemplate::new(503).insert_header("retry-after", "900");
    let deployment = Deployment::that_answers(by_the_day(), answer).await;
    let until = deployment.clock.now() + TimeDelta::seconds(900);
    let refused = Err(QuoteError::RateLimited { retry_at: Some(until.utc()) });
    let processes = [deployment.process(), deployment.process()];
    for n in 0..6 {
        let answer = processes[n % 2].quote(&numbered(n), deployment.clock.now()).await;
        assert_eq!(answer, refused, "{n}");
    }
    assert_eq!(deployment.calls().await, 1);
    deployment.now_answers(SOUND).await;
    deployment.clock.pass(TimeDelta::seconds(900));
    for (n, process) in processes.iter().enumerate() {
        assert!(process.quote(&numbered(n), deployment.clock.now()).await.is_ok());
    }
}

#[tokio::test]
async fn a_wrong_clock_is_reported_and_does_not_open_the_circuit() {
    let deployment = Deployment::that_answers(by_the_day(), SOUND).await;
    let gateway = deployment.process();
    // The clock is two days behind: the reported close is from a session that has not begun by this clock.
    deployment.clock.pass(TimeDelta::days(-2));
    for n in 0..5 {
        let answer = gateway.quote(&numbered(n), deployment.clock.now()).await;
        assert!(matches!(answer, Err(QuoteError::ClockAhead { .. })), "{answer:?}");
    }
    assert_eq!(gateway.limits().unwrap().breaker(), BreakerState::Closed);
    let noted = deployment.store.last_failure("alpha_vantage");
    assert!(matches!(noted, Some(QuoteError::ClockAhead { .. })), "the operator is told: {noted:?}");
}

#[tokio::test]
async fn one_user_cannot_use_up_the_calls_for_new_symbols() {
    let deployment = Deployment::that_answers(by_the_day(), SOUND).await;
    let gateway = deployment.process();
    let at = deployment.clock.now();
    let looks = async |user, n| {
        let purpose = Purpose::FirstSight { user: Some(UserId(user)) };
        gateway.quotes_by_symbol(purpose, &[numbered(n)], at).await.remove(&numbered(n)).unwrap()
    };
    for n in 0..10 {
        assert_eq!(looks(1, n).await.is_ok(), n < 3, "{n}");
    }
    assert!(looks(2, 10).await.is_ok());
    assert!(looks(1, 0).await.is_ok(), "what is known costs nothing");
    assert_eq!(deployment.calls().await, 4);
}

#[tokio::test]
async fn purposes_have_separate_limits() {
    let deployment = Deployment::that_answers(by_the_day(), SOUND).await;
    let gateway = deployment.process();
    let at = deployment.clock.now();
    let asked: Vec<Symbol> = (0..8).map(numbered).collect();
    let answers = gateway.quotes_by_symbol(Purpose::Interactive, &asked, at).await;
    assert_eq!(answers.values().filter(|answer| answer.is_ok()).count(), 5);
    let answers = gateway.quotes_by_symbol(Purpose::Scheduled, &asked, at).await;
    assert!(answers.values().all(Result::is_ok));
    assert_eq!(deployment.calls().await, 8);
}

#[tokio::test]
async fn calls_are_sent_with_the_minimum_gap() {
    let gap = TimeDelta::milliseconds(30);
    let rules = Rules { min_gap: gap, per_minute: None, ..Rules::ALPHA_VANTAGE_FREE };
    let deployment = Deployment::that_answers(rules, ResponseTemplate::new(200)).await;
    let gateways = [deployment.process(), deployment.process()];
    let at = deployment.clock.now();
    let started = Instant::now();
    let ask = |n: usize| {
        let gateway = Arc::clone(&gateways[n % 2]);
        tokio::spawn(async move { gateway.quotes_by_symbol(Purpose::Scheduled, &[numbered(n)], at).await })
    };
    for answer in (0..4).map(ask).collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    assert_eq!(deployment.calls().await, 4);
    assert!(started.elapsed() >= (gap * 3).to_std().unwrap(), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_refusal_for_the_day_stops_all_processes_until_the_next() {
    let note = "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per day.";
    let refusal = ResponseTemplate::new(200).set_body_json(json!({ "Information": note }));
    let deployment = Deployment::that_answers(by_the_day(), refusal).await;
    let tomorrow = QuoteError::RateLimited { retry_at: Some("2026-11-21T05:05:00Z".parse().unwrap()) };
    let at = deployment.clock.now();
    let one = deployment.process();
    assert_eq!(one.quote(&symbol("AAPL"), at).await, Err(tomorrow.clone()));
    assert_eq!(one.quote(&symbol("MSFT"), at).await, Err(tomorrow.clone()));
    let other = deployment.process();
    for purpose in [Purpose::Scheduled, Purpose::Interactive, Purpose::FirstSight { user: None }] {
        let answers = other.quotes_by_symbol(purpose, &[symbol("KO")], at).await;
        assert_eq!(answers[&symbol("KO")], Err(tomorrow.clone()));
    }
    assert_eq!(deployment.calls().await, 1);
    deployment.now_answers(SOUND).await;
    deployment.clock.pass(TimeDelta::minutes(14 * 60 + 5));
    let at = deployment.clock.now();
    for gateway in [&one, &other] {
        assert!(gateway.quote(&symbol("KO"), at).await.is_ok());
    }
}

#[tokio::test]
async fn the_circuit_opens_on_failures_and_one_trial_call_is_made() {
    let deployment = Deployment::that_answers(by_the_day(), ResponseTemplate::new(500)).await;
    let gateway = deployment.process();
    let ask = async |n| {
        gateway
            .quotes_by_symbol(Purpose::Scheduled, &[numbered(n)], deployment.clock.now())
            .await
            .remove(&numbered(n))
            .unwrap()
    };
    for n in 0..3 {
        assert!(matches!(ask(n).await, Err(QuoteError::Upstream(_))));
    }
    let reopens = deployment.clock.now() + TimeDelta::seconds(60);
    let limits = gateway.limits().unwrap();
    assert_eq!(limits.breaker(), BreakerState::Open { until: reopens });
    for n in 3..20 {
        assert_eq!(ask(n).await, Err(QuoteError::RateLimited { retry_at: Some(reopens.utc()) }));
    }
    assert_eq!(deployment.calls().await, 3);
    assert_eq!(limits.budget().await.unwrap().left(), Some(22), "what is not sent is not paid for");

    deployment.clock.pass(TimeDelta::seconds(60));
    assert!(matches!(ask(20).await, Err(QuoteError::Upstream(_))), "the trial fails");
    assert!(is_limited(&ask(21).await));
    assert_eq!(deployment.calls().await, 4);

    deployment.now_answers(SOUND).await;
    deployment.clock.pass(TimeDelta::seconds(120));
    for n in 22..25 {
        assert!(ask(n).await.is_ok());
    }
    assert_eq!(limits.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn failures_seen_by_one_process_pause_all() {
    let deployment = Deployment::that_answers(by_the_day(), ResponseTemplate::new(503)).await;
    let at = deployment.clock.now();
    let (one, other) = (deployment.process(), deployment.process());
    for n in 0..3 {
        assert!(one.quote(&numbered(n), at).await.is_err());
    }
    assert_eq!(deployment.calls().await, 3);
    assert!(is_limited(&other.quote(&numbered(3), at).await));
    assert!(is_limited(&deployment.process().quote(&numbered(4), at).await), "nor after a restart");
    assert_eq!(deployment.calls().await, 3);
    assert_eq!(
        deployment.store.last_failure("alpha_vantage"),
        Some(QuoteError::Upstream("HTTP status 503".to_owned()))
    );
    deployment.now_answers(SOUND).await;
    deployment.clock.pass(TimeDelta::seconds(61));
    assert!(other.quote(&numbered(3), deployment.clock.now()).await.is_ok());
}

#[tokio::test]
async fn answers_without_a_call_do_not_close_the_circuit() {
    let deployment = Deployment::that_answers(by_the_day(), ResponseTemplate::new(503)).await;
    let gateway = deployment.process();
    let at = deployment.clock.now();
    let (first, last) = ("2026-11-01".parse().unwrap(), "2026-11-19".parse().unwrap());
    for n in 0..3 {
        assert!(gateway.quote(&numbered(n), at).await.is_err());
        // This source has no actions, and answers without a call.
        let _ = gateway.corporate_actions(&symbol("AAPL"), first, last, at).await;
    }
    assert!(matches!(gateway.limits().unwrap().breaker(), BreakerState::Open { .. }));
}

/// Three sessions up to the 19th, with these closes.
fn series_with(closes: [&str; 3]) -> ResponseTemplate {
    let days = ["2026-11-17", "2026-11-18", "2026-11-19"];
    let bar = |close: &str| json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
    let series: serde_json::Map<String, Value> =
        days.into_iter().zip(closes).map(|(day, close)| (day.to_owned(), bar(close))).collect();
    let body = json!({ "Meta Data": { "2. Symbol": "AAPL" }, "Time Series (Daily)": series });
    ResponseTemplate::new(200).set_body_json(body).set_delay(Duration::from_millis(50))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_and_its_price_cost_one_call_for_all_processes() {
    let rules = Rules::ALPHA_VANTAGE_FREE;
    let deployment = Deployment::that_answers(rules, series_with(["150.00", "151.00", "152.50"])).await;
    let at = deployment.clock.now();
    let first_sight = Purpose::FirstSight { user: None };
    let processes = [deployment.process(), deployment.process()];
    let asking: Vec<_> = (0..200)
        .map(|n| Arc::clone(&processes[n % 2]))
        .map(|gateway| {
            tokio::spawn(async move { gateway.fetch_series(first_sight, &symbol("AAPL"), at).await })
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap(), Ok(()));
    }
    deployment.clock.pass(TimeDelta::hours(2));
    let restarted = deployment.process();
    assert!(restarted.is_scarce());
    let later = deployment.clock.now();
    assert_eq!(restarted.fetch_series(Purpose::Scheduled, &symbol("AAPL"), later).await, Ok(()));
    // A request for only the price is answered from the fetched series, without another call.
    let quote = restarted.quote(&symbol("AAPL"), later).await.unwrap().into_as_traded();
    assert_eq!(quote.price.to_string(), "152.50");
    assert_eq!(quote.previous_close.map(|close| close.to_string()).as_deref(), Some("151.00"));
    assert_eq!(quote.as_of.to_rfc3339(), "2026-11-19T21:00:00Z");
    assert_eq!(deployment.calls().await, 1);
    assert_eq!(deployment.store.series(&symbol("AAPL")).unwrap().len(), 3);
}

/// The closes of the sessions from 17 November on.
fn series_from_the_17th(closes: &[&str]) -> ResponseTemplate {
    let days = ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-23"];
    let bar = |close: &str| json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
    let series: serde_json::Map<String, Value> =
        days.into_iter().zip(closes).map(|(day, close)| (day.to_owned(), bar(close))).collect();
    let body = json!({ "Meta Data": { "2. Symbol": "AAPL" }, "Time Series (Daily)": series });
    ResponseTemplate::new(200).set_body_json(body)
}

impl Deployment {
    /// Sets the stand-in's answer to requests for a series.
    async fn now_has_series(&self, series: &[&str]) {
        self.server.reset().await;
        let none = json!({ "symbol": "AAPL", "data": [] });
        for (function, answer) in [
            ("TIME_SERIES_DAILY", series_from_the_17th(series)),
            ("SPLITS", ResponseTemplate::new(200).set_body_json(none)),
        ] {
            let asked = Mock::given(query_param("function", function));
            asked.respond_with(answer).mount(&self.server).await;
        }
    }

    async fn now_quotes(&self, price: &str) {
        let quote = quote_with(&[
            ("02. open", json!(price)),
            ("03. high", json!(price)),
            ("04. low", json!(price)),
            ("05. price", json!(price)),
        ]);
        let asked = Mock::given(query_param("function", "GLOBAL_QUOTE"));
        asked.respond_with(ResponseTemplate::new(200).set_body_json(quote)).mount(&self.server).await;
    }

    async fn closes(&self) -> Vec<String> {
        let kept = self.store.series(&symbol("AAPL")).unwrap();
        kept.iter().map(|bar| bar.close.to_string()).collect()
    }

    async fn waiting(&self) -> Option<String> {
        let (source, asked) = ("alpha_vantage".into(), [symbol("AAPL")]);
        let waiting = self.store.unconfirmed_quotes(&source, &asked).await.unwrap().remove(&asked[0])?;
        Some(format!("{} {}", waiting.price, waiting.doubt))
    }
}

#[tokio::test]
async fn a_series_that_ends_in_a_jump_gives_the_price_before_the_jump() {
    for (moved, next) in [("60.00", "58.00"), ("355.00", "350.00"), ("15.50", "14.00")] {
        let deployment = Deployment::with_rules(by_the_day()).await;
        deployment.now_has_series(&["150.00", "151.00", moved]).await;
        let gateway = deployment.process();
        let fetch = async || {
            let at = deployment.clock.now();
            gateway.fetch_series(Purpose::Scheduled, &symbol("AAPL"), at).await
        };
        fetch().await.unwrap();
        assert_eq!(deployment.closes().await, ["150.00", "151.00"]);
        assert_eq!(deployment.waiting().await, Some(format!("{moved} large_move")));
        // If it is requested again in the same session, it is still not accepted.
        deployment.clock.pass(TimeDelta::hours(3));
        fetch().await.unwrap();
        assert_eq!(deployment.closes().await, ["150.00", "151.00"]);
        deployment.now_has_series(&["150.00", "151.00", moved, next]).await;
        deployment.clock.pass(TimeDelta::hours(5));
        fetch().await.unwrap();
        assert_eq!(deployment.closes().await, ["150.00", "151.00", moved, next]);
        assert_eq!(deployment.waiting().await, None);
    }
}

#[tokio::test]
async fn a_series_in_another_unit_is_rejected_unless_the_other_endpoint_agrees() {
    for (quoted, is_believed) in [("152.00", false), ("1520.00", true)] {
        let deployment = Deployment::with_rules(by_the_day()).await;
        deployment.now_has_series(&["150.00", "151.00", "152.00"]).await;
        let gateway = deployment.process();
        let fetch = async || {
            let at = deployment.clock.now();
            gateway.fetch_series(Purpose::Scheduled, &symbol("AAPL"), at).await
        };
        fetch().await.unwrap();
        deployment.now_has_series(&["1500.00", "1510.00", "1520.00", "1530.00"]).await;
        deployment.now_quotes(quoted).await;
        deployment.clock.pass(TimeDelta::hours(8));
        let fetched = fetch().await;
        if is_believed {
            assert_eq!(fetched, Ok(()));
            assert_eq!(deployment.closes().await.last().map(String::as_str), Some("1530.00"));
            continue;
        }
        assert!(matches!(fetched, Err(QuoteError::Unconfirmed(_))), "{fetched:?}");
        assert_eq!(deployment.closes().await, ["150.00", "151.00", "152.00"]);
        assert_eq!(deployment.waiting().await.as_deref(), Some("1530.00 unit_slip"));
        // Repeated reports change nothing.
        deployment.clock.pass(TimeDelta::days(3));
        deployment.now_has_series(&["1500.00", "1510.00", "1520.00", "1530.00", "1540.00"]).await;
        assert!(fetch().await.is_err());
        assert_eq!(deployment.closes().await, ["150.00", "151.00", "152.00"]);
        // The price is accepted when it is right again.
        deployment.now_has_series(&["150.00", "151.00", "152.00", "153.00", "154.00"]).await;
        deployment.clock.pass(TimeDelta::hours(1));
        fetch().await.unwrap();
        assert_eq!(deployment.closes().await.len(), 5);
        assert_eq!(deployment.waiting().await, None);
    }
}

#[tokio::test]
async fn unknown_symbols_do_not_open_the_circuit() {
    let empty = ResponseTemplate::new(200).set_body_json(json!({ "Global Quote": {} }));
    let deployment = Deployment::that_answers(by_the_day(), empty).await;
    let gateway = deployment.process();
    for n in 0..5 {
        let unknown = gateway.quote(&numbered(n), deployment.clock.now()).await;
        assert_eq!(unknown, Err(QuoteError::UnknownSymbol(numbered(n))));
    }
    assert_eq!(gateway.limits().unwrap().breaker(), BreakerState::Closed);
    deployment.clock.pass(TimeDelta::hours(23));
    let again = gateway.quote(&numbered(0), deployment.clock.now()).await;
    assert_eq!(again, Err(QuoteError::UnknownSymbol(numbered(0))));
    assert_eq!(deployment.calls().await, 5);
}

/// Sends three requests, each for another symbol and when the last failure is no longer cached: no price results, the
/// circuit opens, and the other processes find no price.
async fn never_becomes_a_price(name: &str, answer: impl Respond + 'static) {
    let deployment = Deployment::that_answers(by_the_day(), answer).await;
    let gateway = deployment.process();
    let ask = async |gateway: &Gateway, n| {
        let asked = [numbered(n)];
        let mut answers = gateway.quotes_by_symbol(Purpose::Scheduled, &asked, deployment.clock.now()).await;
        answers.remove(&asked[0]).unwrap()
    };
    for n in 0..3 {
        let answer = ask(&gateway, n).await;
        assert!(matches!(answer, Err(QuoteError::Upstream(_))), "{name}: {answer:?}");
    }
    let state = gateway.limits().unwrap().breaker();
    assert!(matches!(state, BreakerState::Open { .. }), "{name}: {state:?}");
    for n in 0..3 {
        assert!(ask(&deployment.process(), n).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn absurd_values_never_become_a_price_and_open_the_circuit() {
    for (name, changes) in [
        ("zero", &[("05. price", "0")]),
        ("negative", &[("05. price", "-1")]),
        ("None", &[("05. price", "None")]),
        ("1e12", &[("05. price", "1e12")]),
        ("a million million", &[("05. price", "1000000000000")]),
        ("another symbol", &[("01. symbol", "MSFT")]),
    ] {
        never_becomes_a_price(name, EachItsOwn(changes)).await;
    }
}

#[tokio::test]
async fn absurd_bodies_never_become_a_price_and_open_the_circuit() {
    let body = |text: String| ResponseTemplate::new(200).set_body_string(text);
    for (name, answer) in [
        ("HTML", body("<html></html>".to_owned())),
        ("cut", body("{ \"Global Quote\": {".to_owned())),
        ("too large", body("x".repeat(2 * 1024 * 1024 + 1))),
        ("a circle", ResponseTemplate::new(302).insert_header("location", "/query")),
        ("an error of the server's", ResponseTemplate::new(503)),
    ] {
        never_becomes_a_price(name, answer).await;
    }
}

#[tokio::test]
async fn one_faulty_symbol_does_not_open_the_circuit() {
    let deployment = Deployment::that_answers(by_the_day(), absurd_price()).await;
    let gateway = deployment.process();
    let ask = async |of: Symbol| {
        let asked = [of];
        let mut answers = gateway.quotes_by_symbol(Purpose::Scheduled, &asked, deployment.clock.now()).await;
        answers.remove(&asked[0]).unwrap()
    };
    for _ in 0..6 {
        assert!(ask(symbol("AAPL")).await.is_err());
        deployment.clock.pass(TimeDelta::minutes(5));
    }
    assert_eq!(deployment.calls().await, 6);
    assert_eq!(gateway.limits().unwrap().breaker(), BreakerState::Closed);
    // If its call is the trial, the next symbol gets another trial.
    for n in 0..2 {
        assert!(ask(numbered(n)).await.is_err());
    }
    assert!(matches!(gateway.limits().unwrap().breaker(), BreakerState::Open { .. }));
    deployment.clock.pass(TimeDelta::seconds(60));
    assert!(matches!(ask(numbered(1)).await, Err(QuoteError::Upstream(_))));
    deployment.now_answers(SOUND).await;
    assert!(ask(symbol("MSFT")).await.is_ok());
    assert_eq!(gateway.limits().unwrap().breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn a_failing_symbol_is_requested_at_growing_intervals() {
    let deployment = Deployment::that_answers(by_the_day(), absurd_price()).await;
    let gateway = Gateway::new(Arc::new(alpha_vantage(&deployment)));
    let start = deployment.clock.now();
    let mut requested_at = Vec::new();
    for second in (0..1500).step_by(10) {
        let before = deployment.calls().await;
        assert!(gateway.quote(&symbol("AAPL"), start + TimeDelta::seconds(second)).await.is_err());
        if deployment.calls().await > before {
            requested_at.push(second);
        }
    }
    assert_eq!(requested_at, [0, 30, 90, 210, 450, 750, 1050, 1350]);
}

fn absurd_price() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(quote_with(&[("05. price", json!("0"))]))
}

fn alpha_vantage(deployment: &Deployment) -> AlphaVantage {
    AlphaVantage::new(AlphaVantageConfig {
        api_key: SecretString::from(KEY),
        base_url: deployment.server.uri().parse().unwrap(),
        min_gap: Duration::ZERO,
        now: deployment.clock.as_fn(),
    })
    .unwrap()
}

#[tokio::test]
async fn symbols_of_a_bulk_source_are_requested_in_one_call() {
    let server = MockServer::start().await;
    let clock = Clock::at("2025-10-30T12:00:00Z");
    let page = ResponseTemplate::new(404).insert_header("set-cookie", "A3=token");
    Mock::given(path("/cookie")).respond_with(page).mount(&server).await;
    let crumb = ResponseTemplate::new(200).set_body_string("crumb");
    Mock::given(path("/v1/test/getcrumb")).respond_with(crumb).mount(&server).await;
    let recorded = super::recorded("yahoo", "quote_v7_aapl_msft.json");
    let quotes = ResponseTemplate::new(200).set_body_json(recorded);
    Mock::given(path("/v7/finance/quote")).respond_with(quotes).mount(&server).await;
    let source = Yahoo::new(YahooConfig {
        base_url: server.uri().parse().unwrap(),
        cookie_url: format!("{}/cookie", server.uri()).parse().unwrap(),
        min_gap: Duration::ZERO,
        now: clock.as_fn(),
    });
    let source = source.unwrap();
    let rules = Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO };
    let store: Arc<InMemoryBudget> = Arc::default();
    let limits = Limits::new(&source.source(), rules, BreakerRules::SCARCE_CALLS, store, clock.as_fn());
    let gateway = Gateway::with_limits(Arc::new(source), limits);
    let asked = [symbol("AAPL"), symbol("MSFT"), symbol("AAPL"), symbol("NOSUCH")];
    for _ in 0..2 {
        let answers = gateway.quotes_by_symbol(Purpose::Interactive, &asked, clock.now()).await;
        assert_eq!(answers.values().filter(|answer| answer.is_ok()).count(), 2);
        assert_eq!(answers[&symbol("NOSUCH")], Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));
    }
    let calls = server.received_requests().await.unwrap();
    assert_eq!(calls.len(), 3, "a cookie, a crumb, the quotes");
    let status = gateway.limits().unwrap().budget().await.unwrap();
    assert_eq!(status.pots[2], (Pot::Reserve, 3, 1200));
}
