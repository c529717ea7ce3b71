//! All paths of one seed, and the prices of each instrument.
//!
//! A quote reaches its step with up to 25 divisions for each of three paths, and 5 more inside the step. The values of
//! a step are cached until the next ticks: in the exchange view a price is valid for less than a second, but a step
//! takes half a minute. A bar needs the ticks of the whole day.

use std::collections::HashMap;
use std::sync::Arc;

use super::catalogue::{Follows, INSTRUMENTS, Instrument, Sector};
use super::chance::{Draws, Purpose};
use super::clock::{Clock, Pace, QUOTE_STEPS, STEPS, SessionClock, StepWay, Ways};
use super::events::Events;
use super::mix::{self, Mix, Scale};
use super::model::SimulatedModel;
use super::path::{self, Ends, Path, SessionPath, SessionStep, Values};
use super::recent::Recent;
use super::results::Results;

/// The number of cached sessions, enough to compute the bars of one instrument after the other for a year. Entries take
/// 17 or 8 KiB, and there are at most twice as many.
const SESSIONS_REMEMBERED: usize = 256;
const FACTOR_DAYS_REMEMBERED: usize = 512;
/// The number of cached bars, 48 bytes each.
const BARS_REMEMBERED: usize = 16_384;
/// The number of cached steps: for all instruments the newest step and the ones before it.
const READINGS_REMEMBERED: usize = 4 * INSTRUMENTS.len();
/// The largest delay of an instrument's smaller steps, as a fraction of their length. Different delays keep prices from
/// changing all at the same instant.
const MAX_DELAY: f64 = 0.9;

#[derive(Debug)]
pub(super) struct Paths {
    model: SimulatedModel,
    clock: Clock,
    market: Path,
    sectors: HashMap<Sector, Path>,
    courses: Vec<Course>,
    clocks: Recent<u16, Arc<SessionClock>>,
    /// The paths of the market (`None`) and of the sectors through whole sessions.
    factors: Recent<(Option<Sector>, u16), Arc<SessionPath>>,
    bars: Recent<(usize, u16), DayBar>,
    /// Readings by index in the catalog and step.
    readings: Recent<(usize, SessionStep), Reading>,
}

/// The ways to the steps that were computed so far.
pub(super) type StepWays = HashMap<SessionStep, StepWay>;

/// The data of one instrument.
#[derive(Debug)]
struct Course {
    mix: Mix,
    sector: Option<Sector>,
    /// The pace of the instrument's own path.
    pace: Pace,
    own: Path,
    /// Moves the price inside a step.
    quotes: Draws,
    /// The delay of its smaller steps, as a fraction of their length.
    delay: f64,
    volume: Draws,
    events: Events,
    results: Results,
    anchor_price: f64,
    /// `X(τ_a)`; 0 until it is computed.
    anchor_log: f64,
    average_volume: f64,
}

/// An instrument in one step, with prices that are not rounded to a tick yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    step: SessionStep,
    /// Moves the price inside the step.
    quotes: Draws,
    /// Logs of the total return since the anchor at the ticks at which the step begins and ends.
    ends: (f64, f64),
    /// The price of a share without any return since the anchor.
    unit: f64,
    /// Variance of the log price in the step.
    variance: f64,
    /// The previous close, in shares of this session. Without a dividend, a night and results it equals the open.
    pub(super) previous_close: f64,
    pub(super) day_volume: DayVolume,
}

/// Shares traded in a whole session.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayVolume(f64);

impl DayVolume {
    /// The shares traded when that part of the session's activity has passed.
    pub(super) fn until(self, share: f64) -> u64 {
        whole(self.0 * share)
    }
}

/// A session's bar with prices that are not rounded to a tick yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayBar {
    pub(super) open: f64,
    pub(super) high: f64,
    pub(super) low: f64,
    pub(super) close: f64,
    pub(super) volume: u64,
}

