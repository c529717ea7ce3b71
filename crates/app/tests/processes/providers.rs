//! The program with a mock server in place of a provider of real prices.

use std::time::Duration;

use domain::Calendar;
use domain::calendar::exchange_date;
use serde_json::{Value, json};
use services::Clock;
use wiremock::matchers::{any, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::client::Client;
use crate::installation::{Installation, Server, free_port};
use crate::process::eventually;

const KEY: &str = "SECRETKEY0000";
const PATIENCE: Duration = Duration::from_secs(30);

/// A provider that returns a table of listings, and the last two sessions of every symbol.
async fn provider() -> MockServer {
    let server = MockServer::start().await;
    let rows: String =
        (0..20).map(|n| format!("S{n},Stock number {n},NYSE,Stock,2000-01-03,null,Active\r\n")).collect();
    let table = format!("symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n{rows}");
    Mock::given(query_param("function", "LISTING_STATUS"))
        .respond_with(ResponseTemplate::new(200).set_body_string(table))
        .mount(&server)
        .await;
    let now = Clock::system().now();
    let last = Calendar::Xnys.last_closed(now).date;
    let before = Calendar::Xnys.before(last).date;
    let series = move |request: &Request| {
        let symbol = request.url.query_pairs().find(|(name, _)| name == "symbol");
        let symbol = symbol.map_or_else(String::new, |(_, value)| value.into_owned());
        let bar = |close: &str| json!({"1. open": close, "2. high": close, "3. low": close, "4. close": close, "5. volume": "1000"});
        let days = json!({last.to_string(): bar("101.50"), before.to_string(): bar("100.00")});
        ResponseTemplate::new(200)
            .set_body_json(json!({"Meta Data": {"2. Symbol": symbol}, "Time Series (Daily)": days}))
    };
    Mock::given(query_param("function", "TIME_SERIES_DAILY")).respond_with(series).mount(&server).await;
    server
}

async fn calls(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

fn with_key(installation: Installation, provider: &MockServer) -> Installation {
    installation.with("ALPHAVANTAGE_API_KEY", KEY).with("ALPHAVANTAGE_BASE_URL", &provider.uri())
}

async fn quotes(servers: &[&Server], token: &str, symbols: std::ops::Range<usize>) -> Vec<(u16, Value)> {
    let asking = symbols.map(|n| {
        let client = Client::new(&[servers[n % servers.len()].url.clone()]).with_token(token);
        tokio::spawn(async move {
            let answer = client.get(&format!("/api/v1/stocks/S{n}/quote")).await;
            (answer.status, serde_json::from_str(&answer.text).unwrap())
        })
    });
    let mut answers = Vec::new();
    for answer in asking.collect::<Vec<_>>() {
        answers.push(answer.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_postgres_share_the_daily_limit_of_25_calls_even_after_a_restart() {
    let provider = provider().await;
    let installation = with_key(Installation::on_postgres(), &provider);
    installation.migrate().await;
    let first = installation.serve().await;
    let mut books = installation.books();
    eventually("the table of listings is there", PATIENCE, async || {
        (books.count("listings WHERE status = 'active'") == 20).then_some(())
    })
    .await;
    assert_eq!(calls(&provider).await, 1);
    let client = Client::new(std::slice::from_ref(&first.url));
    let sam = client.register().await;
    let found = sam.client.get("/api/v1/stocks?search=number").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 20);

    // All but one of the day's calls are used, and the last one is reserved for requests of users.
    let day = exchange_date(Clock::system().now());
    let budget = |pot: &str, used: u32| {
        format!(
            "INSERT INTO provider_budget VALUES ('alpha_vantage/day/{day}/{pot}', {used}, now() + interval '1 day') \
             ON CONFLICT (key) DO UPDATE SET used = {used};"
        )
    };
    books.execute(&[budget("scheduled", 15), budget("first_sight", 5), budget("reserve", 4)].concat());
    let second = installation.serve().await;
    let answers = quotes(&[&first, &second], &sam.token, 0..8).await;
    let priced: Vec<&Value> =
        answers.iter().filter(|(status, _)| *status == 200).map(|(_, body)| body).collect();
    assert_eq!(priced.len(), 1, "{answers:?}");
    assert_eq!(priced[0]["price"], "101.50");
    assert!(answers.iter().all(|(status, body)| *status == 200 || body["code"] == "no_price"), "{answers:?}");
    assert_eq!(calls(&provider).await, 2);

    // After a restart the server still has the price and has no calls left.
    let symbol = priced[0]["symbol"].as_str().unwrap().to_owned();
    drop((first, second));
    let again = installation.serve().await;
    let client = Client::new(std::slice::from_ref(&again.url)).with_token(&sam.token);
    let kept = client.get(&format!("/api/v1/stocks/{symbol}/quote")).await.expect(200);
    assert_eq!((kept["price"].as_str(), kept["source"].as_str()), (Some("101.50"), Some("alpha_vantage")));
    let refused = client.get("/api/v1/stocks/S19/quote").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(calls(&provider).await, 2);
    assert!(!again.process.log().contains(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_the_price_source_with_positions_needs_an_option_and_prices_are_never_mixed() {
    let provider = provider().await;
    let mut installation = Installation::embedded();
    let server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let portfolio = sam.open_portfolio("10000.00").await;
    let bought = sam.buy(portfolio, "AAPL", "1").await;
    drop(server);

    installation = with_key(installation, &provider);
    let refused = installation.run(&["serve"]).await;
    let told = refused.failed();
    for part in ["simulated/sim-v2", "alpha_vantage", "MARKET_DATA", "--accept-price-source-change"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(installation.run(&["snapshot"]).await.failed().contains("--accept-price-source-change"));
    installation.verify().await;
    assert_eq!(calls(&provider).await, 0);

    // The provider does not answer, but the simulated price does not replace the real one.
    provider.reset().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(500)).mount(&provider).await;
    let port = free_port();
    let server = installation.serve_with(port, &["--accept-price-source-change"]).await;
    let client = Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token);
    let quote = client.get("/api/v1/stocks/AAPL/quote").await;
    assert_eq!(quote.status, 503, "{}", quote.text);
    let body = json!({"symbol": "AAPL", "side": "sell", "quantity": "1", "type": "market"});
    let sold = client.post(&format!("/api/v1/portfolios/{portfolio}/orders"), &body).await;
    assert_eq!(sold.status, 503, "{}", sold.text);
    // The position still shows the last simulated price, marked as stale. The server stores prices from time to time,
    // so it is the price of the fill or a later one.
    let held = client.get(&format!("/api/v1/portfolios/{portfolio}/positions")).await.expect(200);
    let position = &held["items"][0];
    assert_eq!(position["source"], "simulated/sim-v2", "{position}");
    assert_eq!(position["stale"], true, "{position}");
    let instant = |text: &Value| text.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(instant(&position["as_of"]) >= instant(&bought["receipt"]["quoted_at"]), "{position} {bought}");
    drop(server);
    // The option is needed only once.
    let server = installation.serve().await;
    drop(server);
    installation = installation.without("ALPHAVANTAGE_API_KEY");
    assert!(installation.run(&["serve"]).await.failed().contains("alpha_vantage"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_checked_only_after_confirmation_and_a_bad_key_is_never_shown() {
    let provider = MockServer::start().await;
    let refusal = json!({"Error Message": format!("the parameter apikey is invalid or missing. You sent {KEY}. Please claim one.")});
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(refusal)).mount(&provider).await;
    let installation = with_key(Installation::embedded(), &provider);
    // The database counts the calls.
    installation.run(&["migrate", "--create"]).await.succeeded();
    let asked = installation.run(&["providers", "check"]).await;
    assert!(asked.failed().contains("--yes"));
    assert!(asked.stdout.contains("0 used, 25 left"), "{}", asked.stdout);
    assert_eq!(calls(&provider).await, 0);

    let checked = installation.run(&["providers", "check", "--yes", "--symbol", "AAPL"]).await;
    assert_eq!(checked.code, Some(1));
    for part in [
        "failed  quote",
        "the price source does not accept the API key",
        "ALPHAVANTAGE_API_KEY",
        "not tried: search",
        "1 used, 24 left",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
    }
    assert_eq!(calls(&provider).await, 1, "the others would fail alike");
    assert!(!format!("{checked:?}").contains(KEY));

    let simulated = Installation::embedded();
    assert!(simulated.run(&["providers", "check"]).await.succeeded().contains("built-in market"));
    let wrong =
        with_key(Installation::embedded(), &provider).run(&["providers", "check", "--symbol", "?"]).await;
    assert!(wrong.failed().contains("--symbol"));
}

/// A provider for a key whose plan has long series and delayed prices, but neither real-time prices nor bulk quotes.
async fn paid_provider() -> MockServer {
    let server = MockServer::start().await;
    let last = Calendar::Xnys.last_closed(Clock::system().now()).date;
    let answer = move |request: &Request| {
        let parameter = |name: &str| {
            let found = request.url.query_pairs().find(|(key, _)| key == name);
            found.map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let of = parameter("symbol");
        let premium = json!({ "Information": "Thank you! This is a premium endpoint." });
        let quote = json!({ "Global Quote": {"01. symbol": of, "02. open": "101.00", "03. high": "101.00",
            "04. low": "101.00", "05. price": "101.00", "06. volume": "1000",
            "07. latest trading day": last.to_string(), "08. previous close": "100.00"} });
        let bar = json!({"1. open": "101.00", "2. high": "101.00", "3. low": "101.00", "4. close": "101.00",
            "5. volume": "1000"});
        let body = match (parameter("function").as_str(), parameter("entitlement").as_str()) {
            ("GLOBAL_QUOTE", "realtime") | ("REALTIME_BULK_QUOTES", _) => premium,
            ("GLOBAL_QUOTE", _) => quote,
            ("TIME_SERIES_DAILY", _) => json!({ "Meta Data": { "2. Symbol": of },
                "Time Series (Daily)": { last.to_string(): bar } }),
            ("SYMBOL_SEARCH", _) => json!({ "bestMatches": [] }),
            ("OVERVIEW", _) => {
                json!({"Symbol": of, "Name": "A Company", "Exchange": "NYSE", "Currency": "USD",
                "Sector": "TECHNOLOGY"})
            }
            ("LISTING_STATUS", _) => {
                return ResponseTemplate::new(200).set_body_string(
                    "symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n\
                     IBM,A Company,NYSE,Stock,2000-01-03,null,Active\r\n",
                );
            }
            _ => json!({ "symbol": of, "data": [] }),
        };
        ResponseTemplate::new(200).set_body_json(body)
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_check_reports_the_features_of_the_key_and_the_matching_settings() {
    let provider = paid_provider().await;
    // Enough calls per minute, so that none has to wait.
    let fast = |installation: Installation| installation.with("ALPHAVANTAGE_CALLS_PER_MINUTE", "6000");
    let installation = fast(with_key(Installation::embedded(), &provider));
    installation.run(&["migrate", "--create"]).await.succeeded();
    let checked = installation.run(&["providers", "check", "--yes", "--symbol", "IBM"]).await;
    for part in [
        "ok      full history",
        "no      bulk quotes",
        "ok      delayed",
        "ALPHAVANTAGE_ENTITLEMENT=delayed gives these prices",
        "no      realtime     the API key does not cover this",
        "no limit",
    ] {
        assert!(checked.succeeded().contains(part), "{part}: {}", checked.stdout);
    }
    // A feature that is configured but not included is a failure.
    let wrong =
        fast(with_key(Installation::embedded(), &provider)).with("ALPHAVANTAGE_ENTITLEMENT", "realtime");
    wrong.run(&["migrate", "--create"]).await.succeeded();
    let checked = wrong.run(&["providers", "check", "--yes", "--symbol", "IBM"]).await;
    assert_eq!(checked.code, Some(1));
    for part in ["failed  realtime", "Check your plan and ALPHAVANTAGE_ENTITLEMENT.", "failed  bulk quotes"] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
    }
    let refused = with_key(Installation::embedded(), &provider).with("ALPHAVANTAGE_ENTITLEMENT", "realtime");
    assert!(refused.run(&["serve"]).await.failed().contains("needs ALPHAVANTAGE_CALLS_PER_MINUTE"));
}
