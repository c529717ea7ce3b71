//! An API client that sends its requests to all web processes in turn.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bigdecimal::BigDecimal;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub const PASSWORD: &str = "a long enough secret";

/// A client. Clones share cookies and token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    bases: Arc<[String]>,
    next: Arc<AtomicUsize>,
    token: Option<String>,
}

impl Client {
    /// A client with a cookie jar, like a browser, and without a token.
    pub fn new(bases: &[String]) -> Self {
        let http = reqwest::Client::builder()
            .cookie_store(true)
            .no_proxy()
            // No test uses https here; without root certificates the client is created faster.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self { http, bases: bases.into(), next: Arc::default(), token: None }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same user, with new connections.
    pub fn reconnected(&self) -> Self {
        Self { token: self.token.clone(), ..Self::new(&self.bases) }
    }

    /// The same user, with requests to one web process only.
    pub fn only(&self, process: usize) -> Self {
        let base = self.bases[process % self.bases.len()].clone();
        Self { bases: [base].into(), ..self.clone() }
    }

    fn next_base(&self) -> &str {
        &self.bases[self.next.fetch_add(1, Ordering::Relaxed) % self.bases.len()]
    }

    /// Sends a request once. `with` completes it. `None` if the connection breaks before the response is complete.
    pub async fn ask_once(
        &self,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Option<Answer> {
        let name = format!("{method} {path}");
        let request = self.http.request(method, format!("{}{path}", self.next_base()));
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let response = with(request).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { request: name, status, headers, text: response.text().await.ok()? })
    }

    /// Opens a stream of events.
    pub async fn listen(&self, path: &str) -> Events {
        let request = self.http.get(format!("{}{path}", self.next_base())).timeout(LONGEST_STREAM);
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Events { response, text: String::new() }
    }

    /// Sends a request on a connection of its own. Dropping the connection closes it, even before the response. `None`
    /// if the server does not accept connections.
    pub fn send(&self, method: &Method, path: &str, key: &str, body: &str) -> Option<TcpStream> {
        let address = self.next_base().trim_start_matches("http://");
        let token = self.token.as_deref().unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        Some(stream)
    }

    /// Sends a request, and repeats it if the server asks the client to slow down.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        for _ in 0..60 {
            let answer = self.ask_once(method.clone(), path, &with).await;
            let answer = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
            if answer.status != 429 || !answer.text.contains("\"rate_limited\"") {
                return answer;
            }
            let seconds = answer.header("retry-after").unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        panic!("{method} {path}: told to slow down again and again");
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, |request| request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, |request| request.json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, |request| request.json(body)).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.ask(Method::PUT, path, |request| request).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, |request| request).await
    }

    /// Deletes the account of this client.
    pub async fn delete_account(&self, password: &str) -> Answer {
        let body = json!({"current_password": password});
        self.ask(Method::DELETE, "/api/v1/users/me", |request| request.json(&body)).await
    }

    /// Registers a new account and creates a token that can trade.
    pub async fn register(&self) -> Trader {
        let username = format!("sam-{:016x}", rand::random::<u64>());
        let email = format!("{username}@example.org");
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        self.post("/api/v1/auth/register", &body).await.expect(201);
        let body = json!({"name": "test", "username": username, "password": PASSWORD});
        let made = self.post("/api/v1/auth/tokens", &body).await.expect(201);
        let token = made["token"].as_str().unwrap().to_owned();
        Trader { client: self.with_token(&token), username, email, token }
    }

    /// Logs in; the session cookie is stored in the jar.
    pub async fn log_in(&self, username: &str, password: &str) -> Answer {
        self.post("/api/v1/auth/login", &json!({"username": username, "password": password})).await
    }
}

/// The maximum duration of a stream in a test.
const LONGEST_STREAM: Duration = Duration::from_secs(120);

/// An open stream.
pub struct Events {
    response: reqwest::Response,
    /// Text that has arrived and was not returned yet.
    text: String,
}

#[derive(Debug)]
pub struct Event {
    pub kind: String,
    pub data: Value,
}

impl Events {
    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some((kind, data)) = field("event: ").zip(field("data: ")) {
                    return Some(Event { kind: kind.to_owned(), data: serde_json::from_str(data).unwrap() });
                }
            }
            let bytes = self.response.chunk().await.expect("something comes, or the end")?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event of one of these kinds. Other events are skipped.
    ///
    /// # Panics
    /// If the stream ends before it.
    pub async fn next_of(&mut self, kinds: &[&str]) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kinds:?}"));
            if kinds.contains(&event.kind.as_str()) {
                return event;
            }
        }
    }

    /// Skips the remaining events until the stream ends.
    pub async fn ended(mut self) {
        while self.next().await.is_some() {}
    }
}

/// A user with an account and a token.
#[derive(Clone)]
pub struct Trader {
    /// The client that uses the token.
    pub client: Client,
    pub username: String,
    pub email: String,
    pub token: String,
}

impl Trader {
    /// Creates a portfolio and returns its id.
    pub async fn open_portfolio(&self, cash: &str) -> i64 {
        let body = json!({"name": "Growth", "cash_balance": cash});
        self.client.post("/api/v1/portfolios", &body).await.expect(201)["id"].as_i64().unwrap()
    }

    pub async fn order(&self, portfolio: i64, body: &Value) -> Answer {
        self.client.post(&format!("/api/v1/portfolios/{portfolio}/orders"), body).await
    }

    /// Buys shares and returns the order.
    pub async fn buy(&self, portfolio: i64, symbol: &str, quantity: &str) -> Value {
        let body = json!({"symbol": symbol, "side": "buy", "quantity": quantity, "type": "market"});
        self.order(portfolio, &body).await.expect(201)
    }

    /// Reads a part of a portfolio: `"/valuation"`, or `""` for the portfolio itself.
    pub async fn portfolio(&self, id: i64, part: &str) -> Value {
        self.client.get(&format!("/api/v1/portfolios/{id}{part}")).await.expect(200)
    }

    /// All items of a portfolio's list, from all pages. `list` must have a query.
    pub async fn all(&self, id: i64, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.portfolio(id, &format!("{list}&limit=200{cursor}")).await;
            all.extend_from_slice(items(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

pub struct Answer {
    request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body; null if there is none.
    ///
    /// # Panics
    /// If the status is different.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the problem document and returns it.
    ///
    /// # Panics
    /// If the status or code is different, or a required member is missing.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.request);
        assert_eq!(body["code"], code, "{}: {body}", self.request);
        assert_eq!(body["status"].as_u64(), Some(u64::from(status)), "{}: {body}", self.request);
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{}: {body}", self.request);
        }
        body
    }

    /// The fields that the problem document names as invalid.
    #[track_caller]
    pub fn refused_fields(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.problem(status, code);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {problem}"));
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.request, self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The whole `Set-Cookie` header of a cookie.
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        lines.find(|line| line.split_once('=').is_some_and(|(found, _)| found == name))
    }
}

/// Reads an amount in a response.
///
/// # Panics
/// If it is not a string in plain notation.
#[track_caller]
pub fn amount(value: &Value) -> BigDecimal {
    let text = value.as_str().unwrap_or_else(|| panic!("not a string: {value}"));
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '.'));
    assert!(plain, "not in plain notation: {text}");
    text.parse().unwrap()
}

pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"))
}
