//! What goes on on a connection, seen by the thread that uses it and by the caller that waits for that thread.
//!
//! libpq and SQLite return when they return. So a caller waits no longer than its deadline, and leaves the thread behind:
//! an abandoned transaction never begins its COMMIT.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diesel::connection::{Instrumentation, InstrumentationEvent};

use crate::error::{StoreError, is_lost, is_refusal};
use crate::opened_file::OpenedFile;

/// How long calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For one statement, and for a free connection.
    pub statement: Duration,
}

/// The time that a server gets to report by itself that a statement took too long.
const SLACK: Duration = Duration::from_millis(500);

/// The longest wait for a lock, however long statements may take.
const LONGEST_LOCK: Duration = Duration::from_secs(60);

impl Limits {
    pub fn new(statement: Duration) -> Self {
        Self { statement }
    }

    /// For a lock.
    pub fn lock(self) -> Duration {
        self.statement.min(LONGEST_LOCK)
    }

    /// Without a sign of life of this length the connection counts as dead.
    fn silence(self) -> Duration {
        self.statement + SLACK
    }

    /// For a whole call, the wait for a connection not included.
    fn call(self) -> Duration {
        self.statement * 2
    }
}

/// The phases of a call, in the last two bits of the state; the number of the call is in front of them.
const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const COMMITTING: u64 = 2;
const ABANDONED: u64 = 3;
const PHASES: u64 = 4;

/// Numbers the calls of one connection, so that whoever waits for one does not abandon the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallNumber(u64);

const SOUND: u8 = 0;
const SUSPECT: u8 = 1;
const LOST: u8 = 2;

/// Belongs to one connection and serves one call after the other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: AtomicU64,
    health: AtomicU8,
    /// When the call began, in milliseconds since the process first asked.
    began_at: AtomicU64,
    /// When it last sent a statement or began to connect.
    active_at: AtomicU64,
    /// Counts statements, for tests.
    statements: Option<Arc<AtomicUsize>>,
    /// What the connection writes to, on SQLite.
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

    /// Names the file of the connection, on SQLite.
    pub fn writes_to(&self, file: &Arc<OpenedFile>) {
        self.file.get_or_init(|| file.clone());
    }

    /// Only the owner of the connection begins a call, and after the end of the one before.
    pub fn begin(&self) -> CallNumber {
        let now = now_ms();
        self.began_at.store(now, Ordering::Release);
        self.active_at.store(now, Ordering::Release);
        let number = self.state.load(Ordering::Acquire) / PHASES + 1;
        self.state.store(number * PHASES + RUNNING, Ordering::Release);
        CallNumber(number)
    }

    /// Something is sent to the database, whose answer is waited for.
    pub fn touch(&self) {
        self.active_at.store(now_ms(), Ordering::Release);
    }

    fn advance(&self, CallNumber(number): CallNumber, from: u64, to: u64) -> bool {
        let (from, to) = (number * PHASES + from, number * PHASES + to);
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Before COMMIT: whether anybody still waits for the call. From then on its outcome is open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the caller has given up: it has been told that nothing was changed. Also when the
    /// file that was written to is no longer the database's.
    pub fn may_commit(&self, call: CallNumber) -> Result<(), StoreError> {
        self.file.get().map_or(Ok(()), |file| file.check_with_log())?;
        match self.advance(call, RUNNING, COMMITTING) {
            true => Ok(()),
            false => Err(StoreError::Unavailable("the caller has given up".into())),
        }
    }

    /// The call is over. Answers whether the caller had given up.
    pub fn end(&self) -> bool {
        let before = self.state.fetch_and(!(PHASES - 1), Ordering::AcqRel);
        before % PHASES == ABANDONED
    }

    /// Gives up waiting for a call. The error says whether something may have been changed; `None` when the call is over
    /// and its result about to arrive.
    pub fn abandon(&self, call: CallNumber) -> Option<StoreError> {
        let silent_for = now_ms().saturating_sub(self.active_at.load(Ordering::Acquire));
        let cause = format!("no answer for {silent_for} ms").into();
        // In this order: a running call may begin its COMMIT in between.
        if self.advance(call, RUNNING, ABANDONED) {
            Some(StoreError::Unavailable(cause))
        } else if self.advance(call, COMMITTING, ABANDONED) {
            Some(StoreError::OutcomeUnknown(cause))
        } else {
            None
        }
    }

    /// How long to wait before looking again; `None` when the call is over or has taken too long.
    pub fn patience(&self, CallNumber(number): CallNumber, limits: Limits) -> Option<Duration> {
        let state = self.state.load(Ordering::Acquire);
        if state / PHASES != number || state % PHASES == IDLE {
            return None;
        }
        let over_at = self.began_at.load(Ordering::Acquire).saturating_add(ms(limits.call()));
        let left = self.silent_at(limits).min(over_at).saturating_sub(now_ms());
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// When the connection counts as dead unless something is sent before.
    fn silent_at(&self, limits: Limits) -> u64 {
        self.active_at.load(Ordering::Acquire).saturating_add(ms(limits.silence()))
    }

    /// Whether the database has not answered for so long that its connections cannot be trusted.
    pub fn is_silent(&self, limits: Limits) -> bool {
        self.silent_at(limits) <= now_ms()
    }

    /// Returns when the call is over or has taken too long.
    pub async fn overdue(&self, call: CallNumber, limits: Limits) {
        while let Some(left) = self.patience(call, limits) {
            tokio::time::sleep(left).await;
        }
    }

    /// Whether nothing went wrong on the connection but refusals of rows.
    pub fn is_sound(&self) -> bool {
        self.health.load(Ordering::Acquire) == SOUND
    }

    /// Whether the connection was lost.
    pub fn is_lost(&self) -> bool {
        self.health.load(Ordering::Acquire) == LOST
    }

    /// For a new connection.
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

/// Reports what diesel does on a connection to its watch.
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
