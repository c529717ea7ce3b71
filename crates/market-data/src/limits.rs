//! Limits on requests to a real source: each request passes the circuit breaker, and each of its calls the budget.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::{PriceSource, Symbol, Timestamp};

use crate::QuoteError;
use crate::breaker::{Breaker, BreakerRules, BreakerState};
use crate::budget::{Budget, BudgetStatus, BudgetStore, CallLimit, Pace, Purpose, Rules, StoreFailed};
use crate::metrics::{self, Endpoint};
use crate::source::Now;

/// How long a process has the exclusive right to request a symbol.
const LEASE: TimeDelta = TimeDelta::seconds(90);

/// The limits of one source for all requests of this process.
pub struct Limits {
    budget: Budget,
    breaker: Breaker,
    pub(crate) store: Arc<dyn BudgetStore>,
    now: Now,
    /// Identifies the leases of this process.
    holder: String,
    /// The symbol of the last unusable answer, if no usable answer has come since.
    last_unusable: Mutex<Option<Symbol>>,
}

/// The result of a request, for the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// There was no answer.
    Failed,
    /// The answer was unusable.
    Unusable,
    /// The source refuses calls until this time.
    Refused(Timestamp),
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unusable => "unusable",
            Self::Refused(_) => "refused",
        }
    }

    pub(crate) fn from_failure(failure: Option<&QuoteError>) -> Self {
        match failure {
            None
            | Some(
                QuoteError::UnknownSymbol(_)
                | QuoteError::NotTradable { .. }
                | QuoteError::ClockAhead { .. }
                | QuoteError::Unconfirmed(_),
            ) => Self::Answered,
            Some(QuoteError::RateLimited { retry_at: Some(at) }) => Self::Refused((*at).into()),
            Some(QuoteError::RateLimited { retry_at: None } | QuoteError::Unreachable) => Self::Failed,
            Some(QuoteError::Upstream(_) | QuoteError::KeyRefused | QuoteError::NotCovered) => Self::Unusable,
        }
    }
}

/// An answer of a source, from which the health of the source is judged.
pub(crate) trait Answer {
    /// The error that counts for the whole answer; `None` if the source has answered.
    fn failure(&self) -> Option<&QuoteError>;
}

impl<T> Answer for Result<T, QuoteError> {
    fn failure(&self) -> Option<&QuoteError> {
        self.as_ref().err()
    }
}

/// An answer, and whether the budget held back a call that the answer needed. Such an answer says nothing about the
/// state of the source.
pub(crate) struct CallResult<T> {
    pub(crate) answer: T,
    pub(crate) budget_refused: bool,
}

impl<T> CallResult<Result<T, QuoteError>> {
    pub(crate) fn map<U>(self, answer: impl FnOnce(T) -> U) -> CallResult<Result<U, QuoteError>> {
        CallResult { answer: self.answer.map(answer), budget_refused: self.budget_refused }
    }
}

impl Limits {
    /// `source` is the limited source; `now` must be the clock that the source uses.
    pub fn new(
        source: &PriceSource,
        rules: Rules,
        breaker: BreakerRules,
        store: Arc<dyn BudgetStore>,
        now: Now,
    ) -> Self {
        Self {
            budget: Budget::new(source.as_str(), rules, Arc::clone(&store)),
            breaker: Breaker::new(breaker),
            store,
            now,
            holder: format!("{:016x}", RandomState::new().build_hasher().finish()),
            last_unusable: Mutex::default(),
        }
    }

    /// Whether the day ends soon: in its last half hour jobs use the unused calls of all pots.
    pub fn day_is_ending(&self) -> bool {
        self.per_day().is_some() && crate::budget::day_is_ending((self.now)().into())
    }

    /// The limit per day; `None` without one.
    pub fn per_day(&self) -> Option<u32> {
        self.budget.per_day()
    }

    /// The limit that this process saw reached and that would reject a call of this purpose now.
    pub fn used_up(&self, purpose: Purpose) -> Option<CallLimit> {
        self.budget.used_up(purpose, self.now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)().into()
    }

    /// Returns the calls used today.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn budget(&self) -> Result<BudgetStatus, StoreFailed> {
        self.budget.status(self.now()).await
    }

    /// Returns the pace of scheduled calls for prices of the session. `None` for a source with one price per session.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn pace(&self) -> Result<Option<Pace>, StoreFailed> {
        self.budget.pace(self.now()).await
    }

    /// Whether this process knows that a call of this purpose would be rejected now.
    pub(crate) fn is_used_up(&self, purpose: Purpose) -> bool {
        self.budget.is_used_up(purpose, self.now())
    }

    pub fn breaker(&self) -> BreakerState {
        self.breaker.current(self.now())
    }

    /// Whether this process pauses calls at the moment.
    pub fn is_paused(&self) -> bool {
        matches!(self.breaker(), BreakerState::Open { .. })
    }

    /// Whether the last unusable answer was about the same symbol.
    fn is_repeated_trouble(&self, about: Option<&Symbol>) -> bool {
        let mut last = self.last_unusable.lock().unwrap_or_else(PoisonError::into_inner);
        let is_repeated = about.is_some() && last.as_ref() == about;
        *last = about.cloned();
        is_repeated
    }

    /// Takes the lease `name` and returns whether this process has it. If the store fails, returns true: the budget
    /// will then reject the call.
    pub(crate) async fn try_lease(&self, name: &str) -> bool {
        let now = self.now();
        self.store.try_lease(name, &self.holder, now, now + LEASE).await.unwrap_or(true)
    }

    pub(crate) async fn release(&self, name: &str) {
        if let Err(error) = self.store.release(name, &self.holder).await {
            tracing::debug!(error = &error as &dyn std::error::Error, name, "a lease will expire by itself");
        }
    }

    /// Releases all leases before the process ends, so that other processes need not wait for interrupted calls.
    pub async fn release_all(&self) {
        if let Err(error) = self.store.release_all(&self.holder).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the leases of calls to the price source will expire by themselves"
            );
        }
    }
}

