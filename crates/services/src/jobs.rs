//! Jobs: which runs are due, and doing one. Web and worker processes share the record of runs in the database,
//! so each due run happens once, and a run whose worker died is taken over.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use domain::calendar::{EXCHANGE_ZONE, exchange_date};
use domain::{Freshness, PortfolioId, Session, Timestamp};
use persistence::jobs::{self, JobRunRow, JobStatus};
use persistence::{Store, Tx, flash_messages, portfolios, providers, sessions};

use crate::Market;
use crate::accounts::actor::Administrator;
use crate::accounts::login_throttle;
use crate::books::Books;
use crate::books::snapshots::IdRange;
use crate::corporate_actions::{AppliedCount, CorporateActions};
use crate::error::{Error, Result};
use crate::log_target::SECURITY;
use crate::stocks::Stocks;
use crate::{Page, one_more};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// The rows of a session that has closed; one run per session and share of the portfolios.
    SnapshotPortfolios,
    /// The session under way at current prices; only when somebody asks for it.
    ProvisionalSnapshots,
    /// Last prices of everything held or watched.
    RefreshQuotes,
    /// Learns what happens to stocks, and gives portfolios what is theirs of it; when a session is next, and once it has
    /// opened.
    CorporateActions,
    /// The table of all that is listed, which searches run on.
    RefreshListings,
    /// Forgets expired logins and old records of runs.
    Prune,
}

impl JobKind {
    pub const ALL: [Self; 6] = [
        Self::SnapshotPortfolios,
        Self::ProvisionalSnapshots,
        Self::RefreshQuotes,
        Self::CorporateActions,
        Self::RefreshListings,
        Self::Prune,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SnapshotPortfolios => jobs::SNAPSHOT_PORTFOLIOS,
            Self::ProvisionalSnapshots => "provisional_snapshots",
            Self::RefreshQuotes => "refresh_quotes",
            Self::CorporateActions => "corporate_actions",
            Self::RefreshListings => "refresh_listings",
            Self::Prune => "prune",
        }
    }

    /// How long finished runs stay on record.
    fn remembered(self) -> TimeDelta {
        match self {
            Self::SnapshotPortfolios
            | Self::ProvisionalSnapshots
            | Self::CorporateActions
            | Self::RefreshListings
            | Self::Prune => TimeDelta::days(400),
            Self::RefreshQuotes => TimeDelta::days(1),
        }
    }
}

/// A word that names no kind of job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no job is called {0:?}")]
pub struct UnknownJob(String);

impl FromStr for JobKind {
    type Err = UnknownJob;
    fn from_str(text: &str) -> std::result::Result<Self, UnknownJob> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownJob(text.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    Queued,
    Running,
    Done,
    /// Given up after several attempts.
    Failed,
}

impl RunStatus {
    pub fn as_str(self) -> &'static str {
        JobStatus::from(self).as_str()
    }
}

impl From<JobStatus> for RunStatus {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Queued => Self::Queued,
            JobStatus::Running => Self::Running,
            JobStatus::Done => Self::Done,
            JobStatus::Failed => Self::Failed,
        }
    }
}

impl From<RunStatus> for JobStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::Queued,
            RunStatus::Running => Self::Running,
            RunStatus::Done => Self::Done,
            RunStatus::Failed => Self::Failed,
        }
    }
}

/// One run of a job, as the record of runs has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub id: i64,
    pub kind: JobKind,
    /// What makes the run due once: a session's date, a minute.
    pub key: String,
    /// The share of the work, from 0.
    pub partition: i64,
    /// Whether an administrator asked for it, beside the schedule.
    pub requested: bool,
    pub status: RunStatus,
    pub attempts: i32,
    pub worker: Option<String>,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// The last sign of life; of a queued run, when it was last put into the queue.
    pub heartbeat_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What it did, or why it failed.
    pub outcome: Option<String>,
}

impl TryFrom<JobRunRow> for JobRun {
    type Error = UnknownJob;

    /// Another version of Stockyard may have recorded runs of other kinds.
    fn try_from(row: JobRunRow) -> std::result::Result<Self, UnknownJob> {
        Ok(Self {
            id: row.id,
            kind: row.kind.parse()?,
            key: row.key,
            partition: row.partition,
            requested: row.requested,
            status: row.status.into(),
            attempts: row.attempts,
            worker: row.worker,
            queued_at: row.queued_at,
            started_at: row.started_at,
            heartbeat_at: row.heartbeat_at,
            finished_at: row.finished_at,
            outcome: row.outcome,
        })
    }
}

