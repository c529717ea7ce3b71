//! The version of the tables: the migrations of this program, and those that the database has executed.

use std::time::Duration;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::{Conn, Failed};
use crate::error::BoxError;
use crate::watch::Limits;
use crate::{Store, StoreError};

const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

diesel::table! {
    /// The migrations that have run; diesel creates and writes this table.
    __diesel_schema_migrations (version) { version -> Text, }
}

/// The deadline of one statement of a migration.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The tables of a database, compared with those that this program expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    /// Whether no migration has ever been executed.
    pub is_new: bool,
    /// Whether the database is a SQLite file that contains only tables of other programs. A PostgreSQL database may
    /// contain such tables too, and is not foreign.
    pub is_foreign: bool,
    /// Migrations of this program that the database has not executed, in order.
    pub pending: Vec<String>,
    /// Migrations of the database that this program does not have, in order: a newer version executed them.
    pub unknown: Vec<String>,
}

impl SchemaVersion {
    /// Checks that this program knows all migrations of the database.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if the database has executed unknown migrations, or [`StoreError::ForeignTables`].
    pub fn check_known(&self) -> Result<(), StoreError> {
        match self.unknown.as_slice() {
            [] if self.is_foreign => Err(StoreError::ForeignTables),
            [] => Ok(()),
            unknown => Err(StoreError::NewerSchema { unknown: unknown.to_vec() }),
        }
    }

    /// Checks that the tables are those of this program.
    ///
    /// # Errors
    /// The same as [`Self::check_known`], or [`StoreError::PendingMigrations`] if the tables are older than this program.
    pub fn check_current(&self) -> Result<(), StoreError> {
        self.check_known()?;
        if self.pending.is_empty() { Ok(()) } else { Err(StoreError::PendingMigrations) }
    }
}

impl Store {
    /// Runs the pending migrations and returns their names.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer version has migrated the database, which then stays unchanged;
    /// [`StoreError::ForeignTables`] if a SQLite file belongs to another program; otherwise the error of a migration.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        // A migration may rebuild a large table.
        let store = self.within(MIGRATION_TIMEOUT);
        store.blocking(|conn| conn.migrate(Some(Limits::new(MIGRATION_TIMEOUT)))).await
    }

    /// Reads the version of the tables.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        self.blocking(Conn::schema_version).await
    }

    /// Checks that the tables are those of this program.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] or [`StoreError::PendingMigrations`].
    pub async fn check_migrated(&self) -> Result<(), StoreError> {
        self.schema_version().await?.check_current()
    }
}

impl Conn {
    /// Runs the pending migrations and returns their names. They run in one transaction, and processes that start at
    /// the same time wait for each other.
    pub(crate) fn migrate(&mut self, limits: Option<Limits>) -> Result<Vec<String>, StoreError> {
        let names = |versions: Vec<MigrationVersion<'_>>| versions.iter().map(ToString::to_string).collect();
        let migrated = self.write(limits, |conn| {
            if let Self::Postgres(c) = conn {
                c.batch_execute("SELECT pg_advisory_xact_lock(hashtext('stockyard migrate'))")?;
            }
            let version = conn.schema_version()?;
            version.check_known()?;
            match conn {
                Self::Postgres(c) => c.run_pending_migrations(POSTGRES_MIGRATIONS).map(names),
                Self::Sqlite(c) => c.run_pending_migrations(SQLITE_MIGRATIONS).map(names),
            }
            .map_err(StoreError::Migration)
        });
        migrated.map_err(Failed::of_write)
    }

    /// Reads the version of the tables. Unlike diesel's function, this creates no table, so a role without that right
    /// can call it.
    pub(crate) fn schema_version(&mut self) -> Result<SchemaVersion, StoreError> {
        let (wanted, is_new, has_tables) = match self {
            Self::Postgres(c) => {
                let is_new = sql::<Bool>("SELECT to_regclass('__diesel_schema_migrations') IS NULL");
                (versions::<Pg>(&POSTGRES_MIGRATIONS), is_new.get_result(c)?, false)
            }
            Self::Sqlite(c) => {
                let is_new = sql::<Bool>(
                    "SELECT NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')",
                );
                let has_tables =
                    sql::<Bool>("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table')");
                (versions::<Sqlite>(&SQLITE_MIGRATIONS), is_new.get_result(c)?, has_tables.get_result(c)?)
            }
        };
        let wanted = wanted.map_err(StoreError::Migration)?;
        let ran: Vec<String> = match is_new {
            true => Vec::new(),
            false => __diesel_schema_migrations::table
                .order(__diesel_schema_migrations::version)
                .select(__diesel_schema_migrations::version)
                .load(self)?,
        };
        let missing_in = |list: &[String], versions: &[String]| -> Vec<String> {
            versions.iter().filter(|version| !list.contains(version)).cloned().collect()
        };
        Ok(SchemaVersion {
            is_new,
            is_foreign: is_new && has_tables,
            pending: missing_in(&ran, &wanted),
            unknown: missing_in(&wanted, &ran),
        })
    }
}

fn versions<DB: Backend>(source: &impl MigrationSource<DB>) -> Result<Vec<String>, BoxError> {
    let migrations: Vec<Box<dyn Migration<DB>>> = source.migrations()?;
    let mut versions: Vec<String> =
        migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}
