//! The simulated market alone: processor time of one thread.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use chrono::{NaiveDate, TimeDelta};
use domain::{Symbol, Timestamp};
use market_data::{Catalogue, DEFAULT_SEED, Payer, QuoteSource, Simulated, SimulatedModel};

use crate::report::median;

/// A budget that allows all calls.
static FREE: Payer = Payer::unlimited();

const QUOTES: usize = 10_000;
/// About a year.
const SESSIONS: i64 = 250;

/// Measures each version of the market: quotes of all symbols at once and one by one, from one second to the next, and
/// bars of all symbols, computed for the first time and again.
pub fn measure(rounds: usize) -> Result<()> {
    SimulatedModel::ALL.into_iter().try_for_each(|model| measure_version(model, rounds))
}

fn measure_version(model: SimulatedModel, rounds: usize) -> Result<()> {
    const QUOTES_AT_ONCE: &str = "quotes, all symbols at once";
    const QUOTES_ONE_BY_ONE: &str = "quotes, one at a time";
    const BARS: [&str; 2] = ["daily bars, first time", "daily bars, again"];
    let mut figures = BTreeMap::<_, Vec<f64>>::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let last = NaiveDate::from_ymd_opt(2026, 11, 20).context("a date")?;
    let noon: Timestamp = last.and_hms_opt(17, 0, 0).context("a time")?.and_utc().into();
    for _ in 0..rounds {
        let market = Simulated::with_seed(model, DEFAULT_SEED);
        let Catalogue::Complete(listings) = market.catalogue(noon) else {
            bail!("the simulated market lists all")
        };
        let symbols: Vec<Symbol> = listings.into_iter().map(|listing| listing.symbol).collect();

        for (name, at_once) in [(QUOTES_AT_ONCE, symbols.len()), (QUOTES_ONE_BY_ONE, 1)] {
            let batches = symbols.chunks(at_once).cycle().take(QUOTES.div_ceil(at_once));
            let ns = timed(|| {
                runtime.block_on(async {
                    let (mut count, mut at) = (0, noon);
                    for batch in batches {
                        at = at + TimeDelta::seconds(1);
                        for quote in market.quotes(batch, at, &FREE).await {
                            quote?;
                            count += 1;
                        }
                    }
                    anyhow::Ok(count)
                })
            })?;
            figures.entry(name).or_default().push(ns);
        }
        for name in BARS {
            let ns = timed(|| {
                runtime.block_on(async {
                    let mut count = 0;
                    for symbol in &symbols {
                        let first = last - TimeDelta::days(SESSIONS);
                        count += market.daily_series(symbol, first, last, noon, &FREE).await?.bars.len();
                    }
                    anyhow::Ok(count)
                })
            })?;
            figures.entry(name).or_default().push(ns);
        }
    }
    println!("\n{:<30} {:>8}    each round (processor time of one thread)", model.name(), "ns each");
    for (name, ns) in figures {
        println!("{name:<30} {:>8.0}    {ns:.0?}", median(ns.iter().copied()));
    }
    Ok(())
}

/// The thread's processor time in nanoseconds per item that `work` produces.
#[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
fn timed(work: impl FnOnce() -> Result<usize>) -> Result<f64> {
    let before = on_processor_ns()?;
    let count = work()?;
    Ok((on_processor_ns()? - before) as f64 / count as f64)
}

fn on_processor_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")
        .context("this needs Linux's /proc with scheduler statistics")?;
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).context("/proc/thread-self/schedstat")
}
