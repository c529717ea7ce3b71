//! The Yahoo client against a stand-in for the provider, with recorded and invented answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Calendar, Freshness, Quote};
use market_data::{InvalidSetup, QuoteError, QuoteSource, Yahoo, YahooConfig};
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{FREE, SourceQuotes, day, described, instant, price, recorded, said, symbol, text_of};

/// The morning after the recordings.
const NOW: &str = "2025-10-30T12:00:00Z";
/// 11:30 in New York on that Thursday.
const IN_SESSION: &str = "2025-10-30T15:30:00Z";

const COOKIE: &str = "A3=d=AQABBtoken&S=AQAAAsig";

/// The client, the stand-in for its provider, and their clock.
struct Provider {
    server: MockServer,
    client: Yahoo,
    now: Arc<AtomicI64>,
}

impl Provider {
    async fn at(now: &str) -> Self {
        let server = MockServer::start().await;
        let seconds = Arc::new(AtomicI64::new(instant(now).utc().timestamp()));
        let clock = Arc::clone(&seconds);
        let client = Yahoo::new(YahooConfig {
            base_url: server.uri().parse().unwrap(),
            cookie_url: format!("{}/cookie", server.uri()).parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || DateTime::from_timestamp(clock.load(Ordering::SeqCst), 0).unwrap()),
        });
        Self { server, client: client.unwrap(), now: seconds }
    }

    async fn start() -> Self {
        Self::at(NOW).await
    }

    /// A stand-in that gives this answer to every request.
    async fn that_says(answer: ResponseTemplate) -> Self {
        let provider = Self::start().await;
        Mock::given(method("GET")).respond_with(answer).mount(&provider.server).await;
        provider
    }

    fn pass(&self, span: TimeDelta) {
        self.now.fetch_add(span.num_seconds(), Ordering::SeqCst);
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.now.load(Ordering::SeqCst), 0).unwrap()
    }

    async fn answers(&self, at: &str, body: Value) {
        self.answers_with(at, ResponseTemplate::new(200).set_body_json(body)).await;
    }

    async fn answers_with(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(path(at)).respond_with(answer).mount(&self.server).await;
    }

    /// Gives visitors a cookie, with status 404, and a crumb for the cookie.
    async fn gives_crumbs(&self) {
        let cookie = format!("{COOKIE}; Expires=Fri, 30 Oct 2026 12:00:00 GMT; Domain=.yahoo.com; Secure");
        let page = ResponseTemplate::new(404).insert_header("set-cookie", cookie.as_str());
        self.answers_with("/cookie", page).await;
        Mock::given(path("/v1/test/getcrumb"))
            .and(header("cookie", COOKIE))
            .respond_with(ResponseTemplate::new(200).set_body_string("crumb/1.Ab"))
            .mount(&self.server)
            .await;
    }

    async fn answers_quotes(&self, crumb: &str, answer: ResponseTemplate) {
        Mock::given(path("/v7/finance/quote"))
            .and(query_param("crumb", crumb))
            .and(header("cookie", COOKIE))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    async fn quote(&self, of: &str) -> Result<Quote, QuoteError> {
        self.client.quotes_by_symbol(&[symbol(of)], self.now().into()).await.remove(&symbol(of)).unwrap()
    }

    async fn calls(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }

    async fn calls_to(&self, at: &str) -> usize {
        self.server.received_requests().await.unwrap().iter().filter(|call| call.url.path() == at).count()
    }
}

/// The recorded answer, and its description in the index.
fn case(id: &str) -> (Value, Value) {
    let case = described("yahoo", id);
    (recorded("yahoo", case["file"].as_str().unwrap()), case["expected"].clone())
}

/// A chart of AAPL for one day, with some fields replaced.
fn chart_with(changes: &[(&str, Value)]) -> Value {
    let mut meta = json!({
        "currency": "USD", "symbol": "AAPL", "exchangeName": "NMS", "fullExchangeName": "NasdaqGS",
        "instrumentType": "EQUITY", "regularMarketTime": 1_761_768_001, "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": 269.7, "regularMarketDayHigh": 271.41, "regularMarketDayLow": 267.11,
        "regularMarketVolume": 43_332_154, "longName": "Apple Inc.", "chartPreviousClose": 269.0,
        "dataGranularity": "1d", "range": "1d",
    });
    for (field, value) in changes {
        meta[*field] = value.clone();
    }
    json!({ "chart": { "result": [{ "meta": meta, "indicators": { "quote": [{}] } }], "error": null } })
}

async fn quote_of(answer: Value) -> Result<Quote, QuoteError> {
    let provider = Provider::start().await;
    provider.answers("/v8/finance/chart/AAPL", answer).await;
    provider.quote("AAPL").await
}

#[tokio::test]
async fn yahoo_is_a_delayed_source_of_new_york_prices() {
    let provider = Provider::start().await;
    let client = &provider.client;
    assert_eq!(client.source().to_string(), "yahoo");
    assert_eq!((client.freshness(), client.calendar()), (Freshness::Delayed, Calendar::Xnys));
    assert_eq!(client.quotes_at_once(), 50);
}

#[tokio::test]
async fn a_recorded_chart_is_parsed_as_a_quote() {
    let (answer, expected) = case("y_chart_aapl");
    let quote = quote_of(answer).await.unwrap();
    assert_eq!(quote.price, price(&said(&expected, "price")));
    assert_eq!(quote.as_of, instant(&said(&expected, "as_of_utc")));
    assert_eq!(quote.volume, expected["volume"].as_u64());
    // The recorded `chartPreviousClose` of 211.21 is half a year old; the previous close was 269.
    assert_eq!(quote.previous_close, Some(price("269.00")));
    assert_eq!((quote.source.as_str(), quote.freshness, quote.stale), ("yahoo", Freshness::Delayed, false));
}

