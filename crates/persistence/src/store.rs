//! The store: a pool of connections, and transactions that read or write.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit};

use crate::connection::{Conn, Connector, DatabaseUrl, Failed};
use crate::error::StoreError;
use crate::lane::Lane;
use crate::metrics::CONNECTION_WAIT;
use crate::pool::{CallPermit, Pool, PoolState, Pooled};
use crate::wal::WalKeeper;
use crate::watch::{CallNumber, Limits, Watch};

/// The database. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Store {
    pool: Arc<Pool>,
    limits: Limits,
    /// SQLite has one writer: writers of this process queue here in order, instead of polling its lock.
    writer: Option<Arc<Mutex<()>>>,
    _wal_keeper: Option<Arc<WalKeeper>>,
}

/// Options for the connections of a process.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// The most simultaneous calls.
    pub connections: u32,
    /// The deadline of a statement, and of the wait for a lock or a free connection. A call without any answer is
    /// abandoned half a second later.
    pub timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 8, timeout: Duration::from_secs(3) }
    }
}

/// The factor by which the deadlines of jobs are longer than those of requests.
const JOBS: u32 = 10;
/// A connection that was idle for longer than this is tested before a statement is sent.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// How often an idle pool is tested.
const IDLE_PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// An open transaction. Repository functions take one as a parameter.
pub struct Tx<'c> {
    pub(crate) conn: &'c mut Conn,
}

/// The permission to run one statement outside a transaction. A single statement sees one consistent state without the
/// round trips of BEGIN and COMMIT. Functions take it by value, so it cannot be used twice.
pub struct Statement<'c> {
    pub(crate) conn: &'c mut Conn,
}

impl Store {
    /// Opens the database with up to `connections` connections. A missing SQLite file is created, its folder is not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason if no connection can be made within five seconds, or
    /// [`StoreError::LoginRefused`].
    pub fn open(url: DatabaseUrl, connections: u32) -> Result<Self, StoreError> {
        Self::open_with(url, StoreOptions { connections, ..StoreOptions::default() })
    }

    /// Opens the database with other timeouts.
    ///
    /// # Errors
    /// The same as [`Store::open`].
    pub fn open_with(url: DatabaseUrl, options: StoreOptions) -> Result<Self, StoreError> {
        Self::watched(url, options, PROBE_AFTER, None)
    }

    /// Opens the database, counting statements for tests.
    pub(crate) fn watched(
        url: DatabaseUrl,
        options: StoreOptions,
        probe_after: Duration,
        statements: Option<Arc<AtomicUsize>>,
    ) -> Result<Self, StoreError> {
        let writer = matches!(url, DatabaseUrl::Sqlite(_)).then(Arc::default);
        let limits = Limits::new(options.timeout);
        let connector = Connector::new(url, limits);
        try_to_connect(connector.clone())?;
        let wal_keeper = match (&connector.url, &writer) {
            (DatabaseUrl::Sqlite(path), Some(writer)) => {
                Some(Arc::new(WalKeeper::start(path, Arc::clone(writer))))
            }
            _ => None,
        };
        let pool = Arc::new(Pool::new(connector, options.connections, probe_after, statements));
        Ok(Self { pool, limits, writer, _wal_keeper: wal_keeper })
    }

    /// Returns the same database with the longer deadlines of jobs.
    #[must_use]
    pub fn for_jobs(&self) -> Self {
        self.within(self.pool.connector.limits.statement * JOBS)
    }

    /// Returns the same database with another deadline for statements.
    pub(crate) fn within(&self, timeout: Duration) -> Self {
        Self { limits: Limits::new(timeout), ..self.clone() }
    }

