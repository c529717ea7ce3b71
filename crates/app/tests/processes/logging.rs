//! Log lines, and that a log which cannot be written does not stop anything.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, PASSWORD};
use crate::installation::{Installation, Server};
use crate::process::eventually;

const PATIENCE: Duration = Duration::from_secs(30);
/// More access lines than the queue can hold.
const MANY_REQUESTS: usize = 9000;

fn client_of(server: &Server) -> Client {
    Client::new(std::slice::from_ref(&server.url))
}

/// A standard stream that cannot be written.
#[derive(Debug, Clone, Copy)]
enum Broken {
    FullDisk,
    ClosedPipe,
    UnreadPipe,
}

impl Broken {
    const ALL: [Self; 3] = [Self::FullDisk, Self::ClosedPipe, Self::UnreadPipe];

    /// The stream, and for a pipe its reading end, which must stay open during the test.
    fn stream(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::FullDisk => (File::options().write(true).open("/dev/full").unwrap().into(), None),
            Self::ClosedPipe => (pipe().unwrap().1.into(), None),
            Self::UnreadPipe => {
                let (reader, writer) = pipe().unwrap();
                keep_full(writer.try_clone().unwrap());
                (writer.into(), Some(reader))
            }
        }
    }
}

/// Keeps the pipe full until its reader is closed, so that no line fits.
fn keep_full(mut writer: PipeWriter) {
    std::thread::spawn(move || while writer.write_all(b"full\n").is_ok() {});
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_request() {
    for format in ["text", "json"] {
        for broken in Broken::ALL {
            let installation = Installation::embedded().with("LOG_FORMAT", format);
            let ((stdout, _out), (stderr, _err)) = (broken.stream(), broken.stream());
            let mut server = installation.serve_into(stdout, stderr).await;
            let sam = client_of(&server).register().await;
            let id = sam.open_portfolio("10000.00").await;
            for _ in 0..3 {
                sam.buy(id, "AAPL", "1").await;
            }
            let transactions = sam.portfolio(id, "/transactions").await;
            assert_eq!(transactions["items"].as_array().unwrap().len(), 4, "{format}, {broken:?}");
            server.process.ends_well().await;
            installation.verify().await;
        }
    }
}

#[tokio::test]
async fn a_full_queue_of_log_lines_stops_no_request() {
    let installation = Installation::embedded();
    let ((stdout, _out), (stderr, _err)) = (Broken::UnreadPipe.stream(), Broken::UnreadPipe.stream());
    let mut server = installation.serve_into(stdout, stderr).await;
    let client = client_of(&server);
    for _ in 0..MANY_REQUESTS {
        client.get("/health/live").await.expect(200);
    }
    let sam = client.register().await;
    let id = sam.open_portfolio("10000.00").await;
    sam.buy(id, "AAPL", "1").await;
    // Lost lines are counted.
    let metrics = client.get("/metrics").await;
    let dropped =
        metrics.text.lines().find_map(|line| line.strip_prefix("stockyard_log_lines_dropped_total "));
    let dropped: f64 = dropped.expect("the counter is there").parse().unwrap();
    assert!(dropped > 0.0, "lines were dropped");
    server.process.ends_well().await;
    installation.verify().await;
}

#[tokio::test]
async fn a_worker_continues_without_its_log() {
    for format in ["text", "json"] {
        for broken in Broken::ALL {
            let installation = Installation::full().with("LOG_FORMAT", format);
            installation.migrate().await;
            let server = installation.serve().await;
            let ((stdout, _out), (stderr, _err)) = (broken.stream(), broken.stream());
            let mut worker = installation.worker_into(stdout, stderr);
            let root = administrator(&installation, &server).await;
            root.post("/api/v1/admin/jobs", &json!({"kind": "prune"})).await.expect(202);
            eventually("the worker did the job", PATIENCE, async || {
                assert!(worker.has_ended().is_none(), "{format}, {broken:?}");
                let runs = root.get("/api/v1/admin/jobs?kind=prune").await.expect(200);
                let done = |run: &Value| run["status"] == "done";
                runs["items"].as_array().unwrap().iter().any(done).then_some(())
            })
            .await;
            worker.ends_well().await;
        }
    }
}

#[tokio::test]
async fn a_command_reports_that_its_output_cannot_be_written() {
    let installation = Installation::embedded();
    let (stdout, _) = Broken::FullDisk.stream();
    let finished = installation.run_into(&["openapi"], stdout).await;
    assert!(finished.failed().contains("standard output cannot be written"), "{finished:?}");
}

/// A client with an administrator's session.
async fn administrator(installation: &Installation, server: &Server) -> Client {
    let made = ["user", "create", "--username", "root", "--email", "root@example.org", "--admin"];
    installation.run_with_input(&made, PASSWORD).await.succeeded();
    let root = client_of(server);
    root.log_in("root", PASSWORD).await.expect(200);
    root
}

/// Ends a server and returns its log as JSON.
async fn lines(mut server: Server) -> Vec<Value> {
    server.process.ends_well().await;
    let log = server.process.log();
    log.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[tokio::test]
async fn access_lines_have_user_request_and_duration() {
    let installation =
        Installation::embedded().with_all(&[("LOG_FORMAT", "json"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    let server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let id = sam.open_portfolio("10000.00").await;
    let request = reqwest::Client::new()
        .get(format!("{}/api/v1/portfolios/{id}/orders?limit=7", server.url))
        .bearer_auth(&sam.token)
        .header("X-Forwarded-For", "198.51.100.7");
    let answer = request.send().await.unwrap();
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let me = sam.client.get("/api/v1/users/me").await.expect(200)["id"].clone();
    assert_eq!(client_of(&server).get("/no/such/page").await.status, 404);
    let lines = lines(server).await;
    let line =
        lines.iter().find(|line| line["request_id"] == *request_id).expect("a line with the request's id");
    for (field, expected) in [
        ("message", json!("answered")),
        ("method", json!("GET")),
        ("route", json!("/api/v1/portfolios/{id}/orders")),
        ("path", json!(format!("/api/v1/portfolios/{id}/orders"))),
        ("status", json!(200)),
        ("client", json!("198.51.100.7")),
        ("user_id", me),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{line}");
    let unknown =
        lines.iter().find(|line| line["path"] == "/no/such/page").expect("a line of the unknown page");
    assert_eq!((&unknown["status"], &unknown["user_id"]), (&json!(404), &Value::Null), "{unknown}");
}

#[tokio::test]
async fn actions_of_administrators_are_events_with_names() {
    let installation = Installation::embedded().with("LOG_FORMAT", "json");
    let server = installation.serve().await;
    let sam = client_of(&server).register().await;
    let sam_id = sam.client.get("/api/v1/users/me").await.expect(200)["id"].clone();
    let root = administrator(&installation, &server).await;
    let root_id = root.get("/api/v1/users/me").await.expect(200)["id"].clone();
    let account = format!("/api/v1/admin/users/{sam_id}");
    // Every repeated action is logged.
    for _ in 0..20 {
        root.patch(&account, &json!({"is_active": false})).await.expect(200);
    }
    root.post("/api/v1/admin/jobs", &json!({"kind": "prune"})).await.expect(202);
    root.delete(&account).await.expect(204);
    let lines = lines(server).await;
    for (event, count) in [("account_rights_changed", 20), ("job_requested", 1), ("account_deleted", 1)] {
        let found: Vec<&Value> = lines.iter().filter(|line| line["event"] == event).collect();
        assert_eq!(found.len(), count, "{event}");
        for line in found {
            assert_eq!((&line["target"], &line["user_id"]), (&json!("security"), &root_id), "{line}");
            assert_eq!(line["client"], "127.0.0.1", "{line}");
        }
    }
    let deleted = lines.iter().find(|line| line["event"] == "account_deleted").unwrap();
    assert_eq!(deleted["account_id"], sam_id);
}

#[tokio::test]
async fn an_error_is_logged_with_its_causes_and_repeats_are_suppressed() {
    for format in ["text", "json"] {
        let installation = Installation::on_postgres().with("LOG_FORMAT", format);
        installation.migrate().await;
        let mut server = installation.serve().await;
        let sam = client_of(&server).register().await;
        sam.open_portfolio("10000.00").await;
        installation.books().execute("ALTER TABLE portfolios RENAME TO elsewhere");
        for _ in 0..30 {
            let answer = sam.client.get("/api/v1/portfolios").await;
            assert!(answer.status >= 500, "{}", answer.status);
        }
        server.process.ends_well().await;
        let log = server.process.log();
        let lines =
            |parts: &[&str]| log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
        // The error of the database is the innermost cause.
        let quote = if format == "json" { r#"\""# } else { "\"" };
        let told = lines(&["request_id", "error.sources", &format!("relation {quote}portfolios{quote}")]);
        assert!((1..15).contains(&told), "{format}: {told} lines: {log}");
        assert!(lines(&["repeats were not logged", "suppressed"]) > 0, "{format}: {log}");
        let answered = lines(&["answered", "/api/v1/portfolios", "GET"]);
        assert!(answered >= 30, "{format}: access lines are always written: {answered}");
    }
}