#[tokio::test]
async fn the_previous_close_comes_from_a_chart_of_one_day() {
    assert_eq!(quote_of(chart_with(&[])).await.unwrap().previous_close, Some(price("269.00")));
    let longer = chart_with(&[("range", json!("5d"))]);
    assert_eq!(quote_of(longer).await.unwrap().previous_close, None);
    let both = chart_with(&[("previousClose", json!(268.5))]);
    assert_eq!(quote_of(both).await.unwrap().previous_close, Some(price("268.50")));
}

#[tokio::test]
async fn a_request_is_for_one_day_with_a_browser_like_name() {
    let provider = Provider::start().await;
    provider.answers("/v8/finance/chart/AAPL", chart_with(&[])).await;
    provider.quote("AAPL").await.unwrap();
    let call = provider.server.received_requests().await.unwrap().remove(0);
    assert!(call.headers["user-agent"].to_str().unwrap().starts_with("Mozilla/5.0 (compatible; "));
    let query = call.url.query().unwrap();
    assert!(query.contains("range=1d") && query.contains("interval=1d"), "{query}");
    assert!(query.contains("events=div%7Csplit"), "{query}");
}

#[tokio::test]
async fn an_invented_ticker_may_have_a_chart_without_a_price() {
    let (answer, expected) = case("y_chart_phantom");
    assert_eq!(expected["error_class"], "unknown_symbol");
    let provider = Provider::start().await;
    provider.answers("/v8/finance/chart/THF", answer).await;
    let thf = symbol("THF");
    let unknown = QuoteError::UnknownSymbol(thf.clone());
    assert_eq!(provider.quote("THF").await, Err(unknown.clone()));
    let bars = provider.client.daily_bars(&thf, day("2025-10-01"), day("2025-10-29"), instant(NOW)).await;
    assert_eq!(bars, Err(unknown));
}

#[tokio::test]
async fn impossible_values_are_rejected() {
    for (field, value) in [
        ("regularMarketPrice", json!(0)),
        ("regularMarketPrice", json!(-269.7)),
        ("regularMarketPrice", json!("269.7")),
        ("regularMarketPrice", json!("None")),
        ("regularMarketPrice", json!(1e12)),
        ("regularMarketPrice", json!([269.7])),
        ("regularMarketPrice", json!(274.13)),
        ("regularMarketPrice", json!(264.40)),
        ("regularMarketTime", json!(null)),
        ("regularMarketTime", json!("yesterday")),
        ("regularMarketTime", json!(1_761_480_000)),
        ("regularMarketTime", json!(1_761_825_540)),
        ("symbol", json!("MSFT")),
        ("symbol", json!(null)),
    ] {
        let answer = quote_of(chart_with(&[(field, value.clone())])).await;
        assert!(matches!(answer, Err(QuoteError::Upstream(_))), "{field} {value}: {answer:?}");
    }
}

#[tokio::test]
async fn a_price_slightly_outside_the_days_range_is_accepted() {
    for told in [271.42, 267.10] {
        let quote = quote_of(chart_with(&[("regularMarketPrice", json!(told))])).await.unwrap();
        assert_eq!(quote.price, price(&told.to_string()));
    }
    for missing in [json!(null), json!(0), json!("None")] {
        let range = [("regularMarketDayHigh", missing.clone()), ("regularMarketDayLow", missing)];
        assert_eq!(quote_of(chart_with(&range)).await.unwrap().price, price("269.70"));
    }
}

#[tokio::test]
async fn a_jump_explained_by_a_split_is_a_quote() {
    let mut answer = chart_with(&[("chartPreviousClose", json!(2690.0))]);
    let split = json!({ "date": 1_761_744_600, "numerator": 10.0, "denominator": 1.0, "splitRatio": "10:1" });
    answer["chart"]["result"][0]["events"] = json!({ "splits": { "1761744600": split } });
    assert_eq!(quote_of(answer).await.unwrap().previous_close, Some(price("269.00")));
}

#[tokio::test]
async fn a_ticker_without_trades_is_unknown_and_an_old_price_stale() {
    let last_traded = async |time: &str| {
        let time = instant(time).utc().timestamp();
        quote_of(chart_with(&[("regularMarketTime", json!(time)), ("chartPreviousClose", json!(null))])).await
    };
    let dead = last_traded("2019-05-03T20:00:00Z").await;
    assert_eq!(dead, Err(QuoteError::UnknownSymbol(symbol("AAPL"))));
    assert!(last_traded("2025-10-28T20:00:00Z").await.unwrap().stale);
    assert!(last_traded("2025-10-29T14:00:00Z").await.unwrap().stale, "the price of the morning is no close");
    assert!(!last_traded("2025-10-29T19:45:00Z").await.unwrap().stale);
}