    /// Checks that the open SQLite file is still the one at its path; otherwise nothing can be written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub fn check_file(&self) -> Result<(), StoreError> {
        self.pool.connector.file.as_ref().map_or(Ok(()), |file| Ok(file.check()?))
    }

    /// Whether writing transactions run one at a time, so that a second writer would only wait.
    pub fn has_one_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Opens all connections now.
    #[cfg(feature = "testing")]
    pub(crate) fn fill(&self) {
        for _ in 0..self.pool.size {
            let made = self.pool.connect(&self.pool.new_watch());
            self.pool.add(made.expect("the database lets as many connect"));
        }
    }

    /// The maximum number of simultaneous transactions.
    pub fn connections(&self) -> usize {
        self.pool.size
    }

    /// The current use of the connections.
    pub fn pool_state(&self) -> PoolState {
        self.pool.state()
    }

    /// The deadline of a statement.
    pub fn timeout(&self) -> Duration {
        self.limits.statement
    }

    /// The longest time that a caller waits for a call, including the wait for a connection.
    pub fn longest_call(&self) -> Duration {
        self.limits.statement * 3
    }

    /// The number of connections in use.
    pub fn connections_in_use(&self) -> usize {
        self.pool_state().in_use
    }

    /// Returns a connection outside the pool; it is opened when it is first used.
    pub fn lane(&self) -> Lane {
        Lane::new(self.pool.clone(), self.limits, self.writer.clone())
    }

    /// Tests the database once per second while there are no calls, so that a process that was idle during a restart or
    /// a failover finds no dead connections afterwards. Ends with the store.
    pub async fn probe_idle_connections(self) {
        let limits = Limits::new(IDLE_PROBE_INTERVAL);
        loop {
            tokio::time::sleep(IDLE_PROBE_INTERVAL).await;
            let Some(pooled) = self.pool.take_rested(IDLE_PROBE_INTERVAL) else { continue };
            let Ok(permit) = self.pool.permits.clone().try_acquire_owned() else {
                self.pool.add(pooled);
                continue;
            };
            let asked: Result<(), StoreError> = self
                .run(permit, Some(pooled), limits, |pooled, _| {
                    pooled.answers();
                    Ok(())
                })
                .await;
            if let Err(error) = asked {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
            }
        }
    }

    /// Copies a SQLite database to a new file while it is in use.
    ///
    /// # Errors
    /// If the file cannot be written, or the database is PostgreSQL.
    pub async fn backup(&self, file: String) -> Result<(), StoreError> {
        self.blocking(move |conn| conn.copy_to(&file).map_err(StoreError::from)).await
    }

    /// Checkpoints SQLite's write-ahead log before a process ends, as far as no reader uses an older state. Does not
    /// wait for readers.
    ///
    /// # Errors
    /// If the file cannot be written; then the log still contains everything.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.blocking(|conn| conn.checkpoint().map_err(StoreError::from)).await
    }

    /// Runs `work` in a transaction that sees one consistent state of the database.
    ///
    /// # Errors
    /// The errors of `work` and of the database.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (pool, limits) = (self.pool.clone(), self.own_limits());
        self.call(move |pooled, _| {
            let mut work = once(work);
            let transact = |pooled: &mut Pooled| pooled.conn.read(limits, |conn| work(&mut Tx { conn }));
            begun(&pool, pooled, transact)?.map_err(Failed::of_read)
        })
        .await
    }

    /// Runs a single statement that reads.
    ///
    /// # Errors
    /// The errors of `work` and of the database.
    pub async fn query<T, E>(
        &self,
        work: impl FnOnce(Statement<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let pool = self.pool.clone();
        self.call(move |pooled, _| {
            if pooled.is_rested(pool.probe_after) && !pooled.answers() {
                replace(&pool, pooled)?;
            }
            work(Statement { conn: &mut pooled.conn })
        })
        .await
    }

    /// Runs `work` in a transaction that may write; an error rolls it back.
    ///
    /// # Errors
    /// The errors of `work` and of the database. After [`StoreError::OutcomeUnknown`] the changes may have been made.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let turn = self.turn().await?;
        let (pool, limits) = (self.pool.clone(), self.own_limits());
        self.call(move |pooled, call| {
            let (mut work, watch) = (once(work), pooled.watch.clone());
            let transact = |pooled: &mut Pooled| {
                pooled.conn.write(limits, |conn| {
                    let value = work(&mut Tx { conn })?;
                    watch.may_commit(call)?;
                    Ok(value)
                })
            };
            let result = begun(&pool, pooled, transact);
            // Held here and not by the caller, which may be gone while the transaction still runs.
            drop(turn);
            result?.map_err(Failed::of_write)
        })
        .await
    }

    /// Waits for the turn to write, if the database has one writer.
    async fn turn(&self) -> Result<Option<OwnedMutexGuard<()>>, StoreError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let turn = tokio::time::timeout(self.limits.statement, writer.clone().lock_owned()).await;
        turn.map(Some).map_err(|late| StoreError::Busy(late.into()))
    }

    /// The limits of a transaction, if they differ from those of the connections.
    fn own_limits(&self) -> Option<Limits> {
        (self.limits != self.pool.connector.limits).then_some(self.limits)
    }

    pub(crate) async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.call(|pooled, _| work(&mut pooled.conn)).await
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let began = Instant::now();
        let wait = tokio::time::timeout(self.limits.statement, self.pool.permits.clone().acquire_owned());
        let permit = wait.await;
        CONNECTION_WAIT.observe(began.elapsed().as_secs_f64());
        match permit {
            Ok(permit) => permit.map_err(|closed| StoreError::Unavailable(closed.into())),
            Err(_) => Err(StoreError::Busy("no connection became free in time".into())),
        }
    }

    /// Runs `work` with a connection on a thread that may block. Waits for it no longer than the limits allow.
    async fn call<T, E>(
        &self,
        work: impl FnOnce(&mut Pooled, CallNumber) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = self.permit().await?;
        let pooled = self.pool.take();
        self.run(permit, pooled, self.limits, work).await
    }

    async fn run<T, E>(
        &self,
        permit: OwnedSemaphorePermit,
        pooled: Option<Pooled>,
        limits: Limits,
        work: impl FnOnce(&mut Pooled, CallNumber) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let pool = self.pool.clone();
        let watch = pooled.as_ref().map_or_else(|| pool.new_watch(), |pooled| pooled.watch.clone());
        let call = watch.begin();
        let call_permit = CallPermit::new(pool.clone(), permit);
        let caller = Caller {
            call_permit: call_permit.clone(),
            watch: watch.clone(),
            call,
            limits,
            generation: pool.generation(),
            waits: true,
        };
        let mut task = tokio::task::spawn_blocking(move || {
            let done = Done(call_permit);
            let mut pooled = match pooled {
                Some(pooled) => pooled,
                None => pool.connect(&watch).inspect_err(|_| {
                    watch.end();
                })?,
            };
            let result = work(&mut pooled, call);
            let was_abandoned = watch.end();
            pool.put(pooled, was_abandoned);
            drop(done);
            result
        });
        let mut caller = caller;
        let result = tokio::select! {
            biased;
            result = &mut task => result,
            () = caller.watch.overdue(call, limits) => match caller.give_up() {
                Some(error) => return Err(error.into()),
                None => task.await,
            }
        };
        caller.waits = false;
        result.map_err(|panic| StoreError::Unavailable(Box::new(panic)))?
    }
}