/// Those of the runs that this version can do.
fn known(rows: Vec<JobRunRow>) -> Vec<JobRun> {
    rows.into_iter().filter_map(|row| JobRun::try_from(row).ok()).collect()
}

/// How many portfolio ids one run of a snapshot covers.
const PARTITION: i64 = 5000;
/// Sessions that are planned at once when several were missed.
const MOST_SESSIONS: usize = 50;
const MOST_ATTEMPTS: i32 = 5;
/// Requests of one refresh to a source that counts them.
const END_OF_DAY_REQUESTS: usize = 15;
/// After the close, by the market's clock, until its prices count as settled.
const SIMULATED_DELAY: TimeDelta = TimeDelta::minutes(15);
const PUBLISHED_DELAY: TimeDelta = TimeDelta::minutes(30);
/// And by the wall clock, however fast the market's clock runs: until orders under way are written.
const SETTLING: TimeDelta = TimeDelta::seconds(5);
/// An end-of-day source without the close is asked again, by New York's time: in the evening, and next morning.
const EVENING: NaiveTime = NaiveTime::from_hms_opt(20, 30, 0).expect("a time of day");
const NEXT_MORNING: NaiveTime = NaiveTime::from_hms_opt(6, 0, 0).expect("a time of day");
/// And shortly before a day's calls end, with what is left of them.
const NIGHT: NaiveTime = NaiveTime::from_hms_opt(23, 30, 0).expect("a time of day");
/// Then its close is waited for more patiently, until as many further sessions have closed.
const PATIENT_PAUSE: TimeDelta = TimeDelta::hours(1);
const GIVE_UP_AFTER_SESSIONS: usize = 10;
const ASK_AGAIN_AFTER: &str = "closing prices are not published yet";

/// The use cases of jobs. Cheap to clone. The work of a run has more time for each call of the database.
#[derive(Clone)]
pub struct Jobs {
    store: Store,
    market: Arc<Market>,
    /// How long a running job may be silent before another worker takes it over.
    silence: TimeDelta,
    stocks: Arc<Stocks>,
    corporate_actions: Arc<CorporateActions>,
    books: Arc<Books>,
}

impl Jobs {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        silence: TimeDelta,
        (stocks, corporate_actions, books): (&Stocks, &CorporateActions, &Books),
    ) -> Self {
        let (stocks, corporate_actions, books) =
            (Arc::new(stocks.for_jobs()), Arc::new(corporate_actions.for_jobs()), Arc::new(books.for_jobs()));
        Self { store, market, silence, stocks, corporate_actions, books }
    }
}

