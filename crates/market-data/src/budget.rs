//! Limits the calls to a provider, by purpose. Each call is counted before it is made, in one count for all processes.

mod memory;
mod pace;
mod rules;
mod store;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Timelike, Utc};
use domain::calendar::exchange_date;
use domain::{Calendar, Timestamp, UserId};

use crate::QuoteError;
pub use memory::InMemoryBudget;
use pace::Phase;
pub use pace::{Pace, Pacing};
pub use rules::{Pot, Rules};
pub use store::{BudgetStore, Published, Series, Slot, StoreFailed, UnconfirmedQuote, Window};

/// How long after midnight in New York a new day's budget starts, because the provider's clock may be behind.
const NEW_DAY_MARGIN: TimeDelta = TimeDelta::minutes(5);
/// How long before midnight in New York the rest of the day's budget is available to all purposes.
const LAST_OF_A_DAY: TimeDelta = TimeDelta::minutes(30);
/// How long a call for a user waits for its turn.
const MAX_WAIT: TimeDelta = TimeDelta::seconds(8);
/// How long a call for a job waits for its turn.
const MAX_WAIT_OF_JOBS: TimeDelta = TimeDelta::seconds(30);

/// The purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A job updates known prices. Never takes from the reserve. With pacing, these calls are spread over the
    /// session.
    Scheduled,
    /// A job needs the close of a session, or news of splits and dividends. Some of the scheduled calls are reserved
    /// for this.
    CloseOrNews,
    /// An open page needs a price. With pacing, limited to a part of the scheduled calls.
    Followed,
    /// A user requests a symbol for the first time. Limited per user and day.
    FirstSight { user: Option<UserId> },
    /// A user waits for any other answer.
    Interactive,
    /// A user waits for a symbol and the other pots are empty: uses a call that is reserved for jobs but that they do
    /// not need. Per day, a user has twice as many of these as first sights.
    Idle { user: Option<UserId> },
    /// A job uses the remaining calls of a day that is about to end.
    Leftover,
    /// The operator tests the provider. Takes from all pots.
    Operator,
}

impl Purpose {
    /// The pots that may pay for a call, in order.
    fn pots(self) -> &'static [Pot] {
        match self {
            Self::Scheduled | Self::CloseOrNews | Self::Followed => &[Pot::Scheduled],
            Self::FirstSight { .. } => &[Pot::FirstSight, Pot::Reserve],
            Self::Interactive => &[Pot::Reserve],
            Self::Idle { .. } => &[Pot::Scheduled],
            Self::Leftover => &[Pot::Scheduled, Pot::FirstSight, Pot::Reserve],
            Self::Operator => &[Pot::Reserve, Pot::FirstSight, Pot::Scheduled],
        }
    }

    /// The longest wait of a call for its turn.
    pub(crate) fn longest_wait(self) -> Duration {
        self.patience().to_std().unwrap_or(Duration::ZERO)
    }

    fn patience(self) -> TimeDelta {
        match self {
            Self::Scheduled | Self::CloseOrNews | Self::Leftover | Self::Operator => MAX_WAIT_OF_JOBS,
            Self::FirstSight { .. } | Self::Interactive | Self::Idle { .. } | Self::Followed => MAX_WAIT,
        }
    }
}

/// A limit on calls that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallLimit {
    /// The provider's limit per minute.
    PerMinute(u32),
    /// One user's limit on new symbols per day.
    PerUser(u32),
    /// The limit per day on calls for new symbols and waiting users.
    InteractiveCalls(u32),
    /// The limit per day on all calls.
    PerDay(u32),
}

impl fmt::Display for CallLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerMinute(calls) => write!(f, "the price source allows {calls} calls per minute"),
            Self::PerUser(calls) => write!(f, "each user may look up {calls} new symbols per day"),
            Self::InteractiveCalls(calls) => {
                write!(f, "{calls} calls per day to the price source are reserved for users")
            }
            Self::PerDay(calls) => write!(f, "the price source allows {calls} calls per day"),
        }
    }
}

/// The budget of calls to one provider.
///
/// Failed calls are counted too, because the provider counts them. A process remembers which limits it saw reached, so
/// that rejecting a call costs nothing.
pub struct Budget {
    provider: String,
    rules: Rules,
    store: Arc<dyn BudgetStore>,
    /// The keys of windows that are known to be used up, with their ends.
    used_up: Mutex<HashMap<String, Timestamp>>,
    /// The number of stocks in use, and when it was read.
    stocks_in_use: Mutex<Option<(Timestamp, u32)>>,
}

/// The calls used on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStatus {
    /// The day in New York.
    pub day: NaiveDate,
    /// Calls used and allowed by pot; empty when the day has no limit.
    pub pots: Vec<(Pot, u32, u32)>,
    /// The time before which no call is made, if it is in the future.
    pub held_until: Option<Timestamp>,
}

