//! `stockyard backup` and `stockyard restore`: copy the SQLite database, and replace it by a copy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use persistence::{Store, StoreError, sqlite_file};
use services::Clock;
use tempfile::NamedTempFile;

use crate::config::{Config, private_folder};
use crate::database_file::{
    BESIDE, DatabaseFile, give_to_owner_of_folder, has_sqlite_header, make_exactly_private, sync_folder_of,
    with_suffix,
};
use crate::wiring;

/// Copies the database to a new file, even while a server uses it.
pub async fn backup(config: &Config, file: &Path) -> Result<ExitCode> {
    let Some(database) = DatabaseFile::from_config(config)? else {
        bail!(
            "`backup` is for SQLite. For PostgreSQL, run: pg_dump --format=custom --file={} \"$DATABASE_URL\"",
            file.display()
        );
    };
    database.require()?;
    if std::fs::symlink_metadata(file).is_ok() {
        bail!("{} exists already: choose another name", file.display());
    }
    let store = Store::open(config.database_url.clone(), 1)
        .with_context(|| format!("{}: {} cannot be opened", database.setting(), database.path().display()))?;
    // Older tables may be copied, because backups are made before an upgrade. Newer tables may mean that this is the
    // wrong version of the program.
    let version = store.schema_version().await.with_context(|| wiring::cannot_be_used(config))?;
    version.check_known().with_context(|| wiring::cannot_be_used(config))?;

    let not_written =
        || format!("the copy could not be written to {}; no file was left there", file.display());
    let copy = private_file_beside(file).with_context(not_written)?;
    let path = copy.path().to_str().context("the file's name is not valid UTF-8")?.to_owned();
    store.backup(path).await.with_context(not_written)?;
    copy.as_file().sync_all().with_context(not_written)?;
    copy.persist_noclobber(file).with_context(not_written)?;
    sync_folder_of(file);
    if let Err(error) = services::operations::backups::record(&store).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the backup is complete, but its time could not be recorded");
    }
    say!("Copied {} to {}.", config.database_url, file.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Checks a backup and replaces the configured database with it.
pub async fn restore(config: &Config, file: &Path, replace: bool) -> Result<ExitCode> {
    let Some(database) = DatabaseFile::from_config(config)? else {
        bail!(
            "`restore` is for SQLite. For PostgreSQL, use an empty database and run: pg_restore --no-owner \
             --exit-on-error --single-transaction --dbname=\"$DATABASE_URL\" {}",
            file.display()
        );
    };
    let (file, clock) = (file.to_owned(), Clock::system());
    let stamp = clock.wall().utc().format("%Y%m%dT%H%M%SZ").to_string();
    tokio::task::spawn_blocking(move || restore_file(&database, &file, replace, &stamp)).await?
}

fn restore_file(database: &DatabaseFile, file: &Path, replace: bool, stamp: &str) -> Result<ExitCode> {
    let shown = file.display();
    let mut source = open_backup(file)?;
    let target = database.real_path();
    if std::fs::canonicalize(file).is_ok_and(|path| path == target) {
        bail!("{shown} is the database itself: enter the path of a backup");
    }
    database.require_replaceable()?;
    let folder = database.folder();
    if database.setting() == "DATA_DIR" {
        private_folder(folder)
            .with_context(|| format!("DATA_DIR: {} cannot be created", folder.display()))?;
    }
    let _lock = database.lock()?;
    let exists = target.exists();
    if exists && !replace {
        bail!(
            "{} exists already. With --replace the backup replaces it, and the existing database is renamed",
            target.display()
        );
    }

    // A copy is checked and moved into place, so the backup itself stays unchanged.
    let not_copied = || format!("{shown} could not be copied to {}; nothing was changed", folder.display());
    let copy = private_file_beside(&target).with_context(not_copied)?;
    let _log_of_copy = FilesBeside(copy.path().to_owned());
    io::copy(&mut source, &mut copy.as_file()).with_context(not_copied)?;
    let log = with_suffix(file, "-wal");
    if log.exists() {
        std::fs::copy(&log, with_suffix(copy.path(), "-wal")).with_context(not_copied)?;
    }
    let refused = || format!("{shown} cannot be restored, and nothing was changed");
    let version = sqlite_file::check_alone(copy.path()).with_context(refused)?;
    version.check_known().with_context(refused)?;
    copy.as_file().sync_all().with_context(not_copied)?;

    let kept = set_aside(&target, stamp)?;
    copy.persist_noclobber(&target).with_context(|| match &kept {
        Some(kept) => {
            format!("{} could not be restored; the previous database is now {}", shown, kept.display())
        }
        None => format!("{shown} could not be restored"),
    })?;
    give_to_owner_of_folder(&target);
    sync_folder_of(&target);

    say!("Restored {shown} to {}.", target.display())?;
    if let Some(kept) = kept {
        say!("The previous database is now {}.", kept.display())?;
    }
    match version.pending.len() {
        0 => say!("Run `stockyard verify` to check its books.")?,
        _ => say!(
            "It was written by an older version: run `stockyard serve` or `stockyard migrate` to update it, and then \
             `stockyard verify` to check its books."
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn open_backup(file: &Path) -> Result<File> {
    let shown = file.display();
    let mut source = File::open(file).with_context(|| format!("the backup {shown} cannot be read"))?;
    if !source.metadata()?.is_file() {
        bail!("the backup {shown} is not a file");
    }
    if !has_sqlite_header(&mut source).with_context(|| format!("the backup {shown} cannot be read"))? {
        bail!(
            "the backup {shown} is not a SQLite database: `stockyard restore` needs a file that was written by \
             `stockyard backup`. Use pg_restore for a dump of PostgreSQL"
        );
    }
    io::Seek::rewind(&mut source)?;
    Ok(source)
}

/// Renames the database and SQLite's files beside it, and returns the new name of the database.
fn set_aside(target: &Path, stamp: &str) -> Result<Option<PathBuf>> {
    let kept = with_suffix(target, &format!(".replaced-{stamp}"));
    let exists = target.exists();
    if exists {
        match sqlite_file::fold_log(target) {
            Ok(()) => {}
            Err(error @ (StoreError::Query(_) | StoreError::Busy(_))) if is_readable(target) => {
                return Err(error).with_context(|| {
                    format!(
                        "{} is in use, and nothing was changed: stop the programs that have it open",
                        target.display()
                    )
                });
            }
            // The database is damaged: it is kept as it is, with its log.
            Err(_) => {}
        }
    }
    let rename = |from: &Path, to: &Path| {
        if to.exists() {
            bail!("{} exists already: try again in a second", to.display());
        }
        std::fs::rename(from, to)
            .with_context(|| format!("{} cannot be renamed to {}", from.display(), to.display()))
    };
    if exists {
        rename(target, &kept)?;
    }
    // SQLite would apply a log that is left at the path to the new file.
    for suffix in BESIDE {
        let beside = with_suffix(target, suffix);
        if beside.exists() {
            rename(&beside, &with_suffix(&kept, suffix))?;
        }
    }
    sync_folder_of(target);
    Ok(exists.then_some(kept))
}

fn is_readable(file: &Path) -> bool {
    File::open(file).is_ok_and(|mut file| has_sqlite_header(&mut file).unwrap_or(false))
        && sqlite_file::has_readable_tables(file)
}

/// SQLite's files beside a file that is not in place yet. They are deleted at the end.
struct FilesBeside(PathBuf);

impl Drop for FilesBeside {
    fn drop(&mut self) {
        BESIDE.iter().for_each(|suffix| drop(std::fs::remove_file(with_suffix(&self.0, suffix))));
    }
}

/// Creates a file in the same folder that only its owner can read. It is deleted unless it gets a name.
fn private_file_beside(file: &Path) -> io::Result<NamedTempFile> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let made = tempfile::Builder::new().prefix(".stockyard-").tempfile_in(folder)?;
    make_exactly_private(made.as_file());
    Ok(made)
}