impl Jobs {
    /// Records the runs that have become due and answers those that somebody should do now: new ones, ones that
    /// were never picked up, and ones whose worker fell silent.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn due_runs(&self) -> Result<Vec<JobRun>> {
        let market = self.market.clone();
        let silence = self.silence;
        self.store
            .write(move |tx| {
                let wall = market.clock.wall();
                plan_actions(tx, &market, wall)?;
                plan_snapshots(tx, &market, wall)?;
                plan_refresh(tx, &market, wall)?;
                plan_listings(tx, &market, wall)?;
                let day = exchange_date(wall).to_string();
                jobs::plan(tx, JobKind::Prune.as_str(), &day, 0, wall)?;
                let kinds = JobKind::ALL.map(JobKind::as_str);
                jobs::take_due(tx, &kinds, wall - silence, wall, 100).map(known).map_err(Error::from)
            })
            .await
    }

    /// Records a run of that kind for this moment, beside the schedule. A snapshot is one of the session under
    /// way.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn request_run(&self, by: &Administrator, kind: JobKind) -> Result<()> {
        let kind = match kind {
            JobKind::SnapshotPortfolios => JobKind::ProvisionalSnapshots,
            other => other,
        };
        let wall = self.market.clock.wall();
        // Sorts after the scheduled keys of the same day or minute and does not stand in their way.
        let key = format!("{} on request", wall.utc().to_rfc3339_opts(SecondsFormat::Micros, true));
        self.store
            .write(move |tx| jobs::request(tx, kind.as_str(), &key, wall).map(drop).map_err(Error::from))
            .await?;
        tracing::info!(target: SECURITY, event = "job_requested", job = kind.as_str(), administrator = by.name(), "an administrator requested a job");
        Ok(())
    }

    /// Does a run unless somebody else does it or has done it. Answers whether it was done here.
    ///
    /// # Errors
    /// What the job failed with; it is put back into the queue until its fifth attempt.
    pub async fn run_job(&self, id: i64, worker: &str) -> Result<bool> {
        let (name, silence, clock) = (worker.to_owned(), self.silence, self.market.clock.clone());
        let claimed = self
            .store
            .write(move |tx| {
                let wall = clock.wall();
                jobs::claim(tx, id, &name, wall - silence, wall).map_err(Error::from)
            })
            .await?;
        let Some(row) = claimed else { return Ok(false) };
        if row.attempts > MOST_ATTEMPTS {
            // It never came to an end before: it takes its worker with it.
            let outcome = format!("given up after {MOST_ATTEMPTS} attempts that never ended");
            self.finish_run(id, worker, JobStatus::Failed, outcome, TimeDelta::zero()).await?;
            return Ok(true);
        }
        let run = match JobRun::try_from(row) {
            Ok(run) => run,
            Err(unknown) => {
                let outcome = unknown.to_string();
                self.finish_run(id, worker, JobStatus::Queued, outcome, TimeDelta::zero()).await?;
                return Err(Error::internal(unknown));
            }
        };
        let kind = run.kind.as_str();
        tracing::info!(job.kind = kind, job.key = run.key, job.partition = run.partition, "job started");
        let alive = Heart::start(self.clone(), id, worker.to_owned(), silence);
        let result = self.do_job(&run, &alive).await;
        drop(alive);
        let (status, outcome, put_off) = match &result {
            Ok(Outcome::Done(outcome)) => (JobStatus::Done, outcome.clone(), TimeDelta::zero()),
            Ok(Outcome::Later(why, pause)) => (JobStatus::Queued, why.clone(), *pause),
            Err(error) if run.attempts >= MOST_ATTEMPTS => {
                (JobStatus::Failed, error.to_string(), TimeDelta::zero())
            }
            Err(error) => (JobStatus::Queued, error.to_string(), TimeDelta::zero()),
        };
        tracing::info!(
            job.kind = kind,
            job.key = run.key,
            job.status = status.as_str(),
            job.outcome = outcome,
            "job ended"
        );
        let mine = self.finish_run(id, worker, status, outcome, put_off).await?;
        result.map(|_| mine)
    }

    /// Before the end of a worker: its runs that have not ended are handed out to others at once.
    ///
    /// # Errors
    /// Only when the database fails; then they are taken over when their worker has been silent for a while.
    pub async fn give_back_runs(&self, worker: &str) -> Result<usize> {
        let worker = worker.to_owned();
        self.store.write(move |tx| jobs::give_back(tx, &worker).map_err(Error::from)).await
    }

    /// A run was handed out to a worker that does not begin it: it is handed out again at once.
    ///
    /// # Errors
    /// Only when the database fails; then it is handed out again after a while.
    pub async fn hand_back_run(&self, id: i64) -> Result<()> {
        self.store.write(move |tx| jobs::hand_back(tx, id).map_err(Error::from)).await
    }

    /// Answers whether the run was still this worker's.
    async fn finish_run(
        &self,
        id: i64,
        worker: &str,
        status: JobStatus,
        outcome: String,
        put_off: TimeDelta,
    ) -> Result<bool> {
        let (name, clock) = (worker.to_owned(), self.market.clock.clone());
        self.store
            .write(move |tx| {
                jobs::finish(tx, id, &name, status, &outcome, clock.wall(), put_off).map_err(Error::from)
            })
            .await
    }

    async fn do_job(&self, run: &JobRun, alive: &Heart) -> Result<Outcome> {
        match run.kind {
            JobKind::SnapshotPortfolios => {
                let date: NaiveDate = run.key.parse().map_err(Error::internal)?;
                let range = IdRange {
                    after: PortfolioId(run.partition * PARTITION),
                    last: PortfolioId((run.partition + 1) * PARTITION),
                };
                let count = self.books.take_snapshots(date, range, |_| alive.beats()).await?;
                if count.provisional > 0
                    && let Some(pause) = self.close_may_still_come(date)
                {
                    return Ok(Outcome::Later(ASK_AGAIN_AFTER.to_owned(), pause));
                }
                Ok(Outcome::Done(format!(
                    "{} portfolios, {} of them provisional",
                    count.portfolios, count.provisional
                )))
            }
            JobKind::ProvisionalSnapshots => {
                let date = self.market.calendar.booking_session(self.market.now()).date;
                let count = self.books.take_snapshots(date, IdRange::ALL, |_| alive.beats()).await?;
                Ok(Outcome::Done(format!("{} portfolios at current prices", count.portfolios)))
            }
            JobKind::RefreshQuotes => {
                let limit = match self.market.freshness() {
                    // Where calls are counted, the day's calls are the limit.
                    Freshness::EndOfDay if !self.market.quotes.is_scarce() => END_OF_DAY_REQUESTS,
                    _ => usize::MAX,
                };
                let outcome = self.stocks.refresh_quotes(limit).await?;
                self.stocks.note_refused_features().await?;
                self.corporate_actions.settle_delistings().await?;
                // A new price may be the first one after a split.
                self.corporate_actions.apply_due_actions().await?;
                Ok(Outcome::Done(outcome))
            }
            JobKind::CorporateActions => {
                self.corporate_actions_job(|| alive.beats()).await.map(Outcome::Done)
            }
            JobKind::RefreshListings => match self.stocks.refresh_listings(!run.requested).await? {
                Ok(outcome) => {
                    self.corporate_actions.settle_delistings().await?;
                    Ok(Outcome::Done(outcome))
                }
                Err(error) => Ok(Outcome::Later(error.to_string(), PUBLISHED_DELAY)),
            },
            JobKind::Prune => self.prune().await.map(Outcome::Done),
        }
    }

    /// Learns of corporate actions, applies them, and takes the snapshots again that were taken before they became known.
    async fn corporate_actions_job(&self, mut alive: impl FnMut() -> bool + Send) -> Result<String> {
        self.corporate_actions.renew_adjusted_bars().await?;
        let new = self.corporate_actions.learn_corporate_actions().await?;
        self.corporate_actions.settle_delistings().await?;
        let AppliedCount { actions, portfolios, payments } =
            self.corporate_actions.apply_corporate_actions().await?;
        let again = self.books.take_snapshots_again(&mut alive).await?
            + self.books.finalize_provisional(&mut alive).await?;
        let mut outcome =
            format!("{new} new, {actions} applied to {portfolios} portfolios, {payments} dividends paid");
        if again > 0 {
            outcome.push_str(&format!(", {again} sessions valued again"));
        }
        Ok(outcome)
    }

    /// When to look again, while the source may still publish the session's close. The simulated market has each close
    /// at once. What a run gives up is taken up again by [`Books::finalize_provisional`](crate::books::Books::finalize_provisional).
    fn close_may_still_come(&self, date: NaiveDate) -> Option<TimeDelta> {
        if self.market.freshness() == Freshness::Simulated {
            return None;
        }
        let now = self.market.now();
        let local = now.utc().with_timezone(&EXCHANGE_ZONE).naive_local();
        if local < date.succ_opt()?.and_time(NEXT_MORNING) {
            return Some(PUBLISHED_DELAY);
        }
        let last = self
            .market
            .calendar
            .sessions(date.succ_opt()?, date + chrono::Days::new(60))
            .nth(GIVE_UP_AFTER_SESSIONS - 1)?;
        (now < last.closes_at).then_some(PATIENT_PAUSE)
    }

    async fn prune(&self) -> Result<String> {
        let wall = self.market.clock.wall();
        self.store
            .for_jobs()
            .write(move |tx| {
                let logins = sessions::delete_expired(tx, wall)?;
                flash_messages::delete_expired(tx, wall)?;
                login_throttle::prune(tx, wall)?;
                crate::idempotency::prune(tx, wall)?;
                providers::delete_ended(tx, wall - TimeDelta::days(1))?;
                let mut runs = 0;
                for kind in JobKind::ALL {
                    runs += jobs::delete_finished(tx, kind.as_str(), wall - kind.remembered())?;
                }
                Ok(format!("{logins} logins and {runs} records of runs forgotten"))
            })
            .await
    }

    /// Newest first.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn job_runs(
        &self,
        kind: Option<JobKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<JobRun, i64>> {
        let runs = self
            .store
            .read(move |tx| {
                jobs::page(tx, kind.map(JobKind::as_str), before, one_more(limit)).map_err(Error::from)
            })
            .await?;
        let Page { items, next } = Page::of(runs, limit, |run| run.id);
        Ok(Page { items: known(items), next })
    }
}

