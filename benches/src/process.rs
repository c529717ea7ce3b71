//! A command of `stockyard` as a separate process, with its time and memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub struct Finished {
    pub took: Duration,
    /// The maximum memory of the process.
    pub most_mib: f64,
}

/// Runs a command until it ends.
///
/// # Errors
/// If the command fails.
pub fn run(binary: &Path, database: &str, arguments: &[&str]) -> Result<Finished> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let mut process = Command::new(binary)
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", database)
        .env("DATA_DIR", folder.path())
        .env("SECRET_KEY", "bench".repeat(13))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("stockyard {arguments:?} cannot be started"))?;
    let mut most_mib = 0.0;
    loop {
        // Read repeatedly, because the figure disappears when the process ends.
        if let Some(mib) = peak_mib(process.id()) {
            most_mib = mib;
        }
        match process.try_wait()? {
            Some(status) if status.success() => return Ok(Finished { took: start.elapsed(), most_mib }),
            Some(status) => bail!("stockyard {arguments:?} failed: {status}"),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn peak_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
