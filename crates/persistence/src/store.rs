//! The store: a pool of connections and the two kinds of transaction.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool};
use tokio::sync::{Mutex, Semaphore};

use crate::connection::{Conn, DatabaseUrl, Manager};
use crate::error::StoreError;

/// The database. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Manager>,
    /// As many as the pool has connections, so that waiting costs a task and not a thread.
    permits: Arc<Semaphore>,
    /// SQLite has one writer: within this process writers queue here, in order, instead of polling its lock.
    writer: Option<Arc<Mutex<()>>>,
}

/// An open transaction. Repository functions take one.
pub struct Tx<'c> {
    pub(crate) conn: &'c mut Conn,
}

impl Store {
    /// Opens the database with up to `connections` connections. A missing SQLite file is created, its folder
    /// is not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason when no connection can be made within five seconds.
    pub fn open(url: DatabaseUrl, connections: u32) -> Result<Self, StoreError> {
        let writer = matches!(url, DatabaseUrl::Sqlite(_)).then(Arc::default);
        try_to_connect(url.clone())?;
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(1))
            .connection_timeout(CONNECTION_TIMEOUT)
            .test_on_check_out(false)
            .error_handler(Box::new(LogConnectionErrors))
            .build(Manager(url))
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let permits = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
        Ok(Self { pool, permits, writer })
    }

    /// Brings the tables up to date and answers the names of the migrations that ran.
    ///
    /// # Errors
    /// When a migration fails, or was made for other tables than are there.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.blocking(|conn| conn.migrate().map_err(StoreError::Migration)).await
    }

    /// # Errors
    /// [`StoreError::PendingMigrations`] when the tables are older than this program.
    pub async fn check_migrated(&self) -> Result<(), StoreError> {
        match self.blocking(|conn| conn.has_pending_migrations().map_err(StoreError::Migration)).await? {
            true => Err(StoreError::PendingMigrations),
            false => Ok(()),
        }
    }

    /// Copies a SQLite database into a new file, while others read and write.
    ///
    /// # Errors
    /// When the file cannot be written, or the database is PostgreSQL.
    pub async fn backup(&self, file: String) -> Result<(), StoreError> {
        self.blocking(move |conn| conn.copy_to(&file).map_err(StoreError::from)).await
    }

    /// Runs `work` in a transaction that sees one state of the database throughout.
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.blocking(move |conn| {
            conn.read(|conn| work(&mut Tx { conn }).map_err(Failure::Work)).map_err(Failure::into)
        })
        .await
    }

    /// Runs `work` in a transaction that may write; an error rolls all of it back.
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let turn = match &self.writer {
            Some(writer) => Some(writer.clone().lock_owned().await),
            None => None,
        };
        self.blocking(move |conn| {
            let result =
                conn.write(|conn| work(&mut Tx { conn }).map_err(Failure::Work)).map_err(Failure::into);
            // Held here and not by the caller, who may have gone away while the transaction runs.
            drop(turn);
            result
        })
        .await
    }

    async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let pool = self.pool.clone();
        tokio::task::spawn_blocking(move || {
            let mut conn = pool.get().map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            let result = work(&mut conn);
            drop((conn, permit));
            result
        })
        .await
        .map_err(|panic| StoreError::Unavailable(Box::new(panic)))?
    }
}

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool would keep trying and hide the reason: a first connection tells it at once. On a thread of its own,
/// because libpq waits for ever for a server that accepts and says nothing.
fn try_to_connect(url: DatabaseUrl) -> Result<(), StoreError> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(Manager(url).connect().map(drop)));
    match receiver.recv_timeout(CONNECTION_TIMEOUT) {
        Ok(connected) => connected.map_err(|error| StoreError::Unavailable(Box::new(error))),
        Err(_) => Err(StoreError::Unavailable("the server does not answer".into())),
    }
}

/// Keeps errors of `work` apart from those of BEGIN and COMMIT.
enum Failure<E> {
    Work(E),
    Database(diesel::result::Error),
}

impl<E> From<diesel::result::Error> for Failure<E> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl<E: From<StoreError>> Failure<E> {
    fn into(self) -> E {
        match self {
            Self::Work(error) => error,
            Self::Database(error) => StoreError::from(error).into(),
        }
    }
}

#[derive(Debug)]
struct LogConnectionErrors;

impl diesel::r2d2::HandleError<diesel::r2d2::Error> for LogConnectionErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        tracing::warn!(%error, "no connection to the database");
    }
}
