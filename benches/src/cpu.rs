//! Measures processor time, to tell on a shared machine how much other programs have disturbed a measurement.

use std::fs;

use anyhow::{Context, Result};

/// Linux counts processor time for programs in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// The content of `/proc/PID/stat`; times are in ticks.
struct Process {
    id: u64,
    parent: u64,
    own: u64,
    /// The time of ended child processes.
    children: u64,
}

fn process(id: &str) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The process name in parentheses may contain spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Process {
        id: stat.split_whitespace().next()?.parse().ok()?,
        parent: field(1)?,
        own: field(11)? + field(12)?,
        children: field(13)? + field(14)?,
    })
}

/// Seconds that a process itself has used until now.
#[expect(clippy::cast_precision_loss, reason = "ticks of years are below 2^53")]
pub fn of_process(id: u32) -> Option<f64> {
    process(&id.to_string()).map(|process| process.own as f64 / TICKS_PER_SECOND)
}

/// Separates the processor time of this program, its children and the PostgreSQL server from that of other programs.
pub struct Meter {
    this: u64,
    postmaster: u64,
}

impl Meter {
    /// `backend` is the id of a PostgreSQL process that serves a connection.
    pub fn new(backend: i32) -> Result<Self> {
        let of = |id: &str| process(id).with_context(|| format!("/proc/{id}/stat cannot be read"));
        Ok(Self { this: of("self")?.id, postmaster: of(&backend.to_string())?.parent })
    }

    /// Seconds of processor time that other programs have used so far.
    #[expect(clippy::cast_precision_loss, reason = "ticks of years are below 2^53")]
    pub fn others_s(&self) -> Result<f64> {
        let all = fs::read_to_string("/proc/stat")?;
        // user nice system idle iowait irq softirq
        let fields: Vec<u64> =
            all.lines().next().unwrap_or_default().split_whitespace().flat_map(str::parse).collect();
        let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|place| fields.get(*place)).sum();
        let mut ours = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(process) else { continue };
            if [self.this, self.postmaster].contains(&process.id) {
                ours += process.own + process.children;
            } else if [self.this, self.postmaster].contains(&process.parent) {
                ours += process.own;
            }
        }
        Ok(busy.saturating_sub(ours) as f64 / TICKS_PER_SECOND)
    }
}
