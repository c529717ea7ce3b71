//! The clock of the paths: how their variance is distributed over time.
//!
//! The clock runs unevenly, which produces calm and volatile weeks and fat tails. In `sim-v1` all paths share one
//! clock. In `sim-v2` the clock follows the market's volatility, for companies more than for sectors, so that volatile
//! days are volatile for all of them.

use super::chance::{Draws, Purpose};
use super::model::SimulatedModel;
use super::volatility::Volatility;

/// The market has 2^15 sessions.
pub(super) const SESSION_LEVELS: u32 = 15;
/// Each session has 2^10 steps, which means 1025 prices from its opening to its close.
pub(super) const TICK_LEVELS: u32 = 10;
pub(super) const SESSIONS: u16 = 1 << SESSION_LEVELS;
pub(super) const STEPS: usize = 1 << TICK_LEVELS;
/// Each step has 2^5 smaller steps of about 3 seconds, which only quotes show.
pub(super) const QUOTE_LEVELS: u32 = 5;
pub(super) const QUOTE_STEPS: usize = 1 << QUOTE_LEVELS;

/// Longer intervals are divided evenly, so that the volatility over years is that of the catalog.
const LONGEST_UNEVEN: usize = 512;
/// How unevenly intervals of sessions are divided in `sim-v1`.
const SESSION_ROUGHNESS: f64 = 0.5;
/// How unevenly intervals of ticks are divided.
const TICK_ROUGHNESS: f64 = 0.3;

/// How an interval's variance is divided at its middle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// The share of the left half.
    pub(super) left: f64,
    /// Standard deviation of a path at the middle if both ends are known: sqrt(v p (1 − p)).
    pub(super) deviation: f64,
}

impl Split {
    const NONE: Self = Self { left: 0.5, deviation: 0.0 };

    /// Divides an interval of variance `mass`. The share is 1 / (1 + exp(−roughness·z)).
    fn divide(mass: f64, roughness: f64, draws: Draws, place: u64) -> Self {
        let left =
            if roughness == 0.0 { 0.5 } else { 1.0 / (1.0 + libm::exp(-roughness * draws.normal(place))) };
        Self::at(left, mass)
    }

    /// Divides an interval of variance `mass` into the part `left` and the rest.
    pub(super) fn at(left: f64, mass: f64) -> Self {
        Self { left, deviation: libm::sqrt(mass * left * (1.0 - left)) }
    }
}

/// The kind of path that a clock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Market,
    /// Sectors, and a fund's own path.
    Calm,
    /// A company's own path.
    Rough,
}

/// The clock's values that a path needs to reach one session and to pass through it.
#[derive(Debug)]
pub(super) struct SessionClock {
    pub(super) session: u16,
    /// The divisions from all of time down to the session.
    pub(super) ways: Ways,
    /// At index `j`: how the interval with the middle `j` is divided. Index 0 is unused.
    pub(super) ticks: Box<[Split]>,
}

/// How each kind of path reaches a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// Standard deviation of the market path in the session.
    market: f64,
    calm: Way,
    rough: Way,
    /// The division between the previous close and the opening, for a session of variance 1. `None` in a market without
    /// nights.
    pub(super) night: Option<Split>,
    /// The variance of the session's ticks, before it is multiplied by that of a path.
    tick_mass: f64,
}

/// The fifteen divisions that lead to a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) splits: [Split; SESSION_LEVELS as usize],
    /// Standard deviation of the session, which scales the night and the ticks.
    pub(super) scale: f64,
}

impl Ways {
    /// The divisions that lead to the session, for a path without a table.
    pub(super) fn splits(&self, pace: Pace) -> &[Split; SESSION_LEVELS as usize] {
        match pace {
            Pace::Market | Pace::Calm => &self.calm.splits,
            Pace::Rough => &self.rough.splits,
        }
    }

    pub(super) fn scale(&self, pace: Pace) -> f64 {
        match pace {
            Pace::Market => self.market,
            Pace::Calm => self.calm.scale,
            Pace::Rough => self.rough.scale,
        }
    }
}

/// The clock's values that a path needs to reach one step, between two ticks.
#[derive(Debug)]
pub(super) struct StepWay {
    pub(super) session: u16,
    /// The tick at which the step begins, from 0 (the opening) to 1023.
    pub(super) step: usize,
    pub(super) ways: Ways,
    /// The divisions within the session.
    pub(super) splits: [Split; TICK_LEVELS as usize],
    /// The variance of the step, before it is multiplied by that of a path.
    pub(super) mass: f64,
}

