//! HTTP load: connections that each send a request, wait for its answer and send the next one.
//!
//! The load generator shares two cores with the server, so it does as little as possible, on one thread.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::{PlaceOrder, PortfolioId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::books::{self, Books};
use crate::report::Sample;

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Orders in all portfolios.
    Spread,
    /// Orders in a single portfolio.
    OnePortfolio,
    /// The valuation of a portfolio with many positions.
    Valuation,
    /// The 50 newest transactions of a portfolio.
    Transactions,
    /// The performance of a portfolio over this many years.
    Performance { years: u8 },
    /// The newest price of a stock.
    Quote,
    /// A search for a symbol.
    Search,
}

impl Target {
    /// The status of a successful response.
    fn wanted_status(self) -> u16 {
        match self {
            Self::Spread | Self::OnePortfolio => 201,
            Self::Valuation | Self::Transactions | Self::Performance { .. } | Self::Quote | Self::Search => {
                200
            }
        }
    }

    fn write_request(self, books: &Books, request: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::Spread => write_order(books, books.random_portfolio(), request),
            Self::OnePortfolio => write_order(books, PortfolioId(1), request),
            Self::Valuation => write_get(books, "valuation", request),
            Self::Transactions => write_get(books, "transactions?limit=50", request),
            Self::Performance { years } => {
                let portfolio = books::random_history();
                let path = format!("portfolios/{portfolio}/performance?period={years}Y");
                write_get_as(books, portfolio, &path, request)
            }
            Self::Quote => {
                let path = format!("stocks/{}/quote", books.random_symbol());
                write_get_as(books, books.random_reader(), &path, request)
            }
            Self::Search => {
                let path = format!("stocks?search={}", books.random_symbol());
                write_get_as(books, books.random_reader(), &path, request)
            }
        }
    }
}

fn write_order(books: &Books, portfolio: PortfolioId, request: &mut Vec<u8>) -> std::io::Result<()> {
    let PlaceOrder { symbol, side, client_order_id, .. } = books.random_order(portfolio);
    let body = format!(
        r#"{{"symbol":"{symbol}","side":"{side}","quantity":"1","type":"market","client_order_id":"{}"}}"#,
        client_order_id.unwrap_or_default()
    );
    write!(
        request,
        "POST /api/v1/portfolios/{portfolio}/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        books.token(portfolio),
        body.len()
    )
}

fn write_get(books: &Books, what: &str, request: &mut Vec<u8>) -> std::io::Result<()> {
    let portfolio = books.random_reader();
    write_get_as(books, portfolio, &format!("portfolios/{portfolio}/{what}"), request)
}

/// Writes a GET request with the token of the portfolio's owner.
fn write_get_as(
    books: &Books,
    portfolio: PortfolioId,
    path: &str,
    request: &mut Vec<u8>,
) -> std::io::Result<()> {
    write!(
        request,
        "GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        books.token(portfolio)
    )
}

/// Keeps this number of connections busy for this time.
pub fn run(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    books: &Books,
    target: Target,
) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start = Instant::now();
        let all = (0..connections).map(|_| connection(address, start + time, books, target));
        let samples = tokio::time::timeout(time + PATIENCE, futures::future::try_join_all(all))
            .await
            .context("a response did not arrive in time")??;
        let mut sum = Sample::new()?;
        for sample in samples {
            sum.add(&sample)?;
        }
        sum.took = start.elapsed();
        Ok(sum)
    })
}

/// How long to wait for the last responses.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connection(address: SocketAddr, end: Instant, books: &Books, target: Target) -> Result<Sample> {
    let mut stream = TcpStream::connect(address).await.context("no connection to the server")?;
    stream.set_nodelay(true)?;
    let (mut request, mut answer) = (Vec::with_capacity(1024), Vec::with_capacity(64 * 1024));
    let mut sample = Sample::new()?;
    while Instant::now() < end {
        request.clear();
        target.write_request(books, &mut request)?;
        let sent = Instant::now();
        match exchange(&mut stream, &request, &mut answer).await {
            Ok((status, _)) if status == target.wanted_status() => sample.record(sent.elapsed()),
            Ok((status, body)) => sample.refuse(|| format!("{status} {}", String::from_utf8_lossy(body))),
            Err(error) => {
                sample.refuse(|| format!("{error:#}"));
                break;
            }
        }
    }
    Ok(sample)
}

/// Sends a request and returns the status and the body of its response.
async fn exchange<'a>(
    stream: &mut TcpStream,
    request: &[u8],
    answer: &'a mut Vec<u8>,
) -> Result<(u16, &'a [u8])> {
    stream.write_all(request).await?;
    answer.clear();
    let mut whole = None;
    loop {
        ensure!(stream.read_buf(answer).await? > 0, "the server closed a connection");
        if whole.is_none()
            && let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let (status, length) = read_head(&answer[..end])?;
            whole = Some((status, end + 4, end + 4 + length));
        }
        if let Some((status, head, all)) = whole
            && answer.len() >= all
        {
            return Ok((status, &answer[head..all]));
        }
    }
}

/// Reads the status and the length of the body.
fn read_head(head: &[u8]) -> Result<(u16, usize)> {
    let head = std::str::from_utf8(head)?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok());
    status.zip(length).with_context(|| format!("a response without status or length: {head}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_status_and_length() {
        let head = b"HTTP/1.1 201 Created\r\nContent-Length: 17\r\ndate: today";
        assert_eq!(read_head(head).unwrap(), (201, 17));
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").is_err());
    }
}
