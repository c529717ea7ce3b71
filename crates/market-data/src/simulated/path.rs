//! A random walk on the market's clock, known at every point without walking there.
//!
//! The value in the middle of an interval follows from those at its ends by the conditional law of Brownian
//! motion: `W(m) = W(a) + p (W(b) − W(a)) + sqrt(v p (1 − p)) z`. So returns are uncorrelated, and their
//! variance is what the clock gives their stretch of time, 1 per session on average.

use super::chance::{Draws, Purpose};
use super::clock::{
    self, QUOTE_LEVELS, QUOTE_STEPS, SESSION_LEVELS, SESSIONS, STEPS, SessionClock, Split, StepWay,
    TICK_LEVELS, Way,
};

#[derive(Debug)]
pub(super) struct Path {
    sessions: Draws,
    ticks: Draws,
    /// The value at the end of time; it begins at 0.
    last: f64,
}

/// A path's values around one step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values {
    /// At the open of the session.
    pub(super) open: f64,
    /// At its close.
    pub(super) close: f64,
    /// At the ticks at which the step begins and ends.
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Path {
    pub(super) fn new(seed: u64, stream: &str) -> Self {
        let sessions = Draws::new(seed, stream, Purpose::PathOfSessions);
        Self {
            sessions,
            ticks: Draws::new(seed, stream, Purpose::PathOfTicks),
            last: libm::sqrt(f64::from(SESSIONS)) * sessions.normal(SESSIONS.into()),
        }
    }

    /// The values at the open and at the close of a session. A session opens where the one before closed.
    pub(super) fn ends(&self, session: u16, way: &Way) -> (f64, f64) {
        let (mut open, mut close) = (0.0, self.last);
        for (turn, split) in clock::turns(SESSION_LEVELS, session.into()).zip(way.splits) {
            let middle = between(open, close, split, self.sessions.normal(turn.middle as u64));
            *(if turn.right { &mut open } else { &mut close }) = middle;
        }
        (open, close)
    }

    /// The values around one step, after 25 halvings.
    pub(super) fn at(&self, way: &StepWay) -> Values {
        let (open, close) = self.ends(way.session, &way.way);
        let (mut from, mut to) = (open, close);
        for (turn, split) in clock::turns(TICK_LEVELS, way.step).zip(way.splits) {
            let z = self.ticks.normal(clock::tick_place(way.session, turn.middle));
            let middle = between(from, to, split, z);
            *(if turn.right { &mut from } else { &mut to }) = middle;
        }
        Values { open, close, from, to }
    }

    /// The values at the 1025 ticks of a session, from its open to its close.
    pub(super) fn ticks(&self, clock: &SessionClock) -> Box<[f64]> {
        let mut values = vec![0.0; STEPS + 1].into_boxed_slice();
        (values[0], values[STEPS]) = self.ends(clock.session, &clock.way);
        for (half, middles) in clock::halvings(STEPS) {
            for middle in middles {
                let z = self.ticks.normal(clock::tick_place(clock.session, middle));
                values[middle] =
                    between(values[middle - half], values[middle + half], clock.ticks[middle], z);
            }
        }
        values
    }
}

fn between(a: f64, b: f64, split: Split, z: f64) -> f64 {
    a + split.left * (b - a) + split.deviation * z
}

/// The value at smaller step `i` of a step whose ends have the values `from` and `to`.
///
/// The step's variance is `mass`. It is halved evenly, and the value never leaves the range of the ends: so bars,
/// which know the ends alone, hold for all that lies between.
pub(super) fn inside(way: &StepWay, i: usize, (from, to): (f64, f64), mut mass: f64, draws: Draws) -> f64 {
    let (mut a, mut b) = (from, to);
    for turn in clock::turns(QUOTE_LEVELS, i) {
        let z = draws.normal(clock::quote_place(way.session, way.step, turn.middle));
        let middle = between(a, b, Split::at(0.5, mass), z);
        *(if turn.right { &mut a } else { &mut b }) = middle;
        mass /= 2.0;
    }
    let here = if i == QUOTE_STEPS { to } else { a };
    here.clamp(from.min(to), from.max(to))
}

/// The values at all smaller steps of a step, from its beginning to its end: those of [`inside`], to the bit.
pub(super) fn all_inside(
    way: &StepWay,
    (from, to): (f64, f64),
    mut mass: f64,
    draws: Draws,
) -> [f64; QUOTE_STEPS + 1] {
    let mut values = [from; QUOTE_STEPS + 1];
    values[QUOTE_STEPS] = to;
    for (half, middles) in clock::halvings(QUOTE_STEPS) {
        let split = Split::at(0.5, mass);
        for middle in middles {
            let z = draws.normal(clock::quote_place(way.session, way.step, middle));
            values[middle] = between(values[middle - half], values[middle + half], split, z);
        }
        mass /= 2.0;
    }
    values.map(|value| value.clamp(from.min(to), from.max(to)))
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock;
    use super::*;

    #[test]
    fn a_session_opens_to_the_bit_where_the_last_one_closed() {
        let (clock, path) = (Clock::new(1), Path::new(1, "stock/XOM"));
        for session in [0, 511, 1023, 16_383, 17_000] {
            let (_, close) = path.ends(session, &clock.way_to(session));
            let (open, _) = path.ends(session + 1, &clock.way_to(session + 1));
            assert_eq!(close.to_bits(), open.to_bits(), "{session}");
            let ticks = path.ticks(&clock.session(session));
            assert_eq!(ticks[STEPS].to_bits(), close.to_bits(), "{session}");
        }
    }

    #[test]
    fn a_step_found_alone_equals_the_one_met_in_order() {
        let (clock, path) = (Clock::new(3), Path::new(3, "market"));
        let ticks = path.ticks(&clock.session(17_000));
        for step in (0..STEPS).rev() {
            let Values { open, close, from, to } = path.at(&clock.way_to_step(17_000, step));
            let met = [ticks[0], ticks[STEPS], ticks[step], ticks[step + 1]];
            assert_eq!([open, close, from, to].map(f64::to_bits), met.map(f64::to_bits), "{step}");
        }
    }

    #[test]
    fn a_session_found_alone_equals_the_one_met_in_order() {
        let (clock, path) = (Clock::new(3), Path::new(3, "market"));
        // All of time from its two ends, each interval once.
        let mut values = vec![0.0; usize::from(SESSIONS) + 1];
        values[usize::from(SESSIONS)] = path.last;
        let mut half = SESSIONS / 2;
        while half > 0 {
            for middle in (half..SESSIONS).step_by(2 * usize::from(half)).take(64) {
                let way = clock.way_to(middle);
                let level = clock::turns(SESSION_LEVELS, middle.into())
                    .position(|turn| turn.middle == usize::from(middle))
                    .unwrap();
                let (a, b) = (values[usize::from(middle - half)], values[usize::from(middle + half)]);
                values[usize::from(middle)] =
                    between(a, b, way.splits[level], path.sessions.normal(middle.into()));
            }
            half /= 2;
        }
        for session in (0..60).rev() {
            let (open, close) = path.ends(session, &clock.way_to(session));
            assert_eq!(open.to_bits(), values[usize::from(session)].to_bits(), "{session}");
            assert_eq!(close.to_bits(), values[usize::from(session) + 1].to_bits(), "{session}");
        }
    }
}
