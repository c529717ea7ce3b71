//! The SQLite file of an installation: checking, creating and locking it.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use persistence::{DatabaseUrl, SchemaVersion, sqlite_file};
use thiserror::Error;

use crate::config::{Config, PRIVATE_FILE, SECRET_KEY_FILE, make_private, private_folder};

/// The first bytes of every SQLite file.
const SQLITE_HEADER: &[u8; 16] = b"SQLite format 3\0";
/// The suffixes of SQLite's files beside a database: the write-ahead log, its index, and the rollback journal.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// When a missing or empty file may be created as a new, empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    Never,
    /// In a missing or empty `DATA_DIR`: a new installation.
    InEmptyDataDir,
    /// With the option `--create`.
    Always,
}

/// Why the file cannot be used, with advice. Paths are absolute.
#[derive(Debug, Error)]
#[error("{setting}: {fault}")]
pub struct Unusable {
    setting: &'static str,
    fault: Fault,
}

#[derive(Debug, Error)]
enum Fault {
    #[error(
        "there is no database at {}. Run the command with the settings of the server and in its folder; for a new \
         installation, run `stockyard serve` first",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "there is no database at {}. Correct the path, or restore a backup with `stockyard restore FILE`. To create \
         a new, empty database there, add --create to the command once",
        .0.display()
    )]
    NotCreated(PathBuf),
    #[error(
        "{} is not empty, and there is no database {} in it. Correct DATA_DIR, or restore a backup with `stockyard \
         restore FILE`. To create a new, empty database there, add --create to the command once",
        .folder.display(), .name
    )]
    UsedFolder { folder: PathBuf, name: String },
    #[error(
        "{} contains the secret_key of an installation, but its database {} is missing. Move the database back, or \
         restore a backup with `stockyard restore FILE`. To start again with an empty database, add --create to the \
         command once",
        .folder.display(), .name
    )]
    Lost { folder: PathBuf, name: String },
    #[error(
        "{} is empty: it does not contain a database. Restore a backup with `stockyard restore --replace FILE`. To \
         create a new, empty database in this file, run `stockyard serve --create` once",
        .0.display()
    )]
    Empty(PathBuf),
    #[error(
        "{} is not a SQLite database. Enter the path of the database file. If the database is damaged, move the file \
         away and restore a backup with `stockyard restore FILE`",
        .0.display()
    )]
    NotSqlite(PathBuf),
    #[error(
        "{} is a folder: enter the path of the database file in it, like {}/stockyard.db",
        .0.display(), .0.display()
    )]
    Folder(PathBuf),
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is a symbolic link to {}, which does not exist", .link.display(), .target.display())]
    DanglingLink { link: PathBuf, target: PathBuf },
    #[error("the folder {} does not exist: correct the path, or create the folder", .0.display())]
    MissingFolder(PathBuf),
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("{} cannot be read ({error}): give read permission to the user that runs Stockyard", .file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{} cannot be written ({error}): give write permission to the user that runs Stockyard", .file.display())]
    ReadOnly { file: PathBuf, error: io::Error },
    #[error(
        "the folder {} cannot be written ({error}): SQLite keeps files beside the database. Give the user that runs \
         Stockyard the right to",
        .folder.display()
    )]
    ReadOnlyFolder { folder: PathBuf, error: io::Error },
    #[error(
        "{} is in use by another Stockyard{}: stop that process first. Several servers can share a database only on \
         PostgreSQL",
        .file.display(), .process
    )]
    InUse { file: PathBuf, process: String },
}

/// The result of a check: a usable database at the path, or none.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Database,
    Empty,
    Missing,
}

/// The lock of the one process that may serve or replace the database. It ends with the process, even after a crash.
#[derive(Debug)]
pub struct DatabaseLock {
    _file: Option<File>,
}

/// The configured path of the database.
#[derive(Debug, Clone)]
pub struct DatabaseFile {
    path: PathBuf,
    /// Only if `DATABASE_URL` is not set.
    data_dir: Option<PathBuf>,
}

