//! The implementation of each command.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::NaiveDate;
use domain::Symbol;
use indicatif::{ProgressBar, ProgressStyle};
use persistence::{DatabaseUrl, Store};
use secrecy::{ExposeSecret, SecretString};
use services::accounts::actor::Administrator;
use services::accounts::register::Registration;
use services::books::snapshots::IdRange;
use services::books::verify::Report;
use services::corporate_actions::close_outs::{CloseOutFields, CloseOutTerms};
use services::corporate_actions::delistings::DelistingResolution;
use services::corporate_actions::renames::RenameRequest;
use services::corporate_actions::splits::SplitResolution;
use services::idempotency::DecisionAuthor;
use services::operations::{has_live_worker, host_name};
use services::{Error, Services};
use web::WebConfig;
use worker::WorkerConfig;

use crate::config::{BadConfig, Config};
use crate::database_file::{Create, DatabaseFile};
use crate::descriptors;
use crate::progress::Progress;
use crate::startup::{Attempt, ReservedPort, Stop, Waiting, stopped};
use crate::telemetry;
use crate::wiring::{self, Role};

/// Returns a flag that becomes true on SIGTERM or Ctrl-C. It works from the start of the process, so that a process
/// which still waits for its database ends too.
pub fn listen_for_stop() -> Stop {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        wiring::shutdown_signal().await;
        let _ = stop.send(true);
    });
    stopped
}

