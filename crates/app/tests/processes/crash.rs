//! Processes that are killed in the middle of their work, or told to stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use serde_json::json;

use crate::bank::{Bank, Prices, soaking};
use crate::client::{Client, PASSWORD};
use crate::installation::Installation;
use crate::process::{Process, eventually};
use crate::stack::Stack;

/// The maximum duration of a start after a crash.
const START_AFTER_CRASH: Duration = Duration::from_secs(2);

/// Kills the server at a random moment while customers trade and prices move.
async fn orders_survive(installation: Installation) {
    let rounds = if soaking() { 50 } else { 4 };
    let installation =
        installation.with("CLOCK_START", "2026-03-02T15:00:00Z").with_all(&Prices::Move.settings());
    let mut server = installation.serve().await;
    let trader = Client::new(std::slice::from_ref(&server.url)).register().await;
    let mut bank = Bank::open(trader, 2).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        bank = bank.reconnected();
        let forever = Instant::now() + Duration::from_secs(600);
        let customers = bank.customers(6, Prices::Move, forever);
        let enough = bank.acknowledged() + rand::random_range(1..40);
        eventually("orders are acknowledged", Duration::from_secs(60), async || {
            (bank.acknowledged() >= enough).then_some(())
        })
        .await;
        server.process.kill();
        let answered = customers.join_all().await;
        assert!(!answered.contains(&true), "a customer was answered by a server that is dead");

        let start = Instant::now();
        server = installation.serve_on(server.port).await;
        slowest = slowest.max(start.elapsed());
        bank = bank.reconnected();
        bank.orders_are_there().await;
    }
    eprintln!("{} orders in {rounds} rounds, the slowest start took {slowest:?}", bank.acknowledged());
    // The time is checked only in the long form, which has the machine for itself.
    assert!(!soaking() || slowest < START_AFTER_CRASH, "a start after a crash took {slowest:?}");
    server.process.kill();
    installation.verify().await;
    // After a restart the books are consistent.
    let installation = installation.with_all(&Prices::Stand.settings());
    let mut server = installation.serve_on(server.port).await;
    bank.reconnected().audit().await;
    server.process.kill();
    installation.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_order_survives_kill_9_on_sqlite() {
    orders_survive(Installation::embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_order_survives_kill_9_on_postgres() {
    let installation = Installation::on_postgres();
    installation.migrate().await;
    orders_survive(installation).await;
}

/// The signing key and the sessions are stored: by an embedded server in the data folder, otherwise in the settings and
/// the database.
#[tokio::test]
async fn a_login_survives_a_restart() {
    for installation in [Installation::embedded(), Installation::full()] {
        if installation.is_on_postgres() {
            installation.migrate().await;
        }
        let mut server = installation.serve().await;
        let browser = Client::new(std::slice::from_ref(&server.url));
        let sam = browser.register().await;
        browser.log_in(&sam.username, PASSWORD).await.expect(200);
        server.process.kill();
        let server = installation.serve_on(server.port).await;
        let me = browser.get("/api/v1/users/me").await.expect(200);
        assert_eq!(me["username"], json!(sam.username));
        drop(server);
    }
}

/// Opens a connection like a browser's, which stays open after one request.
fn keep_alive(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn sigterm_ends_an_embedded_server_within_ten_seconds() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let idle = keep_alive(server.port);
    let mut half = keep_alive(server.port);
    half.write_all(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le").unwrap();
    let took = server.process.ends_well().await;
    eprintln!("ended after {took:?}");
    drop((idle, half));
    // The next server can use the port and the database.
    let mut next = installation.serve_on(server.port).await;
    next.process.ends_well().await;
}

#[tokio::test]
async fn sigterm_ends_web_and_worker_processes_within_ten_seconds() {
    let mut stack = Stack::full().await;
    let idle: Vec<TcpStream> = stack.servers.iter().map(|server| keep_alive(server.port)).collect();
    // All at once, as a supervisor does, while the worker has jobs.
    for process in stack.servers.iter().map(|server| &server.process).chain(&stack.workers) {
        process.terminate();
    }
    let processes = stack.servers.iter_mut().map(|server| &mut server.process).chain(&mut stack.workers);
    for process in processes {
        let status = eventually("its end", Duration::from_secs(10), async || process.has_ended()).await;
        assert!(status.success(), "{status}");
    }
    drop(idle);
}

/// Enough portfolios for snapshots that take a while, in partitions of five thousand.
const PORTFOLIOS: i64 = 60_000;

/// Three workers share the partitions of one session. One of them is killed in the middle.
#[tokio::test]
async fn snapshots_are_shared_by_workers_and_those_of_a_killed_one_are_finished_by_others() {
    // The first session closes a moment after the start, the next one minutes later.
    let date = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
    let installation =
        Installation::full().with("CLOCK_START", "2026-03-03T04:59:00Z").with("CLOCK_SPEED", "100");
    installation.migrate().await;
    let owner = ["user", "create", "--username", "sam", "--email", "sam@example.org"];
    installation.run_with_input(&owner, PASSWORD).await.succeeded();
    let mut books = installation.books();
    books.execute(&format!(
        "INSERT INTO portfolios (user_id, name, description, cash_balance, created_at, updated_at)
             SELECT users.id, 'Growth', '', 1000, '2026-03-03T04:59:00Z', '2026-03-03T04:59:00Z'
             FROM users, generate_series(1, {PORTFOLIOS});
         INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp)
             SELECT id, 'deposit', 0, 1000, created_at FROM portfolios;
         ANALYZE"
    ));

    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(installation.worker().await);
    }
    let runs = format!("job_runs WHERE kind = 'snapshot_portfolios' AND key = '{date}'");
    let of = |worker: &Process| format!("{runs} AND worker LIKE '%-{}-%'", worker.id());
    let patience = Duration::from_secs(60);
    // A worker's name contains the id of its process.
    let victim = eventually("a worker is in the middle of its snapshots", patience, async || {
        let is_busy = |worker: &Process| books.count(&format!("{} AND status = 'running'", of(worker))) > 0;
        workers.iter().position(is_busy).filter(|_| books.snapshots(date) > 0)
    })
    .await;
    workers[victim].kill();
    let killed = of(&workers.swap_remove(victim));
    let (written, running) =
        (books.snapshots(date), books.count(&format!("{killed} AND status = 'running'")));
    assert!(written < PORTFOLIOS && running > 0, "it was too quick: {written} snapshots, {running} runs");

    // A worker counts as dead after half a minute without a heartbeat.
    eventually("the other workers have finished", Duration::from_secs(90), async || {
        (books.snapshot_runs(date, "done") == PORTFOLIOS / 5000).then_some(())
    })
    .await;
    assert!(
        books.count(&format!("(SELECT DISTINCT worker FROM {runs}) AS one")) > 1,
        "workers share the runs"
    );
    assert_eq!(books.count(&killed), books.count(&format!("{killed} AND status = 'done'")));
    assert_eq!(books.snapshots(date), PORTFOLIOS);
    let of_each =
        format!("(SELECT DISTINCT portfolio_id FROM portfolio_snapshots WHERE date = '{date}') AS one");
    assert_eq!(books.count(&of_each), PORTFOLIOS);
    let wrong = format!(
        "portfolio_snapshots WHERE date = '{date}'
         AND (provisional OR total_value <> 1000 OR cash_balance <> 1000 OR net_flow <> 1000)"
    );
    assert_eq!(books.count(&wrong), 0);
    assert_eq!(books.count(&format!("{runs} AND attempts > 1")), running);
}
