//! Clients that are slow or open too many connections. The tests use plain sockets.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use web::ConnectionLimits;

use crate::harness::TestApp;

/// Much longer than the servers' deadlines in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with deadlines that are short enough for a test.
async fn impatient(change: impl FnOnce(&mut ConnectionLimits)) -> TestApp {
    let limits = ConnectionLimits {
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(2),
        send_timeout: Duration::from_secs(2),
        keep_alive: Duration::from_secs(2),
        ..ConnectionLimits::default()
    };
    TestApp::spawn_with(|config| {
        config.connections = limits;
        change(&mut config.connections);
    })
    .await
}

fn address(app: &TestApp) -> SocketAddr {
    app.origin().trim_start_matches("http://").parse().unwrap()
}

fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(address(app)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(app: &TestApp, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = connect(app);
    stream.write_all(bytes.as_ref()).unwrap();
    stream
}

/// Reads until the server closes the connection.
///
/// # Panics
/// If the server does not close it within [`PATIENCE`].
#[track_caller]
fn rest(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => {
                panic!("the connection stays open ({error}): {}", String::from_utf8_lossy(&received))
            }
        }
    }
    String::from_utf8_lossy(&received).into_owned()
}

/// Whether the server answers a new connection instead of refusing it.
async fn is_alive(app: &TestApp) -> bool {
    let mut stream = connect(app);
    let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    beside(move || stream.write_all(request).is_ok() && rest(stream).starts_with("HTTP/1.1 200")).await.await
}

/// The status of the response at the beginning of the text.
fn status(response: &str) -> u16 {
    let status = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("no response: {response:?}"))
}

/// Runs a blocking function outside the test's runtime.
async fn beside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let running = tokio::task::spawn_blocking(what);
    async { running.await.unwrap() }
}

/// Waits until all connections are closed, and returns what each of them received.
async fn all_closed(streams: Vec<TcpStream>) -> Vec<String> {
    beside(|| streams.into_iter().map(rest).collect()).await.await
}

const HALF_A_FORM: &str =
    "Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname=half";

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_408_by_every_handler_that_waits_for_it() {
    let app = impatient(|_| ()).await;
    let mara = app.register("mara").await;
    let portfolio = mara.open("1000").await;
    let authorization = mara.authorization();
    let json = |method: &str, path: &str, framing: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let orders = format!("/api/v1/portfolios/{portfolio}/orders");
    let half = [
        format!("POST /login HTTP/1.1\r\n{HALF_A_FORM}"),
        format!("POST /register HTTP/1.1\r\n{HALF_A_FORM}"),
        json("POST", "/api/v1/auth/login", "Content-Length: 100") + "{\"username\":",
        json("POST", &orders, "Content-Length: 100") + "{\"symbol\":",
        json("POST", &orders, "Content-Length: 100"),
        json("POST", &orders, "Transfer-Encoding: chunked") + "5\r\n{\"sym\r\n",
        json("POST", &orders, "Transfer-Encoding: chunked") + "5\r\n{\"s",
        json("PATCH", "/api/v1/users/me", "Transfer-Encoding: chunked"),
    ];
    let received = all_closed(half.iter().map(|request| send(&app, request)).collect()).await;
    for (request, response) in half.iter().zip(&received) {
        assert_eq!(status(response), 408, "{request}: {response}");
        let is_page = request.starts_with("POST /login") || request.starts_with("POST /register");
        let form = if is_page { "<!doctype html>" } else { "\"code\":\"request_timeout\"" };
        assert!(response.to_lowercase().contains(form), "{request}: {response}");
    }

    // With `Expect: 100-continue` the deadline begins when the server asks for the body.
    let expecting = json("POST", &orders, "Content-Length: 100\r\nExpect: 100-continue");
    let received = all_closed(vec![send(&app, expecting)]).await.remove(0);
    let (first, second) = received.split_once("\r\n\r\n").unwrap();
    assert_eq!((status(first), status(second)), (100, 408), "{received}");
    mara.buy(portfolio, "AAPL", "1").await.is(201);
}

#[tokio::test]
async fn an_incomplete_unread_body_closes_the_connection() {
    let app = impatient(|_| ()).await;
    let mara = app.register("mara").await;
    let authorization = mara.authorization();
    let lengths = ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"];
    let mut requests = Vec::new();
    for (line, expected) in [
        ("GET /health/live", 200),
        ("GET /static/app.css", 0),
        ("GET /api/v1/portfolios", 200),
        ("GET /no-such-page", 404),
        ("POST /api/v1/no-such-address", 404),
        ("DELETE /api/v1/portfolios", 405),
        ("PUT /health/live", 405),
        ("POST /login", 0),
    ] {
        for framing in lengths {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\
                 Content-Type: text/plain\r\n{framing}"
            );
            requests.push((request, expected));
        }
    }
    let received = all_closed(requests.iter().map(|(request, _)| send(&app, request)).collect()).await;
    for ((request, expected), response) in requests.iter().zip(&received) {
        let status = status(response);
        assert!(*expected == 0 || status == *expected, "{request}: {response}");
        assert!(status < 500, "{request}: {response}");
    }
}

