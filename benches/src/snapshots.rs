//! `stockyard snapshot` as a separate process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use chrono::NaiveDate;

pub struct Taken {
    pub took: Duration,
    /// The maximum memory of the process.
    pub most_mib: f64,
}

/// Writes the snapshots of all portfolios: of a session that has closed, or provisional ones at current prices.
pub fn take(binary: &Path, database: &str, session: Option<NaiveDate>) -> Result<Taken> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let mut process = Command::new(binary)
        .arg("snapshot")
        .args(session.iter().flat_map(|date| ["--date".to_owned(), date.to_string()]))
        .env_clear()
        .env("DATABASE_URL", database)
        .env("DATA_DIR", folder.path())
        .env("SECRET_KEY", "bench".repeat(13))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("stockyard snapshot cannot be started")?;
    let mut most_mib = 0.0;
    loop {
        // Read repeatedly, because the figure disappears when the process ends.
        if let Some(mib) = peak_mib(process.id()) {
            most_mib = mib;
        }
        match process.try_wait()? {
            Some(status) if status.success() => return Ok(Taken { took: start.elapsed(), most_mib }),
            Some(status) => bail!("stockyard snapshot failed: {status}"),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Takes provisional snapshots of all portfolios again and again while `work` runs.
pub fn take_during<T>(binary: &Path, database: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                take(binary, database, None)?;
            }
            Ok(())
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        taking.join().map_err(|_| anyhow!("the thread that takes snapshots panicked"))??;
        done
    })
}

fn peak_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
