//! Wall time, and market time, which may start at another time or run faster.
//!
//! Only `wall_clock.rs` reads the system's clock.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;
use persistence::{Store, Tx, installation, jobs, orders, portfolios, sessions, workers};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;
use uuid::timestamp::context::ContextV7;

use crate::market::wall_clock::WallClock;

/// A larger difference between market time and wall time is logged at start.
const NOTEWORTHY_OFFSET: TimeDelta = TimeDelta::minutes(1);

/// How far a portfolio's newest change may lie ahead of this process's clock, in wall time: the clocks of two machines
/// differ a little.
const SKEW_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// A source of wall time and market time. Cheap to clone; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: Arc<WallClock>,
    /// `None` means that market time is wall time.
    anchor: Option<Anchor>,
}

/// The relation of the two times: `market time = market_at + (wall time − wall_at) × speed`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Anchor {
    wall_at: Timestamp,
    market_at: Timestamp,
    speed: f64,
    /// The last configured start. A later process compares it with its own setting.
    start: Option<Timestamp>,
}

impl Anchor {
    fn market(&self, wall: Timestamp) -> Timestamp {
        let elapsed = (wall - self.wall_at).num_microseconds().unwrap_or(i64::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "microseconds of years fit"
        )]
        let moved = (elapsed as f64 * self.speed) as i64;
        let at = self.market_at.utc().checked_add_signed(TimeDelta::microseconds(moved));
        at.unwrap_or(DateTime::<Utc>::MAX_UTC).into()
    }

    /// The wall time at a market time.
    fn wall(&self, market: Timestamp) -> Timestamp {
        let inverse =
            Self { wall_at: self.market_at, market_at: self.wall_at, speed: 1.0 / self.speed, start: None };
        inverse.market(market)
    }
}

#[derive(Debug, Error)]
pub enum ClockError {
    #[error(
        "CLOCK_START is {asked}, but market time is already {now} and never goes back. Remove CLOCK_START to \
         continue from {now}, or set it to a later instant"
    )]
    WouldTurnBack { now: Timestamp, asked: Timestamp },
    #[error("the stored anchor of the clock is invalid: {0}")]
    Anchor(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] persistence::StoreError),
}

const KEY: &str = "clock";

fn stored_anchor(tx: &mut Tx<'_>) -> Result<Option<Anchor>, ClockError> {
    let text = installation::get(tx, KEY)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// How the market clock runs after a process starts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ClockPlan {
    /// `None` means that market time is wall time.
    anchor: Option<Anchor>,
    /// Market time before and after, if the configured start moves it forward.
    jump: Option<(Timestamp, Timestamp)>,
}

/// Decides how the market clock runs. Market time continues where it stands; only a configured start that differs from
/// the last one moves it, and only forward. `newest_change` is the newest time in the books.
///
/// # Errors
/// [`ClockError::WouldTurnBack`].
fn plan(
    stored: Option<Anchor>,
    newest_change: Option<Timestamp>,
    wall: Timestamp,
    start: Option<Timestamp>,
    speed: f64,
) -> Result<ClockPlan, ClockError> {
    let stands = stored.map(|anchor| anchor.market(wall));
    let is_known = |start| stored.is_some_and(|anchor| anchor.start == Some(start));
    match (stands, start.filter(|start| !is_known(*start))) {
        (Some(now), None) => {
            let anchor = stored.filter(|anchor| (anchor.speed - speed).abs() < f64::EPSILON);
            let kept_start = stored.and_then(|anchor| anchor.start);
            let anchor = anchor.unwrap_or(Anchor { wall_at: wall, market_at: now, speed, start: kept_start });
            Ok(ClockPlan { anchor: Some(anchor), jump: None })
        }
        (None, None) if (speed - 1.0).abs() < f64::EPSILON => Ok(ClockPlan { anchor: None, jump: None }),
        (None, None) => {
            let market_at = newest_change.map_or(wall, |newest| newest.max(wall));
            Ok(ClockPlan { anchor: Some(Anchor { wall_at: wall, market_at, speed, start }), jump: None })
        }
        (stands, Some(asked)) => {
            // Without an anchor, market time was wall time. Times after the newest one in the books are not used yet.
            if let Some(now) = stands.or(newest_change).filter(|now| asked < *now) {
                return Err(ClockError::WouldTurnBack { now, asked });
            }
            let before = stands.or(newest_change.map(|newest| newest.max(wall)));
            let jump = before.filter(|before| *before < asked).map(|before| (before, asked));
            let anchor = Anchor { wall_at: wall, market_at: asked, speed, start: Some(asked) };
            Ok(ClockPlan { anchor: Some(anchor), jump })
        }
    }
}