/// Counts the calls of one request to a source, and records from its answer whether the source works.
pub struct Payer {
    /// The request and its limits; `None` allows all calls.
    request: Option<LimitedRequest>,
    /// Whether the budget held back a call.
    budget_refused: AtomicBool,
    was_sent: AtomicBool,
}

struct LimitedRequest {
    limits: Arc<Limits>,
    endpoint: Endpoint,
    purpose: Purpose,
    about: Option<Symbol>,
}

impl Payer {
    /// A payer that allows all calls, for sources without limits.
    pub const fn unlimited() -> Self {
        Self { request: None, budget_refused: AtomicBool::new(false), was_sent: AtomicBool::new(false) }
    }

    /// A payer for one request, about one symbol if `about` is given.
    ///
    /// # Errors
    /// If the circuit is open; the source must not be called.
    pub(crate) fn new(
        limits: Option<&Arc<Limits>>,
        endpoint: Endpoint,
        purpose: Purpose,
        about: Option<&Symbol>,
    ) -> Result<Self, QuoteError> {
        let Some(limits) = limits.cloned() else { return Ok(Self::unlimited()) };
        limits.breaker.admit(limits.now()).map_err(|until| {
            metrics::count(endpoint, "not_sent");
            QuoteError::RateLimited { retry_at: Some(until.utc()) }
        })?;
        let request = Some(LimitedRequest { limits, endpoint, purpose, about: about.cloned() });
        Ok(Self { request, ..Self::unlimited() })
    }

    /// Sources await this before each call to the provider, also before repeating a call: it counts the call and waits
    /// for its turn.
    ///
    /// # Errors
    /// The call must not be made; the error is the answer.
    pub async fn before_call(&self) -> Result<(), QuoteError> {
        let Some(LimitedRequest { limits, purpose, .. }) = &self.request else { return Ok(()) };
        let now = limits.now();
        let sends_at = limits.budget.spend(*purpose, now).await;
        let sends_at = sends_at.inspect_err(|_| self.budget_refused.store(true, Ordering::SeqCst))?;
        tokio::time::sleep((sends_at - now).to_std().unwrap_or(Duration::ZERO)).await;
        self.was_sent.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Records the answer of the request, and returns it.
    ///
    /// # Errors
    /// The error of the answer.
    pub async fn answered<T>(&self, answer: Result<T, QuoteError>) -> Result<T, QuoteError> {
        self.settle(answer).await.answer
    }

    /// Records the answer of the request.
    pub(crate) async fn settle<T: Answer>(&self, answer: T) -> CallResult<T> {
        let budget_refused = self.budget_refused.load(Ordering::SeqCst);
        if let Some(request) = &self.request {
            request.settle(answer.failure(), budget_refused, self.was_sent.load(Ordering::SeqCst)).await;
        }
        CallResult { answer, budget_refused }
    }
}

impl LimitedRequest {
    async fn settle(&self, failure: Option<&QuoteError>, budget_refused: bool, was_sent: bool) {
        let Self { limits, endpoint, about, .. } = self;
        let now = limits.now();
        if budget_refused {
            limits.breaker.abandoned(now);
            metrics::count(*endpoint, "not_sent");
            return;
        }
        let outcome = Outcome::from_failure(failure);
        // If the source answered without a call, the answer shows nothing about its provider.
        if outcome == Outcome::Answered && !was_sent {
            limits.breaker.abandoned(now);
            return;
        }
        metrics::count(*endpoint, outcome.as_str());
        let is_trouble = |error: &&QuoteError| {
            outcome != Outcome::Answered || matches!(error, QuoteError::ClockAhead { .. })
        };
        limits.budget.note(now, failure.filter(is_trouble)).await;
        match outcome {
            Outcome::Answered => {
                limits.is_repeated_trouble(None);
                limits.breaker.succeeded();
            }
            Outcome::Failed => limits.breaker.failed(now),
            // Repeated trouble with one symbol shows nothing about other symbols.
            Outcome::Unusable if limits.is_repeated_trouble(about.as_ref()) => limits.breaker.abandoned(now),
            Outcome::Unusable => limits.breaker.failed(now),
            Outcome::Refused(until) => limits.breaker.refused(until),
        }
        // The failures that one process has seen are enough for all processes.
        if outcome != Outcome::Answered
            && let BreakerState::Open { until } = limits.breaker.current(now)
            && let Err(error) = limits.budget.hold(until).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "other processes do not know yet that calls are paused"
            );
        }
    }
}
