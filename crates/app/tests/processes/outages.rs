//! The database is unreachable, frozen, full, locked or read-only while the processes run. No request gets a 500 or
//! waits long, and everything works again as soon as the database does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::books::Books;
use crate::client::{Answer, Client, PASSWORD, Trader, items};
use crate::installation::{Installation, database_name, new_postgres_database, on_database, service};
use crate::postgres::Postgres;
use crate::process::eventually;
use crate::proxy::Proxy;
use crate::stack::Stack;

/// The maximum time of any response during an outage. With the timeout below it is much shorter; the rest is for a busy
/// machine.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);
/// The value of `DATABASE_TIMEOUT_MS` in these tests.
const TIMEOUT_MS: &str = "1000";
/// How long to wait until everything works after an outage. Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The problem codes that are allowed during an outage.
const OUTAGES: [&str; 8] = [
    "database_unavailable",
    "database_busy",
    "database_read_only",
    "outcome_unknown",
    "storage_full",
    "busy",
    "not_ready",
    "streams_full",
];

/// A stack, and a user who sends all kinds of requests.
struct Scene {
    stack: Stack,
    sam: Trader,
    browser: Client,
    portfolio: i64,
    /// Direct access to the database, without the proxy.
    books: Books,
}

impl Scene {
    async fn open(installation: Installation, direct: &str, pool: &str) -> Self {
        let installation = installation
            .with("DATABASE_TIMEOUT_MS", TIMEOUT_MS)
            .with("DATABASE_POOL", pool)
            .with("CLOCK_START", "2026-03-02T15:00:00Z")
            // A minute per second, so that working orders are matched and this is recorded.
            .with("CLOCK_SPEED", "60");
        let workers = usize::from(installation.has_redis());
        let stack = Stack::of(installation, 1, workers).await;
        let sam = stack.trader().await;
        let browser = stack.visitor();
        browser.log_in(&sam.username, PASSWORD).await.expect(200);
        let portfolio = sam.open_portfolio("100000.00").await;
        sam.buy(portfolio, "AAPL", "1").await;
        let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "limit",
            "limit_price": "0.50", "time_in_force": "gtc"});
        sam.order(portfolio, &body).await.expect(201);
        Self { stack, sam, browser, portfolio, books: Books::at(direct) }
    }

    /// Sends one request of each kind at the same time, and returns the responses.
    async fn round(&self) -> Vec<Answer> {
        let portfolio = format!("/api/v1/portfolios/{}", self.portfolio);
        let mut asking = JoinSet::new();
        let mut ask = |client: &Client, method: Method, path: String, body: Option<Value>| {
            let client = client.clone();
            asking.spawn(async move {
                let start = Instant::now();
                let answer = client
                    .ask_once(method.clone(), &path, |request| match &body {
                        Some(body) => request.json(body),
                        None => request,
                    })
                    .await
                    .unwrap_or_else(|| panic!("{method} {path}: no answer after {:?}", start.elapsed()));
                assert!(start.elapsed() < LONGEST_ANSWER, "{method} {path} took {:?}", start.elapsed());
                answer
            });
        };
        for part in ["", "/valuation", "/orders", "/positions", "/transactions", "/performance"] {
            ask(&self.sam.client, Method::GET, format!("{portfolio}{part}"), None);
        }
        for path in ["/api/v1/users/me", "/api/v1/stocks/AAPL", "/api/v1/watchlists", "/health/ready"] {
            ask(&self.sam.client, Method::GET, path.to_owned(), None);
        }
        for path in
            ["/portfolios".to_owned(), format!("/portfolios/{}", self.portfolio), "/settings".to_owned()]
        {
            ask(&self.browser, Method::GET, path, None);
        }
        let order = json!({"symbol": "AAPL", "side": "buy", "quantity": "0.01", "type": "market"});
        ask(&self.sam.client, Method::POST, format!("{portfolio}/orders"), Some(order));
        let deposit = json!({"type": "deposit", "amount": "1.00"});
        ask(&self.sam.client, Method::POST, format!("{portfolio}/cash"), Some(deposit));
        let body = json!({"username": self.sam.username, "password": PASSWORD});
        ask(&self.stack.visitor(), Method::POST, "/api/v1/auth/login".to_owned(), Some(body));
        asking.join_all().await
    }

    /// Opens all connections of the pool.
    async fn warm(&self) {
        let mut asking = JoinSet::new();
        for _ in 0..40 {
            let (sam, id) = (self.sam.clone(), self.portfolio);
            asking.spawn(async move { sam.portfolio(id, "/transactions").await });
        }
        asking.join_all().await;
    }

    /// Checks that each response during an outage is one that clients can handle.
    async fn is_answered_properly(&self, fault: &str) {
        for answer in self.round().await {
            is_proper(&answer, fault);
        }
    }

    /// Waits until everything works again and continues to work, including the worker that matches orders.
    async fn heals(&mut self, fault: &str) {
        let start = Instant::now();
        eventually(&format!("after {fault} everything works"), PATIENCE, async || {
            let answers = self.round().await;
            answers.iter().for_each(|answer| is_proper(answer, fault));
            answers.iter().all(|answer| answer.status < 500).then_some(())
        })
        .await;
        eprintln!("{fault}: everything worked after {:?}", start.elapsed());
        for round in 0..15 {
            for answer in self.round().await {
                assert!(answer.status < 400, "{round} rounds after {fault}: {}", answer.text);
            }
        }
        let seen = "orders WHERE status = 'accepted' AND last_matched_at > now_marker";
        let newest = self
            .books
            .text("SELECT max(last_matched_at)::text AS text FROM orders WHERE status = 'accepted'");
        let later = seen.replace("now_marker", &format!("'{newest}'::timestamptz"));
        eventually(&format!("after {fault} orders meet prices"), PATIENCE, async || {
            (self.books.count(&later) > 0).then_some(())
        })
        .await;
    }

    /// Places an order without a key that the database does not confirm, and returns the client order id that the
    /// response names. No read is needed before, so it is the order desk's own connection that does not answer.
    async fn unconfirmed_order(&self, fault: &str) -> String {
        let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market"});
        let start = Instant::now();
        let answer = self.sam.order(self.portfolio, &body).await;
        assert!(start.elapsed() < LONGEST_ANSWER, "{fault}: the order took {:?}", start.elapsed());
        assert_eq!(answer.status, 503, "{fault}: {}", answer.text);
        is_proper(&answer, fault);
        answer.json()["client_order_id"].as_str().expect("an order's 503 names it").to_owned()
    }

    /// Checks that the order can be found by its client order id, and that sending it again places it only once.
    async fn finds(&self, name: &str, fault: &str) {
        let list = format!("/orders?client_order_id={name}");
        let found = items(&self.sam.portfolio(self.portfolio, &list).await).len();
        assert!(found <= 1, "{fault}: {found} orders");
        let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market", "client_order_id": name});
        let again = self.sam.order(self.portfolio, &body).await;
        assert_eq!(again.status, 201, "{fault}: {}", again.text);
        assert_eq!(again.header("idempotent-replayed"), (found == 1).then_some("true"), "{fault}");
        assert_eq!(items(&self.sam.portfolio(self.portfolio, &list).await).len(), 1, "{fault}");
    }
}

