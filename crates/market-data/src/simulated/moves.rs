//! The moves of a price within an interval, step by step.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use domain::{PriceMove, Timestamp};

use super::Simulated;
use super::clock::{QUOTE_STEPS, STEPS};
use super::day::Day;
use super::path::SessionStep;
use super::paths::StepWays;
use super::profile::{LAST_QUOTE_STEP, tick_and_rest};
use crate::QuoteError;

/// The longest interval per request: about 230,000 moves, each about half a kilobyte.
const LONGEST: TimeDelta = TimeDelta::days(7);
/// After this many ticks, about a millisecond, other tasks of the thread get their turn.
const TICKS_AT_A_TIME: usize = 64;

impl Simulated {
    /// The moves of an instrument in `(after, until]`.
    pub(super) async fn moves_of(
        &self,
        index: usize,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<PriceMove>, QuoteError> {
        if until <= after {
            return Ok(Vec::new());
        }
        if until - after > LONGEST {
            let limit = LONGEST.num_days();
            return Err(QuoteError::Upstream(format!("moves are told for {limit} days at a time")));
        }
        Day::newest(self.model, until)?;
        let delay = self.paths.delay(index);
        let mut moves = Vec::new();
        let mut next_day = Day::not_over_at(self.model, after);
        let is_traded = |day: &Day| self.paths.events(index).is_traded(day.number);
        while let Some(day) = next_day.filter(|day| is_traded(day) && !day.opens_after(until)) {
            let begins = if day.opens_after(after) { 0 } else { day.quote_step(after, delay) + 1 };
            let ends = if day.contains(until) { day.quote_step(until, delay) } else { LAST_QUOTE_STEP };
            let mut next = begins;
            while next <= ends {
                let (tick, _) = tick_and_rest(next);
                let last = if tick + 1 == STEPS { LAST_QUOTE_STEP } else { (tick + 1) * QUOTE_STEPS - 1 };
                self.moves_of_tick(index, &day, tick, next..=last.min(ends), &mut moves);
                next = last + 1;
                if tick.is_multiple_of(TICKS_AT_A_TIME) {
                    tokio::task::yield_now().await;
                }
            }
            next_day = day.next();
        }
        Ok(moves)
    }

    /// Adds the moves of these smaller steps, which all belong to one tick.
    fn moves_of_tick(
        &self,
        index: usize,
        day: &Day,
        tick: usize,
        steps: RangeInclusive<usize>,
        moves: &mut Vec<PriceMove>,
    ) {
        let delay = self.paths.delay(index);
        let on = SessionStep { session: day.number, step: tick };
        let reading = self.paths.reading(index, on, &mut StepWays::new());
        let prices = reading.prices();
        // The volume of the session until the previous step, if that step is in the session.
        let before = steps.start().checked_sub(1);
        let mut traded =
            before.map(|step| reading.day_volume.until(day.share(day.first_instant(step, delay))));
        for step in steps {
            let at = day.first_instant(step, delay);
            let until_now = reading.day_volume.until(day.share(at));
            let volume = match traded.replace(until_now) {
                Some(before) => until_now.saturating_sub(before),
                None => {
                    until_now + day.previous().map_or(0, |previous| self.after_last_step(index, &previous))
                }
            };
            let quote = self.quote(index, &reading, prices[step - tick * QUOTE_STEPS], until_now, at);
            moves.push(PriceMove { quote, volume: Some(volume) });
        }
    }

    /// The shares traded in a session since the first instant of its last step.
    fn after_last_step(&self, index: usize, day: &Day) -> u64 {
        let on = SessionStep { session: day.number, step: STEPS - 1 };
        let reading = self.paths.reading(index, on, &mut StepWays::new());
        let last = day.first_instant(LAST_QUOTE_STEP, self.paths.delay(index));
        reading.day_volume.until(1.0).saturating_sub(reading.day_volume.until(day.share(last)))
    }
}
