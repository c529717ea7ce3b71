//! A running server whose prices and clock the test controls, with users and API clients.

use std::net::TcpListener;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{Calendar, Freshness, Timestamp, UserId};
use market_data::{FeatureState, Rules};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use services::accounts::register::Registration;
use services::accounts::tokens::Scope;
use services::jobs::JobRun;
use services::live::StreamLimits;
use services::testing::{FixedPrices, TestServices};
use services::{Clock, Services, ServicesConfig, TradingConfig};
use tokio::sync::oneshot;
use web::{ConnectionLimits, WebConfig};

use crate::contract;

/// The password of every test user.
pub const PASSWORD: &str = "a fence around the yard";

/// A server with its database. Both end when the value is dropped.
///
/// The market is always open, and the time is Friday, 20 November 2026, 14:12 in New York.
pub struct TestApp {
    pub services: Services,
    pub prices: FixedPrices,
    pub clock: Clock,
    base: String,
    http: Client,
    test: TestServices,
    /// Dropping it stops the server.
    _running: oneshot::Sender<()>,
}

impl TestApp {
    pub async fn spawn() -> Self {
        Self::spawn_with(|_| ()).await
    }

    /// Changes the usual configuration, which has no rate limits, proxies or other origins.
    pub async fn spawn_with(change: impl FnOnce(&mut WebConfig)) -> Self {
        Self::spawn_on(FixedPrices::new(), change).await
    }

    pub async fn spawn_on(prices: FixedPrices, change: impl FnOnce(&mut WebConfig)) -> Self {
        Self::start(prices, ServicesConfig::default(), change).await
    }

    /// Changes the usual trading rules: practice mode, and orders fill completely and without fees.
    pub async fn spawn_trading(change: impl FnOnce(&mut TradingConfig)) -> Self {
        let mut config = ServicesConfig::default();
        change(&mut config.trading);
        Self::start(FixedPrices::new(), config, |_| ()).await
    }