#[track_caller]
fn is_proper(answer: &Answer, fault: &str) {
    if answer.status < 400 {
        return;
    }
    assert!(matches!(answer.status, 503 | 507), "{fault}: {}", answer.text);
    assert!(
        answer.header("retry-after").is_some() || answer.text.contains("not_ready"),
        "{fault}, without Retry-After: {}",
        answer.text
    );
    if answer.header("content-type") == Some("application/problem+json") {
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(OUTAGES.contains(&code.as_str()), "{fault}: {}", answer.text);
    }
}

fn server_address() -> SocketAddr {
    let url = service("TEST_DATABASE_URL");
    let (_, address) = url.rsplit_once('@').expect("TEST_DATABASE_URL names a user");
    address.split('/').next().unwrap_or(address).parse().expect("an address and a port")
}

fn terminate(books: &mut Books) {
    books.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
}

/// Faults of connections, and faults of one database on a shared server.
async fn faults_of_a_database(with_redis: bool) {
    let proxy = Proxy::to(server_address());
    let direct = new_postgres_database();
    let name = database_name(&direct).to_owned();
    let url = on_database(&format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port), &name);
    let installation = Installation::at(&url);
    let installation = if with_redis { installation.with_redis() } else { installation };
    let mut scene = Scene::open(installation, &direct, "30").await;

    for _ in 0..2 {
        scene.warm().await;
        terminate(&mut scene.books);
        scene.heals("the end of all backends").await;
    }

    scene.warm().await;
    proxy.let_in(false);
    proxy.cut();
    for _ in 0..3 {
        scene.is_answered_properly("cut connections").await;
    }
    proxy.let_in(true);
    scene.heals("cut connections").await;

    scene.warm().await;
    proxy.silence();
    let name_of_order = scene.unconfirmed_order("half-open connections").await;
    scene.heals("half-open connections").await;
    scene.finds(&name_of_order, "half-open connections").await;
    // Delayed data arrives late, and does not change what was acknowledged.
    proxy.speak();
    scene.heals("late answers").await;
    scene.finds(&name_of_order, "late answers").await;

    scene.books.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    terminate(&mut scene.books);
    let body = json!({"symbol": "MSFT", "side": "buy", "quantity": "1", "type": "market"});
    eventually("the database is read-only", PATIENCE, async || {
        let answer = scene.sam.order(scene.portfolio, &body).await;
        is_proper(&answer, "a read-only database");
        answer.text.contains("database_read_only").then_some(())
    })
    .await;
    scene.is_answered_properly("a read-only database").await;
    scene.sam.portfolio(scene.portfolio, "/valuation").await;
    scene.books.execute(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only"
    ));
    terminate(&mut scene.books);
    scene.heals("a read-only database").await;

    scene.books.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'could not extend file \"base/5/16384\": No space left on device'
             USING ERRCODE = '53100', HINT = 'Check free disk space.'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON transactions EXECUTE FUNCTION full_disk()",
    );
    let full = scene.sam.order(scene.portfolio, &body).await;
    full.problem(507, "storage_full");
    is_proper(&full, "a full disk");
    scene.is_answered_properly("a full disk").await;
    scene.books.execute("DROP TRIGGER full_disk ON transactions; DROP FUNCTION full_disk()");
    scene.heals("a full disk").await;

    scene.books.execute("BEGIN; LOCK TABLE portfolios, orders IN ACCESS EXCLUSIVE MODE");
    scene.is_answered_properly("locked tables").await;
    scene.unconfirmed_order("locked tables").await;
    scene.books.execute("ROLLBACK");
    scene.heals("locked tables").await;
    scene.stack.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_recovers_after_faults_of_its_database() {
    faults_of_a_database(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_and_a_worker_recover_after_faults_of_their_database() {
    faults_of_a_database(true).await;
}

/// Faults of a whole server.
async fn faults_of_a_server(with_redis: bool) {
    let mut postgres = Postgres::start().await;
    let installation = Installation::at(&postgres.url());
    let installation = if with_redis { installation.with_redis() } else { installation };
    let mut scene = Scene::open(installation, &postgres.url(), "30").await;

    for (signal, fault) in [("QUIT", "a crash of PostgreSQL"), ("INT", "a restart of PostgreSQL")] {
        scene.warm().await;
        postgres.stop(signal).await;
        for _ in 0..3 {
            scene.is_answered_properly(fault).await;
        }
        postgres.resume().await;
        scene.books = Books::at(&postgres.url());
        scene.heals(fault).await;
    }

    scene.warm().await;
    postgres.freeze();
    let name = scene.unconfirmed_order("a frozen PostgreSQL").await;
    for _ in 0..2 {
        scene.is_answered_properly("a frozen PostgreSQL").await;
    }
    postgres.thaw();
    scene.heals("a frozen PostgreSQL").await;
    scene.finds(&name, "a frozen PostgreSQL").await;
    scene.stack.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_recovers_after_faults_of_postgresql() {
    faults_of_a_server(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_and_a_worker_recover_after_faults_of_postgresql() {
    faults_of_a_server(true).await;
}

/// If a lock holds up more requests than the pool has connections, the others are refused instead of queued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_lock_are_refused_in_time() {
    let installation = Installation::on_postgres();
    let direct = installation.database_url();
    let mut scene = Scene::open(installation, &direct, "2").await;
    scene.books.execute("BEGIN; LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE");
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let (sam, id) = (scene.sam.clone(), scene.portfolio);
        asking.spawn(async move {
            let start = Instant::now();
            let path = format!("/api/v1/portfolios/{id}/transactions?type=buy");
            let answer = sam.client.get(&path).await;
            (answer, start.elapsed())
        });
    }
    let mut slowest = Duration::ZERO;
    for (answer, took) in asking.join_all().await {
        is_proper(&answer, "a lock");
        assert_eq!(answer.status, 503, "{}", answer.text);
        slowest = slowest.max(took);
    }
    eprintln!("200 requests behind a lock were refused within {slowest:?}");
    assert!(slowest < LONGEST_ANSWER, "a request waited {slowest:?}");
    scene.books.execute("ROLLBACK");
    scene.heals("a lock").await;
    scene.stack.ends_well().await;
}

/// Another program has locked the SQLite file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_file_is_a_temporary_error() {
    let mut installation = Installation::embedded();
    installation.set("DATABASE_TIMEOUT_MS", TIMEOUT_MS);
    let stack = Stack::of(installation, 1, 0).await;
    let sam = stack.trader().await;
    let id = sam.open_portfolio("1000.00").await;
    let mut books = stack.installation().books();
    books.execute("BEGIN IMMEDIATE");
    let body = json!({"symbol": "KO", "side": "buy", "quantity": "1", "type": "market"});
    for _ in 0..3 {
        let start = Instant::now();
        let answer = sam.order(id, &body).await;
        assert!(start.elapsed() < LONGEST_ANSWER, "the order took {:?}", start.elapsed());
        answer.problem(503, "database_busy");
        is_proper(&answer, "a locked file");
    }
    // Reads do not wait for the writer.
    sam.portfolio(id, "/valuation").await;
    books.execute("ROLLBACK");
    eventually("orders are taken again", PATIENCE, async || {
        let answer = sam.order(id, &body).await;
        is_proper(&answer, "a locked file");
        (answer.status == 201).then_some(())
    })
    .await;
    stack.ends_well().await;
}
