//! The work of a run.

use chrono::{NaiveDate, TimeDelta};
use domain::calendar::EXCHANGE_ZONE;
use domain::{Freshness, PortfolioId};
use persistence::{flash_messages, imports, jobs, providers, sessions};

use super::Jobs;
use super::heart::Heart;
use super::runs::{JobKind, JobRun};
use super::schedule::{NEXT_MORNING, PARTITION, PUBLISHED_DELAY};
use crate::accounts::login_throttle;
use crate::books::snapshots::IdRange;
use crate::corporate_actions::AppliedCount;
use crate::error::{Error, Result};

/// The most requests per refresh to an end-of-day source.
const END_OF_DAY_REQUESTS: usize = 15;

/// The pause between retries from the morning after the session on.
const PATIENT_PAUSE: TimeDelta = TimeDelta::hours(1);

/// The run fails if the close is still missing after this many further sessions have closed.
const GIVE_UP_AFTER_SESSIONS: usize = 10;

const ASK_AGAIN_AFTER: &str = "closing prices are not published yet";

pub(super) enum Outcome {
    Done(String),
    /// Retry after a pause: the run is queued again.
    Later(String, TimeDelta),
}

impl Jobs {
    pub(super) async fn execute_job(&self, run: &JobRun, alive: &Heart) -> Result<Outcome> {
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
                    // If calls are counted, the limit per day applies instead.
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

    /// Requests corporate actions, applies them, and takes the snapshots again that did not include them.
    async fn corporate_actions_job(&self, mut alive: impl FnMut() -> bool + Send) -> Result<String> {
        self.corporate_actions.renew_adjusted_bars().await?;
        let new = self.corporate_actions.learn_corporate_actions().await?;
        self.corporate_actions.settle_delistings().await?;
        let AppliedCount { actions, portfolios, payments } =
            self.corporate_actions.apply_corporate_actions().await?;
        let again = self.books.take_snapshots_again(&mut alive).await?
            + self.books.value_past_days(&mut alive).await?
            + self.books.finalize_provisional(&mut alive).await?;
        let mut outcome =
            format!("{new} new, {actions} applied to {portfolios} portfolios, {payments} dividends paid");
        if again > 0 {
            outcome.push_str(&format!(", {again} sessions valued again"));
        }
        Ok(outcome)
    }

    /// The pause before a retry while the source may still publish the session's close. The simulated market has every
    /// close immediately. [`Books::finalize_provisional`](crate::books::Books::finalize_provisional) completes the
    /// snapshots of runs that gave up.
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
                imports::delete_files_before(tx, wall - TimeDelta::days(1))?;
                providers::delete_ended(tx, wall - TimeDelta::days(1))?;
                let mut runs = 0;
                for kind in JobKind::ALL {
                    runs += jobs::delete_finished(tx, kind.as_str(), wall - kind.remembered())?;
                }
                Ok(format!("{logins} logins and {runs} runs deleted"))
            })
            .await
    }
}