#[tokio::test]
async fn a_complete_unread_body_leaves_the_connection_open() {
    let app = impatient(|limits| limits.keep_alive = PATIENCE).await;
    for framing in
        ["Content-Length: 4\r\n\r\nfour", "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"]
    {
        let request = format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{framing}");
        let again = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut stream = send(&app, request);
        let received = beside(move || {
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            stream.write_all(again.as_bytes()).unwrap();
            rest(stream)
        })
        .await
        .await;
        assert_eq!(received.matches("HTTP/1.1 200").count(), 1, "{framing}: {received}");
    }
}

#[tokio::test]
async fn a_slow_but_steady_body_is_accepted_and_a_dripping_one_is_not() {
    let app = impatient(|limits| {
        limits.body_timeout = Duration::from_secs(6);
        limits.min_rate = 20.try_into().unwrap();
    })
    .await;
    let mara = app.register("mara").await;
    let authorization = mara.authorization();
    let drip = |bytes: usize, pause: Duration| {
        let body = format!("{:<200}", r#"{"name": "Slowly", "cash_balance": "1000.00"}"#);
        let head = format!(
            "POST /api/v1/portfolios HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = send(&app, head);
        beside(move || {
            for part in body.as_bytes().chunks(bytes) {
                if stream.write_all(part).is_err() {
                    break;
                }
                std::thread::sleep(pause);
            }
            rest(stream)
        })
    };
    // 200 bytes: one client sends 100 per second, the other 5 per second.
    let (steady, dripping) =
        tokio::join!(drip(20, Duration::from_millis(200)).await, drip(1, Duration::from_millis(200)).await);
    assert_eq!(status(&steady), 201, "{steady}");
    assert!(dripping.is_empty() || status(&dripping) == 408, "{dripping}");
}

#[tokio::test]
async fn a_head_that_does_not_arrive_ends_the_connection() {
    let app = impatient(|limits| limits.keep_alive = Duration::from_secs(600)).await;
    let half_a_head = "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let whole = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let received = all_closed(vec![
        connect(&app),
        send(&app, "G"),
        send(&app, half_a_head),
        // The second request of a connection: actix has a deadline only for the first one.
        {
            let mut stream = send(&app, whole);
            stream.read_exact(&mut [0; 12]).unwrap();
            stream.write_all(half_a_head.as_bytes()).unwrap();
            stream
        },
    ])
    .await;
    for first in &received[..3] {
        assert_eq!(status(first), 408, "{first}");
    }
    assert!(received[3].contains("HTTP/1.1 408"), "{}", received[3]);

    // A client that has sent half a head together with its previous request counts as idle.
    let app = impatient(|_| ()).await;
    let received = all_closed(vec![send(&app, format!("{whole}{half_a_head}"))]).await;
    assert_eq!(status(&received[0]), 200, "{}", received[0]);
}

