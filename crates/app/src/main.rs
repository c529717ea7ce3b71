//! The program `stockyard`: reads the configuration, creates the components, runs one command.
// `println!` and `eprintln!` panic if the stream cannot be written, and block on a pipe that is not read. Use `say!` in
// commands that end, and `telemetry::print_line` in processes that keep running.
#![warn(clippy::print_stdout, clippy::print_stderr)]

/// Writes a line of a command's result to standard output.
macro_rules! say {
    ($($text:tt)*) => {
        anyhow::Context::context(
            std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*))),
            "standard output cannot be written",
        )
    };
}

mod backup;
mod commands;
mod config;
mod database_file;
mod demo;
mod descriptors;
mod progress;
mod provider_check;
mod startup;
mod telemetry;
mod wiring;

use services::corporate_actions::renames::RenameRequest;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::NaiveDate;
use clap::{Parser, Subcommand};
use domain::Symbol;
use services::corporate_actions::close_outs::CloseOutFields;
use services::demonstration::MONTHS;

use config::{Config, Misspelled};
use database_file::Create;

/// This allocator makes requests a fifth faster than glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Practice trading on a market that behaves like the real one.
#[derive(Parser)]
#[command(name = "stockyard", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the pages and the API; without REDIS_URL also run the jobs
    Serve {
        #[command(flatten)]
        create: CreateOption,
        #[command(flatten)]
        process: ProcessOptions,
    },
    /// Run the jobs that Redis distributes
    Worker(ProcessOptions),
    /// Update the database's tables to this version
    Migrate(CreateOption),
    /// Take the snapshots of a session now
    Snapshot {
        /// The day of the session, like 2026-11-20; default: the session in progress, provisionally
        #[arg(long)]
        date: Option<NaiveDate>,
    },
    /// Rebuild the books from the journal and report every difference
    Verify {
        /// Repair what can be repaired, with reversal entries in the journals; asks first
        #[arg(long)]
        repair: bool,
        /// Repair without asking
        #[arg(long, requires = "repair")]
        yes: bool,
    },
    /// Manage accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Manage stocks: resolve a split in doubt, decide on a delisting, close out a delisted stock, record a new symbol
    #[command(subcommand)]
    Stock(StockCommand),
    /// Manage the price source
    #[command(subcommand)]
    Providers(ProvidersCommand),
    /// Copy the SQLite database to a new file, even while it is in use
    Backup { file: PathBuf },
    /// Replace the SQLite database with a backup, while no server uses it
    Restore {
        file: PathBuf,
        /// Replace an existing database; it is kept under another name beside the new one
        #[arg(long)]
        replace: bool,
    },
    /// Create a demonstration account with three public portfolios, traded over five years, in a database without
    /// portfolios
    Demo {
        #[command(flatten)]
        create: CreateOption,
        /// The number of months of trading
        #[arg(long, default_value_t = MONTHS, value_parser = clap::value_parser!(u32).range(1..=120))]
        months: u32,
    },
    /// Print the API's OpenAPI description
    Openapi,
    /// Ask the server on this machine whether it is ready
    Healthcheck {
        /// Also check that the database can be written, that a worker is alive, and that Redis and the order desk answer
        #[arg(long, conflicts_with = "worker")]
        deep: bool,
        /// Instead of a server, check for a live worker of this machine in the database
        #[arg(long)]
        worker: bool,
    },
}

/// Options of processes that keep running.
#[derive(clap::Args)]
struct ProcessOptions {
    /// Continue with another price source although there are positions or working orders at the old source's prices;
    /// open orders are canceled
    #[arg(long)]
    accept_price_source_change: bool,
}

#[derive(Clone, Copy, clap::Args)]
struct CreateOption {
    /// Create a new, empty SQLite database at the configured path if there is none
    #[arg(long)]
    create: bool,
}

impl CreateOption {
    fn or(self, otherwise: Create) -> Create {
        if self.create { Create::Always } else { otherwise }
    }
}