#[tokio::test]
async fn a_price_from_the_future_is_a_clock_error() {
    let provider = Provider::at(IN_SESSION).await;
    let now = provider.now().timestamp();
    for (ahead, is_shown) in [(0, true), (60, true), (61, false), (160, false), (86_400, false)] {
        provider.server.reset().await;
        let chart = chart_with(&[("regularMarketTime", json!(now + ahead))]);
        provider.answers("/v8/finance/chart/AAPL", chart).await;
        match provider.quote("AAPL").await {
            Ok(quote) => assert!(is_shown && quote.as_of == provider.now().into(), "{ahead}"),
            Err(QuoteError::ClockAhead { by }) => {
                assert!(!is_shown && by == TimeDelta::seconds(ahead), "{ahead}")
            }
            Err(other) => panic!("{ahead}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_retry_time_is_respected_exactly() {
    for status in [429, 503] {
        let answer = ResponseTemplate::new(status).insert_header("retry-after", "120");
        let provider = Provider::that_says(answer).await;
        let until = provider.now() + TimeDelta::seconds(120);
        let refused = Err(QuoteError::RateLimited { retry_at: Some(until) });
        assert_eq!(provider.quote("AAPL").await, refused);
        assert_eq!(provider.quote("AAPL").await, refused);
        provider.pass(TimeDelta::seconds(119));
        assert_eq!(provider.quote("MSFT").await, refused);
        assert_eq!(provider.calls().await, 1, "neither repeated nor sent before its time");
        provider.pass(TimeDelta::seconds(1));
        assert!(provider.quote("AAPL").await.is_err());
        assert_eq!(provider.calls().await, 2);
    }
}

#[tokio::test]
async fn only_instruments_in_dollars_and_new_york_are_tradable() {
    for (field, value) in [
        ("currency", json!("EUR")),
        ("currency", json!("GBp")),
        ("currency", json!("ZAc")),
        ("currency", json!("ILA")),
        ("currency", json!("usd")),
        ("currency", json!(null)),
        ("exchangeTimezoneName", json!("Europe/London")),
        ("instrumentType", json!("CRYPTOCURRENCY")),
        ("instrumentType", json!("INDEX")),
        ("instrumentType", json!("MUTUALFUND")),
    ] {
        let answer = quote_of(chart_with(&[(field, value.clone())])).await;
        assert!(matches!(answer, Err(QuoteError::NotTradable { .. })), "{field} {value}: {answer:?}");
    }
    assert!(quote_of(chart_with(&[("instrumentType", json!("ETF"))])).await.is_ok());
}

#[tokio::test]
async fn the_recorded_foreign_stock_is_rejected() {
    // A request by its name is rejected without a call; this is what its chart would be.
    let provider = Provider::start().await;
    assert!(matches!(provider.quote("GS2C.DE").await, Err(QuoteError::NotTradable { .. })));
    assert_eq!(provider.calls().await, 0);
    let (mut answer, expected) = case("y_chart_xetra_eur");
    assert_eq!(expected["currency"], "EUR");
    answer["chart"]["result"][0]["meta"]["symbol"] = json!("AAPL");
    assert!(matches!(quote_of(answer).await, Err(QuoteError::NotTradable { .. })));
}

#[tokio::test]
async fn class_shares_are_requested_with_a_hyphen() {
    let provider = Provider::start().await;
    provider.answers("/v8/finance/chart/BRK-B", chart_with(&[("symbol", json!("BRK-B"))])).await;
    assert_eq!(provider.quote("BRK.B").await.unwrap().symbol, symbol("BRK.B"));
}

#[tokio::test]
async fn recorded_bars_are_parsed_with_their_dividends() {
    let (answer, expected) = case("y_chart_aapl");
    let provider = Provider::start().await;
    provider.answers("/v8/finance/chart/AAPL", answer).await;
    let (first, last) = (day("2025-08-01"), day("2025-10-29"));
    let history = provider.client.history(&symbol("AAPL"), first, last, instant(NOW), &FREE).await.unwrap();
    let expected = &expected["bars"];
    assert_eq!(Some(history.bars.len() as u64), expected["count"].as_u64());
    let newest = history.bars.last().unwrap();
    assert_eq!((newest.date, newest.close.clone()), (last, price(&said(expected, "last_close"))));
    assert_eq!(history.bars[1].close, price("229.35"), "229.35000610351562");
    assert_eq!((history.bars[0].open.to_string().as_str(), history.bars[0].volume), ("218.88", 90_224_800));
    let dividend = &expected["dividends"][0];
    assert_eq!(history.dividends[0].ex_on, day(&said(dividend, "ex_date")));
    assert_eq!(history.dividends[0].amount.to_string(), said(dividend, "amount"));
    let (aapl, first, last) = (symbol("AAPL"), day("2025-08-08"), day("2025-08-12"));
    assert_eq!(provider.client.daily_bars(&aapl, first, last, instant(NOW)).await.unwrap().len(), 3);
    let call = provider.server.received_requests().await.unwrap().remove(0);
    let query: Vec<(String, String)> =
        call.url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    assert!(query.contains(&("period1".to_owned(), "1754006400".to_owned())), "{query:?}");
}

#[tokio::test]
async fn recorded_bars_before_a_split_are_in_the_shares_of_their_days() {
    let (answer, expected) = case("y_chart_nvda_split");
    assert_eq!(expected["bars_already_split_adjusted"], true);
    let provider = Provider::at("2024-06-13T12:00:00Z").await;
    provider.answers("/v8/finance/chart/NVDA", answer).await;
    let (nvda, at) = (symbol("NVDA"), provider.now().into());
    let history =
        provider.client.history(&nvda, day("2024-06-01"), day("2024-06-12"), at, &FREE).await.unwrap();
    let closes: Vec<String> = history.bars.iter().map(|bar| bar.close.to_string()).collect();
    assert_eq!(closes, ["1209.98", "1208.88", "121.79", "120.91", "125.20"]);
    let split = &expected["bars"]["splits"][0];
    let told = &history.splits[0];
    assert_eq!(told.effective_on, day(&said(split, "ex_date")));
    assert_eq!(format!("{}/{}", told.numerator, told.denominator), said(split, "ratio"));
    assert_eq!(history.dividends[0].amount.to_string(), "0.01");
    // Only the events, requested with bars of three months.
    let mut events = case("y_chart_nvda_split").0;
    events["chart"]["result"][0]["meta"]["dataGranularity"] = json!("3mo");
    let other = Provider::at("2024-06-13T12:00:00Z").await;
    other.answers("/v8/finance/chart/NVDA", events).await;
    assert_eq!(other.client.splits(&nvda, &FREE).await.unwrap(), history.splits);
    assert_eq!(other.client.dividends(&nvda, &FREE).await.unwrap(), history.dividends);
}

/// A series whose slots are (start, open, high, low, close, volume).
fn series(slots: &[(&str, [Value; 5])]) -> Value {
    let mut answer = chart_with(&[]);
    let column = |at: usize| slots.iter().map(|(_, values)| values[at].clone()).collect::<Vec<_>>();
    let starts: Vec<i64> = slots.iter().map(|(start, _)| instant(start).utc().timestamp()).collect();
    answer["chart"]["result"][0]["timestamp"] = json!(starts);
    answer["chart"]["result"][0]["indicators"]["quote"][0] = json!({
        "open": column(0), "high": column(1), "low": column(2), "close": column(3), "volume": column(4),
    });
    answer
}

fn flat(price: f64) -> [Value; 5] {
    [json!(price), json!(price), json!(price), json!(price), json!(1000)]
}

async fn dates_of(answer: Value, at: &str) -> Result<Vec<String>, QuoteError> {
    let provider = Provider::at(at).await;
    provider.answers("/v8/finance/chart/AAPL", answer).await;
    let all = (day("2025-01-01"), day("2025-12-31"));
    let bars = provider.client.daily_bars(&symbol("AAPL"), all.0, all.1, instant(at)).await?;
    Ok(bars.iter().map(|bar| bar.date.to_string()).collect())
}

#[tokio::test]
async fn empty_slots_the_live_tail_and_mistakes_are_skipped() {
    let mut missing_close = flat(100.0);
    missing_close[3] = Value::Null;
    let mut missing_volume = flat(100.0);
    missing_volume[4] = Value::Null;
    let above_high = [json!(100.0), json!(101.0), json!(99.0), json!(102.0), json!(1)];
    let slots = [
        ("2025-10-20T13:30:00Z", flat(100.0)),
        ("2025-10-21T13:30:00Z", missing_close),
        ("2025-10-22T13:30:00Z", missing_volume),
        ("2025-10-23T13:30:00Z", above_high),
        ("2025-10-24T13:30:00Z", flat(900.0)),
        ("2025-10-25T13:30:00Z", flat(100.0)),
        ("2025-10-27T13:30:00Z", flat(0.0)),
        ("2025-10-28T13:30:00Z", flat(101.0)),
        ("2025-10-29T13:30:00Z", flat(102.0)),
        ("2025-10-30T15:29:58Z", [json!(103.0), json!(103.0), json!(103.0), json!(103.0), json!(0)]),
    ];
    let sound = ["2025-10-20", "2025-10-22", "2025-10-23", "2025-10-28", "2025-10-29"];
    assert_eq!(dates_of(series(&slots), IN_SESSION).await.unwrap(), sound);
    // If the tail was fetched before the close, it still lacks trades, even after the close.
    assert_eq!(dates_of(series(&slots), "2025-10-30T20:00:30Z").await.unwrap(), sound);
}

#[tokio::test]
async fn the_tail_is_the_last_day_only_if_that_day_is_missing() {
    let tail = ("2025-10-29T20:00:01Z", flat(102.0));
    let slots = [("2025-10-28T13:30:00Z", flat(101.0)), tail.clone()];
    assert_eq!(dates_of(series(&slots), NOW).await.unwrap(), ["2025-10-28", "2025-10-29"]);
    let both = [("2025-10-29T13:30:00Z", flat(101.0)), tail];
    let provider = Provider::start().await;
    for answer in [series(&both), series(&[both[1].clone(), both[0].clone()])] {
        provider.server.reset().await;
        provider.answers("/v8/finance/chart/AAPL", answer).await;
        let all = (day("2025-01-01"), day("2025-12-31"));
        let bars = provider.client.daily_bars(&symbol("AAPL"), all.0, all.1, instant(NOW)).await.unwrap();
        assert_eq!((bars.len(), bars[0].close.clone()), (1, price("101.00")));
    }
}

#[tokio::test]
async fn an_invalid_series_is_an_error_and_one_without_days_is_empty() {
    assert_eq!(dates_of(series(&[]), NOW).await.unwrap(), Vec::<String>::new());
    let nonsense = series(&[("2025-10-28T13:30:00Z", flat(-1.0))]);
    assert!(matches!(dates_of(nonsense, NOW).await, Err(QuoteError::Upstream(_))));
    let mut short = series(&[("2025-10-28T13:30:00Z", flat(1.0)), ("2025-10-29T13:30:00Z", flat(1.0))]);
    short["chart"]["result"][0]["indicators"]["quote"][0]["close"] = json!([1.0]);
    assert_eq!(dates_of(short, NOW).await.unwrap(), ["2025-10-28"]);
    for body in [json!({}), json!({ "chart": {} }), json!({ "chart": { "result": [] } })] {
        assert!(matches!(dates_of(body, NOW).await, Err(QuoteError::Upstream(_))));
    }
}

fn chart_error(code: &str, description: &str) -> Value {
    json!({ "chart": { "result": null, "error": { "code": code, "description": description } } })
}

#[tokio::test]
async fn refusals_become_errors_that_tell_when_to_retry() {
    let aapl = symbol("AAPL");
    let answer = |status, body| ResponseTemplate::new(status).set_body_json(body);
    let not_found = chart_error("Not Found", "No data found, symbol may be delisted");
    let provider = Provider::that_says(answer(404, not_found)).await;
    assert_eq!(provider.quote("AAPL").await, Err(QuoteError::UnknownSymbol(aapl.clone())));

    let no_data = chart_error("Bad Request", "Data doesn't exist for startDate = 1, endDate = 2");
    let provider = Provider::that_says(answer(400, no_data)).await;
    let bars = provider.client.daily_bars(&aapl, day("2025-10-01"), day("2025-10-29"), instant(NOW)).await;
    assert_eq!(bars, Ok(Vec::new()));

    for (status, body) in [
        (422, chart_error("Unprocessable Entity", "5m data not available; must be within the last 60 days.")),
        (401, chart_error("Unauthorized", "User is unable to access this feature")),
        (400, chart_error("Bad Request", "something else")),
        (404, json!({})),
        (200, chart_error("Internal", "something else")),
    ] {
        let provider = Provider::that_says(answer(status, body)).await;
        assert!(matches!(provider.quote("AAPL").await, Err(QuoteError::Upstream(_))), "{status}");
    }
}

#[tokio::test]
async fn invalid_bodies_are_rejected() {
    let ok = || ResponseTemplate::new(200);
    for (name, answer) in [
        (
            "a consent form",
            ok().set_body_raw("<!DOCTYPE html><title>Before you continue</title>", "text/html"),
        ),
        ("a notice", ResponseTemplate::new(503).set_body_raw("<html>Will be right back", "text/html")),
        ("empty", ok()),
        ("cut", ok().set_body_string("{ \"chart\": { \"result\": [{ \"meta\": {")),
        ("oversized", ok().set_body_string(format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)))),
        ("deep", ok().set_body_string("{\"a\":".repeat(100_000))),
        ("an array", ok().set_body_string("[]")),
        ("another object", ok().set_body_json(json!({ "hello": "world" }))),
        ("not UTF-8", ok().set_body_bytes(vec![0xFF, 0xFE, 0x00])),
    ] {
        let provider = Provider::that_says(answer).await;
        let quote = provider.quote("AAPL").await;
        assert!(matches!(quote, Err(QuoteError::Upstream(_))), "{name}: {quote:?}");
        assert!(
            matches!(
                provider.client.search("apple", 5, provider.now().into(), &FREE).await,
                Err(QuoteError::Upstream(_))
            ),
            "{name}"
        );
        let many = provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
        assert!(many.len() == 2 && many.values().all(Result::is_err), "{name}");
    }
}

#[tokio::test]
async fn a_server_error_is_retried_once() {
    let provider = Provider::start().await;
    Mock::given(path("/v8/finance/chart/AAPL"))
        .respond_with(ResponseTemplate::new(502))
        .up_to_n_times(1)
        .mount(&provider.server)
        .await;
    provider.answers("/v8/finance/chart/AAPL", chart_with(&[])).await;
    assert!(provider.quote("AAPL").await.is_ok());
    assert_eq!(provider.calls().await, 2);
    let broken = Provider::that_says(ResponseTemplate::new(502)).await;
    assert!(broken.quote("AAPL").await.is_err());
    assert_eq!(broken.calls().await, 2);
}

#[tokio::test]
async fn a_refusal_pauses_calls_for_a_quarter_of_an_hour_then_twice_as_long() {
    let body = text_of("yahoo", "edge_429.txt");
    let case = described("yahoo", "y_chart_429_edge");
    let status = u16::try_from(case["http_status"].as_u64().unwrap()).unwrap();
    let provider = Provider::that_says(ResponseTemplate::new(status).set_body_string(body)).await;
    let minutes = |n| TimeDelta::minutes(n);
    for (calls, pause) in [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 240)] {
        let limited = Err(QuoteError::RateLimited { retry_at: Some(provider.now() + minutes(pause)) });
        assert_eq!(provider.quote("AAPL").await, limited);
        provider.pass(minutes(pause) - TimeDelta::seconds(1));
        assert!(
            provider.quote("MSFT").await.is_err()
                && provider.client.search("a", 5, provider.now().into(), &FREE).await.is_err()
        );
        assert_eq!(provider.calls().await, calls, "not before its time");
        provider.pass(TimeDelta::seconds(1));
    }
    provider.server.reset().await;
    provider
        .answers(
            "/v8/finance/chart/AAPL",
            chart_with(&[("regularMarketTime", json!(provider.now().timestamp()))]),
        )
        .await;
    provider.pass(TimeDelta::hours(1));
    let opened = provider.quote("AAPL").await;
    assert!(!matches!(opened, Err(QuoteError::RateLimited { .. })), "{opened:?}");
}