impl BudgetStatus {
    /// Calls left on that day; `None` without a limit.
    pub fn left(&self) -> Option<u32> {
        (!self.pots.is_empty())
            .then(|| self.pots.iter().map(|(_, used, limit)| limit.saturating_sub(*used)).sum())
    }
}

impl Budget {
    /// `provider` is the prefix of all keys in the store.
    pub fn new(provider: &str, rules: Rules, store: Arc<dyn BudgetStore>) -> Self {
        Self {
            provider: provider.to_owned(),
            rules,
            store,
            used_up: Mutex::default(),
            stocks_in_use: Mutex::default(),
        }
    }

    pub(crate) fn per_day(&self) -> Option<u32> {
        self.rules.per_day
    }

    /// Counts one call and returns when it may be made: `now` or soon after.
    ///
    /// # Errors
    /// [`QuoteError::RateLimited`] with the time to retry: the call must not be made. Also if the store fails.
    pub async fn spend(&self, purpose: Purpose, now: Timestamp) -> Result<Timestamp, QuoteError> {
        // Limits that are known to be reached are checked first, so that rejected callers do not delay others.
        self.check_remembered(purpose, now)?;
        let latest = now + purpose.patience();
        let sends_at = match self.store.take_slot(&self.provider, now, self.rules.min_gap, latest).await? {
            Slot::At(at) => at,
            Slot::NotBefore(at) => return Err(refusal(at)),
        };
        // The windows are those at the time of the call. The scarcest one is checked last.
        if let Some(limit) = self.rules.per_minute {
            let minute = self.minute(sends_at);
            let ends_at = minute.ends_at;
            if !self.take(minute, limit).await? {
                return Err(refusal(ends_at));
            }
        }
        self.keep_pace(purpose, now).await?;
        let tomorrow = || refusal(new_day(sends_at.utc()).into());
        if let Some((window, limit)) = self.of_user(purpose, sends_at)
            && !self.take(window, limit).await?
        {
            return Err(tomorrow());
        }
        if let Some(per_day) = self.rules.per_day {
            let mut paid = false;
            for pot in purpose.pots() {
                paid =
                    paid || self.take(self.day(*pot, sends_at), self.rules.limit_of(*pot, per_day)).await?;
            }
            if !paid {
                return Err(tomorrow());
            }
        }
        Ok(sends_at)
    }