#[derive(Subcommand)]
enum ProvidersCommand {
    /// Send one request of each kind to the configured provider and print the results
    Check {
        /// The symbol to request
        #[arg(long, default_value = "IBM")]
        symbol: String,
        /// Send the calls without asking first; they count against the limit per day
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
enum StockCommand {
    /// Resolve the split that halts trading in a stock; shares and open orders of all holders are corrected
    ResolveSplit {
        #[arg(long)]
        symbol: Symbol,
        /// The resolution: confirm (as announced), correct (another ratio) or withdraw (no split)
        #[arg(long, value_name = "confirm|correct|withdraw")]
        resolution: String,
        /// With `correct`: new and old shares, like 2:1
        #[arg(long)]
        ratio: Option<String>,
        /// Stored with the decision
        #[arg(long)]
        reason: String,
    },
    /// Record the new symbol of a stock, if the price source knows only the new one
    Rename {
        #[arg(long)]
        symbol: Symbol,
        /// The new symbol
        #[arg(long)]
        to: Symbol,
        /// The company's new name; default: the name that the price source reports
        #[arg(long)]
        company_name: Option<String>,
        /// The first day of the new symbol; default: today
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Option<NaiveDate>,
        /// Stored with the decision
        #[arg(long)]
        reason: String,
    },
    /// Close out a delisted stock: print the effects, and with --yes book them; this cannot be undone
    CloseOut {
        #[arg(long)]
        symbol: Symbol,
        /// What holders receive: cash, write_off (nothing) or exchange (shares of another stock)
        #[arg(long, value_name = "cash|write_off|exchange")]
        kind: String,
        /// US dollars for each share given up
        #[arg(long)]
        cash: Option<String>,
        /// With `exchange`: the symbol of the stock received
        #[arg(long)]
        into: Option<String>,
        /// With `exchange`: new and old shares, like 1:2
        #[arg(long)]
        ratio: Option<String>,
        /// The first day without the shares; default: now
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Option<String>,
        /// Stored with the decision
        #[arg(long)]
        reason: String,
        /// Book the close-out
        #[arg(long)]
        yes: bool,
    },
    /// Decide whether a stock is delisted; open orders in a delisted stock are canceled
    ResolveDelisting {
        #[arg(long)]
        symbol: Symbol,
        /// The decision: confirm (the stock is delisted) or refuse (it is traded; a delisting is revoked)
        #[arg(long, value_name = "confirm|refuse")]
        resolution: String,
        /// With `confirm`: the first day without the stock
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Option<String>,
        /// Stored with the decision
        #[arg(long)]
        reason: String,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Create an account; asks for the password, or reads it from standard input
    Create {
        #[arg(long)]
        username: String,
        #[arg(long)]
        email: String,
        /// Make the user an administrator
        #[arg(long)]
        admin: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = run(cli.command).unwrap_or_else(|error| {
        telemetry::print_error(&format!("stockyard: {error:#}"));
        ExitCode::FAILURE
    });
    exit_without_handlers(code)
}

/// Ends the process without exit handlers. The handlers of libpq's TLS and of aws-lc free memory while other threads
/// still open or close connections, which would crash the process. Stopping those threads is safe: both databases treat
/// it as a crash and lose nothing.
fn exit_without_handlers(code: ExitCode) -> ! {
    telemetry::flush();
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(i32::from(code != ExitCode::SUCCESS))
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Openapi = command {
        say!("{}", serde_json::to_string_pretty(&web::openapi_document())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let needs_key = matches!(command, Command::Serve { .. });
    let config = Config::from_env(needs_key)?;
    telemetry::init(config.log_format, config.log_filter.as_deref());
    for Misspelled { variable, setting } in Config::misspelled_settings() {
        tracing::warn!(variable, setting, "this variable is not a setting; it looks like a misspelled one");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve { create, process } => {
                let create = create.or(Create::InEmptyDataDir);
                commands::serve(&config, create, process.accept_price_source_change).await
            }
            Command::Worker(options) => commands::worker(&config, options.accept_price_source_change).await,
            Command::Migrate(create) => commands::migrate(&config, create.or(Create::Never)).await,
            Command::Snapshot { date } => commands::snapshot(&config, date).await,
            Command::Verify { repair, yes } => commands::verify(&config, repair.then_some(yes)).await,
            Command::Stock(StockCommand::ResolveSplit { symbol, resolution, ratio, reason }) => {
                commands::resolve_split(&config, &symbol, &resolution, ratio.as_deref(), &reason).await
            }
            Command::Stock(StockCommand::Rename { symbol, to, company_name, on, reason }) => {
                let administrator = commands::operator();
                let request = RenameRequest { symbol, to, company_name, on, reason, administrator };
                commands::rename_stock(&config, request).await
            }
            Command::Stock(StockCommand::CloseOut { symbol, kind, cash, into, ratio, on, reason, yes }) => {
                let fields = CloseOutFields {
                    kind: &kind,
                    cash: cash.as_deref(),
                    into: into.as_deref(),
                    ratio: ratio.as_deref(),
                    on: on.as_deref(),
                };
                commands::close_out(&config, &symbol, fields, &reason, yes).await
            }
            Command::Stock(StockCommand::ResolveDelisting { symbol, resolution, on, reason }) => {
                commands::resolve_delisting(&config, &symbol, &resolution, on.as_deref(), &reason).await
            }
            Command::User(UserCommand::Create { username, email, admin }) => {
                commands::create_user(&config, username, email, admin).await
            }
            Command::Providers(ProvidersCommand::Check { symbol, yes }) => {
                provider_check::run(&config, &symbol, yes).await
            }
            Command::Demo { create, months } => {
                demo::make(&config, create.or(Create::InEmptyDataDir), months).await
            }
            Command::Backup { file } => backup::backup(&config, &file).await,
            Command::Restore { file, replace } => backup::restore(&config, &file, replace).await,
            Command::Healthcheck { worker: true, .. } => commands::worker_healthcheck(&config).await,
            Command::Healthcheck { deep, .. } => commands::healthcheck(&config, deep),
            Command::Openapi => Ok(ExitCode::SUCCESS),
        }
    });
    // Without waiting for threads that wait for a server that does not answer.
    runtime.shutdown_background();
    result
}
