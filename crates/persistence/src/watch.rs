//! Follows the progress of calls on a connection. The thread that uses the connection and the caller that waits for the
//! thread share it.
//!
//! libpq and SQLite cannot be interrupted. A caller waits until its deadline and then abandons the thread; an abandoned
//! transaction never begins its COMMIT.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diesel::connection::{Instrumentation, InstrumentationEvent};

use crate::error::{StoreError, is_lost, is_refusal};
use crate::opened_file::OpenedFile;

/// The deadlines of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The deadline for one statement, and for getting a free connection.
    pub statement: Duration,
}

/// Additional time for the server to report that a statement took too long.
const SLACK: Duration = Duration::from_millis(500);

/// The longest wait for a lock, even if the deadline of statements is longer.
const LONGEST_LOCK: Duration = Duration::from_secs(60);

impl Limits {
    pub fn new(statement: Duration) -> Self {
        Self { statement }
    }

    /// The deadline for a lock.
    pub fn lock(self) -> Duration {
        self.statement.min(LONGEST_LOCK)
    }

    /// The time without any answer after which a connection counts as dead.
    fn silence(self) -> Duration {
        self.statement + SLACK
    }

    /// The deadline for a whole call, without the wait for a connection.
    fn call(self) -> Duration {
        self.statement * 2
    }
}

/// The phases of a call, stored in the last two bits of the state, below the number of the call.
const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const COMMITTING: u64 = 2;
const ABANDONED: u64 = 3;
const PHASES: u64 = 4;

/// Numbers the calls of one connection, so that a waiting caller does not abandon the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallNumber(u64);

const SOUND: u8 = 0;
const SUSPECT: u8 = 1;
const LOST: u8 = 2;

/// The watch of one connection, reused for one call after the other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: AtomicU64,
    health: AtomicU8,
    /// When the call began, in milliseconds since this process first used a watch.
    began_at: AtomicU64,
    /// When the call last sent a statement or began to connect.
    active_at: AtomicU64,
    /// The number of statements, counted for tests.
    statements: Option<Arc<AtomicUsize>>,
    /// The file of the connection; only on SQLite.
    file: OnceLock<Arc<OpenedFile>>,
}

fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Watch {
    pub fn new(statements: Option<Arc<AtomicUsize>>) -> Arc<Self> {
        Arc::new(Self { statements, ..Self::default() })
    }

    /// Sets the file of the connection; only on SQLite.
    pub fn writes_to(&self, file: &Arc<OpenedFile>) {
        self.file.get_or_init(|| file.clone());
    }

    /// Begins a call. Only the owner of the connection may do so, after the end of the previous call.
    pub fn begin(&self) -> CallNumber {
        let now = now_ms();
        self.began_at.store(now, Ordering::Release);
        self.active_at.store(now, Ordering::Release);
        let number = self.state.load(Ordering::Acquire) / PHASES + 1;
        self.state.store(number * PHASES + RUNNING, Ordering::Release);
        CallNumber(number)
    }

    /// Records that a statement was sent.
    pub fn touch(&self) {
        self.active_at.store(now_ms(), Ordering::Release);
    }

    fn advance(&self, CallNumber(number): CallNumber, from: u64, to: u64) -> bool {
        let (from, to) = (number * PHASES + from, number * PHASES + to);
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Checks before a COMMIT that the caller still waits. From then on the outcome is unknown until the answer comes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the caller has given up: it was told that nothing was changed. Also if the
    /// written file is no longer the database's.
    pub fn may_commit(&self, call: CallNumber) -> Result<(), StoreError> {
        self.file.get().map_or(Ok(()), |file| file.check_with_log())?;
        match self.advance(call, RUNNING, COMMITTING) {
            true => Ok(()),
            false => Err(StoreError::Unavailable("the caller has given up".into())),
        }
    }

    /// Ends the call and returns whether the caller had given up.
    pub fn end(&self) -> bool {
        let before = self.state.fetch_and(!(PHASES - 1), Ordering::AcqRel);
        before % PHASES == ABANDONED
    }

    /// Gives up waiting for a call. The returned error tells whether changes may have been made; `None` if the call has
    /// ended and its result is about to arrive.
    pub fn abandon(&self, call: CallNumber) -> Option<StoreError> {
        let silent_for = now_ms().saturating_sub(self.active_at.load(Ordering::Acquire));
        let cause = format!("no answer for {silent_for} ms").into();
        // In this order, because a running call may begin its COMMIT between the two checks.
        if self.advance(call, RUNNING, ABANDONED) {
            Some(StoreError::Unavailable(cause))
        } else if self.advance(call, COMMITTING, ABANDONED) {
            Some(StoreError::OutcomeUnknown(cause))
        } else {
            None
        }
    }

    /// The time to wait before the next check; `None` if the call has ended or is overdue.
    pub fn patience(&self, CallNumber(number): CallNumber, limits: Limits) -> Option<Duration> {
        let state = self.state.load(Ordering::Acquire);
        if state / PHASES != number || state % PHASES == IDLE {
            return None;
        }
        let over_at = self.began_at.load(Ordering::Acquire).saturating_add(ms(limits.call()));
        let left = self.silent_at(limits).min(over_at).saturating_sub(now_ms());
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// The time at which the connection counts as dead, unless a statement is sent before.
    fn silent_at(&self, limits: Limits) -> u64 {
        self.active_at.load(Ordering::Acquire).saturating_add(ms(limits.silence()))
    }

    /// Whether the database has not answered for so long that its connections cannot be trusted.
    pub fn is_silent(&self, limits: Limits) -> bool {
        self.silent_at(limits) <= now_ms()
    }

    /// Returns when the call has ended or is overdue.
    pub async fn overdue(&self, call: CallNumber, limits: Limits) {
        while let Some(left) = self.patience(call, limits) {
            tokio::time::sleep(left).await;
        }
    }

    /// Whether no error other than rejected rows has occurred on the connection.
    pub fn is_sound(&self) -> bool {
        self.health.load(Ordering::Acquire) == SOUND
    }

    /// Whether the connection was lost.
    pub fn is_lost(&self) -> bool {
        self.health.load(Ordering::Acquire) == LOST
    }

    /// Resets the watch for a new connection.
    pub fn renew(&self) {
        self.health.store(SOUND, Ordering::Release);
    }

    fn note(&self, error: &diesel::result::Error) {
        let health = match error {
            error if is_lost(error) => LOST,
            error if is_refusal(error) => return,
            _ => SUSPECT,
        };
        self.health.fetch_max(health, Ordering::AcqRel);
    }
}

/// Passes diesel's events on a connection to its watch.
pub(crate) struct Reporter(pub Arc<Watch>);

impl Instrumentation for Reporter {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => {
                if let Some(statements) = &self.0.statements {
                    statements.fetch_add(1, Ordering::Relaxed);
                }
                self.0.touch();
            }
            InstrumentationEvent::FinishQuery { error: Some(error), .. } => self.0.note(error),
            _ => {}
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
