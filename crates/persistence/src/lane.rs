//! A database connection with a thread of its own, outside the pool.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::connection::Failed;
use crate::error::StoreError;
use crate::pool::{Pool, Pooled};
use crate::store::{Statement, Tx, once};
use crate::watch::{CallNumber, Limits, Watch};

/// A connection for a thread that sends one statement after the other: it never waits for the pool, and its statements
/// stay prepared. A second thread holds the connection. If the database does not answer, that thread is abandoned and
/// the next call starts another one.
pub struct Lane {
    pool: Arc<Pool>,
    limits: Limits,
    writer: Option<Arc<Mutex<()>>>,
    /// The runtime in which the lane was created, for waits with a deadline.
    runtime: Option<Handle>,
    thread: Option<LaneThread>,
}

type Work = Box<dyn FnOnce(&mut Connected) + Send>;
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

struct LaneThread {
    work: mpsc::Sender<Work>,
    watch: Arc<Watch>,
}

/// The state of a lane's thread.
struct Connected {
    pool: Arc<Pool>,
    watch: Arc<Watch>,
    pooled: Option<Pooled>,
}

impl Connected {
    /// Takes the connection. Opens a new one if there is none, or if others of its age were found dead.
    fn take(&mut self) -> Result<Pooled, StoreError> {
        match self.pooled.take().filter(|pooled| self.pool.is_current(pooled)) {
            Some(pooled) => Ok(pooled),
            None => self.connect(),
        }
    }

    fn connect(&self) -> Result<Pooled, StoreError> {
        let mut pooled = self.pool.connect(&self.watch)?;
        pooled.conn.settle_in()?;
        Ok(pooled)
    }

    /// Keeps the connection for the next call unless it is broken.
    fn keep(&mut self, mut pooled: Pooled) {
        if !self.pool.note_loss(&mut pooled) && self.watch.is_sound() {
            pooled.rest();
            self.pooled = Some(pooled);
        }
    }

    fn write<T, E: From<StoreError>>(
        &mut self,
        call: CallNumber,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pooled = self.take()?;
        let watch = self.watch.clone();
        let mut work = once(work);
        let mut transact = |pooled: &mut Pooled| {
            pooled.conn.write(None, |conn| {
                let value = work(&mut Tx { conn })?;
                watch.may_commit(call)?;
                Ok(value)
            })
        };
        let mut result = transact(&mut pooled);
        if matches!(&result, Err(Failed::Begin(_))) && self.pool.note_loss(&mut pooled) {
            // No statement was sent yet, so a connection that died while idle is replaced.
            pooled = self.connect()?;
            result = transact(&mut pooled);
        }
        self.keep(pooled);
        result.map_err(Failed::of_write)
    }
}

impl Lane {
    pub(crate) fn new(pool: Arc<Pool>, limits: Limits, writer: Option<Arc<Mutex<()>>>) -> Self {
        Self { pool, limits, writer, runtime: Handle::try_current().ok(), thread: None }
    }

    /// Runs `work` in a transaction that may write; an error rolls it back. Waits for the result until the database's
    /// deadline.
    ///
    /// # Errors
    /// The errors of `work` and of the database. After an error of the database the next call reconnects.
    ///
    /// # Panics
    /// On a thread of the async runtime, because it would block its tasks; and if `work` panics.
    pub fn write<T, E>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let turn = self.turn()?;
        self.call(move |connected, call| {
            let result = connected.write(call, work);
            drop(turn);
            result
        })
    }

    /// Runs a single statement that reads.
    ///
    /// # Errors
    /// The errors of the database. After an error the next call reconnects.
    ///
    /// # Panics
    /// The same as [`Lane::write`].
    pub fn query<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Statement<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call(move |connected, _| {
            let mut pooled = connected.take()?;
            if pooled.is_rested(connected.pool.probe_after) && !pooled.answers() {
                connected.pool.note_loss(&mut pooled);
                pooled = connected.connect()?;
            }
            let result = work(Statement { conn: &mut pooled.conn });
            connected.keep(pooled);
            result
        })
    }

    /// Waits for the turn to write, if the database has one writer.
    fn turn(&self) -> Result<Option<OwnedMutexGuard<()>>, StoreError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        if let Ok(turn) = writer.clone().try_lock_owned() {
            return Ok(Some(turn));
        }
        match &self.runtime {
            Some(runtime) => {
                let turn =
                    async { tokio::time::timeout(self.limits.statement, writer.clone().lock_owned()).await };
                let turn = runtime.block_on(turn);
                turn.map(Some).map_err(|late| StoreError::Busy(late.into()))
            }
            None => Ok(Some(writer.clone().blocking_lock_owned())),
        }
    }

    fn call<T, E>(
        &mut self,
        work: impl FnOnce(&mut Connected, CallNumber) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let limits = self.limits;
        let generation = self.pool.generation();
        let thread = self.thread.get_or_insert_with(|| start(self.pool.clone()));
        let watch = thread.watch.clone();
        let call = watch.begin();
        let (answer, answered) = mpsc::sync_channel::<Outcome<Result<T, E>>>(1);
        let run = move |connected: &mut Connected| {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(connected, call)));
            connected.watch.end();
            // The caller may have given up.
            let _ = answer.send(outcome);
        };
        if thread.work.send(Box::new(run)).is_err() {
            self.thread = None;
            return Err(StoreError::Unavailable("the connection's thread has ended".into()).into());
        }
        loop {
            // Zero if the call is overdue: the answer may have arrived nevertheless.
            let patience = watch.patience(call, limits).unwrap_or_default();
            match answered.recv_timeout(patience) {
                Ok(Ok(result)) => return result,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(RecvTimeoutError::Disconnected) => {
                    self.thread = None;
                    return Err(StoreError::Unavailable("the connection's thread has ended".into()).into());
                }
                Err(RecvTimeoutError::Timeout) if watch.patience(call, limits).is_some() => {}
                Err(RecvTimeoutError::Timeout) => {
                    let is_silent = watch.is_silent(limits);
                    // `None` if the answer arrives at this moment.
                    if let Some(error) = watch.abandon(call) {
                        if is_silent {
                            self.pool.distrust(generation);
                        }
                        self.thread = None;
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

/// Starts a thread. It ends after its lane has abandoned it and its current call has ended.
fn start(pool: Arc<Pool>) -> LaneThread {
    let (sender, receiver) = mpsc::channel::<Work>();
    let watch = Watch::new(None);
    let mut connected = Connected { pool, watch: watch.clone(), pooled: None };
    std::thread::Builder::new()
        .name("database-lane".to_owned())
        .spawn(move || receiver.into_iter().for_each(|work| work(&mut connected)))
        .expect("the system can start a thread");
    LaneThread { work: sender, watch }
}
