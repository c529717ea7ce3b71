//! The command that creates the demonstration.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use domain::{PortfolioId, Timestamp};
use persistence::Store;
use services::demonstration::demonstration_clock;
use services::market::price_source;
use services::market::simulation::{SimulationSettings, SimulationUse, simulated_market};
use services::{Clock, Market, Services};

use crate::commands::{listen_for_stop, measured_bar, with_field_errors};
use crate::config::{Config, MarketData};
use crate::database_file::Create;
use crate::startup::Waiting;
use crate::wiring;

/// Creates the demonstration account with its portfolios in a database without portfolios. If the demonstration already
/// exists, nothing is changed.
///
/// # Errors
/// If the price source is not the simulated market, the database cannot be used, or it has other portfolios.
pub async fn make(config: &Config, create: Create, months: u32) -> Result<ExitCode> {
    let MarketData::Simulated { seed } = &config.market_data else {
        bail!(
            "MARKET_DATA: the demonstration needs the simulated market; remove MARKET_DATA, or set it to simulated"
        );
    };
    let waiting = Waiting::new(config.startup_timeout, listen_for_stop());
    let Some(database) = wiring::open_for_process(config, create, &waiting).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let store = database.store.clone();
    Clock::system().continue_from_books(&store).await?;
    let end = Clock::open(&store, config.clock_start, config.clock_speed).await?.now();
    let services = services(config, store, *seed, (end, months)).await?;
    let existing = services.books().demonstration_portfolios().await?;
    if !existing.is_empty() {
        let pages = pages(existing.into_iter().map(|portfolio| portfolio.id));
        say!(
            "The demonstration exists already, and nothing was changed. `stockyard serve` shows it at {pages}."
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let bar = measured_bar("sessions");
    let made = services
        .make_demonstration(end, |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })
        .await
        .map_err(|error| with_field_errors(error, "--months"))?;
    bar.finish_and_clear();
    say!(
        "Created {} portfolios, with trades in {} sessions from {} to {}. `stockyard serve` shows them to everyone \
         at {}, and links to them on the home page.",
        made.portfolios.len(),
        made.sessions,
        made.first_on,
        made.last_on,
        pages(made.portfolios.into_iter())
    )?;
    services.operations().checkpoint().await?;
    Ok(ExitCode::SUCCESS)
}

/// The services with a clock that starts this many months before `end`.
async fn services(
    config: &Config,
    store: Store,
    seed: Option<u64>,
    (end, months): (Timestamp, u32),
) -> Result<Services> {
    let settings = SimulationSettings { seed, mode: config.trading.mode };
    let by = SimulationUse::Process { accept_change: false };
    let simulated = simulated_market(&store, settings, by, end).await?;
    let market = Market::new(Arc::new(simulated.market), demonstration_clock(end, months));
    price_source::claim_price_source(&store, &market.quotes.source(), false, end).await?;
    Ok(wiring::on(config, store, market).await?)
}

/// The addresses of the portfolios, separated by commas.
fn pages(portfolios: impl Iterator<Item = PortfolioId>) -> String {
    let pages: Vec<String> = portfolios.map(|id| format!("/portfolios/{id}")).collect();
    pages.join(", ")
}
