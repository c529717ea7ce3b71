//! The connections of a process: the idle ones, and the limit on their total number.
//!
//! A call takes an idle connection or opens one on its own thread, so that a database that has come back is used
//! immediately. When one connection is found dead, all connections of its age or older are closed, because none of them
//! works after a restart of the server.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{Connection, SimpleConnection, TransactionManager};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Conn, Connector, DatabaseUrl};
use crate::error::StoreError;
use crate::watch::Watch;

/// Connections older than this are closed after their use, because the server's memory for them grows.
const OLDEST: Duration = Duration::from_secs(30 * 60);
/// Idle connections are closed after this time.
const IDLE_FOR: Duration = Duration::from_secs(10 * 60);
/// The most threads that may wait for a dead connection without counting as connections. Beyond that, new calls find no
/// free connection.
const MAX_ABANDONED: usize = 128;

pub(crate) struct Pool {
    pub connector: Connector,
    pub size: usize,
    pub permits: Arc<Semaphore>,
    /// The idle connections; the most recently used one is at the back.
    idle: Mutex<VecDeque<Pooled>>,
    /// Incremented when a connection is found dead.
    generation: AtomicU64,
    /// The number of threads whose callers have given up.
    abandoned: AtomicUsize,
    /// A connection that was idle for longer than this is tested before a statement is sent.
    pub probe_after: Duration,
    /// The number of statements, counted for tests.
    statements: Option<Arc<AtomicUsize>>,
}

/// A connection of the pool.
pub(crate) struct Pooled {
    pub conn: Conn,
    pub watch: Arc<Watch>,
    generation: u64,
    made_at: Instant,
    used_at: Instant,
}

impl Pooled {
    /// Whether the connection was idle for so long that the server may be gone.
    pub fn is_rested(&self, probe_after: Duration) -> bool {
        matches!(self.conn, Conn::Postgres(_)) && self.used_at.elapsed() >= probe_after
    }

    /// Records that the connection was used now.
    pub fn rest(&mut self) {
        self.used_at = Instant::now();
    }

    /// Whether the server answers.
    pub fn answers(&mut self) -> bool {
        self.conn.batch_execute("SELECT 1").is_ok()
    }
}

/// The current use of a process's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// The most simultaneous calls.
    pub size: usize,
    /// The number of current calls.
    pub in_use: usize,
    pub idle: usize,
    /// Threads that still wait for a connection although their callers have given up.
    pub abandoned: usize,
}

impl Pool {
    pub fn new(
        connector: Connector,
        size: u32,
        probe_after: Duration,
        statements: Option<Arc<AtomicUsize>>,
    ) -> Self {
        let size = usize::try_from(size).unwrap_or(1).max(1);
        Self {
            connector,
            size,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
            generation: AtomicU64::new(0),
            abandoned: AtomicUsize::new(0),
            probe_after,
            statements,
        }
    }

    pub fn is_on_postgres(&self) -> bool {
        matches!(self.connector.url, DatabaseUrl::Postgres(_))
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Pooled>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn new_watch(&self) -> Arc<Watch> {
        Watch::new(self.statements.clone())
    }

    /// Takes an idle connection.
    pub fn take(&self) -> Option<Pooled> {
        self.idle().pop_back()
    }

    /// Takes the most recently used idle connection, if it has been idle for `since`.
    pub fn take_rested(&self, since: Duration) -> Option<Pooled> {
        let mut idle = self.idle();
        idle.pop_back_if(|pooled| pooled.is_rested(since))
    }

    /// Opens a new connection.
    pub fn connect(&self, watch: &Arc<Watch>) -> Result<Pooled, StoreError> {
        // Read before connecting, because the server may restart in between.
        let generation = self.generation();
        let conn = self.connector.connect(watch)?;
        let now = Instant::now();
        Ok(Pooled { conn, watch: watch.clone(), generation, made_at: now, used_at: now })
    }

    /// Takes a connection back after a call, or closes it. The call has already ended in its watch.
    pub fn put(&self, mut pooled: Pooled, was_abandoned: bool) {
        let lost = self.note_loss(&mut pooled);
        let is_old = pooled.made_at.elapsed() > OLDEST;
        // On SQLite, an error does not affect the connection.
        let is_sound = pooled.watch.is_sound() || !self.is_on_postgres();
        if lost || was_abandoned || is_old || !is_sound || !self.is_current(&pooled) {
            return;
        }
        pooled.rest();
        let mut idle = self.idle();
        // Closing one per call is enough, because calls are frequent.
        let unused = match idle.front() {
            Some(oldest) if oldest.used_at.elapsed() > IDLE_FOR => idle.pop_front(),
            _ => None,
        };
        idle.push_back(pooled);
        drop(idle);
        drop(unused);
    }

    /// Returns whether the connection is broken. If it is, older ones are closed too.
    pub fn note_loss(&self, pooled: &mut Pooled) -> bool {
        let broken =
            <Conn as Connection>::TransactionManager::is_broken_transaction_manager(&mut pooled.conn);
        if pooled.watch.is_lost() {
            self.distrust(pooled.generation);
        }
        broken || pooled.watch.is_lost()
    }

    pub fn is_current(&self, pooled: &Pooled) -> bool {
        pooled.generation == self.generation()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Closes the idle connections of that generation, unless a new generation has already begun.
    pub fn distrust(&self, generation: u64) {
        if !self.is_on_postgres() {
            return;
        }
        let next = generation + 1;
        let first = self.generation.compare_exchange(generation, next, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            let closed = std::mem::take(&mut *self.idle());
            tracing::warn!(
                connections = closed.len(),
                "a connection to the database is dead; all idle connections are closed"
            );
        }
    }

    /// Adds an idle connection.
    pub fn add(&self, pooled: Pooled) {
        self.idle().push_back(pooled);
    }

    pub fn state(&self) -> PoolState {
        PoolState {
            size: self.size,
            in_use: self.size.saturating_sub(self.permits.available_permits()),
            idle: self.idle().len(),
            abandoned: self.abandoned.load(Ordering::Relaxed),
        }
    }
}

/// The permission of a call to use a connection. Both the caller and the thread hold it.
#[derive(Clone)]
pub(crate) struct CallPermit {
    pool: Arc<Pool>,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl CallPermit {
    pub fn new(pool: Arc<Pool>, permit: OwnedSemaphorePermit) -> Self {
        Self { pool, permit: Arc::new(Mutex::new(Some(permit))) }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Called when the caller has given up: another call may use its place, unless too many threads are abandoned.
    pub fn abandon(&self) {
        let counted = self.pool.abandoned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < MAX_ABANDONED).then_some(count + 1)
        });
        if counted.is_ok() && self.take().is_none() {
            // The thread has ended at this moment.
            self.pool.abandoned.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Called when the thread has finished.
    pub fn release(&self) {
        if self.take().is_none() {
            self.pool.abandoned.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