#[derive(Debug)]
pub(super) struct Clock {
    sessions: SessionMasses,
    ticks: Draws,
    overnight_share: f64,
}

/// The variance of sessions.
#[derive(Debug)]
enum SessionMasses {
    /// All of time is divided unevenly.
    Cascade(Draws),
    /// A table with the variance of each session.
    Known(Volatility),
}

impl Clock {
    pub(super) fn new(model: SimulatedModel, seed: u64) -> Self {
        let sessions = match model {
            SimulatedModel::V1 => SessionMasses::Cascade(Draws::new(seed, "clock", Purpose::ClockOfSessions)),
            SimulatedModel::V2 | SimulatedModel::V2Xnys => SessionMasses::Known(Volatility::new(seed)),
        };
        let ticks = Draws::new(seed, "clock", Purpose::ClockOfTicks);
        Self { sessions, ticks, overnight_share: model.overnight_share() }
    }

    /// The values of the market path at the close before each session, and after the last one; `None` without a table.
    pub(super) fn market(&self) -> Option<&[f64]> {
        match &self.sessions {
            SessionMasses::Cascade(_) => None,
            SessionMasses::Known(volatility) => Some(&volatility.market),
        }
    }

    pub(super) fn ways_to(&self, session: u16) -> Ways {
        match &self.sessions {
            SessionMasses::Cascade(draws) => {
                let (way, mass) = cascade(*draws, session);
                Ways { market: way.scale, calm: way, rough: way, night: None, tick_mass: mass }
            }
            SessionMasses::Known(volatility) => Ways {
                market: volatility.market_deviations[usize::from(session)],
                calm: known(&volatility.calm, session),
                rough: known(&volatility.rough, session),
                night: (self.overnight_share > 0.0).then(|| Split::at(self.overnight_share, 1.0)),
                tick_mass: 1.0 - self.overnight_share,
            },
        }
    }

    pub(super) fn way_to_step(&self, session: u16, step: usize) -> StepWay {
        let ways = self.ways_to(session);
        let mut splits = [Split::NONE; TICK_LEVELS as usize];
        let mut mass = ways.tick_mass;
        for (split, turn) in splits.iter_mut().zip(turns(TICK_LEVELS, step)) {
            *split = Split::divide(mass, TICK_ROUGHNESS, self.ticks, tick_place(session, turn.middle));
            mass *= if turn.right { 1.0 - split.left } else { split.left };
        }
        StepWay { session, step, ways, splits, mass }
    }

    pub(super) fn session(&self, session: u16) -> SessionClock {
        let ways = self.ways_to(session);
        let mut ticks = vec![Split::NONE; STEPS].into_boxed_slice();
        // Variance of the interval that begins at each index; every round divides all intervals.
        let mut masses = vec![0.0; STEPS];
        masses[0] = ways.tick_mass;
        for (half, middles) in halvings(STEPS) {
            for middle in middles {
                let mass = masses[middle - half];
                let split = Split::divide(mass, TICK_ROUGHNESS, self.ticks, tick_place(session, middle));
                masses[middle - half] = mass * split.left;
                masses[middle] = mass * (1.0 - split.left);
                ticks[middle] = split;
            }
        }
        SessionClock { session, ways, ticks }
    }
}

/// The way to a session through uneven divisions of all time, and the session's variance. The ticks get all of the
/// variance, so the way has the scale 1.
fn cascade(draws: Draws, session: u16) -> (Way, f64) {
    let mut way = Way { splits: [Split::NONE; SESSION_LEVELS as usize], scale: 1.0 };
    let mut mass = f64::from(SESSIONS);
    for (split, turn) in way.splits.iter_mut().zip(turns(SESSION_LEVELS, session.into())) {
        let roughness = if turn.length > LONGEST_UNEVEN { 0.0 } else { SESSION_ROUGHNESS };
        *split = Split::divide(mass, roughness, draws, turn.middle as u64);
        mass *= if turn.right { 1.0 - split.left } else { split.left };
    }
    (way, mass)
}

