//! Faulty connections and answers, and the errors that are reported for them, which never contain the key.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use market_data::{
    AlphaVantage, AlphaVantageConfig, ListingState, QuoteError, QuoteSource, Yahoo, YahooConfig,
};
use secrecy::SecretString;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;
use wiremock::ResponseTemplate;

use super::alpha_vantage::{KEY, NOW, Provider};
use super::{FREE, SourceQuotes, instant, symbol};

const DEADLINE: Duration = Duration::from_millis(300);

/// Answers each connection with these bytes, one per interval `every`, and then hangs or closes the connection.
fn dripping(bytes: &'static [u8], every: Duration, hangs: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let _ = connection.read(&mut [0; 4096]);
                for byte in bytes {
                    if connection.write_all(&[*byte]).and_then(|()| connection.flush()).is_err() {
                        return;
                    }
                    std::thread::sleep(every);
                }
                if hangs {
                    let _ = connection.read(&mut [0; 1]);
                }
            });
        }
    });
    address
}

fn clients(address: &str) -> [Box<dyn QuoteSource>; 2] {
    let now = || Arc::new(|| NOW.parse().unwrap());
    let alpha_vantage = AlphaVantage::new(AlphaVantageConfig {
        api_key: SecretString::from(KEY),
        base_url: address.parse().unwrap(),
        min_gap: Duration::ZERO,
        now: now(),
    });
    let yahoo = Yahoo::new(YahooConfig {
        base_url: address.parse().unwrap(),
        cookie_url: address.parse().unwrap(),
        min_gap: Duration::ZERO,
        now: now(),
    });
    [
        Box::new(alpha_vantage.unwrap().with_deadline(DEADLINE)),
        Box::new(yahoo.unwrap().with_deadline(DEADLINE)),
    ]
}

async fn answers(address: &str) -> Vec<QuoteError> {
    let mut errors = Vec::new();
    for client in clients(address) {
        let started = Instant::now();
        let mut quotes = client.quotes_by_symbol(&[symbol("AAPL")], instant(NOW)).await;
        errors.push(quotes.remove(&symbol("AAPL")).unwrap().unwrap_err());
        assert!(started.elapsed() < DEADLINE * 10, "{:?}", started.elapsed());
    }
    errors
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{ \"Global Quote\": { ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_abandoned() {
    let slowly = Duration::from_millis(20);
    for (bytes, every) in [(HEAD, slowly), (HEAD, Duration::ZERO), (&b""[..], Duration::ZERO)] {
        for error in answers(&dripping(bytes, every, true)).await {
            assert_eq!(error, QuoteError::Unreachable);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_answer_is_rejected() {
    for error in answers(&dripping(HEAD, Duration::ZERO, false)).await {
        assert!(matches!(error, QuoteError::Upstream(_) | QuoteError::Unreachable), "{error}");
    }
    for error in answers(&dripping(b"this is not HTTP\r\n\r\n", Duration::ZERO, false)).await {
        assert_eq!(error, QuoteError::Unreachable);
    }
}

/// Stores everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_the_log_nor_errors_contain_the_key() {
    let log = Log::default();
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(everything.finish());
    let mut told = String::new();
    let echo = format!("Something about {KEY} and {} and ?apikey={KEY}", KEY.to_lowercase());
    let limit = format!(
        "We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day."
    );
    let invalid = format!("the parameter apikey is invalid or missing: {KEY}");
    for answer in [
        ResponseTemplate::new(200).set_body_json(json!({ "Information": echo })),
        ResponseTemplate::new(200).set_body_json(json!({ "Note": limit })),
        ResponseTemplate::new(200).set_body_json(json!({ "Error Message": invalid })),
        ResponseTemplate::new(500).set_body_string(echo.clone()),
        ResponseTemplate::new(302).insert_header("location", format!("/query?apikey={KEY}")),
        ResponseTemplate::new(200).set_body_json(json!({ "Global Quote": { "01. symbol": KEY } })),
        ResponseTemplate::new(200).set_body_string(format!("symbol,{KEY}\n1,2")),
    ] {
        let provider = Provider::that_says(answer).await;
        let errors = [
            provider.quote("AAPL").await.unwrap_err(),
            provider.client.search("apple", 5, instant(NOW), &FREE).await.unwrap_err(),
            provider.client.listings(ListingState::Active, &FREE).await.unwrap_err(),
            provider.client.splits(&symbol("AAPL"), &FREE).await.unwrap_err(),
        ];
        for error in errors {
            told.push_str(&format!("{error} {error:?}\n"));
        }
    }
    let unreachable = super::alpha_vantage::client_for("http://127.0.0.1:1");
    told.push_str(&format!("{:?}", unreachable.search("apple", 5, instant(NOW), &FREE).await));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("Alpha Vantage answered"), "something is logged");
    for text in [told.to_uppercase(), log.to_uppercase()] {
        assert!(!text.contains(KEY), "{text}");
    }
}
