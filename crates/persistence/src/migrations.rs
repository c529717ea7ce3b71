//! The version of the tables: which migrations this program brings, and which the database has run.

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
    /// Which migrations have run; diesel creates and writes it.
    __diesel_schema_migrations (version) { version -> Text, }
}

/// For one statement of a migration.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How a database's tables compare with those that this program expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    /// No migration has ever run here.
    pub is_new: bool,
    /// A SQLite file that has tables, and none of them by a migration of Stockyard. PostgreSQL may hold those of others
    /// beside ours.
    pub is_foreign: bool,
    /// Migrations of this program that the database has not run, in order.
    pub pending: Vec<String>,
    /// Migrations that the database has run and this program does not have, in order: a newer program made them.
    pub unknown: Vec<String>,
}

impl SchemaVersion {
    /// # Errors
    /// [`StoreError::NewerSchema`] when the database has run migrations that this program does not know, or
    /// [`StoreError::ForeignTables`].
    pub fn check_known(&self) -> Result<(), StoreError> {
        match self.unknown.as_slice() {
            [] if self.is_foreign => Err(StoreError::ForeignTables),
            [] => Ok(()),
            unknown => Err(StoreError::NewerSchema { unknown: unknown.to_vec() }),
        }
    }

    /// # Errors
    /// As [`Self::check_known`], or [`StoreError::PendingMigrations`] when the tables are older than this program.
    pub fn check_current(&self) -> Result<(), StoreError> {
        self.check_known()?;
        if self.pending.is_empty() { Ok(()) } else { Err(StoreError::PendingMigrations) }
    }
}

impl Store {
    /// Brings the tables up to date and returns the names of the migrations that ran.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`], and nothing is changed, when a newer program has migrated the database;
    /// [`StoreError::ForeignTables`] when a SQLite file belongs to another program; otherwise when a migration fails.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        // A migration may rebuild a large table.
        let store = self.within(MIGRATION_TIMEOUT);
        store.blocking(|conn| conn.migrate(Some(Limits::new(MIGRATION_TIMEOUT)))).await
    }

    /// # Errors
    /// When the database cannot be read.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        self.blocking(Conn::schema_version).await
    }

    /// # Errors
    /// [`StoreError::NewerSchema`] or [`StoreError::PendingMigrations`] when the tables are not those of this program.
    pub async fn check_migrated(&self) -> Result<(), StoreError> {
        self.schema_version().await?.check_current()
    }
}

impl Conn {
    /// Brings the tables up to date and returns the names of the migrations that ran. They run in one
    /// transaction, and processes that start together wait for one another.
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

    /// Unlike diesel's own function this creates no table, so a role that only reads and writes rows may call it.
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