    /// The price source is a provider of closing prices with the limits of a free key. Thursday's close of AAPL is
    /// 150.00.
    pub async fn spawn_with_provider() -> Self {
        let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys);
        prices.set_close("AAPL", day("2026-11-18"), "148.00");
        prices.set_close("AAPL", day("2026-11-19"), "150.00");
        let (source, rules) = (Arc::new(prices.clone()), Rules::ALPHA_VANTAGE_FREE);
        let test = TestServices::limited(source, rules, ServicesConfig::default()).await;
        Self::serve(test, prices, |_| ())
    }

    /// The price source is a provider of delayed prices with Yahoo's limits. Each call returns one price.
    pub async fn spawn_with_live_provider() -> Self {
        let prices = FixedPrices::of(Freshness::Delayed, Calendar::Xnys).with_paid_calls(1);
        let rules = Rules { min_gap: TimeDelta::zero(), ..Rules::YAHOO };
        let test = TestServices::limited(Arc::new(prices.clone()), rules, ServicesConfig::default()).await;
        Self::serve(test, prices, |_| ())
    }

    /// The price source is a provider of closing prices; its key has these features.
    pub async fn spawn_with_features(features: Vec<FeatureState>) -> Self {
        let prices = FixedPrices::of(Freshness::EndOfDay, Calendar::Xnys).with_features(features);
        let (source, rules) = (Arc::new(prices.clone()), Rules::ALPHA_VANTAGE_FREE);
        Self::serve(TestServices::limited(source, rules, ServicesConfig::default()).await, prices, |_| ())
    }

    /// Changes the limits on streams.
    pub async fn spawn_streaming(streams: StreamLimits) -> Self {
        Self::start(FixedPrices::new(), ServicesConfig { streams, ..ServicesConfig::default() }, |_| ()).await
    }

    /// Sets how long a login waits for its turn when many passwords are being checked.
    pub async fn spawn_with_password_queue(password_queue_timeout: Duration) -> Self {
        let config = ServicesConfig { password_queue_timeout, ..ServicesConfig::default() };
        Self::start(FixedPrices::new(), config, |_| ()).await
    }

    async fn start(prices: FixedPrices, rules: ServicesConfig, change: impl FnOnce(&mut WebConfig)) -> Self {
        let test = TestServices::with(Arc::new(prices.clone()), rules).await;
        Self::serve(test, prices, change)
    }

    fn serve(test: TestServices, prices: FixedPrices, change: impl FnOnce(&mut WebConfig)) -> Self {
        let (base, running) = listen(test.services.clone(), change);
        Self {
            services: test.services.clone(),
            clock: test.clock.clone(),
            prices,
            base,
            http: client(false),
            test,
            _running: running,
        }
    }

    /// Starts another server on the same database. Like a separate process, it is not notified of changes.
    pub fn another_server(&self) -> AnotherServer {
        let source = Arc::new(self.prices.clone());
        let services = self.test.another_process(source, ServicesConfig::default());
        let (base, running) = listen(services, |_| ());
        AnotherServer { base, _running: running }
    }

    /// A client without a login.
    pub fn anonymous(&self) -> Caller {
        Caller { http: self.http.clone(), base: self.base.clone(), headers: HeaderMap::new() }
    }

    /// A new browser: keeps cookies, does not follow redirects.
    pub fn browser(&self) -> Caller {
        Caller { http: client(true), ..self.anonymous() }
    }

    /// An API client that uses the token.
    pub fn with_token(&self, token: &str) -> Caller {
        self.anonymous().with("authorization", &format!("Bearer {token}"))
    }

    /// Registers a user and returns an API client that uses their token.
    pub async fn register(&self, name: &str) -> Person {
        self.create(name, false).await
    }

    pub async fn register_admin(&self, name: &str) -> Person {
        self.create(name, true).await
    }

    /// A browser that an administrator has logged in to.
    pub async fn admin(&self) -> Caller {
        self.create("ada", true).await;
        self.log_in("ada").await
    }

    async fn create(&self, name: &str, is_admin: bool) -> Person {
        let registration = Registration {
            username: name.into(),
            email: format!("{name}@example.org"),
            password: PASSWORD.into(),
            first_name: String::new(),
            last_name: String::new(),
        };
        let id = self.services.accounts().create_user(registration, is_admin).await.unwrap().id;
        let caller = self.with_token(&self.token(id, Scope::Trade).await);
        Person { id, caller }
    }

    /// Creates a token for the user.
    pub async fn token(&self, user: UserId, scope: Scope) -> String {
        self.services.accounts().create_token(user, "test", scope, None).await.unwrap().1
    }

    /// A new browser that the user has logged in to.
    pub async fn log_in(&self, name: &str) -> Caller {
        let browser = self.browser();
        browser.log_in(name, PASSWORD).await.is(200);
        browser
    }

    /// Runs SQL directly on the database.
    pub fn sql(&self, statements: &str) {
        self.test.store.sql(statements).unwrap();
    }

    /// The number of failed logins that count for an address.
    pub async fn address_failures(&self, address: &str) -> i32 {
        self.services.accounts().address_failures(address).await.unwrap()
    }

    /// The number of SQL statements that the server has executed so far.
    pub fn statements(&self) -> usize {
        self.test.store.statements()
    }

    /// The address of the server.
    pub fn origin(&self) -> &str {
        &self.base
    }

    /// Sets the clock to an instant like `2026-11-20T19:12:00Z`.
    pub fn at(&self, instant: &str) {
        self.clock.set(instant.parse::<DateTime<Utc>>().unwrap().into());
    }

    pub fn pass(&self, time: TimeDelta) {
        self.clock.set(self.now() + time);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn close(&self, symbol: &str, date: &str, price: &str) {
        self.prices.set_close(symbol, day(date), price);
    }

    /// Matches working orders with the prices up to now, as a worker does continuously.
    pub async fn match_orders(&self) {
        self.services.trading().match_orders().await.unwrap();
    }

    /// One second later the stock has another price, and working orders are matched with it.
    pub async fn trades_at(&self, symbol: &str, price: &str) {
        self.pass(TimeDelta::seconds(1));
        self.prices.set(symbol, price);
        self.match_orders().await;
    }

    /// Runs the due jobs, as a worker would.
    pub async fn work(&self) -> Vec<JobRun> {
        let due = self.services.jobs().due_runs().await.unwrap();
        for run in &due {
            assert!(self.services.jobs().run_job(run.id, "worker").await.unwrap(), "{run:?}");
        }
        due
    }
}

/// Another server; it ends when the value is dropped.
pub struct AnotherServer {
    base: String,
    _running: oneshot::Sender<()>,
}