#[tokio::test]
async fn calls_keep_the_minimum_gap() {
    let server = MockServer::start().await;
    let gap = Duration::from_millis(40);
    let client = Yahoo::new(YahooConfig {
        base_url: server.uri().parse().unwrap(),
        cookie_url: server.uri().parse().unwrap(),
        min_gap: gap,
        now: Arc::new(|| NOW.parse().unwrap()),
    });
    let client = client.unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        let _ = client.search("apple", 5, NOW.parse::<DateTime<Utc>>().unwrap().into(), &FREE).await;
    }
    assert!(started.elapsed() >= gap * 2, "{:?}", started.elapsed());
    assert_eq!(YahooConfig::MIN_GAP, Duration::from_secs(1));
}

#[tokio::test]
async fn recorded_bulk_quotes_come_with_one_call() {
    let (answer, expected) = case("y_quote_v7");
    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(answer)).await;
    let asked = [symbol("AAPL"), symbol("MSFT")];
    for _ in 0..2 {
        let quotes = provider.client.quotes_by_symbol(&asked, instant(NOW)).await;
        for told in expected["quotes"].as_array().unwrap() {
            let quote = quotes[&symbol(&said(told, "symbol"))].clone().unwrap();
            assert_eq!(quote.price, price(&said(told, "price")));
            assert_eq!(quote.previous_close, Some(price(&said(told, "previous_close"))));
            assert_eq!(quote.as_of, instant(&said(told, "as_of_utc")));
            assert_eq!((quote.bid, quote.ask), (None, None), "those of after hours are anything");
        }
    }
    assert_eq!(provider.calls_to("/v7/finance/quote").await, 2);
    assert_eq!(provider.calls().await, 4, "the crumb is good for both");
    let call = provider.server.received_requests().await.unwrap().pop().unwrap();
    assert!(call.url.query_pairs().any(|(name, value)| name == "symbols" && value == "AAPL,MSFT"));
}