/// The newest wall time that was stored: by logins, jobs, workers, orders and movements of cash.
fn newest_wall_time(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, ClockError> {
    let anchor = stored_anchor(tx)?;
    let market_times = [portfolios::newest_change(tx)?, orders::newest_match(tx)?].into_iter().flatten();
    let from_market = market_times.map(|at| anchor.map_or(at, |anchor| anchor.wall(at)));
    let wall_times = [sessions::newest_use(tx)?, jobs::newest_time(tx)?, workers::newest_heartbeat(tx)?]
        .into_iter()
        .flatten();
    Ok(wall_times.chain(from_market).max())
}

impl Clock {
    /// The clock of the system.
    pub fn system() -> Self {
        Self { wall: WallClock::system(), anchor: None }
    }

    /// A clock that stands still until it is moved, for tests.
    pub fn manual(at: Timestamp) -> Self {
        Self { wall: WallClock::manual(at), anchor: None }
    }

    /// Continues from the newest time in the database if the system's clock is behind it, and logs this as an error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn continue_from_books(&self, store: &Store) -> Result<(), ClockError> {
        if let Some(newest) = store.read(newest_wall_time).await? {
            self.wall.continue_from(newest);
        }
        Ok(())
    }

    /// Opens the deployment's clock. Its anchor is stored in the database, so that restarts and other processes agree.
    /// Market time continues where it stood, even if settings are changed or removed. A new start moves it forward, and
    /// this is logged as a warning.
    ///
    /// # Errors
    /// [`ClockError::WouldTurnBack`] for a new start before the current market time.
    pub async fn open(store: &Store, start: Option<Timestamp>, speed: f64) -> Result<Self, ClockError> {
        let plan = store
            .write(move |tx| {
                // Processes that start at the same time agree on the anchor of the first one.
                installation::lock(tx)?;
                let stored = stored_anchor(tx)?;
                let plan =
                    plan(stored, portfolios::newest_change(tx)?, WallClock::system().now(), start, speed)?;
                if let Some(anchor) = plan.anchor.filter(|anchor| Some(*anchor) != stored) {
                    installation::set(tx, KEY, &serde_json::to_string(&anchor)?)?;
                }
                Ok::<_, ClockError>(plan)
            })
            .await?;
        if let Some((from, to)) = plan.jump {
            tracing::warn!(%from, %to, "CLOCK_START moves market time forward");
        }
        let clock = Self { wall: WallClock::system(), anchor: plan.anchor };
        let (market_time, wall_time) = (clock.now(), clock.wall());
        if start.is_none() && (market_time - wall_time).abs() > NOTEWORTHY_OFFSET {
            tracing::info!(
                %market_time,
                %wall_time,
                "market time continues from its last value; CLOCK_START moves it forward"
            );
        }
        Ok(clock)
    }

    /// Returns the deployment's clock as its servers have stored it, for commands that run beside them.
    ///
    /// # Errors
    /// When the stored anchor cannot be read.
    pub async fn stored(store: &Store) -> Result<Self, ClockError> {
        Ok(Self { wall: WallClock::system(), anchor: store.read(stored_anchor).await? })
    }

    /// Market time, used for quotes, orders, the journal and snapshots. It never goes back.
    pub fn now(&self) -> Timestamp {
        self.at_wall(self.wall())
    }

    /// Wall time, used for logins, sessions, tokens and job runs. It never goes back.
    pub fn wall(&self) -> Timestamp {
        self.wall.now()
    }

    /// The market time at a wall time.
    pub fn at_wall(&self, wall: Timestamp) -> Timestamp {
        self.anchor.map_or(wall, |anchor| anchor.market(wall))
    }

    /// Whether market time differs from wall time, or runs at another speed.
    pub fn is_moved(&self) -> bool {
        self.anchor.is_some()
    }

    /// Seconds of market time per second of wall time.
    pub fn speed(&self) -> f64 {
        self.anchor.map_or(1.0, |anchor| anchor.speed)
    }

    /// By how much the system's clock is behind the time that this process has already reached; `None` if it is not.
    pub fn behind(&self) -> Option<TimeDelta> {
        self.wall.behind()
    }

    /// The latest market time that the books may plausibly contain at market time `now`.
    pub(crate) fn latest_plausible(&self, now: Timestamp) -> Timestamp {
        self.anchor.map_or(now + SKEW_TOLERANCE, |anchor| anchor.market(anchor.wall(now) + SKEW_TOLERANCE))
    }

    /// Creates an id that sorts after all earlier ones, even if the system's clock was set back.
    pub(crate) fn new_id(&self) -> Uuid {
        static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());
        let wall = self.wall().utc();
        let seconds = u64::try_from(wall.timestamp()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(&CONTEXT, seconds, wall.timestamp_subsec_nanos()))
    }

    /// Restarts a manual clock at that time. Has no effect on other clocks.
    pub fn set(&self, to: Timestamp) {
        self.wall.restart(to);
    }

    /// Sets the system time of a manual clock, like an operator who sets the system's clock.
    pub fn step(&self, to: Timestamp) {
        self.wall.step(to);
    }

    /// Lets time pass on a manual clock, regardless of its system time.
    pub fn pass(&self, time: TimeDelta) {
        self.wall.pass(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    /// Covers every combination of stored anchor, start, speed and books. The wall time is 2026-06-01T00:00:00Z.
    #[test]
    fn market_time_continues_unless_a_new_start_moves_it_forward() {
        let wall = moment("2026-06-01T00:00:00Z");
        let (past, future) = ("2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z");
        let (later, earlier) = ("2050-01-01T00:00:00Z", "2010-01-01T00:00:00Z");
        // Anchored one day of wall time ago.
        let anchored = |start: Option<&str>, speed: f64| {
            let wall_at = wall - TimeDelta::days(1);
            let market_at = start.map_or(wall_at, moment);
            Some(Anchor { wall_at, market_at, speed, start: start.map(moment) })
        };
        enum Outcome {
            Wall,
            /// Market time continues from this time, without a jump.
            Continues(&'static str),
            /// Market time jumps from the first time to the second.
            Jumps(&'static str, &'static str),
            /// The start is rejected, because the clock stands at this time.
            Refused(&'static str),
        }
        use Outcome::{Continues, Jumps, Refused, Wall};
        let cases = [
            // stored anchor, newest instant in the books, CLOCK_START, CLOCK_SPEED, outcome
            // A new installation, and one whose market has kept wall time until now.
            (None, None, None, 1.0, Wall),
            (None, None, None, 60.0, Continues("2026-06-01T00:00:00Z")),
            (None, None, Some(past), 1.0, Continues("2020-01-01T00:00:00Z")),
            (None, None, Some(future), 60.0, Continues("2040-01-01T00:00:00Z")),
            (None, Some("2026-05-31T00:00:00Z"), None, 1.0, Wall),
            (None, Some("2026-05-31T00:00:00Z"), None, 60.0, Continues("2026-06-01T00:00:00Z")),
            (None, Some("2026-06-01T01:00:00Z"), None, 60.0, Continues("2026-06-01T01:00:00Z")),
            (None, Some("2026-05-31T00:00:00Z"), Some(past), 1.0, Refused("2026-05-31T00:00:00Z")),
            (
                None,
                Some("2026-05-31T00:00:00Z"),
                Some("2026-05-31T12:00:00Z"),
                1.0,
                Continues("2026-05-31T12:00:00Z"),
            ),
            (None, Some("2026-05-31T00:00:00Z"), Some(future), 1.0, Jumps("2026-06-01T00:00:00Z", future)),
            // A restart with the same settings.
            (anchored(Some(past), 1.0), None, Some(past), 1.0, Continues("2020-01-02T00:00:00Z")),
            (anchored(Some(future), 60.0), None, Some(future), 60.0, Continues("2040-03-01T00:00:00Z")),
            (anchored(None, 60.0), None, None, 60.0, Continues("2026-07-30T00:00:00Z")),
            // Another speed, with and without the start.
            (anchored(Some(past), 1.0), None, Some(past), 60.0, Continues("2020-01-02T00:00:00Z")),
            (anchored(Some(past), 1.0), None, None, 60.0, Continues("2020-01-02T00:00:00Z")),
            (anchored(Some(future), 60.0), None, None, 2.0, Continues("2040-03-01T00:00:00Z")),
            (anchored(None, 60.0), None, None, 2.0, Continues("2026-07-30T00:00:00Z")),
            // The start removed, the speed kept.
            (anchored(Some(past), 60.0), None, None, 60.0, Continues("2020-03-01T00:00:00Z")),
            (anchored(Some(future), 60.0), None, None, 60.0, Continues("2040-03-01T00:00:00Z")),
            // The speed removed, the start kept.
            (anchored(Some(future), 60.0), None, Some(future), 1.0, Continues("2040-03-01T00:00:00Z")),
            // The start and the speed removed: with market time ahead of the wall clock, and behind it.
            (anchored(None, 60.0), None, None, 1.0, Continues("2026-07-30T00:00:00Z")),
            (anchored(Some(future), 1.0), None, None, 1.0, Continues("2040-01-02T00:00:00Z")),
            (anchored(Some(past), 1.0), None, None, 1.0, Continues("2020-01-02T00:00:00Z")),
            // A new start: later than market time, and earlier.
            (anchored(Some(past), 1.0), None, Some(future), 60.0, Jumps("2020-01-02T00:00:00Z", future)),
            (anchored(Some(future), 1.0), None, Some(later), 1.0, Jumps("2040-01-02T00:00:00Z", later)),
            (anchored(None, 60.0), None, Some(future), 1.0, Jumps("2026-07-30T00:00:00Z", future)),
            (anchored(Some(past), 1.0), None, Some(earlier), 1.0, Refused("2020-01-02T00:00:00Z")),
            (anchored(Some(future), 60.0), None, Some(past), 60.0, Refused("2040-03-01T00:00:00Z")),
            (anchored(None, 60.0), None, Some(past), 60.0, Refused("2026-07-30T00:00:00Z")),
        ];
        for (stored, newest, start, speed, outcome) in cases {
            let case = format!("{stored:?}, {newest:?}, {start:?}, {speed}");
            let result = plan(stored, newest.map(moment), wall, start.map(moment), speed);
            let (stands, jump) = match outcome {
                Wall => {
                    assert_eq!(result.unwrap(), ClockPlan { anchor: None, jump: None }, "{case}");
                    continue;
                }
                Refused(at) => {
                    match result {
                        Err(ClockError::WouldTurnBack { now, asked }) => {
                            assert_eq!((now, Some(asked)), (moment(at), start.map(moment)), "{case}");
                        }
                        other => panic!("{case}: {other:?}"),
                    }
                    continue;
                }
                Continues(at) => (at, None),
                Jumps(from, to) => (to, Some((moment(from), moment(to)))),
            };
            let planned = result.unwrap();
            let anchor = planned.anchor.unwrap();
            assert_eq!((anchor.market(wall), anchor.speed), (moment(stands), speed), "{case}");
            assert_eq!(planned.jump, jump, "{case}");
            // The next start with the same settings changes nothing.
            let again = plan(planned.anchor, newest.map(moment), wall, start.map(moment), speed).unwrap();
            assert_eq!(again, ClockPlan { anchor: planned.anchor, jump: None }, "{case}");
        }
    }
}