impl Paths {
    /// Creates the paths. Prices are those of the catalog at the opening of session `anchor`.
    pub(super) fn new(model: SimulatedModel, seed: u64, anchor: u16) -> Self {
        let clock = Clock::new(model, seed);
        let market = match clock.market() {
            Some(closes) => Path::along(seed, "market", closes),
            None => Path::new(seed, "market", Pace::Market),
        };
        let sectors: HashMap<Sector, Path> = INSTRUMENTS
            .iter()
            .filter_map(mix::sector_of)
            .map(|sector| (sector, Path::new(seed, &format!("sector/{}", sector.name()), Pace::Calm)))
            .collect();
        let courses =
            INSTRUMENTS.iter().map(|instrument| Course::new(model, seed, instrument, anchor)).collect();
        let mut paths = Self {
            model,
            clock,
            market,
            sectors,
            courses,
            clocks: Recent::new(SESSIONS_REMEMBERED),
            factors: Recent::new(FACTOR_DAYS_REMEMBERED),
            bars: Recent::new(BARS_REMEMBERED),
            readings: Recent::new(READINGS_REMEMBERED),
        };
        for index in 0..paths.courses.len() {
            paths.courses[index].anchor_log = paths.log_in(index, anchor, |ends| ends.open, anchor);
        }
        paths
    }

    pub(super) fn events(&self, index: usize) -> &Events {
        &self.courses[index].events
    }

    /// The first session after `session` that opens after results of the company.
    pub(super) fn next_results(&self, index: usize, session: u16) -> Option<u16> {
        let course = &self.courses[index];
        let sessions = course.results.sessions();
        let next = sessions.get(sessions.partition_point(|opens| *opens <= session))?;
        course.events.is_traded(*next).then_some(*next)
    }

    /// The dividend per share held at the opening of an ex-date, not rounded. It is computed from the previous close.
    pub(super) fn dividend(&self, index: usize, session: u16) -> f64 {
        let course = &self.courses[index];
        course.events.dividend(course.unit(session) * libm::exp(self.log_before(index, session)))
    }

    /// The value at the close before session `to` of each dollar invested before session `from`, with dividends
    /// reinvested.
    #[cfg(test)]
    pub(super) fn total_return(&self, index: usize, from: u16, to: u16) -> f64 {
        libm::exp(self.log_before(index, to) - self.log_before(index, from))
    }

    /// The log of the total return since the anchor at the close before a session.
    pub(super) fn log_before(&self, index: usize, session: u16) -> f64 {
        self.log_in(index, session, |ends| ends.before, session.saturating_sub(1))
    }

    /// The log of the total return since the anchor at an end of a session, with company results up to session
    /// `published`.
    pub(super) fn log_in(&self, index: usize, session: u16, end: fn(Ends) -> f64, published: u16) -> f64 {
        let course = &self.courses[index];
        let ways = self.clock.ways_to(session);
        let at = |path: &Path| end(path.ends(session, &ways));
        let sector = course.sector.map_or(0.0, |sector| at(&self.sectors[&sector]));
        course.log(session, 0, course.jumps_until(published), [at(&self.market), sector, at(&course.own)])
    }

    /// The delay of an instrument's smaller steps, as a fraction of their length.
    pub(super) fn delay(&self, index: usize) -> f64 {
        self.courses[index].delay
    }

    /// Returns an instrument in one step. Ways that must be computed are added to `ways`.
    pub(super) fn reading(&self, index: usize, step: SessionStep, ways: &mut StepWays) -> Reading {
        self.readings.get_or((index, step), || {
            let way = ways.entry(step).or_insert_with(|| self.clock.way_to_step(step.session, step.step));
            self.compute_reading(index, step, way)
        })
    }

