//! Keeps SQLite's write-ahead log small, depending on its size and on the free space of the disk.
//!
//! A checkpoint copies the log into the file, which needs space for new pages. If the log filled the disk, there would
//! be none, so the log is emptied while there is space; on a full disk the keeper retries until space is free.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tokio::sync::Mutex;

/// The largest size of the log. SQLite's own checkpoints, every 32 MiB, copy the log but never shorten its file, and do
/// not restart the log while a reader uses an old state.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// A log smaller than this is not emptied, even if the disk is full.
const MIN_BYTES: u64 = 256 << 10;
/// A log larger than this causes a warning: readers prevent it from being emptied.
const WARN_BYTES: u64 = 4 * MAX_BYTES;
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The number of log pages after which a connection starts a checkpoint: 8192 (32 MiB) instead of the default of 1000.
/// Orders of many portfolios change so many pages that every other batch would wait for a checkpoint. On a small disk
/// it is a sixteenth of the free space.
pub(crate) fn checkpoint_pages(file: &str) -> u64 {
    (free_bytes(Path::new(file)) / 16 / PAGE_BYTES).clamp(64, 8192)
}

/// SQLite's default page size.
const PAGE_BYTES: u64 = 4096;

/// The free space that unprivileged processes can use on the file's disk.
fn free_bytes(file: &Path) -> u64 {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Keeps the log small while it exists.
pub(crate) struct WalKeeper {
    _alive: mpsc::Sender<()>,
}

impl WalKeeper {
    /// Starts the keeper. It holds `writer` while it empties the log, so that writers of this process wait in their
    /// queue instead of polling.
    pub fn start(path: &str, writer: Arc<Mutex<()>>) -> Self {
        let (alive, ended) = mpsc::channel();
        let mut log = Log {
            file: path.to_owned(),
            path: format!("{path}-wal").into(),
            conn: None,
            has_failed: false,
            was_long: false,
        };
        let check = move || {
            // The first check is immediate: after a crash the log may be very long.
            loop {
                log.check(&writer);
                if let Err(RecvTimeoutError::Disconnected) = ended.recv_timeout(CHECK_INTERVAL) {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("wal-keeper".to_owned()).spawn(check);
        if let Err(error) = started {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database's log is not kept small");
        }
        Self { _alive: alive }
    }
}

struct Log {
    file: String,
    path: PathBuf,
    /// The connection, which is opened when it is first needed.
    conn: Option<SqliteConnection>,
    /// Whether a failure was logged and the recovery was not logged yet.
    has_failed: bool,
    was_long: bool,
}

#[derive(QueryableByName)]
struct Checkpointed {
    #[diesel(sql_type = BigInt)]
    busy: i64,
}

impl Log {
    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    fn check(&mut self, writer: &Mutex<()>) {
        let bytes = self.bytes();
        if bytes >= MIN_BYTES && bytes > size_limit(free_bytes(&self.path)) {
            self.empty(bytes, writer);
        }
        let is_long = bytes > WARN_BYTES;
        if is_long && !self.was_long {
            tracing::warn!(bytes, "the database's log cannot be emptied: a reader uses an old state");
        }
        self.was_long = is_long;
    }

    fn empty(&mut self, bytes: u64, writer: &Mutex<()>) {
        let emptied = self.checkpoint(writer);
        match &emptied {
            Ok(emptied) => {
                if self.has_failed {
                    tracing::info!("the database's log can be emptied again");
                }
                self.has_failed = false;
                tracing::debug!(bytes, emptied, "checkpoint of the database's log");
            }
            Err(error) => {
                self.conn = None;
                if !self.has_failed {
                    tracing::error!(
                        event = "wal_not_emptied",
                        error = error as &dyn std::error::Error,
                        bytes,
                        free_bytes = free_bytes(&self.path),
                        "the database's log cannot be emptied: free space on the disk of DATABASE_URL or DATA_DIR. It is \
                         tried again all the time"
                    );
                }
                self.has_failed = true;
            }
        }
    }

    /// Empties the log and returns whether it is empty now; readers of an old state can prevent that.
    fn checkpoint(&mut self, writer: &Mutex<()>) -> QueryResult<bool> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(connect(&self.file)?),
        };
        // Copies while others can write, so that the wait for the rest is short.
        conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?;
        let turn = writer.blocking_lock();
        let row: Checkpointed = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(conn)?;
        drop(turn);
        Ok(row.busy == 0)
    }
}

/// Half of the free space: then the file can grow by the whole log and by simultaneous writes.
fn size_limit(free: u64) -> u64 {
    (free / 2).min(MAX_BYTES)
}

fn connect(file: &str) -> QueryResult<SqliteConnection> {
    let refused = |error: ConnectionError| diesel::result::Error::QueryBuilderError(error.into());
    let mut conn = SqliteConnection::establish(file).map_err(refused)?;
    // The keeper waits for readers, and writers wait for the keeper, so the timeout is short.
    conn.batch_execute("PRAGMA busy_timeout = 200; PRAGMA synchronous = FULL")?;
    Ok(conn)
}