/// Serves the pages and the API, and runs the jobs unless there is a Redis that distributes them to workers.
pub async fn serve(config: &Config, create: Create, accept_price_source_change: bool) -> Result<ExitCode> {
    let stop = listen_for_stop();
    let connections = descriptors::connection_limits(config, descriptors::raise_limit());
    let in_use = || {
        format!(
            "HOST and PORT: cannot listen on {}:{}; choose another PORT or stop the program that uses it",
            config.host, config.port
        )
    };
    let port = ReservedPort::reserve(&config.host, config.port).with_context(in_use)?;
    if let Some(url) = &config.redis_url {
        worker::check_redis_url(url.expose_secret())?;
    }
    let waiting = Waiting::new(config.startup_timeout, stop.clone());
    let Some(database) = wiring::open_for_process(config, create, &waiting).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let secret_key = config.signing_key()?;
    let role = Role::Process { accept_price_source_change };
    let services = wiring::services(config, database.store.clone(), role).await?;
    let listener = port.listen().with_context(in_use)?;
    let web_config = WebConfig {
        public_url: config.public_url.clone(),
        secret_key,
        cors_allowed_origins: config.cors_allowed_origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        rate_limits: config.rate_limits,
        metrics_token: config.metrics_token.clone(),
        connections,
        dropped_log_lines: telemetry::dropped_lines(),
    };
    let jobs = match &config.redis_url {
        Some(_) => None,
        None => {
            Some(tokio::spawn(worker::run(services.clone(), WorkerConfig::default(), stopped(stop.clone()))))
        }
    };
    if let Some(redis_url) = config.redis_url.clone() {
        let (services, stopped) = (services.clone(), stopped(stop.clone()));
        tokio::spawn(async move {
            worker::relay(services, &redis_url, &WorkerConfig::default().queue, stopped).await
        });
    }
    let address = listener.local_addr()?;
    let ending = services.clone();
    let connections = web_config.connections.total;
    tracing::info!(%address, connections, database = %config.database_url, source = %services.market().price_source(), "listening");
    telemetry::print_line(&format!("Stockyard is at {}", config.public_url));
    web::run(services, web_config, listener, stopped(stop)).await?;
    if let Some(jobs) = jobs {
        jobs.await??;
    }
    ending.operations().release_leases().await;
    if let Err(error) = ending.operations().checkpoint().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the database's write-ahead log was not checkpointed"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs only the jobs.
pub async fn worker(config: &Config, accept_price_source_change: bool) -> Result<ExitCode> {
    let Some(redis_url) = &config.redis_url else {
        let why =
            "REDIS_URL is not set: without Redis the jobs run in `stockyard serve`, and no worker is needed";
        return Err(BadConfig(vec![why.into()]).into());
    };
    let stop = listen_for_stop();
    let waiting = Waiting::new(config.startup_timeout, stop.clone());
    let Some(database) = wiring::open_for_process(config, Create::Never, &waiting).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let redis = waiting
        .until("Redis", async || match worker::check_redis(redis_url).await {
            Ok(()) => Ok(Attempt::Reached(())),
            Err(error) if error.is_temporary() => Ok(Attempt::NotYet(error.into())),
            Err(error) => Err(error.into()),
        })
        .await?;
    if redis.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let role = Role::Process { accept_price_source_change };
    let services = wiring::services(config, database.store.clone(), role).await?;
    let worker_config = WorkerConfig { redis_url: Some(redis_url.clone()), ..WorkerConfig::default() };
    worker::run(services, worker_config, stopped(stop)).await?;
    Ok(ExitCode::SUCCESS)
}

pub async fn migrate(config: &Config, create: Create) -> Result<ExitCode> {
    let waiting = Waiting::new(config.startup_timeout, listen_for_stop());
    let Some(ran) = wiring::migrate(config, create, &waiting).await? else {
        bail!("stopped before the database could be reached: nothing was changed");
    };
    match ran.as_slice() {
        [] => say!("The tables of {} are up to date.", config.database_url)?,
        names => say!("Migrated {}: {}.", config.database_url, names.join(", "))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A progress bar for work whose length is known.
pub fn measured_bar(what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} [{bar:30}] {pos} of {len} {msg}, {elapsed}, {eta} to go")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

pub async fn snapshot(config: &Config, date: Option<NaiveDate>) -> Result<ExitCode> {
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::PricingCommand).await?;
    let market = services.market();
    let date = date.unwrap_or_else(|| market.calendar.booking_session(market.now()).date);
    let mut progress = Progress::start("portfolios", services.books().portfolio_count().await?);
    let count = services
        .books()
        .take_snapshots(date, IdRange::ALL, |done| {
            progress.advance(done);
            true
        })
        .await
        .map_err(|error| with_field_errors(error, "--date"))?;
    progress.finish();
    let kind = match count.provisional {
        0 => "final".to_owned(),
        all if all == count.portfolios => "provisional".to_owned(),
        some => format!("{some} of them provisional"),
    };
    say!("{} snapshots of {date}, {kind}.", count.portfolios)?;
    Ok(ExitCode::SUCCESS)
}

/// Converts an error to one whose text includes its invalid fields.
pub fn with_field_errors(error: Error, option: &str) -> anyhow::Error {
    match error {
        Error::Invalid(fields) | Error::Taken(fields) => {
            let lines: Vec<String> = fields
                .iter()
                .map(|error| match error.field {
                    "date" => format!("{option}: {}", error.message),
                    field => format!("{field}: {}", error.message),
                })
                .collect();
            anyhow::anyhow!(lines.join("\n"))
        }
        other => other.into(),
    }
}

/// Reports damage to a SQLite file and what to do about it. Returns whether there is any.
async fn report_damage(config: &Config) -> Result<bool> {
    let DatabaseUrl::Sqlite(path) = &config.database_url else { return Ok(false) };
    let file = path.clone();
    let damage = tokio::task::spawn_blocking(move || persistence::sqlite_damage(&file)).await?;
    if damage.is_empty() {
        return Ok(false);
    }
    for line in &damage {
        say!("damaged: {line}")?;
    }
    say!(
        "The database file {path} is damaged, and the books were not checked. Stop Stockyard, keep a copy of the \
         file, restore the newest undamaged backup with `stockyard restore --replace FILE`, and run `stockyard \
         verify` again."
    )?;
    Ok(true)
}

/// Verifies the books. With `repair` it also repairs them, after a question if the value is `Some(false)`.
pub async fn verify(config: &Config, repair: Option<bool>) -> Result<ExitCode> {
    if let Some(file) = DatabaseFile::from_config(config)? {
        file.require()?;
    }
    if report_damage(config).await? {
        return Ok(ExitCode::FAILURE);
    }
    let store = wiring::ready_store(config).await?;
    // The repair takes snapshots again at the prices of the installation's source.
    let role = if repair.is_some() { Role::PricingCommand } else { Role::Command };
    let services: Services = wiring::services(config, store, role).await?;
    let mut report = verify_and_report(&services).await?;
    if let Some(without_asking) = repair.filter(|_| !report.differences.is_empty()) {
        say!(
            "The repair suspends contradicted splits, reverses wrong fills, cancels the open orders in their stocks, \
             and takes wrong snapshots again. It adds lines to journals, and changes or deletes none. Make a backup first."
        )?;
        if !without_asking && !confirmed("Repair the books now? Type yes: ")? {
            say!("Nothing was changed.")?;
            return Ok(ExitCode::FAILURE);
        }
        let repaired = services.books().repair(&report).await?;
        say!(
            "{} splits suspended, {} fills reversed, snapshots of {} sessions taken again.",
            repaired.splits,
            repaired.fills,
            repaired.sessions
        )?;
        for (portfolio, why) in &repaired.left {
            say!("portfolio {portfolio}: not repaired: {why}")?;
        }
        report = verify_and_report(&services).await?;
    }
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks a question on the terminal, or reads the answer from standard input.
fn confirmed(question: &str) -> Result<bool> {
    if std::io::stdin().is_terminal() {
        std::io::stdout().write_all(question.as_bytes())?;
        std::io::stdout().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

async fn verify_and_report(services: &Services) -> Result<Report> {
    let bar = measured_bar("portfolios");
    let report = services
        .books()
        .verify(|done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })
        .await?;
    bar.finish_and_clear();
    for difference in &report.differences {
        say!("portfolio {}: {}", difference.portfolio_id, difference.what)?;
    }
    say!(
        "{} portfolios, {} journal entries, {} orders, {} final snapshots: {}",
        report.portfolios,
        report.entries,
        report.orders,
        report.snapshots,
        match report.differences.len() {
            0 => "the books balance.".to_owned(),
            1 => "1 difference.".to_owned(),
            n => format!("{n} differences."),
        }
    )?;
    Ok(report)
}

pub async fn resolve_split(
    config: &Config,
    symbol: &Symbol,
    resolution: &str,
    ratio: Option<&str>,
    reason: &str,
) -> Result<ExitCode> {
    let resolution = SplitResolution::parse(resolution, ratio)
        .map_err(|error| anyhow::anyhow!("--{}: {}", error.field, error.message))?;
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::PricingCommand).await?;
    services
        .corporate_actions()
        .resolve_split(&operator(), symbol, resolution, reason)
        .await
        .map_err(|error| with_field_errors(error, ""))?;
    say!("The split of {symbol} is resolved: orders fill again.")?;
    Ok(ExitCode::SUCCESS)
}

/// The administrator that decisions from the command line are attributed to.
pub fn operator() -> Administrator {
    Administrator::operator("command line")
}

pub async fn resolve_delisting(
    config: &Config,
    symbol: &Symbol,
    resolution: &str,
    on: Option<&str>,
    reason: &str,
) -> Result<ExitCode> {
    let resolution = DelistingResolution::parse(resolution, on)
        .map_err(|error| anyhow::anyhow!("--{}: {}", error.field, error.message))?;
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::PricingCommand).await?;
    let resolved =
        services.corporate_actions().resolve_delisting(symbol, resolution, reason, &operator()).await;
    resolved.map_err(|error| with_field_errors(error, ""))?;
    match resolution {
        DelistingResolution::Confirm { .. } => {
            match services.instruments().stored_stock(symbol).await?.delisted_on {
                Some(_) => say!("{symbol} is delisted: its open orders are canceled.")?,
                None => {
                    say!("{symbol} is delisted from its next session on: its open orders are canceled then.")?
                }
            }
        }
        DelistingResolution::Refuse => say!("{symbol} is marked as listed.")?,
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn close_out(
    config: &Config,
    symbol: &Symbol,
    fields: CloseOutFields<'_>,
    reason: &str,
    yes: bool,
) -> Result<ExitCode> {
    let (terms, on) =
        CloseOutTerms::parse(fields).map_err(|errors| with_field_errors(Error::Invalid(errors), ""))?;
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::PricingCommand).await?;
    let preview = services
        .corporate_actions()
        .preview_close_out(symbol, &terms, on)
        .await
        .map_err(|error| with_field_errors(error, ""))?;
    let received = preview.received.as_ref();
    say!(
        "Portfolios: {}. Given: {} shares of {symbol}, which cost {}. Received: {} in cash{}. Realized: {}.",
        preview.portfolios,
        preview.shares,
        preview.cost,
        preview.cash,
        received.map_or_else(String::new, |(symbol, shares)| format!(" and {shares} shares of {symbol}")),
        preview.realized
    )?;
    if !yes {
        say!(
            "This is a preview: nothing was changed. A close-out cannot be undone. To carry it out, repeat the \
             command with --yes."
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let author = DecisionAuthor { administrator: operator(), key: None };
    services
        .corporate_actions()
        .close_out(symbol, &terms, on, reason, author)
        .await
        .map_err(|error| with_field_errors(error, ""))?;
    say!("{symbol} is closed out.")?;
    Ok(ExitCode::SUCCESS)
}

pub async fn rename_stock(config: &Config, request: RenameRequest) -> Result<ExitCode> {
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::PricingCommand).await?;
    let symbol = request.symbol.clone();
    let renamed = services
        .corporate_actions()
        .rename_stock(request)
        .await
        .map_err(|error| with_field_errors(error, ""))?;
    say!("The symbol of {symbol} is now {}.", renamed.listing.symbol)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn create_user(config: &Config, username: String, email: String, admin: bool) -> Result<ExitCode> {
    let store = wiring::ready_store(config).await?;
    let services = wiring::services(config, store, Role::Command).await?;
    let password = read_password()?;
    let registration =
        Registration { username, email, password, first_name: String::new(), last_name: String::new() };
    let account = services
        .accounts()
        .create_user(registration, admin)
        .await
        .map_err(|error| with_field_errors(error, ""))?;
    say!("Created the account {}{}.", account.username, if admin { ", an administrator" } else { "" })?;
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned().into());
    }
    let password: SecretString = rpassword::prompt_password("Password: ")?.into();
    let again: SecretString = rpassword::prompt_password("Again: ")?.into();
    if password.expose_secret() != again.expose_secret() {
        bail!("the two passwords differ");
    }
    Ok(password)
}

/// Sends one HTTP request without a client library, so that an image needs no other program for its health check.
pub fn healthcheck(config: &Config, deep: bool) -> Result<ExitCode> {
    let host = match config.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let mut stream = TcpStream::connect((host, config.port)).context("no server answers at HOST and PORT")?;
    // The server's own deadlines are shorter.
    stream.set_read_timeout(Some(config.health.check_timeout + Duration::from_secs(5)))?;
    let query = if deep { "?deep=1" } else { "" };
    stream.write_all(
        format!("GET /health/ready{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let ready = answer.starts_with("HTTP/1.1 200");
    say!("{}", if ready { "ready" } else { "not ready" })?;
    if !ready && deep {
        let failed = answer.split_once("\r\n\r\n").map(|(_, body)| failed_checks(body)).unwrap_or_default();
        for line in failed {
            say!("{line}")?;
        }
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for each failed check in the server's response.
fn failed_checks(body: &str) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let checks = answer["checks"].as_array().cloned().unwrap_or_default();
    let failed = checks.iter().filter(|check| check["status"] == "failed");
    failed
        .map(|check| {
            let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
            format!("  {}: {}", text("name"), text("reason"))
        })
        .collect()
}

/// Checks the worker processes of this machine by their heartbeats in the database, because workers have no port.
pub async fn worker_healthcheck(config: &Config) -> Result<ExitCode> {
    wiring::require_database(config)?;
    let host = host_name();
    let (url, timeout) = (config.database_url.clone(), config.health.check_timeout);
    let asking = async {
        let store = tokio::task::spawn_blocking(move || Store::open(url, 1)).await??;
        Ok::<_, anyhow::Error>(has_live_worker(&store, &host, config.health.worker_timeout).await?)
    };
    let alive = tokio::time::timeout(timeout, asking).await.context("the database does not answer")??;
    say!("{}", if alive { "alive" } else { "no worker of this machine has sent a heartbeat recently" })?;
    Ok(if alive { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