    /// Makes no call before `until`, as the provider demanded.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn hold(&self, until: Timestamp) -> Result<(), StoreFailed> {
        self.store.hold(&self.provider, until).await
    }

    /// Records the result of a request, for the admin page.
    pub(crate) async fn note(&self, at: Timestamp, failure: Option<&QuoteError>) {
        if let Err(error) = self.store.note(&self.provider, at, failure).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot record the price source's answer"
            );
        }
    }

    /// Returns the calls used today.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status(&self, now: Timestamp) -> Result<BudgetStatus, StoreFailed> {
        let mut pots = Vec::new();
        if let Some(per_day) = self.rules.per_day {
            for pot in Pot::ALL {
                let used = self.store.spent(&self.day(pot, now)).await?;
                pots.push((pot, used, self.rules.limit_of(pot, per_day)));
            }
        }
        let held_until = self.store.next_slot(&self.provider).await?.filter(|next| *next > now);
        Ok(BudgetStatus { day: exchange_date(now), pots, held_until })
    }

    /// The limit that this process saw reached and that would refuse a call of this purpose now.
    pub(crate) fn used_up(&self, purpose: Purpose, now: Timestamp) -> Option<CallLimit> {
        let used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used_up = |window: &Window| used_up.get(&window.key).is_some_and(|ends_at| *ends_at > now);
        if is_used_up(&self.minute(now)) {
            return self.rules.per_minute.map(CallLimit::PerMinute);
        }
        if let Some((window, limit)) = self.of_user(purpose, now)
            && is_used_up(&window)
        {
            return Some(CallLimit::PerUser(limit));
        }
        let per_day = self.rules.per_day?;
        let pots = purpose.pots();
        if !pots.iter().all(|pot| is_used_up(&self.day(*pot, now))) {
            return None;
        }
        Some(match pots.contains(&Pot::Scheduled) {
            true => CallLimit::PerDay(per_day),
            false => {
                CallLimit::InteractiveCalls(pots.iter().map(|pot| self.rules.limit_of(*pot, per_day)).sum())
            }
        })
    }

    fn check_remembered(&self, purpose: Purpose, now: Timestamp) -> Result<(), QuoteError> {
        let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        used_up.retain(|_, ends_at| *ends_at > now);
        let is_used_up = |window: &Window| used_up.contains_key(&window.key);
        let minute = self.minute(now);
        if is_used_up(&minute) {
            return Err(refusal(minute.ends_at));
        }
        let paced = match purpose {
            Purpose::Scheduled => vec![self.pace_of_jobs()],
            Purpose::Followed => vec![self.pace_of_jobs(), self.pace_of_followed()],
            _ => Vec::new(),
        };
        if let Some(ready_at) = paced.iter().filter_map(|queue| used_up.get(queue)).max() {
            return Err(refusal(*ready_at));
        }
        let user_has_none = self.of_user(purpose, now).is_some_and(|(window, _)| is_used_up(&window));
        if user_has_none || purpose.pots().iter().all(|pot| is_used_up(&self.day(*pot, now))) {
            return Err(refusal(new_day(now.utc()).into()));
        }
        Ok(())
    }

    /// Whether this process knows that a call of this purpose would be rejected now.
    pub(crate) fn is_used_up(&self, purpose: Purpose, now: Timestamp) -> bool {
        self.check_remembered(purpose, now).is_err()
    }

    /// Gives a scheduled call its place in the pace of the session. A call for a close or for news counts against its
    /// reserve.
    async fn keep_pace(&self, purpose: Purpose, now: Timestamp) -> Result<(), QuoteError> {
        let (Some(pacing), Some(per_day)) = (self.rules.pacing, self.rules.per_day) else { return Ok(()) };
        let is_followed = match purpose {
            Purpose::CloseOrNews => {
                self.store.try_spend(&self.kept_window(now), u32::MAX).await?;
                return Ok(());
            }
            Purpose::Scheduled => false,
            Purpose::Followed => true,
            _ => return Ok(()),
        };
        let limit = self.rules.limit_of(Pot::Scheduled, per_day);
        match pacing.phase(now) {
            Phase::Free => Ok(()),
            Phase::Evening => {
                let used = self.store.spent(&self.day(Pot::Scheduled, now)).await?;
                let kept = Pacing::kept_in_the_evening(limit, self.stocks_in_use(now).await?);
                match used.saturating_add(kept) < limit {
                    true => Ok(()),
                    false => Err(refusal(new_day(now.utc()).into())),
                }
            }
            Phase::BeforeOpening { opens_at } => {
                match self.take(self.early_window(now), pace::before_opening(limit)).await? {
                    true => Ok(()),
                    false => Err(refusal(opens_at)),
                }
            }
            Phase::Session { ends_at } => {
                let free = self.free_calls(pacing, limit, now).await?;
                let Some(gap) = pace::gap(free, ends_at - now) else { return Err(refusal(ends_at)) };
                if is_followed {
                    self.take_place(&self.pace_of_followed(), gap * pace::FOLLOWED, now).await?;
                }
                self.take_place(&self.pace_of_jobs(), gap, now).await
            }
        }
    }

    async fn take_place(&self, queue: &str, gap: TimeDelta, now: Timestamp) -> Result<(), QuoteError> {
        match self.store.take_slot(queue, now, gap, now + pace::AHEAD).await? {
            Slot::At(_) => Ok(()),
            Slot::NotBefore(next) => {
                let ready_at = next - pace::AHEAD;
                let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
                used_up.insert(queue.to_owned(), ready_at);
                Err(refusal(ready_at))
            }
        }
    }

    /// The key of the time at which the next paced call is due.
    fn pace_of_jobs(&self) -> String {
        format!("{}/pace", self.provider)
    }

    fn pace_of_followed(&self) -> String {
        format!("{}/pace/followed", self.provider)
    }

    /// The scheduled calls of the day that are left for prices of the session.
    async fn free_calls(&self, pacing: Pacing, limit: u32, now: Timestamp) -> Result<u32, StoreFailed> {
        let used = self.store.spent(&self.day(Pot::Scheduled, now)).await?;
        let kept = self.kept_calls(pacing, limit, now).await?;
        Ok(limit.saturating_sub(used).saturating_sub(kept))
    }

    /// The calls that are still reserved for closes and news on that day.
    async fn kept_calls(&self, pacing: Pacing, limit: u32, now: Timestamp) -> Result<u32, StoreFailed> {
        let spent = self.store.spent(&self.kept_window(now)).await?;
        Ok(pacing.kept(limit, self.stocks_in_use(now).await?).saturating_sub(spent))
    }

    /// The number of stocks in use, read from the store once per minute.
    async fn stocks_in_use(&self, now: Timestamp) -> Result<u32, StoreFailed> {
        let known = *self.stocks_in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, stocks)) = known
            && (TimeDelta::zero()..TimeDelta::minutes(1)).contains(&(now - at))
        {
            return Ok(stocks);
        }
        let stocks = self.store.stocks_in_use().await?;
        *self.stocks_in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, stocks));
        Ok(stocks)
    }

    /// Returns the pace of scheduled calls for prices of the session. `None` for a source with one price per session.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn pace(&self, now: Timestamp) -> Result<Option<Pace>, StoreFailed> {
        let Some(pacing) = self.rules.pacing else { return Ok(None) };
        let fastest = self.rules.calls_per_minute_of_jobs();
        let Some(per_day) = self.rules.per_day else {
            return Ok(Some(Pace { ready: None, calls_per_minute: fastest, calls_left: None, kept: 0 }));
        };
        let limit = self.rules.limit_of(Pot::Scheduled, per_day);
        let phase = pacing.phase(now);
        if matches!(phase, Phase::Free | Phase::Evening) {
            let kept = pacing.kept(limit, self.stocks_in_use(now).await?);
            let calls_per_minute = f64::from(limit - kept) / pacing.session_minutes();
            let calls_per_minute = calls_per_minute.min(fastest);
            return Ok(Some(Pace { ready: None, calls_per_minute, calls_left: Some(limit - kept), kept }));
        }
        let kept = self.kept_calls(pacing, limit, now).await?;
        let free = self.free_calls(pacing, limit, now).await?;
        let (ready, minutes) = match phase {
            Phase::Session { ends_at } => {
                let next = self.store.next_slot(&self.pace_of_jobs()).await?.unwrap_or(now);
                let ready = pace::gap(free, ends_at - now).map_or(0, |gap| pace::ready(next, gap, now));
                (ready.min(free), pace::minutes(ends_at - now).max(1.0))
            }
            Phase::BeforeOpening { .. } | Phase::Evening | Phase::Free => {
                let early = self.store.spent(&self.early_window(now)).await?;
                (pace::before_opening(limit).saturating_sub(early), pacing.session_minutes())
            }
        };
        let calls_per_minute = (f64::from(free) / minutes).min(fastest);
        Ok(Some(Pace { ready: Some(ready), calls_per_minute, calls_left: Some(free), kept }))
    }

    async fn take(&self, window: Window, limit: u32) -> Result<bool, StoreFailed> {
        let taken = self.store.try_spend(&window, limit).await?;
        if !taken {
            let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
            used_up.insert(window.key, window.ends_at);
        }
        Ok(taken)
    }

    fn minute(&self, at: Timestamp) -> Window {
        let start = at.utc().with_second(0).and_then(|start| start.with_nanosecond(0)).unwrap_or(at.utc());
        let key = format!("{}/minute/{}", self.provider, start.format("%Y-%m-%dT%H:%MZ"));
        Window { key, ends_at: Timestamp::from(start) + TimeDelta::minutes(1) }
    }

    /// The window that counts the scheduled calls of a day before its session opens.
    fn early_window(&self, at: Timestamp) -> Window {
        self.day_of("before_opening", at)
    }

    /// The window that counts the calls of a day for closes and news.
    fn kept_window(&self, at: Timestamp) -> Window {
        self.day_of("closes_and_news", at)
    }

    fn day(&self, pot: Pot, at: Timestamp) -> Window {
        self.day_of(pot.as_str(), at)
    }

    fn of_user(&self, purpose: Purpose, at: Timestamp) -> Option<(Window, u32)> {
        let limit = self.rules.first_sights_per_user?;
        match purpose {
            Purpose::FirstSight { user: Some(user) } => {
                Some((self.day_of(&format!("user/{user}"), at), limit))
            }
            Purpose::Idle { user: Some(user) } => {
                Some((self.day_of(&format!("idle/user/{user}"), at), limit * 2))
            }
            _ => None,
        }
    }

    fn day_of(&self, what: &str, at: Timestamp) -> Window {
        let key = format!("{}/day/{}/{what}", self.provider, exchange_date(at));
        Window { key, ends_at: midnight_after(at.utc()).into() }
    }
}

/// Whether the day ends soon, so that its unused calls may be used for anything.
pub(crate) fn day_is_ending(now: Timestamp) -> bool {
    Timestamp::from(midnight_after(now.utc())) - now <= LAST_OF_A_DAY
}

/// The time at which the next day's budget starts. A provider's days are assumed to be New York's.
pub(crate) fn new_day(now: DateTime<Utc>) -> DateTime<Utc> {
    midnight_after(now) + NEW_DAY_MARGIN
}

fn midnight_after(now: DateTime<Utc>) -> DateTime<Utc> {
    let today = exchange_date(now.into());
    Calendar::AroundTheClock.session(today).map_or(now, |day| day.closes_at.utc())
}

fn refusal(retry_at: Timestamp) -> QuoteError {
    QuoteError::RateLimited { retry_at: Some(retry_at.utc()) }
}

#[cfg(test)]
mod tests;