#[tokio::test]
async fn symbols_missing_from_a_bulk_answer_are_unknown() {
    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    let (answer, expected) = case("y_quote_v7_partial");
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(answer)).await;
    let quotes = provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await;
    assert!(quotes[&symbol("AAPL")].is_ok());
    assert_eq!(expected["missing"][0], "NOSUCH");
    assert_eq!(quotes[&symbol("NOSUCH")], Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));

    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    let (answer, _) = case("y_quote_v7_empty");
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(answer)).await;
    let quotes = provider.client.quotes_by_symbol(&[symbol("GS2C"), symbol("NOSUCH")], instant(NOW)).await;
    assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::UnknownSymbol(_)))));
}

/// The recorded row of AAPL, with some fields replaced, as the whole answer.
fn row_with(changes: &[(&str, Value)]) -> Value {
    let mut row = case("y_quote_v7").0["quoteResponse"]["result"][0].clone();
    for (field, value) in changes {
        row[*field] = value.clone();
    }
    json!({ "quoteResponse": { "result": [row], "error": null } })
}

async fn quoted_in_bulk(now: &str, answer: Value) -> Result<Quote, QuoteError> {
    let provider = Provider::at(now).await;
    provider.gives_crumbs().await;
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(answer)).await;
    let asked = [symbol("AAPL"), symbol("NOSUCH")];
    provider.client.quotes_by_symbol(&asked, provider.now().into()).await.remove(&asked[0]).unwrap()
}