/// The caller's part of a call.
struct Caller {
    call_permit: CallPermit,
    watch: Arc<Watch>,
    call: CallNumber,
    limits: Limits,
    generation: u64,
    waits: bool,
}

impl Caller {
    /// Gives up waiting; `None` if the call has ended.
    fn give_up(&mut self) -> Option<StoreError> {
        self.waits = false;
        let is_silent = self.watch.is_silent(self.limits);
        let error = self.watch.abandon(self.call)?;
        self.call_permit.abandon();
        if is_silent {
            self.call_permit.pool().distrust(self.generation);
        }
        Some(error)
    }
}

impl Drop for Caller {
    /// If the caller goes away, another task waits for the call instead.
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        self.waits = false;
        let mut substitute = Self {
            call_permit: self.call_permit.clone(),
            watch: self.watch.clone(),
            call: self.call,
            limits: self.limits,
            generation: self.generation,
            waits: false,
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                substitute.watch.overdue(substitute.call, substitute.limits).await;
                substitute.give_up();
            });
        }
    }
}

/// Returns the place of a call, even if its work panics.
struct Done(CallPermit);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Runs a transaction. If its connection was dead before any statement was sent, the transaction runs on a new one.
fn begun<T, E>(
    pool: &Pool,
    pooled: &mut Pooled,
    mut transact: impl FnMut(&mut Pooled) -> Result<T, Failed<E>>,
) -> Result<Result<T, Failed<E>>, StoreError> {
    let result = transact(pooled);
    match result {
        Err(Failed::Begin(_)) if pool.note_loss(pooled) => {
            replace(pool, pooled)?;
            Ok(transact(pooled))
        }
        result => Ok(result),
    }
}

/// Replaces a dead connection with a new one.
fn replace(pool: &Pool, pooled: &mut Pooled) -> Result<(), StoreError> {
    pool.note_loss(pooled);
    *pooled = pool.connect(&pooled.watch.clone())?;
    Ok(())
}

/// Wraps a transaction's work, which runs only once, but may have to wait for a second BEGIN.
pub(crate) fn once<T, E>(
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> impl FnMut(&mut Tx<'_>) -> Result<T, E> {
    let mut work = Some(work);
    move |tx| {
        let work = work.take().expect("Invariant: work begins after BEGIN, which succeeds once");
        work(tx)
    }
}

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Tries to connect, on a separate thread, because libpq may take longer than the deadline.
fn try_to_connect(connector: Connector) -> Result<(), StoreError> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(connector.connect(&Watch::new(None)).map(drop)));
    match receiver.recv_timeout(CONNECTION_TIMEOUT) {
        Ok(connected) => connected,
        Err(_) => Err(StoreError::Unavailable("the server does not answer".into())),
    }
}