/// The way to a session, from the variance of all sessions before each boundary.
fn known(before: &[f64], session: u16) -> Way {
    let mut way = Way { splits: [Split::NONE; SESSION_LEVELS as usize], scale: 1.0 };
    let (mut begins, mut ends) = (before[0], before[usize::from(SESSIONS)]);
    for (split, turn) in way.splits.iter_mut().zip(turns(SESSION_LEVELS, session.into())) {
        let middle = before[turn.middle];
        let (left, right, mass) = (middle - begins, ends - middle, ends - begins);
        *split = Split { left: left / mass, deviation: libm::sqrt(left * right / mass) };
        *(if turn.right { &mut begins } else { &mut ends }) = middle;
    }
    way.scale = libm::sqrt(ends - begins);
    way
}

/// One decision on the way down to a place: to a session in all of time, to a step in a session, or to a smaller step.
pub(super) struct Turn {
    /// The boundary in the middle of the interval; place `i` begins at boundary `i`.
    pub(super) middle: usize,
    /// The number of places in the interval.
    pub(super) length: usize,
    pub(super) right: bool,
}

/// The way down from the interval of all 2^levels places to the one at `place`, or to the last one if `place` is
/// larger.
pub(super) fn turns(levels: u32, place: usize) -> impl Iterator<Item = Turn> {
    let mut begins = 0;
    (1..=levels).rev().map(move |level| {
        let length = 1 << level;
        let middle = begins + length / 2;
        let right = place >= middle;
        if right {
            begins = middle;
        }
        Turn { middle, length, right }
    })
}

/// Divides an interval of `places` places, a power of two, down to single places. Returns, from the widest intervals to
/// the narrowest, half their width and their middles.
pub(super) fn halvings(places: usize) -> impl Iterator<Item = (usize, impl Iterator<Item = usize>)> {
    std::iter::successors(Some(places / 2), |half| Some(half / 2))
        .take_while(|half| *half > 0)
        .map(move |half| (half, (half..places).step_by(2 * half)))
}

/// The index of step `j` of a session among all ticks.
pub(super) fn tick_place(session: u16, j: usize) -> u64 {
    (u64::from(session) << (TICK_LEVELS + 1)) | j as u64
}

/// The index of smaller step `i` of step `j` of a session among all smaller steps.
pub(super) fn quote_place(session: u16, j: usize, i: usize) -> u64 {
    (tick_place(session, j) << QUOTE_LEVELS) | i as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_lead_to_the_place() {
        let last = usize::from(SESSIONS) - 1;
        for place in [0, 1, 777, 16_383, 16_384, last, last + 1] {
            let (mut begins, mut ends) = (0, usize::from(SESSIONS));
            for turn in turns(SESSION_LEVELS, place) {
                assert_eq!((turn.length, turn.middle), (ends - begins, begins + (ends - begins) / 2));
                if turn.right { begins = turn.middle } else { ends = turn.middle }
            }
            assert_eq!((begins, ends), (place.min(last), place.min(last) + 1));
        }
    }

    #[test]
    fn halvings_visit_each_inner_place_once_and_ends_first() {
        let mut known = vec![false; STEPS + 1];
        known[0] = true;
        known[STEPS] = true;
        for (half, middles) in halvings(STEPS) {
            for middle in middles {
                assert!(known[middle - half] && known[middle + half] && !known[middle]);
                known[middle] = true;
            }
        }
        assert!(known.into_iter().all(|visited| visited));
    }

    #[test]
    fn variance_is_divided_and_not_lost() {
        let clock = Clock::new(SimulatedModel::V1, 7);
        // The sessions of an interval that is divided evenly share its variance.
        let total: f64 = (0..1024).map(|session| clock.ways_to(session).tick_mass).sum();
        assert!((total - 1024.0).abs() < 1e-9, "{total}");
    }

    #[test]
    fn night_and_ticks_have_the_variance_of_the_session() {
        for model in [SimulatedModel::V2, SimulatedModel::V2Xnys] {
            let clock = Clock::new(model, 7);
            for pace in [Pace::Market, Pace::Calm, Pace::Rough] {
                let mass = |session| {
                    let scale = clock.ways_to(session).scale(pace);
                    scale * scale
                };
                let total: f64 = (0..SESSIONS).map(mass).sum();
                assert!((total / f64::from(SESSIONS) - 1.0).abs() < 1e-9, "{pace:?}: {total}");
            }
            let ways = clock.ways_to(100);
            let night = ways.night.map_or(0.0, |night| night.left);
            assert_eq!(night + ways.tick_mass, 1.0);
            let steps: f64 = (0..STEPS).map(|step| clock.way_to_step(100, step).mass).sum();
            assert!((steps - ways.tick_mass).abs() < 1e-9, "{steps}");
        }
    }
}
