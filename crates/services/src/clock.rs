//! Time: the wall clock, and the market's clock that may start elsewhere or run faster.
//!
//! This is the one place that asks the operating system what time it is.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;
use persistence::{Store, Tx, installation, portfolios};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Cheap to clone; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Anchored(Anchor),
    /// Stands still until it is moved: for tests.
    Manual(Arc<Mutex<Timestamp>>),
}

/// `market time = market_at + (wall time − wall_at) × speed`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Anchor {
    wall_at: Timestamp,
    market_at: Timestamp,
    speed: f64,
    /// The start that was asked for, to see whether a later process asks for another.
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
}

#[derive(Debug, Error)]
pub enum ClockError {
    #[error(
        "the market's clock stands at {now}, and the books go up to there: CLOCK_START and CLOCK_SPEED cannot turn \
         it back to {asked}"
    )]
    WouldTurnBack { now: Timestamp, asked: Timestamp },
    #[error("the stored anchor of the clock cannot be read: {0}")]
    Anchor(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] persistence::StoreError),
}

const KEY: &str = "clock";

fn stored_anchor(tx: &mut Tx<'_>) -> Result<Option<Anchor>, ClockError> {
    let text = installation::get(tx, KEY)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(at))))
    }

    /// The deployment's clock. The anchor is kept in the database, so that restarts and other processes agree;
    /// asking for another start or speed anchors anew, but never earlier than the clock stood.
    ///
    /// # Errors
    /// [`ClockError::WouldTurnBack`], also when the settings are gone and the clock had run ahead.
    pub async fn open(store: &Store, start: Option<Timestamp>, speed: f64) -> Result<Self, ClockError> {
        store
            .write(move |tx| {
                // Processes that start together agree on the first one's anchor.
                installation::lock(tx)?;
                let wall = system_now();
                let plain = start.is_none() && (speed - 1.0).abs() < f64::EPSILON;
                let (now, goes_on) = match stored_anchor(tx)? {
                    Some(anchor) if anchor.start == start && (anchor.speed - speed).abs() < f64::EPSILON => {
                        return Ok(Self(Source::Anchored(anchor)));
                    }
                    // Only the speed is another: time goes on from where it stands.
                    Some(anchor) => (anchor.market(wall), anchor.start == start && !plain),
                    None if plain => return Ok(Self::system()),
                    // Until now the market kept the wall's time; what was written then stays in the past.
                    None => match portfolios::newest_change(tx)? {
                        Some(newest) => (newest, false),
                        None => (start.unwrap_or(wall), false),
                    },
                };
                let asked = if goes_on { now } else { start.unwrap_or(wall) };
                if asked < now {
                    return Err(ClockError::WouldTurnBack { now, asked });
                }
                let anchor = Anchor { wall_at: wall, market_at: asked, speed, start };
                installation::set(tx, KEY, &serde_json::to_string(&anchor)?)?;
                Ok(Self(Source::Anchored(anchor)))
            })
            .await
    }

    /// The deployment's clock as its servers have set it: for commands that run beside them.
    ///
    /// # Errors
    /// When the stored anchor cannot be read.
    pub async fn stored(store: &Store) -> Result<Self, ClockError> {
        let anchor = store.read(stored_anchor).await?;
        Ok(anchor.map_or_else(Self::system, |anchor| Self(Source::Anchored(anchor))))
    }

    /// Market time: of quotes, orders, the journal and snapshots.
    pub fn now(&self) -> Timestamp {
        self.at_wall(self.wall())
    }

    /// Wall time: of logins, sessions, tokens and job runs.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System | Source::Anchored(_) => system_now(),
            Source::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The market time at a wall time.
    pub fn at_wall(&self, wall: Timestamp) -> Timestamp {
        match &self.0 {
            Source::System | Source::Manual(_) => wall,
            Source::Anchored(anchor) => anchor.market(wall),
        }
    }

    /// Whether the clock shows another time than the wall, or runs at another speed.
    pub fn is_moved(&self) -> bool {
        matches!(self.0, Source::Anchored(_))
    }

    /// Moves a manual clock; the others go by themselves.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(at) = &self.0 {
            *at.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the home of the clock")]
fn system_now() -> Timestamp {
    let now: DateTime<Utc> = Utc::now();
    now.into()
}