#[tokio::test]
async fn invalid_rows_are_not_prices() {
    for (field, value) in [
        ("regularMarketPrice", json!(0)),
        ("regularMarketPrice", json!("None")),
        ("regularMarketPrice", json!(1e12)),
        ("regularMarketPrice", json!(300.0)),
        ("regularMarketTime", json!(null)),
        ("regularMarketTime", json!(4_102_444_800_i64)),
        ("symbol", json!(null)),
        ("currency", json!("GBp")),
        ("quoteType", json!("CRYPTOCURRENCY")),
        ("regularMarketPreviousClose", json!(50.0)),
    ] {
        let answer = quoted_in_bulk(NOW, row_with(&[(field, value.clone())])).await;
        assert!(answer.is_err(), "{field} {value}: {answer:?}");
    }
}

#[tokio::test]
async fn bid_and_ask_are_used_only_while_the_market_is_open() {
    let now = instant(IN_SESSION).utc().timestamp();
    let touch = async |bid: f64, ask: f64, state: &str| {
        let row = row_with(&[
            ("bid", json!(bid)),
            ("ask", json!(ask)),
            ("marketState", json!(state)),
            ("regularMarketTime", json!(now)),
        ]);
        let quote = quoted_in_bulk(IN_SESSION, row).await.unwrap();
        quote.bid.zip(quote.ask).map(|(bid, ask)| (bid.to_string(), ask.to_string()))
    };
    let sound = Some(("269.69".to_owned(), "269.71".to_owned()));
    assert_eq!(touch(269.69, 269.71, "REGULAR").await, sound);
    assert_eq!(touch(269.69, 269.71, "POST").await, None);
    assert_eq!(touch(255.72, 269.86, "REGULAR").await, None, "too wide");
    assert_eq!(touch(269.71, 269.69, "REGULAR").await, None, "crossed");
    assert_eq!(touch(0.0, 0.0, "REGULAR").await, None);
}

fn invalid_crumb() -> ResponseTemplate {
    ResponseTemplate::new(401).set_body_json(json!({ "finance": { "result": null, "error":
        { "code": "Unauthorized", "description": "Invalid Crumb. If you are having trouble…" } } }))
}