/// Starts a server on a free port, and returns its address and a guard that keeps it running.
fn listen(services: Services, change: impl FnOnce(&mut WebConfig)) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut config = WebConfig {
        public_url: base.parse().unwrap(),
        secret_key: "0123456789abcdef".repeat(4).into(),
        cors_allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        rate_limits: false,
        metrics_token: None,
        connections: ConnectionLimits::default(),
        dropped_log_lines: Default::default(),
    };
    change(&mut config);
    let (running, ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shutdown = async { drop(ended.await) };
        runtime.block_on(web::run(services, config, listener, shutdown)).unwrap();
    });
    (base, running)
}

/// A user, with an API client that uses their token.
pub struct Person {
    pub id: UserId,
    caller: Caller,
}

impl Deref for Person {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

fn client(cookies: bool) -> Client {
    // No test uses TLS; without root certificates the client is created faster.
    Client::builder()
        .cookie_store(cookies)
        .redirect(Policy::none())
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
}

/// A client of the server, with the headers that it always sends.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    base: String,
    headers: HeaderMap,
}

impl Caller {
    /// The same caller with one more header.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        other
    }

    /// The same caller, with the same cookies, connected to another server.
    pub fn at(&self, server: &AnotherServer) -> Self {
        Self { base: server.base.clone(), ..self.clone() }
    }

    /// The value of this caller's `Authorization` header.
    pub fn authorization(&self) -> String {
        self.headers["authorization"].to_str().unwrap().to_owned()
    }

    pub fn with_cookie(&self, name: &str, value: &str) -> Self {
        self.with("cookie", &format!("{name}={value}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    /// Opens a stream of events.
    pub async fn listen(&self, path: &str) -> Events {
        let request = self.http.get(format!("{}{path}", self.base)).headers(self.headers.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Events { headers: response.headers().clone(), response, text: String::new() }
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.ask(Method::HEAD, path).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.ask(Method::PUT, path).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).await
    }

    /// Deletes the caller's account.
    pub async fn delete_account(&self, password: &str) -> Answer {
        let body = json!({"current_password": password}).to_string();
        self.tell(Method::DELETE, "/api/v1/users/me", "application/json", body).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.tell(Method::POST, path, "application/json", body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.tell(Method::PATCH, path, "application/json", body.to_string()).await
    }

    /// Posts the body exactly as given.
    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.tell(Method::POST, path, "application/json", body.to_owned()).await
    }

    /// Follows the redirect in the response to a form.
    pub async fn follow(&self, answer: &Answer) -> Answer {
        self.get(answer.header("location").expect("a redirect")).await
    }

    pub async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = self.http.request(method.clone(), format!("{}{path}", self.base));
        Answer::to(request.headers(self.headers.clone()), &method, path).await
    }

    pub async fn tell(&self, method: Method, path: &str, content_type: &str, body: String) -> Answer {
        let request = self.http.request(method.clone(), format!("{}{path}", self.base));
        let request = request.headers(self.headers.clone()).header(CONTENT_TYPE, content_type).body(body);
        Answer::to(request, &method, path).await
    }

    /// Posts a form as a browser does.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base)).headers(self.headers.clone());
        Answer::to(request.form(fields), &Method::POST, path).await
    }

    /// Chooses a file in the form of a page and sends it, with the page's token.
    pub async fn upload(&self, page: &str, file: &[u8]) -> Answer {
        let token = csrf_token(&self.get(page).await.is(200).text());
        self.upload_with(page, &token, file).await
    }

    /// Sends a form with a file as browsers do.
    pub async fn upload_with(&self, path: &str, token: &str, file: &[u8]) -> Answer {
        const BOUNDARY: &str = "----stockyard-test";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{token}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"trades.csv\"\r\n\
             Content-Type: text/csv\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.http.post(format!("{}{path}", self.base)).headers(self.headers.clone());
        Answer::to(request.header("content-type", kind).body(body), &Method::POST, path).await
    }

    /// Fills in the form that posts to `target` on a page, and sends it with the page's CSRF token.
    pub async fn submit(&self, page: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = self.get(page).await.is(200).text();
        // After a refusal, the page shows the form again from this fragment on.
        let has_form = ['"', '#'].iter().any(|end| shown.contains(&format!("action=\"{target}{end}")));
        assert!(has_form, "{page} has no form that goes to {target}");
        let token = csrf_token(&shown);
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        self.post_form(target, &all).await
    }

    /// Sends a form that is refused, and returns the page with its errors.
    pub async fn refused(&self, page: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.submit(page, target, fields).await.is(303);
        let shown = self.get(answer.header("location").expect("a redirect")).await.is(200);
        assert!(shown.text().contains("role=\"alert\""), "{target} was not refused: {}", shown.text());
        shown
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/api/v1/auth/login", json!({"username": name, "password": password})).await
    }

    /// Creates a portfolio with this amount of cash and returns its id.
    pub async fn open(&self, cash: &str) -> i64 {
        let body = json!({"name": "Growth", "cash_balance": cash});
        self.post("/api/v1/portfolios", body).await.is(201).json()["id"].as_i64().unwrap()
    }

    pub async fn buy(&self, portfolio: i64, symbol: &str, quantity: &str) -> Answer {
        self.order(portfolio, trade("buy", symbol, quantity)).await
    }

    pub async fn sell(&self, portfolio: i64, symbol: &str, quantity: &str) -> Answer {
        self.order(portfolio, trade("sell", symbol, quantity)).await
    }

    pub async fn order(&self, portfolio: i64, order: Value) -> Answer {
        self.post(&format!("/api/v1/portfolios/{portfolio}/orders"), order).await
    }

    /// Places an order that is accepted, and returns it.
    pub async fn place(&self, portfolio: i64, order: Value) -> Value {
        self.order(portfolio, order).await.is(201).json().0
    }

    pub async fn preview(&self, portfolio: i64, order: Value) -> Answer {
        self.post(&format!("/api/v1/portfolios/{portfolio}/orders/preview"), order).await
    }

    /// The current state of the order.
    pub async fn see(&self, portfolio: i64, order: &Value) -> Value {
        self.get(&address(portfolio, order)).await.is(200).json().0
    }

    pub async fn cancel(&self, portfolio: i64, order: &Value) -> Answer {
        self.delete(&address(portfolio, order)).await
    }

    pub async fn replace(&self, portfolio: i64, order: &Value, changes: Value) -> Answer {
        self.patch(&address(portfolio, order), changes).await
    }

    pub async fn deposit(&self, portfolio: i64, amount: &str) -> Answer {
        self.move_cash(portfolio, "deposit", amount).await
    }

    pub async fn withdraw(&self, portfolio: i64, amount: &str) -> Answer {
        self.move_cash(portfolio, "withdrawal", amount).await
    }

    async fn move_cash(&self, portfolio: i64, kind: &str, amount: &str) -> Answer {
        let body = json!({"type": kind, "amount": amount});
        self.post(&format!("/api/v1/portfolios/{portfolio}/cash"), body).await
    }

    pub async fn cash(&self, portfolio: i64) -> String {
        let answer = self.get(&format!("/api/v1/portfolios/{portfolio}")).await.is(200);
        answer.json()["cash_balance"].as_str().unwrap().to_owned()
    }

    pub async fn buying_power(&self, portfolio: i64) -> String {
        let answer = self.get(&format!("/api/v1/portfolios/{portfolio}")).await.is(200);
        answer.json()["buying_power"].as_str().unwrap().to_owned()
    }

    /// Follows `next_cursor` and returns the items of each page.
    pub async fn pages(&self, path: &str, limit: usize) -> Vec<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut pages = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{joint}limit={limit}{cursor}")).await.is(200).json();
            pages.push(page["items"].as_array().unwrap().clone());
            match &page["next_cursor"] {
                Value::Null => return pages,
                next => cursor = format!("&cursor={}", next.as_str().unwrap()),
            }
            assert!(pages.len() < 100, "{path} has no last page");
        }
    }
}

