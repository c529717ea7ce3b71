//! What can go wrong in the database.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum StoreError {
    /// A unique value is taken, by a write that came in between.
    #[error("a row with the same unique value exists")]
    Duplicate(#[source] DieselError),
    /// A row that the write refers to is gone.
    #[error("a row that this one refers to does not exist")]
    MissingReference(#[source] DieselError),
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Waiting and trying again does not help: the password is wrong, the database does not exist, and the like.
    #[error("the database server refuses the connection")]
    LoginRefused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database's tables are not up to date: run `stockyard migrate` first")]
    PendingMigrations,
    /// Migrations have run that this program does not know.
    #[error(
        "this database was migrated by a newer Stockyard (unknown here: {}): install that version, or restore a backup \
         from before the upgrade",
        .unknown.join(", ")
    )]
    NewerSchema { unknown: Vec<String> },
    /// A SQLite file with the tables of another program.
    #[error("the database holds tables of another program and none of Stockyard's")]
    ForeignTables,
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
    #[error("a query failed")]
    Query(#[source] DieselError),
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Duplicate(error),
            DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => {
                Self::MissingReference(error)
            }
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => {
                Self::Unavailable(Box::new(error))
            }
            _ => Self::Query(error),
        }
    }
}
