//! Checks that the open SQLite file is still the one at its path. After the file was deleted, replaced or moved, its
//! connections would continue to write to a file that no path leads to.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use crate::StoreError;

/// Why the file is no longer usable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileLost {
    #[error(
        "the database file {} was deleted or moved while it was in use. Nothing can be written until it is back: \
         stop Stockyard, put the file or a backup at the path of DATABASE_URL or DATA_DIR, and start it again",
        .0.display()
    )]
    Gone(PathBuf),
    #[error(
        "the database file {} was replaced by another file while it was in use. Nothing can be written: restart Stockyard \
         to use the file that is there now",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error(
        "the log {} of the database was deleted while it was in use. Nothing can be written: restart Stockyard, and check \
         the books with `stockyard verify`",
        .0.display()
    )]
    LogGone(PathBuf),
}

impl From<FileLost> for StoreError {
    fn from(lost: FileLost) -> Self {
        Self::Unavailable(Box::new(lost))
    }
}

#[derive(Debug)]
pub(crate) struct OpenedFile {
    path: PathBuf,
    log: PathBuf,
    /// Device and inode of the file that was opened.
    identity: OnceLock<(u64, u64)>,
    /// Whether the loss was logged.
    is_lost: AtomicBool,
}

impl OpenedFile {
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            log: format!("{path}-wal").into(),
            identity: OnceLock::new(),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Remembers the open file. Called after the first connection.
    pub fn remember(&self) {
        if let Some(identity) = identity(&self.path) {
            // An error means that an earlier connection has already stored the identity.
            let _ = self.identity.set(identity);
        }
    }

    /// Checks the file before a connection is opened. Costs one system call and reads no data.
    pub fn check(&self) -> Result<(), FileLost> {
        let Some(opened) = self.identity.get() else { return Ok(()) };
        self.note(match identity(&self.path) {
            Some(found) if found == *opened => Ok(()),
            Some(_) => Err(FileLost::Replaced(self.path.clone())),
            None => Err(FileLost::Gone(self.path.clone())),
        })
    }

    /// Checks the file and its write-ahead log before the COMMIT of a transaction that has written.
    pub fn check_with_log(&self) -> Result<(), FileLost> {
        self.check()?;
        match self.log.exists() {
            true => Ok(()),
            false => self.note(Err(FileLost::LogGone(self.log.clone()))),
        }
    }

    fn note(&self, found: Result<(), FileLost>) -> Result<(), FileLost> {
        let was_lost = self.is_lost.swap(found.is_err(), Ordering::Relaxed);
        match (&found, was_lost) {
            (Err(lost), false) => tracing::error!(event = "database_file_lost", "{lost}"),
            (Ok(()), true) => {
                tracing::info!(event = "database_file_back", "the database file is back at its path")
            }
            _ => {}
        }
        found
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_moved_or_replaced_file_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("x.db"), folder.path().join("aside.db"));
        let file = OpenedFile::new(path.to_str().unwrap());
        assert_eq!(file.check(), Ok(()), "nothing was opened yet");
        std::fs::write(&path, "one").unwrap();
        file.remember();
        assert_eq!(file.check(), Ok(()));
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(file.check(), Err(FileLost::Gone(path.clone())));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.check(), Err(FileLost::Replaced(path.clone())));
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(file.check(), Ok(()));
        let log = folder.path().join("x.db-wal");
        assert_eq!(file.check_with_log(), Err(FileLost::LogGone(log.clone())));
        std::fs::write(&log, "").unwrap();
        assert_eq!(file.check_with_log(), Ok(()));
    }
}
