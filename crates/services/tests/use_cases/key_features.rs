//! A paid key of a provider: its prices fill orders during the session, and all processes report the features that the
//! provider refuses.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Calendar, Freshness, OrderStatus, Side};
use market_data::{
    AlphaVantage, AlphaVantageConfig, AlphaVantagePlan, Entitlement, FeatureState, KeyFeature, QuoteSource,
    Rules,
};
use serde_json::json;
use services::accounts::actor::Administrator;
use services::jobs::JobKind;
use services::testing::FixedPrices;
use services::{Market, Services};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::harness::{Exchange, moment, order, shares, symbol};

fn plan(entitlement: Entitlement) -> AlphaVantagePlan {
    AlphaVantagePlan { per_minute: Some(75), per_day: None, entitlement: Some(entitlement) }
}

/// A deployment on Friday, 20 November 2026, 14:12 in New York.
async fn deployment(covers_entitlement: bool) -> (Exchange, MockServer, Services) {
    let exchange = Exchange::with(FixedPrices::of(Freshness::Delayed, Calendar::Xnys)).await;
    let server = MockServer::start().await;
    let answer = move |request: &Request| {
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let of = parameter("symbol");
        let premium = || json!({ "Information": "Thank you! This is a premium endpoint." });
        let body = match (parameter("function").as_str(), parameter("entitlement").as_str()) {
            ("REALTIME_BULK_QUOTES", _) => premium(),
            ("GLOBAL_QUOTE", "delayed") if !covers_entitlement => premium(),
            ("GLOBAL_QUOTE", entitlement) => {
                let (heading, day, price) = match entitlement {
                    "" => ("Global Quote", "2026-11-19", "100.00"),
                    _ => ("Global Quote - DATA DELAYED BY 15 MINUTES", "2026-11-20", "104.00"),
                };
                json!({ heading: {"01. symbol": of, "02. open": price, "03. high": price, "04. low": price,
                    "05. price": price, "06. volume": "1000", "07. latest trading day": day,
                    "08. previous close": "100.00"} })
            }
            ("TIME_SERIES_DAILY", _) => {
                let bar = json!({"1. open": "100.00", "2. high": "100.00", "3. low": "100.00", "4. close": "100.00",
                    "5. volume": "1000"});
                json!({ "Meta Data": { "2. Symbol": of },
                    "Time Series (Daily)": { "2026-11-18": bar, "2026-11-19": bar } })
            }
            ("OVERVIEW", _) => json!({"Symbol": of, "AssetType": "Common Stock", "Name": "A Company",
                "Exchange": "NYSE", "Currency": "USD", "Country": "USA", "Sector": "TECHNOLOGY"}),
            _ => json!({ "symbol": of, "data": [] }),
        };
        ResponseTemplate::new(200).set_body_json(body)
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let process = process(&exchange, &server);
    (exchange, server, process)
}

fn process(exchange: &Exchange, server: &MockServer) -> Services {
    exchange.process_on_market(|store, clock| {
        let now = clock.clone();
        let plan = plan(Entitlement::Delayed);
        let source = AlphaVantage::new(AlphaVantageConfig {
            api_key: "TESTKEY0000".to_owned().into(),
            base_url: server.uri().parse().unwrap(),
            min_gap: Duration::ZERO,
            now: Arc::new(move || now.wall().utc()),
        });
        let source: Arc<dyn QuoteSource> = Arc::new(source.unwrap().with_plan(plan));
        let rules = Rules { min_gap: TimeDelta::zero(), ..Rules::alpha_vantage(plan) };
        Market::limited(source, rules, store, clock)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn market_orders_fill_in_the_session_at_the_prices_of_an_entitled_key() {
    let (exchange, _server, process) = deployment(true).await;
    let sam = exchange.investor("sam", "1000.00").await;
    let bought =
        process.trading().place_order(sam.control(), order(Side::Buy, "IBM", shares("1"))).await.unwrap();
    assert_eq!(bought.order.order.status, OrderStatus::Filled);
    assert_eq!(bought.order.order.filled_price.unwrap().to_string(), "104.000000");
    let quote = process.stocks().quote(&symbol("IBM")).await.unwrap();
    assert_eq!((quote.freshness, quote.as_of), (Freshness::Delayed, moment("2026-11-20T18:57:00Z")));
    exchange.assert_books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_its_configured_features_has_closes_and_is_reported() {
    let (exchange, server, worker) = deployment(false).await;
    let web = process(&exchange, &server);
    let sam = exchange.investor("sam", "1000.00").await;
    let refused = async |services: &Services| {
        let features = services.stocks().provider_state().await.unwrap().features;
        let refused = features.into_iter().filter(|state| state.refused_until.is_some());
        refused.map(|state| state.name).collect::<Vec<_>>()
    };
    assert_eq!(refused(&worker).await, [""; 0]);
    let bought =
        worker.trading().place_order(sam.control(), order(Side::Buy, "IBM", shares("1"))).await.unwrap();
    assert_eq!(bought.order.order.status, OrderStatus::Filled, "at the newest close");
    assert_eq!(bought.order.order.filled_price.unwrap().to_string(), "100.000000");
    assert_eq!(
        (worker.market().freshness(), web.market().freshness()),
        (Freshness::EndOfDay, Freshness::Delayed)
    );
    worker.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
    for run in worker.jobs().due_runs().await.unwrap() {
        assert!(worker.jobs().run_job(run.id, "worker").await.unwrap());
    }
    for services in [&worker, &web] {
        assert_eq!(refused(services).await, ["delayed_prices"]);
    }
    exchange.pass(TimeDelta::hours(25));
    assert_eq!(refused(&web).await, [""; 0], "it is tried again");
    assert_eq!(worker.market().freshness(), Freshness::Delayed);
    exchange.assert_books_balance().await;
}

#[tokio::test]
async fn a_refused_feature_is_stored_once_and_read_by_all() {
    let until = moment("2026-11-21T19:12:00Z").utc();
    let state = |feature, refused_until| FeatureState { feature, refused_until };
    let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
    let exchange = Exchange::with(prices.clone()).await;
    let with = |features| {
        let source = Arc::new(prices.clone().with_features(features));
        exchange.process_on_market(|store, clock| {
            Market::limited(source, Rules::ALPHA_VANTAGE_FREE, store, clock)
        })
    };
    let worker = with(vec![state(KeyFeature::FullHistory, Some(until))]);
    let web = with(vec![state(KeyFeature::FullHistory, None)]);
    for _ in 0..2 {
        worker.jobs().request_run(&Administrator::operator("ada"), JobKind::RefreshQuotes).await.unwrap();
        for run in worker.jobs().due_runs().await.unwrap() {
            assert!(worker.jobs().run_job(run.id, "worker").await.unwrap());
        }
    }
    let found = web.stocks().provider_state().await.unwrap().features;
    assert_eq!((found[0].name, found[0].refused_until), ("full_history", Some(until.into())));
    // A free key has no features to report.
    assert_eq!(with(Vec::new()).stocks().provider_state().await.unwrap().features, []);
}
