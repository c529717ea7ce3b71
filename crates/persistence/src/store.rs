//! The store: a pool of connections and the two kinds of transaction.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use diesel::r2d2::{CustomizeConnection, ManageConnection, NopConnectionCustomizer, Pool};
use tokio::sync::{Mutex, Semaphore};

use crate::connection::{Conn, DatabaseUrl, Manager};
use crate::error::StoreError;
use crate::login::connect_error;
use crate::metrics::CONNECTION_WAIT;

/// The database. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Store {
    url: DatabaseUrl,
    pool: Pool<Manager>,
    /// As many as the pool has connections, so that waiting costs a task and not a thread.
    permits: Arc<Semaphore>,
    /// SQLite has one writer: within this process writers queue here, in order, instead of polling its lock.
    writer: Option<Arc<Mutex<()>>>,
}

/// A connection of its own for a thread that asks the database one thing after the other: it waits for no pool, and its
/// statements stay prepared.
pub struct Lane {
    manager: Manager,
    conn: Option<Conn>,
    writer: Option<Arc<Mutex<()>>>,
}

impl Lane {
    /// Runs `work` in a transaction that may write, on this thread; an error rolls all of it back.
    ///
    /// # Errors
    /// Those of `work`, and of the database. After one of the database the next call connects anew.
    ///
    /// # Panics
    /// On a thread of the async runtime, whose tasks it would hold up.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut conn = self.take()?;
        let turn = self.writer.as_ref().map(|writer| writer.blocking_lock());
        let result = conn.write(|conn| work(&mut Tx { conn }).map_err(Failure::Work));
        drop(turn);
        if matches!(&result, Ok(_) | Err(Failure::Work(_))) && !self.manager.has_broken(&mut conn) {
            self.conn = Some(conn);
        }
        result.map_err(Failure::into)
    }

    /// Runs a single statement that reads, on this thread.
    ///
    /// # Errors
    /// Those of the database. After one the next call connects anew.
    pub fn query<T>(
        &mut self,
        work: impl FnOnce(Statement<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = self.take()?;
        let result = work(Statement { conn: &mut conn });
        if result.is_ok() {
            self.conn = Some(conn);
        }
        result
    }

    fn take(&mut self) -> Result<Conn, StoreError> {
        let connect = || {
            let mut conn = self.manager.connect()?;
            conn.settle_in().map_err(diesel::r2d2::Error::QueryError)?;
            Ok(conn)
        };
        let unavailable = |error: diesel::r2d2::Error| StoreError::Unavailable(Box::new(error));
        self.conn.take().map_or_else(connect, Ok).map_err(unavailable)
    }
}

/// An open transaction. Repository functions take one.
pub struct Tx<'c> {
    pub(crate) conn: &'c mut Conn,
}

/// The right to run one statement outside a transaction. Alone it sees one state of the database by itself, without
/// the round trips of BEGIN and COMMIT; functions take it by value, so that it stays alone.
pub struct Statement<'c> {
    pub(crate) conn: &'c mut Conn,
}

impl Store {
    /// Opens the database with up to `connections` connections. A missing SQLite file is created, its folder
    /// is not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason when no connection can be made within five seconds, or
    /// [`StoreError::LoginRefused`].
    pub fn open(url: DatabaseUrl, connections: u32) -> Result<Self, StoreError> {
        Self::open_with(url, connections, Box::new(NopConnectionCustomizer))
    }

    /// With something done to each connection when it is made.
    pub(crate) fn open_with(
        url: DatabaseUrl,
        connections: u32,
        customizer: Box<dyn CustomizeConnection<Conn, diesel::r2d2::Error>>,
    ) -> Result<Self, StoreError> {
        let writer = matches!(url, DatabaseUrl::Sqlite(_)).then(Arc::default);
        try_to_connect(url.clone())?;
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(1))
            .connection_timeout(CONNECTION_TIMEOUT)
            .test_on_check_out(false)
            .error_handler(Box::new(LogConnectionErrors))
            .connection_customizer(customizer)
            .build(Manager(url.clone()))
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let permits = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
        Ok(Self { url, pool, permits, writer })
    }

    /// Whether writing transactions follow one another anyway, so that a second writer would only wait.
    pub fn has_one_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Makes all connections now.
    #[cfg(feature = "testing")]
    pub(crate) fn fill(&self) {
        let all: Vec<_> = (0..self.pool.max_size()).map(|_| self.pool.get()).collect();
        assert!(all.iter().all(Result::is_ok), "the database lets {} connect", all.len());
    }

    /// How many transactions there can be at once.
    pub fn connections(&self) -> usize {
        usize::try_from(self.pool.max_size()).unwrap_or(1)
    }

    /// How many of them are under way.
    pub fn connections_in_use(&self) -> usize {
        self.connections().saturating_sub(self.permits.available_permits())
    }

    /// A connection beside the pool, made when it is first used.
    pub fn lane(&self) -> Lane {
        Lane { manager: Manager(self.url.clone()), conn: None, writer: self.writer.clone() }
    }

    /// Copies a SQLite database into a new file, while others read and write.
    ///
    /// # Errors
    /// When the file cannot be written, or the database is PostgreSQL.
    pub async fn backup(&self, file: String) -> Result<(), StoreError> {
        self.blocking(move |conn| conn.copy_to(&file).map_err(StoreError::from)).await
    }

    /// Before the end of a process: brings all that is written into SQLite's one file, as far as nobody reads an older
    /// state. Waits for nobody.
    ///
    /// # Errors
    /// When the file cannot be written; then the log beside it still has everything.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.blocking(|conn| conn.checkpoint().map_err(StoreError::from)).await
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

    /// Runs a single statement that reads.
    ///
    /// # Errors
    /// Those of `work`, and of the database.
    pub async fn query<T, E>(
        &self,
        work: impl FnOnce(Statement<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.blocking(move |conn| work(Statement { conn })).await
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

    pub(crate) async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let began = std::time::Instant::now();
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        CONNECTION_WAIT.observe(began.elapsed().as_secs_f64());
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
        Ok(connected) => connected.map_err(connect_error),
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
