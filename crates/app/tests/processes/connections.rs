//! A server with few file descriptors, and clients that keep their connections open.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::installation::{Installation, Server};
use crate::process::eventually;

/// How long to wait for something that normally takes much less time.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Whether the server answers a new connection, like a health check.
fn is_alive(server: &Server) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server.port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Checks that users can register and trade, and that health checks are answered meanwhile.
async fn is_usable(server: &Server, users: usize) {
    for _ in 0..users {
        let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
        let id = sam.open_portfolio("100000.00").await;
        for _ in 0..5 {
            sam.buy(id, "AAPL", "1").await;
            assert!(is_alive(server), "the probe of {}", sam.username);
        }
        assert_eq!(sam.portfolio(id, "/positions/AAPL").await["quantity"], json!("5"));
    }
}

#[tokio::test]
async fn incomplete_bodies_do_not_stop_a_server_with_few_descriptors() {
    let installation = Installation::embedded().with_open_files(256);
    let server = installation.serve().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname=half";
    let json = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half";
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"hal";
    let mut open = Vec::new();
    for (line, rest) in
        [("POST /logout", form), ("POST /api/v1/auth/login", json), ("POST /api/v1/auth/register", chunked)]
    {
        for _ in 0..300 {
            let mut stream = connect(&server);
            // The server may have closed it already to make room.
            let _ = stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes());
            open.push(stream);
        }
        is_usable(&server, 1).await;
    }
    is_usable(&server, 3).await;
    drop(open);
    let log = server.process.log();
    assert!(!log.contains("Too many open files"), "connections leave room for everything else");
    assert!(log.contains("connections=130"), "{log}");
}

#[tokio::test]
async fn clients_that_never_read_cost_little_memory_and_are_disconnected() {
    let installation = Installation::embedded().with("SEND_TIMEOUT_S", "3");
    let server = installation.serve().await;
    assert!(is_alive(&server));
    let before = server.process.resident_kib();
    let descriptors = server.process.open_files();
    let requests = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let mut open = Vec::new();
    for _ in 0..150 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], server.port).into()).await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(requests.as_bytes()).unwrap();
        open.push(stream);
    }
    // Measured before the first registration, because checking a password takes 47 MiB for a moment.
    assert!(is_alive(&server));
    let grown = server.process.resident_kib().saturating_sub(before);
    // Far less than the requested responses, which are 100 MB per client.
    assert!(grown < 150 * 1024, "150 clients cost {grown} KiB");
    is_usable(&server, 1).await;
    eventually("the clients are disconnected", PATIENCE, async || {
        (server.process.open_files() <= descriptors + 8).then_some(())
    })
    .await;
    drop(open);
}

#[tokio::test]
async fn a_server_that_ran_out_of_descriptors_accepts_again() {
    let installation = Installation::embedded();
    let server = installation.serve().await;
    is_usable(&server, 1).await;
    let limit = server.process.open_files_limit();
    server.process.set_open_files_limit((server.process.open_files() as u64 + 4, limit.1));
    let open: Vec<TcpStream> = (0..50).map(|_| connect(&server)).collect();
    eventually("descriptors have run out", PATIENCE, async || {
        server.process.log().contains("Too many open files").then_some(())
    })
    .await;
    // With a higher limit, the connections in the system's queue are accepted.
    server.process.set_open_files_limit(limit);
    eventually("the server answers", PATIENCE, async || is_alive(&server).then_some(())).await;
    drop(open);

    // With the low limit, connections are accepted after others were closed.
    server.process.set_open_files_limit((server.process.open_files() as u64 + 4, limit.1));
    let open: Vec<TcpStream> = (0..50).map(|_| connect(&server)).collect();
    drop(open);
    eventually("the server answers", PATIENCE, async || is_alive(&server).then_some(())).await;
    server.process.set_open_files_limit(limit);
    is_usable(&server, 1).await;
}

#[tokio::test]
async fn the_limit_on_descriptors_is_raised_at_start() {
    // Only the soft limit is low; the hard limit is not changed.
    let installation = Installation::embedded().with_soft_open_files(100);
    let server = installation.serve().await;
    let (soft, hard) = server.process.open_files_limit();
    assert_eq!(soft, hard);
    assert!(soft > 100);
}