enum Outcome {
    Done(String),
    /// Not now, but after a pause; the run goes back into the queue.
    Later(String, TimeDelta),
}

/// The newest session whose closing prices count as settled.
pub(crate) fn newest_settled_session(market: &Market, wall: Timestamp) -> Session {
    let delay = match market.quotes.freshness() {
        Freshness::Simulated | Freshness::Realtime => SIMULATED_DELAY,
        Freshness::Delayed | Freshness::EndOfDay => PUBLISHED_DELAY,
    };
    let settled = (market.clock.at_wall(wall) - delay).min(market.clock.at_wall(wall - SETTLING));
    market.calendar.last_closed(settled)
}

/// Plans the sessions that have closed since the last planned one. The first is that of the oldest portfolio.
fn plan_snapshots(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let kind = JobKind::SnapshotPortfolios.as_str();
    let Some((last_id, oldest)) = portfolios::extent(tx)? else { return Ok(()) };
    let newest_due = newest_settled_session(market, wall).date;
    let first = match jobs::newest_planned_session(tx)? {
        Some(planned) => planned.succ_opt().unwrap_or(planned),
        None => market.calendar.booking_session(oldest).date,
    };
    let due: Vec<Session> = market.calendar.sessions(first, newest_due).take(MOST_SESSIONS).collect();
    for session in due {
        for partition in 0..=(last_id.0 - 1) / PARTITION {
            jobs::plan(tx, kind, &session.date.to_string(), partition, wall)?;
        }
    }
    Ok(())
}