    fn compute_reading(&self, index: usize, step: SessionStep, way: &StepWay) -> Reading {
        let course = &self.courses[index];
        let sector = course.sector.map_or_else(Values::default, |sector| self.sectors[&sector].at(way));
        let (market, own) = (self.market.at(way), course.own.at(way));
        let jumps = course.jumps_until(way.session);
        let log = |tick: usize, jumps: f64, value: fn(&Values) -> f64| {
            course.log(way.session, tick, jumps, [value(&market), value(&sector), value(&own)])
        };
        let before = log(0, course.jumps_before(way.session), |values| values.ends.before);
        let close = log(STEPS, jumps, |values| values.ends.close);
        Reading {
            step,
            quotes: course.quotes,
            ends: (log(way.step, jumps, |values| values.from), log(way.step + 1, jumps, |values| values.to)),
            unit: course.unit(way.session),
            variance: way.mass * self.tick_variance(course, &way.ways),
            previous_close: course.anchor_price * course.events.price_before(way.session) * libm::exp(before),
            day_volume: DayVolume(course.day_volume(way.session, close - before)),
        }
    }

    /// The variance of the price per unit of the clock's variance, in a session's ticks.
    fn tick_variance(&self, course: &Course, ways: &Ways) -> f64 {
        let mix = &course.mix;
        match self.model {
            SimulatedModel::V1 => mix.session_volatility * mix.session_volatility,
            SimulatedModel::V2 | SimulatedModel::V2Xnys => {
                let part =
                    |weight: f64, pace: Pace| (weight * ways.scale(pace)) * (weight * ways.scale(pace));
                part(mix.market, Pace::Market) + part(mix.sector, Pace::Calm) + part(mix.own, course.pace)
            }
        }
    }

    /// The bar of a whole session of an instrument.
    pub(super) fn bar(&self, index: usize, session: u16) -> DayBar {
        self.bars.get_or((index, session), || self.compute_bar(index, session))
    }

    fn compute_bar(&self, index: usize, session: u16) -> DayBar {
        let course = &self.courses[index];
        let clock = self.clocks.get_or(session, || Arc::new(self.clock.session(session)));
        let market = self.factor(None, &clock);
        let sector = course.sector.map(|sector| self.factor(Some(sector), &clock));
        let SessionPath { ends: own, ticks: mut logs } = course.own.through(&clock);
        let jumps = course.jumps_until(session);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for (tick, log) in logs.iter_mut().enumerate() {
            let sector = sector.as_ref().map_or(0.0, |sector| sector.ticks[tick]);
            *log = course.log(session, tick, jumps, [market.ticks[tick], sector, *log]);
            least = least.min(*log);
            most = most.max(*log);
        }
        let (open, close) = (logs[0], logs[STEPS]);
        let sector_before = sector.as_ref().map_or(0.0, |sector| sector.ends.before);
        let ends = [market.ends.before, sector_before, own.before];
        let before = course.log(session, 0, course.jumps_before(session), ends);
        let unit = course.unit(session);
        let price = |log: f64| unit * libm::exp(log);
        DayBar {
            open: price(open),
            high: price(most),
            low: price(least),
            close: price(close),
            volume: whole(course.day_volume(session, close - before)),
        }
    }

    fn factor(&self, sector: Option<Sector>, clock: &SessionClock) -> Arc<SessionPath> {
        let path = sector.map_or(&self.market, |sector| &self.sectors[&sector]);
        self.factors.get_or((sector, clock.session), || Arc::new(path.through(clock)))
    }
}

impl Course {
    fn new(model: SimulatedModel, seed: u64, instrument: &Instrument, anchor: u16) -> Self {
        let stream = format!("stock/{}", instrument.symbol);
        let (sessions, sessions_per_year) = (model.sessions(), model.sessions_per_year());
        let results_share = model.results_share();
        let pace = if matches!(instrument.follows, Follows::Company(_)) { Pace::Rough } else { Pace::Calm };
        Self {
            mix: Mix::for_instrument(instrument, Scale { sessions_per_year, results_share }),
            sector: mix::sector_of(instrument),
            pace,
            own: Path::new(seed, &stream, pace),
            quotes: Draws::new(seed, &stream, Purpose::PathOfQuotes),
            delay: MAX_DELAY * Draws::new(seed, &stream, Purpose::Stagger).uniform(0),
            volume: Draws::new(seed, &stream, Purpose::Volume),
            events: Events::for_instrument(seed, instrument, sessions, anchor),
            results: Results::for_instrument(seed, instrument, results_share, sessions_per_year, sessions),
            anchor_price: instrument.price,
            anchor_log: 0.0,
            average_volume: instrument.average_volume.into(),
        }
    }

