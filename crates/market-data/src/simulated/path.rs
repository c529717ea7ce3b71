//! A random walk on the market's clock that can be evaluated at any point.
//!
//! The value in the middle of an interval follows from those at its ends by the conditional law of Brownian motion:
//! `W(m) = W(a) + p (W(b) − W(a)) + sqrt(v p (1 − p)) z`. Returns are therefore uncorrelated, and their variance is
//! that of the clock, 1 per session on average. The market path of `sim-v2` is given from session to session, and is
//! a bridge inside each.

use super::chance::{Draws, Purpose};
use super::clock::{
    self, Pace, QUOTE_LEVELS, QUOTE_STEPS, SESSION_LEVELS, SESSIONS, STEPS, SessionClock, Split, StepWay,
    TICK_LEVELS, Ways,
};

#[derive(Debug)]
pub(super) struct Path {
    pace: Pace,
    sessions: Draws,
    nights: Draws,
    ticks: Draws,
    closes: Closes,
}

/// The values of a path between sessions.
#[derive(Debug)]
enum Closes {
    /// A bridge from 0 at the beginning to this value at the end of time; values in between are found by division.
    Bridge(f64),
    /// A table with the values before each session, and after the last one.
    Known(Box<[f64]>),
}

/// The values of a path at the ends of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    /// The value at the previous close.
    pub(super) before: f64,
    /// The value at the opening; equal to `before` in a market without nights.
    pub(super) open: f64,
    pub(super) close: f64,
}

/// A path's values around one step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values {
    pub(super) ends: Ends,
    /// The values at the ticks at which the step begins and ends.
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A step of a session, from one tick to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionStep {
    pub(super) session: u16,
    /// The tick at which the step begins, from 0 (the opening) to 1023.
    pub(super) step: usize,
}

/// A path through a whole session.
#[derive(Debug)]
pub(super) struct SessionPath {
    pub(super) ends: Ends,
    /// The values at the 1025 ticks, from the opening to the close.
    pub(super) ticks: Box<[f64]>,
}

impl Path {
    pub(super) fn new(seed: u64, stream: &str, pace: Pace) -> Self {
        let sessions = Draws::new(seed, stream, Purpose::PathOfSessions);
        let last = libm::sqrt(f64::from(SESSIONS)) * sessions.normal(SESSIONS.into());
        Self {
            pace,
            sessions,
            nights: Draws::new(seed, stream, Purpose::Overnight),
            ticks: Draws::new(seed, stream, Purpose::PathOfTicks),
            closes: Closes::Bridge(last),
        }
    }

    /// A path whose values between sessions are `closes`: one before each session and one after the last.
    pub(super) fn along(seed: u64, stream: &str, closes: &[f64]) -> Self {
        let closes = Closes::Known(closes.into());
        Self { closes, ..Self::new(seed, stream, Pace::Market) }
    }

    /// The values before a session, at its opening and at its close. Without a night, the session opens at the previous
    /// close.
    pub(super) fn ends(&self, session: u16, ways: &Ways) -> Ends {
        let (before, close) = match &self.closes {
            Closes::Known(closes) => (closes[usize::from(session)], closes[usize::from(session) + 1]),
            Closes::Bridge(last) => {
                let (mut before, mut close) = (0.0, *last);
                let turns = clock::turns(SESSION_LEVELS, session.into());
                for (turn, split) in turns.zip(ways.splits(self.pace)) {
                    let middle = between(before, close, *split, self.sessions.normal(turn.middle as u64));
                    *(if turn.right { &mut before } else { &mut close }) = middle;
                }
                (before, close)
            }
        };
        let open = match ways.night {
            None => before,
            Some(night) => {
                let z = self.nights.normal(session.into());
                between(before, close, night, ways.scale(self.pace) * z)
            }
        };
        Ends { before, open, close }
    }

    /// The values around one step, after 25 divisions.
    pub(super) fn at(&self, way: &StepWay) -> Values {
        let ends = self.ends(way.session, &way.ways);
        let scale = way.ways.scale(self.pace);
        let (mut from, mut to) = (ends.open, ends.close);
        for (turn, split) in clock::turns(TICK_LEVELS, way.step).zip(way.splits) {
            let z = scale * self.ticks.normal(clock::tick_place(way.session, turn.middle));
            let middle = between(from, to, split, z);
            *(if turn.right { &mut from } else { &mut to }) = middle;
        }
        Values { ends, from, to }
    }

    /// The values at all ticks of a session.
    pub(super) fn through(&self, clock: &SessionClock) -> SessionPath {
        let mut values = vec![0.0; STEPS + 1].into_boxed_slice();
        let ends = self.ends(clock.session, &clock.ways);
        let scale = clock.ways.scale(self.pace);
        (values[0], values[STEPS]) = (ends.open, ends.close);
        for (half, middles) in clock::halvings(STEPS) {
            for middle in middles {
                let z = scale * self.ticks.normal(clock::tick_place(clock.session, middle));
                values[middle] =
                    between(values[middle - half], values[middle + half], clock.ticks[middle], z);
            }
        }
        SessionPath { ends, ticks: values }
    }
}

fn between(a: f64, b: f64, split: Split, z: f64) -> f64 {
    a + split.left * (b - a) + split.deviation * z
}

