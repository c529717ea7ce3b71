//! Other data of Alpha Vantage: profiles, splits, dividends, listings and bulk quotes; and which prices are accepted
//! after a jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{CorporateActionKind, Freshness};
use market_data::{
    AlphaVantage, AlphaVantageConfig, AlphaVantagePlan, Entitlement, KeyFeature, ListingState, QuoteError,
    QuoteSource,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::{method, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::alpha_vantage::{KEY, NOW, Provider, case, quote_with, row};
use super::{FREE, SourceQuotes, day, instant, price, said, symbol, text_of};

const PREMIUM: &str = "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe.";

/// A stand-in whose answers depend on the function and one parameter, and a client with an entitlement; the test moves
/// their clock.
struct Paid {
    server: MockServer,
    client: AlphaVantage,
    seconds_later: Arc<AtomicI64>,
}

impl Paid {
    async fn entitled_to(entitlement: Entitlement) -> Self {
        Self::with_plan(AlphaVantagePlan {
            per_minute: Some(75),
            entitlement: Some(entitlement),
            ..AlphaVantagePlan::default()
        })
        .await
    }

    async fn with_plan(plan: AlphaVantagePlan) -> Self {
        let server = MockServer::start().await;
        let seconds_later = Arc::new(AtomicI64::new(0));
        let later = Arc::clone(&seconds_later);
        let start: DateTime<Utc> = NOW.parse().unwrap();
        let client = AlphaVantage::new(AlphaVantageConfig {
            api_key: SecretString::from(KEY),
            base_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || start + TimeDelta::seconds(later.load(Ordering::SeqCst))),
        })
        .unwrap()
        .with_plan(plan);
        Self { server, client, seconds_later }
    }

    async fn answers(&self, function: &str, body: Value) {
        Mock::given(method("GET"))
            .and(query_param("function", function))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    async fn answers_with(&self, function: &str, parameter: (&str, &str), body: Value) {
        Mock::given(query_param("function", function))
            .and(query_param(parameter.0, parameter.1))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&self.server)
            .await;
    }

    /// How often the function was called.
    async fn calls(&self, function: &str) -> usize {
        let asked_for = |url: &url::Url| url.query_pairs().any(|(_, value)| value == function);
        self.server.received_requests().await.unwrap().iter().filter(|call| asked_for(&call.url)).count()
    }
}

#[tokio::test]
async fn a_recorded_company_profile_is_parsed() {
    let (answer, expected) = case("av_overview_ibm");
    let provider = Provider::that_says_json(answer).await;
    let profile = provider.client.profile(&symbol("IBM"), &FREE).await.unwrap();
    let texts = [profile.name, profile.exchange, profile.currency, profile.sector, profile.industry];
    let fields = ["name", "exchange", "currency", "sector", "industry"];
    assert_eq!(texts.map(Option::unwrap), fields.map(|field| said(&expected, field)));
    assert_eq!(profile.market_capitalization.unwrap().to_string(), said(&expected, "market_cap"));
    assert_eq!(profile.shares_outstanding.unwrap().to_string(), said(&expected, "shares_outstanding"));
    assert_eq!(profile.pe_ratio.unwrap().to_string(), said(&expected, "pe_ratio"));
    assert_eq!(profile.dividend_per_share.unwrap().to_string(), said(&expected, "dividend_per_share"));
    assert_eq!(profile.week52_high, Some(price(&said(&expected, "week52_high"))));
    assert_eq!(profile.week52_low, Some(price(&said(&expected, "week52_low"))));
    assert!(profile.description.unwrap().contains("integrated solutions"));
    assert_eq!(provider.calls().await, 1);
}

#[tokio::test]
async fn invalid_figures_are_missing_and_an_empty_profile_is_unknown() {
    let odd = json!({ "Symbol": "XYZ", "MarketCapitalization": "None", "PERatio": "-", "Beta": "NaN",
                      "EPS": "-1.25", "52WeekHigh": "1e12", "52WeekLow": "0", "SharesOutstanding": "1e12" });
    let profile = Provider::that_says_json(odd).await.client.profile(&symbol("XYZ"), &FREE).await.unwrap();
    assert_eq!((profile.market_capitalization, profile.shares_outstanding), (None, None));
    assert_eq!((profile.pe_ratio, profile.beta, profile.earnings_per_share), (None, None, Some(-1.25)));
    assert_eq!((profile.week52_high, profile.week52_low, profile.name), (None, None, None));

    let empty = Provider::that_says_json(json!({})).await;
    let unknown = QuoteError::UnknownSymbol(symbol("NOSUCH"));
    assert_eq!(empty.client.profile(&symbol("NOSUCH"), &FREE).await, Err(unknown));
    let other = Provider::that_says_json(json!({ "Symbol": "MSFT" })).await;
    assert!(matches!(other.client.profile(&symbol("XYZ"), &FREE).await, Err(QuoteError::Upstream(_))));
}

#[tokio::test]
async fn recorded_splits_are_parsed_as_fractions() {
    let (answer, expected) = case("av_splits_nvda");
    let provider = Provider::start().await;
    provider.answers("SPLITS", answer).await;
    let splits = provider.client.splits(&symbol("NVDA"), &FREE).await.unwrap();
    let told: Vec<(String, String)> = splits
        .iter()
        .map(|split| (split.effective_on.to_string(), format!("{}/{}", split.numerator, split.denominator)))
        .collect();
    let all = expected["splits"].as_array().unwrap().iter();
    assert_eq!(told, all.map(|split| (said(split, "ex_date"), said(split, "ratio"))).collect::<Vec<_>>());
}

#[tokio::test]
async fn announced_dividends_are_included_and_invalid_ones_are_skipped() {
    let entry = |ex: &str, pays: &str, amount: &str| {
        json!({ "ex_dividend_date": ex, "declaration_date": "None", "record_date": ex,
                "payment_date": pays, "amount": amount })
    };
    let provider = Provider::start().await;
    let body = json!({ "symbol": "KO", "data": [
        entry("2026-12-01", "2026-12-15", "0.51"),
        entry("2026-09-15", "None", "0.5125"),
        entry("2026-06-13", "2026-07-01", "None"),
        entry("2026-03-13", "2026-04-01", "-0.5"),
        entry("2025-13-99", "2026-01-01", "0.5"),
        entry("2025-12-01", "2025-12-15", "1000000000000"),
        entry("2025-09-15", "soon", "0.5"),
        entry("2024-09-15", "2024-10-01", "1e-1"),
    ]});
    provider.answers("DIVIDENDS", body).await;
    let dividends = provider.client.dividends(&symbol("KO"), &FREE).await.unwrap();
    let told: Vec<_> = dividends.iter().map(|it| (it.ex_on, it.pays_on, it.amount.to_string())).collect();
    assert_eq!(
        told,
        [
            (day("2026-09-15"), None, "0.5125".to_owned()),
            (day("2026-12-01"), Some(day("2026-12-15")), "0.51".to_owned()),
        ]
    );
}

#[tokio::test]
async fn splits_and_dividends_of_an_interval_are_its_corporate_actions() {
    let (answer, _) = case("av_splits_nvda");
    let provider = Provider::start().await;
    provider.answers("SPLITS", answer).await;
    let dividend = |ex: &str, pays: &str, amount: &str| {
        json!({ "ex_dividend_date": ex, "declaration_date": "None", "record_date": ex,
                "payment_date": pays, "amount": amount })
    };
    let dividends = [
        dividend("2024-06-11", "2024-06-28", "0.01"),
        dividend("2024-07-11", "None", "0.0000001"),
        dividend("2024-09-12", "None", "0.01"),
        dividend("2024-12-05", "2024-12-27", "0.01"),
    ];
    provider.answers("DIVIDENDS", json!({ "symbol": "NVDA", "data": dividends })).await;
    let (first, last) = (day("2024-06-01"), day("2024-11-30"));
    let found =
        provider.client.corporate_actions(&symbol("NVDA"), first, last, instant(NOW), &FREE).await.unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|action| match &action.kind {
            CorporateActionKind::Split { numerator, denominator } => {
                format!("{} {numerator}:{denominator}", action.id)
            }
            CorporateActionKind::CashDividend { amount, pays_on } => {
                format!("{} {amount} on {pays_on}", action.id)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "NVDA/2024-06-10/split 10:1",
            "NVDA/2024-06-11/cash_dividend 0.01 on 2024-06-28",
            // The payment is assumed twenty days after the ex-date, because its day is unknown.
            "NVDA/2024-09-12/cash_dividend 0.01 on 2024-10-02",
        ]
    );
}

#[tokio::test]
async fn a_stock_may_have_no_actions_and_an_invalid_table_is_an_error() {
    let none = Provider::that_says_json(json!({ "symbol": "BRK-B", "data": [] })).await;
    assert_eq!(none.client.splits(&symbol("BRK.B"), &FREE).await, Ok(Vec::new()));
    assert_eq!(none.client.dividends(&symbol("BRK.B"), &FREE).await, Ok(Vec::new()));
    for body in [
        json!({}),
        json!({ "symbol": "AAPL", "data": [] }),
        json!({ "symbol": "BRK.B" }),
        json!({ "symbol": "BRK.B", "data": { "a": 1 } }),
        json!({ "symbol": "BRK.B", "data": ["nothing"] }),
        json!({ "symbol": "BRK.B", "data": [{ "effective_date": "2024-06-10", "split_factor": "1e400" }] }),
        json!({ "symbol": "BRK.B", "data": [{ "effective_date": "2024-06-10", "split_factor": "None" }] }),
    ] {
        let provider = Provider::that_says_json(body.clone()).await;
        let splits = provider.client.splits(&symbol("BRK.B"), &FREE).await;
        assert!(matches!(splits, Err(QuoteError::Upstream(_))), "{body}: {splits:?}");
        let dividends = provider.client.dividends(&symbol("BRK.B"), &FREE).await;
        assert!(matches!(dividends, Err(QuoteError::Upstream(_))), "{body}: {dividends:?}");
    }
}

#[tokio::test]
async fn the_recorded_table_of_listings_is_parsed() {
    let table = text_of("alpha_vantage", "listing_status_active.csv").replace('\n', "\r\n");
    let server = MockServer::start().await;
    Mock::given(query_param("function", "LISTING_STATUS"))
        .and(query_param("state", "active"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(table, "application/x-download"))
        .expect(1)
        .mount(&server)
        .await;
    let client = super::alpha_vantage::client_for(&server.uri());
    let found = client.listings(ListingState::Active, &FREE).await.unwrap();
    let symbols: Vec<&str> = found.iter().map(|listing| listing.symbol.as_str()).collect();
    assert_eq!(symbols, ["A", "AAPL", "BAC.P.M", "BRK.B", "FEIG", "NULLN"]);
    let funds: Vec<&str> =
        found.iter().filter(|listing| listing.is_fund).map(|it| it.symbol.as_str()).collect();
    assert_eq!(funds, ["FEIG", "NULLN"]);
    assert_eq!((found[0].exchange.as_str(), found[0].listed_on), ("NYSE", Some(day("1999-11-18"))));
    assert!(found.iter().all(|listing| listing.delisted_on.is_none()));
    assert_eq!(found[5].company_name, "NULLN", "a name that is missing");
}

#[tokio::test]
async fn the_table_of_former_listings_has_delisting_days() {
    let table = "symbol,name,exchange,assetType,ipoDate,delistingDate,status\n\
                 FRCB,First Republic Bank,NYSE,Stock,2010-12-09,2023-05-02,Delisted\n";
    let provider = Provider::that_says(ResponseTemplate::new(200).set_body_string(table)).await;
    let found = provider.client.listings(ListingState::Delisted, &FREE).await.unwrap();
    assert_eq!(found[0].delisted_on, Some(day("2023-05-02")));
    let wrong = provider.client.listings(ListingState::Active, &FREE).await;
    assert!(matches!(wrong, Err(QuoteError::Upstream(_))), "not the table asked for: {wrong:?}");
}

#[tokio::test]
async fn refusals_instead_of_a_table_are_distinguished() {
    let day_limit = "We have detected your API key as TESTKEY0000 and our standard API rate limit is 25 requests per day.";
    let provider = Provider::that_says_json(json!({ "Information": day_limit })).await;
    let refused = provider.client.listings(ListingState::Active, &FREE).await;
    let tomorrow = QuoteError::RateLimited { retry_at: Some("2026-11-23T05:05:00Z".parse().unwrap()) };
    assert_eq!(refused, Err(tomorrow));
    for body in ["", " \n", "{}", "<html></html>", "{\"Meta", "nothing,like\n1,2"] {
        let provider = Provider::that_says(ResponseTemplate::new(200).set_body_string(body)).await;
        let refused = provider.client.listings(ListingState::Active, &FREE).await;
        assert!(matches!(refused, Err(QuoteError::Upstream(_))), "{body}: {refused:?}");
    }
}

#[tokio::test]
async fn no_calls_are_sent_after_the_key_was_refused() {
    let demo = "The **demo** API key is for demo purposes only. Please claim your free API key.";
    let provider = Provider::that_says_json(json!({ "Information": demo })).await;
    let refused = Err(QuoteError::KeyRefused);
    for of in ["AAPL", "MSFT", "KO"] {
        assert_eq!(provider.quote(of).await, refused);
    }
    assert!(provider.client.listings(ListingState::Active, &FREE).await.is_err());
    assert_eq!(provider.calls().await, 1);
}

/// A quote of AAPL on Friday, 20 November 2026, at `price`, with a previous close of 100.
fn quote_at(price: &str) -> Value {
    quote_with(&[
        ("02. open", json!(price)),
        ("03. high", json!(price)),
        ("04. low", json!(price)),
        ("05. price", json!(price)),
        ("08. previous close", json!("100.00")),
    ])
}

fn split_on(date: &str, factor: &str) -> Value {
    json!({ "symbol": "AAPL", "data": [{ "effective_date": date, "split_factor": factor }] })
}

#[tokio::test]
async fn a_jump_without_a_split_keeps_its_previous_close() {
    for (price_told, splits) in [
        ("500.00", json!({ "symbol": "AAPL", "data": [] })),
        ("140.01", json!({ "symbol": "AAPL", "data": [] })),
        ("59.99", json!({ "symbol": "AAPL", "data": [] })),
        ("10.00", split_on("2026-11-19", "10.0000")),
        ("10.00", split_on("2026-11-20", "2.0000")),
        ("10.00", json!({ "symbol": "MSFT", "data": [] })),
    ] {
        let provider = Provider::start().await;
        provider.answers("GLOBAL_QUOTE", quote_at(price_told)).await;
        provider.answers("SPLITS", splits.clone()).await;
        let quote = provider.quote("AAPL").await.unwrap();
        assert_eq!(
            (quote.price, quote.previous_close),
            (price(price_told), Some(price("100.00"))),
            "{splits}"
        );
    }
}

#[tokio::test]
async fn splits_are_requested_once_per_hour_while_a_price_jumps() {
    let provider = Provider::start().await;
    provider.answers("GLOBAL_QUOTE", quote_at("500.00")).await;
    provider.answers("SPLITS", json!({ "symbol": "AAPL", "data": [] })).await;
    for _ in 0..3 {
        assert!(provider.quote("AAPL").await.is_ok());
    }
    assert_eq!(provider.calls().await, 4);
}

#[tokio::test]
async fn the_previous_close_of_a_split_is_converted_to_new_shares() {
    let provider = Provider::start().await;
    provider.answers("GLOBAL_QUOTE", quote_at("10.20")).await;
    provider.answers("SPLITS", split_on("2026-11-20", "10.0000")).await;
    let quote = provider.quote("AAPL").await.unwrap();
    assert_eq!((quote.price, quote.previous_close), (price("10.20"), Some(price("10.00"))));
    let no_jump = Provider::start().await;
    no_jump.answers("GLOBAL_QUOTE", quote_at("140.00")).await;
    assert!(no_jump.quote("AAPL").await.is_ok());
    assert_eq!(no_jump.calls().await, 1);
}

#[tokio::test]
async fn a_jumping_newest_bar_is_held_back_and_older_mistakes_are_removed() {
    let flat = |price: &str| row(price, price, price, price, "1000");
    let series = json!({ "Meta Data": { "2. Symbol": "AAPL" }, "Time Series (Daily)": {
        "2026-11-16": flat("100.00"), "2026-11-17": flat("9000.00"), "2026-11-18": flat("101.00"),
        "2026-11-19": flat("102.00"), "2026-11-20": flat("10.30"),
    }});
    let dates = async |splits: Value| {
        let provider = Provider::start().await;
        provider.answers("TIME_SERIES_DAILY", series.clone()).await;
        provider.answers("SPLITS", splits).await;
        let bars = provider.bars(NOW).await.unwrap();
        bars.iter().map(|bar| bar.date.to_string()).collect::<Vec<_>>()
    };
    let sound = ["2026-11-16", "2026-11-18", "2026-11-19"];
    assert_eq!(dates(json!({ "symbol": "AAPL", "data": [] })).await, sound);
    assert_eq!(dates(json!({ "nothing": "of use" })).await, sound);
    let with_newest = ["2026-11-16", "2026-11-18", "2026-11-19", "2026-11-20"];
    assert_eq!(dates(split_on("2026-11-20", "10.0000")).await, with_newest);
}

#[tokio::test]
async fn an_entitled_key_has_delayed_quotes() {
    let paid = Paid::entitled_to(Entitlement::Delayed).await;
    let fields = quote_with(&[])["Global Quote"].clone();
    let body = json!({ "Global Quote - DATA DELAYED BY 15 MINUTES": fields });
    paid.answers_with("GLOBAL_QUOTE", ("entitlement", "delayed"), body).await;
    let aapl = symbol("AAPL");
    let quote = paid
        .client
        .quotes_by_symbol(std::slice::from_ref(&aapl), instant(NOW))
        .await
        .remove(&aapl)
        .unwrap()
        .unwrap();
    assert_eq!((quote.freshness, quote.as_of), (Freshness::Delayed, instant("2026-11-20T21:00:00Z")));
    assert_eq!(paid.client.freshness(), Freshness::Delayed);
}

#[tokio::test]
async fn a_refused_entitlement_is_not_used_for_a_day() {
    let paid = Paid::entitled_to(Entitlement::Realtime).await;
    paid.answers_with("GLOBAL_QUOTE", ("entitlement", "realtime"), json!({ "Information": PREMIUM })).await;
    Mock::given(query_param("function", "GLOBAL_QUOTE"))
        .and(query_param_is_missing("entitlement"))
        .respond_with(ResponseTemplate::new(200).set_body_json(quote_with(&[])))
        .mount(&paid.server)
        .await;
    let aapl = [symbol("AAPL")];
    for calls in [2, 3] {
        let quote =
            paid.client.quotes_by_symbol(&aapl, instant(NOW)).await.remove(&aapl[0]).unwrap().unwrap();
        assert_eq!(quote.freshness, Freshness::EndOfDay);
        assert_eq!(paid.calls("GLOBAL_QUOTE").await, calls);
    }
    paid.seconds_later.store(24 * 3600, Ordering::SeqCst);
    assert!(paid.client.quotes_by_symbol(&aapl, instant(NOW)).await[&aapl[0]].is_ok());
    assert_eq!(paid.calls("GLOBAL_QUOTE").await, 5);
}

/// A client that sends its requests on the evening of the recording.
async fn asked_at_the_recording(answer: Value) -> Paid {
    let paid = Paid::entitled_to(Entitlement::Realtime).await;
    let recorded_at: DateTime<Utc> = "2024-10-31T00:00:00Z".parse().unwrap();
    let start: DateTime<Utc> = NOW.parse().unwrap();
    paid.seconds_later.store((recorded_at - start).num_seconds(), Ordering::SeqCst);
    paid.answers("REALTIME_BULK_QUOTES", answer).await;
    paid
}

#[tokio::test]
async fn recorded_bulk_quotes_are_parsed_from_one_call() {
    let (answer, expected) = case("av_bulk_quotes");
    let paid = asked_at_the_recording(answer).await;
    assert_eq!(paid.client.quotes_at_once(), 100);
    let asked = [symbol("MSTR"), symbol("AAPL"), symbol("TSCO.LON")];
    let quotes = paid.client.quotes_by_symbol(&asked, instant(NOW)).await;
    for told in expected["quotes"].as_array().unwrap() {
        let quote = quotes[&symbol(&said(told, "symbol"))].clone().unwrap();
        assert_eq!(quote.price, price(&said(told, "price")));
        assert_eq!(quote.as_of, instant(&said(told, "as_of_utc")));
        assert_eq!((quote.freshness, quote.stale), (Freshness::Realtime, false));
    }
    assert_eq!(quotes[&asked[0]].clone().unwrap().previous_close, Some(price("258.24")));
    assert!(matches!(quotes[&asked[2]], Err(QuoteError::NotTradable { .. })));
    assert_eq!(paid.server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn invalid_bulk_rows_are_not_prices() {
    let good = json!({ "symbol": "AAPL", "timestamp": "2024-10-30 15:59:53.814", "open": "232.62",
        "high": "233.47", "low": "229.56", "close": "230.1", "volume": "47070807", "previous_close": "233.67" });
    for (field, value) in [
        ("close", ""),
        ("close", "0"),
        ("close", "-1"),
        ("close", "None"),
        ("close", "1000000000000"),
        ("close", "400.00"),
        ("timestamp", "2099-99-99"),
        ("timestamp", "2024-10-27 12:00:00"),
        ("timestamp", "2024-10-30 04:00:00"),
        ("timestamp", "yesterday"),
    ] {
        let mut row = good.clone();
        row[field] = json!(value);
        let paid = asked_at_the_recording(json!({ "message": "success", "data": [row] })).await;
        let quotes = paid.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
        assert!(matches!(quotes[&symbol("AAPL")], Err(QuoteError::Upstream(_))), "{field} {value}");
    }
    let mut row = good.clone();
    row["timestamp"] = json!("2099-10-30 15:59:53");
    let paid = asked_at_the_recording(json!({ "message": "success", "data": [row] })).await;
    let quotes = paid.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
    assert!(matches!(quotes[&symbol("AAPL")], Err(QuoteError::ClockAhead { .. })));
}

#[tokio::test]
async fn symbols_missing_from_a_bulk_answer_are_requested_singly() {
    let paid = asked_at_the_recording(json!({ "message": "success", "data": [] })).await;
    let body = quote_with(&[("07. latest trading day", json!("2024-10-30"))]);
    paid.answers_with("GLOBAL_QUOTE", ("symbol", "AAPL"), body).await;
    paid.answers_with("GLOBAL_QUOTE", ("symbol", "NOSUCH"), json!({ "Global Quote": {} })).await;
    let quotes = paid.client.quotes_by_symbol(&[symbol("AAPL"), symbol("NOSUCH")], instant(NOW)).await;
    assert!(quotes[&symbol("AAPL")].is_ok());
    assert_eq!(quotes[&symbol("NOSUCH")], Err(QuoteError::UnknownSymbol(symbol("NOSUCH"))));
}

#[tokio::test]
async fn a_key_without_bulk_quotes_requests_symbols_singly() {
    let made_up = json!({ "symbol": "XXYYZZ", "timestamp": "2099-99-99" });
    let refusal = json!({ "endpoint": "Realtime Bulk Quotes", "data": [made_up],
        "message": "This is a premium endpoint. You may subscribe to any of the premium plans." });
    let paid = Paid::entitled_to(Entitlement::Delayed).await;
    paid.answers("REALTIME_BULK_QUOTES", refusal).await;
    for of in ["AAPL", "MSFT"] {
        paid.answers_with("GLOBAL_QUOTE", ("symbol", of), quote_with(&[("01. symbol", json!(of))])).await;
    }
    let asked = [symbol("AAPL"), symbol("MSFT")];
    for _ in 0..2 {
        let quotes = paid.client.quotes_by_symbol(&asked, instant(NOW)).await;
        assert!(quotes.len() == 2 && quotes.values().all(Result::is_ok));
    }
    assert_eq!(paid.calls("REALTIME_BULK_QUOTES").await, 1);
    assert_eq!(paid.client.quotes_at_once(), 1);
    paid.seconds_later.store(24 * 3600, Ordering::SeqCst);
    assert_eq!(paid.client.quotes_at_once(), 100);
}

#[tokio::test]
async fn a_rate_limit_in_bulk_stops_all_calls() {
    let paid = Paid::entitled_to(Entitlement::Delayed).await;
    let note = "Minute-level rate limit exceed. Please reach out for your premium subscription plan.";
    paid.answers("REALTIME_BULK_QUOTES", json!({ "Information": note })).await;
    let many: Vec<_> = (0..250).map(|n| symbol(&format!("S{n}"))).collect();
    let quotes = paid.client.quotes_by_symbol(&many, instant(NOW)).await;
    assert!(quotes.len() == 250);
    assert!(quotes.values().all(|answer| matches!(answer, Err(QuoteError::RateLimited { .. }))));
    assert_eq!(paid.server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_free_key_requests_neither_bulk_quotes_nor_long_series() {
    let provider = Provider::start().await;
    provider.answers("GLOBAL_QUOTE", quote_with(&[])).await;
    provider.client.quotes_by_symbol(&[symbol("AAPL"), symbol("MSFT")], instant(NOW)).await;
    assert!(provider.bars(NOW).await.is_err());
    for call in provider.server.received_requests().await.unwrap() {
        let query = call.url.query().unwrap();
        assert!(
            !query.contains("BULK") && !query.contains("full") && !query.contains("entitlement"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_refused_long_series_is_replaced_by_a_short_one() {
    let paid = Paid::entitled_to(Entitlement::Delayed).await;
    let refusal =
        "The outputsize=full parameter value is a premium feature for the TIME_SERIES_DAILY endpoint.";
    paid.answers_with("TIME_SERIES_DAILY", ("outputsize", "full"), json!({ "Information": refusal })).await;
    let series = json!({ "Meta Data": { "2. Symbol": "AAPL" },
        "Time Series (Daily)": { "2026-11-20": row("10", "12", "9", "11", "1000") } });
    paid.answers_with("TIME_SERIES_DAILY", ("outputsize", "compact"), series).await;
    let bars = async |first| {
        let bars = paid.client.daily_bars(&symbol("AAPL"), day(first), day("2026-11-20"), instant(NOW)).await;
        bars.unwrap().len()
    };
    assert_eq!((bars("1980-01-01").await, paid.calls("TIME_SERIES_DAILY").await), (1, 2));
    assert_eq!((bars("1980-01-01").await, paid.calls("TIME_SERIES_DAILY").await), (1, 3));
}

impl Paid {
    /// The features for which the client is configured, and whether each was refused.
    fn features(&self) -> Vec<(KeyFeature, bool)> {
        let states = self.client.features().into_iter();
        states.map(|state| (state.feature, state.refused_until.is_some())).collect()
    }
}

#[tokio::test]
async fn refused_features_are_reported_and_replaced_by_those_of_a_free_key() {
    use KeyFeature::{BulkQuotes, FullHistory, RealtimePrices};
    let paid = Paid::entitled_to(Entitlement::Realtime).await;
    assert_eq!(paid.features(), [(RealtimePrices, false), (BulkQuotes, false), (FullHistory, false)]);
    assert_eq!(paid.client.freshness(), Freshness::Realtime);
    let refusal = json!({ "Information": PREMIUM });
    paid.answers_with("GLOBAL_QUOTE", ("entitlement", "realtime"), refusal.clone()).await;
    paid.answers("REALTIME_BULK_QUOTES", refusal.clone()).await;
    paid.answers_with("TIME_SERIES_DAILY", ("outputsize", "full"), refusal).await;
    let asked = [symbol("AAPL"), symbol("MSFT")];
    paid.client.quotes_by_symbol(&asked, instant(NOW)).await;
    assert_eq!(paid.features(), [(RealtimePrices, true), (BulkQuotes, true), (FullHistory, false)]);
    assert_eq!(paid.client.freshness(), Freshness::EndOfDay, "closes take their place");
    assert_eq!(paid.client.quotes_at_once(), 1);
    let first = day("1980-01-01");
    let _ = paid.client.daily_bars(&asked[0], first, day("2026-11-20"), instant(NOW)).await;
    assert_eq!(paid.features(), [(RealtimePrices, true), (BulkQuotes, true), (FullHistory, true)]);
    paid.seconds_later.store(24 * 3600, Ordering::SeqCst);
    assert_eq!(paid.features(), [(RealtimePrices, false), (BulkQuotes, false), (FullHistory, false)]);
    assert_eq!(paid.client.freshness(), Freshness::Realtime);
}

#[tokio::test]
async fn a_paid_key_without_an_entitlement_has_closes_and_full_series() {
    let plan = AlphaVantagePlan { per_minute: Some(75), ..AlphaVantagePlan::default() };
    let paid = Paid::with_plan(plan).await;
    assert_eq!(paid.features(), [(KeyFeature::FullHistory, false)]);
    assert_eq!((paid.client.freshness(), paid.client.quotes_at_once()), (Freshness::EndOfDay, 1));
    let series = json!({ "Meta Data": { "2. Symbol": "AAPL" },
        "Time Series (Daily)": { "2026-11-20": row("10", "12", "9", "11", "1000") } });
    paid.answers_with("TIME_SERIES_DAILY", ("outputsize", "full"), series).await;
    let (aapl, first) = (symbol("AAPL"), day("1980-01-01"));
    let bars = paid.client.daily_bars(&aapl, first, day("2026-11-20"), instant(NOW)).await.unwrap();
    assert_eq!(bars.len(), 1);
    for call in paid.server.received_requests().await.unwrap() {
        assert!(!call.url.query().unwrap().contains("entitlement"));
    }
    let free = Paid::with_plan(AlphaVantagePlan::default()).await;
    assert_eq!(free.features(), []);
}

/// A heading that names no class means the requested class: by that class, a price of the previous session is stale.
#[tokio::test]
async fn a_quote_without_a_class_in_its_heading_has_the_requested_class() {
    for (entitlement, freshness, as_of) in [
        (Entitlement::Realtime, Freshness::Realtime, "2026-11-20T16:00:00Z"),
        (Entitlement::Delayed, Freshness::Delayed, "2026-11-20T15:45:00Z"),
    ] {
        let paid = Paid::entitled_to(entitlement).await;
        // 11:00 in New York on that day.
        let start: DateTime<Utc> = NOW.parse().unwrap();
        let morning = "2026-11-20T16:00:00Z".parse::<DateTime<Utc>>().unwrap();
        paid.seconds_later.store((morning - start).num_seconds(), Ordering::SeqCst);
        let aapl = [symbol("AAPL")];
        for (trading_day, expected) in [("2026-11-20", as_of), ("2026-11-19", "2026-11-19T21:00:00Z")] {
            paid.server.reset().await;
            paid.answers("GLOBAL_QUOTE", quote_with(&[("07. latest trading day", json!(trading_day))])).await;
            let quote =
                paid.client.quotes_by_symbol(&aapl, morning.into()).await.remove(&aapl[0]).unwrap().unwrap();
            assert_eq!((quote.freshness, quote.as_of), (freshness, instant(expected)), "{trading_day}");
            let stale = freshness.is_stale(quote.as_of, morning.into(), domain::Calendar::Xnys);
            assert_eq!(stale, trading_day == "2026-11-19");
        }
    }
}

#[tokio::test]
async fn a_feature_is_tested_with_one_call_for_any_key() {
    let free = Paid::with_plan(AlphaVantagePlan::default()).await;
    free.answers(
        "TIME_SERIES_DAILY",
        json!({ "Meta Data": { "2. Symbol": "AAPL" },
        "Time Series (Daily)": { "2026-11-20": row("10", "12", "9", "11", "1000") } }),
    )
    .await;
    free.answers_with("GLOBAL_QUOTE", ("entitlement", "delayed"), quote_with(&[])).await;
    free.answers_with("GLOBAL_QUOTE", ("entitlement", "realtime"), json!({ "Information": PREMIUM })).await;
    free.answers("REALTIME_BULK_QUOTES", json!({ "Information": PREMIUM })).await;
    let mut told = Vec::new();
    for feature in KeyFeature::ALL {
        told.push(free.client.try_feature(feature, &symbol("AAPL"), &FREE).await.unwrap());
    }
    let [delayed, realtime, bulk, full] = told.as_slice() else { panic!("{told:?}") };
    assert!(delayed.as_ref().unwrap().starts_with("225.97 as of 2026-11-20"), "{delayed:?}");
    assert_eq!((realtime, bulk), (&None, &None));
    assert_eq!(full.as_deref(), Some("1 sessions since 2026-11-20"));
    assert_eq!(free.server.received_requests().await.unwrap().len(), 4);
}
