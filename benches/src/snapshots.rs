//! `stockyard snapshot` as a separate process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use chrono::NaiveDate;

use crate::process::{self, Finished};

/// Writes the snapshots of all portfolios: of a session that has closed, or provisional ones at current prices.
pub fn take(binary: &Path, database: &str, session: Option<NaiveDate>) -> Result<Finished> {
    match session {
        Some(date) => process::run(binary, database, &["snapshot", "--date", &date.to_string()]),
        None => process::run(binary, database, &["snapshot"]),
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