impl DatabaseFile {
    /// The database of the configuration; `None` on PostgreSQL.
    ///
    /// # Errors
    /// If a relative path cannot be resolved because the current folder was deleted.
    pub fn from_config(config: &Config) -> Result<Option<Self>> {
        let DatabaseUrl::Sqlite(path) = &config.database_url else { return Ok(None) };
        let absolute = |path: &Path| {
            std::path::absolute(path).with_context(|| format!("{} has no absolute path", path.display()))
        };
        let data_dir = if config.database_in_data_dir { Some(absolute(&config.data_dir)?) } else { None };
        Ok(Some(Self { path: absolute(Path::new(path))?, data_dir }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The setting that names the file.
    pub fn setting(&self) -> &'static str {
        if self.data_dir.is_some() { "DATA_DIR" } else { "DATABASE_URL" }
    }

    /// Checks that the database exists, for commands that never create one.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn require(&self) -> Result<(), Unusable> {
        self.judge(Create::Never).map(drop)
    }

    /// Takes the lock, creates the database if allowed, and removes other users' read permission, for the one process
    /// that serves or migrates. Returns whether the database is new.
    ///
    /// # Errors
    /// [`Unusable`], or the reason why the database cannot be created.
    pub fn take(&self, create: Create) -> Result<(DatabaseLock, bool)> {
        self.judge(create)?;
        if self.data_dir.is_some() {
            private_folder(self.folder())
                .with_context(|| format!("DATA_DIR: {} cannot be created", self.folder().display()))?;
        }
        let lock = self.lock()?;
        // Checked again under the lock, because another process may have created the database in the meantime.
        let is_new = self.judge(create)? != Found::Database;
        if is_new {
            self.create().with_context(|| {
                format!("{}: a database cannot be created at {}", self.setting(), self.path.display())
            })?;
        } else {
            let file = self.real_path();
            make_private(&file);
            BESIDE.iter().for_each(|suffix| make_private(&with_suffix(&file, suffix)));
        }
        Ok((lock, is_new))
    }

    /// Checks that tables may be created: in a file without tables only under the conditions for an empty file.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn check_tables(&self, version: &SchemaVersion, create: Create) -> Result<(), Unusable> {
        match version.is_new && !version.is_foreign && create != Create::Always {
            true => Err(self.unusable(Fault::Empty(self.path.clone()))),
            false => Ok(()),
        }
    }

