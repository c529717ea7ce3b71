//! Event streams: many clients that follow prices. They run on one thread, because they share two cores with the
//! server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chrono::DateTime;
use domain::{Symbol, UserId};
use futures::StreamExt;
use hdrhistogram::Histogram;
use market_data::{Catalogue, DEFAULT_SEED, QuoteSource, Simulated};
use persistence::users::{self, NewUser};
use persistence::{DatabaseUrl, Store, StoreError};
use services::accounts::tokens::Scope;
use services::{Clock, Market, Services, ServicesConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::server::Server;

/// The number of symbols whose prices change, and how many of them each client follows.
const SYMBOLS: usize = 50;
const FOLLOWED: usize = 10;
/// The maximum number of streams per user.
const PER_USER: usize = 10;
/// How many connections are opened at the same time.
const AT_ONCE: usize = 64;
/// How long to wait until all clients are connected and memory use is stable.
const SETTLING: Duration = Duration::from_secs(5);
/// The number of files that the server and the clients need for other purposes.
const OTHER_FILES: usize = 200;

/// Opens this many streams, listens for a while, and prints what they cost. Returns how many were refused or broke.
pub fn measure(binary: &Path, database: &str, redis: &str, clients: usize, time: Duration) -> Result<u64> {
    check_files(clients)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tokens = runtime.block_on(fill(database, clients.div_ceil(PER_USER)))?;
    let symbols = symbols()?;
    let server = Server::start(binary, database, Some(redis), "256")?;
    runtime.block_on(async {
        // The first streams cause initialization that all others share.
        let (stop, stopped) = watch::channel(Phase::Settling);
        let warm = tokio::spawn(listen(server.address, request(&tokens, &symbols, 0), stopped.clone()));
        tokio::time::sleep(SETTLING).await;
        let memory_before = memory(server.id())?;

        let mut listening = JoinSet::new();
        let mut opened = futures::stream::iter(1..clients)
            .map(|client| open(server.address, request(&tokens, &symbols, client)))
            .buffer_unordered(AT_ONCE);
        let mut broken = 0;
        while let Some(stream) = opened.next().await {
            match stream {
                Ok((stream, rest)) => {
                    listening.spawn(read(stream, rest, stopped.clone()));
                }
                Err(error) => {
                    broken += 1;
                    eprintln!("a stream was refused: {error:#}");
                }
            }
        }
        tokio::time::sleep(SETTLING).await;
        stop.send_replace(Phase::Measuring);
        let (start, server_before, own_before) = (Instant::now(), cpu_s(server.id())?, cpu_s(std::process::id())?);
        tokio::time::sleep(time).await;
        let took_s = start.elapsed().as_secs_f64();
        let server_cores = (cpu_s(server.id())? - server_before) / took_s;
        let own_cores = (cpu_s(std::process::id())? - own_before) / took_s;
        let memory_with = memory(server.id())?;
        stop.send_replace(Phase::Over);

        let mut delays = Histogram::<u64>::new_with_max(60_000_000, 3)?;
        let mut bytes = 0;
        let all = std::iter::once(warm.await.context("a client failed")?);
        for heard in all.chain(listening.join_all().await) {
            match heard {
                Ok(heard) => {
                    delays.add(&heard.delays)?;
                    bytes += heard.bytes;
                }
                Err(error) => {
                    broken += 1;
                    eprintln!("a stream broke: {error:#}");
                }
            }
        }
        let ms = |quantile: f64| to_f64(delays.value_at_quantile(quantile)) / 1000.0;
        let others = to_f64(clients as u64 - 1).max(1.0);
        println!("{clients} streams, each following {FOLLOWED} of {SYMBOLS} symbols that tick once a second");
        println!(
            "  memory   {:.1} KB per stream ({:.1} MB with one, {:.1} MB with all)",
            to_f64(memory_with.saturating_sub(memory_before)) / others,
            to_f64(memory_before) / 1024.0,
            to_f64(memory_with) / 1024.0
        );
        println!("  CPU      server {server_cores:.2} cores, clients {own_cores:.2}");
        println!(
            "  quotes   {:.0} a second, {:.1} MB/s",
            to_f64(delays.len()) / took_s,
            to_f64(bytes) / took_s / 1e6
        );
        println!(
            "  delay    p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms, from the quote's own time to its arrival",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        );
        Ok(broken)
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Checks that server and clients may open a file for every stream.
fn check_files(clients: usize) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let most: usize = line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX);
    let needed = clients + OTHER_FILES;
    ensure!(most >= needed, "{most} files may be open, {needed} are needed: run `ulimit -n {needed}` first");
    Ok(())
}

fn symbols() -> Result<Vec<Symbol>> {
    let Catalogue::Complete(listings) = Simulated::new(DEFAULT_SEED).catalogue(Clock::system().now()) else {
        bail!("the simulated market lists all")
    };
    ensure!(listings.len() >= SYMBOLS, "the simulated market has {} stocks", listings.len());
    Ok(listings.into_iter().take(SYMBOLS).map(|listing| listing.symbol).collect())
}

/// Creates users, and returns one token for each.
async fn fill(database: &str, count: usize) -> Result<Vec<String>> {
    let store = Store::open(DatabaseUrl::Postgres(database.to_owned()), 2)?;
    store.migrate().await?;
    let market = Market::new(std::sync::Arc::new(Simulated::new(DEFAULT_SEED)), Clock::system());
    let services = Services::new(store.clone(), market, ServicesConfig::default());
    let now = services.market().now();
    let made: Result<Vec<UserId>, StoreError> = store
        .write(move |tx| {
            let user = |number| NewUser {
                username: format!("user-{number}"),
                email: format!("user-{number}@example.org"),
                password_hash: String::new(),
                first_name: String::new(),
                last_name: String::new(),
                date_joined: now,
                is_active: true,
                is_admin: false,
                password_changed_at: now,
            };
            (0..count).map(|number| Ok(users::insert(tx, user(number))?.id)).collect()
        })
        .await;
    let mut tokens = Vec::with_capacity(count);
    for user in made? {
        tokens.push(services.accounts().create_token(user, "bench", Scope::Read, None).await?.1);
    }
    Ok(tokens)
}

fn request(tokens: &[String], symbols: &[Symbol], client: usize) -> String {
    let followed: Vec<&str> =
        (0..FOLLOWED).map(|place| symbols[(client * 7 + place * 5) % symbols.len()].as_str()).collect();
    format!(
        "GET /api/v1/stream?symbols={} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        followed.join(","),
        tokens[client / PER_USER]
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Settling,
    Measuring,
    Over,
}

struct Heard {
    /// Delays in microseconds.
    delays: Histogram<u64>,
    bytes: u64,
}

/// Opens a stream, and returns it with the part of it that arrived together with the response's head.
async fn open(address: SocketAddr, request: String) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await.context("no connection to the server")?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(4096);
    loop {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the server closed a connection");
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            return Ok((stream, answer.split_off(end + 4)));
        }
    }
}

async fn listen(address: SocketAddr, request: String, phase: watch::Receiver<Phase>) -> Result<Heard> {
    let (stream, rest) = open(address, request).await?;
    read(stream, rest, phase).await
}

async fn read(mut stream: TcpStream, mut text: Vec<u8>, mut phase: watch::Receiver<Phase>) -> Result<Heard> {
    let mut heard = Heard { delays: Histogram::new_with_max(60_000_000, 3)?, bytes: 0 };
    loop {
        let now = *phase.borrow_and_update();
        if now == Phase::Over {
            return Ok(heard);
        }
        let count = tokio::select! {
            count = stream.read_buf(&mut text) => count?,
            _ = phase.changed() => continue,
        };
        ensure!(count > 0, "the server ended a stream");
        if now == Phase::Measuring {
            heard.bytes += count as u64;
            heard.note(&text);
        }
        // An incomplete event is kept until the rest arrives.
        let whole = text.windows(2).rposition(|bytes| bytes == b"\n\n").map_or(0, |end| end + 2);
        text.drain(..whole);
    }
}

impl Heard {
    /// Records the delays of all complete events.
    fn note(&mut self, text: &[u8]) {
        const KEY: &str = "\"as_of\":\"";
        let arrived = Clock::system().wall();
        let text = String::from_utf8_lossy(text);
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        for rest in whole.split(KEY).skip(1) {
            let at = rest.split('"').next().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
            if let Some(at) = at {
                let delay = (arrived.utc() - at.to_utc()).num_microseconds().unwrap_or(i64::MAX);
                self.delays.saturating_record(u64::try_from(delay).unwrap_or(0));
            }
        }
    }
}

/// Resident memory of a process, in KB.
fn memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("a process without memory")
}

/// Processor seconds of a process.
fn cpu_s(process: u32) -> Result<f64> {
    crate::cpu::of_process(process).context("a process without time")
}
