//! The Alpha Vantage client against a stand-in for the provider, with recorded and invented answers.

use std::sync::Arc;
use std::time::Duration;

use domain::{Bar, Freshness, Listing, Quote};
use market_data::{AlphaVantage, AlphaVantageConfig, InvalidSetup, QuoteError, QuoteSource};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{FREE, SourceQuotes, day, described, instant, price, recorded, said, symbol};

pub(super) const KEY: &str = "TESTKEY0000";
/// A Sunday.
pub(super) const NOW: &str = "2026-11-22T18:00:00Z";

/// The client and the stand-in for its provider.
pub(super) struct Provider {
    pub(super) server: MockServer,
    pub(super) client: AlphaVantage,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let server = MockServer::start().await;
        let client = client_for(&server.uri());
        Self { server, client }
    }

    /// A stand-in that gives this answer to every request.
    pub(super) async fn that_says(answer: ResponseTemplate) -> Self {
        let provider = Self::start().await;
        Mock::given(method("GET")).respond_with(answer).mount(&provider.server).await;
        provider
    }

    pub(super) async fn that_says_json(body: Value) -> Self {
        Self::that_says(ResponseTemplate::new(200).set_body_json(body)).await
    }

    pub(super) async fn answers(&self, function: &str, body: Value) {
        Mock::given(method("GET"))
            .and(path("/query"))
            .and(query_param("function", function))
            .and(query_param("apikey", KEY))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    pub(super) async fn quote(&self, of: &str) -> Result<Quote, QuoteError> {
        self.client.quotes_by_symbol(&[symbol(of)], instant(NOW)).await.remove(&symbol(of)).unwrap()
    }

    /// All bars of AAPL at this time.
    pub(super) async fn bars(&self, at: &str) -> Result<Vec<Bar>, QuoteError> {
        let (first, last) = (day("2026-01-01"), day("2026-12-31"));
        self.client.daily_bars(&symbol("AAPL"), first, last, instant(at)).await
    }

    pub(super) async fn calls(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

pub(super) fn client_for(base_url: &str) -> AlphaVantage {
    AlphaVantage::new(AlphaVantageConfig {
        api_key: SecretString::from(KEY),
        base_url: base_url.parse().unwrap(),
        min_gap: Duration::ZERO,
        now: Arc::new(|| NOW.parse().unwrap()),
    })
    .unwrap()
}

/// The recorded answer, and its description in the index.
pub(super) fn case(id: &str) -> (Value, Value) {
    let case = described("alpha_vantage", id);
    (recorded("alpha_vantage", case["file"].as_str().unwrap()), case["expected"].clone())
}

#[tokio::test]
async fn recorded_quotes_are_parsed() {
    for (id, closes_at) in [
        ("av_quote_msft", "2018-10-05T20:00:00Z"),
        ("av_quote_aapl", "2019-10-04T20:00:00Z"),
        ("av_quote_ibm", "2026-09-04T20:00:00Z"),
    ] {
        let (answer, expected) = case(id);
        let provider = Provider::start().await;
        provider.answers("GLOBAL_QUOTE", answer).await;
        let quote = provider.quote(&said(&expected, "symbol")).await.unwrap();
        assert_eq!(quote.price, price(&said(&expected, "price")), "{id}");
        assert_eq!(quote.previous_close, Some(price(&said(&expected, "previous_close"))), "{id}");
        assert_eq!(quote.volume, expected["volume"].as_u64(), "{id}");
        assert_eq!(quote.as_of, instant(closes_at), "{id}");
        assert!(closes_at.starts_with(&said(&expected, "as_of_date")), "{id}");
        assert_eq!(quote.freshness.as_str(), said(&expected, "freshness"), "{id}");
        assert_eq!((quote.freshness, quote.source.as_str()), (Freshness::EndOfDay, "alpha_vantage"));
    }
}

#[tokio::test]
async fn an_empty_quote_means_that_the_symbol_is_unknown() {
    let (answer, expected) = case("av_global_quote_empty");
    assert_eq!(expected["error_class"], "unknown_symbol");
    let provider = Provider::that_says_json(answer).await;
    assert_eq!(provider.quote("NOSUCH").await, Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));
}

#[tokio::test]
async fn a_recorded_search_keeps_instruments_of_the_united_states() {
    for (id, keywords, foreign) in [
        ("av_search_ba", "BA", vec!["6190.HKG"]),
        ("av_search_tesco", "tesco", vec!["TSCO.LON", "TCO2.FRK", "TCO0.FRK"]),
    ] {
        let (answer, expected) = case(id);
        let provider = Provider::start().await;
        provider.answers("SYMBOL_SEARCH", answer).await;
        let found = provider.client.search(keywords, 20, instant(NOW), &FREE).await.unwrap();
        let symbols: Vec<&str> = found.iter().map(|listing| listing.symbol.as_str()).collect();
        let all = expected["symbols"].as_array().unwrap().iter().map(|symbol| symbol.as_str().unwrap());
        assert_eq!(symbols, all.filter(|symbol| !foreign.contains(symbol)).collect::<Vec<_>>(), "{id}");
        if found[0].symbol.as_str() == said(&expected["first"], "symbol") {
            assert_eq!(found[0].company_name, said(&expected["first"], "name"), "{id}");
        }
        assert_eq!(provider.client.search(keywords, 1, instant(NOW), &FREE).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_recorded_profile_is_parsed() {
    let (answer, expected) = case("av_overview_ibm");
    let provider = Provider::start().await;
    provider.answers("OVERVIEW", answer).await;
    let Listing { symbol: found, company_name, exchange, sector, currency } =
        provider.client.listing(&symbol("IBM"), instant(NOW), &FREE).await.unwrap();
    assert_eq!(
        [found.to_string(), company_name, exchange, sector, currency.code().to_owned()],
        ["symbol", "name", "exchange", "sector", "currency"].map(|field| said(&expected, field))
    );
    assert_eq!(provider.calls().await, 1);
}

#[tokio::test]
async fn a_recorded_series_is_parsed_with_any_field_numbers() {
    // The answer of the paid function: its volume is the sixth field; in the free one it is the fifth.
    let (answer, expected) = case("av_daily_adjusted_nvda_split");
    let provider = Provider::start().await;
    provider.answers("TIME_SERIES_DAILY", answer).await;
    // A ten-for-one split in the middle of the series. Without it, the price would look like one in another unit.
    provider.answers("SPLITS", super::recorded("alpha_vantage", "splits_nvda.json")).await;
    let nvda = symbol("NVDA");
    let bars =
        provider.client.daily_bars(&nvda, day("2024-01-01"), day("2024-12-31"), instant(NOW)).await.unwrap();
    assert_eq!(Some(bars.len() as u64), expected["count"].as_u64());
    assert_eq!(bars[0].date, day(&said(&expected, "first_date")));
    assert_eq!(bars[4].date, day(&said(&expected, "last_date")));
    assert_eq!(bars[4].close, price(&said(&expected, "last_close")));
    assert_eq!((bars[1].high.to_string().as_str(), bars[1].volume), ("1216.92", 41_238_580));
    let some = provider.client.daily_bars(&nvda, day("2024-06-07"), day("2024-06-10"), instant(NOW));
    assert_eq!(some.await.unwrap().len(), 2);
}

/// A quote with some fields replaced.
pub(super) fn quote_with(changes: &[(&str, Value)]) -> Value {
    let mut fields = json!({
        "01. symbol": "AAPL", "02. open": "225.5400", "03. high": "226.1900", "04. low": "223.8900",
        "05. price": "225.9700", "06. volume": "9226278", "07. latest trading day": "2026-11-20",
        "08. previous close": "220.8200", "09. change": "5.1500", "10. change percent": "2.3322%",
    });
    for (field, value) in changes {
        fields[*field] = value.clone();
    }
    json!({ "Global Quote": fields })
}

async fn quote_of(answer: Value) -> Result<Quote, QuoteError> {
    Provider::that_says_json(answer).await.quote("AAPL").await
}

#[tokio::test]
async fn impossible_values_are_rejected() {
    assert!(quote_of(quote_with(&[])).await.is_ok());
    for (field, value) in [
        ("05. price", json!("0.0000")),
        ("05. price", json!("-225.97")),
        ("05. price", json!("None")),
        ("05. price", json!("")),
        ("05. price", json!("1e3")),
        ("05. price", json!("NaN")),
        ("05. price", json!("1000000000000")),
        ("05. price", json!(null)),
        ("05. price", json!(["225.97"])),
        ("05. price", json!("228.4600")),
        ("05. price", json!("221.6000")),
        ("01. symbol", json!("MSFT")),
        ("01. symbol", json!("")),
        ("07. latest trading day", json!("2026-11-21")),
        ("07. latest trading day", json!("2026-13-45")),
        ("07. latest trading day", json!("-9999-01-05")),
        ("07. latest trading day", json!("yesterday")),
        ("07. latest trading day", json!("")),
    ] {
        let answer = quote_of(quote_with(&[(field, value.clone())])).await;
        assert!(matches!(answer, Err(QuoteError::Upstream(_))), "{field} {value}: {answer:?}");
    }
}

#[tokio::test]
async fn a_price_from_a_future_day_is_a_clock_error() {
    for date in ["2026-11-23", "2099-01-05"] {
        let answer = quote_of(quote_with(&[("07. latest trading day", json!(date))])).await;
        assert!(matches!(answer, Err(QuoteError::ClockAhead { .. })), "{date}: {answer:?}");
    }
}

#[tokio::test]
async fn invalid_fields_other_than_the_price_are_ignored() {
    for (field, value) in [
        ("02. open", "300"),
        ("02. open", "None"),
        ("03. high", "1"),
        ("03. high", "0.0000"),
        ("03. high", "223.8900"),
        ("04. low", "226.0000"),
        ("04. low", ""),
    ] {
        let quote = quote_of(quote_with(&[(field, json!(value))])).await;
        assert_eq!(quote.unwrap().price, price("225.97"), "{field} {value}");
    }
    for told in ["226.2000", "223.8800"] {
        let quote = quote_of(quote_with(&[("05. price", json!(told))])).await;
        assert_eq!(quote.unwrap().price, price(told), "a little outside the day's range");
    }
}

#[tokio::test]
async fn fields_other_than_the_price_may_be_missing() {
    let odd = [("06. volume", json!("None")), ("08. previous close", json!("0.0000"))];
    let quote = quote_of(quote_with(&odd)).await.unwrap();
    assert_eq!((quote.volume, quote.previous_close), (None, None));
}

#[tokio::test]
async fn numbers_without_quotes_keep_their_digits() {
    let body = serde_json::to_string(&quote_with(&[])).unwrap().replace("\"225.9700\"", "225.9700000");
    let provider = Provider::that_says(ResponseTemplate::new(200).set_body_string(body)).await;
    assert_eq!(provider.quote("AAPL").await.unwrap().price, price("225.97"));
}

#[tokio::test]
async fn a_delayed_quote_has_another_heading_and_early_closes_are_known() {
    let mut answer = quote_with(&[("07. latest trading day", json!("2025-11-28"))]);
    let fields = answer["Global Quote"].take();
    let quote = quote_of(json!({ "Global Quote - DATA DELAYED BY 15 MINUTES": fields })).await.unwrap();
    assert_eq!(quote.as_of, instant("2025-11-28T18:00:00Z"));
}

#[tokio::test]
async fn symbols_of_class_shares_are_converted_both_ways() {
    let provider = Provider::start().await;
    provider.answers("GLOBAL_QUOTE", quote_with(&[("01. symbol", json!("BRK-B"))])).await;
    assert_eq!(provider.quote("BRK.B").await.unwrap().symbol, symbol("BRK.B"));
    let asked = provider.server.received_requests().await.unwrap().remove(0);
    assert!(asked.url.query_pairs().any(|(name, value)| name == "symbol" && value == "BRK-B"));
}

#[tokio::test]
async fn foreign_listings_are_rejected_without_a_call() {
    let provider = Provider::start().await;
    let tesco = symbol("TSCO.LON");
    let refused = |answer| matches!(answer, Err(QuoteError::NotTradable { .. }));
    assert!(refused(provider.quote("TSCO.LON").await.map(drop)));
    assert!(refused(provider.client.listing(&tesco, instant(NOW), &FREE).await.map(drop)));
    let bars = provider.client.daily_bars(&tesco, day("2026-11-01"), day("2026-11-20"), instant(NOW)).await;
    assert!(refused(bars.map(drop)));
    assert_eq!(provider.calls().await, 0);
}

#[tokio::test]
async fn a_fund_has_no_profile_and_is_found_by_search() {
    let provider = Provider::start().await;
    provider.answers("OVERVIEW", json!({})).await;
    let entry = |ticker: &str, kind: &str, region: &str, currency: &str| {
        json!({ "1. symbol": ticker, "2. name": "A name", "3. type": kind, "4. region": region,
                "8. currency": currency, "9. matchScore": "1.0000" })
    };
    let found = json!({ "bestMatches": [
        entry("SPYG", "ETF", "United States", "USD"),
        entry("SPY", "ETF", "United States", "USD"),
        entry("BP-A", "Equity", "United Kingdom", "GBX"),
        entry("VFIAX", "Mutual Fund", "United States", "USD"),
        entry("HK", "Equity", "United States", "HKD"),
    ]});
    provider.answers("SYMBOL_SEARCH", found).await;
    let spy = provider.client.listing(&symbol("SPY"), instant(NOW), &FREE).await.unwrap();
    assert_eq!((spy.symbol, spy.sector.as_str()), (symbol("SPY"), "Fund"));
    for other in ["BP.A", "VFIAX", "HK"] {
        let answer = provider.client.listing(&symbol(other), instant(NOW), &FREE).await;
        assert!(matches!(answer, Err(QuoteError::NotTradable { .. })), "{other}: {answer:?}");
    }
    let answer = provider.client.listing(&symbol("NOSUCH"), instant(NOW), &FREE).await;
    assert_eq!(answer, Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));
    assert_eq!(provider.client.search("spy", 10, instant(NOW), &FREE).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_profile_in_another_currency_is_rejected_and_missing_fields_are_filled() {
    let profile = |currency: &str, name: &str, sector: &str| json!({ "Symbol": "XYZ", "Name": name, "Exchange": "NYSE", "Currency": currency, "Sector": sector });
    let listing = async |profile| {
        Provider::that_says_json(profile).await.client.listing(&symbol("XYZ"), instant(NOW), &FREE).await
    };
    let foreign = listing(profile("CAD", "Name", "TECHNOLOGY")).await;
    assert!(matches!(foreign, Err(QuoteError::NotTradable { .. })));
    let bare = listing(profile("USD", "None", "-")).await.unwrap();
    assert_eq!((bare.company_name.as_str(), bare.sector.as_str()), ("XYZ", "Other"));
    let loud = listing(profile("USD", "Name", "REAL ESTATE & CONSTRUCTION")).await.unwrap();
    assert_eq!(loud.sector, "Real Estate & Construction");
}

pub(super) fn row(open: &str, high: &str, low: &str, close: &str, volume: &str) -> Value {
    json!({ "1. open": open, "2. high": high, "3. low": low, "4. close": close, "5. volume": volume })
}

#[tokio::test]
async fn bars_are_sorted_finished_and_valid() {
    let good = || row("10.00", "12.00", "9.00", "11.00", "1000");
    let provider = Provider::start().await;
    provider
        .answers(
            "TIME_SERIES_DAILY",
            json!({
                "Meta Data": { "2. Symbol": "AAPL" },
                "Time Series (Daily)": {
                    "2026-11-20": good(),
                    "2026-11-16": good(),
                    "2026-11-19": good(),
                    "2026-11-18": row("10.00", "12.00", "9.00", "12.01", "1000"),
                    "2026-11-17": row("10.00", "12.00", "0.00", "11.00", "1000"),
                    "2026-11-14": good(),
                    "2026-11-23": good(),
                    "2099-99-99": good(),
                    "2026-11-13": row("10.00", "12.00", "9.00", "11.00", "many"),
                    "2026-11-12": row("10.00", "12.00", "9.00", "15.00", "1000"),
                    "2026-11-11": row("10.00", "12.00", "9.00", "0.00", "1000"),
                },
            }),
        )
        .await;
    let dates = async |at| {
        provider.bars(at).await.unwrap().iter().map(|bar| bar.date.to_string()).collect::<Vec<_>>()
    };
    let sound = ["2026-11-13", "2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"];
    assert_eq!(dates(NOW).await, sound);
    assert_eq!(dates("2026-11-20T20:59:59Z").await, sound[..5]);
    // If one price of a day is wrong, the others are used.
    let bars = provider.bars(NOW).await.unwrap();
    let prices = |at: usize| [&bars[at].low, &bars[at].high, &bars[at].close].map(ToString::to_string);
    assert_eq!(prices(3), ["9.00", "12.01", "12.01"]);
    assert_eq!(prices(2), ["10.00", "12.00", "11.00"]);
    assert_eq!(bars[0].volume, 0);
}

#[tokio::test]
async fn an_invalid_series_is_an_error() {
    let series = |symbol: &str, rows: Value| json!({ "Meta Data": { "2. Symbol": symbol }, "Time Series (Daily)": rows });
    for answer in [
        json!({}),
        json!({ "Meta Data": { "2. Symbol": "AAPL" } }),
        series("MSFT", json!({ "2026-11-20": row("1", "1", "1", "1", "1") })),
        series("AAPL", json!({ "2026-11-20": row("0", "0", "0", "0", "0") })),
        series("AAPL", json!({ "2026-11-20": "nothing" })),
    ] {
        let provider = Provider::that_says_json(answer.clone()).await;
        let bars = provider.bars(NOW).await;
        assert!(matches!(bars, Err(QuoteError::Upstream(_))), "{answer}: {bars:?}");
    }
}

#[tokio::test]
async fn refusals_become_errors_that_tell_when_to_retry() {
    let aapl = symbol("AAPL");
    let limited = |at: &str| QuoteError::RateLimited { retry_at: Some(at.parse().unwrap()) };
    for (text, expected) in [
        (
            "Please consider spreading out your free API requests more sparingly (1 request per second).",
            limited("2026-11-22T18:00:02Z"),
        ),
        (
            "Our standard API call frequency is 5 calls per minute and 500 calls per day.",
            limited("2026-11-22T18:01:00Z"),
        ),
        (
            "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per day.",
            limited("2026-11-23T05:05:00Z"),
        ),
        ("The **demo** API key is for demo purposes only.", QuoteError::KeyRefused),
        ("Thank you for using Alpha Vantage! This is a premium endpoint.", QuoteError::NotCovered),
        (
            "Invalid API call. Please retry or visit the documentation.",
            QuoteError::UnknownSymbol(aapl.clone()),
        ),
        (
            "This API function (GLOBAL_QUOTE) does not exist.",
            QuoteError::Upstream("the provider no longer has this function".to_owned()),
        ),
    ] {
        for key in ["Information", "Note", "Error Message"] {
            let provider = Provider::that_says_json(json!({ key: text })).await;
            assert_eq!(provider.quote("AAPL").await, Err(expected.clone()), "{key}: {text}");
            assert!(provider.client.search("apple", 5, instant(NOW), &FREE).await.is_err(), "{key}: {text}");
            assert!(provider.client.listing(&aapl, instant(NOW), &FREE).await.is_err(), "{key}: {text}");
        }
    }
}

#[tokio::test]
async fn invented_rows_beside_a_premium_message_are_rejected() {
    let mut answer = quote_with(&[]);
    answer["message"] = json!("This is a premium endpoint. You may subscribe to any of the premium plans.");
    assert!(matches!(quote_of(answer).await, Err(QuoteError::NotCovered)));
}

#[tokio::test]
async fn no_more_symbols_are_requested_after_a_rate_limit() {
    let note = "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per day.";
    let provider = Provider::that_says_json(json!({ "Information": note })).await;
    let answers =
        provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT"), symbol("KO")], instant(NOW)).await;
    assert_eq!(answers.len(), 3);
    assert!(answers.values().all(|answer| matches!(answer, Err(QuoteError::RateLimited { .. }))));
    assert_eq!(provider.calls().await, 1);
}

#[tokio::test]
async fn invalid_bodies_are_rejected() {
    let cut = r#"{ "Global Quote": { "01. symbol": "AAPL", "05. pri"#;
    let huge = "x".repeat(2 * 1024 * 1024 + 1);
    let deep = "[".repeat(100_000);
    let ok = || ResponseTemplate::new(200);
    for (name, answer) in [
        ("HTML", ok().set_body_raw("<!DOCTYPE html><title>Will be right back</title>", "text/html")),
        ("empty", ok()),
        ("blank", ok().set_body_string(" \n ")),
        ("cut", ok().set_body_string(cut)),
        ("oversized", ok().set_body_string(huge)),
        ("deep", ok().set_body_string(deep)),
        ("not UTF-8", ok().set_body_bytes(vec![0xFF, 0xFE, 0x00])),
        ("an array", ok().set_body_string("[]")),
        ("another object", ok().set_body_json(json!({ "hello": "world" }))),
        ("not gzip", ok().insert_header("content-encoding", "gzip").set_body_string("plain")),
        ("500", ResponseTemplate::new(500)),
        ("503 with JSON", ResponseTemplate::new(503).set_body_json(quote_with(&[]))),
        ("404 in HTML", ResponseTemplate::new(404).set_body_raw("<html></html>", "text/html")),
    ] {
        let provider = Provider::that_says(answer).await;
        let quote = provider.quote("AAPL").await;
        assert!(matches!(quote, Err(QuoteError::Upstream(_))), "{name}: {quote:?}");
        assert!(provider.client.search("apple", 5, instant(NOW), &FREE).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn status_429_is_a_rate_limit_with_any_body() {
    let provider = Provider::that_says(ResponseTemplate::new(429).set_body_string("slow down")).await;
    assert!(matches!(provider.quote("AAPL").await, Err(QuoteError::RateLimited { retry_at: Some(_) })));
}

#[tokio::test]
async fn no_redirect_carries_the_key_to_another_host() {
    let elsewhere = Provider::that_says_json(quote_with(&[])).await;
    for status in [301, 302, 303, 307, 308] {
        for location in [
            format!("{}/query", elsewhere.server.uri()),
            elsewhere.server.uri().replace("http:", ""),
            elsewhere.server.uri().replace("127.0.0.1", "localhost"),
        ] {
            let away = ResponseTemplate::new(status).insert_header("location", location.as_str());
            let provider = Provider::that_says(away).await;
            let answer = provider.quote("AAPL").await;
            let told = matches!(&answer, Err(QuoteError::Upstream(why)) if why.contains("another host"));
            assert!(told, "{status} to {location}: {answer:?}");
            assert_eq!(provider.calls().await, 1);
        }
    }
    assert_eq!(elsewhere.calls().await, 0);
}

#[tokio::test]
async fn the_retry_time_is_read_with_status_429_and_503() {
    for status in [429, 503] {
        let answer = ResponseTemplate::new(status).insert_header("retry-after", "300");
        let provider = Provider::that_says(answer).await;
        let until = instant(NOW).utc() + chrono::TimeDelta::seconds(300);
        assert_eq!(provider.quote("AAPL").await, Err(QuoteError::RateLimited { retry_at: Some(until) }));
        let table = provider.client.listings(market_data::ListingState::Active, &FREE).await;
        assert_eq!(table, Err(QuoteError::RateLimited { retry_at: Some(until) }));
    }
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_do_not_carry_the_key_on() {
    let provider = Provider::start().await;
    let redirect = |to: &str| ResponseTemplate::new(302).insert_header("location", to);
    for (from, to) in [("/query", "/1"), ("/1", "/2"), ("/2", "/3")] {
        Mock::given(path(from)).respond_with(redirect(to)).mount(&provider.server).await;
    }
    Mock::given(path("/3"))
        .respond_with(ResponseTemplate::new(200).set_body_json(quote_with(&[])))
        .mount(&provider.server)
        .await;
    assert!(provider.quote("AAPL").await.is_ok());
    for request in provider.server.received_requests().await.unwrap().iter().skip(1) {
        assert!(!format!("{request:?}").contains(KEY));
    }

    let circle = Provider::that_says(redirect("/query")).await;
    assert!(matches!(circle.quote("AAPL").await, Err(QuoteError::Upstream(_))));
    assert_eq!(circle.calls().await, 4);
}

#[tokio::test]
async fn a_missing_provider_is_unreachable() {
    let free_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client_for(&format!("http://{free_port}"));
    let answer =
        client.quotes_by_symbol(&[symbol("AAPL")], instant(NOW)).await.remove(&symbol("AAPL")).unwrap();
    assert_eq!(answer, Err(QuoteError::Unreachable));
}

#[tokio::test]
async fn no_error_contains_the_key() {
    let echo = format!("Something new about {KEY}, and {KEY} again: see https://x/query?apikey={KEY}");
    let provider = Provider::that_says_json(json!({ "Information": echo })).await;
    let error = provider.quote("AAPL").await.unwrap_err();
    assert_eq!(
        error,
        QuoteError::Upstream(
            "Something new about ***, and *** again: see https://x/query?apikey=***".to_owned()
        )
    );
    let long = Provider::that_says_json(json!({ "Note": "long ".repeat(1000) })).await.quote("AAPL").await;
    assert!(long.unwrap_err().to_string().len() < 300);
}

#[tokio::test]
async fn a_base_url_may_have_a_path_but_must_be_able_to() {
    let provider = Provider::start().await;
    Mock::given(path("/proxy/query"))
        .respond_with(ResponseTemplate::new(200).set_body_json(quote_with(&[])))
        .mount(&provider.server)
        .await;
    for base in ["/proxy", "/proxy/"] {
        let client = client_for(&format!("{}{base}", provider.server.uri()));
        let answer =
            client.quotes_by_symbol(&[symbol("AAPL")], instant(NOW)).await.remove(&symbol("AAPL")).unwrap();
        assert!(answer.is_ok(), "{base}");
    }
    let config = AlphaVantageConfig {
        api_key: SecretString::from(KEY),
        base_url: "mailto:someone".parse().unwrap(),
        min_gap: Duration::ZERO,
        now: Arc::new(|| NOW.parse().unwrap()),
    };
    assert!(matches!(AlphaVantage::new(config), Err(InvalidSetup::BaseUrl)));
}

#[tokio::test]
async fn an_empty_search_is_not_sent() {
    let provider = Provider::start().await;
    assert_eq!(provider.client.search("  ", 5, instant(NOW), &FREE).await, Ok(Vec::new()));
    assert_eq!(provider.calls().await, 0);
}