/// Once when a session is the next, and once when it has opened: what is announced late is there before the others
/// trade on it. Where sessions follow one another without a pause that is one run.
fn plan_actions(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let now = market.clock.at_wall(wall);
    let session = market.calendar.booking_session(now);
    let key = match session.opens_at <= now {
        true => session.date.to_string(),
        false => format!("{} before open", session.date),
    };
    jobs::plan(tx, JobKind::CorporateActions.as_str(), &key, 0, wall)?;
    Ok(())
}

/// Prices that move once a minute, for the pages' sake; an end-of-day source after each close, and again in the evening,
/// before midnight and next morning for what was not published yet.
fn plan_refresh(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    let key = match market.quotes.freshness() {
        Freshness::EndOfDay => {
            let date = market.calendar.last_closed(market.now() - PUBLISHED_DELAY).date;
            let now = market.now().utc().with_timezone(&EXCHANGE_ZONE).naive_local();
            if now.time() >= NIGHT {
                format!("{date}, night of {}", now.date())
            } else if date.succ_opt().is_some_and(|next| now >= next.and_time(NEXT_MORNING)) {
                // Days without a session have calls of their own: there is more time for more stocks.
                let since_morning = now - NEXT_MORNING.signed_duration_since(NaiveTime::MIN);
                format!("{date}, morning of {}", since_morning.date())
            } else if now >= date.and_time(EVENING) {
                format!("{date}, evening")
            } else {
                date.to_string()
            }
        }
        _ => wall.utc().format("%Y-%m-%dT%H:%M").to_string(),
    };
    jobs::plan(tx, JobKind::RefreshQuotes.as_str(), &key, 0, wall)?;
    Ok(())
}

/// Once a week, from a source that is asked over the network; each day while the table says that stocks in use are gone.
fn plan_listings(tx: &mut Tx<'_>, market: &Market, wall: Timestamp) -> Result<()> {
    if market.quotes.limits().is_some() {
        let source = market.quotes.source();
        let key = match crate::corporate_actions::delistings::wants_table_of_today(tx, source.as_str())? {
            true => format!("{} {source}", exchange_date(wall)),
            false => crate::stocks::listings::listings_key(&source, wall),
        };
        jobs::plan(tx, JobKind::RefreshListings.as_str(), &key, 0, wall)?;
    }
    Ok(())
}

/// Shows signs of life for a run until it is dropped.
struct Heart {
    beating: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Heart {
    fn start(own: Jobs, id: i64, worker: String, silence: TimeDelta) -> Self {
        let beating = Arc::new(AtomicBool::new(true));
        let shared = beating.clone();
        let pause = (silence / 3).to_std().unwrap_or(std::time::Duration::from_secs(1));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let (name, clock) = (worker.clone(), own.market.clock.clone());
                let still_mine = own
                    .store
                    .write(move |tx| jobs::heartbeat(tx, id, &name, clock.wall()).map_err(Error::from))
                    .await;
                // A failed write is no sign of another worker: the next one may succeed.
                if matches!(still_mine, Ok(false)) {
                    shared.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
        Self { beating, task }
    }

    /// Whether the run is still this worker's.
    fn beats(&self) -> bool {
        self.beating.load(Ordering::Relaxed)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}