    /// The log of the total return since the anchor at a tick, for these values of the three paths and `jumps`, the sum
    /// of jumps.
    fn log(&self, session: u16, tick: usize, jumps: f64, [market, sector, own]: [f64; 3]) -> f64 {
        let t = f64::from(session) + tick as f64 / STEPS as f64;
        self.mix.log_return(t, market, sector, own) + jumps - self.anchor_log
    }

    /// The sum of jumps by company results until the open of a session.
    fn jumps_until(&self, session: u16) -> f64 {
        self.mix.session_volatility * self.results.until(session)
    }

    /// The sum of jumps until the previous close.
    fn jumps_before(&self, session: u16) -> f64 {
        session.checked_sub(1).map_or(0.0, |before| self.jumps_until(before))
    }

    /// `A · D(τ)/D(τ_a) · S(τ)/S(τ_a)`: times `exp(X(τ) − X(τ_a))` it is the price in that session.
    fn unit(&self, session: u16) -> f64 {
        self.anchor_price * self.events.share(session).price
    }

    /// `ADV · exp(0.35 z − 0.06) · (0.7 + 0.6 |r| / σ)`, in the shares of the session: larger on days with larger
    /// moves.
    fn day_volume(&self, session: u16, log_return: f64) -> f64 {
        let mood = libm::exp(0.35 * self.volume.normal(session.into()) - 0.06);
        let average = self.average_volume * self.events.share(session).number;
        average * mood * (0.7 + 0.6 * log_return.abs() / self.mix.session_volatility)
    }
}

impl Reading {
    /// The price at a smaller step inside the step, where only the instrument's own path moves.
    pub(super) fn price(&self, inside: usize) -> f64 {
        self.unit * libm::exp(path::inside(self.step, inside, self.ends, self.variance, self.quotes))
    }

    /// The prices at all smaller steps, from the beginning of the step to its end.
    pub(super) fn prices(&self) -> [f64; QUOTE_STEPS + 1] {
        path::all_inside(self.step, self.ends, self.variance, self.quotes)
            .map(|log| self.unit * libm::exp(log))
    }

    pub(super) fn session(&self) -> u16 {
        self.step.session
    }
}

