//! `stockyard serve` as a separate process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running server, which ends when this value is dropped.
pub struct Server {
    pub address: SocketAddr,
    process: Child,
    /// The time from the start of the process until it was ready.
    pub started_in: Duration,
    /// The folder of its log, which has one line per request as in normal use.
    _folder: tempfile::TempDir,
}

/// Creates an empty SQLite database with all tables.
pub fn create_database(binary: &Path, database: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let status = Command::new(binary)
        .args(["migrate", "--create"])
        .env_clear()
        .env("DATABASE_URL", database)
        .env("DATA_DIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { bail!("stockyard migrate --create failed: {status}") }
}

impl Server {
    /// Starts a server on a free port and waits until it is ready.
    pub fn start(binary: &Path, database: &str, redis: Option<&str>, order_batch: &str) -> Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("server.log");
        let process = Command::new(binary)
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", database)
            .envs(redis.map(|url| ("REDIS_URL", url)))
            .env("DATA_DIR", folder.path())
            .env("PORT", address.port().to_string())
            .env("SECRET_KEY", "bench".repeat(13))
            .env("RATE_LIMITS", "off")
            // All clients have the same address.
            .env("CONNECTIONS_PER_ADDRESS", "20000")
            .env("ORDER_BATCH", order_batch)
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let start = Instant::now();
        let mut server = Self { address, process, started_in: Duration::ZERO, _folder: folder };
        while !server.is_ready() {
            if server.process.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(30) {
                bail!("stockyard serve did not start in time: {}", std::fs::read_to_string(log)?);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        server.started_in = start.elapsed();
        Ok(server)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The current memory of the process (`VmRSS`) and its maximum so far (`VmHWM`), in MiB.
    pub fn memory_mib(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let figure = |name: &str| -> Option<f64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes / 1024.0)
        };
        figure("VmRSS:").zip(figure("VmHWM:")).context("this needs Linux's /proc")
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream
                .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
