//! Errors of the database.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Error)]
pub enum StoreError {
    /// Another write has already stored the same unique value.
    #[error("a row with the same unique value exists")]
    Duplicate(#[source] DieselError),
    /// A row that the write refers to does not exist.
    #[error("a row that this one refers to does not exist")]
    MissingReference(#[source] DieselError),
    /// There is no connection, or it was lost. No data was changed.
    #[error("the database cannot be reached")]
    Unavailable(#[source] BoxError),
    /// The database rejects the login, and a retry does not help: wrong password, missing database, and the like.
    #[error("the database server refuses the connection")]
    LoginRefused(#[source] BoxError),
    /// A lock, a free connection or a result did not come in time, or the transaction conflicted with another. No data
    /// was changed; a retry may succeed.
    #[error("the database is busy")]
    Busy(#[source] BoxError),
    /// The database does not accept changes at the moment.
    #[error(
        "the database is read-only: check the rights to what DATABASE_URL or DATA_DIR names, and whether its disk is mounted \
         read-only"
    )]
    ReadOnly(#[source] BoxError),
    #[error("the disk of the database is full: free space where DATABASE_URL or DATA_DIR points to")]
    Full(#[source] BoxError),
    /// A COMMIT was sent and got no answer: the changes may have been made.
    #[error("the database did not confirm a change, which may have been made")]
    OutcomeUnknown(#[source] BoxError),
    #[error("the database's tables are not up to date: run `stockyard migrate` first")]
    PendingMigrations,
    /// The database has migrations that this program does not know.
    #[error(
        "this database was migrated by a newer Stockyard (unknown here: {}): install that version, or restore a backup \
         from before the upgrade",
        .unknown.join(", ")
    )]
    NewerSchema { unknown: Vec<String> },
    /// The SQLite file contains the tables of another program.
    #[error("the database holds tables of another program and none of Stockyard's")]
    ForeignTables,
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("a migration failed")]
    Migration(#[source] BoxError),
    #[error("the database contains an invalid value: {0}")]
    Corrupt(String),
    #[error("a query failed")]
    Query(#[source] DieselError),
}

impl StoreError {
    /// Whether the cause is the database, its disk or the network, and not this program or its input.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::LoginRefused(_)
            | Self::Busy(_)
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::OutcomeUnknown(_) => true,
            Self::Duplicate(_)
            | Self::MissingReference(_)
            | Self::PendingMigrations
            | Self::NewerSchema { .. }
            | Self::ForeignTables
            | Self::Damaged(_)
            | Self::Migration(_)
            | Self::Corrupt(_)
            | Self::Query(_) => false,
        }
    }

    /// A copy for another caller of the same transaction: the same variant, with the text of its cause.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let cause = || std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string);
        match self {
            Self::Unavailable(_) => Self::Unavailable(cause().into()),
            Self::LoginRefused(_) => Self::LoginRefused(cause().into()),
            Self::Busy(_) => Self::Busy(cause().into()),
            Self::ReadOnly(_) => Self::ReadOnly(cause().into()),
            Self::Full(_) => Self::Full(cause().into()),
            Self::OutcomeUnknown(_) => Self::OutcomeUnknown(cause().into()),
            Self::Duplicate(_) | Self::MissingReference(_) | Self::Query(_) => {
                Self::Query(DieselError::QueryBuilderError(cause().into()))
            }
            Self::PendingMigrations => Self::PendingMigrations,
            Self::NewerSchema { unknown } => Self::NewerSchema { unknown: unknown.clone() },
            Self::ForeignTables => Self::ForeignTables,
            Self::Damaged(text) => Self::Damaged(text.clone()),
            Self::Migration(_) => Self::Migration(cause().into()),
            Self::Corrupt(text) => Self::Corrupt(text.clone()),
        }
    }

    /// The error of a COMMIT. Without an answer, the changes may have been made.
    pub(crate) fn of_commit(error: DieselError) -> Self {
        match Self::from(error) {
            Self::Unavailable(cause) => Self::OutcomeUnknown(cause),
            known => known,
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        match &error {
            DieselError::DatabaseError(Kind::UniqueViolation, _) => Self::Duplicate(error),
            DieselError::DatabaseError(Kind::ForeignKeyViolation, _) => Self::MissingReference(error),
            DieselError::DatabaseError(Kind::ReadOnlyTransaction, _) => Self::ReadOnly(error.into()),
            DieselError::DatabaseError(Kind::SerializationFailure, _) => Self::Busy(error.into()),
            DieselError::DatabaseError(Kind::NotNullViolation | Kind::CheckViolation, _) => {
                Self::Query(error)
            }
            DieselError::DatabaseError(_, info) if !is_lost(&error) => match outage_of(info.as_ref()) {
                Some(Outage::Unavailable) => Self::Unavailable(error.into()),
                Some(Outage::Busy) => Self::Busy(error.into()),
                Some(Outage::ReadOnly) => Self::ReadOnly(error.into()),
                Some(Outage::Full) => Self::Full(error.into()),
                None => Self::Query(error),
            },
            _ if is_lost(&error) => Self::Unavailable(error.into()),
            _ => Self::Query(error),
        }
    }
}

/// Whether the connection is lost.
pub(crate) fn is_lost(error: &DieselError) -> bool {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    matches!(
        error,
        DieselError::DatabaseError(ClosedConnection | UnableToSendCommand, _)
            | DieselError::BrokenTransactionManager
            | DieselError::RollbackErrorOnCommit { .. }
    )
}

/// Whether the database rejected only a row, so that the connection still works.
pub(crate) fn is_refusal(error: &DieselError) -> bool {
    use DatabaseErrorKind as Kind;
    match error {
        DieselError::DatabaseError(kind, _) => matches!(
            kind,
            Kind::UniqueViolation
                | Kind::ForeignKeyViolation
                | Kind::NotNullViolation
                | Kind::CheckViolation
                | Kind::ReadOnlyTransaction
                | Kind::SerializationFailure
        ),
        DieselError::NotFound => true,
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Unavailable,
    Busy,
    ReadOnly,
    Full,
}

/// The messages of outages. For these errors, diesel passes on neither SQLSTATE nor SQLite's result code, only the
/// primary message. SQLite's messages are constants of the bundled library. PostgreSQL's are English if `lc_messages`
/// is C or English; new connections request that if the role may (see `connection.rs`).
const OUTAGES: [(&str, Outage); 26] = [
    // PostgreSQL 53100 and 53400
    ("No space left on device", Outage::Full),
    ("Disk quota exceeded", Outage::Full),
    ("could not extend file", Outage::Full),
    ("temporary file size exceeds", Outage::Full),
    // 53200, 55P03, 57014, 40P01
    ("out of memory", Outage::Busy),
    ("out of shared memory", Outage::Busy),
    ("could not obtain lock", Outage::Busy),
    ("canceling statement due to", Outage::Busy),
    ("deadlock detected", Outage::Busy),
    // 54000: out of transaction ids
    ("database is not accepting commands", Outage::ReadOnly),
    // 57P01 to 57P05, 25P03, 53300
    ("terminating connection", Outage::Unavailable),
    ("the database system is", Outage::Unavailable),
    ("too many clients", Outage::Unavailable),
    ("remaining connection slots", Outage::Unavailable),
    // 58030
    ("could not open file", Outage::Unavailable),
    ("could not read", Outage::Unavailable),
    ("could not write", Outage::Unavailable),
    ("could not fsync", Outage::Unavailable),
    // SQLite: BUSY, LOCKED, PROTOCOL, READONLY, FULL, IOERR, CANTOPEN
    ("database is locked", Outage::Busy),
    ("database table is locked", Outage::Busy),
    ("database schema is locked", Outage::Busy),
    ("locking protocol", Outage::Busy),
    ("attempt to write a readonly database", Outage::ReadOnly),
    ("database or disk is full", Outage::Full),
    ("disk I/O error", Outage::Unavailable),
    ("unable to open database file", Outage::Unavailable),
];

fn outage_of(info: &(dyn DatabaseErrorInformation + Send + Sync)) -> Option<Outage> {
    let message = info.message();
    OUTAGES.iter().find(|(text, _)| message.contains(text)).map(|(_, outage)| *outage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kind: DatabaseErrorKind, message: &str) -> StoreError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn outages_are_distinguished_from_faults_of_the_program() {
        use DatabaseErrorKind::{ClosedConnection, ReadOnlyTransaction, UnableToSendCommand, Unknown};
        let unavailable = [
            (UnableToSendCommand, "no connection to the server\n"),
            (ClosedConnection, "server closed the connection unexpectedly"),
            (Unknown, "terminating connection due to administrator command"),
            (Unknown, "disk I/O error"),
        ];
        for (kind, message) in unavailable {
            assert!(matches!(class(kind, message), StoreError::Unavailable(_)), "{message}");
        }
        let busy = [
            "canceling statement due to lock timeout",
            "canceling statement due to statement timeout",
            "deadlock detected",
            "database is locked",
            "database table is locked: orders",
        ];
        for message in busy {
            assert!(matches!(class(Unknown, message), StoreError::Busy(_)), "{message}");
        }
        let full =
            ["could not extend file \"base/5/1\": No space left on device", "database or disk is full"];
        for message in full {
            assert!(matches!(class(Unknown, message), StoreError::Full(_)), "{message}");
        }
        let read_only = [
            (ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction"),
            (Unknown, "attempt to write a readonly database"),
        ];
        for (kind, message) in read_only {
            assert!(matches!(class(kind, message), StoreError::ReadOnly(_)), "{message}");
        }
        for message in ["relation \"orders\" does not exist", "near \"SELEC\": syntax error"] {
            assert!(matches!(class(Unknown, message), StoreError::Query(_)), "{message}");
        }
        assert!(matches!(DieselError::BrokenTransactionManager.into(), StoreError::Unavailable(_)));
    }

    #[test]
    fn a_commit_without_an_answer_has_an_unknown_outcome() {
        let lost = || {
            let text = "server closed the connection unexpectedly".to_owned();
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(text))
        };
        assert!(matches!(StoreError::of_commit(lost()), StoreError::OutcomeUnknown(_)));
        assert!(matches!(StoreError::from(lost()), StoreError::Unavailable(_)));
    }
}
