//! Processes that end: killed in the middle of their work, and told to end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use chrono::NaiveDate;
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, PASSWORD, Trader, items};
use crate::installation::Installation;
use crate::process::eventually;
use crate::stack::Stack;

/// How often a server is killed.
const ROUNDS: usize = 4;

/// Orders are under way all the time; the server dies as soon as the first of them is answered.
async fn orders_survive(installation: Installation) {
    let mut confirmed: Vec<String> = Vec::new();
    let mut account: Option<(Trader, i64)> = None;
    for round in 0..ROUNDS {
        let mut server = installation.serve().await;
        let client = Client::new(std::slice::from_ref(&server.url));
        let (sam, id) = match &account {
            Some((sam, id)) => (Trader { client: client.with_token(&sam.token), ..sam.clone() }, *id),
            None => {
                let sam = client.register().await;
                let id = sam.open_portfolio("100000.00").await;
                (sam, id)
            }
        };
        assert_all_there(&sam, id, &confirmed, round).await;

        let mut placing = tokio::task::JoinSet::new();
        for number in 0..6 {
            let (sam, key) = (sam.clone(), format!("round-{round}-{number}"));
            let body = json!({"symbol": "AAPL", "side": "buy", "quantity": "1", "type": "market", "client_order_id": key});
            let path = format!("/api/v1/portfolios/{id}/orders");
            placing.spawn(async move {
                // Whether an order is placed that is not answered any more, nobody can know.
                let answer = sam.client.ask_once(Method::POST, &path, |request| request.json(&body)).await?;
                Some(answer.expect(201)["id"].as_str().unwrap().to_owned())
            });
        }
        confirmed.push(placing.join_next().await.unwrap().unwrap().expect("the first order is answered"));
        server.process.kill();
        while let Some(answered) = placing.join_next().await {
            confirmed.extend(answered.unwrap());
        }
        account = Some((sam, id));
    }

    let mut server = installation.serve().await;
    let (sam, id) = account.unwrap();
    let sam = Trader { client: Client::new(std::slice::from_ref(&server.url)).with_token(&sam.token), ..sam };
    assert_all_there(&sam, id, &confirmed, ROUNDS).await;
    // The next order finds everything in order.
    sam.buy(id, "AAPL", "1").await;
    server.process.kill();
    installation.verify().await;
}

async fn assert_all_there(sam: &Trader, id: i64, confirmed: &[String], round: usize) {
    let orders = sam.portfolio(id, "/orders?limit=200").await;
    for order in confirmed {
        let found = items(&orders).iter().find(|found| found["id"] == json!(order));
        let found = found.unwrap_or_else(|| panic!("order {order} is lost, round {round}"));
        assert_eq!(found["status"], "filled", "round {round}");
    }
    let bought = items(&sam.portfolio(id, "/transactions?type=buy&limit=200").await).len();
    assert_eq!(bought, items(&orders).len(), "each order has its line in the journal, round {round}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_order_survives_kill_9_on_sqlite() {
    orders_survive(Installation::embedded()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_order_survives_kill_9_on_postgres() {
    let installation = Installation::full();
    installation.migrate().await;
    orders_survive(installation).await;
}

/// The signing key and the logins are kept: embedded in the data folder, else in the settings and the database.
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

/// A browser's connection: one request was answered, and more may follow.
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
    // The port and the database are free for the next one.
    let mut next = installation.serve_on(server.port).await;
    next.process.ends_well().await;
}

#[tokio::test]
async fn sigterm_ends_web_and_worker_processes_within_ten_seconds() {
    let mut stack = Stack::full().await;
    let idle: Vec<TcpStream> = stack.servers.iter().map(|server| keep_alive(server.port)).collect();
    // All at once, as a supervisor does, and the worker while it has jobs.
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

/// So many that their snapshots take a while, in partitions of five thousand.
const PORTFOLIOS: i64 = 20_000;

#[tokio::test]
async fn snapshots_of_a_killed_worker_are_finished_by_another() {
    // The first session closes a moment after the start, the next one minutes later.
    let date = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
    let installation =
        Installation::full().with("CLOCK_START", "2026-03-03T04:59:00Z").with("CLOCK_SPEED", "200");
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

    let mut first = installation.worker().await;
    let patience = Duration::from_secs(60);
    eventually("the snapshots are half done", patience, async || (books.snapshots(date) > 0).then_some(()))
        .await;
    first.kill();
    let (written, running) = (books.snapshots(date), books.snapshot_runs(date, "running"));
    assert!(written < PORTFOLIOS && running > 0, "it was too quick: {written} snapshots, {running} runs");
    drop(first);

    let second = installation.worker().await;
    // A worker counts as dead after half a minute of silence.
    eventually("another worker has finished", Duration::from_secs(90), async || {
        (books.snapshot_runs(date, "done") == PORTFOLIOS / 5000).then_some(())
    })
    .await;
    assert_eq!(books.snapshots(date), PORTFOLIOS);
    let of_each =
        format!("(SELECT DISTINCT portfolio_id FROM portfolio_snapshots WHERE date = '{date}') AS one");
    assert_eq!(books.count(&of_each), PORTFOLIOS);
    let wrong = format!(
        "portfolio_snapshots WHERE date = '{date}'
         AND (provisional OR total_value <> 1000 OR cash_balance <> 1000 OR net_flow <> 1000)"
    );
    assert_eq!(books.count(&wrong), 0);
    let taken_over =
        format!("job_runs WHERE kind = 'snapshot_portfolios' AND key = '{date}' AND attempts > 1");
    assert_eq!(books.count(&taken_over), running);
    drop(second);
}