    /// Checks that a restored database may be put at the path: there is nothing, a database, or an empty file.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn require_replaceable(&self) -> Result<(), Unusable> {
        self.judge(Create::Always).map(drop)
    }

    /// Takes the lock. If another process has it, the error names that process. The folder must exist.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn lock(&self) -> Result<DatabaseLock, Unusable> {
        let path = with_suffix(&self.real_path(), ".lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_FILE)
            .open(&path);
        let unwritable = |error| {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            self.unusable(Fault::ReadOnlyFolder { folder, error })
        };
        let mut file = opened.map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                let process = match process.trim().parse::<u32>() {
                    Ok(id) => format!(" (process {id})"),
                    Err(_) => String::new(),
                };
                return Err(self.unusable(Fault::InUse { file: self.path.clone(), process }));
            }
            // Some network file systems have no such locks. SQLite's own locks still protect the data.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    file = %path.display(), error = &error as &dyn std::error::Error,
                    "the file system has no locks: Stockyard cannot prevent a second server from using this database"
                );
                return Ok(DatabaseLock { _file: None });
            }
        }
        give_to_owner_of_folder(&path);
        make_exactly_private(&file);
        // Only for the message above; the lock works without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DatabaseLock { _file: Some(file) })
    }

    /// Checks the file at the path.
    fn judge(&self, create: Create) -> Result<Found, Unusable> {
        let found = self.inspect().map_err(|fault| self.unusable(fault))?;
        let name = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fault = match (&found, create) {
            (Found::Database, _) | (Found::Empty | Found::Missing, Create::Always) => return Ok(found),
            (Found::Empty, _) => Fault::Empty(self.path.clone()),
            (Found::Missing, Create::Never) => Fault::Missing(self.path.clone()),
            (Found::Missing, Create::InEmptyDataDir) => match &self.data_dir {
                None => Fault::NotCreated(self.path.clone()),
                Some(folder) if self.is_unused(folder) => return Ok(found),
                Some(folder) if folder.join(SECRET_KEY_FILE).exists() => {
                    Fault::Lost { folder: folder.clone(), name: name() }
                }
                Some(folder) => Fault::UsedFolder { folder: folder.clone(), name: name() },
            },
        };
        Err(self.unusable(fault))
    }

    fn unusable(&self, fault: Fault) -> Unusable {
        Unusable { setting: self.setting(), fault }
    }

    fn inspect(&self) -> Result<Found, Fault> {
        let path = || self.path.clone();
        let unreadable = |error| Fault::Unreadable { file: path(), error };
        match std::fs::symlink_metadata(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = self.folder().to_owned();
                return match std::fs::metadata(&folder) {
                    Ok(metadata) if metadata.is_dir() => Ok(Found::Missing),
                    Ok(_) => Err(Fault::NotAFolder(folder)),
                    Err(_) if self.data_dir.is_some() => Ok(Found::Missing),
                    Err(_) => Err(Fault::MissingFolder(folder)),
                };
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(Fault::NotAFolder(self.folder().to_owned()));
            }
            Err(error) => return Err(unreadable(error)),
        }
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let target = std::fs::read_link(&self.path).unwrap_or_default();
                return Err(Fault::DanglingLink { link: path(), target });
            }
            Err(error) => return Err(unreadable(error)),
        };
        if metadata.is_dir() {
            return Err(Fault::Folder(path()));
        }
        if !metadata.is_file() {
            return Err(Fault::NotAFile(path()));
        }
        // Allowed only before this process opens the database, because closing a file releases all of SQLite's locks on
        // it.
        let mut file = File::open(&self.path).map_err(unreadable)?;
        if metadata.len() > 0 && !has_sqlite_header(&mut file).map_err(unreadable)? {
            return Err(Fault::NotSqlite(path()));
        }
        OpenOptions::new()
            .write(true)
            .open(&self.path)
            .map_err(|error| Fault::ReadOnly { file: path(), error })?;
        let folder = self.real_path().parent().unwrap_or(Path::new("/")).to_owned();
        match tempfile::tempfile_in(&folder) {
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                return Err(Fault::ReadOnlyFolder { folder, error });
            }
            // Other errors, such as a full disk, may be temporary.
            _ => {}
        }
        Ok(if metadata.len() > 0 { Found::Database } else { Found::Empty })
    }

    /// Whether a data folder is missing or practically empty. `lost+found` exists in the root of each volume, and an
    /// interrupted first start leaves other files.
    fn is_unused(&self, folder: &Path) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (lock, new) = (format!("{name}.lock"), format!("{name}.new"));
        match std::fs::read_dir(folder) {
            Err(error) => error.kind() == ErrorKind::NotFound,
            Ok(entries) => entries.flatten().all(|entry| {
                let entry = entry.file_name().to_string_lossy().into_owned();
                entry == "lost+found" || entry == lock || entry.starts_with(&new)
            }),
        }
    }

    /// Creates the database with all tables under a temporary name and then renames it, so that the file is always
    /// complete.
    fn create(&self) -> Result<()> {
        let path = self.real_path();
        let new = with_suffix(&path, ".new");
        let remove = || {
            let _ = std::fs::remove_file(&new);
            BESIDE.iter().for_each(|suffix| drop(std::fs::remove_file(with_suffix(&new, suffix))));
        };
        remove();
        let made = || -> Result<()> {
            let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&new)?;
            make_exactly_private(&file);
            sqlite_file::create(&new)?;
            give_to_owner_of_folder(&new);
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            sync_folder_of(&path);
            Ok(())
        };
        made().inspect_err(|_| remove())
    }

    /// The path of the file with symbolic links resolved, so that all processes use the same name.
    pub fn real_path(&self) -> PathBuf {
        std::fs::canonicalize(&self.path)
            .or_else(|_| {
                let folder = std::fs::canonicalize(self.folder())?;
                Ok::<_, io::Error>(folder.join(self.path.file_name().unwrap_or_default()))
            })
            .unwrap_or_else(|_| self.path.clone())
    }
}

/// Appends a suffix to a path, as SQLite names its files beside a database.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether the file begins with SQLite's header.
///
/// # Errors
/// If it cannot be read.
pub fn has_sqlite_header(file: &mut File) -> io::Result<bool> {
    let mut header = Vec::new();
    file.take(SQLITE_HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(header == SQLITE_HEADER)
}

/// Gives a file that root creates in the service's folder to the owner of the folder. Does nothing for other users,
/// because they cannot give files away.
pub fn give_to_owner_of_folder(file: &Path) {
    let Some(folder) = file.parent() else { return };
    if let (Ok(folder), Ok(metadata)) = (std::fs::metadata(folder), std::fs::metadata(file))
        && folder.uid() != metadata.uid()
    {
        let _ = std::os::unix::fs::chown(file, Some(folder.uid()), Some(folder.gid()));
    }
}

/// Restores the owner's permissions that the umask may have removed. Does nothing on systems without permissions.
pub fn make_exactly_private(file: &File) {
    let _ = file.set_permissions(Permissions::from_mode(PRIVATE_FILE));
}

/// Syncs a folder, so that a new name in it survives a power failure. Some file systems do not support this.
pub fn sync_folder_of(file: &Path) {
    if let Some(folder) = file.parent() {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}