/// Rounds down to whole shares.
#[expect(clippy::cast_possible_truncation, reason = "at most some 10^10 shares")]
fn whole(shares: f64) -> u64 {
    libm::floor(shares) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(paths: &Paths, index: usize, (session, step): (u16, usize)) -> Reading {
        paths.reading(index, SessionStep { session, step }, &mut StepWays::new())
    }

    /// Log returns of sessions for each of the symbols, in units of the catalog's volatility.
    fn returns(symbols: &[&str], sessions: std::ops::Range<u16>) -> Vec<Vec<f64>> {
        let paths = Paths::new(SimulatedModel::V1, 5, 17_106);
        let index = |symbol| INSTRUMENTS.iter().position(|row| row.symbol == symbol).unwrap();
        symbols
            .iter()
            .map(|symbol| {
                let index = index(*symbol);
                let mix = paths.courses[index].mix;
                let closes: Vec<f64> =
                    sessions.clone().map(|session| paths.log_before(index, session)).collect();
                closes.windows(2).map(|w| (w[1] - w[0] - mix.drift) / mix.session_volatility).collect()
            })
            .collect()
    }

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let n = values.len() as f64;
        values.sum::<f64>() / n
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let covariance = |x: &[f64], y: &[f64]| {
            let (mx, my) = (mean(x.iter().copied()), mean(y.iter().copied()));
            mean(x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)))
        };
        covariance(a, b) / libm::sqrt(covariance(a, a) * covariance(b, b))
    }

    fn autocorrelation(values: &[f64], lag: usize) -> f64 {
        correlation(&values[lag..], &values[..values.len() - lag])
    }

    #[test]
    fn returns_have_the_stated_distribution() {
        let all = returns(&["AAPL", "MSFT", "IBM", "KO", "JPM", "XOM", "PLD", "DIA"], 14_000..17_000);
        let every = || all.iter().flatten().copied().collect::<Vec<f64>>();
        let average = |measure: &dyn Fn(&[f64]) -> f64| mean(all.iter().map(|returns| measure(returns)));

        // The catalog's volatility; fat tails: 3 would be normal.
        let variance = mean(every().into_iter().map(|r| r * r));
        assert!((0.9..1.1).contains(&variance), "variance {variance}");
        let kurtosis = mean(every().into_iter().map(|r| r * r * r * r)) / (variance * variance);
        assert!((4.0..7.5).contains(&kurtosis), "kurtosis {kurtosis}");
        let far = every().iter().filter(|r| r.abs() > 4.0).count() as f64 / every().len() as f64;
        assert!((0.001..0.01).contains(&far), "{far} beyond four deviations, of a normal one 0.00006");
        // The direction of tomorrow's return cannot be predicted from earlier days, but its size can.
        for lag in 1..=5 {
            let memory = average(&|r| autocorrelation(r, lag));
            assert!(memory.abs() < 0.03, "autocorrelation {memory} of {lag} sessions");
        }
        let sizes = |lag| average(&|r| autocorrelation(&r.iter().map(|r| r.abs()).collect::<Vec<_>>(), lag));
        assert!((0.08..0.25).contains(&sizes(1)), "autocorrelation of |r| {}", sizes(1));
        assert!((0.01..0.20).contains(&sizes(10)), "of |r| ten sessions apart {}", sizes(10));
    }

    #[test]
    fn each_instrument_has_the_volatility_of_the_catalog() {
        let symbols: Vec<&str> = INSTRUMENTS.iter().map(|row| row.symbol).collect();
        // Over twenty years, the measured volatility is within some 2 % of the true one.
        for (symbol, returns) in symbols.iter().zip(returns(&symbols, 9_700..17_000)) {
            let volatility = libm::sqrt(mean(returns.iter().map(|r| r * r)));
            assert!((0.92..1.08).contains(&volatility), "{symbol}: {volatility} of what it should be");
            let drift = mean(returns.iter().copied()) * libm::sqrt(returns.len() as f64);
            assert!(drift.abs() < 4.0, "{symbol} has drifted by {drift} deviations");
        }
    }

    #[test]
    fn ticks_of_a_day_do_not_predict_the_next() {
        let paths = Paths::new(SimulatedModel::V1, 5, 17_106);
        let index = INSTRUMENTS.iter().position(|row| row.symbol == "AAPL").unwrap();
        let day = |session: u16| -> Vec<f64> {
            let clock = paths.clock.session(session);
            paths.courses[index].own.through(&clock).ticks.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        let days: Vec<Vec<f64>> = (17_000..17_100).map(day).collect();
        for lag in 1..=3 {
            let memory = mean(days.iter().map(|ticks| autocorrelation(ticks, lag)));
            assert!(memory.abs() < 0.02, "autocorrelation {memory} of {lag} ticks");
        }
    }

    #[test]
    fn stocks_are_correlated_by_their_sectors_and_betas() {
        let all = returns(&["AAPL", "MSFT", "KO", "SPY"], 13_000..17_000);
        let share = |volatility: f64, beta: f64| beta * 0.16 / volatility;
        let sector = |a: f64| libm::sqrt(0.35 * (1.0 - a * a));
        let (aapl, msft, ko) = (share(0.27, 1.2), share(0.24, 1.0), share(0.15, 0.5));
        for (pair, expected) in [
            ((0, 1), aapl * msft + sector(aapl) * sector(msft)),
            ((0, 2), aapl * ko),
            ((0, 3), aapl),
            ((2, 3), ko),
        ] {
            let measured = correlation(&all[pair.0], &all[pair.1]);
            assert!((measured - expected).abs() < 0.06, "{pair:?}: {measured}, not {expected}");
        }
    }

    #[test]
    fn a_bar_consists_of_the_readings_of_its_day() {
        let paths = Paths::new(SimulatedModel::V1, 9, 17_106);
        for index in [3, INSTRUMENTS.len() - 1] {
            let bar = paths.bar(index, 17_000);
            let readings: Vec<Reading> =
                (0..STEPS).map(|step| reading(&paths, index, (17_000, step))).collect();
            let prices = || readings.iter().flat_map(|reading| reading.prices());
            assert_eq!((prices().next(), prices().next_back()), (Some(bar.open), Some(bar.close)));
            assert_eq!(prices().fold(f64::NEG_INFINITY, f64::max), bar.high);
            assert_eq!(prices().fold(f64::INFINITY, f64::min), bar.low);
            assert!(
                readings
                    .iter()
                    .all(|r| (r.previous_close, r.day_volume.until(1.0)) == (bar.open, bar.volume))
            );
        }
    }

    #[test]
    fn a_step_begins_and_ends_at_its_ticks_and_stays_between_them() {
        let paths = Paths::new(SimulatedModel::V1, 9, 17_106);
        let price = |step, inside| reading(&paths, 3, (17_000, step)).price(inside);
        for step in 0..50 {
            let (from, to) = (price(step, 0), price(step + 1, 0));
            assert_eq!(price(step, QUOTE_STEPS).to_bits(), to.to_bits());
            assert!((1..QUOTE_STEPS).all(|i| (from.min(to)..=from.max(to)).contains(&price(step, i))));
        }
    }

    #[test]
    fn a_smaller_step_computed_alone_equals_the_one_computed_in_order() {
        let paths = Paths::new(SimulatedModel::V1, 9, 17_106);
        for step in [0, 511, STEPS - 1] {
            let reading = reading(&paths, 3, (17_000, step));
            let alone: [f64; QUOTE_STEPS + 1] = std::array::from_fn(|inside| reading.price(inside));
            assert_eq!(alone.map(f64::to_bits), reading.prices().map(f64::to_bits), "{step}");
        }
    }

    #[test]
    fn the_cache_makes_no_difference() {
        for model in SimulatedModel::ALL {
            let crowd = Paths::new(model, 9, 17_106);
            for session in 17_000..17_040 {
                crowd.bar(3, session);
                // More readings than the capacity of the cache.
                for place in 0..20 {
                    reading(&crowd, 3, (session, place));
                }
            }
            let bits = |bar: DayBar| [bar.open, bar.high, bar.low, bar.close].map(f64::to_bits);
            for session in [17_039, 17_001] {
                let alone = Paths::new(model, 9, 17_106);
                assert_eq!(bits(crowd.bar(3, session)), bits(alone.bar(3, session)), "{model:?}");
                for place in [19, 0] {
                    // Computed first and then again, alone and with a way that other instruments needed.
                    let mut ways = StepWays::new();
                    let on = SessionStep { session, step: place };
                    crowd.reading(4, on, &mut ways);
                    let all = [
                        crowd.reading(3, on, &mut ways),
                        crowd.reading(3, on, &mut ways),
                        reading(&alone, 3, (session, place)),
                    ];
                    let bits = all.map(|of| {
                        (of.prices().map(f64::to_bits), of.previous_close.to_bits(), of.day_volume.until(1.0))
                    });
                    assert!(bits[0] == bits[1] && bits[0] == bits[2], "{model:?} {on:?}");
                }
            }
        }
    }
}