pub fn trade(side: &str, symbol: &str, quantity: &str) -> Value {
    json!({"symbol": symbol, "side": side, "type": "market", "quantity": quantity})
}

/// Adds fields to an order or replaces them.
pub fn with(mut order: Value, more: Value) -> Value {
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

/// The address of an order in the API.
pub fn address(portfolio: i64, order: &Value) -> String {
    format!("/api/v1/portfolios/{portfolio}/orders/{}", order["id"].as_str().unwrap())
}

/// Some members of a document in one line, with `-` for null.
pub fn line(document: &Value, members: &[&str]) -> String {
    let text = |member: &&str| match &document[*member] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    members.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The address of a redirect without its flash message.
pub fn page_of(location: &str) -> &str {
    location.split_once("flash=").map_or(location, |(page, _)| page.trim_end_matches(['?', '&']))
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The CSRF token in the forms of a page.
pub fn csrf_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("the page has a form");
    rest.split('"').next().unwrap().to_owned()
}

/// A response of the server.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    body: Vec<u8>,
    question: String,
}

impl Answer {
    async fn to(request: reqwest::RequestBuilder, method: &Method, path: &str) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        contract::check(method.as_str(), path, status, &headers, &body);
        Self { status, headers, body, question: format!("{method} {path}") }
    }

    /// # Panics
    /// If the status is different.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.question, self.text());
        self
    }

    /// Checks that the response is a complete problem document, and returns it.
    ///
    /// # Panics
    /// If the status or the code is different.
    #[track_caller]
    pub fn is_refused(&self, status: u16, code: &str) -> Json {
        let question = &self.question;
        assert_eq!(self.status, status, "{question}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{question}");
        let mut problem = self.json();
        let request_id = problem.0.as_object_mut().unwrap().remove("request_id");
        assert_eq!(request_id.as_ref().and_then(Value::as_str), self.header("x-request-id"), "{question}");
        assert_eq!(problem["code"], code, "{question}: {}", *problem);
        assert_eq!(problem["status"].as_u64(), Some(u64::from(status)), "{question}");
        assert_eq!(problem["type"], format!("urn:stockyard:problem:{code}"), "{question}");
        for text in ["title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{question}: {}", *problem);
        }
        problem
    }

    /// The invalid fields of a body or query, as `field: message`.
    ///
    /// # Panics
    /// If the response is not about invalid fields.
    #[track_caller]
    pub fn fields(&self) -> Vec<String> {
        let problem = self.is_refused(422, "invalid_fields");
        let errors = problem["errors"].as_array().unwrap();
        let text = |error: &Value, key: &str| error[key].as_str().unwrap().to_owned();
        errors.iter().map(|error| format!("{}: {}", text(error, "field"), text(error, "message"))).collect()
    }

    /// # Panics
    /// If the invalid fields are not exactly this one.
    #[track_caller]
    pub fn is_about(&self, field: &str) {
        let fields = self.fields();
        let named: Vec<&str> = fields.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(named, [field], "{}: {fields:?}", self.question);
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Json {
        let json = serde_json::from_slice(&self.body);
        Json(json.unwrap_or_else(|error| panic!("{}: {error}: {}", self.question, self.text())))
    }

    pub fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap().clone()
    }

    /// The whole `Set-Cookie` header of a cookie.
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
        lines.into_iter().find(|line| line.starts_with(&format!("{name}=")))
    }

    /// The value of a cookie that was set.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let line = self.set_cookie(name)?;
        let (_, value) = line.split(';').next()?.split_once('=')?;
        Some(value.to_owned())
    }
}

/// Longer than any event in these tests takes to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream.
pub struct Events {
    pub headers: HeaderMap,
    response: reqwest::Response,
    /// Text that has arrived and was not returned yet.
    text: String,
}

#[derive(Debug)]
pub struct Event {
    pub kind: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Events {
    /// The next block of lines; `None` when the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("something comes, or the end").expect("it ends well") {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return None,
            }
        }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                lines.next().map(str::to_owned)
            };
            if let Some(data) = field("data") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { kind: field("event").unwrap(), id: field("id"), data });
            }
        }
    }

    /// The next event of this kind. Other events are skipped.
    ///
    /// # Panics
    /// If the stream ends before it.
    pub async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before a {kind}"));
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Skips the remaining events until the stream ends.
    pub async fn ended(mut self) {
        while self.next().await.is_some() {}
    }
}

/// A JSON document whose numbers appear as numbers in snapshots. `serde_json` keeps their digits in a private type,
/// which `insta` would print instead.
pub struct Json(pub Value);

impl Deref for Json {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => serializer.serialize_i64(whole),
                None => serializer.serialize_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(values) => serializer.collect_seq(values.iter().cloned().map(Self)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Self(value.clone()))))
            }
        }
    }
}