#[tokio::test]
async fn a_rejected_crumb_is_replaced_once() {
    let provider = Provider::start().await;
    let page = ResponseTemplate::new(404).insert_header("set-cookie", COOKIE);
    provider.answers_with("/cookie", page).await;
    Mock::given(path("/v1/test/getcrumb"))
        .respond_with(ResponseTemplate::new(200).set_body_string("old"))
        .up_to_n_times(1)
        .mount(&provider.server)
        .await;
    let new = ResponseTemplate::new(200).set_body_string("new");
    provider.answers_with("/v1/test/getcrumb", new).await;
    provider.answers_quotes("old", invalid_crumb()).await;
    provider.answers_quotes("new", ResponseTemplate::new(200).set_body_json(row_with(&[]))).await;
    let quotes = provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await;
    assert!(quotes[&symbol("AAPL")].is_ok());
    assert_eq!(provider.calls_to("/v1/test/getcrumb").await, 2);

    let stubborn = Provider::start().await;
    stubborn.gives_crumbs().await;
    stubborn.answers_quotes("crumb/1.Ab", invalid_crumb()).await;
    let quotes = stubborn.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
    assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::Upstream(_)))));
    assert_eq!(stubborn.calls_to("/v7/finance/quote").await, 2);
    assert_eq!(stubborn.client.quotes_at_once(), 1, "and then it asks one by one");
    stubborn.pass(TimeDelta::hours(1));
    assert_eq!(stubborn.client.quotes_at_once(), 50);
}

#[tokio::test]
async fn refused_bulk_quotes_are_replaced_by_single_ones() {
    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    let closed = json!({ "finance": { "result": null, "error":
        { "code": "Unauthorized", "description": "User is unable to access this feature" } } });
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(401).set_body_json(closed)).await;
    provider.answers("/v8/finance/chart/AAPL", chart_with(&[])).await;
    provider.answers("/v8/finance/chart/MSFT", chart_with(&[("symbol", json!("MSFT"))])).await;
    let asked = [symbol("AAPL"), symbol("MSFT")];
    for _ in 0..2 {
        assert!(provider.client.quotes_by_symbol(&asked, instant(NOW)).await.values().all(Result::is_ok));
        assert_eq!(provider.calls_to("/v7/finance/quote").await, 1);
    }
}

#[tokio::test]
async fn the_text_too_many_requests_is_not_a_crumb() {
    for status in [200, 429] {
        let provider = Provider::start().await;
        let page = ResponseTemplate::new(404).insert_header("set-cookie", COOKIE);
        provider.answers_with("/cookie", page).await;
        let refusal = ResponseTemplate::new(status).set_body_string("Too Many Requests");
        provider.answers_with("/v1/test/getcrumb", refusal).await;
        let asked = [symbol("AAPL"), symbol("MSFT")];
        let quotes = provider.client.quotes_by_symbol(&asked, instant(NOW)).await;
        assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::RateLimited { .. }))));
        assert_eq!(provider.calls_to("/v7/finance/quote").await, 0);
        // A quarter of an hour later the client gets a crumb.
        provider.server.reset().await;
        provider.gives_crumbs().await;
        provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(row_with(&[]))).await;
        provider.pass(TimeDelta::minutes(15));
        let quotes =
            provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await;
        assert!(quotes[&symbol("AAPL")].is_ok(), "{status}: {quotes:?}");
    }
}

#[tokio::test]
async fn other_texts_are_not_crumbs() {
    let long = "x".repeat(65);
    for crumb in ["", " ", "<html></html>", "{\"finance\":{}}", "two words", &long] {
        let provider = Provider::start().await;
        let page = ResponseTemplate::new(404).insert_header("set-cookie", COOKIE);
        provider.answers_with("/cookie", page).await;
        provider.answers_with("/v1/test/getcrumb", ResponseTemplate::new(200).set_body_string(crumb)).await;
        let quotes = provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
        assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::Upstream(_)))), "{crumb}");
        assert_eq!(provider.calls_to("/v7/finance/quote").await, 0, "{crumb}");
    }
    let without_cookie =
        Provider::that_says(ResponseTemplate::new(200).set_body_string("<html>consent")).await;
    let quotes =
        without_cookie.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
    assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::Upstream(_)))));
    assert_eq!(without_cookie.calls().await, 2, "the page for the cookie, and one of the two prices");
}

#[tokio::test]
async fn fifty_callers_share_one_crumb() {
    let provider = Arc::new(Provider::start().await);
    provider.gives_crumbs().await;
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(row_with(&[]))).await;
    let ask = |provider: Arc<Provider>| async move {
        provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await
    };
    let asking: Vec<_> = (0..50).map(|_| tokio::spawn(ask(Arc::clone(&provider)))).collect();
    for quotes in asking {
        assert!(quotes.await.unwrap()[&symbol("AAPL")].is_ok());
    }
    assert_eq!(provider.calls_to("/v1/test/getcrumb").await, 1);
    assert_eq!(provider.calls_to("/cookie").await, 1);
}

#[tokio::test]
async fn a_row_that_jumps_is_requested_separately() {
    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    let jumped = row_with(&[("regularMarketPreviousClose", json!(2690.0))]);
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(jumped)).await;
    let mut chart = chart_with(&[("chartPreviousClose", json!(2690.0))]);
    let split = json!({ "date": 1_761_744_600, "numerator": 10.0, "denominator": 1.0 });
    chart["chart"]["result"][0]["events"] = json!({ "splits": { "1761744600": split } });
    provider.answers("/v8/finance/chart/AAPL", chart).await;
    let quotes = provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await;
    assert_eq!(quotes[&symbol("AAPL")].clone().unwrap().previous_close, Some(price("269.00")));
    assert_eq!(provider.calls_to("/v8/finance/chart/AAPL").await, 1);
}