/// The value at smaller step `i` of a step whose ends have the values `from` and `to`.
///
/// The step's variance is `mass`. It is divided evenly, and the value never leaves the range of the ends, so that
/// bars, which know only the ends, include all values in between.
pub(super) fn inside(
    step: SessionStep,
    i: usize,
    (from, to): (f64, f64),
    mut mass: f64,
    draws: Draws,
) -> f64 {
    let (mut a, mut b) = (from, to);
    for turn in clock::turns(QUOTE_LEVELS, i) {
        let z = draws.normal(clock::quote_place(step.session, step.step, turn.middle));
        let middle = between(a, b, Split::at(0.5, mass), z);
        *(if turn.right { &mut a } else { &mut b }) = middle;
        mass /= 2.0;
    }
    let here = if i == QUOTE_STEPS { to } else { a };
    here.clamp(from.min(to), from.max(to))
}

/// The values at all smaller steps of a step, from its beginning to its end: equal to those of [`inside`], to the
/// bit.
pub(super) fn all_inside(
    step: SessionStep,
    (from, to): (f64, f64),
    mut mass: f64,
    draws: Draws,
) -> [f64; QUOTE_STEPS + 1] {
    let mut values = [from; QUOTE_STEPS + 1];
    values[QUOTE_STEPS] = to;
    for (half, middles) in clock::halvings(QUOTE_STEPS) {
        let split = Split::at(0.5, mass);
        for middle in middles {
            let z = draws.normal(clock::quote_place(step.session, step.step, middle));
            values[middle] = between(values[middle - half], values[middle + half], split, z);
        }
        mass /= 2.0;
    }
    values.map(|value| value.clamp(from.min(to), from.max(to)))
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::super::model::SimulatedModel;
    use super::*;

    /// A clock of each version with paths of all kinds.
    fn clocks(seed: u64) -> Vec<(SimulatedModel, Clock, Vec<Path>)> {
        let all = SimulatedModel::ALL.into_iter().map(|model| {
            let clock = Clock::new(model, seed);
            let mut paths: Vec<Path> =
                [Pace::Calm, Pace::Rough].map(|pace| Path::new(seed, "stock/XOM", pace)).into();
            paths.extend(clock.market().map(|closes| Path::along(seed, "market", closes)));
            (model, clock, paths)
        });
        all.collect()
    }

    #[test]
    fn a_session_begins_exactly_at_the_previous_close() {
        for (model, clock, paths) in clocks(1) {
            for (path, session) in
                paths.iter().flat_map(|path| [0, 511, 1023, 16_383, 17_000].map(|at| (path, at)))
            {
                let Ends { close, .. } = path.ends(session, &clock.ways_to(session));
                let next = path.ends(session + 1, &clock.ways_to(session + 1));
                assert_eq!(close.to_bits(), next.before.to_bits(), "{session}");
                let has_nights = model == SimulatedModel::V2Xnys;
                assert_eq!(next.open != next.before, has_nights, "{model:?} {session}");
                let SessionPath { ends, ticks } = path.through(&clock.session(session));
                let met = [ticks[0], ticks[STEPS], ends.close].map(f64::to_bits);
                assert_eq!(met, [ends.open, close, close].map(f64::to_bits), "{session}");
            }
        }
    }

    #[test]
    fn a_step_computed_alone_equals_the_one_computed_in_order() {
        for (model, clock, paths) in clocks(3) {
            for path in &paths {
                let SessionPath { ticks, .. } = path.through(&clock.session(17_000));
                for step in (0..STEPS).rev() {
                    let Values { ends, from, to } = path.at(&clock.way_to_step(17_000, step));
                    let met = [ticks[0], ticks[STEPS], ticks[step], ticks[step + 1]];
                    let alone = [ends.open, ends.close, from, to];
                    assert_eq!(alone.map(f64::to_bits), met.map(f64::to_bits), "{model:?} {step}");
                }
            }
        }
    }

    #[test]
    fn a_session_computed_alone_equals_the_one_computed_in_order() {
        for (model, clock, paths) in clocks(3) {
            for path in &paths {
                let Closes::Bridge(last) = path.closes else { continue };
                // Covers all of time from its two ends, each interval once.
                let mut values = vec![0.0; usize::from(SESSIONS) + 1];
                values[usize::from(SESSIONS)] = last;
                let mut half = SESSIONS / 2;
                while half > 0 {
                    for middle in (half..SESSIONS).step_by(2 * usize::from(half)).take(64) {
                        let ways = clock.ways_to(middle);
                        let level = clock::turns(SESSION_LEVELS, middle.into())
                            .position(|turn| turn.middle == usize::from(middle))
                            .unwrap();
                        let (a, b) = (values[usize::from(middle - half)], values[usize::from(middle + half)]);
                        let split = ways.splits(path.pace)[level];
                        values[usize::from(middle)] =
                            between(a, b, split, path.sessions.normal(middle.into()));
                    }
                    half /= 2;
                }
                for session in (0..60).rev() {
                    let Ends { before, close, .. } = path.ends(session, &clock.ways_to(session));
                    let met = [values[usize::from(session)], values[usize::from(session) + 1]];
                    assert_eq!(
                        [before, close].map(f64::to_bits),
                        met.map(f64::to_bits),
                        "{model:?} {session}"
                    );
                }
            }
        }
    }
}