#[tokio::test]
async fn a_dripping_head_ends_the_connection() {
    let app = impatient(|limits| limits.keep_alive = Duration::from_secs(600)).await;
    for first in ["", "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = send(&app, first);
        let ended = beside(move || {
            if !first.is_empty() {
                stream.read_exact(&mut [0; 12]).unwrap();
            }
            stream.write_all(b"GET /health/live HTTP/1.1\r\nX-Slow: ").unwrap();
            let start = Instant::now();
            while start.elapsed() < PATIENCE {
                if stream.write_all(b"x").is_err() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            false
        })
        .await
        .await;
        assert!(ended, "after {first:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = impatient(|_| ()).await;
    let received = all_closed(vec![send(&app, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")]).await;
    assert_eq!(status(&received[0]), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_responses_is_disconnected() {
    let app = impatient(|_| ()).await;
    // Far more than the sockets' buffers can hold.
    let request = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = connect(&app);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let ended = beside(move || {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match stream.write_all(request.repeat(16).as_bytes()) {
                Ok(()) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        false
    })
    .await
    .await;
    assert!(ended, "the server still waits for the client to read");
}

#[tokio::test]
async fn connections_beyond_the_limit_of_an_address_replace_waiting_ones() {
    let app = impatient(|limits| {
        limits.per_address = 20;
        limits.body_timeout = Duration::from_secs(600);
        limits.header_timeout = Duration::from_secs(600);
    })
    .await;
    let half = format!("POST /login HTTP/1.1\r\n{HALF_A_FORM}");
    let mut open: Vec<_> = (0..200).map(|_| send(&app, &half)).collect();
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..20 {
        // Until the server has read the bytes, the connections are busy instead of waiting for their clients.
        while !is_alive(&app).await {
            assert!(Instant::now() < deadline, "no connection makes room");
        }
    }
    // The other connections were closed to make room, or refused while all were busy.
    let left = beside(move || {
        while open.len() > 20 && Instant::now() < deadline {
            open.retain_mut(|stream| {
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let mut received = [0; 12];
                match stream.read(&mut received) {
                    Ok(0) => false,
                    Ok(_) => {
                        assert_eq!(&received, b"HTTP/1.1 503");
                        false
                    }
                    Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                }
            });
        }
        open.len()
    });
    let left = left.await.await;
    assert!(left <= 20, "{left} connections are open");
}

#[tokio::test]
async fn a_connection_is_refused_when_all_others_are_busy() {
    let app = impatient(|limits| limits.per_address = 3).await;
    let mara = app.register("mara").await;
    let mut streams = Vec::new();
    // Idle connections of the client's pool can be closed to make room, but streams of events cannot.
    for _ in 0..3 {
        let request = format!(
            "GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n",
            mara.authorization()
        );
        let mut stream = send(&app, request);
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        streams.push(stream);
    }
    let refused = all_closed(vec![connect(&app)]).await.remove(0);
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("\"code\":\"too_many_connections\""), "{refused}");

    // Another address has its own limit.
    let other = socket_from([127, 0, 0, 2].into(), address(&app)).await;
    let received = beside(move || {
        let mut other = other;
        other.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        rest(other)
    })
    .await
    .await;
    assert_eq!(status(&received), 200, "{received}");

    drop(streams);
    let deadline = Instant::now() + PATIENCE;
    while status(
        &all_closed(vec![send(&app, "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")])
            .await[0],
    ) != 200
    {
        assert!(Instant::now() < deadline, "closed connections still count");
    }
}

/// Connects from the given address of the loopback network.
async fn socket_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the bytes and returns what the server answers before it closes the connection.
async fn answer_to(app: &TestApp, bytes: Vec<u8>) -> String {
    let mut stream = connect(app);
    beside(move || {
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        rest(stream)
    })
    .await
    .await
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_by_size() {
    let app = impatient(|limits| limits.header_timeout = PATIENCE).await;
    let letters = |count: usize| "a".repeat(count);
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").into_bytes()
    };
    let lines = |count: usize, length: usize| -> String {
        (0..count).map(|line| format!("X-{line}: {}\r\n", "b".repeat(length))).collect()
    };
    for (bytes, expected, form) in [
        (get(&format!("/health/live?{}", letters(8_000)), ""), 200, ""),
        (get(&format!("/health/live?{}", letters(8_200)), ""), 414, "uri_too_long"),
        (get(&format!("/api/v1/{}", letters(9_000)), ""), 414, "uri_too_long"),
        (get(&format!("/stocks?search={}", letters(50_000)), ""), 414, "<!doctype html>"),
        (get(&format!("/api/v1/{}", letters(59_970)), ""), 414, "uri_too_long"),
        (get(&format!("/api/v1/{}", letters(59_990)), ""), 414, "uri_too_long"),
        (get(&format!("/api/v1/{}", letters(66_000)), ""), 414, "uri_too_long"),
        (get(&format!("/api/v1/{}", letters(1_000_000)), ""), 414, "uri_too_long"),
        (get("/health/live", &lines(15, 1_000)), 200, ""),
        (get("/health/live", &lines(17, 1_000)), 431, "header_too_large"),
        (get("/", &lines(1, 17_000)), 431, "<!doctype html>"),
        (get("/api/v1/portfolios", &lines(90, 700)), 431, "header_too_large"),
        // actix refuses it, without a body.
        (get("/health/live", &lines(97, 10)), 431, ""),
        (get("/health/live", &lines(60, 3_000)), 431, ""),
    ] {
        let length = bytes.len();
        let start = String::from_utf8_lossy(&bytes[..40]).into_owned();
        let answer = answer_to(&app, bytes).await;
        assert_eq!(status(&answer), expected, "{length} bytes, {start}: {answer}");
        assert!(answer.to_lowercase().contains(form), "{length} bytes, {start}: {answer}");
    }
    // The request after a cut request line is read normally.
    let two = [
        format!("GET /api/v1/{} HTTP/1.1\r\nHost: x\r\n\r\n", letters(70_000)).into_bytes(),
        get("/health/live", ""),
    ];
    let answer = answer_to(&app, two.concat()).await;
    assert!(status(&answer) == 414 && answer.contains("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_server_keeps_running() {
    let app = impatient(|limits| limits.header_timeout = PATIENCE).await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_vec(),
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nBad\0Name: y\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_vec(),
    ] {
        let answer = answer_to(&app, bytes.clone()).await;
        assert!(!answer.is_empty(), "no answer to {}", String::from_utf8_lossy(&bytes));
        assert_eq!(status(&answer), 400, "{}: {answer}", String::from_utf8_lossy(&bytes));
    }
    // The head is valid, but a part of the body is missing.
    let login = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for body in
        ["Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"]
    {
        let answer = answer_to(&app, format!("{login}{body}").into_bytes()).await;
        assert!(!answer.is_empty(), "no answer to {body}");
        assert_eq!(status(&answer), 400, "{body}: {answer}");
    }
    app.anonymous().get("/health/live").await.is(200);
}
