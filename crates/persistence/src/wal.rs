//! Keeps SQLite's write-ahead log small: by the size it may reach, and by the space that the disk has left.
//!
//! A log is copied into the file by a checkpoint, which needs space for pages that are new. A disk that is filled by the
//! log itself would leave none: so the log is emptied while there is space, and when the disk is full the keeper tries again
//! until space was freed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tokio::sync::Mutex;

/// What the log may reach. SQLite's own checkpoints, every 32 MiB, copy it but never make the file shorter, and
/// do not begin it anew while somebody reads an old state.
pub(crate) const MOST_BYTES: u64 = 64 << 20;
/// A log that small is left alone, however full the disk is.
const LEAST_BYTES: u64 = 256 << 10;
/// A longer log is worth a warning: readers have kept it from being emptied.
const WARN_BYTES: u64 = 4 * MOST_BYTES;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After how many pages of the log a connection begins a checkpoint by itself: 8192 (32 MiB) and not, as by default, 1000.
/// Orders of many portfolios touch so many pages that every other batch would wait for one. On a small disk it is a
/// sixteenth of what is free.
pub(crate) fn checkpoint_pages(file: &str) -> u64 {
    (free_bytes(Path::new(file)) / 16 / PAGE_BYTES).clamp(64, 8192)
}

/// SQLite's default size.
const PAGE_BYTES: u64 = 4096;

/// What processes without special rights can still write to the disk of that file.
fn free_bytes(file: &Path) -> u64 {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Looks after the log as long as it exists.
pub(crate) struct WalKeeper {
    _alive: mpsc::Sender<()>,
}

impl WalKeeper {
    /// `writer` is held while the log is emptied, so that writers of this process wait in their queue and do not poll.
    pub fn start(path: &str, writer: Arc<Mutex<()>>) -> Self {
        let (alive, ended) = mpsc::channel();
        let mut log = Log {
            file: path.to_owned(),
            path: format!("{path}-wal").into(),
            conn: None,
            has_failed: false,
            was_long: false,
        };
        let look = move || {
            // The first look comes at once: after a crash the log may be as long as the disk allowed.
            loop {
                log.look(&writer);
                if let Err(RecvTimeoutError::Disconnected) = ended.recv_timeout(LOOK_EVERY) {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("wal-keeper".to_owned()).spawn(look);
        if let Err(error) = started {
            tracing::warn!(error = &error as &dyn std::error::Error, "nobody looks after the database's log");
        }
        Self { _alive: alive }
    }
}

struct Log {
    file: String,
    path: PathBuf,
    /// Made when it is first needed.
    conn: Option<SqliteConnection>,
    /// The events were logged, and their ends were not.
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

    fn look(&mut self, writer: &Mutex<()>) {
        let bytes = self.bytes();
        if bytes >= LEAST_BYTES && bytes > most_bytes(free_bytes(&self.path)) {
            self.empty(bytes, writer);
        }
        let is_long = bytes > WARN_BYTES;
        if is_long && !self.was_long {
            tracing::warn!(
                bytes,
                "the database's log cannot be emptied: somebody reads an old state for long"
            );
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

    /// Returns whether the log is empty now; readers of an old state can keep it from being emptied.
    fn checkpoint(&mut self, writer: &Mutex<()>) -> QueryResult<bool> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(connect(&self.file)?),
        };
        // Copies while others write, so that those who wait for the rest wait shortly.
        conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?;
        let turn = writer.blocking_lock();
        let row: Checkpointed = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(conn)?;
        drop(turn);
        Ok(row.busy == 0)
    }
}

/// Half of what is free: then the file can grow by the whole log, and by what is written meanwhile.
fn most_bytes(free: u64) -> u64 {
    (free / 2).min(MOST_BYTES)
}

fn connect(file: &str) -> QueryResult<SqliteConnection> {
    let refused = |error: ConnectionError| diesel::result::Error::QueryBuilderError(error.into());
    let mut conn = SqliteConnection::establish(file).map_err(refused)?;
    // Readers are waited for, and writers wait meanwhile: shortly.
    conn.batch_execute("PRAGMA busy_timeout = 200; PRAGMA synchronous = FULL")?;
    Ok(conn)
}