#[tokio::test]
async fn symbols_are_requested_fifty_at_a_time() {
    let provider = Provider::start().await;
    provider.gives_crumbs().await;
    let (empty, _) = case("y_quote_v7_empty");
    provider.answers_quotes("crumb/1.Ab", ResponseTemplate::new(200).set_body_json(empty)).await;
    let many: Vec<_> = (0..120).map(|n| symbol(&format!("S{n}"))).collect();
    let quotes = provider.client.quotes_by_symbol(&many, instant(NOW)).await;
    assert_eq!((quotes.len(), provider.calls_to("/v7/finance/quote").await), (120, 3));
}

#[tokio::test]
async fn a_recorded_search_keeps_instruments_of_the_united_states() {
    let (answer, expected) = case("y_search_apple");
    assert_eq!(answer["quotes"].as_array().map(Vec::len), expected["symbols"].as_array().map(Vec::len));
    let provider = Provider::start().await;
    provider.answers("/v1/finance/search", answer).await;
    let found = provider.client.search(" apple ", 20, provider.now().into(), &FREE).await.unwrap();
    let symbols: Vec<&str> = found.iter().map(|listing| listing.symbol.as_str()).collect();
    assert_eq!(symbols, ["AAPL", "APLE", "AAPI"]);
    assert_eq!(found[0].company_name, said(&expected["first"], "name"));
    assert_eq!((found[0].exchange.as_str(), found[0].sector.as_str()), ("NASDAQ", "Technology"));
    assert_eq!(provider.client.search("apple", 1, provider.now().into(), &FREE).await.unwrap().len(), 1);
    assert_eq!(provider.client.search("  ", 5, provider.now().into(), &FREE).await, Ok(Vec::new()));
    assert_eq!(provider.calls().await, 2);
}

#[tokio::test]
async fn a_listing_comes_from_a_search_or_else_from_a_chart() {
    let (answer, _) = case("y_search_apple");
    let provider = Provider::start().await;
    provider.answers("/v1/finance/search", answer).await;
    provider.answers("/v8/finance/chart/GME", chart_with(&[("symbol", json!("GME"))])).await;
    let not_found = chart_error("Not Found", "No data found, symbol may be delisted");
    let missing = ResponseTemplate::new(404).set_body_json(not_found);
    provider.answers_with("/v8/finance/chart/NOSUCH", missing).await;
    let listing = async |of: &str| provider.client.listing(&symbol(of), provider.now().into(), &FREE).await;
    assert_eq!(listing("AAPL").await.unwrap().sector, "Technology");
    assert_eq!(provider.calls().await, 1);
    let by_chart = listing("GME").await.unwrap();
    assert_eq!((by_chart.exchange.as_str(), by_chart.sector.as_str()), ("NasdaqGS", "Other"));
    assert_eq!(listing("NOSUCH").await, Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));
    assert!(matches!(listing("AAPL.VI").await, Err(QuoteError::NotTradable { .. })));
}

#[tokio::test]
async fn options_cryptocurrencies_and_unlisted_companies_are_not_found() {
    let entry = |kind: &str, exchange: &str, symbol: Value| json!({ "quoteType": kind, "exchange": exchange, "symbol": symbol, "shortname": "Name" });
    let provider = Provider::start().await;
    let body = json!({ "quotes": [
        entry("OPTION", "OPR", json!("AAPL251219C00270000")),
        entry("CRYPTOCURRENCY", "CCC", json!("BTC-USD")),
        entry("INDEX", "SNP", json!("^GSPC")),
        entry("EQUITY", "NMS", Value::Null),
        entry("EQUITY", "LSE", json!("TSCO.L")),
        entry("ETF", "PCX", json!("SPY")),
        json!({ "name": "A private firm", "permalink": "firm" }),
        json!("nothing"),
    ]});
    provider.answers("/v1/finance/search", body).await;
    let found = provider.client.search("x", 20, provider.now().into(), &FREE).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].symbol.as_str(), found[0].sector.as_str()), ("SPY", "Fund"));
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_to_no_other_host() {
    let elsewhere = Provider::that_says(ResponseTemplate::new(200).set_body_json(chart_with(&[]))).await;
    let address = format!("{}/v8/finance/chart/AAPL", elsewhere.server.uri());
    let provider = Provider::that_says(ResponseTemplate::new(302).insert_header("location", address)).await;
    assert!(matches!(provider.quote("AAPL").await, Err(QuoteError::Upstream(_))));
    assert_eq!((provider.calls().await, elsewhere.calls().await), (1, 0));

    let circle = Provider::that_says(ResponseTemplate::new(302).insert_header("location", "/round")).await;
    assert!(matches!(circle.quote("AAPL").await, Err(QuoteError::Upstream(_))));
    assert_eq!(circle.calls().await, 4);
}

#[test]
fn base_urls_must_be_able_to_have_a_path() {
    let client = |base: &str, cookie: &str| {
        Yahoo::new(YahooConfig {
            base_url: base.parse().unwrap(),
            cookie_url: cookie.parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(|| NOW.parse().unwrap()),
        })
    };
    assert!(client(YahooConfig::BASE_URL, YahooConfig::COOKIE_URL).is_ok());
    assert!(matches!(client("mailto:a", YahooConfig::COOKIE_URL), Err(InvalidSetup::BaseUrl)));
    assert!(matches!(client(YahooConfig::BASE_URL, "mailto:a"), Err(InvalidSetup::BaseUrl)));
}
