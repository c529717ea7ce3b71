//! The speed of the simulated market: `cargo bench -p market-data`. Each result is the best of many short rounds on one
//! thread, so that it is the same on a busy machine.

use std::time::{Duration, Instant};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use domain::{Symbol, Timestamp};
use market_data::{Catalogue, DEFAULT_SEED, Payer, QuoteSource, Simulated, SimulatedModel};

/// A payer that allows all calls.
static FREE: Payer = Payer::unlimited();

const ROUNDS: u32 = 100;
/// Quotes cover this time from noon on, while the exchange is open; then they begin at noon again.
const OPEN_AFTER_NOON: TimeDelta = TimeDelta::hours(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    SimulatedModel::ALL.into_iter().try_for_each(measure)
}

fn measure(model: SimulatedModel) -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", model.name());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let noon: Timestamp = "2026-11-25T17:00:00Z".parse::<DateTime<Utc>>()?.into();
    let market = Simulated::with_seed(model, DEFAULT_SEED);
    let Catalogue::Complete(listings) = market.catalogue(noon) else { return Err("a catalogue".into()) };
    let symbols: Vec<Symbol> = listings.into_iter().map(|listing| listing.symbol).collect();
    let first = symbols[0].clone();

    best("a market is made", || {
        Simulated::with_seed(model, DEFAULT_SEED);
        1
    });
    let mut at = noon;
    let later = |at: Timestamp| {
        let next = at + TimeDelta::milliseconds(1_700);
        if next < noon + OPEN_AFTER_NOON { next } else { noon }
    };
    best("a quote, each alone", || {
        at = later(at);
        runtime.block_on(market.quotes(std::slice::from_ref(&first), at, &FREE)).len()
    });
    best("a quote, all of an instant", || {
        at = later(at);
        runtime.block_on(market.quotes(&symbols, at, &FREE)).len()
    });
    best("a move, of the last ten seconds", || {
        at = at + TimeDelta::seconds(10);
        runtime
            .block_on(market.moves(&first, at - TimeDelta::seconds(10), at, &FREE))
            .map_or(0, |moves| moves.len())
    });
    best("a move, of six hours", || {
        at = at + TimeDelta::hours(6);
        runtime
            .block_on(market.moves(&first, at - TimeDelta::hours(6), at, &FREE))
            .map_or(0, |moves| moves.len())
    });
    let bars = |of: &Symbol, first: NaiveDate, days: u64| {
        runtime
            .block_on(market.daily_series(of, first, first + Days::new(days - 1), noon, &FREE))
            .map_or(0, |series| series.bars.len())
    };
    let mut day = NaiveDate::from_ymd_opt(1981, 1, 1).ok_or("a date")?;
    best("a daily bar, never asked for", || {
        day = day + Days::new(30);
        bars(&first, day, 30)
    });
    // The paths of the market and of sectors are cached; the instruments' own paths are not.
    let (mut next, mut then) = (symbols.iter().cycle(), day);
    best("a daily bar, of days known from others", || {
        let symbol = next.next().unwrap_or(&first);
        if *symbol == first {
            then = then + Days::new(30);
        }
        bars(symbol, then, 30)
    });
    best("a daily bar, remembered", || bars(&first, day, 30));
    let (from, to) = (NaiveDate::from_ymd_opt(2006, 11, 25), NaiveDate::from_ymd_opt(2026, 11, 25));
    let (from, to) = from.zip(to).ok_or("dates")?;
    best("an action, of twenty years", || {
        let actions = runtime.block_on(market.corporate_actions(&first, from, to, noon, &FREE));
        actions.map_or(0, |actions| actions.len())
    });
    Ok(())
}

/// Runs `call` repeatedly in rounds of some milliseconds, and prints the shortest time per item. `call` returns the
/// number of items that it has processed.
fn best(what: &str, mut call: impl FnMut() -> usize) {
    let round = |call: &mut dyn FnMut() -> usize| {
        let (begun, mut things) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_millis(5) {
            things += call();
        }
        begun.elapsed().as_secs_f64() / things as f64
    };
    let least = (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min);
    println!("{:>12.0} ns  {what}", least * 1e9);
}
